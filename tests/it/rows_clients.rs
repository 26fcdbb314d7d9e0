//! Clients that authenticate: sections 3(a).8 (assertions), 3(c) X-5x and J-… of the attack corpus, as conversations.

use serde_json::{Value, json};
use wayleave::clients::Need;
use wayleave::policy::client_rules::Tier;

use crate::support::{
    Answer, Database, Page, Signer, TestApp,
    app::{VERIFIER, anybody},
    on_both,
    signer::{ASSERTION_TYPE, ISSUER, assertion_claims},
};

/// A client that proves itself with a key in its document.
fn publish(server: &TestApp, path: &str, signer: &Signer, more: Value) -> String {
    let mut document = json!({
        "token_endpoint_auth_method": "private_key_jwt",
        "grant_types": ["authorization_code", "refresh_token", "client_credentials"],
        "jwks": signer.jwks(),
    });
    for (name, value) in more.as_object().unwrap() {
        document[name] = value.clone();
    }
    server.site.publish(path, document)
}

fn with_assertion<'a>(
    fields: &[(&'a str, &'a str)],
    assertion: &'a str,
) -> Vec<(&'a str, &'a str)> {
    let mut fields = fields.to_vec();
    fields.push(("client_assertion_type", ASSERTION_TYPE));
    fields.push(("client_assertion", assertion));
    fields
}

