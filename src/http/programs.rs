//! Programs: an account's list, and one program's settings and fields (contract, section 5).

use axum::http::Uri;
use axum::response::Response;

use super::answer::{Refused, json};
use super::parameters::{Parameters, RawParameters, bad_parameter};
use super::path::{PathId, account_of, program_of};
use super::signed::Signed;
use crate::wire::{Envelope, ProgramItemJson, ProgramJson, SchemaJson};

/// `GET /v1/programs/{id}`, with `type=schema` its fields.
pub(super) async fn program(path: PathId, parameters: RawParameters, signed: Signed) -> Result<Response, Refused> {
    let program = program_of(&signed, &path).await?;
    match Parameters::read(parameters)?.get("type") {
        None => {
            signed.data.admit()?;
            Ok(json(&ProgramJson::from(&program)))
        }
        Some("schema") => {
            let schema = signed.data.schema(program.id).await?;
            Ok(json(&SchemaJson::from(&schema)))
        }
        Some(other) => Err(bad_parameter("type", other, "'schema', or leave it out").into()),
    }
}

/// `GET /v1/accounts/{id}/programs`: whole, unless `count` is given.
pub(super) async fn of_account(
    path: PathId,
    uri: Uri,
    parameters: RawParameters,
    signed: Signed,
) -> Result<Response, Refused> {
    account_of(&signed, &path)?;
    let parameters = Parameters::read(parameters)?;
    let (active_only, page) = (!parameters.is("active", "all")?, parameters.page()?);
    let programs = signed.data.programs().await?;
    let programs: Vec<_> = programs.iter().filter(|program| program.active || !active_only).collect();
    let total = programs.len() as u64;
    let count = page.count.map_or(total, u64::from);
    let in_memory = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let shown = programs.into_iter().skip(in_memory(page.offset)).take(in_memory(count));
    let items: Vec<ProgramItemJson> = shown.map(ProgramItemJson::from).collect();
    let link = |place| parameters.link(uri.path(), place, None);
    Ok(json(&Envelope::new(items, (total, page.offset, count), false, link)))
}
