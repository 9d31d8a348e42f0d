//! What a caller may be told when a request is refused: code, status, title and remedy, in one table.
//!
//! A problem is the caller's. What is wrong with a row is a refusal, and data in the report; what is wrong with the
//! service is a fault, logged once, of which a caller sees an incident id.

use serde::Serialize;
use serde_json::{Map, Value};

/// The stable words. Each has one status and one remedy.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[allow(missing_docs, reason = "each is explained in the table below, where a caller would look it up")]
pub enum Code {
    BadJson,
    DuplicateKey,
    MissingMember,
    UnknownMember,
    WrongType,
    UnknownValue,
    ProgramMismatch,
    BadParameter,
    SignatureMissing,
    SignatureMalformed,
    UnknownToken,
    ClockOff,
    SignatureMismatch,
    Forbidden,
    SignatureReused,
    IdempotencyKeyReused,
    NotFound,
    MethodNotAllowed,
    AlreadyComplete,
    PayloadGone,
    TooLarge,
    TooSlow,
    UnsupportedMediaType,
    DigestMissing,
    DigestMismatch,
    BadContentEncoding,
    Busy,
    Internal,
}

/// What a code means to who reads it.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The word on the wire.
    pub word: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// The same for every occurrence.
    pub title: &'static str,
    /// What to do about it.
    pub remedy: &'static str,
}

impl Code {
    /// All of them, for tables and tests.
    pub const ALL: [Code; 28] = [
        Code::BadJson,
        Code::DuplicateKey,
        Code::MissingMember,
        Code::UnknownMember,
        Code::WrongType,
        Code::UnknownValue,
        Code::ProgramMismatch,
        Code::BadParameter,
        Code::SignatureMissing,
        Code::SignatureMalformed,
        Code::UnknownToken,
        Code::ClockOff,
        Code::SignatureMismatch,
        Code::Forbidden,
        Code::SignatureReused,
        Code::IdempotencyKeyReused,
        Code::NotFound,
        Code::MethodNotAllowed,
        Code::AlreadyComplete,
        Code::PayloadGone,
        Code::TooLarge,
        Code::TooSlow,
        Code::UnsupportedMediaType,
        Code::DigestMissing,
        Code::DigestMismatch,
        Code::BadContentEncoding,
        Code::Busy,
        Code::Internal,
    ];

    /// The table.
    pub fn entry(self) -> Entry {
        let (word, status, title, remedy) = match self {
            Code::BadJson => ("bad_json", 400, "The body is no JSON", "Send a JSON document in UTF-8."),
            Code::DuplicateKey => (
                "duplicate_key",
                400,
                "An object of the body has a key twice",
                "Send each key once: which of the values counts would be a guess.",
            ),
            Code::MissingMember => ("missing_member", 400, "A required member is missing", "Send the member named."),
            Code::UnknownMember => ("unknown_member", 400, "There is no such member", "Leave the member out."),
            Code::WrongType => ("wrong_type", 400, "A member has the wrong JSON type", "Send the type named."),
            Code::UnknownValue => {
                ("unknown_value", 400, "A member has a value that it cannot have", "Send one of the values named.")
            }
            Code::ProgramMismatch => (
                "program_mismatch",
                400,
                "The body names another program than the path",
                "Send the path's program id as 'program'.",
            ),
            Code::BadParameter => {
                ("bad_parameter", 400, "A parameter of the request is wrong", "Correct the parameter named.")
            }
            Code::SignatureMissing => (
                "signature_missing",
                401,
                "The request is not signed",
                "Send 'Authorization: SignalVine <token>:<signature>' and 'SignalVine-Date: <ISO 8601>'.",
            ),
            Code::SignatureMalformed => (
                "signature_malformed",
                401,
                "The signature's headers cannot be read",
                "Send 'Authorization: SignalVine <token>:<signature>' and 'SignalVine-Date: <ISO 8601>'.",
            ),
            Code::UnknownToken => {
                ("unknown_token", 401, "There is no such token", "Use a token of this service that is not revoked.")
            }
            Code::ClockOff => (
                "clock_off",
                401,
                "The signature's time is too far from the service's",
                "Set the clock right, and sign each request when it is sent.",
            ),
            Code::SignatureMismatch => (
                "signature_mismatch",
                401,
                "The signature does not fit the request",
                "Compare the five lines with those that you signed ('roster sign --explain' prints them); if all are equal, the secret differs.",
            ),
            Code::Forbidden => (
                "forbidden",
                403,
                "The token may not do this",
                "Use a token that may write ('roster token create' without --read-only makes one).",
            ),
            Code::SignatureReused => (
                "signature_reused",
                422,
                "The signature was accepted before, over other bytes",
                "Sign again with a new timestamp and send again; nothing was queued.",
            ),
            Code::IdempotencyKeyReused => (
                "idempotency_key_reused",
                422,
                "The Idempotency-Key was accepted before, with another body",
                "Send another key with another body; nothing was queued.",
            ),
            Code::NotFound => (
                "not_found",
                404,
                "There is no such thing",
                "Check the path; a token sees only its own account, and only its programs if it is limited to some.",
            ),
            Code::MethodNotAllowed => {
                ("method_not_allowed", 405, "The path does not take this method", "Use a method of the Allow header.")
            }
            Code::AlreadyComplete => (
                "already_complete",
                409,
                "The command is complete",
                "Look at its status; what took effect can only be changed by another import.",
            ),
            Code::PayloadGone => (
                "payload_gone",
                410,
                "The file of the import is kept no more",
                "Take the rows from your own copy; the status still says which failed.",
            ),
            Code::TooLarge => {
                ("too_large", 413, "The body is too large", "Send the file in parts below the limit named.")
            }
            Code::TooSlow => {
                ("too_slow", 408, "The body does not arrive", "Send the same request again; nothing was queued.")
            }
            Code::UnsupportedMediaType => (
                "unsupported_media_type",
                415,
                "The body's type is not taken here",
                "Send 'Content-Type: application/json' without a Content-Encoding; or 'text/csv' in UTF-8, UTF-16 or Windows-1252, as it is or with gzip or zstd.",
            ),
            Code::DigestMissing => (
                "digest_missing",
                400,
                "The request has no Content-Digest that can be read",
                "Send 'Content-Digest: sha-256=:<base64 of the SHA-256 of the body as sent>:', and sign its value in the body's place.",
            ),
            Code::DigestMismatch => (
                "digest_mismatch",
                400,
                "The body is not the one that was signed",
                "Send it again, or make the digest of the very bytes that are sent, compressed if they are; nothing was queued.",
            ),
            Code::BadContentEncoding => (
                "bad_content_encoding",
                400,
                "The body cannot be decompressed",
                "Compress the file anew, or send it without Content-Encoding; nothing was queued.",
            ),
            Code::Busy => (
                "busy",
                503,
                "The service cannot take this now",
                "Send the same request again after the seconds of Retry-After.",
            ),
            Code::Internal => (
                "internal",
                500,
                "The service failed",
                "Send the same request again; if it fails again, report the incident id.",
            ),
        };
        Entry { word, status, title, remedy }
    }
}

