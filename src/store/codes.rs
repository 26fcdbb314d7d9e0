//! Rows of authorization codes, and the grants that redeeming them makes.

use super::{Store, StoreError, columns::row, dialect::on_connection, pushed_requests, statements};
use crate::{
    protocol::{
        client::Digest,
        client_id::ClientId,
        client_metadata::{AuthMethod, AuthMethods},
        error::OAuthError,
        pkce::CodeChallenge,
        resource::Resources,
        scope::Scope,
    },
    secret::{Code, PushedRequest, RefreshFamily, SecretHash},
    time::UnixTime,
};

statements! {
    INSERT = "INSERT INTO authorization_codes (hash, grant_id, client_id, digest, subject, redirect_uri, code_challenge, \
              scope, resources, signed_in_at, may_refresh, expires_at, auth_methods, jkt, needs_dpop, nonce, sid) \
              SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, CAST($10 AS BIGINT), CAST($11 AS BOOLEAN), CAST($12 AS BIGINT), \
              $14, $15, CAST($16 AS BOOLEAN), $17, $18 \
              WHERE EXISTS (SELECT 1 FROM revisions r WHERE r.name = 'clients' AND r.value = $13)";
    SPEND = "UPDATE authorization_codes SET spent_at = $2 WHERE hash = $1 AND spent_at IS NULL AND expires_at > $2 \
             AND EXISTS (SELECT 1 FROM users u WHERE u.subject = authorization_codes.subject AND u.disabled_at IS NULL) \
             RETURNING grant_id, client_id, digest, subject, redirect_uri, code_challenge, scope, resources, signed_in_at, may_refresh, \
             auth_methods, jkt, needs_dpop, nonce, sid";
    SPENT = "SELECT grant_id FROM authorization_codes WHERE hash = $1 AND spent_at IS NOT NULL";
    REVOKE = "UPDATE grants SET revoked_at = $2, revoked_because = $3 WHERE id = $1 AND revoked_at IS NULL";
    GRANT = "INSERT INTO grants (id, client_id, digest, subject, scope, resources, signed_in_at, created_at, ends_at, \
             family, generation, rotated_at, idle_until, auth_method, jkt, sid) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 1, $8, $11, $12, $13, $14)";
}

/// A code to be issued.
#[derive(Debug)]
pub struct NewCode {
    pub hash: SecretHash<Code>,
    pub client_id: ClientId,
    pub digest: Digest,
    pub subject: String,
    pub redirect_uri: String,
    pub code_challenge: CodeChallenge,
    pub scope: Scope,
    pub resources: Resources,
    pub signed_in_at: UnixTime,
    pub may_refresh: bool,
    pub expires_at: UnixTime,
    /// How the client may prove itself at the token endpoint.
    pub auth_methods: AuthMethods,
    /// The key that a proof must be made with, RFC 9449 §10.
    pub jkt: Option<String>,
    /// Must there be a proof?
    pub needs_dpop: bool,
    /// For the ID token.
    pub nonce: Option<String>,
    /// The session, as the ID token names it.
    pub sid: Option<String>,
    /// The pushed request that it answers, spent with it.
    pub pushed: Option<SecretHash<PushedRequest>>,
    pub now: UnixTime,
    /// Of the rules about clients that this was judged by: under others it is not issued.
    pub revision: i64,
}

row! {
    /// A code that was just spent.
    IssuedCode {
        grant_id: String,
        client_id: ClientId,
        digest: Digest,
        subject: String,
        redirect_uri: String,
        code_challenge: CodeChallenge,
        scope: Scope,
        resources: Resources,
        signed_in_at: UnixTime,
        may_refresh: bool,
        auth_methods: AuthMethods,
        jkt: Option<String>,
        needs_dpop: bool,
        nonce: Option<String>,
        sid: Option<String>,
    }
}

/// What the grant of a code adds to it.
#[derive(Debug)]
pub struct NewGrant {
    pub ends_at: UnixTime,
    pub idle_until: UnixTime,
    pub family: Option<SecretHash<RefreshFamily>>,
    /// How the client proved itself: it has to do no less for the grant's life.
    pub auth_method: AuthMethod,
    /// The key that its tokens are bound to.
    pub jkt: Option<String>,
}

