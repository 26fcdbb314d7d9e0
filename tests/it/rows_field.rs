//! Rows F-: what real clients need, found in the field in November 2026.

use serde_json::{Value, json};
use wayleave::store::{DescribedEmail, Description};

use crate::{
    process::{Running, wayleave},
    rows_dpop::proof,
    support::{
        Answer, ClientSite, Database, Page, Signer, TestApp,
        app::{Flow, PASSWORD, VERIFIER, challenge, claims, param, part},
        chromium::Chromium,
        on_both,
        signer::{ASSERTION_TYPE, assertion_claims},
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
        let code = param(location, "code").unwrap();
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

fn refusal(page: &Page) -> (u16, String) {
    let error = page.json()["error"].as_str().unwrap_or_default().to_owned();
    (page.status.as_u16(), error)
}

/// The parameter of the address that the browser is sent to.
fn sent(page: &Page, name: &str) -> String {
    let location = page
        .location()
        .unwrap_or_else(|| panic!("{} {}", page.status, page.body));
    param(location, name).unwrap_or_default()
}

const PROFILE: &str = "openid profile email notes.read";

/// A client with a profile to read: what its person is called.
async fn with_profile(server: &TestApp) {
    let description = Description {
        name: Some("Ada Lovelace".to_owned()),
        email: Some(DescribedEmail {
            address: "ada@example.com".to_owned(),
            is_verified: true,
            signs_in_as: None,
        }),
        is_admin: None,
    };
    let (store, now) = (&server.app.store, server.app.clock.now());
    let changed = store.change_account("ada".to_owned(), description, now);
    changed.await.unwrap().unwrap();
}

async fn tokens(server: &TestApp, flow: &Flow) -> Value {
    let mut browser = server.signed_in().await;
    let code = server.code(&mut browser, flow).await;
    let page = server.redeem(flow, &code).await;
    assert_eq!(page.status, 200, "{}", page.body);
    page.json()
}

async fn userinfo(server: &TestApp, tokens: &Value) -> Page {
    let token = format!("Bearer {}", tokens["access_token"].as_str().unwrap());
    server
        .call("/userinfo", &[], &[("authorization", &token)])
        .await
}

on_both! {
    async fn f_03_an_id_token_carries_the_claims_of_its_scopes(database) {
        let registered = "[{ client_id = 'web', redirect_uris = ['https://web.example.com/cb'], id_token_claims = false }]";
        let server = TestApp::with(database, &[("WAYLEAVE_CLIENTS__REGISTERED", registered)]).await;
        with_profile(&server).await;
        let client = server.site.publish("/c.json", json!({}));
        let flow = server.flow(&client).with("scope", PROFILE);
        let first = tokens(&server, &flow).await;
        let refreshed = server.refresh(&client, first["refresh_token"].as_str().unwrap()).await.json();
        for tokens in [&first, &refreshed] {
            let told = claims(tokens["id_token"].as_str().unwrap());
            assert_eq!((&told["name"], &told["preferred_username"]), (&json!("Ada Lovelace"), &json!("ada")));
            assert_eq!((&told["email"], &told["email_verified"]), (&json!("ada@example.com"), &json!(true)));
            assert_eq!(userinfo(&server, tokens).await.json()["email"], "ada@example.com");
        }
        // As much as the scope says.
        let flow = server.flow(&client).with("scope", "openid email");
        let told = claims(tokens(&server, &flow).await["id_token"].as_str().unwrap());
        assert!(told.get("name").is_none() && told["email"] == "ada@example.com", "{told}");

        // A registration leaves them out, and so does a rule.
        let flow = server.flow("web").with("scope", PROFILE).with("redirect_uri", "https://web.example.com/cb");
        let of_web = tokens(&server, &flow).await;
        let rule = wayleave::policy::client_rules::Rule {
            id_token_claims: Some(false),
            ..wayleave::policy::client_rules::Rule::new(client.parse().unwrap(), wayleave::policy::client_rules::Tier::Listed)
        };
        server.app.store.put_client_rule(rule, server.app.clock.now()).await.unwrap();
        server.app.clients.notice_changes().await.unwrap();
        let of_rule = tokens(&server, &server.flow(&client).with("scope", PROFILE)).await;
        for tokens in [of_web, of_rule] {
            let told = claims(tokens["id_token"].as_str().unwrap());
            assert!(told.get("name").is_none() && told.get("email").is_none(), "{told}");
            assert_eq!(userinfo(&server, &tokens).await.json()["name"], "Ada Lovelace");
        }
    }

    async fn f_07_the_token_request_may_leave_its_redirect_uri_out(database) {
        let server = TestApp::new(database).await;
        let client = server.site.publish("/c.json", json!({}));
        let flow = server.flow(&client);
        let mut browser = server.signed_in().await;
        let (right, wrong) = (server.site.url("/callback"), server.site.url("/other"));
        for (redirect, expected) in [(None, 200), (Some(&right), 200), (Some(&wrong), 400)] {
            let code = server.code(&mut browser, &flow).await;
            let mut fields =
                vec![("grant_type", "authorization_code"), ("code", &code), ("client_id", &client), ("code_verifier", VERIFIER)];
            fields.extend(redirect.map(|uri| ("redirect_uri", uri.as_str())));
            let page = server.token(&fields).await;
            assert_eq!(page.status.as_u16(), expected, "{}", page.body);
            if expected == 400 {
                assert_eq!(page.json()["error"], "invalid_grant");
            }
        }
    }

    async fn f_12_a_code_that_comes_again_ends_its_grant_only_in_its_own_clients_hands(database) {
        let server = TestApp::new(database).await;
        let (client, other) = (server.site.publish("/c.json", json!({})), server.site.publish("/other.json", json!({})));
        let flow = server.flow(&client);
        let mut browser = server.signed_in().await;
        // Seconds later, by whom, with which verifier; does the grant live on?
        let table = [
            (0, &client, VERIFIER, true),
            (3, &client, VERIFIER, true),
            (4, &client, VERIFIER, false),
            (59, &client, VERIFIER, false),
            (10, &other, VERIFIER, true),
            (10, &client, "another-verifier-another-verifier-another-v", true),
        ];
        for (later, by, verifier, lives) in table {
            let code = server.code(&mut browser, &flow).await;
            let first = server.redeem(&flow, &code).await.json();
            server.app.clock.advance(later);
            let fields = [
                ("grant_type", "authorization_code"), ("code", code.as_str()), ("client_id", by.as_str()),
                ("redirect_uri", flow.get("redirect_uri")), ("code_verifier", verifier),
            ];
            let again = server.token(&fields).await;
            assert_eq!(refusal(&again), (400, "invalid_grant".to_owned()), "{later} {by}");
            let refreshed = server.refresh(&client, first["refresh_token"].as_str().unwrap()).await;
            assert_eq!(refreshed.status == 200, lives, "{later} {by} {verifier}: {}", refreshed.body);
        }
    }

    async fn f_17_a_client_that_steps_up_in_vain_is_told_so(database) {
        let server = TestApp::new(database).await;
        let client = server.site.publish("/c.json", json!({ "scope": "notes.read notes.write" }));
        let first = tokens(&server, &server.flow(&client).with("scope", "notes.read")).await;
        let mut browser = server.signed_in().await;
        for (scope, named) in [("notes.read mail", "mail"), ("mail", ""), ("notes.read admin nowhere", "admin nowhere")] {
            let page = browser.get(&server.flow(&client).with("scope", scope).target()).await;
            assert_eq!((page.status.as_u16(), sent(&page, "error")), (303, "invalid_scope".to_owned()), "{scope}");
            let told = sent(&page, "error_description");
            assert!(told.contains(named), "{scope}: {told}");
            assert_eq!(sent(&page, "state"), "a/b+c==");
        }
        // What can be granted is asked about, and the old grant lives.
        let page = browser.open(&server.flow(&client).with("scope", "notes.read notes.write mail").target()).await;
        assert_eq!(page.text("h1"), "app.example.com");
        let refreshed = server.refresh(&client, first["refresh_token"].as_str().unwrap()).await;
        assert_eq!(refreshed.json()["scope"], "notes.read");
        // A client that always asks for too much is answered as it was the first time.
        let always = server.site.publish("/always.json", json!({}));
        for _ in 0..2 {
            let flow = server.flow(&always).with("scope", "openid profile address phone");
            assert_eq!(tokens(&server, &flow).await["scope"], "openid profile");
        }
    }

    async fn f_20_a_refresh_token_of_a_client_that_authenticates_is_not_bound_to_a_key(database) {
        let server = TestApp::new(database).await;
        let (signer, one, two) = (Signer::new(Some("1")), Signer::new(None), Signer::new(None));
        let members = json!({ "token_endpoint_auth_method": "private_key_jwt", "jwks": signer.jwks() });
        let (confidential, public) = (server.site.publish("/k.json", members), server.site.publish("/p.json", json!({})));
        for (client, proves) in [(&confidential, true), (&public, false)] {
            let flow = server.flow(client);
            let mut browser = server.signed_in().await;
            let code = server.code(&mut browser, &flow).await;
            let ask = async |fields: &[(&str, &str)], key: Option<&Signer>| {
                let assertion = signer.assertion(client, server.app.clock.now());
                let mut fields = fields.to_vec();
                match proves {
                    true => fields.extend([("client_assertion_type", ASSERTION_TYPE), ("client_assertion", &assertion)]),
                    false => fields.push(("client_id", client)),
                }
                match key {
                    Some(key) => {
                        let proof = proof(&server, key, "/token").await;
                        server.call("/token", &fields, &[("dpop", &proof)]).await
                    }
                    None => server.call("/token", &fields, &[]).await,
                }
            };
            let redirect = flow.get("redirect_uri");
            let exchange = [("grant_type", "authorization_code"), ("code", &code), ("redirect_uri", redirect), ("code_verifier", VERIFIER)];
            let first = ask(&exchange, Some(&one)).await.json();
            assert_eq!(claims(first["access_token"].as_str().unwrap())["cnf"]["jkt"], one.thumbprint(), "{first}");
            let refresh = [("grant_type", "refresh_token"), ("refresh_token", first["refresh_token"].as_str().unwrap())];
            let with_other = ask(&refresh, Some(&two)).await;
            if proves {
                let token = with_other.json();
                assert_eq!(claims(token["access_token"].as_str().unwrap())["cnf"]["jkt"], two.thumbprint());
                assert_eq!(token["token_type"], "DPoP");
                // A day later the row is written; without a proof there is none.
                server.app.clock.advance(2 * 86_400);
                assert_eq!(ask(&refresh, Some(&one)).await.status, 200);
            } else {
                assert_eq!(refusal(&with_other), (400, "invalid_grant".to_owned()));
            }
            assert_eq!(refusal(&ask(&refresh, None).await), (400, "invalid_grant".to_owned()));
        }
    }

    async fn y_08_a_token_for_a_resource_opens_no_userinfo(database) {
        let server = TestApp::new(database).await;
        let client = server.site.publish("/c.json", json!({}));
        let notes = "https://notes.example.com/mcp";
        let flow = server.flow(&client).with("scope", PROFILE);
        let page = userinfo(&server, &tokens(&server, &flow.clone().with("resource", notes)).await).await;
        assert_eq!(page.status, 401);
        assert!(page.header("www-authenticate").contains("invalid_token"), "{:?}", page.headers);
        assert!(!page.body.contains("ada"), "{}", page.body);
        // For this server and the resource; and for this server alone.
        for resources in [vec![notes, "http://127.0.0.1:8080"], vec!["http://127.0.0.1:8080"]] {
            let mut target = flow.target();
            for resource in &resources {
                target += &format!("&resource={resource}");
            }
            let mut browser = server.signed_in().await;
            let mut answer = browser.open(&target).await;
            if answer.location().is_none() {
                answer = browser.submit(&answer, &[("decision", "allow")]).await;
            }
            let tokens = server.redeem(&flow, &sent(&answer, "code")).await.json();
            assert_eq!(userinfo(&server, &tokens).await.json()["preferred_username"], "ada", "{resources:?}");
        }
    }
}

#[tokio::test]
async fn f_04_an_id_token_is_signed_with_rs256_unless_the_client_says_otherwise() {
    let registered = "[{ client_id = 'a', redirect_uris = ['https://a.example.com/cb'] }, \
        { client_id = 'b', redirect_uris = ['https://b.example.com/cb'], id_token_signed_response_alg = 'ES256' }]";
    let server = TestApp::with(
        Database::sqlite(),
        &[("WAYLEAVE_CLIENTS__REGISTERED", registered)],
    )
    .await;
    let published: Value = server.browser().get("/jwks").await.json();
    let kids: Vec<&Value> = published["keys"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| &key["kid"])
        .collect();
    let publish = |path: &str, members: Value| {
        (
            server.site.publish(path, members),
            server.site.url("/callback"),
        )
    };
    let many = "id_token_signing_alg_values_supported";
    let table = [
        (publish("/1.json", json!({})), "RS256"),
        (
            publish(
                "/2.json",
                json!({ "id_token_signed_response_alg": "ES256" }),
            ),
            "ES256",
        ),
        (
            publish(
                "/3.json",
                json!({ "id_token_signed_response_alg": "EdDSA" }),
            ),
            "EdDSA",
        ),
        (
            publish("/4.json", json!({ many: ["none", "EdDSA", "ES256"] })),
            "ES256",
        ),
        (
            publish("/5.json", json!({ many: ["PS512", "EdDSA"] })),
            "EdDSA",
        ),
        (
            ("a".to_owned(), "https://a.example.com/cb".to_owned()),
            "RS256",
        ),
        (
            ("b".to_owned(), "https://b.example.com/cb".to_owned()),
            "ES256",
        ),
    ];
    for ((client, redirect), alg) in table {
        let flow = server
            .flow(&client)
            .with("scope", "openid")
            .with("redirect_uri", &redirect);
        let tokens = tokens(&server, &flow).await;
        let header = part(tokens["id_token"].as_str().unwrap(), 0);
        assert_eq!(header["alg"], alg, "{client}");
        // F-05: it was published from the first start.
        assert!(kids.contains(&&header["kid"]), "{client}");
    }
}

#[tokio::test]
async fn f_04_a_resource_may_have_its_tokens_signed_otherwise() {
    let resources = "[{ id = 'https://old.example.com/', open = true, token_alg = 'RS256', scopes = { old = 'Read' } }, \
        { id = 'https://new.example.com/', open = true, scopes = { new = { meaning = 'Read', baseline = true } } }]";
    let server = TestApp::with(Database::sqlite(), &[("WAYLEAVE_RESOURCES", resources)]).await;
    let client = server.site.publish("/c.json", json!({}));
    for (scope, alg) in [("old", "RS256"), ("new", "ES256"), ("old new", "ES256")] {
        let tokens = tokens(&server, &server.flow(&client).with("scope", scope)).await;
        assert_eq!(
            part(tokens["access_token"].as_str().unwrap(), 0)["alg"],
            alg,
            "{scope}"
        );
    }
}

#[tokio::test]
async fn f_05_every_algorithm_has_a_published_key_from_the_first_start() {
    let server = TestApp::new(Database::sqlite()).await;
    let jwks = server.browser().get("/jwks").await.json();
    let algs: Vec<&str> = jwks["keys"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| key["alg"].as_str().unwrap())
        .collect();
    let metadata = server
        .browser()
        .get("/.well-known/openid-configuration")
        .await
        .json();
    for alg in metadata["id_token_signing_alg_values_supported"]
        .as_array()
        .unwrap()
    {
        assert!(algs.contains(&alg.as_str().unwrap()), "{alg}: {algs:?}");
    }
    // A second start makes no other.
    let again = server.restart().await.browser().get("/jwks").await.json();
    assert_eq!(again, jwks);
}

#[tokio::test]
async fn f_06_a_silent_request_of_a_known_client_is_answered_by_redirect() {
    let server = TestApp::new(Database::sqlite()).await;
    let client = server.site.publish("/c.json", json!({}));
    let mut browser = server.signed_in().await;
    let silent = server.flow(&client).with("prompt", "none");
    // A client that was never seen gets the page.
    let page = server.browser().get(&silent.target()).await;
    assert_eq!((page.status.as_u16(), page.location()), (400, None));
    server.code(&mut browser, &server.flow(&client)).await;
    let connections = server.site.connections();
    let fresh = server.browser().get(&silent.target()).await;
    server.app.clock.advance(3 * 3_600);
    let stale = server.browser().get(&silent.target()).await;
    server.site.answer("/c.json", Answer::status(503));
    let down = server.browser().get(&silent.target()).await;
    for page in [fresh, stale, down] {
        assert_eq!(
            (page.status.as_u16(), sent(&page, "error")),
            (303, "login_required".to_owned())
        );
        assert_eq!(
            (sent(&page, "state"), sent(&page, "iss")),
            ("a/b+c==".to_owned(), "http://127.0.0.1:8080".to_owned())
        );
    }
    assert_eq!(server.site.connections(), connections, "nothing is fetched");
    // With somebody signed in, while the host is down for longer than a copy serves.
    let page = browser.get(&silent.target()).await;
    assert_eq!(
        sent(&page, "error"),
        "interaction_required",
        "{}",
        page.body
    );
    let page = browser.get(&server.flow(&client).target()).await;
    assert_eq!(page.status, 503, "without prompt=none it is a page");
    // A blocked client is sent nowhere.
    server
        .rule(
            "app.example.com",
            wayleave::policy::client_rules::Tier::Blocked,
        )
        .await;
    let page = server.browser().get(&silent.target()).await;
    assert_eq!((page.status.as_u16(), page.location()), (400, None));
}

#[tokio::test]
async fn f_08_without_a_resource_the_scopes_say_whom_a_token_is_for() {
    let default = [(
        "WAYLEAVE_POLICY__DEFAULT_RESOURCE",
        "https://mail.example.com/",
    )];
    for variables in [&[][..], &default] {
        let server = TestApp::with(Database::sqlite(), variables).await;
        let client = server.site.publish("/c.json", json!({}));
        let (notes, mail, issuer) = (
            "https://notes.example.com/mcp",
            "https://mail.example.com/",
            "http://127.0.0.1:8080",
        );
        let of_two = if variables.is_empty() { issuer } else { mail };
        let table = [
            ("notes.read", json!(notes)),
            ("notes.read notes.write offline_access", json!(notes)),
            ("mail", json!(mail)),
            ("notes.read mail", json!(of_two)),
            ("openid", json!(issuer)),
            ("openid notes.read", json!([notes, issuer])),
        ];
        for (scope, expected) in table {
            let flow = server.flow(&client).with("scope", scope);
            let tokens = tokens(&server, &flow).await;
            let access = claims(tokens["access_token"].as_str().unwrap());
            assert_eq!(access["aud"], expected, "{scope}");
            let refreshed = server
                .refresh(&client, tokens["refresh_token"].as_str().unwrap())
                .await
                .json();
            assert_eq!(
                claims(refreshed["access_token"].as_str().unwrap())["aud"],
                expected,
                "{scope}"
            );
        }
    }
}

#[tokio::test]
async fn f_10_basic_with_an_empty_secret_is_no_authentication() {
    let hash = "n4bQgYhMfWWaL-qgxVrQFaO_TxsrC4Is0V1sFbDwCgg";
    let registered = format!(
        "[{{ client_id = 'public', redirect_uris = ['https://a.example.com/cb'] }}, \
        {{ client_id = 'secret', redirect_uris = ['https://b.example.com/cb'], client_secret_sha256 = '{hash}' }}]"
    );
    let server = TestApp::with(
        Database::sqlite(),
        &[("WAYLEAVE_CLIENTS__REGISTERED", &registered)],
    )
    .await;
    let mut browser = server.signed_in().await;
    // base64 of `public:` and `secret:`.
    for (client, redirect, basic, expected) in [
        (
            "public",
            "https://a.example.com/cb",
            "Basic cHVibGljOg==",
            200,
        ),
        (
            "secret",
            "https://b.example.com/cb",
            "Basic c2VjcmV0Og==",
            401,
        ),
    ] {
        let flow = server.flow(client).with("redirect_uri", redirect);
        let code = server.code(&mut browser, &flow).await;
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", &code),
            ("redirect_uri", redirect),
            ("code_verifier", VERIFIER),
        ];
        let page = server
            .call("/token", &fields, &[("authorization", basic)])
            .await;
        assert_eq!(page.status.as_u16(), expected, "{}", page.body);
        if expected == 401 {
            assert_eq!(page.json()["error"], "invalid_client");
            let told = page.json()["error_description"]
                .as_str()
                .unwrap()
                .to_owned();
            assert!(told.contains("client_secret_basic"), "{told}");
        }
    }
}

#[tokio::test]
async fn f_11_a_document_may_say_null() {
    let server = TestApp::new(Database::sqlite()).await;
    let mut browser = server.signed_in().await;
    let document = |path: &str, name: &str, value: Value| {
        let mut document = server.site.document(path, json!({}));
        document[name] = value;
        server.site.answer(path, Answer::json(document.to_string()));
        server.site.url(path)
    };
    let table = [
        ("logo_uri", json!(null), 200),
        ("scope", json!(null), 200),
        ("client_uri", json!(""), 200),
        ("redirect_uris", json!(null), 400),
        ("client_id", json!(null), 400),
    ];
    for (n, (name, value, expected)) in table.into_iter().enumerate() {
        let client = document(&format!("/{n}.json"), name, value.clone());
        let page = browser.open(&server.flow(&client).target()).await;
        assert_eq!(
            page.status.as_u16(),
            expected,
            "{name} {value}: {}",
            page.body
        );
    }
}

/// `client_credentials` with an assertion of this key.
async fn assert_with(server: &TestApp, signer: &Signer, client: &str, iat: i64) -> Page {
    let mut body = assertion_claims(client, server.app.clock.now());
    body["iat"] = json!(iat);
    let assertion = signer.sign(&signer.header(), &body);
    let fields = [
        ("grant_type", "client_credentials"),
        ("client_assertion_type", ASSERTION_TYPE),
        ("client_assertion", &assertion),
    ];
    server.token(&fields).await
}

#[tokio::test]
async fn f_13_keys_that_were_read_after_an_assertion_was_made_are_the_last_word() {
    for inline in [true, false] {
        let server = TestApp::new(Database::sqlite()).await;
        let (known, wrong) = (Signer::new(Some("1")), Signer::new(Some("2")));
        let keys = |signers: &[&Signer]| json!({ "keys": signers.iter().map(|it| it.jwk()).collect::<Vec<_>>() });
        let publish = |set: &Value| {
            let mut members = json!({
                "token_endpoint_auth_method": "private_key_jwt",
                "grant_types": ["client_credentials"],
            });
            match inline {
                true => members["jwks"] = set.clone(),
                false => {
                    members["jwks_uri"] = json!(server.site.url("/jwks"));
                    server.site.answer("/jwks", Answer::json(set.to_string()));
                }
            }
            server.site.publish("/c.json", members)
        };
        let client = publish(&keys(&[&known]));
        server
            .rule(
                "app.example.com",
                wayleave::policy::client_rules::Tier::Listed,
            )
            .await;
        let begun = server.app.clock.now().0;
        assert_eq!(
            assert_with(&server, &known, &client, begun).await.status,
            200,
            "{inline}"
        );
        let connections = server.site.connections();
        // Keys read after its `iat`: 401, and nothing is asked.
        let page = assert_with(&server, &wrong, &client, begun - 1).await;
        assert_eq!(
            refusal(&page),
            (401, "invalid_client".to_owned()),
            "{inline}"
        );
        // Before it, while the cool-down runs: 503.
        server.app.clock.advance(10);
        let page = assert_with(&server, &wrong, &client, begun + 10).await;
        assert_eq!(
            refusal(&page),
            (503, "temporarily_unavailable".to_owned()),
            "{inline}"
        );
        assert!(!page.header("retry-after").is_empty());
        assert_eq!(server.site.connections(), connections, "{inline}");
        // Before it, the cool-down over: they are read, and do not have it; so often as it comes.
        for _ in 0..3 {
            server.app.clock.advance(31);
            let page = assert_with(&server, &wrong, &client, server.app.clock.now().0).await;
            assert_eq!(
                refusal(&page),
                (401, "invalid_client".to_owned()),
                "{inline}"
            );
        }
        assert_eq!(server.site.connections(), connections + 3, "{inline}");
        // They are read, and have it.
        server.app.clock.advance(31);
        publish(&keys(&[&known, &wrong]));
        let page = assert_with(&server, &wrong, &client, server.app.clock.now().0).await;
        assert_eq!(page.status, 200, "{inline}: {}", page.body);
        // The host is down: nobody knows.
        server.app.clock.advance(31);
        let path = if inline { "/c.json" } else { "/jwks" };
        server.site.answer(path, Answer::status(503));
        let third = Signer::new(Some("3"));
        let page = assert_with(&server, &third, &client, server.app.clock.now().0).await;
        assert_eq!(
            refusal(&page),
            (503, "temporarily_unavailable".to_owned()),
            "{inline}"
        );
    }
}

#[tokio::test]
async fn f_14_an_algorithm_that_the_document_does_not_name_is_refused_at_once() {
    let server = TestApp::new(Database::sqlite()).await;
    let signer = Signer::new(Some("1"));
    server
        .rule(
            "app.example.com",
            wayleave::policy::client_rules::Tier::Listed,
        )
        .await;
    let many = "token_endpoint_auth_signing_alg_values_supported";
    let table = [
        (json!({ "token_endpoint_auth_signing_alg": "ES256" }), 200),
        (json!({ "token_endpoint_auth_signing_alg": "RS256" }), 401),
        (json!({ many: ["RS256", "ES256"] }), 200),
        (json!({ many: ["RS256", "EdDSA"] }), 401),
        (json!({}), 200),
    ];
    for (n, (mut members, expected)) in table.into_iter().enumerate() {
        members["token_endpoint_auth_method"] = json!("private_key_jwt");
        members["grant_types"] = json!(["client_credentials"]);
        members["jwks_uri"] = json!(server.site.url("/jwks"));
        server
            .site
            .answer("/jwks", Answer::json(signer.jwks().to_string()));
        let client = server.site.publish(&format!("/{n}.json"), members.clone());
        let asked = server.site.requests().len();
        let page = assert_with(&server, &signer, &client, server.app.clock.now().0).await;
        assert_eq!(page.status.as_u16(), expected, "{members}: {}", page.body);
        let keys = server.site.requests()[asked..]
            .iter()
            .any(|head| head.contains("/jwks "));
        assert!(expected == 200 || !keys, "{members}: no key is read");
    }
}

#[tokio::test]
async fn f_15_a_confidential_client_without_its_assertion_is_told_what_is_missing() {
    let server = TestApp::new(Database::sqlite()).await;
    let signer = Signer::new(Some("1"));
    let members = json!({ "token_endpoint_auth_method": "private_key_jwt", "jwks": signer.jwks() });
    let client = server.site.publish("/c.json", members);
    let flow = server.flow(&client);
    let mut browser = server.signed_in().await;
    let real = server.code(&mut browser, &flow).await;
    let made_up = "wl_ac_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    for code in [made_up, "nothing", real.as_str()] {
        let page = server.redeem(&flow, code).await;
        assert_eq!(refusal(&page), (401, "invalid_client".to_owned()), "{code}");
        let told = page.json()["error_description"]
            .as_str()
            .unwrap()
            .to_owned();
        assert!(
            told.contains("private_key_jwt") && told.contains("client_assertion"),
            "{told}"
        );
    }
    let page = server.refresh(&client, "wl_rt_nothing").await;
    assert_eq!(refusal(&page), (401, "invalid_client".to_owned()));
    // A public client is told what it was told.
    let public = server.site.publish("/p.json", json!({}));
    server.code(&mut browser, &server.flow(&public)).await;
    let page = server.redeem(&server.flow(&public), made_up).await;
    assert_eq!(refusal(&page), (400, "invalid_grant".to_owned()));
}

