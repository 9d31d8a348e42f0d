//! Other names for the columns of a file: a small TOML file says which field of the program each column is. Only the header is
//! written anew; no row is touched, so their numbers stay.
//!
//! Whoever maps columns wants to be told when the other side changes them. So a column that the map names and the file lacks is an
//! error, and so are two columns that would be one field.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;

use crate::import::{Head, ROW_COLUMN};

use super::failure::Failure;
use super::output::escape;
use super::source::Source;

/// A map is a few lines; what is larger is another file.
const MAP_BYTES_MAX: u64 = 1 << 20;
/// How alike a name must be to be taken for the one that was meant, from 0 to 1.
const ALIKE_LEAST: f64 = 0.4;
/// The most columns that are listed where none is like it.
const COLUMNS_SHOWN: usize = 20;

/// Which field each column is, by the names of the columns.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct ColumnMap(BTreeMap<String, String>);

/// The form with a heading.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Headed {
    columns: BTreeMap<String, String>,
}

impl ColumnMap {
    /// Reads a map.
    pub(super) fn read(path: &Path) -> Result<ColumnMap, Failure> {
        let wrong = |why: String| Failure::yours(format!("{}: {why}", path.display()));
        let bytes = fs::metadata(path).map_err(|error| wrong(error.to_string()))?.len();
        if bytes > MAP_BYTES_MAX {
            return Err(wrong(format!("{bytes} bytes are no map of columns; the file to import is the argument")));
        }
        let text = fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
        ColumnMap::parse(&text).map_err(wrong)
    }

    fn parse(text: &str) -> Result<ColumnMap, String> {
        let in_words = |error: toml::de::Error| {
            let text = error.to_string();
            format!("{}\nA map has a line for each column, like: \"Student ID\" = \"customer_id\"", text.trim_end())
        };
        let table: toml::Table = toml::from_str(text).map_err(in_words)?;
        let is_headed = table.get("columns").is_some_and(toml::Value::is_table);
        let lines: BTreeMap<String, String> = if is_headed {
            toml::from_str::<Headed>(text).map_err(in_words)?.columns
        } else {
            toml::from_str(text).map_err(in_words)?
        };
        let mut columns: BTreeMap<String, String> = BTreeMap::new();
        for (column, field) in lines {
            let (column, field) = (column.trim().to_owned(), field.trim().to_owned());
            if field.is_empty() {
                return Err(format!(
                    "'{}' is mapped to nothing; to leave a column out, give it a name that begins with '_'",
                    escape(&column)
                ));
            }
            if field == ROW_COLUMN {
                return Err(format!(
                    "'{}' is mapped to '{ROW_COLUMN}', which marks a file of corrected rows; take another name",
                    escape(&column)
                ));
            }
            let other = columns.iter().find(|(_, known)| **known == field && !is_left_out(&field));
            if let Some((other, _)) = other {
                return Err(format!(
                    "'{}' and '{}' are both mapped to '{}'",
                    escape(other),
                    escape(&column),
                    escape(&field)
                ));
            }
            if columns.insert(column.clone(), field).is_some() {
                return Err(format!("'{}' stands there twice", escape(&column)));
            }
        }
        Ok(ColumnMap(columns))
    }

    /// The file with its columns named as the map says, and these names.
    pub(super) fn apply(&self, file: &Source, head: &Head) -> Result<(Source, Vec<String>), Failure> {
        // Rows that failed and were corrected: they come back with the names that they were given.
        let is_mapped_already = head.names.iter().any(|name| name == ROW_COLUMN)
            && !self.0.keys().any(|column| head.names.contains(column));
        if is_mapped_already {
            return Ok((file.clone(), head.names.clone()));
        }
        let names = self.names(head).map_err(|faults| {
            Failure::yours(format!("the columns cannot be mapped: {}", faults.join("\n  ")))
                .with_remedy("Correct the map, or have the file's header corrected; nothing was sent.")
        })?;
        let header = head.with_names(&names).ok_or_else(|| {
            let charset = head.dialect.charset.as_str();
            Failure::yours(format!("the columns cannot be mapped: {charset} has not all characters of the new names"))
        })?;
        Ok((file.with_head(header, head.bytes), names))
    }

