//! What an algorithm promises, as predicates over a cluster.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use crate::envelope::Envelope;
use crate::event::NodeId;
use crate::node::Node;
use crate::stack::Stack;

/// A promise about a cluster of nodes with stack `S`. The simulator and the checker hold it
/// against every run; a deployed node holds itself to those about [single nodes](Property::local), if it is
/// asked to.
pub struct Property<S: Stack> {
    /// A short sentence that is true when the property holds: "at most one node leads".
    pub name: &'static str,
    /// When it must hold.
    pub kind: Kind,
    place: &'static Location<'static>,
    holds: Predicate<S>,
    /// The same of one node, if it is about single ones.
    local: Option<LocalPredicate<S>>,
    monitor: Option<MakeMonitor>,
    /// Which indications it judges, if those are not all.
    judges: Option<Judges>,
    automaton: Option<Arc<dyn Automaton>>,
}

type Predicate<S> = Arc<dyn Fn(&Cluster<'_, S>) -> Verdict + Send + Sync>;

type LocalPredicate<S> = Arc<dyn Fn(NodeId, &S) -> Verdict + Send + Sync>;

/// An observer of what the nodes of one run indicate.
pub type Monitor = Box<dyn FnMut(NodeId, &Envelope) -> Verdict + Send>;

type MakeMonitor = Arc<dyn Fn() -> Monitor + Send + Sync>;

type Judges = Arc<dyn Fn(NodeId, &Envelope) -> bool + Send + Sync>;

/// A monitor whose memory is a value: what it remembers can be copied, and told apart from what it
/// would remember of another run. So an exploration can make it a part of a state.
pub trait Automaton: Send + Sync {
    /// The same, having seen what `node` indicates.
    ///
    /// # Errors
    ///
    /// What is wrong with the run, in a sentence.
    fn after(&self, node: NodeId, indicated: &Envelope) -> Result<Arc<dyn Automaton>, String>;
    /// Hashes what it remembers.
    fn remembers(&self, hasher: &mut dyn Hasher);
}

struct Remembering<M, F> {
    memory: M,
    see: Arc<F>,
}

impl<M, F> Automaton for Remembering<M, F>
where
    M: Clone + Hash + Send + Sync + 'static,
    F: Fn(&mut M, NodeId, &Envelope) -> Verdict + Send + Sync + 'static,
{
    fn after(&self, node: NodeId, indicated: &Envelope) -> Result<Arc<dyn Automaton>, String> {
        let (mut memory, see) = (self.memory.clone(), Arc::clone(&self.see));
        said(|| see(&mut memory, node, indicated))?;
        Ok(Arc::new(Self { memory, see }))
    }

    fn remembers(&self, mut hasher: &mut dyn Hasher) {
        self.memory.hash(&mut hasher);
    }
}

/// Whether a property holds, and if not, in which way: "n2 and n3 both lead".
pub type Verdict = Result<(), String>;

/// When a property must hold.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Kind {
    /// After every step.
    Always,
    /// At every moment that has seen no fault for at least this long, the start included.
    Eventually {
        /// The bound, in virtual time.
        within: Duration,
    },
    /// Whenever nothing is under way: no message, no timer, no fault to heal.
    AtRest,
    /// At some moment of some run. A set of runs in which it never did is not a pass: it has not
    /// shown what it should.
    Sometimes,
    /// With every event that a node indicates, given all those before.
    Monitor,
}

impl<S: Stack> Property<S> {
    /// Must hold after every step.
    #[track_caller]
    pub fn always(
        name: &'static str,
        holds: impl Fn(&Cluster<'_, S>) -> Verdict + Send + Sync + 'static,
    ) -> Self {
        Self::of(name, Kind::Always, holds)
    }

    /// Must hold of each node by itself after every step. `holds` sees the state of one node at a
    /// time, so it cannot compare the states of several at one moment.
    ///
    /// An exploration evaluates it once for each local state, and holds it also when it is
    /// reduced: a reduced exploration finds every local state, but not every combination of them. A deployed
    /// node can be held to it, too, as by [`Watched`](crate::Watched).
    #[track_caller]
    pub fn local(
        name: &'static str,
        holds: impl Fn(NodeId, &S) -> Verdict + Send + Sync + 'static,
    ) -> Self {
        let local: LocalPredicate<S> = Arc::new(holds);
        let holds = Arc::clone(&local);
        let each = move |cluster: &Cluster<'_, S>| {
            cluster.live().try_for_each(|(node, state)| holds(node, state))
        };
        Self { local: Some(local), ..Self::of(name, Kind::Always, each) }
    }

