//! The one way from a page to the store: everything that a page can ask for is asked in the account that its session is in, and as far as the
//! user's role goes. What is another account's is not there, in the same words as what is nobody's.
//!
//! Pages cannot go round it: what it is made of is closed in here.

use std::io::Read;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::Console;
use super::answer::Turned;
use crate::command::{Accepted, CommandId, NewCommand, Watch};
use crate::contact::{Contact, ContactId, FieldType, Schema};
use crate::store::{
    Cancellation, ContactFilter, ContactKey, ContactPage, ContactQuery, ContactSnapshot, DayTally, ImportDetails,
    ImportItem, ImportsQuery, NewUpload, PageStart, PayloadWriter, ProgramItem, StoreError, Upload, UploadId,
};
use crate::tenant::{
    AccountId, NewProgram, NewToken, Program, ProgramId, ProgramSettings, Role, Rotated, Scope, Secret, Session,
    TicketDigest, Token, TokenListing,
};

/// What one session may see and do.
#[derive(Clone)]
pub(super) struct Data {
    console: Arc<Console>,
    session: Session,
    cookie: TicketDigest,
    request: String,
}

impl<S: Send + Sync> FromRequestParts<S> for Data {
    type Rejection = Turned;

    /// As the door has put it there: where it is not, nobody is signed in.
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Data, Turned> {
        parts.extensions.get::<Data>().cloned().ok_or(Turned::SignIn)
    }
}

impl Data {
    pub(super) fn new(console: Arc<Console>, session: Session, cookie: TicketDigest, request: String) -> Data {
        Data { console, session, cookie, request }
    }

    /// Who asks, and where.
    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    pub(super) fn cookie(&self) -> TicketDigest {
        self.cookie
    }

    /// What the request is called in the log.
    pub(super) fn request(&self) -> &str {
        &self.request
    }

    pub(super) fn now_ms(&self) -> i64 {
        (self.console.clock)()
    }

    pub(super) fn may(&self, role: Role) -> bool {
        self.session.role >= role
    }

    fn account(&self) -> AccountId {
        self.session.account.id
    }

    /// The door has asked by the page's line in the table; this asks again where something is changed.
    fn needs(&self, role: Role) -> Result<(), Turned> {
        if self.may(role) { Ok(()) } else { Err(Turned::Forbidden(role)) }
    }

    /// The program, or that there is none.
    pub(super) async fn program(&self, program: ProgramId) -> Result<Program, Turned> {
        self.console.store.program(self.account(), program).await?.ok_or(Turned::NotFound("program"))
    }

    pub(super) async fn program_item(&self, program: ProgramId) -> Result<ProgramItem, Turned> {
        self.console.store.program_item(self.account(), program).await?.ok_or(Turned::NotFound("program"))
    }

    /// In the order of creation.
    pub(super) async fn program_items(&self) -> Result<Vec<ProgramItem>, Turned> {
        Ok(self.console.store.program_items(self.account()).await?)
    }

    /// In the order of creation.
    pub(super) async fn programs(&self) -> Result<Vec<Program>, Turned> {
        Ok(self.console.store.programs(Some(self.account())).await?)
    }

    pub(super) async fn schema(&self, program: ProgramId) -> Result<Schema, Turned> {
        Ok(self.console.store.schema(self.account(), program).await?)
    }

    pub(super) async fn imports(&self, query: ImportsQuery) -> Result<Vec<ImportItem>, Turned> {
        Ok(self.console.store.imports(self.account(), query).await?)
    }

    pub(super) async fn senders(&self) -> Result<Vec<String>, Turned> {
        Ok(self.console.store.senders(self.account()).await?)
    }

    pub(super) async fn days(&self, from_day: i64) -> Result<Vec<DayTally>, Turned> {
        Ok(self.console.store.days(self.account(), from_day).await?)
    }

    /// The import, or that there is none.
    pub(super) async fn import(&self, command: CommandId) -> Result<ImportDetails, Turned> {
        let found = self.console.store.import_details(self.account(), command).await?;
        found.ok_or(Turned::NotFound("import"))
    }

