//! `roster sign`: the two headers of a signed request, and with `--explain` the five lines that were signed, to compare
//! with those of a 401's answer.

use std::path::PathBuf;

use clap::Args;
use clap::builder::BoolishValueParser;
use serde::Serialize;

use crate::contact::date_time::print_ms;
use crate::signature::{AUTHORIZATION, DATE, Line, explain};

use super::failure::{Exit, Failure};
use super::import::read_bytes;
use super::operator::now_ms;
use super::output::{Align, Output};
use super::signing::{CredentialArgs, Signed};

/// The most of a line that is shown, in characters: a body can have megabytes.
const SHOWN_CHARS_MAX: usize = 60;

#[derive(Args)]
#[command(after_help = "Example:
  ROSTER_TOKEN=INVENTED_TOKEN ROSTER_SECRET=INVENTED_SECRET \\
    roster sign GET /bogus --timestamp 1969-07-20T20:17:00+00:00 --explain")]
pub(super) struct SignArgs {
    /// The method, like GET or POST
    method: String,
    /// The path, without host and query; with the query for a file that is sent as it is
    path: String,
    /// The body, byte for byte as it will be sent, or for such a file the value of Content-Digest; '-' is standard input
    #[arg(long, env = "ROSTER_BODY", value_name = "FILE")]
    body: Option<PathBuf>,
    /// The time, exactly as the header will say it [default: now]
    #[arg(long, env = "ROSTER_TIMESTAMP", value_name = "T")]
    timestamp: Option<String>,
    /// Show the five lines that are signed: lower-cased, with length and SHA-256
    #[arg(long, env = "ROSTER_EXPLAIN", value_parser = BoolishValueParser::new())]
    explain: bool,
    #[command(flatten)]
    credentials: CredentialArgs,
}

/// The headers, as scripts read them.
#[derive(Serialize)]
struct SignedJson<'a> {
    authorization: &'a str,
    date: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    lines: Vec<LineJson>,
}

/// A signed line; the same members as in a 401's answer, and the text.
#[derive(Serialize)]
struct LineJson {
    name: &'static str,
    sha256: String,
    bytes: usize,
    text: String,
}

pub(super) fn run(args: &SignArgs, output: Output) -> Result<Exit, Failure> {
    if !args.path.starts_with('/') || args.path.contains('#') {
        return Err(no_path(&args.path));
    }
    let credentials = args.credentials.credentials()?;
    let body = args.body.as_deref().map_or_else(|| Ok(Vec::new()), read_bytes)?;
    if args.path.contains('?') && !is_content_digest(&body) {
        return Err(no_path(&args.path));
    }
    let date = args.timestamp.clone().unwrap_or_else(|| print_ms(now_ms()));
    let signed = credentials.sign(&args.method, &args.path, &body, &date);
    let lines = if args.explain {
        let texts =
            [credentials.token.as_bytes(), args.method.as_bytes(), args.path.as_bytes(), &body, date.as_bytes()];
        with_texts(explain(&credentials.token, &args.method, &args.path, &body, &date), texts)
    } else {
        Vec::new()
    };
    print(&signed, lines, output)?;
    Ok(Exit::Done)
}

fn print(signed: &Signed, lines: Vec<LineJson>, output: Output) -> Result<(), Failure> {
    let Signed { authorization, date } = signed;
    if output.json {
        return output.object(&SignedJson { authorization, date, lines });
    }
    output.line(format_args!("{AUTHORIZATION}: {authorization}\n{DATE}: {date}"))?;
    if lines.is_empty() {
        return Ok(());
    }
    output.line("")?;
    let columns = [("line", Align::Left), ("bytes", Align::Right), ("sha256", Align::Left), ("text", Align::Left)];
    let rows = lines
        .into_iter()
        .map(|LineJson { name, sha256, bytes, text }| [name.to_owned(), bytes.to_string(), sha256, cut(&text)]);
    output.table(columns, rows)
}

fn with_texts(lines: [Line; 5], texts: [&[u8]; 5]) -> Vec<LineJson> {
    let with_text = |(line, text)| {
        let Line { name, sha256, bytes } = line;
        LineJson { name, sha256, bytes, text: String::from_utf8_lossy(text).to_lowercase() }
    };
    lines.into_iter().zip(texts).map(with_text).collect()
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// What stands in the place of a file in the stream form, where the query is signed, too.
fn is_content_digest(body: &[u8]) -> bool {
    body.strip_prefix(b"sha-256=:").is_some_and(|digest| digest.ends_with(b"=:") && !digest.contains(&b'\n'))
}

/// A path with a host or a query would give a signature that no service accepts.
fn no_path(path: &str) -> Failure {
    Failure::yours(format!("'{}' is no path to sign", super::output::escape(path))).with_remedy(
        "What is signed is the path alone, from its first '/', without host and query. (Of a file that is sent as it is, path and query; its body is the value of Content-Digest, without a line feed.)",
    )
}
