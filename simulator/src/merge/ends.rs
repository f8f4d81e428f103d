//! How recorded lives ended. A process that is killed writes nothing of it: that its recording goes no
//! further, and that a peer lost the link to it, is how one knows.

use std::collections::BTreeMap;

use synod_core::{NodeId, Reason};

use crate::playback::{Act, Replayed};
use crate::trace::{Step, StepKind};

/// Which life of which node.
type Life = (NodeId, u64);

/// A life of which nobody has said how it ended.
const ENDS: &str = "ends, or its recording does";

/// The end of each life that was recorded until then: as a step that follows the last one of the life.
/// O(steps · log nodes).
pub(super) fn ends(nodes: &[Replayed]) -> BTreeMap<Life, (Act, Step)> {
    let missed = missed(nodes);
    let mut ends = BTreeMap::new();
    for replayed in nodes {
        let acts = replayed.acts.iter().zip(&replayed.trace.steps);
        for (act, step) in acts.filter(|(act, _)| replayed.ended.contains(&act.incarnation)) {
            let life = (replayed.node, act.incarnation);
            ends.insert(life, end(act, step, missed.get(&life).copied().map_or(ENDS, words)));
        }
    }
    ends
}

/// Leaves out what follows the last thing that happened: everything ends then.
pub(super) fn leave_out_the_last(steps: &mut Vec<Step>) {
    while steps.pop_if(|last| last.kind == StepKind::Crash && last.event == ENDS).is_some() {}
}

/// What the last one of the peers that lost a link to a life, and never had it again, said of it; a good-bye
/// counts before all else.
fn missed(nodes: &[Replayed]) -> BTreeMap<Life, Reason> {
    let mut missed: BTreeMap<Life, Reason> = BTreeMap::new();
    for replayed in nodes {
        let (mut linked, mut lost) = (BTreeMap::new(), BTreeMap::new());
        for act in &replayed.acts {
            if let Some(life) = act.linked {
                lost.remove(&life);
                linked.extend([life]);
            }
            if let Some((peer, reason)) = act.parted
                && let Some(incarnation) = linked.get(&peer)
            {
                lost.insert((peer, *incarnation), reason);
            }
        }
        lost.retain(|life, _| missed.get(life) != Some(&Reason::Closed));
        missed.extend(lost);
    }
    missed
}

/// What the end of a life looked like to others.
fn words(reason: Reason) -> &'static str {
    match reason {
        Reason::Closed => "leaves",
        Reason::Silent | Reason::Restarted => "is gone without a good-bye",
        _ => ENDS,
    }
}

fn end(last: &Act, step: &Step, words: &str) -> (Act, Step) {
    let (incarnation, now) = (last.incarnation, last.now);
    let act =
        Act { incarnation, now, received: None, sent: Vec::new(), linked: None, parted: None };
    (act, Step::says(StepKind::Crash, step.node, words))
}
