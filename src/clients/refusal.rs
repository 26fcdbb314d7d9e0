//! Why a client is not known: what its developer is told, and what the administrator reads.

use std::time::Duration;

use crate::{
    fetch::{self, FetchError, OverBudget, Step},
    store::StoreError,
};

/// Why a client is not known.
#[derive(Clone, Debug)]
pub struct Refusal {
    pub kind: RefusalKind,
    /// The rule that refused, by its stable name. Strangers are told [`Refusal::told_rule`].
    pub rule: &'static str,
    /// For the client's developer. What would make us a scanner of networks is not in it.
    pub told: String,
    /// For the administrator.
    pub cause: String,
}

/// What kind of trouble it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalKind {
    /// The identifier or the document is not acceptable.
    Invalid,
    /// The same request may succeed in so many seconds.
    Temporary(u32),
    /// Whoever asks has asked for too much; again in so many seconds.
    TooMany(u32),
    /// Something of ours failed.
    Internal,
}

/// The rule of a client that the administrator blocks.
pub const BLOCKED: &str = "policy.blocked";

/// Rules below HTTP: told as one, so that nobody learns what is reachable from here.
const BELOW_HTTP: &[&str] = &[
    "fetch.dns",
    "fetch.address",
    "fetch.connect",
    "fetch.tls",
    "fetch.head",
];

impl Refusal {
    pub(super) fn invalid(rule: &'static str, told: impl Into<String>) -> Self {
        let told = told.into();
        Self {
            kind: RefusalKind::Invalid,
            rule,
            cause: told.clone(),
            told,
        }
    }

    /// May the same request succeed later?
    pub fn is_temporary(&self) -> bool {
        matches!(
            self.kind,
            RefusalKind::Temporary(_) | RefusalKind::TooMany(_)
        )
    }

    /// The rule as strangers are told it.
    pub fn told_rule(&self) -> &'static str {
        if BELOW_HTTP.contains(&self.rule) {
            "fetch.reach"
        } else {
            self.rule
        }
    }

    /// Is it us who had no time to ask? Then it says nothing of the client or its host, and is held against neither.
    pub(super) fn is_ours(&self) -> bool {
        self.rule == fetch::OURS
    }

    fn over_budget(over: &OverBudget) -> Self {
        let wait = seconds(over.wait);
        Self {
            kind: match over.is_own {
                true => RefusalKind::TooMany(wait),
                false => RefusalKind::Temporary(wait),
            },
            rule: fetch::OURS,
            told: format!(
                "too many clients are being looked up at the moment; try again in {wait} seconds"
            ),
            cause: over.to_string(),
        }
    }
}

fn seconds(wait: Duration) -> u32 {
    u32::try_from(wait.as_secs()).unwrap_or(60).clamp(1, 60)
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        let kind = if error.is_temporary() {
            RefusalKind::Temporary(5)
        } else {
            RefusalKind::Internal
        };
        Self {
            kind,
            rule: "store",
            told: "the server could not look the client up".to_owned(),
            cause: error.to_string(),
        }
    }
}

/// What a failed fetch means. Whatever lies below HTTP is told in one sentence: which of resolving, connecting and
/// TLS failed, and where, would make this server a scanner.
impl From<&FetchError> for Refusal {
    fn from(error: &FetchError) -> Self {
        let temporary = |told: String, wait: u32| Self {
            kind: RefusalKind::Temporary(wait),
            rule: error.rule(),
            told,
            cause: error.to_string(),
        };
        let invalid = |told: String| Self {
            kind: RefusalKind::Invalid,
            ..temporary(told, 0)
        };
        match error {
            FetchError::Budget(over) => Self::over_budget(over),
            FetchError::Busy => temporary(
                "too many clients are being looked up at the moment".to_owned(),
                5,
            ),
            FetchError::Broken(_) | FetchError::Timeout(Step::Body, _) => temporary(
                "the answer broke off before its end, or took too long".to_owned(),
                5,
            ),
            FetchError::Literal
            | FetchError::Dns(_)
            | FetchError::NotPublic(..)
            | FetchError::Connect(_)
            | FetchError::Tls(_)
            | FetchError::Head(_)
            | FetchError::Timeout(..) => {
                let told = "the document could not be reached: its host must have a public address and answer over https \
                            with a valid certificate within a few seconds";
                temporary(told.to_owned(), 5)
            }
            FetchError::Status {
                status,
                retry_after,
            } if *status == 429 || *status >= 500 => temporary(
                format!("the document's host answered with status {status}"),
                retry_after.unwrap_or(5).clamp(1, 60),
            ),
            FetchError::Status { status, .. } => invalid(match status {
                304 => "the document's host answered 304 (not modified) to a question without conditions".to_owned(),
                300..400 => format!(
                    "the document's host answered with a redirect ({status}); redirects are not followed"
                ),
                _ => format!("the document's host answered with status {status}; only 200 counts"),
            }),
            FetchError::Encoded => invalid(
                "the document has a content-encoding, although none was accepted".to_owned(),
            ),
            FetchError::TooLarge(limit) => {
                invalid(format!("the document is larger than {limit} bytes"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_below_http_is_told_in_one_sentence() {
        let causes = [
            FetchError::Dns("no address".to_owned()),
            FetchError::NotPublic("10.0.0.1".parse().unwrap(), "private use"),
            FetchError::Connect("connection refused".to_owned()),
            FetchError::Tls("bad certificate".to_owned()),
            FetchError::Timeout(Step::Connect, 5),
            FetchError::Timeout(Step::Head, 5),
        ];
        let told: Vec<_> = causes
            .iter()
            .map(|error| {
                let refusal = Refusal::from(error);
                (refusal.told_rule(), refusal.told, refusal.kind)
            })
            .collect();
        assert!(told.windows(2).all(|pair| pair[0] == pair[1]), "{told:?}");
    }
}
