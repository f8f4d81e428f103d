//! What a node tells over HTTP on the loopback interface: `/metrics`, `/status`, `/livez`, `/readyz`; and
//! what it is asked for there: `/record`.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use serde_json::json;
use synod_runtime::{NodeHandle, Status};
use synod_transport_quic::QuicTransport;
use tokio::io::Interest;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::client::BRIEF;
use super::metrics::metrics;
use super::openmetrics;
use super::recordings::{Recordings, SECONDS};
use super::renewal::{CertificateEnd, Files, since_1970};

/// Connections that are served at the same time, at most. For one more, the oldest one gives way: a client
/// that asks at once is done long before, and one that is idle must not keep an operator out.
const CONNECTIONS_MAX: usize = 16;
/// How long one connection may take, from its first byte to its last.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(5);
/// The head of a request, in bytes and in header lines, at most.
const HEAD_BYTES_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 100;

/// Bytes of a dead letter in a status that is brief.
const BRIEF_BYTES_MAX: usize = 256;

/// The version of the program.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The node that is told of.
#[derive(Debug)]
pub(crate) struct Subject {
    pub(crate) node: NodeHandle,
    pub(crate) algorithm: &'static str,
    pub(crate) certificate_end: CertificateEnd,
    /// What it looks at on disk.
    pub(crate) files: Files,
    /// What one peer can make the transport hold at most, in bytes.
    pub(crate) bytes_per_peer_max: usize,
    /// Knows the certificates of the peers.
    pub(crate) transport: Arc<QuicTransport>,
    /// Clients of the admin port that gave way to others before they were done.
    pub(crate) displaced: AtomicU64,
    /// What is recorded of it on demand.
    pub(crate) recordings: Recordings,
}

impl Subject {
    /// How many seconds the certificates of the peers that are connected are still valid; below zero after their end.
    pub(super) fn peer_certificates(&self) -> BTreeMap<String, i64> {
        let now = since_1970(SystemTime::now());
        let ends = self.transport.certificate_ends();
        ends.into_iter().map(|(peer, end)| (peer.to_string(), since_1970(end) - now)).collect()
    }

    /// The files that are not used as they are now, and why.
    fn unusable(&self) -> BTreeMap<&'static str, String> {
        let wrong = self.files.wrong().into_iter();
        wrong.filter_map(|(name, words)| Some((name, words?))).collect()
    }

    /// The first one is logged: there may be many.
    fn count_displaced(&self) {
        if self.displaced.fetch_add(1, Ordering::Relaxed) == 0 {
            tracing::warn!(
                "a client of the admin port that was not done gives way to another one; \
                 more are counted as synod_admin_displaced_total"
            );
        }
    }
}

/// Answers whoever calls until the program ends.
pub(crate) async fn serve(listener: TcpListener, subject: Arc<Subject>) {
    let mut clients = Clients::default();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let served = serve_in_time(stream, Arc::clone(&subject));
                if clients.admit(tokio::spawn(served)) {
                    subject.count_displaced();
                }
            }
            Err(error) => {
                // Out of file descriptors, for one: they come back.
                tracing::warn!(%error, "the admin port cannot accept");
                tokio::time::sleep(CONNECTION_TIMEOUT).await;
            }
        }
    }
}

/// Those that are served, the oldest first.
#[derive(Default)]
struct Clients(VecDeque<JoinHandle<()>>);

impl Clients {
    /// Takes one more. Whether the oldest one had to give way.
    fn admit(&mut self, client: JoinHandle<()>) -> bool {
        self.0.retain(|it| !it.is_finished());
        let is_full = CONNECTIONS_MAX <= self.0.len();
        if is_full && let Some(oldest) = self.0.pop_front() {
            oldest.abort();
        }
        self.0.push_back(client);
        is_full
    }
}

async fn serve_in_time(stream: TcpStream, subject: Arc<Subject>) {
    let served = serve_one(stream, subject);
    if let Ok(Err(error)) = tokio::time::timeout(CONNECTION_TIMEOUT, served).await {
        tracing::debug!(%error, "a client of the admin port went away");
    }
}

/// Reads the head of one request, answers it and closes the connection.
async fn serve_one(stream: TcpStream, subject: Arc<Subject>) -> io::Result<()> {
    let mut buffer = vec![0; HEAD_BYTES_MAX];
    let mut filled = 0;
    let answer = loop {
        let (head, room) = buffer.split_at_mut(filled);
        match requested(head) {
            Ok(Some(request)) => break subject.answer(&request).await,
            Ok(None) if room.is_empty() => {
                break Answer::text(
                    "431 Request Header Fields Too Large",
                    "the head is too large\n",
                );
            }
            Ok(None) => {
                match stream.async_io(Interest::READABLE, || stream.try_read(room)).await? {
                    0 => return Ok(()),
                    more => filled += more,
                }
            }
            Err(error) => break Answer::text("400 Bad Request", format!("{error}\n")),
        }
    };
    send(&stream, answer.text_of_http().as_bytes()).await
}

