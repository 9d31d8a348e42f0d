//! What rows say by themselves, before anybody looks at the program: who they are about, and the values of their cells. Pure.
//!
//! It needs nothing but the file's rows, so another thread may do it ahead of the plan.

use std::borrow::Cow;

use super::change::IdentityKeys;
use super::header::{Column, FileHeader};
use super::options::{Existing, ImportOptions, New};
use super::records::{Batch, Row};
use super::report::FileErrors;
use crate::contact::{
    ContactId, FieldNumber, FieldType, PackedRows, Phone, ProgramTag, Refusal, Region, Role, Schema, ValueType,
    normal_form, normal_form_without_nul, parse_uuid,
};

/// What does not change while a file is planned: its columns, the options, the program. Shared between threads.
#[derive(Clone, Debug)]
pub struct FilePlan {
    pub(super) header: FileHeader,
    pub(super) options: ImportOptions,
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

    /// Reads who the rows say they are about, and the values of their cells.
    pub fn identify(&self, batch: Batch) -> IdentifiedBatch {
        self.identify_in(batch, Spent::default())
    }

    /// The same, in the room of another batch.
    pub fn identify_in(&self, batch: Batch, room: Spent) -> IdentifiedBatch {
        let Spent { mut identities, mut cells } = room;
        let columns = &self.header.columns;
        identities.reserve(batch.len());
        cells.forms.reserve(batch.len() * columns.len());
        let may_have_nul = batch.has_nul();
        let (mut row_cells, mut above) = (Vec::with_capacity(columns.len()), Vec::new());
        for row in batch.rows() {
            identities.push(self.identity(row));
            row_cells.clear();
            // Defective rows are never looked at.
            if self.is_whole(row) {
                row_cells.extend(columns.iter().map(|column| self.header.cell(row, column.place)));
                self.read_cells((&row_cells, may_have_nul), &above, &mut cells);
            } else {
                cells.forms.extend(columns.iter().map(|_| Form::NotRead));
                cells.profiles.end_row(false);
            }
            std::mem::swap(&mut row_cells, &mut above);
        }
        IdentifiedBatch { batch, identities, cells }
    }

    fn is_whole(&self, row: Row<'_>) -> bool {
        row.defect().is_none() && row.width() == self.header.width
    }

    /// Reads the cells of a row that may be looked at; `above` are those of the row before, or none.
    fn read_cells(&self, (row, may_have_nul): (&[&str], bool), above: &[&str], cells: &mut Cells) {
        let columns = &self.header.columns;
        let Cells { forms, normals, profiles } = cells;
        for (at, column) in columns.iter().enumerate() {
            let is_above = || above.get(at).is_some_and(|above| *above == row[at]);
            let form = if !self.is_read(column) {
                Form::NotRead
            } else if is_slow(column.field.field_type) && is_above() {
                // Files repeat themselves: what the cell above says need not be read again.
                forms[forms.len() - columns.len()]
            } else {
                match self.normal_form(row[at], column.field.field_type, may_have_nul) {
                    Ok(normal) if normal == row[at] => Form::AsItStands,
                    Ok(normal) => normals.push(&normal),
                    Err(refusal) => Form::Refused(refusal),
                }
            };
            forms.push(form);
        }
        let forms = &forms[forms.len() - columns.len()..];
        let mut is_packed = self.is_packed();
        let by_number: &[usize] = if is_packed { &self.header.by_number } else { &[] };
        for at in by_number {
            let Some(text) = forms[*at].text(row[*at], normals) else {
                is_packed = false;
                break;
            };
            profiles.push(columns[*at].field.number, text);
        }
        profiles.end_row(is_packed);
    }

