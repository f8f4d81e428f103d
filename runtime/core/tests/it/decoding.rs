//! What comes from the wire is decoded within bounds, whatever it is.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use synod_core::{Envelope, Event, Instance, Tag};

/// An event that holds any value.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
struct Holds<T>(T);

impl<T: std::fmt::Debug + Serialize + DeserializeOwned + Send + 'static> Event for Holds<T> {
    const NAME: &'static str = "test.holds";
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Tree {
    Leaf,
    Node(Box<Self>),
    Pair { left: Box<Self>, right: Vec<Self> },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(clippy::large_enum_variant, reason = "that it takes much room is what is tried")]
enum Wide {
    Nothing,
    Much([[u64; 16]; 8]),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Rich {
    small: u8,
    signed: i8,
    numbers: Vec<u64>,
    bytes: [u8; 4],
    text: String,
    letter: char,
    maybe: Option<Box<Self>>,
    table: BTreeMap<u16, (i64, bool)>,
    choice: Result<u32, ()>,
    wide: (u128, i32, f64),
}

fn opened<T>(body: Vec<u8>) -> Result<T, String>
where
    T: std::fmt::Debug + Serialize + DeserializeOwned + Send + 'static,
{
    let event = <Holds<T> as Event>::ID;
    let envelope = Envelope::from_parts(event, Instance::ROOT, Tag::Plain, Bytes::from(body));
    envelope.open::<Holds<T>>().map(|holds| holds.0).map_err(|error| error.to_string())
}

fn refused<T>(body: Vec<u8>, part: &str)
where
    T: std::fmt::Debug + Serialize + DeserializeOwned + Send + 'static,
{
    let refused = opened::<T>(body).expect_err(part);
    assert!(refused.contains(part), "{refused}");
}

#[test]
fn values_that_are_nested_without_end_are_refused_and_the_process_goes_on() {
    refused::<Tree>(vec![1; 60_000], "nested too deep");
    refused::<Tree>([[2, 1, 0, 1].repeat(9_000), vec![0]].concat(), "nested too deep");
    let deep = (0..100).fold(Tree::Leaf, |tree, _| Tree::Node(Box::new(tree)));
    let body = Envelope::seal(&Holds(deep.clone())).body().to_vec();
    assert_eq!(opened::<Tree>(body), Ok(deep));
}

#[test]
fn a_small_frame_does_not_become_large_in_memory() {
    let length = [0xe0, 0xff, 0x03];
    let many = [&length[..], &vec![0; 65_504]].concat();
    refused::<Vec<Wide>>(many.clone(), "too much memory");
    refused::<Vec<Box<Wide>>>(many, "too much memory");
    let few = vec![Wide::Nothing; 50];
    let body = Envelope::seal(&Holds(few.clone())).body().to_vec();
    assert_eq!(opened::<Vec<Wide>>(body), Ok(few));
}

#[test]
fn what_a_large_frame_may_take_grows_with_it() {
    let values: Vec<Option<u64>> = (0..400_000).map(|it| Some(it % 100)).collect();
    let body = Envelope::seal(&Holds(values.clone())).body().to_vec();
    assert!(800_000 < body.len() && body.len() < Envelope::BYTES_CAP as usize);
    assert_eq!(opened::<Vec<Option<u64>>>(body), Ok(values));
    let length = [0xfd, 0xff, 0x3f];
    let many = [&length[..], &vec![0; 1_048_573]].concat();
    refused::<Vec<Wide>>(many, "too much memory");
}

#[test]
fn a_list_of_nothings_ends() {
    let length = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    refused::<Vec<()>>(length.to_vec(), "too much memory");
    refused::<BTreeMap<u64, u64>>(length.to_vec(), "too early");
    refused::<Vec<u64>>(length.to_vec(), "too early");
    refused::<String>(length.to_vec(), "too early");
}

#[test]
fn a_value_has_one_form_only() {
    assert_eq!(opened::<u64>(vec![0x81, 0x01]), Ok(129));
    for longer in [vec![0x80, 0x00], vec![0x81, 0x80, 0x00]] {
        refused::<u64>(longer.clone(), "longer than it is");
        refused::<i32>(longer.clone(), "longer than it is");
        refused::<Vec<u8>>(longer.clone(), "longer than it is");
        refused::<String>(longer.clone(), "longer than it is");
        refused::<Result<(), ()>>(longer, "longer than it is");
    }
    assert_eq!(opened::<[u8; 3]>(vec![0x80, 0x00, 0xff]), Ok([0x80, 0x00, 0xff]));
    assert_eq!(opened::<(u8, u16, i8, u16)>(vec![0x80, 0x00, 0x80, 0x00]), Ok((128, 0, -128, 0)));
    refused::<u8>(vec![1, 2], "1 bytes are left over");
}

fn tree() -> impl Strategy<Value = Tree> {
    let grown = |inner: BoxedStrategy<Tree>| {
        let pair = (inner.clone(), proptest::collection::vec(inner.clone(), 0..4));
        prop_oneof![
            inner.prop_map(|it| Tree::Node(Box::new(it))),
            pair.prop_map(|(left, right)| Tree::Pair { left: Box::new(left), right }),
        ]
    };
    Just(Tree::Leaf).prop_recursive(4, 40, 4, grown)
}

fn rich() -> impl Strategy<Value = Rich> {
    let plain = (any::<(u8, i8, char)>(), any::<(Vec<u64>, [u8; 4], String)>());
    let nested = (any::<BTreeMap<u16, (i64, bool)>>(), any::<Result<u32, ()>>());
    let wide = any::<(u128, i32)>();
    let leaf = (plain, nested, wide).prop_map(|(plain, (table, choice), (large, small))| Rich {
        small: plain.0.0,
        signed: plain.0.1,
        letter: plain.0.2,
        numbers: plain.1.0,
        bytes: plain.1.1,
        text: plain.1.2,
        maybe: None,
        table,
        choice,
        wide: (large, small, 1.5),
    });
    (leaf.clone(), proptest::option::of(leaf))
        .prop_map(|(outer, inner)| Rich { maybe: inner.map(Box::new), ..outer })
}

proptest! {
    #[test]
    fn whatever_is_written_is_read_back(value in rich()) {
        let body = Envelope::seal(&Holds(value.clone())).body().to_vec();
        prop_assert_eq!(opened::<Rich>(body), Ok(value));
    }

    #[test]
    fn what_is_written_is_in_the_encoding_of_postcard(value in rich(), tree in tree()) {
        let by_postcard = postcard::to_allocvec(&value).expect("plain data");
        prop_assert_eq!(Envelope::seal(&Holds(value)).body().to_vec(), by_postcard);
        let by_postcard = postcard::to_allocvec(&tree).expect("plain data");
        prop_assert_eq!(Envelope::seal(&Holds(tree)).body().to_vec(), by_postcard);
    }

    #[test]
    fn whatever_is_read_is_written_the_same(
        value in rich(),
        damage in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..3),
    ) {
        let mut body = Envelope::seal(&Holds(value)).body().to_vec();
        for (place, byte) in damage {
            let at = place.index(body.len());
            body[at] = byte;
        }
        // A table takes its entries in any order, and of two with one key the last.
        let has_table = |it: &Rich| !it.table.is_empty();
        if let Ok(read) = opened::<Rich>(body.clone())
            && !has_table(&read)
            && !read.maybe.as_deref().is_some_and(has_table)
        {
            let written = Envelope::seal(&Holds(read)).body().to_vec();
            prop_assert_eq!(written, body);
        }
    }
}
