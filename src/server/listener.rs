//! The listener: who may connect, for how long, and how it ends.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use axum::{Router, body::Body, extract::ConnectInfo};
use futures_util::future::{Either, ready};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{
        conn::auto,
        graceful::{GracefulShutdown, Watcher},
    },
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};
use tower::Service;

use super::{
    answer::Answer,
    connection_limits::Places,
    counted,
    deadlines::{Pace, Times, Watched},
    fixed::Fixed,
    layers::{HEADER_FIELDS, HEADERS, URI},
    metrics::{self, Metrics, Requests},
    tls::Tls,
};
use crate::app::App;

/// Time for requests under way when the server is told to stop.
const DRAIN: Duration = Duration::from_secs(25);
/// HTTP/2: how often a silent peer is asked whether it is there, and how long it has to answer.
const PING: Duration = Duration::from_secs(20);
const PONG: Duration = Duration::from_secs(10);
/// HTTP/2: requests that one connection may have under way.
const STREAMS: u32 = 32;
/// HTTP/2: bytes that may lie in memory for one stream and for a connection.
const STREAM_WINDOW: u32 = 64 * 1_024;
const CONNECTION_WINDOW: u32 = 256 * 1_024;

/// The listener of a configuration.
///
/// # Errors
///
/// When the address cannot be bound.
pub async fn bind(listen: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(listen).await
}

/// Serves until `stop` is ready, and tells metrics on a listener of their own, if there is one. Then readiness goes off, and connections are still accepted while whoever sends them
/// notices; then the requests under way finish.
///
/// # Errors
///
/// When accepting fails for good.
pub async fn serve(
    app: App,
    listener: TcpListener,
    metrics_listener: Option<TcpListener>,
    tls: Option<Tls>,
    stop: impl Future<Output = ()>,
) -> std::io::Result<()> {
    let graceful = GracefulShutdown::new();
    let places = {
        let server = &app.config.server;
        let (most, per_network) = (server.max_connections, server.max_connections_per_address);
        Arc::new(Places::new(
            most.get(),
            per_network.get(),
            &server.trusted_proxies,
        ))
    };
    let requests = Arc::new(Requests::new());
    let handler = Arc::new(ConnectionHandler::new(&app, &requests, tls).await);
    let told = match metrics_listener {
        Some(listener) => {
            let metrics = Arc::new(Metrics::new(&app, &requests));
            Some(tokio::spawn(metrics::serve(metrics, listener)))
        }
        None => None,
    };
    let watch = {
        let handler = handler.clone();
        tokio::spawn(async move {
            if let Some(tls) = &handler.tls {
                tls.watch().await;
            }
        })
    };
    let stop = lame_duck(&app, stop);
    tokio::pin!(stop);
    let mut failing = false;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                failing = false;
                // Over the limit, the connection is dropped here: closed.
                if let Some(place) = places.take(peer.ip().to_canonical()) {
                    let (handler, watcher) = (handler.clone(), graceful.watcher());
                    let open = app.store.counts.connections.clone();
                    open.inc();
                    tokio::spawn(async move {
                        handler.open(stream, peer, watcher).await;
                        drop(place);
                        open.dec();
                    });
                } else {
                    app.store.counts.connections_refused.inc();
                }
            }
            Err(error) => {
                // Out of file descriptors, or a peer that left: others still want to be served. Once, not every time.
                if !failing {
                    tracing::warn!(%error, "could not accept a connection");
                }
                failing = true;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    drop(listener);
    watch.abort();
    if let Some(told) = told {
        told.abort();
    }
    if tokio::time::timeout(DRAIN, graceful.shutdown())
        .await
        .is_err()
    {
        tracing::warn!("some requests did not finish in time");
    }
    Ok(())
}

/// Ready so long after `stop` that a load balancer has seen that the server is not ready any more.
async fn lame_duck(app: &App, stop: impl Future<Output = ()>) {
    stop.await;
    app.stopping.store(true, Ordering::Relaxed);
    // On one's own machine nobody balances load.
    if !app.config.issuer.is_loopback() {
        let seconds = app.config.server.lame_duck;
        tokio::time::sleep(Duration::from_secs(seconds.into())).await;
    }
}

/// What every connection needs.
struct ConnectionHandler {
    router: Router,
    fixed: Arc<Fixed>,
    tls: Option<Tls>,
    times: Times,
    http: auto::Builder<TokioExecutor>,
}

impl ConnectionHandler {
    async fn new(app: &App, requests: &Arc<Requests>, tls: Option<Tls>) -> Self {
        let seconds = |value: std::num::NonZeroU32| Duration::from_secs(value.get().into());
        let server = &app.config.server;
        let router = counted(app, requests);
        Self {
            // The server asks itself once at the start: that request does not count.
            fixed: Arc::new(Fixed::of(app, &super::router(app), requests).await),
            router,
            tls,
            times: Times {
                header: seconds(server.header_timeout),
                idle: seconds(server.idle_timeout),
                write: seconds(server.write_timeout),
            },
            http: http(),
        }
    }

    async fn open(&self, stream: TcpStream, peer: SocketAddr, watcher: Watcher) {
        _ = stream.set_nodelay(true);
        let Some(tls) = &self.tls else {
            return self.serve(stream, peer, watcher).await;
        };
        let handshake = tls.acceptor().accept(stream);
        if let Ok(Ok(stream)) = tokio::time::timeout(self.times.header, handshake).await {
            self.serve(stream, peer, watcher).await;
        }
    }

    async fn serve<S>(&self, stream: S, peer: SocketAddr, watcher: Watcher)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let pace = Pace::new();
        let service = hyper::service::service_fn({
            let (router, fixed) = (self.router.clone(), self.fixed.clone());
            let pace = pace.clone();
            move |mut request: hyper::Request<Incoming>| {
                let (under_way, pace) = (pace.request(), pace.clone());
                let answer = match fixed.answer(&request) {
                    Some(answer) => Either::Left(ready(Ok::<_, Infallible>(answer))),
                    None => {
                        request.extensions_mut().insert(ConnectInfo(peer));
                        let (mut router, pace) = (router.clone(), pace.clone());
                        Either::Right(async move {
                            pace.room().await;
                            router.call(request.map(Body::new)).await
                        })
                    }
                };
                async move {
                    let answer = answer.await;
                    drop(under_way);
                    answer.map(|answer| answer.map(|body| Answer { body, pace }))
                }
            }
        });
        let stream = TokioIo::new(Watched::new(stream, pace.clone()));
        let connection = self.http.serve_connection(stream, service).into_owned();
        // A peer that breaks off, or is too slow, is its own problem.
        tokio::select! {
            biased;
            _ = watcher.watch(connection) => {}
            () = pace.over(&self.times) => {}
        }
    }
}

/// Both versions of HTTP. What they do about time is ours ([`Pace`]): the library knows one time for the head of a request
/// and for the silence before it, and none at all while it does not know the version.
fn http() -> auto::Builder<TokioExecutor> {
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1()
        .header_read_timeout(None)
        .max_headers(HEADER_FIELDS)
        .max_buf_size(URI + HEADERS);
    http.http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEADERS as u32)
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(100)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(STREAM_WINDOW as usize)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PONG);
    http
}
