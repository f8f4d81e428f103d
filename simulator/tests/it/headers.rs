//! What the first line of a trace says of the run.

use synod_algorithms::Bully;
use synod_core::Algorithm;
use synod_simulator::{
    Bounds, Fault, Header, Scenario, Schedule, Simulation, Source, Strategy, Trace, explore, replay,
};

const BULLY: &str = include_str!("../golden/bully.jsonl");

fn bully() -> Scenario<Bully> {
    Scenario::of(|_| Bully::default())
}

fn schedule(trace: &Trace) -> Schedule {
    let text = trace.header.schedule.as_ref().expect("a schedule");
    text.parse().expect("what is written is read")
}

#[test]
fn the_run_of_a_seed_is_replayed_from_its_trace_whatever_the_strategy() {
    let scenario = bully();
    for (_, strategy) in Strategy::ALL {
        let simulation = Simulation::new(&scenario, 5).with(Fault::Partition).strategy(strategy);
        for seed in 0..3 {
            let trace = simulation.trace(seed);
            let read = Trace::read(&trace.json_lines()).expect("what is written is read");
            assert_eq!(read.header.seed, Some(seed));
            let again = replay(&scenario, &schedule(&read));
            assert_eq!(again.trace.json_lines(), trace.json_lines(), "{strategy:?}, seed {seed}");
        }
    }
}

#[test]
fn the_header_of_a_failure_holds_its_shrunk_schedule_and_what_was_judged() {
    let scenario = bully();
    let report = Simulation::new(&scenario, 5).with(Fault::Partition).run(0..1_000);
    let failure = report.expect_failure();
    let header = &failure.trace.header;
    assert_eq!((header.seed, header.schedule.as_ref()), (Some(failure.seed), Some(&failure.text)));
    let properties: Vec<&str> = scenario.properties().iter().map(|it| it.name).collect();
    assert_eq!(header.properties, properties);
    let mut bounds = Bounds::within(&Bully::MODEL, 2);
    bounds.unbound();
    let explored = explore(&scenario, &bounds);
    let failure = explored.expect_failure();
    let header = &failure.trace.header;
    assert_eq!((header.seed, header.schedule.as_ref()), (None, Some(&failure.text)));
    assert_eq!(header.properties, properties);
}

#[test]
fn the_handlers_of_an_event_are_named_with_their_place_in_the_source() {
    let trace = Simulation::new(&bully(), 3).trace(0);
    let found = trace.header.handlers.get("bully.election").expect("it is handled");
    let [Source { function, file, line }] = found.as_slice() else { panic!("{found:?}") };
    assert!(function.ends_with("election"), "{function}");
    assert!(file.ends_with("election/bully.rs") && 1 < *line, "{file}:{line}");
    let schema = trace.header.schemas.get("bully.election").expect("it is known");
    assert_eq!(schema.len(), 16, "{schema}");
}

#[test]
fn nothing_of_the_header_is_part_of_the_hash() {
    let bare = Trace::read(BULLY).expect("a trace");
    assert_eq!(bare.header, Header::default());
    assert_eq!(bare.hash(), "db96308653e437fb206fb109989bebe6");
    let source = Source { function: "f".into(), file: "src/lib.rs".into(), line: 7 };
    let header = Header {
        seed: Some(7),
        properties: vec!["all is well".into()],
        handlers: [(String::from("bully.election"), vec![source])].into(),
        ..Header::default()
    };
    let told = Trace { header, ..bare.clone() };
    assert_ne!(told.json_lines(), bare.json_lines());
    assert_eq!(told.hash(), bare.hash());
}

#[test]
fn the_first_line_is_written_as_it_was() {
    let source = Source { function: "a::f".into(), file: "src/lib.rs".into(), line: 7 };
    let trace = Trace {
        algorithm: "a".into(),
        nodes: 2,
        header: Header {
            seed: Some(7),
            schedule: None,
            properties: vec!["all is well".into()],
            handlers: [(String::from("a.b"), vec![source])].into(),
            schemas: [(String::from("a.b"), String::from("00ff"))].into(),
        },
        steps: Vec::new(),
    };
    let line = "{\"synod_trace\":1,\"algorithm\":\"a\",\"nodes\":2,\"seed\":7,\
                \"properties\":[\"all is well\"],\"handlers\":{\"a.b\":[{\"function\":\"a::f\",\
                \"file\":\"src/lib.rs\",\"line\":7}]},\"schemas\":{\"a.b\":\"00ff\"}}\n";
    assert_eq!(trace.json_lines(), line);
    assert_eq!(Trace::read(line).expect("a trace"), trace);
}

#[test]
fn a_damaged_header_is_refused_with_its_line() {
    let trace = Simulation::new(&bully(), 3).trace(0);
    let text = trace.json_lines();
    for (old, new, says) in [
        ("\"seed\":0", "\"seed\":-1", "invalid value: integer `-1`"),
        ("\"seed\":0", "\"seed\":9", "`seed` is 9, but not the one of the schedule"),
        ("\"seed\":0", "\"seed\":0,\"seed\":0", "duplicate field `seed`"),
        ("\"nodes\":3", "\"nodes\":4", "a run of 4 nodes, but its schedule has 3"),
        ("\"algorithm\":\"bully\"", "\"algorithm\":\"echo\"", "its schedule is one of bully"),
        ("\"synod schedule 1", "\"synod schedule 9", "`schedule`: line 1: a schedule begins with"),
        ("\\nsettings ", "\\nsetting ", "`schedule`: line 4: `setting` is not one of"),
        ("\"properties\":[", "\"properties\":[7,", "invalid type: integer `7`"),
        ("\"line\":", "\"lines\":", "unknown field `lines`"),
    ] {
        assert!(text.contains(old), "{old}");
        let error = Trace::read(&text.replacen(old, new, 1)).expect_err(new).to_string();
        assert!(error.starts_with("line 1: ") && error.contains(says), "{new}: {error}");
    }
}
