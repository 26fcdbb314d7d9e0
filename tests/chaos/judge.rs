//! Which answers may come, by what the client knows: whatever happened in between, an answer is right or it is not.

use std::time::{Duration, Instant};

use super::model::{Device, Model, Op, Outcome, Sure, Violation};

/// A used refresh token surely gives its successor again within this; the server's grace is 30 seconds.
const SURELY_GRACE: Duration = Duration::from_secs(20);
/// A code that comes again after this surely ends its grant; within 3 seconds the server takes it for a page that loaded
/// twice, and ends nothing.
const SURELY_REUSE: Duration = Duration::from_secs(6);

/// A code and an assertion live for 60 seconds.
pub(crate) const SURELY_FRESH: Duration = Duration::from_secs(50);

/// An answer to be judged.
pub(crate) struct Answer<'a> {
    pub(crate) op: &'a Op,
    pub(crate) client_id: &'a str,
    /// What was known before it was sent: what [`Model::send`] gave.
    pub(crate) before: Sure,
    pub(crate) outcome: &'a Outcome,
}

impl Answer<'_> {
    fn wrong(&self, invariant: &'static str, told: &str) -> Result<(), Violation> {
        let gives = match self.outcome {
            Outcome::Works(gives) => gives,
            _ => "",
        };
        let told = format!("{told}: {:?} was answered {:?}", self.op, self.outcome);
        let secrets = [self.op.uses(), gives];
        Err(Violation::new(invariant, told, &secrets))
    }

    fn gives(&self) -> Option<&str> {
        match self.outcome {
            Outcome::Works(gives) => Some(gives),
            _ => None,
        }
    }

    /// RFC 6749 §5.2: a grant is refused in one word only.
    fn is_invalid_grant(&self) -> Result<(), Violation> {
        match self.outcome {
            Outcome::Refused(error) if error == "invalid_grant" => Ok(()),
            _ => self.wrong("I6", "another refusal than invalid_grant"),
        }
    }

    /// Of what must work.
    fn works(&self, invariant: &'static str, told: &str) -> Result<(), Violation> {
        self.gives()
            .map_or_else(|| self.wrong(invariant, told), |_| Ok(()))
    }
}

impl Model {
    /// When the answer is there: what it teaches, and whether it may be.
    pub(crate) fn receive(&mut self, answer: &Answer<'_>) {
        if *answer.outcome == Outcome::Lost {
            return;
        }
        let judged = match answer.op {
            Op::SignIn(_) => answer.works("I1", "an account is gone"),
            Op::Authorize(key) => self.authorized(key, answer),
            Op::Consent(key) => self.consented(key, answer),
            Op::Redeem(code) => self.redeemed(code, answer),
            Op::Refresh(token) => self.refreshed(token, answer),
            Op::Revoke(token) => self.revoked(token, answer),
            Op::DeviceStart(_) => self.started(answer),
            Op::DeviceApprove(code) => self.approved(code, answer),
            Op::DeviceRedeem(code) => self.device_redeemed(code, answer),
            Op::Assertion(text) => self.asserted(text, answer),
        };
        self.violations.extend(judged.err());
    }

    fn authorized(&mut self, key: &str, answer: &Answer<'_>) -> Result<(), Violation> {
        let consent = self.consents.entry(key.to_owned()).or_default();
        let stood = consent.0;
        match answer.outcome {
            Outcome::Works(code) => {
                *consent = (Sure::Yes, self.kills);
                self.issue(code, answer.client_id);
                match stood {
                    Sure::No => answer.wrong("I4", "nobody consented"),
                    _ => Ok(()),
                }
            }
            Outcome::Refused(page) if page == "consent" => {
                consent.0 = Sure::No;
                match stood {
                    Sure::Yes => answer.wrong("I1", "the consent is gone"),
                    _ => Ok(()),
                }
            }
            _ => answer.wrong("I1", "the session is gone"),
        }
    }

    fn consented(&mut self, key: &str, answer: &Answer<'_>) -> Result<(), Violation> {
        if let Some(code) = answer.gives() {
            self.consents
                .insert(key.to_owned(), (Sure::Yes, self.kills));
            self.issue(code, answer.client_id);
        }
        answer.works("I6", "a consent is not taken")
    }

    fn redeemed(&mut self, text: &str, answer: &Answer<'_>) -> Result<(), Violation> {
        let Some(code) = self.codes.get_mut(text) else {
            return answer.wrong("I4", "nobody issued this code");
        };
        code.spent = Sure::Yes;
        let (family, is_fresh) = (code.family, code.issued.elapsed() < SURELY_FRESH);
        let is_reuse = code.served.is_some_and(|at| at.elapsed() >= SURELY_REUSE);
        match (answer.before, answer.gives()) {
            (Sure::Yes, Some(_)) => answer.wrong("I2", "a code served twice"),
            (Sure::No, None) if is_fresh => {
                answer.wrong("I1", "a code that never served is refused")
            }
            (_, Some(token)) => {
                let family = self.grant(token, answer.client_id, Some(text.to_owned()));
                if let Some(code) = self.codes.get_mut(text) {
                    code.family = Some(family);
                    code.served = Some(Instant::now());
                }
                Ok(())
            }
            (before, None) => {
                if let (Sure::Yes, Some(family), true) = (before, family, is_reuse) {
                    self.families[family].ended = Sure::Yes;
                }
                answer.is_invalid_grant()
            }
        }
    }

