//! JWT access tokens: RFC 9068 §2.

use serde::Serialize;

use super::{
    client_id::ClientId,
    id_token::{self, SigningAlg},
    issuer::IssuerUrl,
    json::Object,
    resource::Resources,
    scope::Scope,
};
use crate::{secret::random_id, time::UnixTime};

/// What access tokens are signed with, unless all their resources want another algorithm.
pub const ALG: SigningAlg = SigningAlg::Es256;

/// The header's `typ`, RFC 9068 §2.1.
pub const TYP: &str = "at+jwt";

/// The claims of an access token, RFC 9068 §2.2.
#[derive(Debug, Serialize)]
pub struct Claims {
    pub iss: String,
    pub sub: String,
    pub aud: Audience,
    pub client_id: String,
    pub iat: i64,
    pub exp: i64,
    pub jti: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub scope: String,
    /// When the person signed in, RFC 9068 §2.2.1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_time: Option<i64>,
    /// How, RFC 9068 §2.2.1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acr: Option<String>,
    /// Our own: the grant it came from, so that a revoked grant is known at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grant_id: Option<String>,
    /// The key it is bound to, RFC 9449 §6.1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cnf: Option<Confirmation>,
}

impl Claims {
    /// Those of a token that we signed; `None` where it is none of ours.
    pub fn read(claims: &Object) -> Option<Self> {
        let text = |name: &str| claims.string(name).ok().flatten().map(str::to_owned);
        let number = |name: &str| claims.integer(name).ok().flatten();
        let cnf = claims.object("cnf").ok()?;
        Some(Self {
            iss: text("iss")?,
            sub: text("sub")?,
            aud: Audience::read(claims)?,
            client_id: text("client_id")?,
            iat: number("iat")?,
            exp: number("exp")?,
            jti: text("jti")?,
            scope: text("scope").unwrap_or_default(),
            auth_time: number("auth_time"),
            acr: text("acr"),
            grant_id: text("grant_id"),
            cnf: cnf.map(Confirmation::read).transpose().ok()?,
        })
    }

    /// The thumbprint of the key it is bound to.
    pub fn jkt(&self) -> Option<&str> {
        self.cnf.as_ref().map(|cnf| cnf.jkt.as_str())
    }

    /// How it is to be presented, RFC 6749 §7.1.
    pub fn token_type(&self) -> &'static str {
        token_type(self.cnf.is_some())
    }
}

/// RFC 6750 §6.1.1, RFC 9449 §5.
pub const fn token_type(is_bound: bool) -> &'static str {
    match is_bound {
        true => "DPoP",
        false => "Bearer",
    }
}

/// RFC 7800 §3.1, RFC 9449 §6.1.
#[derive(Clone, Debug, Serialize)]
pub struct Confirmation {
    jkt: String,
}

impl Confirmation {
    /// A token that is bound in a way we do not know is worth nothing.
    fn read(cnf: &Object) -> Result<Self, ()> {
        let jkt = cnf.string("jkt").ok().flatten().ok_or(())?;
        Ok(Self {
            jkt: jkt.to_owned(),
        })
    }
}

/// RFC 7519 §4.1.3: one string, or an array when there are several.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Audience {
    fn read(claims: &Object) -> Option<Self> {
        match (claims.string("aud"), claims.strings("aud")) {
            (Ok(Some(one)), _) => Some(Self::One(one.to_owned())),
            (_, Ok(Some(many))) => Some(Self::Many(many.into_iter().map(str::to_owned).collect())),
            _ => None,
        }
    }

    /// Is this among it?
    pub fn names(&self, id: &str) -> bool {
        match self {
            Self::One(one) => one == id,
            Self::Many(many) => many.iter().any(|one| one == id),
        }
    }

    /// Is one of these among it?
    pub fn meets(&self, ids: &[String]) -> bool {
        match self {
            Self::One(one) => ids.contains(one),
            Self::Many(many) => many.iter().any(|one| ids.contains(one)),
        }
    }
}

/// What a token says, in named parts.
#[derive(Debug)]
pub struct Subject<'a> {
    pub subject: &'a str,
    pub client_id: &'a ClientId,
    pub grant_id: Option<&'a str>,
    pub scope: &'a Scope,
    pub resources: &'a Resources,
    pub auth_time: Option<UnixTime>,
    /// The thumbprint of the key it is bound to.
    pub jkt: Option<&'a str>,
}

