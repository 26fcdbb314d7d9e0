//! Clients that an administrator registered: for resource servers, for classic clients, and for URLs that are not to be
//! fetched. RFC 7591 §2 names the members.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::client_rules::Tier;
use crate::{
    protocol::{
        client::{Client, Digest},
        client_id::ClientId,
        client_metadata::{self, AuthMethod, GrantType, Redirects},
        pkce::Pkce,
    },
    secret::{ClientSecret, SecretHash},
    time::UnixTime,
};

/// `[[clients.registered]]`: a registered client. `wayleave client hash-secret` makes a secret for one. The names are those
/// of RFC 7591 where it has them.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Registration {
    /// Its name: up to 128 letters, digits and `-._~@:/`, a URN, or the URL of a document that is then not fetched.
    pub client_id: String,
    /// What people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_name: Option<String>,
    /// Its home page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_uri: Option<String>,
    /// Where people are sent back to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub redirect_uris: Vec<String>,
    /// The grants that it may use. Not set: `authorization_code` and `refresh_token` if it has a redirect URI, else none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant_types: Option<Vec<String>>,
    /// `none`, `private_key_jwt`, `client_secret_basic` or `client_secret_post`. Not set: `private_key_jwt` if it has keys,
    /// a secret in the header or in the form if it has a secret, else `none`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_endpoint_auth_method: Option<String>,
    /// The only scopes that it is granted, separated by spaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// Its public keys, as a JWK set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks: Option<Value>,
    /// Where it publishes them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks_uri: Option<String>,
    /// `web` or `native`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application_type: Option<String>,
    /// What its ID tokens are signed with: `RS256`, `ES256` or `EdDSA`. Not set: `RS256`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id_token_signed_response_alg: Option<String>,
    /// Its tokens are bound to a key of its own (DPoP).
    #[serde(default, skip_serializing_if = "is_false")]
    pub dpop_bound_access_tokens: bool,
    /// Accepts its authorization requests only by way of `/par`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub require_pushed_authorization_requests: bool,
    /// SHA-256 of its secret, base64url. `wayleave client hash-secret` prints it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret_sha256: Option<String>,
    /// Nobody is asked for consent.
    #[serde(default, skip_serializing_if = "is_false")]
    pub first_party: bool,
    /// Its assertions may name the endpoint as audience and live for an hour, as before RFC 10070.
    #[serde(default, skip_serializing_if = "is_false")]
    pub legacy_assertions: bool,
    /// Its redirect URIs may be `http` on a private address or a single-label host. The consent page says so.
    #[serde(default, skip_serializing_if = "is_false")]
    pub allow_http_redirect: bool,
    /// Puts the claims of the granted scopes into its ID tokens. Not set: as `tokens.id_token_claims` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id_token_claims: Option<bool>,
    /// `required`, `nonce` (no PKCE where a request has a `nonce`) or `optional`. Only a client that authenticates may do
    /// without.
    #[serde(default, skip_serializing_if = "is_default")]
    pub pkce: Pkce,
    /// The resources whose tokens it may introspect.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<String>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// A registration that was read: every rule for documents holds for it, too.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(try_from = "Registration", into = "Registration")]
pub struct Registered {
    pub client: Arc<Client>,
    /// None, one, or two while one replaces the other: the older first.
    secrets: Vec<KeptSecret>,
    written: Registration,
}

/// What is kept of a client's secret.
#[derive(Clone, Debug)]
pub struct KeptSecret {
    pub hash: SecretHash<ClientSecret>,
    /// `None`: not known.
    pub made_at: Option<UnixTime>,
}

impl KeptSecret {
    /// What it is called: the beginning of its hash, from which it cannot be guessed.
    pub fn id(&self) -> &str {
        self.hash.as_str().get(..8).unwrap_or_default()
    }
}

impl PartialEq for Registered {
    fn eq(&self, other: &Self) -> bool {
        self.written == other.written
    }
}

impl Registered {
    /// As it was written.
    pub fn written(&self) -> &Registration {
        &self.written
    }

    /// Its identifier.
    pub fn id(&self) -> &ClientId {
        self.client.id()
    }

    /// What it is to us where no rule is about it.
    pub fn tier(&self) -> Tier {
        match self.written.first_party {
            true => Tier::FirstParty,
            false => Tier::Approved,
        }
    }

    /// Its secrets, the older first.
    pub fn secrets(&self) -> &[KeptSecret] {
        &self.secrets
    }

    /// Is there anything that this server lets it do? `devices`: may devices be signed in?
    pub fn can_do_something(&self, devices: bool) -> bool {
        let metadata = &self.client.metadata;
        let has = |grant| metadata.grants.contains(&grant);
        let proves_itself = metadata
            .auth_methods
            .iter()
            .any(|method| method.is_confidential());
        has(GrantType::AuthorizationCode) && !metadata.redirect_uris.is_empty()
            || has(GrantType::ClientCredentials) && proves_itself
            || has(GrantType::DeviceCode) && devices
            || !self.written.resources.is_empty() && proves_itself
    }

