//! What monitors remember of a run: a part of the state, as far as they say what it is.

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use synod_core::{Automaton, Effect, Envelope, NodeId, Property, Stack};
use xxhash_rust::xxh3::Xxh3;

use super::pool::Pool;
use crate::quiet::placed;

/// The memories that came up, and what was indicated to them, by number.
#[derive(Default)]
pub(crate) struct Memories {
    monitors: Vec<Remembered>,
    kept: Pool<Arc<Memory>>,
    told: Pool<Arc<Told>>,
}

/// Whether a monitor judges what a node indicates.
type Judges = Box<dyn Fn(NodeId, &Envelope) -> bool + Send + Sync>;

/// A monitor that remembers.
struct Remembered {
    name: &'static str,
    judges: Judges,
    /// Whether anything was indicated that it judges, in whatever run.
    is_shown: AtomicBool,
}

/// What all monitors remember of a run.
pub(crate) struct Memory {
    /// The hash of what they remember.
    pub(crate) print: u128,
    /// Which one of them has found something wrong, and what. Then there is nothing more to
    /// remember.
    pub(crate) wrong: Option<(String, String)>,
    automata: Vec<Arc<dyn Automaton>>,
}

/// What a node indicates in one step.
struct Told {
    node: NodeId,
    indicated: Vec<Envelope>,
}

/// The memory at the beginning of a run.
pub(crate) const NOTHING_SEEN: u32 = 0;

impl Memories {
    /// Of those of `properties` that an exploration can hold as monitors.
    pub(crate) fn of<T: Stack>(properties: &[Property<T>]) -> Self {
        let known = properties.iter().filter_map(|it| Some((it.clone(), it.remembering()?)));
        let remembered = |(property, automaton): (Property<T>, &Arc<_>)| {
            let name = property.name;
            let judges = Box::new(move |node, told: &Envelope| property.judges(node, told));
            (Remembered { name, judges, is_shown: AtomicBool::new(false) }, Arc::clone(automaton))
        };
        let (monitors, automata): (Vec<_>, Vec<_>) = known.map(remembered).unzip();
        let memories = Self { monitors, ..Self::default() };
        let first = memories.number(automata, None);
        debug_assert_eq!(first, NOTHING_SEEN, "the pool was empty");
        memories
    }

    /// Whether nobody remembers anything.
    pub(crate) fn is_empty(&self) -> bool {
        self.monitors.is_empty()
    }

    /// To whom nobody has indicated what they judge.
    pub(crate) fn unshown(&self) -> impl Iterator<Item = &'static str> {
        let unshown = self.monitors.iter().filter(|it| !it.is_shown.load(Ordering::Relaxed));
        unshown.map(|it| it.name)
    }

    /// Brings a thread's own list up to date.
    pub(crate) fn refresh(&self, mirror: &mut Vec<Arc<Memory>>) {
        self.kept.refresh(mirror, |_, memory| Arc::clone(memory));
    }

    /// The number of what a node indicates with some effects; none if that is nothing, or nobody
    /// listens.
    pub(crate) fn told(&self, node: NodeId, effects: &[Effect]) -> Option<u32> {
        let output = |effect: &Effect| match effect {
            Effect::Output(envelope) => Some(envelope.clone()),
            _ => None,
        };
        let indicated: Vec<Envelope> = match self.is_empty() {
            false => effects.iter().filter_map(output).collect(),
            true => Vec::new(),
        };
        if indicated.is_empty() {
            return None;
        }
        let mut hasher = Xxh3::new();
        (node, &indicated).hash(&mut hasher);
        Some(self.told.number(hasher.digest128(), || Arc::new(Told { node, indicated })))
    }

    /// The memory after `told` was indicated.
    pub(crate) fn after(&self, memory: u32, told: u32) -> u32 {
        let (before, told) = (self.kept.get(memory), self.told.get(told));
        if before.wrong.is_some() {
            return memory;
        }
        let mut automata = before.automata.clone();
        for (automaton, monitor) in automata.iter_mut().zip(&self.monitors) {
            for envelope in &told.indicated {
                if (monitor.judges)(told.node, envelope) {
                    monitor.is_shown.store(true, Ordering::Relaxed);
                }
                match automaton.after(told.node, envelope) {
                    Ok(after) => *automaton = after,
                    Err(reason) => {
                        let wrong = (String::from(monitor.name), placed(reason));
                        return self.number(Vec::new(), Some(wrong));
                    }
                }
            }
        }
        self.number(automata, None)
    }

    fn number(&self, automata: Vec<Arc<dyn Automaton>>, wrong: Option<(String, String)>) -> u32 {
        let mut hasher = Xxh3::new();
        for automaton in &automata {
            automaton.remembers(&mut hasher);
            hasher.write_u8(u8::MAX);
        }
        wrong.hash(&mut hasher);
        // Without monitors a state is what it would be without this part of it.
        let print = if self.is_empty() { 0 } else { hasher.digest128() };
        self.kept.number(print, || Arc::new(Memory { print, wrong, automata }))
    }
}
