//! Whose data it is: accounts, their programs, their tokens, and who may look at them in a browser. Every door to data asks for one
//! of these ids first.

pub mod password;
mod user;

use std::collections::BTreeSet;
use std::fmt;

use uuid::Uuid;

use crate::contact::{Phone, ProgramTag, Region};
pub use user::{
    Membership, NewSession, PasswordHash, Role, Session, TICKET_BYTES, Ticket, TicketDigest, USER_NAME_CHARS_MAX, User,
    UserId, UserName, UserNameFault,
};

/// An account: a college, or a public programme's office.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct AccountId(pub Uuid);

/// A program of an account; the scope of all contact matching.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ProgramId(pub Uuid);

impl AccountId {
    /// Reads the 36-character form, any case.
    pub fn parse(text: &str) -> Option<AccountId> {
        crate::contact::parse_uuid(text).map(AccountId)
    }
}

impl ProgramId {
    /// Reads the 36-character form, any case.
    pub fn parse(text: &str) -> Option<ProgramId> {
        crate::contact::parse_uuid(text).map(ProgramId)
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl fmt::Display for ProgramId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

/// An account, as it is listed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Account {
    /// Its id.
    pub id: AccountId,
    /// For people.
    pub name: String,
    /// Milliseconds since 1970-01-01 UTC.
    pub created_ms: i64,
}

/// A program, as it is listed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Program {
    /// Its id.
    pub id: ProgramId,
    /// Whose it is.
    pub account: AccountId,
    /// For people.
    pub name: String,
    /// False once archived; it can still be imported into.
    pub active: bool,
    /// Whose national phone spellings its files use.
    pub region: Region,
    /// The number that it texts from.
    pub phone: Option<Phone>,
    /// A name of the tz database.
    pub timezone: Option<String>,
    /// What marks its contacts' ids.
    pub tag: ProgramTag,
    /// Milliseconds since 1970-01-01 UTC.
    pub created_ms: i64,
}

/// What a new program is to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewProgram {
    /// For people.
    pub name: String,
    /// Whose national phone spellings its files use.
    pub region: Region,
    /// The number that it texts from.
    pub phone: Option<Phone>,
    /// A name of the tz database.
    pub timezone: Option<String>,
}

/// What can be changed of a program.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProgramSettings {
    /// For people.
    pub name: String,
    /// Whose national phone spellings its files use; of imports that begin from now on.
    pub region: Region,
    /// The number that it texts from.
    pub phone: Option<Phone>,
    /// A name of the tz database.
    pub timezone: Option<String>,
    /// Whether it is shown as active.
    pub active: bool,
}

/// The secret of a token: HMAC key material, shown once and never printed by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(zeroize::Zeroizing<String>);

impl Secret {
    /// Takes the text as it is handed out.
    pub fn new(text: String) -> Secret {
        Secret(zeroize::Zeroizing::new(text))
    }

    /// The text itself, for signing and for showing it once.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// A new one, of random bytes: a UUID of version 4, because vendors' scripts check that it has 36 characters.
    pub fn of_random(bytes: [u8; 16]) -> Secret {
        Secret::new(uuid::Builder::from_random_bytes(bytes).into_uuid().hyphenated().to_string())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The number of a token in the store: what commands and remembered signatures refer to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TokenNumber(pub i64);

impl TokenNumber {
    /// What people at the console send is kept under this number, which no token has.
    pub const OF_USERS: TokenNumber = TokenNumber(0);
}

/// Which programs of its account a token reaches.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Programs {
    /// All, also those that are made later.
    All,
    /// These.
    Only(BTreeSet<ProgramId>),
}

/// What a token may do within its account. It is given when the token is made, and never changes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Scope {
    /// It may look, and change nothing.
    pub read_only: bool,
    /// What it reaches.
    pub programs: Programs,
}

impl Scope {
    /// Everything in the account.
    pub const FULL: Scope = Scope { read_only: false, programs: Programs::All };

    /// Whether a program of its account is there for it.
    pub fn reaches(&self, program: ProgramId) -> bool {
        self.programs.reach(program)
    }
}

impl Programs {
    /// Whether a program of the account is among them.
    pub fn reach(&self, program: ProgramId) -> bool {
        match self {
            Programs::All => true,
            Programs::Only(programs) => programs.contains(&program),
        }
    }
}

/// A token that is to be made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewToken {
    /// The opaque text in the header.
    pub token: String,
    /// For people; its commands are `from` it.
    pub name: String,
    /// What it signs with.
    pub secret: Secret,
    /// What it may do.
    pub scope: Scope,
}

/// The text of a new token, of random bytes: 32 hexadecimal digits, because vendors' scripts check that it has so many characters.
pub fn token_of_random(bytes: [u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(bytes))
}

/// A token that may sign requests, with what is needed to check them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Token {
    /// Its number.
    pub number: TokenNumber,
    /// The one account that it sees.
    pub account: AccountId,
    /// The opaque text in the header.
    pub token: String,
    /// What its commands are `from`.
    pub name: String,
    /// What it signs with.
    pub secret: Secret,
    /// What it signed with before, if that was changed.
    pub old_secret: Option<OldSecret>,
    /// What it may do.
    pub scope: Scope,
}

impl Token {
    /// One that is not there: it reaches nothing, and its signatures are computed all the same.
    pub fn nobody(secret: Secret) -> Token {
        Token {
            number: TokenNumber(0),
            account: AccountId(Uuid::nil()),
            token: String::new(),
            name: String::new(),
            secret,
            old_secret: None,
            scope: Scope { read_only: true, programs: Programs::Only(BTreeSet::new()) },
        }
    }

    /// The secret before the last rotation, if it still holds at this moment.
    pub fn old_secret_at(&self, now_ms: i64) -> Option<&Secret> {
        self.old_secret.as_ref().filter(|old| now_ms < old.until_ms).map(|old| &old.secret)
    }
}

/// The secret before the last rotation. There is one at most: a further rotation ends the one before.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OldSecret {
    /// Itself.
    pub secret: Secret,
    /// From this moment on it holds no more, in milliseconds since 1970-01-01 UTC.
    pub until_ms: i64,
}

/// What a rotation did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rotated {
    /// The token's name.
    pub name: String,
    /// Until when the old secret holds, in milliseconds since 1970-01-01 UTC; `None` if it does not.
    pub old_secret_until_ms: Option<i64>,
}

/// A token, as it is listed: without its secret.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TokenListing {
    /// The opaque text in the header.
    pub token: String,
    /// Whose it is.
    pub account: AccountId,
    /// For people.
    pub name: String,
    /// What it may do.
    pub scope: Scope,
    /// Milliseconds since 1970-01-01 UTC.
    pub created_ms: i64,
    /// When it was last used, to a minute or so; `None` if it never was.
    pub last_used_ms: Option<i64>,
    /// Until when the secret before the last rotation holds, or held.
    pub old_secret_until_ms: Option<i64>,
    /// When it was revoked.
    pub revoked_ms: Option<i64>,
}
