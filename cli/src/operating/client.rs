//! Whoever asks a node of this machine over its admin port.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long a node may take to tell of itself.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);
/// An answer is no larger, in bytes: a cluster may have thousands of peers and lanes.
const ANSWER_BYTES_MAX: u64 = 1 << 24;
/// The query of whoever wants no dead letters as a whole.
pub(crate) const BRIEF: &str = "brief";
/// What a node is asked that is to tell of itself.
pub(crate) const STATUS: &str = "GET /status?brief";

/// What a node has answered.
pub(crate) struct Reply {
    pub(crate) code: u16,
    pub(crate) page: String,
}

/// Asks `GET /status`, say, of the node at `address`. One connection, closed by the answer's end.
pub(crate) fn ask(address: SocketAddr, what: &str, patience: Duration) -> io::Result<Reply> {
    let mut stream = TcpStream::connect_timeout(&address, patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    let request = format!("{what} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut text = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut text)?;
    let (head, page) = text.split_once("\r\n\r\n").ok_or_else(odd)?;
    let code = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.split(' ').next()?.parse().ok());
    Ok(Reply { code: code.ok_or_else(odd)?, page: String::from(page) })
}

/// It is no node that answers.
pub(crate) fn odd() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "what answers is no synod node")
}
