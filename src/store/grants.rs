//! Rows of grants: rotation of their refresh tokens, and their end.

use super::{
    Store, StoreError,
    db::{Query, row},
    locks::stop_giving,
    statements,
};
use crate::{
    protocol::{
        client::Digest,
        client_id::ClientId,
        client_metadata::AuthMethod,
        refresh::{Late, judge_late},
        resource::Resources,
        scope::Scope,
    },
    secret::{RefreshFamily, SecretHash},
    time::UnixTime,
};

statements! {
    ROTATE = "UPDATE grants SET generation = generation + CAST($9 AS BIGINT), rotated_at = $4, idle_until = $5, auth_method = $6 \
              WHERE family = $1 AND client_id = $2 AND generation = $3 AND revoked_at IS NULL \
              AND idle_until > $4 AND ends_at > $4 AND $7 LIKE '%' || auth_method || '%' AND (jkt IS NULL OR jkt = $8 OR (CAST($9 AS BIGINT) = 0 AND CAST($8 AS TEXT) IS NOT NULL)) \
              AND EXISTS (SELECT 1 FROM users u WHERE u.subject = grants.subject AND u.disabled_at IS NULL) \
              RETURNING id, client_id, subject, scope, resources, signed_in_at, ends_at, generation, rotated_at, idle_until, auth_method, jkt, sid";
    FIND = "SELECT id, client_id, subject, scope, resources, signed_in_at, ends_at, generation, rotated_at, \
            idle_until, auth_method, jkt, sid FROM grants \
            WHERE family = $1 AND client_id = $2 AND revoked_at IS NULL AND idle_until > $3 AND ends_at > $3 \
            AND EXISTS (SELECT 1 FROM users u WHERE u.subject = grants.subject AND u.disabled_at IS NULL)";
    REVOKE = "UPDATE grants SET revoked_at = $2, revoked_because = $3 WHERE id = $1 AND revoked_at IS NULL";
    LIVE = "SELECT COUNT(*) FROM grants WHERE revoked_at IS NULL AND ends_at > $1 AND idle_until > $1";
    LIST = "SELECT g.id, g.client_id, u.username, g.scope, g.resources, g.created_at, g.rotated_at, g.idle_until, g.ends_at \
            FROM grants g JOIN users u ON u.subject = g.subject \
            WHERE g.revoked_at IS NULL AND g.ends_at > $1 AND g.idle_until > $1 \
            AND (CAST($2 AS TEXT) IS NULL OR g.id = $2) AND (CAST($3 AS TEXT) IS NULL OR u.username = $3) \
            AND (CAST($4 AS TEXT) IS NULL OR g.client_id = $4) ORDER BY g.created_at DESC, g.id LIMIT $5";
    REVOKE_THESE = "UPDATE grants SET revoked_at = $1, revoked_because = $2 WHERE revoked_at IS NULL \
                    AND ends_at > $1 AND idle_until > $1 \
                    AND (CAST($3 AS TEXT) IS NULL OR id = $3) \
                    AND (CAST($4 AS TEXT) IS NULL OR subject = (SELECT u.subject FROM users u WHERE u.username = $4)) \
                    AND (CAST($5 AS TEXT) IS NULL OR client_id = $5)";
    // Before the grants end: which consents go along is read from them.
    END_CONSENTS = "DELETE FROM consents WHERE EXISTS (SELECT 1 FROM grants g WHERE g.subject = consents.subject \
                    AND g.client_id = consents.client_id AND g.revoked_at IS NULL AND g.ends_at > $4 AND g.idle_until > $4 \
                    AND (CAST($1 AS TEXT) IS NULL OR g.id = $1) \
                    AND (CAST($2 AS TEXT) IS NULL OR g.subject = (SELECT u.subject FROM users u WHERE u.username = $2)) \
                    AND (CAST($3 AS TEXT) IS NULL OR g.client_id = $3))";
    END_CODES = "UPDATE authorization_codes SET spent_at = $3 WHERE spent_at IS NULL \
                 AND (CAST($1 AS TEXT) IS NULL OR subject = (SELECT u.subject FROM users u WHERE u.username = $1)) \
                 AND (CAST($2 AS TEXT) IS NULL OR client_id = $2) \
                 AND NOT EXISTS (SELECT 1 FROM grants g WHERE g.id = authorization_codes.grant_id)";
    END_DEVICES = "UPDATE device_codes SET allowed = FALSE WHERE allowed AND spent_at IS NULL \
                   AND (CAST($1 AS TEXT) IS NULL OR subject = (SELECT u.subject FROM users u WHERE u.username = $1)) \
                   AND (CAST($2 AS TEXT) IS NULL OR client_id = $2) \
                   AND NOT EXISTS (SELECT 1 FROM grants g WHERE g.id = device_codes.grant_id)";
    REVOKE_FAMILY = "UPDATE grants SET revoked_at = $3, revoked_because = $4 \
                     WHERE family = $1 AND client_id = $2 AND revoked_at IS NULL AND $5 LIKE '%' || auth_method || '%'";
}

