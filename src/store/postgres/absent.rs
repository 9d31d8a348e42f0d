//! Which keys a program surely does not have, without asking the database: for the first load of a program, when every key
//! of the file is new and asking for each would take a third of the import's time.
//!
//! A Bloom filter of the keys that this import has added, of a size that does not depend on the file. It begins with an empty
//! program, whose contacts are then all this import's own, as it holds the program's stock locked. What the filter has not
//! seen is not there; what it may have seen is asked for as ever. So it can only be slower, never wrong.

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::quality::RandomState;

use crate::contact::Phone;
use crate::import::Change;

/// A million contacts fill it to a third: then one look-up in forty is made in vain. Beyond, it goes on helping less and less.
const FILTER_BYTES: usize = 2 * 1024 * 1024;

const WORD_BITS: u64 = u64::BITS as u64;
const FILTER_BITS: u64 = FILTER_BYTES as u64 * 8;

/// How many bits a key sets.
const BITS_OF_KEY: u64 = 3;

/// What tells that keys are absent.
pub(super) struct Absent {
    words: Vec<AtomicU64>,
    hashes: RandomState,
}

impl Absent {
    /// For a program without contacts.
    pub(super) fn of_empty_program() -> Absent {
        Absent {
            words: (0..FILTER_BYTES / size_of::<u64>()).map(|_| AtomicU64::new(0)).collect(),
            hashes: RandomState::default(),
        }
    }

    /// Whether no contact has this `customer_id`.
    pub(super) fn customer_id(&self, customer_id: &str) -> bool {
        self.lacks(self.hashes.hash_one(customer_id))
    }

    /// Whether no contact has this phone.
    pub(super) fn phone(&self, phone: Phone) -> bool {
        self.lacks(self.hashes.hash_one(phone.digits()))
    }

    /// Takes over the keys that changes give to contacts. What they take away stays: it will be asked for.
    pub(super) fn learn(&self, changes: &[Change]) {
        for change in changes {
            let (customer_id, phone) = match change {
                Change::Add(addition) => (Some(&addition.customer_id), Some(addition.phone)),
                Change::Update(update) => (update.customer_id.as_ref(), update.phone),
            };
            if let Some(customer_id) = customer_id {
                self.add(self.hashes.hash_one(customer_id.as_str()));
            }
            if let Some(phone) = phone {
                self.add(self.hashes.hash_one(phone.digits()));
            }
        }
    }

    fn lacks(&self, hash: u64) -> bool {
        places(hash).any(|(word, bit)| self.words[word].load(Ordering::Relaxed) & bit == 0)
    }

    fn add(&self, hash: u64) {
        places(hash).for_each(|(word, bit)| {
            self.words[word].fetch_or(bit, Ordering::Relaxed);
        });
    }
}

/// The bits of a key: from one half of its hash, in steps of the other.
fn places(hash: u64) -> impl Iterator<Item = (usize, u64)> {
    let (from, step) = (hash >> 32, hash & 0xffff_ffff | 1);
    (0..BITS_OF_KEY).map(move |turn| {
        let at = (from + turn * step) % FILTER_BITS;
        ((at / WORD_BITS) as usize, 1 << (at % WORD_BITS))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contact::{ContactNumber, FieldTimes, Profile};
    use crate::import::{Addition, Update};

    fn addition(number: u64) -> Change {
        Change::Add(Addition {
            number: ContactNumber::new(number).expect("in range"),
            customer_id: format!("C{number}"),
            phone: Phone::from_digits(12_120_000_000 + number),
            active: true,
            profile: Profile::default(),
        })
    }

    #[test]
    fn what_was_learned_is_never_absent() {
        let absent = Absent::of_empty_program();
        let changes: Vec<Change> = (1..=100_000).map(addition).collect();
        absent.learn(&changes);
        for number in 1..=100_000 {
            assert!(!absent.customer_id(&format!("C{number}")));
            assert!(!absent.phone(Phone::from_digits(12_120_000_000 + number)));
        }
        let in_vain = (100_001..=200_000).filter(|number| !absent.customer_id(&format!("C{number}"))).count();
        assert!(in_vain < 100, "{in_vain} of 100,000 look-ups would be made in vain");
    }

    #[test]
    fn keys_that_updates_give_are_learned() {
        let absent = Absent::of_empty_program();
        let phone = Phone::from_digits(12_125_550_100);
        assert!(absent.customer_id("B") && absent.phone(phone));
        absent.learn(&[Change::Update(Update {
            number: ContactNumber::new(1).expect("in range"),
            customer_id: Some("B".to_owned()),
            phone: Some(phone),
            active: None,
            profile: None,
            times: FieldTimes::default(),
        })]);
        assert!(!absent.customer_id("B") && !absent.phone(phone));
        assert!(absent.customer_id("b") && absent.customer_id(""));
    }
}
