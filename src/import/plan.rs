//! The plan: for each row, whether it adds, updates, changes nothing, is ignored or refused, and why. Pure.
//!
//! Rows are judged in the contract's eight steps (section 4), as if they were applied one after the other: what earlier
//! batches changed, the store's look-up shows; what earlier rows of the same batch changed, the overlay here.

use std::borrow::Cow;
use std::collections::HashMap;

use super::change::{Addition, Change, IdentityKeys, RowFound, StoredContact, Update};
use super::claims::{Claims, NewKey};
use super::header::FileHeader;
use super::options::{Existing, ImportOptions, New};
use super::report::{Counts, ErrorCode, FileErrors, Report, ReportBuilder, RowError, shortened};
use super::rows::{Batch, Row, RowDefect};
use super::sample::Sample;
use crate::contact::{
    ContactId, ContactNumber, FieldNumber, FieldType, Phone, ProfileBuilder, ProgramTag, Refusal, Region, Role, Schema,
    ValueType, normal_form, parse_uuid,
};

/// What does not change while a file is planned: its columns, the options, the program. Shared between threads.
#[derive(Clone, Debug)]
pub struct FilePlan {
    header: FileHeader,
    options: ImportOptions,
    region: Region,
    tag: ProgramTag,
}

impl FilePlan {
    /// Judges the header; what is wrong with it is wrong with the file, and told all at once.
    pub fn new(
        header: Option<&Batch>,
        schema: &Schema,
        options: &ImportOptions,
        region: Region,
        tag: ProgramTag,
    ) -> Result<FilePlan, FileErrors> {
        Ok(FilePlan { header: FileHeader::judge(header, schema, options)?, options: options.clone(), region, tag })
    }

    /// Reads who the rows say they are about, and the values of their cells. It needs nothing but the rows, so another
    /// thread may do it ahead.
    pub fn identify(&self, batch: Batch) -> IdentifiedBatch {
        let identities = batch.rows().map(|row| self.identity(row)).collect();
        let mut forms = Vec::with_capacity(batch.len() * self.header.columns.len());
        let mut before: Option<Row<'_>> = None;
        for row in batch.rows() {
            self.read_cells(row, before, &mut forms);
            before = Some(row);
        }
        IdentifiedBatch { batch, identities, forms }
    }

    /// Reads the cells that may be looked at. Phones are read as identities; defective rows are never looked at.
    fn read_cells(&self, row: Row<'_>, before: Option<Row<'_>>, forms: &mut Vec<Form>) {
        let columns = &self.header.columns;
        let is_whole = row.defect().is_none() && row.width() == self.header.width;
        for column in columns {
            let wanted =
                is_whole && column.field.role != Role::Phone && (self.options.new == New::Add || column.for_existing);
            if !wanted {
                forms.push(Form::NotRead);
                continue;
            }
            let cell = self.header.cell(row, column.place);
            // Files repeat themselves: what the cell above says need not be read again.
            let above =
                forms.len().checked_sub(columns.len()).map(|at| &forms[at]).filter(|above| **above != Form::NotRead);
            let form = match above {
                Some(above) if before.is_some_and(|before| self.header.cell(before, column.place) == cell) => {
                    above.clone()
                }
                _ => Form::of(cell, column.field.field_type, self.region),
            };
            forms.push(form);
        }
    }

    fn identity(&self, row: Row<'_>) -> Identity {
        if row.defect().is_some() || row.width() != self.header.width {
            return Identity { signalvine_id: IdCell::Blank, phone: None };
        }
        let phone = self
            .header
            .phone
            .map(|place| self.header.cell(row, place))
            .filter(|cell| !cell.is_empty() && !cell.contains('\0'));
        Identity {
            signalvine_id: self
                .header
                .signalvine_id
                .map_or(IdCell::Blank, |place| self.id_cell(self.header.cell(row, place))),
            phone: phone.and_then(|cell| Phone::parse(cell, self.region)),
        }
    }

