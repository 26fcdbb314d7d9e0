//! `/authorize` and `/consent`: RFC 6749 §4.1, RFC 7636, RFC 8707, RFC 9207.

use axum::body::Body;
use http::{Request, header};
use serde_json::json;
use wayleave::time::UnixTime;

use crate::support::{
    Browser, Database, Kind, TestApp,
    app::{PASSWORD, param},
    on_both,
};

on_both! {
    async fn a_person_signs_in_allows_and_the_client_gets_its_code(database) {
        let server = TestApp::new(database).await;
        let client = server.site.publish("/client.json", json!({}));
        let flow = server.flow(&client).with("scope", "notes.read").with("resource", "https://notes.example.com/mcp");
        let mut browser = server.browser();

        let login = browser.open(&flow.target()).await;
        assert_eq!(login.text("h1"), "Sign in");
        assert!(login.text(".lede").contains("app.example.com"));
        assert_eq!(server.site.connections(), 0, "an unknown client is looked up only for somebody who is signed in");

        let after = browser.submit(&login, &[("username", "Ada"), ("password", PASSWORD)]).await;
        let consent = browser.follow(after).await;
        assert_eq!(consent.text("h1"), "app.example.com");
        for shown in ["Test Notebook", "Read your notes", "Notes", "notes.example.com", "stay connected", "ada"] {
            assert!(consent.body.contains(shown), "{shown}: {}", consent.body);
        }
        assert!(!consent.body.contains("Change your notes"));
        let deny = consent.body.find("value=\"deny\"").unwrap();
        assert!(deny < consent.body.find("value=\"allow\"").unwrap());
        // F-01, since November 2026: the pages before a client have no form-action, for the client's own redirects.
        for page in [&login, &consent] {
            let policy = page.header("content-security-policy");
            assert!(policy.starts_with("default-src 'none';") && !policy.contains("form-action"), "{policy}");
        }

        let answer = browser.submit(&consent, &[("decision", "allow")]).await;
        assert_eq!((answer.status.as_u16(), answer.header("cache-control")), (303, "no-store"));
        assert_eq!(answer.header("referrer-policy"), "no-referrer");
        let address = answer.location().unwrap();
        assert!(address.starts_with(&server.site.url("/callback?code=wl_ac_")), "{address}");
        assert_eq!(param(address, "state").unwrap(), "a/b+c==");
        assert_eq!(param(address, "iss").unwrap(), "http://127.0.0.1:8080");
        assert_eq!(server.site.connections(), 1);

        // Remembered: no page in between, until it is forgotten.
        let again = browser.get(&flow.target()).await;
        assert!(again.location().is_some_and(|to| to.contains("code=")), "{}", again.body);
        assert_eq!(browser.open(&flow.clone().with("scope", "notes.read notes.write").target()).await.text("h1"), "app.example.com");
        assert_eq!(browser.open(&flow.clone().with("prompt", "consent").target()).await.text("h1"), "app.example.com");
        server.app.clock.advance(90 * 86_400 + 1);
        let mut later = server.signed_in().await;
        assert_eq!(later.open(&flow.target()).await.text("h1"), "app.example.com");
    }

    async fn a_person_denies_and_the_client_is_told(database) {
        let server = TestApp::new(database).await;
        let client = server.site.publish("/client.json", json!({}));
        let mut browser = server.signed_in().await;
        let consent = browser.open(&server.flow(&client).target()).await;
        let answer = browser.submit(&consent, &[("decision", "deny")]).await;
        let address = answer.location().unwrap();
        assert_eq!(param(address, "error").unwrap(), "access_denied");
        assert_eq!(param(address, "state").unwrap(), "a/b+c==");
        assert_eq!(param(address, "iss").unwrap(), "http://127.0.0.1:8080");
        // Nothing is remembered of a no, and the question is spent.
        assert_eq!(browser.submit(&consent, &[("decision", "allow")]).await.status, 400);
        assert_eq!(browser.open(&server.flow(&client).target()).await.text("h1"), "app.example.com");
    }

    async fn a_question_is_answered_once_by_the_browser_it_was_put_to(database) {
        let server = TestApp::new(database).await;
        let client = server.site.publish("/client.json", json!({}));
        let mut browser = server.signed_in().await;
        let consent = browser.open(&server.flow(&client).target()).await;

        let mut other = server.signed_in().await;
        assert_eq!(other.submit(&consent, &[("decision", "allow")]).await.status, 400, "another browser");
        let mut somebody_else = server.browser();
        let visitor = browser.cookies["wayleave_visitor"].clone();
        somebody_else.cookies.insert("wayleave_visitor".to_owned(), visitor);
        let login = somebody_else.get("/login").await;
        somebody_else.submit(&login, &[("username", "grace"), ("password", PASSWORD)]).await;
        assert_eq!(somebody_else.submit(&consent, &[("decision", "allow")]).await.status, 400, "another person");
        let mut stranger = server.browser();
        assert_eq!(stranger.submit(&consent, &[("decision", "allow")]).await.status, 400, "no session");
        assert_eq!(browser.submit(&consent, &[("decision", "allow"), ("csrf", "x")]).await.status, 403);
        assert_eq!(browser.submit(&consent, &[("decision", "maybe")]).await.status, 400);

        let answers = (0..16).map(|_| {
            let (mut browser, consent) = (browser.clone(), consent.form());
            async move {
                let mut fields: Vec<_> = consent.1.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
                fields.push(("decision", "allow"));
                browser.post(&consent.0, &fields).await.status.as_u16()
            }
        });
        let mut statuses = futures_util::future::join_all(answers).await;
        statuses.sort_unstable();
        let mut expected = vec![303];
        expected.extend([400; 15]);
        assert_eq!(statuses, expected);
    }

    async fn a_question_expires(database) {
        let server = TestApp::new(database).await;
        let client = server.site.publish("/client.json", json!({}));
        let mut browser = server.signed_in().await;
        let consent = browser.open(&server.flow(&client).target()).await;
        server.app.clock.advance(901);
        assert_eq!(browser.submit(&consent, &[("decision", "allow")]).await.status, 400);
        let (gone, _) = server.app.store.sweep(900, server.app.clock.now()).await.unwrap();
        assert_eq!(gone, 1, "and its row is swept");
    }
}

