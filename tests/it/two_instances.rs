//! Two instances on one PostgreSQL, as behind a proxy that sends each request to whichever it likes: rows S-54, S-63 and
//! S-80. The instances are processes of the real binary; what they say is looked at from outside.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, UNIX_EPOCH},
};

use axum::{Router, body::Body, response::Response};
use base64::{Engine, prelude::BASE64_STANDARD};
use http::Request;
use hyper_util::rt::TokioIo;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, jwk::JwkSet};
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};
use tokio::net::TcpStream;
use wayleave::{
    policy::client_rules::Tier,
    protocol::id_token::SigningAlg,
    secret::{ClientSecret, SecretHash},
    store::{Store, SweepLease},
    time::UnixTime,
};

use crate::{
    process::{Running, run, wayleave},
    support::{
        Answer, Browser, Database, Page, Signer, TestApp,
        app::{Flow, NOTES, PASSWORD, VERIFIER, call, param, part},
        on_both,
        signer::{ASSERTION_TYPE, ISSUER},
    },
};

const API: &str = "https://notes.example.com/mcp";
const SECRET: &str = "wl_cs_a-secret-of-the-tests";
const DEVICE: &str = "urn:ietf:params:oauth:grant-type:device_code";
/// Longest wait for what must happen.
const PATIENCE: Duration = Duration::from_secs(20);
const SHORTLY: Duration = Duration::from_millis(20);

/// The time of the processes.
fn now() -> UnixTime {
    UnixTime(i64::try_from(UNIX_EPOCH.elapsed().unwrap().as_secs()).unwrap())
}

/// A proxy: each request goes to the next one.
fn in_turn(targets: &[SocketAddr]) -> Router {
    let (targets, next) = (targets.to_vec(), Arc::<AtomicUsize>::default());
    Router::new().fallback(move |request: Request<Body>| {
        let turn = next.fetch_add(1, Ordering::SeqCst);
        forward(targets[turn % targets.len()], request)
    })
}

async fn forward(to: SocketAddr, request: Request<Body>) -> Response {
    let stream = TcpStream::connect(to).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    let answer = sender.send_request(request).await.unwrap();
    answer.map(Body::new)
}

/// The binary on a database, ready to be told what to do.
fn command(folder: &Path, url: &str) -> Command {
    let mut command = wayleave(folder);
    command
        .env("WAYLEAVE_DATABASE__URL", url)
        .env("WAYLEAVE_DANGER__ALLOW_LOOPBACK_CLIENTS", "true")
        .env("WAYLEAVE_LIMITS__SCALE", "1000")
        .env("WAYLEAVE_RESOURCES", NOTES);
    command
}

/// Two processes; what `server` sends goes to them in turn. Its own parts only prepare the database.
struct Pair {
    server: TestApp,
    one: Running,
    two: Running,
}

impl Pair {
    /// On a database where every client of the site is listed, and the resource server of [`API`] is registered.
    async fn new() -> Option<Self> {
        let mut server = TestApp::new(Database::postgresql().await?).await;
        let pattern = format!("https://localhost:{}/*", server.site.port);
        server.rule(&pattern, Tier::Listed).await;
        let hash = SecretHash::<ClientSecret>::of_bytes(SECRET.as_bytes());
        let api = json!({ "client_id": "api", "resources": [API], "client_secret_sha256": hash.as_str() });
        let api = serde_json::from_value(api).unwrap();
        assert!(server.app.store.add_client(api, now()).await.unwrap());
        let start = || {
            let command = Self::command(&server.database, &server.database.url);
            Running::start_of(command, ISSUER, 1)
        };
        let (one, two) = (start(), start());
        server.router = in_turn(&[one.address, two.address]);
        Some(Self { server, one, two })
    }

    fn command(database: &Database, url: &str) -> Command {
        let mut command = command(database.folder.path(), url);
        command.env("WAYLEAVE_FETCH__EXTRA_CA_FILE", database.path("ca.pem"));
        command
    }

