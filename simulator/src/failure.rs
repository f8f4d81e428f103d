//! A run that failed: what it was drawn from, what it came to, and how it is told.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use synod_core::NodeId;

use crate::diagram::Diagram;
use crate::schedule::Schedule;
use crate::settings::{Fault, LinkDelay, Settings, Shape};
use crate::strategy::Strategy;
use crate::trace::Trace;
use crate::world::Violation;

/// A run that violates a property, made small.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The seed it was found with.
    pub seed: u64,
    /// What the seed drew before the run began. `None` for a stored schedule, whose world was shrunk.
    pub drawn: Option<Drawn>,
    /// What the shrunk run violates.
    pub violation: Violation,
    /// The shrunk run as a schedule.
    pub schedule: Schedule,
    /// The schedule as the text of its file.
    pub text: String,
    /// The run as it was found, before it was shrunk, as the text of a schedule.
    pub found: String,
    /// The shrunk run, step by step.
    pub trace: Trace,
    /// The state of each live node when the shrunk run failed: its summary, or all of it where it has none.
    pub states: BTreeMap<NodeId, String>,
    /// The node that acted when it failed, and all of its state, if that is more than its summary.
    pub state: Option<(NodeId, Value)>,
    /// Steps of the run that was found.
    pub steps_found: u64,
    /// Its decisions that were not calm.
    pub decisions_found: usize,
    /// Runs that shrinking took.
    pub replays: u32,
    /// Whether every single removal from the shrunk run was tried. False if the bound on replays
    /// came first.
    pub is_minimal: bool,
    /// Whether the shrunk run fails only as long as each coin that handlers throw shows what it does.
    pub is_by_chance: bool,
}

/// What a seed drew before its run began.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Drawn {
    /// How the seed became choices; `None` if they are those of another run, changed a little.
    pub strategy: Option<Strategy>,
    /// How large the world is, which faults are on in it, and how strong they are.
    pub world: Settings,
}

impl Failure {
    /// Everything that is needed to understand the failure, on one screen.
    #[must_use]
    pub fn block(&self) -> String {
        let Self { seed, violation, trace, .. } = self;
        let mut block =
            format!("property violated: {}\n  {}\n", violation.property, violation.reason);
        if let Some(place) = violation.place_in_words() {
            block += &format!("  {place}\n");
        }
        block += &format!("  found with seed {seed}, {}\n", self.shrinking());
        for line in self.drawn.iter().flat_map(Drawn::lines) {
            block += &format!("  {line}\n");
        }
        if !self.is_minimal {
            block += "  shrinking came to its bound on replays: less may fail too\n";
        }
        for dropped in &self.schedule.dropped {
            block += &format!("  the run was not to keep an assumption of the model: {dropped}\n");
        }
        format!("{block}\n{}\n{}", Diagram::of(trace), self.text)
    }

    /// What shrinking came to, in words: decisions first, since a run with few of them is easy to
    /// understand, even where it takes more steps.
    #[must_use]
    pub fn shrinking(&self) -> String {
        let Self { decisions_found, steps_found, replays, .. } = self;
        let (decisions, steps) = (self.schedule.decisions(), self.trace.steps.len() as u64);
        let chance = match self.is_by_chance {
            true => ", which fails by chance: with other coins (`Context::choose`) it does not",
            false => "",
        };
        let shrunk = format!("shrunk from {decisions_found} to {decisions} decisions");
        let told = match steps <= *steps_found {
            true => {
                format!("{shrunk} and from {steps_found} to {steps} steps in {replays} replays")
            }
            false => {
                format!(
                    "{shrunk} in {replays} replays, with {steps} steps in place of {steps_found}"
                )
            }
        };
        told + chance
    }
}

impl Drawn {
    /// In two lines: the world, and the faults that were on in it.
    #[must_use]
    pub fn lines(&self) -> [String; 2] {
        let world = &self.world;
        let how = self.strategy.map_or("near another run", Strategy::name);
        let mut told = vec![
            counted(world.nodes, "node", "nodes"),
            format!("{} of virtual time", span(world.time_us)),
            delays(world),
        ];
        told.extend(world.links.iter().map(LinkDelay::to_string));
        if 0 < world.requests {
            told.push(format!("up to {}", counted(world.requests, "request", "requests")));
        }
        let until = span(world.faults_until_us());
        let faults = match faults(world) {
            none if none.is_empty() => String::from("faults: none"),
            faults => format!("faults until {until}: {}", faults.join(", ")),
        };
        [format!("drew ({how}): {}", told.join(", ")), faults]
    }
}

/// How long messages take.
fn delays(world: &Settings) -> String {
    let (least, most) = (span(world.delay_min_us), span(world.delay_max_us));
    let races = if world.races { ", drawn anew where they race" } else { "" };
    match world.shape {
        Shape::Fixed => format!("messages take {least}{races}"),
        shape => {
            format!("messages take {least} to {most} ({}{races})", shape.name().replace('_', " "))
        }
    }
}

