//! Rows U- and L- of the attack corpus: the client identifier URL, CIMD §3, before any document is read.

use std::{collections::HashMap, net::IpAddr, sync::Arc, time::Instant};

use axum::{Router, body::Body};
use http::Request;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::json;
use wayleave::{
    app::App,
    config::Config,
    fetch::Resolver,
    policy::client_url::{self, Rules},
    protocol::{client::Digest, client_url::ClientUrl},
    server,
    store::Store,
    time::Clock,
};

use crate::support::{
    Browser, Database, TestApp,
    app::{PASSWORD, param},
};

const OWN_HOST: &str = "as.example.net";

/// One entry of `client_ids.json`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    id: String,
    case: String,
    client_id: String,
    allow_query: Option<bool>,
    #[serde(default)]
    allowed_ports: Vec<u16>,
    #[serde(default)]
    loopback: bool,
    #[serde(default)]
    resources: Vec<String>,
    expect: Expect,
    rule: Option<String>,
    #[serde(default)]
    note: String,
}

impl Row {
    /// Is it about a server whose administrator changed nothing?
    fn has_default_rules(&self) -> bool {
        self.allow_query.is_none()
            && self.allowed_ports.is_empty()
            && !self.loopback
            && self.resources.is_empty()
    }

    fn judge(&self, text: &str) -> Result<(), &'static str> {
        let id: ClientUrl = text
            .parse()
            .map_err(|error: wayleave::protocol::client_url::ClientUrlError| error.rule())?;
        assert_eq!(id.as_str(), text, "{}: byte for byte", self.id);
        let rules = Rules {
            allow_query: self.allow_query.unwrap_or(true),
            allowed_ports: &self.allowed_ports,
            loopback: self.loopback,
            special_names: self.loopback,
            own_host: OWN_HOST,
            own_origin: &format!("https://{OWN_HOST}"),
            resource_origins: &self.resources,
        };
        client_url::check(&id, &rules).map_err(|refused| refused.name)
    }
}

#[test]
fn every_row_of_client_ids_json() {
    let rows: Vec<Row> = rows("client_ids.json");
    let failures = rows.iter().filter_map(|row| {
        let text = expanded(&row.client_id);
        let complaint = row
            .expect
            .complaint(row.rule.as_deref(), row.judge(&text))?;
        let (id, case, input, note) = (&row.id, &row.case, &row.client_id, &row.note);
        Some(format!("{id} {case}: {input:?} was {complaint}. {note}"))
    });
    report(failures.collect(), rows.len());
}

/// The same rows at a server: a page, no redirect, nobody is called.
#[tokio::test]
async fn every_refused_client_id_is_a_page_and_no_request() {
    let server = TestApp::with(Database::sqlite(), &PUBLIC).await;
    let mut browser = server.signed_in().await;
    let rows: Vec<Row> = rows("client_ids.json");
    let refused = |row: &&Row| row.expect == Expect::Refuse && row.has_default_rules();
    let mut failures = Vec::new();
    for row in rows.iter().filter(refused) {
        let target = server.flow(&expanded(&row.client_id)).target();
        // What is longer than a request line may be ends before anybody asks which client it is.
        let expected = if target.len() > 8_192 { 414 } else { 400 };
        if target.len() > 60_000 {
            continue;
        }
        let page = browser.get(&target).await;
        if page.status != expected || page.location().is_some() {
            let (id, input) = (&row.id, &row.client_id);
            failures.push(format!("{id}: {input:?} gave {}", page.status));
        }
    }
    assert_eq!(server.site.connections(), 0);
    report(failures, rows.len());
}

#[tokio::test]
async fn u_31_a_foreign_label_is_shown_as_it_is_encoded() {
    let server = TestApp::new(Database::sqlite()).await;
    let client = "https://xn--pple-43d.example.com/c";
    let redirect = "https://xn--pple-43d.example.com/cb";
    let document = json!({ "client_id": client, "redirect_uris": [redirect] }).to_string();
    let now = server.app.clock.now();
    let digest = Digest::of(document.as_bytes());
    let accepted = wayleave::store::Accepted {
        client_id: client.parse().unwrap(),
        digest,
        document,
        fetched_at: now,
        fresh_until: Some(now + 600),
        event: None,
        revoke: None,
    };
    server.app.store.keep_client(accepted).await.unwrap();
    let flow = server.flow(client).with("redirect_uri", redirect);
    let page = server.signed_in().await.open(&flow.target()).await;
    assert_eq!(page.text("h1"), "xn--pple-43d.example.com");
    assert_eq!(page.text(".dest"), "xn--pple-43d.example.com");
    assert!(!page.body.contains("\u{430}pple"), "{}", page.body);
}

