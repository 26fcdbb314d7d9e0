//! Registered clients: what they may be called, how a registration changes, and how one secret replaces another.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use crate::{
    process::{run, wayleave},
    support::{Page, Signer, TestApp, app::Flow, on_both},
};

/// A command of the binary; what it answers, and its exit code.
fn tell(server: &TestApp, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = wayleave(&server.database.path("."));
    command
        .env("WAYLEAVE_DATABASE__URL", &server.database.url)
        .arg("client")
        .args(arguments);
    let output = run(command, None);
    let told = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8_lossy(&told).into_owned(),
    )
}

/// One that is done, and that the server has noticed; its answer as JSON.
async fn done(server: &TestApp, arguments: &[&str]) -> Value {
    let (code, told) = tell(server, &[arguments, &["--json"]].concat());
    assert_eq!(code, Some(0), "{arguments:?}: {told}");
    server.app.clients.notice_changes().await.unwrap();
    serde_json::from_str(&told).unwrap_or_else(|error| panic!("{error}: {told}"))
}

fn secret(told: &Value) -> String {
    let secret = told["client_secret"].as_str();
    secret.unwrap_or_else(|| panic!("{told}")).to_owned()
}

/// RFC 6749 §2.3.1.
fn basic(client: &str, secret: &str) -> String {
    let encoded: String = url::form_urlencoded::byte_serialize(client.as_bytes()).collect();
    format!(
        "Basic {}",
        BASE64_STANDARD.encode(format!("{encoded}:{secret}"))
    )
}

/// A request for a token of the client's own, with a secret in the header.
async fn own_token(server: &TestApp, client: &str, secret: &str) -> u16 {
    let fields = [("grant_type", "client_credentials")];
    let header = basic(client, secret);
    let page = server
        .call("/token", &fields, &[("authorization", &header)])
        .await;
    page.status.as_u16()
}

/// Redeems or refreshes with a secret.
async fn tokens(server: &TestApp, client: &str, secret: &str, fields: &[(&str, &str)]) -> Page {
    let header = basic(client, secret);
    server
        .call("/token", fields, &[("authorization", &header)])
        .await
}

async fn redeem(server: &TestApp, flow: &Flow, secret: &str) -> Page {
    let mut browser = server.signed_in().await;
    let code = server.code(&mut browser, flow).await;
    let fields = [
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("redirect_uri", flow.get("redirect_uri")),
        ("code_verifier", crate::support::app::VERIFIER),
    ];
    tokens(server, flow.get("client_id"), secret, &fields).await
}

