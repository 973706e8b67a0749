//! Blocks of addresses, sorted: the innermost block of an address is one binary search away, however many there are.

use std::net::IpAddr;

use crate::net::Cidr;

/// Blocks, and something for each.
#[derive(Debug)]
pub(super) struct Blocks<T> {
    blocks: Vec<Block<T>>,
    v4: Segments<u32>,
    v6: Segments<u128>,
}

#[derive(Debug)]
struct Block<T> {
    cidr: Cidr,
    value: T,
    /// The smallest other block that has all of this one.
    parent: Option<u32>,
}

/// The address space, cut wherever a block begins or ends.
#[derive(Debug)]
struct Segments<A> {
    /// Where each begins, and which block is its innermost.
    starts: Vec<(A, Option<u32>)>,
    /// The space from the first start to the last, cut again into about as many equal pieces as there are starts: how many
    /// starts precede each. One look leaves few of them to search.
    before: Vec<u32>,
    /// How many bits of an address do not tell its piece.
    shift: u32,
}

/// An address as a number.
trait Number: Copy + Ord {
    /// Which piece of `1 << shift` addresses it is in, counted from `first`, which is not behind it.
    fn piece(self, first: Self, shift: u32) -> u128;
}

impl Number for u32 {
    fn piece(self, first: Self, shift: u32) -> u128 {
        u128::from((self - first).checked_shr(shift).unwrap_or(0))
    }
}

impl Number for u128 {
    fn piece(self, first: Self, shift: u32) -> u128 {
        (self - first).checked_shr(shift).unwrap_or(0)
    }
}

impl<T: Default> Blocks<T> {
    /// What is kept for a block; made where there is nothing yet. Found only after [`sort`](Self::sort).
    pub(super) fn entry(&mut self, cidr: Cidr) -> &mut T {
        self.blocks.push(Block { cidr, value: T::default(), parent: None });
        // A block that is added twice is merged when they are sorted.
        let last = self.blocks.len() - 1;
        #[expect(clippy::indexing_slicing, reason = "it was pushed right here")]
        &mut self.blocks[last].value
    }

    /// Makes everything that was added findable. `merge` adds what is kept twice for one block to the first of both.
    pub(super) fn sort(&mut self, mut merge: impl FnMut(&mut T, T)) {
        self.blocks.sort_by_key(|block| (block.cidr.network(), block.cidr.prefix()));
        let mut blocks: Vec<Block<T>> = Vec::with_capacity(self.blocks.len());
        for block in self.blocks.drain(..) {
            match blocks.last_mut() {
                Some(last) if last.cidr == block.cidr => merge(&mut last.value, block.value),
                _ => blocks.push(block),
            }
        }
        self.blocks = blocks;
        self.v4 = Segments::default();
        self.v6 = Segments::default();
        let mut open: Vec<(u32, Cidr)> = Vec::new();
        for index in 0..self.blocks.len() {
            let Some(cidr) = self.blocks.get(index).map(|block| block.cidr) else { break };
            while let Some((_, outer)) = open.last().copied()
                && !outer.covers(&cidr)
            {
                self.close(&mut open, outer);
            }
            // A policy has fewer rules than that by far (`GRANTS_PER_PRINCIPAL`).
            let number = index as u32;
            let parent = open.last().map(|(parent, _)| *parent);
            if let Some(block) = self.blocks.get_mut(index) {
                block.parent = parent;
            }
            match cidr.network() {
                IpAddr::V4(first) => self.v4.cut(first.to_bits(), Some(number)),
                IpAddr::V6(first) => self.v6.cut(first.to_bits(), Some(number)),
            }
            open.push((number, cidr));
        }
        while let Some((_, outer)) = open.last().copied() {
            self.close(&mut open, outer);
        }
        self.v4.index();
        self.v6.index();
    }

    /// Cuts behind the end of the innermost open block.
    fn close(&mut self, open: &mut Vec<(u32, Cidr)>, ended: Cidr) {
        open.pop();
        let inner = open.last().map(|(outer, _)| *outer);
        match ended.network() {
            IpAddr::V4(first) => {
                let last = first.to_bits() | u32::MAX.checked_shr(ended.prefix().into()).unwrap_or(0);
                last.checked_add(1).into_iter().for_each(|next| self.v4.cut(next, inner));
            }
            IpAddr::V6(first) => {
                let last = first.to_bits() | u128::MAX.checked_shr(ended.prefix().into()).unwrap_or(0);
                last.checked_add(1).into_iter().for_each(|next| self.v6.cut(next, inner));
            }
        }
    }
}

