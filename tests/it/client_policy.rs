//! What the administrator thinks of clients: tiers and ceilings, blocking, history, explanations, and the pages and
//! commands that show them.

use std::process::Output;

use serde_json::{Value, json};
use wayleave::{
    clients::Need,
    policy::client_rules::{Rule, Tier},
    protocol::client_metadata::{AuthMethod, GrantType},
};

use crate::{
    process::wayleave,
    support::{
        Answer, ClientSite, Database, TestApp,
        app::{PASSWORD, anybody, param},
        on_both, until,
    },
};

/// The binary on the server's database, with its view of the world.
fn command(server: &TestApp, arguments: &[&str]) -> Output {
    let folder = server.database.folder.path();
    let url = &server.database.url;
    let mut command = wayleave(folder);
    command
        .args(arguments)
        .env("WAYLEAVE_DATABASE__URL", url)
        .env(
            "WAYLEAVE_FETCH__EXTRA_CA_FILE",
            server.database.path("ca.pem"),
        )
        .env("WAYLEAVE_DANGER__ALLOW_LOOPBACK_CLIENTS", "true")
        .env("WAYLEAVE_FETCH__NAMESERVERS", "[]")
        .env(
            "WAYLEAVE_RESOURCES",
            "[{ id = 'https://notes.example.com/mcp', scopes = { 'notes.read' = 'Read' } }]",
        )
        .stderr(std::process::Stdio::piped());
    command.output().unwrap()
}

fn out(output: &Output) -> String {
    let (stdout, stderr) = (&output.stdout, &output.stderr);
    format!(
        "{}{}",
        String::from_utf8_lossy(stdout),
        String::from_utf8_lossy(stderr)
    )
}

/// A client on `localhost`, which the command line can resolve, too.
fn local(server: &TestApp, path: &str, members: Value) -> String {
    let client = format!("https://localhost:{}{path}", server.site.port);
    let mut document = server.site.document(path, members);
    document["client_id"] = client.clone().into();
    server.site.answer(path, Answer::json(document.to_string()));
    client
}

