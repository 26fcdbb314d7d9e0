//! The server on a database of its own, and one authorization code flow from beginning to end.

use std::{collections::HashMap, sync::Arc};

use axum::Router;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::Value;
use wayleave::{
    app::App,
    clients::Asker,
    config::{Config, Environment},
    fetch::Resolver,
    policy::client_rules::{Rule, Tier},
    secret::sha256,
    server,
    store::{Description, Store},
    time::{Clock, UnixTime},
};

use super::{Browser, ClientSite, Database, Page, client_site};

pub(crate) const PASSWORD: &str = "correct horse battery";
pub(crate) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

/// A person who is signed in, somewhere.
pub(crate) fn anybody() -> Asker {
    Asker::SignedIn([192, 0, 2, 7].into())
}

/// The challenge of a verifier, RFC 7636 §4.2.
pub(crate) fn challenge(verifier: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(sha256(verifier.as_bytes()))
}

pub(crate) struct TestApp {
    pub(crate) app: App,
    pub(crate) router: Router,
    pub(crate) site: ClientSite,
    pub(crate) database: Database,
    resolver: Resolver,
}

pub(crate) const NOTES: &str = "[{ id = 'https://notes.example.com/mcp', name = 'Notes', open = true, scopes = { 'notes.read' = 'Read your notes', 'notes.write' = 'Change your notes' } }, { id = 'https://mail.example.com/', open = true, scopes = { mail = 'Send mail' } }, { id = 'https://admin.example.com/', scopes = { admin = 'Everything' } }]";

impl TestApp {
    /// With accounts `ada` and `grace`, three resources, and a client's site that the resolver knows.
    pub(crate) async fn new(database: Database) -> Self {
        Self::with(database, &[]).await
    }

    pub(crate) async fn with(database: Database, variables: &[(&str, &str)]) -> Self {
        let site = ClientSite::start().await;
        let ca = database.path("ca.pem");
        std::fs::write(&ca, &site.ca_pem).unwrap();
        let mut all = HashMap::from([
            ("WAYLEAVE_DATABASE__URL", database.url.as_str()),
            ("WAYLEAVE_FETCH__EXTRA_CA_FILE", ca.to_str().unwrap()),
            ("WAYLEAVE_DANGER__ALLOW_LOOPBACK_CLIENTS", "true"),
            ("WAYLEAVE_LIMITS__SCALE", "1000"),
            ("WAYLEAVE_RESOURCES", NOTES),
        ]);
        all.extend(variables.iter().copied());
        let environment =
            Environment::of(all.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())));
        let empty = database.path("empty.toml");
        std::fs::write(&empty, "").unwrap();
        let config = wayleave::config::load(Some(&empty), &environment).unwrap();
        Self::from_config(config, database, site).await
    }

    async fn from_config(config: Config, database: Database, site: ClientSite) -> Self {
        let store = Store::open(&config.database.url, 10).await.unwrap();
        store.migrate().await.unwrap();
        let loopback = vec!["127.0.0.1".parse().unwrap()];
        let names = [client_site::HOST, "other.example.net", "localhost"];
        let table = names.map(|name| (name.to_owned(), loopback.clone()));
        let clock = Clock::manual(UnixTime(1_800_000_000));
        let resolver = Resolver::Table(Arc::new(table.into()));
        let app = App::new(config, store, clock, resolver.clone())
            .await
            .unwrap();
        for name in ["ada", "grace"] {
            let password = wayleave::accounts::Password::chosen(PASSWORD).unwrap();
            app.accounts
                .add(
                    name.parse().unwrap(),
                    password,
                    Description::default(),
                    app.clock.now(),
                )
                .await
                .unwrap()
                .unwrap();
        }
        Self {
            router: server::router(&app),
            app,
            site,
            database,
            resolver,
        }
    }

    /// The same server as a new process on the same database. The site stays with `self`.
    pub(crate) async fn restart(&self) -> Restarted<'_> {
        let store = Store::open(&self.app.config.database.url, 10)
            .await
            .unwrap();
        let clock = Clock::manual(self.app.clock.now());
        let app = App::new(self.app.config.clone(), store, clock, self.resolver.clone())
            .await
            .unwrap();
        Restarted {
            router: server::router(&app),
            app,
            _before: self,
        }
    }

    pub(crate) fn browser(&self) -> Browser {
        Browser::new(self.router.clone(), self.app.config.issuer.origin())
    }

    /// A browser in which `ada` is signed in.
    pub(crate) async fn signed_in(&self) -> Browser {
        sign_in(self.browser(), "ada").await
    }

    /// A browser in which an administrator is signed in.
    pub(crate) async fn administrator(&self) -> Browser {
        let password = wayleave::accounts::Password::chosen(PASSWORD).unwrap();
        _ = self
            .app
            .accounts
            .add(
                "root".parse().unwrap(),
                password,
                Description {
                    is_admin: Some(true),
                    ..Description::default()
                },
                self.app.clock.now(),
            )
            .await
            .unwrap();
        sign_in(self.browser(), "root").await
    }

    /// Puts a rule about clients into the database, as `wayleave client` does, and has the server notice it.
    pub(crate) async fn rule(&self, pattern: &str, tier: Tier) -> wayleave::store::Ended {
        let rule = Rule::new(pattern.parse().unwrap(), tier);
        let ended = self
            .app
            .store
            .put_client_rule(rule, self.app.clock.now())
            .await
            .unwrap();
        self.app.clients.notice_changes().await.unwrap();
        ended
    }

    /// Waits for the fetches that nobody waits for: so many connections in all, and none under way.
    pub(crate) async fn quiet(&self, connections: usize) {
        let moment = std::time::Duration::from_millis(30);
        let quiet = async {
            loop {
                // A fetch may be about to begin, and what it read is kept a moment after it ended.
                tokio::time::sleep(moment).await;
                let idle = self.app.clients.flights() == 0;
                if idle && self.site.connections() >= connections {
                    break;
                }
            }
        };
        let quiet = tokio::time::timeout(std::time::Duration::from_secs(10), quiet).await;
        quiet.expect("the fetches end");
    }

    pub(crate) fn flow(&self, client_id: &str) -> Flow {
        Flow {
            params: [
                ("response_type", "code"),
                ("client_id", client_id),
                ("redirect_uri", &self.site.url("/callback")),
                ("code_challenge", &challenge(VERIFIER)),
                ("code_challenge_method", "S256"),
                ("state", "a/b+c=="),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec(),
        }
    }

    /// Everything a signed-in person does until the client has its code.
    pub(crate) async fn code(&self, browser: &mut Browser, flow: &Flow) -> String {
        let page = self.allow(browser, flow).await;
        param(
            page.location()
                .unwrap_or_else(|| panic!("{} {}", page.status, page.body)),
            "code",
        )
        .expect("a code")
    }

    pub(crate) async fn allow(&self, browser: &mut Browser, flow: &Flow) -> Page {
        let page = browser.open(&flow.target()).await;
        match page.location() {
            Some(_) => page,
            None => browser.submit(&page, &[("decision", "allow")]).await,
        }
    }

    /// `POST /token`.
    pub(crate) async fn token(&self, fields: &[(&str, &str)]) -> Page {
        self.browser().post("/token", fields).await
    }

    /// A form of a machine, with headers.
    pub(crate) async fn call(
        &self,
        path: &str,
        fields: &[(&str, &str)],
        headers: &[(&str, &str)],
    ) -> Page {
        call(&mut self.browser(), path, fields, headers).await
    }

    pub(crate) async fn redeem(&self, flow: &Flow, code: &str) -> Page {
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("client_id", flow.get("client_id")),
            ("redirect_uri", flow.get("redirect_uri")),
            ("code_verifier", VERIFIER),
        ];
        self.token(&fields).await
    }

    pub(crate) async fn refresh(&self, client_id: &str, token: &str) -> Page {
        self.token(&[
            ("grant_type", "refresh_token"),
            ("refresh_token", token),
            ("client_id", client_id),
        ])
        .await
    }

    /// A refresh token of a new grant of `client_id`.
    pub(crate) async fn refresh_token(&self, client_id: &str) -> String {
        let mut browser = self.signed_in().await;
        let flow = self.flow(client_id);
        let code = self.code(&mut browser, &flow).await;
        let tokens = self.redeem(&flow, &code).await.json();
        tokens["refresh_token"]
            .as_str()
            .unwrap_or_else(|| panic!("{tokens}"))
            .to_owned()
    }
}

