//! Random bytes, good enough for keys.

use crate::host;

/// The most bytes that are asked for at once.
const CHUNK_BYTES: u64 = 4096;

/// So many random bytes.
///
/// # Panics
///
/// The host ends a component that its manifest takes randomness away from.
pub fn bytes(count: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(count);
    while bytes.len() < count {
        let missing = (count - bytes.len()) as u64;
        bytes.extend(host::random_bytes(missing.min(CHUNK_BYTES)));
    }
    bytes.truncate(count);
    bytes
}

/// A random number, each as likely as any other.
///
/// # Panics
///
/// As [`bytes`].
pub fn number() -> u64 {
    host::random_u64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_as_were_asked_for() {
        for count in [0, 1, 4096, 4097, 10_000] {
            assert_eq!(bytes(count).len(), count);
        }
        assert_ne!(bytes(32), bytes(32));
        assert_ne!(number(), number());
    }
}
