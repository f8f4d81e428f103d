//! Is a run a function of its choices? It is executed twice, and compared step by step.

use std::fmt;

use serde_json::Value;
use synod_core::NodeId;

use crate::choice::Stream;
use crate::runnable::Runnable;
use crate::settings::Settings;
use crate::shown::data_of;
use crate::trace::{Change, Step, Trace, changes};

/// How often a run is executed twice to see two executions differ that did before.
const TRIES_MAX: u32 = 32;
/// Bytes of states that an execution looks at in any case, and for each of its steps. A state that grows with
/// each step would otherwise cost the square of them.
const LOOKED_MIN: usize = 8 << 20;
const LOOKED_PER_STEP: usize = 64;
/// Places in which two executions differ that are told, and characters of what is there: those around the first
/// that differs.
const PLACES_TOLD_MAX: usize = 10;
const TOLD_MAX: usize = 160;

/// The first step in which two executions of one run differ.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Divergence {
    /// The seed of the run.
    pub seed: u64,
    /// The number of the step. `None` if the executions were seen to differ, one violating a property
    /// and one not, but none of many later ones did.
    pub step: Option<usize>,
    /// Who acted.
    pub node: Option<NodeId>,
    /// Which handler ran: the event's wire name.
    pub event: String,
    /// The functions that ran, each with the file and the line that registers it.
    pub handlers: Vec<String>,
    /// What each execution did in the step, as JSON: what it sent, armed, indicated, changed.
    pub done: [String; 2],
    /// The node's state after the step in each execution, as `Debug` writes it. `None` where it was not looked
    /// at, which it is not after each step if it is large.
    pub states: [Option<String>; 2],
}

/// The state of the acting node after each step of one execution, or after some of them where states are
/// large, as `Debug` writes it. Nodes share nothing, so the others are as they were.
#[derive(Debug, Default)]
pub(crate) struct States {
    /// By ascending step.
    of_steps: Vec<(usize, String)>,
    bytes: usize,
}

impl States {
    /// Whether the state after a step is to be kept.
    pub(crate) fn may_look(&self, step: usize) -> bool {
        self.bytes <= LOOKED_MIN + LOOKED_PER_STEP * step
    }

    /// Keeps the state after a step.
    pub(crate) fn keep(&mut self, step: usize, state: String) {
        self.bytes += state.len();
        self.of_steps.push((step, state));
    }

    fn after(&self, step: usize) -> Option<&String> {
        let found = self.of_steps.binary_search_by_key(&step, |(step, _)| *step).ok()?;
        self.of_steps.get(found).map(|(_, state)| state)
    }
}

/// Whether two states are the same. The order of a map's entries is no part of it.
fn is_same(states: [Option<&String>; 2]) -> bool {
    match states {
        [Some(first), Some(second)] => first == second || data_of(first) == data_of(second),
        [first, second] => first == second,
    }
}

/// Executes a run twice, and returns the hash of its trace, if the two do the same and the node that acts
/// is in the same state after each step whose state is looked at.
pub(crate) fn audit(
    runnable: &dyn Runnable,
    settings: &Settings,
    seed: u64,
    stream: impl Fn() -> Stream,
) -> Result<String, Box<Divergence>> {
    let execute = || runnable.run_audited(settings, stream());
    let (one, other) = (execute(), execute());
    match compare(&one, &other, seed) {
        None => Ok(one.0.hash()),
        Some(divergence) => {
            let handlers = runnable.catalogue().registered(&divergence.event);
            let handlers = handlers.map(ToString::to_string).collect();
            Err(Box::new(Divergence { handlers, ..divergence }))
        }
    }
}

/// Executes a run whose executions were seen to differ until two of them do again, and tells where.
/// `told` is what was seen: whether they violate something.
pub(crate) fn unsteady(
    runnable: &dyn Runnable,
    settings: &Settings,
    seed: u64,
    stream: impl Fn() -> Stream,
    told: [String; 2],
) -> Box<Divergence> {
    let again = (0..TRIES_MAX).find_map(|_| audit(runnable, settings, seed, &stream).err());
    again.unwrap_or_else(|| {
        let (event, handlers, states) = (String::new(), Vec::new(), [None, None]);
        Box::new(Divergence { seed, step: None, node: None, event, handlers, done: told, states })
    })
}

