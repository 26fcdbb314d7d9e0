//! Rows T- of the attack corpus: whose certificate is believed, over which TLS, and what else is not.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use aws_lc_rs::signature::{
    RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, RsaPublicKeyComponents,
};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CrlDistributionPoint, CustomExtension,
    DistinguishedName, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer, KeyPair,
    NameConstraints, date_time_ymd,
};
use rustls::{
    RootCertStore, ServerConfig, SignatureAlgorithm, SignatureScheme, SupportedProtocolVersion,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
    sign::{CertifiedKey, Signer, SigningKey, SingleCertAndKey},
    version::{TLS12, TLS13},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::TlsAcceptor;
use wayleave::{config::Config, secret::sha256};

use crate::{
    rows_url::{file, report},
    support::{
        Database, TestApp,
        hostile::{
            Act, Authority, HOST, Hostile, another, document, fetch, fetcher, ok, serve, serving,
            table,
        },
    },
};

/// A case, its server, and whether its document is read; else the connection is refused for its TLS.
struct Case {
    id: &'static str,
    case: String,
    server: ServerConfig,
    accepted: bool,
}

impl Case {
    fn accepted(id: &'static str, case: impl Into<String>, server: ServerConfig) -> Self {
        Self {
            id,
            case: case.into(),
            server,
            accepted: true,
        }
    }

    fn refused(id: &'static str, case: impl Into<String>, server: ServerConfig) -> Self {
        Self {
            accepted: false,
            ..Self::accepted(id, case, server)
        }
    }

    /// What is wrong with what came of it.
    async fn complaint(self, authority: &Authority, change: fn(&mut Config)) -> Option<String> {
        let site = Hostile::https(self.server).await;
        let client = site.publish("/c");
        let fetcher = fetcher(authority, table(&[(HOST, "127.0.0.1")]), change);
        let (_, fetched) = fetch(&fetcher, &client).await;
        let (id, case) = (self.id, self.case);
        let is_refused = !site.read().iter().any(|head| !head.is_empty());
        match (self.accepted, fetched) {
            (true, Ok(_)) => None,
            (false, Err(error)) if error.rule() == "fetch.tls" && is_refused => None,
            (_, other) => Some(format!("{id} {case}: {other:?}")),
        }
    }
}

async fn judge(authority: &Authority, cases: Vec<Case>) {
    let (mut failures, count) = (Vec::new(), cases.len());
    for case in cases {
        failures.extend(case.complaint(authority, |_| {}).await);
    }
    report(failures, count);
}

fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    CertificateParams::new(names).unwrap()
}

fn with(change: impl FnOnce(&mut CertificateParams)) -> CertificateParams {
    let mut params = params(&[HOST]);
    change(&mut params);
    params
}

/// An authority below another one.
fn below(
    issuer: &Issuer<'_, KeyPair>,
    change: impl FnOnce(&mut CertificateParams),
) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "below");
    change(&mut params);
    CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), issuer).unwrap()
}

/// A server that has this chain and key.
fn with_chain(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> ServerConfig {
    ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap()
}

/// The same, whatever the chain and the key are.
fn with_key(
    versions: &[&'static SupportedProtocolVersion],
    chain: Vec<CertificateDer<'static>>,
    key: Arc<dyn SigningKey>,
) -> ServerConfig {
    ServerConfig::builder_with_protocol_versions(versions)
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(CertifiedKey::new(
            chain, key,
        ))))
}

#[tokio::test]
async fn t_01_tls_1_3_and_1_2_with_a_valid_chain() {
    let authority = Authority::new();
    for (version, name) in [(&TLS13, "1.3"), (&TLS12, "1.2")] {
        let key = KeyPair::generate().unwrap();
        let leaf = params(&[HOST]).signed_by(&key, &authority.issuer).unwrap();
        let server = ServerConfig::builder_with_protocol_versions(&[version])
            .with_no_client_auth()
            .with_single_cert(
                vec![leaf.der().clone()],
                PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            )
            .unwrap();
        let site = Hostile::https(server).await;
        let client = site.publish("/c");
        let fetcher = fetcher(&authority, table(&[(HOST, "127.0.0.1")]), |_| {});
        let (wire, fetched) = fetch(&fetcher, &client).await;
        assert!(fetched.is_ok(), "{name}: {fetched:?}");
        let tls = wire.tls.unwrap();
        assert_eq!((tls.version, tls.certificates), (Some(name), 1));
    }
}

