//! Devices that wait for a person: rows V-01 to V-14. RFC 8628, RFC 10027.

use std::collections::BTreeSet;

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderMap, Request, header};
use serde_json::{Value, json};
use wayleave::{
    clients::{Attempt, LookUp},
    grants,
    policy::client_rules::{Rule, Tier},
    protocol::{client::Digest, client_metadata::AuthMethod, params::Params, user_code::UserCode},
    secret::{DeviceCode, Secret, Session},
    store::{Description, DeviceAnswer, NewDevice, Respondent},
};

use crate::support::{
    Answer, Browser, Database, Page, TestApp,
    app::{NOTES, PASSWORD, claims},
    on_both,
};

const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";
/// RFC 8628 §3.2's own example.
const RFC_USER_CODE: &str = "WDJB-MJHT";
const SECRET: &str = "a secret of the television, long enough";

/// Publishes a device's document, which a rule lists.
async fn listed(server: &TestApp, path: &str) -> String {
    let client = publish(server, path);
    server.rule(&client, Tier::Listed).await;
    client
}

fn publish(server: &TestApp, path: &str) -> String {
    let members = json!({ "redirect_uris": null, "grant_types": [GRANT, "refresh_token"] });
    server.site.publish(path, members)
}

async fn start(server: &TestApp, client: &str) -> Value {
    let page = ask(server, client, &[]).await;
    assert_eq!(page.status, 200, "{}", page.body);
    page.json()
}

async fn ask(server: &TestApp, client: &str, more: &[(&str, &str)]) -> Page {
    let fields: Vec<_> = [("client_id", client)]
        .iter()
        .chain(more)
        .copied()
        .collect();
    server
        .browser()
        .post("/device_authorization", &fields)
        .await
}

/// A device asks for its tokens.
async fn poll(server: &TestApp, client: &str, device: &Value) -> Page {
    let code = device["device_code"].as_str().unwrap();
    let fields = [
        ("grant_type", GRANT),
        ("device_code", code),
        ("client_id", client),
    ];
    server.token(&fields).await
}

/// What it is told.
async fn told(server: &TestApp, client: &str, device: &Value) -> (u16, String) {
    let page = poll(server, client, device).await;
    let error = page.json()["error"].as_str().unwrap_or("tokens").to_owned();
    (page.status.as_u16(), error)
}

fn error(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

/// Types a code; the page that this leads to.
async fn enter(browser: &mut Browser, code: &str) -> Page {
    let form = browser.get("/device").await;
    let page = browser.submit(&form, &[("user_code", code)]).await;
    browser.follow(page).await
}

async fn open(browser: &mut Browser, device: &Value) -> Page {
    enter(browser, device["user_code"].as_str().unwrap()).await
}

async fn decide(browser: &mut Browser, device: &Value, decision: &str) -> Page {
    let page = open(browser, device).await;
    assert_eq!(page.status, 200, "{}", page.body);
    let page = browser.submit(&page, &[("decision", decision)]).await;
    browser.follow(page).await
}

/// A browser in which `name` is signed in; the account is made if there is none.
async fn person(server: &TestApp, name: &str) -> Browser {
    let password = wayleave::accounts::Password::chosen(PASSWORD).unwrap();
    let now = server.app.clock.now();
    _ = server
        .app
        .accounts
        .add(name.parse().unwrap(), password, Description::default(), now)
        .await;
    let mut browser = server.browser();
    let page = browser.get("/login").await;
    let page = browser
        .submit(&page, &[("username", name), ("password", PASSWORD)])
        .await;
    assert_eq!(page.status, 303, "{}", page.body);
    browser
}

/// A row as a test needs it.
fn row(server: &TestApp, secret: &Secret<DeviceCode>) -> NewDevice {
    let now = server.app.clock.now();
    NewDevice {
        hash: secret.hash(),
        client_id: server.site.url("/tv.json").parse().unwrap(),
        digest: Digest::of(b"document"),
        fetched_at: now,
        scope: "".parse().unwrap(),
        resources: "".parse().unwrap(),
        may_refresh: false,
        auth_method: AuthMethod::None,
        jkt: None,
        needs_dpop: false,
        source: "192.0.2.1".to_owned(),
        created_at: now,
        expires_at: now + 600,
        wait: 5,
    }
}

fn once(code: &str) -> impl Iterator<Item = UserCode> + Send + 'static {
    std::iter::once(code.parse().unwrap())
}

