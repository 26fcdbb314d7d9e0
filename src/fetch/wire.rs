//! What was seen on the wire: for `explain` and the log, whatever became of the fetch.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rustls::{
    ClientConfig, DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    pki_types::{CertificateDer, ServerName, UnixTime},
};

/// The steps of a fetch, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Looking the host up.
    Resolve,
    /// TCP and TLS.
    Connect,
    /// Until the head of the answer is there.
    Head,
    /// Until its body is there.
    Body,
}

impl Step {
    /// Its stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Resolve => "resolve",
            Self::Connect => "connect",
            Self::Head => "head",
            Self::Body => "body",
        }
    }
}

/// What the server showed in the TLS handshake.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// `1.2` or `1.3`; `None` when the certificate was refused.
    pub version: Option<&'static str>,
    /// Certificates in its chain.
    pub certificates: usize,
    /// When it had proven that the certificate is its own.
    proven_at: Option<Instant>,
}

/// The facts of one fetch.
#[derive(Clone, Debug, Default)]
pub struct Wire {
    /// All addresses of the host, checked or refused.
    pub addresses: Vec<IpAddr>,
    pub dialled: Option<SocketAddr>,
    pub tls: Option<Tls>,
    pub status: Option<u16>,
    /// Of the answer; names in lower case.
    pub headers: Vec<(String, String)>,
    /// Of the body, as far as it was read.
    pub bytes: usize,
    /// How long each step took that was begun.
    pub steps: Vec<(Step, Duration)>,
    /// The body's first bytes, to recognise what answers instead of a document.
    pub beginning: Vec<u8>,
}

impl Wire {
    /// How long all steps took together.
    pub fn milliseconds(&self) -> u128 {
        let all: Duration = self.steps.iter().map(|(_, took)| *took).sum();
        all.as_millis()
    }

    /// The step that was begun last, if any was.
    pub fn last_step(&self) -> Option<Step> {
        self.steps.last().map(|(step, _)| *step)
    }
}

/// Times the steps into a [`Wire`]: the last one, too, when the fetch is cut off.
pub(super) struct Stopwatch<'a> {
    pub(super) wire: &'a mut Wire,
    since: Instant,
}

impl<'a> Stopwatch<'a> {
    pub(super) fn new(wire: &'a mut Wire) -> Self {
        Self {
            wire,
            since: Instant::now(),
        }
    }

    /// Ends the step before, begins this one.
    pub(super) fn begin(&mut self, step: Step) {
        self.note(Instant::now());
        self.since = Instant::now();
        self.wire.steps.push((step, Duration::ZERO));
    }

    fn note(&mut self, now: Instant) {
        if let Some((_, took)) = self.wire.steps.last_mut() {
            *took = now.saturating_duration_since(self.since);
        }
    }

    /// Takes over what was seen of TLS. From when it stood on, we waited for the head of the answer.
    pub(super) fn tls(&mut self, seen: &Mutex<Option<Tls>>) {
        let seen = seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(at) = seen.as_ref().and_then(|tls| tls.proven_at) {
            self.note(at);
            self.since = at;
            self.wire.steps.push((Step::Head, Duration::ZERO));
        }
        self.wire.tls = seen;
    }
}

/// Reads what was seen of TLS when the fetch is cut off in between, and times the last step.
pub(super) struct Running<'w, 's> {
    pub(super) watch: Stopwatch<'w>,
    pub(super) seen: &'s Mutex<Option<Tls>>,
}

impl Drop for Running<'_, '_> {
    fn drop(&mut self) {
        if self.watch.wire.last_step() == Some(Step::Connect) {
            self.watch.tls(self.seen);
        }
        self.watch.note(Instant::now());
    }
}

/// A certificate verifier that decides nothing: it writes down what it sees and asks the real one.
#[derive(Debug)]
pub(super) struct Observer {
    real: Arc<dyn ServerCertVerifier>,
    seen: Arc<Mutex<Option<Tls>>>,
}

impl Observer {
    /// The configuration with an observer in it that writes to `seen`.
    pub(super) fn attach(
        tls: &ClientConfig,
        real: &Arc<dyn ServerCertVerifier>,
        seen: &Arc<Mutex<Option<Tls>>>,
    ) -> ClientConfig {
        let observer = Self {
            real: Arc::clone(real),
            seen: Arc::clone(seen),
        };
        let mut tls = tls.clone();
        tls.dangerous().set_certificate_verifier(Arc::new(observer));
        tls
    }

    fn proven(&self, version: &'static str) {
        self.write(|tls| {
            tls.version = Some(version);
            tls.proven_at = Some(Instant::now());
        });
    }

    fn write(&self, change: impl FnOnce(&mut Tls)) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        change(seen.get_or_insert_default());
    }
}

impl ServerCertVerifier for Observer {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.write(|tls| tls.certificates = 1 + intermediates.len());
        self.real
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let proven = self.real.verify_tls12_signature(message, cert, signature)?;
        self.proven("1.2");
        Ok(proven)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let proven = self.real.verify_tls13_signature(message, cert, signature)?;
        self.proven("1.3");
        Ok(proven)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.real.supported_verify_schemes()
    }
}
