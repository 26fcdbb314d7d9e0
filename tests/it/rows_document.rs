//! Rows M- of the attack corpus, and C-06 to C-08: what a client's document says, CIMD §4, and how long, RFC 9111 §4.2.

use scraper::{Html, Selector};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use wayleave::{
    clients::Need,
    policy::metadata_change,
    protocol::{
        client_metadata::{self, AuthMethod, ClientMetadata, GrantType},
        client_url::ClientUrl,
        redirect_uri::RedirectUri,
    },
};

use crate::{
    rows_url::{Expect, expanded, file, report, rows},
    support::{
        Answer, Browser, Database, Page, TestApp,
        app::{Flow, VERIFIER, anybody, param, part},
    },
};

/// One entry of `documents.json`: the smallest valid document with `members` on top, some left `without`, and `insert`
/// before its end; or else a `body`, or a `file`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    id: String,
    case: String,
    /// Where the document was found.
    at: Option<String>,
    #[serde(default)]
    members: Map<String, Value>,
    #[serde(default)]
    without: Vec<String>,
    insert: Option<String>,
    /// Does `insert` end the document itself?
    #[serde(default)]
    closed: bool,
    body: Option<String>,
    file: Option<String>,
    encoding: Option<String>,
    expect: Expect,
    rule: Option<String>,
    #[serde(default)]
    then: Map<String, Value>,
    #[serde(default)]
    note: String,
}

impl Row {
    fn at(&self) -> ClientUrl {
        let at = self.at.as_deref().unwrap_or("https://client.example.com/c");
        at.parse().unwrap()
    }

    fn bytes(&self) -> Vec<u8> {
        let text = match (&self.body, &self.file) {
            (Some(body), _) => body.clone(),
            (_, Some(name)) => return file(name).into_bytes(),
            _ => self.on_top_of_the_smallest(),
        };
        let text = expanded(&text);
        match self.encoding.as_deref() {
            None => with_raw_bytes(&text),
            Some(encoding) => encoded(&text, encoding),
        }
    }

    fn on_top_of_the_smallest(&self) -> String {
        let mut document = json!({
            "client_id": self.at().as_str(),
            "client_name": "Client",
            "redirect_uris": ["https://client.example.com/cb"],
            "token_endpoint_auth_method": "none",
        });
        let object = document.as_object_mut().unwrap();
        object.extend(self.members.clone());
        object.retain(|name, _| !self.without.contains(name));
        let text = document.to_string();
        match &self.insert {
            None => text,
            Some(insert) => {
                let end = if self.closed { "" } else { "}" };
                format!("{},{insert}{end}", text.strip_suffix('}').unwrap())
            }
        }
    }

    /// What is wrong with what came of it.
    fn complaint(&self) -> Option<String> {
        let got = client_metadata::parse(&self.at(), &self.bytes());
        let outcome = got
            .as_ref()
            .map(|_| ())
            .map_err(|error| error.rule().name());
        if let Some(complaint) = self.expect.complaint(self.rule.as_deref(), outcome) {
            return Some(format!("was {complaint}"));
        }
        let read = got.ok()?;
        let wrong = self
            .then
            .iter()
            .find(|(name, expected)| said(&read, name) != **expected);
        wrong.map(|(name, expected)| {
            let got = said(&read, name);
            format!("has {name} {got}, expected {expected}")
        })
    }
}

/// What the server understood, in the words of the data file.
fn said(read: &ClientMetadata, name: &str) -> Value {
    let grants = read.grants.iter().copied().map(GrantType::as_str);
    let methods = read.auth_methods.iter().copied().map(AuthMethod::as_str);
    let redirects = read.redirect_uris.iter().map(RedirectUri::as_str);
    match name {
        "client_name" => json!(read.client_name),
        "grants" => grants.collect(),
        "auth_methods" => methods.collect(),
        "redirect_uris" => redirects.collect(),
        "scope" => json!(read.scope),
        "jwks_uri" => json!(read.jwks_uri),
        "application_type" => json!(read.application_type.as_str()),
        _ => panic!("{name} is nothing that a row can say"),
    }
}

/// `<<0xff>>` is that byte.
fn with_raw_bytes(text: &str) -> Vec<u8> {
    let mut parts = text.split("<<0x");
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (byte, rest) = part.split_once(">>").unwrap();
        bytes.push(u8::from_str_radix(byte, 16).unwrap());
        bytes.extend(rest.as_bytes());
    }
    bytes
}

