//! Rows of documents, against the rules alone.

use serde_json::{Value, json};

use super::*;

const ID: &str = "https://client.example.com/c";

/// A minimal valid document with some members changed; `"-"` as a whole value takes the member away.
fn document(changes: &Value) -> Vec<u8> {
    let mut doc = json!({
        "client_id": ID,
        "client_name": "Client",
        "redirect_uris": ["https://client.example.com/cb"],
        "token_endpoint_auth_method": "none",
    });
    for (name, value) in changes.as_object().unwrap() {
        match value.as_str() {
            Some("-") => doc.as_object_mut().unwrap().remove(name),
            _ => doc
                .as_object_mut()
                .unwrap()
                .insert(name.clone(), value.clone()),
        };
    }
    serde_json::to_vec(&doc).unwrap()
}

fn read(changes: &Value) -> Result<ClientMetadata, MetadataError> {
    parse(&ID.parse().unwrap(), &document(changes))
}

fn accepted(id: &str, changes: &Value) -> ClientMetadata {
    read(changes).unwrap_or_else(|error| panic!("{id}: {changes}: {error}"))
}

fn refused(table: &[(&str, Rule, Value)]) {
    for (id, rule, changes) in table {
        let error = read(changes).map(|_| "accepted").unwrap_err();
        assert_eq!(error.rule(), *rule, "{id}: {changes}");
        assert!(error.to_string().len() > 20, "{id}: {error}");
    }
}

fn jwk() -> Value {
    json!({"kty": "EC", "crv": "P-256", "kid": "1", "x": "fPJ7GI0DT36KUjgDBLUaw8CJaeJ38hs1pgtI_EdmmXg", "y": "B3dVENuO0EApPZrGn3Qw27p9reY86YIpngS3nSJ4c9E"})
}

#[test]
fn a_minimal_document_is_accepted() {
    let client = accepted("M-01", &json!({}));
    assert_eq!(
        client,
        ClientMetadata {
            client_id: ID.parse().unwrap(),
            client_name: Some("Client".to_owned()),
            client_uri: None,
            logo_uri: None,
            tos_uri: None,
            policy_uri: None,
            assertion_algs: None,
            redirect_uris: vec![RedirectUri::registered("https://client.example.com/cb").unwrap()],
            grants: vec![GrantType::AuthorizationCode],
            auth_methods: vec![AuthMethod::None],
            scope: None,
            application_type: ApplicationType::Web,
            jwks_uri: None,
            jwks: None,
            id_token_alg: SigningAlg::Rs256,
            default_max_age: None,
            dpop_bound_access_tokens: false,
            require_pushed_authorization_requests: false,
        }
    );
}