/// A code for the client, and the fields that redeem it, but for the proof of who redeems.
async fn code(server: &TestApp, client: &str) -> [(&'static str, String); 4] {
    let mut browser = server.signed_in().await;
    let flow = server.flow(client);
    let code = server.code(&mut browser, &flow).await;
    [
        ("grant_type", "authorization_code".to_owned()),
        ("code", code),
        ("redirect_uri", flow.get("redirect_uri").to_owned()),
        ("code_verifier", VERIFIER.to_owned()),
    ]
}

fn borrowed<'a>(fields: &'a [(&'static str, String)]) -> Vec<(&'a str, &'a str)> {
    fields
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect()
}

fn refusal(page: &Page) -> (u16, String) {
    (
        page.status.as_u16(),
        page.json()["error"].as_str().unwrap_or_default().to_owned(),
    )
}

fn invalid_client() -> (u16, String) {
    (401, "invalid_client".to_owned())
}

/// `client_credentials` of a client that policy lists: the shortest way to see whether an assertion is taken.
async fn try_assertion(server: &TestApp, assertion: &str) -> Page {
    let fields = with_assertion(&[("grant_type", "client_credentials")], assertion);
    server.call("/token", &fields, &[]).await
}

on_both! {
    async fn x_04_x_21_a_client_with_a_key_redeems_and_refreshes(database) {
        let server = TestApp::new(database).await;
        let signer = Signer::new(Some("1"));
        let client = publish(&server, "/c.json", &signer, json!({}));
        let fields = code(&server, &client).await;
        let assertion = signer.assertion(&client, server.app.clock.now());
        // the parameter client_id may be left out.
        let tokens = server.call("/token", &with_assertion(&borrowed(&fields), &assertion), &[]).await;
        assert_eq!(tokens.status, 200, "{}", tokens.body);
        let refresh = tokens.json()["refresh_token"].as_str().unwrap().to_owned();
        // A refresh token of a client that authenticates is not rotated: it works again and again, and for nobody else.
        for _ in 0..3 {
            server.app.clock.advance(40);
            let assertion = signer.assertion(&client, server.app.clock.now());
            let fields = [("grant_type", "refresh_token"), ("refresh_token", &refresh), ("client_id", &client)];
            let again = server.call("/token", &with_assertion(&fields, &assertion), &[]).await;
            assert_eq!(again.json()["refresh_token"], refresh.as_str(), "{}", again.body);
        }
        // without its key the same client gets nothing, and ends nothing.
        // F-15, since November 2026: it is told what is missing.
        assert_eq!(refusal(&server.refresh(&client, &refresh).await), invalid_client());
        let assertion = signer.assertion(&client, server.app.clock.now());
        let fields = [("grant_type", "refresh_token"), ("refresh_token", refresh.as_str())];
        assert_eq!(server.call("/token", &with_assertion(&fields, &assertion), &[]).await.status, 200);
    }

    async fn x_07_codes_and_refresh_tokens_are_worth_nothing_to_others(database) {
        let server = TestApp::new(database).await;
        let (a, b) = (Signer::new(None), Signer::new(None));
        let (client_a, client_b) = (publish(&server, "/a.json", &a, json!({})), publish(&server, "/b.json", &b, json!({})));
        let public = server.site.publish("/p.json", json!({}));
        // A's code by B, by a public client, by A without its key; and a public client's code by A.
        for (whose, who) in [(&client_a, "b"), (&client_a, "public"), (&client_a, "bare"), (&public, "a")] {
            server.app.clients.client(&client_b.parse().unwrap(), Need::Fetch(anybody()), server.app.clock.now()).await.unwrap();
            server.app.clients.client(&client_a.parse().unwrap(), Need::Fetch(anybody()), server.app.clock.now()).await.unwrap();
            let fields = code(&server, whose).await;
            let now = server.app.clock.now();
            let (as_b, as_a) = (b.assertion(&client_b, now), a.assertion(&client_a, now));
            let mut fields = borrowed(&fields);
            let page = match who {
                "b" => server.call("/token", &with_assertion(&fields, &as_b), &[]).await,
                "a" => server.call("/token", &with_assertion(&fields, &as_a), &[]).await,
                "public" => { fields.push(("client_id", &public)); server.call("/token", &fields, &[]).await }
                _ => { fields.push(("client_id", &client_a)); server.call("/token", &fields, &[]).await }
            };
            assert!(page.status == 400 || page.status == 401, "{who}: {}", page.body);
            // the code is burnt.
            let fields: Vec<_> = fields.into_iter().filter(|(name, _)| *name != "client_id").collect();
            let assertion = a.assertion(&client_a, now);
            let own = server.call("/token", &with_assertion(&fields, &assertion), &[]).await;
            assert_eq!(refusal(&own), (400, "invalid_grant".to_owned()), "{who}");
        }
    }

    async fn j_05_j_16_an_assertion_serves_once(database) {
        let server = TestApp::new(database).await;
        let (a, b) = (Signer::new(None), Signer::new(None));
        let (client_a, client_b) = (publish(&server, "/a.json", &a, json!({})), publish(&server, "/b.json", &b, json!({})));
        server.rule(&format!("{}*", server.site.url("/")), Tier::Listed).await;
        let now = server.app.clock.now();
        let assertion = a.assertion(&client_a, now);
        assert_eq!(try_assertion(&server, &assertion).await.status, 200);
        assert_eq!(refusal(&try_assertion(&server, &assertion).await), invalid_client());
        // The same jti in other words, and by another client.
        let mut claims = assertion_claims(&client_a, now);
        claims["jti"] = crate::support::app::claims(&assertion)["jti"].clone();
        assert_eq!(refusal(&try_assertion(&server, &a.sign(&a.header(), &claims)).await), invalid_client());
        claims["iss"] = json!(client_b);
        claims["sub"] = json!(client_b);
        assert_eq!(try_assertion(&server, &b.sign(&b.header(), &claims)).await.status, 200);
        // J-05: whoever turns the signature around has no new assertion.
        let fresh = a.assertion(&client_a, now);
        assert_eq!(try_assertion(&server, &malleated(&fresh)).await.status, 200);
        assert_eq!(refusal(&try_assertion(&server, &fresh).await), invalid_client());
        // After a restart, and until it would have ended.
        let again = server.restart().await;
        let mut browser = again.browser();
        let fields = with_assertion(&[("grant_type", "client_credentials")], &assertion);
        let page = crate::support::app::call(&mut browser, "/token", &fields, &[]).await;
        assert_eq!(refusal(&page), invalid_client());
    }

    async fn j_16_of_fifty_at_once_on_two_instances_one_wins(database) {
        let server = TestApp::new(database).await;
        let signer = Signer::new(None);
        let client = publish(&server, "/c.json", &signer, json!({}));
        server.rule(&client, Tier::Listed).await;
        let other = server.restart().await;
        other.app.clients.notice_changes().await.unwrap();
        let assertion = signer.assertion(&client, server.app.clock.now());
        let fields = with_assertion(&[("grant_type", "client_credentials")], &assertion);
        let mut browsers: Vec<_> = (0..50).map(|n| if n % 2 == 0 { server.browser() } else { other.browser() }).collect();
        let calls = browsers.iter_mut().map(|browser| crate::support::app::call(browser, "/token", &fields, &[]));
        let pages = futures_util::future::join_all(calls).await;
        let won = pages.iter().filter(|page| page.status == 200).count();
        let lost = pages.iter().filter(|page| refusal(page) == invalid_client()).count();
        assert_eq!((won, lost), (1, 49));
    }

    async fn x_06_of_fifty_redemptions_on_two_instances_one_succeeds(database) {
        let server = TestApp::new(database).await;
        let signer = Signer::new(None);
        let client = publish(&server, "/c.json", &signer, json!({}));
        let fields = code(&server, &client).await;
        let other = server.restart().await;
        let now = server.app.clock.now();
        let assertions: Vec<_> = (0..50).map(|_| signer.assertion(&client, now)).collect();
        let mut browsers: Vec<_> = (0..50).map(|n| if n % 2 == 0 { server.browser() } else { other.browser() }).collect();
        let forms: Vec<_> = assertions.iter().map(|assertion| with_assertion(&borrowed(&fields), assertion).into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned())).collect::<Vec<_>>()).collect();
        let calls = browsers.iter_mut().zip(&forms).map(|(browser, form)| async move {
            let form: Vec<_> = form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            crate::support::app::call(browser, "/token", &form, &[]).await
        });
        let pages = futures_util::future::join_all(calls).await;
        assert_eq!(pages.iter().filter(|page| page.status == 200).count(), 1);
    }

    async fn x_52_who_has_to_prove_itself_is_not_believed_without(database) {
        let server = TestApp::new(database).await;
        let signer = Signer::new(None);
        let client = publish(&server, "/c.json", &signer, json!({}));
        let fields = code(&server, &client).await;
        let mut bare = borrowed(&fields);
        bare.push(("client_id", &client));
        assert_eq!(refusal(&server.call("/token", &bare, &[]).await), invalid_client());
    }

    async fn a_registered_client_has_a_secret(database) {
        let server = TestApp::new(database).await;
        let secret = wayleave::secret::Secret::<wayleave::secret::ClientSecret>::generate();
        let hash = wayleave::secret::SecretHash::<wayleave::secret::ClientSecret>::of_bytes(secret.expose().as_bytes());
        for (name, method) in [("basic", "client_secret_basic"), ("post", "client_secret_post")] {
            let registered = serde_json::from_value(json!({
                "client_id": name, "client_secret_sha256": hash.as_str(), "token_endpoint_auth_method": method,
                "grant_types": ["authorization_code", "refresh_token", "client_credentials"],
                "redirect_uris": [server.site.url("/callback")],
            })).unwrap();
            assert!(server.app.store.add_client(registered, server.app.clock.now()).await.unwrap());
        }
        server.app.clients.notice_changes().await.unwrap();
        let basic = |id: &str, secret: &str| {
            use base64::{Engine, prelude::BASE64_STANDARD};
            format!("Basic {}", BASE64_STANDARD.encode(format!("{id}:{secret}")))
        };
        let grant = ("grant_type", "client_credentials");
        let right = basic("basic", secret.expose());
        let page = server.call("/token", &[grant], &[("authorization", &right)]).await;
        assert_eq!(page.status, 200, "{}", page.body);
        let page = server.call("/token", &[grant, ("client_id", "post"), ("client_secret", secret.expose())], &[]).await;
        assert_eq!(page.status, 200, "{}", page.body);
        assert!(page.json().get("refresh_token").is_none());
        // each by its own method, and who tried the header is told the scheme.
        for wrong in [basic("basic", "x"), basic("post", secret.expose()), basic("nobody", secret.expose()), "Basic !".to_owned()] {
            let page = server.call("/token", &[grant], &[("authorization", &wrong)]).await;
            assert_eq!((refusal(&page), page.header("www-authenticate")), (invalid_client(), "Basic realm=\"token\""), "{wrong}");
        }
        let page = server.call("/token", &[grant, ("client_id", "basic"), ("client_secret", secret.expose())], &[]).await;
        assert_eq!(refusal(&page), invalid_client());
        let page = server.call("/token", &[grant, ("client_id", "basic")], &[]).await;
        assert_eq!(refusal(&page), invalid_client());
        // It signs people in like everybody else.
        let fields = code(&server, "basic").await;
        let page = server.call("/token", &borrowed(&fields), &[("authorization", &right)]).await;
        assert_eq!(page.status, 200, "{}", page.body);
        // Its end ends what it has.
        let ended = server.app.store.remove_client("basic".parse().unwrap(), server.app.clock.now()).await.unwrap().unwrap();
        assert_eq!(ended.grants, 1);
        server.app.clients.notice_changes().await.unwrap();
        assert_eq!(refusal(&server.call("/token", &[grant], &[("authorization", &right)]).await), invalid_client());
    }
}

