//! Row W-16: no secret reaches the log at any level, and nobody else writes lines of it. The real program, at `trace`.

use std::{collections::BTreeSet, process::Command, sync::Arc};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::Request,
    response::Response,
};
use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use http::header;
use serde_json::{Value, json};
use wayleave::{
    secret::{ClientSecret, Secret, SecretHash, Setup, random_id},
    time::Clock,
};

use crate::{
    process::{Running, run, wayleave},
    support::{
        Answer, Browser, ClientSite, Page, Signer,
        app::{NOTES, PASSWORD, VERIFIER, call, challenge, param},
        signer::ASSERTION_TYPE,
    },
};

const API_SECRET: &str = "wl_cs_a-secret-of-the-tests";
const WRONG_PASSWORD: &str = "a wrong password of ada";
/// What strangers would like to see in a terminal, or in a line of their own.
const HOSTILE: &str = "x\u{1b}[2J\u{1b}]0;owned\u{7}\r\n{\"level\":\"ERROR\",\"forged\":true}\u{202e}\u{2066}\"',}${jndi:ldap://evil}\u{0}\u{9b}";

/// A conversation with the program, and all that is secret in it.
struct Talk {
    server: Running,
    site: ClientSite,
    signer: Signer,
    public: String,
    confidential: String,
    browser: Browser,
    secrets: BTreeSet<(&'static str, String)>,
    requests: Arc<std::sync::atomic::AtomicUsize>,
    folder: tempfile::TempDir,
}

/// The same as the program's router, by way of the program's listener.
fn over_the_wire(
    base: String,
    http_2: bool,
    requests: Arc<std::sync::atomic::AtomicUsize>,
) -> Router {
    #[expect(clippy::disallowed_methods, reason = "a test asks its own server")]
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy();
    let client = match http_2 {
        true => client.http2_prior_knowledge(),
        false => client,
    };
    let client = client.build().unwrap();
    Router::new().fallback(move |request: Request| {
        let (client, base, requests) = (client.clone(), base.clone(), requests.clone());
        async move {
            requests.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let (parts, body) = request.into_parts();
            let body = to_bytes(body, usize::MAX).await.unwrap();
            let asked = client.request(parts.method, format!("{base}{}", parts.uri));
            let mut headers = parts.headers;
            // HTTP/2 has the authority instead.
            headers.remove(header::HOST);
            let answer = asked.headers(headers).body(body).send().await.unwrap();
            let mut response = Response::new(Body::empty());
            *response.status_mut() = answer.status();
            *response.headers_mut() = answer.headers().clone();
            response.headers_mut().remove(header::TRANSFER_ENCODING);
            *response.body_mut() = Body::from(answer.bytes().await.unwrap());
            response
        }
    })
}

impl Talk {
    async fn begin(format: &'static str) -> Self {
        let site = ClientSite::start().await;
        let signer = Signer::new(Some("key-1"));
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), &site.ca_pem).unwrap();
        let port = site.port;
        let id = |path: &str| format!("https://localhost:{port}{path}");
        let publish = |path: &str, more: Value| {
            let mut document = site.document(path, more);
            document["client_id"] = id(path).into();
            if document["client_name"] == "Test Notebook" {
                document["client_name"] = "\"}',${jndi:ldap://evil}".into();
            }
            document["redirect_uris"] = json!([id("/callback")]);
            site.answer(path, Answer::json(document.to_string()));
            id(path)
        };
        let public = publish("/c.json", json!({}));
        publish("/h.json", json!({ "client_name": HOSTILE }));
        let grants = json!([
            "authorization_code",
            "refresh_token",
            "urn:ietf:params:oauth:grant-type:device_code"
        ]);
        let confidential = publish(
            "/k.json",
            json!({ "token_endpoint_auth_method": "private_key_jwt", "jwks": signer.jwks(), "grant_types": grants }),
        );
        let hash = SecretHash::<ClientSecret>::of_bytes(API_SECRET.as_bytes());
        let registered = format!(
            "[{{ client_id = 'api', client_secret_sha256 = '{}', grant_types = ['client_credentials'], resources = ['https://notes.example.com/mcp'] }}]",
            hash.as_str()
        );
        let with = |mut command: Command| {
            command
                .env("WAYLEAVE_FETCH__EXTRA_CA_FILE", "ca.pem")
                .env("WAYLEAVE_DANGER__ALLOW_LOOPBACK_CLIENTS", "true")
                .env("WAYLEAVE_LOG__FILTER", "trace")
                .env("WAYLEAVE_LOG__FORMAT", format)
                .env("WAYLEAVE_LIMITS__SCALE", "1000")
                .env(
                    "WAYLEAVE_POLICY__CLIENTS",
                    format!("[{{ match = '{}', tier = 'approved' }}]", id("/k.json")),
                )
                .env("WAYLEAVE_CLIENTS__REGISTERED", &registered)
                .env("WAYLEAVE_RESOURCES", NOTES);
            command
        };
        let mut user = with(wayleave(folder.path()));
        user.args(["user", "add", "ada", "--password-stdin"]);
        assert!(run(user, Some(PASSWORD)).status.success());
        let mut command = with(wayleave(folder.path()));
        command.stderr(std::fs::File::create(folder.path().join("log")).unwrap());
        let server = Running::start(command, 1);
        let base = format!("http://{}", server.address);
        let requests = Arc::default();
        let browser = Browser::new(
            over_the_wire(base.clone(), format == "text", Arc::clone(&requests)),
            &base,
        );
        let mut talk = Self {
            server,
            site,
            signer,
            public,
            confidential,
            browser,
            secrets: BTreeSet::new(),
            requests,
            folder,
        };
        for (what, secret) in [
            ("password", PASSWORD),
            ("wrong password", WRONG_PASSWORD),
            ("verifier", VERIFIER),
            ("client secret", API_SECRET),
        ] {
            talk.secret(what, secret);
        }
        talk
    }

    fn base(&self) -> String {
        self.browser.origin.clone()
    }

    fn secret(&mut self, what: &'static str, text: &str) {
        assert!(text.len() >= 8, "{what}: {text}");
        self.secrets.insert((what, text.to_owned()));
    }

    /// Whatever a page brings along that its browser must not tell.
    fn of_page(&mut self, page: &Page) {
        for (name, value) in self.browser.cookies.clone() {
            self.secret("cookie", value.as_str());
            assert!(name.starts_with("wayleave_"));
        }
        if page.body.contains("name=\"csrf\"") {
            let csrf = page.form().1["csrf"].clone();
            self.secret("csrf", &csrf);
        }
    }

    async fn open(&mut self, target: &str) -> Page {
        let page = self.browser.open(target).await;
        self.of_page(&page);
        page
    }

    async fn submit(&mut self, page: &Page, filled: &[(&str, &str)]) -> Page {
        assert!(page.body.contains("<form"), "{} {}", page.status, page.body);
        let page = self.browser.submit(page, filled).await;
        self.of_page(&page);
        page
    }

    async fn ask(&mut self, path: &str, fields: &[(&str, &str)], headers: &[(&str, &str)]) -> Page {
        let mut machine = self.browser.clone();
        machine.cookies.clear();
        let page = call(&mut machine, path, fields, headers).await;
        if let Ok(answer) = serde_json::from_str::<Value>(&page.body) {
            for name in [
                "access_token",
                "refresh_token",
                "id_token",
                "device_code",
                "user_code",
                "request_uri",
            ] {
                if let Some(token) = answer[name].as_str() {
                    self.secret(name, token);
                    if let Some((_, signature)) = token.rsplit_once('.') {
                        self.secret("signature", signature);
                    }
                }
            }
        }
        page
    }

    fn assertion(&mut self) -> String {
        let (now, base) = (Clock::system().now(), self.base());
        let claims = json!({ "iss": self.confidential, "sub": self.confidential, "aud": base, "iat": now.0, "exp": now.0 + 60, "jti": random_id() });
        let assertion = self.signer.sign(&self.signer.header(), &claims);
        self.secret("assertion", &assertion);
        assertion
    }

    async fn as_confidential(&mut self, path: &str, fields: &[(&str, &str)]) -> Page {
        let assertion = self.assertion();
        let proven = [
            ("client_id", self.confidential.clone()),
            ("client_assertion_type", ASSERTION_TYPE.to_owned()),
            ("client_assertion", assertion),
        ];
        let proven: Vec<_> = proven
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        self.ask(path, &[fields, &proven].concat(), &[]).await
    }

    /// Allows what an authorization request asks for; its code.
    async fn code(&mut self, target: &str) -> String {
        let page = self.open(target).await;
        let page = match page.location() {
            Some(_) => page,
            None => self.submit(&page, &[("decision", "allow")]).await,
        };
        let location = page
            .location()
            .unwrap_or_else(|| panic!("{} {}", page.status, page.body))
            .to_owned();
        let code = param(&location, "code").unwrap_or_else(|| panic!("{location}"));
        self.secret("code", &code);
        code
    }

    async fn people(&mut self) {
        let link = Secret::<Setup>::generate();
        self.secret("setup link", link.expose());
        self.open(&format!("/setup?token={}", link.expose())).await;
        let page = self.open("/login").await;
        let without_nul = HOSTILE.replace('\0', "");
        // A password where the name belongs: it happens.
        for name in ["ada", HOSTILE, without_nul.as_str(), PASSWORD] {
            let fields = [("username", name), ("password", WRONG_PASSWORD)];
            let refused = self.submit(&page, &fields).await;
            assert!(refused.status.is_client_error(), "{}", refused.body);
        }
        let fields = [("username", "ada"), ("password", PASSWORD)];
        let page = self.submit(&page, &fields).await;
        assert_eq!(page.status, 303, "{}", page.body);
    }

    async fn public_client(&mut self) {
        let (public, redirect) = (
            self.public.clone(),
            format!("https://localhost:{}/callback", self.site.port),
        );
        let query = |state: &str| {
            let mut query = url::form_urlencoded::Serializer::new(String::new());
            let fields = [
                ("response_type", "code"),
                ("client_id", &public),
                ("redirect_uri", &redirect),
                ("code_challenge", &challenge(VERIFIER)),
                ("code_challenge_method", "S256"),
                ("scope", "notes.read openid"),
                ("state", state),
            ];
            query.extend_pairs(fields).finish()
        };
        let code = self
            .code(&format!("/authorize?{}", query("${jndi:ldap://evil}\"'}")))
            .await;
        let redeem = [
            ("grant_type", "authorization_code"),
            ("client_id", public.as_str()),
            ("code", &code),
            ("redirect_uri", &redirect),
            ("code_verifier", VERIFIER),
        ];
        let tokens = self.ask("/token", &redeem, &[]).await.json();
        let (access, refresh) = (
            tokens["access_token"].as_str().unwrap(),
            tokens["refresh_token"].as_str().unwrap(),
        );
        let bearer = format!("Bearer {access}");
        assert_eq!(
            self.ask("/userinfo", &[], &[("authorization", &bearer)])
                .await
                .status,
            200
        );
        let basic = BASE64_STANDARD.encode(format!("api:{API_SECRET}"));
        self.secret("authorization header", &basic);
        let basic = format!("Basic {basic}");
        let about = [("token", access)];
        assert_eq!(
            self.ask("/introspect", &about, &[("authorization", &basic)])
                .await
                .json()["active"],
            true
        );
        let renew = [
            ("grant_type", "refresh_token"),
            ("client_id", public.as_str()),
            ("refresh_token", refresh),
        ];
        let renewed = self.ask("/token", &renew, &[]).await.json();
        // With proofs of possession: refused for the lack of a nonce, and bound.
        let code = self.code(&format!("/authorize?{}", query("x"))).await;
        let mut redeem = redeem;
        redeem[2].1 = &code;
        let mut nonce = String::new();
        for _ in 0..2 {
            let (now, base) = (Clock::system().now(), self.base());
            let mut more = json!({ "htu": format!("{base}/token") });
            if !nonce.is_empty() {
                more["nonce"] = nonce.as_str().into();
            }
            let proof = self.signer.proof("POST", "/token", now, more);
            self.secret("proof", &proof);
            let page = self.ask("/token", &redeem, &[("dpop", &proof)]).await;
            nonce = page.header("dpop-nonce").to_owned();
        }
        // The code a second time, a wrong verifier, wrong tokens, and the end.
        self.ask("/token", &redeem, &[]).await;
        self.ask(
            "/userinfo",
            &[],
            &[("authorization", &format!("{bearer}x"))],
        )
        .await;
        self.ask("/userinfo", &[("access_token", access)], &[])
            .await;
        let token = renewed["refresh_token"].as_str().unwrap();
        self.ask("/revoke", &[("token", token), ("client_id", &public)], &[])
            .await;
        self.ask(
            "/token",
            &[
                ("grant_type", "refresh_token"),
                ("client_id", &public),
                ("refresh_token", token),
            ],
            &[],
        )
        .await;
        let page = self
            .open(&format!(
                "/authorize?{}&x={}",
                query("y"),
                "z".repeat(9_000)
            ))
            .await;
        assert_eq!(page.status, 414);
    }

    async fn confidential_client(&mut self) {
        let redirect = format!("https://localhost:{}/callback", self.site.port);
        let confidential = self.confidential.clone();
        let fields = [
            ("response_type", "code"),
            ("redirect_uri", redirect.as_str()),
            ("code_challenge", &challenge(VERIFIER)),
            ("code_challenge_method", "S256"),
            ("state", "}\"${jndi:ldap://evil}"),
        ];
        let pushed = self.as_confidential("/par", &fields).await.json();
        let request_uri = pushed["request_uri"]
            .as_str()
            .unwrap_or_else(|| panic!("{pushed}"));
        let query = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs([
                ("client_id", confidential.as_str()),
                ("request_uri", request_uri),
            ])
            .finish();
        let code = self.code(&format!("/authorize?{query}")).await;
        let redeem = [
            ("grant_type", "authorization_code"),
            ("code", code.as_str()),
            ("redirect_uri", &redirect),
            ("code_verifier", VERIFIER),
        ];
        let page = self.as_confidential("/token", &redeem).await;
        assert_eq!(page.status, 200, "{}", page.body);
        // The same assertion twice, and a broken one.
        let assertion = self.assertion();
        for assertion in [
            assertion.clone(),
            assertion.clone(),
            format!("{assertion}x"),
        ] {
            let fields = [
                ("grant_type", "refresh_token"),
                ("refresh_token", "wl_rt_nothing"),
                ("client_id", &confidential),
                ("client_assertion_type", ASSERTION_TYPE),
                ("client_assertion", &assertion),
            ];
            self.ask("/token", &fields, &[]).await;
        }

        let device = self
            .as_confidential("/device_authorization", &[])
            .await
            .json();
        let link = device["verification_uri_complete"]
            .as_str()
            .unwrap_or_else(|| panic!("{device}"))
            .to_owned();
        let page = self.open(&link).await;
        let page = self.submit(&page, &[]).await;
        let page = self.browser.follow(page).await;
        self.of_page(&page);
        let done = self.submit(&page, &[("decision", "allow")]).await;
        assert_eq!(done.status, 303, "{}", done.body);
        let poll = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
            ("device_code", device["device_code"].as_str().unwrap()),
        ];
        let page = self.as_confidential("/token", &poll).await;
        assert_eq!(page.status, 200, "{}", page.body);
        self.as_confidential("/token", &poll).await;
    }

    async fn registered_client(&mut self) {
        let fields = [
            ("grant_type", "client_credentials"),
            ("client_id", "api"),
            ("client_secret", API_SECRET),
            ("resource", "https://notes.example.com/mcp"),
        ];
        let page = self.ask("/token", &fields, &[]).await;
        assert_eq!(page.status, 200, "{}", page.body);
        self.secret("wrong client secret", "wl_cs_a-wrong-secret-of-the-tests");
        let mut wrong = fields;
        wrong[2].1 = "wl_cs_a-wrong-secret-of-the-tests";
        assert_eq!(self.ask("/token", &wrong, &[]).await.status, 401);
    }

    async fn hostile(&mut self) {
        let encoded: String = url::form_urlencoded::byte_serialize(HOSTILE.as_bytes()).collect();
        for target in [
            format!("/authorize?client_id={encoded}&redirect_uri={encoded}&state={encoded}"),
            format!(
                "/authorize?client_id=https://localhost:{}/{encoded}&response_type=code&redirect_uri={encoded}",
                self.site.port
            ),
            format!("/{encoded}?{encoded}={encoded}"),
            format!("/login?request={encoded}"),
            format!("/device?user_code={encoded}"),
            format!(
                "/authorize?client_id=https://localhost:{}/h.json",
                self.site.port
            ),
        ] {
            self.open(&target).await;
        }
        let bidi = "Mozilla\u{202e}\t${jndi:ldap://evil}\u{9b}2J";
        for name in [
            "user-agent",
            "referer",
            "x-forwarded-for",
            "accept-language",
            "traceparent",
        ] {
            let value = http::HeaderValue::from_bytes(bidi.as_bytes()).unwrap();
            let request = http::Request::get("/login")
                .header(name, value)
                .body(Body::empty())
                .unwrap();
            self.browser.send(request).await;
        }
        for path in [
            "/token",
            "/par",
            "/introspect",
            "/revoke",
            "/device_authorization",
        ] {
            self.ask(
                path,
                &[
                    ("client_id", HOSTILE),
                    ("grant_type", HOSTILE),
                    ("token", HOSTILE),
                ],
                &[],
            )
            .await;
        }
    }

    /// The log, and what must not be in it.
    async fn end(self) -> (String, BTreeSet<(&'static str, String)>, usize) {
        let Self {
            server,
            folder,
            secrets,
            requests,
            ..
        } = self;
        let log = tokio::task::spawn_blocking(move || {
            assert_eq!(server.stop(), Some(0));
            std::fs::read_to_string(folder.path().join("log")).unwrap()
        });
        let requests = requests.load(std::sync::atomic::Ordering::Relaxed);
        (log.await.unwrap(), secrets, requests)
    }
}

