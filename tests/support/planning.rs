//! The planner with a program in memory, and held against the model of the contract: by proptest in `src/import/tests.rs`, by libFuzzer
//! and seeded mutations in `fuzz/`.
//!
//! Whoever includes this file has `contact`, `import`, `contract` and `made_up` beside it.

use std::collections::HashSet;

use super::contact::{
    ContactId, ContactNumber, FieldNumber, FieldTimes, Phone, ProfileBuilder, ProgramTag, Region, Schema,
};
use super::contract::{self, Contact, Model, Wrong, has_message};
use super::import::{
    Addition, Change, Counts, FieldChange, FieldChanges, FileErrors, FilePlan, IdentityKeys, ImportOptions, NotApplied,
    Planner, Report, RowError, RowFound, RowReader, RowsFault, Spent, StoredContact, Update,
};
use super::made_up::{self, Choices, schema};

/// When the imports run.
const NOW_MS: i64 = 1_000_000;
/// When fields have changed before, after the contact's creation.
const EARLIER_MS: u64 = 5;

/// The program's mark.
fn tag() -> ProgramTag {
    ProgramTag::from_bits(0xabcdef)
}

/// The id of the contact with this number, whether or not there is one.
pub(super) fn id(number: usize) -> String {
    ContactId::new(tag(), ContactNumber::new(number as u64).expect("a number"), 7).to_string()
}

/// A program in memory: what a store does for an import, by looking at every contact.
#[derive(Clone, Default, PartialEq, Debug)]
pub(super) struct Program {
    pub(super) contacts: Vec<StoredContact>,
}

