//! Rows of authorization codes, and the grants that redeeming them makes.

use std::sync::Arc;

use super::{
    Store, StoreError,
    db::{Query, Tx, row},
    grants::{Approved, NewGrant},
    pushed_requests, statements,
};
use crate::{
    protocol::{
        authorization_code::is_reuse, client::Digest, client_id::ClientId,
        client_metadata::AuthMethods, error::OAuthError, pkce::CodeChallenge, resource::Resources,
        scope::Scope,
    },
    secret::{Code, PushedRequest, SecretHash, Session, random_id},
    time::UnixTime,
};

/// What [`IssuedCode`] is read from.
macro_rules! columns {
    () => {
        "c.grant_id, c.client_id, c.digest, c.subject, c.redirect_uri, c.code_challenge, c.scope, c.resources, \
         c.signed_in_at, c.may_refresh, c.auth_methods, c.jkt, c.needs_dpop, c.nonce, c.sid"
    };
}

statements! {
    INSERT = "INSERT INTO authorization_codes (hash, grant_id, client_id, digest, subject, redirect_uri, code_challenge, \
              scope, resources, signed_in_at, may_refresh, expires_at, auth_methods, jkt, needs_dpop, nonce, sid) \
              SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, CAST($10 AS BIGINT), CAST($11 AS BOOLEAN), CAST($12 AS BIGINT), \
              $13, $14, CAST($15 AS BOOLEAN), $16, $17 \
              WHERE EXISTS (SELECT 1 FROM revisions r WHERE r.name = 'clients' AND r.value = $18) \
              AND EXISTS (SELECT 1 FROM sessions s WHERE s.hash = $19)";
    FIND = concat!("SELECT ", columns!(), " FROM authorization_codes c \
            WHERE hash = $1 AND spent_at IS NULL AND expires_at > $2 \
            AND EXISTS (SELECT 1 FROM users u WHERE u.subject = c.subject AND u.disabled_at IS NULL) \
            AND NOT EXISTS (SELECT 1 FROM grants g WHERE g.id = c.grant_id)");
    USED = concat!("SELECT ", columns!(), " FROM authorization_codes c WHERE c.hash = $1");
    GRANTED_AT = "SELECT created_at FROM grants WHERE id = $1";
    GRANT = "INSERT INTO grants (id, client_id, digest, subject, scope, resources, signed_in_at, created_at, ends_at, \
             family, generation, rotated_at, idle_until, auth_method, jkt, sid) \
             SELECT c.grant_id, c.client_id, c.digest, c.subject, c.scope, c.resources, c.signed_in_at, \
             CAST($2 AS BIGINT), CAST($3 AS BIGINT), $4, 1, CAST($2 AS BIGINT), CAST($5 AS BIGINT), $6, $7, c.sid \
             FROM authorization_codes c WHERE c.hash = $1 AND c.spent_at IS NULL AND c.expires_at > $2 \
             AND EXISTS (SELECT 1 FROM users u WHERE u.subject = c.subject AND u.disabled_at IS NULL) \
             ON CONFLICT (id) DO NOTHING";
    WASTE = "UPDATE authorization_codes SET spent_at = $2 WHERE hash = $1 AND spent_at IS NULL";
    REVOKE = "UPDATE grants SET revoked_at = $2, revoked_because = $3 WHERE id = $1 AND revoked_at IS NULL";
}

/// A code to be issued.
#[derive(Debug)]
pub struct NewCode {
    pub hash: SecretHash<Code>,
    pub client_id: ClientId,
    pub digest: Digest,
    pub subject: String,
    pub redirect_uri: String,
    /// `None` where the client's registration allows to come without.
    pub code_challenge: Option<CodeChallenge>,
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
    /// The session that it is issued in: after its end it is not.
    pub session: SecretHash<Session>,
    /// The pushed request that it answers, spent with it.
    pub pushed: Option<SecretHash<PushedRequest>>,
    pub now: UnixTime,
    /// Of the rules about clients that this was judged by: under others it is not issued.
    pub revision: i64,
}

