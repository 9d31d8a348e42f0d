//! A command's life: accepted, queued, running, complete; and the worker that carries it out.
//!
//! A command is stored before its 202 is sent, and runs later: nothing here knows HTTP or SQL.

mod carry_out;
mod completions;
mod keeper;
mod steady;
pub(crate) mod test_point;
mod worker;

use std::fmt;
use std::sync::Arc;

use uuid::Uuid;

use crate::import::{ImportOptions, Report};
use crate::tenant::{AccountId, ProgramId, TokenNumber};

pub use completions::{Completions, Watch};
pub use keeper::{Kept, keep};
pub use steady::Steady;
pub use worker::{ATTEMPTS_MAX, PASSING_TRIES_MAX, TRIES_MAX, Workers};

/// The time now, in milliseconds since 1970-01-01 UTC. Read at the edges only, and passed on as `now_ms`.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// The public id of a command: the last part of its `Location`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct CommandId(pub Uuid);

impl CommandId {
    /// Reads the 36-character form, any case.
    pub fn parse(text: &str) -> Option<CommandId> {
        crate::contact::parse_uuid(text).map(CommandId)
    }
}

impl fmt::Display for CommandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

/// A SHA-256.
pub type Digest = [u8; 32];

/// An import that is to be accepted, with what makes it the same request again.
#[derive(Clone, Debug)]
pub struct NewCommand {
    /// The id that it gets if it is new.
    pub id: CommandId,
    /// Whose it is.
    pub account: AccountId,
    /// What it changes.
    pub program: ProgramId,
    /// Who sent it.
    pub sender: Sender,
    /// When it arrived, in milliseconds since 1970-01-01 UTC.
    pub created_ms: i64,
    /// What is asked.
    pub options: ImportOptions,
    /// The CSV, in UTF-8.
    pub payload: Payload,
    /// The signature, decoded.
    pub signature: [u8; 32],
    /// SHA-256 over method, path and body: what tells two requests with one signature apart.
    pub request_digest: Digest,
    /// SHA-256 of what was signed or uploaded, for people; `None` where nobody knows it.
    pub body_digest: Option<Digest>,
    /// Until when the signature is remembered, in milliseconds since 1970-01-01 UTC; longer than it is fresh.
    pub remember_until_ms: i64,
    /// Signatures that were to be remembered until before this moment may be forgotten: the time, unless the clock has just jumped.
    pub forget_before_ms: i64,
    /// The `Idempotency-Key`, if one was sent.
    pub idempotency: Option<IdempotencyKey>,
}

impl NewCommand {
    /// Under which token's number it is remembered.
    pub fn token(&self) -> TokenNumber {
        match self.sender {
            Sender::Token(token) => token,
            Sender::User(_) => TokenNumber::OF_USERS,
        }
    }
}

/// Who sent a command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Sender {
    /// Who signed it with a token.
    Token(TokenNumber),
    /// Somebody at the console, by name. What all of them send is remembered under one number ([`TokenNumber::OF_USERS`]), whatever
    /// the account: so the signature must be one that nobody else makes.
    User(String),
}

/// An `Idempotency-Key` header. Its scope is the token and the program (that is, the path).
#[derive(Clone, Debug)]
pub struct IdempotencyKey {
    /// As sent.
    pub key: String,
    /// SHA-256 of the body's bytes, and of the options where they are not in it: the same key for something else is refused.
    pub body_digest: Digest,
    /// Keys accepted at or before this moment are forgotten, in milliseconds since 1970-01-01 UTC.
    pub forgotten_before_ms: i64,
}

/// The file of an import. Not shown by `Debug`: it is contact data.
#[derive(Clone)]
pub enum Payload {
    /// In memory.
    Held(Vec<u8>),
    /// In the store already, where nobody finds it yet.
    Received(Received),
}

impl Payload {
    /// A text in memory.
    pub fn text(csv: impl Into<String>) -> Payload {
        Payload::Held(csv.into().into_bytes())
    }

