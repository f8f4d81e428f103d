//! A path of an exploration once more, written down step by step.

use std::collections::{BTreeMap, VecDeque};
use std::hash::Hash;

use serde_json::Value;
use synod_core::{Assumption, Effect, EventId, NodeId, Stack};

use crate::action::{Act, Action};
use crate::explore::{Counterexample, check, patience};
use crate::quiet::quietly;
use crate::scenario::micros;
use crate::schedule::{Recorded, Schedule};
use crate::state::{Ground, State};
use crate::trace::{Armed, MessageId, Sent, Step, StepKind, Trace, Tracer, changes};
use crate::world::Violation;

/// A path that ends in a violation, with its schedule and its trace.
pub(crate) fn counterexample<T: Stack + Clone + Hash>(
    on: Ground<'_, T>,
    path: &[Action],
    property: String,
    reason: String,
) -> Counterexample {
    let names = names(on, path);
    let model = on.scenario.model();
    let unbounded = on.bounds.tick_us == 0 && model.delay_max().is_some();
    let schedule = Schedule {
        algorithm: String::from(on.scenario.name()),
        property: Some(property.clone()),
        dropped: unbounded.then(|| Assumption::BoundedDelay.to_string()).into_iter().collect(),
        run: Recorded::Explored { bounds: on.bounds.clone(), actions: names.clone() },
    };
    let (trace, violation) = follow(on, &names);
    let time_us = trace.steps.last().map_or(0, |step| step.time_us);
    let violation = violation.unwrap_or(Violation { property, reason, time_us });
    Counterexample { violation, text: schedule.text(&on.scenario.catalogue), schedule, trace }
}

/// The actions of a path by name, for which it has to be walked: a name tells what is delivered.
fn names<T: Stack + Clone + Hash>(on: Ground<'_, T>, path: &[Action]) -> Vec<String> {
    let mut names = Vec::new();
    let (start, path) = match path.split_first() {
        Some((start, rest)) if start.act == Act::Start => (start, rest),
        _ => (&Action::START, path),
    };
    let mut state = State::start(on, 0, start).ok().map(|moved| moved.state);
    if *start != Action::START {
        names.push(format!("start{}", start.ending()));
    }
    for action in path {
        let Some(current) = &state else {
            break;
        };
        names.push(action.full_name(current, &on.scenario.catalogue));
        state = current.act(on, action).ok().map(|moved| moved.state);
    }
    names
}

/// Takes a path of named actions once more. An action that is not possible where it stands ends
/// the path. Returns the trace, and what is violated on the way.
pub(crate) fn follow<T: Stack + Clone + Hash>(
    on: Ground<'_, T>,
    names: &[String],
) -> (Trace, Option<Violation>) {
    quietly(|| {
        let trace = Tracer::new(on.scenario.name(), on.bounds.nodes);
        let mut follower = Follower { on, trace, ticks: 0, under_way: BTreeMap::new(), sent: 0 };
        let wrong = follower.run(names).err();
        let mut trace = follower.trace.finish();
        let time_us = trace.steps.last().map_or(0, |step| step.time_us);
        let violation = wrong.map(|(property, reason)| {
            if let Some(step) = trace.steps.last_mut() {
                step.wrong = Some(format!("{property}: {reason}"));
            }
            Violation { property, reason, time_us }
        });
        (trace, violation)
    })
}

/// Walks a path and writes it down.
struct Follower<'a, T: Stack> {
    on: Ground<'a, T>,
    trace: Tracer,
    ticks: u64,
    /// The messages under way, by link and event, in the order of sending.
    under_way: BTreeMap<(NodeId, NodeId, EventId), VecDeque<MessageId>>,
    sent: u64,
}

impl<T: Stack + Clone + Hash> Follower<'_, T> {
    fn run(&mut self, names: &[String]) -> Result<(), (String, String)> {
        let (start, names) = Action::start_of(names);
        let (first, effects) = State::start_observed(self.on, patience(self.on), &start)?;
        let mut state = first.state;
        for (node, effects) in effects {
            let mut step = Step::says(StepKind::Start, Some(node), "starts");
            step.state = state.summary(node);
            step.changes = changes(&Value::Null, &state.shown(self.on.scenario, node));
            self.observe(node, effects, &mut step);
            self.trace.push(step);
        }
        check(self.on, &state)?;
        for name in names {
            let Some(action) = state.action_named(self.on, name) else {
                return Ok(());
            };
            state = self.take(&state, &action)?;
            check(self.on, &state)?;
        }
        Ok(())
    }

    fn take(&mut self, state: &State<T>, action: &Action) -> Result<State<T>, (String, String)> {
        self.ticks += u64::from(action.is_tick());
        let mut step = action.step(state, &self.on.scenario.catalogue);
        step.time_us = self.ticks * self.on.bounds.tick_us;
        if let (Some(message), Some(to)) = (&mut step.message, step.node) {
            let link = (message.from, to, EventId::of(&step.event));
            let sent = self.under_way.get_mut(&link).and_then(VecDeque::pop_front);
            *message = sent.unwrap_or(*message);
        }
        let mut effects = Vec::new();
        let moved = state.act_observed(self.on, action, &mut effects);
        if let (Ok(moved), Some(node)) = (&moved, step.node) {
            let (before, after) = (state.summary(node), moved.state.summary(node));
            step.state = after.filter(|after| before.as_ref() != Some(after));
            let shown = |state: &State<T>| state.shown(self.on.scenario, node);
            step.changes = changes(&shown(state), &shown(&moved.state));
            self.observe(node, effects, &mut step);
        }
        self.trace.push(step);
        moved.map(|moved| moved.state)
    }

    /// Writes down what a handler asked for.
    fn observe(&mut self, node: NodeId, effects: Vec<Effect>, step: &mut Step) {
        let catalogue = &self.on.scenario.catalogue;
        for effect in effects {
            match effect {
                Effect::Send { to, envelope, .. } => {
                    self.sent += 1;
                    let id = MessageId { from: node, number: self.sent };
                    let (event, payload) =
                        (catalogue.name(envelope.event()), catalogue.show(&envelope));
                    let link = (node, to, EventId::of(&event));
                    self.under_way.entry(link).or_default().push_back(id);
                    step.sends.push(Sent { id, to, event, payload, lost: None });
                }
                Effect::Timer { after, envelope, .. } => step.armed.push(Armed {
                    event: catalogue.name(envelope.event()),
                    payload: catalogue.show(&envelope),
                    after_us: micros(after),
                }),
                Effect::Output(envelope) => step.outputs.push(catalogue.show(&envelope)),
                Effect::Log(line) => step.log.push(line),
                _ => (),
            }
        }
    }
}
