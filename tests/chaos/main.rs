//! Kills the server again and again while people and clients use it, and checks after each kill that nothing that it
//! acknowledged is lost, and that nothing served twice. Rows S-01, S-02 and S-04.
//!
//! `CHAOS_KILLS` (50) kills, half of them on SQLite and half on PostgreSQL, if `WAYLEAVE_TEST_POSTGRES` says where one
//! is. `CHAOS_SEED` decides what is played and when the server is killed; `CHAOS_LOOPS` (16) play at once.
#![expect(
    clippy::unwrap_used,
    reason = "a helper of a test may panic as the test itself may"
)]

#[path = "../it/support/browser.rs"]
#[expect(dead_code, reason = "only its pages are used")]
mod browser;
mod check;
#[path = "../it/support/client_site.rs"]
#[expect(dead_code, reason = "nobody counts its connections here")]
mod client_site;
mod clients;
#[path = "../it/support/database.rs"]
#[expect(dead_code, reason = "nobody parses its URL here")]
mod database;
mod fault;
mod http;
mod judge;
mod ledger;
mod load;
mod model;
mod player;
mod random;
mod rows;
mod run;
mod self_test;
mod server;
#[path = "../it/support/signer.rs"]
#[expect(dead_code, reason = "nobody signs proofs here")]
mod signer;
mod sync_order;

use std::process::ExitCode;

use database::{Database, Kind};

const NAME: &str = "chaos";
const SEED: u64 = 0x5eed;
/// Kills of one database and one ledger.
const ERA: u64 = 25;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        println!("{NAME}: test");
        return ExitCode::SUCCESS;
    }
    if !is_meant(&arguments) {
        return ExitCode::SUCCESS;
    }
    let kills = number("CHAOS_KILLS", 50);
    if kills == 0 {
        println!("chaos: no kills were asked for");
        return ExitCode::SUCCESS;
    }
    let settings = run::Settings {
        kills,
        seed: number("CHAOS_SEED", SEED),
        loops: number("CHAOS_LOOPS", 16),
    };
    // One thread plays; the server has the other processor.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let local = tokio::task::LocalSet::new();
    match runtime.block_on(local.run_until(all(settings))) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// Whoever filters the tests of all binaries means this one only if it is named. The arguments are those of libtest.
fn is_meant(arguments: &[String]) -> bool {
    const WITH_VALUE: &[&str] = &[
        "--test-threads",
        "--skip",
        "--format",
        "--color",
        "--logfile",
    ];
    let mut filters = Vec::new();
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        if WITH_VALUE.contains(&argument.as_str()) {
            arguments.next();
        } else if !argument.starts_with('-') {
            filters.push(argument);
        }
    }
    filters.is_empty() || filters.iter().any(|filter| NAME.contains(filter.as_str()))
}

async fn all(settings: run::Settings) -> bool {
    if !self_test::finds_what_is_wrong(&settings).await {
        return false;
    }
    if !sync_order::answers_come_after_the_sync(&settings).await {
        return false;
    }
    let mut kinds = vec![Kind::Sqlite];
    match Database::postgresql().await {
        Some(_) => kinds.push(Kind::Postgres),
        None => println!("chaos: WAYLEAVE_TEST_POSTGRES is not set: SQLite only"),
    }
    let share = settings.kills.div_ceil(kinds.len() as u64);
    for kind in kinds {
        // Each check looks at everything that ever was: now and then all begins anew.
        for era in 0..share.div_ceil(ERA) {
            let database = match kind {
                Kind::Sqlite => Database::sqlite(),
                Kind::Postgres => Database::postgresql().await.unwrap(),
            };
            let settings = run::Settings {
                kills: ERA.min(share - era * ERA),
                seed: settings.seed + era,
                ..settings
            };
            if !run::survives(database, &settings).await {
                return false;
            }
        }
    }
    true
}

#[expect(
    clippy::disallowed_methods,
    reason = "the test run says how long and with which seed"
)]
fn number(variable: &str, default: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{variable} is a number")),
        Err(_) => default,
    }
}
