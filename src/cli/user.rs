//! `wayleave user`: accounts from the command line, also while the server runs.

use std::io::{BufRead, IsTerminal};

use anyhow::Context;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{
    context::warn_of_another,
    exit::{Conflict, NotFound, Usage},
    open, open_or_make,
    output::{self, Limit, at},
};
use crate::{
    accounts::{Accounts, EmailAddress, FullName, Password, Username},
    config::Config,
    policy::sign_in::{Trial, trial},
    secret::TypedName,
    store::{Account, AccountError, DescribedEmail, Description, Profile, Store},
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
    /// Change a person's name and e-mail address, and whether they administer the server. An empty text removes a value.
    Set {
        /// The user name
        name: String,
        /// Make it an administrator.
        #[arg(long, conflicts_with = "no_admin")]
        admin: bool,
        /// Make it an ordinary account. The last administrator who can sign in stays one.
        #[arg(long)]
        no_admin: bool,
        #[command(flatten)]
        about: About,
    },
    /// List the accounts.
    List {
        #[command(flatten)]
        limit: Limit,
    },
    /// Set a new password, unlock the account, and end its sessions.
    Passwd {
        #[command(flatten)]
        who: Who,
        /// End what its apps have, too: grants, codes, and devices that were allowed.
        #[arg(long)]
        end_grants: bool,
    },
    /// Unlock an account after too many wrong passwords.
    Unlock {
        /// The user name, or the e-mail address that was typed
        name: String,
    },
    /// Give an account another user name. To apps it stays the same person.
    Rename {
        /// The user name
        name: String,
        /// The new one
        new_name: String,
    },
    /// Disable an account. It stops working at once: its sessions and its apps' access end.
    Disable {
        /// The user name
        name: String,
    },
    /// Let a disabled account sign in again. What ended when it was disabled stays ended.
    Enable {
        /// The user name
        name: String,
    },
    /// Delete an account and everything that belongs to it: its sessions and its apps' access end at once.
    Delete {
        /// The user name
        name: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct Who {
    /// The user name: letters of any one script, digits, and . _ - @ +
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
    /// The address is known to be the person's: they may sign in with it, too.
    #[arg(long, requires = "email")]
    email_verified: bool,
}

pub(super) async fn run(command: Command, config: &Config, as_json: bool) -> anyhow::Result<()> {
    let now = Clock::system().now();
    let report = |name: &str, done: &str| report(as_json, name, done, false);
    match command {
        Command::Add { who, admin, about } => {
            let about = about.read(admin.then_some(true))?;
            let (name, password) = who.read()?;
            let address = address(&about);
            let store = open_or_make(config).await?;
            warn_of_another(config, &store).await;
            let accounts = Accounts::new(store.clone());
            let made = accounts.add(name.clone(), password, about, now).await?;
            store.close().await;
            let name = name.as_str();
            made.map_err(|error| refused(error, name, &address))?;
            match admin {
                true => report(name, "administrator added"),
                false => report(name, "account added"),
            }
        }
        Command::Set {
            name,
            admin,
            no_admin,
            about,
        } => {
            let name = parse(&name)?;
            let about = about.read(match (admin, no_admin) {
                (true, _) => Some(true),
                (_, true) => Some(false),
                _ => None,
            })?;
            if about.name.is_none() && about.email.is_none() && about.is_admin.is_none() {
                let told = "nothing to change; use --name, --email, --admin or --no-admin";
                return Err(Usage(told.to_owned()).into());
            }
            let address = address(&about);
            let store = open(config).await?;
            let changed = store.change_account(name.clone().into_text(), about, now);
            let changed = changed.await?;
            store.close().await;
            let name = name.as_str();
            changed.map_err(|error| refused(error, name, &address))?;
            report(name, "account changed");
        }
        Command::Passwd { who, end_grants } => {
            let (name, password) = who.read()?;
            let store = open(config).await?;
            let changed = Accounts::new(store.clone())
                .set_password(&name, password, end_grants, now)
                .await?;
            let typed = TypedName::hash(name.as_str());
            store.forget_sign_in_failures(typed).await?;
            store.close().await;
            let Some(account) = changed else {
                return Err(refused(AccountError::NoSuchAccount, name.as_str(), ""));
            };
            let done = match end_grants {
                true => "password changed; its apps' access has ended",
                false => "password changed",
            };
            self::report(as_json, name.as_str(), done, account.disabled_at.is_some());
        }
        Command::Unlock { name } => {
            let store = open(config).await?;
            let account = Accounts::new(store.clone()).named(&name).await?;
            let is_disabled = account.as_ref().is_some_and(|it| it.disabled_at.is_some());
            // A name without an account may be locked as well.
            let name = match account {
                Some(account) => account.username,
                None => parse(&name)?.into_text(),
            };
            let forgotten = store
                .forget_sign_in_failures(TypedName::hash(&name))
                .await?;
            store.close().await;
            if !forgotten {
                let told = format!(
                    "nothing to unlock: no wrong password for {name} since it last signed in"
                );
                return Err(NotFound(told).into());
            }
            self::report(as_json, &name, "unlocked", is_disabled);
        }
        Command::Rename { name, new_name } => {
            let (name, new_name) = (parse(&name)?, parse(&new_name)?);
            let counted = |name: &Username| {
                let name = name.as_str();
                (name.to_owned(), TypedName::hash(name))
            };
            let store = open(config).await?;
            let renamed = store.rename_account(counted(&name), counted(&new_name), now);
            let renamed = renamed.await?;
            store.close().await;
            renamed.map_err(|error| match error {
                AccountError::NameTaken => refused(error, new_name.as_str(), ""),
                error => refused(error, name.as_str(), ""),
            })?;
            report(new_name.as_str(), &format!("was {}", name.as_str()));
        }
        Command::Disable { name } => {
            let name = parse(&name)?.into_text();
            let store = open(config).await?;
            let disabled = store.disable_account(name.clone(), now).await?;
            store.close().await;
            match disabled {
                Ok(()) => report(&name, "account disabled"),
                Err(AccountError::NoSuchAccount) => {
                    let told = format!("there is no enabled account named {name}");
                    return Err(NotFound(told).into());
                }
                Err(error) => return Err(refused(error, &name, "")),
            }
        }
        Command::Enable { name } => {
            let name = parse(&name)?.into_text();
            let store = open(config).await?;
            let enabled = store.enable_account(name.clone()).await?;
            store.close().await;
            if !enabled {
                let told = format!("there is no disabled account named {name}");
                return Err(NotFound(told).into());
            }
            report(&name, "account enabled");
        }
        Command::Delete { name } => {
            let name = parse(&name)?.into_text();
            let store = open(config).await?;
            let deleted = store.delete_account(name.clone(), TypedName::hash(&name));
            let deleted = deleted.await?;
            store.close().await;
            deleted.map_err(|error| refused(error, &name, ""))?;
            report(&name, "account deleted");
        }
        Command::List { limit } => {
            let store = open(config).await?;
            let listed = list(&store, config, limit, as_json, now).await;
            store.close().await;
            listed?;
        }
    }
    Ok(())
}

async fn list(
    store: &Store,
    config: &Config,
    limit: Limit,
    as_json: bool,
    now: UnixTime,
) -> anyhow::Result<()> {
    let profiles = store.profiles().await?;
    let mut all = Vec::new();
    for account in store.accounts().await? {
        let typed = TypedName::hash(&account.username);
        let failures = store.sign_in_failures(&typed).await?;
        let scale = config.limits.scale.get();
        let trial = failures.map(|failures| trial(failures, scale, now));
        all.push((account, trial == Some(Trial::Locked)));
    }
    let json = |(account, is_locked): &(Account, bool)| entry(account, &profiles, *is_locked);
    output::list(
        as_json,
        limit,
        "accounts",
        &all,
        json,
        |(account, is_locked)| {
            let marks = [
                (account.is_admin, "  administrator"),
                (account.disabled_at.is_some(), "  disabled"),
                (*is_locked, "  locked"),
            ];
            let marks = marks
                .into_iter()
                .filter_map(|(is, mark)| is.then_some(mark));
            format!("{}{}", account.username, marks.collect::<String>())
        },
    )
}

/// An account as JSON, without what is not known.
fn entry(account: &Account, profiles: &[Profile], locked: bool) -> Value {
    let mut entry = json!({
        "username": account.username, "subject": account.subject, "admin": account.is_admin,
        "created_at": at(account.created_at), "disabled": account.disabled_at.is_some(),
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

/// Why nothing was changed: about the account of this name, and this e-mail address.
fn refused(error: AccountError, name: &str, address: &str) -> anyhow::Error {
    match error {
        AccountError::NoSuchAccount => NotFound(format!(
            "there is no account named {name}; `wayleave user list` shows those that there are"
        ))
        .into(),
        AccountError::NameTaken => Conflict(format!(
            "there is an account named {name}, or one that signs in with it as its e-mail address, already"
        ))
        .into(),
        AccountError::AddressTaken => Conflict(format!(
            "another account signs in with {address}, or is named so"
        ))
        .into(),
        AccountError::LastAdministrator => Conflict(format!(
            "{name} is the last administrator who can sign in; `wayleave user set NAME --admin` makes another one"
        ))
        .into(),
        AccountError::LinkSpent => Conflict("the set-up link no longer works".to_owned()).into(),
    }
}

/// `is_still_disabled`: what was done is of no use before the account is enabled.
fn report(as_json: bool, name: &str, done: &str, is_still_disabled: bool) {
    match (as_json, is_still_disabled) {
        (true, false) => say!("{}", json!({ "username": name, "done": done })),
        (true, true) => say!(
            "{}",
            json!({ "username": name, "done": done, "disabled": true })
        ),
        (false, false) => say!("{name}: {done}"),
        (false, true) => say!(
            "{name}: {done}; the account stays disabled (`wayleave user enable {name}` lets it sign in)"
        ),
    }
}

fn parse(name: &str) -> Result<Username, Usage> {
    name.parse().map_err(|told: &str| Usage(told.to_owned()))
}

/// The address that is to be written.
fn address(about: &Description) -> String {
    let email = about.email.as_ref();
    email.map_or_else(String::new, |email| email.address.clone())
}

impl About {
    /// What is to be changed.
    fn read(self, is_admin: Option<bool>) -> Result<Description, Usage> {
        let usage = |told: &str| Usage(told.to_owned());
        let name = |text: String| match text.is_empty() {
            true => Ok(text),
            false => text.parse().map(FullName::into_text).map_err(usage),
        };
        let is_verified = self.email_verified;
        let email = |text: String| match text.is_empty() {
            true => Ok(DescribedEmail::default()),
            false => text
                .parse()
                .map(|address: EmailAddress| DescribedEmail {
                    address: address.as_str().to_owned(),
                    is_verified,
                    signs_in_as: address.signs_in_as().filter(|_| is_verified),
                })
                .map_err(usage),
        };
        Ok(Description {
            name: self.name.map(name).transpose()?,
            email: self.email.map(email).transpose()?,
            is_admin,
        })
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
