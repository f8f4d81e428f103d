//! Simulated runs, continued with other choices.

use std::collections::BTreeMap;

use synod_core::{NodeId, Random};

use super::NothingViolated;
use super::conditions::{Condition, tried};
use super::curve::Continued;
use crate::choice::{About, Decision, Moment, Stream};
use crate::cores::{cores, side_by_side};
use crate::plan::plan;
use crate::runnable::Runnable;
use crate::settings::Settings;
use crate::trace::{Step, StepKind, Trace};
use crate::world::Violation;

/// A simulated run that failed.
pub(super) struct Simulated<'a> {
    runnable: &'a dyn Runnable,
    /// The world of the run.
    recorded: &'a Settings,
    /// The world of the continuations.
    settings: Settings,
    trace: Trace,
    violation: Violation,
    /// Every decision that the run took, the calm ones included, in the order of taking.
    taken: Vec<Decision>,
    moments: Vec<Moment>,
}

/// For so many greatest delays longer than the recorded run a continuation goes on, at least.
const DELAYS_LONGER: u64 = 16;
/// How often a plan is drawn in which the faults have not begun yet, at most.
const PLANS_MAX: u32 = 256;

impl<'a> Simulated<'a> {
    pub(super) fn replay(
        runnable: &'a dyn Runnable,
        recorded: &'a Settings,
        decisions: &[Decision],
    ) -> Result<Self, NothingViolated> {
        let (outcome, stream) = runnable.run(recorded, Stream::replaying(decisions), true);
        let (trace, violation) = (outcome.trace, outcome.violation.ok_or(NothingViolated)?);
        let mut moments = stream.moments().to_vec();
        // Where nothing was written down in between, the earlier moment has more to decide.
        moments.dedup_by_key(|moment| moment.steps);
        moments.retain(|moment| moment.steps < trace.steps.len());
        let taken = stream.log().to_vec();
        let settings = going_on(recorded, violation.time_us);
        Ok(Self { runnable, recorded, settings, trace, violation, taken, moments })
    }

    /// The choices of a continuation from a moment: random ones from `seed` after it.
    pub(super) fn stream(&self, moment: usize, seed: u64) -> Stream {
        match self.moments.get(moment).filter(|_| 0 < moment) {
            None => Stream::seeded(seed).leaving_out(&self.taken),
            Some(from) => Stream::diverging(&self.drawn(*from, seed), from.asked, seed),
        }
    }

    /// When a continuation fails in the same property, if it does.
    fn fails(&self, moment: usize, seed: u64) -> Option<u64> {
        let stream = self.stream(moment, seed);
        let (outcome, _) = self.runnable.run(&self.settings, stream, false);
        let violation = outcome.violation.filter(|it| it.property == self.violation.property);
        violation.map(|it| it.time_us)
    }

    /// What is decided in the run itself about one message or node at once, each with the moment after it.
    fn taken_in_run(&self) -> BTreeMap<(usize, About), Vec<Decision>> {
        let mut taken: BTreeMap<(usize, About), Vec<Decision>> = BTreeMap::new();
        let in_run = self.taken.iter().filter(|it| !it.label.is_planned()).enumerate();
        for (asked, decision) in in_run.filter(|(_, it)| 0 < it.choice) {
            let moment = self.moments.partition_point(|moment| moment.asked <= asked);
            taken.entry((moment.max(1), decision.label.about)).or_default().push(*decision);
        }
        taken
    }

    /// The first step, from one on, in which a fault shows: a crash within a handler waits for one.
    fn shows(&self, fault: &Planned, from: usize) -> usize {
        let node = fault.decisions.first().filter(|it| it.label.what.ends_with(".node"));
        let node = node.and_then(|it| u32::try_from(it.choice).ok()).map(NodeId);
        let is_fault = |step: &Step| match step.kind {
            StepKind::Crash | StepKind::Fault => step.node == node,
            StepKind::Partition => node.is_none(),
            _ => false,
        };
        let mut later = self.trace.steps.iter().skip(from);
        later.find(|step| is_fault(step)).map_or(from, |step| step.index)
    }

