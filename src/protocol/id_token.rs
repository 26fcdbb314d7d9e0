//! ID tokens: OpenID Connect Core §2, §3.1.3.6 and §12.2.

use aws_lc_rs::digest::{SHA256, SHA512, digest};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use super::{client_id::ClientId, issuer::IssuerUrl, userinfo::PersonClaims};
use crate::time::UnixTime;

/// The header's `typ`: an ID token is never taken for an access token.
pub const TYP: &str = "JWT";
/// Seconds.
pub const LIFETIME: i64 = 600;
/// The class of a sign-in with a password over TLS, an absolute URI as §2 wants it (RFC 6711, SAML authentication
/// context classes).
pub const ACR: &str = "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport";
/// RFC 8176 §2: a password.
const AMR: [&str; 1] = ["pwd"];

/// The algorithms that we sign with, RFC 7518 §3.1 and RFC 8037 §3.1.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, Hash)]
pub enum SigningAlg {
    #[serde(rename = "ES256")]
    Es256,
    /// For a client that does not ask for another one, OpenID Connect Dynamic Registration §2.
    #[default]
    #[serde(rename = "RS256")]
    Rs256,
    #[serde(rename = "EdDSA")]
    EdDsa,
}

impl SigningAlg {
    /// The one we prefer first.
    pub const ALL: [Self; 3] = [Self::Es256, Self::Rs256, Self::EdDsa];
    /// Their wire names.
    pub const NAMES: [&str; 3] = ["ES256", "RS256", "EdDSA"];

    /// The algorithm of a wire name.
    pub fn from_wire(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|alg| alg.as_str() == name)
    }

    /// The wire name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
            Self::EdDsa => "EdDSA",
        }
    }
}

/// §2. There is no `azp`: it is for a token whose audience is another than the one it is issued to.
#[derive(Debug, Serialize)]
pub struct Claims<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    exp: i64,
    iat: i64,
    auth_time: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce: Option<&'a str>,
    at_hash: String,
    acr: &'static str,
    amr: [&'static str; 1],
    /// OpenID Connect Front-Channel Logout §3.
    #[serde(skip_serializing_if = "Option::is_none")]
    sid: Option<&'a str>,
    #[serde(flatten)]
    person: PersonClaims<'a>,
}

/// What an ID token says, in named parts.
#[derive(Debug)]
pub struct About<'a> {
    pub issuer: &'a IssuerUrl,
    pub subject: &'a str,
    pub client_id: &'a ClientId,
    pub signed_in_at: UnixTime,
    /// What the authorization request had; a refreshed token has none (§12.2).
    pub nonce: Option<&'a str>,
    pub sid: Option<&'a str>,
    /// What the scopes say about the person, where the client is told here (§5.4).
    pub person: PersonClaims<'a>,
    /// The access token beside it.
    pub access_token: &'a str,
    pub alg: SigningAlg,
}

/// The claims of an ID token issued `now`.
pub fn claims<'a>(about: &About<'a>, now: UnixTime) -> Claims<'a> {
    Claims {
        iss: about.issuer.as_str(),
        sub: about.subject,
        aud: about.client_id.as_str(),
        exp: (now + LIFETIME).0,
        iat: now.0,
        auth_time: about.signed_in_at.0,
        nonce: about.nonce,
        at_hash: at_hash(about.alg, about.access_token),
        acr: ACR,
        amr: AMR,
        sid: about.sid,
        person: about.person,
    }
}

/// §3.1.3.6: the left half of the access token's hash, by the hash of the ID token's `alg`: for Ed25519 SHA-512, which
/// RFC 8032 §5.1 hashes with.
fn at_hash(alg: SigningAlg, access_token: &str) -> String {
    let hash = match alg {
        SigningAlg::Es256 | SigningAlg::Rs256 => &SHA256,
        SigningAlg::EdDsa => &SHA512,
    };
    let hash = digest(hash, access_token.as_bytes());
    let (left, _) = hash.as_ref().split_at(hash.as_ref().len() / 2);
    BASE64_URL_SAFE_NO_PAD.encode(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_hash_is_that_of_the_specification() {
        let table = [
            // OpenID Connect Core §A.3.
            (
                SigningAlg::Rs256,
                "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y",
                "77QmUPtjPfzWtF2AnpK9RQ",
            ),
            (
                SigningAlg::Es256,
                "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y",
                "77QmUPtjPfzWtF2AnpK9RQ",
            ),
        ];
        for (alg, token, expected) in table {
            assert_eq!(at_hash(alg, token), expected, "{}", alg.as_str());
        }
        // 32 of 64 bytes.
        assert_eq!(at_hash(SigningAlg::EdDsa, "x").len(), 43);
    }

    #[test]
    fn an_id_token_says_what_core_asks_for_and_nothing_that_is_not_there() {
        let issuer = "https://id.example.com".parse().unwrap();
        let client_id = "https://client.example.com/c".parse().unwrap();
        let about = About {
            issuer: &issuer,
            subject: "s",
            client_id: &client_id,
            signed_in_at: UnixTime(5),
            nonce: Some("n-0S6_WzA2Mj"),
            sid: None,
            person: PersonClaims::default(),
            access_token: "x",
            alg: SigningAlg::Es256,
        };
        let full = serde_json::to_value(claims(&about, UnixTime(10))).unwrap();
        let expected = serde_json::json!({
            "iss": "https://id.example.com", "sub": "s", "aud": "https://client.example.com/c",
            "exp": 610, "iat": 10, "auth_time": 5, "nonce": "n-0S6_WzA2Mj", "at_hash": at_hash(SigningAlg::Es256, "x"),
            "acr": ACR, "amr": ["pwd"],
        });
        assert_eq!(full, expected);
        for (alg, name) in SigningAlg::ALL.into_iter().zip(SigningAlg::NAMES) {
            assert_eq!(alg.as_str(), name);
            assert_eq!(SigningAlg::from_wire(name), Some(alg));
        }
    }
}
