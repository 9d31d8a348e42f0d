//! Where the database is, from its URL: the hosts, each with what belongs to it, and how they are to be trusted.
//!
//! The parameters about TLS are libpq's, and mean what they mean there; the driver's own parser knows too few of them.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};

use super::tls::{Roots, Trust};
use crate::store::StoreError;

/// How long the other machine may take to answer at all, if the URL has no `connect_timeout`.
const REACHED_WITHIN: Duration = Duration::from_secs(3);

/// After so much silence the other side is asked whether it is there; a machine that has lost its power says nothing.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(5);

/// How often it is asked again.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(2);

/// How long sent bytes, or those questions, may stay unanswered before a connection counts as lost.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(10);

/// libpq's port.
const PORT: u16 = 5432;

/// Everything that a URL says.
#[derive(Debug)]
pub(super) struct Target {
    /// In the order of the URL; at least one.
    pub(super) hosts: Vec<TargetHost>,
    pub(super) trust: Trust,
}

/// One of the servers.
#[derive(Clone, Debug)]
pub(super) struct TargetHost {
    /// As people write it.
    pub(super) name: String,
    /// How to connect to it alone.
    pub(super) config: Config,
}

/// What a URL says about TLS.
#[derive(Default)]
struct TlsWords {
    mode: Option<String>,
    root: Option<String>,
}

/// Parameters of libpq that would be ignored in silence otherwise.
const NOT_TAKEN: [&str; 8] = [
    "sslcert",
    "sslkey",
    "sslpassword",
    "sslcrl",
    "sslcrldir",
    "ssl_min_protocol_version",
    "ssl_max_protocol_version",
    "requiressl",
];

impl Target {
    /// Reads a URL; the sentence of a refusal repeats nothing that may be a password.
    pub(super) fn parse(url: &str) -> Result<Target, StoreError> {
        let (rest, words) = take_tls_words(url)?;
        // The parser's own words could repeat a part of the URL, and so of the password.
        let parsed: Config = rest.parse().map_err(|_| {
            refused("the database is no URL like postgres://user:password@host:5432/name, or has an unknown parameter")
        })?;
        let (mode, trust) = words.resolve()?;
        Ok(Target { hosts: hosts(&parsed, mode)?, trust })
    }
}

fn refused(sentence: &str) -> StoreError {
    StoreError::Refused(sentence.to_owned())
}

/// The URL without its words about TLS, and these.
fn take_tls_words(url: &str) -> Result<(String, TlsWords), StoreError> {
    // A password may have a question mark: the parameters come after the host.
    let after_password = url.find('@').unwrap_or(0);
    let Some(question) = url[after_password..].find('?').map(|at| after_password + at) else {
        return Ok((url.to_owned(), TlsWords::default()));
    };
    let mut words = TlsWords::default();
    let mut kept = Vec::new();
    for parameter in url[question + 1..].split('&').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        match name {
            "sslmode" => words.mode = Some(value.to_owned()),
            "sslrootcert" => words.root = Some(decoded(value)?),
            _ if NOT_TAKEN.contains(&name) => {
                return Err(refused(&format!(
                    "the database's URL has {name}, which roster does not know; leave it out"
                )));
            }
            _ => kept.push(parameter),
        }
    }
    let mark = if kept.is_empty() { "" } else { "?" };
    Ok((format!("{}{mark}{}", &url[..question], kept.join("&")), words))
}

/// Without its percent signs.
fn decoded(value: &str) -> Result<String, StoreError> {
    let wrong = || refused("sslrootcert in the database's URL has a % that is followed by no two hex digits of UTF-8");
    let (mut bytes, mut rest) = (Vec::new(), value.as_bytes());
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let [high, low, after @ ..] = rest else { return Err(wrong()) };
        let digit = |byte: &u8| char::from(*byte).to_digit(16);
        let (Some(high), Some(low)) = (digit(high), digit(low)) else { return Err(wrong()) };
        bytes.push(u8::try_from(high * 16 + low).map_err(|_| wrong())?);
        rest = after;
    }
    String::from_utf8(bytes).map_err(|_| wrong())
}