    /// Runs a command of the binary, in a third process.
    fn tell(&self, arguments: &[&str]) {
        let mut command = Self::command(&self.server.database, &self.server.database.url);
        command.args(arguments);
        let output = run(command, None);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {output:?}");
    }

    /// A browser of each instance alone, with the cookies of another.
    fn at_each(&self, browser: &Browser) -> [Browser; 2] {
        [&self.one, &self.two].map(|running| {
            let mut alone = Browser::new(in_turn(&[running.address]), ISSUER);
            alone.cookies = browser.cookies.clone();
            alone
        })
    }
}

/// Publishes a document on `localhost`, where the processes find it.
fn publish(server: &TestApp, path: &str, members: Value) -> String {
    let client = format!("https://localhost:{}{path}", server.site.port);
    let mut document = server.site.document(path, members);
    document["client_id"] = client.clone().into();
    server.site.answer(path, Answer::json(document.to_string()));
    client
}

fn text<'a>(json: &'a Value, name: &str) -> &'a str {
    json[name]
        .as_str()
        .unwrap_or_else(|| panic!("{name}: {json}"))
}

fn error(page: &Page) -> (u16, String) {
    let told = page.json()["error"].as_str().unwrap_or_default().to_owned();
    (page.status.as_u16(), told)
}

fn refused(status: u16, error: &str) -> (u16, String) {
    (status, error.to_owned())
}

/// Everything that `ada` gets for a client.
async fn tokens(server: &TestApp, flow: &Flow) -> Value {
    let mut browser = server.signed_in().await;
    let code = server.code(&mut browser, flow).await;
    let page = server.redeem(flow, &code).await;
    assert_eq!(page.status, 200, "{}", page.body);
    page.json()
}

async fn introspect(server: &TestApp, token: &str) -> Value {
    let credentials = BASE64_STANDARD.encode(format!("api:{SECRET}"));
    let headers = [("authorization", format!("Basic {credentials}"))];
    let headers = [(headers[0].0, headers[0].1.as_str())];
    let page = server
        .call("/introspect", &[("token", token)], &headers)
        .await;
    assert_eq!(page.status, 200, "{}", page.body);
    page.json()
}

/// Asks again until it is so.
async fn until<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    let so = async {
        while !is_so().await {
            tokio::time::sleep(SHORTLY).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, so).await;
    assert!(waited.is_ok(), "it never came about that {what}");
}

/// Signing in, consent, code, tokens; a user is known, a token is told of, ended, and people sign out.
async fn a_client_gets_and_loses_its_tokens(server: &TestApp) {
    let client = publish(server, "/c.json", json!({}));
    let about_ada = tokens(server, &server.flow(&client).with("scope", "openid")).await;
    let bearer = format!("Bearer {}", text(&about_ada, "access_token"));
    let request = Request::get("/userinfo").header("authorization", bearer);
    let request = request.body(Body::empty()).unwrap();
    let subject = server.browser().send(request).await.json()["sub"].clone();
    assert_eq!(part(text(&about_ada, "id_token"), 1)["sub"], subject);

    let flow = server.flow(&client).with("scope", "notes.read");
    let for_notes = tokens(server, &flow.with("resource", API)).await;
    let access = text(&for_notes, "access_token");
    assert_eq!(introspect(server, access).await["active"], true);
    assert_eq!(introspect(server, access).await["active"], true);
    let fields = [
        ("token", text(&for_notes, "refresh_token")),
        ("client_id", client.as_str()),
    ];
    assert_eq!(server.call("/revoke", &fields, &[]).await.status, 200);
    assert_eq!(introspect(server, access).await, json!({ "active": false }));
    assert_eq!(introspect(server, access).await, json!({ "active": false }));

    let mut browser = server.signed_in().await;
    let stolen = browser.clone();
    let page = browser.get("/logout").await;
    browser.submit(&page, &[]).await;
    for _ in 0..2 {
        let page = stolen.clone().get(&server.flow(&client).target()).await;
        assert!(page.location().unwrap().contains("/login"), "signed out");
    }
}

