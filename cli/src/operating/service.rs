//! What a service manager is told that asks for it as systemd does: that the node is up, that it lives, and that it
//! ends. A node that is hung is not said to live, and is started anew.

use std::env;
use std::io;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use synod_runtime::NodeHandle;

/// Systemd, or what talks as it does, where it has started the process.
#[derive(Debug)]
pub(crate) struct Systemd {
    socket: UnixDatagram,
    place: SocketAddr,
    /// After how long without a word it takes the process for dead, if it does.
    patience: Option<Duration>,
}

impl Systemd {
    /// None if nobody asks. A manager that cannot be reached is logged, and is none.
    pub(crate) fn of_environment() -> Option<Self> {
        let name = env::var("NOTIFY_SOCKET").ok()?;
        let opened = place(&name).and_then(|place| Ok((UnixDatagram::unbound()?, place)));
        let (socket, place) =
            opened.inspect_err(|error| tracing::warn!(name, %error, "no service manager")).ok()?;
        let micros = env::var("WATCHDOG_USEC").ok().and_then(|micros| micros.parse().ok());
        let micros = micros.filter(|micros| 0 < *micros);
        Some(Self { socket, place, patience: micros.map(Duration::from_micros) })
    }

    /// Says one thing. The node goes on whether it was heard or not.
    pub(crate) fn hears(&self, what: &str) {
        if let Err(error) = self.socket.send_to_addr(what.as_bytes(), &self.place) {
            tracing::debug!(what, %error, "the service manager does not hear");
        }
    }
}

/// The place of a socket: a path, or behind an @ a name that stands in no directory.
fn place(name: &str) -> io::Result<SocketAddr> {
    #[cfg(target_os = "linux")]
    if let Some(name) = name.strip_prefix('@') {
        return <SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(name);
    }
    SocketAddr::from_pathname(name)
}

/// Says that the node is up, and, if that is asked for, time and again that it lives.
pub(crate) async fn tell(node: NodeHandle) {
    let Some(systemd) = Systemd::of_environment() else { return };
    systemd.hears("READY=1");
    let Some(patience) = systemd.patience else { return };
    loop {
        tokio::time::sleep(patience / 3).await;
        if node.status().hung.is_none() {
            systemd.hears("WATCHDOG=1");
        }
    }
}
