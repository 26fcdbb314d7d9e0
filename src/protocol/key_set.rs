//! Key sets as strangers publish them: RFC 7517 §5, the key types of RFC 7518 §6 and RFC 8037 §2, the thumbprints of
//! RFC 7638.

use std::borrow::Cow;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ParsedPublicKey, VerificationAlgorithm,
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use thiserror::Error;

use crate::protocol::json::{self, Json, Object};
use crate::secret::sha256;

/// The public keys of one client, each of them fit to verify signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySet {
    /// In the order of the set, each once. May be empty.
    pub keys: Vec<Key>,
    pub skipped: Vec<Skipped>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// At most 256 bytes without control characters, otherwise a stranger's text.
    pub kid: Option<String>,
    /// RFC 7638 with SHA-256, in base64url.
    pub thumbprint: String,
    /// The one algorithm the publisher limits the key to.
    pub alg: Option<Alg>,
    pub material: Material,
}

/// RFC 7518 §6.2.1, §6.3.1, RFC 8037 §2: numbers as they stand in the key, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Material {
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    P256 {
        x: [u8; 32],
        y: [u8; 32],
    },
    /// A good key, but no [`Alg`] verifies with it: it is never a candidate.
    P384 {
        x: [u8; 48],
        y: [u8; 48],
    },
    Ed25519 {
        x: [u8; 32],
    },
}

/// The signature algorithms we verify: RFC 7518 §3.1, RFC 8037 §3.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Alg {
    Es256,
    Ps256,
    EdDsa,
    Rs256,
}

/// A key that does no harm but cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Its index in `keys`.
    pub position: usize,
    /// For the publisher; never repeats the key.
    pub reason: &'static str,
}

const MAX_KEYS: usize = 20;
const MAX_KID: usize = 256;
const MAX_TRIES: usize = 4;

impl KeySet {
    /// Reads the file at a `jwks_uri`.
    ///
    /// # Errors
    ///
    /// The rule that refuses the whole set.
    pub fn parse(body: &[u8]) -> Result<Self, KeySetError> {
        let value = json::parse(body).map_err(|error| refuse("keys.json", error.to_string()))?;
        Self::from_json(&value)
    }

    /// Reads the `jwks` inside a document.
    ///
    /// # Errors
    ///
    /// The rule that refuses the whole set.
    pub fn from_json(value: &Json) -> Result<Self, KeySetError> {
        // First, whatever else is wrong: a leaked key is news for its owner.
        if has_secret(value) {
            return Err(refuse(
                "keys.secret",
                "the key set contains a private or symmetric key; publish the public half only and replace this key",
            ));
        }
        let mut set = Self {
            keys: Vec::new(),
            skipped: Vec::new(),
        };
        for (position, jwk) in members(value)?.into_iter().enumerate() {
            let kid = kid(jwk)?;
            match read(jwk, kid) {
                Ok(key) => set.add(key)?,
                Err(reason) => set.skipped.push(Skipped { position, reason }),
            }
        }
        Ok(set)
    }

    /// The keys that may verify a signature, RFC 7515 §6 and appendix D: those its header names, otherwise the first
    /// four that fit. A key without `kid` is no answer to a header with one.
    pub fn candidates(&self, kid: Option<&str>, alg: Alg) -> Vec<&Key> {
        self.keys
            .iter()
            .filter(|key| kid.is_none() || key.kid.as_deref() == kid)
            .filter(|key| alg.fits(&key.material) && key.alg.is_none_or(|only| only == alg))
            .take(MAX_TRIES)
            .collect()
    }

    /// A `kid` that stood for another key of the same type in an earlier version of this set.
    pub fn replaced(&self, earlier: &Self) -> Option<&str> {
        let replaced = self
            .keys
            .iter()
            .find(|key| earlier.keys.iter().any(|old| key.contradicts(old)));
        replaced.and_then(|key| key.kid.as_deref())
    }

    fn add(&mut self, key: Key) -> Result<(), KeySetError> {
        if self.keys.iter().any(|other| key.contradicts(other)) {
            return Err(refuse(
                "keys.kid",
                "two different keys of one type have the same kid; give each key its own",
            ));
        }
        if !self.keys.contains(&key) {
            self.keys.push(key);
        }
        Ok(())
    }
}

impl Key {
    /// Reads one public key that stands by itself, RFC 7517 §4; `None` where it is none that we can use.
    pub fn parse(jwk: &Json) -> Option<Self> {
        match jwk {
            Json::Object(object) if !has_secret(jwk) => read(object, None).ok(),
            _ => None,
        }
    }