row! {
    /// What a person has allowed, taken by the client to whom it was given: it becomes a grant.
    Approved {
        grant_id: String,
        client_id: ClientId,
        digest: Digest,
        subject: String,
        scope: Scope,
        resources: Resources,
        signed_in_at: UnixTime,
        may_refresh: bool,
        /// For the ID token.
        nonce: Option<String>,
        sid: Option<String>,
    }
}

/// What its grant adds to an approval.
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

row! {
    /// A live grant.
    GrantRow {
        id: String,
        client_id: ClientId,
        subject: String,
        scope: Scope,
        resources: Resources,
        signed_in_at: UnixTime,
        ends_at: UnixTime,
        generation: i64,
        rotated_at: UnixTime,
        idle_until: UnixTime,
        auth_method: AuthMethod,
        jkt: Option<String>,
        sid: Option<String>,
    }
}

row! {
    /// A live grant, as administrators see it.
    ListedGrant {
        id: String,
        client_id: ClientId,
        username: String,
        scope: Scope,
        resources: Resources,
        created_at: UnixTime,
        rotated_at: UnixTime,
        idle_until: UnixTime,
        ends_at: UnixTime,
    }
}

/// Which grants: those that fit everything that is said.
#[derive(Clone, Debug, Default)]
pub struct Which {
    pub id: Option<String>,
    pub username: Option<String>,
    pub client_id: Option<ClientId>,
}

/// What ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Revoked {
    pub grants: u64,
    pub consents: u64,
}

impl GrantRow {
    /// RFC 9700 §4.14: is it used as it was begun, by a client that proves no less, with the key it is bound to? RFC 9449 §5:
    /// that of a client that authenticates is bound to the client, which may come with another key, though not with none.
    pub fn fits(&self, method: AuthMethod, jkt: Option<&str>) -> bool {
        let has_key = match &self.jkt {
            None => true,
            Some(_) if method.is_confidential() => jkt.is_some(),
            bound => bound.as_deref() == jkt,
        };
        self.auth_method <= method && has_key
    }
}

/// A refresh token that is to be replaced by its successor.
#[derive(Debug)]
pub struct RotateRequest {
    pub family: SecretHash<RefreshFamily>,
    pub client_id: ClientId,
    pub generation: i64,
    pub now: UnixTime,
    pub idle_until: UnixTime,
    /// Seconds in which a used token still gives the same successor.
    pub grace: i64,
    /// How the client proved itself.
    pub method: AuthMethod,
    /// The key of its proof.
    pub jkt: Option<String>,
}

/// What became of a refresh token.
#[derive(Debug)]
pub enum Rotated {
    /// The successor is valid: made by this call, or by the one whose answer was lost a moment ago.
    Successor(Box<GrantRow>),
    /// Used before, too long ago or too often: the grant is revoked.
    Reused { grant_id: String },
    /// No live grant of this client has such a token.
    Unknown,
}

impl Store {
    /// Writes the grant of what was approved: by the statement that spends the approval, which has a hash. Is it this call
    /// that writes it? Of any number of concurrent callers one does.
    pub(super) async fn write_grant<K>(
        &self,
        statement: &'static str,
        hash: &SecretHash<K>,
        grant: &NewGrant,
        now: UnixTime,
    ) -> Result<bool, StoreError> {
        let query = Query::new(statement)
            .bind(hash)
            .bind(now)
            .bind(grant.ends_at)
            .bind(grant.family.as_ref())
            .bind(grant.idle_until)
            .bind(grant.auth_method)
            .bind(&grant.jkt);
        Ok(self.db.execute(query).await? == 1)
    }

    /// The live grant of a family of refresh tokens, if it is this client's.
    ///
    /// # Errors
    ///
    /// When the database fails, as for every method here.
    pub async fn grant(
        &self,
        family: SecretHash<RefreshFamily>,
        client_id: &ClientId,
        now: UnixTime,
    ) -> Result<Option<GrantRow>, StoreError> {
        self.db
            .optional(Query::new(FIND).bind(&family).bind(client_id).bind(now))
            .await
    }

