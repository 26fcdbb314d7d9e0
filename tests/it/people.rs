//! People: what they are called, what they sign in with, and what becomes of their accounts.

use futures_util::future::join_all;
use http::Request;
use serde_json::{Value, json};
use wayleave::{
    policy::client_rules::Tier,
    protocol::client::Digest,
    secret::{Secret, TypedName},
    store::{
        AccountError, DescribedEmail, Description, NewDevClient, NewInteraction, Respondent, Store,
    },
};

use crate::{
    process::{run, wayleave},
    store::{NOW, account, open},
    support::{
        Browser, Database, Kind, Page, TestApp,
        app::{Flow, PASSWORD},
        log, on_both,
    },
};

const DEVICE: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// A command of the binary; what it answers, and its exit code.
fn tell(server: &TestApp, arguments: &[&str], stdin: Option<&str>) -> (Option<i32>, String) {
    let mut command = wayleave(&server.database.path("."));
    command
        .env("WAYLEAVE_DATABASE__URL", &server.database.url)
        .args(arguments);
    let output = run(command, stdin);
    let told = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8_lossy(&told).into_owned(),
    )
}

/// One that is done.
fn done(server: &TestApp, arguments: &[&str]) -> String {
    let (code, told) = tell(server, arguments, None);
    assert_eq!(code, Some(0), "{arguments:?}: {told}");
    told
}

async fn try_sign_in(browser: &mut Browser, name: &str, password: &str) -> Page {
    let page = browser.get("/login").await;
    let typed = [("username", name), ("password", password)];
    browser.submit(&page, &typed).await
}

/// The status: 303, 422 where it is wrong, 429 where it waits.
async fn sign_in(server: &TestApp, name: &str, password: &str) -> u16 {
    let page = try_sign_in(&mut server.browser(), name, password).await;
    page.status.as_u16()
}

async fn userinfo(server: &TestApp, tokens: &Value) -> Page {
    let bearer = format!("Bearer {}", tokens["access_token"].as_str().unwrap());
    let request = Request::get("/userinfo").header("authorization", bearer);
    let request = request.body(axum::body::Body::empty()).unwrap();
    server.browser().send(request).await
}

/// What `ada` has: tokens, a code and a device that were not redeemed, a session.
struct Everything {
    flow: Flow,
    tokens: Value,
    code: String,
    device: (String, Value),
    browser: Browser,
}

impl Everything {
    async fn of_ada(server: &TestApp) -> Self {
        let client = server.site.publish("/c.json", json!({}));
        let flow = server.flow(&client).with("scope", "openid profile");
        let mut browser = server.signed_in().await;
        let code = server.code(&mut browser, &flow).await;
        let tokens = server.redeem(&flow, &code).await.json();
        let members = json!({ "redirect_uris": null, "grant_types": [DEVICE, "refresh_token"] });
        let tv = server.site.publish("/tv.json", members);
        server.rule(&tv, Tier::Listed).await;
        let started = server
            .call("/device_authorization", &[("client_id", &tv)], &[])
            .await;
        assert_eq!(started.status, 200, "{}", started.body);
        let started = started.json();
        let form = browser.get("/device").await;
        let typed = [("user_code", started["user_code"].as_str().unwrap())];
        let page = browser.submit(&form, &typed).await;
        let page = browser.follow(page).await;
        browser.submit(&page, &[("decision", "allow")]).await;
        let code = server.code(&mut browser, &flow).await;
        let all = Self {
            flow,
            tokens,
            code,
            device: (tv, started),
            browser,
        };
        assert_eq!(userinfo(server, &all.tokens).await.status, 200);
        all
    }

