//! A run written by hand, or by `replay --as-test`: its world, and what is decided in it.

use std::hash::Hash;

use synod_core::Stack;

use crate::choice::Decision;
use crate::explore::Bounds;
use crate::replay::{Replay, replay};
use crate::scenario::Scenario;
use crate::schedule::{Recorded, Schedule};
use crate::settings::Settings;
use crate::world::Violation;

/// A run as a test tells it: decision by decision, by meaning, calm in everything else.
///
/// ```
/// use synod_algorithms::Bully;
/// use synod_simulator::{Scenario, Script, Settings};
///
/// let scenario = Scenario::of(|_| Bully::default());
/// let settings = Settings { partitions: 1, partition_us: 5_000_000, ..Settings::calm(2) };
/// let violation = Script::new(settings)
///     .decide("partition.side 1 #1", 1)
///     .decide("partition.length 1 #1", 4_000_000)
///     .expect_violation(&scenario, "at most one node leads");
/// assert_eq!(violation.reason, "n1 and n2 both lead");
///
/// // Nobody decides that there is a partition: nothing is violated.
/// Script::new(Settings::calm(2)).expect_no_violation(&scenario, "at most one node leads");
/// ```
#[derive(Clone, Debug)]
#[must_use = "a script does nothing until it is run"]
pub struct Script {
    run: Recorded,
}

impl Script {
    /// A simulated run in the world of `settings`.
    ///
    /// # Panics
    ///
    /// If no run can be made of the settings: the field and its range are named.
    #[track_caller]
    pub fn new(settings: Settings) -> Self {
        settings.expect_possible();
        Self { run: Recorded::Simulated { settings, seed: 0, decisions: Vec::new() } }
    }

    /// A path of an exploration within `bounds`.
    pub fn exploring(bounds: Bounds) -> Self {
        Self { run: Recorded::Explored { bounds, actions: Vec::new() } }
    }

    /// Decides a question of a simulated run, as a schedule calls it: `delay bully.halt n3>n1 #2`.
    /// Without a number, the first one of its name. Choice 0 is calm.
    ///
    /// # Panics
    ///
    /// If the simulator asks no such question, or if the script is a path of an exploration.
    pub fn decide(mut self, question: &str, choice: u64) -> Self {
        let Recorded::Simulated { decisions, .. } = &mut self.run else {
            panic!("`{question}` is decided in simulated runs; a path of an exploration has acts");
        };
        let ordinal = if question.contains(" #") { "" } else { " #1" };
        match format!("{question}{ordinal} = {choice}").parse::<Decision>() {
            Ok(decision) => decisions.push(decision),
            Err(error) => panic!("{error}"),
        }
        self
    }

    /// Lets the next thing of a path happen, as a schedule calls it: `deliver bully.halt n3>n1`.
    ///
    /// # Panics
    ///
    /// If the script is a simulated run.
    pub fn act(mut self, action: &str) -> Self {
        let Recorded::Explored { actions, .. } = &mut self.run else {
            panic!("`{action}` is of an exploration; `Script::exploring` begins its path");
        };
        actions.push(String::from(action));
        self
    }

    /// Runs the script. What the program does not ask for is left out, and counted.
    #[must_use]
    pub fn run<T: Stack + Clone + Hash + Sync>(self, scenario: &Scenario<T>) -> Replay {
        self.against(scenario, None)
    }

    /// The same where `property` is in question: one that a run breaks for ever is judged, too.
    fn against<T: Stack + Clone + Hash + Sync>(
        self,
        scenario: &Scenario<T>,
        property: Option<&str>,
    ) -> Replay {
        let (algorithm, property) = (String::from(scenario.name()), property.map(String::from));
        let Self { run } = self;
        replay(scenario, &Schedule { algorithm, property, dropped: Vec::new(), run })
    }

    /// Runs the script, which has violated `property`, and does so no longer: a test that fails until the
    /// bug is fixed. Decisions that are no longer asked for then are left out.
    ///
    /// # Panics
    ///
    /// If the run violates that property, or any other: with the property, in which way, and where it is
    /// declared.
    #[track_caller]
    pub fn expect_no_violation<T: Stack + Clone + Hash + Sync>(
        self,
        scenario: &Scenario<T>,
        property: &str,
    ) {
        if let Some(violation) = self.against(scenario, Some(property)).violation {
            let place = violation.place_in_words().map(|place| format!("\n  {place}"));
            let Violation { property, reason, .. } = violation;
            panic!("`{property}` is violated: {reason}{}", place.unwrap_or_default());
        }
    }

