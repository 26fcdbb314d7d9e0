//! The token endpoint: the rows of section 3(c) of the attack corpus that `token.rs` does not have.

use std::collections::BTreeSet;

use serde_json::json;
use wayleave::{
    policy::client_rules::Tier, protocol::client_metadata::AuthMethod, store::RotateRequest,
};

use crate::support::{
    Database, TestApp,
    app::{VERIFIER, call},
    on_both,
};

on_both! {
    async fn x_05_x_17_a_code_that_is_used_again_ends_what_it_gave_however_late(database) {
        let server = TestApp::new(database).await;
        let client = server.site.publish("/c.json", json!({}));
        let mut browser = server.signed_in().await;
        let flow = server.flow(&client).with("scope", "openid notes.read offline_access");
        // F-12, since November 2026: within three seconds it ends nothing.
        for later in [4, 29, 61] {
            let code = server.code(&mut browser, &flow).await;
            let tokens = server.redeem(&flow, &code).await.json();
            let bearer = format!("Bearer {}", tokens["access_token"].as_str().unwrap());
            let ask = async || {
                let request = http::Request::get("/userinfo").header("authorization", &bearer);
                server.browser().send(request.body(axum::body::Body::empty()).unwrap()).await.status
            };
            assert_eq!(ask().await, 200, "{tokens}");
            server.app.clock.advance(later);
            let again = server.redeem(&flow, &code).await;
            assert_eq!((again.status.as_u16(), &again.json()["error"]), (400, &json!("invalid_grant")), "{later}");
            assert_eq!(server.refresh(&client, tokens["refresh_token"].as_str().unwrap()).await.status, 400, "{later}");
            assert_eq!(ask().await, 401, "{later}");
        }
    }

    async fn x_14_a_code_of_a_client_that_was_blocked_gives_nothing(database) {
        let server = TestApp::new(database).await;
        let client = server.site.publish("/c.json", json!({}));
        let mut browser = server.signed_in().await;
        let flow = server.flow(&client);
        let code = server.code(&mut browser, &flow).await;
        server.rule(&client, Tier::Blocked).await;
        assert_eq!(server.redeem(&flow, &code).await.status, 401);
        server.app.store.remove_client_rule(client.clone()).await.unwrap();
        server.app.clients.notice_changes().await.unwrap();
        assert_eq!(server.redeem(&flow, &code).await.status, 400, "it was spent when its client was blocked");
    }

    async fn x_30_x_31_of_fifty_refreshes_on_two_instances_all_get_one_successor(database) {
        let server = TestApp::new(database).await;
        let client = server.site.publish("/c.json", json!({}));
        let token = server.refresh_token(&client).await;
        let other = server.restart().await;
        let fields = [("grant_type", "refresh_token"), ("refresh_token", token.as_str()), ("client_id", client.as_str())];
        let mut browsers: Vec<_> = (0..50).map(|n| if n % 2 == 0 { server.browser() } else { other.browser() }).collect();
        let calls = browsers.iter_mut().map(|browser| call(browser, "/token", &fields, &[]));
        let pages = futures_util::future::join_all(calls).await;
        let successors: BTreeSet<_> = pages.iter().map(|page| page.json()["refresh_token"].as_str().unwrap_or(&page.body).to_owned()).collect();
        assert_eq!(successors.len(), 1, "{successors:?}");
        assert_eq!(server.refresh(&client, successors.first().unwrap()).await.status, 200, "X-31: whoever has it can use it");
    }

    async fn x_30_without_a_grace_one_of_fifty_refreshes(database) {
        let server = TestApp::with(database, &[("WAYLEAVE_TOKENS__REFRESH_GRACE", "0")]).await;
        let client = server.site.publish("/c.json", json!({}));
        let token = server.refresh_token(&client).await;
        // Within one second even a grace of none holds: the successor is the same.
        let first = server.refresh(&client, &token).await.json()["refresh_token"].clone();
        server.app.clock.advance(1);
        let late = futures_util::future::join_all((0..50).map(|_| server.refresh(&client, &token))).await;
        assert!(late.iter().all(|page| page.status == 400));
        assert_eq!(server.refresh(&client, first.as_str().unwrap()).await.status, 400, "the family has ended");
    }

    async fn x_37_a_forged_token_ends_nobodys_family(database) {
        let server = TestApp::new(database).await;
        let client = server.site.publish("/c.json", json!({}));
        let token = server.refresh_token(&client).await;
        let mut forged = token.clone().into_bytes();
        for at in [8, 50, forged.len() - 3] {
            let before = forged[at];
            forged[at] = if before == b'A' { b'B' } else { b'A' };
            let text = String::from_utf8(forged.clone()).unwrap();
            assert_eq!(server.refresh(&client, &text).await.json()["error"], "invalid_grant");
            forged[at] = before;
        }
        assert_eq!(server.refresh(&client, &token).await.status, 200);
    }

    async fn x_38_a_restart_changes_nothing_about_used_tokens(database) {
        let server = TestApp::new(database).await;
        let client = server.site.publish("/c.json", json!({}));
        let (first, other) = (server.refresh_token(&client).await, server.refresh_token(&client).await);
        let second = server.refresh(&client, &first).await.json()["refresh_token"].clone();
        _ = server.refresh(&client, &other).await;
        let again = server.restart().await;
        assert_eq!(again.refresh(&client, &first).await.json()["refresh_token"], second, "X-33");
        again.app.clock.advance(31);
        assert_eq!(again.refresh(&client, &other).await.status, 400, "X-34");
        let third = again.refresh(&client, second.as_str().unwrap()).await;
        assert_eq!(third.status, 200, "{}", third.body);
        assert_eq!(again.refresh(&client, &first).await.status, 400, "X-32");
        assert_eq!(again.refresh(&client, third.json()["refresh_token"].as_str().unwrap()).await.status, 400);
    }
}

