//! All places that the operations of a run may have, as far as its future can tell.
//!
//! A configuration is a state of the object and the operations under way that have their place
//! already. An operation has its place at the latest when it returns, and others are given theirs
//! before it only then (G. Lowe, "Testing for linearizability", Concurrency and Computation 29(4),
//! 2017). So runs in which clients have seen what comes to the same have the same configurations,
//! however they came about: their number does not grow with the length of a run.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};

use xxhash_rust::xxh3::Xxh3;

use super::judge::Seen;
use super::operation::Misuse;
use super::specification::Specification;

/// What can be said of the orders of a run's operations so far.
#[derive(Clone, Debug)]
pub(super) struct Configurations<S: Specification> {
    specification: S,
    /// The operations under way, by number.
    open: BTreeMap<u64, S::Input>,
    /// By their fingerprints, which are what counts for being equal.
    possible: BTreeMap<u128, Configuration<S::State>>,
}

#[derive(Clone, Debug, Hash)]
struct Configuration<T> {
    state: T,
    /// The operations under way that have their place, with the state before them: what they
    /// return there is not known yet.
    placed: BTreeMap<u64, T>,
}

/// Configurations at most: beyond, too much is under way at one time.
const CONFIGURATIONS_MAX: usize = 1 << 16;
/// States that are named in a reason at most.
const NAMED_MAX: usize = 6;

impl<T: Hash> Configuration<T> {
    fn print(&self) -> u128 {
        let mut hasher = Xxh3::new();
        self.hash(&mut hasher);
        hasher.digest128()
    }
}

impl<S: Specification> Hash for Configurations<S> {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.open.hash(hasher);
        self.possible.keys().for_each(|print| print.hash(hasher));
    }
}

impl<S: Specification> Configurations<S> {
    /// Of a run that has not begun.
    pub(super) fn new(specification: S) -> Self {
        let first = Configuration { state: specification.initial(), placed: BTreeMap::new() };
        Self { specification, open: BTreeMap::new(), possible: [(first.print(), first)].into() }
    }

    /// Takes what happens next. A number may be used again once its operation has returned.
    ///
    /// # Errors
    ///
    /// What is wrong with the run: no order is allowed, or what was seen is no history.
    pub(super) fn see(&mut self, seen: Seen<S::Input, S::Output>) -> Result<(), String> {
        match seen {
            Seen::Invoked { id, input, .. } => match self.open.insert(id, input) {
                Some(_) => Err(Misuse::InvokedTwice(id).to_string()),
                None => Ok(()),
            },
            Seen::Returned { id, output } => self.returned(id, output.as_ref()),
        }
    }

    fn returned(&mut self, id: u64, output: Option<&S::Output>) -> Result<(), String> {
        let Some(input) = self.open.get(&id).cloned() else {
            return Err(Misuse::NeverInvoked(id).to_string());
        };
        let mut before = std::mem::take(&mut self.possible);
        let mut waiting: Vec<Configuration<S::State>> = before.values().cloned().collect();
        while let Some(mut configuration) = waiting.pop() {
            if let Some(earlier) = configuration.placed.remove(&id) {
                if self.specification.step(&earlier, &input, output).is_some() {
                    self.possible.insert(configuration.print(), configuration);
                }
                continue;
            }
            for next in self.next(&configuration, id) {
                let (print, known) = (next.print(), before.len());
                before.entry(print).or_insert_with(|| next.clone());
                if known < before.len() {
                    waiting.push(next);
                }
            }
            if CONFIGURATIONS_MAX < before.len() {
                return Err(format!("not judged: more than {CONFIGURATIONS_MAX} configurations"));
            }
            let after = self.specification.step(&configuration.state, &input, output);
            if let Some(state) = after {
                let next = Configuration { state, ..configuration };
                self.possible.insert(next.print(), next);
            }
        }
        if self.possible.is_empty() {
            return Err(self.reason(&input, output, before.values()));
        }
        self.open.remove(&id);
        Ok(())
    }

    /// The configurations in which one more operation under way has its place, other than `id`.
    fn next(&self, from: &Configuration<S::State>, id: u64) -> Vec<Configuration<S::State>> {
        let others = self.open.iter().filter(|(it, _)| **it != id);
        let others = others.filter(|(it, _)| !from.placed.contains_key(it));
        let place = |(other, input): (&u64, &S::Input)| {
            let state = self.specification.step(&from.state, input, None)?;
            let mut placed = from.placed.clone();
            placed.insert(*other, from.state.clone());
            Some(Configuration { state, placed })
        };
        others.filter_map(place).collect()
    }

    fn reason<'c>(
        &self,
        input: &S::Input,
        output: Option<&S::Output>,
        configurations: impl Iterator<Item = &'c Configuration<S::State>>,
    ) -> String
    where
        S::State: 'c,
    {
        let mut states: Vec<String> =
            configurations.map(|it| self.specification.describe_state(&it.state)).collect();
        states.sort();
        states.dedup();
        states.truncate(NAMED_MAX);
        let what = self.specification.describe(input, output);
        format!("`{what}` has no place: every order leaves {}", states.join(" or "))
    }
}

#[cfg(test)]
mod tests;
