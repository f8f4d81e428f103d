//! Tells on the standard error how far a long command is: one line that changes on a terminal, a line
//! every ten seconds elsewhere, and what runs at the moment whenever the process gets SIGUSR1.

use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use synod_simulator::{Progress, Running, Underway};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot::{Receiver, channel};
use tokio::time::{Instant as Moment, interval_at};

use crate::printer::{Printer, counted, thousands};

/// How often a line on a terminal changes, and how often there is a line elsewhere.
const TERMINAL_EVERY: Duration = Duration::from_millis(200);
const LINE_EVERY: Duration = Duration::from_secs(10);

/// How far a command is.
pub(super) trait HowFar {
    /// In one line.
    fn line(&mut self) -> String;

    /// What runs at the moment, to stand below it.
    fn runs_now(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Does `work`, and tells meanwhile how far it is. What programs read is the same whatever the time it
/// takes, so they are told nothing unless they ask by a signal.
pub(super) fn telling<R>(
    printer: &Printer,
    how_far: impl HowFar + Send,
    work: impl FnOnce() -> R,
) -> R {
    let on_terminal = io::stderr().is_terminal();
    let (working, over) = channel::<()>();
    thread::scope(|scope| {
        let every = if on_terminal { TERMINAL_EVERY } else { LINE_EVERY };
        let every = (!printer.is_for_programs()).then_some(every);
        let teller = Teller { how_far, every, on_terminal, out: io::stderr(), is_standing: false };
        scope.spawn(move || teller.tell(over));
        let _working = working; // Dropped also if the work panics.
        work()
    })
}

struct Teller<H, W> {
    how_far: H,
    /// How often it tells without being asked.
    every: Option<Duration>,
    on_terminal: bool,
    out: W,
    /// Whether a line stands on the terminal.
    is_standing: bool,
}

impl<H: HowFar, W: Write> Teller<H, W> {
    /// Until whoever works has gone. Without a runtime nothing is told, which is no reason to stop.
    fn tell(mut self, over: Receiver<()>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        if let Ok(runtime) = runtime {
            runtime.block_on(self.listen(over));
        }
        self.wipe();
    }

    async fn listen(&mut self, mut over: Receiver<()>) {
        let mut asked = signal(SignalKind::user_defined1()).ok();
        let every = self.every.unwrap_or(LINE_EVERY);
        let mut ticks = interval_at(Moment::now() + every, every);
        loop {
            tokio::select! {
                biased; // Nothing is told any more once the work is done.
                _ = &mut over => return,
                () = next(&mut asked) => self.answer(),
                _ = ticks.tick() => self.tick(),
            }
        }
    }

    fn tick(&mut self) {
        if self.every.is_none() {
            return;
        }
        let line = self.how_far.line();
        // Nobody who reads is no reason to stop.
        let _ = match self.on_terminal {
            true => write!(self.out, "\r  {line}\x1b[K").and_then(|()| self.out.flush()),
            false => writeln!(self.out, "  {line}"),
        };
        self.is_standing = self.on_terminal;
    }

    /// Tells all, in lines that stay.
    fn answer(&mut self) {
        self.wipe();
        let mut text = format!("  {}\n", self.how_far.line());
        text.extend(self.how_far.runs_now().iter().map(|line| format!("    {line}\n")));
        let _ = self.out.write_all(text.as_bytes());
    }

    fn wipe(&mut self) {
        if std::mem::take(&mut self.is_standing) {
            let _ = write!(self.out, "\r\x1b[K");
        }
    }
}

/// Resolves when somebody asks; never where nobody can.
async fn next(asked: &mut Option<Signal>) {
    match asked {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

/// How far many runs are.
#[derive(Debug)]
pub(super) struct Runs<'a> {
    underway: &'a Underway,
    all: u64,
    begun: Instant,
}

impl<'a> Runs<'a> {
    /// `all` runs are to end in `underway`.
    pub(super) fn new(underway: &'a Underway, all: u64) -> Self {
        Self { underway, all, begun: Instant::now() }
    }
}

impl HowFar for Runs<'_> {
    fn line(&mut self) -> String {
        let ended = self.underway.ended();
        let rate = rate(ended, self.begun.elapsed());
        format!("{} of {} runs · {rate}/s", thousands(ended), thousands(self.all))
    }

    fn runs_now(&self) -> Vec<String> {
        self.underway.running().iter().map(run).collect()
    }
}

fn run(running: &Running) -> String {
    let Running { seed, steps, time_us, is_shrunk, .. } = *running;
    if is_shrunk {
        return format!("seed {seed} fails, and is being shrunk");
    }
    let time = Duration::from_micros(time_us);
    format!(
        "seed {seed} · {} · {:.1} virtual seconds",
        counted(steps, "step", "steps"),
        time.as_secs_f64()
    )
}

/// How far an exploration is, as whoever watches it has been told.
#[derive(Debug)]
pub(super) struct States<'a> {
    latest: &'a Mutex<Progress>,
    /// When it was told last, and how many states there were.
    told: (Instant, u64),
}

impl<'a> States<'a> {
    pub(super) fn new(latest: &'a Mutex<Progress>) -> Self {
        Self { latest, told: (Instant::now(), 0) }
    }
}

impl HowFar for States<'_> {
    fn line(&mut self) -> String {
        let Progress { states, depth, frontier, .. } =
            *self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let (when, before) = std::mem::replace(&mut self.told, (Instant::now(), states));
        let rate = rate(states.saturating_sub(before), when.elapsed());
        let [states, frontier] = [states, frontier].map(thousands);
        format!("{states} states · {rate}/s · depth {depth} · {frontier} to go on from")
    }
}

/// So many a second.
fn rate(count: u64, time: Duration) -> String {
    let rate = u128::from(count) * 1_000 / time.as_millis().max(1);
    thousands(u64::try_from(rate).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot::Sender;

    use super::*;

    /// What is told until the first line is there: whoever works is gone then.
    struct First<'t> {
        told: &'t mut Vec<u8>,
        working: Option<Sender<()>>,
    }

    impl Write for First<'_> {
        fn write(&mut self, part: &[u8]) -> io::Result<usize> {
            self.working = None;
            self.told.write(part)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn told(how_far: impl HowFar, on_terminal: bool) -> String {
        let (working, over) = channel();
        let mut told = Vec::new();
        let out = First { told: &mut told, working: Some(working) };
        let every = Some(Duration::from_millis(1));
        Teller { how_far, every, on_terminal, out, is_standing: false }.tell(over);
        String::from_utf8(told).expect("a text")
    }

    #[test]
    fn a_terminal_has_one_line_that_is_wiped_and_a_file_has_lines() {
        let underway = Underway::default();
        let line = "  0 of 5,000 runs · 0/s";
        let terminal = told(Runs::new(&underway, 5_000), true);
        assert_eq!(terminal, format!("\r{line}\x1b[K\r\x1b[K"));
        let file = told(Runs::new(&underway, 5_000), false);
        assert!(file.lines().all(|it| it == line) && file.ends_with('\n'), "{file:?}");
    }

    #[test]
    fn an_exploration_tells_elsewhere_than_on_a_terminal_too() {
        let mut explored = Progress::default();
        (explored.states, explored.depth, explored.frontier) = (12_345, 6, 789);
        let file = told(States::new(&Mutex::new(explored)), false);
        assert!(file.starts_with("  12,345 states · "), "{file:?}");
        assert!(file.contains("/s · depth 6 · 789 to go on from\n"), "{file:?}");
    }
}
