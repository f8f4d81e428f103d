//! Which faults a run will meet, and what its clients will ask for, drawn before it begins: few decisions,
//! so they shrink well.

use synod_core::{Input, NodeId, Offer};

use crate::choice::{About, Label, Stream};
use crate::disk::DiskFault;
use crate::network::Split;
use crate::queue::{Crash, Happening};
use crate::settings::Settings;
use crate::side::Side;
use crate::treason::{Betrayal, Treason};

/// How many effects of a handler may leave, at most, before the crash within it.
const CRASH_AFTER_MAX: u64 = 8;
/// A crash is mostly at once, or within a handler before one of its first effects: so many places in all. What is
/// done by half shows most.
const CRASH_AFTER_LIKELY: u64 = 5;
/// One in so many crashes within a handler is in the one that starts the node.
const CRASH_IN_START_ONE_IN: u64 = 8;
/// How long after another request one mostly comes, at most, in greatest delays: some overlap, and some
/// follow on each other.
const APART_DELAYS: u64 = 8;
/// Nodes of one clog, at most: each has decisions of its own.
const CLOGGED_MAX: usize = 62;

/// Something that will happen, and when.
type Planned = (u64, Happening);

/// Draws the requests, of those that are offered, and the faults that `settings` allow, each with its
/// time. They begin in the first half of the run, so that the second half shows whether the cluster
/// recovers. `treasons` is how many kinds of treason there are to choose from.
pub(crate) fn plan(
    settings: &Settings,
    offers: &[Offer],
    treasons: u64,
    stream: &mut Stream,
) -> Vec<Planned> {
    let mut draft = Draft { settings, stream, planned: Vec::new() };
    draft.requests(offers);
    (1..=settings.crashes).for_each(|number| draft.crash(number));
    (1..=settings.partitions).for_each(|number| draft.partition(number));
    (1..=settings.clogs).for_each(|number| draft.clog(number));
    (1..=settings.pauses).for_each(|number| draft.pause(number));
    (1..=settings.jumps).for_each(|number| draft.jump(number));
    (1..=settings.joins).for_each(|number| draft.join(number));
    (1..=settings.leaves).for_each(|number| draft.leave(number));
    (1..=settings.traitors).for_each(|number| draft.traitor(number, treasons));
    (1..=settings.disks).for_each(|number| draft.disk(number));
    draft.planned
}

struct Draft<'a> {
    settings: &'a Settings,
    stream: &'a mut Stream,
    planned: Vec<Planned>,
}