impl TlsWords {
    /// The mode, `None` where it depends on the host; and what is checked.
    fn resolve(self) -> Result<(Option<SslMode>, Trust), StoreError> {
        let roots =
            self.root.map(|root| if root == "system" { Roots::System } else { Roots::File(PathBuf::from(root)) });
        // As libpq has it: whom the whole world certifies is told apart by the name alone.
        if let (Some(Roots::System), Some(mode)) = (&roots, self.mode.as_deref().filter(|mode| *mode != "verify-full"))
        {
            return Err(refused(&format!(
                "sslmode={mode} is too weak for sslrootcert=system; use sslmode=verify-full"
            )));
        }
        match (self.mode.as_deref(), roots) {
            (None, Some(Roots::System)) => Ok((Some(SslMode::Require), Trust::Host(Roots::System))),
            (Some("verify-full"), roots) => Ok((Some(SslMode::Require), Trust::Host(roots.unwrap_or(Roots::System)))),
            (Some("verify-ca"), roots) => {
                Ok((Some(SslMode::Require), Trust::Authority(roots.unwrap_or(Roots::System))))
            }
            // As libpq has it: who names an authority wants it asked.
            (Some("require"), Some(roots)) => Ok((Some(SslMode::Require), Trust::Authority(roots))),
            (Some("require"), None) => Ok((Some(SslMode::Require), Trust::Anybody)),
            (Some("prefer"), _) => Ok((Some(SslMode::Prefer), Trust::Anybody)),
            (Some("disable"), _) => Ok((Some(SslMode::Disable), Trust::Anybody)),
            (None, _) => Ok((None, Trust::Anybody)),
            (Some(_), _) => {
                Err(refused("sslmode in the database's URL must be disable, prefer, require, verify-ca or verify-full"))
            }
        }
    }
}

fn hosts(parsed: &Config, mode: Option<SslMode>) -> Result<Vec<TargetHost>, StoreError> {
    let (names, addresses, ports) = (parsed.get_hosts(), parsed.get_hostaddrs(), parsed.get_ports());
    let count = names.len().max(addresses.len());
    if count == 0 {
        return Err(refused("the database's URL names no host"));
    }
    let differ = |other: usize| other > 1 && other != count;
    if (!names.is_empty() && !addresses.is_empty() && names.len() != addresses.len()) || differ(ports.len()) {
        return Err(refused("the database's URL has not as many ports or addresses as it has hosts"));
    }
    let host = |at: usize| {
        let port = ports.get(at).or(ports.first()).copied().unwrap_or(PORT);
        one_host(parsed, names.get(at), addresses.get(at).copied(), port, mode)
    };
    Ok((0..count).map(host).collect())
}

fn one_host(
    parsed: &Config,
    name: Option<&Host>,
    address: Option<IpAddr>,
    port: u16,
    mode: Option<SslMode>,
) -> TargetHost {
    let mut config = Config::new();
    parsed.get_user().map(|user| config.user(user));
    parsed.get_password().map(|password| config.password(password));
    parsed.get_dbname().map(|name| config.dbname(name));
    parsed.get_options().map(|options| config.options(options));
    let (name, is_near) = match (name, address) {
        (Some(Host::Unix(path)), _) => {
            config.host_path(path);
            (path.display().to_string(), None)
        }
        (Some(Host::Tcp(name)), _) => {
            config.host(name);
            (name.clone(), Some(is_loopback(name)))
        }
        (None, address) => {
            // Its certificate is judged by what it is called here.
            let name = address.map(|address| address.to_string()).unwrap_or_default();
            config.host(&name);
            (name.clone(), Some(is_loopback(&name)))
        }
    };
    if let Some(address) = address {
        config.hostaddr(address);
    }
    // Nobody listens in on a socket of this machine; libpq does not ask for TLS there either.
    let mode = match (is_near, mode) {
        (None, _) | (Some(true), None) => SslMode::Disable,
        (Some(_), Some(mode)) => mode,
        (Some(false), None) => SslMode::Prefer,
    };
    config
        .port(port)
        .ssl_mode(mode)
        .ssl_negotiation(parsed.get_ssl_negotiation())
        .channel_binding(parsed.get_channel_binding())
        .application_name(parsed.get_application_name().unwrap_or("roster"))
        .connect_timeout(parsed.get_connect_timeout().copied().unwrap_or(REACHED_WITHIN))
        .keepalives(true)
        .keepalives_idle(KEEPALIVE_IDLE)
        .keepalives_interval(KEEPALIVE_INTERVAL)
        .tcp_user_timeout(UNACKNOWLEDGED_MAX)
        // Of several hosts, the one that can be written to: after a failover that is another one.
        .target_session_attrs(TargetSessionAttrs::ReadWrite);
    TargetHost { name: format!("{name}:{port}"), config }
}

