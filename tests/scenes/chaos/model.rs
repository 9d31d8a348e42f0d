//! What the contract says about imports of one program, one after the other: small, slow and obvious. It shares no code with
//! the service.

use std::collections::{BTreeMap, HashMap, HashSet};

/// The columns of every file, in their order.
pub(super) const COLUMNS: [&str; 8] =
    ["signalvine_id", "customer_id", "phone", "first_name", "active", "honors", "credits", "note"];

/// With more errors, nothing is applied.
const ERRORS_MAX: usize = 1_000;

/// What a contact's columns hold, but for the `signalvine_id`.
pub(super) type Contact = BTreeMap<&'static str, String>;

/// An import, before it is written as a request.
pub(super) struct Import {
    pub(super) adds: bool,
    /// `None`: existing ones are ignored.
    pub(super) fields: Option<Vec<&'static str>>,
    pub(super) is_tx: bool,
    /// Cells as they stand; a row with another number of cells than there are columns is wrong.
    pub(super) rows: Vec<Vec<String>>,
}

/// What the service is to say of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    /// `read added updated unchanged ignored failed`.
    pub(super) counts: [u64; 6],
    pub(super) applied: bool,
    pub(super) errors: usize,
}

/// The contacts of a program.
#[derive(Default)]
pub(super) struct Program {
    /// In the order of creation.
    pub(super) contacts: Vec<Contact>,
    /// The ids that the service gave the first of them, as far as they were read.
    pub(super) ids: Vec<String>,
    by_id: HashMap<String, usize>,
    by_customer_id: HashMap<String, usize>,
    by_phone: HashMap<String, usize>,
}

enum Fate {
    Added,
    Updated,
    Unchanged,
    Ignored,
    Failed(usize),
}

