//! A proxy as some are that nobody has set up for this: it takes no request of more than a mebibyte, and passes on no event before all are
//! there.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};

use crate::harness::Service;

/// The largest body that it lets through.
const BODY_BYTES_MAX: usize = 1 << 20;

/// Where it listens; it ends with the test's process.
pub(crate) struct Proxy {
    pub(crate) url: String,
}

impl Proxy {
    pub(crate) fn before(service: &Service) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let address = service.address.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let address = address.clone();
                // Who goes away ends it.
                std::thread::spawn(move || _ = pass_on(client, &address));
            }
        });
        Proxy { url }
    }
}

fn pass_on(mut client: TcpStream, address: &str) -> std::io::Result<()> {
    let mut service = TcpStream::connect(address)?;
    let (mut answers, mut to_client) = (service.try_clone()?, client.try_clone()?);
    std::thread::spawn(move || {
        _ = std::io::copy(&mut answers, &mut to_client);
        _ = to_client.shutdown(Shutdown::Both);
    });
    let mut portion = vec![0; 1 << 16];
    loop {
        let count = client.read(&mut portion)?;
        if count == 0 {
            return service.shutdown(Shutdown::Both);
        }
        let begun = String::from_utf8_lossy(&portion[..count]);
        let line = begun.lines().next().unwrap_or_default();
        if line.starts_with("GET ") && line.contains("/events ") {
            // Nothing comes of it until all of it is there, and nobody waits so long.
            return std::io::copy(&mut client, &mut std::io::sink()).map(drop);
        }
        if line.starts_with("POST ")
            && let Some((head, body)) = begun.split_once("\r\n\r\n")
            && let Some(length) = length(head).filter(|length| *length > BODY_BYTES_MAX)
        {
            let rest = (length - body.len()) as u64;
            std::io::copy(&mut Read::by_ref(&mut client).take(rest), &mut std::io::sink())?;
            return client
                .write_all(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
        service.write_all(&portion[..count])?;
    }
}

fn length(head: &str) -> Option<usize> {
    let mut lines = head.lines().filter_map(|line| line.split_once(':'));
    lines.find(|(name, _)| name.eq_ignore_ascii_case("content-length"))?.1.trim().parse().ok()
}
