//! What is left of a node when it is down, and what its host holds for it when it is up.

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
    pub(crate) timers: Timers,
}

/// The armed timers. A node has few, so that a list is smaller than a tree, and as fast.
///
/// Timers have numbers in the order of arming, which is no part of a state. Where a local state is kept
/// they are in the order of their events, in which they are tried.
#[derive(Clone, Debug, Default)]
pub(crate) struct Timers(Vec<(TimerId, Due)>);

impl Timers {
    pub(crate) fn get(&self, id: TimerId) -> Option<Due> {
        self.iter().find(|(armed, _)| *armed == id).map(|(_, due)| due)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (TimerId, Due)> {
        self.0.iter().copied()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Some time has passed for all of them.
    pub(crate) fn pass(&mut self, time: u64) {
        self.0.iter_mut().for_each(|(_, due)| due.pass(time));
    }

    /// The same in this order.
    pub(crate) fn ordered(&self, ids: impl Iterator<Item = TimerId>) -> Self {
        let mut ordered = Vec::with_capacity(self.0.len());
        ordered.extend(ids.filter_map(|id| Some((id, self.get(id)?))));
        Self(ordered)
    }

    /// A number stands for one timer in each life of a node.
    fn arm(&mut self, id: TimerId, due: Due) {
        self.0.push((id, due));
    }

    fn disarm(&mut self, id: TimerId) -> Option<Due> {
        let at = self.0.iter().position(|(armed, _)| *armed == id)?;
        Some(self.0.swap_remove(at).1)
    }
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
        let (disk, timers) = (Disk::default(), Timers::default());
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
                let passed = self.timers.disarm(*id).map_or(0, |due| due.earliest);
                if bounds.tick_us == 0 {
                    self.timers.pass(passed);
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
                    self.timers.arm(*id, bounds.due(*after));
                }
                Effect::Cancel(id) => {
                    self.timers.disarm(*id);
                }
                _ => (),
            }
            self.disk.sync(bounds.lies);
        }
    }
}
