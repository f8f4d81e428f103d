//! What a node tells over HTTP on the loopback interface: `/metrics`, `/status`, `/livez`, `/readyz`.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use synod_runtime::NodeHandle;
use synod_transport_quic::QuicTransport;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::metrics;
use super::renewal::CertificateEnd;

/// Connections that are served at the same time, at most. Others wait to be accepted.
const CONNECTIONS_MAX: usize = 16;
/// How long one connection may take, from its first byte to its last.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(5);

/// The node that is told of.
#[derive(Debug)]
pub(crate) struct Subject {
    pub(crate) node: NodeHandle,
    pub(crate) algorithm: &'static str,
    pub(crate) certificate_end: CertificateEnd,
    /// What one peer can make the transport hold at most, in bytes.
    pub(crate) bytes_per_peer_max: usize,
    /// Knows the certificates of the peers.
    pub(crate) transport: Arc<QuicTransport>,
}

impl Subject {
    /// How many seconds the certificates of the peers that are connected are still valid.
    pub(super) fn peer_certificates(&self) -> BTreeMap<String, u64> {
        let now = SystemTime::now();
        let left = |end: SystemTime| end.duration_since(now).unwrap_or_default().as_secs();
        let ends = self.transport.certificate_ends();
        ends.into_iter().map(|(peer, end)| (peer.to_string(), left(end))).collect()
    }
}

/// Answers on `address` until the program ends. Returns the address with its port.
///
/// # Errors
///
/// If the port is taken.
pub(crate) async fn open(address: SocketAddr, subject: Subject) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(address).await?;
    let bound = listener.local_addr()?;
    tokio::spawn(accept(listener, Arc::new(subject)));
    Ok(bound)
}

async fn accept(listener: TcpListener, subject: Arc<Subject>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                let subject = Arc::clone(&subject);
                tokio::spawn(async move {
                    let _overdue =
                        tokio::time::timeout(CONNECTION_TIMEOUT, serve(stream, subject)).await;
                    drop(place);
                });
            }
            Err(error) => {
                // Out of file descriptors, for one: they come back.
                tracing::warn!(%error, "the admin port cannot accept");
                tokio::time::sleep(CONNECTION_TIMEOUT).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, subject: Arc<Subject>) {
    let answer = service_fn(move |request: Request<Incoming>| {
        let subject = Arc::clone(&subject);
        async move { Ok::<_, Infallible>(subject.answer(&request)) }
    });
    let mut http = http1::Builder::new();
    http.keep_alive(false).timer(TokioTimer::new()).max_buf_size(16 * 1024);
    if let Err(error) = http.serve_connection(TokioIo::new(stream), answer).await {
        tracing::debug!(%error, "a client of the admin port spoke no HTTP");
    }
}

impl Subject {
    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if request.method() != Method::GET {
            return text(StatusCode::METHOD_NOT_ALLOWED, "only GET is answered\n");
        }
        match request.uri().path() {
            "/metrics" => {
                let page = metrics::text(self);
                let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
                answer(StatusCode::OK, kind, page)
            }
            "/status" => {
                let status = json!({
                    "certificate_seconds_left": self.certificate_end.seconds_left(),
                    "algorithm": self.algorithm,
                    "certificate_days_left": self.certificate_end.days_left(),
                    "peer_certificate_seconds_left": self.peer_certificates(),
                    "bytes_per_peer_max": self.bytes_per_peer_max,
                    "status": self.node.status(),
                });
                answer(StatusCode::OK, "application/json", status.to_string())
            }
            "/livez" => text(StatusCode::OK, "alive\n"),
            "/readyz" => self.readiness(),
            _ => text(StatusCode::NOT_FOUND, "there is /metrics /status /livez /readyz\n"),
        }
    }

    fn readiness(&self) -> Response<Full<Bytes>> {
        let status = self.node.status();
        match status.transport_fault {
            _ if !status.running => text(StatusCode::SERVICE_UNAVAILABLE, "takes no events\n"),
            _ if !status.started => text(StatusCode::SERVICE_UNAVAILABLE, "waits for peers\n"),
            Some(fault) => {
                let kind = "text/plain; charset=utf-8";
                answer(StatusCode::SERVICE_UNAVAILABLE, kind, format!("{fault}\n"))
            }
            None => text(StatusCode::OK, "ready\n"),
        }
    }
}

fn text(code: StatusCode, words: &'static str) -> Response<Full<Bytes>> {
    answer(code, "text/plain; charset=utf-8", String::from(words))
}

fn answer(code: StatusCode, kind: &'static str, page: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(page)));
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
