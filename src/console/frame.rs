//! What stands around every page: its title, where it is in the console, who looks, and what has just been done.

use super::assets;
use super::data::Data;
use crate::tenant::{Role, Session};

/// Which part of the console a page belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Section {
    None,
    Overview,
    Imports,
    Tokens,
    Doctor,
    Me,
}

/// Around a page.
pub(super) struct Frame {
    /// Of the window.
    pub(super) title: String,
    pub(super) section: Section,
    pub(super) person: Option<Person>,
    /// What has just been done, if that is to be said.
    pub(super) notice: Option<&'static str>,
    pub(super) style: &'static str,
    pub(super) script: &'static str,
}

/// Who looks.
pub(super) struct Person {
    pub(super) name: String,
    pub(super) account: String,
    pub(super) role: Role,
    pub(super) may_switch: bool,
}

impl Person {
    pub(super) fn of(session: &Session) -> Person {
        Person {
            name: session.name.to_string(),
            account: session.account.name.clone(),
            role: session.role,
            may_switch: session.accounts > 1,
        }
    }
}

impl Frame {
    /// For somebody who may not be signed in.
    pub(super) fn bare(title: impl Into<String>, session: Option<&Session>) -> Frame {
        Frame {
            title: title.into(),
            section: Section::None,
            person: session.map(Person::of),
            notice: None,
            style: assets::style(),
            script: assets::script(),
        }
    }

    /// For who is signed in.
    pub(super) fn of(title: impl Into<String>, section: Section, data: &Data) -> Frame {
        Frame { section, ..Frame::bare(title, Some(data.session())) }
    }

    /// With a line about what has just been done: the word in `?done=`.
    pub(super) fn after(self, done: Option<&str>) -> Frame {
        Frame { notice: done.and_then(notice), ..self }
    }

    /// For `aria-current`.
    pub(super) fn is_in(&self, section: &str) -> bool {
        let here = match self.section {
            Section::None => "",
            Section::Overview => "overview",
            Section::Imports => "imports",
            Section::Tokens => "tokens",
            Section::Doctor => "doctor",
            Section::Me => "me",
        };
        here == section
    }
}

/// Only words of ours become sentences: what stands in an address is a stranger's.
fn notice(word: &str) -> Option<&'static str> {
    let notices = [
        ("program", "The program was made."),
        ("settings", "The settings were saved."),
        ("field", "The field was added."),
        (
            "field-gone",
            "The field was removed. Its values are kept, and come back with a field of the same name and type.",
        ),
        ("revoked", "The token was revoked. Requests signed with it are refused from now on."),
        ("cancelled", "The import was cancelled."),
        ("cancelling", "The import was told to end; nothing of it takes effect unless it is just being finished."),
        ("password", "The password was changed. All other sessions of yours have ended."),
        ("account", "You are in another account now."),
        ("same", "This was already started; here it is."),
    ];
    notices.iter().find(|(known, _)| *known == word).map(|(_, notice)| *notice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_words_are_told() {
        assert!(notice("settings").is_some());
        assert_eq!(notice("<b>You have won</b>"), None);
    }
}
