//! A refused request in words: what the service's problem document says, and where its view of the signed lines differs.

use std::fmt::Write as _;

use serde::Deserialize;

use crate::signature::Line;

use super::failure::Failure;
use super::output::escape;

/// The most of a body that is no problem document that is repeated, in characters.
const FOREIGN_CHARS_MAX: usize = 300;

/// A problem document (RFC 9457), as far as it is read. A proxy's answer may have none of it.
#[derive(Deserialize, Default)]
#[serde(default)]
struct ProblemJson {
    title: String,
    code: String,
    detail: String,
    remedy: String,
    instance: String,
    errors: Vec<FaultJson>,
    lines: Vec<LineJson>,
}

/// One thing that is wrong with a request, and where.
#[derive(Deserialize, Default)]
#[serde(default)]
struct FaultJson {
    pointer: String,
    parameter: String,
    code: String,
    detail: String,
}

/// A signed line as the service saw it.
#[derive(Deserialize)]
struct LineJson {
    name: String,
    sha256: String,
    bytes: u64,
}

/// The failure of an answer that is no success. `own` gives the lines as they were signed here.
pub(super) fn refusal(status: u16, body: &[u8], own: impl FnOnce() -> [Line; 5]) -> Failure {
    let problem = serde_json::from_slice::<ProblemJson>(body).ok().filter(|problem| !problem.code.is_empty());
    let text = match problem {
        Some(problem) => words(status, &problem, own),
        None => foreign(status, body),
    };
    if (400..=499).contains(&status) { Failure::yours(text) } else { Failure::ours(text) }
}

fn words(status: u16, problem: &ProblemJson, own: impl FnOnce() -> [Line; 5]) -> String {
    let ProblemJson { title, code, detail, remedy, instance, errors, lines } = problem;
    let what = if detail.is_empty() { title } else { detail };
    let mut text = format!("{} ({status} {})", escape(what), escape(code));
    for FaultJson { pointer, parameter, code, detail } in errors {
        let place = match (pointer.as_str(), parameter.as_str()) {
            ("", "") => "the whole body",
            ("", parameter) => parameter,
            (pointer, _) => pointer,
        };
        let _ = write!(text, "\n  {}: {} ({})", escape(place), escape(detail), escape(code));
    }
    if !lines.is_empty() {
        text.push_str(&compare(lines, &own()));
    }
    if !remedy.is_empty() {
        let _ = write!(text, "\n{}", escape(remedy));
    }
    if status >= 500 && !instance.is_empty() {
        let _ = write!(text, "\nRequest: {}", escape(instance));
    }
    text
}

/// Which of the five lines the service saw otherwise than they were signed here.
fn compare(theirs: &[LineJson], own: &[Line; 5]) -> String {
    let mut text = String::new();
    for line in own {
        let seen = theirs.iter().find(|seen| seen.name == line.name);
        if seen.is_some_and(|seen| seen.sha256.eq_ignore_ascii_case(&line.sha256)) {
            continue;
        }
        let Line { name, sha256, bytes } = line;
        let _ = write!(text, "\n  the line '{name}' differs: signed here with {bytes} bytes, sha256 {sha256};");
        let _ = match seen {
            Some(seen) => write!(text, " seen there with {} bytes, sha256 {}", seen.bytes, escape(&seen.sha256)),
            None => write!(text, " not seen there"),
        };
    }
    if text.is_empty() {
        text.push_str(
            "\n  All five signed lines are the same on both sides, so the secret differs: check ROSTER_SECRET.",
        );
    }
    text
}

/// An answer that this service did not write.
fn foreign(status: u16, body: &[u8]) -> String {
    let body = String::from_utf8_lossy(body);
    let start: String = body.trim().chars().take(FOREIGN_CHARS_MAX).collect();
    if start.is_empty() {
        return format!("the service answered {status} without a word");
    }
    format!("the service answered {status}, and not in its own words (a proxy?): {}", escape(&start))
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use crate::signature::explain;

    use super::super::failure::Exit;
    use super::*;

    fn check(status: u16, body: &str, exit: Exit, expected: Expect) {
        let own = || explain("TOKEN", "POST", "/v2/x", b"{}", "2026-11-22T12:00:00.000Z");
        let failure = refusal(status, body.as_bytes(), own);
        assert_eq!(failure.exit, exit);
        expected.assert_eq(&failure.to_string());
    }

    #[test]
    fn a_problem_is_told_with_all_its_faults_and_its_remedy() {
        check(
            400,
            r#"{"title":"T","code":"missing_member","detail":"The body has 2 faults; see 'errors'.","remedy":"Send the member named.",
                "errors":[{"pointer":"/options/new","code":"missing_member","detail":"'new' is missing"},
                          {"pointer":"","code":"wrong_type","detail":"bad\u001b[2J"}]}"#,
            Exit::Yours,
            expect![[r#"
                The body has 2 faults; see 'errors'. (400 missing_member)
                  /options/new: 'new' is missing (missing_member)
                  the whole body: bad\u{1b}[2J (wrong_type)
                Send the member named."#]],
        );
        check(
            500,
            r#"{"title":"The service failed","code":"internal","instance":"urn:roster:request:7"}"#,
            Exit::Ours,
            expect![[r#"
                The service failed (500 internal)
                Request: urn:roster:request:7"#]],
        );
    }

    #[test]
    fn a_mismatch_names_the_line_that_differs() {
        let mut lines: Vec<_> = explain("TOKEN", "POST", "/v2/x", b"{}", "2026-11-22T12:00:00.000Z")
            .map(|Line { name, sha256, bytes }| serde_json::json!({"name": name, "sha256": sha256, "bytes": bytes}))
            .into();
        let body = |lines: &[serde_json::Value]| {
            serde_json::json!({"code": "signature_mismatch", "detail": "No.", "lines": lines}).to_string()
        };
        check(
            401,
            &body(&lines),
            Exit::Yours,
            expect![[r#"
                No. (401 signature_mismatch)
                  All five signed lines are the same on both sides, so the secret differs: check ROSTER_SECRET."#]],
        );
        lines[2]["sha256"] = "00".into();
        lines[2]["bytes"] = 9.into();
        check(
            401,
            &body(&lines),
            Exit::Yours,
            expect![[r#"
                No. (401 signature_mismatch)
                  the line 'path' differs: signed here with 5 bytes, sha256 1cdce80e7d5ed47f4a3d426aa1ef0cc62545599085fff10cb6448c431ff013fe; seen there with 9 bytes, sha256 00"#]],
        );
    }

    #[test]
    fn a_proxy_has_other_words() {
        check(
            502,
            "<h1>Bad gateway</h1>\n",
            Exit::Ours,
            expect!["the service answered 502, and not in its own words (a proxy?): <h1>Bad gateway</h1>"],
        );
        check(404, "", Exit::Yours, expect!["the service answered 404 without a word"]);
    }
}
