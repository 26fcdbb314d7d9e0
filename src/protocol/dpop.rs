//! Proofs of possession: RFC 9449. A request signed with a key, and tokens bound to that key.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use thiserror::Error;
use url::Url;

use super::{
    json::Object,
    jws::{Jws, JwsError},
    key_set::{Alg, Key},
};
use crate::{
    secret::{MacKey, constant_time_eq, sha256},
    time::{CLOCKS_DIFFER, UnixTime},
};

/// Seconds that a proof may be old, and ahead.
const OLD: i64 = 60;
const AHEAD: i64 = 10;
/// Longest `jti`, in bytes.
const MAX_JTI: usize = 128;
/// Longest `nonce`, in bytes.
const MAX_NONCE: usize = 512;
/// The algorithms of proofs: those of RFC 9449 §5.1 that we announce.
pub const ALGS: [Alg; 3] = [Alg::Es256, Alg::Ps256, Alg::EdDsa];

/// Their names, as metadata and challenges list them.
pub fn algs() -> [&'static str; 3] {
    ALGS.map(Alg::as_str)
}

/// A proof that was signed with the key that it carries, §4.2.
#[derive(Debug)]
pub struct Proof<'a> {
    jws: Jws<'a>,
    key: Key,
}

/// What a proof proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProofClaims {
    /// The thumbprint of its key, §6.1.
    pub jkt: String,
    pub jti: String,
    pub nonce: Option<String>,
    /// Until when its `jti` has to be remembered: while any server on the same database could accept the proof.
    pub until: UnixTime,
}

