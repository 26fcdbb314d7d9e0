//! A person with a real browser: set-up, sign-in, consent, deny, sign-out, refusals, and the demo's whole way.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use axum::{Router, routing::get};
use serde_json::json;
use thirtyfour::prelude::*;

use crate::{
    process::{Running, wayleave},
    support::{
        Answer, ClientSite,
        app::{NOTES, PASSWORD, challenge, param},
        chromium::Chromium,
    },
};

/// The client's page that answers come back to.
pub(crate) async fn callback() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/callback", listener.local_addr().unwrap());
    let router = Router::new().route("/callback", get(|| async { "back at the client" }));
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_goes_all_the_way_without_scripts() {
    let Some(browser) = Chromium::start().await else {
        return;
    };
    let site = ClientSite::start().await;
    let redirect = callback().await;
    let client = format!("https://localhost:{}/c.json", site.port);
    let document = site.document(
        "/c.json",
        json!({ "client_id": client, "redirect_uris": [redirect] }),
    );
    site.answer("/c.json", Answer::json(document.to_string()));
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("ca.pem"), &site.ca_pem).unwrap();
    let mut command = wayleave(folder.path());
    command
        .env("WAYLEAVE_FETCH__EXTRA_CA_FILE", "ca.pem")
        .env("WAYLEAVE_DANGER__ALLOW_LOOPBACK_CLIENTS", "true")
        .env("WAYLEAVE_RESOURCES", NOTES);
    let server = Running::start(command, 3);
    let origin = format!("http://{}", server.address);
    let link = server.lines[2].trim().to_owned();
    let authorize = |client: &str, state: &str| {
        let query = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs([
                ("response_type", "code"),
                ("client_id", client),
                ("redirect_uri", &redirect),
                ("scope", "notes.read notes.write"),
                ("resource", "https://notes.example.com/mcp"),
                ("code_challenge", &challenge("x")),
                ("code_challenge_method", "S256"),
                ("state", state),
            ])
            .finish();
        format!("{origin}/authorize?{query}")
    };

    // Set-up, and the page of somebody who is signed in.
    browser.open(&link).await;
    browser.look("setup").await;
    browser.without_scripts().await;
    browser.fill("username", "ada").await;
    browser.fill("password", PASSWORD).await;
    browser.fill("password_again", PASSWORD).await;
    browser.click("form [type=submit]").await;
    browser.shows("h1", "You are signed in").await;
    browser.look("home").await;

    // Sign-out.
    browser.open(&format!("{origin}/logout")).await;
    browser.look("sign-out").await;
    browser.click("form [type=submit]").await;
    browser.shows("h1", "You are signed out").await;
    browser.look("signed-out").await;

    // Sign-in on the way to a client, at first with a wrong password.
    browser.open(&authorize(&client, "one")).await;
    browser.shows("h1", "Sign in").await;
    browser.look("login").await;
    browser.fill("username", "ada").await;
    browser.fill("password", "wrong password").await;
    browser.click("form [type=submit]").await;
    browser.shows("[role=alert]", "not right").await;
    browser.look("login-failed").await;
    browser.fill("password", PASSWORD).await;
    browser.click("form [type=submit]").await;

    // Consent: both answers as easy to give.
    browser.shows("h1", "localhost").await;
    browser.look("consent").await;
    let mut sizes = Vec::new();
    for answer in ["deny", "allow"] {
        let button = browser
            .driver
            .find(By::Css(format!("button[value={answer}]")))
            .await
            .unwrap();
        let rect = button.rect().await.unwrap();
        assert!(rect.height >= 44.0, "{answer}: {rect:?}");
        sizes.push((
            rect.width.round(),
            rect.height.round(),
            button.css_value("background-color").await.unwrap(),
        ));
    }
    assert_eq!(sizes[0], sizes[1]);
    browser.click("button[value=deny]").await;
    browser.shows("body", "back at the client").await;
    let back = browser.url().await;
    assert!(
        back.as_str()
            .starts_with(&format!("{redirect}?error=access_denied&")),
        "{back}"
    );
    assert_eq!(param(back.as_str(), "state").as_deref(), Some("one"));
    assert_eq!(param(back.as_str(), "iss"), Some(origin.clone()));
    browser.shows("body", "back at the client").await;

    browser.open(&authorize(&client, "two")).await;
    browser.click("button[value=allow]").await;
    browser.shows("body", "back at the client").await;
    let back = browser.url().await;
    assert!(
        back.as_str()
            .starts_with(&format!("{redirect}?code=wl_ac_")),
        "{back}"
    );
    assert_eq!(param(back.as_str(), "state").as_deref(), Some("two"));
    browser.shows("body", "back at the client").await;

    // The way back leads to a question that is answered already: nothing is given twice.
    browser.driver.back().await.unwrap();
    // The browser may show its own copy of the page, or ask for it again.
    let copy = browser.driver.find(By::Css("button[value=allow]")).await;
    if let Ok(button) = copy {
        _ = button.click().await;
    }
    browser.shows("h1", "This page is no longer valid").await;

    // A refusal that names its rule.
    browser
        .open(&authorize(
            &format!("https://localhost:{}/none.json", site.port),
            "three",
        ))
        .await;
    assert!(
        browser
            .driver
            .source()
            .await
            .unwrap()
            .contains("fetch.status")
    );
    browser.look("error").await;
    browser.driver.clone().quit().await.unwrap();
}

