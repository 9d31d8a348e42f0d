//! What both homes refuse alike, and in the same words; and the few values that they make alike.

use uuid::Uuid;

use super::StoreError;
use crate::contact::FieldType;
use crate::tenant::{AccountId, ProgramId, UserId, UserName};

/// How many variables a program may ever have had.
pub(crate) const FIELDS_MAX: i64 = 1_000;

pub(crate) fn no_account(account: AccountId) -> StoreError {
    StoreError::Refused(format!("there is no account {account}"))
}

pub(crate) fn no_program(account: AccountId, program: ProgramId) -> StoreError {
    StoreError::Refused(format!("account {account} has no program {program}"))
}

pub(crate) fn no_token(account: AccountId, number: i64) -> StoreError {
    StoreError::Refused(format!("account {account} has no token number {number}"))
}

pub(crate) fn not_serving() -> StoreError {
    StoreError::Refused("only the server accepts commands and carries them out".to_owned())
}

pub(crate) fn token_is_taken() -> StoreError {
    StoreError::Refused("there is a token of this text already".to_owned())
}

pub(crate) fn no_program_in_scope() -> StoreError {
    StoreError::Refused("a token that is limited to programs needs one at least".to_owned())
}

pub(crate) fn token_was_changed() -> StoreError {
    StoreError::Refused("the token was rotated or revoked at the same moment; look at it, and try again".to_owned())
}

pub(crate) fn no_such_token() -> StoreError {
    StoreError::Refused("there is no such token, or it is revoked already".to_owned())
}

pub(crate) fn no_user(user: UserId) -> StoreError {
    StoreError::Refused(format!("there is no user {user}"))
}

pub(crate) fn user_is_there(name: &UserName) -> StoreError {
    StoreError::Refused(format!("there is a user '{name}' already"))
}

pub(crate) fn user_is_disabled(user: UserId) -> StoreError {
    StoreError::Refused(format!("user {user} is disabled"))
}

pub(crate) fn no_member(user: UserId, account: AccountId) -> StoreError {
    StoreError::Refused(format!("user {user} is no member of account {account}"))
}

pub(crate) fn session_is_gone() -> StoreError {
    StoreError::Refused("the session is over".to_owned())
}

pub(crate) fn field_is_there(program: ProgramId, name: &str) -> StoreError {
    StoreError::Refused(format!("program {program} already has a field '{name}'"))
}

pub(crate) fn field_had_another_type(program: ProgramId, name: &str, had: &str, asked: FieldType) -> StoreError {
    StoreError::Refused(format!(
        "program {program} had a field '{name}' of type {had}, and contacts may still hold its values; \
         it can come back with that type only, not as {asked}"
    ))
}

pub(crate) fn too_many_fields(program: ProgramId) -> StoreError {
    StoreError::Refused(format!(
        "program {program} has had {FIELDS_MAX} fields, removed ones included, and can have no more"
    ))
}

pub(crate) fn no_field(program: ProgramId, name: &str) -> StoreError {
    StoreError::Refused(format!("program {program} has no field '{name}' of its own"))
}

/// A name without the blanks around it; one that is nothing else is refused.
pub(crate) fn not_blank(what: &str, text: &str) -> Result<String, StoreError> {
    let text = text.trim();
    if text.is_empty() {
        return Err(StoreError::Refused(format!("{what} must not be blank")));
    }
    Ok(text.to_owned())
}

/// A field's type as it was kept.
pub(crate) fn parse_type(printed: &str) -> Result<FieldType, StoreError> {
    FieldType::parse(printed)
        .ok_or_else(|| StoreError::Fault(format!("the catalogue has a field of unknown type '{printed}'")))
}

/// A version-7 id from the given moment, and randomness of the system.
pub(crate) fn new_id(now_ms: i64) -> Result<Uuid, StoreError> {
    let random = random::<10>()?;
    Ok(uuid::Builder::from_unix_timestamp_millis(now_ms.max(0).cast_unsigned(), &random).into_uuid())
}

/// Random bytes from the system.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], StoreError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|error| StoreError::Fault(format!("the system gives no random bytes: {error}")))?;
    Ok(bytes)
}
