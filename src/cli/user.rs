//! `wayleave user`: accounts from the command line, also while the server runs.

use std::io::{BufRead, IsTerminal};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{Usage, open};
use crate::{
    accounts::{Accounts, EmailAddress, FullName, Password, Username},
    config::Config,
    policy::sign_in::{Trial, trial},
    secret::TypedName,
    store::{Account, Description, Profile, Store},
    time::{Clock, UnixTime},
};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Add an account.
    Add {
        #[command(flatten)]
        who: Who,
        /// Make it an administrator.
        #[arg(long)]
        admin: bool,
        #[command(flatten)]
        about: About,
    },
    /// Change what a person is called. An empty text takes away what is there.
    Set {
        name: String,
        #[command(flatten)]
        about: About,
    },
    /// List the accounts.
    List,
    /// Give an account another password, unlock it, and end its sessions.
    Passwd(Who),
    /// Let a name sign in again for which too many passwords were wrong.
    Unlock { name: String },
    /// Disable an account: its sessions and its apps' access end at once.
    Disable { name: String },
}

#[derive(Debug, Args)]
pub(super) struct Who {
    name: String,
    /// Read the password from standard input, one line.
    #[arg(long)]
    password_stdin: bool,
}

/// What apps are told of a person who allows it.
#[derive(Debug, Args)]
pub(super) struct About {
    /// The person's name, as apps show it.
    #[arg(id = "full_name", long = "name", value_name = "TEXT")]
    name: Option<String>,
    /// The person's e-mail address.
    #[arg(long, value_name = "ADDRESS")]
    email: Option<String>,
    /// The address is known to be the person's.
    #[arg(long, requires = "email")]
    email_verified: bool,
}

pub(super) async fn run(command: Command, config: &Config, as_json: bool) -> anyhow::Result<()> {
    let now = Clock::system().now();
    match command {
        Command::Add { who, admin, about } => {
            let description = about.read()?;
            let (name, password) = who.read()?;
            let store = open(config).await?;
            let made = Accounts::new(store.clone())
                .add(name.clone(), password, admin, now)
                .await?;
            if let (Ok(()), Some(description)) = (&made, description) {
                describe(&store, &name, description, now).await?;
            }
            store.close().await;
            if made.is_err() {
                bail!("there is an account named {} already", name.as_str());
            }
            report(
                as_json,
                &name,
                if admin {
                    "administrator added"
                } else {
                    "account added"
                },
            );
        }
        Command::Set { name, about } => {
            let name = parse(&name)?;
            let Some(description) = about.read()? else {
                return Err(Usage("nothing to change; use --name or --email".to_owned()).into());
            };
            let store = open(config).await?;
            let changed = describe(&store, &name, description, now).await?;
            store.close().await;
            if !changed {
                bail!("there is no account named {}", name.as_str());
            }
            report(as_json, &name, "account changed");
        }
        Command::Passwd(who) => {
            let (name, password) = who.read()?;
            let store = open(config).await?;
            let changed = Accounts::new(store.clone())
                .set_password(&name, password)
                .await?;
            let typed = TypedName::hash(name.as_str());
            store.forget_sign_in_failures(typed).await?;
            store.close().await;
            if !changed {
                bail!("there is no account named {}", name.as_str());
            }
            report(as_json, &name, "password changed");
        }
        Command::Disable { name } => {
            let name = parse(&name)?;
            let store = open(config).await?;
            let disabled = store.disable_account(name.as_str().to_owned(), now).await?;
            store.close().await;
            if !disabled {
                bail!("there is no enabled account named {}", name.as_str());
            }
            report(as_json, &name, "account disabled");
        }
        Command::Unlock { name } => {
            let name = parse(&name)?;
            let store = open(config).await?;
            let typed = TypedName::hash(name.as_str());
            let forgotten = store.forget_sign_in_failures(typed).await?;
            store.close().await;
            if !forgotten {
                bail!(
                    "no password was wrong for {} since it last signed in",
                    name.as_str()
                );
            }
            report(as_json, &name, "unlocked");
        }
        Command::List => {
            let store = open(config).await?;
            let accounts = store.accounts().await?;
            let profiles = store.profiles().await?;
            let mut locked = Vec::new();
            for account in &accounts {
                let typed = TypedName::hash(&account.username);
                let failures = store.sign_in_failures(&typed).await?;
                let scale = config.limits.scale.get();
                let trial = failures.map(|failures| trial(failures, scale, now));
                locked.push(trial == Some(Trial::Locked));
            }
            store.close().await;
            let accounts = accounts.iter().zip(locked);
            if as_json {
                let all: Vec<_> = accounts.map(|(a, l)| entry(a, &profiles, l)).collect();
                say!("{}", serde_json::to_string_pretty(&all)?);
            } else {
                for (account, locked) in accounts {
                    let locked = if locked { "  locked" } else { "" };
                    let admin = if account.is_admin {
                        "  administrator"
                    } else {
                        ""
                    };
                    let disabled = if account.disabled_at.is_some() {
                        "  disabled"
                    } else {
                        ""
                    };
                    say!("{}{admin}{disabled}{locked}", account.username);
                }
            }
        }
    }
    Ok(())
}

