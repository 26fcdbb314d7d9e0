//! What resolving a client costs: from memory, and from its host beside the bare fetch; what tar pits cost others; and
//! what ten thousand clients take in memory. And the bare signatures that tokens and assertions cost. `cargo bench --bench clients`.
#![expect(clippy::unwrap_used, reason = "a benchmark may panic as a test may")]

#[path = "../tests/it/support/client_site.rs"]
#[expect(dead_code, reason = "the benchmark needs a part of it")]
mod client_site;

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair,
        UnparsedPublicKey,
    },
};
use client_site::{Answer, ClientSite};
use criterion::Criterion;
use serde_json::json;
use wayleave::{
    app::App,
    clients::{Asker, Need},
    config::{Config, Environment},
    fetch::Resolver,
    policy::client_rules::{Rule, Tier, standing},
    protocol::{client_id::ClientId, client_metadata, special_address::is_public},
    store::Store,
    time::Clock,
};

fn anybody() -> Asker {
    Asker::SignedIn([192, 0, 2, 7].into())
}

async fn app(folder: &std::path::Path, site: &ClientSite) -> App {
    let ca = folder.join("ca.pem");
    std::fs::write(&ca, &site.ca_pem).unwrap();
    let database = format!("sqlite:{}", folder.join("w.db").display());
    let variables = [
        ("WAYLEAVE_DATABASE__URL", database.as_str()),
        ("WAYLEAVE_FETCH__EXTRA_CA_FILE", ca.to_str().unwrap()),
        ("WAYLEAVE_DANGER__ALLOW_LOOPBACK_CLIENTS", "true"),
        ("WAYLEAVE_LIMITS__SCALE", "100000"),
        ("WAYLEAVE_CLIENTS__CACHE_ENTRIES", "20000"),
    ];
    let environment = Environment::of(variables.map(|(k, v)| (k.to_owned(), v.to_owned())));
    let empty = folder.join("empty.toml");
    std::fs::write(&empty, "").unwrap();
    let config: Config = wayleave::config::load(Some(&empty), &environment).unwrap();
    let store = Store::open(&config.database.url, 4).await.unwrap();
    store.migrate().await.unwrap();
    let loopback = vec!["127.0.0.1".parse().unwrap()];
    let table: HashMap<_, _> = [(client_site::HOST.to_owned(), loopback)].into();
    let resolver = Resolver::Table(Arc::new(table));
    App::new(config, store, Clock::system(), resolver)
        .await
        .unwrap()
}

/// From memory, and the rules one by one.
fn hot(criterion: &mut Criterion, runtime: &tokio::runtime::Runtime, app: &App, site: &ClientSite) {
    let id: ClientId = site.publish("/hot.json", json!({})).parse().unwrap();
    let now = app.clock.now();
    runtime
        .block_on(app.clients.client(&id, Need::Fetch(anybody()), now))
        .unwrap();
    let document = site.document("/hot.json", json!({})).to_string();
    criterion.bench_function("resolve a cached client", |bench| {
        bench
            .to_async(runtime)
            .iter(|| app.clients.client(&id, Need::Fetch(anybody()), now));
    });
    criterion.bench_function("read a client identifier", |bench| {
        bench.iter(|| id.as_str().parse::<ClientId>().unwrap());
    });
    criterion.bench_function("read a document", |bench| {
        bench.iter(|| client_metadata::parse(id.url().unwrap(), document.as_bytes()).unwrap());
    });
    let rules: Vec<Rule> = (0..1_000)
        .map(|n| {
            Rule::new(
                format!("https://host{n}.example.com/oauth/*")
                    .parse()
                    .unwrap(),
                Tier::Listed,
            )
        })
        .collect();
    criterion.bench_function("a thousand rules about clients", |bench| {
        bench.iter(|| standing(rules.iter(), Tier::Unknown, &id, &[]));
    });
    let address = "2606:4700:4700::1111".parse().unwrap();
    criterion.bench_function("is an address public", |bench| {
        bench.iter(|| is_public(address))
    });
}

/// What the library itself takes, under everything that the server does about tokens.
fn signatures(criterion: &mut Criterion) {
    let random = SystemRandom::new();
    let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
    let pair =
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref()).unwrap();
    let message = [b'a'; 400];
    let signature = pair.sign(&random, &message).unwrap();
    let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, pair.public_key().as_ref());
    criterion.bench_function("sign with ES256", |bench| {
        bench.iter(|| pair.sign(&random, &message).unwrap());
    });
    criterion.bench_function("verify ES256", |bench| {
        bench.iter(|| public.verify(&message, signature.as_ref()).unwrap());
    });
}

#[expect(
    clippy::disallowed_methods,
    reason = "the bare fetch that resolutions are compared with"
)]
fn bare_client(ca: reqwest::Certificate, port: u16) -> reqwest::Client {
    reqwest::Client::builder()
        .tls_certs_merge([ca])
        .resolve(client_site::HOST, ([127, 0, 0, 1], port).into())
        .pool_max_idle_per_host(0)
        .http1_only()
        .build()
        .unwrap()
}

