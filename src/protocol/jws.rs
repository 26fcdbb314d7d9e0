//! Signed tokens of strangers: the compact form of RFC 7515 §3.1, narrowed as RFC 8725 §3 asks. Every JWT that we did not
//! sign ourselves comes in here, and no library sees it before.

use std::fmt;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256,
    RsaPublicKeyComponents, UnparsedPublicKey,
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
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
    signature: Vec<u8>,
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
        Ok(Self {
            header: Header::read(&object("header", header)?)?,
            claims: object("payload", claims)?,
            signed,
            signature: decode("signature", signature)?,
        })
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
            && is_signed(self.signed.as_bytes(), &self.signature, alg, &key.material)
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
fn is_signed(message: &[u8], signature: &[u8], alg: Alg, material: &Material) -> bool {
    let verified = match (alg, material) {
        (Alg::Es256, Material::P256 { x, y }) => {
            // SEC 1 §2.3.3, uncompressed.
            let point = [&[4][..], x, y].concat();
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature)
        }
        (Alg::EdDsa, Material::Ed25519 { x }) => {
            UnparsedPublicKey::new(&ED25519, x).verify(message, signature)
        }
        (Alg::Rs256, Material::Rsa { n, e }) => {
            RsaPublicKeyComponents { n, e }.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
        }
        (Alg::Ps256, Material::Rsa { n, e }) => {
            RsaPublicKeyComponents { n, e }.verify(&RSA_PSS_2048_8192_SHA256, message, signature)
        }
        _ => return false,
    };
    verified.is_ok()
}
