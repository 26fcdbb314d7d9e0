//! TLS in process, RFC 8446: the certificate is read again when its files change.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use rustls::{
    ServerConfig,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
};
use tokio_rustls::TlsAcceptor;

use crate::config;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// Our side of TLS.
#[derive(Debug)]
pub struct Tls {
    files: config::Tls,
    read: ArcSwap<ServerConfig>,
    /// Of the files when they were read.
    stamps: Stamps,
}

/// When each file was written, and how long it is; `None` if it is not there.
type Stamps = [Option<(SystemTime, u64)>; 2];

/// TLS in process, if it is configured.
///
/// # Errors
///
/// A message that names the key, the file and what was expected.
pub fn tls(config: &config::Server) -> Result<Option<Tls>, String> {
    let Some(files) = &config.tls else {
        return Ok(None);
    };
    let stamps = stamps(files);
    Ok(Some(Tls {
        read: ArcSwap::from_pointee(read(files)?),
        files: files.clone(),
        stamps,
    }))
}

impl Tls {
    /// With the certificate that is in force now.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.read.load_full())
    }

    /// Reads the files again whenever they have changed. What cannot be used changes nothing, and is tried again.
    pub(super) async fn watch(&self) {
        let mut known = self.stamps;
        let mut seen = known;
        // What was wrong with the files the last time: it is told once.
        let mut wrong = None;
        let mut tick = tokio::time::interval(LOOK);
        loop {
            tick.tick().await;
            let (before, files) = (seen, self.files.clone());
            let Ok(now) = tokio::task::spawn_blocking(move || stamps(&files)).await else {
                continue;
            };
            seen = now;
            // The chain and the key are two files: whoever is writing them is let finish.
            if now == known || now != before {
                continue;
            }
            let files = self.files.clone();
            let read = tokio::task::spawn_blocking(move || read(&files)).await;
            match read.unwrap_or_else(|error| Err(error.to_string())) {
                Ok(read) => {
                    self.read.store(Arc::new(read));
                    (known, wrong) = (now, None);
                    tracing::info!("the TLS certificate was read again");
                }
                Err(error) if wrong.as_ref() != Some(&error) => {
                    tracing::error!(error, "the TLS certificate stays as it was");
                    wrong = Some(error);
                }
                Err(_) => {}
            }
        }
    }
}

fn stamps(files: &config::Tls) -> Stamps {
    [&files.cert_file, &files.key_file].map(|path| {
        let about = std::fs::metadata(path).ok()?;
        Some((about.modified().ok()?, about.len()))
    })
}

/// What is wrong with a PEM file.
fn in_words(error: &pem::Error) -> String {
    match error {
        pem::Error::Io(error) => error.to_string(),
        pem::Error::NoItemsFound => "it has none".to_owned(),
        _ => "it is no PEM file (-----BEGIN …-----)".to_owned(),
    }
}

fn read(files: &config::Tls) -> Result<ServerConfig, String> {
    let wrong = |key: &str, path: &Path, expected: &str, error: &dyn std::fmt::Display| {
        format!(
            "server.tls.{key}: expected {expected} at {}: {error}",
            path.display()
        )
    };
    let bad_chain = |error: &dyn std::fmt::Display| {
        let expected = "a PEM certificate chain";
        wrong("cert_file", &files.cert_file, expected, error)
    };
    let bad_key = |error: &dyn std::fmt::Display| {
        let expected = "a PEM private key of the certificate";
        wrong("key_file", &files.key_file, expected, error)
    };
    let chain =
        CertificateDer::pem_file_iter(&files.cert_file).map_err(|e| bad_chain(&in_words(&e)))?;
    let chain: Vec<_> = chain
        .collect::<Result<_, _>>()
        .map_err(|e| bad_chain(&in_words(&e)))?;
    if chain.is_empty() {
        return Err(bad_chain(&"it has no certificate"));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key_file).map_err(|e| bad_key(&in_words(&e)))?;
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => bad_key(&"it belongs to another certificate"),
            _ => bad_key(&"the two cannot be used"),
        })?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
