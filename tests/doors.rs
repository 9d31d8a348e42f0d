//! The rooms of the house and the doors between them: who may use whom, and what may be named where.
//!
//! A module cycle compiles silently in Rust, so this test reads the sources. It sees paths (`crate::…`, `std::…`, crates)
//! in code that is shipped: comments, strings and `#[cfg(test)]` code are left out. What it finds it tells with file and
//! line. To open a door, change a table below, and say why in `ARCHITECTURE.md`.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test says so by failing")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A room, the rooms that it may use, and what of those is closed to it all the same.
struct Room {
    name: &'static str,
    uses: &'static [&'static str],
    closed: &'static [&'static str],
}

/// The doors. A room may always use itself.
#[rustfmt::skip]
const ROOMS: [Room; 14] = [
    Room { name: "contact", uses: &[], closed: &[] },
    Room { name: "tenant", uses: &["contact"], closed: &[] },
    Room { name: "import", uses: &["contact"], closed: &[] },
    Room { name: "metrics", uses: &[], closed: &[] },
    Room { name: "command", uses: &["contact", "tenant", "import", "store", "metrics"], closed: &["store::sqlite", "store::postgres", "store::secrets"] },
    Room { name: "store", uses: &["contact", "tenant", "import", "command"], closed: &["command::Workers"] },
    Room { name: "signature", uses: &[], closed: &[] },
    Room { name: "problem", uses: &[], closed: &[] },
    Room { name: "wire", uses: &["contact", "tenant", "import", "command", "problem"], closed: &["command::Workers"] },
    Room {
        name: "http",
        uses: &["contact", "tenant", "import", "command", "store", "signature", "problem", "wire", "metrics"],
        closed: &["store::sqlite", "store::postgres", "store::secrets", "command::Workers"],
    },
    Room {
        name: "console",
        uses: &["contact", "tenant", "import", "command", "store", "signature", "wire", "http", "metrics"],
        closed: &["store::sqlite", "store::postgres", "store::secrets", "command::Workers"],
    },
    Room { name: "config", uses: &["tenant"], closed: &[] },
    Room {
        name: "cli",
        uses: &["contact", "tenant", "import", "command", "store", "signature", "problem", "wire", "config", "app"],
        closed: &["store::sqlite", "store::postgres", "store::secrets", "command::Workers"],
    },
    Room {
        name: "app",
        uses: &["contact", "tenant", "import", "command", "store", "signature", "problem", "wire", "http", "console", "config"],
        closed: &[],
    },
];

/// The one pair of rooms that use each other. The store's trait speaks of commands (`Claim`, `NewCommand`), because a
/// store accepts and hands out whole commands; the worker, which lives with the commands, uses the trait. Neither could
/// move without a third room that both are made of. `closed` above keeps the pair to types on the one side and the trait
/// on the other.
const PAIR: [&str; 2] = ["command", "store"];

