//! What is left to chance, and still is the same each time.

/// A source of chance that is the same for the same seed: `SplitMix64` (Steele, Lea, Flood 2014).
#[derive(Clone, Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    /// Different for each `path`, so that those who have one seed, or none, are not in step with each other.
    pub(crate) fn new(seed: u64, path: &str) -> Self {
        // FNV-1a.
        let hash = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        Self(path.bytes().fold(0xcbf2_9ce4_8422_2325 ^ seed, hash))
    }

    /// The next number, any.
    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// The next number below `bound`; zero where that is zero.
    #[cfg(feature = "testing")]
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(bound)) >> 64) as u64
    }

    /// The next number from 0 up to 1.
    pub(crate) fn roll(&mut self) -> f64 {
        // What a float can hold exactly.
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_has_one_sequence() {
        let rolls = |seed, path| {
            let mut chance = Chance::new(seed, path);
            [(); 4].map(|()| chance.roll().to_bits())
        };
        assert_eq!(rolls(7, "top"), rolls(7, "top"));
        assert_ne!(rolls(7, "top"), rolls(8, "top"));
        assert_ne!(rolls(7, "top"), rolls(7, "top/a"));
    }
}