    fn id_cell(&self, cell: &str) -> IdCell {
        if cell.is_empty() {
            return IdCell::Blank;
        }
        match parse_uuid(cell).map(ContactId::from_uuid) {
            None => IdCell::Malformed,
            Some(Some(id)) if id.tag == self.tag => IdCell::Own(id),
            Some(_) => IdCell::Foreign,
        }
    }

    /// What the store is to find out about a batch.
    pub fn keys<'a>(&self, identified: &'a IdentifiedBatch) -> Vec<IdentityKeys<'a>> {
        let IdentifiedBatch { batch, identities, forms: _ } = identified;
        batch.rows().zip(identities).map(|(row, identity)| self.row_keys(row, identity)).collect()
    }

    fn row_keys<'a>(&self, row: Row<'a>, identity: &Identity) -> IdentityKeys<'a> {
        let signalvine_id = match identity.signalvine_id {
            IdCell::Blank => None,
            IdCell::Own(id) => Some(id),
            // Such a row is decided without any look-up.
            IdCell::Malformed | IdCell::Foreign => return IdentityKeys::default(),
        };
        if row.defect().is_some() || row.width() != self.header.width {
            return IdentityKeys::default();
        }
        // No stored value has a NUL, and a store may be unable even to ask for one.
        let customer_id = Some(self.customer_id(row)).filter(|cell| !cell.is_empty() && !cell.contains('\0'));
        IdentityKeys { signalvine_id, customer_id, phone: identity.phone }
    }

    fn customer_id<'a>(&self, row: Row<'a>) -> &'a str {
        self.header.customer_id.map_or("", |place| self.header.cell(row, place))
    }

    /// Whether the values of contacts found are needed.
    pub fn wants_values(&self) -> bool {
        matches!(self.options.existing, Existing::Fields(_))
    }

    /// Whether rows that find a contact need to know who holds their phone.
    pub fn wants_phones_of_existing(&self) -> bool {
        let may_change = |number| self.header.existing_may_change(number);
        // Where customer ids may move, a contact found by one may turn out to be new to a later row of the same batch.
        may_change(FieldNumber::PHONE)
            || (self.wants_phones_of_new()
                && self.header.signalvine_id.is_some()
                && may_change(FieldNumber::CUSTOMER_ID))
    }

    /// Whether rows that find no contact need to know who holds their phone.
    pub fn wants_phones_of_new(&self) -> bool {
        self.options.new == New::Add
    }
}

/// What the `signalvine_id` cell of a row says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum IdCell {
    Blank,
    /// No UUID.
    Malformed,
    /// A UUID that this program never gave out.
    Foreign,
    /// One that it may have given out.
    Own(ContactId),
}

#[derive(Clone, Copy, Debug)]
struct Identity {
    signalvine_id: IdCell,
    /// The phone cell's number, if it is a valid one.
    phone: Option<Phone>,
}

/// What a cell says, as far as it can be told without a look at the program.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Form {
    /// Nobody will ask.
    NotRead,
    /// It is in its normal form already.
    AsItStands,
    /// Its normal form.
    Normal(Box<str>),
    Refused(Refusal),
}

impl Form {
    fn of(cell: &str, field_type: FieldType, region: Region) -> Form {
        match normal_form(cell, field_type, region) {
            Ok(normal) if normal == cell => Form::AsItStands,
            Ok(normal) => Form::Normal(normal.into()),
            Err(refusal) => Form::Refused(refusal),
        }
    }
}

/// A batch of rows with who they say they are about, and what.
#[derive(Debug)]
pub struct IdentifiedBatch {
    batch: Batch,
    identities: Vec<Identity>,
    /// For each row, one for each column of the header that may be looked at.
    forms: Vec<Form>,
}

impl IdentifiedBatch {
    /// How many rows.
    pub fn len(&self) -> usize {
        self.batch.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.batch.is_empty()
    }
}

/// A row that is judged, with what was read of it ahead.
#[derive(Clone, Copy)]
struct Asked<'a> {
    row: Row<'a>,
    identity: &'a Identity,
    /// One for each column of the header that may be looked at.
    forms: &'a [Form],
}