    /// Must hold once no fault has happened for `within`, and from then on until the next one:
    /// liveness with a bound, and therefore something that a finite run can refute.
    #[track_caller]
    pub fn eventually(
        name: &'static str,
        within: Duration,
        holds: impl Fn(&Cluster<'_, S>) -> Verdict + Send + Sync + 'static,
    ) -> Self {
        Self::of(name, Kind::Eventually { within }, holds)
    }

    /// Must hold whenever nothing is under way any more: liveness of an algorithm that comes to
    /// rest, without a clock.
    #[track_caller]
    pub fn at_rest(
        name: &'static str,
        holds: impl Fn(&Cluster<'_, S>) -> Verdict + Send + Sync + 'static,
    ) -> Self {
        Self::of(name, Kind::AtRest, holds)
    }

    /// Must hold at some moment of some run: a fault was survived, a rare branch was taken.
    #[track_caller]
    pub fn sometimes(
        name: &'static str,
        holds: impl Fn(&Cluster<'_, S>) -> bool + Send + Sync + 'static,
    ) -> Self {
        let verdict = move |cluster: &Cluster<'_, S>| match holds(cluster) {
            true => Ok(()),
            false => Err(String::from("not yet")),
        };
        Self::of(name, Kind::Sometimes, verdict)
    }

    /// Judges what the nodes indicate to their applications, in the order of the run, without
    /// looking into their states. `make` begins a run: a function over what was indicated.
    ///
    /// The crash of a node is not told; what it indicated before is. What a traitor indicates is not
    /// told either. One that panics does not hold. An exploration does not hold it, since nothing is known of
    /// what it remembers: see [`Property::automaton`].
    #[track_caller]
    pub fn monitor<M>(name: &'static str, make: impl Fn() -> M + Send + Sync + 'static) -> Self
    where
        M: FnMut(NodeId, &Envelope) -> Verdict + Send + 'static,
    {
        let monitor: MakeMonitor = Arc::new(move || {
            let mut see = make();
            Box::new(move |node, indicated| said(|| see(node, indicated)))
        });
        let monitor = Some(monitor);
        Self { monitor, ..Self::of(name, Kind::Monitor, |_| Ok(())) }
    }

    /// Judges what the nodes indicate as a [monitor](Property::monitor) does, with a memory that is a
    /// value: `first` at the beginning of a run, changed by `see` with everything that is indicated.
    ///
    /// An exploration holds it too. The memory is a part of each state there: runs that it tells
    /// apart lead to different states, so it should remember no more than it needs. Memories with
    /// different futures must differ in what they hash.
    #[track_caller]
    pub fn automaton<M>(
        name: &'static str,
        first: M,
        see: impl Fn(&mut M, NodeId, &Envelope) -> Verdict + Send + Sync + 'static,
    ) -> Self
    where
        M: Clone + Hash + Send + Sync + 'static,
    {
        let see = Arc::new(see);
        let (memory, sees) = (first.clone(), Arc::clone(&see));
        let make = move || {
            let (mut memory, sees) = (memory.clone(), Arc::clone(&sees));
            move |node: NodeId, indicated: &Envelope| sees(&mut memory, node, indicated)
        };
        let automaton: Arc<dyn Automaton> = Arc::new(Remembering { memory: first, see });
        Self { automaton: Some(automaton), ..Self::monitor(name, make) }
    }

    /// A [monitor](Property::monitor) for simulations, with an [automaton](Property::automaton) that
    /// says the same to explorations: one may explain more, the other remember less.
    #[must_use]
    pub fn explored_by<M>(
        self,
        first: M,
        see: impl Fn(&mut M, NodeId, &Envelope) -> Verdict + Send + Sync + 'static,
    ) -> Self
    where
        M: Clone + Hash + Send + Sync + 'static,
    {
        let Self { automaton, .. } = Self::automaton(self.name, first, see);
        Self { automaton, ..self }
    }

    /// Says which of the events that nodes indicate a [monitor](Property::monitor) judges, if those are not
    /// all. Where nobody indicates one of them, it was not held against anything, and that is no pass.
    #[must_use]
    pub fn judging(
        self,
        judges: impl Fn(NodeId, &Envelope) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self { judges: Some(Arc::new(judges)), ..self }
    }

    /// Whether it [judges](Property::judging) what a node indicates.
    #[must_use]
    pub fn judges(&self, node: NodeId, indicated: &Envelope) -> bool {
        let is_one = |judges: &Judges| judges(node, indicated);
        self.kind == Kind::Monitor && self.judges.as_ref().is_none_or(is_one)
    }

    #[track_caller]
    fn of(
        name: &'static str,
        kind: Kind,
        holds: impl Fn(&Cluster<'_, S>) -> Verdict + Send + Sync + 'static,
    ) -> Self {
        let (place, holds) = (Location::caller(), Arc::new(holds));
        let (local, monitor, automaton, judges) = (None, None, None, None);
        Self { name, kind, place, holds, local, monitor, judges, automaton }
    }

    /// Where in the source it is made, as the compiler names it.
    #[must_use]
    pub fn place(&self) -> &'static Location<'static> {
        self.place
    }

    /// Whether it is [about single nodes](Property::local).
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.local.is_some()
    }

    /// The observer of a new run, if this is a monitor.
    #[must_use]
    pub fn observe(&self) -> Option<Monitor> {
        self.monitor.as_ref().map(|make| make())
    }

    /// The automaton at the beginning of a run, if this is a monitor that an exploration can hold.
    #[must_use]
    pub fn remembering(&self) -> Option<&Arc<dyn Automaton>> {
        self.automaton.as_ref().filter(|_| self.kind == Kind::Monitor)
    }

    /// Evaluates the predicate. One that panics does not hold.
    ///
    /// # Errors
    ///
    /// What is wrong, in a sentence; of a panic [`PANICKED`] and what it says.
    pub fn check(&self, cluster: &Cluster<'_, S>) -> Verdict {
        said(|| (self.holds)(cluster))
    }

    /// Evaluates it on the state of one node. One that is not [local](Property::local) says nothing of a single node.
    ///
    /// # Errors
    ///
    /// What is wrong, in a sentence.
    pub fn judge(&self, node: NodeId, state: &S) -> Verdict {
        self.local.as_ref().map_or(Ok(()), |holds| said(|| holds(node, state)))
    }
}

/// How the reason begins of a property that does not hold because its predicate, or its monitor, panicked.
pub const PANICKED: &str = "it panicked: ";

/// What a predicate or a monitor says. One that panics does not hold: whoever wrote it expected something else.
fn said(holds: impl FnOnce() -> Verdict) -> Verdict {
    catch_unwind(AssertUnwindSafe(holds)).unwrap_or_else(|panic| {
        let words = panic.downcast_ref::<String>().map(String::as_str);
        let words = words.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(format!("{PANICKED}{}", words.unwrap_or("without words")))
    })
}

impl<S: Stack> Clone for Property<S> {
    fn clone(&self) -> Self {
        let Self { name, kind, place, holds, local, monitor, judges, automaton } = self;
        let (holds, local) = (Arc::clone(holds), local.clone());
        let (monitor, automaton, judges) = (monitor.clone(), automaton.clone(), judges.clone());
        Self { name, kind: *kind, place, holds, local, monitor, judges, automaton }
    }
}

impl<S: Stack> fmt::Debug for Property<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:?})", self.name, self.kind)
    }
}

