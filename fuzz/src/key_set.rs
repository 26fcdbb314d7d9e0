//! Key sets: RFC 7517 §5, RFC 7518 §6, RFC 8037 §2.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use wayleave::{
    policy::client_pattern::Pattern,
    protocol::{
        json::{self, Json},
        key_set::{Alg, Key, KeySet, Material},
    },
};

/// The input is the file at a `jwks_uri`.
pub fn key_set(data: &[u8]) {
    let set = match KeySet::parse(data) {
        Ok(set) => set,
        Err(error) => {
            assert!(error.rule().starts_with("keys."), "{error:?}");
            return;
        }
    };
    let value = json::parse(data).expect("what we read is JSON");
    assert!(!has_private_member(&value), "a private key was accepted");
    let listed = match value {
        Json::Object(set) => set.array("keys").ok().flatten().map_or(0, <[_]>::len),
        _ => 0,
    };
    assert!(set.keys.len() + set.skipped.len() <= listed && listed <= 20);
    check_skipped(&set, listed);
    check_keys(&set);

    let again = KeySet::parse(as_json(&set).to_string().as_bytes());
    let expected = KeySet {
        skipped: Vec::new(),
        ..set
    };
    assert_eq!(again, Ok(expected), "read, written and read again");
}

fn check_skipped(set: &KeySet, listed: usize) {
    let positions: Vec<_> = set.skipped.iter().map(|key| key.position).collect();
    assert!(positions.is_sorted_by(|a, b| a < b), "{positions:?}");
    assert!(positions.iter().all(|position| *position < listed));
}

/// What holds for every set that was accepted.
pub(crate) fn check_keys(set: &KeySet) {
    assert!(set.keys.len() <= 20);
    for (i, key) in set.keys.iter().enumerate() {
        check_key(key);
        // One key may be there twice, under two names or for two algorithms (rows K-09).
        for other in &set.keys[..i] {
            assert_ne!(key, other, "each once");
            assert_eq!(
                key.material == other.material,
                key.thumbprint == other.thumbprint,
                "one thumbprint for one key"
            );
            let same_name = key.kid.is_some() && key.kid == other.kid;
            let same_type = kty(key) == kty(other);
            assert!(!same_name || !same_type || key.material == other.material);
        }
    }
    assert_eq!(set.replaced(set), None);
    check_candidates(set);
}

fn check_key(key: &Key) {
    if let Some(kid) = &key.kid {
        assert!(kid.len() <= 256 && !kid.contains(char::is_control));
    }
    let pattern: Result<Pattern, _> = format!("key:{}", key.thumbprint).parse();
    assert_eq!(pattern, Ok(Pattern::Key(key.thumbprint.clone())));
    match &key.material {
        Material::Rsa { n, e } => {
            let leading = n.first().map_or(8, |first| first.leading_zeros() as usize);
            assert!(leading < 8, "the fewest bytes");
            assert!((2048..=8192).contains(&(8 * n.len() - leading)));
            assert_eq!(n.last().map(|last| last % 2), Some(1));
            assert_eq!(e.as_slice(), [1, 0, 1]);
        }
        Material::P256 { x, y } => assert!(*x != [0; 32] || *y != [0; 32]),
        Material::P384 { x, y } => assert!(*x != [0; 48] || *y != [0; 48]),
        Material::Ed25519 { x } => assert_ne!(*x, [0; 32]),
    }
    assert!(key.alg.is_none_or(|alg| alg.fits(&key.material)));
}

fn check_candidates(set: &KeySet) {
    let kids = set.keys.iter().map(|key| key.kid.as_deref());
    for kid in kids.chain([None, Some(""), Some("no such key")]) {
        for alg in [Alg::Es256, Alg::Ps256, Alg::EdDsa, Alg::Rs256] {
            let candidates = set.candidates(kid, alg);
            assert!(candidates.len() <= 4);
            for key in candidates {
                assert!(alg.fits(&key.material));
                assert!(key.alg.is_none_or(|only| only == alg));
                assert!(kid.is_none() || key.kid.as_deref() == kid);
                assert!(!matches!(key.material, Material::P384 { .. }));
            }
        }
    }
}

fn kty(key: &Key) -> &'static str {
    match key.material {
        Material::Rsa { .. } => "RSA",
        Material::P256 { .. } | Material::P384 { .. } => "EC",
        Material::Ed25519 { .. } => "OKP",
    }
}

/// The set as somebody would publish it who wrote down what we understood.
pub(crate) fn as_json(set: &KeySet) -> Value {
    json!({ "keys": set.keys.iter().map(jwk).collect::<Vec<_>>() })
}

fn jwk(key: &Key) -> Value {
    let text = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
    let point = |crv, x, y| json!({"kty": "EC", "crv": crv, "x": text(x), "y": text(y)});
    let mut jwk = match &key.material {
        Material::Rsa { n, e } => json!({"kty": "RSA", "n": text(n), "e": text(e)}),
        Material::P256 { x, y } => point("P-256", x, y),
        Material::P384 { x, y } => point("P-384", x, y),
        Material::Ed25519 { x } => json!({"kty": "OKP", "crv": "Ed25519", "x": text(x)}),
    };
    if let Some(kid) = &key.kid {
        jwk["kid"] = json!(kid);
    }
    if let Some(alg) = key.alg {
        jwk["alg"] = json!(alg.as_str());
    }
    jwk
}

/// RFC 7518 §6.2.2, §6.3.2, §6.4: does it tell a secret anywhere?
pub(crate) fn has_private_member(value: &Json) -> bool {
    const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];
    match value {
        Json::Array(items) => items.iter().any(has_private_member),
        Json::Object(object) => {
            object.string("kty") == Ok(Some("oct"))
                || PRIVATE.iter().any(|name| object.contains(name))
                || object.iter().any(|(_, value)| has_private_member(value))
        }
        _ => false,
    }
}
