//! Authorization server metadata: RFC 8414 §2, and what CIMD §6, RFC 9207 §3 and RFC 7009 §2 add.

use serde_json::{Value, json};

use super::issuer::IssuerUrl;

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

/// The metadata document: advertises exactly what works, without null members.
pub fn document(offer: &Offer<'_>) -> Value {
    let issuer = offer.issuer;
    let mut document = json!({
        "issuer": issuer.as_str(),
        "authorization_endpoint": issuer.join("/authorize"),
        "token_endpoint": issuer.join("/token"),
        "revocation_endpoint": issuer.join("/revoke"),
        "pushed_authorization_request_endpoint": issuer.join("/par"),
        "require_pushed_authorization_requests": offer.requires_pushing,
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
        "dpop_signing_alg_values_supported": offer.proof_algs,
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

/// Where the document is found: RFC 8414 §3.1's insertion, and appended for clients that do that.
pub fn locations(issuer: &IssuerUrl) -> Vec<String> {
    const WELL_KNOWN: &str = "/.well-known/oauth-authorization-server";
    let path = issuer.path();
    let mut locations = vec![format!("{WELL_KNOWN}{path}")];
    if !path.is_empty() {
        locations.push(format!("{path}{WELL_KNOWN}"));
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
                "/issuer1/.well-known/oauth-authorization-server"
            ]
        );
        assert_eq!(
            locations(&"https://example.com".parse().unwrap()),
            ["/.well-known/oauth-authorization-server"]
        );
    }
}