/// Where a crate, or a part of the standard library, may be named; everywhere else it must not. Places are paths below
/// `src`, files or folders.
const PLACES: &[(&str, &[&str])] = &[
    ("anstream", &["cli"]),
    ("argon2", &["tenant/password.rs"]),
    ("askama", &["http", "console"]),
    ("axum", &["http", "console"]),
    ("axum_server", &["app.rs", "http/connections.rs", "http/tls.rs"]),
    ("bytes", &["http", "console"]),
    ("chacha20poly1305", &["store/secrets.rs", "console/oidc/pending.rs"]),
    ("clap", &["cli"]),
    ("comfy_table", &["cli"]),
    ("encoding_rs", &["import"]),
    ("flate2", &["http"]),
    ("futures_util", &["store/postgres", "console/events.rs"]),
    ("hmac", &["signature", "store/secrets.rs"]),
    ("http_body_util", &["http", "console"]),
    ("indicatif", &["cli"]),
    // Of rustls it is a module's name.
    ("ring", &["console/oidc", "store/postgres/tls.rs", "http/tls.rs", "http/certificate.rs"]),
    ("rusqlite", &["store/sqlite"]),
    ("tokio_postgres", &["store/postgres"]),
    ("deadpool", &["store/postgres"]),
    ("rustls", &["store/postgres/tls.rs", "http/tls.rs", "http/certificate.rs", "cli/trust.rs"]),
    ("rustls_native_certs", &["store/postgres/tls.rs", "console/oidc/calls.rs"]),
    ("tokio_postgres_rustls", &["store/postgres"]),
    ("schemars", &["wire", "http/routes"]),
    ("tokio_rustls", &["http/tls.rs"]),
    ("x509_cert", &["http/certificate.rs"]),
    ("serde", &["signature", "problem.rs", "wire", "store", "http", "console", "cli"]),
    ("serde_json", &["signature", "problem.rs", "wire", "store", "http", "console", "cli"]),
    ("tempfile", &["cli"]),
    ("tokio", &["command", "store", "http", "console", "cli", "app.rs"]),
    ("toml", &["config", "cli/column_map.rs"]),
    ("tower_http", &["console"]),
    ("tracing", &["command", "store", "http", "console", "cli", "app.rs"]),
    ("ureq", &["cli", "console/oidc"]),
    ("zstd", &["http", "cli"]),
    ("std::fs", &["store", "config", "cli", "http/certificate.rs"]),
    ("std::net", &["config", "cli", "app.rs", "store/postgres/target.rs", "console/oidc/calls.rs"]),
];

/// Where a clock may be read, and what for. Everywhere else the time is an argument, `now` or `now_ms`.
const CLOCKS: [(&str, &str); 15] = [
    ("app.rs", "the clock that handlers and workers are given"),
    ("cli/client.rs", "how long ago a request was signed that is sent again"),
    ("cli/operator.rs", "an operator's command is an edge"),
    ("cli/transfer.rs", "how long the client has waited"),
    ("cli/watch/folder.rs", "for how long a file has not changed"),
    ("cli/watch/job.rs", "how long an import was waited for"),
    ("cli/watch/mod.rs", "for how long a trouble has lasted"),
    ("console/events.rs", "for how long a page has been told of an import"),
    ("console/sending.rs", "the id of a command, as in http/imports.rs"),
    ("console/uploads.rs", "the id of an upload, of the same kind"),
    ("http/answer.rs", "how long an answer took, for the log"),
    ("http/commands.rs", "how long an answer is held back"),
    ("store/postgres/queue.rs", "how often progress is told to the other nodes; leases go by the database's clock"),
    (
        "http/imports.rs",
        "the id of a command is a UUID of version 7; no order depends on it; how long accepting took, for the metrics",
    ),
    ("command/worker.rs", "how long an import took, for the metrics"),
];

/// The most lines of a file, and of a function, in code that is shipped.
const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 80;

/// Files that are longer, and why; a limit of their own, so that they do not grow on unseen.
const LONG_FILES: [(&str, usize, &str); 2] = [
    ("import/tests.rs", 1_200, "one text table a rule"),
    ("store/suite.rs", 1_200, "the whole of what every home of the data must do"),
];

/// Functions that are longer, and why.
const LONG_FUNCTIONS: [(&str, &str, &str); 1] = [("problem.rs", "entry", "a table: one entry a code")];

#[test]
fn the_doors_are_kept() {
    let house = House::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    let found = house.violations();
    assert!(found.is_empty(), "{} violations:\n{}\n", found.len(), found.join("\n"));
    // That the test sees anything at all.
    assert!(house.files.len() > 80, "only {} files were read", house.files.len());
    let graph = house.graph();
    assert!(graph["app"].contains("http") && graph["cli"].contains("store") && graph["http"].contains("wire"));
}