/// A token is rotated by both; the successor is the same at both; one that comes back ends the family at both.
async fn refresh_tokens_are_rotated_and_their_reuse_is_seen(server: &TestApp) {
    let client = publish(server, "/refresh.json", json!({}));
    let first = tokens(server, &server.flow(&client)).await;
    let mut all = vec![text(&first, "refresh_token").to_owned()];
    for _ in 0..4 {
        let newest = all.last().unwrap().clone();
        let pages = [
            server.refresh(&client, &newest).await,
            server.refresh(&client, &newest).await,
        ];
        let successors = pages.map(|page| text(&page.json(), "refresh_token").to_owned());
        assert_eq!(successors[0], successors[1]);
        assert_ne!(successors[0], newest);
        all.push(successors[0].clone());
    }
    let page = server.refresh(&client, &all[0]).await;
    assert_eq!(error(&page), refused(400, "invalid_grant"));
    for _ in 0..2 {
        let page = server.refresh(&client, all.last().unwrap()).await;
        assert_eq!(error(&page), refused(400, "invalid_grant"), "it has ended");
    }
}

async fn a_pushed_request_is_found(server: &TestApp) {
    let client = publish(server, "/pushed.json", json!({}));
    let flow = server.flow(&client);
    let query = flow.query();
    let fields: Vec<_> = url::form_urlencoded::parse(query.as_bytes())
        .into_owned()
        .collect();
    let fields: Vec<_> = fields
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let pushed = server.call("/par", &fields, &[]).await;
    assert_eq!(pushed.status, 201, "{}", pushed.body);
    let query = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("client_id", &client)
        .append_pair("request_uri", text(&pushed.json(), "request_uri"))
        .finish();
    // Somebody who signs in on the way.
    let mut browser = server.browser();
    let login = browser.open(&format!("/authorize?{query}")).await;
    let typed = [("username", "ada"), ("password", PASSWORD)];
    let page = browser.submit(&login, &typed).await;
    let mut page = browser.follow(page).await;
    if page.location().is_none() {
        page = browser.submit(&page, &[("decision", "allow")]).await;
    }
    let code = param(page.location().unwrap(), "code").unwrap();
    assert_eq!(server.redeem(&flow, &code).await.status, 200);
    let page = server.redeem(&flow, &code).await;
    assert_eq!(error(&page), refused(400, "invalid_grant"), "once");
}

async fn a_device_is_let_in(server: &TestApp) {
    let members = json!({ "redirect_uris": null, "grant_types": [DEVICE, "refresh_token"] });
    let client = publish(server, "/tv.json", members);
    let started = server
        .call("/device_authorization", &[("client_id", &client)], &[])
        .await;
    assert_eq!(started.status, 200, "{}", started.body);
    let started = started.json();
    let poll = [
        ("grant_type", DEVICE),
        ("device_code", text(&started, "device_code")),
        ("client_id", &client),
    ];
    let page = server.token(&poll).await;
    assert_eq!(error(&page), refused(400, "authorization_pending"));
    let mut browser = server.signed_in().await;
    let form = browser.get("/device").await;
    let typed = [("user_code", text(&started, "user_code"))];
    let page = browser.submit(&form, &typed).await;
    let page = browser.follow(page).await;
    let page = browser.submit(&page, &[("decision", "allow")]).await;
    assert_eq!(browser.follow(page).await.status, 200);
    let page = server.token(&poll).await;
    assert_eq!(page.status, 200, "{}", page.body);
    assert_eq!(error(&server.token(&poll).await).0, 400, "once");
}

