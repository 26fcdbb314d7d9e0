//! Client assertions: RFC 7523 §3 with the audience of RFC 10070, by which a client proves who it is.

use thiserror::Error;

use super::{
    json::{Json, Object},
    jws::{Jws, JwsError},
    key_set::{Key, KeySet},
};
use crate::time::UnixTime;

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
            until: self.expires_at + SKEW,
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
