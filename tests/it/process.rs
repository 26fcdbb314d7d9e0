//! The binary: it starts with nothing configured, survives being killed, and refuses to be half-open.

use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener},
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use crate::support::on_both;

/// The binary, in a folder of its own, with nothing of the environment but what the test gives.
pub(crate) fn wayleave(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wayleave"));
    command
        .current_dir(folder)
        .env_clear()
        .stdin(Stdio::null())
        .stderr(Stdio::null());
    command
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

pub(crate) struct Running {
    child: Child,
    pub(crate) lines: Vec<String>,
    pub(crate) address: SocketAddr,
}

impl Running {
    /// Starts a server on a free port and waits for its greeting.
    pub(crate) fn start(command: Command, expected_lines: usize) -> Self {
        let port = free_port();
        Self::start_at(
            command,
            port,
            &format!("http://127.0.0.1:{port}"),
            expected_lines,
        )
    }

    /// The same for one of several servers of an issuer.
    pub(crate) fn start_of(command: Command, issuer: &str, expected_lines: usize) -> Self {
        Self::start_at(command, free_port(), issuer, expected_lines)
    }

    fn start_at(mut command: Command, port: u16, issuer: &str, expected_lines: usize) -> Self {
        command
            .arg("serve")
            .env("WAYLEAVE_ISSUER", issuer)
            .env("WAYLEAVE_SERVER__LISTEN", format!("127.0.0.1:{port}"))
            .stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap())
            .lines()
            .take(expected_lines)
            .map(Result::unwrap)
            .collect();
        Self {
            child,
            lines,
            address: SocketAddr::from(([127, 0, 0, 1], port)),
        }
    }

    /// Of the process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        request(
            self.address,
            &format!(
                "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
                self.address
            ),
        )
    }

    fn post(&self, path: &str, body: &str) -> (u16, String) {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        );
        request(self.address, &head)
    }

    /// Signs `ada` in by the form, with these headers besides; the status.
    pub(crate) fn sign_in(&self, headers: &str, password: &str) -> u16 {
        let html = self.get("/login").1;
        let (_, csrf) = html.split_once("name=\"csrf\" value=\"").unwrap();
        let (csrf, _) = csrf.split_once('"').unwrap();
        let (_, cookie) = html.split_once("set-cookie: ").unwrap();
        let (cookie, _) = cookie.split_once(';').unwrap();
        let password = password.replace(' ', "+");
        let form = format!("csrf={csrf}&request=&username=ada&password={password}");
        let (at, length) = (self.address, form.len());
        let post = format!(
            "POST /login HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n{headers}Cookie: {cookie}\r\nOrigin: http://{at}\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\n\r\n{form}"
        );
        request(at, &post).0
    }

    /// `kill -9`.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, as a service manager stops it; the exit code.
    pub(crate) fn stop(mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status().unwrap();
        self.child.wait().unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

pub(crate) fn request(address: SocketAddr, text: &str) -> (u16, String) {
    use std::io::Read;
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.write_all(text.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer
        .split(' ')
        .nth(1)
        .unwrap_or_else(|| panic!("{answer}"))
        .parse()
        .unwrap();
    (status, answer)
}

pub(crate) fn run(mut command: Command, stdin: Option<&str>) -> Output {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    if stdin.is_some() {
        command.stdin(Stdio::piped());
    }
    let mut child = command.spawn().unwrap();
    if let Some(text) = stdin {
        child
            .stdin
            .take()
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
    }
    child.wait_with_output().unwrap()
}

#[test]
fn with_nothing_configured_it_serves_and_offers_to_be_set_up() {
    let folder = tempfile::tempdir().unwrap();
    let server = Running::start(wayleave(folder.path()), 3);
    assert!(
        server.lines[0].contains("is ready at http://127.0.0.1:"),
        "{:?}",
        server.lines
    );
    assert!(
        server.lines[1].starts_with("There is no account yet."),
        "{:?}",
        server.lines
    );
    let link = server.lines[2].trim().to_owned();
    assert!(link.contains("/setup?token=wl_su_"), "{link}");
    assert!(folder.path().join("wayleave-data/wayleave.db").exists());
    let (status, body) = server.get(link.split_once(&server.address.to_string()).unwrap().1);
    assert!(
        status == 200 && body.contains("Create the first account"),
        "{body}"
    );
    assert_eq!(
        (server.get("/readyz").0, server.get("/healthz").0),
        (200, 200)
    );
    let keys = |answer: &str| answer.split("\r\n\r\n").nth(1).unwrap().to_owned();
    let before = keys(&server.get("/jwks").1);

    // A second process on the same file refuses; accounts can be added all the same.
    let mut second = wayleave(folder.path());
    second.args(["serve"]).env(
        "WAYLEAVE_SERVER__LISTEN",
        format!("127.0.0.1:{}", free_port()),
    );
    let output = run(second, None);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("in use by another wayleave process"),
        "{output:?}"
    );
    let mut add = wayleave(folder.path());
    add.args(["user", "add", "ada", "--admin", "--password-stdin"]);
    assert_eq!(
        run(add, Some("correct horse battery\n")).status.code(),
        Some(0)
    );

    assert_eq!(server.stop(), Some(0));
    let server = Running::start(wayleave(folder.path()), 1);
    assert_eq!(
        keys(&server.get("/jwks").1),
        before,
        "the signing key is kept"
    );
}

on_both! {
    async fn accounts_are_made_from_the_command_line_before_the_first_start(database) {
        let folder = tempfile::tempdir().unwrap();
        let command = |arguments: &[&str]| {
            let mut command = wayleave(folder.path());
            command.env("WAYLEAVE_DATABASE__URL", &database.url).args(arguments);
            command
        };
        let table: &[(&[&str], Option<&str>, i32, &str)] = &[
            (&["migrate"], None, 0, "is up to date"),
            (&["migrate"], None, 0, "is up to date"),
            (&["user", "add", "Ada", "--password-stdin", "--admin"], Some("correct horse battery"), 0, "ada: administrator added"),
            (&["user", "add", "ada", "--password-stdin"], Some("correct horse battery"), 1, "there is an account named ada"),
            (&["user", "add", "bob", "--password-stdin"], Some("short"), 2, "at least 8 characters"),
            (&["user", "add", "b b", "--password-stdin"], Some("correct horse battery"), 2, "A user name has"),
            (&["user", "add", "bob"], None, 2, "use --password-stdin"),
            (&["user", "passwd", "ada", "--password-stdin"], Some("another password"), 0, "password changed"),
            (&["user", "passwd", "bob", "--password-stdin"], Some("another password"), 1, "no account named bob"),
            (&["user", "add", "eve", "--password-stdin", "--name", "Eve", "--email", "eve@example.com", "--email-verified"], Some("correct horse battery"), 0, "account added"),
            (&["user", "list", "--json"], None, 0, "\"email_verified\": true"),
            (&["user", "set", "eve", "--name", "Eve Adams"], None, 0, "eve: account changed"),
            (&["user", "list", "--json"], None, 0, "\"name\": \"Eve Adams\""),
            (&["user", "list", "--json"], None, 0, "\"email\": \"eve@example.com\""),
            (&["user", "set", "eve", "--email", ""], None, 0, "account changed"),
            (&["user", "set", "eve", "--email", "nowhere"], None, 2, "An e-mail address looks like"),
            (&["user", "set", "eve"], None, 2, "nothing to change"),
            (&["user", "set", "eve", "--email-verified"], None, 2, "--email"),
            (&["user", "set", "mallory", "--name", "x"], None, 1, "no account named mallory"),
            (&["user", "list"], None, 0, "ada  administrator"),
            (&["user", "list", "--json"], None, 0, "\"username\": \"ada\""),
            // 0 until the last administrator had to stay.
            (&["user", "disable", "ada"], None, 1, "the last administrator"),
            (&["user", "disable", "eve"], None, 0, "account disabled"),
            (&["user", "disable", "eve"], None, 1, "no enabled account"),
            (&["user", "frobnicate"], None, 2, "unrecognized subcommand"),
        ];
        for (arguments, stdin, code, told) in table {
            let output = run(command(arguments), *stdin);
            let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
            assert_eq!(output.status.code(), Some(*code), "{arguments:?}: {text}");
            assert!(text.contains(told), "{arguments:?}: {text}");
        }
        let mut server = command(&[]);
        server.env("WAYLEAVE_DATABASE__URL", &database.url);
        let server = Running::start(server, 1);
        assert_eq!(server.get("/readyz").0, 200);
    }

    async fn a_code_issued_before_a_kill_is_redeemable_once_after_it(database) {
        use crate::support::{TestApp, app::VERIFIER};
        // The code is issued by a server in this process, whose clock is the machine's own.
        let issuer = TestApp::with(database.clone(), &[]).await;
        let client = issuer.site.publish("/c.json", serde_json::json!({}));
        let mut browser = issuer.signed_in().await;
        issuer.app.clock.advance(std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() as i64 - issuer.app.clock.now().0);
        let mut browser2 = issuer.signed_in().await;
        std::mem::swap(&mut browser, &mut browser2);
        let flow = issuer.flow(&client);
        let code = issuer.code(&mut browser, &flow).await;
        issuer.app.store.close().await;

        let folder = tempfile::tempdir().unwrap();
        let start = || {
            let mut command = wayleave(folder.path());
            command.env("WAYLEAVE_DATABASE__URL", &database.url).env("WAYLEAVE_RESOURCES", crate::support::app::NOTES);
            Running::start(command, 1)
        };
        let redeem = |server: &Running| {
            let body = url::form_urlencoded::Serializer::new(String::new())
                .extend_pairs([
                    ("grant_type", "authorization_code"),
                    ("code", &code),
                    ("client_id", &client),
                    ("redirect_uri", flow.get("redirect_uri")),
                    ("code_verifier", VERIFIER),
                ])
                .finish();
            server.post("/token", &body)
        };
        start().kill();
        let server = start();
        let (status, body) = redeem(&server);
        assert_eq!(status, 200, "{body}");
        server.kill();
        let server = start();
        let (status, body) = redeem(&server);
        assert!(status == 400 && body.contains("invalid_grant"), "not twice: {body}");
    }
}

#[test]
fn a_bad_configuration_is_named_and_nothing_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let none: &[(&str, &str)] = &[];
    let table = [
        (
            "[server]\nlisten = 8080",
            none,
            "wayleave.toml: server.listen: ",
        ),
        (
            "[sevrer]",
            none,
            "wayleave.toml: sevrer: there is no such key; expected one of",
        ),
        (
            "",
            [("WAYLEAVE_FETCH__TIMEOUT", "x")].as_slice(),
            "environment variable WAYLEAVE_FETCH__TIMEOUT: fetch.timeout: expected a whole number",
        ),
        (
            "",
            [("WAYLEAVE_KEYS__ENCRYPTION_KEY", "short")].as_slice(),
            "keys.encryption_key: expected 32 bytes in base64",
        ),
        (
            "[fetch]\nextra_ca_file = \"none.pem\"",
            none,
            "fetch.extra_ca_file: expected a readable PEM file",
        ),
        (
            "issuer = \"https://localhost\"\n[server.tls]\ncert_file = \"a\"\nkey_file = \"b\"",
            none,
            "server.tls.cert_file: expected a PEM certificate chain",
        ),
    ];
    for (file, variables, told) in table {
        std::fs::write(folder.path().join("wayleave.toml"), file).unwrap();
        let mut command = wayleave(folder.path());
        command.arg("serve").envs(variables.iter().copied());
        let output = run(command, None);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{file}{variables:?}: {text}");
        assert!(text.contains(told), "want {told}\n got {text}");
        assert!(output.stdout.is_empty(), "{output:?}");
    }
}

