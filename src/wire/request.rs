//! The body of `POST /v2/programs/{id}/participants` (contract, section 2): read by the server, written by the client.
//!
//! Reading tells every fault with its JSON pointer, not only the first.

use std::borrow::Cow;
use std::ops::Range;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Number;

use super::json::{Json, JsonFault, read_with_long};
use super::unescaping::keep_unescaped;
use crate::import::{Existing, ImportOptions, Limits, Mode, New};
use crate::problem::{At, Code, Fault};
use crate::tenant::ProgramId;

/// The most faults that are told of one body.
pub(super) const FAULTS_MAX: usize = 1_000;

/// A valid request to import.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ImportRequest {
    /// The four options.
    pub options: ImportOptions,
    /// The CSV, in UTF-8.
    pub participants: Vec<u8>,
}

/// Where the CSV of a body is.
enum Csv {
    /// In the body, with its escapes.
    Within(Range<usize>),
    /// Copied out of it.
    Apart(String),
}

/// Reads a body that was sent to a program's path; all that is wrong with it is told. The CSV takes the body's place in memory.
pub fn read_import(mut body: Vec<u8>, program: ProgramId) -> Result<ImportRequest, Vec<Fault>> {
    let (options, csv) = read_members(&body, program)?;
    let participants = match csv {
        Csv::Apart(text) => text.into_bytes(),
        Csv::Within(inside) => {
            keep_unescaped(&mut body, inside).ok_or_else(|| json_faults(half_a_pair()))?;
            body
        }
    };
    Ok(ImportRequest { options, participants })
}

fn read_members(body: &[u8], program: ProgramId) -> Result<(ImportOptions, Csv), Vec<Fault>> {
    let document = read_with_long(body, "participants").map_err(json_faults)?;
    let mut faults = Faults::default();
    let Json::Object(members) = document else {
        faults.wrong_type("", "an object", &document);
        return Err(faults.0);
    };
    let (mut named, mut options, mut participants) = (None, None, None);
    for (name, value) in members {
        match &*name {
            "program" => named = Some(value),
            "options" => options = Some(value),
            "participants" => participants = Some(value),
            // Given clients send other members too.
            _ => {}
        }
    }
    faults.program(named, program);
    let options = faults.options(options);
    let csv = faults.participants(participants, body);
    match (options, csv) {
        (Some(options), Some(csv)) if faults.0.is_empty() => Ok((options, csv)),
        _ => Err(faults.0),
    }
}

/// The body of an import as a client writes it. What the server reads is [`read_import`]: it tells every fault.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Import")]
pub struct ImportBody<'a> {
    /// The program's id, as in the path.
    #[schemars(extend("format" = "uuid"))]
    program: &'a str,
    options: OptionsJson<'a>,
    /// The CSV file.
    participants: &'a str,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Options", extend("additionalProperties" = false))]
struct OptionsJson<'a> {
    /// What becomes of rows whose contact the program does not have.
    #[schemars(extend("enum" = ["add", "ignore"]))]
    new: &'static str,
    /// What becomes of rows whose contact the program has: `ignore`, or the fields that they change.
    existing: ExistingJson<'a>,
    /// `row`: as many rows as possible; with more than 1,000 errors nothing. `tx`: all or nothing.
    #[schemars(extend("enum" = [Mode::Row.as_str(), Mode::Tx.as_str()]))]
    mode: &'static str,
    /// What becomes of contacts that the file does not have: nothing.
    #[schemars(extend("const" = "ignore"))]
    absent: &'static str,
    /// The same result, but nothing is changed.
    // Left out where it says nothing: services that do not know it refuse it. So are the limits.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schemars(default)]
    dry_run: bool,
    /// In rows; a count above its limit changes nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    limits: Option<LimitsJson>,
}

