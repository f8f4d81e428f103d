//! Of which settings no run can be made.

use std::collections::BTreeSet;

use super::Settings;

/// What keeps a run from being made of settings: the field and its range.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct Impossible(String);

impl Settings {
    /// Whether a run can be made of these: what is read from a file is not believed.
    ///
    /// # Errors
    ///
    /// [`Impossible`]: the field that is out of range, and its range.
    pub fn check(&self) -> Result<(), Impossible> {
        self.check_all().map_err(Impossible)
    }

    fn check_all(&self) -> Result<(), String> {
        let within = |name: &str, value: u64, least: u64, most: u64| {
            let fits = (least..=most).contains(&value);
            fits.then_some(()).ok_or_else(|| format!("`{name}` is {value}: {least} to {most}"))
        };
        within("nodes", self.nodes.into(), 1, Self::NODES_MAX.into())?;
        within("time_us", self.time_us, 1, TIME_US_MAX)?;
        for (name, time_us) in self.times() {
            within(name, time_us, 0, TIME_US_MAX)?;
        }
        within("delay_min_us", self.delay_min_us, 0, self.delay_max_us)?;
        within("down_min_us", self.down_min_us, 0, self.down_us)?;
        self.check_links()?;
        for (name, rate) in self.rates() {
            within(name, rate.into(), 0, 1_000_000)?;
        }
        for (name, planned) in self.planned() {
            within(name, planned.into(), 0, PLANNED_MAX)?;
        }
        if 0 < self.disks && self.disk_faults.is_empty() {
            let disks = self.disks;
            return Err(format!("`disks` is {disks}, and `disk_faults` names none of their kinds"));
        }
        let Self { nodes, traitors, .. } = self;
        if nodes <= traitors {
            let most = nodes - 1;
            let why = "a run in which nobody keeps to the algorithm shows nothing";
            return Err(format!("`traitors` is {traitors} of {nodes} nodes: 0 to {most}; {why}"));
        }
        Ok(())
    }

    fn check_links(&self) -> Result<(), String> {
        let mut known = BTreeSet::new();
        for link in &self.links {
            let (least, most) = (link.min_us, link.max_us);
            let nodes = 1..=self.nodes;
            if !nodes.contains(&link.from.0) || !nodes.contains(&link.to.0) || link.from == link.to
            {
                return Err(format!(
                    "`links`: `{link}` is not between two of {} nodes",
                    self.nodes
                ));
            }
            if most < least || TIME_US_MAX < most {
                return Err(format!("`links`: `{link}` takes {least} us at least, {most} at most"));
            }
            if !link.ways().all(|way| known.insert(way)) {
                return Err(format!("`links`: `{link}` says again how long that link takes"));
            }
        }
        Ok(())
    }

    /// The lengths of time by name, but for those that others bound.
    fn times(&self) -> [(&'static str, u64); 11] {
        [
            ("noise_us", self.noise_us),
            ("delay_max_us", self.delay_max_us),
            ("tail_max_us", self.tail_max_us),
            ("burst_us", self.burst_us),
            ("down_us", self.down_us),
            ("partition_us", self.partition_us),
            ("clog_us", self.clog_us),
            ("pause_us", self.pause_us),
            ("skew_us", self.skew_us),
            ("jump_us", self.jump_us),
            ("disk_us", self.disk_us),
        ]
    }

    /// The rates by name, in millionths.
    fn rates(&self) -> [(&'static str, u32); 6] {
        [
            ("tail", self.tail),
            ("lose", self.lose),
            ("burst", self.burst),
            ("lose_datagram", self.lose_datagram),
            ("duplicate", self.duplicate),
            ("drift", self.drift),
        ]
    }

    /// How many requests and faults of each kind are planned, by name.
    fn planned(&self) -> [(&'static str, u32); 9] {
        [
            ("requests", self.requests),
            ("crashes", self.crashes),
            ("partitions", self.partitions),
            ("clogs", self.clogs),
            ("pauses", self.pauses),
            ("jumps", self.jumps),
            ("joins", self.joins),
            ("leaves", self.leaves),
            ("disks", self.disks),
        ]
    }

    #[track_caller]
    pub(crate) fn expect_nodes(nodes: u32) {
        let most = Self::NODES_MAX;
        assert!((1..=most).contains(&nodes), "a cluster has 1 to {most} nodes, and not {nodes}");
    }

    /// # Panics
    ///
    /// If [`Self::check`] refuses them: the caller has made them.
    #[track_caller]
    pub(crate) fn expect_possible(&self) {
        if let Err(why) = self.check() {
            panic!("no run can be made of these settings: {why}");
        }
    }
}

/// The longest time in a world, in microseconds: some thirty years.
const TIME_US_MAX: u64 = 1_000_000_000_000_000;
/// Requests, and faults of one kind, that a run may plan.
const PLANNED_MAX: u64 = 10_000;