on_both! {
    /// The whole way, and the answers of RFC 8628 §3.2 and §3.5.
    async fn a_device_is_signed_in_by_a_person_elsewhere(database) {
        let server = TestApp::new(database).await;
        let client = listed(&server, "/tv.json").await;
        let page = ask(&server, &client, &[("scope", "notes.read"), ("resource", "https://notes.example.com/mcp")]).await;
        assert_eq!((page.status.as_u16(), page.header("cache-control")), (200, "no-store"), "{}", page.body);
        assert_eq!(page.header("content-type"), "application/json");
        let device = page.json();
        let user_code = device["user_code"].as_str().unwrap();
        assert_eq!(device["verification_uri"], "http://127.0.0.1:8080/device");
        assert_eq!(device["verification_uri_complete"], format!("http://127.0.0.1:8080/device?user_code={user_code}"));
        assert_eq!((&device["expires_in"], &device["interval"]), (&json!(600), &json!(5)));

        assert_eq!(told(&server, &client, &device).await, error(400, "authorization_pending"));
        let page = decide(&mut server.signed_in().await, &device, "allow").await;
        assert_eq!((page.status.as_u16(), page.text("h1").as_str()), (200, "You can return to your device"));
        assert!(page.text("main").contains("You allowed it."));

        let tokens = poll(&server, &client, &device).await.json();
        assert_eq!((&tokens["token_type"], &tokens["expires_in"], &tokens["scope"]), (&json!("Bearer"), &json!(600), &json!("notes.read")), "{tokens}");
        let claims = claims(tokens["access_token"].as_str().unwrap());
        assert_eq!((claims["aud"].as_str(), claims["client_id"].as_str()), (Some("https://notes.example.com/mcp"), Some(client.as_str())));
        assert_eq!(claims["auth_time"], server.app.clock.now().0);
        let refreshed = server.refresh(&client, tokens["refresh_token"].as_str().unwrap()).await;
        assert_eq!(refreshed.status, 200);
    }

    async fn v_01_a_code_is_accepted_however_it_is_typed(database) {
        let server = TestApp::new(database).await;
        let client = listed(&server, "/tv.json").await;
        let mut browser = server.signed_in().await;
        let ways: [fn(&str) -> String; 4] = [
            str::to_lowercase,
            |code| code.replace('-', ""),
            |code| format!("  {} ", code.replace('-', " ")),
            |code| code.chars().map(|c| char::from_u32(u32::from(c) + 0xfee0).unwrap()).collect(),
        ];
        for way in ways {
            let device = start(&server, &client).await;
            let page = enter(&mut browser, &way(device["user_code"].as_str().unwrap())).await;
            assert_eq!(page.text(".compare .code"), device["user_code"].as_str().unwrap());
        }
        for typed in ["WDJ0-MJHT", "ADJB-MJHT", "WDJB-MJH", ""] {
            assert_eq!(enter(&mut browser, typed).await.status, 422, "{typed}");
        }
    }

    async fn v_03_every_code_that_does_not_lead_on_is_told_alike(database) {
        let server = TestApp::new(database).await;
        let client = listed(&server, "/tv.json").await;
        let mut browser = server.signed_in().await;
        let [expired, denied, used, claimed] = [start(&server, &client).await, start(&server, &client).await, start(&server, &client).await, start(&server, &client).await];
        server.app.clock.advance(300);
        let (later, refused) = (start(&server, &client).await, start(&server, &client).await);
        decide(&mut browser, &denied, "deny").await;
        decide(&mut browser, &used, "allow").await;
        assert_eq!(poll(&server, &client, &used).await.status, 200);
        open(&mut person(&server, "grace").await, &claimed).await;
        let answers = async |browser: &mut Browser, codes: &[&Value]| {
            let mut told = BTreeSet::new();
            for code in codes {
                let code = code["user_code"].as_str().unwrap();
                let page = enter(browser, code).await;
                told.insert((page.status.as_u16(), page.body.replace(code, "CODE")));
                let page = browser.get(&format!("/device/confirm?user_code={code}")).await;
                told.insert((page.status.as_u16(), page.body.replace(code, "CODE")));
            }
            told
        };
        let unknown = json!({ "user_code": RFC_USER_CODE });
        let mut all = answers(&mut browser, &[&denied, &used, &claimed, &unknown]).await;
        server.app.clock.advance(300);
        all.extend(answers(&mut browser, &[&expired]).await);
        assert_eq!(all.len(), 1, "{all:#?}");
        let (status, body) = all.first().unwrap();
        assert!(*status == 422 && body.contains("This code is not valid."), "{body}");
        // A question that was put is no longer answered when its time is over.
        let question = open(&mut browser, &later).await;
        server.app.clock.advance(301);
        let late = browser.submit(&question, &[("decision", "allow")]).await;
        assert_eq!(late.status, 422);
        assert_eq!(told(&server, &client, &refused).await, error(400, "expired_token"));
    }

    async fn v_04_a_device_that_asks_too_often_is_slowed_down_for_good(database) {
        let server = TestApp::new(database).await;
        let client = listed(&server, "/tv.json").await;
        let device = start(&server, &client).await;
        // Seconds passed, and what it is told.
        let table = [
            (0, "authorization_pending"),
            (5, "authorization_pending"),
            (4, "slow_down"),
            (9, "slow_down"),
            (14, "slow_down"),
            (20, "authorization_pending"),
            (19, "slow_down"),
            (25, "authorization_pending"),
        ];
        for (seconds, expected) in table {
            server.app.clock.advance(seconds);
            assert_eq!(told(&server, &client, &device).await, error(400, expected), "{seconds}");
        }
        for _ in 0..20 {
            assert_eq!(told(&server, &client, &device).await, error(400, "slow_down"));
        }
        // Who does not listen waits a minute, and no longer.
        server.app.clock.advance(60);
        assert_eq!(told(&server, &client, &device).await, error(400, "authorization_pending"));
        // The answer of the person does not wait.
        decide(&mut server.signed_in().await, &device, "allow").await;
        assert_eq!(told(&server, &client, &device).await, error(200, "tokens"));
    }

    async fn v_04_fifty_polls_at_once_give_one_success(database) {
        let server = TestApp::new(database).await;
        let client = listed(&server, "/tv.json").await;
        let device = start(&server, &client).await;
        let pending = futures_util::future::join_all((0..50).map(|_| told(&server, &client, &device))).await;
        assert_eq!(pending.iter().filter(|told| **told == error(400, "authorization_pending")).count(), 1, "{pending:?}");
        assert_eq!(pending.iter().filter(|told| **told == error(400, "slow_down")).count(), 49);
        decide(&mut server.signed_in().await, &device, "allow").await;
        let all = futures_util::future::join_all((0..50).map(|_| poll(&server, &client, &device))).await;
        let (granted, others): (Vec<_>, Vec<_>) = all.iter().partition(|page| page.status == 200);
        assert_eq!(granted.len(), 1);
        assert!(others.iter().all(|page| page.status == 400 && page.json()["error"] == "invalid_grant"));
        let token = granted[0].json()["refresh_token"].as_str().unwrap().to_owned();
        assert_eq!(server.refresh(&client, &token).await.status, 200);
    }

    async fn v_04_every_end_of_a_device_has_its_error(database) {
        let server = TestApp::new(database).await;
        let client = listed(&server, "/tv.json").await;
        let other = listed(&server, "/radio.json").await;
        let mut browser = server.signed_in().await;
        let [used, denied, late, foreign] = [start(&server, &client).await, start(&server, &client).await, start(&server, &client).await, start(&server, &client).await];
        decide(&mut browser, &used, "allow").await;
        assert_eq!(told(&server, &client, &used).await, error(200, "tokens"));
        assert_eq!(told(&server, &client, &used).await, error(400, "invalid_grant"));
        let page = decide(&mut browser, &denied, "deny").await;
        assert!(page.text("main").contains("The device gets nothing."), "{}", page.body);
        for _ in 0..2 {
            assert_eq!(told(&server, &client, &denied).await, error(400, "access_denied"));
        }
        assert_eq!(told(&server, &other, &foreign).await, error(400, "invalid_grant"));
        assert_eq!(told(&server, &client, &json!({ "device_code": "wl_dc_unknown" })).await, error(400, "invalid_grant"));
        let unknown = json!({ "device_code": Secret::<DeviceCode>::generate().expose() });
        assert_eq!(told(&server, &client, &unknown).await, error(400, "invalid_grant"));
        let page = server.token(&[("grant_type", GRANT), ("client_id", &client)]).await;
        assert_eq!(page.json()["error"], "invalid_request");
        let page = server.token(&[("grant_type", GRANT), ("device_code", late["device_code"].as_str().unwrap())]).await;
        assert_eq!((page.status.as_u16(), &page.json()["error"]), (401, &json!("invalid_client")));
        server.app.clock.advance(600);
        assert_eq!(told(&server, &client, &late).await, error(400, "expired_token"));
    }

    async fn v_06_the_first_person_who_opens_a_code_has_it(database) {
        let server = TestApp::new(database).await;
        let client = listed(&server, "/tv.json").await;
        let device = start(&server, &client).await;
        let (mut first, mut second) = (person(&server, "ada").await, person(&server, "grace").await);
        let question = open(&mut first, &device).await;
        assert_eq!(question.status, 200);
        assert_eq!(open(&mut second, &device).await.status, 422);
        // The same person in another browser is another, too.
        assert_eq!(open(&mut person(&server, "ada").await, &device).await.status, 422);
        // A form made for the first serves nobody else.
        let mut fields = question.form().1;
        fields.insert("decision".to_owned(), "allow".to_owned());
        let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(second.post("/device/confirm", &fields).await.status, 422);
        assert_eq!(told(&server, &client, &device).await, error(400, "authorization_pending"));
        assert_eq!(open(&mut first, &device).await.status, 200, "it is still the first one's");

        let device = start(&server, &client).await;
        let code = device["user_code"].as_str().unwrap();
        let now = server.app.clock.now();
        let claims = (0..50).map(|n| {
            let asked = Respondent { browser: Secret::generate().hash(), subject: format!("person {n}") };
            server.app.store.claim_device(code.parse().unwrap(), asked, now)
        });
        let claims = futures_util::future::join_all(claims).await;
        assert_eq!(claims.iter().filter(|claim| *claim.as_ref().unwrap()).count(), 1);
    }

    async fn v_06_somebody_else_in_the_same_browser_does_not_answer(database) {
        let server = TestApp::new(database).await;
        let client = listed(&server, "/tv.json").await;
        let device = start(&server, &client).await;
        let mut browser = person(&server, "ada").await;
        let question = open(&mut browser, &device).await;
        let grace = browser.get("/login").await;
        browser.submit(&grace, &[("username", "grace"), ("password", PASSWORD)]).await;
        let code = device["user_code"].as_str().unwrap();
        assert_eq!(browser.get(&format!("/device/confirm?user_code={code}")).await.status, 422);
        assert_eq!(browser.submit(&question, &[("decision", "allow")]).await.status, 422);
        assert_eq!(told(&server, &client, &device).await, error(400, "authorization_pending"));
    }

    async fn v_07_the_rules_of_the_moment_count_at_every_step(database) {
        let server = TestApp::new(database).await;
        let client = listed(&server, "/tv.json").await;
        let mut browser = server.signed_in().await;
        let put = async |tier, grants: Option<Vec<_>>, scopes: Option<Vec<String>>| {
            let rule = Rule { grants, scopes, ..Rule::new(client.parse().unwrap(), tier) };
            server.app.store.put_client_rule(rule, server.app.clock.now()).await.unwrap();
        };
        let [asked, opened, allowed, narrowed] = [start(&server, &client).await, start(&server, &client).await, start(&server, &client).await, start(&server, &client).await];
        let question = open(&mut browser, &opened).await;
        decide(&mut browser, &allowed, "allow").await;
        // A rule that this process has not noticed yet: the answer is judged again, by it.
        put(Tier::Unknown, None, None).await;
        let page = browser.submit(&question, &[("decision", "allow")]).await;
        let page = browser.follow(page).await;
        assert_eq!(page.status, 400, "{}", page.body);
        assert!(page.body.contains("signs in devices only where a rule"), "{}", page.body);
        assert_eq!(open(&mut browser, &asked).await.status, 400);
        assert_eq!(told(&server, &client, &allowed).await, error(400, "unauthorized_client"));

        put(Tier::Listed, None, Some(vec!["notes.read".to_owned()])).await;
        server.app.clients.notice_changes().await.unwrap();
        let question = open(&mut browser, &narrowed).await;
        assert!(question.body.contains("Read your notes") && !question.body.contains("Change your notes"), "{}", question.body);
        browser.submit(&question, &[("decision", "allow")]).await;
        assert_eq!(poll(&server, &client, &narrowed).await.json()["scope"], "notes.read");

        // Blocking ends what waits, whether it was allowed or not.
        put(Tier::Blocked, None, None).await;
        server.app.clients.notice_changes().await.unwrap();
        assert_eq!(told(&server, &client, &allowed).await, error(401, "invalid_client"));
        put(Tier::Listed, None, None).await;
        server.app.clients.notice_changes().await.unwrap();
        for ended in [&allowed, &asked] {
            assert_eq!(told(&server, &client, ended).await, error(400, "access_denied"));
        }
    }

    async fn v_07_an_account_that_is_disabled_gives_nothing(database) {
        let server = TestApp::new(database).await;
        let client = listed(&server, "/tv.json").await;
        let device = start(&server, &client).await;
        let mut browser = server.signed_in().await;
        decide(&mut browser, &device, "allow").await;
        server.app.store.disable_account("ada".to_owned(), server.app.clock.now()).await.unwrap().unwrap();
        // `invalid_grant` until accounts could be enabled again: what was allowed is denied for good.
        assert_eq!(told(&server, &client, &device).await, error(400, "access_denied"));
        assert!(server.app.store.enable_account("ada".to_owned()).await.unwrap());
        assert_eq!(told(&server, &client, &device).await, error(400, "access_denied"));
        let device = start(&server, &client).await;
        let page = open_signed_out(&mut browser, &device).await;
        assert!(page.location().unwrap().starts_with("/login?to=device&user_code="), "{:?}", page.headers);
    }

    async fn v_08_a_code_serves_only_the_client_that_was_shown(database) {
        let server = TestApp::new(database).await;
        let (client, other) = (listed(&server, "/tv.json").await, listed(&server, "/radio.json").await);
        let device = start(&server, &client).await;
        let page = decide(&mut server.signed_in().await, &device, "allow").await;
        assert_eq!(page.status, 200);
        assert_eq!(told(&server, &other, &device).await, error(400, "invalid_grant"));
        let tokens = poll(&server, &client, &device).await.json();
        assert_eq!(claims(tokens["access_token"].as_str().unwrap())["client_id"], client.as_str());
    }

    async fn v_09_a_new_client_is_read_at_once_and_kept_only_when_valid(database) {
        let server = TestApp::new(database).await;
        server.rule(&server.site.url("/*"), Tier::Listed).await;
        let bad = server.site.publish("/bad.json", json!({ "client_secret": "x", "grant_types": [GRANT] }));
        let page = ask(&server, &bad, &[]).await;
        assert_eq!((page.status.as_u16(), &page.json()["error"]), (401, &json!("invalid_client")));
        assert_eq!(server.site.requests().len(), 1);
        assert!(server.app.store.clients(server.app.clock.now(), 10).await.unwrap().is_empty());

        let client = publish(&server, "/tv.json");
        let device = start(&server, &client).await;
        assert_eq!(server.site.requests().len(), 2);
        // No poll and no page reads it again, however old it is.
        server.app.clock.advance(595);
        for _ in 0..5 {
            told(&server, &client, &device).await;
        }
        decide(&mut server.signed_in().await, &device, "allow").await;
        assert_eq!(told(&server, &client, &device).await, error(200, "tokens"));
        assert_eq!(server.site.requests().len(), 2);
    }

    async fn v_10_ten_thousand_devices_may_wait_and_expired_ones_go(database) {
        let server = TestApp::with(database, &[("WAYLEAVE_LIMITS__SCALE", "1")]).await;
        let client = listed(&server, "/tv.json").await;
        let now = server.app.clock.now().0;
        let fill = format!(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9999) \
             INSERT INTO device_codes (hash, user_code, grant_id, client_id, digest, fetched_at, scope, resources, may_refresh, \
             auth_method, needs_dpop, source, created_at, expires_at, wait) \
             SELECT 'hash ' || i, 'code ' || i, 'grant', '{client}', 'digest', 0, '', '', FALSE, 'none', FALSE, '', {now}, {now} + 600, 5 FROM n"
        );
        server.app.store.execute_raw(fill).await.unwrap();
        let last = start(&server, &client).await;
        let page = ask(&server, &client, &[]).await;
        assert_eq!((page.status.as_u16(), &page.json()["error"], page.header("retry-after")), (503, &json!("temporarily_unavailable"), "60"));
        // Who was answered waits no more.
        decide(&mut server.signed_in().await, &last, "deny").await;
        server.app.clock.advance(5);
        start(&server, &client).await;
        server.app.clock.advance(600);
        start(&server, &client).await;
        // The sweeper comes every 30 s.
        server.app.clock.advance(31);
        let mut gone = 0;
        loop {
            let (deleted, more) = server.app.store.sweep(900, server.app.clock.now()).await.unwrap();
            gone += deleted;
            if !more {
                break;
            }
        }
        assert!(gone >= 10_001, "{gone}");
        assert_eq!(told(&server, &client, &last).await, error(400, "invalid_grant"));
    }

    async fn v_11_a_device_that_began_with_a_key_goes_on_with_it(database) {
        let server = TestApp::new(database).await;
        let client = listed(&server, "/tv.json").await;
        start(&server, &client).await;
        // Rows as the endpoint writes them for a request with a proof.
        let secret = Secret::<DeviceCode>::generate();
        let now = server.app.clock.now();
        let bound = NewDevice { jkt: Some("key".to_owned()), ..row(&server, &secret) };
        let code = server.app.store.insert_device(bound, once(RFC_USER_CODE)).await.unwrap();
        let asked = Respondent { browser: Secret::generate().hash(), subject: ada(&server).await };
        assert!(server.app.store.claim_device(code.clone(), asked.clone(), now).await.unwrap());
        let redeem = async |jkt: Option<&str>| {
            let body = format!("grant_type={GRANT}&device_code={}&client_id={client}", secret.expose());
            let params = Params::parse(body.as_bytes()).unwrap();
            let attempt = Attempt {
                issuer: &server.app.config.issuer,
                endpoint: "/token",
                params: &params,
                headers: &HeaderMap::new(),
                source: "192.0.2.1".parse().unwrap(),
                look_up: LookUp::Never,
                now,
                once: None,
            };
            let client = server.app.clients.authenticate(attempt).await.unwrap();
            let request = grants::Request { app: &server.app, client: &client, params: &params, jkt, now };
            grants::redeem(request).await.map_err(|error| error.code.as_str())
        };
        assert_eq!(redeem(None).await.unwrap_err(), "invalid_dpop_proof");
        assert_eq!(redeem(Some("another")).await.unwrap_err(), "invalid_grant");
        assert_eq!(redeem(Some("key")).await.unwrap_err(), "authorization_pending", "what others ask slows nobody down");
        let revision = server.app.clients.rules().revision();
        let (session, ada) = (Secret::<Session>::generate().hash(), server.app.store.account("ada").await.unwrap().unwrap());
        assert!(server.app.store.start_session(session.clone(), ada, now, (now + 60, now + 60), None).await.unwrap());
        let allow = DeviceAnswer::Allow { signed_in_at: now, sid: "sid".to_owned(), session, revision };
        assert!(server.app.store.decide_device(code, asked, allow, now).await.unwrap());
        assert_eq!(redeem(None).await.unwrap_err(), "invalid_dpop_proof");
        assert_eq!(redeem(Some("another")).await.unwrap_err(), "invalid_grant");
        let tokens = redeem(Some("key")).await.unwrap();
        assert_eq!((tokens.token_type, &claims(&tokens.access_token)["cnf"]["jkt"]), ("DPoP", &json!("key")));
    }

    async fn v_13_an_answer_outlives_a_crash_and_tokens_are_issued_once(database) {
        let server = TestApp::new(database).await;
        let client = listed(&server, "/tv.json").await;
        let device = start(&server, &client).await;
        decide(&mut server.signed_in().await, &device, "allow").await;
        let fields = [("grant_type", GRANT), ("device_code", device["device_code"].as_str().unwrap()), ("client_id", client.as_str())];
        // Another process on the same database.
        let after = server.restart().await;
        let tokens = after.browser().post("/token", &fields).await;
        assert_eq!(tokens.status, 200, "{}", tokens.body);
        // The answer was lost: there is no second one.
        assert_eq!(told(&server, &client, &device).await, error(400, "invalid_grant"));
        let again = server.restart().await;
        let page = again.browser().post("/token", &fields).await;
        assert_eq!(page.json()["error"], "invalid_grant");

        // A caller that goes away leaves the device allowed or the grant written, never half of it.
        let device = start(&server, &client).await;
        decide(&mut server.signed_in().await, &device, "allow").await;
        _ = tokio::time::timeout(std::time::Duration::from_micros(500), poll(&server, &client, &device)).await;
        let mut successes = 0;
        for _ in 0..3 {
            successes += u32::from(told(&server, &client, &device).await.0 == 200);
        }
        assert!(successes <= 1);
    }

    async fn v_14_user_codes_are_unique_and_device_codes_are_kept_as_hashes(database) {
        let server = TestApp::new(database).await;
        let client = listed(&server, "/tv.json").await;
        // All begin with the same codes: each takes the first that is free.
        let codes: Vec<UserCode> = std::iter::repeat_with(UserCode::generate).take(20).collect();
        let insert = (0..20).map(|_| {
            let new = row(&server, &Secret::generate());
            server.app.store.insert_device(new, codes.clone().into_iter())
        });
        let kept = futures_util::future::join_all(insert).await;
        let kept: BTreeSet<String> = kept.into_iter().map(|code| code.unwrap().to_string()).collect();
        assert_eq!(kept, codes.iter().map(ToString::to_string).collect());
        let taken = server.app.store.insert_device(row(&server, &Secret::generate()), codes.into_iter()).await;
        assert!(taken.is_err());

        let device = start(&server, &client).await;
        let code = device["device_code"].as_str().unwrap();
        assert_eq!(code.strip_prefix("wl_dc_").unwrap().len(), 43, "256 bits");
        server.app.store.close().await;
        if let Some(path) = server.app.config.database.url.to_string().strip_prefix("sqlite:") {
            for file in [path.to_owned(), format!("{path}-wal")] {
                let bytes = std::fs::read(&file).unwrap_or_default();
                assert!(!bytes.windows(43).any(|window| window == &code.as_bytes()[6..]), "{file}");
            }
        }
    }
}

