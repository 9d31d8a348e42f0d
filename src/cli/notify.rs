//! Tells a service manager how the service is: that it is ready, that it lives, that it is stopping. The words are those of
//! systemd's `Type=notify`, a datagram each. Who is not started by such a manager tells nobody, and notices nothing.

use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::net::{SocketAddr as UnixAddress, UnixDatagram};
use std::path::Path;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// How often the service looks after itself within the time that the manager gives it.
const LOOKS_PER_WATCHDOG: u32 = 4;

/// How long a word may wait for a manager that has many to read. The service goes on, whoever listens.
const TOLD_WITHIN: Duration = Duration::from_secs(1);

/// Beyond the drain time: for what was accepted to be told, and the store to be closed.
const STOPPED_WITHIN: Duration = Duration::from_secs(30);

/// Who is told, if anybody.
pub(super) struct Manager {
    to: Option<(UnixDatagram, UnixAddress)>,
    /// After so long without a word of life the manager starts the service anew.
    watchdog: Option<Duration>,
}

impl Manager {
    /// As the manager has put it into the environment.
    pub(super) fn of_environment() -> Manager {
        let text = |name| std::env::var_os(name).and_then(|value: OsString| value.into_string().ok());
        // The watchdog may be another process's.
        let is_ours = text("WATCHDOG_PID").is_none_or(|id| id == std::process::id().to_string());
        let usec = text("WATCHDOG_USEC").and_then(|usec| usec.parse().ok()).filter(|usec| *usec > 0 && is_ours);
        let to = std::env::var_os("NOTIFY_SOCKET").filter(|socket| !socket.is_empty()).and_then(|socket| {
            open(socket).inspect_err(|fault| tracing::warn!(%fault, "the service manager cannot be told")).ok()
        });
        Manager { to, watchdog: usec.map(Duration::from_micros) }
    }

    /// Requests are answered.
    pub(super) fn ready(&self, listen: SocketAddr) {
        self.tell(&format!("READY=1\nSTATUS=listening on http://{listen}"));
    }

    /// What runs may finish; the manager is to wait for that, whatever its own limit is.
    pub(super) fn stopping(&self, drain: Duration) {
        let usec = drain.saturating_add(STOPPED_WITHIN).as_micros();
        self.tell(&format!("STOPPING=1\nSTATUS=stopping: what runs may finish\nEXTEND_TIMEOUT_USEC={usec}"));
    }

    /// Says that the service lives for as long as it answers over its own listener, as it would answer a stranger. Never ends.
    pub(super) async fn keep_alive(&self, listen: SocketAddr) {
        let Some(every) = self.watchdog.map(|within| within / LOOKS_PER_WATCHDOG) else {
            return std::future::pending().await;
        };
        let mut looks = interval(every);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            match timeout(every, is_alive(listen)).await {
                Ok(Ok(true)) => self.tell("WATCHDOG=1"),
                Ok(Ok(false)) => tracing::warn!("the service does not answer itself as it should"),
                Ok(Err(fault)) => tracing::warn!(%fault, "the service does not answer itself"),
                Err(_) => tracing::warn!(within_ms = every.as_millis(), "the service does not answer itself in time"),
            }
        }
    }

    fn tell(&self, words: &str) {
        let Some((socket, address)) = &self.to else { return };
        if let Err(fault) = socket.send_to_addr(words.as_bytes(), address) {
            tracing::warn!(%fault, "the service manager could not be told");
        }
    }
}

fn open(socket: OsString) -> io::Result<(UnixDatagram, UnixAddress)> {
    let from = UnixDatagram::unbound()?;
    from.set_write_timeout(Some(TOLD_WITHIN))?;
    Ok((from, address(socket)?))
}

/// A path, or behind an `@` a name that is in no file system.
fn address(socket: OsString) -> io::Result<UnixAddress> {
    let bytes = socket.into_vec();
    match bytes.strip_prefix(b"@") {
        Some(name) => UnixAddress::from_abstract_name(name),
        None => UnixAddress::from_pathname(Path::new(std::ffi::OsStr::from_bytes(&bytes))),
    }
}