/// An account as JSON, without what is not known.
fn entry(account: &Account, profiles: &[Profile], locked: bool) -> Value {
    let mut entry = json!({
        "username": account.username, "subject": account.subject, "admin": account.is_admin,
        "created_at": account.created_at.0, "disabled": account.disabled_at.is_some(),
        "locked": locked,
    });
    let profile = profiles.iter().find(|p| p.subject == account.subject);
    if let Some(name) = profile.and_then(|profile| profile.name.as_ref()) {
        entry["name"] = json!(name);
    }
    if let Some((profile, email)) = profile.and_then(|it| Some((it, it.email.as_ref()?))) {
        entry["email"] = json!(email);
        entry["email_verified"] = json!(profile.email_verified);
    }
    entry
}

fn report(as_json: bool, name: &Username, done: &str) {
    if as_json {
        say!("{}", json!({ "username": name.as_str(), "done": done }));
    } else {
        say!("{}: {done}", name.as_str());
    }
}

fn parse(name: &str) -> Result<Username, Usage> {
    name.parse().map_err(|told: &str| Usage(told.to_owned()))
}

async fn describe(
    store: &Store,
    name: &Username,
    description: Description,
    now: UnixTime,
) -> anyhow::Result<bool> {
    let name = name.as_str().to_owned();
    Ok(store.describe_account(name, description, now).await?)
}

impl About {
    /// What is to be changed; `None`: nothing.
    fn read(self) -> Result<Option<Description>, Usage> {
        let usage = |told: &str| Usage(told.to_owned());
        let name = |text: String| match text.is_empty() {
            true => Ok(text),
            false => text.parse().map(FullName::into_text).map_err(usage),
        };
        let email = |text: String| match text.is_empty() {
            true => Ok(text),
            false => text.parse().map(EmailAddress::into_text).map_err(usage),
        };
        let email = self.email.map(email).transpose()?;
        let description = Description {
            name: self.name.map(name).transpose()?,
            email: email.map(|email| (email, self.email_verified)),
        };
        let is_some = description.name.is_some() || description.email.is_some();
        Ok(is_some.then_some(description))
    }
}

impl Who {
    fn read(&self) -> anyhow::Result<(Username, Password)> {
        let name = parse(&self.name)?;
        let text = if self.password_stdin {
            let mut line = String::new();
            std::io::stdin()
                .lock()
                .read_line(&mut line)
                .context("reading the password from standard input")?;
            line.trim_end_matches(['\r', '\n']).to_owned()
        } else if std::io::stdin().is_terminal() {
            let first = rpassword::prompt_password("Password: ")?;
            if rpassword::prompt_password("Again: ")? != first {
                return Err(Usage("the two passwords are not the same".to_owned()).into());
            }
            first
        } else {
            return Err(Usage(
                "no terminal to ask for the password on; use --password-stdin".to_owned(),
            )
            .into());
        };
        let password = Password::chosen(&text).map_err(|told| Usage(told.to_owned()))?;
        Ok((name, password))
    }
}
