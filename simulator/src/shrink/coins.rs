//! Runs that come to nothing only since every coin shows 0: what is not decided is calm, and who counts on
//! chance never gets on with the same side each time. That is another failure than the one that was found.

use super::hollow::calm;
use super::{Failing, Shrunk};
use crate::choice::{Decision, Stream};
use crate::settings::Settings;

/// Sequences of coins that are tried.
const TOSSES: u64 = 8;
/// Who counts on chance throws again and again: a run with fewer coins does not come to nothing for them alone.
const COINS_MANY: u64 = 16;

impl Failing<'_> {
    /// The smallest run, where the coins of which no decision tells show 0, unless it fails for that alone: then
    /// they are thrown as the run fails that was found.
    pub(super) fn fair(&self, settings: &Settings, decisions: &[Decision]) -> Option<Shrunk> {
        let mut rest = decisions.to_vec();
        rest.retain(|it| !it.is_coin());
        let calm = calm(settings, settings.nodes);
        let holds = |coins| !self.fails(&calm, &[], Some(coins));
        let as_found = |coins| self.fails(settings, &rest, Some(coins));
        let toss =
            |keeps: &dyn Fn(u64) -> bool| (1..=TOSSES).find(|it| keeps(*it) && as_found(*it));
        if self.fails(&calm, &[], None)
            && self.throws_many(&calm, &[])
            && let Some(coins) = toss(&holds)
        {
            return self.shrunk(settings, &rest, Some(coins));
        }
        let shrunk = self.shrunk(settings, decisions, None)?;
        let fails = |coins| self.fails(&shrunk.settings, &shrunk.decisions, Some(coins));
        if !self.throws_many(&shrunk.settings, &shrunk.decisions) || (1..=TOSSES).any(fails) {
            return Some(shrunk);
        }
        let fair = toss(&|_| true).and_then(|coins| self.shrunk(settings, &rest, Some(coins)));
        Some(fair.unwrap_or(Shrunk { is_by_chance: true, ..shrunk }))
    }

    fn throws_many(&self, settings: &Settings, decisions: &[Decision]) -> bool {
        let (_, stream) = self.runnable.run(settings, Stream::replaying(decisions), false);
        COINS_MANY <= stream.coins()
    }

    fn fails(&self, settings: &Settings, decisions: &[Decision], coins: Option<u64>) -> bool {
        self.execute(settings, decisions, coins).is_some()
    }
}
