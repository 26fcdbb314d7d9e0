//! Answers that are the same for everybody: made once by the routes, then given without passing them.

use std::{collections::HashMap, sync::Arc};

use axum::{Router, body::Body, response::Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::BodyExt;
use tokio::time::Instant;
use tower::ServiceExt;

use super::{
    layers::{note, refused},
    metrics::Requests,
};
use crate::{
    app::App,
    protocol::{discovery::locations, etag::is_named},
};

pub(super) struct Fixed {
    app: App,
    requests: Arc<Requests>,
    answers: HashMap<String, Kept>,
    jwks: String,
}

struct Kept {
    headers: HeaderMap,
    body: Bytes,
    etag: String,
}

impl Fixed {
    /// Asks the routes for the metadata and the keys.
    pub(super) async fn of(app: &App, router: &Router, requests: &Arc<Requests>) -> Self {
        let base = app.config.issuer.path();
        let jwks = format!("{base}/jwks");
        let paths = locations(&app.config.issuer).into_iter();
        let mut answers = HashMap::new();
        for path in paths.chain([jwks.clone()]) {
            if let Some(kept) = Kept::of(app, router, &path).await {
                answers.insert(path, kept);
            }
        }
        Self {
            app: app.clone(),
            requests: requests.clone(),
            answers,
            jwks,
        }
    }

    /// The answer, if this is a plain question for one of them.
    pub(super) fn answer<B>(&self, request: &Request<B>) -> Option<Response> {
        let began = Instant::now();
        let answer = self.find(request)?;
        let (route, took) = (Some(request.uri().path()), began.elapsed());
        self.requests.answered(route, answer.status(), took);
        note(request.method(), route, answer.status(), took);
        Some(answer)
    }

    fn find<B>(&self, request: &Request<B>) -> Option<Response> {
        if request.method() != Method::GET || request.uri().query().is_some() {
            return None;
        }
        let path = request.uri().path();
        let kept = self.answers.get(path)?;
        // The answer to a chunked body says that the connection ends with it: the routes see to that.
        let is_chunked = request.headers().contains_key(header::TRANSFER_ENCODING);
        if is_chunked || refused(request).is_some() {
            return None;
        }
        if path != self.jwks {
            return Some(kept.answer(kept.body.clone(), &kept.etag, request.headers()));
        }
        // Once a second the routes are asked: they look whether another process has made a key.
        if !self.app.keys.are_noticed(self.app.clock.now()) {
            return None;
        }
        let (body, etag) = self.app.keys.published();
        Some(kept.answer(body, &etag, request.headers()))
    }
}

impl Kept {
    async fn of(app: &App, router: &Router, path: &str) -> Option<Self> {
        let origin = app.config.issuer.origin();
        let host = origin.split_once("//").map_or(origin, |(_, host)| host);
        let request = Request::get(path).header(header::HOST, host);
        let request = request.body(Body::empty()).ok()?;
        let Ok(answer) = router.clone().oneshot(request).await;
        let (parts, body) = answer.into_parts();
        let etag = parts.headers.get(header::ETAG)?.to_str().ok()?.to_owned();
        let body = body.collect().await.ok()?.to_bytes();
        (parts.status == StatusCode::OK).then_some(Self {
            headers: parts.headers,
            body,
            etag,
        })
    }

    fn answer(&self, body: Bytes, etag: &str, asked: &HeaderMap) -> Response {
        let known = asked.get(header::IF_NONE_MATCH);
        let is_known = known.is_some_and(|known| is_named(known.as_bytes(), etag));
        let mut response = Response::new(Body::empty());
        let mut headers = self.headers.clone();
        if etag != self.etag
            && let Ok(etag) = HeaderValue::from_str(etag)
        {
            headers.insert(header::ETAG, etag);
        }
        if is_known {
            headers.remove(header::CONTENT_LENGTH);
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        } else {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
            *response.body_mut() = Body::from(body);
        }
        *response.headers_mut() = headers;
        response
    }
}
