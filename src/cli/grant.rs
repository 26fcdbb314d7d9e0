//! `wayleave grant`: what people have allowed clients, also while the server runs.

use anyhow::bail;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{Usage, client::plain, open};
use crate::{
    accounts::Username,
    config::Config,
    protocol::client_id::ClientId,
    store::{ListedGrant, Which},
    time::{Clock, in_rfc_3339},
    words::counted,
};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the grants that have not ended, the newest first.
    List {
        #[command(flatten)]
        whose: Whose,
        /// At most so many.
        #[arg(long, default_value_t = 100)]
        most: u32,
    },
    /// End grants: their refresh tokens are refused from then on, and their access tokens wherever this server is asked.
    Revoke {
        /// The grant, as `wayleave grant list` shows it
        #[arg(allow_hyphen_values = true)]
        id: Option<String>,
        #[command(flatten)]
        whose: Whose,
        /// Every grant of everybody.
        #[arg(long, conflicts_with_all = ["id", "user", "client"])]
        all: bool,
    },
}

#[derive(Debug, Args)]
pub(super) struct Whose {
    /// Of this person.
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// To this client.
    #[arg(long, value_name = "CLIENT_ID")]
    client: Option<String>,
}

impl Whose {
    fn read(self, id: Option<String>) -> Result<Which, Usage> {
        let name = |text: String| {
            text.parse::<Username>()
                .map(|name| name.as_str().to_owned())
        };
        let client = |text: String| text.parse::<ClientId>();
        let username = self.user.map(name).transpose();
        let client_id = self.client.map(client).transpose();
        Ok(Which {
            id,
            username: username.map_err(|told| Usage(told.to_owned()))?,
            client_id: client_id.map_err(|error| Usage(format!("--client: {error}")))?,
        })
    }
}

pub(super) async fn run(command: Command, config: &Config, as_json: bool) -> anyhow::Result<()> {
    let now = Clock::system().now();
    match command {
        Command::List { whose, most } => {
            let which = whose.read(None)?;
            let store = open(config).await?;
            let grants = store.grants(&which, most, now).await?;
            store.close().await;
            if as_json {
                let all: Vec<_> = grants.iter().map(entry).collect();
                say!("{}", serde_json::to_string_pretty(&all)?);
            } else {
                for grant in &grants {
                    say!("{}", plain(&line(grant)));
                }
            }
        }
        Command::Revoke { id, whose, all } => {
            let which = whose.read(id)?;
            let says_which =
                which.id.is_some() || which.username.is_some() || which.client_id.is_some();
            if !says_which && !all {
                let told =
                    "say which: a grant, --user NAME, --client CLIENT_ID, both of them, or --all";
                return Err(Usage(told.to_owned()).into());
            }
            let store = open(config).await?;
            let because = "revoked by an administrator";
            let ended = store.revoke_grants(which, because, now).await?;
            store.close().await;
            if ended == 0 {
                bail!("there is no such grant that has not ended");
            }
            match as_json {
                true => say!("{}", json!({ "ended": ended })),
                false => say!("{} ended", counted(ended, "grant")),
            }
        }
    }
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
        "scope": grant.scope.to_string(), "resources": grant.resources.to_string(),
        "created_at": grant.created_at.0, "used_at": grant.rotated_at.0,
        "ends_at": grant.idle_until.min(grant.ends_at).0,
    })
}
