//! The flags that are settings, as text: what they mean is `config`'s to say, so that a flag, a variable and a file are
//! read alike and refused alike.

use std::path::PathBuf;

use clap::Args;
use clap::builder::BoolishValueParser;

use crate::config::{Given, Settings};

use super::failure::Failure;
use super::output::Output;

/// What every command takes.
#[derive(Args, Clone, Debug)]
pub(super) struct GlobalArgs {
    /// Print JSON: one object, or one a line for lists
    #[arg(long, global = true, env = "ROSTER_JSON", value_parser = BoolishValueParser::new(), help_heading = "Everywhere")]
    json: bool,
    /// Print only data and failures
    #[arg(long, short, global = true, env = "ROSTER_QUIET", value_parser = BoolishValueParser::new(), help_heading = "Everywhere")]
    quiet: bool,
    /// The configuration file (TOML); 'roster serve --print-config' shows what can be in it
    #[arg(long, global = true, env = "ROSTER_CONFIG", value_name = "FILE", help_heading = "Everywhere")]
    config: Option<PathBuf>,
    /// What is logged: off, error, warn, info, debug, trace, or like 'warn,roster=debug'
    #[arg(long, global = true, env = "ROSTER_LOG_LEVEL", value_name = "LEVEL", help_heading = "Everywhere")]
    log_level: Option<String>,
    /// How log lines look: text or json
    #[arg(long, global = true, env = "ROSTER_LOG_FORMAT", value_name = "FORMAT", help_heading = "Everywhere")]
    log_format: Option<String>,
}

/// What every command on the data takes.
#[derive(Args, Clone, Debug)]
pub(super) struct DataArgs {
    /// The directory that holds everything; with a database, the master key at most [default: ./roster-data]
    #[arg(long, env = "ROSTER_DATA", value_name = "DIR")]
    data: Option<String>,
    /// A PostgreSQL database in place of the directory; better in the variable, as it may hold a password
    #[arg(long, env = "ROSTER_DATABASE", value_name = "URL")]
    database: Option<String>,
    /// The master key that encrypts secrets at rest; better in the variable than as a flag, which others can see
    #[arg(long, env = "ROSTER_MASTER_KEY", value_name = "KEY", hide_short_help = true)]
    master_key: Option<String>,
    /// A file that holds the master key [default: a key made in the data directory]
    #[arg(long, env = "ROSTER_MASTER_KEY_FILE", value_name = "FILE", hide_short_help = true)]
    master_key_file: Option<String>,
}

