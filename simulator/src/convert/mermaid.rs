//! Mermaid.
//!
//! In its texts `#`, `;` and a line's end are syntax, and some words before a `:` change how the
//! rest is read; all but letters, digits and a few marks without a meaning is written as numbers.

use std::fmt::Write as _;

use super::sequence::{Line, Sequence};
use crate::trace::Trace;

pub(super) fn diagram(trace: &Trace) -> String {
    let Sequence { title, lanes, lines } = Sequence::of(trace);
    let mut text = format!("sequenceDiagram\n    title: {}\n", escape(&title));
    for node in &lanes {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "    participant {node}");
    }
    let Some((first, last)) = lanes.first().zip(lanes.last()) else {
        return text;
    };
    let all = if first == last { first.to_string() } else { format!("{first},{last}") };
    for line in &lines {
        let _ = match line {
            Line::Arrow(from, to, said) => writeln!(text, "    {from}->>{to}: {}", escape(said)),
            Line::Lost(from, to, said) => writeln!(text, "    {from}-x{to}: {}", escape(said)),
            Line::Note(node, said) | Line::Crash(node, said) => {
                writeln!(text, "    Note over {node}: {}", escape(said))
            }
            Line::Across(said) | Line::Wrong(said) => {
                writeln!(text, "    Note over {all}: {}", escape(said))
            }
        };
    }
    text
}

fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for it in text.chars() {
        // A word such as `end` or `wrap` is not at the begin of a text: a time is.
        if it.is_alphanumeric() || matches!(it, ' ' | '.' | ',' | '(' | ')' | '-' | '/' | '=') {
            escaped.push(it);
        } else {
            let _ = write!(escaped, "#{};", u32::from(it));
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn syntax_and_markup_become_numbers() {
        assert_eq!(escape("é, 1.5"), "é, 1.5");
        assert_eq!(escape("a;b#c<d>"), "a#59;b#35;c#60;d#62;");
    }
}
