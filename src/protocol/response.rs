//! The authorization response: RFC 6749 §4.1.2 and §4.1.2.1, with `iss` (RFC 9207 §2).

use super::{error::OAuthError, issuer::IssuerUrl, redirect_uri::RedirectUri};

/// The address that carries a code back to the client.
pub fn code(
    redirect_uri: &RedirectUri,
    issuer: &IssuerUrl,
    state: Option<&str>,
    code: &str,
) -> String {
    address(redirect_uri, issuer, state, &[("code", code)])
}

/// The address that carries a refusal back to the client.
pub fn error(
    redirect_uri: &RedirectUri,
    issuer: &IssuerUrl,
    state: Option<&str>,
    error: &OAuthError,
) -> String {
    address(
        redirect_uri,
        issuer,
        state,
        &[
            ("error", error.code.as_str()),
            ("error_description", &error.description),
        ],
    )
}

fn address(
    redirect_uri: &RedirectUri,
    issuer: &IssuerUrl,
    state: Option<&str>,
    first: &[(&str, &str)],
) -> String {
    let mut params = first.to_vec();
    params.extend(state.map(|state| ("state", state)));
    params.push(("iss", issuer.as_str()));
    redirect_uri.with_params(&params)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_response_carries_state_and_issuer() {
        let redirect = RedirectUri::registered("https://client.example.com/cb?x=1").unwrap();
        let issuer = "https://id.example.com".parse().unwrap();
        assert_eq!(
            code(
                &redirect,
                &issuer,
                Some("a/b+c=="),
                "SplxlOBeZQQYbYS6WxSbIA"
            ),
            "https://client.example.com/cb?x=1&code=SplxlOBeZQQYbYS6WxSbIA&state=a%2Fb%2Bc%3D%3D&iss=https%3A%2F%2Fid.example.com"
        );
        let refusal = OAuthError::new(
            super::super::error::ErrorCode::AccessDenied,
            "the user said no",
        );
        assert_eq!(
            error(&redirect, &issuer, None, &refusal),
            "https://client.example.com/cb?x=1&error=access_denied&error_description=the+user+said+no&iss=https%3A%2F%2Fid.example.com"
        );
    }
}
