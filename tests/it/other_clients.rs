//! Clients of another make complete their flows with the binary: what we believe the RFCs say is what they believe.

use std::{fs::File, path::Path, process::Command};

use axum::{Router, body::Body};
use http_body_util::BodyExt;
use oauth2::{
    AuthUrl, AuthorizationCode, ClientId, CsrfToken, HttpRequest, HttpResponse, PkceCodeChallenge,
    RedirectUrl, RefreshToken, Scope, TokenResponse, TokenUrl,
    basic::{BasicClient, BasicTokenType},
};
use serde_json::{Value, json};

use crate::{
    process::{Running, run, wayleave},
    support::{
        Answer, Browser, ClientSite, Database,
        app::{NOTES, PASSWORD, claims, param},
        on_both,
    },
};

/// The first of [`NOTES`], and one of its scopes.
const RESOURCE: &str = "https://notes.example.com/mcp";
const SCOPE: &str = "notes.read";
/// What the document has but for the port, which is free: RFC 8252 §7.3.
const REDIRECT: &str = "http://127.0.0.1:49152/callback";

// A conversation runs on a thread of its own, so it may wait for a process while the runtime serves the client's site.
on_both! {
    async fn oauth4webapi_completes_discovery_code_refresh_and_revocation(database) {
        let party = Party::invite(&database).await;
        let Some(told) = party.javascript("oauth4webapi") else { return };
        party.check(&told);
        assert_eq!(told["after_revocation"], "invalid_grant", "{told}");
    }

    async fn the_mcp_sdk_completes_discovery_code_and_refresh(database) {
        let party = Party::invite(&database).await;
        let Some(told) = party.javascript("mcp") else { return };
        party.check(&told);
    }

    async fn the_oauth2_crate_completes_code_and_refresh(database) {
        let party = Party::invite(&database).await;
        let told = party.oauth2().await;
        party.check(&told);
    }
}

/// The server with account `ada`, and a client on this machine whose document is at `https://localhost`.
struct Party {
    server: Running,
    issuer: String,
    client_id: String,
    /// The server's log, shown when a client gives up.
    log: std::path::PathBuf,
    _site: ClientSite,
}

impl Party {
    async fn invite(database: &Database) -> Self {
        let site = ClientSite::start().await;
        let client_id = format!("https://localhost:{}/c.json", site.port);
        let document = site.document(
            "/c.json",
            json!({ "client_id": client_id, "redirect_uris": ["http://127.0.0.1/callback"] }),
        );
        site.answer("/c.json", Answer::json(document.to_string()));
        std::fs::write(database.path("ca.pem"), &site.ca_pem).unwrap();

        let command = || {
            let mut command = wayleave(database.folder.path());
            command
                .env("WAYLEAVE_DATABASE__URL", &database.url)
                .env("WAYLEAVE_FETCH__EXTRA_CA_FILE", database.path("ca.pem"))
                .env("WAYLEAVE_DANGER__ALLOW_LOOPBACK_CLIENTS", "true")
                .env("WAYLEAVE_RESOURCES", NOTES);
            command
        };
        let mut add = command();
        add.args(["user", "add", "ada", "--password-stdin"]);
        let added = run(add, Some(PASSWORD));
        assert_eq!(added.status.code(), Some(0), "{added:?}");
        let log = database.path("log");
        let mut serve = command();
        serve.stderr(File::create(&log).unwrap());
        let server = Running::start(serve, 1);
        Self {
            issuer: format!("http://{}", server.address),
            server,
            client_id,
            log,
            _site: site,
        }
    }

