//! "Why was it refused?": every refusal has a reference, and the administrator finds by it what happened.

use std::{path::Path, process::Command};

use serde_json::{Value, json};
use wayleave::{
    policy::client_rules::Tier,
    store::{MOST_REFUSALS, NewRefusal},
    time::UnixTime,
};

use crate::{
    chromium::callback,
    process::{Running, run, wayleave},
    support::{
        Answer, Browser, ClientSite, Database, Page, TestApp,
        app::{PASSWORD, VERIFIER, challenge, param},
        chromium::Chromium,
        log, on_both, until,
    },
};

/// A registered client, as the administrator writes it down.
const WIKI: &str = "[{ client_id = 'wiki', client_name = 'Our wiki', token_endpoint_auth_method = 'none', \
                    redirect_uris = ['https://wiki.example.com/cb'] }]";

/// The reference that a page shows.
fn shown(page: &Page) -> String {
    let reference = page.text(".ref code");
    assert_eq!(reference.len(), 10, "{}", page.body);
    reference
}

/// What the administrator's page says of a reference.
async fn found(server: &TestApp, administrator: &mut Browser, reference: &str) -> Value {
    let page = administrator
        .get(&format!("/admin/refusals?reference={reference}"))
        .await;
    assert_eq!(page.status, 200, "{}", page.body);
    assert!(
        page.text(".rows li").starts_with(reference),
        "{reference}: {}",
        page.body
    );
    let now = server.app.clock.now();
    let kept = server.app.store.refusal(reference, now).await.unwrap();
    let kept = kept.unwrap();
    json!({
        "rule": kept.rule, "endpoint": kept.endpoint, "client": kept.client_id, "person": kept.username,
        "address": kept.address, "told": kept.told, "cause": kept.cause,
    })
}

/// A command on the database of the server.
fn command(server: &TestApp, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = wayleave(&server.database.path("."));
    command
        .env("WAYLEAVE_DATABASE__URL", &server.database.url)
        .args(arguments);
    let output = run(command, None);
    let told = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8_lossy(&told).into_owned(),
    )
}

