//! The questions of a run, by how they are drawn.

use synod_core::{NodeId, Random};

use super::{About, Decision, INPUT, Label, Origin, RANDOM, Stream};
use crate::settings::Shape;
use crate::strategy::Driver;

/// One in so many numbers that are chosen near another is chosen anywhere.
const ALONE_ONE_IN: u64 = 5;
/// Among so many beginnings of a node's random numbers a run chooses.
const SALTS: u64 = 1 << 32;

impl Stream {
    /// A number below `options`, each as likely as the others.
    ///
    /// # Panics
    ///
    /// If `options` is 0.
    pub fn choose(&mut self, label: Label, options: u64) -> u64 {
        assert!(0 < options, "nothing to choose from");
        self.decide(label, options, |random| random.below(options))
    }

    /// A number below `options`, which is 0 every other time.
    pub(crate) fn choose_or_calm(&mut self, label: Label, options: u64) -> u64 {
        self.choose_likely(label, options, 0)
    }

    /// The same; what is not 0 is mostly one of the first `likely`, if there are any.
    pub(crate) fn choose_likely(&mut self, label: Label, options: u64, likely: u64) -> u64 {
        self.decide(label, options, |random| match (random.below(2), random.below(4)) {
            (0, _) => 0,
            (_, 1..) if 0 < likely => 1 + random.below(likely.min(options - 1).max(1)),
            _ => random.below(options),
        })
    }

    /// A number below `options`, mostly one of the `span` from `near` on.
    pub(crate) fn choose_near(&mut self, label: Label, options: u64, near: u64, span: u64) -> u64 {
        self.decide(label, options, |random| match random.below(ALONE_ONE_IN) {
            0 => random.below(options),
            _ => near.saturating_add(random.below(span.max(1))).min(options - 1),
        })
    }

    /// A number below `options`, every other time of a magnitude that is drawn first: a short time is then as likely
    /// as a long one.
    pub(crate) fn choose_scaled(&mut self, label: Label, options: u64) -> u64 {
        let magnitudes = u64::from(options.checked_ilog2().unwrap_or(0)) + 1;
        self.decide(label, options, |random| match random.below(2) {
            0 => {
                let halved = options >> random.below(magnitudes);
                random.below(halved)
            }
            _ => random.below(options),
        })
    }

    /// A number below `options`, spread as a delay of `shape` above `min`. Every message asks, so
    /// the label is made only where it matters.
    #[inline]
    pub(crate) fn choose_delay(
        &mut self,
        about: impl FnOnce() -> About,
        options: u64,
        min: u64,
        shape: Shape,
    ) -> u64 {
        if let (Origin::Seeded(driver), None) = (&mut self.origin, &self.log)
            && let Some(random) = driver.free()
        {
            return shape.draw(random.next_u64(), min, options);
        }
        self.decide_delay(about(), options, min, shape)
    }

    #[inline(never)]
    fn decide_delay(&mut self, about: About, options: u64, min: u64, shape: Shape) -> u64 {
        let draw = |random: &mut Random| shape.draw(random.next_u64(), min, options);
        self.decide(Label { what: "delay", about }, options, draw)
    }

    /// Whether something happens that is not calm, with `per_million` chances in a million.
    /// Asks nothing if it cannot happen.
    pub fn chance(&mut self, label: Label, per_million: u32) -> bool {
        0 < per_million
            && 0 < self.decide(label, 2, |random| {
                u64::from(random.below(1_000_000) < u64::from(per_million))
            })
    }

    /// Whether something happens that happens once in `one_in` times, drawn aside.
    pub(crate) fn chance_aside(&mut self, label: Label, one_in: u64) -> bool {
        let draw = |driver: &mut Driver| u64::from(driver.aside(one_in) == 0);
        0 < self.decide_by(label, 2, draw, |_| 0)
    }

    /// A number below `options`, drawn aside: the draw takes nothing from the generator, so that
    /// where it comes to 0 a seed is the run that it is without the question.
    pub(crate) fn choose_aside(&mut self, label: Label, options: u64) -> u64 {
        self.decide_by(label, options, |driver| driver.aside(options), |_| 0)
    }

    /// Whether the next input to `node` is left out. Not a draw: it takes nothing from the seed.
    pub(crate) fn leaves_out(&mut self, node: NodeId) -> bool {
        let label = Label { what: INPUT, about: About::Node(node) };
        let ordinal = self.asked.entry(label).and_modify(|count| *count += 1).or_insert(1);
        let left_out = self.left_out.contains(&(label, *ordinal));
        self.found += usize::from(left_out);
        if let Some(log) = &mut self.log {
            let (ordinal, choice) = (*ordinal, u64::from(left_out));
            log.push(Decision { label, ordinal, options: 2, choice });
        }
        left_out
    }

    /// Random bits for `node` in this run, which has drawn `bits` from its own seed: other ones in each run, as one
    /// decision says, which is drawn aside.
    pub(crate) fn random(&mut self, node: NodeId, bits: u64) -> u64 {
        let salt = match self.salts.get(&node) {
            Some(salt) => *salt,
            None => {
                let label = Label { what: RANDOM, about: About::Node(node) };
                let draw = |random: &mut Random| random.below(SALTS);
                let salt = self.decide_by(label, SALTS, |driver| driver.aside(SALTS), draw);
                self.salts.insert(node, salt);
                salt
            }
        };
        if salt == 0 { bits } else { Random::new(bits ^ salt).next_u64() }
    }
}
