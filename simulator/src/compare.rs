//! Two runs beside each other: what is the same in both, and where they part.
//!
//! Up to the first step that differs, the runs are paired step by step. From there on what happens
//! is paired by what it is: the how-manieth arrival of this event from that node, the how-manieth
//! time this timer runs out. Of these pairs the longest list is kept that is in order in both runs,
//! as patience diff does; everything else happened in one run only, or elsewhere in the other.

use std::collections::BTreeMap;
use std::ops::Range;

use synod_core::NodeId;

use crate::trace::{Sent, Step, StepKind, Trace};

pub use picture::SideBySide;

mod picture;
mod telling;
#[cfg(test)]
mod tests;

/// How two runs compare.
#[derive(Clone, Debug)]
pub struct Comparison<'a> {
    pairs: Vec<Pair<'a>>,
    nodes: u32,
}

/// What happened in two runs side by side, or in one of them only.
#[derive(Clone, Copy, Debug)]
pub struct Pair<'a> {
    /// How the two compare.
    pub likeness: Likeness,
    /// The step of the first run.
    pub one: Option<&'a Step>,
    /// The step of the second run.
    pub other: Option<&'a Step>,
    /// Which step of the other run is the same thing, but out of order.
    pub elsewhere: Option<usize>,
}

/// How two steps compare.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Likeness {
    /// The same happens at the same time, and comes to the same.
    Equal,
    /// The same happens at another time, and comes to the same.
    Shifted,
    /// The same happens, and comes to something else.
    Changed,
    /// It happens in the first run only.
    OnlyOne,
    /// It happens in the second run only.
    OnlyOther,
}

impl<'a> Comparison<'a> {
    /// Compares two runs of one algorithm. Takes time in the order of n log n for n steps.
    #[must_use]
    pub fn of(one: &'a Trace, other: &'a Trace) -> Self {
        let both = || one.steps.iter().zip(&other.steps);
        let is_equal = |(one, other): &(&Step, &Step)| {
            What::of(one) == What::of(other) && Likeness::of(one, other) == Likeness::Equal
        };
        let begin = both().take_while(is_equal).count();
        let mut pairs: Vec<Pair<'a>> =
            both().take(begin).map(|(one, other)| Pair::of(one, other)).collect();
        let rest = |trace: &'a Trace| trace.steps.get(begin..).unwrap_or_default();
        Rest { one: rest(one), other: rest(other) }.pair_up(&mut pairs);
        Self { pairs, nodes: one.nodes.max(other.nodes) }
    }

    /// What happened, in an order that is that of both runs.
    #[must_use]
    pub fn pairs(&self) -> &[Pair<'a>] {
        &self.pairs
    }

    /// The place of the first pair that is not [equal](Likeness::Equal), if there is one.
    #[must_use]
    pub fn parts_at(&self) -> Option<usize> {
        self.pairs.iter().position(|pair| pair.likeness != Likeness::Equal)
    }

    /// How many pairs compare so.
    #[must_use]
    pub fn count(&self, likeness: Likeness) -> usize {
        self.pairs.iter().filter(|pair| pair.likeness == likeness).count()
    }
}

impl<'a> Pair<'a> {
    fn of(one: &'a Step, other: &'a Step) -> Self {
        let likeness = Likeness::of(one, other);
        Self { likeness, one: Some(one), other: Some(other), elsewhere: None }
    }

    fn steps(&self) -> impl Iterator<Item = &'a Step> + use<'a> {
        self.one.into_iter().chain(self.other)
    }
}

impl Likeness {
    /// How two steps compare in which the same happens.
    fn of(one: &Step, other: &Step) -> Self {
        let comes_to_the_same = one.kind == other.kind
            && sends_alike(&one.sends, &other.sends)
            && (&one.armed, &one.changes, &one.state)
                == (&other.armed, &other.changes, &other.state)
            && (&one.outputs, &one.clients) == (&other.outputs, &other.clients)
            && (&one.log, &one.wrong) == (&other.log, &other.wrong);
        match comes_to_the_same {
            false => Self::Changed,
            true if (one.time_us, one.delay_us) == (other.time_us, other.delay_us) => Self::Equal,
            true => Self::Shifted,
        }
    }

    /// The likeness in one word, for programs.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Equal => "equal",
            Self::Shifted => "shifted",
            Self::Changed => "changed",
            Self::OnlyOne => "only_left",
            Self::OnlyOther => "only_right",
        }
    }
}

/// Whether the same was sent in the same order, whatever its numbers.
fn sends_alike(one: &[Sent], other: &[Sent]) -> bool {
    one.len() == other.len() && one.iter().zip(other).all(|(one, other)| is_alike(one, other))
}

fn is_alike(one: &Sent, other: &Sent) -> bool {
    (one.to, &one.event, &one.payload, &one.lost)
        == (other.to, &other.event, &other.payload, &other.lost)
}

