//! Where a service is, and where a command is: what people paste as `--url` and as a command's location.

use std::fmt;
use std::net::IpAddr;

use ureq::http::Uri;

use crate::command::CommandId;

use super::failure::Failure;

/// A service's address: scheme, host and port, nothing after it. Paths are signed whole, so it cannot have one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Origin(String);

impl Origin {
    /// Reads a URL without a path.
    pub(super) fn parse(url: &str) -> Result<Origin, Failure> {
        let (origin, path) = split_url(url)?;
        if !matches!(&*path, "" | "/") {
            return Err(Failure::yours(format!("--url: '{url}' has a path"))
                .with_remedy("Give scheme, host and port only, like http://127.0.0.1:8080."));
        }
        Ok(origin)
    }

    /// The address of a path there.
    pub(super) fn join(&self, path: &str) -> String {
        format!("{}{path}", self.0)
    }

    /// Whether it is this machine: then no proxy is asked.
    pub(super) fn is_loopback(&self) -> bool {
        let uri: Option<Uri> = self.0.parse().ok();
        let host = uri.as_ref().and_then(Uri::host).unwrap_or_default();
        let address: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
        host.eq_ignore_ascii_case("localhost") || address.is_some_and(|address| address.is_loopback())
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A command's location: its path, and the service if a whole URL was given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Location {
    /// The service, if it was named.
    pub(super) origin: Option<Origin>,
    /// What is requested, and signed.
    pub(super) path: String,
}

impl Location {
    /// Reads a path as an import prints it, a whole URL, or the command's id alone.
    pub(super) fn parse(text: &str) -> Result<Location, Failure> {
        if let Some(id) = CommandId::parse(text) {
            return Ok(Location { origin: None, path: format!("/v2/commands/{id}") });
        }
        if text.contains("://") {
            let (origin, path) = split_url(text)?;
            return Ok(Location { origin: Some(origin), path });
        }
        if text.starts_with('/') && text.parse::<Uri>().is_ok() && !text.contains('?') {
            return Ok(Location { origin: None, path: text.to_owned() });
        }
        Err(Failure::yours(format!("'{}' is no location of a command", super::output::escape(text)))
            .with_remedy("Give what the import printed (/v2/commands/…), its whole URL, or the command's id."))
    }
}

fn split_url(url: &str) -> Result<(Origin, String), Failure> {
    let no_url = || {
        Failure::yours(format!("'{}' is no URL of a service", super::output::escape(url)))
            .with_remedy("Give it like http://127.0.0.1:8080 or https://roster.example.org.")
    };
    let uri: Uri = url.parse().map_err(|_| no_url())?;
    let scheme = uri.scheme_str().filter(|scheme| ["http", "https"].contains(scheme)).ok_or_else(no_url)?;
    let authority = uri.authority().filter(|authority| !authority.as_str().contains('@')).ok_or_else(no_url)?;
    if uri.query().is_some() {
        return Err(no_url());
    }
    Ok((Origin(format!("{scheme}://{authority}")), uri.path().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_has_no_path() {
        for url in ["http://127.0.0.1:8080", "http://127.0.0.1:8080/", "https://roster.example.org"] {
            assert_eq!(Origin::parse(url).map(|origin| origin.to_string()), Ok(url.trim_end_matches('/').to_owned()));
        }
        for url in ["", "localhost:8080", "ftp://a", "http://a/v2", "http://a?b", "http://user@a", "http://"] {
            assert!(Origin::parse(url).is_err(), "{url}");
        }
    }

    #[test]
    fn loopback_is_this_machine() {
        for (url, is) in [
            ("http://localhost:1", true),
            ("http://127.0.0.5", true),
            ("http://[::1]:8080", true),
            ("http://10.0.0.1", false),
            ("https://localhost.example.org", false),
        ] {
            assert_eq!(Origin::parse(url).map(|origin| origin.is_loopback()), Ok(is), "{url}");
        }
    }

    #[test]
    fn a_location_is_a_path_a_url_or_an_id() {
        let id = "0192f0c1-2d3e-7abc-8def-0123456789ab";
        let path = format!("/v2/commands/{id}");
        let alone = Location { origin: None, path: path.clone() };
        assert_eq!(Location::parse(id), Ok(alone.clone()));
        assert_eq!(Location::parse(&id.to_uppercase()), Ok(alone.clone()));
        assert_eq!(Location::parse(&path), Ok(alone));
        let whole = Location::parse(&format!("https://a.example{path}")).expect("a URL");
        assert_eq!(
            (whole.origin.map(|origin| origin.to_string()), whole.path),
            (Some("https://a.example".into()), path)
        );
        for wrong in ["", "commands", "/v2/commands/x?y", "/a b"] {
            assert!(Location::parse(wrong).is_err(), "{wrong}");
        }
    }
}
