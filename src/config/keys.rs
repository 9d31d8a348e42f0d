//! All settings: the name of each, how its text is read, and how its value is written in a file. In which place a value was given,
//! and which place goes over which, is not known here.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use super::web_address::{issuer, origin};
use super::{ClientSecret, LEASE_SECONDS_MAX, LogFormat, MasterKey, Settings, UserClaim, Workers};
use crate::tenant::Secret;

/// A setting: its name, how its text is read, and how its value is written in a file.
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) set: fn(&mut Settings, &str) -> Result<(), String>,
    /// `None` where nothing is set, or what is set is a secret.
    pub(super) print: fn(&Settings) -> Option<String>,
}

/// All settings, in the order of the default file.
pub(super) const KEYS: [Key; 38] = [
    Key { name: "data", set: set_data, print: |settings| Some(quoted(&settings.data.to_string_lossy())) },
    Key { name: "database", set: set_database, print: |_| None },
    Key { name: "database_direct", set: set_database_direct, print: |_| None },
    Key { name: "listen", set: set_listen, print: |settings| Some(quoted(&settings.listen.to_string())) },
    Key {
        name: "tls_certificate",
        set: |settings, text| path(text).map(|path| settings.tls_certificate = Some(path)),
        print: |settings| settings.tls_certificate.as_ref().map(|path| quoted(&path.to_string_lossy())),
    },
    Key {
        name: "tls_key",
        set: |settings, text| path(text).map(|path| settings.tls_key = Some(path)),
        print: |settings| settings.tls_key.as_ref().map(|path| quoted(&path.to_string_lossy())),
    },
    Key {
        name: "metrics_listen",
        set: |settings, text| address(text).map(|address| settings.metrics_listen = Some(address)),
        print: |settings| settings.metrics_listen.map(|address| quoted(&address.to_string())),
    },
    Key {
        name: "connections_max",
        set: |settings, text| whole(text, 1, 1_000_000).map(|number| settings.connections_max = number),
        print: |settings| Some(settings.connections_max.to_string()),
    },
    Key {
        name: "headers_seconds_max",
        set: |settings, text| whole(text, 1, PAUSE_SECONDS_MAX).map(|number| settings.headers_seconds_max = number),
        print: |settings| Some(settings.headers_seconds_max.to_string()),
    },
    Key { name: "workers", set: set_workers, print: |settings| Some(print_workers(settings.workers)) },
    Key {
        name: "freshness_seconds",
        set: |settings, text| whole(text, 1, 86_400).map(|number| settings.freshness_seconds = number),
        print: |settings| Some(settings.freshness_seconds.to_string()),
    },
    Key {
        name: "body_bytes_max",
        set: |settings, text| whole(text, 1, BODY_BYTES_MAX).map(|number| settings.body_bytes_max = number),
        print: |settings| Some(settings.body_bytes_max.to_string()),
    },
    Key {
        name: "body_bytes_in_flight_max",
        set: |settings, text| whole(text, 1, BYTES_MAX).map(|number| settings.body_bytes_in_flight_max = number),
        print: |settings| Some(settings.body_bytes_in_flight_max.to_string()),
    },
    Key {
        name: "stream_bytes_max",
        set: |settings, text| whole(text, 1, STREAM_BYTES_MAX).map(|number| settings.stream_bytes_max = number),
        print: |settings| Some(settings.stream_bytes_max.to_string()),
    },
    Key {
        name: "streams_max",
        set: |settings, text| whole(text, 1, 1_024).map(|number| settings.streams_max = number),
        print: |settings| Some(settings.streams_max.to_string()),
    },
    Key {
        name: "body_pause_seconds_max",
        set: |settings, text| whole(text, 1, PAUSE_SECONDS_MAX).map(|number| settings.body_pause_seconds_max = number),
        print: |settings| Some(settings.body_pause_seconds_max.to_string()),
    },
    Key {
        name: "queue_max",
        set: |settings, text| whole(text, 1, 1_000_000).map(|number| settings.queue_max = number),
        print: |settings| Some(settings.queue_max.to_string()),
    },
    Key {
        name: "account_queue_max",
        set: |settings, text| whole(text, 1, 10_000_000).map(|number| settings.account_queue_max = number),
        print: |settings| Some(settings.account_queue_max.to_string()),
    },
    Key {
        name: "token_requests_per_minute_max",
        set: |settings, text| whole(text, 0, 1_000_000).map(|number| settings.token_requests_per_minute_max = number),
        print: |settings| Some(settings.token_requests_per_minute_max.to_string()),
    },
    Key {
        name: "account_requests_per_minute_max",
        set: |settings, text| whole(text, 0, 1_000_000).map(|number| settings.account_requests_per_minute_max = number),
        print: |settings| Some(settings.account_requests_per_minute_max.to_string()),
    },
    Key {
        name: "token_uploads_max",
        set: |settings, text| whole(text, 0, 1_000_000).map(|number| settings.token_uploads_max = number),
        print: |settings| Some(settings.token_uploads_max.to_string()),
    },
    Key {
        name: "account_uploads_max",
        set: |settings, text| whole(text, 0, 1_000_000).map(|number| settings.account_uploads_max = number),
        print: |settings| Some(settings.account_uploads_max.to_string()),
    },
    Key {
        name: "prefer_wait_seconds_max",
        set: |settings, text| whole(text, 0, 60).map(|number| settings.prefer_wait_seconds_max = number),
        print: |settings| Some(settings.prefer_wait_seconds_max.to_string()),
    },
    Key {
        name: "drain_seconds",
        set: |settings, text| whole(text, 0, 3_600).map(|number| settings.drain_seconds = number),
        print: |settings| Some(settings.drain_seconds.to_string()),
    },
    Key {
        name: "lease_seconds",
        set: |settings, text| whole(text, 1, LEASE_SECONDS_MAX).map(|number| settings.lease_seconds = number),
        print: |settings| Some(settings.lease_seconds.to_string()),
    },
    Key {
        name: "commands_kept_days",
        set: |settings, text| {
            whole(text, COMMANDS_KEPT_DAYS_MIN, KEPT_DAYS_MAX).map(|days| settings.commands_kept_days = days)
        },
        print: |settings| Some(settings.commands_kept_days.to_string()),
    },
    Key {
        name: "payloads_kept_days",
        set: |settings, text| whole(text, 1, KEPT_DAYS_MAX).map(|days| settings.payloads_kept_days = days),
        print: |settings| Some(settings.payloads_kept_days.to_string()),
    },
    Key {
        name: "console_url",
        set: |settings, text| origin(text).map(|url| settings.console_url = Some(url)),
        print: |settings| settings.console_url.as_deref().map(quoted),
    },
    Key {
        name: "oidc_issuer",
        set: |settings, text| issuer(text).map(|url| settings.oidc_issuer = Some(url)),
        print: |settings| settings.oidc_issuer.as_deref().map(quoted),
    },
    Key {
        name: "oidc_client_id",
        set: |settings, text| words(text, 1_000).map(|id| settings.oidc_client_id = Some(id)),
        print: |settings| settings.oidc_client_id.as_deref().map(quoted),
    },
    Key { name: CLIENT_SECRET, set: set_client_secret, print: |_| None },
    Key {
        name: "oidc_client_secret_file",
        set: |settings, text| path(text).map(|path| settings.oidc_client_secret = ClientSecret::File(path)),
        print: print_client_secret_file,
    },
    Key { name: "oidc_user_claim", set: set_user_claim, print: |settings| Some(print_user_claim(settings)) },
    Key {
        name: "oidc_label",
        set: |settings, text| words(text, 100).map(|label| settings.oidc_label = label),
        print: |settings| Some(quoted(&settings.oidc_label)),
    },
    Key {
        name: "log_format",
        set: set_log_format,
        print: |settings| Some(quoted(if settings.log_format == LogFormat::Text { "text" } else { "json" })),
    },
    Key {
        name: "log_level",
        set: set_log_level,
        print: |settings| Some(quoted(settings.log_level.as_deref().unwrap_or(AUTO))),
    },
    Key { name: "master_key", set: set_master_key, print: |_| None },
    Key { name: "master_key_file", set: set_master_key_file, print: print_master_key_file },
];

