//! The introspection response: RFC 7662 §2.2.

use serde::Serialize;

use super::access_token::{Audience, Claims, Confirmation};

/// What a protected resource is told of a token. A token that it may not know of is like one that does not exist: all of
/// them are [`Response::INACTIVE`].
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Response<'a> {
    Active(Box<Active<'a>>),
    Inactive(Inactive),
}

/// `{"active":false}` and nothing else.
#[derive(Debug, Serialize)]
pub struct Inactive {
    active: bool,
}

/// A token that is good now.
#[derive(Debug, Serialize)]
pub struct Active<'a> {
    active: bool,
    #[serde(skip_serializing_if = "str::is_empty")]
    scope: &'a str,
    client_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<&'a str>,
    token_type: &'static str,
    exp: i64,
    iat: i64,
    sub: &'a str,
    aud: &'a Audience,
    iss: &'a str,
    jti: &'a str,
    /// RFC 9449 §6.2.
    #[serde(skip_serializing_if = "Option::is_none")]
    cnf: Option<&'a Confirmation>,
    /// RFC 9470 §6.2.
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_time: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    acr: Option<&'a str>,
}

impl<'a> Response<'a> {
    /// Of every token that is no use to the caller.
    pub const INACTIVE: Self = Self::Inactive(Inactive { active: false });

    /// Of a token that is good now, and is the caller's to know of.
    pub fn active(claims: &'a Claims, username: Option<&'a str>) -> Self {
        Self::Active(Box::new(Active {
            active: true,
            scope: &claims.scope,
            client_id: &claims.client_id,
            username,
            token_type: claims.token_type(),
            exp: claims.exp,
            iat: claims.iat,
            sub: &claims.sub,
            aud: &claims.aud,
            iss: &claims.iss,
            jti: &claims.jti,
            cnf: claims.cnf.as_ref(),
            auth_time: claims.auth_time,
            acr: claims.acr.as_deref(),
        }))
    }
}

/// May this caller know of the token? One of the resources it speaks for is meant, or the token is its own.
pub fn may_know(claims: &Claims, caller: &str, resources: &[String]) -> bool {
    claims.client_id == caller || claims.aud.meets(resources)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::json::{self, Json};

    fn read(text: &str) -> Option<Claims> {
        match json::parse(text.as_bytes()).unwrap() {
            Json::Object(object) => Claims::read(&object),
            _ => None,
        }
    }

    const ONE: &str = r#"{"iss":"https://id.example.com","sub":"s","aud":"https://rs.example.com/","client_id":"c","iat":1,"exp":2,"jti":"j"}"#;

    #[test]
    fn an_inactive_token_is_told_in_one_way() {
        assert_eq!(
            serde_json::to_string(&Response::INACTIVE).unwrap(),
            r#"{"active":false}"#
        );
    }

    #[test]
    fn an_active_token_has_no_member_that_is_null() {
        let claims = read(ONE).unwrap();
        let told = serde_json::to_value(Response::active(&claims, None)).unwrap();
        let expected = serde_json::json!({
            "active": true, "client_id": "c", "token_type": "Bearer", "exp": 2, "iat": 1, "sub": "s",
            "aud": "https://rs.example.com/", "iss": "https://id.example.com", "jti": "j",
        });
        assert_eq!(told, expected);
        let bound = ONE.replace(
            r#""jti":"j""#,
            r#""jti":"j","cnf":{"jkt":"k"},"scope":"a b","auth_time":1,"acr":"x","grant_id":"g""#,
        );
        let claims = read(&bound).unwrap();
        let told = serde_json::to_value(Response::active(&claims, Some("ada"))).unwrap();
        assert_eq!(
            (
                &told["token_type"],
                &told["cnf"]["jkt"],
                &told["username"],
                &told["scope"]
            ),
            (&"DPoP".into(), &"k".into(), &"ada".into(), &"a b".into())
        );
        assert!(told.get("grant_id").is_none(), "ours alone: {told}");
        let strange = ONE.replace(r#""jti":"j""#, r#""jti":"j","cnf":{"x5t#S256":"k"}"#);
        assert!(read(&strange).is_none(), "bound in an unknown way");
    }

    #[test]
    fn a_caller_knows_of_tokens_for_its_resources_and_of_its_own() {
        let mine = ["https://rs.example.com/".to_owned()];
        let other = ["https://rs.example.com".to_owned()];
        let two = ONE.replace(
            r#""https://rs.example.com/""#,
            r#"["https://x.example.com/","https://rs.example.com/"]"#,
        );
        let table: [(&str, &str, &[String], bool); 5] = [
            (ONE, "rs", &mine, true),
            (&two, "rs", &mine, true),
            (ONE, "rs", &other, false),
            (ONE, "c", &[], true),
            (ONE, "rs", &[], false),
        ];
        for (claims, caller, resources, expected) in table {
            let claims = read(claims).unwrap();
            assert_eq!(
                may_know(&claims, caller, resources),
                expected,
                "{caller} {resources:?}"
            );
        }
    }
}