#[test]
fn every_planted_violation_is_found() {
    let planted = [
        ("contact/a.rs", "use crate::import::Plan;", "2: 'contact' must not use 'import'"),
        ("http/a.rs", "use crate::store::{Store, sqlite::{SqliteStore}};", "2: 'http' must not use 'store::sqlite'"),
        ("http/mod.rs", "fn f() { super::store::sqlite::open() }", "2: 'super::' leads out of the room"),
        ("store/sqlite/a.rs", "use super::super::super::app;", "2: 'super::' leads out of the room"),
        ("store/a.rs", "use crate::command::{Claim, Workers};", "2: 'store' must not use 'command::Workers'"),
        ("wire/a.rs", "use crate::{problem::Code, cli};", "2: 'wire' must not use 'cli'"),
        ("cellar.rs", "", "1: 'cellar' is no room"),
        ("import/a.rs", "use tokio::sync::mpsc;", "2: 'tokio' must not be named here"),
        ("cli/a.rs", "fn f() { let x = rusqlite::version(); }", "2: 'rusqlite' must not be named here"),
        ("store/a.rs", "use {rusqlite::Connection};", "2: 'rusqlite' must not be named here"),
        ("wire/a.rs", "use std::{fmt, fs::File};", "2: 'std::fs' must not be named here"),
        ("import/plan.rs", "fn f() { let t = std::time::Instant::now(); }", "2: the clock is read here"),
        ("store/a.rs", "\n\nfn f() { g(Uuid::now_v7) }", "4: the clock is read here"),
        ("import/a.rs", "fn f(x: &'a str) -> char { '\"' }\nuse axum::Router;", "3: 'axum' must not be named here"),
        (
            "import/a.rs",
            "#[cfg(test)]\nmod tests { use serde::X; }\nuse serde::X;",
            "4: 'serde' must not be named here",
        ),
    ];
    for (path, code, expected) in planted {
        let house = House::of(&[(path, &format!("//! A file.\n{code}\n"))]);
        let found = house.violations();
        assert!(matches!(&*found, [one] if one.starts_with(&format!("src/{path}:{expected}"))), "{code}\n{found:#?}");
    }
    let without = House::of(&[("contact/a.rs", "use std::fmt;\n")]);
    assert_eq!(without.violations(), ["src/contact/a.rs:1: the file does not begin with '//!', what it is for"]);
    let long = House::of(&[("wire/a.rs", &format!("//! A file.\nfn long() {{\n{}}}\n", "    x();\n".repeat(79)))]);
    assert_eq!(long.violations(), ["src/wire/a.rs:2: the function 'long' has 81 lines; at most 80"]);
    let long = House::of(&[("wire/a.rs", &format!("//! A file.\n{}", "// x\n".repeat(600)))]);
    assert_eq!(long.violations(), ["src/wire/a.rs:1: the file has 601 lines; at most 600"]);
}

#[test]
fn what_is_no_code_is_no_violation() {
    let innocent = [
        "// use crate::app::Service;",
        "/* use /* crate::app */ tokio::X; */",
        "const A: &str = \"crate::app::Service and \\\" tokio::x\";",
        "const A: &str = r#\"a \" crate::app::Service\"#;",
        "const A: &[u8] = b\"tokio::x\"; fn f<'a>(x: &'a str) -> u8 { b'\"' }",
        "#[cfg(test)]\nmod tests {\n    use tokio::x; fn f() { { crate::app::g() } }\n}",
        "#[cfg(test)]\n#[allow(clippy::panic)]\nuse crate::app::Service;",
        "use crate::contact::{Phone, Schema};",
        "fn f(serde: u8) -> u8 { my::serde::x(serde) }",
    ];
    for code in innocent {
        let house = House::of(&[("import/a.rs", &format!("//! A file.\n{code}\n"))]);
        assert_eq!(house.violations(), Vec::<String>::new(), "{code}");
    }
    // The file of a test module is left out as a whole.
    let house = House::of(&[
        ("import/mod.rs", "//! A room.\n#[cfg(test)]\nmod tests;\n"),
        ("import/tests.rs", "//! Tests.\nuse tokio::x;\n"),
    ]);
    assert_eq!(house.violations(), Vec::<String>::new());
}