/// What the consent page says of clients that nobody knows and of those that are listed, and what administrators see.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_are_introduced_and_administrators_look_behind() {
    let Some(browser) = Chromium::start().await else {
        return;
    };
    let site = ClientSite::start().await;
    let redirect = callback().await;
    let publish = |path: &str, name: &str| {
        let client = format!("https://localhost:{}{path}", site.port);
        let logo = format!("https://localhost:{}/logo.png", site.port);
        let members = json!({ "client_id": client, "client_name": name, "redirect_uris": [redirect], "logo_uri": logo });
        site.answer(path, Answer::json(site.document(path, members).to_string()));
        client
    };
    let (unknown, listed) = (
        publish("/drive.json", "Google Drive"),
        publish("/listed/app.json", "Our Notebook"),
    );
    let picture = image::RgbaImage::from_fn(640, 640, |x, y| {
        let inside = (x.abs_diff(320).pow(2) + y.abs_diff(320).pow(2)) < 300 * 300;
        image::Rgba(if inside {
            [27, 90, 60, 255]
        } else {
            [255, 255, 255, 0]
        })
    });
    let mut png = std::io::Cursor::new(Vec::new());
    image::DynamicImage::ImageRgba8(picture)
        .write_to(&mut png, image::ImageFormat::Png)
        .unwrap();
    site.answer(
        "/logo.png",
        Answer::json(png.into_inner()).header("content-type", "image/png"),
    );

    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("ca.pem"), &site.ca_pem).unwrap();
    let rules = format!(
        "[{{ match = 'https://localhost:{}/listed/*', tier = 'approved', consent_text = 'The notebook of our own team.' }}]",
        site.port
    );
    let mut command = wayleave(folder.path());
    command
        .env("WAYLEAVE_FETCH__EXTRA_CA_FILE", "ca.pem")
        .env("WAYLEAVE_DANGER__ALLOW_LOOPBACK_CLIENTS", "true")
        .env("WAYLEAVE_POLICY__CLIENTS", rules)
        .env("WAYLEAVE_RESOURCES", NOTES);
    let server = Running::start(command, 3);
    let origin = format!("http://{}", server.address);
    browser.open(server.lines[2].trim()).await;
    browser.fill("username", "ada").await;
    browser.fill("password", PASSWORD).await;
    browser.fill("password_again", PASSWORD).await;
    browser.click("form [type=submit]").await;
    browser.shows("h1", "You are signed in").await;

    let authorize = |client: &str| {
        let query = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs([
                ("response_type", "code"),
                ("client_id", client),
                ("redirect_uri", &redirect),
                ("code_challenge", &challenge("x")),
                ("code_challenge_method", "S256"),
            ])
            .finish();
        format!("{origin}/authorize?{query}")
    };
    browser.open(&authorize(&unknown)).await;
    browser
        .shows("main", "The name of this app belongs to somebody else")
        .await;
    browser.shows("main", "first seen here today").await;
    browser.look("consent-borrowed-name").await;
    // The logo is fetched while nobody waits.
    let logo = async {
        loop {
            browser.open(&authorize(&listed)).await;
            browser.shows("main", "The notebook of our own team.").await;
            if browser.driver.find(By::Css(".logo")).await.is_ok() {
                break;
            }
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), logo)
        .await
        .unwrap();
    let logo = browser.driver.find(By::Css(".logo")).await.unwrap();
    assert_eq!(
        logo.prop("naturalWidth").await.unwrap().as_deref(),
        Some("512")
    );
    browser.look("consent-listed").await;

    browser
        .open(&authorize(&format!(
            "https://localhost:{}/gone.json",
            site.port
        )))
        .await;
    browser.open(&format!("{origin}/admin/clients")).await;
    browser.shows("main", "drive.json").await;
    browser.shows("main", "fetch.status").await;
    browser.look("admin-clients").await;
    browser.open(&format!("{origin}/admin/explain")).await;
    browser.fill("client_id", &unknown).await;
    browser.click("form [type=submit]").await;
    browser
        .shows("[role=status]", "This server accepts the client.")
        .await;
    browser.look("admin-explain").await;
    browser
        .fill(
            "client_id",
            &format!("https://localhost:{}/gone.json", site.port),
        )
        .await;
    browser.click("form [type=submit]").await;
    browser.shows("[role=status]", "fetch.status").await;
    browser.look("admin-explain-refused").await;
    browser.driver.clone().quit().await.unwrap();
}

