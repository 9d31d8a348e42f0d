//! The plan: for each row, whether it adds, updates, changes nothing, is ignored or refused, and why. Pure.
//!
//! Rows are judged in the contract's eight steps (section 4), as if they were applied one after the other: what earlier
//! batches changed, the store's look-up shows; what earlier rows of the same batch changed, the overlay here.

use super::change::{Addition, Change, RowFound, StoredContact, Update};
use super::claims::{Claims, NewKey};
use super::identify::{FilePlan, Form, IdCell, IdentifiedBatch, Identity, Normals};
use super::options::{Existing, New};
use super::overlay::Overlay;
use super::records::{Row, RowDefect};
use super::report::{Counts, ErrorCode, Report, ReportBuilder, RowError, shortened};
use super::sample::Sample;
use crate::contact::{ContactNumber, FieldNumber, FieldTimes, FieldType, Phone, Profile, Refusal, Role, ValueType};

/// A row that is judged, with what was read of it ahead.
#[derive(Clone, Copy)]
struct Asked<'a> {
    row: Row<'a>,
    identity: &'a Identity,
    /// One for each column of the header that may be looked at, and the text of those that are not as they stand.
    forms: &'a [Form],
    normals: &'a Normals,
    /// All ordinary fields as they would be stored, if all are read and valid.
    profile: Option<&'a [u8]>,
}

/// A plan and a look-up that do not belong together: a fault of ours.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the plan and the store disagree about row {row}: {what}")]
pub struct PlanFault {
    row: u64,
    what: &'static str,
}

