//! Proof Key for Code Exchange: RFC 7636, S256 only (OAuth 2.1 §4.1.1).

use std::str::FromStr;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};

use super::{error::OAuthError, params::Params};
use crate::secret::{constant_time_eq, sha256};

/// An S256 code challenge: 43 characters of base64url.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeChallenge(String);

impl CodeChallenge {
    /// Reads the challenge of an authorization request, RFC 7636 §4.3.
    ///
    /// # Errors
    ///
    /// `invalid_request` when it is missing, malformed, or of another method than S256.
    pub fn from_params(params: &Params) -> Result<Self, OAuthError> {
        let challenge = params.optional("code_challenge").ok_or_else(|| {
            OAuthError::invalid_request(
                "code_challenge is required: this server wants PKCE with S256 (RFC 7636)",
            )
        })?;
        if params.optional("code_challenge_method") != Some("S256") {
            return Err(OAuthError::invalid_request(
                "code_challenge_method must be S256",
            ));
        }
        challenge.parse()
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
            assert_eq!(
                CodeChallenge::from_params(&params).is_ok(),
                accepted,
                "{query}"
            );
        }
    }
}