#[test]
fn a_database_that_does_not_answer_is_named() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    for url in [
        format!("postgres://w:hidden@127.0.0.1:{}/w", free_port()),
        "sqlite:file/w.db".to_owned(),
    ] {
        let mut command = wayleave(folder.path());
        command.arg("serve").env("WAYLEAVE_DATABASE__URL", &url);
        let output = run(command, None);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{url}: {text}");
        assert!(
            text.contains("database.url: ") && !text.contains("hidden"),
            "{url}: {text}"
        );
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn the_head_of_a_request_is_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let server = Running::start(wayleave(folder.path()), 3);
    let ask = |headers: &str| {
        let head = format!(
            "GET /healthz HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{headers}\r\n",
            server.address
        );
        request(server.address, &head).0
    };
    let many = |count: usize| {
        (0..count)
            .map(|n| format!("X-{n}: 1\r\n"))
            .collect::<String>()
    };
    let long = |bytes: usize| format!("X-Long: {}\r\n", "a".repeat(bytes));
    assert_eq!((ask(&many(60)), ask(&many(70))), (200, 431));
    assert_eq!(
        (ask(&long(15_000)), ask(&long(17_000)), ask(&long(300_000))),
        (200, 431, 431)
    );
    assert_eq!(
        server.get(&format!("/healthz?{}", "a".repeat(8_300))).0,
        414
    );
}

