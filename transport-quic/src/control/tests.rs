use proptest::prelude::*;

use super::*;

const ME: NodeId = NodeId(1);
const PEER: NodeId = NodeId(2);

fn greeting(node: u32, events: &[&str]) -> Greeting {
    let events = events.iter().map(|name| told(EventId::of(name).bits(), name));
    Greeting {
        cluster: String::from("demo"),
        node: NodeId(node),
        life: Life { incarnation: 1, began: 1 },
        events: events.collect(),
    }
}

fn told(id: u64, name: &str) -> Told {
    Told { id, name: String::from(name), schema: Schema(3), bytes_max: 100 }
}

fn any_greeting() -> impl Strategy<Value = Greeting> {
    let event = (any::<u64>(), ".{0,20}", any::<u64>(), any::<u32>()).prop_map(
        |(id, name, schema, bytes_max)| Told { id, name, schema: Schema(schema), bytes_max },
    );
    let events = proptest::collection::vec(event, 0..20);
    (".{0,32}", any::<u32>(), any::<(u64, u64)>(), events).prop_map(
        |(cluster, node, (incarnation, began), events)| Greeting {
            cluster,
            node: NodeId(node),
            life: Life { incarnation, began },
            events,
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
        Just(Message::DialAgain),
        Just(Message::Inquiry),
        Just(Message::Confirmed),
        any_greeting().prop_map(Message::Introduction),
        proptest::collection::vec(any_entry(), 0..5).prop_map(Message::Addresses),
        proptest::collection::vec((any::<u32>(), any_version()), 0..5).prop_map(|taken| {
            Message::AddressesTaken(taken.into_iter().map(|(it, of)| (NodeId(it), of)).collect())
        }),
    ]
}

proptest! {
    #[test]
    fn every_message_comes_back_as_it_went(message in any_message()) {
        let first = encode_first(&message);
        let (length, rest) = first.split_first_chunk::<4>().unwrap();
        prop_assert_eq!(u32::from_le_bytes(*length) as usize, rest.len());
        let (heard, agreed) = decode_first(rest, ME, PEER).unwrap();
        prop_assert_eq!(&heard, &message);
        prop_assert_eq!(agreed, Agreed { version: SPOKEN.newest, theirs: SPOKEN });

        let later = encode(7, &message);
        let (length, rest) = later.split_first_chunk::<4>().unwrap();
        prop_assert_eq!(u32::from_le_bytes(*length) as usize, rest.len());
        prop_assert_eq!(decode(rest, 7).unwrap(), message);
    }

    #[test]
    fn a_message_with_a_byte_more_or_less_is_refused(message in any_message(), extra: u8) {
        let mut longer = encode(6, &message).split_off(4);
        longer.push(extra);
        prop_assert_eq!(decode(&longer, 6).unwrap_err().kind, Kind::BadHello);
        longer.truncate(longer.len() - 2);
        prop_assert!(decode(&longer, 6).is_err());

        let mut longer = encode_first(&message).split_off(4);
        longer.push(extra);
        prop_assert_eq!(decode_first(&longer, ME, PEER).unwrap_err().kind, Kind::BadHello);
        longer.truncate(longer.len() - 2);
        prop_assert!(decode_first(&longer, ME, PEER).is_err());
    }

    #[test]
    fn what_a_later_version_adds_to_a_first_message_is_left_out(
        message in any_message(),
        more in 1..100_u16,
        added in proptest::collection::vec(any::<u8>(), 0..50),
    ) {
        let mut frame = encode_first(&message).split_off(4);
        let newest = SPOKEN.newest + more;
        frame[..2].copy_from_slice(&newest.to_le_bytes());
        frame.extend(added);
        let theirs = Versions { newest, ..SPOKEN };
        let agreed = Agreed { version: SPOKEN.newest, theirs };
        prop_assert_eq!(decode_first(&frame, ME, PEER).unwrap(), (message, agreed));
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = decode(&bytes, 6);
        let _ = decode_first(&bytes, ME, PEER);
    }
}

fn frozen_greeting() -> Greeting {
    Greeting {
        cluster: String::from("demo"),
        node: NodeId(2),
        life: Life { incarnation: 300, began: 9 },
        events: vec![Told { bytes_max: 65_537, ..told(1, "a") }],
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
    let greeting = [0, 4, b'd', b'e', b'm', b'o', 2, 0xac, 2, 9, 1, 1, 1, b'a', 3, 0x81, 0x80, 4];
    let offered = [5, 1, 4, 0, 6, 1, 7, 0xac, 2];
    let bytes = [&[31, 0, 0, 0, 8, 0, 8, 0], &greeting[..], &offered].concat();
    assert_eq!(encode_first(&Message::Hello(frozen_greeting(), offer)), bytes);
}

#[test]
fn the_frozen_bytes_of_an_answer() {
    let answer = Answer { session: SessionId(6), received: vec![(LaneId(7), 1), (LaneId(8), 2)] };
    let greeting = [1, 4, b'd', b'e', b'm', b'o', 2, 0xac, 2, 9, 1, 1, 1, b'a', 3, 0x81, 0x80, 4];
    let answered = [6, 2, 7, 1, 8, 2, 3, b'a', b':', b'1'];
    let bytes = [&[32, 0, 0, 0, 8, 0, 8, 0], &greeting[..], &answered].concat();
    let seen = String::from("a:1");
    assert_eq!(encode_first(&Message::HelloAck(frozen_greeting(), answer, seen)), bytes);
}

#[test]
fn the_frozen_bytes_of_what_is_said_later() {
    let acknowledged = Message::Acknowledged(vec![(LaneId(7), 300)]);
    assert_eq!(encode(6, &acknowledged), [7, 0, 0, 0, 6, 0, 3, 1, 7, 0xac, 2]);
    assert_eq!(encode(6, &Message::Leaving), [3, 0, 0, 0, 6, 0, 4]);
    assert_eq!(encode(6, &Message::DialAgain), [3, 0, 0, 0, 6, 0, 8]);
    assert_eq!(encode(6, &Message::Left), [3, 0, 0, 0, 6, 0, 5]);
    let version = Version { incarnation: 300, revision: 2 };
    let entry = Entry { node: NodeId(4), version, address: String::from("a:1") };
    assert_eq!(
        encode(6, &Message::Addresses(vec![entry])),
        [12, 0, 0, 0, 6, 0, 6, 1, 4, 0xac, 2, 2, 3, b'a', b':', b'1']
    );
    assert_eq!(
        encode(6, &Message::AddressesTaken(vec![(NodeId(4), version)])),
        [8, 0, 0, 0, 6, 0, 7, 1, 4, 0xac, 2, 2]
    );
}

#[test]
fn the_frozen_bytes_of_a_question_and_its_answer() {
    assert_eq!(encode_first(&Message::Inquiry), [5, 0, 0, 0, 8, 0, 8, 0, 9]);
    let greeting = [10, 4, b'd', b'e', b'm', b'o', 2, 0xac, 2, 9, 1, 1, 1, b'a', 3, 0x81, 0x80, 4];
    assert_eq!(encode(8, &Message::Confirmed), [3, 0, 0, 0, 8, 0, 11]);
    let bytes = [&[22, 0, 0, 0, 8, 0, 8, 0], &greeting[..]].concat();
    assert_eq!(encode_first(&Message::Introduction(frozen_greeting())), bytes);
}

#[test]
fn lists_that_are_too_long_to_be_true_are_refused_whatever_their_bytes() {
    let count = (LaneId(0), 0);
    let frame = |counts: usize| encode(6, &Message::Acknowledged(vec![count; counts])).split_off(4);
    assert!(decode(&frame(COUNTS_MAX), 6).is_ok());
    let turned = decode(&frame(COUNTS_MAX + 1), 6).unwrap_err();
    assert_eq!(turned.kind, Kind::BadHello);
    assert!(turned.text.contains("a list of 13108") && turned.text.contains("13107"), "{turned}");

    let hello = |events: usize| {
        let greeting = Greeting { events: vec![told(0, ""); events], ..frozen_greeting() };
        let answer = Answer { session: SessionId(6), received: Vec::new() };
        encode_first(&Message::HelloAck(greeting, answer, String::new())).split_off(4)
    };
    assert!(decode_first(&hello(EVENTS_MAX), ME, PEER).is_ok());
    let turned = decode_first(&hello(EVENTS_MAX + 1), ME, PEER).unwrap_err();
    assert!(turned.text.contains("a list of 4097") && turned.text.contains("4096"), "{turned}");
}

#[test]
fn a_node_of_too_many_events_does_not_start() {
    let events = vec![told(0, ""); EVENTS_MAX + 1];
    let error = check_size(&Greeting { events, ..frozen_greeting() }, 1).unwrap_err();
    assert!(error.to_string().contains("handles 4097 events, and 4096 are allowed"), "{error}");
}

#[test]
fn the_frozen_bytes_of_a_refusal() {
    let refused = Message::Refused { kind: String::from("a"), text: String::from("bc") };
    let bytes = [10, 0, 0, 0, 8, 0, 8, 0, 2, 1, b'a', 2, b'b', b'c'];
    assert_eq!(encode_first(&refused), bytes);
}

#[test]
fn a_hello_of_other_versions_alone_is_refused_before_anything_else_is_read() {
    let of = |newest: u8, oldest: u8| {
        decode_first(&[newest, 0, oldest, 0, 255, 255], ME, PEER).unwrap_err()
    };
    let later = of(10, 9);
    assert_eq!(later.kind, Kind::Version);
    let words = "n2 speaks synod/9 to synod/10 and n1 speaks synod/8: upgrade n1";
    assert_eq!(later.text, words);
    assert_eq!(of(9, 10).kind, Kind::BadHello, "{}", of(9, 10));
    assert_eq!(of(9, 8).kind, Kind::BadHello, "there is a version in common, and no message");
}

#[test]
fn hellos_from_before_there_were_ranges_are_refused_with_both_versions() {
    let old = [1, 0, 0, 4, b'd', b'e', b'm', b'o', 2, 0xac, 2, 1, 1, 1, b'a'];
    for version in 1..FIRST_OF_RANGES {
        let mut frame = old;
        frame[..2].copy_from_slice(&version.to_le_bytes());
        let turned = decode_first(&frame, ME, PEER).unwrap_err();
        let words = format!("n2 speaks synod/{version} and n1 speaks synod/8: upgrade n2");
        assert_eq!((turned.kind, turned.text), (Kind::Version, words));
    }
}

#[test]
fn a_later_message_in_a_version_that_was_not_agreed_on_is_refused() {
    let frame = encode(8, &Message::Left).split_off(4);
    let turned = decode(&frame, 7).unwrap_err();
    assert_eq!(turned.kind, Kind::Version);
    assert!(turned.text.contains("synod/8") && turned.text.contains("synod/7"), "{turned}");
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
    two.events[1].name = String::from("x");
    let clash = one.agree(&two, NodeId(2)).unwrap_err();
    assert_eq!(clash.kind, Kind::EventClash);
    assert!(clash.text.contains("`b` on n1") && clash.text.contains("`x` on n2"), "{clash}");
}

#[test]
fn one_event_with_other_fields_is_refused_with_both_schemas() {
    let one = greeting(1, &["a", "b"]);
    let mut two = greeting(2, &["a", "b"]);
    two.events[1].schema = Schema(0xfeed);
    let refused = one.agree(&two, NodeId(2)).unwrap_err();
    assert_eq!(refused.kind, Kind::OtherSchema);
    let words = "the fields of `b` are not the same on n1 (schema 0000000000000003) and n2 (schema \
                 000000000000feed): a changed event needs a new name";
    assert_eq!(refused.text, words);
    two.events[1].name = String::from("c");
    two.events[1].id = EventId::of("c").bits();
    assert_eq!(one.agree(&two, NodeId(2)), Ok(()), "under a name of its own");
}

#[test]
fn a_hello_must_say_what_the_certificate_says() {
    let one = greeting(1, &["a"]);
    let other_node = one.agree(&greeting(3, &["a"]), NodeId(2)).unwrap_err();
    assert_eq!(other_node.kind, Kind::IdentityMismatch);
    let elsewhere = Greeting { cluster: String::from("test"), ..greeting(2, &["a"]) };
    assert_eq!(one.agree(&elsewhere, NodeId(2)).unwrap_err().kind, Kind::OtherCluster);
}