#[tokio::test]
async fn t_02_a_certificate_must_be_valid_now_for_the_name_and_from_a_known_authority() {
    let authority = Authority::new();
    let ca = &*authority.issuer;
    let stranger = Authority::new();
    let between = below(ca, |_| {});
    let chain = [between.der().clone()];
    let own = {
        let key = KeyPair::generate().unwrap();
        let leaf = params(&[HOST]).self_signed(&key).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        with_chain(vec![leaf.der().clone()], key)
    };
    let not_an_authority = below(ca, |params| params.is_ca = IsCa::ExplicitNoCa);
    let other_purpose =
        with(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]);
    let expired = with(|params| params.not_after = date_time_ymd(2020, 1, 1));
    let early = with(|params| params.not_before = date_time_ymd(4000, 1, 1));
    let late_between = below(ca, |params| params.not_after = date_time_ymd(2020, 1, 1));
    let elsewhere = params(&["other.example.net"]);
    let good = || params(&[HOST]);
    let cases = vec![
        Case::accepted("T-02", "a good one", serving(good(), ca, &[])),
        Case::accepted(
            "T-02",
            "by an intermediate",
            serving(good(), &between, &chain),
        ),
        Case::refused("T-02", "expired", serving(expired, ca, &[])),
        Case::refused("T-02", "not yet valid", serving(early, ca, &[])),
        Case::refused("T-02", "for another host", serving(elsewhere, ca, &[])),
        Case::refused("T-02", "self-signed", own),
        Case::refused(
            "T-02",
            "of an unknown authority",
            serving(good(), &stranger.issuer, &[stranger.issuer.der().clone()]),
        ),
        Case::refused(
            "T-02",
            "intermediate missing",
            serving(good(), &between, &[]),
        ),
        Case::refused(
            "T-02",
            "intermediate expired",
            serving(good(), &late_between, &[late_between.der().clone()]),
        ),
        Case::refused(
            "T-02",
            "an intermediate that is no authority",
            serving(good(), &not_an_authority, &[not_an_authority.der().clone()]),
        ),
        Case::refused("T-02", "for clients", serving(other_purpose, ca, &[])),
    ];
    judge(&authority, cases).await;
}

#[tokio::test]
async fn t_04_only_a_dns_name_in_the_certificate_counts() {
    let authority = Authority::new();
    let ca = &*authority.issuer;
    let common_name = |name: &str| {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params
    };
    let mut misleading = common_name(HOST);
    misleading.subject_alt_names = params(&["other.example.net"]).subject_alt_names;
    let mut cases = vec![
        Case::refused(
            "T-04",
            "common name only",
            serving(common_name(HOST), ca, &[]),
        ),
        Case::refused(
            "T-04",
            "common name and another",
            serving(misleading, ca, &[]),
        ),
    ];
    for (name, accepted) in [
        ("app.example.com", true),
        ("APP.example.COM", true),
        ("*.example.com", true),
        ("127.0.0.1", false),
        ("*", false),
        ("*.com", false),
        ("*.*.com", false),
        ("*.app.example.com", false),
        ("a*.example.com", false),
        ("app.*.com", false),
        ("example.com", false),
        ("app.example.com.example.net", false),
    ] {
        let server = serving(params(&[name]), ca, &[]);
        cases.push(Case {
            accepted,
            ..Case::accepted("T-04", name, server)
        });
    }
    judge(&authority, cases).await;

    // The names that a wildcard nearly covers.
    for (name, wildcard) in [
        ("a.b.example.com", "*.example.com"),
        ("example.com", "*.com"),
        ("example.com", "*.example.com"),
        ("example.com", "*"),
    ] {
        let site = Hostile::https(authority.server(&[wildcard])).await;
        let fetcher = fetcher(&authority, table(&[(name, "127.0.0.1")]), |_| {});
        let url = format!("https://{name}:{}/c", site.port());
        let (_, fetched) = fetch(&fetcher, &url).await;
        let rule = fetched.map_err(|error| error.rule());
        assert_eq!(rule.unwrap_err(), "fetch.tls", "{wildcard} for {name}");
    }
}

