//! The same algorithm in the simulator, over memory and over QUIC comes to the same outcome.

use std::collections::BTreeMap;
use std::sync::Arc;

use synod_algorithms::{Bully, ChangRoberts, HelloWorld};
use synod_core::{NodeId, Transport};
use synod_simulator::{Scenario, Simulation};

use crate::world::{Nodes, memory, quic};

type Transports = BTreeMap<NodeId, Arc<dyn Transport>>;

/// Whether a summary holds a value under a name.
fn holds(summary: &BTreeMap<String, String>, name: &str, value: &str) -> bool {
    summary.get(name).is_some_and(|held| held == value)
}

#[test]
fn hello_in_the_simulator() {
    Simulation::new(&Scenario::of(|_| HelloWorld::default()), 2).run(0..1_000).expect_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn hello_over_memory() {
    hello(memory(2)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hello_over_quic() {
    hello(quic(2)).await;
}

/// n2 is greeted once with the same fields, and n1 hears one goodbye.
async fn hello(transports: Transports) {
    let nodes = Nodes::start(transports, |_| HelloWorld::default()).await;
    nodes
        .settle(|node, summary| match node {
            NodeId(1) => holds(summary, "goodbyes", "1"),
            _ => holds(summary, "greeted", "Bob"),
        })
        .await;
    nodes.end().await;
}

#[test]
fn the_highest_node_leads_in_the_simulator_and_its_successor_after_it_crashed() {
    let scenario = Scenario::of(|_| Bully::default());
    let report = Simulation::new(&scenario, 5).run(0..200);
    report.expect_clean();
    assert!(report.counts.crashes > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_highest_node_leads_over_memory_and_its_successor_after_it_is_gone() {
    bully(memory(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_highest_node_leads_over_quic_and_its_successor_after_it_is_gone() {
    bully(quic(5)).await;
}

async fn bully(transports: Transports) {
    let mut nodes = Nodes::start(transports, |_| Bully::default()).await;
    nodes.settle(|_, summary| holds(summary, "leader", "n5")).await;
    nodes.kill(NodeId(5)).await;
    nodes.settle(|_, summary| holds(summary, "leader", "n4")).await;
    nodes.end().await;
}

/// The numbers of five processes, as they stand on the ring.
fn numbered(node: NodeId) -> ChangRoberts {
    ChangRoberts::numbered(u64::from(node.0) * 7 % 11)
}

#[test]
fn the_highest_number_is_elected_in_the_simulator() {
    Simulation::new(&Scenario::of(numbered), 5).run(0..1_000).expect_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_highest_number_is_elected_over_memory() {
    chang_roberts(memory(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_highest_number_is_elected_over_quic() {
    chang_roberts(quic(5)).await;
}

async fn chang_roberts(transports: Transports) {
    let nodes = Nodes::start(transports, numbered).await;
    nodes.settle(|_, summary| holds(summary, "leader", "10")).await;
    nodes.end().await;
}
