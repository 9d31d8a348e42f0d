//! A contact's values, packed: what a store keeps of all fields that it does not need a column for.
//!
//! Two thirds of an import's time would go into a row per value, or into JSON. A packed profile is compared and merged
//! without an allocation per cell, is the same on every store, and costs two bytes beside each value.
//!
//! Format, for each value that is not blank, in ascending order of the field's number: the number and the text's length
//! in bytes as LEB128 varints, then the text in UTF-8. Field times: the number, then the milliseconds after the
//! contact's creation, both as varints.

use super::schema::FieldNumber;

/// The profiles of many rows, one after the other in one piece of memory: packed once, then compared and copied whole.
#[derive(Debug, Default)]
pub struct PackedRows {
    builder: ProfileBuilder,
    /// Where each row's profile ends; and whether it has one.
    ends: Vec<(usize, bool)>,
}

impl PackedRows {
    /// Adds a value to the row that is being packed, as [`ProfileBuilder::push`] does.
    pub fn push(&mut self, number: FieldNumber, value: &str) {
        self.builder.push(number, value);
    }

    /// Forgets all rows, and keeps their room.
    pub fn clear(&mut self) {
        self.builder.packed.clear();
        self.ends.clear();
    }

    /// The row is packed; or it has no profile after all, because one of its values is none.
    pub fn end_row(&mut self, has_profile: bool) {
        if !has_profile {
            self.builder.packed.truncate(self.start(self.ends.len()));
        }
        self.builder.last = 0;
        self.ends.push((self.builder.packed.len(), has_profile));
    }

    /// The profile of a row, as it is stored; rows are counted from 0.
    pub fn row(&self, at: usize) -> Option<&[u8]> {
        let (end, has_profile) = *self.ends.get(at)?;
        has_profile.then(|| &self.builder.packed[self.start(at)..end])
    }

    fn start(&self, at: usize) -> usize {
        at.checked_sub(1).map_or(0, |before| self.ends[before].0)
    }
}

/// The values of a contact's ordinary fields, by field number. Blank values are not there.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Profile(Vec<u8>);

/// When fields last changed, where that was after the contact's creation; milliseconds after it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FieldTimes(Vec<u8>);

/// Puts a profile together; values come in ascending order of their numbers.
#[derive(Debug, Default)]
pub struct ProfileBuilder {
    packed: Vec<u8>,
    last: u32,
}

impl ProfileBuilder {
    /// Adds a value in its normal form; a blank one leaves no trace.
    pub fn push(&mut self, number: FieldNumber, value: &str) {
        debug_assert!(number.0 > self.last, "values come in ascending order of their numbers");
        self.last = number.0;
        if !value.is_empty() {
            put_varint(&mut self.packed, u64::from(number.0));
            put_varint(&mut self.packed, value.len() as u64);
            self.packed.extend_from_slice(value.as_bytes());
        }
    }

    /// The profile.
    pub fn finish(self) -> Profile {
        Profile(self.packed)
    }
}

impl Profile {
    /// What a store kept. Bytes that are no profile read as one that ends early: see [`Profile::iter`].
    pub fn from_bytes(packed: Vec<u8>) -> Profile {
        Profile(packed)
    }

    /// For a store to keep.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The values that are not blank, in ascending order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (FieldNumber, &str)> {
        entries(&self.0).map_while(|(number, value)| Some((number, std::str::from_utf8(value).ok()?)))
    }

    /// Whether, of the fields with these numbers (ascending), it says just what `packed` says, which has no others.
    pub fn agrees(&self, packed: &[u8], numbers: &[FieldNumber]) -> bool {
        // Nearly always the whole profile is the same, or differs in one value.
        self.0 == packed
            || entries(&self.0).filter(|(number, _)| numbers.binary_search(number).is_ok()).eq(entries(packed))
    }

    /// The value of a field, blank if it has none.
    pub fn get(&self, number: FieldNumber) -> &str {
        self.iter().find(|(at, _)| *at == number).map_or("", |(_, value)| value)
    }

    /// This profile with `changes` (ascending by number) laid over it.
    pub fn with(&self, changes: &[(FieldNumber, &str)]) -> Profile {
        let mut merged = ProfileBuilder { packed: Vec::with_capacity(self.0.len() + 16), last: 0 };
        let mut changes = changes.iter().peekable();
        for (number, value) in self.iter() {
            while let Some((at, changed)) = changes.next_if(|(at, _)| *at < number) {
                merged.push(*at, changed);
            }
            match changes.next_if(|(at, _)| *at == number) {
                Some((_, changed)) => merged.push(number, changed),
                None => merged.push(number, value),
            }
        }
        for (at, changed) in changes {
            merged.push(*at, changed);
        }
        merged.finish()
    }
}

impl FieldTimes {
    /// What a store kept.
    pub fn from_bytes(packed: Vec<u8>) -> FieldTimes {
        FieldTimes(packed)
    }

    /// For a store to keep.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Field and milliseconds after the contact's creation, ascending by number.
    pub fn iter(&self) -> impl Iterator<Item = (FieldNumber, u64)> {
        let mut rest = self.0.as_slice();
        std::iter::from_fn(move || {
            let number = u32::try_from(take_varint(&mut rest)?).ok()?;
            Some((FieldNumber(number), take_varint(&mut rest)?))
        })
    }