    /// RFC 7517 §4.5: one `kid` may stand for keys of different types, but not for two of one type.
    fn contradicts(&self, other: &Self) -> bool {
        self.kid.is_some()
            && self.kid == other.kid
            && self.material.kty() == other.material.kty()
            && self.thumbprint != other.thumbprint
    }
}

impl Alg {
    const ALL: [Self; 4] = [Self::Es256, Self::Ps256, Self::EdDsa, Self::Rs256];

    pub fn from_wire(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|alg| alg.as_str() == name)
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Ps256 => "PS256",
            Self::EdDsa => "EdDSA",
            Self::Rs256 => "RS256",
        }
    }

    /// Can this algorithm verify with such a key at all?
    pub const fn fits(self, material: &Material) -> bool {
        matches!(
            (self, material),
            (Self::Es256, Material::P256 { .. })
                | (Self::Ps256 | Self::Rs256, Material::Rsa { .. })
                | (Self::EdDsa, Material::Ed25519 { .. })
        )
    }
}

impl Material {
    const fn kty(&self) -> &'static str {
        match self {
            Self::Rsa { .. } => "RSA",
            Self::P256 { .. } | Self::P384 { .. } => "EC",
            Self::Ed25519 { .. } => "OKP",
        }
    }

    /// RFC 7638 §3: the required members in lexicographic order, without white space.
    fn thumbprint(&self) -> String {
        let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        let point = |crv, x: &[u8], y: &[u8]| {
            let (x, y) = (encode(x), encode(y));
            format!(r#"{{"crv":"{crv}","kty":"EC","x":"{x}","y":"{y}"}}"#)
        };
        let canonical = match self {
            Self::Rsa { n, e } => {
                format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, encode(e), encode(n))
            }
            Self::P256 { x, y } => point("P-256", x, y),
            Self::P384 { x, y } => point("P-384", x, y),
            Self::Ed25519 { x } => {
                format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, encode(x))
            }
        };
        encode(&sha256(canonical.as_bytes()))
    }
}

/// Why a key set is refused. The sentence is for the client's developer and never repeats the set.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{reason}")]
pub struct KeySetError {
    rule: &'static str,
    reason: Cow<'static, str>,
}

impl KeySetError {
    /// A stable name for logs, metrics and `wayleave explain`.
    pub fn rule(&self) -> &'static str {
        self.rule
    }
}

fn refuse(rule: &'static str, reason: impl Into<Cow<'static, str>>) -> KeySetError {
    KeySetError {
        rule,
        reason: reason.into(),
    }
}

/// RFC 7518 §6.2.2, §6.3.2, §6.4.1, RFC 8037 §2: the members of private and symmetric keys, wherever they hide.
fn has_secret(value: &Json) -> bool {
    match value {
        Json::Array(items) => items.iter().any(has_secret),
        Json::Object(object) => object.iter().any(|(name, value)| {
            matches!(name, "d" | "p" | "q" | "dp" | "dq" | "qi" | "oth" | "k")
                || (name == "kty" && value.as_str() == Some("oct"))
                || has_secret(value)
        }),
        _ => false,
    }
}

/// RFC 7517 §5: an object with an array `keys` of objects.
fn members(value: &Json) -> Result<Vec<&Object>, KeySetError> {
    let wrong = || {
        refuse(
            "keys.object",
            "a key set must be an object with an array keys of objects",
        )
    };
    let Json::Object(set) = value else {
        return Err(wrong());
    };
    let keys = set.array("keys").ok().flatten().ok_or_else(wrong)?;
    if keys.len() > MAX_KEYS {
        return Err(refuse(
            "keys.count",
            "the key set has more than 20 keys; publish only those in use",
        ));
    }
    let objects = keys.iter().map(|key| match key {
        Json::Object(jwk) => Ok(jwk),
        _ => Err(wrong()),
    });
    objects.collect()
}

/// RFC 7517 §4.5. Later this text is compared and logged, so it has to be tame even where its key is not used.
fn kid(jwk: &Object) -> Result<Option<&str>, KeySetError> {
    let is_tame = |kid: &str| kid.len() <= MAX_KID && !kid.contains(char::is_control);
    match jwk.string("kid") {
        Ok(kid) if kid.is_none_or(is_tame) => Ok(kid),
        _ => Err(refuse(
            "keys.kid",
            "kid must be a string of at most 256 bytes without control characters",
        )),
    }
}

