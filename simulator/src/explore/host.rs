//! What is left of a node when it is down, and what its host holds for it when it is up.

use std::collections::BTreeMap;
use std::sync::Arc;

use synod_core::{Catalogue, DecodeError, Effect, Envelope, Input, NodeId, Renamer, TimerId};

use super::parcel::Parcel;
use super::setting::ticks;

/// A node's surroundings.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    pub(crate) node: NodeId,
    pub(crate) up: bool,
    pub(crate) incarnation: u64,
    pub(crate) disk: Vec<Envelope>,
    /// The armed timers, with the ticks that are left; without a bound, microseconds.
    pub(crate) timers: BTreeMap<TimerId, u64>,
    /// The hash of the node and of all this.
    pub(crate) print: u128,
}

/// Why a handler runs.
#[derive(Clone, Debug)]
pub(crate) enum Cause {
    Start,
    Recover,
    Timer(TimerId),
    Parcel(Arc<Parcel>),
}

impl Host {
    /// Of a node that has never started.
    pub(crate) fn of(node: NodeId) -> Self {
        let (disk, timers) = (Vec::new(), BTreeMap::new());
        Self { node, up: false, incarnation: 0, disk, timers, print: 0 }
    }

    /// The same under other names. Timers keep theirs, which are told to nobody.
    pub(crate) fn renamed(
        &self,
        catalogue: &Catalogue,
        renamer: &mut Renamer,
    ) -> Result<Self, DecodeError> {
        renamer.mix(self.incarnation);
        let node = renamer.node(self.node);
        let records = self.disk.iter().map(|record| catalogue.renamed(record, renamer));
        let disk = records.collect::<Result<_, _>>()?;
        Ok(Self { node, disk, ..self.clone() })
    }

    /// What the node is fed. A timer that fires is no longer armed.
    pub(crate) fn input(&mut self, cause: &Cause, tick_us: u64) -> Input {
        match cause {
            Cause::Start => Input::Start,
            Cause::Recover => Input::Recover(self.disk.clone()),
            Cause::Parcel(parcel) => parcel.input.clone(),
            Cause::Timer(id) => {
                let passed = self.timers.remove(id).unwrap_or(0);
                if tick_us == 0 {
                    self.timers.values_mut().for_each(|left| *left = left.saturating_sub(passed));
                }
                Input::Timer(*id)
            }
        }
    }

    /// Keeps what stays with the node.
    pub(crate) fn carry_out(&mut self, effects: &[Effect], tick_us: u64) {
        for effect in effects {
            match effect {
                Effect::Timer { id, after, .. } => {
                    self.timers.insert(*id, ticks(*after, tick_us));
                }
                Effect::Cancel(id) => {
                    self.timers.remove(id);
                }
                Effect::Persist(record) => self.disk.push(record.clone()),
                Effect::Checkpoint { record, replaces } => {
                    self.disk.retain(|old| {
                        old.instance() != record.instance() || !replaces.contains(&old.event())
                    });
                    self.disk.push(record.clone());
                }
                _ => (),
            }
        }
    }
}
