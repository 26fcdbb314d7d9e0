//! The end of what a client has.

use super::{
    StoreError,
    db::{Query, Tx},
    statements,
};
use crate::time::UnixTime;

statements! {
    END_GRANTS = "UPDATE grants SET revoked_at = $2, revoked_because = $3 WHERE client_id = $1 AND revoked_at IS NULL";
    END_CODES = "UPDATE authorization_codes SET spent_at = $2 WHERE client_id = $1 AND spent_at IS NULL \
                 AND NOT EXISTS (SELECT 1 FROM grants g WHERE g.id = authorization_codes.grant_id)";
    END_QUESTIONS = "UPDATE interactions SET spent_at = $2 WHERE client_id = $1 AND spent_at IS NULL";
    END_DEVICES = "UPDATE device_codes SET decided_at = COALESCE(decided_at, $2), allowed = FALSE WHERE client_id = $1 AND spent_at IS NULL \
                   AND NOT EXISTS (SELECT 1 FROM grants g WHERE g.id = device_codes.grant_id)";
    END_CONSENTS = "DELETE FROM consents WHERE client_id = $1";
}

/// What a block ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    pub clients: u64,
    pub grants: u64,
    pub logins: u64,
}

/// Ends what one client has: how many grants and how many running logins that were.
pub(super) async fn end_client(
    tx: &mut Tx,
    client_id: &str,
    because: &str,
    now: UnixTime,
) -> Result<(u64, u64), StoreError> {
    let grants = tx
        .execute(
            Query::new(END_GRANTS)
                .bind(client_id)
                .bind(now)
                .bind(because),
        )
        .await?;
    let codes = tx
        .execute(Query::new(END_CODES).bind(client_id).bind(now))
        .await?;
    let questions = tx
        .execute(Query::new(END_QUESTIONS).bind(client_id).bind(now))
        .await?;
    let devices = tx
        .execute(Query::new(END_DEVICES).bind(client_id).bind(now))
        .await?;
    tx.execute(Query::new(END_CONSENTS).bind(client_id)).await?;
    Ok((grants, codes + questions + devices))
}