#[tokio::test]
async fn f_16_state_is_carried_back_whatever_is_wrong() {
    let server = TestApp::new(Database::sqlite()).await;
    let client = server.site.publish("/c.json", json!({}));
    let mut browser = server.signed_in().await;
    let long = "s".repeat(4_096);
    let flow = server.flow(&client).with("state", &long);
    let consent = browser.open(&flow.target()).await;
    let answer = browser.submit(&consent, &[("decision", "allow")]).await;
    assert_eq!(sent(&answer, "state"), long);
    let refused = [
        ("response_type", "token", "unsupported_response_type"),
        ("code_challenge", "", "invalid_request"),
        ("scope", "nowhere", "invalid_scope"),
        ("resource", "https://nowhere.example.com/", "invalid_target"),
        ("prompt", "none login", "invalid_request"),
        ("request", "x", "request_not_supported"),
        ("max_age", "x", "invalid_request"),
    ];
    for (name, value, error) in refused {
        let page = browser.get(&flow.clone().with(name, value).target()).await;
        assert_eq!(
            (page.status.as_u16(), sent(&page, "error")),
            (303, error.to_owned()),
            "{name}"
        );
        assert_eq!(
            (sent(&page, "state"), sent(&page, "iss")),
            (long.clone(), "http://127.0.0.1:8080".to_owned())
        );
    }
    let longer = "s".repeat(4_097);
    let page = browser.get(&flow.with("state", &longer).target()).await;
    assert_eq!(
        (sent(&page, "error"), sent(&page, "state")),
        ("invalid_request".to_owned(), longer)
    );
}

