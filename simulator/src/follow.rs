//! A path of an exploration once more, written down step by step.

use std::collections::{BTreeMap, VecDeque};

use serde_json::Value;
use synod_core::{Assumption, Effect, EventId, Links, Monitor, NodeId};

use crate::action::{Act, Action, Cut};
use crate::explore::{Counterexample, Program, State, Worker, Wrong, broken};
use crate::quiet::{place_of_panic, placed, quietly};
use crate::scenario::micros;
use crate::schedule::{Recorded, Schedule};
use crate::trace::{Armed, Header, MessageId, Sent, Step, StepKind, Trace, Tracer, changes};
use crate::world::{PANICS, Violation};

/// A path that ends in a violation, with its schedule and its trace.
pub(crate) fn counterexample(
    program: &dyn Program,
    path: &[Action],
    property: String,
    reason: String,
) -> Counterexample {
    let setting = program.setting();
    let names = names(program, path);
    let unbounded = setting.bounds.tick_us == 0 && setting.model.delay_max().is_some();
    let reliable = setting.model.links == Links::Reliable;
    let dropped = [
        (unbounded, Assumption::BoundedDelay),
        (setting.bounds.has_windows(), Assumption::ExactClocks),
        (reliable && setting.bounds.lossy, Assumption::NoLoss),
        (reliable && 0 < setting.bounds.copies, Assumption::NoDuplication),
        (0 < setting.bounds.lies, Assumption::KeptDisk),
    ];
    let dropped = dropped.iter().filter(|(drops, _)| *drops).map(|(_, it)| it.to_string());
    let schedule = Schedule {
        algorithm: String::from(setting.name),
        property: Some(property.clone()),
        dropped: dropped.collect(),
        run: Recorded::Explored { bounds: setting.bounds.clone(), actions: names.clone() },
    };
    let (trace, violation) = follow(program, &names);
    let properties = setting.promises.iter().map(|promise| promise.name);
    let header = Header::of(&schedule, properties, setting.catalogue);
    let trace = Trace { header, ..trace };
    let time_us = trace.steps.last().map_or(0, |step| step.time_us);
    let place = setting.declares(&property);
    let violation = violation.unwrap_or(Violation { property, reason, time_us, place });
    Counterexample { violation, text: schedule.text(setting.catalogue), schedule, trace }
}

/// The actions of a path by name, for which it has to be walked: a name tells what is delivered.
fn names(program: &dyn Program, path: &[Action]) -> Vec<String> {
    let mut worker = Worker::new(program);
    let (start, path) = match path.split_first() {
        Some((start, rest)) if start.act == Act::Start => (start, rest),
        _ => (&Action::START, path),
    };
    let mut names = Vec::new();
    if *start != Action::START {
        names.push(format!("start{}", start.ending()));
    }
    let (mut state, mut next) = (State::default(), State::default());
    let mut walks = worker.start(start, &mut state).is_ok();
    for action in path {
        if !walks {
            break;
        }
        names.push(action.full_name(&worker, &state));
        walks = worker.act(&state, action, &mut next).is_ok();
        std::mem::swap(&mut state, &mut next);
    }
    names
}

/// Takes a path of named actions once more. An action that is not possible where it stands ends
/// the path. Returns the trace, and what is violated on the way.
pub(crate) fn follow(program: &dyn Program, names: &[String]) -> (Trace, Option<Violation>) {
    quietly(|| {
        let setting = program.setting();
        let trace = Tracer::new(setting.name, setting.bounds.nodes);
        let worker = Worker::new(program);
        let mut follower = Follower {
            worker,
            trace,
            ticks: 0,
            under_way: BTreeMap::new(),
            sent: 0,
            monitors: program.observe(),
            explained: None,
        };
        let wrong = follower.run(names).err().map(Wrong::said);
        let same = |it: &(String, String)| wrong.as_ref().is_some_and(|wrong| wrong.0 == it.0);
        let wrong = follower.explained.filter(same).or(wrong);
        let mut trace = follower.trace.finish();
        let time_us = trace.steps.last().map_or(0, |step| step.time_us);
        let violation = wrong.map(|(property, reason)| {
            if let Some(step) = trace.steps.last_mut() {
                step.wrong = Some(format!("{property}: {reason}"));
            }
            let place =
                if property == PANICS { place_of_panic() } else { setting.declares(&property) };
            Violation { property, reason, time_us, place }
        });
        (trace, violation)
    })
}