/// Whom a row is about.
enum Subject<'a> {
    /// A contact, by one of its ids.
    Known { number: ContactNumber, by: FieldNumber, stored: Option<&'a StoredContact> },
    /// A contact that has the phone, which proves nothing.
    KnownByPhone(ContactNumber),
    /// Nobody that the program has, and how it is named.
    New(Option<(FieldNumber, NewKey<'a>)>),
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
        Planner { file, now_ms, next_number, claims: Claims::default(), report, sample }
    }

    /// Rows judged so far.
    pub fn rows_read(&self) -> u64 {
        self.report.rows_read()
    }

    /// Judges a batch. `found` answers [`FilePlan::keys`] of this batch, from a store in which the changes of all earlier
    /// batches have been made. The changes are to be made in their order.
    pub fn plan(&mut self, identified: &IdentifiedBatch, found: &[RowFound]) -> Result<Vec<Change>, PlanFault> {
        let IdentifiedBatch { batch, identities, cells } = identified;
        let width = self.file.header.columns.len();
        // Room for as many as there are rows, if one may be about somebody new: then mostly all are.
        let is_new = |found: &RowFound| found.by_signalvine_id.or(found.by_customer_id).is_none();
        let adds = self.file.options.new == New::Add && found.iter().any(is_new);
        let mut changes = Vec::with_capacity(if adds { batch.len() } else { 0 });
        let mut judge = Judge { planner: self, overlay: Overlay::of(changes.capacity()) };
        for (((row, identity), found), at) in batch.rows().zip(identities).zip(found).zip(0..) {
            let forms = &cells.forms[at * width..][..width];
            let asked = Asked { row, identity, forms, normals: &cells.normals, profile: cells.profiles.row(at) };
            let fate = judge.judge(asked, found)?;
            changes.extend(judge.planner.count(fate));
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
}

/// Judges the rows of one batch.
struct Judge<'p, 'f, 'b> {
    planner: &'p mut Planner<'f>,
    overlay: Overlay<'b>,
}

impl<'b> Judge<'_, '_, 'b> {
    /// The contract's steps 1 to 8.
    fn judge(&mut self, asked: Asked<'b>, found: &'b RowFound) -> Result<Fate, PlanFault> {
        let Asked { row, identity, .. } = asked;
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
                self.planner.claims.claim_contact(number, row.number());
                let stored = stored.filter(|stored| stored.number == number);
                let stored = stored.ok_or(PlanFault { row: row.number(), what: "no values of the contact" })?;
                Ok(self.existing(asked, stored, found))
            }
            Subject::New(key) => Ok(self.new_contact(asked, key.map(|(_, key)| key), found)),
        }
    }

    /// Step 1: quotes, and the number of cells.
    fn defect(&mut self, row: Row<'_>) -> Option<Fate> {
        let width = self.planner.file.header.width;
        let (code, message) = match row.defect() {
            Some(defect @ RowDefect::TextAfterQuote { column }) => {
                (defect.code(), format!("Text follows a closing quote in column {}", column + 1))
            }
            None if row.width() != width => {
                (ErrorCode::CellCount, format!("The row has {}, the header has {}", cells(row.width()), cells(width)))
            }
            None => return None,
        };
        self.planner.report.error(|| RowError { row: Some(row.number()), field: None, code, value: None, message });
        Some(Fate::Failed)
    }

    /// Step 2: whom the row is about; or its fate, where its `signalvine_id` decides it.
    fn subject(&mut self, row: Row<'b>, identity: &Identity, found: &'b RowFound) -> Result<Subject<'b>, Fate> {
        let stored = found.contact.as_ref();
        match (identity.signalvine_id, found.by_signalvine_id) {
            (IdCell::Malformed, _) => return Err(self.malformed_id(row)),
            (IdCell::Own(_), Some(number)) => {
                return Ok(Subject::Known { number, by: FieldNumber::SIGNALVINE_ID, stored });
            }
            (IdCell::Foreign | IdCell::Own(_), _) => return Err(self.unknown_id(row)),
            (IdCell::Blank, _) => {}
        }
        let customer_id = self.planner.file.customer_id(row);
        if !customer_id.is_empty() {
            return Ok(match self.overlay.holder_of_customer_id(customer_id, found) {
                Some(number) => Subject::Known { number, by: FieldNumber::CUSTOMER_ID, stored },
                None => Subject::New(Some((FieldNumber::CUSTOMER_ID, NewKey::CustomerId(customer_id)))),
            });
        }
        Ok(match identity.phone {
            None => Subject::New(None),
            Some(phone) => match self.overlay.holder_of_phone(phone, found) {
                Some(number) => Subject::KnownByPhone(number),
                None => Subject::New(Some((FieldNumber::PHONE, NewKey::Phone(phone)))),
            },
        })
    }

    fn malformed_id(&mut self, row: Row<'_>) -> Fate {
        let place = self.planner.file.header.signalvine_id.unwrap_or_default();
        let field_type = FieldType::plain(ValueType::Uuid);
        let cell = self.planner.file.header.cell(row, place);
        self.planner.report.error(|| refused_cell(row, (place, cell), "signalvine_id", field_type, Refusal::Invalid));
        Fate::Failed
    }

    fn unknown_id(&mut self, row: Row<'_>) -> Fate {
        if self.planner.file.options.new == New::Ignore {
            return Fate::Ignored;
        }
        let place = self.planner.file.header.signalvine_id;
        self.cell_error(row, place, "signalvine_id", ErrorCode::UnknownSignalvineId, |cell| {
            format!("No contact of the program has the signalvine_id '{cell}', and none can be added under a given one")
        })
    }

    /// Step 3: the row that claimed the contact first, and the column by which this one names it.
    fn earlier_claim(&self, subject: &Subject<'_>) -> Option<(u64, FieldNumber)> {
        match subject {
            Subject::Known { number, by, stored: _ } => {
                self.planner.claims.of_contact(*number).map(|first| (first, *by))
            }
            Subject::KnownByPhone(number) => {
                self.planner.claims.of_contact(*number).map(|first| (first, FieldNumber::PHONE))
            }
            Subject::New(Some((by, key))) => self.planner.claims.of_refused(*key).map(|first| (first, *by)),
            Subject::New(None) => None,
        }
    }

    fn duplicate(&mut self, row: Row<'_>, first: u64, field: FieldNumber) -> Fate {
        let header = &self.planner.file.header;
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
            Subject::New(_) => self.planner.file.options.new == New::Add,
            Subject::Known { .. } | Subject::KnownByPhone(_) => self.planner.file.options.existing != Existing::Ignore,
        }
    }

    /// Step 5: the `customer_id` beside a known `signalvine_id` belongs to somebody else.
    fn ids_disagree(&self, row: Row<'_>, number: ContactNumber, by: FieldNumber, found: &RowFound) -> bool {
        let customer_id = self.planner.file.customer_id(row);
        by == FieldNumber::SIGNALVINE_ID
            && !customer_id.is_empty()
            && self.overlay.holder_of_customer_id(customer_id, found).is_some_and(|holder| holder != number)
    }

    fn refuse_ids(&mut self, row: Row<'_>) -> Fate {
        self.cell_error(row, self.planner.file.header.customer_id, "customer_id", ErrorCode::IdsDisagree, |cell| {
            format!("The signalvine_id and the customer_id '{cell}' belong to two different contacts")
        })
    }

    fn identity_required(&mut self, row: Row<'_>) -> Fate {
        self.cell_error(row, self.planner.file.header.phone, "phone", ErrorCode::IdentityRequired, |_| {
            "A contact of the program has this phone, and a phone is no proof of identity: send customer_id or signalvine_id"
                .to_owned()
        })
    }

    /// Steps 7 and 8 for a contact that the program has: the fields that `existing` names.
    fn existing(&mut self, asked: Asked<'b>, stored: &'b StoredContact, found: &RowFound) -> Fate {
        let header = &self.planner.file.header;
        let mut update = Update {
            number: stored.number,
            customer_id: None,
            phone: None,
            active: None,
            profile: None,
            times: FieldTimes::default(),
        };
        // Mostly no ordinary field says anything new, whether `existing` names it or not, and its cell need not be looked at.
        let agrees = asked.profile.is_some_and(|packed| stored.profile.agrees(packed, &header.numbers));
        let places = if agrees { &header.special } else { &header.all };
        let before: Vec<(FieldNumber, &str)> = if agrees { Vec::new() } else { stored.profile.iter().collect() };
        let before = |number| before.binary_search_by_key(&number, |(at, _)| *at).map_or("", |at| before[at].1);
        // The index of the column, and the number of its field.
        let (mut changed, mut values, mut failed) = (Vec::new(), Vec::new(), false);
        let mut customer_id = None;
        for (at, column) in
            places.iter().map(|at| (*at, &header.columns[*at])).filter(|(_, column)| column.for_existing)
        {
            let number = column.field.number;
            let Ok(value) = self.value(asked, at, Some(stored.number), found) else {
                failed = true;
                continue;
            };
            let differs = match value {
                Value::Phone(phone) => changes(&mut update.phone, &stored.phone, phone),
                Value::Text(text) => match column.field.role {
                    Role::CustomerId => changes(&mut customer_id, &&*stored.customer_id, text),
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
        update.customer_id = customer_id.map(str::to_owned);
        if let Some(sample) = &mut self.planner.sample {
            for (at, number) in &changed {
                let new = values.iter().find(|(changed, _)| changed == number).map_or("", |(_, value)| *value);
                let (before, after) = match header.columns[*at].field.role {
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
            update.profile = Some(stored.profile.with(&values));
        }
        let mut changed: Vec<FieldNumber> = changed.into_iter().map(|(_, number)| number).collect();
        changed.sort();
        let after_ms = u64::try_from(self.planner.now_ms.saturating_sub(stored.created_ms)).unwrap_or(0);
        update.times = stored.times.with(&changed, after_ms);
        self.overlay.updated(customer_id, stored, &update);
        Fate::Updated(update)
    }

    /// Steps 6 to 8 for a contact that the program does not have: all columns.
    fn new_contact(&mut self, asked: Asked<'b>, key: Option<NewKey<'b>>, found: &RowFound) -> Fate {
        let row = asked.row;
        let header = &self.planner.file.header;
        // Where all ordinary fields are valid, nothing is to be told of them.
        let places = if asked.profile.is_some() { &header.special } else { &header.all };
        let (mut phone, mut failed) = (None, false);
        let (mut customer_id, mut active) = ("", true);
        for at in places {
            match self.value(asked, *at, None, found) {
                Err(()) => failed = true,
                Ok(Value::Phone(number)) => phone = Some(number),
                Ok(Value::Text(value)) => match header.columns[*at].field.role {
                    Role::CustomerId => customer_id = value,
                    Role::Active => active = value == "true",
                    Role::Ordinary | Role::Phone | Role::SignalvineId | Role::ReadOnly => {}
                },
            }
        }
        if header.phone.is_none() {
            failed = true;
            let message = could_not_parse("", FieldType::plain(ValueType::Phone));
            self.planner.report.error(|| RowError {
                row: Some(row.number()),
                field: Some("phone".to_owned()),
                code: ErrorCode::MissingValue,
                value: None,
                message,
            });
        }
        let (Some(phone), Some(profile), false) = (phone, asked.profile, failed) else {
            if let Some(key) = key {
                self.planner.claims.claim_refused(key, row.number());
            }
            return Fate::Failed;
        };
        let number = self.planner.next_number;
        self.planner.next_number = ContactNumber::new(number.get() + 1).unwrap_or(ContactNumber::MAX);
        self.planner.claims.claim_contact(number, row.number());
        let profile = Profile::from_bytes(profile.to_vec());
        let addition = Addition { number, customer_id: customer_id.to_owned(), phone, active, profile };
        self.overlay.added(customer_id, &addition);
        Fate::Added(addition)
    }

    /// Step 7 for one cell, in the column of this index: its value in the normal form, or an error that is reported.
    fn value(
        &mut self,
        asked: Asked<'b>,
        at: usize,
        contact: Option<ContactNumber>,
        found: &RowFound,
    ) -> Result<Value<'b>, ()> {
        let Asked { row, identity, forms, normals, profile: _ } = asked;
        let column = &self.planner.file.header.columns[at];
        let cell = self.planner.file.header.cell(row, column.place);
        let field = &column.field;
        if field.role != Role::Phone {
            return forms[at].text(cell, normals).map(Value::Text).ok_or_else(|| {
                // A cell that nobody read cannot be asked for; if it were, it would not be believed.
                let refusal = if let Form::Refused(refusal) = forms[at] { refusal } else { Refusal::Invalid };
                let refused = || refused_cell(row, (column.place, cell), &field.name, field.field_type, refusal);
                self.planner.report.error(refused);
            });
        }
        let Some(phone) = identity.phone else {
            let refusal = if cell.is_empty() { Refusal::Missing } else { Refusal::Invalid };
            let refused = || refused_cell(row, (column.place, cell), &field.name, field.field_type, refusal);
            self.planner.report.error(refused);
            return Err(());
        };
        let holder = self.overlay.holder_of_phone(phone, found);
        if holder.is_some_and(|holder| Some(holder) != contact) {
            self.cell_error(row, Some(column.place), &field.name, ErrorCode::PhoneTaken, |_| {
                format!("Another contact of the program has the phone {phone}")
            });
            return Err(());
        }
        Ok(Value::Phone(phone))
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
        self.planner.report.error(|| RowError {
            row: Some(row.number()),
            field: Some(name.to_owned()),
            code,
            value: place.map(|place| shortened(row.raw(place))),
            message: message(
                &place.map(|place| shortened(self.planner.file.header.cell(row, place))).unwrap_or_default(),
            ),
        });
        Fate::Failed
    }
}

/// A cell's value, as a contact keeps it.
enum Value<'a> {
    Phone(Phone),
    Text(&'a str),
}

/// Notes a new value where it differs from the stored one.
fn changes<T: PartialEq>(update: &mut Option<T>, stored: &T, value: T) -> bool {
    let differs = *stored != value;
    if differs {
        *update = Some(value);
    }
    differs
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
