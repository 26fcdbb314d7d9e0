//! Rows F-: what real clients need, found in the field in November 2026.

use serde_json::json;

use crate::{
    process::{Running, wayleave},
    support::{
        Answer, ClientSite, Database, TestApp,
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

#[tokio::test]
async fn f_02_a_redirect_host_is_a_name_or_an_address_and_writes_no_header() {
    let server = TestApp::new(Database::sqlite()).await;
    let mut browser = server.signed_in().await;
    let bad = [
        "a;b.example.com",
        "a,b.example.com",
        "a'b.example.com",
        "a b.example.com",
    ];
    for (n, host) in bad.into_iter().enumerate() {
        let redirect = format!("https://{host}/cb");
        let members = json!({ "redirect_uris": [redirect] });
        let client = server.site.publish(&format!("/{n}.json"), members);
        let flow = server.flow(&client).with("redirect_uri", &redirect);
        for page in [
            server.browser().open(&flow.target()).await,
            browser.get(&flow.target()).await,
        ] {
            assert!(page.location().is_none(), "{host}");
            let headers = format!("{:?}", page.headers);
            assert!(!headers.contains("example.com"), "{headers}");
        }
        let page = browser.get(&flow.target()).await;
        assert_eq!(page.status, 400);
        assert!(
            page.body.contains("document.redirect_uris"),
            "{}",
            page.body
        );
    }
}

#[tokio::test]
async fn f_09_an_app_is_opened_by_the_scheme_of_its_client_and_asked_for_every_time() {
    let server = TestApp::new(Database::sqlite()).await;
    let app = "com.example.app:/cb";
    let members = json!({ "redirect_uris": [app], "client_name": "Pocket Notebook" });
    let client = server.site.publish("/app.json", members);
    let mut browser = server.signed_in().await;
    let flow = server.flow(&client).with("redirect_uri", app);
    for _ in 0..2 {
        let consent = browser.open(&flow.target()).await;
        assert_eq!(consent.text(".dest"), "com.example.app:");
        assert!(
            consent
                .text(".places")
                .contains("an app on this device that opens")
        );
        assert!(consent.text("#app").contains("an app on this device"));
        let answer = browser.submit(&consent, &[("decision", "allow")]).await;
        let location = answer.location().unwrap();
        assert!(
            location.starts_with("com.example.app:/cb?code=wl_ac_"),
            "{location}"
        );
        let code = crate::support::app::param(location, "code").unwrap();
        assert_eq!(server.redeem(&flow, &code).await.status, 200);
    }
    let silent = browser
        .get(&flow.clone().with("prompt", "none").target())
        .await;
    assert!(
        silent
            .location()
            .unwrap()
            .starts_with("com.example.app:/cb?error=consent_required&")
    );

    // Of another domain, of none, and none that a client can have.
    let refused = [
        ("net.example.other:/cb", "policy.private_use_schemes"),
        ("myapp:/cb", "policy.private_use_schemes"),
        ("https:/cb", "document.redirect_uris"),
        ("javascript:/cb", "document.redirect_uris"),
        ("intent:/cb", "document.redirect_uris"),
        ("ms-settings:/cb", "document.redirect_uris"),
    ];
    for (n, (redirect, rule)) in refused.into_iter().enumerate() {
        let client = server.site.publish(
            &format!("/{n}.json"),
            json!({ "redirect_uris": [redirect] }),
        );
        let flow = server.flow(&client).with("redirect_uri", redirect);
        let page = browser.get(&flow.target()).await;
        assert_eq!(
            (page.status.as_u16(), page.location()),
            (400, None),
            "{redirect}"
        );
        assert!(page.body.contains(rule), "{redirect}: {}", page.body);
        let report = server.app.clients.explain(&client).await;
        assert_eq!(
            report.refused_by().map(|line| line.rule),
            Some(rule),
            "{redirect}"
        );
    }
    // Beside one that may be used it is refused when it is asked for.
    let both = json!({ "redirect_uris": ["myapp:/cb", server.site.url("/callback")] });
    let client = server.site.publish("/both.json", both);
    let page = browser.open(&server.flow(&client).target()).await;
    assert_eq!(page.text("h1"), "app.example.com");
    let page = browser
        .get(
            &server
                .flow(&client)
                .with("redirect_uri", "myapp:/cb")
                .target(),
        )
        .await;
    assert!(
        page.status == 400 && page.body.contains("policy.private_use_schemes"),
        "{}",
        page.body
    );
    // A document that says `web` has none.
    let members = json!({ "redirect_uris": [app], "application_type": "web" });
    let client = server.site.publish("/web.json", members);
    let page = browser
        .get(&server.flow(&client).with("redirect_uri", app).target())
        .await;
    assert!(
        page.status == 400 && page.body.contains("document.redirect_uris"),
        "{}",
        page.body
    );
}

#[tokio::test]
async fn f_09_the_administrator_may_allow_every_scheme_or_none() {
    let any = [("WAYLEAVE_POLICY__PRIVATE_USE_SCHEMES", "any")];
    let off = [("WAYLEAVE_POLICY__PRIVATE_USE_SCHEMES", "off")];
    let rule =
        |host| format!("[{{ match = '{host}', tier = 'listed', private_use_schemes = true }}]");
    let rule = rule("app.example.com");
    let by_rule = [
        ("WAYLEAVE_POLICY__PRIVATE_USE_SCHEMES", "off"),
        ("WAYLEAVE_POLICY__CLIENTS", rule.as_str()),
    ];
    let table = [
        (&any[..], "myapp:/cb", true),
        (&any, "javascript:/cb", false),
        (&off, "com.example.app:/cb", false),
        (&by_rule, "myapp:/cb", true),
    ];
    for (variables, redirect, accepted) in table {
        let server = TestApp::with(Database::sqlite(), variables).await;
        let client = server
            .site
            .publish("/c.json", json!({ "redirect_uris": [redirect] }));
        let flow = server.flow(&client).with("redirect_uri", redirect);
        let page = server.signed_in().await.get(&flow.target()).await;
        assert_eq!(
            page.status.as_u16(),
            if accepted { 303 } else { 400 },
            "{redirect}: {}",
            page.body
        );
    }
}

/// Item 8: registered clients may have any scheme, and http within a private network where that is allowed.
#[tokio::test]
async fn f_09_a_registered_client_may_be_on_a_private_network() {
    let registered = "[{ client_id = 'app', redirect_uris = ['myapp://cb'] }, \
        { client_id = 'nas', redirect_uris = ['http://nas:8080/cb'], allow_http_redirect = true }, \
        { client_id = 'nas-2', redirect_uris = ['http://192.168.1.5/cb'], allow_http_redirect = true }]";
    let server = TestApp::with(
        Database::sqlite(),
        &[("WAYLEAVE_CLIENTS__REGISTERED", registered)],
    )
    .await;
    let mut browser = server.signed_in().await;
    for (client, redirect, warning) in [
        ("app", "myapp://cb", "#app"),
        ("nas", "http://nas:8080/cb", "#clear"),
        ("nas-2", "http://192.168.1.5/cb", "#clear"),
    ] {
        let flow = server.flow(client).with("redirect_uri", redirect);
        let consent = browser.open(&flow.target()).await;
        assert!(
            !consent.text(warning).is_empty(),
            "{redirect}: {}",
            consent.body
        );
        let answer = browser.submit(&consent, &[("decision", "allow")]).await;
        assert!(
            answer
                .location()
                .unwrap()
                .starts_with(&format!("{redirect}?code="))
        );
    }
}

#[tokio::test]
async fn f_21_a_document_whose_members_are_elsewhere_is_refused_where_the_policy_says_so() {
    let same = [(
        "WAYLEAVE_POLICY__SAME_ORIGIN",
        "['redirect_uris', 'logo_uri']",
    )];
    let server = TestApp::with(Database::sqlite(), &same).await;
    let mut browser = server.signed_in().await;
    let own = server.site.url("/callback");
    let table = [
        (
            json!({ "redirect_uris": [own], "logo_uri": server.site.url("/logo.png") }),
            true,
        ),
        (
            json!({ "redirect_uris": [own, "https://a.app.example.com/cb"] }),
            false,
        ),
        (
            json!({ "redirect_uris": [own], "logo_uri": "https://app.example.com/logo.png" }),
            false,
        ),
        (
            json!({ "redirect_uris": [own, "http://127.0.0.1/cb", "com.example.app:/cb"] }),
            true,
        ),
    ];
    for (n, (members, accepted)) in table.into_iter().enumerate() {
        let client = server.site.publish(&format!("/{n}.json"), members.clone());
        let page = browser.open(&server.flow(&client).target()).await;
        let report = server.app.clients.explain(&client).await;
        let refused_by = report.refused_by().map(|line| line.rule);
        if accepted {
            assert_eq!(page.text("h1"), "app.example.com", "{members}");
            assert_eq!(refused_by, None);
        } else {
            assert_eq!(page.status, 400, "{members}");
            assert!(page.body.contains("policy.same_origin"), "{}", page.body);
            assert_eq!(refused_by, Some("policy.same_origin"));
        }
    }
}