#[test]
fn u_39_what_is_too_long_is_refused_before_it_is_read() {
    let text = format!("https://client.example.com/{}", "a".repeat(1 << 20));
    let fastest = (0..5).map(|_| {
        let begun = Instant::now();
        assert!(text.parse::<ClientUrl>().is_err());
        begun.elapsed()
    });
    let fastest = fastest.min().unwrap();
    assert!(fastest.as_micros() < 1_000, "{fastest:?}");
}

#[tokio::test]
async fn u_40_the_server_does_not_call_itself() {
    let server = TestApp::new(Database::sqlite()).await;
    let client = server.site.url("/c.json");
    server.site.publish("/c.json", json!({}));
    let origin = client.strip_suffix("/c.json").unwrap();
    let names = [("app.example.com", "127.0.0.1")];
    // In development the origin is ours, otherwise the host on any port.
    for (issuer, loopback) in [(origin, true), ("https://app.example.com", false)] {
        let change = |config: &mut Config| {
            config.issuer = issuer.parse().unwrap();
            config.danger.allow_loopback_clients = loopback;
        };
        let mut browser = variant(&server, change, &names).await;
        let root = client.replace("/c.json", "/");
        let nested = format!("{origin}/authorize?client_id={client}");
        for id in [&client, &root, &nested] {
            let page = browser.get(&server.flow(id).target()).await;
            assert_eq!(page.status, 400, "{id}: {}", page.body);
            assert!(page.body.contains("client_id.own_host"), "{}", page.body);
        }
    }
    assert_eq!(server.site.connections(), 0);
}

#[tokio::test]
async fn u_41_a_loop_of_servers_ends_after_one_request() {
    let server = TestApp::new(Database::sqlite()).await;
    let mut client = server.site.url("/authorize?client_id=x");
    for _ in 0..5 {
        let inner = url::form_urlencoded::byte_serialize(client.as_bytes()).collect::<String>();
        client = server.site.url(&format!("/authorize?client_id={inner}"));
    }
    let mut browser = server.signed_in().await;
    let page = browser.get(&server.flow(&client).target()).await;
    assert_eq!((page.status.as_u16(), page.location()), (400, None));
    let requests = server.site.requests();
    assert_eq!(requests.len(), 1);
    assert!(requests[0].contains("\"cdn-loop\": \"wayleave\""));

    // RFC 8586 §2: the header is a list, to which everybody on the way adds, and an entry may have parameters.
    let table: &[(&[&str], bool)] = &[
        (&["wayleave"], true),
        (&["wayleave; v=1"], true),
        (&["cdn.example, wayleave"], true),
        (&["cdn.example; x=\"a, b\" ,\twayleave; v=1, other"], true),
        (&["cdn.example", "wayleave"], true),
        (&["cdn.example"], false),
        (&["wayleave-of-somebody-else.example"], false),
        (&["cdn.example; by=wayleave"], false),
    ];
    let mut failures = Vec::new();
    for (n, (values, ours)) in table.iter().enumerate() {
        let client = server.site.publish(&format!("/{n}"), json!({}));
        let before = server.site.connections();
        let mut request = Request::get(server.flow(&client).target());
        for value in *values {
            request = request.header("cdn-loop", *value);
        }
        let page = browser.send(request.body(Body::empty()).unwrap()).await;
        let called = server.site.connections() > before;
        if ((page.status == 508), called) != (*ours, !*ours) {
            failures.push(format!(
                "U-41 CDN-Loop {values:?}: {}, {called}",
                page.status
            ));
        }
    }
    report(failures, table.len());
}