on_both! {
    async fn a_refusal_is_found_by_its_reference(database) {
        let server = TestApp::new(database).await;
        let client = server.site.publish("/c.json", json!({}));
        let mut admin = server.administrator().await;
        let mut ada = server.signed_in().await;

        // A page.
        let flow = server.flow(&client).with("redirect_uri", "https://other.example.com/cb");
        let page = ada.open(&flow.target()).await;
        let reference = shown(&page);
        let about = found(&server, &mut admin, &reference).await;
        assert_eq!(
            (&about["rule"], &about["endpoint"], &about["client"], &about["person"], &about["address"]),
            (&json!("redirect_uri.not_registered"), &json!("/authorize"), &json!(client), &json!("ada"), &json!("127.0.0.1")),
        );

        // A client that cannot be read: the page names what strangers may know, the administrator sees the cause.
        let gone = server.site.url("/none.json");
        let page = ada.open(&server.flow(&gone).target()).await;
        let about = found(&server, &mut admin, &shown(&page)).await;
        assert_eq!((&about["rule"], &about["client"]), (&json!("fetch.status"), &json!(gone)));

        // An answer to the redirect URI.
        let page = ada.get(&server.flow(&client).with("scope", "nowhere").target()).await;
        let told = param(page.location().unwrap(), "error_description").unwrap();
        let (_, reference) = told.rsplit_once(" (reference ").unwrap_or_else(|| panic!("{told}"));
        let about = found(&server, &mut admin, reference.trim_end_matches(')')).await;
        assert_eq!((&about["rule"], &about["person"]), (&json!("invalid_scope"), &json!("ada")));

        // Answers to programs.
        let code = "wl_ac_a-code-that-is-a-secret-of-somebody-else-000";
        let page = server.redeem(&server.flow(&client), code).await;
        assert_eq!(page.status, 400);
        let about = found(&server, &mut admin, page.header("wayleave-reference")).await;
        assert_eq!(
            (&about["rule"], &about["endpoint"], &about["client"]),
            (&json!("invalid_grant"), &json!("/token"), &json!(client)),
        );
        assert!(!about.to_string().contains("a-secret-of-somebody"), "{about}");
        for path in ["/par", "/device_authorization"] {
            let page = server.call(path, &[("client_id", &gone)], &[]).await;
            let about = found(&server, &mut admin, page.header("wayleave-reference")).await;
            assert_eq!((&about["endpoint"], &about["client"]), (&json!(path), &json!(gone)), "{}", page.body);
        }
        // What nobody registered may be a secret in the wrong field.
        let page = server.call("/token", &[("client_id", "hunter2"), ("grant_type", "refresh_token")], &[]).await;
        let about = found(&server, &mut admin, page.header("wayleave-reference")).await;
        assert!(about["client"].is_null() && !about.to_string().contains("hunter2"), "{about}");

        // Signing in. What is answered is the same for every name; what is kept names the account.
        let mut browser = server.browser();
        for (typed, person) in [("grace", json!("grace")), ("hunter3", Value::Null)] {
            let page = browser.get("/login").await;
            let page = browser.submit(&page, &[("username", typed), ("password", "wrong")]).await;
            let about = found(&server, &mut admin, &shown(&page)).await;
            assert_eq!((&about["rule"], &about["person"]), (&json!("sign_in.wrong"), &person));
            assert!(!about.to_string().contains("hunter3"), "{about}");
        }

        // A person's no is no refusal of ours.
        let before = server.app.store.refusals(1_000, server.app.clock.now()).await.unwrap().len();
        let consent = ada.open(&server.flow(&client).target()).await;
        let page = ada.submit(&consent, &[("decision", "deny")]).await;
        assert_eq!(param(page.location().unwrap(), "error_description").unwrap(), "the user did not allow it");
        let list = admin.get("/admin/refusals").await;
        assert!(list.body.contains("sign_in.wrong") && list.body.contains("redirect_uri.not_registered"), "{}", list.body);
        let after = server.app.store.refusals(1_000, server.app.clock.now()).await.unwrap().len();
        assert_eq!(before, after);

        // Links: from the client to its explanation, from the list of clients to the refusals.
        let page = admin.get("/admin/clients").await;
        assert!(page.body.contains("<h2>Recent refusals</h2>") && page.body.contains(&format!("/admin/refusals?reference={reference}", reference = shown_in(&list))), "{}", page.body);
        let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("client_id", &gone).finish();
        assert!(list.body.contains(&format!("/admin/explain?{query}")), "{}", list.body);
        let connections = server.site.connections();
        let page = admin.get(&format!("/admin/explain?{query}")).await;
        assert_eq!(page.form().1["client_id"], gone);
        assert_eq!(server.site.connections(), connections, "a link fetches nothing");

        // Nobody else looks.
        assert_eq!(ada.get("/admin/refusals").await.status, 403);
        assert_eq!(server.browser().get("/admin/refusals").await.location(), Some("/login?to=refusals"));
        let page = admin.get("/admin/refusals?reference=zzzzzzzzzz").await;
        assert!(page.text("[role=status]").contains("zzzzzzzzzz"), "{}", page.body);
    }

    async fn a_command_says_why_it_was_refused(database) {
        let server = TestApp::new(database).await;
        let client = server.site.publish("/c.json", json!({}));
        // The command's clock is that of the machine.
        let system = wayleave::time::Clock::system().now();
        server.app.clock.advance(system - server.app.clock.now());
        let (code, told) = command(&server, &["refusal", "list"]);
        assert_eq!((code, told.trim()), (Some(0), "There are no refusals of the last 30 days."));
        let flow = server.flow(&client).with("redirect_uri", "https://other.example.com/\u{1b}[2Jcb");
        let page = server.signed_in().await.open(&flow.target()).await;
        let reference = shown(&page);
        server.app.refusals.flush().await.unwrap();

        let typed = format!("{}-{}", &reference[..5].to_uppercase(), &reference[5..]);
        let (code, told) = command(&server, &["refusal", "show", &typed]);
        assert_eq!(code, Some(0), "{told}");
        for part in [&reference, &client, "redirect_uri", "ada", "127.0.0.1", "/authorize", "wayleave explain"] {
            assert!(told.contains(part), "{part}: {told}");
        }
        assert!(!told.contains('\u{1b}'), "{told}");
        let (_, told) = command(&server, &["refusal", "show", &reference, "--json"]);
        let told: Value = serde_json::from_str(&told).unwrap();
        assert_eq!((&told["client_id"], &told["username"]), (&json!(client), &json!("ada")));
        let (_, told) = command(&server, &["refusal", "list"]);
        assert!(told.contains(&reference) && told.lines().count() == 1, "{told}");
        let (code, told) = command(&server, &["refusal", "show", "0000000000"]);
        assert!(code == Some(1) && told.contains("the last 1000 are"), "{told}");

        // What is kept of a person goes with the account.
        let failures = wayleave::secret::TypedName::hash("ada");
        server.app.store.delete_account("ada".to_owned(), failures).await.unwrap().unwrap();
        assert!(server.app.store.refusals(10, server.app.clock.now()).await.unwrap().is_empty());
    }

    async fn the_last_thousand_are_kept_for_a_month(database) {
        let server = TestApp::new(database).await;
        let store = &server.app.store;
        let begun = server.app.clock.now();
        let refusal = |number: i64| NewRefusal {
            reference: format!("r{number:09}"),
            at: UnixTime(begun.0 + number),
            endpoint: "/token".to_owned(),
            rule: "invalid_grant".to_owned(),
            client_id: None,
            subject: None,
            address: "192.0.2.1".to_owned(),
            told: "no".to_owned(),
            cause: String::new(),
        };
        for batch in 0..3 {
            store.keep_refusals((0..500).map(|n| refusal(batch * 500 + n)).collect()).await.unwrap();
        }
        let now = UnixTime(begun.0 + 1_500);
        let kept = store.refusals(5_000, now).await.unwrap();
        assert_eq!(i64::try_from(kept.len()).unwrap(), MOST_REFUSALS);
        assert_eq!((&*kept[0].reference, &*kept[999].reference), ("r000001499", "r000000500"));
        let later = UnixTime(now.0 + 31 * 86_400);
        assert!(store.refusals(5_000, later).await.unwrap().is_empty());
        assert!(store.refusal("r000001499", later).await.unwrap().is_none());
        store.keep_refusals(vec![refusal(31 * 86_400 + 1_500)]).await.unwrap();
        assert_eq!(store.refusals(5_000, later).await.unwrap().len(), 1);
    }

    /// The real program: what its log has of what administrators do, and of what only looks at it.
    async fn the_log_tells_what_administrators_did(database) {
        let folder = tempfile::tempdir().unwrap();
        let with = |mut command: Command| {
            command.env("WAYLEAVE_DATABASE__URL", &database.url).env("WAYLEAVE_LOG__FORMAT", "json");
            command
        };
        let log = folder.path().join("log");
        let mut command = with(wayleave(folder.path()));
        command.stderr(std::fs::File::create(&log).unwrap());
        let server = Running::start_of(command, "https://id.example.com", 3);
        let mut user = with(wayleave(folder.path()));
        user.args(["user", "add", "ada", "--name", "Ada", "--password-stdin"]);
        assert!(run(user, Some(PASSWORD)).status.success());
        let mut list = with(wayleave(folder.path()));
        list.args(["user", "list"]);
        assert!(run(list, None).status.success());
        server.get("/healthz");
        server.get("/readyz");
        server.get("/jwks");
        let lines = logged(&log, |lines| {
            let has = |name: &str, value: &str| lines.iter().any(|fields| fields[name] == value);
            has("message", "administrative command") && has("route", "/jwks")
        })
        .await;
        let commands: Vec<_> = lines.iter().filter(|fields| fields["message"] == "administrative command").collect();
        assert_eq!(commands.len(), 1, "{commands:?}");
        assert_eq!(commands[0]["command"], "user add ada --name Ada --password-stdin");
        let routes: Vec<_> = lines.iter().filter_map(|fields| fields["route"].as_str()).collect();
        assert_eq!(routes, ["/jwks"], "probes are not logged at info");
        let clear = lines.iter().filter(|fields| fields["message"].to_string().contains("keys.encryption_key_file"));
        assert_eq!(clear.count(), 1, "{lines:?}");
        let text = std::fs::read_to_string(&log).unwrap();
        assert!(!text.contains("sqlx::"), "{text}");
    }
}

