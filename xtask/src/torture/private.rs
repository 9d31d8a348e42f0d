//! What must stand nowhere: secrets in no file that the run has written, and neither signatures nor contacts in a log.

use std::fs;
use std::path::Path;

use super::client::MARK;

/// Of a signature: the base64 of 32 bytes.
const SIGNATURE_CHARACTERS: usize = 44;
/// Of a phone in its normal form, behind the plus.
const PHONE_DIGITS: usize = 11;

/// What a line of a log tells that it must not.
pub(super) fn told_by(line: &str) -> Option<&'static str> {
    let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || b"+/".contains(&byte);
    let bytes = line.as_bytes();
    let is_signature = |end: usize| {
        let from = (end + 1).checked_sub(SIGNATURE_CHARACTERS);
        bytes[end] == b'=' && from.is_some_and(|from| bytes[from..end].iter().all(|byte| is_base64(*byte)))
    };
    let is_phone = |plus: usize| {
        let digits = bytes.get(plus + 1..=plus + PHONE_DIGITS);
        bytes[plus] == b'+' && digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_digit))
    };
    if line.contains(MARK) {
        Some("a contact's name")
    } else if (0..bytes.len()).any(is_signature) {
        Some("a signature")
    } else if (0..bytes.len()).any(is_phone) {
        Some("a phone")
    } else {
        None
    }
}

/// What must not be found, and how it is called.
pub(super) struct Secret<'a> {
    pub(super) name: &'static str,
    pub(super) text: &'a str,
}

/// Looks into every file below a directory; which bytes were looked at, and what was found where.
pub(super) fn in_files(directory: &Path, secrets: &[Secret<'_>]) -> Result<(u64, Vec<String>), String> {
    let (mut looked, mut found, mut left) = (0, Vec::new(), vec![directory.to_owned()]);
    while let Some(path) = left.pop() {
        let failed = |fault: std::io::Error| format!("{}: {fault}", path.display());
        let kind = fs::symlink_metadata(&path).map_err(failed)?.file_type();
        if kind.is_dir() {
            let entries = fs::read_dir(&path).map_err(failed)?;
            left.extend(entries.filter_map(|entry| Some(entry.ok()?.path())));
        } else if kind.is_file() {
            let bytes = fs::read(&path).map_err(failed)?;
            looked += bytes.len() as u64;
            found.extend(in_bytes(&bytes, secrets).map(|name| told(name, &path)));
        }
    }
    Ok((looked, found))
}

fn told(name: &str, path: &Path) -> String {
    format!("{name} stands in {}", path.display())
}

fn in_bytes<'a>(bytes: &'a [u8], secrets: &'a [Secret<'a>]) -> impl Iterator<Item = &'static str> + 'a {
    secrets.iter().filter(|secret| contains(bytes, secret.text.as_bytes())).map(|secret| secret.name)
}

/// Horspool's way: most of the bytes are stepped over.
fn contains(bytes: &[u8], sought: &[u8]) -> bool {
    let Some((last, others)) = sought.split_last() else { return true };
    let mut steps = [sought.len(); 256];
    for (at, byte) in others.iter().enumerate() {
        steps[usize::from(*byte)] = others.len() - at;
    }
    let mut end = others.len();
    while let Some(byte) = bytes.get(end) {
        if byte == last && bytes[end - others.len()..end] == *others {
            return true;
        }
        end += steps[usize::from(*byte)];
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_found_wherever_it_begins() {
        let sought = b"334f6528-7447-4731";
        for before in 0..40 {
            let bytes = [&vec![b'7'; before], sought.as_slice(), b"-4731"].concat();
            assert!(contains(&bytes, sought), "{before}");
            assert!(!contains(&bytes[..before + sought.len() - 1], sought), "{before}");
        }
        assert!(!contains(b"", sought) && contains(b"7", b"7") && !contains(b"8", b"7"));
    }

    #[test]
    fn files_are_looked_at_all_the_way_down() {
        let directory = std::env::temp_dir().join(format!("roster-private-{}", std::process::id()));
        fs::create_dir_all(directory.join("a/b")).expect("a directory");
        fs::write(directory.join("a/b/c"), "..the-secret..").expect("a file");
        fs::write(directory.join("a/d"), "..the-secre..").expect("a file");
        let secrets = [Secret { name: "a secret", text: "the-secret" }, Secret { name: "another", text: "no-secret" }];
        let (looked, found) = in_files(&directory, &secrets).expect("readable");
        fs::remove_dir_all(&directory).expect("removed");
        assert_eq!((looked, found.len()), (27, 1));
        assert!(found[0].starts_with("a secret stands in ") && found[0].ends_with("a/b/c"), "{found:?}");
    }

    #[test]
    fn a_log_that_tells_too_much_is_found() {
        let signature = "P1f0up2G0I6tJG4D3nRed/IlvvT2tqEQqbqEPXNQXDo=";
        let told = |line: &str| told_by(line).unwrap_or("nothing");
        assert_eq!(told(&format!("Authorization: SignalVine t:{signature}")), "a signature");
        assert_eq!(told(signature), "a signature");
        assert_eq!(told(&signature[1..]), "nothing");
        assert_eq!(told("phone=+12025550123"), "a phone");
        assert_eq!(told("2026-11-28T12:00:00+00:00 counts=+1202555012"), "nothing");
        assert_eq!(told(&format!("value='Ada{MARK}'")), "a contact's name");
        assert_eq!(told("INFO import complete read=3 program=01a2067c-30fc-7ca6-98d4-367cd99f7e54"), "nothing");
    }
}
