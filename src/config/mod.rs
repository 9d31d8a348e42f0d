//! Settings as types, and the one way in which they come to be: flag over environment over file over default.
//!
//! Every setting is one line of [`KEYS`] and one documented key of `default.toml`, which is compiled in, so that the
//! documented default cannot lie. A value is given as text, wherever it comes from, and read by the same function; what is
//! wrong is told with the place, the key, what was wrong with its value, and what would be right.
//! This room opens no store and reads no environment: the command line hands over what was given.

mod keys;
mod sign_in;
mod web_address;

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

pub use sign_in::{ClientSecret, UserClaim};

use keys::{CLIENT_SECRET, KEYS, MASTER_KEY, SECRETS};

use crate::tenant::Secret;

/// The documented default of every setting.
pub const DEFAULT_FILE: &str = include_str!("default.toml");

/// The longest lease that can be set.
pub const LEASE_SECONDS_MAX: u64 = 3_600;

/// How the service and the operator's commands are set up. Each is explained in [`DEFAULT_FILE`] under the same name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// The directory that holds everything, where no database is named.
    pub data: PathBuf,
    /// The URL of the PostgreSQL database that holds everything; it may hold a password.
    pub database: Option<Secret>,
    /// The same database past a pooler of transactions; it may hold a password.
    pub database_direct: Option<Secret>,
    /// Where to listen.
    pub listen: SocketAddr,
    /// The certificate that is shown there, in PEM; `None`: it speaks plain HTTP.
    pub tls_certificate: Option<PathBuf>,
    /// Its key, in PEM.
    pub tls_key: Option<PathBuf>,
    /// Where the numbers for Prometheus are told, if anywhere.
    pub metrics_listen: Option<SocketAddr>,
    /// The most connections at once.
    pub connections_max: u64,
    /// How long a client may take for the headers of a request, and a connection be idle between two, in seconds.
    pub headers_seconds_max: u64,
    /// How many imports run at the same time.
    pub workers: Workers,
    /// How far a signature's time may be from the clock, in seconds.
    pub freshness_seconds: u64,
    /// The largest body, in bytes.
    pub body_bytes_max: u64,
    /// The most bytes of bodies in memory at one moment.
    pub body_bytes_in_flight_max: u64,
    /// The largest file that is sent as it is, in bytes, as sent and decompressed.
    pub stream_bytes_max: u64,
    /// How many such files are received at the same time.
    pub streams_max: u64,
    /// How long a client may pause in the middle of a body, in seconds.
    pub body_pause_seconds_max: u64,
    /// The most imports that wait in one program's queue.
    pub queue_max: u64,
    /// The most imports that wait in all queues of one account.
    pub account_queue_max: u64,
    /// The most requests in a minute with one token; 0: any number.
    pub token_requests_per_minute_max: u64,
    /// The most requests in a minute with all tokens of one account; 0: any number.
    pub account_requests_per_minute_max: u64,
    /// The most imports that come in at the same time with one token; 0: any number.
    pub token_uploads_max: u64,
    /// The most imports that come in at the same time with all tokens of one account; 0: any number.
    pub account_uploads_max: u64,
    /// The longest `Prefer: wait`, in seconds.
    pub prefer_wait_seconds_max: u64,
    /// How long a stopping service waits for what runs, in seconds.
    pub drain_seconds: u64,
    /// How long another node's work is left alone without a sign of life, in seconds.
    pub lease_seconds: u64,
    /// How long a complete command is kept, in days.
    pub commands_kept_days: u64,
    /// How long its upload is kept, in days.
    pub payloads_kept_days: u64,
    /// Under which address browsers reach the service, like `https://texting.example.edu`: without a path, in lower case.
    pub console_url: Option<String>,
    /// Who signs the console's users in by OpenID Connect, exactly as that provider calls itself.
    pub oidc_issuer: Option<String>,
    /// As what the provider knows this service.
    pub oidc_client_id: Option<String>,
    /// What this service proves that with.
    pub oidc_client_secret: ClientSecret,
    /// Which of the provider's words about a person is the name of the user here.
    pub oidc_user_claim: UserClaim,
    /// What stands on the button.
    pub oidc_label: String,
    /// How log lines look.
    pub log_format: LogFormat,
    /// What is logged; `None`: it depends on the command.
    pub log_level: Option<String>,
    /// What encrypts the tokens' secrets.
    pub master_key: MasterKey,
}

/// How many imports run at the same time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Workers {
    /// One per processor core.
    PerCore,
    /// So many.
    Exactly(NonZeroUsize),
}

