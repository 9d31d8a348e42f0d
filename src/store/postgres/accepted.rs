//! What accepting writes, and its commit.

use tokio_postgres::Client;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::accepting::is_large;
use super::connection::{Context, is_taken};
use super::deciding::{Stored, Writes};
use super::queue::NOW_US;
use crate::command::{CommandId, Digest, NewCommand};
use crate::store::StoreError;
use crate::tenant::{ProgramId, TokenNumber};

/// How many expired signatures (and as many keys) of its token are cleared away for each command that is accepted: more than it adds, so
/// that they cannot pile up, and few enough that nobody waits for it.
const FORGOTTEN_PER_ACCEPT_MAX: i64 = 8;

impl Writes<'_> {
    /// Writes and commits; `false` if a signature was remembered meanwhile. All is sent at once: where something fails, what follows
    /// fails too, and the commit undoes it.
    pub(super) async fn commit(mut self, client: &Client, program: ProgramId) -> Result<bool, StoreError> {
        let accepting = || format!("accepting commands of program {program}");
        // Whoever remembers some of the same does it in the same order.
        self.signed.sort_by_key(|(new, _)| (new.token().0, new.signature));
        let mut tokens: Vec<TokenNumber> = self.stored.iter().map(|stored| stored.new.token()).collect();
        tokens.sort_unstable_by_key(|token| token.0);
        tokens.dedup();
        let (last, others) = tokens.split_last().map_or((None, &[][..]), |(last, others)| (Some(*last), others));
        for token in others {
            self.forget(client, *token).await?;
        }
        let (written, confirmed, forgotten, committed) = tokio::join!(
            biased;
            self.write(client, program),
            confirm(client, &self.confirmed),
            async {
                match last {
                    Some(token) => self.forget(client, token).await,
                    None => Ok(()),
                }
            },
            client.batch_execute("COMMIT"),
        );
        if !written? {
            return Ok(false);
        }
        confirmed?;
        forgotten?;
        committed.context(accepting)?;
        Ok(true)
    }

    /// Keeps commands with their numbers, and their payloads where these are small, and remembers signatures and keys; the lane goes on
    /// behind them. Says whether all signatures were new. One statement: a part of it can in no way be committed without the others.
    async fn write(&self, client: &Client, program: ProgramId) -> Result<bool, StoreError> {
        let Some((first, _)) = self.signed.first() else { return Ok(true) };
        let commands = CommandColumns::of(&self.stored);
        let (signatures, keys) = (SignatureColumns::of(&self.signed), KeyColumns::of(&self.stored));
        let written = client
            .execute_typed(
                &format!(
                    // A queue that was empty is ready from now on; one that was not keeps its place.
                    "WITH advanced AS (
                         UPDATE lane SET next_seq = next_seq + $3,
                           ready_us = CASE WHEN head = next_seq THEN {NOW_US} ELSE ready_us END
                         WHERE program = $1
                     ), accepted AS (
                         INSERT INTO command (program, account, seq, id, token, from_name, created_ms, payload_bytes, options,
                           body_digest)
                         SELECT $1, $2, * FROM unnest($4::bigint[], $5::uuid[], $6::bigint[], $7::text[], $8::bigint[],
                           $9::bigint[], $10::text[], $11::bytea[])
                     ), kept AS (
                         INSERT INTO payload (program, piece, command, bytes)
                         SELECT $1, 0, * FROM unnest($12::uuid[], $13::bytea[])
                     ), keyed AS (
                         -- One that is there is older than it is remembered: else it would have been found.
                         INSERT INTO idempotency_key (program, token, key, command, body_digest, created_ms)
                         SELECT $1, * FROM unnest($14::bigint[], $15::text[], $16::uuid[], $17::bytea[], $18::bigint[])
                         ON CONFLICT (token, program, key) DO UPDATE SET
                           command = excluded.command, body_digest = excluded.body_digest, created_ms = excluded.created_ms
                     )
                     INSERT INTO signature (token, signature, command, request_digest, remember_until_ms)
                     SELECT * FROM unnest($19::bigint[], $20::bytea[], $21::uuid[], $22::bytea[], $23::bigint[])"
                ),
                &[
                    (&program.0, Type::UUID),
                    (&first.account.0, Type::UUID),
                    (&i64::try_from(self.stored.len()).unwrap_or(i64::MAX), Type::INT8),
                    (&commands.sequences, Type::INT8_ARRAY),
                    (&commands.ids, Type::UUID_ARRAY),
                    (&commands.tokens, Type::INT8_ARRAY),
                    (&commands.names, Type::TEXT_ARRAY),
                    (&commands.created, Type::INT8_ARRAY),
                    (&commands.bytes, Type::INT8_ARRAY),
                    (&commands.options, Type::TEXT_ARRAY),
                    (&commands.digests, Type::BYTEA_ARRAY),
                    (&commands.kept, Type::UUID_ARRAY),
                    (&commands.payloads, Type::BYTEA_ARRAY),
                    (&keys.tokens, Type::INT8_ARRAY),
                    (&keys.keys, Type::TEXT_ARRAY),
                    (&keys.commands, Type::UUID_ARRAY),
                    (&keys.digests, Type::BYTEA_ARRAY),
                    (&keys.created, Type::INT8_ARRAY),
                    (&signatures.tokens, Type::INT8_ARRAY),
                    (&signatures.signatures, Type::BYTEA_ARRAY),
                    (&signatures.commands, Type::UUID_ARRAY),
                    (&signatures.digests, Type::BYTEA_ARRAY),
                    (&signatures.until, Type::INT8_ARRAY),
                ],
            )
            .await;
        match written {
            Err(error) if is_taken(&error) => Ok(false),
            written => written.map(|_| true).context(|| format!("accepting commands of program {program}")),
        }
    }

    /// Clears away some of what is no longer remembered of a token; what another request is clearing is left to it.
    async fn forget(&self, client: &Client, token: TokenNumber) -> Result<(), StoreError> {
        let of_token = || self.stored.iter().map(|stored| stored.new).filter(|new| new.token() == token);
        let most = FORGOTTEN_PER_ACCEPT_MAX * i64::try_from(of_token().count()).unwrap_or(1);
        let before_ms = of_token().map(|new| new.forget_before_ms).min().unwrap_or(i64::MIN);
        let keys_before_ms = of_token().filter_map(|new| Some(new.idempotency.as_ref()?.forgotten_before_ms)).min();
        let signatures = async {
            client
                .execute_typed(
                    "DELETE FROM signature WHERE token = $1 AND signature IN
               (SELECT signature FROM signature WHERE token = $1 AND remember_until_ms < $2
                ORDER BY remember_until_ms LIMIT $3 FOR UPDATE SKIP LOCKED)",
                    &[(&token.0, Type::INT8), (&before_ms, Type::INT8), (&most, Type::INT8)],
                )
                .await
        };
        let keys = async {
            let Some(before_ms) = keys_before_ms else { return Ok(0) };
            client
                .execute_typed(
                    "DELETE FROM idempotency_key WHERE token = $1 AND (program, key) IN
                       (SELECT program, key FROM idempotency_key WHERE token = $1 AND created_ms <= $2
                        ORDER BY created_ms LIMIT $3 FOR UPDATE SKIP LOCKED)",
                    &[(&token.0, Type::INT8), (&before_ms, Type::INT8), (&most, Type::INT8)],
                )
                .await
        };
        let (signatures, keys) = tokio::join!(biased; signatures, keys);
        signatures.context(|| "forgetting signatures")?;
        keys.context(|| "forgetting idempotency keys")?;
        Ok(())
    }
}