#[tokio::test]
async fn f_19_a_registered_client_that_authenticates_may_come_without_a_challenge() {
    let hash = "n4bQgYhMfWWaL-qgxVrQFaO_TxsrC4Is0V1sFbDwCgg";
    let client = |id: &str, pkce: &str| {
        format!(
            "{{ client_id = '{id}', redirect_uris = ['https://{id}.example.com/cb'], client_secret_sha256 = '{hash}'{pkce} }}"
        )
    };
    let registered = format!(
        "[{}, {}, {}]",
        client("nonce", ", pkce = 'nonce'"),
        client("optional", ", pkce = 'optional'"),
        client("required", "")
    );
    let server = TestApp::with(
        Database::sqlite(),
        &[("WAYLEAVE_CLIENTS__REGISTERED", &registered)],
    )
    .await;
    let mut browser = server.signed_in().await;
    let table = [
        ("nonce", "n", true),
        ("nonce", "", false),
        ("optional", "", true),
        ("required", "n", false),
    ];
    for (id, nonce, accepted) in table {
        let redirect = format!("https://{id}.example.com/cb");
        let flow = server
            .flow(id)
            .with("redirect_uri", &redirect)
            .with("scope", "openid")
            .with("nonce", nonce);
        let bare = flow
            .clone()
            .with("code_challenge", "")
            .with("code_challenge_method", "");
        let page = server.allow(&mut browser, &bare).await;
        if !accepted {
            assert_eq!(sent(&page, "error"), "invalid_request", "{id} {nonce}");
            continue;
        }
        let code = sent(&page, "code");
        // The secret is `test`, SHA-256 of which stands above.
        let basic = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, format!("{id}:test"));
        let basic = format!("Basic {basic}");
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", &code),
            ("redirect_uri", &redirect),
        ];
        let page = server
            .call("/token", &fields, &[("authorization", &basic)])
            .await;
        assert_eq!(page.status, 200, "{id}: {}", page.body);
        if !nonce.is_empty() {
            assert_eq!(
                claims(page.json()["id_token"].as_str().unwrap())["nonce"],
                nonce
            );
        }
        // One that brings a challenge is held to it.
        let code = server.code(&mut browser, &flow).await;
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", &code),
            ("redirect_uri", &redirect),
        ];
        let page = server
            .call("/token", &fields, &[("authorization", &basic)])
            .await;
        assert_eq!(refusal(&page), (400, "invalid_grant".to_owned()), "{id}");
    }
    // A public client cannot be registered so.
    for pkce in ["nonce", "optional"] {
        let public = json!({ "client_id": "p", "redirect_uris": ["https://p.example.com/cb"], "pkce": pkce });
        let read: Result<wayleave::policy::registration::Registered, _> =
            serde_json::from_value(public);
        assert!(read.unwrap_err().to_string().contains("pkce"), "{pkce}");
    }
}

