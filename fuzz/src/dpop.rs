//! Proofs of possession: RFC 9449 §4.3.

use std::sync::OnceLock;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::Value;
use wayleave::{protocol::dpop::Proof, time::UnixTime};

/// RFC 9449 §4.1.
const EXAMPLE: &str = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg";
const URL: &str = "https://id.example.com/token";
const NOW: UnixTime = UnixTime(1_800_000_000);

/// The input is the payload of a proof that is signed rightly; after `!` it is the `DPoP` header itself; after `+` it is
/// claims beside those of a good one.
pub fn dpop(data: &[u8]) {
    if let [b'!', header @ ..] = data {
        let header = String::from_utf8_lossy(header);
        let proof = Proof::parse(&[&header]);
        let is_example = header == EXAMPLE;
        assert_eq!(proof.is_ok(), is_example, "nobody else has a key");
        return;
    }
    let payload = match data {
        [b'+', claims @ ..] => {
            let good = format!(r#"{{"htm":"POST","htu":"{URL}","iat":{},"jti":"1""#, NOW.0);
            let comma: &[u8] = if claims.is_empty() { b"" } else { b"," };
            [good.as_bytes(), comma, claims, b"}"].concat()
        }
        _ => data.to_vec(),
    };
    let text = signed(&payload);
    let Ok(proof) = Proof::parse(&[&text]) else {
        return;
    };
    let Ok(proven) = proof.check("POST", URL, NOW, None) else {
        return;
    };
    let claims: Value = serde_json::from_slice(&payload).expect("JSON");
    assert_eq!(claims["htm"], "POST");
    let htu = url::Url::parse(claims["htu"].as_str().expect("text")).expect("a URL");
    let place = (
        htu.scheme(),
        htu.host_str(),
        htu.port_or_known_default(),
        htu.path(),
    );
    assert_eq!(
        place,
        ("https", Some("id.example.com"), Some(443), "/token")
    );
    assert_eq!((htu.username(), htu.password()), ("", None));
    let iat = claims["iat"].as_i64().expect("whole seconds");
    assert!((NOW.0 - 60..=NOW.0 + 10).contains(&iat), "{iat}");
    assert!(
        claims
            .get("exp")
            .is_none_or(|exp| exp.as_i64() > Some(NOW.0))
    );
    assert_eq!(claims["jti"], proven.jti.as_str());
    assert!((1..=128).contains(&proven.jti.len()));
    assert!(
        proven.until.0 > iat + 60,
        "remembered for as long as it lives"
    );
    assert_eq!(
        claims.get("nonce").and_then(Value::as_str),
        proven.nonce.as_deref()
    );
    assert_eq!(proven.jkt.len(), 43);
}

/// With the one key of this run.
fn signed(payload: &[u8]) -> String {
    static KEY: OnceLock<Ed25519KeyPair> = OnceLock::new();
    let key = KEY.get_or_init(|| Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("a key"));
    let encode = |part: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(part);
    let x = encode(key.public_key().as_ref());
    let header = format!(
        r#"{{"typ":"dpop+jwt","alg":"EdDSA","jwk":{{"kty":"OKP","crv":"Ed25519","x":"{x}"}}}}"#
    );
    let signed = format!("{}.{}", encode(header.as_bytes()), encode(payload));
    let signature = encode(key.sign(signed.as_bytes()).as_ref());
    format!("{signed}.{signature}")
}
