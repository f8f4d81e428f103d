//! What every way to explore shares: where it stands, what it found, whom it tells.

use std::ops::ControlFlow;

use synod_core::Kind;

use super::place::Program;
use super::report::{Explored, Folded, Limit, Progress};
use super::setting::Wrong;
use super::state::{Live, State, rename};
use super::worker::{Worker, successor};
use crate::action::Action;

/// Whoever watches an exploration: it goes on unless they break.
pub(super) type Watch<'a> = &'a mut dyn FnMut(&Progress) -> ControlFlow<()>;

/// An exploration under way.
pub(super) struct Search<'a, 'w> {
    pub(super) program: &'a dyn Program,
    /// What is large and handed on often has its place.
    pub(super) found: Box<Explored>,
    /// The properties that should hold in some state and have not yet.
    pub(super) never: Vec<usize>,
    pub(super) states_max: u64,
    /// With so many local states and parcels, those of no state that is still needed are swept out.
    sweep_at: usize,
    watch: Option<Watch<'w>>,
}

/// Local states and parcels below which sweeping does not pay.
const SWEEP_MIN: usize = 1 << 15;

/// Transitions, or states, between two times that whoever watches is told.
const TELL_EVERY: u64 = 4_096;

/// Why an exploration ends before it is complete.
pub(super) enum Stop {
    Cut(Limit),
    /// The run that is wrong, and what is wrong with it.
    Wrong(Vec<Action>, Wrong),
}

impl<'a, 'w> Search<'a, 'w> {
    #[inline(never)] // Its frame is not under the search.
    pub(super) fn new(program: &'a dyn Program, watch: Option<Watch<'w>>) -> Self {
        let setting = program.setting();
        let (untimed, repeats) = (setting.bounds.tick_us == 0, setting.bounds.repeats_for_ever());
        let folded = setting.group.as_ref().map(|group| Folded {
            nodes: group.nodes().to_vec(),
            permutations: group.order(),
            states: 0,
        });
        let mut found =
            Box::new(Explored { folded, collected: setting.collected(), ..Explored::default() });
        let mut never = Vec::new();
        for (index, promise) in setting.promises.iter().enumerate() {
            match promise.kind {
                Kind::Eventually { .. } if untimed => found.skipped.push(promise.name),
                Kind::AtRest if repeats => found.skipped.push(promise.name),
                Kind::Monitor if !promise.remembered => found.skipped.push(promise.name),
                Kind::Sometimes => never.push(index),
                _ => (),
            }
        }
        let states_max = setting.bounds.states_max.min(u64::from(u32::MAX) - 1);
        Self { program, found, never, states_max, sweep_at: SWEEP_MIN, watch }
    }

    fn kept(&self) -> usize {
        self.program.places() + self.program.setting().parcels.len()
    }

    /// Whether it is time to sweep out what no state has that is still needed.
    pub(super) fn is_full(&self) -> bool {
        self.sweep_at <= self.kept()
    }

    /// Nothing is live yet.
    pub(super) fn live(&self) -> Live {
        Live::none_of(self.program.places(), self.program.setting().parcels.len())
    }

    /// Forgets what is not live. Returns the new numbers of local states and of parcels by the old
    /// ones. All workers have to forget what they know.
    pub(super) fn sweep(&mut self, live: &Live) -> [Vec<u32>; 2] {
        self.found.places = self.found.places.max(self.program.places() as u64);
        let places = self.program.keep_only(&live.places);
        let parcels = self.program.setting().parcels.keep(&live.parcels);
        self.sweep_at = SWEEP_MIN.max(self.kept() + self.kept() / 2);
        [places, parcels]
    }

    pub(super) fn tell(&mut self, progress: Progress) -> ControlFlow<()> {
        self.watch.as_mut().map_or(ControlFlow::Continue(()), |watch| watch(&progress))
    }

