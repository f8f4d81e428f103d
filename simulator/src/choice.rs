//! The choice stream: every nondeterministic decision of a run is one labelled call.
//!
//! A run is a function of its choices. Where they come from is exchangeable: a seed, or a
//! schedule that was recorded, edited or shrunk. Choice 0 is always the calm one, so a decision
//! that a schedule does not mention is calm.
//!
//! This module does not know what is decided, only how it is called.

mod ask;
mod text;

use std::collections::{BTreeMap, BTreeSet};

use synod_core::{EventId, NodeId, Random};

pub use self::text::NotADecision;
use crate::strategy::{Driver, Strategy};

/// What a decision is about, by meaning and not by position, so that a recorded schedule finds
/// its decisions again after the program was edited.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Label {
    /// The question: `delay`, `lose`, `crash.node`.
    pub what: &'static str,
    /// Whom it concerns.
    pub about: About,
}

/// Whom a decision concerns.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum About {
    /// A message.
    Message {
        /// The sender.
        from: NodeId,
        /// The receiver.
        to: NodeId,
        /// What is sent.
        event: EventId,
    },
    /// A node.
    Node(NodeId),
    /// The planned fault, or request, of this number.
    Fault(u32),
}

/// The questions that the simulator asks. A schedule with another one is refused.
pub(crate) const QUESTIONS: &[&str] = &[
    "delay",
    "tail",
    "lose",
    "burst",
    "burst.length",
    "duplicate",
    REDRAW,
    CHOOSE,
    RANDOM,
    "job",
    "notice",
    "clock.fast",
    "clock.slow",
    "clock.skew",
    "request.node",
    "request.at",
    "request.what",
    "crash.node",
    "crash.at",
    "crash.after",
    "crash.losing",
    "crash.down",
    "crash.start",
    "partition.side",
    "partition.one_way",
    "partition.at",
    "partition.length",
    "clog.side",
    "clog.at",
    "clog.later",
    "clog.length",
    "pause.node",
    "pause.at",
    "pause.length",
    "jump.node",
    "jump.at",
    "jump.by",
    "join.node",
    "join.at",
    "leave.node",
    "leave.at",
    "traitor.node",
    "traitor.kind",
    "traitor.at",
    "traitor.side",
    "withhold",
    "equivocate",
    "mutate",
    "replay",
    INPUT,
    "disk.kept",
    "disk.keep",
    "disk.length",
    "disk.name",
    "disk.forget",
    "disk.down",
    "disk.cut",
    "disk.rot.at",
    "disk.node",
    "disk.kind",
    "disk.at",
    "disk.for",
    "disk.room",
    "disk.within",
    "disk.sector",
];

/// When a message that lost a race arrives: as before, which is calm, or so much later than now.
pub(crate) const REDRAW: &str = "redraw";

/// What a handler lets be chosen.
pub(crate) const CHOOSE: &str = "choose";

/// What a node's random numbers begin with in this run: 0, which is calm, or other ones.
pub(crate) const RANDOM: &str = "random";

/// Whether an input of the scenario is given, which is calm, or left out. No seed leaves one out:
/// only a schedule does.
pub(crate) const INPUT: &str = "input";

/// One decision of a recorded run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Decision {
    /// What was decided.
    pub label: Label,
    /// The how-manieth decision of this label it was, from 1.
    pub ordinal: u32,
    /// Among how many.
    pub options: u64,
    /// Which of them: 0 is calm.
    pub choice: u64,
}

/// Where a run's choices come from.
#[derive(Debug)]
pub struct Stream {
    origin: Origin,
    /// How often each label was asked; kept only where ordinals matter.
    asked: BTreeMap<Label, u32>,
    log: Option<Vec<Decision>>,
    /// Choices that later ones made void, as they would have to be for the same run without these.
    revised: Choices,
    /// The inputs that are left out, by label and ordinal.
    left_out: BTreeSet<(Label, u32)>,
    /// What the coins come from of which no decision tells.
    coins: Option<u64>,
    /// What the random numbers of nodes begin with, of those that have drawn one.
    salts: BTreeMap<NodeId, u64>,
    /// Decisions of the schedule that the run did ask for.
    found: usize,
    /// Decisions asked so far that are not about planned faults.
    asked_in_run: usize,
    /// Where the run could be left, in order; kept only where the run is traced.
    moments: Vec<Moment>,
}

#[derive(Debug)]
enum Origin {
    Seeded(Driver),
    Recorded(Choices),
    Diverging {
        recorded: Choices,
        after: usize,
        random: Random,
    },
    /// One question in so many is drawn anew.
    Mutated {
        recorded: Choices,
        one_in: u64,
        random: Random,
    },
}

