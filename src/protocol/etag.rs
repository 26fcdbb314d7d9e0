//! Entity tags: RFC 9110 §8.8.3 and §13.1.2.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};

use crate::secret::sha256;

/// Names a body: another one has another name.
pub fn etag(body: &[u8]) -> String {
    format!("\"{}\"", BASE64_URL_SAFE_NO_PAD.encode(&sha256(body)[..16]))
}

/// Does an `If-None-Match` name this tag? Weak comparison, as the RFC has it.
pub fn is_named(if_none_match: &[u8], etag: &str) -> bool {
    let mut entries = if_none_match.split(|b| *b == b',').map(<[u8]>::trim_ascii);
    entries
        .any(|entry| entry == b"*" || entry.strip_prefix(b"W/").unwrap_or(entry) == etag.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_known_among_others_weak_or_not() {
        let tag = etag(b"body");
        assert_ne!(tag, etag(b"other"));
        let table = [
            (tag.clone(), true),
            (format!("W/{tag}"), true),
            (format!("\"a\", {tag}"), true),
            ("*".to_owned(), true),
            (etag(b"other"), false),
            (tag.trim_matches('"').to_owned(), false),
            (String::new(), false),
        ];
        for (header, named) in table {
            assert_eq!(is_named(header.as_bytes(), &tag), named, "{header}");
        }
    }
}
