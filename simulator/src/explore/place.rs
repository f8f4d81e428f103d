//! The local states of nodes: what runs handlers, and all of an exploration that depends on the
//! type of the nodes.

use std::any::Any;
use std::hash::Hash;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use synod_core::{
    Choices, Cluster, DecodeError, Effect, Envelope, Held, Kind, Member, Monitor, Node, NodeId,
    Permutation, Renamer, Stack, TimerId, Verdict,
};

use super::host::{Cause, Host};
use super::pool::Pool;
use super::print::Print;
use super::setting::{Moment, Setting, Wrong};
use crate::scenario::{SEED, Scenario};
use crate::world::judge;

/// The nodes of an exploration, by the numbers of their local states.
///
/// A local state is a node, or the lack of one, with what its host holds for it. Each is kept
/// once, however many states of the cluster have it, and a handler runs once for each local state
/// and event: equal state and equal inputs mean equal effects.
pub(crate) trait Program: Sync {
    fn setting(&self) -> &Setting<'_>;
    /// A node that has never started.
    fn vacant(&self, node: NodeId) -> u32;
    /// What comes of `cause` in a local state, if the handler is answered `choices` (0 beyond) and
    /// the node crashes after `cut` effects.
    fn step(
        &self,
        place: u32,
        cause: &Cause,
        choices: &[u32],
        cut: Option<usize>,
    ) -> Result<Stepped, Wrong>;
    /// The local state a tick later.
    fn tick(&self, place: u32) -> u32;
    /// The local state after a crash.
    fn crash(&self, place: u32) -> u32;
    /// The fingerprint of a local state under other names.
    fn image(&self, place: u32, renamer: &mut Renamer) -> Result<u128, DecodeError>;
    /// A local state under other names.
    fn renamed(&self, place: u32, names: Permutation) -> Result<u32, DecodeError>;
    /// Brings a thread's own list of what the hosts hold up to date.
    fn refresh(&self, hosts: &mut Vec<Arc<Host>>);
    fn judge(&self) -> Box<dyn Judge + '_>;
    /// The monitors of a new run whose automata are a part of the states, by name: they may explain
    /// more.
    fn observe(&self) -> Vec<(&'static str, Monitor)>;
    /// The event that a timer would be.
    fn timer(&self, place: u32, id: TimerId) -> Option<Envelope>;
    /// A live node's state in short, if it has anything to show.
    fn summary(&self, place: u32) -> Option<String>;
    /// A live node's state as data, if the scenario shows states.
    fn shown(&self, place: u32) -> Value;
    /// How many local states there are.
    fn places(&self) -> usize;
    /// Forgets all local states but the live ones. Returns their new numbers by the old ones.
    fn keep_only(&self, live: &[bool]) -> Vec<u32>;
}

/// What came of one handler activation.
#[derive(Debug)]
pub(crate) struct Stepped {
    pub(crate) place: u32,
    /// The options of each question that was asked.
    pub(crate) asked: Vec<u32>,
    /// How many effects the handler had, those after a crash in it included.
    pub(crate) had: usize,
    /// The effects before the crash in it, if any.
    pub(crate) effects: Vec<Effect>,
}

/// Holds the properties against states.
pub(crate) trait Judge: Send {
    fn judge(&mut self, places: &[u32], moment: Moment) -> Result<(), Wrong>;
    /// What a property's predicate says, whenever it is due.
    fn verdict(&mut self, places: &[u32], property: usize) -> Verdict;
}

/// What is explored, and the local states that were found so far.
pub(crate) struct Ground<'a, T: Stack> {
    scenario: &'a Scenario<T>,
    setting: Setting<'a>,
    places: Pool<Place<T>>,
}

struct Place<T: Stack> {
    node: Option<Arc<Node<T>>>,
    host: Arc<Host>,
}

/// Answers a handler's questions from a script, and takes down what was asked.
#[derive(Debug)]
struct Script {
    given: Vec<u32>,
    asked: Vec<u32>,
}

impl Choices for Script {
    fn choose(&mut self, _: NodeId, options: u32) -> u32 {
        let answer = self.given.get(self.asked.len()).copied().unwrap_or(0);
        self.asked.push(options);
        answer
    }
}

impl<'a, T: Stack + Clone + Hash + Sync> Ground<'a, T> {
    pub(crate) fn new(scenario: &'a Scenario<T>, setting: Setting<'a>) -> Self {
        Self { scenario, setting, places: Pool::default() }
    }

