//! What goes wrong in a run: nodes crash and come back, the network falls apart and heals.

use synod_core::{
    Effect, Envelope, Held, Input, Kind, Member, Node, NodeId, PeerDown, PeerUp, Reason, Stack,
};

use super::place::{News, NodePlace};
use super::{World, Wrong};
use crate::choice::{About, Label};
use crate::clock::Clock;
use crate::network::{Split, members};
use crate::plan::plan;
use crate::queue::{Crash, Happening, Turn};
use crate::trace::{Step, StepKind};
use crate::treason::{Betrayal, Traitor};

impl<T: Stack> World<'_, T> {
    /// Draws the requests, the faults and the clocks of the run. Returns the treasons from the start on.
    pub(super) fn prepare(&mut self) -> Vec<Betrayal> {
        let (mut betrayals, mut asked_until_us) = (Vec::new(), 0);
        let (offers, treasons) = (&self.scenario.offers, self.scenario.treasons());
        for (at_us, happening) in plan(self.settings, offers, treasons, &mut self.stream) {
            match happening {
                Happening::Betray(betrayal) if at_us == 0 => {
                    betrayals.push(betrayal);
                    continue;
                }
                Happening::Crash(crash) if crash.in_start => {
                    self.places[crash.node].rare_mut().doomed = Some(crash);
                    continue;
                }
                Happening::Join(node) => self.places[node].rare_mut().is_late = true,
                Happening::Told { .. } => {
                    self.counts.requests += 1;
                    asked_until_us = at_us.max(asked_until_us);
                }
                _ => self.planned += 1,
            }
            self.queue.add(at_us, happening);
        }
        for node in (1..=self.settings.nodes).map(NodeId) {
            self.places[node].clock = Clock::draw(self.settings, &mut self.stream, node);
        }
        self.last_fault_us = self.settings.noisy_until_us().max(asked_until_us);
        betrayals
    }

    /// Cuts the effects of a handler in which its node is to crash.
    #[inline]
    pub(super) fn doom(&mut self, node: NodeId, effects: &mut Vec<Effect>) -> Option<Crash> {
        self.places[node].rare()?.doomed?;
        self.doom_now(node, effects)
    }

    #[cold]
    fn doom_now(&mut self, node: NodeId, effects: &mut Vec<Effect>) -> Option<Crash> {
        let crash = self.places[node].rare_mut().doomed.take()?;
        if !self.may_crash(node) {
            return None;
        }
        let left = crash.after - 1;
        self.cut = self.trace.is_some().then(|| self.cut_in_words(effects, left));
        effects.truncate(left);
        Some(crash)
    }

    /// How many effects leave before the crash, and what the first one is that does not.
    fn cut_in_words(&self, effects: &[Effect], left: usize) -> String {
        let name = |envelope: &Envelope| self.catalogue().name(envelope.event());
        let next = effects.get(left).map(|effect| match effect {
            Effect::Send { to, envelope, .. } => format!(", before `{}` to {to}", name(envelope)),
            Effect::Timer { envelope, .. } => format!(", before the timer `{}`", name(envelope)),
            Effect::Output(envelope) => format!(", before it indicates `{}`", name(envelope)),
            Effect::Persist(record) => format!(", before `{}` is durable", name(record)),
            _ => String::new(),
        });
        format!(
            "after {} of {} effects{}",
            left.min(effects.len()),
            effects.len(),
            next.unwrap_or_default()
        )
    }

    /// A planned fault begins.
    #[cold]
    pub(super) fn strike(&mut self, planned: &Happening) -> Result<(), Wrong> {
        match *planned {
            Happening::Crash(crash) => self.plan_crash(crash),
            Happening::Split { split, length_us } => self.split(split, length_us),
            Happening::Clog { node, length_us } => self.clog(node, length_us),
            Happening::Pause { node, length_us } => self.pause(node, length_us),
            Happening::Jump { node, by_us } => self.jump(node, by_us),
            Happening::Leave(node) => self.leave(node),
            Happening::Disk { node, fault, length_us } => {
                self.spoil_disk(node, fault, length_us);
                Ok(())
            }
            Happening::Betray(betrayal) => self.betray(betrayal, true),
            ref other => unreachable!("{other:?} is no planned fault"),
        }
    }

    /// Whether one more node may be down. One whose disk is damaged counts, since it may not come
    /// back.
    pub(super) fn may_crash(&self, node: NodeId) -> bool {
        let members = self.members.all().iter().zip(self.places.all());
        let is_bad = |(other, (member, place)): (usize, (&Member<T>, &NodePlace))| {
            member.node.is_none()
                || place.rare().is_some_and(|rare| rare.disk.is_damaged())
                    && other + 1 != node.0 as usize
        };
        let bad = members.enumerate().filter(|it| is_bad(*it)).count();
        bad < self.settings.down_max as usize
    }

    pub(super) fn plan_crash(&mut self, crash: Crash) -> Result<(), Wrong> {
        if self.members[crash.node].node.is_none() || !self.may_crash(crash.node) {
            return Ok(());
        }
        if crash.after == 0 {
            self.crash(crash);
            return self.check(|kind| kind == Kind::Always);
        }
        self.places[crash.node].rare_mut().doomed = Some(crash);
        Ok(())
    }

    #[cold]
    pub(super) fn crash(&mut self, crash: Crash) {
        let node = crash.node;
        self.counts.crashes += 1;
        self.disturb(0);
        self.places[node].rare_mut().paused_until_us = 0;
        self.lose_from_sight(node);
        self.members[node].node = None;
        self.forget_timers(node);
        self.lose_power(node);
        let lost =
            if crash.losing { self.queue.cancel_where(|it| it.sender() == Some(node)) } else { 0 };
        self.counts.lost += lost as u64;
        if 0 < crash.down_us {
            self.queue.add(self.now_us + crash.down_us, Happening::Restart(node));
        }
        let words = match lost {
            0 => String::from("crashes"),
            _ => format!("crashes, {lost} of its messages with it"),
        };
        let log = self.cut.take().into_iter().collect();
        let step = self.noting(|_| Step { log, ..Step::says(StepKind::Crash, Some(node), words) });
        self.note(step);
        self.tell_links(node);
    }

    /// A node says good-bye, and never comes back. What it has sent is still on its way.
    pub(super) fn leave(&mut self, node: NodeId) -> Result<(), Wrong> {
        if self.members[node].node.is_none() || !self.may_crash(node) {
            return Ok(());
        }
        self.counts.leaves += 1;
        self.disturb(0);
        self.members[node].node = None;
        self.places[node].rare_mut().has_left = true;
        self.forget_timers(node);
        let step = self.noting(|_| Step::says(StepKind::Crash, Some(node), "leaves for good"));
        self.note(step);
        self.tell_links(node);
        self.check(|kind| kind == Kind::Always)
    }

    /// Nothing that a node has armed will run out.
    pub(super) fn forget_timers(&mut self, node: NodeId) {
        for (_, place) in std::mem::take(&mut self.places[node].timers) {
            self.queue.cancel(place);
        }
    }

    #[cold]
    pub(super) fn restart(&mut self, node: NodeId) -> Result<(), Wrong> {
        self.disturb(0);
        // A restart ends the old sessions, with what was under way on them in either direction.
        let ended = self.queue.cancel_where(|it| {
            it.sender() == Some(node) || matches!(it, Happening::Message { to, .. } if *to == node)
        });
        self.counts.lost += ended as u64;
        self.network.forget(node);
        let Some(records) = self.recover_disk(node) else {
            return Ok(());
        };
        self.boot(node);
        let step = self.noting(|_| Step::says(StepKind::Restart, Some(node), "restarts"));
        self.step(node, &Input::Recover(records), step)?;
        self.tell_links(node);
        Ok(())
    }

    /// A node that was left out at the beginning starts. It may be drawn twice, and starts once.
    #[cold]
    pub(super) fn join(&mut self, node: NodeId) -> Result<(), Wrong> {
        if 0 < self.places[node].incarnation {
            return Ok(());
        }
        self.disturb(0);
        self.boot(node);
        self.start(node)
    }

    pub(super) fn split(&mut self, split: Split, length_us: u64) -> Result<(), Wrong> {
        self.counts.partitions += 1;
        self.disturb(0);
        self.network.split(split);
        self.queue.add(self.now_us + length_us, Happening::Heal(split));
        let words = members(split, self.settings.nodes);
        let step = self.noting(|_| Step::says(StepKind::Partition, None, words));
        self.note(step);
        Ok(())
    }

    #[cold]
    pub(super) fn heal(&mut self, split: Split) -> Result<(), Wrong> {
        self.disturb(0);
        self.network.heal(split);
        let words = members(split, self.settings.nodes);
        let step = self.noting(|_| Step::says(StepKind::Heal, None, words));
        self.note(step);
        Ok(())
    }

    pub(super) fn clog(&mut self, node: NodeId, length_us: u64) -> Result<(), Wrong> {
        self.disturb(length_us);
        self.has_held = true;
        self.network.clog(node, self.now_us + length_us);
        self.tell_fault(node, format!("is clogged for {} ms", length_us / 1_000));
        Ok(())
    }

    pub(super) fn pause(&mut self, node: NodeId, length_us: u64) -> Result<(), Wrong> {
        if self.members[node].node.is_some() {
            self.disturb(length_us);
            self.has_held = true;
            let until_us = self.now_us + length_us;
            let paused_until_us = &mut self.places[node].rare_mut().paused_until_us;
            // What waits for the end of a longer pause is not overtaken at that of a shorter one.
            *paused_until_us = until_us.max(*paused_until_us);
            self.tell_fault(node, format!("pauses for {} ms", length_us / 1_000));
        }
        Ok(())
    }

    pub(super) fn jump(&mut self, node: NodeId, by_us: u64) -> Result<(), Wrong> {
        self.disturb(0);
        self.places[node].clock.jump(by_us);
        self.tell_fault(node, format!("its clock jumps by {} ms", by_us / 1_000));
        Ok(())
    }

    /// The cluster is not quiet before `length_us` from now.
    pub(super) fn disturb(&mut self, length_us: u64) {
        self.counts.faults += 1;
        self.disturb_until(self.now_us + length_us);
    }

    /// The same of what the noise of the network does, which may last longer than the noise.
    #[cold]
    pub(super) fn disturb_until(&mut self, until_us: u64) {
        self.last_fault_us = self.last_fault_us.max(until_us);
    }

    pub(super) fn tell_fault(&mut self, node: NodeId, words: String) {
        let step = self.noting(|_| Step::says(StepKind::Fault, Some(node), words));
        self.note(step);
    }

    /// Until when something that is due now has to wait; 0 if it need not.
    pub(super) fn held_until_us(&self, happening: &Happening) -> u64 {
        let until_us = match happening {
            Happening::Message { from, to, .. } => {
                let clogged = self.network.held_until_us(*from, *to);
                clogged.max(self.places[*to].paused_until_us())
            }
            Happening::Timer { node, .. } | Happening::Told { node, .. } => {
                self.places[*node].paused_until_us()
            }
            _ => 0,
        };
        if self.now_us < until_us { until_us } else { 0 }
    }

    #[cold]
    pub(super) fn put_off(&mut self, until_us: u64, turn: Turn, happening: Option<Happening>) {
        let Some(happening) = happening else { return };
        let timer = match &happening {
            Happening::Timer { node, id, .. } => Some((*node, *id)),
            _ => None,
        };
        let place = self.queue.put(until_us, turn, happening);
        if let Some((node, id)) = timer {
            self.places[node].timers.insert(id, place);
        }
    }

    /// Lets every other live node learn, some time later, whether `node` is up now, and `node`, if
    /// it is, who else is there.
    pub(super) fn tell_links(&mut self, node: NodeId) {
        if !self.links_are_told {
            return;
        }
        let here = self.indication(node);
        for peer in (1..=self.settings.nodes).map(NodeId).filter(|peer| *peer != node) {
            let there = self.indication(peer);
            if let Input::PeerUp(_) = there {
                self.notice(peer, here.clone());
                if let Input::PeerUp(_) = here {
                    self.notice(node, there);
                }
            }
        }
    }

    /// What the others learn of `node` as it is now.
    fn indication(&self, node: NodeId) -> Input {
        let up = self.members[node].node.as_ref().and_then(Held::node).map(Node::incarnation);
        match up.or_else(|| self.traitors.get(&node).map(Traitor::incarnation)) {
            Some(incarnation) => Input::PeerUp(PeerUp { peer: node, incarnation }),
            None => {
                let has_left = self.places[node].rare().is_some_and(|rare| rare.has_left);
                let reason = if has_left { Reason::Closed } else { Reason::Silent };
                Input::PeerDown(PeerDown { peer: node, reason })
            }
        }
    }

    /// Lets `node` learn of a link. As over any transport, up and down of a peer alternate.
    fn notice(&mut self, node: NodeId, input: Input) {
        let (peer, life) = match &input {
            Input::PeerUp(up) => (up.peer, up.incarnation),
            Input::PeerDown(down) => (down.peer, 0),
            _ => return,
        };
        let heard = self.places[node].rare_mut().heard.get(&peer).copied().unwrap_or_default();
        if heard.life == life {
            return;
        }
        let label = Label { what: "notice", about: About::Node(node) };
        let at_us = self.now_us + 1 + self.stream.choose(label, self.settings.delay_max_us.max(1));
        let at_us = at_us.max(heard.at_us);
        self.places[node].rare_mut().heard.insert(peer, News { life, at_us });
        let life = self.places[node].incarnation;
        self.queue.add(at_us, Happening::Told { node, life, input: Box::new(input) });
    }
}
