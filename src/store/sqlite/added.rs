//! Which contacts may have a key, for a program whose unique indexes are not there while it is loaded.
//!
//! Of each key a part of its hash is remembered, and the number of the contact that was given it: five bytes, in tables that are never
//! rebuilt. A contact's row tells whether it really has the key. So whatever is remembered too much costs a look, and nothing else.

use std::convert::Infallible;
use std::hash::BuildHasher;

use foldhash::quality::RandomState;

use crate::contact::{ContactNumber, Phone};
use crate::import::{Addition, Change};

/// So many slots has the smallest table of a kind of key.
const SLOTS_LEAST: usize = 1 << 14;
/// So many has the largest.
const SLOTS_MOST: usize = if cfg!(test) { 1 << 19 } else { 1 << 24 };

/// A kind of key has no more slots than this: at five bytes each that is ninety megabytes, and as much for the other kind. Ten
/// million contacts have room.
const SLOTS_OF_A_KIND_MAX: usize = SLOTS_MOST + SLOTS_MOST / OVERFLOW;

/// Some buckets are full long before a table is, and those keys are few: for them, the next table has one slot for so many that
/// there are.
const OVERFLOW: usize = 8;

/// With so many contacts in one bucket that by all likelihood have had the same key, it is not remembered any longer: they would have
/// to be asked one after the other.
const OF_A_KEY_MAX: usize = BUCKET_SLOTS / 2;

/// Hardly a row of a file is shorter, so a table made for a file in which all were so is at most half full and hardly ever overflows.
const ROW_BYTES: u64 = 64;

/// There are more keys than are remembered, or one has been had by too many contacts: what was learned does not tell of all.
#[derive(Debug)]
pub(super) struct TooMany;

/// The keys of a program's contacts.
#[derive(Default)]
pub(super) struct AddedKeys {
    customer_ids: Numbers,
    phones: Numbers,
    hashes: RandomState,
}

impl AddedKeys {
    /// With room at once for the contacts of a file of so many bytes: a key in the first table costs one look into memory that is in
    /// no cache, and one behind tables that grew with it one look into each.
    pub(super) fn of_file(bytes: u64) -> AddedKeys {
        let rows = usize::try_from(bytes / ROW_BYTES).unwrap_or(usize::MAX);
        let numbers = || Numbers { slots_first: rows.clamp(SLOTS_LEAST, SLOTS_MOST), ..Numbers::default() };
        AddedKeys { customer_ids: numbers(), phones: numbers(), hashes: RandomState::default() }
    }

