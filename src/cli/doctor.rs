//! `wayleave doctor`: has the installation what it needs? What was found, and what to do about it. It changes nothing.

mod clients;
mod clock;
mod configuration;
mod database;
mod files;
mod keys;
mod outbound;
mod server;

use std::path::Path;

use anyhow::bail;
use clap::Args;
use serde::Serialize;

use super::{
    in_words,
    output::{self, Ink, Paint, plain},
};
use crate::{
    config::{Config, Environment},
    time::Clock,
    words::counted,
};

/// What `--help` says besides.
const MORE: &str = "\
It looks at the configuration and the files that hold secrets, at the database (its schema, whether it keeps what it \
promises, whether it can be written), at the clock, the signing keys, the registered clients that need no PKCE, the name \
servers and the certificate authorities, and asks the running server at its issuer URL, as its clients do. It migrates, \
makes and repairs nothing. Run it as the user that the server runs as, with the same configuration and environment.

The only questions to anybody else are one to the name servers, for example.com, and with --client those for that \
client's document.

It does not look at free disk space, and it cannot see from here whether a proxy passes X-Forwarded-For: that line says \
where to look.

One line for each check: ok, warning or failed, what was found, and after an arrow what to do. With --json an array of \
{ \"check\", \"status\", \"found\", \"advice\" }. Exit codes: 0 nothing failed, 1 something did, 2 the configuration \
cannot be used at all.";

#[derive(Debug, Args)]
#[command(after_long_help = MORE)]
pub(super) struct Options {
    /// Read the document of this client, too, as the server would: says which step fails.
    #[arg(long, value_name = "URL")]
    client: Option<String>,
}

/// How a check ended.
#[derive(Clone, Copy, Debug, Serialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "lowercase")]
enum Status {
    Ok,
    Warning,
    Failed,
}

impl Status {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
        }
    }
}

/// What a check found. Its texts steer no terminal, wherever they came from.
#[derive(Debug, Serialize)]
struct Finding {
    check: &'static str,
    status: Status,
    found: String,
    advice: Option<String>,
}

impl Finding {
    fn new(check: &'static str, status: Status, found: &str, advice: Option<&str>) -> Self {
        let one_line = |text: &str| in_words(&plain(text).replace('\n', " "));
        Self {
            check,
            status,
            found: one_line(found),
            advice: advice.map(one_line),
        }
    }

    fn ok(check: &'static str, found: impl AsRef<str>) -> Self {
        Self::new(check, Status::Ok, found.as_ref(), None)
    }

    fn warning(check: &'static str, found: impl AsRef<str>, advice: impl AsRef<str>) -> Self {
        let advice = Some(advice.as_ref());
        Self::new(check, Status::Warning, found.as_ref(), advice)
    }

    fn failed(check: &'static str, found: impl AsRef<str>, advice: impl AsRef<str>) -> Self {
        let advice = Some(advice.as_ref());
        Self::new(check, Status::Failed, found.as_ref(), advice)
    }

    fn in_text(&self, paint: Paint) -> String {
        let ink = match self.status {
            Status::Ok => Ink::Good,
            Status::Warning => Ink::Doubtful,
            Status::Failed => Ink::Bad,
        };
        let status = paint.with(ink, &format!("{:<8}", self.status.as_str()));
        let mut text = format!("{status} {:<24} {}", self.check, self.found);
        if let Some(advice) = &self.advice {
            text.push_str(&format!("\n{:34}→ {advice}", ""));
        }
        text
    }
}

/// Runs every check, whatever becomes of the others.
pub(super) async fn run(
    options: &Options,
    config: &Config,
    file: Option<&Path>,
    as_json: bool,
) -> anyhow::Result<()> {
    let clock = Clock::system();
    let mut findings = configuration::check(config);
    findings.push(files::check(config, file, &Environment::of_process()));
    let (of_database, store) = database::check(config).await;
    findings.extend(of_database);
    if let Some(store) = &store {
        findings.extend(clock::check(store, &clock).await);
        findings.extend(keys::check(config, store, &clock).await);
        findings.push(clients::check(config, store).await);
        store.close().await;
    }
    findings.extend(outbound::check(config, options.client.as_deref(), &clock).await);
    findings.extend(server::check(config, &clock).await);

    if as_json {
        output::json(&findings)?;
    } else {
        let paint = Paint::of_stdout();
        for finding in &findings {
            say!("{}", finding.in_text(paint));
        }
        say!("{}", summary(&findings));
    }
    let failed = findings.iter().filter(|it| it.status == Status::Failed);
    match i64::try_from(failed.count()).unwrap_or(i64::MAX) {
        0 => Ok(()),
        failed => bail!("{} failed", counted(failed, "check")),
    }
}

/// How many checks ended how.
fn summary(findings: &[Finding]) -> String {
    let of = |status| findings.iter().filter(|it| it.status == status).count();
    let checks = i64::try_from(findings.len()).unwrap_or(i64::MAX);
    let [ok, warning, failed] = [Status::Ok, Status::Warning, Status::Failed].map(of);
    format!(
        "{}: {ok} ok, {warning} warning, {failed} failed",
        counted(checks, "check")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_one_line_that_steers_no_terminal() {
        let hostile = "a\u{1b}]0;x\u{7}\r\nfailed  b\u{202e}\u{9b}c";
        let finding = Finding::failed("dns", hostile, hostile);
        let expected = "a\\u{1b}]0;x\\u{7} failed  b\\u{202e}\\u{9b}c";
        assert_eq!(finding.found, expected);
        assert_eq!(finding.advice.as_deref(), Some(expected));
        assert_eq!(finding.in_text(Paint::of_stdout()).lines().count(), 2);
    }

    #[test]
    fn a_finding_reads_as_json_has_it() {
        let json = serde_json::to_value(Finding::ok("dns", "x")).unwrap();
        let expected =
            serde_json::json!({ "check": "dns", "status": "ok", "found": "x", "advice": null });
        assert_eq!(json, expected);
    }
}
