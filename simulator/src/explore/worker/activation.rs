//! What a handler does in a local state, found out once.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use synod_core::{Effect, Input, NodeId, TimerId};

use super::{At, Worker};
use crate::explore::host::Cause;
use crate::explore::parcel::JOBS;
use crate::explore::place::Stepped;
use crate::explore::setting::Wrong;
use crate::underway::upon;

/// What happens to one node.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum What {
    Start,
    Recover(u32),
    Timer(TimerId),
    Parcel(u32),
    Tick,
    Crash,
}

/// What happens in which local state, as two numbers: this is asked for with every transition, and
/// remembered with every move.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Key {
    place: u32,
    what: u32,
}

impl Key {
    /// Nothing happens anywhere.
    pub(super) const NONE: Self = Self { place: u32::MAX, what: u32::MAX };

    /// # Panics
    ///
    /// From 2^29 parcels on, or timers of one life of a node.
    #[inline]
    pub(super) fn of(place: u32, what: What) -> Self {
        let (kind, number) = match what {
            What::Start => (0, 0),
            What::Recover(lost) => (1, u64::from(lost)),
            What::Timer(id) => (2, id.0),
            What::Parcel(number) => (3, u64::from(number)),
            What::Tick => (4, 0),
            What::Crash => (5, 0),
        };
        // Timers are counted from 0, and so are parcels.
        let what = u32::try_from(number << 3 | kind).expect("fewer than 2^29 of a kind");
        Self { place, what }
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        hasher.write_u64(u64::from(self.what) << 32 | u64::from(self.place));
    }
}

/// In which of several ways it happens.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Way<'c> {
    /// What the handler is answered; 0 beyond.
    pub(super) choices: &'c [u32],
    /// After how many effects its node crashes, if it does.
    pub(super) cut: Option<u32>,
}

impl<'c> Way<'c> {
    pub(super) const CALM: Self = Self { choices: &[], cut: None };

    pub(super) fn is_calm(self) -> bool {
        self.choices.is_empty() && self.cut.is_none()
    }

    /// Appends it to a list of numbers.
    pub(super) fn pack(self, list: &mut Vec<u32>) {
        if !self.is_calm() {
            list.push(self.cut.map_or(0, |cut| cut + 1));
            list.extend_from_slice(self.choices);
        }
    }

    pub(super) fn unpack(packed: &'c [u32]) -> Self {
        packed
            .split_first()
            .map_or(Self::CALM, |(cut, choices)| Self { choices, cut: cut.checked_sub(1) })
    }
}

/// What came of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Move<'m> {
    pub(super) place: u32,
    /// The options of each question that the handler asked.
    pub(crate) asked: &'m [u32],
    /// How many effects it had, if a crash could fall between them.
    pub(crate) had: usize,
    /// What is under way since then.
    pub(crate) sends: &'m [u32],
    /// What it indicated, if a monitor remembers such things.
    pub(super) told: Option<u32>,
}

impl Move<'_> {
    /// A change of the local state, and nothing else.
    pub(super) const fn plain(place: u32) -> Self {
        Self { place, asked: &[], had: 0, sends: &[], told: None }
    }

    /// Whether it is only that: a single effect has nothing between it and another.
    pub(super) fn is_plain(self) -> bool {
        self.asked.is_empty() && self.had <= 1 && self.sends.is_empty() && self.told.is_none()
    }
}

impl Worker<'_> {
    /// What comes of it if something happens in a local state; remembered from the last time if there
    /// was one.
    #[inline(always)] // As `Memo::find`.
    pub(super) fn activate(&mut self, place: u32, what: What, way: Way<'_>) -> Result<At, Wrong> {
        match self.moves.find(Key::of(place, what), way) {
            Some(known) => Ok(known),
            None => self.run(place, what, way),
        }
    }

    #[cold]
    fn run(&mut self, place: u32, what: What, way: Way<'_>) -> Result<At, Wrong> {
        let key = Key::of(place, what);
        let cause = match what {
            What::Start => Cause::Start,
            What::Recover(lost) => Cause::Recover(lost),
            What::Timer(id) => Cause::Timer(id),
            What::Parcel(number) => Cause::Parcel(Arc::clone(self.parcel(number))),
            What::Tick => return Ok(self.silently(key, self.program.tick(place))),
            What::Crash => return Ok(self.silently(key, self.program.crash(place))),
        };
        self.tell(place, &cause);
        let (mut desk, mut sent) = (std::mem::take(&mut self.desk), std::mem::take(&mut self.sent));
        let cut = way.cut.map(|cut| cut as usize);
        let stepped = self.program.step(place, &cause, way.choices, cut, &mut desk);
        let at = stepped.and_then(|stepped| {
            let moved = self.outcome(place, &stepped, &desk.effects, &mut sent);
            if self.is_audited(place, &cause) {
                self.try_again(place, &cause, way, moved)?;
            }
            self.try_other_names(place, &cause, way.choices, moved)?;
            Ok(self.moves.insert(key, way, moved))
        });
        (self.desk, self.sent) = (desk, sent);
        self.seat.leave();
        at
    }

    /// Tells whoever looks on which handler runs next: it may never return.
    fn tell(&mut self, place: u32, cause: &Cause) {
        self.activations += 1;
        let upon = match cause {
            Cause::Start => upon(&Input::Start),
            Cause::Recover(_) => upon(&Input::Recover(Vec::new())),
            Cause::Timer(id) => upon(&Input::Timer(*id)),
            Cause::Parcel(parcel) => upon(&parcel.input),
        };
        self.seat.begin(self.activations);
        self.seat.tell(self.activations, 0, self.host(place).node, upon);
    }

    /// What an activation in a local state has come to. What is `sent` goes there.
    pub(super) fn outcome<'m>(
        &mut self,
        before: u32,
        stepped: &'m Stepped,
        effects: &[Effect],
        sent: &'m mut Vec<u32>,
    ) -> Move<'m> {
        let Stepped { place, asked, had } = stepped;
        let node = self.host(before).node;
        sent.clear();
        sent.extend(effects.iter().filter_map(|effect| self.sent(node, effect)));
        let told = self.setting().memories.told(node, effects);
        let parcels = sent.iter().max();
        if self.places.len() <= *place as usize
            || parcels.is_some_and(|it| self.parcels.len() <= *it as usize)
        {
            self.learn();
        }
        let had = if 0 < self.setting().bounds.crashes { *had } else { 0 };
        Move { place: *place, asked, had, sends: sent, told }
    }

    /// A change of a local state in which no handler runs.
    fn silently(&mut self, key: Key, place: u32) -> At {
        self.learn();
        self.moves.insert(key, Way::CALM, Move::plain(place))
    }

    /// By how much the fingerprint of one local state is larger than that of another.
    pub(super) fn shift(&self, before: u32, after: u32) -> u128 {
        self.print(after).wrapping_sub(self.print(before))
    }

    /// What an effect puts under way.
    fn sent(&self, node: NodeId, effect: &Effect) -> Option<u32> {
        let (link, input) = match effect {
            Effect::Send { to, lane, envelope } => {
                let input = Input::Deliver { from: node, envelope: envelope.clone() };
                ((node, *to, *lane), input)
            }
            Effect::Job(job) => {
                let done = self.setting().catalogue.job(job.event())?(job).ok()?;
                ((node, node, JOBS), Input::Trigger(done))
            }
            _ => return None,
        };
        Some(self.number(link, input, self.setting().bounds.delay()))
    }
}
