//! Client assertions: RFC 7523 §3, RFC 10070.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::Value;
use wayleave::{
    protocol::{
        client_assertion::{Audience, ClientAssertion, Verified},
        key_set::KeySet,
    },
    time::UnixTime,
};

const CLIENT: &str = "https://client.example.com/c";
const ISSUER: &str = "https://id.example.com";
const TOKEN: &str = "https://id.example.com/token";
const NOW: UnixTime = UnixTime(1_800_000_000);

/// The input is the payload of an assertion; after `+` it is claims beside those of a good one.
pub fn client_assertion(data: &[u8]) {
    let payload = match data {
        [b'+', claims @ ..] => {
            let good = format!(
                r#"{{"iss":"{CLIENT}","sub":"{CLIENT}","aud":"{ISSUER}","exp":{},"jti":"1""#,
                NOW.0 + 60
            );
            let comma: &[u8] = if claims.is_empty() { b"" } else { b"," };
            [good.as_bytes(), comma, claims, b"}"].concat()
        }
        _ => data.to_vec(),
    };
    let encode = |part: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(part);
    let text = format!(
        "{}.{}.{}",
        encode(br#"{"alg":"ES256"}"#),
        encode(&payload),
        encode(&[1; 64])
    );
    let Ok(assertion) = ClientAssertion::parse(&text) else {
        return;
    };
    assert!(!assertion.subject().is_empty());
    let none = KeySet::parse(br#"{"keys":[]}"#).expect("a key set");
    assert_eq!(assertion.verify(&none), Verified::NoSuchKey);
    let claims: Value = serde_json::from_slice(&payload).expect("JSON");
    for legacy in [None, Some(TOKEN)] {
        let audience = Audience {
            issuer: ISSUER,
            legacy,
        };
        let Ok(once) = assertion.check(CLIENT, &audience, NOW) else {
            continue;
        };
        let longest = if legacy.is_some() { 3_600 } else { 300 };
        assert_eq!(
            (&claims["iss"], &claims["sub"]),
            (&CLIENT.into(), &CLIENT.into())
        );
        let exp = claims["exp"].as_i64().expect("whole seconds");
        assert!((NOW.0 + 1..=NOW.0 + longest).contains(&exp), "{exp}");
        assert!(once.until.0 >= exp, "remembered for as long as it lives");
        assert_eq!(claims["jti"], once.jti.as_str());
        assert!((1..=128).contains(&once.jti.len()));
        for claim in ["iat", "nbf"] {
            let time = claims
                .get(claim)
                .map(|time| time.as_i64().expect("whole seconds"));
            assert!(time.is_none_or(|time| time <= NOW.0 + 15), "{claim}");
        }
        let is_ours = |aud: &Value| *aud == ISSUER || legacy.is_some_and(|url| *aud == url);
        match &claims["aud"] {
            Value::Array(list) => assert!(legacy.is_some() && list.len() == 1 && is_ours(&list[0])),
            aud => assert!(is_ours(aud)),
        }
    }
}
