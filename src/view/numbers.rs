//! Many random numbers out of one.

/// A stream of random numbers out of one seed (SplitMix64): far cheaper than asking the system for
/// each, and nothing here has to be unpredictable.
pub(super) struct Numbers(u64);

impl Numbers {
    /// The stream that `seed` gives.
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 bits.
    pub(super) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number below `bound`, which is not 0. The high half of the product favours some numbers by less
    /// than `bound` in 2^64.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.bits()) * bound as u128) >> 64) as usize
    }
}

/// Spreads `bits` evenly: a change of one of them changes half of the outcome.
pub(super) fn mix(bits: u64) -> u64 {
    let mut mixed = bits;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
