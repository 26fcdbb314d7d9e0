//! `/development`: a developer has this server publish the document of a client on their own machine. CIMD App. A.

use axum::{
    body::Bytes,
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};

use crate::{
    app::App,
    protocol::{client_metadata::GrantType, params::Params, redirect_uri::RedirectUri},
    secret::{is_random_id, random_id},
    store::NewDevClient,
    time::{UnixTime, in_rfc_3339, in_words},
    web::{
        callback::see_other,
        forms, html,
        page_error::PageError,
        session::{self, CurrentSession},
        views::{DevClientView, Development},
    },
};

const FORM: &str = "development";
/// Most redirect URIs of one client.
const REDIRECTS: usize = 8;

/// The developer's clients, and the form for another.
pub(crate) async fn show(
    State(app): State<App>,
    headers: HeaderMap,
) -> Result<Response, PageError> {
    let now = app.clock.now();
    let Some(session) = developer(&app, &headers, now).await? else {
        return Ok(forms::sign_in_for(&app, "development"));
    };
    page(&app, &session, now, StatusCode::OK, Filled::default()).await
}

/// Publishes another.
pub(crate) async fn submit(
    State(app): State<App>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, PageError> {
    let now = app.clock.now();
    let (session, params) = form(&app, &headers, &body, now).await?;
    let filled = Filled {
        client_name: params
            .optional("client_name")
            .unwrap_or_default()
            .trim()
            .to_owned(),
        redirect_uris: params
            .optional("redirect_uris")
            .unwrap_or_default()
            .to_owned(),
        failed: None,
    };
    let refused = |told: &str| Filled {
        failed: Some(told.to_owned()),
        ..filled.clone()
    };
    let listed: Vec<&str> = filled.redirect_uris.split_whitespace().collect();
    let is_own = |uri: &&str| RedirectUri::registered(uri).is_ok_and(|uri| uri.is_loopback());
    let told = match listed.as_slice() {
        [] => Some("Give at least one redirect URI."),
        many if many.len() > REDIRECTS => Some("Give at most eight redirect URIs."),
        all if !all.iter().all(is_own) => {
            Some("Each must begin with http://127.0.0.1, http://[::1] or http://localhost.")
        }
        _ if filled.client_name.chars().any(char::is_control)
            || filled.client_name.chars().count() > 100 =>
        {
            Some("The name must be one line of at most 100 characters.")
        }
        _ => None,
    };
    if let Some(told) = told {
        return page(&app, &session, now, StatusCode::BAD_REQUEST, refused(told)).await;
    }
    let id = random_id();
    let settings = &app.config.development;
    let new = NewDevClient {
        subject: session.row.subject.clone(),
        document: document(&address(&app, &id), &filled.client_name, &listed).to_string(),
        id,
        expires_at: now + i64::from(settings.lifetime.get()),
    };
    let added = app
        .store
        .add_dev_client(new, now, settings.per_person.get().into())
        .await?;
    if !added {
        let told = "You have reached the limit. Remove one first.";
        return page(&app, &session, now, StatusCode::BAD_REQUEST, refused(told)).await;
    }
    Ok(see_other(&format!(
        "{}/development",
        app.config.issuer.path()
    )))
}

/// Takes one away, and ends what it was granted.
pub(crate) async fn remove(
    State(app): State<App>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, PageError> {
    let now = app.clock.now();
    let (session, params) = form(&app, &headers, &body, now).await?;
    let id = params.optional("id").unwrap_or_default().to_owned();
    let client_id = address(&app, &id);
    app.store
        .remove_dev_client(id, session.row.subject, client_id, now)
        .await?;
    Ok(see_other(&format!(
        "{}/development",
        app.config.issuer.path()
    )))
}

/// `GET /dev-clients/ID.json`: the document, for whoever wants to read it. Never cached.
pub(crate) async fn serve(State(app): State<App>, Path(name): Path<String>) -> Response {
    // What nobody can use is not looked for.
    let id = name.strip_suffix(".json").filter(|id| is_random_id(id));
    let Some(id) = id.filter(|_| app.config.development.clients) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    match app.store.dev_client(id, app.clock.now()).await {
        Ok(Some(document)) => (headers, document).into_response(),
        Ok(None) => StatusCode::NOT_FOUND.into_response(),
        Err(error) => {
            tracing::error!(%error, "a document in development could not be read");
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
    }
}

fn address(app: &App, id: &str) -> String {
    app.config.issuer.join(&format!("/dev-clients/{id}.json"))
}

fn document(client_id: &str, name: &str, redirect_uris: &[&str]) -> Value {
    let grants = [GrantType::AuthorizationCode, GrantType::RefreshToken];
    let mut document = json!({
        "client_id": client_id,
        "redirect_uris": redirect_uris,
        "grant_types": grants.map(GrantType::as_str),
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
        "application_type": "native",
    });
    if !name.is_empty() {
        document["client_name"] = name.into();
    }
    document
}

/// What stood in the form.
#[derive(Clone, Default)]
struct Filled {
    client_name: String,
    redirect_uris: String,
    failed: Option<String>,
}

/// Who is signed in; nobody is a developer where there is no such service.
async fn developer(
    app: &App,
    headers: &HeaderMap,
    now: UnixTime,
) -> Result<Option<CurrentSession>, PageError> {
    if !app.config.development.clients {
        return Err(PageError::NothingHere);
    }
    Ok(session::current(app, headers, now).await?)
}

async fn form(
    app: &App,
    headers: &HeaderMap,
    body: &[u8],
    now: UnixTime,
) -> Result<(CurrentSession, Params), PageError> {
    let params = forms::read(headers, body)?;
    match developer(app, headers, now).await? {
        Some(session) if forms::is_ours(app, FORM, Some(&session.secret), &params) => {
            Ok((session, params))
        }
        _ => Err(PageError::Forbidden),
    }
}

async fn page(
    app: &App,
    session: &CurrentSession,
    now: UnixTime,
    status: StatusCode,
    filled: Filled,
) -> Result<Response, PageError> {
    let mine = app.store.dev_clients(&session.row.subject, now).await;
    let mine = mine?;
    let name = |text: &str| -> String {
        let document: Value = serde_json::from_str(text).unwrap_or_default();
        document["client_name"]
            .as_str()
            .unwrap_or("without a name")
            .to_owned()
    };
    let clients = mine.into_iter().map(|client| DevClientView {
        client_id: address(app, &client.id),
        name: name(&client.document),
        until: in_rfc_3339(client.expires_at),
        id: client.id,
    });
    let page = Development {
        frame: html::frame(app, Some(&session.row.username)),
        csrf: forms::token(app, FORM, &session.secret),
        lifetime: in_words(i64::from(app.config.development.lifetime.get())),
        example: "http://127.0.0.1/callback",
        client_name: filled.client_name,
        redirect_uris: filled.redirect_uris,
        failed: filled.failed,
        clients: clients.collect(),
    };
    Ok(html::page(status, &page))
}
