//! Connections that stay open between uses.
//!
//! The library's pool tries a connection at every return, which costs as much as the work itself. Here one that just
//! worked is put aside as it is; one whose work failed or was broken off is tried first. And the pool waits for an answer
//! for as long as it takes: here one that has gone silent, as behind a firewall that forgot it, is given up in time.

use std::{
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::{TryFutureExt, future::BoxFuture};
use sqlx::{Connection as _, Database, Executor, Pool, Postgres, pool::PoolConnection};
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

use super::error::StoreError;

/// Longest wait for a connection.
pub(super) const ACQUIRE: Duration = Duration::from_secs(2);
/// Longest wait for the answer of one that is tried.
const ANSWER: Duration = Duration::from_secs(1);
/// Longest wait for a unit of work on a server's connection: more than the server itself lets a statement take.
const WORK: Duration = Duration::from_secs(15);
/// One that was idle for so long is tried before it is used.
const TESTED: Duration = Duration::from_secs(1);
/// One that is so old goes back to the pool, which closes it when its time has come.
const OLD: Duration = Duration::from_secs(1_800);

#[derive(Debug)]
pub(super) struct Connections<DB: Database> {
    pool: Pool<DB>,
    places: Arc<Semaphore>,
    idle: Arc<Idle<DB>>,
    /// Longest wait for a unit of work; `None` where nothing can get lost on the way.
    longest: Option<Duration>,
}

type Idle<DB> = Mutex<Vec<Kept<DB>>>;
type Undo<DB> = fn(&mut <DB as Database>::Connection) -> BoxFuture<'_, Result<(), sqlx::Error>>;

#[derive(Debug)]
struct Kept<DB: Database> {
    connection: PoolConnection<DB>,
    opened_at: Instant,
    used_at: Instant,
}

impl<DB: Database> Clone for Connections<DB> {
    fn clone(&self) -> Self {
        Self {
            pool: self.pool.clone(),
            places: Arc::clone(&self.places),
            idle: Arc::clone(&self.idle),
            longest: self.longest,
        }
    }
}

impl Connections<Postgres> {
    /// All connections to a server.
    pub(super) fn to_server(pool: Pool<Postgres>) -> Self {
        Self {
            longest: Some(WORK),
            ..Self::of(pool)
        }
    }
}

impl<DB: Database> Connections<DB> {
    /// All connections of a pool to a file.
    pub(super) fn of(pool: Pool<DB>) -> Self {
        let most = usize::try_from(pool.options().get_max_connections()).unwrap_or(usize::MAX);
        Self {
            places: Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS))),
            idle: Arc::default(),
            longest: None,
            pool,
        }
    }

    /// Work on one of the connections.
    ///
    /// # Errors
    ///
    /// [`StoreError::Silent`] when it has waited too long for the database.
    pub(super) async fn in_time<T>(
        &self,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        match self.longest {
            None => work.await,
            Some(longest) => tokio::time::timeout(longest, work)
                .await
                .unwrap_or(Err(StoreError::Silent)),
        }
    }

    /// The pool itself, for work that makes its own transactions.
    pub(super) fn pool(&self) -> &Pool<DB> {
        &self.pool
    }

    /// A connection for one unit of work.
    ///
    /// # Errors
    ///
    /// When none is free in time, or none can be opened.
    pub(super) async fn take(&self) -> Result<Held<DB>, StoreError> {
        let place = tokio::time::timeout(ACQUIRE, Arc::clone(&self.places).acquire_owned());
        let place = match place.await {
            Ok(Ok(place)) => place,
            Ok(Err(_)) => return Err(sqlx::Error::PoolClosed.into()),
            Err(_) => return Err(sqlx::Error::PoolTimedOut.into()),
        };
        let held = |kept| Held {
            kept: Some(kept),
            idle: Arc::clone(&self.idle),
            places: Arc::clone(&self.places),
            worked: false,
            undo: None,
            place: Some(place),
        };
        while let Some(kept) = self.pop() {
            if kept.used_at.elapsed() < TESTED {
                return Ok(held(kept));
            }
            if let Some(kept) = kept.tried(None).await {
                return Ok(held(kept));
            }
        }
        let connection = self.pool.acquire().await?;
        let now = Instant::now();
        Ok(held(Kept {
            connection,
            opened_at: now,
            used_at: now,
        }))
    }

    fn pop(&self) -> Option<Kept<DB>> {
        lock(&self.idle).pop()
    }

    /// Waits for the work under way and closes them all.
    pub(super) async fn close(&self) {
        self.places.close();
        lock(&self.idle).clear();
        // Whoever does not answer is not waited for.
        _ = tokio::time::timeout(ACQUIRE, self.pool.close()).await;
    }
}

