//! The signature doctor: what somebody's code has signed, beside what this service expects of the same request, with the first difference marked.

use askama::Template;
use axum::response::Response;

use super::answer::{Turned, page as show};
use super::data::Data;
use super::form::{Fields, Sent};
use super::frame::{Frame, Section};
use super::imports::Choice;
use crate::signature::{self, Claim, Form};
use crate::tenant::Role;

/// So much of a line is shown around its first difference, in characters.
const SHOWN_BEFORE: usize = 40;
const SHOWN_AFTER: usize = 40;

const METHODS: [&str; 3] = ["POST", "GET", "DELETE"];

/// What was typed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Typed {
    token: String,
    method: String,
    path: String,
    body: String,
    timestamp: String,
    /// The string that the code has signed.
    signed: String,
    signature: String,
}

impl Typed {
    fn read(fields: &Fields) -> Typed {
        let text = |name: &str| fields.get(name).to_owned();
        // Browsers send every line end as CRLF; which one it was cannot be known here.
        let lines = |name: &str| fields.raw(name).replace("\r\n", "\n");
        Typed {
            token: text("token"),
            method: text("method"),
            path: text("path"),
            body: lines("body"),
            timestamp: text("timestamp"),
            signed: lines("signed"),
            signature: text("signature"),
        }
    }
}

/// One of the five lines.
#[derive(Clone, PartialEq, Eq, Debug)]
struct LineView {
    name: &'static str,
    is_same: bool,
    expected: Shown,
    signed: Shown,
    /// What the difference may be.
    hint: Option<&'static str>,
}

/// A line, cut around its first difference.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Shown {
    before: String,
    /// The first character that differs; blank if there is none.
    at: String,
    after: String,
    is_blank: bool,
}

struct Finding {
    good: bool,
    text: String,
}

#[derive(Template)]
#[template(path = "console/doctor.html")]
struct DoctorPage {
    frame: Frame,
    typed: Typed,
    tokens: Vec<String>,
    methods: Vec<Choice>,
    lines: Vec<LineView>,
    findings: Vec<Finding>,
    is_examined: bool,
}

async fn doctor_page(
    data: &Data,
    typed: Typed,
    examined: Option<(Vec<LineView>, Vec<Finding>)>,
) -> Result<Response, Turned> {
    let tokens = data.tokens().await?;
    let is_examined = examined.is_some();
    let (lines, findings) = examined.unwrap_or_default();
    let methods = METHODS.map(|method| Choice {
        value: method.to_owned(),
        label: method.to_owned(),
        is_chosen: method == typed.method,
    });
    let page = DoctorPage {
        frame: Frame::of("Signature doctor", Section::Doctor, data),
        tokens: tokens.into_iter().filter(|token| token.revoked_ms.is_none()).map(|token| token.token).collect(),
        methods: methods.into(),
        typed,
        lines,
        findings,
        is_examined,
    };
    Ok(show(&page))
}

pub(super) async fn page(data: Data) -> Result<Response, Turned> {
    doctor_page(&data, Typed::default(), None).await
}

pub(super) async fn examine(data: Data, Sent(fields): Sent) -> Result<Response, Turned> {
    let typed = Typed::read(&fields);
    let mut findings = about_the_request(&typed);
    let mut lines = Vec::new();
    if !typed.signed.is_empty() {
        lines = compare(&typed);
        findings.extend(about_the_string(&typed, &lines));
    }
    if !typed.signature.is_empty() {
        findings.push(about_the_signature(&data, &typed).await?);
    }
    doctor_page(&data, typed, Some((lines, findings))).await
}

fn expected(typed: &Typed) -> [String; 5] {
    let Typed { token, method, path, body, timestamp, .. } = typed;
    signature::canonical(token, method, path, body, timestamp)
}

/// The five lines of a signed string: a body may have line ends of its own.
fn taken_apart(signed: &str) -> [&str; 5] {
    let mut lines = [""; 5];
    let mut rest = signed;
    for line in &mut lines[..3] {
        (*line, rest) = rest.split_once('\n').unwrap_or((rest, ""));
    }
    (lines[3], lines[4]) = rest.rsplit_once('\n').unwrap_or(("", rest));
    lines
}

fn compare(typed: &Typed) -> Vec<LineView> {
    // A line end behind the last line is told apart from the lines.
    let signed = typed.signed.strip_suffix('\n').unwrap_or(&typed.signed);
    let names = ["token", "method", "path", "body", "timestamp"];
    let pairs = names.into_iter().zip(expected(typed)).zip(taken_apart(signed));
    pairs.map(|((name, expected), signed)| line_view(name, &expected, signed)).collect()
}