on_both! {
    async fn a_block_ends_everything_at_once_and_nobody_else_feels_it(database) {
        let server = TestApp::new(database).await;
        let (bad, good) = (server.site.publish("/bad/c.json", json!({})), server.site.publish("/good/c.json", json!({})));
        let (bad_token, good_token) = (server.refresh_token(&bad).await, server.refresh_token(&good).await);
        let mut browser = server.signed_in().await;
        let flow = server.flow(&bad).with("prompt", "consent");
        let consent = browser.open(&flow.target()).await;
        let mut other = server.signed_in().await;
        let code = server.code(&mut other, &server.flow(&bad)).await;

        let ended = server.rule(&format!("https://app.example.com:{}/bad/*", server.site.port), Tier::Blocked).await;
        assert_eq!((ended.clients, ended.grants, ended.logins), (1, 1, 2));

        let page = browser.submit(&consent, &[("decision", "allow")]).await;
        assert_eq!((page.status.as_u16(), page.location()), (400, None), "the question is over");
        let answer = server.redeem(&server.flow(&bad), &code).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["error"]), (401, &"invalid_client".into()));
        let answer = server.refresh(&bad, &bad_token).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["error"]), (401, &"invalid_client".into()));
        let page = browser.get(&server.flow(&bad).target()).await;
        assert!(page.status == 400 && page.body.contains("policy.blocked"), "{}", page.body);
        let connections = server.site.connections();
        assert_eq!(browser.get(&server.flow(&server.site.url("/bad/other.json")).target()).await.status, 400);
        assert_eq!(server.site.connections(), connections, "a blocked client is not even looked at");
        assert_eq!(server.refresh(&good, &good_token).await.status, 200);

        // Lifted: what ended stays ended, and consent is asked for again.
        let pattern = format!("https://app.example.com:{}/bad/*", server.site.port);
        assert!(server.app.store.remove_client_rule(pattern).await.unwrap());
        server.app.clients.notice_changes().await.unwrap();
        assert_eq!(server.refresh(&bad, &bad_token).await.status, 400);
        assert_eq!(browser.open(&server.flow(&bad).target()).await.text("h1"), "app.example.com");
        let history = server.app.store.client_events(&bad.parse().unwrap()).await.unwrap();
        assert!(history.iter().any(|event| event.kind == "blocked"), "{history:?}");
    }

    /// Another process blocks while this one still has the old rules in memory.
    async fn no_code_is_issued_under_rules_that_are_no_more(database) {
        let server = TestApp::new(database).await;
        let client = server.site.publish("/c.json", json!({}));
        let mut browser = server.signed_in().await;
        let flow = server.flow(&client);
        server.code(&mut browser, &flow).await;
        let consent = browser.open(&flow.clone().with("prompt", "consent").target()).await;
        let now = server.app.clock.now();
        server.app.store.put_client_rule(Rule::new(client.parse().unwrap(), Tier::Blocked), now).await.unwrap();
        // This server has not noticed, and issues nothing all the same.
        let page = browser.get(&flow.target()).await;
        assert!(!page.location().unwrap_or_default().contains("code="), "{:?}", page.location());
        assert_eq!(browser.submit(&consent, &[("decision", "allow")]).await.status, 400);
        // A rule that does not concern the request costs it nothing.
        server.app.store.remove_client_rule(client.clone()).await.unwrap();
        server.app.clients.notice_changes().await.unwrap();
        let consent = browser.open(&flow.clone().with("prompt", "consent").target()).await;
        server.app.store.put_client_rule(Rule::new("other.example.net".parse().unwrap(), Tier::Listed), now).await.unwrap();
        let page = browser.submit(&consent, &[("decision", "allow")]).await;
        let page = browser.follow(page).await;
        let page = browser.submit(&page, &[("decision", "allow")]).await;
        assert!(page.location().is_some_and(|to| to.contains("code=")), "{} {}", page.status, page.body);
    }

    async fn a_blocked_key_blocks_whoever_publishes_it(database) {
        let server = TestApp::new(database).await;
        let key = |x: &str, y: &str| json!({ "keys": [{ "kty": "EC", "crv": "P-256", "kid": "1", "x": x, "y": y }] });
        let leaked = key("fPJ7GI0DT36KUjgDBLUaw8CJaeJ38hs1pgtI_EdmmXg", "B3dVENuO0EApPZrGn3Qw27p9reY86YIpngS3nSJ4c9E");
        let other = key("MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM");
        let (a, b) = (server.site.publish("/a.json", json!({ "jwks": leaked })), server.site.publish("/b.json", json!({ "jwks": other })));
        let (token_a, token_b) = (server.refresh_token(&a).await, server.refresh_token(&b).await);
        let shown: Value = serde_json::from_slice(&command(&server, &["client", "show", &a, "--json"]).stdout).unwrap();
        let thumbprint = shown["keys"][0].as_str().unwrap();
        let ended = server.rule(&format!("key:{thumbprint}"), Tier::Blocked).await;
        assert_eq!((ended.clients, ended.grants), (1, 1));
        assert_eq!(server.refresh(&a, &token_a).await.status, 401);
        assert_eq!(server.refresh(&b, &token_b).await.status, 200);
        let mut browser = server.signed_in().await;
        let page = browser.get(&server.flow(&a).target()).await;
        assert!(page.status == 400 && page.body.contains("policy.blocked"), "{}", page.body);
        assert_eq!(browser.open(&server.flow(&b).with("prompt", "consent").target()).await.text("h1"), "app.example.com");
    }

    async fn every_version_of_a_document_is_kept_and_its_changes_are_graded(database) {
        let server = TestApp::new(database).await;
        let client = local(&server, "/c.json", json!({}));
        let callback = server.site.url("/callback");
        let id = client.parse().unwrap();
        let versions = [
            json!({}),
            json!({ "contacts": ["mailto:a@example.com"] }),
            json!({ "contacts": ["mailto:a@example.com"], "client_name": "Other \u{1b}[31m\u{202e}" }),
            json!({ "redirect_uris": [callback, "https://elsewhere.example.net/cb"] }),
        ];
        for members in &versions {
            if members["client_name"].as_str().is_some_and(|name| name.contains('\u{1b}')) {
                let clean = json!({ "contacts": ["mailto:a@example.com"], "client_name": "Other \u{202e}" });
                local(&server, "/c.json", clean);
            } else {
                local(&server, "/c.json", members.clone());
            }
            server.app.clients.client(&id, Need::Fetch(anybody()), server.app.clock.now()).await.unwrap();
            server.app.clock.advance(700);
        }
        let text = out(&command(&server, &["client", "history", &client]));
        for part in ["first  accepted", "contacts (cosmetic)", "client_name (notable)", "redirect_uris (security)",
                     "people are asked for consent again", "elsewhere.example.net", "\\u{202e}"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains('\u{202e}'));
        let all: Value = serde_json::from_slice(&command(&server, &["client", "history", &client, "--json"]).stdout).unwrap();
        assert_eq!(all.as_array().unwrap().len(), 4);
        assert!(all.as_array().unwrap().iter().all(|event| event["document"]["client_id"] == client.as_str()));
        let text = out(&command(&server, &["client", "show", &client]));
        assert!(text.contains("unknown: no rule matches") && text.contains("SHA-256"), "{text}");
        let text = out(&command(&server, &["client", "list"]));
        assert!(text.contains(&client), "{text}");
    }

    async fn a_client_that_stops_proving_itself_loses_what_it_was_granted(database) {
        let server = TestApp::new(database).await;
        let keys = json!({ "keys": [{ "kty": "EC", "crv": "P-256", "kid": "1",
            "x": "fPJ7GI0DT36KUjgDBLUaw8CJaeJ38hs1pgtI_EdmmXg", "y": "B3dVENuO0EApPZrGn3Qw27p9reY86YIpngS3nSJ4c9E" }] });
        let both = json!({ "token_endpoint_auth_methods_supported": ["none", "private_key_jwt"], "jwks": keys, "token_endpoint_auth_method": null });
        let client = server.site.publish("/c.json", both);
        let token = server.refresh_token(&client).await;
        // First it insists on its key, then it drops it.
        server.site.publish("/c.json", json!({ "token_endpoint_auth_method": "private_key_jwt", "jwks": keys }));
        server.app.clock.advance(700);
        let id = client.parse().unwrap();
        server.app.clients.client(&id, Need::Fetch(anybody()), server.app.clock.now()).await.unwrap();
        assert_eq!(server.refresh(&client, &token).await.status, 200);
        server.site.publish("/c.json", json!({}));
        server.app.clock.advance(700);
        server.app.clients.client(&id, Need::Fetch(anybody()), server.app.clock.now()).await.unwrap();
        assert_eq!(server.refresh(&client, &token).await.status, 400);
        let history = server.app.store.client_events(&id).await.unwrap();
        assert!(history.last().unwrap().answer.contains("revoked"), "{history:?}");
    }

    async fn a_key_that_changes_under_its_kid_is_refused_and_reported(database) {
        let server = TestApp::new(database).await;
        let key = |x: &str, y: &str| json!({ "jwks": { "keys": [{ "kty": "EC", "crv": "P-256", "kid": "1", "x": x, "y": y }] } });
        let client = local(&server, "/c.json", key("fPJ7GI0DT36KUjgDBLUaw8CJaeJ38hs1pgtI_EdmmXg", "B3dVENuO0EApPZrGn3Qw27p9reY86YIpngS3nSJ4c9E"));
        let token = server.refresh_token(&client).await;
        local(&server, "/c.json", key("MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"));
        server.app.clock.advance(700);
        let mut browser = server.signed_in().await;
        let target = server.flow(&client).target();
        let page = browser.get(&target).await;
        assert!(page.status == 400 && page.body.contains("document.jwks.kid"), "{}", page.body);
        let report = server.app.clients.explain(&client).await;
        assert_eq!(report.refused_by().unwrap().rule, "document.jwks.kid");
        assert_eq!(server.refresh(&client, &token).await.status, 200, "what was granted before stands");
        let text = out(&command(&server, &["client", "history", &client]));
        assert!(text.contains("refused") && text.contains("document.jwks.kid"), "{text}");

        let refused = command(&server, &["client", "refresh", &client]);
        assert_eq!(refused.status.code(), Some(1), "{}", out(&refused));
        let accepted = command(&server, &["client", "refresh", &client, "--accept-keys"]);
        assert_eq!(accepted.status.code(), Some(0), "{}", out(&accepted));
        server.app.clients.notice_changes().await.unwrap();
        let page = browser.open(&target).await;
        assert_eq!(page.text("h1"), "localhost", "{}", page.body);
    }

    async fn a_developer_gets_a_document_for_a_while(database) {
        let variables = [
            ("WAYLEAVE_ISSUER", "https://id.example.com"),
            ("WAYLEAVE_DEVELOPMENT__CLIENTS", "true"),
            ("WAYLEAVE_DEVELOPMENT__PER_PERSON", "2"),
        ];
        let server = TestApp::with(database, &variables).await;
        let mut browser = server.signed_in().await;
        let form = browser.get("/development").await;
        let evil = browser.submit(&form, &[("client_name", "Mine"), ("redirect_uris", "https://evil.example.net/cb")]).await;
        assert_eq!(evil.status, 400, "only this computer");
        for name in ["Mine", "Second"] {
            let form = browser.get("/development").await;
            let made = browser.submit(&form, &[("client_name", name), ("redirect_uris", "http://127.0.0.1/cb\r\nhttp://localhost/cb")]).await;
            assert_eq!(made.status, 303, "{}", made.body);
        }
        let third = browser.submit(&form, &[("client_name", "Third"), ("redirect_uris", "http://127.0.0.1/cb")]).await;
        assert!(third.status == 400 && third.body.contains("reached the limit"), "{}", third.body);
        let page = browser.get("/development").await;
        let client = page.text(".rows code");
        assert!(client.starts_with("https://id.example.com/dev-clients/"), "{client}");

        let document = browser.get(&client).await;
        assert_eq!((document.status.as_u16(), document.header("cache-control")), (200, "no-store"));
        assert_eq!(document.json()["client_id"], client.as_str());
        let flow = server.flow(&client).with("redirect_uri", "http://127.0.0.1:4711/cb");
        let consent = browser.open(&flow.target()).await;
        assert!(consent.body.contains("This app is in development"), "{}", consent.body);
        let code = server.code(&mut browser, &flow).await;
        let tokens = server.redeem(&flow, &code).await.json();
        assert_eq!(tokens["expires_in"], 300, "low limits: {tokens}");
        let token = tokens["refresh_token"].as_str().unwrap().to_owned();
        assert_eq!(server.refresh(&client, &token).await.status, 200);
        let report = server.app.clients.explain(&client).await;
        assert!(report.accepted && report.wire.is_none(), "{report:?}");
        server.app.clients.refresh(&client.parse().unwrap(), false).await.unwrap();
        assert_eq!(server.site.connections(), 0);

        // Another person can neither see nor remove it; its developer can, and that ends what it was granted.
        let id = client.rsplit('/').next().unwrap().strip_suffix(".json").unwrap().to_owned();
        let mut stranger = server.administrator().await;
        let page = stranger.get("/development").await;
        assert!(!page.body.contains(&id));
        stranger.submit(&page, &[("redirect_uris", "http://127.0.0.1/cb")]).await;
        let form = stranger.get("/development").await;
        let csrf = form.form().1["csrf"].clone();
        stranger.post("/development/remove", &[("csrf", &csrf), ("id", &id)]).await;
        assert_eq!(stranger.get(&client).await.status, 200);
        let csrf = browser.get("/development").await.form().1["csrf"].clone();
        browser.post("/development/remove", &[("csrf", &csrf), ("id", &id)]).await;
        assert_eq!(browser.get(&client).await.status, 404);
        assert_eq!(browser.get(&flow.target()).await.status, 400);

        // The other one ends by itself.
        let second = browser.get("/development").await.text(".rows code");
        server.app.clock.advance(8 * 3_600 + 1);
        let mut browser = server.signed_in().await;
        assert_eq!(browser.get(&second).await.status, 404);
        let page = browser.get(&flow.with("client_id", &second).target()).await;
        assert!(page.status == 400 && page.body.contains("development.gone"), "{}", page.body);
        let report = server.app.clients.explain(&second).await;
        assert_eq!(report.refused_by().unwrap().rule, "development.gone");
    }

    async fn whoever_asks_for_a_new_copy_is_told_when_there_was_none(database) {
        let server = TestApp::new(database).await;
        let client = local(&server, "/c.json", json!({ "client_name": "Before" }));
        let token = server.refresh_token(&client).await;
        server.site.answer("/c.json", Answer::status(500));
        let refused = command(&server, &["client", "refresh", &client]);
        assert_eq!(refused.status.code(), Some(1), "{}", out(&refused));
        assert!(out(&refused).contains("fetch.status"), "{}", out(&refused));
        assert_eq!(server.refresh(&client, &token).await.status, 200, "the copy serves as before");
        let first = server.app.store.client(&client.parse().unwrap()).await.unwrap().unwrap().failed_at;
        command(&server, &["client", "refresh", &client]);
        let again = server.app.store.client(&client.parse().unwrap()).await.unwrap().unwrap().failed_at;
        assert!(first.is_some() && first == again, "failing since the first failure: {first:?} {again:?}");
        local(&server, "/c.json", json!({ "client_name": "After" }));
        let read = command(&server, &["client", "refresh", &client]);
        assert!(read.status.success() && out(&read).contains("changed: accepted"), "{}", out(&read));
    }
}

