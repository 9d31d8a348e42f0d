//! The API's document as a page to read, and the paths that give both to everybody. They tell of the API what the published code tells,
//! and nothing of what the service holds.

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use serde_json::Value;

use crate::http::HttpState;

/// Nothing from elsewhere, no script, nothing written into the page itself.
const POLICY: &str =
    "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// `/openapi.json`, `/docs` and its style sheet.
pub(super) fn routes(json: Bytes, page: Bytes) -> Router<Arc<HttpState>> {
    const STYLE: Bytes = Bytes::from_static(include_bytes!("../../../templates/docs.css"));
    let file = |content_type, bytes: Bytes| get(async move || answer(content_type, bytes));
    Router::new()
        .route("/openapi.json", file("application/json", json))
        .route("/docs", file("text/html; charset=utf-8", page))
        .route("/docs/style.css", file("text/css; charset=utf-8", STYLE))
}

fn answer(content_type: &'static str, bytes: Bytes) -> Response {
    let mut response = bytes.into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // As new as the binary that answers.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// The page of a document; `order`: its paths as a person would read of them, others after them.
pub(super) fn page(document: &Value, order: &[&str]) -> Bytes {
    // Writing text into memory does not fail.
    Page::of(document, order).render().unwrap_or_default().into()
}

#[derive(Template)]
#[template(path = "docs.html")]
struct Page<'a> {
    version: &'a str,
    about: Words<'a>,
    operations: Vec<OperationView<'a>>,
    /// What every signed request may meet.
    shared: Vec<AnswerView<'a>>,
    schemas: Vec<SchemaView<'a>>,
}

struct OperationView<'a> {
    id: &'a str,
    method: String,
    path: &'a str,
    summary: &'a str,
    description: Words<'a>,
    is_signed: bool,
    parameters: Vec<Row<'a>>,
    bodies: Vec<(&'a str, Kind)>,
    answers: Vec<AnswerView<'a>>,
}

struct AnswerView<'a> {
    status: &'a str,
    /// A line for each code.
    lines: Vec<Words<'a>>,
    contents: Vec<(&'a str, Kind)>,
    headers: Vec<Row<'a>>,
}

struct SchemaView<'a> {
    name: &'a str,
    description: Words<'a>,
    members: Vec<Row<'a>>,
}

/// A parameter, a header, or a member of an object.
struct Row<'a> {
    name: &'a str,
    place: &'a str,
    is_required: bool,
    kind: Kind,
    description: Words<'a>,
}

/// What a value may be, and the schema that tells more.
struct Kind {
    text: String,
    schema: Option<String>,
}

/// Text in which what stands between backticks is code.
struct Words<'a>(Vec<Word<'a>>);

struct Word<'a> {
    text: &'a str,
    is_code: bool,
}

