//! Calls of the provider over HTTP: each bounded in time and size, none redirected, over TLS but on this very machine.

use std::net::IpAddr;
use std::time::Duration;

use serde::de::DeserializeOwned;
use ureq::http::{Response, Uri};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Body};
use zeroize::Zeroizing;

use super::refusal::{OidcRefusal, Reason};
use crate::tenant::Secret;

/// The largest answer that is read: documents and keys have some 10 KB, with long chains of certificates some more.
const ANSWER_BYTES_MAX: u64 = 256 * 1024;

/// What calls the provider.
pub(super) struct Calls {
    agent: Agent,
    is_local: bool,
}

/// An answer, of whatever status.
pub(super) struct Answered {
    pub(super) status: u16,
    pub(super) body: Zeroizing<Vec<u8>>,
}

impl Calls {
    pub(super) fn new(issuer: &str, within: Duration) -> Calls {
        let is_local = issuer.parse::<Uri>().is_ok_and(|issuer| is_loopback(&issuer));
        let mut config = Agent::config_builder()
            .timeout_global(Some(within))
            .max_redirects(0)
            .http_status_as_error(false)
            .https_only(!is_local)
            .user_agent(concat!("roster/", env!("CARGO_PKG_VERSION")))
            .tls_config(TlsConfig::builder().root_certs(authorities()).build());
        if is_local {
            config = config.proxy(None);
        }
        Calls { agent: config.build().new_agent(), is_local }
    }

    /// Reads an address that the provider named; `what` it is, is for the log.
    pub(super) fn endpoint(&self, what: &str, address: &str) -> Result<String, OidcRefusal> {
        let wrong = |why: &str| Reason::ProviderFailed.with(format!("the provider's {what} {why}"));
        let uri: Uri = address.parse().map_err(|_| wrong("is no URL"))?;
        let is_plain =
            uri.authority().is_some_and(|authority| !authority.as_str().contains('@')) && !address.contains('#');
        if !is_plain {
            return Err(wrong("has no host, or has a name before it or a '#' behind it"));
        }
        let is_safe = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => self.is_local && is_loopback(&uri),
            Some(_) | None => false,
        };
        if is_safe { Ok(address.to_owned()) } else { Err(wrong("is not https://")) }
    }

    /// Gets a document in JSON.
    pub(super) fn get<T: DeserializeOwned>(&self, what: &str, url: &str) -> Result<T, OidcRefusal> {
        json(what, answered(what, self.agent.get(url).header("Accept", "application/json").call())?)
    }

    /// Gets what a token of access opens.
    pub(super) fn get_with<T: DeserializeOwned>(
        &self,
        what: &str,
        url: &str,
        access: &Secret,
    ) -> Result<T, OidcRefusal> {
        let bearer = Zeroizing::new(format!("Bearer {}", access.expose()));
        let request = self.agent.get(url).header("Accept", "application/json").header("Authorization", bearer.as_str());
        json(what, answered(what, request.call())?)
    }

    /// Sends a form; `basic` is a name and a password in the header, already joined.
    pub(super) fn post(&self, what: &str, url: &str, form: &str, basic: Option<&str>) -> Result<Answered, OidcRefusal> {
        let mut request = self.agent.post(url).header("Accept", "application/json");
        if let Some(basic) = basic {
            request = request.header("Authorization", basic);
        }
        answered(what, request.content_type("application/x-www-form-urlencoded").send(form))
    }
}

/// Those that the system trusts, to which an operator adds their own organisation's; where it has none, the public ones that are built in.
fn authorities() -> RootCerts {
    let of_system = rustls_native_certs::load_native_certs().certs;
    if of_system.is_empty() {
        return RootCerts::WebPki;
    }
    let certificates: Vec<Certificate<'static>> =
        of_system.iter().map(|certificate| Certificate::from_der(certificate).to_owned()).collect();
    RootCerts::new_with_certs(&certificates)
}

fn is_loopback(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

fn answered(what: &str, response: Result<Response<Body>, ureq::Error>) -> Result<Answered, OidcRefusal> {
    let failed = |error: ureq::Error| match error {
        ureq::Error::BodyExceedsLimit(_) => {
            Reason::ProviderFailed.with(format!("the provider's {what} has more than {ANSWER_BYTES_MAX} bytes"))
        }
        error => Reason::Unreachable.with(format!("the provider's {what}: {error}")),
    };
    let response = response.map_err(failed)?;
    let status = response.status().as_u16();
    let body = response.into_body().into_with_config().limit(ANSWER_BYTES_MAX).read_to_vec().map_err(failed)?;
    Ok(Answered { status, body: Zeroizing::new(body) })
}

fn json<T: DeserializeOwned>(what: &str, Answered { status, body }: Answered) -> Result<T, OidcRefusal> {
    match status {
        200 => serde_json::from_slice(&body).map_err(|fault| not_as_it_should_be(what, &fault)),
        300..=399 => Err(Reason::ProviderFailed
            .with(format!("the provider's {what} is answered with {status}; redirections are not followed"))),
        500.. => Err(Reason::Unreachable.with(format!("the provider's {what} is answered with {status}"))),
        _ => Err(Reason::ProviderFailed.with(format!("the provider's {what} is answered with {status}"))),
    }
}

/// Where it stops being what is expected. What stands there is not repeated: it may be a secret, or a person's.
pub(super) fn not_as_it_should_be(what: &str, fault: &serde_json::Error) -> OidcRefusal {
    let kind = match fault.classify() {
        serde_json::error::Category::Data => "lacks something, or has something that is not of its kind,",
        serde_json::error::Category::Io | serde_json::error::Category::Syntax | serde_json::error::Category::Eof => {
            "is not JSON"
        }
    };
    let (line, column) = (fault.line(), fault.column());
    Reason::ProviderFailed.with(format!("the provider's {what} {kind} at line {line}, column {column}"))
}
