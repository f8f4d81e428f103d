//! The work on turmoil: a host with a tokio runtime for each node, and its simulated UDP.
//!
//! Time advances in ticks of 1 ms, and each tick looks at every link for every host. So the work is
//! bounded in processor time: the report says how many messages were delivered by then. What it
//! takes to register the hosts is not measured, except where simulations are run one after another.

use std::cell::Cell;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use turmoil::net::UdpSocket;
use turmoil::{Builder, Sim};

#[path = "../../../benches/simulator/work.rs"]
mod work;

use work::{DELAY_MAX_US, DELAY_MIN_US, Report, Work, processor_seconds};

/// What every host listens on.
const PORT: u16 = 1;
/// When every host listens, so that nothing is sent to nobody.
const READY: Duration = Duration::from_millis(1);
/// No run is longer: seconds of processor time.
const SECONDS_MAX: f64 = 2.0;
/// The same with `MANY` hosts and more, where a tick takes seconds.
const SECONDS_MAX_OF_MANY: f64 = 20.0;
const MANY: u32 = 1_000;
/// What a socket holds at most: more than ever arrives within a tick.
const WAITING_MAX: usize = 4_096;
/// Virtual time that idle hosts live: a tick, in which they begin to listen.
const IDLE: Duration = Duration::from_millis(1);

fn main() {
    let work = Work::told(0).expect("SHAPE NODES MESSAGES RUNS");
    let report = match work.runs {
        1 => one(work),
        _ => work.measure(|seed| {
            let delivered = Rc::new(Cell::new(0));
            let mut sim = prepared(work, seed, &delivered);
            (step(work, &mut sim, &delivered), sim.elapsed().as_millis() as u64)
        }),
    };
    println!("{}", report.line());
}

/// One run, registering the hosts not measured.
fn one(work: Work) -> Report {
    let delivered = Rc::new(Cell::new(0));
    let mut sim = prepared(work, 1, &delivered);
    work.measure(|_| {
        let delivered = step(work, &mut sim, &delivered);
        (delivered, sim.elapsed().as_millis() as u64)
    })
}

fn step(work: Work, sim: &mut Sim<'_>, delivered: &Cell<u64>) -> u64 {
    let begin = processor_seconds();
    let most = if work.nodes < MANY { SECONDS_MAX } else { SECONDS_MAX_OF_MANY };
    let done = |sim: &Sim<'_>| match work.total() {
        0 => IDLE <= sim.elapsed(),
        total => total <= delivered.get() || most <= processor_seconds() - begin,
    };
    while !done(sim) {
        sim.step().expect("no faults");
    }
    delivered.get()
}

fn prepared<'a>(work: Work, seed: u64, delivered: &Rc<Cell<u64>>) -> Sim<'a> {
    let mut sim = Builder::new()
        .epoch(SystemTime::UNIX_EPOCH)
        .simulation_duration(Duration::MAX)
        .min_message_latency(Duration::from_micros(DELAY_MIN_US))
        .max_message_latency(Duration::from_micros(DELAY_MAX_US))
        .udp_capacity(WAITING_MAX)
        .rng_seed(seed)
        .build();
    for node in 0..work.nodes {
        let delivered = Rc::clone(delivered);
        sim.host(ip_of(node), move || {
            let delivered = Rc::clone(&delivered);
            async move { Ok(live(work, node, &delivered).await?) }
        });
    }
    sim
}

async fn live(work: Work, node: u32, delivered: &Cell<u64>) -> io::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT)).await?;
    tokio::time::sleep(READY).await;
    for to in work.first(node) {
        socket.send_to(&encoded(work.hops() - 1, node), address_of(to)).await?;
    }
    let mut buffer = [0; 16];
    loop {
        let (_, from) = socket.recv_from(&mut buffer).await?;
        delivered.set(delivered.get() + 1);
        let left = u64::from_le_bytes(buffer[..8].try_into().expect("8 bytes"));
        if 0 < left {
            let to = work.next(node, node_of(from.ip()));
            socket.send_to(&encoded(left - 1, node), address_of(to)).await?;
        }
    }
}

fn encoded(left: u64, node: u32) -> [u8; 16] {
    let mut message = [0; 16];
    message[..8].copy_from_slice(&left.to_le_bytes());
    message[8..12].copy_from_slice(&node.to_le_bytes());
    message
}

/// The first address of turmoil's network.
const FIRST: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 1);

fn ip_of(node: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from(u32::from(FIRST) + node))
}

fn address_of(node: u32) -> SocketAddr {
    SocketAddr::new(ip_of(node), PORT)
}

fn node_of(ip: IpAddr) -> u32 {
    match ip {
        IpAddr::V4(ip) => u32::from(ip) - u32::from(FIRST),
        IpAddr::V6(_) => unreachable!("every host has an IPv4 address"),
    }
}