async fn ada(server: &TestApp) -> String {
    let account = server.app.store.account("ada").await.unwrap().unwrap();
    account.subject
}

async fn open_signed_out(browser: &mut Browser, device: &Value) -> Page {
    let code = device["user_code"].as_str().unwrap();
    browser.get(&format!("/device?user_code={code}")).await
}

#[tokio::test]
async fn v_02_five_wrong_codes_are_enough() {
    let scale = [("WAYLEAVE_LIMITS__SCALE", "1")];
    let server = TestApp::with(Database::sqlite(), &scale).await;
    let client = listed(&server, "/tv.json").await;
    let device = start(&server, &client).await;
    let mut browser = server.signed_in().await;
    // What cannot be a code is no guess, and a right code is none either.
    for typed in ["WDJ", "0", "WDJB-MJHTT"] {
        assert_eq!(enter(&mut browser, typed).await.status, 422);
    }
    for _ in 0..7 {
        assert_eq!(open(&mut browser, &device).await.status, 200);
    }
    for wrong in [
        "BBBB-BBBB",
        "CCCC-CCCC",
        "DDDD-DDDD",
        "FFFF-FFFF",
        "GGGG-GGGG",
    ] {
        assert_eq!(enter(&mut browser, wrong).await.status, 422, "{wrong}");
    }
    let sixth = enter(&mut browser, "HHHH-HHHH").await;
    assert_eq!(
        (sixth.status.as_u16(), sixth.header("retry-after")),
        (429, "601")
    );
    // Right codes wait, too, and so does everybody else in this network.
    let right = start(&server, &client).await;
    assert_eq!(open(&mut browser, &right).await.status, 429);
    let mut other = person(&server, "grace").await;
    assert_eq!(open(&mut other, &right).await.status, 429);
    server.app.clock.advance(600);
    let right = start(&server, &client).await;
    assert_eq!(open(&mut other, &right).await.status, 200);
}

