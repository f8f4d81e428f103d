//! Collectors of answers are explored once for each set of answers, and only if that is right.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use synod_core::{Algorithm, Context, Event, Handlers, NodeId, Property, Random};
use synod_simulator::{Bounds, Exploration, Explored, Scenario};

use crate::kit::{N1, N2, ms, watch_rest};

/// n1 collects a number of every other node, and tells all what it has when it has them all, or when
/// it is late.
#[derive(Clone, Debug, Default, Hash)]
struct Collector {
    kind: Kind,
    sum: u32,
    heard: BTreeSet<NodeId>,
    line: Vec<u32>,
    told: Vec<u32>,
}

#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
enum Kind {
    #[default]
    Sums,
    /// Keeps the order of the answers.
    Lines,
    /// Has enough with one, and remembers whose it was.
    Remembers,
    /// Tells one node at once, on a lane that keeps order.
    Tells,
    /// Indicates each sum.
    Indicates,
    /// Chooses.
    Chooses,
    /// Waits anew for more with each answer, and tells what it has when none comes.
    Waits,
    /// Sends a question with the first answer, and keeps what it has when that is answered.
    Begins,
    /// Sums, with more around it that a seed has made up.
    MadeUp { seed: u64, late: bool },
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "collector.answer")]
struct Answer(u32);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "collector.told")]
struct Told(u32);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "collector.word")]
struct Word(u32);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "collector.sum", local)]
struct Sum(u32);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "collector.late", local)]
struct Late;

impl Collector {
    fn answer(&mut self, Answer(number): Answer, from: NodeId, ctx: &mut Context) {
        let has_enough = self.kind == Kind::Remembers && !self.heard.is_empty();
        if has_enough || !self.heard.insert(from) {
            return;
        }
        self.sum += number;
        match self.kind {
            Kind::Lines => self.line.push(number),
            Kind::Tells => ctx.send(N2, &Told(number)),
            Kind::Indicates => ctx.trigger(&Sum(self.sum)),
            Kind::Chooses => self.sum += ctx.choose(2),
            Kind::Waits => ctx.after(ms(10), &Late),
            Kind::Begins if self.heard.len() == 1 => ctx.send(N2, &Told(0)),
            _ => (),
        }
        if self.heard.len() + 1 == ctx.peers().len() {
            self.tell(ctx);
        }
    }

    fn tell(&self, ctx: &mut Context) {
        let me = ctx.me();
        ctx.send_where(&Told(self.sum), |peer| peer != me);
        ctx.cancel(&Late);
    }

    fn told(&mut self, Told(sum): Told, ctx: &mut Context) {
        self.told.push(sum);
        if self.kind == Kind::Begins && sum == 0 {
            ctx.send(N1, &Word(0));
        }
        if let Kind::MadeUp { seed, .. } = self.kind
            && drawn(seed, [u64::from(ctx.me().0), u64::from(sum), 7]).is_multiple_of(3)
        {
            ctx.send(N1, &Word(sum));
        }
    }

    fn word(&mut self, Word(word): Word, ctx: &mut Context) {
        self.sum = self.sum * 2 + word;
        self.line.push(word);
        if let Kind::MadeUp { seed, .. } = self.kind
            && ctx.me() != N1
            && drawn(seed, [u64::from(ctx.me().0), u64::from(word), 8]).is_multiple_of(2)
        {
            ctx.send(N1, &Answer(word));
        }
    }
}

fn drawn(seed: u64, what: [u64; 3]) -> u64 {
    what.iter().fold(seed, |all, it| Random::new(all ^ it.wrapping_mul(0x9e37)).next_u64())
}

impl Algorithm for Collector {
    const NAME: &'static str = "collector";

    fn handlers() -> Handlers<Self> {
        let late = |it: &mut Self, _: Late, ctx: &mut Context| it.tell(ctx);
        Handlers::new().on_commuting(Self::answer).on(Self::told).on(Self::word).on(late)
    }

