//! A server that misbehaves at every layer, as the test writes it: TCP, TLS, HTTP as raw bytes.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, Issuer, KeyPair};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use url::Url;
use wayleave::{
    app::App,
    config::Config,
    fetch::{Charge, DOCUMENT_ACCEPT, FetchError, Fetched, Fetcher, Resolver, Step, Wanted, Wire},
    server,
    store::Store,
    time::{Clock, UnixTime},
};

use super::{Browser, TestApp, app::PASSWORD};

/// The name most hostile servers have.
pub(crate) const HOST: &str = "app.example.com";

/// A certificate authority of the test's own.
pub(crate) struct Authority {
    pub(crate) issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, folder }
    }

    /// For `fetch.extra_ca_file`.
    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// A server with a good certificate for these names.
    pub(crate) fn server(&self, names: &[&str]) -> ServerConfig {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        serving(CertificateParams::new(names).unwrap(), &self.issuer, &[])
    }
}

/// A server whose certificate an issuer signed, followed by what else it sends.
pub(crate) fn serving(
    params: CertificateParams,
    issuer: &Issuer<'_, KeyPair>,
    others: &[CertificateDer<'static>],
) -> ServerConfig {
    let key = KeyPair::generate().unwrap();
    let leaf = params.signed_by(&key, issuer).unwrap();
    let chain = [&[leaf.der().clone()], others].concat();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap()
}

/// What is done on a connection after the request was read, one after the other. At last TLS is ended, then TCP.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    Say(Vec<u8>),
    Wait(Duration),
    /// Each byte by itself, so far apart.
    Drip(Vec<u8>, Duration),
    /// The same again and again, so far apart, until nobody listens.
    Repeat(Vec<u8>, Duration),
    /// Nothing, until the other side has ended.
    Listen,
    /// TCP ends, TLS does not.
    Cut,
}

/// The server. It ends with the test.
pub(crate) struct Hostile {
    pub(crate) address: SocketAddr,
    log: Arc<Log>,
    task: JoinHandle<()>,
}

#[derive(Default)]
pub(crate) struct Log {
    connections: AtomicUsize,
    /// Connections that the other side ended while we listened.
    ended: AtomicUsize,
    read: Mutex<Vec<Vec<u8>>>,
    scripts: Mutex<HashMap<String, Vec<Act>>>,
}

impl Log {
    /// Bytes that arrived on one connection.
    pub(crate) fn note(&self, bytes: Vec<u8>) {
        self.read.lock().unwrap().push(bytes);
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Hostile {
    /// A listener with a script for each connection.
    pub(crate) async fn tcp<F>(
        at: &str,
        script: impl Fn(TcpStream, Arc<Log>) -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind(at).await.unwrap();
        let address = listener.local_addr().unwrap();
        let log = Arc::<Log>::default();
        let noted = Arc::clone(&log);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                noted.connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(script(stream, Arc::clone(&noted)));
            }
        });
        Self { address, log, task }
    }

    /// Counts who connects, on every address of this machine and of both families.
    pub(crate) async fn counter() -> Self {
        Self::tcp("[::]:0", |_, _| async {}).await
    }

    /// Accepts, reads, and says nothing.
    pub(crate) async fn silent(at: &str) -> Self {
        Self::tcp(at, |mut stream, _| async move {
            _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
        })
        .await
    }

    /// Ends every connection with RST.
    pub(crate) async fn reset(at: &str) -> Self {
        Self::tcp(at, |stream, _| async move {
            stream.set_zero_linger().unwrap();
        })
        .await
    }

    /// Says this to everybody, without TLS.
    pub(crate) async fn plain(at: &str, said: &'static [u8]) -> Self {
        Self::tcp(at, move |mut stream, _| async move {
            _ = stream.write_all(said).await;
            _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
        })
        .await
    }

    /// TLS, then HTTP/1.1 by the scripts of [`Hostile::at`].
    pub(crate) async fn https(config: ServerConfig) -> Self {
        Self::https_at("127.0.0.1:0", config).await
    }

    pub(crate) async fn https_at(at: &str, config: ServerConfig) -> Self {
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Self::tcp(at, move |stream, log| {
            let acceptor = acceptor.clone();
            async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    serve(stream, &log).await;
                }
            }
        })
        .await
    }

    /// From now on the path is answered so.
    pub(crate) fn at(&self, path: &str, acts: Vec<Act>) {
        let mut scripts = self.log.scripts.lock().unwrap();
        scripts.insert(path.to_owned(), acts);
    }

    /// Publishes a good document there, and returns its `client_id`.
    pub(crate) fn publish(&self, path: &str) -> String {
        let client = self.url(path);
        self.at(path, vec![Act::Say(ok(document(&client).as_bytes()))]);
        client
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://{HOST}:{}{path}", self.port())
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// TCP connections so far.
    pub(crate) fn connections(&self) -> usize {
        self.log.connections.load(Ordering::SeqCst)
    }

    /// What arrived so far: heads of requests, or what a script noted.
    pub(crate) fn read(&self) -> Vec<Vec<u8>> {
        self.log.read.lock().unwrap().clone()
    }

    /// Waits until the other side has ended so many connections.
    pub(crate) async fn ended(&self, count: usize) {
        let all = async {
            while self.log.ended.load(Ordering::SeqCst) < count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(10), all).await;
        assert!(waited.is_ok(), "a connection was not ended");
    }
}

