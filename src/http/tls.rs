//! TLS on the listener: each connection's handshake in a task of its own and within a time, so that who says nothing holds up nobody.
//! Who speaks plain HTTP is told so in plain HTTP.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum_server::accept::Accept;
use rustls::ServerConfig;
use rustls::crypto::ring;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::certificate::Certificate;

/// How long a handshake may take.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);
/// How much of a plain request is read away, so that its sender comes to see the answer.
const PLAIN_BYTES_MAX: u64 = 1024 * 1024;

/// The answer to who does not speak TLS.
const SPEAK_TLS: &str = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: text/plain\r\n\
    Content-Length: 54\r\n\r\nThis port speaks HTTPS: send the request to https://.\n";

/// Makes connections out of those that come in.
#[derive(Clone)]
pub struct TlsAcceptor {
    tls: tokio_rustls::TlsAcceptor,
    within: Duration,
}

impl TlsAcceptor {
    /// With the certificate that is shown at the moment of each connection.
    pub fn new(certificate: Arc<Certificate>) -> Result<TlsAcceptor, rustls::Error> {
        // Named here, not installed for the process: so it does not matter what else is linked into it.
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(certificate);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(TlsAcceptor { tls: Arc::new(config).into(), within: HANDSHAKE_WITHIN })
    }

    async fn handshake(&self, mut stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        stream.set_nodelay(true)?;
        let mut first = [0];
        // Every method begins with a letter, and no record of TLS does.
        if stream.peek(&mut first).await? == 1 && first[0].is_ascii_alphabetic() {
            stream.write_all(SPEAK_TLS.as_bytes()).await?;
            stream.shutdown().await?;
            tokio::io::copy(&mut (&mut stream).take(PLAIN_BYTES_MAX), &mut tokio::io::sink()).await?;
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it speaks plain HTTP"));
        }
        self.tls.accept(stream).await
    }
}

impl<S: Send + 'static> Accept<TcpStream, S> for TlsAcceptor {
    type Stream = TlsStream<TcpStream>;
    type Service = S;
    type Future = Pin<Box<dyn Future<Output = io::Result<(TlsStream<TcpStream>, S)>> + Send>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let done = tokio::time::timeout(this.within, this.handshake(stream)).await;
            let done =
                done.unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "the handshake took too long")));
            match done {
                Ok(stream) => Ok((stream, service)),
                Err(fault) => {
                    tracing::debug!(%fault, "a connection came to nothing");
                    Err(fault)
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// A pair that nobody is ever shown.
    fn acceptor(within: Duration) -> TlsAcceptor {
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider knows them")
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(rustls::server::ResolvesServerCertUsingSni::new()));
        TlsAcceptor { tls: Arc::new(config).into(), within }
    }

    #[tokio::test]
    async fn a_handshake_has_a_time() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        for said in [&b""[..], b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/1.1\r\n"] {
            let mut client = TcpStream::connect(address).await.expect("a connection");
            client.write_all(said).await.expect("said");
            let (stream, _) = listener.accept().await.expect("the other end");
            let ended = acceptor(Duration::from_millis(30)).accept(stream, ()).await.map(|_| ());
            assert_eq!(ended.expect_err("there is none").kind(), io::ErrorKind::TimedOut, "{said:?}");
        }
    }
}
