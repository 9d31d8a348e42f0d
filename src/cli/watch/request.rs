//! The one request by which a taken file is sent: noted before it is sent, so that it can be sent again just so, by the same key. And
//! what to do when the service may have forgotten the key.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::folder::{remove, sync_dir};
use super::job::kept;
use super::{Hand, Trouble};
use crate::cli::client::Unreachable;
use crate::cli::failure::{Cause, Failure};
use crate::cli::operator::now_ms;
use crate::cli::source::Source;
use crate::cli::upload::Upload;
use crate::import::{Charset, Form};
use crate::wire::write_options;

/// The file's bytes as they are sent, where these are others.
const PACKED: &str = ".upload.zst";
/// A service knows a key for 24 hours; this side's clock and patience are not to be cut that fine.
const KEY_TRUSTED_MS: u64 = 20 * 60 * 60 * 1_000;
/// A service keeps a command for five days at least.
const COMMANDS_KEPT_MS: u64 = 4 * 24 * 60 * 60 * 1_000;
/// So long after it was sent the last time a request can still be under way.
const UNDER_WAY_MS: u64 = 10 * 60 * 1_000;
/// How far the two clocks may be apart.
const CLOCKS_APART_MS: i64 = 60 * 60 * 1_000;
/// How many commands are asked for at a time.
const PAGE: u64 = 100;

/// A request that may have been sent.
#[derive(Serialize, Deserialize)]
pub(super) struct Request {
    /// Path and query.
    pub(super) target: String,
    /// By which the service knows it again.
    pub(super) key: String,
    charset: Option<String>,
    digest: String,
    is_packed: bool,
    /// The size of the file, not packed.
    bytes: u64,
    /// Where the header was written anew.
    head: Option<HeadJson>,
    first_sent_ms: Option<i64>,
    last_sent_ms: Option<i64>,
}

/// What stands in the place of a file's first bytes.
#[derive(Serialize, Deserialize)]
struct HeadJson {
    base64: String,
    replaced: u64,
}

/// A file, made ready.
pub(super) enum Prepared {
    Ready(Request),
    /// It cannot be sent with these options.
    Unfit(Failure),
}

/// Whether a service that does not know the key any more may have accepted the file.
pub(super) enum Doubt {
    /// It would know the key.
    None,
    /// It has no such command.
    NotAccepted,
    /// It may be one of these, or one that is kept no more.
    Maybe(Vec<String>),
}

/// A page of commands, as far as it is read.
#[derive(Deserialize)]
struct Page {
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    location: String,
    created: String,
    bytes: u64,
}

impl Request {
    /// Reads the file once: its header, its digest. Compresses it into a file beside it where that pays.
    pub(super) fn prepare(hand: &Hand<'_>, dir: &Path, name: &OsStr) -> Result<Prepared, Trouble> {
        let file = Source::of_file(File::open(dir.join(name)).map_err(kept)?).map_err(kept)?;
        let head = file.head(hand.written.charset);
        let (mapped, names, replaced) = match (hand.map, &head) {
            (None, head) => (file, head.as_ref().map(|head| head.names.clone()).unwrap_or_default(), None),
            (Some(map), Ok(head)) => match map.apply(&file, head) {
                Ok((mapped, names)) => {
                    let replaced = mapped
                        .replaced()
                        .map(|(bytes, replaced)| HeadJson { base64: STANDARD.encode(bytes), replaced });
                    (mapped, names, replaced)
                }
                Err(failure) => return Ok(Prepared::Unfit(failure)),
            },
            (Some(_), Err(fault)) => {
                return Ok(Prepared::Unfit(Failure::yours(format!("the header cannot be read: {fault}"))));
            }
        };
        let charset = hand.written.charset;
        let upload = if hand.written.compress.packs(hand.client.is_near()) {
            let packed = File::options()
                .create(true)
                .truncate(true)
                .read(true)
                .write(true)
                .open(dir.join(PACKED))
                .map_err(kept)?;
            let upload = packed
                .try_clone()
                .map_err(kept)
                .and_then(|file| Upload::pack(&mapped, charset, file, hand.output).map_err(unready))?;
            packed.sync_all().and_then(|()| sync_dir(dir)).map_err(kept)?;
            upload
        } else {
            Upload::prepare(&mapped, charset, false, hand.output).map_err(unready)?
        };
        if !upload.is_packed {
            remove(&dir.join(PACKED)).map_err(kept)?;
        }
        let options = hand.rows.options(&names, Form::File { charset });
        Ok(Prepared::Ready(Request {
            target: format!("/v2/programs/{}/participants?{}", hand.program, write_options(&options)),
            key: Uuid::new_v4().to_string(),
            charset: charset.map(|charset| charset.as_str().to_owned()),
            digest: upload.digest,
            is_packed: upload.is_packed,
            bytes: mapped.bytes(),
            head: replaced,
            first_sent_ms: None,
            last_sent_ms: None,
        }))
    }

