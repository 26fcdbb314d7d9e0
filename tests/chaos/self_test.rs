//! A checker that finds nothing proves nothing: here it has to find what was made wrong.

use std::time::Duration;

use super::{
    database::Database,
    fault::{Fault, copy_files},
    judge::Answer,
    model::{Model, Op, Outcome, Sure, Violation, name},
    player::{Cut, Player},
    run::{Arena, Settings},
};

/// Time for some flows.
const A_WHILE: [Duration; 3] = [
    Duration::from_millis(500),
    Duration::from_secs(2),
    Duration::from_secs(8),
];

/// False when the checker overlooks something.
pub(crate) async fn finds_what_is_wrong(settings: &Settings) -> bool {
    lies_are_found(settings).await && lost_commits_are_found(settings).await
}

/// What was really done, before anything is made up.
struct Truth {
    client_id: String,
    /// A refresh token, not used, of each of some grants.
    newest: Vec<String>,
    /// One that was replaced, in a grant of its own.
    replaced: String,
    waiting_device: String,
    assertion: String,
    /// A person and a client who never met.
    strangers: String,
}

/// Something that the ledger says, and that never happened.
struct Lie {
    told: &'static str,
    /// What has to be found.
    invariant: &'static str,
    /// Is it seen in the database, too?
    in_rows: bool,
    /// The secret that it is about.
    tell: fn(&mut Model, &Truth) -> String,
}

const LIES: &[Lie] = &[
    Lie {
        told: "a refresh that the server never saw",
        invariant: "I1",
        in_rows: true,
        tell: |model, truth| {
            let next = format!("{}A", truth.newest[0]);
            say(model, Op::Refresh(truth.newest[0].clone()), truth, &next);
            next
        },
    },
    Lie {
        told: "a revocation that the server never saw",
        invariant: "I4",
        in_rows: true,
        tell: |model, truth| {
            say(model, Op::Revoke(truth.newest[1].clone()), truth, "");
            truth.newest[1].clone()
        },
    },
    Lie {
        told: "a refresh token with two successors",
        invariant: "I2",
        in_rows: false,
        tell: |model, truth| {
            say(model, Op::Refresh(truth.replaced.clone()), truth, "another");
            truth.replaced.clone()
        },
    },
    Lie {
        told: "a code that was never issued",
        invariant: "I1",
        in_rows: true,
        tell: |model, truth| {
            let code = format!("wl_ac_{}", "A".repeat(43));
            let key = model.consents.keys().next().cloned().unwrap_or_default();
            say(model, Op::Consent(key), truth, &code);
            code
        },
    },
    Lie {
        told: "the approval of a device that nobody gave",
        invariant: "I1",
        in_rows: true,
        tell: |model, truth| {
            let device = truth.waiting_device.clone();
            say(model, Op::DeviceApprove(device.clone()), truth, "");
            device
        },
    },
    Lie {
        told: "an assertion that served twice",
        invariant: "I2",
        in_rows: false,
        tell: |model, truth| {
            let assertion = truth.assertion.clone();
            say(model, Op::Assertion(assertion.clone()), truth, "token");
            assertion
        },
    },
    Lie {
        told: "a consent that nobody gave",
        invariant: "I1",
        in_rows: false,
        tell: |model, truth| {
            let consent = (Sure::Yes, model.kills);
            model.consents.insert(truth.strangers.clone(), consent);
            truth.strangers.clone()
        },
    },
];

fn say(model: &mut Model, op: Op, truth: &Truth, gives: &str) {
    let before = model.send(&op);
    let outcome = Outcome::Works(gives.to_owned());
    model.receive(&Answer {
        op: &op,
        client_id: &truth.client_id,
        before,
        outcome: &outcome,
    });
}

async fn lies_are_found(settings: &Settings) -> bool {
    let alone = Settings {
        loops: 0,
        ..*settings
    };
    let mut arena = Arena::open(Database::sqlite(), alone).await;
    let Some(truth) = play(&arena).await.ok().flatten() else {
        println!("chaos: the flows do not work even while nobody kills the server");
        arena.report();
        return false;
    };
    let mut secrets = Vec::new();
    for lie in LIES {
        secrets.push((lie.tell)(&mut arena.run.model(), &truth));
    }
    arena.checker.check().await;
    let violations = arena.run.model().violations.clone();
    let mut all = true;
    for (lie, secret) in LIES.iter().zip(&secrets) {
        let is_about = |it: &&Violation| it.about.contains(&name(secret));
        let of_it: Vec<_> = violations.iter().filter(is_about).collect();
        let in_rows = |it: &Violation| it.told.starts_with("in the database");
        let asked = of_it
            .iter()
            .any(|it| !in_rows(it) && it.invariant == lie.invariant);
        let looked = of_it.iter().any(|it| in_rows(it));
        if !asked || looked != lie.in_rows {
            println!("chaos: the checker overlooked {}: {of_it:#?}", lie.told);
            all = false;
        }
    }
    all
}

async fn play(arena: &Arena) -> Result<Option<Truth>, Cut> {
    let mut player = Player::new(&arena.run, "self-test", "person0");
    player.sign_in().await?;
    let client_id = arena.run.clients.public("self-test");
    let mut newest = Vec::new();
    for _ in 0..3 {
        let Some(code) = player.code(&client_id).await? else {
            return Ok(None);
        };
        let Outcome::Works(token) = player.redeem(&client_id, &code).await? else {
            return Ok(None);
        };
        newest.push(token);
    }
    let replaced = newest.remove(2);
    player.refresh(&client_id, &replaced).await?;
    let Some((waiting_device, _)) = player.start_device().await? else {
        return Ok(None);
    };
    let assertion = player.assertion(&arena.run.clients.machines()[0]);
    player.assert(&assertion).await?;
    let strangers = format!("person1 {}", arena.run.clients.public("stranger"));
    Ok(Some(Truth {
        client_id,
        newest,
        replaced,
        waiting_device,
        assertion,
        strangers,
    }))
}

/// The database is put back by a while: as if the server acknowledged before it committed. Longer, where the machine is
/// so busy that nothing was acknowledged in that time.
async fn lost_commits_are_found(settings: &Settings) -> bool {
    for a_while in A_WHILE {
        let database = Database::sqlite();
        let mut arena = Arena::open(database.clone(), *settings).await;
        if !arena.strike(&Fault::Kill, a_while).await {
            arena.report();
            return false;
        }
        let (copy, path) = (database.path("copy"), database.path("w.db"));
        arena.pause(|| copy_files(&path, &copy)).await;
        let fault = Fault::LostCommits {
            copy,
            database: path,
        };
        let holds = arena.strike(&fault, a_while).await;
        let violations = arena.run.model().violations.clone();
        let found = |part: fn(&Violation) -> bool| violations.iter().any(part);
        let asked = found(|it| it.invariant == "I1" && !it.told.starts_with("in the database"));
        let looked = found(|it| it.told.starts_with("in the database"));
        if !holds && asked && looked {
            return true;
        }
    }
    println!("chaos: the checker overlooked lost commits");
    false
}
