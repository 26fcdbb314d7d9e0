//! The command line of grants. What docs/operations.md tells administrators to type is typed by `documents.rs`.

use serde_json::{Value, json};

use crate::{
    process::{run, wayleave},
    support::{TestApp, on_both},
};

on_both! {
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