/// What was chosen, by label and ordinal.
type Choices = BTreeMap<(Label, u32), u64>;

/// A moment of a recorded run, between two happenings.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Moment {
    /// Decisions asked before it, those about planned faults left out.
    pub(crate) asked: usize,
    /// Steps written down before it.
    pub(crate) steps: usize,
    /// The time of the happening before it; `None` while the nodes start.
    pub(crate) after_us: Option<u64>,
}

impl Stream {
    /// Every choice from `seed`. Records nothing: the seed is the record.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self::following(Strategy::Random, seed)
    }

    /// Every choice from `seed` by `strategy`. Records nothing.
    #[must_use]
    pub fn following(strategy: Strategy, seed: u64) -> Self {
        Self::from(Origin::Seeded(Driver::new(strategy, seed)), false)
    }

    /// The same, recorded.
    #[must_use]
    pub fn recorded(self) -> Self {
        Self { log: Some(Vec::new()), ..self }
    }

    /// Every choice from `seed`, recorded.
    #[must_use]
    pub fn recording(seed: u64) -> Self {
        Self::seeded(seed).recorded()
    }

    /// The choices of `decisions`, calm where they say nothing; recorded as they are taken.
    #[must_use]
    pub fn replaying(decisions: &[Decision]) -> Self {
        Self::from(Origin::Recorded(by_label(decisions)), true).leaving_out(decisions)
    }

    /// The choices of `decisions` for the first `after` questions of a run, and every later choice
    /// from `seed`. Planned faults are asked for before the run begins; they are not counted, and
    /// are always those of `decisions`.
    #[must_use]
    pub fn diverging(decisions: &[Decision], after: usize, seed: u64) -> Self {
        let (recorded, random) = (by_label(decisions), Random::new(seed));
        Self::from(Origin::Diverging { recorded, after, random }, false).leaving_out(decisions)
    }

    /// The choices of `decisions`, calm where they say nothing, but for some that are drawn anew from
    /// `seed`: one in 2 to one in 128 of all, as the seed says. What is planned before the run counts too.
    #[must_use]
    pub fn mutating(decisions: &[Decision], seed: u64) -> Self {
        let (recorded, mut random) = (by_label(decisions), Random::new(seed));
        let one_in = 2 << random.below(7);
        Self::from(Origin::Mutated { recorded, one_in, random }, false).leaving_out(decisions)
    }

    /// The same, without the inputs that `decisions` leave out.
    pub(crate) fn leaving_out(self, decisions: &[Decision]) -> Self {
        let left_out = decisions.iter().filter(|it| it.is_omission());
        Self { left_out: left_out.map(|it| (it.label, it.ordinal)).collect(), ..self }
    }

    /// The same, where what handlers let be chosen comes from `seed` and is not calm, unless a decision tells.
    pub(crate) fn tossing(self, seed: Option<u64>) -> Self {
        Self { coins: seed, ..self }
    }

    fn from(origin: Origin, recorded: bool) -> Self {
        Self {
            origin,
            asked: BTreeMap::new(),
            log: recorded.then(Vec::new),
            revised: BTreeMap::new(),
            left_out: BTreeSet::new(),
            coins: None,
            salts: BTreeMap::new(),
            found: 0,
            asked_in_run: 0,
            moments: Vec::new(),
        }
    }

    /// The decisions taken so far that are not calm, in the order of taking.
    pub fn decisions(&self) -> Vec<Decision> {
        let taken = self.log.iter().flatten();
        taken.filter(|decision| 0 < decision.choice).copied().collect()
    }

    /// How often a question was asked, which is the ordinal of the last one. Known only to streams
    /// that record.
    pub(crate) fn asked(&self, label: Label) -> u32 {
        self.asked.get(&label).copied().unwrap_or(0)
    }

    /// A later decision overrules this one: the same run comes of `choice` without the later one.
    pub(crate) fn revise(&mut self, label: Label, ordinal: u32, choice: u64) {
        if self.log.is_some() {
            self.revised.insert((label, ordinal), choice);
        }
    }

    /// The decisions of the same run in a world without races, where messages take from the start
    /// the time that they took in the end.
    pub(crate) fn decisions_without_races(&self) -> Vec<Decision> {
        let taken = self.log().iter().filter(|it| it.label.what != REDRAW);
        let revised = taken.map(|it| {
            let choice = self.revised.get(&(it.label, it.ordinal)).copied();
            Decision { choice: choice.unwrap_or(it.choice), ..*it }
        });
        revised.filter(|it| 0 < it.choice).collect()
    }

    /// How many coins handlers have thrown, in a run that is recorded or follows a schedule.
    pub(crate) fn coins(&self) -> u64 {
        let coins = self.asked.iter().filter(|(label, _)| label.what == CHOOSE);
        coins.map(|(_, count)| u64::from(*count)).sum()
    }

    /// How many decisions of the schedule the run asked for.
    pub fn found(&self) -> usize {
        self.found
    }

    /// Every decision taken so far, the calm ones included.
    pub(crate) fn log(&self) -> &[Decision] {
        self.log.as_deref().unwrap_or_default()
    }

    /// Remembers that the run could be left here, with so many `steps` written down.
    #[cold]
    pub(crate) fn mark(&mut self, steps: usize, after_us: Option<u64>) {
        self.moments.push(Moment { asked: self.asked_in_run, steps, after_us });
    }

    pub(crate) fn moments(&self) -> &[Moment] {
        &self.moments
    }

    fn decide(&mut self, label: Label, options: u64, draw: impl Fn(&mut Random) -> u64) -> u64 {
        self.decide_by(label, options, |driver| driver.decide(label, options, &draw), &draw)
    }

    fn decide_by(
        &mut self,
        label: Label,
        options: u64,
        seeded: impl Fn(&mut Driver) -> u64,
        draw: impl Fn(&mut Random) -> u64,
    ) -> u64 {
        let Self { origin, asked, log, found, asked_in_run, coins, .. } = self;
        if let (Origin::Seeded(driver), None) = (&mut *origin, &log) {
            return seeded(driver);
        }
        let planned = label.is_planned();
        if let Origin::Diverging { after, random, .. } = origin
            && *after <= *asked_in_run
            && !planned
        {
            return draw(random);
        }
        *asked_in_run += usize::from(!planned);
        let ordinal = asked.entry(label).and_modify(|count| *count += 1).or_insert(1);
        let mut kept = |recorded: &Choices| {
            let choice = recorded.get(&(label, *ordinal));
            *found += usize::from(choice.is_some());
            match (choice, &coins) {
                (Some(choice), _) => (*choice).min(options - 1),
                (None, Some(seed)) if label.what == CHOOSE => toss(*seed, label, *ordinal, options),
                (None, _) => 0,
            }
        };
        let choice = match origin {
            Origin::Seeded(driver) => seeded(driver),
            Origin::Recorded(recorded) | Origin::Diverging { recorded, .. } => kept(recorded),
            Origin::Mutated { recorded, one_in, random } => match random.below(*one_in) {
                0 => draw(random),
                _ => kept(recorded),
            },
        };
        if let Some(log) = log {
            log.push(Decision { label, ordinal: *ordinal, options, choice });
        }
        choice
    }
}

