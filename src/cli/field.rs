//! `roster field …`: a program's own fields, and how people write one: `NAME:TYPE`.

use std::str::FromStr;

use clap::{Args, Subcommand};
use serde::Serialize;

use crate::contact::{Field, FieldType, ValueType, check_field_name};
use crate::tenant::ProgramId;

use super::failure::{Exit, Failure};
use super::operator::{find_program, now_ms, program_id, with_store};
use super::output::{Align, Output};
use super::settings::{DataArgs, GlobalArgs};

#[derive(Subcommand)]
pub(super) enum FieldCommand {
    /// Add a field to a program
    #[command(after_help = "Example:
  roster field add 018f3b52-7c41-7f0e-9c53-2d0a6d1f6f10 honors:'Maybe (Boolean)'")]
    Add(AddArgs),
    /// List a program's own fields, in the order of creation
    #[command(after_help = "Example:\n  roster field list 018f3b52-7c41-7f0e-9c53-2d0a6d1f6f10")]
    List(ListArgs),
    /// Remove a field from a program; its values are shown no more
    #[command(after_help = "Example:\n  roster field remove 018f3b52-7c41-7f0e-9c53-2d0a6d1f6f10 honors")]
    Remove(RemoveArgs),
}

#[derive(Args)]
pub(super) struct AddArgs {
    /// The program's id
    #[arg(value_parser = program_id)]
    program: ProgramId,
    /// The field: a lower snake_case name, a colon, and a type as printed, like gpa:Float or honors:'Maybe (Boolean)'
    #[arg(value_name = "NAME:TYPE")]
    field: NewField,
    #[command(flatten)]
    data: DataArgs,
}

#[derive(Args)]
pub(super) struct ListArgs {
    /// The program's id
    #[arg(value_parser = program_id)]
    program: ProgramId,
    #[command(flatten)]
    data: DataArgs,
}

#[derive(Args)]
pub(super) struct RemoveArgs {
    /// The program's id
    #[arg(value_parser = program_id)]
    program: ProgramId,
    /// The field's name
    name: String,
    #[command(flatten)]
    data: DataArgs,
}

/// A field that is to be made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct NewField {
    /// Lower snake case, and no system field.
    pub(super) name: String,
    /// What its values are.
    pub(super) field_type: FieldType,
}

impl FromStr for NewField {
    type Err = String;

    fn from_str(text: &str) -> Result<NewField, String> {
        let (name, printed) =
            text.split_once(':').ok_or_else(|| "a field is a name, a colon and a type, like gpa:Float".to_owned())?;
        check_field_name(name).map_err(|fault| fault.to_string())?;
        let field_type = FieldType::parse(printed.trim()).ok_or_else(|| {
            let names = ValueType::ALL.map(ValueType::name).join(", ");
            format!("'{printed}' is no type; the types are {names}, and each as 'Maybe (…)', which may be blank")
        })?;
        Ok(NewField { name: name.to_owned(), field_type })
    }
}

/// A field, as scripts read it.
#[derive(Serialize)]
pub(super) struct FieldJson {
    name: String,
    #[serde(rename = "type")]
    field_type: String,
}

impl FieldJson {
    pub(super) fn of(field: &Field) -> FieldJson {
        FieldJson { name: field.name.clone(), field_type: field.field_type.to_string() }
    }
}

pub(super) fn run(command: FieldCommand, global: &GlobalArgs, output: Output) -> Result<Exit, Failure> {
    match command {
        FieldCommand::Add(args) => add(&args, global, output),
        FieldCommand::List(args) => list(&args, global, output),
        FieldCommand::Remove(args) => remove(&args, global, output),
    }?;
    Ok(Exit::Done)
}

fn add(args: &AddArgs, global: &GlobalArgs, output: Output) -> Result<(), Failure> {
    let NewField { name, field_type } = &args.field;
    with_store(&args.data, global, async |store| {
        let program = find_program(&*store, args.program).await?;
        Ok(store.add_field(program.account, program.id, name, *field_type, now_ms()).await?)
    })?;
    if output.json {
        return output.object(&FieldJson { name: name.clone(), field_type: field_type.to_string() });
    }
    output.say(format_args!("Added {name}: {field_type}."));
    Ok(())
}

fn list(args: &ListArgs, global: &GlobalArgs, output: Output) -> Result<(), Failure> {
    let schema = with_store(&args.data, global, async |store| {
        let program = find_program(&*store, args.program).await?;
        Ok(store.schema(program.account, program.id).await?)
    })?;
    if output.json {
        return schema.variables().try_for_each(|field| output.object(&FieldJson::of(field)));
    }
    if schema.variables().next().is_none() {
        output.say("The program has no fields of its own, only the system's.");
        return Ok(());
    }
    let rows = schema.variables().map(|field| [field.name.clone(), field.field_type.to_string()]);
    output.table([("name", Align::Left), ("type", Align::Left)], rows)
}

fn remove(args: &RemoveArgs, global: &GlobalArgs, output: Output) -> Result<(), Failure> {
    with_store(&args.data, global, async |store| {
        let program = find_program(&*store, args.program).await?;
        Ok(store.remove_field(program.account, program.id, &args.name, now_ms()).await?)
    })?;
    if output.json {
        return output.object(&serde_json::json!({ "name": args.name, "removed": true }));
    }
    output.say(format_args!("Removed {}.", args.name));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_a_name_and_a_type_as_printed() {
        let honors = "honors:Maybe (Boolean)".parse::<NewField>().expect("right");
        assert_eq!((&*honors.name, honors.field_type.to_string()), ("honors", "Maybe (Boolean)".to_owned()));
        for wrong in ["honors", "honors:", "honors:boolean", "Honors:Boolean", "phone:Phone", ":String", "_a:String"] {
            assert!(wrong.parse::<NewField>().is_err(), "{wrong}");
        }
    }
}
