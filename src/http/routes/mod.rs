//! Every path of the API, once: who answers there, and what the document says of it. Router and document are made of the same table, so
//! that neither can have a path that the other has not.

mod openapi;
mod operation;
mod page;
mod parameters;

use std::sync::Arc;

use axum::Router;
use axum::routing::{MethodRouter, delete, get, post};
use bytes::Bytes;

use super::signed::Signed;
use super::{HttpState, commands, contacts, export, failed_rows, imports, method_not_allowed, programs};
use crate::problem::Code;
use crate::wire::{
    CommandItem, ContactJson, Envelope, FullContactJson, ImportBody, ProgramItemJson, ProgramJson, SchemaJson, Status,
};
use operation::{Content, Method, Operation, Route, schema_of};

/// The signed paths, and `/openapi.json` and `/docs`, which tell everybody about them.
pub(super) fn router() -> Router<Arc<HttpState>> {
    let routes = all();
    let document = openapi::document(&routes);
    let order: Vec<&str> = routes.iter().map(|route| route.template).collect();
    let page = page::page(&document, &order);
    let router = routes
        .into_iter()
        .fold(Router::new(), |router, Route { template, operations }| router.route(template, methods(operations)));
    let json = Bytes::from(document.to_string());
    router.merge(page::routes(json, page))
}

/// The methods of a path; any other is told them.
fn methods(operations: Vec<Operation>) -> MethodRouter<Arc<HttpState>> {
    let allow = operations.iter().map(|operation| operation.method.allow()).collect::<Vec<_>>().join(", ");
    let handlers = operations.into_iter().map(|operation| operation.handler);
    handlers.fold(MethodRouter::new(), MethodRouter::merge).fallback(async move |_: Signed| method_not_allowed(allow))
}

/// As text/csv, sent piece by piece.
const CSV: Content = Content { media_type: "text/csv", schema: schema_of::<String> };

fn all() -> Vec<Route> {
    let mut routes = importing();
    routes.extend(reading());
    routes
}

fn importing() -> Vec<Route> {
    let import = Operation::new(
        (Method::Post, post(imports::accept)),
        "importParticipants",
        "Adds and updates contacts",
        "Takes a CSV file of contacts, as a string of a JSON document or as it is, and answers when it is stored durably. The import runs after that; \
         the Location tells how it stands. What is wrong with the file or its rows is told there, and is no refused request. The same signature again is \
         the same request, and runs once. A file that is sent as it is (text/csv) is signed by its digest, and the query string belongs to the signed path then.",
    )
    .takes(parameters::IMPORT)
    .reads("application/json", schema_of::<ImportBody>)
    .reads("text/csv", schema_of::<String>)
    .answers_with(
        202,
        "The import will be carried out, once: its status, as it stands now.",
        Content { media_type: "application/json", schema: schema_of::<Status> },
        parameters::OF_ACCEPTED,
    )
    .refuses(&[
        Code::NotFound,
        Code::BadJson,
        Code::DuplicateKey,
        Code::MissingMember,
        Code::UnknownMember,
        Code::WrongType,
        Code::UnknownValue,
        Code::ProgramMismatch,
        Code::BadParameter,
        Code::DigestMissing,
        Code::DigestMismatch,
        Code::BadContentEncoding,
        Code::UnsupportedMediaType,
        Code::SignatureReused,
        Code::IdempotencyKeyReused,
    ]);
    vec![
        Route { template: "/v2/programs/{program}/participants", operations: vec![import] },
        Route { template: "/v2/commands/{command}", operations: vec![status(), cancel()] },
        Route { template: "/v2/commands/{command}/errors.csv", operations: vec![errors()] },
        Route { template: "/v2/programs/{program}/commands", operations: vec![list_of_commands()] },
    ]
}

fn status() -> Operation {
    Operation::new(
        (Method::Get, get(commands::status)),
        "commandStatus",
        "How an import stands",
        "Where it is complete, with its result: how many rows met which fate, and the first 1,000 errors.",
    )
    .takes(parameters::STATUS)
    .answers_with(
        200,
        "The status.",
        Content { media_type: "application/json", schema: schema_of::<Status> },
        parameters::OF_STATUS,
    )
    .refuses(&[Code::NotFound])
}

