//! The controller: load, fault, restart, check, again.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tempfile::TempDir;
use wayleave::time::Clock;

use super::{
    check::Checker,
    clients::Clients,
    database::Database,
    fault::{Fault, copy_files},
    http::Http,
    ledger::Ledger,
    load::Loop,
    model::{Sure, Violation},
    player::Run,
    random::Random,
    rows::Rows,
    server::Server,
};

const PEOPLE: u64 = 4;
/// The server is killed after so many milliseconds of load.
const LEAST: u64 = 10;
const MOST: u64 = 2_000;
/// The time to be ready again, S-01: nineteen times of twenty, since others use this machine, too.
const READY: u128 = 2_000;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) kills: u64,
    pub(crate) seed: u64,
    pub(crate) loops: u64,
}

/// One server on one database, with all that plays around it.
pub(crate) struct Arena {
    pub(crate) run: Arc<Run>,
    pub(crate) checker: Checker,
    /// Absent only while it is struck.
    server: Option<Server>,
    loops: Vec<tokio::task::JoinHandle<()>>,
    pub(crate) random: Random,
    database: Database,
    /// The ledger lies here: never beside the database.
    ledger: Option<TempDir>,
    settings: Settings,
    keys: String,
    loaded: Duration,
    ready: Vec<Duration>,
}

impl Arena {
    pub(crate) async fn open(database: Database, settings: Settings) -> Self {
        let clients = Clients::start().await;
        let ca = database.path("ca.pem");
        std::fs::write(&ca, clients.ca_pem()).unwrap();
        let mut told = clients.settings(ca.to_str().unwrap());
        told.extend([
            ("WAYLEAVE_DATABASE__URL", database.url.clone()),
            ("WAYLEAVE_LIMITS__SCALE", "100000".to_owned()),
            ("WAYLEAVE_LOG__FILTER", "warn".to_owned()),
        ]);
        let mut server = Server::new(database.folder.path(), &told);
        let people: Vec<_> = (0..PEOPLE)
            .map(|number| format!("person{number}"))
            .collect();
        for person in &people {
            server.add_account(person);
        }
        server.start().await.unwrap();
        let ledger = tempfile::tempdir().unwrap();
        let run = Arc::new(Run {
            ledger: Ledger::create(&ledger.path().join("ledger.jsonl")),
            model: std::sync::Mutex::default(),
            server: server.address,
            clients,
            is_down: AtomicBool::new(false),
            answers: AtomicU64::new(0),
            cut_off: AtomicU64::new(0),
            clock: Clock::system(),
            gate: tokio::sync::RwLock::new(()),
        });
        // Nobody is asked for what is our own.
        for person in &people {
            let key = format!("{person} {}", run.clients.first_party());
            run.model().consents.insert(key, (Sure::Yes, 0));
        }
        let checker = Checker::new(&run, Rows(database.clone()), settings.seed, &people).await;
        let keys = keys(&run).await;
        let mut arena = Self {
            run,
            checker,
            server: Some(server),
            loops: Vec::new(),
            random: Random::new(settings.seed, u64::MAX),
            database,
            ledger: Some(ledger),
            settings,
            keys,
            loaded: Duration::ZERO,
            ready: Vec::new(),
        };
        for number in 0..settings.loops {
            let person = &people[(number % PEOPLE) as usize];
            let player = Loop::new(&arena.run, number, settings.seed, person);
            arena.loops.push(tokio::task::spawn_local(player.run()));
        }
        arena
    }