/// The reference of the first refusal of a page.
fn shown_in(page: &Page) -> String {
    page.text(".rows li a")
}

/// The fields of the lines of a log, once all that is waited for is among them.
async fn logged(log: &Path, whole: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    until("lines of the log", async || {
        let text = std::fs::read_to_string(log).unwrap();
        let lines: Vec<Value> = text
            .lines()
            .filter_map(|line| Some(serde_json::from_str::<Value>(line).ok()?["fields"].clone()))
            .collect();
        whole(&lines).then_some(lines)
    })
    .await
}

#[tokio::test]
async fn a_network_that_causes_many_refusals_does_not_fill_the_list() {
    let variables = [
        ("WAYLEAVE_LIMITS__SCALE", "1"),
        ("WAYLEAVE_SERVER__TRUSTED_PROXIES", "['127.0.0.1/32']"),
    ];
    let server = TestApp::with(Database::sqlite(), &variables).await;
    let mut browser = server.browser();
    let mut refused = async |address: &str, times: usize| {
        browser.address = Some(address.to_owned());
        for _ in 0..times {
            let page = browser
                .get("/authorize?client_id=https://a.example.com/c")
                .await;
            assert_eq!(page.status, 400);
            server.app.refusals.flush().await.unwrap();
        }
        let now = server.app.clock.now();
        let kept = server.app.store.refusals(1_000, now).await.unwrap();
        kept.iter().filter(|kept| kept.address == address).count()
    };
    assert_eq!(refused("192.0.2.1", 60).await, 20);
    assert_eq!(refused("192.0.2.2", 5).await, 5);
    server.app.clock.advance(60);
    assert_eq!(refused("192.0.2.1", 10).await, 22);
}