    fn refreshed(&mut self, token: &str, answer: &Answer<'_>) -> Result<(), Violation> {
        let Some(family) = self.family(token) else {
            return answer.wrong("I4", "nobody issued this refresh token");
        };
        let (last, ended) = (family.tokens.len() - 1, family.ended);
        let place = family.tokens.iter().position(|known| known == token);
        // How many came after it.
        let age = last - place.unwrap_or_default();
        let Some(next) = answer.gives() else {
            let is_sure = ended == Sure::No && family.in_doubt.is_none();
            // The machine may have stood still: a retry that comes too late ends the grant.
            let is_late = |since: Instant| since.elapsed() >= SURELY_GRACE;
            let in_grace = !is_late(family.rotated);
            family.ended = Sure::Yes;
            return match age {
                0 if ended == Sure::No && !family.in_doubt.is_some_and(is_late) => {
                    answer.wrong("I1", "an acknowledged refresh token is refused")
                }
                1 if is_sure && in_grace => {
                    answer.wrong("I3", "a retry within the grace is refused")
                }
                _ => answer.is_invalid_grant(),
            };
        };
        if ended == Sure::Yes {
            return answer.wrong("I4", "a grant that ended lives again");
        }
        match age {
            0 if next == token => answer.wrong("I2", "a refresh token gave itself"),
            0 => {
                // It lives: what was in doubt did not end it.
                family.ended = Sure::No;
                family.in_doubt = None;
                family.rotated = Instant::now();
                family.tokens.push(next.to_owned());
                let number = self.family_of[token];
                self.family_of.insert(next.to_owned(), number);
                Ok(())
            }
            1 if next == family.tokens[last] => {
                family.ended = Sure::No;
                Ok(())
            }
            1 => answer.wrong("I2", "a refresh token has two successors"),
            _ => answer.wrong("I4", "an old refresh token works"),
        }
    }

    fn revoked(&mut self, token: &str, answer: &Answer<'_>) -> Result<(), Violation> {
        if let (Some(family), Some(_)) = (self.family(token), answer.gives()) {
            family.ended = Sure::Yes;
        }
        answer.works("I6", "a revocation is refused")
    }

    fn started(&mut self, answer: &Answer<'_>) -> Result<(), Violation> {
        if let Some(text) = answer.gives() {
            let device = Device {
                text: text.to_owned(),
                client_id: answer.client_id.to_owned(),
                issued: Instant::now(),
                approved: Sure::No,
                spent: Sure::No,
                touched: self.kills,
            };
            self.devices.insert(text.to_owned(), device);
        }
        answer.works("I6", "a device may not start")
    }

    fn approved(&mut self, code: &str, answer: &Answer<'_>) -> Result<(), Violation> {
        if let (Some(device), Some(_)) = (self.devices.get_mut(code), answer.gives()) {
            device.approved = Sure::Yes;
        }
        answer.works("I1", "a device that waits cannot be allowed")
    }

    fn device_redeemed(&mut self, code: &str, answer: &Answer<'_>) -> Result<(), Violation> {
        let Some(device) = self.devices.get_mut(code) else {
            return answer.wrong("I4", "nobody started this device");
        };
        let approved = device.approved;
        match answer.outcome {
            Outcome::Works(token) => {
                (device.spent, device.approved) = (Sure::Yes, Sure::Yes);
                self.grant(token, answer.client_id, None);
                match (approved, answer.before) {
                    (Sure::No, _) => answer.wrong("I4", "nobody allowed this device"),
                    (_, Sure::Yes) => answer.wrong("I2", "a device code served twice"),
                    _ => Ok(()),
                }
            }
            Outcome::Refused(it) if it == "authorization_pending" || it == "slow_down" => {
                (device.spent, device.approved) = (Sure::No, Sure::No);
                match (approved, answer.before) {
                    (Sure::Yes, _) => answer.wrong("I1", "the approval of a device is gone"),
                    (_, Sure::Yes) => answer.wrong("I4", "a used device code waits again"),
                    _ => Ok(()),
                }
            }
            _ => {
                device.spent = Sure::Yes;
                match answer.before {
                    Sure::No => answer.wrong("I1", "a device code that never served is refused"),
                    _ => answer.is_invalid_grant(),
                }
            }
        }
    }

    fn asserted(&mut self, text: &str, answer: &Answer<'_>) -> Result<(), Violation> {
        let mut is_fresh = true;
        if let Some(assertion) = self.assertions.get_mut(text) {
            assertion.spent = Sure::Yes;
            is_fresh = assertion.made.elapsed() < SURELY_FRESH;
        }
        match (answer.before, answer.gives()) {
            (Sure::Yes, Some(_)) => answer.wrong("I2", "an assertion served twice"),
            (Sure::No, None) if is_fresh => {
                answer.wrong("I1", "an assertion that never served is refused")
            }
            _ => Ok(()),
        }
    }
}
