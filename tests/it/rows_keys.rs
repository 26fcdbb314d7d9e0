//! Key sets at a `jwks_uri`: section 3(a).8 of the attack corpus, as far as it is about reading them.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use wayleave::{
    clients::{Need, Refusal, RefusalKind},
    protocol::{client::Client, key_set::KeySet},
};

use crate::support::{Answer, Database, TestApp, app::anybody};

const P256: [(&str, &str); 2] = [
    (
        "fPJ7GI0DT36KUjgDBLUaw8CJaeJ38hs1pgtI_EdmmXg",
        "B3dVENuO0EApPZrGn3Qw27p9reY86YIpngS3nSJ4c9E",
    ),
    (
        "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
        "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
    ),
];

fn key(kid: &str, which: usize) -> Value {
    json!({ "kty": "EC", "crv": "P-256", "kid": kid, "x": P256[which].0, "y": P256[which].1 })
}

struct Scene {
    server: TestApp,
    client: Arc<Client>,
}

impl Scene {
    /// A client whose keys are at `/jwks`.
    async fn new(keys: Value) -> Self {
        // So many that a thousand assertions may wait for one host.
        let places = [("WAYLEAVE_SERVER__MAX_REQUESTS", "2000")];
        let server = TestApp::with(Database::sqlite(), &places).await;
        Self::at(server, "/jwks", keys).await
    }

    async fn at(server: TestApp, path: &str, keys: Value) -> Self {
        let jwks_uri = if path.starts_with('/') {
            server.site.url(path)
        } else {
            path.to_owned()
        };
        let id = server.site.publish(
            "/c.json",
            json!({ "token_endpoint_auth_method": "private_key_jwt", "jwks_uri": jwks_uri }),
        );
        let client = server
            .app
            .clients
            .client(
                &id.parse().unwrap(),
                Need::Fetch(anybody()),
                server.app.clock.now(),
            )
            .await
            .unwrap();
        let scene = Self {
            server,
            client: client.unwrap(),
        };
        scene.publish(keys);
        scene
    }

    fn publish(&self, keys: Value) {
        let body = json!({ "keys": keys }).to_string();
        let answer = Answer::json(body).header("content-type", "application/jwk-set+json");
        self.server
            .site
            .answer("/jwks", answer.header("cache-control", "max-age=300"));
    }

    async fn keys(&self) -> Result<Arc<KeySet>, Refusal> {
        self.server
            .app
            .clients
            .keys(&self.client, anybody(), self.server.app.clock.now())
            .await
    }

    async fn newer_keys(&self) -> Result<Arc<KeySet>, Refusal> {
        self.server
            .app
            .clients
            .newer_keys(
                &self.client,
                self.server.app.clock.now(),
                anybody(),
                self.server.app.clock.now(),
            )
            .await
    }

    /// Questions for the keys so far: the first connection was for the document.
    fn asked(&self) -> usize {
        self.server.site.connections() - 1
    }
}

fn kids(set: &KeySet) -> Vec<&str> {
    set.keys
        .iter()
        .filter_map(|key| key.kid.as_deref())
        .collect()
}

#[tokio::test]
async fn k_01_a_key_set_is_read_once_while_it_is_fresh() {
    let scene = Scene::new(json!([key("a", 0)])).await;
    for _ in 0..3 {
        assert_eq!(kids(&scene.keys().await.unwrap()), ["a"]);
    }
    assert_eq!(scene.asked(), 1);
    let request = scene.server.site.requests().pop().unwrap();
    assert!(request.contains("application/jwk-set+json"), "{request}");
    scene.server.app.clock.advance(301);
    scene.keys().await.unwrap();
    assert_eq!(scene.asked(), 2);
    // A thousand assertions at once make one fetch.
    scene.server.app.clock.advance(301);
    let all = futures_util::future::join_all((0..1_000).map(|_| scene.keys())).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(scene.asked(), 3);
}

/// What is at the address, and the rule that refuses it.
#[tokio::test]
async fn k_14_a_key_set_is_read_as_strictly_as_a_document() {
    let good = json!({ "keys": [key("a", 0)] }).to_string();
    let table = [
        (Answer::json(good.clone()), None),
        (
            Answer::json(good.clone()).header("content-type", "text/plain"),
            Some("keys.media_type"),
        ),
        (
            Answer::status(302).header("location", "https://127.0.0.1/"),
            Some("fetch.status"),
        ),
        (Answer::status(404), Some("fetch.status")),
        (Answer::json(vec![b' '; 65_537]), Some("fetch.size")),
        (Answer::json("{}"), Some("keys.object")),
        (Answer::json("["), Some("keys.json")),
        (
            Answer::json(json!({ "keys": [{ "kty": "oct", "k": "AA" }] }).to_string()),
            Some("keys.secret"),
        ),
        (
            Answer::json(good).header("content-encoding", "gzip"),
            Some("fetch.encoding"),
        ),
    ];
    for (answer, rule) in table {
        let scene = Scene::new(json!([])).await;
        scene.server.site.answer("/jwks", answer.clone());
        let got = scene.keys().await;
        assert_eq!(
            got.as_ref().err().map(|refusal| refusal.rule),
            rule,
            "{answer:?}"
        );
        // It says nothing against the client: its keys may be there in a moment.
        assert!(
            got.is_ok()
                || got.is_err_and(|refusal| matches!(refusal.kind, RefusalKind::Temporary(_)))
        );
        assert_eq!(scene.asked(), 1);
    }
}