    /// It is worth nothing.
    async fn has_ended(&self, server: &TestApp) {
        assert_eq!(userinfo(server, &self.tokens).await.status, 401);
        let token = self.tokens["refresh_token"].as_str().unwrap();
        let refreshed = server.refresh(self.flow.get("client_id"), token).await;
        assert_eq!(refreshed.json()["error"], "invalid_grant");
        let redeemed = server.redeem(&self.flow, &self.code).await;
        assert_eq!(redeemed.json()["error"], "invalid_grant");
        let poll = [
            ("grant_type", DEVICE),
            (
                "device_code",
                self.device.1["device_code"].as_str().unwrap(),
            ),
            ("client_id", &self.device.0),
        ];
        let polled = server.token(&poll).await.json();
        let error = polled["error"].as_str().unwrap();
        assert!(
            ["access_denied", "invalid_grant"].contains(&error),
            "{polled}"
        );
        let page = self.browser.clone().get(&self.flow.target()).await;
        assert!(page.location().unwrap().starts_with("/login?"));
    }
}

/// In how many rows of how many tables the subject stands.
async fn rows_of(server: &TestApp, subject: &str) -> (usize, i64) {
    let (url, mut tables, mut rows) = (&server.database.url, 0, 0);
    macro_rules! count {
        ($connection:ty, $names:literal) => {{
            use sqlx::Connection as _;
            let mut connection = <$connection>::connect(url).await.unwrap();
            let names: Vec<String> = sqlx::query_scalar($names)
                .fetch_all(&mut connection)
                .await
                .unwrap();
            for name in names {
                let count = format!("SELECT COUNT(*) FROM {name} WHERE subject = '{subject}'");
                let count: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(count))
                    .fetch_one(&mut connection)
                    .await
                    .unwrap();
                (tables, rows) = (tables + 1, rows + count);
            }
        }};
    }
    match server.database.kind {
        Kind::Sqlite => count!(
            sqlx::SqliteConnection,
            "SELECT t.name FROM sqlite_schema t, pragma_table_info(t.name) c WHERE t.type = 'table' AND c.name = 'subject'"
        ),
        Kind::Postgres => count!(
            sqlx::PgConnection,
            "SELECT table_name::text FROM information_schema.columns WHERE table_schema = current_schema() AND column_name = 'subject'"
        ),
    }
    (tables, rows)
}

fn verified(address: &str) -> Description {
    Description {
        email: Some(DescribedEmail {
            address: address.to_owned(),
            is_verified: true,
            signs_in_as: Some(address.to_owned()),
        }),
        ..Description::default()
    }
}

async fn add(store: &Store, name: &str, about: Description) -> Result<(), AccountError> {
    store.add_account(account(name), about).await.unwrap()
}

