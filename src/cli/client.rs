//! The HTTP client: signs a request, sends it, and sends it again where that is safe.
//!
//! An import is applied exactly once by its signature, so the very same signed request may be sent again while it is fresh,
//! whatever became of the first one. What an answer means is for `transfer`, `status` and `problem_text` to say.

use std::cell::RefCell;
use std::io::{self, Cursor, ErrorKind, Read};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use ureq::http::Response;
use ureq::tls::TlsConfig;
use ureq::{Agent, Body, SendBody};

use crate::contact::date_time::print_ms;
use crate::signature::{AUTHORIZATION, CONTENT_DIGEST, DATE, explain};

use super::failure::{Cause, Failure};
use super::location::Origin;
use super::operator::now_ms;
use super::output::{Output, escape};
use super::problem_text::refusal;
use super::signing::{CredentialArgs, Credentials, Signed};
use super::trust;
use super::upload::Upload;

/// How long a connection may take.
const CONNECT_SECONDS: u64 = 10;
/// How long a service may take to answer, beyond what it was asked to wait.
const ANSWER_SECONDS: u64 = 120;
/// The largest answer that is read: a report of a thousand errors with long cells has some 10 MB.
const ANSWER_BYTES_MAX: u64 = 64 << 20;
/// From this size on the service is asked before the body is sent, so that it can refuse without taking it in.
const EXPECT_CONTINUE_BYTES: u64 = 1 << 20;
/// How often one request is sent at most.
const ATTEMPTS_MAX: u32 = 8;
/// How long after it was signed a request is still sent: well within the 15 minutes for which its signature is fresh.
const TRYING_SECONDS_MAX: u64 = 600;

/// Where to send, and what to sign with.
#[derive(Args, Clone, Debug)]
pub(super) struct ClientArgs {
    /// The service
    #[arg(long, env = "ROSTER_URL", default_value = "http://127.0.0.1:8080")]
    url: String,
    /// For https: a file with the certificates of the authorities to trust, in PEM [default: the public ones]
    #[arg(long, env = "ROSTER_CA", value_name = "FILE")]
    ca: Option<PathBuf>,
    #[command(flatten)]
    credentials: CredentialArgs,
}

impl ClientArgs {
    /// A client for `origin`, or where that is not known, for `--url`.
    pub(super) fn client(&self, origin: Option<Origin>, output: Output) -> Result<Client, Failure> {
        let origin = origin.map_or_else(|| Origin::parse(&self.url), Ok)?;
        let trust = self.ca.as_deref().map(trust::only).transpose()?;
        Ok(Client::new(origin, trust.unwrap_or_default(), self.credentials.credentials()?, output))
    }
}

/// A client of one service with one token.
pub(super) struct Client {
    agent: Agent,
    origin: Origin,
    credentials: Credentials,
    output: Output,
    /// How often one request is sent at most.
    attempts_max: u32,
    /// How old a signature may become before a request that has a key is signed anew.
    fresh_for: Duration,
}

/// What to do where nobody answers at the address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Unreachable {
    /// Say so: nothing was begun.
    GiveUp,
    /// It was there a moment ago, and may be restarting.
    TryAgain,
}

/// What a service answered: with a success.
pub(super) struct Answer {
    /// 200, 202, …
    pub(super) status: u16,
    /// The path of the command.
    pub(super) location: Option<String>,
    /// The request had been accepted before; nothing ran twice.
    pub(super) replayed: bool,
    /// The body's bytes.
    pub(super) body: Vec<u8>,
}

