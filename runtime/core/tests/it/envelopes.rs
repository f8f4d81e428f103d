//! The bytes of an envelope: read back as they were, and never trusted.

use bytes::Bytes;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use synod_core::{Envelope, Event, EventId, Instance, Tag};

use crate::kit::{fingerprint, instance};

#[derive(Event, Debug, PartialEq, Serialize, Deserialize)]
#[event(name = "envelopes.parcel")]
struct Parcel {
    number: u32,
    text: String,
    rest: Option<Vec<u8>>,
}

fn encode(envelope: &Envelope) -> Bytes {
    let mut bytes = Vec::new();
    envelope.encode_into(&mut bytes);
    Bytes::from(bytes)
}

fn tags() -> impl Strategy<Value = Tag> {
    prop_oneof![
        Just(Tag::Plain),
        any::<u64>().prop_map(Tag::Ask),
        any::<u64>().prop_map(Tag::Answer)
    ]
}

fn envelopes() -> impl Strategy<Value = Envelope> {
    let keys = prop::collection::vec(any::<u64>(), 0..=Envelope::DEPTH_MAX);
    let body = prop::collection::vec(any::<u8>(), 0..200);
    (any::<u64>(), keys, tags(), body).prop_map(|(event, keys, tag, body)| {
        Envelope::from_parts(EventId::from_bits(event), instance(&keys), tag, Bytes::from(body))
    })
}

proptest! {
    #[test]
    fn any_envelope_is_read_back_as_it_was(envelope in envelopes()) {
        let read = Envelope::decode(&encode(&envelope)).expect("what was written is read");
        prop_assert_eq!(&read, &envelope);
        prop_assert_eq!(fingerprint(&read), fingerprint(&envelope));
    }

    #[test]
    fn any_event_is_opened_as_it_was_sealed(
        number in any::<u32>(),
        text in any::<String>(),
        rest in any::<Option<Vec<u8>>>(),
    ) {
        let parcel = Parcel { number, text, rest };
        let envelope = Envelope::decode(&encode(&Envelope::seal(&parcel))).expect("it is read");
        prop_assert_eq!(envelope.open::<Parcel>(), Ok(parcel));
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        if let Ok(envelope) = Envelope::decode(&Bytes::from(bytes)) {
            // Whatever was read can be opened, or not, and be written and read again.
            let _ = envelope.open::<Parcel>();
            prop_assert_eq!(Envelope::decode(&encode(&envelope)), Ok(envelope));
        }
    }

    #[test]
    fn no_body_makes_the_opening_panic(body in prop::collection::vec(any::<u8>(), 0..64)) {
        let bytes = Bytes::from(body);
        let envelope = Envelope::from_parts(Parcel::ID, Instance::ROOT, Tag::Plain, bytes);
        let Ok(parcel) = envelope.open::<Parcel>() else { return Ok(()) };
        prop_assert_eq!(Envelope::seal(&parcel).open::<Parcel>(), Ok(parcel));
    }

    #[test]
    fn a_truncated_envelope_is_never_taken_for_the_whole_one(
        envelope in envelopes(),
        at in any::<prop::sample::Index>(),
    ) {
        let bytes = encode(&envelope);
        let cut = bytes.slice(..at.index(bytes.len()));
        prop_assert_ne!(Envelope::decode(&cut), Ok(envelope));
    }

    #[test]
    fn an_instance_that_is_too_deep_is_refused(
        keys in prop::collection::vec(any::<u64>(), Envelope::DEPTH_MAX + 1..40),
        tag in tags(),
    ) {
        let bytes = Bytes::from_static(b"body");
        let deep = Envelope::from_parts(Parcel::ID, instance(&keys), tag, bytes);
        let refused = Envelope::decode(&encode(&deep)).expect_err("too deep");
        prop_assert_eq!(refused.to_string(), format!("an instance of {} keys", keys.len()));
    }

    #[test]
    fn the_lack_of_an_answer_never_travels(number in any::<u64>()) {
        let expired = Envelope::seal(&Parcel { number: 1, text: String::new(), rest: None });
        let refused = Envelope::decode(&encode(&expired.tagged(Tag::Expired(number))));
        prop_assert_eq!(refused.unwrap_err().to_string(), "a tag that never travels");
    }
}

#[test]
fn the_encoding_is_frozen() {
    let parcel = Parcel { number: 300, text: String::from("hi"), rest: Some(vec![9]) };
    let envelope = Envelope::seal(&parcel).addressed_to(instance(&[1, 300])).tagged(Tag::Ask(5));
    #[rustfmt::skip]
    let golden = [
        0x9d, 0x44, 0xce, 0x21, 0x31, 0xf5, 0x45, 0x51, // FNV-1a of the name, little-endian
        2, 1, 0xac, 0x02,                               // two keys: 1 and 300
        1, 5,                                           // a question, number 5
        0xac, 0x02, 2, b'h', b'i', 1, 1, 9,             // the body
    ];
    assert_eq!(encode(&envelope), golden[..], "a changed wire format breaks every cluster");
    assert_eq!(Envelope::decode(&Bytes::copy_from_slice(&golden)), Ok(envelope));
}

#[test]
fn the_tags_are_frozen() {
    let tagged = |tag| {
        let envelope = Envelope::from_parts(Parcel::ID, Instance::ROOT, tag, Bytes::new());
        encode(&envelope).slice(8..)
    };
    assert_eq!(tagged(Tag::Plain), [0, 0][..]);
    assert_eq!(tagged(Tag::Ask(1)), [0, 1, 1][..]);
    assert_eq!(tagged(Tag::Answer(300)), [0, 2, 0xac, 0x02][..]);
    assert_eq!(tagged(Tag::Expired(2)), [0, 3, 2][..]);
}

#[test]
fn a_long_body_shares_the_bytes_it_was_read_from() {
    let text = "x".repeat(100);
    let bytes = encode(&Envelope::seal(&Parcel { number: 1, text, rest: None }));
    let envelope = Envelope::decode(&bytes).unwrap();
    assert!(bytes.as_ptr_range().contains(&envelope.body().as_ptr()));
}

#[test]
fn an_envelope_of_another_event_does_not_open() {
    let other = Envelope::from_parts(
        EventId::of("envelopes.other"),
        Instance::ROOT,
        Tag::Plain,
        Bytes::new(),
    );
    let refused = other.open::<Parcel>().unwrap_err().to_string();
    assert!(refused.contains("not `envelopes.parcel`"), "{refused}");
}
