//! Configurations that cannot be used, databases that are not there, keys that are lost: what an administrator is told.

use std::{fs, path::Path, process::Command};

use serde_json::Value;

use crate::{
    process::{Running, free_port, run, wayleave},
    support::{Database, Kind, on_both},
};

const SAMPLE: &str = include_str!("../../config/wayleave.toml");
const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const OTHER_KEY: &str = "HxQVFhcYGRobHB0eHwABAgMEBQYHCAkKCwwNDg8QERI=";
/// Words of libraries: no message has them.
const STRANGE: [&str; 7] = [
    "invalid type",
    "invalid digit",
    "os error",
    "u32",
    "serde",
    "KeyMismatch",
    "error returned from database",
];

/// The exit code, and what was said.
fn tell(mut command: Command, arguments: &[&str]) -> (Option<i32>, String) {
    command.args(arguments).stderr(std::process::Stdio::piped());
    let output = run(command, None);
    let told = [output.stdout, output.stderr].concat();
    let told = String::from_utf8_lossy(&told).into_owned();
    for word in STRANGE {
        assert!(!told.contains(word), "{arguments:?}: {told}");
    }
    (output.status.code(), told)
}

/// A folder with the files that the sample names, and another key.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    for (chain, name) in [("fullchain.pem", "key.pem"), ("roots.pem", "other.pem")] {
        let key = rcgen::KeyPair::generate().unwrap();
        let names = vec!["localhost".to_owned()];
        let certificate = rcgen::CertificateParams::new(names).unwrap();
        write(chain, &certificate.self_signed(&key).unwrap().pem());
        write(name, &key.serialize_pem());
    }
    write("key", KEY);
    write("old-key", OTHER_KEY);
    folder
}

fn check(folder: &Path, text: &str) -> (Option<i32>, String) {
    fs::write(folder.join("wayleave.toml"), text).unwrap();
    tell(wayleave(folder), &["config", "check"])
}

/// The blocks of settings that are commented out: from which line to which.
fn blocks() -> Vec<(usize, usize)> {
    let mut blocks: Vec<(usize, usize)> = Vec::new();
    for (number, line) in SAMPLE.lines().enumerate() {
        let is_setting = line.starts_with('#') && line.len() > 1 && !line.starts_with("# ");
        match blocks.last_mut() {
            _ if !is_setting => {}
            Some((_, end)) if *end == number => *end = number + 1,
            _ => blocks.push((number, number + 1)),
        }
    }
    blocks
}

/// The sample with these blocks in force.
fn uncommented(chosen: &[(usize, usize)]) -> String {
    let is_chosen = |number| {
        chosen
            .iter()
            .any(|(from, to)| (*from..*to).contains(&number))
    };
    let lines = SAMPLE.lines().enumerate().map(|(number, line)| {
        let line = match is_chosen(number) {
            true => line.trim_start_matches('#'),
            false => line,
        };
        format!("{line}\n")
    });
    lines.collect()
}

#[test]
fn each_block_of_the_sample_can_be_uncommented() {
    let folder = folder();
    let all = blocks();
    assert!(all.len() >= 10, "{all:?}");
    let text_of = |(from, to): &(usize, usize)| {
        let lines = SAMPLE.lines().skip(*from).take(to - from);
        lines.collect::<Vec<_>>().join("\n")
    };
    let with = |word: &str| *all.iter().find(|it| text_of(it).starts_with(word)).unwrap();
    let try_it = |chosen: &[(usize, usize)]| {
        let mut text = uncommented(chosen);
        // What the sample says of TLS and of development.
        if chosen.iter().any(|it| text_of(it).contains("server.tls")) {
            text = text.replace(
                "issuer = \"http://127.0.0.1:8080\"",
                "issuer = \"https://localhost\"",
            );
        }
        let (code, told) = check(folder.path(), &text);
        assert_eq!(code, Some(0), "{chosen:?}: {told}");
    };
    for block in &all {
        let text = text_of(block);
        let mut chosen = vec![*block];
        if text.contains("notes.example.com/mcp") && !text.starts_with("#[[resources]]") {
            chosen.push(with("#[[resources]]"));
        }
        if text.contains("old_encryption_key_file") {
            chosen.push(with("#encryption_key_file"));
        }
        try_it(&chosen);
    }
    try_it(&all);
}

