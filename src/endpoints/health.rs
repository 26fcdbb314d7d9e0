//! `GET /healthz` and `GET /readyz`: is the process alive, and can it answer?

use std::{
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    time::Duration,
};

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::{StatusCode, header};
use serde_json::json;

use crate::{
    app::App,
    keys::KeyError,
    store::{Schema, StoreError},
};

/// The database is asked whether it is there so often at most, whoever wants to know.
const GLANCE: Duration = Duration::from_secs(1);
/// What costs more than a glance is looked at so often at most.
const FRESH: Duration = Duration::from_secs(5);
/// Longest wait for the database, each time.
const PATIENCE: Duration = Duration::from_secs(3);
/// Seconds that our clock may be behind what the database knows.
const BEHIND: i64 = 60;

/// The process runs.
pub(crate) async fn healthz() -> Response {
    (
        [(header::CACHE_CONTROL, "no-store")],
        Json(json!({ "status": "alive" })),
    )
        .into_response()
}

/// Requests can be answered: says every reason why not, and the details to the log alone.
pub(crate) async fn readyz(app: App, readiness: Arc<Readiness>) -> Response {
    let mut why = readiness.now(&app).await;
    if app.stopping.load(Ordering::Relaxed) {
        why.insert(0, Because::new(Reason::Stopping, ""));
    }
    let reasons: Vec<_> = why.iter().map(|it| it.reason.as_str()).collect();
    let (status, body) = match reasons.is_empty() {
        true => (StatusCode::OK, json!({ "status": "ready" })),
        false => (
            StatusCode::SERVICE_UNAVAILABLE,
            json!({ "status": "not ready", "reasons": reasons }),
        ),
    };
    (status, [(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

/// Why the server cannot answer, as anybody may read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    Stopping,
    NoDatabase,
    OlderSchema,
    NewerSchema,
    OtherSchema,
    KeysUnreadable,
    NoKey,
    ClockBehind,
}

impl Reason {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Stopping => "shutting down",
            Self::NoDatabase => "the database does not answer",
            Self::OlderSchema => "the schema of the database is older than this program",
            Self::NewerSchema => "the schema of the database is newer than this program",
            Self::OtherSchema => "the schema of the database is not that of this program",
            Self::KeysUnreadable => "the signing keys cannot be read",
            Self::NoKey => "there is no key that signs",
            Self::ClockBehind => "the clock is behind the database",
        }
    }
}

/// A reason, and what the administrator reads of it.
#[derive(Clone, Debug)]
struct Because {
    reason: Reason,
    detail: String,
}

impl Because {
    fn new(reason: Reason, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self { reason, detail }
    }
}

/// What was seen, and when.
#[derive(Clone, Debug)]
struct Seen {
    at: Duration,
    why: Vec<Because>,
}

impl Seen {
    /// What was seen, if that is not as long ago.
    fn within(&self, now: Duration, longest: Duration) -> Option<Vec<Because>> {
        (now.saturating_sub(self.at) < longest).then(|| self.why.clone())
    }
}

/// What was seen last, and what was logged of it.
#[derive(Debug, Default)]
pub(crate) struct Readiness {
    /// At a glance, or by a look.
    seen: Mutex<Option<Seen>>,
    /// By a look. Held by the one who asks the database.
    looked: tokio::sync::Mutex<Option<Seen>>,
    logged: Mutex<Vec<Reason>>,
}

impl Readiness {
    /// What was seen a moment ago; else one asks the database, and whoever comes meanwhile hears what was seen before that,
    /// or waits for the same answer where that is too long ago.
    async fn now(&self, app: &App) -> Vec<Because> {
        if let Some(why) = self.seen(app, GLANCE) {
            return why;
        }
        let mut looked = match self.looked.try_lock() {
            Ok(looked) => looked,
            Err(_) => match self.seen(app, FRESH) {
                Some(why) => return why,
                None => self.looked.lock().await,
            },
        };
        if let Some(why) = self.seen(app, GLANCE) {
            return why;
        }
        let why = match in_time(app.store.ping()).await {
            Ok(()) => look_again(app, &mut looked).await,
            Err(error) => vec![Because::new(Reason::NoDatabase, error)],
        };
        self.log(&why);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        *seen = Some(Seen {
            at: app.clock.monotonic(),
            why: why.clone(),
        });
        why
    }

    /// What was seen last, if that is not as long ago.
    fn seen(&self, app: &App, longest: Duration) -> Option<Vec<Because>> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.as_ref()?.within(app.clock.monotonic(), longest)
    }

    /// Logs what has changed since it was logged last.
    fn log(&self, why: &[Because]) {
        let reasons: Vec<_> = why.iter().map(|it| it.reason).collect();
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        if *logged == reasons {
            return;
        }
        let told = why
            .iter()
            .map(|it| format!("{}: {}", it.reason.as_str(), it.detail));
        match why.is_empty() {
            true => tracing::info!("ready again"),
            false => tracing::error!(because = told.collect::<Vec<_>>().join("; "), "not ready"),
        }
        *logged = reasons;
    }
}

/// What a look found, if it is not too long ago; else looks.
async fn look_again(app: &App, looked: &mut Option<Seen>) -> Vec<Because> {
    let now = app.clock.monotonic();
    if let Some(why) = looked.as_ref().and_then(|seen| seen.within(now, FRESH)) {
        return why;
    }
    let why = match in_time(look(app)).await {
        Ok(why) => why,
        Err(error) => vec![Because::new(Reason::NoDatabase, error)],
    };
    *looked = Some(Seen {
        at: now,
        why: why.clone(),
    });
    why
}

async fn look(app: &App) -> Result<Vec<Because>, StoreError> {
    let of_schema = |reason, made, ours| {
        let detail = format!("the database has step {made}, this program {ours}");
        Ok(vec![Because::new(reason, detail)])
    };
    match app.store.schema().await? {
        Schema::Current(_) => {}
        // What else is to be seen there is in tables that may not be ours.
        Schema::Absent => return of_schema(Reason::OlderSchema, 0, 1),
        Schema::Older(made, ours) => return of_schema(Reason::OlderSchema, made, ours),
        Schema::Newer(made, ours) => return of_schema(Reason::NewerSchema, made, ours),
        Schema::Other(step) => {
            let detail = format!("step {step} was made in another way, or not to its end");
            return Ok(vec![Because::new(Reason::OtherSchema, detail)]);
        }
    }
    let mut why = Vec::new();
    match app.keys.check().await {
        Ok(()) => {}
        Err(KeyError::Store(error)) => return Err(error),
        Err(error @ KeyError::Missing(_)) => {
            why.push(Because::new(Reason::NoKey, error.to_string()))
        }
        Err(error) => why.push(Because::new(Reason::KeysUnreadable, error.to_string())),
    }
    // The clock of another machine says more than what was written down, perhaps by a clock that was ahead.
    let theirs = match app.clock.is_of_this_machine() {
        true => app.store.clock().await?,
        false => None,
    };
    let known = match theirs {
        Some(theirs) => Some(theirs),
        None => app.store.recent_time().await?,
    };
    let behind = known.map_or(0, |known| known - app.clock.now());
    if behind > BEHIND {
        why.push(Because::new(Reason::ClockBehind, format!("by {behind} s")));
    }
    Ok(why)
}

/// The answer of the database, or why there is none.
async fn in_time<T>(asked: impl Future<Output = Result<T, StoreError>>) -> Result<T, String> {
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err("it takes too long".to_owned()),
    }
}
