//! Lists that grow without a copy of what is in them.

/// Values by number, in blocks of `N`: an addition moves nothing, and takes a block at most.
#[derive(Debug)]
pub(crate) struct Segments<V, const N: usize>(Vec<Vec<V>>);

impl<V, const N: usize> Default for Segments<V, N> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<V, const N: usize> Segments<V, N> {
    pub(crate) fn len(&self) -> usize {
        let full = self.0.len().saturating_sub(1) * N;
        full + self.0.last().map_or(0, Vec::len)
    }

    pub(crate) fn get(&self, number: usize) -> Option<&V> {
        self.0.get(number / N)?.get(number % N)
    }

    pub(crate) fn push(&mut self, value: V) {
        match self.0.last_mut() {
            Some(block) if block.len() < N => block.push(value),
            _ => {
                let mut block = Vec::with_capacity(N);
                block.push(value);
                self.0.push(block);
            }
        }
    }

    /// Forgets all, and keeps the memory of one block.
    pub(crate) fn clear(&mut self) {
        self.0.truncate(1);
        self.0.iter_mut().for_each(Vec::clear);
    }

    /// The bytes that it takes.
    pub(crate) fn bytes(&self) -> u64 {
        (self.0.len() * N * size_of::<V>()) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_pushed_has_its_number() {
        let mut list = Segments::<u32, 4>::default();
        for round in 0..2 {
            assert_eq!((list.len(), list.get(0)), (0, None));
            for number in 0..9 {
                list.push(number + round);
                assert_eq!(list.len(), number as usize + 1);
            }
            let all: Vec<u32> = (0..12).filter_map(|number| list.get(number)).copied().collect();
            assert_eq!(all, (round..9 + round).collect::<Vec<_>>());
            assert_eq!(list.bytes(), 3 * 4 * 4);
            list.clear();
        }
    }
}
