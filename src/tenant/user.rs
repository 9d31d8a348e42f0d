//! Who signs in to the console: users, what they may do in which account, and their sessions.

use std::fmt::{self, Write as _};

use sha2::{Digest as _, Sha256};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{Account, AccountId};

/// A user of the console.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct UserId(pub Uuid);

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

/// What a user signs in with: an e-mail address, or any short name. Compared without regard to case, so it is kept in lower case.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct UserName(String);

/// The longest name of a user, in characters.
pub const USER_NAME_CHARS_MAX: usize = 254;

/// Why a text is no user's name.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a user's name has 1 to 254 characters, none of them blank or a control character; got '{0}'")]
pub struct UserNameFault(String);

impl UserName {
    /// Takes a name, in any case, with or without white space around it.
    ///
    /// # Errors
    ///
    /// [`UserNameFault`] if nothing is left, it is too long, or there is white space in it.
    pub fn parse(text: &str) -> Result<UserName, UserNameFault> {
        let name = text.trim().to_lowercase();
        let is_long = name.chars().count() > USER_NAME_CHARS_MAX;
        if name.is_empty() || is_long || name.chars().any(|at| at.is_whitespace() || at.is_control()) {
            return Err(UserNameFault(text.chars().take(USER_NAME_CHARS_MAX).collect()));
        }
        Ok(UserName(name))
    }

    /// In lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a user may do in an account; each may all that those before it may.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Role {
    /// Look at everything but secrets.
    Viewer,
    /// Also import, cancel, and download files.
    Editor,
    /// Also make and change programs, fields and tokens.
    Admin,
}

impl Role {
    /// All of them, least first.
    pub const ALL: [Role; 3] = [Role::Viewer, Role::Editor, Role::Admin];

    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Editor => "editor",
            Role::Admin => "admin",
        }
    }

    /// The role of a word.
    pub fn parse(word: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.as_str() == word)
    }
}

/// A user, as listed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct User {
    /// Its id.
    pub id: UserId,
    /// What it signs in with.
    pub name: UserName,
    /// Whether it has a password. Without one it signs in by OpenID Connect, or by a link that an operator made.
    pub has_password: bool,
    /// Milliseconds since 1970-01-01 UTC.
    pub created_ms: i64,
    /// When it last signed in; `None` if it never did.
    pub last_signed_in_ms: Option<i64>,
    /// When it was disabled, if it is.
    pub disabled_ms: Option<i64>,
    /// What it may do where, in the order of the accounts' creation.
    pub memberships: Vec<Membership>,
}

/// That a user may do something in an account.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Membership {
    /// Where.
    pub account: Account,
    /// What.
    pub role: Role,
}

/// A password as it is kept: Argon2id in PHC's form (`$argon2id$v=19$…`). Never printed by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(Zeroizing<String>);

impl PasswordHash {
    /// Takes PHC's form, as it was made or kept.
    pub fn new(phc: String) -> PasswordHash {
        PasswordHash(Zeroizing::new(phc))
    }

    /// PHC's form.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

/// The SHA-256 of a [`Ticket`]: of a session's cookie, or of a link to sign in with. The text itself is kept nowhere.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TicketDigest(pub [u8; 32]);

/// Bytes of a [`Ticket`].
pub const TICKET_BYTES: usize = 32;

/// The random text that somebody holds: 64 hexadecimal digits. Never printed by `Debug`.
pub struct Ticket(Zeroizing<String>);

impl Ticket {
    /// Of random bytes.
    pub fn of_random(bytes: &[u8; TICKET_BYTES]) -> Ticket {
        let mut text = Zeroizing::new(String::with_capacity(2 * TICKET_BYTES));
        for byte in bytes {
            let _ = write!(text, "{byte:02x}");
        }
        Ticket(text)
    }

    /// As somebody shows it, in any case; `None` if it cannot be one.
    pub fn parse(text: &str) -> Option<Ticket> {
        let is_ticket = text.len() == 2 * TICKET_BYTES && text.bytes().all(|digit| digit.is_ascii_hexdigit());
        is_ticket.then(|| Ticket(Zeroizing::new(text.to_ascii_lowercase())))
    }

    /// The text itself, to be handed out once.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// By what it is known where it is not kept.
    pub fn digest(&self) -> TicketDigest {
        TicketDigest(Sha256::digest(self.0.as_bytes()).into())
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ticket(…)")
    }
}

/// A session that is to begin.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewSession {
    /// Of the cookie.
    pub digest: TicketDigest,
    /// Whose it is.
    pub user: UserId,
    /// Where it begins.
    pub account: AccountId,
    /// It ends at this moment, however much it is used; milliseconds since 1970-01-01 UTC.
    pub until_ms: i64,
    /// It ends at this moment if it is not used.
    pub idle_until_ms: i64,
}

/// A session that holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Session {
    /// Whose it is.
    pub user: UserId,
    /// The user's name.
    pub name: UserName,
    /// Where it is now.
    pub account: Account,
    /// What the user may do there now.
    pub role: Role,
    /// How many accounts the user may go to.
    pub accounts: u64,
    /// When it ends in any case.
    pub until_ms: i64,
    /// When it ends if it is not used.
    pub idle_until_ms: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_without_regard_to_case() {
        assert_eq!(UserName::parse(" Ada@Example.EDU "), UserName::parse("ada@example.edu"));
        for none in ["", "  ", "a b", "a\tb", "a\u{0}b", &"x".repeat(255)] {
            assert!(UserName::parse(none).is_err(), "{none:?}");
        }
    }

    #[test]
    fn each_role_may_what_those_before_it_may() {
        assert!(Role::Viewer < Role::Editor && Role::Editor < Role::Admin);
        for role in Role::ALL {
            assert_eq!(Role::parse(role.as_str()), Some(role));
        }
        assert_eq!(Role::parse("Admin"), None);
    }

    #[test]
    fn a_ticket_is_known_by_its_digest_in_any_case() {
        let ticket = Ticket::of_random(&[0xab; TICKET_BYTES]);
        assert_eq!(ticket.expose(), "ab".repeat(32));
        let shown = Ticket::parse(&ticket.expose().to_uppercase()).expect("a ticket");
        assert_eq!(shown.digest(), ticket.digest());
        // By `printf abab… | sha256sum`.
        assert_eq!(ticket.digest().0[..4], [0x27, 0x1a, 0x41, 0x3b]);
        for none in ["", "ab", &"ab".repeat(33), &"ag".repeat(32), &"é".repeat(32)] {
            assert!(Ticket::parse(none).is_none(), "{none}");
        }
        assert_eq!(format!("{ticket:?}"), "Ticket(…)");
    }

    #[test]
    fn debug_shows_no_hash() {
        assert_eq!(format!("{:?}", PasswordHash::new("$argon2id$x".to_owned())), "PasswordHash(…)");
    }
}
