//! `wayleave key`: our signing keys, also while the server runs. It notices within a second.

use clap::{Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::{
    exit::NotFound,
    key_reset, open,
    output::{self, Limit, at},
};
use crate::{
    config::Config,
    keys::{Described, KeyError, Keys},
    policy::key_rotation::{CACHED, Duty},
    protocol::id_token::SigningAlg,
    time::{Clock, in_rfc_3339, in_words},
};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the keys, and what each is for.
    List {
        #[command(flatten)]
        limit: Limit,
    },
    /// Rotate: publish the next key before its time. It signs a day later, when resource servers have fetched it.
    Rotate {
        /// The algorithm whose key it is
        #[arg(long, value_enum, default_value_t, ignore_case = true)]
        alg: Alg,
        /// Sign with it at once. Resource servers that cache our keys may refuse its tokens for up to an hour.
        #[arg(long)]
        now: bool,
    },
    /// Revoke a key that has leaked. It stops working at once: what it signed is refused, and another key signs.
    Revoke {
        /// The key's `kid`, as `wayleave key list` shows it
        #[arg(allow_hyphen_values = true)]
        kid: String,
    },
    /// Start over when the key that encrypts the signing keys is lost: says what ends, and ends it with --yes. Stop the servers
    /// first.
    Reset {
        /// Do it
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(super) enum Alg {
    #[default]
    Es256,
    Rs256,
    #[value(name = "eddsa")]
    EdDsa,
}

impl From<Alg> for SigningAlg {
    fn from(alg: Alg) -> Self {
        match alg {
            Alg::Es256 => Self::Es256,
            Alg::Rs256 => Self::Rs256,
            Alg::EdDsa => Self::EdDsa,
        }
    }
}

pub(super) async fn run(command: Command, config: &Config, as_json: bool) -> anyhow::Result<()> {
    if let Command::Reset { yes } = command {
        return key_reset::run(yes, config, as_json).await;
    }
    let now = Clock::system().now();
    let store = open(config).await?;
    let keys = Keys::load(config, &store, now).await?;
    match command {
        // It is done above, where the keys need not be read.
        Command::Reset { .. } => {}
        Command::List { limit } => {
            let all = keys.described(now);
            output::list(as_json, limit, "signing keys", &all, entry, line)?;
        }
        Command::Rotate { alg, now: at_once } => {
            let key = keys.rotate(alg.into(), at_once, now).await?;
            match as_json {
                true => output::json(&entry(&key))?,
                false => say!("{}", line(&key)),
            }
        }
        Command::Revoke { kid } => {
            keys.revoke(&kid, now).await.map_err(|error| match error {
                KeyError::Unknown(_) => NotFound(format!(
                    "{error}; `wayleave key list` shows those that there are"
                ))
                .into(),
                error => anyhow::Error::from(error),
            })?;
            if as_json {
                output::json(&json!({ "kid": kid, "done": "revoked" }))?;
            } else {
                say!(
                    "{kid}: revoked. Resource servers that cache our keys may accept it for another {}.",
                    in_words(CACHED)
                );
                for key in keys.described(now) {
                    say!("{}", line(&key));
                }
            }
        }
    }
    store.close().await;
    Ok(())
}

fn line(key: &Described) -> String {
    let duty = match key.duty {
        Duty::Waits(from) => format!("published; signs from {}", in_rfc_3339(from)),
        Duty::Signs => format!("signs since {}", in_rfc_3339(key.signs_from)),
        Duty::Verifies(until) => format!("verifies what it signed, until {}", in_rfc_3339(until)),
    };
    format!("{}  {:<5}  {duty}", key.kid, key.alg.as_str())
}

fn entry(key: &Described) -> Value {
    let (state, until) = match key.duty {
        Duty::Waits(_) => ("waits", None),
        Duty::Signs => ("signs", None),
        Duty::Verifies(until) => ("verifies", Some(at(until))),
    };
    let mut entry = json!({
        "kid": key.kid, "alg": key.alg.as_str(), "state": state,
        "created_at": at(key.created_at), "signs_from": at(key.signs_from),
    });
    if let Some(until) = until {
        entry["until"] = until;
    }
    entry
}
