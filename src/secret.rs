//! Secrets that we hand out, the hashes that we keep of them, and comparison in constant time.

use std::{fmt, marker::PhantomData, str::FromStr};

use aws_lc_rs::{
    digest::{SHA256, digest},
    hmac, rand,
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use subtle::ConstantTimeEq;

/// What a secret is for; its prefix lets scanners find a leaked one.
pub trait Kind {
    /// How every secret of this kind begins.
    const PREFIX: &str;
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)+) => {
        $($(#[$doc])*
        #[derive(Debug)]
        pub enum $name {}
        impl Kind for $name {
            const PREFIX: &str = $prefix;
        })+
    };
}

kinds! {
    /// An authorization code, RFC 6749 §4.1.2.
    Code = "wl_ac_";
    /// A signed-in browser.
    Session = "wl_se_";
    /// A question we have put to a person: consent to one request.
    Interaction = "wl_in_";
    /// The link that makes the first account.
    Setup = "wl_su_";
    /// A browser that is not signed in, for the tokens of its forms.
    Visitor = "wl_vi_";
    /// What a registered client proves itself with, RFC 6749 §2.3.1.
    ClientSecret = "wl_cs_";
    /// A device that waits, RFC 8628 §3.2.
    DeviceCode = "wl_dc_";
    /// A request that was pushed, RFC 9126 §2.2.
    PushedRequest = "wl_pr_";
    /// A name that somebody typed to sign in: perhaps a password, by mistake.
    TypedName = "";
    /// The root of one family of refresh tokens; never leaves the server as such.
    RefreshFamily = "";
}

/// 256 random bits, as text, in the clear. It has no readable `Debug` and is never stored.
pub struct Secret<K> {
    text: String,
    kind: PhantomData<fn() -> K>,
}

impl<K: Kind> Secret<K> {
    /// A fresh secret.
    pub fn generate() -> Self {
        let text = format!(
            "{}{}",
            K::PREFIX,
            BASE64_URL_SAFE_NO_PAD.encode(random::<32>())
        );
        Self {
            text,
            kind: PhantomData,
        }
    }

    /// The clear text, to be sent to its owner.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// What is stored of it.
    pub fn hash(&self) -> SecretHash<K> {
        SecretHash {
            text: BASE64_URL_SAFE_NO_PAD.encode(sha256(self.text.as_bytes())),
            kind: PhantomData,
        }
    }
}

impl TypedName {
    /// What is stored of a name, however it is written.
    pub fn hash(typed: &str) -> SecretHash<Self> {
        SecretHash::of_bytes(typed.trim().to_lowercase().as_bytes())
    }
}

/// Not the shape of a secret of the kind that was expected.
#[derive(Debug, PartialEq, Eq)]
pub struct NotASecret;

impl<K: Kind> FromStr for Secret<K> {
    type Err = NotASecret;

    fn from_str(text: &str) -> Result<Self, NotASecret> {
        let random = text.strip_prefix(K::PREFIX).ok_or(NotASecret)?;
        let fits = random.len() == 43
            && random
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if fits {
            Ok(Self {
                text: text.to_owned(),
                kind: PhantomData,
            })
        } else {
            Err(NotASecret)
        }
    }
}

impl<K: Kind> fmt::Debug for Secret<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({}…)", K::PREFIX)
    }
}

impl<K> Clone for Secret<K> {
    fn clone(&self) -> Self {
        Self {
            text: self.text.clone(),
            kind: PhantomData,
        }
    }
}

/// SHA-256 of a [`Secret`], base64url: the only form that reaches the database.
pub struct SecretHash<K> {
    text: String,
    kind: PhantomData<fn() -> K>,
}

impl<K> SecretHash<K> {
    /// The column's text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The hash of 32 random bytes that are not text (a refresh family's root).
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Self::from_column(BASE64_URL_SAFE_NO_PAD.encode(sha256(bytes)))
    }

    /// A hash as read back from its column.
    pub fn from_column(text: String) -> Self {
        Self {
            text,
            kind: PhantomData,
        }
    }
}

impl<K> Clone for SecretHash<K> {
    fn clone(&self) -> Self {
        Self {
            text: self.text.clone(),
            kind: PhantomData,
        }
    }
}

impl<K> fmt::Debug for SecretHash<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretHash({:.6}…)", self.text)
    }
}

impl<K> PartialEq for SecretHash<K> {
    fn eq(&self, other: &Self) -> bool {
        constant_time_eq(self.text.as_bytes(), other.text.as_bytes())
    }
}

/// Random bytes from the operating system's generator.
///
/// # Panics
///
/// When the generator fails: nothing this server does is safe without it.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).expect("the system's random number generator works");
    bytes
}

/// A random identifier that is no secret: 128 bits, base64url.
pub fn random_id() -> String {
    BASE64_URL_SAFE_NO_PAD.encode(random::<16>())
}

/// Has a text the form of a [`random_id`]?
pub fn is_random_id(text: &str) -> bool {
    text.len() == 22
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

/// SHA-256, FIPS 180-4.
pub fn sha256(data: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, data).as_ref());
    hash
}

/// Equality that takes as long for unequal texts of one length as for equal ones.
pub fn constant_time_eq(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

/// A key for message authentication (HMAC-SHA-256, RFC 2104), kept by the server.
#[derive(Clone)]
pub struct MacKey(hmac::Key);

impl MacKey {
    /// A key of these 32 bytes, for one purpose: keys of different purposes never agree.
    pub fn derive(root: &[u8; 32], purpose: &str) -> Self {
        let root = hmac::Key::new(hmac::HMAC_SHA256, root);
        let derived = hmac::sign(&root, purpose.as_bytes());
        Self(hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref()))
    }

    /// The authentication code of `parts`, each preceded by its length so that they cannot be shifted.
    pub fn sign(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.0);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut tag = [0; 32];
        tag.copy_from_slice(context.sign().as_ref());
        tag
    }
}

impl fmt::Debug for MacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MacKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_reads_back_as_itself_and_as_no_other_kind() {
        let code = Secret::<Code>::generate();
        let again: Secret<Code> = code.expose().parse().unwrap();
        assert_eq!(code.hash(), again.hash());
        assert_eq!(
            code.expose().parse::<Secret<Session>>().err(),
            Some(NotASecret)
        );
        assert_ne!(code.expose(), Secret::<Code>::generate().expose());
    }

    #[test]
    fn a_secret_never_shows_in_debug_output() {
        let code = Secret::<Code>::generate();
        let random = code.expose().strip_prefix("wl_ac_").unwrap();
        assert!(!format!("{code:?} {:?}", code.hash()).contains(random));
    }

    #[test]
    fn a_mac_binds_where_one_part_ends() {
        let key = MacKey::derive(&[7; 32], "test");
        assert_ne!(key.sign(&[b"ab", b"c"]), key.sign(&[b"a", b"bc"]));
        assert_ne!(
            key.sign(&[b"a"]),
            MacKey::derive(&[7; 32], "other").sign(&[b"a"])
        );
    }
}