    fn normal_form<'a>(
        &self,
        cell: &'a str,
        field_type: FieldType,
        may_have_nul: bool,
    ) -> Result<Cow<'a, str>, Refusal> {
        if may_have_nul {
            normal_form(cell, field_type, self.region)
        } else {
            normal_form_without_nul(cell, field_type, self.region)
        }
    }

    /// Phones are read as identities.
    fn is_read(&self, column: &Column) -> bool {
        column.field.role != Role::Phone && (self.options.new == New::Add || column.for_existing)
    }

    /// Whether all values that a profile keeps are read.
    fn is_packed(&self) -> bool {
        self.options.new == New::Add || self.header.existing_takes_all
    }

    fn identity(&self, row: Row<'_>) -> Identity {
        if !self.is_whole(row) {
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
        let IdentifiedBatch { batch, identities, cells: _ } = identified;
        batch.rows().zip(identities).map(|(row, identity)| self.row_keys(row, identity)).collect()
    }

    fn row_keys<'a>(&self, row: Row<'a>, identity: &Identity) -> IdentityKeys<'a> {
        let signalvine_id = match identity.signalvine_id {
            IdCell::Blank => None,
            IdCell::Own(id) => Some(id),
            // Such a row is decided without any look-up.
            IdCell::Malformed | IdCell::Foreign => return IdentityKeys::default(),
        };
        if !self.is_whole(row) {
            return IdentityKeys::default();
        }
        // No stored value has a NUL, and a store may be unable even to ask for one.
        let customer_id = Some(self.customer_id(row)).filter(|cell| !cell.is_empty() && !cell.contains('\0'));
        IdentityKeys { signalvine_id, customer_id, phone: identity.phone }
    }

    pub(super) fn customer_id<'a>(&self, row: Row<'a>) -> &'a str {
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
pub(super) enum IdCell {
    Blank,
    /// No UUID.
    Malformed,
    /// A UUID that this program never gave out.
    Foreign,
    /// One that it may have given out.
    Own(ContactId),
}

/// Who a row says it is about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Identity {
    pub(super) signalvine_id: IdCell,
    /// The phone cell's number, if it is a valid one.
    pub(super) phone: Option<Phone>,
}

/// What a cell says, as far as it can be told without a look at the program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Form {
    /// Nobody will ask.
    NotRead,
    /// It is in its normal form already.
    AsItStands,
    /// Its normal form, which is so many in the batch's [`Normals`].
    Normal(u32),
    Refused(Refusal),
}

/// The normal forms of a batch's cells that are not in it, one after the other: no allocation for each.
#[derive(Debug, Default)]
pub(super) struct Normals {
    text: String,
    ends: Vec<usize>,
}

impl Normals {
    fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
    }

    fn push(&mut self, normal: &str) -> Form {
        self.text.push_str(normal);
        let at = u32::try_from(self.ends.len());
        self.ends.push(self.text.len());
        // A record is too short for so many cells.
        at.map_or(Form::Refused(Refusal::Invalid), Form::Normal)
    }

    fn get(&self, at: u32) -> Option<&str> {
        let at = usize::try_from(at).ok()?;
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        self.text.get(start..*self.ends.get(at)?)
    }
}

impl Form {
    /// The value, of a cell that has one; `normals` are the batch's.
    pub(super) fn text<'a>(self, cell: &'a str, normals: &'a Normals) -> Option<&'a str> {
        match self {
            Form::AsItStands => Some(cell),
            Form::Normal(at) => normals.get(at),
            Form::NotRead | Form::Refused(_) => None,
        }
    }
}

/// Whether reading a value costs more than finding out that the cell above says the same.
fn is_slow(field_type: FieldType) -> bool {
    match field_type.value {
        ValueType::String | ValueType::Boolean | ValueType::Numeric | ValueType::List => false,
        ValueType::Float
        | ValueType::Date
        | ValueType::DateTime
        | ValueType::Phone
        | ValueType::Uuid
        | ValueType::Timezone => true,
    }
}

/// What the cells of a batch say.
#[derive(Debug, Default)]
pub(super) struct Cells {
    /// For each row, one for each column of the header that may be looked at.
    pub(super) forms: Vec<Form>,
    pub(super) normals: Normals,
    /// The ordinary fields of each row as they would be stored, where all are read and valid.
    pub(super) profiles: PackedRows,
}

impl Cells {
    fn clear(&mut self) {
        let Cells { forms, normals, profiles } = self;
        forms.clear();
        normals.clear();
        profiles.clear();
    }
}

/// The room that a batch's findings took, for those of another one: fresh memory would have to be cleared.
#[derive(Debug, Default)]
pub struct Spent {
    identities: Vec<Identity>,
    cells: Cells,
}

/// A batch of rows with who they say they are about, and what.
#[derive(Debug)]
pub struct IdentifiedBatch {
    pub(super) batch: Batch,
    pub(super) identities: Vec<Identity>,
    pub(super) cells: Cells,
}

impl IdentifiedBatch {
    /// What is left of it when nobody needs it any more.
    pub fn take_apart(self) -> (Batch, Spent) {
        let IdentifiedBatch { batch, mut identities, mut cells } = self;
        identities.clear();
        cells.clear();
        (batch, Spent { identities, cells })
    }

    /// How many rows.
    pub fn len(&self) -> usize {
        self.batch.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.batch.is_empty()
    }
}
