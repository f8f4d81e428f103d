//! Values as bytes, in postcard's encoding.
//!
//! Postcard's own writer puts each number together in a buffer and has that copied; this one writes
//! it where it stays. Most events are a few numbers, so that is most of what sending one costs.

use std::fmt;

use serde::Serialize;
use serde::ser::{
    self, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

use crate::varint;

/// Where encoded values go.
pub(crate) trait Sink {
    fn push(&mut self, byte: u8);
    fn extend(&mut self, bytes: &[u8]);

    /// Appends a whole number.
    fn number(&mut self, number: u64);
}

impl Sink for Vec<u8> {
    #[inline]
    fn push(&mut self, byte: u8) {
        Self::push(self, byte);
    }

    #[inline]
    fn extend(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }

    #[inline]
    fn number(&mut self, number: u64) {
        if number < 0x80 {
            return self.push(number.to_le_bytes()[0]);
        }
        // All of them are copied and some cut off again: that many at once take no loop.
        let (bytes, count) = varint::written(number);
        let end = self.len() + count;
        self.extend_from_slice(&bytes);
        self.truncate(end);
    }
}

/// Appends `value` to `sink`. O(size).
///
/// # Errors
///
/// [`Unwritable`] if the type's `Serialize` implementation says so; part of it is written then.
#[inline]
pub(crate) fn encode<T: Serialize>(value: &T, sink: &mut impl Sink) -> Result<(), Unwritable> {
    value.serialize(&mut Writer(sink))
}

/// Why a value cannot be written.
#[derive(Debug)]
pub(crate) struct Unwritable(Box<str>);

impl fmt::Display for Unwritable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Unwritable {}

impl ser::Error for Unwritable {
    #[cold]
    fn custom<T: fmt::Display>(why: T) -> Self {
        Self(why.to_string().into())
    }
}

/// What a `Serialize` implementation writes to.
struct Writer<'a, S>(&'a mut S);

impl<S: Sink> Writer<'_, S> {
    /// A number that may be wider than a sink takes at once.
    fn wide(&mut self, number: u128) {
        let mut rest = number;
        while 0x80 <= rest {
            self.0.push(rest.to_le_bytes()[0] | 0x80);
            rest >>= 7;
        }
        self.0.push(rest.to_le_bytes()[0]);
    }

    /// Bytes, and before them how many there are.
    #[inline]
    fn bytes(&mut self, bytes: &[u8]) {
        self.0.number(bytes.len() as u64);
        self.0.extend(bytes);
    }

    /// The beginning of a list or a table.
    #[inline]
    fn begin(&mut self, length: Option<usize>) -> Result<&mut Self, Unwritable> {
        let length = length.ok_or_else(|| ser::Error::custom("a list of unknown length"))?;
        self.0.number(length as u64);
        Ok(self)
    }

    #[inline]
    fn variant(&mut self, index: u32) -> &mut Self {
        self.0.number(u64::from(index));
        self
    }
}

/// Values that are written in one go.
macro_rules! plain {
    ($($method:ident($type:ty): |$it:ident, $value:ident| $write:expr;)*) => {$(
        #[inline]
        fn $method(self, $value: $type) -> Result<(), Unwritable> {
            let $it = self;
            $write;
            Ok(())
        }
    )*};
}

/// A number with a sign: the sign is the lowest bit.
macro_rules! folded {
    ($number:expr) => {{
        let number = $number;
        ((number << 1) ^ (number >> (size_of_val(&number) * 8 - 1))).cast_unsigned()
    }};
}

