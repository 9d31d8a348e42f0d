//! The one way from a request to the store: everything that a handler can ask for is asked within what its token may do. What
//! the token does not reach is not there, in the same words as what is another account's.
//!
//! Handlers cannot go round it: the store itself is closed in here.

use std::io::Read;
use std::sync::Arc;

use super::answer::Refused;
use super::last_use::LastUses;
use super::limits::{Limits, Tally, Upload};
use crate::command::{Accepted, Clock, Command, CommandId, Completions, NewCommand, Remembered};
use crate::contact::{Contact, ContactId, Schema};
use crate::problem::{Code, Problem};
use crate::store::{
    AccountPage, AccountPageStart, Cancellation, CommandPage, CommandQuery, ContactFilter, ContactPage, ContactQuery,
    ContactSnapshot, PayloadWriter, Store, StoreError,
};
use crate::tenant::{Program, ProgramId, Token};

/// The store, closed: for a token it is opened as [`Data`].
pub(super) struct Door {
    store: Arc<dyn Store>,
    uses: LastUses,
    limits: Arc<Limits>,
    clock: Clock,
}

impl Door {
    pub(super) fn new(store: Arc<dyn Store>, limits: Arc<Limits>, clock: Clock) -> Door {
        Door { store, uses: LastUses::default(), limits, clock }
    }

    /// The token of this text, unless it is revoked. Read anew for every request, so that a revocation holds at once.
    pub(super) async fn token(&self, token: &str) -> Result<Option<Token>, StoreError> {
        self.store.token(token).await
    }

    /// What a token whose signature holds may see. Its use is noted beside the request, which does not wait for it: what fails there is
    /// tried with a later one.
    pub(super) fn open(&self, token: Token, tally: Tally, now_ms: i64) -> Data {
        if self.uses.is_news(token.number, now_ms) {
            let (store, number) = (Arc::clone(&self.store), token.number);
            tokio::spawn(async move {
                if let Err(fault) = store.note_use(number, now_ms).await {
                    tracing::debug!(token = number.0, %fault, "the use of a token was not noted");
                }
            });
        }
        let (limits, clock) = (Arc::clone(&self.limits), Arc::clone(&self.clock));
        Data { store: Arc::clone(&self.store), token: Arc::new(token), limits, clock, tally }
    }
}

/// What one token may see and do.
#[derive(Clone)]
pub(super) struct Data {
    store: Arc<dyn Store>,
    token: Arc<Token>,
    limits: Arc<Limits>,
    clock: Clock,
    tally: Tally,
}

impl Data {
    /// Who asks.
    pub(super) fn token(&self) -> &Token {
        &self.token
    }

    /// Refuses who may only look.
    pub(super) fn may_write(&self) -> Result<(), Problem> {
        if self.token.scope.read_only {
            return Err(Problem::new(Code::Forbidden, "The token may only read; nothing was changed"));
        }
        Ok(())
    }

    /// Counts the request, once, or refuses it as one too many. Whatever is more than a look-up does this by itself; a handler whose answer
    /// is what it looked up does it when it knows that there is one, so that 404 goes before 429.
    pub(super) fn admit(&self) -> Result<(), Problem> {
        self.tally.count(&self.limits, &self.token, (self.clock)())
    }

    /// The same for an import that comes in, for as long as what is given is kept.
    pub(super) fn admit_upload(&self) -> Result<Upload, Problem> {
        let upload = self.limits.upload(&self.token, (self.clock)())?;
        self.admit()?;
        Ok(upload)
    }

    /// Lets a request in that was accepted before: it is told so, however many have come since.
    pub(super) fn admit_replay(&self) {
        self.tally.let_in();
    }

    fn reached(&self, program: ProgramId) -> Option<()> {
        self.token.scope.reaches(program).then_some(())
    }

    /// For what a handler has found through here before: a program that is not reached cannot come this far.
    fn reaching(&self, program: ProgramId) -> Result<(), StoreError> {
        self.reached(program)
            .ok_or_else(|| StoreError::Fault(format!("a request came to program {program} past its token's scope")))
    }