#[tokio::test]
async fn what_people_do_and_what_is_refused_is_one_line_each() {
    let server = TestApp::new(Database::sqlite()).await;
    let client = server.site.publish("/c.json", json!({}));
    let log = log::of_this_thread();
    let mut ada = server.signed_in().await;
    let flow = server.flow(&client).with("scope", "notes.read");
    let code = server.code(&mut ada, &flow).await;
    let tokens = server.redeem(&flow, &code).await.json();
    let refresh = tokens["refresh_token"].as_str().unwrap();
    assert_eq!(server.refresh(&client, refresh).await.status, 200);
    // In the same moment it would be one request that came twice.
    server.app.clock.advance(30);
    server.redeem(&flow, &code).await;
    let page = ada
        .open(
            &flow
                .clone()
                .with("redirect_uri", "https://x.example/")
                .target(),
        )
        .await;
    let text = log.text();
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["fields"].clone())
        .collect();
    let of = |message: &str| {
        let of: Vec<_> = lines
            .iter()
            .filter(|fields| fields["message"] == message)
            .collect();
        assert_eq!(of.len(), 1, "{message}: {text}");
        of[0]
    };
    assert_eq!(of("signed in")["person"], "ada");
    let consent = of("consent");
    assert_eq!(
        (
            &consent["decision"],
            &consent["client"],
            &consent["person"],
            &consent["scope"]
        ),
        (
            &json!("allow"),
            &json!(client),
            &json!("ada"),
            &json!("notes.read")
        )
    );
    let granted = of("tokens granted");
    assert_eq!(
        (&granted["client"], &granted["subject"]),
        (&json!(client), &consent["subject"])
    );
    let again = of("request refused");
    assert_eq!(
        (&again["rule"], &again["client"], &again["address"]),
        (&json!("invalid_grant"), &json!(client), &json!("127.0.0.1"))
    );
    assert!(
        again["cause"]
            .as_str()
            .unwrap()
            .starts_with("code used twice"),
        "{again}"
    );
    let refused = of("page of refusal");
    assert_eq!(
        (
            &refused["reference"],
            &refused["rule"],
            &refused["person"],
            &refused["client"]
        ),
        (
            &json!(shown(&page)),
            &json!("redirect_uri.not_registered"),
            &json!("ada"),
            &json!(client)
        )
    );
}

