//! Messages on their way: sent, delayed, doubled, lost, delivered.

use synod_core::{Envelope, EventId, Lane, NodeId, Stack};

use super::races::Racer;
use super::upon::Upon;
use super::{World, Wrong, weigh};
use crate::choice::{About, Label};
use crate::queue::{Happening, Place};
use crate::settings::Settings;
use crate::trace::{Sent, Step, StepKind};

/// Between whom a message goes, what, and how. Handed on by value: then most of it is never written to
/// memory for what most messages do not need.
#[derive(Clone, Copy)]
struct Way {
    from: NodeId,
    to: NodeId,
    event: EventId,
    lane: Lane,
    /// Whether the network does nothing to it but take its time.
    is_calm: bool,
}

/// How long a message takes, and could have taken.
struct Delay {
    us: u64,
    max_us: u64,
}

impl Way {
    /// A label is made only for what is asked.
    fn about(self) -> About {
        About::Message { from: self.from, to: self.to, event: self.event }
    }
}

impl<T: Stack> World<'_, T> {
    pub(super) fn deliver(
        &mut self,
        from: NodeId,
        to: NodeId,
        sending: u32,
        envelope: &Envelope,
    ) -> Result<(), Wrong> {
        let lost = match &self.members[to].node {
            None if !self.traitors.contains_key(&to) => Some("the receiver is down"),
            _ if !self.network.connects(from, to) => Some("partition"),
            _ => None,
        };
        let step =
            if self.trace.is_some() { self.arriving(to, sending, envelope, lost) } else { None };
        if lost.is_some() {
            self.counts.lost += 1;
            self.note(step);
            return Ok(());
        }
        self.counts.delivered += 1;
        if self.settings.races {
            self.redraw(to);
        }
        self.activate(to, Upon::Message { from, envelope }, step)
    }

    /// What a trace tells of a message that arrives, or would.
    #[cold]
    fn arriving(
        &self,
        to: NodeId,
        sending: u32,
        envelope: &Envelope,
        lost: Option<&'static str>,
    ) -> Option<Box<Step>> {
        let kind = if lost.is_some() { StepKind::Lost } else { StepKind::Deliver };
        let sending = self.trace.as_ref().and_then(|trace| trace.sending(sending));
        self.noting(|catalogue| Step {
            message: sending.map(|(id, _)| id),
            delay_us: sending.map(|(_, sent_us)| self.now_us - sent_us),
            log: lost.iter().map(|why| String::from(*why)).collect(),
            ..Step::of(kind, to, envelope, catalogue)
        })
    }

    /// Puts a message on its way, unless it is lost, and tells the trace.
    #[inline]
    pub(super) fn send(
        &mut self,
        from: NodeId,
        to: NodeId,
        lane: Lane,
        envelope: &mut Envelope,
        step: &mut Option<Box<Step>>,
    ) {
        let event = envelope.event();
        let way = |is_calm| Way { from, to, event, lane, is_calm };
        if lane != Lane::Datagram
            && self.noisy_until_us <= self.now_us
            && !self.network.has_bursts()
        {
            self.pass_on(way(true), envelope, step);
        } else {
            self.pass_on_in_noise(way(false), envelope, step);
        }
    }

    /// Apart, so that what does it for most messages knows that they are calm.
    #[inline(never)]
    fn pass_on_in_noise(
        &mut self,
        way: Way,
        envelope: &mut Envelope,
        step: &mut Option<Box<Step>>,
    ) {
        self.pass_on(way, envelope, step);
    }

    #[inline(always)]
    fn pass_on(&mut self, way: Way, envelope: &mut Envelope, step: &mut Option<Box<Step>>) {
        self.counts.sent += 1;
        self.counts.bytes += envelope.body().len() as u64;
        let lost = match weigh(way.from, envelope, &self.scenario.catalogue) {
            Ok(()) => self.loss(way),
            Err(wrong) => self.refuse(way.from, wrong),
        };
        let sending =
            if self.trace.is_some() { self.tell_sending(way, envelope, lost, step) } else { 0 };
        if lost.is_some() {
            self.counts.lost += 1;
            return;
        }
        if !way.is_calm {
            self.double(way, sending, envelope);
        }
        self.put_on_its_way(way, sending, envelope);
    }

    /// Tells the trace of a message that is sent; returns where it keeps what it knows of that.
    #[cold]
    fn tell_sending(
        &mut self,
        way: Way,
        envelope: &Envelope,
        lost: Option<&'static str>,
        step: &mut Option<Box<Step>>,
    ) -> u32 {
        let Some(trace) = &mut self.trace else { return 0 };
        let (id, sending) = trace.send(way.from, self.now_us);
        if let Some(step) = step {
            let catalogue = self.learned.as_deref().unwrap_or(&self.scenario.catalogue);
            let (event, payload) = (catalogue.name(envelope.event()), catalogue.show(envelope));
            let lost = lost.map(String::from);
            step.sends.push(Sent { id, to: way.to, event, payload, lost });
        }
        sending
    }

    #[inline(never)]
    fn double(&mut self, way: Way, sending: u32, envelope: &Envelope) {
        if self.befalls("duplicate", way, self.noise(self.settings.duplicate)) {
            self.put_on_its_way(way, sending, &mut envelope.clone());
        }
    }

    /// `sending` is where a traced run keeps what it knows of the sending.
    #[inline(always)]
    fn put_on_its_way(&mut self, way: Way, sending: u32, envelope: &mut Envelope) {
        let Way { from, to, lane, .. } = way;
        let delay = self.delay(way);
        let at_us = self.network.arrival(from, to, lane, self.now_us + delay.us);
        let place = self.queue.add_made(at_us, || Happening::Message {
            from,
            to,
            sending,
            envelope: envelope.take(),
        });
        if self.settings.races {
            self.enter_race(way, place, at_us, self.now_us + delay.max_us);
        }
    }

    /// What a traitor does wrong is nobody's fault, and comes no further than anybody's.
    #[cold]
    fn refuse(&mut self, from: NodeId, wrong: Wrong) -> Option<&'static str> {
        if !self.traitors.contains_key(&from) {
            self.objection.get_or_insert(wrong);
        }
        Some("too large")
    }

    #[inline(never)]
    fn enter_race(&mut self, way: Way, place: Place, at_us: u64, latest_us: u64) {
        let (about, lane) = (way.about(), way.lane);
        let ordinal = self.stream.asked(Label { what: "delay", about });
        let link = self.network.delay(way.from, way.to);
        let min_us = link.map_or(self.settings.delay_min_us, |link| link.min_us);
        let earliest_us = self.now_us + min_us;
        let floor_us = if link.is_some() { earliest_us } else { 0 };
        let racer = Racer { place, about, lane, at_us, latest_us, earliest_us, floor_us, ordinal };
        self.races.enter(way.to, racer);
    }

    #[inline]
    fn loss(&mut self, way: Way) -> Option<&'static str> {
        if !self.is_up(way.to) {
            return Some("the receiver is down");
        }
        if !self.network.connects(way.from, way.to) {
            return Some("partition");
        }
        if way.is_calm { None } else { self.loss_in_noise(way) }
    }

    #[inline(never)]
    fn loss_in_noise(&mut self, way: Way) -> Option<&'static str> {
        let Way { from, to, lane, .. } = way;
        let lose = self.noise(self.settings.lose);
        let datagrams = if lane == Lane::Datagram { self.settings.lose_datagram } else { 0 };
        if self.befalls("lose", way, lose.max(datagrams)) {
            return Some("lost");
        }
        if self.befalls("burst", way, self.noise(self.settings.burst)) {
            let label = Label { what: "burst.length", about: way.about() };
            let length_us = self.stream.choose(label, self.settings.burst_us.max(1));
            let until_us = self.now_us + 1 + length_us;
            self.network.begin_burst(from, to, until_us);
            self.disturb_until(until_us);
        }
        self.network.is_in_burst(from, to, self.now_us).then_some("lost in a burst")
    }

    /// How long a message takes, and how long it could have taken.
    #[inline(always)]
    fn delay(&mut self, way: Way) -> Delay {
        let Settings { delay_min_us: min, delay_max_us: max, tail, tail_max_us, shape, .. } =
            *self.settings;
        let link = self.network.delay(way.from, way.to);
        let (min, max, shape) =
            link.map_or((min, max, shape), |link| (link.min_us, link.max_us, link.shape));
        let late = !way.is_calm && self.befalls("tail", way, self.noise(tail));
        let most = if late { tail_max_us } else { max };
        let options = most.saturating_sub(min) + 1;
        let us = min + self.stream.choose_delay(|| way.about(), options, min, shape);
        let max_us = most.max(min);
        if late {
            self.disturb_until(self.now_us + if self.settings.races { max_us } else { us });
        }
        Delay { us, max_us }
    }

    /// How often the network loses, doubles or holds up messages, while it is still allowed to.
    #[inline]
    fn noise(&self, rate: u32) -> u32 {
        if self.now_us < self.noisy_until_us { rate } else { 0 }
    }

    /// Whether a noise of the network befalls a message.
    fn befalls(&mut self, what: &'static str, way: Way, per_million: u32) -> bool {
        0 < per_million && self.stream.chance(Label { what, about: way.about() }, per_million)
    }
}
