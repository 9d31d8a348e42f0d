//! What passes between a plan and the store: what rows want to know, what is found, what is to be changed.

use crate::contact::{ContactId, ContactNumber, FieldTimes, Phone, Profile};

/// Who a row says it is about; what is blank, unreadable or of no interest is `None`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct IdentityKeys<'a> {
    /// The service's own id.
    pub signalvine_id: Option<ContactId>,
    /// The customer's id; never blank, never with a NUL.
    pub customer_id: Option<&'a str>,
    /// The phone.
    pub phone: Option<Phone>,
}

/// What the program knows of a row's keys.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RowFound {
    /// The contact with the id.
    pub by_signalvine_id: Option<ContactNumber>,
    /// The contact with the customer's id.
    pub by_customer_id: Option<ContactNumber>,
    /// The contact that holds the phone, as far as it was asked for; always told where a row has no other key.
    pub by_phone: Option<ContactNumber>,
    /// If values were asked for: the contact found by `signalvine_id`, or, where the row has none, by `customer_id`.
    pub contact: Option<StoredContact>,
}

/// A contact as it is stored before the import touches it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredContact {
    /// Its number.
    pub number: ContactNumber,
    /// Milliseconds since 1970-01-01 UTC.
    pub created_ms: i64,
    /// Blank if it has none.
    pub customer_id: String,
    /// Its phone.
    pub phone: Phone,
    /// Whether it is active.
    pub active: bool,
    /// All ordinary fields.
    pub profile: Profile,
    /// When each field last changed.
    pub times: FieldTimes,
}

/// A change that a row makes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// A new contact.
    Add(Addition),
    /// Another value in a contact.
    Update(Update),
}

/// A contact that is to be added. The store gives it the rest of its id.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Addition {
    /// The next number, without gaps.
    pub number: ContactNumber,
    /// Blank if it has none.
    pub customer_id: String,
    /// Its phone.
    pub phone: Phone,
    /// Whether it is active.
    pub active: bool,
    /// All ordinary fields.
    pub profile: Profile,
}

/// A contact that is to be changed. What is `None` stays as it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Update {
    /// Which contact.
    pub number: ContactNumber,
    /// The new customer's id; blank clears it.
    pub customer_id: Option<String>,
    /// The new phone.
    pub phone: Option<Phone>,
    /// The new state; never what it was already.
    pub active: Option<bool>,
    /// All ordinary fields, changed and unchanged.
    pub profile: Option<Profile>,
    /// The times of all fields, brought up to this import.
    pub times: FieldTimes,
}
