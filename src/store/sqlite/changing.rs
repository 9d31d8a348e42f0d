//! The statements that change contacts in a program's file.

use rusqlite::{CachedStatement, Connection, params};

use crate::contact::{ContactId, Profile};
use crate::import::{Addition, Update};

/// Makes changes. A unique column is touched only where it changes: SQLite would renew its index entry all the same.
pub(super) struct Changer<'a> {
    insert: CachedStatement<'a>,
    update: CachedStatement<'a>,
    set_customer_id: CachedStatement<'a>,
    set_phone: CachedStatement<'a>,
    now_ms: i64,
}

impl<'a> Changer<'a> {
    pub(super) fn new(connection: &'a Connection, now_ms: i64) -> rusqlite::Result<Changer<'a>> {
        Ok(Changer {
            insert: connection.prepare_cached(
                "INSERT INTO contact
                   (number, salt, phone, active, created_ms, updated_ms, customer_id, profile, times)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?5, ?6, ?7, NULL)",
            )?,
            update: connection.prepare_cached(
                "UPDATE contact SET active = coalesce(?2, active), profile = coalesce(?3, profile), times = ?4,
                   updated_ms = ?5
                 WHERE number = ?1",
            )?,
            set_customer_id: connection.prepare_cached("UPDATE contact SET customer_id = ?2 WHERE number = ?1")?,
            set_phone: connection.prepare_cached("UPDATE contact SET phone = ?2 WHERE number = ?1")?,
            now_ms,
        })
    }

    pub(super) fn add(&mut self, addition: &Addition, random: u64) -> rusqlite::Result<()> {
        let Addition { number, customer_id, phone, active, profile } = addition;
        // The id type knows how many bits a salt has.
        let salt = ContactId::new(crate::contact::ProgramTag::from_bits(0), *number, random).salt();
        self.insert.execute(params![
            number.get().cast_signed(),
            salt.cast_signed(),
            phone.digits().cast_signed(),
            active,
            self.now_ms,
            not_blank(customer_id),
            profile.as_bytes(),
        ])?;
        Ok(())
    }

    pub(super) fn update(&mut self, update: &Update) -> rusqlite::Result<()> {
        let Update { number, customer_id, phone, active, profile, times } = update;
        let number = number.get().cast_signed();
        let times = Some(times.as_bytes()).filter(|times| !times.is_empty());
        let profile = profile.as_ref().map(Profile::as_bytes);
        let changed = self.update.execute(params![number, active, profile, times, self.now_ms])?;
        if changed == 0 {
            return Err(rusqlite::Error::QueryReturnedNoRows);
        }
        if let Some(customer_id) = customer_id {
            self.set_customer_id.execute(params![number, not_blank(customer_id)])?;
        }
        if let Some(phone) = phone {
            self.set_phone.execute(params![number, phone.digits().cast_signed()])?;
        }
        Ok(())
    }
}

fn not_blank(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}
