//! The client's document: fetched under a guard, checked, cached, and survived when its host is down. CIMD §3 to §5, §8.

use std::time::Duration;

use serde_json::json;

use crate::support::{Answer, Database, TestApp, on_both};

on_both! {
    async fn a_document_is_read_once_while_it_is_fresh_also_after_a_restart(database) {
        let server = TestApp::new(database.clone()).await;
        let client = server.site.publish("/c.json", json!({}));
        let target = server.flow(&client).target();
        let mut browser = server.signed_in().await;
        for _ in 0..3 {
            assert_eq!(browser.open(&target).await.text("h1"), "app.example.com");
        }
        assert_eq!(server.site.connections(), 1);
        let request = &server.site.requests()[0];
        assert!(request.starts_with("GET /c.json "), "{request}");
        for part in ["\"accept\": \"application/cimd+json, application/json;q=0.9, application/ld+json;q=0.8\"", "\"accept-encoding\": \"identity\"", "Wayleave/", "(+http://127.0.0.1:8080)", "\"cdn-loop\": \"wayleave\""] {
            assert!(request.contains(part), "{part}: {request}");
        }
        for part in ["cookie", "authorization", "referer", "origin", "forwarded"] {
            assert!(!request.contains(part), "{part}: {request}");
        }
        // Another process on the same database.
        let restarted = server.restart().await;
        let mut browser = restarted.signed_in().await;
        assert_eq!(browser.open(&target).await.text("h1"), "app.example.com");
        assert_eq!(server.site.connections(), 1);
        restarted.app.clock.advance(700);
        browser.open(&target).await;
        assert_eq!(server.site.connections(), 2, "no longer fresh");
    }

    async fn a_host_that_is_down_does_not_take_its_clients_with_it(database) {
        let server = TestApp::new(database).await;
        let client = server.site.publish("/c.json", json!({}));
        let target = server.flow(&client).target();
        let mut browser = server.signed_in().await;
        browser.open(&target).await;
        server.site.answer("/c.json", Answer::status(503));
        server.app.clock.advance(700);
        assert_eq!(browser.open(&target).await.text("h1"), "app.example.com", "the last good copy");
        server.app.clock.advance(3_600);
        let page = browser.open(&target).await;
        assert_eq!(page.status, 503, "but no longer than an hour");
        assert!(!page.header("retry-after").is_empty());
        assert_eq!(page.text(".who strong"), "ada", "the sign-in is kept");
        server.site.publish("/c.json", json!({}));
        server.app.clock.advance(61);
        assert_eq!(browser.open(&target).await.text("h1"), "app.example.com");

        // Its own word that the document is gone, or wrong, counts at once.
        server.site.answer("/c.json", Answer::status(404));
        server.app.clock.advance(700);
        assert_eq!(browser.open(&target).await.status, 400);
    }
}