/// HTTP/1.1 by the scripts of [`Hostile::at`], once.
pub(crate) async fn serve(mut stream: TlsStream<TcpStream>, log: &Log) {
    let head = read_head(&mut stream).await;
    log.note(head.clone());
    let head = String::from_utf8_lossy(&head);
    let path = head.split(' ').nth(1).unwrap_or_default();
    let acts = log.scripts.lock().unwrap().get(path).cloned();
    let missing = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
    for act in acts.unwrap_or_else(|| vec![Act::Say(missing.to_vec())]) {
        let went = match act {
            Act::Say(bytes) => say(&mut stream, &bytes).await,
            Act::Wait(pause) => {
                tokio::time::sleep(pause).await;
                Ok(())
            }
            Act::Drip(bytes, pause) => drip(&mut stream, &bytes, pause).await,
            Act::Repeat(bytes, pause) => loop {
                if let Err(error) = say(&mut stream, &bytes).await {
                    break Err(error);
                }
                tokio::time::sleep(pause).await;
            },
            Act::Listen => {
                _ = stream.read_to_end(&mut Vec::new()).await;
                log.ended.fetch_add(1, Ordering::SeqCst);
                Ok(())
            }
            Act::Cut => return,
        };
        if went.is_err() {
            log.ended.fetch_add(1, Ordering::SeqCst);
            return;
        }
    }
    _ = stream.shutdown().await;
}

async fn say(stream: &mut TlsStream<TcpStream>, bytes: &[u8]) -> std::io::Result<()> {
    stream.write_all(bytes).await?;
    stream.flush().await
}

async fn drip(
    stream: &mut TlsStream<TcpStream>,
    bytes: &[u8],
    pause: Duration,
) -> std::io::Result<()> {
    for byte in bytes {
        say(stream, &[*byte]).await?;
        tokio::time::sleep(pause).await;
    }
    Ok(())
}

/// Reads until the head of a request is whole, or the other side ends.
pub(crate) async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    head
}

/// The smallest valid document.
pub(crate) fn document(client_id: &str) -> String {
    format!(
        r#"{{"client_id":"{client_id}","redirect_uris":["https://{HOST}/cb"],"token_endpoint_auth_method":"none"}}"#
    )
}

/// An answer as it should be.
pub(crate) fn ok(body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// A fetcher in development mode that trusts the authority; `change` has the last word.
pub(crate) fn fetcher(
    authority: &Authority,
    resolver: Resolver,
    change: impl FnOnce(&mut Config),
) -> Fetcher {
    let mut config = Config::default();
    config.danger.allow_loopback_clients = true;
    config.fetch.extra_ca_file = Some(authority.file());
    change(&mut config);
    let clock = Clock::manual(UnixTime(1_800_000_000));
    Fetcher::new(&config, resolver, &clock).unwrap()
}

/// One fetch, as an administrator asks for it.
pub(crate) async fn fetch(fetcher: &Fetcher, url: &str) -> (Wire, Result<Fetched, FetchError>) {
    let wanted = Wanted {
        accept: DOCUMENT_ACCEPT,
        max_bytes: 10_240,
    };
    let url = Url::parse(url).unwrap();
    fetcher.get(&url, wanted, Charge::Administrator).await
}

/// What is wrong with a fetch that had to end before anybody was called; `None` where nothing is.
pub(crate) fn complaint_of_a_call(
    (wire, fetched): &(Wire, Result<Fetched, FetchError>),
    rule: &str,
) -> Option<String> {
    match fetched {
        Err(error) if error.rule() != rule => Some(format!("refused by {}: {error}", error.rule())),
        Ok(_) => Some("accepted".to_owned()),
        _ if wire.dialled.is_some() || wire.last_step() > Some(Step::Resolve) => {
            Some(format!("called: {:?} {:?}", wire.dialled, wire.steps))
        }
        _ => None,
    }
}

/// Every name of the list, at one address.
pub(crate) fn table(names: &[(&str, &str)]) -> Resolver {
    let entry = |(name, address): &(&str, &str)| {
        let address: IpAddr = address.parse().unwrap();
        ((*name).to_owned(), vec![address])
    };
    let table: HashMap<_, _> = names.iter().map(entry).collect();
    Resolver::Table(Arc::new(table))
}

/// Another server on the same database, with other settings and another DNS, and `ada` signed in at it.
pub(crate) async fn another(
    server: &TestApp,
    resolver: Resolver,
    change: impl FnOnce(&mut Config),
) -> (App, Browser) {
    let mut config = server.app.config.clone();
    change(&mut config);
    let store = Store::open(&config.database.url, 4).await.unwrap();
    let clock = Clock::manual(server.app.clock.now());
    let app = App::new(config, store, clock, resolver).await.unwrap();
    let mut browser = Browser::new(server::router(&app), app.config.issuer.origin());
    let page = browser.get("/login").await;
    let credentials = [("username", "ada"), ("password", PASSWORD)];
    let page = browser.submit(&page, &credentials).await;
    assert_eq!(page.status, 303, "{}", page.body);
    (app, browser)
}
