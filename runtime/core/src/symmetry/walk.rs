//! Goes through an encoded value by its type, and renames the nodes on the way.
//!
//! A value is encoded, and decoded again by its own `Deserialize`, which says where a node stands:
//! so sets and maps of nodes are in order again, and no author has to write anything. A node that
//! stands in another type than `NodeId` (in the bits of a number) is not seen.

use serde::de::value::U32Deserializer;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};
use serde::{Deserialize, Serialize};

use super::permutation::{Nodes, Permutation};
use crate::envelope::{DecodeError, encoded};
use crate::event::NodeId;

/// Renames nodes wherever they stand in what it is shown, and takes down what it has seen.
#[derive(Clone, Debug)]
pub struct Renamer {
    names: Permutation,
    /// The nodes that look the same in a shape ..
    alike: Nodes,
    /// .. all but this one.
    marked: Option<NodeId>,
    shape: u64,
    seen: Nodes,
}

const SEED: u64 = 0x9e37_79b9_7f4a_7c15;
/// How the nodes of a shape are called.
const MARKED: u64 = 1;
const ALIKE: u64 = 2;

impl Renamer {
    /// Gives the nodes these names.
    #[must_use]
    pub fn to(names: Permutation) -> Self {
        let (alike, seen) = (Nodes::default(), Nodes::default());
        Self { names, alike, marked: None, shape: SEED, seen }
    }

    /// Keeps all names, but in the shape of what it is shown, the nodes `alike` all look the same,
    /// except for `marked`.
    #[must_use]
    pub fn shaping(alike: Nodes, marked: NodeId) -> Self {
        Self { alike, marked: Some(marked), ..Self::to(Permutation::IDENTITY) }
    }

    /// What `node` is called now.
    pub fn node(&mut self, node: NodeId) -> NodeId {
        self.seen = self.seen.with(node);
        self.mix(match self.marked {
            Some(marked) if marked == node => MARKED,
            _ if self.alike.has(node) => ALIKE,
            _ => u64::from(node.0) + ALIKE,
        });
        self.names.of(node)
    }

    /// The same value with other names. O(size).
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if the value does not come back from its own encoding.
    pub fn value<V: Serialize + for<'de> Deserialize<'de>>(
        &mut self,
        value: &V,
    ) -> Result<V, DecodeError> {
        self.decoded(&encoded(value)?)
    }

    /// The value of these bytes with other names.
    pub(crate) fn decoded<V: for<'de> Deserialize<'de>>(
        &mut self,
        bytes: &[u8],
    ) -> Result<V, DecodeError> {
        let mut walk = Walk { bytes, renamer: self, at_node: false };
        let value = V::deserialize(&mut walk).map_err(|error| DecodeError::codec(&error))?;
        match walk.bytes.len() {
            0 => Ok(value),
            rest => Err(DecodeError::new(format!("{rest} bytes are left over"))),
        }
    }

    /// Takes down plain data.
    pub fn mix(&mut self, number: u64) {
        self.shape = mixed(self.shape, number);
    }

    /// Shows it several things in no order: their order leaves no trace in the shape.
    ///
    /// # Errors
    ///
    /// What `show` says.
    pub fn in_no_order<I: IntoIterator, V, E>(
        &mut self,
        things: I,
        mut show: impl FnMut(&mut Self, I::Item) -> Result<V, E>,
    ) -> Result<Vec<V>, E> {
        let (before, mut sum, mut all) = (self.shape, 0_u64, Vec::new());
        for thing in things {
            self.shape = SEED;
            all.push(show(self, thing)?);
            sum = sum.wrapping_add(self.shape);
        }
        self.shape = mixed(before, sum);
        Ok(all)
    }

    /// A number for all that it was shown, equal if only names of nodes that are alike differ. The
    /// order of the elements of a sequence does not count, since a set may be one.
    #[must_use]
    pub fn shape(&self) -> u64 {
        self.shape
    }

    /// The nodes that stand in what it was shown.
    #[must_use]
    pub fn seen(&self) -> Nodes {
        self.seen
    }
}

fn mixed(shape: u64, number: u64) -> u64 {
    let mixed = (shape ^ number).wrapping_mul(0xd6e8_feb8_6659_fd93).rotate_left(29);
    (mixed ^ SEED).wrapping_mul(0xbf58_476d_1ce4_e5b9)
}

/// A value that is decoded from the bytes that are left.
struct Walk<'de, 'r> {
    bytes: &'de [u8],
    renamer: &'r mut Renamer,
    /// Whether the next number is a node.
    at_node: bool,
}

impl<'de> Walk<'de, '_> {
    /// The next plain value.
    fn take<V: Deserialize<'de>>(&mut self) -> postcard::Result<V> {
        let before = self.bytes;
        let (value, rest) = postcard::take_from_bytes(before)?;
        self.bytes = rest;
        let taken = before.len() - rest.len();
        before.iter().take(taken).for_each(|byte| self.renamer.mix(u64::from(*byte)));
        Ok(value)
    }
}

/// Elements that follow each other. Those of a bag have no order, the fields of a struct have.
struct Elements<'a, 'de, 'r> {
    walk: &'a mut Walk<'de, 'r>,
    left: usize,
    is_bag: bool,
    /// The shapes of the elements of a bag so far.
    sum: u64,
}

