//! How often a sign-in, or a request for tokens, may fail.

use base64::{Engine, prelude::BASE64_STANDARD};
use http::Request;
use serde_json::{Value, json};
use wayleave::accounts::Password;

use crate::{
    process::{run, wayleave},
    support::{Browser, Database, Page, TestApp, app::PASSWORD, on_both},
};

const LIMITS: [(&str, &str); 2] = [
    ("WAYLEAVE_LIMITS__SCALE", "1"),
    ("WAYLEAVE_SERVER__TRUSTED_PROXIES", "['127.0.0.1/32']"),
];

/// A browser in the network of this number.
fn browser(server: &TestApp, network: u32) -> Browser {
    let mut browser = server.browser();
    let (high, low) = (network / 250, network % 250 + 1);
    browser.address = Some(format!("198.51.{high}.{low}"));
    browser
}

async fn sign_in(browser: &mut Browser, name: &str, password: &str) -> Page {
    let page = browser.get("/login").await;
    browser
        .submit(&page, &[("username", name), ("password", password)])
        .await
}

on_both! {
    async fn a_name_waits_longer_with_each_wrong_password_wherever_they_come_from(database) {
        let server = TestApp::with(database, &LIMITS).await;
        let mut ada = browser(&server, 0);
        assert_eq!(sign_in(&mut ada, "ada", PASSWORD).await.status, 303);

        // Also a name that nobody has, and one that is written otherwise: nobody learns which there are.
        for (start, name) in [(1, "ada"), (50, "nobody"), (100, " Grace ")] {
            for n in 0..5 {
                let page = sign_in(&mut browser(&server, start + n), name, "wrong").await;
                assert_eq!(page.status, 422, "{name} {n}");
            }
            let page = sign_in(&mut browser(&server, start + 5), name, PASSWORD).await;
            assert_eq!((page.status.as_u16(), page.header("retry-after")), (429, "1"), "{name}");
            assert!(page.text("#failed").contains("Too many passwords were wrong for this name. Wait 1 second, and try again."), "{}", page.body);
            assert!(page.body.contains(&format!("value=\"{name}\"")), "what was typed stays");
            server.app.clock.advance(1);
            assert_eq!(sign_in(&mut browser(&server, start + 6), name, "wrong").await.status, 422);
            let page = sign_in(&mut browser(&server, start + 7), name, "wrong").await;
            assert_eq!((page.status.as_u16(), page.header("retry-after")), (429, "2"), "{name}");
        }

        // The browser in which ada has signed in before does not wait, and ends the waiting of others.
        let mut stranger = browser(&server, 0);
        stranger.cookies = ada.cookies.clone();
        assert_eq!(sign_in(&mut stranger, "grace", PASSWORD).await.status, 429, "it is known for ada only");
        assert_eq!(sign_in(&mut ada, "ada", PASSWORD).await.status, 303);
        assert_eq!(sign_in(&mut browser(&server, 9), "ada", PASSWORD).await.status, 303);
        // What is right forgets what was wrong.
        server.app.clock.advance(2);
        assert_eq!(sign_in(&mut browser(&server, 10), "grace", PASSWORD).await.status, 303);
        for n in 0..5 {
            assert_eq!(sign_in(&mut browser(&server, 20 + n), "grace", "wrong").await.status, 422, "{n}");
        }
    }

    async fn a_name_is_locked_after_a_hundred_wrong_passwords_until_an_administrator_unlocks_it(database) {
        let server = TestApp::with(database, &LIMITS).await;
        let mut known = browser(&server, 0);
        assert_eq!(sign_in(&mut known, "ada", PASSWORD).await.status, 303);
        for _ in 0..100 {
            let name = wayleave::secret::TypedName::hash("ada");
            server.app.store.count_sign_in_failure(name, server.app.clock.now()).await.unwrap();
        }
        server.app.clock.advance(80 * 86_400);
        server.app.store.sweep(900, server.app.clock.now()).await.unwrap();
        let page = sign_in(&mut browser(&server, 1), "ada", PASSWORD).await;
        assert_eq!((page.status.as_u16(), page.header("retry-after")), (429, ""));
        assert!(page.text("#failed").contains("it is locked. Ask the administrator"), "{}", page.body);

        let command = |arguments: &[&str]| {
            let mut command = wayleave(&server.database.path("."));
            command.env("WAYLEAVE_DATABASE__URL", &server.database.url).arg("user").args(arguments);
            run(command, None)
        };
        let list = command(&["list", "--json"]);
        let list: Vec<Value> = serde_json::from_slice(&list.stdout).unwrap();
        let locked = |name: &str| list.iter().find(|user| user["username"] == name).unwrap()["locked"].clone();
        assert_eq!((locked("ada"), locked("grace")), (json!(true), json!(false)));
        assert!(command(&["unlock", "ada"]).status.success());
        assert_eq!(command(&["unlock", "ada"]).status.code(), Some(1), "once");
        assert_eq!(sign_in(&mut browser(&server, 1), "ada", PASSWORD).await.status, 303);
    }

    async fn of_many_passwords_tried_at_once_no_more_count_than_one_after_the_other(database) {
        let server = TestApp::with(database, &LIMITS).await;
        let tries = (0..24).map(|n| {
            let mut browser = browser(&server, n);
            async move { sign_in(&mut browser, "ada", "wrong").await.status.as_u16() }
        });
        let tried = futures_util::future::join_all(tries).await;
        assert_eq!(tried.iter().filter(|status| **status == 422).count(), 5, "{tried:?}");
        // 503: it was overtaken by others again and again, and tried nothing.
        assert!(tried.iter().all(|status| matches!(status, 422 | 429 | 503)), "{tried:?}");
        let name = wayleave::secret::TypedName::hash("ada");
        assert_eq!(server.app.store.sign_in_failures(&name).await.unwrap().unwrap().count, 5);
    }

    async fn an_attempt_that_was_not_made_does_not_count(database) {
        let server = TestApp::with(database, &LIMITS).await;
        let name = wayleave::secret::TypedName::hash("ada");
        for count in [0, 3] {
            for _ in 0..count {
                server.app.store.count_sign_in_failure(name.clone(), server.app.clock.now()).await.unwrap();
            }
            let before = server.app.store.sign_in_failures(&name).await.unwrap();
            server.app.clock.advance(10);
            let busy = server.app.accounts.keep_busy().await.unwrap();
            assert_eq!(sign_in(&mut browser(&server, 1), "ada", PASSWORD).await.status, 503);
            drop(busy);
            let after = server.app.store.sign_in_failures(&name).await.unwrap();
            assert_eq!(after.filter(|failures| failures.count > 0), before);
        }
        assert_eq!(sign_in(&mut browser(&server, 1), "ada", PASSWORD).await.status, 303);
        assert_eq!(server.app.store.sign_in_failures(&name).await.unwrap(), None);
    }

    async fn failures_are_forgotten_after_a_day(database) {
        let server = TestApp::with(database, &LIMITS).await;
        let name = || wayleave::secret::TypedName::hash("ada");
        server.app.store.count_sign_in_failure(name(), server.app.clock.now()).await.unwrap();
        server.app.clock.advance(86_400);
        server.app.store.sweep(900, server.app.clock.now()).await.unwrap();
        assert!(server.app.store.sign_in_failures(&name()).await.unwrap().is_some());
        server.app.clock.advance(1);
        server.app.store.sweep(900, server.app.clock.now()).await.unwrap();
        assert_eq!(server.app.store.sign_in_failures(&name()).await.unwrap(), None);
    }
}

