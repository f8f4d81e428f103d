//! Nodes that turn against the others: their links stay, their messages are another matter.

use synod_core::{Held, Input, Kind, Machine, NodeId, Stack};

use super::upon::Upon;
use super::{World, Wrong};
use crate::trace::{Step, StepKind};
use crate::treason::{Asked, Betrayal, Deeds, Traitor, Treason};

impl<T: Stack> World<'_, T> {
    /// Whether messages reach a node.
    pub(super) fn is_up(&self, node: NodeId) -> bool {
        self.members[node].node.is_some() || self.traitors.contains_key(&node)
    }

    /// Whether a traitor has sent it. That a node refuses it is then no violation.
    pub(super) fn is_of_traitor(&self, upon: Upon<'_>) -> bool {
        upon.sender().is_some_and(|from| self.traitors.contains_key(&from))
    }

    /// A node that is up becomes a traitor, unless there are as many bad nodes as there may be.
    /// One that has not started starts with the others, as what it is.
    pub(super) fn betray(&mut self, betrayal: Betrayal, has_started: bool) -> Result<(), Wrong> {
        let node = betrayal.node;
        if self.members[node].node.is_none() || !self.may_betray() {
            return Ok(());
        }
        self.counts.traitors += 1;
        self.disturb(0);
        self.places[node].rare_mut().doomed = None;
        let mut traitor = self.traitor(betrayal);
        let now = self.places[node].clock.reads(self.now_us);
        let newcomer = match betrayal.treason {
            Treason::Twins => Some(1),
            Treason::Another => Some(0),
            _ => None,
        };
        let newcomer = newcomer.filter(|_| has_started);
        let stream = &mut self.stream;
        let asked = newcomer.and_then(|it| traitor.run_one(it, now, &Input::Start, stream));
        self.traitors.insert(node, traitor);
        let words = betrayal.treason.words();
        let step = self.noting(|_| Step::says(StepKind::Fault, Some(node), words));
        self.act(node, asked.into_iter().collect(), step);
        self.check(|kind| kind == Kind::Always)
    }

    fn may_betray(&self) -> bool {
        // A node that has not joined yet is neither good nor bad.
        let has_joined = |node| 0 < self.places[node].incarnation;
        let is_bad = |node| has_joined(node) && self.members[node].node.is_none();
        let bad = (1..=self.settings.nodes).map(NodeId).filter(|node| is_bad(*node)).count();
        self.settings.may_betray(bad)
    }

    /// Takes a node out of the live ones, with what runs in its name from now on.
    fn traitor(&mut self, betrayal: Betrayal) -> Traitor {
        let Betrayal { node, treason, .. } = betrayal;
        let (nodes, incarnation) = (self.settings.nodes, self.places[node].incarnation);
        let own = self.members[node].node.take().and_then(|held| match held {
            Held::Own(node) => Some(node as Box<dyn Machine>),
            Held::Shared(_) => None,
        });
        let mut machines = Vec::new();
        match treason {
            Treason::Silent => self.forget_timers(node),
            Treason::Another => {
                self.forget_timers(node);
                machines.extend(self.scenario.other_machine(node, nodes, incarnation));
            }
            Treason::Twins => {
                machines.extend(own);
                machines.push(Box::new(self.scenario.boot(node, nodes, incarnation)));
            }
            _ => machines.extend(own),
        }
        Traitor::new(betrayal, machines, incarnation)
    }

    /// One activation of a traitor. What it becomes is no property's affair, what it sends is.
    #[cold]
    pub(super) fn step_traitor(
        &mut self,
        node: NodeId,
        upon: Upon<'_>,
        step: Option<Box<Step>>,
    ) -> Result<(), Wrong> {
        let now = self.places[node].clock.reads(self.now_us);
        let traitor = self.traitors.get_mut(&node).expect("an event for a live node");
        let asked = traitor.run(now, &upon.to_input(), &mut self.stream);
        self.act(node, asked, step);
        self.check(|kind| kind == Kind::Always || matches!(kind, Kind::Eventually { .. }))
    }

    /// Carries out what a traitor makes of what its machines ask for.
    fn act(&mut self, node: NodeId, asked: Vec<Asked>, mut step: Option<Box<Step>>) {
        let mut deeds = Deeds::new(step.is_some());
        if let Some(traitor) = self.traitors.get_mut(&node) {
            let (nodes, catalogue) = (self.settings.nodes, &self.scenario.catalogue);
            traitor.betray(asked, nodes, catalogue, &mut self.stream, &mut deeds);
        }
        self.carry_out(node, &mut deeds.effects, &mut step);
        if let (Some(step), Some(told)) = (&mut step, deeds.told) {
            step.log.extend(told);
        }
        self.note(step);
    }
}