/// Every combination of what may be wrong, so that no `and` is an `or`.
#[tokio::test]
async fn x_09_every_combination_of_conditions_is_refused_but_one() {
    let server = TestApp::new(Database::sqlite()).await;
    let client = server.site.publish("/c.json", json!({}));
    let other = server.site.publish("/d.json", json!({}));
    let mut browser = server.signed_in().await;
    let flow = server.flow(&client);
    for wrong in 0..16_u8 {
        let is = |bit: u8| wrong & bit != 0;
        let code = server.code(&mut browser, &flow).await;
        if is(1) {
            server.app.clock.advance(60);
        }
        let page = server
            .token(&[
                ("grant_type", "authorization_code"),
                ("code", &code),
                ("client_id", if is(2) { &other } else { &client }),
                (
                    "redirect_uri",
                    if is(4) {
                        "https://app.example.com/x"
                    } else {
                        flow.get("redirect_uri")
                    },
                ),
                (
                    "code_verifier",
                    if is(8) {
                        "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXK"
                    } else {
                        VERIFIER
                    },
                ),
            ])
            .await;
        let expected = if wrong == 0 { 200 } else { 400 };
        assert_eq!(page.status.as_u16(), expected, "{wrong:04b}: {}", page.body);
    }
}

#[tokio::test]
async fn x_13_what_is_no_code_is_told_alike() {
    let server = TestApp::new(Database::sqlite()).await;
    let client = server.site.publish("/c.json", json!({}));
    let mut browser = server.signed_in().await;
    let flow = server.flow(&client);
    let code = server.code(&mut browser, &flow).await;
    let flipped: String = code
        .chars()
        .map(|c| {
            if c.is_ascii_lowercase() {
                c.to_ascii_uppercase()
            } else {
                c.to_ascii_lowercase()
            }
        })
        .collect();
    let long = "a".repeat(60_000);
    for wrong in [
        &code[..code.len() - 1],
        &format!("{code}A"),
        &flipped,
        "' OR 1=1--",
        r#"{"$ne":null}"#,
        "wl_ac_",
        &long,
    ] {
        let page = server.redeem(&flow, wrong).await;
        assert_eq!(
            (page.status.as_u16(), &page.json()["error"]),
            (400, &json!("invalid_grant")),
            "{wrong:.40}"
        );
    }
    assert_eq!(
        server.redeem(&flow, "a\0b").await.json()["error"],
        "invalid_request"
    );
    assert_eq!(
        server.redeem(&flow, &code).await.status,
        200,
        "nobody's guess spent it"
    );
}

