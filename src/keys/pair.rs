//! A key pair of one algorithm: made, read, used, published. RFC 7518 §3.3, §3.4 and §6, RFC 8037 §2 and §3.1.

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der},
    error::Unspecified,
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
        RsaKeyPair, RsaPublicKeyComponents,
    },
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::protocol::id_token::SigningAlg;

/// A pair that signs.
pub(super) enum Pair {
    Es256(EcdsaKeyPair),
    Rs256(RsaKeyPair),
    EdDsa(Ed25519KeyPair),
}

impl Pair {
    /// A fresh pair, as its PKCS #8 document. RSA takes a core for a tenth of a second and more.
    pub(super) fn generate(alg: SigningAlg) -> Result<Vec<u8>, Unspecified> {
        Ok(match alg {
            SigningAlg::Es256 => EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?
                .to_pkcs8v1()?
                .as_ref()
                .to_vec(),
            SigningAlg::Rs256 => {
                let document: Pkcs8V1Der<'_> = RsaKeyPair::generate(KeySize::Rsa2048)?.as_der()?;
                document.as_ref().to_vec()
            }
            SigningAlg::EdDsa => Ed25519KeyPair::generate()?.to_pkcs8()?.as_ref().to_vec(),
        })
    }

    /// The pair of a PKCS #8 document.
    pub(super) fn read(alg: SigningAlg, document: &[u8]) -> Option<Self> {
        Some(match alg {
            SigningAlg::Es256 => Self::Es256(
                EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document).ok()?,
            ),
            SigningAlg::Rs256 => Self::Rs256(RsaKeyPair::from_pkcs8(document).ok()?),
            SigningAlg::EdDsa => Self::EdDsa(Ed25519KeyPair::from_pkcs8(document).ok()?),
        })
    }

    /// RFC 7515 §5.1: the signature of a message, as it goes into a JWS.
    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Unspecified> {
        Ok(match self {
            Self::Es256(pair) => pair.sign(&SystemRandom::new(), message)?.as_ref().to_vec(),
            Self::Rs256(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(
                    &RSA_PKCS1_SHA256,
                    &SystemRandom::new(),
                    message,
                    &mut signature,
                )?;
                signature
            }
            Self::EdDsa(pair) => pair.try_sign(message)?.as_ref().to_vec(),
        })
    }

    /// RFC 7517 §4: the public half.
    pub(super) fn jwk(&self) -> Value {
        let text = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        match self {
            Self::Es256(pair) => {
                // SEC 1 §2.3.3: 4, x, y.
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                json!({ "kty": "EC", "crv": "P-256", "x": text(x), "y": text(y) })
            }
            Self::Rs256(pair) => {
                let public = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public_key());
                json!({ "kty": "RSA", "n": text(&public.n), "e": text(&public.e) })
            }
            Self::EdDsa(pair) => {
                json!({ "kty": "OKP", "crv": "Ed25519", "x": text(pair.public_key().as_ref()) })
            }
        }
    }
}