fn is_loopback(name: &str) -> bool {
    name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> String {
        match Target::parse(url) {
            Ok(Target { hosts, trust }) => {
                let hosts: Vec<String> =
                    hosts.iter().map(|host| format!("{} {:?}", host.name, host.config.get_ssl_mode())).collect();
                format!("{}; {trust:?}", hosts.join(", "))
            }
            Err(StoreError::Refused(sentence)) => sentence,
            Err(other) => unreachable!("{other}"),
        }
    }

    #[test]
    fn sslmode_and_sslrootcert_mean_what_they_mean_to_libpq() {
        let rows = [
            ("postgres://u@db/x", "db:5432 Prefer; Anybody"),
            ("postgres://u@db/x?sslmode=disable", "db:5432 Disable; Anybody"),
            ("postgres://u@db/x?sslmode=prefer&sslrootcert=/a", "db:5432 Prefer; Anybody"),
            ("postgres://u@db/x?sslmode=require", "db:5432 Require; Anybody"),
            ("postgres://u@db/x?sslmode=require&sslrootcert=/a%20b", "db:5432 Require; Authority(File(\"/a b\"))"),
            ("postgres://u@db/x?sslmode=verify-ca&sslrootcert=/a", "db:5432 Require; Authority(File(\"/a\"))"),
            ("postgres://u@db/x?sslmode=verify-full&sslrootcert=/a", "db:5432 Require; Host(File(\"/a\"))"),
            ("postgres://u@db/x?sslmode=verify-full", "db:5432 Require; Host(System)"),
            ("postgres://u@db/x?sslrootcert=system", "db:5432 Require; Host(System)"),
            (
                "postgres://u@db/x?sslrootcert=system&sslmode=require",
                "sslmode=require is too weak for sslrootcert=system; use sslmode=verify-full",
            ),
            (
                "postgres://u@db/x?sslmode=allow",
                "sslmode in the database's URL must be disable, prefer, require, verify-ca or verify-full",
            ),
            ("postgres://u@db/x?sslkey=/k", "the database's URL has sslkey, which roster does not know; leave it out"),
        ];
        for (url, expected) in rows {
            assert_eq!(parse(url), expected, "{url}");
        }
    }

    #[test]
    fn each_host_has_its_own_port_and_its_own_need_of_tls() {
        assert_eq!(
            parse("postgres://u:p@localhost:1,127.0.0.9:2,[::1]:3,db:4/x"),
            "localhost:1 Disable, 127.0.0.9:2 Disable, ::1:3 Disable, db:4 Prefer; Anybody"
        );
        // Who asks for it has it on the loopback too, but not on a socket.
        assert_eq!(
            parse("postgres://u@%2Frun%2Fpg,localhost/x?sslmode=require"),
            "/run/pg:5432 Disable, localhost:5432 Require; Anybody"
        );
    }

    #[test]
    fn a_question_mark_in_a_password_begins_no_parameters() {
        let target = Target::parse("postgres://u:a?sslmode=no&b@db/x?connect_timeout=7").expect("right");
        assert_eq!(target.hosts[0].config.get_password(), Some(b"a?sslmode=no&b".as_slice()));
        assert_eq!(target.hosts[0].config.get_connect_timeout(), Some(&Duration::from_secs(7)));
    }
}
