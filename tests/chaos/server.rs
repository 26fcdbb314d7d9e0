//! The real server, as a child: started on the same port and the same database again and again.

use std::{
    fs::OpenOptions,
    io::Write,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use super::http::Http;

pub(crate) const PASSWORD: &str = "correct horse battery";

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    folder: PathBuf,
    settings: Vec<(String, String)>,
    child: Option<Child>,
}

impl Server {
    /// Not yet started. Its log is in `folder`.
    pub(crate) fn new(folder: &Path, settings: &[(&str, String)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let settings = settings.iter().cloned().chain([
            ("WAYLEAVE_ISSUER", format!("http://{address}")),
            ("WAYLEAVE_SERVER__LISTEN", address.to_string()),
        ]);
        Self {
            address,
            folder: folder.to_owned(),
            settings: settings
                .map(|(key, value)| (key.to_owned(), value))
                .collect(),
            child: None,
        }
    }

    fn command(&self) -> Command {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.folder.join("server.log"))
            .unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_wayleave"));
        command
            .current_dir(&self.folder)
            .env_clear()
            .envs(self.settings.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        command
    }

    pub(crate) fn add_account(&self, name: &str) {
        let mut command = self.command();
        command.args(["user", "add", name, "--password-stdin"]);
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        writeln!(stdin, "{PASSWORD}").unwrap();
        drop(stdin);
        assert!(
            child.wait().unwrap().success(),
            "the account {name} is made"
        );
    }

    /// Starts it and waits until it is ready: how long that took.
    pub(crate) async fn start(&mut self) -> Result<Duration, String> {
        let started = Instant::now();
        self.child = Some(self.command().arg("serve").spawn().unwrap());
        while started.elapsed() < Duration::from_secs(30) {
            let answer = Http::new(self.address).get("/readyz").await;
            if answer.is_ok_and(|page| page.status == 200) {
                return Ok(started.elapsed());
            }
            let ended = self.child.as_mut().unwrap().try_wait().unwrap();
            if let Some(status) = ended {
                return Err(format!(
                    "the server ended with {status} instead of being ready"
                ));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Err("the server was not ready within 30 seconds".to_owned())
    }

    /// Of the process that runs.
    pub(crate) fn id(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            _ = child.kill();
            _ = child.wait();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