/// Before the redirect URI is proven: a page for people, never a redirect, no row.
#[tokio::test]
async fn what_is_wrong_before_the_redirect_uri_is_proven_is_a_page() {
    let server = TestApp::new(Database::sqlite()).await;
    let client = server.site.publish("/client.json", json!({}));
    let other = server.site.url("/other");
    let flow = server.flow(&client);
    let mut browser = server.signed_in().await;
    let table = [
        (
            flow.clone().with("client_id", "").target(),
            "client_id is missing",
        ),
        (
            flow.clone().with("client_id", "app").target(),
            "client_id.unknown",
        ),
        (
            flow.clone()
                .with("client_id", "http://app.example.com/c")
                .target(),
            "client_id.scheme",
        ),
        (
            flow.clone()
                .with("client_id", "https://127.0.0.1/c")
                .target(),
            "client_id.",
        ),
        (
            flow.clone()
                .with("client_id", "https://app.example.com/../c")
                .target(),
            "client_id.",
        ),
        (
            flow.clone()
                .with("client_id", "https://u@app.example.com/c")
                .target(),
            "client_id.",
        ),
        (
            flow.clone().with("redirect_uri", "").target(),
            "redirect_uri is missing",
        ),
        (
            flow.clone()
                .with("redirect_uri", "https://evil.example/cb")
                .target(),
            "redirect_uri",
        ),
        (
            flow.clone()
                .with("redirect_uri", &format!("{}/", flow.get("redirect_uri")))
                .target(),
            "redirect_uri",
        ),
        (
            flow.clone().with("client_id", &other).target(),
            "fetch.status",
        ),
        (
            format!("{}&client_id=x", flow.target()),
            "sent more than once",
        ),
        (format!("{}&state=%ff", flow.target()), "not UTF-8"),
        (format!("{}&state=%00", flow.target()), "contains NUL"),
        (
            format!("{}&x=%zz", flow.target()),
            "malformed percent-encoding",
        ),
        (
            format!("/authorize?x={}", "a".repeat(7_100)),
            "longer than 7000 bytes",
        ),
    ];
    for (target, told) in table {
        let page = browser.get(&target).await;
        assert_eq!(page.status, 400, "{target}: {}", page.body);
        assert!(page.location().is_none(), "{target}");
        assert!(
            page.body.contains(told),
            "{target}\nwant {told}\n{}",
            page.body
        );
    }
    let page = browser
        .get(&format!("/authorize?x={}", "a".repeat(9_000)))
        .await;
    assert_eq!(page.status, 414);
    let escaped = browser
        .get(
            &flow
                .with(
                    "client_id",
                    "https://app.example.com/<script>alert(1)</script>",
                )
                .target(),
        )
        .await;
    assert!(!escaped.body.contains("<script>"), "{}", escaped.body);
}