    pub(super) async fn program(&self, program: ProgramId) -> Result<Option<Program>, StoreError> {
        match self.reached(program) {
            None => Ok(None),
            Some(()) => self.store.program(self.token.account, program).await,
        }
    }

    /// In the order of creation.
    pub(super) async fn programs(&self) -> Result<Vec<Program>, Refused> {
        self.admit()?;
        let mut programs = self.store.programs(Some(self.token.account)).await?;
        programs.retain(|program| self.token.scope.reaches(program.id));
        Ok(programs)
    }

    pub(super) async fn schema(&self, program: ProgramId) -> Result<Schema, Refused> {
        self.admit()?;
        self.reaching(program)?;
        Ok(self.store.schema(self.token.account, program).await?)
    }

    pub(super) async fn remembered(&self, signature: &[u8; 32]) -> Result<Option<Remembered>, StoreError> {
        self.store.remembered(self.token.number, signature).await
    }

    pub(super) async fn accept(&self, command: NewCommand) -> Result<Accepted, Refused> {
        self.may_write()?;
        self.reaching(command.program)?;
        self.admit()?;
        Ok(self.store.accept(command).await?)
    }

    /// A place for the file of a command that is to come. Blocking.
    pub(super) fn receive(&self, program: ProgramId, command: CommandId) -> Result<Box<dyn PayloadWriter>, StoreError> {
        self.reaching(program)?;
        self.store.receive(self.token.account, program, command)
    }

    pub(super) async fn command(&self, command: CommandId) -> Result<Option<Command>, StoreError> {
        let found = self.store.command(self.token.account, command).await?;
        Ok(found.filter(|found| self.token.scope.reaches(found.program)))
    }

    /// Cancels in the name of the token.
    pub(super) async fn cancel(&self, command: CommandId, now_ms: i64) -> Result<Option<Cancellation>, Refused> {
        self.may_write()?;
        if self.command(command).await?.is_none() {
            return Ok(None);
        }
        self.admit()?;
        Ok(self.store.cancel(self.token.account, command, &self.token.name, now_ms).await?)
    }

    pub(super) async fn commands(&self, program: ProgramId, query: CommandQuery) -> Result<CommandPage, Refused> {
        self.admit()?;
        self.reaching(program)?;
        Ok(self.store.commands(self.token.account, program, query).await?)
    }

    /// Blocking.
    pub(super) fn file(&self, command: &Command) -> Result<Option<Box<dyn Read + Send>>, Refused> {
        self.admit()?;
        self.reaching(command.program)?;
        Ok(self.store.file(self.token.account, command)?)
    }

    pub(super) async fn contacts(&self, program: ProgramId, query: ContactQuery) -> Result<ContactPage, Refused> {
        self.admit()?;
        self.reaching(program)?;
        Ok(self.store.contacts(self.token.account, program, query).await?)
    }

    pub(super) async fn contacts_of_account(
        &self,
        filter: ContactFilter,
        start: AccountPageStart,
        count: u32,
    ) -> Result<AccountPage, Refused> {
        self.admit()?;
        let Token { account, scope, .. } = self.token();
        Ok(self.store.contacts_of_account(*account, &scope.programs, filter, start, count).await?)
    }

    /// Blocking.
    pub(super) fn snapshot(&self, program: ProgramId) -> Result<Box<dyn ContactSnapshot>, Refused> {
        self.admit()?;
        self.reaching(program)?;
        Ok(self.store.snapshot(self.token.account, program)?)
    }

    pub(super) async fn contact(&self, contact: ContactId) -> Result<Option<(Program, Contact)>, StoreError> {
        let found = self.store.contact(self.token.account, contact).await?;
        Ok(found.filter(|(program, _)| self.token.scope.reaches(program.id)))
    }

    pub(super) fn completions(&self) -> &Completions {
        self.store.completions()
    }
}
