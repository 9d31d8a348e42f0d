//! The first load of a program: its unique indexes are taken away while contacts are added, and built when all are there, sorted and in one
//! go. That takes a third of the time that it takes to put each key in its place, and it does not take longer for a contact the more there are.
//!
//! Without an index nobody can be looked up. So a load remembers which contacts it gave which keys ([`AddedKeys`]); when these are too many,
//! the indexes are built, and the import goes on as any other. It is all in the import's transaction: who reads meanwhile sees the
//! indexes as they were, and so does who comes after one that was undone. Building a unique index checks all that it would have checked.

use rusqlite::Connection;

use super::added::{AddedKeys, TooMany};
use super::finding::number;
use crate::contact::Phone;
use crate::import::Change;

/// The page cache of an import whose pages come one after the other: a file in the program's order, or contacts that are added at the
/// end. More of it would only be filled. It bounds the memory in which keys are sorted, too.
pub(super) const CACHE_KIB_IN_ORDER: u32 = 16 * 1024;

/// The same in any order.
pub(super) const CACHE_KIB: u32 = 64 * 1024;

/// A batch that adds fewer contacts than this is none of a load that is worth it.
const BATCH_CONTACTS_ENOUGH: usize = 1_000;

/// A program that had more contacts before is loaded as any other: all of its keys would be learned and sorted again.
const CONTACTS_BEFORE_MAX: i64 = 10_000;

/// Whether an import is a load.
pub(super) enum Loading {
    /// It can become one: the program had so many contacts, the import has added so many, and its file has so many bytes.
    Possible { before: i64, added: i64, file_bytes: u64 },
    /// It is one: there are no indexes.
    Going { keys: AddedKeys, indexes: Vec<String> },
    /// It is none, or none any more.
    Over,
}

impl Loading {
    /// Of an import of a file of so many bytes into a program with so many contacts.
    pub(super) fn of_program(contacts: i64, file_bytes: u64) -> Loading {
        if contacts <= CONTACTS_BEFORE_MAX {
            Loading::Possible { before: contacts, added: 0, file_bytes }
        } else {
            Loading::Over
        }
    }

    /// What takes the place of the indexes, if there are none.
    pub(super) fn keys(&self) -> Option<&AddedKeys> {
        match self {
            Loading::Going { keys, .. } => Some(keys),
            Loading::Possible { .. } | Loading::Over => None,
        }
    }

    /// To be told of changes before they are made.
    pub(super) fn before(&mut self, connection: &Connection, changes: &[Change]) -> rusqlite::Result<()> {
        if let Loading::Possible { before, added, file_bytes } = self {
            let additions = changes.iter().filter(|change| matches!(change, Change::Add(_))).count();
            // A file of one batch is not worth it; and at least half of the keys are to be the file's.
            if *added == 0 || additions < BATCH_CONTACTS_ENOUGH || *before > *added {
                *added += i64::try_from(additions).unwrap_or(i64::MAX);
                return Ok(());
            }
            let file_bytes = *file_bytes;
            self.begin(connection, file_bytes)?;
        }
        if let Loading::Going { keys, .. } = self
            && let Err(TooMany) = keys.learn(changes)
        {
            self.end(connection)?;
            connection.execute_batch(&format!("PRAGMA cache_size = -{CACHE_KIB}"))?;
        }
        Ok(())
    }

    fn begin(&mut self, connection: &Connection, file_bytes: u64) -> rusqlite::Result<()> {
        let Some(keys) = keys_of_all(connection, AddedKeys::of_file(file_bytes))? else {
            *self = Loading::Over;
            return Ok(());
        };
        let mut select = connection.prepare(
            "SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'contact' AND sql IS NOT NULL",
        )?;
        let indexes: Vec<(String, String)> =
            select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<rusqlite::Result<_>>()?;
        for (name, _) in &indexes {
            connection.execute_batch(&format!("DROP INDEX {name}"))?;
        }
        connection.execute_batch(&format!("PRAGMA cache_size = -{CACHE_KIB_IN_ORDER}"))?;
        *self = Loading::Going { keys, indexes: indexes.into_iter().map(|(_, sql)| sql).collect() };
        Ok(())
    }

    /// Builds the indexes, if there are none.
    pub(super) fn end(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        if let Loading::Going { keys, indexes } = std::mem::replace(self, Loading::Over) {
            // Its memory is wanted for sorting.
            drop(keys);
            indexes.iter().try_for_each(|sql| connection.execute_batch(sql))?;
        }
        Ok(())
    }
}

/// With the keys of all contacts that there are, unless these are too many.
fn keys_of_all(connection: &Connection, mut keys: AddedKeys) -> rusqlite::Result<Option<AddedKeys>> {
    let mut select = connection.prepare("SELECT number, phone, customer_id FROM contact")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let number = number(row)?;
        let phone = Phone::from_digits(row.get::<_, i64>(1)?.cast_unsigned());
        let customer_id = row.get_ref(2)?.as_str_or_null()?.unwrap_or_default();
        if keys.learn_contact(number, customer_id, phone).is_err() {
            return Ok(None);
        }
    }
    Ok(Some(keys))
}
