//! A run as a file: small, readable, versioned, kept in git.
//!
//! The schedule is the truth of a run; the trace is derived from it. It names decisions by
//! meaning, so it can be replayed after the program was edited: what is no longer asked is left
//! out and counted, what is newly asked is calm.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::str::FromStr;

use synod_core::{Catalogue, EventId};

use crate::action::Action;
use crate::choice::{Decision, Label};
use crate::explore::Bounds;
use crate::settings::Settings;

/// A recorded run.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    /// The algorithm's name.
    pub algorithm: String,
    /// Which property the run violates, if it does.
    pub property: Option<String>,
    /// Which assumptions of the model the run breaks, in words.
    pub dropped: Vec<String>,
    /// What was decided.
    pub run: Recorded,
}

/// The decisions of a run, by the engine that took them.
#[derive(Clone, Debug, PartialEq)]
pub enum Recorded {
    /// A simulated run: its world, and every decision that is not calm.
    Simulated {
        /// The world.
        settings: Settings,
        /// The seed that it was found with.
        seed: u64,
        /// The decisions.
        decisions: Vec<Decision>,
    },
    /// A path of an exploration: its bounds, and every action in order.
    Explored {
        /// The bounds.
        bounds: Bounds,
        /// The actions, as [`Explored`](crate::Explored) names them.
        actions: Vec<String>,
    },
}

/// Why a schedule cannot be read. Names the line, what stands there, and what should.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct BadSchedule {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub what: String,
}

const FIRST_LINE: &str = "synod schedule 1";

impl Schedule {
    /// The longest schedule that is read, in bytes.
    pub const SIZE_MAX: usize = 64 << 20;

    /// How many decisions that are not calm it names, or how many actions.
    #[must_use]
    pub fn decisions(&self) -> usize {
        match &self.run {
            Recorded::Simulated { decisions, .. } => decisions.len(),
            Recorded::Explored { actions, .. } => actions.len(),
        }
    }

    /// The text of the file. `catalogue` names the events.
    #[must_use]
    pub fn text(&self, catalogue: &Catalogue) -> String {
        let mut text = format!("{FIRST_LINE}\nalgorithm {}\n", self.algorithm);
        let mut line = |key: &str, value: &str| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{key} {value}");
        };
        if let Some(property) = &self.property {
            line("violates", property);
        }
        for dropped in &self.dropped {
            line("dropped", dropped);
        }
        match &self.run {
            Recorded::Simulated { settings, seed, decisions } => {
                line("seed", &seed.to_string());
                line("settings", &json(settings));
                for decision in decisions {
                    line("decide", &decision.line(|event: EventId| catalogue.name(event)));
                }
            }
            Recorded::Explored { bounds, actions } => {
                line("bounds", &json(bounds));
                for action in actions {
                    line("act", action);
                }
            }
        }
        text
    }
}

fn json<T: serde::Serialize>(value: &T) -> String {
    match serde_json::to_string(value) {
        Ok(text) => text,
        Err(error) => unreachable!("plain numbers serialize: {error}"),
    }
}

/// The lines of a schedule as they are read.
#[derive(Default)]
struct Draft {
    algorithm: Option<String>,
    property: Option<String>,
    dropped: Vec<String>,
    seed: Option<u64>,
    settings: Option<Settings>,
    bounds: Option<Bounds>,
    decisions: Vec<Decision>,
    /// What the decisions are about.
    decided: BTreeSet<(Label, u32)>,
    actions: Vec<String>,
}

impl FromStr for Schedule {
    type Err = BadSchedule;

    fn from_str(text: &str) -> Result<Self, BadSchedule> {
        let bad = |line: usize, what: String| BadSchedule { line, what };
        if text.trim().is_empty() {
            return Err(bad(
                1,
                format!("the file is empty; a schedule begins with `{FIRST_LINE}`"),
            ));
        }
        let mut lines = text.lines().enumerate();
        if lines.next().map(|(_, line)| line) != Some(FIRST_LINE) {
            return Err(bad(1, format!("a schedule begins with `{FIRST_LINE}`")));
        }
        let mut draft = Draft::default();
        for (index, line) in lines.filter(|(_, line)| !line.trim().is_empty()) {
            draft.read(line).map_err(|what| bad(index + 1, what))?;
        }
        draft.finish().map_err(|what| bad(text.lines().count(), what))
    }
}

