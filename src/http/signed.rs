//! The proof that a request is signed. A handler that names [`Signed`] cannot be reached without it.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method};
use bytes::Bytes;
use jiff::Timestamp;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::sync::OwnedSemaphorePermit;

use super::answer::{Refused, RequestId};
use super::connections::Standing;
use super::data::Data;
use super::limits::Tally;
use super::{HttpState, body};
use crate::command::Digest;
use crate::metrics::SIGNATURE_CHECKS;
use crate::problem::{Code, Problem};
use crate::signature::{AUTHORIZATION, CONTENT_DIGEST, Claim, ClaimError, DATE, Form, Mismatch, read_digest, verify};
use crate::tenant::{Secret, Token};

/// Bodies above this size are checked on a thread for long work, a few at a time.
const CHECK_APART_BYTES: usize = 64 * 1024;
/// Above this size a body's digest is made beside the check of the signature.
const HASH_BESIDE_BYTES: usize = 256 * 1024;

/// A request whose signature holds: whose it is, and what it says.
pub(super) struct Signed {
    /// What who signed may see and do.
    pub(super) data: Data,
    /// The signature, decoded.
    pub(super) signature: [u8; 32],
    /// The moment that was signed.
    pub(super) signed_at: Timestamp,
    /// When the request arrived, in milliseconds since 1970-01-01 UTC.
    pub(super) now_ms: i64,
    /// What the answer carries as `X-Request-Id`.
    pub(super) request_id: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// SHA-256 over method, path (with the query, where that is signed) and the body's digest.
    pub(super) request_digest: Digest,
    /// SHA-256 over the body; of one that is still to be read, what it is to be.
    pub(super) body_digest: Digest,
    /// The body's share of the memory for bodies.
    _room: Option<OwnedSemaphorePermit>,
}

impl FromRequest<Arc<HttpState>> for Signed {
    type Rejection = Refused;

    /// In the contract's order: size, headers, token, clock, signature, what the token may do. What fails before the body is read has it read away.
    async fn from_request(request: Request, state: &Arc<HttpState>) -> Result<Signed, Refused> {
        let (mut parts, body) = request.into_parts();
        let request_id = parts.extensions.remove::<RequestId>().map(|RequestId(id)| id).unwrap_or_default();
        let origin = Origin::of(&mut parts);
        let now_ms = (state.clock)();
        let limit = state.settings.body_bytes_max;
        let claimed = match before_the_body(state, &parts.headers, limit, now_ms).await {
            // A stranger's body is checked like any other, but gets no share of the room that large ones have.
            Ok((_, None)) if body::needs_room(&parts.headers, &body) => Err(unknown_token().into()),
            claimed => claimed,
        };
        let (claim, token) = match claimed {
            Ok(claimed) => claimed,
            Err(refused) => {
                body::drain(&parts.headers, body).await;
                return Err(refused);
            }
        };
        let held = body::read(state, &parts.headers, body).await?;
        let checked = Check {
            claim,
            is_known: token.is_some(),
            token: token.unwrap_or_else(|| state.nobody.clone()),
            method: parts.method.as_str().to_owned(),
            path: parts.uri.path().to_owned(),
            body: held.bytes,
            now_ms,
            digest: None,
        };
        let (check, digests) = checked.run(state).await?;
        Ok(Signed {
            data: enter(state, &parts.method, (check.token, origin), now_ms)?,
            signature: check.claim.signature,
            signed_at: check.claim.signed_at,
            now_ms,
            request_id,
            headers: parts.headers,
            body: check.body,
            request_digest: digests.request,
            body_digest: digests.body,
            _room: held.room,
        })
    }
}

/// Where a request comes from: what counts it, and what keeps its connection.
struct Origin {
    tally: Tally,
    standing: Option<Arc<Standing>>,
}

impl Origin {
    fn of(parts: &mut Parts) -> Origin {
        let tally = parts.extensions.remove::<Tally>().unwrap_or_default();
        Origin { tally, standing: parts.extensions.remove::<Arc<Standing>>() }
    }
}

