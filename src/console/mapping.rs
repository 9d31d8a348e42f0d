//! Which field each column of a file is: what is known or guessed, what the form says, and the import's options that come of it. Pure.

use super::form::{Fields, Mistakes};
use crate::contact::{Field, Role, Schema};
use crate::import::{Charset, Columns, Existing, Form, ImportOptions, Limits, Mode, New};

/// The form's word for a column of which nothing is known.
pub(super) const UNKNOWN: &str = "?";

/// Other names under which files have the system's fields, as [`plain`] writes them.
const SYNONYMS: &[(&str, &str)] = &[
    ("student_id", "customer_id"),
    ("external_id", "customer_id"),
    ("sis_id", "customer_id"),
    ("crm_id", "customer_id"),
    ("mobile", "phone"),
    ("mobile_phone", "phone"),
    ("mobile_number", "phone"),
    ("cell", "phone"),
    ("cell_phone", "phone"),
    ("phone_number", "phone"),
    ("telephone", "phone"),
    ("given_name", "first_name"),
    ("firstname", "first_name"),
    ("first", "first_name"),
    ("family_name", "last_name"),
    ("surname", "last_name"),
    ("lastname", "last_name"),
    ("last", "last_name"),
    ("groups", "group_list"),
    ("group", "group_list"),
    ("time_zone", "timezone"),
    ("participant_id", "signalvine_id"),
];

/// Why a column is taken for a field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Because {
    /// It is called so.
    Named,
    /// It was said before.
    Remembered,
    /// It is called something like that.
    Alike,
    /// The form says so.
    Chosen,
    /// Nobody knows.
    Nothing,
}

impl Because {
    /// For people.
    pub(super) fn words(self) -> &'static str {
        match self {
            Because::Named | Because::Chosen => "",
            Because::Remembered => "as last time",
            Because::Alike => "guessed by its name",
            Because::Nothing => "not known",
        }
    }
}

/// What a column is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Column {
    pub(super) name: String,
    /// The field's name; blank: it is left out; [`UNKNOWN`]: nobody has said.
    pub(super) field: String,
    pub(super) because: Because,
    /// Whether it updates contacts that are there.
    pub(super) updates: bool,
}

/// Lower snake case, as near as it goes: `Student ID#` is `student_id`.
fn plain(name: &str) -> String {
    let lower = name.to_lowercase();
    let words = lower.split(|at: char| !at.is_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("_")
}

/// Whether the file's own names say that this column is left out.
fn is_left_out(name: &str) -> bool {
    name.starts_with('_')
}

/// What each column of a header may be.
pub(super) fn suggest(names: &[String], schema: &Schema, remembered: &[(String, String)]) -> Vec<Column> {
    let mut columns: Vec<Column> = Vec::new();
    for name in names {
        let (field, because) = suggest_one(name, schema, remembered);
        // A second one for the same field is a mistake, unless the file itself says so.
        let is_taken = because != Because::Named && !field.is_empty() && columns.iter().any(|one| one.field == field);
        let (field, because) = if is_taken { (UNKNOWN.to_owned(), Because::Nothing) } else { (field, because) };
        columns.push(Column { name: name.clone(), field, because, updates: true });
    }
    columns
}

fn suggest_one(name: &str, schema: &Schema, remembered: &[(String, String)]) -> (String, Because) {
    if is_left_out(name) {
        return (String::new(), Because::Named);
    }
    if schema.by_name(name).is_some() {
        return (name.to_owned(), Because::Named);
    }
    if let Some((_, field)) = remembered.iter().find(|(known, _)| known == name)
        && (field.is_empty() || schema.by_name(field).is_some_and(is_choosable))
    {
        return (field.clone(), Because::Remembered);
    }
    let plain = plain(name);
    let alike = SYNONYMS.iter().find(|(word, _)| *word == plain).map(|(_, field)| *field);
    // A field of the program goes before what others call a field of the system.
    let known = schema.by_name(&plain).or_else(|| schema.by_name(alike?)).filter(|field| is_choosable(field));
    match known {
        Some(field) => (field.name.clone(), Because::Alike),
        None => (UNKNOWN.to_owned(), Because::Nothing),
    }
}

/// Whether a column may be said to be this field.
pub(super) fn is_choosable(field: &Field) -> bool {
    field.role != Role::ReadOnly
}

/// Whether a column of this field can update contacts that are there.
pub(super) fn can_update(field: &Field) -> bool {
    match field.role {
        Role::SignalvineId | Role::ReadOnly => false,
        Role::CustomerId | Role::Phone | Role::Active | Role::Ordinary => true,
    }
}

/// What the form says about each column.
pub(super) fn read_columns(names: &[String], fields: &Fields) -> Vec<Column> {
    let rest_out = fields.is_on("rest");
    let field = |at: usize| match fields.get(&format!("field.{at}")) {
        UNKNOWN if rest_out => String::new(),
        field => field.to_owned(),
    };
    let read = |(at, name): (usize, &String)| Column {
        name: name.clone(),
        field: field(at),
        because: Because::Chosen,
        updates: fields.is_on(&format!("update.{at}")),
    };
    names.iter().enumerate().map(read).collect()
}

/// What is chosen beside the columns.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Choices {
    pub(super) adds: bool,
    pub(super) updates: bool,
    pub(super) all_or_nothing: bool,
    /// As they were typed.
    pub(super) limits: [String; 3],
    pub(super) charset: String,
}

