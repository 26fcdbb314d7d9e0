//! What the client knows.
//!
//! Everything here is spent once or replaced once, so a few states say all. A request marks what it may change before it
//! is sent; only its answer takes the doubt away.

use std::{collections::HashMap, time::Instant};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::Serialize;
use wayleave::secret::{RefreshFamily, SecretHash, sha256};

/// Did it happen?
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Sure {
    #[default]
    No,
    /// It was asked for, and no answer came.
    Doubt,
    Yes,
}

impl Sure {
    fn asked(&mut self) {
        if *self == Self::No {
            *self = Self::Doubt;
        }
    }
}

/// What a request is about: the ledger names it by a hash, only the model has the secret.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "op", content = "uses", rename_all = "snake_case")]
pub(crate) enum Op {
    SignIn(String),
    /// By the consent that it needs: person and client.
    Authorize(String),
    Consent(String),
    Redeem(String),
    Refresh(String),
    Revoke(String),
    DeviceStart(String),
    DeviceApprove(String),
    DeviceRedeem(String),
    Assertion(String),
}

impl Op {
    pub(crate) fn uses(&self) -> &str {
        match self {
            Self::SignIn(it)
            | Self::Authorize(it)
            | Self::Consent(it)
            | Self::Redeem(it)
            | Self::Refresh(it)
            | Self::Revoke(it)
            | Self::DeviceStart(it)
            | Self::DeviceApprove(it)
            | Self::DeviceRedeem(it)
            | Self::Assertion(it) => it,
        }
    }

    /// As the ledger has it.
    pub(crate) fn named(&self) -> Self {
        let mut named = self.clone();
        match &mut named {
            Self::SignIn(_) | Self::Authorize(_) | Self::Consent(_) | Self::DeviceStart(_) => {}
            Self::Redeem(it)
            | Self::Refresh(it)
            | Self::Revoke(it)
            | Self::DeviceApprove(it)
            | Self::DeviceRedeem(it)
            | Self::Assertion(it) => *it = name(it),
        }
        named
    }
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// It did what it is for, and gave this.
    Works(String),
    /// A page instead of a code, or an error of RFC 6749.
    Refused(String),
    /// No answer.
    Lost,
}

impl Outcome {
    /// As the ledger has it.
    pub(crate) fn named(&self) -> Self {
        match self {
            Self::Works(gives) => Self::Works(name(gives)),
            other => other.clone(),
        }
    }
}

/// The name of a secret in the ledger.
pub(crate) fn name(secret: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(&sha256(secret.as_bytes())[..12])
}

/// An invariant that does not hold.
#[derive(Clone, Debug)]
pub(crate) struct Violation {
    pub(crate) invariant: &'static str,
    pub(crate) told: String,
    /// The names to look for in the ledger.
    pub(crate) about: Vec<String>,
}

impl Violation {
    pub(crate) fn new(invariant: &'static str, told: impl Into<String>, secrets: &[&str]) -> Self {
        Self {
            invariant,
            told: told.into(),
            about: secrets
                .iter()
                .filter(|secret| !secret.is_empty())
                .map(|secret| name(secret))
                .collect(),
        }
    }
}

/// An authorization code.
#[derive(Clone, Debug)]
pub(crate) struct Code {
    pub(crate) text: String,
    pub(crate) client_id: String,
    pub(crate) issued: Instant,
    pub(crate) spent: Sure,
    /// When it was answered with a grant.
    pub(crate) served: Option<Instant>,
    pub(crate) family: Option<usize>,
    pub(crate) touched: u32,
}

/// A device that waits for its person.
#[derive(Clone, Debug)]
pub(crate) struct Device {
    pub(crate) text: String,
    pub(crate) client_id: String,
    pub(crate) issued: Instant,
    pub(crate) approved: Sure,
    pub(crate) spent: Sure,
    pub(crate) touched: u32,
}

/// A client's assertion, whose `jti` serves once.
#[derive(Clone, Debug)]
pub(crate) struct Assertion {
    pub(crate) made: Instant,
    pub(crate) spent: Sure,
    pub(crate) touched: u32,
}

/// A grant with its refresh tokens, oldest first.
#[derive(Clone, Debug)]
pub(crate) struct Family {
    pub(crate) client_id: String,
    /// The code that it came from, if it did.
    pub(crate) code: Option<String>,
    pub(crate) tokens: Vec<String>,
    /// Since when is the newest perhaps replaced: it was sent, and no answer came?
    pub(crate) in_doubt: Option<Instant>,
    pub(crate) rotated: Instant,
    pub(crate) ended: Sure,
    pub(crate) touched: u32,
    /// Does somebody play with it at the moment?
    pub(crate) taken: bool,
}