#[tokio::test]
async fn what_is_wrong_afterwards_goes_back_to_the_client_with_state_and_iss() {
    let server = TestApp::new(Database::sqlite()).await;
    let client = server.site.publish("/client.json", json!({}));
    let pushes = server.site.publish(
        "/pushes.json",
        json!({ "require_pushed_authorization_requests": true }),
    );
    let flow = server.flow(&client);
    let mut browser = server.signed_in().await;
    let table = [
        (
            flow.clone().with("response_type", "token"),
            "unsupported_response_type",
        ),
        (flow.clone().with("response_type", ""), "invalid_request"),
        (flow.clone().with("code_challenge", ""), "invalid_request"),
        (
            flow.clone().with("code_challenge_method", "plain"),
            "invalid_request",
        ),
        (
            flow.clone().with("code_challenge_method", ""),
            "invalid_request",
        ),
        (flow.clone().with("scope", "admin"), "invalid_scope"),
        (flow.clone().with("scope", "\"x"), "invalid_scope"),
        (
            flow.clone().with("resource", "https://unknown.example/"),
            "invalid_target",
        ),
        (
            flow.clone().with("resource", "https://admin.example.com/"),
            "invalid_target",
        ),
        (
            flow.clone()
                .with("resource", "https://notes.example.com/mcp#f"),
            "invalid_target",
        ),
        (
            flow.clone().with("request_uri", "https://169.254.169.254/"),
            "request_uri_not_supported",
        ),
        (flow.clone().with("prompt", "none"), "consent_required"),
        (flow.clone().with("client_id", &pushes), "invalid_request"),
    ];
    for (flow, error) in table {
        let page = browser.get(&flow.target()).await;
        let address = page
            .location()
            .unwrap_or_else(|| panic!("{flow:?}: {}", page.body));
        assert_eq!(page.status, 303);
        assert_eq!(param(address, "error").as_deref(), Some(error), "{address}");
        assert_eq!(
            param(address, "state").as_deref(),
            Some("a/b+c=="),
            "{address}"
        );
        assert_eq!(
            param(address, "iss").as_deref(),
            Some("http://127.0.0.1:8080"),
            "{address}"
        );
    }
    // The client is known by now: nobody is signed in, and no page may be shown.
    let page = server
        .browser()
        .get(&flow.with("prompt", "none").target())
        .await;
    assert_eq!(
        param(page.location().unwrap(), "error").as_deref(),
        Some("login_required")
    );
}

#[tokio::test]
async fn a_request_may_be_posted_and_repeated_and_looked_at() {
    let server = TestApp::new(Database::sqlite()).await;
    let client = server.site.publish("/client.json", json!({}));
    let flow = server.flow(&client);
    // Twice without cookies, as a client that looks before its browser does.
    for _ in 0..2 {
        assert_eq!(server.browser().get(&flow.target()).await.status, 303);
    }
    let mut browser = server.signed_in().await;
    let post = |target: &str, body: String, media: &str| {
        Request::post(target)
            .header(header::CONTENT_TYPE, media)
            .body(Body::from(body))
            .unwrap()
    };
    const FORM: &str = "application/x-www-form-urlencoded";
    let page = browser.send(post("/authorize", flow.query(), FORM)).await;
    assert!(
        page.location()
            .is_some_and(|to| to.starts_with("/consent?")),
        "{}",
        page.body
    );
    assert_eq!(
        browser
            .send(post(&flow.target(), flow.query(), FORM))
            .await
            .status,
        400
    );
    assert_eq!(
        browser
            .send(post("/authorize", "{}".to_owned(), "application/json"))
            .await
            .status,
        400
    );

    let connections = server.site.connections();
    let unseen = flow.with("client_id", &server.site.publish("/unseen.json", json!({})));
    for (name, value) in [
        ("sec-purpose", "prefetch"),
        ("purpose", "prefetch"),
        ("cdn-loop", "wayleave"),
    ] {
        let request = Request::get(unseen.target())
            .header(name, value)
            .body(Body::empty())
            .unwrap();
        let status = browser.send(request).await.status.as_u16();
        assert!(matches!(status, 204 | 508), "{name}: {status}");
    }
    assert_eq!(
        browser
            .send(Request::head(unseen.target()).body(Body::empty()).unwrap())
            .await
            .status,
        204
    );
    assert_eq!(
        server.site.connections(),
        connections,
        "nothing was fetched for those who only look"
    );
}

