//! What a measured process is told, and what it answers: a line each.

use std::fmt;
use std::io::{Write, stdin, stdout};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What a process is to do.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Order {
    /// Sends so many events of so many bytes to each receiver, and waits until all are handled. The
    /// answer is the time that it took.
    Flood { events: u64, bytes: usize },
    /// Lets handlers of one node send so many events to each other. The answer is the time that it took.
    Within { events: u64, bytes: usize },
    /// Sends an event to and fro. The answer is the time of a round trip, half of them and 99 of a
    /// hundred being shorter.
    Ping { pings: u64, bytes: usize },
    /// Loses the connection. The answer is the time until an event has gone to and fro on the next.
    Resume,
}

impl Order {
    pub(crate) fn read(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["flood", events, bytes] => {
                Some(Self::Flood { events: events.parse().ok()?, bytes: bytes.parse().ok()? })
            }
            ["within", events, bytes] => {
                Some(Self::Within { events: events.parse().ok()?, bytes: bytes.parse().ok()? })
            }
            ["ping", pings, bytes] => {
                Some(Self::Ping { pings: pings.parse().ok()?, bytes: bytes.parse().ok()? })
            }
            ["resume"] => Some(Self::Resume),
            _ => None,
        }
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flood { events, bytes } => write!(f, "flood {events} {bytes}"),
            Self::Within { events, bytes } => write!(f, "within {events} {bytes}"),
            Self::Ping { pings, bytes } => write!(f, "ping {pings} {bytes}"),
            Self::Resume => f.write_str("resume"),
        }
    }
}

/// Bytes of the event that goes to and fro on a connection that has taken the place of another one.
#[allow(dead_code, reason = "not every program resumes")]
pub(crate) const RESUME_BYTES: usize = 64;

/// What came of an order; nothing if the program knows no such thing.
pub(crate) type Times = Vec<Duration>;

/// Says that the process is ready, and how long that took; then obeys until nothing is asked any
/// more.
pub(crate) fn serve(ready_after: Duration, mut obey: impl FnMut(Order) -> Times) {
    say(&[ready_after]);
    for line in stdin().lines() {
        let order = Order::read(&line.expect("a line")).expect("an order");
        say(&obey(order));
    }
}

fn say(times: &[Duration]) {
    let nanos: Vec<String> = times.iter().map(|time| time.as_nanos().to_string()).collect();
    let mut out = stdout();
    writeln!(out, "{}", nanos.join(" ")).and_then(|()| out.flush()).expect("a reader");
}

/// The half and 99 of a hundred.
pub(crate) fn percentiles(mut trips: Vec<Duration>) -> Times {
    trips.sort_unstable();
    let place = |percent: usize| trips.get(trips.len() * percent / 100).copied();
    [50, 99].into_iter().filter_map(place).collect()
}

/// A numbered payload.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Payload {
    pub(crate) number: [u8; 8],
    pub(crate) text: String,
}

impl Payload {
    /// One whose encoding has so many bytes, 11 at least.
    pub(crate) fn of_size(bytes: usize) -> Self {
        let lengths = (0..bytes.saturating_sub(8)).rev();
        let fits = |length: &usize| 8 + length + length_bytes(*length) == bytes;
        let length = lengths.into_iter().find(fits).expect("a payload of this size");
        Self { number: [0; 8], text: "x".repeat(length) }
    }

    pub(crate) fn numbered(&mut self, number: u64) -> &Self {
        self.number = number.to_le_bytes();
        self
    }

    pub(crate) fn number(&self) -> u64 {
        u64::from_le_bytes(self.number)
    }
}

/// Bytes of an encoded length: seven bits in each.
fn length_bytes(length: usize) -> usize {
    match length {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        _ => 3,
    }
}
