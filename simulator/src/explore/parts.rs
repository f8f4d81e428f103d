//! A graph of states, and the parts of it in which a run can go round for ever.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A transition that is no fault.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Edge {
    pub(super) to: u32,
    /// Who acts.
    pub(super) doer: u32,
    /// Which event over which link it delivers (false) or loses (true).
    pub(super) link: Option<(u32, bool)>,
}

/// States by number, with the transitions from each.
#[derive(Debug, Default)]
pub(super) struct Graph {
    edges: Vec<(Edge, u32)>,
    /// Where the edges of each state end.
    ends: Vec<usize>,
}

/// A strongly connected part: from each of its states a run can come to each, and back.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) states: BTreeSet<u32>,
    /// What runs in it must not lose, since they do not deliver it.
    unlost: BTreeSet<u32>,
}

impl Graph {
    /// Adds a transition of the state that is being added, with its place among all of them.
    pub(super) fn edge(&mut self, edge: Edge, ordinal: u32) {
        self.edges.push((edge, ordinal));
    }

    /// The state that is being added has no more transitions.
    pub(super) fn close(&mut self) {
        self.ends.push(self.edges.len());
    }

    pub(super) fn bytes(&self) -> u64 {
        let edges = self.edges.capacity() * size_of::<(Edge, u32)>();
        (edges + self.ends.capacity() * size_of::<usize>()) as u64
    }

    fn len(&self) -> u32 {
        u32::try_from(self.ends.len()).unwrap_or(u32::MAX)
    }

    fn from(&self, state: u32) -> &[(Edge, u32)] {
        let state = state as usize;
        let begin = state.checked_sub(1).and_then(|it| self.ends.get(it)).copied().unwrap_or(0);
        let end = self.ends.get(state).copied().unwrap_or(begin);
        self.edges.get(begin..end).unwrap_or_default()
    }

    /// The states in which nothing but a fault can happen.
    pub(super) fn ends(&self) -> Vec<u32> {
        (0..self.len()).filter(|state| self.from(*state).is_empty()).collect()
    }

    /// The transitions from a state that stay in a part.
    fn within<'g>(&'g self, part: &'g Part, state: u32) -> impl Iterator<Item = &'g (Edge, u32)> {
        self.from(state).iter().filter(|(edge, _)| {
            let lost = matches!(edge.link, Some((link, true)) if part.unlost.contains(&link));
            !lost && part.states.contains(&edge.to)
        })
    }

    /// Whether a round through all of the part is fair: whoever can act in each of its states does.
    pub(super) fn is_fair(&self, part: &Part) -> bool {
        let mut able: Option<BTreeSet<u32>> = None;
        let mut acting = BTreeSet::new();
        for state in &part.states {
            let here: BTreeSet<u32> = self.from(*state).iter().map(|(edge, _)| edge.doer).collect();
            able = Some(match able {
                Some(able) => &able & &here,
                None => here,
            });
            acting.extend(self.within(part, *state).map(|(edge, _)| edge.doer));
        }
        able.is_some_and(|able| able.is_subset(&acting))
    }

    /// A fair way from a state round the part and back, as the places of its transitions.
    pub(super) fn round(&self, part: &Part, state: u32) -> Vec<u32> {
        let doers = |state: u32| self.from(state).iter().map(|(edge, _)| edge.doer);
        let mut waiting: BTreeSet<u32> = doers(state).collect();
        let mut round = Vec::new();
        let mut at = state;
        while let Some(doer) = waiting.first().copied() {
            // To where this one acts, or cannot.
            let acts = |edge: &Edge| edge.doer == doer || !doers(edge.to).any(|it| it == doer);
            let Some(way) = self.way(part, at, acts) else {
                break;
            };
            for (edge, ordinal) in way {
                round.push(ordinal);
                waiting.remove(&edge.doer);
                at = edge.to;
                let able: BTreeSet<u32> = doers(at).collect();
                waiting.retain(|it| able.contains(it));
            }
        }
        if at != state || round.is_empty() {
            let back = self.way(part, at, |edge| edge.to == state).unwrap_or_default();
            round.extend(back.into_iter().map(|(_, ordinal)| ordinal));
        }
        round
    }

