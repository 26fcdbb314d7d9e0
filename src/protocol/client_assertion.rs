//! Client assertions: RFC 7523 §3 with the audience of RFC 10070, by which a client proves who it is.

use thiserror::Error;

use super::{
    json::{Json, Object},
    jws::{Jws, JwsError},
    key_set::{Alg, Key, KeySet},
};
use crate::time::{CLOCKS_DIFFER, UnixTime};

/// Seconds by which two clocks may differ.
const SKEW: i64 = 15;
/// Longest time until an assertion ends, and since it was made, in seconds.
const LIFETIME: i64 = 300;
/// The same before RFC 10070.
const LEGACY_LIFETIME: i64 = 3_600;
/// Longest `jti`, in bytes.
const MAX_JTI: usize = 128;

/// An assertion that says what one has to say. Nothing of it is proven before [`ClientAssertion::verify`].
#[derive(Debug)]
pub struct ClientAssertion<'a> {
    jws: Jws<'a>,
    issuer: String,
    subject: String,
    jti: String,
    expires_at: UnixTime,
    not_before: Option<UnixTime>,
    issued_at: Option<UnixTime>,
}

/// Whom an assertion has to be for.
#[derive(Clone, Copy, Debug)]
pub struct Audience<'a> {
    /// RFC 10070: the issuer identifier, and nothing beside it.
    pub issuer: &'a str,
    /// For a client that is allowed to be behind: the URL that it called, too, and a lifetime up to an hour.
    pub legacy: Option<&'a str>,
}

/// What of an assertion serves once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jti {
    pub jti: String,
    /// Until when it has to be remembered.
    pub until: UnixTime,
}

/// What a set of keys makes of an assertion.
#[derive(Debug, PartialEq, Eq)]
pub enum Verified<'k> {
    /// This key signed it.
    Yes(&'k Key),
    /// None of them, but a newer set might have the key.
    NoSuchKey,
    /// The key that it names did not.
    No,
}

impl<'a> ClientAssertion<'a> {
    /// Reads an assertion, and asks of it what can be asked without knowing its client.
    ///
    /// # Errors
    ///
    /// The rule that refuses it.
    pub fn parse(text: &'a str) -> Result<Self, AssertionError> {
        let jws = Jws::parse(text)?;
        match jws.header().typ.as_deref() {
            None | Some("jwt" | "client-authentication+jwt") => {}
            Some(_) => return Err(AssertionError::Typ),
        }
        let claims = jws.claims();
        let time = |claim| jws.time(claim).map_err(|_| AssertionError::Time(claim));
        let jti = required(claims, "jti")?;
        if jti.len() > MAX_JTI || jti.contains(char::is_control) {
            return Err(AssertionError::Jti);
        }
        Ok(Self {
            issuer: required(claims, "iss")?,
            subject: required(claims, "sub")?,
            jti,
            expires_at: time("exp")?.ok_or(AssertionError::Missing("exp"))?,
            not_before: time("nbf")?,
            issued_at: time("iat")?,
            jws,
        })
    }

    /// Who it says it is about: a stranger's text, and not proven.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// What it says to be signed with.
    pub fn alg(&self) -> Alg {
        self.jws.header().alg
    }

    /// When its client says to have made it.
    pub fn issued_at(&self) -> Option<UnixTime> {
        self.issued_at
    }

    /// RFC 7523 §3: everything but the signature.
    ///
    /// # Errors
    ///
    /// The rule that refuses it.
    pub fn check(
        &self,
        client_id: &str,
        audience: &Audience<'_>,
        now: UnixTime,
    ) -> Result<Jti, AssertionError> {
        if self.issuer != client_id || self.subject != client_id {
            return Err(AssertionError::Issuer);
        }
        if !audience.accepts(self.jws.claims()) {
            return Err(AssertionError::Audience);
        }
        let longest = match audience.legacy {
            Some(_) => LEGACY_LIFETIME,
            None => LIFETIME,
        };
        if self.expires_at <= now {
            return Err(AssertionError::Expired);
        }
        if self.expires_at - now > longest {
            return Err(AssertionError::TooLong(longest));
        }
        let ahead = |time: &UnixTime| *time - now > SKEW;
        if self.not_before.as_ref().is_some_and(ahead) || self.issued_at.as_ref().is_some_and(ahead)
        {
            return Err(AssertionError::NotYet);
        }
        if self.issued_at.is_some_and(|at| now - at > longest + SKEW) {
            return Err(AssertionError::TooOld(longest));
        }
        Ok(Jti {
            jti: self.jti.clone(),
            until: self.expires_at + CLOCKS_DIFFER,
        })
    }

