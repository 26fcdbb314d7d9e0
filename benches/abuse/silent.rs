//! Row Y-06, its connections. Ten thousand that say nothing, from one address; others, from another address, sign in to their
//! clients.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{net::TcpStream, sync::Barrier};

use super::{
    http::connect,
    one_address::{ATTACKER, others},
    people::apart,
    report::Report,
    run::Bench,
    server::Server,
    sites::Sites,
};

const CONNECTIONS: usize = 10_000;

pub(crate) async fn run(bench: &Bench, report: &Report<'_>) {
    let host = "app.known.example".to_owned();
    let sites = Sites::start(std::slice::from_ref(&host), 86_400).await;
    let client = sites.client(&host, "/c.json");
    let server = Server::start(&bench.server, bench.database().await, &sites, &[]).await;
    let (address, time) = (server.address, bench.time(15));
    let before = server.resident();
    let ready = Arc::new(Barrier::new(2));
    let all_ready = ready.clone();
    let attack = apart(move || async move {
        all_ready.wait().await;
        silent(address, time).await
    });
    let others = apart(move || others(address, client, time, ready));
    let (others, (opened, kept)) = tokio::join!(others, attack);
    let more = server.resident().saturating_sub(before) / 1_024;
    report.note("", "others refused", "0", others.refused());
    report.note("", "others: p50 / p99", "", others.latency());
    let told = format!("{kept} of {opened}");
    report.note(
        "",
        "silent connections open, a second after they came",
        "100 of a network",
        told,
    );
    report.note("", "memory more", "", format!("{more} MiB"));
}

/// How many could be opened, and how many the server kept for a second.
async fn silent(server: SocketAddr, time: Duration) -> (usize, usize) {
    let (mut all, mut opened) = (Vec::new(), 0);
    for number in 0..CONNECTIONS {
        if let Ok(stream) = connect(ATTACKER, server).await {
            opened += 1;
            all.push(stream);
        }
        if number % 500 == 499 {
            // Those that were closed need no descriptor of ours.
            tokio::time::sleep(Duration::from_millis(100)).await;
            all.retain(is_open);
        }
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    all.retain(is_open);
    let kept = all.len();
    tokio::time::sleep(time).await;
    (opened, kept)
}

fn is_open(stream: &TcpStream) -> bool {
    let read = stream.try_read(&mut [0; 1]);
    read.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
}
