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
pub(crate) trait Specification:
    Clone + std::fmt::Debug + Hash + Serialize + Send + Sync + 'static
{
    const NAME: &'static str;

    /// A step of the next-state relation.
    type Step;

    /// The states in which it may begin.
    fn initial() -> Vec<Self>;

    /// The steps that are possible, always in the same order.
    fn steps(&self) -> impl Iterator<Item = Self::Step>;

    /// Takes one of them.
    fn take(&mut self, step: Self::Step);

    /// What is held against each state.
    fn properties() -> Vec<Property<Published<Self>>> {
        Vec::new()
    }
}

/// The one node that takes the steps of `S`.
#[derive(Clone, Debug, Hash, Serialize)]
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
        let mut all = S::initial();
        let begun = ctx.choose(count(all.len()));
        self.0 = Some(all.swap_remove(begun as usize));
        self.go_on(ctx);
    }

    fn properties() -> Vec<Property<Self>> {
        S::properties()
    }
}

impl<S: Specification> Published<S> {
    fn step(&mut self, _: Step, ctx: &mut Context) {
        if let Some(state) = &mut self.0 {
            let chosen = ctx.choose(count(state.steps().count()));
            let step = state.steps().nth(chosen as usize);
            state.take(step.expect("a number below that of the steps"));
        }
        self.go_on(ctx);
    }

    fn go_on(&self, ctx: &mut Context) {
        if self.0.as_ref().is_some_and(|state| state.steps().next().is_some()) {
            ctx.after(Duration::ZERO, &Step);
        }
    }
}

fn count(ways: usize) -> u32 {
    u32::try_from(ways).expect("few ways to go on")
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "published.step", local)]
struct Step;
