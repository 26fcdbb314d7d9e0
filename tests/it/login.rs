//! `/setup`, `/login`, `/logout`: people.

use axum::body::Body;
use http::{Request, header};

use crate::support::{Database, TestApp, app::PASSWORD, on_both};
use wayleave::{app::App, fetch::Resolver, server, store::Store, time::Clock};

on_both! {
    async fn the_set_up_link_makes_one_administrator_and_is_spent(database) {
        let server = TestApp::new(database.clone()).await;
        assert!(server.app.accounts.setup_link(server.app.clock.now(), 3_600).await.unwrap().is_none(), "there are accounts");

        // The same server on a database without accounts.
        let Some(empty) = fresh(&server).await else { return };
        let link = empty.0.accounts.setup_link(empty.0.clock.now(), 3_600).await.unwrap().unwrap();
        let target = format!("/setup?token={}", link.expose());
        let mut browser = crate::support::Browser::new(server::router(&empty.0), "http://127.0.0.1:8080");
        let page = browser.get(&target).await;
        assert_eq!(page.text("h1"), "Create the first account");
        for (password, again, told) in [("short", "short", "at least 8"), (PASSWORD, "other password", "not the same")] {
            let fields = [("username", "root"), ("password", password), ("password_again", again)];
            let refused = browser.submit(&page, &fields).await;
            assert_eq!(refused.status, 422);
            assert!(refused.body.contains(told) && refused.body.contains("value=\"root\""), "{}", refused.body);
        }
        let fields = [("username", "root"), ("password", PASSWORD), ("password_again", PASSWORD)];
        let all = futures_util::future::join_all((0..8).map(|n| {
            let (mut browser, page) = (browser.clone(), page.form());
            async move {
                let name = format!("root{n}");
                let mut form: Vec<_> = page.1.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
                form.retain(|(key, _)| !["username", "password", "password_again"].contains(key));
                form.extend([("username", name.as_str()), fields[1], fields[2]]);
                let answer = browser.post(&page.0, &form).await;
                (answer.status.as_u16(), browser)
            }
        })).await;
        assert_eq!(all.iter().filter(|(status, _)| *status == 303).count(), 1, "one account of eight at once");
        let accounts = empty.0.store.accounts().await.unwrap();
        assert!(accounts.len() == 1 && accounts[0].is_admin);
        let mut made = all.into_iter().find(|(status, _)| *status == 303).unwrap().1;
        assert_eq!(made.get("/").await.text("h1"), "You are signed in");
        assert_eq!(browser.get(&target).await.status, 400, "the link is spent");
        assert_eq!(browser.get("/setup").await.status, 400);
    }

    async fn of_several_links_used_at_once_one_makes_the_first_account(database) {
        let server = TestApp::new(database).await;
        let Some(empty) = fresh(&server).await else { return };
        let app = &empty.0;
        let mut links = Vec::new();
        for _ in 0..8 {
            links.push(app.accounts.setup_link(app.clock.now(), 3_600).await.unwrap().unwrap().hash());
        }
        let password = || wayleave::accounts::Password::chosen(PASSWORD).unwrap();
        let made = links.into_iter().enumerate().map(|(n, link)| {
            let name = format!("root{n}").parse().unwrap();
            app.accounts.add_first(link, name, password(), app.clock.now())
        });
        let made = futures_util::future::join_all(made).await;
        assert_eq!(made.iter().filter(|made| matches!(made, Ok(Ok(_)))).count(), 1, "{made:?}");
        assert_eq!(app.store.accounts().await.unwrap().len(), 1);
    }

    async fn signing_out_ends_the_session_on_the_server(database) {
        let server = TestApp::new(database).await;
        let mut browser = server.signed_in().await;
        let copied = browser.clone();
        let page = browser.get("/logout").await;
        assert_eq!(page.text("h1"), "Sign out?");
        assert_eq!(browser.submit(&page, &[("csrf", "x")]).await.status, 403);
        let done = browser.submit(&page, &[]).await;
        assert_eq!(done.text("h1"), "You are signed out");
        assert!(!browser.cookies.contains_key("wayleave_session"));
        assert_eq!(copied.clone().get("/").await.text("h1"), "You are not signed in", "a copied cookie is worth nothing");
        assert_eq!(browser.get("/logout").await.text("h1"), "You are signed out");
    }
}

