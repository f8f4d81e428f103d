//! A deserializer without any data: it notes what a type asks for, and hands out small values.
//!
//! A run shows one variant of each enum, and ends early where a value is refused or contains itself.
//! So there are as many runs as it takes, and what one has found stays for the next.

use std::any::type_name;
use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::de::value::U32Deserializer;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error as _, IntoDeserializer, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};

use super::layout::{Layout, Variant};

/// What the runs hand out, one after the other: types refuse some values.
const TRIED: [Values; 5] = [
    Values { number: 1, text: "1", bytes: 1, is_filled: true },
    Values { number: 0, text: "", bytes: 0, is_filled: true },
    Values { number: 2, text: "a", bytes: 16, is_filled: true },
    Values { number: 3, text: "0", bytes: 32, is_filled: true },
    // What is behind a list may be seen even if its elements are refused.
    Values { number: 1, text: "1", bytes: 1, is_filled: false },
];

/// Runs in a row that show nothing new, before other values are tried.
const IDLE_RUNS_MAX: u32 = 64;

/// Parts of one tuple, struct or enum, and levels that they are nested. What is beyond is not known.
const PARTS_MAX: usize = 4_096;
const LEVELS_MAX: usize = 64;

/// Bytes that are handed out.
const BYTES: [u8; 32] = [0; 32];

#[derive(Clone, Copy)]
struct Values {
    number: u8,
    text: &'static str,
    bytes: usize,
    /// Whether options and lists have something in them.
    is_filled: bool,
}

/// What the runs for one type have in common.
struct Survey {
    values: Values,
    /// The structs and enums around the place where a run is.
    above: Vec<&'static str>,
    /// For each enum, the first variant of which there was a value. Those in it were there before,
    /// so values made of such variants alone come to an end.
    ends: BTreeMap<&'static str, usize>,
    /// Whether a value is made of such variants and of empty lists, of a type that stands within itself.
    is_noted: bool,
}

/// Lets a type deserialize itself until its layout is known, or does not get any better.
pub(super) fn ask(mut deserialize: impl FnMut(Probe<'_>)) -> Layout {
    let mut layout = Layout::Unknown;
    let (above, ends) = (Vec::new(), BTreeMap::new());
    let mut survey = Survey { values: TRIED[0], above, ends, is_noted: false };
    for values in TRIED {
        let mut idle = 0;
        while idle < IDLE_RUNS_MAX {
            let before = layout.known();
            survey.begin(values);
            let run = || deserialize(Probe { place: &mut layout, survey: &mut survey });
            // A type that panics upon odd values does so once, and is known as far as it has come.
            if catch_unwind(AssertUnwindSafe(run)).is_err() || layout.is_complete() {
                return layout;
            }
            idle = if before < layout.known() { 0 } else { idle + 1 };
        }
    }
    layout
}

/// Why there is no value. What has been found until then is noted.
#[derive(Debug)]
pub(super) struct NoValue;

impl fmt::Display for NoValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there is no value to be had")
    }
}

impl std::error::Error for NoValue {}

impl serde::de::Error for NoValue {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

/// A place in a layout, and whoever fills it.
pub(super) struct Probe<'a> {
    place: &'a mut Layout,
    survey: &'a mut Survey,
}

