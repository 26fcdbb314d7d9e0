//! A device asks whether its person has answered: RFC 8628 §3.4 and §3.5.

use super::{
    authorization_code::check_key,
    client_id::ClientId,
    client_metadata::AuthMethod,
    error::{ErrorCode, OAuthError},
};
use crate::time::UnixTime;

/// RFC 8628 §3.5: whoever asks too early waits so many seconds longer from then on.
const SLOWER: i64 = 5;
/// Seconds beyond which the wait does not grow.
const SLOWEST: i64 = 60;

/// What was bound to a device code when it was issued, and what became of it.
#[derive(Clone, Debug)]
pub struct Device {
    pub client_id: ClientId,
    /// How its client proved itself.
    pub auth_method: AuthMethod,
    /// The key that the request was signed with, RFC 9449 §5.
    pub jkt: Option<String>,
    /// Are tokens to be bound to a key?
    pub needs_dpop: bool,
    pub expires_at: UnixTime,
    /// What its person said.
    pub allowed: Option<bool>,
    /// Were tokens issued for it?
    pub is_spent: bool,
}

/// How often a device asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    asked_at: UnixTime,
    /// Seconds to wait between two questions.
    wait: i64,
}

impl Pace {
    /// It asks for the first time.
    pub fn begin(now: UnixTime, wait: i64) -> Self {
        Self {
            asked_at: now,
            wait,
        }
    }

    /// It asks again: how it goes on, and whether that was too early (RFC 8628 §3.5).
    #[must_use]
    pub fn again(self, now: UnixTime) -> (Self, bool) {
        let early = now - self.asked_at < self.wait;
        let wait = match early {
            true => (self.wait + SLOWER).min(SLOWEST),
            false => self.wait,
        };
        (Self::begin(now, wait), early)
    }
}

/// What a token request presents with the device code.
#[derive(Clone, Debug)]
pub struct Presented {
    pub client_id: ClientId,
    /// How the client proved itself.
    pub method: AuthMethod,
    /// The key of its proof of possession.
    pub jkt: Option<String>,
}

/// How things stand with a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Its person has allowed it, and nothing was issued yet.
    Allowed,
    /// Its person has not answered.
    Pending,
}

/// RFC 8628 §3.5. Only the client that was issued the code learns anything of it.
///
/// # Errors
///
/// `invalid_grant` for another client or another key, and for a code that was used; `invalid_client` for a client that
/// has to prove more; `invalid_dpop_proof` where there is none; `access_denied`, `expired_token`.
pub fn judge(device: &Device, presented: &Presented, now: UnixTime) -> Result<State, OAuthError> {
    if device.client_id != presented.client_id {
        return Err(unknown().because("the device code was issued to another client"));
    }
    if presented.method < device.auth_method {
        let cause = format!(
            "the client used {}, and {} when the device code was issued",
            presented.method.as_str(),
            device.auth_method.as_str()
        );
        return Err(OAuthError::invalid_client().because(cause));
    }
    check_key(
        device.jkt.as_deref(),
        device.needs_dpop,
        presented.jkt.as_deref(),
    )?;
    if device.is_spent {
        return Err(unknown().because("the device code was used before"));
    }
    if device.expires_at <= now {
        return Err(OAuthError::new(
            ErrorCode::ExpiredToken,
            "the device code has expired; start again",
        ));
    }
    match device.allowed {
        Some(true) => Ok(State::Allowed),
        Some(false) => Err(OAuthError::new(
            ErrorCode::AccessDenied,
            "the user did not allow it",
        )),
        None => Ok(State::Pending),
    }
}

/// One answer for a code that never was, is another client's, or has served.
pub fn unknown() -> OAuthError {
    OAuthError::invalid_grant("the device code is unknown, or was used before")
}

/// RFC 8628 §3.5: `authorization_pending`.
pub fn pending() -> OAuthError {
    OAuthError::new(
        ErrorCode::AuthorizationPending,
        "the user has not answered yet",
    )
}