    /// Its size.
    pub fn bytes(&self) -> u64 {
        match self {
            Payload::Held(bytes) => bytes.len() as u64,
            Payload::Received(received) => received.bytes,
        }
    }

    /// What of it is in memory.
    pub fn held(&self) -> &[u8] {
        match self {
            Payload::Held(bytes) => bytes,
            Payload::Received(_) => &[],
        }
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes)", self.bytes())
    }
}

/// A file that a store has received, durably, for a command that is still to be accepted. When the last copy of this goes and the
/// command was not accepted, the file goes too.
#[derive(Clone)]
pub struct Received {
    /// The only command that it can be accepted with.
    pub command: CommandId,
    /// Its size.
    pub bytes: u64,
    /// Whoever dropped it last removes the file, unless it was told to keep it.
    pub draft: Arc<dyn Draft>,
}

/// A file without a command; dropping it removes the file.
pub trait Draft: Send + Sync {
    /// The command is accepted, or may be: the file stays.
    fn keep(&self);
}

/// What became of a request that was to be accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Accepted {
    /// It is stored, durably, and will run.
    New(CommandId),
    /// It is an earlier request sent again; nothing was stored.
    Replayed(CommandId),
    /// The signature was accepted before, over other bytes.
    SignatureReused,
    /// The `Idempotency-Key` was accepted before, over another body.
    IdempotencyKeyReused,
    /// Too many wait and run already.
    QueueFull {
        /// Whose they are.
        of: QueueOf,
        /// How many there may be.
        max: u32,
    },
}

/// Which commands are counted together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum QueueOf {
    /// Those of the program.
    Program,
    /// Those of all programs of the account.
    Account,
}

/// A signature that was accepted before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Remembered {
    /// The command that it made.
    pub command: CommandId,
    /// Over which method, path and body.
    pub request_digest: Digest,
}

/// A command as a client may see it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Command {
    /// Its id.
    pub id: CommandId,
    /// Whose it is.
    pub account: AccountId,
    /// What it changes.
    pub program: ProgramId,
    /// The name of the token that signed it.
    pub from: String,
    /// When it was accepted, in milliseconds since 1970-01-01 UTC.
    pub created_ms: i64,
    /// The size of its file in bytes.
    pub payload_bytes: u64,
    /// Where it stands.
    pub state: CommandState,
}

/// Where a command stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CommandState {
    /// It waits for its turn.
    Queued {
        /// Its place among the waiting and running commands of its program: 1 is next or runs.
        position: u64,
    },
    /// A worker is at it.
    Running {
        /// Rows judged so far.
        rows: u64,
    },
    /// It is over.
    Complete {
        /// What happened to every row.
        report: Box<Report>,
        /// Finds the run in the log.
        trace: String,
        /// When it ended, in milliseconds since 1970-01-01 UTC.
        finished_ms: i64,
    },
}

/// Which commands a worker takes on. Some take only small ones, so that these never wait behind big files, however many
/// of them run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reach {
    /// Whatever comes.
    Any,
    /// Files of up to [`Reach::SMALL_BYTES_MAX`].
    Small,
}

impl Reach {
    /// The size of a small file, in bytes: some ten thousand rows, a tenth of a second.
    pub const SMALL_BYTES_MAX: u64 = 1 << 20;

    /// Whether a file of this size is within reach.
    pub fn takes(self, payload_bytes: u64) -> bool {
        match self {
            Reach::Any => true,
            Reach::Small => payload_bytes <= Self::SMALL_BYTES_MAX,
        }
    }
}

/// A command that a worker has taken on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Claim {
    /// Which command.
    pub command: CommandId,
    /// Its place in the order of acceptance.
    pub sequence: i64,
    /// Whose it is.
    pub account: AccountId,
    /// What it changes.
    pub program: ProgramId,
    /// 1 for the first try. The store refuses what an earlier attempt still tries to commit.
    pub attempt: u32,
    /// What is asked.
    pub options: ImportOptions,
}