#[tokio::test]
async fn a_network_that_guesses_waits_and_its_neighbours_and_known_browsers_do_not() {
    let server = TestApp::with(Database::sqlite(), &LIMITS).await;
    let mut known = browser(&server, 1);
    assert_eq!(sign_in(&mut known, "ada", PASSWORD).await.status, 303);
    // Ten in a minute.
    for n in 0..10 {
        let page = sign_in(&mut browser(&server, 1), &format!("name{n}"), "wrong").await;
        assert_eq!(page.status, 422, "{n}");
    }
    let page = sign_in(&mut browser(&server, 1), "grace", PASSWORD).await;
    assert_eq!(
        (page.status.as_u16(), page.header("retry-after")),
        (429, "60")
    );
    assert!(
        page.text("#failed").contains(
            "Too many sign-ins from your network went wrong. Wait 1 minute, and try again."
        ),
        "{}",
        page.body
    );
    for (network, name) in [(2, "grace"), (3, "ada")] {
        let page = sign_in(&mut browser(&server, network), name, PASSWORD).await;
        assert_eq!(page.status, 303, "{network}");
    }
    assert_eq!(sign_in(&mut known, "ada", PASSWORD).await.status, 303);

    // Fifteen different ones in three hours.
    server.app.clock.advance(60);
    for n in 10..15 {
        let page = sign_in(&mut browser(&server, 1), &format!("name{n}"), "wrong").await;
        assert_eq!(page.status, 422, "{n}");
    }
    server.app.clock.advance(3_600);
    let page = sign_in(&mut browser(&server, 1), "grace", PASSWORD).await;
    assert_eq!(
        (page.status.as_u16(), page.header("retry-after")),
        (429, "82800")
    );
    assert!(page.body.contains("Wait 23 hours, and try again."));
    assert_eq!(sign_in(&mut known, "ada", PASSWORD).await.status, 303);
    // A known browser guesses ten times an hour, no more: then it is one as any other.
    for n in 0..10 {
        assert_eq!(
            sign_in(&mut known, "ada", &n.to_string()).await.status,
            422,
            "{n}"
        );
    }
    assert_eq!(sign_in(&mut known, "ada", PASSWORD).await.status, 429);
    server.app.clock.advance(82_800);
    let page = sign_in(&mut browser(&server, 1), "grace", PASSWORD).await;
    assert_eq!(page.status, 303);
}

