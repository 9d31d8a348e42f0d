//! Contacts of a program: the list, found by name, phone or id; and one contact with all its fields.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::response::Response;

use super::Console;
use super::answer::{Turned, page as show};
use super::data::Data;
use super::form::{Asked, Fields};
use super::frame::{Frame, Section};
use super::imports::{Choice, link_to};
use super::names::{COUNTED_MAX, Known, Search, names};
use super::programs::id_of_program;
use super::words::{self, When};
use crate::contact::{Contact, ContactId, ContactNumber, FieldNumber, Phone, parse_uuid};
use crate::store::{ContactKey, PageStart, ProgramItem};
use crate::tenant::{Program, ProgramId, Role};

/// Contacts on a page of the list.
const LIST_COUNT: u32 = 50;

struct ContactItem {
    id: String,
    name: String,
    phone: String,
    customer_id: String,
    groups: String,
    is_active: bool,
    updated: When,
}

fn item(contact: &Contact) -> ContactItem {
    ContactItem {
        id: contact.id.to_string(),
        name: name_of(contact),
        phone: words::phone(&contact.phone.to_string()),
        customer_id: contact.customer_id.clone(),
        groups: contact.groups().collect::<Vec<_>>().join(", "),
        is_active: contact.active,
        updated: When(contact.updated_ms),
    }
}

/// The name, or what there is in place of one.
fn name_of(contact: &Contact) -> String {
    let [first, last] = [FieldNumber::FIRST_NAME, FieldNumber::LAST_NAME].map(|field| contact.profile.get(field));
    let name = format!("{first} {last}");
    if name.trim().is_empty() { words::phone(&contact.phone.to_string()) } else { name.trim().to_owned() }
}

#[derive(Template)]
#[template(path = "console/contacts.html")]
struct ListPage {
    frame: Frame,
    program: String,
    program_id: String,
    contacts: String,
    active: String,
    has_none: bool,
    q: String,
    group: String,
    groups: Vec<String>,
    activities: Vec<Choice>,
    items: Vec<ContactItem>,
    /// How many were found, in words.
    found: String,
    /// Why the search could not be done.
    trouble: Option<&'static str>,
    is_filtered: bool,
    is_later_page: bool,
    next: Option<String>,
    may_import: bool,
}

/// What a search came to.
#[derive(Default)]
struct Found {
    contacts: Vec<Contact>,
    found: String,
    next: Option<String>,
    trouble: Option<&'static str>,
    groups: Vec<String>,
}

pub(super) async fn list(
    State(console): State<Arc<Console>>,
    data: Data,
    Path(program): Path<String>,
    Asked(asked): Asked,
) -> Result<Response, Turned> {
    let ProgramItem { program, contacts, active, .. } = data.program_item(id_of_program(&program)?).await?;
    let (q, group) = (asked.get("q"), asked.some("group"));
    let activity = match asked.get("activity") {
        "active" => Some(true),
        "inactive" => Some(false),
        _ => None,
    };
    let is_filtered = !q.is_empty() || group.is_some() || activity.is_some();
    let Found { contacts: page, found, next, trouble, groups } =
        find(&console, &data, &program, (q, group, activity), &asked).await?;
    let choice = |value: &str, label: &str, chosen: &str| Choice {
        value: value.to_owned(),
        label: label.to_owned(),
        is_chosen: value == chosen,
    };
    let activities = [("", "Active and inactive"), ("active", "Active"), ("inactive", "Inactive")];
    let view = ListPage {
        frame: Frame::of(program.name.clone(), Section::Overview, &data).after(asked.some("done")),
        program_id: program.id.to_string(),
        program: program.name,
        contacts: words::count(contacts, "contact", "contacts"),
        active: words::number(active),
        has_none: contacts == 0,
        q: q.to_owned(),
        group: group.unwrap_or_default().to_owned(),
        groups,
        activities: activities.map(|(value, label)| choice(value, label, asked.get("activity"))).into(),
        items: page.iter().map(item).collect(),
        found,
        trouble,
        is_filtered,
        is_later_page: asked.some("after").is_some(),
        next,
        may_import: data.may(Role::Editor),
    };
    Ok(show(&view))
}

