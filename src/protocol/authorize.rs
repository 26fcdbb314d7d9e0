//! The authorization request: RFC 6749 §4.1.1, RFC 7636 §4.3, RFC 8707 §2, OpenID Connect Core §3.1.2.1.

use super::{
    client_id::ClientId,
    error::{ErrorCode, OAuthError},
    params::Params,
    pkce::{CodeChallenge, Pkce},
    prompt::Prompt,
    redirect_uri::RedirectUri,
    resource::Resources,
    scope::Scope,
};

/// Every parameter that is read of an authorization request; those at the end only to be refused. Others do not count, and
/// are not kept.
pub const PARAMETERS: &[&str] = &[
    "client_id",
    "redirect_uri",
    "response_type",
    "response_mode",
    "scope",
    "state",
    "nonce",
    "prompt",
    "max_age",
    "login_hint",
    "id_token_hint",
    "code_challenge",
    "code_challenge_method",
    "resource",
    "dpop_jkt",
    "request",
    "request_uri",
    "registration",
];

/// Longest authorization request, encoded, in bytes: it is carried through the sign-in page, in an address of 8 KiB at most.
const LONGEST: usize = 7_000;

/// May an authorization request be so long? One that was pushed is held to what holds for one that a browser brings.
///
/// # Errors
///
/// `invalid_request`, which names the limit.
pub fn check_length(params: &Params) -> Result<(), OAuthError> {
    match params.encode().len() > LONGEST {
        true => Err(OAuthError::invalid_request(format!(
            "the request is longer than {LONGEST} bytes"
        ))),
        false => Ok(()),
    }
}

/// Longest `state`, in bytes.
const STATE: usize = 4_096;
/// Longest `nonce`, in bytes.
const NONCE: usize = 512;

/// An authorization request of a client whose redirect URI is proven. Only [`parse`] makes one.
#[derive(Clone, Debug)]
pub struct AuthorizationRequest {
    /// Who asks.
    pub client_id: ClientId,
    /// Where the answer goes, exactly as requested.
    pub redirect_uri: RedirectUri,
    /// RFC 7636; `None` where the client may do without.
    pub code_challenge: Option<CodeChallenge>,
    /// What the client asked for; `None` when it left the choice to us.
    pub scope: Option<Scope>,
    /// RFC 8707.
    pub resources: Resources,
    /// What the person is to be asked again.
    pub prompt: Prompt,
    /// OpenID Connect Core §3.1.2.1: goes into the ID token.
    pub nonce: Option<String>,
    /// Most seconds since the person signed in.
    pub max_age: Option<i64>,
    /// RFC 9449 §10: the key that the code is bound to.
    pub dpop_jkt: Option<String>,
    /// OpenID Connect Core §3.1.2.1: names the person who is expected. Nothing about it is proven.
    pub id_token_hint: Option<String>,
}

/// Reads a request whose client and redirect URI are known.
///
/// # Errors
///
/// The error that goes back to the client by redirect.
pub fn parse(
    params: &Params,
    client_id: ClientId,
    redirect_uri: RedirectUri,
    pkce: Pkce,
) -> Result<AuthorizationRequest, OAuthError> {
    check_state(params)?;
    check_unsupported(params)?;
    match params.require("response_type")? {
        "code" => {}
        _ => {
            return Err(OAuthError::new(
                ErrorCode::UnsupportedResponseType,
                "response_type must be code",
            ));
        }
    }
    if params
        .optional("response_mode")
        .is_some_and(|mode| mode != "query")
    {
        return Err(OAuthError::invalid_request("response_mode must be query"));
    }
    let nonce = params.optional("nonce");
    if nonce.is_some_and(|nonce| nonce.len() > NONCE) {
        return Err(OAuthError::invalid_request(
            "nonce is longer than 512 bytes",
        ));
    }
    Ok(AuthorizationRequest {
        nonce: nonce.map(str::to_owned),
        id_token_hint: params.optional("id_token_hint").map(str::to_owned),
        max_age: max_age(params)?,
        dpop_jkt: dpop_jkt(params)?,
        client_id,
        redirect_uri,
        code_challenge: CodeChallenge::from_params(params, pkce)?,
        scope: params.optional("scope").map(str::parse).transpose()?,
        resources: Resources::from_params(params)?,
        prompt: Prompt::parse(params.optional("prompt"))?,
    })
}

