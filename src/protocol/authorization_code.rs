//! Redeeming an authorization code: RFC 6749 §4.1.3, RFC 7636 §4.6.

use super::{
    client_id::ClientId,
    client_metadata::AuthMethod,
    error::{ErrorCode, OAuthError},
    pkce,
    pkce::CodeChallenge,
};
use crate::time::UnixTime;

/// What was bound to a code when it was issued.
#[derive(Debug)]
pub struct Binding {
    pub client_id: ClientId,
    pub redirect_uri: String,
    /// `None`: its client was allowed to come without.
    pub code_challenge: Option<CodeChallenge>,
    /// How its client may prove itself.
    pub auth_methods: Vec<AuthMethod>,
    /// The key that the request named, RFC 9449 §10.
    pub jkt: Option<String>,
    /// Are tokens to be bound to a key?
    pub needs_dpop: bool,
}

/// What the token request presents with the code.
#[derive(Clone, Debug)]
pub struct Presented {
    pub client_id: ClientId,
    pub redirect_uri: Option<String>,
    pub code_verifier: Option<String>,
    /// How the client proved itself.
    pub method: AuthMethod,
    /// The key of its proof of possession.
    pub jkt: Option<String>,
}

/// RFC 6749 §4.1.3: the same client, proven as it may, the same redirect URI if it names one, the verifier of the
/// challenge, the same key.
///
/// # Errors
///
/// `invalid_grant`, by the first rule that fails; `invalid_client` for one that has to prove more;
/// `invalid_dpop_proof` where there is none.
pub fn check(binding: &Binding, presented: &Presented) -> Result<(), OAuthError> {
    if binding.client_id != presented.client_id {
        return Err(OAuthError::invalid_grant(
            "the code was issued to another client",
        ));
    }
    if !binding.auth_methods.contains(&presented.method) {
        let cause = format!(
            "the client used {}, which neither its document nor a registration allows",
            presented.method.as_str()
        );
        return Err(OAuthError::invalid_client().because(cause));
    }
    check_key(
        binding.jkt.as_deref(),
        binding.needs_dpop,
        presented.jkt.as_deref(),
    )?;
    match (&presented.redirect_uri, &binding.code_challenge) {
        (Some(uri), _) if *uri != binding.redirect_uri => Err(OAuthError::invalid_grant(
            "redirect_uri differs from the authorization request",
        )),
        // OAuth 2.1 §10.2: it may be absent, for PKCE does what it was for.
        (_, Some(challenge)) => pkce::verify(challenge, presented.code_verifier.as_deref()),
        (None, None) => Err(OAuthError::invalid_grant(
            "redirect_uri is required where the authorization request had no code_challenge",
        )),
        // RFC 9700 §4.8.2: a challenge that got lost on the way.
        (_, None) if presented.code_verifier.is_some() => Err(OAuthError::invalid_grant(
            "code_verifier was sent, but the authorization request had no code_challenge",
        )),
        (Some(_), None) => Ok(()),
    }
}

/// Seconds in which a code may come twice: a page that loads twice sends it twice.
const TWICE: i64 = 3;

/// RFC 6749 §4.1.2: does a code that gave a grant at `granted_at` come again because another has it, too?
pub fn is_reuse(granted_at: UnixTime, now: UnixTime) -> bool {
    now - granted_at > TWICE
}

/// RFC 9449 §5 and §10: is the key shown the one that is bound, and is there one where there must be?
///
/// # Errors
///
/// `invalid_grant` for another key, `invalid_dpop_proof` where there is none.
pub(super) fn check_key(
    bound: Option<&str>,
    needs_dpop: bool,
    shown: Option<&str>,
) -> Result<(), OAuthError> {
    match (bound, shown) {
        (Some(bound), Some(shown)) if bound != shown => Err(OAuthError::invalid_grant(
            "the code is bound to another DPoP key",
        )),
        (Some(_), None) => Err(no_proof()),
        (None, None) if needs_dpop => Err(no_proof()),
        _ => Ok(()),
    }
}

