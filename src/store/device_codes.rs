//! Rows of devices that wait for a person: RFC 8628. User codes are kept as they are compared, device codes as hashes.

use std::sync::Arc;

use super::{
    Store, StoreError,
    db::{Query, row},
    grants::{Approved, NewGrant},
    interactions::Respondent,
    statements,
};
use crate::{
    protocol::{
        client::Digest,
        client_id::ClientId,
        client_metadata::AuthMethod,
        device::{self, Device, Presented, State},
        error::OAuthError,
        resource::Resources,
        scope::Scope,
        user_code::UserCode,
    },
    secret::{self, DeviceCode, SecretHash, Session},
    time::UnixTime,
};

statements! {
    INSERT = "INSERT INTO device_codes (hash, user_code, grant_id, client_id, digest, fetched_at, scope, resources, \
              may_refresh, auth_method, jkt, needs_dpop, source, created_at, expires_at, wait) \
              VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16) ON CONFLICT (user_code) DO NOTHING";
    WAITING = "SELECT COUNT(*) FROM device_codes WHERE decided_at IS NULL AND expires_at > $1";
    CLAIM = "UPDATE device_codes SET claimed_by = $2, subject = $3 WHERE user_code = $1 AND decided_at IS NULL \
             AND expires_at > $4 AND (claimed_by IS NULL OR (claimed_by = $2 AND subject = $3))";
    CLAIMED = "SELECT client_id, digest, fetched_at, scope, resources, may_refresh, auth_method, source, created_at \
               FROM device_codes WHERE user_code = $1 AND claimed_by = $2 AND subject = $3 AND decided_at IS NULL AND expires_at > $4";
    DECIDE = "UPDATE device_codes SET decided_at = $4, allowed = $5, signed_in_at = $6, sid = $7 \
              WHERE user_code = $1 AND claimed_by = $2 AND subject = $3 AND decided_at IS NULL AND expires_at > $4 \
              AND ($8 = 0 OR (EXISTS (SELECT 1 FROM revisions r WHERE r.name = 'clients' AND r.value = $8 - 1) \
              AND EXISTS (SELECT 1 FROM sessions s WHERE s.hash = $9))) RETURNING hash";
    IS_CLAIMED = "SELECT 1 FROM device_codes \
                  WHERE user_code = $1 AND claimed_by = $2 AND subject = $3 AND decided_at IS NULL AND expires_at > $4";
    DECIDED = "SELECT allowed FROM device_codes \
               WHERE user_code = $1 AND claimed_by = $2 AND subject = $3 AND decided_at IS NOT NULL AND allowed IS NOT NULL";
    FIND = "SELECT grant_id, client_id, digest, auth_method, jkt, needs_dpop, scope, resources, may_refresh, expires_at, allowed, \
            wait, subject, signed_in_at, sid, EXISTS (SELECT 1 FROM grants g WHERE g.id = device_codes.grant_id) \
            FROM device_codes WHERE hash = $1";
    GRANT = "INSERT INTO grants (id, client_id, digest, subject, scope, resources, signed_in_at, created_at, ends_at, \
             family, generation, rotated_at, idle_until, auth_method, jkt, sid) \
             SELECT d.grant_id, d.client_id, d.digest, d.subject, d.scope, d.resources, d.signed_in_at, \
             CAST($2 AS BIGINT), CAST($3 AS BIGINT), $4, 1, CAST($2 AS BIGINT), CAST($5 AS BIGINT), $6, $7, d.sid \
             FROM device_codes d WHERE d.hash = $1 AND d.allowed AND d.expires_at > $2 \
             AND EXISTS (SELECT 1 FROM users u WHERE u.subject = d.subject AND u.disabled_at IS NULL) \
             ON CONFLICT (id) DO NOTHING";
}

/// A device that asks for a person, RFC 8628 §3.1.
#[derive(Debug)]
pub struct NewDevice {
    pub hash: SecretHash<DeviceCode>,
    pub client_id: ClientId,
    pub digest: Digest,
    pub fetched_at: UnixTime,
    pub scope: Scope,
    pub resources: Resources,
    pub may_refresh: bool,
    /// How the client proved itself: it has to do no less when it asks for tokens.
    pub auth_method: AuthMethod,
    /// The key of its proof of possession: it has to be the same.
    pub jkt: Option<String>,
    /// Must there be a proof?
    pub needs_dpop: bool,
    /// Where it asks from.
    pub source: String,
    pub created_at: UnixTime,
    pub expires_at: UnixTime,
    /// Seconds between two questions of it.
    pub wait: i64,
}

row! {
    /// A device that a person has opened and not answered.
    ClaimedDevice {
        client_id: ClientId,
        digest: Digest,
        fetched_at: UnixTime,
        scope: Scope,
        resources: Resources,
        may_refresh: bool,
        auth_method: AuthMethod,
        source: String,
        created_at: UnixTime,
    }
}

