//! States that differ in names only are one, and a declaration that is not so is found out.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use synod_core::{
    Algorithm, Context, Event, Handlers, NodeId, Property, Quorum, Symmetry, Workload,
};
use synod_simulator::{Bounds, Exploration, Explored, NotSymmetric, Scenario};

use crate::kit::{N1, N2, N3, ms};

/// n1 asks all, and each answers once.
#[derive(Clone, Debug, Default, Hash, Serialize, Deserialize)]
struct Poll {
    votes: Quorum,
    answered: bool,
    manners: Manners,
    counted: u32,
    #[serde(skip)]
    skipped: u32,
}

/// In which way the algorithm is symmetric, or is not.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Serialize, Deserialize)]
enum Manners {
    #[default]
    Symmetric,
    /// Counts with names.
    Counts,
    /// Answers by name.
    Answers,
    /// Keeps something that its encoding leaves out.
    Skips,
    /// Draws a random number.
    Draws,
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "poll.ask", local)]
struct Ask;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "poll.question")]
struct Question;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "poll.answer")]
struct Answer(u64);

impl Algorithm for Poll {
    const NAME: &'static str = "poll";

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(Self::ask).on(Self::question).on(Self::answer)
    }

    fn symmetry() -> Symmetry<Self> {
        Symmetry::of_all()
    }

    fn workload() -> Workload {
        Workload::default().trigger(N1, ms(0), &Ask)
    }
}

impl Poll {
    fn ask(&mut self, _: Ask, ctx: &mut Context) {
        self.votes = Quorum::of(ctx.peers().len() - 1);
        let me = ctx.me();
        ctx.send_where(&Question, |peer| peer != me);
    }

    fn question(&mut self, _: Question, from: NodeId, ctx: &mut Context) {
        self.answered = true;
        let answer = match self.manners {
            Manners::Answers => u64::from(ctx.me().0),
            Manners::Draws => ctx.random() % 2,
            _ => 0,
        };
        ctx.send(from, &Answer(answer));
    }

    fn answer(&mut self, _: Answer, from: NodeId) {
        self.votes.add(from, ());
        match self.manners {
            Manners::Counts => self.counted += from.0,
            Manners::Skips => self.skipped += 1,
            _ => (),
        }
    }
}

fn poll(manners: Manners) -> Scenario<Poll> {
    Scenario::of(move |_| Poll { manners, ..Poll::default() }).with_workload()
}

fn folded(scenario: &Scenario<Poll>, nodes: u32) -> Explored {
    let exploration = Exploration::new(scenario, Bounds::calm(nodes));
    exploration.symmetric().expect("its nodes are interchangeable").run()
}

#[test]
fn a_poll_of_n_has_a_state_for_each_number_of_voters_at_each_stage() {
    for nodes in 3..=10_u64 {
        let found = folded(&poll(Manners::Symmetric), u32::try_from(nodes).expect("few"));
        found.expect_complete();
        // Each voter has the question under way, the answer under way, or has answered; before that,
        // nothing was asked. Of more than eight voters, the others are told apart.
        let stages = |alike: u64| (alike + 2) * (alike + 1) / 2;
        let expected = if nodes == 10 { 1 + 3 * stages(8) } else { 1 + stages(nodes - 1) };
        assert_eq!(found.states, expected, "{nodes} nodes");
    }
}

#[test]
fn what_the_orbits_hold_is_what_a_full_exploration_visits() {
    let scenario = poll(Manners::Symmetric);
    for nodes in 3..=6 {
        let full = Exploration::new(&scenario, Bounds::calm(nodes)).run();
        let found = folded(&scenario, nodes);
        let orbits = found.folded.expect("it was symmetric");
        assert_eq!(orbits.nodes, (2..=nodes).map(NodeId).collect::<Vec<_>>());
        assert_eq!(orbits.states, full.states, "{nodes} nodes");
        assert!(found.states < full.states);
        assert_eq!((full.folded, full.depth), (None, found.depth));
    }
}

#[test]
fn breadth_and_depth_first_and_two_threads_visit_as_many() {
    let scenario = poll(Manners::Symmetric);
    let exploration = || Exploration::new(&scenario, Bounds::calm(5)).symmetric();
    let all = [
        exploration().expect("it is declared").run(),
        exploration().expect("it is declared").threads(2).run(),
        exploration().expect("it is declared").depth_first().run(),
    ];
    let counts: BTreeSet<_> = all.iter().map(|it| (it.states, it.transitions)).collect();
    assert_eq!(counts.len(), 1, "{counts:?}");
}

#[test]
fn a_handler_that_knows_names_is_found_out_and_named() {
    for (manners, says) in [
        (Manners::Counts, "`poll.answer` from"),
        (Manners::Answers, "`poll.question` from n1 at"),
        (Manners::Skips, "encoded and decoded"),
        (Manners::Draws, "random numbers"),
    ] {
        let found = folded(&poll(manners), 3);
        let untrue = found.untrue.expect("it is not symmetric").to_string();
        assert!(untrue.contains(says), "{manners:?}: {untrue}");
        assert!(!found.complete && found.failure.is_none());
    }
}

#[test]
fn a_property_that_names_nodes_is_found_out() {
    // It does not hold, but does of each state that is visited for its orbit.
    let property = Property::always("n2 answers before n3", |cluster| {
        let has_answered = |node| cluster.state(node).is_some_and(|it: &Poll| it.answered);
        if has_answered(N3) && !has_answered(N2) {
            Err(String::from("n3 was first"))
        } else {
            Ok(())
        }
    });
    let scenario = poll(Manners::Symmetric).property(property);
    assert!(Exploration::new(&scenario, Bounds::calm(6)).run().failure.is_some());
    let found = folded(&scenario, 6);
    assert!(found.failure.is_none() && !found.complete);
    let untrue = found.untrue.expect("the property is not symmetric").reason;
    assert!(untrue.contains("`n2 answers before n3`"), "{untrue}");
}

#[test]
fn what_names_matter_to_is_refused() {
    let scenario = poll(Manners::Symmetric);
    let crashes = Bounds { crashes: 1, down_max: 1, ..Bounds::calm(3) };
    let refusal = |it: Exploration<'_, Poll>| it.symmetric().err();
    assert_eq!(refusal(Exploration::new(&scenario, crashes)), Some(NotSymmetric::Crashes));
    let calm = || Exploration::new(&scenario, Bounds::calm(3));
    assert_eq!(refusal(calm().live()), Some(NotSymmetric::Live));
    let of_two = Exploration::new(&scenario, Bounds::calm(2));
    assert_eq!(refusal(of_two), Some(NotSymmetric::TooFew), "n1 is asked, n2 is not");
    let silent = poll(Manners::Symmetric).symmetric(Symmetry::none());
    let refused = refusal(Exploration::new(&silent, Bounds::calm(3)));
    assert_eq!(refused, Some(NotSymmetric::Undeclared { algorithm: "poll" }));
}
