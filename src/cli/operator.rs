//! What the operator's commands share: opening the store for one piece of work, and reading what people type.

use std::future::Future;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::runtime::{Builder, Runtime};

use crate::app::{Role, open_store};
use crate::config::Settings;
use crate::store::Store;
use crate::tenant::{AccountId, Program, ProgramId};

use super::failure::Failure;
use super::logging::{self, DefaultLevel};
use super::settings::{DataArgs, GlobalArgs};

/// The runtime that the service and the store's calls run on.
pub(super) fn runtime() -> Result<Runtime, Failure> {
    Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::ours(format!("cannot start the runtime: {error}")))
}

/// Opens the store, does the work, and closes it again.
pub(super) fn with_store<T, F>(
    data: &DataArgs,
    global: &GlobalArgs,
    work: impl FnOnce(Arc<dyn Store>) -> F,
) -> Result<T, Failure>
where
    F: Future<Output = Result<T, Failure>>,
{
    let settings = global.settings(data.given())?;
    logging::start(&settings, DefaultLevel::Warn)?;
    runtime()?.block_on(in_store(&settings, work))
}

/// The same, on a runtime that is there.
pub(super) async fn in_store<T, F>(settings: &Settings, work: impl FnOnce(Arc<dyn Store>) -> F) -> Result<T, Failure>
where
    F: Future<Output = Result<T, Failure>>,
{
    let store = open_store(settings, Role::Operator).await?;
    let done = work(Arc::clone(&store)).await;
    let closed = store.close().await;
    let done = done?;
    closed?;
    Ok(done)
}

/// The one moment at which an operator's command happens.
pub(super) fn now_ms() -> i64 {
    Timestamp::now().as_millisecond()
}

/// The program of an id, whosever it is.
pub(super) async fn find_program(store: &dyn Store, id: ProgramId) -> Result<Program, Failure> {
    let found = store.find_program(id).await?;
    found.ok_or_else(|| {
        Failure::yours(format!("there is no program {id}")).with_remedy("'roster program list' shows all of them.")
    })
}

/// Reads an account's id, for clap.
pub(super) fn account_id(text: &str) -> Result<AccountId, String> {
    AccountId::parse(text).ok_or_else(|| "an account's id is a UUID; 'roster account list' shows them".to_owned())
}

/// Reads a program's id, for clap.
pub(super) fn program_id(text: &str) -> Result<ProgramId, String> {
    ProgramId::parse(text).ok_or_else(|| "a program's id is a UUID; 'roster program list' shows them".to_owned())
}

/// Reads a name for people, for clap.
pub(super) fn name(text: &str) -> Result<String, String> {
    let name = text.trim();
    if name.is_empty() || name.chars().any(char::is_control) {
        return Err("a name has at least one visible character and no control characters".to_owned());
    }
    Ok(name.to_owned())
}
