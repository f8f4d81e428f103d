//! Events out of bytes that somebody else has chosen.
//!
//! Postcard alone lets a frame of 64 KiB become 200 MB, nests as deep as the frame is long, which
//! ends the process, and reads a list of nothings for ever. Here decoding has a budget, a depth,
//! and takes each value in one form only: that in which it is written.

use std::cell::Cell;
use std::fmt;

use postcard::Deserializer as Reader;
use postcard::de_flavors::Flavor;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};

use crate::envelope::DecodeError;

/// Decodes a value that takes up all of `bytes`. O(size).
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    let meter = Meter::new(bytes.len());
    let mut reader = Reader::from_flavor(Input { rest: bytes, meter: &meter });
    let decoded = T::deserialize(Metered { inner: &mut reader, meter: &meter });
    let rest = reader.finalize();
    if let Some(exceeded) = meter.exceeded.get() {
        return Err(DecodeError::new(exceeded));
    }
    match (decoded, rest) {
        (Ok(value), Ok(0)) => Ok(value),
        (Ok(_), Ok(rest)) => Err(DecodeError::new(format!("{rest} bytes are left over"))),
        (Err(error), _) | (_, Err(error)) => Err(DecodeError::codec(&error)),
    }
}

/// What decoding one event may still use.
struct Meter {
    /// Bytes of the input.
    size: usize,
    /// Bytes of memory that values may still take.
    left: Cell<usize>,
    depth: Cell<u32>,
    /// Whether the byte before says that its number goes on.
    goes_on: Cell<bool>,
    exceeded: Cell<Option<&'static str>>,
}

impl Meter {
    fn new(size: usize) -> Self {
        let left = size.saturating_mul(MEMORY_PER_BYTE_MAX).saturating_add(MEMORY_FREE);
        Self {
            size,
            left: Cell::new(left),
            depth: Cell::new(0),
            goes_on: Cell::new(false),
            exceeded: Cell::new(None),
        }
    }

    /// Takes the room of one value out of the budget. Nothing is one byte, or it would be free.
    #[inline]
    fn charge<T, E: serde::de::Error>(&self) -> Result<(), E> {
        let size = size_of::<T>().max(1);
        match self.left.get().checked_sub(size) {
            Some(left) => {
                self.left.set(left);
                Ok(())
            }
            None => Err(self.exceed("its values take too much memory for its size")),
        }
    }

    /// Goes into a value that holds others.
    #[inline]
    fn enter<T, E: serde::de::Error>(&self) -> Result<(), E> {
        self.charge::<T, E>()?;
        let depth = self.depth.get() + 1;
        if DEPTH_MAX < depth {
            return Err(self.exceed("its values are nested too deep"));
        }
        self.depth.set(depth);
        Ok(())
    }

    #[inline]
    fn leave(&self) {
        self.depth.set(self.depth.get() - 1);
    }

    #[cold]
    fn exceed<E: serde::de::Error>(&self, what: &'static str) -> E {
        self.exceeded.set(Some(what));
        E::custom(what)
    }
}

/// The bytes, read one number after the other. A number whose last byte is an empty one is written
/// longer than it needs to be.
struct Input<'de> {
    rest: &'de [u8],
    meter: &'de Meter,
}

impl<'de> Flavor<'de> for Input<'de> {
    type Remainder = usize;
    type Source = &'de [u8];

    #[inline]
    fn pop(&mut self) -> postcard::Result<u8> {
        let (byte, rest) =
            self.rest.split_first().ok_or(postcard::Error::DeserializeUnexpectedEnd)?;
        self.rest = rest;
        if *byte == 0 && self.meter.goes_on.get() {
            return Err(self.meter.exceed("a number in it is written longer than it is"));
        }
        self.meter.goes_on.set(0x80 <= *byte);
        Ok(*byte)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        Some(self.rest.len())
    }

    #[inline]
    fn try_take_n(&mut self, count: usize) -> postcard::Result<&'de [u8]> {
        let (taken, rest) =
            self.rest.split_at_checked(count).ok_or(postcard::Error::DeserializeUnexpectedEnd)?;
        self.rest = rest;
        Ok(taken)
    }

    fn finalize(self) -> postcard::Result<usize> {
        Ok(self.rest.len())
    }
}

/// A deserializer that is watched.
struct Metered<'m, D> {
    inner: D,
    meter: &'m Meter,
}

/// Numbers and texts, which hold no other values.
macro_rules! plain {
    ($($method:ident)*) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
            self.inner.$method(visitor)
        }
    )*};
}

/// Single bytes: none of them says that a number goes on.
macro_rules! bytes {
    ($($method:ident)*) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
            let value = self.inner.$method(visitor);
            self.meter.goes_on.set(false);
            value
        }
    )*};
}

