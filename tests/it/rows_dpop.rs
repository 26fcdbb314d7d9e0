//! Proofs of possession: section 3(e), P-… of the attack corpus, with.

use serde_json::{Value, json};

use crate::support::{
    Database, Page, Signer, TestApp,
    app::{Flow, VERIFIER, claims, param},
    on_both,
    signer::{ASSERTION_TYPE, ISSUER},
};

/// A nonce of the server, as it hands them out.
async fn nonce(server: &TestApp, signer: &Signer) -> String {
    let proof = signer.proof("POST", "/token", server.app.clock.now(), json!({}));
    let page = server
        .call(
            "/token",
            &[
                ("grant_type", "x"),
                ("client_id", "https://app.example.com/c"),
            ],
            &[("dpop", &proof)],
        )
        .await;
    assert_eq!(
        (page.status.as_u16(), page.json()["error"].as_str().unwrap()),
        (400, "use_dpop_nonce"),
        "P-09"
    );
    page.header("dpop-nonce").to_owned()
}

pub(crate) async fn proof(server: &TestApp, signer: &Signer, path: &str) -> String {
    let nonce = nonce(server, signer).await;
    signer.proof(
        "POST",
        path,
        server.app.clock.now(),
        json!({ "nonce": nonce }),
    )
}

fn exchange<'a>(flow: &'a Flow, code: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("grant_type", "authorization_code"),
        ("code", code),
        ("client_id", flow.get("client_id")),
        ("redirect_uri", flow.get("redirect_uri")),
        ("code_verifier", VERIFIER),
    ]
}

async fn code(server: &TestApp, flow: &Flow) -> String {
    let mut browser = server.signed_in().await;
    server.code(&mut browser, flow).await
}

fn error(page: &Page) -> (u16, String) {
    (
        page.status.as_u16(),
        page.json()["error"].as_str().unwrap_or_default().to_owned(),
    )
}

