//! `wayleave doctor`, as an administrator runs it; and `/readyz`, as a proxy does.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::atomic::Ordering,
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::{Value, json};
use wayleave::store::Store;

use crate::{
    process::{Running, free_port, run, wayleave},
    support::{
        Answer, ClientSite, Database, Kind, TestApp, client_site,
        dns::{NameServer, REFUSED, Saying},
        log, on_both,
    },
};

const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const OTHER_KEY: &str = "HxQVFhcYGRobHB0eHwABAgMEBQYHCAkKCwwNDg8QERI=";

/// What an administrator has: a folder, a configuration, a database, name servers, authorities.
struct Installation {
    folder: PathBuf,
    database: Database,
    names: NameServer,
    site: ClientSite,
    variables: Vec<(String, String)>,
}

/// What the doctor said.
struct Visit {
    code: Option<i32>,
    findings: Vec<Value>,
    text: String,
}

impl Visit {
    fn finding(&self, check: &str) -> (&str, &str, &str) {
        let mut found = self.findings.iter().filter(|it| it["check"] == check);
        let finding = found
            .next()
            .unwrap_or_else(|| panic!("{check}: {}", self.text));
        assert!(found.next().is_none(), "{check} twice: {}", self.text);
        let of = |member: &str| finding[member].as_str().unwrap_or_default();
        (of("status"), of("found"), of("advice"))
    }

    /// The checks that ended so.
    fn with(&self, status: &str) -> Vec<&str> {
        let found = self.findings.iter().filter(|it| it["status"] == status);
        found.map(|it| it["check"].as_str().unwrap()).collect()
    }

    /// Exactly this check failed, and its finding and its advice have these words.
    fn fails(&self, check: &str, found: &str, advice: &str) {
        let (status, was_found, was_advised) = self.finding(check);
        assert_eq!(status, "failed", "{}", self.text);
        assert!(was_found.contains(found), "want {found}\n got {was_found}");
        assert!(
            was_advised.contains(advice),
            "want {advice}\n got {was_advised}"
        );
        assert_eq!(
            (self.with("failed"), self.code),
            (vec![check], Some(1)),
            "{}",
            self.text
        );
    }

    /// Nothing failed, and this check warns with these words.
    fn warns(&self, check: &str, found: &str, advice: &str) {
        let (status, was_found, was_advised) = self.finding(check);
        assert_eq!(status, "warning", "{}", self.text);
        assert!(was_found.contains(found), "want {found}\n got {was_found}");
        assert!(
            was_advised.contains(advice),
            "want {advice}\n got {was_advised}"
        );
        assert_eq!(
            (self.with("failed"), self.code),
            (vec![], Some(0)),
            "{}",
            self.text
        );
    }
}

impl Installation {
    /// With nothing to complain about but a server that does not run.
    async fn new(database: Database) -> Self {
        let names = NameServer::start().await;
        names.say(
            "example.com",
            Saying::addresses(&["192.0.2.1", "2001:db8::1"]),
        );
        names.say(client_site::HOST, Saying::addresses(&["127.0.0.1"]));
        let site = ClientSite::start().await;
        let folder = database.path("installation");
        fs::create_dir(&folder).unwrap();
        let write = |name: &str, text: &str| {
            fs::write(folder.join(name), text).unwrap();
            chmod(&folder.join(name), 0o600);
        };
        write("key", KEY);
        write("ca.pem", &site.ca_pem);
        let port = free_port();
        let variables = [
            ("WAYLEAVE_ISSUER", format!("http://127.0.0.1:{port}")),
            ("WAYLEAVE_SERVER__LISTEN", format!("127.0.0.1:{port}")),
            ("WAYLEAVE_DATABASE__URL", database.url.clone()),
            ("WAYLEAVE_KEYS__ENCRYPTION_KEY_FILE", "key".to_owned()),
            (
                "WAYLEAVE_FETCH__NAMESERVERS",
                format!("['{}']", names.address),
            ),
            // The machine's own authorities, whatever the machine.
            ("SSL_CERT_FILE", "ca.pem".to_owned()),
        ];
        Self {
            folder,
            names,
            site,
            variables: variables
                .map(|(name, value)| (name.to_owned(), value))
                .to_vec(),
            database,
        }
    }

