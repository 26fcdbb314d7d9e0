//! README and `docs/**`: what they say to type is typed, what they configure is checked, what they show of a file is in it, and
//! what they link to is there. README, "Developing", says how a block is marked that cannot be run here.

use std::{
    collections::BTreeSet,
    fs,
    io::Write,
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    process::{Running, free_port, run, wayleave},
    support::{
        ClientSite, Database, Kind,
        app::{NOTES, PASSWORD, challenge},
        chromium::Chromium,
        dns::{NameServer, Saying},
        on_both,
    },
};

/// One page, one test for each database.
macro_rules! pages {
    ($($name:ident $path:literal)+) => {
        const PAGES: &[&str] = &[$($path),+];

        on_both! {
            $(async fn $name(database) {
                let typed = Typed::new($path, &database);
                typed.check(&database).await;
            })+
        }
    };
}

pages! {
    readme "README.md"
    index "docs/README.md"
    getting_started "docs/getting-started.md"
    architecture "docs/architecture.md"
    clients "docs/clients.md"
    resource_servers "docs/resource-servers.md"
    administrators "docs/administrators.md"
    operations "docs/operations.md"
    commands "docs/reference/commands.md"
    configuration "docs/reference/configuration.md"
    apps "docs/apps/README.md"
    auth_js "docs/apps/auth-js.md"
    express "docs/apps/express.md"
    mcp "docs/apps/mcp.md"
    miniflux "docs/apps/miniflux.md"
    nextcloud "docs/apps/nextcloud.md"
    oauth2_proxy "docs/apps/oauth2-proxy.md"
    spring "docs/apps/spring.md"
}

/// In these a block without a language is output, or a file of another program; elsewhere every block says what it is.
const OLDER: [&str; 1] = ["docs/architecture.md"];

/// What the visible line above a block says of it.
const NOT_RUN: &str = "*Not run by the tests: ";
const OWN_TERMINAL: &str = "n a terminal of its own";
/// What a page tells its reader to configure.
const CONFIGURATION: &str = "`wayleave.toml`";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(page: &str) -> String {
    fs::read_to_string(root().join(page)).unwrap_or_else(|error| panic!("{page}: {error}"))
}

/// What stands between two fences.
struct Block {
    /// Page and line, for messages.
    place: String,
    language: String,
    text: String,
    /// The paragraph above it.
    above: String,
}

impl Block {
    /// Why it is not run, if it says so.
    fn excuse(&self) -> Option<&str> {
        let (_, reason) = self.above.split_once(NOT_RUN)?;
        let reason = reason.trim_end().strip_suffix(".*");
        let reason = reason
            .unwrap_or_else(|| panic!("{}: a reason ends with a stop and a star", self.place));
        assert!(
            reason.split(' ').count() > 2,
            "{}: which reason?",
            self.place
        );
        Some(reason)
    }
}

fn blocks(page: &str) -> Vec<Block> {
    let text = read(page);
    let (mut blocks, mut above) = (Vec::new(), String::new());
    let mut lines = text.lines().enumerate();
    let mut ended = false;
    while let Some((number, line)) = lines.next() {
        let indent = line.len() - line.trim_start().len();
        let Some(language) = line.trim_start().strip_prefix("```") else {
            if line.trim().is_empty() {
                ended = true;
            } else {
                if ended {
                    above.clear();
                    ended = false;
                }
                above += line.trim();
                above.push('\n');
            }
            continue;
        };
        let within = lines
            .by_ref()
            .map(|(_, line)| line)
            .take_while(|line| line.trim() != "```");
        let within: Vec<_> = within
            .map(|line| line.get(indent..).unwrap_or_default())
            .collect();
        blocks.push(Block {
            place: format!("{page}:{}", number + 1),
            language: language.to_owned(),
            text: within.join("\n"),
            above: std::mem::take(&mut above),
        });
    }
    blocks
}

/// A page whose commands were typed, one block after the other, in a folder of their own beside a running server.
struct Typed {
    page: &'static str,
    folder: tempfile::TempDir,
    /// Where an app of the page listens.
    port: u16,
    metrics: String,
    server: Option<Running>,
    terminals: Vec<Child>,
}

impl Drop for Typed {
    fn drop(&mut self) {
        for terminal in &mut self.terminals {
            _ = terminal.kill();
            _ = terminal.wait();
        }
    }
}