/// Walks a path and writes it down.
struct Follower<'a> {
    worker: Worker<'a>,
    trace: Tracer,
    ticks: u64,
    /// The messages under way, by link and event, in the order of sending.
    under_way: BTreeMap<(NodeId, NodeId, EventId), VecDeque<MessageId>>,
    sent: u64,
    monitors: Vec<(&'static str, Monitor)>,
    /// Which monitor was the first to find something wrong, and what.
    explained: Option<(String, String)>,
}

impl Follower<'_> {
    fn run(&mut self, names: &[String]) -> Result<(), Wrong> {
        let (start, names) = Action::start_of(names);
        let mut state = State::default();
        self.worker.start(&start, &mut state)?;
        for (node, effects, cut) in self.worker.start_effects(&start) {
            let place = Worker::place(&state, node);
            let mut step = Step::says(StepKind::Start, Some(node), "starts");
            step.log.extend(cut.map(Cut::in_words));
            step.state = self.worker.program().summary(place);
            step.changes = changes(&Value::Null, &self.worker.program().shown(place));
            self.observe(node, effects, &mut step);
            self.trace.push(step);
        }
        self.worker.check(&state)?;
        let (mut states, mut actions) = (vec![state.clone()], Vec::new());
        for name in names {
            let Some(action) = self.worker.action_named(&state, name) else {
                return Ok(());
            };
            state = self.take(&state, &action)?;
            self.worker.check(&state)?;
            states.push(state.clone());
            actions.push(action);
        }
        let live = self.worker.setting().live;
        let broken = if live { broken(&mut self.worker, &states, &actions) } else { None };
        broken.map_or(Ok(()), Err)
    }

    fn take(&mut self, state: &State, action: &Action) -> Result<State, Wrong> {
        self.ticks += u64::from(action.is_tick());
        let mut step = action.step(&self.worker, state);
        step.time_us = self.worker.setting().bounds.time_us(self.ticks);
        if let (Some(message), Some(to)) = (&mut step.message, step.node) {
            let link = (message.from, to, EventId::of(&step.event));
            let comes_again = match action.act {
                Act::Deliver { at } => self.worker.at(state, at).is_some_and(|it| it.stays),
                act => matches!(act, Act::Repeat { .. }),
            };
            let sent = self.under_way.entry(link).or_default();
            let first = if comes_again { sent.front().copied() } else { sent.pop_front() };
            *message = first.unwrap_or(*message);
        }
        let mut next = State::default();
        let moved = self.worker.act(state, action, &mut next);
        if let (Ok(_), Some(node)) = (&moved, step.node) {
            let program = self.worker.program();
            let [before, after] = [state, &next].map(|state| Worker::place(state, node));
            let summary = program.summary(after);
            step.state = summary.filter(|after| program.summary(before).as_ref() != Some(after));
            step.changes = changes(&program.shown(before), &program.shown(after));
            let effects = self.worker.effects(state, action);
            self.observe(node, effects, &mut step);
        }
        self.trace.push(step);
        moved.map(|_| next)
    }

    /// Writes down what a handler asked for.
    fn observe(&mut self, node: NodeId, effects: Vec<Effect>, step: &mut Step) {
        let catalogue = self.worker.setting().catalogue;
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
                Effect::Output(envelope) => {
                    for (name, monitor) in &mut self.monitors {
                        let found = monitor(node, &envelope).err();
                        let found = found.map(|reason| (String::from(*name), placed(reason)));
                        self.explained = self.explained.take().or(found);
                    }
                    step.indicates(node, &envelope, catalogue, self.worker.setting().clients);
                }
                Effect::Log(line) => step.log.push(line),
                _ => (),
            }
        }
    }
}
