//! `GET` and `POST /authorize`: RFC 6749 §3.1 and §4.1.1.

use std::{net::IpAddr, sync::Arc};

use axum::{
    body::Bytes,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{Extensions, HeaderMap, Method, StatusCode, Uri, header};

use crate::{
    app::App,
    clients::{Asker, Need, Refusal, Reread, found},
    fetch::LOOP_MARKER,
    grants::approval::{Proposal, PushedAs},
    policy::{Facts, Verdict, decide},
    protocol::{
        authorize,
        client::{Client, Digest},
        client_id::ClientId,
        error::{ErrorCode, OAuthError},
        params::Params,
        pushed,
        redirect_uri::RedirectUri,
    },
    secret::{self, Secret, Visitor},
    store::{Consent, NewInteraction, Respondent, StoreError},
    time::{UnixTime, in_words},
    tokens,
    web::{
        callback::{Callback, see_other},
        client_ip::client_ip,
        cookies, forms,
        page_error::{BadRequest, PageError, RefusedClient},
        refused,
        session::{self, CurrentSession},
    },
};

/// Answers an authorization request, or sends its person to the page that is needed first.
pub(crate) async fn authorize(
    State(app): State<App>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    extensions: Extensions,
    body: Bytes,
) -> Result<Response, PageError> {
    let now = app.clock.now();
    if is_speculative(&method, &headers) {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    if is_our_own_fetch(&headers) {
        return Ok(StatusCode::LOOP_DETECTED.into_response());
    }
    let visible = read(&method, &uri, &headers, &body)?;
    let browser = cookies::read::<Visitor>(&app, &headers, cookies::VISITOR);
    let (visible, sent_to_login_at) = forms::take_sent(&app, &visible, browser.as_ref(), now);
    let client_id = client_id(&app, &visible)?;
    let pushed = pushed(&app, &client_id, &visible, sent_to_login_at, now).await?;
    let params = match &pushed {
        Some(pushed) => &pushed.params,
        None => &visible,
    };
    if params.optional("redirect_uri").is_none() {
        let told = "the parameter redirect_uri is missing";
        return Err(BadRequest::new("redirect_uri", told).into());
    }
    let session = session::current_for(&app, &headers, &client_id, now).await?;
    let (session, consents) = session.unzip();
    let consents = consents.unwrap_or_default();

    let request = Incoming {
        app: &app,
        visible: &visible,
        params,
        pushed: pushed.as_ref(),
        consents: &consents,
        headers: &headers,
        now,
        sent_to_login_at,
        source: client_ip(&extensions, &headers, &app.config.server.trusted_proxies),
    };
    let client = match &pushed {
        Some(pushed) => Ok(Some(request.version(&client_id, pushed).await?)),
        None => request.client(&client_id, session.is_some()).await,
    };
    match client {
        Ok(Some(client)) => request.advance(client, session).await,
        // Nobody is signed in, and the client is not known: its host is asked only for somebody who is.
        Ok(None) => request.send_to_login(),
        Err(refusal) => {
            if let Some(answer) = request.refuse_silently(&client_id, &refusal).await {
                return Ok(answer);
            }
            let user = session
                .as_ref()
                .map(|session| session.row.username.as_str());
            Err(RefusedClient::new(&client_id, refusal)
                .signed_in_as(user)
                .into())
        }
    }
}

/// Does somebody only look whether there is something here? Nothing is fetched or written for them.
fn is_speculative(method: &Method, headers: &HeaderMap) -> bool {
    let prefetch = |name: &str| {
        headers
            .get(name)
            .is_some_and(|value| value.as_bytes().starts_with(b"prefetch"))
    };
    *method == Method::HEAD || prefetch("sec-purpose") || prefetch("purpose")
}

/// RFC 8586 §2: is our marker among those of the request, wherever proxies put theirs?
fn is_our_own_fetch(headers: &HeaderMap) -> bool {
    let values = headers.get_all("cdn-loop").iter();
    values
        .flat_map(|value| value.as_bytes().split(|b| *b == b','))
        .any(|entry| {
            let name = entry.split(|b| *b == b';').next().unwrap_or_default();
            name.trim_ascii() == LOOP_MARKER.as_bytes()
        })
}

fn read(method: &Method, uri: &Uri, headers: &HeaderMap, body: &[u8]) -> Result<Params, PageError> {
    let query = uri.query().unwrap_or_default();
    let params = if *method == Method::POST {
        if !query.is_empty() {
            let told = "a POST carries its parameters in the body, not in the query";
            return Err(OAuthError::invalid_request(told).into());
        }
        forms::read(headers, body)?
    } else {
        Params::parse(query.as_bytes())?
    };
    authorize::check_length(&params)?;
    Ok(params)
}

fn client_id(app: &App, params: &Params) -> Result<ClientId, PageError> {
    let Some(text) = params.optional("client_id") else {
        return Err(BadRequest::new("client_id", "the parameter client_id is missing").into());
    };
    refused::of_client(text);
    let client_id: ClientId =
        text.parse()
            .map_err(|error: crate::protocol::client_url::ClientUrlError| {
                BadRequest::new(error.rule(), error.to_string()).detail("client_id", text)
            })?;
    let checked = client_id
        .url()
        .map_or(Ok(()), |url| app.clients.check_url(url));
    checked.map_err(|refusal| RefusedClient::new(&client_id, refusal))?;
    Ok(client_id)
}

/// A request that was pushed, RFC 9126 §4.
struct PushedRequest {
    params: Params,
    digest: Digest,
    fetched_at: UnixTime,
    pushed: PushedAs,
}

/// What stands behind the `request_uri` of a request, if it has one. Whatever else came along does not count.
async fn pushed(
    app: &App,
    client_id: &ClientId,
    visible: &Params,
    sent_to_login_at: Option<UnixTime>,
    now: UnixTime,
) -> Result<Option<PushedRequest>, PageError> {
    // Any other is refused as every request that this server does not know: nothing is fetched for it.
    let request_uri = visible.optional("request_uri");
    let Some(request_uri) = request_uri.filter(|uri| uri.starts_with(pushed::PREFIX)) else {
        return Ok(None);
    };
    let refuse =
        |told: &str| BadRequest::new("request_uri", told).detail("client_id", client_id.as_str());
    let Some(secret) = pushed::secret(request_uri) else {
        return Err(refuse("the request_uri is not one that this server gave").into());
    };
    let row = app.store.pushed(&secret.hash(), client_id).await;
    let row = row?;
    // Whoever came in time and was sent to sign in is still in time.
    let came_at = sent_to_login_at.unwrap_or(now);
    let in_time = row.filter(|row| came_at < row.expires_at);
    let row = in_time.ok_or_else(|| {
        refuse(
            "the request_uri is unknown, expired, of another client, or has given a code already",
        )
    })?;
    let params =
        Params::parse(row.request.as_bytes()).map_err(|error| refuse(&error.description))?;
    Ok(Some(PushedRequest {
        params,
        digest: row.digest,
        fetched_at: row.fetched_at,
        pushed: PushedAs {
            hash: secret.hash(),
            method: row.auth_method,
        },
    }))
}

/// Is somebody else expected? A hint that is no ID token of ours says nothing.
fn is_another(app: &App, proposal: &Proposal, session: &CurrentSession) -> bool {
    let hint = proposal.request.id_token_hint.as_deref();
    let expected = hint.and_then(|hint| tokens::subject_of(app, hint));
    expected.is_some_and(|expected| expected != session.row.subject)
}

struct Incoming<'a> {
    app: &'a App,
    /// As the browser brought them.
    visible: &'a Params,
    /// As they count: the same, or those that were pushed.
    params: &'a Params,
    pushed: Option<&'a PushedRequest>,
    /// What the person who is signed in allowed this client before.
    consents: &'a [Consent],
    headers: &'a HeaderMap,
    now: UnixTime,
    sent_to_login_at: Option<UnixTime>,
    /// The network that asks.
    source: IpAddr,
}

impl Incoming<'_> {
    /// The client; `None` when it is not known and nobody is signed in for whom it could be looked up.
    async fn client(
        &self,
        client_id: &ClientId,
        is_signed_in: bool,
    ) -> Result<Option<Arc<Client>>, Refusal> {
        let (clients, now) = (&self.app.clients, self.now);
        match is_signed_in {
            true => {
                let need = Need::Fetch(Asker::SignedIn(self.source));
                clients.client(client_id, need, now).await
            }
            // The answer is a refusal in any case, and the last good copy knows where it goes.
            false if self.is_silent() => self.last_known(client_id).await,
            false => clients.client(client_id, Need::CachedFresh, now).await,
        }
    }

    /// The last version that was read, where the client would be let in: its redirect URIs say where a refusal may go.
    async fn last_known(&self, client_id: &ClientId) -> Result<Option<Arc<Client>>, Refusal> {
        let clients = &self.app.clients;
        let client = clients.client(client_id, Need::LastKnown, self.now).await?;
        client
            .as_deref()
            .map_or(Ok(()), |client| clients.admit(client).map(drop))?;
        Ok(client)
    }

    /// OpenID Connect Core §3.1.2.1: must nobody be shown a page?
    fn is_silent(&self) -> bool {
        let mut prompt = self.params.optional("prompt").into_iter();
        prompt.any(|prompt| prompt.split(' ').any(|value| value == "none"))
    }

    /// The answer to a client that wants no page shown and whose document cannot be read now: to the redirect URI that the
    /// last good copy lists. `None` where there is none.
    async fn refuse_silently(&self, client_id: &ClientId, refusal: &Refusal) -> Option<Response> {
        if !self.is_silent() || !refusal.is_temporary() {
            return None;
        }
        let app = self.app;
        let client = self.last_known(client_id).await.ok()??;
        let requested = self.params.optional("redirect_uri").unwrap_or_default();
        let redirect_uri = app.clients.redirect_uri(&client, requested).ok()?;
        let told =
            "prompt none was asked for, but the client's document cannot be read at the moment";
        let error = OAuthError::new(ErrorCode::InteractionRequired, told);
        let callback = Callback::new(app, redirect_uri, self.params);
        Some(callback.error(&error.because(refusal.cause.clone())))
    }

    /// The version of the client that its pushed request was judged by: one login uses one version.
    async fn version(
        &self,
        client_id: &ClientId,
        pushed: &PushedRequest,
    ) -> Result<Arc<Client>, PageError> {
        let clients = &self.app.clients;
        let need = Need::Version(&pushed.digest, pushed.fetched_at);
        let version = clients.client(client_id, need, self.now).await;
        let admitted = version
            .and_then(found)
            .and_then(|client| clients.admit(&client).map(|_| client));
        admitted.map_err(|refusal| RefusedClient::new(client_id, refusal).into())
    }

    /// The one place that decides what happens next, however often the person leaves for a page.
    async fn advance(
        &self,
        client: Arc<Client>,
        session: Option<CurrentSession>,
    ) -> Result<Response, PageError> {
        let Self {
            app, params, now, ..
        } = *self;
        let (client, redirect_uri) = self.redirect_uri(client, session.is_some()).await?;
        let callback = Callback::new(app, redirect_uri.clone(), params);
        let pushed = self.pushed.map(|pushed| pushed.pushed.clone());
        let proposal = match Proposal::new(app, params, client, redirect_uri, pushed) {
            Ok(proposal) => proposal,
            Err(error) => return Ok(callback.error(&error)),
        };
        if let Err(error) = proposal.check_step_up(app, self.consents) {
            return Ok(callback.error(&error));
        }
        let remembered = proposal.remembered(app, self.consents, now).await;
        let facts = Facts {
            request: &proposal.request,
            signed_in_at: session.as_ref().map(|session| session.row.signed_in_at),
            sent_to_login_at: self.sent_to_login_at,
            other_person: session
                .as_ref()
                .is_some_and(|session| is_another(app, &proposal, session)),
            consent_covers: remembered.covers,
            first_party: proposal.standing.is_first_party(),
            just_allowed: false,
            now,
        };
        let verdict = decide(&facts);
        // What follows writes something down.
        if let (Verdict::Consent | Verdict::Pass, Some(session)) = (&verdict, &session)
            && let Err(wait) = app.limits.authorizations.take(&session.row.subject)
        {
            let seconds = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX);
            let told =
                "this person has been sent here too often within a minute; try again shortly";
            let error = OAuthError::new(ErrorCode::TemporarilyUnavailable, told);
            return Ok(callback.error(&error.retry_after(seconds.saturating_add(1))));
        }
        match (verdict, session) {
            (Verdict::Refuse(error), _) => Ok(callback.error(&error)),
            (Verdict::Consent, Some(session)) => self.park(&proposal, &session).await,
            (Verdict::Pass, Some(session)) => {
                let (code, row) = proposal.code(app, session.person(app), now);
                match app.store.insert_code(row).await {
                    Ok(()) => Ok(callback.code(code.expose())),
                    Err(StoreError::RulesMoved) => {
                        // Judged by rules that are no more, or in a session that is no more: again, as it is now.
                        app.clients.notice_changes().await?;
                        let session = session::current(app, self.headers, now).await;
                        Box::pin(self.advance(proposal.client, session?)).await
                    }
                    Err(StoreError::UsedBefore) => Err(PageError::Gone),
                    Err(error) => Err(error.into()),
                }
            }
            (Verdict::Login, _) | (_, None) => self.send_to_login(),
        }
    }

    /// The redirect URI that the client's document lists. A copy that does not list it may only be old: its host is
    /// asked once more, for somebody who is signed in.
    async fn redirect_uri(
        &self,
        client: Arc<Client>,
        signed_in: bool,
    ) -> Result<(Arc<Client>, RedirectUri), PageError> {
        let (app, now) = (self.app, self.now);
        let requested = self.params.optional("redirect_uri").unwrap_or_default();
        let choose = |client: &Client| app.clients.redirect_uri(client, requested);
        let error = match choose(&client) {
            Ok(redirect_uri) => return Ok((client, redirect_uri)),
            Err(error) => error,
        };
        let newer = match signed_in && self.pushed.is_none() {
            true => match app
                .clients
                .reread(&client, Asker::SignedIn(self.source), now)
                .await
            {
                Reread::Newer(newer) => Some(newer),
                Reread::Same | Reread::NotNow(_) => None,
            },
            false => None,
        };
        if let Some((newer, redirect_uri)) = newer
            .as_ref()
            .and_then(|newer| Some((newer, choose(newer).ok()?)))
        {
            return Ok((Arc::clone(newer), redirect_uri));
        }
        let judged = newer.unwrap_or(client);
        let by = match judged.is_registered {
            true => "its registration at this server".to_owned(),
            false => format!(
                "the document read {} ago, SHA-256 {}",
                in_words((now - judged.fetched_at).max(0)),
                judged.digest.as_str()
            ),
        };
        Err(BadRequest::new(error.rule(), error.to_string())
            .detail("client_id", judged.id().as_str())
            .detail("redirect_uri", requested)
            .detail("Judged by", &by)
            .into())
    }

    fn send_to_login(&self) -> Result<Response, PageError> {
        if self.is_silent() {
            let told = "prompt none was asked for, but nobody is signed in and the client is not known yet";
            return Err(BadRequest::new("prompt", told).into());
        }
        let (browser, cookie) = cookies::visitor(self.app, self.headers);
        let request = forms::mark_sent(self.app, self.visible, &browser, self.now);
        let base = self.app.config.issuer.path();
        let mut response = see_other(&format!("{base}/login?{request}"));
        let cookie = cookie.map(|cookie| (header::SET_COOKIE, cookie));
        response.headers_mut().extend(cookie);
        Ok(response)
    }

    /// Puts the question of consent.
    async fn park(
        &self,
        proposal: &Proposal,
        session: &CurrentSession,
    ) -> Result<Response, PageError> {
        let secret = Secret::<secret::Interaction>::generate();
        let (visitor, cookie) = cookies::visitor(self.app, self.headers);
        let question = NewInteraction {
            hash: secret.hash(),
            asked: Respondent {
                browser: visitor.hash(),
                subject: session.row.subject.clone(),
            },
            request: self.params.encode(),
            client_id: proposal.client.id().clone(),
            digest: proposal.client.digest.clone(),
            fetched_at: proposal.client.fetched_at,
            expires_at: self.now + i64::from(self.app.config.login.interaction.get()),
            pushed: self.pushed.map(|pushed| pushed.pushed.hash.clone()),
        };
        self.app.store.park(question).await?;
        let base = self.app.config.issuer.path();
        let mut response = see_other(&format!("{base}/consent?interaction={}", secret.expose()));
        let cookie = cookie.map(|cookie| (header::SET_COOKIE, cookie));
        response.headers_mut().extend(cookie);
        Ok(response)
    }
}