    /// Is it one of its secrets?
    pub fn has_secret(&self, presented: &SecretHash<ClientSecret>) -> bool {
        // As long for either.
        let matches = self.secrets.iter().map(|kept| kept.hash == *presented);
        matches.fold(false, |known, matches| known | matches)
    }

    /// Judges a registration whose secrets are these.
    ///
    /// # Errors
    ///
    /// What is wrong.
    pub fn new(mut written: Registration, secrets: Vec<KeptSecret>) -> Result<Self, String> {
        let hash = secrets
            .first()
            .map(|oldest| oldest.hash.as_str().to_owned());
        written.client_secret_sha256 = hash;
        Ok(Self {
            secrets,
            ..Self::try_from(written)?
        })
    }
}

impl From<Registered> for Registration {
    fn from(registered: Registered) -> Self {
        registered.written
    }
}

impl TryFrom<Registration> for Registered {
    type Error = String;

    /// Judges a registration.
    fn try_from(written: Registration) -> Result<Self, String> {
        let client_id: ClientId = written.client_id.parse().map_err(|error| {
            format!("expected client_id: a name of letters, digits and -._~@:/ that does not begin like a URL, a URN, or an https URL ({error})")
        })?;
        let hash = written.client_secret_sha256.as_deref();
        if hash.is_some_and(|hash| !is_hash(hash)) {
            return Err(format!(
                "expected client_secret_sha256 of {client_id}: 43 characters of base64url, as `wayleave client hash-secret` \
                 prints them"
            ));
        }
        let methods = written.methods()?;
        let method = methods[0];
        if written.pkce != Pkce::Required && !method.is_confidential() {
            return Err(format!(
                "expected pkce = \"required\" for {client_id}: only a client that authenticates may do without"
            ));
        }
        let document = written.document(method);
        let redirects = match written.allow_http_redirect {
            true => Redirects::PrivateNetworkToo,
            false => Redirects::Public,
        };
        let mut metadata = client_metadata::parse_for(&client_id, document.as_bytes(), redirects)
            .map_err(|error| {
            format!("expected another registration of {client_id}: {error}")
        })?;
        // In a document one bad entry does not spoil the others; an administrator wants to hear of it.
        let is_usable = |uri: &&String| metadata.redirect_uris.iter().any(|it| it.as_str() == *uri);
        if let Some(unusable) = written.redirect_uris.iter().find(|uri| !is_usable(uri)) {
            let why = redirects.read(unusable).err();
            let why = why.map_or_else(
                || "application_type web lets none lead to a program on the device".to_owned(),
                |error| error.to_string(),
            );
            return Err(format!(
                "expected another redirect URI of {client_id} than {unusable}: {why}"
            ));
        }
        metadata.auth_methods = methods;
        if written.grants().is_empty() {
            metadata.grants.clear();
        }
        let secret = written.client_secret_sha256.clone();
        let client = Client {
            metadata,
            digest: Digest::of(document.as_bytes()),
            fetched_at: UnixTime(0),
            is_registered: true,
        };
        Ok(Self {
            client: Arc::new(client),
            secrets: secret.into_iter().map(kept).collect(),
            written,
        })
    }
}

/// Is it a SHA-256 in base64url?
fn is_hash(text: &str) -> bool {
    let is_of_it = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    text.len() == 43 && text.bytes().all(is_of_it)
}

fn kept(hash: String) -> KeptSecret {
    KeptSecret {
        hash: SecretHash::from_column(hash),
        made_at: None,
    }
}

impl Registration {
    /// Does it authenticate with a secret, as far as its other members say?
    pub fn needs_secret(&self) -> bool {
        match &self.token_endpoint_auth_method {
            Some(method) => method.starts_with("client_secret_"),
            None => self.jwks.is_none() && self.jwks_uri.is_none(),
        }
    }

    /// How it may authenticate: as it says, else by what there is, a secret in either place (RFC 6749 §2.3.1).
    fn methods(&self) -> Result<Vec<AuthMethod>, String> {
        let has_keys = self.jwks.is_some() || self.jwks_uri.is_some();
        let has_secret = self.client_secret_sha256.is_some();
        let method = match &self.token_endpoint_auth_method {
            Some(name) => AuthMethod::from_wire(name).ok_or(
                "expected token_endpoint_auth_method: none, private_key_jwt, client_secret_basic or client_secret_post",
            )?,
            None if has_keys => AuthMethod::PrivateKeyJwt,
            None if has_secret => AuthMethod::ClientSecretBasic,
            None => AuthMethod::None,
        };
        let fits = match method {
            AuthMethod::None => !has_keys && !has_secret,
            AuthMethod::PrivateKeyJwt => has_keys && !has_secret,
            AuthMethod::ClientSecretBasic | AuthMethod::ClientSecretPost => has_secret && !has_keys,
        };
        match fits {
            true if self.token_endpoint_auth_method.is_none() && has_secret => Ok(vec![
                AuthMethod::ClientSecretBasic,
                AuthMethod::ClientSecretPost,
            ]),
            true => Ok(vec![method]),
            false => Err(format!(
                "expected what {} needs and nothing else: jwks or jwks_uri for private_key_jwt, client_secret_sha256 for a secret",
                method.as_str()
            )),
        }
    }

