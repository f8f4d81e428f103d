//! A run that violated a property, decision by decision, as `synod replay --as-test` has
//! written it. What it does not decide is calm. It fails in the same way until the bug is fixed.

use synod::algorithms::Bully;
use synod::simulator::{Scenario, Script, Settings};

#[test]
#[should_panic(expected = "`at most one node leads` is violated: n1 and n2 both lead")]
#[rustfmt::skip] // A decision is a line.
fn at_most_one_node_leads_is_kept() {
    let scenario = Scenario::of(|_| Bully::default());
    let settings = Settings {
        time_us: 1_250_000,
        delay_max_us: 100_000,
        lose_datagram: 10_000,
        crashes: 3,
        down_max: 1,
        down_us: 5_000_000,
        partitions: 2,
        partition_us: 5_000_000,
        ..Settings::calm(2)
    };
    Script::new(settings)
        .decide("partition.side 1 #1", 1)
        .decide("partition.length 1 #1", 299_999)
        .expect_no_violation(&scenario, "at most one node leads");
}
