//! Imports made up of bytes, over alphabets so tiny that ids and phones collide all the time. Zeros, and no bytes at all, are the simplest
//! choice everywhere, so that what is cut away makes a case simpler.
//!
//! Whoever includes this file has `contact`, `import` and `contract` beside it.

use super::contact::{FieldNumber, FieldType, Schema};
use super::contract::{Contact, File, Line};
use super::import::{Columns, Existing, Form, ImportOptions, Limits, Mode, New};

/// The variables of the program that the imports are for, in the order of their numbers.
pub(super) const VARIABLES: [(&str, &str); 4] =
    [("honors", "Maybe (Boolean)"), ("credits", "Numeric"), ("note", "String"), ("since", "Maybe (Date)")];
/// The most lines of a file.
const LINES_MAX: usize = 16;
/// The most contacts that there are before.
const CONTACTS_MAX: usize = 4;

/// The fields of that program.
pub(super) fn schema() -> Schema {
    Schema::new(VARIABLES.iter().zip(32..).map(|((name, printed), number)| {
        (FieldNumber(number), (*name).to_owned(), FieldType::parse(printed).expect("a type"))
    }))
}

/// What is chosen, a byte for each choice.
pub(super) struct Choices<'b> {
    bytes: std::slice::Iter<'b, u8>,
}

impl<'b> Choices<'b> {
    pub(super) fn new(bytes: &'b [u8]) -> Choices<'b> {
        Choices { bytes: bytes.iter() }
    }

    /// Below `count`, which is at most 256.
    pub(super) fn below(&mut self, count: usize) -> usize {
        usize::from(self.bytes.next().copied().unwrap_or(0)) % count
    }

    fn one<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// For each of up to 16 things, whether it is left out.
    fn left_out(&mut self) -> usize {
        self.below(256) | self.below(256) << 8
    }
}

/// What is not left out.
fn without(left_out: usize, all: &[String]) -> Vec<String> {
    all.iter().enumerate().filter(|(at, _)| left_out >> at & 1 == 0).map(|(_, name)| name.clone()).collect()
}

/// The columns that a file may have, in the order in which most have them.
const COLUMNS: [&str; 12] = [
    "customer_id",
    "signalvine_id",
    "phone",
    "first_name",
    "credits",
    "honors",
    "active",
    "since",
    "group_list",
    "timezone",
    "created_at",
    "_note",
];
/// Columns that are there beside them now and then, and may not.
const ODD_COLUMNS: [&str; 6] = ["_row", "shoe_size", "phone", "Phone", "", " note "];

/// What may stand in a column. `<2>` is the id of contact 2.
fn cells(column: &str) -> &'static [&'static str] {
    match column.trim() {
        "signalvine_id" => &["", "", "", "", "", "", "<1>", "<2>", "<3>", "<4>", "<1>", "<2>", "<3>", "<9>", "123"],
        "customer_id" => &["", "ann", "bob", "cat", "dan", "ann", " bob ", "Ann", "c\0"],
        "phone" => &[
            "2395745030",
            "4054685465",
            "9178504987",
            "",
            "7165419523",
            "2125550123",
            "(239) 574-5030",
            "+14054685465",
            "junk",
            "'+12395745030",
        ],
        "first_name" => &["", "A", "B", " A ", "'=A", "\"q\", ", "A\0"],
        "credits" => &["1", "2", "01.0", "3", "2", "1", "2", "", "x"],
        "honors" => &["", "yes", "true", "no", "", "T", "maybe"],
        "active" => &["yes", "true", "no", "False", "1", "yes", "n", "", "x"],
        "since" => &["", "2026-11-22", "11/22/2026", "2026-11-23", "", "11/22/2026", "soon"],
        "group_list" => &["", "a;b", " a;b;a", "b;a", ";"],
        "timezone" => &["", "US/Eastern", "UTC", "", "US/Eastern", "us/eastern"],
        _ => &["", "x", "é\ny"],
    }
}

/// Options and file of an import. `id` gives what stands for a contact's number in a cell.
pub(super) fn import(choices: &mut Choices<'_>, id: &dyn Fn(usize) -> String) -> (ImportOptions, File) {
    let header = header(choices);
    let options = options(choices, &header);
    let is_open = choices.below(32) == 31;
    let mut lines = Vec::new();
    while choices.bytes.len() > 0 && lines.len() < LINES_MAX {
        lines.push(line(choices, &header, id));
    }
    (options, File { header, lines, is_open })
}

fn header(choices: &mut Choices<'_>) -> Vec<String> {
    // Mostly there are all three by which a contact is known.
    let left_out = choices.left_out() & (choices.below(8) | !7);
    let mut header = without(left_out, &COLUMNS.map(str::to_owned));
    if header.is_empty() {
        // A blank line is no header.
        header.push("note".to_owned());
    }
    let turned = choices.below(header.len());
    header.rotate_left(turned);
    let (odd, at) = (choices.below(64), choices.below(header.len() + 1));
    // Mostly none is odd: then only the header is judged.
    if let Some(name) = odd.checked_sub(64 - 2 * ODD_COLUMNS.len()) {
        header.insert(at, ODD_COLUMNS[name / 2].to_owned());
    }
    header
}

