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
    let lines: Vec<String> = lines.iter().map(|line| written(line, &all)).collect();
    let mut room = TEXT_MAX.saturating_sub(text.len() + OMISSION_MAX);
    let fits = lines.iter().rev().take_while(|line| {
        let left = room.checked_sub(line.len());
        room = left.unwrap_or(0);
        left.is_some()
    });
    let omitted = lines.len() - fits.count();
    if 0 < omitted {
        let _ = writeln!(
            text,
            "    Note over {all}: {omitted} more lines are left out, the first ones"
        );
    }
    text.extend(lines.into_iter().skip(omitted));
    text
}

fn written(line: &Line, all: &str) -> String {
    let (begin, said) = match line {
        Line::Arrow(from, to, said) => (format!("{from}->>{to}"), said),
        Line::Lost(from, to, said) => (format!("{from}-x{to}"), said),
        Line::Note(node, said) | Line::Crash(node, said) => (format!("Note over {node}"), said),
        Line::Across(said) | Line::Wrong(said) => (format!("Note over {all}"), said),
    };
    format!("    {begin}: {}\n", escape(said))
}

/// Bytes of a diagram: Mermaid shows nothing at all of a text of more than 50,000 characters,
/// unless the page says otherwise.
const TEXT_MAX: usize = 50_000;
/// Bytes of the line that says what is left out, at most.
const OMISSION_MAX: usize = 100;

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