impl<T> Blocks<T> {
    /// The blocks that have an address, the innermost first.
    #[inline]
    pub(super) fn of(&self, address: IpAddr) -> impl Iterator<Item = (&Cidr, &T)> {
        let inner = match address {
            IpAddr::V4(address) => self.v4.find(address.to_bits()),
            IpAddr::V6(address) => self.v6.find(address.to_bits()),
        };
        let block = |number: u32| self.blocks.get(number as usize);
        let first = inner.and_then(block);
        std::iter::successors(first, move |inner| inner.parent.and_then(block))
            .map(|block| (&block.cidr, &block.value))
    }
}

impl<A: Number> Segments<A> {
    fn cut(&mut self, start: A, inner: Option<u32>) {
        self.starts.pop_if(|(last, _)| *last == start);
        self.starts.push((start, inner));
    }

    /// Makes what was cut findable.
    fn index(&mut self) {
        let (Some((first, _)), Some((last, _))) = (self.starts.first().copied(), self.starts.last().copied())
        else {
            return;
        };
        let most = 2 * self.starts.len() as u128;
        self.shift = (0..u128::BITS).find(|shift| last.piece(first, *shift) < most).unwrap_or(u128::BITS);
        let pieces = self.starts.iter().map(|(start, _)| start.piece(first, self.shift));
        let mut before = vec![0];
        for (count, piece) in pieces.enumerate() {
            // Fewer than a policy has rules, twice.
            while (before.len() as u128) <= piece {
                before.push(count as u32);
            }
        }
        before.push(self.starts.len() as u32);
        self.before = before;
    }

    fn find(&self, address: A) -> Option<u32> {
        let (first, _) = self.starts.first().copied().filter(|(first, _)| *first <= address)?;
        let last = self.before.len().saturating_sub(2);
        let piece = usize::try_from(address.piece(first, self.shift)).map_or(last, |piece| piece.min(last));
        let (from, to) = (*self.before.get(piece)? as usize, *self.before.get(piece + 1)? as usize);
        let behind = from + self.starts.get(from..to)?.partition_point(|(start, _)| *start <= address);
        self.starts.get(behind.checked_sub(1)?)?.1
    }
}

impl<A> Default for Segments<A> {
    fn default() -> Self {
        Self { starts: Vec::new(), before: Vec::new(), shift: 0 }
    }
}

impl<T> Default for Blocks<T> {
    fn default() -> Self {
        Self { blocks: Vec::new(), v4: Segments::default(), v6: Segments::default() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Few enough that blocks nest, touch and repeat.
    fn address() -> impl Strategy<Value = IpAddr> {
        prop_oneof![
            prop::sample::select(vec![0, 1, 2, 127, 128, 254, 255, 256, u32::MAX - 1, u32::MAX])
                .prop_map(|bits| IpAddr::V4(bits.into())),
            prop::sample::select(vec![0, 1, 2, 255, 256, 1 << 64, u128::MAX - 1, u128::MAX])
                .prop_map(|bits| IpAddr::V6(bits.into())),
        ]
    }

    fn prefix() -> impl Strategy<Value = u8> {
        prop::sample::select(vec![0, 1, 8, 23, 24, 25, 30, 31, 32, 64, 120, 127, 128])
    }

    proptest! {
        #[test]
        fn every_block_of_an_address_is_found_and_the_innermost_first(
            blocks in prop::collection::vec((address(), prefix()), 0..12), asked in prop::collection::vec(address(), 1..20),
        ) {
            let mut sorted: Blocks<Vec<usize>> = Blocks::default();
            let blocks: Vec<_> = blocks.into_iter().map(|(address, prefix)| Cidr::around(address, prefix)).collect();
            for (number, block) in blocks.iter().enumerate() {
                sorted.entry(*block).push(number);
            }
            sorted.sort(|one, other| one.extend(other));
            for address in asked {
                let found: Vec<_> = sorted.of(address).collect();
                let mut expected: Vec<_> = blocks.iter().filter(|block| block.contains(address)).copied().collect();
                expected.sort_by_key(|block| std::cmp::Reverse(block.prefix()));
                expected.dedup();
                prop_assert_eq!(found.iter().map(|(block, _)| **block).collect::<Vec<_>>(), expected);
                for (block, numbers) in found {
                    prop_assert!(numbers.iter().all(|number| blocks[*number] == *block) && !numbers.is_empty());
                }
            }
        }
    }
}
