//! HTTP to the real server, over one connection from an address of our choice, with cookies. Nothing is ever sent twice.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use super::browser::Page;

/// Longer than any good answer takes.
const PATIENCE: Duration = Duration::from_secs(10);

/// A TCP connection from this address.
pub(crate) async fn connect(from: Ipv4Addr, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((from, 0).into())?;
    let stream = socket.connect(to).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// What is sent: a page that is asked for, a form of a page, or a form of a program.
enum Sent {
    Get,
    Page(String),
    Program(String),
}

/// One browser, or one program, with its connection.
pub(crate) struct Http {
    pub(crate) server: SocketAddr,
    from: Ipv4Addr,
    /// Whom we forward for, where the server takes us for a proxy.
    pub(crate) behind: Option<IpAddr>,
    connection: Option<SendRequest<Full<Bytes>>>,
    cookies: BTreeMap<String, String>,
}

impl Http {
    pub(crate) fn new(server: SocketAddr, from: Ipv4Addr) -> Self {
        Self {
            server,
            from,
            behind: None,
            connection: None,
            cookies: BTreeMap::new(),
        }
    }

    pub(crate) fn behind(self, address: impl Into<IpAddr>) -> Self {
        let behind = Some(address.into());
        Self { behind, ..self }
    }

    /// The next request opens a connection.
    pub(crate) fn hang_up(&mut self) {
        self.connection = None;
    }

    pub(crate) async fn get(&mut self, target: &str) -> Result<Page, String> {
        self.send(target, Sent::Get).await
    }

    /// Goes where the server sends us, until it shows a page or sends us elsewhere.
    pub(crate) async fn open(&mut self, target: &str) -> Result<Page, String> {
        let mut page = self.get(target).await?;
        for _ in 0..5 {
            let Some(target) = page.location().filter(|to| self.is_ours(to)) else {
                break;
            };
            let target = target.to_owned();
            page = self.get(&target).await?;
        }
        Ok(page)
    }

    /// A form of a program.
    pub(crate) async fn call(
        &mut self,
        target: &str,
        form: &[(&str, &str)],
    ) -> Result<Page, String> {
        self.send(target, Sent::Program(encoded(form))).await
    }

    /// The same, encoded already.
    pub(crate) async fn call_encoded(
        &mut self,
        target: &str,
        form: String,
    ) -> Result<Page, String> {
        self.send(target, Sent::Program(form)).await
    }

    /// Fills the page's form and sends it.
    pub(crate) async fn submit(
        &mut self,
        page: &Page,
        filled: &[(&str, &str)],
    ) -> Result<Page, String> {
        let (action, mut fields) = page.form();
        for (name, value) in filled {
            fields.insert((*name).to_owned(), (*value).to_owned());
        }
        let fields: Vec<_> = fields
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        self.send(&action, Sent::Page(encoded(&fields))).await
    }

    fn is_ours(&self, location: &str) -> bool {
        location.starts_with('/') || location.starts_with(&format!("http://{}/", self.server))
    }

    async fn send(&mut self, target: &str, sent: Sent) -> Result<Page, String> {
        let answer = match timeout(PATIENCE, self.exchange(target, sent)).await {
            Ok(answer) => answer,
            Err(_) => Err("no answer in ten seconds".to_owned()),
        };
        if answer.is_err() {
            self.connection = None;
        }
        answer
    }

    async fn exchange(&mut self, target: &str, sent: Sent) -> Result<Page, String> {
        let origin = format!("http://{}", self.server);
        let target = target.strip_prefix(&origin).unwrap_or(target);
        let mut request = Request::builder()
            .uri(target)
            .header(header::HOST, self.server.to_string());
        if let Some(behind) = self.behind {
            request = request.header("x-forwarded-for", behind.to_string());
        }
        if !matches!(sent, Sent::Program(_)) && !self.cookies.is_empty() {
            let cookies = self.cookies.iter();
            let cookies: Vec<_> = cookies
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            request = request.header(header::COOKIE, cookies.join("; "));
        }
        if let Sent::Page(_) = sent {
            request = request
                .header(header::ORIGIN, &origin)
                .header("sec-fetch-site", "same-origin");
        }
        let request = match sent {
            Sent::Get => request.body(Full::default()),
            Sent::Page(form) | Sent::Program(form) => request
                .method("POST")
                .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(Full::from(form)),
        };
        let sender = self.connection().await?;
        let response = sender.send_request(request.unwrap()).await;
        let (parts, body) = response
            .map_err(|_| "closed without an answer")?
            .into_parts();
        let body = body
            .collect()
            .await
            .map_err(|_| "closed within an answer")?;
        for cookie in parts.headers.get_all(header::SET_COOKIE) {
            let text = cookie.to_str().unwrap();
            let (name, value) = text.split(';').next().unwrap().split_once('=').unwrap();
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
        Ok(Page {
            status: parts.status,
            headers: parts.headers,
            body: String::from_utf8_lossy(&body.to_bytes()).into_owned(),
        })
    }

    async fn connection(&mut self) -> Result<&mut SendRequest<Full<Bytes>>, String> {
        let is_open = match &mut self.connection {
            Some(open) => open.ready().await.is_ok(),
            None => false,
        };
        if !is_open {
            let stream = connect(self.from, self.server).await;
            let stream = stream.map_err(|error| format!("no connection: {}", error.kind()))?;
            let shaken = http1::handshake(TokioIo::new(stream)).await;
            let (sender, connection) = shaken.map_err(|_| "no connection")?;
            tokio::spawn(connection);
            self.connection = Some(sender);
        }
        self.connection
            .as_mut()
            .ok_or_else(|| "no connection".to_owned())
    }
}

pub(crate) fn encoded(form: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(form)
        .finish()
}
