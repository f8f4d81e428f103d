//! What worlds may be, and what is in them.

use synod_core::{NodeId, Random};

use super::*;

#[test]
fn delays_of_every_shape_stay_in_their_range_and_have_their_mean() {
    for (shape, mean) in [
        (Shape::Fixed, 0..=0),
        (Shape::Uniform, 490..=510),
        (Shape::Exponential, 190..=220),
        (Shape::HeavyTail, 20..=90),
    ] {
        let mut random = Random::new(7);
        let drawn: Vec<u64> =
            (0..20_000).map(|_| shape.draw(random.next_u64(), 10, 1_000)).collect();
        assert!(drawn.iter().all(|delay| *delay < 1_000));
        let total: u64 = drawn.iter().sum();
        assert!(mean.contains(&(total / 20_000)), "{shape:?}: {}", total / 20_000);
    }
    for shape in [Shape::Fixed, Shape::Uniform, Shape::Exponential, Shape::HeavyTail] {
        for bits in [0, 1, u64::MAX] {
            assert!(shape.draw(bits, 1, 100) < 100, "{shape:?}");
        }
    }
}

#[test]
fn what_no_run_can_be_made_of_is_refused_with_its_range() {
    let wrong = Settings { down_us: u64::MAX, ..Settings::calm(3) };
    let told = wrong.check().expect_err("for ever is 0");
    assert_eq!(told.to_string(), "`down_us` is 18446744073709551615: 0 to 1000000000000000");
    assert!(Settings { nodes: 0, ..Settings::calm(3) }.check().is_err());
    assert!(Settings { lose: 1_000_001, ..Settings::calm(3) }.check().is_err());
    assert_eq!(Settings::calm(3).check(), Ok(()));
}

#[test]
#[should_panic(expected = "a cluster has 1 to 10000 nodes, and not 0")]
fn a_world_without_nodes_is_refused() {
    let _ = Settings::within(&Model::ASYNCHRONOUS, 0);
}

#[test]
fn traitors_that_leave_nobody_correct_are_refused() {
    let all = Settings { traitors: 3, ..Settings::calm(3) };
    let told = all.check().expect_err("nobody is correct");
    assert!(told.to_string().starts_with("`traitors` is 3 of 3 nodes: 0 to 2"), "{told}");
    assert_eq!(Settings { traitors: 2, ..all }.check(), Ok(()));
}

#[test]
fn traitors_are_injected_exactly_when_the_model_claims_to_survive_them() {
    let of = synod_core::Tolerance::Third;
    let byzantine = Model::ASYNCHRONOUS.tolerating(Faults::Byzantine(of));
    let honest = Model::ASYNCHRONOUS.tolerating(Faults::CrashStop(of));
    let within = |model, nodes| Settings::within(model, nodes).traitors;
    assert_eq!([3, 4, 6, 7].map(|nodes| within(&byzantine, nodes)), [0, 1, 1, 2]);
    assert_eq!(within(&honest, 7), 0);

    let added = |model, nodes| {
        let mut settings = Settings::within(model, nodes);
        (settings.add(Fault::Byzantine, model), settings.traitors)
    };
    assert_eq!(added(&byzantine, 7), (vec![], 2));
    assert_eq!(added(&byzantine, 3), (vec![Assumption::FaultBound], 1));
    assert_eq!(added(&honest, 7), (vec![Assumption::HonestNodes], 1));
}

#[test]
fn a_cluster_of_another_size_has_as_many_traitors_as_its_model_allows_there() {
    let model = Model::ASYNCHRONOUS.tolerating(Faults::Byzantine(synod_core::Tolerance::Third));
    let within = Settings::within(&model, 7);
    assert_eq!([2, 4, 6].map(|nodes| within.traitors_of(nodes, &model)), [0, 1, 1]);
    let mut beyond = Settings::within(&model, 3);
    beyond.add(Fault::Byzantine, &model);
    assert_eq!([1, 2, 5].map(|nodes| beyond.traitors_of(nodes, &model)), [0, 1, 1]);
}

#[test]
fn a_schedule_of_an_older_release_knows_no_newer_faults() {
    let older = r#"{"nodes":2,"time_us":20000000,"delay_min_us":1000,"delay_max_us":100000,
        "tail":0,"tail_max_us":0,"lose":0,"lose_datagram":10000,"duplicate":0,"crashes":3,
        "down_max":1,"down_us":5000000,"partitions":2,"partition_us":5000000}"#;
    let read: Settings = serde_json::from_str(older).expect("an older schedule's settings");
    assert_eq!((read.clogs, read.pauses, read.shape), (0, 0, Shape::Uniform));
}

#[test]
fn a_link_survives_its_text() {
    for text in ["1-2=80..120", "1>2=0.5..2", "3>1=80", "1-7=0.001..99 heavy_tail", "2-1=5 fixed"] {
        let link: LinkDelay = text.parse().expect("a link");
        assert_eq!(link.to_string(), text);
        let json = serde_json::to_string(&link).expect("a text");
        assert_eq!(serde_json::from_str::<LinkDelay>(&json).expect("the same"), link);
    }
    let link: LinkDelay = "1>2=0.5..2 exponential".parse().expect("a link");
    let (min_us, max_us, shape) = (500, 2_000, Shape::Exponential);
    let (from, to) = (NodeId(1), NodeId(2));
    assert_eq!(link, LinkDelay { from, to, both_ways: false, min_us, max_us, shape });
}

#[test]
fn what_is_no_link_is_refused_with_what_would_be_one() {
    let why = |text: &str| text.parse::<LinkDelay>().expect_err(text).to_string();
    for text in ["", "1=2", "1-2", "1-2=", "1-2=..", "a-2=1", "1-2=-1..2", "1-2=1.0005", "1-2=1e3"]
    {
        assert!(why(text).contains("expected `1-2=80..120`"), "{text}: {}", why(text));
    }
    let told = "delays are spread in one of these ways: uniform, fixed, exponential, heavy_tail";
    assert!(why("1-2=1..2 gauss").contains(told));
}

#[test]
fn links_that_no_cluster_has_are_refused() {
    let told = |links: &[&str]| {
        let links = links.iter().map(|text| text.parse().expect("a link")).collect();
        Settings { links, ..Settings::calm(3) }.check().map_err(|why| why.to_string())
    };
    assert_eq!(told(&["1>2=1", "2>1=9..10", "1-3=5"]), Ok(()));
    for (links, why) in [
        (&["1-4=1"][..], "`links`: `1-4=1` is not between two of 3 nodes"),
        (&["2>2=1"], "`links`: `2>2=1` is not between two of 3 nodes"),
        (&["1-2=5..4"], "`links`: `1-2=5..4` takes 5000 us at least, 4000 at most"),
        (&["1-2=5", "2>1=4"], "`links`: `2>1=4` says again how long that link takes"),
    ] {
        assert_eq!(told(links), Err(String::from(why)));
    }
}
