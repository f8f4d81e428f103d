use std::collections::BTreeSet;
use std::net::UdpSocket;

use quinn::{ClientConfig, ServerConfig};
use synod_core::NodeId;

use super::*;
use crate::gateway::{self, Gateway};
use crate::identity::{Authority, Bundle};
use crate::tls::Tls;

#[test]
fn the_default_bounds_fit_together_and_a_peer_costs_less_than_100_mebibytes() {
    let limits = Limits::default();
    assert_eq!(limits.check(&[]), Ok(()));
    assert!(limits.accepted().is_ok());
    assert!(limits.bytes_per_peer_max(&[]) < 100 << 20, "{}", limits.bytes_per_peer_max(&[]));
}

#[test]
fn bounds_that_do_not_fit_together_are_refused() {
    let large = Limits { frame_bytes_max: 65 * 1024, ..Limits::default() };
    assert!(large.check(&[]).unwrap_err().to_string().contains("frame_bytes_max"));
    let heavy = Limits { packet_bytes_max: 9_000, ..Limits::default() };
    assert!(heavy.check(&[]).unwrap_err().to_string().contains("1200 to 6500"));
    let patient = Limits { frame_timeout: Duration::MAX, ..Limits::default() };
    let words = patient.check(&[]).unwrap_err().to_string();
    assert!(words.contains("`frame_timeout`") && words.contains("31536000s"), "{words}");
    let mute = Limits { keep_alive: Duration::from_secs(60), ..Limits::default() };
    assert!(mute.check(&[]).is_err());
    let dear = Limits { outbox_bytes_max: 1 << 30, ..Limits::default() };
    let words = dear.check(&[]).unwrap_err().to_string();
    assert!(words.contains("bytes_per_peer_cap") && words.contains("134217728"), "{words}");
}

#[test]
fn an_event_that_declares_large_frames_costs_one_of_them() {
    let limits = Limits::default();
    let event = |name: &str, bytes_max| {
        let id = EventId::of(name);
        WireEvent { id, name: String::from(name), layout: String::new(), bytes_max }
    };
    let events = [event("a", 64 * 1024), event("b", 1 << 20), event("c", 100_000)];
    let more = limits.bytes_per_peer_max(&events) - limits.bytes_per_peer_max(&[]);
    assert_eq!((more, limits.check(&events)), ((1 << 20) + 100_000, Ok(())));
    let id = EventId::of("d");
    assert_eq!(limits.sizes([(id, u32::MAX)].into_iter()).of(id), 1 << 20);

    let most = limits.bytes_per_peer_max(&events);
    let tight = Limits { bytes_per_peer_cap: most - 1, ..Limits::default() };
    let words = tight.check(&events).unwrap_err().to_string();
    assert!(words.contains("1048576 of them for `b`"), "{words}");
    let small = Limits { outbox_bytes_max: 128 * 1024, ..limits };
    let words = small.check(&events).unwrap_err().to_string();
    assert!(words.contains("event `b` declares 1048576 bytes"), "{words}");
}

/// What a node of a cluster of two has to shake hands with.
fn tls(authority: &Authority, node: NodeId) -> Tls {
    let day = Duration::from_secs(86_400);
    let address = String::from("127.0.0.1:9");
    let bundle = Bundle {
        cluster: authority.cluster().clone(),
        node,
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        credentials: authority.issue(node, day).unwrap(),
        authorities: vec![String::from(authority.certificate_pem())],
        revocations: Vec::new(),
        peers: [NodeId(1), NodeId(2)].map(|node| (node, address.clone())).into(),
        members: BTreeSet::new(),
    };
    Tls::checked(&bundle).unwrap()
}

fn gateway(tls: &Tls) -> Gateway {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let server = ServerConfig::with_crypto(Arc::new(tls.acceptor().unwrap().0));
    let limits = Limits::default();
    let endpoint = gateway::open(socket, limits.packet_bytes_max).unwrap();
    Gateway::new(tls.trust.me, endpoint, &limits, server).unwrap()
}

#[tokio::test]
async fn within_a_machine_packets_are_as_large_as_they_may_be_from_the_beginning() {
    let limits = Limits::default();
    let authority = Authority::new("demo", Duration::from_secs(86_400)).unwrap();
    let (one, two) = (tls(&authority, NodeId(1)), tls(&authority, NodeId(2)));
    let (dialer, acceptor) = (gateway(&one), gateway(&two));
    let mut client = ClientConfig::new(Arc::new(one.dialer(NodeId(2), "n2").unwrap().0));
    client.transport_config(limits.dialed().unwrap().to(acceptor.address()));
    let mut server = acceptor.server().clone();
    server.transport_config(limits.accepted().unwrap().to(dialer.address()));

    let (dialing, accepting) = (dialer.endpoint().unwrap(), acceptor.endpoint().unwrap());
    let name = one.trust.cluster.certificate_name(NodeId(2));
    let dialed = dialing.connect_with(client, acceptor.address(), &name).unwrap();
    let accepted = async {
        let incoming = accepting.accept().await.unwrap();
        incoming.accept_with(Arc::new(server)).unwrap().await
    };
    let (dialed, accepted) = tokio::join!(dialed, accepted);
    for connection in [dialed.unwrap(), accepted.unwrap()] {
        let path = connection.stats().path;
        assert_eq!((path.current_mtu, path.sent_plpmtud_probes), (limits.packet_bytes_max, 0));
    }
}