/// What became of a code.
#[derive(Debug)]
pub enum Redeemed {
    /// Spent by this call; the grant is written.
    Granted(Box<IssuedCode>),
    /// Spent by this call, and worth nothing: the rule refused.
    Refused(OAuthError),
    /// Spent before: what it gave is revoked.
    Reused { grant_id: String },
    /// Never issued, or expired, or its person was disabled.
    Unknown,
}

pub(super) async fn insert(
    connection: &mut super::dialect::Connection<'_>,
    code: &NewCode,
) -> Result<(), StoreError> {
    let inserted = on_connection!(connection, c => {
        sqlx::query(INSERT)
            .bind(code.hash.as_str())
            .bind(crate::secret::random_id())
            .bind(code.client_id.as_str())
            .bind(code.digest.as_str())
            .bind(&code.subject)
            .bind(&code.redirect_uri)
            .bind(code.code_challenge.as_str())
            .bind(code.scope.to_string())
            .bind(code.resources.to_string())
            .bind(code.signed_in_at.0)
            .bind(code.may_refresh)
            .bind(code.expires_at.0)
            .bind(code.revision)
            .bind(code.auth_methods.to_column())
            .bind(&code.jkt)
            .bind(code.needs_dpop)
            .bind(&code.nonce)
            .bind(&code.sid)
            .execute(c)
            .await?
            .rows_affected()
    });
    match (inserted, &code.pushed) {
        (0, _) => Err(StoreError::RulesMoved),
        (_, Some(pushed)) => pushed_requests::spend(connection, pushed, code.now).await,
        (_, None) => Ok(()),
    }
}

impl Store {
    /// Issues a code.
    ///
    /// # Errors
    ///
    /// [`StoreError::RulesMoved`] when the rules about clients have changed since it was judged;
    /// [`StoreError::UsedBefore`] when the request that was pushed for it gave a code already; when the database
    /// fails, as for every method here.
    pub async fn insert_code(&self, code: NewCode) -> Result<(), StoreError> {
        if code.pushed.is_some() {
            return self
                .write(move |mut connection| {
                    Box::pin(async move { insert(&mut connection, &code).await })
                })
                .await;
        }
        self.write_one(move |mut connection| {
            Box::pin(async move { insert(&mut connection, &code).await })
        })
        .await
    }

    /// Spends a code and writes the grant that `rule` makes of it, in one unit of work.
    ///
    /// Of any number of concurrent callers one spends it. A code that its rule refuses is spent all the same.
    pub async fn redeem_code(
        &self,
        hash: SecretHash<Code>,
        now: UnixTime,
        rule: impl FnOnce(&IssuedCode) -> Result<NewGrant, OAuthError> + Send + 'static,
    ) -> Result<Redeemed, StoreError> {
        self.write(move |mut connection| {
            Box::pin(async move {
                on_connection!(&mut connection, c => {
                    let code: Option<IssuedCode> =
                        sqlx::query_as(SPEND).bind(hash.as_str()).bind(now.0).fetch_optional(&mut *c).await?;
                    let Some(code) = code else {
                        let spent: Option<(String,)> =
                            sqlx::query_as(SPENT).bind(hash.as_str()).fetch_optional(&mut *c).await?;
                        let Some((grant_id,)) = spent else { return Ok(Redeemed::Unknown) };
                        sqlx::query(REVOKE).bind(&grant_id).bind(now.0).bind("code used twice").execute(c).await?;
                        return Ok(Redeemed::Reused { grant_id });
                    };
                    let grant = match rule(&code) {
                        Ok(grant) => grant,
                        Err(refusal) => return Ok(Redeemed::Refused(refusal)),
                    };
                    sqlx::query(GRANT)
                        .bind(&code.grant_id)
                        .bind(code.client_id.as_str())
                        .bind(code.digest.as_str())
                        .bind(&code.subject)
                        .bind(code.scope.to_string())
                        .bind(code.resources.to_string())
                        .bind(code.signed_in_at.0)
                        .bind(now.0)
                        .bind(grant.ends_at.0)
                        .bind(grant.family.as_ref().map(SecretHash::as_str))
                        .bind(grant.idle_until.0)
                        .bind(grant.auth_method.as_str())
                        .bind(&grant.jkt)
                        .bind(&code.sid)
                        .execute(c)
                        .await?;
                    Ok(Redeemed::Granted(Box::new(code)))
                })
            })
        })
        .await
    }
}