on_both! {
    async fn p_01_p_10_p_11_x_15_x_21_x_36_tokens_are_bound_to_the_key_and_refreshed_with_it(database) {
        let server = TestApp::new(database).await;
        let client = server.site.publish("/c.json", json!({}));
        let (signer, thief) = (Signer::new(None), Signer::new(None));
        let flow = server.flow(&client).with("dpop_jkt", &signer.thumbprint());
        // X-15, P-10: the code is bound to the key that the request named.
        let burnt = code(&server, &flow).await;
        let proof_of_thief = proof(&server, &thief, "/token").await;
        let page = server.call("/token", &exchange(&flow, &burnt), &[("dpop", &proof_of_thief)]).await;
        assert_eq!(error(&page), (400, "invalid_grant".to_owned()));
        let burnt = code(&server, &flow).await;
        assert_eq!(error(&server.redeem(&flow, &burnt).await), (400, "invalid_dpop_proof".to_owned()));

        let good = code(&server, &flow).await;
        let own = proof(&server, &signer, "/token").await;
        let page = server.call("/token", &exchange(&flow, &good), &[("dpop", &own)]).await;
        assert_eq!((page.status.as_u16(), &page.json()["token_type"]), (200, &json!("DPoP")), "{}", page.body);
        let tokens = page.json();
        assert_eq!(claims(tokens["access_token"].as_str().unwrap())["cnf"]["jkt"], signer.thumbprint());
        let refresh = tokens["refresh_token"].as_str().unwrap().to_owned();
        let fields = |token| [("grant_type", "refresh_token"), ("refresh_token", token), ("client_id", client.as_str())];
        // P-11, X-21, X-36: another key, or none, gets nothing and ends nothing.
        for _ in 0..2 {
            let page = server.call("/token", &fields(&refresh), &[("dpop", &proof(&server, &thief, "/token").await)]).await;
            assert_eq!(error(&page), (400, "invalid_grant".to_owned()));
            assert_eq!(error(&server.refresh(&client, &refresh).await), (400, "invalid_grant".to_owned()));
        }
        let page = server.call("/token", &fields(&refresh), &[("dpop", &proof(&server, &signer, "/token").await)]).await;
        assert_eq!((page.status.as_u16(), &page.json()["token_type"]), (200, &json!("DPoP")), "{}", page.body);
        let next = page.json()["refresh_token"].as_str().unwrap().to_owned();
        assert_ne!(next, refresh);
        // Replayed within the grace by somebody without the key: refused, and the family lives.
        assert_eq!(error(&server.refresh(&client, &refresh).await), (400, "invalid_grant".to_owned()));
        let page = server.call("/token", &fields(&next), &[("dpop", &proof(&server, &signer, "/token").await)]).await;
        assert_eq!(page.status, 200, "{}", page.body);
    }

    async fn p_06_a_proof_serves_once(database) {
        let server = TestApp::new(database).await;
        let client = server.site.publish("/c.json", json!({}));
        let signer = Signer::new(None);
        let flow = server.flow(&client);
        let own = proof(&server, &signer, "/token").await;
        let first = code(&server, &flow).await;
        assert_eq!(server.call("/token", &exchange(&flow, &first), &[("dpop", &own)]).await.status, 200);
        let second = code(&server, &flow).await;
        let page = server.call("/token", &exchange(&flow, &second), &[("dpop", &own)]).await;
        assert_eq!(error(&page), (400, "invalid_dpop_proof".to_owned()));
        // The code was not touched.
        let again = server.restart().await;
        let mut browser = again.browser();
        let page = crate::support::app::call(&mut browser, "/token", &exchange(&flow, &second), &[("dpop", &own)]).await;
        assert_eq!(error(&page), (400, "invalid_dpop_proof".to_owned()), "after a restart");
        let fresh = proof(&server, &signer, "/token").await;
        let mut browsers: Vec<_> = (0..50).map(|n| if n % 2 == 0 { server.browser() } else { again.browser() }).collect();
        let fields = exchange(&flow, &second);
        let headers = [("dpop", fresh.as_str())];
        let calls = browsers.iter_mut().map(|browser| crate::support::app::call(browser, "/token", &fields, &headers));
        let pages = futures_util::future::join_all(calls).await;
        assert_eq!(pages.iter().filter(|page| page.status == 200).count(), 1);
    }

    /// One made at the edge of the future, and a server whose clock is behind: it is remembered while either accepts it.
    async fn p_06_a_proof_serves_once_whatever_clocks_say(database) {
        let server = TestApp::with(database, &[("WAYLEAVE_TOKENS__DPOP_NONCE_REQUIRED", "false")]).await;
        let client = server.site.publish("/c.json", json!({}));
        let (flow, signer) = (server.flow(&client), Signer::new(None));
        let (behind, start) = (server.restart().await, server.app.clock.now());
        let own = signer.proof("POST", "/token", start + 10, json!({}));
        let headers = [("dpop", own.as_str())];
        let fields = exchange(&flow, "unknown");
        server.app.clock.advance(60);
        // By the other clock it is ten seconds ahead, by this one fifty old.
        let spent = crate::support::app::call(&mut behind.browser(), "/token", &fields, &headers).await;
        assert_eq!(error(&spent), (400, "invalid_grant".to_owned()), "the proof is good: {}", spent.body);
        let mut replays = 0;
        for seconds in (0..140).step_by(5) {
            let (now, theirs) = (server.app.clock.now(), behind.app.clock.now());
            // The one that is ahead deletes what is over.
            server.app.store.sweep(900, now).await.unwrap();
            for (age, mut browser) in [
                (now - (start + 10), server.browser()),
                (theirs - (start + 10), behind.browser()),
            ] {
                if !(-10..=60).contains(&age) {
                    continue;
                }
                let page = crate::support::app::call(&mut browser, "/token", &fields, &headers).await;
                assert_eq!(error(&page), (400, "invalid_dpop_proof".to_owned()), "{seconds}: {}", page.body);
                assert!(page.body.contains("used before"), "{seconds}: {}", page.body);
                replays += 1;
            }
            server.app.clock.advance(5);
            behind.app.clock.advance(5);
        }
        assert!(replays > 15, "{replays}");
    }

    /// The assertion is not spent before the nonce is checked: the same request, with the nonce, goes through.
    async fn p_09_the_same_assertion_comes_again_with_the_nonce(database) {
        let server = TestApp::new(database).await;
        let (signer, key) = (Signer::new(None), Signer::new(None));
        let client = server.site.publish("/c.json", json!({
            "token_endpoint_auth_method": "private_key_jwt", "jwks": key.jwks(),
            "dpop_bound_access_tokens": true, "require_pushed_authorization_requests": true,
        }));
        let flow = server.flow(&client);
        let query = flow.query();
        let pairs: Vec<_> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let assertion = key.assertion(&client, server.app.clock.now());
        let mut fields: Vec<_> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        fields.extend([("client_assertion_type", ASSERTION_TYPE), ("client_assertion", &assertion)]);
        let bare = signer.proof("POST", "/par", server.app.clock.now(), json!({}));
        let page = server.call("/par", &fields, &[("dpop", &bare)]).await;
        assert_eq!(error(&page), (400, "use_dpop_nonce".to_owned()));
        let nonce = json!({ "nonce": page.header("dpop-nonce") });
        let with_nonce = signer.proof("POST", "/par", server.app.clock.now(), nonce);
        let page = server.call("/par", &fields, &[("dpop", &with_nonce)]).await;
        assert_eq!(page.status, 201, "{}", page.body);
        let uri = page.json()["request_uri"].as_str().unwrap().to_owned();
        // P-10: the code is bound to the key of the pushed request's proof.
        let mut browser = server.signed_in().await;
        let mut to = url::form_urlencoded::Serializer::new(String::new());
        to.append_pair("client_id", &client).append_pair("request_uri", &uri);
        let page = browser.open(&format!("/authorize?{}", to.finish())).await;
        let page = browser.submit(&page, &[("decision", "allow")]).await;
        let code = param(page.location().unwrap_or_else(|| panic!("{}", page.body)), "code").unwrap();
        let assertion = key.assertion(&client, server.app.clock.now());
        let mut fields = exchange(&flow, &code);
        fields.extend([("client_assertion_type", ASSERTION_TYPE), ("client_assertion", &assertion)]);
        let page = server.call("/token", &fields, &[("dpop", &proof(&server, &signer, "/token").await)]).await;
        assert_eq!((page.status.as_u16(), &page.json()["token_type"]), (200, &json!("DPoP")), "{}", page.body);
    }
}

