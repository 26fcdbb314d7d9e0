//! A public client that nobody registered: RFC 6749 §4.1 with PKCE, RFC 8707, RFC 9207. It shows every step it takes.

use anyhow::{Context, bail, ensure};
use axum::{
    Router,
    extract::State,
    response::{Html, IntoResponse, Redirect, Response},
    routing::get,
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use http::header;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use wayleave::secret::{random, random_id, sha256};

use crate::{
    desk::Desk,
    device,
    flows::{COOKIE, Flow, Flows, Visit},
    pages::{self, Step},
    tls::Reads,
};

/// The client's document, CIMD §4: all that the server will ever know of it.
pub(crate) fn document(client_id: &str) -> Value {
    json!({
        "client_id": client_id,
        "client_name": "Demo notebook",
        "client_uri": client_id.replace("/client.json", "/"),
        // RFC 8252 §7.3: a program on this machine may come back at any port.
        "redirect_uris": ["http://127.0.0.1/callback"],
        "grant_types": ["authorization_code", "refresh_token", device::GRANT],
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
    pub(crate) issuer: String,
    pub(crate) client_id: String,
    pub(crate) origin: String,
    pub(crate) resource: String,
    /// How often the server has read the document.
    pub(crate) reads: Reads,
    pub(crate) flows: Flows,
}

impl Demo {
    fn redirect_uri(&self) -> String {
        format!("{}/callback", self.origin)
    }
}

/// Serves the client's pages until the demo ends.
pub(crate) async fn serve(listener: TcpListener, demo: Demo, desk: Desk) {
    let home = async |State(demo): State<Demo>| pages::home(&demo.client_id, &demo.issuer);
    let router = Router::new()
        .route("/", get(home))
        .route("/start", get(start_page))
        .route("/callback", get(callback_page))
        .route("/refresh", get(refresh_page))
        .with_state(demo)
        .merge(desk.router());
    if let Err(error) = axum::serve(listener, router).await {
        eprintln!("the client stopped: {error}");
    }
}

async fn start_page(State(demo): State<Demo>, visit: Visit) -> Response {
    shown(start(&demo, visit).await)
}

async fn callback_page(State(demo): State<Demo>, visit: Visit) -> Response {
    shown(callback(&demo, &visit).await)
}

async fn refresh_page(State(demo): State<Demo>, visit: Visit) -> Response {
    shown(refresh(&demo, &visit).await)
}

pub(crate) fn shown(result: anyhow::Result<impl IntoResponse>) -> Response {
    match result {
        Ok(page) => page.into_response(),
        Err(error) => pages::failed(&format!("{error:#}"), &[]).into_response(),
    }
}

/// Discovers the server, and sends the browser to it.
async fn start(demo: &Demo, visit: Visit) -> anyhow::Result<Response> {
    let address = format!("{}/.well-known/oauth-authorization-server", demo.issuer);
    let response = http()?.get(&address).send().await?.error_for_status()?;
    let metadata: Value = response.json().await?;
    ensure!(
        metadata["issuer"] == demo.issuer.as_str(),
        "the metadata is of another issuer"
    );
    ensure!(
        metadata["client_id_metadata_document_supported"] == true,
        "the server cannot read a client's document"
    );
    let endpoint = |name: &str| {
        let address = metadata[name].as_str().map(str::to_owned);
        address.with_context(|| format!("the metadata has no {name}"))
    };

    let verifier = BASE64_URL_SAFE_NO_PAD.encode(random::<32>());
    let challenge = BASE64_URL_SAFE_NO_PAD.encode(sha256(verifier.as_bytes()));
    let state = random_id();
    let browser = visit.browser.unwrap_or_else(random_id);
    let mut authorize = url::Url::parse(&endpoint("authorization_endpoint")?)?;
    authorize.query_pairs_mut().extend_pairs([
        ("response_type", "code"),
        ("client_id", &demo.client_id),
        ("redirect_uri", &demo.redirect_uri()),
        ("scope", "notes.read offline_access"),
        ("resource", &demo.resource),
        ("state", &state),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
    ]);
    let steps = vec![
        Step::new(
            "The client looks the server up",
            format!("GET {address}"),
            format!("200 OK\n{}", pages::pretty(&metadata)),
        ),
        Step::new(
            "The client sends the browser there",
            "GET /start".to_owned(),
            format!("303 See Other\nLocation: {authorize}"),
        ),
    ];
    let flow = Flow {
        browser: browser.clone(),
        verifier: Some(verifier),
        token_endpoint: endpoint("token_endpoint")?,
        reads: demo.reads.count(),
        steps,
        ..Flow::default()
    };
    demo.flows.keep(&state, flow);
    let cookie = format!("{COOKIE}={browser}; Path=/; HttpOnly; SameSite=Lax");
    let to = Redirect::to(authorize.as_str());
    Ok(([(header::SET_COOKIE, cookie)], to).into_response())
}

/// The browser is back: with a code, or with a no.
async fn callback(demo: &Demo, visit: &Visit) -> anyhow::Result<Html<String>> {
    let state = visit.param("state")?;
    let mut flow = demo.flows.find(state, visit.browser.as_deref())?;
    ensure!(
        visit.params.get("iss") == Some(&demo.issuer),
        "the answer is of another issuer (RFC 9207)"
    );
    // A page that is loaded again: a code that is sent twice would end the grant.
    let Some(verifier) = demo.flows.spend(state) else {
        let answer = flow.answer.clone();
        let answer = answer.context("this answer was used before: start again");
        return Ok(page(state, &flow, answer));
    };
    flow.verifier = None;
    flow.steps.push(document_step(demo, &flow));
    flow.steps.push(Step::new(
        "The browser comes back",
        format!("GET {}", pages::shortened(&visit.target)),
        String::new(),
    ));
    let answer = redeem(demo, visit, &verifier, &mut flow).await;
    Ok(kept(demo, state, flow, answer))
}

/// What the server knows of the client, and since when.
fn document_step(demo: &Demo, flow: &Flow) -> Step {
    let document = document(&demo.client_id);
    if demo.reads.count() == flow.reads {
        let request = format!("no request: its copy of {} is fresh", demo.client_id);
        return Step::new("The server knows the client", request, String::new());
    }
    Step::new(
        "The server reads the client's document, once somebody is signed in",
        format!("GET {}", demo.client_id),
        format!("200 OK\n{}", pages::pretty(&document)),
    )
}

async fn redeem(
    demo: &Demo,
    visit: &Visit,
    verifier: &str,
    flow: &mut Flow,
) -> anyhow::Result<Value> {
    if let Some(error) = visit.params.get("error") {
        let told = visit.params.get("error_description");
        bail!(pages::refusal(error, told.map_or("", String::as_str)));
    }
    let form = [
        ("grant_type", "authorization_code"),
        ("code", visit.param("code")?),
        ("client_id", &demo.client_id),
        ("redirect_uri", &demo.redirect_uri()),
        ("code_verifier", verifier),
        ("resource", &demo.resource),
    ];
    let tokens = tokens("The client redeems the code", &form, flow).await?;
    ask(demo, &tokens, flow).await
}

/// A new access token, and a new refresh token in place of the old one.
async fn refresh(demo: &Demo, visit: &Visit) -> anyhow::Result<Html<String>> {
    let state = visit.param("state")?;
    let mut flow = demo.flows.find(state, visit.browser.as_deref())?;
    let token = flow.refresh_token.clone();
    let token = token.context("there is no refresh token")?;
    let form = [
        ("grant_type", "refresh_token"),
        ("refresh_token", token.as_str()),
        ("client_id", &demo.client_id),
        ("resource", &demo.resource),
    ];
    let answer = match tokens("The client refreshes its token", &form, &mut flow).await {
        Ok(tokens) => ask(demo, &tokens, &mut flow).await,
        Err(error) => Err(error),
    };
    Ok(kept(demo, state, flow, answer))
}

/// Asks the token endpoint: RFC 6749 §4.1.3 and §6.
async fn tokens(title: &str, form: &[(&str, &str)], flow: &mut Flow) -> anyhow::Result<Value> {
    let endpoint = flow.token_endpoint.clone();
    let body = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(form)
        .finish();
    let request = http()?
        .post(&endpoint)
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(body);
    let response = request.send().await?;
    let status = response.status();
    let tokens: Value = response.json().await?;
    flow.steps.push(Step::new(
        title,
        format!("POST {endpoint}\n{}", pages::lines(form)),
        format!("{status}\n{}", pages::pretty(&tokens)),
    ));
    if !status.is_success() {
        let told = |name: &str| tokens[name].as_str().unwrap_or_default();
        bail!(pages::refusal(told("error"), told("error_description")));
    }
    let next = tokens["refresh_token"].as_str().map(str::to_owned);
    flow.refresh_token = next.or_else(|| flow.refresh_token.take());
    Ok(tokens)
}

/// Asks the resource: RFC 6750 §2.1.
async fn ask(demo: &Demo, tokens: &Value, flow: &mut Flow) -> anyhow::Result<Value> {
    let token = tokens["access_token"].as_str().context("no access token")?;
    let request = http()?.get(&demo.resource).bearer_auth(token);
    let response = request.send().await?;
    let status = response.status();
    let told = response.text().await?;
    let answer = serde_json::from_str(&told).unwrap_or(Value::Null);
    flow.steps.push(Step::new(
        "The client asks the resource",
        format!(
            "GET {}\nAuthorization: Bearer {}",
            demo.resource,
            pages::cut(token)
        ),
        format!("{status}\n{}", pages::pretty(&answer)),
    ));
    ensure!(status.is_success(), "the resource refused: {status}");
    Ok(answer)
}

fn kept(demo: &Demo, state: &str, mut flow: Flow, answer: anyhow::Result<Value>) -> Html<String> {
    flow.answer = answer.as_ref().ok().cloned();
    demo.flows.keep(state, flow.clone());
    page(state, &flow, answer)
}

fn page(state: &str, flow: &Flow, answer: anyhow::Result<Value>) -> Html<String> {
    let again = flow.refresh_token.is_some().then_some(state);
    match answer {
        Ok(answer) => pages::answered(&answer, &flow.steps, again),
        Err(error) => pages::failed(&format!("{error:#}"), &flow.steps),
    }
}