row! {
    /// A code as it was issued.
    IssuedCode {
        grant_id: String,
        client_id: ClientId,
        digest: Digest,
        subject: String,
        redirect_uri: String,
        code_challenge: Option<CodeChallenge>,
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

impl NewCode {
    fn issued(&self, grant_id: String) -> IssuedCode {
        IssuedCode {
            grant_id,
            client_id: self.client_id.clone(),
            digest: self.digest.clone(),
            subject: self.subject.clone(),
            redirect_uri: self.redirect_uri.clone(),
            code_challenge: self.code_challenge.clone(),
            scope: self.scope.clone(),
            resources: self.resources.clone(),
            signed_in_at: self.signed_in_at,
            may_refresh: self.may_refresh,
            auth_methods: self.auth_methods.clone(),
            jkt: self.jkt.clone(),
            needs_dpop: self.needs_dpop,
            nonce: self.nonce.clone(),
            sid: self.sid.clone(),
        }
    }
}

impl From<&IssuedCode> for Approved {
    fn from(code: &IssuedCode) -> Self {
        Self {
            grant_id: code.grant_id.clone(),
            client_id: code.client_id.clone(),
            digest: code.digest.clone(),
            subject: code.subject.clone(),
            scope: code.scope.clone(),
            resources: code.resources.clone(),
            signed_in_at: code.signed_in_at,
            may_refresh: code.may_refresh,
            nonce: code.nonce.clone(),
            sid: code.sid.clone(),
        }
    }
}

/// What became of a code.
#[derive(Debug)]
pub enum Redeemed {
    /// Spent by this call; the grant is written.
    Granted(Arc<IssuedCode>),
    /// Spent by this call, and worth nothing: the rule refused.
    Refused(OAuthError),
    /// Spent before, and sent again by its own client in its own way: what it gave is revoked.
    Reused { grant_id: String },
    /// Never issued, or expired, or its person was disabled; or spent before, and sent again by another or a moment later.
    Unknown,
}

/// Writes a code, unless its rules have changed or its session has ended: how many rows it wrote.
fn insertion<'q>(code: &'q NewCode, grant_id: &'q str) -> Query<'q> {
    Query::new(INSERT)
        .bind(&code.hash)
        .bind(grant_id)
        .bind(&code.client_id)
        .bind(&code.digest)
        .bind(&code.subject)
        .bind(&code.redirect_uri)
        .bind(&code.code_challenge)
        .bind(&code.scope)
        .bind(&code.resources)
        .bind(code.signed_in_at)
        .bind(code.may_refresh)
        .bind(code.expires_at)
        .bind(&code.auth_methods)
        .bind(&code.jkt)
        .bind(code.needs_dpop)
        .bind(&code.nonce)
        .bind(&code.sid)
        .bind(code.revision)
        .bind(&code.session)
}

/// Writes a code in a unit of work, and spends the pushed request that it answers.
pub(super) async fn insert(tx: &mut Tx, code: &NewCode, grant_id: &str) -> Result<(), StoreError> {
    match (tx.execute(insertion(code, grant_id)).await?, &code.pushed) {
        (0, _) => Err(StoreError::RulesMoved),
        (_, Some(pushed)) => pushed_requests::spend(tx, pushed).await,
        (_, None) => Ok(()),
    }
}

impl Store {
    /// Issues a code.
    ///
    /// # Errors
    ///
    /// [`StoreError::RulesMoved`] when the rules about clients have changed since it was judged, or its session has ended;
    /// [`StoreError::UsedBefore`] when the request that was pushed for it gave a code already; when the database
    /// fails, as for every method here.
    pub async fn insert_code(&self, code: NewCode) -> Result<(), StoreError> {
        let grant_id = random_id();
        let hash = code.hash.as_str().to_owned();
        let issued = code.issued(grant_id.clone());
        if code.pushed.is_some() {
            self.db
                .write(async move |mut tx| insert(&mut tx, &code, &grant_id).await)
                .await?;
        } else if self.db.execute(insertion(&code, &grant_id)).await? == 0 {
            return Err(StoreError::RulesMoved);
        }
        self.issued.insert(hash, Arc::new(issued));
        Ok(())
    }

    /// Spends a code and writes the grant that `rule` makes of it. A code is spent when its grant is there: of any number
    /// of concurrent callers one writes it, in one statement. A code that its rule refuses is spent all the same.
    pub async fn redeem_code(
        &self,
        hash: SecretHash<Code>,
        now: UnixTime,
        rule: impl Fn(&IssuedCode) -> Result<NewGrant, OAuthError>,
    ) -> Result<Redeemed, StoreError> {
        let code = match self.issued.remove(hash.as_str()) {
            // It never changes, and whether it is still good is decided by the statement that spends it.
            Some(issued) => Some(issued),
            None => {
                let code: Option<IssuedCode> = self
                    .db
                    .optional(Query::new(FIND).bind(&hash).bind(now))
                    .await?;
                code.map(Arc::new)
            }
        };
        let Some(code) = code else {
            return self.look_again(hash, now, rule).await;
        };
        match rule(&code) {
            Ok(grant) => {
                if self.write_grant(GRANT, &hash, &grant, now).await? {
                    return Ok(Redeemed::Granted(code));
                }
                self.look_again(hash, now, rule).await
            }
            Err(refusal) => {
                self.db
                    .execute(Query::new(WASTE).bind(&hash).bind(now))
                    .await?;
                Ok(Redeemed::Refused(refusal))
            }
        }
    }

    /// What becomes of a code that gives nothing (any more): used twice, it takes its grant along, if `rule` would have let
    /// it be used. A stranger who saw the code ends nothing with it.
    async fn look_again(
        &self,
        hash: SecretHash<Code>,
        now: UnixTime,
        rule: impl Fn(&IssuedCode) -> Result<NewGrant, OAuthError>,
    ) -> Result<Redeemed, StoreError> {
        let used: Option<IssuedCode> = self.db.optional(Query::new(USED).bind(&hash)).await?;
        let Some(code) = used else {
            return Ok(Redeemed::Unknown);
        };
        let granted_at: Option<UnixTime> = self
            .db
            .optional(Query::new(GRANTED_AT).bind(&code.grant_id))
            .await?;
        let Some(granted_at) = granted_at else {
            return Ok(Redeemed::Unknown);
        };
        if !is_reuse(granted_at, now) || rule(&code).is_err() {
            return Ok(Redeemed::Unknown);
        }
        let grant_id = code.grant_id;
        self.db
            .execute(
                Query::new(REVOKE)
                    .bind(&grant_id)
                    .bind(now)
                    .bind("code used twice"),
            )
            .await?;
        Ok(Redeemed::Reused { grant_id })
    }
}
