//! A run that violated a property, decision by decision, as `synod replay --as-test` has
//! written it. What it does not decide is calm. It fails in the same way until the bug is fixed.

use synod::algorithms::Bully;
use synod::simulator::{Bounds, Scenario, Script};

#[test]
#[should_panic(expected = "`at most one node leads` is violated: n1 and n3 both lead")]
#[rustfmt::skip] // A decision is a line.
fn at_most_one_node_leads_is_kept() {
    let scenario = Scenario::of(|_| Bully::default());
    let bounds = Bounds {
        down_max: 2,
        tick_us: 100_000,
        timers: "1..50".parse().expect("a window"),
        ..Bounds::calm(3)
    };
    Script::exploring(bounds)
        .act("tick")
        .act("tick")
        .act("tick")
        .act("fire bully.unanswered n1 Unanswered")
        .act("fire bully.halted n3 Halted")
        .act("tick")
        .act("tick")
        .act("tick")
        .act("fire bully.halted n1 Halted")
        .expect_no_violation(&scenario, "at most one node leads");
}
