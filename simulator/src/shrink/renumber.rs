//! What can go once later messages keep their meaning.
//!
//! A decision names its message by how many equal ones came before it. Without an earlier loss, or
//! without an earlier input, it is about another message: then what only kept the numbers of later
//! messages as they were would seem to be needed.

use std::collections::BTreeSet;

use super::Search;
use super::passes::{Name, name, omission};
use crate::choice::{About, Decision};

/// What is asked about a message, in the order of asking. One that is lost is asked nothing more, one
/// that is doubled the last two twice.
const ASKED: [&str; 5] = ["lose", "burst", "duplicate", "tail", "delay"];
/// Replays that one search for numbers may take: with many decisions there are too many pairs of them.
const RENUMBERED_MAX: u32 = 300;

/// What goes alone: a decision, all of a fault, or an input.
#[derive(Default)]
struct Part {
    gone: Vec<Name>,
    omission: Option<Decision>,
    /// The place in the schedule from which on others are about later questions.
    place: usize,
}

impl Search<'_> {
    /// Takes one part away and renumbers by one what comes after it about one kind of message, or one
    /// kind of question to a node. Tells whether a part went.
    pub(super) fn drop_renumbered(&mut self) -> bool {
        let replays_max = self.replays_max;
        self.replays_max = replays_max.min(self.replays.saturating_add(RENUMBERED_MAX));
        let mut has_dropped = false;
        while self.drops_renumbered() {
            has_dropped = true;
        }
        self.replays_max = replays_max;
        has_dropped
    }

    fn drops_renumbered(&mut self) -> bool {
        self.parts().into_iter().any(|part| {
            let rest = without(&self.best.decisions, &part.gone);
            let mut numbers = (part.place..rest.len()).flat_map(|place| [(place, -1), (place, 1)]);
            numbers.any(|(place, by)| {
                let numbered = self.may_replay().then(|| renumbered(&rest, place, by)).flatten();
                numbered.is_some_and(|mut decisions| {
                    decisions.extend(part.omission);
                    self.keeps_decisions(decisions)
                })
            })
        })
    }

    fn parts(&self) -> Vec<Part> {
        let decisions = &self.best.decisions;
        let faults: BTreeSet<_> = decisions.iter().filter_map(Decision::fault).collect();
        let faults = faults.into_iter().map(|dropped| {
            let of_it = decisions.iter().filter(|it| it.fault() == Some(dropped));
            Part { gone: of_it.map(name).collect(), ..Part::default() }
        });
        let inputs =
            self.given().map(|it| Part { omission: Some(omission(it)), ..Part::default() });
        let in_run = decisions.iter().enumerate().filter(|(_, it)| !it.label.is_planned());
        let in_run =
            in_run.map(|(place, it)| Part { gone: vec![name(it)], place, ..Part::default() });
        faults.chain(inputs).chain(in_run).collect()
    }
}

/// The decisions that are left without some, each about the message that it was about, as far as that
/// follows from what is asked about each.
pub(super) fn without(decisions: &[Decision], gone: &[Name]) -> Vec<Decision> {
    let mut rest: Vec<Decision> = Vec::new();
    let mut dropped: Vec<Decision> = Vec::new();
    for decision in decisions {
        if gone.contains(&name(decision)) {
            dropped.push(*decision);
            continue;
        }
        let shift: i64 = dropped.iter().map(|it| shift(it, decision)).sum();
        rest.extend(counted(decision, shift).filter(|it| !has(&rest, it)));
    }
    rest
}

/// By how many the later decision has another number without the earlier one.
fn shift(earlier: &Decision, later: &Decision) -> i64 {
    let place = |it: &Decision| ASKED.iter().position(|asked| *asked == it.label.what);
    match (place(earlier), place(later)) {
        (Some(one), Some(other)) if one < other && earlier.label.about == later.label.about => {
            if earlier.label.what == "duplicate" {
                -1
            } else {
                1
            }
        }
        _ => 0,
    }
}

/// The decisions with other numbers from a place on: those about the same message, or about the same question
/// to the same node, as the one at the place. None if the numbers are taken.
fn renumbered(decisions: &[Decision], place: usize, by: i64) -> Option<Vec<Decision>> {
    let first = decisions.get(place)?.label;
    let is_alike = |it: &Decision| match first.about {
        About::Message { .. } => it.label.about == first.about,
        About::Node(_) => it.label == first && !first.is_planned(),
        About::Fault(_) => false,
    };
    let mut numbered: Vec<Decision> = Vec::new();
    for (index, decision) in decisions.iter().enumerate() {
        let by = if place <= index && is_alike(decision) { by } else { 0 };
        let decision = counted(decision, by).filter(|it| !has(&numbered, it))?;
        numbered.push(decision);
    }
    is_alike(decisions.get(place)?).then_some(numbered)
}

fn counted(decision: &Decision, by: i64) -> Option<Decision> {
    let ordinal = u32::try_from(i64::from(decision.ordinal) + by).ok()?;
    (0 < ordinal).then_some(Decision { ordinal, ..*decision })
}

fn has(decisions: &[Decision], wanted: &Decision) -> bool {
    decisions.iter().any(|it| name(it) == name(wanted))
}
