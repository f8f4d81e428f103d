//! Runs that fail only since less is asked, or of fewer nodes: another failure than the one that was found.

use super::Search;
use super::passes::{Name, name};
use crate::choice::Decision;
use crate::settings::Settings;

/// How many nodes there are, and which inputs they are not given.
pub(super) type Asked = (u32, Vec<Name>);

impl Search<'_> {
    /// Whether a run is to come to something, and has less to come to it by than the best one, which suffices
    /// for it to fail without any fault.
    pub(super) fn is_hollow(&mut self, settings: &Settings, decisions: &[Decision]) -> bool {
        let asked = (settings.nodes, omitted(decisions));
        let best = (self.best.settings.nodes, omitted(&self.best.decisions));
        let is_new = self.program.comes_to && asked != best;
        is_new
            && self.fails_calmly(asked)
            && !self.fails_calmly((self.program.found.nodes, Vec::new()))
    }

    /// Whether such a cluster fails when nothing goes wrong.
    fn fails_calmly(&mut self, asked: Asked) -> bool {
        if let Some(known) = self.calm.get(&asked) {
            return *known;
        }
        let world = calm(self.program.found, asked.0);
        let left_out = |it: &Name| Decision { label: it.0, ordinal: it.1, options: 2, choice: 1 };
        let decisions: Vec<Decision> = asked.1.iter().map(left_out).collect();
        self.replays += 1;
        let fails = (self.program.execute)(&world, &decisions).is_some();
        self.calm.insert(asked, fails);
        fails
    }
}

/// The same world of so many nodes in which nothing goes wrong.
pub(super) fn calm(found: &Settings, nodes: u32) -> Settings {
    let mut world = Settings { nodes, races: false, links: Vec::new(), ..found.clone() };
    Settings::SWITCHES.iter().for_each(|off| *off(&mut world) = 0);
    world
}

fn omitted(decisions: &[Decision]) -> Vec<Name> {
    let mut omitted: Vec<Name> = decisions.iter().filter(|it| it.is_omission()).map(name).collect();
    omitted.sort_unstable();
    omitted
}