/// What happens in a step, whatever comes of it: a message is itself whether it arrives or is lost.
#[derive(Clone, Copy, Eq, Ord, PartialEq, PartialOrd)]
struct What<'a> {
    kind: u8,
    node: Option<NodeId>,
    from: Option<NodeId>,
    event: &'a str,
    payload: &'a str,
}

impl<'a> What<'a> {
    fn of(step: &'a Step) -> Self {
        let kind = match step.kind {
            StepKind::Lost => StepKind::Deliver,
            kind => kind,
        };
        let Step { node, event, payload, message, .. } = step;
        let from = message.map(|message| message.from);
        Self { kind: kind as u8, node: *node, from, event, payload }
    }
}

/// The steps of both runs behind what they share.
struct Rest<'a> {
    one: &'a [Step],
    other: &'a [Step],
}

impl<'a> Rest<'a> {
    fn pair_up(&self, pairs: &mut Vec<Pair<'a>>) {
        let partners = self.partners();
        let back = partners.iter().enumerate().filter_map(|(at, to)| Some(((*to)?, at)));
        let places = Places { offset: pairs.len(), there: &partners, back: &back.collect() };
        let (mut at_one, mut at_other) = (0, 0);
        let ends = (self.one.len(), self.other.len());
        for (to_one, to_other) in in_order(&partners).into_iter().chain([ends]) {
            self.gap(at_one..to_one, at_other..to_other, &places, pairs);
            if let (Some(one), Some(other)) = (self.one.get(to_one), self.other.get(to_other)) {
                pairs.push(Pair::of(one, other));
            }
            (at_one, at_other) = (to_one + 1, to_other + 1);
        }
    }

    /// What only one of them has between two pairs, in the order of time.
    fn gap(
        &self,
        mut ones: Range<usize>,
        mut others: Range<usize>,
        places: &Places<'_>,
        pairs: &mut Vec<Pair<'a>>,
    ) {
        loop {
            let left = self.one.get(ones.start).filter(|_| !ones.is_empty());
            let right = self.other.get(others.start).filter(|_| !others.is_empty());
            match (left, right) {
                (Some(one), other) if other.is_none_or(|other| one.time_us <= other.time_us) => {
                    pairs.push(Pair {
                        likeness: Likeness::OnlyOne,
                        one: Some(one),
                        other: None,
                        elsewhere: places.in_other(ones.start),
                    });
                    ones.start += 1;
                }
                (_, Some(other)) => {
                    pairs.push(Pair {
                        likeness: Likeness::OnlyOther,
                        one: None,
                        other: Some(other),
                        elsewhere: places.in_one(others.start),
                    });
                    others.start += 1;
                }
                _ => return,
            }
        }
    }

    /// For each step of the first run, the place in the second at which the same happens for the
    /// same time.
    fn partners(&self) -> Vec<Option<usize>> {
        let numbered = |steps: &'a [Step]| {
            let mut counts: BTreeMap<What<'a>, usize> = BTreeMap::new();
            let number = move |step: &'a Step| {
                let count = counts.entry(What::of(step)).or_default();
                *count += 1;
                (What::of(step), *count)
            };
            steps.iter().map(number)
        };
        let there: BTreeMap<_, _> = numbered(self.other).zip(0..).collect();
        numbered(self.one).map(|what| there.get(&what).copied()).collect()
    }
}

/// Where the same happens in the other run, in order or not.
struct Places<'p> {
    /// The steps that both runs share at their beginning.
    offset: usize,
    there: &'p [Option<usize>],
    back: &'p BTreeMap<usize, usize>,
}

impl Places<'_> {
    fn in_other(&self, at: usize) -> Option<usize> {
        self.there.get(at).copied().flatten().map(|place| place + self.offset)
    }

    fn in_one(&self, at: usize) -> Option<usize> {
        self.back.get(&at).map(|place| place + self.offset)
    }
}

/// The longest list of pairs that are in order in both runs.
fn in_order(partners: &[Option<usize>]) -> Vec<(usize, usize)> {
    // Of the lists of each length, the one whose last partner comes first; each element knows the
    // one before it.
    let mut ends: Vec<(usize, usize)> = Vec::new();
    let mut before: Vec<Option<(usize, usize)>> = vec![None; partners.len()];
    for (at, to) in partners.iter().enumerate().filter_map(|(at, to)| Some((at, (*to)?))) {
        let length = ends.partition_point(|(_, last)| *last < to);
        let previous = length.checked_sub(1).and_then(|it| ends.get(it)).copied();
        if let Some(place) = before.get_mut(at) {
            *place = previous;
        }
        match ends.get_mut(length) {
            Some(end) => *end = (at, to),
            None => ends.push((at, to)),
        }
    }
    let mut kept: Vec<(usize, usize)> =
        std::iter::successors(ends.last().copied(), |(at, _)| before.get(*at).copied().flatten())
            .collect();
    kept.reverse();
    kept
}
