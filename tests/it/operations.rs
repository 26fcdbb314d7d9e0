//! The command line of grants, and the restore that docs/operations.md describes. All other blocks of the documents are
//! typed by `documents.rs`.

use std::process::Command;

use serde_json::{Value, json};

use crate::{
    process::{Running, run, wayleave},
    support::{Kind, TestApp, on_both},
};

const DOCUMENT: &str = include_str!("../../docs/operations.md");

/// The block of this name.
fn block(name: &str) -> &'static str {
    let (_, rest) = DOCUMENT
        .split_once(&format!("\n```sh {name}\n"))
        .unwrap_or_else(|| panic!("{name}"));
    rest.split("\n```").next().unwrap_or_default()
}

/// The one block marked `sh` that has this text.
fn block_with(text: &str) -> &'static str {
    let mut found = blocks().into_iter().filter(|block| block.contains(text));
    found.next().unwrap_or_else(|| panic!("{text}"))
}

/// The blocks that are marked `sh`, in their order.
fn blocks() -> Vec<&'static str> {
    let mut parts = DOCUMENT.split("\n```");
    let mut blocks = Vec::new();
    _ = parts.next();
    // Fences open and close in turn.
    while let Some(block) = parts.next() {
        if let Some(commands) = block.strip_prefix("sh\n") {
            blocks.push(commands);
        }
        _ = parts.next();
    }
    blocks
}

