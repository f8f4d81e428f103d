//! Which uses of open operations are counted.

use super::Supply;

/// A use of an open operation in an order.
#[derive(Clone, Copy, Debug)]
pub(in crate::history) struct Use {
    pub(super) kind: u32,
    /// How many calls have their place before it.
    pub(super) after: usize,
    /// What there was of its kind.
    pub(super) supply: Supply,
}

/// Which uses of open operations a search counts across calls: of each kind those between some numbers
/// of calls that have their place. Those between two calls are always counted.
#[derive(Clone, Debug)]
pub(super) struct Counted {
    /// By kind, from where to where; nothing if all is counted.
    spans: Option<Vec<Vec<(usize, usize)>>>,
}

impl Counted {
    pub(super) fn all() -> Self {
        Self { spans: None }
    }

    pub(super) fn none(kinds: usize) -> Self {
        Self { spans: Some(vec![Vec::new(); kinds]) }
    }

    /// Whether uses of a kind count after so many calls.
    pub(super) fn has(&self, kind: u32, after: usize) -> bool {
        let Some(spans) = &self.spans else {
            return true;
        };
        let mut spans = spans.get(kind as usize).into_iter().flatten();
        spans.any(|(first, last)| (*first..=*last).contains(&after))
    }

    /// Counts what must be counted to tell that an order uses more than there is. Returns whether it
    /// does.
    pub(super) fn more(&mut self, order: &[Use]) -> bool {
        let mut is_more = false;
        for (kind, spans) in (0..).zip(self.spans.iter_mut().flatten()) {
            let uses: Vec<Use> = order.iter().filter(|it| it.kind == kind).copied().collect();
            if let Some(span) = excess(&uses) {
                spans.push(span);
                is_more = true;
            }
        }
        is_more
    }
}

/// Between which uses of one kind the first that is one too many shows.
fn excess(uses: &[Use]) -> Option<(usize, usize)> {
    let last = (1..=uses.len()).find(|end| uses.get(..*end).is_some_and(is_excess))?;
    let tail = |first: usize| uses.get(first..last).filter(|tail| is_excess(tail));
    let tail = (0..last).rev().find_map(tail)?;
    Some((tail.first()?.after, tail.last()?.after))
}

/// Whether the last of these uses is one too many.
fn is_excess(uses: &[Use]) -> bool {
    let count = uses.iter().fold(0, |count: u32, it| count.max(it.supply.gone) + 1);
    uses.last().is_some_and(|last| last.supply.have < count)
}
