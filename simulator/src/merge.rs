//! One trace of a whole cluster, from the recordings of its nodes.
//!
//! Each node's recording tells its own steps in its own time. What ties them together is the
//! messages: the same bytes that one node sent, another received. The clocks are shifted to where the
//! clocks on the walls were when the recordings began. A delivery comes after its send, and the clocks are
//! shifted further until the times say so too.

mod course;
mod ends;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::time::Duration;

use synod_core::{Envelope, NodeId};

use crate::playback::{Act, Began, Replayed};
use crate::scenario::micros;
use crate::trace::{MessageId, Step, Trace, Tracer};
use course::{Arrival, Course, OnItsWay, Seen};
use ends::{ends, leave_out_the_last};

/// A trace of several nodes.
#[derive(Clone, Debug)]
pub struct Merged {
    /// The steps of all nodes: each node's in its own order, each delivery after its send.
    pub trace: Trace,
    /// Deliveries whose send was found.
    pub matched: usize,
    /// Deliveries whose send was not: the sender was not recorded, or not all the time. They are
    /// numbered after the messages of that sender that are known.
    pub unmatched: usize,
}

/// Why recordings do not go together.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CannotMerge {
    /// They are of different algorithms.
    #[error("these are recordings of different algorithms: {one} and {other}")]
    Algorithms {
        /// An algorithm.
        one: String,
        /// Another one.
        other: String,
    },
    /// One life of a node is told twice.
    #[error("two recordings tell of the life {incarnation} of {node}")]
    Twice {
        /// The node.
        node: NodeId,
        /// Which life of it.
        incarnation: u64,
    },
}

/// Merges what was replayed of several nodes.
///
/// A delivery belongs to the first send of the same bytes by the same sender to the same receiver
/// that is not yet taken, in the life of the sender that the receiver was linked to. Where equal
/// messages were lost, it may be taken for an earlier one than it was. Where a recording begins in the middle
/// of a life, the clocks on the walls tell which send is the first one: if they are further apart than half of
/// the time between two equal messages, all may be taken for neighbours of what they were.
/// O(steps · log steps + lives³).
///
/// # Errors
///
/// [`CannotMerge`].
pub fn merge(nodes: &[Replayed]) -> Result<Merged, CannotMerge> {
    let ends = ends(nodes);
    let mut cast = Cast::of(nodes, &ends)?;
    cast.match_messages();
    cast.set_clocks();
    Ok(cast.tell(nodes))
}

/// All steps of all nodes.
struct Cast<'a> {
    acts: Vec<Placed<'a>>,
    /// The steps of each node, in its own order.
    order: BTreeMap<NodeId, Vec<usize>>,
    /// One for each life of each node.
    clocks: Vec<Clock>,
    unmatched: BTreeMap<NodeId, u64>,
}

/// The clock of a life.
#[derive(Default)]
struct Clock {
    /// How far it is shifted to go with the others.
    shift: Duration,
    /// When the life's recording began, shifted, if that was in the middle of the life.
    since: Option<Duration>,
}

/// A step, and what ties it to others.
struct Placed<'a> {
    node: NodeId,
    act: &'a Act,
    step: &'a Step,
    clock: usize,
    /// The number of its first message.
    first: u64,
    /// The step that sent what this one received, and the message.
    cause: Option<(usize, MessageId)>,
    /// Which of the messages it sent arrived.
    arrived: Vec<bool>,
}

