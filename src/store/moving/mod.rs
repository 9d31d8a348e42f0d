//! Moving everything from one home of the data to another: what is moved, as plain rows, and what a home must be able to do
//! so that it can be moved from and into. The move itself is in `carry`, and knows no home.
//!
//! A *mark* in both homes says that a move has begun, and that it is complete. In between nobody can serve either of
//! them; so what was read once is still true later, and a move that was cut off goes on where it was.
//!
//! Sessions of the console, and links that let in once, stay behind: they are short, they let in whoever holds them, and the target is another
//! service to a browser. Who was signed in signs in again. What was put into the console and is no import yet stays behind, too (`upload`,
//! `upload_use` and its files): it is a day old at most, and its sender has it.

mod carry;
mod tally;
#[cfg(test)]
mod tests;

use async_trait::async_trait;
use uuid::Uuid;

pub(crate) use self::carry::{Ended, Phase, abandon, carry};
pub(crate) use self::tally::Line;

pub(crate) use super::PIECE_BYTES;
use super::stock::Stock;
use super::token_row::Unsealed;
use super::{OpenAs, StoreError};
use crate::command::{CommandId, Digest};
use crate::contact::Contact;
use crate::tenant::{Account, AccountId, PasswordHash, Program, ProgramId, Role, UserId, UserName};

/// Up to this size an upload goes with its command; a larger one goes in pieces.
pub(crate) const SMALL_BYTES_MAX: u64 = 64 * 1024;

/// What one home can be in a move.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Direction {
    /// It is moved from.
    Out,
    /// It is moved into.
    In,
}

impl Direction {
    /// As it is kept.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Direction::Out => "out",
            Direction::In => "in",
        }
    }

    /// As it was kept.
    pub(crate) fn parse(word: &str) -> Result<Direction, StoreError> {
        match word {
            "out" => Ok(Direction::Out),
            "in" => Ok(Direction::In),
            _ => Err(StoreError::Fault(format!("a move has the unknown direction '{word}'"))),
        }
    }
}

/// That a home takes part in a move.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Mark {
    /// Which move: the same in both homes.
    pub(crate) id: Uuid,
    /// Which part in it.
    pub(crate) direction: Direction,
    /// Where the other home is, for people.
    pub(crate) peer: String,
    /// Milliseconds since 1970-01-01 UTC.
    pub(crate) begun_ms: i64,
    /// When it was complete.
    pub(crate) finished_ms: Option<i64>,
}

/// What the marks leave to a process that opens a home.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Standing {
    /// Everything.
    Free,
    /// Reading: its imports are elsewhere now, and what it took on would be lost to them.
    Moved(String),
}

/// Whether a home with these marks may be opened, and to do what.
pub(crate) fn standing(place: &str, marks: &[Mark], open_as: OpenAs) -> Result<Standing, StoreError> {
    let mut standing = Standing::Free;
    for Mark { id: _, direction, peer, begun_ms: _, finished_ms } in marks {
        match (direction, finished_ms) {
            (Direction::In, Some(_)) => {}
            (Direction::In, None) => return Err(half_filled(place, peer)),
            (Direction::Out, None) => return Err(half_moved(place, peer)),
            (Direction::Out, Some(_)) if open_as == OpenAs::Server => standing = Standing::Moved(peer.clone()),
            (Direction::Out, Some(_)) => {
                return Err(StoreError::Refused(format!("{place} was moved to {peer}; work there")));
            }
        }
    }
    Ok(standing)
}

/// What a home that was moved away answers to who wants to import into it.
pub(crate) fn moved_away(peer: &str) -> StoreError {
    StoreError::Unavailable(format!("everything was moved to {peer}, and is imported there"))
}

fn half_filled(place: &str, peer: &str) -> StoreError {
    StoreError::Refused(format!(
        "{place} is not complete: it is being moved into from {peer}. The same 'roster migrate' again goes on where it was"
    ))
}

fn half_moved(place: &str, peer: &str) -> StoreError {
    StoreError::Refused(format!(
        "{place} is being moved to {peer}. The same 'roster migrate' again goes on where it was; \
         'roster migrate --abandon --from …' gives the move up"
    ))
}

/// Rows of one kind, in an order that is the same in every home.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Part {
    /// By number.
    Accounts,
    /// By number.
    Programs,
    /// By program and number; removed ones too.
    Fields,
    /// By number; revoked ones too.
    Tokens,
    /// By number; disabled ones too.
    Users,
    /// By user and account.
    Memberships,
    /// Complete ones first; within each program in the order of acceptance.
    Commands,
    /// Which columns were meant by which fields: by program and name.
    Columns,
    /// What the imports of days came to: by account, day and program.
    Days,
    /// By token and signature.
    Signatures,
    /// By token, program and key.
    Keys,
    /// Of one program, by number.
    Contacts(ProgramId),
}

