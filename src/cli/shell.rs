//! Commands to be pasted into a shell.

use std::borrow::Cow;

/// A word as a POSIX shell reads it back: as it is where that is safe, else in single quotes.
pub(super) fn quote(word: &str) -> Cow<'_, str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:@%+,=".contains(&byte);
    // A leading `=` or an inner one could make an assignment or a zsh look-up of what is meant as a word.
    if !word.is_empty() && word.bytes().all(plain) && !word.contains('=') {
        return Cow::Borrowed(word);
    }
    Cow::Owned(format!("'{}'", word.replace('\'', r"'\''")))
}

/// A command line of words, and before it the variables that it needs.
pub(super) fn command(variables: &[(&str, &str)], words: &[&str]) -> String {
    let variables = variables.iter().map(|(name, value)| format!("{name}={}", quote(value)));
    let words = words.iter().map(|word| quote(word).into_owned());
    variables.chain(words).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_only_where_they_must_be() {
        for (word, quoted) in [
            ("roster", "roster"),
            ("/tmp/a-b_c.csv", "/tmp/a-b_c.csv"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("", "''"),
            ("my data", "'my data'"),
            ("it's", r"'it'\''s'"),
            ("$(reboot)", "'$(reboot)'"),
            ("a\nb", "'a\nb'"),
            ("Zoë", "'Zoë'"),
            ("A=b", "'A=b'"),
        ] {
            assert_eq!(quote(word), quoted);
        }
    }

    #[test]
    fn a_shell_reads_the_command_back() {
        let words = ["printf", "%s|", "a b", "it's", "$HOME", "\\", "", "a\nb"];
        let line = command(&[("NAME", "x y")], &words);
        let output = std::process::Command::new("sh").arg("-c").arg(&line).output().expect("a shell");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "a b|it's|$HOME|\\||a\nb|");
    }
}