impl<'a> Cast<'a> {
    fn of(
        nodes: &'a [Replayed],
        ends: &'a BTreeMap<(NodeId, u64), (Act, Step)>,
    ) -> Result<Self, CannotMerge> {
        let mut lives: BTreeMap<(NodeId, u64), Vec<(&Act, &Step)>> = BTreeMap::new();
        for replayed in nodes {
            same_algorithm(nodes.first(), replayed)?;
            let node = replayed.node;
            let own: BTreeSet<u64> = replayed.acts.iter().map(|act| act.incarnation).collect();
            if let Some(&incarnation) = own.iter().find(|life| lives.contains_key(&(node, **life)))
            {
                return Err(CannotMerge::Twice { node, incarnation });
            }
            for (act, step) in replayed.acts.iter().zip(&replayed.trace.steps) {
                lives.entry((node, act.incarnation)).or_default().push((act, step));
            }
        }
        for (life, (act, step)) in ends {
            lives.entry(*life).or_default().push((act, step));
        }
        let mut acts = Vec::new();
        let mut order: BTreeMap<NodeId, Vec<usize>> = BTreeMap::new();
        let mut sent: BTreeMap<NodeId, u64> = BTreeMap::new();
        let clocks = clocks(nodes, lives.keys());
        for (clock, ((node, _), life)) in lives.into_iter().enumerate() {
            for (act, step) in life {
                let sent = sent.entry(node).or_default();
                let (first, arrived) = (*sent + 1, vec![false; act.sent.len()]);
                *sent += act.sent.len() as u64;
                order.entry(node).or_default().push(acts.len());
                acts.push(Placed { node, act, step, clock, first, cause: None, arrived });
            }
        }
        Ok(Self { acts, order, clocks, unmatched: sent })
    }

    fn match_messages(&mut self) {
        for (receiver, OnItsWay { sender, place, .. }) in self.pairs() {
            let Some(sent) = self.acts.get_mut(sender) else {
                continue;
            };
            sent.arrived.get_mut(place).iter_mut().for_each(|it| **it = true);
            let id = MessageId { from: sent.node, number: sent.first + place as u64 };
            if let Some(received) = self.acts.get_mut(receiver) {
                received.cause = Some((sender, id));
            }
        }
    }

    /// The steps that receive something, each with the message that it is.
    fn pairs(&self) -> Vec<(usize, OnItsWay)> {
        let mut courses: BTreeMap<(NodeId, NodeId, &Envelope), Course> = BTreeMap::new();
        for (sender, placed) in self.acts.iter().enumerate() {
            let (incarnation, seen) = (placed.act.incarnation, self.seen(placed));
            for (place, (to, envelope)) in placed.act.sent.iter().enumerate() {
                let course = courses.entry((placed.node, *to, envelope)).or_default();
                course.sent.push_back(OnItsWay { sender, place, incarnation, seen });
            }
        }
        for (to, own) in &self.order {
            let mut linked: BTreeMap<NodeId, u64> = BTreeMap::new();
            for (receiver, placed) in own.iter().filter_map(|it| Some((*it, self.acts.get(*it)?))) {
                linked.extend(placed.act.linked);
                let Some((from, envelope)) = &placed.act.received else {
                    continue;
                };
                if let Some(course) = courses.get_mut(&(*from, *to, envelope)) {
                    let (linked, seen) = (linked.get(from).copied(), self.seen(placed));
                    course.received.push_back(Arrival { receiver, linked, seen });
                }
            }
        }
        courses.into_values().flat_map(Course::pairs).collect()
    }

    /// When a step happened, by the clock that all share, if they do.
    fn seen(&self, placed: &Placed<'_>) -> Seen {
        let clock = self.clocks.get(placed.clock);
        let at = placed.act.now.saturating_add(clock.map_or(Duration::ZERO, |it| it.shift));
        Seen { at, since: clock.and_then(|clock| clock.since) }
    }

