//! What an import means, once more: the contract's rules row by row over a list of contacts, with nothing clever in it. The planner
//! (`planning.rs`) and the whole service (`tests/scenes/modelling.rs`) are held against it.
//!
//! What a single cell says is asked of `contact`, which has tests of its own. Whoever includes this file has `contact` and `import` beside it.

use std::collections::{BTreeMap, BTreeSet};

use super::contact::{Phone, Refusal, Region, Role, Schema, normal_form, parse_uuid, trim};
use super::import::{Existing, ImportOptions, Limits, Mode, New};

/// How many examples a dry run gives of a field's changes.
const EXAMPLES: usize = 5;

/// A contact as it is shown.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Contact {
    /// Blank as long as nobody knows it.
    pub(super) id: String,
    /// All fields but `signalvine_id` and the read-only ones; blank ones are not there.
    pub(super) values: BTreeMap<String, String>,
    /// The fields that imports have changed.
    pub(super) changed: BTreeSet<String>,
}

impl Contact {
    /// The value of a field.
    pub(super) fn value(&self, name: &str) -> &str {
        self.values.get(name).map_or("", String::as_str)
    }

    /// Sets a field.
    pub(super) fn set(&mut self, name: &str, value: &str) {
        if value.is_empty() {
            self.values.remove(name);
        } else {
            self.values.insert(name.to_owned(), value.to_owned());
        }
    }
}

/// A line of a file.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Line {
    /// It counts in the numbers of rows, and is none.
    Blank,
    /// A record; text stands behind the closing quote of one of its cells, or of none.
    Row { cells: Vec<String>, stray: Option<usize> },
}

/// A file of contacts.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct File {
    pub(super) header: Vec<String>,
    pub(super) lines: Vec<Line>,
    /// Whether it ends with a quote that is never closed.
    pub(super) is_open: bool,
}

impl File {
    /// As it is sent.
    pub(super) fn csv(&self) -> String {
        let mut csv = record(&self.header, None);
        for line in &self.lines {
            match line {
                Line::Blank => csv.push('\n'),
                Line::Row { cells, stray } => csv.push_str(&record(cells, *stray)),
            }
        }
        if self.is_open {
            csv.push_str("\"open");
        }
        csv
    }
}

fn record(cells: &[String], stray: Option<usize>) -> String {
    let cells = cells.iter().enumerate().map(|(at, cell)| {
        let is_stray = stray == Some(at);
        // A blank cell alone would be a blank line.
        if is_stray || cell.contains(['"', ',', '\n', '\r']) || (cells.len() == 1 && cell.is_empty()) {
            format!("\"{}\"{}", cell.replace('"', "\"\""), if is_stray { "x" } else { "" })
        } else {
            cell.clone()
        }
    });
    cells.collect::<Vec<_>>().join(",") + "\n"
}

/// Something that is wrong with a file or a row.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Wrong {
    pub(super) row: Option<u64>,
    pub(super) field: Option<String>,
    pub(super) code: &'static str,
    pub(super) value: Option<String>,
    /// Only of those codes whose sentence clients look for, or in which it says more than the code: see [`has_message`].
    pub(super) message: Option<String>,
}

impl Wrong {
    fn of_file(code: &'static str, field: Option<&str>) -> Wrong {
        Wrong { row: None, field: field.map(str::to_owned), code, value: None, message: None }
    }
}

/// Whether the model knows the message of errors with this code.
pub(super) fn has_message(code: &str) -> bool {
    matches!(code, "invalid_value" | "missing_value" | "duplicate_row")
}

/// What a dry run tells of a field: its name, how many contacts change in it, and row, before and after of the first of them.
pub(super) type Changes = (String, u64, Vec<(u64, String, String)>);

/// What became of an import.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Report {
    /// `read added updated unchanged ignored failed`
    pub(super) counts: [u64; 6],
    pub(super) not_applied: Option<&'static str>,
    pub(super) errors: Vec<Wrong>,
    pub(super) changes: Option<Vec<Changes>>,
}

