//! E11: a node that comes late, and whose program registers its handlers in another order, reads
//! everything as it was meant. The same in the simulator and over QUIC.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use synod_core::{
    BuildError, Catalogue, Cluster, Context, EnvelopeRef, Event, EventId, HandlerSet, Handlers,
    Model, NodeId, PeerUp, Property, Stack, StepError, Summary, Verdict,
};
use synod_runtime::NodeBuilder;
use synod_simulator::{Fault, Scenario, Script, Settings, Simulation};

use crate::world::{PATIENCE, quic, until};

const N1: NodeId = NodeId(1);
const N2: NodeId = NodeId(2);

#[derive(Event, Clone, Debug, Serialize, Deserialize)]
#[event(name = "joiner.number")]
struct Number(u64);

/// Decodes as a [`Number`] and something behind it.
#[derive(Event, Clone, Debug, Serialize, Deserialize)]
#[event(name = "joiner.words")]
struct Words(u8, String);

/// How often a node has heard of each.
#[derive(Clone, Debug, Default, Hash)]
struct Heard {
    numbers: usize,
    words: usize,
}

impl Heard {
    fn number(&mut self, Number(number): Number) {
        assert_eq!(number, 7);
        self.numbers += 1;
    }

    fn words(&mut self, Words(number, words): Words) {
        assert_eq!((number, words.as_str()), (7, "seven"));
        self.words += 1;
    }

    /// Whoever comes up hears of both.
    fn peer_up(&mut self, up: PeerUp, ctx: &mut Context) {
        ctx.send(up.peer, &Number(7));
        ctx.send(up.peer, &Words(7, String::from("seven")));
    }
}

fn one_order() -> Handlers<Heard> {
    Handlers::new().on(Heard::number).on(Heard::words).on(Heard::peer_up)
}

fn another_order() -> Handlers<Heard> {
    Handlers::new().on(Heard::peer_up).on(Heard::words).on(Heard::number)
}

/// Nodes of one simulation share their tables, so here are those of both programs.
#[derive(Clone, Debug, Hash)]
struct Program {
    is_another: bool,
    heard: HandlerSet<Heard>,
}

type Tables = (Arc<Handlers<Heard>>, Arc<Handlers<Heard>>);

impl Program {
    fn of(node: NodeId) -> Self {
        Self { is_another: node == N2, heard: HandlerSet::new(Heard::default()) }
    }

    fn table<'t>(&self, tables: &'t Tables) -> &'t Arc<Handlers<Heard>> {
        if self.is_another { &tables.1 } else { &tables.0 }
    }
}

impl Stack for Program {
    type Tables = Tables;

    fn tables(&self) -> Tables {
        (Arc::new(one_order()), Arc::new(another_order()))
    }

    fn catalogue(tables: &Tables, out: &mut Catalogue) -> Result<(), BuildError> {
        HandlerSet::catalogue(&tables.0, out)?;
        HandlerSet::catalogue(&tables.1, out)
    }

    fn start(&mut self, tables: &Tables, ctx: &mut Context) {
        let table = Arc::clone(self.table(tables));
        self.heard.start(&table, ctx);
    }

    fn listens_to(tables: &Tables, event: EventId) -> bool {
        HandlerSet::listens_to(&tables.0, event)
    }

    fn replay(
        &mut self,
        tables: &Tables,
        record: EnvelopeRef<'_>,
        ctx: &mut Context,
    ) -> Result<bool, StepError> {
        let table = Arc::clone(self.table(tables));
        self.heard.replay(&table, record, ctx)
    }

    fn admit(
        &self,
        tables: &Tables,
        envelope: EnvelopeRef<'_>,
        from: NodeId,
        ctx: &mut Context,
    ) -> Result<bool, StepError> {
        self.heard.admit(self.table(tables), envelope, from, ctx)
    }

    fn dispatch(
        &mut self,
        tables: &Tables,
        envelope: EnvelopeRef<'_>,
        from: NodeId,
        ctx: &mut Context,
    ) -> Result<bool, StepError> {
        let table = Arc::clone(self.table(tables));
        self.heard.dispatch(&table, envelope, from, ctx)
    }

    fn summary(&self) -> Summary {
        self.heard.summary()
    }
}

fn all_have_heard(cluster: &Cluster<'_, Program>) -> Verdict {
    let others = cluster.size() - 1;
    for (node, program) in cluster.live() {
        let heard = program.heard.state();
        if (heard.numbers, heard.words) != (others, others) {
            return Err(format!("{node} has heard {heard:?}"));
        }
    }
    Ok(())
}

fn scenario() -> Scenario<Program> {
    let scenario = Scenario::new("joiner", Model::ASYNCHRONOUS, Program::of);
    let scenario = scenario.expect("one table of events");
    scenario.property(Property::at_rest("all have heard of both", all_have_heard))
}

#[test]
fn e11_a_late_joiner_with_another_order_of_registration_decodes_everything_in_the_simulator() {
    let scenario = scenario();
    let settings = Settings { joins: 1, time_us: 5_000_000, ..Settings::calm(3) };
    let replay = Script::new(settings)
        .decide("join.node 1", 2)
        .decide("join.at 1", 2_000_000)
        .run(&scenario);
    assert_eq!((replay.violation, replay.found), (None, 2));
    Simulation::new(&scenario, 3).with(Fault::Join).run(0..200).expect_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e11_a_late_joiner_with_another_order_of_registration_decodes_everything_over_quic() {
    let mut transports = quic(2);
    let mut start = |node, handlers: fn() -> Handlers<Heard>| {
        let make = move || HandlerSet::with(Heard::default(), handlers());
        let transport = transports.remove(&node).expect("a transport");
        NodeBuilder::new(node, vec![N1, N2], make).transport(transport).start()
    };
    let one = start(N1, one_order).await.expect("the node starts");
    tokio::time::sleep(Duration::from_millis(50)).await;
    let two = start(N2, another_order).await.expect("the node starts");
    for node in [&one, &two] {
        let handled = |name| {
            let events = node.status().events;
            events.iter().find(|event| event.name == name).map_or(0, |event| event.handled)
        };
        until("both events", || (handled(Number::NAME), handled(Words::NAME)) == (1, 1)).await;
        let status = node.status();
        assert!(status.drops.is_empty() && status.refusals.is_empty(), "{status:?}");
        assert!(status.running && status.last_panic.is_none(), "{status:?}");
    }
    for node in [one, two] {
        node.shutdown(PATIENCE).await;
    }
}