fn encoded(text: &str, encoding: &str) -> Vec<u8> {
    let (name, marked) = match encoding.split_once(" with ") {
        Some((name, _)) => (name, format!("\u{feff}{text}")),
        None => (encoding, text.to_owned()),
    };
    let utf_16 = || marked.encode_utf16();
    let utf_32 = || marked.chars().map(u32::from);
    match name {
        "utf-8" => marked.into_bytes(),
        "utf-16le" => utf_16().flat_map(u16::to_le_bytes).collect(),
        "utf-16be" => utf_16().flat_map(u16::to_be_bytes).collect(),
        "utf-32le" => utf_32().flat_map(u32::to_le_bytes).collect(),
        "utf-32be" => utf_32().flat_map(u32::to_be_bytes).collect(),
        _ => panic!("{name} is no encoding"),
    }
}

#[test]
fn every_row_of_documents_json() {
    let rows: Vec<Row> = rows("documents.json");
    let failures = rows.iter().filter_map(|row| {
        let complaint = row.complaint()?;
        let (id, case, note) = (&row.id, &row.case, &row.note);
        Some(format!("{id} {case}: {complaint}. {note}"))
    });
    report(failures.collect(), rows.len());
}

#[tokio::test]
async fn m_13_a_document_served_elsewhere_is_refused() {
    let server = TestApp::new(Database::sqlite()).await;
    let own = server.site.publish("/own.json", json!({}));
    let copy = server.site.document("/own.json", json!({})).to_string();
    server.site.answer("/copy.json", Answer::json(copy));
    let mut browser = server.signed_in().await;
    let elsewhere = server.flow(&server.site.url("/copy.json"));
    let page = browser.get(&elsewhere.target()).await;
    assert_eq!((page.status.as_u16(), page.location()), (400, None));
    assert!(page.body.contains("document.client_id"), "{}", page.body);
    // The client whose document it is does not suffer.
    let page = browser.open(&server.flow(&own).target()).await;
    assert_eq!(page.text("h1"), "app.example.com");
}

#[tokio::test]
async fn m_14_a_client_without_a_name_is_shown_by_its_host_and_a_long_name_is_cut() {
    let server = TestApp::new(Database::sqlite()).await;
    let mut browser = server.signed_in().await;
    for (n, name) in [json!(null), json!(""), json!(" \u{a0} ")]
        .iter()
        .enumerate()
    {
        let client = server.site.publish(&format!("/{n}"), json!({}));
        let mut document = server.site.document(&format!("/{n}"), json!({}));
        match name.as_str() {
            None => _ = document.as_object_mut().unwrap().remove("client_name"),
            Some(name) => document["client_name"] = json!(name),
        }
        let answer = Answer::json(document.to_string());
        server.site.answer(&format!("/{n}"), answer);
        let page = browser.open(&server.flow(&client).target()).await;
        assert_eq!(page.text("h1"), "app.example.com");
        assert_eq!(page.text(".lede"), "gives no name for itself", "{name}");
    }
    let members = json!({ "client_name": "n".repeat(9_000) });
    let client = server.site.publish("/long", members);
    let page = browser.open(&server.flow(&client).target()).await;
    assert_eq!(page.text(".lede bdi"), "n".repeat(128));
}

/// Only a client that authenticates and that policy lists may ever have it.
#[tokio::test]
async fn m_26_client_credentials_are_off_for_a_client_that_nobody_listed() {
    let server = TestApp::new(Database::sqlite()).await;
    let members = json!({ "grant_types": ["client_credentials", "authorization_code"] });
    let client = server.site.publish("/c.json", members);
    let fields = [("grant_type", "client_credentials"), ("client_id", &client)];
    let page = server.token(&fields).await;
    let error = page.json()["error"].as_str().unwrap().to_owned();
    let refused = [
        "unsupported_grant_type",
        "unauthorized_client",
        "invalid_client",
    ];
    assert!(refused.contains(&error.as_str()), "{error}");
    assert_eq!(server.site.connections(), 0, "nothing is fetched for it");
    let mut browser = server.signed_in().await;
    let flow = server.flow(&client);
    let code = server.code(&mut browser, &flow).await;
    assert_eq!(server.redeem(&flow, &code).await.status, 200);
    assert_eq!(server.token(&fields).await.json()["error"], error);
}

#[tokio::test]
async fn m_30_m_31_m_72_no_address_in_a_document_is_called() {
    let server = TestApp::new(Database::sqlite()).await;
    // Addresses that would work, if anybody tried.
    let inner = server.site.url("/inner");
    server.site.answer("/inner", Answer::json("[]"));
    let table = [
        (
            "M-30",
            json!({ "subject_type": "pairwise", "sector_identifier_uri": inner }),
        ),
        ("M-31", json!({ "request_uris": [inner] })),
        ("M-31", json!({ "initiate_login_uri": inner })),
        (
            "M-31",
            json!({ "backchannel_logout_uri": inner, "backchannel_logout_session_required": true }),
        ),
        ("M-31", json!({ "frontchannel_logout_uri": inner })),
        (
            "M-31",
            json!({ "software_statement": inner, "registration_client_uri": inner }),
        ),
        (
            "M-43, M-44",
            json!({ "logo_uri": inner, "client_uri": inner, "tos_uri": inner, "policy_uri": inner }),
        ),
        ("M-72", json!({ "jwks_uri": inner })),
    ];
    let mut browser = server.signed_in().await;
    for (n, (id, members)) in table.iter().enumerate() {
        let client = server.site.publish(&format!("/{n}"), members.clone());
        let flow = server.flow(&client);
        let code = server.code(&mut browser, &flow).await;
        let tokens = server.redeem(&flow, &code).await.json();
        let refresh = tokens["refresh_token"].as_str().unwrap();
        assert_eq!(server.refresh(&client, refresh).await.status, 200, "{id}");
    }
    let logout = browser.get("/logout").await;
    browser.submit(&logout, &[]).await;
    let inner = |request: &String| request.starts_with("GET /inner");
    assert!(!server.site.requests().iter().any(inner));
    assert_eq!(server.site.connections(), table.len());
}

