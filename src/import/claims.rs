//! Who has been claimed by which row: so that neither the first nor the last of two rows silently wins.

use std::collections::HashMap;

use crate::contact::{ContactNumber, Phone};

/// Contacts on one page. Numbers are dense, so a page costs 4 bytes a contact where a map would cost 40.
const PAGE: usize = 1_024;

/// How a row that is about nobody known names its contact.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum NewKey<'a> {
    CustomerId(&'a str),
    Phone(Phone),
}

/// The claims of one file.
#[derive(Debug, Default)]
pub(super) struct Claims {
    /// By number. Pages of contacts that no row is about cost a pointer each.
    pages: Vec<Option<Box<[u32; PAGE]>>>,
    /// New contacts that were refused: they have no number, and their rows claim them all the same.
    refused_customer_ids: HashMap<Box<str>, u64>,
    refused_phones: HashMap<Phone, u64>,
}

impl Claims {
    /// The row that claimed a contact.
    pub(super) fn of_contact(&self, number: ContactNumber) -> Option<u64> {
        let (page, at) = place(number);
        let rows = self.pages.get(page)?.as_ref()?;
        Some(rows[at]).filter(|row| *row > 0).map(u64::from)
    }

    /// Claims a contact, known or just added.
    pub(super) fn claim_contact(&mut self, number: ContactNumber, row: u64) {
        let (page, at) = place(number);
        if page >= self.pages.len() {
            self.pages.resize_with(page + 1, || None);
        }
        let rows = self.pages[page].get_or_insert_with(|| Box::new([0; PAGE]));
        // A file with more than 2^32 rows names the last of these for its later duplicates.
        rows[at] = u32::try_from(row).unwrap_or(u32::MAX);
    }

    /// The row that claimed a contact which was then refused.
    pub(super) fn of_refused(&self, key: NewKey<'_>) -> Option<u64> {
        match key {
            NewKey::CustomerId(customer_id) => self.refused_customer_ids.get(customer_id).copied(),
            NewKey::Phone(phone) => self.refused_phones.get(&phone).copied(),
        }
    }

    /// Claims a contact that is refused.
    pub(super) fn claim_refused(&mut self, key: NewKey<'_>, row: u64) {
        match key {
            NewKey::CustomerId(customer_id) => self.refused_customer_ids.insert(customer_id.into(), row),
            NewKey::Phone(phone) => self.refused_phones.insert(phone, row),
        };
    }
}

fn place(number: ContactNumber) -> (usize, usize) {
    let number = usize::try_from(number.get()).unwrap_or(usize::MAX);
    (number / PAGE, number % PAGE)
}
