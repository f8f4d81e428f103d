//! States that differ in names only, and whether it is true that the names do not matter.

use std::collections::BTreeMap;
use std::sync::Arc;

use synod_core::{DecodeError, Input, Kind, NodeId, Permutation, Renamer};

use super::{Move, Worker};
use crate::explore::host::Cause;
use crate::explore::orbit::{Group, Identity};
use crate::explore::parcel::Link;
use crate::explore::place::Desk;
use crate::explore::report::Untrue;
use crate::explore::setting::Wrong;
use crate::explore::state::State;

const DECLARED: &str = "symmetric in its nodes";

fn untrue(reason: String) -> Wrong {
    Wrong::Declared(Untrue { declared: DECLARED, reason })
}

impl<'a> Worker<'a> {
    fn group(&self) -> Option<&'a Group> {
        self.setting().group.as_ref()
    }

    /// What a state is told apart by: by its orbit, if states that differ in names only are one.
    pub(crate) fn identity(&mut self, state: &State) -> Result<Identity, Wrong> {
        let Some(mut orbits) = self.orbits.take() else {
            return Ok(Identity { print: state.fingerprint(), orbit: 1 });
        };
        let found = orbits.of(state, self);
        self.orbits = Some(orbits);
        found.map_err(|cause| untrue(format!("a state cannot be renamed: {cause}")))
    }

    /// Lets a handler run once more under other names, and compares what comes of it. A cluster may
    /// begin in any state, so the start of a node is not compared.
    pub(super) fn try_other_names(
        &mut self,
        place: u32,
        cause: &Cause,
        choices: &[u32],
        moved: Move<'_>,
    ) -> Result<(), Wrong> {
        let begins = matches!(cause, Cause::Start | Cause::Recover(_));
        match self.group().filter(|_| !begins) {
            Some(group) => self.try_names_of(group, place, cause, choices, moved),
            None => Ok(()),
        }
    }

    #[inline(never)] // Its frame is not under handlers that run as they are.
    fn try_names_of(
        &mut self,
        group: &Group,
        place: u32,
        cause: &Cause,
        choices: &[u32],
        moved: Move<'_>,
    ) -> Result<(), Wrong> {
        let names = group.any(self.seed(place, cause));
        let same = self.compare(place, cause, choices, moved, names);
        same.map_err(|what| {
            let (says, exchanged) = (self.describe(place, cause), exchanged(group, names));
            untrue(format!("{says}, with {exchanged}: {what}"))
        })
    }

    /// Whether the same comes of it: the local state, the messages on each lane, the questions.
    fn compare(
        &mut self,
        place: u32,
        cause: &Cause,
        choices: &[u32],
        moved: Move<'_>,
        names: Permutation,
    ) -> Result<(), String> {
        let unnamed = |cause| format!("the state or an event cannot be renamed: {cause}");
        let kept = self.program.image(moved.place, &mut Renamer::to(Permutation::IDENTITY));
        if kept.map_err(unnamed)? != self.print(moved.place) {
            return Err(String::from("the state is not what it was, once encoded and decoded"));
        }
        let other_place = self.program.renamed(place, names).map_err(unnamed)?;
        let other_cause = self.cause_renamed(cause, names).map_err(unnamed)?;
        let expected = self.program.image(moved.place, &mut Renamer::to(names)).map_err(unnamed)?;
        let sent = self.on_lanes(moved, names).map_err(unnamed)?;
        let mut desk = Desk::default();
        let stepped = self.program.step(other_place, &other_cause, choices, None, &mut desk);
        let stepped = stepped.map_err(|_| String::from("it panics"))?;
        self.learn();
        let mut sends = Vec::new();
        let other = self.outcome(other_place, &stepped, &desk.effects, &mut sends);
        let other_sent = self.on_lanes(other, Permutation::IDENTITY).map_err(unnamed)?;
        let all = [
            ("it leads to another state", self.print(other.place) == expected),
            ("it sends something else", other_sent == sent),
            ("it chooses from something else", other.asked == moved.asked),
        ];
        let differs = all.iter().find(|(_, same)| !same);
        differs.map_or(Ok(()), |(what, _)| Err(String::from(*what)))
    }

    pub(super) fn seed(&self, place: u32, cause: &Cause) -> u64 {
        let print = match cause {
            Cause::Parcel(parcel) => parcel.print,
            Cause::Timer(id) => u128::from(id.0),
            Cause::Start | Cause::Recover(_) => 0,
        };
        let mixed = self.print(place) ^ print;
        u64::try_from(mixed >> u64::BITS).unwrap_or_default()
    }

    /// What is sent, lane by lane: in order where there is one.
    fn on_lanes(
        &self,
        moved: Move<'_>,
        names: Permutation,
    ) -> Result<BTreeMap<Link, Vec<u128>>, DecodeError> {
        let mut lanes: BTreeMap<Link, Vec<u128>> = BTreeMap::new();
        let mut unordered = Vec::new();
        for number in moved.sends {
            let mut renamer = Renamer::to(names);
            let parcel = self.parcel(*number).renamed(self.setting().catalogue, &mut renamer)?;
            lanes.entry(parcel.link).or_default().push(parcel.print);
            if !parcel.ordered {
                unordered.push(parcel.link);
            }
        }
        for link in unordered {
            lanes.entry(link).or_default().sort_unstable();
        }
        Ok(lanes)
    }

    fn cause_renamed(&self, cause: &Cause, names: Permutation) -> Result<Cause, DecodeError> {
        Ok(match cause {
            Cause::Parcel(parcel) => {
                let mut renamer = Renamer::to(names);
                Cause::Parcel(Arc::new(parcel.renamed(self.setting().catalogue, &mut renamer)?))
            }
            other => other.clone(),
        })
    }

    /// The event of a handler, and where it runs.
    pub(super) fn describe(&self, place: u32, cause: &Cause) -> String {
        let catalogue = self.setting().catalogue;
        let node = self.host(place).node;
        let event = match cause {
            Cause::Start | Cause::Recover(_) => String::from("the start"),
            Cause::Timer(id) => {
                let timer = self.program.timer(place, *id);
                timer.map_or(String::new(), |it| format!("`{}`", catalogue.name(it.event())))
            }
            Cause::Parcel(parcel) => match &parcel.input {
                Input::Deliver { from, envelope } => {
                    format!("`{}` from {from}", catalogue.name(envelope.event()))
                }
                Input::Trigger(envelope) => format!("`{}`", catalogue.name(envelope.event())),
                Input::PeerUp(up) => format!("the link to {}", up.peer),
                Input::PeerDown(down) => format!("the end of the link to {}", down.peer),
                _ => String::new(),
            },
        };
        format!("{event} at {node}")
    }

    /// Holds the properties against the state under some other names too: they must say the same.
    #[inline]
    pub(crate) fn try_properties(&mut self, state: &State, print: u128) -> Result<(), Wrong> {
        match self.group() {
            Some(group) => self.try_properties_under(group, state, print),
            None => Ok(()),
        }
    }

    fn try_properties_under(
        &mut self,
        group: &Group,
        state: &State,
        print: u128,
    ) -> Result<(), Wrong> {
        let names = group.any(u64::try_from(print >> u64::BITS).unwrap_or_default());
        let mut places = state.places.clone();
        for place in &state.places {
            let renamed = self.program.renamed(*place, names);
            let renamed =
                renamed.map_err(|cause| untrue(format!("a state cannot be renamed: {cause}")))?;
            let node = names.of(self.host(*place).node);
            if let Some(seat) = places.get_mut(node.0 as usize - 1) {
                *seat = renamed;
            }
        }
        self.learn();
        for (index, promise) in self.setting().promises.iter().enumerate() {
            let says = self.judge.verdict(&state.places, index).is_ok();
            if promise.kind != Kind::Monitor && says != self.judge.verdict(&places, index).is_ok() {
                let exchanged = exchanged(group, names);
                let reason =
                    format!("the property `{}` says something else with {exchanged}", promise.name);
                return Err(untrue(reason));
            }
        }
        Ok(())
    }
}

/// A permutation in words: "n1 for n2, n2 for n1".
fn exchanged(group: &Group, names: Permutation) -> String {
    let moved = group.nodes().iter().filter(|node| names.of(**node) != **node);
    let words = moved.map(|node: &NodeId| format!("{} for {node}", names.of(*node)));
    words.collect::<Vec<_>>().join(", ")
}