async fn everything(format: &'static str) -> (String, BTreeSet<(&'static str, String)>, usize) {
    let mut talk = Talk::begin(format).await;
    talk.people().await;
    talk.public_client().await;
    talk.confidential_client().await;
    talk.registered_client().await;
    talk.hostile().await;
    talk.end().await
}

/// How a secret might be written.
fn spellings(secret: &str) -> Vec<String> {
    let percent: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    let mut all = vec![secret.to_owned(), percent.replace('+', "%20"), percent];
    for padding in ["", "x", "xx"] {
        // Wherever in a text that was encoded: but for what shares its first and last letters with others.
        let text = format!("{padding}{secret}");
        for encoded in [
            BASE64_STANDARD.encode(&text),
            BASE64_URL_SAFE_NO_PAD.encode(&text),
        ] {
            let encoded = encoded.trim_end_matches('=');
            all.push(encoded[4..encoded.len() - 2].to_owned());
        }
    }
    let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    all.push(hex);
    all
}

fn assert_no_secret(log: &str, secrets: &BTreeSet<(&'static str, String)>) {
    let kinds: BTreeSet<_> = secrets.iter().map(|(what, _)| *what).collect();
    for expected in [
        "password",
        "wrong password",
        "verifier",
        "client secret",
        "wrong client secret",
        "authorization header",
        "code",
        "access_token",
        "signature",
        "refresh_token",
        "id_token",
        "assertion",
        "proof",
        "request_uri",
        "device_code",
        "user_code",
        "cookie",
        "csrf",
        "setup link",
    ] {
        assert!(kinds.contains(expected), "{expected} was never used");
    }
    for (what, secret) in secrets {
        for spelling in spellings(secret) {
            if let Some(line) = log.lines().find(|line| line.contains(&spelling)) {
                panic!("{what} {secret}, as {spelling}, is in: {line}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn w_16_no_secret_is_in_the_log_as_json_and_nobody_forges_a_line() {
    let (log, secrets, requests) = everything("json").await;
    assert_no_secret(&log, &secrets);
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    let is_ours = |line: &Value| line.get("forged").is_none() && line["target"].is_string();
    assert!(lines.iter().all(is_ours));
    assert!(
        !log.chars().any(|c| c.is_control() && c != '\n'),
        "JSON escapes them"
    );
    let of_requests = lines
        .iter()
        .filter(|line| line["level"] == "INFO" && line["fields"]["message"] == "request");
    assert_eq!(of_requests.count(), requests, "one line for each request");
    let has_span = |line: &Value| line.get("span").is_some() || line.get("spans").is_some();
    let ours = lines.iter().filter(|line| {
        line["target"]
            .as_str()
            .is_some_and(|it| it.starts_with("wayleave"))
    });
    assert!(!ours.into_iter().any(has_span), "spans are for a collector");
    let is_trace = |line: &&Value| line["level"] == "DEBUG" || line["level"] == "TRACE";
    assert!(
        lines.iter().filter(is_trace).count() > 10,
        "the filter is in force"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn w_16_no_secret_is_in_the_log_as_text_and_it_steers_no_terminal() {
    let (log, secrets, requests) = everything("text").await;
    assert_no_secret(&log, &secrets);
    let steers = |c: char| {
        (c.is_control() && c != '\n')
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if let Some(line) = log.lines().find(|line| line.chars().any(steers)) {
        panic!("{line:?}");
    }
    let year = &log[..4];
    assert!(
        log.lines().all(|line| line.starts_with(year)),
        "every line is one of ours"
    );
    let of_requests = log
        .lines()
        .filter(|line| line.contains(" INFO wayleave::server::layers: request method="));
    assert_eq!(of_requests.count(), requests, "one line for each request");
}
