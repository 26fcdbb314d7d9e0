//! `wayleave client hash-secret`: what the configuration keeps of a client's secret. It needs no database.

use std::io::{BufRead, stdin};

use anyhow::Context;
use clap::Args;
use serde_json::json;

use super::{Usage, output};
use crate::secret::{ClientSecret, Secret, SecretHash};

/// The fewest characters of a secret: those of 128 random bits in base64. What can be guessed needs more than one hash.
const FEWEST: usize = 22;

#[derive(Debug, Args)]
pub(super) struct HashSecret {
    /// Hash this secret, one line of standard input, instead of making one.
    #[arg(long)]
    secret_stdin: bool,
}

/// Prints the line that stands in `[[clients.registered]]`, and the secret if it was made here.
pub(super) fn run(options: &HashSecret, as_json: bool) -> anyhow::Result<()> {
    let (hash, made) = match options.secret_stdin {
        true => (
            SecretHash::<ClientSecret>::of_bytes(read()?.as_bytes()),
            None,
        ),
        false => {
            let secret = Secret::<ClientSecret>::generate();
            (secret.hash(), Some(secret))
        }
    };
    let secret = made.as_ref().map(Secret::expose);
    if as_json {
        return output::json(
            &json!({ "client_secret_sha256": hash.as_str(), "client_secret": secret }),
        );
    }
    say!("client_secret_sha256 = \"{}\"", hash.as_str());
    if let Some(secret) = secret {
        say!("# The client_secret itself, for the client, shown this once: {secret}");
    }
    Ok(())
}

fn read() -> anyhow::Result<String> {
    let mut line = String::new();
    stdin()
        .lock()
        .read_line(&mut line)
        .context("reading the secret from standard input")?;
    let secret = line.trim_end_matches(['\r', '\n']);
    match secret.len() {
        FEWEST.. => Ok(secret.to_owned()),
        _ => Err(Usage(format!(
            "expected a secret of {FEWEST} characters or more, for only its SHA-256 is kept; without --secret-stdin one is made"
        ))
        .into()),
    }
}
