//! Programs that are no function of what they are given are named, whatever comes of it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use synod_core::{Algorithm, Cluster, Context, Event, Handlers, NodeId, Property};
use synod_simulator::{Divergence, Scenario, Simulation};

/// Sends a number that depends on how often it was run in this process.
#[derive(Clone, Debug, Default, Hash, Serialize)]
struct Leaky;

static RUNS: AtomicU64 = AtomicU64::new(0);

#[derive(Event, Debug, Serialize, Deserialize)]
#[event(name = "leaky.number")]
struct Number(u64);

impl Algorithm for Leaky {
    const NAME: &'static str = "leaky";

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(|_: &mut Self, _: Number| ())
    }

    fn start(&mut self, ctx: &mut Context) {
        let me = ctx.me();
        let number = Number(RUNS.fetch_add(1, Ordering::Relaxed));
        ctx.send_where(&number, |peer| peer != me);
    }
}

#[test]
fn a_handler_that_is_no_function_of_its_inputs_is_named() {
    let scenario = Scenario::of(|_| Leaky);
    let report = Simulation::new(&scenario, 2).run(0..100);
    let divergence = report.divergence.expect("two executions differ");
    assert_eq!((divergence.step, divergence.node), (Some(0), Some(NodeId(1))));
    let text = divergence.to_string();
    for words in
        ["not deterministic: step 0", "n1 on starts", "    o.0.d  \"Number(", "usual causes"]
    {
        assert!(text.contains(words), "{words}: {text}");
    }
}

/// Passes on a number that depends on how often it was run in this process.
#[derive(Clone, Debug, Default, Hash, Serialize)]
struct Forgetful {
    heard: u64,
}

impl Algorithm for Forgetful {
    const NAME: &'static str = "forgetful";

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(Self::number)
    }

    fn start(&mut self, ctx: &mut Context) {
        let me = ctx.me();
        ctx.send_where(&Number(0), |peer| peer != me);
    }
}

/// The line of this file that registers the handler.
fn line_of_registration() -> usize {
    let lines = include_str!("audits.rs").lines();
    let mut registers = lines.enumerate().filter(|(_, line)| line.contains(".on(Self::number)"));
    registers.next().map(|(index, _)| index + 1).expect("the handler is registered")
}

impl Forgetful {
    fn number(&mut self, _: Number) {
        self.heard = RUNS.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_handler_with_a_memory_of_its_own_is_named_with_the_line_that_registers_it() {
    let scenario = Scenario::of(|_| Forgetful::default());
    let report = Simulation::new(&scenario, 2).run(0..100);
    let divergence = report.divergence.expect("two executions differ");
    assert_eq!(divergence.event, "leaky.number");
    let text = divergence.to_string();
    let place = format!("tests/it/audits.rs:{}", line_of_registration());
    for words in ["on leaky.number", "Forgetful::number`, registered at ", place.as_str()] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

/// Puts what it hears in an order that is another one each time, and does nothing with it.
#[derive(Debug, Default)]
struct Disordered {
    order: Vec<u64>,
    #[expect(
        clippy::disallowed_types,
        reason = "users have it, and it is no fault as long as they only look up"
    )]
    looked_up: std::collections::HashMap<u64, u64>,
}

impl Algorithm for Disordered {
    const NAME: &'static str = "disordered";

    fn handlers() -> Handlers<Self> {
        Handlers::new().on(Self::number)
    }

    fn start(&mut self, ctx: &mut Context) {
        let me = ctx.me();
        ctx.send_where(&Number(0), |peer| peer != me);
    }
}

/// Whether [`Disordered`] keeps an order.
static KEEPS_ORDER: AtomicBool = AtomicBool::new(false);

impl Disordered {
    fn number(&mut self, _: Number) {
        self.looked_up = (0..20).map(|it| (it, it)).collect();
        if KEEPS_ORDER.load(Ordering::Relaxed) {
            self.order = self.looked_up.keys().copied().collect();
        }
    }
}

#[test]
fn a_state_that_nothing_shows_is_compared_and_told_and_the_order_of_a_map_is_no_part_of_it() {
    let scenario = Scenario::of(|_| Disordered::default());
    let report = Simulation::new(&scenario, 3).run(0..200);
    assert_eq!((report.audited, report.divergence), (4, None));
    KEEPS_ORDER.store(true, Ordering::Relaxed);
    let report = Simulation::new(&scenario, 3).run(0..100);
    let divergence = report.divergence.expect("two executions differ");
    let [Some(first), Some(second)] = &divergence.states else { panic!("{divergence:?}") };
    assert_ne!(first, second);
    let text = divergence.to_string();
    for words in
        ["on leaky.number", "Disordered::number`, registered at ", "\n    order.", " more places\n"]
    {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(!text.contains("looked_up"), "what is the same both times is left out: {text}");
}

/// Is bad when its flag is up.
#[derive(Debug, Default)]
struct Moody {
    bad: bool,
}

/// How often [`Moody`] has started, and at which starts it is bad.
static STARTS: AtomicU64 = AtomicU64::new(0);
static IS_BAD: AtomicU64 = AtomicU64::new(0);

impl Algorithm for Moody {
    const NAME: &'static str = "moody";

    fn handlers() -> Handlers<Self> {
        Handlers::new()
    }

    fn start(&mut self, _: &mut Context) {
        let starts = STARTS.fetch_add(1, Ordering::Relaxed);
        let later = IS_BAD.load(Ordering::Relaxed).checked_shr(u32::try_from(starts).unwrap_or(64));
        self.bad = later.is_some_and(|it| it & 1 == 1);
    }

    fn properties() -> Vec<Property<Self>> {
        vec![Property::always("nobody is bad", |cluster: &Cluster<'_, Self>| {
            match cluster.live().any(|(_, moody)| moody.bad) {
                true => Err("one is".into()),
                false => Ok(()),
            }
        })]
    }
}

/// What is found if one node starts badly at those starts of the process whose bit is set.
fn moody(is_bad: u64) -> Box<Divergence> {
    STARTS.store(0, Ordering::Relaxed);
    IS_BAD.store(is_bad, Ordering::Relaxed);
    let scenario = Scenario::of(|_| Moody::default());
    let report = Simulation::new(&scenario, 1).threads(1).run(0..1);
    assert!(report.failure.is_none(), "nothing that fails each time");
    Box::new(report.divergence.expect("executions differ"))
}

#[test]
fn a_run_that_fails_only_sometimes_is_no_failure_but_told_as_not_deterministic() {
    // Each time that the run is executed, one node starts once: found, compared twice, recorded, shrunk.
    for is_bad in [0b0_0011, 0b0_0111, 0b0_1111, 0b1_1111, 0b11_1111] {
        let divergence = moody(is_bad);
        assert!(divergence.to_string().starts_with("not deterministic: "), "{divergence}");
    }
    let divergence = moody(0b1);
    assert_eq!(divergence.step, None);
    let text = divergence.to_string();
    for words in ["two runs of seed 0 differ", "violated a property", "did not"] {
        assert!(text.contains(words), "{words}: {text}");
    }
}