impl Report {
    /// Of an import whose rows do not count.
    pub(super) fn without_rows(not_applied: &'static str, errors: Vec<Wrong>) -> Report {
        Report { counts: [0; 6], not_applied: Some(not_applied), errors, changes: None }
    }
}

/// A program.
pub(super) struct Model {
    pub(super) schema: Schema,
    pub(super) contacts: Vec<Contact>,
    /// The id of the contact with this number, when it is added.
    pub(super) new_id: fn(usize) -> String,
}

/// Whom a row has claimed.
#[derive(Clone, PartialEq)]
enum Claim {
    Contact(usize),
    CustomerId(String),
    Phone(String),
}

/// Where a row's fate is in [`Report::counts`].
#[derive(Clone, Copy)]
enum Fate {
    Added = 1,
    Updated,
    Unchanged,
    Ignored,
    Failed,
}

impl Model {
    /// Carries out an import.
    pub(super) fn import(&mut self, options: &ImportOptions, file: &File) -> Report {
        let errors = self.wrong_with_file(options, file);
        if !errors.is_empty() {
            return Report::without_rows("file_error", errors);
        }
        let before = self.contacts.clone();
        let (mut claims, mut errors, mut changes, mut counts) = (Vec::new(), Vec::new(), Vec::new(), [0; 6]);
        for (line, number) in file.lines.iter().zip(2..) {
            let Line::Row { cells, stray } = line else { continue };
            let row = Row { number, header: &file.header, cells };
            let judged = match stray {
                Some(_) => Err(vec![row.wrong_at_all("bad_quotes")]),
                None if cells.len() != file.header.len() => Err(vec![row.wrong_at_all("cell_count")]),
                None => self.judge(options, row, &mut claims, &mut changes),
            };
            let fate = judged.unwrap_or_else(|wrong| {
                errors.extend(wrong);
                Fate::Failed
            });
            counts[0] += 1;
            counts[fate as usize] += 1;
        }
        let Limits { new_max, updated_max, failed_max } = options.limits;
        let rails = [(new_max, Fate::Added), (updated_max, Fate::Updated), (failed_max, Fate::Failed)];
        let is_over = |(most, fate): &(Option<u64>, Fate)| most.is_some_and(|most| counts[*fate as usize] > most);
        let over = rails.iter().filter(|rail| is_over(rail)).count();
        let not_applied = match options.mode {
            Mode::Tx if !errors.is_empty() => Some("tx_errors"),
            Mode::Row if errors.len() > 1_000 => Some("too_many_errors"),
            Mode::Tx | Mode::Row if over > 0 => Some("limit"),
            Mode::Tx | Mode::Row => options.dry_run.then_some("dry_run"),
        };
        if not_applied.is_some() {
            self.contacts = before;
        }
        errors.splice(0..0, vec![Wrong::of_file("limit_exceeded", None); over]);
        let changes = options.dry_run.then(|| in_columns(&file.header, &changes));
        Report { counts, not_applied, errors, changes }
    }

    fn wrong_with_file(&self, options: &ImportOptions, file: &File) -> Vec<Wrong> {
        let names: Vec<&str> = file.header.iter().map(|name| trim(name)).collect();
        let mut wrong = Vec::new();
        for (at, name) in names.iter().enumerate().filter(|(_, name)| !name.starts_with('_')) {
            if name.is_empty() {
                wrong.push(Wrong::of_file("empty_header", None));
            } else if names[..at].contains(name) {
                wrong.push(Wrong::of_file("duplicate_header", Some(name)));
            } else if self.schema.by_name(name).is_none() {
                wrong.push(Wrong::of_file("unrecognized_variable", Some(name)));
            }
        }
        if let Existing::Fields(fields) = &options.existing {
            let absent =
                |(at, field): &(usize, &String)| !names.contains(&field.as_str()) && !fields[..*at].contains(field);
            let absent = fields.iter().enumerate().filter(absent);
            wrong.extend(absent.map(|(_, field)| Wrong::of_file("existing_not_in_file", Some(field))));
        }
        if !["signalvine_id", "customer_id", "phone"].iter().any(|name| names.contains(name)) {
            wrong.push(Wrong::of_file("no_identity_column", None));
        }
        if file.is_open {
            wrong.push(Wrong::of_file("bad_quotes", None));
        }
        wrong
    }