#[test]
fn a_cycle_of_rooms_is_found() {
    // Each of these doors could be opened in the table; together they would go round.
    let house = House::of(&[
        ("contact/a.rs", "//! A.\nuse crate::wire::X;\n"),
        ("wire/a.rs", "//! A.\nuse crate::problem::X;\n"),
        ("problem.rs", "//! A.\nuse crate::contact::X;\n"),
        ("store/a.rs", "//! A.\nuse crate::command::Claim;\n"),
        ("command/a.rs", "//! A.\nuse crate::store::Store;\n"),
    ]);
    assert_eq!(house.cycles(), ["the rooms contact, problem, wire use each other in a circle"]);
}

#[test]
fn the_table_itself_has_no_cycle_but_the_pair() {
    let graph = ROOMS.iter().map(|room| (room.name, room.uses.iter().copied().collect())).collect();
    assert_eq!(cycles(&graph), Vec::<String>::new());
    let declared = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    let declared: BTreeSet<&str> = declared
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ").or(line.strip_prefix("mod "))?.strip_suffix(';'))
        .collect();
    assert_eq!(declared, ROOMS.iter().map(|room| room.name).collect());
}

/// The sources, by their paths below `src`.
struct House {
    files: BTreeMap<String, Source>,
}

struct Source {
    text: String,
    /// Of code that is shipped.
    tokens: Vec<Token>,
}

impl House {
    fn read(src: PathBuf) -> House {
        let mut files = Vec::new();
        let mut folders = vec![src.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|end| end == "rs") {
                    let name = path.strip_prefix(&src).unwrap().to_str().unwrap().replace('\\', "/");
                    files.push((name, fs::read_to_string(&path).unwrap()));
                }
            }
        }
        House::new(files)
    }

    fn of(files: &[(&str, &str)]) -> House {
        House::new(files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect())
    }

    fn new(sources: Vec<(String, String)>) -> House {
        let mut test_modules = Vec::new();
        let mut files = BTreeMap::new();
        for (path, text) in sources {
            let (tokens, modules) = without_tests(lex(&text));
            let home = match path.rsplit_once('/') {
                Some((folder, "mod.rs")) => format!("{folder}/"),
                None if ["lib.rs", "main.rs"].contains(&&*path) => String::new(),
                _ => format!("{}/", path.trim_end_matches(".rs")),
            };
            test_modules.extend(modules.into_iter().map(|module| format!("{home}{module}")));
            files.insert(path, Source { text, tokens });
        }
        for (path, source) in &mut files {
            let module = path.trim_end_matches(".rs");
            if test_modules.iter().any(|test| module == test || module.starts_with(&format!("{test}/"))) {
                source.tokens.clear();
            }
        }
        House { files }
    }

    fn violations(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (path, source) in &self.files {
            let mut tell = |line: usize, what: String| found.push(format!("src/{path}:{line}: {what}"));
            check_shape(path, source, &mut tell);
            let Some(room) = room_of(path) else {
                if !["lib.rs", "main.rs"].contains(&path.as_str()) {
                    tell(1, format!("'{}' is no room", path.trim_end_matches(".rs")));
                }
                continue;
            };
            let mut told = BTreeSet::new();
            for Named { line, path: named } in names(&source.tokens) {
                for what in check_name(room, path, &named) {
                    if told.insert((line, what.clone())) {
                        tell(line, what);
                    }
                }
            }
        }
        found.extend(self.cycles());
        found
    }

    /// Which rooms each room uses.
    fn graph(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        let mut graph: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (path, source) in &self.files {
            let Some(room) = room_of(path) else { continue };
            for Named { path: named, .. } in names(&source.tokens) {
                if let [first, used, ..] = named.as_slice()
                    && first == "crate"
                    && let Some(used) = ROOMS.iter().find(|room| room.name == used)
                    && used.name != room.name
                {
                    graph.entry(room.name).or_default().insert(used.name);
                }
            }
        }
        graph
    }

    fn cycles(&self) -> Vec<String> {
        cycles(&self.graph())
    }
}