/// Every way in which a proof is none, at the endpoint.
#[tokio::test]
async fn p_02_p_03_p_04_p_05_what_a_proof_has_to_be() {
    let server = TestApp::new(Database::sqlite()).await;
    let client = server.site.publish("/c.json", json!({}));
    let signer = Signer::new(None);
    let now = server.app.clock.now();
    let nonce = nonce(&server, &signer).await;
    let with = |more: Value| {
        let mut all = json!({ "nonce": nonce });
        for (name, value) in more.as_object().unwrap() {
            all[name] = value.clone();
        }
        signer.proof("POST", "/token", now, all)
    };
    let url = |url: &str| with(json!({ "htu": url }));
    let host = ISSUER.strip_prefix("http://").unwrap();
    let mut header = json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": signer.jwk() });
    let claims = json!({ "htm": "POST", "htu": format!("{ISSUER}/token"), "iat": now.0, "jti": "j", "nonce": nonce });
    let mut headers = Vec::new();
    for (name, value) in [
        ("typ", json!("JWT")),
        ("typ", Value::Null),
        ("alg", json!("none")),
        ("alg", json!("HS256")),
        ("alg", json!("RS256")),
        ("alg", json!("ES512")),
        ("jwk", Value::Null),
        ("jwk", json!({ "kid": "1" })),
        ("jwk", json!({ "kty": "oct", "k": "AAAA" })),
        (
            "jwk",
            json!({ "kty": "EC", "crv": "P-256", "x": "AAAA", "y": "AAAA" }),
        ),
        ("jwk", Signer::new(None).jwk()),
    ] {
        let before = header[name].take();
        header[name] = value;
        headers.push(("P-03", signer.sign(&header, &claims), false));
        header[name] = before;
    }
    let mut private = signer.jwk();
    private["d"] = json!("AAAA");
    let header = json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": private });
    headers.push(("P-03 private", signer.sign(&header, &claims), false));
    let table = vec![
        ("P-01", with(json!({})), true),
        ("P-02", "not a jwt".to_owned(), false),
        ("P-02", "a".repeat(8_193), false),
        ("P-04", with(json!({ "htm": "GET" })), false),
        ("P-04", with(json!({ "htm": "post" })), false),
        ("P-04", with(json!({ "htm": null })), false),
        ("P-04", url("https://127.0.0.1:8080/token"), false),
        ("P-04", url("http://127.0.0.1:8081/token"), false),
        ("P-04", url("http://evil.example.net/token"), false),
        ("P-04", url(&format!("{ISSUER}/token/")), false),
        ("P-04", url(&format!("{ISSUER}/par")), false),
        ("P-04", url(&format!("http://user@{host}/token")), false),
        ("P-04", with(json!({ "htu": 1 })), false),
        ("P-04 ignored", url(&format!("{ISSUER}/token?a=1#b")), true),
        ("P-04 case", url(&format!("HTTP://{host}/token")), true),
        ("P-05", with(json!({ "iat": null })), false),
        ("P-05", with(json!({ "iat": now.0.to_string() })), false),
        ("P-05", with(json!({ "iat": now.0 - 61 })), false),
        ("P-05", with(json!({ "iat": now.0 + 11 })), false),
        ("P-05", with(json!({ "iat": now.0 - 60 })), true),
        ("P-05", with(json!({ "iat": now.0 + 10 })), true),
        ("P-05", with(json!({ "exp": now.0 - 1 })), false),
        ("P-05", with(json!({ "nbf": now.0 + 61 })), false),
        ("P-06", with(json!({ "jti": "j".repeat(129) })), false),
        ("P-06", with(json!({ "jti": "" })), false),
    ];
    for (case, proof, accepted) in table.into_iter().chain(headers) {
        let fields = [
            ("grant_type", "refresh_token"),
            ("refresh_token", "x"),
            ("client_id", client.as_str()),
        ];
        let page = server.call("/token", &fields, &[("dpop", &proof)]).await;
        let expected = if accepted {
            "invalid_grant"
        } else {
            "invalid_dpop_proof"
        };
        assert_eq!(
            error(&page),
            (400, expected.to_owned()),
            "{case}: {proof}: {}",
            page.body
        );
    }
    let (one, two) = (with(json!({})), with(json!({})));
    let fields = [
        ("grant_type", "refresh_token"),
        ("refresh_token", "x"),
        ("client_id", client.as_str()),
    ];
    let page = server
        .call("/token", &fields, &[("dpop", &one), ("dpop", &two)])
        .await;
    assert_eq!(
        error(&page),
        (400, "invalid_dpop_proof".to_owned()),
        "P-02 two"
    );
}

