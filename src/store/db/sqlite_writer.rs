//! Shared commits on SQLite: one task owns the connection that writes.
//!
//! SQLite has one writer and one fsync a commit. The task takes the units of work that are waiting, lends its connection to
//! each in a savepoint of one `BEGIN IMMEDIATE`, commits once, and only then answers them all.

use std::{panic::AssertUnwindSafe, sync::Arc};

use futures_util::{FutureExt, future::BoxFuture};
use prometheus_client::metrics::histogram::Histogram;
use sqlx::{Connection as _, Executor, SqliteConnection};
use tokio::sync::{Mutex, mpsc, oneshot};

use super::{
    error::StoreError,
    tx::{Borrowed, Tx},
};

/// Units of work that may wait.
const QUEUE: usize = 1_024;
/// Units of work in one commit, at most: bounds how long the first of them waits.
const BATCH: usize = 256;

#[derive(Clone, Debug)]
pub(super) struct Writer(mpsc::Sender<Message>);

enum Message {
    Work {
        savepoint: bool,
        job: Job,
    },
    /// Outside any transaction: for work that makes its own.
    Bare(Job),
    Stop(oneshot::Sender<()>),
}

/// Runs on the connection; says whether its writes are to be kept, and how to answer once that is durable.
/// Without a connection it only makes the answer: nothing runs outside a transaction.
type Job = Box<dyn FnOnce(Option<Tx>) -> BoxFuture<'static, (bool, Reply)> + Send>;
type Reply = Box<dyn FnOnce(Result<(), String>) + Send>;

impl Writer {
    pub(super) fn start(connection: SqliteConnection, commits: Histogram) -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let connection = Lent(Arc::new(Mutex::new(connection)));
        tokio::spawn(work_off(connection, receiver, commits));
        Self(sender)
    }

    /// Has `work` done. A caller that goes away does not stop it.
    pub(super) async fn run<T, W, F>(&self, savepoint: bool, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: FnOnce(Tx) -> F + Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let (job, answered) = job(work);
        let sent = self.0.send(Message::Work { savepoint, job }).await;
        sent.map_err(|_| StoreError::WriterGone)?;
        answered.await.map_err(|_| StoreError::WriterGone)?
    }

    /// Has `work` done outside any transaction: it makes its own.
    pub(super) async fn run_bare<T, W, F>(&self, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: FnOnce(Tx) -> F + Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let (job, answered) = job(work);
        let sent = self.0.send(Message::Bare(job)).await;
        sent.map_err(|_| StoreError::WriterGone)?;
        answered.await.map_err(|_| StoreError::WriterGone)?
    }

    /// Units of work that wait.
    pub(super) fn waiting(&self) -> usize {
        self.0.max_capacity() - self.0.capacity()
    }

    /// Finishes what is waiting and closes the connection.
    pub(super) async fn stop(&self) {
        let (done, stopped) = oneshot::channel();
        if self.0.send(Message::Stop(done)).await.is_ok() {
            _ = stopped.await;
        }
    }
}

/// Work as a job, and where its answer arrives.
fn job<T, W, F>(work: W) -> (Job, oneshot::Receiver<Result<T, StoreError>>)
where
    T: Send + 'static,
    W: FnOnce(Tx) -> F + Send + 'static,
    F: Future<Output = Result<T, StoreError>> + Send + 'static,
{
    let (answer, answered) = oneshot::channel();
    let job: Job = Box::new(move |tx| {
        Box::pin(async move {
            let result = match tx {
                Some(tx) => AssertUnwindSafe(work(tx)).catch_unwind().await,
                None => Ok(Err(StoreError::Commit("no transaction".to_owned()))),
            };
            let result = result.unwrap_or(Err(StoreError::Panicked));
            let keep = result.is_ok();
            let reply: Reply = Box::new(move |durable| {
                // A caller that went away has nobody to tell.
                _ = answer.send(match durable {
                    Ok(()) => result,
                    Err(error) => Err(StoreError::Commit(error)),
                });
            });
            (keep, reply)
        })
    });
    (job, answered)
}

/// The connection that writes. It is lent to one unit of work at a time, and comes back however that ends.
struct Lent(Arc<Mutex<SqliteConnection>>);

impl Lent {
    async fn lend(&self) -> Tx {
        Tx(Borrowed::Sqlite(Arc::clone(&self.0).lock_owned().await))
    }

    async fn run(&self, text: &'static str) -> Result<(), String> {
        let done = self.0.lock().await.execute(text).await;
        done.map(drop).map_err(|error| error.to_string())
    }

    async fn close(self) {
        if let Some(connection) = Arc::into_inner(self.0) {
            _ = connection.into_inner().close().await;
        }
    }
}

/// `commits`: how many units of work share each.
async fn work_off(connection: Lent, mut receiver: mpsc::Receiver<Message>, commits: Histogram) {
    let mut next = None;
    loop {
        let first = match next.take() {
            Some(message) => message,
            None => match receiver.recv().await {
                Some(message) => message,
                None => return,
            },
        };
        let (savepoint, job) = match first {
            Message::Work { savepoint, job } => (savepoint, job),
            Message::Bare(job) => {
                job(Some(connection.lend().await)).await.1(Ok(()));
                continue;
            }
            Message::Stop(done) => {
                connection.close().await;
                _ = done.send(());
                return;
            }
        };
        // Whoever is about to hand in work does so now, and shares the commit.
        tokio::task::yield_now().await;
        if let Err(error) = connection.run("BEGIN IMMEDIATE").await {
            refuse(job, error).await(Ok(()));
            continue;
        }
        let mut replies = vec![run_one(&connection, savepoint, job).await];
        let mut waited = false;
        while replies.len() < BATCH {
            match receiver.try_recv() {
                Ok(Message::Work { savepoint, job }) => {
                    replies.push(run_one(&connection, savepoint, job).await);
                    waited = false;
                }
                Ok(later) => {
                    next = Some(later);
                    break;
                }
                Err(_) if waited => break,
                Err(_) => {
                    waited = true;
                    tokio::task::yield_now().await;
                }
            }
        }
        let committed = connection.run("COMMIT").await;
        if committed.is_ok() {
            commits.observe(f64::from(u32::try_from(replies.len()).unwrap_or(u32::MAX)));
        } else {
            _ = connection.run("ROLLBACK").await;
        }
        for reply in replies {
            reply(committed.clone());
        }
    }
}

async fn run_one(connection: &Lent, savepoint: bool, job: Job) -> Reply {
    if !savepoint {
        return job(Some(connection.lend().await)).await.1;
    }
    if let Err(error) = connection.run("SAVEPOINT unit").await {
        return refuse(job, error).await;
    }
    let (keep, reply) = job(Some(connection.lend().await)).await;
    let ended = match keep {
        true => connection.run("RELEASE unit").await,
        false => connection.run("ROLLBACK TO unit; RELEASE unit").await,
    };
    match ended {
        Ok(()) => reply,
        Err(error) => Box::new(move |_| reply(Err(error))),
    }
}

/// The answer to a job that did not run.
async fn refuse(job: Job, error: String) -> Reply {
    let (_, reply) = job(None).await;
    Box::new(move |_| reply(Err(error)))
}
