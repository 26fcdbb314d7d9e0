//! Introspection, revocation, userinfo and ID tokens: section 3(e), I-… of the attack corpus, as conversations.

use axum::body::Body;
use base64::{Engine, prelude::*};
use http::Request;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, jwk::JwkSet};
use serde_json::{Value, json};
use wayleave::{
    keys::Keys,
    policy::client_rules::Tier,
    protocol::id_token::SigningAlg,
    secret::{ClientSecret, SecretHash},
    store::{DescribedEmail, Description, Store},
    time::UnixTime,
};

use crate::support::{
    Answer, Browser, Database, Page, Signer, TestApp,
    app::{PASSWORD, call, claims, param, part},
    on_both,
    signer::ISSUER,
};

const NOTES: &str = "https://notes.example.com/mcp";
const MAIL: &str = "https://mail.example.com/";
const SECRET: &str = "wl_cs_a-secret-of-the-tests";

/// Registers a client with [`SECRET`].
async fn register(server: &TestApp, mut registration: Value) {
    let hash = SecretHash::<ClientSecret>::of_bytes(SECRET.as_bytes());
    registration["client_secret_sha256"] = json!(hash.as_str());
    let registered = serde_json::from_value(registration).unwrap();
    let now = server.app.clock.now();
    assert!(server.app.store.add_client(registered, now).await.unwrap());
    server.app.clients.notice_changes().await.unwrap();
}

/// A server on which the resource server of `resource` is registered under the name `api`.
async fn with_api(database: Database, resource: &str) -> TestApp {
    let server = TestApp::new(database).await;
    register(
        &server,
        json!({ "client_id": "api", "resources": [resource] }),
    )
    .await;
    server
}

fn basic(id: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("{id}:{SECRET}")))
}

/// Everything that somebody who signs in as `ada` gets for a client.
async fn tokens(server: &TestApp, client: &str, scope: &str, resource: &str) -> Value {
    let mut browser = server.signed_in().await;
    let flow = server
        .flow(client)
        .with("scope", scope)
        .with("resource", resource);
    let code = server.code(&mut browser, &flow).await;
    let page = server.redeem(&flow, &code).await;
    assert_eq!(page.status, 200, "{}", page.body);
    page.json()
}

async fn introspect_at(browser: &mut Browser, caller: &str, token: &str) -> Page {
    let authorization = basic(caller);
    call(
        browser,
        "/introspect",
        &[("token", token)],
        &[("authorization", &authorization)],
    )
    .await
}

async fn introspect(server: &TestApp, caller: &str, token: &str) -> Page {
    introspect_at(&mut server.browser(), caller, token).await
}

const INACTIVE: &str = r#"{"active":false}"#;

/// A request without a body.
async fn ask(server: &TestApp, method: &str, target: &str, headers: &[(&str, &str)]) -> Page {
    let mut request = Request::builder().method(method).uri(target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::empty()).unwrap();
    server.browser().send(request).await
}

async fn userinfo(server: &TestApp, authorization: &str) -> Page {
    ask(
        server,
        "GET",
        "/userinfo",
        &[("authorization", authorization)],
    )
    .await
}

fn text<'a>(json: &'a Value, name: &str) -> &'a str {
    json[name]
        .as_str()
        .unwrap_or_else(|| panic!("{name}: {json}"))
}

/// The `error` of a challenge, among those of all schemes.
fn challenged(page: &Page) -> String {
    let values = page.headers.get_all("www-authenticate").iter();
    let all: Vec<_> = values.map(|value| value.to_str().unwrap()).collect();
    let (schemes, errors): (Vec<_>, Vec<_>) = all
        .iter()
        .map(|it| (it.split(' ').next().unwrap(), it.split("error=\"").nth(1)))
        .unzip();
    assert_eq!(schemes, ["Bearer", "DPoP"], "{all:?}");
    let error = errors.into_iter().flatten().next().unwrap_or_default();
    error.split('"').next().unwrap().to_owned()
}

/// The error that came back to the client.
fn error_of(page: &Page) -> String {
    param(page.location().unwrap(), "error").unwrap_or_default()
}

/// An ID token verified by the published keys, with another library than the one that signed it.
async fn verified(browser: &mut Browser, token: &str, alg: Algorithm, client: &str) -> Value {
    let keys: JwkSet = serde_json::from_value(browser.get("/jwks").await.json()).unwrap();
    let header = part(token, 0);
    let key = keys.find(text(&header, "kid")).unwrap();
    let mut validation = Validation::new(alg);
    validation.set_audience(&[client]);
    validation.set_issuer(&[ISSUER]);
    validation.validate_exp = false; // the test's clock, not the machine's
    let key = DecodingKey::from_jwk(key).unwrap();
    let decoded = jsonwebtoken::decode::<Value>(token, &key, &validation);
    decoded
        .unwrap_or_else(|error| panic!("{error}: {header}"))
        .claims
}