async fn send(stream: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let sent = stream.async_io(Interest::WRITABLE, || stream.try_write(bytes)).await?;
        bytes = bytes.get(sent..).unwrap_or_default();
    }
    Ok(())
}

/// What a client asks for.
struct Requested {
    method: String,
    /// Without the query.
    path: String,
    query: String,
    /// Whether it has called the node by a name of this machine.
    is_by_own_name: bool,
    /// Whether a page in a browser asks, which says so where it wants something done.
    is_from_a_page: bool,
}

/// What a whole head asks for; nothing if it is not whole.
fn requested(head: &[u8]) -> Result<Option<Requested>, httparse::Error> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    if request.parse(head)?.is_partial() {
        return Ok(None);
    }
    let target = request.path.unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let named = |name: &'static str| {
        request.headers.iter().filter(move |it| it.name.eq_ignore_ascii_case(name))
    };
    Ok(Some(Requested {
        method: request.method.unwrap_or_default().to_owned(),
        path: path.to_owned(),
        query: query.to_owned(),
        is_by_own_name: named("host").all(|it| is_own_name(it.value)),
        is_from_a_page: named("origin").next().is_some(),
    }))
}

/// Whether a `Host` means the loopback interface, with whatever port. A browser that a page of
/// elsewhere has led here says the name of that page: it must not read what the node tells.
fn is_own_name(host: &[u8]) -> bool {
    let host = str::from_utf8(host).unwrap_or_default();
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.parse::<u16>().is_ok() => name,
        _ => host,
    };
    let bare = name.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(name);
    let is_loopback = |address: IpAddr| address.to_canonical().is_loopback();
    bare.eq_ignore_ascii_case("localhost") || bare.parse().is_ok_and(is_loopback)
}

/// What is answered to a request.
struct Answer {
    status: &'static str,
    kind: &'static str,
    page: String,
}

impl Answer {
    fn text(status: &'static str, page: impl Into<String>) -> Self {
        Self { status, kind: "text/plain; charset=utf-8", page: page.into() }
    }

    /// The head and the page, as they are sent.
    fn text_of_http(&self) -> String {
        let Self { status, kind, page } = self;
        let length = page.len();
        let head = format!("HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}");
        format!("{head}\r\nconnection: close\r\n\r\n{page}")
    }
}

const OK: &str = "200 OK";
const UNAVAILABLE: &str = "503 Service Unavailable";

impl Subject {
    async fn answer(&self, asked: &Requested) -> Answer {
        if !asked.is_by_own_name {
            let page = "the Host must be localhost or a loopback address, such as 127.0.0.1\n";
            return Answer::text("403 Forbidden", page);
        }
        match (asked.method.as_str(), asked.path.as_str()) {
            ("POST", "/record") if !asked.is_from_a_page => self.record(asked).await,
            ("POST", "/record") => Answer::text("403 Forbidden", "no page may ask for that\n"),
            ("GET", path) => self.page(path, &asked.query),
            _ => Answer::text("405 Method Not Allowed", "only GET, and POST /record\n"),
        }
    }

    /// Begins to record the node for so many seconds, or ends what whoever asks has begun.
    async fn record(&self, asked: &Requested) -> Answer {
        let seconds = match asked.query.split_once('=') {
            Some(("end", token)) => return self.end_recording(token).await,
            Some(("seconds", text)) => text.parse().ok().filter(|it| SECONDS.contains(it)),
            _ => None,
        };
        let Some(seconds) = seconds else {
            let most = SECONDS.end();
            let page = format!(
                "expected /record?seconds=N, N up to {most}, or /record?end=TOKEN, as it was answered\n"
            );
            return Answer::text("400 Bad Request", page);
        };
        let time = Duration::from_secs(seconds);
        match self.recordings.begin(&self.node, self.algorithm, time).await {
            Ok(begun) => {
                let page = json!(begun).to_string();
                Answer { status: "202 Accepted", kind: "application/json", page }
            }
            Err(words) => Answer::text("409 Conflict", format!("{words}\n")),
        }
    }

    async fn end_recording(&self, token: &str) -> Answer {
        match self.recordings.end(&self.node, token).await {
            true => Answer::text(OK, "ended\n"),
            false => {
                let page =
                    "nothing is recorded that was begun with this token, and only that ends it\n";
                Answer::text("403 Forbidden", page)
            }
        }
    }

