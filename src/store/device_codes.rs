//! Rows of devices that wait for a person: RFC 8628. User codes are kept as they are compared, device codes as hashes.

use super::{
    Store, StoreError,
    columns::row,
    dialect::{on_connection, on_reads},
    grants::{self, Approved, NewGrant},
    interactions::Asked,
    statements,
};
use crate::{
    protocol::{
        client::Digest,
        client_id::ClientId,
        client_metadata::AuthMethod,
        device::{self, Device, Presented, SLOWER, SLOWEST, State},
        error::OAuthError,
        resource::Resources,
        scope::Scope,
        user_code::UserCode,
    },
    secret::{self, DeviceCode, SecretHash},
    time::UnixTime,
};

statements! {
    INSERT = "INSERT INTO device_codes (hash, user_code, grant_id, client_id, digest, fetched_at, scope, resources, \
              may_refresh, auth_method, jkt, needs_dpop, source, created_at, expires_at, wait) \
              SELECT $1, $2, $3, $4, $5, CAST($6 AS BIGINT), $7, $8, CAST($9 AS BOOLEAN), $10, $11, CAST($12 AS BOOLEAN), $13, \
              CAST($14 AS BIGINT), CAST($15 AS BIGINT), CAST($16 AS BIGINT) \
              WHERE (SELECT COUNT(*) FROM device_codes d WHERE d.decided_at IS NULL AND d.expires_at > $14) < $17 \
              ON CONFLICT (user_code) DO NOTHING";
    PENDING = "SELECT COUNT(*) FROM device_codes WHERE decided_at IS NULL AND expires_at > $1";
    CLAIM = "UPDATE device_codes SET claimed_by = $2, subject = $3 WHERE user_code = $1 AND decided_at IS NULL \
             AND expires_at > $4 AND (claimed_by IS NULL OR (claimed_by = $2 AND subject = $3))";
    CLAIMED = "SELECT client_id, digest, fetched_at, scope, resources, may_refresh, auth_method, source, created_at \
               FROM device_codes WHERE user_code = $1 AND claimed_by = $2 AND subject = $3 AND decided_at IS NULL AND expires_at > $4";
    DECIDE = "UPDATE device_codes SET decided_at = $4, allowed = $5, signed_in_at = $6, sid = $7 \
              WHERE user_code = $1 AND claimed_by = $2 AND subject = $3 AND decided_at IS NULL AND expires_at > $4";
    IS_REVISION = "SELECT 1 FROM revisions WHERE name = 'clients' AND value = $1";
    DECIDED = "SELECT allowed FROM device_codes \
               WHERE user_code = $1 AND claimed_by = $2 AND subject = $3 AND decided_at IS NOT NULL AND allowed IS NOT NULL";
    FIND = "SELECT client_id, auth_method, jkt, needs_dpop, scope, resources, may_refresh, expires_at, allowed, polled_at, \
            wait, spent_at FROM device_codes WHERE hash = $1";
    PACE = "UPDATE device_codes SET polled_at = $2 WHERE hash = $1 AND decided_at IS NULL \
            AND (polled_at IS NULL OR polled_at + wait <= $2)";
    SLOW_DOWN = "UPDATE device_codes SET polled_at = $2, wait = wait + $3 WHERE hash = $1 AND decided_at IS NULL AND wait < $4";
    SPEND = "UPDATE device_codes SET spent_at = $2 WHERE hash = $1 AND allowed AND spent_at IS NULL AND expires_at > $2 \
             AND EXISTS (SELECT 1 FROM users u WHERE u.subject = device_codes.subject AND u.disabled_at IS NULL) \
             RETURNING grant_id, client_id, digest, subject, scope, resources, signed_in_at, may_refresh, CAST(NULL AS TEXT), sid";
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
        /// Of the rules about clients that this was judged by: under others it is not allowed.
        revision: i64,
    },
}

row! {
    /// A device that asks whether its person has answered.
    WaitingDevice {
        client_id: ClientId,
        auth_method: AuthMethod,
        jkt: Option<String>,
        needs_dpop: bool,
        scope: Scope,
        resources: Resources,
        may_refresh: bool,
        expires_at: UnixTime,
        allowed: Option<bool>,
        polled_at: Option<UnixTime>,
        wait: i64,
        spent_at: Option<UnixTime>,
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
            is_spent: self.spent_at.is_some(),
            polled_at: self.polled_at,
            wait: self.wait,
        }
    }
}