impl Default for Choices {
    fn default() -> Choices {
        Choices { adds: true, updates: true, all_or_nothing: false, limits: Default::default(), charset: String::new() }
    }
}

/// The names of the limits in the form.
pub(super) const LIMITS: [&str; 3] = ["max_new", "max_updated", "max_errors"];

impl Choices {
    pub(super) fn read(fields: &Fields) -> Choices {
        Choices {
            adds: fields.is_on("add"),
            updates: fields.is_on("update"),
            all_or_nothing: fields.get("mode") == "tx",
            limits: LIMITS.map(|name| fields.get(name).to_owned()),
            charset: fields.get("charset").to_owned(),
        }
    }
}

/// The charset that was chosen; blank is what the file says.
pub(super) fn charset_of(word: &str) -> Option<Charset> {
    Charset::ALL.into_iter().find(|charset| charset.as_str() == word)
}

/// The options of the import, or what is wrong with what was chosen.
pub(super) fn options(columns: &[Column], choices: &Choices, schema: &Schema) -> Result<ImportOptions, Mistakes> {
    let mut mistakes = Mistakes::default();
    for (at, column) in columns.iter().enumerate() {
        let place = format!("field.{at}");
        let named = &column.name;
        if column.field == UNKNOWN {
            mistakes.add(place, format!("Say which field “{named}” is, or leave it out."));
        } else if !column.field.is_empty() && schema.by_name(&column.field).is_none() {
            mistakes.add(place, format!("There is no field “{}” in this program any more.", column.field));
        } else if let Some(other) = columns.iter().take(at).find(|one| one.field == column.field)
            && !column.field.is_empty()
        {
            mistakes.add(place, format!("“{}” and “{named}” cannot both be {}.", other.name, column.field));
        }
    }
    let mut limits = [None; 3];
    for ((name, text), limit) in LIMITS.iter().zip(&choices.limits).zip(&mut limits) {
        match text.replace(',', "").parse() {
            _ if text.is_empty() => {}
            Ok(number) => *limit = Some(number),
            Err(_) => mistakes.add(*name, format!("This must be a whole number of rows, or blank; got “{text}”.")),
        }
    }
    if !mistakes.is_empty() {
        return Err(mistakes);
    }
    let new = if choices.adds { New::Add } else { New::Ignore };
    let updating =
        columns.iter().filter(|column| column.updates && schema.by_name(&column.field).is_some_and(can_update));
    let existing = match choices.updates {
        true => Existing::Fields(updating.map(|column| column.field.clone()).collect()),
        false => Existing::Ignore,
    };
    let mode = if choices.all_or_nothing { Mode::Tx } else { Mode::Row };
    let renamed = columns.iter().filter(|column| column.field != column.name);
    let renamed = renamed.filter(|column| !(column.field.is_empty() && is_left_out(&column.name)));
    let [new_max, updated_max, failed_max] = limits;
    Ok(ImportOptions {
        dry_run: true,
        limits: Limits { new_max, updated_max, failed_max },
        form: Form::File { charset: charset_of(&choices.charset) },
        columns: Columns::new(renamed.map(|column| (&column.name, &column.field))),
        ..ImportOptions::new(new, existing, mode)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contact::{FieldNumber, FieldType, ValueType};

    fn schema() -> Schema {
        let text = FieldType::plain(ValueType::String);
        Schema::new([(FieldNumber(32), "major".to_owned(), text), (FieldNumber(33), "crm_id".to_owned(), text)])
    }

    fn suggested(header: &str, remembered: &[(&str, &str)]) -> String {
        let names: Vec<String> = header.split(',').map(str::to_owned).collect();
        let remembered: Vec<(String, String)> =
            remembered.iter().map(|(name, field)| ((*name).to_owned(), (*field).to_owned())).collect();
        let columns = suggest(&names, &schema(), &remembered);
        let told = columns.iter().map(|one| format!("{}={} {}", one.name, one.field, one.because.words()));
        told.map(|one| one.trim_end().to_owned()).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn columns_are_known_by_name_by_memory_and_by_likeness() {
        assert_eq!(
            suggested("customer_id,Mobile #,Given Name,MAJOR,CRM-ID,_row,Notes", &[]),
            "customer_id=customer_id; Mobile #=phone guessed by its name; Given Name=first_name guessed by its name; \
             MAJOR=major guessed by its name; CRM-ID=crm_id guessed by its name; _row=; Notes=? not known"
        );
        assert_eq!(
            suggested("Notes,Mobile,Hobby", &[("Notes", "major"), ("Mobile", ""), ("Hobby", "gone")]),
            "Notes=major as last time; Mobile= as last time; Hobby=? not known"
        );
        assert_eq!(
            suggested("phone,Cell,phone", &[]),
            "phone=phone; Cell=? not known; phone=phone",
            "what the file itself says twice stays to be told as its mistake"
        );
        assert_eq!(suggested("Created At", &[]), "Created At=? not known", "no import changes that one");
    }

    #[test]
    fn what_is_chosen_becomes_options() {
        let names = ["Student", "phone", "Major", "x", "_row"].map(str::to_owned);
        let form = b"field.0=customer_id&update.0=on&field.1=phone&field.2=major&update.2=on&field.3=&update.3=on&field.4=&update=on&mode=tx&max_new=1%2C000&charset=windows-1252";
        let fields = Fields::read(form);
        let options = options(&read_columns(&names, &fields), &Choices::read(&fields), &schema()).expect("right");
        assert_eq!(options.new, New::Ignore);
        assert_eq!(options.existing, Existing::Fields(vec!["customer_id".to_owned(), "major".to_owned()]));
        assert_eq!((options.mode, options.dry_run, options.limits.new_max), (Mode::Tx, true, Some(1_000)));
        assert_eq!(options.form, Form::File { charset: Some(Charset::Windows1252) });
        let columns: Vec<(&str, &str)> = options.columns.pairs().collect();
        assert_eq!(columns, [("Major", "major"), ("Student", "customer_id"), ("x", "")]);
    }

    #[test]
    fn what_nobody_knows_can_be_left_out_at_once() {
        let names = ["phone", "a", "b"].map(str::to_owned);
        let form = "field.0=phone&field.1=%3F&field.2=%3F&add=on";
        let read = |form: &str| {
            let fields = Fields::read(form.as_bytes());
            options(&read_columns(&names, &fields), &Choices::read(&fields), &schema())
        };
        assert_eq!(read(form).expect_err("not known").iter().count(), 2);
        let options = read(&format!("{form}&rest=out")).expect("right");
        assert_eq!(options.columns.pairs().collect::<Vec<_>>(), [("a", ""), ("b", "")]);
    }

    #[test]
    fn what_is_wrong_is_told_where_it_is() {
        let names = ["a", "b", "c"].map(str::to_owned);
        let fields = Fields::read(b"field.0=phone&field.1=phone&field.2=%3F&max_errors=few&max_updated=-1");
        let mistakes = options(&read_columns(&names, &fields), &Choices::read(&fields), &schema()).expect_err("wrong");
        let told: Vec<&str> = mistakes.iter().map(|mistake| mistake.field.as_str()).collect();
        assert_eq!(told, ["field.1", "field.2", "max_updated", "max_errors"]);
    }
}
