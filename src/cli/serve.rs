//! `wayleave serve`.

#[cfg(unix)]
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::{
    fs::{File, OpenOptions, TryLockError},
    io::Write,
    path::Path,
    time::Duration,
};

use anyhow::{Context, bail};
#[cfg(unix)]
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing_appender::non_blocking::ErrorCounter;

use super::{Usage, check, open_or_make};
use crate::{
    app::{App, AppError},
    config::{Config, DatabaseUrl},
    fetch::Resolver,
    keys::KeyError,
    server,
    store::SweepLease,
    time::{Clock, in_rfc_3339, in_words},
};

/// How often expired rows are looked for.
const SWEEP: Duration = Duration::from_secs(30);

/// How often it is looked whether a signing key is due.
const TURN: Duration = Duration::from_secs(60);

/// How often changes by other processes are looked for.
const NOTICE: Duration = Duration::from_millis(500);
/// A block is in force everywhere within a second: a look may come just before it, and takes a moment itself.
const _: () = assert!(NOTICE.as_millis() <= 500);

/// Runs until it is told to stop.
pub(super) async fn serve(config: Config, lost: ErrorCounter) -> anyhow::Result<()> {
    let tls = server::tls(&config.server).map_err(Usage)?;
    for problem in check::of_clients(&config) {
        tracing::warn!(
            problem,
            "part of the configuration does nothing: see `wayleave config check`"
        );
    }
    let _only_one = match &config.database.url {
        DatabaseUrl::Sqlite(path) => Some(lock(path)?),
        DatabaseUrl::Postgres(_) => None,
    };
    let store = open_or_make(&config).await?;
    _ = store.counts.log.set(lost);
    let listen = config.server.listen;
    let resolver = Resolver::of(&config);
    let app = App::new(config, store, Clock::system(), resolver)
        .await
        .map_err(|error| match error {
            AppError::Fetcher(error) => Usage(error.to_string()).into(),
            AppError::Keys(
                error @ (KeyError::EncryptionKey | KeyError::OldEncryptionKey | KeyError::Locked),
            ) => Usage(error.to_string()).into(),
            error => anyhow::Error::from(error),
        })?;
    // Before anybody can connect: whoever sees us listen may tell us to stop.
    let signals = signals()?;
    let listener = server::bind(listen)
        .await
        .with_context(|| format!("server.listen: cannot listen on {listen}"))?;

    let metrics = match app.config.metrics.listen {
        Some(listen) => Some(
            server::bind(listen)
                .await
                .with_context(|| format!("metrics.listen: cannot listen on {listen}"))?,
        ),
        None => None,
    };

    greet(&app).await?;
    let sweeper = tokio::spawn(sweep(app.clone()));
    let watcher = tokio::spawn(notice_changes(app.clone()));
    let turner = tokio::spawn(turn_keys(app.clone()));
    tokio::select! {
        served = server::serve(app.clone(), listener, metrics, tls, told(signals.clone(), 1)) => served?,
        () = told(signals, 2) => {
            tracing::warn!("a second signal to stop: ending at once");
            // Not even what a thread of its own computes is waited for.
            std::process::exit(1);
        }
    }
    sweeper.abort();
    watcher.abort();
    turner.abort();
    if let Err(error) = app.refusals.flush().await {
        tracing::debug!(%error, "refusals could not be kept");
    }
    app.store.close().await;
    tracing::info!("stopped");
    Ok(())
}

/// One server to a SQLite file: the lock goes with the process, however it ends.
pub(super) fn lock(database: &Path) -> anyhow::Result<File> {
    if let Some(folder) = database
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("database.url: cannot make {}", folder.display()))?;
    }
    let mut path = database.as_os_str().to_owned();
    path.push(".lock");
    let path = Path::new(&path);
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true);
    // Whoever may open it may lock it, and so keep the server from starting.
    #[cfg(unix)]
    options.mode(0o600);
    let file = options.open(path);
    let file = file.with_context(|| format!("database.url: cannot write {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => {
            #[cfg(unix)]
            restrict(&file, path);
            Ok(file)
        }
        Err(TryLockError::WouldBlock) => {
            bail!(
                "database.url: {} is in use by another wayleave process",
                database.display()
            )
        }
        Err(TryLockError::Error(error)) => {
            bail!("database.url: cannot lock {}: {error}", path.display())
        }
    }
}

/// A lock file of an earlier version may be open to others.
#[cfg(unix)]
fn restrict(file: &File, path: &Path) {
    let ours_alone = std::fs::Permissions::from_mode(0o600);
    if let Err(error) = file.set_permissions(ours_alone) {
        tracing::warn!(path = %path.display(), %error, "the lock file cannot be kept from others");
    }
}

