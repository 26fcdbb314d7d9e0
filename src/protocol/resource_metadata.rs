//! What a protected resource says of itself: RFC 9728, written for it by the server that issues its tokens.

use serde_json::{Value, json};
use url::Url;

use super::issuer::IssuerUrl;

const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// A resource, as its metadata describes it.
#[derive(Debug)]
pub struct Described<'a> {
    /// Its identifier: clients compare it with the URL that they call, character by character (§3.3).
    pub id: &'a str,
    pub name: Option<&'a str>,
    pub scopes: &'a [&'a str],
    pub issuer: &'a IssuerUrl,
    pub proof_algs: &'a [&'a str],
}

/// The metadata document, §2, without null members.
pub fn document(resource: &Described<'_>) -> Value {
    let mut document = json!({
        "resource": resource.id,
        "authorization_servers": [resource.issuer.as_str()],
        "bearer_methods_supported": ["header"],
        "dpop_signing_alg_values_supported": resource.proof_algs,
    });
    if let Some(name) = resource.name {
        document["resource_name"] = json!(name);
    }
    if !resource.scopes.is_empty() {
        document["scopes_supported"] = json!(resource.scopes);
    }
    document
}

/// Where the resource has to serve it, §3.1: the well-known part stands between host and path.
pub fn location(id: &str) -> Option<String> {
    let url = Url::parse(id).ok()?;
    let origin = url.origin().ascii_serialization();
    // A slash that ends the path, or is all of it, is not carried over: RFC 8615 §3.
    let path = url.path().trim_end_matches('/');
    let query = url
        .query()
        .map_or_else(String::new, |query| format!("?{query}"));
    Some(format!("{origin}{WELL_KNOWN}{path}{query}"))
}

/// The `WWW-Authenticate` value of its 401, §5.1, with the scopes that a client should ask for (RFC 6750 §3).
pub fn challenge(id: &str, scopes: &[&str]) -> Option<String> {
    let location = location(id)?;
    let scope = match scopes {
        [] => String::new(),
        scopes => format!(", scope=\"{}\"", scopes.join(" ")),
    };
    Some(format!("Bearer resource_metadata=\"{location}\"{scope}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_metadata_lies_between_host_and_path() {
        // RFC 9728 §3.1's own examples, and what is not in them.
        let table = [
            (
                "https://resource.example.com",
                "https://resource.example.com/.well-known/oauth-protected-resource",
            ),
            (
                "https://resource.example.com/",
                "https://resource.example.com/.well-known/oauth-protected-resource",
            ),
            (
                "https://resource.example.com/resource1",
                "https://resource.example.com/.well-known/oauth-protected-resource/resource1",
            ),
            (
                "https://resource.example.com/a/mcp/",
                "https://resource.example.com/.well-known/oauth-protected-resource/a/mcp",
            ),
            (
                "https://resource.example.com:8443/mcp?k=v",
                "https://resource.example.com:8443/.well-known/oauth-protected-resource/mcp?k=v",
            ),
        ];
        for (id, expected) in table {
            assert_eq!(location(id).as_deref(), Some(expected), "{id}");
        }
    }

    #[test]
    fn a_document_says_whose_tokens_are_taken() {
        let issuer = "https://id.example.com".parse().unwrap();
        let described = Described {
            id: "https://notes.example.com/mcp",
            name: None,
            scopes: &["notes.read"],
            issuer: &issuer,
            proof_algs: &["ES256"],
        };
        assert_eq!(
            document(&described),
            json!({
                "resource": "https://notes.example.com/mcp",
                "authorization_servers": ["https://id.example.com"],
                "bearer_methods_supported": ["header"],
                "dpop_signing_alg_values_supported": ["ES256"],
                "scopes_supported": ["notes.read"],
            })
        );
        assert_eq!(
            challenge(described.id, described.scopes).unwrap(),
            "Bearer resource_metadata=\"https://notes.example.com/.well-known/oauth-protected-resource/mcp\", scope=\"notes.read\""
        );
    }
}