impl<S: Sink> Serializer for &mut Writer<'_, S> {
    type Ok = ();
    type Error = Unwritable;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = Self;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    plain! {
        serialize_bool(bool): |it, value| it.0.push(u8::from(value));
        serialize_i8(i8): |it, value| it.0.push(value.cast_unsigned());
        serialize_i16(i16): |it, value| it.0.number(u64::from(folded!(value)));
        serialize_i32(i32): |it, value| it.0.number(u64::from(folded!(value)));
        serialize_i64(i64): |it, value| it.0.number(folded!(value));
        serialize_i128(i128): |it, value| it.wide(folded!(value));
        serialize_u8(u8): |it, value| it.0.push(value);
        serialize_u16(u16): |it, value| it.0.number(u64::from(value));
        serialize_u32(u32): |it, value| it.0.number(u64::from(value));
        serialize_u64(u64): |it, value| it.0.number(value);
        serialize_u128(u128): |it, value| it.wide(value);
        serialize_f32(f32): |it, value| it.0.extend(&value.to_le_bytes());
        serialize_f64(f64): |it, value| it.0.extend(&value.to_le_bytes());
        serialize_char(char): |it, value| it.bytes(value.encode_utf8(&mut [0; 4]).as_bytes());
        serialize_str(&str): |it, value| it.bytes(value.as_bytes());
        serialize_bytes(&[u8]): |it, value| it.bytes(value);
    }

    #[inline]
    fn serialize_unit(self) -> Result<(), Unwritable> {
        Ok(())
    }

    #[inline]
    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Unwritable> {
        Ok(())
    }

    #[inline]
    fn serialize_none(self) -> Result<(), Unwritable> {
        self.serialize_u8(0)
    }

    #[inline]
    fn serialize_some<T: ?Sized + Serialize>(self, value: &T) -> Result<(), Unwritable> {
        self.0.push(1);
        value.serialize(self)
    }

    #[inline]
    fn serialize_unit_variant(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
    ) -> Result<(), Unwritable> {
        self.serialize_u32(index)
    }

    #[inline]
    fn serialize_newtype_struct<T: ?Sized + Serialize>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Unwritable> {
        value.serialize(self)
    }

    #[inline]
    fn serialize_newtype_variant<T: ?Sized + Serialize>(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        value: &T,
    ) -> Result<(), Unwritable> {
        value.serialize(self.variant(index))
    }

    #[inline]
    fn serialize_seq(self, length: Option<usize>) -> Result<Self, Unwritable> {
        self.begin(length)
    }

    #[inline]
    fn serialize_map(self, length: Option<usize>) -> Result<Self, Unwritable> {
        self.begin(length)
    }

    #[inline]
    fn serialize_tuple(self, _: usize) -> Result<Self, Unwritable> {
        Ok(self)
    }

    #[inline]
    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self, Unwritable> {
        Ok(self)
    }

    #[inline]
    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self, Unwritable> {
        Ok(self)
    }

    #[inline]
    fn serialize_tuple_variant(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self, Unwritable> {
        Ok(self.variant(index))
    }

    #[inline]
    fn serialize_struct_variant(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self, Unwritable> {
        Ok(self.variant(index))
    }

    #[inline]
    fn is_human_readable(&self) -> bool {
        false
    }
}

/// What holds others writes them one after the other, without names.
macro_rules! compound {
    ($($trait:ident: $($method:ident($($key:ty)?))*;)*) => {$(
        impl<S: Sink> $trait for &mut Writer<'_, S> {
            type Ok = ();
            type Error = Unwritable;

            $(
                #[inline(always)]
                fn $method<T: ?Sized + Serialize>(
                    &mut self,
                    $(_: $key,)?
                    value: &T,
                ) -> Result<(), Unwritable> {
                    value.serialize(&mut **self)
                }
            )*

            #[inline]
            fn end(self) -> Result<(), Unwritable> {
                Ok(())
            }
        }
    )*};
}

compound! {
    SerializeSeq: serialize_element();
    SerializeTuple: serialize_element();
    SerializeTupleStruct: serialize_field();
    SerializeTupleVariant: serialize_field();
    SerializeMap: serialize_key() serialize_value();
    SerializeStruct: serialize_field(&'static str);
    SerializeStructVariant: serialize_field(&'static str);
}
