//! How seeds become choices: which runs are tried first.
//!
//! Random choices find shallow bugs in many places. The others spend their runs elsewhere: on few
//! faults at a time, on one slow link, on almost calm runs.

use std::collections::BTreeMap;

use synod_core::{NodeId, Random};

use crate::choice::{About, CHOOSE, Label};
use crate::settings::{Settings, Shape};

/// How the seeds of a simulation become runs.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Strategy {
    /// The others in turn, one for each seed; partial order sampling twice in each round. In every
    /// other round the faults come early in the run, and are short; almost calm runs are left out of those.
    #[default]
    Portfolio,
    /// Every choice is drawn on its own; every fault of the settings is on.
    Random,
    /// Each seed first draws which faults are on, and how strong (A. Groce et al., "Swarm
    /// testing", ISSTA 2012): some bugs need the absence of a fault.
    Swarm,
    /// Each link has a priority, which says how long its messages take; at a few points of the run
    /// the priority of a link falls below all others. Probabilistic concurrency testing
    /// (S. Burckhardt et al., ASPLOS 2010) with links as the chains of messages. The rest of the
    /// run is fair: random.
    Pct,
    /// Messages that race for a node draw their times anew whenever one of them arrives: partial
    /// order sampling (X. Yuan, J. Yang, R. Gu, "Partial order aware concurrency sampling",
    /// CAV 2018), where the time of a message is its priority. Every fault of the settings is on.
    Pos,
    /// Everything is calm but a few choices, and those of [handlers](synod_core::Context::choose) (M. Emmi, S. Qadeer, Z. Rakamaric, "Delay-bounded
    /// scheduling", POPL 2011).
    DelayBounded,
}

impl Strategy {
    /// Every strategy, by name.
    pub const ALL: [(&'static str, Self); 6] = [
        ("portfolio", Self::Portfolio),
        ("random", Self::Random),
        ("swarm", Self::Swarm),
        ("pct", Self::Pct),
        ("pos", Self::Pos),
        ("delay-bounded", Self::DelayBounded),
    ];

    /// The strategy of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, strategy)| *strategy)
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        let mut all = Self::ALL.iter();
        all.find(|(_, strategy)| *strategy == self).map_or("", |(name, _)| *name)
    }

    /// What is done with one seed: never the portfolio itself.
    #[must_use]
    pub fn of_seed(self, seed: u64) -> Self {
        match (self, seed % 12) {
            (Self::Portfolio, 0 | 6 | 11) => Self::Random,
            (Self::Portfolio, 2 | 8) => Self::Swarm,
            (Self::Portfolio, 3 | 9) => Self::Pct,
            (Self::Portfolio, 5) => Self::DelayBounded,
            (Self::Portfolio, _) => Self::Pos,
            (strategy, _) => strategy,
        }
    }

    /// The world of one seed: what the settings allow, or a part of it.
    #[must_use]
    pub fn world(self, settings: &Settings, seed: u64) -> Settings {
        let mut world = match self.of_seed(seed) {
            // Another stream of numbers than that of the choices.
            Self::Swarm => {
                let mut random = Random::new(!seed);
                let part = part_of(settings, &mut random);
                Settings { races: random.below(2) == 0, ..part }
            }
            Self::Pct => part_of(settings, &mut Random::new(!seed)),
            Self::Pos => Settings { races: true, ..settings.clone() },
            _ => settings.clone(),
        };
        if self == Self::Portfolio && seed / 6 % 2 == 1 {
            hasten(&mut world, &mut Random::new(!seed.rotate_left(32)));
        }
        world
    }
}

/// Draws in which part of a run the faults are, at its beginning, and makes them short. What an algorithm
/// does is often over in a thousandth of a run: a fault at any time of it is mostly one too late, and
/// a node that is down for a quarter of it comes back when all is decided.
fn hasten(world: &mut Settings, random: &mut Random) {
    let all_us = world.faults_until_us();
    let halvings = (all_us / world.delay_max_us.max(1)).checked_ilog2().unwrap_or(0);
    let mut halved = |time_us: u64, most: u32| {
        let kept_us = time_us >> random.below(u64::from(most) + 1);
        kept_us.max(time_us.min(1))
    };
    world.noise_us = halved(all_us, halvings);
    world.tail_max_us = halved(world.tail_max_us, halvings);
    let most_us = world.noise_us.saturating_mul(2);
    for length_us in [
        &mut world.burst_us,
        &mut world.down_us,
        &mut world.partition_us,
        &mut world.clog_us,
        &mut world.pause_us,
        &mut world.disk_us,
    ] {
        *length_us = halved(most_us.min(*length_us), 3);
    }
    world.down_us = world.down_us.max(world.down_min_us);
}