#[tokio::test]
async fn t_05_constraints_of_names_are_kept() {
    let authority = Authority::new();
    let dns = |name: &str| vec![GeneralSubtree::DnsName(name.to_owned())];
    let table = [
        ("permitted", dns("example.com"), vec![], HOST, true),
        ("permitted", dns(HOST), vec![], HOST, true),
        ("another permitted", dns("example.net"), vec![], HOST, false),
        (
            "below it permitted",
            dns("x.app.example.com"),
            vec![],
            HOST,
            false,
        ),
        ("excluded", vec![], dns("example.com"), HOST, false),
        ("excluded", vec![], dns(HOST), HOST, false),
        (
            "permitted and excluded",
            dns("example.com"),
            dns(HOST),
            HOST,
            false,
        ),
        (
            "a wildcard, permitted",
            dns("example.com"),
            vec![],
            "*.example.com",
            true,
        ),
        (
            "a wildcard, one permitted",
            dns(HOST),
            vec![],
            "*.example.com",
            false,
        ),
        (
            "a wildcard, one excluded",
            vec![],
            dns(HOST),
            "*.example.com",
            false,
        ),
        (
            "a wildcard, others permitted",
            dns("example.net"),
            vec![],
            "*.example.com",
            false,
        ),
    ];
    let mut cases = Vec::new();
    for (case, permitted_subtrees, excluded_subtrees, name, accepted) in table {
        let between = below(&authority.issuer, |params| {
            params.name_constraints = Some(NameConstraints {
                permitted_subtrees,
                excluded_subtrees,
            });
        });
        let server = serving(params(&[name]), &between, &[between.der().clone()]);
        cases.push(Case {
            accepted,
            ..Case::accepted("T-05", case, server)
        });
    }
    // The first of two names is fine, the second is not: the certificate breaks its constraint.
    let between = below(&authority.issuer, |params| {
        params.name_constraints = Some(NameConstraints {
            permitted_subtrees: dns("example.com"),
            excluded_subtrees: Vec::new(),
        });
    });
    let two = params(&[HOST, "other.example.net"]);
    cases.push(Case::refused(
        "T-05",
        "another name",
        serving(two, &between, &[between.der().clone()]),
    ));
    judge(&authority, cases).await;
}

/// A key of 1,024 bits, which our own library would not sign with. Too slow and too leaky for anything but a test.
#[derive(Clone, Debug)]
struct SmallRsa {
    modulus: Vec<u64>,
    exponent: Vec<u64>,
}

impl SmallRsa {
    fn of_the_corpus() -> Self {
        let key: serde_json::Value = serde_json::from_str(&file("tls/rsa-1024.json")).unwrap();
        // The least significant part comes first.
        let number = |name: &str| {
            let text = key[name].as_str().unwrap().as_bytes();
            let parts = text
                .rchunks(16)
                .map(|part| std::str::from_utf8(part).unwrap());
            parts
                .map(|part| u64::from_str_radix(part, 16).unwrap())
                .collect()
        };
        Self {
            modulus: number("modulus"),
            exponent: number("private_exponent"),
        }
    }

    /// RFC 8017 §8.2.1.
    fn sign(&self, message: &[u8]) -> Vec<u8> {
        const SHA_256: &[u8] =
            b"\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20";
        let mut padded = vec![0, 1];
        padded.extend([0xff; 128 - 3 - 19 - 32]);
        padded.push(0);
        padded.extend(SHA_256);
        padded.extend(sha256(message));
        let base: Vec<u64> = padded
            .rchunks(8)
            .map(|part| u64::from_be_bytes(part.try_into().unwrap()))
            .collect();
        let mut power = vec![0; base.len()];
        power[0] = 1;
        for bit in (0..1_024).rev() {
            power = self.product(&power, &power);
            if self.exponent[bit / 64] >> (bit % 64) & 1 == 1 {
                power = self.product(&power, &base);
            }
        }
        power
            .iter()
            .rev()
            .flat_map(|part| part.to_be_bytes())
            .collect()
    }

    fn product(&self, a: &[u64], b: &[u64]) -> Vec<u64> {
        let mut product = vec![0; a.len()];
        for bit in (0..1_024).rev() {
            product = self.sum(&product, &product);
            if b[bit / 64] >> (bit % 64) & 1 == 1 {
                product = self.sum(&product, a);
            }
        }
        product
    }

    fn sum(&self, a: &[u64], b: &[u64]) -> Vec<u64> {
        let mut carry = false;
        let sum: Vec<u64> = a
            .iter()
            .zip(b)
            .map(|(a, b)| {
                let (sum, one) = a.overflowing_add(*b);
                let (sum, two) = sum.overflowing_add(u64::from(carry));
                carry = one || two;
                sum
            })
            .collect();
        let is_less = sum.iter().rev().lt(self.modulus.iter().rev());
        if is_less && !carry {
            return sum;
        }
        let mut borrow = false;
        let reduced = sum.iter().zip(&self.modulus).map(|(a, b)| {
            let (rest, one) = a.overflowing_sub(*b);
            let (rest, two) = rest.overflowing_sub(u64::from(borrow));
            borrow = one || two;
            rest
        });
        reduced.collect()
    }