#[tokio::test]
async fn v_02_a_person_is_limited_in_every_network() {
    let variables = [
        ("WAYLEAVE_LIMITS__SCALE", "1"),
        ("WAYLEAVE_SERVER__TRUSTED_PROXIES", "['127.0.0.1/32']"),
    ];
    let server = TestApp::with(Database::sqlite(), &variables).await;
    let mut browser = server.signed_in().await;
    for n in 0..6 {
        let form = browser.get("/device").await;
        let (_, fields) = form.form();
        let body = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("csrf", &fields["csrf"])
            .append_pair("user_code", RFC_USER_CODE)
            .finish();
        let request = Request::post("/device")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::ORIGIN, &browser.origin)
            .header("sec-fetch-site", "same-origin")
            .header("x-forwarded-for", format!("198.51.100.{n}"))
            .body(body.into())
            .unwrap();
        let expected = if n < 5 { 422 } else { 429 };
        assert_eq!(browser.send(request).await.status, expected, "{n}");
    }
}

#[tokio::test]
async fn v_05_nothing_is_answered_but_by_a_form_that_shows_what_is_asked() {
    let server = TestApp::new(Database::sqlite()).await;
    let client = listed(&server, "/tv.json").await;
    // Also a client of our own is asked for.
    server.rule(&client, Tier::FirstParty).await;
    let device = start(&server, &client).await;
    let code = device["user_code"].as_str().unwrap();
    let link = device["verification_uri_complete"].as_str().unwrap();

    // Whoever is not signed in comes back to the code afterwards.
    let mut browser = server.browser();
    let login = browser.open(link).await;
    assert_eq!(login.text("h1"), "Sign in");
    let back = browser
        .submit(&login, &[("username", "ada"), ("password", PASSWORD)])
        .await;
    assert_eq!(
        back.location(),
        Some(format!("/device?user_code={code}").as_str())
    );
    let form = browser.follow(back).await;
    assert_eq!(form.form().1["user_code"], code);
    // Looking opens nothing and answers nothing: somebody else may still open it.
    let mut grace = person(&server, "grace").await;
    for target in [
        "/device?user_code=CODE",
        "/device?user_code=CODE&decision=allow",
        "/device/confirm?user_code=CODE&decision=allow",
        "/device/done?user_code=CODE",
    ] {
        let looked_at = start(&server, &client).await;
        let code = looked_at["user_code"].as_str().unwrap();
        browser.get(&target.replace("CODE", code)).await;
        assert_eq!(open(&mut grace, &looked_at).await.status, 200, "{target}");
        let waiting = error(400, "authorization_pending");
        assert_eq!(told(&server, &client, &looked_at).await, waiting);
    }

    let question = browser.submit(&form, &[]).await;
    let question = browser.follow(question).await;
    assert_eq!(question.text("h1"), "app.example.com");
    assert_eq!(question.text(".compare .code"), code);
    for part in [
        "Read your notes",
        "127.0.0.1",
        "just now",
        "the network that you use now",
        "Only allow what you started yourself, on your own device",
        client.as_str(),
    ] {
        assert!(question.body.contains(part), "{part}: {}", question.body);
    }
    let before = |a: &str, b: &str| question.body.find(a).unwrap() < question.body.find(b).unwrap();
    assert!(before("id=\"asker\"", "class=\"compare\"") && before("class=\"compare\"", "<button"));

    let without = [("user_code", code), ("decision", "allow")];
    assert_eq!(browser.post("/device/confirm", &without).await.status, 403);
    assert_eq!(browser.post("/device", &without[..1]).await.status, 403);
    let of_another_form = [
        ("csrf", form.form().1["csrf"].clone()),
        ("user_code", code.to_owned()),
        ("decision", "allow".to_owned()),
    ];
    let fields: Vec<_> = of_another_form
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    assert_eq!(browser.post("/device/confirm", &fields).await.status, 403);
    assert_eq!(
        browser.submit(&question, &[]).await.status,
        400,
        "neither allow nor deny"
    );
    let page = told(&server, &client, &device).await;
    assert_eq!(page, error(400, "authorization_pending"));
    server.app.clock.advance(125);
    let question = browser
        .get(&format!("/device/confirm?user_code={code}"))
        .await;
    assert!(
        question.text(".age") == "2 minutes ago",
        "{}",
        question.body
    );
    let answer = browser.submit(&question, &[("decision", "allow")]).await;
    assert_eq!(answer.status, 303);
    // The next device is asked for again: no answer is remembered.
    let next = start(&server, &client).await;
    assert_eq!(
        open(&mut browser, &next).await.text("h1"),
        "app.example.com"
    );
}