/// How log lines look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines: one object a line.
    Json,
}

/// Where the master key is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MasterKey {
    /// In the data directory, made there if it is not there.
    InData,
    /// This text.
    Text(Secret),
    /// In this file.
    File(PathBuf),
}

impl Workers {
    /// The number, on this machine.
    pub fn count(self) -> usize {
        match self {
            Workers::PerCore => std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
            Workers::Exactly(count) => count.get(),
        }
    }
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            data: PathBuf::from("./roster-data"),
            database: None,
            database_direct: None,
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            tls_certificate: None,
            tls_key: None,
            metrics_listen: None,
            connections_max: 4_096,
            headers_seconds_max: 30,
            workers: Workers::PerCore,
            freshness_seconds: 15 * 60,
            body_bytes_max: 64 << 20,
            body_bytes_in_flight_max: 256 << 20,
            stream_bytes_max: 4 << 30,
            streams_max: 32,
            body_pause_seconds_max: 30,
            queue_max: 10_000,
            account_queue_max: 50_000,
            token_requests_per_minute_max: 0,
            account_requests_per_minute_max: 0,
            token_uploads_max: 0,
            account_uploads_max: 0,
            prefer_wait_seconds_max: 60,
            drain_seconds: 30,
            lease_seconds: 10,
            commands_kept_days: 30,
            payloads_kept_days: 7,
            console_url: None,
            oidc_issuer: None,
            oidc_client_id: None,
            oidc_client_secret: ClientSecret::None,
            oidc_user_claim: UserClaim::Email,
            oidc_label: "Sign in with your organisation's account".to_owned(),
            log_format: LogFormat::Text,
            log_level: None,
            master_key: MasterKey::InData,
        }
    }
}

/// A setting that somebody gave, as text.
#[derive(Clone, Debug)]
pub struct Given {
    /// Its name: one of [`KEYS`].
    pub key: &'static str,
    /// As it was written.
    pub value: String,
}

/// Why there are no settings. The sentence is for who wrote them.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {path}: {reason}", path = path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        reason: std::io::Error,
    },
    /// The file is no TOML.
    #[error("{path}, line {line}: not TOML: {reason}", path = path.display())]
    NotToml {
        /// Which file.
        path: PathBuf,
        /// Where it stops being TOML.
        line: usize,
        /// What was expected. The line itself is not repeated: it may hold a secret.
        reason: String,
    },
    /// There is no such setting.
    #[error("{path}: there is no setting '{key}'; there are: {known}", path = path.display(), known = known_keys())]
    UnknownKey {
        /// Which file.
        path: PathBuf,
        /// The key that nobody knows.
        key: String,
    },
    /// Two settings do not fit each other, wherever they were given.
    #[error("{0}")]
    Disagree(String),
    /// A setting has a value that it cannot have.
    #[error("{place}: {shown} is not possible; {right}")]
    WrongValue {
        /// Where it was given.
        place: Place,
        /// Key and value; without the value where it is a secret.
        shown: String,
        /// What would be right.
        right: String,
    },
}

/// Where a setting was given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// In a file.
    File(PathBuf),
    /// As a flag or its environment variable.
    Flag(&'static str),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File(path) => write!(f, "{}", path.display()),
            Place::Flag(key) => {
                write!(f, "--{} (or ROSTER_{})", key.replace('_', "-"), key.to_ascii_uppercase())
            }
        }
    }
}

impl Settings {
    /// The settings: the default, what `file` says over it, and what was given as a flag or in the environment over that.
    pub fn resolve(file: Option<&Path>, given: &[Given]) -> Result<Settings, ConfigError> {
        let mut settings = Settings::default();
        if let Some(path) = file {
            let text = std::fs::read_to_string(path)
                .map_err(|reason| ConfigError::Unreadable { path: path.to_owned(), reason })?;
            settings.apply_file(path, &text)?;
        }
        for one in given {
            settings.apply(&Place::Flag(one.key), one.key, &one.value)?;
        }
        let names: Vec<&str> = given.iter().map(|one| one.key).collect();
        one_of_each_pair(Place::Flag, &names)?;
        settings.check_together()?;
        Ok(settings)
    }

    /// The default file with these settings' values, secrets left out.
    pub fn to_file(&self) -> String {
        DEFAULT_FILE.lines().map(|line| self.with_value(line) + "\n").collect()
    }

