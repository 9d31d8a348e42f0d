//! The parameters of reads: what stands in a query, and the links that lead on from a page.

use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use uuid::Uuid;

use crate::contact::ContactId;
use crate::problem::{Code, Problem};
use crate::store::ContactFilter;
use crate::wire::Place;

/// Items on a page, if the caller names no number.
const COUNT_DEFAULT: u32 = 25;
/// The most items on a page.
const COUNT_MAX: u32 = 1_000;

/// The query as axum reads it. What cannot be read is found out only once the signature holds.
pub(super) type RawParameters = Result<Query<Vec<(String, String)>>, QueryRejection>;

/// The parameters of a request, as they were sent.
pub(super) struct Parameters(Vec<(String, String)>);

/// Which part of a list is wanted.
pub(super) struct Page {
    /// As asked for; `None`: the caller named no number.
    pub(super) count: Option<u32>,
    /// Where it begins.
    pub(super) offset: u64,
    /// The contact that it begins after, which then counts instead of the offset.
    pub(super) after: Option<ContactId>,
}

impl Page {
    /// How many items of a list that has pages by itself.
    pub(super) fn count(&self) -> u32 {
        self.count.unwrap_or(COUNT_DEFAULT)
    }
}

impl Parameters {
    pub(super) fn read(raw: RawParameters) -> Result<Parameters, Problem> {
        let Query(pairs) = raw.map_err(|_| {
            let detail = "The query cannot be read; write it as name=value&name=value, percent-encoded";
            Problem::new(Code::BadParameter, detail)
        })?;
        Ok(Parameters(pairs))
    }

    /// All of them, in their order.
    pub(super) fn pairs(&self) -> &[(String, String)] {
        &self.0
    }

    /// The last value of a parameter.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(at, _)| at == name).map(|(_, value)| value.as_str())
    }

    /// Whether a parameter has the one value that it can have.
    pub(super) fn is(&self, name: &str, value: &str) -> Result<bool, Problem> {
        match self.get(name) {
            None => Ok(false),
            Some(got) if got == value => Ok(true),
            Some(other) => Err(bad_parameter(name, other, &format!("'{value}', or leave it out"))),
        }
    }

    /// `count`, `offset` and `after`.
    pub(super) fn page(&self) -> Result<Page, Problem> {
        let count = self.whole("count", "a whole number from 1", 1, u64::from(COUNT_MAX))?;
        let offset = self.whole("offset", "a whole number from 0", 0, i64::MAX as u64)?;
        let after = match self.get("after") {
            None => None,
            Some(text) => {
                let contact = Uuid::try_parse(text).ok().and_then(ContactId::from_uuid);
                let right = "the id of a contact, as the link 'next' has it";
                Some(contact.ok_or_else(|| bad_parameter("after", text, right))?)
            }
        };
        let count = count.and_then(|count| u32::try_from(count).ok());
        Ok(Page { count, offset: offset.unwrap_or(0), after })
    }

    /// `active` and `updated-after`.
    pub(super) fn filter(&self) -> Result<ContactFilter, Problem> {
        let active_only = !self.is("active", "all")?;
        let updated_after_ms = match self.get("updated-after") {
            None => None,
            Some(text) => {
                // In a query a + means a blank; nobody writes a blank before an offset. Without one it is UTC, as in a signature's time.
                let with_offset = text.replace(' ', "+").parse::<Timestamp>().ok();
                let in_utc =
                    || text.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp());
                let moment = with_offset.or_else(in_utc);
                let right = "a moment as in 2026-11-22T12:00:00Z";
                Some(moment.ok_or_else(|| bad_parameter("updated-after", text, right))?.as_millisecond())
            }
        };
        Ok(ContactFilter { active_only, updated_after_ms })
    }

    fn whole(&self, name: &str, right: &str, least: u64, most: u64) -> Result<Option<u64>, Problem> {
        match self.get(name) {
            None => Ok(None),
            Some(text) => match whole_number(text) {
                Some(number) if number >= least => Ok(Some(number.min(most))),
                _ => Err(bad_parameter(name, text, right)),
            },
        }
    }

    /// The same request at another place: path and query. `last` is the last contact of this page: who goes on from it need not
    /// count up to it.
    pub(super) fn link(&self, path: &str, place: Place, last: Option<ContactId>) -> String {
        let mut pairs: Vec<(&str, String)> =
            self.0.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
        let offset = match place {
            Place::This => None,
            Place::At(offset) | Place::Next(offset) => Some(offset),
        };
        if let Some(offset) = offset {
            pairs.retain(|(name, _)| !matches!(*name, "offset" | "after"));
            pairs.push(("offset", offset.to_string()));
        }
        if let (Place::Next(_), Some(last)) = (place, last) {
            pairs.push(("after", last.to_string()));
        }
        if pairs.is_empty() {
            return path.to_owned();
        }
        format!("{path}?{}", form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish())
    }
}

/// Digits only; what is beyond 64 bits is as good as the highest number.
fn whole_number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

/// A refusal that says what was wrong and what would be right.
pub(super) fn bad_parameter(name: &str, got: &str, right: &str) -> Problem {
    let got: String = got.chars().take(100).collect();
    Problem::new(Code::BadParameter, format!("The parameter '{name}' is '{got}'; send {right}")).with("parameter", name)
}