    /// The file as it was made ready.
    pub(super) fn upload(&self, dir: &Path, name: &OsStr) -> io::Result<Upload> {
        let file = if self.is_packed { dir.join(PACKED) } else { dir.join(name) };
        let source = Source::of_file(File::open(file)?)?;
        let source = match &self.head {
            Some(HeadJson { base64, replaced }) if !self.is_packed => {
                let bytes = STANDARD.decode(base64).map_err(|error| io::Error::other(error.to_string()))?;
                source.with_head(bytes, *replaced)
            }
            Some(_) | None => source,
        };
        let charset = self.charset.as_deref().and_then(Charset::parse);
        Ok(Upload { source, is_packed: self.is_packed, digest: self.digest.clone(), charset })
    }

    /// It is about to be sent.
    pub(super) fn sent_at(&mut self, now_ms: i64) {
        self.first_sent_ms.get_or_insert(now_ms);
        self.last_sent_ms = Some(now_ms);
    }

    /// Whether it was sent before, for all that is known.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.first_sent_ms.is_some()
    }

    /// It is a new one: nothing came of it so far.
    pub(super) fn renew(&mut self) {
        self.key = Uuid::new_v4().to_string();
        (self.first_sent_ms, self.last_sent_ms) = (None, None);
    }

    /// Asks the service, where the key is not enough.
    pub(super) fn doubt(&self, hand: &Hand<'_>) -> Result<Doubt, Trouble> {
        let (Some(first_ms), Some(last_ms)) = (self.first_sent_ms, self.last_sent_ms) else {
            return Ok(Doubt::None);
        };
        let now = now_ms();
        // A clock that was set back tells no age; then too it is better to ask.
        let age_ms = now.abs_diff(first_ms);
        if age_ms <= KEY_TRUSTED_MS && now + CLOCKS_APART_MS >= first_ms {
            return Ok(Doubt::None);
        }
        if now.abs_diff(last_ms) <= UNDER_WAY_MS {
            let text = "it is not known whether the service has the file, and the last try was a moment ago";
            return Err(Trouble::passing(Failure::ours(text)));
        }
        let alike = self.alike(hand)?;
        if alike.is_empty() && age_ms <= COMMANDS_KEPT_MS { Ok(Doubt::NotAccepted) } else { Ok(Doubt::Maybe(alike)) }
    }

    /// Where the commands of the program are that it was sent to.
    pub(super) fn commands(&self) -> String {
        let program = self.target.split_once("/participants").map_or(self.target.as_str(), |(program, _)| program);
        format!("{program}/commands")
    }

    /// The program's commands of this size since it was sent for the first time.
    pub(super) fn alike(&self, hand: &Hand<'_>) -> Result<Vec<String>, Trouble> {
        let Some(first_sent_ms) = self.first_sent_ms else { return Ok(Vec::new()) };
        let mut alike = Vec::new();
        for page in 0.. {
            let target = format!("{}?count={PAGE}&offset={}", self.commands(), page * PAGE);
            let answer =
                hand.client.get(&target, None, Unreachable::GiveUp).map_err(|failure| match failure.cause {
                    Cause::Refused { status: 400..=499, .. } => Trouble::operators(failure),
                    _ => Trouble::passing(failure),
                })?;
            let read: Page = serde_json::from_slice(&answer.body).map_err(|error| {
                Trouble::passing(Failure::ours(format!("the service's list of commands cannot be read: {error}")))
            })?;
            let count = read.items.len() as u64;
            let is_since = |item: &Item| {
                let created: Option<jiff::Timestamp> = item.created.parse().ok();
                created.is_none_or(|created| created.as_millisecond() >= first_sent_ms - CLOCKS_APART_MS)
            };
            let reaches_back = read.items.iter().any(|item| !is_since(item));
            let items = read.items.into_iter().filter(|item| item.bytes == self.bytes && is_since(item));
            alike.extend(items.map(|item| item.location));
            if count < PAGE || reaches_back {
                break;
            }
        }
        Ok(alike)
    }
}

/// The disk is full, say; that is not the caller's to change on the command line.
fn unready(failure: Failure) -> Trouble {
    Trouble::passing(Failure::ours(failure.to_string()))
}
