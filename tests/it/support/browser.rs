//! A browser of cookies, redirects and forms, that talks to the router as a browser would.

use std::collections::BTreeMap;

use axum::{Router, body::Body};
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::BodyExt;
use scraper::{Html, Selector};
use tower::ServiceExt;

/// A response, whole.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Page {
    pub(crate) fn location(&self) -> Option<&str> {
        self.headers
            .get(header::LOCATION)
            .map(|value| value.to_str().unwrap())
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// The text of the first element that the selector finds.
    pub(crate) fn text(&self, selector: &str) -> String {
        let document = Html::parse_document(&self.body);
        let selector = Selector::parse(selector).unwrap();
        document
            .select(&selector)
            .next()
            .map(|e| e.text().collect::<String>().trim().to_owned())
            .unwrap_or_default()
    }

    /// The page's form: where it goes, and its hidden and filled fields.
    pub(crate) fn form(&self) -> (String, BTreeMap<String, String>) {
        let document = Html::parse_document(&self.body);
        let form = document
            .select(&Selector::parse("form").unwrap())
            .next()
            .expect("the page has a form");
        let inputs = Selector::parse("input").unwrap();
        let fields = form.select(&inputs).filter_map(|input| {
            Some((
                input.attr("name")?.to_owned(),
                input.attr("value").unwrap_or_default().to_owned(),
            ))
        });
        (form.attr("action").unwrap().to_owned(), fields.collect())
    }
}

/// One browser: its cookies, and the server it talks to.
#[derive(Clone)]
pub(crate) struct Browser {
    router: Router,
    pub(crate) origin: String,
    pub(crate) cookies: BTreeMap<String, String>,
    /// Where a proxy says it is.
    pub(crate) address: Option<String>,
}

impl Browser {
    pub(crate) fn new(router: Router, origin: &str) -> Self {
        Self {
            router,
            origin: origin.to_owned(),
            cookies: BTreeMap::new(),
            address: None,
        }
    }

    /// One request, without following anything.
    pub(crate) async fn send(&mut self, mut request: Request<Body>) -> Page {
        let cookies: Vec<_> = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        if !cookies.is_empty() {
            request
                .headers_mut()
                .insert(header::COOKIE, cookies.join("; ").parse().unwrap());
        }
        if let Some(address) = &self.address {
            let address = address.parse().unwrap();
            request.headers_mut().insert("x-forwarded-for", address);
        }
        let host = self.origin.split_once("://").unwrap().1.parse().unwrap();
        request.headers_mut().entry(header::HOST).or_insert(host);
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        for cookie in parts.headers.get_all(header::SET_COOKIE) {
            let text = cookie.to_str().unwrap();
            let (name, value) = text.split(';').next().unwrap().split_once('=').unwrap();
            if text.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        Page {
            status: parts.status,
            headers: parts.headers,
            body,
        }
    }

    /// A response that is no text.
    pub(crate) async fn get_bytes(&self, target: &str) -> (HeaderMap, Vec<u8>) {
        let host = self.origin.split_once("://").unwrap().1;
        let request = Request::get(target).header(header::HOST, host);
        let request = request.body(Body::empty()).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let (parts, body) = response.into_parts();
        (
            parts.headers,
            body.collect().await.unwrap().to_bytes().to_vec(),
        )
    }

    pub(crate) async fn get(&mut self, target: &str) -> Page {
        let target = target.strip_prefix(&self.origin).unwrap_or(target);
        self.send(Request::get(target).body(Body::empty()).unwrap())
            .await
    }

    /// Goes where the server sends us, until it shows a page or sends us elsewhere.
    pub(crate) async fn follow(&mut self, mut page: Page) -> Page {
        while let Some(location) = page
            .location()
            .filter(|to| to.starts_with('/') || to.starts_with(&self.origin))
        {
            let location = location.to_owned();
            page = self.get(&location).await;
        }
        page
    }

    pub(crate) async fn open(&mut self, target: &str) -> Page {
        let page = self.get(target).await;
        self.follow(page).await
    }

    /// A form from a page of ours.
    pub(crate) async fn post(&mut self, target: &str, fields: &[(&str, &str)]) -> Page {
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .finish();
        let request = Request::post(target)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::ORIGIN, &self.origin)
            .header(header::HOST, self.origin.split_once("://").unwrap().1)
            .header("sec-fetch-site", "same-origin")
            .body(Body::from(body))
            .unwrap();
        self.send(request).await
    }

    /// Fills the page's form and sends it.
    pub(crate) async fn submit(&mut self, page: &Page, filled: &[(&str, &str)]) -> Page {
        let (action, mut fields) = page.form();
        for (name, value) in filled {
            fields.insert((*name).to_owned(), (*value).to_owned());
        }
        let fields: Vec<_> = fields
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        self.post(&action, &fields).await
    }
}
