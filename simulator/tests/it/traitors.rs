//! What traitors do to the others, and what no property sees of them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use synod_core::{
    Algorithm, Context, Event, Faults, Handlers, Model, NodeId, PeerDown, Property, Tolerance,
};
use synod_simulator::{
    Bounds, Fault, Outcome, Scenario, Settings, Simulation, StepKind, Strategy, Stream, run,
};

use crate::kit::{N1, N2, N3, ms, run_decided, watch, watch_rest};

const N4: NodeId = NodeId(4);

/// Every node says a number to all others, and once more a second later; it answers what it hears.
#[derive(Clone, Debug, Default, Hash)]
struct Talker {
    number: u32,
    heard: Vec<(NodeId, u32)>,
    thanked: Vec<(NodeId, u32)>,
    lost: Vec<NodeId>,
}

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "talker.say")]
struct Say(u32);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "talker.thanks")]
struct Thanks(u32);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "talker.again", local)]
struct Again;

impl Algorithm for Talker {
    const NAME: &'static str = "talker";
    const MODEL: Model = Model::ASYNCHRONOUS.tolerating(Faults::Byzantine(Tolerance::Third));

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(Self::say).on(Self::thanks).on(Self::again).on(Self::down)
    }

    fn start(&mut self, ctx: &mut Context) {
        self.number = 10 * ctx.me().0 + ctx.choose(2);
        self.speak(ctx);
        ctx.after(ms(1_000), &Again);
    }
}

impl Talker {
    fn speak(&self, ctx: &mut Context) {
        let me = ctx.me();
        ctx.send_where(&Say(self.number), |peer| peer != me);
    }

    fn say(&mut self, Say(number): Say, from: NodeId, ctx: &mut Context) {
        self.heard.push((from, number));
        ctx.send(from, &Thanks(number));
    }

    fn thanks(&mut self, Thanks(number): Thanks, from: NodeId) {
        assert_ne!(number, 99, "nobody says 99");
        self.thanked.push((from, number));
    }

    fn again(&mut self, _: Again, ctx: &mut Context) {
        self.number += 100;
        self.speak(ctx);
    }

    fn down(&mut self, PeerDown { peer, .. }: PeerDown) {
        self.lost.push(peer);
    }
}

fn talkers() -> Scenario<Talker> {
    Scenario::of(|_| Talker::default())
}

/// Four nodes, one of them a traitor.
fn world() -> Settings {
    Settings { traitors: 1, time_us: 4_000_000, ..Settings::calm(4) }
}

/// n1 is a traitor of a kind from the start on; what else is decided.
fn betrayed(kind: u64, more: &[&str]) -> Outcome {
    betrayed_by(&talkers(), kind, more)
}

fn betrayed_by(scenario: &Scenario<Talker>, kind: u64, more: &[&str]) -> Outcome {
    let kind = format!("traitor.kind 1 #1 = {kind}");
    let mut lines = vec!["traitor.node 1 #1 = 1"];
    lines.extend((!kind.ends_with(" 0")).then_some(kind.as_str()));
    let outcome = run_decided(scenario, &world(), &[&lines, more].concat());
    assert_eq!((outcome.violation.as_ref(), outcome.counts.traitors), (None, 1));
    outcome
}

/// What each node was told by n1: numbers of `talker.say`, in order.
fn told_by_n1(outcome: &Outcome) -> BTreeMap<NodeId, Vec<u32>> {
    told(outcome, "talker.say")
}

fn told(outcome: &Outcome, event: &str) -> BTreeMap<NodeId, Vec<u32>> {
    let mut told: BTreeMap<NodeId, Vec<u32>> = BTreeMap::new();
    let steps = outcome.trace.steps.iter();
    for step in steps.filter(|it| it.kind == StepKind::Deliver && it.event == event) {
        if step.message.is_some_and(|message| message.from == N1) {
            let number = step.payload.trim_matches(|it: char| !it.is_ascii_digit());
            let number = number.parse().expect("a number");
            told.entry(step.node.expect("a node")).or_default().push(number);
        }
    }
    told
}

fn all_told(of_n2: &[u32], of_n3: &[u32], of_n4: &[u32]) -> BTreeMap<NodeId, Vec<u32>> {
    let all = [(N2, of_n2), (N3, of_n3), (N4, of_n4)].into_iter();
    all.filter(|(_, told)| !told.is_empty()).map(|(node, told)| (node, told.to_vec())).collect()
}

/// What the trace says that n1 did.
fn deeds(outcome: &Outcome) -> Vec<String> {
    let steps = outcome.trace.steps.iter().filter(|step| step.node == Some(N1));
    let said = |step: &synod_simulator::Step| match step.kind {
        StepKind::Fault => vec![step.event.clone()],
        _ => step.log.clone(),
    };
    steps.flat_map(said).collect()
}

