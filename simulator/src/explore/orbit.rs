//! States that differ only in the names of interchangeable nodes: one of them is visited for all.
//!
//! The orbit of a state is the set of its images under all permutations of these nodes. Of the
//! fingerprints of the images the least one is the orbit's (C. Norris Ip, D. Dill, "Better
//! verification through symmetry", Formal Methods in System Design 9, 1996). Not all images have to
//! be looked at: nodes of different shape are named in the order of their shapes, and two nodes that
//! may change names without changing the state need not be tried in both orders.
//!
//! A fingerprint is a sum, so that of an image is the sum of the images' fingerprints of its local
//! states and messages. Each of these depends only on the nodes that stand in it, and is kept.

use std::collections::BTreeSet;

use synod_core::{DecodeError, NodeId, Nodes, Permutation, Random};

use self::images::Images;
use super::state::State;
use super::worker::Worker;

mod images;

/// Nodes that only their names tell apart, in classes of two or more.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Group {
    /// Class by class, each in ascending order.
    nodes: Vec<NodeId>,
    /// For each node, the place of the first one of its class.
    classes: Vec<usize>,
}

impl Group {
    /// Nodes of a class that are named anew, at most. The states of more are still right, but fewer
    /// of them are one.
    const NODES_MAX: usize = 8;

    /// All of these nodes as one class.
    pub(crate) fn of(nodes: impl IntoIterator<Item = NodeId>) -> Self {
        Self::of_classes(vec![nodes.into_iter().collect()])
    }

    fn of_classes(classes: Vec<Vec<NodeId>>) -> Self {
        let mut group = Self { nodes: Vec::new(), classes: Vec::new() };
        for mut class in classes {
            class.retain(|node| node.0 <= Permutation::NODES_MAX);
            if 1 < class.len() {
                let first = group.nodes.len();
                group.classes.extend(class.iter().map(|_| first));
                group.nodes.extend(class);
            }
        }
        group
    }

    /// The same without exchanges that lead from a state in which the cluster may begin to one in
    /// which it does not.
    pub(crate) fn of_the_same_start(
        self,
        starts: &[State],
        worker: &Worker<'_>,
    ) -> Result<Self, DecodeError> {
        let prints: BTreeSet<u128> = starts.iter().map(State::fingerprint).collect();
        let mut orbits = Orbits::new(self.clone());
        let mut classes: Vec<Vec<NodeId>> = Vec::new();
        for node in self.nodes {
            let mut mine = None;
            for (index, class) in classes.iter().enumerate() {
                let first = class.first().copied().unwrap_or(node);
                if orbits.keeps(&prints, starts, Permutation::swap(first, node), worker)? {
                    mine = Some(index);
                    break;
                }
            }
            match mine.and_then(|index| classes.get_mut(index)) {
                Some(class) => class.push(node),
                None => classes.push(vec![node]),
            }
        }
        classes.iter_mut().for_each(|class| class.truncate(Self::NODES_MAX));
        Ok(Self::of_classes(classes))
    }

    /// Class by class, each in ascending order.
    pub(crate) fn nodes(&self) -> &[NodeId] {
        &self.nodes
    }

    /// How many permutations there are.
    pub(crate) fn order(&self) -> u64 {
        exchanges(&self.classes)
    }

    /// One of the permutations, not the identity, that depends on `seed` alone.
    pub(crate) fn any(&self, seed: u64) -> Permutation {
        let mut random = Random::new(seed);
        let mut names = self.nodes.clone();
        for (last, first) in self.classes.iter().enumerate() {
            let other = random.below((last - first) as u64 + 1);
            names.swap(last, first + usize::try_from(other).unwrap_or(0));
        }
        if names == self.nodes {
            names.swap(0, 1);
        }
        self.named(&names)
    }

    /// The nodes in the order of the group get these names.
    fn named(&self, names: &[NodeId]) -> Permutation {
        let pairs = self.nodes.iter().zip(names);
        pairs.fold(Permutation::IDENTITY, |all, (node, name)| all.with(*node, *name))
    }
}

/// In how many ways things can change places, if each tells the first one that it may do so with.
fn exchanges(firsts: &[usize]) -> u64 {
    let count = |first: usize| firsts.iter().filter(|it| **it == first).count();
    (0..firsts.len()).map(|first| factorial(count(first))).product()
}

fn factorial(count: usize) -> u64 {
    (1..=count as u64).product()
}

/// What states are told apart by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Identity {
    /// The fingerprint of the state, or of its orbit.
    pub(crate) print: u128,
    /// How many states have it.
    pub(crate) orbit: u64,
}

/// A local state or a message under way, and its weight in the sum of the state.
#[derive(Clone, Copy, Debug)]
struct Part {
    thing: Thing,
    weight: u128,
}

/// A local state or a message, by number.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Thing {
    Place(u32),
    Parcel(u32),
}

/// Finds the orbits of states, for one thread.
pub(crate) struct Orbits {
    group: Group,
    images: Images,
    parts: Vec<Part>,
}

/// The nodes of the group, each class in the order of their shapes.
struct Sorted {
    nodes: Vec<NodeId>,
    /// For each, the place of the first one that looks like it ..
    cells: Vec<usize>,
    /// .. and of the first one that may change names with it.
    twins: Vec<usize>,
}

/// The least image so far.
struct Least {
    sum: u128,
    /// How many ways lead to it.
    ways: u64,
}

