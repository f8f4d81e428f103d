//! What can be taken away from a failing run, each in a pass of its own.

use std::collections::BTreeSet;

use synod_core::NodeId;

use super::Search;
use super::renumber::without;
use crate::choice::{About, Decision, INPUT, Label};
use crate::settings::Settings;

/// How many earlier repetitions of a question are tried in its stead.
const EARLIER_MAX: u32 = 8;

/// A decision by its name: what a replay goes by.
pub(super) type Name = (Label, u32);

pub(super) fn name(decision: &Decision) -> Name {
    (decision.label, decision.ordinal)
}

impl Search<'_> {
    /// What follows the violation says nothing.
    pub(super) fn end_at_the_violation(&mut self) {
        let ended_us = self.ended_us.max(1);
        self.ends_at(ended_us);
    }

    /// What was drawn again could have been drawn so at once, in a world that is easier to think of.
    pub(super) fn end_races(&mut self) {
        if self.best.settings.races {
            let settings = Settings { races: false, ..self.best.settings.clone() };
            self.keeps(settings, self.without_races.clone());
        }
    }

    /// Halves what is left of the run, and of its disturbed part.
    pub(super) fn shorten(&mut self) {
        bisect(self.best.settings.time_us, |time_us| self.ends_at(time_us.max(1)));
        let noise_us = self.best.settings.faults_until_us();
        bisect(noise_us, |noise_us| self.keeps_settings(|it| it.noise_us = noise_us.max(1)));
    }

    /// The faults stay when they are: only the end moves.
    fn ends_at(&mut self, time_us: u64) -> bool {
        self.keeps_settings(|it| {
            it.noise_us = it.faults_until_us();
            it.time_us = time_us;
        })
    }

    /// A cluster of two that fails says more than one of five.
    pub(super) fn use_fewer_nodes(&mut self) {
        let decisions = self.best.decisions.clone();
        for nodes in 1..self.best.settings.nodes {
            let kept = |node: NodeId| (node.0 <= nodes).then_some(node);
            if self.keeps_nodes(nodes, kept, decisions.clone()) {
                break;
            }
        }
        let mut node = 1;
        while node <= self.best.settings.nodes && 1 < self.best.settings.nodes {
            let gone = NodeId(node);
            let without = without_node(&self.best.decisions, gone);
            let kept = |node| moved(node, gone);
            if !self.keeps_nodes(self.best.settings.nodes - 1, kept, without) {
                node += 1;
            }
        }
    }

    /// A cluster of `nodes` nodes, by the names that they have now. What the application says to others
    /// is left out.
    fn keeps_nodes(
        &mut self,
        nodes: u32,
        kept: impl Fn(NodeId) -> Option<NodeId>,
        mut decisions: Vec<Decision>,
    ) -> bool {
        let given = self.given();
        decisions.extend(given.filter(|(it, _)| nodes < it.0).map(omission));
        let whole = &self.best.settings;
        let (down_max, traitors) = (
            whole.down_max_of(nodes, self.program.model),
            whole.traitors_of(nodes, self.program.model),
        );
        let links = whole.links.iter().filter_map(|link| link.among(&kept)).collect();
        let settings = Settings { nodes, down_max, traitors, links, ..whole.clone() };
        self.keeps(settings, decisions)
    }

    /// The inputs that are given: the node, and which of its inputs it is, from 1.
    pub(super) fn given(&self) -> impl Iterator<Item = (NodeId, u32)> + use<> {
        let inputs = &self.program.inputs;
        let all = inputs.iter().enumerate().map(|(index, node)| {
            let before = inputs.iter().take(index).filter(|it| *it == node).count();
            (*node, u32::try_from(before + 1).unwrap_or(u32::MAX))
        });
        let omitted = self.best.decisions.iter().filter(|it| it.is_omission());
        let omitted: BTreeSet<Name> = omitted.map(name).collect();
        let given: Vec<(NodeId, u32)> =
            all.filter(|input| !omitted.contains(&name(&omission(*input)))).collect();
        given.into_iter()
    }

    /// All that is decided about a fault goes at once.
    pub(super) fn drop_faults(&mut self) {
        let faults: BTreeSet<_> = self.best.decisions.iter().filter_map(Decision::fault).collect();
        for dropped in faults {
            let mut rest = self.best.decisions.clone();
            rest.retain(|it| it.fault() != Some(dropped));
            self.keeps_decisions(rest);
        }
    }

    /// Takes decisions away, in halves, quarters, and so on down to single ones, until no single
    /// one can go.
    pub(super) fn drop_decisions(&mut self) {
        let disturbing = |it: &Self| {
            let all = it.best.decisions.iter().filter(|it| !it.is_omission());
            all.map(name).collect::<Vec<Name>>()
        };
        let drop = |it: &mut Self, dropped: &[Name]| {
            let mut rest = it.best.decisions.clone();
            rest.retain(|decision| !dropped.contains(&name(decision)));
            let is_single = dropped.len() == 1;
            it.keeps_decisions(rest)
                || is_single && it.keeps_decisions(without(&it.best.decisions, dropped))
        };
        self.take_away(disturbing, drop);
    }

    /// Leaves inputs of the scenario out, in the same way.
    pub(super) fn drop_inputs(&mut self) {
        let drop = |it: &mut Self, dropped: &[(NodeId, u32)]| {
            let mut more = it.best.decisions.clone();
            more.extend(dropped.iter().map(|input| omission(*input)));
            it.keeps_decisions(more)
        };
        self.take_away(|it| it.given().collect(), drop);
    }

    /// Delta debugging: takes away parts of `all`, the large ones first.
    fn take_away<V>(
        &mut self,
        all: impl Fn(&Self) -> Vec<V>,
        mut drop: impl FnMut(&mut Self, &[V]) -> bool,
    ) {
        let mut size = all(self).len().max(1);
        loop {
            let (mut skipped, mut dropped) = (0, false);
            loop {
                let items = all(self);
                let (start, end) = if self.from_the_end {
                    let end = items.len().saturating_sub(skipped);
                    (end.saturating_sub(size), end)
                } else {
                    (skipped.min(items.len()), (skipped + size).min(items.len()))
                };
                match items.get(start..end) {
                    None | Some([]) => break,
                    Some(part) if drop(self, part) => dropped = true,
                    Some(_) => skipped += size,
                }
            }
            match size {
                1 if !dropped => return,
                1 => (),
                _ => size = size.div_ceil(2),
            }
        }
    }

    /// A world without a kind of fault is easier to think of, and one in which all links are alike.
    pub(super) fn turn_faults_off(&mut self) {
        let mut link = 0;
        while link < self.best.settings.links.len() {
            let is_needed = !self.keeps_settings(|it| {
                it.links.remove(link);
            });
            link += usize::from(is_needed);
        }
        for off in Settings::SWITCHES {
            self.keeps_settings(|it| *off(it) = 0);
        }
        for off in Settings::SWITCHES {
            let planned = *off(&mut self.best.settings.clone());
            let mut fewer = planned.min(PLANNED_TRIED_MAX);
            while 1 < fewer && self.keeps_settings(|it| *off(it) = fewer - 1) {
                fewer -= 1;
            }
        }
    }

    /// Tries each decision about an earlier message, or an earlier fault, of its kind: what can go
    /// wrong in the first round need not wait for the third.
    pub(super) fn take_earlier(&mut self) {
        for (label, ordinal) in self.names() {
            let first = ordinal.saturating_sub(EARLIER_MAX).max(1);
            for earlier in first..ordinal {
                if self.renames(|it| it == (label, ordinal), |_| (label, earlier)) {
                    break;
                }
            }
        }
        let numbers = self.names().into_iter().filter_map(|(label, _)| match label.about {
            About::Fault(number) if 1 < number => Some((label.what.split('.').next(), number)),
            _ => None,
        });
        for (kind, number) in numbers.collect::<BTreeSet<_>>() {
            let of_fault = |(label, _): Name| {
                label.what.split('.').next() == kind && label.about == About::Fault(number)
            };
            let renumbered = |(label, ordinal): Name| {
                (Label { about: About::Fault(number - 1), ..label }, ordinal)
            };
            self.renames(of_fault, renumbered);
        }
    }

    /// Makes the choice of each decision as small as bisection finds. Where another one makes the
    /// run shorter, that one is taken first.
    pub(super) fn calm_decisions(&mut self) {
        for name in self.names() {
            let options = self.best.decisions.iter().find(|it| (it.label, it.ordinal) == name);
            let most = options.map_or(0, |it| it.options.saturating_sub(1));
            self.keeps_choice(name, most);
            self.keeps_choice(name, most / 2);
            let choice = self.choice_of(name);
            bisect(choice, |choice| self.keeps_choice(name, choice));
        }
    }

    fn names(&self) -> Vec<Name> {
        self.best.decisions.iter().filter(|it| !it.is_omission()).map(name).collect()
    }

    fn choice_of(&self, wanted: Name) -> u64 {
        let found = self.best.decisions.iter().find(|it| name(it) == wanted);
        found.map_or(0, |it| it.choice)
    }

    fn keeps_choice(&mut self, wanted: Name, choice: u64) -> bool {
        if self.choice_of(wanted) == choice || choice == 0 {
            return false;
        }
        let mut decisions = self.best.decisions.clone();
        decisions.iter_mut().filter(|it| name(it) == wanted).for_each(|it| it.choice = choice);
        self.keeps_decisions(decisions)
    }

    fn renames(&mut self, which: impl Fn(Name) -> bool, to: impl Fn(Name) -> Name) -> bool {
        let taken: BTreeSet<Name> = self.best.decisions.iter().map(name).collect();
        let mut decisions = self.best.decisions.clone();
        for decision in decisions.iter_mut().filter(|it| which(name(it))) {
            (decision.label, decision.ordinal) = to(name(decision));
            if taken.contains(&name(decision)) {
                return false;
            }
        }
        self.keeps_decisions(decisions)
    }
}