/// A row of a [`Part`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Row {
    /// With its number, the order of creation.
    Account(i64, Account),
    /// With its number, the order of creation.
    Program(i64, Program),
    /// A program's own field.
    Field(FieldRow),
    /// A token, with its secret in the open.
    Token(TokenRow),
    /// Who signs in to the console, with the hash of the password in the open.
    User(UserRow),
    /// What a user may do in an account.
    Membership(MembershipRow),
    /// A command.
    Command(Box<CommandRow>),
    /// What a column of a program's files was said to be.
    Column(ColumnRow),
    /// What a day's imports came to.
    Day(DayRow),
    /// An accepted signature.
    Signature(SignatureRow),
    /// An accepted `Idempotency-Key`.
    Key(KeyRow),
    /// A contact.
    Contact(Box<Contact>),
}

/// A program's own field.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct FieldRow {
    pub(crate) program: ProgramId,
    pub(crate) number: i64,
    pub(crate) name: String,
    /// As printed.
    pub(crate) field_type: String,
    pub(crate) created_ms: i64,
    pub(crate) removed_ms: Option<i64>,
}

/// What a column of a program's files was said to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ColumnRow {
    pub(crate) program: ProgramId,
    pub(crate) name: String,
    pub(crate) field: String,
    pub(crate) remembered_ms: i64,
}

/// What the imports of a day came to in a program. It is moved, because commands are kept for a shorter time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct DayRow {
    pub(crate) account: AccountId,
    pub(crate) day: i64,
    pub(crate) program: ProgramId,
    pub(crate) imports: i64,
    pub(crate) bad_imports: i64,
    /// Added, updated, unchanged, ignored and failed.
    pub(crate) rows: [i64; 5],
}

/// A token. It keeps its number: commands and memories refer to it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct TokenRow {
    pub(crate) number: i64,
    pub(crate) token: String,
    pub(crate) account: AccountId,
    pub(crate) name: String,
    /// What it may do, and its secrets.
    pub(crate) unsealed: Unsealed,
    pub(crate) created_ms: i64,
    pub(crate) revoked_ms: Option<i64>,
    pub(crate) last_used_ms: Option<i64>,
}

/// Who signs in to the console.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct UserRow {
    pub(crate) number: i64,
    pub(crate) id: UserId,
    pub(crate) name: UserName,
    /// It is sealed anew: another home has another key.
    pub(crate) password: Option<PasswordHash>,
    pub(crate) created_ms: i64,
    pub(crate) last_signed_in_ms: Option<i64>,
    pub(crate) disabled_ms: Option<i64>,
}

/// What a user may do in an account.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct MembershipRow {
    pub(crate) user: UserId,
    pub(crate) account: AccountId,
    pub(crate) role: Role,
}

/// A command. Claims and attempts are left behind: nobody is at it. What a complete one came to is made anew from its report.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct CommandRow {
    pub(crate) id: CommandId,
    pub(crate) account: AccountId,
    pub(crate) program: ProgramId,
    /// 0: a user's.
    pub(crate) token: i64,
    pub(crate) from_name: String,
    pub(crate) created_ms: i64,
    pub(crate) payload_bytes: i64,
    /// Stored JSON, as it stands.
    pub(crate) options: String,
    pub(crate) body_digest: Option<Vec<u8>>,
    /// Who asked for it to be cancelled.
    pub(crate) cancelled_by: Option<String>,
    pub(crate) state: CommandRowState,
    pub(crate) payload: PayloadRow,
    /// Its place in the home that it was read from; another home gives it its own.
    pub(crate) sequence: i64,
}

/// Where a command stands. Reports are stored JSON, as they stand.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum CommandRowState {
    /// It is still to be carried out.
    Waiting,
    /// Its effect is among the contacts, but it was not yet told to be complete. It must not run again.
    Applied { report: String },
    /// It is over.
    Complete { finished_ms: i64, trace: String, report: String },
}

/// The upload of a command. Not shown by `Debug`: it is contact data.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum PayloadRow {
    /// It is not kept any more.
    Gone,
    /// All of it: up to [`SMALL_BYTES_MAX`]. One without a byte is always this: homes do not tell whether it was removed.
    Small(Vec<u8>),
    /// It is read and written in pieces.
    Large,
}

impl std::fmt::Debug for PayloadRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            PayloadRow::Gone => f.write_str("Gone"),
            PayloadRow::Small(bytes) => write!(f, "Small({} bytes)", bytes.len()),
            PayloadRow::Large => f.write_str("Large"),
        }
    }
}

/// An accepted signature.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct SignatureRow {
    pub(crate) token: i64,
    pub(crate) signature: [u8; 32],
    pub(crate) command: CommandId,
    pub(crate) request_digest: Digest,
    pub(crate) remember_until_ms: i64,
}

impl std::fmt::Debug for SignatureRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SignatureRow(of command {})", self.command)
    }
}

/// An accepted `Idempotency-Key`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct KeyRow {
    pub(crate) token: i64,
    pub(crate) program: ProgramId,
    pub(crate) key: String,
    pub(crate) command: CommandId,
    pub(crate) body_digest: Digest,
    pub(crate) created_ms: i64,
}

