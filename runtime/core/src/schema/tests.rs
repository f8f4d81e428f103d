#![allow(dead_code, reason = "of most types here, only the layout matters")]

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::time::Duration;

use serde::Deserializer;
use serde::de::Error;

use super::*;
use crate::NodeId;

fn layout<T: DeserializeOwned>() -> String {
    Schema::layout_of::<T>()
}

#[derive(Deserialize)]
enum Tree {
    Node(Box<Self>, Box<Self>, u64),
    Labelled { label: String, below: Vec<Self> },
    Leaf,
}

#[derive(Deserialize)]
struct Chain {
    next: Option<Box<Self>>,
    weight: u64,
}

#[derive(Deserialize)]
struct Pair<T> {
    one: T,
    other: T,
}

#[derive(Deserialize)]
struct Renamed {
    next: Option<Box<Self>>,
    height: u64,
}

#[derive(Deserialize)]
struct Narrowed {
    next: Option<Box<Self>>,
    weight: u32,
}

#[derive(Deserialize)]
struct Moved {
    weight: u64,
    next: Option<Box<Self>>,
}

#[derive(Deserialize)]
struct Other {
    next: Option<Box<Self>>,
    #[serde(rename = "weight")]
    mass: u64,
}

#[derive(Deserialize)]
#[serde(try_from = "u8")]
struct Even;

impl TryFrom<u8> for Even {
    type Error = &'static str;

    fn try_from(number: u8) -> Result<Self, Self::Error> {
        if number.is_multiple_of(2) { Ok(Self) } else { Err("odd") }
    }
}

/// Refuses whatever it is shown.
struct Choosy(u32);

impl<'de> Deserialize<'de> for Choosy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u32::deserialize(deserializer)?;
        Err(D::Error::custom("no number is good enough"))
    }
}

/// Panics whatever it is shown.
struct Fragile;

impl<'de> Deserialize<'de> for Fragile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Deep::deserialize(deserializer)?;
        panic!("no number is good enough")
    }
}

#[derive(Deserialize)]
struct Deep {
    deep: u32,
}

#[test]
fn plain_types_options_lists_and_maps_are_told_as_they_stand() {
    assert_eq!(layout::<(u8, i16, f64, char, String, ())>(), "(u8, i16, f64, char, text, ())");
    assert_eq!(layout::<Option<Vec<BTreeSet<bool>>>>(), "option [[bool]]");
    assert_eq!(layout::<BTreeMap<NodeId, Duration>>(), "[u32 => {secs: u64, nanos: u32}]");
    assert_eq!(layout::<[u8; 3]>(), "(u8, u8, u8)");
    assert_eq!(layout::<Result<u8, String>>(), "<Ok(u8) | Err(text)>");
}

#[test]
fn every_variant_of_every_enum_is_told_also_within_each_other() {
    type Outcome = Result<Option<Result<u8, bool>>, Result<u16, Result<u32, u64>>>;
    let expected =
        "(<Ok(option <Ok(u8) | Err(bool)>) | Err(<Ok(u16) | Err(<Ok(u32) | Err(u64)>)>)>, u8)";
    assert_eq!(layout::<(Outcome, u8)>(), expected);
}

#[test]
fn a_type_that_contains_itself_says_how_far_out() {
    let tree = "<Node(^0, ^0, u64) | Labelled{label: text, below: [^0]} | Leaf>";
    assert_eq!(layout::<Tree>(), tree);
    assert_eq!(layout::<Chain>(), "{next: option ^0, weight: u64}");
    let pair = format!("{{one: {tree}, other: {tree}}}");
    assert_eq!(layout::<Pair<Tree>>(), pair);
    let chain = layout::<Chain>();
    assert_eq!(layout::<(Pair<Chain>, u8)>(), format!("({{one: {chain}, other: {chain}}}, u8)"));
}

#[test]
fn instances_of_one_generic_type_are_not_taken_for_each_other() {
    let inner = "{one: u8, other: u8}";
    assert_eq!(layout::<Pair<Pair<u8>>>(), format!("{{one: {inner}, other: {inner}}}"));
    assert_ne!(Schema::of::<Pair<Pair<u8>>>(), Schema::of::<Pair<Pair<u16>>>());
}

#[test]
fn a_type_that_refuses_some_values_is_shown_others() {
    assert_eq!(layout::<(NonZeroU32, u8)>(), "(u32, u8)");
    assert_eq!(layout::<(Even, bool)>(), "(u8, bool)");
}

#[test]
fn what_follows_a_type_that_refuses_everything_is_unknown_but_behind_a_list_of_it_is_not() {
    assert_eq!(layout::<(u8, Choosy, u16)>(), "(u8, u32, _)");
    assert_eq!(layout::<(Vec<Choosy>, u16)>(), "([u32], u16)");
    assert_eq!(layout::<(Result<Choosy, u8>, u16)>(), "(<Ok(u32) | Err(u8)>, u16)");
}

#[test]
fn a_type_that_panics_upon_odd_values_is_known_as_far_as_it_has_come() {
    assert_eq!(layout::<(u8, Fragile, u16)>(), "(u8, {deep: u32}, _)");
}

#[test]
fn a_type_that_describes_itself_is_unknown() {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Number(u64),
        Text(String),
    }
    assert_eq!(layout::<Either>(), "_");
}

#[test]
fn a_large_tuple_and_a_deep_type_end_the_search() {
    type Deep<T> = Pair<Pair<Pair<Pair<T>>>>;
    assert!(layout::<Deep<Deep<u8>>>().contains("u8"));
    assert_eq!(layout::<(u8, [[u8; 32]; 32])>().matches("u8").count(), 1_025);
}

#[test]
fn a_schema_is_pinned() {
    assert_eq!(Schema::of::<Chain>().to_string(), "63768bff7935576c");
}

#[test]
fn order_names_and_types_of_fields_make_another_schema() {
    let others = [Schema::of::<Renamed>(), Schema::of::<Narrowed>(), Schema::of::<Moved>()];
    assert!(!others.contains(&Schema::of::<Chain>()));
    assert_eq!(Schema::of::<Other>(), Schema::of::<Chain>(), "the bytes mean the same");
}