#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
enum ExistingJson<'a> {
    Word(#[schemars(extend("const" = "ignore"))] &'static str),
    Fields(&'a [String]),
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Limits", extend("additionalProperties" = false))]
struct LimitsJson {
    /// Of contacts that are added.
    #[serde(skip_serializing_if = "Option::is_none")]
    max_new: Option<u64>,
    /// Of contacts that are changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    max_updated: Option<u64>,
    /// Of rows that fail.
    #[serde(skip_serializing_if = "Option::is_none")]
    max_errors: Option<u64>,
}

/// Writes the body of an import, as a client sends it.
pub fn write_import(program: &str, options: &ImportOptions, participants: &str) -> String {
    let ImportOptions { new, existing, mode, dry_run, limits, form: _, columns: _ } = options;
    let existing = match existing {
        Existing::Ignore => ExistingJson::Word("ignore"),
        Existing::Fields(names) => ExistingJson::Fields(names),
    };
    let new = match new {
        New::Add => "add",
        New::Ignore => "ignore",
    };
    let Limits { new_max: max_new, updated_max: max_updated, failed_max: max_errors } = *limits;
    let limits = (*limits != Limits::default()).then_some(LimitsJson { max_new, max_updated, max_errors });
    let options = OptionsJson { new, existing, mode: mode.as_str(), absent: "ignore", dry_run: *dry_run, limits };
    // Writing text and numbers into memory does not fail.
    serde_json::to_string(&ImportBody { program, options, participants }).unwrap_or_default()
}

/// It was looked for while the document was read, and its place told; so nobody is told this.
fn half_a_pair() -> JsonFault {
    JsonFault::Bad { line: 1, column: 0, detail: "a \\u escape is half of a surrogate pair".to_owned() }
}

/// The names of the limits, in the order of [`Limits`].
pub(super) const LIMITS: [&str; 3] = ["maxNew", "maxUpdated", "maxErrors"];

fn json_faults(fault: JsonFault) -> Vec<Fault> {
    match fault {
        JsonFault::Bad { line, column, detail } => {
            let detail = format!("The body is no JSON document at line {line}, column {column}: {detail}");
            vec![Fault { at: At::Pointer(String::new()), code: Code::BadJson, detail }]
        }
        JsonFault::DuplicateKeys(pointers) => pointers
            .into_iter()
            .map(|pointer| {
                let detail = "The object has this key more than once; send it once".to_owned();
                Fault { at: At::Pointer(pointer), code: Code::DuplicateKey, detail }
            })
            .collect(),
    }
}

/// The faults found so far.
#[derive(Default)]
struct Faults(Vec<Fault>);

impl Faults {
    /// A body of a million faults is not to be answered with all of them.
    fn add(&mut self, pointer: &str, code: Code, detail: String) {
        if self.0.len() >= FAULTS_MAX {
            return;
        }
        self.0.push(Fault { at: At::Pointer(pointer.to_owned()), code, detail });
    }

    fn missing(&mut self, pointer: &str, right: &str) {
        self.add(pointer, Code::MissingMember, format!("The member is missing; send {right}"));
    }

    fn wrong_type(&mut self, pointer: &str, right: &str, got: &Json<'_>) {
        self.add(pointer, Code::WrongType, format!("This is {}; send {right}", with_article(got.kind())));
    }

    fn unknown_value(&mut self, pointer: &str, right: &str, got: &str) {
        self.add(pointer, Code::UnknownValue, format!("The value is '{}'; send {right}", shortened(got)));
    }

    fn program(&mut self, value: Option<Json<'_>>, program: ProgramId) {
        const POINTER: &str = "/program";
        match value {
            None => self.missing(POINTER, "the program's id, as in the path"),
            Some(Json::String(named)) if ProgramId::parse(&named) == Some(program) => {}
            Some(Json::String(named)) => {
                let detail =
                    format!("The body names the program '{}', the path {program}; send the same", shortened(&named));
                self.add(POINTER, Code::ProgramMismatch, detail);
            }
            Some(other) => self.wrong_type(POINTER, "the program's id as a string", &other),
        }
    }

    fn participants(&mut self, value: Option<Json<'_>>, body: &[u8]) -> Option<Csv> {
        const POINTER: &str = "/participants";
        match value {
            None => self.missing(POINTER, "the CSV file as a string"),
            Some(Json::Escaped(inside)) => {
                let start = inside.as_ptr().addr() - body.as_ptr().addr();
                return Some(Csv::Within(start..start + inside.len()));
            }
            Some(Json::String(text)) => return Some(Csv::Apart(text.into_owned())),
            Some(other) => self.wrong_type(POINTER, "the CSV file as a string", &other),
        }
        None
    }

    fn options(&mut self, value: Option<Json<'_>>) -> Option<ImportOptions> {
        const POINTER: &str = "/options";
        const RIGHT: &str = "an object with the members new, existing, mode and absent";
        let members = match value {
            None => {
                self.missing(POINTER, RIGHT);
                return None;
            }
            Some(Json::Object(members)) => members,
            Some(other) => {
                self.wrong_type(POINTER, RIGHT, &other);
                return None;
            }
        };
        let member = |name: &str| members.iter().find(|(member, _)| member == name).map(|(_, value)| value);
        let new = self.word("/options/new", member("new"), &[("add", New::Add), ("ignore", New::Ignore)]);
        let existing = self.existing(member("existing"));
        let mode = self.word("/options/mode", member("mode"), &[("row", Mode::Row), ("tx", Mode::Tx)]);
        let absent = self.word("/options/absent", member("absent"), &[("ignore", ())]);
        let dry_run = self.dry_run(member("dryRun"));
        let limits = self.limits(member("limits"));
        self.unknown(POINTER, &members, &["new", "existing", "mode", "absent", "dryRun", "limits"], "option");
        absent?;
        Some(ImportOptions { dry_run: dry_run?, limits: limits?, ..ImportOptions::new(new?, existing?, mode?) })
    }

    fn unknown(&mut self, pointer: &str, members: &[(Cow<'_, str>, Json<'_>)], known: &[&str], what: &str) {
        for (name, _) in members.iter().filter(|(name, _)| !known.contains(&&**name)) {
            let pointer = format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"));
            self.add(&pointer, Code::UnknownMember, format!("There is no such {what}; leave it out"));
        }
    }

    fn dry_run(&mut self, value: Option<&Json<'_>>) -> Option<bool> {
        match value {
            None => Some(false),
            Some(Json::Bool(dry_run)) => Some(*dry_run),
            Some(other) => {
                self.wrong_type("/options/dryRun", "true or false", other);
                None
            }
        }
    }

    fn limits(&mut self, value: Option<&Json<'_>>) -> Option<Limits> {
        const POINTER: &str = "/options/limits";
        let members = match value {
            None => return Some(Limits::default()),
            Some(Json::Object(members)) => members,
            Some(other) => {
                self.wrong_type(POINTER, "an object with maxNew, maxUpdated or maxErrors", other);
                return None;
            }
        };
        self.unknown(POINTER, members, &LIMITS, "limit");
        let [new_max, updated_max, failed_max] = LIMITS.map(|name| {
            let value = members.iter().find(|(member, _)| member == name).map(|(_, value)| value);
            self.limit(&format!("{POINTER}/{name}"), value)
        });
        Some(Limits { new_max: new_max?, updated_max: updated_max?, failed_max: failed_max? })
    }

    /// `None`: it is wrong. `Some(None)`: it is not there.
    fn limit(&mut self, pointer: &str, value: Option<&Json<'_>>) -> Option<Option<u64>> {
        const RIGHT: &str = "a whole number of rows, 0 or more";
        match value {
            None => return Some(None),
            Some(Json::Number(number)) => match whole(number) {
                Some(most) => return Some(Some(most)),
                None => self.unknown_value(pointer, RIGHT, &number.to_string()),
            },
            Some(other) => self.wrong_type(pointer, RIGHT, other),
        }
        None
    }

    fn word<T: Copy>(&mut self, pointer: &str, value: Option<&Json<'_>>, words: &[(&str, T)]) -> Option<T> {
        let right = words.iter().map(|(word, _)| format!("'{word}'")).collect::<Vec<_>>().join(" or ");
        match value {
            None => self.missing(pointer, &right),
            Some(Json::String(got)) => match words.iter().find(|(word, _)| word == got) {
                Some((_, meaning)) => return Some(*meaning),
                None => self.unknown_value(pointer, &right, got),
            },
            Some(other) => self.wrong_type(pointer, &right, other),
        }
        None
    }

    fn existing(&mut self, value: Option<&Json<'_>>) -> Option<Existing> {
        const POINTER: &str = "/options/existing";
        const RIGHT: &str = "'ignore' or an array of field names";
        match value {
            None => self.missing(POINTER, RIGHT),
            Some(Json::String(word)) if word == "ignore" => return Some(Existing::Ignore),
            Some(Json::String(word)) => self.unknown_value(POINTER, RIGHT, word),
            Some(Json::Array(names)) => return self.names(POINTER, names),
            Some(other) => self.wrong_type(POINTER, RIGHT, other),
        }
        None
    }

    fn names(&mut self, pointer: &str, values: &[Json<'_>]) -> Option<Existing> {
        let before = self.0.len();
        let mut names = Vec::with_capacity(values.len());
        for (value, at) in values.iter().zip(0..) {
            match value.as_str() {
                Some(name) => names.push(name.to_owned()),
                None if self.0.len() < FAULTS_MAX => {
                    self.wrong_type(&format!("{pointer}/{at}"), "a field's name as a string", value);
                }
                None => break,
            }
        }
        (self.0.len() == before).then_some(Existing::Fields(names))
    }
}

/// A number without a fraction, however it is spelled.
fn whole(number: &Number) -> Option<u64> {
    // As far as doubles are exact.
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    let float = || number.as_f64().filter(|float| float.fract() == 0.0 && (0.0..=EXACT_MAX).contains(float));
    number.as_u64().or_else(|| float().map(|float| float as u64))
}

fn with_article(kind: &str) -> String {
    match kind {
        "array" | "object" => format!("an {kind}"),
        "null" => kind.to_owned(),
        _ => format!("a {kind}"),
    }
}

/// What a fault repeats of a value: enough to recognise it.
pub(super) fn shortened(text: &str) -> String {
    let short: String = text.chars().take(100).collect();
    if short.len() < text.len() { format!("{short}…") } else { short }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    const PROGRAM: &str = "0198c9a2-7e5b-7d50-8000-000000000001";

    fn text(csv: Vec<u8>) -> String {
        String::from_utf8(csv).expect("UTF-8")
    }

    fn check(body: &str, expected: Expect) {
        let program = ProgramId::parse(PROGRAM).expect("an id");
        let table = match read_import(body.replace("PROGRAM", PROGRAM).into(), program) {
            Ok(ImportRequest { options, participants }) => format!("{options:?} {:?}\n", text(participants)),
            Err(faults) => faults
                .iter()
                .map(|Fault { at, code, detail }| match at {
                    At::Pointer(pointer) => format!("{pointer:?} {}: {detail}\n", code.entry().word),
                    At::Parameter(name) => format!("parameter {name}: {detail}\n"),
                })
                .collect(),
        };
        expected.assert_eq(&table);
    }

    #[test]
    fn a_valid_body_is_read() {
        check(
            r#"{"program":"PROGRAM","more":1,"options":{"new":"add","existing":["a","b"],"mode":"row","absent":"ignore"},"participants":"a,b\n"}"#,
            expect![[r#"
                ImportOptions { new: Add, existing: Fields(["a", "b"]), mode: Row, dry_run: false, limits: Limits { new_max: None, updated_max: None, failed_max: None }, form: Json, columns: Columns({}) } "a,b\n"
            "#]],
        );
        check(
            r#"{"program":"0198C9A2-7E5B-7D50-8000-000000000001","options":{"new":"ignore","existing":"ignore","mode":"tx","absent":"ignore"},"participants":""}"#,
            expect![[r#"
                ImportOptions { new: Ignore, existing: Ignore, mode: Tx, dry_run: false, limits: Limits { new_max: None, updated_max: None, failed_max: None }, form: Json, columns: Columns({}) } ""
            "#]],
        );
    }

    #[test]
    fn every_fault_is_told_with_its_place() {
        check(
            "{}",
            expect![[r#"
            "/program" missing_member: The member is missing; send the program's id, as in the path
            "/options" missing_member: The member is missing; send an object with the members new, existing, mode and absent
            "/participants" missing_member: The member is missing; send the CSV file as a string
        "#]],
        );
        check(
            "[1]",
            expect![[r#"
            "" wrong_type: This is an array; send an object
        "#]],
        );
        check(
            "{\"program\": \"x\", \"options\": {\"new\": 1, \"existing\": \"all\", \"absent\": \"remove\", \"dryRun\": true, \"a/b\": 1}, \"participants\": [\"a\"]}",
            expect![[r#"
                "/program" program_mismatch: The body names the program 'x', the path 0198c9a2-7e5b-7d50-8000-000000000001; send the same
                "/options/new" wrong_type: This is a number; send 'add' or 'ignore'
                "/options/existing" unknown_value: The value is 'all'; send 'ignore' or an array of field names
                "/options/mode" missing_member: The member is missing; send 'row' or 'tx'
                "/options/absent" unknown_value: The value is 'remove'; send 'ignore'
                "/options/a~1b" unknown_member: There is no such option; leave it out
                "/participants" wrong_type: This is an array; send the CSV file as a string
            "#]],
        );
        check(
            r#"{"program":7,"options":{"new":"Add","existing":["a",1,null],"mode":["row"],"absent":null},"participants":null}"#,
            expect![[r#"
                "/program" wrong_type: This is a number; send the program's id as a string
                "/options/new" unknown_value: The value is 'Add'; send 'add' or 'ignore'
                "/options/existing/1" wrong_type: This is a number; send a field's name as a string
                "/options/existing/2" wrong_type: This is null; send a field's name as a string
                "/options/mode" wrong_type: This is an array; send 'row' or 'tx'
                "/options/absent" wrong_type: This is null; send 'ignore'
                "/participants" wrong_type: This is null; send the CSV file as a string
            "#]],
        );
        check(
            r#"{"program":"PROGRAM","options":"none","participants":"a"}"#,
            expect![[r#"
            "/options" wrong_type: This is a string; send an object with the members new, existing, mode and absent
        "#]],
        );
    }

    #[test]
    fn a_dry_run_and_limits_are_read_or_told_wrong() {
        check(
            r#"{"program":"PROGRAM","options":{"new":"add","existing":"ignore","mode":"row","absent":"ignore","dryRun":true,"limits":{"maxNew":0,"maxErrors":5.0}},"participants":"a"}"#,
            expect![[r#"
                ImportOptions { new: Add, existing: Ignore, mode: Row, dry_run: true, limits: Limits { new_max: Some(0), updated_max: None, failed_max: Some(5) }, form: Json, columns: Columns({}) } "a"
            "#]],
        );
        check(
            r#"{"program":"PROGRAM","options":{"new":"add","existing":"ignore","mode":"row","absent":"ignore","dryRun":"yes","limits":{"maxNew":-1,"maxUpdated":1.5,"maxErrors":"5","maxRows":1}},"participants":"a"}"#,
            expect![[r#"
                "/options/dryRun" wrong_type: This is a string; send true or false
                "/options/limits/maxRows" unknown_member: There is no such limit; leave it out
                "/options/limits/maxNew" unknown_value: The value is '-1'; send a whole number of rows, 0 or more
                "/options/limits/maxUpdated" unknown_value: The value is '1.5'; send a whole number of rows, 0 or more
                "/options/limits/maxErrors" wrong_type: This is a string; send a whole number of rows, 0 or more
            "#]],
        );
        check(
            r#"{"program":"PROGRAM","options":{"new":"add","existing":"ignore","mode":"row","absent":"ignore","dryRun":null,"limits":[]},"participants":"a"}"#,
            expect![[r#"
                "/options/dryRun" wrong_type: This is null; send true or false
                "/options/limits" wrong_type: This is an array; send an object with maxNew, maxUpdated or maxErrors
            "#]],
        );
    }

    #[test]
    fn what_is_no_json_and_what_has_a_key_twice_is_refused() {
        check(
            "",
            expect![[r#"
            "" bad_json: The body is no JSON document at line 1, column 0: the body is empty; a JSON document was expected
        "#]],
        );
        check(
            "{\"program\":",
            expect![[r#"
            "" bad_json: The body is no JSON document at line 1, column 11: EOF while parsing a value
        "#]],
        );
        check(
            r#"{"program":"PROGRAM","participants":"\ud800"}"#,
            expect![[r#"
            "" bad_json: The body is no JSON document at line 1, column 73: a \u escape is half of a surrogate pair
        "#]],
        );
        check(
            r#"{"a":{"b":[{"c":1,"c":2}]},"a":1}"#,
            expect![[r#"
            "/a/b/0/c" duplicate_key: The object has this key more than once; send it once
            "/a" duplicate_key: The object has this key more than once; send it once
        "#]],
        );
    }

    #[test]
    fn what_the_client_writes_the_server_reads() {
        let options = ImportOptions::new(New::Ignore, Existing::Fields(vec!["a".to_owned()]), Mode::Tx);
        let body = write_import(PROGRAM, &options, "a\nÄ,\"\n");
        let program = ProgramId::parse(PROGRAM).expect("an id");
        let body = body.into_bytes();
        let place = body.as_ptr();
        let request = read_import(body, program).expect("valid");
        assert_eq!(request.participants.as_ptr(), place, "where the body was, and no copy");
        assert_eq!(request, ImportRequest { options: options.clone(), participants: "a\nÄ,\"\n".into() });
        let limits = Limits { new_max: Some(1), updated_max: Some(0), failed_max: None };
        let options = ImportOptions { dry_run: true, limits, ..options };
        let body = write_import(PROGRAM, &options, "");
        assert_eq!(read_import(body.into(), program).expect("valid").options, options);
    }
}
