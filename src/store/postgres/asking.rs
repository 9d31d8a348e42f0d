//! What every request asks, asked together: its token, and where a command stands.

use std::collections::HashMap;
use std::sync::Arc;

use super::commands::CommandRow;
use super::connection::{ANSWERED_WITHIN, connection, within};
use super::{Shared, accounts, commands};
use crate::command::CommandId;
use crate::store::StoreError;
use crate::store::together::Ask;
use crate::tenant::{AccountId, Token};

/// Asks for tokens by their texts.
pub(super) struct AskTokens(pub(super) Arc<Shared>);

impl Ask for AskTokens {
    type Question = String;
    type Answer = Result<Token, StoreError>;

    const QUESTIONS_MAX: usize = 256;

    async fn ask(&self, tokens: Vec<String>) -> Result<HashMap<String, Result<Token, StoreError>>, StoreError> {
        let client = connection(&self.0.pool).await?;
        let found = within(ANSWERED_WITHIN, accounts::tokens_of(&client, &self.0.key, &tokens)).await;
        client.done(found)
    }
}

/// Asks for commands of accounts. A report can have some hundred kilobytes, and is read by who asked for it.
pub(super) struct AskCommands(pub(super) Arc<Shared>);

impl Ask for AskCommands {
    type Question = (AccountId, CommandId);
    type Answer = Arc<CommandRow>;

    const QUESTIONS_MAX: usize = 64;

    async fn ask(
        &self,
        asked: Vec<(AccountId, CommandId)>,
    ) -> Result<HashMap<(AccountId, CommandId), Arc<CommandRow>>, StoreError> {
        let client = connection(&self.0.pool).await?;
        let found = within(ANSWERED_WITHIN, commands::commands(&client, &asked)).await;
        client.done(found)
    }
}
