//! What nodes ask for, carried out.

use std::time::Duration;

use synod_core::{Effect, Envelope, Input, NodeId, Stack};

use super::{World, employed};
use crate::choice::{About, Label};
use crate::queue::Happening;
use crate::quiet::placed;
use crate::scenario::micros;
use crate::trace::{Armed, Step};

impl<T: Stack> World<'_, T> {
    /// Carries out what a node asks for, in the order of asking.
    pub(super) fn carry_out(
        &mut self,
        node: NodeId,
        effects: &mut Vec<Effect>,
        step: &mut Option<Box<Step>>,
    ) {
        // What is sent goes from where it was written to where it waits: each stop costs a copy.
        for effect in effects.iter_mut() {
            match effect {
                Effect::Send { to, lane, envelope } => self.send(node, *to, *lane, envelope, step),
                other => self.carry_out_at_home(node, other, step),
            }
        }
        effects.clear();
    }

    /// Carries out what is no message. Never inlined: most effects are.
    #[inline(never)]
    fn carry_out_at_home(
        &mut self,
        node: NodeId,
        effect: &mut Effect,
        step: &mut Option<Box<Step>>,
    ) {
        match effect {
            Effect::Timer { id, after, envelope } => {
                let (id, after) = (*id, *after);
                if let Some(step) = step {
                    step.armed.push(self.armed(after, envelope));
                }
                let after_us = self.places[node].clock.takes(micros(after));
                let at_us = self.now_us.saturating_add(after_us);
                let envelope = step.is_some().then(|| Box::new(envelope.take()));
                let place = self.queue.add(at_us, Happening::Timer { node, id, envelope });
                self.places[node].timers.insert(id, place);
            }
            Effect::Cancel(id) => {
                if let Some(place) = self.places[node].timers.remove(id) {
                    self.queue.cancel(place);
                }
            }
            Effect::Job(job) => self.work(node, job),
            Effect::Output(envelope) => {
                self.observe(node, envelope);
                if let Some(step) = step {
                    let (catalogue, clients) = (self.catalogue(), self.scenario.clients.as_ref());
                    step.indicates(node, envelope, catalogue, clients);
                }
            }
            Effect::Log(line) => {
                if let Some(step) = step {
                    step.log.push(std::mem::take(line));
                }
            }
            _ => (),
        }
    }

    /// Shows the monitors what a node indicates; the first objection is kept.
    fn observe(&mut self, node: NodeId, envelope: &Envelope) {
        if !self.unshown.is_empty() {
            self.show(node, envelope);
        }
        for (name, monitor) in &mut self.monitors {
            if let Err(reason) = monitor(node, envelope) {
                self.objection.get_or_insert_with(|| (String::from(*name), placed(reason)));
            }
        }
    }

    fn armed(&self, after: Duration, envelope: &Envelope) -> Armed {
        Armed {
            event: self.catalogue().name(envelope.event()),
            payload: self.catalogue().show(envelope),
            after_us: micros(after),
        }
    }

    /// A job is done at once; when its node learns of it is a choice.
    fn work(&mut self, node: NodeId, job: &Envelope) {
        let result = match employed(node, job, self.catalogue()).map(|run| run(job)) {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => return,
            Err(wrong) => {
                self.objection.get_or_insert(wrong);
                return;
            }
        };
        let label = Label { what: "job", about: About::Node(node) };
        let at_us = self.now_us + 1 + self.stream.choose(label, self.settings.delay_max_us.max(1));
        let (life, input) = (self.places[node].incarnation, Box::new(Input::Trigger(result)));
        self.queue.add(at_us, Happening::Told { node, life, input });
    }
}