/// A nonce of one is good at the other; a proof and an assertion that served at one serve no more at the other.
async fn what_serves_once_serves_once(server: &TestApp) {
    let signer = Signer::new(Some("1"));
    let members = json!({
        "token_endpoint_auth_method": "private_key_jwt",
        "grant_types": ["client_credentials"],
        "jwks": signer.jwks(),
    });
    let client = publish(server, &format!("/{}.json", signer.thumbprint()), members);
    let assertion = || signer.assertion(&client, now());
    let ask = async |assertion: &str, proof: Option<&str>| {
        let fields = [
            ("grant_type", "client_credentials"),
            ("scope", "notes.read"),
            ("client_assertion_type", ASSERTION_TYPE),
            ("client_assertion", assertion),
        ];
        let headers: Vec<_> = proof.iter().map(|proof| ("dpop", *proof)).collect();
        server.call("/token", &fields, &headers).await
    };
    let used = assertion();
    let page = ask(&used, None).await;
    assert_eq!(page.status, 200, "{}", page.body);
    for _ in 0..2 {
        assert_eq!(
            error(&ask(&used, None).await),
            refused(401, "invalid_client")
        );
    }

    let proof = signer.proof("POST", "/token", now(), json!({}));
    let page = ask(&assertion(), Some(&proof)).await;
    assert_eq!(error(&page), refused(400, "use_dpop_nonce"));
    let nonce = json!({ "nonce": page.header("dpop-nonce") });
    let proof = signer.proof("POST", "/token", now(), nonce.clone());
    let page = ask(&assertion(), Some(&proof)).await;
    assert_eq!(
        (page.status.as_u16(), text(&page.json(), "token_type")),
        (200, "DPoP")
    );
    for _ in 0..2 {
        let page = ask(&assertion(), Some(&proof)).await;
        assert_eq!(error(&page), refused(400, "invalid_dpop_proof"));
    }
    let proof = signer.proof("POST", "/token", now(), nonce);
    assert_eq!(ask(&assertion(), Some(&proof)).await.status, 200);
}

/// Row S-63. Whatever one of them begins, the other goes on with, in both orders.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_flow_passes_with_each_request_at_the_other_instance() {
    for other_first in [false, true] {
        let Some(mut pair) = Pair::new().await else {
            return;
        };
        if other_first {
            pair.server.router = in_turn(&[pair.two.address, pair.one.address]);
        }
        let server = &pair.server;
        a_client_gets_and_loses_its_tokens(server).await;
        refresh_tokens_are_rotated_and_their_reuse_is_seen(server).await;
        a_pushed_request_is_found(server).await;
        a_device_is_let_in(server).await;
        what_serves_once_serves_once(server).await;
    }
}

/// A third process writes; both have it in force without being started again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_block_and_a_rule_are_in_force_at_both() {
    let Some(pair) = Pair::new().await else {
        return;
    };
    let server = &pair.server;
    let client = publish(server, "/c.json", json!({}));
    let flow = server.flow(&client);
    let token = text(&tokens(server, &flow).await, "refresh_token").to_owned();
    let browser = server.signed_in().await;
    for mut browser in pair.at_each(&browser) {
        let page = browser.get(&flow.target()).await;
        assert!(
            param(page.location().unwrap(), "code").is_some(),
            "consented"
        );
    }

    pair.tell(&["client", "block", &client]);
    // From then on neither gives anything, whether it has noticed or not.
    for mut browser in pair.at_each(&browser) {
        let fields = [
            ("grant_type", "refresh_token"),
            ("refresh_token", &token),
            ("client_id", &client),
        ];
        let page = call(&mut browser, "/token", &fields, &[]).await;
        assert!(page.status == 400 || page.status == 401, "{}", page.body);
        let page = browser.get(&flow.target()).await;
        assert!(!page.location().unwrap_or_default().contains("code="));
    }
    for browser in pair.at_each(&browser) {
        until("the client is blocked", || {
            let (mut browser, target) = (browser.clone(), flow.target());
            async move { browser.get(&target).await.body.contains("policy.blocked") }
        })
        .await;
    }

    // A device has to be listed: every client of the site is, until the rule goes.
    let members = json!({ "redirect_uris": null, "grant_types": [DEVICE] });
    let device = publish(server, "/tv.json", members);
    let start = |browser: &Browser| {
        let (mut browser, device) = (browser.clone(), device.clone());
        async move {
            let fields = [("client_id", device.as_str())];
            let page = call(&mut browser, "/device_authorization", &fields, &[]);
            page.await.status.as_u16()
        }
    };
    let pattern = format!("https://localhost:{}/*", server.site.port);
    for (arguments, status) in [
        (vec!["client", "forget", &pattern], 400),
        (vec!["client", "trust", &device], 200),
    ] {
        pair.tell(&arguments);
        for browser in pair.at_each(&browser) {
            until("the rule is in force", || {
                let answer = start(&browser);
                async move { answer.await == status }
            })
            .await;
        }
    }
}

