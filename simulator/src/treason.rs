//! What a traitor does: which kinds of treason there are, and what becomes of what its node sends.
//!
//! Links are authenticated, so a traitor speaks for itself alone. What it sends is typed: an event
//! of another node's program that decodes, never garbage, which a real node's decoder refuses.
//!
//! This module does not know the world: it is given effects, and makes other ones of them.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};

use synod_core::{Catalogue, Effect, Envelope, Input, Lane, Machine, NodeId, Time, TimerId};

use crate::choice::{About, Label, Stream};
use crate::side::Side;
use crate::world::Lender;

/// A kind of treason.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Treason {
    /// Sends nothing, while its links are up.
    Silent,
    /// Sends some of its messages, and others not.
    Withhold,
    /// Sends what it has received as its own.
    Replay,
    /// Tells different receivers different things.
    Equivocate,
    /// Changes what it sends.
    Mutate,
    /// Runs twice under one identity, each talking to a part of the cluster.
    Twins,
    /// Runs another program of the same events.
    Another,
}

impl Treason {
    /// Every kind, by what a node does, the calmest first. Part of a schedule, so a kind keeps its
    /// place for ever.
    const ALL: [(&'static str, Self); 7] = [
        ("is silent", Self::Silent),
        ("withholds", Self::Withhold),
        ("replays", Self::Replay),
        ("equivocates", Self::Equivocate),
        ("mutates", Self::Mutate),
        ("has a twin", Self::Twins),
        ("runs another program", Self::Another),
    ];

    /// How many kinds there are to choose from; another program may be there or not.
    pub(crate) fn options(has_other_program: bool) -> u64 {
        Self::ALL.len() as u64 - u64::from(!has_other_program)
    }

    /// The kind of a choice.
    pub(crate) fn chosen(choice: u64) -> Self {
        let index = usize::try_from(choice).unwrap_or(0);
        Self::ALL.get(index).map_or(Self::Silent, |(_, treason)| *treason)
    }

    /// What a node of this kind does.
    pub(crate) fn words(self) -> &'static str {
        Self::ALL.iter().find(|(_, it)| *it == self).map_or("", |(words, _)| *words)
    }
}

/// A planned treason.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Betrayal {
    pub(crate) node: NodeId,
    pub(crate) treason: Treason,
    /// Whom the second of two twins talks to.
    pub(crate) side: Side,
}

/// A node that is not what the others think.
pub(crate) struct Traitor {
    betrayal: Betrayal,
    /// What runs in the node's name: nothing, one machine, or two twins. One that panicked is gone.
    machines: Vec<Option<Box<dyn Machine>>>,
    incarnation: u64,
    /// What was received, the newest last.
    seen: VecDeque<Envelope>,
    /// What was sent, the newest last.
    made: VecDeque<Envelope>,
    replays: u32,
}

/// Envelopes that a traitor remembers, of those received and of those sent.
const MEMORY_MAX: usize = 32;
/// What a traitor sends again without being asked, at most in a run: two that answer each other
/// would never come to rest.
const REPLAYS_MAX: u32 = 32;
/// Other envelopes of the same event among which an equivocator chooses.
const VERSIONS_MAX: usize = 8;
/// Tells the timers of the second of two twins from those of the first.
const SECOND: u64 = 1 << 63;

/// What a machine that runs in a traitor's name asks for.
pub(crate) struct Asked {
    twin: usize,
    effects: Vec<Effect>,
}

/// What a traitor does with what its machines ask for.
pub(crate) struct Deeds {
    pub(crate) effects: Vec<Effect>,
    /// In words, one for each deed; `None` where nobody reads them.
    pub(crate) told: Option<Vec<String>>,
}

impl Deeds {
    pub(crate) fn new(are_told: bool) -> Self {
        Self { effects: Vec::new(), told: are_told.then(Vec::new) }
    }

    fn tell(&mut self, words: impl FnOnce() -> String) {
        if let Some(told) = &mut self.told {
            told.push(words());
        }
    }
}

impl Traitor {
    pub(crate) fn new(
        betrayal: Betrayal,
        machines: Vec<Box<dyn Machine>>,
        incarnation: u64,
    ) -> Self {
        let machines = machines.into_iter().map(Some).collect();
        let (seen, made) = (VecDeque::new(), VecDeque::new());
        Self { betrayal, machines, incarnation, seen, made, replays: 0 }
    }

