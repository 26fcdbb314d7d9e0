//! A confidential client: RFC 7523 §2.2 with keys at a `jwks_uri`, RFC 6749 §4.4. It acts for itself, and changes its key at
//! a click.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, bail};
use axum::{
    Router,
    extract::State,
    response::{Html, Redirect, Response},
    routing::get,
};
use http::{StatusCode, header};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, jwk::Jwk};
use serde_json::{Value, json};
use wayleave::secret::random_id;

use crate::{
    client::{http, shown},
    pages::{self, Step},
    tls::Documents,
};

/// RFC 7523 §2.2.
const ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// The client, and the key that it signs with now.
#[derive(Clone)]
pub(crate) struct Desk {
    issuer: String,
    client_id: String,
    ledger: String,
    documents: Documents,
    key: Arc<Mutex<Key>>,
}

/// One key, private and public.
#[derive(Clone)]
struct Key {
    kid: String,
    private: EncodingKey,
    public: Value,
}

/// The resource that the desk asks.
pub(crate) fn ledger(origin: &str) -> String {
    format!("{origin}/ledger")
}

impl Key {
    fn new() -> anyhow::Result<Self> {
        let pair = rcgen::KeyPair::generate()?;
        let private = EncodingKey::from_ec_der(&pair.serialize_der());
        let kid = random_id()[..8].to_owned();
        let mut public = serde_json::to_value(Jwk::from_encoding_key(&private, Algorithm::ES256)?)?;
        public["kid"] = json!(kid);
        Ok(Self {
            kid,
            private,
            public,
        })
    }
}

impl Desk {
    /// Publishes the client's document and its first key.
    pub(crate) fn open(
        issuer: &str,
        client_id: &str,
        origin: &str,
        documents: Documents,
    ) -> anyhow::Result<Self> {
        let key = Key::new()?;
        let desk = Self {
            issuer: issuer.to_owned(),
            client_id: client_id.to_owned(),
            ledger: ledger(origin),
            documents,
            key: Arc::new(Mutex::new(key.clone())),
        };
        let document = json!({
            "client_id": client_id,
            "client_name": "Demo desk",
            "grant_types": ["client_credentials"],
            "token_endpoint_auth_method": "private_key_jwt",
            "jwks_uri": client_id.replace("/desk.json", "/desk-keys.json"),
        });
        desk.publish("/desk.json", document);
        desk.publish("/desk-keys.json", json!({ "keys": [key.public] }));
        Ok(desk)
    }

    /// Its pages.
    pub(crate) fn router(self) -> Router {
        let show = async |State(desk): State<Self>| -> Response { shown(desk.visit().await) };
        let rotate = async |State(desk): State<Self>| -> Response {
            shown(desk.rotate().map(|()| Redirect::to("/desk")))
        };
        Router::new()
            .route("/desk", get(show))
            .route("/desk/rotate", get(rotate))
            .with_state(self)
    }

    fn publish(&self, path: &'static str, document: Value) {
        let mut documents = self
            .documents
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        documents.insert(path, document);
    }

    /// A new key beside the old one: whoever has the old set in memory can still verify what is under way.
    fn rotate(&self) -> anyhow::Result<()> {
        let new = Key::new()?;
        let mut key = self.key.lock().unwrap_or_else(PoisonError::into_inner);
        self.publish(
            "/desk-keys.json",
            json!({ "keys": [new.public, key.public] }),
        );
        *key = new;
        Ok(())
    }

    async fn visit(&self) -> anyhow::Result<Html<String>> {
        let mut steps = Vec::new();
        let key = self
            .key
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let token = match self.token(&key, &mut steps).await {
            Ok(token) => token,
            Err(error) => return Ok(pages::failed(&format!("{error:#}"), &steps)),
        };
        let response = http()?.get(&self.ledger).bearer_auth(&token).send().await?;
        let status = response.status();
        let answer: Value = response.json().await.unwrap_or_default();
        steps.push(Step::new(
            "The desk asks the ledger, which asks the server about the token",
            format!(
                "GET {}\nAuthorization: Bearer {}",
                self.ledger,
                pages::cut(&token)
            ),
            format!("{status}\n{}", pages::pretty(&answer)),
        ));
        if !status.is_success() {
            bail!("the ledger refused: {status}");
        }
        Ok(pages::desk(&answer, &key.kid, &steps))
    }

    /// A token for itself. A server that does not know the key yet says when to come again.
    async fn token(&self, key: &Key, steps: &mut Vec<Step>) -> anyhow::Result<String> {
        for _ in 0..3 {
            let endpoint = format!("{}/token", self.issuer);
            let assertion = self.assertion(key)?;
            let form = [
                ("grant_type", "client_credentials"),
                ("scope", "ledger.read"),
                ("resource", self.ledger.as_str()),
                ("client_assertion_type", ASSERTION),
                ("client_assertion", assertion.as_str()),
            ];
            let body = url::form_urlencoded::Serializer::new(String::new())
                .extend_pairs(form)
                .finish();
            let request = http()?
                .post(&endpoint)
                .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(body);
            let response = request.send().await?;
            let status = response.status();
            let wait = response.headers().get(header::RETRY_AFTER);
            let wait: Option<u64> = wait.and_then(|value| value.to_str().ok()?.parse().ok());
            let answer: Value = response.json().await?;
            steps.push(Step::new(
                "The desk proves who it is, and asks for a token",
                format!("POST {endpoint}\n{}", pages::lines(&form)),
                format!("{status}\n{}", pages::pretty(&answer)),
            ));
            match (status, wait) {
                (StatusCode::SERVICE_UNAVAILABLE, Some(seconds)) => {
                    tokio::time::sleep(Duration::from_secs(seconds.min(10))).await;
                }
                (status, _) if status.is_success() => {
                    let token = answer["access_token"].as_str().context("no access token")?;
                    return Ok(token.to_owned());
                }
                _ => {
                    let told = |name: &str| answer[name].as_str().unwrap_or_default();
                    bail!(pages::refusal(told("error"), told("error_description")));
                }
            }
        }
        bail!("the server could not read the keys in time")
    }

    /// RFC 7523 §3, RFC 10070: for this server alone, for a minute, once.
    fn assertion(&self, key: &Key) -> anyhow::Result<String> {
        let now = std::time::UNIX_EPOCH.elapsed()?.as_secs();
        let mut header = Header::new(Algorithm::ES256);
        header.typ = Some("client-authentication+jwt".to_owned());
        header.kid = Some(key.kid.clone());
        let claims = json!({
            "iss": self.client_id, "sub": self.client_id, "aud": self.issuer,
            "iat": now, "exp": now + 60, "jti": random_id(),
        });
        Ok(encode(&header, &claims, &key.private)?)
    }
}