impl Probe<'_> {
    /// Notes what stands here, the first time.
    fn note(&mut self, layout: impl FnOnce() -> Layout) {
        if *self.place == Layout::Unknown {
            *self.place = layout();
        }
    }

    fn part<'b>(place: &'b mut Layout, survey: &'b mut Survey) -> Probe<'b> {
        Probe { place, survey }
    }

    /// Goes into the struct or enum `name`. Where it stands within itself, there is nothing new to see, and
    /// whoever asked gets some value.
    fn within<V>(
        mut self,
        name: &'static str,
        visit: impl FnOnce(Probe<'_>) -> Result<V, NoValue>,
    ) -> Result<V, NoValue> {
        if self.survey.is_noted {
            return visit(self);
        }
        let Survey { above, .. } = &*self.survey;
        if let Some(levels) = above.iter().rev().position(|above| *above == name) {
            self.note(|| Layout::Above(levels));
            return self.noted(visit);
        }
        if LEVELS_MAX <= above.len() {
            return Err(NoValue);
        }
        self.survey.above.push(name);
        let value = visit(Probe::part(self.place, self.survey));
        self.survey.above.pop();
        value
    }

    /// Some value of what has been noted.
    fn noted<V>(self, visit: impl FnOnce(Probe<'_>) -> Result<V, NoValue>) -> Result<V, NoValue> {
        let mut unseen = Layout::Unknown;
        self.survey.is_noted = true;
        let value = visit(Probe::part(&mut unseen, self.survey));
        self.survey.is_noted = false;
        value
    }

    /// Shows `visitor` parts without names.
    fn tuple<'de, V: Visitor<'de>>(
        mut self,
        count: usize,
        visitor: V,
    ) -> Result<V::Value, NoValue> {
        if PARTS_MAX < count {
            return Err(NoValue);
        }
        self.note(|| Layout::Tuple(vec![Layout::Unknown; count]));
        let Layout::Tuple(parts) = self.place else { return Err(NoValue) };
        visitor.visit_seq(Parts { places: parts.iter_mut(), survey: self.survey })
    }

    /// Shows `visitor` parts with names.
    fn fields<'de, V: Visitor<'de>>(
        mut self,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, NoValue> {
        if PARTS_MAX < names.len() {
            return Err(NoValue);
        }
        self.note(|| Layout::Struct(names.iter().map(|name| (*name, Layout::Unknown)).collect()));
        let Layout::Struct(fields) = self.place else { return Err(NoValue) };
        let places = fields.iter_mut().map(|(_, part)| part);
        visitor.visit_seq(Parts { places, survey: self.survey })
    }

    /// Shows `visitor` one of several variants.
    fn one_of<'de, V: Visitor<'de>>(
        mut self,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, NoValue> {
        let name = type_name::<V>();
        let ends = self.survey.ends.get(name).copied();
        if self.survey.is_noted {
            return visitor.visit_enum(Chosen { index: ends.ok_or(NoValue)?, probe: self });
        }
        if PARTS_MAX < names.len() {
            return Err(NoValue);
        }
        self.note(|| Layout::Enum(names.iter().map(|name| Variant::unknown(name)).collect()));
        let Self { place: Layout::Enum(variants), survey } = self else { return Err(NoValue) };
        let index = next(variants, ends);
        let variant = variants.get_mut(index).ok_or(NoValue)?;
        variant.asked += 1;
        let probe = Probe::part(&mut variant.content, survey);
        let value = visitor.visit_enum(Chosen { index, probe })?;
        survey.ends.entry(name).or_insert(index);
        Ok(value)
    }
}

macro_rules! plain {
    ($($deserialize:ident => $visit:ident, $name:literal, $value:expr;)*) => {
        $(fn $deserialize<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, NoValue> {
            self.note(|| Layout::Plain($name));
            let value: fn(Values) -> _ = $value;
            visitor.$visit(value(self.survey.values))
        })*
    };
}

macro_rules! unknowable {
    ($($deserialize:ident),* $(,)?) => {
        $(fn $deserialize<V: Visitor<'de>>(self, _: V) -> Result<V::Value, NoValue> {
            Err(NoValue) // Events are not self-describing.
        })*
    };
}

impl<'de> Deserializer<'de> for Probe<'_> {
    type Error = NoValue;

    plain! {
        deserialize_bool => visit_bool, "bool", |it| it.number != 0;
        deserialize_i8 => visit_i8, "i8", |it| it.number.cast_signed();
        deserialize_i16 => visit_i16, "i16", |it| it.number.into();
        deserialize_i32 => visit_i32, "i32", |it| it.number.into();
        deserialize_i64 => visit_i64, "i64", |it| it.number.into();
        deserialize_i128 => visit_i128, "i128", |it| it.number.into();
        deserialize_u8 => visit_u8, "u8", |it| it.number;
        deserialize_u16 => visit_u16, "u16", |it| it.number.into();
        deserialize_u32 => visit_u32, "u32", |it| it.number.into();
        deserialize_u64 => visit_u64, "u64", |it| it.number.into();
        deserialize_u128 => visit_u128, "u128", |it| it.number.into();
        deserialize_f32 => visit_f32, "f32", |it| it.number.into();
        deserialize_f64 => visit_f64, "f64", |it| it.number.into();
        deserialize_char => visit_char, "char", |it| char::from(b'a' + it.number);
        deserialize_str => visit_borrowed_str, "text", |it| it.text;
        deserialize_string => visit_borrowed_str, "text", |it| it.text;
        deserialize_bytes => visit_borrowed_bytes, "bytes", bytes;
        deserialize_byte_buf => visit_borrowed_bytes, "bytes", bytes;
    }

    unknowable!(deserialize_any, deserialize_identifier, deserialize_ignored_any);

    fn is_human_readable(&self) -> bool {
        false
    }

    fn deserialize_option<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, NoValue> {
        self.note(|| Layout::Option(Box::default()));
        let Layout::Option(part) = self.place else { return Err(NoValue) };
        if self.survey.is_filling() {
            visitor.visit_some(Probe::part(part, self.survey))
        } else {
            visitor.visit_none()
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, NoValue> {
        self.note(|| Layout::Tuple(Vec::new()));
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, NoValue> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, NoValue> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, NoValue> {
        self.note(|| Layout::List(Box::default()));
        let Layout::List(part) = self.place else { return Err(NoValue) };
        let places = self.survey.is_filling().then_some(&mut **part).into_iter();
        visitor.visit_seq(Parts { places, survey: self.survey })
    }

    fn deserialize_map<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, NoValue> {
        self.note(|| Layout::Map(Box::default()));
        let Layout::Map(parts) = self.place else { return Err(NoValue) };
        let (key, value) = &mut **parts;
        let places = if self.survey.is_filling() { vec![key, value] } else { Vec::new() };
        visitor.visit_map(Parts { places: places.into_iter(), survey: self.survey })
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        count: usize,
        visitor: V,
    ) -> Result<V::Value, NoValue> {
        self.tuple(count, visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        count: usize,
        visitor: V,
    ) -> Result<V::Value, NoValue> {
        self.within(type_name::<V>(), |probe| probe.tuple(count, visitor))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, NoValue> {
        self.within(type_name::<V>(), |probe| probe.fields(names, visitor))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, NoValue> {
        self.within(type_name::<V>(), |probe| probe.one_of(names, visitor))
    }
}

impl Survey {
    /// Begins a run, whatever the one before it came to.
    fn begin(&mut self, values: Values) {
        self.values = values;
        self.above.clear();
        self.is_noted = false;
    }

    /// Whether options and lists have something in them.
    fn is_filling(&self) -> bool {
        self.values.is_filled && !self.is_noted
    }
}

impl Variant {
    fn unknown(name: &'static str) -> Self {
        Self { name, content: Layout::Unknown, asked: 0 }
    }
}

/// The variant to ask for: of those that are not known, the one that was asked for least.
fn next(variants: &[Variant], ends: Option<usize>) -> usize {
    let incomplete = variants.iter().enumerate().filter(|(_, it)| !it.content.is_complete());
    let next = incomplete.min_by_key(|(_, it)| it.asked).map(|(index, _)| index);
    next.or(ends).unwrap_or(0)
}

fn bytes(values: Values) -> &'static [u8] {
    BYTES.get(..values.bytes).unwrap_or_default()
}

/// Parts that follow each other.
struct Parts<'a, I> {
    places: I,
    survey: &'a mut Survey,
}

impl<'de, 'p, I: Iterator<Item = &'p mut Layout>> SeqAccess<'de> for Parts<'_, I> {
    type Error = NoValue;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, NoValue> {
        let Some(place) = self.places.next() else { return Ok(None) };
        seed.deserialize(Probe::part(place, self.survey)).map(Some)
    }
}

impl<'de, 'p, I: Iterator<Item = &'p mut Layout>> MapAccess<'de> for Parts<'_, I> {
    type Error = NoValue;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, NoValue> {
        self.next_element_seed(seed)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, NoValue> {
        self.next_element_seed(seed)?.ok_or_else(|| NoValue::custom("a key without a value"))
    }
}

/// A variant, and the place for its content.
struct Chosen<'a> {
    index: usize,
    probe: Probe<'a>,
}

impl<'de, 'a> EnumAccess<'de> for Chosen<'a> {
    type Error = NoValue;
    type Variant = Probe<'a>;

    fn variant_seed<V: DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, Probe<'a>), NoValue> {
        let index = u32::try_from(self.index).map_err(NoValue::custom)?;
        let index: U32Deserializer<NoValue> = index.into_deserializer();
        Ok((seed.deserialize(index)?, self.probe))
    }
}

impl<'de> VariantAccess<'de> for Probe<'_> {
    type Error = NoValue;

    fn unit_variant(mut self) -> Result<(), NoValue> {
        self.note(|| Layout::Tuple(Vec::new()));
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(
        mut self,
        seed: T,
    ) -> Result<T::Value, NoValue> {
        self.note(|| Layout::Tuple(vec![Layout::Unknown]));
        match self.place {
            Layout::Tuple(parts) => match parts.first_mut() {
                Some(part) => seed.deserialize(Probe::part(part, self.survey)),
                None => Err(NoValue),
            },
            _ => Err(NoValue),
        }
    }

    fn tuple_variant<V: Visitor<'de>>(self, count: usize, visitor: V) -> Result<V::Value, NoValue> {
        self.tuple(count, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, NoValue> {
        self.fields(fields, visitor)
    }
}