/// Where something is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum At {
    /// In the body, RFC 6901; a missing member is pointed at where it should be.
    Pointer(String),
    /// In the query: the parameter's name.
    Parameter(String),
}

/// One thing that is wrong with a request, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// Where.
    pub at: At,
    /// The stable word.
    pub code: Code,
    /// What was wrong with its value, and what would be right.
    pub detail: String,
}

/// A refused request.
#[derive(Clone, PartialEq, Debug)]
pub struct Problem {
    /// The stable word.
    pub code: Code,
    /// The status, where it is not the table's (`busy` is 429 or 503).
    pub status: u16,
    /// What was wrong with this request.
    pub detail: String,
    /// Every fault of the body.
    pub errors: Vec<Fault>,
    /// Further members.
    pub more: Map<String, Value>,
    /// For the `Retry-After` header, in seconds.
    pub retry_after_s: Option<u64>,
    /// For the `Allow` header.
    pub allow: Option<String>,
}

impl Problem {
    /// A problem with its table's status.
    pub fn new(code: Code, detail: impl Into<String>) -> Problem {
        Problem {
            code,
            status: code.entry().status,
            detail: detail.into(),
            errors: Vec::new(),
            more: Map::new(),
            retry_after_s: None,
            allow: None,
        }
    }

    /// A body with one or more faults; the first one's code stands for all.
    pub fn of_faults(faults: Vec<Fault>) -> Problem {
        let code = faults.first().map_or(Code::BadJson, |fault| fault.code);
        let detail = match faults.as_slice() {
            [only] => only.detail.clone(),
            _ => format!("The request has {} faults; see 'errors'.", faults.len()),
        };
        Problem { errors: faults, ..Problem::new(code, detail) }
    }

    /// With a further member.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Problem {
        self.more.insert(name.to_owned(), value.into());
        self
    }

    /// As `application/problem+json` (RFC 9457); `instance` is the request's id.
    pub fn to_json(&self, request_id: &str) -> Value {
        #[derive(Serialize)]
        struct FaultJson<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            pointer: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            parameter: Option<&'a str>,
            code: &'a str,
            detail: &'a str,
        }
        let entry = self.code.entry();
        let mut json = Map::new();
        json.insert("type".into(), format!("urn:roster:problem:{}", entry.word).into());
        json.insert("title".into(), entry.title.into());
        json.insert("status".into(), self.status.into());
        json.insert("code".into(), entry.word.into());
        json.insert("detail".into(), self.detail.clone().into());
        json.insert("remedy".into(), entry.remedy.into());
        if !self.errors.is_empty() {
            let faults = self.errors.iter().map(|Fault { at, code, detail }| {
                let (pointer, parameter) = match at {
                    At::Pointer(pointer) => (Some(pointer.as_str()), None),
                    At::Parameter(name) => (None, Some(name.as_str())),
                };
                FaultJson { pointer, parameter, code: code.entry().word, detail }
            });
            json.insert("errors".into(), serde_json::to_value(faults.collect::<Vec<_>>()).unwrap_or_default());
        }
        json.extend(self.more.clone());
        json.insert("instance".into(), format!("urn:roster:request:{request_id}").into());
        Value::Object(json)
    }
}
