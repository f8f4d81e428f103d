//! What clients of the library's algorithms see, judged: promises that an algorithm cannot make
//! itself, since it does not know how histories are judged.

use serde_json::{Value, json};
use synod_algorithms::Abd;
use synod_algorithms::register::abd::{Invoked, Operation, Returned};
use synod_core::{Envelope, NodeId, Property};
use synod_simulator::Scenario;
use synod_simulator::history::{ClientEvent, Seen, Specification, linearizable};

/// [`Abd`] with the clients of its own workload, who are promised [`one_register`], and whose
/// operations stand in traces in the words of the model `register`.
#[must_use]
pub fn of_a_register() -> Scenario<Abd> {
    let scenario = Scenario::of(|_| Abd::default()).with_workload();
    scenario.property(one_register()).clients(|node, told| observed(node, told).map(worded))
}

/// Clients of [`Abd`] cannot tell it from one register.
#[must_use]
pub fn one_register() -> Property<Abd> {
    linearizable("clients see one register", OneRegister, observed)
}

/// A register that says what it holds, and nothing to a write.
#[derive(Clone, Debug)]
struct OneRegister;

impl Specification for OneRegister {
    type State = Option<u64>;
    type Input = Operation;
    type Output = Option<u64>;

    fn initial(&self) -> Option<u64> {
        None
    }

    fn step(
        &self,
        held: &Option<u64>,
        input: &Operation,
        output: Option<&Option<u64>>,
    ) -> Option<Option<u64>> {
        let (expected, after) = match input {
            Operation::Read => (held, *held),
            Operation::Write(value) => (&None, Some(*value)),
        };
        output.is_none_or(|output| output == expected).then_some(after)
    }

    fn only_reads(&self, input: &Operation, _: Option<&Option<u64>>) -> bool {
        *input == Operation::Read
    }
}

fn observed(_: NodeId, told: &Envelope) -> Option<Seen<Operation, Option<u64>>> {
    if let Ok(Invoked { operation, client, input }) = told.open() {
        let id = number(client, operation);
        return Some(Seen::Invoked { client: client.to_string(), id, input });
    }
    let Returned { operation, client, output } = told.open().ok()?;
    Some(Seen::Returned { id: number(client, operation), output: Some(output) })
}

/// The same as a history says it.
fn worded(seen: Seen<Operation, Option<u64>>) -> ClientEvent {
    match seen {
        Seen::Invoked { client, id, input } => {
            let (f, value) = match input {
                Operation::Read => ("read", Value::Null),
                Operation::Write(value) => ("write", json!(value)),
            };
            ClientEvent::Invoke { client, id, f: String::from(f), key: None, value }
        }
        Seen::Returned { id, output } => {
            ClientEvent::Return { id, value: output.map(|it| json!(it)) }
        }
    }
}

/// Clients call their operations as they like, each for itself.
fn number(client: NodeId, operation: u64) -> u64 {
    operation ^ (u64::from(client.0) << 48)
}

#[cfg(test)]
mod tests {
    use synod_core::Algorithm;
    use synod_simulator::{Bounds, Scenario, explore};

    use super::*;

    #[test]
    fn in_every_schedule_with_a_crash_clients_see_one_register() {
        let scenario = Scenario::of(|_| Abd::default()).with_workload().property(one_register());
        let explored = explore(&scenario, &Bounds::within(&Abd::MODEL, 3));
        explored.expect_complete();
        assert_eq!((explored.states, explored.skipped.len()), (7_348, 0));
    }
}
