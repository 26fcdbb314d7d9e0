//! `/consent`: a person is asked whether a client may have what it asks for.

use axum::{body::Bytes, extract::State, response::Response};
use http::{HeaderMap, StatusCode, Uri};
use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory};
use unicode_segmentation::UnicodeSegmentation;

use crate::{
    app::App,
    grants::approval::{Proposal, PushedAs, Remembered},
    policy::{
        Facts, Verdict,
        client_rules::Tier,
        decide,
        host_view::{HostView, HostWarning},
        known_names,
    },
    protocol::{
        error::{ErrorCode, OAuthError},
        params::Params,
        redirect_uri,
        scope::OFFLINE_ACCESS,
    },
    secret::{self, Secret, SecretHash, Visitor},
    store::{Answer, Asked, StoreError},
    time::{UnixTime, in_date, in_words},
    web::{
        callback::{Callback, see_other},
        cookies,
        error::PageError,
        forms, html,
        session::{self, CurrentSession},
        views::{Caution, Consent, Permission, ResourceView},
    },
};

const FORM: &str = "consent";
/// Longest name of a client that is shown, in graphemes.
const NAME: usize = 128;

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
    let params = Params::parse(uri.query().unwrap_or_default().as_bytes())
        .map_err(|_| PageError::gone(&app))?;
    let open = open(&app, &headers, &params, now).await?;
    let remembered = open
        .proposal
        .remembered(&app, &open.session.row.subject, now)
        .await;
    let remembered = remembered.map_err(|error| PageError::store(&app, &error))?;
    let store_failed = |error| PageError::store(&app, &error);
    let client = &open.proposal.client;
    let logo = match open.proposal.standing.shows_logo() {
        true => app.clients.logo(client, now).await.map_err(store_failed)?,
        false => None,
    };
    let people = app.store.people_of(client.id(), now).await;
    let first_seen = app.clients.first_seen(client.id()).await;
    let asker = Asker {
        logo,
        people: people.map_err(store_failed)?,
        first_seen: first_seen
            .map_err(|refusal| PageError::client(&app, client.id().as_str(), &refusal))?,
    };
    let page = view(&app, &open, &remembered, asker, now);
    Ok(html::page(
        StatusCode::OK,
        &page,
        Some(&open.proposal.request.redirect_uri),
    ))
}

