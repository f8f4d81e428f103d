//! From a run that fails to a small one that fails in the same way.
//!
//! Delta debugging (A. Zeller, R. Hildebrandt, "Simplifying and isolating failure-inducing
//! input", IEEE TSE 28(2), 2002) on the decisions that are not calm; every candidate is a run of
//! its own, re-executed. Then each decision that is left is made as calm as it can be.

use synod_core::Stack;

use crate::choice::{Decision, Stream};
use crate::scenario::Scenario;
use crate::settings::Settings;
use crate::world::{Outcome, run};

/// Runs that shrinking may spend.
const REPLAYS_MAX: u32 = 4_000;

/// A failing run, and what it took to make it small.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// The world, cut down to what fails.
    pub settings: Settings,
    /// The decisions that are left: none can be taken away alone.
    pub decisions: Vec<Decision>,
    /// What the small run does, with its trace.
    pub outcome: Outcome,
    /// How many runs it took.
    pub replays: u32,
}

/// Shrinks a run of `scenario` that violates `property`. Every candidate is executed; what is
/// returned does fail in the same property.
///
/// # Panics
///
/// If the run does not violate `property`.
pub fn shrink<T: Stack>(
    scenario: &Scenario<T>,
    settings: &Settings,
    decisions: Vec<Decision>,
    property: &str,
) -> Shrunk {
    let mut search = Search { scenario, property, settings: settings.clone(), replays: 0 };
    let mut decisions = search.fails(decisions).expect("the run that was found fails again");
    // What one pass takes away lets another one take more.
    loop {
        let before = (search.settings.clone(), decisions.clone());
        search.use_fewer_nodes(&mut decisions);
        search.drop_decisions(&mut decisions);
        search.calm_decisions(&mut decisions);
        search.shorten(&decisions);
        if before == (search.settings.clone(), decisions.clone()) {
            break;
        }
    }
    let stream = Stream::replaying(&decisions);
    let (outcome, _) = run(scenario, &search.settings, stream, true);
    Shrunk { settings: search.settings, decisions, outcome, replays: search.replays }
}

struct Search<'a, T: Stack> {
    scenario: &'a Scenario<T>,
    property: &'a str,
    settings: Settings,
    replays: u32,
}

impl<T: Stack> Search<'_, T> {
    /// If the run of `decisions` still fails, the decisions that it did take.
    fn fails(&mut self, decisions: Vec<Decision>) -> Option<Vec<Decision>> {
        if REPLAYS_MAX <= self.replays {
            return None;
        }
        self.replays += 1;
        let stream = Stream::replaying(&decisions);
        let (outcome, stream) = run(self.scenario, &self.settings, stream, false);
        let same = outcome.violation.is_some_and(|it| it.property == self.property);
        same.then(|| stream.decisions())
    }

    /// A cluster of two that fails says more than one of five.
    fn use_fewer_nodes(&mut self, decisions: &mut Vec<Decision>) {
        let whole = self.settings.clone();
        // A node that the application speaks to stays.
        let spoken_to = self.scenario.inputs.iter().map(|(node, ..)| node.0);
        for nodes in spoken_to.fold(2, u32::max)..whole.nodes {
            self.settings.nodes = nodes;
            self.settings.down_max = self.down_max(&whole, nodes);
            self.settings.traitors = whole.traitors_of(nodes, self.scenario.model());
            if let Some(fewer) = self.fails(decisions.clone()) {
                *decisions = fewer;
                return;
            }
        }
        self.settings = whole;
    }

    /// How many of fewer nodes may be down at once: a run within the model stays within it.
    fn down_max(&self, whole: &Settings, nodes: u32) -> u32 {
        let tolerated = |nodes: u32| self.scenario.model().down_max(nodes as usize);
        let beyond = tolerated(whole.nodes) < whole.down_max as usize;
        let most = if beyond { nodes as usize - 1 } else { tolerated(nodes) };
        whole.down_max.min(u32::try_from(most).unwrap_or(u32::MAX))
    }

    /// A run that ends soon after the violation says what a long one says. The noise of the network
    /// and the planned times are drawn from the first half, so the run is halved while it fails.
    fn shorten(&mut self, decisions: &[Decision]) {
        while 2_000_000 <= self.settings.time_us {
            let whole = self.settings.clone();
            self.settings.time_us /= 2;
            let same = self.fails(decisions.to_vec()).is_some_and(|taken| taken == decisions);
            if !same {
                self.settings = whole;
                return;
            }
        }
    }

    /// Takes decisions away, in halves, quarters, and so on down to single ones, until no single
    /// one can go.
    fn drop_decisions(&mut self, decisions: &mut Vec<Decision>) {
        let mut size = decisions.len().max(1);
        loop {
            let before = decisions.len();
            let mut start = 0;
            while start < decisions.len() {
                let end = (start + size).min(decisions.len());
                let mut fewer = decisions.clone();
                fewer.drain(start..end);
                match self.fails(fewer) {
                    Some(taken) if taken.len() < decisions.len() => *decisions = taken,
                    _ => start = end,
                }
            }
            match size {
                1 if decisions.len() == before => return,
                1 => (),
                _ => size = size.div_ceil(2),
            }
        }
    }

    /// Makes the choice of each decision as small as bisection finds.
    fn calm_decisions(&mut self, decisions: &mut Vec<Decision>) {
        let mut index = 0;
        while let Some(decision) = decisions.get(index).copied() {
            let (mut calm, mut fails) = (0, decision.choice);
            while calm + 1 < fails {
                let middle = calm + (fails - calm) / 2;
                let mut calmer = decisions.clone();
                if let Some(changed) = calmer.get_mut(index) {
                    changed.choice = middle;
                }
                match self.fails(calmer) {
                    Some(taken) if taken.len() <= decisions.len() => {
                        *decisions = taken;
                        fails = middle;
                    }
                    _ => calm = middle,
                }
            }
            index += 1;
        }
    }
}