impl<'de> Elements<'_, 'de, '_> {
    /// Decodes the next element with what belongs to it.
    fn next<V>(
        &mut self,
        decode: impl FnOnce(&mut Walk<'de, '_>) -> postcard::Result<V>,
    ) -> postcard::Result<Option<V>> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        if self.is_bag {
            self.walk.renamer.shape = SEED;
        }
        let value = decode(self.walk)?;
        self.sum = self.sum.wrapping_add(self.walk.renamer.shape);
        Ok(Some(value))
    }
}

impl<'de> SeqAccess<'de> for &mut Elements<'_, 'de, '_> {
    type Error = postcard::Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> postcard::Result<Option<T::Value>> {
        self.next(|walk| seed.deserialize(walk))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

impl<'de> MapAccess<'de> for &mut Elements<'_, 'de, '_> {
    type Error = postcard::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> postcard::Result<Option<K::Value>> {
        if self.left == 0 {
            return Ok(None);
        }
        self.walk.renamer.shape = SEED;
        seed.deserialize(&mut *self.walk).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> postcard::Result<V::Value> {
        let value = seed.deserialize(&mut *self.walk)?;
        self.left -= 1;
        self.sum = self.sum.wrapping_add(self.walk.renamer.shape);
        Ok(value)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

impl<'de, 'r> Walk<'de, 'r> {
    /// Shows `visitor` so many elements, in a bag or one after the other.
    fn elements<V>(
        &mut self,
        count: usize,
        is_bag: bool,
        visit: impl FnOnce(&mut Elements<'_, 'de, 'r>) -> postcard::Result<V>,
    ) -> postcard::Result<V> {
        let before = self.renamer.shape;
        let mut elements = Elements { walk: self, left: count, is_bag, sum: 0 };
        let value = visit(&mut elements)?;
        if is_bag {
            self.renamer.shape = mixed(before, elements.sum);
        }
        Ok(value)
    }
}

macro_rules! plain {
    ($($deserialize:ident => $visit:ident),* $(,)?) => {
        $(fn $deserialize<V: Visitor<'de>>(self, visitor: V) -> postcard::Result<V::Value> {
            visitor.$visit(self.take()?)
        })*
    };
}

macro_rules! unknowable {
    ($($deserialize:ident),* $(,)?) => {
        $(fn $deserialize<V: Visitor<'de>>(self, _: V) -> postcard::Result<V::Value> {
            Err(postcard::Error::WontImplement) // Events are not self-describing either.
        })*
    };
}

impl<'de> Deserializer<'de> for &mut Walk<'de, '_> {
    type Error = postcard::Error;

    plain! {
        deserialize_bool => visit_bool,
        deserialize_i8 => visit_i8,
        deserialize_i16 => visit_i16,
        deserialize_i32 => visit_i32,
        deserialize_i64 => visit_i64,
        deserialize_i128 => visit_i128,
        deserialize_u8 => visit_u8,
        deserialize_u16 => visit_u16,
        deserialize_u64 => visit_u64,
        deserialize_u128 => visit_u128,
        deserialize_f32 => visit_f32,
        deserialize_f64 => visit_f64,
        deserialize_char => visit_char,
        deserialize_str => visit_borrowed_str,
        deserialize_string => visit_borrowed_str,
        deserialize_bytes => visit_borrowed_bytes,
        deserialize_byte_buf => visit_borrowed_bytes,
    }

    unknowable!(deserialize_any, deserialize_identifier, deserialize_ignored_any);

    fn is_human_readable(&self) -> bool {
        false
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> postcard::Result<V::Value> {
        if !std::mem::take(&mut self.at_node) {
            return visitor.visit_u32(self.take()?);
        }
        let (node, rest) = postcard::take_from_bytes(self.bytes)?;
        self.bytes = rest;
        visitor.visit_u32(self.renamer.node(NodeId(node)).0)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> postcard::Result<V::Value> {
        self.at_node = name == NodeId::SERDE_NAME;
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> postcard::Result<V::Value> {
        match self.take::<u8>()? {
            0 => visitor.visit_none(),
            1 => visitor.visit_some(self),
            _ => Err(postcard::Error::DeserializeBadOption),
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> postcard::Result<V::Value> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> postcard::Result<V::Value> {
        visitor.visit_unit()
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> postcard::Result<V::Value> {
        let count = self.take()?;
        self.elements(count, true, |elements| visitor.visit_seq(elements))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> postcard::Result<V::Value> {
        let count = self.take()?;
        self.elements(count, true, |elements| visitor.visit_map(elements))
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        count: usize,
        visitor: V,
    ) -> postcard::Result<V::Value> {
        self.elements(count, false, |elements| visitor.visit_seq(elements))
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        count: usize,
        visitor: V,
    ) -> postcard::Result<V::Value> {
        self.deserialize_tuple(count, visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> postcard::Result<V::Value> {
        self.deserialize_tuple(fields.len(), visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> postcard::Result<V::Value> {
        visitor.visit_enum(self)
    }
}

impl<'de> EnumAccess<'de> for &mut Walk<'de, '_> {
    type Error = postcard::Error;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> postcard::Result<(V::Value, Self)> {
        let variant: U32Deserializer<postcard::Error> = self.take::<u32>()?.into_deserializer();
        let value = seed.deserialize(variant)?;
        Ok((value, self))
    }
}

impl<'de> VariantAccess<'de> for &mut Walk<'de, '_> {
    type Error = postcard::Error;

    fn unit_variant(self) -> postcard::Result<()> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> postcard::Result<T::Value> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(
        self,
        count: usize,
        visitor: V,
    ) -> postcard::Result<V::Value> {
        self.deserialize_tuple(count, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> postcard::Result<V::Value> {
        self.deserialize_tuple(fields.len(), visitor)
    }
}