    fn page(&self, path: &str, query: &str) -> Answer {
        match path {
            "/metrics" => {
                let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
                let page = openmetrics::page(self.node.id(), metrics(self));
                Answer { status: OK, kind, page }
            }
            "/status" => {
                let left = self.certificate_end.seconds_left();
                let status = json!({
                    "certificate_seconds_left": left,
                    "algorithm": self.algorithm,
                    "version": VERSION,
                    "process": std::process::id(),
                    "certificate_days_left": left.div_euclid(86_400),
                    "peer_certificate_seconds_left": self.peer_certificates(),
                    "bytes_per_peer_max": self.bytes_per_peer_max,
                    "unusable": self.unusable(),
                    "status": shown(self.node.status(), query),
                });
                Answer { status: OK, kind: "application/json", page: status.to_string() }
            }
            "/livez" => liveness(&self.node.status()),
            "/readyz" => readiness(self.node.status()),
            _ => Answer::text("404 Not Found", "there is /metrics /status /livez /readyz\n"),
        }
    }
}

/// A status with all that its dead letters hold, or, to whoever wants it brief, the first bytes of each: all of them may be
/// hundreds of megabytes.
fn shown(mut status: Status, query: &str) -> Status {
    if query == BRIEF {
        let letters = status.dead_letters.iter_mut();
        letters.for_each(|letter| letter.bytes.truncate(BRIEF_BYTES_MAX));
    }
    status
}

/// Whether the process does what it is for; whoever starts it may start it anew otherwise.
fn liveness(status: &Status) -> Answer {
    match &status.hung {
        Some(why) => Answer::text(UNAVAILABLE, format!("{why}\n")),
        None => Answer::text(OK, "alive\n"),
    }
}

fn readiness(status: Status) -> Answer {
    match status.transport_fault.or(status.hung).or(status.unready) {
        _ if !status.running => Answer::text(UNAVAILABLE, "takes no events\n"),
        _ if !status.started => Answer::text(UNAVAILABLE, "waits for peers\n"),
        Some(fault) => Answer::text(UNAVAILABLE, format!("{fault}\n")),
        None => Answer::text(OK, "ready\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_node_that_is_hung_is_neither_alive_nor_ready_and_says_why() {
        let (network, node) = (synod_runtime::MemoryNetwork::new(), synod_core::NodeId(1));
        let make = || synod_core::HandlerSet::new(0_u8);
        let builder = synod_runtime::NodeBuilder::new(node, vec![node], make);
        let node = builder.transport(Arc::new(network.transport(node))).start().await;
        let mut status = node.expect("it starts").status();
        assert_eq!((liveness(&status).status, readiness(status.clone()).status), (OK, OK));
        status.hung = Some(String::from("the handler of `a` has run for 20 s"));
        for answer in [liveness(&status), readiness(status)] {
            assert_eq!(answer.status, UNAVAILABLE);
            assert_eq!(answer.page, "the handler of `a` has run for 20 s\n");
        }
    }

    #[tokio::test]
    async fn a_brief_status_is_small_whatever_the_dead_letters_hold() {
        let (network, node) = (synod_runtime::MemoryNetwork::new(), synod_core::NodeId(1));
        let make = || synod_core::HandlerSet::new(0_u8);
        let builder = synod_runtime::NodeBuilder::new(node, vec![node], make);
        let node = builder.transport(Arc::new(network.transport(node))).start().await;
        let mut status = node.expect("it starts").status();
        let letter = synod_runtime::DeadLetter {
            event: String::from("a.large"),
            from: None,
            bytes: vec![255; 65_536],
            panic: String::from("too large"),
            incarnation: 1,
        };
        status.dead_letters = vec![letter; 64];
        let bytes = |query| json!(shown(status.clone(), query)).to_string().len();
        assert!(16_000_000 < bytes("") && bytes(BRIEF) < 100_000, "{}", bytes(BRIEF));
    }

    #[test]
    fn only_who_calls_the_node_by_a_name_of_this_machine_is_answered() {
        let own = |hosts: &str| requested(format!("GET / HTTP/1.1\r\n{hosts}\r\n").as_bytes());
        for (host, is_own) in [
            ("127.0.0.1:7401", true),
            ("127.0.0.1", true),
            ("127.9.9.9:1", true),
            ("[::1]:7401", true),
            ("[::1]", true),
            ("[::ffff:127.0.0.1]:80", true),
            ("localhost", true),
            ("LocalHost:7401", true),
            ("evil.example:7401", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example:7401", false),
            ("10.0.0.1:7401", false),
            ("localhost:7401:evil", false),
            ("", false),
        ] {
            let asked = own(&format!("Host: {host}\r\n")).expect("HTTP").expect("whole");
            assert_eq!(asked.is_by_own_name, is_own, "{host}");
        }
        let two = own("Host: localhost\r\nhost: evil.example\r\n").expect("HTTP").expect("whole");
        assert!(!two.is_by_own_name);
        assert!(own("").expect("HTTP").expect("whole").is_by_own_name, "no browser leaves it out");
    }
}
