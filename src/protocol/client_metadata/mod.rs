//! Client metadata documents, draft-ietf-oauth-client-id-metadata-document-02 §4: the metadata of RFC 7591 §2 and
//! OpenID Connect Dynamic Registration §2, with the plural forms of OpenID Connect RP Metadata Choices 1.0.
//!
//! [`read`] asks every rule once, in one order: [`parse`] stops at the first that refuses,
//! [`judge`] lets it run to its end. The rules are in `rules.rs`, what each member means in `members.rs`, what a document
//! chooses from in `kinds.rs`.

mod kinds;
mod members;
mod rules;
#[cfg(test)]
mod tests;

pub use self::{
    kinds::{ApplicationType, AuthMethod, AuthMethods, GrantType},
    rules::{Judged, MetadataError, Rule, Verdict},
};

use self::{
    members::{
        MAY_BE_EMPTY, WEB_SCHEMES, assertion_algs, auth_methods, check_client_id, check_encryption,
        check_members, check_no_secret, check_no_secret_key, check_response_types, check_signature,
        client_name, default_max_age, flag, grants, id_token_alg, inline_keys, jwks_uri, redirects,
        scope, web_url,
    },
    rules::{Every, First, Verdicts},
};
use crate::protocol::{
    client_id::ClientId,
    client_url::ClientUrl,
    id_token::SigningAlg,
    json::{self, Json, Object},
    key_set::{Alg, KeySet},
    redirect_uri::{RedirectUri, RedirectUriError},
};

/// A valid document, as this server understands it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientMetadata {
    pub client_id: ClientId,
    /// As written, without control characters and outer white space; `None` where it is absent or blank.
    pub client_name: Option<String>,
    pub client_uri: Option<String>,
    pub logo_uri: Option<String>,
    pub tos_uri: Option<String>,
    pub policy_uri: Option<String>,
    /// The usable ones, each once.
    pub redirect_uris: Vec<RedirectUri>,
    /// The supported ones, each once.
    pub grants: Vec<GrantType>,
    /// The supported ones, the strongest first; never empty.
    pub auth_methods: Vec<AuthMethod>,
    pub scope: Option<Vec<String>>,
    pub application_type: ApplicationType,
    pub jwks_uri: Option<String>,
    /// The keys in the document itself.
    pub jwks: Option<KeySet>,
    /// What its assertions may be signed with; `None` where the document leaves that open.
    pub assertion_algs: Option<Vec<Alg>>,
    /// What its ID tokens are signed with.
    pub id_token_alg: SigningAlg,
    /// The `max_age` of requests that have none, OpenID Connect Dynamic Registration §2.
    pub default_max_age: Option<i64>,
    pub dpop_bound_access_tokens: bool,
    pub require_pushed_authorization_requests: bool,
}

impl ClientMetadata {
    /// May its assertions be signed with this algorithm?
    pub fn accepts_assertion(&self, alg: Alg) -> bool {
        let algs = self.assertion_algs.as_ref();
        algs.is_none_or(|algs| algs.contains(&alg))
    }

    /// The thumbprints of its keys.
    pub fn thumbprints(&self) -> Vec<String> {
        let keys = self.jwks.iter().flat_map(|set| &set.keys);
        keys.map(|key| key.thumbprint.clone()).collect()
    }
}

/// Where redirect URIs may lead, beyond what a document may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redirects {
    /// As [`RedirectUri::registered`].
    Public,
    /// As [`RedirectUri::registered_on_private_network`].
    PrivateNetworkToo,
}

impl Redirects {
    /// Reads an entry.
    ///
    /// # Errors
    ///
    /// The rule that it breaks.
    pub fn read(self, entry: &str) -> Result<RedirectUri, RedirectUriError> {
        match self {
            Self::Public => RedirectUri::registered(entry),
            Self::PrivateNetworkToo => RedirectUri::registered_on_private_network(entry),
        }
    }
}

/// Reads the document that was found at `client_id`.
///
/// # Errors
///
/// The first rule that refuses it.
pub fn parse(client_id: &ClientUrl, body: &[u8]) -> Result<ClientMetadata, MetadataError> {
    parse_for(&client_id.clone().into(), body, Redirects::Public)
}

/// Reads what an administrator registered: the same rules for any identifier. Methods of shared secrets are not in it:
/// the owner of the secrets adds them.
///
/// # Errors
///
/// As [`parse`].
pub fn parse_for(
    client_id: &ClientId,
    body: &[u8],
    allowed: Redirects,
) -> Result<ClientMetadata, MetadataError> {
    let mut first = First::default();
    let read = read(body, client_id, allowed, &mut first);
    match (read, first.0) {
        (Some(metadata), None) => Ok(metadata),
        (_, Some(error)) => Err(error),
        // Without a refusal every member was read.
        (None, None) => Err(Rule::Object.refuse("the document could not be read")),
    }
}

/// What each rule says of a document: for explaining, so it does not stop at the first that refuses.
pub fn judge(client_id: &ClientUrl, body: &[u8]) -> Vec<Judged> {
    let mut every = Every::default();
    read(
        body,
        &client_id.clone().into(),
        Redirects::Public,
        &mut every,
    );
    let mut judged = every.0;
    // A text that is no object has no members to ask about.
    let asked = judged.len();
    judged.extend(Rule::ALL.iter().skip(asked).map(|rule| Judged {
        rule: *rule,
        verdict: Verdict::NotReached,
    }));
    judged
}