impl Typed {
    fn new(page: &'static str, database: &Database) -> Self {
        let metrics = format!("127.0.0.1:{}", free_port());
        let folder = tempfile::tempdir().unwrap();
        // A page speaks from the folder of a clone.
        std::os::unix::fs::symlink(root().join("examples"), folder.path().join("examples"))
            .unwrap();
        let mut typed = Self {
            page,
            folder,
            port: free_port(),
            metrics,
            server: None,
            terminals: Vec::new(),
        };
        let mut blocks = blocks(page);
        blocks.retain(|block| block.excuse().is_none());
        let is_command = |block: &&Block| block.language == "sh";
        let mut commands = blocks.iter().filter(is_command).peekable();
        // A page that does not start the server speaks of one that runs.
        if commands.peek().is_some() && !commands.any(|block| starts_server(&block.text)) {
            typed.start(database, false);
        }
        let mut has_account = false;
        for block in &blocks {
            has_account |= block.text.contains("wayleave user add");
            if block.language == "toml" && block.above.contains(CONFIGURATION) {
                typed.configure(block);
            } else if !is_command(&block) {
                continue;
            } else if starts_server(&block.text) {
                typed.start(database, has_account);
            } else {
                typed.type_block(block, database);
            }
        }
        typed
    }

    /// Into its file, after what is there.
    fn configure(&self, block: &Block) {
        let mut file = fs::OpenOptions::new();
        let file = file
            .create(true)
            .append(true)
            .open(self.folder.path().join("wayleave.toml"));
        writeln!(
            file.unwrap(),
            "{}",
            with_files(&block.text, self.folder.path())
        )
        .unwrap();
    }

    fn start(&mut self, database: &Database, has_account: bool) {
        let lines = if has_account { 1 } else { 3 };
        let mut command = wayleave(self.folder.path());
        command
            .env("WAYLEAVE_DATABASE__URL", &database.url)
            .env("WAYLEAVE_METRICS__LISTEN", &self.metrics);
        self.server = Some(Running::start(command, lines));
    }

    fn type_block(&mut self, block: &Block, database: &Database) {
        let text = block
            .text
            .replace("localhost:3000", &format!("localhost:{}", self.port));
        let text = match &self.server {
            Some(server) => text.replace("127.0.0.1:8080", &server.address.to_string()),
            None => text,
        };
        let goes_on = block.above.contains(OWN_TERMINAL);
        // What goes on is one command, whose process the test ends.
        let text = if goes_on {
            format!("exec {text}")
        } else {
            text
        };
        let mut command = Command::new("bash");
        command.args(["-euo", "pipefail", "-c", &text]);
        self.prepare(&mut command, database);
        if !goes_on {
            let output = run(command, None);
            let [said, wrong] = [&output.stdout, &output.stderr]
                .map(|bytes| String::from_utf8_lossy(bytes).into_owned());
            assert!(
                output.status.success(),
                "{}\n{}\n{said}{wrong}",
                block.place,
                block.text
            );
            return;
        }
        let Some(node) = node() else { return };
        command.env(
            "PATH",
            format!("{}:{}", node.parent().unwrap().display(), path()),
        );
        self.terminals.push(
            command
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .spawn()
                .unwrap(),
        );
        let terminal = self.terminals.last_mut().unwrap();
        while TcpStream::connect(("localhost", self.port)).is_err() {
            assert!(
                terminal.try_wait().unwrap().is_none(),
                "{} ended",
                block.place
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn prepare(&self, command: &mut Command, database: &Database) {
        command.current_dir(self.folder.path()).env_clear();
        command
            .env("PATH", path())
            .env("PORT", self.port.to_string())
            .env("METRICS", format!("http://{}", self.metrics))
            .env("WAYLEAVE_METRICS__LISTEN", &self.metrics)
            .env("WAYLEAVE_DATABASE__URL", &database.url);
        match database.kind {
            Kind::Sqlite => {
                command.env("SQLITE_FILE", database.url.strip_prefix("sqlite:").unwrap())
            }
            Kind::Postgres => command.env("DATABASE_URL", &database.url),
        };
        if let Some(server) = &self.server {
            let issuer = format!("http://{}", server.address);
            command
                .env("ISSUER", &issuer)
                .env("WAYLEAVE_ISSUER", &issuer)
                .env("WAYLEAVE_SERVER__LISTEN", server.address.to_string());
        }
    }

    /// What the page promises of its commands.
    async fn check(&self, database: &Database) {
        if self.page == "docs/operations.md" {
            let backup = match database.kind {
                Kind::Sqlite => "wayleave-backup.db",
                Kind::Postgres => "wayleave-backup.dump",
            };
            let written = fs::metadata(self.folder.path().join(backup)).unwrap().len();
            assert!(written > 10_000, "{written}");
        }
        // An app runs in a terminal of its own: a person signs in to it.
        if !self.terminals.is_empty() && database.kind == Kind::Sqlite {
            sign_in(self.port).await;
        }
    }
}

/// A configuration whose files of a machine are in this folder: there is one, the encryption key.
fn with_files(text: &str, folder: &Path) -> String {
    fs::write(
        folder.join("encryption_key"),
        "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n",
    )
    .unwrap();
    text.replace("/etc/wayleave/", &format!("{}/", folder.display()))
}

fn starts_server(text: &str) -> bool {
    ["wayleave serve", "cargo run --release -- serve"].contains(&text.trim())
}

fn path() -> String {
    let programs = Path::new(env!("CARGO_BIN_EXE_wayleave")).parent().unwrap();
    format!("{}:/usr/local/bin:/usr/bin:/bin", programs.display())
}

/// `None` when this run has no Node, which `tests/run` reports; in CI that is a failure.
fn node() -> Option<PathBuf> {
    #[expect(
        clippy::disallowed_methods,
        reason = "the test run says where its Node is"
    )]
    let node = std::env::var_os("WAYLEAVE_TEST_NODE");
    #[expect(clippy::disallowed_methods, reason = "in CI nothing may be left out")]
    let ci = std::env::var_os("CI").is_some();
    assert!(node.is_some() || !ci, "WAYLEAVE_TEST_NODE is not set");
    node.map(PathBuf::from)
}

/// Signs Ada in to the app at this port, with the password that the pages give her.
async fn sign_in(port: u16) {
    let Some(browser) = Chromium::start().await else {
        return;
    };
    browser.open(&format!("http://localhost:{port}/")).await;
    browser.fill("username", "ada").await;
    browser.fill("password", "correct horse battery").await;
    browser.click("form [type=submit]").await;
    browser.click("button[value=allow]").await;
    browser.shows("body", "You are signed in.").await;
    browser.shows("body", "\"name\": \"Ada Lovelace\"").await;
    browser.driver.clone().quit().await.unwrap();
}

#[test]
fn every_page_is_in_the_list() {
    let mut found = BTreeSet::from(["README.md".to_owned()]);
    let mut folders = vec![root().join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                found.insert(path.strip_prefix(root()).unwrap().display().to_string());
            }
        }
    }
    let listed: BTreeSet<_> = PAGES.iter().map(|page| (*page).to_owned()).collect();
    assert_eq!(
        found, listed,
        "a page belongs into the list in tests/it/documents.rs"
    );
}