on_both! {
    async fn f_26_a_registered_client_may_be_called_as_other_servers_called_it(database) {
        let server = TestApp::new(database).await;
        let callback = server.site.url("/callback");
        for name in ["grafana@example.com", "apps/wiki:2", "spiffe://example.org/wiki", "urn:example:a(b),c%2Cd;e='f'"] {
            let key = secret(&done(&server, &["add", name, "--redirect-uri", &callback, "--first-party"]).await);
            let flow = server.flow(name).with("scope", "openid");
            let page = redeem(&server, &flow, &key).await;
            assert_eq!(page.status, 200, "{name}: {}", page.body);
            let answer = page.json();
            let claims = crate::support::app::claims(answer["id_token"].as_str().unwrap());
            assert_eq!(claims["aud"], name);
            let refresh = [("grant_type", "refresh_token"), ("refresh_token", answer["refresh_token"].as_str().unwrap())];
            assert_eq!(tokens(&server, name, &key, &refresh).await.status, 200, "{name}");
            done(&server, &["remove", name]).await;
        }
        for name in ["HTTPS://app.example.com/c", "https:app", "http://app.example.com/c", "//app.example.com/c", "a b", "a'b", "urn:x"] {
            let (code, told) = tell(&server, &["add", name, "--redirect-uri", &callback]);
            server.app.clients.notice_changes().await.unwrap();
            let is_name = name == "urn:x";
            assert_eq!(code, Some(if is_name { 0 } else { 2 }), "{name}: {told}");
            // A stranger who says to be called so is told in the same way as ever.
            let page = server.browser().get(&server.flow(name).target()).await;
            assert_eq!(page.status, if is_name { 303 } else { 400 }, "{name}: {}", page.body);
        }
    }

    async fn f_28_a_registration_changes_and_its_secret_stays(database) {
        let server = TestApp::new(database).await;
        let old = server.site.url("/callback");
        let added = ["add", "wiki", "--name", "Wiki", "--redirect-uri", &old, "--first-party", "--resource", "https://notes.example.com/mcp"];
        let key = secret(&done(&server, &added).await);
        let flow = server.flow("wiki").with("scope", "openid");
        let page = redeem(&server, &flow, &key).await;
        assert_eq!(page.status, 200, "{}", page.body);
        let refresh_token = page.json()["refresh_token"].as_str().unwrap().to_owned();

        let new = server.site.url("/new");
        let told = done(&server, &["set", "wiki", "--redirect-uri", &new, "--id-token-alg", "ES256"]).await;
        assert_eq!(told, json!({ "client_id": "wiki", "done": "changed", "client_secret": null }));
        assert_eq!(server.signed_in().await.open(&flow.target()).await.status, 400, "the old redirect URI");
        let flow = flow.with("redirect_uri", &new);
        let page = redeem(&server, &flow, &key).await;
        assert_eq!(page.status, 200, "the secret is the same, and nobody is asked: {}", page.body);
        let header = crate::support::app::part(page.json()["id_token"].as_str().unwrap(), 0);
        assert_eq!(header["alg"], "ES256");
        let refresh = [("grant_type", "refresh_token"), ("refresh_token", refresh_token.as_str())];
        assert_eq!(tokens(&server, "wiki", &key, &refresh).await.status, 200, "what it had lives on");

        let registration = async || {
            let all = done(&server, &["list", "--known-by", "registered"]).await;
            all[0]["registration"].clone()
        };
        assert_eq!(registration().await, json!({
            "client_id": "wiki", "client_name": "Wiki", "redirect_uris": [new], "id_token_signed_response_alg": "ES256",
            "first_party": true, "resources": ["https://notes.example.com/mcp"],
        }));
        let changes = [
            "set", "wiki", "--name", "", "--redirect-uri", &old, "--redirect-uri", &new, "--grant", "authorization_code",
            "--scope", "openid", "--first-party=false", "--resource", "", "--method", "client_secret_post", "--require-par", "--dpop",
            "--client-uri", "https://wiki.example.com/", "--legacy-assertions",
        ];
        done(&server, &changes).await;
        assert_eq!(registration().await, json!({
            "client_id": "wiki", "client_uri": "https://wiki.example.com/", "redirect_uris": [old, new],
            "grant_types": ["authorization_code"], "token_endpoint_auth_method": "client_secret_post", "scope": "openid",
            "id_token_signed_response_alg": "ES256", "dpop_bound_access_tokens": true,
            "require_pushed_authorization_requests": true, "legacy_assertions": true,
        }));
        done(&server, &["set", "wiki", "--grant", "", "--method", "", "--dpop=false", "--require-par=false"]).await;
        let page = redeem(&server, &flow, &key).await;
        assert_eq!(page.status, 200, "the secret is still the same: {}", page.body);

        for (arguments, code, told) in [
            (&["set", "wiki"][..], 2, "nothing to change"),
            (&["set", "nobody", "--name", "x"], 1, "no registered client nobody"),
            (&["set", "a b", "--name", "x"], 2, "client_id"),
            (&["set", "wiki", "--redirect-uri", "https://x.example.com/#f"], 2, "of wiki: redirect_uris has no usable entry"),
            (&["set", "wiki", "--method", "client_secret_jwt"], 2, "expected token_endpoint_auth_method"),
            (&["set", "wiki", "--method", "private_key_jwt"], 2, "jwks or jwks_uri"),
            (&["set", "wiki", "--id-token-alg", "HS256"], 2, "expected another registration"),
            (&["set", "wiki", "--jwks", "none.json"], 1, "none.json"),
            (&["set", "wiki", "--jwks", "x", "--jwks-uri", "y"], 2, "cannot be used with"),
        ] {
            let (status, text) = tell(&server, arguments);
            assert_eq!(status, Some(code), "{arguments:?}: {text}");
            assert!(text.contains(told), "{arguments:?}: {text}");
        }
        let page = redeem(&server, &flow, &key).await;
        assert_eq!(page.status, 200, "what is refused changes nothing: {}", page.body);
    }

    async fn a_client_that_changes_its_method_has_the_secrets_that_it_needs(database) {
        let server = TestApp::new(database).await;
        let first = secret(&done(&server, &["add", "job", "--grant", "client_credentials"]).await);
        assert_eq!(own_token(&server, "job", &first).await, 200);
        // To keys: the secret is worth nothing.
        let signer = Signer::new(Some("1"));
        let file = server.database.path("jwks.json");
        std::fs::write(&file, signer.jwks().to_string()).unwrap();
        let told = done(&server, &["set", "job", "--jwks", file.to_str().unwrap()]).await;
        assert!(told["done"].as_str().unwrap().contains("no longer work"), "{told}");
        assert_eq!(own_token(&server, "job", &first).await, 401);
        let (code, told) = tell(&server, &["secret", "add", "job"]);
        assert!(code == Some(1) && told.contains("does not authenticate with a secret"), "{told}");
        let fields = [
            ("grant_type", "client_credentials"),
            ("client_assertion_type", crate::support::signer::ASSERTION_TYPE),
            ("client_assertion", &signer.assertion("job", server.app.clock.now())),
        ];
        let page = server.call("/token", &fields, &[]).await;
        assert_eq!(page.status, 200, "{}", page.body);
        // And back: it is not public for a moment, and the old secret stays worth nothing.
        let second = secret(&done(&server, &["set", "job", "--jwks", ""]).await);
        assert_eq!((own_token(&server, "job", &first).await, own_token(&server, "job", &second).await), (401, 200));
        let page = server.call("/token", &[("grant_type", "client_credentials"), ("client_id", "job")], &[]).await;
        assert_eq!(page.json()["error"], "invalid_client");
    }

    async fn f_29_a_secret_is_replaced_while_both_work(database) {
        let server = TestApp::new(database).await;
        let added = ["add", "job", "--grant", "client_credentials"];
        let first = secret(&done(&server, &added).await);
        let list = async || done(&server, &["secret", "list", "job"]).await;
        let before = list().await;
        assert!(before[0]["made_at"].as_str().unwrap().starts_with("20"), "{before}");

        let second = secret(&done(&server, &["secret", "add", "job"]).await);
        assert_eq!((own_token(&server, "job", &first).await, own_token(&server, "job", &second).await), (200, 200));
        let (code, told) = tell(&server, &["secret", "add", "job"]);
        assert!(code == Some(1) && told.contains("has two secrets already"), "{told}");
        // A change of something else keeps both.
        done(&server, &["set", "job", "--name", "A job"]).await;
        assert_eq!((own_token(&server, "job", &first).await, own_token(&server, "job", &second).await), (200, 200));
        let both = list().await;
        assert_eq!((both.as_array().unwrap().len(), &both[0]), (2, &before[0]));
        let (_, told) = tell(&server, &["secret", "list", "job"]);
        assert!(told.lines().all(|line| line.contains("  made 20") && line.ends_with('Z')), "{told}");
        assert!(![&first, &second].iter().any(|secret| told.contains(secret.as_str())), "{told}");
        let (_, told) = tell(&server, &["list"]);
        assert_eq!(told, "job  registered  approved  0 grants of 0 people  client_secret_basic client_secret_post  client_credentials  database  A job  two secrets\n");
        let listed = done(&server, &["list", "--known-by", "registered"]).await;
        assert_eq!(listed[0]["secrets"], both);
        assert!(!listed.to_string().contains("sha256"), "{listed}");

        // The older goes; the other way about by its id.
        let removed = done(&server, &["secret", "remove", "job"]).await;
        assert_eq!((&removed["id"], &removed["done"]), (&before[0]["id"], &json!("removed")));
        assert_eq!((own_token(&server, "job", &first).await, own_token(&server, "job", &second).await), (401, 200));
        let (code, told) = tell(&server, &["secret", "remove", "job"]);
        assert!(code == Some(1) && told.contains("the only secret of job"), "{told}");
        let third = secret(&done(&server, &["secret", "add", "job"]).await);
        let id = list().await[1]["id"].as_str().unwrap().to_owned();
        let (code, told) = tell(&server, &["secret", "remove", "job", "unknown"]);
        assert!(code == Some(1) && told.contains("has no such secret"), "{told}");
        done(&server, &["secret", "remove", "job", &id]).await;
        assert_eq!((own_token(&server, "job", &second).await, own_token(&server, "job", &third).await), (200, 401));

        // One that came out is replaced at once.
        done(&server, &["secret", "add", "job"]).await;
        let last = secret(&done(&server, &["secret", "add", "job", "--replace"]).await);
        assert_eq!((own_token(&server, "job", &second).await, own_token(&server, "job", &last).await), (401, 200));
        assert_eq!(list().await.as_array().unwrap().len(), 1);
        for (arguments, code) in [
            (&["secret", "list", "nobody"][..], 1),
            (&["secret", "add", "nobody"], 1),
            (&["secret", "remove", "nobody"], 1),
            (&["secret", "job"], 2),
            (&["secret"], 2),
        ] {
            assert_eq!(tell(&server, arguments).0, Some(code), "{arguments:?}");
        }
    }

    async fn of_secrets_that_are_added_at_once_two_are_kept(database) {
        let server = TestApp::new(database).await;
        done(&server, &["add", "job", "--grant", "client_credentials"]).await;
        let adding = (0..4).map(|_| {
            let (url, folder) = (server.database.url.clone(), server.database.path("."));
            tokio::task::spawn_blocking(move || {
                let mut command = wayleave(&folder);
                command.env("WAYLEAVE_DATABASE__URL", url).args(["client", "secret", "add", "job"]);
                run(command, None).status.code()
            })
        });
        let codes = futures_util::future::join_all(adding).await;
        assert_eq!(codes.iter().filter(|code| *code.as_ref().unwrap() == Some(0)).count(), 1, "{codes:?}");
        assert_eq!(done(&server, &["secret", "list", "job"]).await.as_array().unwrap().len(), 2);
    }

    async fn a_client_of_the_configuration_is_changed_there(database) {
        let variables = [("WAYLEAVE_CLIENTS__REGISTERED", "[{ client_id = 'wiki', redirect_uris = ['https://wiki.example.com/cb'] }]")];
        let server = TestApp::with(database, &variables).await;
        for arguments in [
            &["set", "wiki", "--name", "x"][..],
            &["secret", "add", "wiki"],
            &["secret", "list", "wiki"],
            &["secret", "remove", "wiki"],
        ] {
            let mut command = wayleave(&server.database.path("."));
            command
                .env("WAYLEAVE_DATABASE__URL", &server.database.url)
                .envs(variables)
                .arg("client")
                .args(arguments);
            let output = run(command, None);
            let told = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(1), "{told}");
            assert!(told.contains("the configuration has the client wiki; change it there"), "{told}");
        }
    }
}
