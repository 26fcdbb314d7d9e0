//! `/token` and `/revoke`: RFC 6749 §4.1.3, §5, §6, RFC 7009, RFC 8707 §2.2, RFC 9068.

use std::collections::BTreeSet;

use axum::body::Body;
use http::{Request, header};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, jwk::JwkSet};
use serde_json::json;

use crate::support::{
    Database, TestApp,
    app::{VERIFIER, claims, part},
    on_both,
};

on_both! {
    async fn a_code_becomes_tokens_that_verify_by_the_published_keys(database) {
        let server = TestApp::new(database).await;
        let client = server.site.publish("/c.json", json!({}));
        let mut browser = server.signed_in().await;
        let flow = server.flow(&client).with("scope", "notes.read").with("resource", "https://notes.example.com/mcp");
        let code = server.code(&mut browser, &flow).await;
        let page = server.redeem(&flow, &code).await;
        assert_eq!((page.status.as_u16(), page.header("cache-control")), (200, "no-store"));
        assert_eq!(page.header("content-type"), "application/json");
        let tokens = page.json();
        assert_eq!((&tokens["token_type"], &tokens["expires_in"], &tokens["scope"]), (&json!("Bearer"), &json!(600), &json!("notes.read")));
        assert!(tokens["refresh_token"].as_str().unwrap().starts_with("wl_rt_"));

        let keys: JwkSet = serde_json::from_value(server.browser().get("/jwks").await.json()).unwrap();
        let token = tokens["access_token"].as_str().unwrap();
        assert_eq!(part(token, 0)["typ"], "at+jwt");
        let key = keys.find(part(token, 0)["kid"].as_str().unwrap()).unwrap();
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_audience(&["https://notes.example.com/mcp"]);
        validation.set_issuer(&["http://127.0.0.1:8080"]);
        validation.validate_exp = false; // the test's clock, not the machine's
        jsonwebtoken::decode::<serde_json::Value>(token, &DecodingKey::from_jwk(key).unwrap(), &validation).unwrap();
        let claims = claims(token);
        assert_eq!(claims["client_id"], client.as_str());
        assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 600);
        for name in ["sub", "jti", "grant_id"] {
            assert!(claims[name].as_str().is_some_and(|text| !text.is_empty()), "{name}: {claims}");
        }
    }

    async fn a_slash_at_the_end_makes_no_other_resource(database) {
        let server = TestApp::new(database).await;
        let client = server.site.publish("/c.json", json!({}));
        let mut browser = server.signed_in().await;
        // As URL libraries write it, and as people do; tokens name it as it is configured.
        for (asked, again) in [("https://notes.example.com/mcp/", "https://notes.example.com/mcp"), ("https://mail.example.com", "https://mail.example.com/")] {
            let flow = server.flow(&client).with("resource", asked);
            let code = server.code(&mut browser, &flow).await;
            let tokens = server.redeem(&flow, &code).await.json();
            let configured = server.app.config.resources.find(asked).unwrap().id.clone();
            assert_eq!(claims(tokens["access_token"].as_str().unwrap())["aud"], configured.as_str(), "{tokens}");
            let fields = [("grant_type", "refresh_token"), ("refresh_token", tokens["refresh_token"].as_str().unwrap()), ("client_id", &client), ("resource", again)];
            let page = server.token(&fields).await;
            assert_eq!(page.status, 200, "{}", page.body);
        }
    }

    async fn a_code_works_once_and_its_second_use_ends_what_it_gave(database) {
        let server = TestApp::new(database).await;
        let client = server.site.publish("/c.json", json!({}));
        let mut browser = server.signed_in().await;
        let flow = server.flow(&client);
        let code = server.code(&mut browser, &flow).await;
        let first = server.redeem(&flow, &code).await;
        assert_eq!(first.status, 200);
        server.app.clock.advance(4);
        let second = server.redeem(&flow, &code).await;
        assert_eq!((second.status.as_u16(), &second.json()["error"]), (400, &json!("invalid_grant")));
        let refresh = server.refresh(&client, first.json()["refresh_token"].as_str().unwrap()).await;
        assert_eq!((refresh.status.as_u16(), &refresh.json()["error"]), (400, &json!("invalid_grant")));
    }

    async fn sixty_four_redemptions_of_one_code_give_one_success(database) {
        let server = TestApp::new(database).await;
        let client = server.site.publish("/c.json", json!({}));
        let mut browser = server.signed_in().await;
        let flow = server.flow(&client);
        let code = server.code(&mut browser, &flow).await;
        let all = futures_util::future::join_all((0..64).map(|_| server.redeem(&flow, &code))).await;
        let successes = all.iter().filter(|page| page.status == 200).count();
        assert_eq!(successes, 1, "{:?}", all.iter().map(|page| page.status).collect::<Vec<_>>());
        assert!(all.iter().filter(|page| page.status != 200).all(|page| page.status == 400 && page.json()["error"] == "invalid_grant"));
    }

    async fn sixty_four_uses_of_one_refresh_token_give_one_successor(database) {
        let server = TestApp::new(database).await;
        let client = server.site.publish("/c.json", json!({}));
        let token = server.refresh_token(&client).await;
        let all = futures_util::future::join_all((0..64).map(|_| server.refresh(&client, &token))).await;
        assert!(all.iter().all(|page| page.status == 200), "{:?}", all.iter().map(|page| page.status).collect::<Vec<_>>());
        let successors: BTreeSet<_> = all.iter().map(|page| page.json()["refresh_token"].as_str().unwrap().to_owned()).collect();
        assert_eq!(successors.len(), 1);
        let successor = successors.first().unwrap();
        assert_ne!(*successor, token);
        assert_eq!(server.refresh(&client, successor).await.status, 200);
    }

    async fn x_33_x_34_a_used_refresh_token_gives_its_successor_again_within_the_grace(database) {
        let server = TestApp::new(database).await;
        let client = server.site.publish("/c.json", json!({}));
        let first = server.refresh_token(&client).await;
        let second = server.refresh(&client, &first).await.json()["refresh_token"].clone();
        server.app.clock.advance(29);
        assert_eq!(server.refresh(&client, &first).await.json()["refresh_token"], second);
        server.app.clock.advance(2);
        assert_eq!(server.refresh(&client, &first).await.status, 400, "after the grace");
        let successor = server.refresh(&client, second.as_str().unwrap()).await;
        assert_eq!((successor.status.as_u16(), &successor.json()["error"]), (400, &json!("invalid_grant")), "the family has ended");
    }

    async fn x_32_x_35_the_use_of_a_successor_ends_the_grace_of_its_predecessor(database) {
        let server = TestApp::new(database).await;
        let client = server.site.publish("/c.json", json!({}));
        let first = server.refresh_token(&client).await;
        let second = server.refresh(&client, &first).await.json()["refresh_token"].as_str().unwrap().to_owned();
        let third = server.refresh(&client, &second).await.json()["refresh_token"].as_str().unwrap().to_owned();
        assert_eq!(server.refresh(&client, &first).await.status, 400);
        assert_eq!(server.refresh(&client, &third).await.status, 400, "the family has ended");
    }

    async fn x_22_x_23_a_refresh_token_ends_by_idleness_by_age_and_with_its_account(database) {
        let server = TestApp::new(database).await;
        let client = server.site.publish("/c.json", json!({}));
        let idle = server.refresh_token(&client).await;
        let disabled = server.refresh_token(&client).await;
        let mut used = server.refresh_token(&client).await;
        for _ in 0..6 {
            server.app.clock.advance(14 * 86_400 - 1);
            used = server.refresh(&client, &used).await.json()["refresh_token"].as_str().unwrap().to_owned();
        }
        assert_eq!(server.refresh(&client, &idle).await.status, 400);
        server.app.clock.advance(6 * 86_400 - 300);
        let last = server.refresh(&client, &used).await.json();
        assert_eq!(last["expires_in"], 306, "no access token outlives its grant");
        server.app.clock.advance(400);
        assert_eq!(server.refresh(&client, last["refresh_token"].as_str().unwrap()).await.status, 400, "90 days are over");
        assert_eq!(server.refresh(&client, &disabled).await.status, 400);

        let token = server.refresh_token(&client).await;
        server.app.store.disable_account("ada".to_owned(), server.app.clock.now()).await.unwrap().unwrap();
        assert_eq!(server.refresh(&client, &token).await.status, 400);
    }

    async fn x_08_x_14_a_code_dies_after_a_minute_or_with_its_account(database) {
        let server = TestApp::new(database).await;
        let client = server.site.publish("/c.json", json!({}));
        let mut browser = server.signed_in().await;
        let flow = server.flow(&client);
        let (in_time, late) = (server.code(&mut browser, &flow).await, server.code(&mut browser, &flow).await);
        server.app.clock.advance(59);
        assert_eq!(server.redeem(&flow, &in_time).await.status, 200);
        server.app.clock.advance(1);
        assert_eq!(server.redeem(&flow, &late).await.status, 400);
        let code = server.code(&mut browser, &flow).await;
        server.app.store.disable_account("ada".to_owned(), server.app.clock.now()).await.unwrap().unwrap();
        assert_eq!(server.redeem(&flow, &code).await.status, 400);
    }

    async fn x_39_revoking_a_refresh_token_ends_its_grant_for_its_own_client_only(database) {
        let server = TestApp::new(database).await;
        let client = server.site.publish("/c.json", json!({}));
        let other = server.site.publish("/d.json", json!({}));
        let token = server.refresh_token(&client).await;
        let revoke = async |client: &str, token: &str| server.browser().post("/revoke", &[("token", token), ("client_id", client)]).await;
        assert_eq!(revoke(&other, &token).await.status, 200);
        let token = server.refresh(&client, &token).await.json()["refresh_token"].as_str().unwrap().to_owned();
        assert_eq!(revoke(&client, "unknown").await.status, 200);
        assert_eq!(revoke(&client, &token).await.status, 200);
        assert_eq!(server.refresh(&client, &token).await.json()["error"], "invalid_grant");
        let access = revoke(&client, "a.b.c").await;
        assert_eq!((access.status.as_u16(), &access.json()["error"]), (400, &json!("unsupported_token_type")));
    }

    async fn a_database_that_is_gone_is_told_as_trouble_that_passes(database) {
        let server = TestApp::new(database).await;
        let client = server.site.publish("/c.json", json!({}));
        let token = server.refresh_token(&client).await;
        let mut browser = server.signed_in().await;
        server.app.store.close().await;
        let page = server.refresh(&client, &token).await;
        assert_eq!((page.status.as_u16(), &page.json()["error"]), (503, &json!("temporarily_unavailable")));
        assert!(!page.header("retry-after").is_empty());
        let page = browser.get(&server.flow(&client).target()).await;
        assert_eq!((page.status.as_u16(), page.text("h1").as_str()), (503, "The server is busy"));
        assert!(!page.header("retry-after").is_empty());
        assert_eq!(server.browser().get("/readyz").await.status, 503);
        for path in ["/healthz", "/jwks", "/.well-known/oauth-authorization-server"] {
            assert_eq!(server.browser().get(path).await.status, 200, "{path}");
        }
    }

    async fn x_20_a_token_request_narrows_scope_and_resource_and_never_widens(database) {
        let server = TestApp::new(database).await;
        let client = server.site.publish("/c.json", json!({}));
        let mut browser = server.signed_in().await;
        let both = server.flow(&client).with("scope", "notes.read mail");
        let query = format!("{}&resource=https%3A%2F%2Fnotes.example.com%2Fmcp&resource=https%3A%2F%2Fmail.example.com%2F", both.target());
        let consent = browser.open(&query).await;
        assert!(consent.body.contains("mail.example.com") && consent.body.contains("notes.example.com"));
        let answer = browser.submit(&consent, &[("decision", "allow")]).await;
        let code = crate::support::app::param(answer.location().unwrap(), "code").unwrap();
        let tokens = server.redeem(&both, &code).await.json();
        let aud = &claims(tokens["access_token"].as_str().unwrap())["aud"];
        assert_eq!(*aud, json!(["https://notes.example.com/mcp", "https://mail.example.com/"]));

        let mut token = tokens["refresh_token"].as_str().unwrap().to_owned();
        let table = [
            (vec![("resource", "https://mail.example.com/"), ("scope", "mail")], Ok(("https://mail.example.com/", "mail"))),
            (vec![("resource", "https://notes.example.com/mcp")], Ok(("https://notes.example.com/mcp", "notes.read mail"))),
            (vec![("resource", "https://unknown.example/")], Err("invalid_target")),
            (vec![("scope", "notes.read notes.write")], Err("invalid_scope")),
        ];
        for (extra, expected) in table {
            let mut fields = vec![("grant_type", "refresh_token"), ("refresh_token", token.as_str()), ("client_id", client.as_str())];
            fields.extend(&extra);
            let json = server.token(&fields).await.json();
            match expected {
                Ok((aud, scope)) => {
                    assert_eq!(claims(json["access_token"].as_str().unwrap())["aud"], aud);
                    assert_eq!(json["scope"], scope);
                    token = json["refresh_token"].as_str().unwrap().to_owned();
                }
                Err(error) => assert_eq!(json["error"], error, "{extra:?}"),
            }
        }
        assert_eq!(server.refresh(&client, &token).await.status, 200, "a refusal spends nothing");
    }
}