impl<'a> Words<'a> {
    fn of(text: &'a str) -> Words<'a> {
        let parts = text.split('`').enumerate().map(|(at, text)| Word { text, is_code: at % 2 == 1 });
        Words(parts.filter(|word| !word.text.is_empty()).collect())
    }
}

impl<'a> Page<'a> {
    fn of(document: &'a Value, order: &[&str]) -> Page<'a> {
        let paths = document["paths"].as_object().into_iter().flatten();
        let operations = paths.flat_map(|(path, item)| {
            let methods = item.as_object().into_iter().flatten().filter(|(name, _)| *name != "parameters");
            methods.map(|(method, operation)| OperationView::of(path, method, operation))
        });
        let shared = document["components"]["responses"].as_object().into_iter().flatten();
        let schemas = document["components"]["schemas"].as_object().into_iter().flatten();
        let mut operations: Vec<OperationView<'a>> = operations.collect();
        operations.sort_by_key(|view| order.iter().position(|path| *path == view.path).unwrap_or(order.len()));
        Page {
            version: text(&document["info"]["version"]),
            about: Words::of(text(&document["info"]["description"])),
            operations,
            shared: shared.map(|(name, answer)| AnswerView::of(name.trim_start_matches("Problem"), answer)).collect(),
            schemas: schemas.map(|(name, schema)| SchemaView::of(name, schema)).collect(),
        }
    }
}

impl<'a> OperationView<'a> {
    fn of(path: &'a str, method: &'a str, operation: &'a Value) -> OperationView<'a> {
        let answers = operation["responses"].as_object().into_iter().flatten();
        // What operations share is told once.
        let answers = answers.filter(|(_, answer)| answer["$ref"].is_null());
        OperationView {
            id: text(&operation["operationId"]),
            method: method.to_uppercase(),
            path,
            summary: text(&operation["summary"]),
            description: Words::of(text(&operation["description"])),
            is_signed: operation["security"].is_null(),
            parameters: operation["parameters"].as_array().into_iter().flatten().map(parameter).collect(),
            bodies: contents(&operation["requestBody"]),
            answers: answers.map(|(status, answer)| AnswerView::of(status, answer)).collect(),
        }
    }
}

impl<'a> AnswerView<'a> {
    fn of(status: &'a str, answer: &'a Value) -> AnswerView<'a> {
        let headers = answer["headers"].as_object().into_iter().flatten();
        // That one is everywhere, and told once.
        let headers = headers.filter(|(name, _)| *name != "X-Request-Id");
        AnswerView {
            status,
            lines: text(&answer["description"]).split("\n\n").map(Words::of).collect(),
            contents: contents(answer),
            headers: headers.map(|(name, header)| row(name, header)).collect(),
        }
    }
}

impl<'a> SchemaView<'a> {
    fn of(name: &'a str, schema: &'a Value) -> SchemaView<'a> {
        let required = schema["required"].as_array().map(Vec::as_slice).unwrap_or_default();
        let members = schema["properties"].as_object().into_iter().flatten().map(|(name, member)| Row {
            name,
            place: "",
            is_required: required.iter().any(|required| required == name),
            kind: kind(member),
            description: Words::of(text(&member["description"])),
        });
        SchemaView { name, description: Words::of(text(&schema["description"])), members: members.collect() }
    }
}

fn parameter(parameter: &Value) -> Row<'_> {
    Row { place: text(&parameter["in"]), ..row(text(&parameter["name"]), parameter) }
}

fn row<'a>(name: &'a str, value: &'a Value) -> Row<'a> {
    Row {
        name,
        place: "",
        is_required: value["required"] == true,
        kind: kind(&value["schema"]),
        description: Words::of(text(&value["description"])),
    }
}

fn contents(of: &Value) -> Vec<(&str, Kind)> {
    let contents = of["content"].as_object().into_iter().flatten();
    contents.map(|(media_type, content)| (media_type.as_str(), kind(&content["schema"]))).collect()
}

/// What a schema says, in a few words.
fn kind(schema: &Value) -> Kind {
    let plain = |text: String| Kind { text, schema: None };
    if let Some(reference) = schema["$ref"].as_str() {
        let name = reference.rsplit('/').next().unwrap_or_default();
        return Kind { text: name.to_owned(), schema: Some(name.to_owned()) };
    }
    if let Some(forms) = schema["anyOf"].as_array() {
        let forms: Vec<Kind> = forms.iter().map(kind).collect();
        let words: Vec<&str> = forms.iter().map(|form| form.text.as_str()).collect();
        return Kind { text: words.join(" or "), schema: forms.iter().find_map(|form| form.schema.clone()) };
    }
    if let Some(only) = schema.get("const") {
        return plain(only.to_string());
    }
    if let Some(words) = schema["enum"].as_array() {
        return plain(words.iter().map(ToString::to_string).collect::<Vec<_>>().join(" | "));
    }
    if schema["type"] == "array" {
        let items = kind(&schema["items"]);
        return Kind { text: format!("list of {}", items.text), ..items };
    }
    let types = match &schema["type"] {
        Value::Array(types) => types.iter().map(text).collect::<Vec<_>>().join(" or "),
        one => text(one).to_owned(),
    };
    match text(&schema["format"]) {
        "" | "uint64" | "uint32" => plain(types),
        format => plain(format!("{types}, {format}")),
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
