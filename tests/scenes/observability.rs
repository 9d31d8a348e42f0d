//! What docs/observability has for Prometheus and Grafana: it asks for numbers that the service really tells, by labels that they
//! really have, and the alerts fire when they should.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::harness::{Home, contacts_csv, counts};
use crate::watching::{metrics, watch_address};

scenes_on_sqlite!(the_dashboard_and_the_rules_ask_for_numbers_that_are_there);

/// Labels that Prometheus adds to whatever it reads.
const PROMETHEUS_LABELS: [&str; 2] = ["instance", "job"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/observability")
}

fn text(name: &str) -> String {
    std::fs::read_to_string(folder().join(name)).unwrap()
}

/// Every expression of the dashboard, wherever it stands.
fn expressions(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                match member {
                    Value::String(text) if name == "expr" || name == "query" => found.push(text.clone()),
                    _ => expressions(member, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| expressions(item, found)),
        _ => {}
    }
}

fn is_name(sign: char) -> bool {
    sign.is_ascii_alphanumeric() || sign == '_'
}

/// The numbers that an answer of `/metrics` tells, each with its labels and their values.
type Told = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

fn told(metrics: &str) -> Told {
    let mut told = Told::new();
    for line in metrics.lines().filter(|line| !line.starts_with('#')) {
        let name: String = line.chars().take_while(|sign| is_name(*sign)).collect();
        let labels = told.entry(name.clone()).or_default();
        for (label, value) in pairs(&line[name.len()..]) {
            labels.entry(label).or_default().insert(value);
        }
    }
    told
}

/// The labels of `{a="b",c=~"d"}` at the beginning of a text. (No value has a brace but routes, which have both of them.)
fn pairs(text: &str) -> Vec<(String, String)> {
    let Some(mut rest) = text.strip_prefix('{') else { return Vec::new() };
    let mut pairs = Vec::new();
    while let Some((label, after)) = rest.split_once('"') {
        let (value, after) = after.split_once('"').unwrap();
        pairs.push((label.trim_matches([',', ' ', '=', '~', '!']).to_owned(), value.to_owned()));
        rest = after;
        if rest.starts_with('}') {
            break;
        }
    }
    pairs
}

/// Checks an expression, and gives how many numbers it asks for.
fn check(expression: &str, told: &Told) -> usize {
    let mut asked = 0;
    let mut labels_asked = BTreeSet::new();
    let mut labels_there: BTreeSet<&str> = PROMETHEUS_LABELS.into();
    for (at, _) in expression.match_indices("roster_") {
        if expression[..at].chars().next_back().is_some_and(is_name) {
            continue;
        }
        let name: String = expression[at..].chars().take_while(|sign| is_name(*sign)).collect();
        let labels = told.get(&name).unwrap_or_else(|| panic!("nobody tells '{name}': {expression}"));
        asked += 1;
        labels_there.extend(labels.keys().map(String::as_str));
        for (label, value) in pairs(&expression[at + name.len()..]) {
            if PROMETHEUS_LABELS.contains(&label.as_str()) {
                continue;
            }
            let values = labels.get(&label).unwrap_or_else(|| panic!("'{name}' has no '{label}': {expression}"));
            for value in value.split('|') {
                assert!(values.contains(value), "'{name}' is never told with '{label}' {value}: {expression}");
            }
        }
    }
    for (_, list) in expression.split("by (").skip(1).map(|rest| ((), rest.split_once(')').unwrap().0)) {
        labels_asked.extend(list.split(',').map(str::trim));
    }
    assert!(labels_asked.iter().all(|label| labels_there.contains(label)), "{labels_asked:?}: {expression}");
    asked
}

/// Every `expr` of the rules; a long one stands on the lines below.
fn rules() -> Vec<String> {
    let text = text("roster.rules.yml");
    text.split("        expr: ")
        .skip(1)
        .map(|rest| {
            let of_rule = rest.split_once("\n        labels:").unwrap().0;
            of_rule.split_once("\n        for:").map_or(of_rule, |(expression, _)| expression).to_owned()
        })
        .collect()
}