#[test]
fn keys_are_encrypted_at_rest_and_useless_without_their_key() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("key"),
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n",
    )
    .unwrap();
    // First without a key, then with one: what lay open is wrapped.
    Running::start(wayleave(folder.path()), 3).stop();
    let database = folder.path().join("wayleave-data/wayleave.db");
    assert!(String::from_utf8_lossy(&std::fs::read(&database).unwrap()).contains("plain:"));
    let mut command = wayleave(folder.path());
    command.env("WAYLEAVE_KEYS__ENCRYPTION_KEY_FILE", "key");
    Running::start(command, 3).stop();
    let mut command = wayleave(folder.path());
    command.arg("serve");
    let output = run(command, None);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("the database's keys were encrypted"),
        "{output:?}"
    );
}

#[test]
fn tls_is_terminated_in_process() {
    let folder = tempfile::tempdir().unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["localhost".to_owned()])
        .unwrap()
        .self_signed(&key)
        .unwrap();
    std::fs::write(folder.path().join("cert.pem"), certificate.pem()).unwrap();
    std::fs::write(folder.path().join("key.pem"), key.serialize_pem()).unwrap();
    let port = free_port();
    let mut command = wayleave(folder.path());
    command
        .arg("serve")
        .env("WAYLEAVE_ISSUER", format!("https://localhost:{port}"))
        .env("WAYLEAVE_SERVER__LISTEN", format!("127.0.0.1:{port}"))
        .env("WAYLEAVE_SERVER__TLS__CERT_FILE", "cert.pem")
        .env("WAYLEAVE_SERVER__TLS__KEY_FILE", "key.pem")
        .stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let greeting = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .next()
        .unwrap()
        .unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let answer = runtime.block_on(async {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        use tokio_rustls::rustls::{ClientConfig, RootCertStore};
        let mut roots = RootCertStore::empty();
        roots.add(certificate.der().clone()).unwrap();
        let config = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = tokio::net::TcpStream::connect(("127.0.0.1", port))
            .await
            .unwrap();
        let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
        let mut stream = connector
            .connect("localhost".try_into().unwrap(), stream)
            .await
            .unwrap();
        stream
            .write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .await
            .unwrap();
        let mut answer = Vec::new();
        _ = stream.read_to_end(&mut answer).await;
        String::from_utf8(answer).unwrap()
    });
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(greeting.contains("https://localhost"), "{greeting}");
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert!(
        answer
            .to_lowercase()
            .contains("strict-transport-security: max-age=31536000\r\n"),
        "{answer}"
    );
}

