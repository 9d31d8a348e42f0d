//! Accepting commands: those that wait at the same moment for a place in one program's queue are accepted in one transaction, with
//! one commit, under one lock of its lane. Each has its own answer.
//!
//! Such a transaction is two round trips: what must be known, read under the lane's lock; then what is written, and the commit. In
//! between nothing is waited for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::connection::{
    ANSWERED_WITHIN, Context, IDLE_MAX_MS, LOCK_WITHIN_MS, LOOKED_UP_WITHIN, Lent, accepted_within, connection, guards,
    within,
};
use super::deciding::{Decided, Seen};
use super::moving::refuse_work;
use super::{Shared, commands, payloads, receiving};
use crate::command::test_point::test_point;
use crate::command::{Accepted, NewCommand, Payload};
use crate::store::together::{Serve, Together, Waiting};
use crate::store::{QueueLimits, StoreError};
use crate::tenant::{AccountId, ProgramId};

/// How often accepting begins anew because another request with the same signature came in between.
const TRIES_MAX: usize = 3;

/// Up to this size a payload is written while the lane is locked, and with others: asking beforehand would cost more.
const SMALL_BYTES_MAX: usize = 64 * 1024;

/// Who accepts, for all programs. Each has its own gathering: none waits for another's lane.
pub(super) struct Accepting {
    shared: Arc<Shared>,
    programs: Mutex<HashMap<Lane, Arc<Together<AcceptAll>>>>,
}

/// Whose queue it is. (That the program is the account's is still to be found out.)
type Lane = (AccountId, ProgramId);

impl Accepting {
    pub(super) fn new(shared: Arc<Shared>) -> Accepting {
        Accepting { shared, programs: Mutex::default() }
    }

    pub(super) async fn accept(&self, command: NewCommand) -> Result<Accepted, StoreError> {
        let is_small = matches!(&command.payload, Payload::Held(held) if held.len() <= SMALL_BYTES_MAX);
        if is_small {
            let place = self.place((command.account, command.program));
            return within(LOOKED_UP_WITHIN, place.together.serve(command)).await;
        }
        let client = connection(&self.shared.pool).await?;
        let most = accepted_within(command.payload.held().len());
        let accepted = within(most, accept_large(&client, &command, self.shared.queue_limits)).await;
        let accepted = client.done(accepted);
        self.shared.queue.announce_work_everywhere();
        accepted
    }

    /// Where the commands of a program gather.
    fn place(&self, lane: Lane) -> Gathering<'_> {
        let new = || Arc::new(Together::new(AcceptAll(Arc::clone(&self.shared))));
        let together = Arc::clone(self.programs().entry(lane).or_insert_with(new));
        Gathering { accepting: self, lane, together }
    }

    fn programs(&self) -> MutexGuard<'_, HashMap<Lane, Arc<Together<AcceptAll>>>> {
        self.programs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One request's hold of its program's gathering; the last one takes it away.
struct Gathering<'a> {
    accepting: &'a Accepting,
    lane: Lane,
    together: Arc<Together<AcceptAll>>,
}

impl Drop for Gathering<'_> {
    fn drop(&mut self) {
        let mut programs = self.accepting.programs();
        // Two references: the map's and this one.
        if Arc::strong_count(&self.together) == 2 {
            programs.remove(&self.lane);
        }
    }
}

/// Accepts small commands of one program.
struct AcceptAll(Arc<Shared>);

impl Serve for AcceptAll {
    type Request = NewCommand;
    type Answer = Accepted;

    const TOGETHER_MAX: usize = 64;
    const BYTES_MAX: usize = 1024 * 1024;
    /// They would only wait for the same lane.
    const SLOW_AFTER: Duration = Duration::from_secs(2);

    fn bytes(command: &NewCommand) -> usize {
        command.payload.held().len()
    }

    async fn serve(&self, group: Vec<Waiting<Self>>) {
        let (commands, waiting): (Vec<NewCommand>, Vec<_>) =
            group.into_iter().map(|Waiting { request, answer }| (request, answer)).unzip();
        let answers = match connection(&self.0.pool).await {
            Ok(client) => accept(client, &commands, self.0.queue_limits).await,
            Err(error) => vec![Err(error); commands.len()],
        };
        // Whatever came of it: a worker may have passed the lane by while it was locked for this.
        self.0.queue.announce_work_everywhere();
        waiting.into_iter().zip(answers).for_each(|(waiting, answer)| waiting.tell(answer));
    }
}

