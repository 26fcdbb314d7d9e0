//! Floods against a release binary of the server, given by path, so that an older build stands the same ones. `benches/abuse/run`
//! builds this, starts PostgreSQL and says how it is called.
#![expect(clippy::unwrap_used, reason = "a benchmark may panic as a test may")]

#[path = "../../tests/it/support/browser.rs"]
#[expect(dead_code, reason = "only its pages are used")]
mod browser;
#[path = "../../tests/it/support/database.rs"]
#[expect(dead_code, reason = "nobody parses its URL here")]
mod database;
#[path = "../../tests/it/support/dns.rs"]
#[expect(dead_code, reason = "its answers are simple ones here")]
mod dns;
mod flood;
mod http;
mod new_clients;
mod one_address;
mod people;
mod pushed;
mod report;
mod run;
mod server;
#[path = "../../tests/it/support/signer.rs"]
#[expect(dead_code, reason = "nobody signs proofs here")]
mod signer;
mod silent;
mod sites;
mod takes_nothing;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand, ValueEnum};
use database::Kind;
use report::Report;
use run::Bench;

#[derive(Parser)]
#[command(about = "Floods against the server, and what they cost the others")]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Cargo says so.
    #[arg(long, hide = true, global = true)]
    bench: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Flood a server, and print what became of it.
    Run {
        /// The server's program, best a release build.
        #[arg(long)]
        server: PathBuf,
        /// The heading of its columns.
        #[arg(long)]
        label: String,
        #[arg(long, value_enum)]
        database: DatabaseKind,
        /// Scenarios, in this order.
        #[arg(long, value_enum, value_delimiter = ',', default_values_t = Scenario::value_variants().to_vec())]
        scenarios: Vec<Scenario>,
        /// Each time in per cent: less than 100 to try out.
        #[arg(long, default_value_t = 100)]
        percent: u32,
        /// A file of JSON lines that the numbers are added to.
        #[arg(long)]
        results: Option<PathBuf>,
    },
    /// Print the numbers of such a file as Markdown.
    Table { results: PathBuf },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum DatabaseKind {
    Sqlite,
    Postgresql,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Scenario {
    NewClients,
    OneAddress,
    TakesNothing,
    Pushed,
    Silent,
}

fn main() -> ExitCode {
    // `cargo test` starts every program of its list without arguments.
    if std::env::args().len() == 1 {
        return ExitCode::SUCCESS;
    }
    match Cli::parse().command {
        Command::Table { results } => print!("{}", report::table(&results)),
        Command::Run {
            server,
            label,
            database,
            scenarios,
            percent,
            results,
        } => {
            let (kind, database) = match database {
                DatabaseKind::Sqlite => (Kind::Sqlite, "SQLite"),
                DatabaseKind::Postgresql => (Kind::Postgres, "PostgreSQL"),
            };
            let server = server
                .canonicalize()
                .expect("the server's program is there");
            let bench = Bench {
                server,
                kind,
                percent,
            };
            let report = |scenario| Report {
                file: results.as_deref(),
                label: &label,
                database,
                scenario,
            };
            // For the clients' sites: floods and their victims have threads of their own.
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .unwrap();
            for scenario in scenarios {
                runtime.block_on(play(scenario, &bench, report));
            }
        }
    }
    ExitCode::SUCCESS
}

async fn play<'a>(scenario: Scenario, bench: &Bench, report: impl Fn(&'static str) -> Report<'a>) {
    match scenario {
        Scenario::NewClients => new_clients::run(bench, &report("new-clients")).await,
        Scenario::OneAddress => one_address::run(bench, &report("one-address")).await,
        Scenario::TakesNothing => takes_nothing::run(bench, &report("takes-nothing")).await,
        Scenario::Pushed => pushed::run(bench, &report("pushed")).await,
        Scenario::Silent => silent::run(bench, &report("silent")).await,
    }
}
