//! `/setup`: the one-time link that makes the first account, an administrator.

use axum::{
    body::Bytes,
    extract::State,
    response::{AppendHeaders, IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};

use crate::{
    accounts::{AccountsError, Password, Username},
    app::App,
    protocol::params::Params,
    secret::{Secret, Setup, Visitor},
    web::{
        callback::see_other, cookies, forms, html, page_error::PageError, refused, session, views,
    },
};

const FORM: &str = "setup";

/// The page behind the link.
pub(crate) async fn show(
    State(app): State<App>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, PageError> {
    let params = Params::parse(uri.query().unwrap_or_default().as_bytes()).unwrap_or_default();
    let link = open_link(&app, &params).await?;
    Ok(page(&app, &headers, &link, "", None))
}

/// Makes the account and signs it in.
pub(crate) async fn submit(
    State(app): State<App>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, PageError> {
    let now = app.clock.now();
    let params = forms::read(&headers, &body)?;
    let visitor = cookies::read::<Visitor>(&app, &headers, cookies::VISITOR);
    if !forms::is_ours(&app, FORM, visitor.as_ref(), &params) {
        return Err(PageError::Forbidden);
    }
    let link = open_link(&app, &params).await?;
    let name = params.optional("username").unwrap_or_default();
    let (username, password) = match chosen(&params) {
        Ok(chosen) => chosen,
        Err(told) => return Ok(page(&app, &headers, &link, name, Some(told))),
    };
    let made = app
        .accounts
        .add_first(link.hash(), username, password, now)
        .await;
    if let Err(AccountsError::Busy) = made {
        tracing::info!("the first account was not made: too many passwords wait to be hashed");
        let told = "The server is overloaded. Wait a few seconds, and try again.";
        let mut page = page(&app, &headers, &link, name, Some(told));
        *page.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        let headers = page.headers_mut();
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
        return Ok(page);
    }
    match made? {
        Ok(account) => {
            refused::of_person(&account.subject, &account.username);
            tracing::info!("the first account was made with the set-up link");
            refused::happened("signed in", None, None);
            let cookie = session::start(&app, &headers, account, now).await?;
            let cookie = cookie.map(|cookie| AppendHeaders([(header::SET_COOKIE, cookie)]));
            let home = see_other(&format!("{}/", app.config.issuer.path()));
            Ok((cookie, home).into_response())
        }
        Err(_) => Err(PageError::SetupLink),
    }
}

fn chosen(params: &Params) -> Result<(Username, Password), &'static str> {
    let username = params.optional("username").unwrap_or_default().parse()?;
    let password = params.optional("password").unwrap_or_default();
    if params.optional("password_again").unwrap_or_default() != password {
        return Err("The two passwords are not the same.");
    }
    Ok((username, Password::chosen(password)?))
}

async fn open_link(app: &App, params: &Params) -> Result<Secret<Setup>, PageError> {
    let link: Option<Secret<Setup>> = params.optional("token").and_then(|text| text.parse().ok());
    let Some(link) = link else {
        return Err(PageError::SetupLink);
    };
    let open = app
        .store
        .setup_link_is_open(&link.hash(), app.clock.now())
        .await;
    if open? {
        Ok(link)
    } else {
        Err(PageError::SetupLink)
    }
}

fn page(
    app: &App,
    headers: &HeaderMap,
    link: &Secret<Setup>,
    username: &str,
    failed: Option<&str>,
) -> Response {
    let (visitor, cookie) = cookies::visitor(app, headers);
    let page = views::Setup {
        frame: html::frame(app, None),
        csrf: forms::token(app, FORM, &visitor),
        action: format!("{}/setup", app.config.issuer.path()),
        token: link.expose().to_owned(),
        username: username.chars().take(64).collect(),
        failed: failed.map(str::to_owned),
    };
    let status = if failed.is_some() {
        StatusCode::UNPROCESSABLE_ENTITY
    } else {
        StatusCode::OK
    };
    let mut response = html::page(status, &page);
    let cookie = cookie.map(|cookie| (header::SET_COOKIE, cookie));
    response.headers_mut().extend(cookie);
    response
}