/// What a request has behind its headers.
#[derive(Clone, Copy)]
enum Content<'a> {
    Nothing,
    Json(&'a [u8]),
    /// Signed by its digest.
    File(&'a Upload),
}

impl<'a> Content<'a> {
    /// What is signed in the fourth line.
    fn line(self) -> &'a [u8] {
        match self {
            Content::Nothing => b"",
            Content::Json(body) => body,
            Content::File(upload) => upload.digest.as_bytes(),
        }
    }

    /// What is signed in the third line: with a file the query too, as the options are there.
    fn signed_path(self, path: &str) -> &str {
        match self {
            Content::Nothing | Content::Json(_) => path.split('?').next().unwrap_or(path),
            Content::File(_) => path,
        }
    }

    fn bytes(self) -> u64 {
        match self {
            Content::Nothing => 0,
            Content::Json(body) => body.len() as u64,
            Content::File(upload) => upload.source.bytes(),
        }
    }

    fn reader(self) -> Box<dyn Read + 'a> {
        match self {
            Content::Nothing => Box::new(io::empty()),
            Content::Json(body) => Box::new(Cursor::new(body)),
            Content::File(upload) => upload.source.reader(),
        }
    }

    fn headers(self) -> Vec<(&'static str, String)> {
        match self {
            Content::Nothing => Vec::new(),
            Content::Json(_) => vec![("Content-Type", "application/json".to_owned())],
            Content::File(upload) => {
                let packed = upload.is_packed.then(|| ("Content-Encoding", "zstd".to_owned()));
                let more = [("Content-Type", upload.content_type()), (CONTENT_DIGEST, upload.digest.clone())];
                more.into_iter().chain(packed).collect()
            }
        }
    }
}

/// A request that is sent, maybe more than once, with one signature.
struct Request<'a> {
    method: &'static str,
    /// Path and query.
    path: &'a str,
    content: Content<'a>,
    wait_seconds: Option<u64>,
    /// Where sent, the same import also if it is signed anew.
    idempotency_key: Option<&'a str>,
    signed: Signed,
}

/// What became of one attempt.
enum Attempt {
    Answered {
        status: u16,
        retry_after_seconds: Option<u64>,
        answer: Answer,
    },
    /// Nobody was there: nothing can have been begun.
    NotSent(Failure),
    /// The connection broke: nobody knows what the service got.
    Broken(Failure),
    /// What is to be sent cannot be read any more. The service had its promised length, and not its bytes.
    Unreadable(Failure),
}