/// One place of a cluster: a node while it is up, nothing while it is down.
#[derive(Debug)]
pub struct Member<S: Stack> {
    /// The node's identity.
    pub id: NodeId,
    /// The node, if it is up and no traitor. A crash forgets it, so that equal futures are equal states.
    pub node: Option<Held<S>>,
}

/// How a host holds a node.
#[derive(Debug)]
pub enum Held<S: Stack> {
    /// A node that takes one step after the other.
    Own(Box<Node<S>>),
    /// The states of one that takes none: the states of a checker share what they do not differ in.
    Shared(Arc<S>),
}

impl<S: Stack> Held<S> {
    /// The node, if it may take a step.
    #[inline]
    pub fn own(&mut self) -> Option<&mut Node<S>> {
        match self {
            Self::Own(node) => Some(node),
            Self::Shared(_) => None,
        }
    }

    /// The node, if it takes steps.
    #[inline]
    pub fn node(&self) -> Option<&Node<S>> {
        match self {
            Self::Own(node) => Some(node),
            Self::Shared(_) => None,
        }
    }

    /// The algorithms' states.
    #[inline]
    pub fn stack(&self) -> &S {
        match self {
            Self::Own(node) => node.stack(),
            Self::Shared(stack) => stack,
        }
    }
}

/// A cluster at one moment.
#[derive(Debug)]
pub struct Cluster<'a, S: Stack> {
    members: &'a [Member<S>],
    sent: Option<u64>,
}

