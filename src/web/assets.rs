//! The stylesheet, under a name that changes with its content.

use std::sync::LazyLock;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};

use crate::{
    app::App,
    secret::{constant_time_eq, sha256},
};

/// The stylesheet of every page.
pub(crate) const STYLESHEET: &str = include_str!("../../templates/style.css");

static NAME: LazyLock<String> = LazyLock::new(|| {
    let hash = BASE64_URL_SAFE_NO_PAD.encode(&sha256(STYLESHEET.as_bytes())[..9]);
    format!("/assets/style.{hash}.css")
});

/// Its path below the issuer's.
pub(crate) fn stylesheet_path() -> &'static str {
    &NAME
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