    fn set(&mut self, name: &str, value: impl Into<String>) {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.to_owned(), value.into()));
    }

    fn value(&self, name: &str) -> &str {
        let known = self.variables.iter().find(|(known, _)| known == name);
        &known.unwrap().1
    }

    fn command(&self, arguments: &[&str]) -> std::process::Command {
        let mut command = wayleave(&self.folder);
        command.args(arguments);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    fn migrate(&self) {
        let done = run(self.command(&["migrate"]), None);
        assert_eq!(done.status.code(), Some(0), "{done:?}");
    }

    /// Starts the server at the address that is configured from now on, and has it make its keys.
    fn start(&mut self) -> Running {
        let running = Running::start(self.command(&[]), 3);
        self.set("WAYLEAVE_ISSUER", format!("http://{}", running.address));
        self.set("WAYLEAVE_SERVER__LISTEN", running.address.to_string());
        running
    }

    fn visit(&self, arguments: &[&str]) -> Visit {
        let arguments = [&["doctor", "--json"], arguments].concat();
        let output = run(self.command(&arguments), None);
        let text = String::from_utf8(output.stdout).unwrap();
        let findings = serde_json::from_str(&text).unwrap_or_else(|error| {
            panic!("{error}: {text}{}", String::from_utf8_lossy(&output.stderr))
        });
        Visit {
            code: output.status.code(),
            findings,
            text,
        }
    }

    async fn sql(&self, text: &str) {
        let store = Store::open(&self.database.parsed(), 1).await.unwrap();
        store.execute_raw(text.to_owned()).await.unwrap();
        store.close().await;
    }
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// A server that says the same to everybody.
fn parrot(answer: impl FnOnce(SocketAddr) -> String) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let answer = answer(address);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let (mut head, mut byte) = (Vec::new(), [0]);
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read == 1)
            {
                head.push(byte[0]);
            }
            _ = stream.write_all(answer.as_bytes());
        }
    });
    address
}

fn http(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    )
}