/// The claims of a token issued `now` that expires at `expires_at`.
pub fn claims(
    issuer: &IssuerUrl,
    about: &Subject<'_>,
    now: UnixTime,
    expires_at: UnixTime,
) -> Claims {
    let mut resources: Vec<String> = about
        .resources
        .0
        .iter()
        .map(|r| r.as_str().to_owned())
        .collect();
    let aud = match resources.len() {
        0 => Audience::One(issuer.as_str().to_owned()),
        1 => Audience::One(resources.swap_remove(0)),
        _ => Audience::Many(resources),
    };
    Claims {
        iss: issuer.as_str().to_owned(),
        sub: about.subject.to_owned(),
        aud,
        client_id: about.client_id.as_str().to_owned(),
        iat: now.0,
        exp: expires_at.0,
        jti: random_id(),
        scope: about.scope.to_string(),
        auth_time: about.auth_time.map(|at| at.0),
        acr: about.auth_time.map(|_| id_token::ACR.to_owned()),
        grant_id: about.grant_id.map(str::to_owned),
        cnf: about.jkt.map(|jkt| Confirmation {
            jkt: jkt.to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::json::{self, Json};

    /// RFC 9068 §3, the decoded token: what it has, ours has, under the same names and of the same kinds.
    #[test]
    fn the_example_of_the_rfc_reads_as_ours_does() {
        const EXAMPLE: &str = r#"{
            "iss": "https://authorization-server.example.com/", "sub": "5ba552d67", "aud": "https://rs.example.com/",
            "exp": 1639528912, "iat": 1618354090, "jti": "dbe39bf3a3ba4238a513f51d6e1691c4", "client_id": "s6BhdRkqt3",
            "scope": "openid profile reademail"
        }"#;
        let Ok(Json::Object(members)) = json::parse(EXAMPLE.as_bytes()) else {
            panic!("the example is an object");
        };
        let read = Claims::read(&members).unwrap();
        let again = serde_json::to_value(&read).unwrap();
        assert_eq!(
            again,
            serde_json::from_str::<serde_json::Value>(EXAMPLE).unwrap()
        );
        assert!("at+JWT".eq_ignore_ascii_case(TYP));
        let issuer = "https://authorization-server.example.com".parse().unwrap();
        let about = Subject {
            subject: "5ba552d67",
            client_id: &"s6BhdRkqt3".parse().unwrap(),
            grant_id: None,
            scope: &"openid profile reademail".parse().unwrap(),
            resources: &"https://rs.example.com/".parse().unwrap(),
            auth_time: None,
            jkt: None,
        };
        let (now, until) = (UnixTime(1_618_354_090), UnixTime(1_639_528_912));
        let mut ours = serde_json::to_value(claims(&issuer, &about, now, until)).unwrap();
        ours["jti"] = again["jti"].clone();
        ours["iss"] = again["iss"].clone();
        assert_eq!(ours, again);
    }

    #[test]
    fn the_audience_is_the_resource_or_else_the_issuer() {
        let issuer = "https://id.example.com".parse().unwrap();
        let client_id = "https://client.example.com/c".parse().unwrap();
        let table = [
            ("", serde_json::json!("https://id.example.com")),
            (
                "https://a.example/",
                serde_json::json!("https://a.example/"),
            ),
            (
                "https://a.example/ https://b.example/x",
                serde_json::json!(["https://a.example/", "https://b.example/x"]),
            ),
        ];
        for (resources, aud) in table {
            let about = Subject {
                subject: "s",
                client_id: &client_id,
                grant_id: Some("g"),
                scope: &Scope::default(),
                resources: &resources.parse().unwrap(),
                auth_time: Some(UnixTime(5)),
                jkt: None,
            };
            let json =
                serde_json::to_value(claims(&issuer, &about, UnixTime(10), UnixTime(610))).unwrap();
            assert_eq!(json["aud"], aud);
            assert!(
                json.get("scope").is_none(),
                "an empty scope is left out: {json}"
            );
            assert_eq!((&json["iat"], &json["exp"]), (&10.into(), &610.into()));
        }
    }
}
