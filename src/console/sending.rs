//! From an upload to an import: a command like any other, in the name of a user. What was sent once is accepted once, however often its form
//! comes.

use std::io::Read;

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::Console;
use super::answer::Turned;
use super::data::Data;
use crate::command::{Accepted, CommandId, NewCommand, Payload, QueueOf, Sender};
use crate::import::ImportOptions;
use crate::store::{PIECE_BYTES, Upload};
use crate::tenant::ProgramId;

/// Up to this size a file is held in memory until its command is accepted.
const HELD_BYTES_MAX: u64 = 64 * 1024;
/// For how long it is known that a form was sent, in milliseconds.
const SENT_KEPT_MS: i64 = 24 * 60 * 60 * 1_000;

/// Bytes that nobody can guess.
pub(super) fn random() -> Result<[u8; 16], Turned> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|fault| Turned::Fault(format!("no randomness: {fault}")))?;
    Ok(bytes)
}

/// What makes a form known when it comes again.
pub(super) fn once() -> Result<String, Turned> {
    Ok(format!("{:032x}", u128::from_be_bytes(random()?)))
}

/// An import that was accepted.
pub(super) struct Sent {
    pub(super) command: CommandId,
    /// Whether it had been before.
    pub(super) again: bool,
}

/// Has an upload imported.
pub(super) async fn send(
    console: &Console,
    data: &Data,
    upload: &Upload,
    (options, once): (ImportOptions, &str),
) -> Result<Sent, Turned> {
    let id = CommandId(Uuid::now_v7());
    let request_digest: [u8; 32] = {
        let digest = Sha256::new().chain_update(upload.program.0.as_bytes()).chain_update(upload.digest);
        digest.chain_update(format!("{options:?}")).finalize().into()
    };
    let user = data.session().user;
    let signature = Sha256::new().chain_update(user.0.as_bytes()).chain_update(once).chain_update(request_digest);
    let now_ms = data.now_ms();
    let command = NewCommand {
        id,
        account: data.session().account.id,
        program: upload.program,
        sender: Sender::User(data.session().name.to_string()),
        created_ms: now_ms,
        options,
        payload: payload(data, upload, id).await?,
        signature: signature.finalize().into(),
        request_digest,
        body_digest: Some(upload.digest),
        remember_until_ms: now_ms.saturating_add(SENT_KEPT_MS),
        forget_before_ms: (console.steady)(),
        idempotency: None,
    };
    let (command, again) = match data.accept(command).await? {
        Accepted::New(command) => (command, false),
        Accepted::Replayed(command) => (command, true),
        Accepted::QueueFull { of, max } => return Err(queue_full(of, max)),
        Accepted::SignatureReused | Accepted::IdempotencyKeyReused => {
            return Err(Turned::Fault("a form of the console was taken for another one".to_owned()));
        }
    };
    if !again {
        data.note_upload(upload.id, command).await?;
        let program = upload.program;
        tracing::info!(request = data.request(), %command, %program, "import accepted at the console");
    }
    Ok(Sent { command, again })
}

fn queue_full(of: QueueOf, max: u32) -> Turned {
    let whose = match of {
        QueueOf::Program => "program",
        QueueOf::Account => "account",
    };
    Turned::Busy(format!("{} imports of this {whose} are waiting already.", super::words::number(max.into())))
}

/// The upload's bytes once more, as the command's own.
async fn payload(data: &Data, upload: &Upload, command: CommandId) -> Result<Payload, Turned> {
    let (data, id, program, bytes) = (data.clone(), upload.id, upload.program, upload.bytes);
    let copied = tokio::task::spawn_blocking(move || {
        let file = data.upload_file(id)?;
        if bytes <= HELD_BYTES_MAX { hold(file) } else { copy(&data, file, program, command) }
    });
    copied.await.map_err(|_| Turned::Fault("copying a file panicked".to_owned()))?
}

fn unreadable(fault: std::io::Error) -> Turned {
    Turned::Fault(format!("reading an uploaded file: {fault}"))
}

fn hold(mut file: Box<dyn Read + Send>) -> Result<Payload, Turned> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(Payload::Held(bytes))
}

fn copy(data: &Data, file: Box<dyn Read + Send>, program: ProgramId, command: CommandId) -> Result<Payload, Turned> {
    let mut writer = data.receive(program, command)?;
    let (mut file, mut piece) = (file, Vec::with_capacity(PIECE_BYTES));
    loop {
        piece.clear();
        (&mut file).take(PIECE_BYTES as u64).read_to_end(&mut piece).map_err(unreadable)?;
        if !piece.is_empty() {
            writer.write(&piece)?;
        }
        if piece.len() < PIECE_BYTES {
            return Ok(Payload::Received(writer.finish()?));
        }
    }
}
