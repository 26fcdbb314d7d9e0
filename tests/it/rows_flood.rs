//! Floods from many networks: rows Y-01 and Y-06 of section 3(h), and what continues them. What strangers use up is theirs
//! alone.

use serde_json::json;
use wayleave::{
    accounts::Password, clients::Asker, clients::Need, protocol::client_id::ClientId,
    store::Description,
};

use crate::support::{
    Browser, Database, Page, Signer, TestApp,
    app::{PASSWORD, call},
    on_both,
    signer::ASSERTION_TYPE,
    until,
};

const LIMITS: [(&str, &str); 2] = [
    ("WAYLEAVE_LIMITS__SCALE", "1"),
    ("WAYLEAVE_SERVER__TRUSTED_PROXIES", "['127.0.0.1/32']"),
];

fn at(server: &TestApp, address: &str) -> Browser {
    let mut browser = server.browser();
    browser.address = Some(address.to_owned());
    browser
}

/// `POST /par` for a public client, from an address.
async fn push(server: &TestApp, address: &str, client: &str) -> Page {
    let redirect_uri = server.site.url("/callback");
    let challenge = crate::support::app::challenge("x");
    let fields = [
        ("response_type", "code"),
        ("client_id", client),
        ("redirect_uri", &redirect_uri),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
    ];
    call(&mut at(server, address), "/par", &fields, &[]).await
}

/// Is anything held against a client or its host?
async fn is_blamed(server: &TestApp, client: &str) -> bool {
    let id = client.parse().unwrap();
    let kept = server.app.store.client(&id).await.unwrap();
    let backed_off = server.app.clients.backed_off(server.app.clock.now());
    kept.is_some_and(|kept| kept.failed_at.is_some() || kept.gone_since.is_some())
        || backed_off.iter().any(|host| host.client_id == id)
}

/// 75 seconds with twenty requests in each, from 120 networks: for clients of hosts that there are not, and for ones beside
/// those of others.
async fn flood(database: Database, network: impl Fn(u32) -> String) {
    let server = TestApp::with(database, &LIMITS).await;
    let mut ada = server.signed_in().await;
    let document = server.site.document("/known.json", json!({}));
    let short_lived = crate::support::Answer::json(document.to_string());
    server.site.answer(
        "/known.json",
        short_lived.header("cache-control", "max-age=60"),
    );
    let known = server.site.url("/known.json");
    let mut token = server.refresh_token(&known).await;
    let mut blameless = vec![known.clone()];
    let (mut let_in, mut newcomers) = (0, 0);
    for second in 0..75 {
        for n in second * 20..(second + 1) * 20 {
            let client = match n % 4 {
                0 => server.site.url(&format!("/attack{n}.json")),
                _ => format!("https://c.attack{n}.com/c.json"),
            };
            let page = push(&server, &network(n % 120), &client).await;
            // 401: its host was asked, and there is no such document. 429: its network pushes too much.
            let_in += u32::from(page.status == 401);
            assert!(
                matches!(page.status.as_u16(), 401 | 429 | 503),
                "{}",
                page.body
            );
        }
        // A person who is signed in comes with a new client.
        let client = server.site.publish(&format!("/{second}.json"), json!({}));
        ada.address = Some(format!("198.51.100.{second}"));
        let page = ada.get(&server.flow(&client).target()).await;
        assert_eq!(page.status, 303, "{second}: {}", page.body);
        blameless.push(client);
        // A client that is known, in each of its ways.
        let answer = server.refresh(&known, &token).await;
        assert_eq!(answer.status, 200, "{second}: {}", answer.body);
        token = answer.json()["refresh_token"].as_str().unwrap().to_owned();
        let page = ada.get(&server.flow(&known).target()).await;
        assert_eq!(page.status, 303, "{second}: {}", page.body);
        if second % 5 == 0 {
            let page = push(&server, &format!("203.0.113.{second}"), &known).await;
            assert_eq!(page.status, 201, "{second}: {}", page.body);
            // Somebody whose network has brought nothing yet.
            let client = server
                .site
                .publish(&format!("/newcomer{second}.json"), json!({}));
            let page = push(&server, &format!("203.0.114.{second}"), &client).await;
            newcomers += u32::from(page.status == 201);
            blameless.push(client);
        }
        server.app.clock.advance(1);
    }
    assert!((10..=120).contains(&let_in), "{let_in} of 1500");
    assert!(newcomers >= 7, "{newcomers} of 15");
    for client in &blameless {
        assert!(!is_blamed(&server, client).await, "{client}");
    }
    let (known, now): (ClientId, _) = (known.parse().unwrap(), server.app.clock.now());
    assert!(server.app.store.is_client_used(&known, now).await.unwrap());
    let new = blameless[1].parse().unwrap();
    assert!(!server.app.store.is_client_used(&new, now).await.unwrap());
}

