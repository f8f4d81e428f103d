//! Events out of bytes that somebody else has chosen.
//!
//! Postcard writes events, and its encoding is documented. Its own reader lets a frame of 64 KiB become
//! 200 MB, nests as deep as the frame is long, which ends the process, and reads a list of nothings
//! for ever. This one has a budget and a depth, and takes each value in one form only: that in which
//! it is written.

use std::fmt;

use serde::de::value::U32Deserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess,
    SeqAccess, VariantAccess, Visitor,
};

use crate::envelope::DecodeError;
use crate::varint::{self, Misread};

/// Decodes a value that takes up all of `bytes`. O(size).
#[inline]
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refused> {
    let mut reader = Reader::new(bytes);
    // One result, which stays where it was written: what is fresh is slow to copy.
    let mut decoded = T::deserialize(&mut reader);
    if decoded.is_ok() && !reader.rest.is_empty() {
        decoded = Err(refused(&format!("{} bytes are left over", reader.rest.len())));
    }
    decoded
}

/// Why a value is not read. Small, so that reading costs little where nothing is wrong.
#[derive(Debug)]
pub(crate) struct Refused(Box<DecodeError>);

impl Refused {
    pub(crate) fn why(self) -> DecodeError {
        *self.0
    }
}

#[cold]
pub(crate) fn refused(why: &str) -> Refused {
    Refused(Box::new(DecodeError::new(why)))
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Refused {}

impl serde::de::Error for Refused {
    #[cold]
    fn custom<T: fmt::Display>(why: T) -> Self {
        refused(&format!("the bytes do not decode: {why}"))
    }
}

/// The bytes that are not read yet, and what reading them may still use.
struct Reader<'de> {
    rest: &'de [u8],
    /// Bytes in all.
    size: usize,
    /// Bytes of memory that values may still take.
    room: usize,
    /// Levels that values may still be nested.
    levels: u32,
}

impl<'de> Reader<'de> {
    fn new(bytes: &'de [u8]) -> Self {
        let size = bytes.len();
        let room = size.saturating_mul(MEMORY_PER_BYTE_MAX).saturating_add(MEMORY_FREE);
        Self { rest: bytes, size, room, levels: DEPTH_MAX }
    }

    #[inline]
    fn number(&mut self) -> Result<u64, Refused> {
        varint::read(&mut self.rest).map_err(misread)
    }

    /// A number of a narrower type.
    #[inline]
    fn narrow<N: TryFrom<u64>>(&mut self) -> Result<N, Refused> {
        N::try_from(self.number()?).map_err(|_| misread(Misread::TooLarge))
    }

    /// A number that may be wider than what is read at once.
    fn wide(&mut self) -> Result<u128, Refused> {
        let (mut number, mut shift) = (0, 0);
        while shift < u128::BITS {
            let byte = self.byte()?;
            let part = u128::from(byte & 0x7f);
            number |= part << shift;
            if byte < 0x80 {
                return match part {
                    0 if 0 < shift => Err(misread(Misread::Padded)),
                    _ if (part << shift) >> shift != part => break,
                    _ => Ok(number),
                };
            }
            shift += 7;
        }
        Err(misread(Misread::TooLarge))
    }

    #[inline]
    fn byte(&mut self) -> Result<u8, Refused> {
        let (byte, rest) = self.rest.split_first().ok_or_else(|| refused(END))?;
        self.rest = rest;
        Ok(*byte)
    }

    /// How many there are of something.
    #[inline]
    fn length(&mut self) -> Result<usize, Refused> {
        let length = self.number()?;
        usize::try_from(length).map_err(|_| refused(END))
    }