    /// Takes over the keys that changes give to contacts, unless they are too many. What they take away stays.
    pub(super) fn learn(&mut self, changes: &[Change]) -> Result<(), TooMany> {
        for change in changes {
            match change {
                Change::Add(Addition { number, customer_id, phone, .. }) => {
                    self.learn_contact(*number, customer_id, *phone)?;
                }
                Change::Update(update) => {
                    if let Some(customer_id) = update.customer_id.as_ref().filter(|text| !text.is_empty()) {
                        self.customer_ids.insert_anew(self.hashes.hash_one(customer_id.as_str()), update.number)?;
                    }
                    if let Some(phone) = update.phone {
                        self.phones.insert_anew(self.hashes.hash_one(phone.digits()), update.number)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// The keys of a contact of which nothing is known yet; a blank `customer_id` is none.
    pub(super) fn learn_contact(
        &mut self,
        number: ContactNumber,
        customer_id: &str,
        phone: Phone,
    ) -> Result<(), TooMany> {
        if !customer_id.is_empty() {
            self.customer_ids.insert(self.hashes.hash_one(customer_id), number)?;
        }
        self.phones.insert(self.hashes.hash_one(phone.digits()), number)
    }

    /// To be told of the keys of a batch that are about to be looked for: one look into memory does not wait for the one before then,
    /// as it does where each has an answer to give first.
    pub(super) fn expect_customer_ids<'a>(&self, customer_ids: impl Iterator<Item = &'a str>) {
        self.customer_ids.expect(customer_ids.map(|customer_id| self.hashes.hash_one(customer_id)));
    }

    /// The same for phones.
    pub(super) fn expect_phones(&self, phones: impl Iterator<Item = Phone>) {
        self.phones.expect(phones.map(|phone| self.hashes.hash_one(phone.digits())));
    }

    /// The contact that has a `customer_id`: `has_it` looks whether one that may have it does.
    pub(super) fn find_customer_id<E>(
        &self,
        customer_id: &str,
        has_it: impl FnMut(ContactNumber) -> Result<bool, E>,
    ) -> Result<Option<ContactNumber>, E> {
        self.customer_ids.find(self.hashes.hash_one(customer_id), has_it)
    }

    /// The contact that has a phone: `has_it` looks whether one that may have it does.
    pub(super) fn find_phone<E>(
        &self,
        phone: Phone,
        has_it: impl FnMut(ContactNumber) -> Result<bool, E>,
    ) -> Result<Option<ContactNumber>, E> {
        self.phones.find(self.hashes.hash_one(phone.digits()), has_it)
    }
}

/// Numbers of contacts by a hash. Tables are filled one after the other and never rebuilt: growing would need the whole hashes, and
/// for a moment twice the memory.
#[derive(Default)]
struct Numbers {
    tables: Vec<Table>,
    /// How many slots the first table is to have.
    slots_first: usize,
    /// The first number that was given; the others are remembered by how much higher they are.
    first: u64,
}

impl Numbers {
    /// For a contact that may have been given this key before: one that goes round among a few contacts takes no more room each time.
    fn insert_anew(&mut self, hash: u64, number: ContactNumber) -> Result<(), TooMany> {
        let is_known = self.find(hash, |known| Ok::<_, Infallible>(known == number));
        if is_known == Ok(Some(number)) { Ok(()) } else { self.insert(hash, number) }
    }

    fn insert(&mut self, hash: u64, number: ContactNumber) -> Result<(), TooMany> {
        if self.tables.is_empty() {
            self.first = number.get();
        }
        let offset = number.get().checked_sub(self.first).and_then(Offset::new).ok_or(TooMany)?;
        // The first with room in the key's bucket: so a bucket that is not full ends the search in `find`.
        for table in &mut self.tables {
            match table.insert(hash, offset) {
                Ok(()) => return Ok(()),
                Err(Full { alike }) if alike >= OF_A_KEY_MAX => return Err(TooMany),
                Err(Full { .. }) => {}
            }
        }
        let slots: usize = self.tables.iter().map(|table| table.tags.len()).sum();
        let held = slots - self.tables.iter().map(|table| table.free).sum::<usize>();
        let next = match slots {
            0 => self.slots_first.max(SLOTS_LEAST),
            // There are more keys than it was made for.
            _ if held >= slots / 2 => slots,
            _ => (slots / OVERFLOW).max(SLOTS_LEAST),
        };
        if slots + next > SLOTS_OF_A_KIND_MAX {
            return Err(TooMany);
        }
        let mut table = Table::new(self.tables.len(), next);
        // It has room.
        let _ = table.insert(hash, offset);
        self.tables.push(table);
        Ok(())
    }

    fn expect(&self, hashes: impl Iterator<Item = u64>) {
        if let Some(first) = self.tables.first() {
            std::hint::black_box(hashes.fold(0, |all, hash| all ^ first.touch(hash)));
        }
    }

    fn find<E>(
        &self,
        hash: u64,
        mut has_it: impl FnMut(ContactNumber) -> Result<bool, E>,
    ) -> Result<Option<ContactNumber>, E> {
        for table in &self.tables {
            let Bucket { tags, offsets } = table.bucket(hash);
            if contains(tags, tag(hash)) {
                for (_, offset) in tags.iter().zip(offsets).filter(|(held, _)| **held == tag(hash)) {
                    if let Some(number) = ContactNumber::new(self.first + offset.get())
                        && has_it(number)?
                    {
                        return Ok(Some(number));
                    }
                }
            }
            if tags[BUCKET_SLOTS - 1] == 0 {
                break;
            }
        }
        Ok(None)
    }
}

/// A key has its place anywhere in one bucket, whose tags are compared in one go.
const BUCKET_SLOTS: usize = 16;

/// Odd, and of no pattern.
const MIXER: u64 = 0x9e37_79b9_7f4a_7c15;

const TAG_BITS: u32 = u16::BITS;
/// Of a hash, what is not its tag.
const BELOW_TAG: u64 = u64::MAX >> TAG_BITS;

struct Table {
    /// Sixteen bits of each key's hash, none of them zero, or zero for a slot that is free. Buckets are filled from their beginning.
    tags: Vec<u16>,
    /// Whose it is.
    offsets: Vec<Offset>,
    free: usize,
    /// Keys that meet in a bucket of one table do not in the next one.
    mixer: u64,
}

/// A number of up to 24 bits, in three bytes.
#[derive(Clone, Copy, Default)]
struct Offset([u8; 3]);

impl Offset {
    fn new(offset: u64) -> Option<Offset> {
        let [low, middle, high, rest @ ..] = offset.to_le_bytes();
        (rest == [0; 5]).then_some(Offset([low, middle, high]))
    }

    fn get(self) -> u64 {
        let Offset([low, middle, high]) = self;
        u64::from(u32::from_le_bytes([low, middle, high, 0]))
    }
}

/// A bucket has no room.
struct Full {
    /// How many of its keys may be the one that was to come in.
    alike: usize,
}

struct Bucket<'a> {
    tags: &'a [u16; BUCKET_SLOTS],
    offsets: &'a [Offset; BUCKET_SLOTS],
}

impl Table {
    /// The table that comes behind so many others, with at least so many slots.
    fn new(others: usize, slots: usize) -> Table {
        let slots = slots.next_multiple_of(BUCKET_SLOTS);
        let mixer = (0..others).fold(1, |mixer: u64, _| mixer.wrapping_mul(MIXER));
        Table { tags: vec![0; slots], offsets: vec![Offset::default(); slots], free: slots, mixer }
    }

    /// Unless the key's bucket is full.
    fn insert(&mut self, hash: u64, offset: Offset) -> Result<(), Full> {
        let at = self.bucket_at(hash);
        let tags = &mut self.tags.as_chunks_mut::<BUCKET_SLOTS>().0[at];
        if tags[BUCKET_SLOTS - 1] != 0 {
            return Err(Full { alike: tags.iter().filter(|held| **held == tag(hash)).count() });
        }
        let slot = tags.iter().filter(|tag| **tag != 0).count();
        tags[slot] = tag(hash);
        self.offsets.as_chunks_mut::<BUCKET_SLOTS>().0[at][slot] = offset;
        self.free -= 1;
        Ok(())
    }

    /// Has the bucket come into the processor's cache; what it gives is of no use but to whoever must not leave this out.
    fn touch(&self, hash: u64) -> u16 {
        let Bucket { tags, .. } = self.bucket(hash);
        tags[0]
    }

    fn bucket(&self, hash: u64) -> Bucket<'_> {
        let at = self.bucket_at(hash);
        Bucket {
            tags: &self.tags.as_chunks::<BUCKET_SLOTS>().0[at],
            offsets: &self.offsets.as_chunks::<BUCKET_SLOTS>().0[at],
        }
    }

    fn bucket_at(&self, hash: u64) -> usize {
        let buckets = self.tags.len() / BUCKET_SLOTS;
        // The lowest bits of a product are the least mixed. The rest is as even as a remainder, for any number of buckets: there are
        // fewer than two to the power of 32.
        let mixed = (hash & BELOW_TAG).wrapping_mul(self.mixer) >> (u64::BITS - TAG_BITS - u32::BITS);
        usize::try_from(((mixed & u64::from(u32::MAX)) * buckets as u64) >> u32::BITS).unwrap_or_default()
    }
}

/// Of a hash: its highest bits.
fn tag(hash: u64) -> u16 {
    let [.., high, highest] = hash.to_le_bytes();
    u16::from_le_bytes([high, highest]).max(1)
}

/// Without a branch, so that it becomes one comparison.
fn contains(tags: &[u16; BUCKET_SLOTS], tag: u16) -> bool {
    tags.iter().fold(false, |found, held| found | (*held == tag))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contact::FieldTimes;
    use crate::import::Update;

    fn update(at: u64) -> Update {
        let times = FieldTimes::default();
        Update { number: number(at), customer_id: None, phone: None, active: None, profile: None, times }
    }

    fn number(number: u64) -> ContactNumber {
        ContactNumber::new(number).expect("in range")
    }

    fn phone(at: u64) -> Phone {
        Phone::from_digits(12_120_000_000 + at)
    }

    #[test]
    fn each_key_leads_to_its_contact_and_a_stranger_hardly_to_any() {
        const CONTACTS: u64 = 300_000;
        let mut keys = AddedKeys::default();
        for at in 1..=CONTACTS {
            keys.learn_contact(number(at), &format!("C{at}"), phone(at)).expect("room");
        }
        for at in 1..=CONTACTS {
            let is_it = |found| Ok::<_, Infallible>(found == number(at));
            assert_eq!(keys.find_phone(phone(at), is_it), Ok(Some(number(at))));
            assert_eq!(keys.find_customer_id(&format!("C{at}"), is_it), Ok(Some(number(at))));
        }
        let mut looks = 0;
        for at in CONTACTS + 1..=2 * CONTACTS {
            let mut looked = |_| {
                looks += 1;
                Ok::<_, Infallible>(false)
            };
            assert_eq!(keys.find_phone(phone(at), &mut looked), Ok(None));
            assert_eq!(keys.find_customer_id(&format!("C{at}"), &mut looked), Ok(None));
        }
        assert!(looks < 2 * CONTACTS / 100, "{looks} looks in vain");
    }

    #[test]
    fn all_who_were_given_a_key_are_asked_in_turn() {
        let mut keys = AddedKeys::default();
        for at in 1..=10 {
            keys.learn_contact(number(at), "", phone(7)).expect("room");
        }
        let mut asked = Vec::new();
        let found = keys.find_phone(phone(7), |number| {
            asked.push(number.get());
            Ok::<_, Infallible>(number.get() == 9)
        });
        assert_eq!(found, Ok(Some(number(9))));
        assert_eq!(asked, (1..=9).collect::<Vec<_>>());
    }

    #[test]
    fn a_key_that_goes_round_is_not_remembered_for_ever() {
        let mut keys = AddedKeys::default();
        let given = |at| Change::Update(Update { phone: Some(phone(7)), ..update(at) });
        for _ in 1..=100_000 {
            keys.learn(&[given(1), given(2)]).expect("known already");
        }
        let learned = (1..=1_000_000).find(|at| keys.learn(&[given(*at)]).is_err());
        assert_eq!(learned, Some(BUCKET_SLOTS as u64 + 1));
        assert_eq!(keys.phones.tables.len(), 1);
        let mut others = AddedKeys::default();
        (1..=100_000).for_each(|at| others.learn_contact(number(at), "", phone(at)).expect("room"));
        let learned = (1..=100_000).find(|at| others.learn(&[given(*at)]).is_err());
        assert!(learned.is_some_and(|at| at < 1_000), "{learned:?}");
    }

    #[test]
    fn there_is_a_most_to_what_is_remembered() {
        let mut keys = AddedKeys::default();
        let room = (1..).find(|at| keys.learn_contact(number(*at), "", phone(*at)).is_err()).expect("an end") - 1;
        let slots = |keys: &AddedKeys| keys.phones.tables.iter().map(|table| table.tags.len()).sum::<usize>();
        assert!((SLOTS_OF_A_KIND_MAX / 2..=SLOTS_OF_A_KIND_MAX).contains(&slots(&keys)), "{}", slots(&keys));
        assert!(room as usize > slots(&keys) / 2, "{room} in {}", slots(&keys));
        // Nor is there more for a file that says that it is large, and it has its room at once.
        let mut keys = AddedKeys::of_file(u64::MAX);
        let room = (1..).find(|at| keys.learn_contact(number(*at), "", phone(*at)).is_err()).expect("an end") - 1;
        assert_eq!(slots(&keys), SLOTS_OF_A_KIND_MAX);
        assert!(room as usize > SLOTS_MOST / 3 * 2, "{room} in {}", slots(&keys));
    }

    #[test]
    fn a_blank_is_no_key_and_a_number_that_has_no_room_is_told() {
        let mut keys = AddedKeys::default();
        keys.learn_contact(number(5), "", phone(1)).expect("the first number");
        keys.learn(&[Change::Update(Update { customer_id: Some(String::new()), ..update(5) })]).expect("nothing");
        assert_eq!(keys.find_customer_id("", |_| Ok::<_, Infallible>(true)), Ok(None));
        keys.learn_contact(number(5 + (1 << 24)), "", phone(2)).expect_err("too high a number");
        keys.learn_contact(number(4), "", phone(3)).expect_err("too low a number");
        keys.learn_contact(number(4 + (1 << 24)), "", phone(4)).expect("the highest");
        assert_eq!(keys.find_phone(phone(4), |_| Ok::<_, Infallible>(true)), Ok(Some(number(4 + (1 << 24)))));
    }
}