    /// The contact that has this value.
    fn holder(&self, name: &str, value: &str) -> Option<usize> {
        self.contacts.iter().position(|contact| !value.is_empty() && contact.value(name) == value)
    }

    /// A row with the right number of cells: steps 2 to 8.
    fn judge(
        &mut self,
        options: &ImportOptions,
        row: Row<'_>,
        claims: &mut Vec<(Claim, u64)>,
        changes: &mut Vec<(String, u64, String, String)>,
    ) -> Result<Fate, Vec<Wrong>> {
        let (id, customer_id) = (row.cell("signalvine_id"), row.cell("customer_id"));
        let phone = Phone::parse(row.cell("phone"), Region::US).map_or(String::new(), |phone| phone.to_string());
        let (column, claim) = if !id.is_empty() {
            let Some(id) = parse_uuid(id) else {
                return Err(vec![row.could_not_parse("signalvine_id", &self.schema, Refusal::Invalid)]);
            };
            match self.contacts.iter().position(|contact| contact.id == id.to_string()) {
                Some(at) => ("signalvine_id", Some(Claim::Contact(at))),
                None if options.new == New::Ignore => return Ok(Fate::Ignored),
                None => return Err(vec![row.wrong("unknown_signalvine_id", "signalvine_id")]),
            }
        } else if !customer_id.is_empty() {
            let known = self.holder("customer_id", customer_id).map(Claim::Contact);
            ("customer_id", known.or_else(|| Some(Claim::CustomerId(customer_id.to_owned()))))
        } else {
            let known = self.holder("phone", &phone).map(Claim::Contact);
            ("phone", known.or_else(|| Some(Claim::Phone(phone.clone())).filter(|_| !phone.is_empty())))
        };
        if let Some((_, first)) = claims.iter().find(|(claimed, _)| Some(claimed) == claim.as_ref()) {
            let message = format!("Row {first} of the file is about the same contact");
            return Err(vec![Wrong { message: Some(message), ..row.wrong("duplicate_row", column) }]);
        }
        let known = if let Some(Claim::Contact(at)) = claim { Some(at) } else { None };
        let is_wanted = if known.is_some() { options.existing != Existing::Ignore } else { options.new == New::Add };
        if !is_wanted {
            return Ok(Fate::Ignored);
        }
        let other = self.holder("customer_id", customer_id).filter(|other| Some(*other) != known);
        match column {
            "signalvine_id" if other.is_some() => return Err(vec![row.wrong("ids_disagree", "customer_id")]),
            "phone" if known.is_some() => return Err(vec![row.wrong("identity_required", "phone")]),
            _ => claims.extend(claim.map(|claim| (claim, row.number))),
        }
        let mut contact = match known {
            Some(at) => self.contacts[at].clone(),
            None => {
                Contact { values: BTreeMap::from([("active".to_owned(), "true".to_owned())]), ..Contact::default() }
            }
        };
        self.cells(options, row, known, &mut contact)?;
        let Some(at) = known else {
            contact.id = (self.new_id)(self.contacts.len() + 1);
            self.contacts.push(contact);
            claims.push((Claim::Contact(self.contacts.len() - 1), row.number));
            return Ok(Fate::Added);
        };
        let before = std::mem::replace(&mut self.contacts[at], contact);
        let contact = &mut self.contacts[at];
        if before.values == contact.values {
            return Ok(Fate::Unchanged);
        }
        for name in self.schema.fields().iter().map(|field| &field.name) {
            let (before, after) = (before.value(name).to_owned(), contact.value(name).to_owned());
            if before != after {
                changes.push((name.clone(), row.number, before, after));
                contact.changed.insert(name.clone());
            }
        }
        Ok(Fate::Updated)
    }