#[tokio::test]
async fn m_40_a_name_is_shown_as_text() {
    let server = TestApp::new(Database::sqlite()).await;
    let mut browser = server.signed_in().await;
    for (n, name) in [
        "<script>alert(1)</script>",
        "\"><img src=x onerror=alert(1)>",
        "' onmouseover='alert(1)",
        "</bdi></p><form action=\"https://evil.example/\">",
        "<!--",
        "]]><svg/onload=alert(1)>",
        "{{7*7}}",
        "${7*7}",
        "<%= 7*7 %>",
        "%0d%0aSet-Cookie:x=1",
        "&lt;b&gt; &amp; &#x41;",
        "javascript:alert(1)",
    ]
    .iter()
    .enumerate()
    {
        let members = json!({ "client_name": name });
        let client = server.site.publish(&format!("/{n}"), members);
        let page = browser.open(&server.flow(&client).target()).await;
        assert_eq!(page.text(".lede bdi"), *name);
        assert_eq!(page.text("h1"), "app.example.com", "{name}");
        for forbidden in [
            "script",
            "img",
            "form form",
            "[onerror]",
            "[onmouseover]",
            "[onload]",
        ] {
            let page = Html::parse_document(&page.body);
            let selector = Selector::parse(forbidden).unwrap();
            assert!(
                page.select(&selector).next().is_none(),
                "{name}: {forbidden}"
            );
        }
        assert!(
            page.header("content-security-policy")
                .starts_with("default-src 'none'")
        );
    }
}

#[tokio::test]
async fn m_41_a_name_cannot_steer_the_text_around_it() {
    let server = TestApp::new(Database::sqlite()).await;
    let mut browser = server.signed_in().await;
    let tower = format!("e{}", "\u{301}".repeat(500));
    let lines = "one\u{2028}two\u{2029}three\u{2028}\u{2028}four";
    // What is published, and what is shown.
    let table = [
        ("a\u{202e}b\u{202d}c\u{202a}\u{202b}\u{202c}", "abc"),
        ("a\u{2066}b\u{2067}c\u{2068}d\u{2069}", "abcd"),
        ("a\u{200e}b\u{200f}c\u{61c}", "abc"),
        ("a\u{200b}b\u{feff}c\u{ad}d\u{2060}", "abcd"),
        ("a\u{e0001}\u{e0041}\u{e007f}", "a"),
        ("a\u{e000}\u{f8ff}\u{f0000}b", "ab"),
        ("\u{1f468}\u{200d}\u{1f469}", "\u{1f468}\u{1f469}"),
        (tower.as_str(), "e\u{301}\u{301}\u{301}"),
        (lines, "one two three  four"),
    ];
    for (n, (name, shown)) in table.iter().enumerate() {
        let members = json!({ "client_name": name });
        let client = server.site.publish(&format!("/{n}"), members);
        let page = browser.open(&server.flow(&client).target()).await;
        assert_eq!(page.text(".lede bdi"), *shown, "{name:?}");
    }
    // A name of nothing but such characters is none.
    let members = json!({ "client_name": "\u{202e}\u{200b}" });
    let client = server.site.publish("/nothing", members);
    let page = browser.open(&server.flow(&client).target()).await;
    assert_eq!(page.text(".lede"), "gives no name for itself");
}

