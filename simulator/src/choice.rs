//! The choice stream: every nondeterministic decision of a run is one labelled call.
//!
//! A run is a function of its choices. Where they come from is exchangeable: a seed, or a
//! schedule that was recorded, edited or shrunk. Choice 0 is always the calm one, so a decision
//! that a schedule does not mention is calm.
//!
//! This module does not know what is decided, only how it is called.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use synod_core::{EventId, NodeId, Random};

use crate::settings::Shape;

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
    /// The planned fault of this number.
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
    "choose",
    "job",
    "notice",
    "clock.fast",
    "clock.slow",
    "clock.skew",
    "crash.node",
    "crash.at",
    "crash.after",
    "crash.losing",
    "crash.down",
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
];

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
    /// Decisions of the schedule that the run did ask for.
    found: usize,
}

#[derive(Debug)]
enum Origin {
    Seeded(Random),
    Recorded(BTreeMap<(Label, u32), u64>),
}

impl Stream {
    /// Every choice from `seed`. Records nothing: the seed is the record.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self::from(Origin::Seeded(Random::new(seed)), false)
    }

    /// Every choice from `seed`, recorded.
    #[must_use]
    pub fn recording(seed: u64) -> Self {
        Self::from(Origin::Seeded(Random::new(seed)), true)
    }

    /// The choices of `decisions`, calm where they say nothing; recorded as they are taken.
    #[must_use]
    pub fn replaying(decisions: &[Decision]) -> Self {
        let by_label = decisions.iter().map(|it| ((it.label, it.ordinal), it.choice)).collect();
        Self::from(Origin::Recorded(by_label), true)
    }

    fn from(origin: Origin, recorded: bool) -> Self {
        Self { origin, asked: BTreeMap::new(), log: recorded.then(Vec::new), found: 0 }
    }

    /// A number below `options`, each as likely as the others.
    ///
    /// # Panics
    ///
    /// If `options` is 0.
    pub fn choose(&mut self, label: Label, options: u64) -> u64 {
        assert!(0 < options, "nothing to choose from");
        self.decide(label, options, |random| random.below(options))
    }

    /// A number below `options`, spread as a delay of `shape` above `min`.
    pub(crate) fn choose_delay(
        &mut self,
        label: Label,
        options: u64,
        min: u64,
        shape: Shape,
    ) -> u64 {
        self.decide(label, options, |random| shape.draw(random.next_u64(), min, options))
    }

    /// Whether something happens that is not calm, with `per_million` chances in a million.
    /// Asks nothing if it cannot happen.
    pub fn chance(&mut self, label: Label, per_million: u32) -> bool {
        0 < per_million
            && 0 < self.decide(label, 2, |random| {
                u64::from(random.below(1_000_000) < u64::from(per_million))
            })
    }

    /// The decisions taken so far that are not calm, in the order of taking.
    pub fn decisions(&self) -> Vec<Decision> {
        let taken = self.log.iter().flatten();
        taken.filter(|decision| 0 < decision.choice).copied().collect()
    }

    /// How many decisions of the schedule the run asked for.
    pub fn found(&self) -> usize {
        self.found
    }

    fn decide(&mut self, label: Label, options: u64, draw: impl Fn(&mut Random) -> u64) -> u64 {
        let Self { origin, asked, log, found } = self;
        if let (Origin::Seeded(random), None) = (&mut *origin, &log) {
            return draw(random);
        }
        let ordinal = asked.entry(label).and_modify(|count| *count += 1).or_insert(1);
        let choice = match origin {
            Origin::Seeded(random) => draw(random),
            Origin::Recorded(decisions) => match decisions.get(&(label, *ordinal)) {
                Some(choice) => {
                    *found += 1;
                    (*choice).min(options - 1)
                }
                None => 0,
            },
        };
        if let Some(log) = log {
            log.push(Decision { label, ordinal: *ordinal, options, choice });
        }
        choice
    }
}

impl Decision {
    /// The decision as a line of a schedule; `name` tells an event's wire name.
    pub(crate) fn line(&self, name: impl Fn(EventId) -> String) -> String {
        let Self { label, ordinal, choice, .. } = self;
        let about = match label.about {
            About::Message { from, to, event } => format!("{} {from}>{to}", name(event)),
            About::Node(node) => node.to_string(),
            About::Fault(number) => number.to_string(),
        };
        format!("{} {about} #{ordinal} = {choice}", label.what)
    }
}

/// A line of a schedule that is not a decision.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{0}` is no decision: expected `QUESTION WHOM #ORDINAL = CHOICE`")]
pub struct NotADecision(String);

impl FromStr for Decision {
    type Err = NotADecision;

    fn from_str(line: &str) -> Result<Self, NotADecision> {
        parse(line).ok_or_else(|| NotADecision(line.chars().take(120).collect()))
    }
}

fn parse(line: &str) -> Option<Decision> {
    let (subject, choice) = line.split_once(" = ")?;
    let (subject, ordinal) = subject.rsplit_once(" #")?;
    let mut words = subject.split(' ');
    let asked = words.next()?;
    let what = QUESTIONS.iter().copied().find(|question| *question == asked)?;
    let about = match (words.next()?, words.next()) {
        (event, Some(pair)) => {
            let (from, to) = pair.split_once('>')?;
            let event = EventId::of(event);
            About::Message { from: from.parse().ok()?, to: to.parse().ok()?, event }
        }
        (word, None) => match word.parse() {
            Ok(node) => About::Node(node),
            Err(_) => About::Fault(word.parse().ok()?),
        },
    };
    let label = Label { what, about };
    let (ordinal, choice) = (ordinal.parse().ok()?, choice.trim().parse().ok()?);
    words.next().is_none().then_some(Decision { label, ordinal, options: u64::MAX, choice })
}

impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message { from, to, .. } => write!(f, "{from}>{to}"),
            Self::Node(node) => write!(f, "{node}"),
            Self::Fault(number) => write!(f, "{number}"),
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
