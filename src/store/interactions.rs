//! Rows of questions put to a person: one authorization request that waits for a yes or no.

use super::{
    Store, StoreError,
    codes::{self, NewCode},
    db::row::row,
    db::{on_connection, on_reads},
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
pub struct Asked {
    pub browser: SecretHash<Visitor>,
    pub subject: String,
}

/// A question to be put.
#[derive(Debug)]
pub struct NewInteraction {
    pub hash: SecretHash<secret::Interaction>,
    pub asked: Asked,
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
        self.write_one(move |mut connection| {
            Box::pin(async move {
                on_connection!(&mut connection, c => {
                    sqlx::query(INSERT)
                        .bind(new.hash.as_str())
                        .bind(new.asked.browser.as_str())
                        .bind(&new.asked.subject)
                        .bind(&new.request)
                        .bind(new.client_id.as_str())
                        .bind(new.digest.as_str())
                        .bind(new.fetched_at.0)
                        .bind(new.expires_at.0)
                        .bind(new.pushed.as_ref().map(SecretHash::as_str))
                        .execute(c)
                        .await?;
                });
                Ok(())
            })
        })
        .await
    }

    /// The question, while it is open, for the person and the browser that it was put to.
    pub async fn interaction(
        &self,
        hash: &SecretHash<secret::Interaction>,
        asked: &Asked,
        now: UnixTime,
    ) -> Result<Option<Interaction>, StoreError> {
        Ok(on_reads!(self, c => {
            sqlx::query_as(FIND).bind(hash.as_str()).bind(asked.browser.as_str()).bind(&asked.subject).bind(now.0).fetch_optional(c).await?
        }))
    }

    /// Spends the question and writes what the answer gives, in one unit of work. False: it was spent before.
    pub async fn answer(
        &self,
        hash: SecretHash<secret::Interaction>,
        asked: Asked,
        now: UnixTime,
        answer: Answer,
    ) -> Result<bool, StoreError> {
        self.write(move |mut connection| {
            Box::pin(async move {
                let spent = on_connection!(&mut connection, c => {
                    sqlx::query(SPEND).bind(hash.as_str()).bind(asked.browser.as_str()).bind(&asked.subject).bind(now.0).execute(c).await?.rows_affected()
                });
                if spent != 1 {
                    return Ok(false);
                }
                let Answer::Allow { code, asked, remember_until } = answer else { return Ok(true) };
                if remember_until > now {
                    on_connection!(&mut connection, c => {
                        sqlx::query(CONSENT)
                            .bind(&code.subject)
                            .bind(code.client_id.as_str())
                            .bind(code.scope.to_string())
                            .bind(code.resources.to_string())
                            .bind(code.digest.as_str())
                            .bind(now.0)
                            .bind(remember_until.0)
                            .bind(asked.to_string())
                            .execute(c)
                            .await?;
                    });
                }
                codes::insert(&mut connection, &code, &secret::random_id()).await?;
                Ok(true)
            })
        })
        .await
    }
}
