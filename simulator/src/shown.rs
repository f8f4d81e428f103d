//! A state as data, from what `Debug` writes of it.
//!
//! A state need not serialize to be simulated, and what it holds is to be compared and told all the
//! same. Maps and sets are sorted, so that two that are equal are the same data, in whatever order their
//! entries are written. A text that is not in the form of a derived `Debug` is told as it is.

use serde_json::{Map, Value};

/// How deep values are taken apart. What is deeper stays text.
const DEPTH_MAX: usize = 32;

/// The data that a text tells of. O(its length).
pub(crate) fn data_of(text: &str) -> Value {
    let mut reader = Reader { text, at: 0 };
    let whole = reader.value(0).filter(|_| reader.rest().is_empty());
    // The name of the state's own type says nothing.
    match whole {
        Some(Read::Named(_, value) | Read::Plain(value)) => value,
        None => Value::from(text),
    }
}

struct Reader<'a> {
    text: &'a str,
    /// Up to where it is read, in bytes.
    at: usize,
}

/// A value, and the name before it if there is one: that of its type or variant.
enum Read<'a> {
    Named(&'a str, Value),
    Plain(Value),
}

impl Read<'_> {
    /// An option is what is in it, and a name is the only key, as in what serializes.
    fn value(self) -> Value {
        match self {
            Self::Plain(value) | Self::Named("Some", value) => value,
            Self::Named(name, value) => {
                Value::Object(Map::from_iter([(String::from(name), value)]))
            }
        }
    }
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn takes(&mut self, expected: &str) -> bool {
        let found = self.rest().starts_with(expected);
        self.at += if found { expected.len() } else { 0 };
        found
    }

    /// The next value; none where the text does not look like one.
    fn value(&mut self, depth: usize) -> Option<Read<'a>> {
        if DEPTH_MAX < depth {
            return None;
        }
        if self.rest().starts_with(['"', '\'']) {
            return self.quoted().map(|text| Read::Plain(Value::from(text)));
        }
        if let Some(group) = self.group(depth) {
            // Fields have an order, entries of a map have none.
            return group.map(|mut group| {
                group.as_object_mut().into_iter().for_each(Map::sort_keys);
                Read::Plain(group)
            });
        }
        let name = self.word();
        if self.rest().starts_with(" {") {
            self.at += 1;
        }
        match self.group(depth) {
            None => Some(Read::Plain(atom(name))),
            // What has one field without a name is that field.
            Some(group) => Some(Read::Named(
                name,
                match group? {
                    Value::Array(mut fields) if fields.len() == 1 => {
                        fields.pop().unwrap_or_default()
                    }
                    group => group,
                },
            )),
        }
    }

    /// What stands in brackets, if a bracket is next.
    fn group(&mut self, depth: usize) -> Option<Option<Value>> {
        let close = match self.rest().bytes().next()? {
            b'{' => "}",
            b'[' => "]",
            b'(' => ")",
            _ => return None,
        };
        self.at += 1;
        Some(self.entries(close, depth + 1))
    }

    fn entries(&mut self, close: &str, depth: usize) -> Option<Value> {
        let (mut values, mut fields) = (Vec::new(), Map::new());
        loop {
            // The braces of a type's fields have a space inside.
            self.takes(" ");
            if self.takes(close) {
                break;
            }
            if self.takes("..") {
                continue; // More is there than is told.
            }
            let begin = self.at;
            let value = self.value(depth)?.value();
            if close == "}" && self.takes(": ") {
                let key = self.text.get(begin..self.at - 2).unwrap_or_default();
                fields.insert(String::from(key.trim_matches('"')), self.value(depth)?.value());
            } else {
                values.push(value);
            }
            if !self.takes(",") && !self.rest().trim_start().starts_with(close) {
                return None;
            }
        }
        if close == "}" && !values.is_empty() {
            values.sort_by_cached_key(ToString::to_string);
        }
        Some(if fields.is_empty() && (close != "}" || !values.is_empty()) {
            Value::Array(values)
        } else {
            Value::Object(fields)
        })
    }

    /// A text or a character with its quotes.
    fn quoted(&mut self) -> Option<&'a str> {
        let quote = self.rest().chars().next()?;
        let mut escaped = false;
        let closes = |(_, it): &(usize, char)| {
            let ends = *it == quote && !escaped;
            escaped = *it == '\\' && !escaped;
            ends
        };
        let (length, _) = self.rest().char_indices().skip(1).find(closes)?;
        let inside = self.rest().get(1..length);
        self.at += length + 1;
        inside
    }

    /// Up to the next sign that belongs to what is around it.
    fn word(&mut self) -> &'a str {
        let rest = self.rest();
        let ends = |at: &usize| {
            let from = rest.get(*at..).unwrap_or_default();
            from.starts_with([',', '{', '}', '[', ']', '(', ')'])
                || from.starts_with(": ")
                || from.starts_with(" {")
                || from.starts_with(" }")
        };
        let length = rest.char_indices().map(|(at, _)| at).find(ends).unwrap_or(rest.len());
        self.at += length;
        rest.get(..length).unwrap_or_default()
    }
}