#[tokio::test]
async fn y_09_the_mark_of_a_fresh_sign_in_is_good_in_its_browser_and_for_a_while() {
    let server = TestApp::new(Database::sqlite()).await;
    let client = server.site.publish("/c.json", json!({}));
    let mut browser = server.signed_in().await;
    let flow = server.flow(&client).with("prompt", "login");
    server.code(&mut browser, &server.flow(&client)).await;
    let sign_in = async |browser: &mut crate::support::Browser| {
        let login = browser.open(&flow.target()).await;
        assert_eq!(login.text("h1"), "Sign in");
        let page = browser
            .submit(&login, &[("username", "ada"), ("password", PASSWORD)])
            .await;
        page.location().unwrap().to_owned()
    };
    // Its own browser, in time.
    let target = sign_in(&mut browser).await;
    assert!(!sent(&browser.get(&target).await, "code").is_empty());
    // Another browser, in which the same person is signed in later than the mark says.
    let mut other = server.signed_in().await;
    let page = other.open(&target).await;
    assert_eq!(page.text("h1"), "Sign in", "{}", page.body);
    // The same browser, when its time is over.
    let target = sign_in(&mut browser).await;
    server.app.clock.advance(901);
    let page = browser.open(&target).await;
    assert_eq!(page.text("h1"), "Sign in", "{}", page.body);
}