fn room_of(path: &str) -> Option<&'static Room> {
    let name = path.split('/').next().unwrap().trim_end_matches(".rs");
    ROOMS.iter().find(|room| room.name == name)
}

fn check_shape(path: &str, source: &Source, tell: &mut impl FnMut(usize, String)) {
    if !source.text.starts_with("//!") {
        tell(1, "the file does not begin with '//!', what it is for".to_owned());
    }
    let lines = source.text.lines().count();
    let most = LONG_FILES.iter().find(|(long, ..)| *long == path).map_or(FILE_LINES_MAX, |(_, most, _)| *most);
    if lines > most {
        tell(1, format!("the file has {lines} lines; at most {most}"));
    }
    for (line, name, lines) in functions(&source.tokens) {
        let is_known = LONG_FUNCTIONS.iter().any(|(file, function, _)| *file == path && *function == name);
        if lines > FUNCTION_LINES_MAX && !is_known {
            tell(line, format!("the function '{name}' has {lines} lines; at most {FUNCTION_LINES_MAX}"));
        }
    }
}

/// What is wrong with naming this path in this file.
fn check_name(room: &Room, file: &str, named: &[String]) -> Vec<String> {
    let mut wrong = Vec::new();
    let joined = named.join("::");
    let begins_with = |path: &str| joined == path || joined.starts_with(&format!("{path}::"));
    match named[0].as_str() {
        "crate" => {
            let inner = joined.strip_prefix("crate::").unwrap_or_default();
            let used = named.get(1).map_or("", String::as_str);
            let closed =
                room.closed.iter().find(|closed| inner == **closed || inner.starts_with(&format!("{closed}::")));
            if let Some(closed) = closed {
                wrong.push(format!("'{}' must not use '{closed}'", room.name));
            } else if used != room.name && !room.uses.contains(&used) {
                wrong.push(format!("'{}' must not use '{used}'", room.name));
            }
        }
        "super" => {
            let climbs = named.iter().take_while(|part| *part == "super").count();
            let depth = file.trim_end_matches(".rs").trim_end_matches("/mod").split('/').count();
            if climbs >= depth {
                wrong.push("'super::' leads out of the room; write 'crate::'".to_owned());
            }
        }
        _ => {}
    }
    for (what, places) in PLACES {
        if begins_with(what) && !places.iter().any(|place| file == *place || file.starts_with(&format!("{place}/"))) {
            wrong.push(format!("'{what}' must not be named here (see PLACES)"));
        }
    }
    let reads_clock = match named {
        [.., last] if last.starts_with("now_v") => true,
        [.., of, last] => last == "now" && ["SystemTime", "Instant", "Timestamp", "Zoned"].contains(&of.as_str()),
        _ => false,
    };
    if reads_clock && !CLOCKS.iter().any(|(place, _)| *place == file) {
        wrong.push("the clock is read here (see CLOCKS); take 'now_ms' as an argument".to_owned());
    }
    wrong
}

