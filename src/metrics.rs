//! What is counted while the service runs, and how Prometheus reads it. No count has a program, an account or any other
//! name that a stranger could make many of.
//!
//! It is counted in the process and from its start: a node of many is asked for itself. Who is asked for the numbers, and
//! what of the store is told beside them, is not known here.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The upper ends of the buckets of durations, in seconds: from a flush of a fast disk to an import of millions of rows.
const BUCKETS_S: [f64; 16] =
    [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 120.0, 600.0];

/// Imports that came to an end, by `outcome`: `applied`, or why not.
pub static IMPORTS: Family =
    Family::of(&["applied", "tx_errors", "too_many_errors", "file_error", "limit", "dry_run", "cancelled", "fault"]);
/// Rows of imports that were applied, by `outcome`.
pub static ROWS: Family = Family::of(&["added", "updated", "unchanged", "ignored", "failed"]);
/// Requests that came with no valid signature, by `code`.
pub static SIGNATURE_FAILURES: Family =
    Family::of(&["signature_missing", "signature_malformed", "unknown_token", "clock_off", "signature_mismatch"]);
/// Signatures that were computed to compare one with, by whether the `token` is there.
pub static SIGNATURE_CHECKS: Family = Family::of(&["known", "unknown"]);
/// Requests that a limit turned away, by `limit`.
pub static TURNED_AWAY: Family = Family::of(&[
    "token_requests",
    "account_requests",
    "token_uploads",
    "account_uploads",
    "program_queue",
    "account_queue",
    "bodies",
    "streams",
    "exports",
    "connections",
    "idle_connections",
]);
/// Answers, by `route` (its template) and `status` (its class).
pub static REQUESTS: Family = Family::of(&[]);
/// How long it took to make a checked import durable.
pub static ACCEPT: Histogram = Histogram::new();
/// How long an import took, from its claim to its commit, all tries together.
pub static IMPORT: Histogram = Histogram::new();

/// Until when the listener's certificate is valid, in seconds since 1970-01-01 UTC; 0 where it has none.
pub static CERTIFICATE_UNTIL_S: AtomicI64 = AtomicI64::new(0);

/// Counts by the values of their labels.
pub struct Family {
    counts: Mutex<BTreeMap<Vec<String>, u64>>,
    /// Values of the one label that are told from the start, as 0: Prometheus does not see the first one of what was not there before.
    expected: &'static [&'static str],
}

impl Family {
    const fn of(expected: &'static [&'static str]) -> Family {
        Family { counts: Mutex::new(BTreeMap::new()), expected }
    }

    /// Counts so many more. The values must be of a small, fixed set.
    pub fn add(&self, values: &[&str], more: u64) {
        let mut counts = lock(&self.counts);
        *counts.entry(values.iter().map(|value| (*value).to_owned()).collect()).or_insert(0) += more;
    }

    fn print(&self, text: &mut String, name: &str, labels: &[&str], help: &str) {
        head(text, name, "counter", help);
        let mut counts = lock(&self.counts);
        for value in self.expected {
            counts.entry(vec![(*value).to_owned()]).or_insert(0);
        }
        for (values, count) in counts.iter() {
            let pairs: Vec<String> =
                labels.iter().zip(values).map(|(label, value)| format!("{label}=\"{}\"", escaped(value))).collect();
            let _ = writeln!(text, "{name}{{{}}} {count}", pairs.join(","));
        }
    }
}

/// Durations.
pub struct Histogram(Mutex<Durations>);

struct Durations {
    /// How many fell into each bucket, and beyond the last.
    counts: [u64; BUCKETS_S.len() + 1],
    sum: Duration,
}

impl Histogram {
    const fn new() -> Histogram {
        Histogram(Mutex::new(Durations { counts: [0; BUCKETS_S.len() + 1], sum: Duration::ZERO }))
    }

    /// Counts one.
    pub fn observe(&self, took: Duration) {
        let at = BUCKETS_S.iter().position(|end| took.as_secs_f64() <= *end).unwrap_or(BUCKETS_S.len());
        let mut durations = lock(&self.0);
        durations.counts[at] += 1;
        durations.sum = durations.sum.saturating_add(took);
    }

    fn print(&self, text: &mut String, name: &str, help: &str) {
        head(text, name, "histogram", help);
        let durations = lock(&self.0);
        let ends = BUCKETS_S.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
        let mut count = 0;
        for (end, fell) in ends.zip(durations.counts) {
            count += fell;
            let _ = writeln!(text, "{name}_bucket{{le=\"{end}\"}} {count}");
        }
        let _ = writeln!(text, "{name}_sum {}\n{name}_count {count}", durations.sum.as_secs_f64());
    }
}

