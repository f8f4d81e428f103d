//! What can happen in a state of an exploration, and how a schedule calls it.

use synod_core::{Catalogue, Input, NodeId, TimerId};

use crate::explore::{Parcel, State, Worker};
use crate::trace::{MessageId, Step, StepKind};

/// One transition.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Action {
    pub(crate) act: Act,
    /// Where in the handler its node crashes, if it does.
    pub(crate) cut: Option<Cut>,
    /// What the handler is answered when it asks for a choice; 0 beyond.
    choices: Vec<u32>,
}

/// What happens.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Act {
    Start,
    /// Of what stands at this place of [`State::wire`].
    Deliver {
        at: usize,
    },
    Lose {
        at: usize,
    },
    /// A delivery after which the same is still under way.
    Repeat {
        at: usize,
    },
    Fire {
        node: NodeId,
        id: TimerId,
    },
    Tick,
    Crash {
        node: NodeId,
        losing: bool,
    },
    /// A node comes back, without so many of its last records.
    Restart {
        node: NodeId,
        lost: u32,
    },
}

/// A crash between two effects of one handler.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Cut {
    /// So many effects have left.
    pub(crate) after: usize,
    /// Whether what the node has under way is lost with it.
    pub(crate) losing: bool,
}

impl Cut {
    /// Every place between `effects` effects. Before the first and after the last one the crash
    /// is a transition of its own.
    pub(crate) fn all(effects: usize) -> impl Iterator<Item = Self> {
        (1..effects).flat_map(|after| [false, true].map(|losing| Self { after, losing }))
    }
}

impl Cut {
    /// What a trace says of it.
    pub(crate) fn in_words(self) -> String {
        format!("crashes after {} effects", self.after)
    }
}

impl Action {
    /// The first words of their names.
    pub(crate) const VERBS: [&str; 8] =
        ["start", "deliver", "repeat", "lose", "fire", "tick", "crash", "restart"];

    /// Whether a text may be the name of an action, in whatever state of whatever algorithm.
    pub(crate) fn may_be_named(name: &str) -> bool {
        let base = Self::parts(name).map(|(base, ..)| base);
        base.and_then(|base| base.split(' ').next()).is_some_and(|it| Self::VERBS.contains(&it))
    }

    /// What leads to the first state.
    pub(crate) const START: Self = Self::of(Act::Start);

    pub(crate) const fn of(act: Act) -> Self {
        Self { act, cut: None, choices: Vec::new() }
    }

    pub(crate) fn choosing(self, choices: Vec<u32>) -> Self {
        Self { choices, ..self }
    }

    pub(crate) fn cut(self, cut: Cut) -> Self {
        Self { cut: Some(cut), ..self }
    }

    pub(crate) fn choices(&self) -> &[u32] {
        &self.choices
    }

    pub(crate) fn is_tick(&self) -> bool {
        self.act == Act::Tick
    }

    /// The name of what happens in `state`, without the crash and the choices in it.
    pub(crate) fn name(&self, worker: &Worker<'_>, state: &State) -> String {
        let catalogue = worker.setting().catalogue;
        let event = |input: Option<&Input>| match input {
            Some(Input::Deliver { envelope, .. } | Input::Trigger(envelope)) => {
                catalogue.name(envelope.event())
            }
            other => other.map(|input| format!("{input:?}")).unwrap_or_default(),
        };
        match self.act {
            Act::Start => String::from("start"),
            Act::Deliver { at } | Act::Repeat { at } | Act::Lose { at } => {
                let Some(parcel) = worker.at(state, at) else {
                    return String::new();
                };
                let (verb, always) = match self.act {
                    Act::Repeat { .. } => ("repeat", false),
                    Act::Lose { .. } => ("lose", true),
                    _ => ("deliver", false),
                };
                let (from, to, _) = parcel.link;
                let index = worker.before(state, at);
                let nth = if always || 0 < index { format!(" #{index}") } else { String::new() };
                format!("{verb} {} {from}>{to}{nth}", event(Some(&parcel.input)))
            }
            Act::Fire { node, id } => match worker.timer(state, node, id) {
                Some(armed) => {
                    let (name, shown) = (catalogue.name(armed.event()), catalogue.show(&armed));
                    // A name is a line of a schedule, whatever an event writes of itself.
                    format!("fire {name} {node} {}", shown.replace(['\n', '\r'], " "))
                }
                None => format!("fire {node}"),
            },
            Act::Tick => String::from("tick"),
            Act::Crash { node, losing: false } => format!("crash {node}"),
            Act::Crash { node, losing: true } => format!("crash {node} losing"),
            Act::Restart { node, lost: 0 } => format!("restart {node}"),
            Act::Restart { node, lost } => format!("restart {node} without {lost}"),
        }
    }