#[test]
fn a_silent_traitor_sends_nothing_and_no_link_is_lost() {
    let (scenario, seen) = watch(talkers(), |cluster| {
        Some(cluster.live().map(|(node, state)| (node, state.lost.len())).collect::<Vec<_>>())
    });
    let outcome = betrayed_by(&scenario, 0, &[]);
    assert_eq!(
        (told_by_n1(&outcome), deeds(&outcome)),
        (BTreeMap::new(), vec!["is silent".into()])
    );
    // Three nodes say it twice to three others; what each hears of another one it thanks for.
    assert_eq!(outcome.counts.sent, 18 + 12);
    assert_eq!(outcome.counts.lost, 0, "messages reach a traitor");
    assert_eq!(seen.list(), [vec![(N2, 0), (N3, 0), (N4, 0)]], "and nobody looks into it");
}

#[test]
fn a_traitor_withholds_some_messages_from_some_receivers() {
    let outcome = betrayed(1, &["withhold talker.say n1>n2 #1 = 1"]);
    assert_eq!(told_by_n1(&outcome), all_told(&[110], &[10, 110], &[10, 110]));
    assert_eq!(deeds(&outcome), ["withholds", "withholds Say(10) from n2"]);
}

#[test]
fn a_traitor_replays_what_it_has_received_under_its_own_name() {
    // The first that n1 receives is n2's number; of three others, it goes to the second.
    let early = "delay talker.say n3>n1 #1 = 5000";
    let outcome = betrayed(2, &["replay n1 #1 = 2", early, "delay talker.say n4>n1 #1 = 5000"]);
    assert_eq!(told_by_n1(&outcome), all_told(&[10, 110], &[10, 20, 110], &[10, 110]));
    assert_eq!(deeds(&outcome), ["replays", "replays Say(20) to n3"]);
}

#[test]
fn a_traitor_equivocates_with_changed_copies_and_with_what_it_knows() {
    // n2 hears the number with one byte changed; n3 what n2 was told; n4 the truth.
    let lies = ["equivocate talker.say n1>n2 #1 = 1", "equivocate talker.say n1>n3 #1 = 1"];
    let outcome = betrayed(3, &lies);
    assert_eq!(told_by_n1(&outcome), all_told(&[11, 110], &[11, 110], &[10, 110]));
    let expected = [
        "equivocates",
        "tells n2 Say(11) instead of Say(10)",
        "tells n3 Say(11) instead of Say(10)",
    ];
    assert_eq!(deeds(&outcome), expected);
}

#[test]
fn a_traitor_mutates_events_into_other_events_of_the_type() {
    let outcome = betrayed(4, &["mutate talker.say n1>n3 #1 = 2"]);
    assert_eq!(told_by_n1(&outcome), all_told(&[10, 110], &[9, 110], &[10, 110]));
    assert_eq!(deeds(&outcome), ["mutates", "tells n3 Say(9) instead of Say(10)"]);
}

#[test]
fn twins_talk_each_to_its_own_part_and_each_has_its_own_timers() {
    // n2 and n3 talk to the second twin, which has drawn another number.
    let outcome = betrayed(5, &["traitor.side 1 #1 = 6", "choose n1 #2 = 1"]);
    assert_eq!(told_by_n1(&outcome), all_told(&[11, 111], &[11, 111], &[10, 110]));
    let thanks = told(&outcome, "talker.thanks");
    assert_eq!(thanks, all_told(&[20, 120], &[30, 130], &[40, 140]));
    assert_eq!(deeds(&outcome), ["has a twin"]);
}

/// Says a number that no talker has, and something that no talker knows.
#[derive(Debug, Default)]
struct Liar;

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "liar.noise")]
struct Noise;

impl Algorithm for Liar {
    const NAME: &'static str = "liar";

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(Self::say).on(Self::thanks)
    }

    fn start(&mut self, ctx: &mut Context) {
        ctx.send(N2, &Say(u32::MAX));
        ctx.send(N3, &Noise);
    }
}

impl Liar {
    fn say(&mut self, _: Say) {
        panic!("a traitor's own mistakes are nobody's");
    }

    fn thanks(&mut self, _: Thanks) {}
}

#[test]
fn a_traitor_runs_another_program_and_what_the_others_refuse_is_no_violation() {
    let scenario = talkers().traitor(|_| Liar);
    let outcome = betrayed_by(&scenario, 6, &[]);
    assert_eq!(told_by_n1(&outcome), all_told(&[u32::MAX], &[], &[]));
    assert_eq!(deeds(&outcome), ["runs another program"]);
    let noise = outcome.trace.steps.iter().filter(|step| step.kind == StepKind::Deliver);
    assert!(noise.filter(|step| step.node == Some(N3)).any(|step| step.message.is_some()));
}

