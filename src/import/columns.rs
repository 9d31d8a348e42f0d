//! What the columns of a file mean, where its header has other names than the program's fields.

use std::collections::BTreeMap;

use crate::contact::trim;

/// Other names for the columns of a file. The import goes on as if its header had had these; the file itself stays as it is, and so do its
/// failed rows.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Columns(BTreeMap<String, String>);

impl Columns {
    /// Of pairs: the name in the file's header, and the name of the field, or `""` for a column that is left out. White space around names
    /// does not count; of two pairs for one name the latter holds. A name that the header has not means nothing.
    pub fn new<A: AsRef<str>, B: AsRef<str>>(pairs: impl IntoIterator<Item = (A, B)>) -> Columns {
        let trimmed = |name: &str| trim(name).to_owned();
        Columns(pairs.into_iter().map(|(name, field)| (trimmed(name.as_ref()), trimmed(field.as_ref()))).collect())
    }

    /// Whether every column has its own name.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The pairs, by the name in the file's header.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, field)| (&**name, &**field))
    }

    /// What a column is called here whose name in the file is this; `None`: it is left out.
    pub fn name<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        match self.0.get(name) {
            None => Some(name),
            Some(field) => Some(&**field).filter(|field| !field.is_empty()),
        }
    }
}
