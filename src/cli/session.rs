//! `wayleave session`: browsers in which people are signed in, also while the server runs.

use clap::Subcommand;
use serde_json::{Value, json};

use super::{
    context::with_store,
    exit::{NotFound, Usage},
    output::{self, Limit, at},
    whose::username,
};
use crate::{
    config::Config,
    store::{ListedSession, Store},
    time::{Clock, in_rfc_3339},
    words::counted,
};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the sessions that have not ended, the newest first.
    List {
        /// Of this person.
        #[arg(long, value_name = "NAME")]
        user: Option<String>,
        #[command(flatten)]
        limit: Limit,
    },
    /// End sessions: their browsers are signed out at once. What apps hold goes on.
    End {
        /// The session, as `wayleave session list` shows it
        #[arg(allow_hyphen_values = true)]
        id: Option<String>,
        /// Of this person.
        #[arg(long, value_name = "NAME")]
        user: Option<String>,
        /// Every session of every person.
        #[arg(long, conflicts_with_all = ["id", "user"])]
        all: bool,
    },
}

pub(super) async fn run(command: Command, config: &Config, as_json: bool) -> anyhow::Result<()> {
    if let Command::End {
        id: None,
        user: None,
        all: false,
    } = &command
    {
        let told = "say which: a session, --user NAME, or --all";
        return Err(Usage(told.to_owned()).into());
    }
    with_store(config, async |store| execute(command, store, as_json).await).await
}

async fn execute(command: Command, store: &Store, as_json: bool) -> anyhow::Result<()> {
    let now = Clock::system().now();
    let of = async |user: Option<String>| match user {
        Some(name) => username(&name, store).await.map(Some),
        None => Ok(None),
    };
    match command {
        Command::List { user, limit } => {
            let user = of(user).await?;
            let sessions = store.sessions(user.as_deref(), limit.and_one(), now);
            output::list(as_json, limit, "sessions", &sessions.await?, entry, line)
        }
        Command::End { id, user, all: _ } => {
            let ended = store.end_sessions(id, of(user).await?, now).await?;
            if ended == 0 {
                let told =
                    "there is no such session; `wayleave session list` shows those that there are";
                return Err(NotFound(told.to_owned()).into());
            }
            if as_json {
                return output::json(&json!({ "ended": ended }));
            }
            say!("{} ended", counted(ended, "session"));
            Ok(())
        }
    }
}

fn line(session: &ListedSession) -> String {
    format!(
        "{}  {}  signed in {}, ends {}",
        session.id,
        session.username,
        in_rfc_3339(session.signed_in_at),
        in_rfc_3339(session.idle_until.min(session.ends_at))
    )
}

fn entry(session: &ListedSession) -> Value {
    json!({
        "id": session.id, "username": session.username, "signed_in_at": at(session.signed_in_at),
        "ends_at": at(session.idle_until.min(session.ends_at)),
    })
}