async fn find(
    console: &Arc<Console>,
    data: &Data,
    program: &Program,
    (q, group, activity): (&str, Option<&str>, Option<bool>),
    asked: &Fields,
) -> Result<Found, Turned> {
    if q.is_empty() && group.is_none() && activity != Some(false) {
        return in_order(data, program.id, activity == Some(true), asked).await;
    }
    let mut exact = Vec::new();
    for key in keys_of(q, program) {
        let found = data.find_contact(program.id, key).await?;
        exact.extend(found.filter(|found| !exact.iter().any(|known: &Contact| known.id == found.id)));
    }
    if !exact.is_empty() && group.is_none() {
        exact.retain(|contact| activity.is_none_or(|activity| contact.active == activity));
        let found = words::count(exact.len() as u64, "contact has this id or phone", "contacts have this id or phone");
        return Ok(Found { found, contacts: exact, ..Found::default() });
    }
    let known = match names(console, data, program.id).await? {
        Known::Names(known) => known,
        Known::NotYet => {
            let trouble = "The names of this program are being read for the first search since its last import. Look again in a moment.";
            return Ok(Found { trouble: Some(trouble), ..Found::default() });
        }
        Known::TooMany => {
            let trouble =
                "This program has too many contacts to be searched by name or group. Search for a phone or an id.";
            return Ok(Found { trouble: Some(trouble), ..Found::default() });
        }
    };
    let after: u64 = asked.get("after").parse().unwrap_or(0);
    let matches = known.find(&Search::of(q, group, activity), after, LIST_COUNT as usize);
    let mut contacts = Vec::new();
    for number in &matches.numbers {
        contacts.extend(of_number(data, program.id, *number).await?);
    }
    let is_counted = matches.total < COUNTED_MAX;
    let found = if is_counted {
        words::count(matches.total, "contact", "contacts")
    } else {
        "1,000 contacts or more".to_owned()
    };
    let end = after + matches.numbers.len() as u64;
    let next = (end < matches.total && !matches.numbers.is_empty()).then(|| asked.with("after", &end.to_string()));
    Ok(Found { contacts, found: format!("{found} found"), next, trouble: None, groups: known.groups().to_vec() })
}

/// What the text may be beside a name.
fn keys_of(q: &str, program: &Program) -> Vec<ContactKey> {
    if q.is_empty() {
        return Vec::new();
    }
    let id = parse_uuid(q).and_then(ContactId::from_uuid).map(ContactKey::Id);
    let phone = Phone::parse(q, program.region).map(ContactKey::Phone);
    id.into_iter().chain(phone).chain([ContactKey::CustomerId(q.to_owned())]).collect()
}

/// The contact of a number, unless it has gone.
async fn of_number(data: &Data, program: ProgramId, number: ContactNumber) -> Result<Option<Contact>, Turned> {
    let start = match ContactNumber::new(number.get() - 1) {
        Some(before) => PageStart::After(before),
        None => PageStart::Offset(0),
    };
    let page = data.contacts(program, (false, start), 1).await?;
    Ok(page.contacts.into_iter().find(|contact| contact.id.number == number))
}

async fn in_order(data: &Data, program: ProgramId, active_only: bool, asked: &Fields) -> Result<Found, Turned> {
    let start = asked.get("after").parse().ok().and_then(ContactNumber::new);
    let start = start.map_or(PageStart::Offset(0), PageStart::After);
    let page = data.contacts(program, (active_only, start), LIST_COUNT + 1).await?;
    let mut contacts = page.contacts;
    let has_more = contacts.len() > LIST_COUNT as usize;
    contacts.truncate(LIST_COUNT as usize);
    let last = contacts.last().filter(|_| has_more);
    let next = last.map(|last| asked.with("after", &last.id.number.get().to_string()));
    let found = if active_only { words::count(page.total, "active contact", "active contacts") } else { String::new() };
    Ok(Found { contacts, found, next, ..Found::default() })
}

struct FieldLine {
    name: String,
    value: String,
    kind: String,
    updated: When,
}

#[derive(Template)]
#[template(path = "console/contact.html")]
struct ContactPage {
    frame: Frame,
    name: String,
    is_active: bool,
    program: String,
    program_id: String,
    fields: Vec<FieldLine>,
    created: When,
    updated: When,
    last_import: Option<String>,
    imports: String,
}

pub(super) async fn one(data: Data, Path(contact): Path<String>) -> Result<Response, Turned> {
    let id = parse_uuid(&contact).and_then(ContactId::from_uuid).ok_or(Turned::NotFound("contact"))?;
    let (program, contact) = data.contact(id).await?;
    let schema = data.schema(program.id).await?;
    let line = |view: crate::contact::FieldView<'_>| FieldLine {
        name: view.field.name.clone(),
        kind: view.field.field_type.to_string(),
        value: view.value,
        updated: When(view.updated_ms),
    };
    let page = ContactPage {
        frame: Frame::of(name_of(&contact), Section::Overview, &data),
        name: name_of(&contact),
        is_active: contact.active,
        fields: contact.fields(&schema, program.phone).map(line).collect(),
        created: When(contact.created_ms),
        updated: When(contact.updated_ms),
        last_import: data.last_import(&contact).await?.map(|import| import.to_string()),
        imports: link_to(program.id, &Fields::default()),
        program_id: program.id.to_string(),
        program: program.name,
    };
    Ok(show(&page))
}
