//! Who has been claimed by which row: so that neither the first nor the last of two rows silently wins.

use std::collections::HashMap;

use crate::contact::{ContactNumber, Phone};

/// Contacts on one page. Numbers are dense, so a page costs 4 bytes a contact where a map would cost 40.
const PAGE: usize = 1_024;

/// How a row that is about nobody known names its contact.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) enum NewKey {
    CustomerId(Box<str>),
    Phone(Phone),
}

/// The claims of one file.
#[derive(Debug, Default)]
pub(super) struct Claims {
    pages: HashMap<u64, Box<[u32; PAGE]>>,
    /// New contacts that were refused: they have no number, and their rows claim them all the same.
    refused: HashMap<NewKey, u64>,
}

impl Claims {
    /// The row that claimed a contact.
    pub(super) fn of_contact(&self, number: ContactNumber) -> Option<u64> {
        let (page, at) = place(number);
        self.pages.get(&page).map(|rows| rows[at]).filter(|row| *row > 0).map(u64::from)
    }

    /// Claims a contact, known or just added.
    pub(super) fn claim_contact(&mut self, number: ContactNumber, row: u64) {
        let (page, at) = place(number);
        // A file with more than 2^32 rows names the last of these for its later duplicates.
        self.pages.entry(page).or_insert_with(|| Box::new([0; PAGE]))[at] = u32::try_from(row).unwrap_or(u32::MAX);
    }

    /// The row that claimed a contact which was then refused.
    pub(super) fn of_refused(&self, key: &NewKey) -> Option<u64> {
        if self.refused.is_empty() { None } else { self.refused.get(key).copied() }
    }

    /// Claims a contact that is refused.
    pub(super) fn claim_refused(&mut self, key: NewKey, row: u64) {
        self.refused.insert(key, row);
    }
}

fn place(number: ContactNumber) -> (u64, usize) {
    (number.get() / PAGE as u64, (number.get() % PAGE as u64) as usize)
}