    fn start(&mut self, ctx: &mut Context) {
        let me = ctx.me();
        match self.kind {
            Kind::MadeUp { late: true, .. } if me == N1 => ctx.after(ms(10), &Late),
            Kind::MadeUp { seed, .. } if me != N1 => {
                let to = 1 + drawn(seed, [u64::from(me.0), 0, 0]) % ctx.peers().len() as u64;
                let to = NodeId(u32::try_from(to).expect("a node"));
                if to != me {
                    ctx.send(to, &Word(me.0));
                }
            }
            _ => (),
        }
        if me != N1 {
            ctx.send(N1, &Answer(me.0));
        }
    }
}

/// The same with a property for which the local states in between have to be visited.
fn silent(scenario: Scenario<Collector>) -> Scenario<Collector> {
    scenario.property(Property::local("each local state is looked at", |_, _| Ok(())))
}

fn collector(kind: Kind) -> Scenario<Collector> {
    Scenario::of(move |_| Collector { kind, ..Collector::default() })
}

fn reduced(scenario: &Scenario<Collector>, nodes: u32) -> Explored {
    let exploration = Exploration::new(scenario, Bounds::calm(nodes)).reduced();
    exploration.expect("nothing that it would miss").run()
}

#[test]
fn answers_come_in_one_order_instead_of_all() {
    let mut orders = 1;
    for others in 1..=5_u32 {
        orders *= u64::from(others);
        let found = reduced(&collector(Kind::Sums), others + 1);
        found.expect_complete();
        assert_eq!((found.executions, &found.collected[..]), (1, &["collector.answer"][..]));
        let all = reduced(&silent(collector(Kind::Sums)), others + 1);
        all.expect_complete();
        assert_eq!((all.executions, &all.collected[..]), (orders, &[][..]), "{others} others");
    }
}

#[test]
fn a_collector_whose_answers_do_not_commute_is_found_out_and_named() {
    for (kind, says) in [
        (Kind::Lines, "two different states"),
        (Kind::Remembers, "two different states"),
        (Kind::Tells, "two different states"),
        (Kind::Indicates, "indicates something else"),
        (Kind::Chooses, "makes a choice"),
    ] {
        let found = reduced(&collector(kind), 4);
        let untrue = found.untrue.expect("its answers do not commute").to_string();
        assert!(untrue.starts_with("not commuting: `collector.answer` at n1: "), "{untrue}");
        assert!(untrue.contains(says), "{kind:?}: {untrue}");
        assert!(!found.complete);
    }
}

#[test]
fn a_collector_in_one_order_comes_to_the_same_ends_as_in_all() {
    let (mut fewer, mut ends) = (0, 0);
    for seed in 0..32 {
        let nodes = 3 + u32::from(seed % 4 == 0);
        let kind = Kind::MadeUp { seed, late: seed % 3 == 0 };
        let look = || {
            watch_rest(collector(kind), |cluster| {
                Some(cluster.live().map(|(_, it)| format!("{it:?}")).collect::<Vec<_>>())
            })
        };
        let ((scenario, expected), (collecting, found)) = (look(), look());
        let bounds = || Bounds { states_max: 20_000, ..Bounds::calm(nodes) };
        let full = Exploration::new(&scenario, bounds()).run();
        if full.cut.is_some() {
            continue;
        }
        let (every_order, _) = look();
        let all = reduced(&silent(every_order), nodes);
        let one = reduced(&collecting, nodes);
        one.expect_complete();
        assert_eq!(found.all(), expected.all(), "seed {seed}");
        assert!(one.executions <= all.executions, "seed {seed}");
        fewer += usize::from(one.executions < all.executions);
        ends += found.all().len();
    }
    assert!(fewer > 12 && ends > 80, "{fewer}, {ends}");
}

#[test]
fn what_comes_between_answers_comes_between_any_of_them() {
    for kind in [Kind::Waits, Kind::Begins] {
        for nodes in [3, 4] {
            let look = || {
                watch_rest(collector(kind), |cluster| {
                    Some(cluster.live().map(|(_, it)| format!("{it:?}")).collect::<Vec<_>>())
                })
            };
            let ((scenario, expected), (collecting, found)) = (look(), look());
            Exploration::new(&scenario, Bounds::calm(nodes)).run().expect_complete();
            let one = reduced(&collecting, nodes);
            one.expect_complete();
            assert_eq!(one.collected, ["collector.answer"]);
            assert_eq!(found.all(), expected.all(), "{kind:?}, {nodes} nodes");
        }
    }
}