    /// Which of these keys signed it?
    pub fn verify<'k>(&self, keys: &'k KeySet) -> Verified<'k> {
        let header = self.jws.header();
        let candidates = keys.candidates(header.kid.as_deref(), header.alg);
        match candidates.iter().find(|key| self.jws.verify(key)) {
            Some(key) => Verified::Yes(key),
            // Many clients name no key (RFC 7515 §4.1.4): a new one is not among those at hand.
            None if candidates.is_empty() || header.kid.is_none() => Verified::NoSuchKey,
            None => Verified::No,
        }
    }
}

impl Audience<'_> {
    /// RFC 10070: one string. An array of one is the same to RFC 7519, and the same to a client that is behind.
    fn accepts(&self, claims: &Object) -> bool {
        let is_ours = |text: &str| text == self.issuer || Some(text) == self.legacy;
        match claims.get("aud") {
            Some(Json::String(text)) => is_ours(text),
            Some(Json::Array(list)) if self.legacy.is_some() => {
                matches!(list.as_slice(), [Json::String(text)] if is_ours(text))
            }
            _ => false,
        }
    }
}

fn required(claims: &Object, claim: &'static str) -> Result<String, AssertionError> {
    match claims.string(claim) {
        Ok(Some(text)) if !text.is_empty() => Ok(text.to_owned()),
        Ok(Some(_)) => Err(AssertionError::Missing(claim)),
        Ok(None) => Err(AssertionError::Missing(claim)),
        Err(_) => Err(AssertionError::Text(claim)),
    }
}