    /// The new names of all columns, or all that is wrong.
    fn names(&self, head: &Head) -> Result<Vec<String>, Vec<String>> {
        if head.names.is_empty() {
            return Err(vec!["the file has no header".to_owned()]);
        }
        let mut faults: Vec<String> = head
            .stray
            .iter()
            .map(|at| format!("text follows a closing quote in column {} of the header", at + 1))
            .collect();
        let missing = self.0.keys().filter(|column| !head.names.contains(column));
        faults
            .extend(missing.map(|column| {
                format!("the file has no column '{}'; {}", escape(column), nearest(column, &head.names))
            }));
        let renamed = |name: &String| self.0.get(name).unwrap_or(name).clone();
        let names: Vec<String> = head.names.iter().map(renamed).collect();
        for (at, name) in names.iter().enumerate() {
            let Some(first) = names[..at].iter().position(|earlier| earlier == name) else { continue };
            let is_ours = [first, at].iter().any(|at| self.0.contains_key(&head.names[*at]));
            if is_ours && !is_left_out(name) {
                let both = [first, at].map(|at| format!("{} ('{}')", at + 1, escape(&head.names[at])));
                faults.push(format!("the columns {} and {} would both be '{}'", both[0], both[1], escape(name)));
            }
        }
        if faults.is_empty() { Ok(names) } else { Err(faults) }
    }
}

/// The service looks at no column of such a name.
fn is_left_out(name: &str) -> bool {
    name.starts_with('_')
}