    fn bytes(number: &[u64]) -> Vec<u8> {
        number
            .iter()
            .rev()
            .flat_map(|part| part.to_be_bytes())
            .collect()
    }
}

impl SigningKey for SmallRsa {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let scheme = SignatureScheme::RSA_PKCS1_SHA256;
        offered
            .contains(&scheme)
            .then(|| Box::new(self.clone()) as Box<dyn Signer>)
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::RSA
    }
}

impl Signer for SmallRsa {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        Ok(self.sign(message))
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::RSA_PKCS1_SHA256
    }
}

/// The chain is good but for the one thing; the same authority and key with SHA-256 and 2,048 bits are accepted.
#[tokio::test]
async fn t_06_weak_keys_and_hashes_are_refused() {
    let authority = Authority::new();
    let corpus = |name: &str| CertificateDer::from_pem_slice(file(name).as_bytes()).unwrap();
    let key = || PrivateKeyDer::from_pem_slice(file("tls/leaf.key").as_bytes()).unwrap();
    let server = |name: &str| with_chain(vec![corpus(name)], key());

    let small = SmallRsa::of_the_corpus();
    let public = RsaPublicKeyComponents {
        n: SmallRsa::bytes(&small.modulus),
        e: vec![1, 0, 1],
    };
    let legacy = &RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY;
    let signature = small.sign(b"a message");
    assert!(public.verify(legacy, b"a message", &signature).is_ok());
    let small = with_key(&[&TLS12], vec![corpus("tls/rsa-1024.pem")], Arc::new(small));

    let cases = vec![
        Case::accepted("T-06", "SHA-256", server("tls/sha256.pem")),
        Case::refused("T-06", "SHA-1", server("tls/sha1.pem")),
        Case::refused("T-06", "MD5", server("tls/md5.pem")),
        Case::refused("T-06", "RSA of 1,024 bits", small),
    ];
    let (mut failures, count) = (Vec::new(), cases.len());
    for case in cases {
        let trusting = |config: &mut Config| {
            let ca = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus/tls/ca.pem");
            config.fetch.extra_ca_file = Some(ca.into());
        };
        failures.extend(case.complaint(&authority, trusting).await);
    }
    report(failures, count);
}

/// A ServerHello, RFC 5246 §7.4.1.3, in a record of its own.
fn server_hello(version: u16, suite: u16, extensions: &[u8]) -> Vec<u8> {
    let mut hello = version.to_be_bytes().to_vec();
    hello.extend([7; 32]);
    hello.push(0);
    hello.extend(suite.to_be_bytes());
    hello.push(0);
    hello.extend(u16::try_from(extensions.len()).unwrap().to_be_bytes());
    hello.extend(extensions);
    record(22, version, &handshake(2, &hello))
}

fn handshake(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[kind][..], &length[1..], body].concat()
}

fn record(kind: u8, version: u16, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    [&[kind][..], &version.to_be_bytes(), &length, body].concat()
}

