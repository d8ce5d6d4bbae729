//! Bytes that tell a swapped, lost or doubled segment, and their sum.

/// So many bytes, always the same ones; no two places of a few MiB look alike.
pub fn bytes(count: usize) -> Vec<u8> {
    let mut state: u32 = 0x9e37_79b9;
    let next = || {
        // Marsaglia's xorshift.
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(next).take(count).collect()
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