#[test]
fn documents_shaped_like_the_real_ones_are_accepted() {
    use AuthMethod::{None as Public, PrivateKeyJwt};
    use GrantType::{AuthorizationCode, DeviceCode, RefreshToken};
    type Row = (
        &'static str,
        Value,
        &'static [GrantType],
        &'static [AuthMethod],
        ApplicationType,
    );
    let table: &[Row] = &[
        (
            "Claude",
            json!({
                "client_id": "https://chat.example.com/oauth/mcp-client-metadata",
                "client_name": "Chat", "client_uri": "https://chat.example.com",
                "redirect_uris": ["https://chat.example.com/api/mcp/auth_callback"],
                "grant_types": ["authorization_code", "refresh_token",
                                "urn:ietf:params:oauth:grant-type:jwt-bearer"],
                "response_types": ["code"], "token_endpoint_auth_method": "none",
            }),
            &[AuthorizationCode, RefreshToken],
            &[Public],
            ApplicationType::Web,
        ),
        (
            "Claude Code",
            json!({
                "client_id": "https://chat.example.com/oauth/code-client-metadata",
                "client_name": "Chat Code", "client_uri": "https://chat.example.com",
                "redirect_uris": ["http://localhost/callback", "http://127.0.0.1/callback"],
                "grant_types": ["authorization_code", "refresh_token"],
                "response_types": ["code"], "token_endpoint_auth_method": "none",
            }),
            &[AuthorizationCode, RefreshToken],
            &[Public],
            ApplicationType::Native,
        ),
        (
            "VS Code",
            json!({
                "client_id": "https://editor.example.com/oauth/client-metadata.json",
                "client_name": "Editor", "client_uri": "https://editor.example.com",
                "logo_uri": "https://editor.example.com/logo.png",
                "grant_types": ["authorization_code", "refresh_token",
                                "urn:ietf:params:oauth:grant-type:device_code"],
                "response_types": ["code"], "application_type": "native",
                "redirect_uris": ["http://127.0.0.1:33418/", "https://editor.example.com/redirect",
                                  "http://127.0.0.1/", "http://localhost/"],
                "token_endpoint_auth_method": "none",
            }),
            &[AuthorizationCode, RefreshToken, DeviceCode],
            &[Public],
            ApplicationType::Native,
        ),
        (
            "ChatGPT (M-73)",
            json!({
                "client_id": "https://gpt.example.com/oauth/connector.json",
                "client_name": "GPT", "redirect_uris": ["https://gpt.example.com/connector/oauth/cb"],
                "grant_types": ["authorization_code", "refresh_token"], "response_types": ["code"],
                "token_endpoint_auth_method": "private_key_jwt",
                "token_endpoint_auth_methods_supported": ["none", "private_key_jwt"],
                "token_endpoint_auth_signing_alg": "RS256",
                "jwks_uri": "https://gpt.example.com/oauth/jwks.json",
            }),
            &[AuthorizationCode, RefreshToken],
            &[PrivateKeyJwt, Public],
            ApplicationType::Web,
        ),
        (
            "Bluesky",
            json!({
                "client_id": "https://events.example.com/oauth-client-metadata.json",
                "client_name": "Events", "client_uri": "https://events.example.com",
                "tos_uri": "https://events.example.com/tos", "policy_uri": "https://events.example.com/p",
                "redirect_uris": ["https://events.example.com/oauth/callback"],
                "grant_types": ["authorization_code", "refresh_token"], "response_types": ["code"],
                "scope": "atproto transition:generic", "application_type": "web",
                "token_endpoint_auth_method": "private_key_jwt",
                "token_endpoint_auth_signing_alg": "ES256", "dpop_bound_access_tokens": true,
                "jwks": {"keys": [{"kty": "EC", "crv": "P-256", "kid": "1", "x": "fPJ7GI0DT36KUjgDBLUaw8CJaeJ38hs1pgtI_EdmmXg", "y": "B3dVENuO0EApPZrGn3Qw27p9reY86YIpngS3nSJ4c9E",
                                   "key_ops": ["verify", "encrypt", "wrapKey"]}]},
            }),
            &[AuthorizationCode, RefreshToken],
            &[PrivateKeyJwt],
            ApplicationType::Web,
        ),
        (
            "Solid",
            json!({
                "@context": ["https://www.w3.org/ns/solid/oidc-context.jsonld"],
                "client_id": "https://pod.example.com/id.jsonld", "client_name": "Pod",
                "redirect_uris": ["https://pod.example.com/"], "scope": "openid webid offline_access",
                "grant_types": ["refresh_token", "authorization_code"], "response_types": ["code"],
                "post_logout_redirect_uris": ["https://pod.example.com/"], "default_max_age": 3600,
                "require_auth_time": true, "id_token_signed_response_alg": "ES256",
            }),
            &[RefreshToken, AuthorizationCode],
            &[Public],
            ApplicationType::Web,
        ),
    ];
    for (name, doc, grants, methods, application_type) in table {
        let id = doc["client_id"].as_str().unwrap().parse().unwrap();
        let client = parse(&id, doc.to_string().as_bytes()).unwrap();
        assert_eq!(client.grants, *grants, "{name}");
        assert_eq!(client.auth_methods, *methods, "{name}");
        assert_eq!(client.application_type, *application_type, "{name}");
        assert_eq!(
            client.redirect_uris.len(),
            doc["redirect_uris"].as_array().unwrap().len(),
            "{name}"
        );
        assert_eq!(client.jwks.is_some(), doc.get("jwks").is_some(), "{name}");
        assert_eq!(
            client.dpop_bound_access_tokens,
            doc.get("dpop_bound_access_tokens").is_some()
        );
    }
}

