//! ShiViz.
//!
//! The first line is the expression that takes the log apart, the second, empty, says that there
//! is one execution only. Each step is two lines: what happened, and where, with the vector clock.
//! What the network does, and messages that arrive at nobody, happen on a host of their own.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use synod_core::NodeId;

use super::links::Links;
use super::text::{effects, millis, visible};
use crate::trace::{Step, StepKind, Trace};

const PARSER: &str = r"(?<event>.*)\n(?<host>\S*) (?<clock>{.*})";

/// How many events of each host have happened before, or are this one. The network is `None`.
type Clock = BTreeMap<Option<NodeId>, u64>;

pub(super) fn log(trace: &Trace) -> String {
    let links = Links::of(trace);
    let mut text = format!("{PARSER}\n\n");
    let mut now: BTreeMap<Option<NodeId>, Clock> = BTreeMap::new();
    let caused = links.caused();
    let mut kept: BTreeMap<usize, Clock> = BTreeMap::new();
    for (place, step) in trace.steps.iter().enumerate() {
        let host = if step.kind == StepKind::Lost { None } else { step.node };
        let clock = now.entry(host).or_default();
        if let Some(origin) = links.origin(place) {
            merge(clock, kept.get(&origin));
            if caused.get(&origin).and_then(|all| all.last()) == Some(&place) {
                kept.remove(&origin);
            }
        }
        *clock.entry(host).or_default() += 1;
        if caused.contains_key(&place) {
            kept.insert(place, clock.clone());
        }
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}\n{} {}", event(place, step), name(host), json(clock));
    }
    text
}

fn merge(clock: &mut Clock, other: Option<&Clock>) {
    for (host, count) in other.into_iter().flatten() {
        let mine = clock.entry(*host).or_default();
        *mine = (*mine).max(*count);
    }
}

/// Begins with two words, so that it cannot be taken for a host and its clock.
fn event(place: usize, step: &Step) -> String {
    let Step { kind, event, payload, .. } = step;
    let kind = kind_name(*kind);
    let mut words = format!("#{place} {} {kind} {event}", millis(step.time_us));
    for said in [payload, &effects(step)] {
        if !said.is_empty() {
            words += &format!(" {said}");
        }
    }
    if let (StepKind::Lost, Some(why)) = (step.kind, step.log.first()) {
        words += &format!(" ({why})");
    }
    for sent in step.sends.iter().filter(|sent| sent.lost.is_some()) {
        let why = sent.lost.as_deref().unwrap_or_default();
        words += &format!("; {} to {} is lost ({why})", sent.event, sent.to);
    }
    if let Some(wrong) = &step.wrong {
        words += &format!("; VIOLATION {wrong}");
    }
    visible(&words, usize::MAX)
}

/// The kind as the trace writes it.
pub(super) fn kind_name(kind: StepKind) -> &'static str {
    match kind {
        StepKind::Start => "start",
        StepKind::Deliver => "deliver",
        StepKind::Lost => "lost",
        StepKind::Timer => "timer",
        StepKind::Told => "told",
        StepKind::Crash => "crash",
        StepKind::Restart => "restart",
        StepKind::Partition => "partition",
        StepKind::Heal => "heal",
        StepKind::Fault => "fault",
        StepKind::Tick => "tick",
    }
}

fn name(host: Option<NodeId>) -> String {
    host.map_or_else(|| String::from("network"), |node| node.to_string())
}

fn json(clock: &Clock) -> String {
    let counts: Vec<String> =
        clock.iter().map(|(host, count)| format!("\"{}\":{count}", name(*host))).collect();
    format!("{{{}}}", counts.join(","))
}

#[cfg(test)]
mod tests {
    use super::kind_name;
    use crate::trace::StepKind;

    #[test]
    fn kinds_are_named_as_in_the_trace() {
        for kind in [StepKind::Start, StepKind::Lost, StepKind::Fault, StepKind::Heal] {
            let written = serde_json::to_value(kind).expect("a name");
            assert_eq!(written, kind_name(kind));
        }
    }
}