    /// Runs the script, which violates `property`. Returns in which way.
    ///
    /// # Panics
    ///
    /// If it does not, or another one; if `scenario` does not promise it.
    #[track_caller]
    pub fn expect_violation<T: Stack + Clone + Hash + Sync>(
        self,
        scenario: &Scenario<T>,
        property: &str,
    ) -> Violation {
        let Replay { violation, decisions, gone, .. } = self.against(scenario, Some(property));
        match violation {
            Some(violation) if violation.property == property => violation,
            Some(Violation { property: other, reason, .. }) => {
                panic!("`{other}` is violated instead of `{property}`: {reason}")
            }
            None if scenario.properties().iter().all(|it| it.name != property) => {
                panic!("the scenario does not promise `{property}`: `Scenario::property` adds it")
            }
            None => {
                let named: String = gone.iter().map(|it| format!("\n  {it}")).collect();
                let gone = gone.len();
                panic!(
                    "`{property}` holds: {gone} of {decisions} decisions are no longer asked for{named}"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explore::explore;
    use synod_algorithms::Bully;
    use synod_core::Property;

    fn scenario() -> Scenario<Bully> {
        Scenario::of(|_| Bully::default())
    }

    #[test]
    #[should_panic(expected = "the scenario does not promise `all is well`")]
    fn a_violation_of_what_nobody_promises_is_told_from_one_that_is_gone() {
        Script::new(Settings::calm(3)).expect_violation(&scenario(), "all is well");
    }

    #[test]
    fn a_path_of_an_exploration_is_walked_by_name() {
        let mut bounds = Bounds::within(scenario().model(), 3);
        bounds.unbound();
        let found = explore(&scenario(), &bounds);
        let found = found.expect_failure();
        let Recorded::Explored { bounds, actions } = &found.schedule.run else {
            unreachable!("an exploration records a path");
        };
        let script = Script::exploring(bounds.clone());
        let script = actions.iter().fold(script, |script, action| script.act(action));
        let violation = script.expect_violation(&scenario(), &found.violation.property);
        assert_eq!(violation, found.violation);
    }

    #[test]
    #[should_panic(expected = "`dilly n1 #1 = 2` is no decision")]
    fn a_question_that_nobody_asks_is_refused() {
        let _ = Script::new(Settings::calm(2)).decide("dilly n1", 2);
    }

    #[test]
    #[should_panic(expected = "no run can be made of these settings: `lose` is 1000001")]
    fn settings_that_are_out_of_range_are_refused() {
        let _ = Script::new(Settings { lose: 1_000_001, ..Settings::calm(2) });
    }

    #[test]
    #[should_panic(expected = "1 of 1 decisions are no longer asked for\n  crash.node 1 #1 = 1")]
    fn a_script_that_no_longer_fails_says_what_is_gone() {
        let script = Script::new(Settings::calm(2)).decide("crash.node 1", 1);
        let _ = script.expect_violation(&scenario(), "at most one node leads");
    }

    fn partitioned() -> Script {
        let settings = Settings { partitions: 1, partition_us: 5_000_000, ..Settings::calm(2) };
        Script::new(settings).decide("partition.side 1", 1).decide("partition.length 1", 4_000_000)
    }

    #[test]
    #[should_panic(
        expected = "`at most one node leads` is violated: n1 and n2 both lead\n  declared at "
    )]
    fn no_violation_is_expected_in_vain_as_long_as_there_is_one() {
        partitioned().expect_no_violation(&scenario(), "at most one node leads");
    }

    #[test]
    #[should_panic(expected = "`nothing happens` is violated: something does")]
    fn a_violation_of_another_property_is_one_too() {
        let strict = scenario()
            .property(Property::always("nothing happens", |_| Err(String::from("something does"))));
        partitioned().expect_no_violation(&strict, "at most one node leads");
    }

    #[test]
    fn a_run_that_no_longer_fails_passes_whatever_it_no_longer_asks_for() {
        let script = Script::new(Settings::calm(2)).decide("crash.node 1", 1);
        assert_eq!(script.clone().run(&scenario()).gone.len(), 1);
        script.expect_no_violation(&scenario(), "at most one node leads");
    }

    #[test]
    #[should_panic(expected = "`Script::exploring` begins its path")]
    fn an_act_has_no_place_in_a_simulated_run() {
        let _ = Script::new(Settings::calm(2)).act("tick");
    }
}