/// Each statement of the exchange fails once: nothing leaves, nothing is half done, and the code still works once.
#[tokio::test]
async fn x_16_an_exchange_that_fails_midway_gives_nothing_and_takes_nothing() {
    let server = TestApp::new(Database::sqlite()).await;
    let client = server.site.publish("/c.json", json!({}));
    let mut browser = server.signed_in().await;
    let flow = server.flow(&client);
    // The one statement that writes.
    let events = ["INSERT ON grants"];
    for (n, event) in events.into_iter().enumerate() {
        let code = server.code(&mut browser, &flow).await;
        let fail = format!(
            "CREATE TRIGGER fails_{n} BEFORE {event} BEGIN SELECT RAISE(ABORT, 'injected'); END"
        );
        server.app.store.execute_raw(fail).await.unwrap();
        let page = server.redeem(&flow, &code).await;
        assert!(page.status.is_server_error(), "{event}: {}", page.body);
        assert!(page.json().get("access_token").is_none());
        server
            .app
            .store
            .execute_raw(format!("DROP TRIGGER fails_{n}"))
            .await
            .unwrap();
        assert_eq!(server.redeem(&flow, &code).await.status, 200, "{event}");
        assert_eq!(server.redeem(&flow, &code).await.status, 400, "{event}");
    }
    let token = server.refresh_token(&client).await;
    let fail =
        "CREATE TRIGGER fails BEFORE UPDATE ON grants BEGIN SELECT RAISE(ABORT, 'injected'); END";
    server.app.store.execute_raw(fail.to_owned()).await.unwrap();
    assert!(
        server
            .refresh(&client, &token)
            .await
            .status
            .is_server_error()
    );
    server
        .app
        .store
        .execute_raw("DROP TRIGGER fails".to_owned())
        .await
        .unwrap();
    assert_eq!(server.refresh(&client, &token).await.status, 200);
}

#[tokio::test]
async fn x_40_ten_thousand_rotations_are_one_row() {
    let server = TestApp::new(Database::sqlite()).await;
    let client = server.site.publish("/c.json", json!({}));
    let first = server.refresh_token(&client).await;
    let token =
        wayleave::protocol::refresh::RefreshToken::open(&first, &server.app.refresh_key).unwrap();
    let now = server.app.clock.now();
    for generation in 1..=10_000 {
        let rotate = RotateRequest {
            family: token.family(),
            client_id: client.parse().unwrap(),
            generation,
            now,
            idle_until: now + 86_400,
            grace: 30,
            method: AuthMethod::None,
            jkt: None,
        };
        let rotated = server.app.store.rotate(rotate).await.unwrap();
        assert!(
            matches!(rotated, wayleave::store::Rotated::Successor(_)),
            "{generation}"
        );
    }
    let clients = server.app.store.clients(now, 10).await.unwrap();
    assert_eq!(clients[0].grants, 1);
    assert_eq!(
        server.refresh(&client, &first).await.status,
        400,
        "the oldest is known for what it is"
    );
    assert_eq!(
        server.app.store.clients(now, 10).await.unwrap()[0].grants,
        0
    );
}

#[tokio::test]
async fn c_25_strangers_at_par_are_counted_and_leave_nothing_behind() {
    let server = TestApp::with(Database::sqlite(), &[("WAYLEAVE_LIMITS__SCALE", "1")]).await;
    server.site.publish("/good.json", json!({}));
    for n in 0..12 {
        let client = server.site.url(&format!("/missing-{n}.json"));
        let flow = server.flow(&client);
        let query = flow.query();
        let pairs: Vec<_> = url::form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect();
        let fields: Vec<_> = pairs
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        for path in ["/par", "/device_authorization"] {
            let page = server.call(path, &fields, &[]).await;
            assert!(
                matches!(page.status.as_u16(), 400 | 401 | 429 | 503),
                "{path} {n}: {}",
                page.body
            );
        }
    }
    assert!(
        server.site.connections() <= 10,
        "{}",
        server.site.connections()
    );
    assert!(
        server
            .app
            .store
            .clients(server.app.clock.now(), 10)
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn u_43_a_registered_url_is_never_fetched() {
    let server = TestApp::new(Database::sqlite()).await;
    let client = server
        .site
        .publish("/c.json", json!({ "client_name": "From the document" }));
    let registered = serde_json::from_value(json!({
        "client_id": client, "client_name": "From the registration", "redirect_uris": [server.site.url("/callback")],
    }));
    assert!(
        server
            .app
            .store
            .add_client(registered.unwrap(), server.app.clock.now())
            .await
            .unwrap()
    );
    server.app.clients.notice_changes().await.unwrap();
    let before = server.site.connections();
    let mut browser = server.signed_in().await;
    let flow = server.flow(&client);
    let question = browser.open(&flow.target()).await;
    assert!(
        question.body.contains("From the registration"),
        "{}",
        question.body
    );
    let page = browser.submit(&question, &[("decision", "allow")]).await;
    let code = crate::support::app::param(page.location().unwrap(), "code").unwrap();
    assert_eq!(server.redeem(&flow, &code).await.status, 200);
    assert_eq!(server.site.connections(), before);
}