/// A plan and a look-up that do not belong together: a fault of ours.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the plan and the store disagree about row {row}: {what}")]
pub struct PlanFault {
    row: u64,
    what: &'static str,
}

/// What the rows of this batch have changed so far. `None` as a value: nobody has it any more.
#[derive(Debug, Default)]
struct Overlay {
    customer_ids: HashMap<Box<str>, Option<ContactNumber>>,
    phones: HashMap<Phone, Option<ContactNumber>>,
}

/// Whom a row is about.
enum Subject<'a> {
    /// A contact, by one of its ids.
    Known { number: ContactNumber, by: FieldNumber, stored: Option<&'a StoredContact> },
    /// A contact that has the phone, which proves nothing.
    KnownByPhone(ContactNumber),
    /// Nobody that the program has, and how it is named.
    New(Option<(FieldNumber, NewKey)>),
}

/// What becomes of a row.
enum Fate {
    Added(Addition),
    Updated(Update),
    Unchanged,
    Ignored,
    Failed,
}

/// Plans a file, batch by batch.
#[derive(Debug)]
pub struct Planner<'f> {
    file: &'f FilePlan,
    now_ms: i64,
    next_number: ContactNumber,
    claims: Claims,
    overlay: Overlay,
    report: ReportBuilder,
    /// Of a dry run: what would change.
    sample: Option<Sample>,
}

