//! What the client remembers of each sign-in: RFC 6749 §10.12, `state` belongs to one browser and is used once.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::Context;
use axum::extract::FromRequestParts;
use http::{header, request::Parts};
use serde_json::Value;

use crate::pages::Step;

/// Tells browsers apart.
pub(crate) const COOKIE: &str = "demo_notebook";

/// One sign-in.
#[derive(Clone, Default)]
pub(crate) struct Flow {
    /// The cookie of the browser that started it.
    pub(crate) browser: String,
    /// RFC 7636 §4.1, until it is used.
    pub(crate) verifier: Option<String>,
    pub(crate) token_endpoint: String,
    /// How often the client's document had been read when it started.
    pub(crate) reads: usize,
    pub(crate) refresh_token: Option<String>,
    pub(crate) answer: Option<Value>,
    pub(crate) steps: Vec<Step>,
}

/// Every sign-in, by `state`.
#[derive(Clone, Default)]
pub(crate) struct Flows(Arc<Mutex<HashMap<String, Flow>>>);

impl Flows {
    pub(crate) fn keep(&self, state: &str, flow: Flow) {
        self.lock().insert(state.to_owned(), flow);
    }

    /// The sign-in that this browser started with this `state`.
    pub(crate) fn find(&self, state: &str, browser: Option<&str>) -> anyhow::Result<Flow> {
        let flow = self.lock().get(state).cloned();
        flow.filter(|flow| Some(flow.browser.as_str()) == browser)
            .context("this browser did not start a sign-in with this state: start again")
    }

    /// Its verifier, once.
    pub(crate) fn spend(&self, state: &str) -> Option<String> {
        self.lock().get_mut(state)?.verifier.take()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Flow>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request of a browser: its parameters, and which browser it is.
pub(crate) struct Visit {
    pub(crate) target: String,
    pub(crate) params: HashMap<String, String>,
    pub(crate) browser: Option<String>,
}

impl Visit {
    pub(crate) fn param(&self, name: &str) -> anyhow::Result<&str> {
        let value = self.params.get(name).map(String::as_str);
        value.with_context(|| format!("the request has no {name}"))
    }
}

impl<S: Sync> FromRequestParts<S> for Visit {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let query = parts.uri.query().unwrap_or_default().as_bytes();
        let lines = parts.headers.get_all(header::COOKIE).iter();
        let mut cookies = lines
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split("; "))
            .filter_map(|cookie| cookie.split_once('='));
        Ok(Self {
            target: parts.uri.to_string(),
            params: url::form_urlencoded::parse(query).into_owned().collect(),
            browser: cookies
                .find(|(name, _)| *name == COOKIE)
                .map(|(_, value)| value.to_owned()),
        })
    }
}
