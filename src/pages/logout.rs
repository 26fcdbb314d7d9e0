//! `/logout`: a person signs out, after being asked.

use axum::{
    body::Bytes,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, StatusCode, header};

use crate::{
    app::App,
    web::{
        cookies, forms, html,
        page_error::PageError,
        refused, session,
        views::{SignOut, SignedOut},
    },
};

const FORM: &str = "logout";

/// Asks; or says that nobody is signed in.
pub(crate) async fn show(
    State(app): State<App>,
    headers: HeaderMap,
) -> Result<Response, PageError> {
    let session = session::current(&app, &headers, app.clock.now()).await?;
    let Some(session) = session else {
        return Ok(signed_out(&app));
    };
    let page = SignOut {
        frame: html::frame(&app, Some(&session.row.username)),
        csrf: forms::token(&app, FORM, &session.secret),
        action: format!("{}/logout", app.config.issuer.path()),
        user: session.row.username,
    };
    Ok(html::page(StatusCode::OK, &page))
}

/// Ends the session.
pub(crate) async fn submit(
    State(app): State<App>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, PageError> {
    let params = forms::read(&headers, &body)?;
    let session = session::current(&app, &headers, app.clock.now()).await?;
    let Some(session) = session else {
        return Ok(signed_out(&app));
    };
    if !forms::is_ours(&app, FORM, Some(&session.secret), &params) {
        return Err(PageError::Forbidden);
    }
    app.store.end_session(session.secret.hash()).await?;
    refused::happened("signed out", None, None);
    Ok((
        [(header::SET_COOKIE, cookies::clear(&app, cookies::SESSION))],
        signed_out(&app),
    )
        .into_response())
}

fn signed_out(app: &App) -> Response {
    html::page(
        StatusCode::OK,
        &SignedOut {
            frame: html::frame(app, None),
        },
    )
}
