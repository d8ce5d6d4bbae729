//! Bytes that tell a swapped, lost or doubled segment, and their sum.

/// After how many bytes they repeat: a prime, so that no two segments of one size are alike.
const PERIOD: usize = 65_521;

/// So many bytes, always the same ones.
pub fn bytes(count: usize) -> Vec<u8> {
    let mut state: u32 = 0x9e37_79b9;
    let next = || {
        // Marsaglia's xorshift.
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_be_bytes()[0]
    };
    let period: Vec<u8> = std::iter::repeat_with(next).take(PERIOD).collect();
    let mut all = period.repeat(count.div_ceil(PERIOD));
    all.truncate(count);
    all
}

/// FNV-1a of 64 bits.
pub fn sum(bytes: &[u8]) -> u64 {
    let step = |sum: u64, byte: &u8| (sum ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_knows_the_order() {
        // The value of the empty text, and of "a", as published with the algorithm.
        assert_eq!(sum(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(sum(b"a"), 0xaf63_dc4c_8601_ec8c);
        let mut swapped = bytes(4096);
        swapped.rotate_left(1448);
        assert_ne!(sum(&swapped), sum(&bytes(4096)));
    }
}
