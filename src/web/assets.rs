//! The stylesheet, under a name that changes with its content.

use std::sync::LazyLock;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};

use crate::secret::sha256;

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
