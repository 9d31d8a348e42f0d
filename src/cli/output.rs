//! Everything that the command line prints goes through here: data to standard output, talk to standard error.
//!
//! A reader that went away (`roster … | head`) is no failure and no panic. Text that comes from files and services is
//! escaped before a terminal sees it. Nothing here knows what the data means.

use std::borrow::Cow;
use std::fmt::{Display, Write as _};
use std::io::{self, ErrorKind, Write as _};

use clap::builder::styling::{AnsiColor, Style};
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde::Serialize;

use super::failure::Failure;

/// How a command talks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Output {
    /// One JSON object, or one a line, instead of words.
    pub(super) json: bool,
    /// No talk: only data and failures.
    pub(super) quiet: bool,
}

/// Which side of a column its cells are put to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

impl Output {
    /// Prints a line of data, as it is.
    pub(super) fn line(self, text: impl Display) -> Result<(), Failure> {
        let mut out = anstream::stdout().lock();
        delivered(writeln!(out, "{text}").and_then(|()| out.flush()))
    }

    /// Prints an object on a line of its own.
    pub(super) fn object(self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string(value).map_err(|error| Failure::ours(error.to_string()))?;
        self.line(text)
    }

    /// Prints rows under their titles.
    pub(super) fn table<const N: usize>(
        self,
        columns: [(&str, Align); N],
        rows: impl IntoIterator<Item = [String; N]>,
    ) -> Result<(), Failure> {
        self.line(layout(columns, rows))
    }

    /// Tells a person something that is no data.
    pub(super) fn say(self, text: impl Display) {
        if !self.quiet {
            talk(format_args!("{text}"));
        }
    }

    /// Tells why a command failed; also when it was asked to be quiet.
    pub(super) fn complain(failure: &Failure) {
        let style = Style::new().bold().fg_color(Some(AnsiColor::Red.into()));
        talk(format_args!("{style}error:{style:#} {failure}"));
    }
}

/// If standard error is gone there is nobody left to tell.
fn talk(text: std::fmt::Arguments<'_>) {
    let mut err = anstream::stderr().lock();
    let _ = writeln!(err, "{text}");
}

fn delivered(result: io::Result<()>) -> Result<(), Failure> {
    match result {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::ours(format!("cannot write to standard output: {error}")))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Rows under their titles, without borders: each on one line, so that it can be piped on.
fn layout<const N: usize>(columns: [(&str, Align); N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    if columns.iter().any(|(title, _)| !title.is_empty()) {
        table.set_header(columns.map(|(title, _)| title));
    }
    table.add_rows(rows.into_iter().map(|row| row.map(|cell| escape(&cell).into_owned())));
    for (column, (_, align)) in table.column_iter_mut().zip(columns) {
        column.set_padding((0, 2));
        column.set_cell_alignment(match align {
            Align::Left => CellAlignment::Left,
            Align::Right => CellAlignment::Right,
        });
    }
    table.trim_fmt()
}

/// Text without anything that could move a terminal's cursor, change its colours, break a line or turn its direction:
/// such characters are shown as `\n`, `\u{1b}`, ….
pub(super) fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        if is_unsafe(character) {
            let _ = write!(escaped, "{}", character.escape_default());
        } else {
            escaped.push(character);
        }
    }
    Cow::Owned(escaped)
}

/// Control characters, line and paragraph separators, and the marks that override a line's direction.
fn is_unsafe(character: char) -> bool {
    character.is_control() || matches!(character, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn what_could_steer_a_terminal_is_shown_instead() {
        assert_eq!(escape("Zoë 張 نور 🎓"), "Zoë 張 نور 🎓");
        assert_eq!(escape("\u{1b}[2Ja\nb\r\tc\u{7f}\u{9b}"), "\\u{1b}[2Ja\\nb\\r\\tc\\u{7f}\\u{9b}");
        assert_eq!(escape("a\u{202e}b\u{2066}"), "a\\u{202e}b\\u{2066}");
    }

    #[test]
    fn numbers_are_aligned_and_lines_end_where_their_text_ends() {
        let rows = [["first".to_owned(), "7".to_owned()], ["the second\n".to_owned(), "12345".to_owned()]];
        let text = layout([("name", Align::Left), ("rows", Align::Right)], rows);
        expect![[r#"
            name           rows
            first             7
            the second\n  12345"#]]
        .assert_eq(&text);
    }
}