/// One key, or why it cannot be used. Members that point to certificates (`x5u`, `x5c`, `x5t`) mean nothing here.
fn read(jwk: &Object, kid: Option<&str>) -> Result<Key, &'static str> {
    if !matches!(jwk.string("use"), Ok(None | Some("sig"))) {
        return Err("use is not sig");
    }
    match jwk.strings("key_ops") {
        Ok(None) => {}
        Ok(Some(ops)) if ops.contains(&"verify") => {}
        _ => return Err("key_ops does not contain verify"),
    }
    let material = material(jwk)?;
    Ok(Key {
        kid: kid.map(str::to_owned),
        thumbprint: material.thumbprint(),
        alg: algorithm(jwk, &material)?,
        material,
    })
}

fn material(jwk: &Object) -> Result<Material, &'static str> {
    let text = |name| jwk.string(name).ok().flatten();
    match (text("kty"), text("crv")) {
        (Some("RSA"), _) => rsa(jwk),
        (Some("EC"), Some("P-256")) => {
            let (x, y) = point(jwk, &ECDSA_P256_SHA256_FIXED)?;
            Ok(Material::P256 { x, y })
        }
        (Some("EC"), Some("P-384")) => {
            let (x, y) = point(jwk, &ECDSA_P384_SHA384_FIXED)?;
            Ok(Material::P384 { x, y })
        }
        (Some("OKP"), Some("Ed25519")) => ed25519(jwk),
        (Some("EC" | "OKP"), _) => Err("crv is not P-256, P-384 or Ed25519"),
        _ => Err("kty is not RSA, EC or OKP"),
    }
}

/// RFC 7518 §6.3.1: big-endian numbers of the fewest bytes. Whoever needs another exponent than 65537 needs a new key.
fn rsa(jwk: &Object) -> Result<Material, &'static str> {
    let n = bytes(jwk, "n").ok_or("n is not base64url without padding")?;
    let e = bytes(jwk, "e").ok_or("e is not base64url without padding")?;
    if e != [1, 0, 1] {
        return Err("e is not 65537");
    }
    let bits = match n.first() {
        None | Some(0) => return Err("n has leading zeros"),
        Some(first) => 8 * n.len() - first.leading_zeros() as usize,
    };
    if !(2048..=8192).contains(&bits) {
        return Err("n does not have 2048 to 8192 bits");
    }
    if n.last().is_some_and(|last| last % 2 == 0) {
        return Err("n is even");
    }
    Ok(Material::Rsa { n, e })
}

/// RFC 7518 §6.2.1: coordinates of exactly the field's length. AWS-LC checks that they are smaller than the field's
/// prime and that the point is on the curve.
fn point<const N: usize>(
    jwk: &Object,
    curve: &'static dyn VerificationAlgorithm,
) -> Result<([u8; N], [u8; N]), &'static str> {
    let coordinate = |name| bytes(jwk, name)?.try_into().ok();
    let (Some(x), Some(y)) = (coordinate("x"), coordinate("y")) else {
        return Err("x or y is not base64url of the curve's length without padding");
    };
    let (x, y): ([u8; N], [u8; N]) = (x, y);
    // SEC 1 §2.3.3, uncompressed.
    let encoded = [&[4][..], &x, &y].concat();
    match ParsedPublicKey::new(curve, encoded) {
        Ok(_) => Ok((x, y)),
        Err(_) => Err("the point is not on the curve"),
    }
}

fn ed25519(jwk: &Object) -> Result<Material, &'static str> {
    let x = bytes(jwk, "x").and_then(|x| x.try_into().ok());
    let x: [u8; 32] = x.ok_or("x is not 32 bytes in base64url without padding")?;
    let mut y = x;
    y[31] &= 0x7f;
    if SMALL_ORDER.contains(&y) {
        return Err("the point has a small order");
    }
    Ok(Material::Ed25519 { x })
}

/// Ed25519 points of order 1, 2, 4 and 8, of which everybody can forge signatures: all encodings of their y, little
/// endian, without the sign of x (RFC 8032 §5.1.2).
const SMALL_ORDER: [[u8; 32]; 7] = [
    y_of(0x00, 0x00, 0x00),
    y_of(0x01, 0x00, 0x00),
    y_of(0xec, 0xff, 0x7f),
    // The prime and its successor: 0 and 1 again.
    y_of(0xed, 0xff, 0x7f),
    y_of(0xee, 0xff, 0x7f),
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98,
        0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53,
        0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67,
        0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac,
        0x03, 0x7a,
    ],
];

const fn y_of(first: u8, middle: u8, last: u8) -> [u8; 32] {
    let mut y = [middle; 32];
    y[0] = first;
    y[31] = last;
    y
}

