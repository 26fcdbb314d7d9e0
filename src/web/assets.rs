//! The stylesheet and the icon, under names that change with their content.

use std::sync::LazyLock;

use axum::{
    extract::Path,
    response::{IntoResponse, Response},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use http::{StatusCode, header};

use crate::{
    app::App,
    secret::{constant_time_eq, sha256},
};

const STYLESHEET: &str = include_str!("../../templates/style.css");
const ICON: &str = include_str!("../../templates/favicon.svg");
/// For programs that ask for `/favicon.ico` and nothing else.
const OLD_ICON: &[u8] = include_bytes!("../../templates/favicon.ico");

/// Below the issuer's path: one route, so that monitoring sees one name.
pub(crate) const ROUTE: &str = "/assets/{name}";

static STYLESHEET_PATH: LazyLock<String> =
    LazyLock::new(|| format!("/assets/style.{}.css", version(STYLESHEET)));
static ICON_PATH: LazyLock<String> =
    LazyLock::new(|| format!("/assets/icon.{}.svg", version(ICON)));

fn version(content: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(&sha256(content.as_bytes())[..9])
}

/// The stylesheet's path below the issuer's.
pub(crate) fn stylesheet_path() -> &'static str {
    &STYLESHEET_PATH
}

/// The same of the icon.
pub(crate) fn icon_path() -> &'static str {
    &ICON_PATH
}

/// One of them. Its name says its version, so it never changes.
pub(crate) async fn asset(Path(name): Path<String>) -> Response {
    let is = |path: &str| path.strip_prefix("/assets/") == Some(name.as_str());
    let (media_type, content) = if is(stylesheet_path()) {
        ("text/css; charset=utf-8", STYLESHEET)
    } else if is(icon_path()) {
        ("image/svg+xml", ICON)
    } else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let headers = [
        (header::CONTENT_TYPE, media_type),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; sandbox",
        ),
    ];
    (headers, content).into_response()
}

/// `/favicon.ico` of the host.
pub(crate) async fn old_icon() -> Response {
    let headers = [
        (header::CONTENT_TYPE, "image/x-icon"),
        (header::CACHE_CONTROL, "public, max-age=604800"),
    ];
    (headers, OLD_ICON).into_response()
}

/// The path of a logo below the issuer's, by its hash. We say that it is ours: a name that a stranger makes up is not looked
/// for in the database.
pub(crate) fn logo_path(app: &App, hash: &str) -> String {
    format!("/logos/{hash}.{}.png", mark(app, hash))
}

/// The hash in the name of a logo of ours.
pub(crate) fn hash_in<'a>(app: &App, name: &'a str) -> Option<&'a str> {
    let (hash, shown) = name.strip_suffix(".png")?.split_once('.')?;
    let is_hash = hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit());
    let is_ours = is_hash && constant_time_eq(shown.as_bytes(), mark(app, hash).as_bytes());
    is_ours.then_some(hash)
}

fn mark(app: &App, hash: &str) -> String {
    let code = app.form_key.sign(&[b"logo", hash.as_bytes()]);
    BASE64_URL_SAFE_NO_PAD.encode(&code[..16])
}
