//! Rows R- of the attack corpus: redirect URIs, OAuth 2.1 §2.3, RFC 8252 §7.3.

use serde::Deserialize;
use serde_json::json;
use wayleave::protocol::{client_metadata, client_url::ClientUrl, redirect_uri};

use crate::{
    rows_url::{Expect, expanded, report, rows},
    support::{
        Answer, Database, Page, TestApp,
        app::{Flow, VERIFIER},
    },
};

/// One entry of `redirects.json`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    id: String,
    case: String,
    registered: Vec<String>,
    requested: String,
    expect: Expect,
    /// Is what is registered an entry at all?
    #[serde(default)]
    entry: Entry,
    #[serde(default)]
    note: String,
}

#[derive(Default, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Entry {
    #[default]
    Valid,
    Invalid,
    /// One that the policy lets some clients have, and this one not.
    Policy,
}

/// Beside an entry that is none, so that the document is one.
const SPARE: &str = "https://spare.example.com/cb";

impl Row {
    fn judge(&self) -> Result<(), &'static str> {
        let id: ClientUrl = "https://client.example.com/c".parse().unwrap();
        let mut listed: Vec<String> = self.registered.iter().map(|uri| expanded(uri)).collect();
        listed.push(SPARE.to_owned());
        let body = json!({ "client_id": id.as_str(), "redirect_uris": listed }).to_string();
        let document =
            client_metadata::parse(&id, body.as_bytes()).map_err(|error| error.rule().name())?;
        let usable = document.redirect_uris.len() - 1;
        let expected = match self.entry {
            Entry::Valid | Entry::Policy => self.registered.len(),
            Entry::Invalid => 0,
        };
        if usable != expected {
            return Err("the number of usable entries");
        }
        let requested = expanded(&self.requested);
        let chosen = redirect_uri::choose(&document.redirect_uris, &requested);
        let chosen = chosen.map_err(|error| error.rule())?;
        assert_eq!(chosen.as_str(), requested, "{}: as requested", self.id);
        Ok(())
    }
}

#[test]
fn every_row_of_redirects_json() {
    let rows: Vec<Row> = rows("redirects.json");
    let failures = rows.iter().filter_map(|row| {
        let expect = match row.entry {
            Entry::Policy => Expect::Accept,
            _ => row.expect,
        };
        let rule = (expect == Expect::Refuse).then_some("redirect_uri.not_registered");
        let complaint = expect.complaint(rule, row.judge())?;
        let (id, case, listed, asked) = (&row.id, &row.case, &row.registered, &row.requested);
        let note = &row.note;
        Some(format!(
            "{id} {case}: {listed:?} {asked:?} was {complaint}. {note}"
        ))
    });
    report(failures.collect(), rows.len());
}

/// At a server: a page, no redirect to an address that nobody listed.
#[tokio::test]
async fn every_refused_redirect_uri_is_a_page() {
    let server = TestApp::new(Database::sqlite()).await;
    let mut browser = server.signed_in().await;
    let rows: Vec<Row> = rows("redirects.json");
    let mut failures = Vec::new();
    for (n, row) in rows.iter().enumerate() {
        let mut listed = row.registered.clone();
        listed.push(SPARE.to_owned());
        let members = json!({ "redirect_uris": listed });
        let client = server.site.publish(&format!("/{n}"), members);
        let flow = server.flow(&client).with("redirect_uri", &row.requested);
        let page = browser.get(&flow.target()).await;
        let is_page = page.status == 400 && page.location().is_none();
        let is_question = page
            .location()
            .is_some_and(|to| to.starts_with("/consent?"));
        if (is_page, is_question) != (row.expect == Expect::Refuse, row.expect == Expect::Accept) {
            let (id, asked) = (&row.id, &row.requested);
            failures.push(format!("{id}: {asked:?} gave {}", page.status));
        }
    }
    report(failures, rows.len());
}

#[tokio::test]
async fn r_12_a_request_without_redirect_uri_is_refused() {
    let server = TestApp::new(Database::sqlite()).await;
    let mut browser = server.signed_in().await;
    let (one, two) = (server.site.url("/cb"), server.site.url("/cb2"));
    for (path, listed) in [("/one", vec![&one]), ("/two", vec![&one, &two])] {
        let client = server
            .site
            .publish(path, json!({ "redirect_uris": listed }));
        let flow = server.flow(&client).with("redirect_uri", "");
        let page = browser.get(&flow.target()).await;
        assert_eq!((page.status.as_u16(), page.location()), (400, None));
        assert!(page.body.contains("redirect_uri is missing"), "{path}");
    }
}

#[tokio::test]
async fn r_13_another_host_is_named_before_the_answer_goes_there() {
    let server = TestApp::new(Database::sqlite()).await;
    let redirect = "https://other-origin.example.net/cb";
    let members = json!({ "redirect_uris": [redirect] });
    let client = server.site.publish("/c.json", members);
    let flow = server.flow(&client).with("redirect_uri", redirect);
    let mut browser = server.signed_in().await;
    let consent = browser.open(&flow.target()).await;
    assert_eq!(consent.text(".dest"), "other-origin.example.net");
    assert!(consent.text("#other").contains("another host"));
    let answer = browser.submit(&consent, &[("decision", "allow")]).await;
    let location = answer.location().unwrap();
    assert!(location.starts_with("https://other-origin.example.net/cb?code="));
}

