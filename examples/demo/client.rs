//! A public client that nobody registered: RFC 6749 §4.1 with PKCE, RFC 8707, RFC 9207. It shows every step it takes.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context, anyhow, ensure};
use axum::{
    Router,
    extract::State,
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use http::Uri;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use wayleave::secret::{random, sha256};

use crate::pages::{self, Step};

/// The client's document, CIMD §4: all that the server will ever know of it.
pub(crate) fn document(client_id: &str, origin: &str) -> Value {
    json!({
        "client_id": client_id,
        "client_name": "Demo notebook",
        "client_uri": client_id.replace("/client.json", "/"),
        "redirect_uris": ["http://127.0.0.1/callback", format!("{origin}/callback")],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
        "scope": "notes.read notes.write offline_access",
    })
}

/// An HTTP client that goes nowhere but where it is told.
#[expect(
    clippy::disallowed_methods,
    reason = "the demo's client is not the server: it has connections of its own"
)]
pub(crate) fn http() -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build()
}

/// The client and what it is in the middle of.
#[derive(Clone)]
pub(crate) struct Demo {
    issuer: String,
    client_id: String,
    origin: String,
    resource: String,
    /// By `state`.
    flows: Arc<Mutex<HashMap<String, Flow>>>,
}

#[derive(Clone, Default)]
struct Flow {
    verifier: String,
    token_endpoint: String,
    refresh_token: Option<String>,
    steps: Vec<Step>,
}

impl Demo {
    pub(crate) fn new(issuer: String, client_id: String, origin: String, resource: String) -> Self {
        Self {
            issuer,
            client_id,
            origin,
            resource,
            flows: Arc::default(),
        }
    }

    fn keep(&self, state: &str, flow: Flow) {
        self.flows
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(state.to_owned(), flow);
    }

    fn find(&self, state: &str) -> anyhow::Result<Flow> {
        let flows = self.flows.lock().unwrap_or_else(PoisonError::into_inner);
        flows
            .get(state)
            .cloned()
            .context("the answer has a state that this client did not send")
    }

    fn redirect_uri(&self) -> String {
        format!("{}/callback", self.origin)
    }
}

/// Serves the client's pages until the demo ends.
pub(crate) async fn serve(listener: TcpListener, demo: Demo) {
    let router =
        Router::new()
            .route(
                "/",
                get(|State(demo): State<Demo>| async move {
                    pages::home(&demo.client_id, &demo.issuer)
                }),
            )
            .route(
                "/start",
                get(|State(demo): State<Demo>| async move { shown(start(&demo).await) }),
            )
            .route(
                "/callback",
                get(|State(demo): State<Demo>, uri: Uri| async move {
                    shown(callback(&demo, &uri).await)
                }),
            )
            .route(
                "/refresh",
                get(|State(demo): State<Demo>, uri: Uri| async move {
                    shown(refresh(&demo, &uri).await)
                }),
            )
            .with_state(demo);
    if let Err(error) = axum::serve(listener, router).await {
        eprintln!("the client stopped: {error}");
    }
}

fn shown(result: anyhow::Result<Response>) -> Response {
    result.unwrap_or_else(|error| pages::failed(&format!("{error:#}"), &[]).into_response())
}

/// Discovers the server, and sends the browser to it.
async fn start(demo: &Demo) -> anyhow::Result<Response> {
    let address = format!("{}/.well-known/oauth-authorization-server", demo.issuer);
    let metadata: Value = http()?
        .get(&address)
        .send()
        .await?
        .error_for_status()?
        .json()
        .await?;
    ensure!(
        metadata["issuer"] == demo.issuer.as_str(),
        "the metadata is of another issuer"
    );
    ensure!(
        metadata["client_id_metadata_document_supported"] == true,
        "the server cannot read a client's document"
    );
    let endpoint = |name: &str| {
        metadata[name]
            .as_str()
            .map(str::to_owned)
            .with_context(|| format!("no {name}"))
    };

    let verifier = BASE64_URL_SAFE_NO_PAD.encode(random::<32>());
    let state = BASE64_URL_SAFE_NO_PAD.encode(random::<16>());
    let mut authorize = url::Url::parse(&endpoint("authorization_endpoint")?)?;
    authorize.query_pairs_mut().extend_pairs([
        ("response_type", "code"),
        ("client_id", &demo.client_id),
        ("redirect_uri", &demo.redirect_uri()),
        ("scope", "notes.read offline_access"),
        ("resource", &demo.resource),
        ("state", &state),
        (
            "code_challenge",
            &BASE64_URL_SAFE_NO_PAD.encode(sha256(verifier.as_bytes())),
        ),
        ("code_challenge_method", "S256"),
    ]);
    let steps = vec![
        Step::new(
            "The client looks the server up",
            format!("GET {address}"),
            format!("200\n{}", pages::pretty(&metadata)),
        ),
        Step::new(
            "The client sends the browser there",
            "GET /start".to_owned(),
            format!("303\nLocation: {authorize}"),
        ),
    ];
    demo.keep(
        &state,
        Flow {
            verifier,
            token_endpoint: endpoint("token_endpoint")?,
            steps,
            refresh_token: None,
        },
    );
    Ok(Redirect::to(authorize.as_str()).into_response())
}

