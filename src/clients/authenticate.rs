//! From a request to a client that has proven itself: RFC 6749 §2.3. Public clients only name themselves.

use crate::protocol::{
    client_id::ClientId,
    error::{ErrorCode, OAuthError},
    params::Params,
};

/// The authentication methods that work, by their wire names (for the metadata).
pub const METHODS: &[&str] = &["none"];

/// A client that may speak for itself. Only [`authenticate`] makes one; grants take nothing else.
#[derive(Clone, Debug)]
pub struct AuthenticatedClient {
    client_id: ClientId,
}

impl AuthenticatedClient {
    /// Which client it is.
    pub fn id(&self) -> &ClientId {
        &self.client_id
    }
}

/// Who sends this request?
///
/// # Errors
///
/// `invalid_client` for anything that is no bare `client_id` URL: a credential is never ignored. RFC 6749 §5.2.
pub fn authenticate(
    params: &Params,
    has_authorization_header: bool,
) -> Result<AuthenticatedClient, OAuthError> {
    let credentials = ["client_secret", "client_assertion", "client_assertion_type"];
    if has_authorization_header
        || credentials
            .iter()
            .any(|name| params.optional(name).is_some())
    {
        return Err(OAuthError::invalid_client()
            .because("the request carries credentials, public clients have none"));
    }
    let Some(client_id) = params.optional("client_id") else {
        return Err(OAuthError::new(
            ErrorCode::InvalidClient,
            "the parameter client_id is missing",
        ));
    };
    let client_id = client_id
        .parse()
        .map_err(|error| OAuthError::invalid_client().because(format!("client_id: {error}")))?;
    Ok(AuthenticatedClient { client_id })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_client_names_itself_and_shows_nothing_else() {
        let table = [
            ("client_id=https://a.example.com/c", false, true),
            (
                "client_id=https://a.example.com/c&client_secret=",
                false,
                true,
            ),
            ("client_id=https://a.example.com/c", true, false),
            (
                "client_id=https://a.example.com/c&client_secret=x",
                false,
                false,
            ),
            (
                "client_id=https://a.example.com/c&client_assertion=x",
                false,
                false,
            ),
            ("client_id=app", false, false),
            ("", false, false),
        ];
        for (body, header, accepted) in table {
            let params = Params::parse(body.as_bytes()).unwrap();
            let got = authenticate(&params, header).map_err(|error| error.code);
            assert_eq!(got.is_ok(), accepted, "{body}");
            assert!(
                got.is_ok() || got.is_err_and(|code| code == ErrorCode::InvalidClient),
                "{body}"
            );
        }
    }
}