impl Draft<'_> {
    fn ask(&mut self, what: &'static str, number: u32, options: u64) -> u64 {
        self.stream.choose(Label { what, about: About::Fault(number) }, options.max(1))
    }

    /// A node, or none: the calm choice.
    fn ask_node(&mut self, what: &'static str, number: u32) -> Option<NodeId> {
        let node = self.ask(what, number, u64::from(self.settings.nodes) + 1);
        u32::try_from(node).ok().filter(|node| 0 < *node).map(NodeId)
    }

    /// Some nodes, never all of them; the calm choice is none.
    fn ask_side(&mut self, what: &'static str, number: u32) -> Side {
        let nodes = self.settings.nodes;
        Side::chosen(self.ask(what, number, Side::options(nodes)), nodes)
    }

    fn ask_time(&mut self, what: &'static str, number: u32) -> u64 {
        self.ask(what, number, self.settings.faults_until_us())
    }

    /// Some nodes are back at once: what is about to be done takes some delays, and of times that are all as likely hardly
    /// one is so short.
    fn ask_down(&mut self, what: &'static str, number: u32) -> u64 {
        let (settings, label) = (self.settings, Label { what, about: About::Fault(number) });
        settings.time_down(|options| self.stream.choose_scaled(label, options.max(1)))
    }

    /// Mostly one request soon after another: where they overlap with each other and with faults, there
    /// is something to go wrong.
    fn requests(&mut self, offers: &[Offer]) {
        if offers.is_empty() {
            return;
        }
        let until_us = self.settings.faults_until_us().max(1);
        let apart_us = self.settings.delay_max_us.saturating_mul(APART_DELAYS);
        let mut at_us = 0;
        for number in 1..=self.settings.requests {
            let Some(node) = self.ask_node("request.node", number) else { continue };
            let label = Label { what: "request.at", about: About::Fault(number) };
            at_us = self.stream.choose_near(label, until_us, at_us, apart_us);
            let what = self.ask("request.what", number, offers.len() as u64);
            let offer = usize::try_from(what).ok().and_then(|what| offers.get(what));
            self.planned.extend(offer.map(|offer| {
                let input = Box::new(Input::Trigger(offer.request(number.into())));
                (at_us, Happening::Told { node, life: 0, input })
            }));
        }
    }

    fn crash(&mut self, number: u32) {
        let node = self.ask_node("crash.node", number);
        let at_us = self.ask_time("crash.at", number);
        let label = Label { what: "crash.after", about: About::Fault(number) };
        let after = self.stream.choose_near(label, CRASH_AFTER_MAX + 1, 0, CRASH_AFTER_LIKELY);
        let losing = 0 < self.ask("crash.losing", number, 2);
        let down_us = self.ask_down("crash.down", number);
        let in_handler = node.is_some() && 0 < after;
        let label = Label { what: "crash.start", about: About::Fault(number) };
        let in_start = in_handler && self.stream.chance_aside(label, CRASH_IN_START_ONE_IN);
        let after = usize::try_from(after).unwrap_or(0);
        let crash = node.map(|node| Crash { node, after, losing, in_start, down_us });
        self.planned.extend(crash.map(|crash| (at_us, Happening::Crash(crash))));
    }

    fn partition(&mut self, number: u32) {
        let side = self.ask_side("partition.side", number);
        let one_way = 0 < self.ask("partition.one_way", number, 2);
        let at_us = self.ask_time("partition.at", number);
        let length_us = 1 + self.ask("partition.length", number, self.settings.partition_us);
        let split = Split { side, one_way };
        let is_one = side.members(self.settings.nodes).next().is_some();
        let happening = is_one.then_some(Happening::Split { split, length_us });
        self.planned.extend(happening.map(|split| (at_us, split)));
    }

    /// Each node of the set is clogged and released on its own, so a set of several is what
    /// `FoundationDB` calls a swizzle: links stop one by one and come back in another order.
    fn clog(&mut self, number: u32) {
        let side = self.ask_side("clog.side", number);
        let begin_us = self.ask_time("clog.at", number);
        for node in side.members(self.settings.nodes).take(CLOGGED_MAX) {
            let at_us = begin_us + self.ask("clog.later", number, self.settings.clog_us);
            let length_us = 1 + self.ask("clog.length", number, self.settings.clog_us);
            self.planned.push((at_us, Happening::Clog { node, length_us }));
        }
    }

    fn pause(&mut self, number: u32) {
        let node = self.ask_node("pause.node", number);
        let at_us = self.ask_time("pause.at", number);
        let length_us = 1 + self.ask("pause.length", number, self.settings.pause_us);
        self.planned.extend(node.map(|node| (at_us, Happening::Pause { node, length_us })));
    }

    fn jump(&mut self, number: u32) {
        let node = self.ask_node("jump.node", number);
        let at_us = self.ask_time("jump.at", number);
        let by_us = 1 + self.ask("jump.by", number, self.settings.jump_us);
        self.planned.extend(node.map(|node| (at_us, Happening::Jump { node, by_us })));
    }

    fn join(&mut self, number: u32) {
        let node = self.ask_node("join.node", number);
        let at_us = 1 + self.ask_time("join.at", number);
        self.planned.extend(node.map(|node| (at_us, Happening::Join(node))));
    }

    fn leave(&mut self, number: u32) {
        let node = self.ask_node("leave.node", number);
        let at_us = self.ask_time("leave.at", number);
        self.planned.extend(node.map(|node| (at_us, Happening::Leave(node))));
    }

    /// Many algorithms are done soon after the start, so every other traitor is one from there on:
    /// that is the calm choice.
    fn traitor(&mut self, number: u32, treasons: u64) {
        let node = self.ask_node("traitor.node", number);
        let treason = Treason::chosen(self.ask("traitor.kind", number, treasons));
        let label = Label { what: "traitor.at", about: About::Fault(number) };
        let at_us = self.stream.choose_or_calm(label, self.settings.faults_until_us().max(1));
        let side = match treason {
            Treason::Twins => self.ask_side("traitor.side", number),
            _ => Side::NONE,
        };
        let betrayal = node.map(|node| Betrayal { node, treason, side });
        self.planned.extend(betrayal.map(|it| (at_us, Happening::Betray(it))));
    }

    /// Every other fault waits from the start on for what is written, as traitors do.
    fn disk(&mut self, number: u32) {
        let node = self.ask_node("disk.node", number);
        let kinds = &self.settings.disk_faults;
        let kind = self.ask("disk.kind", number, kinds.len() as u64);
        let label = Label { what: "disk.at", about: About::Fault(number) };
        let at_us = self.stream.choose_or_calm(label, self.settings.faults_until_us().max(1));
        let length_us = 1 + self.ask("disk.for", number, self.settings.disk_us);
        let fault = usize::try_from(kind).ok().and_then(|kind| kinds.get(kind));
        let planned = node.zip(fault.copied());
        let planned = planned.map(|(node, fault)| Happening::Disk { node, fault, length_us });
        self.planned.extend(planned.map(|it| (at_us, it)));
        if let Some(node) = node.filter(|_| fault == Some(&DiskFault::Lie)) {
            let over_us = (at_us + length_us).min(self.settings.faults_until_us());
            self.power_cut(number, node, over_us);
        }
    }

    /// A sync that was not made shows only if the power goes: every other time it does when the disk
    /// stops lying.
    fn power_cut(&mut self, number: u32, node: NodeId, at_us: u64) {
        let is_cut = 0 < self.ask("disk.cut", number, 2);
        let down_us = self.ask_down("disk.down", number);
        let crash = Crash { node, after: 0, losing: false, in_start: false, down_us };
        self.planned.extend(is_cut.then_some((at_us, Happening::Crash(crash))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crashed_node_is_down_for_a_time_within_the_range_that_is_asked_for() {
        let mut settings = Settings { crashes: 1_000, down_max: 1, ..Settings::calm(3) };
        let mut drawn = |least, most| {
            (settings.down_min_us, settings.down_us) = (least, most);
            let planned = plan(&settings, &[], 0, &mut Stream::seeded(7)).into_iter();
            let downs = planned.filter_map(|(_, it)| match it {
                Happening::Crash(crash) => Some(crash.down_us),
                _ => None,
            });
            downs.collect::<Vec<u64>>()
        };
        let downs = drawn(50, 60);
        assert!((50..=60).all(|time| downs.contains(&time)), "{downs:?}");
        assert!(downs.iter().all(|time| (50..=60).contains(time)), "{downs:?}");
        assert!(drawn(50, 50).iter().all(|time| *time == 50));
        assert!(drawn(0, 2).iter().all(|time| (1..=2).contains(time)));
        assert!(drawn(0, 0).iter().all(|time| *time == 0), "for ever");
    }
}
