//! HTTP to the real server, over one connection, with cookies. Nothing is ever sent twice.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

use super::browser::Page;

/// Longer than any good answer takes.
const PATIENCE: Duration = Duration::from_secs(10);

/// There was no answer.
#[derive(Debug)]
pub(crate) struct Lost;

/// One browser, or one client, with its connection.
pub(crate) struct Http {
    server: SocketAddr,
    connection: Option<SendRequest<Full<Bytes>>>,
    cookies: BTreeMap<String, String>,
}

impl Http {
    pub(crate) fn new(server: SocketAddr) -> Self {
        Self {
            server,
            connection: None,
            cookies: BTreeMap::new(),
        }
    }

    /// Another connection with the same cookies.
    pub(crate) fn beside(&self) -> Self {
        Self {
            server: self.server,
            connection: None,
            cookies: self.cookies.clone(),
        }
    }

    pub(crate) async fn get(&mut self, target: &str) -> Result<Page, Lost> {
        self.send("GET", target, None).await
    }

    pub(crate) async fn post(&mut self, target: &str, form: &[(&str, &str)]) -> Result<Page, Lost> {
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(form)
            .finish();
        self.send("POST", target, Some(body)).await
    }

    /// Fills the page's form and sends it.
    pub(crate) async fn submit(
        &mut self,
        page: &Page,
        filled: &[(&str, &str)],
    ) -> Result<Page, Lost> {
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

    async fn send(
        &mut self,
        method: &str,
        target: &str,
        body: Option<String>,
    ) -> Result<Page, Lost> {
        let answer = timeout(PATIENCE, self.exchange(method, target, body)).await;
        let page = answer.ok().flatten();
        if page.is_none() {
            self.connection = None;
        }
        page.ok_or(Lost)
    }

    async fn exchange(&mut self, method: &str, target: &str, body: Option<String>) -> Option<Page> {
        let origin = format!("http://{}", self.server);
        let target = target.strip_prefix(&origin).unwrap_or(target);
        let cookies: Vec<_> = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let mut request = Request::builder()
            .method(method)
            .uri(target)
            .header(header::HOST, self.server.to_string());
        // Machines have no cookies and no origin.
        if !cookies.is_empty() || target.starts_with("/login") {
            request = request
                .header(header::COOKIE, cookies.join("; "))
                .header(header::ORIGIN, &origin)
                .header("sec-fetch-site", "same-origin");
        }
        if body.is_some() {
            let form = "application/x-www-form-urlencoded";
            request = request.header(header::CONTENT_TYPE, form);
        }
        let body = Full::new(Bytes::from(body.unwrap_or_default()));
        let request = request.body(body).unwrap();

        let response = self.connection().await?.send_request(request).await.ok()?;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.ok()?.to_bytes();
        for cookie in parts.headers.get_all(header::SET_COOKIE) {
            let text = cookie.to_str().unwrap();
            let (name, value) = text.split(';').next().unwrap().split_once('=').unwrap();
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
        Some(Page {
            status: parts.status,
            headers: parts.headers,
            body: String::from_utf8_lossy(&body).into_owned(),
        })
    }

    async fn connection(&mut self) -> Option<&mut SendRequest<Full<Bytes>>> {
        let is_open = match &mut self.connection {
            Some(open) => open.ready().await.is_ok(),
            None => false,
        };
        if !is_open {
            let stream = TcpStream::connect(self.server).await.ok()?;
            stream.set_nodelay(true).ok()?;
            let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
            tokio::spawn(connection);
            self.connection = Some(sender);
        }
        self.connection.as_mut()
    }
}
