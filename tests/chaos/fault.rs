//! What is done to the server. Another fault is another variant: it strikes, and leaves the server stopped or running;
//! the controller waits until it is ready, and what holds after a kill holds after every fault.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use super::{player::Run, server::Server};

#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// `kill -9`.
    Kill,
    /// `kill -9`, and the files of the database are again as they were: commits are lost. No server can stand that; the
    /// checker has to see it.
    LostCommits { copy: PathBuf, database: PathBuf },
}

impl Fault {
    /// Strikes after so long, from a thread of its own: at whatever moment the server is in.
    pub(crate) async fn strike(
        &self,
        after: Duration,
        run: &Arc<Run>,
        mut server: Server,
    ) -> Server {
        let (run, fault) = (Arc::clone(run), self.clone());
        let striking = tokio::task::spawn_blocking(move || {
            std::thread::sleep(after);
            run.is_down.store(true, Ordering::SeqCst);
            server.kill();
            if let Self::LostCommits { copy, database } = fault {
                copy_files(&copy, &database);
            }
            server
        });
        striking.await.unwrap()
    }
}

/// Copies a SQLite database with its log, while nobody has it open.
pub(crate) fn copy_files(from: &Path, to: &Path) {
    for ending in ["", "-wal", "-shm"] {
        let path = |path: &Path| PathBuf::from(format!("{}{ending}", path.display()));
        _ = std::fs::remove_file(path(to));
        if path(from).exists() {
            std::fs::copy(path(from), path(to)).unwrap();
        }
    }
}
