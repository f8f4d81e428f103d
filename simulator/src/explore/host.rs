//! What is left of a node when it is down, and what its host holds for it when it is up.

use std::collections::BTreeMap;
use std::sync::Arc;

use synod_core::{Catalogue, DecodeError, Effect, Input, NodeId, Renamer, TimerId};

use super::bounds::Bounds;
use super::disk::Disk;
use super::parcel::Parcel;
use super::window::Due;

/// A node's surroundings.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    pub(crate) node: NodeId,
    pub(crate) up: bool,
    pub(crate) incarnation: u64,
    pub(crate) disk: Disk,
    /// The armed timers.
    pub(crate) timers: BTreeMap<TimerId, Due>,
}

/// Why a handler runs.
#[derive(Clone, Debug)]
pub(crate) enum Cause {
    Start,
    /// Without so many of its last records.
    Recover(u32),
    Timer(TimerId),
    Parcel(Arc<Parcel>),
}

impl Host {
    /// Of a node that has never started.
    pub(crate) fn of(node: NodeId) -> Self {
        let (disk, timers) = (Disk::default(), BTreeMap::new());
        Self { node, up: false, incarnation: 0, disk, timers }
    }

    /// The same under other names. Timers keep theirs, which are told to nobody.
    pub(crate) fn renamed(
        &self,
        catalogue: &Catalogue,
        renamer: &mut Renamer,
    ) -> Result<Self, DecodeError> {
        renamer.mix(self.incarnation);
        let node = renamer.node(self.node);
        let disk = self.disk.renamed(|record| catalogue.renamed(record, renamer))?;
        Ok(Self { node, disk, ..self.clone() })
    }

    /// What the node is fed. A timer that fires is no longer armed.
    pub(crate) fn input(&mut self, cause: &Cause, bounds: &Bounds) -> Input {
        match cause {
            Cause::Start => Input::Start,
            Cause::Recover(lost) => Input::Recover(self.disk.recover(*lost as usize)),
            Cause::Parcel(parcel) => parcel.input.clone(),
            Cause::Timer(id) => {
                let passed = self.timers.remove(id).map_or(0, |due| due.earliest);
                if bounds.tick_us == 0 {
                    self.timers.values_mut().for_each(|due| due.pass(passed));
                }
                Input::Timer(*id)
            }
        }
    }

    /// Keeps what stays with the node.
    pub(crate) fn carry_out(&mut self, effects: &[Effect], bounds: &Bounds) {
        for effect in effects {
            match effect {
                Effect::Persist(record) => {
                    self.disk.write(record, Arc::new([]));
                    continue;
                }
                Effect::Checkpoint { record, replaces } => {
                    self.disk.write(record, Arc::clone(replaces));
                    continue;
                }
                Effect::Timer { id, after, .. } => {
                    self.timers.insert(*id, bounds.due(*after));
                }
                Effect::Cancel(id) => {
                    self.timers.remove(id);
                }
                _ => (),
            }
            self.disk.sync(bounds.lies);
        }
    }
}
