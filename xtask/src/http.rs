//! The least of an HTTP client: one request over one connection to the loopback, so that what is measured is the service.
//!
//! Requests are signed beforehand, by `roster sign`.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

/// Longer than any answer is held back.
const ANSWER_WITHIN: Duration = Duration::from_secs(150);

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(at, _)| at.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }
}

/// A connection that is kept.
pub(crate) struct Connection {
    address: String,
    stream: BufReader<TcpStream>,
}

impl Connection {
    pub(crate) fn open(address: &str) -> Result<Connection, String> {
        let open = || {
            let stream = TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(ANSWER_WITHIN))?;
            Ok(Connection { address: address.to_owned(), stream: BufReader::new(stream) })
        };
        open().map_err(|fault: io::Error| format!("{address}: {fault}"))
    }

    /// Sends a request and reads its answer, which must have a length. `headers` are whole lines.
    pub(crate) fn send(&mut self, method: &str, path: &str, headers: &[String], body: &[u8]) -> Result<Answer, String> {
        self.send_content(method, path, headers, ("application/json", body))
    }

    /// The same with a body of another type; none, if it is empty.
    pub(crate) fn send_content(
        &mut self,
        method: &str,
        path: &str,
        headers: &[String],
        (kind, body): (&'static str, &[u8]),
    ) -> Result<Answer, String> {
        let content = (!body.is_empty()).then_some((kind, body.len() as u64));
        let head = head(&self.address, method, path, headers, content);
        let address = self.address.clone();
        self.exchange(head, body).map_err(|fault| format!("{address}: {fault}"))
    }

    fn exchange(&mut self, mut request: Vec<u8>, body: &[u8]) -> io::Result<Answer> {
        request.extend_from_slice(body);
        self.stream.get_mut().write_all(&request)?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            if self.stream.read_until(b'\n', &mut answer)? == 0 {
                return Err(io::Error::other("the connection was closed"));
            }
        }
        let length = length(&answer).ok_or_else(|| io::Error::other("the answer has no length"))?;
        let start = answer.len();
        answer.resize(start + length, 0);
        self.stream.read_exact(&mut answer[start..])?;
        parse(&answer).ok_or_else(|| io::Error::other("the answer is no whole HTTP"))
    }
}

/// What a head says of its body.
fn length(head: &[u8]) -> Option<usize> {
    let lines = str::from_utf8(head).ok()?.lines();
    let mut named = lines.filter_map(|line| line.split_once(':'));
    named.find(|(name, _)| name.eq_ignore_ascii_case("content-length"))?.1.trim().parse().ok()
}

/// The type of a body, and how many bytes it has.
type Content = Option<(&'static str, u64)>;

fn json(body: &[u8]) -> Content {
    (!body.is_empty()).then_some(("application/json", body.len() as u64))
}

fn head(address: &str, method: &str, path: &str, headers: &[String], content: Content) -> Vec<u8> {
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\n");
    for line in headers {
        head.push_str(line);
        head.push_str("\r\n");
    }
    if let Some((kind, length)) = content {
        head.push_str(&format!("Content-Type: {kind}\r\nContent-Length: {length}\r\n"));
    }
    head.push_str("\r\n");
    head.into_bytes()
}

/// Sends a request over a connection of its own, and reads the whole answer. `headers` are whole lines.
pub(crate) fn send(address: &str, method: &str, path: &str, headers: &[String], body: &[u8]) -> io::Result<Answer> {
    send_content(address, (method, path), headers, json(body), |stream| stream.write_all(body))
}

/// The same of a CSV file, as it is, from where it lies.
pub(crate) fn post_file(address: &str, path: &str, headers: &[String], file: &Path) -> io::Result<Answer> {
    let mut file = File::open(file)?;
    let content = Some(("text/csv", file.metadata()?.len()));
    send_content(address, ("POST", path), headers, content, |stream| io::copy(&mut file, stream).map(drop))
}

fn send_content(
    address: &str,
    (method, path): (&str, &str),
    headers: &[String],
    content: Content,
    write: impl FnOnce(&mut TcpStream) -> io::Result<()>,
) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(ANSWER_WITHIN))?;
    let headers: Vec<String> = headers.iter().cloned().chain(["Connection: close".to_owned()]).collect();
    stream.write_all(&head(address, method, path, &headers, content))?;
    write(&mut stream)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    parse(&answer).ok_or_else(|| io::Error::other("the answer is no whole HTTP"))
}

fn parse(answer: &[u8]) -> Option<Answer> {
    let text = str::from_utf8(answer).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split_whitespace().nth(1)?.parse().ok()?;
    let answer = Answer { status, head: head.to_owned(), body: body.to_owned() };
    // What was cut off is no answer.
    let is_whole = answer.header("content-length").is_none_or(|length| length.parse() == Ok(answer.body.len()));
    is_whole.then_some(answer)
}

/// Text as a JSON string, with its quotes.
pub(crate) fn json_string(text: &str) -> String {
    let mut json = String::with_capacity(text.len() + text.len() / 8);
    json.push('"');
    for sign in text.chars() {
        match sign {
            '"' | '\\' => json.extend(['\\', sign]),
            '\n' => json.push_str("\\n"),
            '\r' => json.push_str("\\r"),
            '\0'..='\x1f' => json.push_str(&format!("\\u{:04x}", u32::from(sign))),
            _ => json.push(sign),
        }
    }
    json.push('"');
    json
}

/// The first member of this name, as it stands in compact JSON: a number or word, or a string without its quotes. Enough for
/// what `roster` prints of itself: ids, tokens and counts, which hold no escapes.
pub(crate) fn member<'a>(json: &'a str, name: &str) -> Option<&'a str> {
    let key = format!("\"{name}\":");
    let rest = json[json.find(&key)? + key.len()..].trim_start();
    match rest.strip_prefix('"') {
        Some(text) => text.split('"').next(),
        None => rest.split([',', '}', ']']).next().map(str::trim),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_whole_or_not_at_all() {
        let answer = parse(b"HTTP/1.1 202 Accepted\r\nLocation: /v2/x\r\ncontent-length: 2\r\n\r\n{}").expect("whole");
        assert_eq!((answer.status, answer.header("location"), &*answer.body), (202, Some("/v2/x"), "{}"));
        assert!(parse(b"HTTP/1.1 202 Accepted\r\ncontent-length: 3\r\n\r\n{}").is_none());
        assert!(parse(b"").is_none());
    }

    #[test]
    fn a_head_tells_how_much_follows() {
        assert_eq!(length(b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n"), Some(12));
        assert_eq!(length(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"), None);
        let sent = head("a:1", "POST", "/x", &["Prefer: wait=1".to_owned()], json(b"{}"));
        let lines = "POST /x HTTP/1.1\r\nHost: a:1\r\nPrefer: wait=1\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n";
        assert_eq!(String::from_utf8_lossy(&sent), lines);
    }

    #[test]
    fn text_becomes_json() {
        assert_eq!(json_string("a\"b\\c\nd\te é"), "\"a\\\"b\\\\c\\nd\\u0009e é\"");
    }

    #[test]
    fn members_are_found() {
        let json = r#"{"id":"x-1","rows":{"read":5, "added":4},"applied":true}"#;
        assert_eq!(member(json, "id"), Some("x-1"));
        assert_eq!(member(json, "read"), Some("5"));
        assert_eq!(member(json, "added"), Some("4"));
        assert_eq!(member(json, "applied"), Some("true"));
        assert_eq!(member(json, "failed"), None);
    }
}
