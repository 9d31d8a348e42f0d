//! The parameters and headers that the document names; what reads them is beside the handlers.

use super::operation::{Header, Kind, Parameter, Place};

const fn query(name: &'static str, kind: Kind, description: &'static str) -> Parameter {
    Parameter { name, place: Place::Query, kind, description }
}

const fn header(name: &'static str, kind: Kind, description: &'static str) -> Parameter {
    Parameter { name, place: Place::Header, kind, description }
}

/// An id of a contact: a UUID of version 8.
const CONTACT_ID: Kind = Kind::Pattern("^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$");

const COUNT: Parameter =
    query("count", Kind::From(1), "How many items are wanted: 25 if it is left out, 1,000 at most.");
const OFFSET: Parameter = query("offset", Kind::From(0), "Where the page begins; past the end it is empty.");
const AFTER: Parameter = query(
    "after",
    CONTACT_ID,
    "The contact that the page begins after, as the link `next` has it: so a page costs the same however deep it lies. It counts before the offset.",
);
const ACTIVE: Parameter = query("active", Kind::Words(&["all"]), "Inactive ones too.");
const UPDATED_AFTER: Parameter =
    query("updated-after", Kind::Moment, "Only what changed after this moment. A blank is read as `+`.");
const FULL: Parameter = query("type", Kind::Words(&["full"]), "With all fields.");
const WAIT: Parameter = header(
    "Prefer",
    Kind::Pattern("^wait=[0-9]{1,9}$"),
    "`wait=N`: the answer comes when the command is complete, or after N seconds; 60 at most (RFC 7240).",
);

pub(super) const CONTACTS: &[Parameter] = &[COUNT, OFFSET, AFTER, ACTIVE, UPDATED_AFTER, FULL];
pub(super) const CONTACT: &[Parameter] = &[FULL];
pub(super) const PROGRAMS: &[Parameter] =
    &[query("count", Kind::From(1), "How many items are wanted; all if it is left out."), OFFSET, ACTIVE];
pub(super) const PROGRAM: &[Parameter] =
    &[query("type", Kind::Words(&["schema"]), "Its fields in place of its settings.")];
pub(super) const COMMANDS: &[Parameter] = &[
    query("count", Kind::From(1), "How many items are wanted: 25 if it is left out, 100 at most."),
    OFFSET,
    query("state", Kind::Words(&["queued", "running", "complete"]), "Only commands in this state."),
];
pub(super) const STATUS: &[Parameter] = &[WAIT];
pub(super) const FAILED_ROWS: &[Parameter] = &[query(
    "guard",
    Kind::Words(&["1"]),
    "Cells that a spreadsheet would take for a formula get a `'` before them. An import takes it off again.",
)];
pub(super) const IMPORT: &[Parameter] = &[
    query(
        "new",
        Kind::Words(&["add", "ignore"]),
        "Only with text/csv, where it is required: as in the JSON's options.",
    ),
    query(
        "existing",
        Kind::Text,
        "Only with text/csv, where it is required: `ignore`, or names of fields with commas between them.",
    ),
    query("mode", Kind::Words(&["row", "tx"]), "Only with text/csv, where it is required: as in the JSON's options."),
    query("absent", Kind::Words(&["ignore"]), "Only with text/csv."),
    query("dryRun", Kind::Words(&["true", "false"]), "Only with text/csv."),
    query("maxNew", Kind::From(0), "Only with text/csv: contacts that are added at most."),
    query("maxUpdated", Kind::From(0), "Only with text/csv: contacts that are changed at most."),
    query("maxErrors", Kind::From(0), "Only with text/csv: rows that fail at most."),
    header(
        "Content-Digest",
        Kind::Pattern("^sha-256=:[A-Za-z0-9+/]{43}=:$"),
        "Only with text/csv, where it is required: the SHA-256 of the body as it is sent (RFC 9530). Its value is signed in the body's place.",
    ),
    header("Content-Encoding", Kind::Words(&["identity", "gzip", "zstd"]), "Only with text/csv."),
    header(
        "Idempotency-Key",
        Kind::Pattern("^[A-Za-z0-9_.:-]{1,255}$"),
        "The same key with the same body is the same request, for 24 hours.",
    ),
    WAIT,
];

pub(super) const OF_STATUS: &[Header] = &[RETRY_AFTER, PREFERENCE_APPLIED];
pub(super) const OF_ACCEPTED: &[Header] = &[
    Header {
        name: "Location",
        is_required: true,
        kind: Kind::Pattern("^/v2/commands/[0-9a-f-]{36}$"),
        description: "The path of the command's status, without a host.",
    },
    Header {
        name: "Idempotency-Replayed",
        is_required: false,
        kind: Kind::Words(&["true"]),
        description: "The request was accepted before; nothing runs twice.",
    },
    RETRY_AFTER,
    PREFERENCE_APPLIED,
];
pub(super) const OF_FILE: &[Header] =
    &[Header { name: "Content-Disposition", is_required: true, kind: Kind::Text, description: "A name for the file." }];
/// Every answer has it.
pub(super) const REQUEST_ID: Header = Header {
    name: "X-Request-Id",
    is_required: true,
    kind: Kind::Pattern("^[0-9a-f]{32}$"),
    description: "Finds the request in the service's log.",
};
/// Of 401.
pub(super) const WWW_AUTHENTICATE: Header = Header {
    name: "WWW-Authenticate",
    is_required: true,
    kind: Kind::Words(&["SignalVine"]),
    description: "The scheme.",
};
pub(super) const RETRY_AFTER: Header = Header {
    name: "Retry-After",
    is_required: false,
    kind: Kind::From(1),
    description: "When to ask again, in seconds; while it is not complete.",
};
/// Of 429 and 503.
pub(super) const RETRY_AFTER_BUSY: Header = Header {
    name: "Retry-After",
    is_required: true,
    kind: Kind::From(1),
    description: "When to send it again, in seconds.",
};
const PREFERENCE_APPLIED: Header = Header {
    name: "Preference-Applied",
    is_required: false,
    kind: Kind::Pattern("^wait=[0-9]+$"),
    description: "How long the answer was ready to wait.",
};
