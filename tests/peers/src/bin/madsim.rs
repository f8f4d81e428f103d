//! The work on madsim: a node and an async task for each place, and messages through endpoints.
//!
//! Every send and every receive of madsim also sleeps, for at least 1 ms of virtual time, so more
//! virtual time passes than elsewhere. What is measured is processor time.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use madsim::Config;
use madsim::net::Endpoint;
use madsim::runtime::Runtime;
use madsim::time::{Instant, sleep};

#[path = "../../../benches/simulator/work.rs"]
mod work;

use work::{DELAY_MAX_US, DELAY_MIN_US, Work};

/// What every node listens on.
const PORT: u16 = 1;
const TAG: u64 = 1;
/// When every node listens, so that nothing is sent to nobody.
const READY: Duration = Duration::from_millis(100);

fn main() {
    let work = Work::told(0).expect("SHAPE NODES MESSAGES RUNS");
    println!("{}", work.measure(|seed| once(work, seed)).line());
}

fn once(work: Work, seed: u64) -> (u64, u64) {
    let mut config = Config::default();
    let [least, most] = [DELAY_MIN_US, DELAY_MAX_US].map(Duration::from_micros);
    config.net.send_latency = least..most;
    let runtime = Runtime::with_seed_and_config(seed, config);
    let delivered = Arc::new(AtomicU64::new(0));
    for node in 0..work.nodes {
        let delivered = Arc::clone(&delivered);
        let place = runtime.create_node().ip(ip_of(node)).build();
        place.spawn(async move { live(work, node, &delivered).await.expect("no faults") });
    }
    let passed = runtime.block_on(async {
        let begin = Instant::now();
        sleep(2 * READY).await;
        while delivered.load(Ordering::Relaxed) < work.total() {
            sleep(READY).await;
        }
        begin.elapsed()
    });
    (delivered.load(Ordering::Relaxed), passed.as_millis() as u64)
}

async fn live(work: Work, node: u32, delivered: &AtomicU64) -> io::Result<()> {
    let endpoint = Endpoint::bind((ip_of(node), PORT)).await?;
    sleep(READY).await;
    for to in work.first(node) {
        endpoint.send_to(address_of(to), TAG, &encoded(work.hops() - 1, node)).await?;
    }
    let mut buffer = [0; 16];
    loop {
        let (_, from) = endpoint.recv_from(TAG, &mut buffer).await?;
        delivered.fetch_add(1, Ordering::Relaxed);
        let left = u64::from_le_bytes(buffer[..8].try_into().expect("8 bytes"));
        if 0 < left {
            let to = work.next(node, node_of(from.ip()));
            endpoint.send_to(address_of(to), TAG, &encoded(left - 1, node)).await?;
        }
    }
}

fn encoded(left: u64, node: u32) -> [u8; 16] {
    let mut message = [0; 16];
    message[..8].copy_from_slice(&left.to_le_bytes());
    message[8..12].copy_from_slice(&node.to_le_bytes());
    message
}

fn ip_of(node: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 0, 0, 1)) + node))
}

fn address_of(node: u32) -> SocketAddr {
    SocketAddr::new(ip_of(node), PORT)
}

fn node_of(ip: IpAddr) -> u32 {
    match ip {
        IpAddr::V4(ip) => u32::from(ip) - u32::from(Ipv4Addr::new(10, 0, 0, 1)),
        IpAddr::V6(_) => unreachable!("every node has an IPv4 address"),
    }
}
