//! What a program counts of its contacts, as an import changes it. Shared by both homes of the data.

use super::StoreError;
use crate::import::{Addition, Update};

/// The counts of a program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stock {
    pub(crate) next_number: i64,
    pub(crate) contacts: i64,
    pub(crate) active: i64,
}

impl Stock {
    /// Of a program that nothing was ever imported into.
    pub(crate) const EMPTY: Stock = Stock { next_number: 1, contacts: 0, active: 0 };

    /// A contact is added; it must have the next number.
    pub(crate) fn add(&mut self, addition: &Addition) -> Result<(), StoreError> {
        let number = addition.number.get().cast_signed();
        if number != self.next_number {
            return Err(StoreError::Fault(format!(
                "a contact was to be added as number {number}, and {} is next",
                self.next_number
            )));
        }
        self.next_number += 1;
        self.contacts += 1;
        self.active += i64::from(addition.active);
        Ok(())
    }

    /// A contact is changed.
    pub(crate) fn update(&mut self, update: &Update) {
        match update.active {
            Some(true) => self.active += 1,
            Some(false) => self.active -= 1,
            None => {}
        }
    }
}
