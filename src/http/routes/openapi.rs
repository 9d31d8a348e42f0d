//! The API's document: OpenAPI 3.1, made of the table of routes, of the wire's types and of the table of problems.

use std::collections::BTreeMap;

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::operation::{Content, Header, Operation, Parameter, Place, Route};
use super::parameters::{REQUEST_ID, RETRY_AFTER_BUSY, WWW_AUTHENTICATE};
use crate::http::limits::Limit;
use crate::problem::Code;

/// What every signed request may meet; [`Code::Forbidden`] only one that does more than look.
const ALWAYS: [Code; 10] = [
    Code::Forbidden,
    Code::SignatureMissing,
    Code::SignatureMalformed,
    Code::UnknownToken,
    Code::ClockOff,
    Code::SignatureMismatch,
    Code::TooLarge,
    Code::TooSlow,
    Code::Busy,
    Code::Internal,
];

const DESCRIPTION: &str = "\
Every request is signed: `Authorization: SignalVine <token>:<signature>` and `SignalVine-Date: <ISO 8601>`, where the signature is the base64 of \
HMAC-SHA256, with the token's secret, over five lines in lower case: token, method, path without query, body, and the date as the header spells it. \
`roster sign --explain` prints them.";

/// The whole document.
pub(super) fn document(routes: &[Route]) -> Value {
    let mut settings = SchemaSettings::draft2020_12().for_serialize();
    settings.definitions_path = "/components/schemas".into();
    settings.meta_schema = None;
    let mut generator = settings.into_generator();
    let mut paths = Map::new();
    for route in routes {
        let mut item = Map::new();
        let names = names_in(route.template).map(path_parameter).collect::<Vec<_>>();
        item.insert("parameters".into(), names.into());
        for operation in &route.operations {
            item.insert(operation.method.word().into(), write(operation, &mut generator));
        }
        paths.insert(route.template.into(), item.into());
    }
    paths.extend(unsigned());
    let mut schemas = generator.take_definitions(true);
    schemas.values_mut().for_each(never_null);
    schemas.insert("Problem".into(), problem());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "roster",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": env!("CARGO_PKG_DESCRIPTION"),
            "description": DESCRIPTION,
            "license": { "name": "MIT", "identifier": "MIT" },
        },
        "servers": [{ "url": "/" }],
        "security": [{ "signature": [], "date": [] }],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": shared().map(|(status, codes)| (format!("Problem{status}"), refusal(status, &codes))).collect::<Map<_, _>>(),
            "securitySchemes": {
                "signature": {
                    "type": "apiKey", "in": "header", "name": "Authorization",
                    "description": "`SignalVine <token>:<signature>`",
                },
                "date": {
                    "type": "apiKey", "in": "header", "name": "SignalVine-Date",
                    "description": "The moment that was signed, within 15 minutes of the service's clock, if it is not configured otherwise.",
                },
            },
        },
    })
}

/// The names in braces.
fn names_in(template: &str) -> impl Iterator<Item = &str> {
    template.split('{').skip(1).filter_map(|rest| rest.split('}').next())
}

fn path_parameter(name: &str) -> Value {
    json!({
        "name": name, "in": "path", "required": true,
        "description": format!("The id of the {name}."),
        "schema": { "type": "string", "format": "uuid" },
    })
}

fn write(operation: &Operation, generator: &mut SchemaGenerator) -> Value {
    let mut answers: BTreeMap<u16, Value> = BTreeMap::new();
    for answer in &operation.answers {
        let headers = headers(answer.headers.iter().chain([&REQUEST_ID]));
        let content = content(&answer.content, generator);
        answers.insert(
            answer.status,
            json!({ "description": answer.description, "headers": headers, "content": content }),
        );
    }
    for (status, codes) in by_status(operation.refusals) {
        answers.insert(status, refusal(status, &codes));
    }
    // A token that may only look is refused what is no looking.
    let always = shared().filter(|(status, _)| *status != Code::Forbidden.entry().status || operation.is_writing());
    answers.extend(
        always.map(|(status, _)| (status, json!({ "$ref": format!("#/components/responses/Problem{status}") }))),
    );
    let answers: Map<String, Value> =
        answers.into_iter().map(|(status, answer)| (status.to_string(), answer)).collect();
    let mut json = json!({
        "operationId": operation.id,
        "summary": operation.summary,
        "parameters": operation.parameters.iter().map(parameter).collect::<Vec<_>>(),
        "responses": answers,
    });
    if !operation.description.is_empty() {
        json["description"] = operation.description.into();
    }
    if !operation.bodies.is_empty() {
        let bodies = operation.bodies.iter().flat_map(|body| content(body, generator)).collect::<Map<_, _>>();
        json["requestBody"] = json!({ "required": true, "content": bodies });
    }
    json
}

fn content(content: &Content, generator: &mut SchemaGenerator) -> Map<String, Value> {
    let Content { media_type, schema } = content;
    Map::from_iter([((*media_type).to_owned(), json!({ "schema": schema(generator) }))])
}

fn parameter(parameter: &Parameter) -> Value {
    let Parameter { name, place, kind, description } = parameter;
    let place = match place {
        Place::Query => "query",
        Place::Header => "header",
    };
    json!({ "name": name, "in": place, "required": false, "description": description, "schema": kind.schema() })
}

fn headers<'a>(headers: impl Iterator<Item = &'a Header>) -> Map<String, Value> {
    let written = headers.map(|Header { name, is_required, kind, description }| {
        let header = json!({ "description": description, "required": is_required, "schema": kind.schema() });
        ((*name).to_owned(), header)
    });
    written.collect()
}

