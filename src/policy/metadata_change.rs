//! A client's document changed since a person agreed to it: is the agreement still about the same thing? CIMD §8.4.

use crate::protocol::client_metadata::{AuthMethod, ClientMetadata};

/// What changed that a person has to be told, as sentences for the consent page; empty: the consent stands.
pub fn since_consent(then: &ClientMetadata, now: &ClientMetadata) -> Vec<&'static str> {
    let new_redirect_host = now.redirect_uris.iter().any(|uri| {
        !then
            .redirect_uris
            .iter()
            .any(|known| known.host() == uri.host())
    });
    let weakened = now.auth_methods.contains(&AuthMethod::None)
        && !then.auth_methods.contains(&AuthMethod::None);
    let keys_moved = now.jwks_uri != then.jwks_uri || now.has_inline_jwks != then.has_inline_jwks;
    let widened = match (&then.scope, &now.scope) {
        (Some(then), Some(now)) => now.iter().any(|scope| !then.contains(scope)),
        (Some(_), None) => true,
        (None, _) => false,
    };
    let table = [
        (
            new_redirect_host,
            "It sends you to a host that was not in its description before.",
        ),
        (
            weakened,
            "It no longer has to prove its identity with a key.",
        ),
        (keys_moved, "It publishes its keys at another place."),
        (
            now.client_name != then.client_name,
            "It calls itself by another name.",
        ),
        (now.logo_uri != then.logo_uri, "It has another logo."),
        (widened, "It may now ask for more than before."),
    ];
    table
        .into_iter()
        .filter(|(changed, _)| *changed)
        .map(|(_, sentence)| sentence)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::client_metadata;

    fn document(members: &str) -> ClientMetadata {
        let id = "https://a.example.com/c";
        let body = format!(r#"{{"client_id":"{id}",{members}}}"#);
        client_metadata::parse(&id.parse().unwrap(), body.as_bytes()).unwrap()
    }

    #[test]
    fn only_what_matters_to_a_person_reopens_the_question() {
        const BEFORE: &str =
            r#""client_name":"A","redirect_uris":["https://a.example.com/cb"],"scope":"read""#;
        let table = [
            (BEFORE, 0),
            (
                r#""client_name":"A","redirect_uris":["https://a.example.com/other"],"scope":"read","contacts":["x"]"#,
                0,
            ),
            (
                r#""client_name":"B","redirect_uris":["https://a.example.com/cb"],"scope":"read""#,
                1,
            ),
            (
                r#""client_name":"A","redirect_uris":["https://a.example.com/cb","https://b.example.net/cb"],"scope":"read""#,
                1,
            ),
            (
                r#""client_name":"A","redirect_uris":["https://a.example.com/cb"],"scope":"read write""#,
                1,
            ),
            (
                r#""client_name":"A","redirect_uris":["https://a.example.com/cb"]"#,
                1,
            ),
            (
                r#""client_name":"A","redirect_uris":["https://a.example.com/cb"],"scope":"read","logo_uri":"https://a.example.com/l.png""#,
                1,
            ),
        ];
        for (after, changes) in table {
            assert_eq!(
                since_consent(&document(BEFORE), &document(after)).len(),
                changes,
                "{after}"
            );
        }
    }
}