/// A value that holds no other.
fn atom(word: &str) -> Value {
    let number =
        || word.parse::<u64>().map(Value::from).or_else(|_| word.parse::<i64>().map(Value::from));
    match word {
        "None" => Value::Null,
        "true" | "false" => Value::from(word == "true"),
        _ => number().unwrap_or_else(|_| Value::from(word)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::fmt::Debug;
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    fn shown(state: &impl Debug) -> Value {
        data_of(&format!("{state:?}"))
    }

    #[derive(Debug)]
    #[expect(dead_code, reason = "only shown")]
    enum Role {
        Follower,
        Leader { term: u64 },
        Voted(u64, bool),
    }

    #[derive(Debug)]
    #[expect(dead_code, reason = "only shown")]
    struct State {
        role: Role,
        name: &'static str,
        of: Option<u32>,
        log: Vec<(i64, char)>,
        places: BTreeMap<String, Role>,
    }

    #[test]
    fn a_derived_text_becomes_the_data_that_it_tells_of() {
        let state = State {
            role: Role::Leader { term: 3 },
            name: "a \"b\", {c: d}",
            of: Some(7),
            log: vec![(-1, '}'), (2, '\'')],
            places: [("x, y", Role::Follower), ("z", Role::Voted(1, true))]
                .map(|(key, role)| (String::from(key), role))
                .into(),
        };
        let expected = json!({
            "role": {"Leader": {"term": 3}},
            "name": "a \\\"b\\\", {c: d}",
            "of": 7,
            "log": [[-1, "}"], [2, "\\'"]],
            "places": {"x, y": "Follower", "z": {"Voted": [1, true]}},
        });
        assert_eq!(shown(&state), expected);
        assert_eq!(shown(&Option::<u8>::None), json!(null));
        assert_eq!(shown(&(1, "a")), json!([1, "a"]));
        assert_eq!(shown(&Duration::from_millis(1_500)), json!("1.5s"));
        assert_eq!(shown(&BTreeSet::<u8>::new()), json!({}));
    }

    #[test]
    fn the_order_of_a_list_counts_and_that_of_a_map_or_a_set_does_not() {
        assert_eq!(data_of("{1: A, 2: B { c: 3 }}"), data_of("{2: B { c: 3 }, 1: A}"));
        assert_eq!(data_of("{3, 1, 2}"), json!([1, 2, 3]));
        assert_ne!(shown(&[1, 2]), shown(&[2, 1]));
        assert_ne!(shown(&Role::Leader { term: 1 }), shown(&Role::Voted(1, false)));
    }

    #[test]
    fn a_text_in_another_form_stays_text() {
        for text in ["", "a {", "] x", "{a b", "12:30, maybe", "\"open", "f(1) + g(2)", "}"] {
            assert_eq!(data_of(text), json!(text), "{text}");
        }
        let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(data_of(&deep), json!(deep));
    }
}