    /// What it does.
    pub(crate) fn words(&self) -> &'static str {
        self.betrayal.treason.words()
    }

    pub(crate) fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// Lets `input` happen to the machines that it is for. A traitor that panics falls silent.
    pub(crate) fn run(&mut self, now: Time, input: &Input, stream: &mut Lender) -> Vec<Asked> {
        if let Input::Deliver { envelope, .. } = input {
            remember(&mut self.seen, envelope);
        }
        let twins = 0..self.machines.len();
        twins.filter_map(|twin| self.run_one(twin, now, input, stream)).collect()
    }

    /// Lets `input` happen to one machine, if it is for it.
    pub(crate) fn run_one(
        &mut self,
        twin: usize,
        now: Time,
        input: &Input,
        stream: &mut Lender,
    ) -> Option<Asked> {
        let input = self.as_heard_by(twin, input)?;
        let place = self.machines.get_mut(twin)?;
        let machine = place.as_mut()?;
        let mut effects = Vec::new();
        machine.decide_by(stream.lend());
        let stepped = catch_unwind(AssertUnwindSafe(|| machine.step(now, &input, &mut effects)));
        stream.take_back(machine.take_choices());
        // What a traitor's program refuses is its own affair.
        if stepped.is_err() {
            *place = None;
        }
        Some(Asked { twin, effects })
    }

    fn as_heard_by(&self, twin: usize, input: &Input) -> Option<Input> {
        match input {
            Input::Deliver { from, .. } if !self.talks_to(twin, *from) => None,
            Input::Timer(TimerId(id)) => {
                let is_second = *id & SECOND != 0;
                (is_second == (twin == 1)).then_some(Input::Timer(TimerId(*id & !SECOND)))
            }
            other => Some(other.clone()),
        }
    }

    fn talks_to(&self, twin: usize, peer: NodeId) -> bool {
        let has_twin = 1 < self.machines.len();
        !has_twin || self.betrayal.side.holds(peer) == (twin == 1)
    }

    /// Makes deeds of what the machines ask for.
    pub(crate) fn betray(
        &mut self,
        asked: Vec<Asked>,
        peers: u32,
        catalogue: &Catalogue,
        stream: &mut Stream,
        deeds: &mut Deeds,
    ) {
        for Asked { twin, effects } in asked {
            for effect in effects {
                match effect {
                    Effect::Send { to, .. } if !self.talks_to(twin, to) => (),
                    Effect::Send { to, lane, envelope } => {
                        if let Some(envelope) = self.send(to, envelope, catalogue, stream, deeds) {
                            remember(&mut self.made, &envelope);
                            deeds.effects.push(Effect::Send { to, lane, envelope });
                        }
                    }
                    // Its application is told whatever it likes, and it never comes back.
                    Effect::Output(_) | Effect::Persist(_) | Effect::Checkpoint { .. } => (),
                    other => deeds.effects.push(marked(twin, other)),
                }
            }
        }
        if self.betrayal.treason == Treason::Replay {
            self.replay(peers, catalogue, stream, deeds);
        }
    }

    /// What becomes of a message, if anything.
    fn send(
        &self,
        to: NodeId,
        envelope: Envelope,
        catalogue: &Catalogue,
        stream: &mut Stream,
        deeds: &mut Deeds,
    ) -> Option<Envelope> {
        let about = About::Message { from: self.betrayal.node, to, event: envelope.event() };
        let changed = match self.betrayal.treason {
            Treason::Silent => return None,
            Treason::Withhold => {
                if 0 < stream.choose(Label { what: "withhold", about }, 2) {
                    deeds.tell(|| format!("withholds {} from {to}", catalogue.show(&envelope)));
                    return None;
                }
                None
            }
            Treason::Equivocate => {
                let versions = self.versions(&envelope);
                let known = versions.len() as u64;
                let options = 1 + known + variations(&envelope);
                let label = Label { what: "equivocate", about };
                let choice = stream.choose_likely(label, options, known);
                choice.checked_sub(1).and_then(|choice| match choice.checked_sub(known) {
                    Some(choice) => variation(&envelope, choice, catalogue),
                    None => versions.get(usize::try_from(choice).ok()?).cloned(),
                })
            }
            Treason::Mutate => {
                let options = 1 + variations(&envelope);
                let choice = stream.choose_or_calm(Label { what: "mutate", about }, options);
                choice.checked_sub(1).and_then(|choice| variation(&envelope, choice, catalogue))
            }
            Treason::Replay | Treason::Twins | Treason::Another => None,
        };
        if let Some(other) = &changed {
            let show = |envelope| catalogue.show(envelope);
            deeds.tell(|| format!("tells {to} {} instead of {}", show(other), show(&envelope)));
        }
        Some(changed.unwrap_or(envelope))
    }

    /// Other envelopes of the same event, received or sent before, the newest first.
    fn versions(&self, envelope: &Envelope) -> Vec<Envelope> {
        let mut versions: Vec<Envelope> = Vec::new();
        for other in self.made.iter().rev().chain(self.seen.iter().rev()) {
            let is_other = other.event() == envelope.event()
                && other.instance() == envelope.instance()
                && other.body() != envelope.body();
            if is_other && versions.iter().all(|known| known.body() != other.body()) {
                versions.push(other.clone().tagged(envelope.tag()));
            }
            if VERSIONS_MAX <= versions.len() {
                break;
            }
        }
        versions
    }

    /// Sends something that was received to somebody, under the traitor's own name, after whatever
    /// its program has done.
    fn replay(
        &mut self,
        peers: u32,
        catalogue: &Catalogue,
        stream: &mut Stream,
        deeds: &mut Deeds,
    ) {
        let others = u64::from(peers) - 1;
        let options = 1 + self.seen.len() as u64 * others;
        if options == 1 || REPLAYS_MAX <= self.replays {
            return;
        }
        let node = self.betrayal.node;
        let label = Label { what: "replay", about: About::Node(node) };
        let Some(choice) = stream.choose_or_calm(label, options).checked_sub(1) else {
            return;
        };
        let which = usize::try_from(choice / others).unwrap_or(0);
        let to = NodeId(1 + u32::try_from(choice % others).unwrap_or(0));
        let to = if to < node { to } else { NodeId(to.0 + 1) };
        if let Some(envelope) = self.seen.iter().rev().nth(which).cloned() {
            self.replays += 1;
            deeds.tell(|| format!("replays {} to {to}", catalogue.show(&envelope)));
            deeds.effects.push(Effect::Send { to, lane: Lane::Datagram, envelope });
        }
    }
}

