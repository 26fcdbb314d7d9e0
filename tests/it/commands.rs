//! The command line as a whole: clients of every kind, grants, consents and sessions; JSON, exit codes, colours.

use serde_json::{Value, json};

use wayleave::clients::Need;

use crate::{
    process::{run, wayleave},
    support::{
        Page, TestApp,
        app::{Flow, VERIFIER, anybody},
        on_both,
    },
};

/// What a command said, and how it ended.
struct Said {
    code: i32,
    out: String,
    err: String,
}

impl Said {
    fn json(&self) -> Value {
        let read = serde_json::from_str(&self.out);
        read.unwrap_or_else(|error| panic!("{error}: {} {}", self.out, self.err))
    }
}

fn tell_with(server: &TestApp, variables: &[(&str, &str)], arguments: &[&str]) -> Said {
    let mut command = wayleave(&server.database.path("."));
    command
        .env("WAYLEAVE_DATABASE__URL", &server.database.url)
        .envs(variables.iter().copied())
        .args(arguments);
    let output = run(command, None);
    Said {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

fn tell(server: &TestApp, arguments: &[&str]) -> Said {
    tell_with(server, &[], arguments)
}

/// A command that is done, and that the server has noticed.
async fn done(server: &TestApp, arguments: &[&str]) -> Said {
    let said = tell(server, arguments);
    assert_eq!(said.code, 0, "{arguments:?}: {} {}", said.out, said.err);
    server.app.clients.notice_changes().await.unwrap();
    said
}

/// Registers `wiki`, with a secret that it sends in the form.
async fn register(server: &TestApp, name: &str) -> String {
    let callback = server.site.url("/callback");
    let add = [
        "client",
        "add",
        name,
        "--redirect-uri",
        &callback,
        "--method",
        "client_secret_post",
        "--json",
    ];
    let told = done(server, &add).await.json();
    told["client_secret"].as_str().unwrap().to_owned()
}

async fn redeem(server: &TestApp, flow: &Flow, code: &str, secret: &str) -> Page {
    let fields = [
        ("grant_type", "authorization_code"),
        ("code", code),
        ("client_id", flow.get("client_id")),
        ("client_secret", secret),
        ("redirect_uri", flow.get("redirect_uri")),
        ("code_verifier", VERIFIER),
    ];
    server.token(&fields).await
}

async fn refresh(server: &TestApp, client: &str, secret: &str, token: &str) -> Page {
    let fields = [
        ("grant_type", "refresh_token"),
        ("refresh_token", token),
        ("client_id", client),
        ("client_secret", secret),
    ];
    server.token(&fields).await
}

/// Does the person have to answer before the client gets its code?
async fn is_asked(server: &TestApp, client: &str) -> bool {
    let mut browser = server.signed_in().await;
    browser
        .open(&server.flow(client).target())
        .await
        .location()
        .is_none()
}

on_both! {
    async fn a_registered_client_is_really_blocked(database) {
        let server = TestApp::new(database).await;
        let other = server.restart().await;
        let secret = register(&server, "wiki").await;
        other.app.clients.notice_changes().await.unwrap();
        let flow = server.flow("wiki");
        let mut browser = server.signed_in().await;
        let code = server.code(&mut browser, &flow).await;
        let tokens = redeem(&server, &flow, &code, &secret).await.json();
        let (access, token) = (tokens["access_token"].as_str().unwrap(), tokens["refresh_token"].as_str().unwrap());
        let pending = server.code(&mut browser, &flow).await;
        let question = browser.open(&flow.clone().with("prompt", "consent").target()).await;
        let api = register(&server, "api").await;
        assert_eq!(refresh(&server, "wiki", &secret, token).await.status, 200);

        let said = done(&server, &["client", "block", "wiki", "--note", "Phishing"]).await;
        assert!(said.out.starts_with("name:wiki: blocked from now on; 1 grant and 2 running logins of 1 client ended"), "{}", said.out);
        other.app.clients.notice_changes().await.unwrap();

        let page = refresh(&server, "wiki", &secret, token).await;
        assert!(page.status == 401 || page.status == 400, "{}", page.body);
        let page = redeem(&server, &flow, &pending, &secret).await;
        assert!(page.status == 401 || page.status == 400, "{}", page.body);
        assert_eq!(browser.submit(&question, &[("decision", "allow")]).await.status, 400);
        let page = browser.get(&flow.target()).await;
        assert!(page.status == 400 && page.body.contains("policy.blocked"), "{}", page.body);
        // The other server has noticed, too.
        let page = other.signed_in().await.get(&flow.target()).await;
        assert!(page.status == 400 && page.body.contains("policy.blocked"), "{}", page.body);
        // It authenticates for nothing, not even to ask about a token; others still do.
        let ask = |client: &'static str, secret: String| {
            let (server, access) = (&server, access.to_owned());
            async move {
                let fields = [("token", access.as_str()), ("client_id", client), ("client_secret", secret.as_str())];
                server.browser().post("/introspect", &fields).await
            }
        };
        assert_eq!(ask("wiki", secret.clone()).await.status, 401);
        let answer = ask("api", api.clone()).await;
        assert!(answer.status != 200 || answer.json()["active"] == false, "{}", answer.body);
        let userinfo = server.call("/userinfo", &[], &[("authorization", &format!("Bearer {access}"))]).await;
        assert_eq!(userinfo.status, 401, "{}", userinfo.body);

        // What is there says so.
        let shown = done(&server, &["client", "show", "wiki", "--json"]).await.json();
        assert_eq!(
            (&shown["known_by"], &shown["tier"], &shown["rule"]["match"], &shown["grants"], &shown["from"]),
            (&json!("registered"), &json!("blocked"), &json!("name:wiki"), &json!(0), &json!("database"))
        );
        assert_eq!(shown["registration"]["redirect_uris"], json!([server.site.url("/callback")]));
        assert!(!shown.to_string().contains("sha256"), "{shown}");
        let text = done(&server, &["client", "show", "wiki"]).await.out;
        for part in ["known by    registered", "standing    blocked: the rule name:wiki blocks it", "note: Phishing", "secret      "] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let history = done(&server, &["client", "history", "wiki"]).await;
        assert!(history.out.contains("  blocked  rule name:wiki: 1 grants and 2 logins ended"), "{}", history.out);
        assert!(history.err.contains("it has no document with versions"), "{}", history.err);
        let policy = done(&server, &["client", "check-policy", "wiki"]).await.out;
        assert!(policy.starts_with("blocked: the rule name:wiki") && policy.contains("do not apply to a registered client"), "{policy}");
        let explained = tell(&server, &["explain", "wiki"]);
        assert!(explained.code == 1 && explained.out.contains("FAIL         policy.blocked"), "{}", explained.out);
        assert!(explained.out.contains("Nothing is fetched"), "{}", explained.out);

        // Taken back, it is as before; what ended stays ended.
        done(&server, &["client", "forget", "wiki"]).await;
        assert!(refresh(&server, "wiki", &secret, token).await.status != 200);
        assert!(is_asked(&server, "wiki").await);
        let code = server.code(&mut browser, &flow).await;
        assert_eq!(redeem(&server, &flow, &code, &secret).await.status, 200);
        let explained = done(&server, &["explain", "wiki"]).await.out;
        assert!(explained.contains("This server accepts the client.") && explained.contains("2 rules: 2 pass, 0 fail, 0 not reached"), "{explained}");
    }

    async fn a_registered_client_is_trusted_as_far_as_a_rule_says(database) {
        let server = TestApp::new(database).await;
        let secret = register(&server, "wiki").await;
        // Its tier stays, and the rule is a ceiling.
        let said = done(&server, &["client", "trust", "wiki", "--access", "60", "--consent-text", "Ours"]).await;
        assert_eq!(said.out, "name:wiki: approved from now on\n");
        let flow = server.flow("wiki");
        let mut browser = server.signed_in().await;
        let page = browser.open(&flow.target()).await;
        assert!(page.body.contains("Ours"), "{}", page.body);
        let code = server.code(&mut browser, &flow).await;
        let tokens = redeem(&server, &flow, &code, &secret).await.json();
        assert_eq!(tokens["expires_in"], 60);
        // As one of ours nobody is asked.
        done(&server, &["client", "trust", "wiki", "--tier", "first_party"]).await;
        done(&server, &["consent", "revoke", "--client", "wiki"]).await;
        assert!(!is_asked(&server, "wiki").await);
        // What only a document can keep does not apply, and says so.
        for option in [&["--same-origin", "logo_uri"][..], &["--auth-method", "none"], &["--no-logo"], &["--legacy-assertions"]] {
            let said = tell(&server, &[&["client", "trust", "wiki"], option].concat());
            assert!(said.code == 2 && said.err.contains("its registration says these"), "{option:?}: {}", said.err);
        }
        let said = tell(&server, &["client", "refresh", "wiki"]);
        assert!(said.code == 1 && said.err.contains("there is no document to read"), "{}", said.err);
        // Its registration goes; the rule is told apart from it.
        assert!(tell(&server, &["client", "forget", "nothing.example.com"]).err.contains("`wayleave client rules` shows"));
        done(&server, &["client", "forget", "name:wiki"]).await;
        let said = tell(&server, &["client", "forget", "wiki"]);
        assert!(said.code == 1 && said.err.contains("`wayleave client remove` removes"), "{}", said.err);
        done(&server, &["client", "remove", "wiki"]).await;
    }

    async fn an_unknown_name_is_an_error(database) {
        let server = TestApp::new(database).await;
        register(&server, "wiki.example.com").await;
        for arguments in [
            &["client", "block", "wikii"][..],
            &["client", "trust", "wikii"],
            &["client", "block", "apps/wiki:2"],
            &["client", "block", "name:wikii"],
            &["client", "show", "wikii"],
            &["client", "history", "wikii"],
            &["client", "check-policy", "wikii"],
            &["client", "refresh", "wikii"],
            &["explain", "wikii"],
            &["grant", "list", "--client", "wikii"],
            &["consent", "list", "--client", "wikii"],
        ] {
            let said = tell(&server, arguments);
            assert_eq!((said.code, said.out.as_str()), (1, ""), "{arguments:?}: {}", said.err);
            assert!(said.err.contains("no client is registered as"), "{arguments:?}: {}", said.err);
        }
        // A name that is a host as well is neither by guess.
        let said = tell(&server, &["client", "block", "wiki.example.com"]);
        assert!(said.code == 2 && said.err.contains("write name:wiki.example.com for the client"), "{}", said.err);
        done(&server, &["client", "block", "name:wiki.example.com"]).await;
        done(&server, &["client", "block", "https://wiki.example.com/*"]).await;
        // A host that nobody has seen may be blocked all the same.
        done(&server, &["client", "block", "evil.example.net"]).await;
        for (arguments, code) in [
            (&["client", "block", "*.com"][..], 2),
            (&["client", "show", "http://a.example.com/c"], 2),
            (&["client", "show", "https://a.example.com/never"], 1),
            (&["client", "history", "https://a.example.com/never"], 1),
            (&["grant", "list", "--client", "http://a.example.com/c"], 2),
        ] {
            assert_eq!(tell(&server, arguments).code, code, "{arguments:?}");
        }
    }

    async fn all_clients_are_in_one_list(database) {
        let server = TestApp::with(database, &[("WAYLEAVE_ISSUER", "https://id.example.com"), ("WAYLEAVE_DEVELOPMENT__CLIENTS", "true")]).await;
        let development = [("WAYLEAVE_ISSUER", "https://id.example.com"), ("WAYLEAVE_DEVELOPMENT__CLIENTS", "true")];
        let list = |more: &[&str]| tell_with(&server, &development, &[&["client", "list"], more].concat());
        let said = list(&[]);
        assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (0, "", "There are no such clients.\n"));
        assert_eq!(list(&["--json"]).json(), json!([]));
        register(&server, "wiki").await;
        let documents = ["/a.json", "/b.json"].map(|path| server.site.publish(path, json!({})));
        for id in &documents {
            server.app.clients.client(&id.parse().unwrap(), Need::Fetch(anybody()), server.app.clock.now()).await.unwrap();
        }
        done(&server, &["client", "trust", "https://named.example.com/client.json"]).await;
        done(&server, &["client", "trust", &documents[0]]).await;
        let ada = server.app.store.account("ada").await.unwrap().unwrap();
        let now = wayleave::time::Clock::system().now();
        let url = "https://id.example.com/dev-clients/AAAAAAAAAAAAAAAAAAAAAA.json";
        let document = json!({ "client_id": url, "redirect_uris": ["http://127.0.0.1/cb"], "token_endpoint_auth_method": "none" });
        let new = wayleave::store::NewDevClient {
            id: "AAAAAAAAAAAAAAAAAAAAAA".to_owned(), subject: ada.subject, document: document.to_string(), expires_at: now + 3_600,
        };
        assert!(server.app.store.add_dev_client(new, now, 5).await.unwrap());

        let all = list(&["--json"]).json();
        let known: Vec<_> = all.as_array().unwrap().iter().map(|it| {
            (it["client_id"].as_str().unwrap(), it["known_by"].as_str().unwrap(), it["tier"].as_str().unwrap())
        }).collect();
        let mut expected = vec![
            ("wiki", "registered", "approved"),
            (documents[0].as_str(), "document", "listed"),
            (documents[1].as_str(), "document", "unknown"),
            (url, "development", "unknown"),
            ("https://named.example.com/client.json", "rule", "listed"),
        ];
        assert_eq!(known.len(), expected.len(), "{known:?}");
        expected.retain(|it| !known.contains(it));
        assert!(expected.is_empty(), "{expected:?}: {known:?}");
        let fetched = all.as_array().unwrap().iter().find(|it| it["known_by"] == "document").unwrap();
        assert_eq!(fetched["fetched_at"], "2027-01-15T08:00:00Z", "{fetched}");

        let said = list(&["--limit", "2"]);
        assert_eq!((said.out.lines().count(), said.err.as_str()), (2, "There are more than 2: see --limit.\n"));
        let said = list(&["--known-by", "development"]);
        assert!(said.out.starts_with(&format!("{url}  development  unknown  0 grants of 0 people  of ada, until ")), "{}", said.out);
        assert_eq!(list(&["--limit", "0"]).code, 2);
        // One in development is shown, judged and blocked as any other.
        let client = |command: &str| tell_with(&server, &development, &["client", command, url]);
        let shown = client("show");
        assert!(shown.out.contains("known by    development") && shown.out.contains("http://127.0.0.1/cb"), "{} {}", shown.out, shown.err);
        assert!(client("check-policy").out.starts_with("unknown: "));
        assert_eq!(client("block").code, 0);
        assert!(client("check-policy").out.starts_with("blocked: "));
        assert!(client("history").code == 1 || client("history").out.contains("blocked"));
    }

    async fn revoking_lasts(database) {
        let server = TestApp::new(database).await;
        let client = server.site.publish("/c.json", json!({}));
        let token = server.refresh_token(&client).await;
        assert!(!is_asked(&server, &client).await);
        let consents = done(&server, &["consent", "list", "--json"]).await.json();
        assert_eq!((&consents[0]["username"], &consents[0]["client_id"]), (&json!("ada"), &json!(client)));
        assert!(consents[0]["scope"].is_array() && consents[0]["granted_at"] == "2027-01-15T08:00:00Z", "{consents}");

        // With its consent kept the app comes back by itself.
        let said = done(&server, &["grant", "revoke", "--client", &client, "--keep-consents"]).await;
        assert_eq!(said.out, "1 grant and 0 consents ended\n");
        assert_eq!(server.refresh(&client, &token).await.json()["error"], "invalid_grant");
        assert!(!is_asked(&server, &client).await);
        // A code that is out goes along with the next one, and the person is asked.
        let token = server.refresh_token(&client).await;
        let flow = server.flow(&client);
        let code = server.code(&mut server.signed_in().await, &flow).await;
        let said = done(&server, &["grant", "revoke", "--user", "ada", "--json"]).await.json();
        assert_eq!(said, json!({ "ended": 1, "consents": 1 }));
        assert_eq!(server.refresh(&client, &token).await.json()["error"], "invalid_grant");
        assert_eq!(server.redeem(&flow, &code).await.json()["error"], "invalid_grant");
        assert!(is_asked(&server, &client).await);
        // By its id: of this client only.
        let other = server.site.publish("/other.json", json!({}));
        server.refresh_token(&client).await;
        server.refresh_token(&other).await;
        let grants = done(&server, &["grant", "list", "--client", &client, "--json"]).await.json();
        assert!(grants[0]["scope"].is_array() && grants[0]["created_at"] == "2027-01-15T08:00:00Z", "{grants}");
        done(&server, &["grant", "revoke", grants[0]["id"].as_str().unwrap()]).await;
        assert!(is_asked(&server, &client).await);
        assert!(!is_asked(&server, &other).await);
        // Its consent alone: what it holds goes on.
        let said = done(&server, &["consent", "revoke", "--client", &other]).await;
        assert_eq!(said.out, "1 consent ended; grants go on until `wayleave grant revoke`\n");
        assert!(is_asked(&server, &other).await);
        assert_eq!(done(&server, &["grant", "list", "--client", &other, "--json"]).await.json().as_array().unwrap().len(), 1);

        for (arguments, code, told) in [
            (&["consent", "revoke"][..], 2, "say which"),
            (&["consent", "revoke", "--user", "grace"], 1, "there is no such consent"),
            (&["consent", "list", "--user", "nobody"], 1, "there is no account named nobody"),
            (&["grant", "list", "--user", "nobody"], 1, "there is no account named nobody"),
            (&["grant", "revoke", "--user", "nobody"], 1, "there is no account named nobody"),
            (&["grant", "revoke", "--user", "grace"], 1, "there is no such active grant"),
            (&["grant", "list", "--user", "grace"], 0, "There are no active grants."),
            (&["consent", "list", "--user", "grace"], 0, "There are no consents."),
        ] {
            let said = tell(&server, arguments);
            assert!(said.code == code && said.err.contains(told), "{arguments:?}: {} {}", said.code, said.err);
        }
    }

    async fn sessions_are_listed_and_ended(database) {
        let server = TestApp::new(database).await;
        let (mut one, mut other) = (server.signed_in().await, server.signed_in().await);
        // The command has the clock of the machine: the sessions are of a time after it.
        let list = |more: &[&str]| tell(&server, &[&["session", "list", "--json"], more].concat());
        let sessions = list(&["--user", "ada"]).json();
        assert_eq!(sessions.as_array().unwrap().len(), 2, "{sessions}");
        assert_eq!(sessions[0]["signed_in_at"], "2027-01-15T08:00:00Z");
        let id = sessions[0]["id"].as_str().unwrap();
        assert_eq!(id.len(), 12);
        let text = tell(&server, &["session", "list", "--limit", "1"]);
        assert!(text.out.contains("  ada  signed in 2027-01-15T08:00:00Z, ends ") && text.err.contains("--limit"), "{} {}", text.out, text.err);
        assert_eq!(done(&server, &["session", "end", id]).await.out, "1 session ended\n");
        let mut live = 0;
        for browser in [&mut one, &mut other] {
            live += u32::from(browser.get("/").await.body.contains("ada"));
        }
        assert_eq!(live, 1);
        assert_eq!(done(&server, &["session", "end", "--user", "ada", "--json"]).await.json(), json!({ "ended": 1 }));
        assert!(!one.get("/").await.body.contains("ada") && !other.get("/").await.body.contains("ada"));
        for (arguments, code, told) in [
            (&["session", "end"][..], 2, "say which"),
            (&["session", "end", id], 1, "there is no such session"),
            (&["session", "end", "--user", "nobody"], 1, "there is no account named nobody"),
            (&["session", "list", "--user", "nobody"], 1, "there is no account named nobody"),
            (&["session", "list"], 0, "There are no sessions."),
        ] {
            let said = tell(&server, arguments);
            assert!(said.code == code && said.err.contains(told), "{arguments:?}: {} {}", said.code, said.err);
        }
    }

    async fn every_command_has_json_for_its_answer_and_its_error(database) {
        let server = TestApp::new(database).await;
        register(&server, "wiki").await;
        for arguments in [
            &["migrate"][..],
            &["config", "show"],
            &["config", "check"],
            &["user", "list"],
            &["user", "set", "ada", "--name", "Ada"],
            &["user", "disable", "ada"],
            &["user", "enable", "ada"],
            &["client", "list"],
            &["client", "rules"],
            &["client", "show", "wiki"],
            &["client", "history", "wiki"],
            &["client", "check-policy", "wiki"],
            &["client", "trust", "wiki"],
            &["client", "block", "wiki"],
            &["client", "forget", "wiki"],
            &["client", "secret", "list", "wiki"],
            &["client", "secret", "add", "wiki"],
            &["client", "secret", "remove", "wiki"],
            &["client", "set", "wiki", "--name", "Wiki"],
            &["explain", "wiki"],
            &["client", "remove", "wiki"],
            &["grant", "list"],
            &["consent", "list"],
            &["session", "list"],
            &["key", "list"],
            &["key", "rotate"],
            &["resource", "list"],
        ] {
            let said = tell(&server, &[arguments, &["--json"]].concat());
            assert!(said.code == 0 && said.err.is_empty(), "{arguments:?}: {}", said.err);
            let told = said.json();
            let is_list = ["list", "rules", "history"].contains(arguments.last().unwrap()) || arguments[..].contains(&"list");
            assert_eq!(told.is_array(), is_list || arguments.contains(&"history"), "{arguments:?}: {told}");
        }
        let users = tell(&server, &["user", "list", "--json"]).json();
        assert_eq!(users[0]["created_at"], "2027-01-15T08:00:00Z", "{users}");
        let keys = tell(&server, &["key", "list", "--json"]).json();
        assert!(keys[0]["signs_from"].as_str().unwrap().ends_with('Z'), "{keys}");

        for (arguments, code, kind, told) in [
            (&["user", "disable", "nobody"][..], 1, "not_found", "no enabled account"),
            (&["user", "rename", "ada", "grace"], 1, "conflict", "an account named grace"),
            (&["user", "set", "ada"], 2, "usage", "nothing to change"),
            (&["user", "frobnicate"], 2, "usage", "frobnicate"),
            (&["client", "block"], 2, "usage", "<PATTERN>"),
            (&["healthcheck"], 1, "failed", "no answer from"),
            (&["resource", "metadata", "https://none.example.com/"], 1, "not_found", "no such resource"),
            (&["key", "revoke", "none"], 1, "not_found", "no signing key"),
        ] {
            let port = crate::process::free_port();
            let listen = format!("127.0.0.1:{port}");
            let said = tell_with(&server, &[("WAYLEAVE_SERVER__LISTEN", &listen)], &[arguments, &["--json"]].concat());
            assert_eq!((said.code, said.out.as_str()), (code, ""), "{arguments:?}: {}", said.err);
            let error: Value = serde_json::from_str(said.err.trim_end()).unwrap_or_else(|_| panic!("{}", said.err));
            assert_eq!((&error["error"], &error["exit_code"]), (&json!(kind), &json!(code)), "{error}");
            assert!(error["message"].as_str().unwrap().contains(told), "{error}");
            assert_eq!(said.err.lines().count(), 1);
        }
    }
}