#[test]
fn every_block_is_run_or_checked_or_says_why_not() {
    let mut out = std::io::stderr();
    for page in PAGES {
        for block in blocks(page) {
            if let Some(reason) = block.excuse() {
                _ = writeln!(out, "  {} is not run: {reason}", block.place);
                continue;
            }
            match block.language.as_str() {
                "sh" | "toml" | "text" => {}
                "" if OLDER.contains(page) => {}
                "json" => assert!(is_json(&block.text), "{} is no JSON", block.place),
                "java" | "properties" | "js" | "python" | "ini" => {
                    if !OLDER.contains(page) {
                        is_in_its_file(page, &block);
                    }
                }
                // Another test types it where the page speaks of more than one moment.
                other if other.strip_prefix("sh ").is_some_and(is_typed_by_name) => {}
                other => panic!("{}: nothing is known of blocks of {other:?}", block.place),
            }
        }
    }
}

/// Is a block of this name typed in `operations.rs`?
fn is_typed_by_name(name: &str) -> bool {
    include_str!("operations.rs").contains(&format!("\"{name}\""))
}

/// A document, or members of one; `…` marks what was cut.
fn is_json(text: &str) -> bool {
    let is = |text: &str| serde_json::from_str::<Value>(text).is_ok();
    is(text) || is(&format!("{{{text}}}"))
}

/// The paragraph above links the file; each line stands in it, after the one before. `…` says that some are left out.
fn is_in_its_file(page: &str, block: &Block) {
    let file = block
        .above
        .rsplit("](")
        .next()
        .and_then(|rest| rest.split_once(')'));
    let (file, _) = file.unwrap_or_else(|| panic!("{}: of which file? Link it above", block.place));
    let file = root().join(page).parent().unwrap().join(file);
    let text = fs::read_to_string(&file)
        .unwrap_or_else(|error| panic!("{}: {}: {error}", block.place, file.display()));
    let mut lines = text.lines().map(str::trim);
    let mut gap = true;
    for line in block
        .text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
    {
        if line.contains('…') {
            gap = true;
            continue;
        }
        let mut rest = lines.by_ref().filter(|known| !known.is_empty());
        let found = if gap {
            rest.any(|known| known == line)
        } else {
            rest.next() == Some(line)
        };
        assert!(
            found,
            "{}: {} has no line {line:?} here",
            block.place,
            file.display()
        );
        gap = false;
    }
}

#[test]
fn every_configuration_that_a_page_shows_can_be_used() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    for page in PAGES {
        for block in blocks(page) {
            if block.language != "toml" || block.excuse().is_some() {
                continue;
            }
            fs::write(at.join("wayleave.toml"), with_files(&block.text, at)).unwrap();
            let mut command = wayleave(at);
            command.args(["config", "check"]);
            let output = run(command, None);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(
                output.status.success(),
                "{}\n{}\n{said}",
                block.place,
                block.text
            );
        }
    }
}