/// Reads a document, member by member.
fn read(
    body: &[u8],
    client_id: &ClientId,
    allowed: Redirects,
    verdicts: &mut impl Verdicts,
) -> Option<ClientMetadata> {
    let json = verdicts.ask(&[Rule::Json], || {
        json::parse(body).map_err(|error| Rule::Json.refuse(error.to_string()))
    })?;
    let doc = verdicts.ask(&[Rule::Object], || object(json))?;
    read_members(&doc, client_id, allowed, verdicts)
}

/// Asks every rule about the members. Long, because it is the list of them.
fn read_members(
    doc: &Object,
    client_id: &ClientId,
    allowed: Redirects,
    verdicts: &mut impl Verdicts,
) -> Option<ClientMetadata> {
    use Rule::*;
    let keys = inline_keys(doc);
    verdicts.ask(&[Members], || check_members(doc));
    verdicts.ask(&[ClientId], || check_client_id(doc, client_id));
    verdicts.ask(&[ClientSecret], || check_no_secret(doc));
    verdicts.ask(&[JwksSecret], || check_no_secret_key(&keys));
    let id_token_alg = verdicts.ask(
        &[IdTokenSignedResponseAlg, IdTokenSigningAlgValuesSupported],
        || id_token_alg(doc),
    );
    verdicts.ask(&[RequestObjectSigningAlg], || {
        check_signature(doc, RequestObjectSigningAlg)
    });
    let assertion_algs = verdicts.ask(
        &[
            TokenEndpointAuthSigningAlg,
            TokenEndpointAuthSigningAlgValuesSupported,
        ],
        || assertion_algs(doc),
    );
    verdicts.ask(&[IdTokenEncryptedResponseAlg], || {
        check_encryption(doc, IdTokenEncryptedResponseAlg)
    });
    verdicts.ask(&[UserinfoEncryptedResponseAlg], || {
        check_encryption(doc, UserinfoEncryptedResponseAlg)
    });
    verdicts.ask(&[RequestObjectEncryptionAlg], || {
        check_encryption(doc, RequestObjectEncryptionAlg)
    });
    let default_max_age = verdicts.ask(&[DefaultMaxAge], || default_max_age(doc));
    verdicts.ask(&[RequireAuthTime], || flag(doc, RequireAuthTime));
    let tos_uri = verdicts.ask(&[TosUri], || web_url(doc, TosUri, WEB_SCHEMES));
    let policy_uri = verdicts.ask(&[PolicyUri], || web_url(doc, PolicyUri, WEB_SCHEMES));
    let grants = verdicts.ask(&[GrantTypes], || grants(doc));
    let needs_code = grants
        .iter()
        .flatten()
        .any(|grant| *grant == GrantType::AuthorizationCode);
    verdicts.ask(&[ResponseTypes], || check_response_types(doc, needs_code));
    let redirects = verdicts.ask(&[ApplicationType, RedirectUris], || {
        redirects(doc, allowed, needs_code)
    });
    let jwks_uri = verdicts.ask(&[JwksUri], || jwks_uri(doc));
    let jwks = verdicts.ask(&[Jwks], || keys.clone());
    let client_name = verdicts.ask(&[ClientName], || client_name(doc));
    let client_uri = verdicts.ask(&[ClientUri], || web_url(doc, ClientUri, WEB_SCHEMES));
    let logo_uri = verdicts.ask(&[LogoUri], || web_url(doc, LogoUri, WEB_SCHEMES));
    let auth_methods = verdicts.ask(
        &[
            TokenEndpointAuthMethod,
            TokenEndpointAuthMethodsSupported,
            Keys,
        ],
        || auth_methods(doc, &keys),
    );
    let scope = verdicts.ask(&[Scope], || scope(doc));
    let dpop_bound_access_tokens = verdicts.ask(&[DpopBoundAccessTokens], || {
        flag(doc, DpopBoundAccessTokens)
    });
    let require_pushed_authorization_requests = verdicts
        .ask(&[RequirePushedAuthorizationRequests], || {
            flag(doc, RequirePushedAuthorizationRequests)
        });
    let (redirect_uris, application_type) = redirects?;
    Some(ClientMetadata {
        client_id: client_id.clone(),
        client_name: client_name?,
        client_uri: client_uri?,
        logo_uri: logo_uri?,
        tos_uri: tos_uri?,
        policy_uri: policy_uri?,
        redirect_uris,
        grants: grants?,
        auth_methods: auth_methods?,
        scope: scope?,
        application_type,
        jwks_uri: jwks_uri?,
        jwks: jwks?,
        assertion_algs: assertion_algs?,
        id_token_alg: id_token_alg?,
        default_max_age: default_max_age?,
        dpop_bound_access_tokens: dpop_bound_access_tokens?,
        require_pushed_authorization_requests: require_pushed_authorization_requests?,
    })
}

/// The members of a document. One that is `null` counts as absent, and so does one that is empty where it is only shown:
/// programs write what they have nothing to say about in either way.
fn object(json: Json) -> Result<Object, MetadataError> {
    match json {
        Json::Object(mut doc) => {
            doc.remove_if(|name, value| match value {
                // Of a secret its presence is enough to refuse.
                Json::Null => !name.starts_with("client_secret"),
                Json::String(text) => text.is_empty() && MAY_BE_EMPTY.contains(&name),
                _ => false,
            });
            Ok(doc)
        }
        _ => Err(Rule::Object.refuse("the document must be a JSON object")),
    }
}
