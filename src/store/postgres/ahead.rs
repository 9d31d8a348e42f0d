//! What an import has the database do while it thinks on: the changes of one batch are made, and the contacts of the next one looked up,
//! while the rows between are planned. Neither side waits for the other more than it must (docs/PERFORMANCE.md has what
//! that saves).
//!
//! Jobs are done one after the other, in the order in which they are given. So what is found does not know the changes that were given
//! after it was asked for. Those are remembered ([`Touched`]), and where one could make a difference, it is asked anew.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::ops::Range;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::changing::Changer;
use super::connection::{IMPORT_ANSWERED_WITHIN, within};
use super::finding::Finder;
use super::import_connection::ImportConnection;
use crate::contact::{ContactId, ContactNumber, Phone};
use crate::import::{Change, IdentityKeys, RowFound};
use crate::store::{Lookup, StoreError};
use crate::tenant::ProgramId;

type Reply<T> = oneshot::Sender<Result<T, StoreError>>;
type Promise<T> = oneshot::Receiver<Result<T, StoreError>>;

enum Job {
    Find(Asked, Reply<Vec<RowFound>>),
    Change(Vec<Change>, Reply<()>),
}

/// The jobs of one import.
pub(super) struct Ahead {
    /// Never more than two changes and one look-up wait in it: see [`Ahead::change`] and [`Ahead::expect`].
    jobs: mpsc::UnboundedSender<Job>,
    worker: JoinHandle<()>,
    /// The last changes that were given, if they may still be at work.
    changing: Option<Promise<()>>,
    expected: Option<Expected>,
}

/// A look-up that was asked for before its time.
struct Expected {
    asked: Asked,
    found: Promise<Vec<RowFound>>,
    /// The changes that were given before it.
    before: Option<Promise<()>>,
    /// What has been changed since.
    touched: Touched,
}

impl Ahead {
    pub(super) fn new(
        handle: &Handle,
        connection: Arc<ImportConnection>,
        finder: Finder,
        (program, now_ms): (ProgramId, i64),
    ) -> Ahead {
        let (jobs, mut coming) = mpsc::unbounded_channel();
        let worker = handle.spawn(async move {
            while let Some(job) = coming.recv().await {
                // Who asked may have gone.
                match job {
                    Job::Find(asked, reply) => drop(
                        reply.send(
                            within(IMPORT_ANSWERED_WITHIN, async {
                                let keys = asked.keys();
                                finder.find(connection.client()?, asked.lookup(&keys)).await
                            })
                            .await,
                        ),
                    ),
                    Job::Change(changes, reply) => drop(
                        reply.send(
                            within(IMPORT_ANSWERED_WITHIN, async {
                                Changer { connection: &connection, program, now_ms }.change(&changes).await
                            })
                            .await,
                        ),
                    ),
                }
            }
        });
        Ahead { jobs, worker, changing: None, expected: None }
    }

    /// Asks for what will be looked up next. The one before must have been taken.
    pub(super) fn expect(&mut self, lookup: Lookup<'_>) -> Result<(), StoreError> {
        let asked = Asked::of(lookup);
        let (reply, found) = oneshot::channel();
        self.give(Job::Find(asked.clone(), reply))?;
        let before = self.changing.take();
        self.expected = Some(Expected { asked, found, before, touched: Touched::default() });
        Ok(())
    }

    /// What was expected and still holds; `None` if it is to be asked now. The changes that were given before are made by then, or it fails
    /// as they did.
    pub(super) async fn take(&mut self, lookup: Lookup<'_>) -> Result<Option<Vec<RowFound>>, StoreError> {
        let Some(Expected { asked, found, before, touched }) = self.expected.take() else {
            self.settle().await?;
            return Ok(None);
        };
        kept(before).await?;
        let found = promised(found).await?;
        if asked.is(lookup) && !touched.may_change(lookup.keys, &found) {
            return Ok(Some(found));
        }
        self.settle().await?;
        Ok(None)
    }

    /// Has changes made. Waits for those before them: so the work that waits is bounded.
    pub(super) async fn change(&mut self, changes: Vec<Change>) -> Result<(), StoreError> {
        if let Some(expected) = &mut self.expected {
            expected.touched.learn(&changes);
            kept(expected.before.take()).await?;
        }
        self.settle().await?;
        let (reply, done) = oneshot::channel();
        self.give(Job::Change(changes, reply))?;
        self.changing = Some(done);
        Ok(())
    }

    /// Waits until everything that was given is done, and with it the worker idle: before the transaction ends, so that no statement comes
    /// behind its end, and takes effect by itself.
    pub(super) async fn end(&mut self) -> Result<(), StoreError> {
        let mut all = Ok(());
        if let Some(Expected { asked: _, found, before, touched: _ }) = self.expected.take() {
            all = all.and(kept(before).await).and(promised(found).await.map(drop));
        }
        all.and(self.settle().await)
    }