#[tokio::test]
async fn a_client_is_registered_on_the_command_line_while_the_server_runs() {
    let server = TestApp::new(Database::sqlite()).await;
    let run = |arguments: &[&str]| {
        let mut command = crate::process::wayleave(server.database.folder.path());
        command
            .args(arguments)
            .env("WAYLEAVE_DATABASE__URL", &server.database.url);
        command.stderr(std::process::Stdio::piped());
        let output = command.output().unwrap();
        let told = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        (output.status.code().unwrap(), told)
    };
    let secret_in = |told: &str| {
        let told: Value =
            serde_json::from_str(told).unwrap_or_else(|error| panic!("{error}: {told}"));
        told["client_secret"].as_str().unwrap().to_owned()
    };
    let try_secret = async |secret: &str| {
        server.app.clients.notice_changes().await.unwrap();
        let fields = [
            ("grant_type", "client_credentials"),
            ("client_id", "job"),
            ("client_secret", secret),
        ];
        server.call("/token", &fields, &[]).await.status.as_u16()
    };
    let add = [
        "client",
        "add",
        "job",
        "--grant",
        "client_credentials",
        "--method",
        "client_secret_post",
        "--json",
    ];
    let (code, told) = run(&add);
    assert_eq!(code, 0, "{told}");
    let first = secret_in(&told);
    assert_eq!(try_secret(&first).await, 200);
    assert_eq!(run(&add).0, 1, "the name is taken");
    let (_, listed) = run(&["client", "list"]);
    assert_eq!(
        listed,
        "job  registered  approved  0 grants of 0 people  client_secret_post  client_credentials  database\n"
    );
    let (_, listed) = run(&["client", "list", "--json"]);
    assert!(!listed.contains("sha256"), "{listed}");
    let (code, told) = run(&["client", "secret", "add", "job", "--replace", "--json"]);
    assert_eq!(code, 0, "{told}");
    let second = secret_in(&told);
    assert_eq!(
        (try_secret(&first).await, try_secret(&second).await),
        (401, 200)
    );
    let (code, told) = run(&["client", "remove", "job"]);
    assert_eq!(
        (code, told.as_str()),
        (
            0,
            "job: removed; grants ended: 0, running logins ended: 0\n"
        )
    );
    assert_eq!(try_secret(&second).await, 401);
    for wrong in [
        &["client", "add", "a b"][..],
        &["client", "add", "x", "--method", "client_secret_jwt"],
        &["client", "add", "x", "--method", "private_key_jwt"],
        &[
            "client",
            "add",
            "x",
            "--method",
            "none",
            "--redirect-uri",
            "http://x.example.com/cb",
        ],
    ] {
        let (code, told) = run(wrong);
        assert_eq!(code, 2, "{wrong:?}: {told}");
        assert!(told.starts_with("wayleave: expected "), "{told}");
    }
    assert_eq!(run(&["client", "remove", "job"]).0, 1);
}

