//! Finding contacts by their names and groups. The stores have no index for names: it would cost every import a fourth entry for each contact,
//! for what a person asks now and then. So who searches first after an import has the program's names read once, into memory; from then on a
//! search passes over them at the speed of memory, until the contacts change.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lru::LruCache;
use memchr::memmem::Finder;
use tokio::sync::Semaphore;

use super::Console;
use super::answer::Turned;
use super::data::Data;
use crate::contact::{Contact, ContactNumber, FieldNumber};
use crate::store::{ContactSnapshot, StoreError};
use crate::tenant::ProgramId;

/// What the names of all programs together may take, in bytes: those of some seven million contacts.
const BYTES_MAX: usize = 256 << 20;
/// So many programs at most.
const PROGRAMS_MAX: NonZeroUsize = NonZeroUsize::new(1_000).expect("not zero");
/// How long a page waits for names that are being read.
const WAIT: Duration = Duration::from_secs(5);
/// Matches are counted up to here.
pub(super) const COUNTED_MAX: u64 = 1_000;
/// What stands between a contact's name and the rest of its line.
const SEPARATOR: u8 = 0x1f;
const ACTIVE: u8 = b'+';
const INACTIVE: u8 = b'-';

/// The names of one program's contacts, in the order of creation.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// A line for each contact: its name in lower case, the separator, whether it is active, and its groups between semicolons.
    lines: Vec<u8>,
    starts: Vec<u32>,
    numbers: Vec<u64>,
    /// All groups that there are, by name.
    groups: Vec<String>,
}

/// Whom a search is for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Search {
    /// In lower case; a name has all of them.
    pub(super) words: Vec<String>,
    pub(super) group: Option<String>,
    pub(super) active: Option<bool>,
}

impl Search {
    /// Of what somebody typed.
    pub(super) fn of(text: &str, group: Option<&str>, active: Option<bool>) -> Search {
        let lower = text.to_lowercase();
        let words = lower.split(|at: char| at.is_whitespace() || at == ',').filter(|word| !word.is_empty());
        Search { words: words.map(str::to_owned).collect(), group: group.map(str::to_owned), active }
    }
}

/// What a search found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Matches {
    /// Those of the page.
    pub(super) numbers: Vec<ContactNumber>,
    /// All, counted up to [`COUNTED_MAX`].
    pub(super) total: u64,
}

impl Names {
    fn read(mut snapshot: Box<dyn ContactSnapshot>) -> Result<Option<Names>, StoreError> {
        let mut names = Names::default();
        let mut groups = std::collections::BTreeSet::new();
        loop {
            let contacts = snapshot.next()?;
            if contacts.is_empty() {
                break;
            }
            for contact in &contacts {
                names.push(contact);
                for group in contact.groups().filter(|group| !groups.contains(*group)).collect::<Vec<_>>() {
                    groups.insert(group.to_owned());
                }
            }
            if names.bytes() > BYTES_MAX {
                return Ok(None);
            }
        }
        names.groups = groups.into_iter().collect();
        names.lines.shrink_to_fit();
        names.starts.shrink_to_fit();
        names.numbers.shrink_to_fit();
        Ok(Some(names))
    }

    fn push(&mut self, contact: &Contact) {
        // The bound on all names is far below what 32 bits count.
        self.starts.push(u32::try_from(self.lines.len()).unwrap_or(u32::MAX));
        self.numbers.push(contact.id.number.get());
        self.push_lower(contact.profile.get(FieldNumber::FIRST_NAME));
        self.lines.push(b' ');
        self.push_lower(contact.profile.get(FieldNumber::LAST_NAME));
        self.lines.extend([SEPARATOR, if contact.active { ACTIVE } else { INACTIVE }, b';']);
        for group in contact.groups() {
            self.lines.extend(group.bytes().map(in_line));
            self.lines.push(b';');
        }
        self.lines.push(b'\n');
    }

    fn push_lower(&mut self, name: &str) {
        if name.is_ascii() {
            self.lines.extend(name.bytes().map(|byte| in_line(byte.to_ascii_lowercase())));
        } else {
            self.lines.extend(name.to_lowercase().bytes().map(in_line));
        }
    }

    fn bytes(&self) -> usize {
        self.lines.capacity() + 4 * self.starts.capacity() + 8 * self.numbers.capacity()
    }

    /// All groups that there are, by name.
    pub(super) fn groups(&self) -> &[String] {
        &self.groups
    }