    /// Shifts the clocks as little as it takes for no message to arrive before it was sent, and
    /// for no life to begin before the one before it has ended. Clocks that do not run alike
    /// cannot satisfy that: then the steps in question are put later when they are told.
    fn set_clocks(&mut self) {
        // By how much the clock of the first step must be ahead of that of the second, at least.
        let mut bounds: BTreeMap<(usize, usize), (Duration, Duration)> = BTreeMap::new();
        let mut before = |earlier: &Placed<'_>, later: &Placed<'_>| {
            let (sent, received) = (earlier.act.now, later.act.now);
            let bound = bounds.entry((earlier.clock, later.clock)).or_insert((sent, received));
            if bound.0.saturating_add(received) < sent.saturating_add(bound.1) {
                *bound = (sent, received);
            }
        };
        for placed in &self.acts {
            if let Some(sender) = placed.cause.and_then(|(sender, _)| self.acts.get(sender)) {
                before(sender, placed);
            }
        }
        for own in self.order.values() {
            for pair in own.windows(2) {
                if let [one, next] = pair
                    && let (Some(one), Some(next)) = (self.acts.get(*one), self.acts.get(*next))
                    && one.clock != next.clock
                {
                    before(one, next);
                }
            }
        }
        for _ in 0..self.clocks.len() {
            for ((earlier, later), (sent, received)) in &bounds {
                let shift = self.clocks.get(*earlier).map_or(Duration::ZERO, |it| it.shift);
                let least = shift.saturating_add(*sent).saturating_sub(*received);
                if let Some(clock) = self.clocks.get_mut(*later) {
                    clock.shift = clock.shift.max(least);
                }
            }
        }
    }

    /// Tells the steps in the order of their times, causes first.
    fn tell(mut self, nodes: &[Replayed]) -> Merged {
        let algorithm = nodes.first().map_or("", |node| node.trace.algorithm.as_str());
        let count = nodes.iter().map(|node| node.trace.nodes).max().unwrap_or(0);
        let mut telling = Telling::new(&self, Tracer::new(algorithm, count));
        let mut matched = 0;
        loop {
            let Some((Reverse(time), Reverse(index))) = telling.ready.pop() else {
                match telling.stuck(&self) {
                    // Recordings that cannot be of one run: a cause that comes after its effect.
                    Some(index) => {
                        if let Some(placed) = self.acts.get_mut(index) {
                            placed.cause = None;
                        }
                        telling.offer(&self, index);
                        continue;
                    }
                    None => break,
                }
            };
            matched += usize::from(self.acts.get(index).is_some_and(|it| it.cause.is_some()));
            telling.tell(&mut self, index, time);
        }
        let header = nodes.first().map(|node| node.trace.header.clone()).unwrap_or_default();
        let mut trace = Trace { header, ..telling.tracer.finish() };
        leave_out_the_last(&mut trace.steps);
        let delivered = self.acts.iter().filter(|placed| placed.act.received.is_some()).count();
        Merged { trace, matched, unmatched: delivered - matched }
    }

    /// The step as the trace tells it.
    fn step(&mut self, index: usize, time: Duration, sent_at: Option<Duration>) -> Option<Step> {
        let placed = self.acts.get(index)?;
        let mut step = placed.step.clone();
        step.time_us = micros(time);
        for (place, (sent, arrived)) in step.sends.iter_mut().zip(&placed.arrived).enumerate() {
            sent.id.number = placed.first + place as u64;
            let recorded = self.order.contains_key(&sent.to);
            sent.lost = (recorded && !arrived).then(|| String::from("not seen to arrive"));
        }
        if let Some((_, id)) = placed.cause {
            step.message = Some(id);
            step.delay_us = sent_at.map(|sent| micros(time).saturating_sub(micros(sent)));
        } else if let Some(message) = &mut step.message {
            let unmatched = self.unmatched.entry(message.from).or_default();
            *unmatched += 1;
            message.number = *unmatched;
        }
        Some(step)
    }
}

/// A merge under way.
struct Telling {
    tracer: Tracer,
    /// When each step was told.
    told: Vec<Option<Duration>>,
    /// Steps that may be told, the earliest first.
    ready: BinaryHeap<(Reverse<Duration>, Reverse<usize>)>,
    /// How far each node has come.
    next: BTreeMap<NodeId, usize>,
    /// Receivers that wait for a step to be told.
    waiting: BTreeMap<usize, Vec<usize>>,
}

