//! Row Y-04. One address has 90 connections with 100 streams each, all busy, on what costs the server something; the same on
//! `/healthz` is the control. Others, from another address, sign in to their clients.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{sync::Barrier, task::JoinSet};

use super::{
    flood::{Answers, Target, flood},
    http::{Http, encoded},
    people::{Person, Tally, apart},
    report::Report,
    run::Bench,
    server::Server,
    sites::{Client, Sites},
};

pub(crate) const ATTACKER: Ipv4Addr = Ipv4Addr::LOCALHOST;
pub(crate) const OTHERS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const PEOPLE: usize = 4;

pub(crate) async fn run(bench: &Bench, report: &Report<'_>) {
    let host = "app.known.example".to_owned();
    let sites = Sites::start(std::slice::from_ref(&host), 86_400).await;
    let client = sites.client(&host, "/c.json");
    let server = Server::start(&bench.server, bench.database().await, &sites, &[]).await;
    let garbage = encoded(&[
        ("grant_type", "authorization_code"),
        ("code", "wl_ac_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
        ("client_id", &client.id),
        ("redirect_uri", &client.redirect_uri),
        ("code_verifier", &"a".repeat(43)),
    ]);
    let alone = measure(&server, &client, None, bench.time(10)).await.0;
    report.note("no flood", "others refused", "0", alone.refused());
    report.note("no flood", "others: p50 / p99", "", alone.latency());
    let mut control = None;
    let targets = [
        ("/healthz", None),
        ("/token", Some(garbage)),
        ("/logos/x.png", None),
        ("/readyz", None),
        ("/dev-clients/x.json", None),
    ];
    for (path, form) in targets {
        let target = Target {
            server: server.address,
            path,
            form,
        };
        let logged = server.logged();
        let (others, answers) = measure(&server, &client, Some(target), bench.time(20)).await;
        let logged = (server.logged() - logged) / 1_048_576;
        let case = match control {
            None => "/healthz (control)",
            Some(_) => path,
        };
        report.note(case, "others refused", "0", others.refused());
        let (aim, latency) = match &control {
            None => ("", others.latency()),
            Some(control) => ("within 2 ×", others.latency_beside(control)),
        };
        report.note(case, "others: p50 / p99 (of the control's)", aim, latency);
        report.note(case, "the flood was answered", "", answers.told());
        report.note(case, "logged", "", format!("{logged} MiB"));
        control.get_or_insert(others);
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
}

/// What the others had, and what the flood was answered.
async fn measure(
    server: &Server,
    client: &Client,
    target: Option<Target>,
    time: Duration,
) -> (Tally, Answers) {
    let (address, client) = (server.address, client.clone());
    let ready = Arc::new(Barrier::new(2));
    let all_ready = ready.clone();
    let others = apart(move || others(address, client, time, ready));
    let attack = apart(move || async move {
        all_ready.wait().await;
        match target {
            Some(target) => flood(ATTACKER, target, time).await,
            None => Answers::default(),
        }
    });
    tokio::join!(others, attack)
}

/// People who sign in to a client again and again, each with a connection. They begin when all are signed in, and whoever else
/// waits for that.
pub(crate) async fn others(
    server: SocketAddr,
    client: Client,
    time: Duration,
    ready: Arc<Barrier>,
) -> Tally {
    let mut people = Vec::new();
    for number in 0..PEOPLE {
        let http = Http::new(server, OTHERS);
        let name = format!("user{number}");
        let mut person = Person::sign_in(http, &name)
            .await
            .expect("a person signs in");
        person.uses(&client).await.expect("the client is met");
        people.push(person);
    }
    ready.wait().await;
    let until = Instant::now() + time;
    let mut tallies = JoinSet::new();
    for mut person in people {
        let client = client.clone();
        tallies.spawn(async move {
            let mut tally = Tally::default();
            while Instant::now() < until {
                let began = Instant::now();
                let used = person.uses(&client).await;
                if used.is_err() {
                    person.http.hang_up();
                    // Not at once, as Retry-After asks for.
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
                tally.note(began, used);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            tally
        });
    }
    Tally::join(tallies.join_all().await)
}
