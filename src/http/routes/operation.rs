//! What the API's document says of one operation of a path: its words, what it takes, what it answers, and which problems it may tell.

use std::sync::Arc;

use axum::routing::MethodRouter;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Value, json};

use crate::http::HttpState;
use crate::problem::Code;

/// A path, and what may be done there.
pub(super) struct Route {
    /// As axum and OpenAPI write it, with names in braces.
    pub(super) template: &'static str,
    pub(super) operations: Vec<Operation>,
}

/// One method of a path: who answers, and what the document says.
pub(super) struct Operation {
    pub(super) method: Method,
    pub(super) handler: MethodRouter<Arc<HttpState>>,
    pub(super) id: &'static str,
    pub(super) summary: &'static str,
    pub(super) description: &'static str,
    pub(super) parameters: &'static [Parameter],
    pub(super) bodies: Vec<Content>,
    pub(super) answers: Vec<Answer>,
    pub(super) refusals: &'static [Code],
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Method {
    /// With HEAD, as HTTP has it.
    Get,
    Post,
    Delete,
}

impl Method {
    /// As a key of OpenAPI.
    pub(super) fn word(self) -> &'static str {
        match self {
            Method::Get => "get",
            Method::Post => "post",
            Method::Delete => "delete",
        }
    }

    /// For the `Allow` header.
    pub(super) fn allow(self) -> &'static str {
        match self {
            Method::Get => "GET, HEAD",
            Method::Post => "POST",
            Method::Delete => "DELETE",
        }
    }
}

/// Makes the schema of a type, noting those that it refers to.
pub(super) type Schema = fn(&mut SchemaGenerator) -> Value;

/// The schema of a type, which the document keeps under its name.
pub(super) fn schema_of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Value {
    generator.subschema_for::<T>().to_value()
}

/// A body of a media type.
pub(super) struct Content {
    pub(super) media_type: &'static str,
    pub(super) schema: Schema,
}

/// An answer that is no refusal.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) description: &'static str,
    pub(super) content: Content,
    /// Headers beside those that every answer has.
    pub(super) headers: &'static [Header],
}

/// A header of an answer.
pub(super) struct Header {
    pub(super) name: &'static str,
    /// Whether it is always there.
    pub(super) is_required: bool,
    pub(super) kind: Kind,
    pub(super) description: &'static str,
}

/// A parameter of a request, in the query if it is not said otherwise.
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) place: Place,
    pub(super) kind: Kind,
    pub(super) description: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    Query,
    Header,
}

/// What a parameter or a header may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Words(&'static [&'static str]),
    /// A whole number from this one on.
    From(u64),
    Moment,
    Pattern(&'static str),
    Text,
}

impl Kind {
    pub(super) fn schema(self) -> Value {
        match self {
            Kind::Words([only]) => json!({ "const": only }),
            Kind::Words(words) => json!({ "type": "string", "enum": words }),
            Kind::From(least) => json!({ "type": "integer", "minimum": least }),
            Kind::Moment => json!({ "type": "string", "format": "date-time" }),
            Kind::Pattern(pattern) => json!({ "type": "string", "pattern": pattern }),
            Kind::Text => json!({ "type": "string" }),
        }
    }
}

impl Operation {
    /// Whether it does more than look.
    pub(super) fn is_writing(&self) -> bool {
        self.method != Method::Get
    }

    /// `handler` is axum's, for this method alone.
    pub(super) fn new(
        (method, handler): (Method, MethodRouter<Arc<HttpState>>),
        id: &'static str,
        summary: &'static str,
        description: &'static str,
    ) -> Operation {
        Operation {
            method,
            handler,
            id,
            summary,
            description,
            parameters: &[],
            bodies: Vec::new(),
            answers: Vec::new(),
            refusals: &[],
        }
    }

    #[must_use]
    pub(super) fn takes(mut self, parameters: &'static [Parameter]) -> Operation {
        self.parameters = parameters;
        self
    }

    #[must_use]
    pub(super) fn reads(mut self, media_type: &'static str, schema: Schema) -> Operation {
        self.bodies.push(Content { media_type, schema });
        self
    }

    #[must_use]
    pub(super) fn answers<T: JsonSchema>(self, status: u16, description: &'static str) -> Operation {
        self.answers_with(status, description, Content { media_type: "application/json", schema: schema_of::<T> }, &[])
    }

    #[must_use]
    pub(super) fn answers_with(
        mut self,
        status: u16,
        description: &'static str,
        content: Content,
        headers: &'static [Header],
    ) -> Operation {
        self.answers.push(Answer { status, description, content, headers });
        self
    }

    /// The problems beside those that every signed request may meet.
    #[must_use]
    pub(super) fn refuses(mut self, refusals: &'static [Code]) -> Operation {
        self.refusals = refusals;
        self
    }
}
