use std::collections::BTreeMap;

use synod_core::Envelope;
use synod_simulator::{Bounds, Fault, Scenario, Settings, Simulation, explore};

use super::*;
use crate::cost::cost;

const MILLISECOND: Duration = Duration::from_millis(1);

fn one_write_and_one_read() -> Scenario<Abd> {
    Scenario::of(|_| Abd::default()).with_workload()
}

/// Operations at three nodes, some side by side, some one after the other; no value twice.
fn busy() -> Scenario<Abd> {
    let mut scenario = Scenario::of(|_| Abd::default());
    for operation in 0..18_u64 {
        let node = NodeId(u32::try_from(operation % 3).expect("small") + 1);
        let at = MILLISECOND * u32::try_from(operation * 7).expect("small");
        scenario = match operation % 4 {
            0 => scenario.trigger(node, at, &Write { operation, value: 100 + operation }),
            _ => scenario.trigger(node, at, &Read { operation }),
        };
    }
    scenario.property(Property::monitor("reads return what is there", History::judge))
}

/// What the clients were told, in the order in which they were.
#[derive(Default)]
struct History {
    moment: u32,
    /// When each operation began, by client and its name for it, and what it asked for.
    open: BTreeMap<(NodeId, u64), (u32, Operation)>,
    /// When each value began to be written, and when it was.
    written: BTreeMap<u64, (u32, Option<u32>)>,
    /// Reads that are over: when they began and ended, and what they returned.
    read: Vec<(u32, u32, Option<u64>)>,
}

impl History {
    fn judge() -> impl FnMut(NodeId, &Envelope) -> Verdict + Send {
        let mut history = Self::default();
        move |_, told| {
            history.moment += 1;
            if told.event() == Invoked::ID {
                history.invoked(told.open().expect("an invocation"));
            } else if told.event() == Returned::ID {
                history.returned(told.open().expect("a return"))?;
            }
            Ok(())
        }
    }

    fn invoked(&mut self, Invoked { operation, client, input }: Invoked) {
        self.open.insert((client, operation), (self.moment, input));
        if let Operation::Write(value) = input {
            self.written.insert(value, (self.moment, None));
        }
    }

    fn returned(&mut self, Returned { operation, client, output }: Returned) -> Verdict {
        let (begun, input) = self.open.remove(&(client, operation)).ok_or("never invoked")?;
        match input {
            Operation::Write(value) => {
                self.written.insert(value, (begun, Some(self.moment)));
                Ok(())
            }
            Operation::Read => {
                let earlier = self.read.iter().filter(|(_, end, _)| *end < begun);
                for (_, _, before) in earlier {
                    if self.is_over(output, *before) {
                        return Err(format!("{before:?} was read, and then {output:?}"));
                    }
                }
                let writes = self.written.iter();
                let mut done = writes.filter(|(_, (_, end))| end.is_some_and(|end| end < begun));
                if let Some((later, _)) = done.find(|(it, _)| self.is_over(output, Some(**it))) {
                    return Err(format!("{later} was written, and then {output:?} read"));
                }
                self.read.push((begun, self.moment, output));
                Ok(())
            }
        }
    }

    /// Whether `old` was certainly overwritten when `new` was there.
    fn is_over(&self, old: Option<u64>, new: Option<u64>) -> bool {
        let Some((new_begun, _)) = new.and_then(|it| self.written.get(&it)) else {
            return false;
        };
        match old.map(|it| self.written.get(&it)) {
            None => true,
            Some(Some((_, Some(end)))) => end < new_begun,
            Some(_) => false,
        }
    }
}

/// A world in which crashes meet operations.
fn short(world: &mut Settings) {
    (world.time_us, world.clog_us, world.pause_us) = (1_000_000, 100_000, 100_000);
}

#[test]
fn three_nodes_in_every_schedule_with_a_crash() {
    let explored = explore(&one_write_and_one_read(), &Bounds::within(&Abd::MODEL, 3));
    explored.expect_complete();
    assert_eq!(explored.states, 5_984, "the header says so");
}

#[test]
fn five_nodes_by_ten_thousand_seeds() {
    let scenario = busy();
    let report = Simulation::new(&scenario, 5).settings(short).run(0..10_000);
    report.expect_clean();
    assert!(report.counts.crashes > 2_000, "{:?}", report.counts);
}

#[test]
fn four_nodes_of_which_half_are_no_majority() {
    Simulation::new(&busy(), 4).settings(short).run(0..2_000).expect_clean();
}

/// Two round trips with every other node.
#[test]
fn an_operation_takes_four_messages_for_each_other_node_and_four_delays() {
    let at = Duration::ZERO;
    for nodes in 2..=6_u32 {
        let write = Write { operation: 1, value: 7 };
        let write = Scenario::of(|_| Abd::default()).trigger(NodeId(1), at, &write);
        assert_eq!(cost(&write, nodes), (4 * u64::from(nodes - 1), 4), "{nodes} nodes");
        let read = Read { operation: 1 };
        let read = Scenario::of(|_| Abd::default()).trigger(NodeId(nodes), at, &read);
        assert_eq!(cost(&read, nodes), (4 * u64::from(nodes - 1), 4), "{nodes} nodes");
    }
}

#[test]
fn a_replica_that_comes_back_has_forgotten_what_was_returned() {
    let bounds = Bounds { recoveries: 1, ..Bounds::within(&Abd::MODEL, 3) };
    let explored = explore(&one_write_and_one_read(), &bounds);
    let failure = explored.expect_failure();
    assert_eq!(failure.violation.property, "what was returned is at a majority");
}

#[test]
fn a_lost_message_may_keep_an_operation_from_returning() {
    let scenario = busy();
    let report = Simulation::new(&scenario, 3).with(Fault::Loss).run(0..1_000);
    assert_eq!(report.expect_failure().violation.property, "every operation returns");
}
