//! The pages say what the code says: every code that a caller may see is explained, links lead somewhere, and the tests
//! and sizes that are named exist.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test says so by failing")]

use std::fs;
use std::path::{Path, PathBuf};

use roster::import::ErrorCode;
use roster::problem::Code;

const PAGES: [&str; 12] = [
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "docs/API.md",
    "docs/CONSOLE.md",
    "docs/MIGRATING.md",
    "docs/OPERATIONS.md",
    "docs/PERFORMANCE.md",
    "docs/RELIABILITY.md",
    "docs/SCALING.md",
    "docs/SECURITY.md",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn page(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|fault| panic!("{name}: {fault}"))
}

#[test]
fn every_problem_stands_in_the_api_page_with_its_status() {
    let api = page("docs/API.md");
    for code in Code::ALL {
        let entry = code.entry();
        let row = format!("| `{}` | {} | ", entry.word, entry.status);
        assert!(api.lines().any(|line| line.starts_with(&row)), "docs/API.md has no row '{row}…'");
    }
}

#[test]
fn every_error_of_a_row_stands_in_the_api_page() {
    let api = page("docs/API.md");
    for (_, word) in ErrorCode::ALL {
        let is_row =
            |line: &str| line.starts_with(&format!("| `{word}` | ")) || line.starts_with(&format!("| `{word}` * |"));
        assert!(api.lines().any(is_row), "docs/API.md has no row for '{word}'");
    }
}

#[test]
fn the_known_vector_is_true() {
    let signature = roster::signature::sign(
        "INVENTED_TOKEN",
        b"INVENTED_SECRET",
        "GET",
        "/bogus",
        b"",
        "1969-07-20T20:17:00+00:00",
    );
    assert!(page("docs/API.md").contains(&format!("`{signature}`")));
}

#[test]
fn links_lead_somewhere() {
    for name in PAGES {
        let text = page(name);
        let folder = root().join(name).parent().unwrap().to_owned();
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.starts_with("http")) {
            let file = target.split('#').next().unwrap();
            assert!(folder.join(file).exists(), "{name}: the link to '{target}' leads nowhere");
        }
    }
}

#[test]
fn the_tests_that_pages_name_are_there() {
    for (page, least) in [("docs/MIGRATING.md", 35), ("docs/SECURITY.md", 18)] {
        let named = tests_named_by(page);
        assert!(named > least, "only {named} names were found in {page}");
    }
}

/// How many there are; each is there.
fn tests_named_by(name: &str) -> usize {
    let sources = all_sources();
    let text = page(name);
    let words = text.split('`').skip(1).step_by(2);
    let is_test = |word: &&str| {
        word.matches('_').count() >= 2 && word.chars().all(|sign| sign.is_ascii_lowercase() || sign == '_')
    };
    let is_code = |word: &&str| ErrorCode::ALL.iter().any(|(_, code)| code == word);
    // The numbers of the metrics are called like tests.
    let is_number = |word: &&str| word.starts_with("roster_");
    let named: Vec<&str> =
        words.filter(is_test).filter(|word| !is_code(word)).filter(|word| !is_number(word)).collect();
    for test in &named {
        assert!(sources.contains(&format!("fn {test}(")), "{name} names '{test}', and there is no such test");
    }
    named.len()
}

fn all_sources() -> String {
    ["src", "tests", "xtask/src"].iter().flat_map(|folder| sources(&root().join(folder))).collect()
}

#[test]
fn what_the_architecture_page_names_is_there() {
    let sources = all_sources();
    let text = page("ARCHITECTURE.md");
    let words: Vec<&str> = text.split('`').skip(1).step_by(2).collect();
    let mut checked = 0;
    for word in words {
        let is_test =
            word.matches('_').count() >= 2 && word.chars().all(|sign| sign.is_ascii_lowercase() || sign == '_');
        let is_size = word.contains('_') && word.chars().all(|sign| sign.is_ascii_uppercase() || sign == '_');
        let is_path = word.starts_with("src/") || word.starts_with("tests/");
        if is_test && !word.ends_with("_max") {
            let found =
                [format!("fn {word}("), format!("fn {word}<")].iter().any(|function| sources.contains(function));
            assert!(found, "ARCHITECTURE.md names '{word}', and there is no such function");
        } else if is_size {
            assert!(
                sources.contains(&format!("const {word}")),
                "ARCHITECTURE.md names '{word}', and there is no such size"
            );
        } else if is_path {
            let place = word.split('<').next().unwrap();
            assert!(root().join(place).exists(), "ARCHITECTURE.md names '{word}', and it is not there");
        } else {
            continue;
        }
        checked += 1;
    }
    assert!(checked > 40, "only {checked} names were found");
}

fn sources(folder: &Path) -> Vec<String> {
    let mut texts = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path: PathBuf = entry.unwrap().path();
        if path.is_dir() {
            texts.extend(sources(&path));
        } else if path.extension().is_some_and(|end| end == "rs") {
            texts.push(fs::read_to_string(&path).unwrap());
        }
    }
    texts
}
