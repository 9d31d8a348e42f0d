//! Adds contacts, in sets: few with one statement over arrays, many with `COPY`, for which the database writes whole pages at a time
//! into the table and its log.
//!
//! `COPY` takes three round trips instead of one, and the driver has a name for it at the server for that long. So that no session is ever
//! left with such a name, which behind a pooler another node could meet, it goes on to its end whoever waits for it.

use std::io::Cursor;
use std::sync::Arc;

use futures_util::SinkExt;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, CopyInSink};

use super::connection::{Context, IMPORT_ANSWERED_WITHIN, within};
use super::import_connection::ImportConnection;
use crate::contact::{ContactId, ProgramTag};
use crate::import::Addition;
use crate::store::StoreError;
use crate::tenant::ProgramId;

/// So many contacts are worth the round trips of a `COPY`.
pub(super) const COPIED_ROWS_MIN: usize = 1_024;

/// How much is handed to the connection at a time, in bytes, about: it holds no more than two such pieces.
const PIECE_BYTES: usize = 128 * 1024;

/// What the binary form begins with: its signature, no flags, no extension.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// What it ends with, in place of a count of columns.
const TRAILER: i16 = -1;

/// In place of a length: the value is NULL.
const NULL: i32 = -1;

/// In this order.
const COLUMNS: &str = "program, number, salt, phone, created_ms, updated_ms, active, customer_id, profile";
const COLUMN_COUNT: i16 = 9;

/// Bytes of randomness for one contact's salt.
const SALT_BYTES: usize = 8;

/// Adds contacts of a program, in the import's transaction.
pub(super) async fn add(
    connection: &Arc<ImportConnection>,
    (program, now_ms): (ProgramId, i64),
    additions: &[&Addition],
) -> Result<(), StoreError> {
    if additions.len() < COPIED_ROWS_MIN {
        return insert(connection.client()?, (program, now_ms), additions).await;
    }
    let pieces = pieces((program, now_ms), additions, &salts(additions)?)?;
    let (connection, expected) = (Arc::clone(connection), additions.len() as u64);
    let copying = tokio::spawn(async move {
        within(IMPORT_ANSWERED_WITHIN, async { copy(connection.client()?, program, pieces).await }).await
    });
    let added = copying.await.unwrap_or_else(|_| Err(StoreError::Fault(format!("{} panicked", adding(program)))))?;
    if added == expected {
        Ok(())
    } else {
        Err(StoreError::Fault(format!("{}: {added} of {expected} have been added", adding(program))))
    }
}

fn adding(program: ProgramId) -> String {
    format!("changing contacts of program {program}")
}

async fn insert(
    client: &Client,
    (program, now_ms): (ProgramId, i64),
    additions: &[&Addition],
) -> Result<(), StoreError> {
    let numbers: Vec<i64> = additions.iter().map(|addition| addition.number.get().cast_signed()).collect();
    let phones: Vec<i64> = additions.iter().map(|addition| addition.phone.digits().cast_signed()).collect();
    let actives: Vec<bool> = additions.iter().map(|addition| addition.active).collect();
    let customer_ids: Vec<Option<&str>> = additions.iter().map(|addition| customer_id(addition)).collect();
    let profiles: Vec<&[u8]> = additions.iter().map(|addition| addition.profile.as_bytes()).collect();
    let salts = salts(additions)?;
    client
        .execute_typed(
            "INSERT INTO contact
               (program, number, salt, phone, created_ms, updated_ms, active, customer_id, profile)
             SELECT $1, number, salt, phone, $8, $8, active, customer_id, profile
             FROM unnest($2::bigint[], $3::bigint[], $4::bigint[], $5::bool[], $6::text[], $7::bytea[])
               AS new (number, salt, phone, active, customer_id, profile)",
            &[
                (&program.0, Type::UUID),
                (&numbers, Type::INT8_ARRAY),
                (&salts, Type::INT8_ARRAY),
                (&phones, Type::INT8_ARRAY),
                (&actives, Type::BOOL_ARRAY),
                (&customer_ids, Type::TEXT_ARRAY),
                (&profiles, Type::BYTEA_ARRAY),
                (&now_ms, Type::INT8),
            ],
        )
        .await
        .context(|| adding(program))?;
    Ok(())
}

/// Hands pieces of the binary form over; how many contacts were added.
async fn copy(client: &Client, program: ProgramId, pieces: Vec<Vec<u8>>) -> Result<u64, StoreError> {
    let statement = format!("COPY contact ({COLUMNS}) FROM STDIN (FORMAT binary)");
    #[expect(
        clippy::disallowed_methods,
        reason = "the name that it is given at the server is taken away again before the transaction ends"
    )]
    let sink: CopyInSink<Cursor<Vec<u8>>> = client.copy_in(&statement).await.context(|| adding(program))?;
    let mut sink = std::pin::pin!(sink);
    for piece in pieces {
        if sink.send(Cursor::new(piece)).await.is_err() {
            // What has happened is told at its end.
            break;
        }
    }
    sink.finish().await.context(|| adding(program))
}

/// Contacts in the binary form of `COPY`.
fn pieces(
    (program, now_ms): (ProgramId, i64),
    additions: &[&Addition],
    salts: &[i64],
) -> Result<Vec<Vec<u8>>, StoreError> {
    let mut pieces = Vec::new();
    let mut piece = HEADER.to_vec();
    for (addition, salt) in additions.iter().zip(salts) {
        piece.extend(COLUMN_COUNT.to_be_bytes());
        put(&mut piece, program.0.as_bytes())?;
        let phone = addition.phone.digits().cast_signed();
        for number in [addition.number.get().cast_signed(), *salt, phone, now_ms, now_ms] {
            put(&mut piece, &number.to_be_bytes())?;
        }
        put(&mut piece, &[u8::from(addition.active)])?;
        match customer_id(addition) {
            Some(customer_id) => put(&mut piece, customer_id.as_bytes())?,
            None => piece.extend(NULL.to_be_bytes()),
        }
        put(&mut piece, addition.profile.as_bytes())?;
        if piece.len() >= PIECE_BYTES {
            pieces.push(std::mem::replace(&mut piece, Vec::with_capacity(PIECE_BYTES + PIECE_BYTES / 8)));
        }
    }
    piece.extend(TRAILER.to_be_bytes());
    pieces.push(piece);
    Ok(pieces)
}

/// A value, behind its length.
fn put(piece: &mut Vec<u8>, value: &[u8]) -> Result<(), StoreError> {
    let length = i32::try_from(value.len())
        .map_err(|_| StoreError::Fault("a contact is too large for the database".to_owned()))?;
    piece.extend(length.to_be_bytes());
    piece.extend_from_slice(value);
    Ok(())
}

/// A salt for each; the randomness comes in one system call.
fn salts(additions: &[&Addition]) -> Result<Vec<i64>, StoreError> {
    let mut random = vec![0; additions.len() * SALT_BYTES];
    getrandom::fill(&mut random)
        .map_err(|error| StoreError::Fault(format!("the system gives no random bytes: {error}")))?;
    let salt = |(addition, random): (&&Addition, &[u8; SALT_BYTES])| {
        ContactId::new(ProgramTag::from_bits(0), addition.number, u64::from_le_bytes(*random)).salt().cast_signed()
    };
    Ok(additions.iter().zip(random.as_chunks::<SALT_BYTES>().0).map(salt).collect())
}

/// `None` where it is blank.
fn customer_id(addition: &Addition) -> Option<&str> {
    Some(addition.customer_id.as_str()).filter(|customer_id| !customer_id.is_empty())
}