/// The answer: spends the question, and takes the browser back to the client.
pub(crate) async fn submit(
    State(app): State<App>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, PageError> {
    let now = app.clock.now();
    let params = forms::read(&headers, &body)
        .map_err(|error| PageError::bad_request(&app, "request", &error.description))?;
    let open = open(&app, &headers, &params, now).await?;
    if !forms::is_ours(&app, FORM, Some(&open.visitor), &params) {
        return Err(PageError::forbidden(&app));
    }
    let callback = Callback::new(
        &app,
        open.proposal.request.redirect_uri.clone(),
        &open.params,
    );
    let session = &open.session.row;
    let (answer, response) = match params.optional("decision") {
        Some("allow") => {
            still_listed(&app, &open, now).await?;
            let facts = Facts {
                request: &open.proposal.request,
                signed_in_at: Some(session.signed_in_at),
                sent_to_login_at: None,
                consent_covers: false,
                first_party: false,
                just_allowed: true,
                now,
            };
            if !matches!(decide(&facts), Verdict::Pass) {
                return Err(PageError::gone(&app));
            }
            let (code, row) = open.proposal.code(&app, open.session.person(&app), now);
            let response = callback.code(code.expose());
            (
                Answer::Allow {
                    code: Box::new(row),
                    remember_until: now + i64::from(app.config.policy.consent),
                },
                response,
            )
        }
        Some("deny") => (
            Answer::Deny,
            callback.error(&OAuthError::new(
                ErrorCode::AccessDenied,
                "the user did not allow it",
            )),
        ),
        _ => {
            return Err(PageError::bad_request(
                &app,
                "decision",
                "the parameter decision must be allow or deny",
            ));
        }
    };
    let asked = Asked {
        browser: open.visitor.hash(),
        subject: session.subject.clone(),
    };
    let spent = app
        .store
        .answer(open.secret.hash(), asked, now, answer)
        .await;
    match spent {
        Ok(true) => Ok(response),
        Ok(false) | Err(StoreError::UsedBefore) => Err(PageError::gone(&app)),
        Err(StoreError::RulesMoved) => {
            // Judged by rules that are no more: the question is put again, under those of now.
            let noticed = app.clients.notice_changes().await;
            noticed.map_err(|error| PageError::store(&app, &error))?;
            let base = app.config.issuer.path();
            let secret = open.secret.expose();
            Ok(see_other(&format!("{base}/consent?interaction={secret}")))
        }
        Err(error) => Err(PageError::store(&app, &error)),
    }
}

/// A redirect URI that a newer version of the document, already at hand, does not list any more gets no code: one
/// login uses one version, but what was taken away is taken away.
async fn still_listed(app: &App, open: &Open, now: UnixTime) -> Result<(), PageError> {
    let client = &open.proposal.client;
    let requested = open.proposal.request.redirect_uri.as_str();
    // A version that cannot be looked up now takes nothing away.
    let newest = app.clients.known(client.id(), now).await.ok().flatten();
    match newest {
        Some(newest)
            if newest.digest != client.digest
                && redirect_uri::choose(&newest.metadata.redirect_uris, requested).is_err() =>
        {
            let told = "the client's document does not list this redirect_uri any more";
            Err(
                PageError::bad_request(app, "redirect_uri.not_registered", told)
                    .detail("client_id", client.id().as_str())
                    .detail("redirect_uri", requested),
            )
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
    let gone = || PageError::gone(app);
    let store_failed = |error| PageError::store(app, &error);
    let secret: Secret<secret::Interaction> = params
        .optional("interaction")
        .and_then(|text| text.parse().ok())
        .ok_or_else(gone)?;
    let session = session::current(app, headers, now)
        .await
        .map_err(store_failed)?
        .ok_or_else(gone)?;
    let visitor = cookies::read::<Visitor>(app, headers, cookies::VISITOR).ok_or_else(gone)?;
    let asked = Asked {
        browser: visitor.hash(),
        subject: session.row.subject.clone(),
    };
    let row = app
        .store
        .interaction(&secret.hash(), &asked, now)
        .await
        .map_err(store_failed)?;
    let row = row.ok_or_else(gone)?;

    let params = Params::parse(row.request.as_bytes()).map_err(|_| gone())?;
    let client_id = params
        .optional("client_id")
        .and_then(|text| text.parse().ok())
        .ok_or_else(gone)?;
    let client = app
        .clients
        .version(&client_id, &row.digest, row.fetched_at)
        .await;
    let refused = |refusal| PageError::client(app, client_id.as_str(), &refusal);
    let client = client.map_err(refused)?;
    let keys = client.metadata.thumbprints();
    app.clients.standing(&client_id, &keys).map_err(refused)?;
    let requested = params.optional("redirect_uri").unwrap_or_default();
    let redirect_uri =
        redirect_uri::choose(&client.metadata.redirect_uris, requested).map_err(|_| gone())?;
    let pushed = match &row.pushed {
        Some(hash) => {
            let hash = SecretHash::from_column(hash.clone());
            let pushed = app
                .store
                .pushed(&hash, &client_id)
                .await
                .map_err(store_failed)?;
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

/// What is known of the client besides its document.
struct Asker {
    logo: Option<String>,
    /// How many people have a consent for it.
    people: i64,
    first_seen: Option<UnixTime>,
}

fn view(app: &App, open: &Open, remembered: &Remembered, asker: Asker, now: UnixTime) -> Consent {
    let Proposal {
        request,
        client,
        standing,
        scope,
        may_refresh,
        ..
    } = &open.proposal;
    let host = client.id().host_or_name();
    let shown_host = HostView::of(host);
    let base = app.config.issuer.path();
    let catalog = &app.config.resources;
    let permissions = scope
        .tokens()
        .filter(|token| *token != OFFLINE_ACCESS)
        .map(|token| {
            let known = catalog.meaning(token);
            Permission {
                scope: token.to_owned(),
                meaning: known.map_or_else(String::new, |(meaning, _)| meaning.to_owned()),
                resource: known.and_then(|(_, resource)| resource.name.clone()),
            }
        });
    let resources = request.resources.0.iter().map(|resource| ResourceView {
        name: catalog
            .find(resource.as_str())
            .and_then(|known| known.name.clone()),
        id: resource.as_str().to_owned(),
        host: resource.host().to_owned(),
    });
    let lifetime = i64::from(app.config.tokens.refresh_absolute.get());
    Consent {
        frame: html::frame(app, Some(&open.session.row.username)),
        csrf: forms::token(app, FORM, &open.visitor),
        action: format!("{}/consent", app.config.issuer.path()),
        interaction: open.secret.expose().to_owned(),
        user: open.session.row.username.clone(),
        client_host: host.to_owned(),
        client_host_lead: shown_host.lead.clone(),
        client_host_main: shown_host.main.clone(),
        client_host_decoded: shown_host.decoded.clone(),
        logo: asker
            .logo
            .as_ref()
            .map(|hash| format!("{base}/logos/{hash}.png")),
        standing: in_a_sentence(standing.tier).to_owned(),
        seen: seen(&asker, now),
        admin_text: standing
            .rule
            .as_ref()
            .and_then(|rule| rule.consent_text.clone()),
        cautions: cautions(app, &open.proposal, &shown_host),
        client_id: client.id().as_str().to_owned(),
        client_name: client
            .metadata
            .client_name
            .as_deref()
            .map(shown_name)
            .filter(|name| !name.is_empty()),
        permissions: permissions.collect(),
        resources: resources.collect(),
        redirect_host: request.redirect_uri.host().to_owned(),
        redirect_uri: request.redirect_uri.as_str().to_owned(),
        redirect_is_loopback: request.redirect_uri.is_loopback(),
        redirect_is_other_host: !request.redirect_uri.is_loopback()
            && request.redirect_uri.host() != host,
        stays_connected: *may_refresh,
        lifetime: may_refresh.then(|| in_words(lifetime)),
        fetched: match now - client.fetched_at {
            ..60 => "just now".to_owned(),
            seconds => format!("{} ago", in_words(seconds / 60 * 60)),
        },
        digest: client.digest.as_str().to_owned(),
        changed: remembered
            .changed
            .iter()
            .map(|sentence| (*sentence).to_owned())
            .collect(),
        switch_account_url: format!("{}/logout", app.config.issuer.path()),
    }
}

/// Who has checked the app.
fn in_a_sentence(tier: Tier) -> &'static str {
    match tier {
        Tier::Blocked | Tier::Unknown => {
            "The app says so in its own words. Nobody has checked them."
        }
        Tier::Listed => "The administrator of this server knows this app.",
        Tier::Approved => "The administrator of this server has checked this app.",
        Tier::FirstParty => "The app belongs to this server.",
    }
}

/// Since when the app is known here.
fn seen(asker: &Asker, now: UnixTime) -> String {
    let people = match asker.people {
        0 => "Nobody here uses it yet.".to_owned(),
        1 => "One person here uses it.".to_owned(),
        many => format!("{many} people here use it."),
    };
    match asker.first_seen {
        Some(first) if now - first >= 86_400 => {
            format!("It has been seen here since {}. {people}", in_date(first))
        }
        _ => format!("It was first seen here today. {people}"),
    }
}

/// What a person should look at twice.
fn cautions(app: &App, proposal: &Proposal, shown_host: &HostView) -> Vec<Caution> {
    let mut cautions = Vec::new();
    let mut add = |grave, title: &str, text: &str, host: Option<String>| {
        cautions.push(Caution {
            grave,
            title: title.to_owned(),
            text: text.to_owned(),
            host,
        });
    };
    let client = &proposal.client;
    // Whoever is registered was looked at by the administrator.
    let Some(url) = client.id().url() else {
        return cautions;
    };
    let host = url.host();
    if app.clients.is_in_development(url) {
        let text = "A developer had this description made on this server for an app under construction. Allow it only if you are that developer or know them.";
        add(false, "This app is in development", text, None);
    }
    match shown_host.warning {
        Some(HostWarning::MixedScripts) => {
            let text = "The letters of its host come from several alphabets, as names do that imitate others.";
            add(true, "The host of this app mixes alphabets", text, None);
        }
        Some(HostWarning::LooksLikeLatin) => {
            let text = "Its host is written with letters of another alphabet that look like Latin ones, as names are that imitate others.";
            add(
                true,
                "The host of this app imitates Latin letters",
                text,
                None,
            );
        }
        Some(HostWarning::NotReadable) | None => {}
    }
    let listed = app.clients.standings().listed_hosts();
    let is_stranger = proposal.standing.tier <= Tier::Unknown;
    if let Some(known) =
        known_names::resembles(host, app.config.issuer.host(), &listed).filter(|_| is_stranger)
    {
        let text = "It is another host than the one that it resembles:";
        add(
            true,
            "The host of this app resembles a known one",
            text,
            Some(known),
        );
    }
    let name = client.metadata.client_name.as_deref().unwrap_or_default();
    if let Some(borrowed) = known_names::borrowed_name(name, host).filter(|_| is_stranger) {
        let text = format!(
            "It calls itself after {borrowed}, but its host does not belong to that name. Go by the host."
        );
        add(
            true,
            "The name of this app belongs to somebody else",
            &text,
            None,
        );
    }
    cautions
}

/// A stranger's name for itself: without characters that only steer how text is shown, on one line, not endless.
fn shown_name(name: &str) -> String {
    let plain = |c: &char| c.general_category_group() != GeneralCategoryGroup::Other;
    let text: String = name
        .chars()
        .map(|c| if c.is_whitespace() { ' ' } else { c })
        .filter(plain)
        .collect();
    let mut shown = String::new();
    for grapheme in text.trim().graphemes(true).take(NAME) {
        // A letter under a tower of marks is no letter any more.
        shown.extend(grapheme.chars().take(4));
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_shown_without_what_steers_text() {
        let table = [
            ("Claude", "Claude"),
            ("  two\nlines\t ", "two lines"),
            ("evil\u{202e}gnp.exe", "evilgnp.exe"),
            ("zero\u{200b}width\u{feff}\u{ad}", "zerowidth"),
            ("\u{e0041}\u{e0042}tags", "tags"),
            ("private \u{e000}use", "private use"),
            ("日本語 ✓ é", "日本語 ✓ é"),
        ];
        for (name, expected) in table {
            assert_eq!(shown_name(name), expected, "{name:?}");
        }
        assert_eq!(shown_name(&"ab".repeat(200)).chars().count(), 128);
        assert_eq!(
            shown_name(&format!("a{}", "\u{301}".repeat(500)))
                .chars()
                .count(),
            4
        );
    }
}