    fn keep(&self, mut host: Host, node: Option<Node<T>>) -> u32 {
        host.up = node.is_some();
        let print = Self::print(&host, node.as_ref());
        host.print = print;
        self.places.number(print, || Place { node: node.map(Arc::new), host: Arc::new(host) })
    }

    /// The hash of a node and of all that its host holds for it.
    fn print(host: &Host, node: Option<&Node<T>>) -> u128 {
        let mut hasher = Print::new();
        (host.node, host.incarnation, &host.disk, node.is_some()).hash(&mut hasher);
        if let Some(node) = node {
            node.hash(&mut hasher);
            for (id, _) in node.timers() {
                host.timers.get(&id).hash(&mut hasher);
            }
        }
        hasher.all()
    }

    /// A node and what its host holds for it under other names.
    fn under_other_names(
        &self,
        place: u32,
        renamer: &mut Renamer,
    ) -> Result<(Host, Option<Node<T>>), DecodeError> {
        let Place { node, host } = &*self.places.get(place);
        let (scenario, catalogue) = (self.scenario, &self.scenario.catalogue);
        let mut host = host.renamed(catalogue, renamer)?;
        let Some(node) = node else {
            return Ok((host, None));
        };
        renamer.in_no_order(node.timers(), |renamer, (id, envelope)| {
            let due = host.timers.get(&id).copied().unwrap_or_default();
            renamer.mix(due.earliest);
            renamer.mix(due.latest);
            catalogue.renamed(envelope, renamer)
        })?;
        let node = node.renamed(scenario.symmetry, catalogue, SEED, renamer)?;
        host.up = true;
        Ok((host, Some(node)))
    }

    /// The node that `cause` meets: none if it is down.
    fn meets(&self, place: &Place<T>, host: &mut Host, cause: &Cause) -> Option<Node<T>> {
        if !matches!(cause, Cause::Start | Cause::Recover(_)) {
            return place.node.as_ref().map(|node| Node::clone(node));
        }
        host.incarnation += 1;
        Some(self.scenario.boot(host.node, self.setting.bounds.nodes, host.incarnation))
    }
}

impl<T: Stack + Clone + Hash + Sync> Program for Ground<'_, T> {
    fn setting(&self) -> &Setting<'_> {
        &self.setting
    }

    fn vacant(&self, node: NodeId) -> u32 {
        self.keep(Host::of(node), None)
    }

    fn step(
        &self,
        place: u32,
        cause: &Cause,
        choices: &[u32],
        cut: Option<usize>,
    ) -> Result<Stepped, Wrong> {
        let before = self.places.get(place);
        let mut host = Host::clone(&before.host);
        let Some(mut node) = self.meets(&before, &mut host, cause) else {
            return Ok(Stepped { place, asked: Vec::new(), had: 0, effects: Vec::new() });
        };
        let input = host.input(cause, self.setting.bounds);
        let given = choices.to_vec();
        node.decide_by(Box::new(Script { given, asked: Vec::new() }));
        let mut effects = Vec::new();
        let stepped =
            catch_unwind(AssertUnwindSafe(|| node.step(Duration::ZERO, &input, &mut effects)));
        let script: Option<Box<dyn Any>> = node.take_choices().map(|it| -> Box<dyn Any> { it });
        judge(host.node, stepped, |event| self.setting.catalogue.name(event))?;
        let had = effects.len();
        effects.truncate(cut.unwrap_or(had));
        host.carry_out(&effects, self.setting.bounds);
        let node = match cut {
            Some(_) => {
                host.timers.clear();
                None
            }
            None => Some(node),
        };
        let place = self.keep(host, node);
        let script = script.and_then(|it| it.downcast::<Script>().ok()).expect("it was lent");
        Ok(Stepped { place, asked: script.asked, had, effects })
    }

    fn tick(&self, place: u32) -> u32 {
        let before = self.places.get(place);
        let mut host = Host::clone(&before.host);
        host.timers.values_mut().for_each(|due| due.pass(1));
        self.keep(host, before.node.as_ref().map(|node| Node::clone(node)))
    }

    fn crash(&self, place: u32) -> u32 {
        let mut host = Host::clone(&self.places.get(place).host);
        host.timers.clear();
        self.keep(host, None)
    }

    fn image(&self, place: u32, renamer: &mut Renamer) -> Result<u128, DecodeError> {
        let (host, node) = self.under_other_names(place, renamer)?;
        Ok(Self::print(&host, node.as_ref()))
    }

    fn renamed(&self, place: u32, names: Permutation) -> Result<u32, DecodeError> {
        let (host, node) = self.under_other_names(place, &mut Renamer::to(names))?;
        Ok(self.keep(host, node))
    }

    fn refresh(&self, hosts: &mut Vec<Arc<Host>>) {
        self.places.refresh(hosts, |place| Arc::clone(&place.host));
    }

    fn judge(&self) -> Box<dyn Judge + '_> {
        let members = (1..=self.setting.bounds.nodes).map(NodeId);
        let members = members.map(|id| Member { id, node: None }).collect();
        Box::new(Court { ground: self, members, seated: Vec::new(), cleared: Vec::new() })
    }

    fn observe(&self) -> Vec<(&'static str, Monitor)> {
        let properties = self.scenario.properties().iter();
        let remembered = properties.filter(|it| it.remembering().is_some());
        remembered.filter_map(|it| Some((it.name, it.observe()?))).collect()
    }

    fn timer(&self, place: u32, id: TimerId) -> Option<Envelope> {
        let place = self.places.get(place);
        let node = place.node.as_ref()?;
        node.timers().find(|(armed, _)| *armed == id).map(|(_, envelope)| envelope.clone())
    }

    fn summary(&self, place: u32) -> Option<String> {
        let summary = self.places.get(place).node.as_ref()?.summary();
        (!summary.is_empty()).then(|| summary.to_string())
    }

    fn shown(&self, place: u32) -> Value {
        let place = self.places.get(place);
        place.node.as_ref().map_or(Value::Null, |node| self.scenario.show(node.stack()))
    }

    fn places(&self) -> usize {
        self.places.len()
    }

    fn keep_only(&self, live: &[bool]) -> Vec<u32> {
        self.places.keep(live)
    }
}