/// Draws which kinds of faults stay, and how strong they are.
fn part_of(settings: &Settings, random: &mut Random) -> Settings {
    let mut world = settings.clone();
    let gone_one_in = 2 + random.below(3);
    {
        let mut rate = |rate: &mut u32| {
            let most = u64::from(*rate);
            let kept = match (random.below(gone_one_in), random.below(2)) {
                (0, _) => 0,
                (_, 0) => most,
                _ => 1 + random.below(most.max(1)),
            };
            *rate = u32::try_from(kept).unwrap_or(0).min(*rate);
        };
        for kind in [
            &mut world.tail,
            &mut world.lose,
            &mut world.burst,
            &mut world.duplicate,
            &mut world.crashes,
            &mut world.partitions,
            &mut world.clogs,
            &mut world.pauses,
            &mut world.drift,
            &mut world.jumps,
            &mut world.joins,
        ] {
            rate(kind);
        }
    }
    let shapes = [Shape::Uniform, Shape::Fixed, Shape::Exponential, Shape::HeavyTail];
    let drawn = usize::try_from(random.below(4)).unwrap_or(0);
    world.shape = shapes.get(drawn).copied().unwrap_or_default();
    let range = world.delay_max_us.saturating_sub(world.delay_min_us);
    world.delay_max_us -= random.below(range.max(1));
    // Asked last, and only where they are on: a seed keeps its world where they are not.
    for kind in [&mut world.leaves, &mut world.traitors, &mut world.requests] {
        if 0 < *kind {
            *kind -= u32::try_from(random.below(u64::from(*kind) + 1)).unwrap_or(0);
        }
    }
    if 0 < world.disks {
        world.disks -= u32::try_from(random.below(u64::from(world.disks) + 1)).unwrap_or(0);
        world.disk_faults.retain(|_| random.below(2) == 0);
    }
    if world.disks == 0 || world.disk_faults.is_empty() {
        (world.disks, world.disk_faults) = (0, Vec::new());
    }
    world
}

/// A generator of choices that follows a strategy.
#[derive(Clone, Debug)]
pub(crate) struct Driver {
    random: Random,
    tactic: Tactic,
}

#[derive(Clone, Debug)]
enum Tactic {
    Free,
    Priorities(Priorities),
    FewChoices(FewChoices),
}

/// Links with priorities, as fractions of 2^32: how much of the longest delay they take.
#[derive(Clone, Debug)]
struct Priorities {
    of_links: BTreeMap<(NodeId, NodeId), u64>,
    /// At which messages a link's priority falls.
    falls: Vec<u64>,
    messages: u64,
    fair_after: u64,
}

/// Which choices, by their number, are not calm.
#[derive(Clone, Debug)]
struct FewChoices {
    disturbed: Vec<u64>,
    asked: u64,
}

impl Driver {
    pub(crate) fn new(strategy: Strategy, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let tactic = match strategy.of_seed(seed) {
            Strategy::Pct => Tactic::Priorities(Priorities::draw(&mut random)),
            Strategy::DelayBounded => Tactic::FewChoices(FewChoices::draw(&mut random)),
            Strategy::Portfolio | Strategy::Random | Strategy::Swarm | Strategy::Pos => {
                Tactic::Free
            }
        };
        Self { random, tactic }
    }

    /// A number below `options` that takes nothing from the generator.
    pub(crate) fn aside(&self, options: u64) -> u64 {
        Random::new(!self.random.clone().next_u64()).below(options)
    }

    /// The generator, where every choice is drawn at random, whatever its label.
    #[inline]
    pub(crate) fn free(&mut self) -> Option<&mut Random> {
        matches!(self.tactic, Tactic::Free).then_some(&mut self.random)
    }

    /// A choice among `options`; `draw` is how it would be drawn at random.
    pub(crate) fn decide(
        &mut self,
        label: Label,
        options: u64,
        draw: impl Fn(&mut Random) -> u64,
    ) -> u64 {
        let Self { random, tactic } = self;
        match tactic {
            Tactic::Free => draw(random),
            Tactic::Priorities(priorities) => match priorities.of(label, random) {
                Some(part) => u64::try_from((u128::from(part) * u128::from(options)) >> 32)
                    .unwrap_or(options - 1)
                    .min(options - 1),
                None => draw(random),
            },
            // What clients ask for is no disturbance: without it there is little to disturb. Nor is a coin
            // that a handler throws: who counts on chance would never get on with the same side each time.
            Tactic::FewChoices(_) if label.what.starts_with("request.") || label.what == CHOOSE => {
                draw(random)
            }
            Tactic::FewChoices(few) => {
                few.asked += 1;
                match few.disturbed.binary_search(&few.asked) {
                    Ok(_) => draw(random).clamp(1.min(options - 1), options - 1),
                    Err(_) => 0,
                }
            }
        }
    }
}

/// How long a run may be whose length is not known: a power of two between 16 and 4096.
fn length(random: &mut Random) -> u64 {
    16 << random.below(9)
}

impl Priorities {
    fn draw(random: &mut Random) -> Self {
        let length = length(random);
        let falls = (0..=random.below(3)).map(|_| 1 + random.below(length)).collect();
        Self { of_links: BTreeMap::new(), falls, messages: 0, fair_after: 2 * length }
    }