/// The word that leaves a setting to the program.
const AUTO: &str = "auto";

/// Longer than any signature is remembered (four days, at the widest `freshness_seconds`): a request that is sent again is
/// answered with its command.
const COMMANDS_KEPT_DAYS_MIN: u64 = 5;
/// A hundred years.
const KEPT_DAYS_MAX: u64 = 36_500;

/// The largest limit in bytes that can be set: 64 GiB.
const BYTES_MAX: u64 = 64 << 30;
/// The most that one body may be allowed to have: it is held in memory, and its cells are counted in 32 bits.
const BODY_BYTES_MAX: u64 = 1 << 30;
/// The most that one file may be allowed to have: 1 TiB.
const STREAM_BYTES_MAX: u64 = 1 << 40;

/// So that a piece of a file, which is four portions, arrives long before the stores take the file for forsaken (15 minutes).
const PAUSE_SECONDS_MAX: u64 = 120;

/// The one that is nothing but a secret.
pub(super) const MASTER_KEY: &str = "master_key";

/// The other one.
pub(super) const CLIENT_SECRET: &str = "oidc_client_secret";

/// The settings whose values are never repeated: they are secrets, or hold a password.
pub(super) const SECRETS: [&str; 4] = [MASTER_KEY, CLIENT_SECRET, "database", "database_direct"];

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn whole(text: &str, least: u64, most: u64) -> Result<u64, String> {
    let number = text.trim().parse().ok().filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| format!("it must be a whole number from {least} to {most}"))
}

fn path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() { Err("it must be a path".to_owned()) } else { Ok(PathBuf::from(text)) }
}

fn set_data(settings: &mut Settings, text: &str) -> Result<(), String> {
    settings.data = path(text)?;
    Ok(())
}

fn database_url(text: &str) -> Result<Secret, String> {
    if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
        return Err("it must be a URL like postgres://user:password@host:5432/name".to_owned());
    }
    Ok(Secret::new(text.to_owned()))
}