#[tokio::test]
async fn k_15_keys_are_not_read_from_ourselves_or_from_where_no_document_may_be() {
    for (own, uri) in [
        ("https://id.example.com", "https://id.example.com/jwks"),
        (
            "https://id.example.com",
            "https://other.example.com:22/jwks",
        ),
        ("https://id.example.com", "https://OTHER.example.com/jwks"),
        (
            "https://id.example.com",
            "https://other.example.com/../jwks",
        ),
    ] {
        let server = TestApp::with(Database::sqlite(), &[("WAYLEAVE_ISSUER", own)]).await;
        // The origin of a development server is what is its own.
        let scene = Scene::at(server, uri, json!([])).await;
        let refused = scene.keys().await.unwrap_err();
        assert_eq!(
            (refused.rule, refused.kind),
            ("document.jwks_uri", RefusalKind::Invalid),
            "{uri}"
        );
        assert_eq!(scene.asked(), 0, "{uri}");
    }
}

#[tokio::test]
async fn k_27_k_28_an_unknown_key_has_them_read_again_once_in_thirty_seconds() {
    let scene = Scene::new(json!([key("a", 0)])).await;
    scene.keys().await.unwrap();
    for _ in 0..1_000 {
        let refused = scene.newer_keys().await.unwrap_err();
        assert!(
            matches!(refused.kind, RefusalKind::Temporary(1..=30)),
            "{refused:?}"
        );
        assert!(scene.keys().await.is_ok(), "a valid assertion in between");
    }
    assert_eq!(scene.asked(), 1);
    scene.server.app.clock.advance(30);
    let all = futures_util::future::join_all((0..1_000).map(|_| scene.newer_keys())).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(scene.asked(), 2);
}

#[tokio::test]
async fn k_29_a_rotated_key_is_found_and_never_costs_a_refusal() {
    let scene = Scene::new(json!([key("a", 0)])).await;
    scene.keys().await.unwrap();
    scene.publish(json!([key("a", 0), key("b", 1)]));
    // A second later, while the host is left alone: come again, not: you are nobody.
    scene.server.app.clock.advance(1);
    let refused = scene.newer_keys().await.unwrap_err();
    assert_eq!(refused.kind, RefusalKind::Temporary(29));
    scene.server.app.clock.advance(29);
    assert_eq!(kids(&scene.newer_keys().await.unwrap()), ["a", "b"]);
    assert_eq!(kids(&scene.keys().await.unwrap()), ["a", "b"]);
}

#[tokio::test]
async fn k_30_a_key_that_was_taken_away_is_gone_when_the_set_is_no_longer_fresh() {
    let scene = Scene::new(json!([key("a", 0), key("b", 1)])).await;
    scene.keys().await.unwrap();
    scene.publish(json!([key("b", 1)]));
    scene.server.app.clock.advance(299);
    assert_eq!(kids(&scene.keys().await.unwrap()), ["a", "b"]);
    scene.server.app.clock.advance(2);
    assert_eq!(kids(&scene.keys().await.unwrap()), ["b"]);
    // And at once when the administrator says so.
    scene.publish(json!([key("a", 0)]));
    scene.server.app.store.bump_clients().await.unwrap();
    scene.server.app.clients.notice_changes().await.unwrap();
    assert_eq!(kids(&scene.keys().await.unwrap()), ["a"]);
}

#[tokio::test]
async fn k_31_k_32_the_last_good_keys_serve_for_an_hour() {
    for bad in [
        Answer::status(503),
        Answer::json("<html>").header("content-type", "text/html"),
        Answer::json(""),
    ] {
        let scene = Scene::new(json!([key("a", 0)])).await;
        scene.keys().await.unwrap();
        scene.server.site.answer("/jwks", bad.clone());
        scene.server.app.clock.advance(301);
        assert_eq!(kids(&scene.keys().await.unwrap()), ["a"], "{bad:?}");
        scene.server.app.clock.advance(3_500);
        assert_eq!(kids(&scene.keys().await.unwrap()), ["a"], "{bad:?}");
        scene.server.app.clock.advance(200);
        let refused = scene.keys().await.unwrap_err();
        assert!(
            matches!(refused.kind, RefusalKind::Temporary(_)),
            "{refused:?}"
        );
        let asked = scene.asked();
        assert!(scene.keys().await.is_err());
        assert_eq!(scene.asked(), asked, "the host is given time");
        scene.publish(json!([key("a", 0)]));
        scene.server.app.clock.advance(31);
        assert!(scene.keys().await.is_ok());
    }
}

#[tokio::test]
async fn a_key_at_a_jwks_uri_that_changes_under_its_kid_is_refused() {
    let scene = Scene::new(json!([key("a", 0)])).await;
    let first = scene.keys().await.unwrap();
    scene.publish(json!([key("a", 1)]));
    scene.server.app.clock.advance(301);
    let kept = scene.keys().await.unwrap();
    assert_eq!(
        kept.keys[0].thumbprint, first.keys[0].thumbprint,
        "the old key serves on"
    );
    scene.server.app.clock.advance(3_600);
    assert_eq!(scene.keys().await.unwrap_err().rule, "keys.kid_changed");
}

#[tokio::test]
async fn a_host_of_keys_that_never_answers_costs_a_moment() {
    let scene = Scene::new(json!([key("a", 0)])).await;
    let silent = Answer {
        delay: Duration::from_secs(60),
        ..Answer::status(200)
    };
    scene.server.site.answer("/jwks", silent);
    let refused = scene.keys().await.unwrap_err();
    assert_eq!((refused.rule, scene.asked()), ("fetch.head", 1));
}