fn cancel() -> Operation {
    Operation::new(
        (Method::Delete, delete(commands::cancel)),
        "cancelCommand",
        "Cancels an import",
        "One that waits is not begun; one that runs is rolled back whole.",
    )
    .takes(parameters::STATUS)
    .answers_with(
        200,
        "The status: cancelled, or still running for a moment.",
        Content { media_type: "application/json", schema: schema_of::<Status> },
        parameters::OF_STATUS,
    )
    .refuses(&[Code::NotFound, Code::AlreadyComplete])
}

fn errors() -> Operation {
    Operation::new(
        (Method::Get, get(failed_rows::of_command)),
        "failedRows",
        "The rows that failed, as a CSV file",
        "With their cells as they were, and the columns `_row` and `_errors`. Corrected and imported again, it works: columns whose names begin with an \
         underscore are ignored.",
    )
    .takes(parameters::FAILED_ROWS)
    .answers_with(200, "The rows.", CSV, parameters::OF_FILE)
    .refuses(&[Code::NotFound, Code::BadParameter, Code::PayloadGone])
}

fn list_of_commands() -> Operation {
    Operation::new(
        (Method::Get, get(commands::of_program)),
        "commandsOfProgram",
        "The imports of a program, newest first",
        "Without the errors of rows: the status has them.",
    )
    .takes(parameters::COMMANDS)
    .answers::<Envelope<CommandItem>>(200, "A page of them.")
    .refuses(&[Code::NotFound, Code::BadParameter])
}

/// A page of contacts, short or full.
const CONTACTS: Content = Content {
    media_type: "application/json",
    schema: |generator| {
        let forms = [schema_of::<Envelope<ContactJson>>(generator), schema_of::<Envelope<FullContactJson>>(generator)];
        serde_json::json!({ "anyOf": forms })
    },
};

/// A program's settings, or its fields.
const PROGRAM: Content = Content {
    media_type: "application/json",
    schema: |generator| serde_json::json!({ "anyOf": [schema_of::<ProgramJson>(generator), schema_of::<SchemaJson>(generator)] }),
};

fn reading() -> Vec<Route> {
    let list = |(handler, id), summary| {
        let description = "Follow the link `next` to read all of them: it goes on after the last contact of the page, whatever comes in meanwhile.";
        Operation::new((Method::Get, handler), id, summary, description)
            .takes(parameters::CONTACTS)
            .answers_with(200, "A page of them: with `type=full`, full ones.", CONTACTS, &[])
            .refuses(&[Code::NotFound, Code::BadParameter])
    };
    let get_one =
        |(handler, id), summary, description| Operation::new((Method::Get, handler), id, summary, description);
    let programs =
        get_one((get(programs::of_account), "programsOfAccount"), "The programs of an account", "Active ones.")
            .takes(parameters::PROGRAMS)
            .answers::<Envelope<ProgramItemJson>>(200, "All of them, or a page.")
            .refuses(&[Code::NotFound, Code::BadParameter]);
    let program = get_one((get(programs::program), "program"), "A program's settings, or its fields", "")
        .takes(parameters::PROGRAM)
        .answers_with(200, "The settings; with `type=schema`, the fields.", PROGRAM, &[])
        .refuses(&[Code::NotFound, Code::BadParameter]);
    let contact = get_one((get(contacts::one), "participant"), "One contact, with all fields", "")
        .takes(parameters::CONTACT)
        .answers::<FullContactJson>(200, "The contact.")
        .refuses(&[Code::NotFound, Code::BadParameter]);
    let export = get_one(
        (get(export::contacts), "participantsCsv"),
        "All contacts of a program, as a CSV file",
        "As they are at one moment, inactive ones too. An import takes the file back, and changes nothing.",
    )
    .answers_with(200, "The contacts.", CSV, parameters::OF_FILE)
    .refuses(&[Code::NotFound]);
    let of_program = list((get(contacts::of_program), "participantsOfProgram"), "The contacts of a program");
    let of_account = list((get(contacts::of_account), "participantsOfAccount"), "The contacts of all programs");
    let one = |template, operation| Route { template, operations: vec![operation] };
    vec![
        one("/v1/accounts/{account}/programs", programs),
        one("/v1/accounts/{account}/participants", of_account),
        one("/v1/programs/{program}", program),
        one("/v1/programs/{program}/participants", of_program),
        one("/v1/participants/{participant}", contact),
        one("/v2/programs/{program}/participants.csv", export),
    ]
}
