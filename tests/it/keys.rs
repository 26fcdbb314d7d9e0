//! Our signing keys turn over: rows S-50 to S-52, two servers on one database.

use std::collections::BTreeSet;

use jsonwebtoken::{Algorithm, DecodingKey, Validation, jwk::JwkSet};
use serde_json::{Value, json};
use wayleave::{policy::key_rotation::Duty, protocol::id_token::SigningAlg, time::UnixTime};

use crate::{
    process::{Running, run, wayleave},
    support::{
        Browser, TestApp,
        app::{claims, part},
        on_both,
    },
};

/// Somebody who verifies our tokens: asks for our keys when its own are as old as we said they may be, and never earlier.
#[derive(Default)]
struct Verifier {
    kept: Option<(UnixTime, JwkSet)>,
}

impl Verifier {
    async fn look(&mut self, browser: &mut Browser, now: UnixTime) {
        if self.kept.as_ref().is_some_and(|(at, _)| now - *at < 3_600) {
            return;
        }
        let page = browser.get("/jwks").await;
        assert_eq!(page.header("cache-control"), "public, max-age=3600");
        self.kept = Some((now, serde_json::from_value(page.json()).unwrap()));
    }

    fn believes(&self, token: &str) -> bool {
        let (_, keys) = self.kept.as_ref().unwrap();
        let Some(key) = keys.find(part(token, 0)["kid"].as_str().unwrap()) else {
            return false;
        };
        let mut validation = Validation::new(Algorithm::ES256);
        validation.validate_exp = false; // the test's clock, not the machine's
        validation.required_spec_claims.clear();
        jsonwebtoken::decode::<Value>(token, &DecodingKey::from_jwk(key).unwrap(), &validation)
            .is_ok()
    }
}

