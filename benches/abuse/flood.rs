//! HTTP/2 from one address, as much of it as one connection may have streams.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{self, Connection, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{net::TcpStream, task::JoinSet};

use super::http::connect;

pub(crate) const CONNECTIONS: usize = 90;
pub(crate) const STREAMS: usize = 100;

/// An open connection, and what drives it.
pub(crate) struct Opened {
    pub(crate) sender: SendRequest<Full<Bytes>>,
    pub(crate) driver: Connection<TokioIo<TcpStream>, Full<Bytes>, TokioExecutor>,
}

/// A connection whose peer may send so many bytes of each answer before it is asked for more; `None`: as usual.
pub(crate) async fn open(
    from: Ipv4Addr,
    server: SocketAddr,
    window: Option<u32>,
) -> Result<Opened, String> {
    let stream = connect(from, server)
        .await
        .map_err(|error| error.kind().to_string())?;
    let shaken = http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(window)
        .handshake(TokioIo::new(stream))
        .await;
    let (sender, driver) = shaken.map_err(|error| error.to_string())?;
    Ok(Opened { sender, driver })
}

/// What is asked for, again and again.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) server: SocketAddr,
    pub(crate) path: &'static str,
    /// A form, if it is one.
    pub(crate) form: Option<String>,
}

impl Target {
    pub(crate) fn request(&self) -> Request<Full<Bytes>> {
        let uri = format!("http://{}{}", self.server, self.path);
        let request = Request::builder().uri(uri);
        let request = match &self.form {
            None => request.body(Full::default()),
            Some(form) => request
                .method("POST")
                .header("content-type", "application/x-www-form-urlencoded")
                .body(Full::from(form.clone())),
        };
        request.unwrap()
    }
}

/// How often what was answered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answers(Arc<Mutex<BTreeMap<String, usize>>>);

impl Answers {
    pub(crate) fn note(&self, answer: impl Into<String>) {
        *self.0.lock().unwrap().entry(answer.into()).or_default() += 1;
    }

    pub(crate) fn told(&self) -> String {
        let answers = self.0.lock().unwrap();
        let told = answers
            .iter()
            .map(|(answer, count)| format!("{answer} × {count}"));
        let told: Vec<_> = told.collect();
        if told.is_empty() {
            "–".to_owned()
        } else {
            told.join(", ")
        }
    }
}

/// 90 connections with 100 streams each, all busy for so long.
pub(crate) async fn flood(from: Ipv4Addr, target: Target, time: Duration) -> Answers {
    let answers = Answers::default();
    let until = Instant::now() + time;
    let mut all = JoinSet::new();
    for _ in 0..CONNECTIONS {
        all.spawn(connection(from, target.clone(), answers.clone(), until));
    }
    // What is not answered by then is left.
    _ = tokio::time::timeout(time, all.join_all()).await;
    answers
}

async fn connection(from: Ipv4Addr, target: Target, answers: Answers, until: Instant) {
    while Instant::now() < until {
        let Ok(Opened { sender, driver }) = open(from, target.server, None).await else {
            answers.note("no connection");
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let driver = tokio::spawn(driver);
        let mut streams = JoinSet::new();
        for _ in 0..STREAMS {
            streams.spawn(stream(
                sender.clone(),
                target.clone(),
                answers.clone(),
                until,
            ));
        }
        drop(sender);
        streams.join_all().await;
        driver.abort();
    }
}

/// One stream after the other, until the connection ends.
async fn stream(
    mut sender: SendRequest<Full<Bytes>>,
    target: Target,
    answers: Answers,
    until: Instant,
) {
    while Instant::now() < until {
        let Ok(response) = sender.send_request(target.request()).await else {
            if sender.is_closed() {
                return;
            }
            answers.note("refused stream");
            continue;
        };
        answers.note(response.status().as_str());
        _ = response.into_body().collect().await;
    }
}
