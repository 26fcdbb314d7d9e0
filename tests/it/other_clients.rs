//! Clients of another make complete the flow: two from npm with the real binary, one from Rust.

use std::{path::Path, process::Command};

use serde_json::{Value, json};
use wayleave::secret::{ClientSecret, SecretHash};

use crate::{
    process::{Running, run, wayleave},
    support::{
        Answer, ClientSite, Database, Signer,
        app::{NOTES, PASSWORD, TestApp},
        on_both,
    },
};

/// What the registered API proves itself with.
const API_SECRET: &str = "wl_cs_a-secret-of-the-tests";

/// The binary with a client's site and the account `ada`.
struct Server {
    running: Running,
    _site: ClientSite,
    client_id: String,
    /// What proves who the client is.
    signer: Signer,
    _folder: tempfile::TempDir,
}

async fn start(database: &Database, resources: bool) -> Server {
    start_with(database, resources, |_| json!({})).await
}

/// With what the client's document says of its keys.
async fn start_with(
    database: &Database,
    resources: bool,
    more: impl Fn(&Signer) -> Value,
) -> Server {
    let signer = Signer::new(Some("2026"));
    let site = ClientSite::start().await;
    let client_id = format!("https://localhost:{}/c.json", site.port);
    let redirects = json!(["http://127.0.0.1/callback"]);
    let mut document = json!({ "client_id": client_id, "redirect_uris": redirects });
    for (name, value) in more(&signer).as_object().unwrap() {
        document[name] = value.clone();
    }
    let document = site.document("/c.json", document);
    let listed = format!("[{{ match = '{client_id}', tier = 'approved' }}]");
    site.answer("/c.json", Answer::json(document.to_string()));
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("ca.pem"), &site.ca_pem).unwrap();
    let hash = SecretHash::<ClientSecret>::of_bytes(API_SECRET.as_bytes());
    let registered = format!(
        "[{{ client_id = 'api', client_secret_sha256 = '{}', resources = ['https://notes.example.com/mcp'] }}]",
        hash.as_str()
    );
    let command = || {
        let mut command = wayleave(folder.path());
        command
            .env("WAYLEAVE_DATABASE__URL", &database.url)
            .env("WAYLEAVE_FETCH__EXTRA_CA_FILE", "ca.pem")
            .env("WAYLEAVE_POLICY__CLIENTS", &listed)
            .env("WAYLEAVE_TOKENS__DEVICE_INTERVAL", "1")
            .env("WAYLEAVE_DANGER__ALLOW_LOOPBACK_CLIENTS", "true")
            .env("WAYLEAVE_CLIENTS__REGISTERED", &registered);
        if resources {
            command.env("WAYLEAVE_RESOURCES", NOTES);
        }
        command
    };
    let mut add = command();
    add.args(["user", "add", "ada", "--password-stdin"]);
    add.args(["--name", "Ada Lovelace", "--email", "ada@example.com"]);
    assert!(run(add, Some(PASSWORD)).status.success());
    let running = Running::start(command(), 1);
    Server {
        running,
        _site: site,
        client_id,
        signer,
        _folder: folder,
    }
}

/// Runs a script of `tests/js`; what it printed. `None` when this run has no Node, which `tests/run` reports.
async fn javascript(script: &str, server: &Server) -> Option<Value> {
    #[expect(
        clippy::disallowed_methods,
        reason = "the test run says where its Node is"
    )]
    let Ok(node) = std::env::var("WAYLEAVE_TEST_NODE") else {
        #[expect(clippy::disallowed_methods, reason = "in CI nothing may be left out")]
        let ci = std::env::var("CI").is_ok();
        assert!(!ci, "WAYLEAVE_TEST_NODE is not set");
        return None;
    };
    let config = json!({
        "issuer": format!("http://{}", server.running.address),
        "clientId": server.client_id,
        "redirectUri": "http://127.0.0.1:53682/callback",
        "username": "ada",
        "password": PASSWORD,
        "privateKey": server.signer.private_key(),
        "kid": server.signer.kid,
        "api": { "id": "api", "secret": API_SECRET },
    });
    let mut command = Command::new(node);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/js");
    command
        .current_dir(folder)
        .args([script, &config.to_string()]);
    let output = tokio::task::spawn_blocking(move || run(command, None))
        .await
        .unwrap();
    let (told, errors) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{script}: {told}{errors}");
    Some(serde_json::from_str(&told).unwrap_or_else(|error| panic!("{error}: {told}{errors}")))
}