#[tokio::test]
async fn p_09_a_nonce_serves_for_two_periods_on_every_instance() {
    let server = TestApp::new(Database::sqlite()).await;
    let signer = Signer::new(None);
    let nonce = nonce(&server, &signer).await;
    let fields = [
        ("grant_type", "refresh_token"),
        ("refresh_token", "x"),
        ("client_id", "https://app.example.com/c"),
    ];
    let ask = async |nonce: &str, server: &TestApp| {
        let proof = signer.proof(
            "POST",
            "/token",
            server.app.clock.now(),
            json!({ "nonce": nonce }),
        );
        error(&server.call("/token", &fields, &[("dpop", &proof)]).await).1
    };
    assert_eq!(ask(&nonce, &server).await, "invalid_grant");
    server.app.clock.advance(59);
    assert_eq!(ask(&nonce, &server).await, "invalid_grant");
    let again = server.restart().await;
    let proof = signer.proof(
        "POST",
        "/token",
        again.app.clock.now(),
        json!({ "nonce": nonce }),
    );
    let page =
        crate::support::app::call(&mut again.browser(), "/token", &fields, &[("dpop", &proof)])
            .await;
    assert_eq!(error(&page).1, "invalid_grant", "another instance");
    server.app.clock.advance(62);
    assert_eq!(ask(&nonce, &server).await, "use_dpop_nonce");
    assert_eq!(ask("made up", &server).await, "use_dpop_nonce");
    // Where nonces are not required, a wrong one is still wrong.
    let lax = TestApp::with(
        Database::sqlite(),
        &[("WAYLEAVE_TOKENS__DPOP_NONCE_REQUIRED", "false")],
    )
    .await;
    let proof = signer.proof("POST", "/token", lax.app.clock.now(), json!({}));
    assert_eq!(
        error(&lax.call("/token", &fields, &[("dpop", &proof)]).await).1,
        "invalid_grant"
    );
    assert_eq!(ask("made up", &lax).await, "use_dpop_nonce");
}

#[tokio::test]
async fn a_client_that_asks_for_bound_tokens_gets_no_other() {
    let server = TestApp::new(Database::sqlite()).await;
    let client = server
        .site
        .publish("/c.json", json!({ "dpop_bound_access_tokens": true }));
    let flow = server.flow(&client);
    let code = code(&server, &flow).await;
    assert_eq!(
        error(&server.redeem(&flow, &code).await),
        (400, "invalid_dpop_proof".to_owned())
    );
    // P-10, at the authorization endpoint.
    let mut browser = server.signed_in().await;
    let page = browser.get(&flow.with("dpop_jkt", "short").target()).await;
    assert_eq!(
        param(page.location().unwrap(), "error").as_deref(),
        Some("invalid_request")
    );
}