    /// When the field last changed, in milliseconds after the contact's creation; 0 if it never did.
    pub fn get(&self, number: FieldNumber) -> u64 {
        self.iter().find(|(at, _)| *at == number).map_or(0, |(_, after_ms)| after_ms)
    }

    /// These times with `after_ms` for the fields in `changed` (ascending).
    pub fn with(&self, changed: &[FieldNumber], after_ms: u64) -> FieldTimes {
        let mut merged: Vec<(FieldNumber, u64)> = self.iter().filter(|(at, _)| !changed.contains(at)).collect();
        merged.extend(changed.iter().map(|number| (*number, after_ms)));
        merged.sort_by_key(|(number, _)| *number);
        let mut packed = Vec::with_capacity(merged.len() * 6);
        for (number, after_ms) in merged {
            put_varint(&mut packed, u64::from(number.0));
            put_varint(&mut packed, after_ms);
        }
        FieldTimes(packed)
    }
}

/// The values of a packed profile, not yet known to be text.
fn entries(mut packed: &[u8]) -> impl Iterator<Item = (FieldNumber, &[u8])> {
    std::iter::from_fn(move || {
        let number = u32::try_from(take_varint(&mut packed)?).ok()?;
        let bytes = usize::try_from(take_varint(&mut packed)?).ok()?;
        let (value, after) = packed.split_at_checked(bytes)?;
        packed = after;
        Some((FieldNumber(number), value))
    })
}

fn put_varint(into: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        into.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    into.push(value as u8);
}

fn take_varint(from: &mut &[u8]) -> Option<u64> {
    // Nearly all have one byte.
    if let Some((&byte, rest)) = from.split_first()
        && byte & 0x80 == 0
    {
        *from = rest;
        return Some(u64::from(byte));
    }
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = from.split_first()?;
        *from = rest;
        value |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn profile(values: &BTreeMap<u32, String>) -> Profile {
        let mut builder = ProfileBuilder::default();
        for (number, value) in values {
            builder.push(FieldNumber(*number), value);
        }
        builder.finish()
    }

    fn values() -> impl Strategy<Value = BTreeMap<u32, String>> {
        proptest::collection::btree_map(1u32..300, "[a-zä]{0,3}|.{120,140}", 0..8)
    }

    proptest! {
        #[test]
        fn merging_is_what_a_map_does(before in values(), changes in values()) {
            let over: Vec<(FieldNumber, &str)> =
                changes.iter().map(|(number, value)| (FieldNumber(*number), value.as_str())).collect();
            let merged = profile(&before).with(&over);
            let mut expected = before.clone();
            expected.extend(changes.clone());
            expected.retain(|_, value| !value.is_empty());
            let got: BTreeMap<u32, String> = merged.iter().map(|(at, value)| (at.0, value.to_owned())).collect();
            prop_assert_eq!(&got, &expected);
            for number in 1..300 {
                prop_assert_eq!(merged.get(FieldNumber(number)), expected.get(&number).map_or("", String::as_str));
            }
        }

        #[test]
        fn rows_are_packed_as_profiles_are(rows in proptest::collection::vec((values(), any::<bool>()), 0..6)) {
            let mut packed = PackedRows::default();
            for (values, has_profile) in &rows {
                values.iter().for_each(|(number, value)| packed.push(FieldNumber(*number), value));
                packed.end_row(*has_profile);
            }
            for ((values, has_profile), at) in rows.iter().zip(0..) {
                let expected = has_profile.then(|| profile(values));
                prop_assert_eq!(packed.row(at), expected.as_ref().map(Profile::as_bytes));
            }
            prop_assert_eq!(packed.row(rows.len()), None);
        }

        #[test]
        fn profiles_agree_where_a_map_does(
            stored in values(), said in values(), same in any::<bool>(), others in proptest::collection::btree_set(1u32..300, 0..4),
        ) {
            let said = if same { stored.clone() } else { said };
            let numbers: Vec<u32> = said.keys().copied().filter(|number| !others.contains(number)).collect();
            let said: BTreeMap<u32, String> = said.into_iter().filter(|(number, _)| numbers.contains(number)).collect();
            let told = |values: &BTreeMap<u32, String>| -> Vec<(u32, String)> {
                let told = values.iter().filter(|(number, value)| numbers.contains(number) && !value.is_empty());
                told.map(|(number, value)| (*number, value.clone())).collect()
            };
            let expected = told(&stored) == told(&said);
            let fields: Vec<FieldNumber> = numbers.iter().copied().map(FieldNumber).collect();
            prop_assert_eq!(profile(&stored).agrees(profile(&said).as_bytes(), &fields), expected);
        }

        #[test]
        fn any_bytes_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            Profile::from_bytes(bytes.clone()).iter().count();
            FieldTimes::from_bytes(bytes).iter().count();
        }
    }

    #[test]
    fn times_are_kept_by_field() {
        let times = FieldTimes::default().with(&[FieldNumber(4), FieldNumber(40)], 1_000);
        let times = times.with(&[FieldNumber(5), FieldNumber(40)], 90_000_000_000);
        let all: Vec<(u32, u64)> = times.iter().map(|(number, after)| (number.0, after)).collect();
        assert_eq!(all, [(4, 1_000), (5, 90_000_000_000), (40, 90_000_000_000)]);
        assert_eq!(times.get(FieldNumber(6)), 0);
    }
}
