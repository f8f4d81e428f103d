//! A durable queue of tasks: nothing is lost and nothing takes effect twice, wherever a node crashes.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use synod_core::{
    Algorithm, Cluster, Context, Event, Faults, Handlers, Model, NodeId, PeerUp, Property,
    Tolerance, Verdict,
};
use synod_simulator::{Bounds, Scenario, Simulation, explore};

use crate::kit::{N1, N2, ms, watch_rest};

/// n1 keeps the tasks, n2 carries them out.
#[derive(Clone, Debug, Default, Hash)]
struct Tasks {
    defect: Option<Defect>,
    /// At n1: durable, and not known to be done.
    waiting: BTreeSet<u32>,
    /// At n1: whoever put the task in may rely on it.
    accepted: BTreeSet<u32>,
    /// At n2: what has taken effect, in this order.
    applied: Vec<u32>,
}

#[derive(Clone, Copy, Debug, Hash, PartialEq)]
enum Defect {
    /// A task leaves the queue before it is done, as in a queue that takes it out to try it.
    TakenOutFirst,
    /// What has taken effect is not looked up.
    NotLookedUp,
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "tasks.put", local)]
struct Put(u32);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "tasks.queued", local)]
struct Queued(u32);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "tasks.finished", local)]
struct Finished(u32);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "tasks.applied", local)]
struct Applied(u32);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "tasks.task")]
struct Task(u32);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "tasks.done")]
struct Done(u32);

impl Algorithm for Tasks {
    const NAME: &'static str = "tasks";
    const MODEL: Model =
        Model::ASYNCHRONOUS.tolerating(Faults::CrashRecovery(Tolerance::Exactly(1)));

    fn handlers() -> Handlers<Self> {
        Handlers::new()
            .on(Self::put)
            .on(Self::task)
            .on(Self::done)
            .on(Self::peer_up)
            .restore(Self::queued)
            .restore(|it: &mut Self, Finished(task): Finished| it.waiting.retain(|it| *it != task))
            .restore(|it: &mut Self, Applied(task): Applied| it.applied.push(task))
    }

    fn properties() -> Vec<Property<Self>> {
        vec![
            Property::at_rest("every accepted task has taken effect", nothing_is_lost),
            Property::always("no task takes effect twice", nothing_is_doubled),
        ]
    }
}

impl Tasks {
    fn put(&mut self, Put(task): Put, ctx: &mut Context) {
        ctx.persist(&Queued(task));
        self.queued(Queued(task));
        self.hand_out(task, ctx);
    }

    fn queued(&mut self, Queued(task): Queued) {
        self.waiting.insert(task);
        self.accepted.insert(task);
    }

    fn hand_out(&self, task: u32, ctx: &mut Context) {
        if self.defect == Some(Defect::TakenOutFirst) {
            ctx.persist(&Finished(task));
        }
        ctx.send(N2, &Task(task));
    }

    fn task(&mut self, Task(task): Task, from: NodeId, ctx: &mut Context) {
        if !self.applied.contains(&task) || self.defect == Some(Defect::NotLookedUp) {
            ctx.persist(&Applied(task));
            self.applied.push(task);
        }
        ctx.send(from, &Done(task));
    }

    fn done(&mut self, Done(task): Done, ctx: &mut Context) {
        if self.waiting.remove(&task) {
            ctx.persist(&Finished(task));
        }
    }

    /// What was under way went down with the link.
    fn peer_up(&mut self, _: PeerUp, ctx: &mut Context) {
        self.waiting.iter().for_each(|task| self.hand_out(*task, ctx));
    }
}

fn nothing_is_lost(cluster: &Cluster<'_, Tasks>) -> Verdict {
    let (Some(queue), Some(worker)) = (cluster.state(N1), cluster.state(N2)) else {
        return Ok(());
    };
    match queue.accepted.iter().find(|task| !worker.applied.contains(task)) {
        Some(task) => Err(format!("task {task} is lost")),
        None => Ok(()),
    }
}

fn nothing_is_doubled(cluster: &Cluster<'_, Tasks>) -> Verdict {
    let Some(worker) = cluster.state(N2) else { return Ok(()) };
    let all: BTreeSet<u32> = worker.applied.iter().copied().collect();
    if all.len() == worker.applied.len() {
        return Ok(());
    }
    Err(format!("{:?} took effect", worker.applied))
}

fn tasks(defect: Option<Defect>) -> Scenario<Tasks> {
    let scenario = Scenario::of(move |_| Tasks { defect, ..Tasks::default() });
    scenario.trigger(N1, ms(100), &Put(1)).trigger(N1, ms(200), &Put(2))
}

#[test]
fn a_durable_queue_loses_and_doubles_nothing_wherever_a_node_crashes() {
    let (scenario, seen) = watch_rest(tasks(None), |cluster| {
        Some((cluster.state(N1)?.waiting.len(), cluster.state(N2)?.applied.len()))
    });
    explore(&scenario, &Bounds::within(&Tasks::MODEL, 2)).expect_complete();
    Simulation::new(&scenario, 2).run(0..2_000).expect_clean();
    assert!(seen.list().iter().all(|(waiting, _)| *waiting == 0), "{:?}", seen.list());
    assert!(seen.all().contains(&(0, 2)));
}

#[test]
fn a_task_that_leaves_the_queue_before_it_is_done_is_lost_in_a_crash() {
    let bounds = Bounds::within(&Tasks::MODEL, 2);
    let explored = explore(&tasks(Some(Defect::TakenOutFirst)), &bounds);
    let property = &explored.expect_failure().violation.property;
    assert_eq!(property, "every accepted task has taken effect");
}

#[test]
fn a_task_whose_effect_is_not_looked_up_takes_effect_twice_after_a_crash() {
    let bounds = Bounds::within(&Tasks::MODEL, 2);
    let explored = explore(&tasks(Some(Defect::NotLookedUp)), &bounds);
    let property = &explored.expect_failure().violation.property;
    assert_eq!(property, "no task takes effect twice");
}