on_both! {
    async fn f_24_people_sign_in_with_names_of_any_script_however_they_are_typed(database) {
        let server = TestApp::new(database).await;
        for (name, kept) in [("Zoe\u{308}", "zoë"), ("Łukasz", "łukasz"), ("ИВАН", "иван"), ("エイダ", "エイダ")] {
            let (code, told) = tell(&server, &["user", "add", name, "--password-stdin"], Some(PASSWORD));
            assert_eq!((code, told), (Some(0), format!("{kept}: account added\n")));
            let (code, _) = tell(&server, &["user", "add", kept, "--password-stdin"], Some(PASSWORD));
            assert_eq!(code, Some(1), "{kept} is the same name");
        }
        for typed in ["zoë", "ZOË", "zoe\u{308}", " Zoe\u{308} ", "ＺＯＥ\u{308}", "ŁUKASZ", "Иван", "エイダ"] {
            assert_eq!(sign_in(&server, typed, PASSWORD).await, 303, "{typed}");
        }
        for typed in ["zoe", "lukasz", "ада"] {
            assert_eq!(sign_in(&server, typed, PASSWORD).await, 422, "{typed}");
        }
        for (name, code) in [("a b", 2), ("аda", 2), ("a/b", 2), ("\u{202e}ada", 2)] {
            assert_eq!(tell(&server, &["user", "add", name, "--password-stdin"], Some(PASSWORD)).0, Some(code), "{name}");
        }
    }

    async fn f_25_people_sign_in_with_a_verified_address_and_with_no_other(database) {
        let server = TestApp::new(database).await;
        assert_eq!(sign_in(&server, "ada@example.com", PASSWORD).await, 422);
        done(&server, &["user", "set", "ada", "--email", "Ada@Example.com"]);
        assert_eq!(sign_in(&server, "ada@example.com", PASSWORD).await, 422, "no name until it is verified");
        done(&server, &["user", "set", "ada", "--email", "Ada@Example.com", "--email-verified"]);
        for typed in ["ada@example.com", " ADA@EXAMPLE.COM", "ada"] {
            assert_eq!(sign_in(&server, typed, PASSWORD).await, 303, "{typed}");
        }
        // The address is told as it was written, and what apps call the person is the user name.
        assert!(done(&server, &["user", "list", "--json"]).contains("\"email\": \"Ada@Example.com\""));
        let mut browser = server.browser();
        try_sign_in(&mut browser, "ada@example.com", PASSWORD).await;
        assert!(browser.get("/").await.body.contains(">ada<"), "signed in as ada");

        for (arguments, typed) in [
            (vec!["--email", "ada@example.com"], "ada@example.com"),
            (vec!["--email", "ada@example.net", "--email-verified"], "ada@example.com"),
            (vec!["--email", ""], "ada@example.net"),
        ] {
            done(&server, &[vec!["user", "set", "ada"], arguments].concat());
            assert_eq!(sign_in(&server, typed, PASSWORD).await, 422, "{typed} is hers no longer");
        }
    }

    async fn no_name_and_no_verified_address_is_two_accounts(database) {
        let server = TestApp::new(database).await;
        done(&server, &["user", "set", "ada", "--email", "ada@example.com", "--email-verified"]);
        let verified = ["--email", "ADA@example.com", "--email-verified"];
        let add = |name: &'static str, more: &[&'static str]| {
            let arguments = [&["user", "add", name, "--password-stdin"], more].concat();
            tell(&server, &arguments, Some("another correct horse"))
        };
        let told = |(code, told): (Option<i32>, String), expected: &str| {
            assert!(code == Some(1) && told.contains(expected), "{code:?} {told}");
        };
        told(add("ada@example.com", &[]), "signs in with it as its e-mail address");
        told(add("mallory", &verified), "another account signs in with ADA@example.com");
        assert!(!done(&server, &["user", "list"]).contains("mallory"), "not even without the address");
        told(tell(&server, &[&["user", "set", "grace"], &verified[..]].concat(), None), "another account signs in with ADA@example.com");
        told(tell(&server, &["user", "rename", "grace", "Ada@example.com"], None), "ada@example.com");
        // The other way about: a name that looks like an address is no other account's address.
        let (code, _) = add("grace@example.com", &[]);
        assert_eq!(code, Some(0));
        told(tell(&server, &["user", "set", "grace", "--email", "grace@example.com", "--email-verified"], None), "is named so");
        // An address that is not verified is no name: it takes none away, and opens nothing.
        done(&server, &["user", "set", "grace", "--email", "ada@example.com"]);
        assert_eq!(sign_in(&server, "ada@example.com", PASSWORD).await, 303);
        assert_eq!(sign_in(&server, "grace@example.com", "another correct horse").await, 303);
        assert_eq!(sign_in(&server, "grace@example.com", PASSWORD).await, 422);
        // One's own name may be one's address.
        done(&server, &["user", "rename", "ada", "ada@example.com"]);
        done(&server, &["user", "set", "ada@example.com", "--email", "ada@example.com", "--email-verified"]);
        assert_eq!(sign_in(&server, "ada@example.com", PASSWORD).await, 303);
        assert_eq!(sign_in(&server, "ada", PASSWORD).await, 422);
    }

    async fn of_many_who_want_a_name_at_once_one_gets_it(database) {
        let store = open(&database).await;
        for name in ["eve", "bob"] {
            add(&store, name, Description::default()).await.unwrap();
        }
        let name = "same@example.com";
        let hashed = |name: &str| (name.to_owned(), TypedName::hash(name));
        let added: Vec<_> = (0..6).map(|n| format!("x{n}")).collect();
        let (by_address, by_name, by_change, by_rename) = tokio::join!(
            join_all(added.iter().map(|new| add(&store, new, verified(name)))),
            add(&store, name, Description::default()),
            store.change_account("eve".to_owned(), verified(name), NOW),
            store.rename_account(hashed("bob"), hashed(name), NOW),
        );
        let mut all = by_address;
        all.extend([by_name, by_change.unwrap(), by_rename.unwrap()]);
        assert_eq!(all.iter().filter(|done| done.is_ok()).count(), 1, "{all:?}");
        assert!(store.account(name).await.unwrap().is_some());
    }

    async fn both_names_of_an_account_share_its_count_of_wrong_passwords(database) {
        let limits = [("WAYLEAVE_LIMITS__SCALE", "1"), ("WAYLEAVE_SERVER__TRUSTED_PROXIES", "['127.0.0.1/32']")];
        let server = TestApp::with(database, &limits).await;
        done(&server, &["user", "set", "ada", "--email", "ada@example.com", "--email-verified"]);
        let attempt = async |network: u32, name: &str, password: &str| {
            let mut browser = server.browser();
            browser.address = Some(format!("198.51.100.{network}"));
            try_sign_in(&mut browser, name, password).await.status.as_u16()
        };
        for (n, name) in ["ada", "ada@example.com", "ADA", " Ada@Example.com", "ada@example.com"].iter().enumerate() {
            assert_eq!(attempt(u32::try_from(n).unwrap(), name, "wrong").await, 422, "{name}");
        }
        for (n, name) in [(10, "ada"), (11, "ada@example.com")] {
            assert_eq!(attempt(n, name, PASSWORD).await, 429, "{name}");
        }
        server.app.clock.advance(1);
        assert_eq!(attempt(12, "ada@example.com", PASSWORD).await, 303);
        // What is right forgets what was wrong, whichever name it was.
        for n in 20..25 {
            assert_eq!(attempt(n, "ada", "wrong").await, 422, "{n}");
        }
        assert_eq!(attempt(26, "ada@example.com", PASSWORD).await, 429);
        assert_eq!(done(&server, &["user", "unlock", "Ada@example.com"]), "ada: unlocked\n");
        assert_eq!(attempt(27, "ada@example.com", PASSWORD).await, 303);
        // A new name takes the count along; guesses at it before were at no account.
        for n in 30..35 {
            assert_eq!((attempt(n, "ada", "wrong").await, attempt(n + 10, "lovelace", "wrong").await), (422, 422));
        }
        done(&server, &["user", "rename", "ada", "lovelace"]);
        assert_eq!(attempt(50, "ada@example.com", PASSWORD).await, 429);
        assert_eq!(done(&server, &["user", "unlock", "lovelace"]), "lovelace: unlocked\n");
        assert_eq!(attempt(51, "lovelace", PASSWORD).await, 303);
    }

    async fn addresses_that_were_verified_before_are_names_after_the_migration(database) {
        let store = open(&database).await;
        // As a program before it left them.
        let users = [
            ("ada", "Ada@Example.com", "TRUE"),
            ("bob", "shared@example.com", "TRUE"),
            ("eve", "Shared@example.com", "TRUE"),
            ("grace", "hopper@example.com", "FALSE"),
            ("hopper@example.com", "", "FALSE"),
            ("ivan", "hopper@example.com", "TRUE"),
            ("zoe", "zoë@example.com", "TRUE"),
        ];
        for (name, email, is_verified) in users {
            store
                .execute_raw(format!(
                    "INSERT INTO users (subject, username, password_hash, is_admin, created_at, email, email_verified) \
                     VALUES ('subject of {name}', '{name}', '', FALSE, 1, NULLIF('{email}', ''), {is_verified})"
                ))
                .await
                .unwrap();
        }
        let step = include_str!("../../migrations/0008_names_and_secrets.sql");
        let update = &step[step.find("UPDATE users").unwrap()..];
        store.execute_raw(update[..update.find(';').unwrap()].to_owned()).await.unwrap();
        for (typed, whose) in [
            ("ada@example.com", Some("ada")),
            ("shared@example.com", None),
            ("hopper@example.com", Some("hopper@example.com")),
            ("zoë@example.com", None),
        ] {
            let found = store.account(typed).await.unwrap();
            assert_eq!(found.map(|it| it.username).as_deref(), whose, "{typed}");
        }
    }

    async fn f_27_an_account_has_a_life_cycle_by_command(database) {
        let server = TestApp::new(database).await;
        let table: &[(&[&str], Option<&str>, i32, &str)] = &[
            (&["enable", "ada"], None, 1, "no disabled account named ada"),
            (&["disable", "ada"], None, 0, "ada: account disabled"),
            (&["disable", "ada"], None, 1, "no enabled account named ada"),
            (&["list"], None, 0, "ada  disabled\n"),
            (&["unlock", "ada"], None, 1, "nothing to unlock: no wrong password for ada"),
            (&["passwd", "ada", "--password-stdin"], Some(PASSWORD), 0, "password changed; the account stays disabled (`wayleave user enable ada`"),
            (&["passwd", "ada", "--password-stdin", "--json"], Some(PASSWORD), 0, "\"disabled\":true"),
            (&["enable", "Ada"], None, 0, "ada: account enabled"),
            (&["passwd", "ada", "--password-stdin", "--json"], Some(PASSWORD), 0, "{\"username\":\"ada\",\"done\":\"password changed\"}"),
            (&["passwd", "ada", "--password-stdin", "--end-grants"], Some(PASSWORD), 0, "ada: password changed; its apps' access has ended"),
            (&["enable", "nobody"], None, 1, "no disabled account named nobody"),
            (&["rename", "nobody", "somebody"], None, 1, "no account named nobody"),
            (&["rename", "ada", "grace"], None, 1, "an account named grace"),
            (&["rename", "ada", "a b"], None, 2, "A user name has"),
            (&["rename", "ada", "Countess", "--json"], None, 0, "{\"username\":\"countess\",\"done\":\"was ada\"}"),
            (&["rename", "countess", "countess"], None, 0, "was countess"),
            (&["rename", "countess", "ada"], None, 0, "ada: was countess"),
            (&["set", "ada"], None, 2, "--admin or --no-admin"),
            (&["set", "ada", "--admin", "--no-admin"], None, 2, "cannot be used with"),
            (&["set", "nobody", "--admin"], None, 1, "no account named nobody"),
            // There is always one who can sign in.
            (&["set", "ada", "--admin"], None, 0, "account changed"),
            (&["set", "ada", "--no-admin"], None, 1, "ada is the last administrator who can sign in"),
            (&["disable", "ada"], None, 1, "the last administrator"),
            (&["delete", "ada"], None, 1, "the last administrator"),
            (&["set", "grace", "--admin"], None, 0, "account changed"),
            (&["disable", "grace"], None, 0, "account disabled"),
            (&["set", "ada", "--no-admin"], None, 1, "the last administrator"),
            (&["set", "grace", "--no-admin"], None, 0, "account changed"),
            (&["set", "grace", "--admin"], None, 0, "account changed"),
            (&["enable", "grace"], None, 0, "account enabled"),
            (&["list"], None, 0, "ada  administrator\n"),
            (&["set", "ada", "--no-admin", "--name", "Ada"], None, 0, "account changed"),
            (&["list"], None, 0, "ada\n"),
            (&["delete", "grace"], None, 1, "the last administrator"),
            (&["delete", "ada", "--json"], None, 0, "{\"username\":\"ada\",\"done\":\"account deleted\"}"),
            (&["delete", "ada"], None, 1, "no account named ada"),
            (&["delete"], None, 2, "<NAME>"),
        ];
        for (arguments, stdin, code, told) in table {
            let (status, text) = tell(&server, &[&["user"], *arguments].concat(), *stdin);
            assert_eq!(status, Some(*code), "{arguments:?}: {text}");
            assert!(text.contains(told), "{arguments:?}: {text}");
        }
        for command in ["add", "set", "passwd", "unlock", "rename", "disable", "enable", "delete"] {
            let help = done(&server, &["user", command, "--help"]);
            assert!(help.contains("user name"), "{command}: {help}");
        }
    }

    async fn a_disabled_account_that_is_unlocked_stays_disabled(database) {
        let server = TestApp::new(database).await;
        done(&server, &["user", "disable", "ada"]);
        assert_eq!(sign_in(&server, "ada", PASSWORD).await, 422);
        assert!(done(&server, &["user", "unlock", "ada"]).starts_with("ada: unlocked; the account stays disabled"));
        assert_eq!(sign_in(&server, "ada", PASSWORD).await, 422);
        done(&server, &["user", "enable", "ada"]);
        assert_eq!(sign_in(&server, "ada", PASSWORD).await, 303);
    }

    async fn one_administrator_is_left_however_many_are_taken_at_once(database) {
        let store = open(&database).await;
        let admin = |is_admin| Description { is_admin: Some(is_admin), ..Description::default() };
        let mut names: Vec<String> = Vec::new();
        for round in 0..4 {
            for n in 0..6 {
                let name = format!("root{round}{n}");
                add(&store, &name, Description::default()).await.unwrap();
                store.change_account(name.clone(), admin(true), NOW).await.unwrap().unwrap();
                names.push(name);
            }
            let all = join_all(names.iter().enumerate().map(|(n, name)| {
                let (store, name) = (&store, name.clone());
                async move {
                    match (round % 2, n % 3) {
                        (1, 0) => store.disable_account(name, NOW).await,
                        (1, 1) => store.delete_account(name.clone(), TypedName::hash(&name)).await,
                        _ => store.change_account(name, admin(false), NOW).await,
                    }
                }
            }));
            let refused = all.await.into_iter().filter(|done| done.as_ref().unwrap().is_err()).count();
            let left = store.accounts().await.unwrap();
            let left: Vec<_> = left.into_iter().filter(|it| it.is_admin && it.disabled_at.is_none()).collect();
            assert_eq!((left.len(), refused), (1, 1), "{round}: {left:?}");
            names = left.into_iter().map(|it| it.username).collect();
        }
    }

    async fn what_ended_with_an_account_that_was_disabled_stays_ended_when_it_is_enabled(database) {
        let server = TestApp::new(database).await;
        let all = Everything::of_ada(&server).await;
        done(&server, &["user", "disable", "ada"]);
        all.has_ended(&server).await;
        done(&server, &["user", "enable", "ada"]);
        all.has_ended(&server).await;
        let mut browser = server.signed_in().await;
        assert!(!server.code(&mut browser, &all.flow).await.is_empty(), "and new ones are given");
    }

    async fn y_10_whatever_a_person_has_ends_with_the_password_if_it_is_said(database) {
        let server = TestApp::new(database).await;
        let change = |more: &[&'static str], password| {
            let (code, told) = tell(&server, &[&["user", "passwd", "ada", "--password-stdin"], more].concat(), Some(password));
            assert_eq!(code, Some(0), "{told}");
        };
        let all = Everything::of_ada(&server).await;
        change(&[], PASSWORD);
        assert_eq!(userinfo(&server, &all.tokens).await.status, 200, "apps keep what they have");
        assert_eq!(server.redeem(&all.flow, &all.code).await.status, 200);
        let page = all.browser.clone().get(&all.flow.target()).await;
        assert!(page.location().unwrap().starts_with("/login?"), "people do not");

        let all = Everything::of_ada(&server).await;
        change(&["--end-grants"], "another correct horse");
        all.has_ended(&server).await;
        assert_eq!((sign_in(&server, "ada", PASSWORD).await, sign_in(&server, "ada", "another correct horse").await), (422, 303));
    }

    async fn an_account_that_is_deleted_leaves_nothing_and_its_subject_is_not_given_again(database) {
        let server = TestApp::new(database).await;
        let all = Everything::of_ada(&server).await;
        done(&server, &["user", "set", "ada", "--email", "ada@example.com", "--email-verified"]);
        assert_eq!(sign_in(&server, "ada", "wrong").await, 422);
        let now = server.app.clock.now();
        let before = server.app.store.account("ada").await.unwrap().unwrap();
        let dev = |id: &str| NewDevClient {
            id: id.to_owned(),
            subject: before.subject.clone(),
            document: "{}".to_owned(),
            expires_at: now + 60,
        };
        assert!(server.app.store.add_dev_client(dev("before"), now, 5).await.unwrap());
        // A question that is open.
        let asks = server.flow(&server.site.publish("/asks.json", json!({})));
        let mut browser = server.signed_in().await;
        let question = browser.open(&asks.target()).await;
        assert_eq!(question.status, 200);
        let (tables, rows) = rows_of(&server, &before.subject).await;
        assert!(tables >= 8 && rows > 8, "{tables} {rows}");

        done(&server, &["user", "delete", "ada"]);
        assert_eq!(rows_of(&server, &before.subject).await, (tables, 0));
        all.has_ended(&server).await;
        // What was judged before, and comes late.
        assert!(!server.app.store.add_dev_client(dev("late"), now, 5).await.unwrap());
        let late = NewInteraction {
            hash: Secret::generate().hash(),
            asked: Respondent { browser: Secret::generate().hash(), subject: before.subject.clone() },
            request: String::new(),
            client_id: asks.get("client_id").parse().unwrap(),
            digest: Digest::of(b"document"),
            fetched_at: now,
            expires_at: now + 60,
            pushed: None,
        };
        server.app.store.park(late).await.unwrap();
        assert_eq!(rows_of(&server, &before.subject).await, (tables, 0));
        let page = browser.submit(&question, &[("decision", "allow")]).await;
        assert!(!page.location().unwrap_or_default().contains("code="), "{:?}", page.headers);
        assert_eq!(sign_in(&server, "ada@example.com", PASSWORD).await, 422);
        assert!(server.app.store.sign_in_failures(&TypedName::hash("ada")).await.unwrap().is_none());

        // Another person of the same name is another person.
        let (code, told) = tell(&server, &["user", "add", "ada", "--password-stdin"], Some(PASSWORD));
        assert_eq!(code, Some(0), "{told}");
        assert_ne!(server.app.store.account("ada").await.unwrap().unwrap().subject, before.subject);
        all.has_ended(&server).await;
        assert_eq!(server.browser().open(&asks.target()).await.text("h1"), "Sign in");
    }

    async fn a_person_who_is_renamed_is_the_same_to_apps(database) {
        let server = TestApp::new(database).await;
        let mut all = Everything::of_ada(&server).await;
        let before = userinfo(&server, &all.tokens).await.json();
        done(&server, &["user", "rename", "ada", "Countess"]);
        let after = userinfo(&server, &all.tokens).await.json();
        assert_eq!((&after["sub"], &after["preferred_username"]), (&before["sub"], &json!("countess")));
        let client = all.flow.get("client_id").to_owned();
        assert_eq!(server.refresh(&client, all.tokens["refresh_token"].as_str().unwrap()).await.status, 200);
        assert!(!server.code(&mut all.browser, &all.flow).await.is_empty(), "the session goes on");
        assert_eq!((sign_in(&server, "ada", PASSWORD).await, sign_in(&server, "countess", PASSWORD).await), (422, 303));
    }
}

