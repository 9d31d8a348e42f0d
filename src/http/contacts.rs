//! Reading contacts: a program's, an account's, and one (contract, section 5).

use axum::http::Uri;
use axum::response::Response;
use serde::Serialize;
use uuid::Uuid;

use super::answer::{Refused, json};
use super::data::Data;
use super::parameters::{Page, Parameters, RawParameters, bad_parameter};
use super::path::{PathId, account_of, program_of};
use super::signed::Signed;
use crate::contact::{Contact, ContactId};
use crate::problem::{Code, Problem};
use crate::store::{AccountPageStart, ContactQuery, PageStart};
use crate::tenant::Program;
use crate::wire::{ContactJson, Envelope, FullContactJson};

/// `GET /v1/programs/{id}/participants`, with `type=full` everything about each.
pub(super) async fn of_program(
    path: PathId,
    uri: Uri,
    parameters: RawParameters,
    signed: Signed,
) -> Result<Response, Refused> {
    let program = program_of(&signed, &path).await?;
    let list = List::asked(&uri, parameters)?;
    let start = match list.page.after {
        None => PageStart::Offset(list.page.offset),
        Some(contact) if contact.tag == program.tag => PageStart::After(contact.number),
        Some(other) => {
            return Err(bad_parameter("after", &other.to_string(), "the id of a contact of this program").into());
        }
    };
    let query = ContactQuery { filter: list.parameters.filter()?, start, count: list.page.count() };
    let found = signed.data.contacts(program.id, query).await?;
    list.answer(&signed.data, found.total, vec![(program, found.contacts)]).await
}

/// `GET /v1/accounts/{id}/participants`: the same over all programs of the account.
pub(super) async fn of_account(
    path: PathId,
    uri: Uri,
    parameters: RawParameters,
    signed: Signed,
) -> Result<Response, Refused> {
    account_of(&signed, &path)?;
    let list = List::asked(&uri, parameters)?;
    let start = match list.page.after {
        None => AccountPageStart::Offset(list.page.offset),
        Some(contact) => AccountPageStart::After(contact),
    };
    let filter = list.parameters.filter()?;
    let found = signed.data.contacts_of_account(filter, start, list.page.count()).await?;
    list.answer(&signed.data, found.total, found.parts).await
}

/// `GET /v1/participants/{id}`: one contact, full.
pub(super) async fn one(path: PathId, parameters: RawParameters, signed: Signed) -> Result<Response, Refused> {
    let not_found = || Problem::new(Code::NotFound, "There is no such participant");
    let id = path.text().and_then(|text| Uuid::try_parse(text).ok()).ok_or_else(not_found)?;
    // Only as it is printed: 36 characters.
    let is_printed = path.text().is_some_and(|text| text.len() == 36);
    let id = ContactId::from_uuid(id).filter(|_| is_printed).ok_or_else(not_found)?;
    // It is full in any case.
    Parameters::read(parameters)?.is("type", "full")?;
    let (program, contact) = signed.data.contact(id).await?.ok_or_else(not_found)?;
    let schema = signed.data.schema(program.id).await?;
    Ok(json(&FullContactJson::of(&contact, &program, &schema)))
}

/// A list of contacts that is asked for.
struct List<'a> {
    path: &'a str,
    parameters: Parameters,
    page: Page,
    is_full: bool,
}

impl List<'_> {
    fn asked(uri: &Uri, parameters: RawParameters) -> Result<List<'_>, Problem> {
        let parameters = Parameters::read(parameters)?;
        let (page, is_full) = (parameters.page()?, parameters.is("type", "full")?);
        Ok(List { path: uri.path(), parameters, page, is_full })
    }

    /// A page of contacts, each program's with its program.
    async fn answer(&self, data: &Data, total: u64, parts: Vec<(Program, Vec<Contact>)>) -> Result<Response, Refused> {
        let last = parts.last().and_then(|(_, contacts)| contacts.last()).map(|contact| contact.id);
        if !self.is_full {
            let of_part = |(program, contacts): &(Program, Vec<Contact>)| -> Vec<ContactJson> {
                contacts.iter().map(|contact| ContactJson::of(contact, program)).collect()
            };
            return Ok(self.envelope(parts.iter().flat_map(of_part).collect(), total, last));
        }
        let mut items = Vec::new();
        for (program, contacts) in &parts {
            let schema = data.schema(program.id).await?;
            items.extend(contacts.iter().map(|contact| FullContactJson::of(contact, program, &schema)));
        }
        Ok(self.envelope(items, total, last))
    }

    fn envelope<T: Serialize>(&self, items: Vec<T>, total: u64, last: Option<ContactId>) -> Response {
        let count = u64::from(self.page.count());
        // By a cursor the end is where nothing comes any more, whatever was counted on the way.
        let is_last = self.page.after.is_some() && (items.len() as u64) < count;
        let link = |place| self.parameters.link(self.path, place, last);
        json(&Envelope::new(items, (total, self.page.offset, count), is_last, link))
    }
}