on_both! {
    /// A server is killed with work in its write-ahead log, and its backup put in place as the document says.
    async fn a_backup_is_restored_as_the_document_says(database) {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        let name = format!("restored-{}", wayleave::secret::random_id().to_lowercase());
        let admin = database.url.split('?').next().unwrap().to_owned();
        let psql = |sql: String| {
            let mut command = Command::new("psql");
            command.args([&admin, "-v", "ON_ERROR_STOP=1", "-c", &sql]);
            let output = run(command, None);
            assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        };
        // A database of its own: the document drops nothing less.
        let url = match database.kind {
            Kind::Sqlite => format!("sqlite:{}", at.join("w.db").display()),
            Kind::Postgres => {
                psql(format!("CREATE DATABASE \"{name}\""));
                format!("{}/{name}", admin.rsplit_once('/').unwrap().0)
            }
        };
        let programs = std::path::Path::new(env!("CARGO_BIN_EXE_wayleave")).parent().unwrap();
        let path = format!("{}:/usr/local/bin:/usr/bin:/bin", programs.display());
        let typed = |block: &str| {
            let mut command = Command::new("bash");
            command.args(["-euo", "pipefail", "-c", block]).current_dir(at).env_clear();
            command.env("PATH", &path).env("WAYLEAVE_DATABASE__URL", &url);
            match database.kind {
                Kind::Sqlite => command.env("SQLITE_FILE", at.join("w.db")),
                Kind::Postgres => command
                    .env("DATABASE_URL", &url).env("ADMIN_URL", &admin).env("DATABASE", &name).env("ROLE", "postgres"),
            };
            let output = run(command, None);
            let told = [output.stdout, output.stderr].concat();
            let told = String::from_utf8_lossy(&told).into_owned();
            assert!(output.status.success(), "{block}\n{told}");
            told
        };
        let start = || {
            let mut command = wayleave(at);
            command.env("WAYLEAVE_DATABASE__URL", &url);
            Running::start(command, 1)
        };
        let add = |name: &str| {
            let mut command = wayleave(at);
            command.env("WAYLEAVE_DATABASE__URL", &url).args(["user", "add", name, "--password-stdin"]);
            assert!(run(command, Some(crate::support::app::PASSWORD)).status.success());
        };
        add("ada");
        let server = start();
        assert_eq!(server.sign_in("", crate::support::app::PASSWORD), 303);
        let backup = match database.kind {
            Kind::Sqlite => "sqlite3 \"$SQLITE_FILE\"",
            Kind::Postgres => "pg_dump",
        };
        typed(block_with(backup));
        add("grace");
        server.kill();
        if database.kind == Kind::Sqlite {
            assert!(std::fs::metadata(at.join("w.db-wal")).unwrap().len() > 0, "the kill leaves a write-ahead log");
        }

        typed(block(match database.kind {
            Kind::Sqlite => "restore-sqlite",
            Kind::Postgres => "restore-postgresql",
        }));
        #[cfg(unix)]
        if database.kind == Kind::Sqlite {
            use std::os::unix::fs::{MetadataExt, PermissionsExt};
            let (file, of) = (std::fs::metadata(at.join("w.db")).unwrap(), std::fs::metadata(at).unwrap());
            assert_eq!((file.permissions().mode() & 0o777, file.uid()), (0o600, of.uid()));
            assert!(!at.join("w.db-wal").exists(), "the old write-ahead log is gone");
        }
        let server = start();
        typed(block("restored"));
        let listed = typed("wayleave user list");
        assert!(listed.contains("ada") && !listed.contains("grace"), "{listed}");
        assert_eq!(server.sign_in("", crate::support::app::PASSWORD), 303);
        assert_eq!(server.get("/readyz").0, 200);
        server.kill();
        if database.kind == Kind::Postgres {
            psql(format!("DROP DATABASE \"{name}\" WITH (FORCE)"));
            psql(format!("DROP DATABASE \"{name}-before\" WITH (FORCE)"));
        }
    }

    async fn grants_are_listed_and_ended_from_the_command_line(database) {
        let server = TestApp::new(database).await;
        let (one, other) = (server.site.publish("/one.json", json!({})), server.site.publish("/other.json", json!({})));
        let tokens = [server.refresh_token(&one).await, server.refresh_token(&other).await];
        let grant = |arguments: &[&str]| {
            let mut command = wayleave(&server.database.path("."));
            command.env("WAYLEAVE_DATABASE__URL", &server.database.url).arg("grant").args(arguments);
            run(command, None)
        };
        let list = |arguments: &[&str]| -> Vec<Value> {
            let output = grant(&[&["list", "--json"], arguments].concat());
            serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
        };
        assert_eq!((list(&[]).len(), list(&["--user", "ada"]).len(), list(&["--user", "grace"]).len()), (2, 2, 0));
        let of_one = list(&["--client", &one]);
        assert_eq!((of_one.len(), &of_one[0]["username"], &of_one[0]["client_id"]), (1, &json!("ada"), &json!(one)));
        let text = String::from_utf8(grant(&["list", "--client", &one]).stdout).unwrap();
        assert!(text.contains(&format!("  ada  {one}  ")) && text.lines().count() == 1, "{text}");

        assert_eq!(grant(&["revoke"]).status.code(), Some(2), "nothing is ended by a slip");
        assert_eq!(grant(&["revoke", "--all", "--user", "ada"]).status.code(), Some(2));
        assert_eq!(grant(&["revoke", "--user", "grace"]).status.code(), Some(1));
        assert_eq!(grant(&["revoke", "--user", "nobody"]).status.code(), Some(1));
        // Of the other client there is no such grant.
        let id = of_one[0]["id"].as_str().unwrap();
        assert_eq!(grant(&["revoke", id, "--client", &other]).status.code(), Some(1));
        assert_eq!(String::from_utf8(grant(&["revoke", id]).stdout).unwrap(), "1 grant and 1 consent ended\n");
        assert_eq!((list(&[]).len(), list(&["--client", &one]).len()), (1, 0));
        assert_eq!(server.refresh(&one, &tokens[0]).await.json()["error"], "invalid_grant");
        let kept = server.refresh(&other, &tokens[1]).await;
        assert_eq!(kept.status, 200, "{}", kept.body);
        assert!(grant(&["revoke", "--all"]).status.success());
        assert_eq!(list(&[]).len(), 0);
    }
}