#[tokio::test]
async fn the_answer_to_this_computer_is_asked_about_every_time() {
    let server = TestApp::new(Database::sqlite()).await;
    let client = server.site.publish(
        "/cli.json",
        json!({ "redirect_uris": ["http://localhost/callback", "http://127.0.0.1/callback"] }),
    );
    let mut browser = server.signed_in().await;
    for redirect in [
        "http://localhost:51212/callback",
        "http://127.0.0.1:4000/callback",
    ] {
        let flow = server.flow(&client).with("redirect_uri", redirect);
        for _ in 0..2 {
            let consent = browser.open(&flow.target()).await;
            assert!(
                consent.body.contains("a program on this computer"),
                "{}",
                consent.body
            );
            let answer = browser.submit(&consent, &[("decision", "allow")]).await;
            assert!(
                answer
                    .location()
                    .unwrap()
                    .starts_with(&format!("{redirect}?code=")),
                "{answer:?}"
            );
        }
    }
    for redirect in [
        "http://[::1]:9/callback",
        "http://localhost:9/other",
        "http://localhost.evil.com/callback",
        "https://localhost:9/callback",
    ] {
        assert_eq!(
            browser
                .get(&server.flow(&client).with("redirect_uri", redirect).target())
                .await
                .status,
            400,
            "{redirect}"
        );
    }
}

#[tokio::test]
async fn another_host_than_the_clients_is_pointed_out() {
    let server = TestApp::new(Database::sqlite()).await;
    let redirect = format!("https://other.example.net:{}/cb", server.site.port);
    let client = server
        .site
        .publish("/c.json", json!({ "redirect_uris": [redirect] }));
    let mut browser = server.signed_in().await;
    let consent = browser
        .open(
            &server
                .flow(&client)
                .with("redirect_uri", &redirect)
                .target(),
        )
        .await;
    assert_eq!(consent.text("h1"), "app.example.com");
    assert_eq!(consent.text(".dest"), "other.example.net");
    assert!(
        consent.body.contains("another host than the app"),
        "{}",
        consent.body
    );
}

#[tokio::test]
async fn a_name_is_shown_as_the_strangers_own_words() {
    let server = TestApp::new(Database::sqlite()).await;
    let client = server.site.publish(
        "/c.json",
        json!({ "client_name": "<script>alert(1)</script>\u{202e}{{7*7}}" }),
    );
    let mut browser = server.signed_in().await;
    let consent = browser.open(&server.flow(&client).target()).await;
    assert!(
        !consent.body.contains("<script>") && !consent.body.contains('\u{202e}'),
        "{}",
        consent.body
    );
    assert!(
        consent.body.contains("{{7*7}}") && consent.body.contains("its own words"),
        "{}",
        consent.body
    );
}

#[tokio::test]
async fn a_changed_client_is_asked_about_again_and_says_what_changed() {
    let server = TestApp::new(Database::sqlite()).await;
    let client = server.site.publish("/c.json", json!({}));
    let flow = server.flow(&client);
    let mut browser = server.signed_in().await;
    server.code(&mut browser, &flow).await;

    server
        .site
        .publish("/c.json", json!({ "contacts": ["new@example.com"] }));
    server.app.clock.advance(700);
    assert!(
        browser
            .get(&flow.target())
            .await
            .location()
            .unwrap()
            .contains("code="),
        "a cosmetic change is none"
    );

    server
        .site
        .publish("/c.json", json!({ "client_name": "Another Name" }));
    server.app.clock.advance(700);
    let consent = browser.open(&flow.target()).await;
    assert!(
        consent.body.contains("It calls itself by another name."),
        "{}",
        consent.body
    );
}

