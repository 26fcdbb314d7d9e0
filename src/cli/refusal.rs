//! `wayleave refusal`: why something was refused, also while the server runs.

use clap::Subcommand;
use serde_json::{Value, json};

use super::{
    exit::NotFound,
    open,
    output::{self, Limit, plain},
};
use crate::{
    config::Config,
    refusals::typed_reference,
    store::KeptRefusal,
    time::{Clock, in_rfc_3339},
};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List what was refused last, the newest first.
    List {
        #[command(flatten)]
        limit: Limit,
    },
    /// Say why the request with this reference was refused.
    Show {
        /// The reference, as the error page or the header Wayleave-Reference shows it
        reference: String,
    },
}

pub(super) async fn run(command: Command, config: &Config, as_json: bool) -> anyhow::Result<()> {
    let now = Clock::system().now();
    let store = open(config).await?;
    match command {
        Command::List { limit } => {
            let refusals = store.refusals(limit.and_one(), now).await?;
            store.close().await;
            output::list(
                as_json,
                limit,
                "refusals of the last 30 days",
                &refusals,
                entry,
                line,
            )?;
        }
        Command::Show { reference } => {
            let refusal = store.refusal(&typed_reference(&reference), now).await?;
            store.close().await;
            let Some(refusal) = refusal else {
                let told = "no refusal is kept under this reference: the last 1000 are, for 30 days. The log has it: look there \
                            for the field reference";
                return Err(NotFound(told.to_owned()).into());
            };
            match as_json {
                true => output::json(&entry(&refusal))?,
                false => show(&refusal),
            }
        }
    }
    Ok(())
}

fn line(refusal: &KeptRefusal) -> String {
    let mut line = format!(
        "{}  {}  {}  from {}",
        in_rfc_3339(refusal.at),
        refusal.reference,
        refusal.rule,
        refusal.address
    );
    let more = [&refusal.username, &refusal.client_id];
    for part in more.into_iter().flatten() {
        line.push_str(&format!("  {part}"));
    }
    line
}

fn show(refusal: &KeptRefusal) {
    let at = in_rfc_3339(refusal.at);
    let cause = Some(&refusal.cause).filter(|cause| !cause.is_empty() && **cause != refusal.told);
    let facts = [
        ("Reference", Some(&refusal.reference)),
        ("Time", Some(&at)),
        ("Endpoint", Some(&refusal.endpoint)),
        ("Rule", Some(&refusal.rule)),
        ("Client", refusal.client_id.as_ref()),
        ("Person", refusal.username.as_ref()),
        ("Address", Some(&refusal.address)),
        ("Answer", Some(&refusal.told)),
        ("Cause", cause),
    ];
    for (label, value) in facts {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            say!("{label:<10} {}", plain(value));
        }
    }
    if let Some(client) = &refusal.client_id {
        say!(
            "What every rule makes of the client now: wayleave explain {}",
            plain(client)
        );
    }
}

fn entry(refusal: &KeptRefusal) -> Value {
    json!({
        "reference": refusal.reference, "at": in_rfc_3339(refusal.at), "endpoint": refusal.endpoint,
        "rule": refusal.rule, "client_id": refusal.client_id, "username": refusal.username,
        "address": refusal.address, "told": refusal.told, "cause": refusal.cause,
    })
}