#[tokio::test]
async fn v_10_a_network_starts_ten_devices_a_minute() {
    let scale = [("WAYLEAVE_LIMITS__SCALE", "1")];
    let server = TestApp::with(Database::sqlite(), &scale).await;
    let client = listed(&server, "/tv.json").await;
    for _ in 0..10 {
        start(&server, &client).await;
    }
    let page = ask(&server, &client, &[]).await;
    assert_eq!(
        (
            page.status.as_u16(),
            &page.json()["error"],
            page.header("retry-after")
        ),
        (503, &json!("temporarily_unavailable"), "7")
    );
    server.app.clock.advance(6);
    start(&server, &client).await;
}

#[tokio::test]
async fn v_12_devices_are_switched_off_for_strangers_for_one_client_and_for_all() {
    let server = TestApp::new(Database::sqlite()).await;
    let stranger = publish(&server, "/tv.json");
    let page = ask(&server, &stranger, &[]).await;
    assert_eq!(
        (page.status.as_u16(), &page.json()["error"]),
        (400, &json!("unauthorized_client"))
    );
    assert!(
        server.site.requests().is_empty(),
        "a stranger's host is not asked"
    );

    let one = listed(&server, "/radio.json").await;
    start(&server, &one).await;
    let rule = |grants: &[&str]| -> Rule {
        serde_json::from_value(json!({ "match": one, "tier": "unknown", "grants": grants }))
            .unwrap()
    };
    for (grants, expected) in [(&["authorization_code"][..], 400), (&[GRANT], 200)] {
        let now = server.app.clock.now();
        server
            .app
            .store
            .put_client_rule(rule(grants), now)
            .await
            .unwrap();
        server.app.clients.notice_changes().await.unwrap();
        assert_eq!(ask(&server, &one, &[]).await.status, expected, "{grants:?}");
    }
    let other = server.site.publish("/web.json", json!({}));
    server.rule(&other, Tier::Listed).await;
    let page = ask(&server, &other, &[]).await;
    assert_eq!(
        page.json()["error"],
        "unauthorized_client",
        "its document does not list the grant"
    );

    let off = TestApp::with(Database::sqlite(), &[("WAYLEAVE_POLICY__DEVICES", "false")]).await;
    let client = listed(&off, "/tv.json").await;
    assert_eq!(
        ask(&off, &client, &[]).await.json()["error"],
        "unauthorized_client"
    );
    let unknown = json!({ "device_code": Secret::<DeviceCode>::generate().expose() });
    assert_eq!(
        told(&off, &client, &unknown).await,
        error(400, "unsupported_grant_type")
    );
    assert_eq!(off.signed_in().await.get("/device").await.status, 404);
    let metadata = off
        .browser()
        .get("/.well-known/oauth-authorization-server")
        .await
        .json();
    assert!(metadata["device_authorization_endpoint"].is_null());
    assert!(
        !metadata["grant_types_supported"]
            .to_string()
            .contains("device_code")
    );
}

