//! Links that sign a user in to the console once, and where the console is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use zeroize::Zeroizing;

use crate::config::Settings;
use crate::store::Store;
use crate::tenant::{Ticket, UserId};

use super::failure::Failure;
use super::operator::now_ms;
use super::token::random;

/// How long a link lets in, if nothing else is asked for, in minutes.
pub(super) const MINUTES: u32 = 15;

/// The longest that one can: a link is to be used now, and lies in a mailbox or a shell's history for longer.
pub(super) const MINUTES_MAX: u32 = 24 * 60;

/// A link that was made. What is in it is shown once, and kept nowhere.
pub(super) struct Link {
    ticket: Ticket,
    /// When it ends.
    pub(super) until_ms: i64,
}

impl Link {
    /// Makes one, of which the store gets the digest.
    pub(super) async fn make(store: &dyn Store, user: UserId, minutes: u32) -> Result<Link, Failure> {
        let ticket = Ticket::of_random(&Zeroizing::new(random()?));
        let until_ms = now_ms().saturating_add(i64::from(minutes) * 60 * 1_000);
        store.create_link(ticket.digest(), user, until_ms).await?;
        Ok(Link { ticket, until_ms })
    }

    /// Its address, under the console's.
    pub(super) fn under(&self, origin: &str) -> String {
        format!("{origin}/console/link?ticket={}", self.ticket.expose())
    }
}

/// Where a browser reaches the console of these settings: where they say, or else where the service listens.
pub(super) fn origin(settings: &Settings) -> Result<String, Failure> {
    if let Some(url) = &settings.console_url {
        return Ok(url.clone());
    }
    if settings.listen.port() == 0 {
        return Err(Failure::yours("the service listens on any free port, and nobody here knows which")
            .with_remedy("Give the console's address, like --url http://127.0.0.1:8080."));
    }
    let scheme = if settings.tls_certificate.is_some() { "https" } else { "http" };
    Ok(format!("{scheme}://{}", reached(settings.listen)))
}

/// How this machine reaches a service that listens there.
pub(super) fn reached(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_console_is_where_the_settings_say() {
        let listening = |listen: &str| Settings { listen: listen.parse().expect("an address"), ..Settings::default() };
        let origin = |settings: &Settings| origin(settings).ok();
        assert_eq!(origin(&listening("127.0.0.1:8080")).as_deref(), Some("http://127.0.0.1:8080"));
        assert_eq!(origin(&listening("0.0.0.0:80")).as_deref(), Some("http://127.0.0.1:80"));
        assert_eq!(origin(&listening("[::]:8080")).as_deref(), Some("http://[::1]:8080"));
        assert_eq!(origin(&listening("127.0.0.1:0")), None);
        let tls = Settings { tls_certificate: Some("cert.pem".into()), ..listening("10.0.0.1:443") };
        assert_eq!(origin(&tls).as_deref(), Some("https://10.0.0.1:443"));
        let named =
            Settings { console_url: Some("https://texting.example.edu".to_owned()), ..listening("127.0.0.1:0") };
        assert_eq!(origin(&named).as_deref(), Some("https://texting.example.edu"));
    }
}
