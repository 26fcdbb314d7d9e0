//! `wayleave explain`: what every rule makes of a client_id.

use anyhow::bail;

use super::{client::plain, context::AdminContext};
use crate::{
    clients::{Report, Verdict},
    config::Config,
};

/// Runs `wayleave explain URL`. Says no (exit 1) when a rule refuses.
pub(super) async fn run(url: &str, config: &Config, as_json: bool) -> anyhow::Result<()> {
    let context = AdminContext::open(config, as_json).await?;
    let report = context.clients.explain(url).await;
    context.store.close().await;
    if as_json {
        say!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        say!("{}", in_text(&report).trim_end());
    }
    match report.refused_by() {
        Some(line) => bail!("{} refuses it", line.rule),
        None => Ok(()),
    }
}

/// A report as a person reads it.
fn in_text(report: &Report) -> String {
    use std::fmt::Write;
    let mut text = format!("{}\n", plain(&report.client_id));
    for line in &report.rules {
        let mark = match line.verdict {
            Verdict::Pass => "pass       ",
            Verdict::Fail => "FAIL       ",
            Verdict::NotReached => "not reached",
        };
        _ = writeln!(text, "  {mark}  {}", line.rule);
        if let Some(problem) = &line.problem {
            _ = writeln!(text, "               {}", plain(problem));
        }
        if let Some(advice) = line.advice {
            _ = writeln!(text, "               → {advice}");
        }
    }
    for (label, value) in report.facts() {
        _ = writeln!(text, "  {label:<14} {}", plain(&value));
    }
    if let Some(policy) = &report.policy {
        _ = writeln!(
            text,
            "  {:<14} {}: {policy}",
            "Policy",
            report.tier.unwrap_or_default()
        );
    }
    for note in &report.notes {
        _ = writeln!(text, "  {:<14} {}", "Note", plain(note));
    }
    let verdict = match report.refused_by() {
        None => "This server accepts the client.".to_owned(),
        Some(line) => format!("This server refuses the client: {}", line.rule),
    };
    _ = writeln!(text, "{verdict}");
    text
}