/// By status: the codes of each.
fn by_status(codes: &[Code]) -> BTreeMap<u16, Vec<Code>> {
    let mut by_status: BTreeMap<u16, Vec<Code>> = BTreeMap::new();
    for code in codes {
        by_status.entry(code.entry().status).or_default().push(*code);
    }
    by_status
}

/// The refusals that operations share.
fn shared() -> impl Iterator<Item = (u16, Vec<Code>)> {
    // Where it is busy with what the caller itself has sent, it is 429.
    by_status(&ALWAYS).into_iter().chain([(429, vec![Code::Busy])])
}

fn refusal(status: u16, codes: &[Code]) -> Value {
    let lines = codes.iter().map(|code| {
        let entry = code.entry();
        format!("`{}`: {}. {}", entry.word, entry.title, entry.remedy)
    });
    let words: Vec<&str> = codes.iter().map(|code| code.entry().word).collect();
    let more: &[&Header] = match status {
        401 => &[&WWW_AUTHENTICATE],
        429 | 503 => &[&RETRY_AFTER_BUSY],
        _ => &[],
    };
    json!({
        "description": lines.collect::<Vec<_>>().join("\n\n"),
        "headers": headers(more.iter().copied().chain([&REQUEST_ID])),
        "content": { "application/problem+json": { "schema": {
            "$ref": "#/components/schemas/Problem",
            "properties": { "code": { "enum": words }, "status": { "const": status } },
        } } },
    })
}

/// Written beside [`crate::problem::Problem::to_json`].
fn problem() -> Value {
    let text = |description: &str| json!({ "type": "string", "description": description });
    let words: Vec<&str> = Code::ALL.map(|code| code.entry().word).to_vec();
    json!({
        "type": "object",
        "description": "Why a request was refused (RFC 9457). Some codes have members of their own beside these.",
        "required": ["type", "title", "status", "code", "detail", "remedy", "instance"],
        "properties": {
            "type": text("`urn:roster:problem:` and the code."),
            "title": text("What the code means."),
            "status": { "type": "integer" },
            "code": { "type": "string", "enum": words },
            "detail": text("What was wrong with this request."),
            "remedy": text("What to do."),
            "instance": text("The request's id."),
            "errors": {
                "type": "array",
                "description": "Every fault of the body or the query.",
                "items": {
                    "type": "object",
                    "required": ["code", "detail"],
                    "properties": {
                        "pointer": text("Where in the body (RFC 6901); a missing member where it should be."),
                        "parameter": text("Which parameter of the query."),
                        "code": { "type": "string", "enum": words },
                        "detail": text("What was wrong with its value, and what would be right."),
                    },
                    "additionalProperties": false,
                },
            },
            "lines": {
                "type": "array",
                "description": "Of `signature_mismatch`: the five lines as the service saw them, lower-cased.",
                "items": {
                    "type": "object",
                    "required": ["name", "sha256", "bytes"],
                    "properties": { "name": text(""), "sha256": text(""), "bytes": { "type": "integer" } },
                    "additionalProperties": false,
                },
            },
            "seconds": { "type": "integer", "description": "Of `clock_off`: how far the signed time is ahead of the clock." },
            "parameter": text("Of `bad_parameter`: which."),
            "incident": text("Of `internal`: finds it in the service's log."),
            "limit": {
                "type": "string",
                "enum": Limit::ALL.map(Limit::word),
                "description": "Of `busy`: which limit is used up. Not there where the store is away.",
            },
            "limitBytes": { "type": "integer", "description": "Of `too_large`." },
            "ratioLimit": { "type": "integer", "description": "Of `too_large`: how many times as large decompressing may make it." },
        },
    })
}

/// What may be left out is left out, and is never null.
fn never_null(schema: &mut Value) {
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    let Some(properties) = schema["properties"].as_object_mut() else { return };
    for (name, property) in properties {
        if required.contains(&Value::from(name.as_str())) {
            continue;
        }
        let Some(property) = property.as_object_mut() else { continue };
        if let Some(types) = property.get_mut("type").and_then(Value::as_array_mut) {
            types.retain(|kind| kind != "null");
            if let [only] = &**types {
                let only = only.clone();
                property.insert("type".into(), only);
            }
        }
        if let Some(forms) = property.get_mut("anyOf").and_then(Value::as_array_mut) {
            forms.retain(|form| form["type"] != "null");
            if let [Value::Object(only)] = &**forms {
                let only = only.clone();
                property.remove("anyOf");
                property.extend(only);
            }
        }
    }
}

/// The paths that everybody is answered at.
fn unsigned() -> Map<String, Value> {
    let path = |(path, id): (&str, &str), summary: &str, media_type: &str, refusal: Option<(&str, &str)>| {
        let content = json!({ media_type: { "schema": {} } });
        let mut answers = Map::new();
        let headers = headers([&REQUEST_ID].into_iter());
        answers.insert(
            "200".into(),
            json!({ "description": summary, "headers": headers.clone(), "content": content.clone() }),
        );
        if let Some((status, description)) = refusal {
            answers
                .insert(status.into(), json!({ "description": description, "headers": headers, "content": content }));
        }
        let operation = json!({ "operationId": id, "summary": summary, "security": [], "responses": answers });
        (path.to_owned(), json!({ "get": operation }))
    };
    let ready = "Whether requests are to be sent here: the store answers, and the service does not stop";
    Map::from_iter([
        path(("/healthz", "alive"), "Whether the process answers", "text/plain", None),
        path(("/readyz", "ready"), ready, "text/plain", Some(("503", "Not now, and why, in a word."))),
        path(("/openapi.json", "document"), "This document", "application/json", None),
        path(("/docs", "page"), "This document, to read", "text/html", None),
    ])
}