/// Holds properties against the nodes of one state after the other, which differ in few.
struct Court<'a, T: Stack> {
    ground: &'a Ground<'a, T>,
    members: Vec<Member<T>>,
    /// The local states that `members` are.
    seated: Vec<u32>,
    /// The local states in which every property of single nodes holds.
    cleared: Vec<bool>,
}

impl<T: Stack + Clone + Hash + Sync> Court<'_, T> {
    fn seat(&mut self, places: &[u32]) {
        self.seated.resize(places.len(), u32::MAX);
        for ((member, seated), place) in self.members.iter_mut().zip(&mut self.seated).zip(places) {
            if seated != place {
                member.node = self.ground.places.get(*place).node.clone().map(Held::Shared);
                *seated = *place;
            }
        }
    }

    /// Holds what is promised of single nodes against each local state once.
    fn judge_each(&mut self) -> Result<(), Wrong> {
        for (member, place) in self.members.iter().zip(&self.seated) {
            let place = *place as usize;
            if self.cleared.get(place) == Some(&true) {
                continue;
            }
            let alone = Cluster::new(std::slice::from_ref(member));
            let properties = self.ground.scenario.properties().iter();
            for property in properties.filter(|it| it.kind == Kind::Always && it.is_local()) {
                let verdict = property.check(&alone);
                verdict.map_err(|reason| (String::from(property.name), reason))?;
            }
            self.cleared.resize(self.cleared.len().max(place + 1), false);
            if let Some(cleared) = self.cleared.get_mut(place) {
                *cleared = true;
            }
        }
        Ok(())
    }
}

impl<T: Stack + Clone + Hash + Sync> Judge for Court<'_, T> {
    fn judge(&mut self, places: &[u32], moment: Moment) -> Result<(), Wrong> {
        let setting = &self.ground.setting;
        let due = |property: &&synod_core::Property<T>| match property.kind {
            Kind::Eventually { within } => setting.is_over(within, moment.quiet),
            Kind::AtRest => moment.at_rest,
            Kind::Always => !property.is_local(),
            _ => false,
        };
        self.seat(places);
        if setting.has_local {
            self.judge_each()?;
        }
        let cluster = Cluster::new(&self.members);
        for property in self.ground.scenario.properties().iter().filter(due) {
            let verdict = property.check(&cluster);
            verdict.map_err(|reason| (String::from(property.name), reason))?;
        }
        Ok(())
    }

    fn verdict(&mut self, places: &[u32], property: usize) -> Verdict {
        self.seat(places);
        let property = self.ground.scenario.properties().get(property);
        property.map_or(Ok(()), |it| it.check(&Cluster::new(&self.members)))
    }
}
