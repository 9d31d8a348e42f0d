//! What accepting comes to: what must be known of a program's queue and of earlier requests, and what follows from it for each command.

use std::collections::HashMap;

use tokio_postgres::types::Type;
use tokio_postgres::{Client, Row};

use super::commands::digest;
use super::connection::Context;
use super::moving::IS_MOVING;
use crate::command::{Accepted, CommandId, Digest, IdempotencyKey, NewCommand, Remembered, Sender};
use crate::store::{QueueLimits, StoreError, record, refusal};
use crate::tenant::TokenNumber;

/// What must be known to accept commands of one program, as it stands until the transaction ends.
pub(super) struct Seen {
    pub(super) lane: Option<LaneRow>,
    signatures: HashMap<(TokenNumber, Digest), Remembered>,
    keys: HashMap<(TokenNumber, String), KnownKey>,
    /// What the account's tokens are called.
    names: HashMap<TokenNumber, String>,
}

/// The ends of a program's queue.
pub(super) struct LaneRow {
    head: i64,
    next_seq: i64,
    /// How many wait and run in the account's other lanes, as it was when the statement began: those are not locked.
    beside: i64,
    /// Nothing may be accepted.
    pub(super) is_moving: bool,
}

#[derive(Clone, Copy)]
struct KnownKey {
    command: CommandId,
    body_digest: Digest,
    created_ms: i64,
}

impl Seen {
    pub(super) async fn read(client: &Client, new: &[NewCommand]) -> Result<Seen, StoreError> {
        let Some(first) = new.first() else { return Err(StoreError::Fault("nothing is to be accepted".to_owned())) };
        let (lane, signatures, keys, names) = tokio::join!(
            biased;
            lock(client, first),
            known_signatures(client, new),
            known_keys(client, new),
            names(client, new),
        );
        Ok(Seen { lane: lane?, signatures: signatures?, keys: keys?, names: names? })
    }
}

async fn lock(client: &Client, new: &NewCommand) -> Result<Option<LaneRow>, StoreError> {
    let locking = || format!("locking the queue of program {}", new.program);
    let found = client
        .query_typed_opt(
            &format!(
                "SELECT head, next_seq, {IS_MOVING},
                   (SELECT coalesce(sum(beside.next_seq - beside.head), 0)::bigint FROM lane AS beside
                    WHERE beside.account = $2 AND beside.head < beside.next_seq AND beside.program <> $1)
                 FROM lane WHERE program = $1 AND account = $2 FOR UPDATE OF lane"
            ),
            &[(&new.program.0, Type::UUID), (&new.account.0, Type::UUID)],
        )
        .await
        .context(locking)?;
    let read = |row: &Row| {
        Ok(LaneRow {
            head: row.try_get(0)?,
            next_seq: row.try_get(1)?,
            is_moving: row.try_get(2)?,
            beside: row.try_get(3)?,
        })
    };
    found.as_ref().map(read).transpose().context(locking)
}

async fn known_signatures(
    client: &Client,
    new: &[NewCommand],
) -> Result<HashMap<(TokenNumber, Digest), Remembered>, StoreError> {
    let looking = || "looking for signatures";
    let tokens: Vec<i64> = new.iter().map(|new| new.token().0).collect();
    let signatures: Vec<&[u8]> = new.iter().map(|new| new.signature.as_slice()).collect();
    let rows = client
        .query_typed(
            "SELECT signature.token, signature.signature, command, request_digest
             FROM unnest($1::bigint[], $2::bytea[]) AS asked (token, signature)
             JOIN signature ON signature.token = asked.token AND signature.signature = asked.signature",
            &[(&tokens, Type::INT8_ARRAY), (&signatures, Type::BYTEA_ARRAY)],
        )
        .await
        .context(looking)?;
    let mut known = HashMap::with_capacity(rows.len());
    for row in &rows {
        let token = TokenNumber(row.try_get(0).context(looking)?);
        let command = CommandId(row.try_get(2).context(looking)?);
        known.insert((token, digest(row, 1)?), Remembered { command, request_digest: digest(row, 3)? });
    }
    Ok(known)
}

async fn known_keys(
    client: &Client,
    new: &[NewCommand],
) -> Result<HashMap<(TokenNumber, String), KnownKey>, StoreError> {
    let looking = || "looking for idempotency keys";
    let (mut tokens, mut keys) = (Vec::new(), Vec::new());
    for new in new {
        if let Some(key) = &new.idempotency {
            tokens.push(new.token().0);
            keys.push(&*key.key);
        }
    }
    let Some(program) = new.first().map(|new| new.program.0).filter(|_| !keys.is_empty()) else {
        return Ok(HashMap::new());
    };
    let rows = client
        .query_typed(
            "SELECT known.token, known.key, command, body_digest, created_ms
             FROM unnest($1::bigint[], $2::text[]) AS asked (token, key)
             JOIN idempotency_key AS known ON known.token = asked.token AND known.program = $3 AND known.key = asked.key",
            &[(&tokens, Type::INT8_ARRAY), (&keys, Type::TEXT_ARRAY), (&program, Type::UUID)],
        )
        .await
        .context(looking)?;
    let mut known = HashMap::with_capacity(rows.len());
    for row in &rows {
        let token = TokenNumber(row.try_get(0).context(looking)?);
        let key = row.try_get(1).context(looking)?;
        let command = CommandId(row.try_get(2).context(looking)?);
        let created_ms = row.try_get(4).context(looking)?;
        known.insert((token, key), KnownKey { command, body_digest: digest(row, 3)?, created_ms });
    }
    Ok(known)
}