    /// How many grants have not ended.
    pub async fn live_grants(&self, now: UnixTime) -> Result<i64, StoreError> {
        self.db.one(Query::new(LIVE).bind(now)).await
    }

    /// Live grants, the newest first, at most `most`.
    pub async fn grants(
        &self,
        which: &Which,
        most: i64,
        now: UnixTime,
    ) -> Result<Vec<ListedGrant>, StoreError> {
        self.db
            .all(
                Query::new(LIST)
                    .bind(now)
                    .bind(&which.id)
                    .bind(&which.username)
                    .bind(&which.client_id)
                    .bind(most),
            )
            .await
    }

    /// Ends live grants, and what is being given in the same moment unless one grant is named. The consents of their people
    /// for their clients go along, unless `keeps_consents`.
    pub async fn revoke_grants(
        &self,
        which: Which,
        because: &'static str,
        keeps_consents: bool,
        now: UnixTime,
    ) -> Result<Revoked, StoreError> {
        self.db
            .write(async move |mut tx| {
                stop_giving(&mut tx).await?;
                let Which {
                    id,
                    username,
                    client_id,
                } = which;
                let mut revoked = Revoked::default();
                if !keeps_consents {
                    revoked.consents = tx
                        .execute(
                            Query::new(END_CONSENTS)
                                .bind(&id)
                                .bind(&username)
                                .bind(&client_id)
                                .bind(now),
                        )
                        .await?;
                }
                if id.is_none() {
                    tx.execute(
                        Query::new(END_CODES)
                            .bind(&username)
                            .bind(&client_id)
                            .bind(now),
                    )
                    .await?;
                    tx.execute(Query::new(END_DEVICES).bind(&username).bind(&client_id))
                        .await?;
                }
                revoked.grants = tx
                    .execute(
                        Query::new(REVOKE_THESE)
                            .bind(now)
                            .bind(because)
                            .bind(&id)
                            .bind(&username)
                            .bind(&client_id),
                    )
                    .await?;
                Ok(revoked)
            })
            .await
    }

    /// Replaces a refresh token by its successor, in one statement; another one, if that finds nothing to replace, may end
    /// the grant. That of a client that authenticates stays as it
    /// is: it is worth nothing to others.
    pub async fn rotate(&self, request: RotateRequest) -> Result<Rotated, StoreError> {
        self.db
            .write_one(async move |mut tx| {
                let RotateRequest {
                    family,
                    client_id,
                    generation,
                    now,
                    idle_until,
                    grace,
                    method,
                    jkt,
                } = request;
                let (methods, step) = (
                    method.and_weaker().to_column(),
                    i64::from(!method.is_confidential()),
                );
                let rotated: Option<GrantRow> = tx
                    .optional(
                        Query::new(ROTATE)
                            .bind(&family)
                            .bind(&client_id)
                            .bind(generation)
                            .bind(now)
                            .bind(idle_until)
                            .bind(method)
                            .bind(methods)
                            .bind(&jkt)
                            .bind(step),
                    )
                    .await?;
                if let Some(grant) = rotated {
                    return Ok(Rotated::Successor(Box::new(grant)));
                }
                let grant: Option<GrantRow> = tx
                    .optional(Query::new(FIND).bind(&family).bind(&client_id).bind(now))
                    .await?;
                // A caller that has only the token, and neither the proof nor the key, ends nothing.
                let Some(grant) = grant.filter(|grant| grant.fits(method, jkt.as_deref())) else {
                    return Ok(Rotated::Unknown);
                };
                match judge_late(generation, grant.generation, grant.rotated_at, now, grace) {
                    Late::Grace => Ok(Rotated::Successor(Box::new(grant))),
                    Late::FromTheFuture => Ok(Rotated::Unknown),
                    Late::Reuse => {
                        tx.execute(
                            Query::new(REVOKE)
                                .bind(&grant.id)
                                .bind(now)
                                .bind("refresh token used twice"),
                        )
                        .await?;
                        Ok(Rotated::Reused { grant_id: grant.id })
                    }
                }
            })
            .await
    }

    /// Ends the grant of a refresh token, if it is this client's and it proves no less than when the grant began.
    pub async fn revoke_family(
        &self,
        family: SecretHash<RefreshFamily>,
        client_id: ClientId,
        method: AuthMethod,
        now: UnixTime,
    ) -> Result<(), StoreError> {
        let methods = method.and_weaker().to_column();
        self.db
            .execute(
                Query::new(REVOKE_FAMILY)
                    .bind(&family)
                    .bind(&client_id)
                    .bind(now)
                    .bind("revoked by the client")
                    .bind(methods),
            )
            .await?;
        Ok(())
    }
}
