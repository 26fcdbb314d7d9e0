//! Row S-04: what is acknowledged was synced before. A kill does not show that, since the kernel keeps what a killed
//! process wrote; the order of the server's calls does.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
};

use super::{
    database::Database,
    model::Outcome,
    player::{Cut, Player},
    run::{Arena, Settings},
};

/// False when an answer left before the log of the database was synced. Without `strace` nothing is looked at.
pub(crate) async fn answers_come_after_the_sync(settings: &Settings) -> bool {
    let alone = Settings {
        loops: 0,
        ..*settings
    };
    let database = Database::sqlite();
    let mut arena = Arena::open(database.clone(), alone).await;
    let trace = database.path("trace");
    match traced(&arena, &trace).await {
        Ok(true) => {}
        Ok(false) => {
            println!("chaos: strace is not here, or may not look: the order of syncs is left out");
            return true;
        }
        Err(Cut) => {
            println!("chaos: the server did not answer while it was traced");
            arena.report();
            return false;
        }
    }
    let text = std::fs::read_to_string(&trace).unwrap();
    if let Err(told) = judge(&text) {
        println!("chaos: S-04 does not hold: {told}\n{text}");
        return false;
    }
    // The same without the sync is refused: else this proves nothing.
    let unsynced: Vec<_> = text.lines().filter(|line| !line.contains("sync")).collect();
    if judge(&unsynced.join("\n")).is_ok() {
        println!("chaos: an answer before the sync was overlooked");
        return false;
    }
    println!("chaos: an answer comes after the sync of what it says");
    true
}

/// One refresh, traced. False: there is no trace.
async fn traced(arena: &Arena, trace: &Path) -> Result<bool, Cut> {
    let mut player = Player::new(&arena.run, "traced", "person0");
    player.sign_in().await?;
    let client_id = arena.run.clients.public("traced");
    let code = player.code(&client_id).await?.ok_or(Cut)?;
    let Outcome::Works(token) = player.redeem(&client_id, &code).await? else {
        return Err(Cut);
    };
    let strace = Command::new("strace")
        .args(["-f", "-y", "-s", "24", "-e"])
        .arg("trace=pwrite64,write,writev,sendto,fsync,fdatasync")
        .arg("-o")
        .arg(trace)
        .args(["-p", &arena.server_id().to_string()])
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut strace) = strace else {
        return Ok(false);
    };
    // It says when it has attached.
    let mut told = String::new();
    let stderr = strace.stderr.take().unwrap();
    _ = BufReader::new(stderr).read_line(&mut told);
    let is_attached = told.contains("attached");
    let outcome = match is_attached {
        true => player.refresh(&client_id, &token).await,
        false => Ok(Outcome::Lost),
    };
    let id = strace.id().to_string();
    // Detached, not killed: else the server stays stopped.
    _ = Command::new("kill").args(["-INT", &id]).status();
    _ = strace.wait();
    outcome.map(|_| is_attached)
}

/// A write to the log, its sync, the answer: in this order.
fn judge(trace: &str) -> Result<(), String> {
    let lines: Vec<&str> = trace.lines().collect();
    let answer = lines.iter().position(|line| line.contains("HTTP/1.1 200"));
    let before = &lines[..answer.ok_or("no answer was seen")?];
    let written = before
        .iter()
        .rposition(|line| line.contains("pwrite64(") && line.contains("-wal>"))
        .ok_or("nothing was written to the log before the answer")?;
    // A call that others interrupt has its end in another line.
    let synced = before[written..].iter().any(|line| {
        let is_sync = line.contains("fdatasync") || line.contains("fsync");
        is_sync && line.trim_end().ends_with("= 0")
    });
    match synced {
        true => Ok(()),
        false => Err("the answer left before the log was synced".to_owned()),
    }
}