impl Draft {
    fn read(&mut self, line: &str) -> Result<(), String> {
        let (key, value) = line.split_once(' ').unwrap_or((line, ""));
        match key {
            "algorithm" => once(key, &mut self.algorithm, String::from(value))?,
            "violates" => once(key, &mut self.property, String::from(value))?,
            "dropped" => self.dropped.push(String::from(value)),
            "seed" => {
                let seed = value.parse().map_err(|_| format!("`{value}` is no seed"))?;
                once(key, &mut self.seed, seed)?;
            }
            "settings" => once(key, &mut self.settings, read_settings(value)?)?,
            "bounds" => once(key, &mut self.bounds, read_bounds(value)?)?,
            "decide" => {
                let decision = value.parse::<Decision>().map_err(|error| error.to_string())?;
                if !self.decided.insert((decision.label, decision.ordinal)) {
                    return Err(format!("`{value}` was decided in a line before"));
                }
                self.decisions.push(decision);
            }
            "act" if !Action::may_be_named(value) => {
                let verbs = Action::VERBS.join(", ");
                return Err(format!(
                    "`{value}` never happens: expected one of {verbs}, and of what"
                ));
            }
            "act" => self.actions.push(String::from(value)),
            _ => {
                let known = "algorithm, violates, dropped, seed, settings, bounds, decide, act";
                return Err(format!("`{key}` is not one of {known}"));
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<Schedule, String> {
        let Self {
            algorithm, property, dropped, seed, settings, bounds, decisions, actions, ..
        } = self;
        let run = match (settings, bounds) {
            (Some(settings), None) => {
                Recorded::Simulated { settings, seed: seed.unwrap_or_default(), decisions }
            }
            (None, Some(bounds)) => Recorded::Explored { bounds, actions },
            (None, None) => return Err("neither `settings` nor `bounds` is given".into()),
            (Some(_), Some(_)) => return Err("both `settings` and `bounds` are given".into()),
        };
        let algorithm = algorithm.ok_or("no `algorithm` is given")?;
        Ok(Schedule { algorithm, property, dropped, run })
    }
}

/// Keeps what a schedule says once.
fn once<T>(key: &str, place: &mut Option<T>, value: T) -> Result<(), String> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(format!("`{key}` was given in a line before")),
    }
}

fn read_settings(text: &str) -> Result<Settings, String> {
    let settings: Settings = read_json(text)?;
    settings.check().map(|()| settings).map_err(|why| why.to_string())
}

fn read_bounds(text: &str) -> Result<Bounds, String> {
    let bounds: Bounds = read_json(text)?;
    let nodes = bounds.nodes;
    let is_possible = (1..=Settings::NODES_MAX).contains(&nodes);
    let wrong = || format!("`nodes` is {nodes}: 1 to {}", Settings::NODES_MAX);
    is_possible.then_some(bounds).ok_or_else(wrong)
}

fn read_json<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    // The value is a text of its own to the parser, so it always speaks of line 1.
    serde_json::from_str(text)
        .map_err(|error| error.to_string().replace(" at line 1 column ", ", column "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn recorded() -> Schedule {
        let line = "delay a.b n1>n2 #3 = 77";
        Schedule {
            algorithm: "bully".into(),
            property: Some("at most one node leads".into()),
            dropped: vec!["there are no partitions".into()],
            run: Recorded::Simulated {
                settings: Settings::calm(5),
                seed: 17,
                decisions: vec![line.parse().expect("a decision")],
            },
        }
    }

    fn named(schedule: &Schedule) -> String {
        // The empty catalogue writes hashes, so the name is put back by hand.
        let hash = format!("{:016x}", EventId::of("a.b").bits());
        schedule.text(&Catalogue::default()).replace(&hash, "a.b")
    }

    #[test]
    fn a_schedule_survives_its_text() {
        let schedule = recorded();
        assert_eq!(named(&schedule).parse(), Ok(schedule));
    }

    #[test]
    fn a_damaged_line_is_named() {
        let text = named(&recorded()).replace("decide delay", "decide dilly");
        let error = text.parse::<Schedule>().expect_err("a question nobody asks");
        assert_eq!(error.line, 7);
        assert!(error.what.contains("dilly"), "{error}");
        let other = "synod schedule 9\n".parse::<Schedule>().expect_err("another version");
        assert_eq!(other.line, 1);
        let none = "\n".parse::<Schedule>().expect_err("nothing");
        assert!(none.what.starts_with("the file is empty"), "{none}");
    }

    #[test]
    fn what_stands_in_a_schedule_twice_is_refused_with_its_line() {
        let text = named(&recorded());
        for key in ["algorithm", "violates", "seed", "settings", "decide"] {
            let line = text.lines().find(|line| line.starts_with(key)).expect("a line of it");
            let error = format!("{text}{line}\n").parse::<Schedule>().expect_err(key);
            assert_eq!(error.line, 8, "{error}");
            assert!(error.what.ends_with("in a line before"), "{error}");
        }
    }

    #[test]
    fn what_happens_in_no_exploration_is_refused_with_its_line() {
        let bounds = json(&Bounds::within(&synod_core::Model::ASYNCHRONOUS, 2));
        let begin = format!("{FIRST_LINE}\nalgorithm a\nbounds {bounds}\nact tick\n");
        for act in ["", "fier a.b n1", "deliver a.b n1>n2 | choosing x", "tick | crashing after x"]
        {
            let error = format!("{begin}act {act}\n").parse::<Schedule>().expect_err(act);
            assert_eq!(error.line, 5, "{error}");
        }
        let sound = "act deliver a.b n1>n2 #1 | choosing 1,2 | crashing after 3 losing\n";
        assert!(format!("{begin}{sound}").parse::<Schedule>().is_ok());
    }

    #[test]
    fn bounds_without_nodes_are_refused_in_their_line() {
        let bounds = json(&Bounds { nodes: 0, ..Bounds::calm(1) });
        let text = format!("{FIRST_LINE}\nalgorithm a\nbounds {bounds}\nact tick\n");
        let error = text.parse::<Schedule>().expect_err("nobody is there");
        assert_eq!((error.line, error.what.as_str()), (3, "`nodes` is 0: 1 to 10000"));
    }

    #[test]
    fn settings_that_contradict_each_other_are_refused_in_their_line() {
        let settings = Settings { delay_min_us: 10_001, ..Settings::calm(5) };
        let text = format!("{FIRST_LINE}\nalgorithm a\nsettings {}\n", json(&settings));
        let error = text.parse::<Schedule>().expect_err("no delay is between the two");
        assert_eq!((error.line, error.what.as_str()), (3, "`delay_min_us` is 10001: 0 to 10000"));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "(synod schedule 1\n)?[ -~\n]{0,200}") {
            let _ = text.parse::<Schedule>();
        }
    }
}