#[test]
fn config_check_refuses_what_serve_refuses_and_what_can_never_work() {
    let folder = folder();
    let tls = |chain: &str, key: &str| {
        format!(
            "issuer = \"https://localhost\"\n[server.tls]\ncert_file = \"{chain}\"\nkey_file = \"{key}\""
        )
    };
    let notes = "[[resources]]\nid = \"https://notes.example.com/mcp\"\nscopes = { \"notes.read\" = \"Read\" }\n";
    let rule = |more: &str| {
        format!("{notes}[[policy.clients]]\nmatch = \"app.example.com\"\ntier = \"listed\"\n{more}")
    };
    let client =
        |more: &str| format!("{notes}[[clients.registered]]\nclient_id = \"wiki\"\n{more}");
    let redirect = "redirect_uris = [\"https://wiki.example.com/cb\"]\n";
    let hash = format!("client_secret_sha256 = \"{}\"\n", "A".repeat(43));
    let table = [
        (
            "[keys]\nencryption_key = \"short\"".to_owned(),
            "keys.encryption_key: expected 32 bytes",
        ),
        (
            format!("[keys]\nencryption_key = \"{KEY}\"\nold_encryption_key = \"short\""),
            "keys.old_encryption_key: expected 32 bytes",
        ),
        (
            "[keys]\nold_encryption_key_file = \"old-key\"".to_owned(),
            "beside it",
        ),
        (
            "[keys]\nencryption_key_file = \"none\"".to_owned(),
            "expected a readable file at /",
        ),
        (
            tls("fullchain.pem", "other.pem"),
            "it belongs to another certificate",
        ),
        (tls("key", "key.pem"), "expected a PEM certificate chain"),
        (tls("none.pem", "key.pem"), "No such file or directory"),
        (
            "[fetch]\nextra_ca_file = \"none.pem\"".to_owned(),
            "fetch.extra_ca_file",
        ),
        (
            "[log]\nfilter = \"a=b=c\"".to_owned(),
            "log.filter: expected a filter such as info",
        ),
        (
            "[metrics]\nlisten = \"127.0.0.1:8080\"".to_owned(),
            "metrics.listen: expected another port than server.listen",
        ),
        (
            "[server]\nlisten = \"here\"".to_owned(),
            "expected host:port such as 127.0.0.1:8080",
        ),
        (
            "[server]\ntrusted_proxies = [\"here\"]".to_owned(),
            "expected a network such as 10.0.0.0/8",
        ),
        (
            "[fetch]\ntimeout = 1\ntimeout = 2".to_owned(),
            "line 3: fetch.timeout is written twice",
        ),
        (
            rule("scopes = [\"notes.raed\"]"),
            "no resource has the scope notes.raed",
        ),
        (
            rule("resources = [\"https://notes.example.com/mpc\"]"),
            "there is no resource https://notes.example.com/mpc",
        ),
        (
            client(&format!("{redirect}scope = \"openid notes.raed\"")),
            "no resource has the scope notes.raed",
        ),
        (
            client(&format!(
                "{hash}resources = [\"https://other.example.com/\"]"
            )),
            "there is no resource https://other",
        ),
        (client(&hash), "it can do nothing"),
        (client("grant_types = [\"client_credentials\"]"), "wiki"),
        (
            client(&format!("{redirect}client_secret_sha256 = \"secret\"")),
            "wayleave client hash-secret",
        ),
    ];
    for (text, expected) in &table {
        let (code, told) = check(folder.path(), text);
        assert_eq!(code, Some(2), "{text}: {told}");
        assert!(
            told.contains(expected),
            "{text}\n got {told}\nwant {expected}"
        );
    }
    let right = [
        tls("fullchain.pem", "key.pem"),
        rule(
            "scopes = [\"notes.read\", \"openid\", \"offline_access\"]\nresources = [\"https://notes.example.com/mcp/\"]",
        ),
        client(&format!("{redirect}{hash}scope = \"openid notes.read\"")),
        client(&format!(
            "{hash}resources = [\"https://notes.example.com/mcp\"]"
        )),
        client(&format!("{hash}grant_types = [\"client_credentials\"]")),
    ];
    for text in &right {
        let (code, told) = check(folder.path(), text);
        assert_eq!(code, Some(0), "{text}: {told}");
    }

    // The commands that write rules and registrations have the same eyes.
    fs::write(folder.path().join("wayleave.toml"), notes).unwrap();
    let done = |arguments: &[&str]| tell(wayleave(folder.path()), arguments);
    assert_eq!(done(&["migrate"]).0, Some(0));
    for (arguments, expected) in [
        (
            &[
                "client",
                "trust",
                "app.example.com",
                "--scope",
                "notes.raed",
            ][..],
            "no resource has the scope",
        ),
        (
            &[
                "client",
                "add",
                "api",
                "--resource",
                "https://other.example.com/",
            ],
            "there is no resource",
        ),
        (&["client", "add", "api"], "it can do nothing"),
        (
            &["client", "trust", "app.example.com", "--access", "soon"],
            "expected a whole number from 0",
        ),
    ] {
        let (code, told) = done(arguments);
        assert_eq!(
            (code, told.contains(expected)),
            (Some(2), true),
            "{arguments:?}: {told}"
        );
    }
}

