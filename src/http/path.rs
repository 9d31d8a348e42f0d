//! What a path names, looked up within the token's account: what is another's is not there.

use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;

use super::answer::Refused;
use super::signed::Signed;
use crate::problem::{Code, Problem};
use crate::tenant::{AccountId, Program, ProgramId};

/// The id in a path. What cannot be one is found out only once the signature holds.
pub(super) struct PathId(Option<String>);

impl PathId {
    /// As it stands in the path.
    pub(super) fn text(&self) -> Option<&str> {
        self.0.as_deref()
    }
}

impl<S: Send + Sync> FromRequestParts<S> for PathId {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<PathId, Self::Rejection> {
        let path: Result<Path<String>, PathRejection> = Path::from_request_parts(parts, state).await;
        Ok(PathId(path.ok().map(|Path(id)| id)))
    }
}

/// The program of the path, if the token reaches it; any other is not there.
pub(super) async fn program_of(signed: &Signed, path: &PathId) -> Result<Program, Refused> {
    let not_found = || Problem::new(Code::NotFound, "There is no such program");
    let id = path.text().and_then(ProgramId::parse).ok_or_else(not_found)?;
    Ok(signed.data.program(id).await?.ok_or_else(not_found)?)
}

/// The account of the path, if it is the token's own.
pub(super) fn account_of(signed: &Signed, path: &PathId) -> Result<AccountId, Refused> {
    let named = path.text().and_then(AccountId::parse);
    let own = named.filter(|named| *named == signed.data.token().account);
    Ok(own.ok_or_else(|| Problem::new(Code::NotFound, "There is no such account"))?)
}
