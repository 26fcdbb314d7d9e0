//! Who may see the pages of administrators.

use http::HeaderMap;

use crate::{
    app::App,
    time::UnixTime,
    web::{
        page_error::PageError,
        session::{self, CurrentSession},
    },
};

/// The session of an administrator; `None`: no person is signed in.
pub(super) async fn administrator(
    app: &App,
    headers: &HeaderMap,
    now: UnixTime,
) -> Result<Option<CurrentSession>, PageError> {
    let session = session::current(app, headers, now).await?;
    match session {
        Some(session) if !session.row.is_admin => {
            let username = session.row.username;
            Err(PageError::AdministratorsOnly { username })
        }
        session => Ok(session),
    }
}
