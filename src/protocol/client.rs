//! A resolved client: RFC 6749 §2, as one version of its document, or its registration, describes it.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};

use super::{
    client_id::ClientId,
    client_metadata::{AuthMethod, ClientMetadata, GrantType},
    error::{ErrorCode, OAuthError},
};
use crate::{secret::sha256, time::UnixTime};

/// SHA-256 of a document's bytes, base64url: names one version of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Digest(String);

impl Digest {
    /// The digest of a document.
    pub fn of(document: &[u8]) -> Self {
        Self(BASE64_URL_SAFE_NO_PAD.encode(sha256(document)))
    }

    /// A digest as read back from its column.
    pub fn from_column(text: String) -> Self {
        Self(text)
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A client whose document was fetched and found valid, or that the administrator registered.
#[derive(Debug)]
pub struct Client {
    /// What its description says.
    pub metadata: ClientMetadata,
    /// Which version of it this is.
    pub digest: Digest,
    /// When that version was read.
    pub fetched_at: UnixTime,
    /// Is it described by a registration, and not by a document?
    pub is_registered: bool,
}

impl Client {
    /// The client's identifier: the URL of its document.
    pub fn id(&self) -> &ClientId {
        &self.metadata.client_id
    }

    /// May it only name itself, RFC 6749 §2.1 (public)?
    pub fn may_show_nothing(&self) -> bool {
        self.metadata.auth_methods.contains(&AuthMethod::None)
    }

    /// Does its document list the grant?
    pub fn may_use(&self, grant: GrantType) -> bool {
        self.metadata.grants.contains(&grant)
    }

    /// May it run the authorization code flow at this server, RFC 6749 §4.1?
    ///
    /// # Errors
    ///
    /// `unauthorized_client`, saying which part of the document asks for what this server does not do.
    pub fn check_code_flow(&self) -> Result<(), OAuthError> {
        let refuse = |description| Err(OAuthError::new(ErrorCode::UnauthorizedClient, description));
        if !self.may_use(GrantType::AuthorizationCode) {
            return refuse(self.does_not_list(GrantType::AuthorizationCode));
        }
        Ok(())
    }

    /// What describes it.
    pub fn description(&self) -> &'static str {
        match self.is_registered {
            true => "registration",
            false => "document",
        }
    }

    /// What it is told of a grant that it [may not use](Self::may_use).
    pub fn does_not_list(&self, grant: GrantType) -> String {
        let description = self.description();
        format!(
            "the client's {description} does not list the grant {}",
            grant.as_str()
        )
    }
}