/// Servers that speak by hand what our library does not speak.
#[tokio::test]
async fn t_03_t_08_t_13_what_is_not_offered_is_not_accepted() {
    const GCM: u16 = 0xc02f;
    let authority = Authority::new();
    let alert = |code: u8| record(21, 0x0302, &[2, code]);
    let h2 = [0, 16, 0, 5, 0, 3, 2, b'h', b'2'];
    let mut table = vec![
        (
            "T-03",
            "TLS 1.1".to_owned(),
            server_hello(0x0302, 0xc013, &[]),
        ),
        (
            "T-03",
            "TLS 1.1, GCM".to_owned(),
            server_hello(0x0302, GCM, &[]),
        ),
        (
            "T-03",
            "TLS 1.0".to_owned(),
            server_hello(0x0301, 0xc013, &[]),
        ),
        (
            "T-03",
            "SSL 3".to_owned(),
            server_hello(0x0300, 0x002f, &[]),
        ),
        (
            "T-03",
            "SSL 2".to_owned(),
            b"\x80\x2b\x04\x00\x01\x00\x02\x00\x10".to_vec(),
        ),
        ("T-03", "alert protocol_version".to_owned(), alert(70)),
        ("T-03", "alert handshake_failure".to_owned(), alert(40)),
        ("T-03", "alert insufficient_security".to_owned(), alert(71)),
        (
            "T-13",
            "h2 unasked".to_owned(),
            server_hello(0x0303, GCM, &h2),
        ),
    ];
    for (suite, name) in [
        (0x0000, "NULL"),
        (0x0001, "RSA NULL-MD5"),
        (0xc010, "ECDHE NULL-SHA"),
        (0x0003, "EXPORT RC4-40"),
        (0x0008, "EXPORT DES-40"),
        (0x0004, "RC4-MD5"),
        (0xc011, "ECDHE RC4-SHA"),
        (0x000a, "3DES-CBC"),
        (0xc012, "ECDHE 3DES-CBC"),
        (0xc013, "ECDHE AES-128-CBC-SHA"),
        (0xc014, "ECDHE AES-256-CBC-SHA"),
        (0xc027, "ECDHE AES-128-CBC-SHA256"),
        (0x009c, "RSA AES-128-GCM"),
        (0x009e, "DHE AES-128-GCM"),
        (0xc018, "anonymous ECDH AES-128-CBC"),
    ] {
        table.push(("T-03", name.to_owned(), server_hello(0x0303, suite, &[])));
    }
    // 1 MiB of certificates are announced, and sent for as long as anybody reads.
    let mut huge = server_hello(0x0303, GCM, &[]);
    huge.extend(record(22, 0x0303, &[11, 0x10, 0, 0]));
    for _ in 0..64 {
        huge.extend(record(22, 0x0303, &[0; 16_384]));
    }
    table.push(("T-08", "1 MiB of certificates".to_owned(), huge));

    let (mut failures, count) = (Vec::new(), table.len());
    for (id, case, said) in table {
        let site = Hostile::tcp("127.0.0.1:0", move |mut stream, _| {
            let said = said.clone();
            async move {
                client_hello(&mut stream).await;
                _ = stream.write_all(&said).await;
                _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
            }
        })
        .await;
        let fetcher = fetcher(&authority, table_of_host(), |_| {});
        let (_, fetched) = fetch(&fetcher, &site.url("/c")).await;
        match fetched.map_err(|error| error.rule()) {
            Err("fetch.tls") => {}
            other => failures.push(format!("{id} {case}: {other:?}")),
        }
    }
    report(failures, count);
}

fn table_of_host() -> wayleave::fetch::Resolver {
    table(&[(HOST, "127.0.0.1")])
}

