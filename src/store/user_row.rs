//! A user as both homes keep it: the password sealed, and the rows of a listing, one for each membership. No SQL.

use super::StoreError;
use super::secrets::{MasterKey, Purpose};
use crate::tenant::{Membership, PasswordHash, Role, User, UserId, UserName};

/// How many sessions, and how many links, are forgotten with each session that begins: more than can begin, so that what is over does not
/// pile up, and so few that nobody waits for it.
pub(crate) const FORGOTTEN_AT_ONCE: i64 = 50;

/// The password as a column.
pub(crate) fn seal_password(key: &MasterKey, user: UserId, password: &PasswordHash) -> Result<Vec<u8>, StoreError> {
    key.seal(Purpose::UserPassword, &user.to_string(), password.expose().as_bytes())
}

/// The password of a column.
pub(crate) fn open_password(key: &MasterKey, user: UserId, sealed: &[u8]) -> Result<PasswordHash, StoreError> {
    key.open_text(Purpose::UserPassword, &user.to_string(), sealed)
        .map(|phc| PasswordHash::new(phc.expose().to_owned()))
        .ok_or_else(|| StoreError::Fault(format!("the password of user {user} cannot be opened")))
}

/// A name as it was kept.
pub(crate) fn parse_name(kept: &str) -> Result<UserName, StoreError> {
    UserName::parse(kept).map_err(|_| StoreError::Fault("a user's name cannot be read".to_owned()))
}

/// A role as it was kept. What cannot be read is a fault, never a role.
pub(crate) fn parse_role(word: &str) -> Result<Role, StoreError> {
    Role::parse(word).ok_or_else(|| StoreError::Fault(format!("a user has the unknown role '{word}'")))
}

/// Users of rows that have one membership each, or none; the rows of one user stand together.
pub(crate) fn fold(rows: impl IntoIterator<Item = (User, Option<Membership>)>) -> Vec<User> {
    let mut users: Vec<User> = Vec::new();
    for (user, membership) in rows {
        match users.last_mut() {
            Some(last) if last.id == user.id => last.memberships.extend(membership),
            _ => users.push(User { memberships: membership.into_iter().collect(), ..user }),
        }
    }
    users
}