#[tokio::test]
async fn c_01_c_02_a_thousand_first_requests_make_one_fetch_also_when_the_first_hangs_up() {
    // One address alone has a quarter of the places: a thousand people come from as many.
    let proxies = [("WAYLEAVE_SERVER__TRUSTED_PROXIES", "['127.0.0.1/32']")];
    let server = TestApp::with(Database::sqlite(), &proxies).await;
    let client = server.site.publish("/c.json", json!({}));
    let slow = Answer {
        delay: Duration::from_millis(300),
        ..Answer::json(server.site.document("/c.json", json!({})).to_string())
    };
    server.site.answer("/c.json", slow);
    let target = server.flow(&client).target();
    let browser = server.signed_in().await;
    let mut first = browser.clone();
    let first_target = target.clone();
    let impatient = tokio::spawn(async move { first.get(&first_target).await.status });
    tokio::time::timeout(Duration::from_secs(2), async {
        while server.site.connections() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    impatient.abort();
    let all = futures_util::future::join_all((0..1_000).map(|n| {
        let (mut browser, target) = (browser.clone(), target.clone());
        browser.address = Some(format!("198.18.{}.{}", n / 250, n % 250));
        async move { browser.get(&target).await.status.as_u16() }
    }))
    .await;
    assert!(all.iter().all(|status| *status == 303), "{all:?}");
    assert_eq!(server.site.connections(), 1);
}

#[tokio::test]
async fn c_05_a_document_that_may_not_be_stored_serves_its_login_and_is_read_again() {
    let server = TestApp::new(Database::sqlite()).await;
    let client = server.site.publish("/c.json", json!({}));
    let document = server.site.document("/c.json", json!({})).to_string();
    server.site.answer(
        "/c.json",
        Answer::json(document).header("cache-control", "no-store"),
    );
    let flow = server.flow(&client);
    let mut browser = server.signed_in().await;
    let consent = browser.open(&flow.target()).await;
    server.site.answer("/c.json", Answer::status(500));
    server.app.clock.advance(2);
    let answer = browser.submit(&consent, &[("decision", "allow")]).await;
    let code = crate::support::app::param(answer.location().unwrap(), "code").unwrap();
    assert_eq!(
        server.redeem(&flow, &code).await.status,
        200,
        "one login uses one version"
    );
    assert_eq!(
        browser.open(&flow.target()).await.status,
        503,
        "and no copy is left"
    );
}

/// What the host says, the status of our page, and the rule it names.
#[tokio::test]
async fn what_is_wrong_with_a_document_is_told_by_its_rule() {
    let server = TestApp::new(Database::sqlite()).await;
    let good = |path: &str| server.site.document(path, json!({})).to_string();
    let with = |path: &str, members: serde_json::Value| {
        Answer::json(server.site.document(path, members).to_string())
    };
    let table: Vec<(&str, Answer, u16, &str)> = vec![
        ("/404", Answer::status(404), 400, "fetch.status"),
        ("/410", Answer::status(410), 400, "fetch.status"),
        (
            "/201",
            Answer {
                status: 201,
                ..Answer::json(good("/201"))
            },
            400,
            "fetch.status",
        ),
        (
            "/204",
            Answer {
                body: Vec::new(),
                ..Answer::status(204)
            },
            400,
            "fetch.status",
        ),
        (
            "/302",
            Answer::status(302).header("location", "https://169.254.169.254/"),
            400,
            "fetch.status",
        ),
        ("/500", Answer::status(500), 503, "fetch.status"),
        (
            "/429",
            Answer::status(429).header("retry-after", "30"),
            503,
            "fetch.status",
        ),
        (
            "/html",
            Answer::json("<html>").header("content-type", "text/html"),
            400,
            "document.media_type",
        ),
        (
            "/gzip",
            Answer::json(good("/gzip")).header("content-encoding", "gzip"),
            400,
            "fetch.encoding",
        ),
        ("/big", Answer::json(vec![b' '; 10_241]), 400, "fetch.size"),
        ("/rubbish", Answer::json("{"), 400, "document.json"),
        ("/array", Answer::json("[]"), 400, "document.object"),
        (
            "/twice",
            Answer::json(r#"{"client_id":"a","client_id":"b"}"#),
            400,
            "document.json",
        ),
        (
            "/elsewhere",
            Answer::json(good("/another")),
            400,
            "document.client_id",
        ),
        (
            "/secret",
            with("/secret", json!({ "client_secret": "x" })),
            400,
            "document.client_secret",
        ),
        (
            "/basic",
            with(
                "/basic",
                json!({ "token_endpoint_auth_method": "client_secret_basic" }),
            ),
            400,
            "document.token_endpoint_auth_method",
        ),
        (
            "/javascript",
            with(
                "/javascript",
                json!({ "redirect_uris": ["javascript:alert(1)"] }),
            ),
            400,
            "document.redirect_uris",
        ),
        (
            "/none",
            with("/none", json!({ "redirect_uris": null })),
            400,
            "document.redirect_uris",
        ),
        (
            "/implicit",
            with("/implicit", json!({ "grant_types": ["implicit"] })),
            400,
            "document.grant_types",
        ),
    ];
    let mut browser = server.signed_in().await;
    for (path, answer, status, rule) in table {
        server.site.answer(path, answer);
        let target = server.flow(&server.site.url(path)).target();
        let page = browser.get(&target).await;
        assert_eq!(page.status, status, "{path}: {}", page.body);
        assert!(
            page.body.contains(rule),
            "{path}: want {rule} in {}",
            page.body
        );
        assert!(page.location().is_none());
        assert_eq!(
            page.header("retry-after").is_empty(),
            status != 503,
            "{path}"
        );
        assert_eq!(
            page.text(".who strong"),
            "ada",
            "{path}: the sign-in is kept"
        );
        // Nothing invalid is kept, and the host is left alone for a while.
        let connections = server.site.connections();
        assert_eq!(browser.get(&target).await.status, status, "{path}");
        assert_eq!(server.site.connections(), connections, "{path}");
    }
}

#[tokio::test]
async fn c_12_a_failing_host_is_asked_again_after_five_ten_twenty_forty_and_sixty_seconds() {
    let server = TestApp::new(Database::sqlite()).await;
    server.site.answer("/c.json", Answer::status(500));
    let target = server.flow(&server.site.url("/c.json")).target();
    let mut browser = server.signed_in().await;
    browser.get(&target).await;
    for (attempt, wait) in [5, 10, 20, 40, 60, 60].into_iter().enumerate() {
        server.app.clock.advance(wait - 1);
        assert_eq!(browser.get(&target).await.status, 503);
        assert_eq!(server.site.connections(), attempt + 1, "before {wait} s");
        server.app.clock.advance(1);
        browser.get(&target).await;
        assert_eq!(server.site.connections(), attempt + 2, "after {wait} s");
    }
}

/// What only its developer can mend is told so, however often it is asked.
#[tokio::test]
async fn a_document_that_is_refused_stays_refused_while_its_host_is_given_time() {
    let server = TestApp::new(Database::sqlite()).await;
    server.site.answer("/c.json", Answer::status(404));
    let target = server.flow(&server.site.url("/c.json")).target();
    let mut browser = server.signed_in().await;
    for _ in 0..3 {
        let page = browser.get(&target).await;
        assert!(
            page.status == 400 && page.body.contains("fetch.status"),
            "{}",
            page.body
        );
    }
    assert_eq!(server.site.connections(), 1);
}

#[tokio::test]
async fn documents_shaped_like_those_of_today_complete_their_flow() {
    let server = TestApp::new(Database::sqlite()).await;
    let callback = server.site.url("/callback");
    let table = [
        (
            "/claude",
            json!({ "grant_types": ["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:jwt-bearer"], "response_types": ["code"] }),
            callback.clone(),
        ),
        (
            "/claude-code",
            json!({ "redirect_uris": ["http://localhost/callback", "http://127.0.0.1/callback"], "grant_types": ["authorization_code", "refresh_token"] }),
            "http://localhost:53682/callback".to_owned(),
        ),
        (
            "/vscode",
            json!({ "redirect_uris": [callback.clone(), "http://127.0.0.1:33418/"], "grant_types": ["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"], "application_type": "native" }),
            "http://127.0.0.1:55123/".to_owned(),
        ),
        (
            "/chatgpt",
            json!({ "token_endpoint_auth_method": "private_key_jwt", "token_endpoint_auth_methods_supported": ["none", "private_key_jwt"], "jwks_uri": server.site.url("/jwks.json") }),
            callback.clone(),
        ),
        (
            "/ld",
            json!({ "@context": ["https://www.w3.org/ns/solid/oidc-context.jsonld"], "scope": "openid offline_access webid" }),
            callback.clone(),
        ),
    ];
    let mut browser = server.signed_in().await;
    for (path, members, redirect) in table {
        let client = server.site.publish(path, members.clone());
        if path == "/ld" {
            let document = server.site.document(path, members).to_string();
            server.site.answer(
                path,
                Answer::json(document).header("content-type", "application/ld+json; charset=utf-8"),
            );
        }
        let flow = server.flow(&client).with("redirect_uri", &redirect);
        let code = server.code(&mut browser, &flow).await;
        let tokens = server.redeem(&flow, &code).await.json();
        assert!(
            tokens["access_token"].is_string() && tokens["refresh_token"].is_string(),
            "{path}: {tokens}"
        );
    }
    // Who must authenticate is asked for like everybody else, and gets no tokens as a public client (X-52).
    let keys = json!({ "token_endpoint_auth_method": "private_key_jwt", "jwks_uri": server.site.url("/jwks.json") });
    let client = server.site.publish("/confidential", keys);
    let flow = server.flow(&client);
    let page = browser.get(&flow.target()).await;
    let page = browser.follow(page).await;
    let page = browser.submit(&page, &[("decision", "allow")]).await;
    let code = crate::support::app::param(page.location().unwrap(), "code").unwrap();
    let refused = server.redeem(&flow, &code).await;
    assert_eq!(refused.status, 401);
    assert_eq!(refused.json()["error"], "invalid_client");
}

/// The guard: not one connection to an address that is not public, whatever the name says.
#[tokio::test]
async fn nothing_is_dialled_that_is_not_public() {
    // The same site, the same name, but a server that is not in development mode.
    let server = TestApp::with(
        Database::sqlite(),
        &[("WAYLEAVE_DANGER__ALLOW_LOOPBACK_CLIENTS", "false")],
    )
    .await;
    let client = server.site.publish("/c.json", json!({}));
    let mut browser = server.signed_in().await;
    let page = browser.get(&server.flow(&client).target()).await;
    assert_eq!(page.status, 503);
    assert!(
        page.body.contains("fetch.reach") && !page.body.contains("127.0.0.1:"),
        "{}",
        page.body
    );
    assert_eq!(server.site.connections(), 0);
    for id in [
        format!("https://localhost:{}/c.json", server.site.port),
        "https://metadata.internal/c".to_owned(),
        "https://client.test/c".to_owned(),
    ] {
        let page = browser.get(&server.flow(&id).target()).await;
        assert!(
            page.status == 400 && page.body.contains("client_id.special_name"),
            "{id}: {}",
            page.body
        );
    }
    assert_eq!(server.site.connections(), 0);
}

#[tokio::test]
async fn c_19_one_network_brings_ten_new_clients_a_minute() {
    let server = TestApp::with(Database::sqlite(), &[("WAYLEAVE_LIMITS__SCALE", "1")]).await;
    let mut browser = server.signed_in().await;
    let mut statuses = Vec::new();
    for n in 0..11 {
        let client = server.site.publish(&format!("/{n}"), json!({}));
        statuses.push(
            browser
                .get(&server.flow(&client).target())
                .await
                .status
                .as_u16(),
        );
    }
    assert_eq!(statuses[..10], [303; 10]);
    assert_eq!(statuses[10], 429);
    assert_eq!(server.site.connections(), 10);
}