#[test]
fn hash_secret_makes_what_the_file_wants() {
    let folder = folder();
    let client = |line: &str| {
        format!(
            "[[clients.registered]]\nclient_id = \"wiki\"\nredirect_uris = [\"https://wiki.example.com/cb\"]\n{line}"
        )
    };
    let (code, made) = tell(wayleave(folder.path()), &["client", "hash-secret"]);
    assert!(code == Some(0) && made.contains("wl_cs_"), "{made}");
    assert_eq!(
        check(folder.path(), &client(&made)).0,
        Some(0),
        "as it was printed"
    );

    let given = |secret: &str| {
        let mut command = wayleave(folder.path());
        command.args(["client", "hash-secret", "--secret-stdin", "--json"]);
        run(command, Some(secret))
    };
    let output = given("a secret that another made 1\n");
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let hash = wayleave::secret::SecretHash::<wayleave::secret::ClientSecret>::of_bytes(
        b"a secret that another made 1",
    );
    assert_eq!(
        (
            told["client_secret_sha256"].as_str(),
            told["client_secret"].is_null()
        ),
        (Some(hash.as_str()), true)
    );
    assert_eq!(
        given("hunter2\n").status.code(),
        Some(2),
        "it can be guessed"
    );
    assert!(
        !folder.path().join("wayleave-data").exists(),
        "it needs no database"
    );
}

#[test]
fn only_some_commands_make_a_database_and_the_others_name_it() {
    let folder = folder();
    let elsewhere = tempfile::tempdir().unwrap();
    let file = folder.path().join("wayleave.toml");
    let listen = format!("127.0.0.1:{}", free_port());
    fs::write(
        &file,
        format!("[server]\nlisten = \"{listen}\"\n[database]\nurl = \"sqlite:data/w.db\""),
    )
    .unwrap();
    let database = folder.path().join("data/w.db");
    let at = |arguments: &[&str]| {
        let mut command = wayleave(elsewhere.path());
        command.arg("--config").arg(&file);
        tell(command, arguments)
    };
    for arguments in [
        &["user", "list"][..],
        &["user", "disable", "ada"],
        &["user", "unlock", "ada"],
        &["client", "list"],
        &["client", "block", "evil.example.com"],
        &[
            "client",
            "add",
            "wiki",
            "--redirect-uri",
            "https://wiki.example.com/cb",
        ],
        &["grant", "list"],
        &["grant", "revoke", "--all"],
        &["key", "list"],
        &["key", "reset", "--yes"],
        &["explain", "https://app.example.com/c"],
    ] {
        let (code, told) = at(arguments);
        assert_eq!(code, Some(1), "{arguments:?}: {told}");
        assert!(
            told.contains(&format!("sqlite:{}", database.display())),
            "{arguments:?}: {told}"
        );
        assert!(
            !database.parent().unwrap().exists(),
            "{arguments:?} made it"
        );
    }
    for arguments in [&["doctor"][..], &["config", "show"]] {
        let (_, told) = at(arguments);
        assert!(told.contains(&database.display().to_string()), "{told}");
    }
    let (code, told) = at(&["migrate"]);
    assert!(
        code == Some(0) && told.contains(&database.display().to_string()),
        "{told}"
    );
    assert!(database.exists());
    assert_eq!(at(&["user", "list"]).0, Some(0));
    // An empty file is no database either.
    fs::write(&database, "").unwrap();
    let (code, told) = at(&["user", "list"]);
    assert!(
        code == Some(1) && told.contains("no tables of this program"),
        "{told}"
    );
}

