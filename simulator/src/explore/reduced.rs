//! Depth first without the visited states, one run for each order of dependent events: dynamic
//! partial-order reduction with source sets and sleep sets (P. Abdulla, S. Aronis, B. Jonsson,
//! K. Sagonas, "Optimal dynamic partial order reduction", POPL 2014, algorithm 1).
//!
//! Two events depend on each other if they are of one node and not deliveries that commute, if one
//! brings about what the other consumes, or if one of them is a fault or the passing of time, which
//! concern all nodes. Deliveries that commute, but the first of which sends or arms a timer, depend on
//! each other too: what comes of it comes between any two of them. What an event disables has to be
//! tried before it, since it never comes after it.

use super::doer::{Doer, Event, doers};
use super::report::Limit;
use super::search::{Search, Stop, starts};
use super::state::State;
use super::worker::Worker;
use crate::action::Action;
use std::collections::{BTreeMap, BTreeSet};

use synod_core::EventId;

/// The steps of a run, at most, whatever the bound: a run that repeats itself has no end.
const RUN_MAX: u32 = 10_000;

/// A state of the run that is being taken.
struct Frame {
    state: State,
    /// Who can act, and in which ways.
    doers: BTreeMap<Doer, Vec<Action>>,
    /// Who is to act here in some run.
    backtrack: BTreeSet<Doer>,
    /// Whose acting here leads to nothing new.
    sleep: BTreeSet<Doer>,
    /// Who acts now, and in which ways still.
    acting: Option<(Doer, Vec<Action>)>,
    /// What led here.
    by: Action,
}

struct Reduced<'s, 'a, 'w> {
    search: &'s mut Search<'a, 'w>,
    worker: Worker<'a>,
    run: Vec<Frame>,
    /// What happened between the frames.
    events: Vec<Event>,
    depth_max: u32,
    beyond: bool,
}

/// Takes every run within the bounds, up to the order of events that do not depend on each other.
#[inline(never)] // Its frame is not for other ways to explore.
pub(super) fn search(search: &mut Search<'_, '_>) -> Result<(), Stop> {
    let worker = Worker::new(search.program);
    let depth_max = worker.setting().bounds.depth_max.min(RUN_MAX);
    let (run, events) = (Vec::new(), Vec::new());
    let mut reduced = Reduced { search, worker, run, events, depth_max, beyond: false };
    let result = reduced.search();
    reduced.search.found.frontier = reduced.run.len() as u64;
    result
}

