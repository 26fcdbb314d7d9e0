//! Claims about a person: OpenID Connect Core §5.1, §5.3.2 and §5.4.

use serde::Serialize;

use super::scope::{EMAIL, PROFILE, Scope};
use crate::time::UnixTime;

/// What we know of a person.
#[derive(Clone, Copy, Debug)]
pub struct Person<'a> {
    pub subject: &'a str,
    pub username: &'a str,
    pub name: Option<&'a str>,
    pub email: Option<&'a str>,
    pub email_verified: bool,
    pub updated_at: UnixTime,
}

/// What a client is told at the userinfo endpoint, §5.3.2.
#[derive(Debug, Serialize)]
pub struct Claims<'a> {
    sub: &'a str,
    #[serde(flatten)]
    person: PersonClaims<'a>,
}

/// What a client is told about a person beside who it is, here and in ID tokens: as much as its scope says, and nothing
/// that is not known.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct PersonClaims<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    preferred_username: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    updated_at: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email_verified: Option<bool>,
}

/// The names of all claims there can be, for the metadata.
pub const CLAIMS: [&str; 6] = [
    "sub",
    "name",
    "preferred_username",
    "updated_at",
    "email",
    "email_verified",
];

/// The answer of the userinfo endpoint.
pub fn claims<'a>(person: &Person<'a>, scope: &Scope) -> Claims<'a> {
    Claims {
        sub: person.subject,
        person: of_scope(person, scope),
    }
}

/// Does the scope ask for more than who the person is?
pub fn asks_for_more(scope: &Scope) -> bool {
    scope.contains(PROFILE) || scope.contains(EMAIL)
}

/// §5.4: the claims that a scope asks for.
pub fn of_scope<'a>(person: &Person<'a>, scope: &Scope) -> PersonClaims<'a> {
    let (profile, email) = (scope.contains(PROFILE), scope.contains(EMAIL));
    let email = person.email.filter(|_| email);
    PersonClaims {
        name: person.name.filter(|_| profile),
        preferred_username: profile.then_some(person.username),
        updated_at: profile.then_some(person.updated_at.0),
        email,
        email_verified: email.map(|_| person.email_verified),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_client_is_told_what_its_scope_says() {
        let ada = Person {
            subject: "s",
            username: "ada",
            name: Some("Ada Lovelace"),
            email: Some("ada@example.com"),
            email_verified: true,
            updated_at: UnixTime(7),
        };
        let bare = Person {
            name: None,
            email: None,
            ..ada
        };
        let table = [
            (ada, "openid", json!({ "sub": "s" })),
            (
                ada,
                "openid profile",
                json!({ "sub": "s", "name": "Ada Lovelace", "preferred_username": "ada", "updated_at": 7 }),
            ),
            (
                ada,
                "openid email",
                json!({ "sub": "s", "email": "ada@example.com", "email_verified": true }),
            ),
            (
                bare,
                "openid profile email",
                json!({ "sub": "s", "preferred_username": "ada", "updated_at": 7 }),
            ),
        ];
        for (person, scope, expected) in table {
            let told = claims(&person, &scope.parse().unwrap());
            assert_eq!(serde_json::to_value(told).unwrap(), expected, "{scope}");
        }
        let told = claims(&ada, &"openid profile email".parse().unwrap());
        let told = serde_json::to_value(told).unwrap();
        let names: Vec<_> = told.as_object().unwrap().keys().collect();
        assert_eq!(names.len(), CLAIMS.len());
        assert!(CLAIMS.iter().all(|claim| told.get(claim).is_some()));
    }
}