on_both! {
    async fn a_command_says_so_when_the_server_uses_another_database(database) {
        let folder = folder();
        let server = Running::start(wayleave(folder.path()), 3);
        let with = |url: &str, arguments: &[&str]| {
            let mut command = wayleave(folder.path());
            command.env("WAYLEAVE_SERVER__LISTEN", server.address.to_string()).env("WAYLEAVE_DATABASE__URL", url);
            tell(command, arguments)
        };
        let own = format!("sqlite:{}", folder.path().join("wayleave-data/wayleave.db").display());
        let (code, told) = with(&own, &["user", "list"]);
        assert_eq!((code, told.as_str()), (Some(0), "There are no accounts.\n"));
        let warning = format!("the server that runs at {} uses another database", server.address);
        let (code, told) = with(&database.url, &["user", "list"]);
        assert!(code == Some(1) && told.contains(&warning), "{told}");
        let (code, told) = with(&database.url, &["migrate"]);
        assert!(code == Some(0) && told.contains(&warning), "{told}");
        let (code, told) = with(&database.url, &["user", "list"]);
        assert!(code == Some(0) && told.contains(&warning), "{told}");
    }

    async fn every_command_names_a_schema_that_is_newer_than_the_program(database) {
        let folder = folder();
        let with = |arguments: &[&str]| {
            let mut command = wayleave(folder.path());
            command.env("WAYLEAVE_DATABASE__URL", &database.url);
            command.env("WAYLEAVE_SERVER__LISTEN", format!("127.0.0.1:{}", free_port()));
            tell(command, arguments)
        };
        assert_eq!(with(&["migrate"]).0, Some(0));
        let store = wayleave::store::Store::open(&database.parsed(), 1).await.unwrap();
        let newer = "INSERT INTO _sqlx_migrations SELECT 99, description, installed_on, success, checksum, execution_time \
                     FROM _sqlx_migrations WHERE version = 1";
        store.execute_raw(newer.to_owned()).await.unwrap();
        store.close().await;
        let version = format!("this program, wayleave {}", env!("CARGO_PKG_VERSION"));
        for arguments in [&["serve"][..], &["migrate"], &["user", "list"], &["key", "list"], &["client", "list"], &["doctor"]] {
            let (code, told) = with(arguments);
            assert_eq!(code, Some(1), "{arguments:?}: {told}");
            for part in ["step 99", &version, "install the wayleave that migrated"] {
                assert!(told.contains(part), "{arguments:?}: {told}");
            }
        }
    }

    async fn a_lost_encryption_key_is_begun_anew_without(database) {
        let folder = folder();
        let with = |key: &str| {
            let mut command = wayleave(folder.path());
            command.env("WAYLEAVE_DATABASE__URL", &database.url);
            command.env("WAYLEAVE_KEYS__ENCRYPTION_KEY", key);
            command
        };
        let server = Running::start(with(KEY), 3);
        if database.kind == Kind::Sqlite {
            let (code, told) = tell(with(KEY), &["key", "reset", "--yes"]);
            assert!(code == Some(1) && told.contains("stop the server first"), "{told}");
        }
        server.stop();
        let (code, told) = tell(with(OTHER_KEY), &["key", "list"]);
        assert!(code != Some(0) && told.contains("the database's keys were encrypted"), "{told}");
        let (code, told) = tell(with(OTHER_KEY), &["key", "reset"]);
        assert!(code == Some(2) && told.contains("deletes 3 signing keys and ends 0 grants"), "{told}");
        assert!(tell(with(KEY), &["key", "list"]).1.contains("signs since"), "nothing was changed");
        let (code, told) = tell(with(OTHER_KEY), &["key", "reset", "--yes"]);
        assert!(code == Some(0) && told.contains("3 signing keys deleted"), "{told}");
        let (code, told) = tell(with(OTHER_KEY), &["key", "list"]);
        assert!(code == Some(0) && told.lines().count() == 3, "{told}");
        let server = Running::start(with(OTHER_KEY), 3);
        assert_eq!(server.get("/readyz").0, 200);
    }
}

