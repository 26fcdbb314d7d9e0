//! `/admin/…`: what administrators see of clients.

use axum::{body::Bytes, extract::State, response::Response};
use http::{HeaderMap, StatusCode, Uri};

use super::{administrator::administrator, refusals};
use crate::{
    app::App,
    clients::{Report, Verdict},
    protocol::params::Params,
    time::in_rfc_3339,
    web::{
        forms::{self, sign_in_for},
        html,
        page_error::PageError,
        session::CurrentSession,
        views::{AdminClients, AdminExplain, BackedOffView, ClientView, LineView, ReportView},
    },
    words::{counted, used_by},
};

const FORM: &str = "explain";
/// Clients on one page.
const MOST: i64 = 100;
/// Refusals beside them.
const REFUSALS: i64 = 20;

/// The clients that were read, the hosts in back-off, and what was refused.
pub(crate) async fn clients(
    State(app): State<App>,
    headers: HeaderMap,
) -> Result<Response, PageError> {
    let now = app.clock.now();
    let Some(session) = administrator(&app, &headers, now).await? else {
        return Ok(sign_in_for(&app, "clients"));
    };
    let listed = app.store.clients(now, MOST).await;
    let listed = listed?;
    let clients = listed.into_iter().map(|client| ClientView {
        tier: app.clients.rules().of_listed(&client).as_str().to_owned(),
        fetched: in_rfc_3339(client.fetched_at),
        use_: used_by(client.grants, client.people),
        state: match (client.gone_since, client.failed_rule) {
            (Some(since), _) => format!("gone since {}", in_rfc_3339(since)),
            (None, Some(rule)) => format!("failing: {rule}"),
            (None, None) => String::new(),
        },
        client_id: client.client_id,
    });
    let backed_off = app
        .clients
        .backed_off(now)
        .into_iter()
        .map(|host| BackedOffView {
            client_id: host.client_id.as_str().to_owned(),
            failures: counted(i64::try_from(host.failures).unwrap_or(i64::MAX), "failure"),
            wait: host.not_before - now,
            rule: host.refusal.rule,
            cause: host.refusal.cause,
        });
    app.refusals.flush().await?;
    let refused = app.store.refusals(REFUSALS, now).await;
    let refused = refused?.into_iter();
    let page = AdminClients {
        frame: html::frame(&app, Some(&session.row.username)),
        in_memory: app.clients.in_memory(),
        fetching: app.clients.flights(),
        clients: clients.collect(),
        backed_off: backed_off.collect(),
        refused: refused.map(refusals::view).collect(),
    };
    Ok(html::page(StatusCode::OK, &page))
}

/// The question which client is to be explained.
pub(crate) async fn ask(
    State(app): State<App>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, PageError> {
    let Some(session) = administrator(&app, &headers, app.clock.now()).await? else {
        return Ok(sign_in_for(&app, "explain"));
    };
    let params = Params::parse(uri.query().unwrap_or_default().as_bytes()).unwrap_or_default();
    let client_id = params.optional("client_id").unwrap_or_default();
    Ok(explain_page(&app, &session, client_id, None))
}

/// The explanation.
pub(crate) async fn explain(
    State(app): State<App>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, PageError> {
    let Some(session) = administrator(&app, &headers, app.clock.now()).await? else {
        return Ok(sign_in_for(&app, "explain"));
    };
    let params = forms::read(&headers, &body)?;
    if !forms::is_ours(&app, FORM, Some(&session.secret), &params) {
        return Err(PageError::Forbidden);
    }
    let client_id = params.optional("client_id").unwrap_or_default().trim();
    let report = app.clients.explain(client_id).await;
    Ok(explain_page(&app, &session, client_id, Some(&report)))
}

fn explain_page(
    app: &App,
    session: &CurrentSession,
    client_id: &str,
    report: Option<&Report>,
) -> Response {
    let page = AdminExplain {
        frame: html::frame(app, Some(&session.row.username)),
        csrf: forms::token(app, FORM, &session.secret),
        action: format!("{}/admin/explain", app.config.issuer.path()),
        client_id: client_id.to_owned(),
        report: report.map(view),
    };
    html::page(StatusCode::OK, &page)
}

fn view(report: &Report) -> ReportView {
    let rules = report.rules.iter().map(|line| {
        let (verdict, class) = match line.verdict {
            Verdict::Pass => ("pass", "pass"),
            Verdict::Fail => ("fail", "fail"),
            Verdict::NotReached => ("not reached", "later"),
        };
        LineView {
            rule: line.rule,
            verdict,
            class,
            problem: line.problem.clone(),
            advice: line.advice,
        }
    });
    ReportView {
        accepted: report.accepted,
        verdict: match report.refused_by() {
            None => "This server accepts the client.".to_owned(),
            Some(line) => format!("This server refuses the client: {}", line.rule),
        },
        policy: report.policy.clone(),
        notes: report.notes.clone(),
        rules: rules.collect(),
        facts: report.facts(),
    }
}
