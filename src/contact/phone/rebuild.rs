//! Makes the table of North American prefixes from the library, and sees to it that the committed one is that table.
//!
//! The metadata itself cannot be had from the library, so a prefix is judged by a few of its line numbers. They hold every digit in
//! every place, so that no rule about one digit of the line number escapes them, and the numbers that plans like to set apart.
//! (Read by hand in 9.0.42: in three prefixes a pattern says more about the line number than `\d{4}`, each about its first digit.)
//!
//! `cargo xtask phone-table` runs the ignored test with `UPDATE_PHONE_TABLE` set, which then writes the file.

use std::{env, fs, path::Path, process::Command};

use rlibphonenumber::{PHONE_NUMBER_UTIL, PhoneNumber};

use super::nanp::{self, FILE, LINES, PREFIXES, Prefix};

const SAMPLE_LINES: [u64; 16] =
    [0, 1111, 2222, 3333, 4444, 5555, 6666, 7777, 8888, 9999, 100, 199, 1212, 1234, 5050, 9870];

fn ask_library(prefix: u64) -> Prefix {
    let valid = SAMPLE_LINES.iter().filter(|&&line| is_valid(prefix * LINES + line)).count();
    match valid {
        0 => Prefix::Invalid,
        _ if valid == SAMPLE_LINES.len() => Prefix::Valid,
        _ => Prefix::Mixed,
    }
}

fn is_valid(national_number: u64) -> bool {
    let number = PhoneNumber { country_code: 1, national_number, ..PhoneNumber::default() };
    PHONE_NUMBER_UTIL.is_valid_number(&number)
}

fn runs_of(answers: impl Iterator<Item = Prefix>) -> Vec<(Prefix, u64)> {
    let mut runs: Vec<(Prefix, u64)> = Vec::new();
    for answer in answers {
        match runs.last_mut() {
            Some((prefix, length)) if *prefix == answer => *length += 1,
            _ => runs.push((answer, 1)),
        }
    }
    runs
}

fn file_of(metadata_version: &str, library_version: &str, runs: &[(Prefix, u64)]) -> Vec<u8> {
    let mut bytes = format!("{metadata_version}\n{library_version}\n").into_bytes();
    for &(prefix, length) in runs {
        let answer = match prefix {
            Prefix::Invalid => 0,
            Prefix::Valid => 1,
            Prefix::Mixed => 2,
        };
        push_leb128(&mut bytes, length * 3 + answer);
    }
    bytes
}

fn push_leb128(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

/// The library's version and that of the metadata in it, which only its read-me tells.
fn versions_in_library() -> (String, String) {
    let output = Command::new(env!("CARGO"))
        // Of this platform only: a build has not fetched the others' packages.
        .args(["metadata", "--format-version", "1", "--locked", "--offline", "--filter-platform", "host-tuple"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
    let packages = metadata["packages"].as_array().expect("a list of packages");
    let library = packages.iter().find(|package| package["name"] == "rlibphonenumber").expect("a dependency");
    let manifest = library["manifest_path"].as_str().expect("a path");
    let read_me =
        fs::read_to_string(Path::new(manifest).with_file_name("Readme.md")).expect("the read-me is in the package");
    let (_, after) =
        read_me.split_once("**Used metadata version:** `v").expect("the read-me names the metadata's version");
    let (metadata_version, _) = after.split_once('`').expect("the version is quoted");
    (library["version"].as_str().expect("a version").to_owned(), metadata_version.to_owned())
}

#[test]
#[ignore = "asks the library 13 million times: half a minute in a release build"]
fn whole_table() {
    let (library_version, metadata_version) = versions_in_library();
    let runs = runs_of(PREFIXES.map(ask_library));
    let file = file_of(&metadata_version, &library_version, &runs);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/contact/phone/nanp_prefixes.bin");
    if env::var_os("UPDATE_PHONE_TABLE").is_some() {
        fs::write(&path, &file).expect("the table can be written");
    }
    let committed = fs::read(&path).expect("the table is there");
    assert!(committed == file, "the table is out of date: run `cargo xtask phone-table`");
}

/// The version in the lock file is the one that is linked; nothing in the library itself says which metadata it holds.
#[test]
fn table_is_of_the_linked_library() {
    let lock = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock"))
        .expect("the lock file is committed");
    let entry = format!("name = \"rlibphonenumber\"\nversion = \"{}\"\n", FILE.library_version);
    assert!(lock.contains(&entry), "the library is no longer {}: run `cargo xtask phone-table`", FILE.library_version);
    assert!(FILE.metadata_version.split('.').all(|part| part.parse::<u32>().is_ok()), "{}", FILE.metadata_version);
}

#[test]
fn runs_cover_every_prefix_once() {
    let runs: Vec<_> = nanp::runs(FILE.runs).collect();
    assert_eq!(runs.iter().map(|(_, length)| length).sum::<u64>(), PREFIXES.end - PREFIXES.start);
    assert!(runs.iter().all(|&(_, length)| length > 0));
    let decoded = file_of(FILE.metadata_version, FILE.library_version, &runs);
    assert!(decoded.ends_with(FILE.runs), "decoding and encoding are inverse");
    let total = |wanted| runs.iter().filter(|(prefix, _)| *prefix == wanted).map(|(_, length)| length).sum::<u64>();
    assert!(total(Prefix::Valid) > 300_000, "{} valid", total(Prefix::Valid));
    assert!(total(Prefix::Mixed) < 100, "{} mixed: too many for a list", total(Prefix::Mixed));
}

/// Both ends of some runs, where a change of the metadata shows first, and prefixes here and there.
#[test]
fn sample_agrees_with_library() {
    let mut start = PREFIXES.start;
    for (at, (prefix, length)) in nanp::runs(FILE.runs).enumerate() {
        let end = start + length;
        if at % 37 == 0 || prefix == Prefix::Mixed {
            for sample in [start, start + length / 2, end - 1] {
                assert_eq!(prefix, ask_library(sample), "{sample}: run `cargo xtask phone-table`");
            }
        }
        start = end;
    }
}
