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
    let mut reader = Reader::from_flavor(Input { bytes, meter: &meter });
    let decoded = T::deserialize(Metered { inner: &mut reader, meter: &meter });
    match decoded {
        Ok(value) if meter.at.get() == bytes.len() => Ok(value),
        Ok(_) => {
            let rest = bytes.len() - meter.at.get();
            Err(DecodeError::new(format!("{rest} bytes are left over")))
        }
        Err(error) => Err(match meter.exceeded.get() {
            Some(exceeded) => DecodeError::new(exceeded),
            None => DecodeError::codec(&error),
        }),
    }
}

/// What decoding one event may still use.
struct Meter {
    /// Bytes of the input.
    size: usize,
    /// Bytes of memory that values may still take.
    left: Cell<usize>,
    depth: Cell<u32>,
    /// The place of the next byte.
    at: Cell<usize>,
    /// From which place on bytes belong to a number of several bytes.
    number_from: Cell<usize>,
    exceeded: Cell<Option<&'static str>>,
}

impl Meter {
    fn new(size: usize) -> Self {
        let left = size.saturating_mul(MEMORY_PER_BYTE_MAX).saturating_add(MEMORY_FREE);
        Self {
            size,
            left: Cell::new(left),
            depth: Cell::new(0),
            at: Cell::new(0),
            number_from: Cell::new(0),
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

/// The bytes, read one number after the other. A number whose last byte adds nothing is written
/// longer than it need be.
struct Input<'de> {
    bytes: &'de [u8],
    meter: &'de Meter,
}

impl Input<'_> {
    /// Whether the byte before `at` says that its number goes on.
    fn goes_on(&self, at: usize) -> bool {
        let before = at.checked_sub(1).filter(|before| self.meter.number_from.get() <= *before);
        before.and_then(|before| self.bytes.get(before)).is_some_and(|byte| 0x80 <= *byte)
    }
}

impl<'de> Flavor<'de> for Input<'de> {
    type Remainder = ();
    type Source = &'de [u8];

    #[inline]
    fn pop(&mut self) -> postcard::Result<u8> {
        let at = self.meter.at.get();
        let byte = *self.bytes.get(at).ok_or(postcard::Error::DeserializeUnexpectedEnd)?;
        self.meter.at.set(at + 1);
        if byte == 0 && self.goes_on(at) {
            return Err(self.meter.exceed("a number in it is written longer than it is"));
        }
        Ok(byte)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        Some(self.bytes.len() - self.meter.at.get())
    }

    #[inline]
    fn try_take_n(&mut self, count: usize) -> postcard::Result<&'de [u8]> {
        let at = self.meter.at.get();
        let end = at.checked_add(count).ok_or(postcard::Error::DeserializeUnexpectedEnd)?;
        let taken = self.bytes.get(at..end).ok_or(postcard::Error::DeserializeUnexpectedEnd)?;
        self.meter.at.set(end);
        self.meter.number_from.set(end);
        Ok(taken)
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
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
macro_rules! single {
    ($($method:ident)*) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
            let value = self.inner.$method(visitor);
            self.meter.number_from.set(self.meter.at.get());
            value
        }
    )*};
}

/// Values that hold others: as parts of themselves, or any number of them beside.
macro_rules! nested {
    ($beside:literal: $($method:ident($($argument:ident: $kind:ty),*))*) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(
            self,
            $($argument: $kind,)*
            visitor: V,
        ) -> Result<V::Value, D::Error> {
            self.meter.enter::<V::Value, D::Error>()?;
            let visitor = Watched::<_, $beside> { inner: visitor, meter: self.meter };
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

    single! { deserialize_i8 deserialize_u8 }

    nested! { true: deserialize_seq() deserialize_map() }

    nested! { false:
        deserialize_option()
        deserialize_newtype_struct(name: &'static str)
        deserialize_tuple(len: usize)
        deserialize_tuple_struct(name: &'static str, len: usize)
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

/// A visitor, a seed or an access that watches what it is given. Elements that stand `BESIDE` their list
/// take room of their own.
struct Watched<'m, V, const BESIDE: bool = false> {
    inner: V,
    meter: &'m Meter,
}

impl<'de, V: Visitor<'de>, const BESIDE: bool> Visitor<'de> for Watched<'_, V, BESIDE> {
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
        self.inner.visit_seq(Watched::<_, BESIDE> { inner, meter: self.meter })
    }

    #[inline]
    fn visit_map<A: MapAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        self.inner.visit_map(Watched::<_, BESIDE> { inner, meter: self.meter })
    }

    #[inline]
    fn visit_enum<A: EnumAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        self.inner.visit_enum(Watched::<_> { inner, meter: self.meter })
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Watched<'_, S> {
    type Value = S::Value;

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<S::Value, D::Error> {
        self.inner.deserialize(Metered { inner, meter: self.meter })
    }
}

impl<'de, A: SeqAccess<'de>, const BESIDE: bool> SeqAccess<'de> for Watched<'_, A, BESIDE> {
    type Error = A::Error;

    #[inline]
    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        inner: S,
    ) -> Result<Option<S::Value>, A::Error> {
        if BESIDE {
            self.meter.charge::<S::Value, _>()?;
        }
        self.inner.next_element_seed(Watched::<_> { inner, meter: self.meter })
    }

    /// Nobody makes room for more elements than there are bytes.
    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint().map(|hint| hint.min(self.meter.size))
    }
}

impl<'de, A: MapAccess<'de>, const BESIDE: bool> MapAccess<'de> for Watched<'_, A, BESIDE> {
    type Error = A::Error;

    #[inline]
    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        inner: S,
    ) -> Result<Option<S::Value>, A::Error> {
        self.meter.charge::<S::Value, _>()?;
        self.inner.next_key_seed(Watched::<_> { inner, meter: self.meter })
    }

    #[inline]
    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, inner: S) -> Result<S::Value, A::Error> {
        self.meter.charge::<S::Value, _>()?;
        self.inner.next_value_seed(Watched::<_> { inner, meter: self.meter })
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
        Ok((value, Watched::<_> { inner, meter: self.meter }))
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
        self.inner.newtype_variant_seed(Watched::<_> { inner, meter: self.meter })
    }

    #[inline]
    fn tuple_variant<V: Visitor<'de>>(self, len: usize, inner: V) -> Result<V::Value, A::Error> {
        self.inner.tuple_variant(len, Watched::<_> { inner, meter: self.meter })
    }

    #[inline]
    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        inner: V,
    ) -> Result<V::Value, A::Error> {
        self.inner.struct_variant(fields, Watched::<_> { inner, meter: self.meter })
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