    /// Forgets what no state of a run has, and what `worker` knows.
    pub(super) fn sweep_run(&mut self, worker: &mut Worker<'_>, run: &mut [&mut State]) {
        let mut live = self.live();
        for state in run.iter() {
            live.mark(&state.places, &state.wire);
        }
        let [new_places, new_parcels] = self.sweep(&live);
        for state in run.iter_mut() {
            rename(&mut state.places, &new_places);
            rename(&mut state.wire, &new_parcels);
        }
        worker.forget();
    }

    /// Tells how far it is every few thousand transitions, with the run that it is at.
    pub(super) fn tell_now_and_then(&mut self, run: usize) -> Result<(), Stop> {
        let Explored { states, transitions, .. } = *self.found;
        if !transitions.is_multiple_of(TELL_EVERY) {
            return Ok(());
        }
        let depth = u32::try_from(run).unwrap_or(u32::MAX);
        let told = self.tell(Progress { states, transitions, depth, frontier: run as u64 });
        if told.is_break() { Err(Stop::Cut(Limit::Watcher)) } else { Ok(()) }
    }

    /// Tells, while the states are gone through once more, how many are still to go.
    pub(super) fn tell_again(&mut self, done: u64) -> Result<(), Stop> {
        if !done.is_multiple_of(TELL_EVERY) {
            return Ok(());
        }
        let Explored { states, transitions, depth, .. } = *self.found;
        let frontier = states.saturating_sub(done);
        let told = self.tell(Progress { states, transitions, depth, frontier });
        if told.is_break() { Err(Stop::Cut(Limit::Watcher)) } else { Ok(()) }
    }

    /// Takes note of what happens in a state that should happen in some.
    pub(super) fn note(&mut self, worker: &mut Worker<'_>, state: &State) {
        self.never.retain(|never| !worker.holds(state, *never));
    }

    /// The actions of a path that is given by which transition was taken in each state.
    pub(super) fn actions(&self, path: &[u32]) -> Vec<Action> {
        let mut worker = Worker::new(self.program);
        let mut actions = Vec::new();
        let Some((start, path)) = path.split_first() else {
            return actions;
        };
        let Some((action, begun)) = starts(&mut worker).into_iter().nth(*start as usize) else {
            return actions;
        };
        actions.push(action);
        let Ok(mut state) = begun else {
            return actions;
        };
        for wanted in path {
            let mut taken = None;
            let flow = worker.expand(&state, &mut |_, step| {
                if step.ordinal < *wanted {
                    return ControlFlow::Continue(());
                }
                taken = Some((step.action.clone(), step.outcome.ok().map(|next| next.clone())));
                ControlFlow::Break(())
            });
            debug_assert!(flow.is_break(), "the path was taken before");
            let Some((action, next)) = taken else {
                break;
            };
            actions.push(action);
            match next {
                Some(next) => state = next,
                None => break,
            }
        }
        actions
    }
}

/// What is done at the start, and the first state that it leads to.
pub(super) type Start = (Action, Result<State, Wrong>);

/// The first states: one for each way to answer what is asked at the start, up to one that is
/// wrong.
pub(super) fn starts(worker: &mut Worker<'_>) -> Vec<Start> {
    let mut all = Vec::with_capacity(1); // Seldom more.
    let mut waiting = Some(Action::START);
    while let Some(start) = waiting.take() {
        let (start, begun) = add_start(&mut all, start);
        let Ok(state) = begun else { break };
        match worker.start(start, state) {
            Ok(asked) => {
                let other = successor(start.choices(), &asked);
                waiting = other.map(|choices| Action::START.choosing(choices));
            }
            Err(wrong) => *begun = Err(wrong),
        }
    }
    all
}

/// Makes the state where it stays.
#[inline(never)] // As `Search::new`.
fn add_start(all: &mut Vec<Start>, start: Action) -> &mut Start {
    all.push((start, Ok(State::default())));
    all.last_mut().expect("it was just added")
}
