//! Outages, budgets and isolation: section 3(a).10 of the attack corpus. What a client's host does costs its own clients.

use std::{net::IpAddr, time::Duration};

use axum::body::Body;
use http::Request;
use serde_json::json;
use wayleave::clients::{Asker, Need};

use crate::support::{Answer, Database, TestApp, app::anybody, log, on_both};

const HOUR: i64 = 3_600;

on_both! {
    /// Everything is down, and this server begins anew.
    async fn c_15_after_a_restart_with_every_host_down_every_live_grant_refreshes(database) {
        let server = TestApp::new(database).await;
        let mut grants = Vec::new();
        for n in 0..20 {
            let client = server.site.publish(&format!("/{n}.json"), json!({}));
            grants.push((client.clone(), server.refresh_token(&client).await));
        }
        for n in 0..20 {
            server.site.answer(&format!("/{n}.json"), Answer::status(503));
        }
        server.app.clock.advance(2 * HOUR);
        let restarted = server.restart().await;
        for (client, token) in grants {
            let answer = restarted.refresh(&client, &token).await;
            assert_eq!(answer.status, 200, "{client}: {}", answer.body);
        }
    }

    /// A new authorization for an hour, a refresh for a day.
    async fn c_16_the_last_good_copy_serves_for_an_hour_and_for_a_day(database) {
        let server = TestApp::with(database, &[("WAYLEAVE_LOGIN__SESSION_IDLE", "604800")]).await;
        let client = server.site.publish("/c.json", json!({}));
        let token = server.refresh_token(&client).await;
        let target = server.flow(&client).with("prompt", "consent").target();
        let mut browser = server.signed_in().await;
        // Jitter is at most a tenth of the ten minutes.
        server.app.clock.advance(660);
        server.site.answer("/c.json", Answer::status(503));
        server.app.clock.advance(57 * 60);
        assert_eq!(browser.open(&target).await.text("h1"), "app.example.com");
        server.app.clock.advance(4 * 60);
        assert_eq!(browser.open(&target).await.status, 503);

        server.app.clock.advance(21 * HOUR);
        let answer = server.refresh(&client, &token).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let token = answer.json()["refresh_token"].as_str().unwrap().to_owned();
        server.quiet(0).await;
        server.app.clock.advance(3 * HOUR);
        let answer = server.refresh(&client, &token).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["error"]), (503, &"temporarily_unavailable".into()));
        assert!(!answer.header("retry-after").is_empty());

        // It is back, and nothing was spent.
        server.site.publish("/c.json", json!({}));
        server.app.clock.advance(61);
        assert_eq!(browser.open(&target).await.text("h1"), "app.example.com");
        assert_eq!(server.refresh(&client, &token).await.status, 200);
    }

    /// The host's own word counts at once for new authorizations, and for refreshes when it is confirmed an hour later.
    async fn c_13_a_client_that_withdrew_its_document_gets_nothing_more(database) {
        let server = TestApp::with(database, &[("WAYLEAVE_LOGIN__SESSION_IDLE", "604800")]).await;
        let client = server.site.publish("/c.json", json!({}));
        let target = server.flow(&client).with("prompt", "consent").target();
        let mut token = server.refresh_token(&client).await;
        let mut browser = server.signed_in().await;
        server.site.answer("/c.json", Answer::status(404));
        server.app.clock.advance(700);
        assert_eq!(browser.get(&target).await.status, 400);
        let connections = server.site.connections();
        assert_eq!(browser.get(&target).await.status, 400);
        assert_eq!(server.site.connections(), connections, "the host is given time");
        for _ in 0..2 {
            let answer = server.refresh(&client, &token).await;
            assert_eq!(answer.status, 200, "{}", answer.body);
            token = answer.json()["refresh_token"].as_str().unwrap().to_owned();
            server.quiet(0).await;
            server.app.clock.advance(60);
        }
        server.app.clock.advance(HOUR);
        assert_eq!(browser.get(&target).await.status, 400, "said again");
        let restarted = server.restart().await;
        let answer = restarted.refresh(&client, &token).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["error"]), (400, &"invalid_grant".into()));

        server.site.publish("/c.json", json!({}));
        server.app.clock.advance(61);
        assert_eq!(browser.open(&target).await.text("h1"), "app.example.com");
        assert_eq!(server.refresh(&client, &token).await.status, 200, "it came back, and the refusal spent nothing");
    }

    /// Two processes on one database.
    async fn c_04_two_instances_read_a_document_at_most_once_each(database) {
        let server = TestApp::new(database).await;
        let client = server.site.publish("/c.json", json!({})).parse().unwrap();
        let other = server.restart().await;
        let now = server.app.clock.now();
        let ask = |app: &wayleave::app::App| {
            let (clients, client) = (app.clients.clone(), &client);
            async move { clients.client(client, Need::Fetch(anybody()), now).await.map(drop) }
        };
        let all = (0..500).flat_map(|_| [ask(&server.app), ask(&other.app)]);
        for answer in futures_util::future::join_all(all).await {
            answer.unwrap();
        }
        assert!(server.site.connections() <= 2, "{}", server.site.connections());
    }
}