/// A person signs in a device: from its link, after a wrong code, and by typing; both answers as easy to give.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_is_signed_in_on_another_screen() {
    let Some(browser) = Chromium::start().await else {
        return;
    };
    let grant = "urn:ietf:params:oauth:grant-type:device_code";
    let site = ClientSite::start().await;
    let client = format!("https://localhost:{}/tv.json", site.port);
    let members = json!({ "client_id": client, "client_name": "Living Room TV", "redirect_uris": null, "grant_types": [grant, "refresh_token"] });
    site.answer(
        "/tv.json",
        Answer::json(site.document("/tv.json", members).to_string()),
    );
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("ca.pem"), &site.ca_pem).unwrap();
    let rules = format!("[{{ match = '{client}', tier = 'listed' }}]");
    let mut command = wayleave(folder.path());
    command
        .env("WAYLEAVE_FETCH__EXTRA_CA_FILE", "ca.pem")
        .env("WAYLEAVE_DANGER__ALLOW_LOOPBACK_CLIENTS", "true")
        .env("WAYLEAVE_POLICY__CLIENTS", rules)
        .env("WAYLEAVE_RESOURCES", NOTES);
    let server = Running::start(command, 3);
    let origin = format!("http://{}", server.address);
    #[expect(
        clippy::disallowed_methods,
        reason = "a device of the test, not the server"
    )]
    let device = reqwest::Client::new();
    let post = async |path: &str, fields: &[(&str, &str)]| -> serde_json::Value {
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .finish();
        let request = device.post(format!("{origin}{path}")).body(body);
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        request.send().await.unwrap().json().await.unwrap()
    };
    let start = async || {
        let fields = [
            ("client_id", client.as_str()),
            ("scope", "notes.read notes.write"),
            ("resource", "https://notes.example.com/mcp"),
        ];
        post("/device_authorization", &fields).await
    };
    let told = async |started: &serde_json::Value| {
        let code = started["device_code"].as_str().unwrap();
        let fields = [
            ("grant_type", grant),
            ("device_code", code),
            ("client_id", &client),
        ];
        post("/token", &fields).await
    };

    browser.open(server.lines[2].trim()).await;
    browser.without_scripts().await;
    browser.fill("username", "ada").await;
    browser.fill("password", PASSWORD).await;
    browser.fill("password_again", PASSWORD).await;
    browser.click("form [type=submit]").await;
    browser.shows("h1", "You are signed in").await;
    browser.open(&format!("{origin}/logout")).await;
    browser.click("form [type=submit]").await;
    browser.shows("h1", "You are signed out").await;

    // From the link of a QR code: the code is filled in, and sent by the person only.
    let started = start().await;
    browser
        .open(started["verification_uri_complete"].as_str().unwrap())
        .await;
    browser.shows("h1", "Sign in").await;
    browser.look("login-device").await;
    browser.fill("username", "ada").await;
    browser.fill("password", PASSWORD).await;
    browser.click("form [type=submit]").await;
    browser.shows("h1", "Sign in a device").await;
    browser.look("device-from-link").await;
    assert_eq!(told(&started).await["error"], "authorization_pending");
    browser.click("form [type=submit]").await;
    browser.shows("h1", "localhost").await;
    let code = started["user_code"].as_str().unwrap();
    browser.shows(".compare .code", code).await;
    browser.look("device-confirm").await;
    let mut sizes = Vec::new();
    for answer in ["deny", "allow"] {
        let button = browser
            .driver
            .find(By::Css(format!("button[value={answer}]")))
            .await
            .unwrap();
        let rect = button.rect().await.unwrap();
        assert!(rect.height >= 44.0, "{answer}: {rect:?}");
        let colour = button.css_value("background-color").await.unwrap();
        sizes.push((rect.width.round(), rect.height.round(), colour));
    }
    assert_eq!(sizes[0], sizes[1]);
    browser.click("button[value=allow]").await;
    browser.shows("h1", "You can return to your device").await;
    browser.look("device-done").await;
    assert!(told(&started).await["access_token"].is_string());

    // By typing, at first a wrong one.
    let started = start().await;
    browser.open(&format!("{origin}/device")).await;
    browser.look("device").await;
    browser.fill("user_code", "wdjb mjht").await;
    browser.click("form [type=submit]").await;
    browser
        .shows("[role=alert]", "This code is not valid.")
        .await;
    browser.look("device-not-valid").await;
    let code = started["user_code"].as_str().unwrap().to_lowercase();
    browser.fill("user_code", &code.replace('-', "")).await;
    browser.click("form [type=submit]").await;
    browser.click("button[value=deny]").await;
    browser.shows("main", "The device gets nothing.").await;
    assert_eq!(told(&started).await["error"], "access_denied");
    browser.driver.clone().quit().await.unwrap();
}

