//! The guard that keeps a spreadsheet from taking a cell for a formula: a `'` before it, which an import of a corrected file takes off
//! again.
//!
//! A cell that looks guarded already (one or more `'` before what would be a formula) gets one more in any case, guard or not, because
//! the import takes one off in any case: so what was there comes back.

use crate::contact::trim;

/// The column that marks a file of failed rows: in such a file the guard is taken off.
pub const ROW_COLUMN: &str = "_row";
/// The column that says what was wrong.
pub const ERRORS_COLUMN: &str = "_errors";

/// How a cell is given to somebody who will send it back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Guard {
    /// As it stands in the file.
    Off,
    /// So that no spreadsheet runs it.
    On,
}

impl Guard {
    /// A cell of a file of failed rows: what stands before it, and the cell.
    pub fn of(self, raw: &str) -> (&'static str, &str) {
        let cell = trim(raw);
        let bare = cell.trim_start_matches('\'');
        if !begins_formula(bare) {
            return ("", raw);
        }
        let looks_guarded = bare.len() < cell.len();
        match self {
            Guard::Off if !looks_guarded => ("", raw),
            Guard::On if !looks_guarded && is_number(bare) => ("", raw),
            // White space around a cell means nothing to an import, and before a formula something to a spreadsheet.
            Guard::Off | Guard::On => ("'", cell),
        }
    }
}

/// A trimmed cell of a file of failed rows, without its guard.
pub(super) fn unguarded(cell: &str) -> &str {
    match cell.strip_prefix('\'') {
        Some(rest) if begins_formula(rest.trim_start_matches('\'')) => rest,
        _ => cell,
    }
}

fn begins_formula(text: &str) -> bool {
    text.starts_with(['=', '+', '-', '@'])
}

/// Numbers and phones: what spreadsheets show as they are, or reckon with harmlessly.
fn is_number(text: &str) -> bool {
    let Some(unsigned) = text.strip_prefix(['+', '-']) else { return false };
    let is_plain =
        |text: &str| text.chars().all(|sign| sign.is_ascii_digit() || matches!(sign, ' ' | '(' | ')' | '-' | '.'));
    match unsigned.split_once(['e', 'E']) {
        None => is_plain(unsigned),
        Some((digits, exponent)) => {
            let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
            is_plain(digits) && !exponent.is_empty() && exponent.chars().all(|sign| sign.is_ascii_digit())
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn given(guard: Guard, raw: &str) -> String {
        let (before, cell) = guard.of(raw);
        format!("{before}{cell}")
    }

    #[test]
    fn formulas_are_guarded_and_numbers_are_not() {
        for (raw, off, on) in [
            ("=1+1", "=1+1", "'=1+1"),
            (" \t@SUM(A1)", " \t@SUM(A1)", "'@SUM(A1)"),
            ("+1 (917) 850-4987", "+1 (917) 850-4987", "+1 (917) 850-4987"),
            ("-3.5", "-3.5", "-3.5"),
            ("-1.5E+3", "-1.5E+3", "-1.5E+3"),
            ("+1e5", "+1e5", "+1e5"),
            ("-1e", "-1e", "'-1e"),
            ("-1e5+A1", "-1e5+A1", "'-1e5+A1"),
            ("-e1e1", "-e1e1", "'-e1e1"),
            ("-2+3+cmd|' /C calc'!A0", "-2+3+cmd|' /C calc'!A0", "'-2+3+cmd|' /C calc'!A0"),
            ("+", "+", "+"),
            ("'=1", "''=1", "''=1"),
            ("''+1", "'''+1", "'''+1"),
            ("'quoted'", "'quoted'", "'quoted'"),
            (" O'Neil ", " O'Neil ", " O'Neil "),
            ("", "", ""),
        ] {
            assert_eq!((given(Guard::Off, raw), given(Guard::On, raw)), (off.to_owned(), on.to_owned()), "{raw:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(5_000))]
        #[test]
        fn what_was_there_comes_back(raw in "[=+@' \t1a-]{0,6}") {
            for guard in [Guard::Off, Guard::On] {
                let given = given(guard, &raw);
                prop_assert_eq!(unguarded(trim(&given)), trim(&raw), "{:?} gave {:?}", guard, given);
                let runs = begins_formula(trim(&given)) && !is_number(trim(&given));
                prop_assert!(guard == Guard::Off || !runs, "{:?}", given);
            }
        }
    }
}