on_both! {
    async fn s_50_keys_turn_over_and_nobody_meets_a_token_whose_key_it_lacks(database) {
        // Two days is the shortest there is.
        let first = TestApp::with(database, &[("WAYLEAVE_KEYS__ROTATE_AFTER", "172800")]).await;
        let second = first.restart().await;
        let mut verifiers = [Verifier::default(), Verifier::default()];
        let mut alive: Vec<(i64, String)> = Vec::new();
        let mut signed_by = Vec::new();
        // Nine days in steps of ten minutes: as long as a token lives.
        for step in 0..9 * 144 {
            let now = first.app.clock.now();
            // Both see to the keys at once; neither does more than is due.
            let (one, other) = tokio::join!(first.app.keys.turn(now), second.app.keys.turn(now));
            one.unwrap();
            other.unwrap();
            // As every process does each second.
            for keys in [&first.app.keys, &second.app.keys] {
                keys.notice(now).await.unwrap();
            }
            // Half an hour apart.
            if step >= 3 {
                verifiers[1].look(&mut first.browser(), now).await;
            }
            verifiers[0].look(&mut second.browser(), now).await;
            alive.retain(|(until, _)| *until >= now.0);
            for keys in [&first.app.keys, &second.app.keys] {
                keys.have(SigningAlg::Es256, now).await.unwrap();
                let token = keys.sign(SigningAlg::Es256, "at+jwt", &json!({ "step": step }), now).unwrap();
                signed_by.push(part(&token, 0)["kid"].clone());
                alive.push((now.0 + 600, token));
            }
            for verifier in verifiers.iter().filter(|verifier| verifier.kept.is_some()) {
                assert!(alive.iter().all(|(_, token)| verifier.believes(token)), "at step {step}");
            }
            let keys = first.app.keys.described(now);
            // Each algorithm has keys of its own, and they turn over alike.
            let duties: Vec<_> = keys.iter().filter(|key| key.alg == SigningAlg::Es256).map(|key| key.duty).collect();
            let count = |wanted: fn(&Duty) -> bool| duties.iter().filter(|duty| wanted(duty)).count();
            assert_eq!(count(|duty| *duty == Duty::Signs), 1, "{duties:?}");
            assert!(duties.len() <= 3 && count(|duty| matches!(duty, Duty::Waits(_))) <= 1, "{duties:?}");
            assert_eq!(first.app.keys.published(), second.app.keys.published(), "S-54");
            first.app.clock.advance(600);
            second.app.clock.advance(600);
        }
        // One after the other, each for two days, on both.
        signed_by.dedup();
        assert_eq!(signed_by.len(), 5, "{signed_by:?}");
        let kids: BTreeSet<_> = signed_by.iter().map(Value::to_string).collect();
        assert_eq!(kids.len(), 5);
    }

    async fn s_51_whoever_stood_still_does_not_sign_with_a_key_that_is_gone(database) {
        let first = TestApp::new(database).await;
        let second = first.restart().await;
        let now = first.app.clock.now();
        let old = first.app.keys.described(now).remove(0);
        first.app.keys.revoke(&old.kid, now).await.unwrap();
        // The other one sees nothing of it, as if stopped, until somebody asks it for a token a minute later.
        first.app.clock.advance(61);
        second.app.clock.advance(61);
        let now = second.app.clock.now();
        second.app.keys.have(SigningAlg::Es256, now).await.unwrap();
        let token = second.app.keys.sign(SigningAlg::Es256, "at+jwt", &json!({}), now).unwrap();
        assert_ne!(part(&token, 0)["kid"], old.kid.as_str());
        assert_eq!(part(&token, 0)["kid"], first.app.keys.described(now)[0].kid.as_str());
    }

    async fn s_52_a_revoked_key_is_gone_at_once_and_so_is_what_it_signed(database) {
        let server = TestApp::new(database).await;
        let client = server.site.publish("/c.json", json!({}));
        let mut browser = server.signed_in().await;
        let flow = server.flow(&client).with("scope", "openid");
        let code = server.code(&mut browser, &flow).await;
        let tokens = server.redeem(&flow, &code).await.json();
        let token = tokens["access_token"].as_str().unwrap().to_owned();
        let ask = async |token: &str| {
            let bearer = format!("Bearer {token}");
            server.call("/userinfo", &[], &[("authorization", &bearer)]).await.status.as_u16()
        };
        assert_eq!(ask(&token).await, 200);

        let other = server.restart().await;
        let now = server.app.clock.now();
        let kid = part(&token, 0)["kid"].as_str().unwrap().to_owned();
        other.app.keys.revoke(&kid, now).await.unwrap();
        assert!(other.app.keys.revoke(&kid, now).await.is_err(), "once");
        // The server looks once a second.
        server.app.clock.advance(1);
        let published = server.browser().get("/jwks").await.body;
        assert!(!published.contains(&kid), "{published}");
        assert_eq!(ask(&token).await, 401);

        let page = server.refresh(&client, tokens["refresh_token"].as_str().unwrap()).await;
        let fresh = page.json()["access_token"].as_str().unwrap().to_owned();
        assert_ne!(part(&fresh, 0)["kid"], kid.as_str());
        assert_eq!((ask(&fresh).await, claims(&fresh)["sub"].clone()), (200, claims(&token)["sub"].clone()));
    }

    async fn an_administrator_publishes_the_next_key_and_has_it_sign(database) {
        let server = TestApp::new(database).await;
        let (keys, now) = (&server.app.keys, server.app.clock.now());
        let old = keys.described(now).remove(0);
        let next = keys.rotate(SigningAlg::Es256, false, now).await.unwrap();
        assert_eq!((next.duty, next.signs_from - now), (Duty::Waits(now + 86_400), 86_400));
        let again = keys.rotate(SigningAlg::Es256, false, now).await.unwrap();
        assert_eq!(again.kid, next.kid, "one waits at a time");
        let signer = |now| {
            let token = keys.sign(SigningAlg::Es256, "at+jwt", &json!({}), now).unwrap();
            part(&token, 0)["kid"].as_str().unwrap().to_owned()
        };
        assert_eq!((signer(now), signer(now + 86_400)), (old.kid.clone(), next.kid.clone()));

        // At once: the one that waits; and then a fresh one, even within the same second.
        let at_once = keys.rotate(SigningAlg::Es256, true, now).await.unwrap();
        assert_eq!((&at_once.kid, at_once.duty, signer(now)), (&next.kid, Duty::Signs, next.kid.clone()));
        let fresh = keys.rotate(SigningAlg::Es256, true, now).await.unwrap();
        assert!(fresh.kid != next.kid && fresh.duty == Duty::Signs && signer(now) == fresh.kid, "{fresh:?}");
        let verifying = |now| keys.described(now).iter().filter(|key| matches!(key.duty, Duty::Verifies(_))).count();
        // Beside those of the other algorithms.
        let count = || keys.count() - (SigningAlg::ALL.len() - 1);
        assert_eq!((verifying(now), count()), (2, 3));

        // Taking out one that only verifies changes nothing else; the others go when their time is over.
        keys.revoke(&old.kid, now).await.unwrap();
        assert_eq!((count(), signer(now)), (2, fresh.kid.clone()));
        keys.turn(now + 4_499).await.unwrap();
        assert_eq!(count(), 2);
        keys.turn(now + 4_500).await.unwrap();
        assert_eq!((count(), signer(now)), (1, fresh.kid.clone()));

        // Without one that waits a revoked signer is replaced; with one, that one signs.
        let waiting = keys.rotate(SigningAlg::Es256, false, now).await.unwrap();
        keys.revoke(&fresh.kid, now).await.unwrap();
        assert_eq!((count(), signer(now)), (1, waiting.kid.clone()));
        keys.revoke(&waiting.kid, now).await.unwrap();
        assert_eq!(count(), 1);
        assert_ne!(signer(now), waiting.kid);
    }

    async fn keys_are_seen_to_from_the_command_line_while_the_server_runs(database) {
        let folder = tempfile::tempdir().unwrap();
        let command = || {
            let mut command = wayleave(folder.path());
            command.env("WAYLEAVE_DATABASE__URL", &database.url);
            command
        };
        let key = |arguments: &[&str]| {
            let mut command = command();
            command.arg("key").args(arguments);
            run(command, None)
        };
        let list = || -> Vec<Value> { serde_json::from_slice(&key(&["list", "--json"]).stdout).unwrap() };
        let algs = |keys: &[Value]| keys.iter().map(|key| key["alg"].clone()).collect::<Vec<_>>();
        let server = Running::start(command(), 3);
        let first = list();
        assert_eq!(algs(&first), ["ES256", "RS256", "EdDSA"]);
        assert!(first.iter().all(|key| key["state"] == "signs"), "{first:?}");

        let rotated = key(&["rotate", "--now", "--json"]);
        let rotated: Value = serde_json::from_slice(&rotated.stdout).unwrap();
        assert_eq!(rotated["state"], "signs");
        let old = first[0]["kid"].as_str().unwrap();
        let text = String::from_utf8(key(&["list"]).stdout).unwrap();
        assert!(text.contains(&format!("{old}  ES256  verifies what it signed, until ")), "{text}");
        let published = |what: &dyn Fn(&str) -> bool| {
            let told = (0..200).any(|_| {
                std::thread::sleep(std::time::Duration::from_millis(20));
                what(&server.get("/jwks").1)
            });
            assert!(told, "{}", server.get("/jwks").1);
        };
        let new = rotated["kid"].as_str().unwrap();
        published(&|keys| keys.contains(new) && keys.contains(old));

        let revoked = key(&["revoke", old]);
        assert!(revoked.status.success(), "{revoked:?}");
        published(&|keys| keys.contains(new) && !keys.contains(old));
        let unknown = key(&["revoke", old]);
        assert_eq!((unknown.status.code(), String::from_utf8(unknown.stderr).unwrap()), (Some(1), format!("wayleave: there is no signing key {old}; `wayleave key list` shows those that there are\n")));
        assert_eq!(key(&["rotate", "--alg", "HS256"]).status.code(), Some(2));
        let another = key(&["rotate", "--alg", "eddsa"]);
        assert!(String::from_utf8(another.stdout).unwrap().contains("EdDSA  published; signs from "));
    }
}
