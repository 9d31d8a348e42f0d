//! `roster program …`: each program has its own contacts and fields.

use clap::{Args, Subcommand};
use serde::Serialize;

use crate::contact::{FieldType, Phone, Region, Schema, ValueType, normal_form};
use crate::store::Store;
use crate::tenant::{AccountId, NewProgram, Program, ProgramId};

use super::failure::{Exit, Failure};
use super::field::{FieldJson, NewField};
use super::operator::{account_id, find_program, name, now_ms, program_id, with_store};
use super::output::{Align, Output, escape};
use super::settings::{DataArgs, GlobalArgs};

#[derive(Subcommand)]
pub(super) enum ProgramCommand {
    /// Make a program of an account; prints its id
    #[command(after_help = "Example:
  roster program create 'Fall Outreach' --account 018f3b52-7c41-7f0e-9c53-2d0a6d1f6f10 \\
    --field gpa:Float --field honors:'Maybe (Boolean)' --timezone America/Denver")]
    Create(CreateArgs),
    /// List programs
    #[command(after_help = "Example:\n  roster program list --account 018f3b52-7c41-7f0e-9c53-2d0a6d1f6f10")]
    List(ListArgs),
    /// Show a program and all its fields
    #[command(after_help = "Example:\n  roster program show 018f3b52-7c41-7f0e-9c53-2d0a6d1f6f10 --json")]
    Show(OneArgs),
    /// Make a program inactive; nothing is deleted, and it can still be imported into
    #[command(after_help = "Example:\n  roster program archive 018f3b52-7c41-7f0e-9c53-2d0a6d1f6f10")]
    Archive(OneArgs),
}

#[derive(Args)]
pub(super) struct CreateArgs {
    /// What people call it
    #[arg(value_parser = name)]
    name: String,
    /// Whose it is
    #[arg(long, env = "ROSTER_ACCOUNT", value_name = "ID", value_parser = account_id)]
    account: AccountId,
    /// A field of its own: name, colon, type as printed; may be repeated
    #[arg(long = "field", env = "ROSTER_FIELD", value_name = "NAME:TYPE", value_delimiter = ',')]
    fields: Vec<NewField>,
    /// The number that it texts from
    #[arg(long, env = "ROSTER_PHONE", value_name = "E164")]
    phone: Option<String>,
    /// The country whose phone spellings its files use
    #[arg(long, env = "ROSTER_REGION", value_name = "CODE", default_value = "US", value_parser = region)]
    region: Region,
    /// Its time zone, a name of the tz database
    #[arg(long, env = "ROSTER_TIMEZONE", value_name = "TZ", value_parser = timezone)]
    timezone: Option<String>,
    #[command(flatten)]
    data: DataArgs,
}

#[derive(Args)]
pub(super) struct ListArgs {
    /// Only this account's
    #[arg(long, env = "ROSTER_ACCOUNT", value_name = "ID", value_parser = account_id)]
    account: Option<AccountId>,
    #[command(flatten)]
    data: DataArgs,
}

#[derive(Args)]
pub(super) struct OneArgs {
    /// The program's id
    #[arg(value_parser = program_id)]
    program: ProgramId,
    #[command(flatten)]
    data: DataArgs,
}

/// A program, as scripts read it: the four members of the contract.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ProgramJson<'a> {
    id: String,
    account_id: String,
    name: &'a str,
    active: bool,
}

/// A program with its settings and fields.
#[derive(Serialize)]
struct WholeProgramJson<'a> {
    #[serde(flatten)]
    program: ProgramJson<'a>,
    country: &'a str,
    phone: Option<String>,
    timezone: Option<&'a str>,
    fields: Vec<FieldJson>,
}