/// ECDSA's other signature of the same message: (r, n − s).
fn malleated(token: &str) -> String {
    use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
    const ORDER: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63,
        0x25, 0x51,
    ];
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let mut signature = BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap();
    let mut borrow = 0;
    for at in (0..32).rev() {
        let difference = i32::from(ORDER[at]) - i32::from(signature[32 + at]) - borrow;
        borrow = i32::from(difference < 0);
        signature[32 + at] = u8::try_from(difference.rem_euclid(256)).unwrap();
    }
    format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
}

#[tokio::test]
async fn client_credentials_are_for_clients_that_authenticate_and_are_listed() {
    let server = TestApp::new(Database::sqlite()).await;
    let signer = Signer::new(None);
    let client = publish(&server, "/c.json", &signer, json!({}));
    let assertion = || signer.assertion(&client, server.app.clock.now());
    // Nobody knows it, so its host is not asked.
    let before = server.site.connections();
    assert_eq!(
        refusal(&try_assertion(&server, &assertion()).await),
        invalid_client()
    );
    assert_eq!(server.site.connections(), before);
    // Known by a login, but a stranger to the administrator.
    let now = server.app.clock.now();
    server
        .app
        .clients
        .client(&client.parse().unwrap(), Need::Fetch(anybody()), now)
        .await
        .unwrap();
    assert_eq!(
        refusal(&try_assertion(&server, &assertion()).await),
        (400, "unauthorized_client".to_owned())
    );
    server.rule(&client, Tier::Listed).await;
    let page = try_assertion(&server, &assertion()).await;
    assert_eq!(page.status, 200, "{}", page.body);
    let claims = crate::support::app::claims(page.json()["access_token"].as_str().unwrap());
    assert_eq!(
        (&claims["sub"], &claims["client_id"]),
        (&json!(client), &json!(client))
    );
    assert!(claims.get("grant_id").is_none() && claims.get("auth_time").is_none());
    // A public client is never its own principal, whatever a rule says.
    let public = server.site.publish(
        "/p.json",
        json!({ "grant_types": ["client_credentials", "authorization_code"] }),
    );
    server.rule(&public, Tier::Approved).await;
    let page = server
        .call(
            "/token",
            &[("grant_type", "client_credentials"), ("client_id", &public)],
            &[],
        )
        .await;
    assert_eq!(refusal(&page), (400, "unauthorized_client".to_owned()));
    // Its document has to list the grant.
    let silent = publish(
        &server,
        "/s.json",
        &signer,
        json!({ "grant_types": ["authorization_code"] }),
    );
    server.rule(&silent, Tier::Listed).await;
    let page = try_assertion(&server, &signer.assertion(&silent, server.app.clock.now())).await;
    assert_eq!(refusal(&page), (400, "unauthorized_client".to_owned()));
}

