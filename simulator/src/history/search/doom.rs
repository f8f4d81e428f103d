//! Configurations from which there is no order, seen before all that could follow was tried.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::bits::Bits;
use super::{ClassId, Kind, Machine, StateId, Task};

/// What operations lead to, whatever the state is.
///
/// A call that must come next needs a state in which it is possible. If it is not possible where the
/// search is, and nothing that may come before it leads to such a state, from whatever state, then there
/// is no order.
#[derive(Debug)]
pub(super) struct Doom {
    /// By class, the states that it leads to from another one.
    leads: BTreeMap<ClassId, Bits>,
    /// By class, the states in which it is possible.
    needs: BTreeMap<ClassId, Bits>,
}

/// States that are looked at, at most.
const STATES_MAX: usize = 1 << 10;
/// States times classes, at most.
const MOVES_MAX: usize = 1 << 18;

impl Doom {
    /// Nothing if there are too many states, or no time in which something must come soon.
    pub(super) fn new(
        task: &Task,
        kinds: &[Kind],
        starts: &[StateId],
        machine: &mut dyn Machine,
    ) -> Option<Self> {
        if !task.in_time {
            return None;
        }
        let classes = task.calls.iter().map(|call| call.class);
        let classes: BTreeSet<ClassId> =
            classes.chain(kinds.iter().map(|kind| kind.class)).collect();
        let mut doom = Self { leads: BTreeMap::new(), needs: BTreeMap::new() };
        let mut places: BTreeMap<StateId, usize> = BTreeMap::new();
        let mut waiting = VecDeque::new();
        for start in starts {
            enter(&mut places, &mut waiting, *start);
        }
        // Those that few operations lead to come first: they are small where there is no end of states.
        while let Some((state, place)) = waiting.pop_front() {
            if STATES_MAX.min(MOVES_MAX / classes.len().max(1)) < places.len() {
                return None;
            }
            for class in &classes {
                let Some(after) = machine.step(state, *class) else { continue };
                doom.needs.entry(*class).or_default().insert(place);
                if after != state {
                    let to = enter(&mut places, &mut waiting, after);
                    doom.leads.entry(*class).or_default().insert(to);
                }
            }
        }
        Some(doom)
    }

    /// Whether an operation of class `first` can make one of class `then` possible.
    pub(super) fn helps(&self, first: ClassId, then: ClassId) -> bool {
        let (leads, needs) = (self.leads.get(&first), self.needs.get(&then));
        leads.zip(needs).is_some_and(|(leads, needs)| leads.meets(needs))
    }
}

fn enter(
    places: &mut BTreeMap<StateId, usize>,
    waiting: &mut VecDeque<(StateId, usize)>,
    state: StateId,
) -> usize {
    let next = places.len();
    *places.entry(state).or_insert_with(|| {
        waiting.push_back((state, next));
        next
    })
}