/// What a person answered.
#[derive(Debug)]
pub enum DeviceAnswer {
    Deny,
    Allow {
        signed_in_at: UnixTime,
        sid: String,
        /// The session that it is allowed in: after its end it is not.
        session: SecretHash<Session>,
        /// Of the rules about clients that this was judged by: under others it is not allowed.
        revision: i64,
    },
}

row! {
    /// A device that asks whether its person has answered.
    WaitingDevice {
        grant_id: String,
        client_id: ClientId,
        digest: Digest,
        auth_method: AuthMethod,
        jkt: Option<String>,
        needs_dpop: bool,
        scope: Scope,
        resources: Resources,
        may_refresh: bool,
        expires_at: UnixTime,
        allowed: Option<bool>,
        wait: i64,
        subject: Option<String>,
        signed_in_at: Option<UnixTime>,
        sid: Option<String>,
        is_spent: bool,
    }
}

impl WaitingDevice {
    fn as_rule(&self) -> Device {
        Device {
            client_id: self.client_id.clone(),
            auth_method: self.auth_method,
            jkt: self.jkt.clone(),
            needs_dpop: self.needs_dpop,
            expires_at: self.expires_at,
            allowed: self.allowed,
            is_spent: self.is_spent,
        }
    }

    /// What its person has allowed; `None` while nobody has.
    fn approved(self) -> Option<Approved> {
        Some(Approved {
            grant_id: self.grant_id,
            client_id: self.client_id,
            digest: self.digest,
            subject: self.subject?,
            scope: self.scope,
            resources: self.resources,
            signed_in_at: self.signed_in_at?,
            may_refresh: self.may_refresh,
            nonce: None,
            sid: self.sid,
        })
    }
}

/// A device that nobody has answered, as it began.
#[derive(Debug)]
pub(super) struct FreshDevice {
    device: Device,
    wait: i64,
}

impl NewDevice {
    fn fresh(&self) -> FreshDevice {
        FreshDevice {
            device: Device {
                client_id: self.client_id.clone(),
                auth_method: self.auth_method,
                jkt: self.jkt.clone(),
                needs_dpop: self.needs_dpop,
                expires_at: self.expires_at,
                allowed: None,
                is_spent: false,
            },
            wait: self.wait,
        }
    }
}

/// What a device is told.
#[derive(Debug)]
pub enum Polled {
    /// Its person has allowed it: spent by this call, and the grant is written.
    Granted(Box<Approved>),
    /// Its person has not answered. It is to ask so many seconds apart.
    Pending(i64),
    Refused(OAuthError),
}

impl Store {
    /// Keeps a device that waits, under the first of `codes` that no other one has.
    ///
    /// # Errors
    ///
    /// When the database fails, as for every method here; when all codes are taken.
    pub async fn insert_device(
        &self,
        new: NewDevice,
        codes: impl Iterator<Item = UserCode> + Send + 'static,
    ) -> Result<UserCode, StoreError> {
        let (hash, fresh) = (new.hash.as_str().to_owned(), new.fresh());
        let grant_id = secret::random_id();
        for code in codes {
            let inserted = self
                .db
                .execute(
                    Query::new(INSERT)
                        .bind(&new.hash)
                        .bind(&code)
                        .bind(&grant_id)
                        .bind(&new.client_id)
                        .bind(&new.digest)
                        .bind(new.fetched_at)
                        .bind(&new.scope)
                        .bind(&new.resources)
                        .bind(new.may_refresh)
                        .bind(new.auth_method)
                        .bind(&new.jkt)
                        .bind(new.needs_dpop)
                        .bind(&new.source)
                        .bind(new.created_at)
                        .bind(new.expires_at)
                        .bind(new.wait),
                )
                .await?;
            if inserted != 1 {
                continue;
            }
            if self.is_alone() {
                self.waiting.insert(hash, Arc::new(fresh));
            }
            return Ok(code);
        }
        Err(StoreError::Unusable(
            "every user code that was tried is taken".to_owned(),
        ))
    }

    /// Whoever waits is looked up again: a block may have ended it.
    pub fn forget_fresh_devices(&self) {
        self.waiting.invalidate_all();
    }

    /// How many devices wait for a person.
    pub async fn waiting_devices(&self, now: UnixTime) -> Result<i64, StoreError> {
        self.db.one(Query::new(WAITING).bind(now)).await
    }

