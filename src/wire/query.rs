//! The options of an import that is sent as a file (contract, section 2): in the query, by the same names as in JSON. Read by the server,
//! written by the client; reading tells every fault.

use form_urlencoded::Serializer;

use super::request::{FAULTS_MAX, LIMITS, shortened};
use crate::import::{Columns, Existing, Form, ImportOptions, Limits, Mode, New};
use crate::problem::{At, Code, Fault};

/// Reads the options from the parameters of a query; all that is wrong with them is told.
pub fn read_options(parameters: &[(String, String)], form: Form) -> Result<ImportOptions, Vec<Fault>> {
    let mut query = Query { parameters, faults: Vec::new() };
    query.look_at_names();
    let new = query.word("new", &[("add", New::Add), ("ignore", New::Ignore)]);
    let existing = query.existing();
    let mode = query.word("mode", &[("row", Mode::Row), ("tx", Mode::Tx)]);
    if query.get("absent").is_some() {
        query.word("absent", &[("ignore", ())]);
    }
    let dry_run = match query.get("dryRun") {
        Some(_) => query.word("dryRun", &[("true", true), ("false", false)]),
        None => Some(false),
    };
    let [new_max, updated_max, failed_max] = LIMITS.map(|name| query.limit(name));
    match (new, existing, mode, dry_run) {
        (Some(new), Some(existing), Some(mode), Some(dry_run)) if query.faults.is_empty() => {
            let limits = Limits { new_max, updated_max, failed_max };
            let columns = Columns::default();
            Ok(ImportOptions { new, existing, mode, dry_run, limits, form, columns })
        }
        _ => Err(query.faults),
    }
}

/// Writes the options as a query, without the question mark. (Other names for columns are not in the contract: a client gives its file
/// other names.)
pub fn write_options(options: &ImportOptions) -> String {
    let ImportOptions { new, existing, mode, dry_run, limits, form: _, columns: _ } = options;
    let existing = match existing {
        Existing::Ignore => "ignore".to_owned(),
        Existing::Fields(names) => names.join(","),
    };
    let new = match new {
        New::Add => "add",
        New::Ignore => "ignore",
    };
    let mut query = Serializer::new(String::new());
    query.append_pair("new", new).append_pair("existing", &existing).append_pair("mode", mode.as_str());
    if *dry_run {
        query.append_pair("dryRun", "true");
    }
    let Limits { new_max, updated_max, failed_max } = *limits;
    for (name, most) in LIMITS.into_iter().zip([new_max, updated_max, failed_max]) {
        if let Some(most) = most {
            query.append_pair(name, &most.to_string());
        }
    }
    query.finish()
}

/// The parameters, and the faults found so far.
struct Query<'a> {
    parameters: &'a [(String, String)],
    faults: Vec<Fault>,
}