fn by_label(decisions: &[Decision]) -> Choices {
    decisions.iter().map(|it| ((it.label, it.ordinal), it.choice)).collect()
}

/// A coin that depends on nothing else that happens in a run.
fn toss(seed: u64, label: Label, ordinal: u32, options: u64) -> u64 {
    let node = match label.about {
        About::Node(node) => node.0,
        About::Message { .. } | About::Fault(_) => 0,
    };
    let which = u64::from(node) << 32 | u64::from(ordinal);
    Random::new(Random::new(seed).next_u64() ^ which).below(options)
}

impl Label {
    /// Whether it is decided before the run begins: about a fault, or about an input.
    pub(crate) fn is_planned(&self) -> bool {
        matches!(self.about, About::Fault(_)) || self.what == INPUT
    }

    /// Of which event the message is that it is about.
    pub(crate) fn event(&self) -> Option<EventId> {
        match self.about {
            About::Message { event, .. } => Some(event),
            About::Node(_) | About::Fault(_) => None,
        }
    }
}

impl Decision {
    /// Whether it leaves an input of the scenario out.
    #[must_use]
    pub fn is_omission(&self) -> bool {
        self.label.what == INPUT && 0 < self.choice
    }

    /// Whether it is about what a handler lets be chosen.
    pub(crate) fn is_coin(&self) -> bool {
        self.label.what == CHOOSE
    }