#[tokio::test]
async fn a_blocked_client_is_no_mistake_of_the_app() {
    let server = TestApp::new(Database::sqlite()).await;
    let client = server.site.publish("/c.json", json!({}));
    server.rule(&client, Tier::Blocked).await;
    let page = server
        .signed_in()
        .await
        .open(&server.flow(&client).target())
        .await;
    assert_eq!(page.text("h1"), "This app is blocked here");
    assert!(page.body.contains("policy.blocked"), "{}", page.body);
    for word in ["mistake", "Judged by", "document"] {
        assert!(!page.body.contains(word), "{word}: {}", page.body);
    }
    shown(&page);
}

#[tokio::test]
async fn a_registered_client_is_introduced_by_its_administrator() {
    let variables = [("WAYLEAVE_CLIENTS__REGISTERED", WIKI)];
    let server = TestApp::with(Database::sqlite(), &variables).await;
    let flow = server
        .flow("wiki")
        .with("redirect_uri", "https://wiki.example.com/cb")
        .with("scope", "openid profile");
    let page = server.browser().open(&flow.target()).await;
    assert_eq!(page.text(".lede .host"), "Our wiki");
    let mut ada = server.signed_in().await;
    let page = ada.open(&flow.target()).await;
    assert_eq!(page.text("title"), "Allow Our wiki? – 127.0.0.1");
    assert_eq!(page.text("h1"), "Our wiki");
    assert_eq!(
        page.text(".lede"),
        "set up by the administrator of this server"
    );
    let body = &page.body;
    for word in [
        "another host",
        "calls itself",
        "SHA-256",
        "first seen",
        "Know that it is you",
    ] {
        assert!(!body.contains(word), "{word}: {body}");
    }
    assert!(!body.contains("note warn"), "{body}");
    assert_eq!(
        body.matches("<li>").count(),
        3,
        "the account, the profile, and for how long: {body}"
    );
    assert!(
        body.contains("<bdi>openid</bdi>"),
        "the technical details have it: {body}"
    );

    // What it does wrong is judged by its registration.
    let wrong = flow.with("redirect_uri", "https://wiki.example.com/other");
    let page = ada.open(&wrong.target()).await;
    assert!(
        page.body.contains("its registration at this server"),
        "{}",
        page.body
    );
    assert!(!page.body.contains("the document read"), "{}", page.body);
    let fields = [("grant_type", "client_credentials"), ("client_id", "wiki")];
    let page = server.token(&fields).await;
    assert!(!page.body.contains("document"), "{}", page.body);
}

#[tokio::test]
async fn the_icon_and_the_stylesheet_are_kept_by_browsers() {
    let server = TestApp::new(Database::sqlite()).await;
    let page = server.browser().get("/login").await;
    for (rel, media_type) in [
        ("icon", "image/svg+xml"),
        ("stylesheet", "text/css; charset=utf-8"),
    ] {
        let (_, link) = page.body.split_once(&format!("rel=\"{rel}\"")).unwrap();
        let (_, link) = link.split_once("href=\"").unwrap();
        let (path, _) = link.split_once('"').unwrap();
        let answer = server.browser().get(path).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("content-type")),
            (200, media_type),
            "{path}"
        );
        assert!(
            answer.header("cache-control").contains("immutable"),
            "{path}"
        );
    }
    let (headers, icon) = server.browser().get_bytes("/favicon.ico").await;
    assert_eq!(
        (&headers["content-type"], &icon[..4]),
        (
            &http::HeaderValue::from_static("image/x-icon"),
            &[0, 0, 1, 0][..]
        )
    );
    image::load_from_memory(&icon[22..]).unwrap();
    assert_eq!(server.browser().get("/assets/style.css").await.status, 404);
}