/// The browser is back: with a code, or with a no.
async fn callback(demo: &Demo, uri: &Uri) -> anyhow::Result<Response> {
    let params: HashMap<String, String> =
        url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes())
            .into_owned()
            .collect();
    let state = params.get("state").context("the answer has no state")?;
    let mut flow = demo.find(state)?;
    ensure!(
        params.get("iss") == Some(&demo.issuer),
        "the answer is of another issuer (RFC 9207)"
    );
    let read = format!(
        "GET {} (the server reads who is asking, once somebody is signed in)",
        demo.client_id
    );
    flow.steps.push(Step::new(
        "The server reads the client's document",
        read,
        "200\napplication/json".to_owned(),
    ));
    flow.steps.push(Step::new(
        "The browser comes back",
        format!("GET {}", pages::shortened(&uri.to_string())),
        String::new(),
    ));
    if let Some(error) = params.get("error") {
        let told = params.get("error_description").map_or("", String::as_str);
        return Ok(pages::failed(&format!("{error}: {told}"), &flow.steps).into_response());
    }
    let code = params.get("code").context("the answer has no code")?;
    let (redirect_uri, verifier) = (demo.redirect_uri(), flow.verifier.clone());
    let form = [
        ("grant_type", "authorization_code"),
        ("code", code),
        ("client_id", &demo.client_id),
        ("redirect_uri", &redirect_uri),
        ("code_verifier", &verifier),
        ("resource", &demo.resource),
    ];
    let tokens = tokens(
        &flow.token_endpoint.clone(),
        &form,
        "The client redeems the code",
        &mut flow,
    )
    .await?;
    answer(demo, state, flow, &tokens).await
}

/// A new access token, and a new refresh token in place of the old one.
async fn refresh(demo: &Demo, uri: &Uri) -> anyhow::Result<Response> {
    let state = uri
        .query()
        .unwrap_or_default()
        .trim_start_matches("state=")
        .to_owned();
    let mut flow = demo.find(&state)?;
    let token = flow
        .refresh_token
        .clone()
        .context("there is no refresh token")?;
    let form = [
        ("grant_type", "refresh_token"),
        ("refresh_token", token.as_str()),
        ("client_id", &demo.client_id),
        ("resource", &demo.resource),
    ];
    let tokens = tokens(
        &flow.token_endpoint.clone(),
        &form,
        "The client refreshes its token",
        &mut flow,
    )
    .await?;
    answer(demo, &state, flow, &tokens).await
}

async fn tokens(
    endpoint: &str,
    form: &[(&str, &str)],
    title: &str,
    flow: &mut Flow,
) -> anyhow::Result<Value> {
    let body = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(form)
        .finish();
    let sent = form
        .iter()
        .map(|(name, value)| format!("{name}={}", pages::cut(value)))
        .collect::<Vec<_>>()
        .join("\n");
    let request = http()?
        .post(endpoint)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body);
    let response = request.send().await?;
    let status = response.status();
    let tokens: Value = response.json().await?;
    let step = Step::new(
        title,
        format!("POST {endpoint}\n{sent}"),
        format!("{status}\n{}", pages::pretty(&tokens)),
    );
    flow.steps.push(step);
    if !status.is_success() {
        return Err(anyhow!(
            "{}: {}",
            tokens["error"],
            tokens["error_description"]
        ));
    }
    Ok(tokens)
}

/// Asks the resource, and shows what it says.
async fn answer(
    demo: &Demo,
    state: &str,
    mut flow: Flow,
    tokens: &Value,
) -> anyhow::Result<Response> {
    let token = tokens["access_token"].as_str().context("no access token")?;
    let response = http()?
        .get(&demo.resource)
        .bearer_auth(token)
        .send()
        .await?;
    let status = response.status();
    let told: Value = if status.is_success() {
        response.json().await?
    } else {
        Value::Null
    };
    flow.steps.push(Step::new(
        "The client asks the resource",
        format!(
            "GET {}\nAuthorization: Bearer {}",
            demo.resource,
            pages::cut(token)
        ),
        format!("{status}\n{}", pages::pretty(&told)),
    ));
    flow.refresh_token = tokens["refresh_token"].as_str().map(str::to_owned);
    let page = pages::answered(
        &told,
        &flow.steps,
        flow.refresh_token.is_some().then_some(state),
    );
    demo.keep(state, flow);
    Ok(page.into_response())
}
