//! Proof Key for Code Exchange: RFC 7636, S256 only (OAuth 2.1 §4.1.1).

use std::str::FromStr;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use super::{error::OAuthError, params::Params};
use crate::secret::{constant_time_eq, sha256};

/// An S256 code challenge: 43 characters of base64url.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeChallenge(String);

/// Must a client's requests have a challenge? Only clients that authenticate may do without.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Pkce {
    #[default]
    Required,
    /// Not where the request has a `nonce`, which the client looks for in the ID token (OAuth 2.1 §7.5.1).
    Nonce,
    /// Never: for programs that know neither.
    Optional,
}

impl Pkce {
    /// Its name in configurations.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Required => "required",
            Self::Nonce => "nonce",
            Self::Optional => "optional",
        }
    }
}

impl CodeChallenge {
    /// Reads the challenge of an authorization request, RFC 7636 §4.3; `None` where there is none and need be none.
    ///
    /// # Errors
    ///
    /// `invalid_request` when it is missing, malformed, or of another method than S256.
    pub fn from_params(params: &Params, pkce: Pkce) -> Result<Option<Self>, OAuthError> {
        let Some(challenge) = params.optional("code_challenge") else {
            if params.optional("code_challenge_method").is_some() {
                return Err(OAuthError::invalid_request("code_challenge is missing"));
            }
            return match pkce {
                Pkce::Optional => Ok(None),
                Pkce::Nonce if params.optional("nonce").is_some() => Ok(None),
                Pkce::Nonce => Err(OAuthError::invalid_request(
                    "code_challenge (PKCE with S256, RFC 7636) or nonce is required",
                )),
                Pkce::Required => Err(OAuthError::invalid_request(
                    "code_challenge is required: this server wants PKCE with S256 (RFC 7636)",
                )),
            };
        };
        if params.optional("code_challenge_method") != Some("S256") {
            return Err(OAuthError::invalid_request(
                "code_challenge_method must be S256",
            ));
        }
        challenge.parse().map(Some)
    }

    /// The challenge's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for CodeChallenge {
    type Err = OAuthError;

    fn from_str(text: &str) -> Result<Self, OAuthError> {
        let decoded = BASE64_URL_SAFE_NO_PAD.decode(text);
        if decoded.is_ok_and(|bytes| bytes.len() == 32) {
            Ok(Self(text.to_owned()))
        } else {
            Err(OAuthError::invalid_request(
                "code_challenge must be 43 characters of base64url without padding",
            ))
        }
    }
}

/// RFC 7636 §4.6: does the verifier match the challenge?
///
/// # Errors
///
/// `invalid_grant` when it is missing, malformed, or another one's.
pub fn verify(challenge: &CodeChallenge, verifier: Option<&str>) -> Result<(), OAuthError> {
    let verifier =
        verifier.ok_or_else(|| OAuthError::invalid_grant("code_verifier is required"))?;
    if !is_well_formed(verifier) {
        return Err(OAuthError::invalid_grant("code_verifier is malformed"));
    }
    let expected = BASE64_URL_SAFE_NO_PAD.encode(sha256(verifier.as_bytes()));
    if constant_time_eq(expected.as_bytes(), challenge.0.as_bytes()) {
        Ok(())
    } else {
        Err(OAuthError::invalid_grant("code_verifier does not match"))
    }
}

/// RFC 7636 §4.1: 43 to 128 unreserved characters.
fn is_well_formed(verifier: &str) -> bool {
    (43..=128).contains(&verifier.len())
        && verifier
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~'))
}

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 7636 appendix B.
    const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

    #[test]
    fn verify_follows_rfc_7636() {
        let long = "a".repeat(129);
        let table: &[(&str, Option<&str>, Result<(), &str>)] = &[
            ("the RFC's own pair", Some(VERIFIER), Ok(())),
            ("nothing sent", None, Err("code_verifier is required")),
            (
                "42 characters",
                Some(&VERIFIER[..42]),
                Err("code_verifier is malformed"),
            ),
            (
                "129 characters",
                Some(&long),
                Err("code_verifier is malformed"),
            ),
            (
                "an illegal character",
                Some("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjX "),
                Err("code_verifier is malformed"),
            ),
            (
                "the challenge itself",
                Some(CHALLENGE),
                Err("code_verifier does not match"),
            ),
            (
                "someone else's",
                Some("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXK"),
                Err("code_verifier does not match"),
            ),
        ];
        for (case, verifier, expected) in table {
            let got = verify(&CHALLENGE.parse().unwrap(), *verifier);
            assert_eq!(
                got.map_err(|e| e.description.to_string()),
                expected.map_err(str::to_owned),
                "{case}"
            );
        }
    }

    #[test]
    fn only_an_s256_challenge_of_the_right_form_is_taken() {
        let table = [
            (
                format!("code_challenge={CHALLENGE}&code_challenge_method=S256"),
                true,
            ),
            (String::new(), false),
            (format!("code_challenge={CHALLENGE}"), false),
            (
                format!("code_challenge={CHALLENGE}&code_challenge_method=plain"),
                false,
            ),
            (
                format!("code_challenge={CHALLENGE}&code_challenge_method=s256"),
                false,
            ),
            (
                format!("code_challenge={CHALLENGE}&code_challenge_method=S512"),
                false,
            ),
            (
                format!(
                    "code_challenge={}&code_challenge_method=S256",
                    &CHALLENGE[..42]
                ),
                false,
            ),
            (
                format!("code_challenge={CHALLENGE}A&code_challenge_method=S256"),
                false,
            ),
            (
                format!("code_challenge={CHALLENGE}%3D&code_challenge_method=S256"),
                false,
            ),
            (
                format!(
                    "code_challenge={}&code_challenge_method=S256",
                    CHALLENGE.replace('-', "%2B")
                ),
                false,
            ),
        ];
        for (query, accepted) in table {
            let params = Params::parse(query.as_bytes()).unwrap();
            let read = CodeChallenge::from_params(&params, Pkce::Required);
            assert_eq!(read.is_ok_and(|it| it.is_some()), accepted, "{query}");
        }
    }

    #[test]
    fn f_19_a_challenge_may_be_missing_only_where_the_registration_says_so() {
        use Pkce::{Nonce, Optional, Required};
        let with = format!("code_challenge={CHALLENGE}&code_challenge_method=S256");
        // what is allowed, query → is there a challenge?
        let table = [
            (Required, "nonce=n", Err(())),
            (Nonce, "nonce=n", Ok(false)),
            (Nonce, "", Err(())),
            (Nonce, "nonce=", Err(())),
            (Optional, "", Ok(false)),
            (Optional, "code_challenge_method=S256", Err(())),
            (
                Optional,
                "code_challenge=short&code_challenge_method=S256",
                Err(()),
            ),
            (Optional, with.as_str(), Ok(true)),
            (Nonce, with.as_str(), Ok(true)),
        ];
        for (pkce, query, expected) in table {
            let params = Params::parse(query.as_bytes()).unwrap();
            let read = CodeChallenge::from_params(&params, pkce);
            let got = read.map(|challenge| challenge.is_some()).map_err(drop);
            assert_eq!(got, expected, "{pkce:?} {query}");
        }
    }
}
