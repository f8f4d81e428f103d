//! A page that shows a run: one file with the trace in it, which needs no server, no network and no font.
//!
//! The page is put together from the files in `html/`: `model.js` reads the trace, `picture.js` draws what is in
//! sight of it, `page.js` hears the keys and the pointer. Nothing of the algorithm runs in it.

use super::svg::escape;
use crate::diagram::Diagram;
use crate::trace::Trace;

const PAGE: &str = include_str!("html/page.html");
const STYLE: &str = include_str!("html/style.css");
const SCRIPT: &str = concat!(
    include_str!("html/model.js"),
    include_str!("html/picture.js"),
    include_str!("html/page.js"),
);

/// Bytes of the trace in a page. Browsers still open that within seconds, and of more a person sees a part.
const TRACE_MAX: usize = 24 << 20;
/// Characters of the title, and of what went wrong.
const WORDS_MAX: usize = 200;
/// Characters of the picture for those who read the source, and of a schedule to be copied.
const TEXT_MAX: usize = 100_000;

pub(super) fn page(trace: &Trace) -> String {
    let picture = Diagram::of(trace).to_string();
    let lines: Vec<String> = picture.lines().map(|line| escape(line, TEXT_MAX)).collect();
    filled(&[
        ("title", &title(trace)),
        ("picture", &lines.join("\n")),
        ("style", STYLE),
        ("verdict", &verdict(trace)),
        ("schedule", &schedule(trace)),
        // In JSON a `<` stands within texts only: no tag and no comment can begin in what is left.
        ("trace", &kept(trace).replace('<', "\\u003c")),
        ("script", SCRIPT),
    ])
}

/// The page with each `{{name}}` in it replaced by its text. What comes with a text is not looked at again.
fn filled(texts: &[(&str, &str)]) -> String {
    let mut parts = PAGE.split("{{");
    let mut page = String::from(parts.next().unwrap_or_default());
    for part in parts {
        let (name, rest) = part.split_once("}}").unwrap_or((part, ""));
        let text = texts.iter().find(|(it, _)| *it == name).map_or("", |(_, text)| text);
        page.push_str(text);
        page.push_str(rest);
    }
    page
}

fn title(trace: &Trace) -> String {
    let Trace { algorithm, nodes, header, .. } = trace;
    let seed = header.seed.map(|seed| format!(", seed {seed}")).unwrap_or_default();
    escape(&format!("{algorithm}, {nodes} nodes{seed}"), WORDS_MAX)
}

/// A button that tells what went wrong, and leads there.
fn verdict(trace: &Trace) -> String {
    let wrong = trace.steps.iter().find_map(|step| step.wrong.as_deref());
    wrong.map_or_else(String::new, |words| {
        format!("<button id=\"verdict\" title=\"v\">✗ {}</button>\n", escape(words, WORDS_MAX))
    })
}

/// A button that copies the schedule of the run, as text for a file.
fn schedule(trace: &Trace) -> String {
    let text = trace.header.schedule.as_deref().filter(|text| text.len() <= TEXT_MAX);
    text.map_or_else(String::new, |text| {
        let lines: Vec<String> = text.lines().map(|line| escape(line, TEXT_MAX)).collect();
        format!("<button data-copy=\"{}&#10;\">copy schedule</button>\n", lines.join("&#10;"))
    })
}

/// The header and as many steps as there is room for: those up to what went wrong, else the last ones.
fn kept(trace: &Trace) -> String {
    let text = trace.json_lines();
    if text.len() <= TRACE_MAX {
        return text;
    }
    let (header, steps) = text.split_once('\n').unwrap_or((&text, ""));
    let wrong = trace.steps.iter().position(|step| step.wrong.is_some());
    let end = wrong.map_or(trace.steps.len(), |at| at + 1);
    let lines: Vec<&str> = steps.lines().take(end).collect();
    let mut room = TRACE_MAX.saturating_sub(header.len());
    let fitting = lines.iter().rev().take_while(|line| {
        let left = room.checked_sub(line.len() + 1);
        room = left.unwrap_or(0);
        left.is_some()
    });
    let first = lines.len() - fitting.count();
    format!("{header}\n{}\n", lines.get(first..).unwrap_or_default().join("\n"))
}
