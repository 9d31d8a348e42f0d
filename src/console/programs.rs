//! Programs: making one, and its settings and fields.

use askama::Template;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::Response;

use super::answer::{Turned, page_with, redirect, sentence};
use super::data::Data;
use super::form::{Asked, Fields, Mistakes, Sent};
use super::frame::{Frame, Section};
use super::imports::Choice;
use super::words::When;
use crate::contact::{Field, FieldNumber, FieldType, Phone, Region, Schema, ValueType, check_field_name, normal_form};
use crate::store::StoreError;
use crate::tenant::{NewProgram, Program, ProgramId, ProgramSettings, Role};

/// The longest name, in characters.
const NAME_CHARS_MAX: usize = 200;
/// How many fields the page of a new program has room for; more are added in its settings.
const NEW_FIELDS: usize = 5;

pub(super) fn id_of_program(text: &str) -> Result<ProgramId, Turned> {
    ProgramId::parse(text).ok_or(Turned::NotFound("program"))
}

/// What the form of a program's settings holds, as it was typed.
#[derive(Clone, Default)]
struct Typed {
    name: String,
    region: String,
    phone: String,
    timezone: String,
    active: bool,
}

impl Typed {
    fn of(program: &Program) -> Typed {
        Typed {
            name: program.name.clone(),
            region: program.region.as_str().to_owned(),
            phone: program.phone.map(|phone| phone.to_string()).unwrap_or_default(),
            timezone: program.timezone.clone().unwrap_or_default(),
            active: program.active,
        }
    }

    fn read(fields: &Fields) -> Typed {
        let text = |name: &str| fields.get(name).to_owned();
        Typed {
            name: text("name"),
            region: text("region"),
            phone: text("phone"),
            timezone: text("timezone"),
            active: fields.is_on("active"),
        }
    }

    /// The settings, and what is wrong with them.
    fn settings(&self, mistakes: &mut Mistakes) -> Option<ProgramSettings> {
        let count = self.name.chars().count();
        if count == 0 || count > NAME_CHARS_MAX {
            mistakes.add("name", format!("A name has 1 to {NAME_CHARS_MAX} characters."));
        }
        let region = Region::parse(&self.region);
        if region.is_none() {
            let what = format!("A country is two letters, like US or CA; got “{}”.", self.region);
            mistakes.add("region", what);
        }
        let phone = match (self.phone.as_str(), region) {
            ("", _) | (_, None) => None,
            (text, Some(region)) => {
                let phone = Phone::parse(text, region);
                if phone.is_none() {
                    mistakes.add("phone", format!("This is no phone number: “{text}”. Write it like +1 212 555 0100."));
                }
                phone
            }
        };
        let timezone = (!self.timezone.is_empty()).then(|| {
            let of_type = FieldType::plain(ValueType::Timezone);
            let normal = normal_form(&self.timezone, of_type, region.unwrap_or(Region::US));
            if normal.is_err() {
                let what = format!("This is no time zone: “{}”. Write it like America/Denver.", self.timezone);
                mistakes.add("timezone", what);
            }
            normal.map(|zone| zone.into_owned()).unwrap_or_default()
        });
        mistakes.is_empty().then_some(())?;
        Some(ProgramSettings { name: self.name.clone(), region: region?, phone, timezone, active: self.active })
    }
}

/// A field in the list.
struct FieldLine {
    name: String,
    kind: String,
    is_own: bool,
    /// What a file may do with it.
    role: &'static str,
}

fn line(field: &Field) -> FieldLine {
    use crate::contact::Role as FieldRole;
    FieldLine {
        name: field.name.clone(),
        kind: field.field_type.to_string(),
        is_own: field.number >= FieldNumber::FIRST_VARIABLE,
        role: match field.role {
            FieldRole::SignalvineId => "says who a row is about; never changed",
            FieldRole::CustomerId => "says who a row is about",
            FieldRole::Phone => "one contact has it; says who a row without ids is about",
            FieldRole::Active | FieldRole::Ordinary => "",
            FieldRole::ReadOnly => "told, and not changed by an import",
        },
    }
}

/// All types that a field may have, plain ones first.
fn types(chosen: &str) -> Vec<Choice> {
    let all = FieldType::all();
    let choice = |of_type: FieldType| {
        let value = of_type.to_string();
        Choice { is_chosen: value == chosen, label: value.clone(), value }
    };
    all.map(choice).collect()
}

#[derive(Template)]
#[template(path = "console/program_new.html")]
struct NewPage {
    frame: Frame,
    typed: Typed,
    fields: Vec<NewFieldView>,
    mistakes: Mistakes,
}

struct NewFieldView {
    at: usize,
    name: String,
    types: Vec<Choice>,
    mistake: Option<String>,
}

fn new_program_page(data: &Data, typed: Typed, fields: &[(String, String)], mistakes: Mistakes) -> Response {
    let status = if mistakes.is_empty() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    let view = |at: usize| {
        let (name, kind) = fields.get(at).cloned().unwrap_or_default();
        let mistake = mistakes.of(&format!("field.{at}")).map(str::to_owned);
        NewFieldView { at, name, types: types(&kind), mistake }
    };
    let page = NewPage {
        frame: Frame::of("New program", Section::Overview, data),
        typed,
        fields: (0..NEW_FIELDS).map(view).collect(),
        mistakes,
    };
    page_with(status, &page)
}