    /// Lets them play for so long, strikes, and checks. False: something does not hold.
    pub(crate) async fn strike(&mut self, fault: &Fault, after: Duration) -> bool {
        let began = Instant::now();
        let server = self.server.take().unwrap();
        let mut server = fault.strike(after, &self.run, server).await;
        self.loaded += began.elapsed();
        let run = Arc::clone(&self.run);
        let alone = run.gate.write().await;
        let started = server.start().await;
        self.server = Some(server);
        match started {
            Ok(took) => self.ready.push(took),
            Err(told) => {
                run.model().violations.push(Violation::new("I6", told, &[]));
                return false;
            }
        }
        self.run.is_down.store(false, Ordering::SeqCst);
        let answers = self.run.answers.load(Ordering::Relaxed);
        if keys(&self.run).await != self.keys {
            let told = "the signing keys are others than before";
            run.model().violations.push(Violation::new("I1", told, &[]));
        }
        self.checker.check().await;
        // Only what is played under load counts.
        self.run.answers.store(answers, Ordering::Relaxed);
        let mut model = run.model();
        model.kills += 1;
        let holds = model.violations.is_empty();
        drop(model);
        drop(alone);
        holds
    }

    /// Stops the load and the server for a moment: for whoever looks at the files.
    pub(crate) async fn pause(&mut self, look: impl FnOnce()) {
        let run = Arc::clone(&self.run);
        let _alone = run.gate.write().await;
        let server = self.server.as_mut().unwrap();
        server.kill();
        look();
        server.start().await.unwrap();
    }

    pub(crate) fn server_id(&self) -> u32 {
        self.server.as_ref().map_or(0, Server::id)
    }

    /// Says what does not hold, and keeps the ledger, the server's log and the file of the database.
    pub(crate) fn report(&mut self) {
        self.server = None;
        let folder = self.ledger.take().map(TempDir::keep).unwrap_or_default();
        copy_files(&self.database.path("w.db"), &folder.join("w.db"));
        _ = std::fs::copy(self.database.path("server.log"), folder.join("server.log"));
        let model = self.run.model();
        for violation in model.violations.iter().take(20) {
            println!(
                "chaos: {} does not hold: seed {}, {:?}, kill {}",
                violation.invariant, self.settings.seed, self.database.kind, model.kills
            );
            println!("  {}", violation.told);
            for line in self.run.ledger.about(&violation.about) {
                println!("  ledger: {line}");
            }
        }
        println!(
            "chaos: {} violations in all; {} has the ledger and what the server left",
            model.violations.len(),
            folder.display()
        );
    }

    /// Says what was seen. False: it was not ready in time.
    fn sum_up(&self) -> bool {
        let model = self.run.model();
        let answers = self.run.answers.load(Ordering::Relaxed);
        let mut ready = self.ready.clone();
        ready.sort_unstable();
        let at = |part: usize| ready[(ready.len() - 1) * part / 100].as_millis();
        println!(
            "chaos: {:?}: {} kills survived; {:.0} operations a second under load, {} cut off; {} grants, {} codes, {} devices, {} assertions; \
             ready again after {} ms (median), {} ms (95 %), {} ms (most)",
            self.database.kind,
            model.kills,
            answers as f64 / self.loaded.as_secs_f64(),
            self.run.cut_off.load(Ordering::Relaxed),
            model.families.len(),
            model.codes.len(),
            model.devices.len(),
            model.assertions.len(),
            at(50),
            at(95),
            at(100),
        );
        at(95) <= READY
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        for playing in &self.loops {
            playing.abort();
        }
    }
}

/// The whole of it on one database: so many kills at random moments.
pub(crate) async fn survives(database: Database, settings: &Settings) -> bool {
    let mut arena = Arena::open(database, *settings).await;
    for kill in 1..=settings.kills {
        let after = Duration::from_millis(LEAST + arena.random.below(MOST - LEAST));
        if !arena.strike(&Fault::Kill, after).await {
            arena.report();
            return false;
        }
        if kill % 50 == 0 && kill < settings.kills {
            println!("chaos: {kill} of {} kills", settings.kills);
        }
    }
    arena.sum_up()
}

async fn keys(run: &Run) -> String {
    let page = Http::new(run.server).get("/jwks").await;
    page.map(|page| page.body).unwrap_or_default()
}
