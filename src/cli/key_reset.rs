//! `wayleave key reset`: to begin anew when the key that encrypts ours is lost.

use anyhow::Context;
use serde_json::json;

use super::{Usage, open, output, serve};
use crate::{
    config::{Config, DatabaseUrl},
    keys::{self, Keys},
    time::Clock,
    words::counted,
};

/// Says what ends; with `yes` it ends, and new keys are there.
pub(super) async fn run(yes: bool, config: &Config, as_json: bool) -> anyhow::Result<()> {
    keys::check(config).map_err(|error| Usage(error.to_string()))?;
    let now = Clock::system().now();
    let store = open(config).await?;
    // A server that runs keeps the keys that it has, and would go on signing with them.
    let _alone = match &config.database.url {
        DatabaseUrl::Sqlite(path) => Some(serve::lock(path).context("stop the server first")?),
        DatabaseUrl::Postgres(_) => None,
    };
    let ends = store.keys_end(now).await?;
    let (signing_keys, grants) = (
        counted(ends.signing_keys, "signing key"),
        counted(ends.grants, "grant"),
    );
    if !yes {
        store.close().await;
        return Err(Usage(format!(
            "nothing was changed. A reset deletes {signing_keys} and ends {grants} of {}: resources refuse every access token that \
             is out, apps have to ask people again, and forms that are open have to be filled in again. Accounts, passwords, \
             sessions, consents and clients stay. Stop every server of this database first; --yes does it",
            config.database.url
        ))
        .into());
    }
    store.reset_keys(now).await?;
    let made = Keys::load(config, &store, now).await?.count();
    store.close().await;
    match as_json {
        true => output::json(&json!({
            "done": "reset", "signing_keys": ends.signing_keys, "grants": ends.grants, "made": made,
        }))?,
        false => say!(
            "{signing_keys} deleted, {grants} ended, {} made. Start the servers now.",
            counted(i64::try_from(made).unwrap_or(i64::MAX), "key")
        ),
    }
    Ok(())
}
