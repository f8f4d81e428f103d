//! Two runs side by side, for a terminal.
//!
//! A row is what happened in both runs, or in one of them. What is the same in both is folded. The
//! first step that differs has a line above it; the sign in the middle says how the two compare.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::RangeInclusive;

use synod_core::NodeId;

use super::telling::{told, wrapped};
use super::{Comparison, Likeness, Pair};
use crate::diagram::lanes::{ASCII, Glyphs, Lanes, UNICODE, millis};
use crate::trace::Step;

/// A picture of a comparison, made by its `Display` implementation.
#[derive(Clone, Debug)]
pub struct SideBySide<'a> {
    comparison: &'a Comparison<'a>,
    names: [&'a str; 2],
    width: usize,
    ascii: bool,
    full: bool,
}

/// Lines of a picture that does not show everything, those of its header included.
const ROWS_MAX: usize = 40;
/// Lines of the header.
const HEADER: usize = 2;
/// Of these, the ones that show how the runs end, where not all between can be shown.
const ENDING: usize = 10;
/// Pairs that are shown before the first that differs.
const CONTEXT: usize = 2;
/// Nodes up to which all of them have lanes; beyond, those that a drawn step concerns.
const LANES_MAX: u32 = 8;
/// Columns of the time.
const TIME: usize = 10;
/// Columns of a lane.
const LANE: RangeInclusive<usize> = 3..=8;
/// Columns of the words beside the lanes, at least: with fewer, there are no lanes.
const WORDS_MIN: usize = 16;
/// Lines of the words of one step.
const LINES_MAX: usize = 5;
/// Columns between the two runs.
const BETWEEN: usize = 3;

impl<'a> SideBySide<'a> {
    /// The narrowest picture, in columns.
    pub const WIDTH_MIN: usize = 60;

    /// The picture of a comparison, at most 40 lines in all: around the first step that differs,
    /// and the end. `names` are those of the two runs. A `width` below
    /// [`WIDTH_MIN`](Self::WIDTH_MIN) is that one.
    #[must_use]
    pub fn of(comparison: &'a Comparison<'a>, names: [&'a str; 2], width: usize) -> Self {
        let width = width.max(Self::WIDTH_MIN);
        Self { comparison, names, width, ascii: false, full: false }
    }

    /// Draws with ASCII characters only.
    #[must_use]
    pub fn ascii(self) -> Self {
        Self { ascii: true, ..self }
    }

    /// Draws every step.
    #[must_use]
    pub fn full(self) -> Self {
        Self { full: true, ..self }
    }

    fn glyphs(&self) -> &'static Glyphs {
        if self.ascii { &ASCII } else { &UNICODE }
    }

    /// Columns of one run.
    fn half(&self) -> usize {
        (self.width - BETWEEN) / 2
    }

    fn is_shown(&self, at: usize, pair: &Pair<'_>) -> bool {
        let first = self.comparison.parts_at();
        let is_near = first.is_some_and(|first| at <= first && first <= at + CONTEXT);
        self.full
            || is_near
            || match pair.likeness {
                Likeness::Equal | Likeness::Shifted => pair.steps().any(|it| it.wrong.is_some()),
                Likeness::Changed => true,
                Likeness::OnlyOne | Likeness::OnlyOther => !pair.steps().all(Step::is_quiet),
            }
    }

    /// The lanes of one run; none where the words beside them would have no room.
    fn lanes(&self) -> Lanes {
        let nodes = self.comparison.nodes;
        let pairs = self.comparison.pairs.iter().enumerate();
        let drawn = pairs.filter(|(at, pair)| self.is_shown(*at, pair));
        let lanes: Vec<NodeId> = if nodes <= LANES_MAX {
            (1..=nodes).map(NodeId).collect()
        } else {
            let steps = drawn.flat_map(|(_, pair)| pair.steps());
            let concerned =
                steps.flat_map(|it| it.node.into_iter().chain(it.message.map(|it| it.from)));
            let concerned: BTreeSet<NodeId> = concerned.collect();
            concerned.into_iter().collect()
        };
        let room = self.half() - TIME;
        let name = lanes.last().map_or(0, |node| node.to_string().len());
        let mut columns = LANE.rev().filter(|it| name < *it);
        match columns.find(|it| it * lanes.len() + WORDS_MIN <= room) {
            Some(columns) => Lanes::new(lanes, columns, self.glyphs()),
            None => Lanes::new(Vec::new(), *LANE.start(), self.glyphs()),
        }
    }

    /// What is drawn, from the first pair to the last.
    fn blocks(&self) -> Vec<Block> {
        let mut lanes = [self.lanes(), self.lanes()];
        let (mut blocks, mut fold) = (Vec::new(), Hidden::default());
        for (at, pair) in self.comparison.pairs.iter().enumerate() {
            for (lanes, step) in lanes.iter_mut().zip([pair.one, pair.other]) {
                step.into_iter().for_each(|step| lanes.follow(step));
            }
            if !self.is_shown(at, pair) {
                fold.add(pair);
                continue;
            }
            if fold != Hidden::default() {
                blocks.push(self.fold(std::mem::take(&mut fold)));
            }
            blocks.push(self.pair(at, pair, &lanes));
        }
        if fold != Hidden::default() {
            blocks.push(self.fold(fold));
        }
        blocks
    }

    /// The same within the bound on lines: where the runs part, and how they end.
    fn cut(&self, mut blocks: Vec<Block>) -> Vec<Block> {
        let room = ROWS_MAX - HEADER;
        if self.full || blocks.iter().map(|it| it.lines.len()).sum::<usize>() <= room {
            return blocks;
        }
        // One line says how much is left out.
        let head = fitting(blocks.iter(), room - ENDING - 1);
        let tail = fitting(blocks.iter().skip(head).rev(), ENDING);
        let mut hidden = Hidden::default();
        for block in blocks.drain(head..blocks.len() - tail).collect::<Vec<_>>() {
            hidden.merge(&block.stands_for);
        }
        blocks.insert(head, self.fold(hidden));
        blocks
    }