    /// How much of the longest delay a message takes; `None` for other questions and in the fair
    /// rest of the run.
    fn of(&mut self, label: Label, random: &mut Random) -> Option<u64> {
        let (About::Message { from, to, .. }, "delay") = (label.about, label.what) else {
            return None;
        };
        self.messages += 1;
        if self.fair_after < self.messages {
            return None;
        }
        let part = self.of_links.entry((from, to)).or_insert_with(|| random.below(1 << 31));
        if self.falls.contains(&self.messages) {
            *part = (1 << 32) - 1;
        }
        Some(*part)
    }
}

impl FewChoices {
    /// Planned faults are asked for first, so half of the choices are among the first ones.
    fn draw(random: &mut Random) -> Self {
        let length = length(random);
        let count = 1 + random.below(5);
        let mut disturbed: Vec<u64> = (0..count)
            .map(|_| 1 + if random.below(2) == 0 { random.below(32) } else { random.below(length) })
            .collect();
        disturbed.sort_unstable();
        Self { disturbed, asked: 0 }
    }
}

#[cfg(test)]
mod tests {
    use synod_core::EventId;

    use super::*;

    fn delay(from: u32, to: u32) -> Label {
        let event = EventId::of("a.b");
        Label { what: "delay", about: About::Message { from: NodeId(from), to: NodeId(to), event } }
    }

    fn delays(strategy: Strategy, seed: u64) -> Vec<u64> {
        let mut driver = Driver::new(strategy, seed);
        (0..64).map(|n| driver.decide(delay(1, 2 + n % 2), 1_000, |it| it.below(1_000))).collect()
    }

    #[test]
    fn a_strategy_and_a_seed_are_one_run() {
        for (_, strategy) in Strategy::ALL {
            assert_eq!(delays(strategy, 5), delays(strategy, 5));
        }
    }

    #[test]
    fn priorities_give_a_link_one_delay_until_it_falls() {
        let differ = |seed| {
            let drawn = delays(Strategy::Pct, seed);
            let mut of_link: Vec<u64> = drawn.iter().step_by(2).take(12).copied().collect();
            of_link.dedup();
            of_link.len()
        };
        let most = (0..200).filter(|seed| differ(*seed) <= 4).count();
        assert!(150 < most, "{most} of 200 runs keep to few delays");
    }

    #[test]
    fn almost_everything_is_calm_under_a_bound_on_choices() {
        for seed in 0..100 {
            let disturbed =
                delays(Strategy::DelayBounded, seed).iter().filter(|it| **it > 0).count();
            assert!(disturbed <= 5);
        }
        let some =
            (0..100).filter(|seed| delays(Strategy::DelayBounded, *seed).iter().any(|it| *it > 0));
        assert!(30 < some.count());
    }

    #[test]
    fn what_handlers_choose_is_drawn_where_all_else_is_calm() {
        let coin = Label { what: CHOOSE, about: About::Node(NodeId(1)) };
        let heads = |seed| {
            let mut driver = Driver::new(Strategy::DelayBounded, seed);
            (0..64).filter(|_| driver.decide(coin, 2, |it| it.below(2)) == 0).count()
        };
        assert!((0..100).all(|seed| (10..55).contains(&heads(seed))));
    }

    #[test]
    fn every_other_round_of_the_portfolio_has_early_and_short_faults() {
        let mut settings = Settings::calm(5);
        (settings.crashes, settings.down_us, settings.pause_us) = (3, 5_000_000, 0);
        let world = |seed| Strategy::Portfolio.world(&settings, seed);
        assert!((0..6).all(|seed| world(seed).noise_us == 0 && world(seed).down_us == 5_000_000));
        let hasty: Vec<Settings> = (0..100).map(|round| world(12 * round + 6)).collect();
        let until = |least: u64, most: u64| {
            let is = |it: &&Settings| (least..most).contains(&it.noise_us);
            assert!((5..60).contains(&hasty.iter().filter(is).count()), "{least} to {most}");
        };
        until(10_000, 100_000);
        until(100_000, 1_000_000);
        until(1_000_000, 10_000_001);
        let short = |it: &Settings| 0 < it.down_us && it.down_us <= 2 * it.noise_us;
        assert!(hasty.iter().all(|it| short(it) && it.pause_us == 0));
    }

    #[test]
    fn a_swarm_keeps_within_the_settings_and_drops_some_faults() {
        let mut settings = Settings::calm(5);
        (settings.crashes, settings.lose, settings.pauses) = (3, 50_000, 2);
        let worlds: Vec<Settings> =
            (0..100).map(|seed| Strategy::Swarm.world(&settings, seed)).collect();
        assert!(worlds.iter().all(|it| it.crashes <= 3 && it.lose <= 50_000 && it.pauses <= 2));
        let without = worlds.iter().filter(|world| world.crashes == 0).count();
        assert!((25..=75).contains(&without), "{without}");
    }
}
