//! For `cargo xtask bench --only polls`: an endpoint that is only the framework, and a client that asks as fast as it can. An example, because
//! both are to be as quick as the service is built, and `xtask` itself is to build in a moment.
//!
//! `bare serve BODY_FILE [CERTIFICATE KEY]` says where it listens, and answers everything with that body.
//! `bare poll ADDRESS PATH CONNECTIONS SECONDS (CA_FILE | -) [HEADER…]` says how many answers a second it got.

use std::error::Error;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use axum_server::accept::{Accept, NoDelayAcceptor};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, StreamOwned};
use tokio_rustls::server::TlsStream;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// As the service has it.
const HEADERS_WITHIN: Duration = Duration::from_secs(30);

type Failed = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Failed> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["serve", body, pair @ ..] => serve(std::fs::read(body)?, pair),
        ["poll", address, path, connections, seconds, ca, headers @ ..] => {
            let request = request(path, headers);
            let tls = (*ca != "-").then(|| trusting(ca)).transpose()?;
            let seconds = Duration::from_secs(seconds.parse()?);
            say(poll(address, &request, connections.parse()?, seconds, tls.as_ref())?);
            Ok(())
        }
        _ => Err("bare serve BODY_FILE [CERTIFICATE KEY] | bare poll ADDRESS PATH CONNECTIONS SECONDS (CA_FILE | -) [HEADER…]".into()),
    }
}

#[expect(clippy::print_stdout, reason = "read by the bench")]
fn say(what: impl std::fmt::Display) {
    println!("{what}");
}

/// The listener as in `src/app.rs`.
fn serve(body: Vec<u8>, pair: &[&str]) -> Result<(), Failed> {
    let body: &'static [u8] = body.leak();
    let answer = move || async move { ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], body) };
    let app = Router::new().route("/", get(answer)).into_make_service();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        say(listener.local_addr()?);
        let mut server = axum_server::from_tcp(listener)?.first_request_timeout(HEADERS_WITHIN);
        server.http_builder().http1().header_read_timeout(HEADERS_WITHIN);
        server.http_builder().http2().keep_alive_interval(HEADERS_WITHIN);
        match pair {
            [certificate, key] => server.acceptor(TlsAcceptor::of(certificate, key)?).serve(app).await?,
            _ => server.acceptor(NoDelayAcceptor::new()).serve(app).await?,
        }
        Ok(())
    })
}

#[derive(Clone)]
struct TlsAcceptor(tokio_rustls::TlsAcceptor);

impl TlsAcceptor {
    fn of(certificate: &str, key: &str) -> Result<TlsAcceptor, Failed> {
        let chain = CertificateDer::pem_file_iter(certificate)?.collect::<Result<Vec<_>, _>>()?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, PrivateKeyDer::from_pem_file(key)?)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(TlsAcceptor(Arc::new(config).into()))
    }
}

impl<S: Send + 'static> Accept<tokio::net::TcpStream, S> for TlsAcceptor {
    type Stream = TlsStream<tokio::net::TcpStream>;
    type Service = S;
    type Future = std::pin::Pin<Box<dyn Future<Output = io::Result<(Self::Stream, S)>> + Send>>;

    fn accept(&self, stream: tokio::net::TcpStream, service: S) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            stream.set_nodelay(true)?;
            Ok((this.0.accept(stream).await?, service))
        })
    }
}

fn request(path: &str, headers: &[&str]) -> Vec<u8> {
    let mut request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n");
    for header in headers {
        request.push_str(header);
        request.push_str("\r\n");
    }
    request.push_str("\r\n");
    request.into_bytes()
}

fn trusting(ca: &str) -> Result<Arc<ClientConfig>, Failed> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca)?)?;
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    Ok(Arc::new(config.with_safe_default_protocol_versions()?.with_root_certificates(roots).with_no_client_auth()))
}

/// Answers a second, over all connections. Each has a thread, and is ready before the first is asked.
fn poll(
    address: &str,
    request: &[u8],
    connections: usize,
    seconds: Duration,
    tls: Option<&Arc<ClientConfig>>,
) -> Result<f64, Failed> {
    let mut open = Vec::with_capacity(connections);
    for _ in 0..connections {
        open.push(connect(address, tls)?);
    }
    let begun = Instant::now();
    let counts = std::thread::scope(|scope| {
        let asking: Vec<_> = open
            .into_iter()
            .map(|mut stream| scope.spawn(move || ask(&mut *stream, request, || begun.elapsed() < seconds)))
            .collect();
        asking
            .into_iter()
            .map(|asking| asking.join().unwrap_or_else(|_| Err("a thread panicked".into())))
            .sum::<Result<u64, Failed>>()
    })?;
    Ok(counts as f64 / begun.elapsed().as_secs_f64())
}

trait Stream: Read + Write + Send {}
impl<S: Read + Write + Send> Stream for S {}

fn connect(address: &str, tls: Option<&Arc<ClientConfig>>) -> Result<Box<dyn Stream>, Failed> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(HEADERS_WITHIN))?;
    let Some(config) = tls else { return Ok(Box::new(stream)) };
    let mut connection = ClientConnection::new(Arc::clone(config), "localhost".try_into()?)?;
    connection.complete_io(&mut stream)?;
    Ok(Box::new(StreamOwned::new(connection, stream)))
}

/// The length of the first answer is that of all: each is looked at for its status, and read whole.
fn ask(stream: &mut dyn Stream, request: &[u8], go_on: impl Fn() -> bool) -> Result<u64, Failed> {
    let mut answer = [0; 16 * 1024];
    let mut count = 0;
    while go_on() {
        stream.write_all(request)?;
        let mut filled = 0;
        let mut whole = usize::MAX;
        while filled < whole {
            let read = stream.read(answer.get_mut(filled..).ok_or("a long answer")?)?;
            if read == 0 {
                return Err("the connection was closed".into());
            }
            filled += read;
            if whole == usize::MAX {
                whole = length(&answer[..filled])?.unwrap_or(usize::MAX);
            }
        }
        if !answer.starts_with(b"HTTP/1.1 200 ") {
            return Err(String::from_utf8_lossy(&answer[..filled]).into());
        }
        count += 1;
    }
    Ok(count)
}

/// Of head and body, once the head is there.
fn length(answer: &[u8]) -> Result<Option<usize>, Failed> {
    let Some(head) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let lines = str::from_utf8(&answer[..head])?.lines();
    let mut named = lines.filter_map(|line| line.split_once(':'));
    let body =
        named.find(|(name, _)| name.eq_ignore_ascii_case("content-length")).ok_or("an answer without a length")?;
    Ok(Some(head + 4 + body.1.trim().parse::<usize>()?))
}
