//! HAProxy before the nodes: requests go to each in turn, and those that a node cannot take to another.

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::guarded::Guarded;
use crate::roster::text_of;

const STARTS_WITHIN: Duration = Duration::from_secs(10);
/// Between two looks whether it listens, which it does not say.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Starts it on a port of the loopback, and waits until it takes connections.
pub(super) fn start(haproxy: &str, directory: &Path, port: u16, nodes: &[&str]) -> Result<Guarded, String> {
    let file = directory.join("haproxy.cfg");
    fs::write(&file, configuration(port, nodes)).map_err(|fault| format!("{}: {fault}", file.display()))?;
    let name = file.to_string_lossy();
    text_of(std::process::Command::new(haproxy).args(["-c", "-q", "-f", &name]))?;
    let log = directory.join("haproxy.log");
    let balancer = Guarded::start(Path::new(haproxy), &["-db", "-f", &name], &[], &log)?;
    let begun = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        if begun.elapsed() > STARTS_WITHIN {
            return Err(format!("HAProxy does not listen:\n{}", fs::read_to_string(&log).unwrap_or_default()));
        }
        std::thread::sleep(LOOK_EVERY);
    }
    Ok(balancer)
}

/// What it is told; also a start for one's own. Answers are held back for up to 60 seconds (`Prefer: wait`), so time-outs
/// are longer. A node that cannot be connected to has not seen the request, so another may have it.
fn configuration(port: u16, nodes: &[&str]) -> String {
    let mut text = format!(
        "global
    maxconn 2000
defaults
    mode http
    timeout connect 2s
    timeout client 90s
    timeout server 90s
    timeout http-request 30s
    retries 3
    option redispatch 1
frontend clients
    bind 127.0.0.1:{port}
    default_backend nodes
backend nodes
    balance roundrobin
    default-server check inter 500ms fall 1 rise 1 on-marked-down shutdown-sessions
"
    );
    for (address, number) in nodes.iter().zip(1..) {
        text.push_str(&format!("    server node-{number} {address}\n"));
    }
    text
}