/// A client that authenticates needs no rule, has to go on doing so, and is not limited where it is known.
#[tokio::test]
async fn v_04_v_10_a_registered_device_authenticates_at_every_step() {
    let hash =
        wayleave::secret::SecretHash::<wayleave::secret::ClientSecret>::of_bytes(SECRET.as_bytes());
    let registered = format!(
        "[{{ client_id = 'television', client_secret_sha256 = '{}', grant_types = ['{GRANT}'], redirect_uris = [], \
         token_endpoint_auth_method = 'client_secret_basic' }}]",
        hash.as_str()
    );
    let variables = [
        ("WAYLEAVE_CLIENTS__REGISTERED", registered.as_str()),
        ("WAYLEAVE_LIMITS__SCALE", "1"),
        ("WAYLEAVE_RESOURCES", NOTES),
    ];
    let server = TestApp::with(Database::sqlite(), &variables).await;
    let send = async |path: &str, fields: &[(&str, &str)], secret: Option<&str>| {
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .finish();
        let mut request =
            Request::post(path).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        if let Some(secret) = secret {
            let secret =
                url::form_urlencoded::byte_serialize(secret.as_bytes()).collect::<String>();
            let credentials = BASE64_STANDARD.encode(format!("television:{secret}"));
            request = request.header(header::AUTHORIZATION, format!("Basic {credentials}"));
        }
        server
            .browser()
            .send(request.body(body.into()).unwrap())
            .await
    };
    let page = send(
        "/device_authorization",
        &[("client_id", "television")],
        None,
    )
    .await;
    assert_eq!(
        (page.status.as_u16(), &page.json()["error"]),
        (401, &json!("invalid_client"))
    );
    let page = send("/device_authorization", &[], Some("wrong")).await;
    assert_eq!(page.status, 401);
    assert!(page.header("www-authenticate").starts_with("Basic"));
    let mut device = json!(null);
    for _ in 0..12 {
        device = send("/device_authorization", &[], Some(SECRET))
            .await
            .json();
    }
    let code = device["device_code"].as_str().unwrap();
    let fields = [("grant_type", GRANT), ("device_code", code)];
    let public = [fields[0], fields[1], ("client_id", "television")];
    assert_eq!(send("/token", &public, None).await.status, 401);
    assert_eq!(
        send("/token", &fields, Some(SECRET)).await.json()["error"],
        "authorization_pending"
    );
    let page = decide(&mut server.signed_in().await, &device, "allow").await;
    assert_eq!(page.status, 200, "{}", page.body);
    assert_eq!(send("/token", &public, None).await.status, 401);
    let tokens = send("/token", &fields, Some(SECRET)).await;
    assert_eq!(tokens.status, 200, "{}", tokens.body);
    assert!(
        tokens.json()["refresh_token"].is_null(),
        "it is not registered for that"
    );
}

