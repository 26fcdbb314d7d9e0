//! Rows F-: what real clients need, found in the field in November 2026.

use serde_json::json;

use crate::{
    process::{Running, wayleave},
    support::{
        Answer, ClientSite,
        app::{PASSWORD, challenge},
        chromium::Chromium,
    },
};

/// A client whose callback redirects on: the browser follows, from the consent form and from the sign-in form.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f_01_a_callback_may_redirect_on_to_wherever_its_client_wants() {
    let Some(browser) = Chromium::start().await else {
        return;
    };
    let (site, other) = (ClientSite::start().await, ClientSite::start().await);
    let client = format!("https://localhost:{}/c.json", site.port);
    let redirect = format!("https://localhost:{}/callback", site.port);
    let members = json!({ "client_id": client, "redirect_uris": [redirect] });
    site.answer(
        "/c.json",
        Answer::json(site.document("/c.json", members).to_string()),
    );
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("ca.pem"), &site.ca_pem).unwrap();
    let mut command = wayleave(folder.path());
    command
        .env("WAYLEAVE_FETCH__EXTRA_CA_FILE", "ca.pem")
        .env("WAYLEAVE_DANGER__ALLOW_LOOPBACK_CLIENTS", "true");
    let server = Running::start(command, 3);
    let origin = format!("http://{}", server.address);
    let authorize = |prompt: &str| {
        let query = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs([
                ("response_type", "code"),
                ("client_id", &client),
                ("redirect_uri", &redirect),
                ("scope", "openid"),
                ("code_challenge", &challenge("x")),
                ("code_challenge_method", "S256"),
                ("prompt", prompt),
            ])
            .finish();
        format!("{origin}/authorize?{query}")
    };
    browser.open(server.lines[2].trim()).await;
    browser.fill("username", "ada").await;
    browser.fill("password", PASSWORD).await;
    browser.fill("password_again", PASSWORD).await;
    browser.click("form [type=submit]").await;
    browser.shows("h1", "You are signed in").await;

    let page = Answer::json("the end of the chain").header("content-type", "text/plain");
    other.answer("/done", page);
    let loopback = crate::chromium::callback().await;
    let ends = [
        (302, format!("https://localhost:{}/done", other.port)),
        (303, loopback.clone()),
        (307, loopback),
        (302, "com.example.app:/done".to_owned()),
        (307, "com.example.app:/done".to_owned()),
    ];
    for (status, end) in ends {
        let answer = Answer::status(status).header("location", &end);
        site.answer("/callback", answer);
        for form in ["consent", "login"] {
            // A tab in which an app was opened sends no other form before its person has seen to that.
            let tab = browser.driver.new_tab().await.unwrap();
            browser.driver.switch_to_window(tab).await.unwrap();
            // A password is asked for again, consent is remembered; or the other way round.
            browser.open(&authorize(form)).await;
            let asked = site.requests().len();
            if form == "login" {
                browser.fill("username", "ada").await;
                browser.fill("password", PASSWORD).await;
            }
            _ = browser.network().await;
            browser
                .click(match form {
                    "login" => "form [type=submit]",
                    _ => "button[value=allow]",
                })
                .await;
            if end.starts_with("com.") {
                browser.asks_for(&end).await;
            } else {
                let shown = if end.starts_with("https") {
                    "the end of the chain"
                } else {
                    "back at the client"
                };
                browser.shows("body", shown).await;
                assert_eq!(browser.url().await.as_str(), end, "{form} {status}");
            }
            let requests = site.requests();
            let callbacks = requests[asked..]
                .iter()
                .filter(|head| head.contains("/callback?code="));
            assert_eq!(callbacks.count(), 1, "{form} {status} {end}");
        }
    }
    browser.driver.clone().quit().await.unwrap();
}
