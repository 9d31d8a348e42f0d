//! What a form or an address says: names and values, and what is wrong with them.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use http_body_util::{BodyExt as _, Limited};

use super::answer::Turned;

/// The largest form without a file, in bytes.
const FORM_BYTES_MAX: usize = 1 << 20;
/// How long a browser may take to send one.
const FORM_WITHIN: Duration = Duration::from_secs(30);

/// Names and values in the order in which they were sent.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Fields(Vec<(String, String)>);

impl Fields {
    pub(super) fn read(text: &[u8]) -> Fields {
        Fields(form_urlencoded::parse(text).into_owned().collect())
    }

    /// The value of this name, trimmed; blank if there is none.
    pub(super) fn get(&self, name: &str) -> &str {
        self.raw(name).trim()
    }

    /// The same as it was sent, but for line ends, which browsers send as CRLF.
    pub(super) fn raw(&self, name: &str) -> &str {
        self.0.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// The value of this name if it is not blank.
    pub(super) fn some(&self, name: &str) -> Option<&str> {
        Some(self.get(name)).filter(|value| !value.is_empty())
    }

    /// Whether a box is ticked.
    pub(super) fn is_on(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| known == name)
    }

    /// All values of this name.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// All of them.
    pub(super) fn into_pairs(self) -> Vec<(String, String)> {
        self.0
    }

    /// What stands in the address of a page that is this one but for one value.
    pub(super) fn with(&self, name: &str, value: &str) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        let kept = self.0.iter().filter(|(known, value)| known != name && !value.is_empty() && known != "done");
        kept.for_each(|(name, value)| _ = query.append_pair(name, value));
        query.append_pair(name, value).finish()
    }
}

/// What stands in the address.
pub(super) struct Asked(pub(super) Fields);

impl<S: Send + Sync> FromRequestParts<S> for Asked {
    type Rejection = Turned;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Asked, Turned> {
        Ok(Asked(Fields::read(parts.uri.query().unwrap_or_default().as_bytes())))
    }
}

/// What a form has sent.
pub(super) struct Sent(pub(super) Fields);

impl<S: Send + Sync> FromRequest<S> for Sent {
    type Rejection = Turned;

    async fn from_request(request: Request, _: &S) -> Result<Sent, Turned> {
        let body: Limited<Body> = Limited::new(request.into_body(), FORM_BYTES_MAX);
        let collected = tokio::time::timeout(FORM_WITHIN, body.collect()).await;
        let collected = collected.map_err(|_| Turned::Wrong("The form did not arrive in time.".to_owned()))?;
        let body = collected
            .map_err(|_| Turned::Wrong("The form is larger than 1 MiB, or broke off on its way.".to_owned()))?;
        Ok(Sent(Fields::read(&body.to_bytes())))
    }
}

/// What is wrong with a form, by field: told beside the field, and above the form.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Mistakes(Vec<Mistake>);

/// One mistake.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Mistake {
    /// The field's name and id.
    pub(super) field: String,
    /// A sentence.
    pub(super) what: String,
}

impl Mistakes {
    pub(super) fn add(&mut self, field: impl Into<String>, what: impl Into<String>) {
        self.0.push(Mistake { field: field.into(), what: what.into() });
    }

    pub(super) fn one(field: &str, what: impl Into<String>) -> Mistakes {
        let mut mistakes = Mistakes::default();
        mistakes.add(field, what);
        mistakes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Mistake> {
        self.0.iter()
    }

    /// What is wrong with this field.
    pub(super) fn of(&self, field: &str) -> Option<&str> {
        self.0.iter().find(|mistake| mistake.field == field).map(|mistake| mistake.what.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_by_name() {
        let fields = Fields::read(b"q=+Ada+&group=a&group=b&done=saved&tick=&text=a%0D%0Ab");
        assert_eq!((fields.get("q"), fields.raw("q"), fields.get("none")), ("Ada", " Ada ", ""));
        assert_eq!(fields.all("group").collect::<Vec<_>>(), ["a", "b"]);
        assert!(fields.is_on("tick") && !fields.is_on("tock"));
        assert_eq!(fields.some("tick"), None);
        assert_eq!(fields.raw("text"), "a\r\nb");
        assert_eq!(fields.with("after", "é 1"), "q=+Ada+&group=a&group=b&text=a%0D%0Ab&after=%C3%A9+1");
    }
}
