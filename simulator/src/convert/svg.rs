//! A space-time diagram as SVG, which needs no script and no font of its own.
//!
//! A row is a step, so distances are not to scale; the time stands at its left, what happened at
//! its right, and the whole event under the pointer. Colours are Okabe and Ito's, which the
//! colour-blind tell apart, and each also has a shape of its own.

use std::fmt::Write as _;

use synod_core::NodeId;

use super::links::{Lasting, Links, Span, spans};
use super::select::Selection;
use super::text::{effects, event, happening, millis, visible};
use crate::trace::{Sent, Step, StepKind, Trace};

const MARGIN: i32 = 100;
const LANE: i32 = 110;
const TOP: i32 = 70;
const ROW: i32 = 26;
const WORDS: i32 = 760;
/// Characters beside a row, and under the pointer.
const WORDS_MAX: usize = 100;
const TITLE_MAX: usize = 600;

const STYLE: &str = "\
text{font:12px ui-monospace,Menlo,Consolas,monospace;fill:#000;direction:ltr;white-space:pre}
.time{text-anchor:end;fill:#555}.node{text-anchor:middle;font-weight:bold}
.lane{stroke:#999}.down{stroke:#fff;stroke-width:5}.gone{stroke:#999;stroke-dasharray:1 5}
.split{fill:#E69F00;fill-opacity:.13}.edge{stroke:#E69F00;stroke-dasharray:8 3}
.message{stroke:#0072B2;stroke-width:1.5;fill:none}
.lost{stroke:#D55E00;stroke-width:1.5;stroke-dasharray:5 3;fill:none}
.cross{stroke:#D55E00;stroke-width:2;fill:none}
.pending{stroke:#555;stroke-dasharray:1 3;fill:none}
.step{fill:#000}.timer{fill:#fff;stroke:#009E73;stroke-width:2}
.crash{stroke:#000;stroke-width:3;fill:none}.restart{fill:#fff;stroke:#000;stroke-width:2}
.wrong{fill:none;stroke:#CC79A7;stroke-width:3}.says{font-weight:bold}
";

pub(super) fn diagram(trace: &Trace) -> String {
    let picture = Picture::of(trace);
    let mut text = picture.head();
    let mut spans = spans(trace);
    // Of what was over before the first drawn step, nothing is seen.
    spans.retain(|span| span.end.is_none_or(|end| TOP < picture.y(end)));
    for span in &spans {
        picture.split(&mut text, span);
    }
    picture.lanes(&mut text);
    for span in &spans {
        picture.down(&mut text, span);
    }
    for (place, step) in &picture.selection.steps {
        picture.messages(&mut text, *place, step);
    }
    for (place, step) in &picture.selection.steps {
        picture.mark(&mut text, *place, step);
        picture.words(&mut text, *place, step);
    }
    text + "</svg>\n"
}

struct Picture<'a> {
    trace: &'a Trace,
    links: Links,
    selection: Selection<'a>,
}

impl<'a> Picture<'a> {
    fn of(trace: &'a Trace) -> Self {
        Self { trace, links: Links::of(trace), selection: Selection::of(trace) }
    }

    fn right(&self) -> i32 {
        MARGIN + LANE * pixels(self.selection.lanes.len())
    }

    fn bottom(&self) -> i32 {
        TOP + ROW * (pixels(self.selection.steps.len()) + 1)
    }

    fn x(&self, node: NodeId) -> Option<i32> {
        let lane = self.selection.lanes.iter().position(|lane| *lane == node)?;
        Some(MARGIN + LANE * pixels(lane) + LANE / 2)
    }

    /// The row of a step; of a step that is not drawn, the next one; of an earlier one, the top.
    fn y(&self, place: usize) -> i32 {
        let before = self.selection.steps.partition_point(|(drawn, _)| *drawn < place);
        let is_drawn = self.selection.steps.get(before).is_some_and(|(drawn, _)| *drawn == place);
        TOP + ROW * pixels(if before == 0 && !is_drawn { 0 } else { before + 1 })
    }

    fn head(&self) -> String {
        let (width, height) = (self.right() + WORDS, self.bottom() + 20);
        let Trace { algorithm, nodes, .. } = self.trace;
        let title = escape(&format!("{algorithm}, {nodes} nodes"), TITLE_MAX);
        let steps = self.trace.steps.len();
        let mut text = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\" role=\"img\">\n<title>{title}</title>\n\
             <desc>A space-time diagram of {steps} steps: lanes are nodes, time runs \
             downwards.</desc>\n<style>\n{STYLE}</style>\n\
             <defs><marker id=\"head\" viewBox=\"0 0 8 8\" refX=\"8\" refY=\"4\" \
             markerWidth=\"8\" markerHeight=\"8\" markerUnits=\"userSpaceOnUse\" \
             orient=\"auto\"><path d=\"M0 0L8 4L0 8z\" fill=\"#0072B2\"/></marker></defs>\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
             <text x=\"10\" y=\"20\" class=\"says\">{title}</text>\n"
        );
        if let Some(omission) = self.selection.omission() {
            put(
                &mut text,
                format_args!("<text x=\"10\" y=\"38\">{}</text>", escape(&omission, 99)),
            );
        }
        text
    }

    fn lanes(&self, text: &mut String) {
        let (top, bottom) = (TOP, self.bottom());
        for node in &self.selection.lanes {
            let x = self.x(*node).unwrap_or_default();
            let above = top - 8;
            put(text, format_args!("<text x=\"{x}\" y=\"{above}\" class=\"node\">{node}</text>"));
            put(text, format_args!("<path class=\"lane\" d=\"M{x} {top}V{bottom}\"/>"));
        }
    }

    /// The band of a partition.
    fn split(&self, text: &mut String, span: &Span<'_>) {
        let Lasting::Split(words) = span.what else { return };
        let (top, bottom) = self.extent(span);
        let (right, height) = (self.right(), bottom - top);
        let words = escape(&format!("partition: {words}"), TITLE_MAX);
        let width = right - MARGIN;
        put(
            text,
            format_args!(
                "<g><title>{words}</title><rect class=\"split\" x=\"{MARGIN}\" y=\"{top}\" \
                 width=\"{width}\" height=\"{height}\"/><path class=\"edge\" \
                 d=\"M{MARGIN} {top}H{right}M{MARGIN} {bottom}H{right}\"/></g>"
            ),
        );
    }

    /// The lane of a node while it is down.
    fn down(&self, text: &mut String, span: &Span<'_>) {
        let Lasting::Down(node) = span.what else { return };
        let Some(x) = self.x(node) else { return };
        let (top, bottom) = self.extent(span);
        let line = format!("d=\"M{x} {top}V{bottom}\"");
        put(text, format_args!("<path class=\"down\" {line}/><path class=\"gone\" {line}/>"));
    }

    fn extent(&self, span: &Span<'_>) -> (i32, i32) {
        (self.y(span.begin), span.end.map_or_else(|| self.bottom(), |end| self.y(end)))
    }

    /// The message that the step is about, and those that it sent and that end nowhere.
    fn messages(&self, text: &mut String, place: usize, step: &Step) {
        for sent in &step.sends {
            self.stub(text, place, step, sent);
        }
        let from = step.message.and_then(|message| self.x(message.from));
        let (Some(from), Some(to)) = (from, step.node.and_then(|node| self.x(node))) else {
            return;
        };
        let y = self.y(place);
        let sent_y = self.links.origin(place).map_or(y, |origin| self.y(origin));
        let title = escape(&happening(step), TITLE_MAX);
        put(text, format_args!("<g><title>{title}</title>"));
        if step.kind == StepKind::Lost {
            let end = (from + (to - from) * 4 / 5, sent_y + (y - sent_y) * 4 / 5);
            lost(text, (from, sent_y), end);
        } else {
            arrow(text, (from, sent_y), (to, y));
        }
        put(text, format_args!("</g>"));
    }

    /// A message that no step tells the end of: lost as it was sent, or still under way.
    fn stub(&self, text: &mut String, place: usize, step: &Step, sent: &Sent) {
        let from = step.node.and_then(|node| self.x(node));
        let (Some(from), Some(to)) = (from, self.x(sent.to)) else { return };
        let what =
            escape(&format!("to {}: {}", sent.to, event(&sent.event, &sent.payload)), TITLE_MAX);
        let y = self.y(place);
        let end = (from + (to - from).clamp(-LANE, LANE) * 2 / 5, y + ROW / 2);
        if let Some(why) = &sent.lost {
            put(text, format_args!("<g><title>{what} (lost: {})</title>", escape(why, TITLE_MAX)));
            lost(text, (from, y), end);
            put(text, format_args!("</g>"));
        } else if !self.links.has_ended(sent.id) {
            let (x, below) = end;
            put(
                text,
                format_args!(
                    "<g><title>{what} (never arrives in this trace)</title>\
                     <path class=\"pending\" d=\"M{from} {y}L{x} {below}\"/>\
                     <circle class=\"pending\" cx=\"{x}\" cy=\"{below}\" r=\"3\"/></g>"
                ),
            );
        }
    }

    fn mark(&self, text: &mut String, place: usize, step: &Step) {
        let Some(x) = step.node.and_then(|node| self.x(node)) else { return };
        let y = self.y(place);
        let mark = match step.kind {
            StepKind::Lost => String::new(),
            StepKind::Timer => format!("<circle class=\"timer\" cx=\"{x}\" cy=\"{y}\" r=\"5\"/>"),
            StepKind::Crash => format!("<path class=\"crash\" d=\"{}\"/>", cross(x, y, 6)),
            StepKind::Start | StepKind::Restart => {
                let (left, top) = (x - 5, y - 5);
                format!(
                    "<rect class=\"restart\" x=\"{left}\" y=\"{top}\" width=\"10\" height=\"10\"/>"
                )
            }
            _ => format!("<circle class=\"step\" cx=\"{x}\" cy=\"{y}\" r=\"3\"/>"),
        };
        if !mark.is_empty() {
            put(text, format_args!("{mark}"));
        }
        if step.wrong.is_some() {
            put(text, format_args!("<circle class=\"wrong\" cx=\"{x}\" cy=\"{y}\" r=\"10\"/>"));
        }
    }

    fn words(&self, text: &mut String, place: usize, step: &Step) {
        let (time, words) = (millis(step.time_us), sentence(step));
        let (left, right, y) = (MARGIN - 10, self.right() + 10, self.y(place) + 4);
        let class = if step.wrong.is_some() { " class=\"says\"" } else { "" };
        let (short, whole) = (escape(&words, WORDS_MAX), escape(&words, TITLE_MAX));
        put(
            text,
            format_args!(
                "<text class=\"time\" x=\"{left}\" y=\"{y}\">{time}</text>\
                 <text x=\"{right}\" y=\"{y}\"{class}><title>{whole}</title>{short}</text>"
            ),
        );
    }
}

/// A row in words.
fn sentence(step: &Step) -> String {
    let mut words = happening(step);
    if let Some(node) = step.node {
        words = format!("{node} {words}");
    }
    let effects = effects(step);
    if !effects.is_empty() {
        words += &format!(" [{effects}]");
    }
    if let Some(wrong) = &step.wrong {
        words = format!("✗ {wrong}: {words}");
    }
    words
}

fn arrow(text: &mut String, (x, y): (i32, i32), (to_x, to_y): (i32, i32)) {
    let line = if x == to_x {
        let beside = x + LANE / 3;
        format!("M{x} {y}C{beside} {y} {beside} {to_y} {to_x} {to_y}")
    } else {
        format!("M{x} {y}L{to_x} {to_y}")
    };
    put(text, format_args!("<path class=\"message\" marker-end=\"url(#head)\" d=\"{line}\"/>"));
}

fn lost(text: &mut String, (x, y): (i32, i32), end: (i32, i32)) {
    let cross = cross(end.0, end.1, 4);
    put(
        text,
        format_args!(
            "<path class=\"lost\" d=\"M{x} {y}L{} {}\"/><path class=\"cross\" d=\"{cross}\"/>",
            end.0, end.1
        ),
    );
}

fn cross(x: i32, y: i32, arm: i32) -> String {
    let (left, right, top, bottom) = (x - arm, x + arm, y - arm, y + arm);
    format!("M{left} {top}L{right} {bottom}M{left} {bottom}L{right} {top}")
}

fn put(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{line}");
}

/// A count of rows or lanes, far below the limit: a cluster has 10,000 nodes at most.
fn pixels(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX).min(100_000)
}

pub(super) fn escape(text: &str, max: usize) -> String {
    let mut escaped = String::new();
    for it in visible(text, max).chars() {
        match it {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            it => escaped.push(it),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn text_stays_text() {
        assert_eq!(
            escape("</svg><script>\"&'\u{0}", 99),
            "&lt;/svg&gt;&lt;script&gt;&quot;&amp;&#39;\\u{0}"
        );
    }
}
