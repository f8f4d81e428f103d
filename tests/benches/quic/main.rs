//! What nodes cost each other over QUIC, side by side with bare quinn, plain TCP and other runtimes.
//!
//! `cargo bench -p synod-tests --bench quic`, or `-- connect` for first connections alone. Sender and receivers are processes of their own on the
//! loopback interface, and do the same work. The programs take turns, often and shortly, so that a busy
//! machine slows all of them; figures are medians. Others are built in `tests/peers-quic`; where that is impossible,
//! the run goes on without them. What each leaves out is said below the table.
#![allow(clippy::print_stdout, reason = "a benchmark talks to its reader")]

mod child;
mod place;
#[path = "../process.rs"]
mod process;
mod program;
mod raw;
mod running;
mod synod;
mod tcp;

use std::collections::{BTreeMap, BTreeSet};

use child::Order;
use program::{Cores, Measured, Program, Session};

/// How often all processes are started anew.
const TURNS: usize = 3;
/// How often each program does the same work in a turn.
const ROUNDS: usize = 5;
/// Seconds from which on some work is done once in a turn: it takes long enough to be measured well.
const LONG: f64 = 1.0;

fn main() {
    if program::is_child() {
        return;
    }
    let programs = Program::all();
    let mut figures = Figures::default();
    let only_connects = std::env::args().any(|word| word == "connect");
    for _ in 0..TURNS {
        figures.connect(&programs);
        if !only_connects {
            figures.work(&programs);
        }
    }
    figures.print(&programs);
}

/// A row of the table, in the order of printing.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Row {
    Small,
    SmallToFour,
    Large,
    LargeToFour,
    Bulk,
    InProcess,
    Within,
    Half,
    Most,
    PingProcessor,
    Connect,
    Resume,
}

/// Some work, and the row of the table that tells of it.
#[derive(Clone, Copy)]
struct Work {
    row: Row,
    /// 0: a process sends to itself.
    receivers: u32,
    order: Order,
}

const WORK: [Work; 8] = [
    flood(Row::InProcess, 0, 2_000_000, 64),
    Work { row: Row::Within, receivers: 0, order: Order::Within { events: 2_000_000, bytes: 64 } },
    flood(Row::Small, 1, 1_000_000, 64),
    flood(Row::Large, 1, 128_000, 1_024),
    flood(Row::Bulk, 1, 2_000, BULK_BYTES),
    Work { row: Row::Resume, receivers: 1, order: Order::Resume },
    flood(Row::SmallToFour, 4, 250_000, 64),
    flood(Row::LargeToFour, 4, 32_000, 1_024),
];

/// So many events for each receiver.
const fn flood(row: Row, receivers: u32, events: u64, bytes: usize) -> Work {
    Work { row, receivers, order: Order::Flood { events, bytes } }
}

/// As large as the largest frame of the transport allows, about.
const BULK_BYTES: usize = 60_000;
const PINGS: u64 = 6_000;
const PING: Order = Order::Ping { pings: PINGS, bytes: 64 };
/// How often two processes connect for the first time in each turn.
const STARTS: usize = 10;

impl Row {
    const ALL: [Self; 12] = [
        Self::Small,
        Self::SmallToFour,
        Self::Large,
        Self::LargeToFour,
        Self::Bulk,
        Self::InProcess,
        Self::Within,
        Self::Half,
        Self::Most,
        Self::PingProcessor,
        Self::Connect,
        Self::Resume,
    ];

    fn title(self) -> &'static str {
        match self {
            Self::Small => "events/s, 64 B, 1 to 1",
            Self::SmallToFour => "events/s, 64 B, 1 to 4",
            Self::Large => "events/s, 1 KiB, 1 to 1",
            Self::LargeToFour => "events/s, 1 KiB, 1 to 4",
            Self::Bulk => "MB/s, 60 kB events",
            Self::InProcess => "events/s, 64 B, one process",
            Self::Within => "events/s, 64 B, within a node",
            Self::Half => "round trip, p50, us",
            Self::Most => "round trip, p99, us",
            Self::PingProcessor => "round trip, processor time, us",
            Self::Connect => "first connection, ms",
            Self::Resume => "lost connection resumed, ms",
        }
    }

    /// Whether more is better.
    fn is_rate(self) -> bool {
        self.digits() == 0
    }

    /// How many digits follow the point.
    fn digits(self) -> usize {
        match self {
            Self::Half | Self::Most | Self::PingProcessor | Self::Connect | Self::Resume => 1,
            _ => 0,
        }
    }
}