#[test]
fn another_program_is_drawn_only_where_there_is_one() {
    let kinds = |scenario: &Scenario<Talker>| {
        let of = |seed| run(scenario, &world(), Stream::seeded(seed), false).0.treasons;
        (0..300).flat_map(of).collect::<BTreeSet<&str>>()
    };
    let usual = ["equivocates", "has a twin", "is silent", "mutates", "replays", "withholds"];
    assert_eq!(kinds(&talkers()), BTreeSet::from(usual));
    let mut all = BTreeSet::from(usual);
    all.insert("runs another program");
    assert_eq!(kinds(&talkers().traitor(|_| Liar)), all);
}

#[test]
fn a_late_traitor_is_honest_until_then() {
    let late = "traitor.at 1 #1 = 500000";
    let silent = betrayed(0, &[late]);
    assert_eq!(told_by_n1(&silent), all_told(&[10], &[10], &[10]));
    // A twin that comes later begins at the beginning, so it says its first number.
    let twins = betrayed(5, &[late, "traitor.side 1 #1 = 2"]);
    assert_eq!(told_by_n1(&twins), all_told(&[10, 10, 110], &[10, 110], &[10, 110]));
    let other = betrayed_by(&talkers().traitor(|_| Liar), 6, &[late]);
    assert_eq!(told_by_n1(&other), all_told(&[10, u32::MAX], &[10], &[10]));
}

#[test]
fn a_panic_that_a_traitor_brings_about_in_another_node_is_a_violation() {
    let scenario = Scenario::of(|_| Talker::default()).traitor(|_| Poisoner);
    let lines = ["traitor.node 1 #1 = 1", "traitor.kind 1 #1 = 6"];
    let outcome = run_decided(&scenario, &world(), &lines);
    let violation = outcome.violation.expect("n4 believes it");
    assert_eq!(violation.property, "no handler panics");
    assert!(violation.reason.starts_with("n4: "), "{}", violation.reason);
}

/// Thanks n4 for what it has not said.
#[derive(Debug, Default)]
struct Poisoner;

impl Algorithm for Poisoner {
    const NAME: &'static str = "poisoner";

    fn handlers() -> Handlers<Self> {
        Handlers::new()
    }

    fn start(&mut self, ctx: &mut Context) {
        ctx.send(N4, &Thanks(99));
    }
}

#[test]
fn never_more_nodes_are_bad_than_the_model_allows_whatever_they_are() {
    let few_are_bad = |cluster: &synod_core::Cluster<'_, Talker>| {
        let (size, live) = (cluster.size(), cluster.live().count());
        let most = Tolerance::Third.of(size);
        let bad = size - live;
        if bad <= most { Ok(()) } else { Err(format!("{bad} of {size} are bad")) }
    };
    let scenario = talkers().property(Property::always("few are bad", few_are_bad));
    let simulation = Simulation::new(&scenario, 7).sizes([3, 4, 6, 7]).with(Fault::Leave);
    let report = simulation.settings(|it| it.time_us = 2_000_000).run(0..600);
    report.expect_clean();
    assert!(report.dropped.is_empty());
    let counts = report.counts;
    assert!(100 < counts.traitors && 50 < counts.crashes && 20 < counts.leaves, "{counts:?}");
    assert_eq!(report.treasons.len(), 6, "{:?}", report.treasons);
    assert!(200 < report.drawn["byzantine"], "{:?}", report.drawn);
}

#[test]
fn a_model_without_byzantine_nodes_meets_them_only_if_it_is_asked_for() {
    let model = Model::ASYNCHRONOUS.tolerating(Faults::CrashStop(Tolerance::Minority));
    let scenario = Scenario::new("talker", model, |_| Talker::default()).expect("one algorithm");
    let within = Simulation::new(&scenario, 4).run(0..100);
    assert_eq!((within.counts.traitors, within.dropped.len()), (0, 0));
    let beyond = Simulation::new(&scenario, 4).with(Fault::Byzantine).run(0..100);
    assert!(20 < beyond.counts.traitors);
    let told = beyond.dropped.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(told, ["every node follows the algorithm until it stops"]);
}

#[test]
fn runs_with_traitors_come_to_rest_and_are_functions_of_their_choices() {
    let (scenario, seen) = watch_rest(talkers(), |cluster| Some(cluster.live().count()));
    let report = Simulation::new(&scenario, 4).strategy(Strategy::Random).run(0..256);
    report.expect_clean();
    assert!(seen.all().contains(&3), "with a traitor");
    assert_eq!(report.audited, 4);
    assert!(report.counts.sent < 256 * 200, "{:?}", report.counts);
}

#[test]
fn an_exploration_says_that_it_has_no_traitors() {
    assert_eq!(Bounds::calm(4).not_explored(&Talker::MODEL), ["traitors"]);
    assert!(Bounds::calm(3).not_explored(&Talker::MODEL).is_empty(), "none of three may be one");
    assert!(Bounds::calm(4).not_explored(&Model::ASYNCHRONOUS).is_empty());
}
