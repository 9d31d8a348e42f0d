//! The style sheet, the script and the icon: in the binary, and under names that change with what is in them, so that browsers may keep them.

use std::sync::OnceLock;

use axum::extract::Path;
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use sha2::{Digest as _, Sha256};

use super::answer::Turned;

const STYLE: &str = include_str!("../../templates/console/console.css");
const SCRIPT: &str = include_str!("../../templates/console/console.js");
const ICON: &str = include_str!("../../templates/console/icon.svg");

/// Where the style sheet is.
pub(super) fn style() -> &'static str {
    static PLACE: OnceLock<String> = OnceLock::new();
    PLACE.get_or_init(|| place(STYLE, "css"))
}

/// Where the script is.
pub(super) fn script() -> &'static str {
    static PLACE: OnceLock<String> = OnceLock::new();
    PLACE.get_or_init(|| place(SCRIPT, "js"))
}

fn place(text: &str, extension: &str) -> String {
    let digest = Sha256::digest(text);
    let hex: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("/console/assets/{hex}.{extension}")
}

/// `/console/assets/{name}`.
pub(super) async fn file(Path(name): Path<String>) -> Result<Response, Turned> {
    let is = |place: &str| place.rsplit('/').next() == Some(&name);
    let (content_type, text) = match name.as_str() {
        "icon.svg" => ("image/svg+xml", ICON),
        _ if is(style()) => ("text/css; charset=utf-8", STYLE),
        _ if is(script()) => ("text/javascript; charset=utf-8", SCRIPT),
        _ => return Err(Turned::NotFound("file")),
    };
    let kept = if name == "icon.svg" { "max-age=86400" } else { "max-age=31536000, immutable" };
    let headers =
        [(CONTENT_TYPE, HeaderValue::from_static(content_type)), (CACHE_CONTROL, HeaderValue::from_static(kept))];
    Ok((headers, text).into_response())
}
