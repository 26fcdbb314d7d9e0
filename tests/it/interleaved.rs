//! Two processes on one PostgreSQL: what somebody is being given while it is taken from them is theirs no longer. SQLite has
//! one writer, so there one unit of work ends before the next begins.

use wayleave::{
    policy::client_rules::{Rule, Tier},
    secret::{Code, Secret},
    store::{Account, Description, Ended, Redeemed, Store, StoreError},
};

use crate::{
    store::{NOW, account, code, grant, open},
    support::{Database, Locked},
};

async fn on_postgresql() -> Option<(Database, Store)> {
    let database = Database::postgresql().await?;
    let store = open(&database).await;
    store
        .add_account(account("ada"), Description::default())
        .await
        .unwrap()
        .unwrap();
    Some((database, store))
}

fn block() -> Rule {
    Rule::new("https://app.example.com/c".parse().unwrap(), Tier::Blocked)
}

/// A code like the one that is there, as another process is about to commit it.
fn another_code(secret: &Secret<Code>) -> String {
    const REST: &str = "client_id, digest, subject, redirect_uri, code_challenge, scope, resources, signed_in_at, \
                        may_refresh, expires_at, auth_methods, jkt, needs_dpop, nonce, sid";
    format!(
        "INSERT INTO authorization_codes (hash, grant_id, {REST}) SELECT '{}', 'another', {REST} FROM authorization_codes",
        secret.hash().as_str()
    )
}

#[tokio::test]
async fn a_code_that_is_being_issued_ends_with_the_block_that_waits_for_it() {
    let Some((database, store)) = on_postgresql().await else {
        return;
    };
    let (first, second) = (Secret::generate(), Secret::generate());
    store.insert_code(code(&first)).await.unwrap();
    let mut issuing = Locked::after(&database, &another_code(&second)).await;
    let blocking = tokio::spawn({
        let store = store.clone();
        async move { store.put_client_rule(block(), NOW).await }
    });
    issuing.until_waiting("authorization_codes", 1).await;
    issuing.let_go().await;
    let ended = Ended {
        clients: 1,
        grants: 0,
        logins: 2,
    };
    assert_eq!(blocking.await.unwrap().unwrap(), ended);
    for secret in [first, second] {
        let redeemed = store.redeem_code(secret.hash(), NOW, |_| Ok(grant()));
        assert!(matches!(redeemed.await.unwrap(), Redeemed::Unknown));
    }
}

#[tokio::test]
async fn a_code_that_comes_while_its_client_is_blocked_is_not_issued() {
    let Some((database, store)) = on_postgresql().await else {
        return;
    };
    store.insert_code(code(&Secret::generate())).await.unwrap();
    let mut held = Locked::new(&database, "client_events").await;
    let blocking = tokio::spawn({
        let store = store.clone();
        async move { store.put_client_rule(block(), NOW).await }
    });
    held.until_waiting("client_events", 1).await;
    let issuing = tokio::spawn({
        let store = store.clone();
        async move { store.insert_code(code(&Secret::generate())).await }
    });
    held.until_waiting("authorization_codes", 1).await;
    held.let_go().await;
    assert_eq!(blocking.await.unwrap().unwrap().logins, 1);
    let issued = issuing.await.unwrap();
    assert!(matches!(issued, Err(StoreError::RulesMoved)), "{issued:?}");
}

#[tokio::test]
async fn a_person_who_signs_in_while_the_password_changes_or_the_account_ends_is_not_signed_in() {
    let Some((database, store)) = on_postgresql().await else {
        return;
    };
    let until = (NOW + 60, NOW + 60);
    for disable in [false, true] {
        let known = store.account("ada").await.unwrap().unwrap();
        let mut held = Locked::after(&database, "LOCK TABLE users IN SHARE MODE").await;
        let changing = tokio::spawn({
            let store = store.clone();
            let name = "ada".to_owned();
            async move {
                match disable {
                    true => store.disable_account(name, NOW).await.unwrap().is_ok(),
                    false => {
                        let set = store.set_password(name, "another".to_owned(), false, NOW);
                        set.await.unwrap().is_some()
                    }
                }
            }
        });
        held.until_waiting("users", 1).await;
        let signing_in = tokio::spawn({
            let store = store.clone();
            let secret = Secret::generate();
            async move {
                let started = store.start_session(secret.hash(), known, NOW, until, None);
                (started.await.unwrap(), secret)
            }
        });
        held.until_waiting("sessions", 1).await;
        held.let_go().await;
        assert!(changing.await.unwrap());
        let (started, secret) = signing_in.await.unwrap();
        assert!(!started, "disabled: {disable}");
        let session = store.session(&secret.hash(), NOW).await;
        assert!(session.unwrap().is_none());
    }
}

/// Changes the password of `ada`, and ends what she has.
fn change_password(store: &Store) -> tokio::task::JoinHandle<Option<Account>> {
    let store = store.clone();
    tokio::spawn(async move {
        let set = store.set_password("ada".to_owned(), "another".to_owned(), true, NOW);
        set.await.unwrap()
    })
}

#[tokio::test]
async fn y_10_a_code_and_a_grant_that_are_being_given_end_with_the_password_that_waits_for_them() {
    const GRANT: &str = "INSERT INTO grants (id, client_id, digest, subject, scope, resources, signed_in_at, created_at, ends_at, \
                         generation, rotated_at, idle_until) SELECT 'another grant', client_id, digest, subject, scope, resources, \
                         signed_in_at, signed_in_at, 9999999999, 1, signed_in_at, 9999999999 FROM authorization_codes LIMIT 1";
    let Some((database, store)) = on_postgresql().await else {
        return;
    };
    let (first, second) = (Secret::generate(), Secret::generate());
    store.insert_code(code(&first)).await.unwrap();
    let steps = format!("{}; {GRANT}", another_code(&second));
    let mut giving = Locked::after(&database, &steps).await;
    let changing = change_password(&store);
    giving.until_waiting("authorization_codes", 1).await;
    giving.let_go().await;
    assert!(changing.await.unwrap().is_some());
    for secret in [first, second] {
        let redeemed = store.redeem_code(secret.hash(), NOW, |_| Ok(grant()));
        assert!(matches!(redeemed.await.unwrap(), Redeemed::Unknown));
    }
    assert_eq!(store.live_grants(NOW).await.unwrap(), 0);
}

#[tokio::test]
async fn y_10_what_comes_while_the_password_changes_is_not_given() {
    let Some((database, store)) = on_postgresql().await else {
        return;
    };
    let before = Secret::generate();
    store.insert_code(code(&before)).await.unwrap();
    let mut held = Locked::after(&database, "LOCK TABLE users IN SHARE MODE").await;
    let changing = change_password(&store);
    held.until_waiting("users", 1).await;
    let issuing = tokio::spawn({
        let store = store.clone();
        async move { store.insert_code(code(&Secret::generate())).await }
    });
    let redeeming = tokio::spawn({
        let store = store.clone();
        async move {
            let redeemed = store.redeem_code(before.hash(), NOW, |_| Ok(grant()));
            redeemed.await.unwrap()
        }
    });
    held.until_waiting("authorization_codes", 1).await;
    held.until_waiting("grants", 1).await;
    held.let_go().await;
    assert!(changing.await.unwrap().is_some());
    let issued = issuing.await.unwrap();
    assert!(matches!(issued, Err(StoreError::RulesMoved)), "{issued:?}");
    let redeemed = redeeming.await.unwrap();
    assert!(matches!(redeemed, Redeemed::Unknown), "{redeemed:?}");
    assert_eq!(store.live_grants(NOW).await.unwrap(), 0);
}
