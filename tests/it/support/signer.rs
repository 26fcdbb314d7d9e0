//! A client's key, and what it signs: assertions and proofs of possession, right or wrong as the test wants.

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use serde_json::{Value, json};
use wayleave::{
    secret::{random_id, sha256},
    time::UnixTime,
};

pub(crate) const ISSUER: &str = "http://127.0.0.1:8080";
pub(crate) const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

pub(crate) struct Signer {
    pair: EcdsaKeyPair,
    pub(crate) kid: Option<String>,
}

impl Signer {
    pub(crate) fn new(kid: Option<&str>) -> Self {
        Self {
            pair: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
            kid: kid.map(str::to_owned),
        }
    }

    /// The private key, as PKCS #8 in base64: for a client of another make.
    pub(crate) fn private_key(&self) -> String {
        BASE64_STANDARD.encode(self.pair.to_pkcs8v1().unwrap())
    }

    /// The public key, RFC 7517.
    pub(crate) fn jwk(&self) -> Value {
        let point = self.pair.public_key().as_ref();
        let coordinate = |part: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(part);
        let mut jwk = json!({"kty": "EC", "crv": "P-256", "x": coordinate(&point[1..33]), "y": coordinate(&point[33..])});
        if let Some(kid) = &self.kid {
            jwk["kid"] = json!(kid);
        }
        jwk
    }

    pub(crate) fn jwks(&self) -> Value {
        json!({ "keys": [self.jwk()] })
    }

    /// RFC 7638 §3.
    pub(crate) fn thumbprint(&self) -> String {
        let jwk = self.jwk();
        let text = format!(
            r#"{{"crv":"P-256","kty":"EC","x":{},"y":{}}}"#,
            jwk["x"], jwk["y"]
        );
        BASE64_URL_SAFE_NO_PAD.encode(sha256(text.as_bytes()))
    }

    /// A JWS of whatever header and claims.
    pub(crate) fn sign(&self, header: &Value, claims: &Value) -> String {
        let encode = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", encode(header), encode(claims));
        let signature = self
            .pair
            .sign(&SystemRandom::new(), signed.as_bytes())
            .unwrap();
        format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
    }

    pub(crate) fn header(&self) -> Value {
        let mut header = json!({ "alg": "ES256" });
        if let Some(kid) = &self.kid {
            header["kid"] = json!(kid);
        }
        header
    }

    /// A client assertion as RFC 10070 wants it.
    pub(crate) fn assertion(&self, client_id: &str, now: UnixTime) -> String {
        self.sign(&self.header(), &assertion_claims(client_id, now))
    }

    /// A proof for a request to a path of the server, with the claims that differ from the usual.
    pub(crate) fn proof(&self, method: &str, path: &str, now: UnixTime, more: Value) -> String {
        let mut claims = json!({
            "htm": method, "htu": format!("{ISSUER}{path}"), "iat": now.0, "jti": random_id(),
        });
        for (name, value) in more.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let mut jwk = self.jwk();
        jwk.as_object_mut().unwrap().remove("kid");
        self.sign(
            &json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": jwk }),
            &claims,
        )
    }
}

pub(crate) fn assertion_claims(client_id: &str, now: UnixTime) -> Value {
    json!({
        "iss": client_id, "sub": client_id, "aud": ISSUER,
        "iat": now.0, "exp": now.0 + 60, "jti": random_id(),
    })
}