impl<'a> Query<'a> {
    fn get(&self, name: &str) -> Option<&'a str> {
        self.parameters.iter().find(|(at, _)| at == name).map(|(_, value)| value.as_str())
    }

    fn add(&mut self, name: &str, code: Code, detail: String) {
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(Fault { at: At::Parameter(shortened(name)), code, detail });
        }
    }

    /// Each parameter is known, and stands once.
    fn look_at_names(&mut self) {
        const KNOWN: [&str; 5] = ["new", "existing", "mode", "absent", "dryRun"];
        let mut seen: Vec<&str> = Vec::with_capacity(KNOWN.len() + LIMITS.len());
        for (name, _) in self.parameters {
            if !KNOWN.contains(&name.as_str()) && !LIMITS.contains(&name.as_str()) {
                self.add(name, Code::UnknownMember, "There is no such option; leave it out".to_owned());
            } else if seen.contains(&name.as_str()) {
                self.add(
                    name,
                    Code::DuplicateKey,
                    "The query has this parameter more than once; send it once".to_owned(),
                );
            } else {
                seen.push(name);
            }
        }
    }

    fn missing(&mut self, name: &str, right: &str) {
        self.add(name, Code::MissingMember, format!("The parameter is missing; send {right}"));
    }

    fn unknown_value(&mut self, name: &str, right: &str, got: &str) {
        self.add(name, Code::UnknownValue, format!("The value is '{}'; send {right}", shortened(got)));
    }

    fn word<T: Copy>(&mut self, name: &str, words: &[(&str, T)]) -> Option<T> {
        let right = words.iter().map(|(word, _)| format!("'{word}'")).collect::<Vec<_>>().join(" or ");
        let Some(got) = self.get(name) else {
            self.missing(name, &right);
            return None;
        };
        let found = words.iter().find(|(word, _)| *word == got).map(|(_, meaning)| *meaning);
        if found.is_none() {
            self.unknown_value(name, &right, got);
        }
        found
    }

    /// `ignore`, or names with commas between them; nothing is an empty list.
    fn existing(&mut self) -> Option<Existing> {
        match self.get("existing") {
            None => {
                self.missing("existing", "'ignore', or names of fields with commas between them");
                None
            }
            Some("ignore") => Some(Existing::Ignore),
            Some("") => Some(Existing::Fields(Vec::new())),
            Some(names) => Some(Existing::Fields(names.split(',').map(str::to_owned).collect())),
        }
    }

    /// `None`: it is wrong, or not there.
    fn limit(&mut self, name: &str) -> Option<u64> {
        let got = self.get(name)?;
        let is_number = !got.is_empty() && got.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number {
            self.unknown_value(name, "a whole number of rows, 0 or more", got);
            return None;
        }
        // What is beyond 64 bits is as good as the highest number.
        Some(got.parse().unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn read(query: &str) -> Result<ImportOptions, Vec<Fault>> {
        let pairs: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        read_options(&pairs, Form::Json)
    }

    fn check_faults(query: &str, expected: Expect) {
        let faults = read(query).expect_err("faults");
        let lines: Vec<String> = faults
            .iter()
            .map(|Fault { at, code, detail }| match at {
                At::Parameter(name) => format!("{name} {}: {detail}\n", code.entry().word),
                At::Pointer(pointer) => format!("in the body at {pointer}\n"),
            })
            .collect();
        expected.assert_eq(&lines.concat());
    }

    #[test]
    fn what_is_written_is_read() {
        for existing in [
            Existing::Ignore,
            Existing::Fields(vec![]),
            Existing::Fields(vec!["a".to_owned()]),
            Existing::Fields(vec!["a b".to_owned(), "ä&=+%".to_owned()]),
        ] {
            for (new, mode, dry_run) in [(New::Add, Mode::Row, false), (New::Ignore, Mode::Tx, true)] {
                let limits = Limits { new_max: Some(0), updated_max: None, failed_max: Some(u64::MAX) };
                let plain = ImportOptions::new(new, existing.clone(), mode);
                for options in [ImportOptions { dry_run, limits, ..plain.clone() }, plain] {
                    assert_eq!(read(&write_options(&options)).as_ref(), Ok(&options), "{}", write_options(&options));
                }
            }
        }
        let options = ImportOptions::new(New::Add, Existing::Fields(vec!["a".to_owned(), "b".to_owned()]), Mode::Row);
        assert_eq!(read("new=add&existing=a,b&mode=row&absent=ignore&dryRun=false").as_ref(), Ok(&options));
        assert_eq!(read("mode=row&existing=a%2Cb&new=add").as_ref(), Ok(&options));
    }

    #[test]
    fn every_fault_is_told_with_its_parameter() {
        check_faults(
            "",
            expect![[r#"
                new missing_member: The parameter is missing; send 'add' or 'ignore'
                existing missing_member: The parameter is missing; send 'ignore', or names of fields with commas between them
                mode missing_member: The parameter is missing; send 'row' or 'tx'
            "#]],
        );
        check_faults(
            "new=all&existing=a&mode=ROW&absent=remove&dryRun=yes&maxNew=-1&maxUpdated=&maxErrors=1.5&maxnew=1&mode=tx&=",
            expect![[r#"
                maxnew unknown_member: There is no such option; leave it out
                mode duplicate_key: The query has this parameter more than once; send it once
                 unknown_member: There is no such option; leave it out
                new unknown_value: The value is 'all'; send 'add' or 'ignore'
                mode unknown_value: The value is 'ROW'; send 'row' or 'tx'
                absent unknown_value: The value is 'remove'; send 'ignore'
                dryRun unknown_value: The value is 'yes'; send 'true' or 'false'
                maxNew unknown_value: The value is '-1'; send a whole number of rows, 0 or more
                maxUpdated unknown_value: The value is ''; send a whole number of rows, 0 or more
                maxErrors unknown_value: The value is '1.5'; send a whole number of rows, 0 or more
            "#]],
        );
    }
}