/// What the service takes.
#[derive(Args, Clone, Debug)]
pub(super) struct ServiceArgs {
    #[command(flatten)]
    data: DataArgs,
    /// The address and port to listen on; port 0 takes any free one [default: 127.0.0.1:8080]
    #[arg(long, env = "ROSTER_LISTEN", value_name = "ADDR")]
    listen: Option<String>,
    /// Serve with TLS: the certificate, and those between it and its authority, in PEM
    #[arg(long, env = "ROSTER_TLS_CERTIFICATE", value_name = "FILE")]
    tls_certificate: Option<String>,
    /// Serve with TLS: the certificate's key, in PEM, not encrypted
    #[arg(long, env = "ROSTER_TLS_KEY", value_name = "FILE")]
    tls_key: Option<String>,
    /// The most connections at once [default: 4096]
    #[arg(long, env = "ROSTER_CONNECTIONS_MAX", value_name = "N", hide_short_help = true)]
    connections_max: Option<String>,
    /// How long a client may take for the headers of a request [default: 30]
    #[arg(long, env = "ROSTER_HEADERS_SECONDS_MAX", value_name = "N", hide_short_help = true)]
    headers_seconds_max: Option<String>,
    /// How many imports run at the same time [default: one per processor core]
    #[arg(long, env = "ROSTER_WORKERS", value_name = "N")]
    workers: Option<String>,
    /// How far a signature's time may be from the clock [default: 900]
    #[arg(long, env = "ROSTER_FRESHNESS_SECONDS", value_name = "N", hide_short_help = true)]
    freshness_seconds: Option<String>,
    /// The largest body of a request [default: 67108864]
    #[arg(long, env = "ROSTER_BODY_BYTES_MAX", value_name = "N", hide_short_help = true)]
    body_bytes_max: Option<String>,
    /// The most bytes of bodies in memory at one moment [default: 268435456]
    #[arg(long, env = "ROSTER_BODY_BYTES_IN_FLIGHT_MAX", value_name = "N", hide_short_help = true)]
    body_bytes_in_flight_max: Option<String>,
    /// The largest file that is sent as it is, as sent and decompressed [default: 4294967296]
    #[arg(long, env = "ROSTER_STREAM_BYTES_MAX", value_name = "N", hide_short_help = true)]
    stream_bytes_max: Option<String>,
    /// How many such files come in at the same time [default: 32]
    #[arg(long, env = "ROSTER_STREAMS_MAX", value_name = "N", hide_short_help = true)]
    streams_max: Option<String>,
    /// In how many seconds 256 KiB of a body must arrive [default: 30]
    #[arg(long, env = "ROSTER_BODY_PAUSE_SECONDS_MAX", value_name = "N", hide_short_help = true)]
    body_pause_seconds_max: Option<String>,
    /// The most imports that may wait in one program's queue [default: 10000]
    #[arg(long, env = "ROSTER_QUEUE_MAX", value_name = "N", hide_short_help = true)]
    queue_max: Option<String>,
    /// The most imports that may wait in all programs of one account [default: 50000]
    #[arg(long, env = "ROSTER_ACCOUNT_QUEUE_MAX", value_name = "N", hide_short_help = true)]
    account_queue_max: Option<String>,
    /// The most requests in a minute with one token; 0 for any number [default: 0]
    #[arg(long, env = "ROSTER_TOKEN_REQUESTS_PER_MINUTE_MAX", value_name = "N", hide_short_help = true)]
    token_requests_per_minute_max: Option<String>,
    /// The most requests in a minute with all tokens of one account; 0 for any number [default: 0]
    #[arg(long, env = "ROSTER_ACCOUNT_REQUESTS_PER_MINUTE_MAX", value_name = "N", hide_short_help = true)]
    account_requests_per_minute_max: Option<String>,
    /// The most imports that come in at the same time with one token; 0 for any number [default: 0]
    #[arg(long, env = "ROSTER_TOKEN_UPLOADS_MAX", value_name = "N", hide_short_help = true)]
    token_uploads_max: Option<String>,
    /// The most imports that come in at the same time with all tokens of one account; 0 for any number [default: 0]
    #[arg(long, env = "ROSTER_ACCOUNT_UPLOADS_MAX", value_name = "N", hide_short_help = true)]
    account_uploads_max: Option<String>,
    /// The longest 'Prefer: wait' [default: 60]
    #[arg(long, env = "ROSTER_PREFER_WAIT_SECONDS_MAX", value_name = "N", hide_short_help = true)]
    prefer_wait_seconds_max: Option<String>,
    /// With a database behind a pooler of transactions: the same database past it; better in the variable
    #[arg(long, env = "ROSTER_DATABASE_DIRECT", value_name = "URL", hide_short_help = true)]
    database_direct: Option<String>,
    /// How long a stopping service lets requests and imports finish [default: 30]
    #[arg(long, env = "ROSTER_DRAIN_SECONDS", value_name = "N", hide_short_help = true)]
    drain_seconds: Option<String>,
    /// With a database: how long a node may be silent before its work is taken over [default: 10]
    #[arg(long, env = "ROSTER_LEASE_SECONDS", value_name = "N", hide_short_help = true)]
    lease_seconds: Option<String>,
    /// A second address, where Prometheus finds /metrics; nowhere by default
    #[arg(long, env = "ROSTER_METRICS_LISTEN", value_name = "ADDR", hide_short_help = true)]
    metrics_listen: Option<String>,
    /// How long complete commands and their reports are kept [default: 30]
    #[arg(long, env = "ROSTER_COMMANDS_KEPT_DAYS", value_name = "N", hide_short_help = true)]
    commands_kept_days: Option<String>,
    /// How long uploaded files are kept after their commands are complete [default: 7]
    #[arg(long, env = "ROSTER_PAYLOADS_KEPT_DAYS", value_name = "N", hide_short_help = true)]
    payloads_kept_days: Option<String>,
    /// Under which address browsers reach the service: scheme, host, and the port if it is not the usual one
    #[arg(long, env = "ROSTER_CONSOLE_URL", value_name = "URL", hide_short_help = true)]
    console_url: Option<String>,
    /// Sign-in by OpenID Connect: the provider's issuer
    #[arg(long, env = "ROSTER_OIDC_ISSUER", value_name = "URL", hide_short_help = true)]
    oidc_issuer: Option<String>,
    /// Sign-in by OpenID Connect: the id under which the provider knows this service
    #[arg(long, env = "ROSTER_OIDC_CLIENT_ID", value_name = "ID", hide_short_help = true)]
    oidc_client_id: Option<String>,
    /// Sign-in by OpenID Connect: the secret that goes with it; better in the variable than as a flag, which others can see
    #[arg(long, env = "ROSTER_OIDC_CLIENT_SECRET", value_name = "SECRET", hide_short_help = true)]
    oidc_client_secret: Option<String>,
    /// Sign-in by OpenID Connect: a file that holds that secret
    #[arg(long, env = "ROSTER_OIDC_CLIENT_SECRET_FILE", value_name = "FILE", hide_short_help = true)]
    oidc_client_secret_file: Option<String>,
    /// Sign-in by OpenID Connect: what names the user: email, preferred_username or sub [default: email]
    #[arg(long, env = "ROSTER_OIDC_USER_CLAIM", value_name = "CLAIM", hide_short_help = true)]
    oidc_user_claim: Option<String>,
    /// Sign-in by OpenID Connect: what stands on the button
    #[arg(long, env = "ROSTER_OIDC_LABEL", value_name = "TEXT", hide_short_help = true)]
    oidc_label: Option<String>,
}

