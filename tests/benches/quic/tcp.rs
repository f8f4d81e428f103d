//! A loop over plain TCP: postcard, many events in a write, no encryption, nothing kept for a
//! connection that is lost.

use std::path::Path;
use std::time::{Duration, Instant};

use synod_core::NodeId;
use synod_transport_quic::Bundle;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::child::{self, Order, Payload, RESUME_BYTES, Times};
use crate::place::{SENDER, bundle_of};

/// Runs one end for as long as it is asked for anything.
pub(crate) fn run(place: &Path, node: NodeId) {
    let runtime = Runtime::new().expect("threads");
    let bundle = Bundle::read(&bundle_of(place, node)).expect("a bundle");
    let begin = Instant::now();
    if node != SENDER {
        let listener = runtime.block_on(TcpListener::bind(bundle.listen)).expect("a port");
        runtime.spawn(receive_all(listener));
        return child::serve(begin.elapsed(), |_| Vec::new());
    }
    let receivers = bundle.peers.into_iter().filter(|(node, _)| *node != SENDER);
    let addresses: Vec<String> = receivers.map(|(_, address)| address).collect();
    // A connection for each order: the first one is to say how long it takes.
    runtime.block_on(async {
        for address in &addresses {
            drop(connect(address).await);
        }
    });
    child::serve(begin.elapsed(), |order| {
        let addresses = addresses.clone();
        let obeyed = runtime.spawn(async move {
            let first = addresses.first().cloned().expect("a receiver");
            match order {
                Order::Flood { events, bytes } => vec![flood(addresses, events, bytes).await],
                Order::Ping { pings, bytes } => {
                    child::percentiles(ping(&first, pings, bytes).await)
                }
                Order::Within { .. } => Times::new(),
                Order::Resume => {
                    let begin = Instant::now();
                    ping(&first, 1, RESUME_BYTES).await;
                    vec![begin.elapsed()]
                }
            }
        });
        runtime.block_on(obeyed).expect("no panic")
    });
}

/// Sends events from one task to another through a bounded queue.
pub(crate) fn run_queue() {
    let runtime = Runtime::new().expect("threads");
    child::serve(Duration::ZERO, |order| {
        let Order::Flood { events, bytes } = order else { return Times::new() };
        let begin = Instant::now();
        let (sender, mut receiver) = mpsc::channel(QUEUE);
        let sent = runtime.spawn(async move {
            let payload = Payload::of_size(bytes);
            for number in 0..events {
                let mut payload = payload.clone();
                payload.numbered(number);
                sender.send(payload).await.expect("a receiver");
            }
        });
        let received = runtime.spawn(async move {
            let mut count = 0;
            while let Some(payload) = receiver.recv().await {
                assert_eq!(payload.number(), count, "an event is out of order");
                count += 1;
            }
            count
        });
        runtime.block_on(sent).expect("no panic");
        assert_eq!(runtime.block_on(received).expect("no panic"), events);
        vec![begin.elapsed()]
    });
}

async fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).await.expect("a listener");
    stream.set_nodelay(true).expect("an option");
    stream
}

async fn flood(addresses: Vec<String>, events: u64, bytes: usize) -> Duration {
    let begin = Instant::now();
    let mut floods = JoinSet::new();
    for address in addresses {
        floods.spawn(async move {
            let mut stream = connect(&address).await;
            let (mut buffer, mut payload) = (Vec::new(), Payload::of_size(bytes));
            for number in 0..events {
                append(&mut buffer, payload.numbered(number));
                if WRITE_BYTES <= buffer.len() || number + 1 == events {
                    stream.write_all(&buffer).await.expect("a connection");
                    buffer.clear();
                }
            }
            stream.write_all(&END).await.expect("a connection");
            let count = stream.read_u64_le().await.expect("a count");
            assert_eq!(count, events, "events were lost");
        });
    }
    floods.join_all().await;
    begin.elapsed()
}

async fn ping(address: &str, pings: u64, bytes: usize) -> Vec<Duration> {
    let mut stream = connect(address).await;
    stream.write_all(&ECHO).await.expect("a connection");
    let (mut frame, mut trips) = (Vec::new(), Vec::new());
    append(&mut frame, &Payload::of_size(bytes));
    for _ in 0..pings {
        let begin = Instant::now();
        stream.write_all(&frame).await.expect("a connection");
        stream.read_exact(&mut frame).await.expect("an echo");
        trips.push(begin.elapsed());
    }
    trips
}

async fn receive_all(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        stream.set_nodelay(true).expect("an option");
        tokio::spawn(receive_one(stream));
    }
}

/// Counts events until the end, or echoes them from where it is asked to.
async fn receive_one(stream: TcpStream) {
    let mut stream = BufReader::with_capacity(READ_BYTES, stream);
    let (mut count, mut echoes, mut frame) = (0_u64, false, Vec::new());
    while let Ok(length) = stream.read_u32_le().await {
        match length.to_le_bytes() {
            END => stream.get_mut().write_u64_le(count).await.expect("a connection"),
            ECHO => echoes = true,
            _ => {
                frame.resize(length as usize, 0);
                stream.read_exact(&mut frame).await.expect("a whole frame");
                let payload: Payload = postcard::from_bytes(&frame).expect("a payload");
                if echoes {
                    let mut echo = Vec::new();
                    append(&mut echo, &payload);
                    stream.get_mut().write_all(&echo).await.expect("a connection");
                } else {
                    assert_eq!(payload.number(), count, "an event is out of order");
                    count += 1;
                }
            }
        }
    }
}

/// A length and an encoded event.
fn append(buffer: &mut Vec<u8>, payload: &Payload) {
    let start = buffer.len();
    buffer.extend_from_slice(&END);
    let mut filled = postcard::to_extend(payload, std::mem::take(buffer)).expect("a payload");
    let length = u32::try_from(filled.len() - start - END.len()).expect("a small event");
    let place = filled.get_mut(start..).and_then(<[u8]>::first_chunk_mut);
    *place.expect("a length") = length.to_le_bytes();
    *buffer = filled;
}

/// No event has these lengths.
const END: [u8; 4] = [0; 4];
const ECHO: [u8; 4] = [0xff; 4];

/// What is written, and read, at once, in bytes.
const WRITE_BYTES: usize = 32 * 1_024;
const READ_BYTES: usize = 64 * 1_024;

/// Events in the queue.
const QUEUE: usize = 1_024;
