use proptest::prelude::*;

use super::*;

fn greeting(node: u32, events: &[&str]) -> Greeting {
    let events = events.iter().map(|name| (EventId::of(name).bits(), String::from(*name)));
    Greeting {
        cluster: String::from("demo"),
        node: NodeId(node),
        life: Life { incarnation: 1, began: 1 },
        events: events.collect(),
        large: Vec::new(),
    }
}

fn any_greeting() -> impl Strategy<Value = Greeting> {
    let events = proptest::collection::vec((any::<u64>(), ".{0,20}"), 0..20);
    let large = proptest::collection::vec((any::<u64>(), any::<u32>()), 0..5);
    (".{0,32}", any::<u32>(), any::<(u64, u64)>(), events, large).prop_map(
        |(cluster, node, (incarnation, began), events, large)| Greeting {
            cluster,
            node: NodeId(node),
            life: Life { incarnation, began },
            events,
            large,
        },
    )
}

fn any_counts() -> impl Strategy<Value = Counts> {
    let counts = proptest::collection::vec((any::<u64>(), any::<u64>()), 0..10);
    counts.prop_map(|counts| counts.into_iter().map(|(id, it)| (LaneId(id), it)).collect())
}

fn any_offer() -> impl Strategy<Value = Offer> {
    let names = (any::<u64>(), any::<Option<u64>>(), any::<Option<u64>>(), any::<u64>());
    (names, any_counts()).prop_map(|((wire, last_wire, live, fresh), received)| Offer {
        wire: WireId(wire),
        last_wire: last_wire.map(WireId),
        live: live.map(SessionId),
        fresh: SessionId(fresh),
        received,
    })
}

fn any_answer() -> impl Strategy<Value = Answer> {
    let answer = (any::<u64>(), any_counts());
    answer.prop_map(|(session, received)| Answer { session: SessionId(session), received })
}

fn any_version() -> impl Strategy<Value = Version> {
    (any::<u64>(), any::<u64>())
        .prop_map(|(incarnation, revision)| Version { incarnation, revision })
}

fn any_entry() -> impl Strategy<Value = Entry> {
    (any::<u32>(), any_version(), ".{0,40}").prop_map(|(node, version, address)| Entry {
        node: NodeId(node),
        version,
        address,
    })
}

fn any_message() -> impl Strategy<Value = Message> {
    prop_oneof![
        (any_greeting(), any_offer()).prop_map(|(theirs, offer)| Message::Hello(theirs, offer)),
        (any_greeting(), any_answer(), ".{0,40}")
            .prop_map(|(theirs, it, seen)| Message::HelloAck(theirs, it, seen)),
        (".{0,20}", ".{0,200}").prop_map(|(kind, text)| Message::Refused { kind, text }),
        any_counts().prop_map(Message::Acknowledged),
        Just(Message::Leaving),
        Just(Message::Left),
        proptest::collection::vec(any_entry(), 0..5).prop_map(Message::Addresses),
        proptest::collection::vec((any::<u32>(), any_version()), 0..5).prop_map(|taken| {
            Message::AddressesTaken(taken.into_iter().map(|(it, of)| (NodeId(it), of)).collect())
        }),
    ]
}

proptest! {
    #[test]
    fn every_message_comes_back_as_it_went(message in any_message()) {
        let frame = encode(&message);
        let (length, rest) = frame.split_first_chunk::<4>().unwrap();
        prop_assert_eq!(u32::from_le_bytes(*length) as usize, rest.len());
        prop_assert_eq!(decode(rest).unwrap(), message);
    }

    #[test]
    fn a_message_with_a_byte_more_or_less_is_refused(message in any_message(), extra: u8) {
        let mut longer = encode(&message).split_off(4);
        longer.push(extra);
        prop_assert_eq!(decode(&longer).unwrap_err().kind, Kind::BadHello);
        longer.truncate(longer.len() - 2);
        prop_assert!(decode(&longer).is_err());
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = decode(&bytes);
    }
}

fn frozen_greeting() -> Greeting {
    Greeting {
        cluster: String::from("demo"),
        node: NodeId(2),
        life: Life { incarnation: 300, began: 9 },
        events: vec![(1, String::from("a"))],
        large: vec![(1, 65_537)],
    }
}

#[test]
fn the_frozen_bytes_of_a_hello() {
    let offer = Offer {
        wire: WireId(5),
        last_wire: Some(WireId(4)),
        live: None,
        fresh: SessionId(6),
        received: vec![(LaneId(7), 300)],
    };
    let greeting =
        [0, 4, b'd', b'e', b'm', b'o', 2, 0xac, 2, 9, 1, 1, 1, b'a', 1, 1, 0x81, 0x80, 4];
    let offered = [5, 1, 4, 0, 6, 1, 7, 0xac, 2];
    let bytes = [&[30, 0, 0, 0, 5, 0], &greeting[..], &offered].concat();
    assert_eq!(encode(&Message::Hello(frozen_greeting(), offer)), bytes);
}

#[test]
fn the_frozen_bytes_of_an_answer() {
    let answer = Answer { session: SessionId(6), received: vec![(LaneId(7), 1), (LaneId(8), 2)] };
    let greeting =
        [1, 4, b'd', b'e', b'm', b'o', 2, 0xac, 2, 9, 1, 1, 1, b'a', 1, 1, 0x81, 0x80, 4];
    let answered = [6, 2, 7, 1, 8, 2, 3, b'a', b':', b'1'];
    let bytes = [&[31, 0, 0, 0, 5, 0], &greeting[..], &answered].concat();
    let seen = String::from("a:1");
    assert_eq!(encode(&Message::HelloAck(frozen_greeting(), answer, seen)), bytes);
}

