use synod_core::HandlerSet;
use synod_simulator::{Bounds, Scenario, Simulation, explore};

use super::*;

#[test]
fn three_nodes_in_every_schedule_with_a_crash_and_a_recovery() {
    let explored =
        explore(&Scenario::of(|_| Gathering::of(2)), &Bounds::within(&Gathering::MODEL, 3));
    explored.expect_complete();
    assert_eq!(explored.states, 300, "the header says so");
}

#[test]
fn five_nodes_by_ten_thousand_seeds() {
    let scenario = Scenario::of(|node| Gathering::of(node.0 as usize - 1));
    Simulation::new(&scenario, 5).run(0..10_000).expect_clean();
}

#[test]
fn what_stands_beside_it_in_a_stack_begins_when_the_barrier_opens() {
    let stack = |_| -> Beside {
        let begin = |begun: &mut Begun, Gathered { peers }: Gathered| begun.0 += peers.len();
        (Gathering::of(2), HandlerSet::new(Begun::default()).on(begin))
    };
    let model = Model::ASYNCHRONOUS;
    let scenario = Scenario::new("beside", model, stack).expect("the two fit together");
    let scenario = scenario.property(Property::at_rest("all began once", begun));
    Simulation::new(&scenario, 3).run(0..500).expect_clean();
}

#[derive(Clone, Debug, Default)]
struct Begun(usize);

type Beside = (Gathering, HandlerSet<Begun>);

fn begun(cluster: &Cluster<'_, Beside>) -> Verdict {
    match cluster.live().find(|(_, (_, application))| application.state().0 != 2) {
        Some((node, _)) => Err(format!("{node} has not begun with two peers, once")),
        None => Ok(()),
    }
}
