//! Contacts, programs and pages of them, as they are read (contract, section 5).

use serde::Serialize;

use crate::contact::date_time::print_ms;
use crate::contact::{Contact, Schema};
use crate::tenant::Program;

/// The fields of a program: `GET /v1/programs/{id}?type=schema`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct SchemaJson {
    fields: Vec<FieldJson>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
struct FieldJson {
    name: String,
    #[serde(rename = "type")]
    field_type: String,
}

impl From<&Schema> for SchemaJson {
    fn from(schema: &Schema) -> SchemaJson {
        let fields = schema
            .fields()
            .iter()
            .map(|field| FieldJson { name: field.name.clone(), field_type: field.field_type.to_string() })
            .collect();
        SchemaJson { fields }
    }
}

/// A program's settings: `GET /v1/programs/{id}`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProgramJson {
    id: String,
    account_id: String,
    name: String,
    active: bool,
    country: String,
    phone: String,
    timezone: String,
}

impl From<&Program> for ProgramJson {
    fn from(program: &Program) -> ProgramJson {
        ProgramJson {
            id: program.id.to_string(),
            account_id: program.account.to_string(),
            name: program.name.clone(),
            active: program.active,
            country: program.region.as_str().to_owned(),
            phone: program.phone.map(|phone| phone.to_string()).unwrap_or_default(),
            timezone: program.timezone.clone().unwrap_or_default(),
        }
    }
}

/// A program in a list: exactly these members.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProgramItemJson {
    id: String,
    account_id: String,
    name: String,
    active: bool,
}

impl From<&Program> for ProgramItemJson {
    fn from(program: &Program) -> ProgramItemJson {
        ProgramItemJson {
            id: program.id.to_string(),
            account_id: program.account.to_string(),
            name: program.name.clone(),
            active: program.active,
        }
    }
}

/// A contact in a list.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ContactJson {
    id: String,
    customer_id: String,
    program_id: String,
    phone: String,
}

impl ContactJson {
    /// A contact of a program.
    pub fn of(contact: &Contact, program: &Program) -> ContactJson {
        ContactJson {
            id: contact.id.to_string(),
            customer_id: contact.customer_id.clone(),
            program_id: program.id.to_string(),
            phone: contact.phone.to_string(),
        }
    }
}

/// A contact with everything: `?type=full`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FullContactJson {
    id: String,
    customer_id: String,
    account_id: String,
    program_id: String,
    program_name: String,
    program_active: bool,
    phone: String,
    program_phone: String,
    created: String,
    active: bool,
    groups: Vec<String>,
    profile: Vec<ProfileEntry>,
    received_count: u64,
    sent_count: u64,
    scheduled_count: u64,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
struct ProfileEntry {
    name: String,
    #[serde(rename = "type")]
    field_type: String,
    updated: String,
    sort: u32,
    value: String,
}

impl FullContactJson {
    /// A contact of a program. The counts are 0: this service sends no messages.
    pub fn of(contact: &Contact, program: &Program, schema: &Schema) -> FullContactJson {
        let profile = contact.fields(schema, program.phone).zip(1..).map(|(view, sort)| ProfileEntry {
            name: view.field.name.clone(),
            field_type: view.field.field_type.to_string(),
            updated: print_ms(view.updated_ms),
            sort,
            value: view.value,
        });
        FullContactJson {
            id: contact.id.to_string(),
            customer_id: contact.customer_id.clone(),
            account_id: program.account.to_string(),
            program_id: program.id.to_string(),
            program_name: program.name.clone(),
            program_active: program.active,
            phone: contact.phone.to_string(),
            program_phone: program.phone.map(|phone| phone.to_string()).unwrap_or_default(),
            created: print_ms(contact.created_ms),
            active: contact.active,
            groups: contact.groups().map(str::to_owned).collect(),
            profile: profile.collect(),
            received_count: 0,
            sent_count: 0,
            scheduled_count: 0,
        }
    }
}

/// A page of a list.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Envelope<T> {
    items: Vec<T>,
    links: Vec<Link>,
    total: u64,
    offset: u64,
    count: u64,
    next_offset: Option<u64>,
    prev_offset: Option<u64>,
    last_offset: u64,
    pages: u64,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
struct Link {
    rel: &'static str,
    uri: String,
}

/// One of the places that a page leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// The page itself.
    This,
    /// The page after so many items.
    At(u64),
    /// The page right behind this one, which is after so many items.
    Next(u64),
}

impl<T> Envelope<T> {
    /// A page of `total` items that begins after `offset` of them. `is_last`: nothing follows, whatever the total says. `uri` gives path
    /// and query of a place.
    pub fn new(
        items: Vec<T>,
        (total, offset, count): (u64, u64, u64),
        is_last: bool,
        uri: impl Fn(Place) -> String,
    ) -> Envelope<T> {
        let pages = total.div_ceil(count.max(1));
        let last_offset = pages.saturating_sub(1) * count;
        let next_offset = Some(offset.saturating_add(count)).filter(|next| *next < total && !is_last);
        let prev_offset = (offset > 0).then(|| offset.saturating_sub(count));
        let places = [
            ("self", Some(Place::This)),
            ("first", Some(Place::At(0))),
            ("prev", prev_offset.map(Place::At)),
            ("next", next_offset.map(Place::Next)),
            ("last", Some(Place::At(last_offset))),
        ];
        let links = places.into_iter().filter_map(|(rel, at)| at.map(|at| Link { rel, uri: uri(at) })).collect();
        Envelope { items, links, total, offset, count, next_offset, prev_offset, last_offset, pages }
    }
}
