//! Handlers that run twice. An exploration runs each once for each local state and event, and takes states for one
//! that hash equal: of a handler that goes by anything else, or of a hash that leaves something out, it would call
//! complete what is not.

use super::Worker;
use super::activation::{Move, Way};
use crate::explore::host::Cause;
use crate::explore::place::Desk;
use crate::explore::report::Untrue;
use crate::explore::setting::Wrong;

/// Activations of a thread that are all tried, and of how many later ones one is.
const FIRST: u64 = 256;
const ONE_IN: u64 = 16;

impl Worker<'_> {
    /// Whether the handler that has just run is to run once more.
    pub(super) fn is_audited(&self, place: u32, cause: &Cause) -> bool {
        let is_one = || self.activations <= FIRST || self.seed(place, cause).is_multiple_of(ONE_IN);
        self.setting().bounds.audited && is_one()
    }

    /// Holds what came of a handler against what comes of it once more.
    #[inline(never)] // Its frame is not under handlers that run once.
    pub(super) fn try_again(
        &mut self,
        place: u32,
        cause: &Cause,
        way: Way<'_>,
        moved: Move<'_>,
    ) -> Result<(), Wrong> {
        let mut desk = Desk::default();
        desk.compares = true;
        let cut = way.cut.map(|cut| cut as usize);
        let stepped = self.program.step(place, cause, way.choices, cut, &mut desk);
        let untrue = |worker: &Self, declared, what: &str| {
            let reason = format!("{}: {what}", worker.describe(place, cause));
            Err(Wrong::Declared(Untrue { declared, reason }))
        };
        let Ok(stepped) = stepped else {
            return untrue(
                self,
                STEADY,
                "it panics, or sends what is refused, the second time only",
            );
        };
        let mut sends = Vec::new();
        let other = self.outcome(place, &stepped, &desk.effects, &mut sends);
        let all = [
            ("it leads to another state the second time", other.place == moved.place),
            ("it sends something else the second time", other.sends == moved.sends),
            ("it chooses from something else the second time", other.asked == moved.asked),
            ("it indicates something else the second time", other.told == moved.told),
        ];
        if let Some((what, _)) = all.iter().find(|(_, same)| !same) {
            return untrue(self, STEADY, what);
        }
        match desk.differs {
            Some((kept, text)) => untrue(self, WHOLE, &format!("{kept} and {text} hash equal")),
            None => Ok(()),
        }
    }
}

const STEADY: &str = "deterministic";
const WHOLE: &str = "hashed as a whole";