/// What a device is told.
#[derive(Debug)]
pub enum Polled {
    /// Its person has allowed it: spent by this call, and the grant is written.
    Granted(Box<Approved>),
    Refused(OAuthError),
}

impl Store {
    /// Keeps a device that waits, under the first of `codes` that no other one has. `None`: `most` are waiting.
    ///
    /// On PostgreSQL as many more may wait as ask at the same moment.
    ///
    /// # Errors
    ///
    /// When the database fails, as for every method here; when all codes are taken.
    pub async fn insert_device(
        &self,
        new: NewDevice,
        codes: impl Iterator<Item = UserCode> + Send + 'static,
        most: i64,
    ) -> Result<Option<UserCode>, StoreError> {
        self.write(move |mut connection| {
            Box::pin(async move {
                let grant_id = secret::random_id();
                for code in codes {
                    let (inserted, pending) = on_connection!(&mut connection, c => {
                        let inserted = sqlx::query(INSERT)
                            .bind(new.hash.as_str())
                            .bind(code.as_str())
                            .bind(&grant_id)
                            .bind(new.client_id.as_str())
                            .bind(new.digest.as_str())
                            .bind(new.fetched_at.0)
                            .bind(new.scope.to_string())
                            .bind(new.resources.to_string())
                            .bind(new.may_refresh)
                            .bind(new.auth_method.as_str())
                            .bind(&new.jkt)
                            .bind(new.needs_dpop)
                            .bind(&new.source)
                            .bind(new.created_at.0)
                            .bind(new.expires_at.0)
                            .bind(new.wait)
                            .bind(most)
                            .execute(&mut *c)
                            .await?
                            .rows_affected();
                        let (pending,): (i64,) = match inserted {
                            0 => sqlx::query_as(PENDING).bind(new.created_at.0).fetch_one(c).await?,
                            _ => (0,),
                        };
                        (inserted, pending)
                    });
                    if inserted == 1 {
                        return Ok(Some(code));
                    }
                    if pending >= most {
                        return Ok(None);
                    }
                }
                Err(StoreError::Unusable(
                    "every user code that was tried is taken".to_owned(),
                ))
            })
        })
        .await
    }

    /// Opens a device for a person in one browser: of any number of them one gets it. False: it is another's, has been
    /// answered, has expired or never was.
    pub async fn claim_device(
        &self,
        code: UserCode,
        asked: Asked,
        now: UnixTime,
    ) -> Result<bool, StoreError> {
        self.write_one(move |mut connection| {
            Box::pin(async move {
                Ok(on_connection!(&mut connection, c => {
                    sqlx::query(CLAIM).bind(code.as_str()).bind(asked.browser.as_str()).bind(&asked.subject).bind(now.0)
                        .execute(c).await?.rows_affected() == 1
                }))
            })
        })
        .await
    }

    /// The device that this person has opened in this browser, while it waits for the answer.
    pub async fn claimed_device(
        &self,
        code: &UserCode,
        asked: &Asked,
        now: UnixTime,
    ) -> Result<Option<ClaimedDevice>, StoreError> {
        Ok(on_reads!(self, pool => {
            sqlx::query_as(CLAIMED).bind(code.as_str()).bind(asked.browser.as_str()).bind(&asked.subject).bind(now.0)
                .fetch_optional(pool).await?
        }))
    }

    /// Writes the answer of the person who has opened the device. False: there is no such question any more.
    ///
    /// # Errors
    ///
    /// [`StoreError::RulesMoved`] when the rules about clients have changed since it was judged.
    pub async fn decide_device(
        &self,
        code: UserCode,
        asked: Asked,
        answer: DeviceAnswer,
        now: UnixTime,
    ) -> Result<bool, StoreError> {
        let (allowed, signed_in_at, sid, revision) = match answer {
            DeviceAnswer::Deny => (false, None, None, None),
            DeviceAnswer::Allow {
                signed_in_at,
                sid,
                revision,
            } => (true, Some(signed_in_at.0), Some(sid), Some(revision)),
        };
        self.write(move |mut connection| {
            Box::pin(async move {
                on_connection!(&mut connection, c => {
                    let decided = sqlx::query(DECIDE).bind(code.as_str()).bind(asked.browser.as_str()).bind(&asked.subject)
                        .bind(now.0).bind(allowed).bind(signed_in_at).bind(sid)
                        .execute(&mut *c).await?.rows_affected();
                    if let (1, Some(revision)) = (decided, revision) {
                        let is_current: Option<(i32,)> =
                            sqlx::query_as(IS_REVISION).bind(revision).fetch_optional(c).await?;
                        is_current.ok_or(StoreError::RulesMoved)?;
                    }
                    Ok(decided == 1)
                })
            })
        })
        .await
    }