#[tokio::test]
async fn development_is_off_by_default() {
    let server = TestApp::new(Database::sqlite()).await;
    let mut browser = server.signed_in().await;
    assert_eq!(browser.get("/development").await.status, 404);
    assert_eq!(browser.get("/dev-clients/x.json").await.status, 404);
}

/// What a tier gives, and what a rule takes away: at the request, in the tokens, and at the refresh after it changed.
#[tokio::test]
async fn tiers_and_ceilings_decide_what_a_client_gets() {
    let server = TestApp::new(Database::sqlite()).await;
    let client = server.site.publish("/c.json", json!({}));
    let now = server.app.clock.now();
    let put = |rule: Rule| {
        let app = server.app.clone();
        async move {
            app.store.put_client_rule(rule, now).await.unwrap();
            app.clients.notice_changes().await.unwrap();
        }
    };
    let base = || Rule::new("app.example.com".parse().unwrap(), Tier::Approved);
    let mut browser = server.signed_in().await;
    let admin = server.flow(&client).with("scope", "admin notes.read");
    let granted = |body: &Value| body["scope"].as_str().unwrap_or_default().to_owned();

    // A stranger gets what is open.
    let code = server.code(&mut browser, &admin).await;
    assert_eq!(
        granted(&server.redeem(&admin, &code).await.json()),
        "notes.read"
    );
    let closed = server
        .flow(&client)
        .with("resource", "https://admin.example.com/");
    let page = browser.get(&closed.target()).await;
    assert_eq!(
        param(page.location().unwrap(), "error").as_deref(),
        Some("invalid_target")
    );
    // An approved client gets everything that is configured.
    put(base()).await;
    let code = server.code(&mut browser, &admin).await;
    let tokens = server.redeem(&admin, &code).await.json();
    assert_eq!(granted(&tokens), "admin notes.read");
    let token = tokens["refresh_token"].as_str().unwrap().to_owned();
    // A narrower rule reaches what was granted before, and shortens it.
    put(Rule {
        scopes: Some(vec!["notes.read".to_owned()]),
        access: Some(60),
        ..base()
    })
    .await;
    let refreshed = server.refresh(&client, &token).await.json();
    assert_eq!(
        (granted(&refreshed).as_str(), &refreshed["expires_in"]),
        ("notes.read", &60.into())
    );
    let token = refreshed["refresh_token"].as_str().unwrap().to_owned();
    // Without the grant there is no refresh, and no refresh token.
    let code_only = vec![GrantType::AuthorizationCode];
    put(Rule {
        grants: Some(code_only),
        ..base()
    })
    .await;
    let refused = server.refresh(&client, &token).await;
    assert_eq!(refused.json()["error"], "unauthorized_client");
    let code = server.code(&mut browser, &server.flow(&client)).await;
    assert!(server.redeem(&server.flow(&client), &code).await.json()["refresh_token"].is_null());
    // A method that is not allowed: this client has no other.
    let methods = vec![AuthMethod::PrivateKeyJwt];
    put(Rule {
        auth_methods: Some(methods),
        ..base()
    })
    .await;
    let page = browser.get(&server.flow(&client).target()).await;
    assert_eq!(
        param(page.location().unwrap(), "error").as_deref(),
        Some("unauthorized_client")
    );
    // Our own clients ask nobody, unless the answer goes to this computer.
    put(Rule::new(
        "app.example.com".parse().unwrap(),
        Tier::FirstParty,
    ))
    .await;
    let mut grace = server.browser();
    let page = grace.open(&server.flow(&client).target()).await;
    let fields = [("username", "grace"), ("password", PASSWORD)];
    let page = grace.submit(&page, &fields).await;
    let page = grace.follow(page).await;
    assert!(
        page.location().is_some_and(|to| to.contains("code=")),
        "{}",
        page.body
    );
    let native = server.site.publish(
        "/native.json",
        json!({ "redirect_uris": ["http://127.0.0.1/cb"] }),
    );
    let page = grace
        .open(
            &server
                .flow(&native)
                .with("redirect_uri", "http://127.0.0.1:9/cb")
                .target(),
        )
        .await;
    assert_eq!(page.text("h1"), "app.example.com");
}

