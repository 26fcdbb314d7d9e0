//! What to tell a client's developer: what answers instead of a document, and what to change.

use crate::fetch::Wire;

/// Rules beside those that fetching, reading and the policy about documents have.
pub(super) const USE: &str = "policy.use";
pub(super) const MEDIA: &str = "document.media_type";
pub(super) const KID: &str = "document.jwks.kid";

/// What answers instead of a document, as far as it can be told.
pub(super) fn recognise(wire: &Wire) -> Vec<String> {
    let header = |name: &str| {
        let mut found = wire.headers.iter().filter(|(known, _)| known == name);
        found.next().map(|(_, value)| value.to_ascii_lowercase())
    };
    let has = |name: &str, part: &str| header(name).is_some_and(|value| value.contains(part));
    let body = String::from_utf8_lossy(&wire.beginning).to_ascii_lowercase();
    let mut notes = Vec::new();
    let challenges: &[(&str, bool)] = &[
        (
            "Cloudflare",
            has("cf-mitigated", "challenge")
                || body.contains("/cdn-cgi/challenge-platform")
                || body.contains("just a moment..."),
        ),
        (
            "Vercel",
            header("x-vercel-mitigated").is_some() || header("x-vercel-challenge-token").is_some(),
        ),
        (
            "AWS WAF",
            header("x-amzn-waf-action").is_some() || body.contains("awswafintegration"),
        ),
        (
            "Akamai",
            has("server", "akamaighost") && wire.status == Some(403),
        ),
        (
            "Imperva",
            header("x-iinfo").is_some() || body.contains("_incapsula_resource"),
        ),
        ("DataDome", header("x-datadome").is_some()),
        (
            "Sucuri",
            header("x-sucuri-id").is_some() && wire.status == Some(403),
        ),
    ];
    let challenge = challenges.iter().find(|(_, seen)| *seen);
    if let Some((who, _)) = challenge {
        notes.push(format!(
            "A bot challenge of {who} answers instead of the document. The document must be exempt from it: it is read by servers."
        ));
    }
    let is_html = has("content-type", "text/html")
        || body.trim_start().starts_with("<!doctype html")
        || body.trim_start().starts_with("<html");
    if is_html && challenge.is_none() {
        notes.push(match wire.status {
            Some(200) => "The answer is an HTML page: many sites show their start page or a sign-in page at unknown addresses. Is the document really there?".to_owned(),
            _ => "The answer is an HTML page for an error.".to_owned(),
        });
    }
    if has("content-type", "text/plain") {
        notes.push("The answer is plain text: raw files of code hosts are served so. Publish the document where its media type can be chosen.".to_owned());
    }
    if wire
        .status
        .is_some_and(|status| (300..400).contains(&status))
    {
        let target: String = header("location")
            .unwrap_or_default()
            .chars()
            .take(200)
            .collect();
        notes.push(format!(
            "The redirect leads to {}. A client_id must be the address where the document is.",
            target.escape_debug()
        ));
    }
    notes
}

/// What to change when a rule refuses.
pub(super) fn advice(rule: &str) -> Option<&'static str> {
    Some(match rule {
        "client_id.length" => "Shorten it; 2,048 characters are the limit.",
        "client_id.character" => "Percent-encode everything but visible ASCII characters.",
        "client_id.scheme" => "Publish the document over https.",
        "client_id.fragment" => "Leave out the # and what follows it.",
        "client_id.userinfo" => "Leave out the user name and the password before the host.",
        "client_id.address" => {
            "Give the host a name: an address has no certificate that names its owner."
        }
        "client_id.host" => {
            "Write the host as its full DNS name, in lower case and in its xn-- form, with a known ending."
        }
        "client_id.port" | "client_id.default_port" => {
            "Leave the port out, or write another one than 443, without leading zeros."
        }
        "client_id.forbidden_port" => {
            "Publish it on port 443, or on one above 1023 that browsers do not block."
        }
        "client_id.path" => "Give it a path, at least /.",
        "client_id.empty_query" => "Leave out the question mark.",
        "client_id.encoded_slash" => {
            "Write the slashes of the path as slashes, and give the file a name without them."
        }
        "client_id.dot_segment" => "Leave out the . and .. in the path.",
        "client_id.percent_encoding" | "client_id.encoded_control" => {
            "Write every % as %25 or as the beginning of two hexadecimal digits of a visible character."
        }
        "client_id.canonical" => {
            "Write it as it is sent: this text and the URL that it means differ."
        }
        "client_id.query" => {
            "Publish it at an address without a query, or have the administrator set clients.allow_query."
        }
        "client_id.allowed_ports" => "Publish it on a port of clients.allowed_ports.",
        "client_id.resource" => "Publish the document at another path than the resource's own.",
        "client_id.special_name" => {
            "Publish the document under a public name. For an internal network the administrator can set fetch.allow_networks."
        }
        "client_id.own_host" => {
            "Publish the document on another host than this authorization server."
        }
        "policy.blocked" => {
            "`wayleave client forget PATTERN` with the pattern of the rule lifts it, or a change of the configuration if it stands there."
        }
        "fetch.dns" => "Check that the name has A or AAAA records that this machine can look up.",
        "fetch.address" => {
            "Every address of the host must be public. For an internal network set fetch.allow_networks."
        }
        "fetch.connect" => {
            "Check that the host listens on that port, and that no firewall stands between it and this machine."
        }
        "fetch.tls" => {
            "Check the certificate: name, dates, and that the whole chain is sent. For an authority of your own set fetch.extra_ca_file."
        }
        "fetch.head" => "The server must speak HTTP/1.1 with a head of at most 16 KiB.",
        "fetch.status" => {
            "Serve the document with status 200 at exactly this address, without sign-in and without redirect."
        }
        "fetch.encoding" => "Serve it uncompressed to those who ask for identity.",
        "fetch.size" => "Make the document smaller; fetch.max_bytes is the limit.",
        "fetch.body" => "Send the whole document at once, with its Content-Length.",
        "fetch.budget" => "Wait a moment.",
        MEDIA => "Serve it with Content-Type: application/json.",
        KID => {
            "Give the new key a kid of its own; an administrator accepts it with `wayleave client refresh URL --accept-keys`."
        }
        USE => {
            "List authorization_code among grant_types, or ask the administrator for a rule that allows what the document lists: `wayleave client trust URL --grants …`."
        }
        "document.client_id" => {
            "Write the address of the document, character by character, into its member client_id."
        }
        "document.redirect_uris" => {
            "List at least one https redirect URI, an http one on 127.0.0.1, [::1] or localhost, or one of an app's scheme."
        }
        "policy.private_use_schemes" => {
            "Begin the scheme with the client's own domain in reverse order (com.example.app:/), or ask the administrator: `wayleave client trust URL --any-private-use-scheme`."
        }
        "policy.same_origin" | "policy.same_site" => {
            "Serve it from the client's own host, or ask the administrator for a rule that allows another: `wayleave client trust URL --same-origin …`."
        }
        "document.token_endpoint_auth_method"
        | "document.token_endpoint_auth_methods_supported" => {
            "Use none, or private_key_jwt with jwks or jwks_uri."
        }
        "document.keys" => {
            "Publish the public keys in jwks, or their address in jwks_uri, not both."
        }
        "document.jwks.secret" => {
            "Publish only the public half, and replace the key: it is known now."
        }
        "document.client_secret" => "Remove it: a public document cannot hold a secret.",
        _ => return None,
    })
}