impl Reduced<'_, '_, '_> {
    fn search(&mut self) -> Result<(), Stop> {
        for (start, begun) in starts(&mut self.worker) {
            let first = begun.map_err(|wrong| Stop::Wrong(vec![start.clone()], wrong))?;
            self.visit(first, BTreeSet::new(), start)?;
            while !self.run.is_empty() {
                self.go_on()?;
                if self.search.is_full() {
                    let mut run: Vec<&mut State> =
                        self.run.iter_mut().map(|frame| &mut frame.state).collect();
                    self.search.sweep_run(&mut self.worker, &mut run);
                }
            }
        }
        if self.beyond { Err(Stop::Cut(Limit::Depth)) } else { Ok(()) }
    }

    /// Takes the next step from the last state of the run, or leaves that state.
    fn go_on(&mut self) -> Result<(), Stop> {
        let Some(frame) = self.run.last_mut() else {
            return Ok(());
        };
        if let Some((doer, waiting)) = &mut frame.acting {
            if let Some(action) = waiting.pop() {
                let doer = doer.clone();
                return self.take(doer, action);
            }
            let done = doer.clone();
            frame.sleep.insert(done);
            frame.acting = None;
        }
        let next = frame.backtrack.iter().find(|doer| !frame.sleep.contains(*doer)).cloned();
        match next {
            Some(doer) => {
                let mut ways = frame.doers.get(&doer).cloned().unwrap_or_default();
                ways.reverse();
                frame.acting = Some((doer, ways));
            }
            None => {
                self.run.pop();
                self.events.pop();
            }
        }
        Ok(())
    }

    fn take(&mut self, doer: Doer, action: Action) -> Result<(), Stop> {
        let Some(frame) = self.run.last_mut() else {
            return Ok(());
        };
        let mut next = State::default();
        let moved = match self.worker.act(&frame.state, &action, &mut next) {
            Ok(moved) => moved,
            Err(wrong) => return Err(Stop::Wrong(self.path(action), wrong)),
        };
        let mut sent = Vec::new();
        if let Some(at) = moved {
            if let Some((_, waiting)) = &mut frame.acting {
                let mut ways = Vec::new();
                self.worker.vary(&frame.state, &action, moved, &mut ways);
                waiting.extend(ways.into_iter().filter(|way| way.cut.is_none()));
            }
            let parcels = self.worker.moved(at).sends.iter().map(|it| self.worker.parcel(*it));
            sent.extend(parcels.map(|parcel| Doer::of_parcel(parcel)));
        }
        self.search.found.transitions += 1;
        self.search.tell_now_and_then(self.run.len())?;
        let losses_max = self.worker.setting().bounds.losses;
        let commutes = self.commutes(&doer);
        let silent = commutes.is_some() && self.is_silent(&doer, &sent, &next);
        self.happen(Event::new(doer, &action, sent, losses_max).commuting(commutes, silent));
        let sleep = self.still_asleep();
        self.visit(next, sleep, action)?;
        self.try_what_is_disabled();
        Ok(())
    }

    /// Takes down an event with what it follows from, and lets every event with which it races be
    /// tried after it.
    fn happen(&mut self, mut event: Event) {
        let index = self.events.len();
        let creator = self.creator(&event);
        let mut races = Vec::new();
        for before in (0..index).rev() {
            let Some(earlier) = self.events.get(before) else {
                continue;
            };
            let creates = creator == Some(before);
            if event.follows(before) || !(creates || earlier.conflicts(&event)) {
                continue;
            }
            event.follow(before, earlier);
            if !creates && earlier.doer != event.doer {
                races.push(before);
            }
        }
        self.events.push(event);
        for before in races {
            self.reverse(before, index);
        }
    }

    /// The event that sent what `event` consumes, unless it is older than the last event that
    /// concerns all nodes: everything follows from that one in any case.
    fn creator(&self, event: &Event) -> Option<usize> {
        let doer = event.doer.calm();
        let since = self.events.iter().rposition(Event::is_global).map_or(0, |last| last + 1);
        let there = self.run.get(since)?.state.wire.iter();
        let older = there.filter(|it| Doer::of_parcel(self.worker.parcel(**it)) == doer).count();
        let events = self.events.iter().enumerate().skip(since);
        let consumed = events.clone().filter(|(_, it)| it.doer.calm() == doer).count();
        let sent = events.flat_map(|(index, it)| it.sent.iter().map(move |sent| (index, sent)));
        let mut mine = sent.filter(|(_, sent)| **sent == doer).map(|(index, _)| index);
        mine.nth(consumed.checked_sub(older)?)
    }

    /// Lets what happened since `before`, but does not follow from it, and then `event` be tried
    /// in its place.
    fn reverse(&mut self, before: usize, event: usize) {
        let follows = |later: usize, earlier: usize| {
            self.events.get(later).is_some_and(|it| it.follows(earlier))
        };
        let mut instead: Vec<usize> =
            (before + 1..event).filter(|it| !follows(*it, before)).collect();
        instead.push(event);
        let is_first = |it: &&usize| {
            instead.iter().take_while(|other| other != it).all(|other| !follows(**it, *other))
        };
        let first = instead.iter().filter(is_first).filter_map(|it| self.events.get(*it));
        let first: Vec<Doer> = first.map(|it| it.doer.clone()).collect();
        let doer = self.events.get(event).map(|it| it.doer.clone());
        let Some(doer) = doer else {
            return;
        };
        // A timer is armed, or first in line, by nothing but what its own node does: nothing of that is
        // tried before it, unless it commutes with what it is tried instead of.
        let has_own = instead
            .iter()
            .filter(|it| **it != event)
            .any(|it| self.events.get(*it).is_some_and(|it| it.is_where(&doer)));
        let never_before = instead.len() == 1 || (doer.is_clock() && !has_own);
        let Some(frame) = self.run.get_mut(before) else {
            return;
        };
        if first.iter().any(|it| frame.backtrack.contains(it))
            || (never_before && !frame.doers.contains_key(&doer))
        {
            return;
        }
        let mut able = first.iter().filter(|it| frame.doers.contains_key(*it));
        let asleep = able.clone().find(|it| frame.sleep.contains(*it));
        match asleep.or_else(|| able.next()) {
            Some(doer) => drop(frame.backtrack.insert(doer.clone())),
            None => frame.backtrack.extend(frame.doers.keys().cloned()),
        }
    }

    /// Whose acting still leads to nothing new after the last event.
    fn still_asleep(&mut self) -> BTreeSet<Doer> {
        let asleep = self.run.last().map(|frame| frame.sleep.clone()).unwrap_or_default();
        let asleep: Vec<(Doer, Option<EventId>)> =
            asleep.into_iter().map(|it| (it.clone(), self.would_commute(&it))).collect();
        let Some(event) = self.events.last() else {
            return BTreeSet::new();
        };
        let sleeping = asleep.into_iter().filter(|(it, commutes)| !event.disturbs(it, *commutes));
        sleeping.map(|(doer, _)| doer).collect()
    }

    /// The event that `doer` would deliver in the last state of the run, if it commutes with others
    /// of its kind whoever comes first.
    fn would_commute(&mut self, doer: &Doer) -> Option<EventId> {
        let event = self.commutes(doer)?;
        let frame = self.run.last()?;
        let (action, mut next) = (frame.doers.get(doer)?.first()?, State::default());
        let moved = self.worker.act(&frame.state, action, &mut next).ok()??;
        let sends = self.worker.moved(moved).sends.iter();
        let sent: Vec<Doer> = sends.map(|it| Doer::of_parcel(self.worker.parcel(*it))).collect();
        self.is_silent(doer, &sent, &next).then_some(event)
    }

    /// Whether nobody can act because `doer` does in the last state of the run.
    fn is_silent(&mut self, doer: &Doer, sent: &[Doer], next: &State) -> bool {
        if !sent.is_empty() {
            return false;
        }
        let (Some(frame), Some(clock)) = (self.run.last(), doer.clock()) else {
            return true;
        };
        frame.doers.contains_key(&clock) || !doers(&mut self.worker, next).contains_key(&clock)
    }

    /// The event that `doer` delivers in the last state of the run, if it commutes with others of its
    /// kind and every order leads to the same.
    fn commutes(&self, doer: &Doer) -> Option<EventId> {
        let frame = self.run.last()?;
        let action = frame.doers.get(doer)?.first()?;
        self.worker.collected(&frame.state, action)
    }

    fn visit(&mut self, state: State, sleep: BTreeSet<Doer>, by: Action) -> Result<(), Stop> {
        if self.search.states_max <= self.search.found.states {
            return Err(Stop::Cut(Limit::States));
        }
        self.search.found.states += 1;
        let depth = u32::try_from(self.run.len()).unwrap_or(u32::MAX);
        self.search.found.depth = self.search.found.depth.max(depth);
        let checked = self.worker.check(&state);
        if let Err(wrong) = checked.and_then(|()| self.worker.try_both_orders(&state)) {
            return Err(Stop::Wrong(self.path(by), wrong));
        }
        let doers = doers(&mut self.worker, &state);
        self.search.found.executions += u64::from(doers.is_empty());
        let mut backtrack = BTreeSet::new();
        if depth < self.depth_max {
            backtrack.extend(doers.keys().find(|doer| !sleep.contains(*doer)).cloned());
        } else {
            self.beyond |= !doers.is_empty();
        }
        self.run.push(Frame { state, doers, backtrack, sleep, acting: None, by });
        Ok(())
    }

    /// What the last event has disabled never comes after it, so it is tried in its place.
    fn try_what_is_disabled(&mut self) {
        let Some(([.., before], [after])) = self.run.split_at_checked(self.run.len() - 1) else {
            return;
        };
        let acting = before.acting.as_ref().map(|(doer, _)| doer);
        let disabled = before
            .doers
            .keys()
            .filter(|doer| Some(*doer) != acting && !after.doers.contains_key(*doer));
        let disabled: Vec<Doer> = disabled.cloned().collect();
        let last = self.run.len() - 2;
        if let Some(before) = self.run.get_mut(last) {
            before.backtrack.extend(disabled);
        }
    }

    fn path(&self, last: Action) -> Vec<Action> {
        self.run.iter().map(|frame| frame.by.clone()).chain([last]).collect()
    }
}
