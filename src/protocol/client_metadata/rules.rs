//! The rules about a document, and what they say of one.

use std::borrow::Cow;

use thiserror::Error;

use crate::protocol::json::WrongType;

/// A rule about what a document says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rule {
    /// It is strict JSON.
    Json,
    /// It is a JSON object.
    Object,
    /// How many members it may have.
    Members,
    ClientId,
    /// No member about a shared secret, CIMD §4.1.
    ClientSecret,
    /// No key that must be private, CIMD §4.1.
    JwksSecret,
    IdTokenSignedResponseAlg,
    IdTokenSigningAlgValuesSupported,
    RequestObjectSigningAlg,
    TokenEndpointAuthSigningAlg,
    TokenEndpointAuthSigningAlgValuesSupported,
    IdTokenEncryptedResponseAlg,
    UserinfoEncryptedResponseAlg,
    RequestObjectEncryptionAlg,
    DefaultMaxAge,
    RequireAuthTime,
    TosUri,
    PolicyUri,
    GrantTypes,
    ResponseTypes,
    ApplicationType,
    RedirectUris,
    JwksUri,
    Jwks,
    ClientName,
    ClientUri,
    LogoUri,
    TokenEndpointAuthMethod,
    TokenEndpointAuthMethodsSupported,
    /// `private_key_jwt` has keys, in one place.
    Keys,
    Scope,
    DpopBoundAccessTokens,
    RequirePushedAuthorizationRequests,
}

impl Rule {
    /// In the order in which they are asked.
    pub const ALL: [Self; 33] = [
        Self::Json,
        Self::Object,
        Self::Members,
        Self::ClientId,
        Self::ClientSecret,
        Self::JwksSecret,
        Self::IdTokenSignedResponseAlg,
        Self::IdTokenSigningAlgValuesSupported,
        Self::RequestObjectSigningAlg,
        Self::TokenEndpointAuthSigningAlg,
        Self::TokenEndpointAuthSigningAlgValuesSupported,
        Self::IdTokenEncryptedResponseAlg,
        Self::UserinfoEncryptedResponseAlg,
        Self::RequestObjectEncryptionAlg,
        Self::DefaultMaxAge,
        Self::RequireAuthTime,
        Self::TosUri,
        Self::PolicyUri,
        Self::GrantTypes,
        Self::ResponseTypes,
        Self::ApplicationType,
        Self::RedirectUris,
        Self::JwksUri,
        Self::Jwks,
        Self::ClientName,
        Self::ClientUri,
        Self::LogoUri,
        Self::TokenEndpointAuthMethod,
        Self::TokenEndpointAuthMethodsSupported,
        Self::Keys,
        Self::Scope,
        Self::DpopBoundAccessTokens,
        Self::RequirePushedAuthorizationRequests,
    ];

    /// Its stable name, for logs, metrics and `wayleave explain`: `document.`, and the member that it is about.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Json => "document.json",
            Self::Object => "document.object",
            Self::Members => "document.members",
            Self::ClientId => "document.client_id",
            Self::ClientSecret => "document.client_secret",
            Self::JwksSecret => "document.jwks.secret",
            Self::IdTokenSignedResponseAlg => "document.id_token_signed_response_alg",
            Self::IdTokenSigningAlgValuesSupported => {
                "document.id_token_signing_alg_values_supported"
            }
            Self::RequestObjectSigningAlg => "document.request_object_signing_alg",
            Self::TokenEndpointAuthSigningAlg => "document.token_endpoint_auth_signing_alg",
            Self::TokenEndpointAuthSigningAlgValuesSupported => {
                "document.token_endpoint_auth_signing_alg_values_supported"
            }
            Self::IdTokenEncryptedResponseAlg => "document.id_token_encrypted_response_alg",
            Self::UserinfoEncryptedResponseAlg => "document.userinfo_encrypted_response_alg",
            Self::RequestObjectEncryptionAlg => "document.request_object_encryption_alg",
            Self::DefaultMaxAge => "document.default_max_age",
            Self::RequireAuthTime => "document.require_auth_time",
            Self::TosUri => "document.tos_uri",
            Self::PolicyUri => "document.policy_uri",
            Self::GrantTypes => "document.grant_types",
            Self::ResponseTypes => "document.response_types",
            Self::ApplicationType => "document.application_type",
            Self::RedirectUris => "document.redirect_uris",
            Self::JwksUri => "document.jwks_uri",
            Self::Jwks => "document.jwks",
            Self::ClientName => "document.client_name",
            Self::ClientUri => "document.client_uri",
            Self::LogoUri => "document.logo_uri",
            Self::TokenEndpointAuthMethod => "document.token_endpoint_auth_method",
            Self::TokenEndpointAuthMethodsSupported => {
                "document.token_endpoint_auth_methods_supported"
            }
            Self::Keys => "document.keys",
            Self::Scope => "document.scope",
            Self::DpopBoundAccessTokens => "document.dpop_bound_access_tokens",
            Self::RequirePushedAuthorizationRequests => {
                "document.require_pushed_authorization_requests"
            }
        }
    }

    /// The member that it is about.
    pub fn member(self) -> &'static str {
        let name = self.name();
        name.strip_prefix("document.").unwrap_or(name)
    }

    pub(super) fn refuse(self, reason: impl Into<Cow<'static, str>>) -> MetadataError {
        MetadataError {
            rule: self,
            reason: reason.into(),
        }
    }

    pub(super) fn wrong_type(self) -> impl Fn(WrongType) -> MetadataError {
        move |wrong| self.refuse(format!("{} {wrong}", self.member()))
    }
}

/// Why a document is refused. The sentence is for the client's developer and never repeats the document.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{reason}")]
pub struct MetadataError {
    rule: Rule,
    reason: Cow<'static, str>,
}

impl MetadataError {
    /// The rule that refuses.
    pub fn rule(&self) -> Rule {
        self.rule
    }
}

/// A rule, and what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    pub rule: Rule,
    pub verdict: Verdict,
}

/// What a rule says of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Pass,
    Fail(MetadataError),
    /// Something else has to be mended first.
    NotReached,
}

/// What the rules say of a document, in the order in which they are asked.
pub(super) trait Verdicts {
    /// Asks what may break any of these rules. `None`: it does, or there is no more to ask.
    fn ask<T>(
        &mut self,
        rules: &[Rule],
        read: impl FnOnce() -> Result<T, MetadataError>,
    ) -> Option<T>;
}

/// The first refusal ends it: nothing is asked afterwards.
#[derive(Debug, Default)]
pub(super) struct First(pub(super) Option<MetadataError>);

impl Verdicts for First {
    fn ask<T>(&mut self, _: &[Rule], read: impl FnOnce() -> Result<T, MetadataError>) -> Option<T> {
        if self.0.is_some() {
            return None;
        }
        read().map_err(|error| self.0 = Some(error)).ok()
    }
}

/// Every rule is asked, and what it says is noted.
#[derive(Debug, Default)]
pub(super) struct Every(pub(super) Vec<Judged>);

impl Verdicts for Every {
    fn ask<T>(
        &mut self,
        rules: &[Rule],
        read: impl FnOnce() -> Result<T, MetadataError>,
    ) -> Option<T> {
        let answer = read();
        let verdict = |rule: Rule| match &answer {
            Ok(_) => Verdict::Pass,
            Err(error) if error.rule == rule => Verdict::Fail(error.clone()),
            Err(_) => Verdict::NotReached,
        };
        self.0.extend(rules.iter().map(|rule| Judged {
            rule: *rule,
            verdict: verdict(*rule),
        }));
        answer.ok()
    }
}