fn set_database(settings: &mut Settings, text: &str) -> Result<(), String> {
    settings.database = Some(database_url(text)?);
    Ok(())
}

fn set_database_direct(settings: &mut Settings, text: &str) -> Result<(), String> {
    settings.database_direct = Some(database_url(text)?);
    Ok(())
}

fn set_listen(settings: &mut Settings, text: &str) -> Result<(), String> {
    settings.listen = address(text)?;
    Ok(())
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let right = "it must be an IP address and a port, like 127.0.0.1:8080, 0.0.0.0:8080 or [::1]:8080";
    let numeric = text.replacen("localhost:", "127.0.0.1:", 1);
    numeric.parse().map_err(|_| right.to_owned())
}

fn set_workers(settings: &mut Settings, text: &str) -> Result<(), String> {
    let exactly = |text: &str| text.parse().ok().filter(|count: &NonZeroUsize| count.get() <= 1024);
    settings.workers = match text.trim() {
        AUTO => Workers::PerCore,
        text => Workers::Exactly(
            exactly(text).ok_or_else(|| "it must be a whole number from 1 to 1024, or \"auto\"".to_owned())?,
        ),
    };
    Ok(())
}

fn print_workers(workers: Workers) -> String {
    match workers {
        Workers::PerCore => quoted(AUTO),
        Workers::Exactly(count) => count.to_string(),
    }
}

fn set_log_format(settings: &mut Settings, text: &str) -> Result<(), String> {
    settings.log_format = match text {
        "text" => LogFormat::Text,
        "json" => LogFormat::Json,
        _ => return Err("it must be \"text\" or \"json\"".to_owned()),
    };
    Ok(())
}

/// The filter's own parser takes any unknown word for a part of the program, and would log nothing at all.
fn set_log_level(settings: &mut Settings, text: &str) -> Result<(), String> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let is_level = |word: &str| LEVELS.iter().any(|level| word.eq_ignore_ascii_case(level));
    let fits = text.split(',').all(|part| match part.trim().split_once('=') {
        Some((target, level)) => !target.is_empty() && is_level(level),
        None => is_level(part.trim()),
    });
    if text == AUTO {
        settings.log_level = None;
    } else if fits {
        settings.log_level = Some(text.to_owned());
    } else {
        return Err(format!("it must be \"auto\", one of {}, or like \"warn,roster=debug\"", LEVELS.join(", ")));
    }
    Ok(())
}

fn set_master_key(settings: &mut Settings, text: &str) -> Result<(), String> {
    if text.trim().is_empty() {
        return Err("it must not be blank; leave it out for a key in the data directory".to_owned());
    }
    settings.master_key = MasterKey::Text(Secret::new(text.to_owned()));
    Ok(())
}

fn set_master_key_file(settings: &mut Settings, text: &str) -> Result<(), String> {
    settings.master_key = MasterKey::File(path(text)?);
    Ok(())
}

fn print_master_key_file(settings: &Settings) -> Option<String> {
    match &settings.master_key {
        MasterKey::InData | MasterKey::Text(_) => None,
        MasterKey::File(path) => Some(quoted(&path.to_string_lossy())),
    }
}

/// A line of text for people or machines, as it is.
fn words(text: &str, characters_max: usize) -> Result<String, String> {
    let is_line = !text.trim().is_empty() && text.trim() == text && !text.chars().any(char::is_control);
    if is_line && text.chars().count() <= characters_max {
        Ok(text.to_owned())
    } else {
        Err(format!("it must be a line of 1 to {characters_max} characters, without blanks around it"))
    }
}

fn set_client_secret(settings: &mut Settings, text: &str) -> Result<(), String> {
    if text.trim().is_empty() {
        return Err("it must not be blank; leave it out for a public client".to_owned());
    }
    settings.oidc_client_secret = ClientSecret::Text(Secret::new(text.to_owned()));
    Ok(())
}

fn print_client_secret_file(settings: &Settings) -> Option<String> {
    match &settings.oidc_client_secret {
        ClientSecret::None | ClientSecret::Text(_) => None,
        ClientSecret::File(path) => Some(quoted(&path.to_string_lossy())),
    }
}

const USER_CLAIMS: [(&str, UserClaim); 3] =
    [("email", UserClaim::Email), ("preferred_username", UserClaim::PreferredUsername), ("sub", UserClaim::Subject)];

fn set_user_claim(settings: &mut Settings, text: &str) -> Result<(), String> {
    let known = USER_CLAIMS.iter().find(|(name, _)| *name == text);
    let right = "it must be \"email\", \"preferred_username\" or \"sub\"";
    settings.oidc_user_claim = known.map(|(_, claim)| *claim).ok_or_else(|| right.to_owned())?;
    Ok(())
}

fn print_user_claim(settings: &Settings) -> String {
    let known = USER_CLAIMS.iter().find(|(_, claim)| *claim == settings.oidc_user_claim);
    quoted(known.map_or("", |(name, _)| name))
}