fn median(mut all: Vec<Duration>) -> Duration {
    all.sort();
    all[all.len() / 2]
}

/// One client after the other that is not known yet, in turns with a bare GET of the same document over TLS.
async fn cold(app: &App, site: &ClientSite) {
    let ca = reqwest::Certificate::from_pem(site.ca_pem.as_bytes()).unwrap();
    let (mut bare, mut resolved) = (Vec::new(), Vec::new());
    for n in 0..300 {
        let url = site.publish(&format!("/cold{n}.json"), json!({}));
        let client = bare_client(ca.clone(), site.port);
        let began = Instant::now();
        client
            .get(&url)
            .send()
            .await
            .unwrap()
            .bytes()
            .await
            .unwrap();
        bare.push(began.elapsed());
        let id = url.parse().unwrap();
        let began = Instant::now();
        app.clients
            .client(&id, Need::Fetch(anybody()), app.clock.now())
            .await
            .unwrap();
        resolved.push(began.elapsed());
    }
    let (bare, resolved) = (median(bare), median(resolved));
    println!(
        "cold: bare TLS fetch {bare:?}, resolution {resolved:?}, {:.2} x (median of 300; kept durably)",
        resolved.as_secs_f64() / bare.as_secs_f64()
    );
}

fn p99(mut all: Vec<Duration>) -> Duration {
    all.sort();
    all[all.len() * 99 / 100]
}

/// Cached clients, alone and while five hundred clients of hosts that never answer are asked for.
async fn tar_pits(app: &App, site: &ClientSite) {
    let id: ClientId = site.publish("/steady.json", json!({})).parse().unwrap();
    app.clients
        .client(&id, Need::Fetch(anybody()), app.clock.now())
        .await
        .unwrap();
    let measure = || async {
        let mut all = Vec::new();
        for _ in 0..20_000 {
            let began = Instant::now();
            app.clients
                .client(&id, Need::Fetch(anybody()), app.clock.now())
                .await
                .unwrap();
            all.push(began.elapsed());
            tokio::task::yield_now().await;
        }
        p99(all)
    };
    let alone = measure().await;
    let silent = Answer {
        delay: Duration::from_secs(60),
        ..Answer::status(200)
    };
    let mut pits = Vec::new();
    for n in 0..500 {
        site.answer(&format!("/pit{n}"), silent.clone());
        let (clients, pit) = (
            app.clients.clone(),
            site.url(&format!("/pit{n}")).parse().unwrap(),
        );
        let now = app.clock.now();
        pits.push(tokio::spawn(async move {
            clients
                .client(&pit, Need::Fetch(anybody()), now)
                .await
                .map(drop)
        }));
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    let beside = measure().await;
    println!(
        "tar pits: p99 of a cached client {alone:?} alone, {beside:?} beside 500 of them, {:.2} x",
        beside.as_secs_f64() / alone.as_secs_f64()
    );
    for pit in pits {
        pit.abort();
    }
}

/// Bytes of memory that this process has.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = statm
        .split(' ')
        .nth(1)
        .and_then(|n| n.parse().ok())
        .unwrap_or_default();
    pages * 4_096
}

/// Ten thousand clients in memory, read back from the database.
async fn memory(app: &App, site: &ClientSite) {
    let now = app.clock.now();
    let ids: Vec<ClientId> = (0..10_000)
        .map(|n| site.url(&format!("/many/{n}.json")).parse().unwrap())
        .collect();
    for (n, id) in ids.iter().enumerate() {
        let document = site
            .document(&format!("/many/{n}.json"), json!({}))
            .to_string();
        let accepted = wayleave::store::Accepted {
            client_id: id.url().unwrap().clone(),
            digest: wayleave::protocol::client::Digest::of(document.as_bytes()),
            document,
            fetched_at: now,
            fresh_until: Some(now + 86_400),
            event: None,
            revoke: None,
        };
        app.store.keep_client(accepted).await.unwrap();
    }
    let before = resident();
    for id in &ids {
        app.clients
            .client(id, Need::CachedFresh, now)
            .await
            .unwrap()
            .unwrap();
    }
    let grown = resident().saturating_sub(before);
    println!(
        "memory: 10,000 cached clients take {:.1} MiB",
        grown as f64 / 1_048_576.0
    );
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let site = runtime.block_on(ClientSite::start());
    let app = runtime.block_on(app(folder.path(), &site));
    let mut criterion = Criterion::default()
        .sample_size(50)
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    hot(&mut criterion, &runtime, &app, &site);
    signatures(&mut criterion);
    criterion.final_summary();
    runtime.block_on(cold(&app, &site));
    runtime.block_on(tar_pits(&app, &site));
    runtime.block_on(memory(&app, &site));
}