    fn apply_file(&mut self, path: &Path, text: &str) -> Result<(), ConfigError> {
        let not_toml = |error: toml::de::Error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            ConfigError::NotToml { path: path.to_owned(), line, reason: error.message().to_owned() }
        };
        let table: toml::Table = toml::from_str(text).map_err(not_toml)?;
        let place = Place::File(path.to_owned());
        for (key, value) in &table {
            let Some(known) = KEYS.iter().find(|known| known.name == key) else {
                return Err(ConfigError::UnknownKey { path: path.to_owned(), key: key.clone() });
            };
            let text = match value {
                toml::Value::String(text) => text.clone(),
                toml::Value::Integer(number) => number.to_string(),
                other => return Err(wrong(&place, known.name, &other.to_string(), "give a text or a whole number")),
            };
            self.apply(&place, known.name, &text)?;
        }
        let names: Vec<&str> = table.keys().map(String::as_str).collect();
        one_of_each_pair(|_| place.clone(), &names)
    }

    fn apply(&mut self, place: &Place, name: &'static str, text: &str) -> Result<(), ConfigError> {
        let Some(key) = KEYS.iter().find(|key| key.name == name) else {
            return Err(wrong(place, name, text, "there is no such setting"));
        };
        (key.set)(self, text).map_err(|right| wrong(place, name, text, &right))
    }

    /// What no setting can judge by itself.
    fn check_together(&self) -> Result<(), ConfigError> {
        let (body, in_flight) = (self.body_bytes_max, self.body_bytes_in_flight_max);
        if in_flight < body {
            return Err(ConfigError::Disagree(format!(
                "body_bytes_in_flight_max = {in_flight} is less than body_bytes_max = {body}: the largest body could \
                 never come in; it must be at least that"
            )));
        }
        match (&self.tls_certificate, &self.tls_key) {
            (Some(_), None) => return Err(half("tls_certificate", "tls_key")),
            (None, Some(_)) => return Err(half("tls_key", "tls_certificate")),
            (Some(_), Some(_)) | (None, None) => {}
        }
        self.check_oidc()
    }

    /// A line of the default file, with this value if it is a key's.
    fn with_value(&self, line: &str) -> String {
        let key = line.trim_start_matches("# ").split_once(" = ").map(|(name, _)| name);
        let printed = KEYS.iter().find(|known| Some(known.name) == key).and_then(|known| (known.print)(self));
        match (key, printed) {
            (Some(name), Some(value)) => format!("{name} = {value}"),
            _ => line.to_owned(),
        }
    }
}

fn known_keys() -> String {
    KEYS.map(|key| key.name).join(", ")
}

fn wrong(place: &Place, name: &str, value: &str, right: &str) -> ConfigError {
    let shown = if SECRETS.contains(&name) { name.to_owned() } else { format!("{name} = {value}") };
    ConfigError::WrongValue { place: place.clone(), shown, right: right.to_owned() }
}

fn half(given: &str, lacking: &str) -> ConfigError {
    ConfigError::Disagree(format!("{given} is given without {lacking}: give both to serve with TLS, or neither"))
}