    fn fails_without(&self, gone: &[Decision]) -> bool {
        let is_gone = |it: &Decision| gone.iter().any(|gone| gone == it);
        let rest = self.taken.iter().filter(|it| 0 < it.choice && !is_gone(it));
        let rest: Vec<Decision> = rest.copied().collect();
        let (outcome, _) = self.runnable.run(self.recorded, Stream::replaying(&rest), false);
        outcome.violation.is_some_and(|it| it.property == self.violation.property)
    }

    fn lines<'d>(&self, decisions: impl IntoIterator<Item = &'d Decision>) -> Vec<String> {
        let catalogue = self.runnable.catalogue();
        let lines = decisions.into_iter().filter(|it| 0 < it.choice);
        lines.map(|it| it.line(|event| catalogue.name(event))).collect()
    }

    /// The decisions of the run, but those about faults that had not begun by a moment drawn anew.
    pub(super) fn drawn(&self, moment: Moment, seed: u64) -> Vec<Decision> {
        let mut open = Vec::new();
        let mut decisions: Vec<Decision> =
            self.taken.iter().filter(|it| it.fault().is_none()).copied().collect();
        for (fault, taken) in faults(&self.taken) {
            if taken.is_settled_at(moment) {
                decisions.extend(taken.decisions);
            } else {
                open.push(fault);
            }
        }
        // Another generator than the one of the continuation itself.
        let mut seeds = Random::new(seed ^ 0x706c_616e);
        for _ in 0..PLANS_MAX {
            if open.is_empty() {
                break;
            }
            let mut stream = Stream::recording(seeds.next_u64());
            plan(&self.settings, self.runnable.offers(), self.runnable.treasons(), &mut stream);
            let mut drawn = faults(stream.log());
            open.retain(|fault| match drawn.remove(fault).filter(|it| it.may_follow(moment)) {
                Some(fits) => {
                    decisions.extend(fits.decisions);
                    false
                }
                None => true,
            });
        }
        decisions
    }
}

/// The same world, for long enough to fail later than at a time: a shrunk run ends where it fails. Faults and
/// noise end when they did.
fn going_on(settings: &Settings, failed_us: u64) -> Settings {
    let delays_us = settings.delay_max_us.saturating_mul(DELAYS_LONGER);
    let until_us = failed_us.saturating_add(failed_us.max(delays_us));
    if until_us <= settings.time_us {
        return settings.clone();
    }
    let noise_us = settings.faults_until_us().max(1);
    Settings { time_us: until_us, noise_us, ..settings.clone() }
}

