//! Addresses of the web as they stand in settings: checked for what this program relies on, not for all that a URL may be.

use std::net::IpAddr;

/// Reads `https://texting.example.edu`: where browsers reach the service. It is given in lower case and without the usual port, as
/// browsers write an origin.
pub(super) fn origin(text: &str) -> Result<String, String> {
    let right = || {
        "it must be the scheme, the host and perhaps the port, like https://texting.example.edu or http://127.0.0.1:8080, \
         and nothing behind them"
            .to_owned()
    };
    let lower = text.to_ascii_lowercase();
    let Address { scheme, host, port, rest } = Address::parse(&lower).ok_or_else(right)?;
    if !["", "/"].contains(&rest) {
        return Err(right());
    }
    let usual = if scheme == "https" { 443 } else { 80 };
    Ok(match port.filter(|port| *port != usual) {
        Some(port) => format!("{scheme}://{host}:{port}"),
        None => format!("{scheme}://{host}"),
    })
}

/// Reads an issuer of OpenID Connect. It is kept as it is: what the provider calls itself must be the same, to the byte.
pub(super) fn issuer(text: &str) -> Result<String, String> {
    let right = "it must be the issuer's URL as the provider's /.well-known/openid-configuration has it, like \
                 https://login.example.edu/realms/staff, without '?' and '#'";
    let address = Address::parse(text).ok_or_else(|| right.to_owned())?;
    if address.scheme == "http" && !is_loopback(address.host) {
        return Err(
            "it must begin with https://; http:// is for a provider on this very machine only (127.0.0.1, localhost)"
                .to_owned(),
        );
    }
    Ok(text.to_owned())
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

struct Address<'a> {
    scheme: &'a str,
    host: &'a str,
    port: Option<u16>,
    /// The path.
    rest: &'a str,
}

impl<'a> Address<'a> {
    fn parse(text: &'a str) -> Option<Address<'a>> {
        let (scheme, behind) = text.split_once("://").filter(|(scheme, _)| ["https", "http"].contains(scheme))?;
        let (authority, rest) = behind.split_at(behind.find('/').unwrap_or(behind.len()));
        let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#@\\\"<>".contains(&byte));
        // In brackets an address has colons of its own.
        let port_at = authority.rfind(':').filter(|at| !authority[*at..].contains(']'));
        let (host, port) = authority.split_at(port_at.unwrap_or(authority.len()));
        let port = match port {
            "" => None,
            port => Some(port[1..].parse().ok().filter(|port| *port > 0)?),
        };
        let is_name = |host: &str| host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
        let in_brackets = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let is_host = match in_brackets {
            Some(inner) => inner.parse::<std::net::Ipv6Addr>().is_ok(),
            None => !host.is_empty() && is_name(host),
        };
        (is_host && is_plain(rest)).then_some(Address { scheme, host, port, rest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_written_as_browsers_write_it() {
        for (text, expected) in [
            ("https://texting.example.edu", "https://texting.example.edu"),
            ("https://Texting.Example.EDU/", "https://texting.example.edu"),
            ("https://texting.example.edu:443", "https://texting.example.edu"),
            ("https://texting.example.edu:8443", "https://texting.example.edu:8443"),
            ("http://texting.example.edu:80/", "http://texting.example.edu"),
            ("http://[::1]:8080", "http://[::1]:8080"),
        ] {
            assert_eq!(origin(text).as_deref(), Ok(expected), "{text}");
        }
        for wrong in [
            "",
            "texting.example.edu",
            "ftp://texting.example.edu",
            "https://",
            "https:///",
            "https://a/b",
            "https://a?b",
            "https://a#b",
            "https://a b",
            "https://user@a",
            "https://a:0",
            "https://a:65536",
            "https://a:",
            "https://ä",
            "https://[::1",
            "https://a\n",
            "https://[no]",
        ] {
            assert!(origin(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_issuer_is_kept_as_it_is_and_is_https_but_on_the_loopback() {
        for right in [
            "https://login.example.edu",
            "https://login.example.edu/",
            "https://Login.example.edu/realms/staff",
            "http://127.0.0.1:3000",
            "http://localhost:3000/a",
            "http://[::1]:3000",
        ] {
            assert_eq!(issuer(right).as_deref(), Ok(right));
        }
        for wrong in ["http://login.example.edu", "http://127.0.0.1.example.edu", "http://10.0.0.1"] {
            assert!(issuer(wrong).expect_err(wrong).starts_with("it must begin with https://"));
        }
        for wrong in
            ["https://login.example.edu?a", "https://login.example.edu/#", "login.example.edu", "https://a/b c"]
        {
            assert!(issuer(wrong).expect_err(wrong).starts_with("it must be the issuer's URL"));
        }
    }
}