#[tokio::test]
async fn the_cookie_of_a_known_browser_cannot_be_made_up() {
    let server = TestApp::with(Database::sqlite(), &LIMITS).await;
    let mut real = browser(&server, 0);
    let page = sign_in(&mut real, "ada", PASSWORD).await;
    let cookies: Vec<_> = page.headers.get_all("set-cookie").iter().collect();
    let known = cookies
        .iter()
        .map(|cookie| cookie.to_str().unwrap())
        .find(|cookie| cookie.starts_with("wayleave_known="))
        .unwrap();
    assert!(
        known.ends_with("; Path=/; HttpOnly; SameSite=Lax; Max-Age=31536000"),
        "{known}"
    );
    for n in 0..5 {
        sign_in(&mut browser(&server, n), "ada", "wrong").await;
    }
    let value = real.cookies["wayleave_known"].clone();
    let (id, mark) = value.split_once('.').unwrap();
    let other = if id.starts_with('x') { 'y' } else { 'x' };
    for (forged, expected) in [
        (value.clone(), 303),
        (format!("{other}{}.{mark}", &id[1..]), 429),
        (format!("{id}.{}", &mark[1..]), 429),
        (format!("{id}."), 429),
        (id.to_owned(), 429),
        (String::new(), 429),
    ] {
        for _ in 0..5 {
            let name = wayleave::secret::TypedName::hash("ada");
            let counted = server
                .app
                .store
                .count_sign_in_failure(name, server.app.clock.now());
            counted.await.unwrap();
        }
        let mut browser = browser(&server, 100);
        browser
            .cookies
            .insert("wayleave_known".to_owned(), forged.clone());
        let page = sign_in(&mut browser, "ada", PASSWORD).await;
        assert_eq!(page.status, expected, "{forged}");
    }
}

