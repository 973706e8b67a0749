//! The Merkle tree of RFC 6962, kept as what is needed to go on growing it.

use std::fmt;

use ring::digest;
use sha2::{Digest, Sha256};

/// A SHA-256 hash.
pub(super) type Hash = [u8; 32];

/// The hash of a leaf.
#[cfg(test)]
pub(super) fn leaf_hash(leaf: &[u8]) -> Hash {
    Sha256::new().chain_update([0]).chain_update(leaf).finalize().into()
}

/// The leaf of some records that is not finished: their frames go into it one by one.
///
/// Its hash is nearly all that a record costs, so it is computed by the implementation that is fast also on processors
/// without instructions for it.
#[derive(Clone)]
pub(super) struct Leaf(digest::Context);

impl Leaf {
    /// Begins a leaf that links to the one before.
    pub(super) fn after(previous: &Hash) -> Self {
        let mut leaf = Self(digest::Context::new(&digest::SHA256));
        leaf.update(&[0]);
        leaf.update(previous);
        leaf
    }

    pub(super) fn update(&mut self, frames: &[u8]) {
        self.0.update(frames);
    }

    pub(super) fn hash(self) -> Hash {
        let mut hash = Hash::default();
        hash.copy_from_slice(self.0.finish().as_ref());
        hash
    }
}

/// Does not show the state.
impl fmt::Debug for Leaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leaf").finish_non_exhaustive()
    }
}

/// The right edge of a tree: the roots of its perfect subtrees, from the largest to the smallest.
///
/// They are as many as the size has bits set, at most 64, and all that a tree needs to grow and to tell its root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Frontier {
    size: u64,
    peaks: Vec<Hash>,
}

impl Frontier {
    /// Puts a frontier together again; `None` where a tree of this size has another number of perfect subtrees.
    pub(super) fn from_parts(size: u64, peaks: Vec<Hash>) -> Option<Self> {
        (peaks.len() == size.count_ones() as usize).then_some(Self { size, peaks })
    }

    /// The number of leaves.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn peaks(&self) -> &[Hash] {
        &self.peaks
    }

    /// Appends the leaf of this hash.
    pub(super) fn push(&mut self, leaf: Hash) {
        let mut node = leaf;
        // Each trailing one of the size is a perfect subtree as large as the one that `node` stands for.
        for _ in 0..self.size.trailing_ones() {
            let Some(left) = self.peaks.pop() else { break };
            node = node_hash(&left, &node);
        }
        self.peaks.push(node);
        self.size += 1;
    }

    /// The root of the tree.
    pub(super) fn root(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev();
        let Some(last) = peaks.next() else { return Sha256::digest([]).into() };
        peaks.fold(*last, |right, left| node_hash(left, &right))
    }
}

fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The leaves and roots that Certificate Transparency publishes with its reference implementation.
    const LEAVES: [&[u8]; 8] = [
        b"",
        b"\x00",
        b"\x10",
        b"\x20\x21",
        b"\x30\x31",
        b"\x40\x41\x42\x43",
        b"\x50\x51\x52\x53\x54\x55\x56\x57",
        b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
    ];
    const ROOTS: [&str; 9] = [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];

    #[test]
    fn roots_are_those_of_certificate_transparency() {
        let mut frontier = Frontier::default();
        assert_eq!(hex(frontier.root()), ROOTS[0]);
        for (leaf, root) in LEAVES.iter().zip(&ROOTS[1..]) {
            frontier.push(leaf_hash(leaf));
            assert_eq!(hex(frontier.root()), *root, "{} leaves", frontier.size());
        }
    }

    #[test]
    fn a_leaf_in_pieces_has_the_hash_of_the_whole() {
        let mut leaf = Leaf::after(&[7; 32]);
        leaf.update(b"ab");
        leaf.update(&[b'c'; 100]);
        let whole = [&[7; 32][..], b"ab", &[b'c'; 100]].concat();
        assert_eq!(leaf.clone().hash(), leaf_hash(&whole));
    }

    #[test]
    fn roots_are_those_of_the_definition() {
        let leaves: Vec<Hash> = (0..200_u8).map(|leaf| leaf_hash(&[leaf])).collect();
        let mut frontier = Frontier::default();
        for size in 1..=leaves.len() {
            frontier.push(leaves[size - 1]);
            assert_eq!(frontier.root(), defined_root(&leaves[..size]), "{size} leaves");
        }
    }

    #[test]
    fn a_frontier_is_put_together_only_from_as_many_peaks_as_its_size_has_bits() {
        let mut frontier = Frontier::default();
        (0..13_u8).for_each(|leaf| frontier.push(leaf_hash(&[leaf])));
        let peaks = frontier.peaks().to_vec();
        assert_eq!(Frontier::from_parts(13, peaks.clone()), Some(frontier));
        assert_eq!(Frontier::from_parts(12, peaks), None);
    }

    /// The root as RFC 6962 section 2.1 defines it: split at the largest power of two below the size.
    fn defined_root(leaves: &[Hash]) -> Hash {
        match leaves {
            [leaf] => *leaf,
            _ => {
                let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
                node_hash(&defined_root(left), &defined_root(right))
            }
        }
    }

    fn hex(hash: Hash) -> String {
        hash.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
