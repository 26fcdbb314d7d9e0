//! `wayleave consent`: what people allowed clients, so that they are not asked again; also while the server runs.

use clap::Subcommand;
use serde_json::{Value, json};

use super::{
    context::with_store,
    exit::{NotFound, Usage},
    grant::words,
    output::{self, Limit, at},
    whose::Whose,
};
use crate::{
    config::Config,
    store::{ListedConsent, Store},
    time::{Clock, in_rfc_3339},
    words::counted,
};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the consents that stand, the newest first.
    List {
        #[command(flatten)]
        whose: Whose,
        #[command(flatten)]
        limit: Limit,
    },
    /// End consents: the next time the app comes, its person is asked. Grants go on; `wayleave grant revoke` ends both.
    Revoke {
        #[command(flatten)]
        whose: Whose,
        /// Every consent of every person.
        #[arg(long, conflicts_with_all = ["user", "client"])]
        all: bool,
    },
}

pub(super) async fn run(command: Command, config: &Config, as_json: bool) -> anyhow::Result<()> {
    if let Command::Revoke { whose, all: false } = &command
        && whose.is_empty()
    {
        let told = "say which: --user NAME, --client CLIENT_ID, both of them, or --all";
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
    match command {
        Command::List { whose, limit } => {
            let which = whose.read(None, config, store).await?;
            let now = Clock::system().now();
            let consents = store.all_consents(&which, limit.and_one(), now).await?;
            output::list(as_json, limit, "consents", &consents, entry, line)
        }
        Command::Revoke { whose, all: _ } => {
            let which = whose.read(None, config, store).await?;
            let ended = store.revoke_consents(which).await?;
            if ended == 0 {
                let told =
                    "there is no such consent; `wayleave consent list` shows those that there are";
                return Err(NotFound(told.to_owned()).into());
            }
            if as_json {
                return output::json(&json!({ "ended": ended }));
            }
            say!(
                "{} ended; grants go on until `wayleave grant revoke`",
                counted(ended, "consent")
            );
            Ok(())
        }
    }
}

fn line(consent: &ListedConsent) -> String {
    let mut line = format!("{}  {}", consent.username, consent.client_id.as_str());
    for part in [consent.scope.to_string(), consent.resources.to_string()] {
        if !part.is_empty() {
            line.push_str(&format!("  {part}"));
        }
    }
    let (given, ends) = (consent.granted_at, consent.expires_at);
    line.push_str(&format!(
        "  given {}, ends {}",
        in_rfc_3339(given),
        in_rfc_3339(ends)
    ));
    line
}

fn entry(consent: &ListedConsent) -> Value {
    json!({
        "username": consent.username, "client_id": consent.client_id.as_str(),
        "scope": words(&consent.scope.to_string()), "resources": words(&consent.resources.to_string()),
        "granted_at": at(consent.granted_at), "ends_at": at(consent.expires_at),
    })
}
