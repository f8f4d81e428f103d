//! Is a run a function of its choices? It is executed twice, and compared step by step.

use std::fmt;

use synod_core::NodeId;

use crate::choice::Stream;
use crate::runnable::Runnable;
use crate::settings::Settings;
use crate::trace::{Step, Trace};

/// The first step in which two executions of one run differ.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Divergence {
    /// The seed of the run.
    pub seed: u64,
    /// The number of the step.
    pub step: usize,
    /// Who acted.
    pub node: Option<NodeId>,
    /// Which handler ran: the event's wire name.
    pub event: String,
    /// The functions that ran, each with the file and the line that registers it.
    pub handlers: Vec<String>,
    /// What the step did the first time, as JSON: what it sent, armed, indicated, changed.
    pub first: String,
    /// What it did the second time.
    pub second: String,
}

/// Executes a run twice, and returns the hash of its trace. States are compared where the
/// scenario shows them.
pub(crate) fn audit(
    runnable: &dyn Runnable,
    settings: &Settings,
    seed: u64,
    stream: impl Fn() -> Stream,
) -> Result<String, Divergence> {
    let execute = || runnable.run(settings, stream(), true).0.trace;
    let (one, other) = (execute(), execute());
    match compare(&one, &other, seed) {
        None => Ok(one.hash()),
        Some(divergence) => {
            let handlers = runnable.catalogue().registered(&divergence.event);
            let handlers = handlers.map(ToString::to_string).collect();
            Err(Divergence { handlers, ..divergence })
        }
    }
}

fn compare(one: &Trace, other: &Trace, seed: u64) -> Option<Divergence> {
    let longest = one.steps.len().max(other.steps.len());
    (0..longest).find_map(|index| {
        let pair = (one.steps.get(index), other.steps.get(index));
        let (first, second) = (written(pair.0), written(pair.1));
        if first == second {
            return None;
        }
        let step = pair.0.or(pair.1)?;
        let (node, event) = (step.node, step.event.clone());
        Some(Divergence { seed, step: index, node, event, handlers: Vec::new(), first, second })
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
        let Self { seed, step, node, event, handlers, first, second } = self;
        writeln!(f, "not deterministic: step {step} differs between two runs of seed {seed}")?;
        let who = node.map_or_else(|| String::from("the network"), |node| node.to_string());
        writeln!(f, "  {who} on {event}")?;
        for handler in handlers {
            writeln!(f, "  in {handler}")?;
        }
        if handlers.is_empty() && node.is_some() {
            writeln!(f, "  in `start` of an algorithm, or before it")?;
        }
        writeln!(f, "  did the first time   {first}")?;
        writeln!(f, "  and the second time  {second}")?;
        writeln!(
            f,
            "  usual causes: iterating a HashMap or HashSet (use BTreeMap), Instant::now or \
             SystemTime::now (use Context::now), a random source (use Context::choose), a static \
             or thread-local, a thread, the environment, an address in a Debug text"
        )
    }
}
