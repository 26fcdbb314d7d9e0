//! The server under test: a child of ours, with a database and a folder of its own.

use std::{
    fs::OpenOptions,
    io::Write,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use super::{
    database::{Database, Kind},
    http::Http,
    people::PASSWORD,
    sites::Sites,
};

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    database: Database,
    child: Child,
}

impl Drop for Server {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

impl Server {
    /// Ready, with accounts `user0` … `user7`, and clients on this machine.
    pub(crate) async fn start(
        program: &Path,
        database: Database,
        sites: &Sites,
        more: &[(&str, &str)],
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let ca = database.path("ca.pem");
        std::fs::write(&ca, &sites.ca_pem).unwrap();
        let mut settings = vec![
            ("WAYLEAVE_DATABASE__URL".to_owned(), database.url.clone()),
            ("WAYLEAVE_ISSUER".to_owned(), format!("http://{address}")),
            ("WAYLEAVE_SERVER__LISTEN".to_owned(), address.to_string()),
            (
                "WAYLEAVE_FETCH__EXTRA_CA_FILE".to_owned(),
                ca.display().to_string(),
            ),
            (
                "WAYLEAVE_FETCH__NAMESERVERS".to_owned(),
                format!("['{}']", sites.names.address),
            ),
            (
                "WAYLEAVE_DANGER__ALLOW_LOOPBACK_CLIENTS".to_owned(),
                "true".to_owned(),
            ),
        ];
        settings.extend(
            more.iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned())),
        );
        let command = |arguments: &[&str]| {
            let mut command = pinned(program);
            let log = OpenOptions::new()
                .create(true)
                .append(true)
                .open(database.path("log"));
            command
                .args(arguments)
                .current_dir(database.folder.path())
                .env_clear()
                .envs(settings.iter().map(|(key, value)| (key, value)))
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(log.unwrap());
            command
        };
        for number in 0..8 {
            let name = format!("user{number}");
            let mut child = command(&["user", "add", &name, "--password-stdin"])
                .spawn()
                .unwrap();
            writeln!(child.stdin.take().unwrap(), "{PASSWORD}").unwrap();
            assert!(
                child.wait().unwrap().success(),
                "the account {name} is made"
            );
        }
        let child = command(&["serve"]).spawn().unwrap();
        let server = Self {
            address,
            database,
            child,
        };
        server.ready().await;
        server
    }

    async fn ready(&self) {
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(120) {
            let answer = Http::new(self.address, Ipv4Addr::LOCALHOST)
                .get("/readyz")
                .await;
            if answer.is_ok_and(|page| page.status == 200) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let log = std::fs::read_to_string(self.log()).unwrap_or_default();
        panic!("the server is not ready: {log}");
    }

    fn log(&self) -> PathBuf {
        self.database.path("log")
    }

    /// Bytes that it logged so far.
    pub(crate) fn logged(&self) -> u64 {
        size(&self.log())
    }

    /// KiB of memory that it has.
    pub(crate) fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().next());
        number
            .and_then(|number| number.parse().ok())
            .unwrap_or_default()
    }

    /// What a question of one number is answered in its database.
    pub(crate) async fn number(&self, question: &'static str) -> i64 {
        let url = &self.database.url;
        match self.database.kind {
            Kind::Sqlite => {
                let pool = sqlx::SqlitePool::connect(url).await.unwrap();
                sqlx::query_scalar(question).fetch_one(&pool).await.unwrap()
            }
            Kind::Postgres => {
                let pool = sqlx::PgPool::connect(url).await.unwrap();
                sqlx::query_scalar(question).fetch_one(&pool).await.unwrap()
            }
        }
    }

    /// Bytes that pushed requests take: of the whole file on SQLite, which holds little else.
    pub(crate) async fn pushed_bytes(&self) -> u64 {
        match self.database.kind {
            Kind::Sqlite => {
                let files = ["w.db", "w.db-wal"].map(|name| self.database.path(name));
                files.iter().map(|file| size(file)).sum()
            }
            Kind::Postgres => {
                let question = "SELECT pg_total_relation_size('pushed_requests')";
                u64::try_from(self.number(question).await).unwrap_or_default()
            }
        }
    }
}

fn size(file: &Path) -> u64 {
    std::fs::metadata(file).map_or(0, |file| file.len())
}

/// The program on the second core, where there is one: we have the first.
fn pinned(program: &Path) -> Command {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let is_there = Command::new("taskset")
        .arg("-V")
        .stdout(Stdio::null())
        .status();
    // We are on one core ourselves where the script has put us there: what is to be known is how many the machine has.
    let of_the_machine = std::fs::read_to_string("/proc/cpuinfo")
        .map_or(cores, |text| text.matches("processor\t").count());
    if of_the_machine < 2 || !is_there.is_ok_and(|status| status.success()) {
        return Command::new(program);
    }
    let mut command = Command::new("taskset");
    command.args(["-c", "1"]).arg(program);
    command
}
