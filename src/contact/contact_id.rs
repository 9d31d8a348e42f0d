//! The public id of a contact (`signalvine_id`), which carries its own address.
//!
//! An id is a UUID of version 8: the tag of its program, the contact's number in the program, and a random salt. So the
//! most frequent look-up of all, by `signalvine_id`, needs no index entry of its own: the number is the primary key, and
//! the stored salt proves that the whole id is meant. An id that the service did not make itself is simply unknown.
//!
//! ```text
//! bits   48   | 4       | 12      | 2       | 22      | 40
//!        tag  | version | salt ↑  | variant | salt ↓  | number
//! ```

use std::fmt;

use uuid::Uuid;

const NUMBER_BITS: u32 = 40;
const SALT_LOW_BITS: u32 = 22;
const SALT_BITS: u32 = 34;

/// The number of a contact in its program: 1, 2, 3, … in the order of creation; below 2^40.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ContactNumber(u64);

impl ContactNumber {
    /// The highest number, 2^40 − 1: more contacts than a program will ever have.
    pub const MAX: ContactNumber = ContactNumber((1 << NUMBER_BITS) - 1);

    /// The number, if it is in the range of contact numbers.
    pub fn new(number: u64) -> Option<ContactNumber> {
        (1..=Self::MAX.0).contains(&number).then_some(ContactNumber(number))
    }

    /// As an integer.
    pub fn get(self) -> u64 {
        self.0
    }
}

/// 48 random bits that mark the ids of one program's contacts, so that an account's contact can be found by its id alone.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ProgramTag(u64);

impl ProgramTag {
    /// Keeps the lower 48 bits.
    pub fn from_bits(bits: u64) -> ProgramTag {
        ProgramTag(bits & ((1 << 48) - 1))
    }

    /// The tag as an integer below 2^48.
    pub fn bits(self) -> u64 {
        self.0
    }
}

/// A contact's public id, taken apart.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ContactId {
    /// The tag of the program.
    pub tag: ProgramTag,
    /// The contact's number in it.
    pub number: ContactNumber,
    /// 34 random bits, so that a number that is given out again (after restoring an old backup) makes another id.
    salt: u64,
}

impl ContactId {
    /// Puts an id together; of `salt` the lower 34 bits are kept.
    pub fn new(tag: ProgramTag, number: ContactNumber, salt: u64) -> ContactId {
        ContactId { tag, number, salt: salt & ((1 << SALT_BITS) - 1) }
    }

    /// Takes a UUID apart; `None` if this service cannot have made it.
    pub fn from_uuid(id: Uuid) -> Option<ContactId> {
        let (high, low) = id.as_u64_pair();
        if id.get_version_num() != 8 || low >> 62 != 0b10 {
            return None;
        }
        let salt_high = high & 0xfff;
        let salt_low = (low >> NUMBER_BITS) & ((1 << SALT_LOW_BITS) - 1);
        Some(ContactId {
            tag: ProgramTag(high >> 16),
            number: ContactNumber::new(low & ContactNumber::MAX.0)?,
            salt: salt_high << SALT_LOW_BITS | salt_low,
        })
    }

    /// The id as a UUID.
    pub fn to_uuid(self) -> Uuid {
        let high = self.tag.0 << 16 | 0x8000 | self.salt >> SALT_LOW_BITS;
        let salt_low = self.salt & ((1 << SALT_LOW_BITS) - 1);
        Uuid::from_u64_pair(high, 0b10 << 62 | salt_low << NUMBER_BITS | self.number.0)
    }

    /// The 34 random bits.
    pub fn salt(self) -> u64 {
        self.salt
    }
}

impl fmt::Display for ContactId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_uuid().hyphenated().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_id_reads_back(tag in any::<u64>(), number in 1..=ContactNumber::MAX.0, salt in any::<u64>()) {
            let number = ContactNumber::new(number).expect("in range");
            let id = ContactId::new(ProgramTag::from_bits(tag), number, salt);
            prop_assert_eq!(ContactId::from_uuid(id.to_uuid()), Some(id));
            prop_assert_eq!(id.to_uuid().get_version_num(), 8);
        }

        #[test]
        fn a_foreign_uuid_is_no_id_or_reads_back(bits in any::<u128>()) {
            let uuid = Uuid::from_u128(bits);
            if let Some(id) = ContactId::from_uuid(uuid) {
                prop_assert_eq!(id.to_uuid(), uuid);
            }
        }
    }
}