fn remember(memory: &mut VecDeque<Envelope>, envelope: &Envelope) {
    if MEMORY_MAX <= memory.len() {
        memory.pop_front();
    }
    memory.push_back(envelope.clone());
}

/// Both twins number their timers from 1.
fn marked(twin: usize, effect: Effect) -> Effect {
    let mark = |TimerId(id)| TimerId(if twin == 1 { id | SECOND } else { id });
    match effect {
        Effect::Timer { id, after, envelope } => Effect::Timer { id: mark(id), after, envelope },
        Effect::Cancel(id) => Effect::Cancel(mark(id)),
        other => other,
    }
}

/// What can be done to one byte of an encoded event. A small number, a flag, the tag of a variant
/// and a length are a byte each.
const STROKES: [fn(u8) -> u8; 4] =
    [|byte| byte.wrapping_add(1), |byte| byte.wrapping_sub(1), |_| 0, |byte| byte ^ 0x10];

/// How many changes of an envelope there are to choose from.
fn variations(envelope: &Envelope) -> u64 {
    (envelope.body().len() * STROKES.len()) as u64
}

/// The event with one byte changed, such that it is still such an event; the chosen change, or the
/// next one that is. `None` if there is none.
fn variation(envelope: &Envelope, choice: u64, catalogue: &Catalogue) -> Option<Envelope> {
    let known = catalogue.handled(envelope.event())?;
    let count = variations(envelope);
    (choice..choice + count).find_map(|number| {
        let number = usize::try_from(number % count).unwrap_or(0);
        let (place, stroke) = (number / STROKES.len(), number % STROKES.len());
        let mut body = envelope.body().to_vec();
        let (byte, stroke) = (body.get_mut(place)?, STROKES.get(stroke)?);
        *byte = stroke(*byte);
        let other = Envelope::from_parts(
            envelope.event(),
            envelope.instance().clone(),
            envelope.tag(),
            body.into(),
        );
        (other.body() != envelope.body() && known.show(&other).is_ok()).then_some(other)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde::{Deserialize, Serialize};
    use synod_core::{Algorithm, Event, Handlers, Stack};

    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
    enum Ballot {
        Yes,
        No,
    }

    #[derive(Event, Debug, PartialEq, Serialize, Deserialize)]
    #[event(name = "treason.vote")]
    struct Vote {
        term: u64,
        ballot: Ballot,
        names: Vec<String>,
    }

    #[derive(Event, Debug, Serialize, Deserialize)]
    #[event(name = "treason.nothing")]
    struct Nothing;

    struct Voter;

    impl Algorithm for Voter {
        const NAME: &'static str = "voter";

        fn handlers() -> Handlers<Self> {
            Handlers::new().on(|_: &mut Self, _: Vote| ()).on(|_: &mut Self, _: Nothing| ())
        }
    }

    fn catalogue() -> Catalogue {
        let mut catalogue = Catalogue::default();
        Voter::catalogue(&Voter.tables(), &mut catalogue).expect("two event types");
        catalogue
    }

    fn vote(term: u64) -> Vote {
        Vote { term, ballot: Ballot::Yes, names: vec!["a".into(), "b".into()] }
    }

    fn traitor(treason: Treason) -> Traitor {
        let betrayal = Betrayal { node: NodeId(2), treason, side: Side::NONE };
        Traitor::new(betrayal, Vec::new(), 1)
    }

    #[test]
    fn every_change_of_an_event_is_another_event_of_the_type() {
        let (sealed, catalogue) = (Envelope::seal(&vote(7)), catalogue());
        let changed: BTreeSet<String> = (0..variations(&sealed))
            .map(|choice| variation(&sealed, choice, &catalogue).expect("something changes"))
            .map(|other| format!("{:?}", other.open::<Vote>().expect("it decodes")))
            .collect();
        assert!(!changed.contains(&format!("{:?}", vote(7))));
        for expected in ["term: 8", "term: 6", "term: 0", "ballot: No", "\"b\", \"b\""] {
            assert!(changed.iter().any(|it| it.contains(expected)), "{expected}: {changed:?}");
        }
    }

    #[test]
    fn an_event_without_a_body_cannot_be_changed() {
        let sealed = Envelope::seal(&Nothing);
        assert_eq!(variations(&sealed), 0);
        assert_eq!(variation(&sealed, 0, &catalogue()), None);
    }

    #[test]
    fn an_equivocator_knows_the_newest_other_versions_of_an_event_once_each() {
        let mut traitor = traitor(Treason::Equivocate);
        for term in [1, 2, 2, 7, 3] {
            remember(&mut traitor.seen, &Envelope::seal(&vote(term)));
        }
        remember(&mut traitor.seen, &Envelope::seal(&Nothing));
        let versions = traitor.versions(&Envelope::seal(&vote(7)));
        let terms = versions.iter().map(|it| it.open::<Vote>().expect("a vote").term);
        assert_eq!(terms.collect::<Vec<_>>(), [3, 2, 1]);
        (10..90).for_each(|term| remember(&mut traitor.made, &Envelope::seal(&vote(term))));
        assert_eq!(traitor.made.len(), MEMORY_MAX);
        assert_eq!(traitor.versions(&Envelope::seal(&vote(7))).len(), VERSIONS_MAX);
    }

    #[test]
    fn a_replay_goes_to_any_other_node_and_ends_some_day() {
        let mut traitor = traitor(Treason::Replay);
        remember(&mut traitor.seen, &Envelope::seal(&vote(1)));
        let (mut stream, mut deeds) = (Stream::seeded(5), Deeds::new(true));
        for _ in 0..1_000 {
            traitor.betray(Vec::new(), 4, &catalogue(), &mut stream, &mut deeds);
        }
        let to = |effect: &Effect| match effect {
            Effect::Send { to, .. } => Some(*to),
            _ => None,
        };
        let to: BTreeSet<NodeId> = deeds.effects.iter().filter_map(to).collect();
        assert_eq!(to, BTreeSet::from([NodeId(1), NodeId(3), NodeId(4)]));
        assert_eq!(deeds.effects.len(), REPLAYS_MAX as usize);
        assert_eq!(deeds.told.map(|told| told.len()), Some(REPLAYS_MAX as usize));
    }

    #[test]
    fn a_kind_of_treason_keeps_its_place() {
        let words: Vec<&str> = (0..7).map(|choice| Treason::chosen(choice).words()).collect();
        let expected = [
            "is silent",
            "withholds",
            "replays",
            "equivocates",
            "mutates",
            "has a twin",
            "runs another program",
        ];
        assert_eq!(words, expected);
        assert_eq!((Treason::options(false), Treason::options(true)), (6, 7));
    }
}
