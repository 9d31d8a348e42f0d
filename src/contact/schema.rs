//! The fields of a program: the system's, the same everywhere, then the program's own ("variables").

use super::field_type::{FieldType, ValueType};

/// The place of a field in a program. System fields have the numbers 1 to 12 in the contract's order, variables those
/// from 32 up in the order of creation. A number is never given twice, also not after its field was removed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct FieldNumber(pub u32);

impl FieldNumber {
    /// `signalvine_id`.
    pub const SIGNALVINE_ID: FieldNumber = FieldNumber(1);
    /// `customer_id`.
    pub const CUSTOMER_ID: FieldNumber = FieldNumber(2);
    /// `phone`.
    pub const PHONE: FieldNumber = FieldNumber(3);
    /// `first_name`.
    pub const FIRST_NAME: FieldNumber = FieldNumber(4);
    /// `last_name`.
    pub const LAST_NAME: FieldNumber = FieldNumber(5);
    /// `active`.
    pub const ACTIVE: FieldNumber = FieldNumber(6);
    /// `group_list`.
    pub const GROUP_LIST: FieldNumber = FieldNumber(7);
    /// `timezone`.
    pub const TIMEZONE: FieldNumber = FieldNumber(8);
    /// The first variable's number.
    pub const FIRST_VARIABLE: FieldNumber = FieldNumber(32);
}

/// What a column of this field means to an import.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// The service's own id of the contact: identity only, never changed.
    SignalvineId,
    /// The customer's id: identity, and an ordinary field.
    CustomerId,
    /// The telephone number: a field with one holder in a program.
    Phone,
    /// Whether the contact is active; kept apart because lists ask for it.
    Active,
    /// A field whose value is just kept.
    Ordinary,
    /// Known, but not to be changed by an import.
    ReadOnly,
}

/// A field of a program.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Field {
    /// Its place.
    pub number: FieldNumber,
    /// Lower snake case.
    pub name: String,
    /// What its values are.
    pub field_type: FieldType,
    /// What a column of it means.
    pub role: Role,
}

/// All fields of a program, in the order of their numbers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Schema {
    fields: Vec<Field>,
}

const SYSTEM: [(&str, FieldType, Role); 12] = [
    ("signalvine_id", FieldType::plain(ValueType::Uuid), Role::SignalvineId),
    ("customer_id", FieldType::plain(ValueType::String), Role::CustomerId),
    ("phone", FieldType::plain(ValueType::Phone), Role::Phone),
    ("first_name", FieldType::plain(ValueType::String), Role::Ordinary),
    ("last_name", FieldType::plain(ValueType::String), Role::Ordinary),
    ("active", FieldType::plain(ValueType::Boolean), Role::Active),
    ("group_list", FieldType::plain(ValueType::List), Role::Ordinary),
    ("timezone", FieldType::plain(ValueType::Timezone), Role::Ordinary),
    ("created_at", FieldType::plain(ValueType::DateTime), Role::ReadOnly),
    ("program_phone", FieldType::plain(ValueType::Phone), Role::ReadOnly),
    ("phone_valid", FieldType::plain(ValueType::Boolean), Role::ReadOnly),
    ("related_id", FieldType::plain(ValueType::Uuid), Role::ReadOnly),
];

impl Schema {
    /// The system fields, then `variables` (number, name, type) in the order of their numbers.
    pub fn new(variables: impl IntoIterator<Item = (FieldNumber, String, FieldType)>) -> Schema {
        let system = SYSTEM.iter().zip(1..).map(|(&(name, field_type, role), number)| Field {
            number: FieldNumber(number),
            name: name.to_owned(),
            field_type,
            role,
        });
        let variables = variables.into_iter().map(|(number, name, field_type)| Field {
            number,
            name,
            field_type,
            role: Role::Ordinary,
        });
        let mut fields: Vec<Field> = system.chain(variables).collect();
        fields.sort_by_key(|field| field.number);
        Schema { fields }
    }

    /// All fields, in the order of their numbers.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The program's own fields, in the order of creation.
    pub fn variables(&self) -> impl Iterator<Item = &Field> {
        self.fields.iter().filter(|field| field.number >= FieldNumber::FIRST_VARIABLE)
    }

    /// The field of this exact name.
    pub fn by_name(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }
}

/// Why a name cannot be a variable's.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FieldNameFault {
    /// Not lower snake case, or too long.
    #[error("a field's name is 1 to 64 of a-z, 0-9 and _, beginning with a letter; got '{0}'")]
    NotSnakeCase(String),
    /// The system has it.
    #[error("'{0}' is a system field of every program")]
    System(String),
}

/// Whether a variable may have this name. A leading underscore is not allowed: such columns are ignored in every file.
pub fn check_field_name(name: &str) -> Result<(), FieldNameFault> {
    let snake = name.len() <= 64
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'));
    if !snake {
        return Err(FieldNameFault::NotSnakeCase(name.to_owned()));
    }
    if SYSTEM.iter().any(|(system, ..)| *system == name) {
        return Err(FieldNameFault::System(name.to_owned()));
    }
    Ok(())
}
