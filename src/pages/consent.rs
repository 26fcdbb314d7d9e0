//! `/consent`: a person is asked whether a client may have what it asks for.

use axum::{body::Bytes, extract::State, response::Response};
use http::{HeaderMap, StatusCode, Uri};

use super::client_summary::{asker, wanted};
use crate::{
    app::App,
    clients::{Need, found},
    grants::approval::{Proposal, PushedAs, Remembered},
    policy::{Facts, Verdict, decide},
    protocol::{client_id::ClientId, params::Params, redirect_uri::Destination},
    secret::{self, Secret, SecretHash, Visitor},
    store::{Answer, Respondent, StoreError},
    time::UnixTime,
    web::{
        callback::{Callback, see_other},
        cookies, forms, html,
        page_error::{BadRequest, PageError, RefusedClient},
        refused,
        session::{self, CurrentSession},
        views::{Asker, Consent},
    },
};

const FORM: &str = "consent";

/// A question that is open for this browser.
struct Open {
    session: CurrentSession,
    visitor: Secret<Visitor>,
    secret: Secret<secret::Interaction>,
    params: Params,
    proposal: Proposal,
}

/// The question.
pub(crate) async fn show(
    State(app): State<App>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, PageError> {
    let now = app.clock.now();
    let params =
        Params::parse(uri.query().unwrap_or_default().as_bytes()).map_err(|_| PageError::Gone)?;
    let open = open(&app, &headers, &params, now).await?;
    let proposal = &open.proposal;
    let subject = &open.session.row.subject;
    let consents = app.store.consents(subject, proposal.client.id(), now).await;
    let consents = consents?;
    let remembered = proposal.remembered(&app, &consents, now).await;
    let asker = asker(&app, &proposal.client, &proposal.standing, now).await?;
    let page = view(&app, &open, &remembered, asker);
    Ok(html::page_before_client(StatusCode::OK, &page))
}

/// The answer: spends the question, and takes the browser back to the client.
pub(crate) async fn submit(
    State(app): State<App>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, PageError> {
    let now = app.clock.now();
    let params = forms::read(&headers, &body)?;
    let open = open(&app, &headers, &params, now).await?;
    if !forms::is_ours(&app, FORM, Some(&open.visitor), &params) {
        return Err(PageError::Forbidden);
    }
    let callback = Callback::new(
        &app,
        open.proposal.request.redirect_uri.clone(),
        &open.params,
    );
    let session = &open.session.row;
    let scope = open.proposal.scope.to_string();
    let (answer, response) = match params.optional("decision") {
        Some("allow") => {
            still_listed(&app, &open, now).await?;
            let facts = Facts {
                request: &open.proposal.request,
                signed_in_at: Some(session.signed_in_at),
                sent_to_login_at: None,
                // This was checked before the question was put, and the question is this person's.
                other_person: false,
                consent_covers: false,
                first_party: false,
                just_allowed: true,
                now,
            };
            if !matches!(decide(&facts), Verdict::Pass) {
                return Err(PageError::Gone);
            }
            let (code, row) = open.proposal.code(&app, open.session.person(&app), now);
            let response = callback.code(code.expose());
            (
                Answer::Allow {
                    code: Box::new(row),
                    asked: open.proposal.asked().clone(),
                    remember_until: now + i64::from(app.config.policy.consent),
                },
                response,
            )
        }
        Some("deny") => (Answer::Deny, callback.denied()),
        _ => {
            let told = "the parameter decision must be allow or deny";
            return Err(BadRequest::new("decision", told).into());
        }
    };
    let asked = Respondent {
        browser: open.visitor.hash(),
        subject: session.subject.clone(),
    };
    let spent = app
        .store
        .answer(open.secret.hash(), asked, now, answer)
        .await;
    match spent {
        Ok(true) => {
            refused::happened("consent", params.optional("decision"), Some(&scope));
            Ok(response)
        }
        Ok(false) | Err(StoreError::UsedBefore) => Err(PageError::Gone),
        Err(StoreError::RulesMoved) => {
            // Judged by rules or in a session that are no more: the question is put again, as it is now.
            let noticed = app.clients.notice_changes().await;
            noticed?;
            let base = app.config.issuer.path();
            let secret = open.secret.expose();
            Ok(see_other(&format!("{base}/consent?interaction={secret}")))
        }
        Err(error) => Err(error.into()),
    }
}

/// A redirect URI that a newer version of the document, already at hand, does not list any more gets no code: one
/// login uses one version, but what was taken away is taken away.
async fn still_listed(app: &App, open: &Open, now: UnixTime) -> Result<(), PageError> {
    let client = &open.proposal.client;
    let requested = open.proposal.request.redirect_uri.as_str();
    // A version that cannot be looked up now takes nothing away.
    let newest = app.clients.client(client.id(), Need::CachedFresh, now);
    let newest = newest.await.ok().flatten();
    match newest {
        Some(newest)
            if newest.digest != client.digest
                && app.clients.redirect_uri(&newest, requested).is_err() =>
        {
            let description = newest.description();
            let told =
                format!("the client's {description} does not list this redirect_uri any more");
            Err(BadRequest::new("redirect_uri.not_registered", told)
                .detail("client_id", client.id().as_str())
                .detail("redirect_uri", requested)
                .into())
        }
        _ => Ok(()),
    }
}

/// Finds the question, and judges its request once more against the version of the document that was shown.
async fn open(
    app: &App,
    headers: &HeaderMap,
    params: &Params,
    now: UnixTime,
) -> Result<Open, PageError> {
    let gone = || PageError::Gone;
    let secret: Secret<secret::Interaction> = params
        .optional("interaction")
        .and_then(|text| text.parse().ok())
        .ok_or_else(gone)?;
    let session = session::current(app, headers, now)
        .await?
        .ok_or_else(gone)?;
    let visitor = cookies::read::<Visitor>(app, headers, cookies::VISITOR).ok_or_else(gone)?;
    let asked = Respondent {
        browser: visitor.hash(),
        subject: session.row.subject.clone(),
    };
    let row = app.store.interaction(&secret.hash(), &asked, now).await?;
    let row = row.ok_or_else(gone)?;

    let params = Params::parse(row.request.as_bytes()).map_err(|_| gone())?;
    let client_id: ClientId = params
        .optional("client_id")
        .and_then(|text| text.parse().ok())
        .ok_or_else(gone)?;
    refused::of_client(client_id.as_str());
    let client = app
        .clients
        .client(&client_id, Need::Version(&row.digest, row.fetched_at), now)
        .await
        .and_then(found);
    let refused = |refusal| RefusedClient::new(&client_id, refusal);
    let client = client.map_err(refused)?;
    app.clients.admit(&client).map_err(refused)?;
    let requested = params.optional("redirect_uri").unwrap_or_default();
    let redirect_uri = app.clients.redirect_uri(&client, requested);
    let redirect_uri = redirect_uri.map_err(|_| gone())?;
    let pushed = match &row.pushed {
        Some(hash) => {
            let hash = SecretHash::from_column(hash.clone());
            let pushed = app.store.pushed(&hash, &client_id).await?;
            let method = pushed.ok_or_else(gone)?.auth_method;
            Some(PushedAs { hash, method })
        }
        None => None,
    };
    let proposal = Proposal::new(app, &params, client, redirect_uri, pushed).map_err(|_| gone())?;
    Ok(Open {
        session,
        visitor,
        secret,
        params,
        proposal,
    })
}

fn view(app: &App, open: &Open, remembered: &Remembered, asker: Asker) -> Consent {
    let Proposal {
        request,
        client,
        scope,
        ..
    } = &open.proposal;
    let user = &open.session.row.username;
    let redirect_uri = &request.redirect_uri;
    let lifetime = open.proposal.lifetime(app);
    Consent {
        frame: html::frame(app, Some(user)),
        csrf: forms::token(app, FORM, &open.visitor),
        action: format!("{}/consent", app.config.issuer.path()),
        interaction: open.secret.expose().to_owned(),
        asker,
        wanted: wanted(app, user, scope, &request.resources, lifetime),
        destination: match redirect_uri.destination() {
            Destination::Host(host) => host.to_owned(),
            Destination::App(scheme) => format!("{scheme}:"),
        },
        redirect_is_app: redirect_uri.private_use_scheme().is_some(),
        redirect_is_in_clear: redirect_uri.is_in_clear(),
        redirect_uri: redirect_uri.as_str().to_owned(),
        redirect_is_loopback: redirect_uri.is_loopback(),
        redirect_is_other_host: !client.is_registered
            && !redirect_uri.leads_to_device()
            && redirect_uri.destination() != Destination::Host(client.id().host_or_name()),
        changed: remembered
            .changed
            .iter()
            .map(|sentence| (*sentence).to_owned())
            .collect(),
        switch_account_url: format!("{}/logout", app.config.issuer.path()),
    }
}
