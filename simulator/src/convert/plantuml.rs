//! PlantUML.
//!
//! Its texts know markup, file inclusion and calls of functions such as `%getenv`, so all but
//! letters, digits and a few marks without a meaning is written as numbers.

use std::fmt::Write as _;

use super::sequence::{Line, Sequence};
use crate::trace::Trace;

pub(super) fn diagram(trace: &Trace) -> String {
    let Sequence { title, lanes, lines } = Sequence::of(trace);
    let mut text = format!("@startuml\n{SCALE}\ntitle {}\n", escape(&title));
    for node in &lanes {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "participant {node}");
    }
    for line in &lines {
        let _ = match line {
            Line::Arrow(from, to, said) => writeln!(text, "{from} -> {to} : {}", escape(said)),
            Line::Lost(from, to, said) => writeln!(text, "{from} ->x {to} : {}", escape(said)),
            Line::Note(node, said) => writeln!(text, "rnote over {node} : {}", escape(said)),
            Line::Crash(node, said) => {
                writeln!(text, "hnote over {node} #E69F00 : {}", escape(said))
            }
            Line::Across(said) => writeln!(text, "== {} ==", escape(said)),
            Line::Wrong(said) => writeln!(text, "note across #F0E442 : {}", escape(said)),
        };
    }
    text + "@enduml\n"
}

/// A picture of more than 4096 pixels is cut off unless PlantUML is told otherwise by a variable of
/// the environment.
const SCALE: &str = "scale max 4000*4000";

fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for it in text.chars() {
        if it.is_alphanumeric() || matches!(it, ' ' | '.' | ',' | ':' | '(' | ')') {
            escaped.push(it);
        } else {
            let _ = write!(escaped, "<U+{:04X}>", u32::from(it));
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn markup_and_functions_lose_their_meaning() {
        assert_eq!(escape("é, 1.5"), "é, 1.5");
        let escaped = escape("**b** %getenv(\"X\") <img:x> !include /' ~ \\n");
        assert!(!escaped.contains(['*', '%', '"', '!', '/', '\'', '~', '\\']));
        assert!(escaped.starts_with("<U+002A><U+002A>b"), "{escaped}");
        assert_eq!(escape("</b>"), "<U+003C><U+002F>b<U+003E>");
    }
}
