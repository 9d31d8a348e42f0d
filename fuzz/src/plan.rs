//! What an import does: rows, plan, changes and report, held against the contract's rules as a model carries them out.

use roster::{contact, import};

#[path = "../../tests/support/contract.rs"]
mod contract;
#[path = "../../tests/support/made_up.rs"]
mod made_up;
#[path = "../../tests/support/planning.rs"]
mod planning;

/// Contacts, options and a file are made up of the bytes.
pub(crate) fn plan(data: &[u8]) {
    planning::the_plan_is_what_the_model_does(data);
}