#[tokio::test]
async fn m_44_m_45_what_a_document_links_to_is_no_link_of_ours() {
    let server = TestApp::new(Database::sqlite()).await;
    let members = json!({
        "client_uri": "https://evil.example/<b>client", "tos_uri": "http://evil.example/tos", "policy_uri": "https://evil.example/policy",
        "logo_uri": "https://evil.example/logo.png", "contacts": ["<b>contact</b>\r\nX-Evil: 1"], "software_id": "<b>software</b>\r\n",
    });
    let client = server.site.publish("/c.json", members);
    let page = server
        .signed_in()
        .await
        .open(&server.flow(&client).target())
        .await;
    assert_eq!(page.text("h1"), "app.example.com");
    for raw in ["<b>", "contact</b>", "X-Evil", "software</b>"] {
        assert!(!page.body.contains(raw), "{raw}: {}", page.body);
    }
    let html = Html::parse_document(&page.body);
    let elements = Selector::parse("[href], [src], [action]").unwrap();
    for element in html.select(&elements) {
        let address = ["href", "src", "action"].map(|name| element.attr(name).unwrap_or_default());
        if address.iter().any(|text| text.contains("evil.example")) {
            let rel = element.attr("rel").unwrap_or_default();
            assert_eq!(element.value().name(), "a", "{address:?}");
            let kept = ["noopener", "noreferrer", "nofollow"];
            assert!(
                kept.iter().all(|word| rel.contains(word)),
                "{address:?} {rel}"
            );
        }
    }
}

/// A document that is read anew whenever anybody asks.
fn unstored(server: &TestApp, members: Value) {
    let document = server.site.document("/c.json", members).to_string();
    let answer = Answer::json(document).header("cache-control", "no-store");
    server.site.answer("/c.json", answer);
}

#[tokio::test]
async fn m_60_a_login_keeps_the_version_that_it_began_with() {
    let server = TestApp::new(Database::sqlite()).await;
    let client = server.site.url("/c.json");
    let (first, second) = (server.site.url("/first"), server.site.url("/second"));
    unstored(&server, json!({ "redirect_uris": [first] }));
    let mut browser = server.signed_in().await;
    let flow = server.flow(&client).with("redirect_uri", &first);
    let code = server.code(&mut browser, &flow).await;
    let wrong = server.code(&mut browser, &flow).await;

    // Another version for another person, and its grant.
    server.app.clock.advance(2);
    unstored(
        &server,
        json!({ "redirect_uris": [second], "grant_types": ["authorization_code"] }),
    );
    let later = server.flow(&client).with("redirect_uri", &second);
    let mut other = server.signed_in().await;
    let other_code = server.code(&mut other, &later).await;

    // Each is redeemed by its own version.
    let page = server.redeem(&later, &wrong).await;
    assert_eq!(
        page.json()["error"],
        "invalid_grant",
        "the other's redirect URI"
    );
    let tokens = server.redeem(&flow, &code).await.json();
    assert!(tokens["refresh_token"].is_string(), "{tokens}");
    let tokens = server.redeem(&later, &other_code).await.json();
    assert!(tokens["access_token"].is_string() && tokens["refresh_token"].is_null());
    assert_eq!(
        browser.get(&flow.target()).await.status,
        400,
        "but not a new login"
    );
}

#[tokio::test]
async fn m_60_a_document_that_turns_invalid_does_not_take_a_code_with_it() {
    let server = TestApp::new(Database::sqlite()).await;
    let client = server.site.url("/c.json");
    unstored(&server, json!({}));
    let mut browser = server.signed_in().await;
    let flow = server.flow(&client);
    let consent = browser.open(&flow.target()).await;
    server.site.answer("/c.json", Answer::json("{"));
    server.app.clock.advance(2);
    let answer = browser.submit(&consent, &[("decision", "allow")]).await;
    let code = param(answer.location().unwrap(), "code").unwrap();
    let tokens = server.redeem(&flow, &code).await.json();
    let refresh = tokens["refresh_token"].as_str().unwrap();
    assert_eq!(server.refresh(&client, refresh).await.status, 200);
    assert_eq!(
        server.site.connections(),
        1,
        "nothing is fetched after the request"
    );
    assert_eq!(
        browser.get(&flow.target()).await.status,
        400,
        "but not a new login"
    );
}

