//! The others: people and programs who do what they always do, and what became of it.

use std::{
    collections::BTreeMap,
    fmt::Write,
    time::{Duration, Instant},
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use tokio::sync::oneshot;
use wayleave::secret::sha256;

use super::{
    browser::Page,
    http::{Http, encoded},
    sites::Client,
};

pub(crate) const PASSWORD: &str = "correct horse battery";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

/// Does this on a thread of its own, so that neither a flood nor its victims wait for the other's turn.
pub(crate) async fn apart<T, F>(work: impl FnOnce() -> F + Send + 'static) -> T
where
    T: Send + 'static,
    F: Future<Output = T>,
{
    let (done, result) = oneshot::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        _ = done.send(runtime.block_on(work()));
    });
    result.await.expect("the thread does not panic")
}

/// The parameters of an authorization request.
pub(crate) fn request(client: &Client) -> Vec<(&'static str, String)> {
    let challenge = BASE64_URL_SAFE_NO_PAD.encode(sha256(VERIFIER.as_bytes()));
    vec![
        ("response_type", "code".to_owned()),
        ("client_id", client.id.clone()),
        ("redirect_uri", client.redirect_uri.clone()),
        ("code_challenge", challenge),
        ("code_challenge_method", "S256".to_owned()),
        ("state", "a".to_owned()),
    ]
}

pub(crate) fn encoded_request(client: &Client) -> String {
    let request = request(client);
    let fields: Vec<_> = request
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    encoded(&fields)
}

/// Somebody who is signed in.
pub(crate) struct Person {
    pub(crate) http: Http,
}

impl Person {
    pub(crate) async fn sign_in(mut http: Http, name: &str) -> Result<Self, String> {
        let page = http.get("/login").await?;
        let filled = [("username", name), ("password", PASSWORD)];
        expect(http.submit(&page, &filled).await?, 303)?;
        Ok(Self { http })
    }

    /// From the authorization request to the tokens, and once more by the refresh token.
    pub(crate) async fn uses(&mut self, client: &Client) -> Result<(), String> {
        let target = format!("/authorize?{}", encoded_request(client));
        let mut page = self.http.open(&target).await?;
        if page.status == 200 {
            page = self.http.submit(&page, &[("decision", "allow")]).await?;
        }
        let page = expect(page, 303)?;
        let location = page.location().unwrap_or_default();
        let code = url::Url::parse(location).ok().and_then(|url| {
            let mut pairs = url.query_pairs();
            let code = pairs.find(|(name, _)| name == "code")?;
            Some(code.1.into_owned())
        });
        let code = code.ok_or_else(|| format!("no code at {:.60}", location))?;
        let form = [
            ("grant_type", "authorization_code"),
            ("code", &code),
            ("client_id", &client.id),
            ("redirect_uri", &client.redirect_uri),
            ("code_verifier", VERIFIER),
        ];
        let tokens = expect(self.http.call("/token", &form).await?, 200)?.json();
        let token = tokens["refresh_token"].as_str().unwrap_or_default();
        let form = [
            ("grant_type", "refresh_token"),
            ("refresh_token", token),
            ("client_id", &client.id),
        ];
        expect(self.http.call("/token", &form).await?, 200).map(drop)
    }

    /// Comes with a client that the server may not know, and sees its consent page.
    pub(crate) async fn meets(&mut self, client: &Client) -> Result<(), String> {
        let target = format!("/authorize?{}", encoded_request(client));
        expect(self.http.open(&target).await?, 200).map(drop)
    }
}

/// A client that pushes its first request.
pub(crate) async fn pushes(mut http: Http, client: &Client) -> Result<(), String> {
    let form = encoded_request(client);
    expect(http.call_encoded("/par", form).await?, 201).map(drop)
}

fn expect(page: Page, status: u16) -> Result<Page, String> {
    match page.status == status {
        true => Ok(page),
        false => Err(page.status.as_u16().to_string()),
    }
}

/// What became of all that was tried.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    answered: Vec<Duration>,
    refused: BTreeMap<String, usize>,
}

impl Tally {
    pub(crate) fn note<T>(&mut self, began: Instant, outcome: Result<T, String>) {
        match outcome {
            Ok(_) => self.answered.push(began.elapsed()),
            Err(why) => *self.refused.entry(why).or_default() += 1,
        }
    }

    pub(crate) fn join(all: impl IntoIterator<Item = Self>) -> Self {
        let mut sum = Self::default();
        for tally in all {
            sum.answered.extend(tally.answered);
            for (why, count) in tally.refused {
                *sum.refused.entry(why).or_default() += count;
            }
        }
        sum.answered.sort();
        sum
    }

    /// How many were refused of how many, and with what.
    pub(crate) fn refused(&self) -> String {
        let refused: usize = self.refused.values().sum();
        let mut told = format!("{refused} of {}", self.answered.len() + refused);
        for (index, (why, count)) in self.refused.iter().enumerate() {
            let before = if index == 0 { " (" } else { ", " };
            _ = write!(told, "{before}{why} × {count}");
        }
        if refused > 0 {
            told.push(')');
        }
        told
    }

    /// Of this share of the answers none took longer, in milliseconds.
    pub(crate) fn percentile(&self, percent: usize) -> f64 {
        let at = (self.answered.len() * percent / 100).min(self.answered.len().saturating_sub(1));
        let at = self.answered.get(at);
        at.map_or(f64::NAN, |time| time.as_secs_f64() * 1_000.0)
    }

    pub(crate) fn latency(&self) -> String {
        if self.answered.is_empty() {
            return "none was answered".to_owned();
        }
        format!("{:.1} / {:.1} ms", self.percentile(50), self.percentile(99))
    }

    /// The same, and how many times as much as another's.
    pub(crate) fn latency_beside(&self, control: &Self) -> String {
        if self.answered.is_empty() || control.answered.is_empty() {
            return self.latency();
        }
        let times = |percent| self.percentile(percent) / control.percentile(percent);
        format!(
            "{} ({:.1} × / {:.1} ×)",
            self.latency(),
            times(50),
            times(99)
        )
    }
}