#[test]
fn a_health_check_asks_the_listener_with_tls_and_without() {
    for with_tls in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(vec!["id.example.com".to_owned()])
            .unwrap()
            .self_signed(&key)
            .unwrap();
        std::fs::write(folder.path().join("cert.pem"), certificate.pem()).unwrap();
        std::fs::write(folder.path().join("key.pem"), key.serialize_pem()).unwrap();
        let port = free_port();
        let configured = |argument: &str| {
            let mut command = wayleave(folder.path());
            command
                .arg(argument)
                .env("WAYLEAVE_SERVER__LISTEN", format!("0.0.0.0:{port}"));
            if with_tls {
                command
                    .env("WAYLEAVE_ISSUER", "https://id.example.com")
                    .env("WAYLEAVE_SERVER__TLS__CERT_FILE", "cert.pem")
                    .env("WAYLEAVE_SERVER__TLS__KEY_FILE", "key.pem");
            }
            command
        };
        let asked = run(configured("healthcheck"), None);
        assert_eq!(asked.status.code(), Some(1), "nobody listens: {asked:?}");
        assert!(String::from_utf8_lossy(&asked.stderr).contains("no answer from 127.0.0.1:"));

        let mut child = configured("serve").stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        lines.next().unwrap().unwrap();
        let asked = run(configured("healthcheck"), None);
        // A plain question to a listener that speaks TLS, and the other way about: not healthy, and no crash.
        let mut other = configured("healthcheck");
        if with_tls {
            other
                .env_remove("WAYLEAVE_SERVER__TLS__CERT_FILE")
                .env_remove("WAYLEAVE_SERVER__TLS__KEY_FILE");
        } else {
            other
                .env("WAYLEAVE_ISSUER", "https://id.example.com")
                .env("WAYLEAVE_SERVER__TLS__CERT_FILE", "cert.pem")
                .env("WAYLEAVE_SERVER__TLS__KEY_FILE", "key.pem");
        }
        let other = run(other, None);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(asked.status.code(), Some(0), "{asked:?}");
        assert_eq!(other.status.code(), Some(1), "{other:?}");
    }
}

#[test]
fn the_version_is_that_of_the_crate() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = wayleave(folder.path());
    command.arg("--version");
    let told = String::from_utf8(run(command, None).stdout).unwrap();
    let rest = told.strip_prefix(concat!("wayleave ", env!("CARGO_PKG_VERSION")));
    assert!(
        rest.is_some_and(|rest| rest == "\n" || rest.starts_with(" (")),
        "{told}"
    );
}