/// A document before and after, and what the person is told; nothing: the consent stands.
#[tokio::test]
async fn m_61_what_changed_between_two_logins_is_asked_about() {
    let server = TestApp::new(Database::sqlite()).await;
    let own = server.flow("").get("redirect_uri").to_owned();
    let foreign = "https://other-origin.example.net/cb";
    let table = [
        (
            json!({}),
            json!({ "redirect_uris": [own, foreign] }),
            "a host that was not in its description",
        ),
        (json!({ "redirect_uris": [own, foreign] }), json!({}), ""),
        (
            json!({}),
            json!({ "redirect_uris": [own, server.site.url("/more")] }),
            "",
        ),
        (
            json!({}),
            json!({ "redirect_uris": [own, "http://127.0.0.1/cb"] }),
            "a host that was not in its description",
        ),
        (
            json!({}),
            json!({ "client_name": "Another" }),
            "by another name",
        ),
        (json!({}), json!({ "client_name": null }), "by another name"),
        (
            json!({}),
            json!({ "logo_uri": "https://app.example.com/logo.png" }),
            "another logo",
        ),
        (
            json!({ "scope": "notes.read" }),
            json!({ "scope": "notes.read notes.write" }),
            "ask for more",
        ),
        (json!({ "scope": "notes.read" }), json!({}), "ask for more"),
        (json!({}), json!({ "scope": "notes.read" }), ""),
        (
            json!({ "jwks_uri": "https://a.example.com/k" }),
            json!({ "jwks_uri": "https://b.example.com/k" }),
            "keys at another place",
        ),
        (
            json!({}),
            json!({ "contacts": ["a@example.com"], "tos_uri": "https://app.example.com/tos" }),
            "",
        ),
    ];
    let mut browser = server.signed_in().await;
    let mut failures = Vec::new();
    for (n, (before, after, told)) in table.iter().enumerate() {
        let path = format!("/{n}");
        let client = server.site.publish(&path, before.clone());
        let flow = server.flow(&client).with("scope", "notes.read");
        server.code(&mut browser, &flow).await;
        server.site.publish(&path, after.clone());
        server.app.clock.advance(700);
        let page = browser.open(&flow.target()).await;
        let seen = match page.location() {
            Some(_) => String::new(),
            None => page.text("#changed ~ ul"),
        };
        if !seen.contains(told) || seen.is_empty() != told.is_empty() {
            failures.push(format!(
                "M-61 {before} then {after}: {seen:?}, expected {told:?}"
            ));
        }
    }
    report(failures, table.len());
}

#[tokio::test]
async fn m_61_a_removed_redirect_uri_stops_at_once() {
    let server = TestApp::new(Database::sqlite()).await;
    let (gone, kept) = (server.site.url("/gone"), server.site.url("/kept"));
    let members = json!({ "redirect_uris": [gone, kept] });
    let client = server.site.publish("/c.json", members);
    let mut browser = server.signed_in().await;
    let flow = server.flow(&client).with("redirect_uri", &gone);
    server.code(&mut browser, &flow).await;
    server
        .site
        .publish("/c.json", json!({ "redirect_uris": [kept] }));
    server.app.clock.advance(700);
    let page = browser.get(&flow.target()).await;
    assert_eq!((page.status.as_u16(), page.location()), (400, None));
    let page = browser
        .get(&flow.with("redirect_uri", &kept).target())
        .await;
    assert!(page.location().is_some_and(|to| to.contains("code=")));
}

#[test]
fn m_61_a_client_that_no_longer_signs_is_asked_about() {
    let id: ClientUrl = "https://client.example.com/c".parse().unwrap();
    let read = |method: &str| {
        let document = json!({
            "client_id": id.as_str(), "redirect_uris": ["https://client.example.com/cb"],
            "token_endpoint_auth_method": method, "jwks_uri": "https://client.example.com/jwks",
        });
        client_metadata::parse(&id, document.to_string().as_bytes()).unwrap()
    };
    let (signs, public) = (read("private_key_jwt"), read("none"));
    let told = metadata_change::since_consent(&signs, &public);
    assert!(
        told.iter()
            .any(|sentence| sentence.contains("prove its identity"))
    );
    assert!(metadata_change::since_consent(&public, &signs).is_empty());
}

#[tokio::test]
async fn m_71_a_client_that_does_not_list_refresh_tokens_gets_none() {
    let server = TestApp::new(Database::sqlite()).await;
    let members =
        json!({ "response_types": ["code", "none"], "grant_types": ["authorization_code"] });
    let client = server.site.publish("/c.json", members);
    let mut browser = server.signed_in().await;
    for scope in ["", "notes.read offline_access"] {
        let flow = server.flow(&client).with("scope", scope);
        let flow = flow.with("prompt", "consent");
        let consent = browser.open(&flow.target()).await;
        assert!(!consent.body.contains("stay connected"), "{scope}");
        let answer = browser.submit(&consent, &[("decision", "allow")]).await;
        let code = param(answer.location().unwrap(), "code").unwrap();
        let tokens = server.redeem(&flow, &code).await.json();
        assert!(tokens["access_token"].is_string(), "{tokens}");
        assert!(tokens.get("refresh_token").is_none(), "{tokens}");
        assert!(
            !tokens["scope"].to_string().contains("offline_access"),
            "{tokens}"
        );
    }
}

const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