    #[inline]
    fn take(&mut self, count: usize) -> Result<&'de [u8], Refused> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or_else(|| refused(END))?;
        self.rest = rest;
        Ok(taken)
    }

    #[inline]
    fn array<const SIZE: usize>(&mut self) -> Result<[u8; SIZE], Refused> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or_else(|| refused(END))?;
        self.rest = rest;
        Ok(*taken)
    }

    fn text(&mut self) -> Result<&'de str, Refused> {
        let length = self.length()?;
        std::str::from_utf8(self.take(length)?).map_err(|_| refused(NO_TEXT))
    }

    /// The same as a copy, for who would make one anyway: memory of its own begins where a word does, and so
    /// is looked at by words.
    fn owned_text(&mut self) -> Result<String, Refused> {
        let length = self.length()?;
        String::from_utf8(self.take(length)?.to_vec()).map_err(|_| refused(NO_TEXT))
    }

    /// Takes the room of one value out of the budget. Nothing is one byte, or it would be free.
    #[inline]
    fn charge<T>(&mut self) -> Result<(), Refused> {
        let room = self.room.checked_sub(size_of::<T>().max(1));
        self.room = room.ok_or_else(|| refused("its values take too much memory for its size"))?;
        Ok(())
    }

    /// Reads a value that holds others.
    #[inline]
    fn nested<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, Refused>,
    ) -> Result<T, Refused> {
        self.charge::<T>()?;
        let levels = self.levels.checked_sub(1);
        self.levels = levels.ok_or_else(|| refused("its values are nested too deep"))?;
        let value = read(self)?;
        self.levels += 1;
        Ok(value)
    }
}

/// Values that are read in one go: what each asks its visitor, and how it is read.
macro_rules! plain {
    ($($method:ident: $visit:ident($reader:ident) $read:expr;)*) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
            let $reader = self;
            visitor.$visit($read)
        }
    )*};
}

/// A number with a sign, which is written as its lowest bit.
macro_rules! unfolded {
    ($folded:expr) => {{
        let folded = $folded;
        (folded >> 1).cast_signed() ^ -(folded & 1).cast_signed()
    }};
}

/// Questions that only a format can answer that describes itself.
macro_rules! unanswered {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Refused> {
            Err(refused("the bytes do not decode: they do not say of which type they are"))
        }
    )*};
}

impl<'de> Deserializer<'de> for &mut Reader<'de> {
    type Error = Refused;

    plain! {
        deserialize_bool: visit_bool(it) match it.byte()? {
            0 => false,
            1 => true,
            _ => return Err(refused("a truth value in it is neither 0 nor 1")),
        };
        deserialize_i8: visit_i8(it) it.byte()?.cast_signed();
        deserialize_i16: visit_i16(it) unfolded!(it.narrow::<u16>()?);
        deserialize_i32: visit_i32(it) unfolded!(it.narrow::<u32>()?);
        deserialize_i64: visit_i64(it) unfolded!(it.number()?);
        deserialize_i128: visit_i128(it) unfolded!(it.wide()?);
        deserialize_u8: visit_u8(it) it.byte()?;
        deserialize_u16: visit_u16(it) it.narrow()?;
        deserialize_u32: visit_u32(it) it.narrow()?;
        deserialize_u64: visit_u64(it) it.number()?;
        deserialize_u128: visit_u128(it) it.wide()?;
        deserialize_f32: visit_f32(it) f32::from_le_bytes(it.array()?);
        deserialize_f64: visit_f64(it) f64::from_le_bytes(it.array()?);
        deserialize_str: visit_borrowed_str(it) it.text()?;
        deserialize_string: visit_string(it) it.owned_text()?;
        deserialize_bytes: visit_borrowed_bytes(it) { let length = it.length()?; it.take(length)? };
        deserialize_byte_buf: visit_borrowed_bytes(it) { let length = it.length()?; it.take(length)? };
    }

    unanswered! { deserialize_any deserialize_identifier deserialize_ignored_any }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        let mut letters = self.text()?.chars();
        match (letters.next(), letters.next()) {
            (Some(letter), None) => visitor.visit_char(letter),
            _ => Err(refused("a letter in it is not one letter")),
        }
    }

    #[inline]
    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        visitor.visit_unit()
    }

    #[inline]
    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Refused> {
        visitor.visit_unit()
    }

    #[inline]
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        self.nested(|it| match it.byte()? {
            0 => visitor.visit_none(),
            1 => visitor.visit_some(it),
            _ => Err(refused("an option in it is neither nothing nor something")),
        })
    }

    #[inline]
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Refused> {
        self.nested(|it| visitor.visit_newtype_struct(it))
    }

    #[inline]
    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Refused> {
        self.nested(|reader| visitor.visit_seq(Parts { reader, left: length }))
    }

    #[inline]
    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Refused> {
        self.deserialize_tuple(length, visitor)
    }

    #[inline]
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refused> {
        self.deserialize_tuple(fields.len(), visitor)
    }

    #[inline]
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        self.nested(|reader| {
            let left = reader.length()?;
            visitor.visit_seq(Elements { reader, left })
        })
    }

    #[inline]
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        self.nested(|reader| {
            let left = reader.length()?;
            visitor.visit_map(Elements { reader, left })
        })
    }

    #[inline]
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refused> {
        self.nested(|it| visitor.visit_enum(it))
    }

    #[inline]
    fn is_human_readable(&self) -> bool {
        false
    }
}

