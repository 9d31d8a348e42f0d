//! What a home keeps of those who sign in to the console: users, their passwords and roles, sessions, and links that let in once.

use async_trait::async_trait;

use super::StoreError;
use crate::tenant::{AccountId, NewSession, PasswordHash, Role, Session, TicketDigest, User, UserId, UserName};

/// Users and their sessions. Users are above accounts: one may be a member of several. All moments are milliseconds since 1970-01-01 UTC.
#[async_trait]
pub trait People: Send + Sync {
    /// Makes a user without a password who may do nothing yet; `Refused` if the name is taken.
    async fn create_user(&self, name: &UserName, now_ms: i64) -> Result<User, StoreError>;
    /// All users, in the order of creation, disabled ones too.
    async fn users(&self) -> Result<Vec<User>, StoreError>;
    /// The user of this name, also a disabled one.
    async fn user_by_name(&self, name: &UserName) -> Result<Option<User>, StoreError>;
    /// Sets what a user may do in an account; `None`: nothing any more, and the user's sessions there end. `Refused` if there is no such
    /// user or account. A session that goes on does so with the new role.
    async fn set_role(&self, user: UserId, account: AccountId, role: Option<Role>) -> Result<(), StoreError>;
    /// The user's password, as it is kept; `None` if there is none. Sealed with the master key, and bound to the user: rows cannot be swapped.
    async fn password(&self, user: UserId) -> Result<Option<PasswordHash>, StoreError>;
    /// Sets the password or takes it away; in the same transaction all sessions of the user end, and all links. `Refused` if there is
    /// no such user.
    async fn set_password(&self, user: UserId, password: Option<&PasswordHash>) -> Result<(), StoreError>;
    /// Disables a user, whose sessions and links end with it, or lets the user in again. `Refused` if there is no such user.
    async fn set_user_disabled(&self, user: UserId, disabled: bool, now_ms: i64) -> Result<(), StoreError>;
    /// Makes a link that lets a user in once, until this moment. `Refused` if there is no such user, or it is disabled.
    async fn create_link(&self, link: TicketDigest, user: UserId, until_ms: i64) -> Result<(), StoreError>;
    /// Whether such a link would let somebody in; uses nothing up.
    async fn link_holds(&self, link: TicketDigest, now_ms: i64) -> Result<bool, StoreError>;
    /// Uses a link up: the user, the first time and in time, unless disabled meanwhile; of two who come at once one.
    async fn use_link(&self, link: TicketDigest, now_ms: i64) -> Result<Option<User>, StoreError>;
    /// Begins a session, and notes that the user signed in. `Refused` if the user is disabled or not a member of the account. Sessions
    /// and links that are over are forgotten on the way.
    async fn create_session(&self, session: NewSession, now_ms: i64) -> Result<(), StoreError>;
    /// The session of this cookie, if it still holds: not over, the user not disabled and still a member.
    async fn session(&self, cookie: TicketDigest, now_ms: i64) -> Result<Option<Session>, StoreError>;
    /// Puts off when the session ends for not being used. It may be lost when the process dies, and never goes back. Nothing if it is
    /// gone.
    async fn prolong_session(&self, cookie: TicketDigest, idle_until_ms: i64) -> Result<(), StoreError>;
    /// Goes on in another account; `Refused` if the user is no member of it.
    async fn set_session_account(&self, cookie: TicketDigest, account: AccountId) -> Result<(), StoreError>;
    /// Ends a session. Nothing if it is gone.
    async fn end_session(&self, cookie: TicketDigest) -> Result<(), StoreError>;
}