    fn grants(&self) -> Vec<&str> {
        match &self.grant_types {
            Some(listed) => listed.iter().map(String::as_str).collect(),
            None if self.redirect_uris.is_empty() => Vec::new(),
            None => vec![
                GrantType::AuthorizationCode.as_str(),
                GrantType::RefreshToken.as_str(),
            ],
        }
    }

    /// The same as a document, without what only we may know.
    fn document(&self, method: AuthMethod) -> String {
        let mut grants = self.grants();
        if grants.is_empty() {
            // A document says at least one; it is taken away again.
            grants.push(GrantType::ClientCredentials.as_str());
        }
        let method = match method {
            AuthMethod::PrivateKeyJwt => method,
            _ => AuthMethod::None,
        };
        let mut document = Map::new();
        let mut put = |name: &str, value: Option<Value>| {
            document.extend(value.map(|value| (name.to_owned(), value)));
        };
        let text = |text: &Option<String>| text.clone().map(Value::from);
        put("client_id", Some(self.client_id.clone().into()));
        put("client_name", text(&self.client_name));
        put("client_uri", text(&self.client_uri));
        put("grant_types", Some(grants.into()));
        put("token_endpoint_auth_method", Some(method.as_str().into()));
        put("scope", text(&self.scope));
        put("jwks", self.jwks.clone());
        put("jwks_uri", text(&self.jwks_uri));
        put("application_type", text(&self.application_type));
        put(
            "id_token_signed_response_alg",
            text(&self.id_token_signed_response_alg),
        );
        put(
            "dpop_bound_access_tokens",
            Some(self.dpop_bound_access_tokens.into()),
        );
        put(
            "require_pushed_authorization_requests",
            Some(self.require_pushed_authorization_requests.into()),
        );
        if !self.redirect_uris.is_empty() {
            put("redirect_uris", Some(self.redirect_uris.clone().into()));
        }
        Value::Object(document).to_string()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: Value) -> Result<Registered, String> {
        serde_json::from_value(value).map_err(|error| error.to_string())
    }

    #[test]
    fn a_registration_says_what_a_document_says_and_who_may_keep_a_secret() {
        let hash = "n4bQgYhMfWWaL-qgxVrQFaO_TxsrC4Is0V1sFbDwCgg";
        let key = json!({"keys": [{"kty": "EC", "crv": "P-256",
            "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]});
        let table = [
            (
                json!({"client_id": "api", "client_secret_sha256": hash, "resources": ["https://api.example.com/"]}),
                Some((AuthMethod::ClientSecretBasic, 0)),
            ),
            (
                json!({"client_id": "web", "redirect_uris": ["https://web.example.com/cb"]}),
                Some((AuthMethod::None, 2)),
            ),
            (
                json!({"client_id": "web", "redirect_uris": ["https://web.example.com/cb"], "client_secret_sha256": hash,
                    "token_endpoint_auth_method": "client_secret_post"}),
                Some((AuthMethod::ClientSecretPost, 2)),
            ),
            (
                json!({"client_id": "job", "grant_types": ["client_credentials"], "jwks": key}),
                Some((AuthMethod::PrivateKeyJwt, 1)),
            ),
            (
                json!({"client_id": "https://a.example.com/c", "grant_types": ["client_credentials"], "jwks": key}),
                Some((AuthMethod::PrivateKeyJwt, 1)),
            ),
            (json!({"client_id": "a b"}), None),
            (json!({"client_id": "http://a.example.com/c"}), None),
            (
                json!({"client_id": "x", "jwks": key, "client_secret_sha256": hash}),
                None,
            ),
            (
                json!({"client_id": "x", "token_endpoint_auth_method": "client_secret_jwt"}),
                None,
            ),
            (
                json!({"client_id": "x", "token_endpoint_auth_method": "client_secret_basic"}),
                None,
            ),
            (
                json!({"client_id": "x", "redirect_uris": ["https://x.example.com/#f"]}),
                None,
            ),
            (
                json!({"client_id": "x", "jwks": {"keys": [{"kty": "oct", "k": "AA"}]}}),
                None,
            ),
            (json!({"client_id": "x", "colour": "red"}), None),
        ];
        for (value, expected) in table {
            let read = read(value.clone());
            let got = read.as_ref().map(|it| {
                (
                    it.client.metadata.auth_methods[0],
                    it.client.metadata.grants.len(),
                )
            });
            assert_eq!(got.ok(), expected, "{value}: {read:?}");
            if let Ok(read) = read {
                let written = serde_json::to_value(&read).unwrap();
                assert_eq!(written, value, "written as it was read");
            }
        }
    }
}
