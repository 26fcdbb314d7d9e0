//! Two protected resources: RFC 6750, RFC 9728. The notes know the issuer's URL, and nothing else of the server (RFC 9068
//! §4); the ledger asks it about each token (RFC 7662).

use axum::{
    Json, Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::get,
};
use http::{HeaderMap, StatusCode, header};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header, jwk::JwkSet};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use wayleave::secret::{ClientSecret, Secret};

#[derive(Clone)]
struct Resource {
    issuer: String,
    id: String,
    /// With what the ledger authenticates at the server.
    ledger: String,
}

/// Serves until the demo ends.
pub(crate) async fn serve(
    listener: TcpListener,
    issuer: String,
    id: String,
    ledger: Secret<ClientSecret>,
) {
    let ledger = ledger.expose().to_owned();
    let router = Router::new()
        .route("/notes", get(notes))
        .route("/.well-known/oauth-protected-resource/notes", get(metadata))
        .route("/ledger", get(ledger_page))
        .with_state(Resource { issuer, id, ledger });
    if let Err(error) = axum::serve(listener, router).await {
        eprintln!("the resource stopped: {error}");
    }
}

/// RFC 9728 §3.2.
async fn metadata(State(resource): State<Resource>) -> Response {
    let metadata = json!({
        "resource": resource.id,
        "authorization_servers": [resource.issuer],
        "scopes_supported": ["notes.read", "notes.write"],
        "bearer_methods_supported": ["header"],
    });
    Json(metadata).into_response()
}

async fn notes(State(resource): State<Resource>, headers: HeaderMap) -> Response {
    let claims = match bearer(&headers) {
        None => return refused(&resource, StatusCode::UNAUTHORIZED, ""),
        Some(token) => match verify(&resource, token).await {
            Ok(claims) => claims,
            Err(error) => {
                eprintln!("the resource refused a token: {error:#}");
                return refused(
                    &resource,
                    StatusCode::UNAUTHORIZED,
                    ", error=\"invalid_token\"",
                );
            }
        },
    };
    let scope = claims["scope"].as_str().unwrap_or_default();
    if !scope.split(' ').any(|token| token == "notes.read") {
        return refused(
            &resource,
            StatusCode::FORBIDDEN,
            ", error=\"insufficient_scope\", scope=\"notes.read\"",
        );
    }
    let notes = ["Water the ferns.", "The gate by the brook sticks."];
    Json(json!({ "notes": notes, "for": claims["sub"], "client": claims["client_id"] }))
        .into_response()
}

/// The other way to know a token: the server is asked about each, RFC 7662 §2.
async fn ledger_page(State(resource): State<Resource>, headers: HeaderMap) -> Response {
    let about = match introspect(&resource, bearer(&headers)).await {
        Ok(about) => about,
        Err(error) => {
            eprintln!("the ledger could not ask about a token: {error:#}");
            return StatusCode::BAD_GATEWAY.into_response();
        }
    };
    let scope = about["scope"].as_str().unwrap_or_default();
    if about["active"] != true || !scope.split(' ').any(|token| token == "ledger.read") {
        return (
            StatusCode::UNAUTHORIZED,
            [(header::WWW_AUTHENTICATE, "Bearer error=\"invalid_token\"")],
        )
            .into_response();
    }
    Json(json!({ "balance": 42, "for": about["client_id"], "introspection": about }))
        .into_response()
}

async fn introspect(resource: &Resource, token: Option<&str>) -> anyhow::Result<Value> {
    let Some(token) = token else {
        return Ok(json!({ "active": false }));
    };
    let form = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("token", token)
        .finish();
    let response = crate::client::http()?
        .post(format!("{}/introspect", resource.issuer))
        .basic_auth("ledger", Some(&resource.ledger))
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(form)
        .send()
        .await?;
    Ok(response.error_for_status()?.json().await?)
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}

/// RFC 6750 §3, RFC 9728 §5.1.
fn refused(resource: &Resource, status: StatusCode, error: &str) -> Response {
    let metadata = resource
        .id
        .replace("/notes", "/.well-known/oauth-protected-resource/notes");
    let value = format!("Bearer resource_metadata=\"{metadata}\"{error}");
    (status, [(header::WWW_AUTHENTICATE, value)]).into_response()
}

/// RFC 9068 §4: type, signature by a published key, issuer, audience, time.
async fn verify(resource: &Resource, token: &str) -> anyhow::Result<Value> {
    let head = decode_header(token)?;
    anyhow::ensure!(
        head.typ.as_deref() == Some("at+jwt"),
        "the token's typ is not at+jwt"
    );
    let keys: JwkSet = crate::client::http()?
        .get(format!("{}/jwks", resource.issuer))
        .send()
        .await?
        .json()
        .await?;
    let key = head
        .kid
        .and_then(|kid| keys.find(&kid).cloned())
        .ok_or_else(|| anyhow::anyhow!("the key is unknown"))?;
    let mut validation = Validation::new(Algorithm::ES256);
    validation.set_audience(&[&resource.id]);
    validation.set_issuer(&[&resource.issuer]);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    Ok(decode::<Value>(token, &DecodingKey::from_jwk(&key)?, &validation)?.claims)
}