/// Item 16: the metadata and the challenge of a resource name the smallest set of scopes that is of use, never all.
#[test]
fn f_22_a_resource_tells_clients_its_baseline() {
    let resources = "[{ id = 'https://notes.example.com/mcp', scopes = { 'notes.read' = { meaning = 'Read', baseline = true }, \
        'notes.write' = 'Write' } }, { id = 'https://bare.example.com/', scopes = { all = 'Everything' } }]";
    let folder = tempfile::tempdir().unwrap();
    let told = |url: &str| {
        let mut command = wayleave(folder.path());
        command
            .env("WAYLEAVE_RESOURCES", resources)
            .args(["resource", "metadata", url, "--json"]);
        let output = crate::process::run(command, None);
        let told: Value = serde_json::from_slice(&output.stdout).unwrap();
        told
    };
    let notes = told("https://notes.example.com/mcp");
    assert_eq!(notes["document"]["scopes_supported"], json!(["notes.read"]));
    assert!(
        notes["www_authenticate"]
            .as_str()
            .unwrap()
            .ends_with("scope=\"notes.read\""),
        "{notes}"
    );
    let bare = told("https://bare.example.com/");
    assert!(bare["document"].get("scopes_supported").is_none(), "{bare}");
    assert!(
        !bare["www_authenticate"].as_str().unwrap().contains("scope"),
        "{bare}"
    );
}