async fn sign_in(browser: &mut Browser, name: &str, password: &str) -> Page {
    let page = browser.get("/login").await;
    let typed = [("username", name), ("password", password)];
    browser.submit(&page, &typed).await
}

/// Returns when the site was asked so often.
async fn until_asked(server: &TestApp, count: usize) {
    let asked = async || (server.site.requests().len() >= count).then_some(());
    until(&format!("{count} requests to the site"), asked).await;
}

/// One place for all that is fetched, and a host that takes its time.
const ONE_PLACE: [(&str, &str); 2] = [
    ("WAYLEAVE_FETCH__MAX_IN_FLIGHT", "1"),
    ("WAYLEAVE_FETCH__TIMEOUT", "60"),
];

on_both! {
    async fn y_01_a_flood_from_a_56_stops_nobody_else(database) {
        flood(database, |n| format!("2001:db8:0:{n:x}::1")).await;
    }

    async fn y_01_a_flood_from_networks_everywhere_stops_nobody_else(database) {
        flood(database, |n| format!("192.0.2.{n}")).await;
    }

    async fn y_01_that_we_have_no_time_to_ask_is_no_failure_of_the_host(database) {
        let server = TestApp::with(database, &ONE_PLACE).await;
        let known = server.site.publish("/known.json", json!({}));
        let mut ada = server.signed_in().await;
        server.code(&mut ada, &server.flow(&known)).await;
        let read_at = server.app.clock.now();
        server.app.clock.advance(700);
        let (slow, new) = (server.site.publish("/slow.json", json!({})), server.site.publish("/new.json", json!({})));
        let asked = server.site.requests().len();

        let tar_pit = server.site.hold().await;
        let clients = server.app.clients.clone();
        let (id, now) = (slow.parse().unwrap(), server.app.clock.now());
        let asker = Asker::SignedIn([192, 0, 2, 1].into());
        let first = tokio::spawn(async move { clients.client(&id, Need::Fetch(asker), now).await.map(drop) });
        until_asked(&server, asked + 1).await;
        // The copy is too old to be fresh, and serves.
        for _ in 0..5 {
            let page = ada.get(&server.flow(&known).target()).await;
            assert!(page.location().is_some_and(|to| to.contains("code=")), "{}", page.body);
            assert_eq!(push(&server, "192.0.2.2", &known).await.status, 201);
        }
        assert_eq!(ada.get(&server.flow(&new).target()).await.status, 503);
        assert_eq!(push(&server, "192.0.2.2", &new).await.status, 503);
        for client in [&known, &new] {
            assert!(!is_blamed(&server, client).await, "{client}");
        }
        assert_eq!(server.site.requests().len(), asked + 1);

        drop(tar_pit);
        first.await.unwrap().unwrap();
        // Nobody has to be given time.
        assert_eq!(ada.get(&server.flow(&new).target()).await.status, 303);
        assert_eq!(ada.get(&server.flow(&known).target()).await.status, 303);
        let kept = server.app.store.client(&known.parse().unwrap()).await.unwrap().unwrap();
        assert!(kept.fetched_at > read_at && kept.failed_at.is_none());
    }

    async fn y_01_keys_that_we_have_no_time_to_ask_for_serve_on(database) {
        let server = TestApp::with(database, &ONE_PLACE).await;
        let signer = Signer::new(Some("1"));
        let members = json!({ "token_endpoint_auth_method": "private_key_jwt", "jwks_uri": server.site.url("/jwks") });
        let client = server.site.publish("/c.json", members);
        let answer = crate::support::Answer::json(signer.jwks().to_string());
        server.site.answer("/jwks", answer);
        let asker = Asker::SignedIn([192, 0, 2, 1].into());
        let id = client.parse().unwrap();
        server.app.clients.client(&id, Need::Fetch(asker), server.app.clock.now()).await.unwrap();
        let redeem = async |signer: &Signer| {
            let assertion = signer.assertion(&client, server.app.clock.now());
            let fields = [
                ("grant_type", "authorization_code"),
                ("code", "no code"),
                ("client_assertion_type", ASSERTION_TYPE),
                ("client_assertion", &assertion),
            ];
            server.browser().post("/token", &fields).await.json()["error"].clone()
        };
        assert_eq!(redeem(&signer).await, "invalid_grant", "it has proven itself");
        // The document is fresh, its keys are not.
        server.app.clock.advance(400);
        let slow = server.site.publish("/slow.json", json!({})).parse().unwrap();
        let asked = server.site.requests().len();

        let tar_pit = server.site.hold().await;
        let (clients, now) = (server.app.clients.clone(), server.app.clock.now());
        let first = tokio::spawn(async move { clients.client(&slow, Need::Fetch(asker), now).await.map(drop) });
        until_asked(&server, asked + 1).await;
        for _ in 0..3 {
            assert_eq!(redeem(&signer).await, "invalid_grant");
        }
        // A key that is unknown may be new: we did not look.
        assert_eq!(redeem(&Signer::new(Some("2"))).await, "temporarily_unavailable");

        drop(tar_pit);
        first.await.unwrap().unwrap();
        assert_eq!(redeem(&signer).await, "invalid_grant");
        until_asked(&server, asked + 2).await;
        assert!(server.site.requests().last().unwrap().contains("/jwks"));
    }

    async fn y_06_a_56_that_guesses_passwords_is_shut_out_and_others_sign_in(database) {
        let server = TestApp::with(database, &LIMITS).await;
        let guess = async |n: u32| {
            let mut browser = at(&server, &format!("2001:db8:0:{:x}::1", n % 100));
            sign_in(&mut browser, &format!("name{n}"), "wrong").await.status.as_u16()
        };
        let mut wrong = 0;
        for n in 0..600 {
            wrong += u32::from(guess(n).await == 422);
        }
        assert_eq!(wrong, 40, "four times those of a /64, in a minute");
        server.app.clock.advance(60);
        for n in 600..1_200 {
            wrong += u32::from(guess(n).await == 422);
        }
        assert_eq!(wrong, 60, "then it is shut out");
        server.app.clock.advance(3_600);
        let page = sign_in(&mut at(&server, "2001:db8:0:ff::1"), "ada", PASSWORD).await;
        assert_eq!(page.status, 429);
        for address in ["2001:db8:0:100::1", "2001:db8:1::1", "192.0.2.1"] {
            for name in ["ada", "grace"] {
                let page = sign_in(&mut at(&server, address), name, PASSWORD).await;
                assert_eq!(page.status, 303, "{address} {name}: {}", page.body);
            }
        }
    }

    async fn y_20_people_who_guess_user_codes_keep_no_device_of_others_from_signing_in(database) {
        let server = TestApp::with(database, &LIMITS).await;
        let members = json!({
            "redirect_uris": null,
            "grant_types": ["urn:ietf:params:oauth:grant-type:device_code", "refresh_token"],
        });
        let client = server.site.publish("/tv.json", members);
        server.rule(&client, wayleave::policy::client_rules::Tier::Listed).await;
        let enter = async |browser: &mut Browser, code: &str| {
            let form = browser.get("/device").await;
            browser.submit(&form, &[("user_code", code)]).await.status.as_u16()
        };
        let mut guessers = Vec::new();
        for n in 0..4 {
            let name = format!("guesser{n}");
            let added = server.app.accounts.add(
                name.parse().unwrap(),
                Password::chosen(PASSWORD).unwrap(),
                Description::default(),
                server.app.clock.now(),
            );
            added.await.unwrap().unwrap();
            let mut browser = at(&server, &format!("192.0.2.{n}"));
            assert_eq!(sign_in(&mut browser, &name, PASSWORD).await.status, 303);
            guessers.push(browser);
        }
        let mut wrong = 0;
        for _ in 0..5 {
            for browser in &mut guessers {
                for _ in 0..6 {
                    wrong += u32::from(enter(browser, "BBBB-BBBB").await == 422);
                }
            }
            server.app.clock.advance(600);
        }
        assert_eq!(wrong, 60, "all of an hour");
        let page = server.browser().post("/device_authorization", &[("client_id", &client)]).await;
        let device = page.json()["user_code"].as_str().unwrap_or_else(|| panic!("{}", page.body)).to_owned();
        assert_eq!(enter(&mut guessers[0], &device).await, 429);
        let mut grace = at(&server, "198.51.100.1");
        assert_eq!(sign_in(&mut grace, "grace", PASSWORD).await.status, 303);
        // People mistype.
        for _ in 0..2 {
            assert_eq!(enter(&mut grace, "CCCC-CCCC").await, 422);
        }
        assert_eq!(enter(&mut grace, &device).await, 303);
    }

    async fn y_01_devices_and_pushed_requests_are_counted_by_wider_networks_too(database) {
        let server = TestApp::with(database, &LIMITS).await;
        let client = server.site.publish("/c.json", json!({}));
        let mut pushed = 0;
        for n in 0..100 {
            let page = push(&server, &format!("2001:db8:0:{n:x}::1"), &client).await;
            pushed += u32::from(page.status == 201);
        }
        assert_eq!(pushed, 40);
        assert_eq!(push(&server, "2001:db8:0:100::1", &client).await.status, 201);
    }
}