impl Client {
    /// A client; it opens no connection yet.
    pub(super) fn new(origin: Origin, trust: TlsConfig, credentials: Credentials, output: Output) -> Client {
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .tls_config(trust)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("roster/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(Duration::from_secs(CONNECT_SECONDS)))
            .timeout_recv_response(Some(Duration::from_secs(ANSWER_SECONDS)));
        if origin.is_loopback() {
            config = config.proxy(None);
        }
        let fresh_for = Duration::from_secs(TRYING_SECONDS_MAX);
        let agent = config.build().new_agent();
        Client { agent, origin, credentials, output, attempts_max: ATTEMPTS_MAX, fresh_for }
    }

    /// The same, sending each request once: for who tries again by other rules.
    pub(super) fn once(self) -> Client {
        Client { attempts_max: 1, ..self }
    }

    /// Sends a body; `sent` is told how many bytes have gone, from 0 again with each attempt.
    pub(super) fn post(&self, path: &str, body: &[u8], sent: &dyn Fn(u64)) -> Result<Answer, Failure> {
        self.send(self.request("POST", path, Content::Json(body), None), sent, Unreachable::GiveUp)
    }

    /// Sends a file as it is to a path with its query; `sent` as above.
    pub(super) fn post_file(
        &self,
        target: &str,
        upload: &Upload,
        idempotency_key: Option<&str>,
        sent: &dyn Fn(u64),
    ) -> Result<Answer, Failure> {
        let request = self.request("POST", target, Content::File(upload), None);
        self.send(Request { idempotency_key, ..request }, sent, Unreachable::GiveUp)
    }

    /// Whether the service is on this machine.
    pub(super) fn is_near(&self) -> bool {
        self.origin.is_loopback()
    }

    /// Asks for a path; with `wait_seconds` the service holds the answer back until there is news.
    pub(super) fn get(
        &self,
        path: &str,
        wait_seconds: Option<u64>,
        unreachable: Unreachable,
    ) -> Result<Answer, Failure> {
        self.send(self.request("GET", path, Content::Nothing, wait_seconds), &|_| (), unreachable)
    }

    /// Asks that what is at a path be ended.
    pub(super) fn delete(&self, path: &str) -> Result<Answer, Failure> {
        self.send(self.request("DELETE", path, Content::Nothing, None), &|_| (), Unreachable::GiveUp)
    }

    /// Asks for a path whose answer is of any size. Tried again until it begins, not after that.
    pub(super) fn stream(&self, path: &str) -> Result<impl Read + use<>, Failure> {
        let mut patience = Patience::of(self.attempts_max);
        let begun = Instant::now();
        loop {
            // Signed anew each time: nothing is changed by it.
            let request = self.request("GET", path, Content::Nothing, None);
            let response =
                self.exchange(&request, (&|_| (), &RefCell::new(None))).map_err(|error| self.unreached(&error))?;
            if response.status().is_success() {
                return Ok(response.into_body().into_reader());
            }
            let refused = self.read(response).map_err(|error| self.unreached(&error))?;
            let Attempt::Answered { status, retry_after_seconds, answer } = refused else { continue };
            let failure = self.refusal(&request, &answer, retry_after_seconds);
            match patience.pause(retry_after_seconds, begun.elapsed()).filter(|_| is_passing(status)) {
                Some(pause) => self.pause(&failure, pause),
                None => return Err(failure),
            }
        }
    }

    fn pause(&self, failure: &Failure, pause: Duration) {
        self.output.say(format_args!("{failure}\nTrying again in {} s …", pause.as_secs()));
        thread::sleep(pause);
    }

    fn request<'a>(
        &self,
        method: &'static str,
        path: &'a str,
        content: Content<'a>,
        wait_seconds: Option<u64>,
    ) -> Request<'a> {
        let signed = self.credentials.sign(method, content.signed_path(path), content.line(), &print_ms(now_ms()));
        Request { method, path, content, wait_seconds, idempotency_key: None, signed }
    }

    /// Sends until there is an answer that sending again would not change. The very same request again; or if it has a key, by which the
    /// service knows it, signed anew when its signature would not be fresh any more: a large file can take that long.
    fn send(&self, request: Request<'_>, sent: &dyn Fn(u64), unreachable: Unreachable) -> Result<Answer, Failure> {
        let mut patience = Patience::of(self.attempts_max);
        let has_key = request.idempotency_key.is_some();
        let (mut request, mut begun) = (request, Instant::now());
        loop {
            if has_key && begun.elapsed() >= self.fresh_for {
                let Request { method, path, content, wait_seconds, idempotency_key, signed: _ } = request;
                request = Request { idempotency_key, ..self.request(method, path, content, wait_seconds) };
                begun = Instant::now();
            }
            let (failure, asked) = match self.attempt(&request, sent) {
                Attempt::Answered { status: 200..=299, answer, .. } => return Ok(answer),
                Attempt::Answered { status, retry_after_seconds, answer } => {
                    let failure = self.refusal(&request, &answer, retry_after_seconds);
                    if !is_passing(status) {
                        return Err(failure);
                    }
                    (failure, retry_after_seconds)
                }
                Attempt::Unreadable(failure) => return Err(failure.of(Cause::Unreadable)),
                Attempt::NotSent(failure) if unreachable == Unreachable::GiveUp && patience.is_fresh() => {
                    return Err(failure.of(Cause::NotSent));
                }
                Attempt::NotSent(failure) => (failure.of(Cause::NotSent), None),
                Attempt::Broken(failure) => (failure.of(Cause::Unknown), None),
            };
            let since_signed = if has_key { Duration::ZERO } else { begun.elapsed() };
            match patience.pause(asked, since_signed) {
                Some(pause) => self.pause(&failure, pause),
                None => return Err(failure),
            }
        }
    }

    fn attempt(&self, request: &Request<'_>, sent: &dyn Fn(u64)) -> Attempt {
        let fault = RefCell::new(None);
        let exchanged = self.exchange(request, (sent, &fault));
        if let Some(error) = fault.into_inner() {
            let text = format!("the file cannot be read any more: {error}");
            return Attempt::Unreadable(Failure::yours(text).with_remedy("Nothing was imported by this try."));
        }
        match exchanged {
            Ok(response) => self.read(response).unwrap_or_else(|error| Attempt::Broken(self.unreached(&error))),
            Err(error) if is_before_sending(&error) => Attempt::NotSent(self.unreached(&error)),
            Err(error) => Attempt::Broken(self.unreached(&error)),
        }
    }

    /// `fault` is told what is wrong with reading the body.
    fn exchange(
        &self,
        request: &Request<'_>,
        (sent, fault): (&dyn Fn(u64), &RefCell<Option<io::Error>>),
    ) -> Result<Response<Body>, ureq::Error> {
        let Request { method, path, content, wait_seconds, idempotency_key, signed } = request;
        let mut builder = ureq::http::Request::builder()
            .method(*method)
            .uri(self.origin.join(path))
            .header(AUTHORIZATION, &signed.authorization)
            .header(DATE, &signed.date)
            .header("Accept", "application/json");
        if let Some(seconds) = wait_seconds {
            builder = builder.header("Prefer", format!("wait={seconds}"));
        }
        if let Some(key) = idempotency_key {
            builder = builder.header("Idempotency-Key", *key);
        }
        for (name, value) in content.headers() {
            builder = builder.header(name, value);
        }
        let bytes = content.bytes();
        if bytes == 0 && !matches!(content, Content::File(_)) {
            return self.agent.run(builder.body(())?);
        }
        builder = builder.header("Content-Length", bytes);
        if bytes >= EXPECT_CONTINUE_BYTES {
            builder = builder.header("Expect", "100-continue");
        }
        let mut reader = Counted { rest: content.reader(), gone: 0, sent, fault };
        self.agent.run(builder.body(SendBody::from_reader(&mut reader))?)
    }

    fn read(&self, response: Response<Body>) -> Result<Attempt, ureq::Error> {
        let (parts, mut body) = response.into_parts();
        let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let status = parts.status.as_u16();
        let answer = Answer {
            status,
            location: header("Location").map(str::to_owned),
            replayed: header("Idempotency-Replayed") == Some("true"),
            body: body.with_config().limit(ANSWER_BYTES_MAX).read_to_vec()?,
        };
        let retry_after_seconds = header("Retry-After").and_then(|value| value.trim().parse().ok());
        Ok(Attempt::Answered { status, retry_after_seconds, answer })
    }

    fn refusal(&self, request: &Request<'_>, answer: &Answer, retry_after_seconds: Option<u64>) -> Failure {
        let Request { method, path, content, signed, .. } = request;
        let failure = if let (300..=399, Some(location)) = (answer.status, &answer.location) {
            let text = format!("{} sends on to {} ({})", self.origin, escape(location), answer.status);
            Failure::yours(text).with_remedy("Give the service's own address as --url.")
        } else {
            let own =
                || explain(&self.credentials.token, method, content.signed_path(path), content.line(), &signed.date);
            refusal(answer.status, &answer.body, own)
        };
        failure.of(Cause::Refused { status: answer.status, retry_after_seconds, body: answer.body.clone() })
    }

    fn unreached(&self, error: &ureq::Error) -> Failure {
        if let Some((complaint, remedy)) = trust::complaint(error) {
            return Failure::ours(format!("cannot reach {}: {complaint}", self.origin)).with_remedy(remedy);
        }
        let reason = match error {
            ureq::Error::Io(error) => error.to_string(),
            other => other.to_string(),
        };
        let text = format!("cannot reach {}: {reason}", self.origin);
        match error {
            ureq::Error::Http(_) | ureq::Error::BadUri(_) => Failure::yours(text),
            _ => Failure::ours(text).with_remedy("Is the service running there? 'roster serve' starts one."),
        }
    }
}

