//! `wayleave grant`: what clients hold by what people allowed, also while the server runs.

use clap::Subcommand;
use serde_json::{Value, json};

use super::{
    context::with_store,
    exit::{NotFound, Usage},
    output::{self, Limit, at},
    whose::Whose,
};
use crate::{
    config::Config,
    store::{ListedGrant, Store},
    time::{Clock, UnixTime, in_rfc_3339},
    words::counted,
};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the grants that have not ended, the newest first.
    List {
        #[command(flatten)]
        whose: Whose,
        #[command(flatten)]
        limit: Limit,
    },
    /// End grants: their refresh tokens are refused from then on, and their access tokens wherever this server is asked. The
    /// person is asked again when the app comes back.
    Revoke {
        /// The grant, as `wayleave grant list` shows it
        #[arg(allow_hyphen_values = true)]
        id: Option<String>,
        #[command(flatten)]
        whose: Whose,
        /// Every grant of every person.
        #[arg(long, conflicts_with_all = ["id", "user", "client"])]
        all: bool,
        /// Keep what the people allowed these clients: nobody is asked again.
        #[arg(long)]
        keep_consents: bool,
    },
}

pub(super) async fn run(command: Command, config: &Config, as_json: bool) -> anyhow::Result<()> {
    if let Command::Revoke {
        id: None,
        whose,
        all: false,
        ..
    } = &command
        && whose.is_empty()
    {
        let told = "say which: a grant, --user NAME, --client CLIENT_ID, both of them, or --all";
        return Err(Usage(told.to_owned()).into());
    }
    with_store(config, async |store| {
        execute(command, config, store, as_json).await
    })
    .await
}

async fn execute(
    command: Command,
    config: &Config,
    store: &Store,
    as_json: bool,
) -> anyhow::Result<()> {
    let now = Clock::system().now();
    match command {
        Command::List { whose, limit } => {
            let which = whose.read(None, config, store).await?;
            let grants = store.grants(&which, limit.and_one(), now).await?;
            output::list(as_json, limit, "active grants", &grants, entry, line)
        }
        Command::Revoke {
            id,
            whose,
            all: _,
            keep_consents,
        } => {
            let which = whose.read(id, config, store).await?;
            revoke(which, keep_consents, store, as_json, now).await
        }
    }
}

async fn revoke(
    which: crate::store::Which,
    keep_consents: bool,
    store: &Store,
    as_json: bool,
    now: UnixTime,
) -> anyhow::Result<()> {
    let because = "revoked by an administrator";
    let ended = store.revoke_grants(which, because, keep_consents, now);
    let ended = ended.await?;
    if ended.grants == 0 {
        let told = "there is no such active grant; `wayleave grant list` shows those that there are. What was allowed without \
                    one ends with `wayleave consent revoke`";
        return Err(NotFound(told.to_owned()).into());
    }
    if as_json {
        return output::json(&json!({ "ended": ended.grants, "consents": ended.consents }));
    }
    say!(
        "{} and {} ended",
        counted(ended.grants, "grant"),
        counted(ended.consents, "consent")
    );
    Ok(())
}

fn line(grant: &ListedGrant) -> String {
    let mut line = format!(
        "{}  {}  {}",
        grant.id,
        grant.username,
        grant.client_id.as_str()
    );
    for part in [grant.scope.to_string(), grant.resources.to_string()] {
        if !part.is_empty() {
            line.push_str(&format!("  {part}"));
        }
    }
    let (used, ends) = (
        in_rfc_3339(grant.rotated_at),
        grant.idle_until.min(grant.ends_at),
    );
    line.push_str(&format!("  used {used}, ends {}", in_rfc_3339(ends)));
    line
}

fn entry(grant: &ListedGrant) -> Value {
    json!({
        "id": grant.id, "username": grant.username, "client_id": grant.client_id.as_str(),
        "scope": words(&grant.scope.to_string()), "resources": words(&grant.resources.to_string()),
        "created_at": at(grant.created_at), "used_at": at(grant.rotated_at),
        "ends_at": at(grant.idle_until.min(grant.ends_at)),
    })
}

/// What is written with spaces between, as a list.
pub(super) fn words(text: &str) -> Vec<&str> {
    text.split_ascii_whitespace().collect()
}