impl GlobalArgs {
    /// How the command talks.
    pub(super) fn output(&self) -> Output {
        Output { json: self.json, quiet: self.quiet }
    }

    /// The settings, with what a command was given beside these.
    pub(super) fn settings(&self, given: Vec<Given>) -> Result<Settings, Failure> {
        let mut given = given;
        given.extend(present([("log_level", &self.log_level), ("log_format", &self.log_format)]));
        Ok(Settings::resolve(self.config.as_deref(), &given)?)
    }
}

impl DataArgs {
    /// What was given.
    pub(super) fn given(&self) -> Vec<Given> {
        let DataArgs { data, database, master_key, master_key_file } = self;
        present([
            ("data", data),
            ("database", database),
            ("master_key", master_key),
            ("master_key_file", master_key_file),
        ])
        .collect()
    }
}

impl ServiceArgs {
    /// What was given.
    pub(super) fn given(&self) -> Vec<Given> {
        let ServiceArgs {
            data,
            listen,
            tls_certificate,
            tls_key,
            connections_max,
            headers_seconds_max,
            workers,
            freshness_seconds,
            body_bytes_max,
            body_bytes_in_flight_max,
            stream_bytes_max,
            streams_max,
            body_pause_seconds_max,
            queue_max,
            account_queue_max,
            token_requests_per_minute_max,
            account_requests_per_minute_max,
            token_uploads_max,
            account_uploads_max,
            prefer_wait_seconds_max,
            database_direct,
            drain_seconds,
            lease_seconds,
            metrics_listen,
            commands_kept_days,
            payloads_kept_days,
            console_url,
            oidc_issuer,
            oidc_client_id,
            oidc_client_secret,
            oidc_client_secret_file,
            oidc_user_claim,
            oidc_label,
        } = self;
        let mut given = data.given();
        given.extend(present([
            ("listen", listen),
            ("tls_certificate", tls_certificate),
            ("tls_key", tls_key),
            ("connections_max", connections_max),
            ("headers_seconds_max", headers_seconds_max),
            ("workers", workers),
            ("freshness_seconds", freshness_seconds),
            ("body_bytes_max", body_bytes_max),
            ("body_bytes_in_flight_max", body_bytes_in_flight_max),
            ("stream_bytes_max", stream_bytes_max),
            ("streams_max", streams_max),
            ("body_pause_seconds_max", body_pause_seconds_max),
            ("queue_max", queue_max),
            ("account_queue_max", account_queue_max),
            ("token_requests_per_minute_max", token_requests_per_minute_max),
            ("account_requests_per_minute_max", account_requests_per_minute_max),
            ("token_uploads_max", token_uploads_max),
            ("account_uploads_max", account_uploads_max),
            ("prefer_wait_seconds_max", prefer_wait_seconds_max),
            ("database_direct", database_direct),
            ("drain_seconds", drain_seconds),
            ("lease_seconds", lease_seconds),
            ("metrics_listen", metrics_listen),
            ("commands_kept_days", commands_kept_days),
            ("payloads_kept_days", payloads_kept_days),
            ("console_url", console_url),
            ("oidc_issuer", oidc_issuer),
            ("oidc_client_id", oidc_client_id),
            ("oidc_client_secret", oidc_client_secret),
            ("oidc_client_secret_file", oidc_client_secret_file),
            ("oidc_user_claim", oidc_user_claim),
            ("oidc_label", oidc_label),
        ]));
        given
    }
}

fn present<const N: usize>(flags: [(&'static str, &Option<String>); N]) -> impl Iterator<Item = Given> {
    flags.map(|(key, value)| value.clone().map(|value| Given { key, value })).into_iter().flatten()
}