impl<'f> Planner<'f> {
    /// Begins with the number that the program's next contact gets; `now_ms` is what updated fields are dated.
    pub fn new(file: &'f FilePlan, next_number: ContactNumber, now_ms: i64) -> Planner<'f> {
        let report = ReportBuilder::new(&file.options);
        let names = file.header.columns.iter().map(|column| column.field.name.as_str());
        let sample = file.options.dry_run.then(|| Sample::of(names));
        Planner { file, now_ms, next_number, claims: Claims::default(), overlay: Overlay::default(), report, sample }
    }

    /// Rows judged so far.
    pub fn rows_read(&self) -> u64 {
        self.report.rows_read()
    }

    /// Judges a batch. `found` answers [`FilePlan::keys`] of this batch, from a store in which the changes of all earlier
    /// batches have been made. The changes are to be made in their order.
    pub fn plan(&mut self, identified: &IdentifiedBatch, found: &[RowFound]) -> Result<Vec<Change>, PlanFault> {
        let IdentifiedBatch { batch, identities, forms } = identified;
        self.overlay = Overlay::default();
        let mut changes = Vec::new();
        let width = self.file.header.columns.len();
        for (((row, identity), found), at) in batch.rows().zip(identities).zip(found).zip(0..) {
            let asked = Asked { row, identity, forms: &forms[at * width..][..width] };
            let fate = self.judge(asked, found)?;
            changes.extend(self.count(fate));
        }
        Ok(changes)
    }

    /// The report of all rows.
    pub fn finish(self) -> Report {
        self.report.finish(self.sample.map(Sample::finish).unwrap_or_default())
    }

    fn count(&mut self, fate: Fate) -> Option<Change> {
        let counts = self.report.counts_mut();
        counts.read += 1;
        let Counts { read: _, added, updated, unchanged, ignored, failed } = counts;
        let (counter, change) = match fate {
            Fate::Added(addition) => (added, Some(Change::Add(addition))),
            Fate::Updated(update) => (updated, Some(Change::Update(update))),
            Fate::Unchanged => (unchanged, None),
            Fate::Ignored => (ignored, None),
            Fate::Failed => (failed, None),
        };
        *counter += 1;
        change
    }

    /// The contract's steps 1 to 8.
    fn judge(&mut self, asked: Asked<'_>, found: &RowFound) -> Result<Fate, PlanFault> {
        let Asked { row, identity, forms: _ } = asked;
        if let Some(failed) = self.defect(row) {
            return Ok(failed);
        }
        let subject = match self.subject(row, identity, found) {
            Ok(subject) => subject,
            Err(decided) => return Ok(decided),
        };
        if let Some((first, field)) = self.earlier_claim(&subject) {
            return Ok(self.duplicate(row, first, field));
        }
        if !self.wanted(&subject) {
            return Ok(Fate::Ignored);
        }
        match subject {
            Subject::KnownByPhone(_) => Ok(self.identity_required(row)),
            Subject::Known { number, by, stored } => {
                if self.ids_disagree(row, number, by, found) {
                    return Ok(self.refuse_ids(row));
                }
                self.claims.claim_contact(number, row.number());
                let stored = stored.filter(|stored| stored.number == number);
                let stored = stored.ok_or(PlanFault { row: row.number(), what: "no values of the contact" })?;
                Ok(self.existing(asked, stored, found))
            }
            Subject::New(key) => Ok(self.new_contact(asked, key.map(|(_, key)| key), found)),
        }
    }

    /// Step 1: quotes, and the number of cells.
    fn defect(&mut self, row: Row<'_>) -> Option<Fate> {
        let width = self.file.header.width;
        let (code, message) = match row.defect() {
            Some(defect @ RowDefect::TextAfterQuote { column }) => {
                (defect.code(), format!("Text follows a closing quote in column {}", column + 1))
            }
            None if row.width() != width => {
                (ErrorCode::CellCount, format!("The row has {}, the header has {}", cells(row.width()), cells(width)))
            }
            None => return None,
        };
        self.report.error(|| RowError { row: Some(row.number()), field: None, code, value: None, message });
        Some(Fate::Failed)
    }

    /// Step 2: whom the row is about; or its fate, where its `signalvine_id` decides it.
    fn subject<'a>(&mut self, row: Row<'_>, identity: &Identity, found: &'a RowFound) -> Result<Subject<'a>, Fate> {
        let stored = found.contact.as_ref();
        match (identity.signalvine_id, found.by_signalvine_id) {
            (IdCell::Malformed, _) => return Err(self.malformed_id(row)),
            (IdCell::Own(_), Some(number)) => {
                return Ok(Subject::Known { number, by: FieldNumber::SIGNALVINE_ID, stored });
            }
            (IdCell::Foreign | IdCell::Own(_), _) => return Err(self.unknown_id(row)),
            (IdCell::Blank, _) => {}
        }
        let customer_id = self.file.customer_id(row);
        if !customer_id.is_empty() {
            return Ok(match self.holder_of_customer_id(customer_id, found) {
                Some(number) => Subject::Known { number, by: FieldNumber::CUSTOMER_ID, stored },
                None => Subject::New(Some((FieldNumber::CUSTOMER_ID, NewKey::CustomerId(customer_id.into())))),
            });
        }
        Ok(match identity.phone {
            None => Subject::New(None),
            Some(phone) => match self.holder_of_phone(phone, found) {
                Some(number) => Subject::KnownByPhone(number),
                None => Subject::New(Some((FieldNumber::PHONE, NewKey::Phone(phone)))),
            },
        })
    }

    fn malformed_id(&mut self, row: Row<'_>) -> Fate {
        let place = self.file.header.signalvine_id.unwrap_or_default();
        let field_type = FieldType::plain(ValueType::Uuid);
        let cell = self.file.header.cell(row, place);
        self.report.error(|| refused_cell(row, (place, cell), "signalvine_id", field_type, Refusal::Invalid));
        Fate::Failed
    }

    fn unknown_id(&mut self, row: Row<'_>) -> Fate {
        if self.file.options.new == New::Ignore {
            return Fate::Ignored;
        }
        let place = self.file.header.signalvine_id;
        self.cell_error(row, place, "signalvine_id", ErrorCode::UnknownSignalvineId, |cell| {
            format!("No contact of the program has the signalvine_id '{cell}', and none can be added under a given one")
        })
    }

    /// Step 3: the row that claimed the contact first, and the column by which this one names it.
    fn earlier_claim(&self, subject: &Subject<'_>) -> Option<(u64, FieldNumber)> {
        match subject {
            Subject::Known { number, by, stored: _ } => self.claims.of_contact(*number).map(|first| (first, *by)),
            Subject::KnownByPhone(number) => self.claims.of_contact(*number).map(|first| (first, FieldNumber::PHONE)),
            Subject::New(Some((by, key))) => self.claims.of_refused(key).map(|first| (first, *by)),
            Subject::New(None) => None,
        }
    }

    fn duplicate(&mut self, row: Row<'_>, first: u64, field: FieldNumber) -> Fate {
        let header = &self.file.header;
        let (place, name) = match field {
            FieldNumber::SIGNALVINE_ID => (header.signalvine_id, "signalvine_id"),
            FieldNumber::CUSTOMER_ID => (header.customer_id, "customer_id"),
            _ => (header.phone, "phone"),
        };
        self.cell_error(row, place, name, ErrorCode::DuplicateRow, |_| {
            format!("Row {first} of the file is about the same contact")
        })
    }

    /// Step 4.
    fn wanted(&self, subject: &Subject<'_>) -> bool {
        match subject {
            Subject::New(_) => self.file.options.new == New::Add,
            Subject::Known { .. } | Subject::KnownByPhone(_) => self.file.options.existing != Existing::Ignore,
        }
    }

    /// Step 5: the `customer_id` beside a known `signalvine_id` belongs to somebody else.
    fn ids_disagree(&self, row: Row<'_>, number: ContactNumber, by: FieldNumber, found: &RowFound) -> bool {
        let customer_id = self.file.customer_id(row);
        by == FieldNumber::SIGNALVINE_ID
            && !customer_id.is_empty()
            && self.holder_of_customer_id(customer_id, found).is_some_and(|holder| holder != number)
    }

    fn refuse_ids(&mut self, row: Row<'_>) -> Fate {
        self.cell_error(row, self.file.header.customer_id, "customer_id", ErrorCode::IdsDisagree, |cell| {
            format!("The signalvine_id and the customer_id '{cell}' belong to two different contacts")
        })
    }

    fn identity_required(&mut self, row: Row<'_>) -> Fate {
        self.cell_error(row, self.file.header.phone, "phone", ErrorCode::IdentityRequired, |_| {
            "A contact of the program has this phone, and a phone is no proof of identity: send customer_id or signalvine_id"
                .to_owned()
        })
    }

    /// Steps 7 and 8 for a contact that the program has: the fields that `existing` names.
    fn existing(&mut self, asked: Asked<'_>, stored: &StoredContact, found: &RowFound) -> Fate {
        let mut update = Update {
            number: stored.number,
            customer_id: None,
            phone: None,
            active: None,
            profile: None,
            times: stored.times.clone(),
        };
        // The index of the column, and the number of its field.
        let (mut changed, mut values, mut failed) = (Vec::new(), Vec::new(), false);
        let file = self.file;
        let before: Vec<(FieldNumber, &str)> = stored.profile.iter().collect();
        let before = |number| before.binary_search_by_key(&number, |(at, _)| *at).map_or("", |at| before[at].1);
        for (at, column) in file.header.columns.iter().enumerate().filter(|(_, column)| column.for_existing) {
            let number = column.field.number;
            let value = match self.value(asked, at, Some(stored.number), found) {
                Ok(value) => value,
                Err(()) => {
                    failed = true;
                    continue;
                }
            };
            let differs = match value {
                Value::Phone(phone) => changes(&mut update.phone, &stored.phone, phone),
                Value::Text(text) => match column.field.role {
                    Role::CustomerId => changes(&mut update.customer_id, &stored.customer_id, text.into_owned()),
                    Role::Active => changes(&mut update.active, &stored.active, text == "true"),
                    Role::Ordinary => {
                        let differs = before(number) != text;
                        if differs {
                            values.push((number, text));
                        }
                        differs
                    }
                    Role::Phone | Role::SignalvineId | Role::ReadOnly => false,
                },
            };
            if differs {
                changed.push((at, number));
            }
        }
        if failed {
            return Fate::Failed;
        }
        if changed.is_empty() {
            return Fate::Unchanged;
        }
        if let Some(sample) = &mut self.sample {
            for (at, number) in &changed {
                let new = values.iter().find(|(changed, _)| changed == number).map_or("", |(_, value)| &**value);
                let (before, after) = match file.header.columns[*at].field.role {
                    Role::Phone => (stored.phone.to_string(), update.phone.unwrap_or(stored.phone).to_string()),
                    Role::CustomerId => (stored.customer_id.clone(), update.customer_id.clone().unwrap_or_default()),
                    Role::Active => (stored.active.to_string(), (!stored.active).to_string()),
                    Role::Ordinary | Role::SignalvineId | Role::ReadOnly => {
                        (before(*number).to_owned(), new.to_owned())
                    }
                };
                sample.add(*at, asked.row.number(), &before, &after);
            }
        }
        if !values.is_empty() {
            values.sort_by_key(|(number, _)| *number);
            let values: Vec<(FieldNumber, &str)> = values.iter().map(|(number, value)| (*number, &**value)).collect();
            update.profile = Some(stored.profile.with(&values));
        }
        let mut changed: Vec<FieldNumber> = changed.into_iter().map(|(_, number)| number).collect();
        changed.sort();
        let after_ms = u64::try_from(self.now_ms.saturating_sub(stored.created_ms)).unwrap_or(0);
        update.times = stored.times.with(&changed, after_ms);
        self.overlay.updated(stored, &update);
        Fate::Updated(update)
    }

    /// Steps 6 to 8 for a contact that the program does not have: all columns.
    fn new_contact(&mut self, asked: Asked<'_>, key: Option<NewKey>, found: &RowFound) -> Fate {
        let row = asked.row;
        let file = self.file;
        let header = &file.header;
        let mut values: Vec<Cow<'_, str>> = Vec::with_capacity(header.columns.len());
        let (mut phone, mut failed) = (None, false);
        let (mut customer_id, mut active) = (String::new(), true);
        for (at, column) in header.columns.iter().enumerate() {
            let mut text = Cow::Borrowed("");
            match self.value(asked, at, None, found) {
                Err(()) => failed = true,
                Ok(Value::Phone(number)) => phone = Some(number),
                Ok(Value::Text(value)) => match column.field.role {
                    Role::CustomerId => customer_id = value.into_owned(),
                    Role::Active => active = value == "true",
                    Role::Ordinary | Role::Phone | Role::SignalvineId | Role::ReadOnly => text = value,
                },
            }
            values.push(text);
        }
        if header.phone.is_none() {
            failed = true;
            let message = could_not_parse("", FieldType::plain(ValueType::Phone));
            self.report.error(|| RowError {
                row: Some(row.number()),
                field: Some("phone".to_owned()),
                code: ErrorCode::MissingValue,
                value: None,
                message,
            });
        }
        let Some(phone) = phone.filter(|_| !failed) else {
            if let Some(key) = key {
                self.claims.claim_refused(key, row.number());
            }
            return Fate::Failed;
        };
        let mut profile = ProfileBuilder::default();
        for at in &header.by_number {
            profile.push(header.columns[*at].field.number, &values[*at]);
        }
        let number = self.next_number;
        self.next_number = ContactNumber::new(number.get() + 1).unwrap_or(ContactNumber::MAX);
        self.claims.claim_contact(number, row.number());
        let addition = Addition { number, customer_id, phone, active, profile: profile.finish() };
        self.overlay.added(&addition);
        Fate::Added(addition)
    }

    /// Step 7 for one cell, in the column of this index: its value in the normal form, or an error that is reported.
    fn value<'a>(
        &mut self,
        asked: Asked<'a>,
        at: usize,
        contact: Option<ContactNumber>,
        found: &RowFound,
    ) -> Result<Value<'a>, ()> {
        let Asked { row, identity, forms } = asked;
        let column = &self.file.header.columns[at];
        let cell = self.file.header.cell(row, column.place);
        let field = &column.field;
        if field.role != Role::Phone {
            return match &forms[at] {
                Form::AsItStands => Ok(Value::Text(Cow::Borrowed(cell))),
                Form::Normal(normal) => Ok(Value::Text(Cow::Borrowed(normal))),
                // A cell that nobody read cannot be asked for; if it were, it would not be believed.
                Form::NotRead => Err(Refusal::Invalid),
                Form::Refused(refusal) => Err(*refusal),
            }
            .map_err(|refusal| {
                self.report.error(|| refused_cell(row, (column.place, cell), &field.name, field.field_type, refusal));
            });
        }
        let Some(phone) = identity.phone else {
            let refusal = if cell.is_empty() { Refusal::Missing } else { Refusal::Invalid };
            self.report.error(|| refused_cell(row, (column.place, cell), &field.name, field.field_type, refusal));
            return Err(());
        };
        let holder = self.holder_of_phone(phone, found);
        if holder.is_some_and(|holder| Some(holder) != contact) {
            self.cell_error(row, Some(column.place), &field.name, ErrorCode::PhoneTaken, |_| {
                format!("Another contact of the program has the phone {phone}")
            });
            return Err(());
        }
        Ok(Value::Phone(phone))
    }

    fn holder_of_customer_id(&self, customer_id: &str, found: &RowFound) -> Option<ContactNumber> {
        self.overlay.customer_ids.get(customer_id).copied().unwrap_or(found.by_customer_id)
    }

    fn holder_of_phone(&self, phone: Phone, found: &RowFound) -> Option<ContactNumber> {
        self.overlay.phones.get(&phone).copied().unwrap_or(found.by_phone)
    }

    /// Reports an error of one cell; `message` gets the trimmed cell.
    fn cell_error(
        &mut self,
        row: Row<'_>,
        place: Option<usize>,
        name: &str,
        code: ErrorCode,
        message: impl FnOnce(&str) -> String,
    ) -> Fate {
        self.report.error(|| RowError {
            row: Some(row.number()),
            field: Some(name.to_owned()),
            code,
            value: place.map(|place| shortened(row.raw(place))),
            message: message(&place.map(|place| shortened(self.file.header.cell(row, place))).unwrap_or_default()),
        });
        Fate::Failed
    }
}