    /// A shortest way within a part whose last transition is as asked.
    fn way(
        &self,
        part: &Part,
        from: u32,
        is_last: impl Fn(&Edge) -> bool,
    ) -> Option<Vec<(Edge, u32)>> {
        let mut before: BTreeMap<u32, (u32, (Edge, u32))> = BTreeMap::new();
        let mut queue = VecDeque::from([from]);
        while let Some(at) = queue.pop_front() {
            for taken in self.within(part, at) {
                if is_last(&taken.0) {
                    let mut way = vec![*taken];
                    let mut at = at;
                    while at != from
                        && let Some((earlier, taken)) = before.get(&at)
                    {
                        way.push(*taken);
                        at = *earlier;
                    }
                    way.reverse();
                    return Some(way);
                }
                if taken.0.to != from && !before.contains_key(&taken.0.to) {
                    before.insert(taken.0.to, (at, *taken));
                    queue.push_back(taken.0.to);
                }
            }
        }
        None
    }
}

/// The parts in which a run can go round for ever and deliver whatever it loses for ever again.
pub(super) fn parts(graph: &Graph) -> Vec<Part> {
    let all = Part { states: (0..graph.len()).collect(), unlost: BTreeSet::new() };
    let mut waiting = vec![all];
    let mut found = Vec::new();
    while let Some(whole) = waiting.pop() {
        for states in connected(graph, &whole) {
            let mut part = Part { states, unlost: whole.unlost.clone() };
            let (mut lost, mut delivered) = (BTreeSet::new(), BTreeSet::new());
            for state in &part.states {
                for (link, loses) in graph.within(&part, *state).filter_map(|(edge, _)| edge.link) {
                    if loses {
                        lost.insert(link)
                    } else {
                        delivered.insert(link)
                    };
                }
            }
            let unlost: BTreeSet<u32> = &lost - &delivered;
            if unlost.is_empty() {
                found.push(part);
            } else {
                part.unlost.extend(unlost);
                waiting.push(part);
            }
        }
    }
    found.sort_by_key(|part| part.states.first().copied());
    found
}

/// The strongly connected parts of a part that have a transition (R. Tarjan, "Depth-first search
/// and linear graph algorithms", SIAM Journal on Computing 1(2), 1972).
fn connected(graph: &Graph, within: &Part) -> Vec<BTreeSet<u32>> {
    let mut tarjan =
        Tarjan { order: BTreeMap::new(), stack: Vec::new(), on_stack: BTreeSet::new() };
    let mut found = Vec::new();
    for root in &within.states {
        if !tarjan.order.contains_key(root) {
            tarjan.visit(graph, within, *root, &mut found);
        }
    }
    found
}

struct Tarjan {
    /// When each state was met, and the earliest one that it can come back to.
    order: BTreeMap<u32, (u32, u32)>,
    stack: Vec<u32>,
    on_stack: BTreeSet<u32>,
}

impl Tarjan {
    fn meet(&mut self, state: u32) {
        let index = u32::try_from(self.order.len()).unwrap_or(u32::MAX);
        self.order.insert(state, (index, index));
        self.stack.push(state);
        self.on_stack.insert(state);
    }

    fn visit(&mut self, graph: &Graph, within: &Part, root: u32, found: &mut Vec<BTreeSet<u32>>) {
        let next = |state: u32| -> Vec<u32> {
            graph.within(within, state).map(|(edge, _)| edge.to).collect()
        };
        self.meet(root);
        let mut path = vec![(root, next(root))];
        while let Some((state, waiting)) = path.last_mut() {
            let state = *state;
            if let Some(to) = waiting.pop() {
                match self.order.get(&to).copied() {
                    None => {
                        self.meet(to);
                        path.push((to, next(to)));
                    }
                    Some((index, _)) if self.on_stack.contains(&to) => self.lower(state, index),
                    Some(_) => (),
                }
                continue;
            }
            path.pop();
            let (index, low) = self.order.get(&state).copied().unwrap_or_default();
            if let Some((before, _)) = path.last() {
                self.lower(*before, low);
            }
            if index == low {
                let part = self.part(state);
                if 1 < part.len() || next(state).contains(&state) {
                    found.push(part);
                }
            }
        }
    }

    fn lower(&mut self, state: u32, index: u32) {
        if let Some((_, low)) = self.order.get_mut(&state) {
            *low = (*low).min(index);
        }
    }