    async fn settle(&mut self) -> Result<(), StoreError> {
        kept(self.changing.take()).await
    }

    fn give(&self, job: Job) -> Result<(), StoreError> {
        self.jobs.send(job).map_err(|_| gone())
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        // It holds the connection, whose end has everything undone.
        self.worker.abort();
    }
}

async fn kept(promise: Option<Promise<()>>) -> Result<(), StoreError> {
    match promise {
        Some(promise) => promised(promise).await,
        None => Ok(()),
    }
}

async fn promised<T>(promise: Promise<T>) -> Result<T, StoreError> {
    promise.await.unwrap_or_else(|_| Err(gone()))
}

fn gone() -> StoreError {
    StoreError::Fault("the database work of the import has ended early".to_owned())
}

/// A look-up that outlives its batch.
#[derive(Clone)]
struct Asked {
    /// All the customers' ids, one behind the other.
    customer_ids: String,
    keys: Vec<AskedKeys>,
    values: bool,
    phones_of_existing: bool,
    phones_of_new: bool,
}

#[derive(Clone)]
struct AskedKeys {
    signalvine_id: Option<ContactId>,
    customer_id: Option<Range<usize>>,
    phone: Option<Phone>,
}

impl Asked {
    fn of(Lookup { keys, values, phones_of_existing, phones_of_new }: Lookup<'_>) -> Asked {
        let mut customer_ids = String::new();
        let mut place = |customer_id: &str| {
            let start = customer_ids.len();
            customer_ids.push_str(customer_id);
            start..customer_ids.len()
        };
        let keys = keys
            .iter()
            .map(|IdentityKeys { signalvine_id, customer_id, phone }| AskedKeys {
                signalvine_id: *signalvine_id,
                customer_id: customer_id.map(&mut place),
                phone: *phone,
            })
            .collect();
        Asked { customer_ids, keys, values, phones_of_existing, phones_of_new }
    }

    fn keys(&self) -> Vec<IdentityKeys<'_>> {
        let key = |AskedKeys { signalvine_id, customer_id, phone }: &AskedKeys| IdentityKeys {
            signalvine_id: *signalvine_id,
            customer_id: customer_id.as_ref().map(|place| &self.customer_ids[place.clone()]),
            phone: *phone,
        };
        self.keys.iter().map(key).collect()
    }

    fn lookup<'a>(&self, keys: &'a [IdentityKeys<'a>]) -> Lookup<'a> {
        let Asked { values, phones_of_existing, phones_of_new, .. } = *self;
        Lookup { keys, values, phones_of_existing, phones_of_new }
    }

    fn is(&self, Lookup { keys, values, phones_of_existing, phones_of_new }: Lookup<'_>) -> bool {
        (self.values, self.phones_of_existing, self.phones_of_new) == (values, phones_of_existing, phones_of_new)
            && self.keys() == keys
    }
}

/// Which contacts and keys changes have touched: as hashes, since taking one for another costs a question only.
#[derive(Default)]
struct Touched {
    hashes: HashSet<u64>,
    with: RandomState,
}

impl Touched {
    fn learn(&mut self, changes: &[Change]) {
        for change in changes {
            let (number, customer_id, phone) = match change {
                Change::Add(addition) => (addition.number, Some(&addition.customer_id), Some(addition.phone)),
                Change::Update(update) => (update.number, update.customer_id.as_ref(), update.phone),
            };
            self.hashes.insert(self.number(number));
            if let Some(customer_id) = customer_id {
                self.hashes.insert(self.customer_id(customer_id));
            }
            if let Some(phone) = phone {
                self.hashes.insert(self.phone(phone));
            }
        }
    }

    /// Whether what was found for these keys could be other now: a contact that was found has changed (so that it may have lost the key
    /// as well), or a key was given to a contact.
    fn may_change(&self, keys: &[IdentityKeys<'_>], found: &[RowFound]) -> bool {
        if self.hashes.is_empty() {
            return false;
        }
        keys.iter().zip(found).any(|(IdentityKeys { signalvine_id, customer_id, phone }, found)| {
            let RowFound { by_signalvine_id, by_customer_id, by_phone, contact: _ } = found;
            let numbers = [*by_signalvine_id, *by_customer_id, *by_phone, signalvine_id.map(|id| id.number)];
            numbers.into_iter().flatten().any(|number| self.hashes.contains(&self.number(number)))
                || customer_id.is_some_and(|customer_id| self.hashes.contains(&self.customer_id(customer_id)))
                || phone.is_some_and(|phone| self.hashes.contains(&self.phone(phone)))
        })
    }

    fn number(&self, number: ContactNumber) -> u64 {
        self.with.hash_one((0_u8, number.get()))
    }

    fn customer_id(&self, customer_id: &str) -> u64 {
        self.with.hash_one((1_u8, customer_id))
    }

    fn phone(&self, phone: Phone) -> u64 {
        self.with.hash_one((2_u8, phone.digits()))
    }
}