fn options(choices: &mut Choices<'_>, header: &[String]) -> ImportOptions {
    let names: Vec<String> = header.iter().map(|name| name.trim().to_owned()).collect();
    let (kind, some) = (choices.below(8), without(choices.left_out(), &names));
    let existing = match kind {
        0 | 1 => Existing::Fields(names),
        2 => Existing::Ignore,
        3 => {
            Existing::Fields(names.into_iter().filter(|name| matches!(&**name, "customer_id" | "first_name")).collect())
        }
        4 => Existing::Fields(Vec::new()),
        5 | 6 => Existing::Fields(some),
        _ if some.len() % 4 == 0 => Existing::Fields([some, vec!["nope".to_owned()]].concat()),
        _ => Existing::Fields(some),
    };
    let new = choices.one(&[New::Add, New::Add, New::Add, New::Ignore]);
    let mode = choices.one(&[Mode::Row, Mode::Row, Mode::Tx]);
    let dry_run = choices.below(4) == 3;
    let mut most = || choices.one(&[None, None, None, None, None, None, Some(0), Some(1)]);
    let limits = Limits { new_max: most(), updated_max: most(), failed_max: most() };
    ImportOptions { new, existing, mode, dry_run, limits, form: Form::Json, columns: Columns::default() }
}

fn line(choices: &mut Choices<'_>, header: &[String], id: &dyn Fn(usize) -> String) -> Line {
    let (kind, stray) = (choices.below(32), choices.below(header.len()));
    if kind == 31 {
        return Line::Blank;
    }
    let mut cells: Vec<String> = header.iter().map(|column| cell(choices.one(cells(column)), id)).collect();
    match kind {
        30 => cells.push("x".to_owned()),
        29 if cells.len() > 1 => drop(cells.pop()),
        _ => {}
    }
    Line::Row { cells, stray: (kind == 28).then_some(stray) }
}

fn cell(word: &str, id: &dyn Fn(usize) -> String) -> String {
    let number = word.strip_prefix('<').and_then(|word| word.strip_suffix('>'));
    number.map_or_else(|| word.to_owned(), |number| id(number.parse().expect("a number")))
}

/// Contacts that are there before; each has a phone of its own, and a customer's id of its own or none.
#[allow(dead_code, reason = "a service begins without any")]
pub(super) fn contacts(choices: &mut Choices<'_>, id: &dyn Fn(usize) -> String) -> Vec<Contact> {
    let count = choices.below(CONTACTS_MAX + 1);
    let mut contacts: Vec<Contact> = Vec::new();
    for number in 1..=count {
        let mut contact = Contact { id: id(number), ..Contact::default() };
        let is_free = |name: &str, value: &str| !contacts.iter().any(|other| other.value(name) == value);
        let phones: Vec<&str> = PHONES.into_iter().filter(|phone| is_free("phone", phone)).collect();
        let customer_ids = CUSTOMER_IDS.into_iter().filter(|id| id.is_empty() || is_free("customer_id", id));
        let customer_ids: Vec<&str> = customer_ids.collect();
        contact.set("phone", choices.one(&phones));
        contact.set("customer_id", choices.one(&customer_ids));
        contact.set("active", choices.one(&["true", "false"]));
        contact.set("first_name", choices.one(&["", "A", "B"]));
        contact.set("credits", choices.one(&["", "1", "2"]));
        contact.set("honors", choices.one(&["", "true"]));
        contact.set("since", choices.one(&["", "2026-11-22"]));
        contact.set("group_list", choices.one(&["", "a;b"]));
        contacts.push(contact);
    }
    contacts
}

const PHONES: [&str; 5] = ["+12395745030", "+14054685465", "+19178504987", "+17165419523", "+12125550123"];
const CUSTOMER_IDS: [&str; 5] = ["", "ann", "bob", "cat", "dan"];

/// The options in words, as far as they are not those of most imports.
pub(super) fn words(options: &ImportOptions) -> String {
    let ImportOptions { new, existing, mode, dry_run, limits, form: _, columns: _ } = options;
    let existing = match existing {
        Existing::Ignore => "ignore".to_owned(),
        Existing::Fields(names) => format!("[{}]", names.join(",")),
    };
    let new = if *new == New::Add { "add" } else { "ignore" };
    let dry_run = if *dry_run { " dry" } else { "" };
    let Limits { new_max, updated_max, failed_max } = limits;
    let most = |name: &str, most: &Option<u64>| most.map_or(String::new(), |most| format!(" {name}<={most}"));
    let limits = [most("new", new_max), most("updated", updated_max), most("failed", failed_max)].concat();
    format!("new {new}, existing {existing}, {}{dry_run}{limits}", mode.as_str())
}
