//! The ledger: what was sent, before it is sent, and what came back. On another folder than the server's, and synced, so
//! that it outlives whatever happens to the server.

use std::{
    fs::{File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, Sender, channel},
};

use serde::Serialize;
use tokio::sync::oneshot;

use super::model::{Op, Outcome};

/// One line.
#[derive(Serialize)]
pub(crate) struct Line<'a> {
    /// Seconds since 1970.
    pub(crate) at: i64,
    pub(crate) kill: u32,
    pub(crate) by: &'a str,
    #[serde(flatten)]
    pub(crate) op: Op,
    /// Absent while it is only sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) outcome: Option<Outcome>,
}

pub(crate) struct Ledger {
    pub(crate) path: PathBuf,
    lines: Sender<(String, oneshot::Sender<()>)>,
}

impl Ledger {
    pub(crate) fn create(path: &Path) -> Self {
        let file = OpenOptions::new().create_new(true).append(true).open(path);
        let (lines, written) = channel();
        let file = file.unwrap();
        std::thread::spawn(move || keep(file, &written));
        Self {
            path: path.to_owned(),
            lines,
        }
    }

    /// The line is on the disk, with all before it, when the receiver says so.
    pub(crate) fn append(&self, line: &Line<'_>) -> oneshot::Receiver<()> {
        let (done, kept) = oneshot::channel();
        let mut text = serde_json::to_string(line).unwrap();
        text.push('\n');
        self.lines.send((text, done)).unwrap();
        kept
    }

    /// The lines with one of these names.
    pub(crate) fn about(&self, names: &[String]) -> Vec<String> {
        let text = std::fs::read_to_string(&self.path).unwrap_or_default();
        let is_about = |line: &&str| names.iter().any(|name| line.contains(name.as_str()));
        text.lines().filter(is_about).map(str::to_owned).collect()
    }
}

/// Writes what waits, and syncs once for all of it.
fn keep(mut file: File, lines: &Receiver<(String, oneshot::Sender<()>)>) {
    while let Ok(first) = lines.recv() {
        let batch: Vec<_> = std::iter::once(first).chain(lines.try_iter()).collect();
        let text: String = batch.iter().map(|(line, _)| line.as_str()).collect();
        file.write_all(text.as_bytes()).unwrap();
        file.sync_data().unwrap();
        for (_, done) in batch {
            // Who sends an answer does not wait for it.
            _ = done.send(());
        }
    }
}