/// Row Y-10. A third process changes the password while both give codes and grants: none of them lives, at either.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn y_10_nothing_that_was_given_lives_on_after_the_password_has_changed() {
    let Some(pair) = Pair::new().await else {
        return;
    };
    let server = &pair.server;
    let client = publish(server, "/c.json", json!({}));
    let flow = server.flow(&client).with("scope", "openid");
    tokens(server, &flow).await;
    let browser = server.signed_in().await;
    let given = Arc::<AtomicUsize>::default();
    // Gives until it is asked to sign in: codes that are kept, and tokens for every second one.
    let give = |mut browser: Browser| {
        let (flow, client, given) = (flow.clone(), client.clone(), given.clone());
        async move {
            let (mut codes, mut all) = (Vec::new(), Vec::new());
            for n in 0..2_000 {
                let page = browser.get(&flow.target()).await;
                let location = page.location().unwrap_or_else(|| panic!("{}", page.body));
                if location.starts_with("/login") {
                    break;
                }
                let code = param(location, "code").unwrap();
                if n % 2 == 0 {
                    codes.push(code);
                    continue;
                }
                let fields = [
                    ("grant_type", "authorization_code"),
                    ("code", &code),
                    ("client_id", &client),
                    ("redirect_uri", flow.get("redirect_uri")),
                    ("code_verifier", VERIFIER),
                ];
                let page = call(&mut browser, "/token", &fields, &[]).await;
                if page.status == 200 {
                    all.push(page.json());
                    given.fetch_add(1, Ordering::SeqCst);
                }
            }
            (codes, all)
        }
    };
    let giving: Vec<_> = pair
        .at_each(&browser)
        .into_iter()
        .flat_map(|browser| [browser.clone(), browser])
        .map(|browser| tokio::spawn(give(browser)))
        .collect();
    until("both give", || {
        let given = given.load(Ordering::SeqCst);
        async move { given >= 8 }
    })
    .await;
    let mut change = Pair::command(&server.database, &server.database.url);
    change.args(["user", "passwd", "ada", "--password-stdin", "--end-grants"]);
    let changed = tokio::task::spawn_blocking(|| run(change, Some(PASSWORD)));
    let changed = changed.await.unwrap();
    assert_eq!(changed.status.code(), Some(0), "{changed:?}");

    let (mut codes, mut all) = (Vec::new(), Vec::new());
    for giving in giving {
        let (more_codes, more) = giving.await.unwrap();
        codes.extend(more_codes);
        all.extend(more);
    }
    assert!(
        codes.len() >= 8 && all.len() >= 8,
        "{} {}",
        codes.len(),
        all.len()
    );
    for mut browser in pair.at_each(&browser) {
        for code in &codes {
            let fields = [
                ("grant_type", "authorization_code"),
                ("code", code.as_str()),
                ("client_id", &client),
                ("redirect_uri", flow.get("redirect_uri")),
                ("code_verifier", VERIFIER),
            ];
            let page = call(&mut browser, "/token", &fields, &[]).await;
            assert_eq!(error(&page), refused(400, "invalid_grant"));
        }
        for tokens in &all {
            let fields = [
                ("grant_type", "refresh_token"),
                ("refresh_token", text(tokens, "refresh_token")),
                ("client_id", &client),
            ];
            let page = call(&mut browser, "/token", &fields, &[]).await;
            assert_eq!(error(&page), refused(400, "invalid_grant"));
            let bearer = format!("Bearer {}", text(tokens, "access_token"));
            let request = Request::get("/userinfo").header("authorization", bearer);
            let page = browser.send(request.body(Body::empty()).unwrap()).await;
            assert_eq!(page.status, 401, "{}", page.body);
        }
    }
    let live = "SELECT id FROM grants WHERE revoked_at IS NULL";
    assert!(ask(&server.database, live).await.is_empty());
    let again = tokens(server, &flow).await;
    assert!(again["access_token"].is_string(), "the person goes on");
}