pub(super) async fn new_page(data: Data) -> Response {
    let typed = Typed { region: Region::US.as_str().to_owned(), active: true, ..Typed::default() };
    new_program_page(&data, typed, &[], Mistakes::default())
}

pub(super) async fn create(data: Data, Sent(fields): Sent) -> Result<Response, Turned> {
    let typed = Typed { active: true, ..Typed::read(&fields) };
    let mut mistakes = Mistakes::default();
    let settings = typed.settings(&mut mistakes);
    let given: Vec<(String, String)> = (0..NEW_FIELDS)
        .map(|at| (fields.get(&format!("field.{at}")).to_owned(), fields.get(&format!("type.{at}")).to_owned()))
        .collect();
    let mut own: Vec<(&str, FieldType)> = Vec::new();
    for (at, (name, kind)) in given.iter().enumerate().filter(|(_, (name, _))| !name.is_empty()) {
        match read_field(name, kind) {
            Ok(_) if own.iter().any(|(known, _)| known == name) => {
                mistakes.add(format!("field.{at}"), format!("“{name}” is there already."));
            }
            Ok(of_type) => own.push((name, of_type)),
            Err(what) => mistakes.add(format!("field.{at}"), what),
        }
    }
    let Some(ProgramSettings { name, region, phone, timezone, active: _ }) = settings.filter(|_| mistakes.is_empty())
    else {
        return Ok(new_program_page(&data, typed, &given, mistakes));
    };
    let program = data.create_program(NewProgram { name, region, phone, timezone }).await?;
    for (name, of_type) in own {
        data.add_field(program.id, name, of_type).await?;
    }
    tracing::info!(request = data.request(), program = %program.id, "a program was made at the console");
    Ok(redirect(&format!("/console/programs/{}/settings?done=program", program.id)))
}

fn read_field(name: &str, kind: &str) -> Result<FieldType, String> {
    check_field_name(name).map_err(|fault| sentence(&fault.to_string()))?;
    FieldType::parse(kind).ok_or_else(|| format!("There is no type “{kind}”."))
}

#[derive(Template)]
#[template(path = "console/program_settings.html")]
struct SettingsPage {
    frame: Frame,
    program: String,
    program_id: String,
    created: When,
    typed: Typed,
    fields: Vec<FieldLine>,
    new_field: String,
    types: Vec<Choice>,
    may_change: bool,
    may_import: bool,
    mistakes: Mistakes,
}

async fn settings_page(
    data: &Data,
    program: &Program,
    typed: Typed,
    (new_field, kind): (&str, &str),
    (done, mistakes): (Option<&str>, Mistakes),
) -> Result<Response, Turned> {
    let schema: Schema = data.schema(program.id).await?;
    let status = if mistakes.is_empty() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    let page = SettingsPage {
        frame: Frame::of(format!("{}: settings", program.name), Section::Overview, data).after(done),
        program: program.name.clone(),
        program_id: program.id.to_string(),
        created: When(program.created_ms),
        typed,
        fields: schema.fields().iter().map(line).collect(),
        new_field: new_field.to_owned(),
        types: types(kind),
        may_change: data.may(Role::Admin),
        may_import: data.may(Role::Editor),
        mistakes,
    };
    Ok(page_with(status, &page))
}

pub(super) async fn settings(data: Data, Path(program): Path<String>, Asked(asked): Asked) -> Result<Response, Turned> {
    let program = data.program(id_of_program(&program)?).await?;
    let done = (asked.some("done"), Mistakes::default());
    settings_page(&data, &program, Typed::of(&program), ("", ""), done).await
}

pub(super) async fn save(data: Data, Path(program): Path<String>, Sent(fields): Sent) -> Result<Response, Turned> {
    let program = data.program(id_of_program(&program)?).await?;
    let typed = Typed::read(&fields);
    let mut mistakes = Mistakes::default();
    match typed.settings(&mut mistakes) {
        None => settings_page(&data, &program, typed, ("", ""), (None, mistakes)).await,
        Some(settings) => {
            data.update_program(program.id, settings).await?;
            tracing::info!(request = data.request(), program = %program.id, "a program was changed at the console");
            Ok(redirect(&format!("/console/programs/{}/settings?done=settings", program.id)))
        }
    }
}

pub(super) async fn add_field(data: Data, Path(program): Path<String>, Sent(fields): Sent) -> Result<Response, Turned> {
    let program = data.program(id_of_program(&program)?).await?;
    let (name, kind) = (fields.get("field"), fields.get("type"));
    let added = match read_field(name, kind) {
        Err(what) => Err(what),
        Ok(of_type) => match data.add_field(program.id, name, of_type).await {
            Err(Turned::Store(StoreError::Refused(what))) => Err(sentence(&what)),
            added => Ok(added?),
        },
    };
    match added {
        Ok(()) => Ok(redirect(&format!("/console/programs/{}/settings?done=field#fields", program.id))),
        Err(what) => {
            let mistakes = (None, Mistakes::one("field", what));
            settings_page(&data, &program, Typed::of(&program), (name, kind), mistakes).await
        }
    }
}

pub(super) async fn remove_field(
    data: Data,
    Path(program): Path<String>,
    Sent(fields): Sent,
) -> Result<Response, Turned> {
    let program = data.program(id_of_program(&program)?).await?;
    data.remove_field(program.id, fields.get("field")).await?;
    Ok(redirect(&format!("/console/programs/{}/settings?done=field-gone#fields", program.id)))
}