#[tokio::test]
async fn one_login_uses_one_version_of_the_document() {
    let server = TestApp::new(Database::sqlite()).await;
    let client = server.site.publish("/c.json", json!({}));
    let flow = server.flow(&client);
    let mut browser = server.signed_in().await;
    let consent = browser.open(&flow.target()).await;
    // The document changes, and another login reads the new version, before this one is answered.
    server.site.publish(
        "/c.json",
        json!({ "client_name": "Another Name", "grant_types": ["authorization_code"] }),
    );
    server.app.clock.advance(700);
    let mut other = server.signed_in().await;
    assert!(
        other
            .open(&flow.target())
            .await
            .body
            .contains("Another Name")
    );
    assert!(
        browser
            .get(&format!(
                "/consent?interaction={}",
                consent.form().1["interaction"]
            ))
            .await
            .body
            .contains("Test Notebook")
    );
    let answer = browser.submit(&consent, &[("decision", "allow")]).await;
    let code = param(answer.location().unwrap(), "code").unwrap();
    let tokens = server.redeem(&flow, &code).await.json();
    assert!(
        tokens["refresh_token"].is_string(),
        "as the version that was shown allows: {tokens}"
    );
}

#[tokio::test]
async fn prompt_login_asks_for_the_password_again_and_only_once() {
    let server = TestApp::new(Database::sqlite()).await;
    let client = server.site.publish("/c.json", json!({}));
    let flow = server.flow(&client);
    let mut browser = server.signed_in().await;
    server.code(&mut browser, &flow).await;
    server.app.clock.advance(60);
    let login = browser
        .open(&flow.clone().with("prompt", "login").target())
        .await;
    assert_eq!(login.text("h1"), "Sign in");
    let session = browser.cookies["wayleave_session"].clone();
    let after = browser
        .submit(&login, &[("username", "ada"), ("password", PASSWORD)])
        .await;
    let done = browser.follow(after).await;
    assert!(
        done.location().is_some_and(|to| to.contains("code=")),
        "{}",
        done.body
    );
    assert_ne!(
        browser.cookies["wayleave_session"], session,
        "a new session, not the old one"
    );
    // The mark that was carried through the sign-in is worth nothing on another request.
    let mark = login.form().1["request"].clone();
    let forged = mark.replace("prompt=login", "prompt=login&nonce=x");
    assert_eq!(
        browser
            .open(&format!("/authorize?{forged}"))
            .await
            .text("h1"),
        "Sign in"
    );
}

#[tokio::test]
async fn a_request_without_scope_gets_a_default_and_unknown_scopes_are_left_out() {
    let server = TestApp::new(Database::sqlite()).await;
    let mut browser = server.signed_in().await;
    let table = [
        (
            "",
            "https://notes.example.com/mcp",
            "notes.read notes.write",
        ),
        (
            "notes.read unknown offline_access",
            "https://notes.example.com/mcp",
            "notes.read offline_access",
        ),
        ("openid offline_access", "", "openid offline_access"),
        ("webid offline_access", "", "offline_access"),
    ];
    for (n, (scope, resource, granted)) in table.into_iter().enumerate() {
        let client = server.site.publish(&format!("/{n}.json"), json!({}));
        let flow = server
            .flow(&client)
            .with("scope", scope)
            .with("resource", resource);
        let code = server.code(&mut browser, &flow).await;
        assert_eq!(
            server.redeem(&flow, &code).await.json()["scope"],
            granted,
            "{scope}"
        );
    }
}

#[tokio::test]
async fn two_tabs_may_sign_in_and_answer_side_by_side() {
    let server = TestApp::new(Database::sqlite()).await;
    let client = server.site.publish("/c.json", json!({}));
    let mut browser = server.browser();
    let credentials = [("username", "ada"), ("password", PASSWORD)];
    let first = browser
        .open(&server.flow(&client).with("state", "first").target())
        .await;
    let second = browser
        .open(&server.flow(&client).with("state", "second").target())
        .await;
    let after = browser.submit(&first, &credentials).await;
    let first = browser.follow(after).await;
    let after = browser.submit(&second, &credentials).await;
    let second = browser.follow(after).await;
    for (consent, state) in [(first, "first"), (second, "second")] {
        let answer = browser.submit(&consent, &[("decision", "allow")]).await;
        let address = answer
            .location()
            .unwrap_or_else(|| panic!("{state}: {}", answer.body));
        assert_eq!(param(address, "state").as_deref(), Some(state));
    }
    // After signing out nobody is left to answer.
    let open = browser
        .open(&server.flow(&client).with("prompt", "consent").target())
        .await;
    let page = browser.get("/logout").await;
    browser.submit(&page, &[]).await;
    assert_eq!(
        browser.submit(&open, &[("decision", "allow")]).await.status,
        400
    );
}