    fn fold(&self, hidden: Hidden) -> Block {
        let text = format!("{:>TIME$} {}", self.glyphs().fold, hidden.words());
        Block { lines: vec![cut_to(&text, self.width)], stands_for: hidden }
    }

    fn pair(&self, at: usize, pair: &Pair<'_>, lanes: &[Lanes; 2]) -> Block {
        let [left_lanes, right_lanes] = lanes;
        let left = self.side(pair, pair.one, pair.other, left_lanes);
        let right = self.side(pair, pair.other, pair.one, right_lanes);
        let blank = |lanes: &Lanes| format!("{:TIME$}{}", "", lanes.calm());
        let (blank_left, blank_right) = (blank(left_lanes), blank(right_lanes));
        let half = self.half();
        let mut lines = Vec::new();
        if self.comparison.parts_at() == Some(at) {
            lines.push(self.rule(&format!(" the runs part at step {at} ")));
        }
        for row in 0..left.len().max(right.len()) {
            let sign = if row == 0 { self.sign(pair.likeness) } else { ' ' };
            let left = left.get(row).unwrap_or(&blank_left);
            let right = right.get(row).unwrap_or(&blank_right);
            lines.push(format!("{left:half$} {sign} {right}"));
        }
        Block { lines, stands_for: Hidden { more: 1, ..Hidden::default() } }
    }

    /// The lines of one run's half; none if nothing happens in it.
    fn side(
        &self,
        pair: &Pair<'_>,
        own: Option<&Step>,
        other: Option<&Step>,
        lanes: &Lanes,
    ) -> Vec<String> {
        let Some(step) = own else {
            return Vec::new();
        };
        let (row, calm) = (lanes.row(step), lanes.calm());
        let room = self.half().saturating_sub(TIME + calm.chars().count());
        let words = told(pair, step, other, calm.is_empty(), self.glyphs());
        let time = format!("{:.1}ms", millis(step.time_us));
        let more = if self.ascii { '~' } else { '…' };
        let mut lines: Vec<String> = wrapped(&words, room, LINES_MAX, more);
        for (index, line) in lines.iter_mut().enumerate() {
            let (time, row) = if index == 0 { (time.as_str(), &row) } else { ("", &calm) };
            *line = cut_to(&format!("{time:>9} {row}{line}"), self.half());
        }
        lines
    }

    /// Words in a line across both runs.
    fn rule(&self, words: &str) -> String {
        let line = if self.ascii { "-" } else { "─" };
        let missing = self.width.saturating_sub(2 + words.len());
        format!("{}{words}{}", line.repeat(2), line.repeat(missing))
    }

    fn sign(&self, likeness: Likeness) -> char {
        match likeness {
            Likeness::Equal => ' ',
            Likeness::Shifted => '~',
            Likeness::Changed if self.ascii => '!',
            Likeness::Changed => '≠',
            Likeness::OnlyOne => '<',
            Likeness::OnlyOther => '>',
        }
    }
}

impl fmt::Display for SideBySide<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let half = self.half();
        let [left, right] = self.names.map(|name| ending(name, half));
        writeln!(f, "{left:half$}   {right}")?;
        let lanes = format!("{:TIME$}{}", "", self.lanes().header());
        writeln!(f, "{}", format!("{lanes:half$}   {lanes}").trim_end())?;
        for line in self.cut(self.blocks()).iter().flat_map(|block| &block.lines) {
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// Some lines of a picture, and what they stand for where they are left out.
struct Block {
    lines: Vec<String>,
    stands_for: Hidden,
}

/// How many blocks from the first on have room.
fn fitting<'b>(blocks: impl Iterator<Item = &'b Block>, mut room: usize) -> usize {
    let fits = |block: &&Block| match room.checked_sub(block.lines.len()) {
        Some(left) => {
            room = left;
            true
        }
        None => false,
    };
    blocks.take_while(fits).count()
}

/// What a picture leaves out at one place.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct Hidden {
    alike: usize,
    shifted: usize,
    left: usize,
    right: usize,
    more: usize,
}

impl Hidden {
    fn add(&mut self, pair: &Pair<'_>) {
        match pair.likeness {
            Likeness::Equal => self.alike += 1,
            Likeness::Shifted => self.shifted += 1,
            Likeness::OnlyOne => self.left += 1,
            Likeness::OnlyOther => self.right += 1,
            Likeness::Changed => self.more += 1,
        }
    }

    fn merge(&mut self, other: &Self) {
        self.alike += other.alike;
        self.shifted += other.shifted;
        self.left += other.left;
        self.right += other.right;
        self.more += other.more;
    }

    fn words(&self) -> String {
        let parts = [
            (self.alike, "alike"),
            (self.shifted, "at other times"),
            (self.left, "quiet left"),
            (self.right, "quiet right"),
            (self.more, "more rows"),
        ];
        let parts = parts.iter().filter(|(count, _)| 0 < *count);
        let words: Vec<String> = parts.map(|(count, words)| format!("{count} {words}")).collect();
        format!("({})", words.join(", "))
    }
}

/// The first characters of a text.
fn cut_to(text: &str, columns: usize) -> String {
    text.chars().take(columns).collect()
}

/// The last characters of a name, which tell files apart.
fn ending(name: &str, columns: usize) -> String {
    let count = name.chars().count();
    if count <= columns {
        return String::from(name);
    }
    let kept: String = name.chars().skip(count - columns + 3).collect();
    format!("...{kept}")
}