#[tokio::test]
async fn u_42_legal_characters_are_shown_escaped() {
    let server = TestApp::new(Database::sqlite()).await;
    let client = server.site.publish("/c'(1)*~;x=1,2&y", json!({}));
    let mut browser = server.signed_in().await;
    let page = browser.open(&server.flow(&client).target()).await;
    assert_eq!(page.text("h1"), "app.example.com", "{}", page.body);
    assert_eq!(page.text("dl dd bdi"), client);
    assert!(!page.body.contains("c'(1)") && !page.body.contains("2&y"));
}

#[tokio::test]
async fn u_44_what_is_no_client_id_is_a_page() {
    let server = TestApp::new(Database::sqlite()).await;
    let client = server.site.publish("/c.json", json!({}));
    let id = url::form_urlencoded::byte_serialize(client.as_bytes()).collect::<String>();
    let rest = server.flow(&client).with("client_id", "").query();
    let table = [
        (String::new(), "client_id is missing"),
        ("client_id=".to_owned(), "client_id is missing"),
        ("client_id".to_owned(), "client_id is missing"),
        (format!("Client_Id={id}"), "client_id is missing"),
        (format!("client_id[]={id}"), "client_id is missing"),
        (format!("client_id%5B%5D={id}"), "client_id is missing"),
        (format!("client_id%00={id}"), "contains NUL"),
        (format!("client_id={id}&client_id={id}"), "more than once"),
        (format!("client_id=x&client_id={id}"), "more than once"),
        (format!("client_id={id}&client_id="), "more than once"),
        (format!("client_id={id}&client%5Fid=x"), "more than once"),
        ("client_id=a%00b".to_owned(), "contains NUL"),
        ("client_id=%ff".to_owned(), "not UTF-8"),
        ("client_id=%c0%af".to_owned(), "not UTF-8"),
        ("client_id=%zz".to_owned(), "malformed percent-encoding"),
    ];
    let mut browser = server.signed_in().await;
    let mut failures = Vec::new();
    for (written, told) in &table {
        for order in [format!("{written}&{rest}"), format!("{rest}&{written}")] {
            let post = Request::post("/authorize")
                .header("content-type", "application/x-www-form-urlencoded")
                .body(Body::from(order.clone()))
                .unwrap();
            let pages = [
                browser.get(&format!("/authorize?{order}")).await,
                browser.send(post).await,
            ];
            for page in pages {
                let is_page = page.status == 400 && page.location().is_none();
                if !is_page || !page.body.contains(told) {
                    failures.push(format!("U-44 {written}: {}", page.status));
                }
            }
        }
    }
    assert_eq!(server.site.connections(), 0);
    report(failures, table.len());
}

/// In development mode, where a literal of this machine would get furthest.
#[tokio::test]
async fn l_rows_no_literal_in_a_document_is_dialled() {
    let server = TestApp::new(Database::sqlite()).await;
    let literals = [
        "127.0.0.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "127.1",
        "127.0.0.1.",
        "\u{ff11}\u{ff12}\u{ff17}.0.0.1",
        "%31%32%37.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::127.0.0.1]",
    ];
    let mut browser = server.signed_in().await;
    for (n, literal) in literals.iter().enumerate() {
        let inner = format!("https://{literal}:{}/x", server.site.port);
        let members = json!({
            "jwks_uri": inner, "logo_uri": inner, "client_uri": inner, "tos_uri": inner, "policy_uri": inner,
        });
        let client = server.site.publish(&format!("/{n}"), members);
        let flow = server.flow(&client);
        let page = browser.open(&flow.target()).await;
        if page.status == 200 {
            let answer = browser.submit(&page, &[("decision", "allow")]).await;
            let code = param(answer.location().unwrap(), "code").unwrap();
            assert_eq!(server.redeem(&flow, &code).await.status, 200, "{literal}");
        }
        assert_eq!(server.site.connections(), n + 1, "{literal}: the document");
    }
}