/// Rooms that use each other in a circle, but for the one known pair.
fn cycles(graph: &BTreeMap<&str, BTreeSet<&str>>) -> Vec<String> {
    let reach = |from: &str| {
        let (mut seen, mut open) = (BTreeSet::new(), vec![from.to_owned()]);
        while let Some(room) = open.pop() {
            for next in graph.get(room.as_str()).into_iter().flatten() {
                if seen.insert((*next).to_owned()) {
                    open.push((*next).to_owned());
                }
            }
        }
        seen
    };
    let reached: BTreeMap<&str, BTreeSet<String>> = graph.keys().map(|room| (*room, reach(room))).collect();
    let mut circles = BTreeSet::new();
    for (room, reaches) in &reached {
        let circle: BTreeSet<&str> = reached
            .iter()
            .filter(|(other, back)| reaches.contains(**other) && back.contains(*room))
            .map(|(other, _)| *other)
            .collect();
        if !circle.is_empty() && circle != BTreeSet::from(PAIR) {
            circles.insert(circle.into_iter().collect::<Vec<_>>().join(", "));
        }
    }
    circles.into_iter().map(|circle| format!("the rooms {circle} use each other in a circle")).collect()
}

/// A word or a sign of Rust, with its line.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Token {
    line: usize,
    text: String,
}

/// Takes a source apart. Comments are left out; of strings, numbers and characters a `"` is left.
fn lex(text: &str) -> Vec<Token> {
    let bytes = text.as_bytes();
    let (mut at, mut line, mut tokens) = (0, 1, Vec::new());
    while at < bytes.len() {
        let begin = at;
        let is_word = |byte: u8| byte == b'_' || byte.is_ascii_alphanumeric() || !byte.is_ascii();
        match bytes[at] {
            b'/' if bytes[at..].starts_with(b"//") => at += line_length(&bytes[at..]),
            b'/' if bytes[at..].starts_with(b"/*") => at += comment_length(&bytes[at..]),
            b'"' => {
                at += string_length(&bytes[at..]);
                tokens.push(Token { line, text: "\"".to_owned() });
            }
            b'\'' => {
                at += quote_length(&bytes[at..]);
                tokens.push(Token { line, text: "\"".to_owned() });
            }
            byte if byte.is_ascii_whitespace() => at += 1,
            byte if is_word(byte) => {
                while at < bytes.len() && is_word(bytes[at]) {
                    at += 1;
                }
                let word = &text[begin..at];
                let hashes = bytes[at..].iter().take_while(|byte| **byte == b'#').count();
                let is_raw = ["r", "br", "cr"].contains(&word) && bytes.get(at + hashes) == Some(&b'"');
                let is_prefix = ["b", "c"].contains(&word) && matches!(bytes.get(at), Some(b'"' | b'\''));
                if is_raw {
                    at += hashes + 1;
                    let end = format!("\"{}", "#".repeat(hashes));
                    at += text[at..].find(&end).map_or(text.len() - at, |found| found + end.len());
                    tokens.push(Token { line, text: "\"".to_owned() });
                } else if !is_prefix {
                    tokens.push(Token { line, text: word.to_owned() });
                }
            }
            b':' if bytes[at..].starts_with(b"::") => {
                at += 2;
                tokens.push(Token { line, text: "::".to_owned() });
            }
            sign => {
                at += 1;
                tokens.push(Token { line, text: (sign as char).to_string() });
            }
        }
        line += bytes[begin..at].iter().filter(|byte| **byte == b'\n').count();
    }
    tokens
}

fn line_length(bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len())
}

fn comment_length(bytes: &[u8]) -> usize {
    let (mut at, mut depth) = (0, 0);
    while at < bytes.len() {
        if bytes[at..].starts_with(b"/*") {
            (at, depth) = (at + 2, depth + 1);
        } else if bytes[at..].starts_with(b"*/") {
            (at, depth) = (at + 2, depth - 1);
        } else {
            at += 1;
        }
        if depth == 0 {
            return at;
        }
    }
    at
}

fn string_length(bytes: &[u8]) -> usize {
    let mut at = 1;
    while at < bytes.len() && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(bytes.len())
}

/// A character with its quotes, or the quote of a lifetime alone.
fn quote_length(bytes: &[u8]) -> usize {
    if bytes.get(1) == Some(&b'\\') {
        let end = bytes.iter().skip(3).position(|byte| *byte == b'\'');
        return end.map_or(bytes.len(), |end| end + 4);
    }
    let text = String::from_utf8_lossy(&bytes[1..bytes.len().min(6)]).into_owned();
    let length = text.chars().next().map_or(0, char::len_utf8);
    if bytes.get(1 + length) == Some(&b'\'') { length + 2 } else { 1 }
}

