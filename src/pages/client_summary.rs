//! What every question about a client shows: who asks, and what it would be able to do.

use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory};
use unicode_segmentation::UnicodeSegmentation;

use crate::{
    app::App,
    policy::{
        client_rules::{Tier, TrustDecision},
        host_view::{HostView, HostWarning},
        known_names,
    },
    protocol::{
        client::Client,
        resource::Resources,
        scope::{OFFLINE_ACCESS, OPENID, Scope},
    },
    time::{UnixTime, in_date, in_words},
    web::{
        assets,
        page_error::{PageError, RefusedClient},
        views::{Asker, Caution, Permission, ResourceView, Wanted},
    },
};

/// Longest name of a client that is shown, in graphemes.
const NAME: usize = 128;

/// Who asks.
pub(super) async fn asker(
    app: &App,
    client: &Client,
    standing: &TrustDecision,
    now: UnixTime,
) -> Result<Asker, PageError> {
    let logo = match standing.shows_logo() {
        true => app.clients.logo(client, now).await?,
        false => None,
    };
    let people = app.store.people_of(client.id(), now).await;
    let people = people?;
    let first_seen = app.clients.first_seen(client.id()).await;
    let first_seen = first_seen.map_err(|refusal| RefusedClient::new(client.id(), refusal))?;

    let shown_host = HostView::of(client.id().host_or_name());
    let base = app.config.issuer.path();
    let name = client.metadata.client_name.as_deref().map(shown_name);
    let name = name.filter(|name| !name.is_empty());
    let host = client.id().host_or_name();
    let title = name.as_deref().filter(|_| client.is_registered);
    Ok(Asker {
        is_registered: client.is_registered,
        title: title.unwrap_or(host).to_owned(),
        host: client.id().host_or_name().to_owned(),
        host_lead: shown_host.lead.clone(),
        host_main: shown_host.main.clone(),
        host_decoded: shown_host.decoded.clone(),
        logo: logo.map(|hash| format!("{base}{}", assets::logo_path(app, &hash))),
        standing: match client.is_registered {
            true => "set up by the administrator of this server".to_owned(),
            false => in_a_sentence(standing.tier, client.metadata.client_name.is_some()).to_owned(),
        },
        seen: match client.is_registered {
            true => used_by(people),
            false => seen(people, first_seen, now),
        },
        admin_text: standing
            .rule
            .as_ref()
            .and_then(|rule| rule.consent_text.clone()),
        cautions: cautions(app, client, standing, &shown_host),
        client_id: client.id().as_str().to_owned(),
        name,
        fetched: ago(now - client.fetched_at),
        digest: client.digest.as_str().to_owned(),
    })
}

/// What it would be able to do; for so many seconds while the person is away, if that.
pub(super) fn wanted(
    app: &App,
    user: &str,
    scope: &Scope,
    resources: &Resources,
    lifetime: Option<u32>,
) -> Wanted {
    let catalog = &app.config.resources;
    let permissions = scope
        .tokens()
        .filter(|token| *token != OFFLINE_ACCESS)
        .map(|token| {
            let known = catalog.meaning(token);
            Permission {
                is_said_above: token == OPENID,
                scope: token.to_owned(),
                meaning: known.map_or_else(String::new, |(meaning, _)| meaning.to_owned()),
                resource: known.and_then(|(_, resource)| resource?.name.clone()),
            }
        });
    // What is for this server itself, the permissions say.
    let own = app.config.issuer.as_str();
    let others = resources.0.iter().filter(|it| it.as_str() != own);
    let resources = others.map(|resource| ResourceView {
        name: catalog
            .find(resource.as_str())
            .and_then(|known| known.name.clone()),
        id: resource.as_str().to_owned(),
        host: resource.host().to_owned(),
    });
    Wanted {
        user: user.to_owned(),
        permissions: permissions.collect(),
        resources: resources.collect(),
        lifetime: lifetime.map(|seconds| in_words(seconds.into())),
    }
}

/// How long ago, in minutes.
pub(super) fn ago(seconds: i64) -> String {
    match seconds {
        ..60 => "just now".to_owned(),
        seconds => format!("{} ago", in_words(seconds / 60 * 60)),
    }
}

/// Who has checked the app.
fn in_a_sentence(tier: Tier, says_a_name: bool) -> &'static str {
    match tier {
        Tier::Blocked | Tier::Unknown if says_a_name => {
            "The app says so in its own words. Nobody has checked them."
        }
        Tier::Blocked | Tier::Unknown => "Nobody here has checked this app.",
        Tier::Listed => "The administrator of this server knows this app.",
        Tier::Approved => "The administrator of this server has checked this app.",
        Tier::FirstParty => "The app belongs to this server.",
    }
}

/// How many people here have allowed the app.
fn used_by(people: i64) -> String {
    match people {
        0 => "Nobody here uses it yet.".to_owned(),
        1 => "One person here uses it.".to_owned(),
        many => format!("{many} people here use it."),
    }
}

/// Since when the app is known here.
fn seen(people: i64, first_seen: Option<UnixTime>, now: UnixTime) -> String {
    let people = used_by(people);
    match first_seen {
        Some(first) if now - first >= 86_400 => {
            format!("It has been seen here since {}. {people}", in_date(first))
        }
        _ => format!("It was first seen here today. {people}"),
    }
}

/// What a person should look at twice.
fn cautions(
    app: &App,
    client: &Client,
    standing: &TrustDecision,
    shown_host: &HostView,
) -> Vec<Caution> {
    let mut cautions = Vec::new();
    let mut add = |grave, title: &str, text: &str, host: Option<String>| {
        cautions.push(Caution {
            grave,
            title: title.to_owned(),
            text: text.to_owned(),
            host,
        });
    };
    // A registered client was set up by the administrator.
    let Some(url) = client.id().url().filter(|_| !client.is_registered) else {
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
    // Whom the administrator knows imitates nobody.
    if standing.tier > Tier::Unknown {
        return cautions;
    }
    let listed = app.clients.rules().listed_hosts();
    if let Some(known) = known_names::resembles(host, app.config.issuer.host(), &listed) {
        let text = "It is another host than the one that it resembles:";
        add(
            true,
            "The host of this app resembles a known one",
            text,
            Some(known),
        );
    }
    let name = client.metadata.client_name.as_deref().unwrap_or_default();
    if let Some(borrowed) = known_names::borrowed_name(name, host) {
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