impl<'a> Proof<'a> {
    /// Reads the values of the `DPoP` header, and verifies the signature. §4.3, 1 to 7.
    ///
    /// # Errors
    ///
    /// The rule that refuses it.
    pub fn parse(values: &[&'a str]) -> Result<Self, DpopError> {
        let [value] = values else {
            return Err(DpopError::Several);
        };
        let jws = Jws::parse(value)?;
        let header = jws.header();
        if header.typ.as_deref() != Some("dpop+jwt") {
            return Err(DpopError::Typ);
        }
        if !ALGS.contains(&header.alg) {
            return Err(DpopError::Alg);
        }
        let key = header.jwk.as_ref().and_then(Key::parse);
        let key = key.ok_or(DpopError::Key)?;
        if !jws.verify(&key) {
            return Err(DpopError::Signature);
        }
        Ok(Self { jws, key })
    }

    /// §4.3, 8 to 12: is it about this request, made now? The nonce is for the caller to check.
    ///
    /// # Errors
    ///
    /// The rule that refuses it.
    pub fn check(
        &self,
        method: &str,
        url: &str,
        now: UnixTime,
        access_token: Option<&str>,
    ) -> Result<ProofClaims, DpopError> {
        let claims = self.jws.claims();
        if text(claims, "htm")? != method {
            return Err(DpopError::Method);
        }
        if normal(text(claims, "htu")?).is_none_or(|htu| Some(htu) != normal(url)) {
            return Err(DpopError::Url);
        }
        let time = |claim| self.jws.time(claim).map_err(|_| DpopError::Time(claim));
        let issued_at = time("iat")?.ok_or(DpopError::Missing("iat"))?;
        let age = now - issued_at;
        if !(-AHEAD..=OLD).contains(&age) {
            return Err(DpopError::Age);
        }
        if time("exp")?.is_some_and(|end| end <= now)
            || time("nbf")?.is_some_and(|start| start - now > AHEAD)
        {
            return Err(DpopError::Age);
        }
        let jti = text(claims, "jti")?;
        if jti.is_empty() || jti.len() > MAX_JTI || jti.contains(char::is_control) {
            return Err(DpopError::Jti);
        }
        let nonce = claims
            .string("nonce")
            .map_err(|_| DpopError::Missing("nonce"))?;
        if nonce.is_some_and(|nonce| nonce.len() > MAX_NONCE) {
            return Err(DpopError::Nonce);
        }
        if let Some(token) = access_token {
            let expected = BASE64_URL_SAFE_NO_PAD.encode(sha256(token.as_bytes()));
            if claims.string("ath") != Ok(Some(expected.as_str())) {
                return Err(DpopError::Ath);
            }
        }
        Ok(ProofClaims {
            jkt: self.key.thumbprint.clone(),
            jti: jti.to_owned(),
            nonce: nonce.map(str::to_owned),
            until: issued_at + OLD + 1 + CLOCKS_DIFFER,
        })
    }
}

fn text<'c>(claims: &'c Object, claim: &'static str) -> Result<&'c str, DpopError> {
    claims
        .string(claim)
        .ok()
        .flatten()
        .ok_or(DpopError::Missing(claim))
}

/// §4.3, 9: scheme and host without regard to case, no default port, without query and fragment (RFC 3986 §6.2.2,
/// §6.2.3).
fn normal(text: &str) -> Option<String> {
    let mut url = Url::parse(text).ok()?;
    if !url.username().is_empty() || url.password().is_some() {
        return None;
    }
    url.set_query(None);
    url.set_fragment(None);
    Some(url.into())
}

/// Why a proof is refused: sent as `error_description`, and never repeats the proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DpopError {
    #[error("there is more than one DPoP header")]
    Several,
    #[error("DPoP proof: {0}")]
    Jws(#[from] JwsError),
    #[error("the typ of the DPoP proof is not dpop+jwt")]
    Typ,
    #[error("the DPoP proof is signed with an algorithm other than ES256, PS256 and EdDSA")]
    Alg,
    #[error("the jwk of the DPoP proof is not one public key of a supported type")]
    Key,
    #[error("the signature of the DPoP proof is not made with its jwk")]
    Signature,
    #[error("the claim {0} of the DPoP proof is missing or of the wrong type")]
    Missing(&'static str),
    #[error("the claim {0} of the DPoP proof is not a whole number of seconds since 1970")]
    Time(&'static str),
    #[error("htm of the DPoP proof is not the method of the request")]
    Method,
    #[error("htu of the DPoP proof is not the URL of the request")]
    Url,
    #[error("the DPoP proof is older than 60 seconds or more than 10 seconds ahead")]
    Age,
    #[error("the jti of the DPoP proof is empty, longer than 128 bytes or has control characters")]
    Jti,
    #[error("the nonce of the DPoP proof is longer than 512 bytes")]
    Nonce,
    #[error("ath of the DPoP proof is not the hash of the access token")]
    Ath,
}

/// Nonces that we hand out, §8: a time and our word on it, so that every instance that has the key knows them.
#[derive(Debug)]
pub struct Nonces(MacKey);

/// Seconds of one period; a nonce serves in its own and in the next.
const PERIOD: i64 = 60;

impl Nonces {
    /// With a key that all instances share.
    pub fn new(key: MacKey) -> Self {
        Self(key)
    }

    /// The nonce of now.
    pub fn issue(&self, now: UnixTime) -> String {
        self.of(now.0.div_euclid(PERIOD))
    }

    /// Is it of this period, or of the one before?
    pub fn is_fresh(&self, nonce: &str, now: UnixTime) -> bool {
        let period = now.0.div_euclid(PERIOD);
        let is = |period| constant_time_eq(self.of(period).as_bytes(), nonce.as_bytes());
        is(period) | is(period - 1)
    }

    fn of(&self, period: i64) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(&self.0.sign(&[b"nonce", &period.to_be_bytes()])[..18])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN_PROOF: &str = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg";
    const RESOURCE_PROOF: &str = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA";

    /// RFC 9449 §4.1, §6.1 and §7.1.
    #[test]
    fn the_examples_of_the_rfc_prove_what_they_say() {
        let proof = Proof::parse(&[TOKEN_PROOF]).unwrap();
        let at = UnixTime(1_562_262_616);
        let check = |url: &str, now| proof.check("POST", url, now, None);
        let proven = check("https://server.example.com/token", at).unwrap();
        assert_eq!(proven.jkt, "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I");
        assert_eq!(
            (proven.jti.as_str(), proven.nonce),
            ("-BwC3ESc6acc2lTc", None)
        );
        // Another server may be behind by as much as clocks differ: it accepts the proof for so much longer.
        assert!(proven.until > at + OLD + CLOCKS_DIFFER, "P-06");
        let table = [
            ("https://server.example.com/token", 60, Ok(())),
            ("https://server.example.com/token", 61, Err(DpopError::Age)),
            ("https://server.example.com/token", -10, Ok(())),
            ("https://server.example.com/token", -11, Err(DpopError::Age)),
            ("https://server.example.com/par", 0, Err(DpopError::Url)),
            ("https://SERVER.example.com:443/token?a#b", 0, Ok(())),
            ("https://server.example.com/token/", 0, Err(DpopError::Url)),
        ];
        for (url, later, expected) in table {
            assert_eq!(
                check(url, at + later).map(drop),
                expected,
                "P-04, P-05: {url} {later}"
            );
        }
        assert_eq!(
            proof.check("GET", "https://server.example.com/token", at, None),
            Err(DpopError::Method)
        );

        let proof = Proof::parse(&[RESOURCE_PROOF]).unwrap();
        let at = UnixTime(1_562_262_618);
        let with = |token| {
            proof
                .check(
                    "GET",
                    "https://resource.example.org/protectedresource",
                    at,
                    token,
                )
                .map(drop)
        };
        assert_eq!(
            with(Some("Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU")),
            Ok(())
        );
        assert_eq!(with(Some("another token")), Err(DpopError::Ath), "P-07");
        assert_eq!(with(None), Ok(()));
    }

    #[test]
    fn one_header_signed_with_its_own_key() {
        let mut other = TOKEN_PROOF.to_owned();
        other.pop();
        other.push('w');
        assert_eq!(Proof::parse(&[]).unwrap_err(), DpopError::Several);
        assert_eq!(
            Proof::parse(&[TOKEN_PROOF; 2]).unwrap_err(),
            DpopError::Several,
            "P-02"
        );
        assert_eq!(Proof::parse(&[&other]).unwrap_err(), DpopError::Signature);
    }

    #[test]
    fn a_nonce_is_good_for_its_period_and_the_next() {
        let nonces = Nonces::new(MacKey::derive(&[1; 32], "nonces"));
        let nonce = nonces.issue(UnixTime(1_000));
        for (now, expected) in [
            (960, true),
            (1_019, true),
            (1_079, true),
            (1_080, false),
            (959, false),
        ] {
            assert_eq!(
                nonces.is_fresh(&nonce, UnixTime(now)),
                expected,
                "P-09 {now}"
            );
        }
        let others = Nonces::new(MacKey::derive(&[2; 32], "nonces"));
        assert!(!others.is_fresh(&nonce, UnixTime(1_000)));
        assert!(!nonces.is_fresh("", UnixTime(1_000)));
    }
}
