//! Questions of an administrator to their own server, as its clients would ask: at its issuer, and nowhere else.
//!
//! The issuer may lie on a private network or on this machine, where no client's document is fetched from. So these
//! questions have a way of their own that knows one origin, the configured one, and follows nothing.

use std::{
    net::IpAddr,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    pki_types::{CertificateDer, ServerName, UnixTime as TlsTime, pem::PemObject},
};

use super::{FetchError, FetcherError, LOOP_MARKER, Resolver, Step, check_head, connector, roots};
use crate::{config::Config, protocol::issuer::IssuerUrl, time::UnixTime};

/// Longest time for one question.
const PATIENCE: Duration = Duration::from_secs(5);
/// Largest answer that is read, in bytes.
const MOST: usize = 64 * 1_024;
/// Seconds: later than any certificate is good.
const LATER: u64 = 253_402_300_799;

/// Asks our own server.
#[derive(Debug)]
pub struct IssuerProbe {
    issuer: IssuerUrl,
    resolver: Resolver,
    limits: crate::config::Fetch,
    tls: ClientConfig,
    certificate: Arc<Certificate>,
}

/// What was seen of an answer, whatever became of it.
#[derive(Debug, Default)]
pub struct Observed {
    pub addresses: Vec<IpAddr>,
    pub status: Option<u16>,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl IssuerProbe {
    /// With the authorities that clients' hosts are judged by, and this machine's own names.
    ///
    /// # Errors
    ///
    /// When there are no authorities.
    pub fn new(config: &Config) -> Result<Self, FetcherError> {
        let roots = Arc::new(roots(config)?);
        let real = WebPkiServerVerifier::builder(Arc::clone(&roots)).build();
        let certificate = Arc::new(Certificate {
            real: real.map_err(|error| FetcherError::NoRoots(error.to_string()))?,
            ends: Mutex::default(),
        });
        let mut tls = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        tls.resumption = rustls::client::Resumption::disabled();
        tls.dangerous()
            .set_certificate_verifier(certificate.clone());
        Ok(Self {
            issuer: config.issuer.clone(),
            resolver: Resolver::System,
            limits: config.fetch.clone(),
            tls,
            certificate,
        })
    }

    /// `GET` of a path at the issuer's origin. Fails unless the answer is whole and has status 200.
    pub async fn get(&self, path: &str) -> (Observed, Result<(), FetchError>) {
        let mut observed = Observed::default();
        let asked = tokio::time::timeout(PATIENCE, self.ask(path, &mut observed)).await;
        let seconds = u32::try_from(PATIENCE.as_secs()).unwrap_or(u32::MAX);
        let step = match observed.status {
            None => Step::Connect,
            Some(_) => Step::Body,
        };
        let asked = asked.unwrap_or(Err(FetchError::Timeout(step, seconds)));
        (observed, asked)
    }

    /// When the certificate ends that the server showed last, accepted or not.
    pub fn certificate_ends(&self) -> Option<UnixTime> {
        *self
            .certificate
            .ends
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// When the first certificate in a PEM file ends.
    pub fn certificate_in(&self, file: &Path) -> Option<UnixTime> {
        let first = CertificateDer::pem_file_iter(file).ok()?.next()?.ok()?;
        let name = self.issuer.host().trim_matches(['[', ']']).to_owned();
        let name = ServerName::try_from(name).ok()?;
        self.certificate.end_of(&first, &[], &name)
    }

    async fn ask(&self, path: &str, observed: &mut Observed) -> Result<(), FetchError> {
        let host = self.issuer.host();
        let limit = Duration::from_secs(self.limits.dns_timeout.get().into());
        observed.addresses = match host.trim_matches(['[', ']']).parse() {
            Ok(literal) => vec![literal],
            Err(_) => self.resolver.addresses(host, limit).await?,
        };
        let agent = format!("Wayleave/{} (doctor)", env!("CARGO_PKG_VERSION"));
        let client = connector::builder(
            self.tls.clone(),
            host,
            &observed.addresses,
            &self.limits,
            &agent,
        )
        .https_only(self.issuer.is_https())
        .build()
        .map_err(|error| FetchError::Connect(connector::chain(&error)))?;
        let mut response = client
            .get(format!("{}{path}", self.issuer.origin()))
            .header("accept-encoding", "identity")
            .header("cdn-loop", LOOP_MARKER)
            .send()
            .await
            .map_err(|error| connector::no_answer(&error))?;
        observed.status = Some(response.status().as_u16());
        let text =
            |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let headers = response.headers().iter();
        observed.headers = headers
            .map(|(name, value)| (name.as_str().to_owned(), text(value)))
            .collect();
        let wanted = super::Wanted {
            accept: "*/*",
            max_bytes: MOST,
        };
        check_head(&response, wanted)?;
        while let Some(chunk) = response
            .chunk()
            .await
            .map_err(|error| FetchError::Broken(connector::chain(&error)))?
        {
            if observed.body.len() + chunk.len() > MOST {
                return Err(FetchError::TooLarge(MOST));
            }
            observed.body.extend_from_slice(&chunk);
        }
        Ok(())
    }
}

/// Judges as strangers' certificates are judged, and writes down when the certificate ends.
#[derive(Debug)]
struct Certificate {
    real: Arc<WebPkiServerVerifier>,
    ends: Mutex<Option<UnixTime>>,
}

impl Certificate {
    /// At a time when no certificate is good, the library says when this one ceased to be.
    fn end_of(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
    ) -> Option<UnixTime> {
        let later = TlsTime::since_unix_epoch(Duration::from_secs(LATER));
        let judged = self
            .real
            .verify_server_cert(end_entity, intermediates, name, &[], later);
        let Err(Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) =
            judged
        else {
            return None;
        };
        i64::try_from(not_after.as_secs()).ok().map(UnixTime)
    }
}

impl ServerCertVerifier for Certificate {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: TlsTime,
    ) -> Result<ServerCertVerified, Error> {
        let ends = self.end_of(end_entity, intermediates, server_name);
        *self.ends.lock().unwrap_or_else(PoisonError::into_inner) = ends;
        let real = &self.real;
        real.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.real.verify_tls12_signature(message, cert, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.real.verify_tls13_signature(message, cert, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.real.supported_verify_schemes()
    }
}