/// Whether the same request may be answered otherwise a little later.
fn is_passing(status: u16) -> bool {
    matches!(status, 408 | 429 | 502..=504)
}

/// Whether an error means that no byte of the request can have arrived, nor ever will by trying on at once.
fn is_before_sending(error: &ureq::Error) -> bool {
    use ureq::Error::{BadUri, ConnectionFailed, HostNotFound, Http, InvalidProxyUrl, Io, Tls};
    match error {
        error if trust::complaint(error).is_some() => true,
        BadUri(_) | Http(_) | HostNotFound | ConnectionFailed | InvalidProxyUrl | Tls(_) => true,
        Io(error) => {
            use ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable};
            matches!(error.kind(), ConnectionRefused | HostUnreachable | NetworkUnreachable)
        }
        _ => false,
    }
}

/// How much longer a request is tried.
struct Patience {
    attempts: u32,
    attempts_max: u32,
}

impl Patience {
    fn of(attempts_max: u32) -> Patience {
        Patience { attempts: 0, attempts_max }
    }

    /// Whether nothing was waited for yet.
    fn is_fresh(&self) -> bool {
        self.attempts == 0
    }

    /// How long to wait before the next attempt: as asked, else 1, 2, 4, … 30 seconds. `None`: it was the last. `since_signed`
    /// includes all that was waited, and what sending took; it is nothing where the next attempt may be signed anew.
    fn pause(&mut self, asked_seconds: Option<u64>, since_signed: Duration) -> Option<Duration> {
        self.attempts += 1;
        let seconds = asked_seconds.unwrap_or_else(|| (1 << (self.attempts - 1).min(5)).min(30));
        let at_seconds = since_signed.as_secs().saturating_add(seconds);
        let goes_on = self.attempts < self.attempts_max && at_seconds <= TRYING_SECONDS_MAX;
        goes_on.then(|| Duration::from_secs(seconds))
    }
}