/// Commands, column by column.
#[derive(Default)]
struct CommandColumns<'a> {
    sequences: Vec<i64>,
    ids: Vec<Uuid>,
    tokens: Vec<i64>,
    names: Vec<&'a str>,
    created: Vec<i64>,
    bytes: Vec<i64>,
    options: Vec<&'a str>,
    digests: Vec<Option<&'a [u8]>>,
    /// Whose payloads are kept with them.
    kept: Vec<Uuid>,
    payloads: Vec<&'a [u8]>,
}

impl<'a> CommandColumns<'a> {
    fn of(stored: &'a [Stored<'_>]) -> CommandColumns<'a> {
        let mut columns = CommandColumns::default();
        for Stored { new, sequence, name, options } in stored {
            columns.sequences.push(*sequence);
            columns.ids.push(new.id.0);
            columns.tokens.push(new.token().0);
            columns.names.push(name);
            columns.created.push(new.created_ms);
            columns.bytes.push(new.payload.bytes().cast_signed());
            columns.options.push(options);
            columns.digests.push(new.body_digest.as_ref().map(Digest::as_slice));
            // A large one is there already.
            if !is_large(new) && !new.payload.held().is_empty() {
                columns.kept.push(new.id.0);
                columns.payloads.push(new.payload.held());
            }
        }
        columns
    }
}

/// Signatures, column by column.
#[derive(Default)]
struct SignatureColumns<'a> {
    tokens: Vec<i64>,
    signatures: Vec<&'a [u8]>,
    commands: Vec<Uuid>,
    digests: Vec<&'a [u8]>,
    until: Vec<i64>,
}

impl<'a> SignatureColumns<'a> {
    fn of(signed: &[(&'a NewCommand, CommandId)]) -> SignatureColumns<'a> {
        let mut columns = SignatureColumns::default();
        for (new, command) in signed {
            columns.tokens.push(new.token().0);
            columns.signatures.push(&new.signature);
            columns.commands.push(command.0);
            columns.digests.push(&new.request_digest);
            columns.until.push(new.remember_until_ms);
        }
        columns
    }
}

/// Idempotency keys, column by column.
#[derive(Default)]
struct KeyColumns<'a> {
    tokens: Vec<i64>,
    keys: Vec<&'a str>,
    commands: Vec<Uuid>,
    digests: Vec<&'a [u8]>,
    created: Vec<i64>,
}

impl<'a> KeyColumns<'a> {
    fn of(stored: &[Stored<'a>]) -> KeyColumns<'a> {
        let mut columns = KeyColumns::default();
        for new in stored.iter().map(|stored| stored.new) {
            if let Some(key) = &new.idempotency {
                columns.tokens.push(new.token().0);
                columns.keys.push(&key.key);
                columns.commands.push(new.id.0);
                columns.digests.push(&key.body_digest);
                columns.created.push(new.created_ms);
            }
        }
        columns
    }
}

/// A commit waits for the standby to have it, and all that came before it: so something is written.
async fn confirm(client: &Client, confirmed: &[&NewCommand]) -> Result<(), StoreError> {
    if confirmed.is_empty() {
        return Ok(());
    }
    let tokens: Vec<i64> = confirmed.iter().map(|new| new.token().0).collect();
    let signatures: Vec<&[u8]> = confirmed.iter().map(|new| new.signature.as_slice()).collect();
    client
        .execute_typed(
            "UPDATE signature SET command = command FROM unnest($1::bigint[], $2::bytea[]) AS known (token, signature)
             WHERE signature.token = known.token AND signature.signature = known.signature",
            &[(&tokens, Type::INT8_ARRAY), (&signatures, Type::BYTEA_ARRAY)],
        )
        .await
        .context(|| "confirming signatures")?;
    Ok(())
}