/// The demo's process: ends with its test, however that ends.
struct Demo(Child);

impl Demo {
    fn start(arguments: &[&str]) -> Self {
        let demo = std::path::Path::new(env!("CARGO_BIN_EXE_wayleave"))
            .with_file_name("examples")
            .join("demo");
        assert!(
            demo.exists(),
            "cargo build --examples makes {}",
            demo.display()
        );
        let mut command = Command::new(demo);
        command.args(arguments).stdout(Stdio::piped());
        Self(command.stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_demo_leads_to_the_resources_answer() {
    let Some(browser) = Chromium::start().await else {
        return;
    };
    let mut demo = Demo::start(&[]);
    let lines: Vec<String> = BufReader::new(demo.0.stdout.take().unwrap())
        .lines()
        .take(4)
        .map(Result::unwrap)
        .collect();
    let said = |label: &str| {
        lines
            .iter()
            .find_map(|line| line.strip_prefix(label))
            .unwrap()
            .trim()
            .to_owned()
    };

    browser.open(&said("Open")).await;
    browser.look("demo-start").await;
    browser.click("#start").await;
    browser.fill("username", &said("User")).await;
    browser.fill("password", &said("Password")).await;
    browser.click("form [type=submit]").await;
    browser.shows("main", "Read your demo notes").await;
    browser.look("demo-consent").await;
    browser.click("button[value=allow]").await;
    browser.shows("#resource-answer", "Water the ferns.").await;
    assert_eq!(
        browser
            .driver
            .find_all(By::Css("#steps > li"))
            .await
            .unwrap()
            .len(),
        6
    );
    browser.look("demo-answer").await;
    browser.click("#refresh").await;
    browser
        .shows("#steps", "The client refreshes its token")
        .await;
    assert_eq!(
        browser
            .driver
            .find_all(By::Css("#steps > li"))
            .await
            .unwrap()
            .len(),
        8
    );

    browser.open(&format!("{}start", said("Open"))).await;
    browser.click("button[value=deny]").await;
    browser.shows("#error", "access_denied").await;

    // The client that has keys: a new one is taken at once, and the old one is not missed.
    browser.open(&format!("{}desk", said("Open"))).await;
    browser.shows("#resource-answer", "\"balance\": 42").await;
    browser.look("demo-desk").await;
    let kid = browser.text("#kid").await;
    browser.click("#rotate").await;
    browser.shows("#resource-answer", "\"active\": true").await;
    assert_ne!(browser.text("#kid").await, kid);

    Command::new("kill")
        .args(["-TERM", &demo.0.id().to_string()])
        .status()
        .unwrap();
    assert_eq!(demo.0.wait().unwrap().code(), Some(0));
    browser.driver.clone().quit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_demos_device_is_signed_in_by_its_code() {
    let Some(browser) = Chromium::start().await else {
        return;
    };
    let mut demo = Demo::start(&["device"]);
    let mut lines = BufReader::new(demo.0.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap);
    let mut said = |label: &str| {
        let mut found = lines.find_map(|line| line.strip_prefix(label).map(str::to_owned));
        found.take().unwrap().trim().to_owned()
    };
    let (user, password) = (said("User"), said("Password"));
    let (page, code) = (said("Open"), said("and type"));
    browser.open(&page).await;
    browser.fill("username", &user).await;
    browser.fill("password", &password).await;
    browser.click("form [type=submit]").await;
    browser.shows("h1", "Sign in a device").await;
    browser.fill("user_code", &code).await;
    browser.click("form [type=submit]").await;
    browser.click("button[value=allow]").await;
    browser.shows("h1", "You can return to your device").await;
    assert!(
        lines.any(|line| line.contains("Water the ferns.")),
        "the device has its answer"
    );
    browser.driver.clone().quit().await.unwrap();
}

/// An app in the browser opens a window for the sign-in, and its own page in there says how it went. Pages that are not on the
/// way are kept apart from whoever opens them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_that_opens_a_window_hears_of_the_answer() {
    let Some(browser) = Chromium::start().await else {
        return;
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let app = format!("http://{}", listener.local_addr().unwrap());
    let page = |script: &'static str| {
        get(move || async move {
            axum::response::Html(format!("<h1>nothing yet</h1><script>{script}</script>"))
        })
    };
    let told = "onmessage = it => document.querySelector('h1').textContent = it.data";
    let tells = "opener.postMessage('the code is ' + new URLSearchParams(location.search).has('code'), '*')";
    let router = Router::new()
        .route("/app", page(told))
        .route("/callback", page(tells));
    tokio::spawn(async move { axum::serve(listener, router).await });
    let redirect = format!("{app}/callback");

    let site = ClientSite::start().await;
    let client = format!("https://localhost:{}/c.json", site.port);
    let document = site.document(
        "/c.json",
        json!({ "client_id": client, "redirect_uris": [redirect] }),
    );
    site.answer("/c.json", Answer::json(document.to_string()));
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("ca.pem"), &site.ca_pem).unwrap();
    let mut command = wayleave(folder.path());
    command
        .env("WAYLEAVE_FETCH__EXTRA_CA_FILE", "ca.pem")
        .env("WAYLEAVE_DANGER__ALLOW_LOOPBACK_CLIENTS", "true");
    let server = Running::start(command, 3);
    let origin = format!("http://{}", server.address);
    browser.open(server.lines[2].trim()).await;
    browser.fill("username", "ada").await;
    browser.fill("password", PASSWORD).await;
    browser.fill("password_again", PASSWORD).await;
    browser.click("form [type=submit]").await;
    browser.shows("h1", "You are signed in").await;
    browser.open(&format!("{origin}/logout")).await;
    browser.click("form [type=submit]").await;
    browser.shows("h1", "You are signed out").await;

    browser.open(&format!("{app}/app")).await;
    let query = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs([
            ("response_type", "code"),
            ("client_id", &client),
            ("redirect_uri", &redirect),
            ("code_challenge", &challenge("x")),
            ("code_challenge_method", "S256"),
        ])
        .finish();
    let opens = |target: String| format!("window.other = window.open('{target}')");
    let driver = &browser.driver;
    let first = driver.window().await.unwrap();
    let open = async |target: String| {
        driver.execute(opens(target), vec![]).await.unwrap();
        let windows = driver.windows().await.unwrap();
        driver
            .switch_to_window(windows.last().unwrap().clone())
            .await
            .unwrap();
    };
    open(format!("{origin}/authorize?{query}")).await;
    browser.shows("h1", "Sign in").await;
    browser.fill("username", "ada").await;
    browser.fill("password", PASSWORD).await;
    browser.click("form [type=submit]").await;
    browser.shows("h1", "localhost").await;
    browser.click("button[value=allow]").await;
    driver.switch_to_window(first.clone()).await.unwrap();
    browser.shows("h1", "the code is true").await;

    open(format!("{origin}/")).await;
    browser.shows("h1", "You are signed in").await;
    let opener = driver.execute("return opener === null", vec![]).await;
    assert!(opener.unwrap().convert::<bool>().unwrap(), "kept apart");
    driver.clone().quit().await.unwrap();
}
