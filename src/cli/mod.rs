//! The command line. `anyhow` only here: every error ends as one line for the administrator.

/// Prints a line, as `println!` does. A reader that has seen enough (`| head`) is no error.
macro_rules! say {
    ($($part:tt)*) => { $crate::cli::print_line(format_args!($($part)*)) };
}

mod check;
mod client;
mod client_list;
mod client_rules;
mod client_show;
mod consent;
mod context;
mod doctor;
mod exit;
mod explain;
mod grant;
mod hash_secret;
mod healthcheck;
mod key;
mod key_reset;
mod log;
mod noted;
mod numbers;
mod output;
mod reference;
mod refusal;
mod registration;
mod resource;
mod serve;
mod session;
mod user;
mod whose;

use std::{
    fmt,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use serde_json::json;

use self::{
    context::{open, open_or_make},
    exit::Usage,
};
use crate::config::{self, Environment};

/// With the commit, where the build knew it.
const VERSION: &str = env!("VERSION_AND_COMMIT");

/// An OAuth 2.1 authorization server whose clients need no registration.
#[derive(Debug, Parser)]
#[command(version = VERSION, about, after_help = exit::codes())]
struct Cli {
    /// The configuration file; wayleave.toml if there is one, else the defaults.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print data as JSON on standard output, and an error as one line of JSON on standard error.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server.
    Serve,
    /// Say whether the server on this machine, with this configuration, is ready.
    Healthcheck,
    /// Check what the installation needs, and say what to do about it. Changes nothing.
    Doctor(doctor::Options),
    /// Bring the database's schema up to date.
    Migrate,
    /// Accounts.
    #[command(subcommand)]
    User(user::Command),
    /// Clients: what is known of them, and whom to trust.
    #[command(subcommand)]
    Client(client::Command),
    /// Grants: the refresh and access tokens that clients have because people allowed it.
    #[command(subcommand)]
    Grant(grant::Command),
    /// Consents: what people allowed clients, so that they are not asked again.
    #[command(subcommand)]
    Consent(consent::Command),
    /// Sessions: browsers in which people are signed in.
    #[command(subcommand)]
    Session(session::Command),
    /// Refusals: which requests were refused, and why.
    #[command(subcommand)]
    Refusal(refusal::Command),
    /// Signing keys.
    #[command(subcommand)]
    Key(key::Command),
    /// Protected resources.
    #[command(subcommand)]
    Resource(resource::Command),
    /// Check a client_id against every rule, from this machine's network. Stores nothing.
    Explain {
        /// The client_id, as the client sends it
        client_id: String,
    },
    /// The configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print a script that completes commands in a shell.
    Completions {
        /// The shell
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Write the manual pages, one for each command.
    Man {
        /// The folder for them; it has to be there.
        #[arg(long, value_name = "FOLDER")]
        out: PathBuf,
    },
}

#[derive(Clone, Copy, Debug, Subcommand)]
enum ConfigCommand {
    /// Print the configuration that is in force, without secrets.
    Show,
    /// Say whether the configuration can be used.
    Check,
}

/// Runs the command of this process; `cli/exit.rs` has the exit codes.
pub fn run() -> ExitCode {
    let command = numbers::in_words(Cli::command());
    let matches = command.try_get_matches();
    let cli = match matches.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(error) => return exit::not_read(&error),
    };
    let as_json = cli.json;
    match execute(cli) {
        Ok(()) => exit::Exit::Done.into(),
        Err(error) => exit::failed(&error, as_json),
    }
}

fn execute(cli: Cli) -> anyhow::Result<()> {
    // What needs no configuration.
    match &cli.command {
        Command::Completions { shell } => return reference::completions(*shell),
        Command::Man { out } => return reference::man(out, cli.json),
        _ => {}
    }
    let config =
        config::load(cli.config.as_deref(), &Environment::of_process()).map_err(Usage::from)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let noted = match cli.command {
        Command::User(_)
        | Command::Client(_)
        | Command::Grant(_)
        | Command::Consent(_)
        | Command::Session(_)
        | Command::Key(_) => Some(config.clone()),
        _ => None,
    };
    let done = match cli.command {
        Command::Serve => {
            // What is still to be written is written before the process ends.
            let log = log::begin(&config, runtime.handle())?;
            runtime.block_on(serve::serve(config, log.lost.clone()))
        }
        Command::Healthcheck => healthcheck::run(&config, cli.json),
        Command::Doctor(options) => runtime.block_on(doctor::run(
            &options,
            &config,
            cli.config.as_deref(),
            cli.json,
        )),
        Command::Migrate => runtime.block_on(async {
            let store = open_or_make(&config).await?;
            context::warn_of_another(&config, &store).await;
            store.close().await;
            let url = config.database.url.to_string();
            if cli.json {
                return output::json(&json!({ "database": url, "done": "migrated" }));
            }
            say!("The schema of {url} is up to date.");
            Ok(())
        }),
        Command::User(command) => runtime.block_on(user::run(command, &config, cli.json)),
        Command::Client(command) => runtime.block_on(client::run(command, &config, cli.json)),
        Command::Grant(command) => runtime.block_on(grant::run(command, &config, cli.json)),
        Command::Consent(command) => runtime.block_on(consent::run(command, &config, cli.json)),
        Command::Session(command) => runtime.block_on(session::run(command, &config, cli.json)),
        Command::Refusal(command) => runtime.block_on(refusal::run(command, &config, cli.json)),
        Command::Key(command) => runtime.block_on(key::run(command, &config, cli.json)),
        Command::Resource(command) => resource::run(&command, &config, cli.json),
        Command::Explain { client_id } => {
            runtime.block_on(explain::run(&client_id, &config, cli.json))
        }
        Command::Config(ConfigCommand::Show) => {
            if cli.json {
                return output::json(&config);
            }
            say!("{}", toml::to_string_pretty(&config)?);
            Ok(())
        }
        Command::Config(ConfigCommand::Check) => check::run(&config, cli.json),
        Command::Completions { .. } | Command::Man { .. } => Ok(()),
    };
    if let (Ok(()), Some(config)) = (&done, noted) {
        runtime.block_on(noted::note(&config));
    }
    done
}

/// An error without the numbers that the library adds to what the system says.
fn in_words(text: &str) -> String {
    let mut parts = text.split(" (os error ");
    let first = parts.next().unwrap_or_default().to_owned();
    let rest = parts.map(|part| part.split_once(')').map_or(part, |(_, rest)| rest));
    rest.fold(first, |text, rest| text + rest)
}

fn print_line(line: fmt::Arguments<'_>) {
    match writeln!(io::stdout(), "{line}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            eprintln!("wayleave: standard output: {error}");
            std::process::exit(1);
        }
        _ => {}
    }
}