/// RFC 8628 §3.1, §3.2 and §3.4: the requests of its examples, to the letter.
#[tokio::test]
async fn the_examples_of_the_rfc_are_understood() {
    let registered = format!("[{{ client_id = '1406020730', grant_types = ['{GRANT}'] }}]");
    let resource = "[{ id = 'https://tv.example.com/', open = true, scopes = { example_scope = 'An example' } }]";
    let variables = [
        ("WAYLEAVE_CLIENTS__REGISTERED", registered.as_str()),
        ("WAYLEAVE_RESOURCES", resource),
    ];
    let server = TestApp::with(Database::sqlite(), &variables).await;
    let send = async |path: &str, body: &'static str| {
        let request = Request::post(path)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(body.into())
            .unwrap();
        server.browser().send(request).await
    };
    let page = send(
        "/device_authorization",
        "client_id=1406020730&scope=example_scope",
    )
    .await;
    assert_eq!(page.status, 200, "{}", page.body);
    let device = page.json();
    let members: Vec<&str> = device
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    let expected = [
        "device_code",
        "expires_in",
        "interval",
        "user_code",
        "verification_uri",
        "verification_uri_complete",
    ];
    assert_eq!(BTreeSet::from_iter(members), BTreeSet::from(expected));
    assert_eq!(
        told(&server, "1406020730", &device).await,
        error(400, "authorization_pending")
    );
    // A code that this server never made.
    let page = send(
        "/token",
        "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code\
         &device_code=GmRhmhcxhwAzkoEqiMEg_DnyEysNkuNhszIySk9eS&client_id=1406020730",
    )
    .await;
    assert_eq!(
        (page.status.as_u16(), &page.json()["error"]),
        (400, &json!("invalid_grant"))
    );
}

