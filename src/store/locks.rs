//! Locks of whole tables, for the rare units of work that end what others may be giving. SQLite has one writer, and needs none.

use super::{StoreError, db::Tx};

/// What is given to people and clients, in the order in which units of work come to the tables.
const GIVEN: &str = "LOCK TABLE interactions, consents, device_codes, authorization_codes, grants, sessions \
             IN SHARE ROW EXCLUSIVE MODE";
const ACCOUNTS: &str = "LOCK TABLE users IN SHARE ROW EXCLUSIVE MODE";
const REGISTRATIONS: &str = "LOCK TABLE registered_clients IN SHARE ROW EXCLUSIVE MODE";

/// The first step of a unit of work that ends what a person or a client has: it waits for the writers that are giving something, and
/// holds up others until it is durable. So it ends what those gave, and these see what it changed.
pub(super) async fn stop_giving(tx: &mut Tx) -> Result<(), StoreError> {
    tx.lock(GIVEN).await
}

/// Keeps others from changing an account until the unit of work ends, so that what it finds out about all of them stays so.
/// After [`stop_giving`], where both are needed.
pub(super) async fn keep_accounts(tx: &mut Tx) -> Result<(), StoreError> {
    tx.lock(ACCOUNTS).await
}

/// The same for registered clients.
pub(super) async fn keep_registrations(tx: &mut Tx) -> Result<(), StoreError> {
    tx.lock(REGISTRATIONS).await
}