impl<'a, S: Stack> Cluster<'a, S> {
    /// A view of `members`, in ascending order of identity.
    #[must_use]
    pub fn new(members: &'a [Member<S>]) -> Self {
        Self { members, sent: None }
    }

    /// The same, with the messages that were sent so far.
    #[must_use]
    pub fn having_sent(self, messages: u64) -> Self {
        Self { sent: Some(messages), ..self }
    }

    /// How many messages the run has sent so far, those to oneself not counted: for bounds on what
    /// an algorithm costs. `None` in an exploration, where runs that sent more and fewer meet in
    /// one state.
    #[must_use]
    pub fn sent(&self) -> Option<u64> {
        self.sent
    }

    /// How many nodes the cluster has, up or down.
    #[must_use]
    pub fn size(&self) -> usize {
        self.members.len()
    }

    /// The nodes that are up, in ascending order. A traitor is none of them: nobody promises
    /// anything for it.
    pub fn live(&self) -> impl DoubleEndedIterator<Item = (NodeId, &'a S)> + use<'a, S> {
        self.members.iter().filter_map(|member| Some((member.id, member.node.as_ref()?.stack())))
    }

    /// The state of `node`, if it is up.
    #[must_use]
    pub fn state(&self, node: NodeId) -> Option<&'a S> {
        self.live().find(|(id, _)| *id == node).map(|(_, state)| state)
    }
}

/// A state in three to six short values: what a status table, a diagram, a metric shows.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Summary {
    role: Option<String>,
    values: Vec<(&'static str, String)>,
    unready: Option<String>,
}

impl Summary {
    /// The one value that tells nodes apart at a glance: "leader", "follower".
    #[must_use]
    pub fn role(self, role: impl fmt::Display) -> Self {
        Self { role: Some(role.to_string()), ..self }
    }

    /// One more named value.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl fmt::Display) -> Self {
        self.values.push((name, value.to_string()));
        self
    }

    /// Why the algorithm cannot do now what it is for, in words for an operator: "no quorum". A deployed node is
    /// not ready for as long as it says so.
    #[must_use]
    pub fn unready(self, why: impl fmt::Display) -> Self {
        Self { unready: Some(why.to_string()), ..self }
    }

    /// Why the algorithm is not [ready](Summary::unready), if it says so.
    #[must_use]
    pub fn why_unready(&self) -> Option<&str> {
        self.unready.as_deref()
    }

    /// The role and the values, by name, in the order of adding; the role is named `role`.
    pub fn values(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let role = self.role.iter().map(|role| ("role", role.as_str()));
        role.chain(self.values.iter().map(|(name, value)| (*name, value.as_str())))
    }

    /// Whether there is nothing to show.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.role.is_none() && self.values.is_empty()
    }

    /// Adds another summary's values; the first role stays.
    pub(crate) fn append(&mut self, other: Self) {
        self.role = self.role.take().or(other.role);
        self.values.extend(other.values);
        self.unready = self.unready.take().or(other.unready);
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, value)) in self.values().enumerate() {
            let gap = if index == 0 { "" } else { " " };
            write!(f, "{gap}{name}:{value}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Summary;

    #[test]
    fn a_summary_reads_as_names_and_values_in_the_order_of_adding_with_the_role_first() {
        let summary = Summary::default().with("term", 3).role("leader").with("votes", "2/3");
        assert_eq!(summary.to_string(), "role:leader term:3 votes:2/3");
        let values: Vec<_> = summary.values().collect();
        assert_eq!(values, [("role", "leader"), ("term", "3"), ("votes", "2/3")]);
    }

    #[test]
    fn an_empty_summary_shows_nothing() {
        assert!(Summary::default().is_empty());
        assert_eq!(Summary::default().to_string(), "");
        assert!(!Summary::default().role("idle").is_empty());
        assert!(!Summary::default().with("term", 0).is_empty());
    }

    #[test]
    fn the_first_role_of_several_summaries_stays() {
        let mut all = Summary::default().with("term", 1);
        all.append(Summary::default().role("leader").with("log", 9));
        all.append(Summary::default().role("idle"));
        assert_eq!(all.to_string(), "role:leader term:1 log:9");
    }
}