#[test]
fn the_frozen_bytes_of_what_is_said_later() {
    let acknowledged = Message::Acknowledged(vec![(LaneId(7), 300)]);
    assert_eq!(encode(&acknowledged), [7, 0, 0, 0, 5, 0, 3, 1, 7, 0xac, 2]);
    assert_eq!(encode(&Message::Leaving), [3, 0, 0, 0, 5, 0, 4]);
    assert_eq!(encode(&Message::Left), [3, 0, 0, 0, 5, 0, 5]);
    let version = Version { incarnation: 300, revision: 2 };
    let entry = Entry { node: NodeId(4), version, address: String::from("a:1") };
    assert_eq!(
        encode(&Message::Addresses(vec![entry])),
        [12, 0, 0, 0, 5, 0, 6, 1, 4, 0xac, 2, 2, 3, b'a', b':', b'1']
    );
    assert_eq!(
        encode(&Message::AddressesTaken(vec![(NodeId(4), version)])),
        [8, 0, 0, 0, 5, 0, 7, 1, 4, 0xac, 2, 2]
    );
}

#[test]
fn lists_that_are_too_long_to_be_true_are_refused_whatever_their_bytes() {
    let count = (LaneId(0), 0);
    let frame = |counts: usize| encode(&Message::Acknowledged(vec![count; counts])).split_off(4);
    assert!(decode(&frame(COUNTS_MAX)).is_ok());
    let turned = decode(&frame(COUNTS_MAX + 1)).unwrap_err();
    assert_eq!(turned.kind, Kind::BadHello);
    assert!(turned.text.contains("a list of 13108") && turned.text.contains("13107"), "{turned}");

    let hello = |events: usize| {
        let greeting = Greeting { events: vec![(0, String::new()); events], ..frozen_greeting() };
        let answer = Answer { session: SessionId(6), received: Vec::new() };
        encode(&Message::HelloAck(greeting, answer, String::new())).split_off(4)
    };
    assert!(decode(&hello(EVENTS_MAX)).is_ok());
    let turned = decode(&hello(EVENTS_MAX + 1)).unwrap_err();
    assert!(turned.text.contains("a list of 4097") && turned.text.contains("4096"), "{turned}");
}

#[test]
fn a_node_of_too_many_events_does_not_start() {
    let events = vec![(0, String::new()); EVENTS_MAX + 1];
    let error = check_size(&Greeting { events, ..frozen_greeting() }, 1).unwrap_err();
    assert!(error.to_string().contains("handles 4097 events, and 4096 are allowed"), "{error}");
}

#[test]
fn another_version_is_named_before_anything_else_is_read() {
    for other in [4, 6] {
        let mut frame = encode(&Message::Left).split_off(4);
        frame[0] = other;
        let turned = decode(&frame).unwrap_err();
        assert_eq!(turned.kind, Kind::Version);
        let both = [format!("synod/{other}"), String::from("synod/5")];
        assert!(both.iter().all(|version| turned.text.contains(version)), "{turned}");
    }
}

#[test]
fn the_first_hello_that_there_was_is_refused_with_both_versions() {
    let old = [1, 0, 0, 4, b'd', b'e', b'm', b'o', 2, 0xac, 2, 1, 1, 1, b'a'];
    let turned = decode(&old).unwrap_err();
    assert!(turned.text.contains("synod/1") && turned.text.contains("synod/5"), "{turned}");
}

#[test]
fn two_nodes_need_one_event_in_common_and_not_all() {
    let (one, two) = (greeting(1, &["a", "b"]), greeting(2, &["b", "c"]));
    assert_eq!(one.agree(&two, NodeId(2)), Ok(()));
    assert_eq!(one.unknown_to(&two), ["a"]);
    assert_eq!(one.agree(&greeting(2, &[]), NodeId(2)), Ok(()));
    let none = one.agree(&greeting(2, &["c"]), NodeId(2)).unwrap_err();
    assert_eq!(none.kind, Kind::NoCommonEvent);
    assert!(none.text.contains("n1") && none.text.contains("n2"), "{none}");
}

#[test]
fn one_identity_with_two_names_is_a_clash() {
    let one = greeting(1, &["a", "b"]);
    let mut two = greeting(2, &["a", "b"]);
    two.events[1].1 = String::from("x");
    let clash = one.agree(&two, NodeId(2)).unwrap_err();
    assert_eq!(clash.kind, Kind::EventClash);
    assert!(clash.text.contains("`b` on n1") && clash.text.contains("`x` on n2"), "{clash}");
}

#[test]
fn a_hello_must_say_what_the_certificate_says() {
    let one = greeting(1, &["a"]);
    let other_node = one.agree(&greeting(3, &["a"]), NodeId(2)).unwrap_err();
    assert_eq!(other_node.kind, Kind::IdentityMismatch);
    let elsewhere = Greeting { cluster: String::from("test"), ..greeting(2, &["a"]) };
    assert_eq!(one.agree(&elsewhere, NodeId(2)).unwrap_err().kind, Kind::OtherCluster);
}