impl Family {
    pub(crate) fn newest(&self) -> &str {
        self.tokens.last().map_or("", String::as_str)
    }

    /// How the server's database names it.
    pub(crate) fn row(&self) -> String {
        let token = &self.tokens[0];
        let bytes = BASE64_URL_SAFE_NO_PAD
            .decode(token.strip_prefix("wl_rt_").unwrap_or_default())
            .unwrap_or_default();
        SecretHash::<RefreshFamily>::of_bytes(bytes.get(..32).unwrap_or_default())
            .as_str()
            .to_owned()
    }
}

/// Everything that the client knows.
#[derive(Debug, Default)]
pub(crate) struct Model {
    /// How many kills there were: what was touched since the last one is looked at first.
    pub(crate) kills: u32,
    pub(crate) codes: HashMap<String, Code>,
    pub(crate) devices: HashMap<String, Device>,
    pub(crate) assertions: HashMap<String, Assertion>,
    pub(crate) families: Vec<Family>,
    pub(crate) family_of: HashMap<String, usize>,
    pub(crate) consents: HashMap<String, (Sure, u32)>,
    pub(crate) violations: Vec<Violation>,
}

impl Model {
    pub(crate) fn make_assertion(&mut self, text: &str) {
        let assertion = Assertion {
            made: Instant::now(),
            spent: Sure::No,
            touched: self.kills,
        };
        self.assertions.insert(text.to_owned(), assertion);
    }

    /// Before the request leaves.
    pub(crate) fn send(&mut self, op: &Op) -> Sure {
        let kills = self.kills;
        match op {
            Op::Redeem(text) => {
                let Some(code) = self.codes.get_mut(text) else {
                    return Sure::No;
                };
                let before = code.spent;
                code.touched = kills;
                code.spent.asked();
                // Whoever redeems twice ends what the first time gave, unless it comes at once.
                if let (Sure::Yes, Some(family)) = (before, code.family) {
                    self.families[family].ended.asked();
                    self.families[family].touched = kills;
                }
                before
            }
            Op::DeviceRedeem(text) => {
                let Some(device) = self.devices.get_mut(text) else {
                    return Sure::No;
                };
                let before = device.spent;
                device.touched = kills;
                if device.approved != Sure::No {
                    device.spent.asked();
                }
                before
            }
            Op::DeviceApprove(text) => {
                if let Some(device) = self.devices.get_mut(text) {
                    device.touched = kills;
                    device.approved.asked();
                }
                Sure::No
            }
            Op::Assertion(text) => {
                let Some(assertion) = self.assertions.get_mut(text) else {
                    return Sure::No;
                };
                let before = assertion.spent;
                assertion.touched = kills;
                assertion.spent.asked();
                before
            }
            Op::Refresh(text) => {
                if let Some(family) = self.family(text) {
                    family.touched = kills;
                    if family.newest() == text {
                        family.in_doubt.get_or_insert_with(Instant::now);
                    }
                    let count = family.tokens.len();
                    // What is older than the last but one ends the family.
                    let ends = !family.tokens[count.saturating_sub(2)..].contains(text);
                    if ends {
                        family.ended.asked();
                    }
                }
                Sure::No
            }
            Op::Revoke(text) => {
                if let Some(family) = self.family(text) {
                    family.touched = kills;
                    family.ended.asked();
                }
                Sure::No
            }
            Op::Consent(key) => {
                let consent = self.consents.entry(key.clone()).or_default();
                consent.0.asked();
                consent.1 = kills;
                Sure::No
            }
            Op::SignIn(_) | Op::Authorize(_) | Op::DeviceStart(_) => Sure::No,
        }
    }

    pub(crate) fn family(&mut self, token: &str) -> Option<&mut Family> {
        let number = *self.family_of.get(token)?;
        self.families.get_mut(number)
    }

    pub(crate) fn issue(&mut self, text: &str, client_id: &str) {
        let code = Code {
            text: text.to_owned(),
            client_id: client_id.to_owned(),
            issued: Instant::now(),
            spent: Sure::No,
            served: None,
            family: None,
            touched: self.kills,
        };
        self.codes.insert(text.to_owned(), code);
    }

    pub(crate) fn grant(&mut self, token: &str, client_id: &str, code: Option<String>) -> usize {
        self.families.push(Family {
            client_id: client_id.to_owned(),
            code,
            tokens: vec![token.to_owned()],
            in_doubt: None,
            rotated: Instant::now(),
            ended: Sure::No,
            touched: self.kills,
            taken: true,
        });
        let number = self.families.len() - 1;
        self.family_of.insert(token.to_owned(), number);
        number
    }
}
