//! A scenario whose type nobody asks for. What draws, judges, compares and shrinks whole runs is
//! compiled once this way, not once for each algorithm.

use std::fmt;
use std::time::Duration;

use synod_core::{Catalogue, Kind, Model, NodeId, Offer, Stack};

use crate::audit::States;
use crate::choice::Stream;
use crate::scenario::Scenario;
use crate::settings::Settings;
use crate::trace::Trace;
use crate::underway::Seat;
use crate::world::settling::run_settling;
use crate::world::{Outcome, run, run_audited, run_seen};

/// What whole runs can be made of.
pub(crate) trait Runnable: fmt::Debug + Sync {
    /// Runs once, as [`run`] does.
    fn run(&self, settings: &Settings, stream: Stream, traced: bool) -> (Outcome, Stream);

    /// The same without a trace, and tells on the way where it is.
    fn run_seen(&self, settings: &Settings, stream: Stream, seat: &Seat) -> (Outcome, Stream);

    /// The same with a trace, and with the states after each step.
    fn run_audited(&self, settings: &Settings, stream: Stream) -> (Trace, States);

    /// Runs once, and tells since when it was settled, as [`run_settling`] does.
    fn run_settling(&self, settings: &Settings, stream: Stream) -> (Outcome, Option<u64>);

    /// What it is called.
    fn name(&self) -> &'static str;

    fn model(&self) -> &Model;

    fn catalogue(&self) -> &Catalogue;

    /// How many kinds of treason there are to choose from.
    fn treasons(&self) -> u64;

    /// What clients may ask for besides, at any node and time.
    fn offers(&self) -> &[Offer];

    /// To which nodes inputs are given, in the order of giving.
    fn asked(&self) -> Vec<NodeId>;

    /// What is to be triggered, and is in no run of so many nodes and microseconds, in words.
    fn triggers_beyond(&self, nodes: u32, time_us: u64) -> Vec<String>;

    /// The names of its properties.
    fn promised(&self) -> Vec<&'static str>;

    /// What should happen sometimes.
    fn should_happen(&self) -> Vec<&'static str>;

    /// What is not held against every moment of every run, and has to be held against some.
    fn due_sometime(&self) -> Vec<&'static str>;

    /// Whether a property is of what is come to, in time or at rest.
    fn comes_to(&self, property: &str) -> bool;

    /// What it promises to come to, each with the time that it has for that.
    fn promises(&self) -> Vec<(&'static str, Duration)>;
}

impl<T: Stack> Runnable for Scenario<T> {
    fn run(&self, settings: &Settings, stream: Stream, traced: bool) -> (Outcome, Stream) {
        run(self, settings, stream, traced)
    }

    fn run_seen(&self, settings: &Settings, stream: Stream, seat: &Seat) -> (Outcome, Stream) {
        run_seen(self, settings, stream, seat)
    }

    fn run_audited(&self, settings: &Settings, stream: Stream) -> (Trace, States) {
        run_audited(self, settings, stream)
    }

    fn run_settling(&self, settings: &Settings, stream: Stream) -> (Outcome, Option<u64>) {
        run_settling(self, settings, stream)
    }

    fn name(&self) -> &'static str {
        self.name
    }

    fn model(&self) -> &Model {
        &self.model
    }

    fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    fn treasons(&self) -> u64 {
        self.treasons()
    }

    fn offers(&self) -> &[Offer] {
        &self.offers
    }

    fn asked(&self) -> Vec<NodeId> {
        self.inputs.iter().map(|(node, ..)| *node).collect()
    }

    fn triggers_beyond(&self, nodes: u32, time_us: u64) -> Vec<String> {
        self.triggers_beyond(nodes, time_us)
    }

    fn promised(&self) -> Vec<&'static str> {
        self.properties.iter().map(|property| property.name).collect()
    }

    fn should_happen(&self) -> Vec<&'static str> {
        let sometimes = self.properties.iter().filter(|it| it.kind == Kind::Sometimes);
        sometimes.map(|it| it.name).collect()
    }

    fn due_sometime(&self) -> Vec<&'static str> {
        let at_any_time = |kind| matches!(kind, Kind::Always | Kind::Sometimes);
        let properties = self.properties.iter().filter(|it| !at_any_time(it.kind));
        properties.map(|it| it.name).collect()
    }

    fn comes_to(&self, property: &str) -> bool {
        let of_an_end = |kind| matches!(kind, Kind::AtRest | Kind::Eventually { .. });
        self.properties.iter().any(|it| it.name == property && of_an_end(it.kind))
    }

    fn promises(&self) -> Vec<(&'static str, Duration)> {
        self.promises().collect()
    }
}