#[tokio::test]
async fn an_allow_list_refuses_whom_no_rule_names() {
    let variables = [
        ("WAYLEAVE_POLICY__UNLISTED", "blocked"),
        (
            "WAYLEAVE_POLICY__CLIENTS",
            "[{ match = 'other.example.net', tier = 'listed' }]",
        ),
    ];
    let server = TestApp::with(Database::sqlite(), &variables).await;
    let client = server.site.publish("/c.json", json!({}));
    let page = server
        .signed_in()
        .await
        .get(&server.flow(&client).target())
        .await;
    assert!(
        page.status == 400 && page.body.contains("policy.blocked"),
        "{}",
        page.body
    );
    assert_eq!(server.site.connections(), 0);
}

#[tokio::test]
async fn the_commands_put_rules_show_them_and_take_them_away() {
    let server = TestApp::new(Database::sqlite()).await;
    let client = "https://app.example.com/oauth/client.json";
    let run = |arguments: &[&str]| {
        let output = command(&server, arguments);
        (output.status.code().unwrap(), out(&output))
    };
    assert_eq!(
        run(&[
            "client",
            "trust",
            "app.example.com",
            "--tier",
            "approved",
            "--scope",
            "notes.read",
            "--note",
            "checked",
            "--grant",
            "authorization_code",
            "--auth-method",
            "private_key_jwt",
            "--refresh-idle",
            "3600",
        ])
        .0,
        0
    );
    let (code, text) = run(&["client", "check-policy", client]);
    assert!(
        code == 0
            && text.contains(
                "approved: of the rules that match, app.example.com is the most specific"
            )
            && [
                "checked",
                "scopes: notes.read",
                "grants: authorization_code",
                "authentication: private_key_jwt",
                "refresh tokens live without use at most: 3600 s",
            ]
            .iter()
            .all(|part| text.contains(part)),
        "{text}"
    );
    let (code, text) = run(&["client", "block", "https://app.example.com/oauth/*"]);
    assert!(
        code == 0 && text.contains("blocked from now on; 0 grants"),
        "{text}"
    );
    let (_, text) = run(&["client", "check-policy", client, "--json"]);
    let shown: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (&shown["tier"], &shown["rule"]["match"]),
        (&"blocked".into(), &"https://app.example.com/oauth/*".into())
    );
    let (_, text) = run(&["client", "rules"]);
    assert!(
        text.contains("app.example.com  approved  database  checked")
            && text.contains("everything else  unknown"),
        "{text}"
    );
    assert_eq!(
        run(&["client", "forget", "https://app.example.com/oauth/*"]).0,
        0
    );
    assert_eq!(
        run(&["client", "forget", "https://app.example.com/oauth/*"]).0,
        1
    );
    for bad in [
        &["client", "trust", "*.com"][..],
        &["client", "trust", "app.example.com", "--tier", "blocked"],
        &["client", "trust", "app.example.com", "--grant", "password"],
        &[
            "client",
            "trust",
            "key:NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs",
        ],
        &["client", "show", "http://app.example.com/"],
    ] {
        let (code, text) = run(bad);
        assert!(code == 2 && !text.is_empty(), "{bad:?}: {text}");
    }
    assert_eq!(run(&["client", "show", client]).0, 1);
}