#[tokio::test]
async fn t_07_a_handshake_that_stalls_ends_in_time() {
    let authority = Authority::new();
    let stalls = Hostile::silent("127.0.0.1:0").await;
    let drips = Hostile::tcp("127.0.0.1:0", |mut stream, _| async move {
        client_hello(&mut stream).await;
        for byte in server_hello(0x0303, 0xc02f, &[]) {
            if stream.write_all(&[byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    })
    .await;
    for (case, site) in [("stalls", stalls), ("a byte a second", drips)] {
        let fetcher = fetcher(&authority, table_of_host(), |_| {});
        let begun = Instant::now();
        let (wire, fetched) = fetch(&fetcher, &site.url("/c")).await;
        // With the 2 s that are set unless somebody changes them, and time for a machine that is busy.
        assert!(begun.elapsed() < Duration::from_secs(4), "{case}");
        assert_eq!(
            fetched.map_err(|error| error.rule()).unwrap_err(),
            "fetch.connect"
        );
        assert_eq!(wire.status, None);
        assert_eq!(site.connections(), 1, "{case}: tried once");
    }
}

#[tokio::test]
async fn t_08_too_many_certificates_and_too_many_paths_are_refused() {
    let authority = Authority::new();
    let ca = &*authority.issuer;
    let between = below(ca, |_| {});
    let thousand = vec![between.der().clone(); 1_000];
    let large = {
        let extension =
            CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 32473, 1], vec![5; 1 << 20]);
        let params = with(|params| params.custom_extensions.push(extension));
        let key = KeyPair::generate().unwrap();
        let leaf = params.signed_by(&key, ca).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        // Our library would not take it for its own.
        let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).unwrap();
        with_key(&[&TLS13, &TLS12], vec![leaf.der().clone()], key)
    };
    // Every one of them could have signed every other: RUSTSEC-2023-0052.
    let named = |params: &mut CertificateParams| {
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, "all alike");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    };
    let mut alike = CertificateParams::default();
    named(&mut alike);
    let many: Vec<_> = (0..100)
        .map(|_| {
            alike
                .self_signed(&KeyPair::generate().unwrap())
                .unwrap()
                .der()
                .clone()
        })
        .collect();
    let last = CertifiedIssuer::self_signed(alike, KeyPair::generate().unwrap()).unwrap();
    // A line of authorities, longer than anybody needs.
    let mut line = vec![below(ca, |_| {})];
    for _ in 0..20 {
        let next = below(line.last().unwrap(), |_| {});
        line.push(next);
    }
    let chain: Vec<_> = line
        .iter()
        .rev()
        .map(|issuer| issuer.der().clone())
        .collect();
    let good = || params(&[HOST]);
    let cases = vec![
        Case::refused(
            "T-08",
            "1,000 certificates",
            serving(good(), &between, &thousand),
        ),
        Case::refused("T-08", "a certificate of 1 MiB", large),
        Case::refused(
            "T-08",
            "100 possible issuers",
            serving(good(), &last, &many),
        ),
        Case::refused(
            "T-08",
            "21 authorities",
            serving(good(), line.last().unwrap(), &chain),
        ),
    ];
    let begun = Instant::now();
    judge(&authority, cases).await;
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn t_09_no_client_certificate_is_sent() {
    let authority = Authority::new();
    let mut roots = RootCertStore::empty();
    roots.add(authority.issuer.der().clone()).unwrap();
    let asking = WebPkiClientVerifier::builder(Arc::new(roots))
        .allow_unauthenticated()
        .build()
        .unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = params(&[HOST]).signed_by(&key, &authority.issuer).unwrap();
    let server = ServerConfig::builder()
        .with_client_cert_verifier(asking)
        .with_single_cert(
            vec![leaf.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(server));
    let site = Hostile::tcp("127.0.0.1:0", move |stream, log| {
        let acceptor = acceptor.clone();
        async move {
            let stream = acceptor.accept(stream).await.unwrap();
            let shown = stream.get_ref().1.peer_certificates().map_or(0, <[_]>::len);
            log.note(format!("{shown} certificates").into_bytes());
            serve(stream, &log).await;
        }
    })
    .await;
    let client = site.publish("/c");
    let fetcher = fetcher(&authority, table_of_host(), |_| {});
    let (_, fetched) = fetch(&fetcher, &client).await;
    assert!(fetched.is_ok(), "{fetched:?}");
    assert_eq!(site.read()[0], b"0 certificates");
}

#[tokio::test]
async fn t_10_a_body_that_only_tcp_ends_is_not_whole() {
    let authority = Authority::new();
    let site = Hostile::https(authority.server(&[HOST])).await;
    let fetcher = fetcher(&authority, table_of_host(), |_| {});
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";
    let whole = document(&site.url("/c"));
    let open = format!("{head}\r\n{whole}");
    let chunk = format!("{:x}\r\n{whole}\r\n", whole.len());
    let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n{chunk}");
    let table = [
        ("no length, TLS ended", open.clone(), false, Ok(())),
        ("no length, TLS cut", open.clone(), true, Err("fetch.body")),
        (
            "no length, half, TLS cut",
            open[..open.len() - 20].to_owned(),
            true,
            Err("fetch.body"),
        ),
        (
            "chunked, no last chunk, TLS cut",
            chunked.clone(),
            true,
            Err("fetch.body"),
        ),
        (
            "chunked, no last chunk, TLS ended",
            chunked.clone(),
            false,
            Err("fetch.body"),
        ),
        (
            "chunked, whole, TLS cut",
            format!("{chunked}0\r\n\r\n"),
            true,
            Ok(()),
        ),
        (
            "a length, TLS cut",
            String::from_utf8(ok(whole.as_bytes())).unwrap(),
            true,
            Ok(()),
        ),
    ];
    let mut failures = Vec::new();
    for (case, said, cut, expected) in &table {
        let mut acts = vec![Act::Say(said.as_bytes().to_vec())];
        acts.extend(cut.then_some(Act::Cut));
        site.at("/c", acts);
        let (_, fetched) = fetch(&fetcher, &site.url("/c")).await;
        let got = fetched.as_ref().map(|_| ()).map_err(|error| error.rule());
        if got != *expected {
            failures.push(format!("T-10 {case}: {fetched:?}"));
        }
    }
    report(failures, table.len());
}

#[tokio::test]
async fn t_11_what_is_no_tls_is_refused_and_not_repeated() {
    let server = TestApp::new(Database::sqlite()).await;
    let mut failures = Vec::new();
    let banners: [(&str, &[u8]); 6] = [
        (
            "HTTP",
            b"HTTP/1.1 400 Bad Request\r\nServer: internal-7\r\nContent-Length: 0\r\n\r\n",
        ),
        ("SSH", b"SSH-2.0-OpenSSH_9.9 internal-7\r\n"),
        ("SMTP", b"220 internal-7 ESMTP Postfix\r\n"),
        ("FTP", b"220 internal-7 FTP ready\r\n"),
        ("Redis", b"-ERR internal-7 unknown command\r\n"),
        ("nothing known", b"\x15\x03internal-7"),
    ];
    for (case, banner) in banners {
        let site = Hostile::plain("127.0.0.1:0", banner).await;
        let (app, mut browser) = another(&server, table_of_host(), |config| {
            config.fetch.connect_timeout = std::num::NonZeroU32::MIN;
        })
        .await;
        let client = site.url("/c");
        let page = browser.get(&server.flow(&client).target()).await;
        let explained = app.clients.explain(&client).await;
        let shown = format!(
            "{} {}",
            page.body,
            serde_json::to_string(&explained).unwrap()
        );
        if page.status != 503 || page.location().is_some() || shown.contains("internal-7") {
            failures.push(format!("T-11 {case}: {} {shown}", page.status));
        }
        let rule = explained.refused_by().map(|line| line.rule);
        if rule != Some("fetch.tls") {
            failures.push(format!(
                "T-11 {case}: {rule:?} {:?}",
                explained.refused_by()
            ));
        }
    }
    report(failures, banners.len());
}

/// Nobody is asked: neither a list of the authority nor OCSP. That is the documented behaviour.
#[tokio::test]
async fn t_12_revocation_is_not_asked_for() {
    let authority = Authority::new();
    let lists = Hostile::counter().await;
    let server = with(|params| {
        let uris = vec![format!("http://127.0.0.1:{}/list.crl", lists.port())];
        params.crl_distribution_points = vec![CrlDistributionPoint { uris }];
        // RFC 7633: an answer of OCSP must come with it, and none does.
        let must_staple = CustomExtension::from_oid_content(
            &[1, 3, 6, 1, 5, 5, 7, 1, 24],
            vec![0x30, 3, 2, 1, 5],
        );
        params.custom_extensions.push(must_staple);
    });
    let site = Hostile::https(serving(server, &authority.issuer, &[])).await;
    let client = site.publish("/c");
    let fetcher = fetcher(&authority, table_of_host(), |_| {});
    let (_, fetched) = fetch(&fetcher, &client).await;
    assert!(fetched.is_ok(), "{fetched:?}");
    assert_eq!(lists.connections(), 0);
}

#[tokio::test]
async fn t_13_http_1_1_is_the_only_protocol() {
    let authority = Authority::new();
    let speaking = |protocols: &[&[u8]]| {
        let mut server = authority.server(&[HOST]);
        server.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        server
    };
    let cases = vec![
        Case::accepted("T-13", "h2 and http/1.1", speaking(&[b"h2", b"http/1.1"])),
        Case::accepted("T-13", "http/1.1", speaking(&[b"http/1.1"])),
        Case::accepted("T-13", "none", speaking(&[])),
        Case::refused("T-13", "h2", speaking(&[b"h2"])),
        Case::refused("T-13", "h3", speaking(&[b"h3"])),
    ];
    judge(&authority, cases).await;
}

/// The first record of a client, which is its ClientHello.
async fn client_hello(stream: &mut TcpStream) -> Vec<u8> {
    let mut head = [0; 5];
    if stream.read_exact(&mut head).await.is_err() {
        return Vec::new();
    }
    let mut body = vec![0; usize::from(u16::from_be_bytes([head[3], head[4]]))];
    _ = stream.read_exact(&mut body).await;
    body
}

/// What a ClientHello offers, RFC 8446 §4.1.2.
#[derive(Debug)]
struct Offer {
    session: Vec<u8>,
    suites: Vec<u16>,
    extensions: Vec<(u16, Vec<u8>)>,
}

impl Offer {
    fn read(hello: &[u8]) -> Self {
        fn take<'a>(rest: &mut &'a [u8], length: usize) -> &'a [u8] {
            let (taken, after) = rest.split_at(length);
            *rest = after;
            taken
        }
        fn number(rest: &mut &[u8]) -> u16 {
            u16::from_be_bytes(take(rest, 2).try_into().unwrap())
        }
        // Behind the type, the length, the version and the random bytes.
        let mut rest = &hello[4 + 2 + 32..];
        let length = usize::from(take(&mut rest, 1)[0]);
        let session = take(&mut rest, length).to_vec();
        let length = usize::from(number(&mut rest));
        let suites = take(&mut rest, length).chunks(2);
        let suites = suites
            .map(|suite| u16::from_be_bytes([suite[0], suite[1]]))
            .collect();
        let length = usize::from(take(&mut rest, 1)[0]);
        assert_eq!(take(&mut rest, length), [0], "no compression");
        number(&mut rest);
        let mut extensions = Vec::new();
        while !rest.is_empty() {
            let kind = number(&mut rest);
            let length = usize::from(number(&mut rest));
            extensions.push((kind, take(&mut rest, length).to_vec()));
        }
        Self {
            session,
            suites,
            extensions,
        }
    }

    fn extension(&self, kind: u16) -> Option<&[u8]> {
        let mut found = self.extensions.iter().filter(|(known, _)| *known == kind);
        found.next().map(|(_, data)| data.as_slice())
    }
}

