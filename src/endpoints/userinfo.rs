//! `GET` and `POST /userinfo`: OpenID Connect Core §5.3, RFC 6750, RFC 9449 §7.

use axum::{
    Json,
    body::Bytes,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, Method, Uri, header};

use crate::{
    app::App,
    protocol::{
        bearer::{self, Presented, Scheme},
        error::{ErrorCode, OAuthError},
        scope::{OPENID, Scope},
        userinfo::claims,
    },
    store::Once,
    time::UnixTime,
    tokens::{live, person, store_failed},
    web::{client_request, token_error::ResourceError},
};

/// A request that shows a token.
struct Shown<'a> {
    app: &'a App,
    method: &'a Method,
    headers: &'a HeaderMap,
    presented: Presented<'a>,
    now: UnixTime,
}

/// What the scope of the token says about its person.
pub(crate) async fn userinfo(
    State(app): State<App>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ResourceError> {
    let values = headers.get_all(header::AUTHORIZATION).iter();
    let values: Vec<&[u8]> = values.map(|value| value.as_bytes()).collect();
    let refuse = |error| ResourceError::new(&app, Scheme::Bearer, error);
    nowhere_else(&uri, &body).map_err(refuse)?;
    let presented = bearer::parse(&values).map_err(refuse)?;
    let presented = presented.ok_or_else(ResourceError::no_token)?;
    let shown = Shown {
        app: &app,
        method: &method,
        headers: &headers,
        presented,
        now: app.clock.now(),
    };
    let answer = shown.answer().await;
    answer.map_err(|error| ResourceError::new(&app, presented.scheme, error))
}

/// The `Authorization` header is the only place for a token: what is in addresses is logged, and a proof of possession
/// comes with no form.
fn nowhere_else(uri: &Uri, body: &[u8]) -> Result<(), OAuthError> {
    let has_token = |form: &[u8]| {
        let mut names = form.split(|b| *b == b'&');
        names.any(|pair| pair.split(|b| *b == b'=').next() == Some(b"access_token"))
    };
    if has_token(uri.query().unwrap_or_default().as_bytes()) || has_token(body) {
        let told = "the access token belongs in the Authorization header";
        return Err(OAuthError::invalid_request(told));
    }
    Ok(())
}

impl Shown<'_> {
    async fn answer(&self) -> Result<Response, OAuthError> {
        let Shown { app, now, .. } = *self;
        let token = self.presented.token;
        let proof = match self.presented.scheme {
            Scheme::Bearer => None,
            Scheme::Dpop => Some(self.proof()?),
        };
        let live = live(app, token, now).await?;
        let live = live.ok_or_else(|| refuse("the access token is unknown, expired or revoked"))?;
        let (jkt, once) = proof.unzip();
        if live.claims.jkt() != jkt.as_deref() {
            return Err(refuse(
                "the access token was not issued for this scheme and this key",
            ));
        }
        // A resource that was shown a token learns no more with it than it says.
        if !live.claims.aud.names(app.config.issuer.as_str()) {
            return Err(refuse(
                "the access token is for a resource, not for this server",
            ));
        }
        let scope: Scope = live.claims.scope.parse()?;
        let person = live.person.as_ref().map(person);
        let Some(person) = person.filter(|_| scope.contains(OPENID)) else {
            let told = "the access token was not granted the scope openid";
            return Err(OAuthError::new(ErrorCode::InsufficientScope, told));
        };
        if let Some(once) = once {
            let spent = app.store.spend_once(vec![once], now).await;
            if spent.map_err(store_failed)?.is_some() {
                let told = "the DPoP proof was used before";
                return Err(OAuthError::new(ErrorCode::InvalidDpopProof, told));
            }
        }
        let body = Json(claims(&person, &scope));
        Ok(([(header::CACHE_CONTROL, "no-store")], body).into_response())
    }

    /// RFC 9449 §7.1: the proof is for this request and this token.
    fn proof(&self) -> Result<(String, Once), OAuthError> {
        let url = self.app.config.issuer.join("/userinfo");
        let token = Some(self.presented.token);
        let proof =
            client_request::proof(self.app, self.headers, self.method, &url, token, self.now)?;
        let told = "the scheme DPoP needs a DPoP proof";
        proof.ok_or_else(|| OAuthError::new(ErrorCode::InvalidDpopProof, told))
    }
}

fn refuse(told: &'static str) -> OAuthError {
    OAuthError::new(ErrorCode::InvalidToken, told)
}