/// A planned fault: its kind, and its number.
type Fault = (&'static str, u32);

/// What is decided about one planned fault.
#[derive(Default)]
struct Planned {
    decisions: Vec<Decision>,
}

fn faults(decisions: &[Decision]) -> BTreeMap<Fault, Planned> {
    let mut faults: BTreeMap<Fault, Planned> = BTreeMap::new();
    for decision in decisions {
        if let Some(fault) = decision.fault() {
            faults.entry(fault).or_default().decisions.push(*decision);
        }
    }
    faults
}

impl Planned {
    /// The first question is always what the fault hits, and the calm answer that there is none.
    fn is_none(&self) -> bool {
        self.decisions.first().is_none_or(|first| first.choice == 0)
    }

    fn begins(&self) -> Option<&Decision> {
        self.decisions.iter().find(|decision| decision.label.what.ends_with(".at"))
    }

    /// Whether the fault, if it happens, is there before the first step: a late start, a crash in
    /// the start, and a traitor from the start on.
    fn begins_with_the_run(&self) -> bool {
        let is = |kind| self.decisions.first().is_some_and(|it| it.label.what.starts_with(kind));
        let in_start = |it: &Decision| it.label.what == "crash.start" && 0 < it.choice;
        is("join.")
            || self.decisions.iter().any(in_start)
            || (is("traitor.") && self.begins().is_some_and(|it| it.choice == 0))
    }

    /// Whether nothing about the fault is open at a moment: it has begun, or has no time to begin
    /// at.
    fn is_settled_at(&self, moment: Moment) -> bool {
        let has_begun = self.begins_with_the_run();
        self.begins().is_none_or(|begins| {
            let begun = moment.after_us.is_some_and(|after_us| begins.choice <= after_us);
            let over = moment.after_us.is_some_and(|after_us| begins.options <= after_us + 1);
            has_begun || (begun && !self.is_none()) || over
        })
    }

    /// Whether the fault does not happen, or only after a moment.
    fn may_follow(&self, moment: Moment) -> bool {
        let after = |begins: &Decision| moment.after_us.is_none_or(|it| it < begins.choice);
        let happens_before = self.begins_with_the_run() && !self.is_none();
        !happens_before && (self.is_none() || self.begins().is_none_or(after))
    }
}

impl Continued for Simulated<'_> {
    fn moments(&self) -> usize {
        self.moments.len()
    }

    fn step(&self, moment: usize) -> Option<usize> {
        self.moments.get(moment)?.steps.checked_sub(1)
    }

    fn failed(&self, moment: usize, runs: u32) -> (u32, u32) {
        let mut seeds = Random::new(moment as u64);
        let seeds: Vec<u64> = (0..runs).map(|_| seeds.next_u64()).collect();
        let fails = |index: usize| seeds.get(index).and_then(|seed| self.fails(moment, *seed));
        let failed = side_by_side(seeds.len(), cores(), &fails);
        let in_time = failed.iter().flatten().filter(|it| **it <= self.violation.time_us).count();
        let count = |it| u32::try_from(it).unwrap_or(runs);
        (count(failed.iter().flatten().count()), count(in_time))
    }

    fn decisions(&self, from: usize, to: usize) -> Vec<String> {
        let at = |moment: usize| self.moments.get(moment);
        let in_run = self.taken.iter().filter(|it| !it.label.is_planned());
        let since = at(from).filter(|_| 0 < from);
        let first = since.map_or(0, |moment| moment.asked);
        let last = at(to).map_or(usize::MAX, |moment| moment.asked);
        let taken = in_run.skip(first).take(last.saturating_sub(first));
        let begun = faults(&self.taken).into_values().filter(|fault| {
            let settled = |moment: &Moment| fault.is_settled_at(*moment);
            !fault.is_none() && !since.is_some_and(settled) && at(to).is_none_or(settled)
        });
        let begun: Vec<Decision> = begun.flat_map(|fault| fault.decisions).collect();
        self.lines(begun.iter().chain(taken))
    }

    fn conditions(&self, until: usize) -> Vec<Condition> {
        let faults = faults(&self.taken).into_iter().filter_map(|((kind, _), fault)| {
            let begun = |moment: &Moment| fault.is_settled_at(*moment);
            let moment = self.moments.iter().position(begun).map(|moment| moment.max(1))?;
            let is_one = kind != "request" && !fault.is_none() && moment <= until;
            let from = self.step(moment).unwrap_or(0);
            is_one.then(|| (moment, self.shows(&fault, from), fault.decisions))
        });
        let in_run = self.taken_in_run().into_iter().filter(|((moment, _), _)| *moment <= until);
        let in_run =
            in_run.map(|((moment, _), taken)| (moment, self.step(moment).unwrap_or(0), taken));
        let mut decided: Vec<_> = faults.chain(in_run).collect();
        decided.sort_by_key(|(moment, ..)| *moment);
        let needed = tried(decided).into_iter().filter(|(.., it)| !self.fails_without(it));
        let told = needed.map(|(moment, step, decisions)| {
            let decisions = self.lines(&decisions);
            Condition { moment, step, decisions }
        });
        told.collect()
    }

    fn trace(&self) -> &Trace {
        &self.trace
    }

    fn violation(&self) -> &Violation {
        &self.violation
    }
}