fn max_age(params: &Params) -> Result<Option<i64>, OAuthError> {
    let read = |text: &str| {
        let seconds = text.parse::<u32>().ok().map(i64::from);
        seconds.ok_or_else(|| OAuthError::invalid_request("max_age must be a number of seconds"))
    };
    params.optional("max_age").map(read).transpose()
}

/// RFC 9449 §10: the SHA-256 thumbprint of a key, base64url.
fn dpop_jkt(params: &Params) -> Result<Option<String>, OAuthError> {
    let jkt = params.optional("dpop_jkt");
    let is_thumbprint = |jkt: &str| {
        jkt.len() == 43
            && jkt
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    match jkt {
        Some(jkt) if !is_thumbprint(jkt) => {
            let told = "dpop_jkt must be the SHA-256 thumbprint of a key, base64url (RFC 7638)";
            Err(OAuthError::invalid_request(told))
        }
        jkt => Ok(jkt.map(str::to_owned)),
    }
}

fn check_state(params: &Params) -> Result<(), OAuthError> {
    match params.optional("state") {
        Some(state) if state.len() > STATE => Err(OAuthError::invalid_request(
            "state is longer than 4096 bytes",
        )),
        _ => Ok(()),
    }
}

fn check_unsupported(params: &Params) -> Result<(), OAuthError> {
    let table = [
        (
            "request",
            ErrorCode::RequestNotSupported,
            "request objects are not supported",
        ),
        (
            "request_uri",
            ErrorCode::RequestUriNotSupported,
            "request_uri is supported only as the pushed_authorization_request_endpoint gives it",
        ),
        (
            "registration",
            ErrorCode::RegistrationNotSupported,
            "registration is not supported",
        ),
    ];
    match table
        .into_iter()
        .find(|(name, ..)| params.optional(name).is_some())
    {
        Some((_, code, description)) => Err(OAuthError::new(code, description)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHALLENGE: &str =
        "code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256";

    fn read(query: &str) -> Result<AuthorizationRequest, ErrorCode> {
        let params = Params::parse(query.as_bytes()).unwrap();
        let client = "https://client.example.com/c".parse().unwrap();
        let redirect = RedirectUri::registered("https://client.example.com/cb").unwrap();
        parse(&params, client, redirect, Pkce::Required).map_err(|e| e.code)
    }

    #[test]
    fn an_authorization_request_is_refused_by_its_rule() {
        use ErrorCode::{InvalidRequest, InvalidScope, InvalidTarget, UnsupportedResponseType};
        let long_state = format!("&state={}", "a".repeat(4_097));
        let long_nonce = format!("&nonce={}", "a".repeat(513));
        let table = [
            ("response_type=code", "", None),
            (
                "response_type=code",
                "&state=xyz&scope=a&resource=https://rs.example.com/&prompt=consent",
                None,
            ),
            ("response_type=code", "&response_mode=query&unknown=1", None),
            ("", "", Some(InvalidRequest)),
            ("response_type=token", "", Some(UnsupportedResponseType)),
            (
                "response_type=code%20id_token",
                "",
                Some(UnsupportedResponseType),
            ),
            ("response_type=CODE", "", Some(UnsupportedResponseType)),
            (
                "response_type=code",
                "&response_mode=fragment",
                Some(InvalidRequest),
            ),
            (
                "response_type=code",
                "&request=x",
                Some(ErrorCode::RequestNotSupported),
            ),
            (
                "response_type=code",
                "&request_uri=https://169.254.169.254/",
                Some(ErrorCode::RequestUriNotSupported),
            ),
            (
                "response_type=code",
                "&registration=x",
                Some(ErrorCode::RegistrationNotSupported),
            ),
            ("response_type=code", "&scope=%22", Some(InvalidScope)),
            (
                "response_type=code",
                "&resource=nowhere",
                Some(InvalidTarget),
            ),
            (
                "response_type=code",
                "&prompt=none%20login",
                Some(InvalidRequest),
            ),
            (
                "response_type=code",
                long_state.as_str(),
                Some(InvalidRequest),
            ),
            (
                "response_type=code",
                long_nonce.as_str(),
                Some(InvalidRequest),
            ),
        ];
        for (first, rest, expected) in table {
            assert_eq!(
                read(&format!("{first}&{CHALLENGE}{rest}")).err(),
                expected,
                "{first}{rest}"
            );
        }
        assert_eq!(
            read("response_type=code").err(),
            Some(InvalidRequest),
            "without a code challenge"
        );
    }
}
