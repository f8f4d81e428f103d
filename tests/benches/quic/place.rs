//! A folder with what the processes of a measurement need to find and believe each other.

use std::collections::BTreeMap;
use std::fs;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;

use synod_core::NodeId;
use synod_transport_quic::{Authority, Bundle};

/// Who sends.
pub(crate) const SENDER: NodeId = NodeId(1);

/// The folder. It is removed when this is dropped.
pub(crate) struct Place(PathBuf);

impl Place {
    /// Bundles for a sender and so many receivers, on free ports of the loopback interface; the same
    /// credentials in files of their own; and a list of the receivers' addresses.
    pub(crate) fn make(receivers: u32) -> Self {
        let name = format!("synod-bench-{}-{receivers}", std::process::id());
        let place = Self(std::env::temp_dir().join(name));
        let _old = fs::remove_dir_all(&place.0);
        fs::create_dir_all(&place.0).expect("a folder");
        let authority = Authority::new("bench", HOUR).expect("an authority");
        place.write("authority.pem", authority.certificate_pem());
        let addresses = free_addresses(1 + receivers);
        let list = addresses.iter().map(|(node, address)| format!("{} {address}\n", node.0));
        place.write("addresses", &list.collect::<String>());
        for (node, address) in &addresses {
            let credentials = authority.issue(*node, HOUR).expect("credentials");
            place.write(&format!("{node}.pem"), &credentials.certificate_pem);
            place.write(&format!("{node}.key"), &credentials.key_pem);
            let bundle = Bundle {
                cluster: authority.cluster().clone(),
                node: *node,
                listen: *address,
                credentials,
                authorities: vec![String::from(authority.certificate_pem())],
                revocations: Vec::new(),
                peers: addresses.iter().map(|(node, it)| (*node, it.to_string())).collect(),
                members: addresses.keys().copied().collect(),
            };
            bundle.write_new(&bundle_of(&place.0, *node)).expect("a file");
        }
        place
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.join(name), text).expect("a file");
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _gone = fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn bundle_of(place: &Path, node: NodeId) -> PathBuf {
    place.join(format!("{node}.synod"))
}

/// Ports that nobody listens on, over UDP or TCP. They are let go, so somebody may come first; then the
/// process that wants one says so.
fn free_addresses(nodes: u32) -> BTreeMap<NodeId, SocketAddr> {
    let bound: Vec<_> = (1..=nodes).map(|node| (NodeId(node), free_port())).collect();
    bound.iter().map(|(node, it)| (*node, it.0.local_addr().expect("an address"))).collect()
}

fn free_port() -> (UdpSocket, TcpListener) {
    let both = || {
        let udp = UdpSocket::bind("127.0.0.1:0").ok()?;
        let tcp = TcpListener::bind(udp.local_addr().ok()?).ok()?;
        Some((udp, tcp))
    };
    (0..PORTS_TRIED).find_map(|_| both()).expect("a port")
}

/// Ports that are tried until one is free over UDP and TCP, at most.
const PORTS_TRIED: u32 = 100;

const HOUR: Duration = Duration::from_secs(3_600);