/// Row S-54. A key that one makes is the other's too, and both say the same, byte for byte.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_publish_the_same_and_a_key_that_one_makes_is_the_others_too() {
    let Some(pair) = Pair::new().await else {
        return;
    };
    let server = &pair.server;
    let [mut one, mut two] = pair.at_each(&server.browser());
    for target in [
        "/jwks",
        "/.well-known/oauth-authorization-server",
        "/.well-known/openid-configuration",
    ] {
        let (a, b) = (one.get(target).await, two.get(target).await);
        assert_eq!((a.status.as_u16(), &a.body), (200, &b.body), "{target}");
        assert_eq!(a.header("etag"), b.header("etag"), "{target}");
        assert_eq!(a.header("cache-control"), b.header("cache-control"));
    }

    // A key that a third process makes is soon that of both.
    let made = server.app.keys.rotate(SigningAlg::Rs256, true, now());
    let made = made.await.unwrap().kid;
    until("both publish the key", || {
        let (mut one, mut two, made) = (one.clone(), two.clone(), made.as_str());
        async move {
            let (a, b) = (one.get("/jwks").await, two.get("/jwks").await);
            a.body == b.body && a.body.contains(made)
        }
    })
    .await;
    let members = json!({ "id_token_signed_response_alg": "RS256" });
    let client = publish(server, "/rsa.json", members);
    let flow = server.flow(&client).with("scope", "openid");
    let mut browser = server.signed_in().await;
    let codes = [
        server.code(&mut browser, &flow).await,
        server.code(&mut browser, &flow).await,
    ];
    let redeem = async |browser: &mut Browser, code: &str| {
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("client_id", client.as_str()),
            ("redirect_uri", flow.get("redirect_uri")),
            ("code_verifier", VERIFIER),
        ];
        let page = call(browser, "/token", &fields, &[]).await;
        assert_eq!(page.status, 200, "{}", page.body);
        page.json()
    };
    let of_both = tokio::join!(redeem(&mut one, &codes[0]), redeem(&mut two, &codes[1]));
    let of_both = [of_both.0, of_both.1];
    let kid = |tokens: &Value| part(text(tokens, "id_token"), 0)["kid"].clone();
    assert_eq!(
        (kid(&of_both[0]), kid(&of_both[1])),
        (json!(made), json!(made))
    );

    for (tokens, other) in [(&of_both[0], &mut two), (&of_both[1], &mut one)] {
        let keys: JwkSet = serde_json::from_value(other.get("/jwks").await.json()).unwrap();
        for (name, alg, audience) in [
            ("id_token", Algorithm::RS256, client.as_str()),
            ("access_token", Algorithm::ES256, ISSUER),
        ] {
            let token = text(tokens, name);
            let key = keys.find(text(&part(token, 0), "kid")).unwrap();
            let mut validation = Validation::new(alg);
            validation.set_audience(&[audience]);
            validation.set_issuer(&[ISSUER]);
            let key = DecodingKey::from_jwk(key).unwrap();
            let verified = jsonwebtoken::decode::<Value>(token, &key, &validation);
            verified.unwrap_or_else(|error| panic!("{name}: {error}: {}", part(token, 1)));
        }
    }
}

async fn ask(database: &Database, sql: &'static str) -> Vec<String> {
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    let rows = sqlx::query_scalar(sql).fetch_all(&mut connection).await;
    connection.close().await.unwrap();
    rows.unwrap()
}