/// What the host says about time, and how long the copy serves, give or take a tenth.
#[tokio::test]
async fn c_06_c_07_c_08_a_document_is_fresh_within_our_bounds_whatever_its_host_says() {
    let server = TestApp::new(Database::sqlite()).await;
    let (cache, long) = (
        "cache-control",
        format!("{}max-age=300", "x,".repeat(4_096)),
    );
    let etag = format!("\"{}\"", "e".repeat(8_000));
    let day = 86_400;
    type Case<'a> = (&'static str, Vec<(&'static str, &'a str)>, i64);
    let table: Vec<Case<'_>> = vec![
        ("C-06", vec![(cache, "max-age=31536000")], day),
        (
            "C-06",
            vec![(cache, "public, max-age=31536000, immutable")],
            day,
        ),
        (
            "C-06",
            vec![("date", DATE), ("expires", "Fri, 06 Nov 2099 08:49:37 GMT")],
            day,
        ),
        ("C-07", vec![(cache, "max-age=-1")], 60),
        ("C-07", vec![(cache, "max-age=abc")], 60),
        ("C-07", vec![(cache, "max-age=\"60\"")], 60),
        ("C-07", vec![(cache, "max-age=\"120\"")], 120),
        ("C-07", vec![(cache, "max-age=0")], 60),
        ("C-07", vec![(cache, "max-age=1")], 60),
        ("C-07", vec![(cache, "max-age=99999999999999999999")], day),
        ("C-07", vec![(cache, "max-age=3600, max-age=300")], 300),
        (
            "C-07",
            vec![(cache, "max-age=3600"), (cache, "max-age=300")],
            300,
        ),
        ("C-07", vec![(cache, "s-maxage=10")], 600),
        ("C-07", vec![(cache, "s-maxage=10, max-age=3600")], 3_600),
        ("C-07", vec![(cache, &long)], 300),
        ("C-07", vec![(cache, "max-age=3600"), ("age", "7200")], 60),
        ("C-07", vec![(cache, "max-age=3600"), ("age", "600")], 3_000),
        (
            "C-07",
            vec![(cache, "max-age=3600"), ("age", "99999999999999999999")],
            60,
        ),
        ("C-07", vec![(cache, "max-age=3600"), ("age", "-5")], 3_600),
        (
            "C-07",
            vec![("date", "x"), ("expires", "Fri, 06 Nov 2099 08:49:37 GMT")],
            60,
        ),
        ("C-07", vec![("date", DATE), ("expires", "0")], 60),
        ("C-07", vec![("date", DATE), ("expires", "")], 60),
        ("C-07", vec![("date", DATE), ("expires", "yesterday")], 60),
        ("C-08", vec![("etag", &etag), ("vary", "*")], 600),
        (
            "C-08",
            vec![
                ("etag", "W/\"x\""),
                ("last-modified", DATE),
                (cache, "max-age=300"),
            ],
            300,
        ),
        (
            "C-08",
            vec![("etag", "no quotes"), ("vary", "Accept, *")],
            600,
        ),
    ];
    let mut failures = Vec::new();
    for (n, (id, headers, lifetime)) in table.iter().enumerate() {
        let path = format!("/{n}");
        let client: wayleave::protocol::client_id::ClientId =
            server.site.url(&path).parse().unwrap();
        let mut answer = Answer::json(server.site.document(&path, json!({})).to_string());
        let headers = headers
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()));
        answer.headers.extend(headers);
        server.site.answer(&path, answer);
        let before = server.site.connections();
        let mut fetches = Vec::new();
        for wait in [0, lifetime - lifetime / 10 - 1, lifetime / 5 + 2] {
            server.app.clock.advance(wait);
            let now = server.app.clock.now();
            let client = server
                .app
                .clients
                .client(&client, Need::Fetch(anybody()), now)
                .await;
            fetches.push(client.map(|_| server.site.connections() - before));
        }
        let counts: Vec<_> = fetches.iter().map(|count| count.as_ref().ok()).collect();
        if counts != [Some(&1), Some(&1), Some(&2)] {
            failures.push(format!("{id} row {n}, {lifetime} s: {fetches:?}"));
        }
    }
    for request in server.site.requests() {
        for conditional in ["if-none-match", "if-modified-since", "if-match"] {
            assert!(!request.contains(conditional), "C-08: {request}");
        }
    }
    report(failures, table.len());
}

/// We never ask whether something changed, so nobody may answer that nothing did.
#[tokio::test]
async fn c_08_an_answer_to_a_question_that_was_not_put_is_no_document() {
    let server = TestApp::new(Database::sqlite()).await;
    let client = server.site.publish("/c.json", json!({}));
    let target = server.flow(&client).target();
    let mut browser = server.signed_in().await;
    assert_eq!(browser.open(&target).await.text("h1"), "app.example.com");
    let changed = Answer::status(304).header("etag", "\"another\"");
    server.site.answer(
        "/c.json",
        Answer {
            body: Vec::new(),
            ..changed
        },
    );
    server.app.clock.advance(700);
    let page = browser.open(&target).await;
    assert_eq!((page.status.as_u16(), page.location()), (400, None));
    server.site.publish("/c.json", json!({}));
    server.app.clock.advance(61);
    assert_eq!(browser.open(&target).await.text("h1"), "app.example.com");
}

const MCP: &str = "https://notes.example.com/mcp";

/// A document of `tests/corpus/real` as if our test's site had always published it.
struct Real<'a> {
    server: &'a TestApp,
    browser: Browser,
    client: String,
}