on_both! {
    async fn i_01_introspection_is_for_callers_that_authenticate(database) {
        let server = with_api(database, NOTES).await;
        let client = server.site.publish("/c.json", json!({}));
        let tokens = tokens(&server, &client, "notes.read", NOTES).await;
        let access = text(&tokens, "access_token");
        let (bearer, wrong) = (format!("Bearer {access}"), format!("Basic {}", BASE64_STANDARD.encode("api:x")));
        type Pairs<'a> = &'a [(&'a str, &'a str)];
        let table: [(&str, Pairs<'_>, Pairs<'_>); 7] = [
            ("nobody", &[], &[]),
            ("a public client", &[("client_id", &client)], &[]),
            ("a public client that is not known", &[("client_id", "https://app.example.com/none.json")], &[]),
            ("an access token", &[], &[("authorization", &bearer)]),
            ("an access token and a name", &[("client_id", &client)], &[("authorization", &bearer)]),
            ("a wrong secret", &[], &[("authorization", &wrong)]),
            ("a name without its secret", &[("client_id", "api")], &[]),
        ];
        for (who, fields, headers) in table {
            let mut fields = fields.to_vec();
            fields.push(("token", access));
            let page = server.call("/introspect", &fields, headers).await;
            assert_eq!((page.status.as_u16(), text(&page.json(), "error")), (401, "invalid_client"), "{who}");
            assert!(page.json().get("active").is_none(), "{who}");
        }
        // Nor is a query read, and a token is needed.
        let authorization = basic("api");
        let headers = [("authorization", authorization.as_str())];
        let page = server.call(&format!("/introspect?token={access}"), &[("token", access)], &headers).await;
        assert_eq!((page.status.as_u16(), text(&page.json(), "error")), (400, "invalid_request"));
        let page = server.call("/introspect", &[], &headers).await;
        assert_eq!((page.status.as_u16(), text(&page.json(), "error")), (400, "invalid_request"));
        assert_eq!(ask(&server, "GET", "/introspect", &headers).await.status, 405);
        assert_eq!(introspect(&server, "api", access).await.json()["active"], true);
    }

    async fn i_02_a_token_for_another_resource_is_told_like_none(database) {
        let server = with_api(database, MAIL).await;
        let signer = Signer::new(Some("1"));
        let client = server.site.publish("/c.json", json!({
            "token_endpoint_auth_method": "private_key_jwt", "jwks": signer.jwks(), "grant_types": ["client_credentials"],
        }));
        server.rule(&client, Tier::Listed).await;
        let assertion = || signer.assertion(&client, server.app.clock.now());
        let proven = |assertion| [("client_assertion_type", crate::support::signer::ASSERTION_TYPE), ("client_assertion", assertion)];
        let assertions = [assertion(), assertion(), assertion()];
        let mut fields = proven(assertions[0].as_str()).to_vec();
        fields.extend([("grant_type", "client_credentials"), ("resource", NOTES)]);
        let page = server.call("/token", &fields, &[]).await;
        assert_eq!(page.status, 200, "{}", page.body);
        let access = text(&page.json(), "access_token").to_owned();

        assert_eq!(introspect(&server, "api", &access).await.body, INACTIVE);
        // A client may look at its own, whatever it is for; not at those of others.
        let mut fields = proven(assertions[1].as_str()).to_vec();
        fields.push(("token", &access));
        let told = server.call("/introspect", &fields, &[]).await.json();
        assert_eq!((&told["active"], &told["sub"], &told["aud"]), (&json!(true), &json!(client), &json!(NOTES)), "{told}");
        assert!(told.get("username").is_none() && told.get("auth_time").is_none(), "no person is involved: {told}");
        let public = server.site.publish("/public.json", json!({}));
        let others = tokens(&server, &public, "notes.read", NOTES).await;
        let mut fields = proven(assertions[2].as_str()).to_vec();
        fields.push(("token", text(&others, "access_token")));
        assert_eq!(server.call("/introspect", &fields, &[]).await.body, INACTIVE);
    }

    async fn i_03_whatever_is_no_use_is_told_in_one_way(database) {
        let server = with_api(database, NOTES).await;
        let client = server.site.publish("/c.json", json!({}));
        let first = tokens(&server, &client, "openid notes.read", NOTES).await;
        let access = text(&first, "access_token").to_owned();
        assert_eq!(introspect(&server, "api", &access).await.json()["active"], true);
        let (signed, signature) = access.rsplit_once('.').unwrap();
        let stranger = Signer::new(Some(text(&part(&access, 0), "kid")));
        let mut header = stranger.header();
        header["typ"] = json!("at+jwt");
        // What our own key signs, but not as an access token of this issuer.
        let own = |typ: &str, more: Value| {
            let mut claims = claims(&access);
            claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            server.app.keys.sign(SigningAlg::Es256, typ, &claims, server.app.clock.now()).unwrap()
        };
        assert_eq!(introspect(&server, "api", &own("at+jwt", json!({}))).await.json()["active"], true);
        let table = [
            ("another issuer", own("at+jwt", json!({ "iss": "https://id.example.com" }))),
            ("another type", own("JWT", json!({}))),
            ("a grant that is not known", own("at+jwt", json!({ "grant_id": "x" }))),
            ("bound in an unknown way", own("at+jwt", json!({ "cnf": { "kid": "x" } }))),
            ("no number", own("at+jwt", json!({ "exp": "2100-01-01" }))),
            ("a refresh token", text(&first, "refresh_token").to_owned()),
            ("an ID token", text(&first, "id_token").to_owned()),
            ("malformed", "x".to_owned()),
            ("three parts of nothing", "a.b.c".to_owned()),
            ("too long", "x".repeat(9_000)),
            ("another signature", format!("{signed}.{}", signature.chars().rev().collect::<String>())),
            ("no signature", format!("{signed}.")),
            ("another's signature", stranger.sign(&header, &claims(&access))),
            ("alg none", format!("{}.{}.AA", BASE64_URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"at+jwt"}"#), access.split('.').nth(1).unwrap())),
        ];
        for (case, token) in &table {
            let page = introspect(&server, "api", token).await;
            assert_eq!((page.status.as_u16(), page.body.as_str()), (200, INACTIVE), "{case}");
        }
        let is_active = async |token: &str| introspect(&server, "api", token).await.json()["active"] == true;
        let inactive = async |token: &str, case: &str| assert_eq!(introspect(&server, "api", token).await.body, INACTIVE, "{case}");
        // Its time is over.
        server.app.clock.advance(599);
        assert!(is_active(&access).await);
        server.app.clock.advance(1);
        inactive(&access, "expired").await;
        // Its grant has ended: the client revoked it, or its refresh token was used twice.
        let second = tokens(&server, &client, "notes.read", NOTES).await;
        assert!(is_active(text(&second, "access_token")).await);
        let fields = [("token", text(&second, "refresh_token")), ("client_id", client.as_str())];
        assert_eq!(server.call("/revoke", &fields, &[]).await.status, 200);
        inactive(text(&second, "access_token"), "revoked").await;
        // The client is blocked.
        let third = tokens(&server, &client, "notes.read", NOTES).await;
        assert!(is_active(text(&third, "access_token")).await);
        let other = server.site.publish("/other.json", json!({}));
        let fourth = tokens(&server, &other, "notes.read", NOTES).await;
        server.rule(&client, Tier::Blocked).await;
        inactive(text(&third, "access_token"), "blocked").await;
        // The person is disabled.
        assert!(is_active(text(&fourth, "access_token")).await);
        server.app.store.disable_account("ada".to_owned(), server.app.clock.now()).await.unwrap().unwrap();
        inactive(text(&fourth, "access_token"), "disabled").await;
    }

    async fn i_03_a_token_of_a_client_for_itself_ends_with_the_client(database) {
        let server = with_api(database, NOTES).await;
        register(&server, json!({ "client_id": "job", "grant_types": ["client_credentials"] })).await;
        let authorization = basic("job");
        let fields = [("grant_type", "client_credentials"), ("resource", NOTES), ("scope", "notes.read")];
        let page = server.call("/token", &fields, &[("authorization", &authorization)]).await;
        assert_eq!(page.status, 200, "{}", page.body);
        let access = text(&page.json(), "access_token").to_owned();
        let told = introspect(&server, "api", &access).await.json();
        assert_eq!((&told["active"], &told["client_id"], &told["scope"]), (&json!(true), &json!("job"), &json!("notes.read")));
        server.app.store.remove_client("job".parse().unwrap(), server.app.clock.now()).await.unwrap();
        server.app.clients.notice_changes().await.unwrap();
        assert_eq!(introspect(&server, "api", &access).await.body, INACTIVE);
    }

    async fn i_03_a_token_ends_when_the_document_of_its_client_is_gone_for_good(database) {
        let server = with_api(database, NOTES).await;
        let client = server.site.publish("/c.json", json!({}));
        let target = server.flow(&client).with("prompt", "consent").target();
        let first = tokens(&server, &client, "notes.read", NOTES).await;
        let mut browser = server.signed_in().await;
        server.site.answer("/c.json", Answer::status(404));
        server.app.clock.advance(700);
        assert_eq!(browser.get(&target).await.status, 400);
        let page = server.refresh(&client, text(&first, "refresh_token")).await;
        server.quiet(0).await;
        let access = text(&page.json(), "access_token").to_owned();
        assert_eq!(introspect(&server, "api", &access).await.json()["active"], true, "its host is given time");
        server.app.clock.advance(3_600);
        assert_eq!(browser.get(&target).await.status, 400, "said again");
        server.app.clock.advance(-3_590);
        assert_eq!(introspect(&server, "api", &access).await.body, INACTIVE, "within its time");
    }

    async fn i_04_i_05_a_good_token_is_told_in_full_whatever_the_hint(database) {
        let server = with_api(database, NOTES).await;
        let client = server.site.publish("/c.json", json!({}));
        let tokens = tokens(&server, &client, "notes.read", NOTES).await;
        let access = text(&tokens, "access_token");
        let inside = claims(access);
        let expected = json!({
            "active": true, "scope": "notes.read", "client_id": client, "username": "ada", "token_type": "Bearer",
            "exp": inside["exp"], "iat": inside["iat"], "sub": inside["sub"], "aud": NOTES, "iss": ISSUER,
            "jti": inside["jti"], "auth_time": inside["auth_time"], "acr": inside["acr"],
        });
        assert_eq!(introspect(&server, "api", access).await.json(), expected);
        let authorization = basic("api");
        for hint in ["access_token", "refresh_token", "nonsense", ""] {
            let fields = [("token", access), ("token_type_hint", hint)];
            let page = server.call("/introspect", &fields, &[("authorization", &authorization)]).await;
            assert_eq!(page.json(), expected, "{hint}");
            assert_eq!((page.header("cache-control"), page.header("content-type")), ("no-store", "application/json"));
        }
    }

    async fn i_05_p_07_p_08_a_bound_token_is_told_with_its_key_and_needs_a_proof(database) {
        let server = TestApp::with(database, &[("WAYLEAVE_TOKENS__DPOP_NONCE_REQUIRED", "false")]).await;
        register(&server, json!({ "client_id": "api", "resources": [ISSUER] })).await;
        let client = server.site.publish("/c.json", json!({}));
        let (signer, thief) = (Signer::new(None), Signer::new(None));
        let now = server.app.clock.now();
        let bound = async |signer: &Signer| {
            let mut browser = server.signed_in().await;
            let flow = server.flow(&client).with("scope", "openid");
            let code = server.code(&mut browser, &flow).await;
            let proof = signer.proof("POST", "/token", now, json!({}));
            let fields = [("grant_type", "authorization_code"), ("code", code.as_str()), ("client_id", client.as_str()),
                ("redirect_uri", flow.get("redirect_uri")), ("code_verifier", crate::support::app::VERIFIER)];
            let page = server.call("/token", &fields, &[("dpop", &proof)]).await;
            assert_eq!(page.json()["token_type"], "DPoP", "{}", page.body);
            text(&page.json(), "access_token").to_owned()
        };
        let (access, other) = (bound(&signer).await, bound(&signer).await);
        let told = introspect(&server, "api", &access).await.json();
        assert_eq!((&told["active"], &told["token_type"], &told["cnf"]["jkt"]), (&json!(true), &json!("DPoP"), &json!(signer.thumbprint())));

        let ath = |token: &str| BASE64_URL_SAFE_NO_PAD.encode(wayleave::secret::sha256(token.as_bytes()));
        let proof = |signer: &Signer, method: &str, path: &str, more: Value| signer.proof(method, path, now, more);
        let good = || proof(&signer, "GET", "/userinfo", json!({ "ath": ath(&access) }));
        let ask_with = async |authorization: String, proofs: &[&str]| {
            let mut headers = vec![("authorization", authorization.as_str())];
            headers.extend(proofs.iter().map(|proof| ("dpop", *proof)));
            ask(&server, "GET", "/userinfo", &headers).await
        };
        let once = good();
        assert_eq!(ask_with(format!("DPoP {access}"), &[&once]).await.status, 200);
        assert_eq!(ask_with(format!("dpop {access}"), &[&good()]).await.status, 200);
        let unbound = tokens(&server, &client, "openid", "").await;
        let unbound = text(&unbound, "access_token");
        let for_unbound = proof(&signer, "GET", "/userinfo", json!({ "ath": ath(unbound) }));
        let table: Vec<(&str, String, Vec<String>, &str)> = vec![
            ("P-06 again", format!("DPoP {access}"), vec![once], "invalid_dpop_proof"),
            ("P-08 bound as Bearer", format!("Bearer {access}"), vec![], "invalid_token"),
            ("P-08 bound as Bearer, with a proof", format!("Bearer {access}"), vec![good()], "invalid_token"),
            ("P-08 a Bearer token as DPoP", format!("DPoP {unbound}"), vec![for_unbound], "invalid_token"),
            ("no proof", format!("DPoP {access}"), vec![], "invalid_dpop_proof"),
            ("two proofs", format!("DPoP {access}"), vec![good(), good()], "invalid_dpop_proof"),
            ("P-07 without ath", format!("DPoP {access}"), vec![proof(&signer, "GET", "/userinfo", json!({}))], "invalid_dpop_proof"),
            ("P-07 for another token", format!("DPoP {access}"), vec![proof(&signer, "GET", "/userinfo", json!({ "ath": ath(&other) }))], "invalid_dpop_proof"),
            ("another method", format!("DPoP {access}"), vec![proof(&signer, "POST", "/userinfo", json!({ "ath": ath(&access) }))], "invalid_dpop_proof"),
            ("another endpoint", format!("DPoP {access}"), vec![proof(&signer, "GET", "/token", json!({ "ath": ath(&access) }))], "invalid_dpop_proof"),
            ("another's key", format!("DPoP {access}"), vec![proof(&thief, "GET", "/userinfo", json!({ "ath": ath(&access) }))], "invalid_token"),
            ("a made up nonce", format!("DPoP {access}"), vec![proof(&signer, "GET", "/userinfo", json!({ "ath": ath(&access), "nonce": "x" }))], "use_dpop_nonce"),
        ];
        for (case, authorization, proofs, expected) in table {
            let proofs: Vec<&str> = proofs.iter().map(String::as_str).collect();
            let page = ask_with(authorization, &proofs).await;
            assert_eq!((page.status.as_u16(), challenged(&page).as_str()), (401, expected), "{case}: {}", page.body);
            assert_eq!(page.header("dpop-nonce").is_empty(), expected != "use_dpop_nonce", "{case}");
        }
        let nonce = server.app.nonces.issue(now);
        let fresh = proof(&signer, "GET", "/userinfo", json!({ "ath": ath(&access), "nonce": nonce }));
        assert_eq!(ask_with(format!("DPoP {access}"), &[&fresh]).await.status, 200);
    }

    async fn i_06_i_07_revocation_ends_what_is_the_clients_own(database) {
        let server = with_api(database, NOTES).await;
        let (client, other) = (server.site.publish("/c.json", json!({})), server.site.publish("/d.json", json!({})));
        let tokens = tokens(&server, &client, "notes.read", NOTES).await;
        let (access, refresh) = (text(&tokens, "access_token"), text(&tokens, "refresh_token"));
        let revoke = async |client: &str, token: &str| {
            let page = server.call("/revoke", &[("token", token), ("client_id", client)], &[]).await;
            page.status.as_u16()
        };
        // I-06: another's token: told nothing, and nothing happens.
        assert_eq!(revoke(&other, refresh).await, 200);
        assert_eq!(introspect(&server, "api", access).await.json()["active"], true);
        // X-39: an access token is not revoked by itself.
        assert_eq!(revoke(&client, access).await, 400);
        assert_eq!(introspect(&server, "api", access).await.json()["active"], true);
        // I-07: a public client ends its own without proving anything: whoever has the token may end it, not use it.
        assert_eq!(revoke(&client, refresh).await, 200);
        assert_eq!(introspect(&server, "api", access).await.body, INACTIVE);
        assert_eq!(server.refresh(&client, refresh).await.status, 400);
    }

    async fn i_08_what_was_revoked_is_revoked_after_a_restart(database) {
        let server = with_api(database, NOTES).await;
        let client = server.site.publish("/c.json", json!({}));
        let (kept, ended) = (tokens(&server, &client, "openid notes.read", NOTES).await, tokens(&server, &client, "openid notes.read", NOTES).await);
        let fields = [("token", text(&ended, "refresh_token")), ("client_id", client.as_str())];
        assert_eq!(server.call("/revoke", &fields, &[]).await.status, 200);
        // The first process is not asked to finish anything.
        let again = server.restart().await;
        let told = introspect_at(&mut again.browser(), "api", text(&ended, "access_token")).await;
        assert_eq!(told.body, INACTIVE);
        assert_eq!(again.refresh(&client, text(&ended, "refresh_token")).await.status, 400);
        let request = Request::get("/userinfo").header("authorization", format!("Bearer {}", text(&ended, "access_token")));
        assert_eq!(again.browser().send(request.body(Body::empty()).unwrap()).await.status, 401);
        let told = introspect_at(&mut again.browser(), "api", text(&kept, "access_token")).await;
        assert_eq!(told.json()["active"], true, "signed by the keys of the first process");
    }

    async fn i_09_userinfo_takes_its_own_tokens_in_one_place_only(database) {
        let server = TestApp::new(database).await;
        let client = server.site.publish("/c.json", json!({}));
        let good = tokens(&server, &client, "openid profile", "").await;
        let access = text(&good, "access_token").to_owned();
        for accepted in [format!("Bearer {access}"), format!("bearer {access}"), format!("BEARER {access}")] {
            let page = userinfo(&server, &accepted).await;
            assert_eq!((page.status.as_u16(), page.header("content-type"), page.header("cache-control")), (200, "application/json", "no-store"));
        }
        let bearer = format!("Bearer {access}");
        assert_eq!(ask(&server, "POST", "/userinfo", &[("authorization", &bearer)]).await.status, 200);

        // For this server, as the scopes of two resources are, and without openid.
        let plain = tokens(&server, &client, "notes.read mail", "").await;
        let (signed, _) = access.rsplit_once('.').unwrap();
        // Another issuer's: the same header and claims, but for who signs.
        let stranger = Signer::new(Some("k"));
        let mut elsewhere = claims(&access);
        elsewhere["iss"] = json!("https://id.example.com");
        let mut header = stranger.header();
        header["typ"] = json!("at+jwt");
        let table: Vec<(&str, Vec<String>, u16, &str)> = vec![
            ("no token", vec![], 401, ""),
            ("Basic", vec!["Basic YTpi".to_owned()], 401, ""),
            ("a tab", vec![format!("Bearer\t{access}")], 401, ""),
            ("two spaces", vec![format!("Bearer  {access}")], 401, "invalid_token"),
            ("nothing after the scheme", vec!["Bearer".to_owned()], 401, ""),
            ("two headers", vec![bearer.clone(), bearer.clone()], 400, "invalid_request"),
            ("two in one", vec![format!("{bearer}, {bearer}")], 401, "invalid_token"),
            ("without openid", vec![format!("Bearer {}", text(&plain, "access_token"))], 403, "insufficient_scope"),
            ("an ID token", vec![format!("Bearer {}", text(&good, "id_token"))], 401, "invalid_token"),
            ("a refresh token", vec![format!("Bearer {}", text(&good, "refresh_token"))], 401, "invalid_token"),
            ("another issuer's", vec![format!("Bearer {}", stranger.sign(&header, &elsewhere))], 401, "invalid_token"),
            ("a wrong signature", vec![format!("Bearer {signed}.AAAA")], 401, "invalid_token"),
        ];
        for (case, values, status, error) in table {
            let headers: Vec<_> = values.iter().map(|value| ("authorization", value.as_str())).collect();
            for method in ["GET", "POST"] {
                let page = ask(&server, method, "/userinfo", &headers).await;
                assert_eq!((page.status.as_u16(), challenged(&page).as_str()), (status, error), "{case}, {method}: {}", page.body);
                assert!(page.json().get("sub").is_none(), "{case}");
            }
        }
        // In the address or in a form, alone or beside the header.
        let in_query = format!("/userinfo?access_token={access}");
        for headers in [&[][..], &[("authorization", bearer.as_str())][..]] {
            let page = ask(&server, "GET", &in_query, headers).await;
            assert_eq!((page.status.as_u16(), challenged(&page).as_str()), (400, "invalid_request"));
            let page = server.call("/userinfo", &[("access_token", &access)], headers).await;
            assert_eq!((page.status.as_u16(), challenged(&page).as_str()), (400, "invalid_request"));
        }
        assert_eq!(ask(&server, "PUT", "/userinfo", &[("authorization", &bearer)]).await.status, 405);
        // Revoked, and expired.
        let revoked = tokens(&server, &client, "openid", "").await;
        let fields = [("token", text(&revoked, "refresh_token")), ("client_id", client.as_str())];
        assert_eq!(server.call("/revoke", &fields, &[]).await.status, 200);
        let page = userinfo(&server, &format!("Bearer {}", text(&revoked, "access_token"))).await;
        assert_eq!((page.status.as_u16(), challenged(&page).as_str()), (401, "invalid_token"));
        server.app.clock.advance(600);
        let page = userinfo(&server, &bearer).await;
        assert_eq!((page.status.as_u16(), challenged(&page).as_str()), (401, "invalid_token"));
    }

    async fn i_10_i_11_userinfo_says_what_the_grant_of_its_client_allows(database) {
        let server = TestApp::new(database).await;
        let describe = async |name: &str, email: Option<(&str, bool)>| {
            let description = Description {
                name: Some(name.to_owned()),
                email: email.map(|(address, is_verified)| DescribedEmail { address: address.to_owned(), is_verified, signs_in_as: None }),
                is_admin: None,
            };
            server.app.store.change_account("ada".to_owned(), description, server.app.clock.now()).await.unwrap().unwrap();
        };
        server.app.clock.advance(5);
        describe("Ada Lovelace", Some(("ada@example.com", true))).await;
        let (a, b) = (server.site.publish("/a.json", json!({})), server.site.publish("/b.json", json!({})));
        let narrow = tokens(&server, &a, "openid", "").await;
        let wide = tokens(&server, &b, "openid profile email", "").await;
        let told = async |tokens: &Value| userinfo(&server, &format!("Bearer {}", text(tokens, "access_token"))).await.json();
        let subject = claims(text(&narrow, "id_token"))["sub"].clone();
        assert_eq!(told(&narrow).await, json!({ "sub": subject }), "consent of another client is not this one's");
        let full = json!({
            "sub": subject, "name": "Ada Lovelace", "preferred_username": "ada", "updated_at": server.app.clock.now().0,
            "email": "ada@example.com", "email_verified": true,
        });
        assert_eq!(told(&wide).await, full);
        assert_eq!(claims(text(&wide, "id_token"))["sub"], subject, "one person is one subject");
        // A refreshed token for less says less, and comes with no ID token.
        let fields = [("grant_type", "refresh_token"), ("refresh_token", text(&wide, "refresh_token")), ("client_id", &b), ("scope", "openid email")];
        let less = server.token(&fields).await.json();
        assert_eq!(told(&less).await, json!({ "sub": subject, "email": "ada@example.com", "email_verified": true }));
        assert_eq!(claims(text(&less, "id_token"))["sub"], subject);
        // What is taken away or changed is so at once; another address is not verified because the last one was.
        describe("", Some(("lovelace@example.com", false))).await;
        let changed = told(&wide).await;
        assert_eq!((changed.get("name"), &changed["email"], &changed["email_verified"]), (None, &json!("lovelace@example.com"), &json!(false)));
    }

    async fn an_id_token_is_signed_as_the_document_says_and_verifies_elsewhere(database) {
        let server = TestApp::new(database).await;
        let again = server.restart().await;
        assert_eq!(again.browser().get("/jwks").await.json()["keys"].as_array().unwrap().len(), 3);
        let table = [
            // F-04, since November 2026: RS256 where nothing is said.
            (json!({}), Algorithm::RS256, "RS256"),
            (json!({ "id_token_signed_response_alg": "ES256" }), Algorithm::ES256, "ES256"),
            (json!({ "id_token_signed_response_alg": "EdDSA" }), Algorithm::EdDSA, "EdDSA"),
            (json!({ "id_token_signing_alg_values_supported": ["PS384", "RS256"] }), Algorithm::RS256, "RS256"),
        ];
        let mut kids = Vec::new();
        for (at, (members, alg, name)) in table.into_iter().enumerate() {
            let client = server.site.publish(&format!("/{at}.json"), members);
            let mut browser = server.signed_in().await;
            let flow = server.flow(&client).with("scope", "openid").with("nonce", "n-0S6_WzA2Mj");
            let code = server.code(&mut browser, &flow).await;
            server.app.clock.advance(10);
            let tokens = server.redeem(&flow, &code).await.json();
            let (token, access) = (text(&tokens, "id_token"), text(&tokens, "access_token"));
            let header = part(token, 0);
            assert_eq!((&header["alg"], &header["typ"]), (&json!(name), &json!("JWT")));
            kids.push(text(&header, "kid").to_owned());
            // Another process publishes the key, too: within a second.
            again.app.clock.advance(1);
            verified(&mut again.browser(), token, alg, &client).await;
            let claims = verified(&mut server.browser(), token, alg, &client).await;
            let now = server.app.clock.now().0;
            assert_eq!((&claims["iat"], &claims["exp"], &claims["auth_time"]), (&json!(now), &json!(now + 600), &json!(now - 10)));
            assert_eq!((&claims["nonce"], &claims["aud"], &claims["amr"]), (&json!("n-0S6_WzA2Mj"), &json!(client), &json!(["pwd"])));
            assert!(claims.get("azp").is_none() && claims["sid"].is_string());
            let hash = match name {
                "EdDSA" => aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA512, access.as_bytes()).as_ref()[..32].to_vec(),
                _ => wayleave::secret::sha256(access.as_bytes())[..16].to_vec(),
            };
            assert_eq!(claims["at_hash"], BASE64_URL_SAFE_NO_PAD.encode(hash), "Core §3.1.3.6");
            // §12.2: a refreshed one is of the same sign-in, and has no nonce.
            let page = again.refresh(&client, text(&tokens, "refresh_token")).await;
            let page = match page.status.as_u16() { 200 => page.json(), _ => panic!("{}", page.body) };
            let refreshed = verified(&mut server.browser(), text(&page, "id_token"), alg, &client).await;
            for same in ["iss", "sub", "aud", "auth_time", "sid"] {
                assert_eq!(refreshed[same], claims[same], "{same}");
            }
            assert!(refreshed.get("nonce").is_none());
            // Where a person was not asked for, there is none; nothing is null.
            let flow = server.flow(&client).with("scope", "notes.read");
            let code = server.code(&mut browser, &flow).await;
            let plain = server.redeem(&flow, &code).await.json();
            assert!(plain.get("id_token").is_none(), "{plain}");
        }
        assert_eq!(kids[0], kids[3], "one key for all clients");
        let published = server.browser().get("/jwks").await.json();
        let published = published["keys"].as_array().unwrap();
        assert_eq!(published.len(), 3, "one of each algorithm, for all processes");
        for key in published {
            assert_eq!((&key["use"], key.get("d")), (&json!("sig"), None));
        }
    }

    async fn processes_that_start_at_once_make_one_key_of_each_algorithm(database) {
        let (config, now) = (wayleave::config::Config::default(), UnixTime(1_800_000_000));
        let first = Store::open(&database.parsed(), 4).await.unwrap();
        first.migrate().await.unwrap();
        let mut stores = vec![first];
        for _ in 0..3 {
            stores.push(Store::open(&database.parsed(), 4).await.unwrap());
        }
        let all = stores.iter().map(|store| Keys::load(&config, store, now));
        for keys in futures_util::future::join_all(all).await {
            let keys = keys.unwrap();
            keys.notice(now).await.unwrap();
            let mut algs: Vec<_> = keys.described(now).iter().map(|key| key.alg.as_str()).collect();
            algs.sort_unstable();
            assert_eq!(algs, ["ES256", "EdDSA", "RS256"]);
        }
    }

    async fn a_registered_client_chooses_its_algorithm_too(database) {
        let server = TestApp::new(database).await;
        register(&server, json!({
            "client_id": "web", "redirect_uris": [server.site.url("/callback")], "id_token_signed_response_alg": "RS256",
        })).await;
        let mut browser = server.signed_in().await;
        let flow = server.flow("web").with("scope", "openid");
        let code = server.code(&mut browser, &flow).await;
        let authorization = basic("web");
        let fields = [("grant_type", "authorization_code"), ("code", code.as_str()), ("redirect_uri", flow.get("redirect_uri")),
            ("code_verifier", crate::support::app::VERIFIER)];
        let page = server.call("/token", &fields, &[("authorization", &authorization)]).await;
        assert_eq!(page.status, 200, "{}", page.body);
        verified(&mut server.browser(), text(&page.json(), "id_token"), Algorithm::RS256, "web").await;
        // Nobody is behind a client that acts for itself.
        register(&server, json!({ "client_id": "job", "grant_types": ["client_credentials"] })).await;
        let authorization = basic("job");
        let fields = [("grant_type", "client_credentials"), ("scope", "openid")];
        let page = server.call("/token", &fields, &[("authorization", &authorization)]).await;
        assert_eq!((page.status.as_u16(), text(&page.json(), "error")), (400, "invalid_scope"));
    }

    async fn max_age_asks_for_a_sign_in_that_the_id_token_tells_of(database) {
        let server = TestApp::new(database).await;
        let client = server.site.publish("/c.json", json!({}));
        let mut browser = server.signed_in().await;
        let flow = server.flow(&client).with("scope", "openid").with("max_age", "60");
        let code = server.code(&mut browser, &flow).await;
        let first = claims(text(&server.redeem(&flow, &code).await.json(), "id_token"));
        server.app.clock.advance(61);
        let silent = browser.open(&flow.clone().with("prompt", "none").target()).await;
        assert_eq!(param(silent.location().unwrap(), "error").as_deref(), Some("login_required"));
        let login = browser.open(&flow.target()).await;
        assert_eq!(login.form().0, "/login", "{}", login.body);
        let page = browser.submit(&login, &[("username", "ada"), ("password", PASSWORD)]).await;
        let page = browser.follow(page).await;
        let page = match page.location() { Some(_) => page, None => browser.submit(&page, &[("decision", "allow")]).await };
        let code = param(page.location().unwrap(), "code").unwrap();
        let second = claims(text(&server.redeem(&flow, &code).await.json(), "id_token"));
        assert_eq!(second["auth_time"].as_i64(), first["auth_time"].as_i64().map(|at| at + 61));
        assert_ne!(second["sid"], first["sid"], "another session");
        // A document may ask so for all requests.
        let strict = server.site.publish("/strict.json", json!({ "default_max_age": 60 }));
        let flow = server.flow(&strict).with("scope", "openid").with("prompt", "none");
        assert_eq!(error_of(&browser.open(&flow.target()).await), "consent_required");
        server.app.clock.advance(61);
        assert_eq!(error_of(&browser.open(&flow.target()).await), "login_required");
        assert_eq!(error_of(&browser.open(&flow.with("max_age", "3600").target()).await), "consent_required");
    }

    async fn a_hint_at_another_person_asks_for_them(database) {
        let server = TestApp::new(database).await;
        let client = server.site.publish("/c.json", json!({}));
        let tokens = tokens(&server, &client, "openid", "").await;
        let hint = text(&tokens, "id_token");
        server.app.clock.advance(3_600);
        let flow = server.flow(&client).with("scope", "openid").with("id_token_hint", hint);
        // The one who is expected, with a hint that is old.
        let mut ada = server.signed_in().await;
        let silent = flow.clone().with("prompt", "none");
        assert!(param(ada.open(&silent.target()).await.location().unwrap(), "code").is_some());
        // Somebody else, who signs in again, and is still somebody else.
        let mut browser = server.browser();
        let sign_in = [("username", "grace"), ("password", PASSWORD)];
        let page = browser.get("/login").await;
        browser.submit(&page, &sign_in).await;
        let error = |page: &Page| param(page.location().unwrap(), "error");
        assert_eq!(error(&browser.open(&silent.target()).await).as_deref(), Some("login_required"));
        let login = browser.open(&flow.target()).await;
        assert_eq!(login.form().0, "/login", "{}", login.body);
        let page = browser.submit(&login, &sign_in).await;
        let page = browser.follow(page).await;
        assert_eq!(error(&page).as_deref(), Some("login_required"));
        // What is no ID token of ours says nothing: not an access token, and nothing that is forged.
        let stranger = Signer::new(Some(text(&part(hint, 0), "kid")));
        let forged = stranger.sign(&part(hint, 0), &claims(hint));
        for other in [text(&tokens, "access_token"), &forged, "x"] {
            let page = browser.open(&flow.clone().with("id_token_hint", other).with("login_hint", "ada").with("ui_locales", "fr").with("claims", "{}").target()).await;
            assert!(page.body.contains("name=\"decision\""), "asked for consent: {}", page.body);
        }
    }
}

