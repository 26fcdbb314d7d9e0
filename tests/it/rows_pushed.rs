//! Pushed authorization requests: section 3(e), Q-… and O-02 of the attack corpus.

use serde_json::{Value, json};

use crate::support::{
    Database, Page, Signer, TestApp,
    app::{Flow, param},
    on_both,
    signer::ASSERTION_TYPE,
};

/// Pushes a request of a public client; with `more` fields.
async fn push(server: &TestApp, flow: &Flow, more: &[(&str, &str)]) -> Page {
    let query = flow.query();
    let pairs: Vec<_> = url::form_urlencoded::parse(query.as_bytes())
        .into_owned()
        .collect();
    let mut fields: Vec<_> = pairs
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    fields.retain(|(name, _)| !more.iter().any(|(new, _)| new == name));
    fields.extend(more.iter().filter(|(_, value)| !value.is_empty()));
    server.call("/par", &fields, &[]).await
}

fn target(client: &str, request_uri: &str) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query
        .append_pair("client_id", client)
        .append_pair("request_uri", request_uri);
    format!("/authorize?{}", query.finish())
}

fn request_uri(page: &Page) -> String {
    assert_eq!(page.status, 201, "{}", page.body);
    page.json()["request_uri"].as_str().unwrap().to_owned()
}

