//! Which faults a run will meet, drawn before it begins: few decisions, so they shrink well.

use synod_core::NodeId;

use crate::choice::{About, Label, Stream};
use crate::queue::{Crash, Happening};
use crate::scenario::Settings;

/// How many effects of a handler may leave, at most, before the crash within it.
const CRASH_AFTER_MAX: u64 = 8;

/// Draws the faults that `settings` allow, each with its time. They begin in the first half of
/// the run, so that the second half shows whether the cluster recovers.
pub(crate) fn plan(settings: &Settings, stream: &mut Stream) -> Vec<(u64, Happening)> {
    let crashes = (1..=settings.crashes).filter_map(|number| crash(settings, stream, number));
    let mut planned: Vec<_> = crashes.collect();
    planned.extend((1..=settings.partitions).filter_map(|it| partition(settings, stream, it)));
    planned
}

fn crash(settings: &Settings, stream: &mut Stream, number: u32) -> Option<(u64, Happening)> {
    let mut ask = asking(stream, number);
    let node = ask("crash.node", u64::from(settings.nodes) + 1);
    let at_us = ask("crash.at", settings.time_us / 2);
    let after = ask("crash.after", CRASH_AFTER_MAX + 1);
    let losing = 0 < ask("crash.losing", 2);
    let down_us = match settings.down_us {
        0 => 0,
        most => 1 + ask("crash.down", most),
    };
    let node = u32::try_from(node).ok().filter(|node| 0 < *node).map(NodeId)?;
    let after = usize::try_from(after).unwrap_or(0);
    Some((at_us, Happening::Crash(Crash { node, after, losing, down_us })))
}

fn partition(settings: &Settings, stream: &mut Stream, number: u32) -> Option<(u64, Happening)> {
    let mut ask = asking(stream, number);
    // The last node is never on the named side, so each partition has one name; 0 is none.
    let side = ask("partition.side", 1 << (settings.nodes - 1).min(u64::BITS - 2));
    let at_us = ask("partition.at", settings.time_us / 2);
    let length_us = 1 + ask("partition.length", settings.partition_us.max(1));
    (0 < side).then_some((at_us, Happening::Split { side, length_us }))
}

fn asking(stream: &mut Stream, number: u32) -> impl FnMut(&'static str, u64) -> u64 {
    move |what, options| stream.choose(Label { what, about: About::Fault(number) }, options)
}