    /// The planned fault that it is about: its kind, and its number.
    pub(crate) fn fault(&self) -> Option<(&'static str, u32)> {
        match self.label.about {
            About::Fault(number) => Some((self.label.what.split('.').next()?, number)),
            About::Message { .. } | About::Node(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELAY: Label = Label {
        what: "delay",
        about: About::Message { from: NodeId(1), to: NodeId(2), event: EventId::of("a.b") },
    };
    const CRASH: Label = Label { what: "crash.node", about: About::Fault(1) };

    #[test]
    fn a_replay_takes_the_recorded_choices_and_is_calm_elsewhere() {
        let mut first = Stream::recording(7);
        let drawn: Vec<u64> = (0..20).map(|_| first.choose(DELAY, 10)).collect();
        let mut again = Stream::replaying(&first.decisions());
        let replayed: Vec<u64> = (0..20).map(|_| again.choose(DELAY, 10)).collect();
        assert_eq!(drawn, replayed);
        assert_eq!(again.choose(CRASH, 5), 0);
        assert_eq!(again.found(), first.decisions().len());
    }

    #[test]
    fn recording_does_not_change_what_a_seed_means() {
        let (mut plain, mut recorded) = (Stream::seeded(3), Stream::recording(3));
        for _ in 0..100 {
            assert_eq!(plain.choose(DELAY, 1_000), recorded.choose(DELAY, 1_000));
            assert_eq!(plain.chance(CRASH, 300_000), recorded.chance(CRASH, 300_000));
        }
    }

    #[test]
    fn a_diverging_stream_leaves_the_recorded_choices_after_so_many() {
        let mut first = Stream::recording(7);
        first.choose(CRASH, 10);
        let drawn: Vec<u64> = (0..20).map(|_| first.choose(DELAY, 1 << 40)).collect();
        for after in [0, 5, 20] {
            let [one, other] = [1, 2].map(|seed| {
                let mut again = Stream::diverging(&first.decisions(), after, seed);
                assert_eq!(again.choose(CRASH, 10), first.log()[0].choice);
                (0..20).map(|_| again.choose(DELAY, 1 << 40)).collect::<Vec<u64>>()
            });
            assert_eq!(one[..after], drawn[..after]);
            assert_eq!(one[..after], other[..after]);
            assert!(one[after..].iter().zip(&other[after..]).all(|(one, other)| one != other));
        }
    }

    #[test]
    fn a_mutated_stream_keeps_most_of_what_was_recorded_and_draws_the_rest_anew() {
        let mut first = Stream::recording(7);
        let drawn: Vec<u64> = (0..100).map(|_| first.choose(DELAY, 1 << 40)).collect();
        let kept = |seed| {
            let mut again = Stream::mutating(&first.decisions(), seed);
            drawn.iter().filter(|it| again.choose(DELAY, 1 << 40) == **it).count()
        };
        let kept: Vec<usize> = (0..100).map(kept).collect();
        assert!(kept.iter().all(|kept| *kept > 30), "{kept:?}");
        assert!(kept.iter().filter(|kept| **kept < 100).count() > 60, "{kept:?}");
        let twice = || Stream::mutating(&first.decisions(), 3).recorded();
        let (mut one, mut other) = (twice(), Stream::mutating(&first.decisions(), 3));
        assert!((0..100).all(|_| one.choose(DELAY, 1 << 40) == other.choose(DELAY, 1 << 40)));
    }

    #[test]
    fn a_question_aside_leaves_the_other_choices_of_a_seed_as_they_are() {
        for strategy in Strategy::ALL.map(|(_, strategy)| strategy) {
            let mut yes = 0;
            for seed in 0..100 {
                let draw = |asks_aside: bool| {
                    let mut stream = Stream::following(strategy, seed);
                    let before = stream.choose(DELAY, 1 << 40);
                    let aside = asks_aside && stream.chance_aside(CRASH, 8);
                    let after: Vec<u64> = (0..40).map(|_| stream.choose(DELAY, 1 << 40)).collect();
                    (aside, before, after)
                };
                let (with, without) = (draw(true), draw(false));
                assert_eq!((with.1, with.2), (without.1, without.2));
                yes += u32::from(with.0);
            }
            assert!((3..30).contains(&yes), "{yes} of 100");
        }
    }

    #[test]
    fn decisions_survive_their_text() {
        for label in [DELAY, CRASH, Label { what: "choose", about: About::Node(NodeId(3)) }] {
            let decision = Decision { label, ordinal: 2, options: u64::MAX, choice: 41 };
            let line = decision.line(|_| String::from("a.b"));
            assert_eq!(line.parse(), Ok(decision), "{line}");
        }
        assert!("delay nobody #1 = 2".parse::<Decision>().is_err());
        assert!("guess n1 #1 = 2".parse::<Decision>().is_err());
    }

    #[test]
    fn a_choice_of_an_edited_program_is_kept_within_its_options() {
        let decision = Decision { label: DELAY, ordinal: 1, options: u64::MAX, choice: 99 };
        assert_eq!(Stream::replaying(&[decision]).choose(DELAY, 10), 9);
    }
}