/// What was measured.
#[derive(Default)]
struct Figures {
    by_clock: Cells,
    by_processor: Cells,
}

/// The figures of each row and program.
type Cells = BTreeMap<(Row, Program), Vec<f64>>;

/// What came of the rounds of a turn together: the system counts processor time in steps that are long beside
/// a single one.
#[derive(Clone, Copy, Default)]
struct Spent {
    amount: f64,
    processor: f64,
}

impl Figures {
    fn add(&mut self, row: Row, program: Program, by_clock: f64) {
        self.by_clock.entry((row, program)).or_default().push(by_clock);
    }

    /// Lets each program connect for the first time, several times over.
    fn connect(&mut self, programs: &[Program]) {
        for _ in 0..STARTS {
            for (program, session) in sessions(programs, |it| Session::start(it, 1, Cores::Any)) {
                self.add(Row::Connect, program, session.ready_after * 1e3);
            }
        }
    }

    /// Lets all programs do all of the work, side by side.
    fn work(&mut self, programs: &[Program]) {
        for receivers in [0, 1, 4] {
            let start = |program| match receivers {
                0 => Session::alone(program),
                _ => Session::start(program, receivers, Cores::Any),
            };
            let mut sessions = sessions(programs, start);
            for work in WORK.into_iter().filter(|work| work.receivers == receivers) {
                self.rounds(&mut sessions, work);
            }
        }
        // Where the system puts two processes decides more of a round trip than what they do.
        let mut sessions = sessions(programs, |it| Session::start(it, 1, Cores::one_each(2)));
        self.rounds(&mut sessions, Work { row: Row::Half, receivers: 1, order: PING });
    }

    fn rounds(&mut self, sessions: &mut [(Program, Session)], work: Work) {
        let mut done = BTreeSet::new();
        let mut spent: BTreeMap<Program, Spent> = BTreeMap::new();
        for _ in 0..ROUNDS {
            for (program, session) in &mut *sessions {
                if done.contains(program) {
                    continue;
                }
                let took = match session.measure(work.order) {
                    Ok(Some(measured)) => {
                        let spent = spent.entry(*program).or_default();
                        spent.processor += measured.processor;
                        self.note(work, *program, &measured, &mut spent.amount)
                    }
                    Ok(None) => LONG, // It knows no such thing.
                    Err(error) => {
                        println!("{}: {error}", program.title());
                        LONG
                    }
                };
                if LONG <= took {
                    done.insert(*program);
                }
            }
        }
        let of_floods = spent.into_iter().filter(|(_, spent)| 0.0 < spent.amount);
        for (program, Spent { amount, processor }) in of_floods {
            let cells = self.by_processor.entry((work.row, program)).or_default();
            cells.push(amount / processor);
        }
    }

    /// Writes down what came of some work, and adds how much it was; returns the seconds that a flood took.
    fn note(&mut self, work: Work, program: Program, measured: &Measured, amount: &mut f64) -> f64 {
        let Measured { times, processor } = measured;
        let (events, bytes) = match work.order {
            Order::Flood { events, bytes } | Order::Within { events, bytes } => (events, bytes),
            Order::Ping { pings, .. } => {
                for (row, time) in [Row::Half, Row::Most].into_iter().zip(times) {
                    self.add(row, program, time * 1e6);
                }
                self.add(Row::PingProcessor, program, processor * 1e6 / pings as f64);
                return 0.0;
            }
            Order::Resume => {
                times.iter().for_each(|time| self.add(work.row, program, time * 1e3));
                return 0.0;
            }
        };
        let all = (events * u64::from(work.receivers.max(1))) as f64;
        let handled = if work.row == Row::Bulk { all * bytes as f64 / 1e6 } else { all };
        let took = times.first().copied().unwrap_or(f64::NAN);
        *amount += handled;
        self.add(work.row, program, handled / took);
        took
    }

