use synod_simulator::{Bounds, Scenario, Settings, Simulation, Stream, explore, run};

use super::*;

/// The ring on which the numbers stand in the order of `numbers`.
fn ring(numbers: &[u64]) -> Scenario<ChangRoberts> {
    let numbers = numbers.to_vec();
    Scenario::of(move |node| ChangRoberts::numbered(numbers[node.0 as usize - 1]))
}

/// All orders of 1 to `n`, by Heap's algorithm.
fn orders(n: u64) -> Vec<Vec<u64>> {
    fn permute(size: usize, order: &mut Vec<u64>, all: &mut Vec<Vec<u64>>) {
        if size <= 1 {
            return all.push(order.clone());
        }
        for index in 0..size {
            permute(size - 1, order, all);
            order.swap(if size.is_multiple_of(2) { index } else { 0 }, size - 1);
        }
    }
    let (mut order, mut all) = ((1..=n).collect::<Vec<_>>(), Vec::new());
    permute(order.len(), &mut order, &mut all);
    all
}

/// The messages of one run on `order`, without the announcement.
fn claims(order: &[u64], seed: u64) -> u64 {
    let nodes = u32::try_from(order.len()).expect("a small ring");
    let (outcome, _) = run(&ring(order), &Settings::calm(nodes), Stream::seeded(seed), false);
    assert_eq!(outcome.violation, None);
    outcome.counts.sent - u64::from(nodes)
}

#[test]
fn three_nodes_in_both_orders_and_every_schedule() {
    let model = ChangRoberts::MODEL;
    for (numbers, states) in [([1, 2, 3], 14), ([1, 3, 2], 17)] {
        let explored = explore(&ring(&numbers), &Bounds::within(&model, 3));
        explored.expect_complete();
        assert_eq!(explored.states, states, "the header says so");
    }
}

#[test]
fn five_nodes_by_ten_thousand_seeds() {
    Simulation::new(&ring(&[3, 1, 5, 2, 4]), 5).run(0..10_000).expect_clean();
}

/// Chang and Roberts 1979, section 3: the mean over all orders is n (1 + 1/2 + .. + 1/n).
#[test]
fn the_mean_over_all_orders_is_n_times_the_harmonic_number() {
    for n in 2..=7_u64 {
        let all = orders(n);
        let total: u64 = all.iter().map(|order| claims(order, n)).sum();
        // n · H(n) = n/1 + n/2 + .. + n/n, and 420 is divided by every number up to 7.
        let mean_times_420: u64 = (1..=n).map(|k| n * 420 / k).sum();
        assert_eq!(total * 420, mean_times_420 * all.len() as u64, "{n} processes");
    }
}

#[test]
fn the_worst_order_takes_half_of_n_times_n_plus_one_and_the_best_two_n_minus_one() {
    for n in 2..=7_u64 {
        let counts: Vec<u64> = orders(n).iter().map(|order| claims(order, 7)).collect();
        assert_eq!(counts.iter().max(), Some(&(n * (n + 1) / 2)), "{n} processes");
        assert_eq!(counts.iter().min(), Some(&(2 * n - 1)), "{n} processes");
    }
}

#[test]
fn the_messages_do_not_depend_on_the_delays() {
    let order = [4, 2, 7, 1, 6, 3, 5];
    let counts: Vec<u64> = (0..100).map(|seed| claims(&order, seed)).collect();
    assert!(counts.iter().all(|count| *count == counts[0]), "{counts:?}");
}

#[test]
fn every_node_follows_the_highest_number_wherever_it_stands() {
    let follows =
        Property::at_rest("everybody follows 9", |cluster: &Cluster<'_, ChangRoberts>| {
            let other = cluster.live().find(|(_, state)| state.leader() != Some(9));
            other
                .map_or(Ok(()), |(node, state)| Err(format!("{node} follows {:?}", state.leader())))
        });
    for numbers in [[2, 9, 4], [9, 2, 4], [4, 2, 9]] {
        let scenario = ring(&numbers).property(follows.clone());
        Simulation::new(&scenario, 3).run(0..100).expect_clean();
    }
}

#[test]
fn a_trace_tells_who_is_chosen() {
    let (outcome, _) = run(&ring(&[1, 2]), &Settings::calm(2), Stream::seeded(1), true);
    let outputs: Vec<&String> = outcome.trace.steps.iter().flat_map(|it| &it.outputs).collect();
    assert_eq!(outputs, ["Chosen(2)", "Chosen(2)"]);
}
