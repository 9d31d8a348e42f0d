//! The vocabulary: field types, values in their normal form, phones, schemas, contacts.
//!
//! Everything here is a plain value: no clock, no file, no table, no wire format.

mod contact_id;
pub mod date_time;
mod field_type;
pub mod phone;
mod profile;
mod record;
mod schema;
mod value;

pub use contact_id::{ContactId, ContactNumber, ProgramTag};
pub use field_type::{FieldType, ValueType};
pub use phone::{Phone, Region};
pub use profile::{FieldTimes, PackedRows, Profile, ProfileBuilder};
pub use record::{Contact, FieldView};
pub use schema::{Field, FieldNameFault, FieldNumber, Role, Schema, check_field_name};
pub use value::{Refusal, normal_form, normal_form_without_nul, parse_uuid, trim};
