//! Row Y-02. Pushed requests of 55 KB, by a registered public client and by a stranger whose document has its own key.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::json;
use tokio::task::JoinSet;
use wayleave::{
    secret::{random_id, sha256},
    time::Clock,
};

use super::{
    flood::Answers,
    http::{Http, encoded},
    people::{apart, request},
    report::Report,
    run::Bench,
    server::Server,
    signer::{ASSERTION_TYPE, Signer},
    sites::{Client, KEYED, Sites},
};

const REQUESTS: u32 = 10_000;
const BYTES: usize = 55_000;
const AT_ONCE: usize = 16;

pub(crate) async fn run(bench: &Bench, report: &Report<'_>) {
    for (case, is_keyed) in [
        ("a registered public client", false),
        ("a stranger with a key of its own", true),
    ] {
        let host = "app.stranger.example".to_owned();
        let sites = Sites::start(std::slice::from_ref(&host), 86_400).await;
        let registered = Client {
            id: "app".to_owned(),
            redirect_uri: "https://app.example.com/callback".to_owned(),
        };
        let registration = format!(
            "[{{ client_id = '{}', client_name = 'App', redirect_uris = ['{}'] }}]",
            registered.id, registered.redirect_uri
        );
        let settings = [("WAYLEAVE_CLIENTS__REGISTERED", registration.as_str())];
        let server = Server::start(&bench.server, bench.database().await, &sites, &settings).await;
        let before = server.pushed_bytes().await;
        let pusher = Pusher {
            server: server.address,
            client: if is_keyed {
                sites.client(&host, KEYED)
            } else {
                registered
            },
            signer: is_keyed.then(|| sites.signer.clone()),
            count: Arc::default(),
            answers: Answers::default(),
            until: Instant::now() + bench.time(30),
        };
        let answers = pusher.answers.clone();
        let (time, sent) = apart(move || push(pusher)).await;
        let told = format!("{sent} in {:.0} s: {}", time.as_secs_f64(), answers.told());
        report.note(case, "requests, and answers", "", told);
        let rows = server.number("SELECT COUNT(*) FROM pushed_requests").await;
        report.note(case, "rows", "under the cap", rows.to_string());
        let more = server.pushed_bytes().await.saturating_sub(before);
        let told = format!("{:.1} MiB", more as f64 / 1_048_576.0);
        report.note(case, "bytes more in the database", "under the cap", told);
    }
}

/// What each of the loops has.
#[derive(Clone)]
struct Pusher {
    server: SocketAddr,
    client: Client,
    signer: Option<Arc<Signer>>,
    count: Arc<AtomicU32>,
    answers: Answers,
    until: Instant,
}

async fn push(pusher: Pusher) -> (Duration, u32) {
    let began = Instant::now();
    let count = pusher.count.clone();
    let mut loops = JoinSet::new();
    for _ in 0..AT_ONCE {
        loops.spawn(pusher.clone().pushes());
    }
    loops.join_all().await;
    (began.elapsed(), count.load(Ordering::Relaxed).min(REQUESTS))
}

impl Pusher {
    async fn pushes(self) {
        let mut http = Http::new(self.server, Ipv4Addr::LOCALHOST);
        while Instant::now() < self.until {
            let number = self.count.fetch_add(1, Ordering::Relaxed);
            if number >= REQUESTS {
                return;
            }
            match http.call_encoded("/par", self.form(number)).await {
                Ok(page) => self.answers.note(page.status.as_str()),
                Err(why) => self.answers.note(why),
            }
        }
    }

    /// A good request, with a parameter that nobody knows and no database compresses.
    fn form(&self, number: u32) -> String {
        let mut fields = request(&self.client);
        if let Some(signer) = &self.signer {
            let now = Clock::system().now().0;
            let claims = json!({
                "iss": self.client.id, "sub": self.client.id, "aud": format!("http://{}", self.server),
                "iat": now, "exp": now + 60, "jti": random_id(),
            });
            fields.push(("client_assertion_type", ASSERTION_TYPE.to_owned()));
            fields.push(("client_assertion", signer.sign(&signer.header(), &claims)));
        }
        let mut padding = String::new();
        for part in 0_u32.. {
            if padding.len() >= BYTES {
                break;
            }
            let seed = [number.to_le_bytes(), part.to_le_bytes()].concat();
            padding += &BASE64_URL_SAFE_NO_PAD.encode(sha256(&seed));
        }
        let fields: Vec<_> = fields
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        format!("{}&padding={padding}", encoded(&fields))
    }
}
