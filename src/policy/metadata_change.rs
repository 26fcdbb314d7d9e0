//! A client's document changed: how grave is it, what is done about it, and what is a person told? CIMD §8.4.

use serde::{Deserialize, Serialize};

use crate::protocol::client_metadata::{AuthMethod, ClientMetadata};
use crate::protocol::json::{self, Json, Object};
use crate::protocol::redirect_uri::{Destination, RedirectUri};

/// How grave a change of one field is.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "lowercase")]
pub enum Grade {
    /// Nobody has to know.
    Cosmetic,
    /// An administrator may want to know.
    Notable,
    /// It changes who gets what.
    Security,
}

/// What is done about a change.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It is written down.
    Log,
    /// People are asked for their consent again.
    AskAgain,
    /// What the client was granted ends.
    Revoke,
}

impl Grade {
    /// Its wire name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cosmetic => "cosmetic",
            Self::Notable => "notable",
            Self::Security => "security",
        }
    }
}

impl Answer {
    /// Its wire name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::AskAgain => "ask_again",
            Self::Revoke => "revoke",
        }
    }
}

/// One field that changed. The values are JSON, cut to a length that can be shown.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
pub struct Change {
    pub field: String,
    pub grade: Grade,
    pub answer: Answer,
    /// `None`: the field was not there.
    pub before: Option<String>,
    /// `None`: the field is not there any more.
    pub after: Option<String>,
}

/// Longest value that is kept of a change, in characters.
const VALUE: usize = 400;

/// Two versions of one document, field by field. Both have been accepted before.
pub fn between(then: (&[u8], &ClientMetadata), now: (&[u8], &ClientMetadata)) -> Vec<Change> {
    // Our own reading, the one that accepted them: another one may see less.
    let members = |document: &[u8]| match json::parse(document) {
        Ok(Json::Object(members)) => members,
        _ => Object::default(),
    };
    let (before, after) = (members(then.0), members(now.0));
    let mut fields: Vec<&str> = before.iter().chain(after.iter()).map(|it| it.0).collect();
    fields.sort_unstable();
    fields.dedup();
    let shown =
        |value: Option<&Json>| value.map(|value| value.to_string().chars().take(VALUE).collect());
    fields
        .into_iter()
        .filter(|field| before.get(field) != after.get(field))
        .map(|field| {
            let (grade, answer) = judge(field, then.1, now.1);
            Change {
                field: field.to_owned(),
                grade,
                answer,
                before: shown(before.get(field)),
                after: shown(after.get(field)),
            }
        })
        .collect()
}

/// The gravest of what is to be done.
pub fn answer(changes: &[Change]) -> Answer {
    changes
        .iter()
        .map(|change| change.answer)
        .max()
        .unwrap_or(Answer::Log)
}

fn judge(field: &str, then: &ClientMetadata, now: &ClientMetadata) -> (Grade, Answer) {
    let told = told(field, then, now).is_some();
    match field {
        "token_endpoint_auth_method" | "token_endpoint_auth_methods_supported" if told => {
            (Grade::Security, Answer::Revoke)
        }
        "client_name" | "logo_uri" if told => (Grade::Notable, Answer::AskAgain),
        "redirect_uris" | "scope" | "jwks" | "jwks_uri" if told => {
            (Grade::Security, Answer::AskAgain)
        }
        "redirect_uris"
        | "scope"
        | "grant_types"
        | "response_types"
        | "application_type"
        | "token_endpoint_auth_method"
        | "token_endpoint_auth_methods_supported"
        | "jwks"
        | "jwks_uri"
        | "dpop_bound_access_tokens"
        | "require_pushed_authorization_requests" => (Grade::Notable, Answer::Log),
        _ => (Grade::Cosmetic, Answer::Log),
    }
}

/// The fields whose change may reopen the question of consent.
const ASKED: &[&str] = &[
    "redirect_uris",
    "token_endpoint_auth_method",
    "jwks",
    "jwks_uri",
    "client_name",
    "logo_uri",
    "scope",
];

/// What changed that a person has to be told, as sentences for the consent page; empty: the consent stands.
pub fn since_consent(then: &ClientMetadata, now: &ClientMetadata) -> Vec<&'static str> {
    ASKED
        .iter()
        .filter_map(|field| told(field, then, now))
        .collect()
}

