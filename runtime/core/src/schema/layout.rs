//! What a type consists of, as far as its bytes are concerned.

use std::fmt::{self, Display, Formatter};

/// What a type consists of: a tree, whose text is short and the same on every machine.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) enum Layout {
    /// Not known, written `_`: the type refuses every value that was tried, or describes itself.
    #[default]
    Unknown,
    /// A number, a text, or the like.
    Plain(&'static str),
    /// Something, or nothing.
    Option(Box<Self>),
    /// Any number of elements.
    List(Box<Self>),
    /// Any number of keys and values.
    Map(Box<(Self, Self)>),
    /// Parts without names.
    Tuple(Vec<Self>),
    /// Parts with names.
    Struct(Vec<(&'static str, Self)>),
    /// One of several.
    Enum(Vec<Variant>),
    /// What so many structs and enums further out is: a type contains itself.
    Above(usize),
}

/// One of several contents.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Variant {
    /// Its name.
    pub(super) name: &'static str,
    /// Its content: a tuple or a struct.
    pub(super) content: Layout,
    /// How often it was asked for.
    pub(super) asked: u32,
}

impl Layout {
    /// Whether all of it is known.
    pub(super) fn is_complete(&self) -> bool {
        !matches!(self, Self::Unknown) && self.parts().all(Self::is_complete)
    }

    /// How many parts of it are known.
    pub(super) fn known(&self) -> usize {
        let itself = usize::from(!matches!(self, Self::Unknown));
        itself + self.parts().map(Self::known).sum::<usize>()
    }

    fn parts(&self) -> Box<dyn Iterator<Item = &Self> + '_> {
        match self {
            Self::Unknown | Self::Plain(_) | Self::Above(_) => Box::new([].into_iter()),
            Self::Option(part) | Self::List(part) => Box::new([&**part].into_iter()),
            Self::Map(parts) => Box::new([&parts.0, &parts.1].into_iter()),
            Self::Tuple(parts) => Box::new(parts.iter()),
            Self::Struct(fields) => Box::new(fields.iter().map(|(_, part)| part)),
            Self::Enum(variants) => Box::new(variants.iter().map(|variant| &variant.content)),
        }
    }
}

impl Display for Layout {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("_"),
            Self::Plain(name) => f.write_str(name),
            Self::Option(part) => write!(f, "option {part}"),
            Self::List(part) => write!(f, "[{part}]"),
            Self::Map(parts) => write!(f, "[{} => {}]", parts.0, parts.1),
            Self::Tuple(parts) => joined(f, ["(", ", ", ")"], parts, |f, part| part.fmt(f)),
            Self::Struct(fields) => {
                joined(f, ["{", ", ", "}"], fields, |f, (name, part)| write!(f, "{name}: {part}"))
            }
            Self::Enum(variants) => joined(f, ["<", " | ", ">"], variants, |f, it| it.fmt(f)),
            Self::Above(levels) => write!(f, "^{levels}"),
        }
    }
}

impl Display for Variant {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        match &self.content {
            Layout::Tuple(parts) if parts.is_empty() => Ok(()),
            Layout::Unknown => f.write_str("(_)"),
            content => content.fmt(f),
        }
    }
}

fn joined<T>(
    f: &mut Formatter<'_>,
    [open, between, close]: [&str; 3],
    parts: &[T],
    write: impl Fn(&mut Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    f.write_str(open)?;
    for (at, part) in parts.iter().enumerate() {
        f.write_str(if at == 0 { "" } else { between })?;
        write(f, part)?;
    }
    f.write_str(close)
}