/// Planned faults of one kind beyond which fewer ones are not tried one by one.
const PLANNED_TRIED_MAX: u32 = 8;

/// Looks for the least number at which `holds`, which holds at `most`.
fn bisect(most: u64, mut holds: impl FnMut(u64) -> bool) {
    let (mut least, mut most) = (0, most);
    while least + 1 < most {
        let middle = least + (most - least) / 2;
        if holds(middle) {
            most = middle;
        } else {
            least = middle;
        }
    }
}

pub(super) fn omission((node, ordinal): (NodeId, u32)) -> Decision {
    let label = Label { what: INPUT, about: About::Node(node) };
    Decision { label, ordinal, options: 2, choice: 1 }
}

/// The decisions of a cluster that lacks a node, the later ones having moved up. Inputs stay with
/// the nodes that the scenario names.
fn without_node(decisions: &[Decision], gone: NodeId) -> Vec<Decision> {
    decisions.iter().filter_map(|decision| among_fewer(*decision, gone)).collect()
}

fn among_fewer(decision: Decision, gone: NodeId) -> Option<Decision> {
    if decision.is_omission() {
        return Some(decision);
    }
    let moved = |node| moved(node, gone);
    let Decision { label: Label { what, about }, choice, .. } = decision;
    let about = match about {
        About::Node(node) => About::Node(moved(node)?),
        About::Message { from, to, event } => {
            About::Message { from: moved(from)?, to: moved(to)?, event }
        }
        About::Fault(number) => About::Fault(number),
    };
    let choice = if what.ends_with(".node") {
        let node = u32::try_from(choice).ok().map(NodeId)?;
        u64::from(moved(node)?.0)
    } else if what.ends_with(".side") {
        let below = (1 << (gone.0 - 1).min(u64::BITS - 1)) - 1;
        choice & below
            | choice.checked_shr(gone.0).unwrap_or(0).checked_shl(gone.0 - 1).unwrap_or(0)
    } else {
        choice
    };
    let label = Label { what, about };
    (0 < choice).then_some(Decision { label, choice, ..decision })
}

