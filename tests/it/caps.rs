//! What strangers and people can make the server keep has an end: the table in `docs/operations.md`, by the caps that are
//! reached here.

use serde_json::json;
use wayleave::{
    protocol::client::Digest,
    store::{Accepted, Description, EventKind, NewEvent, Store},
};

use crate::{
    store::{NOW, account, open},
    support::{Database, TestApp, app::param, on_both},
};

/// Rows numbered from 1: `columns` and `values` as SQL, with the number `i`.
async fn fill(store: &Store, many: u32, into: &str, values: &str) {
    let sql = format!(
        "INSERT INTO {into} WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {many}) SELECT {values} FROM n"
    );
    store.execute_raw(sql).await.unwrap();
}

async fn sweep(store: &Store) {
    while store.sweep(900, NOW).await.unwrap().1 {}
}

on_both! {
    /// The first ten are people's.
    async fn beyond_their_caps_the_oldest_clients_and_versions_go_that_nothing_refers_to(database) {
        let store = open(&database).await;
        let (read, id) = (format!("{} + i", NOW.0 - 80_000), "'https://c' || i || '.example.com/'");
        fill(&store, 12_000, "clients (client_id, digest, fetched_at, fresh_until)", &format!("{id}, 'd' || i, {read}, {read}")).await;
        fill(&store, 12_000, "client_documents (digest, client_id, document, first_read_at)", &format!("'d' || i, {id}, '{{}}', {read}")).await;
        fill(&store, 5, "grants (id, client_id, digest, subject, scope, resources, signed_in_at, created_at, ends_at, generation, rotated_at, idle_until)",
            &format!("'g' || i, {id}, 'd' || i, 'ada', '', '', 0, 0, {0}, 1, 0, {0}", NOW.0 + 1_000)).await;
        fill(&store, 10, "consents (subject, client_id, scope, resources, digest, granted_at, expires_at)",
            &format!("'ada', {id}, '', '', 'd' || i, 0, {}", NOW.0 + 1_000)).await;
        sweep(&store).await;
        let number = async |sql| database.number(sql).await;
        assert_eq!(number("SELECT COUNT(*) FROM clients").await, 10_010);
        assert_eq!(number("SELECT COUNT(*) FROM clients WHERE digest IN ('d1', 'd5', 'd6', 'd10')").await, 4, "people's stay");
        assert_eq!(number("SELECT COUNT(*) FROM clients WHERE digest IN ('d11', 'd2000')").await, 0, "of the others the oldest go");
        assert_eq!(number("SELECT COUNT(*) FROM clients WHERE digest IN ('d2001', 'd12000')").await, 2);
        assert_eq!(number("SELECT COUNT(*) FROM client_documents").await, 12_000, "a login may be about one of them, for a day");

        // Versions that nothing refers to: some of a moment ago, the others of the last hour.
        fill(&store, 19_000, "client_documents (digest, client_id, document, first_read_at)",
            &format!("'e' || i, 'https://many.example.com/', '{{}}', {} + i / 10", NOW.0 - 3_000)).await;
        fill(&store, 100, "client_documents (digest, client_id, document, first_read_at)",
            &format!("'f' || i, 'https://many.example.com/', '{{}}', {}", NOW.0 - 30)).await;
        sweep(&store).await;
        assert_eq!(number("SELECT COUNT(*) FROM client_documents").await, 30_000);
        assert_eq!(number("SELECT COUNT(*) FROM client_documents d JOIN clients c ON c.digest = d.digest").await, 10_010);
        assert_eq!(number("SELECT COUNT(*) FROM client_documents WHERE digest LIKE 'f%'").await, 100);
        store.close().await;
    }

    async fn beyond_its_cap_the_oldest_history_goes_of_clients_that_nobody_uses(database) {
        let store = open(&database).await;
        let columns = "client_events (client_id, number, at, kind, digest, changes, answer)";
        fill(&store, 21_000, columns, &format!("'https://c' || i || '.example.com/', 1, {} + i, 'first', 'd', '[]', 'accepted'", NOW.0 - 30_000)).await;
        fill(&store, 100, columns, &format!("'https://used.example.com/', i, {}, 'changed', 'd', '[]', 'accepted'", NOW.0 - 40_000)).await;
        fill(&store, 1, "consents (subject, client_id, scope, resources, digest, granted_at, expires_at)",
            &format!("'ada', 'https://used.example.com/', '', '', 'd', 0, {}", NOW.0 + 1_000)).await;
        sweep(&store).await;
        assert_eq!(database.number("SELECT COUNT(*) FROM client_events").await, 20_100);
        assert_eq!(database.number("SELECT COUNT(*) FROM client_events WHERE client_id = 'https://used.example.com/'").await, 100);
        assert_eq!(database.number("SELECT COUNT(*) FROM client_events WHERE client_id = 'https://c1000.example.com/'").await, 0);
        assert_eq!(database.number("SELECT COUNT(*) FROM client_events WHERE client_id = 'https://c1001.example.com/'").await, 1);
        store.close().await;
    }

    async fn of_one_client_the_last_two_hundred_lines_of_history_are_kept(database) {
        let store = open(&database).await;
        let client_id = "https://app.example.com/c";
        for n in 0..205 {
            let document = format!("{{\"n\": {n}}}");
            let digest = Digest::of(document.as_bytes());
            let event = NewEvent {
                kind: EventKind::Changed, digest: Some(digest.clone()), changes: "[]".to_owned(), answer: "accepted".to_owned(),
            };
            store.keep_client(Accepted {
                client_id: client_id.parse().unwrap(), digest, document, fetched_at: NOW, fresh_until: Some(NOW + 60),
                event: Some(event), revoke: None,
            }).await.unwrap();
        }
        let kept = store.client_events(&client_id.parse().unwrap()).await.unwrap();
        assert_eq!((kept.len(), kept[0].number, kept[199].number), (200, 6, 205));
        // What a host said is kept as far as it is of use.
        store.note_failure(client_id.parse().unwrap(), NOW, "fetch.status", "é".repeat(5_000)).await.unwrap();
        let kept = store.client(&client_id.parse().unwrap()).await.unwrap().unwrap();
        assert_eq!(kept.failed_because.unwrap().chars().count(), 1_000);
        store.close().await;
    }

    async fn the_logos_of_a_thousand_clients_are_kept(database) {
        let store = open(&database).await;
        fill(&store, 1_010, "logos (hash, png)", "'h' || i, 'x'").await;
        fill(&store, 1_010, "client_logos (client_id, logo_uri, hash, fetched_at)",
            &format!("'https://c' || i || '.example.com/', 'https://cdn.example.com/l', 'h' || i, {} + i", NOW.0 - 2_000)).await;
        sweep(&store).await;
        assert_eq!(database.number("SELECT COUNT(*) FROM client_logos").await, 1_000);
        assert_eq!(database.number("SELECT COUNT(*) FROM logos").await, 1_000);
        assert_eq!(database.number("SELECT COUNT(*) FROM logos WHERE hash = 'h10'").await, 0);
        store.close().await;
    }

    async fn of_what_one_person_has_too_much_the_least_recently_used_goes(database) {
        let store = open(&database).await;
        let later = format!("{} + i", NOW.0 + 1_000);
        fill(&store, 1_005, "sessions (hash, subject, signed_in_at, idle_until, ends_at)", &format!("'s' || i, 'ada', 0, {later}, {later}")).await;
        fill(&store, 3, "sessions (hash, subject, signed_in_at, idle_until, ends_at)", &format!("'t' || i, 'grace', 0, {0}, {0}", NOW.0 + 1)).await;
        fill(&store, 1_005, "consents (subject, client_id, scope, resources, digest, granted_at, expires_at)",
            &format!("'ada', 'https://c' || i || '.example.com/', 'a b', '', 'd', i, {later}")).await;
        let columns = "grants (id, client_id, digest, subject, scope, resources, signed_in_at, created_at, ends_at, generation, rotated_at, idle_until, revoked_at)";
        let grant = "'https://app.example.com/c', 'd', 'ada', '', '', 0, i";
        fill(&store, 10_003, columns, &format!("'g' || i, {grant}, {later}, 1, 0, {later}, NULL")).await;
        fill(&store, 4, columns, &format!("'r' || i, {grant}, {later}, 1, 0, {later} + 90000, 1")).await;
        fill(&store, 1, "authorization_codes (hash, grant_id, client_id, digest, subject, redirect_uri, scope, resources, signed_in_at, \
            may_refresh, expires_at, auth_methods, needs_dpop)",
            &format!("'k', 'r1', 'https://app.example.com/c', 'd', 'ada', '', '', '', 0, FALSE, {}, 'none', FALSE", NOW.0 + 60)).await;
        while store.trim().await.unwrap().1 {}
        let number = async |sql| database.number(sql).await;
        assert_eq!(number("SELECT COUNT(*) FROM sessions WHERE subject = 'ada'").await, 1_000);
        assert_eq!(number("SELECT COUNT(*) FROM sessions WHERE hash IN ('s5', 's6', 't1', 't2', 't3')").await, 4);
        assert_eq!(number("SELECT COUNT(*) FROM consents").await, 1_000);
        assert_eq!(number("SELECT COUNT(*) FROM consents WHERE granted_at = 5").await, 0);
        assert_eq!(number("SELECT COUNT(*) FROM grants").await, 10_001);
        assert_eq!(number("SELECT COUNT(*) FROM grants WHERE revoked_at IS NOT NULL").await, 1, "what has ended goes first");
        assert_eq!(number("SELECT COUNT(*) FROM grants WHERE id = 'r1'").await, 1, "a code without its grant would serve again");
        assert_eq!(number("SELECT COUNT(*) FROM grants WHERE id IN ('g3', 'g4')").await, 1);
        assert_eq!(store.trim().await.unwrap(), (0, false));
        store.close().await;
    }
}