#[tokio::test]
async fn x_50_x_53_x_55_one_proof_of_one_client() {
    let server = TestApp::new(Database::sqlite()).await;
    let signer = Signer::new(None);
    let client = publish(&server, "/c.json", &signer, json!({}));
    server
        .rule(&format!("{}*", server.site.url("/")), Tier::Listed)
        .await;
    let other = server.site.url("/other.json");
    let now = server.app.clock.now();
    let grant = ("grant_type", "client_credentials");
    let assertion = || signer.assertion(&client, now);
    let saml = "urn:ietf:params:oauth:client-assertion-type:saml2-bearer";
    let (a, b, c, d, e) = (
        assertion(),
        assertion(),
        assertion(),
        assertion(),
        assertion(),
    );
    let kind = ("client_assertion_type", ASSERTION_TYPE);
    type Fields<'a> = Vec<(&'a str, &'a str)>;
    type Headers = &'static [(&'static str, &'static str)];
    let table: Vec<(&str, Fields<'_>, Headers, u16)> = vec![
        (
            "X-53 same",
            vec![
                grant,
                kind,
                ("client_assertion", &a),
                ("client_id", &client),
            ],
            &[],
            200,
        ),
        (
            "X-53 other",
            vec![grant, kind, ("client_assertion", &b), ("client_id", &other)],
            &[],
            401,
        ),
        (
            "X-50 Basic, too",
            vec![grant, kind, ("client_assertion", &b)],
            &[("authorization", "Basic YTpi")],
            400,
        ),
        (
            "X-50 secret, too",
            vec![
                grant,
                kind,
                ("client_assertion", &b),
                ("client_secret", "x"),
            ],
            &[],
            400,
        ),
        (
            "X-50 two",
            vec![
                grant,
                kind,
                ("client_assertion", &b),
                ("client_assertion", &c),
            ],
            &[],
            400,
        ),
        (
            "X-55 no type",
            vec![grant, ("client_assertion", &b)],
            &[],
            401,
        ),
        (
            "X-55 saml",
            vec![
                grant,
                ("client_assertion_type", saml),
                ("client_assertion", &b),
            ],
            &[],
            401,
        ),
        (
            "X-55 twice",
            vec![grant, kind, kind, ("client_assertion", &b)],
            &[],
            400,
        ),
        (
            "X-51 public, Basic",
            vec![grant, ("client_id", &client)],
            &[("authorization", "Basic YTo=")],
            401,
        ),
        (
            "X-51 bogus",
            vec![grant, kind, ("client_assertion", "a.b.c")],
            &[],
            401,
        ),
        (
            "none of that spent it",
            vec![grant, kind, ("client_assertion", &b)],
            &[],
            200,
        ),
        (
            "as form, not query",
            vec![grant, kind, ("client_assertion", &d)],
            &[],
            200,
        ),
    ];
    for (case, fields, headers, expected) in table {
        let page = server.call("/token", &fields, headers).await;
        assert_eq!(page.status.as_u16(), expected, "{case}: {}", page.body);
        if expected == 401 {
            assert_eq!(
                page.json()["error_description"],
                "the client is unknown or did not authenticate as it must",
                "one description for all reasons: {case}"
            );
        }
    }
    let target = "/token?client_assertion=x";
    let page = server
        .call(target, &with_assertion(&[grant], &e), &[])
        .await;
    assert_eq!(page.status, 400, "X-01");
}

