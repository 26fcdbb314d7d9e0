//! What the store promises, on both databases.

use std::time::Duration;

use wayleave::{
    protocol::{
        client::Digest,
        client_metadata::{AuthMethod, AuthMethods},
        error::OAuthError,
    },
    secret::{Code, Secret, SecretHash, Session, random_id},
    store::{Account, Description, NewCode, NewGrant, Redeemed, Store},
    time::UnixTime,
};

use crate::support::{Database, Kind, on_both};

pub(crate) const NOW: UnixTime = UnixTime(1_800_000_000);

pub(crate) async fn open(database: &Database) -> Store {
    let store = Store::open(&database.parsed(), 10).await.unwrap();
    store.migrate().await.unwrap();
    let signed_in = format!(
        "INSERT INTO sessions (hash, subject, signed_in_at, idle_until, ends_at) VALUES ('{}', 'subject of ada', {}, {}, {}) \
         ON CONFLICT (hash) DO NOTHING",
        session().as_str(),
        NOW.0,
        i64::MAX,
        i64::MAX,
    );
    store.execute_raw(signed_in).await.unwrap();
    store
}

/// The session in which `ada` is signed in, whether there is such an account or not.
pub(crate) fn session() -> SecretHash<Session> {
    SecretHash::of_bytes(b"session")
}

pub(crate) fn account(name: &str) -> Account {
    Account {
        subject: format!("subject of {name}"),
        username: name.to_owned(),
        password_hash: String::new(),
        is_admin: false,
        created_at: NOW,
        disabled_at: None,
    }
}

pub(crate) fn code(secret: &Secret<Code>) -> NewCode {
    NewCode {
        hash: secret.hash(),
        client_id: "https://app.example.com/c".parse().unwrap(),
        digest: Digest::of(b"document"),
        subject: "subject of ada".to_owned(),
        redirect_uri: "https://app.example.com/cb".to_owned(),
        code_challenge: "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM".parse().ok(),
        scope: "a b".parse().unwrap(),
        resources: "https://a.example/ https://b.example/x".parse().unwrap(),
        signed_in_at: NOW,
        may_refresh: false,
        expires_at: NOW + 60,
        auth_methods: AuthMethods(vec![AuthMethod::PrivateKeyJwt, AuthMethod::None]),
        jkt: Some("thumbprint".to_owned()),
        needs_dpop: true,
        nonce: Some("nonce".to_owned()),
        sid: Some("sid".to_owned()),
        session: session(),
        pushed: None,
        now: NOW,
        revision: 1,
    }
}

pub(crate) fn grant() -> NewGrant {
    NewGrant {
        ends_at: NOW + 600,
        idle_until: NOW + 600,
        family: None,
        auth_method: AuthMethod::None,
        jkt: None,
    }
}