/// Nothing that a page does to a browser fills the database with the questions and codes of its person.
#[tokio::test]
async fn a_person_is_sent_here_three_hundred_times_a_minute() {
    let server = TestApp::with(Database::sqlite(), &[("WAYLEAVE_LIMITS__SCALE", "1")]).await;
    let client = server.site.publish("/c.json", json!({}));
    let mut browser = server.signed_in().await;
    let flow = server.flow(&client);
    server.allow(&mut browser, &flow).await;
    let mut refused = None;
    for n in 1..=300 {
        let page = browser.get(&flow.target()).await;
        let to = page.location().unwrap_or_else(|| panic!("{}", page.body));
        if param(to, "code").is_none() {
            refused = Some((n, param(to, "error")));
            break;
        }
    }
    assert_eq!(
        refused,
        Some((300, Some("temporarily_unavailable".to_owned()))),
        "one of three hundred was the question"
    );
    server.app.clock.advance(1);
    let page = browser.get(&flow.target()).await;
    assert!(param(page.location().unwrap(), "code").is_some());
}

#[tokio::test]
async fn a_person_who_has_too_much_is_seen_to_once_an_hour() {
    let database = Database::sqlite();
    let store = open(&database).await;
    store
        .add_account(account("ada"), Description::default())
        .await
        .unwrap()
        .unwrap();
    let sessions = async |prefix: &str| {
        let values = format!("'{prefix}' || i, 'ada', 0, {0}, {0}", NOW.0 + 90_000);
        let into = "sessions (hash, subject, signed_in_at, idle_until, ends_at)";
        fill(&store, 1_001, into, &values).await;
    };
    let mut turn = wayleave::store::SweepLease::default();
    sessions("a").await;
    let swept = store.sweep_in_turn(&mut turn, 900, NOW).await.unwrap();
    assert_eq!(swept, (1, false));
    sessions("b").await;
    let swept = store.sweep_in_turn(&mut turn, 900, NOW + 3_599).await;
    assert_eq!(swept.unwrap(), (0, false));
    let swept = store.sweep_in_turn(&mut turn, 900, NOW + 3_600).await;
    assert_eq!(swept.unwrap(), (500, true));
    store.close().await;
}