/// A body that tells how much of it has been read.
struct Counted<'a> {
    rest: Box<dyn Read + 'a>,
    gone: u64,
    sent: &'a dyn Fn(u64),
    fault: &'a RefCell<Option<io::Error>>,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.rest.read(buffer).map_err(|error| {
            let told = io::Error::new(error.kind(), "the body cannot be read");
            *self.fault.borrow_mut() = Some(error);
            told
        })?;
        self.gone += count as u64;
        (self.sent)(self.gone);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::net::TcpListener;

    use super::super::source::Source;
    use super::*;
    use crate::tenant::Secret;

    /// Pauses if each attempt takes so long.
    fn pauses(asked: Option<u64>, attempt_seconds: u64) -> Vec<u64> {
        let (mut patience, mut since) = (Patience::of(ATTEMPTS_MAX), Duration::ZERO);
        std::iter::from_fn(|| {
            since += Duration::from_secs(attempt_seconds);
            let pause = patience.pause(asked, since)?;
            since += pause;
            Some(pause.as_secs())
        })
        .collect()
    }

    #[test]
    fn patience_grows_and_ends() {
        assert_eq!(pauses(None, 0), [1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(pauses(Some(0), 0), [0; 7]);
        assert_eq!(pauses(Some(200), 0), [200, 200, 200], "it ends while the signature is still fresh");
        assert_eq!(pauses(Some(u64::MAX), 0), [0; 0]);
        assert_eq!(pauses(None, 250), [1, 2], "sending counts, too");
        assert_eq!(pauses(None, 601), [0; 0]);
    }

    /// The headers of each request, to a service that answers only the last one.
    fn headers_seen(fresh_for: Duration, key: Option<&str>) -> Vec<Vec<String>> {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let origin = Origin::parse(&format!("http://{}", listener.local_addr().expect("its address"))).expect("a URL");
        let service = thread::spawn(move || {
            let answers = [&b""[..], b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"];
            answers.map(|answer| {
                let (mut stream, _) = listener.accept().expect("a connection");
                let lines = BufReader::new(stream.try_clone().expect("a handle")).lines();
                let read = lines.map(|line| line.expect("a line")).take_while(|line| !line.is_empty()).collect();
                stream.write_all(answer).expect("answered");
                read
            })
        });
        let credentials = Credentials { token: "T".to_owned(), secret: Secret::new("S".to_owned()) };
        let quiet = Output { json: false, quiet: true };
        let client = Client { fresh_for, ..Client::new(origin, TlsConfig::default(), credentials, quiet) };
        let upload = Upload::prepare(&Source::of_text("phone\n"), None, false, quiet).expect("ready");
        assert_eq!(client.post_file("/x?new=add", &upload, key, &|_| ()).expect("accepted").status, 202);
        service.join().expect("it saw both").into()
    }

    #[test]
    fn what_has_a_key_is_signed_anew_when_it_is_old() {
        let header = |headers: &[String], name: &str| {
            let name = format!("{name}: ");
            headers.iter().find(|line| line.to_lowercase().starts_with(&name)).cloned()
        };
        for (fresh_for, key, again) in
            [(Duration::ZERO, Some("K"), true), (Duration::MAX, Some("K"), false), (Duration::ZERO, None, false)]
        {
            let seen = headers_seen(fresh_for, key);
            for name in ["signalvine-date", "authorization"] {
                assert_eq!(header(&seen[0], name) != header(&seen[1], name), again, "{name}");
            }
            for name in ["content-digest", "idempotency-key", "content-length"] {
                assert_eq!(header(&seen[0], name), header(&seen[1], name));
            }
            assert_eq!(header(&seen[1], "idempotency-key").is_some(), key.is_some());
        }
    }
}