#[tokio::test]
async fn c_03_a_thousand_requests_share_one_failure() {
    let server = TestApp::new(Database::sqlite()).await;
    let client = server.site.url("/c.json").parse().unwrap();
    server.site.answer("/c.json", Answer::status(500));
    let now = server.app.clock.now();
    let ask = || {
        server
            .app
            .clients
            .client(&client, Need::Fetch(anybody()), now)
    };
    let answers = futures_util::future::join_all((0..1_000).map(|_| ask())).await;
    assert!(answers.iter().all(Result::is_err));
    assert_eq!(server.site.connections(), 1);
    // Until the back-off is over, nobody asks again.
    assert!(ask().await.is_err());
    assert_eq!(server.site.connections(), 1);
    assert_eq!(server.app.clients.backed_off(now).len(), 1);
}

#[tokio::test]
async fn c_09_c_10_every_spelling_is_its_own_client() {
    let server = TestApp::new(Database::sqlite()).await;
    let now = server.app.clock.now();
    let paths = ["/c", "/C", "/%63", "/c?v=1", "/c/", "/c;x"];
    for path in paths {
        server.site.publish(path, json!({ "client_name": path }));
    }
    for path in paths {
        let id = server.site.url(path).parse().unwrap();
        let client = server
            .app
            .clients
            .client(&id, Need::Fetch(anybody()), now)
            .await
            .unwrap();
        assert_eq!(client.unwrap().metadata.client_name.as_deref(), Some(path));
    }
    assert_eq!(server.site.connections(), paths.len());
    // A document of A that is served at B is kept for neither.
    server.site.answer(
        "/b",
        Answer::json(server.site.document("/c", json!({})).to_string()),
    );
    let b = server.site.url("/b").parse().unwrap();
    assert_eq!(
        server
            .app
            .clients
            .client(&b, Need::Fetch(anybody()), now)
            .await
            .unwrap_err()
            .rule,
        "document.client_id"
    );
    assert!(
        server
            .app
            .store
            .client(b.url().unwrap())
            .await
            .unwrap()
            .is_none()
    );
    let c = server.site.url("/c").parse().unwrap();
    let kept = server
        .app
        .clients
        .client(&c, Need::Fetch(anybody()), now)
        .await
        .unwrap();
    assert_eq!(kept.unwrap().metadata.client_name.as_deref(), Some("/c"));
}

#[tokio::test]
async fn c_11_no_error_is_ever_kept_as_a_document() {
    let server = TestApp::new(Database::sqlite()).await;
    let client = server.site.publish("/c.json", json!({}));
    let id = client.parse().unwrap();
    let now = server.app.clock.now();
    server
        .app
        .clients
        .client(&id, Need::Fetch(anybody()), now)
        .await
        .unwrap();
    let good = server
        .app
        .store
        .client(id.url().unwrap())
        .await
        .unwrap()
        .unwrap();
    for answer in [Answer::status(500), Answer::json("{}"), Answer::status(404)] {
        server.site.answer("/c.json", answer);
        server.app.clock.advance(700);
        _ = server
            .app
            .clients
            .client(&id, Need::Fetch(anybody()), server.app.clock.now())
            .await;
        let kept = server
            .app
            .store
            .client(id.url().unwrap())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(
            (kept.digest, kept.document),
            (good.digest.clone(), good.document.clone())
        );
        assert!(kept.failed_at.is_some());
    }
}