on_both! {
    async fn q_01_q_04_q_05_q_08_a_pushed_request_gives_a_code_once(database) {
        let server = TestApp::new(database).await;
        let client = server.site.publish("/c.json", json!({}));
        let flow = server.flow(&client).with("scope", "notes.read");
        let page = push(&server, &flow, &[]).await;
        assert_eq!((page.status.as_u16(), page.header("cache-control")), (201, "no-store"));
        assert_eq!(page.json()["expires_in"], 300);
        let uri = request_uri(&page);
        assert!(uri.starts_with("urn:ietf:params:oauth:request_uri:"));
        // Q-04: visited twice before signing in; Q-05: what else stands there does not count.
        let mut browser = server.browser();
        let other = format!("{}&redirect_uri=https://evil.example.net/cb&scope=mail&state=other", target(&client, &uri));
        for to in [&target(&client, &uri), &other] {
            let page = browser.get(to).await;
            assert!(page.location().unwrap().contains("/login?"), "{}", page.body);
            // Q-08: what was pushed is not in the address.
            assert!(!page.location().unwrap().contains("notes.read"));
        }
        let mut browser = server.signed_in().await;
        let question = browser.open(&other).await;
        let page = browser.submit(&question, &[("decision", "allow")]).await;
        let to = page.location().unwrap_or_else(|| panic!("{}", page.body)).to_owned();
        assert!(to.starts_with(&server.site.url("/callback")), "{to}");
        assert_eq!(param(&to, "state").as_deref(), Some("a/b+c=="));
        let tokens = server.redeem(&flow, &param(&to, "code").unwrap()).await;
        assert_eq!(tokens.json()["scope"], "notes.read", "{}", tokens.body);
        // Q-04: it has given its code.
        let page = browser.get(&target(&client, &uri)).await;
        assert!(page.status == 400 && page.body.contains("request_uri"), "{}", page.body);
    }

    async fn q_03_a_request_uri_is_its_clients_and_in_time(database) {
        let server = TestApp::new(database).await;
        let client = server.site.publish("/c.json", json!({}));
        let other = server.site.publish("/other.json", json!({}));
        let uri = request_uri(&push(&server, &server.flow(&client), &[]).await);
        let mut browser = server.signed_in().await;
        let guessed = format!("urn:ietf:params:oauth:request_uri:wl_pr_{}", "A".repeat(43));
        for to in [
            target(&other, &uri),
            target(&client, &guessed),
            target(&client, "urn:ietf:params:oauth:request_uri:6esc_11ACC5bwc014ltc14eY22c"),
        ] {
            let page = browser.get(&to).await;
            assert!(page.status == 400 && page.location().is_none() && page.body.contains("request_uri"), "{to}: {}", page.body);
        }
        // Whoever came in time may take time to sign in; whoever comes late is late.
        let mut slow = server.browser();
        let login = slow.open(&target(&client, &uri)).await;
        server.app.clock.advance(299);
        assert_eq!(browser.open(&target(&client, &uri)).await.status, 200);
        server.app.clock.advance(2);
        let page = browser.get(&target(&client, &uri)).await;
        assert_eq!(page.status, 400, "{}", page.body);
        let page = slow.submit(&login, &[("username", "grace"), ("password", crate::support::app::PASSWORD)]).await;
        let page = slow.follow(page).await;
        let page = slow.submit(&page, &[("decision", "allow")]).await;
        assert!(page.location().is_some_and(|to| to.contains("code=")), "{}", page.body);
    }

    async fn q_04_of_two_tabs_one_gets_the_code(database) {
        let server = TestApp::new(database).await;
        let client = server.site.publish("/c.json", json!({}));
        let uri = request_uri(&push(&server, &server.flow(&client), &[]).await);
        let mut browser = server.signed_in().await;
        let first = browser.open(&target(&client, &uri)).await;
        let second = browser.open(&target(&client, &uri)).await;
        let first = browser.submit(&first, &[("decision", "allow")]).await;
        assert!(first.location().is_some_and(|to| to.contains("code=")));
        let second = browser.submit(&second, &[("decision", "allow")]).await;
        assert!(second.status == 400 && second.location().is_none(), "{}", second.body);
    }

    async fn q_07_a_client_that_pushed_with_its_key_redeems_with_its_key(database) {
        let server = TestApp::new(database).await;
        let signer = Signer::new(None);
        let client = server.site.publish("/c.json", json!({
            "token_endpoint_auth_method": "private_key_jwt", "jwks": signer.jwks(),
            "token_endpoint_auth_methods_supported": ["private_key_jwt", "none"],
            "require_pushed_authorization_requests": true,
        }));
        let flow = server.flow(&client);
        let now = server.app.clock.now();
        // Q-01: without the key it is a public client here, and may be one.
        let bare = request_uri(&push(&server, &flow, &[]).await);
        let proven = request_uri(&push(&server, &flow, &[
            ("client_id", ""), ("client_assertion_type", ASSERTION_TYPE), ("client_assertion", &signer.assertion(&client, now)),
        ]).await);
        let mut browser = server.signed_in().await;
        for (uri, expected) in [(bare, 200), (proven, 401)] {
            let page = browser.open(&target(&client, &uri)).await;
            let page = match page.location() {
                Some(_) => page,
                None => browser.submit(&page, &[("decision", "allow")]).await,
            };
            let code = param(page.location().unwrap_or_else(|| panic!("{}", page.body)), "code").unwrap();
            let page = server.redeem(&flow, &code).await;
            assert_eq!(page.status.as_u16(), expected, "the method of the start is the least for the rest: {}", page.body);
        }
        // Q-07: a plain request is not taken.
        let page = browser.get(&flow.target()).await;
        assert_eq!(param(page.location().unwrap(), "error").as_deref(), Some("invalid_request"));
    }
}

