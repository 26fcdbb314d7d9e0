//! Pushed authorization requests: RFC 9126.

use super::{
    authorize,
    error::{ErrorCode, OAuthError},
    params::Params,
};
use crate::secret::{PushedRequest, Secret};

/// RFC 9126 §2.2: how every `request_uri` of ours begins.
pub const PREFIX: &str = "urn:ietf:params:oauth:request_uri:";

/// The `request_uri` of a pushed request.
pub fn request_uri(secret: &Secret<PushedRequest>) -> String {
    format!("{PREFIX}{}", secret.expose())
}

/// The request that a `request_uri` stands for; `None` unless it could be one of ours. Nothing is ever fetched for it.
pub fn secret(request_uri: &str) -> Option<Secret<PushedRequest>> {
    request_uri.strip_prefix(PREFIX)?.parse().ok()
}

/// The authorization request in a pushed one: without the parameters of client authentication, which are no part of it
/// (§2.1), and without those that nothing here reads.
///
/// # Errors
///
/// `invalid_request` where it names another request, §2.1, or is longer than one may be, §2.3; what RFC 9449 §10.1 asks where its key is another than the
/// one that signed.
pub fn request(params: &Params, client_id: &str, jkt: Option<&str>) -> Result<Params, OAuthError> {
    if params.optional("request_uri").is_some() {
        return Err(OAuthError::invalid_request(
            "a pushed request must not have a request_uri",
        ));
    }
    let named = params.optional("dpop_jkt");
    if let (Some(named), Some(jkt)) = (named, jkt)
        && named != jkt
    {
        return Err(OAuthError::new(
            ErrorCode::InvalidDpopProof,
            "dpop_jkt is the thumbprint of another key than the proof's",
        ));
    }
    let request = params.only(authorize::PARAMETERS);
    let request = request.with("client_id", client_id);
    let request = match jkt {
        Some(jkt) => request.with("dpop_jkt", jkt),
        None => request,
    };
    authorize::check_length(&request)?;
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_we_made_is_a_request_uri() {
        let made = Secret::<PushedRequest>::generate();
        let uri = request_uri(&made);
        assert_eq!(secret(&uri).unwrap().hash(), made.hash());
        for other in [
            "https://169.254.169.254/request",
            "urn:ietf:params:oauth:request_uri:",
            "urn:ietf:params:oauth:request_uri:6esc_11ACC5bwc014ltc14eY22c",
            "urn:example:request_uri:wl_pr_",
            &uri[..uri.len() - 1],
            &format!("{uri}A"),
            "",
        ] {
            assert!(secret(other).is_none(), "Q-03, O-02: {other}");
        }
    }

    #[test]
    fn a_pushed_request_is_without_what_authenticates_its_client() {
        let read = |text: &str, jkt| {
            let params = Params::parse(text.as_bytes()).unwrap();
            request(&params, "https://a.example.com/c", jkt)
                .map(|request| request.encode())
                .map_err(|error| error.code)
        };
        let id = "client_id=https%3A%2F%2Fa.example.com%2Fc";
        let table = [
            ("scope=a&client_secret=x", None, Ok(format!("scope=a&{id}"))),
            (
                "client_assertion=x&client_assertion_type=y&state=1",
                None,
                Ok(format!("state=1&{id}")),
            ),
            ("state=1", Some("k"), Ok(format!("state=1&{id}&dpop_jkt=k"))),
            ("dpop_jkt=k", Some("k"), Ok(format!("{id}&dpop_jkt=k"))),
            ("dpop_jkt=k", None, Ok(format!("dpop_jkt=k&{id}"))),
            ("dpop_jkt=k", Some("l"), Err(ErrorCode::InvalidDpopProof)),
            ("request_uri=x", None, Err(ErrorCode::InvalidRequest)),
            // Y-02: what nothing reads is not kept, and does not count.
            (
                "display=page&padding=x&state=1&wayleave_sent=1",
                None,
                Ok(format!("state=1&{id}")),
            ),
            (
                "resource=a&resource=b",
                None,
                Ok(format!("resource=a&resource=b&{id}")),
            ),
        ];
        for (text, jkt, expected) in table {
            assert_eq!(read(text, jkt), expected, "Q-02, P-10: {text}");
        }
        let (short, long) = ("x".repeat(6_900), "x".repeat(7_000));
        assert!(read(&format!("state={short}&padding={long}"), None).is_ok());
        let refused = read(&format!("state={long}"), None);
        assert_eq!(refused, Err(ErrorCode::InvalidRequest), "Y-02");
    }
}