#[tokio::test]
async fn c_17_a_busy_client_is_read_again_before_anybody_has_to_wait() {
    let server = TestApp::new(Database::sqlite()).await;
    let client = server.site.publish("/c.json", json!({}));
    let id = client.parse().unwrap();
    let now = server.app.clock.now();
    let first = server
        .app
        .clients
        .client(&id, Need::Fetch(anybody()), now)
        .await
        .unwrap();
    let slow = Answer {
        delay: Duration::from_millis(300),
        ..Answer::json(
            server
                .site
                .document("/c.json", json!({ "client_name": "New" }))
                .to_string(),
        )
    };
    server.site.answer("/c.json", slow);
    // Four fifths of ten minutes, give or take the jitter, and not yet all of them.
    server.app.clock.advance(530);
    let now = server.app.clock.now();
    let same = server
        .app
        .clients
        .client(&id, Need::Fetch(anybody()), now)
        .await
        .unwrap();
    assert_eq!(same.unwrap().digest, first.unwrap().digest, "nobody waits");
    server.quiet(2).await;
    let new = server
        .app
        .clients
        .client(&id, Need::Fetch(anybody()), now)
        .await
        .unwrap();
    assert_eq!(new.unwrap().metadata.client_name.as_deref(), Some("New"));
    assert_eq!(server.site.connections(), 2);
}

/// A client that is used only by its refresh tokens is looked after, too: while nobody waits.
#[tokio::test]
async fn a_refresh_has_the_document_read_again_and_waits_for_nobody() {
    let server = TestApp::new(Database::sqlite()).await;
    let client = server.site.publish("/c.json", json!({}));
    let token = server.refresh_token(&client).await;
    assert_eq!(server.site.connections(), 1);
    let silent = Answer {
        delay: Duration::from_secs(30),
        ..Answer::status(200)
    };
    server.site.answer("/c.json", silent);
    server.app.clock.advance(700);
    assert_eq!(server.refresh(&client, &token).await.status, 200);
    let arrived = async {
        while server.site.connections() < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), arrived)
        .await
        .unwrap();
}