/// Leaves out what is `#[cfg(test)]`, and gives the names of such modules that are in files of their own.
fn without_tests(tokens: Vec<Token>) -> (Vec<Token>, Vec<String>) {
    const MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let (mut kept, mut modules, mut at) = (Vec::new(), Vec::new(), 0);
    while at < tokens.len() {
        let is_mark =
            tokens.len() - at >= MARK.len() && tokens[at..].iter().zip(MARK).all(|(token, mark)| token.text == mark);
        if !is_mark {
            kept.push(tokens[at].clone());
            at += 1;
            continue;
        }
        at += MARK.len();
        while tokens[at].text == "#" {
            at = after_brackets(&tokens, at + 1);
        }
        let begin = at;
        while !["{", ";"].contains(&&*tokens[at].text) {
            at += 1;
        }
        if tokens[at].text == "{" {
            at = after_brackets(&tokens, at);
        } else {
            at += 1;
            if let Some(module) = tokens[begin..at].iter().position(|token| token.text == "mod") {
                modules.push(tokens[begin + module + 1].text.clone());
            }
        }
    }
    (kept, modules)
}

/// The place after the bracket that closes the one at `at`.
fn after_brackets(tokens: &[Token], mut at: usize) -> usize {
    let mut depth = 0;
    while at < tokens.len() {
        match tokens[at].text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            break;
        }
    }
    at
}

/// A path that is named, with the groups of a `use` taken apart.
struct Named {
    line: usize,
    path: Vec<String>,
}

fn is_word(token: Option<&Token>) -> bool {
    token.is_some_and(|token| token.text.starts_with(|first: char| first == '_' || first.is_alphabetic()))
}

fn names(tokens: &[Token]) -> Vec<Named> {
    let mut named = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let follows = at > 0 && ["::", "."].contains(&tokens[at - 1].text.as_str());
        let leads = tokens.get(at + 1).is_some_and(|next| next.text == "::");
        let is_use = at > 0 && tokens[at - 1].text == "use";
        if is_word(Some(token)) && !follows && (leads || is_use) {
            read_tree(tokens, at, &[], &mut named);
        }
    }
    named
}

/// Reads `a::b::{c, d::e}` from `at`, and gives the place after it.
fn read_tree(tokens: &[Token], mut at: usize, prefix: &[String], named: &mut Vec<Named>) -> usize {
    let mut path = prefix.to_vec();
    let line = tokens[at].line;
    while let Some(token) = tokens.get(at) {
        if token.text == "{" {
            at += 1;
            while tokens.get(at).is_some_and(|token| token.text != "}") {
                at = if is_word(tokens.get(at)) || tokens[at].text == "{" {
                    read_tree(tokens, at, &path, named)
                } else {
                    at + 1
                };
            }
            return at + 1;
        }
        if !is_word(Some(token)) {
            break;
        }
        path.push(token.text.clone());
        at += 1;
        if tokens.get(at).is_none_or(|token| token.text != "::") {
            break;
        }
        at += 1;
    }
    named.push(Named { line, path });
    at
}

/// Line, name and length in lines of every function.
fn functions(tokens: &[Token]) -> Vec<(usize, &str, usize)> {
    let mut found = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        if token.text != "fn" || !is_word(tokens.get(at + 1)) {
            continue;
        }
        let Some(body) = tokens[at..].iter().position(|token| ["{", ";"].contains(&&*token.text)) else { continue };
        if tokens[at + body].text == "{" {
            let end = after_brackets(tokens, at + body) - 1;
            found.push((token.line, tokens[at + 1].text.as_str(), tokens[end].line - token.line + 1));
        }
    }
    found
}