on_both! {
    async fn oauth4webapi_completes_the_flow_refreshes_and_revokes(database) {
        let server = start(&database, true).await;
        let Some(told) = javascript("oauth4webapi.mjs", &server).await else { return };
        assert_eq!(told, json!({ "token_type": "bearer", "scope": "notes.read offline_access", "expires_in": 600 }));
    }

    async fn oauth4webapi_proves_itself_pushes_its_requests_and_binds_its_tokens(database) {
        let keys = |signer: &Signer| json!({
            "token_endpoint_auth_method": "private_key_jwt", "jwks": signer.jwks(),
            "grant_types": ["authorization_code", "refresh_token", "client_credentials"],
        });
        let server = start_with(&database, true, keys).await;
        let Some(told) = javascript("confidential.mjs", &server).await else { return };
        let of = |kind: &str| json!([kind, "notes.read offline_access", kind, "notes.read"]);
        assert_eq!(told, json!({ "bearer": of("bearer"), "bound": of("dpop") }));
    }

    async fn oauth4webapi_validates_id_tokens_and_asks_userinfo_and_introspection(database) {
        let server = start(&database, true).await;
        let Some(told) = javascript("openid.mjs", &server).await else { return };
        let of = |token_type, bound| json!({
            "token_type": token_type, "username": "ada", "bound": bound,
            "person": { "name": "Ada Lovelace", "preferred_username": "ada", "email": "ada@example.com", "email_verified": false },
        });
        assert_eq!(told, json!({ "bearer": of("bearer", false), "bound": of("dpop", true) }));
    }

    async fn oauth4webapi_signs_in_as_a_device(database) {
        let keys = |signer: &Signer| json!({
            "token_endpoint_auth_method": "private_key_jwt", "jwks": signer.jwks(),
            "grant_types": ["urn:ietf:params:oauth:grant-type:device_code", "refresh_token"],
        });
        let server = start_with(&database, true, keys).await;
        let Some(told) = javascript("device.mjs", &server).await else { return };
        assert_eq!(told, json!({ "token_type": "bearer", "scope": "notes.read offline_access", "refreshes": true }));
    }

    async fn the_mcp_sdk_completes_the_flow_with_nothing_configured_but_its_url(database) {
        let server = start(&database, false).await;
        let Some(told) = javascript("mcp.mjs", &server).await else { return };
        assert_eq!((&told["token_type"], &told["expires_in"]), (&json!("Bearer"), &json!(600)));
    }

    async fn the_oauth2_crate_completes_the_flow_and_refreshes(database) {
        use oauth2::{
            AuthUrl, AuthorizationCode, ClientId, CsrfToken, PkceCodeChallenge, RedirectUrl, Scope, TokenResponse, TokenUrl,
            basic::BasicClient,
        };
        let server = TestApp::new(database).await;
        let id = server.site.publish("/c.json", json!({}));
        let redirect = server.site.url("/callback");
        let client = BasicClient::new(ClientId::new(id))
            .set_auth_uri(AuthUrl::new("http://127.0.0.1:8080/authorize".to_owned()).unwrap())
            .set_token_uri(TokenUrl::new("http://127.0.0.1:8080/token".to_owned()).unwrap())
            .set_auth_type(oauth2::AuthType::RequestBody)
            .set_redirect_uri(RedirectUrl::new(redirect).unwrap());
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let (address, state) = client
            .authorize_url(CsrfToken::new_random)
            .add_scope(Scope::new("notes.read".to_owned()))
            .set_pkce_challenge(challenge)
            .url();
        let mut browser = server.signed_in().await;
        let consent = browser.open(address.as_str()).await;
        let answer = browser.submit(&consent, &[("decision", "allow")]).await;
        let param = |name| crate::support::app::param(answer.location().unwrap(), name).unwrap();
        assert_eq!(param("state"), *state.secret());

        let http = |request: oauth2::HttpRequest| {
            let mut browser = server.browser();
            async move {
                let page = browser.send(request.map(axum::body::Body::from)).await;
                let mut response = http::Response::new(page.body.into_bytes());
                (*response.status_mut(), *response.headers_mut()) = (page.status, page.headers);
                Ok::<_, std::convert::Infallible>(response)
            }
        };
        let code = AuthorizationCode::new(param("code"));
        let tokens = client.exchange_code(code).set_pkce_verifier(verifier).request_async(&http).await.unwrap();
        assert_eq!(tokens.scopes().unwrap(), &[Scope::new("notes.read".to_owned())]);
        let refreshed = client.exchange_refresh_token(tokens.refresh_token().unwrap()).request_async(&http).await.unwrap();
        assert_ne!(refreshed.refresh_token().unwrap().secret(), tokens.refresh_token().unwrap().secret());
    }
}
