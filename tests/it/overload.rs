//! More than the server can do: each kind of request has places of its own, whoever finds none is told to come again, and
//! what everybody needs is answered all the same. Nothing here depends on how long anything takes: whatever is stuck
//! waits for something that the test holds.

use std::{future::poll_fn, pin::pin, sync::Arc, task::Poll, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
use serde_json::json;
use tokio::task::JoinHandle;
use wayleave::{
    app::App, clients::Need, config::Config, fetch::Resolver, server, store::Store, time::Clock,
    time::UnixTime,
};

use crate::support::{
    Browser, Database, Locked, Page, Signer, TestApp,
    app::{PASSWORD, anybody, call, param},
    on_both,
    signer::ASSERTION_TYPE,
};

/// Every request of a test comes from one address, and one has a part of the places alone: as a proxy, which speaks for many, it
/// has them all.
const FOR_MANY: (&str, &str) = ("WAYLEAVE_SERVER__TRUSTED_PROXIES", "['127.0.0.1/32']");

/// Longest wait for what must happen.
const PATIENCE: Duration = Duration::from_secs(20);
const SHORTLY: Duration = Duration::from_millis(5);

/// Requests that are sent at once: those that are answered without waiting for anything, and the others.
async fn at_once<F: Future<Output = Page>>(
    requests: impl IntoIterator<Item = F>,
) -> (Vec<Page>, Vec<Page>) {
    let mut requests: Vec<_> = requests.into_iter().map(Box::pin).collect();
    let (mut answered, mut waiting) = (Vec::new(), Vec::new());
    for mut request in requests.drain(..) {
        match poll_fn(|context| Poll::Ready(pin!(&mut request).poll(context))).await {
            Poll::Ready(page) => answered.push(page),
            Poll::Pending => waiting.push(request),
        }
    }
    (answered, futures_util::future::join_all(waiting).await)
}

/// A request that somebody sends and waits for.
fn stuck<F>(request: impl FnOnce() -> F) -> JoinHandle<Page>
where
    F: Future<Output = Page> + Send + 'static,
{
    tokio::spawn(request())
}

fn refresh(
    server: &TestApp,
    client: &str,
    token: &str,
) -> impl Future<Output = Page> + Send + use<> {
    let (mut browser, client, token) = (server.browser(), client.to_owned(), token.to_owned());
    async move {
        let fields = [
            ("grant_type", "refresh_token"),
            ("refresh_token", &token),
            ("client_id", &client),
        ];
        browser.post("/token", &fields).await
    }
}

fn get(browser: &Browser, target: &str) -> impl Future<Output = Page> + Send + use<> {
    let (mut browser, target) = (browser.clone(), target.to_owned());
    async move { browser.get(&target).await }
}

fn push(server: &TestApp, client: &str) -> impl Future<Output = Page> + Send + use<> {
    let (mut browser, query) = (server.browser(), server.flow(client).query());
    async move {
        let fields: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect();
        let fields: Vec<_> = fields
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        call(&mut browser, "/par", &fields, &[]).await
    }
}

/// As RFC 6749 §5.2 shapes it, and when to come again.
#[track_caller]
fn sends_a_program_away(page: &Page) {
    assert_eq!(page.status, 503, "{}", page.body);
    assert_eq!(page.json()["error"], "temporarily_unavailable");
    let wait: u32 = page.header("retry-after").parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
}

/// A page that says how to go on.
#[track_caller]
fn sends_a_person_away(page: &Page) {
    assert_eq!(page.status, 503, "{}", page.body);
    let wait: u32 = page.header("retry-after").parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    assert!(page.header("content-type").starts_with("text/html"));
    assert!(page.body.contains("Wait a moment"), "{}", page.body);
}

/// What is asked by load balancers, and by everybody who has a token to verify.
async fn the_server_is_there(server: &TestApp) {
    for target in [
        "/healthz",
        "/readyz",
        "/jwks",
        "/jwks?asked-in-another-way",
        "/.well-known/oauth-authorization-server",
        "/.well-known/openid-configuration",
    ] {
        let page = server.browser().get(target).await;
        assert_eq!(page.status, 200, "{target}: {}", page.body);
    }
}

async fn people_are_served(server: &TestApp, client: &str) {
    let mut browser = server.signed_in().await;
    server.code(&mut browser, &server.flow(client)).await;
}

async fn programs_are_served(server: &TestApp, client: &str, token: &str) {
    let page = refresh(server, client, token).await;
    assert_eq!(page.status, 200, "{}", page.body);
}

async fn requests_are_pushed(server: &TestApp, client: &str) {
    let page = push(server, client).await;
    assert_eq!(page.status, 201, "{}", page.body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programs_over_the_places_are_sent_away_and_nobody_else_is() {
    let Some(database) = Database::postgresql().await else {
        return;
    };
    let one_place = [("WAYLEAVE_SERVER__MAX_REQUESTS", "1"), FOR_MANY];
    let server = TestApp::with(database.clone(), &one_place).await;
    let client = server.site.publish("/c.json", json!({}));
    let token = server.refresh_token(&client).await;

    // What readiness sees of the tables it keeps for a while.
    the_server_is_there(&server).await;
    let mut grants = Locked::new(&database, "grants").await;
    let first = stuck(|| refresh(&server, &client, &token));
    grants.until_waiting("grants", 1).await;
    let (refused, waited) = at_once((0..20).map(|_| refresh(&server, &client, &token))).await;
    assert_eq!((refused.len(), waited.len()), (16, 4), "four may wait");
    for page in refused.iter().chain(&waited) {
        sends_a_program_away(page);
    }
    assert_eq!(
        grants.waiting("grants").await,
        1,
        "they never reached the database"
    );
    the_server_is_there(&server).await;
    requests_are_pushed(&server, &client).await;
    assert_eq!(server.signed_in().await.get("/login").await.status, 200);

    grants.let_go().await;
    // Answered, or given up by the database meanwhile where the machine is slow.
    let page = first.await.unwrap();
    assert!(page.status == 200 || page.status == 503, "{}", page.body);
    programs_are_served(&server, &client, &token).await;
    people_are_served(&server, &client).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn browsers_over_the_places_are_sent_away_and_nobody_else_is() {
    let Some(database) = Database::postgresql().await else {
        return;
    };
    let eight_places = [("WAYLEAVE_SERVER__MAX_REQUESTS", "1"), FOR_MANY];
    let server = TestApp::with(database.clone(), &eight_places).await;
    let client = server.site.publish("/c.json", json!({}));
    let token = server.refresh_token(&client).await;
    let browser = server.signed_in().await;

    the_server_is_there(&server).await;
    let mut sessions = Locked::new(&database, "sessions").await;
    let first: Vec<_> = (0..8).map(|_| stuck(|| get(&browser, "/"))).collect();
    sessions.until_waiting("sessions", 8).await;
    let (refused, waited) = at_once((0..40).map(|_| get(&browser, "/"))).await;
    assert_eq!((refused.len(), waited.len()), (8, 32));
    for page in refused.iter().chain(&waited) {
        sends_a_person_away(page);
        assert_eq!(page.text("h1"), "The server is busy");
    }
    assert!(
        sessions.waiting("sessions").await <= 8,
        "they never reached the database"
    );
    the_server_is_there(&server).await;
    requests_are_pushed(&server, &client).await;
    programs_are_served(&server, &client, &token).await;

    sessions.let_go().await;
    for page in first {
        let page = page.await.unwrap();
        assert!(page.status == 200 || page.status == 503, "{}", page.body);
    }
    assert_eq!(get(&browser, "/").await.status, 200);
    people_are_served(&server, &client).await;
}

on_both! {
    async fn while_passwords_are_hashed_on_every_core_and_the_queue_is_full_people_keep_what_they_typed(database) {
        let server = TestApp::new(database).await;
        let client = server.site.publish("/c.json", json!({}));
        let token = server.refresh_token(&client).await;
        let mut signed_in = server.signed_in().await;
        let mut browser = server.browser();
        let login = browser.open(&server.flow(&client).target()).await;

        let busy = server.app.accounts.keep_busy().await.unwrap();
        let typed = [("username", "ada"), ("password", PASSWORD)];
        let page = browser.submit(&login, &typed).await;
        assert_eq!((page.status.as_u16(), page.header("retry-after")), (503, "2"), "{}", page.body);
        assert!(page.text("#failed").contains("overloaded"), "{}", page.body);
        let (_, fields) = page.form();
        assert_eq!((fields["username"].as_str(), fields["password"].as_str()), ("ada", ""));
        assert_eq!(fields["request"], login.form().1["request"], "the request goes on with the form");
        the_server_is_there(&server).await;
        programs_are_served(&server, &client, &token).await;
        requests_are_pushed(&server, &client).await;
        server.code(&mut signed_in, &server.flow(&client)).await;

        drop(busy);
        let page = browser.submit(&page, &typed).await;
        assert_eq!(page.status, 303, "{}", page.body);
        let page = browser.follow(page).await;
        assert!(param(page.location().unwrap(), "code").is_some());
    }

    async fn whoever_sets_the_server_up_keeps_the_name_and_the_link(database) {
        let mut config = Config::default();
        config.database.url = database.parsed();
        let store = Store::open(&config.database.url, 4).await.unwrap();
        store.migrate().await.unwrap();
        let resolver = Resolver::Table(Arc::default());
        let app = App::new(config, store, Clock::manual(UnixTime(1_800_000_000)), resolver).await.unwrap();
        let link = app.accounts.setup_link(app.clock.now(), 3_600).await.unwrap().unwrap();
        let mut browser = Browser::new(server::router(&app), app.config.issuer.origin());
        let page = browser.get(&format!("/setup?token={}", link.expose())).await;
        let typed = [("username", "ada"), ("password", PASSWORD), ("password_again", PASSWORD)];

        let busy = app.accounts.keep_busy().await.unwrap();
        let page = browser.submit(&page, &typed).await;
        assert_eq!((page.status.as_u16(), page.header("retry-after")), (503, "2"), "{}", page.body);
        assert_eq!(page.form().1["username"], "ada");
        drop(busy);
        assert_eq!(browser.submit(&page, &typed).await.status, 303);
    }
}

/// For hosts that take their time: a fetch is not given up while the test looks.
const PATIENT: (&str, &str) = ("WAYLEAVE_FETCH__TIMEOUT", "60");

/// Returns when the site was asked for so many documents.
async fn until_asked(server: &TestApp, count: usize) {
    let all = async {
        while server.site.requests().len() < count {
            tokio::time::sleep(SHORTLY).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, all).await;
    let asked = server.site.requests().len();
    assert!(waited.is_ok(), "{asked} of {count} were asked for");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_hosts_of_clients_leave_places_for_everybody_else() {
    let variables = [
        PATIENT,
        FOR_MANY,
        // Eight for people, of whom four may wait for hosts.
        ("WAYLEAVE_SERVER__MAX_REQUESTS", "1"),
        ("WAYLEAVE_FETCH__MAX_IN_FLIGHT", "3"),
        ("WAYLEAVE_FETCH__MAX_IN_FLIGHT_PER_HOST", "3"),
    ];
    let server = TestApp::with(Database::sqlite(), &variables).await;
    let client = server.site.publish("/c.json", json!({}));
    let token = server.refresh_token(&client).await;
    let browser = server.signed_in().await;
    let target = |path: &str| {
        let client = server.site.publish(path, json!({}));
        server.flow(&client).target()
    };
    let asked = server.site.requests().len();

    let tar_pit = server.site.hold().await;
    let targets = ["/1.json", "/2.json", "/3.json"].map(target);
    let first: Vec<_> = targets
        .iter()
        .map(|target| stuck(|| get(&browser, target)))
        .collect();
    until_asked(&server, asked + 3).await;
    // One more may wait, for the same document as the first; nobody else for any host.
    let mut more: FuturesUnordered<_> = (0..5).map(|_| get(&browser, &targets[0])).collect();
    for _ in 0..4 {
        let refused = more.next().await.unwrap();
        sends_a_person_away(&refused);
        assert_eq!(refused.text("h1"), "The app cannot be checked");
    }
    assert_eq!(server.app.clients.flights(), 3, "no other is begun");
    the_server_is_there(&server).await;
    programs_are_served(&server, &client, &token).await;
    requests_are_pushed(&server, &client).await;
    people_are_served(&server, &client).await;

    drop(tar_pit);
    for page in first {
        let page = page.await.unwrap();
        assert_eq!(page.status, 303, "{}", page.body);
    }
    assert_eq!(more.next().await.unwrap().status, 303);
    let page = get(&browser, &targets[0]).await;
    assert_eq!(page.status, 303, "{}", page.body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_documents_than_may_be_fetched_at_a_time_are_asked_for_later() {
    let variables = [
        PATIENT,
        ("WAYLEAVE_FETCH__MAX_IN_FLIGHT", "2"),
        ("WAYLEAVE_FETCH__MAX_IN_FLIGHT_PER_HOST", "10"),
    ];
    let server = TestApp::with(Database::sqlite(), &variables).await;
    let browser = server.signed_in().await;
    let targets: Vec<_> = (0..6)
        .map(|n| server.site.publish(&format!("/{n}.json"), json!({})))
        .map(|client| server.flow(&client).target())
        .collect();

    let tar_pit = server.site.hold().await;
    let first: Vec<_> = targets[..2]
        .iter()
        .map(|target| stuck(|| get(&browser, target)))
        .collect();
    until_asked(&server, 2).await;
    for target in &targets[2..] {
        sends_a_person_away(&get(&browser, target).await);
    }
    assert_eq!(server.site.connections(), 2);
    the_server_is_there(&server).await;

    drop(tar_pit);
    for page in first {
        assert_eq!(page.await.unwrap().status, 303);
    }
    // As long as a host is given time after a failure.
    server.app.clock.advance(10);
    for target in &targets[2..] {
        let page = get(&browser, target).await;
        assert_eq!(page.status, 303, "{}", page.body);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_requests_for_slow_hosts_do_not_take_the_places_of_tokens() {
    let variables = [PATIENT, FOR_MANY, ("WAYLEAVE_SERVER__MAX_REQUESTS", "2")];
    let server = TestApp::with(Database::sqlite(), &variables).await;
    let client = server.site.publish("/c.json", json!({}));
    let token = server.refresh_token(&client).await;
    let slow = server.site.publish("/slow.json", json!({}));
    let asked = server.site.requests().len();

    let tar_pit = server.site.hold().await;
    let first = stuck(|| push(&server, &slow));
    until_asked(&server, asked + 1).await;
    let (refused, waited) = at_once((0..10).map(|_| push(&server, &client))).await;
    assert_eq!((refused.len(), waited.len()), (6, 4), "there is one place");
    for page in refused.iter().chain(&waited) {
        sends_a_program_away(page);
    }
    the_server_is_there(&server).await;
    programs_are_served(&server, &client, &token).await;
    people_are_served(&server, &client).await;

    drop(tar_pit);
    let page = first.await.unwrap();
    assert_eq!(page.status, 201, "{}", page.body);
    requests_are_pushed(&server, &client).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_key_sets_leave_half_of_the_places_of_programs() {
    let variables = [PATIENT, FOR_MANY, ("WAYLEAVE_SERVER__MAX_REQUESTS", "2")];
    let server = TestApp::with(Database::sqlite(), &variables).await;
    let client = server.site.publish("/c.json", json!({}));
    let token = server.refresh_token(&client).await;
    let signer = Signer::new(Some("1"));
    let jwks_uri = server.site.url("/jwks");
    let proven = server.site.publish(
        "/proven.json",
        json!({ "token_endpoint_auth_method": "private_key_jwt", "jwks_uri": jwks_uri }),
    );
    let keys = crate::support::Answer::json(signer.jwks().to_string());
    server.site.answer("/jwks", keys);
    let id = proven.parse().unwrap();
    let now = server.app.clock.now();
    let known = server
        .app
        .clients
        .client(&id, Need::Fetch(anybody()), now)
        .await;
    known.unwrap();
    let asked = server.site.requests().len();
    let redeem = || {
        let (mut browser, assertion) = (server.browser(), signer.assertion(&proven, now));
        async move {
            let fields = [
                ("grant_type", "authorization_code"),
                ("code", "no code"),
                ("client_assertion_type", ASSERTION_TYPE),
                ("client_assertion", &assertion),
            ];
            browser.post("/token", &fields).await
        }
    };

    let tar_pit = server.site.hold().await;
    let first = stuck(redeem);
    until_asked(&server, asked + 1).await;
    for _ in 0..3 {
        sends_a_program_away(&redeem().await);
    }
    the_server_is_there(&server).await;
    programs_are_served(&server, &client, &token).await;
    people_are_served(&server, &client).await;

    drop(tar_pit);
    // It has proven itself, and the code is none.
    for page in [first.await.unwrap(), redeem().await] {
        assert_eq!(page.json()["error"], "invalid_grant", "{}", page.body);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_published_from_memory_while_the_database_does_not_answer() {
    let Some(database) = Database::postgresql().await else {
        return;
    };
    let server = TestApp::new(database.clone()).await;
    let before = server.browser().get("/jwks").await.body;

    let mut keys = Locked::new(&database, "signing_keys").await;
    server.app.clock.advance(1);
    let page = server.browser().get("/jwks").await;
    assert_eq!((page.status.as_u16(), &page.body), (200, &before));
    assert_eq!(
        keys.waiting("signing_keys").await,
        1,
        "answered although nothing was read"
    );
    for _ in 0..20 {
        assert_eq!(server.browser().get("/jwks").await.body, before);
    }
    assert_eq!(
        keys.waiting("signing_keys").await,
        1,
        "asked once in that second"
    );

    keys.let_go().await;
    server.app.clock.advance(1);
    assert_eq!(server.browser().get("/jwks").await.body, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn y_04_one_address_that_takes_its_places_leaves_those_of_others() {
    let Some(database) = Database::postgresql().await else {
        return;
    };
    // Four for programs, of which one address has one.
    let variables = [("WAYLEAVE_SERVER__MAX_REQUESTS", "4"), FOR_MANY];
    let server = TestApp::with(database.clone(), &variables).await;
    let client = server.site.publish("/c.json", json!({}));
    let token = server.refresh_token(&client).await;
    let refresh_from = |address: &str| {
        let (mut browser, client, token) = (server.browser(), client.clone(), token.clone());
        browser.address = Some(address.to_owned());
        async move {
            let fields = [
                ("grant_type", "refresh_token"),
                ("refresh_token", token.as_str()),
                ("client_id", client.as_str()),
            ];
            browser.post("/token", &fields).await
        }
    };

    let mut grants = Locked::new(&database, "grants").await;
    let first = stuck(|| refresh_from("192.0.2.1"));
    grants.until_waiting("grants", 1).await;
    let (refused, waited) = at_once((0..20).map(|_| refresh_from("192.0.2.1"))).await;
    assert_eq!((refused.len(), waited.len()), (16, 4), "four may wait");
    for page in refused.iter().chain(&waited) {
        sends_a_program_away(page);
    }
    assert_eq!(grants.waiting("grants").await, 1, "it has one place");
    // Another address gets to the database, and waits for nothing else.
    let second = stuck(|| refresh_from("192.0.2.2"));
    grants.until_waiting("grants", 2).await;
    grants.let_go().await;
    for page in [first, second] {
        let page = page.await.unwrap();
        assert!(page.status == 200 || page.status == 503, "{}", page.body);
    }
    for address in ["192.0.2.1", "192.0.2.2"] {
        let page = refresh_from(address).await;
        assert_eq!(page.status, 200, "{}", page.body);
    }
}

on_both! {
    async fn y_04_what_nobody_can_use_costs_no_database(database) {
        let server = TestApp::with(database, &[("WAYLEAVE_DEVELOPMENT__CLIENTS", "false")]).await;
        let client = server.site.publish("/c.json", json!({}));
        // Nothing can be asked of it any more.
        server.app.store.close().await;
        let zeros = "0".repeat(64);
        for target in [
            "/logos/x.png".to_owned(),
            format!("/logos/{zeros}.png"),
            format!("/logos/{zeros}.{}.png", "A".repeat(22)),
            "/dev-clients/x.json".to_owned(),
            format!("/dev-clients/{}.json", "A".repeat(22)),
        ] {
            let page = server.browser().get(&target).await;
            assert_eq!(page.status, 404, "{target}: {}", page.body);
        }
        let code = [("grant_type", "authorization_code"), ("code", "x"), ("client_id", client.as_str())];
        let refresh = [("grant_type", "refresh_token"), ("refresh_token", "x"), ("client_id", client.as_str())];
        let (secret, unknown) = ([("client_id", "nobody"), ("client_secret", "x")], [("client_id", "nobody")]);
        let forms: [&[(&str, &str)]; 6] = [&[], &[("a", "b")], &unknown, &secret, &code, &refresh];
        for form in forms {
            let page = server.browser().post("/token", form).await;
            assert!(page.status == 400 || page.status == 401, "{form:?}: {} {}", page.status, page.body);
        }
    }

    async fn whether_it_is_ready_is_asked_of_the_database_once_a_second_for_everybody(database) {
        let server = TestApp::new(database).await;
        let status = async || server.browser().get("/readyz").await.status.as_u16();
        assert_eq!(status().await, 200);
        server.app.store.close().await;
        for _ in 0..100 {
            assert_eq!(status().await, 200, "as of this second");
        }
        server.app.clock.advance(1);
        assert_eq!(status().await, 503);
    }

    async fn y_04_a_flood_of_one_address_leaves_others_alone(database) {
        let server = TestApp::new(database).await;
        let listener = server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let at = listener.local_addr().unwrap();
        let serving = tokio::spawn(server::serve(server.app.clone(), listener, None, None, std::future::pending()));
        // As of this second of the test's clock: what the machine leaves the database meanwhile is not looked at.
        flood::ask_from_elsewhere(at, "GET /readyz", "\r\n").await;
        let flood: Vec<_> = (0..90).map(|_| tokio::spawn(flood::of_a_hundred_streams(at))).collect();
        // None of these asks the database, which has times of its own: what sends anybody away is that there is no place.
        let form = "client_id=nobody";
        let post = format!("Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}", form.len());
        for _ in 0..3 {
            for (request, expected) in [
                ("GET /readyz", "200"),
                ("GET /login", "200"),
                ("GET /jwks", "200"),
                ("GET /logos/x.png", "404"),
                ("GET /dev-clients/x.json", "404"),
            ] {
                let answer = flood::ask_from_elsewhere(at, request, "\r\n").await;
                assert_eq!(answer.get(9..12), Some(expected), "{request}: {answer}");
            }
            let answer = flood::ask_from_elsewhere(at, "POST /token", &post).await;
            assert_eq!(answer.get(9..12), Some("401"), "{answer}");
        }
        for connection in flood {
            connection.await.unwrap();
        }
        serving.abort();
    }
}

/// One address that sends as much as it can, and another.
mod flood {
    use std::net::SocketAddr;

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpSocket, TcpStream},
    };

    use crate::rows_listener::h2;

    /// A hundred streams over one connection, all at once.
    pub(super) async fn of_a_hundred_streams(at: SocketAddr) {
        let mut many = h2::preface(&[]);
        let host = at.to_string();
        let targets = ["/logos/x.png", "/readyz", "/dev-clients/x.json"];
        for n in 0..100 {
            let stream = 2 * n + 1;
            match targets.get(n as usize % 4) {
                Some(target) => many.extend(h2::get(stream, target, &host)),
                None => {
                    let block = h2::block("POST", "/token", &host);
                    many.extend(h2::frame(h2::HEADERS, h2::END_HEADERS, stream, &block));
                    many.extend(h2::frame(0, h2::END_STREAM, stream, b"client_id=nobody"));
                }
            }
        }
        many.extend(h2::frame(h2::GOAWAY, 0, 0, &[0; 8]));
        let mut stream = TcpStream::connect(at).await.unwrap();
        // The server may close before everything was sent.
        _ = stream.write_all(&many).await;
        _ = stream.read_to_end(&mut Vec::new()).await;
    }

    /// One request from another address of this machine.
    pub(super) async fn ask_from_elsewhere(at: SocketAddr, line: &str, rest: &str) -> String {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        let mut stream = socket.connect(at).await.unwrap();
        let request = format!("{line} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n{rest}");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }
}
