//! Row Y-01. Requests are pushed without authentication, each with another new client, 20 a second from 120 networks. Meanwhile
//! others use clients that are known, whose copies age, and bring new ones of their own.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{sync::Barrier, task::JoinSet};

use super::{
    flood::Answers,
    http::{Http, encoded},
    people::{Person, Tally, apart, pushes, request},
    report::Report,
    run::Bench,
    server::Server,
    sites::{Client, Sites},
};

const NETWORKS: u32 = 120;
const PER_SECOND: u32 = 20;
const ATTACKERS: usize = 40;
const KNOWN: usize = 20;
/// How often each known client is used, and how often somebody comes with a new one.
const USED_EVERY: Duration = Duration::from_secs(2);
const NEW_EVERY: Duration = Duration::from_secs(3);

/// What the flood is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Flood {
    None,
    OneNetwork,
    Unrelated,
    /// Their documents take three seconds each.
    Slow,
}

impl Flood {
    const ALL: &[(Self, &str)] = &[
        (Self::None, "no flood (control)"),
        (Self::OneNetwork, "120 /64s of one /56"),
        (Self::Unrelated, "120 unrelated IPv4 addresses"),
        (Self::Slow, "120 unrelated IPv4 addresses, slow hosts"),
    ];

    fn address(self, number: u32) -> IpAddr {
        let number = number % NETWORKS;
        let byte = |number: u32| (number % 256) as u8;
        match self {
            Self::OneNetwork => {
                Ipv6Addr::new(0x2001, 0xdb8, 1, 0x200 + number as u16, 0, 0, 0, 1).into()
            }
            _ => Ipv4Addr::new(11 + byte(number), byte(number * 7), byte(number * 13), 1).into(),
        }
    }
}

/// Who the others are.
const OTHERS: [&str; 3] = [
    "known clients",
    "new clients of signed-in people",
    "new clients, pushed by others",
];

/// What the others had, and what the flood was answered.
struct Seen {
    others: [Tally; 3],
    flood: Answers,
    failing: i64,
}

pub(crate) async fn run(bench: &Bench, report: &Report<'_>) {
    let mut control: Option<Seen> = None;
    for (flood, case) in Flood::ALL {
        let seen = measure(bench, *flood).await;
        for (index, tally) in seen.others.iter().enumerate() {
            let who = OTHERS[index];
            report.note(case, &format!("{who}: refused"), "0", tally.refused());
            let latency = match &control {
                Some(control) => tally.latency_beside(&control.others[index]),
                None => tally.latency(),
            };
            report.note(case, &format!("{who}: p50 / p99"), "", latency);
        }
        let failing = seen.failing.to_string();
        report.note(case, "known clients noted as failing", "0", failing);
        report.note(case, "the flood was answered", "", seen.flood.told());
        if *flood == Flood::None {
            control = Some(seen);
        }
    }
}

fn hosts() -> (Vec<String>, Vec<String>, Vec<String>) {
    let named = |kind: &str, count: usize| {
        (0..count)
            .map(|n| format!("app.{kind}{n}.example"))
            .collect()
    };
    (
        named("attacker", ATTACKERS),
        named("known", KNOWN),
        named("new", 60),
    )
}

async fn measure(bench: &Bench, flood: Flood) -> Seen {
    let (attackers, known, new) = hosts();
    let all = [attackers.clone(), known.clone(), new.clone()].concat();
    // Fresh for 20 seconds, so that copies age within the time of a flood; and not much longer while a host is down.
    let sites = Sites::start(&all, 20).await;
    let settings = [
        ("WAYLEAVE_SERVER__TRUSTED_PROXIES", "['127.0.0.1/32']"),
        (
            "WAYLEAVE_CLIENTS__FRESH",
            "{ least = 20, absent = 20, most = 20 }",
        ),
        ("WAYLEAVE_CLIENTS__STALE_AUTHORIZATION", "30"),
    ];
    let server = Server::start(&bench.server, bench.database().await, &sites, &settings).await;
    let address = server.address;
    let known: Vec<_> = known
        .iter()
        .map(|host| sites.client(host, "/c.json"))
        .collect();
    let new: Vec<_> = new
        .iter()
        .map(|host| sites.client(host, "/c.json"))
        .collect();
    let time = bench.time(75);
    let requests = match flood {
        Flood::None => 0,
        _ => PER_SECOND * u32::try_from(time.as_secs()).unwrap(),
    };
    let clients = (0..requests).map(|number| {
        let host = &attackers[number as usize % ATTACKERS];
        match flood {
            Flood::Slow => sites.slow_client(host, &number.to_string()),
            _ => sites.client(host, &format!("/{number}.json")),
        }
    });
    let clients: Vec<_> = clients.collect();

    let ready = Arc::new(Barrier::new(2));
    let all_ready = ready.clone();
    let others = apart(move || others(address, known, new, time, ready));
    let attack = apart(move || async move {
        all_ready.wait().await;
        attack(address, clients, flood).await
    });
    let (others, flood) = tokio::join!(others, attack);
    let question = "SELECT COUNT(*) FROM clients WHERE failed_at IS NOT NULL";
    let failing = server.number(question).await;
    Seen {
        others,
        flood,
        failing,
    }
}