impl<DB: Database> Kept<DB> {
    /// The connection if it answers, with nothing left open; else it is closed, and the pool may open another one.
    async fn tried(mut self, undo: Option<Undo<DB>>) -> Option<Self> {
        let answer = async {
            match undo {
                Some(undo) => undo(&mut self.connection).await,
                None => self.connection.ping().await,
            }
        };
        match tokio::time::timeout(ANSWER, answer).await {
            Ok(Ok(())) => Some(self),
            _ => {
                drop(self.connection.detach());
                None
            }
        }
    }
}

fn lock<DB: Database>(idle: &Idle<DB>) -> std::sync::MutexGuard<'_, Vec<Kept<DB>>> {
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A connection in use.
#[derive(Debug)]
pub(super) struct Held<DB: Database> {
    kept: Option<Kept<DB>>,
    idle: Arc<Idle<DB>>,
    places: Arc<Semaphore>,
    worked: bool,
    /// Rolls back the transaction that is open, or may be.
    undo: Option<Undo<DB>>,
    place: Option<OwnedSemaphorePermit>,
}

impl<DB: Database> Held<DB> {
    /// The work is done, and left nothing behind: the connection may be used again as it is.
    pub(super) fn worked(&mut self) {
        self.worked = true;
    }
}

impl Held<Postgres> {
    /// Begins a transaction. If it does not come to its end, it is rolled back before anything else is done here.
    pub(super) async fn begin(&mut self) -> Result<(), StoreError> {
        // First: the server may have begun it when nobody waits any more for its answer.
        self.undo = Some(|connection| Box::pin(connection.execute("ROLLBACK").map_ok(drop)));
        self.execute("BEGIN").await?;
        Ok(())
    }

    /// Ends the transaction, and keeps what was done in it.
    pub(super) async fn commit(&mut self) -> Result<(), StoreError> {
        self.execute("COMMIT").await?;
        self.undo = None;
        Ok(())
    }
}

impl<DB: Database> Deref for Held<DB> {
    type Target = DB::Connection;

    #[expect(clippy::expect_used, reason = "it is there until it is dropped")]
    fn deref(&self) -> &Self::Target {
        &self.kept.as_ref().expect("held").connection
    }
}

impl<DB: Database> DerefMut for Held<DB> {
    #[expect(clippy::expect_used, reason = "it is there until it is dropped")]
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.kept.as_mut().expect("held").connection
    }
}

impl<DB: Database> Drop for Held<DB> {
    fn drop(&mut self) {
        let Some(mut kept) = self.kept.take() else {
            return;
        };
        let (idle, places) = (Arc::clone(&self.idle), Arc::clone(&self.places));
        let put_aside = move |mut kept: Kept<DB>| {
            kept.used_at = Instant::now();
            let mut idle = lock(&idle);
            if kept.used_at - kept.opened_at < OLD && !places.is_closed() {
                idle.push(kept);
            }
        };
        if self.worked {
            put_aside(kept);
            return;
        }
        let (place, undo) = (self.place.take(), self.undo.take());
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(async move {
                if let Some(kept) = kept.tried(undo).await {
                    put_aside(kept);
                }
                drop(place);
            })),
            Err(_) => kept.connection.close_on_drop(),
        }
    }
}