enum Subject {
    Known(usize),
    KnownByPhone(usize),
    /// And how the row names it.
    New(Option<(&'static str, String)>),
}

/// What the rows of a file have claimed: contacts, and names of new ones that were refused.
#[derive(Default)]
struct Claims {
    contacts: HashSet<usize>,
    refused: HashSet<(&'static str, String)>,
}

impl Program {
    pub(super) fn learn_ids(&mut self, ids: Vec<String>) {
        self.by_id = ids.iter().cloned().zip(0..).collect();
        self.ids = ids;
    }

    pub(super) fn import(&mut self, import: &Import) -> Outcome {
        let before = self.contacts.clone();
        let (mut counts, mut errors, mut claims) = ([0; 6], 0, Claims::default());
        for row in &import.rows {
            let row: Vec<&str> = row.iter().map(|cell| cell.trim()).collect();
            let at = match self.judge(import, &row, &mut claims) {
                Fate::Added => 1,
                Fate::Updated => 2,
                Fate::Unchanged => 3,
                Fate::Ignored => 4,
                Fate::Failed(more) => {
                    errors += more;
                    5
                }
            };
            counts[0] += 1;
            counts[at] += 1;
        }
        let applied = errors == 0 || !import.is_tx && errors <= ERRORS_MAX;
        if !applied {
            self.contacts = before;
            self.find_anew();
        }
        Outcome { counts, applied, errors }
    }

    /// The steps of section 4, with their numbers.
    fn judge(&mut self, import: &Import, row: &[&str], claims: &mut Claims) -> Fate {
        // 1
        let [id, customer_id, phone, ..] = row else { return Fate::Failed(1) };
        if row.len() != COLUMNS.len() {
            return Fate::Failed(1);
        }
        // 2
        let subject = if !id.is_empty() {
            match self.by_id.get(*id) {
                Some(at) => Subject::Known(*at),
                None if id.len() != 36 => return Fate::Failed(1),
                None if import.adds => return Fate::Failed(1),
                None => return Fate::Ignored,
            }
        } else if !customer_id.is_empty() {
            let new = || Subject::New(Some(("customer_id", (*customer_id).to_owned())));
            self.by_customer_id.get(*customer_id).map_or_else(new, |at| Subject::Known(*at))
        } else if let Some(phone) = e164(phone) {
            match self.by_phone.get(&phone) {
                Some(at) => Subject::KnownByPhone(*at),
                None => Subject::New(Some(("phone", phone))),
            }
        } else {
            Subject::New(None)
        };
        // 3
        let is_claimed = match &subject {
            Subject::Known(at) | Subject::KnownByPhone(at) => claims.contacts.contains(at),
            Subject::New(name) => name.as_ref().is_some_and(|name| claims.refused.contains(name)),
        };
        if is_claimed {
            return Fate::Failed(1);
        }
        // 4
        let fields = match (&subject, &import.fields) {
            (Subject::New(_), _) if import.adds => COLUMNS.to_vec(),
            (Subject::Known(_) | Subject::KnownByPhone(_), Some(fields)) => fields.clone(),
            _ => return Fate::Ignored,
        };
        match subject {
            // 5
            Subject::KnownByPhone(_) => Fate::Failed(1),
            Subject::Known(at) if self.by_customer_id.get(*customer_id).is_some_and(|other| *other != at) => {
                Fate::Failed(1)
            }
            // 6 to 8
            Subject::Known(at) => {
                claims.contacts.insert(at);
                match self.values(row, &fields, Some(at)) {
                    Err(errors) => Fate::Failed(errors),
                    Ok(values) => self.update(at, values),
                }
            }
            Subject::New(name) => match self.values(row, &fields, None) {
                Err(errors) => {
                    claims.refused.extend(name);
                    Fate::Failed(errors)
                }
                Ok(values) => {
                    claims.contacts.insert(self.contacts.len());
                    self.contacts.push(values);
                    self.find(self.contacts.len() - 1);
                    Fate::Added
                }
            },
        }
    }

    /// 7: the values of these fields, or the number of errors.
    fn values(&self, row: &[&str], fields: &[&str], contact: Option<usize>) -> Result<Contact, usize> {
        let (mut values, mut errors) = (Contact::new(), 0);
        for (column, cell) in COLUMNS.into_iter().zip(row).skip(1).filter(|(column, _)| fields.contains(column)) {
            let value = match column {
                "phone" => e164(cell).filter(|phone| self.by_phone.get(phone).is_none_or(|at| Some(*at) == contact)),
                "active" => boolean(cell),
                "honors" if cell.is_empty() => Some(String::new()),
                "honors" => boolean(cell),
                "credits" => cell.parse::<i64>().ok().map(|number| number.to_string()),
                _ => Some((*cell).to_owned()),
            };
            match value {
                Some(value) => drop(values.insert(column, value)),
                None => errors += 1,
            }
        }
        if errors == 0 { Ok(values) } else { Err(errors) }
    }

    fn update(&mut self, at: usize, values: Contact) -> Fate {
        let contact = &mut self.contacts[at];
        let (old_customer_id, old_phone) = (contact["customer_id"].clone(), contact["phone"].clone());
        let before = contact.clone();
        contact.extend(values);
        if *contact == before {
            return Fate::Unchanged;
        }
        self.by_customer_id.remove(&old_customer_id);
        self.by_phone.remove(&old_phone);
        self.find(at);
        Fate::Updated
    }

    fn find(&mut self, at: usize) {
        let contact = &self.contacts[at];
        if !contact["customer_id"].is_empty() {
            self.by_customer_id.insert(contact["customer_id"].clone(), at);
        }
        self.by_phone.insert(contact["phone"].clone(), at);
    }

    fn find_anew(&mut self) {
        self.by_customer_id.clear();
        self.by_phone.clear();
        (0..self.contacts.len()).for_each(|at| self.find(at));
    }
}

/// Of the spellings that the files have: any with ten digits is a phone.
fn e164(cell: &str) -> Option<String> {
    let digits: String = cell.chars().filter(char::is_ascii_digit).collect();
    (digits.len() == 10).then(|| format!("+1{digits}"))
}

fn boolean(cell: &str) -> Option<String> {
    match cell {
        "true" | "yes" | "1" => Some("true".to_owned()),
        "false" | "no" | "0" => Some("false".to_owned()),
        _ => None,
    }
}