/// A form of a machine, with headers.
pub(crate) async fn call(
    browser: &mut Browser,
    path: &str,
    fields: &[(&str, &str)],
    headers: &[(&str, &str)],
) -> Page {
    let body = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(fields)
        .finish();
    let mut request = http::Request::post(path)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(axum::body::Body::from(body))
        .unwrap();
    for (name, value) in headers {
        let name: http::HeaderName = name.parse().unwrap();
        request.headers_mut().append(name, value.parse().unwrap());
    }
    browser.send(request).await
}

/// A second life of a server.
pub(crate) struct Restarted<'a> {
    pub(crate) app: App,
    router: Router,
    _before: &'a TestApp,
}

impl Restarted<'_> {
    pub(crate) async fn signed_in(&self) -> Browser {
        sign_in(self.browser(), "ada").await
    }

    pub(crate) fn browser(&self) -> Browser {
        Browser::new(self.router.clone(), self.app.config.issuer.origin())
    }

    pub(crate) async fn refresh(&self, client_id: &str, token: &str) -> Page {
        let fields = [
            ("grant_type", "refresh_token"),
            ("refresh_token", token),
            ("client_id", client_id),
        ];
        self.browser().post("/token", &fields).await
    }
}

async fn sign_in(mut browser: Browser, name: &str) -> Browser {
    let page = browser.get("/login").await;
    let page = browser
        .submit(&page, &[("username", name), ("password", PASSWORD)])
        .await;
    assert_eq!(page.status, 303, "{}", page.body);
    browser
}

/// The parameters of an authorization request.
#[derive(Clone, Debug)]
pub(crate) struct Flow {
    params: Vec<(String, String)>,
}

impl Flow {
    /// The same request with another value; an empty one leaves the parameter out.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.params.retain(|(known, _)| known != name);
        if !value.is_empty() {
            self.params.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    pub(crate) fn get(&self, name: &str) -> &str {
        &self
            .params
            .iter()
            .find(|(known, _)| known == name)
            .unwrap()
            .1
    }

    pub(crate) fn query(&self) -> String {
        url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(&self.params)
            .finish()
    }

    pub(crate) fn target(&self) -> String {
        format!("/authorize?{}", self.query())
    }
}

/// A parameter of an address.
pub(crate) fn param(address: &str, name: &str) -> Option<String> {
    let url = url::Url::parse(address).unwrap();
    url.query_pairs()
        .find(|(known, _)| known == name)
        .map(|(_, value)| value.into_owned())
}

/// The claims of a JWT, unverified.
pub(crate) fn claims(token: &str) -> Value {
    part(token, 1)
}

/// One JSON part of a JWT.
pub(crate) fn part(token: &str, index: usize) -> Value {
    let part = token.split('.').nth(index).unwrap();
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}
