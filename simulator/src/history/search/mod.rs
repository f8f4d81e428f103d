//! The search for an order, over numbers: which states and which operations they stand for, it
//! does not know. So it is compiled once, for every specification.

mod bits;
mod chains;
mod counted;
mod doom;
mod list;
mod memo;
mod reach;
mod space;
mod walk;

pub(super) use space::Space;
pub(super) use walk::{Ended, Found, Placed, Stop, Stuck};

use counted::Counted;
use doom::Doom;
use reach::Reach;
use walk::Walk;

/// A state's number.
pub(super) type StateId = u32;
/// The number of a class of operations that are equal in input and output.
pub(super) type ClassId = u32;

/// Operations to be put in an order.
#[derive(Clone, Debug)]
pub(super) struct Task {
    /// Those that took effect, sorted by return.
    pub(super) calls: Vec<Call>,
    /// Those that may take effect, sorted by invocation.
    pub(super) opens: Vec<Open>,
    /// Whether an order must keep that of time, or only that of each client.
    pub(super) in_time: bool,
}

/// An operation that took effect.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    pub(super) class: ClassId,
    pub(super) client: u32,
    pub(super) invoked: u64,
    pub(super) returned: u64,
}

/// An operation that may take effect at any time after its invocation, or never.
#[derive(Clone, Copy, Debug)]
pub(super) struct Open {
    pub(super) class: ClassId,
    pub(super) client: u32,
    pub(super) invoked: u64,
    /// When it is too late: never, for what never returned.
    pub(super) until: Option<u64>,
    /// Whether it may take effect before its invocation as well.
    pub(super) free: bool,
}

/// How many of the open operations of one kind may be used, and how many of these it is too late
/// for. All of a kind are alike but in when they become possible, or in when they cease to be; the
/// first ones are used first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Supply {
    pub(super) have: u32,
    pub(super) gone: u32,
}

/// What classes of operations do to states.
pub(super) trait Machine {
    /// The state after an operation of `class` in `state`, if it is possible there.
    fn step(&mut self, state: StateId, class: ClassId) -> Option<StateId>;
    /// How many states came up; they are numbered from 0 on.
    fn states(&self) -> StateId;
    /// Whether operations of `class` leave every state as it is.
    fn only_reads(&self, class: ClassId) -> bool;
    /// Whether an operation that need not happen is worth happening if it leads to `state`.
    fn is_worth(&self, state: StateId) -> bool;
}

/// Which operations have found their place, and which may come next.
trait Frontier {
    /// Whether every operation that took effect has its place.
    fn is_done(&self) -> bool;
    /// The operations that may come next, the most pressing first.
    fn candidates(&self, into: &mut Vec<u32>);
    /// Gives an operation its place after all that have one.
    fn lift(&mut self, call: u32);
    /// Takes back what was lifted last.
    fn unlift(&mut self, call: u32);
    /// How many of these open operations may come next, or came already. They are sorted by when it
    /// is too late for them, and then by invocation.
    fn supply(&self, opens: &[Open]) -> Supply;
    /// The last invocation among the calls that have their place: what returned before it cannot come
    /// after it. 0 if there is no time.
    fn latest(&self) -> u64;
    /// What has its place, in a form that is equal for equal sets.
    fn key(&self, into: &mut Vec<u32>);
    /// The calls that must come before any further one may be invoked.
    fn urgent(&self, into: &mut Vec<u32>);
    /// The operation that must come before any further one may be invoked.
    fn pressing(&self) -> Option<u32>;
}

/// Open operations of one class that are alike.
struct Kind {
    class: ClassId,
    opens: Vec<Open>,
}

/// Steps of the first way of searching in the first round; in unit tests so few that small histories
/// need more rounds.
const ROUND_STEPS_MAX: u64 = if cfg!(test) { 3 } else { 20_000 };
/// How many times as many steps the second way has, and the next round.
const ROUND_GROWTH: u64 = 4;

/// Looks for an order of `task` that `machine` allows, from any of `starts`. `go_on` is asked before
/// each step.
///
/// One way counts every use of an open operation. Another counts only those between two calls: then
/// each may take effect once more after every call, so that far fewer configurations differ. If there
/// is no order even so, there is none. If there is one, and it uses no operation more often than there
/// is one, it is an order of the history. If it does, such uses are counted from the first to the last,
/// and the search begins anew: as in abstraction refinement (Clarke et al., "Counterexample-guided
/// abstraction refinement", CAV 2000), what is counted grows until it suffices for an answer. Where open
/// operations can lead to many states, as appends do, that way would find ever more of them, and is
/// given up. Which way is the shorter one nobody knows, so they take turns, each time for longer.
pub(super) fn search(
    task: &Task,
    machine: &mut dyn Machine,
    starts: &[StateId],
    go_on: &mut dyn FnMut() -> bool,
) -> Ended {
    let kinds = by_class(&task.opens);
    let mut search = Search { task, kinds, starts, reach: Reach::default(), doom: None };
    let mut ways = vec![Counted::all(), Counted::none(search.kinds.len())];
    let mut most = ROUND_STEPS_MAX;
    loop {
        ways.truncate(if search.counts_all() { 1 } else { 2 });
        let is_alone = ways.len() == 1 && ROUND_STEPS_MAX < most;
        let mut place = 0;
        while let Some(counted) = ways.get_mut(place) {
            let (mut taken, mut is_over) = (0, false);
            let most = if place == 0 { most } else { most.saturating_mul(ROUND_GROWTH) };
            let mut briefly = || {
                taken += 1;
                is_over = !go_on();
                !is_over && (is_alone || taken <= most)
            };
            match search.refine(counted, machine, &mut briefly) {
                Ended::Stopped(Stop::Asked) if !is_over => place += 1,
                Ended::Stopped(Stop::Memory) if 1 < ways.len() => drop(ways.remove(place)),
                ended => return ended,
            }
        }
        most = most.saturating_mul(ROUND_GROWTH);
        // What it takes to know that is worth it only where the search is long.
        search.doom =
            search.doom.take().or_else(|| Doom::new(task, &search.kinds, starts, machine));
    }
}

struct Search<'a> {
    task: &'a Task,
    kinds: Vec<Kind>,
    starts: &'a [StateId],
    reach: Reach,
    doom: Option<Doom>,
}

impl Search<'_> {
    /// Whether only a search that counts every use is of use.
    fn counts_all(&self) -> bool {
        self.kinds.is_empty() || self.reach.is_too_much()
    }

    /// Looks for an order, and counts more for as long as one is found that uses more than there is.
    fn refine(
        &mut self,
        counted: &mut Counted,
        machine: &mut dyn Machine,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Ended {
        loop {
            let walk =
                Walk::new(self.task, &self.kinds, counted, &mut self.reach, self.doom.as_ref());
            match walk.run(self.starts, machine, go_on) {
                Ended::Found(found) if counted.more(&found.uses) => (),
                ended => return ended,
            }
        }
    }
}

fn by_class(opens: &[Open]) -> Vec<Kind> {
    let mut kinds: Vec<Kind> = Vec::new();
    let mut sorted = opens.to_vec();
    sorted
        .sort_by_key(|open| (open.class, open.free, open.until.unwrap_or(u64::MAX), open.invoked));
    let mut last = None;
    for open in sorted {
        let kind = (open.class, open.free);
        match kinds.last_mut() {
            Some(same) if last == Some(kind) => same.opens.push(open),
            _ => kinds.push(Kind { class: open.class, opens: vec![open] }),
        }
        last = Some(kind);
    }
    kinds
}
