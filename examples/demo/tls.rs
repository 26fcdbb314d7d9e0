//! A certification authority made for the occasion, and the TLS site that serves the client's document.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{Router, routing::get};
use http::{StatusCode, Uri};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// What TLS needs on both sides.
pub(crate) struct Pki {
    pub(crate) ca_file: PathBuf,
    pub(crate) acceptor: TlsAcceptor,
}

/// Makes a CA, its file in `folder`, and a certificate for `localhost`.
pub(crate) fn make(folder: &Path) -> anyhow::Result<Pki> {
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate()?)?;
    let key = KeyPair::generate()?;
    let leaf = CertificateParams::new(vec!["localhost".to_owned()])?.signed_by(&key, &ca)?;
    let ca_file = folder.join("ca.pem");
    std::fs::write(&ca_file, ca.pem())?;

    let chain = vec![CertificateDer::from(leaf.der().to_vec())];
    let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(anyhow::Error::msg)?;
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    Ok(Pki {
        ca_file,
        acceptor: TlsAcceptor::from(Arc::new(config)),
    })
}

/// How often the document has been read.
#[derive(Clone, Default)]
pub(crate) struct Reads(Arc<AtomicUsize>);

impl Reads {
    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// What the site serves, by path; it may change.
pub(crate) type Documents = Arc<Mutex<HashMap<&'static str, Value>>>;

/// Serves the documents until the demo ends.
pub(crate) async fn serve(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    documents: Documents,
    reads: Reads,
) {
    let serve = move |uri: Uri| async move {
        if uri.path() == "/client.json" {
            reads.0.fetch_add(1, Ordering::Relaxed);
        }
        let documents = documents.lock().unwrap_or_else(PoisonError::into_inner);
        let document = documents.get(uri.path()).cloned();
        document.map(axum::Json).ok_or(StatusCode::NOT_FOUND)
    };
    let router = Router::new().fallback(get(serve));
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, router) = (acceptor.clone(), router.clone());
        tokio::spawn(async move {
            // A peer that breaks off is its own problem.
            let Ok(stream) = acceptor.accept(stream).await else {
                return;
            };
            let service = TowerToHyperService::new(router);
            _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}