#[tokio::test]
async fn q_01_q_02_what_cannot_be_pushed() {
    let server = TestApp::new(Database::sqlite()).await;
    let client = server.site.publish("/c.json", json!({}));
    let signer = Signer::new(None);
    let confidential = server.site.publish(
        "/k.json",
        json!({ "token_endpoint_auth_method": "private_key_jwt", "jwks": signer.jwks() }),
    );
    let flow = server.flow(&client);
    let bad = server.site.url("/elsewhere");
    type More<'a> = &'a [(&'a str, &'a str)];
    let table: &[(&str, More<'_>, u16, &str)] = &[
        (
            "Q-02",
            &[("request_uri", "urn:ietf:params:oauth:request_uri:x")],
            400,
            "invalid_request",
        ),
        (
            "O-01",
            &[("request", "a.b.c")],
            400,
            "request_not_supported",
        ),
        (
            "O-03 a JWE",
            &[("request", "a.b.c.d.e")],
            400,
            "request_not_supported",
        ),
        (
            "Q-01 confidential",
            &[("client_id", &confidential)],
            401,
            "invalid_client",
        ),
        (
            "another redirect URI",
            &[("redirect_uri", &bad)],
            400,
            "invalid_request",
        ),
        (
            "no redirect URI",
            &[("redirect_uri", "")],
            400,
            "invalid_request",
        ),
        (
            "no challenge",
            &[("code_challenge", "")],
            400,
            "invalid_request",
        ),
        (
            "response type",
            &[("response_type", "token")],
            400,
            "unsupported_response_type",
        ),
        ("scope", &[("scope", "nothing.known")], 400, "invalid_scope"),
        (
            "unknown name",
            &[("client_id", "app")],
            401,
            "invalid_client",
        ),
        ("no client", &[("client_id", "")], 401, "invalid_client"),
    ];
    for (case, more, status, error) in table {
        let page = push(&server, &flow, more).await;
        assert_eq!(
            (page.status.as_u16(), page.json()["error"].as_str().unwrap()),
            (*status, *error),
            "{case}: {}",
            page.body
        );
    }
    let mut browser = server.browser();
    assert_eq!(browser.get("/par").await.status, 405, "GET");
    // Q-06.
    let large = "x".repeat(64 * 1_024);
    let page = push(&server, &flow, &[("state", &large)]).await;
    assert_eq!(page.status, 413);
}

#[tokio::test]
async fn q_06_strangers_push_ten_requests_a_minute() {
    let server = TestApp::with(Database::sqlite(), &[("WAYLEAVE_LIMITS__SCALE", "1")]).await;
    let client = server.site.publish("/c.json", json!({}));
    let flow = server.flow(&client);
    for n in 0..10 {
        let page = push(&server, &flow, &[]).await;
        assert_eq!(page.status, 201, "{n}: {}", page.body);
    }
    let page = push(&server, &flow, &[]).await;
    assert_eq!(page.status, 503, "{}", page.body);
    assert!(page.header("retry-after").parse::<u32>().unwrap() >= 1);
    server.app.clock.advance(7);
    assert_eq!(push(&server, &flow, &[]).await.status, 201);
}

#[tokio::test]
async fn o_02_nothing_is_fetched_for_a_request_uri() {
    let server = TestApp::new(Database::sqlite()).await;
    let client = server.site.publish("/c.json", json!({}));
    let mut browser = server.signed_in().await;
    browser.open(&server.flow(&client).target()).await;
    let before = server.site.connections();
    for uri in [
        server.site.url("/request.jwt"),
        "https://169.254.169.254/r".to_owned(),
    ] {
        let page = browser
            .get(&server.flow(&client).with("request_uri", &uri).target())
            .await;
        assert_eq!(
            param(page.location().unwrap(), "error").as_deref(),
            Some("request_uri_not_supported")
        );
    }
    assert_eq!(server.site.connections(), before);
}

#[tokio::test]
async fn a_server_may_take_pushed_requests_only() {
    let only = [(
        "WAYLEAVE_POLICY__REQUIRE_PUSHED_AUTHORIZATION_REQUESTS",
        "true",
    )];
    let server = TestApp::with(Database::sqlite(), &only).await;
    let client = server.site.publish("/c.json", json!({}));
    let mut browser = server.signed_in().await;
    let page = browser.get(&server.flow(&client).target()).await;
    assert_eq!(
        param(page.location().unwrap(), "error").as_deref(),
        Some("invalid_request")
    );
    let uri = request_uri(&push(&server, &server.flow(&client), &[]).await);
    assert_eq!(browser.open(&target(&client, &uri)).await.status, 200);
    let metadata: Value = browser
        .get("/.well-known/oauth-authorization-server")
        .await
        .json();
    assert_eq!(metadata["require_pushed_authorization_requests"], true);
}