impl<'a> ProgramJson<'a> {
    fn of(program: &'a Program) -> ProgramJson<'a> {
        ProgramJson {
            id: program.id.to_string(),
            account_id: program.account.to_string(),
            name: &program.name,
            active: program.active,
        }
    }
}

pub(super) fn run(command: ProgramCommand, global: &GlobalArgs, output: Output) -> Result<Exit, Failure> {
    match command {
        ProgramCommand::Create(args) => create(args, global, output),
        ProgramCommand::List(args) => list(&args, global, output),
        ProgramCommand::Show(args) => show(&args, global, output),
        ProgramCommand::Archive(args) => archive(&args, global, output),
    }?;
    Ok(Exit::Done)
}

fn create(args: CreateArgs, global: &GlobalArgs, output: Output) -> Result<(), Failure> {
    let CreateArgs { name, account, fields, phone, region, timezone, data } = args;
    check_distinct(&fields)?;
    let phone = phone.map(|text| program_phone(&text, region)).transpose()?;
    let new = NewProgram { name, region, phone, timezone };
    let program = with_store(&data, global, async |store| create_with_fields(&*store, account, new, &fields).await)?;
    if output.json {
        return output.object(&ProgramJson::of(&program));
    }
    output.say(format_args!("Made the program '{}' with {} fields of its own:", escape(&program.name), fields.len()));
    output.line(program.id)
}

/// Makes a program and its fields. They were checked before, so that no half of a program is left behind.
pub(super) async fn create_with_fields(
    store: &dyn Store,
    account: AccountId,
    new: NewProgram,
    fields: &[NewField],
) -> Result<Program, Failure> {
    let program = store.create_program(account, new, now_ms()).await?;
    for NewField { name, field_type } in fields {
        store.add_field(account, program.id, name, *field_type, now_ms()).await.map_err(|error| {
            Failure::from(error).after(&format!("the program {} was made, but not its field '{name}':", program.id))
        })?;
    }
    Ok(program)
}

fn list(args: &ListArgs, global: &GlobalArgs, output: Output) -> Result<(), Failure> {
    let programs = with_store(&args.data, global, async |store| Ok(store.programs(args.account).await?))?;
    if output.json {
        return programs.iter().try_for_each(|program| output.object(&ProgramJson::of(program)));
    }
    if programs.is_empty() {
        output.say("There is no program yet; 'roster program create NAME --account ID' makes one.");
        return Ok(());
    }
    let columns = [("id", Align::Left), ("account", Align::Left), ("name", Align::Left), ("active", Align::Left)];
    let rows = programs.into_iter().map(|program| {
        [program.id.to_string(), program.account.to_string(), program.name, yes_no(program.active).to_owned()]
    });
    output.table(columns, rows)
}

fn show(args: &OneArgs, global: &GlobalArgs, output: Output) -> Result<(), Failure> {
    let (program, schema) = with_store(&args.data, global, async |store| {
        let program = find_program(&*store, args.program).await?;
        let schema = store.schema(program.account, program.id).await?;
        Ok((program, schema))
    })?;
    if output.json { show_json(&program, &schema, output) } else { show_words(&program, &schema, output) }
}

fn show_json(program: &Program, schema: &Schema, output: Output) -> Result<(), Failure> {
    output.object(&WholeProgramJson {
        program: ProgramJson::of(program),
        country: program.region.as_str(),
        phone: program.phone.map(|phone| phone.to_string()),
        timezone: program.timezone.as_deref(),
        fields: schema.fields().iter().map(FieldJson::of).collect(),
    })
}

fn show_words(program: &Program, schema: &Schema, output: Output) -> Result<(), Failure> {
    let settings = [
        ("id", program.id.to_string()),
        ("account", program.account.to_string()),
        ("name", program.name.clone()),
        ("active", yes_no(program.active).to_owned()),
        ("country", program.region.as_str().to_owned()),
        ("phone", program.phone.map(|phone| phone.to_string()).unwrap_or_default()),
        ("timezone", program.timezone.clone().unwrap_or_default()),
    ];
    let plain = [("", Align::Left), ("", Align::Left)];
    output.table(plain, settings.map(|(name, value)| [name.to_owned(), value]))?;
    output.line("")?;
    let rows = schema.fields().iter().map(|field| [field.name.clone(), field.field_type.to_string()]);
    output.table([("field", Align::Left), ("type", Align::Left)], rows)
}

fn archive(args: &OneArgs, global: &GlobalArgs, output: Output) -> Result<(), Failure> {
    let program = with_store(&args.data, global, async |store| {
        let mut program = find_program(&*store, args.program).await?;
        store.set_program_active(program.account, program.id, false).await?;
        program.active = false;
        Ok(program)
    })?;
    if output.json {
        return output.object(&ProgramJson::of(&program));
    }
    output.say(format_args!("'{}' is inactive now.", escape(&program.name)));
    Ok(())
}

fn yes_no(is: bool) -> &'static str {
    if is { "yes" } else { "no" }
}

fn check_distinct(fields: &[NewField]) -> Result<(), Failure> {
    for (place, field) in fields.iter().enumerate() {
        if fields[..place].iter().any(|earlier| earlier.name == field.name) {
            return Err(Failure::yours(format!("the field '{}' is given twice; nothing was made", field.name)));
        }
    }
    Ok(())
}

fn program_phone(text: &str, region: Region) -> Result<Phone, Failure> {
    Phone::parse(text, region).ok_or_else(|| {
        Failure::yours(format!("--phone: '{}' is no valid number of {}", escape(text), region.as_str()))
            .with_remedy("Give it like +13035550123; nothing was made.")
    })
}

fn region(text: &str) -> Result<Region, String> {
    Region::parse(text).ok_or_else(|| "a region is a country's two letters, like US or CA".to_owned())
}

fn timezone(text: &str) -> Result<String, String> {
    match normal_form(text, FieldType::plain(ValueType::Timezone), Region::US) {
        Ok(name) if !name.is_empty() => Ok(name.into_owned()),
        Ok(_) | Err(_) => Err("a time zone is a name of the tz database, like America/Denver".to_owned()),
    }
}