    /// Opens a device for a person in one browser: of any number of them one gets it. False: it is another's, has been
    /// answered, has expired or never was.
    pub async fn claim_device(
        &self,
        code: UserCode,
        asked: Respondent,
        now: UnixTime,
    ) -> Result<bool, StoreError> {
        Ok(self
            .db
            .execute(
                Query::new(CLAIM)
                    .bind(&code)
                    .bind(&asked.browser)
                    .bind(&asked.subject)
                    .bind(now),
            )
            .await?
            == 1)
    }

    /// The device that this person has opened in this browser, while it waits for the answer.
    pub async fn claimed_device(
        &self,
        code: &UserCode,
        asked: &Respondent,
        now: UnixTime,
    ) -> Result<Option<ClaimedDevice>, StoreError> {
        self.db
            .optional(
                Query::new(CLAIMED)
                    .bind(code)
                    .bind(&asked.browser)
                    .bind(&asked.subject)
                    .bind(now),
            )
            .await
    }

    /// Writes the answer of the person who has opened the device. False: there is no such question any more.
    ///
    /// # Errors
    ///
    /// [`StoreError::RulesMoved`] when the rules about clients have changed since it was judged, or its session has ended.
    pub async fn decide_device(
        &self,
        code: UserCode,
        asked: Respondent,
        answer: DeviceAnswer,
        now: UnixTime,
    ) -> Result<bool, StoreError> {
        // 0: nobody's rules count, which is so for a refusal.
        let (allowed, signed_in_at, sid, session, revision) = match answer {
            DeviceAnswer::Deny => (false, None, None, None, 0),
            DeviceAnswer::Allow {
                signed_in_at,
                sid,
                session,
                revision,
            } => (
                true,
                Some(signed_in_at.0),
                Some(sid),
                Some(session),
                revision + 1,
            ),
        };
        let waiting = self.waiting.clone();
        self.db
            .write_one(async move |mut tx| {
                let decided: Option<String> = tx
                    .optional(
                        Query::new(DECIDE)
                            .bind(&code)
                            .bind(&asked.browser)
                            .bind(&asked.subject)
                            .bind(now)
                            .bind(allowed)
                            .bind(signed_in_at)
                            .bind(sid)
                            .bind(revision)
                            .bind(session.as_ref()),
                    )
                    .await?;
                if let Some(hash) = decided {
                    // Here, and not by whoever waits for this: they may be gone before it is durable.
                    waiting.remove(&hash);
                    return Ok(true);
                }
                let is_claimed = tx
                    .optional::<()>(
                        Query::new(IS_CLAIMED)
                            .bind(&code)
                            .bind(&asked.browser)
                            .bind(&asked.subject)
                            .bind(now),
                    )
                    .await?;
                match is_claimed {
                    Some(_) => Err(StoreError::RulesMoved),
                    None => Ok(false),
                }
            })
            .await
    }

    /// What this person has answered in this browser; `None` while they have not.
    pub async fn decided_device(
        &self,
        code: &UserCode,
        asked: &Respondent,
    ) -> Result<Option<bool>, StoreError> {
        self.db
            .optional(
                Query::new(DECIDED)
                    .bind(code)
                    .bind(&asked.browser)
                    .bind(&asked.subject),
            )
            .await
    }

    /// Answers a device that asks. Its code is spent when its grant is there: of any number of concurrent callers one
    /// writes it, in one statement, as `rule` makes it; what the rule refuses spends nothing. Asking writes nothing.
    pub async fn poll_device(
        &self,
        hash: SecretHash<DeviceCode>,
        presented: &Presented,
        now: UnixTime,
        rule: impl FnOnce(&WaitingDevice) -> Result<NewGrant, OAuthError>,
    ) -> Result<Polled, StoreError> {
        if let Some(fresh) = self.waiting.get(hash.as_str()) {
            match device::judge(&fresh.device, presented, now) {
                Ok(State::Pending) => return Ok(Polled::Pending(fresh.wait)),
                Err(refusal) => return Ok(Polled::Refused(refusal)),
                Ok(State::Allowed) => {}
            }
        }
        let found: Option<WaitingDevice> = self.db.optional(Query::new(FIND).bind(&hash)).await?;
        let Some(waiting) = found else {
            return Ok(Polled::Refused(device::unknown()));
        };
        let grant = match device::judge(&waiting.as_rule(), presented, now) {
            Err(refusal) => return Ok(Polled::Refused(refusal)),
            Ok(State::Pending) => return Ok(Polled::Pending(waiting.wait)),
            Ok(State::Allowed) => rule(&waiting),
        };
        let grant = match grant {
            Ok(grant) => grant,
            Err(refusal) => return Ok(Polled::Refused(refusal)),
        };
        let granted = self.write_grant(GRANT, &hash, &grant, now).await?;
        match waiting.approved().filter(|_| granted) {
            Some(approved) => Ok(Polled::Granted(Box::new(approved))),
            None => Ok(Polled::Refused(device::unknown())),
        }
    }
}