#[test]
fn colours_are_for_terminals_and_for_those_who_want_them() {
    let folder = tempfile::tempdir().unwrap();
    let explain = |variables: &[(&str, &str)]| {
        let mut command = wayleave(folder.path());
        command
            .env("WAYLEAVE_DATABASE__URL", "sqlite:wayleave.db")
            .envs(variables.iter().copied())
            .args(["explain", "http://app.example.com/c"]);
        String::from_utf8(run(command, None).stdout).unwrap()
    };
    let mut migrate = wayleave(folder.path());
    migrate
        .env("WAYLEAVE_DATABASE__URL", "sqlite:wayleave.db")
        .arg("migrate");
    assert!(run(migrate, None).status.success());
    assert!(!explain(&[]).contains('\u{1b}'), "it is piped");
    let coloured = explain(&[("CLICOLOR_FORCE", "1")]);
    assert!(
        coloured.contains("\u{1b}[31mFAIL       \u{1b}[0m"),
        "{coloured}"
    );
    assert!(!explain(&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]).contains('\u{1b}'));
}

#[test]
fn shells_complete_commands_and_the_manual_has_a_page_for_each() {
    let folder = tempfile::tempdir().unwrap();
    for (shell, part) in [
        ("bash", "_wayleave"),
        ("zsh", "#compdef wayleave"),
        ("fish", "complete -c wayleave"),
    ] {
        let mut command = wayleave(folder.path());
        command.args(["completions", shell]);
        let output = run(command, None);
        let script = String::from_utf8(output.stdout).unwrap();
        assert!(
            output.status.success() && script.contains(part) && script.contains("keep-consents"),
            "{shell}"
        );
    }
    let man = |arguments: &[&str]| {
        let mut command = wayleave(folder.path());
        command.arg("man").args(arguments);
        run(command, None)
    };
    let written = man(&["--out", ".", "--json"]);
    assert!(written.status.success(), "{written:?}");
    let files: Value = serde_json::from_slice(&written.stdout).unwrap();
    let files = files["files"].as_array().unwrap();
    assert!(files.len() > 50, "{}", files.len());
    for (page, part) in [
        ("wayleave.1", ".TH wayleave 1"),
        (
            "wayleave-client-secret-add.1",
            ".TH wayleave-client-secret-add 1",
        ),
        ("wayleave-grant-revoke.1", "keep\\-consents"),
    ] {
        assert!(files.contains(&json!(page)), "{page}");
        let text = std::fs::read_to_string(folder.path().join(page)).unwrap();
        assert!(text.contains(part), "{page}: {text}");
    }
    assert_eq!(man(&["--out", "nowhere"]).status.code(), Some(1));
    assert_eq!(man(&[]).status.code(), Some(2));
    // Neither asks for a configuration or a database.
    assert!(!folder.path().join("wayleave-data").exists());
}