/// Whether `/healthz` is 200.
async fn is_alive(listen: SocketAddr) -> io::Result<bool> {
    const QUESTION: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    const ANSWER: &[u8] = b"HTTP/1.1 200 ";
    let stream = TcpStream::connect(listen).await?;
    stream.writable().await?;
    if stream.try_write(QUESTION)? != QUESTION.len() {
        return Ok(false);
    }
    let (mut answer, mut got) = ([0; ANSWER.len()], 0);
    while got < answer.len() {
        stream.readable().await?;
        match stream.try_read(&mut answer[got..]) {
            Ok(0) => return Ok(false),
            Ok(more) => got += more,
            Err(fault) if fault.kind() == io::ErrorKind::WouldBlock => (),
            Err(fault) => return Err(fault),
        }
    }
    Ok(answer == ANSWER)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    fn told(socket: &UnixDatagram) -> String {
        let mut words = [0; 200];
        let length = socket.recv(&mut words).expect("a word");
        String::from_utf8_lossy(&words[..length]).into_owned()
    }

    fn manager(watchdog: Option<Duration>) -> (UnixDatagram, Manager) {
        // Linux gives a name of its own to a socket that is bound to none.
        let name = format!("roster-notify-{}-{:?}", std::process::id(), std::thread::current().id());
        let there = UnixDatagram::bind_addr(&UnixAddress::from_abstract_name(&name).expect("a name")).expect("bound");
        there.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
        (there, Manager { to: Some(open(format!("@{name}").into()).expect("opened")), watchdog })
    }

    /// A listener that gives every connection this answer.
    fn answering(answer: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let at = listener.local_addr().expect("an address");
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("a connection");
                let _ = stream.read(&mut [0; 200]).and_then(|_| stream.write_all(answer.as_bytes()));
            }
        });
        at
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
    }

    #[test]
    fn alive_is_who_answers_with_200() {
        let is_alive = |at| runtime().block_on(is_alive(at));
        assert!(is_alive(answering("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nalive\n")).expect("an answer"));
        assert!(!is_alive(answering("HTTP/1.1 503 Service Unavailable\r\n\r\n")).expect("an answer"));
        assert!(!is_alive(answering("")).expect("an end"));
        let closed = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
        is_alive(closed).expect_err("nobody is there");
    }

    #[test]
    fn only_a_service_that_answers_is_said_to_live() {
        // Its time is up before the second look.
        let (there, alive) = manager(Some(Duration::from_secs(40)));
        let keep = |manager: &Manager, at, ms| {
            runtime().block_on(async { timeout(Duration::from_millis(ms), manager.keep_alive(at)).await })
        };
        keep(&alive, answering("HTTP/1.1 200 OK\r\n\r\n"), 2_000).expect_err("it never ends");
        assert_eq!(told(&there), "WATCHDOG=1");
        there.set_nonblocking(true).expect("set");
        // It accepts connections and says nothing, as a process does that hangs.
        let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
        let hanging = Manager { watchdog: Some(Duration::from_millis(40)), ..alive };
        keep(&hanging, silent.local_addr().expect("an address"), 200).expect_err("it never ends");
        there.recv(&mut [0; 9]).expect_err("nothing was said");
    }

    #[test]
    fn a_manager_that_does_not_listen_holds_nobody_up() {
        let (_there, manager) = manager(None);
        // Linux keeps ten words for a socket that nobody reads from.
        (0..12).for_each(|_| manager.tell("WATCHDOG=1"));
    }

    #[test]
    fn the_manager_is_told_in_its_own_words() {
        let (there, manager) = manager(None);
        manager.ready(SocketAddr::from(([127, 0, 0, 1], 8080)));
        assert_eq!(told(&there), "READY=1\nSTATUS=listening on http://127.0.0.1:8080");
        manager.stopping(Duration::from_secs(30));
        assert!(told(&there).ends_with("\nEXTEND_TIMEOUT_USEC=60000000"));
        drop(there);
        // Who is gone is told nothing, and that is no fault of the service's.
        manager.ready(SocketAddr::from(([127, 0, 0, 1], 8080)));
    }
}
