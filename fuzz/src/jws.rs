//! The gate before signed tokens: RFC 7515 §3.1, §5.2.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::Value;
use wayleave::protocol::{json, jws::Jws, key_set::Key};

const EXAMPLE: &str = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
const KEY: &str = r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;

/// The input is a token; with a line break it is a header, a payload and the bytes of a signature, to be encoded.
pub fn jws(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut parts = text.splitn(3, '\n');
    let encoded = match (parts.next(), parts.next()) {
        (Some(header), Some(payload)) => {
            let encode = |part: &str| BASE64_URL_SAFE_NO_PAD.encode(part);
            let signature = parts.next().unwrap_or("x");
            format!(
                "{}.{}.{}",
                encode(header),
                encode(payload),
                encode(signature)
            )
        }
        _ => text.into_owned(),
    };
    check(&encoded);
}

fn check(text: &str) {
    let Ok(jws) = Jws::parse(text) else {
        return;
    };
    assert!(text.len() <= 8_192);
    let parts: Vec<_> = text.split('.').collect();
    assert_eq!(parts.len(), 3);
    let decoded: Vec<_> = parts
        .iter()
        .map(|part| BASE64_URL_SAFE_NO_PAD.decode(part).expect("base64url"))
        .collect();
    for (part, bytes) in parts.iter().zip(&decoded) {
        assert_eq!(*part, BASE64_URL_SAFE_NO_PAD.encode(bytes), "one spelling");
    }
    // Another reader sees the same header, and nothing in it that would change the meaning.
    let header: Value = serde_json::from_slice(&decoded[0]).expect("JSON");
    if !header.to_string().contains("$serde_json::private::") {
        assert_eq!(header["alg"], jws.header().alg.as_str());
        for name in ["crit", "b64", "zip", "enc", "cty"] {
            assert!(header.get(name).is_none(), "{name}");
        }
        assert_eq!(
            header.get("kid").and_then(Value::as_str),
            jws.header().kid.as_deref()
        );
    }
    for claim in ["exp", "nbf", "iat"] {
        if let Ok(Some(time)) = jws.time(claim) {
            assert!((0..=253_402_300_799).contains(&time.0));
        }
    }
    let key = json::parse(KEY.as_bytes())
        .ok()
        .as_ref()
        .and_then(Key::parse);
    let key = key.expect("the key is one");
    // RFC 7515 A.3 is signed with it, and nothing else here is.
    assert_eq!(jws.verify(&key), text == EXAMPLE);
}