on_both! {
    /// Of any number of processes one sweeps; who has the turn keeps it while it works, and a dead one does not keep it.
    async fn expired_rows_are_deleted_by_one_process_at_a_time(database) {
        let store = Store::open(&database.parsed(), 8).await.unwrap();
        store.migrate().await.unwrap();
        let start = UnixTime(1_800_000_000);
        let mut turns: Vec<_> = (0..8).map(|_| SweepLease::default()).collect();
        let all = turns.iter_mut().map(|turn| store.sweep_in_turn(turn, 900, start));
        for swept in futures_util::future::join_all(all).await {
            swept.unwrap();
        }
        let (mut first, mut others): (Vec<_>, Vec<_>) = turns.into_iter().partition(|turn| !turn.is_anothers());
        assert_eq!((first.len(), others.len()), (1, 7));
        let (first, other) = (&mut first[0], &mut others[0]);
        for (case, seconds, by_first, is_first) in [
            ("goes on", 20, true, true),
            ("as long as it does, nobody else comes in", 49, false, false),
            ("comes again, after the turn", 80, true, true),
            ("was killed, its turn lasts", 109, false, false),
            ("and no longer", 110, false, true),
            ("was only slow, and has lost it", 111, true, false),
            ("the other goes on", 112, false, true),
            ("a clock went back by a day", -86_400, true, true),
        ] {
            let turn = if by_first { &mut *first } else { &mut *other };
            store.sweep_in_turn(turn, 900, start + seconds).await.unwrap();
            assert_eq!(!turn.is_anothers(), is_first, "{case}");
        }
        // Whose turn it is not deletes nothing.
        store.execute_raw("INSERT INTO used_once (hash, until) VALUES ('old', 1)".to_owned()).await.unwrap();
        let mut nobody = SweepLease::default();
        assert_eq!(store.sweep_in_turn(&mut nobody, 900, start + -86_400).await.unwrap(), (0, false));
        assert_eq!(store.sweep_in_turn(first, 900, start + -86_399).await.unwrap(), (1, false));
        store.close().await;
    }
}

/// The processes themselves: the one that comes second finds the turn taken.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_processes_one_sweeps() {
    let Some(database) = Database::postgresql().await else {
        return;
    };
    let store = Store::open(&database.parsed(), 1).await.unwrap();
    store.migrate().await.unwrap();
    let noted = "CREATE TABLE swept (who TEXT NOT NULL); \
                 CREATE FUNCTION note_sweep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                 INSERT INTO swept VALUES (current_setting('wayleave_test.who', true)); RETURN NULL; END $$; \
                 CREATE TRIGGER noted AFTER DELETE ON used_once FOR EACH STATEMENT EXECUTE FUNCTION note_sweep(); \
                 INSERT INTO used_once (hash, until) SELECT 'old ' || n, 1 FROM generate_series(1, 1200) n";
    store.execute_raw(noted.to_owned()).await.unwrap();
    store.close().await;
    let start = |who: &str| {
        let url = format!("{}%20-cwayleave_test.who%3D{who}", database.url);
        let mut command = command(database.folder.path(), &url);
        let log = std::fs::File::create(database.path(who)).unwrap();
        command
            .env("WAYLEAVE_LOG__FILTER", "wayleave=debug")
            .stderr(log);
        Running::start_of(command, ISSUER, 1)
    };
    let running = [start("one"), start("two")];
    until("the second finds the turn taken", || {
        let logs = ["one", "two"].map(|who| std::fs::read_to_string(database.path(who)).unwrap());
        let told = "another process deletes expired rows";
        async move { logs.iter().any(|log| log.contains(told)) }
    })
    .await;
    let left = "SELECT hash FROM used_once WHERE hash LIKE 'old %' LIMIT 1";
    until("all have gone", || async {
        ask(&database, left).await.is_empty()
    })
    .await;
    let swept = ask(&database, "SELECT who FROM swept").await;
    let by: BTreeSet<_> = swept.iter().collect();
    assert_eq!(by.len(), 1, "{by:?}");
    assert!(swept.len() >= 3, "500 at a time: {swept:?}");
    drop(running);
}

