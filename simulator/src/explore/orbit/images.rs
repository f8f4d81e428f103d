//! Local states and messages under other names: what is known of each.

use std::hash::BuildHasherDefault;

use synod_core::{DecodeError, NodeId, Nodes, Permutation, Renamer};

use super::Thing;
use crate::explore::worker::{Folding, Worker};

/// Remembers shapes and images.
pub(super) struct Images {
    alike: Nodes,
    group: Vec<NodeId>,
    places: Vec<Option<Known>>,
    parcels: Vec<Option<Known>>,
    images: Prints,
}

/// Fingerprints of images: of what, and what the permutation does to the nodes in it. Only asked
/// for what it holds, so its order is nobody's.
#[expect(clippy::disallowed_types, reason = "it is never iterated")]
type Prints = std::collections::HashMap<(Thing, u64), u128, BuildHasherDefault<Folding>>;

/// What is known of a local state or a message.
struct Known {
    print: u128,
    /// The nodes that stand in it.
    nodes: Nodes,
    /// Its shape, with each node of the group marked in turn.
    shapes: Box<[u64]>,
}

/// Images that are remembered at most. Beyond, all are forgotten.
const IMAGES_MAX: usize = 1 << 20;

impl Images {
    pub(super) fn new(alike: Nodes, group: Vec<NodeId>) -> Self {
        let (places, parcels, images) = (Vec::new(), Vec::new(), Prints::default());
        Self { alike, group, places, parcels, images }
    }

    /// The shape of a thing in which the node of this index in the group is marked.
    pub(super) fn shape(
        &mut self,
        thing: Thing,
        index: usize,
        worker: &Worker<'_>,
    ) -> Result<u64, DecodeError> {
        let known = self.known(thing, worker)?;
        Ok(known.shapes.get(index).copied().unwrap_or_default())
    }

    /// The fingerprint of a thing under other names.
    pub(super) fn image(
        &mut self,
        thing: Thing,
        names: Permutation,
        worker: &Worker<'_>,
    ) -> Result<u128, DecodeError> {
        let known = self.known(thing, worker)?;
        let on = names.on(known.nodes);
        if on == Permutation::IDENTITY.on(known.nodes) {
            return Ok(known.print);
        }
        if let Some(print) = self.images.get(&(thing, on)) {
            return Ok(*print);
        }
        let print = renamed(thing, &mut Renamer::to(names), worker)?;
        if IMAGES_MAX <= self.images.len() {
            self.images.clear();
        }
        self.images.insert((thing, on), print);
        Ok(print)
    }

    fn known(&mut self, thing: Thing, worker: &Worker<'_>) -> Result<&Known, DecodeError> {
        let (list, number) = match thing {
            Thing::Place(number) => (&mut self.places, number as usize),
            Thing::Parcel(number) => (&mut self.parcels, number as usize),
        };
        if list.len() <= number {
            list.resize_with(number + 1, || None);
        }
        let slot = list.get_mut(number).expect("it was made large enough");
        match slot {
            Some(known) => Ok(known),
            None => Ok(slot.insert(look(thing, self.alike, &self.group, worker)?)),
        }
    }
}

fn look(
    thing: Thing,
    alike: Nodes,
    group: &[NodeId],
    worker: &Worker<'_>,
) -> Result<Known, DecodeError> {
    let (mut shapes, mut nodes) = (Vec::with_capacity(group.len()), Nodes::default());
    for marked in group {
        let mut renamer = Renamer::shaping(alike, *marked);
        renamed(thing, &mut renamer, worker)?;
        shapes.push(renamer.shape());
        nodes = renamer.seen();
    }
    let print = match thing {
        Thing::Place(place) => worker.print(place),
        Thing::Parcel(parcel) => worker.parcel(parcel).print,
    };
    Ok(Known { print, nodes, shapes: shapes.into() })
}

/// The fingerprint of a thing under other names.
fn renamed(thing: Thing, renamer: &mut Renamer, worker: &Worker<'_>) -> Result<u128, DecodeError> {
    match thing {
        Thing::Place(place) => worker.program().image(place, renamer),
        Thing::Parcel(parcel) => {
            let catalogue = worker.setting().catalogue;
            Ok(worker.parcel(parcel).renamed(catalogue, renamer)?.print)
        }
    }
}