on_both! {
    async fn a_healthy_installation_has_nothing_but_ok(database) {
        let mut installation = Installation::new(database).await;
        let _server = installation.start();
        let visit = installation.visit(&[]);
        let of_database: &[&str] = match installation.database.kind {
            Kind::Sqlite => &["database.open", "database.writable", "database.integrity", "database.schema", "clock.written"],
            Kind::Postgres => &["database.open", "database.durability", "database.writable", "database.schema", "clock.database", "clock.written"],
        };
        let expected = [
            &["configuration.tls", "configuration.danger", "configuration.encryption", "configuration.metrics"][..],
            &["configuration.examples", "configuration.files"],
            of_database,
            &["keys", "keys.age", "clients.pkce", "dns", "authorities", "client"],
            &["server", "server.issuer", "server.proxy", "server.ready"],
        ].concat();
        assert_eq!((visit.with("ok"), visit.code), (expected, Some(0)), "{}", visit.text);
        for finding in &visit.findings {
            let mut members: Vec<_> = finding.as_object().unwrap().keys().collect();
            members.sort();
            assert_eq!(members, ["advice", "check", "found", "status"]);
            assert!(finding["advice"].is_null(), "{finding}");
        }
        let nameserver = installation.names.address.to_string();
        assert!(visit.finding("dns").1.contains(&nameserver), "{}", visit.text);
        assert!(visit.finding("dns").1.contains("2 addresses"), "{}", visit.text);
        assert!(visit.finding("authorities").1.starts_with("1 root certificate of"), "{}", visit.text);
        assert!(!visit.text.contains(KEY), "{}", visit.text);

        // The same for people.
        let output = run(installation.command(&["doctor"]), None);
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
        let (summary, lines) = text.lines().rev().collect::<Vec<_>>().split_first().map(|(s, l)| (*s, l.to_vec())).unwrap();
        let checks = visit.findings.len();
        assert_eq!(summary, format!("{checks} checks: {checks} ok, 0 warning, 0 failed"));
        assert_eq!(lines.len(), checks, "{text}");
        assert!(lines.iter().all(|line| line.starts_with("ok ")), "{text}");
    }

    async fn a_server_that_does_not_run_is_a_warning(database) {
        let mut installation = Installation::new(database).await;
        drop(installation.start());
        let visit = installation.visit(&[]);
        visit.warns("server", "the server does not run here", "wayleave serve");
        assert_eq!(visit.with("warning"), ["server"], "{}", visit.text);
    }

    async fn a_schema_that_is_not_ours_is_named_and_left_alone(database) {
        let installation = Installation::new(database).await;
        if installation.database.kind == Kind::Sqlite {
            installation.visit(&[]).warns("database.open", "there is no database", "wayleave serve");
            assert!(!installation.database.path("w.db").exists(), "it was made");
        } else {
            installation.visit(&[]).warns("database.schema", "no tables of ours", "wayleave migrate");
        }
        installation.migrate();
        installation.visit(&[]).warns("keys", "no signing key yet", "wayleave serve");

        let [last, before] = last_steps();
        installation.sql(&format!("DELETE FROM _sqlx_migrations WHERE version = {last}")).await;
        for _ in 0..2 {
            let found = format!("step {before}, this program {last}");
            installation.visit(&[]).fails("database.schema", &found, "run `wayleave migrate`");
        }
        let newer = "INSERT INTO _sqlx_migrations SELECT 99, description, installed_on, success, checksum, execution_time \
                     FROM _sqlx_migrations WHERE version = 1";
        installation.sql(newer).await;
        installation.visit(&[]).fails("database.schema", "this binary is too old", "install the wayleave");
        installation.sql("DELETE FROM _sqlx_migrations WHERE version = 99").await;
        installation.sql("UPDATE _sqlx_migrations SET success = FALSE WHERE version = 2").await;
        installation.visit(&[]).fails("database.schema", "step 2", "restore the backup");
    }

    async fn keys_that_cannot_be_read_or_are_old_are_named(database) {
        let mut installation = Installation::new(database).await;
        let _server = installation.start();
        let set_age = |seconds: i64| {
            let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
            format!("UPDATE signing_keys SET created_at = {now} - {seconds}")
        };
        installation.sql(&set_age(91 * 86_400)).await;
        installation.visit(&[]).warns("keys.age", "91 days old", "rotate");
        installation.sql(&set_age(0)).await;

        fs::write(installation.folder.join("key"), OTHER_KEY).unwrap();
        let visit = installation.visit(&[]);
        visit.fails("keys", "the database's keys were encrypted", "keys.encryption_key_file");
        assert!(!visit.text.contains(OTHER_KEY), "{}", visit.text);
        // One key replaces the other: first both are needed, and once the server has started only the new one.
        fs::write(installation.folder.join("old-key"), KEY).unwrap();
        installation.set("WAYLEAVE_KEYS__OLD_ENCRYPTION_KEY_FILE", "old-key");
        chmod(&installation.folder.join("old-key"), 0o600);
        installation.visit(&[]).warns("keys.encryption", "a turn-over is under way: 4 of 4", "restart the server with both keys");
        drop(_server);
        drop(installation.start());
        installation.visit(&[]).warns("keys.encryption", "a turn-over is done: none of 4", "take keys.old_encryption_key_file away");
        fs::write(installation.folder.join("old-key"), OTHER_KEY).unwrap();
        fs::write(installation.folder.join("key"), KEY).unwrap();
        drop(installation.start());
        installation.variables.retain(|(name, _)| name != "WAYLEAVE_KEYS__OLD_ENCRYPTION_KEY_FILE");
        fs::write(installation.folder.join("key"), "short").unwrap();
        installation.visit(&[]).fails("keys", "expected 32 bytes in base64", "keys.encryption_key_file");
        fs::write(installation.folder.join("key"), KEY).unwrap();
        installation.sql("UPDATE signing_keys SET private_key = 'plain:AAAA'").await;
        installation.visit(&[]).fails("keys", "in the database cannot be read", "signing_keys");
    }

    async fn clients_that_need_no_pkce_are_named(database) {
        let mut installation = Installation::new(database).await;
        let _server = installation.start();
        let add = |name: &str, pkce: &str| {
            let arguments = ["client", "add", name, "--redirect-uri", "https://wiki.example.com/cb", "--pkce", pkce];
            assert_eq!(run(installation.command(&arguments), None).status.code(), Some(0), "{name}");
        };
        add("careful", "required");
        let visit = installation.visit(&[]);
        assert_eq!(visit.finding("clients.pkce").0, "ok", "{}", visit.text);
        assert!(!visit.text.contains("careful"), "{}", visit.text);

        add("wiki", "nonce");
        let visit = installation.visit(&[]);
        assert_eq!(visit.finding("clients.pkce").0, "ok", "{}", visit.text);
        assert!(visit.finding("clients.pkce").1.ends_with(": wiki"), "{}", visit.text);

        add("old-forum", "optional");
        installation.visit(&[]).warns("clients.pkce", ": old-forum", "pkce");

        let registered = format!(
            "[{{ client_id = 'files', redirect_uris = ['https://files.example.com/cb'], pkce = 'optional', client_secret_sha256 = '{}' }}]",
            "A".repeat(43)
        );
        installation.set("WAYLEAVE_CLIENTS__REGISTERED", registered);
        installation.visit(&[]).warns("clients.pkce", ": files, old-forum", "pkce");
    }

    async fn a_clock_that_was_set_back_is_told_from_what_was_written(database) {
        let mut installation = Installation::new(database).await;
        drop(installation.start());
        let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
        for (ahead, status) in [(30, "warning"), (3_600, "failed")] {
            installation.sql(&format!("UPDATE signing_keys SET created_at = {now} + {ahead}")).await;
            let visit = installation.visit(&[]);
            let (was, found, advice) = visit.finding("clock.written");
            assert_eq!((was, advice.contains("NTP")), (status, true), "{found}");
        }
    }

    async fn a_database_that_does_not_open_or_takes_no_writes_is_named(database) {
        let mut installation = Installation::new(database).await;
        drop(installation.start());
        let url = installation.database.url.clone();
        match installation.database.kind {
            Kind::Postgres => {
                for (setting, check, found) in [
                    ("default_transaction_read_only%3Don", "database.writable", "default_transaction_read_only is on"),
                    ("synchronous_commit%3Doff", "database.durability", "synchronous_commit=off"),
                ] {
                    installation.set("WAYLEAVE_DATABASE__URL", format!("{url}%20-c{setting}"));
                    installation.visit(&[]).fails(check, found, "database");
                }
                let nobody = format!("postgres://wayleave:hidden@127.0.0.1:{}/w", free_port());
                installation.set("WAYLEAVE_DATABASE__URL", nobody);
                let visit = installation.visit(&[]);
                visit.fails("database.open", "no connection within 2 seconds", "database.url");
                assert!(!visit.text.contains("hidden"), "{}", visit.text);
            }
            Kind::Sqlite => {
                // In the middle of the file, where a table is; a clean end moves everything into it.
                installation.migrate();
                let path = installation.database.path("w.db");
                let sound = fs::read(&path).unwrap();
                let mut damaged = sound.clone();
                let page = sound.len() / 2 / 4_096 * 4_096;
                damaged[page..page + 4_096].fill(0xa5);
                fs::write(&path, damaged).unwrap();
                let visit = installation.visit(&[]);
                let (status, found, advice) = visit.finding("database.integrity");
                assert_eq!((status, advice.contains("backup"), visit.code), ("failed", true, Some(1)), "{found}");
                fs::write(&path, "this is no database, and long enough to be looked at by everybody who wants to").unwrap();
                installation.visit(&[]).fails("database.open", "file is not a database", "backup");
                // Where nobody can make a file, whoever they are.
                installation.set("WAYLEAVE_DATABASE__URL", "sqlite:/proc/self/w.db");
                installation.visit(&[]).fails("database.writable", "cannot be written", "database.url");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_clock_of_postgresql_is_asked() {
    let Some(database) = Database::postgresql().await else {
        return;
    };
    let mut installation = Installation::new(database).await;
    // The function that is found first says what the test wants.
    let url = installation.database.url.clone();
    let schema = url.rsplit_once("%3D").unwrap().1.to_owned();
    drop(installation.start());
    installation.set("WAYLEAVE_DATABASE__URL", format!("{url},pg_catalog"));
    let server = installation.start();
    for (ahead, status) in [(-3_600, "failed"), (20, "warning"), (3_600, "failed")] {
        let function = format!(
            "CREATE OR REPLACE FUNCTION {schema}.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE \
             AS 'SELECT pg_catalog.clock_timestamp() + interval ''{ahead} seconds'''"
        );
        installation.sql(&function).await;
        let visit = installation.visit(&[]);
        let (was, found, advice) = visit.finding("clock.database");
        assert_eq!((was, advice.contains("NTP")), (status, true), "{found}");
        assert!(
            found.contains(if ahead < 0 { "ahead" } else { "behind" }),
            "{found}"
        );
    }
    // The running server, too; it looks again when some seconds have gone by, at its start it has not looked yet.
    drop(server);
    let server = Running::start(installation.command(&[]), 3);
    let (status, answer) = server.get("/readyz");
    assert_eq!(status, 503, "{answer}");
    assert!(
        answer.contains("the clock is behind the database"),
        "{answer}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_others_read_or_write_are_named() {
    let mut installation = Installation::new(Database::sqlite()).await;
    installation.migrate();
    let outer = installation.database.folder.path().to_owned();
    let key = installation.folder.join("key");
    chmod(&outer, 0o700);
    chmod(&key, 0o644);
    // Nobody comes through the folder that the test made.
    assert_eq!(
        installation.visit(&[]).finding("configuration.files").0,
        "ok"
    );
    chmod(&outer, 0o755);
    chmod(&installation.folder, 0o755);
    let advice = format!("chmod o= {}", key.display());
    installation.visit(&[]).warns(
        "configuration.files",
        &format!(
            "may read {} (WAYLEAVE_KEYS__ENCRYPTION_KEY_FILE)",
            key.display()
        ),
        &advice,
    );
    chmod(&key, 0o602);
    installation.visit(&[]).fails(
        "configuration.files",
        &format!("may write {}", key.display()),
        &advice,
    );
    chmod(&key, 0o600);

    chmod(&installation.database.path("w.db"), 0o644);
    let visit = installation.visit(&[]);
    visit.warns("configuration.files", "may read", "chmod o= ");
    assert!(
        visit
            .finding("configuration.files")
            .1
            .contains("w.db (database.url)"),
        "{}",
        visit.text
    );
    let mode = fs::metadata(installation.database.path("w.db"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o644, "it was changed");
    // What SQLite makes beside it is as open as the file itself.
    for name in ["w.db", "w.db-wal", "w.db-shm"] {
        chmod(&installation.database.path(name), 0o600);
    }

    let file = installation.folder.join("wayleave.toml");
    fs::write(&file, "").unwrap();
    chmod(&file, 0o644);
    assert_eq!(
        installation.visit(&[]).finding("configuration.files").0,
        "ok"
    );
    installation
        .variables
        .retain(|(name, _)| name != "WAYLEAVE_KEYS__ENCRYPTION_KEY_FILE");
    fs::write(&file, format!("[keys]\nencryption_key = \"{KEY}\"")).unwrap();
    let visit = installation.visit(&[]);
    visit.warns(
        "configuration.files",
        &format!("may read {} (the configuration)", file.display()),
        &format!("chmod o= {}", file.display()),
    );
    assert!(!visit.text.contains(KEY));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_says_which_step_fails() {
    let mut installation = Installation::new(Database::sqlite()).await;
    installation.migrate();
    let client = installation.site.publish("/c.json", json!({}));
    let visit =
        |installation: &Installation, client: &str| installation.visit(&["--client", client]);
    // This machine is not fetched from unless that is for development.
    visit(&installation, &client).fails(
        "client",
        "address: the host resolves to 127.0.0.1",
        "fetch.allow_networks",
    );
    installation.set("WAYLEAVE_DANGER__ALLOW_LOOPBACK_CLIENTS", "true");
    let good = visit(&installation, &client);
    assert_eq!(good.with("failed"), Vec::<&str>::new(), "{}", good.text);
    assert!(
        good.finding("client").1.contains("read and sound"),
        "{}",
        good.text
    );
    good.warns("configuration.danger", "allow_loopback_clients", "= false");

    installation.site.publish(
        "/other.json",
        json!({ "client_id": "https://other.example.com/c" }),
    );
    installation.site.answer(
        "/html",
        Answer::json("<html>").header("content-type", "text/html"),
    );
    installation
        .names
        .say("refused.example.com", Saying::code(REFUSED));
    let nobody = format!("https://{}:{}/c", client_site::HOST, free_port());
    let table = [
        ("http://app.example.com/c".to_owned(), "URL: ", "https URL"),
        ("https://none.example.com/c".to_owned(), "name: ", "dns"),
        ("https://refused.example.com/c".to_owned(), "name: ", "dns"),
        (nobody, "connect: ", "firewall"),
        (installation.site.url("/none"), "HTTP: status 404", "200"),
        (
            installation.site.url("/html"),
            "document: its Content-Type is no JSON: text/html",
            "developer",
        ),
        (
            installation.site.url("/other.json"),
            "document: ",
            "developer",
        ),
    ];
    for (client, found, advice) in table {
        visit(&installation, &client).fails("client", found, advice);
    }
    // Of another authority.
    let stranger = ClientSite::start().await;
    fs::write(installation.folder.join("ca.pem"), &stranger.ca_pem).unwrap();
    visit(&installation, &client).fails("client", "TLS: ", "fetch.extra_ca_file");
    installation.set("WAYLEAVE_FETCH__EXTRA_CA_FILE", "own.pem");
    fs::write(
        installation.folder.join("own.pem"),
        &installation.site.ca_pem,
    )
    .unwrap();
    let good = visit(&installation, &client);
    assert_eq!(good.finding("client").0, "ok", "{}", good.text);
    assert!(
        good.finding("authorities")
            .1
            .contains("1 more of fetch.extra_ca_file /"),
        "{}",
        good.text
    );
    fs::remove_file(installation.folder.join("own.pem")).unwrap();
    let visit = installation.visit(&[]);
    assert_eq!(
        visit.with("failed"),
        ["authorities", "server"],
        "{}",
        visit.text
    );
    assert!(
        visit.finding("authorities").1.contains("own.pem"),
        "{}",
        visit.text
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn name_servers_that_do_not_answer_fail() {
    let mut installation = Installation::new(Database::sqlite()).await;
    installation.migrate();
    for saying in [Saying::nothing(), Saying::code(REFUSED)] {
        installation.names.say("example.com", saying);
        installation.visit(&[]).fails(
            "dns",
            &installation.names.address.to_string(),
            "fetch.nameservers",
        );
    }
    installation.set("WAYLEAVE_FETCH__ALLOW_NETWORKS", "['10.0.0.0/8']");
    installation
        .visit(&[])
        .warns("dns", "no address for example.com", "fetch.allow_networks");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn examples_that_are_not_borne_out_fail() {
    let mut installation = Installation::new(Database::sqlite()).await;
    installation.migrate();
    let example = "[{ client_id = 'https://app.example.com/c', tier = 'approved' }]";
    installation.set("WAYLEAVE_POLICY__EXAMPLES", example);
    let visit = installation.visit(&[]);
    visit.fails(
        "configuration.examples",
        "expected approved, found unknown",
        "wayleave config check",
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_else_answers_at_the_issuer_is_told() {
    let mut installation = Installation::new(Database::sqlite()).await;
    let server = installation.start();
    // The issuer was changed, the server not yet restarted.
    let other = installation
        .value("WAYLEAVE_ISSUER")
        .replace("127.0.0.1", "localhost");
    installation.set("WAYLEAVE_ISSUER", &other);
    installation
        .visit(&[])
        .fails("server.issuer", "http://127.0.0.1:", "restart the server");
    // A proxy that keeps the metadata to itself, and one that is not there.
    installation.set("WAYLEAVE_ISSUER", format!("{other}/auth"));
    installation.visit(&[]).fails(
        "server",
        "status 404, although /healthz there reaches",
        "have the proxy pass",
    );
    installation.set(
        "WAYLEAVE_ISSUER",
        format!("http://127.0.0.1:{}", free_port()),
    );
    installation
        .visit(&[])
        .fails("server", "Connection refused", &server.address.to_string());
    let redirecting = parrot(|_| http("301 Moved", "Location: /\r\n", ""));
    installation.set("WAYLEAVE_ISSUER", format!("http://{redirecting}"));
    installation
        .visit(&[])
        .fails("server", "status 301", "without redirects");

    // One that changes headers.
    let twice = "Access-Control-Allow-Origin: *\r\n".repeat(2);
    let headers = format!("{twice}Content-Type: application/json\r\nCache-Control: no-store\r\n");
    let proxy = parrot(|address| {
        let body = json!({ "issuer": format!("http://{address}") });
        http("200 OK", &headers, &body.to_string())
    });
    installation.set("WAYLEAVE_ISSUER", format!("http://{proxy}"));
    let visit = installation.visit(&[]);
    let found = "access-control-allow-origin comes 2 times; cache-control is \"no-store\" instead of \"public, \
                 max-age=3600\"; x-content-type-options is missing";
    visit.warns(
        "server.proxy",
        found,
        "pass the server's headers as they are",
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_not_ready_says_so_to_the_doctor() {
    let mut installation = Installation::new(Database::sqlite()).await;
    installation.migrate();
    let address = parrot(|_| http("503 Service Unavailable", "", "{}"));
    installation.set("WAYLEAVE_SERVER__LISTEN", address.to_string());
    let visit = installation.visit(&[]);
    let (status, found, _) = visit.finding("server.ready");
    assert_eq!((status, visit.code), ("failed", Some(1)), "{}", visit.text);
    assert!(found.contains("503"), "{found}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_certificate_of_the_issuer_is_watched() {
    let day = |days: i64| rcgen::date_time_ymd(1970, 1, 1) + time::Duration::seconds(days * 86_400);
    let today = i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() / 86_400).unwrap();
    for (ends_in, of_server, of_certificate) in [
        (100, "ok", "ok"),
        (10, "ok", "warning"),
        (-2, "failed", "failed"),
    ] {
        let mut installation = Installation::new(Database::sqlite()).await;
        let mut ca = CertificateParams::default();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let mut leaf = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        leaf.not_after = day(today + ends_in);
        let leaf = leaf.signed_by(&key, &ca).unwrap();
        for (name, text) in [
            ("ca.pem", ca.pem()),
            ("cert.pem", leaf.pem()),
            ("tls.key", key.serialize_pem()),
        ] {
            fs::write(installation.folder.join(name), text).unwrap();
        }
        let issuer = installation
            .value("WAYLEAVE_ISSUER")
            .replace("http://127.0.0.1", "https://localhost");
        installation.set("WAYLEAVE_ISSUER", issuer);
        installation.set("WAYLEAVE_SERVER__TLS__CERT_FILE", "cert.pem");
        installation.set("WAYLEAVE_SERVER__TLS__KEY_FILE", "tls.key");
        installation.migrate();
        // Not running, the file is all there is.
        let stopped = installation.visit(&[]);
        assert_eq!(stopped.finding("server").0, "warning", "{}", stopped.text);
        assert_eq!(
            stopped.finding("server.certificate").0,
            of_certificate,
            "{}",
            stopped.text
        );

        let mut command = installation.command(&["serve"]);
        let mut child = command
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines =
            std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
        assert!(lines.next().unwrap().unwrap().contains("is ready"));
        let visit = installation.visit(&[]);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(visit.finding("server").0, of_server, "{}", visit.text);
        let (status, found, advice) = visit.finding("server.certificate");
        assert_eq!(
            (status, advice.contains("renew")),
            (of_certificate, of_certificate != "ok"),
            "{found}"
        );
        assert!(found.contains("T00:00:00Z"), "{found}");
        if of_server == "ok" {
            assert_eq!(visit.finding("server.proxy").0, "ok", "{}", visit.text);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_hostile_steers_the_terminal() {
    let mut installation = Installation::new(Database::sqlite()).await;
    installation.migrate();
    installation.set("WAYLEAVE_DANGER__ALLOW_LOOPBACK_CLIENTS", "true");
    // As the issuer of the metadata, as a status line and as the type and the text of a document.
    let metadata = json!({ "issuer": "https://\u{1b}]0;pwned-issuer\u{7}\u{202e}" }).to_string();
    let address = parrot(|_| http("404 \u{1b}[2Jpwned-status\u{9b}", "", &metadata));
    installation.set("WAYLEAVE_SERVER__LISTEN", address.to_string());
    let at_issuer = parrot(|_| {
        http(
            "200 OK",
            "Access-Control-Allow-Origin: pwned-header\u{202e}\r\n",
            &metadata,
        )
    });
    installation.set("WAYLEAVE_ISSUER", format!("http://{at_issuer}"));
    let typed = Answer::json("{}").header("content-type", "pwned-type\u{202e}\u{200b}");
    installation.site.answer("/typed", typed);
    let keyed =
        json!({ "\u{1b}[31mpwned-member\u{9b}": 1, "client_id": "\u{1b}[31mpwned-id\u{202e}" })
            .to_string();
    let doubled = keyed.replacen('{', "{\"\\u001b[31mpwned-member\\u009b\": 2, ", 1);
    installation.site.answer("/doubled", Answer::json(doubled));
    let mut said = String::new();
    for path in ["/typed", "/doubled"] {
        let client = installation.site.url(path);
        for arguments in [
            &["doctor", "--client", &client][..],
            &["doctor", "--json", "--client", &client],
        ] {
            let output = run(installation.command(arguments), None);
            assert_eq!(output.status.code(), Some(1));
            said.push_str(&String::from_utf8(output.stdout).unwrap());
            said.push_str(&String::from_utf8(output.stderr).unwrap());
        }
    }
    let hostile = format!("{}\u{1b}[2Jpwned-url\u{202e}", installation.site.url("/"));
    let output = run(
        installation.command(&["doctor", "--client", &hostile]),
        None,
    );
    said.push_str(&String::from_utf8(output.stdout).unwrap());
    for marker in [
        "pwned-issuer",
        "pwned-status",
        "pwned-header",
        "pwned-type",
        "pwned-url",
    ] {
        assert!(said.contains(marker), "{marker}: {said}");
    }
    let steers = |c: &char| c.is_control() && *c != '\n' || ('\u{200b}'..='\u{202e}').contains(c);
    assert_eq!(said.chars().find(steers), None, "{said:?}");
}

/// What `/readyz` says: the status and the reasons.
async fn reasons(server: &TestApp) -> (u16, Vec<String>) {
    let page = server.browser().get("/readyz").await;
    let body = page.json();
    let reasons = body["reasons"].as_array().cloned().unwrap_or_default();
    let expected = if reasons.is_empty() {
        "ready"
    } else {
        "not ready"
    };
    assert_eq!(
        (&body["status"], page.header("cache-control")),
        (&json!(expected), "no-store")
    );
    let reasons = reasons.iter().map(|it| it.as_str().unwrap().to_owned());
    (page.status.as_u16(), reasons.collect())
}

async fn is_ready(server: &TestApp) {
    server.app.clock.advance(6);
    assert_eq!(reasons(server).await, (200, vec![]));
}

/// The numbers of the last step of the schema, and of the one before it.
fn last_steps() -> [usize; 2] {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations");
    let files = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = files
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let mut last = names.iter().rev().map(|name| name[..4].parse().unwrap());
    [last.next().unwrap(), last.next().unwrap()]
}

fn hide_last_step() -> String {
    let [last, _] = last_steps();
    format!("UPDATE _sqlx_migrations SET version = -version WHERE version = {last}")
}

async fn is_not_ready(server: &TestApp, because: &[&str]) {
    server.app.clock.advance(6);
    let because = because.iter().map(|it| (*it).to_owned()).collect();
    assert_eq!(reasons(server).await, (503, because));
}

on_both! {
    async fn readyz_says_every_reason(database) {
        let server = TestApp::new(database).await;
        let sql = async |text: &str| server.app.store.execute_raw(text.to_owned()).await.unwrap();
        is_ready(&server).await;
        // What costs more than a glance is not looked at again at once.
        sql(&hide_last_step()).await;
        assert_eq!(reasons(&server).await, (200, vec![]));
        is_not_ready(&server, &["the schema of the database is older than this program"]).await;
        sql("UPDATE _sqlx_migrations SET version = -version WHERE version < 0").await;
        is_ready(&server).await;

        let newer = "INSERT INTO _sqlx_migrations SELECT 99, description, installed_on, success, checksum, execution_time \
                     FROM _sqlx_migrations WHERE version = 1";
        sql(newer).await;
        is_not_ready(&server, &["the schema of the database is newer than this program"]).await;
        sql("DELETE FROM _sqlx_migrations WHERE version = 99").await;
        sql("UPDATE _sqlx_migrations SET success = FALSE WHERE version = 2").await;
        is_not_ready(&server, &["the schema of the database is not that of this program"]).await;
        sql("UPDATE _sqlx_migrations SET success = TRUE WHERE version = 2").await;
        is_ready(&server).await;

        sql("UPDATE signing_keys SET signs_from = signs_from - 1, private_key = 'plain:' || private_key").await;
        is_not_ready(&server, &["the signing keys cannot be read"]).await;
        sql("UPDATE signing_keys SET created_at = created_at + 1000").await;
        is_not_ready(&server, &["the signing keys cannot be read", "the clock is behind the database"]).await;
        server.app.stopping.store(true, Ordering::Relaxed);
        is_not_ready(&server, &["shutting down", "the signing keys cannot be read", "the clock is behind the database"]).await;
        sql("DELETE FROM signing_keys").await;
        is_not_ready(&server, &["shutting down", "there is no key that signs"]).await;
        server.app.stopping.store(false, Ordering::Relaxed);
        server.app.store.close().await;
        is_not_ready(&server, &["the database does not answer"]).await;
    }

    async fn readyz_notices_a_clock_that_was_set_back(database) {
        let server = TestApp::new(database).await;
        let client = server.site.publish("/c.json", json!({}));
        server.app.clock.advance(600);
        server.refresh_token(&client).await;
        // The key is older: it is the grant that tells.
        server.app.clock.advance(-67 - 6);
        is_not_ready(&server, &["the clock is behind the database"]).await;
        server.app.clock.advance(7 - 6);
        is_ready(&server).await;
    }
}

#[tokio::test]
async fn readyz_logs_a_change_once_and_tells_strangers_no_detail() {
    let log = log::of_this_thread();
    let server = TestApp::new(Database::sqlite()).await;
    let sql = async |text: &str| server.app.store.execute_raw(text.to_owned()).await.unwrap();
    is_ready(&server).await;
    sql(&hide_last_step()).await;
    for _ in 0..3 {
        is_not_ready(
            &server,
            &["the schema of the database is older than this program"],
        )
        .await;
    }
    let count = |text: &str| log.text().matches(text).count();
    assert_eq!(
        (count("\"not ready\""), count("ready again")),
        (1, 0),
        "{}",
        log.text()
    );
    let [last, before] = last_steps();
    let told = format!("the database has step {before}, this program {last}");
    assert_eq!(count(&told), 1);
    let told = server.browser().get("/readyz").await.body;
    assert!(!told.contains("step"), "{told}");
    sql("UPDATE _sqlx_migrations SET version = -version WHERE version < 0").await;
    for _ in 0..3 {
        is_ready(&server).await;
    }
    assert_eq!(
        (count("\"not ready\""), count("ready again")),
        (1, 1),
        "{}",
        log.text()
    );
}