/// The assertion's claims at the endpoint; every form of the token itself is beside the rule.
#[tokio::test]
async fn j_12_j_13_j_14_j_15_what_an_assertion_has_to_say() {
    let server = TestApp::new(Database::sqlite()).await;
    let signer = Signer::new(None);
    let client = publish(&server, "/c.json", &signer, json!({}));
    server.rule(&client, Tier::Listed).await;
    let now = server.app.clock.now();
    let token_url = format!("{ISSUER}/token");
    let table = [
        ("J-01", json!({}), true),
        (
            "J-12",
            json!({ "iss": "https://evil.example.net/c" }),
            false,
        ),
        ("J-13 endpoint", json!({ "aud": token_url }), false),
        ("J-13 slash", json!({ "aud": format!("{ISSUER}/") }), false),
        ("J-13 array", json!({ "aud": [ISSUER] }), false),
        ("J-13 absent", json!({ "aud": null }), false),
        ("J-14", json!({ "exp": now.0 - 1 }), false),
        ("J-14", json!({ "exp": now.0 + 301 }), false),
        ("J-14", json!({ "exp": 1e300 }), false),
        ("J-15", json!({ "iat": now.0 + 8 }), true),
        ("J-15", json!({ "nbf": now.0 + 61 }), false),
        ("J-15", json!({ "iat": now.0 - 86_400 }), false),
        ("J-16", json!({ "jti": "" }), false),
        ("J-16", json!({ "jti": "j".repeat(129) }), false),
    ];
    for (case, changes, accepted) in table {
        let mut claims = assertion_claims(&client, now);
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let page = try_assertion(&server, &signer.sign(&signer.header(), &claims)).await;
        assert_eq!(
            page.status == 200,
            accepted,
            "{case}: {changes}: {}",
            page.body
        );
    }
    // Only a rule makes the older audience and lifetime acceptable.
    let legacy = json!({ "match": client, "tier": "listed", "legacy_assertions": true });
    let rule = serde_json::from_value(legacy).unwrap();
    server.app.store.put_client_rule(rule, now).await.unwrap();
    server.app.clients.notice_changes().await.unwrap();
    for (aud, exp, accepted) in [
        (json!(token_url), 3_600, true),
        (json!([token_url]), 60, true),
        (json!(ISSUER), 60, true),
        (json!([ISSUER, "https://evil.example.net"]), 60, false),
        (json!(format!("{ISSUER}/par")), 60, false),
        (json!(token_url), 3_601, false),
    ] {
        let mut claims = assertion_claims(&client, now);
        claims["aud"] = aud.clone();
        claims["exp"] = json!(now.0 + exp);
        let page = try_assertion(&server, &signer.sign(&signer.header(), &claims)).await;
        assert_eq!(page.status == 200, accepted, "{aud} {exp}: {}", page.body);
    }
}

#[tokio::test]
async fn k_16_k_17_a_key_speaks_only_for_whoever_publishes_it() {
    let server = TestApp::new(Database::sqlite()).await;
    let (a, b) = (Signer::new(None), Signer::new(None));
    let client_a = publish(&server, "/a.json", &a, json!({}));
    let client_b = publish(&server, "/b.json", &b, json!({}));
    // K-16: this one publishes the keys of another.
    let copies = publish(&server, "/copies.json", &a, json!({}));
    server
        .rule(&format!("{}*", server.site.url("/")), Tier::Listed)
        .await;
    let now = server.app.clock.now();
    assert_eq!(
        try_assertion(&server, &a.assertion(&client_a, now))
            .await
            .status,
        200
    );
    server.app.clock.advance(31);
    let now = server.app.clock.now();
    assert_eq!(
        refusal(&try_assertion(&server, &b.assertion(&client_a, now)).await),
        invalid_client()
    );
    assert_eq!(
        try_assertion(&server, &a.assertion(&copies, now))
            .await
            .status,
        200
    );
    let mut claims = assertion_claims(&client_a, now);
    claims["sub"] = json!(copies);
    assert_eq!(
        refusal(&try_assertion(&server, &a.sign(&a.header(), &claims)).await),
        invalid_client()
    );
    assert_eq!(
        try_assertion(&server, &b.assertion(&client_b, now))
            .await
            .status,
        200
    );
    // J-08: a key in the header is nobody's.
    let header = json!({ "alg": "ES256", "jwk": b.jwk(), "jku": "https://evil.example.net/keys", "x5u": "https://evil.example.net/x" });
    let forged = b.sign(&header, &assertion_claims(&client_a, now));
    server.app.clock.advance(31);
    assert_eq!(
        refusal(&try_assertion(&server, &forged).await),
        invalid_client()
    );
}