/// Values that hold others.
macro_rules! nested {
    ($($method:ident($($argument:ident: $kind:ty),*))*) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(
            self,
            $($argument: $kind,)*
            visitor: V,
        ) -> Result<V::Value, D::Error> {
            self.meter.enter::<V::Value, D::Error>()?;
            let visitor = Watched { inner: visitor, meter: self.meter };
            let value = self.inner.$method($($argument,)* visitor)?;
            self.meter.leave();
            Ok(value)
        }
    )*};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Metered<'_, D> {
    type Error = D::Error;

    plain! {
        deserialize_any deserialize_bool deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_i128 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
        deserialize_f32 deserialize_f64 deserialize_char deserialize_str deserialize_string
        deserialize_bytes deserialize_byte_buf deserialize_unit deserialize_identifier
        deserialize_ignored_any
    }

    bytes! { deserialize_i8 deserialize_u8 }

    nested! {
        deserialize_option()
        deserialize_newtype_struct(name: &'static str)
        deserialize_seq()
        deserialize_tuple(len: usize)
        deserialize_tuple_struct(name: &'static str, len: usize)
        deserialize_map()
        deserialize_struct(name: &'static str, fields: &'static [&'static str])
        deserialize_enum(name: &'static str, variants: &'static [&'static str])
    }

    #[inline]
    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.inner.deserialize_unit_struct(name, visitor)
    }

    #[inline]
    fn is_human_readable(&self) -> bool {
        false
    }
}

/// A visitor that watches what it is given.
struct Watched<'m, V> {
    inner: V,
    meter: &'m Meter,
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Watched<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    #[inline]
    fn visit_none<E: serde::de::Error>(self) -> Result<V::Value, E> {
        self.inner.visit_none()
    }

    #[inline]
    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.inner.visit_some(Metered { inner, meter: self.meter })
    }

    #[inline]
    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.inner.visit_newtype_struct(Metered { inner, meter: self.meter })
    }

    #[inline]
    fn visit_seq<A: SeqAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        self.inner.visit_seq(Watched { inner, meter: self.meter })
    }

    #[inline]
    fn visit_map<A: MapAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        self.inner.visit_map(Watched { inner, meter: self.meter })
    }

    #[inline]
    fn visit_enum<A: EnumAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        self.inner.visit_enum(Watched { inner, meter: self.meter })
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Watched<'_, S> {
    type Value = S::Value;

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<S::Value, D::Error> {
        self.inner.deserialize(Metered { inner, meter: self.meter })
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Watched<'_, A> {
    type Error = A::Error;

    #[inline]
    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        inner: S,
    ) -> Result<Option<S::Value>, A::Error> {
        self.meter.charge::<S::Value, _>()?;
        self.inner.next_element_seed(Watched { inner, meter: self.meter })
    }

    /// Nobody makes room for more elements than there are bytes.
    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint().map(|hint| hint.min(self.meter.size))
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Watched<'_, A> {
    type Error = A::Error;

    #[inline]
    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        inner: S,
    ) -> Result<Option<S::Value>, A::Error> {
        self.meter.charge::<S::Value, _>()?;
        self.inner.next_key_seed(Watched { inner, meter: self.meter })
    }

    #[inline]
    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, inner: S) -> Result<S::Value, A::Error> {
        self.meter.charge::<S::Value, _>()?;
        self.inner.next_value_seed(Watched { inner, meter: self.meter })
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint().map(|hint| hint.min(self.meter.size))
    }
}

impl<'m, 'de, A: EnumAccess<'de>> EnumAccess<'de> for Watched<'m, A> {
    type Error = A::Error;
    type Variant = Watched<'m, A::Variant>;

    #[inline]
    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Self::Variant), A::Error> {
        let (value, inner) = self.inner.variant_seed(seed)?;
        Ok((value, Watched { inner, meter: self.meter }))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Watched<'_, A> {
    type Error = A::Error;

    #[inline]
    fn unit_variant(self) -> Result<(), A::Error> {
        self.inner.unit_variant()
    }

    #[inline]
    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, inner: S) -> Result<S::Value, A::Error> {
        self.inner.newtype_variant_seed(Watched { inner, meter: self.meter })
    }

    #[inline]
    fn tuple_variant<V: Visitor<'de>>(self, len: usize, inner: V) -> Result<V::Value, A::Error> {
        self.inner.tuple_variant(len, Watched { inner, meter: self.meter })
    }

    #[inline]
    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        inner: V,
    ) -> Result<V::Value, A::Error> {
        self.inner.struct_variant(fields, Watched { inner, meter: self.meter })
    }
}

/// Bytes of memory that the values of an event may take for each byte of it. A list of options or
/// of small structs takes a few dozen.
const MEMORY_PER_BYTE_MAX: usize = 128;

/// What they may take besides, in bytes.
const MEMORY_FREE: usize = 1 << 20;

/// How deep values may be nested: each level takes some of the stack, and no way leads back from
/// its end.
const DEPTH_MAX: u32 = 128;
