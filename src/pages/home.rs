//! `GET /`: who is signed in here.

use axum::{extract::State, response::Response};
use http::{HeaderMap, StatusCode};

use crate::{
    app::App,
    web::{html, page_error::PageError, session, views::Home},
};

/// The page of somebody who came without a request of a client.
pub(crate) async fn home(
    State(app): State<App>,
    headers: HeaderMap,
) -> Result<Response, PageError> {
    let session = session::current(&app, &headers, app.clock.now()).await?;
    let is_admin = session.as_ref().is_some_and(|session| session.row.is_admin);
    let user = session.map(|session| session.row.username);
    let page = Home {
        frame: html::frame(&app, user.as_deref()),
        user,
        is_admin,
        has_development: app.config.development.clients,
    };
    Ok(html::page(StatusCode::OK, &page))
}