/// A secret and a file with it in one place would be a guess; in two places the higher one simply wins.
fn one_of_each_pair(place: impl Fn(&'static str) -> Place, names: &[&str]) -> Result<(), ConfigError> {
    for (secret, file) in [(MASTER_KEY, "master_key_file"), (CLIENT_SECRET, "oidc_client_secret_file")] {
        if names.contains(&secret) && names.contains(&file) {
            return Err(wrong(&place(file), secret, "", &format!("give {secret} or {file}, not both")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    pub(super) fn from_file(text: &str) -> Result<Settings, ConfigError> {
        let mut settings = Settings::default();
        settings.apply_file(Path::new("roster.toml"), text)?;
        Ok(settings)
    }

    pub(super) fn given(key: &'static str, value: &str) -> Given {
        Given { key, value: value.to_owned() }
    }

    #[test]
    fn the_documented_default_is_the_default() {
        assert_eq!(from_file(DEFAULT_FILE).expect("it is right"), Settings::default());
        assert_eq!(Settings::default().to_file(), DEFAULT_FILE);
    }

    #[test]
    fn every_key_is_documented_by_a_comment_above_it() {
        let lines: Vec<&str> = DEFAULT_FILE.lines().collect();
        let place_of =
            |name: &str| lines.iter().position(|line| line.trim_start_matches("# ").starts_with(&format!("{name} = ")));
        let places: Vec<usize> = KEYS.iter().map(|key| place_of(key.name).expect(key.name)).collect();
        assert!(places.is_sorted(), "in the order of KEYS");
        for (key, place) in KEYS.iter().zip(places) {
            assert!(lines[place - 1].starts_with("# "), "{}", key.name);
        }
    }

    #[test]
    fn a_flag_goes_over_the_file_and_the_file_over_the_default() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("roster.toml");
        std::fs::write(&file, "drain_seconds = 5\nworkers = 3\nlog_level = \"debug\"\n").expect("written");
        let settings = Settings::resolve(Some(&file), &[given("workers", "7")]).expect("right");
        let expected = Settings {
            drain_seconds: 5,
            workers: Workers::Exactly(NonZeroUsize::new(7).expect("7")),
            log_level: Some("debug".to_owned()),
            ..Settings::default()
        };
        assert_eq!(settings, expected);
        assert_eq!(from_file(&settings.to_file()).expect("what is printed reads back"), settings);
    }

    #[test]
    fn a_file_key_and_a_key_in_the_environment_do_not_quarrel() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("roster.toml");
        std::fs::write(&file, "master_key_file = \"/run/key\"\n").expect("written");
        let settings = Settings::resolve(Some(&file), &[given("master_key", "0123")]).expect("right");
        assert_eq!(settings.master_key, MasterKey::Text(Secret::new("0123".to_owned())));
        assert!(!settings.to_file().contains("0123"), "secrets are not printed");
    }

    fn check_refusal(text: &str, expected: Expect) {
        expected.assert_eq(&from_file(text).expect_err("it is wrong").to_string());
    }

    #[test]
    fn what_is_wrong_is_told_with_file_key_value_and_remedy() {
        check_refusal(
            "wrokers = 3",
            expect![
                "roster.toml: there is no setting 'wrokers'; there are: data, database, database_direct, listen, tls_certificate, tls_key, metrics_listen, connections_max, headers_seconds_max, workers, freshness_seconds, body_bytes_max, body_bytes_in_flight_max, stream_bytes_max, streams_max, body_pause_seconds_max, queue_max, account_queue_max, token_requests_per_minute_max, account_requests_per_minute_max, token_uploads_max, account_uploads_max, prefer_wait_seconds_max, drain_seconds, lease_seconds, commands_kept_days, payloads_kept_days, console_url, oidc_issuer, oidc_client_id, oidc_client_secret, oidc_client_secret_file, oidc_user_claim, oidc_label, log_format, log_level, master_key, master_key_file"
            ],
        );
        check_refusal(
            "workers = 0",
            expect![[
                r#"roster.toml: workers = 0 is not possible; it must be a whole number from 1 to 1024, or "auto""#
            ]],
        );
        check_refusal(
            "drain_seconds = -1",
            expect!["roster.toml: drain_seconds = -1 is not possible; it must be a whole number from 0 to 3600"],
        );
        check_refusal(
            "queue_max = [1]",
            expect!["roster.toml: queue_max = [1] is not possible; give a text or a whole number"],
        );
        check_refusal(
            "listen = \"8080\"",
            expect![
                "roster.toml: listen = 8080 is not possible; it must be an IP address and a port, like 127.0.0.1:8080, 0.0.0.0:8080 or [::1]:8080"
            ],
        );
        check_refusal(
            "log_level = \"verbose\"",
            expect![[
                r#"roster.toml: log_level = verbose is not possible; it must be "auto", one of off, error, warn, info, debug, trace, or like "warn,roster=debug""#
            ]],
        );
        check_refusal(
            "database = \"mysql://user:password@db/roster\"",
            expect![
                "roster.toml: database is not possible; it must be a URL like postgres://user:password@host:5432/name"
            ],
        );
        check_refusal(
            "master_key = \" \"",
            expect![
                "roster.toml: master_key is not possible; it must not be blank; leave it out for a key in the data directory"
            ],
        );
        check_refusal(
            "master_key = \"a\"\nmaster_key_file = \"b\"",
            expect!["roster.toml: master_key is not possible; give master_key or master_key_file, not both"],
        );
        check_refusal("workers 3", expect!["roster.toml, line 1: not TOML: key with no value, expected `=`"]);
    }

    #[test]
    fn a_databases_password_is_not_shown() {
        let database = given("database", "postgres://roster:s3cr3t@db/roster");
        let settings = Settings::resolve(None, &[database]).expect("right");
        assert!(settings.database.is_some());
        assert!(!format!("{settings:?}{}", settings.to_file()).contains("s3cr3t"));
    }

    #[test]
    fn limits_must_fit_each_other() {
        let error = Settings::resolve(None, &[given("body_bytes_in_flight_max", "5")]).expect_err("too small");
        expect!["body_bytes_in_flight_max = 5 is less than body_bytes_max = 67108864: the largest body could never come in; it must be at least that"]
            .assert_eq(&error.to_string());
    }
}
