//! Words for pictures.

use crate::diagram::lanes::came_to;
use crate::trace::{Step, StepKind};

/// `text` with every character visible: those that move, reorder or hide text are written as
/// their number. At most `max` characters are shown, then an ellipsis.
pub(crate) fn visible(text: &str, max: usize) -> String {
    let (mut shown, mut length) = (String::new(), 0);
    for it in text.chars() {
        let written = match it {
            '\n' => String::from("\\n"),
            '\r' => String::from("\\r"),
            '\t' => String::from("\\t"),
            it if is_deceptive(it) => format!("\\u{{{:x}}}", u32::from(it)),
            it => String::from(it),
        };
        length += written.chars().count();
        if max < length {
            shown.push('…');
            break;
        }
        shown.push_str(&written);
    }
    shown
}

/// Whether a character changes how others are shown, or is no character of XML.
fn is_deceptive(it: char) -> bool {
    it.is_control()
        || matches!(it,
            '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{ffff}'
            | '\u{e0000}'..='\u{e007f}')
}

/// A time as milliseconds with three digits.
pub(super) fn millis(time_us: u64) -> String {
    format!("{}.{:03}ms", time_us / 1_000, time_us % 1_000)
}

/// The event of a step: as it was written out, else its name.
pub(super) fn event<'a>(name: &'a str, payload: &'a str) -> &'a str {
    if payload.is_empty() { name } else { payload }
}

/// What happened in a step, without the node.
pub(super) fn happening(step: &Step) -> String {
    let event = event(&step.event, &step.payload);
    match step.kind {
        StepKind::Timer => format!("timer: {event}"),
        StepKind::Partition => format!("partition: {event}"),
        StepKind::Heal => format!("healed: {event}"),
        StepKind::Lost => match step.log.first() {
            Some(why) => format!("{event} (lost: {why})"),
            None => format!("{event} (lost)"),
        },
        _ => String::from(event),
    }
}

/// What the step changed, indicated and noted, in one line; empty if nothing.
pub(super) fn effects(step: &Step) -> String {
    let log = if step.kind == StepKind::Lost { &[] } else { step.log.as_slice() };
    let state = came_to(step);
    let words: Vec<&str> =
        state.iter().chain(&step.outputs).chain(log).map(String::as_str).collect();
    words.join("; ")
}

#[cfg(test)]
mod tests {
    use super::visible;

    #[test]
    fn what_would_move_or_reorder_text_is_written_as_its_number() {
        assert_eq!(visible("a\nb\u{202e}c\u{1b}", 19), "a\\nb\\u{202e}c\\u{1b}");
        assert_eq!(visible("שלום < é", 9), "שלום < é");
        assert_eq!(visible("abcdef", 3), "abc…");
        assert_eq!(visible("abc", 3), "abc");
        assert_eq!(visible("a\nb", 3), "a\\n…", "what is shown is counted");
    }
}