    /// Takes the part of this root off the stack.
    fn part(&mut self, root: u32) -> BTreeSet<u32> {
        let mut part = BTreeSet::new();
        while let Some(state) = self.stack.pop() {
            self.on_stack.remove(&state);
            part.insert(state);
            if state == root {
                break;
            }
        }
        part
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STATES: u32 = 4;

    /// A transition with the state that it is from.
    type From = (u32, Edge);

    fn edge() -> impl Strategy<Value = From> {
        let link = prop::option::of((0..2_u32, any::<bool>()));
        (0..STATES, 0..STATES, 0..3_u32, link)
            .prop_map(|(from, to, doer, link)| (from, Edge { to, doer, link }))
    }

    fn graph(edges: &[From]) -> Graph {
        let mut graph = Graph::default();
        for state in 0..STATES {
            let own = edges.iter().enumerate().filter(|(_, (from, _))| *from == state);
            own.for_each(|(index, (_, edge))| graph.edge(*edge, number(index)));
            graph.close();
        }
        graph
    }

    fn number(index: usize) -> u32 {
        u32::try_from(index).expect("few edges")
    }

    /// Whether a run could take exactly these transitions for ever again, and be fair.
    fn goes_round(all: &[From], taken: &[From]) -> bool {
        let states: BTreeSet<u32> = taken.iter().map(|(from, _)| *from).collect();
        let reaches = |from: u32| {
            let mut seen = BTreeSet::from([from]);
            for _ in 0..STATES {
                let more = taken.iter().filter(|(at, _)| seen.contains(at)).map(|(_, it)| it.to);
                let more: Vec<u32> = more.collect();
                seen.extend(more);
            }
            seen
        };
        let able = |state: u32| -> BTreeSet<u32> {
            all.iter().filter(|(from, _)| *from == state).map(|(_, it)| it.doer).collect()
        };
        let always = states.iter().map(|it| able(*it)).reduce(|one, other| &one & &other);
        let acting = taken.iter().map(|(_, it)| it.doer).collect();
        let links = |loses: bool| -> BTreeSet<u32> {
            let links = taken.iter().filter_map(|(_, it)| it.link);
            links.filter(|(_, it)| *it == loses).map(|(link, _)| link).collect()
        };
        states.iter().all(|state| reaches(*state) == states)
            && always.is_some_and(|always| always.is_subset(&acting))
            && links(true).is_subset(&links(false))
    }

    proptest! {
        #[test]
        fn a_state_is_in_a_fair_part_if_a_fair_run_comes_by_for_ever_again(
            edges in prop::collection::vec(edge(), 0..9),
        ) {
            let mut expected = BTreeSet::new();
            for set in 1..1_u32 << edges.len() {
                let is_in = |index: &usize| set & (1 << index) != 0;
                let taken: Vec<From> =
                    (0..edges.len()).filter(is_in).map(|index| edges[index]).collect();
                if goes_round(&edges, &taken) {
                    expected.extend(taken.iter().map(|(from, _)| *from));
                }
            }
            let graph = graph(&edges);
            let parts = parts(&graph);
            let fair = parts.iter().filter(|part| graph.is_fair(part));
            let found: BTreeSet<u32> = fair.flat_map(|part| part.states.clone()).collect();
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn a_round_comes_back_and_everybody_acts_who_always_can(
            edges in prop::collection::vec(edge(), 0..12),
        ) {
            let graph = graph(&edges);
            for part in parts(&graph).iter().filter(|part| graph.is_fair(part)) {
                for state in &part.states {
                    let round = graph.round(part, *state);
                    let taken: Vec<From> =
                        round.iter().map(|index| edges[*index as usize]).collect();
                    prop_assert!(!taken.is_empty());
                    let mut at = *state;
                    for (from, edge) in &taken {
                        prop_assert_eq!(at, *from);
                        at = edge.to;
                    }
                    prop_assert_eq!(at, *state);
                    let able = |state: u32| -> BTreeSet<u32> {
                        graph.from(state).iter().map(|(edge, _)| edge.doer).collect()
                    };
                    let always = taken.iter().map(|(from, _)| able(*from));
                    let always = always.reduce(|one, other| &one & &other).unwrap_or_default();
                    let acting = taken.iter().map(|(_, edge)| edge.doer).collect();
                    prop_assert!(always.is_subset(&acting));
                }
            }
        }
    }
}