fn the_dashboard_and_the_rules_ask_for_numbers_that_are_there(home: Home) {
    let service = home.with("ROSTER_METRICS_LISTEN", "127.0.0.1:0").with("NO_COLOR", "1").serve();
    let at_start = metrics(&watch_address(&service));
    // What may happen is told as 0, so that its first time is an increase.
    for name in
        ["roster_imports_total", "roster_rows_total", "roster_signature_failures_total", "roster_turned_away_total"]
    {
        let lines: Vec<&str> = at_start.lines().filter(|line| line.starts_with(&format!("{name}{{"))).collect();
        assert!(lines.len() >= 5 && lines.iter().all(|line| line.ends_with(" 0")), "{at_start}");
    }
    let client = service.client();
    assert_eq!(counts(&client.import("add", "ignore", "row", &contacts_csv(0, 3))), ([3, 3, 0, 0, 0, 0], true));
    let after = metrics(&watch_address(&service));
    let mut there = told(&after);
    // No service of ours answers so here; the class is that of `http::answer`.
    there.get_mut("roster_requests_total").unwrap().get_mut("status").unwrap().insert("5xx".to_owned());

    let mut asked = Vec::new();
    expressions(&serde_json::from_str(&text("roster.dashboard.json")).unwrap(), &mut asked);
    let of_dashboard: usize = asked.iter().map(|expression| check(expression, &there)).sum();
    let rules = rules();
    let of_rules: usize = rules.iter().map(|expression| check(expression, &there)).sum();
    assert!(of_dashboard >= 15 && of_rules >= 10 && rules.len() == 11, "{of_dashboard} {of_rules} {rules:?}");
    // And each of the numbers is on the dashboard.
    for name in there.keys().filter(|name| !name.ends_with("_sum") && !name.ends_with("_count")) {
        assert!(asked.iter().any(|expression| expression.contains(name.as_str())), "'{name}' is on no panel");
    }
}

#[test]
fn what_is_not_told_is_found() {
    let told = told("# HELP a b\nroster_x_total{outcome=\"a\",route=\"/{p}\"} 1\nroster_y 2\n");
    assert_eq!(
        check("sum by (outcome) (rate(roster_x_total{outcome=~\"a\", instance=\"i\"}[5m])) > roster_y", &told),
        2
    );
    for wrong in ["roster_z", "roster_x_total{code=\"a\"}", "roster_x_total{outcome=\"b\"}", "sum by (code) (roster_y)"]
    {
        assert!(std::panic::catch_unwind(|| check(wrong, &told)).is_err(), "{wrong}");
    }
}

/// `promtool` of the machine, or the one that `cargo xtask test` has put into place.
fn promtool(arguments: &[&str]) -> String {
    let placed = Path::new(env!("CARGO_TARGET_TMPDIR")).join("promtool");
    let program = if placed.exists() { placed } else { "promtool".into() };
    let output = Command::new(program).args(arguments).current_dir(folder()).output();
    let output = output.unwrap_or_else(|fault| panic!("promtool is needed (cargo xtask test gets it): {fault}"));
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
    said
}

#[test]
fn the_alerts_fire_when_they_should_and_not_else() {
    assert!(promtool(&["check", "rules", "roster.rules.yml"]).contains("11 rules found"));
    promtool(&["test", "rules", "roster.rules.test.yml"]);
    // Each of them is tried, and explained to who is woken by it.
    let (rules, tests) = (text("roster.rules.yml"), text("roster.rules.test.yml"));
    let page = std::fs::read_to_string(folder().with_file_name("OPERATIONS.md")).unwrap();
    let alerts: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert_eq!(alerts.len(), 11);
    for alert in alerts {
        let fires = tests.split(&format!("alertname: {alert}\n        exp_alerts:\n          - exp_labels")).count();
        assert_eq!(fires, 2, "{alert} is not seen to fire once");
        assert!(page.contains(&format!("\n| `{alert}` | ")), "docs/OPERATIONS.md does not say what to do at {alert}");
    }
}
