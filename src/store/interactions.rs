//! Rows of questions put to a person: one authorization request that waits for a yes or no.

use super::{
    Store, StoreError,
    codes::{self, NewCode},
    db::{Query, row},
    statements,
};
use crate::{
    protocol::{client::Digest, client_id::ClientId, scope::Scope},
    secret::{self, PushedRequest, SecretHash, Visitor},
    time::UnixTime,
};

statements! {
    INSERT = "INSERT INTO interactions (hash, browser_hash, subject, request, client_id, digest, fetched_at, expires_at, pushed) \
              SELECT $1, $2, u.subject, $4, $5, $6, CAST($7 AS BIGINT), CAST($8 AS BIGINT), $9 FROM users u WHERE u.subject = $3";
    FIND = "SELECT request, digest, fetched_at, pushed FROM interactions \
            WHERE hash = $1 AND browser_hash = $2 AND subject = $3 AND spent_at IS NULL AND expires_at > $4";
    SPEND = "UPDATE interactions SET spent_at = $4 \
             WHERE hash = $1 AND browser_hash = $2 AND subject = $3 AND spent_at IS NULL AND expires_at > $4";
    CONSENT = "INSERT INTO consents (subject, client_id, scope, resources, digest, granted_at, expires_at, asked) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8) \
               ON CONFLICT (subject, client_id, scope, resources) \
               DO UPDATE SET digest = $5, granted_at = $6, expires_at = $7, asked = $8";
}

row! {
    /// A request that waits for its person.
    Interaction {
        /// The authorization request's parameters, encoded.
        request: String,
        /// The version of the client's document that was shown.
        digest: Digest,
        /// When that version was read.
        fetched_at: UnixTime,
        /// The hash of the pushed request that it is.
        pushed: Option<String>,
    }
}

/// Who is asked: a person, in one browser. Signing in again in another tab changes neither.
#[derive(Clone, Debug)]
pub struct Respondent {
    pub browser: SecretHash<Visitor>,
    pub subject: String,
}

/// A question to be put.
#[derive(Debug)]
pub struct NewInteraction {
    pub hash: SecretHash<secret::Interaction>,
    pub asked: Respondent,
    pub request: String,
    pub client_id: ClientId,
    pub digest: Digest,
    pub fetched_at: UnixTime,
    pub expires_at: UnixTime,
    pub pushed: Option<SecretHash<PushedRequest>>,
}

/// What a person answered.
#[derive(Debug)]
pub enum Answer {
    Deny,
    /// Remember the consent until then, and issue the code.
    Allow {
        code: Box<NewCode>,
        /// The scope of the request.
        asked: Scope,
        remember_until: UnixTime,
    },
}

impl Store {
    /// Parks a request until its person has answered: nothing, once the account is deleted.
    ///
    /// # Errors
    ///
    /// When the database fails, as for every method here.
    pub async fn park(&self, new: NewInteraction) -> Result<(), StoreError> {
        self.db
            .execute(
                Query::new(INSERT)
                    .bind(&new.hash)
                    .bind(&new.asked.browser)
                    .bind(&new.asked.subject)
                    .bind(&new.request)
                    .bind(&new.client_id)
                    .bind(&new.digest)
                    .bind(new.fetched_at)
                    .bind(new.expires_at)
                    .bind(new.pushed.as_ref()),
            )
            .await?;
        Ok(())
    }

    /// The question, while it is open, for the person and the browser that it was put to.
    pub async fn interaction(
        &self,
        hash: &SecretHash<secret::Interaction>,
        asked: &Respondent,
        now: UnixTime,
    ) -> Result<Option<Interaction>, StoreError> {
        self.db
            .optional(
                Query::new(FIND)
                    .bind(hash)
                    .bind(&asked.browser)
                    .bind(&asked.subject)
                    .bind(now),
            )
            .await
    }

    /// Spends the question and writes what the answer gives, in one unit of work. False: it was spent before.
    pub async fn answer(
        &self,
        hash: SecretHash<secret::Interaction>,
        asked: Respondent,
        now: UnixTime,
        answer: Answer,
    ) -> Result<bool, StoreError> {
        self.db
            .write(async move |mut tx| {
                let spent = tx
                    .execute(
                        Query::new(SPEND)
                            .bind(&hash)
                            .bind(&asked.browser)
                            .bind(&asked.subject)
                            .bind(now),
                    )
                    .await?;
                if spent != 1 {
                    return Ok(false);
                }
                let Answer::Allow {
                    code,
                    asked,
                    remember_until,
                } = answer
                else {
                    return Ok(true);
                };
                if remember_until > now {
                    tx.execute(
                        Query::new(CONSENT)
                            .bind(&code.subject)
                            .bind(&code.client_id)
                            .bind(&code.scope)
                            .bind(&code.resources)
                            .bind(&code.digest)
                            .bind(now)
                            .bind(remember_until)
                            .bind(asked.to_string()),
                    )
                    .await?;
                }
                codes::insert(&mut tx, &code, &secret::random_id()).await?;
                Ok(true)
            })
            .await
    }
}
