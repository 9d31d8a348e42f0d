//! A signed request, as a client makes one: `shared/CONTRACT.md`'s five lines, once; sent as often as it takes.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::hash::{base64, hmac, sha256};
use crate::http::{Answer, Connection};
use crate::roster::Tenant;

/// A request with its signature. Sent again, it is the same request.
pub(crate) struct Signed {
    pub(crate) method: &'static str,
    /// With its query.
    pub(crate) path: String,
    pub(crate) headers: Vec<String>,
    pub(crate) kind: &'static str,
    pub(crate) body: Vec<u8>,
}

impl Signed {
    /// A request without a body. The query is not signed.
    pub(crate) fn bare(tenant: &Tenant, method: &'static str, path: &str) -> Signed {
        Signed::bare_at(SystemTime::now(), tenant, method, path)
    }

    /// The same by another clock.
    pub(crate) fn bare_at(now: SystemTime, tenant: &Tenant, method: &'static str, path: &str) -> Signed {
        let signed = path.split('?').next().unwrap_or_default();
        let headers = headers(now, tenant, method, signed, b"");
        Signed { method, path: path.to_owned(), headers, kind: "", body: Vec::new() }
    }

    /// An import in JSON.
    pub(crate) fn json(tenant: &Tenant, path: &str, body: String) -> Signed {
        Signed::json_at(SystemTime::now(), tenant, path, body)
    }

    /// The same by another clock.
    pub(crate) fn json_at(now: SystemTime, tenant: &Tenant, path: &str, body: String) -> Signed {
        let headers = headers(now, tenant, "POST", path, body.as_bytes());
        Signed { method: "POST", path: path.to_owned(), headers, kind: "application/json", body: body.into_bytes() }
    }

    /// An import in the stream form: the query and the body's digest are signed.
    pub(crate) fn stream(tenant: &Tenant, path: &str, body: impl Into<Vec<u8>>) -> Signed {
        let body = body.into();
        let digest = format!("sha-256=:{}:", base64(&sha256(&body)));
        let mut headers = headers(SystemTime::now(), tenant, "POST", path, digest.as_bytes());
        headers.push(format!("Content-Digest: {digest}"));
        Signed { method: "POST", path: path.to_owned(), headers, kind: "text/csv", body }
    }

    /// The same, of a body that is compressed.
    pub(crate) fn coded(mut self, coding: &str) -> Signed {
        self.headers.push(format!("Content-Encoding: {coding}"));
        self
    }

    /// Sends it over a connection that is kept.
    pub(crate) fn send(&self, connection: &mut Connection) -> Result<Answer, String> {
        connection.send_content(self.method, &self.path, &self.headers, (self.kind, &self.body))
    }

    /// The same, with an answer that waits for the end of the import.
    pub(crate) fn waiting(mut self, seconds: u64) -> Signed {
        self.headers.push(format!("Prefer: wait={seconds}"));
        self
    }
}

fn headers(now: SystemTime, tenant: &Tenant, method: &str, path: &str, fourth: &[u8]) -> Vec<String> {
    let date = timestamp(now);
    let signature = signature((&tenant.token, &tenant.secret), method, path, fourth, &date);
    vec![format!("Authorization: SignalVine {}:{signature}", tenant.token), format!("SignalVine-Date: {date}")]
}

/// All that this tool sends is ASCII, so that is how small letters are made.
fn signature((token, secret): (&str, &str), method: &str, path: &str, fourth: &[u8], date: &str) -> String {
    let mut lines = [token, method, path, ""].join("\n").into_bytes();
    lines.extend_from_slice(fourth);
    lines.push(b'\n');
    lines.extend_from_slice(date.as_bytes());
    lines.make_ascii_lowercase();
    base64(&hmac(secret.as_bytes(), &lines))
}

/// ISO 8601 in UTC, with milliseconds.
pub(crate) fn timestamp(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (seconds, milliseconds) = (since.as_secs(), since.subsec_millis());
    let (day, second) = (seconds / 86_400, seconds % 86_400);
    // Howard Hinnant's days to civil date; years begin in March, so that a leap day ends one.
    let shifted = day + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milliseconds:03}Z")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_known_vector_of_the_contract_is_true() {
        let signature =
            signature(("INVENTED_TOKEN", "INVENTED_SECRET"), "GET", "/bogus", b"", "1969-07-20T20:17:00+00:00");
        assert_eq!(signature, "P1f0up2G0I6tJG4D3nRed/IlvvT2tqEQqbqEPXNQXDo=");
    }

    #[test]
    fn times_are_printed() {
        let at = |seconds: u64| timestamp(UNIX_EPOCH + Duration::from_millis(seconds * 1_000 + 7));
        assert_eq!(at(0), "1970-01-01T00:00:00.007Z");
        assert_eq!(at(951_782_400), "2000-02-29T00:00:00.007Z");
        assert_eq!(at(1_795_866_899), "2026-11-28T11:54:59.007Z");
        assert_eq!(at(4_102_444_799), "2099-12-31T23:59:59.007Z");
    }
}