impl Telling {
    fn new(cast: &Cast<'_>, tracer: Tracer) -> Self {
        let told = vec![None; cast.acts.len()];
        let next = cast.order.keys().map(|node| (*node, 0)).collect();
        let (ready, waiting) = (BinaryHeap::new(), BTreeMap::new());
        let mut telling = Self { tracer, told, ready, next, waiting };
        for index in cast.order.values().filter_map(|own| own.first()) {
            telling.offer(cast, *index);
        }
        telling
    }

    /// Takes note that all steps of its own node before this one are told.
    fn offer(&mut self, cast: &Cast<'_>, index: usize) {
        let Some(placed) = cast.acts.get(index) else {
            return;
        };
        let when = |told: &[Option<Duration>], index: usize| told.get(index).copied().flatten();
        let sent = match placed.cause {
            None => Duration::ZERO,
            Some((sender, _)) => match when(&self.told, sender) {
                Some(sent) => sent,
                None => return self.waiting.entry(sender).or_default().push(index),
            },
        };
        let own = cast.order.get(&placed.node).zip(self.next.get(&placed.node));
        let before = own.and_then(|(own, next)| own.get(next.checked_sub(1)?).copied());
        let before = before.and_then(|before| when(&self.told, before)).unwrap_or_default();
        let time = cast.seen(placed).at.max(sent).max(before);
        self.ready.push((Reverse(time), Reverse(index)));
    }

    fn tell(&mut self, cast: &mut Cast<'_>, index: usize, time: Duration) {
        let cause = cast.acts.get(index).and_then(|placed| placed.cause);
        let sent_at = cause.and_then(|(sender, _)| self.told.get(sender).copied().flatten());
        let Some(step) = cast.step(index, time, sent_at) else {
            return;
        };
        self.tracer.push(step);
        self.told.get_mut(index).iter_mut().for_each(|told| **told = Some(time));
        let Some(node) = cast.acts.get(index).map(|placed| placed.node) else {
            return;
        };
        let next = self.next.entry(node).or_default();
        *next += 1;
        let following = cast.order.get(&node).and_then(|own| own.get(*next)).copied();
        for index in self.waiting.remove(&index).unwrap_or_default().into_iter().chain(following) {
            self.offer(cast, index);
        }
    }

    /// The earliest of the steps that wait for each other.
    fn stuck(&mut self, cast: &Cast<'_>) -> Option<usize> {
        let heads = self.next.iter().filter_map(|(node, next)| cast.order.get(node)?.get(*next));
        let first =
            heads.copied().min_by_key(|index| cast.acts.get(*index).map(|it| it.act.now))?;
        self.waiting.values_mut().for_each(|waiting| waiting.retain(|index| *index != first));
        Some(first)
    }
}

/// The clocks of these lives, as they were by the clocks on the walls; each as it is if those of some life are
/// not known.
fn clocks<'k>(
    nodes: &[Replayed],
    lives: impl ExactSizeIterator<Item = &'k (NodeId, u64)>,
) -> Vec<Clock> {
    let began: BTreeMap<(NodeId, u64), Began> = nodes
        .iter()
        .flat_map(|it| it.began.iter().map(|(life, began)| ((it.node, *life), *began)))
        .collect();
    let count = lives.len();
    let known = lives.map(|life| {
        let began = began.get(life)?;
        let moment = began.moment?;
        Some((moment.wall.saturating_sub(moment.now), began.is_late.then_some(moment.wall)))
    });
    let Some(known) = known.collect::<Option<Vec<_>>>() else {
        return std::iter::repeat_with(Clock::default).take(count).collect();
    };
    let first = known.iter().map(|(zero, _)| *zero).min().unwrap_or_default();
    let clock = |(zero, since): (Duration, Option<Duration>)| Clock {
        shift: zero - first,
        since: since.map(|wall| wall.saturating_sub(first)),
    };
    known.into_iter().map(clock).collect()
}

fn same_algorithm(first: Option<&Replayed>, other: &Replayed) -> Result<(), CannotMerge> {
    match first.map(|first| first.trace.algorithm.clone()) {
        Some(one) if one != other.trace.algorithm => {
            Err(CannotMerge::Algorithms { one, other: other.trace.algorithm.clone() })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