async fn names(client: &Client, new: &[NewCommand]) -> Result<HashMap<TokenNumber, String>, StoreError> {
    let reading = || "reading the names of tokens";
    let Some(first) = new.first() else { return Ok(HashMap::new()) };
    let tokens: Vec<i64> = new.iter().map(|new| new.token().0).collect();
    let rows = client
        .query_typed(
            "SELECT number, name FROM token WHERE number = ANY($1) AND account = $2",
            &[(&tokens, Type::INT8_ARRAY), (&first.account.0, Type::UUID)],
        )
        .await
        .context(reading)?;
    let name = |row: &Row| Ok((TokenNumber(row.try_get(0)?), row.try_get(1)?));
    rows.iter().map(name).collect::<Result<_, _>>().context(reading)
}

/// What each command comes to if what is to be written is committed.
pub(super) struct Decided<'a> {
    pub(super) answers: Vec<Result<Accepted, StoreError>>,
    pub(super) writes: Writes<'a>,
}

/// What accepting writes.
#[derive(Default)]
pub(super) struct Writes<'a> {
    /// Commands with their numbers, without gaps.
    pub(super) stored: Vec<Stored<'a>>,
    /// Whose signatures are remembered from now on, and as which command.
    pub(super) signed: Vec<(&'a NewCommand, CommandId)>,
    /// Whose signatures were accepted before: it is to be made sure that this is not lost with this server. A primary that fell and rose
    /// again shows commits for which no standby had been waited.
    pub(super) confirmed: Vec<&'a NewCommand>,
}

/// A command that gets a place.
pub(super) struct Stored<'a> {
    pub(super) new: &'a NewCommand,
    pub(super) sequence: i64,
    /// The name of its sender.
    pub(super) name: String,
    /// As they are stored.
    pub(super) options: String,
}

impl<'a> Decided<'a> {
    /// One after the other, as if each were alone; `refused` is why nothing new may be accepted.
    pub(super) fn of(
        commands: &'a [NewCommand],
        seen: &Seen,
        refused: Option<&StoreError>,
        limits: QueueLimits,
    ) -> Decided<'a> {
        let (mut signatures, mut keys) = (HashMap::new(), HashMap::new());
        let mut writes = Writes::default();
        let mut answers = Vec::with_capacity(commands.len());
        for new in commands {
            let signature = (new.token(), new.signature);
            if let Some(first) = seen.signatures.get(&signature).or_else(|| signatures.get(&signature)) {
                answers.push(Ok(if first.request_digest == new.request_digest {
                    writes.confirmed.push(new);
                    Accepted::Replayed(first.command)
                } else {
                    Accepted::SignatureReused
                }));
                continue;
            }
            let key = new.idempotency.as_ref().map(|key| ((new.token(), key.key.clone()), key));
            if let Some((of, key)) = &key
                && let Some(first) = keys.get(of).or_else(|| seen.keys.get(of).filter(|first| is_kept(first, key)))
            {
                answers.push(Ok(if first.body_digest == key.body_digest {
                    // Sent again without the key, it is still the same request. While everything is moved nothing is written any more.
                    if refused.is_none() {
                        writes.signed.push((new, first.command));
                        signatures.insert(signature, remembered(new, first.command));
                    }
                    Accepted::Replayed(first.command)
                } else {
                    Accepted::IdempotencyKeyReused
                }));
                continue;
            }
            let answer = writes.store(new, seen, refused, limits);
            if let Ok(Accepted::New(command)) = answer {
                signatures.insert(signature, remembered(new, command));
                if let Some((of, key)) = key {
                    let known = KnownKey { command, body_digest: key.body_digest, created_ms: new.created_ms };
                    keys.insert(of, known);
                }
            }
            answers.push(answer);
        }
        Decided { answers, writes }
    }
}

fn remembered(new: &NewCommand, command: CommandId) -> Remembered {
    Remembered { command, request_digest: new.request_digest }
}

/// Whether a key is still remembered for this request.
fn is_kept(known: &KnownKey, key: &IdempotencyKey) -> bool {
    known.created_ms > key.forgotten_before_ms
}

impl<'a> Writes<'a> {
    pub(super) fn is_empty(&self) -> bool {
        let Writes { stored, signed, confirmed } = self;
        stored.is_empty() && signed.is_empty() && confirmed.is_empty()
    }

    /// Gives a command the next number of its program, if there is room.
    fn store(
        &mut self,
        new: &'a NewCommand,
        seen: &Seen,
        refused: Option<&StoreError>,
        limits: QueueLimits,
    ) -> Result<Accepted, StoreError> {
        let lane = seen.lane.as_ref().ok_or_else(|| refusal::no_program(new.account, new.program))?;
        if let Some(refused) = refused {
            return Err(refused.clone());
        }
        let sequence = lane.next_seq + i64::try_from(self.stored.len()).unwrap_or(i64::MAX);
        let of_program = sequence - lane.head;
        if let Some(full) = limits.full(of_program, of_program + lane.beside) {
            return Ok(full);
        }
        let name = match &new.sender {
            Sender::Token(token) => {
                seen.names.get(token).ok_or_else(|| refusal::no_token(new.account, token.0))?.clone()
            }
            Sender::User(name) => name.clone(),
        };
        let options = record::options_to_json(&new.options)?;
        self.stored.push(Stored { new, sequence, name, options });
        self.signed.push((new, new.id));
        Ok(Accepted::New(new.id))
    }
}