impl<'a> Real<'a> {
    async fn publish(server: &'a TestApp, name: &str) -> Self {
        Self::publish_as(server, name, "application/json").await
    }

    async fn publish_as(server: &'a TestApp, name: &str, media: &str) -> Self {
        let text = file(&format!("real/{name}.json"));
        let document: Value = serde_json::from_str(&text).unwrap();
        let invented = url::Url::parse(document["client_id"].as_str().unwrap()).unwrap();
        let origin = invented.origin().ascii_serialization();
        let text = text.replace(&origin, &server.site.url(""));
        let answer = Answer::json(text)
            .header("content-type", media)
            .header("cache-control", "public, max-age=3600");
        server.site.answer(invented.path(), answer);
        Self {
            server,
            browser: server.signed_in().await,
            client: server.site.url(invented.path()),
        }
    }

    /// The request as MCP clients make it.
    fn flow(&self, redirect: &str) -> Flow {
        let flow = self.server.flow(&self.client);
        flow.with("redirect_uri", redirect).with("resource", MCP)
    }

    async fn consent(&mut self, flow: &Flow) -> Page {
        self.browser.open(&flow.target()).await
    }

    /// Asks, allows where a person is asked, and redeems; the tokens.
    async fn complete(&mut self, flow: &Flow) -> Value {
        let answer = self.server.allow(&mut self.browser, flow).await;
        self.redeem(&answer, flow).await
    }

    async fn allow(&mut self, consent: &Page, flow: &Flow) -> Value {
        let allow = [("decision", "allow")];
        let answer = self.browser.submit(consent, &allow).await;
        self.redeem(&answer, flow).await
    }

    async fn redeem(&self, answer: &Page, flow: &Flow) -> Value {
        assert_eq!(answer.status, 303, "{}", answer.body);
        let location = answer.location().unwrap();
        let redirect = flow.get("redirect_uri");
        let joint = if redirect.contains('?') { "&" } else { "?" };
        assert!(
            location.starts_with(&format!("{redirect}{joint}code=")),
            "{location}"
        );
        assert_eq!(param(location, "state").as_deref(), Some(flow.get("state")));
        assert_eq!(
            param(location, "iss").as_deref(),
            Some("http://127.0.0.1:8080")
        );
        let code = param(location, "code").unwrap();
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", &code),
            ("client_id", &self.client),
            ("redirect_uri", redirect),
            ("code_verifier", VERIFIER),
            ("resource", MCP),
        ];
        let page = self.server.token(&fields).await;
        assert_eq!(page.status, 200, "{}", page.body);
        let tokens = page.json();
        assert_eq!(
            crate::support::app::claims(tokens["access_token"].as_str().unwrap())["aud"],
            MCP
        );
        tokens
    }

    /// Refreshes twice, as a session of some hours does; the last tokens.
    async fn refresh(&self, tokens: Value) -> Value {
        let mut tokens = tokens;
        for _ in 0..2 {
            self.server.app.clock.advance(3_600);
            let token = tokens["refresh_token"]
                .as_str()
                .unwrap_or_else(|| panic!("{tokens}"));
            let fields = [
                ("grant_type", "refresh_token"),
                ("refresh_token", token),
                ("client_id", &self.client),
                ("resource", MCP),
            ];
            let page = self.server.token(&fields).await;
            assert_eq!(page.status, 200, "{}", page.body);
            tokens = page.json();
        }
        tokens
    }
}

/// A port of this machine that nobody else has.
async fn ephemeral_port() -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().port()
}

#[test]
fn real_documents_have_the_size_of_real_ones() {
    let rows: Vec<Row> = rows("documents.json");
    let sizes: Vec<_> = rows
        .iter()
        .filter(|row| row.file.is_some())
        .map(|row| row.bytes().len())
        .collect();
    assert_eq!(sizes.len(), 8);
    assert!(
        sizes.iter().all(|size| (300..10_240).contains(size)),
        "{sizes:?}"
    );
    assert!(
        sizes.iter().any(|size| *size > 5_120),
        "more than the draft recommends: {sizes:?}"
    );
}

#[tokio::test]
async fn real_claude_web_completes_its_flow() {
    let server = TestApp::new(Database::sqlite()).await;
    let mut client = Real::publish(&server, "claude-web").await;
    let flow = client.flow(&server.site.url("/api/mcp/auth_callback"));
    let flow = flow.with("scope", "notes.read notes.write offline_access");
    let tokens = client.complete(&flow).await;
    let tokens = client.refresh(tokens).await;
    assert_eq!(tokens["scope"], "notes.read notes.write offline_access");
    // Its next login needs no question.
    assert!(
        client
            .browser
            .get(&flow.target())
            .await
            .location()
            .unwrap()
            .contains("code=")
    );
}