#[test]
fn a_rule_of_the_configuration_names_a_registered_client() {
    let folder = tempfile::tempdir().unwrap();
    let configured = |rule: &str, arguments: &[&str]| {
        let mut command = wayleave(folder.path());
        command
            .env("WAYLEAVE_DATABASE__URL", "sqlite:wayleave.db")
            .env(
                "WAYLEAVE_CLIENTS__REGISTERED",
                "[{ client_id = 'wiki', redirect_uris = ['https://wiki.example.com/cb'] }]",
            )
            .env("WAYLEAVE_POLICY__CLIENTS", format!("[{{ {rule} }}]"))
            .args(arguments);
        let output = run(command, None);
        let told = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(told).unwrap())
    };
    let blocked = "match = 'name:wiki', tier = 'blocked'";
    assert_eq!(configured(blocked, &["migrate"]).0, Some(0));
    let (code, told) = configured(blocked, &["client", "check-policy", "wiki"]);
    assert!(
        code == Some(0) && told.starts_with("blocked: the rule name:wiki"),
        "{told}"
    );
    let (code, told) = configured(blocked, &["client", "trust", "wiki"]);
    assert!(
        code == Some(1) && told.contains("the configuration has a rule for name:wiki"),
        "{told}"
    );
    let (code, told) = configured(
        "match = 'name:wiki', tier = 'listed', same_origin = ['logo_uri']",
        &["config", "check"],
    );
    assert!(
        code == Some(2) && told.contains("its registration says these"),
        "{told}"
    );
    let (code, told) = configured(
        "match = 'name:https://a.example.com/c', tier = 'listed'",
        &["config", "check"],
    );
    assert!(
        code == Some(2) && told.contains("registered client that is no URL"),
        "{told}"
    );
}