async fn attack(server: SocketAddr, clients: Vec<Client>, flood: Flood) -> Answers {
    let answers = Answers::default();
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / PER_SECOND);
    let mut under_way = JoinSet::new();
    for (number, client) in (0..).zip(clients) {
        ticks.tick().await;
        let answers = answers.clone();
        under_way.spawn(async move {
            let mut http = proxied(server, flood.address(number));
            let request = request(&client);
            let fields: Vec<_> = request
                .iter()
                .map(|(name, value)| (*name, value.as_str()))
                .collect();
            match http.call_encoded("/par", encoded(&fields)).await {
                Ok(page) => answers.note(page.status.as_str()),
                Err(why) => answers.note(why),
            }
        });
    }
    under_way.join_all().await;
    answers
}

fn proxied(server: SocketAddr, address: impl Into<IpAddr>) -> Http {
    Http::new(server, Ipv4Addr::LOCALHOST).behind(address)
}

async fn others(
    server: SocketAddr,
    known: Vec<Client>,
    new: Vec<Client>,
    time: Duration,
    ready: Arc<Barrier>,
) -> [Tally; 3] {
    let mut people = Vec::new();
    for (number, client) in (0..).zip(known) {
        let http = proxied(server, Ipv4Addr::new(198, 51, 100, number));
        let name = format!("user{}", number % 8);
        let mut person = Person::sign_in(http, &name)
            .await
            .expect("a person signs in");
        person.uses(&client).await.expect("a known client is met");
        people.push((person, client));
        // Within what the server fetches in a second.
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    ready.wait().await;
    let until = Instant::now() + time;
    let mut known = JoinSet::new();
    for (mut person, client) in people {
        known.spawn(async move {
            let mut tally = Tally::default();
            while Instant::now() < until {
                let began = Instant::now();
                let used = person.uses(&client).await;
                tally.note(began, used);
                tokio::time::sleep(USED_EVERY.saturating_sub(began.elapsed())).await;
            }
            tally
        });
    }
    let (of_people, of_programs) = new.split_at(new.len() / 2);
    let (known, signed_in, pushed) = tokio::join!(
        known.join_all(),
        newcomers(server, of_people, until, true),
        newcomers(server, of_programs, until, false)
    );
    [Tally::join(known), signed_in, pushed]
}

/// Somebody from another network each time, with a client that was not here before: somebody who is signed in, or a program.
async fn newcomers(
    server: SocketAddr,
    clients: &[Client],
    until: Instant,
    are_people: bool,
) -> Tally {
    let mut tally = Tally::default();
    let mut ticks = tokio::time::interval(NEW_EVERY);
    for (number, client) in (0..).zip(clients) {
        ticks.tick().await;
        if Instant::now() >= until {
            break;
        }
        let net = if are_people { 113 } else { 114 };
        let http = proxied(server, Ipv4Addr::new(203, 0, net, number));
        let name = format!("user{}", number % 8);
        let outcome = if are_people {
            match Person::sign_in(http, &name).await {
                Ok(mut person) => {
                    let began = Instant::now();
                    (began, person.meets(client).await)
                }
                Err(why) => (Instant::now(), Err(format!("sign-in: {why}"))),
            }
        } else {
            (Instant::now(), pushes(http, client).await)
        };
        tally.note(outcome.0, outcome.1);
    }
    Tally::join([tally])
}