/// Accepts commands of one program; an answer each.
async fn accept(client: Lent, commands: &[NewCommand], limits: QueueLimits) -> Vec<Result<Accepted, StoreError>> {
    if commands.len() > 1 {
        match within(ANSWERED_WITHIN, try_accept(&client, commands, limits)).await {
            Ok(Some(answers)) => {
                client.give_back();
                return answers;
            }
            // One of them is the reason: it is to take nothing from the others.
            Ok(None) | Err(StoreError::Fault(_)) => {}
            Err(error) => return vec![client.done(Err(error)); commands.len()],
        }
    }
    let mut answers = Vec::with_capacity(commands.len());
    for command in commands {
        let answer = within(ANSWERED_WITHIN, accept_alone(&client, command, limits)).await;
        answers.push(answer);
        if let Some(Err(error @ StoreError::Unavailable(_))) = answers.last() {
            // It is the database's fault, and what is left would fare no better. What came before is accepted, and told so.
            let away = Err(error.clone());
            answers.resize(commands.len(), client.done(away));
            return answers;
        }
    }
    client.give_back();
    answers
}

async fn accept_alone(client: &Lent, command: &NewCommand, limits: QueueLimits) -> Result<Accepted, StoreError> {
    for _ in 0..TRIES_MAX {
        let answers = try_accept(client, std::slice::from_ref(command), limits).await?;
        if let Some(answer) = answers.and_then(|answers| answers.into_iter().next()) {
            return answer;
        }
    }
    Err(StoreError::Unavailable("the same request came in too often at once".to_owned()))
}

/// `None` if it must begin anew: another request with a signature of these, for another program, was accepted at the same moment.
async fn try_accept(
    client: &Lent,
    commands: &[NewCommand],
    limits: QueueLimits,
) -> Result<Option<Vec<Result<Accepted, StoreError>>>, StoreError> {
    let tried = in_transaction(client, commands, limits).await;
    if tried.is_err() {
        // Nothing of it is left to whoever has the connection next.
        client.batch_execute("ROLLBACK").await.context(|| "undoing an accept")?;
    }
    tried
}

async fn in_transaction(
    client: &Lent,
    commands: &[NewCommand],
    limits: QueueLimits,
) -> Result<Option<Vec<Result<Accepted, StoreError>>>, StoreError> {
    let Some(first) = commands.first() else { return Ok(Some(Vec::new())) };
    let accepting = || format!("accepting commands of program {}", first.program);
    let begin = format!("BEGIN; {}", guards(IDLE_MAX_MS, LOCK_WITHIN_MS));
    // Sent in this order, and carried out in it: what is known is read under the lock.
    let seen = if is_large(first) {
        client.batch_execute(&begin).await.context(accepting)?;
        // A large upload goes before the lock, so that nobody waits for it; what is not committed leaves nothing.
        payloads::write(client, first).await?;
        Seen::read(client, commands).await?
    } else {
        let (begun, seen) = tokio::join!(biased; client.batch_execute(&begin), Seen::read(client, commands));
        begun.context(accepting)?;
        seen?
    };
    let refused =
        if seen.lane.as_ref().is_some_and(|lane| lane.is_moving) { Some(refuse_work(client).await?) } else { None };
    let Decided { answers, writes } = Decided::of(commands, &seen, refused.as_ref(), limits);
    if writes.is_empty() {
        // Waited for: while the lane is still locked, those who look for work pass it by.
        client.batch_execute("ROLLBACK").await.context(accepting)?;
        return Ok(Some(answers));
    }
    if let (true, Payload::Received(received)) = (!writes.stored.is_empty(), &first.payload) {
        receiving::take(client, first, received).await?;
    }
    test_point("accept.decided");
    if !writes.commit(client, first.program).await? {
        return Ok(None);
    }
    test_point("accept.committed");
    client.confirmed()?;
    Ok(Some(answers))
}

pub(super) fn is_large(command: &NewCommand) -> bool {
    command.payload.held().len() > SMALL_BYTES_MAX
}

/// Accepts a command of any size by itself.
async fn accept_large(client: &Lent, command: &NewCommand, limits: QueueLimits) -> Result<Accepted, StoreError> {
    // Only to spare the database a large upload that is known: the transaction decides.
    match known_signature(client, command).await? {
        Some(accepted) => Ok(accepted),
        None => accept_alone(client, command, limits).await,
    }
}

/// What came of a command whose signature was accepted before.
async fn known_signature(client: &Lent, new: &NewCommand) -> Result<Option<Accepted>, StoreError> {
    let Some(remembered) = commands::remembered(client, new.token(), &new.signature).await? else { return Ok(None) };
    if remembered.request_digest != new.request_digest {
        return Ok(Some(Accepted::SignatureReused));
    }
    commands::confirm(client, new.token(), &new.signature).await?;
    Ok(Some(Accepted::Replayed(remembered.command)))
}