#[tokio::test]
async fn the_log_tells_disabled_from_wrong_and_the_page_does_not() {
    let server = TestApp::new(Database::sqlite()).await;
    let now = server.app.clock.now();
    let store = &server.app.store;
    let about = verified("grace@example.com");
    let changed = store.change_account("grace".to_owned(), about, now).await;
    changed.unwrap().unwrap();
    let disabled = store.disable_account("grace".to_owned(), now).await;
    disabled.unwrap().unwrap();
    let log = log::of_this_thread();
    let mut seen = Vec::new();
    for (name, password) in [
        ("grace@example.com", PASSWORD),
        ("grace", "wrong"),
        ("nobody", PASSWORD),
    ] {
        let page = try_sign_in(&mut server.browser(), name, password).await;
        seen.push((page.status.as_u16(), page.text("[role=alert]")));
    }
    assert!(seen.iter().all(|page| *page == seen[0]), "{seen:?}");
    assert_eq!(seen[0].0, 422);
    let text = log.text();
    let refused: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["fields"].clone())
        .filter(|fields| fields["message"] == "sign-in refused")
        .collect();
    let told: Vec<_> = refused
        .iter()
        .map(|fields| (fields["person"].as_str(), fields["rule"].as_str()))
        .collect();
    let expected = [
        (Some("grace"), Some("sign_in.disabled")),
        (Some("grace"), Some("sign_in.wrong")),
        (None, Some("sign_in.wrong")),
    ];
    assert_eq!(told, expected, "{text}");
}