#[tokio::test]
async fn k_27_k_28_k_29_a_rotated_key_is_read_within_one_refetch_and_never_costs_a_401() {
    for (place, kid) in [
        ("jwks", Some("1")),
        ("jwks", None),
        ("jwks_uri", Some("1")),
        ("jwks_uri", None),
    ] {
        let server = TestApp::new(Database::sqlite()).await;
        let (first, second) = (Signer::new(kid), Signer::new(kid.map(|_| "2")));
        let keys_url = server.site.url("/keys.json");
        let publish_keys = |keys: Value| match place {
            "jwks" => publish(&server, "/c.json", &first, json!({ "jwks": keys })),
            _ => {
                let mut answer = Answer::json(keys.to_string());
                answer
                    .headers
                    .push(("cache-control", "max-age=3600".to_owned()));
                server.site.answer("/keys.json", answer);
                let mut document = json!({
                    "token_endpoint_auth_method": "private_key_jwt", "jwks_uri": keys_url,
                    "grant_types": ["authorization_code", "client_credentials"],
                });
                document["jwks"] = Value::Null;
                document.as_object_mut().unwrap().remove("jwks");
                server.site.publish("/c.json", document)
            }
        };
        let client = publish_keys(first.jwks());
        server.rule(&client, Tier::Listed).await;
        let case = format!("{place} {kid:?}");
        let now = server.app.clock.now();
        let page = try_assertion(&server, &first.assertion(&client, now)).await;
        assert_eq!(page.status, 200, "{case}: {}", page.body);

        // Both keys are published; the first assertion comes a second later.
        publish_keys(json!({ "keys": [first.jwk(), second.jwk()] }));
        server.app.clock.advance(1);
        let assertion = second.assertion(&client, server.app.clock.now());
        let page = try_assertion(&server, &assertion).await;
        assert_eq!(page.status, 503, "{case}: K-29: {}", page.body);
        let wait: i64 = page.header("retry-after").parse().unwrap();
        assert!((1..=30).contains(&wait), "{case}: {wait}");
        // K-28: however many try in between, nobody is asked, and the known key works.
        let asked = server.site.connections();
        for _ in 0..20 {
            let stranger = Signer::new(Some("9"));
            let page = try_assertion(
                &server,
                &stranger.assertion(&client, server.app.clock.now()),
            )
            .await;
            assert_eq!(page.status, 503, "{case}: {}", page.body);
        }
        let page = try_assertion(&server, &first.assertion(&client, server.app.clock.now())).await;
        assert_eq!(page.status, 200, "{case}: {}", page.body);
        assert_eq!(server.site.connections(), asked, "{case}");
        server.app.clock.advance(wait);
        // K-27: cheap checks come before the question.
        let mut claims = assertion_claims(&client, server.app.clock.now());
        claims["aud"] = json!("https://elsewhere.example.net");
        let page = try_assertion(&server, &second.sign(&second.header(), &claims)).await;
        assert_eq!(
            (page.status.as_u16(), server.site.connections()),
            (401, asked),
            "{case}"
        );
        let page = try_assertion(&server, &assertion).await;
        assert_eq!(page.status, 200, "{case}: {}", page.body);
        assert_eq!(server.site.connections(), asked + 1, "{case}");
        // Whoever is not among them now is refused for good.
        server.app.clock.advance(31);
        let stranger = Signer::new(Some("9"));
        let page = try_assertion(
            &server,
            &stranger.assertion(&client, server.app.clock.now()),
        )
        .await;
        assert_eq!(refusal(&page), invalid_client(), "{case}");
    }
}