/// A cell's value, as a contact keeps it.
enum Value<'a> {
    Phone(Phone),
    Text(Cow<'a, str>),
}

/// Notes a new value where it differs from the stored one.
fn changes<T: PartialEq>(update: &mut Option<T>, stored: &T, value: T) -> bool {
    let differs = *stored != value;
    if differs {
        *update = Some(value);
    }
    differs
}

impl Overlay {
    fn added(&mut self, addition: &Addition) {
        if !addition.customer_id.is_empty() {
            self.customer_ids.insert(addition.customer_id.as_str().into(), Some(addition.number));
        }
        self.phones.insert(addition.phone, Some(addition.number));
    }

    fn updated(&mut self, stored: &StoredContact, update: &Update) {
        if let Some(customer_id) = &update.customer_id {
            if !stored.customer_id.is_empty() {
                self.customer_ids.insert(stored.customer_id.as_str().into(), None);
            }
            if !customer_id.is_empty() {
                self.customer_ids.insert(customer_id.as_str().into(), Some(update.number));
            }
        }
        if let Some(phone) = update.phone {
            self.phones.insert(stored.phone, None);
            self.phones.insert(phone, Some(update.number));
        }
    }
}

fn refused_cell(
    row: Row<'_>,
    (place, cell): (usize, &str),
    name: &str,
    field_type: FieldType,
    refusal: Refusal,
) -> RowError {
    let (code, cell) = match refusal {
        Refusal::Missing => (ErrorCode::MissingValue, ""),
        Refusal::Invalid => (ErrorCode::InvalidValue, cell),
    };
    RowError {
        row: Some(row.number()),
        field: Some(name.to_owned()),
        code,
        value: Some(shortened(row.raw(place))),
        message: could_not_parse(cell, field_type),
    }
}

/// The sentence is given: clients look for it.
fn could_not_parse(cell: &str, field_type: FieldType) -> String {
    format!("Could not parse '{}' as {field_type}", shortened(cell))
}

fn cells(count: usize) -> String {
    if count == 1 { "1 cell".to_owned() } else { format!("{count} cells") }
}
