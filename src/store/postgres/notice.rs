//! What nodes tell each other at once: that there is work, and which commands are complete. Hints only: whoever misses one finds
//! out by looking, a moment later.
//!
//! PostgreSQL makes transactions with a `NOTIFY` commit one after the other. So no accept and no import has one: a node gathers
//! what there is to tell, and sends it in a statement of its own, once in a while.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::Shared;
use super::connection::{ANSWERED_WITHIN, Context, connection, within};
use super::session::Sessions;
use crate::command::CommandId;
use crate::store::StoreError;

/// The channel. Its messages begin with the version of their form and their sender: `1 <node> …`.
const CHANNEL: &str = "roster";
/// The form of the messages that this node sends and understands; others are passed over.
const FORM: &str = "1";

/// How long telling waits for more to tell.
const GATHER: Duration = Duration::from_millis(5);

/// How many complete commands are told in one message, at most: PostgreSQL takes 8,000 bytes.
const DONE_PER_MESSAGE_MAX: usize = 200;

/// How many complete commands wait to be told, at most. Beyond it they are not told: who waits for one looks once a second.
const DONE_WAITING_MAX: usize = 10_000;

/// How long a message to oneself may take. It comes after milliseconds or, through a pooler of transactions, never.
const ECHO_WITHIN: Duration = Duration::from_secs(5);

/// The pause before a lost connection is made anew.
const PAUSE: Duration = Duration::from_secs(1);

/// After so long a node that hears nothing tries once more whether it can.
const DEAF_FOR: Duration = Duration::from_secs(600);

/// Messages that were heard and not yet understood, at most.
const HEARD_MAX: usize = 1_024;

/// What the other nodes are to be told.
#[derive(Default)]
pub(super) struct Outbox {
    waiting: Mutex<Waiting>,
    wake: Notify,
}

#[derive(Default)]
struct Waiting {
    work: bool,
    done: Vec<CommandId>,
    cancelled: Vec<(CommandId, String)>,
}

impl Outbox {
    /// There is something to claim.
    pub(super) fn tell_work(&self) {
        self.waiting().work = true;
        self.wake.notify_one();
    }

    /// A command is complete.
    pub(super) fn tell_done(&self, command: CommandId) {
        let mut waiting = self.waiting();
        if waiting.done.len() < DONE_WAITING_MAX {
            waiting.done.push(command);
        }
        drop(waiting);
        self.wake.notify_one();
    }

