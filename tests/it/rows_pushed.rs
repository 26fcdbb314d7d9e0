//! Pushed authorization requests: section 3(e), Q-… and O-02 of the attack corpus.

use serde_json::{Value, json};
use wayleave::{
    policy::client_rules::Tier,
    protocol::{authorize::PARAMETERS, pushed},
};

use crate::support::{
    Database, Page, Signer, TestApp,
    app::{Flow, param},
    on_both,
    signer::ASSERTION_TYPE,
};

/// Pushes a request of a public client; with `more` fields.
async fn push(server: &TestApp, flow: &Flow, more: &[(&str, &str)]) -> Page {
    push_from(server, "198.51.100.1", flow, more).await
}

/// The same from a network, where a proxy is trusted.
async fn push_from(server: &TestApp, network: &str, flow: &Flow, more: &[(&str, &str)]) -> Page {
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
    server
        .call("/par", &fields, &[("x-forwarded-for", network)])
        .await
}

/// What a page of refusal says: status, error and when to come again.
fn refusal(page: &Page) -> (u16, String, String) {
    let error = page.json()["error"].as_str().unwrap().to_owned();
    (
        page.status.as_u16(),
        error,
        page.header("retry-after").to_owned(),
    )
}

/// Writes down pushed requests of a client, each of so many bytes.
async fn fill(server: &TestApp, prefix: &str, many: u32, client: &str, bytes: u32) {
    let until = server.app.clock.now().0 + 300;
    for start in (0..many).step_by(25_000) {
        let end = many.min(start + 25_000);
        let sql = format!(
            "INSERT INTO pushed_requests (hash, client_id, digest, fetched_at, request, auth_method, expires_at, bytes) \
             WITH RECURSIVE n(i) AS (SELECT {start} UNION ALL SELECT i + 1 FROM n WHERE i < {end} - 1) \
             SELECT '{prefix}' || i, '{client}', 'd', 0, 'x', 'none', {until}, {bytes} FROM n"
        );
        server.app.store.execute_raw(sql).await.unwrap();
    }
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

    async fn y_02_pushed_requests_are_charged_to_the_network_unless_a_rule_lists_the_client(database) {
        let server = TestApp::with(database, &[
            ("WAYLEAVE_LIMITS__SCALE", "1"),
            ("WAYLEAVE_SERVER__TRUSTED_PROXIES", "['127.0.0.1/32']"),
            ("WAYLEAVE_CLIENTS__REGISTERED", "[{ client_id = 'wiki', redirect_uris = ['https://wiki.example.com/cb'] }]"),
        ]).await;
        let signer = Signer::new(None);
        let stranger = server.site.publish("/k.json", json!({
            "token_endpoint_auth_method": "private_key_jwt", "jwks": signer.jwks(),
        }));
        let (flow, now) = (server.flow(&stranger), server.app.clock.now());
        let padding = "x".repeat(55_000);
        let proven = async |network: &str| {
            push_from(&server, network, &flow, &[
                ("client_id", ""), ("client_assertion_type", ASSERTION_TYPE),
                ("client_assertion", &signer.assertion(&stranger, now)), ("padding", &padding),
            ]).await
        };
        // Anybody can publish a key.
        for n in 0..100 {
            let page = proven("198.51.100.2").await;
            let expected = if n < 10 { 201 } else { 429 };
            assert_eq!(page.status, expected, "{n}: {}", page.body);
        }
        let (status, error, wait) = refusal(&proven("198.51.100.2").await);
        assert_eq!((status, error.as_str()), (429, "temporarily_unavailable"));
        assert!((1..=7).contains(&wait.parse::<u32>().unwrap()), "{wait}");
        assert_eq!(proven("198.51.100.3").await.status, 201, "another network");
        assert_eq!(server.database.number("SELECT COUNT(*) FROM pushed_requests").await, 11);
        let longest = server.database.number("SELECT CAST(MAX(LENGTH(request)) AS BIGINT) FROM pushed_requests").await;
        assert!(longest < 1_000, "what nothing reads is not kept: {longest}");
        // In the name of a registered public client anybody can push, too.
        let wiki = server.flow("wiki").with("redirect_uri", "https://wiki.example.com/cb");
        for n in 0..65 {
            let page = push_from(&server, "198.51.100.4", &wiki, &[("padding", &padding)]).await;
            let expected = if n < 60 { 201 } else { 429 };
            assert_eq!(page.status, expected, "{n}: {}", page.body);
        }
        // One that proves itself and that a rule lists is charged to no network.
        server.rule(&stranger, Tier::Listed).await;
        for n in 0..15 {
            let page = proven("198.51.100.2").await;
            assert_eq!(page.status, 201, "{n}: {}", page.body);
        }
    }

    async fn y_02_pushed_requests_have_a_cap_for_each_client_and_in_all(database) {
        let server = TestApp::new(database).await;
        let signer = Signer::new(None);
        let (client, other) = (server.site.publish("/c.json", json!({})), server.site.publish("/o.json", json!({})));
        let listed = server.site.publish("/k.json", json!({
            "token_endpoint_auth_method": "private_key_jwt", "jwks": signer.jwks(),
        }));
        server.rule(&listed, Tier::Listed).await;
        let (flow, flow_of_other) = (server.flow(&client), server.flow(&other));
        let full = |status| (status, "temporarily_unavailable".to_owned(), "60".to_owned());
        fill(&server, "a", 1_000, &client, 500).await;
        assert_eq!(refusal(&push(&server, &flow, &[]).await), full(429));
        assert_eq!(push(&server, &flow_of_other, &[]).await.status, 201);
        // What others push in its name leaves room for one that proves itself and is listed.
        fill(&server, "b", 1_000, &listed, 500).await;
        let page = push(&server, &server.flow(&listed), &[
            ("client_id", ""), ("client_assertion_type", ASSERTION_TYPE),
            ("client_assertion", &signer.assertion(&listed, server.app.clock.now())),
        ]).await;
        assert_eq!(page.status, 201, "{}", page.body);
        // In all.
        fill(&server, "c", 98_000, "https://many.example.com/", 500).await;
        server.app.clock.advance(5);
        assert_eq!(refusal(&push(&server, &flow_of_other, &[]).await), full(503));
        let out = "DELETE FROM pushed_requests WHERE client_id = 'https://many.example.com/'";
        server.app.store.execute_raw(out.to_owned()).await.unwrap();
        assert_eq!(push(&server, &flow_of_other, &[]).await.status, 503, "it is not counted for every request");
        server.app.clock.advance(5);
        assert_eq!(push(&server, &flow_of_other, &[]).await.status, 201);
        // And their bytes.
        fill(&server, "d", 1, "https://many.example.com/", 128 * 1_024 * 1_024).await;
        server.app.clock.advance(5);
        assert_eq!(refusal(&push(&server, &flow_of_other, &[]).await), full(503));
    }

    async fn y_02_a_pushed_request_is_as_long_as_one_may_be_and_of_known_parameters(database) {
        let server = TestApp::new(database).await;
        let client = server.site.publish("/c.json", json!({}));
        let flow = server.flow(&client);
        let padding = "x".repeat(50_000);
        let uri = request_uri(&push(&server, &flow, &[("padding", &padding), ("display", "page"), ("wayleave_sent", "1")]).await);
        let hash = pushed::secret(&uri).unwrap().hash();
        let kept = server.app.store.pushed(&hash, &client.parse().unwrap()).await.unwrap().unwrap();
        let names: Vec<_> = url::form_urlencoded::parse(kept.request.as_bytes()).map(|(name, _)| name.into_owned()).collect();
        assert!(!names.is_empty() && names.iter().all(|name| PARAMETERS.contains(&name.as_str())), "{names:?}");
        let state = "x".repeat(7_000);
        let page = push(&server, &flow, &[("state", &state)]).await;
        assert_eq!((page.status.as_u16(), &page.json()["error"]), (400, &json!("invalid_request")));
        assert!(page.body.contains("the request is longer than 7000 bytes"), "{}", page.body);
    }

    async fn y_02_a_pushed_request_goes_when_no_person_can_come_with_it(database) {
        let server = TestApp::new(database).await;
        let client = server.site.publish("/c.json", json!({}));
        let flow = server.flow(&client);
        let count = async || server.database.number("SELECT COUNT(*) FROM pushed_requests").await;
        let sweep = async || server.app.store.sweep(900, server.app.clock.now()).await.unwrap();
        let uri = request_uri(&push(&server, &flow, &[]).await);
        // A person who came in time takes long to sign in, and for the answer.
        let mut slow = server.browser();
        server.app.clock.advance(299);
        let login = slow.open(&target(&client, &uri)).await;
        server.app.clock.advance(1);
        request_uri(&push(&server, &flow, &[]).await);
        server.app.clock.advance(890);
        let page = slow.submit(&login, &[("username", "grace"), ("password", crate::support::app::PASSWORD)]).await;
        let question = slow.follow(page).await;
        server.app.clock.advance(310);
        sweep().await;
        assert_eq!(count().await, 2, "the one that a person is asked about, and the other in its time");
        let page = slow.submit(&question, &[("decision", "allow")]).await;
        assert!(page.location().is_some_and(|to| to.contains("code=")), "{}", page.body);
        assert_eq!(count().await, 1, "it gave its code");
        sweep().await;
        assert_eq!(count().await, 1);
        server.app.clock.advance(1);
        sweep().await;
        assert_eq!(count().await, 0);
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
    // RFC 9126 §2.3; since the review of November 2026, 503 before.
    assert_eq!(page.status, 429, "{}", page.body);
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
