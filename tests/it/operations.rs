//! What docs/operations.md tells administrators to type, typed; and the command line of grants.

use std::process::Command;

use serde_json::{Value, json};

use crate::{
    process::{Running, free_port, run, wayleave},
    support::{Kind, TestApp, on_both},
};

const DOCUMENT: &str = include_str!("../../docs/operations.md");

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
    async fn what_the_document_says_can_be_typed(database) {
        let blocks = blocks();
        assert!(blocks.len() >= 12, "{}", blocks.len());
        let folder = tempfile::tempdir().unwrap();
        let metrics = format!("127.0.0.1:{}", free_port());
        let with = |mut command: Command| {
            command.env("WAYLEAVE_DATABASE__URL", &database.url).env("WAYLEAVE_METRICS__LISTEN", &metrics);
            command
        };
        let server = Running::start(with(wayleave(folder.path())), 3);
        let issuer = format!("http://{}", server.address);
        let programs = std::path::Path::new(env!("CARGO_BIN_EXE_wayleave")).parent().unwrap();
        let path = format!("{}:/usr/local/bin:/usr/bin:/bin", programs.display());
        for block in blocks {
            let mut command = Command::new("bash");
            command.args(["-euo", "pipefail", "-c", block]).current_dir(folder.path()).env_clear();
            let mut command = with(command);
            command
                .env("PATH", &path)
                .env("ISSUER", &issuer)
                .env("WAYLEAVE_ISSUER", &issuer)
                .env("WAYLEAVE_SERVER__LISTEN", server.address.to_string())
                .env("METRICS", format!("http://{metrics}"));
            match database.kind {
                Kind::Sqlite => command.env("SQLITE_FILE", database.url.strip_prefix("sqlite:").unwrap()),
                Kind::Postgres => command.env("DATABASE_URL", &database.url),
            };
            let output = run(command, None);
            assert!(output.status.success(), "{block}\n{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        }
        let backup = match database.kind {
            Kind::Sqlite => "wayleave-backup.db",
            Kind::Postgres => "wayleave-backup.dump",
        };
        let written = std::fs::metadata(folder.path().join(backup)).unwrap().len();
        assert!(written > 10_000, "{written}");
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
        assert_eq!(String::from_utf8(grant(&["revoke", id]).stdout).unwrap(), "1 grant ended\n");
        assert_eq!((list(&[]).len(), list(&["--client", &one]).len()), (1, 0));
        assert_eq!(server.refresh(&one, &tokens[0]).await.json()["error"], "invalid_grant");
        let kept = server.refresh(&other, &tokens[1]).await;
        assert_eq!(kept.status, 200, "{}", kept.body);
        assert!(grant(&["revoke", "--all"]).status.success());
        assert_eq!(list(&[]).len(), 0);
    }
}
