//! `GET /.well-known/webfinger`: RFC 7033. Nothing is looked up: it answers for domains, not for people.

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::{StatusCode, Uri, header};

use crate::{
    app::App,
    protocol::{
        error::OAuthError,
        webfinger::{Refusal, descriptor},
    },
    web::{headers::FOR_EVERYBODY, token_error::TokenError},
};

/// Names the issuer for the people of a domain.
pub(crate) async fn webfinger(State(app): State<App>, uri: Uri) -> Response {
    let query = uri.query().unwrap_or_default();
    let told = |told| TokenError::new(OAuthError::invalid_request(told), false).into_response();
    match descriptor(query, &app.config.webfinger.domains, &app.config.issuer) {
        Ok(descriptor) => {
            let headers = [
                (header::CONTENT_TYPE, "application/jrd+json"),
                (header::CACHE_CONTROL, "public, max-age=3600"),
                FOR_EVERYBODY,
            ];
            (headers, descriptor.to_string()).into_response()
        }
        Err(Refusal::Malformed(why)) => told(why),
        Err(Refusal::NotOurs) => {
            let mut response = told("this server does not answer for the domain of this resource");
            *response.status_mut() = StatusCode::NOT_FOUND;
            response
        }
    }
}