#[test]
fn a_configuration_proves_its_own_examples() {
    let folder = tempfile::tempdir().unwrap();
    let check = |examples: &str| {
        let text = format!(
            "[policy]\nunlisted = 'unknown'\n[[policy.clients]]\nmatch = 'https://app.example.com/oauth/*'\ntier = 'listed'\n{examples}"
        );
        std::fs::write(folder.path().join("wayleave.toml"), text).unwrap();
        let mut command = wayleave(folder.path());
        command
            .args(["config", "check"])
            .stderr(std::process::Stdio::piped());
        let output = command.output().unwrap();
        (output.status.code().unwrap(), out(&output))
    };
    let example = |id: &str, tier: &str| {
        format!("[[policy.examples]]\nclient_id = '{id}'\ntier = '{tier}'\n")
    };
    let (code, text) = check(&example("https://app.example.com/oauth/c", "listed"));
    assert_eq!(code, 0, "{text}");
    let (code, text) = check(
        &(example("https://app.example.com/other", "listed")
            + "by = 'https://app.example.com/oauth/*'\n"),
    );
    assert!(
        code == 1 && text.contains("expected listed, found unknown"),
        "{text}"
    );
    let (code, text) = check("[[policy.clients]]\nmatch = '*.com'\ntier = 'listed'\n");
    assert!(code == 2 && text.contains("policy.clients"), "{text}");
    let (code, text) =
        check("[[policy.clients]]\nmatch = 'https://app.example.com/oauth/*'\ntier = 'blocked'\n");
    assert!(code == 2 && text.contains("twice"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn explain_says_what_every_rule_says_and_what_to_change() {
    let server = TestApp::new(Database::sqlite()).await;
    let good = local(&server, "/good.json", json!({ "scope": "notes.read" }));
    let output = command(&server, &["explain", &good]);
    let text = out(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    for part in [
        "pass         client_id.scheme",
        "pass         fetch.tls",
        "pass         document.redirect_uris",
        "127.0.0.1",
        "1.3, ",
        "200, application/json",
        "resolve ",
        "notes.read",
        "This server accepts the client.",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let bad = local(
        &server,
        "/bad.json",
        json!({ "client_secret": "x", "redirect_uris": ["ftp://x/"], "scope": "\u{1b}[31m" }),
    );
    let output = command(&server, &["explain", &bad, "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let verdict = |rule: &str| {
        let rules = report["rules"].as_array().unwrap();
        rules
            .iter()
            .find(|line| line["rule"] == rule)
            .unwrap_or_else(|| panic!("{rule}: {report}"))["verdict"]
            .clone()
    };
    for (rule, expected) in [
        ("document.client_id", "pass"),
        ("document.client_secret", "fail"),
        ("document.redirect_uris", "fail"),
        ("document.scope", "fail"),
        ("document.jwks.kid", "not_reached"),
    ] {
        assert_eq!(
            verdict(rule),
            expected,
            "all that is wrong is said at once: {rule}"
        );
    }
    assert_eq!(
        (&report["accepted"], &report["wire"]["status"]),
        (&false.into(), &200.into())
    );
    // What answers instead of a document.
    let page = "<!doctype html><title>Just a moment...</title><script src=/cdn-cgi/challenge-platform/x.js></script>";
    let challenge = Answer {
        status: 403,
        ..Answer::json(page)
    }
    .header("content-type", "text/html")
    .header("cf-mitigated", "challenge");
    server.site.answer("/challenge", challenge);
    server.site.answer(
        "/html",
        Answer::json("<html>").header("content-type", "text/html"),
    );
    server.site.answer(
        "/raw",
        Answer::json("{}").header("content-type", "text/plain"),
    );
    server.site.answer(
        "/moved",
        Answer::status(302).header("location", "https://elsewhere.example.net/"),
    );
    for (path, rule, note) in [
        ("/challenge", "fetch.status", "bot challenge of Cloudflare"),
        ("/html", "document.media_type", "HTML page"),
        ("/raw", "document.media_type", "plain text"),
        ("/moved", "fetch.status", "The redirect leads to"),
        ("/absent", "fetch.status", ""),
    ] {
        let url = format!("https://localhost:{}{path}", server.site.port);
        let text = out(&command(&server, &["explain", &url]));
        assert!(
            text.contains(&format!("FAIL         {rule}")) && text.contains(note),
            "{path}: {text}"
        );
        assert!(
            text.contains(&format!("refuses the client: {rule}")),
            "{path}: {text}"
        );
    }
    // A blocked client is not asked for, and an identifier that is none goes nowhere.
    server.rule("localhost", Tier::Blocked).await;
    let connections = server.site.connections();
    let text = out(&command(&server, &["explain", &good]));
    assert!(
        text.contains("FAIL         policy.blocked") && text.contains("not reached  fetch.dns"),
        "{text}"
    );
    let text = out(&command(&server, &["explain", "https://user@localhost/c"]));
    assert!(
        text.contains("FAIL         client_id.userinfo")
            && text.contains("not reached  client_id.host"),
        "{text}"
    );
    assert_eq!(server.site.connections(), connections);
}

#[tokio::test]
async fn administrators_see_clients_and_explanations_and_nobody_else_does() {
    let server = TestApp::new(Database::sqlite()).await;
    let client = server.site.publish("/c.json", json!({}));
    server.refresh_token(&client).await;
    let mut ada = server.signed_in().await;
    server.site.answer("/down.json", Answer::status(503));
    ada.get(&server.flow(&server.site.url("/down.json")).target())
        .await;
    for path in ["/admin/clients", "/admin/explain"] {
        assert_eq!(ada.get(path).await.status, 403);
        let mut nobody = server.browser();
        let form = nobody.open(path).await;
        assert_eq!(form.text("h1"), "Sign in", "{}", form.body);
        let signed_in = nobody
            .submit(&form, &[("username", "ada"), ("password", PASSWORD)])
            .await;
        assert_eq!(signed_in.header("location"), path);
    }
    let mut root = server.administrator().await;
    let page = root.get("/admin/clients").await;
    for part in [
        "/c.json",
        "1 grant of 1 person",
        "/down.json",
        "next attempt in",
        "fetch.status",
    ] {
        assert!(page.body.contains(part), "{part}: {}", page.body);
    }
    let form = root.get("/admin/explain").await;
    let page = root.submit(&form, &[("client_id", &client)]).await;
    assert!(
        page.body.contains("This server accepts the client.") && page.body.contains("fetch.tls"),
        "{}",
        page.body
    );
    let page = root
        .submit(&form, &[("client_id", "<script>alert(1)</script>")])
        .await;
    assert!(
        page.body.contains("client_id.") && !page.body.contains("<script>"),
        "{}",
        page.body
    );
    let forged = root
        .post("/admin/explain", &[("client_id", &client), ("csrf", "x")])
        .await;
    assert_eq!(forged.status, 403);
}

#[tokio::test]
async fn z_41_m_42_the_consent_page_names_what_imitates_and_since_when_it_is_known() {
    let variables = [(
        "WAYLEAVE_POLICY__CLIENTS",
        "[{ match = 'notes.examp1e-company.net', tier = 'listed' }]",
    )];
    let server = TestApp::with(Database::sqlite(), &variables).await;
    let client = server
        .site
        .publish("/c.json", json!({ "client_name": "Google Drive" }));
    let mut browser = server.signed_in().await;
    let target = server.flow(&client).with("prompt", "consent").target();
    let page = browser.open(&target).await;
    for part in [
        "first seen here today",
        "Nobody here uses it yet",
        "belongs to somebody else",
        "Nobody has checked",
    ] {
        assert!(page.body.contains(part), "{part}: {}", page.body);
    }
    browser.submit(&page, &[("decision", "allow")]).await;
    server.app.clock.advance(3 * 86_400);
    let mut browser = server.signed_in().await;
    let page = browser.open(&target).await;
    for part in ["seen here since 15 January 2027", "One person here uses it"] {
        assert!(page.body.contains(part), "{part}: {}", page.body);
    }
    // Whom the administrator knows is introduced so, with the administrator's word.
    let now = server.app.clock.now();
    let rule = Rule {
        consent_text: Some("Our own drive <b>".to_owned()),
        ..Rule::new("app.example.com".parse().unwrap(), Tier::Approved)
    };
    server.app.store.put_client_rule(rule, now).await.unwrap();
    server.app.clients.notice_changes().await.unwrap();
    let page = browser.open(&target).await;
    assert!(
        page.body.contains("has checked this app")
            && page.body.contains("Our own drive &#60;b&#62;"),
        "{}",
        page.body
    );
    assert!(!page.body.contains("belongs to somebody else"));
}

#[tokio::test]
async fn a_slow_logo_is_fetched_once_and_holds_up_no_other() {
    let server = TestApp::new(Database::sqlite()).await;
    server.rule("app.example.com", Tier::Listed).await;
    let mut browser = server.signed_in().await;
    let mut targets = Vec::new();
    for name in ["one", "other"] {
        let logo = server.site.url(&format!("/{name}.png"));
        let path = format!("/{name}.json");
        let client = server.site.publish(&path, json!({ "logo_uri": logo }));
        // Its document is known before the site hangs.
        let (id, now) = (client.parse().unwrap(), server.app.clock.now());
        server
            .app
            .clients
            .client(&id, Need::Fetch(anybody()), now)
            .await
            .unwrap();
        targets.push(server.flow(&client).with("prompt", "consent").target());
    }
    let before = server.site.connections();
    let held = server.site.hold().await;
    for n in 0..3 {
        for target in &targets {
            assert_eq!(browser.open(target).await.status, 200, "{n}");
        }
    }
    server.quiet(before + 2).await;
    assert_eq!(server.site.connections(), before + 2, "one for each client");
    drop(held);
    for name in ["one", "other"] {
        let id = server.site.url(&format!("/{name}.json")).parse().unwrap();
        until("a logo", async || {
            server.app.store.client_logo(&id).await.unwrap()
        })
        .await;
    }
    for target in &targets {
        browser.open(target).await;
    }
    server.quiet(before + 2).await;
    assert_eq!(server.site.connections(), before + 2, "nobody asks again");
}

#[tokio::test]
async fn y_07_a_logo_is_read_from_no_other_port_than_documents_are() {
    let other = ClientSite::start().await;
    let ports: Vec<_> = (1_024..=u16::MAX)
        .filter(|port| *port != other.port)
        .map(|port| port.to_string())
        .collect();
    let ports = format!("[{}]", ports.join(", "));
    let variables = [("WAYLEAVE_CLIENTS__ALLOWED_PORTS", ports.as_str())];
    let server = TestApp::with(Database::sqlite(), &variables).await;
    server.rule("app.example.com", Tier::Listed).await;
    let mut browser = server.signed_in().await;
    let own = |port: &str| format!("https://app.example.com:{port}/logo.png");
    for (name, logo, told) in [
        (
            "outside",
            other.url("/logo.png"),
            "this server does not accept this port in a logo_uri",
        ),
        (
            "blocked",
            own("6000"),
            "the port of logo_uri must be 443 or above 1023, and none that browsers block",
        ),
        (
            "low",
            own("22"),
            "the port of logo_uri must be 443 or above 1023, and none that browsers block",
        ),
        (
            "address",
            format!("https://127.0.0.1:{}/logo.png", other.port),
            "the host of logo_uri must be a DNS name, not an IP address",
        ),
    ] {
        let path = format!("/{name}.json");
        let client = server.site.publish(&path, json!({ "logo_uri": logo }));
        let target = server.flow(&client).with("prompt", "consent").target();
        let page = browser.open(&target).await;
        assert!(
            page.status == 200 && !page.body.contains("<img"),
            "{}",
            page.body
        );
        let id = client.parse().unwrap();
        let known = until(name, async || {
            server.app.store.client_logo(&id).await.unwrap()
        })
        .await;
        assert_eq!(
            (known.hash, known.failed_because.as_deref()),
            (None, Some(told)),
            "{name}"
        );
        let report = server.app.clients.explain(&client).await;
        assert!(report.accepted, "the document is as good as another");
        let note = format!("Its logo is not read and not shown: {told}.");
        assert!(report.notes.contains(&note), "{:?}", report.notes);
    }
    assert_eq!(other.connections(), 0, "nothing is dialled");
}

#[tokio::test]
async fn m_43_a_logo_is_shown_for_listed_clients_from_here_only() {
    let server = TestApp::new(Database::sqlite()).await;
    let logo = server.site.url("/logo.png");
    let client = server.site.publish("/c.json", json!({ "logo_uri": logo }));
    let picture = image::DynamicImage::ImageRgba8(image::RgbaImage::from_pixel(
        900,
        900,
        image::Rgba([9, 90, 60, 255]),
    ));
    let mut png = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut png, image::ImageFormat::Png).unwrap();
    server.site.answer(
        "/logo.png",
        Answer::json(png.into_inner()).header("content-type", "text/html"),
    );
    let mut browser = server.signed_in().await;
    let target = server.flow(&client).with("prompt", "consent").target();
    let page = browser.open(&target).await;
    assert!(
        !page.body.contains("<img"),
        "a stranger's logo is not shown"
    );
    assert_eq!(server.site.connections(), 1, "nor fetched");

    server.rule("app.example.com", Tier::Listed).await;
    browser.open(&target).await;
    server.quiet(2).await;
    let logo = until("a logo on the page", async || {
        let page = browser.open(&target).await;
        assert!(page.body.contains("h1"));
        let at = page.body.find("src=\"/logos/")?;
        Some(page.body[at + 5..].split('"').next().unwrap().to_owned())
    })
    .await;
    let shown = browser.get_bytes(&logo).await;
    assert_eq!(shown.0.get("content-type").unwrap(), "image/png");
    assert!(
        shown
            .0
            .get("cache-control")
            .unwrap()
            .to_str()
            .unwrap()
            .contains("immutable")
    );
    let shown = image::load_from_memory(&shown.1).unwrap();
    assert_eq!((shown.width(), shown.height()), (512, 512));
    assert_eq!(browser.get("/logos/0000.png").await.status, 404);
    assert_eq!(
        browser
            .get(&format!("/logos/{}.png", "0".repeat(64)))
            .await
            .status,
        404
    );

    // What cannot be shown is silent for people, and written down for the administrator.
    let client = server.site.publish(
        "/svg.json",
        json!({ "logo_uri": server.site.url("/logo.svg") }),
    );
    server.site.answer(
        "/logo.svg",
        Answer::json("<svg onload=alert(1)>").header("content-type", "image/svg+xml"),
    );
    let target = server.flow(&client).with("prompt", "consent").target();
    let page = browser.open(&target).await;
    assert!(page.status == 200 && !page.body.contains("<img"));
    let id = client.parse().unwrap();
    let known = until("a logo", async || {
        server.app.store.client_logo(&id).await.unwrap()
    })
    .await;
    assert!(known.hash.is_none() && known.failed_because.unwrap().contains("PNG, JPEG or WebP"));
}
