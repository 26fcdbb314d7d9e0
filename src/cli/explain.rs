//! `wayleave explain`: what every rule makes of a client_id.

use anyhow::bail;

use super::{
    context::AdminContext,
    output::{self, Ink, Paint, plain},
    whose::no_such_name,
};
use crate::{
    clients::{Report, Verdict},
    config::Config,
    protocol::client_id::ClientId,
    words::counted,
};

/// Runs `wayleave explain CLIENT_ID`. Says no (exit 1) when a rule refuses.
pub(super) async fn run(client_id: &str, config: &Config, as_json: bool) -> anyhow::Result<()> {
    let context = AdminContext::open(config, as_json).await?;
    let explained = explain(&context, client_id).await;
    context.store.close().await;
    let report = explained?;
    if as_json {
        output::json(&report)?;
    } else {
        say!("{}", in_text(&report, Paint::of_stdout()).trim_end());
    }
    match report.refused_by() {
        Some(line) => bail!("{} refuses it", line.rule),
        None => Ok(()),
    }
}

async fn explain(context: &AdminContext<'_>, text: &str) -> anyhow::Result<Report> {
    match text.parse() {
        Ok(id @ ClientId::Name(_)) if context.clients.rules().registered(&id).is_none() => {
            Err(no_such_name(&id).into())
        }
        _ => Ok(context.clients.explain(text).await),
    }
}

/// A report as a person reads it.
fn in_text(report: &Report, paint: Paint) -> String {
    use std::fmt::Write;
    let mut text = format!("{}\n", plain(&report.client_id));
    for line in &report.rules {
        let (ink, mark) = match line.verdict {
            Verdict::Pass => (Ink::Good, "pass       "),
            Verdict::Fail => (Ink::Bad, "FAIL       "),
            Verdict::NotReached => (Ink::Faint, "not reached"),
        };
        _ = writeln!(text, "  {}  {}", paint.with(ink, mark), line.rule);
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
    let (ink, verdict) = match report.refused_by() {
        None => (Ink::Good, "This server accepts the client.".to_owned()),
        Some(line) => (
            Ink::Bad,
            format!("This server refuses the client: {}", line.rule),
        ),
    };
    _ = writeln!(text, "{}", summary(report));
    _ = writeln!(text, "{}", paint.with(ink, &verdict));
    text
}

/// How many rules say what.
fn summary(report: &Report) -> String {
    let of = |verdict| {
        report
            .rules
            .iter()
            .filter(|it| it.verdict == verdict)
            .count()
    };
    let rules = i64::try_from(report.rules.len()).unwrap_or(i64::MAX);
    let (pass, fail, rest) = (
        of(Verdict::Pass),
        of(Verdict::Fail),
        of(Verdict::NotReached),
    );
    format!(
        "{}: {pass} pass, {fail} fail, {rest} not reached",
        counted(rules, "rule")
    )
}