    /// Those who fit, in the order of creation, after so many of them.
    pub(super) fn find(&self, search: &Search, after: u64, count: usize) -> Matches {
        let group = search.group.as_ref().map(|group| format!(";{group};"));
        let mut matches = Matches { numbers: Vec::new(), total: 0 };
        // The longest word is the rarest, and a group is rarer than a word.
        let rarest = group.as_deref().or_else(|| search.words.iter().map(String::as_str).max_by_key(|word| word.len()));
        let mut take = |at: usize| {
            if !self.fits(at, search, group.as_deref()) {
                return true;
            }
            if matches.total >= after && matches.numbers.len() < count {
                matches.numbers.extend(self.numbers.get(at).and_then(|number| ContactNumber::new(*number)));
            }
            matches.total += 1;
            matches.total < COUNTED_MAX.max(after + count as u64)
        };
        let Some(rarest) = rarest else {
            _ = (0..self.starts.len()).all(&mut take);
            return matches;
        };
        let (finder, mut from) = (Finder::new(rarest), 0);
        while let Some(found) = self.lines.get(from..).and_then(|rest| finder.find(rest)) {
            let at = self.line_at(from + found);
            from = self.end_of(at);
            if !take(at) {
                break;
            }
        }
        matches
    }

    /// Which line this byte is in.
    fn line_at(&self, byte: usize) -> usize {
        self.starts.partition_point(|start| *start as usize <= byte).saturating_sub(1)
    }

    fn end_of(&self, line: usize) -> usize {
        self.starts.get(line + 1).map_or(self.lines.len(), |start| *start as usize)
    }

    fn fits(&self, at: usize, search: &Search, group: Option<&str>) -> bool {
        let Some(start) = self.starts.get(at) else { return false };
        let line = self.lines.get(*start as usize..self.end_of(at)).unwrap_or_default();
        let Some(end) = memchr::memchr(SEPARATOR, line) else { return false };
        let (name, rest) = line.split_at(end);
        let has = |part: &[u8], word: &str| memchr::memmem::find(part, word.as_bytes()).is_some();
        let sign = rest.get(1).copied();
        search.active.is_none_or(|active| sign == Some(if active { ACTIVE } else { INACTIVE }))
            && group.is_none_or(|group| has(rest, group))
            && search.words.iter().all(|word| has(name, word))
    }
}

/// A byte that ends no line and no part of one.
fn in_line(byte: u8) -> u8 {
    if byte < b' ' { b' ' } else { byte }
}

/// What there is of a program's names.
pub(super) enum Known {
    Names(Arc<Names>),
    /// They are being read.
    NotYet,
    /// They are more than is kept.
    TooMany,
}

/// By program: of which version of its contacts the names are, and themselves, unless they are too many.
type Kept = LruCache<ProgramId, (i64, Option<Arc<Names>>)>;

/// Names of programs whose contacts somebody has searched.
pub(super) struct NameIndex {
    known: Mutex<Kept>,
    /// One program is read at a time.
    reading: Arc<Semaphore>,
}

impl Default for NameIndex {
    fn default() -> NameIndex {
        NameIndex { known: Mutex::new(LruCache::new(PROGRAMS_MAX)), reading: Arc::new(Semaphore::new(1)) }
    }
}

impl NameIndex {
    fn known(&self) -> MutexGuard<'_, Kept> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, program: ProgramId, version: i64) -> Option<Known> {
        let mut known = self.known();
        let (_, names) = known.get(&program).filter(|(of, _)| *of == version)?;
        Some(names.as_ref().map_or(Known::TooMany, |names| Known::Names(Arc::clone(names))))
    }

    /// Keeps names, and drops others' until all have room: whose program was searched longest ago goes first.
    fn put(&self, program: ProgramId, version: i64, names: Option<Names>) {
        let mut known = self.known();
        known.put(program, (version, names.map(Arc::new)));
        let size = |names: &Option<Arc<Names>>| names.as_ref().map_or(0, |names| names.bytes());
        let mut bytes: usize = known.iter().map(|(_, (_, names))| size(names)).sum();
        while bytes > BYTES_MAX && known.len() > 1 {
            let Some((_, (_, gone))) = known.pop_lru() else { break };
            bytes -= size(&gone);
        }
    }
}

/// The names of a program's contacts as they are now; reads them if nobody has.
pub(super) async fn names(console: &Arc<Console>, data: &Data, program: ProgramId) -> Result<Known, Turned> {
    // Asked before they are read: what changes meanwhile makes another version.
    let version = data.contacts_version(program).await?;
    if let Some(known) = console.names.get(program, version) {
        return Ok(known);
    }
    let reading = tokio::spawn(read(Arc::clone(console), data.clone(), program, version));
    match tokio::time::timeout(WAIT, reading).await {
        Ok(Ok(read)) => read?,
        Ok(Err(_)) => return Err(Turned::Fault("reading names panicked".to_owned())),
        // It goes on, for whoever asks next.
        Err(_) => return Ok(Known::NotYet),
    }
    Ok(console.names.get(program, version).unwrap_or(Known::NotYet))
}