fn no_proof() -> OAuthError {
    let told = "a DPoP proof is required: the request, or what describes the client, asks for bound tokens";
    OAuthError::new(ErrorCode::InvalidDpopProof, told)
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
            code_challenge: "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM".parse().ok(),
            auth_methods: vec![AuthMethod::None],
            jkt: None,
            needs_dpop: false,
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
            ("https://a.example.com/c", None, Some(verifier), None),
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
                method: AuthMethod::None,
                jkt: None,
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

    #[test]
    fn a_code_is_bound_to_how_its_client_proves_itself_and_to_its_key() {
        use AuthMethod::{None as Public, PrivateKeyJwt};
        use ErrorCode::{InvalidClient, InvalidDpopProof, InvalidGrant};
        // allowed, bound to, needs a proof; shown, key → refusal
        let table = [
            (&[Public][..], None, false, Public, None, None),
            (&[PrivateKeyJwt], None, false, PrivateKeyJwt, None, None),
            (&[PrivateKeyJwt, Public], None, false, Public, None, None),
            (
                &[PrivateKeyJwt],
                None,
                false,
                Public,
                None,
                Some(InvalidClient),
            ),
            (
                &[Public],
                None,
                false,
                PrivateKeyJwt,
                None,
                Some(InvalidClient),
            ),
            (&[Public], None, false, Public, Some("a"), None),
            (&[Public], Some("a"), false, Public, Some("a"), None),
            (
                &[Public],
                Some("a"),
                false,
                Public,
                Some("b"),
                Some(InvalidGrant),
            ),
            (
                &[Public],
                Some("a"),
                false,
                Public,
                None,
                Some(InvalidDpopProof),
            ),
            (&[Public], None, true, Public, None, Some(InvalidDpopProof)),
            (&[Public], None, true, Public, Some("a"), None),
        ];
        for (allowed, bound, needs_dpop, method, shown, expected) in table {
            let client_id: ClientId = "https://a.example.com/c".parse().unwrap();
            let binding = Binding {
                client_id: client_id.clone(),
                redirect_uri: "https://a.example.com/cb".to_owned(),
                code_challenge: "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM".parse().ok(),
                auth_methods: allowed.to_vec(),
                jkt: bound.map(str::to_owned),
                needs_dpop,
            };
            let presented = Presented {
                client_id,
                redirect_uri: Some(binding.redirect_uri.clone()),
                code_verifier: Some("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk".to_owned()),
                method,
                jkt: shown.map(str::to_owned),
            };
            let got = check(&binding, &presented).err().map(|error| error.code);
            assert_eq!(
                got, expected,
                "X-15, X-52: {allowed:?} {bound:?} {needs_dpop} {method:?} {shown:?}"
            );
        }
    }

    #[test]
    fn x_12_f_19_a_code_without_a_challenge_takes_its_redirect_uri_and_no_verifier() {
        let binding = Binding {
            client_id: "web".parse().unwrap(),
            redirect_uri: "https://web.example.com/cb".to_owned(),
            code_challenge: None,
            auth_methods: vec![AuthMethod::ClientSecretBasic],
            jkt: None,
            needs_dpop: false,
        };
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        let table = [
            (Some("https://web.example.com/cb"), None, None),
            (None, None, Some("redirect_uri is required")),
            (
                Some("https://web.example.com/"),
                None,
                Some("redirect_uri differs"),
            ),
            (
                Some("https://web.example.com/cb"),
                Some(verifier),
                Some("code_verifier was sent"),
            ),
        ];
        for (redirect, verifier, expected) in table {
            let presented = Presented {
                client_id: binding.client_id.clone(),
                redirect_uri: redirect.map(str::to_owned),
                code_verifier: verifier.map(str::to_owned),
                method: AuthMethod::ClientSecretBasic,
                jkt: None,
            };
            let got = check(&binding, &presented)
                .err()
                .map(|e| e.description.into_owned());
            let fits = match expected {
                None => got.is_none(),
                Some(part) => got.as_ref().is_some_and(|text| text.contains(part)),
            };
            assert!(fits, "{redirect:?} {verifier:?}: {got:?}");
        }
    }

    #[test]
    fn f_12_a_page_that_loads_twice_sends_its_code_twice() {
        for (now, expected) in [(10, false), (13, false), (14, true), (3_600, true)] {
            assert_eq!(is_reuse(UnixTime(10), UnixTime(now)), expected, "{now}");
        }
    }
}