    /// What this person has answered in this browser; `None` while they have not.
    pub async fn decided_device(
        &self,
        code: &UserCode,
        asked: &Asked,
    ) -> Result<Option<bool>, StoreError> {
        let decided: Option<(bool,)> = on_reads!(self, pool => {
            sqlx::query_as(DECIDED).bind(code.as_str()).bind(asked.browser.as_str()).bind(&asked.subject)
                .fetch_optional(pool).await?
        });
        Ok(decided.map(|(allowed,)| allowed))
    }

    /// Answers a device that asks. Of any number of concurrent callers one gets the grant that `rule` makes, which is
    /// written in the same unit of work; what the rule refuses spends nothing.
    ///
    /// Writes: one statement while the person has not answered, one when it asked too early, two for the grant; none
    /// for a code that is unknown, another client's, denied, expired or used, and none for a device that goes on
    /// asking too early when its wait has stopped growing. Each is one conditional statement, so a look that is out of
    /// date does no harm.
    pub async fn poll_device(
        &self,
        hash: SecretHash<DeviceCode>,
        presented: &Presented,
        now: UnixTime,
        rule: impl FnOnce(&WaitingDevice) -> Result<NewGrant, OAuthError>,
    ) -> Result<Polled, StoreError> {
        let found: Option<WaitingDevice> = on_reads!(self, pool => {
            sqlx::query_as(FIND).bind(hash.as_str()).fetch_optional(pool).await?
        });
        let Some(waiting) = found else {
            return Ok(Polled::Refused(device::unknown()));
        };
        match device::judge(&waiting.as_rule(), presented, now) {
            Err(refusal) => Ok(Polled::Refused(refusal)),
            Ok(State::TooEarly) if waiting.wait >= SLOWEST => {
                Ok(Polled::Refused(device::slow_down()))
            }
            Ok(State::TooEarly | State::Pending) => self.pace_device(hash, now).await,
            Ok(State::Allowed) => match rule(&waiting) {
                Ok(grant) => self.spend_device(hash, grant, now).await,
                Err(refusal) => Ok(Polled::Refused(refusal)),
            },
        }
    }

    /// Notes that a device has asked, and slows it down if that was too early, or at the same time as it did before.
    async fn pace_device(
        &self,
        hash: SecretHash<DeviceCode>,
        now: UnixTime,
    ) -> Result<Polled, StoreError> {
        self.write_one(move |mut connection| {
            Box::pin(async move {
                let refusal = on_connection!(&mut connection, c => {
                    let in_time = sqlx::query(PACE).bind(hash.as_str()).bind(now.0).execute(&mut *c).await?.rows_affected();
                    match in_time {
                        1 => device::pending(),
                        _ => {
                            sqlx::query(SLOW_DOWN).bind(hash.as_str()).bind(now.0).bind(SLOWER).bind(SLOWEST).execute(c).await?;
                            device::slow_down()
                        }
                    }
                });
                Ok(Polled::Refused(refusal))
            })
        })
        .await
    }

    async fn spend_device(
        &self,
        hash: SecretHash<DeviceCode>,
        grant: NewGrant,
        now: UnixTime,
    ) -> Result<Polled, StoreError> {
        self.write(move |mut connection| {
            Box::pin(async move {
                let approved: Option<Approved> = on_connection!(&mut connection, c => {
                    sqlx::query_as(SPEND).bind(hash.as_str()).bind(now.0).fetch_optional(c).await?
                });
                let Some(approved) = approved else {
                    return Ok(Polled::Refused(device::unknown()));
                };
                grants::insert(&mut connection, &approved, &grant, now).await?;
                Ok(Polled::Granted(Box::new(approved)))
            })
        })
        .await
    }
}