    fn print(&self, programs: &[Program]) {
        let names = programs.iter().map(|program| format!("{:>20}", program.title()));
        println!("\n{:<32}{}", "by the clock on the wall", names.collect::<String>());
        for row in Row::ALL {
            print_row(row, programs, &self.by_clock);
        }
        println!("\nby the processor time of all processes");
        for row in Row::ALL.into_iter().filter(|row| row.is_rate()) {
            print_row(row, programs, &self.by_processor);
        }
        println!("{EXPLANATION}");
    }
}

/// Each median, and how many times as good that of synod is.
fn print_row(row: Row, programs: &[Program], figures: &Cells) {
    let cell = |program: Program| median(figures.get(&(row, program))?.clone());
    let ours = cell(Program::Synod);
    let cells = programs.iter().map(|program| match (cell(*program), ours) {
        (None, _) => String::from("-"),
        (Some(other), Some(ours)) if *program != Program::Synod => {
            let times = if row.is_rate() { ours / other } else { other / ours };
            format!("{} ({times:.2}x)", grouped(other, row.digits()))
        }
        (Some(figure), _) => grouped(figure, row.digits()),
    });
    let cells: String = cells.map(|cell| format!("{cell:>20}")).collect();
    println!("{:<32}{cells}", row.title());
}

const EXPLANATION: &str = "\
(x): how many times as much, or in how many times less time, synod does it. For round trips each process
has a core of its own, where there are two and taskset; elsewhere they run where the system puts them.
synod keeps what it sends until it is acknowledged, and hands events over exactly once and in order, also
when a connection is lost; both ends prove who they are; all that waits is bounded. In each process one thread
runs handlers and one does everything of QUIC; between processes ractor has as many threads as there are cores.
bare quinn: the same certificates, ciphers, windows and socket buffers, one stream each, many frames in a write; it
decodes nothing, keeps nothing for a connection that is lost, and one thread does all. Its packets have 1,452
bytes, as quinn has them by itself; large ones up to 6,500, as synod has them. TCP: encrypts nothing; a
connection for each order. In one process the column of bare quinn is a bounded queue of tokio.
A first connection of bare quinn is there when an event has gone to and fro, since only then each has verified
the other; one of synod when both have said hello, and its time has in it the start of the node. What the others
resume is a new connection and an event to and fro, and what was under way is gone.
ractor: casts without a bound; its connection ends when it is lost. Over quinn, it has one stream of the
transport, with the windows and packets that quinn has by itself. kameo: in one process alone, with a
bounded mailbox; its remote half, over libp2p, is NOT MEASURED.
In one process a task hands over 64 bytes: to synod encoded, to the others as they are, cloned for each.
Within a node, handlers of synod trigger events for each other, encoded, 500 in a step.";

/// The processes of all programs that are measured so.
fn sessions(
    programs: &[Program],
    start: impl Fn(Program) -> Result<Option<Session>, String>,
) -> Vec<(Program, Session)> {
    let mut sessions = Vec::new();
    for program in programs {
        match start(*program) {
            Ok(session) => sessions.extend(session.map(|it| (*program, it))),
            Err(error) => println!("{}: {error}", program.title()),
        }
    }
    sessions
}

fn median(mut figures: Vec<f64>) -> Option<f64> {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied()
}

/// 1234567 as 1,234,567.
fn grouped(figure: f64, digits: usize) -> String {
    let text = format!("{figure:.digits$}");
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let groups = whole.as_bytes().rchunks(3).rev();
    let groups: Vec<_> = groups.map(|group| String::from_utf8_lossy(group).into_owned()).collect();
    groups.join(",") + rest
}