#[tokio::test]
async fn c_20_one_host_is_asked_ten_times_at_once_and_thirty_times_a_minute() {
    let server = TestApp::with(Database::sqlite(), &[("WAYLEAVE_LIMITS__SCALE", "1")]).await;
    let (mut reached, mut refused) = (0, Vec::new());
    for n in 0..120 {
        let client = server
            .site
            .publish(&format!("/{n}"), json!({}))
            .parse()
            .unwrap();
        // Each asked for from another part of one provider's network.
        let source = IpAddr::from([0x2001, 0xdb8, 0, n << 8, 0, 0, 0, 1]);
        let got = server
            .app
            .clients
            .client(
                &client,
                Need::Fetch(Asker::SignedIn(source)),
                server.app.clock.now(),
            )
            .await;
        match got {
            Ok(_) => reached += 1,
            Err(refusal) => refused.push(refusal.rule),
        }
        if n % 2 == 1 {
            server.app.clock.advance(1);
        }
    }
    assert!((38..=41).contains(&reached), "{reached} in a minute");
    assert_eq!(server.site.connections(), reached);
    // Others are not affected: another domain, which is at the same address, though, so it shares the address's budget.
    assert!(refused.iter().all(|rule| *rule == "fetch.budget"));
    assert_eq!(refused.len(), 120 - reached);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c_21_when_all_places_are_taken_the_rest_is_sent_away_at_once() {
    let variables = [
        ("WAYLEAVE_FETCH__MAX_IN_FLIGHT", "4"),
        ("WAYLEAVE_FETCH__MAX_IN_FLIGHT_PER_HOST", "100"),
    ];
    let server = TestApp::with(Database::sqlite(), &variables).await;
    let silent = Answer {
        delay: Duration::from_secs(3),
        ..Answer::status(500)
    };
    let ids: Vec<wayleave::protocol::client_id::ClientId> = (0..40)
        .map(|n| {
            server.site.answer(&format!("/{n}"), silent.clone());
            server.site.url(&format!("/{n}")).parse().unwrap()
        })
        .collect();
    let now = server.app.clock.now();
    let answers = ids
        .iter()
        .map(|id| server.app.clients.client(id, Need::Fetch(anybody()), now));
    let answers = futures_util::future::join_all(answers).await;
    let busy = answers.iter().filter(|answer| {
        answer
            .as_ref()
            .is_err_and(|refusal| refusal.rule == "fetch.budget")
    });
    assert_eq!(busy.count(), 36);
    assert_eq!(server.site.connections(), 4);
}

/// Hosts that never answer cost those who ask for their clients, and nobody else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c_22_tar_pits_cost_nobody_who_uses_another_client() {
    let server = TestApp::with(Database::sqlite(), &[("WAYLEAVE_FETCH__TIMEOUT", "60")]).await;
    let good = server.site.publish("/good.json", json!({}));
    let token = server.refresh_token(&good).await;
    let mut browser = server.signed_in().await;
    let target = server.flow(&good).target();
    browser.open(&target).await;
    let silent = Answer {
        delay: Duration::from_secs(60),
        ..Answer::status(200)
    };
    let now = server.app.clock.now();
    let mut pits = Vec::new();
    for n in 0..500 {
        server.site.answer(&format!("/pit{n}"), silent.clone());
        let (clients, id) = (
            server.app.clients.clone(),
            server.site.url(&format!("/pit{n}")).parse().unwrap(),
        );
        pits.push(tokio::spawn(async move {
            clients
                .client(&id, Need::Fetch(anybody()), now)
                .await
                .map(drop)
        }));
    }
    while server.app.clients.budgets().under_way() == 0 {
        tokio::task::yield_now().await;
    }
    // While they hang, everything else goes on.
    let mut token = token;
    for _ in 0..50 {
        let page = browser.get(&target).await;
        assert!(
            page.location().is_some_and(|to| to.contains("code=")),
            "{}",
            page.body
        );
        let answer = server.refresh(&good, &token).await;
        assert_eq!(answer.status, 200);
        token = answer.json()["refresh_token"].as_str().unwrap().to_owned();
    }
    assert!(
        server.app.clients.budgets().under_way() > 0,
        "the pits still hang"
    );
    pits.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn c_23_c_24_no_machine_endpoint_fetches_for_a_client_without_a_grant() {
    let server = TestApp::new(Database::sqlite()).await;
    for n in 0..200 {
        let client = server.site.publish(&format!("/{n}"), json!({}));
        let code = [
            ("grant_type", "authorization_code"),
            ("code", "wl_ac_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
            ("client_id", &client),
            ("redirect_uri", "https://app.example.com/cb"),
            ("code_verifier", crate::support::app::VERIFIER),
        ];
        let answer = server.token(&code).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.json()["error"]),
            (400, &"invalid_grant".into())
        );
        assert_eq!(server.refresh(&client, "wl_rt_x").await.status, 400);
        let revoke = [("token", "wl_rt_x"), ("client_id", &client)];
        assert_eq!(server.browser().post("/revoke", &revoke).await.status, 200);
    }
    assert_eq!(server.site.connections(), 0);
}

#[tokio::test]
async fn c_27_whoever_only_looks_ahead_causes_nothing() {
    let server = TestApp::new(Database::sqlite()).await;
    let client = server.site.publish("/c.json", json!({}));
    let target = server.flow(&client).target();
    let mut browser = server.signed_in().await;
    for (method, name, value) in [
        ("HEAD", "x-nothing", "1"),
        ("GET", "sec-purpose", "prefetch"),
        ("GET", "sec-purpose", "prefetch;prerender"),
        ("GET", "purpose", "prefetch"),
    ] {
        let request = Request::builder()
            .method(method)
            .uri(&target)
            .header(name, value);
        let page = browser.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(page.status, 204, "{method} {name}: {value}");
    }
    assert_eq!(server.site.connections(), 0);
}

#[tokio::test]
async fn c_26_a_redirect_uri_that_was_taken_away_is_refused_within_a_minute() {
    let server = TestApp::new(Database::sqlite()).await;
    let client = server.site.url("/c.json");
    let answer = |members| {
        Answer::json(server.site.document("/c.json", members).to_string())
            .header("cache-control", "max-age=60")
    };
    let bad = server.site.url("/compromised");
    server.site.answer(
        "/c.json",
        answer(json!({ "redirect_uris": [bad, server.site.url("/callback")] })),
    );
    let target = server.flow(&client).with("redirect_uri", &bad).target();
    let mut browser = server.signed_in().await;
    assert_eq!(browser.open(&target).await.text("h1"), "app.example.com");
    server.site.answer("/c.json", answer(json!({})));
    server.app.clock.advance(60 + 6);
    let page = browser.get(&target).await;
    assert!(
        page.status == 400 && page.body.contains("redirect_uri.not_registered"),
        "{}",
        page.body
    );
}