/// The name of a node once another one is gone.
fn moved(node: NodeId, gone: NodeId) -> Option<NodeId> {
    match node {
        NodeId(number) if gone.0 < number => Some(NodeId(number - 1)),
        other => (other != gone).then_some(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(line: &str, gone: u32) -> Option<String> {
        let decision = line.parse().expect("a decision");
        among_fewer(decision, NodeId(gone)).map(|it| it.line(|_| String::from("a.b")))
    }

    #[test]
    fn the_nodes_after_one_that_goes_move_up_in_every_decision() {
        for (before, after) in [
            ("delay a.b n1>n3 #2 = 5", Some("delay a.b n1>n2 #2 = 5")),
            ("delay a.b n2>n3 #2 = 5", None),
            ("choose n4 #1 = 2", Some("choose n3 #1 = 2")),
            ("crash.node 1 #1 = 1", Some("crash.node 1 #1 = 1")),
            ("crash.node 1 #1 = 2", None),
            ("crash.node 1 #1 = 4", Some("crash.node 1 #1 = 3")),
            ("crash.at 1 #1 = 4", Some("crash.at 1 #1 = 4")),
            ("partition.side 1 #1 = 13", Some("partition.side 1 #1 = 7")),
            ("partition.side 1 #1 = 2", None),
            ("input n3 #1 = 1", Some("input n3 #1 = 1")),
        ] {
            assert_eq!(left(before, 2).as_deref(), after, "{before}");
        }
        assert_eq!(
            left("partition.side 1 #1 = 5", 9_000).as_deref(),
            Some("partition.side 1 #1 = 5")
        );
    }
}
