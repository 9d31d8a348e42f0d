//! The types of fields, as they are printed. What their values look like is in `value`.

use std::fmt;

/// What kind of value a field holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ValueType {
    /// Any text.
    String,
    /// `true` or `false`.
    Boolean,
    /// A whole number of 64 bits.
    Numeric,
    /// A finite double.
    Float,
    /// A day.
    Date,
    /// A moment, kept in UTC to the millisecond.
    DateTime,
    /// A valid telephone number, kept as E.164.
    Phone,
    /// A UUID.
    Uuid,
    /// The name of a time zone.
    Timezone,
    /// Texts in an order, none twice.
    List,
}

impl ValueType {
    /// All of them, in the contract's order.
    pub const ALL: [ValueType; 10] = [
        ValueType::String,
        ValueType::Boolean,
        ValueType::Numeric,
        ValueType::Float,
        ValueType::Date,
        ValueType::DateTime,
        ValueType::Phone,
        ValueType::Uuid,
        ValueType::Timezone,
        ValueType::List,
    ];

    /// The printed name.
    pub fn name(self) -> &'static str {
        match self {
            ValueType::String => "String",
            ValueType::Boolean => "Boolean",
            ValueType::Numeric => "Numeric",
            ValueType::Float => "Float",
            ValueType::Date => "Date",
            ValueType::DateTime => "DateTime",
            ValueType::Phone => "Phone",
            ValueType::Uuid => "UUID",
            ValueType::Timezone => "Timezone",
            ValueType::List => "List",
        }
    }
}

/// The type of a field: `Boolean`, or `Maybe (Boolean)` where it may be blank.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FieldType {
    /// What a value is.
    pub value: ValueType,
    /// Whether it was declared as `Maybe (…)`.
    pub maybe: bool,
}

impl FieldType {
    /// A type without `Maybe`.
    pub const fn plain(value: ValueType) -> FieldType {
        FieldType { value, maybe: false }
    }

    /// `Maybe (value)`.
    pub const fn maybe(value: ValueType) -> FieldType {
        FieldType { value, maybe: true }
    }

    /// All types: each value's plain one, then those that may be blank.
    pub fn all() -> impl Iterator<Item = FieldType> {
        let plain = ValueType::ALL.into_iter().map(FieldType::plain);
        plain.chain(ValueType::ALL.into_iter().map(FieldType::maybe))
    }

    /// Reads a type as it is printed; `None` if it is none.
    pub fn parse(printed: &str) -> Option<FieldType> {
        let inner = printed.strip_prefix("Maybe (").and_then(|rest| rest.strip_suffix(')'));
        let value = ValueType::ALL.into_iter().find(|value| value.name() == inner.unwrap_or(printed))?;
        Some(FieldType { value, maybe: inner.is_some() })
    }

    /// Whether a blank cell clears the field (contract, section 4: String, List, Timezone and every Maybe).
    pub fn may_be_blank(self) -> bool {
        self.maybe || matches!(self.value, ValueType::String | ValueType::List | ValueType::Timezone)
    }
}

impl fmt::Display for FieldType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.maybe { write!(f, "Maybe ({})", self.value.name()) } else { f.write_str(self.value.name()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_reads_back_as_it_is_printed() {
        for value in ValueType::ALL {
            for field_type in [FieldType::plain(value), FieldType::maybe(value)] {
                assert_eq!(FieldType::parse(&field_type.to_string()), Some(field_type));
            }
        }
        for none in ["", "string", "Maybe", "Maybe String", "Maybe(String)", "Maybe (Maybe (String))", "Maybe ()"] {
            assert_eq!(FieldType::parse(none), None, "{none}");
        }
    }
}