/// The server hands out tickets and would take early data.
#[tokio::test]
async fn t_03_t_13_t_14_every_offer_is_new_and_modern() {
    const SERVER_NAME: u16 = 0;
    const PROTOCOLS: u16 = 16;
    const TICKET: u16 = 35;
    const PRE_SHARED_KEY: u16 = 41;
    const EARLY_DATA: u16 = 42;
    const VERSIONS: u16 = 43;
    const MODERN: &[u16] = &[
        0x1301, 0x1302, 0x1303, 0xc02b, 0xc02c, 0xc02f, 0xc030, 0xcca8, 0xcca9,
        // No suite: renegotiation is not supported, RFC 5746 §3.3.
        0x00ff,
    ];
    let authority = Authority::new();
    for version in [&TLS13, &TLS12] {
        let names = [HOST, "other.example.net"];
        let key = KeyPair::generate().unwrap();
        let leaf = params(&names).signed_by(&key, &authority.issuer).unwrap();
        let mut server = ServerConfig::builder_with_protocol_versions(&[version])
            .with_no_client_auth()
            .with_single_cert(
                vec![leaf.der().clone()],
                PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            )
            .unwrap();
        server.max_early_data_size = 16_384;
        let acceptor = TlsAcceptor::from(Arc::new(server));
        let site = Hostile::tcp("127.0.0.1:0", move |stream, log| {
            let acceptor = acceptor.clone();
            async move {
                let mut hello = vec![0; 16_384];
                let whole = |hello: &[u8], length: usize| {
                    length >= 5
                        && length >= 5 + usize::from(u16::from_be_bytes([hello[3], hello[4]]))
                };
                let mut length = 0;
                while !whole(&hello, length) {
                    length = stream.peek(&mut hello).await.unwrap();
                }
                hello.truncate(length);
                log.note(hello.split_off(5));
                if let Ok(stream) = acceptor.accept(stream).await {
                    serve(stream, &log).await;
                }
            }
        })
        .await;
        site.publish("/c");
        let resolver = table(&names.map(|name| (name, "127.0.0.1")));
        let fetcher = fetcher(&authority, resolver, |_| {});
        let mut offers = Vec::new();
        for name in [HOST, HOST, "other.example.net", HOST] {
            let url = format!("https://{name}:{}/c", site.port());
            let before = site.read().len();
            let (_, fetched) = fetch(&fetcher, &url).await;
            assert!(fetched.is_ok(), "{fetched:?}");
            let offer = Offer::read(&site.read()[before]);
            let server_name = offer.extension(SERVER_NAME).unwrap();
            assert_eq!(&server_name[5..], name.as_bytes());
            offers.push(offer);
        }
        for (n, offer) in offers.iter().enumerate() {
            let unknown = offer.suites.iter().find(|suite| !MODERN.contains(suite));
            assert_eq!(unknown, None, "T-03");
            assert_eq!(
                offer.extension(VERSIONS),
                Some(&[4, 3, 4, 3, 3][..]),
                "T-03"
            );
            let protocols = offer.extension(PROTOCOLS).unwrap();
            assert_eq!(protocols, b"\x00\x09\x08http/1.1", "T-13");
            assert_eq!(offer.extension(PRE_SHARED_KEY), None, "T-14");
            assert_eq!(offer.extension(EARLY_DATA), None, "T-14");
            let ticket = offer.extension(TICKET).unwrap_or_default();
            assert!(ticket.is_empty(), "T-14");
            let again = offers[..n]
                .iter()
                .any(|known| known.session == offer.session);
            assert!(offer.session.is_empty() || !again, "T-14");
        }
    }
}