impl Orbits {
    pub(crate) fn new(group: Group) -> Self {
        let alike: Nodes = group.nodes().iter().copied().collect();
        let images = Images::new(alike, group.nodes().to_vec());
        Self { group, images, parts: Vec::new() }
    }

    /// The orbit of a state. O((nodes + messages) · permutations tried).
    pub(crate) fn of(
        &mut self,
        state: &State,
        worker: &Worker<'_>,
    ) -> Result<Identity, DecodeError> {
        self.take_apart(state, worker);
        let sorted = self.sorted(state, worker)?;
        let mut least = Least { sum: u128::MAX, ways: 0 };
        let mut order = Vec::with_capacity(sorted.nodes.len());
        self.search(&sorted, &mut order, worker, &mut least)?;
        let group = self.group.order();
        let unchanged = least.ways * exchanges(&sorted.twins);
        Ok(Identity { print: state.fingerprint_of(least.sum), orbit: group / unchanged.max(1) })
    }

    fn take_apart(&mut self, state: &State, worker: &Worker<'_>) {
        self.parts.clear();
        self.parts
            .extend(state.places.iter().map(|it| Part { thing: Thing::Place(*it), weight: 1 }));
        let wire = worker.weighed(&state.wire);
        self.parts.extend(wire.map(|(it, weight)| Part { thing: Thing::Parcel(it), weight }));
    }

    /// Whether the image of each of some states is one of them.
    fn keeps(
        &mut self,
        prints: &BTreeSet<u128>,
        states: &[State],
        names: Permutation,
        worker: &Worker<'_>,
    ) -> Result<bool, DecodeError> {
        for state in states {
            self.take_apart(state, worker);
            let sum = self.image(names, worker)?;
            if !prints.contains(&state.fingerprint_of(sum)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn sorted(&mut self, state: &State, worker: &Worker<'_>) -> Result<Sorted, DecodeError> {
        let mut shapes = Vec::with_capacity(self.group.nodes.len());
        let nodes = self.group.nodes.iter().copied().zip(self.group.classes.iter().copied());
        for (index, (node, class)) in nodes.enumerate() {
            let mut shape = 0_u128;
            for part in &self.parts {
                let part_shape = self.images.shape(part.thing, index, worker)?;
                shape = shape.wrapping_add(part.weight.wrapping_mul(u128::from(part_shape)));
            }
            shapes.push(((class, shape), node));
        }
        shapes.sort_unstable();
        let nodes: Vec<NodeId> = shapes.iter().map(|(_, node)| *node).collect();
        let first =
            |shape: &(usize, u128)| shapes.iter().position(|(it, _)| it == shape).unwrap_or(0);
        let cells: Vec<usize> = shapes.iter().map(|(shape, _)| first(shape)).collect();
        let mut twins: Vec<usize> = Vec::with_capacity(nodes.len());
        for (at, node) in nodes.iter().enumerate() {
            let mut twin = at;
            for (other_at, other) in nodes.iter().enumerate().take(at) {
                let is_first = twins.get(other_at) == Some(&other_at);
                if is_first && cells.get(other_at) == cells.get(at) {
                    let swapped = Permutation::swap(*node, *other);
                    if self.image(swapped, worker)? == state.sum {
                        twin = other_at;
                        break;
                    }
                }
            }
            twins.push(twin);
        }
        Ok(Sorted { nodes, cells, twins })
    }

    /// The sum of the state under other names.
    fn image(&mut self, names: Permutation, worker: &Worker<'_>) -> Result<u128, DecodeError> {
        let mut sum = 0_u128;
        for part in &self.parts {
            let print = self.images.image(part.thing, names, worker)?;
            sum = sum.wrapping_add(part.weight.wrapping_mul(print));
        }
        Ok(sum)
    }

    /// Tries all ways to go on with `order`, which says who gets the first names of the group.
    fn search(
        &mut self,
        sorted: &Sorted,
        order: &mut Vec<usize>,
        worker: &Worker<'_>,
        least: &mut Least,
    ) -> Result<(), DecodeError> {
        let next = order.len();
        if next == sorted.nodes.len() {
            let sum = self.image(self.names(sorted, order), worker)?;
            match sum.cmp(&least.sum) {
                std::cmp::Ordering::Less => *least = Least { sum, ways: 1 },
                std::cmp::Ordering::Equal => least.ways += 1,
                std::cmp::Ordering::Greater => (),
            }
            return Ok(());
        }
        for candidate in sorted.candidates(next, order) {
            order.push(candidate);
            self.search(sorted, order, worker, least)?;
            order.pop();
        }
        Ok(())
    }

    fn names(&self, sorted: &Sorted, order: &[usize]) -> Permutation {
        let nodes = order.iter().filter_map(|at| sorted.nodes.get(*at));
        let pairs = nodes.zip(&self.group.nodes);
        pairs.fold(Permutation::IDENTITY, |all, (node, name)| all.with(*node, *name))
    }
}

impl Sorted {
    /// Who can be named next: those of the cell that is due, and of twins the first one.
    fn candidates(&self, next: usize, order: &[usize]) -> Vec<usize> {
        let cell = self.cells.get(next);
        let mut tried = Vec::new();
        let in_cell = (0..self.nodes.len()).filter(|at| self.cells.get(*at) == cell);
        let free = in_cell.filter(|at| !order.contains(at));
        free.filter(|at| {
            let twin = self.twins.get(*at).copied().unwrap_or(*at);
            let is_first = !tried.contains(&twin);
            tried.push(twin);
            is_first
        })
        .collect()
    }
}

#[cfg(test)]
mod tests;
