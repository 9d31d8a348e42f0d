//! Contacts, programs and pages of them, as they are read (contract, section 5).

use schemars::JsonSchema;
use serde::Serialize;

use crate::contact::date_time::print_ms;
use crate::contact::{Contact, Schema};
use crate::tenant::Program;

/// The fields of a program: `GET /v1/programs/{id}?type=schema`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Schema")]
pub struct SchemaJson {
    fields: Vec<FieldJson>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Field")]
struct FieldJson {
    /// As a column of a file is called.
    name: String,
    /// `String`, `Boolean`, `Numeric`, `Float`, `Date`, `DateTime`, `Phone`, `UUID`, `Timezone` or `List`, or one of them that may be blank: `Maybe (Boolean)`.
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
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Program")]
pub struct ProgramJson {
    #[schemars(extend("format" = "uuid"))]
    id: String,
    #[schemars(extend("format" = "uuid"))]
    account_id: String,
    name: String,
    /// An inactive one may be imported into, and is listed with `active=all` only.
    active: bool,
    /// Whose national spelling of phones is understood: two letters.
    country: String,
    /// Its own, in E.164, or blank.
    phone: String,
    /// A name of the tz database, or blank.
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
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ProgramItem", extend("additionalProperties" = false))]
pub struct ProgramItemJson {
    #[schemars(extend("format" = "uuid"))]
    id: String,
    #[schemars(extend("format" = "uuid"))]
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
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Participant", extend("additionalProperties" = false))]
pub struct ContactJson {
    /// What files call `signalvine_id`.
    #[schemars(extend("format" = "uuid"))]
    id: String,
    /// The sender's own id, or blank.
    customer_id: String,
    #[schemars(extend("format" = "uuid"))]
    program_id: String,
    /// In E.164.
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
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "FullParticipant", extend("additionalProperties" = false))]
pub struct FullContactJson {
    /// What files call `signalvine_id`.
    #[schemars(extend("format" = "uuid"))]
    id: String,
    /// The sender's own id, or blank.
    customer_id: String,
    #[schemars(extend("format" = "uuid"))]
    account_id: String,
    #[schemars(extend("format" = "uuid"))]
    program_id: String,
    program_name: String,
    program_active: bool,
    /// In E.164.
    phone: String,
    /// The program's, or blank.
    program_phone: String,
    #[schemars(extend("format" = "date-time"))]
    created: String,
    active: bool,
    /// The names of the contact's groups.
    groups: Vec<String>,
    /// Every field of the program.
    profile: Vec<ProfileEntry>,
    /// 0: this service sends no messages.
    received_count: u64,
    /// 0.
    sent_count: u64,
    /// 0.
    scheduled_count: u64,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
struct ProfileEntry {
    name: String,
    #[serde(rename = "type")]
    field_type: String,
    /// When the value last changed; the contact's creation if it never did.
    #[schemars(extend("format" = "date-time"))]
    updated: String,
    /// Its place.
    sort: u32,
    /// Always text; blank is an empty one.
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
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "PageOf{T}", extend("additionalProperties" = false))]
pub struct Envelope<T> {
    items: Vec<T>,
    /// To this page, and to the others that there are.
    links: Vec<Link>,
    /// Of the whole list.
    total: u64,
    /// Where the page begins.
    offset: u64,
    /// As asked for: the page may have fewer items.
    count: u64,
    /// Null on the last page.
    next_offset: Option<u64>,
    /// Null on the first page.
    prev_offset: Option<u64>,
    /// Where the last page begins.
    last_offset: u64,
    pages: u64,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
struct Link {
    #[schemars(extend("enum" = ["self", "first", "prev", "next", "last"]))]
    rel: &'static str,
    /// Path and query, without a host.
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
