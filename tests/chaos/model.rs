//! What the client knows, and what the server may therefore answer.
//!
//! Everything here is spent once or replaced once, so a few states say all: an answer is right or it is not, whatever
//! happened in between. A request marks what it may change before it is sent; only its answer takes the doubt away.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::Serialize;
use wayleave::secret::{RefreshFamily, SecretHash, sha256};

/// A used refresh token surely gives its successor again within this; the server's grace is 30 seconds.
pub(crate) const SURELY_GRACE: Duration = Duration::from_secs(20);

/// Did it happen?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sure {
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
            about: secrets.iter().map(|secret| name(secret)).collect(),
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
    /// Was the newest sent to be replaced, and no answer came?
    pub(crate) replaced_in_doubt: bool,
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
                // Whoever redeems twice ends what the first time gave.
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
                    family.replaced_in_doubt |= family.newest() == text;
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
                let consent = self.consents.entry(key.clone()).or_insert((Sure::No, 0));
                consent.0.asked();
                consent.1 = kills;
                Sure::No
            }
            Op::SignIn(_) | Op::Authorize(_) | Op::DeviceStart(_) => Sure::No,
        }
    }

    /// When the answer is there. `before`: what `send` gave.
    pub(crate) fn receive(&mut self, op: &Op, client_id: &str, before: Sure, outcome: &Outcome) {
        if let Err(violation) = self.judge(op, client_id, before, outcome) {
            self.violations.push(violation);
        }
    }

    fn judge(
        &mut self,
        op: &Op,
        client_id: &str,
        before: Sure,
        outcome: &Outcome,
    ) -> Result<(), Violation> {
        let (kills, now) = (self.kills, Instant::now());
        let wrong = |invariant, told: &str| {
            let told = format!("{told}: {op:?} was answered {outcome:?}");
            let gives = match outcome {
                Outcome::Works(it) => it,
                _ => "",
            };
            Err(Violation::new(invariant, told, &[op.uses(), gives]))
        };
        match (op, outcome) {
            (_, Outcome::Lost) => Ok(()),
            (Op::SignIn(_), Outcome::Works(_)) => Ok(()),
            (Op::SignIn(_), _) => wrong("I1", "an account is gone"),

            (Op::Authorize(key), Outcome::Works(code)) => {
                let consent = self.consents.entry(key.clone()).or_insert((Sure::No, 0));
                let stood = consent.0;
                *consent = (Sure::Yes, kills);
                self.issue(code, client_id);
                match stood {
                    Sure::No => wrong("I4", "nobody consented"),
                    _ => Ok(()),
                }
            }
            (Op::Authorize(key), Outcome::Refused(page)) => {
                let consent = self.consents.entry(key.clone()).or_insert((Sure::No, 0));
                match (page.as_str(), consent.0) {
                    ("consent", Sure::Yes) => wrong("I1", "the consent is gone"),
                    ("consent", _) => {
                        consent.0 = Sure::No;
                        Ok(())
                    }
                    ("login", _) => wrong("I1", "the session is gone"),
                    _ => wrong("I6", "neither a code nor a page"),
                }
            }
            (Op::Consent(key), Outcome::Works(code)) => {
                self.consents.insert(key.clone(), (Sure::Yes, kills));
                self.issue(code, client_id);
                Ok(())
            }
            (Op::Consent(_), _) => wrong("I6", "the consent was not taken"),

            (Op::Redeem(text), _) => {
                let Some(code) = self.codes.get_mut(text) else {
                    return wrong("I4", "nobody issued this code");
                };
                code.spent = Sure::Yes;
                let family = code.family;
                match (before, outcome) {
                    (Sure::Yes, Outcome::Works(_)) => wrong("I2", "a code served twice"),
                    (_, Outcome::Works(token)) => {
                        let code = Some(text.clone());
                        let family = self.grant(token, client_id, code, kills);
                        if let Some(code) = self.codes.get_mut(text) {
                            code.family = Some(family);
                        }
                        Ok(())
                    }
                    (Sure::No, _) => wrong("I1", "a code that never served is refused"),
                    _ => {
                        if let (Sure::Yes, Some(family)) = (before, family) {
                            self.families[family].ended = Sure::Yes;
                        }
                        is_invalid_grant(outcome).or_else(|()| wrong("I6", "another refusal"))
                    }
                }
            }

            (Op::Refresh(text), _) => {
                let Some(family) = self.family(text) else {
                    return wrong("I4", "nobody issued this refresh token");
                };
                let (last, ended) = (family.tokens.len() - 1, family.ended);
                let index = family.tokens.iter().position(|known| known == text);
                let index = index.unwrap_or_default();
                let in_grace = now - family.rotated < SURELY_GRACE;
                match outcome {
                    Outcome::Works(_) if ended == Sure::Yes => {
                        wrong("I4", "a grant that ended lives again")
                    }
                    Outcome::Works(next) if index == last => {
                        let next = next.clone();
                        family.replaced_in_doubt = false;
                        family.rotated = now;
                        family.ended = Sure::No;
                        if next == *text {
                            return wrong("I2", "a refresh token gave itself");
                        }
                        family.tokens.push(next.clone());
                        if let Some(number) = self.family_of.get(text).copied() {
                            self.family_of.insert(next, number);
                        }
                        Ok(())
                    }
                    Outcome::Works(next) if index + 1 == last => {
                        family.ended = Sure::No;
                        match *next == family.tokens[last] {
                            true => Ok(()),
                            false => wrong("I2", "a refresh token has two successors"),
                        }
                    }
                    Outcome::Works(_) => wrong("I4", "an old refresh token works"),
                    _ => {
                        let in_doubt = ended != Sure::No || family.replaced_in_doubt;
                        let was_sure_of_end = ended == Sure::Yes;
                        family.ended = Sure::Yes;
                        if was_sure_of_end || index + 1 < last {
                            return is_invalid_grant(outcome)
                                .or_else(|()| wrong("I6", "another refusal"));
                        }
                        if index == last && ended == Sure::No {
                            return wrong("I1", "an acknowledged refresh token is refused");
                        }
                        if index + 1 == last && !in_doubt && in_grace {
                            return wrong("I3", "a retry within the grace is refused");
                        }
                        is_invalid_grant(outcome).or_else(|()| wrong("I6", "another refusal"))
                    }
                }
            }

            (Op::Revoke(text), Outcome::Works(_)) => {
                if let Some(family) = self.family(text) {
                    family.ended = Sure::Yes;
                }
                Ok(())
            }
            (Op::Revoke(_), _) => wrong("I6", "a revocation was refused"),

            (Op::DeviceStart(_), Outcome::Works(text)) => {
                let device = Device {
                    text: text.clone(),
                    client_id: client_id.to_owned(),
                    issued: now,
                    approved: Sure::No,
                    spent: Sure::No,
                    touched: kills,
                };
                self.devices.insert(text.clone(), device);
                Ok(())
            }
            (Op::DeviceStart(_), _) => wrong("I6", "a device may not start"),
            (Op::DeviceApprove(text), Outcome::Works(_)) => {
                if let Some(device) = self.devices.get_mut(text) {
                    device.approved = Sure::Yes;
                }
                Ok(())
            }
            (Op::DeviceApprove(_), _) => wrong("I1", "a device that waits cannot be allowed"),
            (Op::DeviceRedeem(text), _) => {
                let Some(device) = self.devices.get_mut(text) else {
                    return wrong("I4", "nobody started this device");
                };
                let approved = device.approved;
                match outcome {
                    Outcome::Works(token) => {
                        device.spent = Sure::Yes;
                        device.approved = Sure::Yes;
                        let token = token.clone();
                        self.grant(&token, client_id, None, kills);
                        match (approved, before) {
                            (Sure::No, _) => wrong("I4", "nobody allowed this device"),
                            (_, Sure::Yes) => wrong("I2", "a device code served twice"),
                            _ => Ok(()),
                        }
                    }
                    Outcome::Refused(error)
                        if matches!(error.as_str(), "authorization_pending" | "slow_down") =>
                    {
                        (device.spent, device.approved) = (Sure::No, Sure::No);
                        match (approved, before) {
                            (Sure::Yes, _) => wrong("I1", "the approval of a device is gone"),
                            (_, Sure::Yes) => wrong("I4", "a used device code waits again"),
                            _ => Ok(()),
                        }
                    }
                    _ => {
                        device.spent = Sure::Yes;
                        match before {
                            Sure::No => wrong("I1", "a device code that never served is refused"),
                            _ => is_invalid_grant(outcome)
                                .or_else(|()| wrong("I6", "another refusal")),
                        }
                    }
                }
            }

            (Op::Assertion(text), _) => {
                if let Some(assertion) = self.assertions.get_mut(text) {
                    assertion.spent = Sure::Yes;
                }
                match (before, outcome) {
                    (Sure::Yes, Outcome::Works(_)) => wrong("I2", "an assertion served twice"),
                    (Sure::No, Outcome::Refused(_)) => {
                        wrong("I1", "an assertion that never served is refused")
                    }
                    _ => Ok(()),
                }
            }
        }
    }

    fn family(&mut self, token: &str) -> Option<&mut Family> {
        let number = *self.family_of.get(token)?;
        self.families.get_mut(number)
    }

    fn issue(&mut self, text: &str, client_id: &str) {
        let code = Code {
            text: text.to_owned(),
            client_id: client_id.to_owned(),
            issued: Instant::now(),
            spent: Sure::No,
            family: None,
            touched: self.kills,
        };
        self.codes.insert(text.to_owned(), code);
    }

    fn grant(&mut self, token: &str, client_id: &str, code: Option<String>, kills: u32) -> usize {
        self.families.push(Family {
            client_id: client_id.to_owned(),
            code,
            tokens: vec![token.to_owned()],
            replaced_in_doubt: false,
            rotated: Instant::now(),
            ended: Sure::No,
            touched: kills,
            taken: true,
        });
        let number = self.families.len() - 1;
        self.family_of.insert(token.to_owned(), number);
        number
    }
}

fn is_invalid_grant(outcome: &Outcome) -> Result<(), ()> {
    match outcome {
        Outcome::Refused(error) if error == "invalid_grant" => Ok(()),
        _ => Err(()),
    }
}