#[tokio::test]
async fn what_a_device_may_not_ask_for_is_refused_when_it_starts() {
    let server = TestApp::new(Database::sqlite()).await;
    let client = listed(&server, "/tv.json").await;
    let bound =
        json!({ "redirect_uris": null, "grant_types": [GRANT], "dpop_bound_access_tokens": true });
    let bound = server.site.publish("/bound.json", bound);
    server.rule(&bound, Tier::Listed).await;
    type Fields = &'static [(&'static str, &'static str)];
    let table: &[(&str, Fields, u16, &str)] = &[
        (&client, &[("scope", "admin")], 400, "invalid_scope"),
        (
            &client,
            &[("resource", "https://unknown.example/")],
            400,
            "invalid_target",
        ),
        (
            &client,
            &[("resource", "https://admin.example.com/")],
            400,
            "invalid_target",
        ),
        (&client, &[("scope", "a\"b")], 400, "invalid_scope"),
        ("http://app.example.com/c", &[], 401, "invalid_client"),
        ("television", &[], 401, "invalid_client"),
        ("", &[], 401, "invalid_client"),
    ];
    for (client, more, status, code) in table {
        let page = ask(&server, client, more).await;
        assert_eq!(
            (page.status.as_u16(), page.json()["error"].as_str().unwrap()),
            (*status, *code),
            "{client} {more:?}"
        );
    }
    let page = server.browser().get("/device_authorization").await;
    assert_eq!(page.status, 405);
    let device = start(&server, &bound).await;
    assert_eq!(
        told(&server, &bound, &device).await,
        error(400, "invalid_dpop_proof")
    );
    // A document that allows only clients that authenticate gives no device to one that does not.
    let answer = server.site.document("/key.json", json!({ "redirect_uris": null, "grant_types": [GRANT],
        "token_endpoint_auth_method": "private_key_jwt", "jwks_uri": server.site.url("/jwks.json") }));
    server
        .site
        .answer("/key.json", Answer::json(answer.to_string()));
    let key = server.site.url("/key.json");
    server.rule(&key, Tier::Listed).await;
    let page = ask(&server, &key, &[]).await;
    assert_eq!(
        (page.status.as_u16(), &page.json()["error"]),
        (401, &json!("invalid_client")),
        "{}",
        page.body
    );
}
