//! A key pair of one algorithm: made, read, used, published. RFC 7518 §3.3, §3.4 and §6, RFC 8037 §2 and §3.1.
//!
//! `jsonwebtoken` makes the tokens. Its own signers parse the private key for each token; its [`CryptoProvider`] is ours
//! instead, and takes the pair that the calling thread is about to sign with.

use std::{
    cell::Cell,
    sync::{Arc, LazyLock},
};

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
use jsonwebtoken::{
    Algorithm, EncodingKey, Header,
    crypto::{CryptoProvider, JwtSigner, aws_lc},
    errors::{Error, ErrorKind},
    signature::{self, Signer},
};
use serde::Serialize;
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

    /// RFC 7515 §3.1: a token of these claims in compact form.
    pub(super) fn token(
        self: &Arc<Self>,
        typ: &str,
        kid: &str,
        claims: &impl Serialize,
    ) -> Result<String, Error> {
        let alg = self.algorithm();
        let header = Header {
            typ: Some(typ.to_owned()),
            kid: Some(kid.to_owned()),
            ..Header::new(alg)
        };
        if !*INSTALLED {
            return self.put_together(&header, claims);
        }
        // The library asks for a key of the right family. It never looks into it.
        let key = match alg {
            Algorithm::ES256 => EncodingKey::from_ec_der(&[]),
            Algorithm::EdDSA => EncodingKey::from_ed_der(&[]),
            _ => EncodingKey::from_rsa_der(&[]),
        };
        SIGNS.set(Some(Arc::clone(self)));
        let token = jsonwebtoken::encode(&header, claims, &key);
        SIGNS.take();
        token
    }

    /// The same without the library, whose provider is another's.
    pub(super) fn put_together(
        &self,
        header: &Header,
        claims: &impl Serialize,
    ) -> Result<String, Error> {
        let mut token = BASE64_URL_SAFE_NO_PAD.encode(serde_json::to_vec(header)?);
        token.push('.');
        BASE64_URL_SAFE_NO_PAD.encode_string(serde_json::to_vec(claims)?, &mut token);
        let signature = self.sign(token.as_bytes());
        let signature =
            signature.map_err(|error| Error::from(ErrorKind::Signing(error.to_string())))?;
        token.push('.');
        BASE64_URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(token)
    }

    fn algorithm(&self) -> Algorithm {
        match self {
            Self::Es256(_) => Algorithm::ES256,
            Self::Rs256(_) => Algorithm::RS256,
            Self::EdDsa(_) => Algorithm::EdDSA,
        }
    }

    /// RFC 7515 §5.1: the signature of a message, as it goes into a JWS.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Unspecified> {
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

thread_local! {
    /// The pair that this thread is about to sign with.
    static SIGNS: Cell<Option<Arc<Pair>>> = const { Cell::new(None) };
}

/// A pair, as the library signs with it.
struct Ours(Arc<Pair>);

impl Signer<Vec<u8>> for Ours {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, signature::Error> {
        self.0.sign(message).map_err(signature::Error::from_source)
    }
}

impl JwtSigner for Ours {
    fn algorithm(&self) -> Algorithm {
        self.0.algorithm()
    }
}

fn signer(alg: &Algorithm, key: &EncodingKey) -> Result<Box<dyn JwtSigner>, Error> {
    match SIGNS.take() {
        Some(pair) if pair.algorithm() == *alg => Ok(Box::new(Ours(pair))),
        Some(_) => Err(ErrorKind::InvalidAlgorithm.into()),
        None => (aws_lc::DEFAULT_PROVIDER.signer_factory)(alg, key),
    }
}

static PROVIDER: LazyLock<CryptoProvider> = LazyLock::new(|| CryptoProvider {
    signer_factory: signer,
    ..aws_lc::DEFAULT_PROVIDER.clone()
});

/// Is it the provider of this process? Not where a program that embeds the server used the library before.
static INSTALLED: LazyLock<bool> = LazyLock::new(|| PROVIDER.install_default().is_ok());

/// Has [`jsonwebtoken`] take its signers from here from now on. Before anything else in the process uses it.
pub(super) fn install() {
    LazyLock::force(&INSTALLED);
}