/// What a request whose signature holds may see; it is refused where it may only look and does more.
fn enter(state: &HttpState, method: &Method, (token, origin): (Token, Origin), now_ms: i64) -> Result<Data, Problem> {
    let Origin { tally, standing } = origin;
    if let Some(standing) = standing {
        standing.prove();
    }
    let data = state.door.open(token, tally, now_ms);
    if !is_looking(method) {
        // Before anything is looked up: it tells nothing of what is there.
        data.may_write()?;
    }
    Ok(data)
}

/// Whether a method only asks. Of any other it is not known what it may change.
fn is_looking(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// An import as it is sent: signed with its body, or with its body's digest.
pub(super) enum Posted {
    /// The body is in memory.
    Whole(Signed),
    /// The body is a file, and still to be read.
    Stream(Signed, Body),
}

impl FromRequest<Arc<HttpState>> for Posted {
    type Rejection = Refused;

    async fn from_request(request: Request, state: &Arc<HttpState>) -> Result<Posted, Refused> {
        if !is_csv(request.headers()) {
            return Ok(Posted::Whole(Signed::from_request(request, state).await?));
        }
        let (mut parts, body) = request.into_parts();
        match by_digest(state, &mut parts).await {
            Ok(signed) => Ok(Posted::Stream(signed, body)),
            Err(refused) => {
                body::drain(&parts.headers, body).await;
                Err(refused)
            }
        }
    }
}

fn is_csv(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("text/csv")
}

/// A request whose body is signed by its digest. As the options are in the query, the query is signed too.
async fn by_digest(state: &HttpState, parts: &mut Parts) -> Result<Signed, Refused> {
    let request_id = parts.extensions.remove::<RequestId>().map(|RequestId(id)| id).unwrap_or_default();
    let origin = Origin::of(parts);
    let now_ms = (state.clock)();
    let (claim, token) = before_the_body(state, &parts.headers, state.settings.stream_bytes_max, now_ms).await?;
    let lines: Vec<&str> =
        parts.headers.get_all(CONTENT_DIGEST).iter().map(|value| value.to_str().unwrap_or_default().trim()).collect();
    let line = lines.join(", ");
    let Some(digest) = read_digest(&line) else {
        let got = if line.is_empty() {
            "no Content-Digest"
        } else {
            "a Content-Digest without a SHA-256 as RFC 9530 writes it"
        };
        return Err(Problem::new(Code::DigestMissing, format!("The request has {got}")).into());
    };
    let checked = Check {
        claim,
        is_known: token.is_some(),
        token: token.unwrap_or_else(|| state.nobody.clone()),
        method: parts.method.as_str().to_owned(),
        path: parts.uri.path_and_query().map_or_else(|| parts.uri.path().to_owned(), ToString::to_string),
        body: line.into(),
        now_ms,
        digest: Some(digest),
    };
    let (check, digests) = checked.run(state).await?;
    Ok(Signed {
        data: enter(state, &parts.method, (check.token, origin), now_ms)?,
        signature: check.claim.signature,
        signed_at: check.claim.signed_at,
        now_ms,
        request_id,
        headers: parts.headers.clone(),
        body: Bytes::new(),
        request_digest: digests.request,
        body_digest: digests.body,
        _room: None,
    })
}

/// What is known of a request by its head. `None`: there is no such token. What is asked of it is what is asked of any other all the
/// same, so that the time that an answer takes tells nothing of the tokens that there are.
async fn before_the_body(
    state: &HttpState,
    headers: &HeaderMap,
    limit: u64,
    now_ms: i64,
) -> Result<(Claim, Option<Token>), Refused> {
    if let Some(problem) = body::promises_too_much(limit, headers) {
        return Err(problem.into());
    }
    let header = |name: &str| headers.get(name).map(|value| value.as_bytes());
    let claim = Claim::from_headers(header(AUTHORIZATION), header(DATE)).map_err(bad_claim)?;
    let token = state.door.token(&claim.token).await?;
    let now = Timestamp::from_millisecond(now_ms).unwrap_or(Timestamp::UNIX_EPOCH);
    if let Some(seconds) = claim.clock_off(now, state.settings.freshness) {
        let clock_off = clock_off(seconds, state.settings.freshness.as_secs());
        return Err(if token.is_some() { clock_off } else { unknown_token() }.into());
    }
    Ok((claim, token))
}

fn unknown_token() -> Problem {
    Problem::new(Code::UnknownToken, "There is no such token, or it has been revoked")
}

fn bad_claim(error: ClaimError) -> Problem {
    let code = match error {
        ClaimError::Missing { .. } => Code::SignatureMissing,
        ClaimError::Malformed { .. } => Code::SignatureMalformed,
    };
    Problem::new(code, error.to_string())
}

fn clock_off(seconds: i64, window_s: i64) -> Problem {
    let side = if seconds > 0 { "ahead of" } else { "behind" };
    let off = seconds.unsigned_abs();
    let detail = format!("The signed time is {off} seconds {side} the service's clock; {window_s} seconds are allowed");
    Problem::new(Code::ClockOff, detail).with("seconds", seconds)
}

struct Check {
    claim: Claim,
    /// Nobody's, where there is no such token.
    token: Token,
    is_known: bool,
    method: String,
    path: String,
    /// The fourth line.
    body: Bytes,
    now_ms: i64,
    /// The body's, where the fourth line is not the body.
    digest: Option<Digest>,
}

struct Digests {
    request: Digest,
    body: Digest,
}

impl Check {
    async fn run(self, state: &HttpState) -> Result<(Check, Digests), Refused> {
        let is_known = self.is_known;
        SIGNATURE_CHECKS.add(&[if is_known { "known" } else { "unknown" }], 1);
        let outcome = if self.body.len() <= CHECK_APART_BYTES {
            self.verify()
        } else {
            let _turn = state.checks.acquire().await;
            tokio::task::spawn_blocking(move || self.verify())
                .await
                .map_err(|_| Refused::Fault("checking the signature panicked".to_owned()))?
        };
        if !is_known {
            // Whatever came of it.
            return Err(unknown_token().into());
        }
        outcome.map_err(|mismatch| mismatch_problem(&mismatch).into())
    }

    fn verify(self) -> Result<(Check, Digests), Mismatch> {
        let digest = || self.digest.unwrap_or_else(|| Sha256::digest(&self.body).into());
        let (form, body): (_, Digest) = if self.body.len() <= HASH_BESIDE_BYTES {
            (self.form()?, digest())
        } else {
            // The signature and the digest are two hashes of the same long body, and neither needs the other.
            std::thread::scope(|scope| {
                // Where the system gives no thread, it is made after it.
                let beside = std::thread::Builder::new().spawn_scoped(scope, digest);
                let form = self.form()?;
                let beside = beside.ok().and_then(|beside| beside.join().ok());
                Ok((form, beside.unwrap_or_else(digest)))
            })?
        };
        tracing::trace!(form = form.as_str(), "signature verified");
        // Of the body its digest: gigabytes are not to be hashed twice.
        let request = [self.method.as_bytes(), b"\n", self.path.as_bytes(), b"\n", &body]
            .into_iter()
            .fold(Sha256::new(), |digest, part| digest.chain_update(part));
        let request = request.finalize().into();
        Ok((self, Digests { request, body }))
    }

    /// In which form the request was signed.
    fn form(&self) -> Result<Form, Mismatch> {
        let fits =
            |secret: &Secret| verify(&self.claim, secret.expose().as_bytes(), &self.method, &self.path, &self.body);
        match (fits(&self.token.secret), self.token.old_secret_at(self.now_ms)) {
            // A mismatch tells nothing that depends on a secret: it is the same whichever was tried, and whether there are two.
            (Err(_), Some(old)) => {
                let form = fits(old)?;
                tracing::debug!(token = self.token.number.0, "a request was signed with the old secret");
                Ok(form)
            }
            (fitting, _) => fitting,
        }
    }
}

fn mismatch_problem(mismatch: &Mismatch) -> Problem {
    let lines: Vec<_> = mismatch
        .lines
        .iter()
        .map(|line| json!({ "name": line.name, "sha256": line.sha256, "bytes": line.bytes }))
        .collect();
    let detail = "The signature is not that of these five lines, lower-cased, with this token's secret";
    Problem::new(Code::SignatureMismatch, detail).with("lines", lines)
}
