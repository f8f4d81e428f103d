//! Explored runs, continued by random walks over what can happen.

use synod_core::Random;

use super::NothingViolated;
use super::conditions::{Condition, tried};
use super::curve::Continued;
use crate::action::{Action, Cut};
use crate::explore::{Program, State, Worker, Wrong};
use crate::follow::follow;
use crate::quiet::quietly;
use crate::trace::Trace;
use crate::world::Violation;

/// A path of an exploration that ends in a violation.
pub(super) struct Walked<'a> {
    program: &'a dyn Program,
    trace: Trace,
    violation: Violation,
    /// Every action by name, the start included where it is one.
    names: &'a [String],
    actions: &'a [String],
    /// The states on the way, the violation's left out.
    states: Vec<State>,
}

/// A continued run has so many times the steps of the recorded one, at most.
const HORIZON: usize = 2;
/// Of the handlers in which a crash can fall between two effects, one in so many has it.
const CUT_ONE_IN: u64 = 8;

impl<'a> Walked<'a> {
    pub(super) fn replay(
        program: &'a dyn Program,
        names: &'a [String],
    ) -> Result<Self, NothingViolated> {
        let (trace, violation) = follow(program, names);
        let violation = violation.ok_or(NothingViolated)?;
        let states = quietly(|| states(program, names));
        let (_, actions) = Action::start_of(names);
        Ok(Self { program, trace, violation, names, actions, states })
    }

    /// Whether the path without one of its actions fails too; where another one is then not possible, it ends.
    fn fails_without(&self, action: usize) -> bool {
        let mut names = self.names.to_vec();
        names.remove(self.names.len() - self.actions.len() + action);
        let (_, violation) = follow(self.program, &names);
        violation.is_some_and(|it| it.property == self.violation.property)
    }

    /// After how many actions of the whole run a continuation fails in the same property, if it does.
    fn fails(
        &self,
        worker: &mut Worker<'_>,
        moment: usize,
        from: &State,
        random: &mut Random,
    ) -> Option<usize> {
        let mut state = from.clone();
        for taken in moment..HORIZON * self.states.len() {
            let actions = worker.actions(&state);
            let action = actions.get(below(random, actions.len()))?;
            let next = take(worker, &state, action, random);
            match next.and_then(|next| worker.check(&next).map(|()| next)) {
                Ok(next) => state = next,
                Err(wrong) => {
                    return (wrong.said().0 == self.violation.property).then_some(taken + 1);
                }
            }
        }
        None
    }
}

/// Takes an action with random answers to what its handler asks, and now and then with a crash
/// in it.
fn take(
    worker: &mut Worker<'_>,
    state: &State,
    action: &Action,
    random: &mut Random,
) -> Result<State, Wrong> {
    let mut action = action.clone();
    let mut next = State::default();
    loop {
        let Some(at) = worker.act(state, &action, &mut next)? else {
            return Ok(next);
        };
        let moved = worker.moved(at);
        let mut choices = action.choices().to_vec();
        if let Some(options) = moved.asked.get(choices.len()) {
            choices.push(u32::try_from(random.below(u64::from(*options))).unwrap_or(0));
            action = action.choosing(choices);
            continue;
        }
        let cuts: Vec<Cut> = Cut::all(moved.had).collect();
        let cut = cuts.get(below(random, cuts.len())).filter(|_| worker.may_crash(state));
        return match cut {
            Some(cut) if random.below(CUT_ONE_IN) == 0 => {
                worker.act(state, &action.cut(*cut), &mut next).map(|_| next)
            }
            _ => Ok(next),
        };
    }
}

/// The states of a path up to the one that is wrong.
fn states(program: &dyn Program, actions: &[String]) -> Vec<State> {
    let (start, actions) = Action::start_of(actions);
    let mut worker = Worker::new(program);
    let (mut state, mut next) = (State::default(), State::default());
    if worker.start(&start, &mut state).is_err() {
        return Vec::new();
    }
    let mut states = vec![state.clone()];
    for name in actions {
        let Some(action) = worker.action_named(&state, name) else {
            break;
        };
        if worker.act(&state, &action, &mut next).is_err() || worker.check(&next).is_err() {
            break;
        }
        std::mem::swap(&mut state, &mut next);
        states.push(state.clone());
    }
    states
}

/// Whether something goes wrong in an action, by its name.
fn is_fault(action: &str) -> bool {
    let begins = ["crash ", "lose ", "repeat "];
    begins.iter().any(|verb| action.starts_with(verb)) || action.contains(" | crashing after ")
}

fn below(random: &mut Random, count: usize) -> usize {
    usize::try_from(random.below(count.max(1) as u64)).unwrap_or(0)
}

impl Continued for Walked<'_> {
    fn moments(&self) -> usize {
        self.states.len()
    }

    /// The first steps of the trace are the starts of the nodes.
    fn step(&self, moment: usize) -> Option<usize> {
        (0 < moment).then(|| self.program.setting().bounds.nodes as usize + moment - 1)
    }

    fn failed(&self, moment: usize, runs: u32) -> (u32, u32) {
        let Some(from) = self.states.get(moment) else {
            return (runs, runs);
        };
        let mut random = Random::new(moment as u64);
        let mut worker = Worker::new(self.program);
        let mut fails = || self.fails(&mut worker, moment, from, &mut random);
        let failed: Vec<usize> = quietly(|| (0..runs).filter_map(|_| fails()).collect());
        let in_time = failed.iter().filter(|it| **it <= self.states.len()).count();
        let count = |it| u32::try_from(it).unwrap_or(runs);
        (count(failed.len()), count(in_time))
    }

    fn decisions(&self, from: usize, to: usize) -> Vec<String> {
        self.actions.iter().take(to).skip(from).cloned().collect()
    }

    fn conditions(&self, until: usize) -> Vec<Condition> {
        let faults = self.actions.iter().take(until).enumerate().filter(|(_, it)| is_fault(it));
        let needed = tried(faults.collect()).into_iter().filter(|(at, _)| !self.fails_without(*at));
        let told = needed.map(|(at, action)| {
            let (moment, decisions) = (at + 1, vec![action.clone()]);
            Condition { moment, step: self.step(moment).unwrap_or(0), decisions }
        });
        told.collect()
    }

    fn trace(&self) -> &Trace {
        &self.trace
    }

    fn violation(&self) -> &Violation {
        &self.violation
    }
}
