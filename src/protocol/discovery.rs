//! Authorization server metadata: RFC 8414 §2, OpenID Connect Discovery §3, and what CIMD §6, RFC 9207 §3 and RFC 7009 §2
//! add.

use serde_json::{Value, json};

use super::{
    id_token::{self, SigningAlg},
    issuer::IssuerUrl,
    userinfo,
};

/// What this server offers, told to the metadata by those who offer it.
#[derive(Debug)]
pub struct Offer<'a> {
    pub issuer: &'a IssuerUrl,
    /// Wire names of the grants that work.
    pub grants: &'a [&'a str],
    /// May devices be signed in?
    pub devices: bool,
    /// Wire names of the client authentication methods that work.
    pub auth_methods: &'a [&'a str],
    /// Wire names of the algorithms that assertions may be signed with.
    pub assertion_algs: &'a [&'a str],
    /// Wire names of those of DPoP proofs.
    pub proof_algs: &'a [&'a str],
    /// Are authorization requests taken only when they were pushed?
    pub requires_pushing: bool,
    /// Scopes a client may ask for.
    pub scopes: &'a [String],
    /// Identifiers of the configured resources (RFC 9728 §4).
    pub resources: &'a [String],
}

/// The claims of ID tokens, beside those about people.
const TOKEN_CLAIMS: [&str; 10] = [
    "iss",
    "aud",
    "exp",
    "iat",
    "auth_time",
    "nonce",
    "at_hash",
    "acr",
    "amr",
    "sid",
];

/// The metadata document, for clients of OAuth and of OpenID Connect alike: advertises exactly what works, without null members.
pub fn document(offer: &Offer<'_>) -> Value {
    let issuer = offer.issuer;
    // RFC 7662 §2.1: who introspects authenticates.
    let introspecting: Vec<_> = offer
        .auth_methods
        .iter()
        .filter(|it| **it != "none")
        .collect();
    let claims: Vec<_> = userinfo::CLAIMS.iter().chain(&TOKEN_CLAIMS).collect();
    let mut document = json!({
        "issuer": issuer.as_str(),
        "authorization_endpoint": issuer.join("/authorize"),
        "token_endpoint": issuer.join("/token"),
        "revocation_endpoint": issuer.join("/revoke"),
        "pushed_authorization_request_endpoint": issuer.join("/par"),
        "require_pushed_authorization_requests": offer.requires_pushing,
        "introspection_endpoint": issuer.join("/introspect"),
        "userinfo_endpoint": issuer.join("/userinfo"),
        "jwks_uri": issuer.join("/jwks"),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": offer.grants,
        "scopes_supported": offer.scopes,
        "prompt_values_supported": ["none", "login", "consent", "select_account"],
        "token_endpoint_auth_methods_supported": offer.auth_methods,
        "token_endpoint_auth_signing_alg_values_supported": offer.assertion_algs,
        "revocation_endpoint_auth_methods_supported": offer.auth_methods,
        "revocation_endpoint_auth_signing_alg_values_supported": offer.assertion_algs,
        "introspection_endpoint_auth_methods_supported": introspecting,
        "introspection_endpoint_auth_signing_alg_values_supported": offer.assertion_algs,
        "dpop_signing_alg_values_supported": offer.proof_algs,
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": SigningAlg::NAMES,
        "acr_values_supported": [id_token::ACR],
        "claim_types_supported": ["normal"],
        "claims_supported": claims,
        "claims_parameter_supported": false,
        "request_parameter_supported": false,
        "request_uri_parameter_supported": false,
        "code_challenge_methods_supported": ["S256"],
        "client_id_metadata_document_supported": true,
        "authorization_response_iss_parameter_supported": true,
    });
    if offer.devices {
        // RFC 8628 §4.
        document["device_authorization_endpoint"] = json!(issuer.join("/device_authorization"));
    }
    if !offer.resources.is_empty() {
        document["protected_resources"] = json!(offer.resources);
    }
    document
}

/// Where the document is found: inserted as RFC 8414 §3.1 has it, and appended as OpenID Connect Discovery §4.1 has it,
/// both under both names.
pub fn locations(issuer: &IssuerUrl) -> Vec<String> {
    let path = issuer.path();
    let mut locations = Vec::new();
    for name in ["oauth-authorization-server", "openid-configuration"] {
        locations.push(format!("/.well-known/{name}{path}"));
        if !path.is_empty() {
            locations.push(format!("{path}/.well-known/{name}"));
        }
    }
    locations
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_with_a_path_is_found_both_ways() {
        // RFC 8414 §3.1's own example.
        assert_eq!(
            locations(&"https://example.com/issuer1".parse().unwrap()),
            [
                "/.well-known/oauth-authorization-server/issuer1",
                "/issuer1/.well-known/oauth-authorization-server",
                "/.well-known/openid-configuration/issuer1",
                // OpenID Connect Discovery §4.1's.
                "/issuer1/.well-known/openid-configuration",
            ]
        );
        assert_eq!(
            locations(&"https://example.com".parse().unwrap()),
            [
                "/.well-known/oauth-authorization-server",
                "/.well-known/openid-configuration"
            ]
        );
    }
}