/// RFC 8628 §3.5: `slow_down`.
pub fn slow_down() -> OAuthError {
    OAuthError::new(
        ErrorCode::SlowDown,
        "asked too early; wait 5 seconds longer from now on",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime(1_000);

    fn device() -> Device {
        Device {
            client_id: "https://a.example.com/c".parse().unwrap(),
            auth_method: AuthMethod::None,
            jkt: None,
            needs_dpop: false,
            expires_at: NOW + 100,
            allowed: None,
            is_spent: false,
        }
    }

    fn presented() -> Presented {
        Presented {
            client_id: "https://a.example.com/c".parse().unwrap(),
            method: AuthMethod::None,
            jkt: None,
        }
    }

    #[test]
    fn v_04_a_device_learns_how_things_stand() {
        type Change = fn(&mut Device);
        let table: &[(&str, Change, Result<State, ErrorCode>)] = &[
            ("nobody has answered", |_| {}, Ok(State::Pending)),
            ("allowed", |d| d.allowed = Some(true), Ok(State::Allowed)),
            (
                "denied",
                |d| d.allowed = Some(false),
                Err(ErrorCode::AccessDenied),
            ),
            (
                "used",
                |d| (d.allowed, d.is_spent) = (Some(true), true),
                Err(ErrorCode::InvalidGrant),
            ),
            (
                "expired",
                |d| d.expires_at = NOW,
                Err(ErrorCode::ExpiredToken),
            ),
            (
                "allowed, and expired",
                |d| (d.allowed, d.expires_at) = (Some(true), NOW),
                Err(ErrorCode::ExpiredToken),
            ),
        ];
        for (case, change, expected) in table {
            let mut device = device();
            change(&mut device);
            let got = judge(&device, &presented(), NOW).map_err(|error| error.code);
            assert_eq!(got, *expected, "{case}");
        }
    }

    #[test]
    fn v_04_whoever_asks_too_early_waits_longer() {
        let mut pace = Pace::begin(NOW, 5);
        let mut now = NOW;
        for (after, early, wait) in [
            (5, false, 5),
            (4, true, 10),
            (9, true, 15),
            (15, false, 15),
            (0, true, 20),
        ] {
            now = now + after;
            let (next, was_early) = pace.again(now);
            assert_eq!((was_early, next.wait), (early, wait), "after {after} s");
            pace = next;
        }
        for _ in 0..100 {
            pace = pace.again(now).0;
        }
        assert_eq!(pace.wait, SLOWEST);
    }

    #[test]
    fn v_08_v_11_only_whoever_started_it_learns_anything() {
        type Change = fn(&mut Device, &mut Presented);
        let table: &[(&str, Change, Result<State, ErrorCode>)] = &[
            (
                "another client",
                |_, p| p.client_id = "https://b.example.com/c".parse().unwrap(),
                Err(ErrorCode::InvalidGrant),
            ),
            (
                "without the authentication of the beginning",
                |d, _| d.auth_method = AuthMethod::PrivateKeyJwt,
                Err(ErrorCode::InvalidClient),
            ),
            (
                "with a weaker one",
                |d, p| {
                    (d.auth_method, p.method) =
                        (AuthMethod::PrivateKeyJwt, AuthMethod::ClientSecretBasic);
                },
                Err(ErrorCode::InvalidClient),
            ),
            (
                "with a stronger one",
                |_, p| p.method = AuthMethod::PrivateKeyJwt,
                Ok(State::Allowed),
            ),
            (
                "without the key of the beginning",
                |d, _| d.jkt = Some("one".to_owned()),
                Err(ErrorCode::InvalidDpopProof),
            ),
            (
                "with another key",
                |d, p| (d.jkt, p.jkt) = (Some("one".to_owned()), Some("two".to_owned())),
                Err(ErrorCode::InvalidGrant),
            ),
            (
                "with the same key",
                |d, p| (d.jkt, p.jkt) = (Some("one".to_owned()), Some("one".to_owned())),
                Ok(State::Allowed),
            ),
            (
                "with a key that its document asks for",
                |d, p| (d.needs_dpop, p.jkt) = (true, Some("one".to_owned())),
                Ok(State::Allowed),
            ),
            (
                "without a key that its document asks for",
                |d, _| d.needs_dpop = true,
                Err(ErrorCode::InvalidDpopProof),
            ),
        ];
        for (case, change, expected) in table {
            let (mut device, mut presented) = (device(), presented());
            device.allowed = Some(true);
            change(&mut device, &mut presented);
            let got = judge(&device, &presented, NOW).map_err(|error| error.code);
            assert_eq!(got, *expected, "{case}");
        }
    }
}
