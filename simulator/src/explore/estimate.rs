//! How large an exploration would be, by random probes (D. Knuth, "Estimating the efficiency of
//! backtrack programs", Mathematics of Computation 29, 1975).

use std::ops::ControlFlow;

use synod_core::Random;

use super::search::starts;
use super::setting::Wrong;
use super::state::State;
use super::worker::Worker;

/// The size of the tree of all runs, estimated by random ones.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Estimate {
    /// How many runs were taken.
    pub probes: u32,
    /// The number of different runs, in the mean over the probes: an estimate without bias, and
    /// with much variance. Runs meet in states: where they are long, these are far fewer.
    pub runs: f64,
    /// The same as half of the probes say at least: the mean is above it, by far where a few
    /// probes found most of the runs.
    pub runs_median: f64,
    /// The steps of the longest run taken.
    pub depth: u32,
    /// Runs that were cut, by the bound on their steps.
    pub cut: u32,
    /// Runs that ended in a violation.
    pub violations: u32,
}

/// The steps of a probe, at most, whatever the bound.
const STEPS_MAX: u32 = 10_000;

/// One random run.
struct Probe {
    /// How many runs there would be if each had as many ways to go on as this one.
    runs: f64,
    steps: u32,
    cut: bool,
    violated: bool,
}

/// Takes `probes` random runs, each from the seed of its number.
pub(super) fn estimate(worker: &mut Worker<'_>, probes: u32) -> Estimate {
    let firsts: Vec<State> =
        starts(worker).into_iter().filter_map(|(_, begun)| begun.ok()).collect();
    let random_runs = (0..probes.max(1)).map(|seed| probe(worker, &firsts, seed));
    let all: Vec<Probe> = random_runs.collect();
    let mut runs: Vec<f64> = all.iter().map(|probe| probe.runs).collect();
    runs.sort_by(f64::total_cmp);
    let count = |is: fn(&Probe) -> bool| {
        u32::try_from(all.iter().filter(|probe| is(probe)).count()).unwrap_or(u32::MAX)
    };
    Estimate {
        probes: probes.max(1),
        runs: runs.iter().sum::<f64>() / f64::from(probes.max(1)),
        runs_median: runs.get((runs.len() - 1) / 2).copied().unwrap_or_default(),
        depth: all.iter().map(|probe| probe.steps).max().unwrap_or(0),
        cut: count(|probe| probe.cut),
        violations: count(|probe| probe.violated),
    }
}

fn probe(worker: &mut Worker<'_>, firsts: &[State], seed: u32) -> Probe {
    let mut random = Random::new(u64::from(seed));
    let steps_max = worker.setting().bounds.depth_max.min(STEPS_MAX);
    let mut probe = Probe { runs: 1.0, steps: 0, cut: false, violated: false };
    let Some(first) = one_of(&mut probe, firsts, &mut random) else {
        return probe;
    };
    let mut state = first.clone();
    loop {
        if worker.check(&state).is_err() {
            probe.violated = true;
            return probe;
        }
        let ways = successors(worker, &state);
        if ways.is_empty() {
            return probe;
        }
        if steps_max <= probe.steps {
            probe.cut = true;
            return probe;
        }
        probe.steps += 1;
        match one_of(&mut probe, &ways, &mut random) {
            Some(Ok(next)) => state.copy(next),
            _ => {
                probe.violated = true;
                return probe;
            }
        }
    }
}

fn one_of<'w, V>(probe: &mut Probe, ways: &'w [V], random: &mut Random) -> Option<&'w V> {
    let count = u32::try_from(ways.len()).unwrap_or(u32::MAX);
    probe.runs *= f64::from(count.max(1));
    ways.get(usize::try_from(random.below(u64::from(count.max(1)))).unwrap_or(0))
}

fn successors(worker: &mut Worker<'_>, state: &State) -> Vec<Result<State, Wrong>> {
    let mut all = Vec::new();
    let _ = worker.expand(state, &mut |_, taken| {
        all.push(taken.outcome.map(|next| next.clone()));
        ControlFlow::Continue(())
    });
    all
}
