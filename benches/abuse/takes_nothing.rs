//! Row Y-05. Streams whose window is 0 ask for a logo of 64 KiB, and take nothing of it.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::{
    browser::Page,
    flood::{Answers, CONNECTIONS, Opened, STREAMS, Target, open},
    http::Http,
    one_address::{ATTACKER, OTHERS},
    people::{Person, encoded_request},
    report::Report,
    run::Bench,
    server::Server,
    sites::{Client, Sites, WITH_LOGO},
};

/// What the server is told to wait for a peer that takes nothing.
const WRITE_TIMEOUT: &str = "10";
const MOST: Duration = Duration::from_secs(45);

pub(crate) async fn run(bench: &Bench, report: &Report<'_>) {
    let host = "app.known.example".to_owned();
    let sites = Sites::start(std::slice::from_ref(&host), 86_400).await;
    let client = sites.client(&host, WITH_LOGO);
    let rule = format!(
        "[{{ match = '{}', tier = 'approved', logo = true }}]",
        client.id
    );
    let settings = [
        ("WAYLEAVE_SERVER__WRITE_TIMEOUT", WRITE_TIMEOUT),
        ("WAYLEAVE_POLICY__CLIENTS", rule.as_str()),
    ];
    let server = Server::start(&bench.server, bench.database().await, &sites, &settings).await;
    let path: &'static str = Box::leak(logo(&server, &client).await.into_boxed_str());
    let target = Target {
        server: server.address,
        path,
        form: None,
    };
    let before = server.resident();
    let began = Instant::now();
    let (mut connections, mut streams) = (JoinSet::new(), JoinSet::new());
    let answers = Answers::default();
    for _ in 0..CONNECTIONS {
        let Opened { sender, driver } = open(ATTACKER, server.address, Some(0)).await.unwrap();
        connections.spawn(async move {
            _ = driver.await;
        });
        for _ in 0..STREAMS {
            let (mut sender, request) = (sender.clone(), target.request());
            let answers = answers.clone();
            streams.spawn(async move {
                // Held, with what is to come of it, until all is over.
                if let Ok(response) = sender.send_request(request).await {
                    answers.note(response.status().as_str());
                    std::future::pending::<()>().await;
                    drop(response);
                }
            });
        }
    }
    let (mut most, mut last_closed) = (0, Duration::ZERO);
    while began.elapsed() < MOST && !connections.is_empty() {
        most = most.max(server.resident());
        let moment = Duration::from_millis(50);
        if let Ok(Some(_)) = tokio::time::timeout(moment, connections.join_next()).await {
            last_closed = began.elapsed();
        }
    }
    let open = connections.len();
    drop((connections, streams));
    tokio::time::sleep(Duration::from_secs(3)).await;
    let after = server.resident();
    let mib = |kib: u64| kib as f64 / 1_024.0;
    let told = format!(
        "{:.0} MiB, {:.0} MiB, {:.0} MiB",
        mib(before),
        mib(most),
        mib(after)
    );
    report.note("", "streams that were answered", "", answers.told());
    report.note("", "memory before, at most, after", "", told);
    let more = format!("{:.0} MiB", mib(most.saturating_sub(before)));
    report.note("", "memory more at most", "under 32 MiB", more);
    let told = format!(
        "{} of {CONNECTIONS}, the last after {:.0} s",
        CONNECTIONS - open,
        last_closed.as_secs_f64()
    );
    report.note(
        "",
        "connections closed (write_timeout 10 s)",
        "all, about 10 s",
        told,
    );
}

/// The address of the client's logo, once the server has it.
async fn logo(server: &Server, client: &Client) -> String {
    let http = Http::new(server.address, OTHERS);
    let mut person = Person::sign_in(http, "user0").await.unwrap();
    let target = format!("/authorize?{}", encoded_request(client));
    for _ in 0..100 {
        let page = person.http.open(&target).await.unwrap();
        if let Some(path) = on_page(&page) {
            return path;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the consent page shows no logo");
}

fn on_page(page: &Page) -> Option<String> {
    let (_, rest) = page.body.split_once("/logos/")?;
    let name = rest.split('"').next()?;
    Some(format!("/logos/{name}"))
}