/// The sentence about one field, if a person has to be told.
fn told(field: &str, then: &ClientMetadata, now: &ClientMetadata) -> Option<&'static str> {
    let weakened = || {
        now.auth_methods.contains(&AuthMethod::None)
            && !then.auth_methods.contains(&AuthMethod::None)
    };
    let (changed, sentence) = match field {
        "redirect_uris" => {
            let is_known = |destination: &Destination<'_>| {
                let mut known = then.redirect_uris.iter();
                known.any(|known| known.destination() == *destination)
            };
            let mut destinations = now.redirect_uris.iter().map(RedirectUri::destination);
            let new = destinations.find(|destination| !is_known(destination));
            let sentence = match new {
                Some(Destination::App(_)) => {
                    "It opens an app that was not in its description before."
                }
                _ => "It sends you to a host that was not in its description before.",
            };
            (new.is_some(), sentence)
        }
        "token_endpoint_auth_method" | "token_endpoint_auth_methods_supported" => (
            weakened(),
            "It no longer has to prove its identity with a key.",
        ),
        "jwks_uri" => (
            now.jwks_uri != then.jwks_uri,
            "It publishes its keys at another place.",
        ),
        "jwks" => (
            // Rotation leaves an overlap; without one somebody else may speak now.
            {
                let (then, now) = (then.thumbprints(), now.thumbprints());
                !then.is_empty() && !now.iter().any(|key| then.contains(key))
            },
            "It has other keys than before, and none of the old ones.",
        ),
        "client_name" => (
            now.client_name != then.client_name,
            "It calls itself by another name.",
        ),
        "logo_uri" => (now.logo_uri != then.logo_uri, "It has another logo."),
        "scope" => (
            match (&then.scope, &now.scope) {
                (Some(then), Some(now)) => now.iter().any(|scope| !then.contains(scope)),
                (Some(_), None) => true,
                (None, _) => false,
            },
            "It may now ask for more than before.",
        ),
        _ => return None,
    };
    changed.then_some(sentence)
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

    #[test]
    fn a_change_is_graded_field_by_field() {
        const BEFORE: &str = r#""client_name":"A","redirect_uris":["https://a.example.com/cb"],"scope":"read","contacts":["x"],
            "token_endpoint_auth_method":"private_key_jwt","jwks_uri":"https://a.example.com/jwks""#;
        let text =
            |members: &str| format!(r#"{{"client_id":"https://a.example.com/c",{members}}}"#);
        type Expected = &'static [(&'static str, Grade, Answer)];
        let table: &[(&str, &str, Expected)] = &[
            ("", "", &[]),
            (
                r#""contacts":["x"]"#,
                r#""contacts":["y"]"#,
                &[("contacts", Grade::Cosmetic, Answer::Log)],
            ),
            (
                r#""client_name":"A""#,
                r#""client_name":"B""#,
                &[("client_name", Grade::Notable, Answer::AskAgain)],
            ),
            (
                r#""https://a.example.com/cb"]"#,
                r#""https://a.example.com/cb","https://a.example.com/2"]"#,
                &[("redirect_uris", Grade::Notable, Answer::Log)],
            ),
            (
                r#""https://a.example.com/cb"]"#,
                r#""https://b.example.com/cb"]"#,
                &[("redirect_uris", Grade::Security, Answer::AskAgain)],
            ),
            (
                r#""scope":"read""#,
                r#""scope":"read write""#,
                &[("scope", Grade::Security, Answer::AskAgain)],
            ),
            (
                r#""scope":"read""#,
                r#""scope":"""#,
                &[("scope", Grade::Notable, Answer::Log)],
            ),
            (
                r#""private_key_jwt""#,
                r#""none""#,
                &[(
                    "token_endpoint_auth_method",
                    Grade::Security,
                    Answer::Revoke,
                )],
            ),
            (
                "/jwks",
                "/jwks2",
                &[("jwks_uri", Grade::Security, Answer::AskAgain)],
            ),
        ];
        for (from, to, expected) in table {
            let (before, after) = (BEFORE.to_owned(), BEFORE.replace(from, to));
            let changes = between(
                (text(&before).as_bytes(), &document(&before)),
                (text(&after).as_bytes(), &document(&after)),
            );
            let got: Vec<_> = changes
                .iter()
                .map(|change| (change.field.as_str(), change.grade, change.answer))
                .collect();
            assert_eq!(got, *expected, "{from} to {to}");
        }
    }
}