#[tokio::test]
async fn r_21_a_loopback_redirect_is_warned_about() {
    let server = TestApp::new(Database::sqlite()).await;
    let members = json!({ "redirect_uris": ["http://localhost/callback"] });
    let client = server.site.publish("/c.json", members);
    let flow = server.flow(&client);
    let flow = flow.with("redirect_uri", "http://localhost:51212/callback");
    let consent = server.signed_in().await.open(&flow.target()).await;
    assert!(consent.text("#loopback").contains("this computer"));
    assert_eq!(consent.text(".dest"), "localhost");
}

#[tokio::test]
async fn r_27_the_answer_goes_to_exactly_the_requested_port_and_never_by_a_form() {
    let server = TestApp::new(Database::sqlite()).await;
    let listed = ["http://127.0.0.1/cb", "http://[::1]:3000/cb?app=1"];
    let members = json!({ "redirect_uris": listed });
    let client = server.site.publish("/c.json", members);
    let mut browser = server.signed_in().await;
    for (redirect, joint) in [
        ("http://127.0.0.1:51353/cb", "?"),
        ("http://127.0.0.1:1/cb", "?"),
        ("http://127.0.0.1:65535/cb", "?"),
        ("http://127.0.0.1/cb", "?"),
        ("http://[::1]:51353/cb?app=1", "&"),
    ] {
        let flow = server.flow(&client).with("redirect_uri", redirect);
        let consent = browser.open(&flow.target()).await;
        for decision in ["allow", "deny"] {
            let consent = match decision {
                "allow" => &consent,
                _ => &browser.open(&flow.target()).await,
            };
            let answer = browser.submit(consent, &[("decision", decision)]).await;
            let first = if decision == "allow" { "code" } else { "error" };
            let expected = format!("{redirect}{joint}{first}=");
            let location = answer.location().unwrap();
            assert_eq!(answer.status, 303);
            assert!(location.starts_with(&expected), "{location}");
        }
        for mode in ["form_post", "fragment", "web_message", "jwt"] {
            let flow = flow.clone().with("response_mode", mode);
            let page = browser.get(&flow.target()).await;
            let expected = format!("{redirect}{joint}error=invalid_request&");
            assert_eq!(page.status, 303, "{mode}");
            let location = page.location().unwrap();
            assert!(location.starts_with(&expected), "{mode}: {location}");
            assert!(!page.body.contains("<form"), "{mode}");
        }
    }
}

#[tokio::test]
async fn r_28_the_token_request_repeats_the_redirect_uri_of_its_code() {
    let server = TestApp::new(Database::sqlite()).await;
    let listed = ["http://127.0.0.1/cb", "https://app.example.com/cb"];
    let members = json!({ "redirect_uris": listed });
    let client = server.site.publish("/c.json", members);
    let mut browser = server.signed_in().await;
    let redirect = "http://127.0.0.1:51353/cb";
    let flow = server.flow(&client).with("redirect_uri", redirect);
    for (said, accepted) in [
        (Some(redirect), true),
        (Some("http://127.0.0.1:51354/cb"), false),
        (Some("http://127.0.0.1/cb"), false),
        (Some("http://localhost:51353/cb"), false),
        (Some("http://127.0.0.1:51353/cb/"), false),
        (Some("https://app.example.com/cb"), false),
        // F-07, since November 2026: it may be absent (OAuth 2.1 §10.2).
        (Some(""), true),
        (None, true),
    ] {
        let code = server.code(&mut browser, &flow).await;
        let page = redeem(&server, &flow, &code, said).await;
        let error = page.json()["error"].clone();
        let expected = if accepted {
            (200, json!(null))
        } else {
            (400, json!("invalid_grant"))
        };
        assert_eq!((page.status.as_u16(), error), expected, "{said:?}");
    }
}

async fn redeem(server: &TestApp, flow: &Flow, code: &str, redirect: Option<&str>) -> Page {
    let mut fields = vec![
        ("grant_type", "authorization_code"),
        ("code", code),
        ("client_id", flow.get("client_id")),
        ("code_verifier", VERIFIER),
    ];
    fields.extend(redirect.map(|uri| ("redirect_uri", uri)));
    server.token(&fields).await
}

/// One login uses one version of the document, but what a newer one takes away is taken away.
#[tokio::test]
async fn r_30_a_removed_redirect_uri_is_refused_at_the_consent_post() {
    let server = TestApp::new(Database::sqlite()).await;
    let (gone, kept) = (server.site.url("/gone"), server.site.url("/kept"));
    let members = json!({ "redirect_uris": [gone, kept] });
    let client = server.site.publish("/c.json", members);
    let flow = server.flow(&client).with("redirect_uri", &gone);
    let mut browser = server.signed_in().await;
    let consent = browser.open(&flow.target()).await;

    let narrowed = server
        .site
        .document("/c.json", json!({ "redirect_uris": [kept] }));
    server
        .site
        .answer("/c.json", Answer::json(narrowed.to_string()));
    server.app.clock.advance(700);
    let refused = server.signed_in().await.get(&flow.target()).await;
    assert_eq!((refused.status.as_u16(), refused.location()), (400, None));
    assert!(refused.body.contains("redirect_uri.not_registered"));

    // The login that began with the older version gets no code for it either: the newer one is at hand.
    let answer = browser.submit(&consent, &[("decision", "allow")]).await;
    assert_eq!((answer.status.as_u16(), answer.location()), (400, None));
    assert!(answer.body.contains("redirect_uri.not_registered"));
}
