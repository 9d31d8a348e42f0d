//! What the service shows, as the model has it.

use std::collections::BTreeMap;

use serde_json::Value;

use super::contract::{Changes, Contact, Report, Wrong, has_message};
use super::import::{ErrorCode, NotApplied, RowReader};
use crate::harness::text;

/// What is wrong, in words: it ends the sequence.
pub(super) type Differs = String;

/// Says so where two things differ that should not.
pub(super) fn same<T: PartialEq + std::fmt::Debug>(what: &str, found: T, expected: T) -> Result<(), Differs> {
    if found == expected {
        return Ok(());
    }
    Err(format!("{what}:\n   found {found:?}\nexpected {expected:?}"))
}

/// The report of a complete import.
pub(super) fn report(status: &Value) -> Result<Report, Differs> {
    let message = &status["message"];
    let rows = &message["rows"];
    let counts = ["read", "added", "updated", "unchanged", "ignored", "failed"];
    let counts = counts.map(|name| rows[name].as_u64().unwrap_or(u64::MAX));
    same("read is the sum of the others", counts[0], counts[1..].iter().sum())?;
    let errors: Vec<Wrong> = message["errors"].as_array().ok_or("no errors")?.iter().map(wrong).collect();
    same("errorCount", message["errorCount"].as_u64(), Some(errors.len() as u64))?;
    same("error", &status["error"], &Value::Bool(!errors.is_empty()))?;
    same("trace", status.get("trace").is_some(), !errors.is_empty())?;
    let not_applied = message.get("notApplied").map(text);
    same("applied", &message["applied"], &Value::Bool(not_applied.is_none()))?;
    let not_applied = not_applied.map(|word| NotApplied::parse(&word).ok_or(word)).transpose()?;
    let changes =
        message.get("changes").map(|changes| changes.as_array().into_iter().flatten().map(of_field).collect());
    Ok(Report { counts, not_applied: not_applied.map(NotApplied::as_str), errors, changes })
}

fn wrong(error: &Value) -> Wrong {
    let code = ErrorCode::parse(&text(&error["code"])).unwrap_or_else(|| panic!("no code: {error}")).as_str();
    Wrong {
        row: error.get("row").and_then(Value::as_u64),
        field: error.get("field").map(text),
        code,
        value: error.get("value").map(text),
        message: Some(text(&error["message"])).filter(|_| has_message(code)),
    }
}

fn of_field(changes: &Value) -> Changes {
    let example = |example: &Value| {
        (example["row"].as_u64().unwrap_or_default(), text(&example["before"]), text(&example["after"]))
    };
    let examples = changes["examples"].as_array().into_iter().flatten().map(example).collect();
    (text(&changes["field"]), changes["count"].as_u64().unwrap_or_default(), examples)
}

/// A contact that is shown in full, and when each of its fields last changed.
pub(super) fn contact(json: &Value) -> Result<(Contact, BTreeMap<String, String>), Differs> {
    let mut contact = Contact { id: text(&json["id"]), ..Contact::default() };
    let mut updated = BTreeMap::new();
    for entry in json["profile"].as_array().ok_or("no profile")? {
        let (name, value) = (text(&entry["name"]), text(&entry["value"]));
        match &*name {
            "signalvine_id" => same("signalvine_id", &value, &contact.id)?,
            "created_at" => same("created_at", value, text(&json["created"]))?,
            "program_phone" | "phone_valid" | "related_id" => continue,
            _ => contact.set(&name, &value),
        }
        updated.insert(name, text(&entry["updated"]));
    }
    same("customerId", &*text(&json["customerId"]), contact.value("customer_id"))?;
    same("phone", &*text(&json["phone"]), contact.value("phone"))?;
    same("active", json["active"].to_string(), contact.value("active").to_owned())?;
    let groups: Vec<String> = json["groups"].as_array().into_iter().flatten().map(text).collect();
    same("groups", groups.join(";"), contact.value("group_list").to_owned())?;
    Ok((contact, updated))
}

/// The numbers of the rows that a report has errors of.
pub(super) fn rows_with_errors(status: &Value) -> Vec<String> {
    let errors = status["message"]["errors"].as_array().unwrap();
    let mut rows: Vec<u64> = errors.iter().filter_map(|error| error.get("row")?.as_u64()).collect();
    rows.dedup();
    rows.iter().map(u64::to_string).collect()
}

/// What stands in the column behind those of the file: the numbers of the rows that failed.
pub(super) fn failed_rows(csv: &str, columns: usize) -> Result<Vec<String>, Differs> {
    let mut reader = RowReader::new(csv.as_bytes(), b',').keeping_surplus(columns + 2);
    let header = reader.header().map_err(|fault| fault.to_string())?;
    let mut rows = Vec::new();
    while let Some(batch) = reader.next_batch().map_err(|fault| fault.to_string())? {
        rows.extend(batch.rows().map(|row| row.cell(columns).to_owned()));
    }
    // The header of a file that is wrong as a whole may be anything.
    let name = header.as_ref().and_then(|batch| Some(batch.rows().next()?.cell(columns).to_owned()));
    if !rows.is_empty() {
        same("the column", name.as_deref(), Some("_row"))?;
    }
    Ok(rows)
}