/// What an execution did, and in which states its nodes were.
type Execution = (Trace, States);

fn compare(one: &Execution, other: &Execution, seed: u64) -> Option<Divergence> {
    let longest = one.0.steps.len().max(other.0.steps.len());
    (0..longest).find_map(|index| {
        let steps = [one, other].map(|(trace, _)| trace.steps.get(index));
        let states = [one, other].map(|(_, states)| states.after(index));
        let done = steps.map(written);
        if done[0] == done[1] && is_same(states) {
            return None;
        }
        let (step, states) = (steps[0].or(steps[1])?, states.map(Option::<&String>::cloned));
        let (node, event, handlers) = (step.node, step.event.clone(), Vec::new());
        Some(Divergence { seed, step: Some(index), node, event, handlers, done, states })
    })
}

fn written(step: Option<&Step>) -> String {
    match step {
        Some(step) => serde_json::to_string(step).unwrap_or_default(),
        None => String::from("nothing: the run had ended"),
    }
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, step, node, event, handlers, done: [first, second], .. } = self;
        match step {
            Some(step) => {
                writeln!(
                    f,
                    "not deterministic: step {step} differs between two runs of seed {seed}"
                )?;
                let who = node.map_or_else(|| String::from("the network"), |it| it.to_string());
                writeln!(f, "  {who} on {event}")?;
            }
            None => writeln!(f, "not deterministic: two runs of seed {seed} differ")?,
        }
        for handler in handlers {
            writeln!(f, "  in {handler}")?;
        }
        if handlers.is_empty() && node.is_some() {
            writeln!(f, "  in `start` of an algorithm, or in what it triggers, or before it")?;
        }
        match first == second {
            true => writeln!(f, "  did both times: {}", around(first, 0))?,
            false => tell_places(f, "what it did", &json_of(first), &json_of(second))?,
        }
        if let [Some(first), Some(second)] = &self.states {
            match first == second {
                true => writeln!(f, "  its state after it, both times: {}", around(first, 0))?,
                false => tell_places(f, "its state", &data_of(first), &data_of(second))?,
            }
        }
        writeln!(
            f,
            "  usual causes: iterating a HashMap or HashSet (use BTreeMap), Instant::now or \
             SystemTime::now (use Context::now), a random source (use Context::choose), a static \
             or thread-local, a thread, the environment, an address in a Debug text"
        )
    }
}

/// A step as data; what is none stays a text.
fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::from(text))
}

/// The places in which two executions differ, each with what is there. What a step did is told by the names that
/// a trace has for it.
fn tell_places(f: &mut fmt::Formatter<'_>, of: &str, first: &Value, second: &Value) -> fmt::Result {
    let places = changes(first, second);
    writeln!(f, "  {of}, the first time and the second:")?;
    for Change { path, old, new } in places.iter().take(PLACES_TOLD_MAX) {
        let (old, new) = (old.to_string(), new.to_string());
        let same = old.chars().zip(new.chars()).take_while(|(one, other)| one == other).count();
        let place = if path.is_empty() { String::new() } else { format!("{path}  ") };
        writeln!(f, "    {place}{}  {}", around(&old, same), around(&new, same))?;
    }
    match places.len().checked_sub(PLACES_TOLD_MAX) {
        None | Some(0) => Ok(()),
        Some(more) => writeln!(f, "    and in {more} more places"),
    }
}

/// The part of a text around a character, if it is long.
fn around(text: &str, at: usize) -> String {
    let skipped = at.saturating_sub(TOLD_MAX / 2);
    let mut told: String = text.chars().skip(skipped).take(TOLD_MAX).collect();
    if 0 < skipped {
        told.insert(0, '…');
    }
    if skipped + TOLD_MAX < text.chars().count() {
        told.push('…');
    }
    told
}
