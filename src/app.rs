//! Where the rooms are wired together (a stand-in until the service is built: everything answers that it is not there).

use std::net::SocketAddr;
use std::sync::Arc;

use crate::config::Settings;
use crate::store::{Store, StoreError};

/// What a process wants of the store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// An operator's command; a service may be running beside it.
    Operator,
    /// The one service.
    Serve,
}

/// Opens the store.
pub async fn open_store(_settings: &Settings, _role: Role) -> Result<Arc<dyn Store>, StoreError> {
    Err(StoreError::Unavailable("it is not built yet".to_owned()))
}

/// Why the service did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store did not open.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The running service.
pub struct Service {
    address: SocketAddr,
}

impl Service {
    /// Opens the store, and starts workers and listener.
    pub async fn start(settings: &Settings) -> Result<Service, StartError> {
        open_store(settings, Role::Serve).await?;
        Ok(Service { address: settings.listen })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Drains and stops.
    pub async fn stop(self) {}
}
