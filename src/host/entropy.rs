//! The randomness seam.

/// Gives random numbers.
pub trait Entropy: Send + Sync {
    /// 64 random bits.
    fn bits(&self) -> u64;

    /// A number from 0 (included) to 1 (excluded).
    fn fraction(&self) -> f64 {
        // 53 bits fill the mantissa exactly, so that 1.0 never comes out.
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// 128 random bits as 32 hexadecimal digits: an identity that no other run shares.
    fn uuid(&self) -> String {
        format!("{:016x}{:016x}", self.bits(), self.bits())
    }
}

/// The operating system's random numbers.
pub struct OsEntropy;

impl Entropy for OsEntropy {
    fn bits(&self) -> u64 {
        // The call fails only on systems without a random source, where nothing here can be trusted.
        getrandom::u64()
            .unwrap_or_else(|error| panic!("no random numbers from the system: {error}"))
    }
}