#[tokio::test]
async fn other_hosts_are_bound_to_https_only_if_the_administrator_says_so() {
    for (setting, expected) in [
        ("false", "max-age=31536000"),
        ("true", "max-age=31536000; includeSubDomains"),
    ] {
        let variables = [
            ("WAYLEAVE_ISSUER", "https://auth.example"),
            ("WAYLEAVE_SERVER__HSTS_INCLUDE_SUBDOMAINS", setting),
        ];
        let server = TestApp::with(Database::sqlite(), &variables).await;
        let page = server.browser().get("/login").await;
        assert_eq!(page.header("strict-transport-security"), expected);
    }
}

/// A person is refused, reads out the reference, and the administrator finds it; and what people see of a blocked client and
/// of a registered one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_administrator_finds_what_a_person_was_refused() {
    let Some(browser) = Chromium::start().await else {
        return;
    };
    let site = ClientSite::start().await;
    let redirect = callback().await;
    let publish = |path: &str| {
        let client = format!("https://localhost:{}{path}", site.port);
        let members = json!({ "client_id": client, "redirect_uris": [redirect] });
        site.answer(path, Answer::json(site.document(path, members).to_string()));
        client
    };
    let (client, bad) = (publish("/c.json"), publish("/bad.json"));
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("ca.pem"), &site.ca_pem).unwrap();
    let mut command = wayleave(folder.path());
    command
        .env("WAYLEAVE_FETCH__EXTRA_CA_FILE", "ca.pem")
        .env("WAYLEAVE_DANGER__ALLOW_LOOPBACK_CLIENTS", "true")
        .env("WAYLEAVE_CLIENTS__REGISTERED", WIKI)
        .env(
            "WAYLEAVE_POLICY__CLIENTS",
            format!("[{{ match = '{bad}', tier = 'blocked' }}]"),
        );
    let server = Running::start(command, 3);
    let origin = format!("http://{}", server.address);
    let authorize = |client: &str, redirect: &str| {
        let query = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs([
                ("response_type", "code"),
                ("client_id", client),
                ("redirect_uri", redirect),
                ("scope", "openid"),
                ("code_challenge", &challenge(VERIFIER)),
                ("code_challenge_method", "S256"),
            ])
            .finish();
        format!("{origin}/authorize?{query}")
    };
    browser.open(server.lines[2].trim()).await;
    browser.without_scripts().await;
    browser.fill("username", "root").await;
    browser.fill("password", PASSWORD).await;
    browser.fill("password_again", PASSWORD).await;
    browser.click("form [type=submit]").await;
    browser.shows("h1", "You are signed in").await;

    browser
        .open(&authorize(&client, "https://other.example.com/cb"))
        .await;
    browser.shows("h1", "This request cannot be answered").await;
    let reference = browser.text(".ref code").await;
    browser.open(&authorize(&bad, &redirect)).await;
    browser.shows("h1", "This app is blocked here").await;
    browser.look("blocked").await;
    browser
        .open(&authorize("wiki", "https://wiki.example.com/cb"))
        .await;
    browser.shows("h1", "Our wiki").await;
    browser.shows(".lede", "set up by the administrator").await;
    browser.look("consent-registered").await;

    browser.open(&format!("{origin}/admin/refusals")).await;
    browser.shows("h1", "Recent refusals").await;
    browser.shows(".rows", "policy.blocked").await;
    browser.look("refusals").await;
    browser.fill("reference", &reference.to_uppercase()).await;
    browser.click("form [type=submit]").await;
    browser.shows(".rows", "redirect_uri.not_registered").await;
    browser.shows(".rows", &reference).await;
    browser.shows(".rows", "root").await;
    let rows = browser.text(".rows").await;
    assert!(!rows.contains("policy.blocked"), "{rows}");
    browser.click(".rows a[href*=explain]").await;
    browser.shows("h1", "Explain a client").await;
    browser.open(&format!("{origin}/admin/clients")).await;
    browser.shows("main", "Hosts in back-off").await;
    browser.look("clients").await;
    browser.driver.clone().quit().await.unwrap();
}