/// Whether a page may read an answer: never with credentials, and no origin by its name.
#[tokio::test]
async fn i_12_no_origin_is_named_and_none_gets_credentials() {
    let server = TestApp::new(Database::sqlite()).await;
    let shared = [
        "/token",
        "/userinfo",
        "/revoke",
        "/par",
        "/jwks",
        "/.well-known/openid-configuration",
    ];
    for origin in ["null", "https://evil.example", "http://127.0.0.1:8080"] {
        for path in shared.iter().chain(&["/introspect"]) {
            for method in ["OPTIONS", "GET", "POST"] {
                let headers = [
                    ("origin", origin),
                    ("access-control-request-method", "POST"),
                    ("access-control-request-headers", "authorization, dpop"),
                ];
                let page = ask(&server, method, path, &headers).await;
                let allowed = page.header("access-control-allow-origin");
                let expected = if shared.contains(path) { "*" } else { "" };
                assert_eq!(allowed, expected, "{method} {path} from {origin}");
                assert_eq!(
                    page.header("access-control-allow-credentials"),
                    "",
                    "{method} {path}"
                );
                if method == "OPTIONS" && shared.contains(path) {
                    assert_eq!(
                        page.header("access-control-allow-headers"),
                        "authorization, dpop"
                    );
                }
            }
        }
    }
    let page = ask(
        &server,
        "GET",
        "/userinfo",
        &[("origin", "https://app.example.com")],
    )
    .await;
    let exposed = page.header("access-control-expose-headers");
    assert!(
        exposed.contains("www-authenticate") && exposed.contains("dpop-nonce"),
        "{exposed}"
    );
}

/// The consent page says in plain words what the scopes about a person mean.
#[tokio::test]
async fn scopes_about_a_person_are_asked_for_in_plain_words() {
    let server = TestApp::new(Database::sqlite()).await;
    let client = server.site.publish("/c.json", json!({}));
    let mut browser = server.signed_in().await;
    let flow = server
        .flow(&client)
        .with("scope", "openid profile email address");
    let page = browser.open(&flow.target()).await;
    for words in [
        "know which account is yours",
        "See your name",
        "See your e-mail address",
    ] {
        assert!(page.body.contains(words), "{words}: {}", page.body);
    }
    let page = browser.submit(&page, &[("decision", "allow")]).await;
    let code = param(page.location().unwrap(), "code").unwrap();
    assert_eq!(
        server.redeem(&flow, &code).await.json()["scope"],
        "openid profile email"
    );
}
