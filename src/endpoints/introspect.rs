//! `POST /introspect`: RFC 7662 §2. For protected resources, and for clients that look at their own tokens.

use axum::{
    Json,
    body::Bytes,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{Extensions, HeaderMap, Uri, header};

use crate::{
    app::App,
    clients::LookUp,
    protocol::{
        error::OAuthError,
        introspection::{self, may_know},
    },
    tokens::live,
    web::{
        client_request::{Call, Endpoint, Incoming},
        token_error::TokenError,
    },
};

const INTROSPECTION: Endpoint = Endpoint {
    path: "/introspect",
    takes_proofs: false,
    look_up: |_| LookUp::Never,
};

/// Says whether an access token is good now, to callers that prove who they are.
pub(crate) async fn introspect(
    State(app): State<App>,
    uri: Uri,
    headers: HeaderMap,
    extensions: Extensions,
    body: Bytes,
) -> Result<Response, TokenError> {
    let call = Call {
        uri,
        headers,
        extensions,
        body,
    };
    let incoming = INTROSPECTION.read(&app, &call).await?;
    let tried_header = call.headers.contains_key(header::AUTHORIZATION);
    look(&app, incoming)
        .await
        .map_err(|error| TokenError::new(error, tried_header))
}

/// A token that the caller may not know of is told like one that does not exist, so that nobody can try tokens out
/// (§2.2, §4). The hint changes nothing: only one kind of token is told of at all.
async fn look(app: &App, incoming: Incoming) -> Result<Response, OAuthError> {
    let Incoming {
        client,
        params,
        now,
        ..
    } = incoming;
    if !client.is_confidential() {
        // §2.1: whoever asks has to authenticate.
        return Err(OAuthError::invalid_client().because("introspection by a public client"));
    }
    let token = params.require("token")?;
    let resources = client
        .registered()
        .map_or(&[][..], |registered| &registered.written().resources);
    let live = live(app, token, now)
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
