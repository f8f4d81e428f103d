//! What an algorithm costs where nothing goes wrong: for tests.

use synod_core::Algorithm;
use synod_simulator::{Scenario, Settings, Shape, Stream, run};

/// How many messages a run on `nodes` nodes takes, and after how many message delays a client's
/// operation first returns, where every delay is the same.
pub(crate) fn cost<A: Algorithm>(scenario: &Scenario<A>, nodes: u32) -> (u64, u64) {
    let settings = Settings { shape: Shape::Fixed, ..Settings::calm(nodes) };
    let (outcome, _) = run(scenario, &settings, Stream::seeded(1), true);
    assert_eq!(outcome.violation, None);
    let returns = |output: &String| output.contains("Returned");
    let mut steps = outcome.trace.steps.iter();
    let returned = steps.find(|step| step.outputs.iter().any(returns)).expect("it returns");
    (outcome.counts.sent, returned.time_us / settings.delay_min_us)
}