/// The faults that may happen in a world, each with its range.
fn faults(world: &Settings) -> Vec<String> {
    let noise = [
        (world.tail, format!("late by up to {}", span(world.tail_max_us))),
        (world.lose, String::from("lost")),
        (world.burst, format!("begin a burst of losses of up to {}", span(world.burst_us))),
        (world.duplicate, String::from("doubled")),
    ];
    let noise = noise.into_iter().filter(|(rate, _)| 0 < *rate);
    let noise = noise.map(|(rate, what)| format!("{} of messages {what}", percent(rate)));
    let down = match world.down_us {
        0 => String::from("for ever"),
        most if 0 < world.down_min_us => {
            format!("of {} to {}", span(world.down_min_us), span(most))
        }
        most => format!("of up to {}", span(most)),
    };
    let lasting = |us| format!(" of up to {}", span(us));
    let kinds: Vec<&str> = world.disk_faults.iter().map(|it| Fault::DiskOnly(*it).name()).collect();
    let planned = [
        (world.crashes, ["crash", "crashes"], format!(" {down}, {} down at once", world.down_max)),
        (world.partitions, ["partition", "partitions"], lasting(world.partition_us)),
        (world.clogs, ["clog", "clogs"], lasting(world.clog_us)),
        (world.pauses, ["pause", "pauses"], lasting(world.pause_us)),
        (world.jumps, ["jump of a clock", "jumps of clocks"], lasting(world.jump_us)),
        (world.joins, ["late start", "late starts"], String::new()),
        (world.leaves, ["node that leaves", "nodes that leave"], String::new()),
        (world.traitors, ["traitor", "traitors"], String::new()),
        (world.disks, ["fault of a disk", "faults of disks"], format!(" ({})", kinds.join(", "))),
    ];
    let planned = planned.into_iter().filter(|(most, ..)| 0 < *most);
    let planned =
        planned.map(|(most, [one, many], how)| format!("up to {}{how}", counted(most, one, many)));
    let clocks = [
        (world.drift, format!("clocks {} too fast or slow", percent(world.drift))),
        (u32::from(0 < world.skew_us), format!("clocks {} apart", span(world.skew_us))),
    ];
    let clocks = clocks.into_iter().filter(|(on, _)| 0 < *on).map(|(_, what)| what);
    planned.chain(noise).chain(clocks).collect()
}

fn counted(count: u32, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// A rate in a million as percent, to a hundredth of it.
fn percent(per_million: u32) -> String {
    match (per_million / 10_000, per_million % 10_000 / 100) {
        (0, 0) if 0 < per_million => String::from("<0.01 %"),
        (whole, 0) => format!("{whole} %"),
        (whole, rest) if rest % 10 == 0 => format!("{whole}.{} %", rest / 10),
        (whole, rest) => format!("{whole}.{rest:02} %"),
    }
}

/// A time to three digits.
fn span(time_us: u64) -> String {
    let digits = time_us.checked_ilog10().unwrap_or(0);
    let unit = 10_u64.pow(digits.saturating_sub(2));
    format!("{:?}", Duration::from_micros(time_us / unit * unit)).replace('µ', "u")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::DiskFault;

    #[test]
    fn what_a_seed_drew_is_told_in_two_lines_with_every_fault_and_its_range() {
        let mut world = Settings::calm(5);
        let calm = Drawn { strategy: Some(Strategy::Random), world: world.clone() };
        let [told, faults] = calm.lines();
        assert_eq!(
            told,
            "drew (random): 5 nodes, 20s of virtual time, messages take 1ms to 10ms (uniform)"
        );
        assert_eq!(faults, "faults: none");
        (world.crashes, world.down_max, world.down_us) = (1, 2, 0);
        (world.lose, world.tail, world.tail_max_us) = (123_400, 50, 1_234_567);
        (world.disks, world.disk_faults) = (2, vec![DiskFault::Lie]);
        (world.drift, world.skew_us, world.races, world.requests) = (5_000, 999, true, 8);
        let fixed = Settings { shape: Shape::Fixed, ..world.clone() };
        let [fixed, _] = Drawn { strategy: Some(Strategy::Swarm), world: fixed }.lines();
        assert!(fixed.contains("messages take 1ms, drawn anew where they race, up"), "{fixed}");
        let [told, faults] = Drawn { strategy: None, world }.lines();
        assert!(told.starts_with("drew (near another run): 5 nodes"), "{told}");
        assert!(
            told.ends_with("(uniform, drawn anew where they race), up to 8 requests"),
            "{told}"
        );
        assert_eq!(
            faults,
            "faults until 10s: up to 1 crash for ever, 2 down at once, up to 2 faults of disks \
             (disk-lie), <0.01 % of messages late by up to 1.23s, 12.34 % of messages lost, clocks \
             0.5 % too fast or slow, clocks 999us apart"
        );
    }

    #[test]
    fn each_kind_of_fault_that_is_on_is_told() {
        let model = synod_core::Model::ASYNCHRONOUS;
        for (name, fault) in Fault::ALL {
            let mut world = Settings::calm(3);
            world.add(fault, &model);
            let [_, faults] = Drawn { strategy: None, world }.lines();
            assert_ne!(faults, "faults: none", "{name}");
        }
    }
}