/// What a tuple or a struct holds within itself.
struct Parts<'r, 'de> {
    reader: &'r mut Reader<'de>,
    left: usize,
}

impl<'de> SeqAccess<'de> for Parts<'_, 'de> {
    type Error = Refused;

    #[inline]
    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Refused> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        seed.deserialize(&mut *self.reader).map(Some)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

/// What a list or a table holds beside itself: each takes room of its own.
struct Elements<'r, 'de> {
    reader: &'r mut Reader<'de>,
    left: usize,
}

impl<'de> Elements<'_, 'de> {
    #[inline]
    fn element<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Refused> {
        self.reader.charge::<S::Value>()?;
        seed.deserialize(&mut *self.reader)
    }

    /// Nobody makes room for more elements than there are bytes.
    #[inline]
    fn hint(&self) -> Option<usize> {
        Some(self.left.min(self.reader.size))
    }
}

impl<'de> SeqAccess<'de> for Elements<'_, 'de> {
    type Error = Refused;

    #[inline]
    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Refused> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        self.element(seed).map(Some)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        self.hint()
    }
}

impl<'de> MapAccess<'de> for Elements<'_, 'de> {
    type Error = Refused;

    #[inline]
    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Refused> {
        self.next_element_seed(seed)
    }

    #[inline]
    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Refused> {
        self.element(seed)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        self.hint()
    }
}

impl<'de> EnumAccess<'de> for &mut Reader<'de> {
    type Error = Refused;
    type Variant = Self;

    #[inline]
    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), Refused> {
        let variant: U32Deserializer<Refused> = self.narrow::<u32>()?.into_deserializer();
        Ok((seed.deserialize(variant)?, self))
    }
}

impl<'de> VariantAccess<'de> for &mut Reader<'de> {
    type Error = Refused;

    #[inline]
    fn unit_variant(self) -> Result<(), Refused> {
        Ok(())
    }

    #[inline]
    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Refused> {
        seed.deserialize(self)
    }

    #[inline]
    fn tuple_variant<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Refused> {
        visitor.visit_seq(Parts { reader: self, left: length })
    }

    #[inline]
    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refused> {
        self.tuple_variant(fields.len(), visitor)
    }
}

#[cold]
fn misread(why: Misread) -> Refused {
    refused(match why {
        Misread::Cut => END,
        Misread::Padded => "a number in it is written longer than it is",
        Misread::TooLarge => "a number in it is too large for its type",
    })
}

const END: &str = "the bytes end too early";
const NO_TEXT: &str = "a text in it is not UTF-8";

/// Bytes of memory that the values of an event may take for each byte of it. A list of options or
/// of small structs takes a few dozen.
const MEMORY_PER_BYTE_MAX: usize = 128;

/// What they may take besides, in bytes.
const MEMORY_FREE: usize = 1 << 20;

/// How deep values may be nested: each level takes some of the stack, and no way leads back from
/// its end.
const DEPTH_MAX: u32 = 128;