impl Program {
    fn lookup(&self, file: &FilePlan, keys: &[IdentityKeys<'_>]) -> Vec<RowFound> {
        let find = |test: &dyn Fn(&StoredContact) -> bool| self.contacts.iter().find(|contact| test(contact));
        keys.iter()
            .map(|keys| {
                let by_id = keys.signalvine_id.and_then(|id| find(&|contact| contact.number == id.number));
                let by_customer_id = keys.customer_id.and_then(|id| find(&|contact| contact.customer_id == id));
                let contact = if keys.signalvine_id.is_some() { by_id } else { by_customer_id };
                let asked = match contact {
                    Some(_) => file.wants_phones_of_existing(),
                    None => file.wants_phones_of_new() || (keys.signalvine_id.is_none() && keys.customer_id.is_none()),
                };
                let by_phone = keys.phone.filter(|_| asked).and_then(|phone| find(&|contact| contact.phone == phone));
                RowFound {
                    by_signalvine_id: by_id.map(|contact| contact.number),
                    by_customer_id: by_customer_id.map(|contact| contact.number),
                    by_phone: by_phone.map(|contact| contact.number),
                    contact: contact.filter(|_| file.wants_values()).cloned(),
                }
            })
            .collect()
    }

    fn apply(&mut self, changes: &[Change]) {
        for change in changes {
            match change.clone() {
                Change::Add(Addition { number, customer_id, phone, active, profile }) => {
                    assert_eq!(number.get(), self.contacts.len() as u64 + 1, "numbers have no gaps");
                    let times = FieldTimes::default();
                    self.contacts.push(StoredContact {
                        number,
                        created_ms: 0,
                        customer_id,
                        phone,
                        active,
                        profile,
                        times,
                    });
                }
                Change::Update(Update { number, customer_id, phone, active, profile, times }) => {
                    let contact = &mut self.contacts[number.get() as usize - 1];
                    customer_id.into_iter().for_each(|value| contact.customer_id = value);
                    phone.into_iter().for_each(|value| contact.phone = value);
                    active.into_iter().for_each(|value| contact.active = value);
                    profile.into_iter().for_each(|value| contact.profile = value);
                    contact.times = times;
                }
            }
            let unique: HashSet<_> = self.contacts.iter().map(|contact| contact.phone).collect();
            assert_eq!(unique.len(), self.contacts.len(), "no phone is held twice, at no moment");
            let named = self.contacts.iter().filter(|contact| !contact.customer_id.is_empty());
            let unique: HashSet<_> = named.clone().map(|contact| &contact.customer_id).collect();
            assert_eq!(unique.len(), named.count(), "no customer_id is held twice, at no moment");
        }
    }

    /// Imports a file, the first rows each in a batch of its own; without effect if the report says so.
    pub(super) fn import(&mut self, options: &ImportOptions, file: &str, single_rows: usize) -> Report {
        let before = self.clone();
        let mut reader = RowReader::new(file.as_bytes(), b',');
        let report = match self.try_import(options, &mut reader, single_rows) {
            Ok(report) => report,
            Err((RowsFault::UnclosedQuote { row }, mut errors)) => {
                errors.add_unclosed_quote(row);
                Report::of_file(options.mode, errors)
            }
            Err((fault, _)) => unreachable!("{fault}"),
        };
        assert!(report.counts.add_up(), "{:?}", report.counts);
        if !report.applied() {
            *self = before;
        }
        report
    }

    fn try_import(
        &mut self,
        options: &ImportOptions,
        reader: &mut RowReader<&[u8]>,
        single_rows: usize,
    ) -> Result<Report, (RowsFault, FileErrors)> {
        let at_once = |fault| (fault, FileErrors::default());
        let header = reader.header().map_err(at_once)?;
        let plan = match FilePlan::new(header.as_ref(), &schema(), options, Region::US, tag()) {
            Ok(plan) => plan,
            Err(errors) => loop {
                match reader.next_batch() {
                    Ok(Some(_)) => {}
                    Ok(None) => return Ok(Report::of_file(options.mode, errors)),
                    Err(fault) => return Err((fault, errors)),
                }
            },
        };
        let next = ContactNumber::new(self.contacts.len() as u64 + 1).expect("a number");
        let mut planner = Planner::new(&plan, next, NOW_MS);
        let mut room = Spent::default();
        for batches in 0.. {
            let batch = if batches < single_rows { reader.header() } else { reader.next_batch() };
            let Some(batch) = batch.map_err(at_once)? else { break };
            let batch = plan.identify_in(batch, room);
            let found = self.lookup(&plan, &plan.keys(&batch));
            let changes = planner.plan(&batch, &found).expect("a plan");
            self.apply(&changes);
            let spent;
            (spent, room) = batch.take_apart();
            reader.reuse(spent);
        }
        Ok(planner.finish())
    }

    pub(super) fn of(contacts: &[Contact]) -> Program {
        let schema = schema();
        let stored = contacts.iter().zip(1..).map(|(contact, number)| {
            let mut profile = ProfileBuilder::default();
            ordinary(&schema).for_each(|(number, name)| profile.push(number, contact.value(name)));
            StoredContact {
                number: ContactNumber::new(number).expect("a number"),
                created_ms: number as i64,
                customer_id: contact.value("customer_id").to_owned(),
                phone: Phone::parse(contact.value("phone"), Region::US).expect("a phone"),
                active: contact.value("active") == "true",
                profile: profile.finish(),
                times: FieldTimes::default().with(&[FieldNumber::FIRST_NAME, FieldNumber(33)], EARLIER_MS),
            }
        });
        Program { contacts: stored.collect() }
    }

    /// The contacts as the model has them.
    fn shown(&self) -> Vec<Contact> {
        let schema = schema();
        let shown = self.contacts.iter().map(|stored| {
            let number = usize::try_from(stored.number.get()).expect("small");
            let mut contact = Contact { id: id(number), ..Contact::default() };
            contact.set("customer_id", &stored.customer_id);
            contact.set("phone", &stored.phone.to_string());
            contact.set("active", if stored.active { "true" } else { "false" });
            ordinary(&schema).for_each(|(number, name)| contact.set(name, stored.profile.get(number)));
            let now = u64::try_from(NOW_MS - stored.created_ms).expect("later");
            let changed = stored.times.iter().filter(|(_, after_ms)| *after_ms == now);
            let name =
                |number| schema.fields().iter().find(|field| field.number == number).map(|field| field.name.clone());
            contact.changed = changed.map(|(number, _)| name(number).expect("a field")).collect();
            let kept = |number: &FieldNumber| stored.created_ms == 0 || stored.times.get(*number) != 0;
            assert!([FieldNumber::FIRST_NAME, FieldNumber(33)].iter().all(kept), "times are kept: {stored:?}");
            contact
        });
        shown.collect()
    }
}

/// Number and name of the fields that a profile keeps.
fn ordinary(schema: &Schema) -> impl Iterator<Item = (FieldNumber, &str)> {
    let is_apart = |name: &str| matches!(name, "customer_id" | "phone" | "active");
    schema.fields().iter().filter(move |field| !is_apart(&field.name)).map(|field| (field.number, &*field.name))
}

/// The report as the model gives it.
fn told(report: &Report) -> contract::Report {
    let Counts { read, added, updated, unchanged, ignored, failed } = report.counts;
    assert_eq!(report.error_count, report.errors.len() as u64, "they are few");
    let error = |RowError { row, field, code, value, message }: &RowError| Wrong {
        row: *row,
        field: field.clone(),
        code: code.as_str(),
        value: value.clone(),
        message: Some(message.clone()).filter(|_| has_message(code.as_str())),
    };
    let changes = |FieldChanges { field, count, examples }: &FieldChanges| {
        let example = |FieldChange { row, before, after }: &FieldChange| (*row, before.clone(), after.clone());
        (field.clone(), *count, examples.iter().map(example).collect())
    };
    contract::Report {
        counts: [read, added, updated, unchanged, ignored, failed],
        not_applied: report.not_applied.map(NotApplied::as_str),
        errors: report.errors.iter().map(error).collect(),
        changes: report.changes.as_ref().map(|all| all.iter().map(changes).collect()),
    }
}

/// Makes up contacts and an import of these bytes: planned and applied in batches of any size, it tells and does what the model does.
pub(super) fn the_plan_is_what_the_model_does(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let contacts = made_up::contacts(&mut choices, &id);
    let single_rows = [0, 1, 2, usize::MAX][choices.below(4)];
    // Nobody knows the id of a contact before it is added: it has bits of chance.
    let known = |number| if number <= contacts.len() { id(number) } else { id(number + 100) };
    let (options, file) = made_up::import(&mut choices, &known);
    let mut program = Program::of(&contacts);
    let mut model = Model { schema: schema(), contacts, new_id: id };
    let expected = model.import(&options, &file);
    let (before, csv) = (program.clone(), file.csv());
    let case = || format!("{}\n{csv}into {:#?}, {single_rows} rows alone", made_up::words(&options), before.shown());
    let report = program.import(&options, &csv, single_rows);
    assert_eq!(told(&report), expected, "the report: {}", case());
    assert_eq!(program.shown(), model.contacts, "the contacts: {}", case());
}
