//! `/admin/refusals`: what was refused last, and why.

use axum::{extract::State, response::Response};
use http::{HeaderMap, StatusCode, Uri};

use super::administrator::administrator;
use crate::{
    app::App,
    protocol::params::Params,
    refusals::typed_reference,
    store::{KeptRefusal, MOST_REFUSALS},
    time::in_rfc_3339,
    web::{
        forms::sign_in_for,
        html,
        page_error::PageError,
        views::{AdminRefusals, RefusedView},
    },
};

/// Refusals on one page.
const MOST: i64 = 200;

/// The last refusals; or the one of the reference that was typed.
pub(crate) async fn refusals(
    State(app): State<App>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, PageError> {
    let now = app.clock.now();
    let Some(session) = administrator(&app, &headers, now).await? else {
        return Ok(sign_in_for(&app, "refusals"));
    };
    let params = Params::parse(uri.query().unwrap_or_default().as_bytes()).unwrap_or_default();
    let reference = params.optional("reference").map(typed_reference);
    let reference = reference.filter(|reference| !reference.is_empty());
    app.refusals.flush().await?;
    let refused = match &reference {
        Some(reference) => {
            let found = app.store.refusal(reference, now).await;
            found?.into_iter().collect()
        }
        None => app.store.refusals(MOST, now).await?,
    };
    let page = AdminRefusals {
        frame: html::frame(&app, Some(&session.row.username)),
        most: MOST_REFUSALS,
        reference,
        refused: refused.into_iter().map(view).collect(),
    };
    Ok(html::page(StatusCode::OK, &page))
}

/// A refusal as pages show it.
pub(super) fn view(refusal: KeptRefusal) -> RefusedView {
    let query = |client_id: &String| {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("client_id", client_id).finish()
    };
    RefusedView {
        at: in_rfc_3339(refusal.at),
        reference: refusal.reference,
        endpoint: refusal.endpoint,
        rule: refusal.rule,
        client_query: refusal.client_id.as_ref().map(query),
        client_id: refusal.client_id,
        person: refusal.username,
        address: refusal.address,
        told: refusal.told,
        cause: refusal.cause,
    }
}
