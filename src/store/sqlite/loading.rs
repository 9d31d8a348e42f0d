//! The first load of a program: its unique indexes are taken away while contacts are added, and built when all are there, sorted and in one
//! go. That takes a third of the time that it takes to put each key in its place.
//!
//! Without an index nobody can be looked up. So a load remembers the hashes of all keys that it has added. As long as nothing is asked for
//! that could be one of them, nothing needs to be looked up; when something is, the indexes are built, and the import goes on as any
//! other. It is all in the import's transaction: who reads meanwhile sees the indexes as they were, and so does who comes after one
//! that was undone. Building a unique index checks all that it would have checked.

use std::collections::HashSet;
use std::hash::BuildHasher;

use foldhash::{fast, quality};
use rusqlite::Connection;

use crate::import::{Addition, Change, IdentityKeys};

/// A load has at most so many keys, two for a contact: what bounds the memory for their hashes, nine bytes each or twice that.
const KEYS_MAX: usize = 600_000;
/// And so many bytes of keys: they are sorted in memory when the indexes are built.
const KEY_BYTES_MAX: usize = 32 * 1024 * 1024;

/// A batch of fewer contacts than this is none of a load that is worth it.
const BATCH_CONTACTS_ENOUGH: usize = 1_000;

/// Whether an import is a load.
pub(super) enum Loading {
    /// It can become one: the program was empty, and all that was done so far is the first batch, with these keys.
    Possible(Keys),
    /// It is one: there are no indexes.
    Going { keys: Keys, indexes: Vec<String> },
    /// It is none, or none any more.
    Over,
}

impl Loading {
    /// Of an import into a program without contacts.
    pub(super) fn possible() -> Loading {
        Loading::Possible(Keys::default())
    }

    /// Whether nobody has any of these keys, without a look into the file. (It may be so and not be known.)
    pub(super) fn lacks(&self, keys: &[IdentityKeys<'_>]) -> bool {
        match self {
            Loading::Going { keys: known, .. } => keys.iter().all(|key| known.lacks(key)),
            Loading::Possible(_) | Loading::Over => false,
        }
    }

    /// To be told of changes before they are made.
    pub(super) fn before(&mut self, connection: &Connection, changes: &[Change]) -> rusqlite::Result<()> {
        let additions = changes.iter().filter(|change| matches!(change, Change::Add(_))).count();
        let goes_on = match self {
            Loading::Possible(keys) if keys.are_none() => additions == changes.len(),
            Loading::Possible(_) => {
                let begins = additions == changes.len() && additions >= BATCH_CONTACTS_ENOUGH;
                if begins {
                    self.begin(connection)?;
                }
                begins
            }
            Loading::Going { keys, .. } => additions == changes.len() && !keys.are_enough(),
            Loading::Over => return Ok(()),
        };
        if !goes_on {
            self.end(connection)?;
            *self = Loading::Over;
        }
        if let Loading::Possible(keys) | Loading::Going { keys, .. } = self {
            keys.learn(changes);
        }
        Ok(())
    }

    fn begin(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let mut select = connection.prepare(
            "SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'contact' AND sql IS NOT NULL",
        )?;
        let indexes: Vec<(String, String)> =
            select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<rusqlite::Result<_>>()?;
        for (name, _) in &indexes {
            connection.execute_batch(&format!("DROP INDEX {name}"))?;
        }
        if let Loading::Possible(keys) = std::mem::replace(self, Loading::Over) {
            *self = Loading::Going { keys, indexes: indexes.into_iter().map(|(_, sql)| sql).collect() };
        }
        Ok(())
    }

    /// Builds the indexes, if there are none.
    pub(super) fn end(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        if let Loading::Going { keys: _, indexes } = self {
            indexes.iter().try_for_each(|sql| connection.execute_batch(sql))?;
            *self = Loading::Over;
        }
        Ok(())
    }
}

/// The hashes of keys that contacts have. Two keys with one hash are taken for the same, which costs a look.
#[derive(Default)]
pub(super) struct Keys {
    known: HashSet<u64, fast::RandomState>,
    hashes: quality::RandomState,
    bytes: usize,
}

impl Keys {
    fn are_none(&self) -> bool {
        self.known.is_empty()
    }

    fn are_enough(&self) -> bool {
        self.known.len() >= KEYS_MAX || self.bytes >= KEY_BYTES_MAX
    }

    fn learn(&mut self, changes: &[Change]) {
        for change in changes {
            let Change::Add(Addition { customer_id, phone, .. }) = change else { continue };
            if !customer_id.is_empty() {
                self.known.insert(self.hashes.hash_one(customer_id.as_str()));
            }
            self.known.insert(self.hashes.hash_one(phone));
            self.bytes += customer_id.len() + size_of_val(phone);
        }
    }

    fn lacks(&self, IdentityKeys { signalvine_id, customer_id, phone }: &IdentityKeys<'_>) -> bool {
        signalvine_id.is_none()
            && customer_id.is_none_or(|customer_id| !self.known.contains(&self.hashes.hash_one(customer_id)))
            && phone.is_none_or(|phone| !self.known.contains(&self.hashes.hash_one(phone)))
    }
}