    /// The whole name.
    pub(crate) fn full_name(&self, worker: &Worker<'_>, state: &State) -> String {
        self.name(worker, state) + &self.ending()
    }

    /// The choices and the crash in the action, as they end its name.
    pub(crate) fn ending(&self) -> String {
        let mut ending = String::new();
        if !self.choices.is_empty() {
            let choices: Vec<String> = self.choices.iter().map(ToString::to_string).collect();
            ending += &format!(" | choosing {}", choices.join(","));
        }
        if let Some(Cut { after, losing }) = self.cut {
            let losing = if losing { " losing" } else { "" };
            ending += &format!(" | crashing after {after}{losing}");
        }
        ending
    }

    /// The start that a path of names begins with, and the rest. A calm start has no name.
    pub(crate) fn start_of(names: &[String]) -> (Self, &[String]) {
        let named = names.split_first().and_then(|(first, rest)| match Self::parts(first)? {
            ("start", None, choices) => Some((Self::START.choosing(choices), rest)),
            _ => None,
        });
        named.unwrap_or((Self::START, names))
    }

    /// Takes a whole name apart: what happens, the crash in it, the choices in it. From the end,
    /// because an event may say anything.
    pub(crate) fn parts(name: &str) -> Option<(&str, Option<Cut>, Vec<u32>)> {
        let (mut base, mut cut, mut choices) = (name, None, Vec::new());
        if let Some((before, after)) = base.rsplit_once(" | crashing after ") {
            let losing = after.strip_suffix(" losing");
            let after = losing.unwrap_or(after).parse().ok()?;
            (base, cut) = (before, Some(Cut { after, losing: losing.is_some() }));
        }
        if let Some((before, list)) = base.rsplit_once(" | choosing ") {
            choices = list.split(',').map(|it| it.parse().ok()).collect::<Option<_>>()?;
            base = before;
        }
        Some((base, cut, choices))
    }

    /// The action as a step of a trace.
    pub(crate) fn step(&self, worker: &Worker<'_>, state: &State) -> Step {
        let catalogue = worker.setting().catalogue;
        let mut step = match self.act {
            Act::Start => Step::says(StepKind::Start, None, "starts"),
            Act::Tick => Step::says(StepKind::Tick, None, "time passes"),
            Act::Crash { node, losing } => {
                let words = if losing { "crashes, its messages with it" } else { "crashes" };
                Step::says(StepKind::Crash, Some(node), words)
            }
            Act::Restart { node, lost: 0 } => Step::says(StepKind::Restart, Some(node), "restarts"),
            Act::Restart { node, lost } => {
                let words = format!("restarts, its last {lost} record(s) lost");
                Step::says(StepKind::Restart, Some(node), words)
            }
            Act::Fire { node, id } => match worker.timer(state, node, id) {
                Some(armed) => Step::of(StepKind::Timer, node, &armed, catalogue),
                None => Step::says(StepKind::Timer, Some(node), "a timer"),
            },
            Act::Deliver { at } | Act::Repeat { at } | Act::Lose { at } => {
                let lost = matches!(self.act, Act::Lose { .. });
                let kind = if lost { StepKind::Lost } else { StepKind::Deliver };
                match worker.at(state, at) {
                    Some(parcel) => message(parcel, kind, catalogue),
                    None => Step::says(kind, None, ""),
                }
            }
        };
        step.log.extend(self.cut.map(Cut::in_words));
        step
    }
}

fn message(parcel: &Parcel, kind: StepKind, catalogue: &Catalogue) -> Step {
    let (from, to, _) = parcel.link;
    match &parcel.input {
        Input::Deliver { envelope, .. } => {
            let message = Some(MessageId { from, number: 0 });
            Step { message, ..Step::of(kind, to, envelope, catalogue) }
        }
        Input::Trigger(envelope) => Step::of(StepKind::Told, to, envelope, catalogue),
        other => Step::says(StepKind::Told, Some(to), format!("{other:?}")),
    }
}