#[tokio::test]
async fn postgresql_that_refuses_is_told_from_one_that_is_not_there() {
    let Some(database) = Database::postgresql().await else {
        return;
    };
    let folder = folder();
    let url = url::Url::parse(&database.url).unwrap();
    let with = |change: &dyn Fn(&mut url::Url)| {
        let mut url = url.clone();
        change(&mut url);
        let mut command = wayleave(folder.path());
        command.env("WAYLEAVE_DATABASE__URL", url.as_str());
        tell(command, &["user", "list"])
    };
    let (code, told) = with(&|url| url.set_path("/there-is-none"));
    assert_eq!(code, Some(1), "{told}");
    assert!(
        told.contains("PostgreSQL answers, and has no such database"),
        "{told}"
    );
    let (code, told) = with(&|url| url.set_username("stranger").unwrap());
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("PostgreSQL answers, and "), "{told}");
    let port = free_port();
    let nowhere = format!("postgres://u:hidden@127.0.0.1:{port}/w");
    let (code, told) = with(&|url| *url = url::Url::parse(&nowhere).unwrap());
    assert!(
        code == Some(1) && told.contains("no PostgreSQL answers there"),
        "{told}"
    );
    assert!(!told.contains("hidden"), "{told}");
}

/// `systemctl` and `systemd-run`, as far as the wrapper uses them.
#[cfg(unix)]
#[test]
fn wayleavectl_runs_commands_as_the_unit_runs_the_server() {
    use std::os::unix::fs::PermissionsExt;
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/systemd/wayleavectl");
    let parsed = Command::new("sh").args(["-n", script]).status().unwrap();
    assert!(parsed.success());
    fs::create_dir(at("bin")).unwrap();
    fs::create_dir(at("state")).unwrap();
    let write = |name: &str, text: &str| {
        fs::write(at(name), text).unwrap();
        fs::set_permissions(at(name), fs::Permissions::from_mode(0o755)).unwrap();
    };
    let unit = include_str!("../../examples/systemd/wayleave.service")
        .replace("/usr/local/bin/wayleave", env!("CARGO_BIN_EXE_wayleave"))
        .replace(
            "/etc/wayleave/encryption_key",
            &at("key").display().to_string(),
        )
        .replace("/etc/wayleave", &folder.path().display().to_string())
        .replace("/var/lib/wayleave", &at("state").display().to_string());
    write("unit", &unit);
    fs::write(at("wayleave.toml"), "").unwrap();
    write(
        "bin/systemctl",
        &format!(
            "#!/bin/sh\n[ \"$1 $2\" = 'cat wayleave.service' ] && cat '{}'\n",
            at("unit").display()
        ),
    );
    write("bin/systemd-run", include_str!("support/systemd-run.sh"));
    let with = |arguments: &[&str]| {
        let stdin = arguments
            .contains(&"--password-stdin")
            .then_some("correct horse battery\n");
        let mut command = Command::new("sh");
        command
            .arg(script)
            .args(arguments)
            .env_clear()
            .current_dir("/");
        command.env("PATH", format!("{}:/usr/bin:/bin", at("bin").display()));
        command.env("FAKE_CREDENTIALS", at("credentials"));
        let output = run(command, stdin);
        let told = [output.stdout, output.stderr].concat();
        (
            output.status.code(),
            String::from_utf8_lossy(&told).into_owned(),
        )
    };
    let name = "Ada \"of\" $HOME Lovelace";
    let (code, told) = with(&["user", "add", "ada", "--name", name, "--password-stdin"]);
    assert_eq!(code, Some(0), "{told}");
    let (code, told) = with(&["user", "list", "--json"]);
    assert_eq!(code, Some(0), "{told}");
    let listed: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(listed[0]["name"], name);
    assert!(at("state/wayleave.db").exists(), "the database of the unit");
    // What it makes is encrypted with the credential of the unit.
    assert_eq!(with(&["key", "list"]).0, Some(0));
    let told = with(&["config", "show"]).1;
    assert!(
        told.contains("encryption_key = \"…\"") || told.contains("encryption_key"),
        "{told}"
    );
    assert_eq!(
        with(&["user", "disable", "nobody"]).0,
        Some(1),
        "exit codes come through"
    );
}
