//! Published TLA+ models, written as algorithms, so that the checker can be held against the
//! counts that TLC is known to give for them.
//!
//! A TLA+ model has no nodes: its state is one value, and a step is one of those that its
//! next-state relation allows, whoever takes it. Such a model is one node here, which chooses.

#![allow(clippy::indexing_slicing, reason = "a model of so many processes indexes them below")]

pub(crate) mod chang_roberts;
pub(crate) mod echo;
pub(crate) mod two_phase;

use std::hash::Hash;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use synod_core::{Algorithm, Context, Event, Handlers, Property};

/// A state of a model, and what may come next.
pub(crate) trait Specification: Clone + Hash + Serialize + Send + Sync + 'static {
    const NAME: &'static str;

    /// The states in which it may begin.
    fn initial() -> Vec<Self>;

    /// The states to which a step leads, in any order.
    fn next(&self) -> Vec<Self>;

    /// What is held against each state.
    fn properties() -> Vec<Property<Published<Self>>> {
        Vec::new()
    }
}

/// The one node that takes the steps of `S`.
#[derive(Clone, Hash, Serialize)]
pub(crate) struct Published<S>(pub(crate) Option<S>);

impl<S> Default for Published<S> {
    fn default() -> Self {
        Self(None)
    }
}

impl<S: Specification> Algorithm for Published<S> {
    const NAME: &'static str = S::NAME;

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(Self::step)
    }

    fn start(&mut self, ctx: &mut Context) {
        self.choose(S::initial(), ctx);
    }

    fn properties() -> Vec<Property<Self>> {
        S::properties()
    }
}

impl<S: Specification> Published<S> {
    fn step(&mut self, _: Step, ctx: &mut Context) {
        let next = self.0.as_ref().map(S::next).unwrap_or_default();
        self.choose(next, ctx);
    }

    fn choose(&mut self, mut from: Vec<S>, ctx: &mut Context) {
        let options = u32::try_from(from.len()).expect("few steps");
        self.0 = Some(from.swap_remove(ctx.choose(options) as usize));
        if self.0.as_ref().is_some_and(|state| !state.next().is_empty()) {
            ctx.after(Duration::ZERO, &Step);
        }
    }
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "published.step", local)]
struct Step;