    /// Somebody asked that a command be cancelled which may run on another node.
    pub(super) fn tell_cancelled(&self, command: CommandId, by: &str) {
        // A notice takes 8,000 bytes. The node that has it reads the whole name before it commits.
        let by = by.chars().take(200).collect();
        let mut waiting = self.waiting();
        if waiting.cancelled.len() < DONE_WAITING_MAX {
            waiting.cancelled.push((command, by));
        }
        drop(waiting);
        self.wake.notify_one();
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything that is to be told, as the ends of messages.
    fn take(&self) -> Vec<String> {
        let Waiting { work, done, cancelled } = std::mem::take(&mut *self.waiting());
        let mut messages = Vec::new();
        if work {
            messages.push("work".to_owned());
        }
        for some in done.chunks(DONE_PER_MESSAGE_MAX) {
            let ids: String = some.iter().map(|id| format!(" {id}")).collect();
            messages.push(format!("done{ids}"));
        }
        messages.extend(cancelled.into_iter().map(|(command, by)| format!("cancel {command} {by}")));
        messages
    }
}

/// Tells the other nodes what there is to tell, until it is aborted.
pub(super) async fn send_for_ever(shared: Arc<Shared>) {
    loop {
        shared.queue.outbox.wake.notified().await;
        tokio::time::sleep(GATHER).await;
        let messages = shared.queue.outbox.take();
        if let Err(fault) = send(&shared, &messages).await {
            tracing::debug!(%fault, "the other nodes were not told; they will look by themselves");
        }
    }
}

async fn send(shared: &Shared, messages: &[String]) -> Result<(), StoreError> {
    if messages.is_empty() {
        return Ok(());
    }
    let messages: Vec<String> = messages.iter().map(|rest| format!("{FORM} {} {rest}", shared.node_id)).collect();
    let client = connection(&shared.pool).await?;
    let telling = async {
        client
            .execute_typed(
                "SELECT pg_notify($1, message) FROM unnest($2::text[]) AS told (message)",
                &[(&CHANNEL, Type::TEXT), (&messages, Type::TEXT_ARRAY)],
            )
            .await
            .context(|| "telling the other nodes")?;
        Ok(())
    };
    let told = within(ANSWERED_WITHIN, telling).await;
    client.done(told)
}

/// Why listening ended.
enum Ended {
    /// The connection was lost, or never came to be.
    Lost(StoreError),
    /// Nothing comes through: there is a pooler of transactions in between.
    Deaf,
}

/// Listens to the other nodes, until it is aborted.
pub(super) async fn listen_for_ever(shared: Arc<Shared>, sessions: Sessions) {
    let mut is_told = false;
    loop {
        let pause = match listen(&shared, &sessions).await {
            Ended::Lost(fault) => {
                tracing::debug!(%fault, "the other nodes are not heard; listening is tried again");
                PAUSE
            }
            Ended::Deaf => {
                if !is_told {
                    tracing::info!(
                        "notices of other nodes do not come through, as behind a pooler of transactions; \
                         their work is found by looking. 'database_direct' names a way past the pooler"
                    );
                    is_told = true;
                }
                DEAF_FOR
            }
        };
        tokio::time::sleep(pause).await;
    }
}

async fn listen(shared: &Arc<Shared>, sessions: &Sessions) -> Ended {
    let (heard, mut messages) = mpsc::channel(HEARD_MAX);
    let client = match sessions.connect(Some(heard)).await {
        Ok(client) => client,
        Err(fault) => return Ended::Lost(fault),
    };
    let listening = async { client.batch_execute(&format!("LISTEN {CHANNEL}")).await.context(|| "listening") };
    if let Err(fault) = within(ANSWERED_WITHIN, listening).await {
        return Ended::Lost(fault);
    }
    // What was told before it listened.
    shared.queue.announce_work();
    if let Err(ended) = hear_oneself(shared, &mut messages).await {
        return ended;
    }
    while let Some(message) = messages.recv().await {
        understand(shared, &message);
    }
    Ended::Lost(StoreError::Unavailable("the connection that listens was closed".to_owned()))
}

/// Sends a message by the pool, and waits until it comes.
async fn hear_oneself(shared: &Arc<Shared>, messages: &mut mpsc::Receiver<String>) -> Result<(), Ended> {
    let echo = format!("echo {}", Uuid::new_v4().simple());
    send(shared, std::slice::from_ref(&echo)).await.map_err(Ended::Lost)?;
    let expected = format!("{FORM} {} {echo}", shared.node_id);
    let heard = async {
        while let Some(message) = messages.recv().await {
            if message == expected {
                return Ok(());
            }
            understand(shared, &message);
        }
        Err(Ended::Lost(StoreError::Unavailable("the connection that listens was closed".to_owned())))
    };
    tokio::time::timeout(ECHO_WITHIN, heard).await.unwrap_or(Err(Ended::Deaf))
}

/// Passes on what another node tells. What it does not understand is another version's.
fn understand(shared: &Shared, message: &str) {
    let mut words = message.splitn(4, ' ');
    if words.next() != Some(FORM) || words.next() == Some(&shared.node_id) {
        return;
    }
    let (what, rest) = (words.next(), words.next().unwrap_or_default());
    match what {
        Some("work") => shared.queue.announce_work(),
        Some("cancel") => {
            if let Some((command, by)) = rest.split_once(' ')
                && let Some(command) = CommandId::parse(command)
            {
                shared.queue.cancel(command, by);
            }
        }
        Some("done") => {
            rest.split(' ').filter_map(CommandId::parse).for_each(|command| shared.queue.completions.announce(command));
        }
        _ => {}
    }
}