/// Row S-80. Both make the schema, the keys and the root; there is one of each, and one first account.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_that_start_at_once_on_nothing_make_everything_once() {
    for _ in 0..3 {
        let Some(database) = Database::postgresql().await else {
            return;
        };
        let start = || {
            let command = command(database.folder.path(), &database.url);
            tokio::task::spawn_blocking(move || Running::start_of(command, ISSUER, 3))
        };
        let (one, two) = tokio::join!(start(), start());
        let (one, two) = (one.unwrap(), two.unwrap());
        let keys = [&one, &two].map(|running| {
            let (status, answer) = running.get("/jwks");
            assert_eq!((status, running.get("/readyz").0), (200, 200));
            answer.split_once("\r\n\r\n").unwrap().1.to_owned()
        });
        assert_eq!(keys[0], keys[1]);
        for (sql, expected) in [
            (
                "SELECT alg FROM signing_keys ORDER BY alg COLLATE \"C\"",
                &["ES256", "EdDSA", "RS256"][..],
            ),
            ("SELECT name FROM server_secrets", &["root"]),
            (
                "SELECT DISTINCT (count(*) = count(DISTINCT version) AND bool_and(success))::text FROM _sqlx_migrations",
                &["true"],
            ),
        ] {
            assert_eq!(ask(&database, sql).await, expected, "{sql}");
        }

        // Each printed a link. Each works at the other, until one was used.
        let mut browser = Browser::new(in_turn(&[two.address, one.address]), ISSUER);
        let mut pages = Vec::new();
        for running in [&one, &two] {
            let page = browser.get(running.lines[2].trim()).await;
            assert_eq!(page.text("h1"), "Create the first account", "{}", page.body);
            pages.push(page);
        }
        let typed = [
            ("username", "ada"),
            ("password", PASSWORD),
            ("password_again", PASSWORD),
        ];
        let page = browser.submit(&pages[0], &typed).await;
        assert_eq!(page.status, 303, "{}", page.body);
        for _ in 0..2 {
            assert!(browser.get("/").await.body.contains("ada"), "signed in");
            assert_eq!(browser.get(two.lines[2].trim()).await.status, 400);
        }
        let mut mallory = browser.clone();
        let page = mallory
            .submit(&pages[1], &[("username", "mallory"), typed[1], typed[2]])
            .await;
        assert_eq!(page.status, 400, "{}", page.body);
        assert_eq!(ask(&database, "SELECT username FROM users").await, ["ada"]);
    }
}

/// Nothing of a flow is in a process: where one dies, the other goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_one_is_killed_in_the_middle_of_a_flow_the_other_goes_on() {
    // How many steps the first one lives.
    for steps in 0..4 {
        let Some(pair) = Pair::new().await else {
            return;
        };
        let server = &pair.server;
        let client = publish(server, "/c.json", json!({}));
        let flow = server.flow(&client);
        let [mut first, second] = pair.at_each(&server.browser());
        let mut dies = Some(pair.one);
        let mut step = 0;
        let mut die = |browser: &mut Browser| {
            if step == steps
                && let Some(running) = dies.take()
            {
                running.kill();
                let cookies = std::mem::take(&mut browser.cookies);
                *browser = second.clone();
                browser.cookies = cookies;
            }
            step += 1;
        };

        let login = first.open(&flow.target()).await;
        die(&mut first);
        let typed = [("username", "ada"), ("password", PASSWORD)];
        let page = first.submit(&login, &typed).await;
        let question = first.follow(page).await;
        die(&mut first);
        let page = first.submit(&question, &[("decision", "allow")]).await;
        let code = param(page.location().unwrap(), "code").unwrap();
        die(&mut first);
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", code.as_str()),
            ("client_id", client.as_str()),
            ("redirect_uri", flow.get("redirect_uri")),
            ("code_verifier", VERIFIER),
        ];
        let page = call(&mut first, "/token", &fields, &[]).await;
        assert_eq!(page.status, 200, "{steps}: {}", page.body);
        let token = text(&page.json(), "refresh_token").to_owned();
        die(&mut first);
        let fields = [
            ("grant_type", "refresh_token"),
            ("refresh_token", token.as_str()),
            ("client_id", client.as_str()),
        ];
        let page = call(&mut first, "/token", &fields, &[]).await;
        assert_eq!(page.status, 200, "{steps}: {}", page.body);
        assert!(dies.is_none(), "it was killed");
    }
}