#[tokio::test]
async fn a_browser_is_known_for_a_year_and_as_long_as_the_password_stays() {
    let server = TestApp::with(Database::sqlite(), &LIMITS).await;
    let waits = async |browser: &mut Browser| {
        for _ in 0..6 {
            let name = wayleave::secret::TypedName::hash("ada");
            let now = server.app.clock.now();
            server
                .app
                .store
                .count_sign_in_failure(name, now)
                .await
                .unwrap();
        }
        sign_in(browser, "ada", PASSWORD).await.status == 429
    };
    let mut known = browser(&server, 0);
    assert_eq!(sign_in(&mut known, "ada", PASSWORD).await.status, 303);
    let value = known.cookies["wayleave_known"].clone();
    let with = |value: &str| {
        let mut browser = browser(&server, 1);
        let known = ("wayleave_known".to_owned(), value.to_owned());
        browser.cookies.extend([known]);
        browser
    };
    assert!(!waits(&mut with(&value)).await);
    // Nobody makes it last longer.
    let parts: Vec<&str> = value.split('.').collect();
    let until: i64 = parts[1].parse().unwrap();
    let longer = format!("{}.{}.{}", parts[0], until + 1, parts[2]);
    assert!(waits(&mut with(&longer)).await);
    server.app.clock.advance(365 * 86_400 - 1);
    assert!(!waits(&mut with(&value)).await);
    server.app.clock.advance(1);
    assert!(waits(&mut with(&value)).await);

    server.app.clock.advance(900);
    let mut known = browser(&server, 2);
    assert_eq!(sign_in(&mut known, "ada", PASSWORD).await.status, 303);
    let value = known.cookies["wayleave_known"].clone();
    let again = || Password::chosen(PASSWORD).unwrap();
    let name = "ada".parse().unwrap();
    assert!(
        server
            .app
            .accounts
            .set_password(&name, again(), false, server.app.clock.now())
            .await
            .unwrap()
            .is_some()
    );
    assert!(waits(&mut with(&value)).await);
}

#[tokio::test]
async fn a_client_that_fails_thirty_times_a_minute_is_told_to_wait_and_what_is_right_is_answered() {
    let server = TestApp::with(Database::sqlite(), &LIMITS).await;
    let client = server.site.publish("/c.json", json!({}));
    let refresh_token = server.refresh_token(&client).await;
    let wrong = async |address: &str, client: &str| {
        let mut browser = server.browser();
        browser.address = Some(address.to_owned());
        let fields = [
            ("grant_type", "refresh_token"),
            ("refresh_token", "wl_rt_nonsense"),
            ("client_id", client),
        ];
        browser.post("/token", &fields).await
    };
    for n in 0..30 {
        assert_eq!(wrong("192.0.2.1", &client).await.status, 400, "{n}");
    }
    let page = wrong("192.0.2.1", &client).await;
    assert_eq!(
        (page.status.as_u16(), page.header("retry-after")),
        (429, "61")
    );
    assert_eq!(page.json()["error"], "invalid_grant");
    // Another network, another client.
    assert_eq!(wrong("192.0.2.2", &client).await.status, 400);
    assert_eq!(
        wrong("192.0.2.1", "https://other.example/").await.status,
        400
    );

    let mut browser = server.browser();
    browser.address = Some("192.0.2.1".to_owned());
    let fields = [
        ("grant_type", "refresh_token"),
        ("refresh_token", refresh_token.as_str()),
        ("client_id", client.as_str()),
    ];
    assert_eq!(browser.post("/token", &fields).await.status, 200);
    // A request that is malformed is no failure of this kind.
    for _ in 0..40 {
        let page = server.token(&[("client_id", &client)]).await;
        assert_eq!(
            (page.status.as_u16(), &page.json()["error"]),
            (400, &json!("invalid_request"))
        );
    }
    server.app.clock.advance(60);
    assert_eq!(wrong("192.0.2.1", &client).await.status, 400);
}

#[tokio::test]
async fn failures_count_for_the_client_that_a_request_names_however_it_does() {
    let server = TestApp::with(Database::sqlite(), &LIMITS).await;
    let failed = async |client: &str, by_header: bool| {
        let mut browser = server.browser();
        browser.address = Some("192.0.2.1".to_owned());
        let mut body = "grant_type=client_credentials".to_owned();
        let mut request = Request::post("/token");
        match by_header {
            true => {
                let credentials = BASE64_STANDARD.encode(format!("{client}:wrong"));
                request = request.header("authorization", format!("Basic {credentials}"));
            }
            false => body = format!("{body}&client_id={client}&client_secret=wrong"),
        }
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        let page = browser.send(request.body(body.into()).unwrap()).await;
        assert_eq!(page.json()["error"], "invalid_client");
        page.status.as_u16()
    };
    for n in 0..30 {
        assert_eq!(failed("broken", n % 2 == 0).await, 401, "{n}");
    }
    assert_eq!(failed("broken", true).await, 429);
    assert_eq!(failed("broken", false).await, 429);
    // Its neighbours, who name themselves in the header as well.
    assert_eq!(failed("another", true).await, 401);
}