#[tokio::test]
async fn x_10_x_11_a_code_is_bound_to_what_it_was_asked_with_and_is_spent_by_a_wrong_try() {
    let server = TestApp::new(Database::sqlite()).await;
    let client = server.site.publish("/c.json", json!({}));
    let other = server.site.publish("/d.json", json!({}));
    let mut browser = server.signed_in().await;
    let flow = server.flow(&client);
    let table: &[&[(&str, &str)]] = &[
        &[("client_id", &other)],
        &[("redirect_uri", "https://app.example.com/other")],
        &[("code_verifier", "")],
        &[(
            "code_verifier",
            "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXK",
        )],
        &[("resource", "https://unknown.example/")],
    ];
    for wrong in table {
        let code = server.code(&mut browser, &flow).await;
        let mut fields = vec![
            ("grant_type", "authorization_code"),
            ("code", code.as_str()),
            ("client_id", client.as_str()),
            ("redirect_uri", flow.get("redirect_uri")),
            ("code_verifier", VERIFIER),
        ];
        for (name, value) in *wrong {
            fields.retain(|(known, _)| known != name);
            fields.push((*name, *value));
        }
        let page = server.token(&fields).await;
        assert_eq!(page.status, 400, "{wrong:?}");
        assert!(
            ["invalid_grant", "invalid_target"].contains(&page.json()["error"].as_str().unwrap()),
            "{wrong:?}"
        );
        assert_eq!(
            server.redeem(&flow, &code).await.status,
            400,
            "{wrong:?}: the code is burnt"
        );
    }
}