#[tokio::test]
async fn what_the_framework_refuses_for_people_is_a_page_of_ours() {
    let server = TestApp::new(Database::sqlite()).await;
    const FORM: &str = "application/x-www-form-urlencoded";
    let table = [
        ("PUT", "/authorize", String::new(), 405),
        ("DELETE", "/login", String::new(), 405),
        ("POST", "/login", "a".repeat(70_000), 413),
        ("POST", "/authorize", "a".repeat(70_000), 413),
        ("GET", "/nowhere", String::new(), 404),
        ("GET", "//token", String::new(), 404),
        ("GET", "/token/", String::new(), 404),
    ];
    for (method, target, body, status) in table {
        let request = Request::builder()
            .method(method)
            .uri(target)
            .header(header::CONTENT_TYPE, FORM);
        let page = server
            .browser()
            .send(request.body(Body::from(body)).unwrap())
            .await;
        assert_eq!(page.status, status, "{method} {target}");
        assert_eq!(
            page.header("content-type"),
            "text/html; charset=utf-8",
            "{method} {target}"
        );
        assert!(
            !page.text("h1").is_empty(),
            "{method} {target}: {}",
            page.body
        );
    }
}

#[tokio::test]
async fn only_a_page_of_ours_can_send_our_forms() {
    let server = TestApp::new(Database::sqlite()).await;
    let client = server.site.publish("/c.json", json!({}));
    let mut browser = server.signed_in().await;
    let consent = browser.open(&server.flow(&client).target()).await;
    let (action, mut fields) = consent.form();
    fields.insert("decision".to_owned(), "allow".to_owned());
    let send = |browser: &mut Browser, name: &'static str, value: &'static str| {
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(&fields)
            .finish();
        let request = Request::post(&action)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::HOST, "127.0.0.1:8080")
            .header(name, value)
            .body(Body::from(body))
            .unwrap();
        let mut browser = browser.clone();
        async move { browser.send(request).await.status.as_u16() }
    };
    assert_eq!(
        send(&mut browser, "origin", "https://evil.example").await,
        403
    );
    assert_eq!(send(&mut browser, "origin", "null").await, 403);
    assert_eq!(
        send(&mut browser, "sec-fetch-site", "cross-site").await,
        403
    );
    assert_eq!(send(&mut browser, "sec-fetch-site", "same-site").await, 403);
    assert_eq!(
        send(&mut browser, "origin", "http://127.0.0.1:8080").await,
        303
    );
}

#[tokio::test]
async fn a_session_ends_by_idleness_and_by_age() {
    let server = TestApp::new(Database::sqlite()).await;
    assert_eq!(server.database.kind, Kind::Sqlite);
    let is_signed_in =
        async |browser: &mut Browser| browser.get("/").await.text("h1") == "You are signed in";
    let mut browser = server.signed_in().await;
    server.app.clock.advance(12 * 3_600 - 1);
    assert!(is_signed_in(&mut browser).await, "used in time");
    server.app.clock.advance(12 * 3_600 - 1);
    assert!(is_signed_in(&mut browser).await, "and so put off");
    server.app.clock.advance(12 * 3_600 + 1);
    assert!(!is_signed_in(&mut browser).await, "idle");

    let mut browser = server.signed_in().await;
    let start = server.app.clock.now();
    while server.app.clock.now() - start < 7 * 86_400 - 3_600 {
        server.app.clock.advance(3_600);
        assert!(
            is_signed_in(&mut browser).await,
            "{:?}",
            UnixTime(server.app.clock.now() - start)
        );
    }
    server.app.clock.advance(3_600);
    assert!(
        !is_signed_in(&mut browser).await,
        "too old, however much it was used"
    );
}