/// RFC 7517 §4.4.
fn algorithm(jwk: &Object, material: &Material) -> Result<Option<Alg>, &'static str> {
    match (jwk.string("alg"), material) {
        (Ok(None), _) | (Ok(Some("ES384")), Material::P384 { .. }) => Ok(None),
        // RFC 9864 §2.2: EdDSA on this curve, by its newer name.
        (Ok(Some("Ed25519")), Material::Ed25519 { .. }) => Ok(Some(Alg::EdDsa)),
        (Ok(Some(name)), _) => match Alg::from_wire(name) {
            Some(alg) if alg.fits(material) => Ok(Some(alg)),
            _ => Err("alg does not fit the key or is not supported"),
        },
        (Err(_), _) => Err("alg is not a string"),
    }
}

/// RFC 7515 §2: base64url in its one canonical spelling.
fn bytes(jwk: &Object, name: &str) -> Option<Vec<u8>> {
    let text = jwk.string(name).ok().flatten()?;
    BASE64_URL_SAFE_NO_PAD.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// RFC 7638 §3.1.
    const N: &str = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
    /// Twice the base point of P-256 and of P-384.
    const P256: (&str, &str) = (
        "fPJ7GI0DT36KUjgDBLUaw8CJaeJ38hs1pgtI_EdmmXg",
        "B3dVENuO0EApPZrGn3Qw27p9reY86YIpngS3nSJ4c9E",
    );
    const P384: (&str, &str) = (
        "CNmZBXuj0tlpJgBFxVuX8IkCWVmm9DTWUdIH0Z-5bp5P4Ohuvg5k-FuWqcdSld9h",
        "joDx-lsbPO23v-jf_W26dLJ12HW8bMQ-kE5QXyVqtCVf_UPpTTniLWFQHnAKlA6A",
    );

    fn text(bytes: &[u8]) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    }

    fn rsa() -> Value {
        json!({"kty": "RSA", "n": N, "e": "AQAB"})
    }

    /// An RSA key of so many bits, which differs from others by its third byte.
    fn rsa_of(bits: usize, mark: u8) -> Value {
        let mut n = vec![0x55; bits.div_ceil(8)];
        n[0] = 1 << ((bits - 1) % 8);
        n[2] = mark;
        json!({"kty": "RSA", "n": text(&n), "e": "AQAB"})
    }

    fn p256() -> Value {
        json!({"kty": "EC", "crv": "P-256", "x": P256.0, "y": P256.1})
    }

    /// RFC 7517 appendix A.1.
    fn other_p256() -> Value {
        with(
            &p256(),
            &json!({"x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
                "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}),
        )
    }

    fn p384() -> Value {
        json!({"kty": "EC", "crv": "P-384", "x": P384.0, "y": P384.1})
    }

    /// RFC 8037 appendix A.2.
    fn ed25519() -> Value {
        json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"})
    }

    fn with(key: &Value, changes: &Value) -> Value {
        let mut key = key.clone();
        for (name, value) in changes.as_object().unwrap() {
            key[name] = value.clone();
        }
        key
    }

    fn read(keys: &[Value]) -> Result<KeySet, KeySetError> {
        KeySet::parse(json!({ "keys": keys }).to_string().as_bytes())
    }

    fn set(keys: &[Value]) -> KeySet {
        read(keys).unwrap_or_else(|error| panic!("{keys:?}: {error}"))
    }

    #[test]
    fn a_thumbprint_is_that_of_the_rfc() {
        let rfc7638 =
            json!({"kty": "RSA", "n": N, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29"});
        let table = [
            (
                "RFC 7638 §3.1",
                rfc7638,
                "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs",
            ),
            (
                "RFC 8037 A.3",
                ed25519(),
                "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
            ),
            (
                "RFC 7517 A.1, computed with Python",
                other_p256(),
                "cn-I_WNMClehiVp51i_0VpOENW1upEerA8sEam5hn-s",
            ),
        ];
        for (case, key, expected) in table {
            assert_eq!(set(&[key]).keys[0].thumbprint, expected, "{case}");
        }
    }

    #[test]
    fn good_keys_are_read() {
        use Alg::{EdDsa, Es256, Ps256, Rs256};
        let sig = json!({"use": "sig", "key_ops": ["verify", "sign"]});
        let certified =
            json!({"x5u": "http://10.0.0.1/", "x5c": 1, "x5t": null, "x5t#S256": ["x"]});
        let table = [
            ("K-01 RSA 2048", rsa(), None, "RSA"),
            ("K-01 RSA 3072", rsa_of(3072, 1), None, "RSA"),
            ("K-01 RSA 4096", rsa_of(4096, 1), None, "RSA"),
            ("K-01 RSA 2049", rsa_of(2049, 1), None, "RSA"),
            ("K-01 RSA 8192", rsa_of(8192, 1), None, "RSA"),
            ("K-01 P-256", p256(), None, "EC"),
            ("K-01 P-384", p384(), None, "EC"),
            ("K-01 Ed25519", ed25519(), None, "OKP"),
            ("K-08 for signatures", with(&p256(), &sig), None, "EC"),
            (
                "K-08 PS256",
                with(&rsa(), &json!({"alg": "PS256"})),
                Some(Ps256),
                "RSA",
            ),
            (
                "K-08 RS256",
                with(&rsa(), &json!({"alg": "RS256"})),
                Some(Rs256),
                "RSA",
            ),
            (
                "K-08 ES256",
                with(&p256(), &json!({"alg": "ES256"})),
                Some(Es256),
                "EC",
            ),
            (
                "K-08 ES384",
                with(&p384(), &json!({"alg": "ES384"})),
                None,
                "EC",
            ),
            (
                "K-08 EdDSA",
                with(&ed25519(), &json!({"alg": "EdDSA"})),
                Some(EdDsa),
                "OKP",
            ),
            (
                "K-08 RFC 9864",
                with(&ed25519(), &json!({"alg": "Ed25519"})),
                Some(EdDsa),
                "OKP",
            ),
            ("K-13", with(&rsa(), &certified), None, "RSA"),
        ];
        for (case, key, alg, kty) in table {
            let set = set(&[key]);
            assert_eq!(set.skipped, [], "{case}");
            assert_eq!(set.keys[0].alg, alg, "{case}");
            assert_eq!(set.keys[0].material.kty(), kty, "{case}");
        }
        let Material::P256 { x, .. } = set(&[p256()]).keys.remove(0).material else {
            panic!("another type")
        };
        assert_eq!(text(&x), P256.0);
    }

    #[test]
    fn a_key_that_cannot_be_used_is_skipped_and_the_others_are_not() {
        let n = |last: u8, first: &[u8]| {
            let mut n = [first, &[0x81; 256]].concat();
            *n.last_mut().unwrap() = last;
            json!({ "n": text(&n) })
        };
        let ec = |x: &str, y: &str| with(&p256(), &json!({"x": x, "y": y}));
        let zero = text(&[0; 32]);
        // The prime of P-256, which is x = 0 again, and y for x = 0.
        let prime = "_____wAAAAEAAAAAAAAAAAAAAAD_______________8";
        let y_of_zero = "ZkhceA4vg9ckM71dhKBrtlQcKvMdrocXKL-FahdPk_Q";
        let size = "n does not have 2048 to 8192 bits";
        let exponent = "e is not 65537";
        let coordinates = "x or y is not base64url of the curve's length without padding";
        let off = "the point is not on the curve";
        let kty = "kty is not RSA, EC or OKP";
        let crv = "crv is not P-256, P-384 or Ed25519";
        let alg = "alg does not fit the key or is not supported";
        let ops = "key_ops does not contain verify";
        let rsa_with = |changes| with(&rsa(), &changes);
        let table = [
            ("K-02 RSA 512", rsa_of(512, 1), size),
            ("K-02 RSA 1024", rsa_of(1024, 1), size),
            ("K-02 RSA 2047", rsa_of(2047, 1), size),
            ("K-03 RSA 8193", rsa_of(8193, 1), size),
            ("K-03 RSA 400000", rsa_of(400_000, 1), size),
            ("K-03 e=1", rsa_with(json!({"e": "AQ"})), exponent),
            ("K-03 e=2", rsa_with(json!({"e": "Ag"})), exponent),
            ("K-03 e=3", rsa_with(json!({"e": "Aw"})), exponent),
            ("K-03 e=2^32+1", rsa_with(json!({"e": "AQAAAAE"})), exponent),
            (
                "K-03 e=2^64",
                rsa_with(json!({"e": "AQAAAAAAAAAA"})),
                exponent,
            ),
            ("K-03 e zeros", rsa_with(json!({"e": "AAEAAQ"})), exponent),
            ("K-03 e empty", rsa_with(json!({"e": ""})), exponent),
            ("K-03 n even", rsa_with(n(2, &[])), "n is even"),
            (
                "K-03 n=0",
                rsa_with(json!({"n": "AA"})),
                "n has leading zeros",
            ),
            (
                "K-03 n empty",
                rsa_with(json!({"n": ""})),
                "n has leading zeros",
            ),
            ("K-03 n zeros", rsa_with(n(1, &[0])), "n has leading zeros"),
            (
                "K-03 n padded",
                rsa_with(json!({"n": format!("{N}==")})),
                "n is not base64url without padding",
            ),
            (
                "K-03 n trailing bits",
                rsa_with(json!({"n": format!("{}h", &N[..N.len() - 1])})),
                "n is not base64url without padding",
            ),
            (
                "K-03 n in base64",
                rsa_with(json!({"n": N.replace(['-', '_'], "+")})),
                "n is not base64url without padding",
            ),
            (
                "K-03 n absent",
                json!({"kty": "RSA", "e": "AQAB"}),
                "n is not base64url without padding",
            ),
            (
                "K-03 e a number",
                rsa_with(json!({"e": 65537})),
                "e is not base64url without padding",
            ),
            ("K-06 kty", json!({"kty": "XYZ"}), kty),
            (
                "K-06 AKP",
                json!({"kty": "AKP", "alg": "ML-DSA-44", "pub": "AA"}),
                kty,
            ),
            ("K-06 no kty", json!({"crv": "P-256"}), kty),
            ("K-06 kty case", with(&p256(), &json!({"kty": "ec"})), kty),
            ("K-06 kty type", with(&p256(), &json!({"kty": ["EC"]})), kty),
            ("K-06 P-521", with(&p256(), &json!({"crv": "P-521"})), crv),
            ("K-06 P-999", with(&p256(), &json!({"crv": "P-999"})), crv),
            (
                "K-06 secp256k1",
                with(&p256(), &json!({"crv": "secp256k1"})),
                crv,
            ),
            (
                "K-06 X25519",
                with(&ed25519(), &json!({"crv": "X25519"})),
                crv,
            ),
            (
                "K-06 Ed448",
                with(&ed25519(), &json!({"crv": "Ed448"})),
                crv,
            ),
            (
                "K-06 Ed25519 as EC",
                with(&ed25519(), &json!({"kty": "EC", "crv": "Ed25519"})),
                crv,
            ),
            ("K-07 off the curve", ec(P256.0, P256.0), off),
            (
                "K-07 y of another point",
                ec(P256.0, "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"),
                off,
            ),
            ("K-07 (0,0)", ec(&zero, &zero), off),
            ("K-07 x is the prime", ec(prime, y_of_zero), off),
            ("K-07 x short", ec(&P256.0[..42], P256.1), coordinates),
            ("K-07 x long", ec(&text(&[0; 33]), P256.1), coordinates),
            (
                "K-07 x padded",
                ec(&format!("{}=", P256.0), P256.1),
                coordinates,
            ),
            ("K-07 y of another curve", ec(P256.0, P384.1), coordinates),
            (
                "K-07 another curve",
                with(&p384(), &json!({"crv": "P-256"})),
                coordinates,
            ),
            (
                "K-07 no y",
                json!({"kty": "EC", "crv": "P-256", "x": P256.0}),
                coordinates,
            ),
            (
                "K-07 Ed25519 short",
                with(&ed25519(), &json!({"x": text(&[9; 31])})),
                "x is not 32 bytes in base64url without padding",
            ),
            (
                "K-08 enc",
                rsa_with(json!({"use": "enc"})),
                "use is not sig",
            ),
            (
                "K-08 use null",
                rsa_with(json!({"use": null})),
                "use is not sig",
            ),
            ("K-08 sign", rsa_with(json!({"key_ops": ["sign"]})), ops),
            (
                "K-08 encrypt",
                rsa_with(json!({"key_ops": ["encrypt"]})),
                ops,
            ),
            ("K-08 no operation", rsa_with(json!({"key_ops": []})), ops),
            (
                "K-08 key_ops type",
                rsa_with(json!({"key_ops": "verify"})),
                ops,
            ),
            ("K-08 alg of EC", rsa_with(json!({"alg": "ES256"})), alg),
            (
                "K-08 alg of RSA",
                with(&p256(), &json!({"alg": "RS256"})),
                alg,
            ),
            (
                "K-08 ES256 on P-384",
                with(&p384(), &json!({"alg": "ES256"})),
                alg,
            ),
            ("K-08 none", rsa_with(json!({"alg": "none"})), alg),
            ("K-08 HS256", rsa_with(json!({"alg": "HS256"})), alg),
            ("K-08 encryption", rsa_with(json!({"alg": "RSA-OAEP"})), alg),
            (
                "K-08 alg type",
                rsa_with(json!({"alg": 1})),
                "alg is not a string",
            ),
        ];
        for (case, key, reason) in table {
            let set = set(&[p256(), key, ed25519()]);
            assert_eq!(set.keys.len(), 2, "{case}");
            let position = 1;
            assert_eq!(set.skipped, [Skipped { position, reason }], "{case}");
        }
        // What was refused for its x above is a point of the curve, so it was refused for that reason alone.
        assert_eq!(set(&[ec(&zero, y_of_zero)]).keys.len(), 1);
    }

    #[test]
    fn an_ed25519_point_of_small_order_is_skipped() {
        for mut x in SMALL_ORDER {
            for sign in [0, 0x80] {
                x[31] |= sign;
                let set = set(&[with(&ed25519(), &json!({"x": text(&x)}))]);
                assert_eq!(set.keys, [], "K-07 {x:02x?}");
                assert_eq!(set.skipped[0].reason, "the point has a small order");
            }
        }
    }

    #[test]
    fn some_sets_are_refused_as_a_whole() {
        let named = |kid: Value| json!({"keys": [with(&p256(), &json!({ "kid": kid }))]});
        let twins = |one: &Value, other: &Value| {
            let kid = json!({"kid": "1"});
            json!({"keys": [with(one, &kid), with(other, &kid)]})
        };
        let keys = |count: usize| json!({"keys": vec![p256(); count]});
        let table = [
            (
                "K-05",
                json!({"keys": [{"kty": "oct", "k": "AA"}]}),
                "keys.secret",
            ),
            (
                "K-05 among good ones",
                json!({"keys": [p256(), {"kty": "oct"}]}),
                "keys.secret",
            ),
            ("K-05 in a list", json!([{"kty": "oct"}]), "keys.secret"),
            (
                "K-04 deeper",
                json!({"keys": [], "old": [[{"d": 1}]]}),
                "keys.secret",
            ),
            ("K-09 EC", twins(&p256(), &other_p256()), "keys.kid"),
            ("K-09 RSA", twins(&rsa(), &rsa_of(2048, 1)), "keys.kid"),
            ("K-09 two curves", twins(&p256(), &p384()), "keys.kid"),
            ("K-11 4 KB", named(json!("a".repeat(4096))), "keys.kid"),
            ("K-11 257 bytes", named(json!("a".repeat(257))), "keys.kid"),
            ("K-11 CRLF", named(json!("a\r\nb")), "keys.kid"),
            ("K-11 NUL", named(json!("a\0b")), "keys.json"),
            ("K-11 C1", named(json!("a\u{85}b")), "keys.kid"),
            ("K-11 number", named(json!(1)), "keys.kid"),
            ("K-11 object", named(json!({})), "keys.kid"),
            ("K-11 null", named(json!(null)), "keys.kid"),
            (
                "K-11 of an unusable key",
                json!({"keys": [{"kty": "XYZ", "kid": 1}]}),
                "keys.kid",
            ),
            ("K-12 21", keys(21), "keys.count"),
            ("K-12 10 000", keys(10_000), "keys.count"),
            ("K-18 list", json!([p256()]), "keys.object"),
            ("K-18 list of lists", json!([[p256()]]), "keys.object"),
            ("K-18 object", json!({"keys": {}}), "keys.object"),
            ("K-18 null", json!({"keys": null}), "keys.object"),
            ("K-18 absent", json!({}), "keys.object"),
            ("K-18 one key", p256(), "keys.object"),
            ("K-18 string", json!({"keys": [p256(), "x"]}), "keys.object"),
            (
                "K-18 inner list",
                json!({"keys": [["EC", "P-256"]]}),
                "keys.object",
            ),
            ("K-18 inner null", json!({"keys": [null]}), "keys.object"),
        ];
        for (case, value, rule) in table {
            let error = KeySet::parse(value.to_string().as_bytes()).unwrap_err();
            assert_eq!(error.rule(), rule, "{case}");
            assert!(error.to_string().len() > 20, "{case}: {error}");
        }
        for name in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
            for key in [rsa(), p256(), ed25519(), json!({"kty": "XYZ"})] {
                for value in [json!("AA"), json!(null)] {
                    let error = read(&[p256(), with(&key, &json!({ name: value }))]).unwrap_err();
                    assert_eq!(error.rule(), "keys.secret", "K-04 {name}");
                }
            }
        }
        let twice = br#"{"keys": [], "keys": []}"#;
        assert_eq!(KeySet::parse(twice).unwrap_err().rule(), "keys.json");
        assert_eq!(KeySet::parse(b"").unwrap_err().rule(), "keys.json");
    }

    #[test]
    fn a_set_keeps_each_key_once() {
        let kid = json!({"kid": "1"});
        let limited = json!({"kid": "1", "alg": "RS256"});
        let distinct: Vec<_> = (1..=20).map(|mark| rsa_of(2048, mark)).collect();
        let odd = json!({"kid": "../../etc/passwd' OR 1=1--"});
        let table: &[(&str, Vec<Value>, usize)] = &[
            ("K-12 none", vec![], 0),
            ("K-12 20", distinct, 20),
            (
                "K-09 twice",
                vec![with(&rsa(), &kid), with(&rsa(), &kid)],
                1,
            ),
            ("K-09 twice without kid", vec![rsa(), rsa()], 1),
            (
                "K-09 twice, once limited",
                vec![with(&rsa(), &kid), with(&rsa(), &limited)],
                2,
            ),
            ("K-09 under two names", vec![rsa(), with(&rsa(), &kid)], 2),
            (
                "K-09 other type",
                vec![
                    with(&rsa(), &kid),
                    with(&p256(), &kid),
                    with(&ed25519(), &kid),
                ],
                3,
            ),
            (
                "K-09 the other is unusable",
                vec![with(&rsa(), &kid), with(&rsa_of(1024, 1), &kid)],
                1,
            ),
            ("K-11 odd", vec![with(&rsa(), &odd)], 1),
            (
                "K-11 256 bytes",
                vec![with(&rsa(), &json!({"kid": "a".repeat(256)}))],
                1,
            ),
        ];
        for (case, keys, expected) in table {
            assert_eq!(set(keys).keys.len(), *expected, "{case}");
        }
    }

    #[test]
    fn candidates_are_the_keys_that_may_verify() {
        use Alg::{EdDsa, Es256, Ps256, Rs256};
        let kid = |name: &str| json!({ "kid": name });
        let mixed = set(&[
            with(&rsa(), &json!({"kid": "1", "alg": "PS256"})),
            with(&p256(), &kid("1")),
            with(&ed25519(), &kid("2")),
            with(&p384(), &kid("3")),
            other_p256(),
        ]);
        let five = set(&(1..=5).map(|mark| rsa_of(2048, mark)).collect::<Vec<_>>());
        let table = [
            ("K-10 one", &mixed, None, EdDsa, vec![2]),
            ("K-10 two", &mixed, None, Es256, vec![1, 4]),
            ("K-10 five", &five, None, Rs256, vec![0, 1, 2, 3]),
            ("K-09 chosen by alg", &mixed, Some("1"), Es256, vec![1]),
            ("K-09 chosen by alg", &mixed, Some("1"), Ps256, vec![0]),
            ("K-08 alg is another", &mixed, Some("1"), Rs256, vec![]),
            ("J-19 unknown", &mixed, Some("9"), Es256, vec![]),
            ("J-19 empty", &mixed, Some(""), Es256, vec![]),
            ("J-19 another type", &mixed, Some("2"), Es256, vec![]),
            ("P-384", &mixed, Some("3"), Es256, vec![]),
        ];
        for (case, set, kid, alg, expected) in table {
            let expected: Vec<_> = expected.iter().map(|index| &set.keys[*index]).collect();
            assert_eq!(set.candidates(kid, alg), expected, "{case}");
        }
        for alg in Alg::ALL {
            assert_eq!(Alg::from_wire(alg.as_str()), Some(alg));
        }
        for name in ["none", "HS256", "ES384", "RS512", "es256", ""] {
            assert_eq!(Alg::from_wire(name), None, "{name}");
        }
    }

    #[test]
    fn a_kid_that_moved_to_another_key_is_found() {
        let one = |key: &Value, kid: &str| set(&[with(key, &json!({ "kid": kid }))]);
        let earlier = one(&p256(), "1");
        let table = [
            ("the same", one(&p256(), "1"), None),
            ("another key", one(&other_p256(), "1"), Some("1")),
            ("another curve", one(&p384(), "1"), Some("1")),
            ("another type", one(&rsa(), "1"), None),
            ("another name", one(&other_p256(), "2"), None),
            ("no name", set(&[other_p256()]), None),
            ("no key", set(&[]), None),
        ];
        for (case, now, expected) in table {
            assert_eq!(now.replaced(&earlier), expected, "{case}");
        }
        let unnamed = set(&[p256()]);
        assert_eq!(set(&[other_p256()]).replaced(&unnamed), None);
    }
}
