//! Explored runs, continued by random walks over what can happen.

use std::hash::Hash;

use synod_core::{Random, Stack};

use super::NothingViolated;
use super::curve::Continued;
use crate::action::{Action, Cut};
use crate::explore::{check, patience};
use crate::follow::follow;
use crate::quiet::quietly;
use crate::state::{Ground, Moved, State};
use crate::trace::Trace;
use crate::world::Violation;

/// A path of an exploration that ends in a violation.
pub(super) struct Walked<'a, T: Stack> {
    on: Ground<'a, T>,
    trace: Trace,
    violation: Violation,
    actions: &'a [String],
    /// The states on the way, the violation's left out.
    states: Vec<State<T>>,
}

/// A continued run has so many times the steps of the recorded one, at most.
const HORIZON: usize = 2;
/// Of the handlers in which a crash can fall between two effects, one in so many has it.
const CUT_ONE_IN: u64 = 8;

type Wrong = (String, String);

impl<'a, T: Stack + Clone + Hash> Walked<'a, T> {
    pub(super) fn replay(
        on: Ground<'a, T>,
        actions: &'a [String],
    ) -> Result<Self, NothingViolated> {
        let (trace, violation) = follow(on, actions);
        let violation = violation.ok_or(NothingViolated)?;
        let states = quietly(|| states(on, actions));
        let (_, actions) = Action::start_of(actions);
        Ok(Self { on, trace, violation, actions, states })
    }

    fn fails(&self, moment: usize, from: &State<T>, random: &mut Random) -> bool {
        let mut state = from.clone();
        for _ in moment..HORIZON * self.states.len() {
            let actions = state.actions(self.on);
            let Some(action) = actions.get(below(random, actions.len())) else {
                return false;
            };
            let next = self.take(&state, action, random);
            match next.and_then(|next| check(self.on, &next).map(|()| next)) {
                Ok(next) => state = next,
                Err((property, _)) => return property == self.violation.property,
            }
        }
        false
    }

    /// Takes an action with random answers to what its handler asks, and now and then with a crash
    /// in it.
    fn take(
        &self,
        state: &State<T>,
        action: &Action,
        random: &mut Random,
    ) -> Result<State<T>, Wrong> {
        let mut action = action.clone();
        loop {
            let Moved { state: next, asked, effects } = state.act(self.on, &action)?;
            let mut choices = action.choices().to_vec();
            if let Some(options) = asked.get(choices.len()) {
                choices.push(u32::try_from(random.below(u64::from(*options))).unwrap_or(0));
                action = action.choosing(choices);
                continue;
            }
            let cuts: Vec<Cut> = Cut::all(effects).collect();
            let cut = cuts.get(below(random, cuts.len())).filter(|_| state.may_crash(self.on));
            match cut {
                Some(cut) if random.below(CUT_ONE_IN) == 0 => {
                    return state.act(self.on, &action.cut(*cut)).map(|moved| moved.state);
                }
                _ => return Ok(next),
            }
        }
    }
}

/// The states of a path up to the one that is wrong.
fn states<T: Stack + Clone + Hash>(on: Ground<'_, T>, actions: &[String]) -> Vec<State<T>> {
    let (start, actions) = Action::start_of(actions);
    let first = State::start(on, patience(on), &start).map(|moved| moved.state);
    let mut states: Vec<State<T>> = first.into_iter().collect();
    for name in actions {
        let next = states.last().and_then(|state| {
            let action = state.action_named(on, name)?;
            state.act(on, &action).ok()
        });
        match next {
            Some(Moved { state, .. }) if check(on, &state).is_ok() => states.push(state),
            _ => break,
        }
    }
    states
}

fn below(random: &mut Random, count: usize) -> usize {
    usize::try_from(random.below(count.max(1) as u64)).unwrap_or(0)
}

impl<T: Stack + Clone + Hash> Continued for Walked<'_, T> {
    fn moments(&self) -> usize {
        self.states.len()
    }

    /// The first steps of the trace are the starts of the nodes.
    fn step(&self, moment: usize) -> Option<usize> {
        (0 < moment).then(|| self.on.bounds.nodes as usize + moment - 1)
    }

    fn failed(&self, moment: usize, runs: u32) -> u32 {
        let Some(from) = self.states.get(moment) else {
            return runs;
        };
        let mut random = Random::new(moment as u64);
        let failed =
            quietly(|| (0..runs).filter(|_| self.fails(moment, from, &mut random)).count());
        u32::try_from(failed).unwrap_or(runs)
    }

    fn decisions(&self, from: usize, to: usize) -> Vec<String> {
        self.actions.iter().take(to).skip(from).cloned().collect()
    }

    fn trace(&self) -> &Trace {
        &self.trace
    }

    fn into_parts(self) -> (Trace, Violation) {
        (self.trace, self.violation)
    }
}
