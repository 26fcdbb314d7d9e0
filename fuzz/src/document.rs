//! Client metadata documents, CIMD §4, and the strict JSON under them.

use serde_json::{Value, json};
use wayleave::{
    policy::metadata_change::{self, Answer},
    protocol::{
        client_metadata::{
            self, ApplicationType, AuthMethod, ClientMetadata, GrantType, Judged, MetadataError,
            Verdict,
        },
        client_url::ClientUrl,
        json::{self, Json, JsonError, Object},
        redirect_uri,
    },
};

use super::key_set;

const ID: &str = "https://client.example.com/c.json";
const REDIRECT: &str = r#""redirect_uris":["https://client.example.com/cb"]"#;
const OTHER_REDIRECT: &str = r#""redirect_uris":["https://elsewhere.example.net/cb"]"#;

/// The input is a document; after `+` it is further members of a valid document, after `.` further members of one
/// that says no more than whose it is.
pub fn document(data: &[u8]) {
    let id: ClientUrl = ID.parse().expect("the identifier is one");
    let body = match data {
        [b'+', members @ ..] => with_members(REDIRECT, members),
        [b'.', members @ ..] => with_members(r#""client_name":"Client""#, members),
        _ => data.to_vec(),
    };
    if let [b'+', members @ ..] = data {
        check_change(&id, &body, &with_members(OTHER_REDIRECT, members));
    }
    check_json(&body);
    let parsed = client_metadata::parse(&id, &body);
    check_judgement(&parsed, &client_metadata::judge(&id, &body));
    if let Ok(client) = parsed {
        assert_eq!(client_metadata::parse(&id, &body).as_ref(), Ok(&client));
        check_client(&client, &id);
        check_source(&client, &object(&body));
        let same = (body.as_slice(), &client);
        assert_eq!(metadata_change::between(same, same), []);
        check_written_again(client, &id);
    }
}

fn with_members(own: &str, members: &[u8]) -> Vec<u8> {
    let comma = if members.trim_ascii().is_empty() {
        ""
    } else {
        ","
    };
    let start = format!(r#"{{"client_id":"{ID}",{own}{comma}"#);
    [start.as_bytes(), members, b"}"].concat()
}

/// serde_json reads the same value or none, and what only we refuse is refused for one of our own reasons.
fn check_json(body: &[u8]) {
    let ours = json::parse(body);
    let theirs: Result<Value, _> = serde_json::from_slice(body);
    match (ours, theirs) {
        (Ok(ours), _) if has_special_name(&ours) => {}
        (Ok(ours), Ok(theirs)) => assert!(is_same(&ours, &theirs), "{ours:?} is not {theirs:?}"),
        (Ok(ours), Err(error)) => panic!("{ours:?}: {error}"),
        (Err(error), Ok(theirs)) => assert!(
            matches!(
                error,
                JsonError::DuplicateName | JsonError::TooDeep | JsonError::NulCharacter
            ),
            "{theirs:?}: {error}"
        ),
        (Err(_), Err(_)) => {}
    }
}

/// Names of which serde_json makes something of its own, where some crate turned that on.
fn has_special_name(value: &Json) -> bool {
    match value {
        Json::Array(items) => items.iter().any(has_special_name),
        Json::Object(object) => object.iter().any(|(name, value)| {
            name.starts_with("$serde_json::private::") || has_special_name(value)
        }),
        _ => false,
    }
}

fn is_same(ours: &Json, theirs: &Value) -> bool {
    match (ours, theirs) {
        (Json::Null, Value::Null) => true,
        (Json::Bool(ours), Value::Bool(theirs)) => ours == theirs,
        (Json::Number(ours), Value::Number(theirs)) => ours == theirs,
        (Json::String(ours), Value::String(theirs)) => ours == theirs && !ours.contains('\0'),
        (Json::Array(ours), Value::Array(theirs)) => {
            let mut pairs = ours.iter().zip(theirs);
            ours.len() == theirs.len() && pairs.all(|(ours, theirs)| is_same(ours, theirs))
        }
        (Json::Object(ours), Value::Object(theirs)) => {
            let is_member = |(name, ours)| theirs.get(name).is_some_and(|it| is_same(ours, it));
            ours.len() == theirs.len() && ours.iter().all(is_member)
        }
        _ => false,
    }
}

/// To parse and to explain is the same: the rules in their order, accepted without a failure, else the first one.
fn check_judgement(parsed: &Result<ClientMetadata, MetadataError>, judged: &[Judged]) {
    let named = judged.iter().map(|judged| judged.rule);
    assert!(named.eq(client_metadata::Rule::ALL), "{judged:?}");
    let mut failed = judged.iter().filter_map(|judged| match &judged.verdict {
        Verdict::Fail(error) => Some((judged.rule, error)),
        _ => None,
    });
    let first = failed.next();
    assert_eq!(first.map(|(_, error)| error), parsed.as_ref().err());
    for (rule, error) in first.into_iter().chain(failed) {
        assert_eq!(rule, error.rule());
        let text = error.to_string();
        assert!(text.len() < 400 && !text.contains(char::is_control));
    }
    let all_passed = judged.iter().all(|it| it.verdict == Verdict::Pass);
    assert_eq!(parsed.is_ok(), all_passed, "{judged:?}");
}

fn check_client(client: &ClientMetadata, id: &ClientUrl) {
    assert_eq!(&client.client_id, id);
    let is_tame =
        |name: &String| !name.is_empty() && name.trim() == name && !name.contains(char::is_control);
    assert!(client.client_name.as_ref().is_none_or(is_tame));

    assert!(client.redirect_uris.len() <= 32);
    assert!(is_distinct(&client.redirect_uris));
    for uri in &client.redirect_uris {
        let chosen = redirect_uri::choose(&client.redirect_uris, uri.as_str());
        assert_eq!(chosen.as_ref(), Ok(uri));
        assert!(client.application_type == ApplicationType::Native || !uri.is_loopback());
    }
    let has_code = client.grants.contains(&GrantType::AuthorizationCode);
    assert!(!has_code || !client.redirect_uris.is_empty());
    assert!(is_distinct(&client.grants));
    assert_ne!(client.grants, []);
    assert_ne!(client.grants, [GrantType::RefreshToken]);

    assert!(is_distinct(&client.auth_methods));
    assert_ne!(client.auth_methods, []);
    if client.auth_methods.contains(&AuthMethod::PrivateKeyJwt) {
        assert_eq!(client.auth_methods[0], AuthMethod::PrivateKeyJwt);
        let inline = client.jwks.as_ref().map(|set| set.keys.is_empty());
        assert_eq!(inline, client.jwks_uri.is_none().then_some(false));
    }
    if let Some(set) = &client.jwks {
        key_set::check_keys(set);
    }
    check_urls(client);
}

fn check_urls(client: &ClientMetadata) {
    let web = [&client.client_uri, &client.logo_uri, &client.jwks_uri];
    for text in web.into_iter().flatten() {
        let url = url::Url::parse(text).expect("a URL");
        assert!(["http", "https"].contains(&url.scheme()), "{text}");
        assert!(url.host_str().is_some_and(|host| !host.is_empty()));
        assert_eq!((url.username(), url.password()), ("", None), "{text}");
        assert!(!text.contains(|c: char| c.is_control() || c.is_whitespace() || c == '\\'));
        assert!(text.len() <= 2048);
    }
    let keys = client.jwks_uri.as_deref();
    assert!(keys.is_none_or(|uri| uri.to_ascii_lowercase().starts_with("https://")));
}

/// What nobody may say in public is not said, and nothing is understood that is not written.
fn check_source(client: &ClientMetadata, members: &Object) {
    assert_eq!(members.string("client_id"), Ok(Some(ID)));
    let is_secret = |name: &str| name.starts_with("client_secret");
    assert!(!members.iter().any(|(name, _)| is_secret(name)));
    assert!(members.len() <= 64);
    assert!(!members.get("jwks").is_some_and(key_set::has_private_member));
    let listed = members.strings("redirect_uris").ok().flatten();
    for uri in &client.redirect_uris {
        assert!(listed.as_ref().is_some_and(|it| it.contains(&uri.as_str())));
    }
}

/// Two versions that differ in where they send people are not taken for the same, whatever else they say.
fn check_change(id: &ClientUrl, then: &[u8], now: &[u8]) {
    let read = |body| client_metadata::parse(id, body);
    if let (Ok(client), Ok(other)) = (read(then), read(now)) {
        let changes = metadata_change::between((then, &client), (now, &other));
        assert!(metadata_change::answer(&changes) >= Answer::AskAgain);
        assert_eq!(changes.len(), 1, "{changes:?}");
        assert_eq!(changes[0].field, "redirect_uris");
    }
}

fn object(body: &[u8]) -> Object {
    match json::parse(body) {
        Ok(Json::Object(object)) => object,
        other => panic!("no object was accepted: {other:?}"),
    }
}

/// What we understood, written as a document, is understood as the same.
fn check_written_again(client: ClientMetadata, id: &ClientUrl) {
    let grants = client.grants.iter().map(|grant| grant.as_str());
    let methods = client.auth_methods.iter().map(|method| method.as_str());
    let assertion_algs = client.assertion_algs.as_ref();
    let assertion_algs =
        assertion_algs.map(|algs| algs.iter().map(|alg| alg.as_str()).collect::<Vec<_>>());
    let redirects = client.redirect_uris.iter().map(|uri| uri.as_str());
    let written = json!({
        "client_id": client.client_id.as_str(),
        "client_name": client.client_name,
        "client_uri": client.client_uri,
        "logo_uri": client.logo_uri,
        "tos_uri": client.tos_uri,
        "policy_uri": client.policy_uri,
        "redirect_uris": redirects.collect::<Vec<_>>(),
        "grant_types": grants.collect::<Vec<_>>(),
        "token_endpoint_auth_methods_supported": methods.collect::<Vec<_>>(),
        "scope": client.scope.as_ref().map(|names| names.join(" ")),
        "application_type": client.application_type.as_str(),
        "jwks_uri": client.jwks_uri,
        "jwks": client.jwks.as_ref().map(key_set::as_json),
        "token_endpoint_auth_signing_alg_values_supported": assertion_algs,
        "id_token_signed_response_alg": client.id_token_alg.as_str(),
        "default_max_age": client.default_max_age,
        "dpop_bound_access_tokens": client.dpop_bound_access_tokens,
        "require_pushed_authorization_requests": client.require_pushed_authorization_requests,
    });
    let Value::Object(mut members) = written else {
        unreachable!("it was written as an object");
    };
    // An absent member is not a null one.
    members.retain(|_, value| !value.is_null());
    let again = client_metadata::parse(id, Value::Object(members).to_string().as_bytes());
    let mut expected = client;
    if let Some(set) = &mut expected.jwks {
        set.skipped.clear();
    }
    assert_eq!(again, Ok(expected));
}

fn is_distinct<T: PartialEq>(items: &[T]) -> bool {
    let seen_before = |(i, item)| items[..i].contains(item);
    !items.iter().enumerate().any(seen_before)
}
