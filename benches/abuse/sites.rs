//! The clients' web sites: hosts of our own, each with an address of its own in 127.0.0.0/8, one port, one certificate, and a
//! name server that knows them.

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use image::{DynamicImage, ImageFormat, RgbaImage};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer},
    },
};

use super::{
    dns::{NameServer, Saying},
    signer::Signer,
};

/// How long a slow document takes: the server waits a little longer.
const SLOW: Duration = Duration::from_secs(3);
/// Below this path documents are slow.
const SLOWLY: &str = "/slow/";
/// The path of a client with a key, and of one with a logo.
pub(crate) const KEYED: &str = "/keyed.json";
pub(crate) const WITH_LOGO: &str = "/logo.json";

/// A client: any path at any host is one.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) id: String,
    pub(crate) redirect_uri: String,
}

pub(crate) struct Sites {
    pub(crate) ca_pem: String,
    pub(crate) names: NameServer,
    /// Whose public key is in keyed documents.
    pub(crate) signer: Arc<Signer>,
    port: u16,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Sites {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// What every site says.
struct Said {
    port: u16,
    max_age: u32,
    jwks: Value,
    logo: Bytes,
}

impl Sites {
    /// Hosts whose documents are fresh for so many seconds. Each host is a registrable domain.
    pub(crate) async fn start(hosts: &[String], max_age: u32) -> Self {
        let addresses: Vec<_> = (0..hosts.len())
            .map(|n| {
                Ipv4Addr::new(
                    127,
                    0,
                    1 + u8::try_from(n / 200).unwrap(),
                    1 + (n % 200) as u8,
                )
            })
            .collect();
        let listeners = listeners(&addresses).await;
        let port = listeners[0].local_addr().unwrap().port();
        let (ca_pem, acceptor) = certified(hosts);
        let names = NameServer::start().await;
        for (host, address) in hosts.iter().zip(&addresses) {
            names.say(host, Saying::addresses(&[&address.to_string()]));
        }
        let signer = Arc::new(Signer::new(Some("a")));
        let said = Arc::new(Said {
            port,
            max_age,
            jwks: signer.jwks(),
            logo: noise().into(),
        });
        let serve = |listener| tokio::spawn(accept(listener, acceptor.clone(), said.clone()));
        let tasks = listeners.into_iter().map(serve).collect();
        Self {
            ca_pem,
            names,
            signer,
            port,
            tasks,
        }
    }

    pub(crate) fn client(&self, host: &str, path: &str) -> Client {
        client(host, self.port, path)
    }

    /// A client whose document takes long.
    pub(crate) fn slow_client(&self, host: &str, name: &str) -> Client {
        client(host, self.port, &format!("{SLOWLY}{name}.json"))
    }
}

fn client(host: &str, port: u16, path: &str) -> Client {
    Client {
        id: format!("https://{host}:{port}{path}"),
        redirect_uri: format!("https://{host}:{port}/callback"),
    }
}

/// One for each address, all on the same port.
async fn listeners(addresses: &[Ipv4Addr]) -> Vec<TcpListener> {
    'port: for _ in 0..20 {
        let mut all = vec![TcpListener::bind((addresses[0], 0)).await.unwrap()];
        let port = all[0].local_addr().unwrap().port();
        for address in &addresses[1..] {
            match TcpListener::bind((*address, port)).await {
                Ok(listener) => all.push(listener),
                Err(_) => continue 'port,
            }
        }
        return all;
    }
    panic!("no port is free on all of {} addresses", addresses.len());
}

fn certified(hosts: &[String]) -> (String, TlsAcceptor) {
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(hosts.to_vec()).unwrap();
    let leaf = leaf.signed_by(&key, &ca).unwrap();
    let chain = vec![CertificateDer::from(leaf.der().to_vec())];
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    (ca.pem(), TlsAcceptor::from(Arc::new(config)))
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, said: Arc<Said>) {
    while let Ok((stream, _)) = listener.accept().await {
        _ = stream.set_nodelay(true);
        let (acceptor, said) = (acceptor.clone(), said.clone());
        tokio::spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else {
                return;
            };
            let service = service_fn(move |request| answer(said.clone(), request));
            _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn answer(
    said: Arc<Said>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, http::Error> {
    let path = request.uri().path();
    if path.starts_with(SLOWLY) {
        tokio::time::sleep(SLOW).await;
    }
    let host = request.headers().get(http::header::HOST);
    let host = host.and_then(|host| host.to_str().ok()).unwrap_or_default();
    let host = host.split(':').next().unwrap_or_default();
    let (kind, body) = match path {
        "/logo.png" => ("image/png", said.logo.clone()),
        _ => {
            let document = said.document(host, path).to_string();
            ("application/json", document.into())
        }
    };
    Response::builder()
        .header("content-type", kind)
        .header("cache-control", format!("max-age={}", said.max_age))
        .body(Full::new(body))
}

impl Said {
    fn document(&self, host: &str, path: &str) -> Value {
        let Client { id, redirect_uri } = client(host, self.port, path);
        let mut document = json!({
            "client_id": id,
            "client_name": "Test Notebook",
            "redirect_uris": [redirect_uri],
            "grant_types": ["authorization_code", "refresh_token"],
            "token_endpoint_auth_method": "none",
        });
        if path == KEYED {
            document["token_endpoint_auth_method"] = json!("private_key_jwt");
            document["jwks"] = self.jwks.clone();
        }
        if path == WITH_LOGO {
            document["logo_uri"] = json!(client(host, self.port, "/logo.png").id);
        }
        document
    }
}

/// A picture that no encoder makes smaller: 64 KiB.
fn noise() -> Vec<u8> {
    let mut state = 0x5eed_u32;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()
    };
    let picture = RgbaImage::from_fn(128, 128, |_, _| image::Rgba(random()));
    let mut bytes = std::io::Cursor::new(Vec::new());
    let picture = DynamicImage::ImageRgba8(picture);
    picture.write_to(&mut bytes, ImageFormat::Png).unwrap();
    bytes.into_inner()
}