/// What of the store is told beside the counts, as it is now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Queue {
    /// Commands that wait or run.
    pub commands: u64,
    /// How long the oldest of them has been there; nothing where there is none.
    pub oldest: Duration,
}

/// Everything, in Prometheus' text form; without the queue where the store does not answer.
pub fn text(queue: Option<Queue>) -> String {
    let mut text = String::new();
    head(&mut text, "roster_build_info", "gauge", "Which roster this is");
    let _ = writeln!(text, "roster_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION"));
    head(&mut text, "roster_store_up", "gauge", "Whether the store answered just now");
    let _ = writeln!(text, "roster_store_up {}", u8::from(queue.is_some()));
    if let Some(Queue { commands, oldest }) = queue {
        head(&mut text, "roster_queue_commands", "gauge", "Commands that wait or run, of all nodes");
        let _ = writeln!(text, "roster_queue_commands {commands}");
        head(&mut text, "roster_queue_oldest_seconds", "gauge", "How long ago the oldest of them was accepted");
        let _ = writeln!(text, "roster_queue_oldest_seconds {}", oldest.as_secs_f64());
    }
    let until_s = CERTIFICATE_UNTIL_S.load(Ordering::Relaxed);
    if until_s != 0 {
        let name = "roster_certificate_until_timestamp_seconds";
        head(&mut text, name, "gauge", "Until when the listener's certificate is valid");
        let _ = writeln!(text, "{name} {until_s}");
    }
    IMPORTS.print(&mut text, "roster_imports_total", &["outcome"], "Imports that came to an end");
    ROWS.print(&mut text, "roster_rows_total", &["outcome"], "Rows of imports that were applied");
    REQUESTS.print(&mut text, "roster_requests_total", &["route", "status"], "Answers");
    let help = "Requests without a valid signature";
    SIGNATURE_FAILURES.print(&mut text, "roster_signature_failures_total", &["code"], help);
    let help = "Signatures that were computed to compare one with, by whether the token is there";
    SIGNATURE_CHECKS.print(&mut text, "roster_signature_checks_total", &["token"], help);
    let help = "Requests that a limit turned away";
    TURNED_AWAY.print(&mut text, "roster_turned_away_total", &["limit"], help);
    ACCEPT.print(&mut text, "roster_accept_seconds", "How long it took to make a checked import durable");
    IMPORT.print(&mut text, "roster_import_seconds", "How long an import took, from its claim to its commit");
    text
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn counts_are_told_by_their_labels() {
        let family = Family::of(&[]);
        family.add(&["/v2/{x}", "2xx"], 2);
        family.add(&["/v2/{x}", "2xx"], 1);
        family.add(&["a\"b\\c\nd", "4xx"], 1);
        let mut text = String::new();
        family.print(&mut text, "some_total", &["route", "status"], "Some");
        expect![[r#"
            # HELP some_total Some
            # TYPE some_total counter
            some_total{route="/v2/{x}",status="2xx"} 3
            some_total{route="a\"b\\c\nd",status="4xx"} 1
        "#]]
        .assert_eq(&text);
    }

    #[test]
    fn what_is_expected_is_told_before_it_happens() {
        let family = Family::of(&["applied", "fault"]);
        family.add(&["applied"], 2);
        let mut text = String::new();
        family.print(&mut text, "some_total", &["outcome"], "Some");
        assert!(text.ends_with("some_total{outcome=\"applied\"} 2\nsome_total{outcome=\"fault\"} 0\n"), "{text}");
    }

    #[test]
    fn buckets_hold_all_that_took_no_longer() {
        let histogram = Histogram::new();
        for ms in [1, 2, 3, 700, 700_000] {
            histogram.observe(Duration::from_millis(ms));
        }
        let mut text = String::new();
        histogram.print(&mut text, "some_seconds", "Some");
        for line in [
            "some_seconds_bucket{le=\"0.001\"} 1",
            "some_seconds_bucket{le=\"0.002\"} 2",
            "some_seconds_bucket{le=\"0.005\"} 3",
            "some_seconds_bucket{le=\"0.5\"} 3",
            "some_seconds_bucket{le=\"1\"} 4",
            "some_seconds_bucket{le=\"600\"} 4",
            "some_seconds_bucket{le=\"+Inf\"} 5",
            "some_seconds_sum 700.706",
            "some_seconds_count 5",
        ] {
            assert!(text.lines().any(|at| at == line), "{line}\n{text}");
        }
    }
}
