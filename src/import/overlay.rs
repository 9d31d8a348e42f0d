//! What the rows of one batch have changed so far, which the batch's look-up could not see.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::change::{Addition, RowFound, StoredContact, Update};
use crate::contact::{ContactNumber, Phone};

/// Keys that changed hands, and who has them now. `None`: nobody has it any more.
// The hashes are quick and not proof against who chooses keys to collide: a batch has too few rows for that to hurt.
#[derive(Debug, Default)]
pub(super) struct Overlay<'b> {
    customer_ids: HashMap<&'b str, Option<ContactNumber>, RandomState>,
    phones: HashMap<Phone, Option<ContactNumber>, RandomState>,
}

impl<'b> Overlay<'b> {
    /// For a batch that may add so many contacts.
    pub(super) fn of(additions_max: usize) -> Overlay<'b> {
        Overlay {
            customer_ids: HashMap::with_capacity_and_hasher(additions_max, RandomState::default()),
            phones: HashMap::with_capacity_and_hasher(additions_max, RandomState::default()),
        }
    }

    /// Who has this `customer_id` now.
    pub(super) fn holder_of_customer_id(&self, customer_id: &str, found: &RowFound) -> Option<ContactNumber> {
        self.customer_ids.get(customer_id).copied().unwrap_or(found.by_customer_id)
    }

    /// Who has this phone now.
    pub(super) fn holder_of_phone(&self, phone: Phone, found: &RowFound) -> Option<ContactNumber> {
        self.phones.get(&phone).copied().unwrap_or(found.by_phone)
    }

    /// `customer_id` is what the row says, in the batch's own text.
    pub(super) fn added(&mut self, customer_id: &'b str, addition: &Addition) {
        if !customer_id.is_empty() {
            self.customer_ids.insert(customer_id, Some(addition.number));
        }
        self.phones.insert(addition.phone, Some(addition.number));
    }

    /// `customer_id` is the new one, if there is one, in the batch's own text.
    pub(super) fn updated(&mut self, customer_id: Option<&'b str>, stored: &'b StoredContact, update: &Update) {
        if let Some(customer_id) = customer_id {
            if !stored.customer_id.is_empty() {
                self.customer_ids.insert(&stored.customer_id, None);
            }
            if !customer_id.is_empty() {
                self.customer_ids.insert(customer_id, Some(update.number));
            }
        }
        if let Some(phone) = update.phone {
            self.phones.insert(stored.phone, None);
            self.phones.insert(phone, Some(update.number));
        }
    }
}