/// Why an assertion is refused. The sentences are for the log and never repeat it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AssertionError {
    #[error(transparent)]
    Jws(#[from] JwsError),
    #[error(
        "typ is that of another kind of token; client-authentication+jwt, JWT or nothing is expected"
    )]
    Typ,
    #[error("the claim {0} is missing or empty")]
    Missing(&'static str),
    #[error("the claim {0} is not a string")]
    Text(&'static str),
    #[error("the claim {0} is not a whole number of seconds since 1970")]
    Time(&'static str),
    #[error("jti is longer than 128 bytes or has control characters")]
    Jti,
    #[error("iss and sub are not both the client_id")]
    Issuer,
    #[error("aud is not this server's issuer identifier as one string (RFC 10070)")]
    Audience,
    #[error("exp is over")]
    Expired,
    #[error("exp is more than {0} seconds ahead")]
    TooLong(i64),
    #[error("nbf or iat is more than 15 seconds ahead: the client's clock is fast")]
    NotYet,
    #[error("iat is more than {0} seconds ago")]
    TooOld(i64),
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
    use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
    use serde_json::{Value, json};

    use super::*;

    const CLIENT: &str = "https://client.example.com/c";
    const NOW: UnixTime = UnixTime(1_800_000_000);
    const STRICT: Audience<'_> = Audience {
        issuer: "https://id.example.com",
        legacy: None,
    };
    const LEGACY: Audience<'_> = Audience {
        issuer: "https://id.example.com",
        legacy: Some("https://id.example.com/token"),
    };

    struct Signer(Ed25519KeyPair);

    impl Signer {
        fn new() -> Self {
            Self(Ed25519KeyPair::generate().unwrap())
        }

        fn sign(&self, header: &Value, claims: &Value) -> String {
            let encode = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
            let signed = format!("{}.{}", encode(header), encode(claims));
            let signature = BASE64_URL_SAFE_NO_PAD.encode(self.0.sign(signed.as_bytes()));
            format!("{signed}.{signature}")
        }

        fn jwk(&self, kid: Option<&str>) -> Value {
            let x = BASE64_URL_SAFE_NO_PAD.encode(self.0.public_key());
            let mut jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": x});
            if let Some(kid) = kid {
                jwk["kid"] = json!(kid);
            }
            jwk
        }
    }

    fn set(keys: &[Value]) -> KeySet {
        KeySet::parse(json!({ "keys": keys }).to_string().as_bytes()).unwrap()
    }

    fn claims(changes: Value) -> Value {
        let mut claims = json!({
            "iss": CLIENT, "sub": CLIENT, "aud": STRICT.issuer, "jti": "1", "iat": NOW.0, "exp": NOW.0 + 60,
        });
        for (name, value) in changes.as_object().unwrap() {
            match value {
                Value::String(text) if text == "absent" => {
                    _ = claims.as_object_mut().unwrap().remove(name)
                }
                value => claims[name] = value.clone(),
            }
        }
        claims
    }

    fn check(
        header: Value,
        changes: Value,
        audience: &Audience<'_>,
    ) -> Result<Jti, AssertionError> {
        let text = Signer::new().sign(&header, &claims(changes));
        ClientAssertion::parse(&text)?.check(CLIENT, audience, NOW)
    }

    #[test]
    fn an_assertion_says_who_for_whom_and_until_when() {
        use AssertionError as E;
        let table = [
            ("J-01", json!({}), Ok(NOW.0 + 120)),
            (
                "J-12 iss",
                json!({"iss": "https://other.example.com/c"}),
                Err(E::Issuer),
            ),
            (
                "J-12 sub",
                json!({"sub": "https://other.example.com/c"}),
                Err(E::Issuer),
            ),
            (
                "J-12 case",
                json!({"iss": "https://CLIENT.example.com/c"}),
                Err(E::Issuer),
            ),
            ("J-12 array", json!({"sub": [CLIENT]}), Err(E::Text("sub"))),
            ("J-12 number", json!({"iss": 1}), Err(E::Text("iss"))),
            ("J-12 empty", json!({"sub": ""}), Err(E::Missing("sub"))),
            (
                "J-12 absent",
                json!({"iss": "absent"}),
                Err(E::Missing("iss")),
            ),
            (
                "J-13 endpoint",
                json!({"aud": "https://id.example.com/token"}),
                Err(E::Audience),
            ),
            (
                "J-13 slash",
                json!({"aud": "https://id.example.com/"}),
                Err(E::Audience),
            ),
            (
                "J-13 array",
                json!({"aud": ["https://id.example.com"]}),
                Err(E::Audience),
            ),
            (
                "J-13 two",
                json!({"aud": ["https://id.example.com", "https://evil.example.net"]}),
                Err(E::Audience),
            ),
            ("J-13 number", json!({"aud": 1}), Err(E::Audience)),
            ("J-13 empty", json!({"aud": ""}), Err(E::Audience)),
            ("J-13 absent", json!({"aud": "absent"}), Err(E::Audience)),
            (
                "J-14 absent",
                json!({"exp": "absent"}),
                Err(E::Missing("exp")),
            ),
            (
                "J-14 text",
                json!({"exp": "1800000060"}),
                Err(E::Time("exp")),
            ),
            (
                "J-14 float",
                json!({"exp": 1_800_000_060.5}),
                Err(E::Time("exp")),
            ),
            ("J-14 -1", json!({"exp": -1}), Err(E::Time("exp"))),
            ("J-14 0", json!({"exp": 0}), Err(E::Expired)),
            ("J-14 now", json!({"exp": NOW.0}), Err(E::Expired)),
            ("J-14 now + 1", json!({"exp": NOW.0 + 1}), Ok(NOW.0 + 61)),
            ("J-14 300", json!({"exp": NOW.0 + 300}), Ok(NOW.0 + 360)),
            (
                "J-14 301",
                json!({"exp": NOW.0 + 301}),
                Err(E::TooLong(300)),
            ),
            (
                "J-14 10^12",
                json!({"exp": 1_000_000_000_000_i64}),
                Err(E::Time("exp")),
            ),
            ("J-14 2^64", json!({"exp": u64::MAX}), Err(E::Time("exp"))),
            ("J-15 text", json!({"nbf": "1"}), Err(E::Time("nbf"))),
            ("J-15 text", json!({"iat": "1"}), Err(E::Time("iat"))),
            (
                "J-15 +8",
                json!({"iat": NOW.0 + 8, "nbf": NOW.0 + 8}),
                Ok(NOW.0 + 120),
            ),
            ("J-15 +61", json!({"iat": NOW.0 + 61}), Err(E::NotYet)),
            ("J-15 +61", json!({"nbf": NOW.0 + 61}), Err(E::NotYet)),
            (
                "J-15 -1 d",
                json!({"iat": NOW.0 - 86_400}),
                Err(E::TooOld(300)),
            ),
            ("J-15 absent", json!({"iat": "absent"}), Ok(NOW.0 + 120)),
            (
                "J-16 absent",
                json!({"jti": "absent"}),
                Err(E::Missing("jti")),
            ),
            ("J-16 empty", json!({"jti": ""}), Err(E::Missing("jti"))),
            ("J-16 129", json!({"jti": "j".repeat(129)}), Err(E::Jti)),
            ("J-16 128", json!({"jti": "j".repeat(128)}), Ok(NOW.0 + 120)),
            ("J-16 number", json!({"jti": 1}), Err(E::Text("jti"))),
        ];
        for (case, changes, expected) in table {
            let got = check(json!({"alg": "EdDSA"}), changes.clone(), &STRICT);
            assert_eq!(got.map(|once| once.until.0), expected, "{case}: {changes}");
        }
    }

    /// RFC 7523 §4: an assertion about a person, as a grant. As authentication of a client it lacks what we ask for.
    #[test]
    fn the_example_of_rfc_7523_proves_no_client() {
        let example = json!({
            "iss": "https://jwt-idp.example.com", "sub": "mailto:mike@example.com", "aud": "https://jwt-rp.example.net",
            "nbf": 1_300_815_780, "exp": 1_300_819_380, "http://claims.example.com/member": true,
        });
        let audience = Audience {
            issuer: "https://jwt-rp.example.net",
            legacy: None,
        };
        let now = UnixTime(1_300_819_380 - 60);
        let judge = |more: Value| {
            let mut claims = example.clone();
            for (name, value) in more.as_object().unwrap() {
                claims[name] = value.clone();
            }
            let text = Signer::new().sign(&json!({"alg": "ES256", "kid": "16"}), &claims);
            let read = ClientAssertion::parse(&text)?;
            read.check("https://jwt-idp.example.com", &audience, now)
                .map(drop)
        };
        assert_eq!(judge(json!({})), Err(AssertionError::Missing("jti")));
        assert_eq!(judge(json!({"jti": "1"})), Err(AssertionError::Issuer));
        let own = json!({"jti": "1", "sub": "https://jwt-idp.example.com"});
        assert_eq!(judge(own), Ok(()));
    }

    #[test]
    fn only_who_is_allowed_to_is_behind() {
        let table = [
            (json!("https://id.example.com/token"), 3_600, true),
            (json!(["https://id.example.com/token"]), 60, true),
            (json!("https://id.example.com"), 60, true),
            (json!("https://id.example.com/token"), 3_601, false),
            (
                json!(["https://id.example.com/token", "https://evil.example.net"]),
                60,
                false,
            ),
            (json!("https://id.example.com/par"), 60, false),
        ];
        for (aud, exp, accepted) in table {
            let changes = json!({"aud": aud, "exp": NOW.0 + exp});
            let got = check(json!({"alg": "EdDSA"}), changes.clone(), &LEGACY);
            assert_eq!(got.is_ok(), accepted, "J-13: {changes}");
        }
    }

    #[test]
    fn a_token_of_another_kind_is_no_assertion() {
        for (typ, accepted) in [
            ("JWT", true),
            ("client-authentication+jwt", true),
            ("application/client-authentication+jwt", true),
            ("dpop+jwt", false),
            ("at+jwt", false),
            ("logout+jwt", false),
            ("oauth-authz-req+jwt", false),
            ("secevent+jwt", false),
            ("oauth-id-jag+jwt", false),
        ] {
            let got = check(json!({"alg": "EdDSA", "typ": typ}), json!({}), &STRICT);
            assert_eq!(got.is_ok(), accepted, "J-09: {typ}");
        }
    }

    #[test]
    fn the_right_key_is_found_or_asked_for() {
        let (a, b) = (Signer::new(), Signer::new());
        let signed = |header: Value| a.sign(&header, &claims(json!({})));
        let (named, unnamed) = (json!({"alg": "EdDSA", "kid": "1"}), json!({"alg": "EdDSA"}));
        let only_for_rsa = json!({"kty": "RSA", "e": "AQAB", "kid": "1",
            "n": "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"});
        let table = [
            ("named, there", &named, vec![a.jwk(Some("1"))], "yes"),
            (
                "unnamed, there",
                &unnamed,
                vec![b.jwk(Some("2")), a.jwk(Some("1"))],
                "yes",
            ),
            (
                "unnamed, five",
                &unnamed,
                (0..5)
                    .map(|_| Signer::new().jwk(None))
                    .chain([a.jwk(None)])
                    .collect(),
                "newer",
            ),
            ("K-27 unknown", &named, vec![b.jwk(Some("2"))], "newer"),
            ("J-19 another type", &named, vec![only_for_rsa], "newer"),
            ("K-17 another's", &named, vec![b.jwk(Some("1"))], "no"),
            ("unnamed, another's", &unnamed, vec![b.jwk(None)], "newer"),
            ("none at all", &unnamed, vec![], "newer"),
        ];
        for (case, header, keys, expected) in table {
            let text = signed(header.clone());
            let keys = set(&keys);
            let got = match ClientAssertion::parse(&text).unwrap().verify(&keys) {
                Verified::Yes(key) => {
                    assert_eq!(key.kid.as_deref(), Some("1"));
                    "yes"
                }
                Verified::NoSuchKey => "newer",
                Verified::No => "no",
            };
            assert_eq!(got, expected, "{case}");
        }
    }
}