#[test]
fn every_link_leads_somewhere() {
    for page in PAGES {
        let text = without_blocks(&read(page));
        let here = anchors(&text);
        for link in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split_once(')'))
            .map(|(link, _)| link)
        {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let there = root().join(page).parent().unwrap().join(file);
            assert!(
                file.is_empty() || there.exists(),
                "{page}: there is no {file}"
            );
            let known = match file {
                "" => here.clone(),
                _ if file.ends_with(".md") => {
                    anchors(&without_blocks(&fs::read_to_string(&there).unwrap()))
                }
                _ => BTreeSet::new(),
            };
            assert!(
                anchor.is_empty() || known.contains(anchor),
                "{page}: there is no {link}"
            );
        }
        // A page with parts begins with a list of them.
        let parts: Vec<_> = text
            .lines()
            .filter_map(|line| line.strip_prefix("## "))
            .map(anchor)
            .collect();
        if !OLDER.contains(page) && parts.len() > 2 {
            for part in parts {
                assert!(
                    text.contains(&format!("](#{part})")),
                    "{page}: its contents have no {part}"
                );
            }
        }
    }
}

fn without_blocks(text: &str) -> String {
    let mut inside = false;
    let outside = text.lines().filter(|line| {
        let fence = line.trim_start().starts_with("```");
        inside ^= fence;
        !inside && !fence
    });
    outside.collect::<Vec<_>>().join("\n")
}

/// As GitHub makes them of headings.
fn anchors(text: &str) -> BTreeSet<String> {
    text.lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| anchor(line.trim_start_matches('#').trim()))
        .collect()
}

fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase();
    let kept = kept
        .chars()
        .filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn pictures_are_small_and_used() {
    let pages: String = PAGES.iter().map(|page| read(page)).collect();
    for entry in fs::read_dir(root().join("docs/images")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let size = fs::metadata(&path).unwrap().len();
        assert!(
            name.ends_with(".png") && size < 60 * 1024,
            "{name}: {size} bytes"
        );
        assert!(
            pages.contains(&format!("images/{name})")),
            "no page shows {name}"
        );
    }
}

/// Takes the pictures of README into target/screens. When pages have changed, look at them, and copy them to docs/images:
/// `cp target/screens/readme-*.png docs/images/`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pictures_of_readme_can_be_taken_anew() {
    let Some(browser) = Chromium::start().await else {
        return;
    };
    let (site, names) = (ClientSite::start().await, NameServer::start().await);
    for name in ["app.example.com", "other.example.net"] {
        names.say(name, Saying::addresses(&["127.0.0.1"]));
    }
    let redirect = site.url("/callback");
    let client = site.publish(
        "/client.json",
        json!({ "client_name": "Notebook", "redirect_uris": [redirect] }),
    );
    let gone = format!("https://other.example.net:{}/client.json", site.port);

    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("ca.pem"), &site.ca_pem).unwrap();
    let mut command = wayleave(folder.path());
    command
        .env("WAYLEAVE_FETCH__EXTRA_CA_FILE", "ca.pem")
        .env(
            "WAYLEAVE_FETCH__NAMESERVERS",
            format!("['{}']", names.address),
        )
        .env("WAYLEAVE_FETCH__ALLOW_NETWORKS", "['127.0.0.1/32']")
        .env("WAYLEAVE_RESOURCES", NOTES);
    let server = Running::start(command, 3);
    let origin = format!("http://{}", server.address);
    browser.open(server.lines[2].trim()).await;
    browser.fill("username", "ada").await;
    browser.fill("password", PASSWORD).await;
    browser.fill("password_again", PASSWORD).await;
    browser.click("form [type=submit]").await;
    browser.shows("h1", "You are signed in").await;
    browser.picture("readme-home", (560, 480)).await;

    for client_id in [&gone, &client] {
        let query = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs([
                ("response_type", "code"),
                ("client_id", client_id),
                ("redirect_uri", &redirect),
                ("scope", "notes.read notes.write"),
                ("resource", "https://notes.example.com/mcp"),
                ("code_challenge", &challenge("x")),
                ("code_challenge_method", "S256"),
            ])
            .finish();
        browser.open(&format!("{origin}/authorize?{query}")).await;
    }
    browser.shows("main", "Notebook").await;
    browser.picture("readme-consent", (560, 850)).await;
    browser.open(&format!("{origin}/admin/clients")).await;
    browser.shows("main", "other.example.net").await;
    browser.picture("readme-admin", (560, 800)).await;
    browser.driver.clone().quit().await.unwrap();
}