/// A document that differs at every look: each grant keeps the version it was given to, and the history has them all.
#[tokio::test]
async fn c_28_m_60_a_client_that_flips_is_written_down() {
    let server = TestApp::new(Database::sqlite()).await;
    let client = server.site.url("/c.json");
    let id = client.parse().unwrap();
    let mut digests = Vec::new();
    for round in 0..4 {
        let name = if round % 2 == 0 { "A" } else { "B" };
        server
            .site
            .publish("/c.json", json!({ "client_name": name }));
        let resolved = server
            .app
            .clients
            .client(&id, Need::Fetch(anybody()), server.app.clock.now())
            .await
            .unwrap();
        digests.push(resolved.unwrap().digest.as_str().to_owned());
        server.app.clock.advance(700);
    }
    assert!(digests[0] == digests[2] && digests[1] == digests[3] && digests[0] != digests[1]);
    let events = server.app.store.client_events(&id).await.unwrap();
    let seen: Vec<_> = events
        .iter()
        .map(|event| (event.kind.as_str(), event.digest.as_ref().unwrap().as_str()))
        .collect();
    let expected: Vec<_> = ["first", "changed", "changed", "changed"]
        .into_iter()
        .zip(digests.iter().map(String::as_str))
        .collect();
    assert_eq!(seen, expected);
}

/// A copy may only be old: one bounded look at the host before a redirect URI is refused.
#[tokio::test]
async fn a_redirect_uri_that_is_new_heals_itself() {
    let server = TestApp::new(Database::sqlite()).await;
    let client = server.site.publish("/c.json", json!({}));
    let new = server.site.url("/new");
    let flow = server.flow(&client).with("redirect_uri", &new);
    let mut browser = server.signed_in().await;
    browser.open(&server.flow(&client).target()).await;
    server.site.publish(
        "/c.json",
        json!({ "redirect_uris": [server.site.url("/callback"), new] }),
    );
    let page = browser.get(&flow.target()).await;
    assert!(
        page.status == 400 && page.body.contains("Judged by"),
        "a copy of this minute: {}",
        page.body
    );
    assert_eq!(server.site.connections(), 1);
    server.app.clock.advance(61);
    assert_eq!(
        browser.open(&flow.target()).await.text("h1"),
        "app.example.com"
    );
    assert_eq!(server.site.connections(), 2);
    // What no version lists is refused, and costs one look a minute at most.
    server.app.clock.advance(61);
    let never = flow.with("redirect_uri", &server.site.url("/never"));
    for _ in 0..3 {
        assert_eq!(browser.get(&never.target()).await.status, 400);
    }
    assert_eq!(server.site.connections(), 3);
}

/// What a fetch leaves in the log: who, what became of it, how much and how long; nothing of the document.
#[tokio::test]
async fn c_29_a_fetch_is_logged_without_the_document() {
    let log = log::of_this_thread();
    let server = TestApp::new(Database::sqlite()).await;
    let client = server.site.publish(
        "/c.json",
        json!({ "client_name": "canary-in-the-document" }),
    );
    let now = server.app.clock.now();
    server
        .app
        .clients
        .client(&client.parse().unwrap(), Need::Fetch(anybody()), now)
        .await
        .unwrap();
    server.site.answer(
        "/bad.json",
        Answer::json("canary-in-the-document\n\u{1b}[31m"),
    );
    let bad = server.site.url("/bad.json").parse().unwrap();
    server
        .app
        .clients
        .client(&bad, Need::Fetch(anybody()), now)
        .await
        .unwrap_err();
    let text = log.text();
    for part in [
        client.as_str(),
        "\"ms\":",
        "\"bytes\":",
        "\"status\":200",
        "document.json",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(
        !text.contains("canary") && !text.contains('\u{1b}'),
        "{text}"
    );
}

#[tokio::test]
async fn c_30_an_unknown_client_is_read_for_nobody_who_is_not_signed_in() {
    let server = TestApp::new(Database::sqlite()).await;
    let client = server.site.publish("/c.json", json!({}));
    let page = server.browser().get(&server.flow(&client).target()).await;
    assert!(
        page.location().is_some_and(|to| to.starts_with("/login?")),
        "{}",
        page.body
    );
    assert_eq!(server.site.connections(), 0);
}
