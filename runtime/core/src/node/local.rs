//! The events that handlers trigger on their own node, until there are no more.

use super::{Node, StepError};
use crate::context::{Effect, Local, Triggered};
use crate::envelope::{Envelope, EnvelopeRef, Tag};
use crate::stack::Stack;

impl<T: Stack> Node<T> {
    /// Runs the events that handlers have triggered, if there are any.
    #[inline]
    pub(super) fn settle(&mut self) {
        if !self.ctx.local.is_empty() {
            self.run_local();
        }
    }

    /// Runs the events that handlers have triggered, first in, first out.
    #[inline(never)]
    fn run_local(&mut self) {
        let (mut run, mut unheard) = (Run::default(), Vec::new());
        while let Some(Triggered { after, events }) = self.ctx.local.pop_front() {
            run.begin(self.ctx.local.len());
            let mut settle = |envelope| {
                run.events += 1;
                if !self.settle_one(envelope) {
                    unheard.push((after, envelope.to_owned()));
                    self.ctx.indicated_after = after;
                }
            };
            match &events {
                Local::One(envelope) => settle(envelope.by_ref()),
                Local::Several(envelopes) => envelopes.each().for_each(settle),
            }
        }
        self.output(unheard);
        self.ctx.indicated_after = 0;
    }

    /// Puts what is for the application among the effects, each after as many as were asked for before it.
    fn output(&mut self, unheard: Vec<(usize, Envelope)>) {
        let Some(&(mut asked, _)) = unheard.first() else { return };
        let effects = &mut self.ctx.effects;
        let mut later = effects.split_off(asked).into_iter();
        for (after, envelope) in unheard {
            effects.extend(later.by_ref().take(after - asked));
            effects.push(Effect::Output(envelope));
            asked = after;
        }
        effects.extend(later);
    }

    /// Whether any algorithm listens to the event.
    #[inline]
    fn settle_one(&mut self, envelope: EnvelopeRef<'_>) -> bool {
        match self.local(envelope) {
            Ok(heard) => heard,
            // A peer may bring an algorithm to open instances, or to answer what nobody asks, but not to crash its node.
            Err(error @ (StepError::Full { .. } | StepError::Stale { .. })) => {
                self.ctx.effects.push(Effect::Log(format!("an event was dropped: {error}")));
                true
            }
            Err(error) => panic!("an event of this very node was refused: {error}"),
        }
    }

    /// Runs an event of this very node; whether any algorithm listens to it. What none does is for the
    /// application, and so is the answer to a question that no algorithm has open.
    pub(super) fn local(&mut self, envelope: EnvelopeRef<'_>) -> Result<bool, StepError> {
        let me = self.ctx.me;
        match envelope.tag() {
            Tag::Answer(number) if self.ctx.asked.contains_key(&number) => {
                self.answered(number, envelope, me).map(|()| true)
            }
            Tag::Answer(_) => Ok(false),
            Tag::Plain | Tag::Ask(_) => self.dispatch(envelope, me),
            // Whoever asked and does not listen does not care for the lack of an answer either.
            Tag::Expired(_) => self.dispatch(envelope, me).map(|_| true),
        }
    }
}

/// How far the local events of one step have come.
#[derive(Default)]
struct Run {
    events: usize,
    /// Events that were triggered by events that were triggered by events, so deep.
    rounds: usize,
    /// What is left of the round.
    left: usize,
}

impl Run {
    /// Takes one more off the queue, in which so much waits behind it.
    fn begin(&mut self, waiting: usize) {
        if self.left == 0 {
            (self.rounds, self.left) = (self.rounds + 1, waiting + 1);
        }
        self.left -= 1;
        let Self { events, rounds, .. } = *self;
        assert!(
            rounds <= ROUNDS_MAX && events <= EVENTS_MAX,
            "handlers trigger each other without end: {events} local events in one step, {rounds} rounds"
        );
    }
}

/// Bounds on the local events of one step. Each of many instances may have some, so that their depth shows
/// first that there is no end.
const ROUNDS_MAX: usize = 10_000;
const EVENTS_MAX: usize = 1_000_000;