/// Says where the server is, and how the first account is made.
async fn greet(app: &App) -> anyhow::Result<()> {
    let issuer = &app.config.issuer;
    let listen = app.config.server.listen;
    say(&format!(
        "Wayleave {} is ready at {issuer}",
        env!("CARGO_PKG_VERSION")
    ));
    if issuer.is_loopback() && !issuer.as_str().ends_with(&format!(":{}", listen.port())) {
        tracing::warn!(%issuer, %listen, "the issuer names another port than the server listens on");
    }
    let lifetime = i64::from(app.config.login.setup.get());
    if let Some(link) = app.accounts.setup_link(app.clock.now(), lifetime).await? {
        let within = in_words(lifetime);
        say(&format!(
            "There is no account yet. Make the first one, an administrator, here (once, within {within}):"
        ));
        say(&format!(
            "  {}",
            issuer.join(&format!("/setup?token={}", link.expose()))
        ));
    }
    if !issuer.is_loopback() && app.config.keys.encryption_key.is_none() {
        tracing::warn!(
            "the signing keys are in the database in clear text: whoever reads it or its backup can sign tokens. Give \
             keys.encryption_key_file a key (openssl rand -base64 32); the server encrypts them when it starts"
        );
    }
    tracing::info!(%issuer, %listen, database = %app.config.database.url, "ready");
    Ok(())
}

/// A line for whoever started the server. Nobody has to listen.
fn say(line: &str) {
    _ = writeln!(std::io::stdout(), "{line}");
}

async fn sweep(app: App) {
    let mut tick = tokio::time::interval(SWEEP);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut lease = SweepLease::default();
    let interaction = i64::from(app.config.login.interaction.get());
    loop {
        tick.tick().await;
        loop {
            let swept = app
                .store
                .sweep_in_turn(&mut lease, interaction, app.clock.now());
            match swept.await {
                Ok(_) if lease.is_anothers() => {
                    tracing::debug!("another process deletes expired rows");
                    break;
                }
                Ok((gone, more)) => {
                    let counts = &app.store.counts;
                    counts.rows_swept.inc_by(gone);
                    counts.sweeps.add("ok");
                    counts.last_sweep.set(app.clock.now().0);
                    if gone > 0 {
                        tracing::debug!(gone, "expired rows deleted");
                    }
                    if !more {
                        break;
                    }
                    // Others want to write, too.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Err(error) => {
                    app.store.counts.sweeps.add("failed");
                    tracing::error!(%error, "could not delete expired rows");
                    break;
                }
            }
        }
    }
}

/// Signing keys come and go by the clock.
async fn turn_keys(app: App) {
    let mut tick = tokio::time::interval(TURN);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        if let Err(error) = app.keys.turn(app.clock.now()).await {
            tracing::error!(%error, "could not see to the signing keys");
        }
    }
}

/// What other processes change about clients and keys is seen here within a second.
async fn notice_changes(app: App) {
    let mut tick = tokio::time::interval(NOTICE);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut failing = false;
    loop {
        tick.tick().await;
        let noticed = async {
            app.clients.notice_changes().await?;
            app.keys.notice_at_times(app.clock.now()).await?;
            for (at, command) in app.store.take_command_notes().await? {
                tracing::info!(command, at = in_rfc_3339(at), "administrative command");
            }
            Ok::<_, KeyError>(())
        };
        match noticed.await {
            Ok(()) => failing = false,
            // Once, not every second.
            Err(error) if !failing => {
                failing = true;
                tracing::error!(%error, "could not look for what other processes changed");
            }
            Err(_) => {}
        }
    }
}

/// Listens for the signals that stop a server, from now on: how many have come.
fn signals() -> anyhow::Result<watch::Receiver<u32>> {
    let (count, signals) = watch::channel(0);
    #[cfg(unix)]
    let mut interrupt = signal(SignalKind::interrupt())?;
    #[cfg(unix)]
    let mut terminate = signal(SignalKind::terminate())?;
    #[cfg(unix)]
    let mut quit = signal(SignalKind::quit())?;
    #[cfg(unix)]
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        loop {
            #[cfg(unix)]
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = quit.recv() => {}
                // A terminal that closes stops no server, nor does who is used to reload others by it.
                _ = hangup.recv() => {
                    tracing::info!("SIGHUP: the configuration is read at the start only; certificates are read again without it");
                    continue;
                }
            }
            #[cfg(not(unix))]
            if tokio::signal::ctrl_c().await.is_err() {
                return;
            }
            count.send_modify(|count| *count += 1);
        }
    });
    Ok(signals)
}

/// Ready when so many signals have come.
async fn told(mut signals: watch::Receiver<u32>, times: u32) {
    if signals.wait_for(|count| *count >= times).await.is_err() {
        std::future::pending::<()>().await;
    }
    if times == 1 {
        tracing::info!("stopping: requests under way finish");
    }
}
