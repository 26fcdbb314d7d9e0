//! A client's web site: a real TLS server under a CA made for the test, whose answers the test chooses.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http_body_util::Full;
use hyper::{Request, Response, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    sync::{OwnedRwLockWriteGuard, RwLock},
    task::JoinHandle,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer},
    },
};

/// What the site says at one path.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) delay: Duration,
}

impl Answer {
    pub(crate) fn json(body: impl Into<Vec<u8>>) -> Self {
        let headers = vec![("content-type", "application/json".to_owned())];
        Self {
            status: 200,
            headers,
            body: body.into(),
            delay: Duration::ZERO,
        }
    }

    pub(crate) fn status(status: u16) -> Self {
        Self {
            status,
            ..Self::json("{}")
        }
    }

    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.retain(|(known, _)| *known != name);
        self.headers.push((name, value.to_owned()));
        self
    }
}

/// The site. It ends with the test.
pub(crate) struct ClientSite {
    pub(crate) port: u16,
    pub(crate) ca_pem: String,
    answers: Arc<Mutex<HashMap<String, Answer>>>,
    connections: Arc<AtomicUsize>,
    requests: Arc<Mutex<Vec<String>>>,
    gate: Gate,
    task: JoinHandle<()>,
}

/// Whoever holds it keeps every answer back.
type Gate = Arc<RwLock<()>>;

impl Drop for ClientSite {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The name it has: the test's resolver knows it.
pub(crate) const HOST: &str = "app.example.com";

impl ClientSite {
    pub(crate) async fn start() -> Self {
        let mut ca = CertificateParams::default();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let names = [HOST, "other.example.net", "localhost"]
            .map(str::to_owned)
            .to_vec();
        let leaf = CertificateParams::new(names)
            .unwrap()
            .signed_by(&key, &ca)
            .unwrap();
        let chain = vec![CertificateDer::from(leaf.der().to_vec())];
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (answers, connections, requests) = (Arc::default(), Arc::default(), Arc::default());
        let gate = Gate::default();
        let task = tokio::spawn(accept(
            listener,
            acceptor,
            Arc::clone(&answers),
            Arc::clone(&connections),
            Arc::clone(&requests),
            Arc::clone(&gate),
        ));
        Self {
            port,
            ca_pem: ca.pem(),
            answers,
            connections,
            requests,
            gate,
            task,
        }
    }

    /// The URL of a path.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://{HOST}:{}{path}", self.port)
    }

    /// From now on the path answers so.
    pub(crate) fn answer(&self, path: &str, answer: Answer) {
        self.answers.lock().unwrap().insert(path.to_owned(), answer);
    }

    /// Publishes a public client's document with these members on top, and returns its `client_id`.
    pub(crate) fn publish(&self, path: &str, members: Value) -> String {
        let document = self.document(path, members);
        self.answer(
            path,
            Answer::json(document.to_string()).header("cache-control", "max-age=600"),
        );
        self.url(path)
    }

    pub(crate) fn document(&self, path: &str, members: Value) -> Value {
        let mut document = json!({
            "client_id": self.url(path),
            "client_name": "Test Notebook",
            "redirect_uris": [self.url("/callback")],
            "grant_types": ["authorization_code", "refresh_token"],
            "token_endpoint_auth_method": "none",
        });
        let object = document.as_object_mut().unwrap();
        for (name, value) in members.as_object().unwrap() {
            if value.is_null() {
                object.remove(name);
            } else {
                object.insert(name.clone(), value.clone());
            }
        }
        document
    }

    /// A tar pit: from now on questions are taken, and nothing is answered until what this returns is dropped.
    pub(crate) async fn hold(&self) -> OwnedRwLockWriteGuard<()> {
        Arc::clone(&self.gate).write_owned().await
    }

    /// TCP connections so far.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Heads of the requests so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

async fn accept(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    answers: Arc<Mutex<HashMap<String, Answer>>>,
    connections: Arc<AtomicUsize>,
    requests: Arc<Mutex<Vec<String>>>,
    gate: Gate,
) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            return;
        };
        // Else its answer waits for the acknowledgement of the session ticket before it.
        _ = stream.set_nodelay(true);
        connections.fetch_add(1, Ordering::SeqCst);
        let (acceptor, answers, requests) = (acceptor.clone(), answers.clone(), requests.clone());
        let gate = gate.clone();
        tokio::spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else {
                return;
            };
            let service = service_fn(move |request: Request<Incoming>| {
                let head = format!(
                    "{} {} {:?}",
                    request.method(),
                    request.uri(),
                    request.headers()
                );
                requests.lock().unwrap().push(head);
                let target = request
                    .uri()
                    .path_and_query()
                    .map(ToString::to_string)
                    .unwrap_or_default();
                // What stands in the query of a callback is not known before.
                let path = target.split('?').next().unwrap_or_default();
                let known = answers.lock().unwrap();
                let answer = known.get(&target).or_else(|| known.get(path)).cloned();
                drop(known);
                let answer = answer.unwrap_or_else(|| Answer::status(404));
                let gate = gate.clone();
                async move {
                    drop(gate.read().await);
                    tokio::time::sleep(answer.delay).await;
                    let mut response = Response::builder().status(answer.status);
                    for (name, value) in answer.headers {
                        response = response.header(name, value);
                    }
                    response.body(Full::new(bytes::Bytes::from(answer.body)))
                }
            });
            _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}