    /// Who waits for the end of an import is woken by it.
    pub(super) fn watch(&self, command: CommandId) -> Watch<'_> {
        self.console.store.completions().watch(command)
    }

    /// Cancels in the user's name.
    pub(super) async fn cancel(&self, command: CommandId) -> Result<Cancellation, Turned> {
        self.needs(Role::Editor)?;
        let name = self.session.name.as_str();
        let cancelled = self.console.store.cancel(self.account(), command, name, self.now_ms()).await?;
        cancelled.ok_or(Turned::NotFound("import"))
    }

    /// The file of a complete import. Blocking.
    pub(super) fn file(&self, details: &ImportDetails) -> Result<Option<Box<dyn Read + Send>>, Turned> {
        self.needs(Role::Editor)?;
        Ok(self.console.store.file(self.account(), &details.command)?)
    }

    pub(super) async fn accept(&self, command: NewCommand) -> Result<Accepted, Turned> {
        self.needs(Role::Editor)?;
        Ok(self.console.store.accept(NewCommand { account: self.account(), ..command }).await?)
    }

    /// A place for a file. Blocking.
    pub(super) fn receive(&self, program: ProgramId, id: CommandId) -> Result<Box<dyn PayloadWriter>, Turned> {
        self.needs(Role::Editor)?;
        Ok(self.console.store.receive(self.account(), program, id)?)
    }

    pub(super) async fn keep_upload(&self, upload: NewUpload) -> Result<UploadId, Turned> {
        self.needs(Role::Editor)?;
        Ok(self.console.store.keep_upload(NewUpload { account: self.account(), ..upload }).await?)
    }

    /// The upload, or that there is none.
    pub(super) async fn upload(&self, upload: UploadId) -> Result<Upload, Turned> {
        self.console.store.upload(self.account(), upload).await?.ok_or(Turned::NotFound("file"))
    }

    pub(super) async fn upload_of(&self, command: CommandId) -> Result<Option<Upload>, Turned> {
        Ok(self.console.store.upload_of(self.account(), command).await?)
    }

    pub(super) async fn note_upload(&self, upload: UploadId, command: CommandId) -> Result<(), Turned> {
        Ok(self.console.store.note_upload(self.account(), upload, command).await?)
    }

    /// The file of an upload, from its start. Blocking.
    pub(super) fn upload_file(&self, upload: UploadId) -> Result<Box<dyn Read + Send>, Turned> {
        self.needs(Role::Editor)?;
        self.console.store.upload_file(self.account(), upload)?.ok_or(Turned::NotFound("file"))
    }

    pub(super) async fn columns(&self, program: ProgramId) -> Result<Vec<(String, String)>, Turned> {
        Ok(self.console.store.columns(self.account(), program).await?)
    }

    pub(super) async fn remember_columns(
        &self,
        program: ProgramId,
        columns: &[(String, String)],
    ) -> Result<(), Turned> {
        self.needs(Role::Editor)?;
        Ok(self.console.store.remember_columns(self.account(), program, columns, self.now_ms()).await?)
    }

    /// Contacts in the order of creation.
    pub(super) async fn contacts(
        &self,
        program: ProgramId,
        (active_only, start): (bool, PageStart),
        count: u32,
    ) -> Result<ContactPage, Turned> {
        let filter = ContactFilter { active_only, updated_after_ms: None };
        Ok(self.console.store.contacts(self.account(), program, ContactQuery { filter, start, count }).await?)
    }

    pub(super) async fn find_contact(&self, program: ProgramId, key: ContactKey) -> Result<Option<Contact>, Turned> {
        Ok(self.console.store.find_contact(self.account(), program, key).await?)
    }

    /// The contact with its program, or that there is none.
    pub(super) async fn contact(&self, contact: ContactId) -> Result<(Program, Contact), Turned> {
        self.console.store.contact(self.account(), contact).await?.ok_or(Turned::NotFound("contact"))
    }

    pub(super) async fn last_import(&self, contact: &Contact) -> Result<Option<CommandId>, Turned> {
        Ok(self.console.store.last_import(self.account(), contact).await?)
    }

    pub(super) async fn contacts_version(&self, program: ProgramId) -> Result<i64, Turned> {
        Ok(self.console.store.contacts_version(self.account(), program).await?)
    }

    /// All contacts. Blocking.
    pub(super) fn snapshot(&self, program: ProgramId) -> Result<Box<dyn ContactSnapshot>, StoreError> {
        self.console.store.snapshot(self.account(), program)
    }

    pub(super) async fn create_program(&self, program: NewProgram) -> Result<Program, Turned> {
        self.needs(Role::Admin)?;
        Ok(self.console.store.create_program(self.account(), program, self.now_ms()).await?)
    }

    pub(super) async fn update_program(&self, program: ProgramId, settings: ProgramSettings) -> Result<(), Turned> {
        self.needs(Role::Admin)?;
        Ok(self.console.store.update_program(self.account(), program, settings).await?)
    }

    pub(super) async fn add_field(&self, program: ProgramId, name: &str, field_type: FieldType) -> Result<(), Turned> {
        self.needs(Role::Admin)?;
        Ok(self.console.store.add_field(self.account(), program, name, field_type, self.now_ms()).await?)
    }

    pub(super) async fn remove_field(&self, program: ProgramId, name: &str) -> Result<(), Turned> {
        self.needs(Role::Admin)?;
        Ok(self.console.store.remove_field(self.account(), program, name, self.now_ms()).await?)
    }

    /// The account's tokens, revoked ones too, in the order of creation.
    pub(super) async fn tokens(&self) -> Result<Vec<TokenListing>, Turned> {
        Ok(self.console.store.tokens(Some(self.account())).await?)
    }

    /// A token of the account that is not revoked, with its secret: to try a signature, never to be shown.
    pub(super) async fn token(&self, token: &str) -> Result<Option<Token>, Turned> {
        let found = self.console.store.token(token).await?;
        Ok(found.filter(|token| token.account == self.account()))
    }

    /// The store changes tokens whosever they are; here they are the account's.
    async fn own_token(&self, token: &str) -> Result<TokenListing, Turned> {
        self.needs(Role::Admin)?;
        self.tokens().await?.into_iter().find(|listed| listed.token == token).ok_or(Turned::NotFound("token"))
    }

    pub(super) async fn create_token(&self, token: NewToken) -> Result<(), Turned> {
        self.needs(Role::Admin)?;
        Ok(self.console.store.create_token(self.account(), token, self.now_ms()).await?)
    }

    pub(super) async fn rotate_token(
        &self,
        token: &str,
        secret: &Secret,
        overlap_ms: u64,
    ) -> Result<(TokenListing, Rotated), Turned> {
        let listed = self.own_token(token).await?;
        let rotated = self.console.store.rotate_token(token, secret, overlap_ms, self.now_ms()).await?;
        Ok((listed, rotated))
    }

    pub(super) async fn revoke_token(&self, token: &str) -> Result<(), Turned> {
        self.own_token(token).await?;
        Ok(self.console.store.revoke_token(token, self.now_ms()).await?)
    }

    /// Goes to another account of the user's.
    pub(super) async fn go_to(&self, account: AccountId) -> Result<(), Turned> {
        match self.console.store.set_session_account(self.cookie, account).await {
            Err(StoreError::Refused(_)) => Err(Turned::NotFound("account")),
            done => Ok(done?),
        }
    }

    /// A scope of programs of the account.
    pub(super) async fn scope(&self, read_only: bool, programs: &[&str]) -> Result<Scope, Turned> {
        if programs.is_empty() {
            return Ok(Scope { read_only, ..Scope::FULL });
        }
        let known = self.programs().await?;
        let of_text = |text: &&str| {
            let id = ProgramId::parse(text).filter(|id| known.iter().any(|program| program.id == *id));
            id.ok_or(Turned::NotFound("program"))
        };
        let only = programs.iter().map(of_text).collect::<Result<_, _>>()?;
        Ok(Scope { read_only, programs: crate::tenant::Programs::Only(only) })
    }
}