fn line_view(name: &'static str, expected: &str, signed: &str) -> LineView {
    let same = expected.chars().zip(signed.chars()).take_while(|(one, other)| one == other).count();
    let is_same = expected == signed;
    let at = if is_same { usize::MAX } else { same };
    LineView {
        name,
        is_same,
        expected: shown(expected, at),
        signed: shown(signed, at),
        hint: (!is_same).then(|| hint(name, expected, signed)).flatten(),
    }
}

/// A line around the character of this number.
fn shown(line: &str, at: usize) -> Shown {
    let chars: Vec<char> = line.chars().collect();
    let middle = at.min(chars.len());
    let from = if at == usize::MAX { 0 } else { middle.saturating_sub(SHOWN_BEFORE) };
    let to = chars.len().min(if at == usize::MAX { SHOWN_BEFORE + SHOWN_AFTER } else { middle + 1 + SHOWN_AFTER });
    let text = |from: usize, to: usize| {
        chars.get(from..to).unwrap_or_default().iter().map(|at| visible(*at)).collect::<String>()
    };
    let (before_to, after_from) = if at == usize::MAX { (to, to) } else { (middle, (middle + 1).min(to)) };
    let dots = |is: bool| if is { "…" } else { "" };
    Shown {
        before: format!("{}{}", dots(from > 0), text(from, before_to)),
        at: if at == usize::MAX { String::new() } else { end_or(&text(middle, (middle + 1).min(chars.len()))) },
        after: format!("{}{}", text(after_from, to), dots(to < chars.len())),
        is_blank: chars.is_empty(),
    }
}

fn end_or(text: &str) -> String {
    if text.is_empty() { "(ends here)".to_owned() } else { text.to_owned() }
}

/// Characters that nobody sees have signs of their own.
fn visible(at: char) -> char {
    match at {
        '\n' => '␊',
        '\r' => '␍',
        '\t' => '␉',
        '\u{a0}' => '⍽',
        at if at.is_control() => '�',
        at => at,
    }
}

/// What people usually have done where a line differs so.
fn hint(name: &str, expected: &str, signed: &str) -> Option<&'static str> {
    let without_blanks = |text: &str| text.split_whitespace().collect::<String>();
    if signed.is_empty() {
        return Some("The line is not there. All five lines are signed, also an empty one for no body.");
    }
    if signed.to_lowercase() == expected {
        return Some("It is not in lower case. The whole string is lower-cased before it is signed.");
    }
    if signed.trim() == expected.trim() {
        return Some("There is white space at its end or beginning.");
    }
    match name {
        "path" if signed.contains("://") => Some("The path is signed without scheme and host."),
        "path" if signed.split('?').next() == Some(expected) => {
            Some("The path is signed without the query string (only text/csv imports sign it with the query).")
        }
        "path" if signed.trim_end_matches('/') == expected.trim_end_matches('/') => {
            Some("A slash at the end belongs to the path only if it is sent.")
        }
        "body" if without_blanks(signed) == without_blanks(expected) => Some(
            "The white space differs: the body that is signed must be the body that is sent, byte by byte (or its JSON without any white space).",
        ),
        "body" if expected.is_empty() => Some("A body was signed and none is sent."),
        "timestamp" => {
            Some("The timestamp is signed exactly as the header SignalVine-Date spells it, not printed anew.")
        }
        "token" => Some("The first line is the token, not its name and not the secret."),
        _ => None,
    }
}

fn about_the_request(typed: &Typed) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut bad = |text: &str| findings.push(Finding { good: false, text: text.to_owned() });
    if typed.token.is_empty() {
        bad("Say which token the request is signed with.");
    }
    if !typed.path.starts_with('/') {
        bad("The path begins with a slash, without scheme and host: /v2/programs/…/participants.");
    }
    if typed.path.contains('?') {
        bad("The path has a query string, which is not signed (but for imports sent as text/csv).");
    }
    if typed.timestamp.is_empty() {
        bad("Say what the header SignalVine-Date of the request is.");
    }
    findings
}

fn about_the_string(typed: &Typed, lines: &[LineView]) -> Option<Finding> {
    let differing = lines.iter().filter(|line| !line.is_same).count();
    if differing == 0 && typed.signed.ends_with('\n') {
        let text =
            "The five lines fit, but there is a line end behind the last one. The string ends with the timestamp.";
        return Some(Finding { good: false, text: text.to_owned() });
    }
    Some(if differing == 0 {
        Finding { good: true, text: "Your code signed what this service expects. If the request is refused all the same, the secret or the HMAC differs: SHA-256, over UTF-8, the secret as it was shown.".to_owned() }
    } else {
        let names: Vec<&str> = lines.iter().filter(|line| !line.is_same).map(|line| line.name).collect();
        Finding {
            good: false,
            text: format!("Your code signed something else than this service expects, in: {}.", names.join(", ")),
        }
    })
}