/// Item 20: a refusal by policy names the key or the rule that would allow it.
#[tokio::test]
async fn f_23_a_refusal_by_policy_names_what_would_allow_it() {
    let server = TestApp::new(Database::sqlite()).await;
    let device = "urn:ietf:params:oauth:grant-type:device_code";
    let members = json!({ "grant_types": ["authorization_code", device, "refresh_token"] });
    let client = server.site.publish("/c.json", members);
    let told = |page: &Page| {
        page.json()["error_description"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let page = server
        .call("/device_authorization", &[("client_id", &client)], &[])
        .await;
    assert_eq!(refusal(&page), (400, "unauthorized_client".to_owned()));
    assert!(told(&page).contains("[[policy.clients]]"), "{}", page.body);

    let mut browser = server.signed_in().await;
    let table = [
        ("resource", "https://admin.example.com/", "tier approved"),
        ("resource", "https://nowhere.example.com/", "[[resources]]"),
        ("scope", "nowhere", "[[resources]]"),
    ];
    for (name, value, named) in table {
        let flow = server.flow(&client).with(name, value);
        let page = browser.get(&flow.target()).await;
        let told = sent(&page, "error_description");
        assert!(told.contains(named), "{name} {value}: {told}");
    }
    let rule = wayleave::policy::client_rules::Rule {
        grants: Some(Vec::new()),
        ..wayleave::policy::client_rules::Rule::new(
            client.parse().unwrap(),
            wayleave::policy::client_rules::Tier::Listed,
        )
    };
    let now = server.app.clock.now();
    server.app.store.put_client_rule(rule, now).await.unwrap();
    server.app.clients.notice_changes().await.unwrap();
    let page = browser.get(&server.flow(&client).target()).await;
    let told = sent(&page, "error_description");
    assert!(
        told.contains("authorization_code is missing in its grants"),
        "{told}"
    );
}
