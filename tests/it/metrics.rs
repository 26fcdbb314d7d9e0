//! What monitoring is told by the real program, and that the dashboard and the alerts ask for what there is.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

use serde_json::Value;

use crate::process::{Running, free_port, request, run, wayleave};

const DASHBOARD: &str = include_str!("../../examples/grafana/wayleave.json");
const RULES: &str = include_str!("../../examples/prometheus/wayleave.rules.yml");

struct Monitored {
    server: Running,
    metrics: std::net::SocketAddr,
    _folder: tempfile::TempDir,
}

fn start() -> Monitored {
    let folder = tempfile::tempdir().unwrap();
    let metrics = std::net::SocketAddr::from(([127, 0, 0, 1], free_port()));
    let with = |mut command: Command| {
        command.env("WAYLEAVE_METRICS__LISTEN", metrics.to_string());
        command
    };
    let mut user = with(wayleave(folder.path()));
    user.args(["user", "add", "ada", "--password-stdin"]);
    assert!(run(user, Some("correct horse battery")).status.success());
    let server = Running::start(with(wayleave(folder.path())), 1);
    Monitored {
        server,
        metrics,
        _folder: folder,
    }
}

impl Monitored {
    /// The text of a scrape.
    fn scrape(&self) -> String {
        let (status, answer) = request(
            self.metrics,
            "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        );
        assert_eq!(status, 200);
        assert!(answer.contains("content-type: application/openmetrics-text; version=1.0.0"));
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    }
}

/// The samples of a scrape.
fn samples(text: &str) -> BTreeMap<&str, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name, value.parse().unwrap_or_else(|_| panic!("{line}")))
        })
        .collect()
}

#[test]
fn what_happens_is_counted() {
    let monitored = start();
    assert_eq!(monitored.server.sign_in("", "wrong"), 422);
    assert_eq!(monitored.server.sign_in("", "correct horse battery"), 303);
    for _ in 0..3 {
        let form = "grant_type=authorization_code&client_id=https://app.example.com/c.json&code=x&code_verifier=x&redirect_uri=x";
        let (at, length) = (monitored.server.address, form.len());
        let post = format!(
            "POST /token HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\n\r\n{form}"
        );
        assert!((400..500).contains(&request(at, &post).0));
    }
    let login = monitored.server.get("/login").1;
    let (_, stylesheet) = login.split_once("rel=\"stylesheet\" href=\"").unwrap();
    let (stylesheet, _) = stylesheet.split_once('"').unwrap();
    assert_eq!(monitored.server.get(stylesheet).0, 200);
    let text = monitored.scrape();
    assert!(!text.contains(stylesheet), "no label has a hash");
    let samples = samples(&text);
    let is = |name: &str| {
        *samples
            .get(name)
            .unwrap_or_else(|| panic!("{name} is not in {text}"))
    };
    for (name, expected) in [
        ("wayleave_sign_ins_total{outcome=\"wrong\"}", 1.0),
        ("wayleave_sign_ins_total{outcome=\"signed in\"}", 1.0),
        ("wayleave_password_hash_seconds_count", 2.0),
        ("wayleave_password_wait_seconds_count", 2.0),
        (
            "wayleave_requests_total{endpoint=\"/token\",status=\"4xx\"}",
            3.0,
        ),
        (
            "wayleave_requests_total{endpoint=\"/assets/{name}\",status=\"2xx\"}",
            1.0,
        ),
        ("wayleave_store_failures_total", 0.0),
        ("wayleave_log_lines_lost", 0.0),
        ("wayleave_connections_refused_total", 0.0),
        ("wayleave_signing_keys", 3.0),
    ] {
        assert_eq!(is(name), expected, "{name}");
    }
    let errors = samples
        .iter()
        .filter(|(name, _)| name.starts_with("wayleave_token_errors_total{"));
    assert_eq!(errors.map(|(_, count)| count).sum::<f64>(), 3.0);
    // The failure, its end, and the session: each is durable.
    let writes = is("wayleave_store_write_seconds_count");
    assert!(writes >= 3.0, "{writes}");
    assert!(is("wayleave_store_commit_units_count") <= is("wayleave_store_commit_units_sum"));
    assert!(is("wayleave_last_sweep_seconds") >= is("wayleave_start_time_seconds"));
    assert!(is("wayleave_sweeps_total{outcome=\"ok\"}") >= 1.0);
}

#[test]
fn a_scrape_is_openmetrics_text() {
    let text = start().scrape();
    assert!(text.ends_with("# EOF\n"), "{text}");
    let family = |line: &str| line.split(' ').nth(2).unwrap().to_owned();
    let of = |kind: &str| -> BTreeSet<String> {
        let lines = text.lines().filter(|line| line.starts_with(kind));
        lines.map(family).collect()
    };
    let (helps, types) = (of("# HELP "), of("# TYPE "));
    assert_eq!(helps, types);
    assert!(helps.len() >= 24 && helps.iter().all(|name| name.starts_with("wayleave_")));
    for name in samples(&text).keys() {
        let name = name.split('{').next().unwrap();
        let ends = ["", "_total", "_info", "_bucket", "_sum", "_count"];
        let is_of = |end: &&str| name.strip_suffix(*end).is_some_and(|it| types.contains(it));
        assert!(ends.iter().any(is_of), "{name} belongs to no family");
    }
}

/// The names of ours that a text of PromQL asks for.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let ours = words.filter(|word| word.starts_with("wayleave_"));
    ours.map(str::to_owned).collect()
}

#[test]
fn the_dashboard_and_the_alerts_ask_for_what_there_is() {
    let monitored = start();
    monitored.server.sign_in("", "wrong");
    let text = monitored.scrape();
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let there: BTreeSet<String> = types
        .flat_map(|line| {
            let (name, kind) = line.split_once(' ').unwrap();
            let ends: &[&str] = match kind {
                "counter" => &["_total"],
                "histogram" => &["_bucket", "_sum", "_count"],
                "info" => &["_info"],
                _ => &[""],
            };
            ends.iter().map(move |end| format!("{name}{end}"))
        })
        .collect();

    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let mut asked = BTreeSet::new();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut ids = BTreeSet::new();
    for panel in panels {
        assert!(
            ids.insert(panel["id"].as_u64().unwrap()),
            "{}",
            panel["title"]
        );
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expression = target["expr"].as_str().unwrap();
            assert!(
                expression.matches('(').count() == expression.matches(')').count(),
                "{expression}"
            );
            asked.extend(names(expression));
        }
    }
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        asked.extend(names(variable["definition"].as_str().unwrap_or_default()));
    }
    let of_panels = asked.len();
    let rules = RULES
        .lines()
        .filter_map(|line| line.trim().strip_prefix("expr: "));
    let rules: Vec<_> = rules.map(names).collect();
    assert!(
        of_panels >= 25 && rules.len() >= 10,
        "{of_panels} {}",
        rules.len()
    );
    asked.extend(rules.into_iter().flatten());
    let unknown: Vec<_> = asked.difference(&there).collect();
    assert!(unknown.is_empty(), "{unknown:?} are not among {there:#?}");
    // What is told and asked for by nobody would be forgotten.
    let shown = |family: &&String| {
        asked.contains(*family) || family.ends_with("_sum") || family.ends_with("_count")
    };
    let forgotten: Vec<_> = there.iter().filter(|family| !shown(family)).collect();
    assert!(forgotten.is_empty(), "{forgotten:?} are on no panel");
}
