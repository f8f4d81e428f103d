//! What nodes cost each other over QUIC, side by side with bare quinn, plain TCP and other runtimes.
//!
//! `cargo bench -p synod-tests --bench quic`, or `-- connect` for first connections alone. Sender and receivers are processes of their own on the
//! loopback interface, and do the same work. The programs take turns, so that a busy machine slows
//! all of them; figures are medians. Others are built in `tests/peers-quic`; where that is impossible,
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

use std::collections::BTreeMap;

use child::Order;
use program::{Cores, Measured, Program, Session};

/// How often each program does the same work.
const TURNS: usize = 3;

fn main() {
    if program::is_child() {
        return;
    }
    let programs = Program::all();
    let mut figures = Figures::default();
    let only_connects = std::env::args().any(|word| word == "connect");
    for _ in 0..TURNS {
        for program in &programs {
            figures.take(*program, only_connects);
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

/// A flood: its row, how many receivers there are, how many events each gets, of how many bytes.
const FLOODS: [(Row, u32, u64, usize); 5] = [
    (Row::Small, 1, 1_000_000, 64),
    (Row::Large, 1, 128_000, 1_024),
    (Row::Bulk, 1, 2_000, BULK_BYTES),
    (Row::SmallToFour, 4, 250_000, 64),
    (Row::LargeToFour, 4, 32_000, 1_024),
];
/// As large as the largest frame of the transport allows, about.
const BULK_BYTES: usize = 60_000;
const EVENTS_IN_PROCESS: u64 = 2_000_000;
const PING_BYTES: usize = 64;
const PINGS: u64 = 30_000;
/// How often two processes connect for the first time in each turn.
const STARTS: usize = 10;
/// How often a connection is lost in each turn.
const RESUMES: usize = 5;

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

/// What was measured: by the clock on the wall, and by the processor time of all processes.
#[derive(Default)]
struct Figures(BTreeMap<(Row, Program), Vec<Figure>>);

/// By the clock on the wall, and, where it is another figure, by processor time.
type Figure = (f64, Option<f64>);

impl Figures {
    fn add(&mut self, row: Row, program: Program, wall: f64, processor: Option<f64>) {
        self.0.entry((row, program)).or_default().push((wall, processor));
    }

    /// Lets a program do all of its work once, or connect alone.
    fn take(&mut self, program: Program, only_connects: bool) {
        let taken = self.connect(program).and_then(|()| {
            if only_connects {
                return Ok(());
            }
            self.flood_alone(program)?;
            for receivers in [1, 4] {
                self.talk(program, receivers)?;
            }
            self.ping(program)
        });
        if let Err(error) = taken {
            println!("{}: {error}", program.title());
        }
    }

    fn connect(&mut self, program: Program) -> Result<(), String> {
        for _ in 0..STARTS {
            let Some(session) = Session::start(program, 1, Cores::Any)? else { break };
            self.add(Row::Connect, program, session.ready_after * 1e3, None);
        }
        Ok(())
    }

    fn flood_alone(&mut self, program: Program) -> Result<(), String> {
        let Some(mut session) = Session::alone(program)? else { return Ok(()) };
        let events = EVENTS_IN_PROCESS;
        let flood = (Row::InProcess, Order::Flood { events, bytes: 64 });
        let within = (Row::Within, Order::Within { events, bytes: 64 });
        for (row, order) in [flood, within] {
            if let Some(measured) = session.measure(order)? {
                let (wall, processor) = measured.rates(events as f64);
                self.add(row, program, wall, Some(processor));
            }
        }
        Ok(())
    }

    fn talk(&mut self, program: Program, receivers: u32) -> Result<(), String> {
        let Some(mut session) = Session::start(program, receivers, Cores::Any)? else {
            return Ok(());
        };
        let floods = FLOODS.into_iter().filter(|(_, count, ..)| *count == receivers);
        for (row, _, events, bytes) in floods {
            let order = Order::Flood { events, bytes };
            let Some(measured) = session.measure(order)? else { continue };
            let all = (events * u64::from(receivers)) as f64;
            let amount = if row == Row::Bulk { all * bytes as f64 / 1e6 } else { all };
            let (wall, processor) = measured.rates(amount);
            self.add(row, program, wall, Some(processor));
        }
        if receivers == 1 {
            self.resume(program, &mut session)?;
        }
        Ok(())
    }

    /// Where the system puts two processes decides more of a round trip than what they do.
    fn ping(&mut self, program: Program) -> Result<(), String> {
        let Some(mut session) = Session::start(program, 1, Cores::one_each(2))? else {
            return Ok(());
        };
        let order = Order::Ping { pings: PINGS, bytes: PING_BYTES };
        if let Some(Measured { times, processor }) = session.measure(order)? {
            for (row, time) in [Row::Half, Row::Most].into_iter().zip(times) {
                self.add(row, program, time * 1e6, None);
            }
            self.add(Row::PingProcessor, program, processor * 1e6 / PINGS as f64, None);
        }
        Ok(())
    }

    fn resume(&mut self, program: Program, session: &mut Session) -> Result<(), String> {
        for _ in 0..RESUMES {
            let Some(Measured { times, .. }) = session.measure(Order::Resume)? else { break };
            times.into_iter().for_each(|time| self.add(Row::Resume, program, time * 1e3, None));
        }
        Ok(())
    }

    fn print(&self, programs: &[Program]) {
        let names = programs.iter().map(|program| format!("{:>20}", program.title()));
        println!("\n{:<32}{}", "by the clock on the wall", names.collect::<String>());
        for row in Row::ALL {
            self.print_row(row, programs, |(wall, _)| Some(*wall));
        }
        println!("\nby the processor time of all processes");
        for row in Row::ALL.into_iter().filter(|row| row.is_rate()) {
            self.print_row(row, programs, |(_, processor)| *processor);
        }
        println!("{EXPLANATION}");
    }

    /// Each median, and how many times as good that of synod is.
    fn print_row(&self, row: Row, programs: &[Program], figure: impl Fn(&Figure) -> Option<f64>) {
        let cell = |program: Program| {
            let all = self.0.get(&(row, program)).into_iter().flatten();
            median(all.filter_map(&figure).collect())
        };
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
}

const EXPLANATION: &str = "\
(x): how many times as much, or in how many times less time, synod does it. For round trips each process
has a core of its own, where there are two and taskset; elsewhere they run where the system puts them.
synod keeps what it sends until it is acknowledged, and hands events over exactly once and in order, also
when a connection is lost; both ends prove who they are; all that waits is bounded.
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
