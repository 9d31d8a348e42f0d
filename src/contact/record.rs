//! A whole contact, as it is read and shown.

use super::contact_id::ContactId;
use super::phone::Phone;
use super::profile::{FieldTimes, Profile};
use super::schema::{Field, FieldNumber, Role, Schema};

/// A contact of a program with all its values. Times are milliseconds since 1970-01-01 UTC.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Contact {
    /// The public id.
    pub id: ContactId,
    /// The customer's id; blank if it has none.
    pub customer_id: String,
    /// Its one phone.
    pub phone: Phone,
    /// Whether lists show it by themselves.
    pub active: bool,
    /// When it was added.
    pub created_ms: i64,
    /// When any field last changed.
    pub updated_ms: i64,
    /// All ordinary fields.
    pub profile: Profile,
    /// When each field last changed.
    pub times: FieldTimes,
}

/// One field of one contact, as it is shown.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FieldView<'a> {
    /// Which field.
    pub field: &'a Field,
    /// In its normal form, blank = `""`.
    pub value: String,
    /// When the value last changed; the contact's creation if it never did.
    pub updated_ms: i64,
}

impl Contact {
    /// All fields of `schema` with this contact's values, in the schema's order.
    pub fn fields<'a>(
        &'a self,
        schema: &'a Schema,
        program_phone: Option<Phone>,
    ) -> impl Iterator<Item = FieldView<'a>> {
        schema.fields().iter().map(move |field| FieldView {
            field,
            value: self.value(field, program_phone),
            updated_ms: self.created_ms.saturating_add_unsigned(self.times.get(field.number)),
        })
    }

    /// The groups, in their order.
    pub fn groups(&self) -> impl Iterator<Item = &str> {
        self.profile.get(FieldNumber::GROUP_LIST).split(';').filter(|group| !group.is_empty())
    }

    fn value(&self, field: &Field, program_phone: Option<Phone>) -> String {
        match field.role {
            Role::SignalvineId => self.id.to_string(),
            Role::CustomerId => self.customer_id.clone(),
            Role::Phone => self.phone.to_string(),
            Role::Active => self.active.to_string(),
            Role::Ordinary => self.profile.get(field.number).to_owned(),
            Role::ReadOnly => match field.name.as_str() {
                "created_at" => super::date_time::print_ms(self.created_ms),
                "program_phone" => program_phone.map(|phone| phone.to_string()).unwrap_or_default(),
                // Only valid phones are ever stored.
                "phone_valid" => true.to_string(),
                _ => String::new(),
            },
        }
    }
}
