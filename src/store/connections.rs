//! Connections that stay open between uses.
//!
//! The library's pool tries a connection at every return, which costs as much as the work itself. Here one that just
//! worked is put aside as it is; one whose work failed or was broken off goes back to the pool, which tries it.

use std::{
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use sqlx::{Connection as _, Database, Pool, pool::PoolConnection};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

use super::StoreError;

/// Longest wait for a connection.
pub(super) const ACQUIRE: Duration = Duration::from_secs(2);
/// One that was idle for so long is tried before it is used.
const TESTED: Duration = Duration::from_secs(1);
/// One that is so old goes back to the pool, which closes it when its time has come.
const OLD: Duration = Duration::from_secs(1_800);

#[derive(Debug)]
pub(super) struct Connections<DB: Database> {
    pool: Pool<DB>,
    places: Arc<Semaphore>,
    idle: Arc<Idle<DB>>,
}

type Idle<DB> = Mutex<Vec<Kept<DB>>>;

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
        }
    }
}

impl<DB: Database> Connections<DB> {
    /// All connections of a pool.
    pub(super) fn of(pool: Pool<DB>) -> Self {
        let most = usize::try_from(pool.options().get_max_connections()).unwrap_or(usize::MAX);
        Self {
            places: Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS))),
            idle: Arc::default(),
            pool,
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
            _place: place,
        };
        while let Some(mut kept) = self.pop() {
            // What does not answer any more is dropped: the pool opens another one.
            if kept.used_at.elapsed() < TESTED || kept.connection.ping().await.is_ok() {
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
        self.pool.close().await;
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
    _place: OwnedSemaphorePermit,
}

impl<DB: Database> Held<DB> {
    /// The work is done, and left nothing behind: the connection may be used again as it is.
    pub(super) fn worked(&mut self) {
        self.worked = true;
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
        let Some(mut kept) = self.kept.take().filter(|_| self.worked) else {
            return;
        };
        kept.used_at = Instant::now();
        let mut idle = lock(&self.idle);
        if kept.used_at - kept.opened_at < OLD && !self.places.is_closed() {
            idle.push(kept);
        }
    }
}