    /// What `code-flow.mjs` prints. `None` when this run has no Node, which `tests/run` reports; in CI that is a failure.
    fn javascript(&self, library: &str) -> Option<Value> {
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
            "library": library,
            "issuer": self.issuer,
            "clientId": self.client_id,
            "redirectUri": REDIRECT,
            "resource": RESOURCE,
            "scope": SCOPE,
            "username": "ada",
            "password": PASSWORD,
        });
        let mut command = Command::new(node);
        command
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/js"))
            .env_clear()
            .args(["code-flow.mjs", &config.to_string()]);
        let output = run(command, None);
        assert!(
            output.status.success(),
            "{library}: {}\nthe server: {}",
            String::from_utf8_lossy(&output.stderr),
            std::fs::read_to_string(&self.log).unwrap(),
        );
        Some(serde_json::from_slice(&output.stdout).unwrap())
    }

    /// The same by the `oauth2` crate, which leaves discovery to its caller and `iss` unread.
    async fn oauth2(&self) -> Value {
        let metadata = format!("{}/.well-known/oauth-authorization-server", self.issuer);
        let metadata = send(http::Request::get(metadata).body(Vec::new()).unwrap()).await;
        let metadata: Value = serde_json::from_slice(metadata.unwrap().body()).unwrap();
        let endpoint = |name: &str| metadata[name].as_str().unwrap().to_owned();
        let client = BasicClient::new(ClientId::new(self.client_id.clone()))
            .set_auth_uri(AuthUrl::new(endpoint("authorization_endpoint")).unwrap())
            .set_token_uri(TokenUrl::new(endpoint("token_endpoint")).unwrap())
            .set_redirect_uri(RedirectUrl::new(REDIRECT.to_owned()).unwrap());

        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let (url, state) = client
            .authorize_url(CsrfToken::new_random)
            .add_scope(Scope::new(SCOPE.to_owned()))
            .add_extra_param("resource", RESOURCE)
            .set_pkce_challenge(challenge)
            .url();
        let mut browser = Browser::new(relay(self.issuer.clone()), &self.issuer);
        let login = browser.open(url.as_str()).await;
        let filled = [("username", "ada"), ("password", PASSWORD)];
        let page = browser.submit(&login, &filled).await;
        let consent = browser.follow(page).await;
        let page = browser.submit(&consent, &[("decision", "allow")]).await;
        let answer = page
            .location()
            .unwrap_or_else(|| panic!("{} {}", page.status, page.body));
        assert!(answer.starts_with(REDIRECT), "{answer}");
        assert_eq!(param(answer, "state").as_ref(), Some(state.secret()));

        let tokens = client
            .exchange_code(AuthorizationCode::new(param(answer, "code").unwrap()))
            .set_pkce_verifier(verifier)
            .add_extra_param("resource", RESOURCE)
            .request_async(&send)
            .await
            .unwrap();
        assert_eq!(tokens.token_type(), &BasicTokenType::Bearer);
        let refresh_token = RefreshToken::new(tokens.refresh_token().unwrap().secret().clone());
        let refreshed = client
            .exchange_refresh_token(&refresh_token)
            .request_async(&send)
            .await
            .unwrap();
        json!({ "answer": { "iss": param(answer, "iss") }, "tokens": tokens, "refreshed": refreshed })
    }

    /// What every client must have been given.
    fn check(&self, told: &Value) {
        assert_eq!(told["answer"]["iss"], self.issuer, "{told}");
        for tokens in [&told["tokens"], &told["refreshed"]] {
            let kind = tokens["token_type"].as_str().unwrap();
            assert!(kind.eq_ignore_ascii_case("bearer"), "{told}");
            assert_eq!(tokens["scope"], SCOPE, "{told}");
            assert!(tokens["expires_in"].as_u64() > Some(0), "{told}");
            let claims = claims(tokens["access_token"].as_str().unwrap());
            assert_eq!(claims["iss"], self.issuer, "{claims}");
            assert_eq!(claims["aud"], RESOURCE, "{claims}");
            assert_eq!(claims["client_id"], self.client_id, "{claims}");
            assert!(tokens["refresh_token"].is_string(), "{told}");
        }
        for token in ["access_token", "refresh_token"] {
            assert_ne!(told["tokens"][token], told["refreshed"][token], "{told}");
        }
        let address = self.server.address;
        assert_eq!(self.issuer, format!("http://{address}"));
    }
}

/// A router that hands every request to the server at `origin`, so that [`Browser`] can talk to the binary.
fn relay(origin: String) -> Router {
    Router::new().fallback(async move |request: http::Request<Body>| {
        let (mut parts, body) = request.into_parts();
        parts.uri = format!("{origin}{}", parts.uri).parse().unwrap();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        send(http::Request::from_parts(parts, body))
            .await
            .unwrap()
            .map(Body::from)
    })
}

/// The tiny HTTP client that the `oauth2` crate asks its caller for.
async fn send(request: HttpRequest) -> Result<HttpResponse, reqwest::Error> {
    #[expect(
        clippy::disallowed_methods,
        reason = "a client of another make does not dial through our fetch/"
    )]
    let http = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()?;
    let answer = http.execute(request.try_into()?).await?;
    let mut response = http::Response::new(Vec::new());
    *response.status_mut() = answer.status();
    *response.headers_mut() = answer.headers().clone();
    *response.body_mut() = answer.bytes().await?.to_vec();
    Ok(response)
}