on_both! {
    async fn what_was_written_reads_back_as_it_was(database) {
        let store = open(&database).await;
        store.add_account(account("ada"), Description::default()).await.unwrap().unwrap();
        let secret = Secret::generate();
        store.insert_code(code(&secret)).await.unwrap();
        // Another process, which has to look the code up.
        let other = open(&database).await;
        let Redeemed::Granted(issued) = other.redeem_code(secret.hash(), NOW, |_| Ok(grant())).await.unwrap() else {
            panic!("not granted")
        };
        let expected = code(&secret);
        assert_eq!(issued.client_id, expected.client_id);
        assert_eq!(issued.auth_methods, expected.auth_methods);
        assert_eq!((&issued.jkt, &issued.nonce, &issued.sid), (&expected.jkt, &expected.nonce, &expected.sid));
        assert!(issued.needs_dpop);
        assert_eq!((&issued.digest, &issued.code_challenge), (&expected.digest, &expected.code_challenge));
        assert_eq!((&issued.scope, &issued.resources), (&expected.scope, &expected.resources));
        assert_eq!((issued.signed_in_at, issued.may_refresh), (NOW, false));
    }

    async fn x_16_a_unit_of_work_that_fails_leaves_nothing_and_harms_no_other(database) {
        let store = open(&database).await;
        store.add_account(account("ada"), Description::default()).await.unwrap().unwrap();
        let good: Vec<Secret<Code>> = (0..20).map(|_| Secret::generate()).collect();
        let work = good.iter().map(|secret| {
            let store = store.clone();
            let (row, duplicate) = (code(secret), code(secret));
            async move {
                store.insert_code(row).await.unwrap();
                store.insert_code(duplicate).await.expect_err("the hash is taken");
            }
        });
        futures_util::future::join_all(work).await;
        for secret in &good {
            let redeemed = store.redeem_code(secret.hash(), NOW, |_| Ok(grant())).await.unwrap();
            assert!(matches!(redeemed, Redeemed::Granted(_)), "{redeemed:?}");
        }
    }

    async fn a_caller_that_goes_away_does_not_tear_its_work(database) {
        let store = open(&database).await;
        store.add_account(account("ada"), Description::default()).await.unwrap().unwrap();
        let secrets: Vec<Secret<Code>> = (0..50).map(|_| Secret::generate()).collect();
        for secret in &secrets {
            // Gone at once, or a moment later.
            _ = tokio::time::timeout(Duration::ZERO, store.insert_code(code(secret))).await;
        }
        for secret in &secrets {
            let first = store.redeem_code(secret.hash(), NOW, |_| Ok(grant())).await.unwrap();
            let second = store.redeem_code(secret.hash(), NOW + 4, |_| Ok(grant())).await.unwrap();
            let once = match first {
                Redeemed::Granted(_) => matches!(second, Redeemed::Reused { .. }),
                Redeemed::Unknown => true,
                _ => false,
            };
            assert!(once, "{second:?}");
        }
    }

    async fn a_refused_code_is_spent_and_gives_nothing(database) {
        let store = open(&database).await;
        store.add_account(account("ada"), Description::default()).await.unwrap().unwrap();
        let secret = Secret::generate();
        store.insert_code(code(&secret)).await.unwrap();
        let refused = store.redeem_code(secret.hash(), NOW, |_| Err(OAuthError::invalid_grant("no"))).await.unwrap();
        assert!(matches!(refused, Redeemed::Refused(_)), "{refused:?}");
        let again = store.redeem_code(secret.hash(), NOW, |_| Ok(grant())).await.unwrap();
        assert!(matches!(again, Redeemed::Unknown), "{again:?}");
    }

    async fn names_are_taken_once_and_keys_are_made_once(database) {
        let store = open(&database).await;
        let all = futures_util::future::join_all((0..16).map(|_| store.add_account(Account { subject: random_id(), ..account("ada") }, Description::default()))).await;
        assert_eq!(all.iter().filter(|added| added.as_ref().unwrap().is_ok()).count(), 1);
        let secrets = futures_util::future::join_all((0..16).map(|n| store.server_secret("root", n.to_string()))).await;
        assert!(secrets.windows(2).all(|pair| pair[0].as_ref().unwrap() == pair[1].as_ref().unwrap()), "{secrets:?}");
    }

    async fn a_session_begins_with_the_password_that_the_account_has(database) {
        let store = open(&database).await;
        store.add_account(account("ada"), Description::default()).await.unwrap().unwrap();
        let until = (NOW + 60, NOW + 60);
        let known = store.account("ada").await.unwrap().unwrap();
        let (first, second): (Secret<Session>, Secret<Session>) = (Secret::generate(), Secret::generate());
        assert!(store.start_session(first.hash(), known.clone(), NOW, until, None).await.unwrap());
        assert!(store.set_password("ada".to_owned(), "another".to_owned(), false, NOW).await.unwrap().is_some());
        assert!(store.session(&first.hash(), NOW).await.unwrap().is_none());
        assert!(!store.start_session(second.hash(), known, NOW, until, None).await.unwrap(), "it was the old password");
        let known = store.account("ada").await.unwrap().unwrap();
        assert!(store.start_session(second.hash(), known.clone(), NOW, until, None).await.unwrap());
        // One that does not begin leaves alone the one that it was to replace.
        let stale = Account { password_hash: "old".to_owned(), ..known };
        assert!(!store.start_session(first.hash(), stale, NOW, until, Some(second.hash())).await.unwrap());
        assert!(store.session(&second.hash(), NOW).await.unwrap().is_some());
    }

    async fn expired_rows_are_swept_in_batches_and_live_ones_stay(database) {
        let store = open(&database).await;
        store.add_account(account("ada"), Description::default()).await.unwrap().unwrap();
        let work = (0..600).map(|_| store.insert_code(code(&Secret::generate())));
        for inserted in futures_util::future::join_all(work).await {
            inserted.unwrap();
        }
        assert_eq!(store.sweep(900, NOW + 60).await.unwrap(), (0, false), "a spent code is remembered for an hour");
        assert_eq!(store.sweep(900, NOW + 4_000).await.unwrap(), (500, true));
        assert_eq!(store.sweep(900, NOW + 4_000).await.unwrap(), (100, false));
    }

    async fn migrating_twice_and_at_once_is_harmless(database) {
        if database.kind == Kind::Postgres {
            let stores = futures_util::future::join_all((0..4).map(|_| open(&database))).await;
            assert_eq!(stores.len(), 4);
        }
        let store = open(&database).await;
        store.migrate().await.unwrap();
        store.ping().await.unwrap();
    }
}

/// A way to the database on which what is open can go silent, as behind a firewall that has forgotten it.
struct Way {
    url: String,
    silent: tokio::sync::watch::Sender<bool>,
}

impl Way {
    async fn to(database: &Database) -> Self {
        let mut url: url::Url = database.url.parse().unwrap();
        let server = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap_or(5432));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        url.set_host(Some("127.0.0.1")).unwrap();
        url.set_port(Some(listener.local_addr().unwrap().port()))
            .unwrap();
        let (silent, told) = tokio::sync::watch::channel(false);
        tokio::spawn(async move {
            loop {
                let (mut here, _) = listener.accept().await.unwrap();
                let mut there = tokio::net::TcpStream::connect(&server).await.unwrap();
                let mut told = told.clone();
                tokio::spawn(async move {
                    // What is opened later works.
                    told.mark_unchanged();
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut here, &mut there) => {}
                        _ = told.changed() => std::future::pending().await,
                    }
                });
            }
        });
        Self {
            url: url.into(),
            silent,
        }
    }
}

#[tokio::test]
async fn a_connection_that_has_gone_silent_is_replaced() {
    let Some(database) = Database::postgresql().await else {
        return;
    };
    let way = Way::to(&database).await;
    let store = Store::open(&way.url.parse().unwrap(), 2).await.unwrap();
    let at_once = async || {
        let (one, other) = tokio::join!(store.ping(), store.ping());
        one.is_ok() && other.is_ok()
    };
    assert!(at_once().await);
    // In the middle of work, which is broken off: nothing is left of it, and others find a connection.
    way.silent.send(true).unwrap();
    for _ in 0..2 {
        let broken_off = tokio::time::timeout(Duration::from_millis(50), store.ping());
        assert!(broken_off.await.is_err());
    }
    assert!(at_once().await);
    // Nobody waits for it at the end, either.
    way.silent.send(true).unwrap();
    store.close().await;
}
