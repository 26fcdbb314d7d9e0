//! Redeeming an authorization code: RFC 6749 §4.1.3, RFC 7636 §4.6.

use super::{client_id::ClientId, error::OAuthError, pkce, pkce::CodeChallenge};

/// What was bound to a code when it was issued.
#[derive(Debug)]
pub struct Binding {
    pub client_id: ClientId,
    pub redirect_uri: String,
    pub code_challenge: CodeChallenge,
}

/// What the token request presents with the code.
#[derive(Clone, Debug)]
pub struct Presented {
    pub client_id: ClientId,
    pub redirect_uri: Option<String>,
    pub code_verifier: Option<String>,
}

/// RFC 6749 §4.1.3: the same client, the same redirect URI, the verifier of the challenge.
///
/// # Errors
///
/// `invalid_grant`, by the first rule that fails.
pub fn check(binding: &Binding, presented: &Presented) -> Result<(), OAuthError> {
    if binding.client_id != presented.client_id {
        return Err(OAuthError::invalid_grant(
            "the code was issued to another client",
        ));
    }
    match &presented.redirect_uri {
        None => {
            return Err(OAuthError::invalid_grant(
                "redirect_uri is required, as in the authorization request",
            ));
        }
        Some(uri) if *uri != binding.redirect_uri => {
            return Err(OAuthError::invalid_grant(
                "redirect_uri differs from the authorization request",
            ));
        }
        Some(_) => {}
    }
    pkce::verify(&binding.code_challenge, presented.code_verifier.as_deref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_bound_to_client_redirect_and_verifier() {
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        let binding = Binding {
            client_id: "https://a.example.com/c".parse().unwrap(),
            redirect_uri: "http://127.0.0.1:9/cb".to_owned(),
            code_challenge: "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
                .parse()
                .unwrap(),
        };
        let table = [
            (
                "https://a.example.com/c",
                Some("http://127.0.0.1:9/cb"),
                Some(verifier),
                None,
            ),
            (
                "https://b.example.com/c",
                Some("http://127.0.0.1:9/cb"),
                Some(verifier),
                Some("another client"),
            ),
            (
                "https://a.example.com/c",
                None,
                Some(verifier),
                Some("redirect_uri is required"),
            ),
            (
                "https://a.example.com/c",
                Some("http://127.0.0.1:8/cb"),
                Some(verifier),
                Some("redirect_uri differs"),
            ),
            (
                "https://a.example.com/c",
                Some("http://127.0.0.1:9/cb"),
                None,
                Some("code_verifier is required"),
            ),
        ];
        for (client, redirect, verifier, expected) in table {
            let presented = Presented {
                client_id: client.parse().unwrap(),
                redirect_uri: redirect.map(str::to_owned),
                code_verifier: verifier.map(str::to_owned),
            };
            let got = check(&binding, &presented)
                .err()
                .map(|e| e.description.into_owned());
            match expected {
                None => assert_eq!(got, None),
                Some(part) => assert!(
                    got.as_ref().is_some_and(|text| text.contains(part)),
                    "{part}: {got:?}"
                ),
            }
        }
    }
}