#[tokio::test]
async fn x_24_a_loopback_code_is_redeemed_with_the_real_port() {
    let server = TestApp::new(Database::sqlite()).await;
    let client = server.site.publish(
        "/cli.json",
        json!({ "redirect_uris": ["http://127.0.0.1/callback"], "grant_types": null }),
    );
    let mut browser = server.signed_in().await;
    let flow = server
        .flow(&client)
        .with("redirect_uri", "http://127.0.0.1:51353/callback");
    let code = server.code(&mut browser, &flow).await;
    let tokens = server.redeem(&flow, &code).await.json();
    assert!(tokens["access_token"].is_string());
    assert!(
        tokens.get("refresh_token").is_none(),
        "its document does not list refresh_token: {tokens}"
    );
    assert_eq!(
        claims(tokens["access_token"].as_str().unwrap())["aud"],
        "http://127.0.0.1:8080",
        "without resource: the issuer"
    );
    let code = server.code(&mut browser, &flow).await;
    let other_port = flow.with("redirect_uri", "http://127.0.0.1:51354/callback");
    assert_eq!(
        server.redeem(&other_port, &code).await.json()["error"],
        "invalid_grant"
    );
}

#[tokio::test]
async fn x_01_x_02_x_03_every_refusal_of_the_token_endpoint_has_the_rfcs_shape() {
    let server = TestApp::new(Database::sqlite()).await;
    const FORM: &str = "application/x-www-form-urlencoded";
    let long = format!(
        "grant_type=refresh_token&refresh_token={}",
        "a".repeat(70_000)
    );
    let client = "client_id=https%3A%2F%2Fapp.example.com%2Fc";
    let table = [
        (
            "POST",
            "/token",
            FORM,
            format!("grant_type=password&{client}"),
            400,
            "unsupported_grant_type",
        ),
        (
            "POST",
            "/token",
            FORM,
            client.to_owned(),
            400,
            "invalid_request",
        ),
        (
            "POST",
            "/token",
            FORM,
            "grant_type=authorization_code".to_owned(),
            401,
            "invalid_client",
        ),
        (
            "POST",
            "/token",
            FORM,
            format!("grant_type=authorization_code&{client}"),
            400,
            "invalid_request",
        ),
        (
            "POST",
            "/token",
            FORM,
            format!("grant_type=authorization_code&code=x&{client}"),
            400,
            "invalid_grant",
        ),
        (
            "POST",
            "/token",
            FORM,
            format!("grant_type=refresh_token&refresh_token=wl_rt_x&{client}"),
            400,
            "invalid_grant",
        ),
        (
            "POST",
            "/token",
            FORM,
            format!("grant_type=a&grant_type=b&{client}"),
            400,
            "invalid_request",
        ),
        (
            "POST",
            "/token",
            FORM,
            format!("grant_type=a&{client}&client_secret=x"),
            401,
            "invalid_client",
        ),
        (
            "POST",
            "/token",
            FORM,
            "grant_type=%ff".to_owned(),
            400,
            "invalid_request",
        ),
        ("POST", "/token", FORM, long, 413, "invalid_request"),
        (
            "POST",
            "/token",
            "application/json",
            "{}".to_owned(),
            400,
            "invalid_request",
        ),
        (
            "POST",
            "/token",
            "multipart/form-data; boundary=x",
            "x".to_owned(),
            400,
            "invalid_request",
        ),
        (
            "POST",
            "/token?grant_type=x",
            FORM,
            client.to_owned(),
            400,
            "invalid_request",
        ),
        ("GET", "/token", FORM, String::new(), 405, "invalid_request"),
        ("PUT", "/token", FORM, String::new(), 405, "invalid_request"),
        (
            "POST",
            "/revoke",
            FORM,
            client.to_owned(),
            400,
            "invalid_request",
        ),
        (
            "POST",
            "/revoke",
            FORM,
            "token=x".to_owned(),
            401,
            "invalid_client",
        ),
        (
            "GET",
            "/revoke",
            FORM,
            String::new(),
            405,
            "invalid_request",
        ),
    ];
    for (method, target, media, body, status, error) in table {
        let request = Request::builder()
            .method(method)
            .uri(target)
            .header(header::CONTENT_TYPE, media);
        let page = server
            .browser()
            .send(request.body(Body::from(body.clone())).unwrap())
            .await;
        let shown: String = body.chars().take(80).collect();
        assert_eq!(
            page.status, status,
            "{method} {target} {shown}: {}",
            page.body
        );
        assert_eq!(
            page.header("content-type"),
            "application/json",
            "{method} {target} {shown}"
        );
        assert_eq!(
            page.header("cache-control"),
            "no-store",
            "{method} {target} {shown}"
        );
        let json = page.json();
        assert_eq!(json["error"], error, "{method} {target} {shown}");
        assert!(
            json.as_object()
                .unwrap()
                .keys()
                .all(|key| ["error", "error_description"].contains(&key.as_str()))
        );
    }
    assert_eq!(
        server.site.connections(),
        0,
        "the token endpoint never fetches for a public client"
    );

    let request = Request::post("/token")
        .header(header::CONTENT_TYPE, FORM)
        .header(header::AUTHORIZATION, "Basic eDp5");
    let page = server
        .browser()
        .send(request.body(Body::from(client)).unwrap())
        .await;
    assert_eq!(
        (page.status.as_u16(), page.header("www-authenticate")),
        (401, "Basic realm=\"token\"")
    );
}