async fn read(console: Arc<Console>, data: Data, program: ProgramId, version: i64) -> Result<(), Turned> {
    let turn = Arc::clone(&console.names.reading).acquire_owned().await;
    let turn = turn.map_err(|fault| Turned::Fault(fault.to_string()))?;
    if console.names.get(program, version).is_some() {
        return Ok(());
    }
    let read = tokio::task::spawn_blocking(move || {
        let names = Names::read(data.snapshot(program)?)?;
        console.names.put(program, version, names);
        drop(turn);
        Ok::<_, StoreError>(())
    });
    Ok(read.await.map_err(|_| Turned::Fault("reading names panicked".to_owned()))??)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::contact::{ContactId, FieldTimes, Phone, ProfileBuilder, ProgramTag};

    fn contact(number: u64, (first, last): (&str, &str), groups: &str, active: bool) -> Contact {
        let mut profile = ProfileBuilder::default();
        profile.push(FieldNumber::FIRST_NAME, first);
        profile.push(FieldNumber::LAST_NAME, last);
        profile.push(FieldNumber::GROUP_LIST, groups);
        Contact {
            id: ContactId::new(ProgramTag::from_bits(1), ContactNumber::new(number).expect("small"), 0),
            customer_id: String::new(),
            phone: Phone::from_digits(12_395_745_030),
            active,
            created_ms: 0,
            updated_ms: 0,
            profile: profile.finish(),
            times: FieldTimes::default(),
        }
    }

    fn names(contacts: &[Contact]) -> Names {
        let mut names = Names::default();
        contacts.iter().for_each(|contact| names.push(contact));
        names
    }

    fn found(names: &Names, text: &str, group: Option<&str>, active: Option<bool>) -> Vec<u64> {
        let matches = names.find(&Search::of(text, group, active), 0, 10);
        assert_eq!(matches.total, matches.numbers.len() as u64);
        matches.numbers.iter().map(|number| number.get()).collect()
    }

    #[test]
    fn contacts_are_found_by_parts_of_their_names() {
        let names = names(&[
            contact(1, ("Ada", "Lovelace"), "fall;honors", true),
            contact(3, ("Élodie", "ÅNGSTRÖM"), "fall", false),
            contact(4, ("Bo", "da Silva"), "", true),
            contact(9, ("a\nb", "ada"), "falls", true),
        ]);
        assert_eq!(found(&names, "ada", None, None), [1, 9], "each once");
        assert_eq!(found(&names, "LOVE ad", None, None), [1]);
        assert_eq!(found(&names, "Lovelace, Ada", None, None), [1]);
        assert_eq!(found(&names, "élo ångström", None, None), [3]);
        assert_eq!(found(&names, "da", None, None), [1, 4, 9]);
        assert_eq!(found(&names, "", Some("fall"), None), [1, 3], "whole groups");
        assert_eq!(found(&names, "", Some("fall"), Some(true)), [1]);
        assert_eq!(found(&names, "", None, Some(false)), [3]);
        assert_eq!(found(&names, "fall", None, None), [] as [u64; 0], "a group is no name");
        assert_eq!(found(&names, "a b", None, None), [4, 9]);
        let page = names.find(&Search::of("da", None, None), 1, 1);
        assert_eq!((page.numbers.iter().map(|number| number.get()).collect::<Vec<_>>(), page.total), (vec![4], 3));
    }

    proptest! {
        /// What is found is what one finds by looking at each.
        #[test]
        fn nothing_is_missed(
            people in prop::collection::vec(("[abAB é]{0,4}", "[abß ]{0,4}", "[ab;]{0,3}", any::<bool>()), 0..20),
            text in "[abß é,]{0,4}",
            group in prop::option::of("[ab]"),
            active in prop::option::of(any::<bool>()),
        ) {
            let contacts: Vec<Contact> = people.iter().zip(1..).map(|((first, last, groups, active), number)| {
                contact(number, (first, last), groups, *active)
            }).collect();
            let search = Search::of(&text, group.as_deref(), active);
            let expected: Vec<u64> = contacts.iter().filter(|contact| {
                let name = format!("{} {}", contact.profile.get(FieldNumber::FIRST_NAME), contact.profile.get(FieldNumber::LAST_NAME));
                let name = name.to_lowercase();
                search.words.iter().all(|word| name.contains(word.as_str()))
                    && group.as_deref().is_none_or(|group| contact.groups().any(|one| one == group))
                    && active.is_none_or(|active| contact.active == active)
            }).map(|contact| contact.id.number.get()).collect();
            let matches = names(&contacts).find(&search, 0, 100);
            prop_assert_eq!(matches.numbers.iter().map(|number| number.get()).collect::<Vec<_>>(), expected);
        }
    }
}