/// The place of a row in the order of its part; of the fields each part uses those that its order is made of. The default is
/// before all rows.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Cursor {
    /// Of commands: not complete.
    pub(crate) is_open: bool,
    /// Accounts, programs, tokens, users, contacts: their own. Fields: theirs, after the program. Commands: the sequence, after the
    /// program. Signatures and keys: the token's, before all else. Days: the day, after the account.
    pub(crate) number: i64,
    /// The program of fields, commands, columns, days (there it comes last) and keys; the user of memberships.
    pub(crate) program: Uuid,
    /// The signature, the key, the column's name, or the id of a membership's or a day's account.
    pub(crate) bytes: Vec<u8>,
}

impl Row {
    /// Where it stands in its part.
    pub(crate) fn cursor(&self) -> Cursor {
        let start = Cursor::default();
        match self {
            Row::Account(number, _) | Row::Program(number, _) => Cursor { number: *number, ..start },
            Row::Field(field) => Cursor { program: field.program.0, number: field.number, ..start },
            Row::Token(token) => Cursor { number: token.number, ..start },
            Row::User(user) => Cursor { number: user.number, ..start },
            Row::Membership(row) => Cursor { program: row.user.0, bytes: row.account.0.as_bytes().to_vec(), ..start },
            Row::Command(command) => Cursor {
                is_open: !matches!(command.state, CommandRowState::Complete { .. }),
                program: command.program.0,
                number: command.sequence,
                ..start
            },
            Row::Column(row) => Cursor { program: row.program.0, bytes: row.name.clone().into_bytes(), ..start },
            Row::Day(row) => {
                Cursor { number: row.day, program: row.program.0, bytes: row.account.0.as_bytes().to_vec(), ..start }
            }
            Row::Signature(row) => Cursor { number: row.token, bytes: row.signature.to_vec(), ..start },
            Row::Key(row) => {
                Cursor { number: row.token, program: row.program.0, bytes: row.key.clone().into_bytes(), ..start }
            }
            Row::Contact(contact) => Cursor { number: contact.id.number.get().cast_signed(), ..start },
        }
    }
}

/// Takes rows of one kind out of their wrapping.
pub(crate) fn unwrapped<T>(rows: Vec<Row>, unwrap: impl Fn(Row) -> Option<T>) -> Result<Vec<T>, StoreError> {
    let unwrapped: Option<Vec<T>> = rows.into_iter().map(unwrap).collect();
    unwrapped.ok_or_else(|| StoreError::Fault("rows of another part were to be written".to_owned()))
}

/// A home that can be moved from and into. Whoever has one has the home for himself, as far as the home can see to that.
#[async_trait]
pub(crate) trait Movable: Send + Sync {
    /// What people call it; never with a password.
    fn place(&self) -> String;
    /// Its marks.
    async fn marks(&self) -> Result<Vec<Mark>, StoreError>;
    /// Whether there is anything in it that is not a mark.
    async fn holds_anything(&self) -> Result<bool, StoreError>;
    /// Sets the mark, if it is not set. When this returns, nobody accepts, claims or applies anything here; `Refused` while
    /// somebody is at work, and then a new mark is not set.
    async fn hold(&self, mark: &Mark) -> Result<(), StoreError>;
    /// The move is complete.
    async fn end(&self, id: Uuid, direction: Direction, finished_ms: i64) -> Result<(), StoreError>;
    /// Takes a mark away, as if the move had never begun.
    async fn release(&self, id: Uuid, direction: Direction) -> Result<(), StoreError>;

    /// The next rows of a part: at least one if there is one, and at most `rows_max`.
    async fn page(&self, part: Part, after: &Cursor, rows_max: u32) -> Result<Vec<Row>, StoreError>;
    /// A piece of a large upload: [`PIECE_BYTES`], less at its end, none after it.
    async fn piece(&self, command: &CommandRow, piece: u32) -> Result<Vec<u8>, StoreError>;
    /// What a program counts.
    async fn stock(&self, program: ProgramId) -> Result<Stock, StoreError>;

    /// How many rows of a part are here; of contacts, the highest number.
    async fn reached(&self, part: Part) -> Result<u64, StoreError>;
    /// Adds rows, all or none, durably.
    async fn write(&self, part: Part, rows: Vec<Row>) -> Result<(), StoreError>;
    /// Adds a piece of a large upload, before its command is written. What a cut-off move left of it is replaced.
    async fn write_piece(
        &self,
        command: &CommandRow,
        piece: u32,
        bytes: &[u8],
        is_last: bool,
    ) -> Result<(), StoreError>;
    /// Sets what a program counts.
    async fn write_stock(&self, program: ProgramId, stock: Stock) -> Result<(), StoreError>;
    /// Everything is written: makes it ready to be used.
    async fn settle(&self) -> Result<(), StoreError>;
    /// Closes it.
    async fn close(&self) -> Result<(), StoreError>;
}