/// The column that was meant, or those that there are.
fn nearest(wanted: &str, names: &[String]) -> String {
    let alike = |name: &String| strsim::normalized_damerau_levenshtein(&wanted.to_lowercase(), &name.to_lowercase());
    let best = names.iter().map(|name| (alike(name), name)).max_by(|a, b| a.0.total_cmp(&b.0));
    if let Some((_, name)) = best.filter(|(alike, _)| *alike >= ALIKE_LEAST) {
        return format!("the nearest is '{}'", escape(name));
    }
    let shown: Vec<String> = names.iter().take(COLUMNS_SHOWN).map(|name| format!("'{}'", escape(name))).collect();
    let more = if names.len() > COLUMNS_SHOWN { ", …" } else { "" };
    format!("it has {}{more}", shown.join(", "))
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check_map(text: &str, expected: Expect) {
        let told = match ColumnMap::parse(text) {
            Ok(map) => map.0.iter().map(|(column, field)| format!("{column} -> {field}\n")).collect(),
            Err(why) => why,
        };
        expected.assert_eq(&told);
    }

    #[test]
    fn a_map_is_flat_or_headed() {
        let flat =
            "# ours\n\"Student ID\" = \"customer_id\"\nHandy = 'phone'\n\" Notes \" = \"_notes\"\n\"\" = \"_notes\"\n";
        let expected = [("", "_notes"), ("Handy", "phone"), ("Notes", "_notes"), ("Student ID", "customer_id")];
        let expected = expected.map(|(column, field)| (column.to_owned(), field.to_owned())).into();
        assert_eq!(ColumnMap::parse(flat), Ok(ColumnMap(expected)));
        assert_eq!(ColumnMap::parse(&format!("[columns]\n{flat}")), ColumnMap::parse(flat));
        assert_eq!(ColumnMap::parse(""), Ok(ColumnMap(BTreeMap::new())));
        // A column of that name.
        check_map(
            "columns = \"note\"",
            expect![[r#"
            columns -> note
        "#]],
        );
    }

    #[test]
    fn what_is_wrong_with_a_map_is_told_with_its_line() {
        check_map(
            "a = \"b\"\nStudent ID = \"customer_id\"\n",
            expect![[r#"
            TOML parse error at line 2, column 9
              |
            2 | Student ID = "customer_id"
              |         ^
            key with no value, expected `=`
            A map has a line for each column, like: "Student ID" = "customer_id""#]],
        );
        check_map(
            "a = \"b\"\nb = 1\n",
            expect![[r#"
            TOML parse error at line 2, column 5
              |
            2 | b = 1
              |     ^
            invalid type: integer `1`, expected a string
            A map has a line for each column, like: "Student ID" = "customer_id""#]],
        );
        check_map(
            "a = \"b\"\n[more]\nc = \"d\"\n",
            expect![[r#"
            TOML parse error at line 2, column 1
              |
            2 | [more]
              | ^^^^^^
            invalid type: map, expected a string
            A map has a line for each column, like: "Student ID" = "customer_id""#]],
        );
        check_map(
            "x = \"y\"\n[columns]\na = \"b\"\n",
            expect![[r#"
            TOML parse error at line 1, column 1
              |
            1 | x = "y"
              | ^
            unknown field `x`, expected `columns`
            A map has a line for each column, like: "Student ID" = "customer_id""#]],
        );
        check_map(
            "a = \"b\"\na = \"c\"\n",
            expect![[r#"
            TOML parse error at line 2, column 1
              |
            2 | a = "c"
              | ^
            duplicate key
            A map has a line for each column, like: "Student ID" = "customer_id""#]],
        );
        check_map("a = \"b\"\n\"a \" = \"c\"\n", expect!["'a' stands there twice"]);
        check_map("a = \"phone\"\nb = \"phone\"\n", expect!["'a' and 'b' are both mapped to 'phone'"]);
        check_map(
            "a = \"_row\"\n",
            expect!["'a' is mapped to '_row', which marks a file of corrected rows; take another name"],
        );
        check_map(
            "a = \" \"\n",
            expect!["'a' is mapped to nothing; to leave a column out, give it a name that begins with '_'"],
        );
    }

    fn check(map: &str, csv: &str, expected: Expect) {
        let map = ColumnMap::parse(map).expect("a map");
        let source = Source::of_text(csv);
        let told = match map.apply(&source, &source.head(None).expect("a head")) {
            Ok((mapped, names)) => {
                assert_eq!(mapped.head(None).map(|head| head.names).expect("a head"), names);
                mapped.text().expect("readable").expect("UTF-8")
            }
            Err(failure) => failure.to_string(),
        };
        expected.assert_eq(&told);
    }

    #[test]
    fn the_header_is_written_anew_and_nothing_else() {
        let map = "\"Student ID\" = \"customer_id\"\n\"Cell; phone\" = \"phone\"\n\"\" = \"_none\"\n";
        check(
            map,
            "\"Student ID\",note, \"Cell; phone\" ,,\n \"a\"\"1\" , \"b\n\" ,c,,\n\nx",
            expect![[r#"
            customer_id,note,phone,_none,_none
             "a""1" , "b
            " ,c,,

            x"#]],
        );
        check(
            "",
            "a,\"b\"\n1,2",
            expect![[r#"
            a,b
            1,2"#]],
        );
    }

    #[test]
    fn what_does_not_fit_is_told_all_at_once() {
        check(
            "\"Studnt id\" = \"customer_id\"\nCell = \"phone\"\nzzz = \"note\"\n",
            "Student ID,Cell,phone,Cell\n",
            expect![[r#"
                the columns cannot be mapped: the file has no column 'Studnt id'; the nearest is 'Student ID'
                  the file has no column 'zzz'; it has 'Student ID', 'Cell', 'phone', 'Cell'
                  the columns 2 ('Cell') and 3 ('phone') would both be 'phone'
                  the columns 2 ('Cell') and 4 ('Cell') would both be 'phone'
                Correct the map, or have the file's header corrected; nothing was sent."#]],
        );
        check(
            "Cell = \"phone\"\n",
            "\"Cell\"x,y\n",
            expect![[r#"
            the columns cannot be mapped: text follows a closing quote in column 1 of the header
              the file has no column 'Cell'; the nearest is 'Cellx'
            Correct the map, or have the file's header corrected; nothing was sent."#]],
        );
        check(
            "Cell = \"phone\"\n",
            "\n",
            expect![[r#"
            the columns cannot be mapped: the file has no header
            Correct the map, or have the file's header corrected; nothing was sent."#]],
        );
        // Corrected rows of a file that was mapped, and of one that was not.
        check(
            "Cell = \"phone\"\n",
            "phone,_row,_errors\n1,2,x\n",
            expect![[r#"
            phone,_row,_errors
            1,2,x
        "#]],
        );
        check(
            "Cell = \"phone\"\n",
            "Cell,_row,_errors\n1,2,x\n",
            expect![[r#"
            phone,_row,_errors
            1,2,x
        "#]],
        );
        // Not the map's fault: the service tells it.
        check(
            "Cell = \"phone\"\n",
            "Cell,a,a\n",
            expect![[r#"
            phone,a,a
        "#]],
        );
    }
}
