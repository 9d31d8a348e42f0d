//! What every request asks, asked together: its token, and where a command stands. One thread answers them all, in one
//! transaction, so a crowd costs no more changes of threads and no more locks than one request alone.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use rusqlite::Connection;

use super::commands::CommandFound;
use super::connection::Context;
use super::{Inner, accounts, commands};
use crate::command::CommandId;
use crate::store::StoreError;
use crate::store::together::Ask;
use crate::tenant::{AccountId, Token};

/// Asks for tokens by their texts. It is not what keeps the store open: who drops it may open it again at once.
pub(super) struct AskTokens(pub(super) Weak<Inner>);

impl Ask for AskTokens {
    type Question = String;
    type Answer = Result<Token, StoreError>;

    const QUESTIONS_MAX: usize = 256;

    async fn ask(&self, tokens: Vec<String>) -> Result<HashMap<String, Result<Token, StoreError>>, StoreError> {
        open(&self.0)?
            .read(move |inner, catalogue| {
                each(catalogue, tokens, |token| accounts::token(catalogue, &inner.key, token).transpose())
            })
            .await
    }
}

/// Asks for commands of accounts. A report can have some hundred kilobytes, and is read by who asked for it.
pub(super) struct AskCommands(pub(super) Weak<Inner>);

impl Ask for AskCommands {
    type Question = (AccountId, CommandId);
    type Answer = Result<Arc<CommandFound>, StoreError>;

    const QUESTIONS_MAX: usize = 64;

    async fn ask(
        &self,
        asked: Vec<(AccountId, CommandId)>,
    ) -> Result<HashMap<(AccountId, CommandId), Result<Arc<CommandFound>, StoreError>>, StoreError> {
        open(&self.0)?
            .read(move |inner, catalogue| {
                each(catalogue, asked, |(account, command)| {
                    let found = commands::command(catalogue, *account, *command, |id| inner.queue.progress(id));
                    found.map(|found| found.map(Arc::new)).transpose()
                })
            })
            .await
    }
}

fn open(inner: &Weak<Inner>) -> Result<Arc<Inner>, StoreError> {
    inner.upgrade().ok_or_else(|| StoreError::Unavailable("it is closed".to_owned()))
}

/// Answers each for itself, all at one moment.
fn each<Q: Eq + std::hash::Hash, A>(
    catalogue: &Connection,
    questions: Vec<Q>,
    answer: impl Fn(&Q) -> Option<A>,
) -> Result<HashMap<Q, A>, StoreError> {
    let tx = catalogue.unchecked_transaction().context(|| "beginning to read the catalogue")?;
    let answers = questions
        .into_iter()
        .filter_map(|question| {
            let answer = answer(&question)?;
            Some((question, answer))
        })
        .collect();
    tx.commit().context(|| "reading the catalogue")?;
    Ok(answers)
}