#[tokio::test]
async fn l_24_a_name_of_a_private_address_is_not_dialled() {
    let server = TestApp::new(Database::sqlite()).await;
    let names = [
        ("127.0.0.1.nip.io", "127.0.0.1"),
        ("localtest.me", "::1"),
        ("169.254.169.254.sslip.io", "169.254.169.254"),
        ("make-1.1.1.1-rebind-127.0.0.1-rr.1u.ms", "127.0.0.1"),
        ("mapped.example.org", "::ffff:127.0.0.1"),
        ("nat64.example.org", "64:ff9b::7f00:1"),
    ];
    let change = |config: &mut Config| config.danger.allow_loopback_clients = false;
    let mut browser = variant(&server, change, &names).await;
    for (name, address) in names {
        let id = format!("https://{name}:{}/c.json", server.site.port);
        let page = browser.get(&server.flow(&id).target()).await;
        assert_eq!(page.status, 503, "{id}: {}", page.body);
        assert!(!page.header("retry-after").is_empty(), "{id}");
        let told = page.text("dl").replace(name, "");
        assert!(told.contains("fetch.reach"), "{told}");
        assert!(!told.contains(address), "which address is not told: {told}");
    }
    assert_eq!(server.site.connections(), 0);
}

/// A server as strangers meet it: public clients only, an issuer of its own.
const PUBLIC: [(&str, &str); 2] = [
    ("WAYLEAVE_DANGER__ALLOW_LOOPBACK_CLIENTS", "false"),
    ("WAYLEAVE_ISSUER", "https://as.example.net"),
];

/// `ada`, signed in at another server on the same database, with other settings and other names in its DNS.
async fn variant(
    server: &TestApp,
    change: impl FnOnce(&mut Config),
    names: &[(&str, &str)],
) -> Browser {
    let mut config = server.app.config.clone();
    change(&mut config);
    let store = Store::open(&config.database.url, 4).await.unwrap();
    let addresses = |(name, address): &(&str, &str)| {
        let address: IpAddr = address.parse().unwrap();
        ((*name).to_owned(), vec![address])
    };
    let table: HashMap<_, _> = names.iter().map(addresses).collect();
    let clock = Clock::manual(server.app.clock.now());
    let app = App::new(config, store, clock, Resolver::Table(Arc::new(table)));
    let app = app.await.unwrap();
    let router: Router = server::router(&app);
    let mut browser = Browser::new(router, app.config.issuer.origin());
    let page = browser.get("/login").await;
    let credentials = [("username", "ada"), ("password", PASSWORD)];
    let page = browser.submit(&page, &credentials).await;
    assert_eq!(page.status, 303, "{}", page.body);
    browser
}

/// What a row says must come of it.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Expect {
    Accept,
    Refuse,
}

impl Expect {
    /// What is wrong with an outcome; `None` where nothing is.
    pub(crate) fn complaint(self, rule: Option<&str>, got: Result<(), &str>) -> Option<String> {
        match (self, got) {
            (Self::Accept, Ok(())) => None,
            (Self::Refuse, Err(said)) if rule.is_none_or(|rule| rule == said) => None,
            (Self::Refuse, Ok(())) => Some(format!("accepted, not refused by {rule:?}")),
            (_, Err(said)) => Some(format!("refused by {said}, expected {self:?} {rule:?}")),
        }
    }
}

/// The rows of a file of the corpus.
pub(crate) fn rows<T: DeserializeOwned>(name: &str) -> Vec<T> {
    serde_json::from_str(&file(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The text of a file of the corpus.
pub(crate) fn file(name: &str) -> String {
    let path = format!("{}/tests/corpus/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// `<<TEXT x N>>` is the text N times, with `{n}` for the number of each.
pub(crate) fn expanded(text: &str) -> String {
    let mut whole = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("<<") {
        let (inner, after) = after.split_once(">>").expect("<< without >>");
        whole.push_str(before);
        match inner.rsplit_once(" x ") {
            Some((repeated, times)) => {
                for n in 0..times.parse::<usize>().unwrap() {
                    whole.push_str(&repeated.replace("{n}", &n.to_string()));
                }
            }
            // Not for us: `<<0xff>>` is a byte, which no text can have.
            None => whole.extend(["<<", inner, ">>"]),
        }
        rest = after;
    }
    whole + rest
}

/// All failing rows at once.
pub(crate) fn report(failures: Vec<String>, of: usize) {
    let count = failures.len();
    assert!(
        failures.is_empty(),
        "{count} failures in {of} rows:\n{}",
        failures.join("\n")
    );
}