/// The configuration of `server` on another, empty database.
async fn fresh(server: &TestApp) -> Option<(App, Database)> {
    let database = match server.database.kind {
        crate::support::Kind::Sqlite => Database::sqlite(),
        crate::support::Kind::Postgres => Database::postgresql().await?,
    };
    let store = Store::open(&database.parsed(), 4).await.unwrap();
    store.migrate().await.unwrap();
    let clock = Clock::manual(server.app.clock.now());
    let app = App::new(
        server.app.config.clone(),
        store,
        clock,
        Resolver::Table(Default::default()),
    )
    .await
    .unwrap();
    Some((app, database))
}

#[tokio::test]
async fn a_set_up_link_expires() {
    let server = TestApp::new(Database::sqlite()).await;
    let (app, _database) = fresh(&server).await.unwrap();
    let link = app
        .accounts
        .setup_link(app.clock.now(), 3_600)
        .await
        .unwrap()
        .unwrap();
    let mut browser = crate::support::Browser::new(server::router(&app), "http://127.0.0.1:8080");
    app.clock.advance(3_601);
    let page = browser
        .get(&format!("/setup?token={}", link.expose()))
        .await;
    assert_eq!(
        (page.status.as_u16(), page.text("h1").as_str()),
        (400, "This link does not work")
    );
}

#[tokio::test]
async fn a_wrong_name_and_a_wrong_password_are_told_alike() {
    let server = TestApp::new(Database::sqlite()).await;
    server
        .app
        .store
        .disable_account("grace".to_owned(), server.app.clock.now())
        .await
        .unwrap()
        .unwrap();
    let mut browser = server.browser();
    let page = browser.get("/login").await;
    let mut seen = Vec::new();
    for (name, password) in [
        ("ada", "wrong password"),
        ("nobody", PASSWORD),
        ("grace", PASSWORD),
        ("", ""),
        ("a b", PASSWORD),
    ] {
        let answer = browser
            .submit(&page, &[("username", name), ("password", password)])
            .await;
        assert_eq!(answer.status, 422, "{name}");
        assert!(!browser.cookies.contains_key("wayleave_session"), "{name}");
        seen.push(answer.text("[role=alert]"));
    }
    assert!(
        seen.windows(2).all(|pair| pair[0] == pair[1]) && seen[0].contains("not right"),
        "{seen:?}"
    );
}

#[tokio::test]
async fn signing_in_starts_a_new_session_and_needs_the_page_of_this_browser() {
    let server = TestApp::new(Database::sqlite()).await;
    let mut browser = server.signed_in().await;
    let first = browser.cookies["wayleave_session"].clone();
    let page = browser.get("/login").await;
    browser
        .submit(&page, &[("username", "grace"), ("password", PASSWORD)])
        .await;
    assert_ne!(browser.cookies["wayleave_session"], first);
    let mut old = server.browser();
    old.cookies
        .insert("wayleave_session".to_owned(), first.clone());
    assert_eq!(
        old.get("/").await.text("h1"),
        "You are not signed in",
        "the replaced session has ended"
    );

    // The page of one browser sent by another, without cookies or with its own.
    let credentials = [("username", "ada"), ("password", PASSWORD)];
    let mut other = server.browser();
    assert_eq!(other.submit(&page, &credentials).await.status, 403);
    other.get("/login").await;
    assert_eq!(other.submit(&page, &credentials).await.status, 403);
    // Two cookies of one name: neither counts.
    let request = Request::get("/")
        .header(
            header::COOKIE,
            format!(
                "wayleave_session={first}; wayleave_session={}",
                browser.cookies["wayleave_session"]
            ),
        )
        .body(Body::empty())
        .unwrap();
    assert_eq!(
        server.browser().send(request).await.text("h1"),
        "You are not signed in"
    );
}

#[tokio::test]
async fn a_login_page_leads_nowhere_but_to_the_request_that_waits() {
    let server = TestApp::new(Database::sqlite()).await;
    for query in [
        "?request=https://evil.example",
        "?next=//evil.example",
        "?client_id=https://evil.example/c&redirect_uri=https://evil.example",
    ] {
        let mut browser = server.browser();
        let page = browser.get(&format!("/login{query}")).await;
        let answer = browser
            .submit(&page, &[("username", "ada"), ("password", PASSWORD)])
            .await;
        assert!(
            answer.location().unwrap().starts_with("/authorize?"),
            "{query}: {answer:?}"
        );
    }
}