#[test]
fn a_text_that_is_no_strict_json_object_is_refused() {
    let inside = |member: &str| {
        let doc = String::from_utf8(document(&json!({}))).unwrap();
        format!("{},{member}}}", doc.strip_suffix('}').unwrap()).into_bytes()
    };
    let nested =
        |depth: usize| inside(&format!("\"x\":{}{}", "[".repeat(depth), "]".repeat(depth)));
    let table: Vec<(&str, Rule, Vec<u8>)> = vec![
        (
            "M-02",
            Rule::Json,
            [b"\xef\xbb\xbf".as_slice(), &document(&json!({}))].concat(),
        ),
        ("M-03", Rule::Json, inside(r#""x":"\ud800""#)),
        ("M-04", Rule::Json, inside(r#""x":"a\u0000b""#)),
        ("M-05", Rule::Json, inside(r#""client_id":"x""#)),
        ("M-05", Rule::Json, inside(r#""client\u005fid":"x""#)),
        ("M-05", Rule::Json, inside(r#""x":{"a":1,"a":2}"#)),
        (
            "M-06",
            Rule::Json,
            [document(&json!({})), b"{}".to_vec()].concat(),
        ),
        ("M-07", Rule::Object, b"[]".to_vec()),
        (
            "M-07",
            Rule::Object,
            format!(r#"["{ID}","Name",["https://a.example.com/"]]"#).into(),
        ),
        ("M-07", Rule::Object, b"\"x\"".to_vec()),
        ("M-07", Rule::Object, b"1".to_vec()),
        ("M-07", Rule::Object, b"null".to_vec()),
        ("M-07", Rule::Object, b"true".to_vec()),
        ("M-08", Rule::Json, nested(128)),
        ("M-08", Rule::Json, nested(10_000)),
        ("M-09", Rule::Json, inside("\"x\":1e999")),
        ("H-39", Rule::Json, Vec::new()),
        ("H-39", Rule::ClientId, b"{}".to_vec()),
    ];
    for (id, rule, body) in table {
        let error = parse(&ID.parse().unwrap(), &body).unwrap_err();
        assert_eq!(error.rule(), rule, "{id}");
    }
    assert!(parse(&ID.parse().unwrap(), &nested(64)).is_ok(), "M-08");
    assert!(
        parse(
            &ID.parse().unwrap(),
            &inside("\"x\":123456789012345678901234567890")
        )
        .is_ok(),
        "M-09"
    );
}

#[test]
fn too_many_members_or_redirect_uris_are_refused() {
    let members = |count: usize| {
        (0..count)
            .map(|i| (format!("x{i}"), json!(i)))
            .collect::<Value>()
    };
    let uris = |count: usize| {
        let uris: Vec<_> = (0..count)
            .map(|i| format!("https://client.example.com/{i}"))
            .collect();
        json!({"redirect_uris": uris})
    };
    accepted("M-10", &members(60));
    assert_eq!(accepted("M-10", &uris(32)).redirect_uris.len(), 32);
    refused(&[
        ("M-10", Rule::Members, members(61)),
        ("M-10", Rule::Members, members(10_000)),
        ("M-10", Rule::RedirectUris, uris(33)),
        ("M-10", Rule::RedirectUris, uris(500)),
    ]);
}

#[test]
fn the_document_must_name_its_own_url() {
    let ids = [
        "-",
        "",
        "https://CLIENT.example.com/c",
        "https://client.example.com/C",
        "https://client.example.com/c/",
        "https://client.example.com:443/c",
        "https://client.example.com/%63",
        "http://client.example.com/c",
        "https://client.example.com/c ",
        "https://client.example.com/c?",
        "https://other.example.com/c",
    ];
    let wrong_types = [json!(null), json!(1), json!([ID]), json!({"x": ID})];
    for id in ids.into_iter().map(Value::from).chain(wrong_types) {
        refused(&[("M-11, M-12, M-13", Rule::ClientId, json!({"client_id": id}))]);
    }
    let with_query: ClientUrl = "https://client.example.com/c?a=1&b=2".parse().unwrap();
    for id in ["https://client.example.com/c?b=2&a=1", ID] {
        let error = parse(&with_query, &document(&json!({"client_id": id}))).unwrap_err();
        assert_eq!(error.rule(), Rule::ClientId, "M-12");
    }
}

#[test]
fn a_name_is_a_string_without_control_characters() {
    let table: &[(&str, Value, Option<&str>)] = &[
        ("M-14", json!("-"), None),
        ("M-14", json!(""), None),
        ("M-14", json!("  \u{a0} "), None),
        ("trimmed", json!("  My App "), Some("My App")),
        (
            "M-40",
            json!("<script>alert(1)</script>"),
            Some("<script>alert(1)</script>"),
        ),
        ("M-40", json!("%0d%0a{{7*7}}"), Some("%0d%0a{{7*7}}")),
        ("M-41", json!("a\u{202e}b"), Some("a\u{202e}b")),
    ];
    for (id, name, expected) in table {
        let client = accepted(id, &json!({"client_name": name}));
        assert_eq!(client.client_name.as_deref(), *expected, "{id}");
    }
    for name in [
        json!("a\u{0}b"),
        json!("\u{7}"),
        json!("\u{1b}[31m"),
        json!("a\nb"),
        json!("\u{85}"),
        json!(1),
    ] {
        let error = read(&json!({"client_name": name})).unwrap_err();
        assert!(
            [Rule::ClientName, Rule::Json].contains(&error.rule()),
            "M-04, M-14: {name}"
        );
    }
}

#[test]
fn bad_redirect_uris_are_dropped_and_good_ones_are_kept_once() {
    let rule = Rule::RedirectUris;
    let good = "https://client.example.com/cb";
    refused(&[
        ("M-15", rule, json!({"redirect_uris": "-"})),
        ("M-15", rule, json!({"redirect_uris": []})),
        ("M-15", rule, json!({"redirect_uris": good})),
        ("M-15", rule, json!({"redirect_uris": {"0": good}})),
        ("M-15", rule, json!({"redirect_uris": [1]})),
        ("M-15", rule, json!({"redirect_uris": [good, 1]})),
        ("M-15", rule, json!({"redirect_uris": [good, null]})),
        ("M-15", rule, json!({"redirect_uris": null})),
        (
            "M-15",
            rule,
            json!({"redirect_uris": [format!("https://client.example.com/{}", "a".repeat(2048))]}),
        ),
        (
            "R-07",
            rule,
            json!({"redirect_uris": ["https://*.example.com/cb"]}),
        ),
        (
            "R-11",
            rule,
            json!({"redirect_uris": ["myapp:cb", "ms-settings:/cb"]}),
        ),
        (
            "web",
            rule,
            json!({"redirect_uris": ["http://localhost/cb"], "application_type": "web"}),
        ),
        (
            "type",
            Rule::ApplicationType,
            json!({"application_type": "browser"}),
        ),
        (
            "type",
            Rule::ApplicationType,
            json!({"application_type": ["web"]}),
        ),
    ]);
    let kept = |changes: Value| -> Vec<String> {
        let client = accepted("M-70", &changes);
        client
            .redirect_uris
            .iter()
            .map(ToString::to_string)
            .collect()
    };
    assert_eq!(kept(json!({"redirect_uris": [good, good]})), [good], "M-15");
    assert_eq!(
        kept(json!({"redirect_uris": ["vscode://x/y", good, "javascript:alert(1)"]})),
        ["vscode://x/y", good],
        "M-70: since November 2026 the policy decides about schemes"
    );
    let mixed = json!(["http://127.0.0.1/cb", good]);
    assert_eq!(
        kept(json!({"redirect_uris": mixed, "application_type": "web"})),
        [good]
    );
    assert_eq!(
        kept(json!({"redirect_uris": mixed, "application_type": "native"})).len(),
        2
    );
    assert_eq!(kept(json!({"redirect_uris": mixed})).len(), 2);
    let device = json!(["urn:ietf:params:oauth:grant-type:device_code"]);
    assert_eq!(
        kept(json!({"redirect_uris": "-", "grant_types": device})).len(),
        0
    );
    let native = accepted(
        "inferred",
        &json!({"redirect_uris": ["com.example.app:/cb", good]}),
    );
    assert_eq!(native.application_type, ApplicationType::Native);
}

#[test]
fn shared_secrets_are_refused_wherever_they_are_announced() {
    let one = Rule::TokenEndpointAuthMethod;
    let many = Rule::TokenEndpointAuthMethodsSupported;
    for method in [
        "client_secret_basic",
        "client_secret_post",
        "client_secret_jwt",
        "CLIENT_SECRET_BASIC",
    ] {
        refused(&[
            ("M-20", one, json!({"token_endpoint_auth_method": method})),
            (
                "M-20",
                many,
                json!({"token_endpoint_auth_methods_supported": ["none", method]}),
            ),
            (
                "M-20",
                one,
                json!({"token_endpoint_auth_method": method,
                "token_endpoint_auth_methods_supported": ["none"]}),
            ),
        ]);
    }
    for method in [
        json!(" none"),
        json!("foo"),
        json!("tls_client_auth"),
        json!("self_signed_tls_client_auth"),
        json!("None"),
        json!(""),
        json!(1),
        json!(["none"]),
    ] {
        refused(&[("M-20", one, json!({"token_endpoint_auth_method": method}))]);
    }
    for (name, value) in [
        ("client_secret", json!("x")),
        ("client_secret", json!("")),
        ("client_secret", json!(null)),
        ("client_secret_expires_at", json!(0)),
        ("client_secret_expires_at", json!(-1)),
    ] {
        refused(&[("M-21", Rule::ClientSecret, json!({name: value}))]);
    }
}

#[test]
fn authentication_methods_are_negotiated() {
    use AuthMethod::{None as Public, PrivateKeyJwt};
    let rule = Rule::TokenEndpointAuthMethodsSupported;
    let uri = "https://client.example.com/jwks";
    let table: &[(&str, Value, &[AuthMethod])] = &[
        (
            "M-22",
            json!({"token_endpoint_auth_method": "-"}),
            &[Public],
        ),
        ("M-23", json!({"jwks": {"keys": [jwk()]}}), &[Public]),
        ("M-72", json!({"jwks_uri": uri}), &[Public]),
        (
            "one",
            json!({"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": uri}),
            &[PrivateKeyJwt],
        ),
        (
            "one",
            json!({"token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": [jwk()]}}),
            &[PrivateKeyJwt],
        ),
        (
            "plural only",
            json!({"token_endpoint_auth_method": "-", "jwks_uri": uri,
                "token_endpoint_auth_methods_supported": ["tls_client_auth", "private_key_jwt"]}),
            &[PrivateKeyJwt],
        ),
        (
            "M-73",
            json!({"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": uri,
                "token_endpoint_auth_methods_supported": ["none", "private_key_jwt", "none"]}),
            &[PrivateKeyJwt, Public],
        ),
        (
            "an unknown singular among usable plurals",
            json!({"token_endpoint_auth_method": "foo", "token_endpoint_auth_methods_supported": ["foo", "none"]}),
            &[Public],
        ),
        (
            "a choice without keys",
            json!({"token_endpoint_auth_methods_supported": ["none", "private_key_jwt"]}),
            &[Public],
        ),
        (
            "any algorithm when unused",
            json!({"token_endpoint_auth_signing_alg": "ES384"}),
            &[Public],
        ),
    ];
    for (case, changes, expected) in table {
        assert_eq!(accepted(case, changes).auth_methods, *expected, "{case}");
    }
    let signed = |mut changes: Value| {
        changes["token_endpoint_auth_method"] = json!("private_key_jwt");
        changes
    };
    let alg = Rule::TokenEndpointAuthSigningAlg;
    refused(&[
        ("M-23", Rule::Keys, signed(json!({}))),
        ("M-23", Rule::Keys, signed(json!({"jwks": {"keys": []}}))),
        (
            "M-23",
            Rule::Keys,
            signed(json!({"jwks": {"keys": [jwk()]}, "jwks_uri": uri})),
        ),
        (
            "M-24",
            alg,
            signed(json!({"jwks_uri": uri, "token_endpoint_auth_signing_alg": "none"})),
        ),
        (
            "M-24",
            alg,
            signed(json!({"jwks_uri": uri, "token_endpoint_auth_signing_alg": "HS256"})),
        ),
        (
            "M-24",
            alg,
            signed(json!({"jwks_uri": uri, "token_endpoint_auth_signing_alg": "XX999"})),
        ),
        (
            "M-24",
            alg,
            json!({"token_endpoint_auth_signing_alg": "HS512"}),
        ),
        (
            "plural without the singular",
            Rule::TokenEndpointAuthMethod,
            signed(json!({"jwks_uri": uri, "token_endpoint_auth_methods_supported": ["none"]})),
        ),
        (
            "nothing usable",
            rule,
            json!({"token_endpoint_auth_method": "-",
            "token_endpoint_auth_methods_supported": ["tls_client_auth"]}),
        ),
        (
            "empty",
            rule,
            json!({"token_endpoint_auth_method": "-", "token_endpoint_auth_methods_supported": []}),
        ),
        (
            "type",
            rule,
            json!({"token_endpoint_auth_methods_supported": "none"}),
        ),
        (
            "type",
            rule,
            json!({"token_endpoint_auth_methods_supported": ["none", 1]}),
        ),
    ]);
}

#[test]
fn key_material_that_must_be_private_is_refused() {
    for name in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
        let mut key = jwk();
        key[name] = json!("AA");
        refused(&[
            (
                "private key",
                Rule::JwksSecret,
                json!({"jwks": {"keys": [jwk(), key]}}),
            ),
            (
                "hidden deeper",
                Rule::JwksSecret,
                json!({"jwks": {"keys": [jwk()], "x": [{"y": key}]}}),
            ),
        ]);
    }
    refused(&[
        (
            "symmetric",
            Rule::JwksSecret,
            json!({"jwks": {"keys": [{"kty": "oct"}]}}),
        ),
        ("type", Rule::Jwks, json!({"jwks": "{}"})),
        ("type", Rule::Jwks, json!({"jwks": {}})),
        ("type", Rule::Jwks, json!({"jwks": {"keys": [1]}})),
    ]);
}

#[test]
fn unsupported_grant_and_response_types_are_dropped() {
    use GrantType::{AuthorizationCode, ClientCredentials, DeviceCode, RefreshToken};
    let device = "urn:ietf:params:oauth:grant-type:device_code";
    let table: &[(&str, Value, &[GrantType])] = &[
        ("absent", json!({}), &[AuthorizationCode]),
        (
            "M-26",
            json!({"grant_types": ["implicit", "authorization_code", "password", "urn:x:y"]}),
            &[AuthorizationCode],
        ),
        (
            "M-26",
            json!({"grant_types": ["authorization_code", "authorization_code"]}),
            &[AuthorizationCode],
        ),
        (
            "M-26",
            json!({"grant_types": ["client_credentials"]}),
            &[ClientCredentials],
        ),
        (
            "M-27",
            json!({"response_types": ["code", "id_token token", "code token"]}),
            &[AuthorizationCode],
        ),
        (
            "M-71",
            json!({"response_types": ["code", "none"], "grant_types": ["authorization_code"]}),
            &[AuthorizationCode],
        ),
        (
            "refresh",
            json!({"grant_types": ["refresh_token", "authorization_code"]}),
            &[RefreshToken, AuthorizationCode],
        ),
        (
            "device",
            json!({"grant_types": [device], "response_types": []}),
            &[DeviceCode],
        ),
    ];
    for (case, changes, expected) in table {
        assert_eq!(accepted(case, changes).grants, *expected, "{case}");
    }
    let (grants, responses) = (Rule::GrantTypes, Rule::ResponseTypes);
    refused(&[
        ("M-26", grants, json!({"grant_types": []})),
        (
            "M-26",
            grants,
            json!({"grant_types": ["implicit", "password"]}),
        ),
        (
            "M-26",
            grants,
            json!({"grant_types": ["implicit", "refresh_token"]}),
        ),
        (
            "M-26",
            grants,
            json!({"grant_types": ["urn:ietf:params:oauth:grant-type:jwt-bearer"]}),
        ),
        ("M-26", grants, json!({"grant_types": "authorization_code"})),
        (
            "M-26",
            grants,
            json!({"grant_types": ["authorization_code", null]}),
        ),
        ("M-27", responses, json!({"response_types": []})),
        (
            "M-27",
            responses,
            json!({"response_types": ["token", "id_token token"]}),
        ),
        (
            "M-27",
            responses,
            json!({"response_types": ["code token", "none"]}),
        ),
        ("M-27", responses, json!({"response_types": "code"})),
        ("M-27", responses, json!({"response_types": ["code", 1]})),
    ]);
    for grant in [
        AuthorizationCode,
        RefreshToken,
        DeviceCode,
        ClientCredentials,
    ] {
        assert_eq!(GrantType::from_wire(grant.as_str()), Some(grant));
    }
}

#[test]
fn members_of_the_wrong_type_or_value_are_refused() {
    refused(&[
        (
            "M-25",
            Rule::IdTokenSignedResponseAlg,
            json!({"id_token_signed_response_alg": "none"}),
        ),
        (
            "M-25",
            Rule::IdTokenSignedResponseAlg,
            json!({"id_token_signed_response_alg": "HS256"}),
        ),
        (
            "M-25",
            Rule::RequestObjectSigningAlg,
            json!({"request_object_signing_alg": "none"}),
        ),
        (
            "M-25",
            Rule::IdTokenEncryptedResponseAlg,
            json!({"id_token_encrypted_response_alg": "RSA1_5"}),
        ),
        ("M-29", Rule::DefaultMaxAge, json!({"default_max_age": -1})),
        ("M-29", Rule::DefaultMaxAge, json!({"default_max_age": "5"})),
        ("M-29", Rule::DefaultMaxAge, json!({"default_max_age": 1.5})),
        (
            "M-29",
            Rule::DefaultMaxAge,
            json!({"default_max_age": 1e300}),
        ),
        (
            "M-29",
            Rule::RequireAuthTime,
            json!({"require_auth_time": "true"}),
        ),
        (
            "M-29",
            Rule::DpopBoundAccessTokens,
            json!({"dpop_bound_access_tokens": 1}),
        ),
        (
            "M-29",
            Rule::RequirePushedAuthorizationRequests,
            json!({"require_pushed_authorization_requests": "false"}),
        ),
        ("M-28", Rule::Scope, json!({"scope": "a\nb"})),
        ("M-28", Rule::Scope, json!({"scope": "a \"b\""})),
        ("M-28", Rule::Scope, json!({"scope": ["a"]})),
    ]);
    let client = accepted(
        "flags",
        &json!({"require_pushed_authorization_requests": true, "scope": "b a  b"}),
    );
    assert!(client.require_pushed_authorization_requests);
    assert_eq!(client.scope, Some(vec!["b".to_owned(), "a".to_owned()]));
}

#[test]
fn urls_that_people_may_follow_are_web_urls() {
    let rules = [
        Rule::ClientUri,
        Rule::LogoUri,
        Rule::TosUri,
        Rule::PolicyUri,
        Rule::JwksUri,
    ];
    for rule in rules {
        let long = format!("https://client.example.com/{}", "a".repeat(10_000));
        for bad in [
            "javascript:alert(1)",
            "JavaScript://x/%0aalert(1)",
            "data:image/svg+xml,<svg/>",
            "file:///etc/passwd",
            "ftp://client.example.com/",
            "/logo.png",
            "https:",
            "https:///x",
            "https://u@client.example.com/",
            "https://u:p@client.example.com/",
            "https://a\tb.example.com/",
            " https://client.example.com/",
            "https://client.example.com\\@evil.example.org/",
            &long,
        ] {
            refused(&[("M-43, M-44", rule, json!({rule.member(): bad}))]);
        }
        refused(&[("type", rule, json!({rule.member(): 1}))]);
        accepted(
            "https",
            &json!({rule.member(): "https://client.example.com/x?y"}),
        );
    }
    accepted("M-44", &json!({"client_uri": "http://client.example.com/"}));
    refused(&[(
        "keys in clear",
        Rule::JwksUri,
        json!({"jwks_uri": "http://client.example.com/jwks"}),
    )]);
}

#[test]
fn members_that_mean_nothing_here_are_ignored() {
    accepted(
        "M-30",
        &json!({"subject_type": "pairwise", "sector_identifier_uri": "http://10.0.0.1/"}),
    );
    accepted(
        "M-31",
        &json!({"request_uris": ["http://10.0.0.1/"], "backchannel_logout_uri": "http://10.0.0.1/",
        "software_statement": "x", "registration_client_uri": "http://10.0.0.1/", "initiate_login_uri": 1}),
    );
    accepted(
        "M-32",
        &json!({"__proto__": {}, "constructor": 1, "$schema": "x", "x-a": null, "client_name#ja": "\u{3042}"}),
    );
    accepted(
        "M-45",
        &json!({"contacts": ["<b>\r\n"], "software_id": "<b>"}),
    );
}

#[test]
fn f_11_what_is_null_or_empty_counts_as_absent_where_it_may_be_absent() {
    let absent = accepted("F-11", &json!({"client_name": "-"}));
    let optional = [
        "client_name",
        "client_uri",
        "logo_uri",
        "tos_uri",
        "policy_uri",
        "scope",
        "jwks",
        "jwks_uri",
        "grant_types",
        "response_types",
        "token_endpoint_auth_method",
        "token_endpoint_auth_methods_supported",
        "token_endpoint_auth_signing_alg",
        "application_type",
        "id_token_signed_response_alg",
        "default_max_age",
        "require_auth_time",
        "dpop_bound_access_tokens",
        "require_pushed_authorization_requests",
    ];
    for name in optional {
        let read = accepted("F-11", &json!({"client_name": "-", name: null}));
        assert_eq!(read, absent, "{name}");
    }
    for name in MAY_BE_EMPTY {
        let read = accepted("F-11", &json!({"client_name": "-", *name: ""}));
        assert_eq!(read, absent, "{name}");
    }
    refused(&[
        ("F-11", Rule::RedirectUris, json!({"redirect_uris": null})),
        ("F-11", Rule::ClientId, json!({"client_id": null})),
        ("F-11", Rule::ClientSecret, json!({"client_secret": null})),
        ("F-11", Rule::JwksUri, json!({"jwks_uri": ""})),
        (
            "F-11",
            Rule::TokenEndpointAuthMethod,
            json!({"token_endpoint_auth_method": ""}),
        ),
    ]);
}

#[test]
fn every_rule_is_asked_once_in_the_order_of_the_list() {
    let judged = judge(&ID.parse().unwrap(), &document(&json!({})));
    let asked: Vec<_> = judged.iter().map(|judged| judged.rule).collect();
    assert_eq!(asked, Rule::ALL);
    let no_object = judge(&ID.parse().unwrap(), b"[]");
    let asked: Vec<_> = no_object.iter().map(|judged| judged.rule).collect();
    assert_eq!(asked, Rule::ALL);
    assert!(
        no_object[2..]
            .iter()
            .all(|judged| judged.verdict == Verdict::NotReached)
    );
}
