//! `wayleave healthcheck`: asks the server of this machine whether it is ready, for containers that have no other client.

use std::{
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, ensure};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, Stream,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, UnixTime},
};

use super::output;
use crate::config::Config;

/// For connecting, and for each read and write.
const PATIENCE: Duration = Duration::from_secs(3);
/// The same for those who only wonder whether anybody is there.
const GLANCE: Duration = Duration::from_millis(500);
/// Longer answers are not ours.
const LONGEST: u64 = 16 * 1_024;

/// Says whether the server is ready.
pub(super) fn run(config: &Config, as_json: bool) -> anyhow::Result<()> {
    let status = ask(config)?;
    let address = reachable(config.server.listen);
    ensure!(
        status.starts_with("HTTP/1.1 200 "),
        "not ready: {address} answered {status}"
    );
    if as_json {
        return output::json(&serde_json::json!({ "ready": true, "address": address }));
    }
    say!("ready");
    Ok(())
}

/// Asks `/readyz` at the configured listener: the status line of its answer.
pub(super) fn ask(config: &Config) -> anyhow::Result<String> {
    let answer = get(config, "/readyz", PATIENCE)?;
    // However the connection ends: what counts came first.
    let status = answer
        .split_once("\r\n")
        .map(|(status, _)| status.to_owned());
    status.with_context(|| {
        let address = reachable(config.server.listen);
        format!("no answer from {address}: the connection was closed")
    })
}

/// The keys that the server at the configured listener publishes, by their `kid`; `None` where no server of ours is.
pub(super) fn published_keys(config: &Config) -> Option<Vec<String>> {
    let base = config
        .issuer
        .as_str()
        .strip_prefix(config.issuer.origin())?;
    let answer = get(config, &format!("{base}/jwks"), GLANCE).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    if !head.starts_with("HTTP/1.1 200 ") {
        return None;
    }
    let set: serde_json::Value = serde_json::from_str(body).ok()?;
    let kids = set.get("keys")?.as_array()?.iter();
    let kids = kids.filter_map(|key| Some(key.get("kid")?.as_str()?.to_owned()));
    Some(kids.collect()).filter(|kids: &Vec<_>| !kids.is_empty())
}

/// What the listener answers, head and body.
fn get(config: &Config, path: &str, patience: Duration) -> anyhow::Result<String> {
    let address = reachable(config.server.listen);
    let ask = || -> anyhow::Result<String> {
        let mut stream = TcpStream::connect_timeout(&address, patience)?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        if config.server.tls.is_none() {
            return exchange(stream, config, path);
        }
        let mut tls = tls(config)?;
        exchange(Stream::new(&mut tls, &mut stream), config, path)
    };
    ask().with_context(|| format!("no answer from {address}"))
}

/// Who listens on every address is asked on the loopback.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(ip, listen.port())
}

/// Asks for a path, and reads what comes before the connection ends in whatever way.
fn exchange(mut stream: impl Read + Write, config: &Config, path: &str) -> anyhow::Result<String> {
    let host = config.issuer.host();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    let read = stream.take(LONGEST).read_to_end(&mut answer);
    match (answer.is_empty(), read) {
        (true, Err(error)) => Err(error.into()),
        _ => Ok(String::from_utf8_lossy(&answer).into_owned()),
    }
}

/// A connection that takes any certificate: it goes to this machine, tells nothing, and believes one bit.
fn tls(config: &Config) -> anyhow::Result<ClientConnection> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate))
        .with_no_client_auth();
    let name = config.issuer.host().trim_matches(['[', ']']).to_owned();
    Ok(ClientConnection::new(
        Arc::new(client),
        ServerName::try_from(name)?,
    )?)
}

#[derive(Debug)]
struct AnyCertificate;

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        aws_lc_rs::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_listens_everywhere_is_asked_on_the_loopback() {
        let table = [
            ("0.0.0.0:8080", "127.0.0.1:8080"),
            ("[::]:443", "[::1]:443"),
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            ("192.0.2.1:8080", "192.0.2.1:8080"),
        ];
        for (listen, expected) in table {
            let got = reachable(listen.parse().unwrap());
            assert_eq!(got, expected.parse().unwrap(), "{listen}");
        }
    }
}
