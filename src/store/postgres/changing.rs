//! Makes the changes of a batch of rows, in sets.

use std::collections::HashSet;
use std::sync::Arc;

use tokio_postgres::types::Type;

use super::adding;
use super::connection::Context;
use super::import_connection::ImportConnection;
use crate::contact::Profile;
use crate::import::{Addition, Change, Update};
use crate::store::StoreError;
use crate::tenant::ProgramId;

// In what follows the program is not named by `$1` itself where contacts are looked for: see `finding.rs`.

/// See [`Changer::free_keys`].
pub(super) const FREE_KEYS: &str =
    "UPDATE contact SET customer_id = CASE WHEN freed.customer_id THEN NULL ELSE contact.customer_id END,
                   phone = CASE WHEN freed.phone THEN -contact.number ELSE contact.phone END
                 FROM unnest($2::bigint[], $3::bool[], $4::bool[]) AS freed (number, customer_id, phone)
                 WHERE contact.program = (SELECT $1::uuid) AND contact.number = freed.number";

/// What is NULL stays as it is.
pub(super) const UPDATE: &str = "UPDATE contact SET active = coalesce(new.active, contact.active),
                   profile = coalesce(new.profile, contact.profile), times = new.times, updated_ms = $8,
                   customer_id = coalesce(new.customer_id, contact.customer_id),
                   phone = coalesce(new.phone, contact.phone)
                 FROM unnest($2::bigint[], $3::bool[], $4::bytea[], $5::bytea[], $6::text[], $7::bigint[])
                   AS new (number, active, profile, times, customer_id, phone)
                 WHERE contact.program = (SELECT $1::uuid) AND contact.number = new.number";

/// Makes changes.
pub(super) struct Changer<'a> {
    pub(super) connection: &'a Arc<ImportConnection>,
    pub(super) program: ProgramId,
    pub(super) now_ms: i64,
}

impl Changer<'_> {
    /// In sets of which none changes a contact twice; usually that is one set.
    pub(super) async fn change(&self, changes: &[Change]) -> Result<(), StoreError> {
        let (mut additions, mut updates, mut touched) = (Vec::new(), Vec::new(), HashSet::new());
        for change in changes {
            let number = match change {
                Change::Add(addition) => addition.number,
                Change::Update(update) => update.number,
            };
            if !touched.insert(number) {
                self.change_set(&additions, &updates).await?;
                (additions, updates) = (Vec::new(), Vec::new());
                touched = HashSet::from([number]);
            }
            match change {
                Change::Add(addition) => additions.push(addition),
                Change::Update(update) => updates.push(update),
            }
        }
        self.change_set(&additions, &updates).await
    }

    /// Updates first: what a contact gives up may be an added one's.
    async fn change_set(&self, additions: &[&Addition], updates: &[&Update]) -> Result<(), StoreError> {
        if !updates.is_empty() {
            self.free_keys(updates).await?;
            self.update(updates).await?;
        }
        if !additions.is_empty() {
            adding::add(self.connection, (self.program, self.now_ms), additions).await?;
        }
        Ok(())
    }

    /// Takes the keys away that are to change, so that no unique index ever sees two holders while they pass from one
    /// contact to another. A phone cannot be nobody's: it becomes a number that is no phone, and that no other contact has.
    async fn free_keys(&self, updates: &[&Update]) -> Result<(), StoreError> {
        let changed = |update: &&&Update| update.customer_id.is_some() || update.phone.is_some();
        let freed: Vec<&&Update> = updates.iter().filter(changed).collect();
        if freed.is_empty() {
            return Ok(());
        }
        let numbers: Vec<i64> = freed.iter().map(|update| update.number.get().cast_signed()).collect();
        let customer_ids: Vec<bool> = freed.iter().map(|update| update.customer_id.is_some()).collect();
        let phones: Vec<bool> = freed.iter().map(|update| update.phone.is_some()).collect();
        self.connection
            .client()?
            .execute_typed(
                FREE_KEYS,
                &[
                    (&self.program.0, Type::UUID),
                    (&numbers, Type::INT8_ARRAY),
                    (&customer_ids, Type::BOOL_ARRAY),
                    (&phones, Type::BOOL_ARRAY),
                ],
            )
            .await
            .context(|| self.changing())?;
        Ok(())
    }

    async fn update(&self, updates: &[&Update]) -> Result<(), StoreError> {
        let numbers: Vec<i64> = updates.iter().map(|update| update.number.get().cast_signed()).collect();
        let actives: Vec<Option<bool>> = updates.iter().map(|update| update.active).collect();
        let profiles: Vec<Option<&[u8]>> =
            updates.iter().map(|update| update.profile.as_ref().map(Profile::as_bytes)).collect();
        let times: Vec<Option<&[u8]>> =
            updates.iter().map(|update| Some(update.times.as_bytes()).filter(|times| !times.is_empty())).collect();
        // Blank clears it; it was cleared when it was freed.
        let customer_ids: Vec<Option<&str>> =
            updates.iter().map(|update| update.customer_id.as_deref().and_then(not_blank)).collect();
        let phones: Vec<Option<i64>> =
            updates.iter().map(|update| update.phone.map(|phone| phone.digits().cast_signed())).collect();
        let changed = self
            .connection
            .client()?
            .execute_typed(
                UPDATE,
                &[
                    (&self.program.0, Type::UUID),
                    (&numbers, Type::INT8_ARRAY),
                    (&actives, Type::BOOL_ARRAY),
                    (&profiles, Type::BYTEA_ARRAY),
                    (&times, Type::BYTEA_ARRAY),
                    (&customer_ids, Type::TEXT_ARRAY),
                    (&phones, Type::INT8_ARRAY),
                    (&self.now_ms, Type::INT8),
                ],
            )
            .await
            .context(|| self.changing())?;
        if changed != updates.len() as u64 {
            return Err(StoreError::Fault(format!("{}: a contact to be updated is not there", self.changing())));
        }
        Ok(())
    }

    fn changing(&self) -> String {
        format!("changing contacts of program {}", self.program)
    }
}

fn not_blank(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}
