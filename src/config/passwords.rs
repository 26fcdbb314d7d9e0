//! Passwords in URLs: found, and hidden.

use url::Url;

/// The parameter by which PostgreSQL's URLs may name a password, too.
const PASSWORD: &str = "password";

/// Is there a password in this URL?
pub(super) fn is_in(url: &Url) -> bool {
    url.password().is_some() || url.query_pairs().any(|(name, _)| name == PASSWORD)
}

/// The URL without the passwords in it.
pub(super) fn masked(mut url: Url) -> String {
    if url.password().is_some() {
        _ = url.set_password(Some("…"));
    }
    if url.query_pairs().any(|(name, _)| name == PASSWORD) {
        let pairs: Vec<_> = url.query_pairs().into_owned().collect();
        let shown = pairs.into_iter().map(|(name, value)| {
            let value = if name == PASSWORD {
                "…".to_owned()
            } else {
                value
            };
            (name, value)
        });
        url.query_pairs_mut().clear().extend_pairs(shown);
    }
    url.as_str().replace("%E2%80%A6", "…")
}
