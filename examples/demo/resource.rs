//! A protected resource: RFC 6750, RFC 9068 §4, RFC 9728. It knows the issuer's URL, and nothing else of the server.

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

#[derive(Clone)]
struct Resource {
    issuer: String,
    id: String,
}

/// Serves until the demo ends.
pub(crate) async fn serve(listener: TcpListener, issuer: String, id: String) {
    let router = Router::new()
        .route("/notes", get(notes))
        .route("/.well-known/oauth-protected-resource/notes", get(metadata))
        .with_state(Resource { issuer, id });
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
    let token = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token);
    let claims = match token {
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