    /// Step 7: sets the fields that the row may set.
    fn cells(
        &self,
        options: &ImportOptions,
        row: Row<'_>,
        known: Option<usize>,
        contact: &mut Contact,
    ) -> Result<(), Vec<Wrong>> {
        let mut wrong = Vec::new();
        for name in row.header.iter().map(|name| trim(name)).filter(|name| !name.starts_with('_')) {
            let field = self.schema.by_name(name).expect("the header was judged");
            let is_named =
                matches!(&options.existing, Existing::Fields(names) if names.iter().any(|named| named == name));
            if matches!(field.role, Role::SignalvineId | Role::ReadOnly) || (known.is_some() && !is_named) {
                continue;
            }
            match normal_form(row.cell(name), field.field_type, Region::US) {
                Err(refusal) => wrong.push(row.could_not_parse(name, &self.schema, refusal)),
                Ok(value) if name == "phone" && self.holder(name, &value).is_some_and(|at| Some(at) != known) => {
                    wrong.push(row.wrong("phone_taken", name));
                }
                Ok(value) => contact.set(name, &value),
            }
        }
        if known.is_none() && row.place("phone").is_none() {
            wrong.push(row.could_not_parse("phone", &self.schema, Refusal::Missing));
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }
}

fn in_columns(header: &[String], changes: &[(String, u64, String, String)]) -> Vec<Changes> {
    let of_column = |name: &String| {
        let name = trim(name);
        let of_field: Vec<_> = changes.iter().filter(|(field, ..)| field == name).collect();
        let examples =
            of_field.iter().take(EXAMPLES).map(|(_, row, before, after)| (*row, before.clone(), after.clone()));
        (name.to_owned(), of_field.len() as u64, examples.collect())
    };
    header.iter().map(of_column).filter(|(_, count, _)| *count > 0).collect()
}

/// A row as long as its header.
#[derive(Clone, Copy)]
struct Row<'f> {
    number: u64,
    header: &'f [String],
    cells: &'f [String],
}

impl<'f> Row<'f> {
    fn place(self, name: &str) -> Option<usize> {
        self.header.iter().position(|column| trim(column) == name)
    }

    /// Without white space, and without the guard that a file of failed rows has.
    fn cell(self, name: &str) -> &'f str {
        let cell = self.place(name).map_or("", |at| trim(&self.cells[at]));
        match cell.strip_prefix('\'') {
            Some(bare)
                if self.place("_row").is_some() && bare.trim_start_matches('\'').starts_with(['=', '+', '-', '@']) =>
            {
                bare
            }
            _ => cell,
        }
    }

    fn wrong_at_all(self, code: &'static str) -> Wrong {
        Wrong { row: Some(self.number), ..Wrong::of_file(code, None) }
    }

    fn wrong(self, code: &'static str, name: &str) -> Wrong {
        let value = self.place(name).map(|at| self.cells[at].clone());
        Wrong { field: Some(name.to_owned()), value, ..self.wrong_at_all(code) }
    }

    fn could_not_parse(self, name: &str, schema: &Schema, refusal: Refusal) -> Wrong {
        let (code, cell) = match refusal {
            Refusal::Missing => ("missing_value", ""),
            Refusal::Invalid => ("invalid_value", self.cell(name)),
        };
        let field_type = schema.by_name(name).expect("a field").field_type;
        Wrong { message: Some(format!("Could not parse '{cell}' as {field_type}")), ..self.wrong(code, name) }
    }
}
