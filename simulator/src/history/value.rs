//! Values of histories that come from files.

use std::fmt;

/// A value of an operation, of whatever kind a file has. Lists and vectors are one kind, since
/// files write pairs as either; numbers that are no 64-bit integers are equal if they are written
/// alike.
#[derive(Clone, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Value {
    /// Nothing, or nothing that is known.
    #[default]
    Nil,
    /// True or false.
    Bool(bool),
    /// An integer.
    Integer(i64),
    /// Any other number, as it is written.
    Number(String),
    /// A text.
    Text(String),
    /// A name with a colon before it, without the colon.
    Keyword(String),
    /// A name or a character, as it is written.
    Symbol(String),
    /// Values in an order.
    List(Vec<Self>),
    /// Values in no order, ascending.
    Set(Vec<Self>),
    /// Values by value, ascending.
    Map(Vec<(Self, Self)>),
    /// A value with a name for its kind.
    Tagged(String, Box<Self>),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nil => f.write_str("nil"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Integer(value) => write!(f, "{value}"),
            Self::Number(text) | Self::Symbol(text) => f.write_str(text),
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Keyword(name) => write!(f, ":{name}"),
            Self::List(values) => write!(f, "[{}]", Spaced(values)),
            Self::Set(values) => write!(f, "#{{{}}}", Spaced(values)),
            Self::Map(pairs) => {
                f.write_str("{")?;
                for (index, (key, value)) in pairs.iter().enumerate() {
                    let gap = if index == 0 { "" } else { ", " };
                    write!(f, "{gap}{key} {value}")?;
                }
                f.write_str("}")
            }
            Self::Tagged(tag, value) => write!(f, "#{tag} {value}"),
        }
    }
}

struct Spaced<'a>(&'a [Value]);

impl fmt::Display for Spaced<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, value) in self.0.iter().enumerate() {
            let gap = if index == 0 { "" } else { " " };
            write!(f, "{gap}{value}")?;
        }
        Ok(())
    }
}

impl From<serde_json::Value> for Value {
    fn from(json: serde_json::Value) -> Self {
        match json {
            serde_json::Value::Null => Self::Nil,
            serde_json::Value::Bool(value) => Self::Bool(value),
            serde_json::Value::Number(number) => {
                number.as_i64().map_or_else(|| Self::Number(number.to_string()), Self::Integer)
            }
            serde_json::Value::String(text) => Self::Text(text),
            serde_json::Value::Array(values) => {
                Self::List(values.into_iter().map(Self::from).collect())
            }
            serde_json::Value::Object(fields) => {
                let pairs = fields.into_iter().map(|(key, it)| (Self::Text(key), Self::from(it)));
                let mut pairs: Vec<_> = pairs.collect();
                pairs.sort_unstable();
                Self::Map(pairs)
            }
        }
    }
}
