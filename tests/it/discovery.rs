//! Metadata, keys, CORS, health: what a client reads before it asks.

use axum::body::Body;
use http::Request;
use serde_json::json;

use crate::support::{Database, TestApp, on_both};

on_both! {
    async fn metadata_says_what_works_and_nothing_else(database) {
        let server = TestApp::new(database).await;
        let page = server.browser().get("/.well-known/oauth-authorization-server").await;
        assert_eq!((page.status.as_u16(), page.header("content-type")), (200, "application/json"));
        let metadata = page.json();
        let methods = json!(["none", "private_key_jwt", "client_secret_basic", "client_secret_post"]);
        let algs = json!(["ES256", "PS256", "EdDSA", "RS256"]);
        let expected = json!({
            "issuer": "http://127.0.0.1:8080",
            "authorization_endpoint": "http://127.0.0.1:8080/authorize",
            "token_endpoint": "http://127.0.0.1:8080/token",
            "revocation_endpoint": "http://127.0.0.1:8080/revoke",
            "pushed_authorization_request_endpoint": "http://127.0.0.1:8080/par",
            "require_pushed_authorization_requests": false,
            "device_authorization_endpoint": "http://127.0.0.1:8080/device_authorization",
            "introspection_endpoint": "http://127.0.0.1:8080/introspect",
            "userinfo_endpoint": "http://127.0.0.1:8080/userinfo",
            "jwks_uri": "http://127.0.0.1:8080/jwks",
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "grant_types_supported": ["authorization_code", "client_credentials", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"],
            "scopes_supported": ["notes.read", "notes.write", "mail", "openid", "profile", "email", "offline_access"],
            "prompt_values_supported": ["none", "login", "consent", "select_account"],
            "token_endpoint_auth_methods_supported": methods,
            "token_endpoint_auth_signing_alg_values_supported": algs,
            "revocation_endpoint_auth_methods_supported": methods,
            "revocation_endpoint_auth_signing_alg_values_supported": algs,
            "introspection_endpoint_auth_methods_supported": ["private_key_jwt", "client_secret_basic", "client_secret_post"],
            "introspection_endpoint_auth_signing_alg_values_supported": algs,
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256", "RS256", "EdDSA"],
            "acr_values_supported": ["urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport"],
            "claim_types_supported": ["normal"],
            "claims_supported": [
                "sub", "name", "preferred_username", "updated_at", "email", "email_verified",
                "iss", "aud", "exp", "iat", "auth_time", "nonce", "at_hash", "acr", "amr", "sid",
            ],
            "claims_parameter_supported": false,
            "request_parameter_supported": false,
            "request_uri_parameter_supported": false,
            "dpop_signing_alg_values_supported": ["ES256", "PS256", "EdDSA"],
            "code_challenge_methods_supported": ["S256"],
            "client_id_metadata_document_supported": true,
            "authorization_response_iss_parameter_supported": true,
            "protected_resources": ["https://notes.example.com/mcp", "https://mail.example.com/", "https://admin.example.com/"],
        });
        assert_eq!(metadata, expected);
        // One document under both names: whichever a client finds is complete.
        let openid = server.browser().get("/.well-known/openid-configuration").await;
        assert_eq!((openid.status.as_u16(), openid.header("content-type")), (200, "application/json"));
        assert_eq!(openid.json(), expected);
    }
}

#[tokio::test]
async fn an_issuer_with_a_path_serves_everything_below_it() {
    let server = TestApp::with(
        Database::sqlite(),
        &[("WAYLEAVE_ISSUER", "https://id.example.com/auth")],
    )
    .await;
    for path in [
        "/.well-known/oauth-authorization-server/auth",
        "/auth/.well-known/oauth-authorization-server",
        "/.well-known/openid-configuration/auth",
        "/auth/.well-known/openid-configuration",
    ] {
        let page = server.browser().get(path).await;
        assert_eq!(page.status, 200, "{path}");
        assert_eq!(page.json()["issuer"], "https://id.example.com/auth");
        assert_eq!(
            page.json()["token_endpoint"],
            "https://id.example.com/auth/token"
        );
    }
    assert_eq!(
        server
            .browser()
            .get("/.well-known/oauth-authorization-server")
            .await
            .status,
        404
    );
    let login = server.browser().get("/auth/login").await;
    assert_eq!(login.form().0, "/auth/login");
    assert!(
        login
            .header("set-cookie")
            .starts_with("__Host-wayleave_visitor=wl_vi_"),
        "{:?}",
        login.headers
    );
    assert!(
        login
            .header("set-cookie")
            .ends_with("; Path=/; HttpOnly; SameSite=Lax; Secure")
    );
    assert_eq!(
        login.header("strict-transport-security"),
        "max-age=31536000"
    );
    for path in ["/auth", "/auth/", "/auth/jwks", "/healthz", "/readyz"] {
        assert_eq!(server.browser().get(path).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn only_machines_are_answered_across_origins() {
    let server = TestApp::new(Database::sqlite()).await;
    let ask = async |method: &str, path: &str| {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("origin", "https://app.example.com")
            .header("access-control-request-method", "POST")
            .header(
                "access-control-request-headers",
                "mcp-protocol-version, content-type",
            )
            .body(Body::empty())
            .unwrap();
        server.browser().send(request).await
    };
    for path in [
        "/.well-known/oauth-authorization-server",
        "/jwks",
        "/token",
        "/revoke",
        "/device_authorization",
        "/userinfo",
        "/.well-known/openid-configuration",
    ] {
        let page = ask("OPTIONS", path).await;
        assert_eq!(
            (
                page.status.as_u16(),
                page.header("access-control-allow-origin")
            ),
            (200, "*"),
            "{path}"
        );
        assert!(
            page.header("access-control-allow-headers")
                .contains("mcp-protocol-version"),
            "{path}"
        );
        assert_eq!(
            page.header("access-control-allow-credentials"),
            "",
            "{path}"
        );
        assert_eq!(
            ask("GET", path).await.header("access-control-allow-origin"),
            "*",
            "{path}"
        );
    }
    for path in [
        "/authorize",
        "/login",
        "/consent",
        "/logout",
        "/setup",
        "/",
        "/introspect",
    ] {
        for method in ["OPTIONS", "GET"] {
            assert_eq!(
                ask(method, path)
                    .await
                    .header("access-control-allow-origin"),
                "",
                "{method} {path}"
            );
        }
    }
}

#[tokio::test]
async fn every_answer_carries_its_security_headers() {
    let server = TestApp::new(Database::sqlite()).await;
    for path in [
        "/",
        "/login",
        "/authorize",
        "/setup?token=x",
        "/nowhere",
        "/consent",
    ] {
        let page = server.browser().get(path).await;
        assert_eq!(page.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(page.header("x-frame-options"), "DENY", "{path}");
        assert_eq!(page.header("cache-control"), "no-store", "{path}");
        let policy = page.header("content-security-policy");
        assert!(
            policy.starts_with("default-src 'none'; ") && policy.contains("frame-ancestors 'none'"),
            "{path}: {policy}"
        );
        assert!(
            !page.body.contains("<script") && !page.body.contains(" style="),
            "{path}"
        );
    }
    let style = server.browser().get("/login").await;
    let href = style
        .body
        .split("href=\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap()
        .to_owned();
    let style = server.browser().get(&href).await;
    assert_eq!(
        (style.status.as_u16(), style.header("content-type")),
        (200, "text/css; charset=utf-8")
    );
}