/// Whether the signature fits, as the API would find.
async fn about_the_signature(data: &Data, typed: &Typed) -> Result<Finding, Turned> {
    if !data.may(Role::Editor) {
        return Ok(Finding { good: false, text: "Trying a signature needs the role editor.".to_owned() });
    }
    let header = format!("SignalVine {}:{}", typed.token, typed.signature);
    let claim = match Claim::from_headers(Some(header.as_bytes()), Some(typed.timestamp.as_bytes())) {
        Ok(claim) => claim,
        Err(fault) => return Ok(Finding { good: false, text: super::answer::sentence(&fault.to_string()) }),
    };
    let Some(token) = data.token(&typed.token).await? else {
        return Ok(Finding { good: false, text: "This account has no such token, or it is revoked.".to_owned() });
    };
    let now_ms = data.now_ms();
    let secrets = [Some(&token.secret), token.old_secret_at(now_ms)];
    for (secret, which) in secrets.into_iter().flatten().zip(["", " It fits the token's old secret."]) {
        let fits =
            signature::verify(&claim, secret.expose().as_bytes(), &typed.method, &typed.path, typed.body.as_bytes());
        if let Ok(form) = fits {
            let how = match form {
                Form::AsSent => "",
                Form::AsSentPlainSigma | Form::AsSentAscii => " It was lower-cased in another way, which is accepted.",
                Form::Stripped | Form::StrippedPlainSigma | Form::StrippedAscii => {
                    " It is over the JSON without white space, which is accepted."
                }
            };
            return Ok(Finding { good: true, text: format!("The signature fits this request.{which}{how}") });
        }
    }
    Ok(Finding { good: false, text: "The signature does not fit this request with this token's secret.".to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(signed: &str) -> Typed {
        Typed {
            token: "INVENTED_TOKEN".to_owned(),
            method: "POST".to_owned(),
            path: "/v2/programs/A/participants".to_owned(),
            body: "{\"a\":\n\"B\"}".to_owned(),
            timestamp: "1969-07-20T20:17:00Z".to_owned(),
            signed: signed.to_owned(),
            signature: String::new(),
        }
    }

    const GOOD: &str = "invented_token\npost\n/v2/programs/a/participants\n{\"a\":\n\"b\"}\n1969-07-20t20:17:00z";

    fn told(signed: &str) -> String {
        let lines = compare(&typed(signed));
        let line = |line: &LineView| {
            let Shown { before, at, after, .. } = &line.signed;
            format!("{}: {before}[{at}]{after} {}", line.name, line.hint.unwrap_or_default())
        };
        lines.iter().filter(|line| !line.is_same).map(line).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn the_first_difference_is_marked_and_explained() {
        assert_eq!(told(GOOD), "");
        assert!(about_the_string(&typed(GOOD), &compare(&typed(GOOD))).is_some_and(|finding| finding.good));
        let with_end = format!("{GOOD}\n");
        assert!(about_the_string(&typed(&with_end), &compare(&typed(&with_end))).is_some_and(|finding| !finding.good));
        assert_eq!(
            told(&GOOD.replace("post", "POST")),
            "method: [P]OST It is not in lower case. The whole string is lower-cased before it is signed."
        );
        assert!(told(&GOOD.replace("/v2", "https://x.example/v2")).ends_with("without scheme and host."));
        assert!(told(&GOOD.replace(":\n\"b", ": \"b")).starts_with("body: {\"a\":[ ]\"b\"} The white space differs"));
        assert!(
            told(&GOOD.replace("17:00z", "17:00.000z"))
                .starts_with("timestamp: 1969-07-20t20:17:00[.]000z The timestamp")
        );
        assert!(told("invented_token\npost").contains("path: [(ends here)] The line is not there."));
    }

    #[test]
    fn long_lines_are_cut_around_the_difference() {
        let long = "x".repeat(1_000);
        let seen = shown(&format!("{long}!{long}"), 1_000);
        assert_eq!((seen.before.chars().count(), seen.at.as_str(), seen.after.chars().count()), (41, "!", 41));
        assert_eq!(shown("a\r\n\tb", usize::MAX).before, "a␍␊␉b");
        assert!(shown("", usize::MAX).is_blank);
    }
}
