//! `POST /introspect`: RFC 7662 §2. For protected resources, and for clients that look at their own tokens.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::header;

use crate::{
    app::App,
    protocol::{
        error::OAuthError,
        introspection::{self, may_know},
    },
    tokens::live,
    web::{
        client_request::{ClientRequest, Endpoint},
        token_error::TokenError,
    },
};

pub(crate) struct Introspection;

impl Endpoint for Introspection {
    const PATH: &'static str = "/introspect";
}

/// Says whether an access token is good now, to callers that prove who they are.
pub(crate) async fn introspect(
    State(app): State<App>,
    request: ClientRequest<Introspection>,
) -> Result<Response, TokenError> {
    let looked = look(&app, &request).await;
    looked.map_err(|error| request.failed(&app, error))
}

/// A token that the caller may not know of is told like one that does not exist, so that nobody can try tokens out
/// (§2.2, §4). The hint changes nothing: only one kind of token is told of at all.
async fn look(app: &App, request: &ClientRequest<Introspection>) -> Result<Response, OAuthError> {
    let ClientRequest {
        client,
        params,
        now,
        ..
    } = request;
    if !client.is_confidential() {
        // §2.1: whoever asks has to authenticate.
        return Err(OAuthError::invalid_client().because("introspection by a public client"));
    }
    let token = params.require("token")?;
    let resources = client
        .registered()
        .map_or(&[][..], |registered| &registered.written().resources);
    let live = live(app, token, *now)
        .await?
        .filter(|live| may_know(&live.claims, client.id().as_str(), resources));
    let told = match &live {
        None => introspection::Response::INACTIVE,
        Some(live) => {
            let person = live.person.as_ref();
            let username = person.map(|person| person.username.as_str());
            introspection::Response::active(&live.claims, username)
        }
    };
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(told)).into_response())
}