#[tokio::test]
async fn real_claude_code_completes_its_flow() {
    let server = TestApp::new(Database::sqlite()).await;
    let mut client = Real::publish(&server, "claude-code").await;
    for host in ["localhost", "127.0.0.1"] {
        for _ in 0..2 {
            let port = ephemeral_port().await;
            let flow = client.flow(&format!("http://{host}:{port}/callback"));
            let consent = client.consent(&flow).await;
            assert!(consent.text("#loopback").contains("this computer"));
            let tokens = client.allow(&consent, &flow).await;
            client.refresh(tokens).await;
        }
    }
}

#[tokio::test]
async fn real_vscode_completes_its_flow() {
    let server = TestApp::new(Database::sqlite()).await;
    let mut client = Real::publish(&server, "vscode").await;
    let busy = ephemeral_port().await;
    for redirect in [
        "http://127.0.0.1:33418/".to_owned(),
        format!("http://127.0.0.1:{busy}/"),
        server.site.url("/redirect"),
    ] {
        // Padded base64, which must come back byte for byte.
        let flow = client
            .flow(&redirect)
            .with("state", "gXVXo0/iMD8WMolDHKxSTg==");
        let flow = flow.with("scope", "notes.read notes.write");
        let tokens = client.complete(&flow).await;
        client.refresh(tokens).await;
    }
}

/// Its document prefers a key and allows none; it picks what the server's metadata lists.
#[tokio::test]
async fn real_chatgpt_completes_its_flow_as_a_public_client() {
    let server = TestApp::new(Database::sqlite()).await;
    let mut client = Real::publish(&server, "chatgpt").await;
    let flow = client.flow(&server.site.url("/connector_platform_oauth_redirect"));
    let tokens = client.complete(&flow).await;
    client.refresh(tokens).await;
    let requests = server.site.requests();
    assert!(
        !requests.iter().any(|head| head.contains("jwks")),
        "its keys are not needed: {requests:?}"
    );
}

#[tokio::test]
async fn real_zed_completes_its_flow() {
    let server = TestApp::new(Database::sqlite()).await;
    let mut client = Real::publish(&server, "zed").await;
    let port = ephemeral_port().await;
    let flow = client.flow(&format!("http://127.0.0.1:{port}/callback"));
    let tokens = client.complete(&flow).await;
    assert!(
        tokens.get("refresh_token").is_none(),
        "its document does not list them: {tokens}"
    );
    let other = client.flow(&format!("http://localhost:{port}/callback"));
    assert_eq!(client.browser.get(&other.target()).await.status, 400);
}

#[tokio::test]
async fn real_vercel_connect_completes_its_flow() {
    let server = TestApp::new(Database::sqlite()).await;
    let mut client = Real::publish(&server, "vercel-connect").await;
    let team = "/api/v1/connect/teams/hedgehog-games/oauth/callback?environment=preview";
    let flow = client
        .flow(&server.site.url(team))
        .with("scope", "notes.read");
    let tokens = client.complete(&flow).await;
    client.refresh(tokens).await;
    let elsewhere =
        "https://preview.vercel-connect-like.wayleave-corpus.net/api/v1/connect/oauth/callback";
    let flow = client.flow(elsewhere).with("prompt", "consent");
    let consent = client.consent(&flow).await;
    assert!(consent.text("#other").contains("another host"));
    let tokens = client.allow(&consent, &flow).await;
    client.refresh(tokens).await;
    let private = client.flow("connectlike://oauth/callback");
    assert_eq!(client.browser.get(&private.target()).await.status, 400);
}

/// Its only scope is that of another protocol, which no resource here has: it is told so, and nothing worse.
#[tokio::test]
async fn real_bluesky_app_is_read_and_told_what_is_missing() {
    let server = TestApp::new(Database::sqlite()).await;
    let mut client = Real::publish(&server, "bluesky-app").await;
    let flow = client
        .flow(&server.site.url("/oauth/callback"))
        .with("scope", "atproto");
    let page = client.browser.get(&flow.target()).await;
    let location = page.location().unwrap();
    assert!(
        location.starts_with(&server.site.url("/oauth/callback?error=invalid_scope")),
        "{location}"
    );
}

#[tokio::test]
async fn real_solid_app_completes_its_flow() {
    let server = TestApp::new(Database::sqlite()).await;
    let mut client = Real::publish_as(&server, "solid-app", "application/ld+json").await;
    for redirect in ["/", "/redirect.html"] {
        let flow = client.flow(&server.site.url(redirect));
        let flow = flow
            .with("scope", "openid offline_access webid")
            .with("prompt", "consent");
        // Its document has a default_max_age of an hour, and sees to it that somebody signed in within it.
        client.browser = server.signed_in().await;
        let tokens = client.complete(&flow).await;
        assert_eq!(
            part(tokens["id_token"].as_str().unwrap(), 0)["alg"],
            "ES256"
        );
        let tokens = client.refresh(tokens).await;
        assert_eq!(tokens["scope"], "openid offline_access");
    }
}
