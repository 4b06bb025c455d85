//! The Java client's partitioner for keyed records: murmur2.
//!
//! Owns the hash only; which partitions exist is the cluster view's business.

/// The partition of `key` among `partitions` (at least 1), exactly as
/// `org.apache.kafka.clients.producer.internals.BuiltInPartitioner` chooses it.
pub fn keyed_partition(key: &[u8], partitions: i32) -> i32 {
    (murmur2(key) & 0x7fff_ffff) % partitions.max(1)
}

/// 32-bit murmur2 with Kafka's seed, as `org.apache.kafka.common.utils.Utils.murmur2`.
fn murmur2(data: &[u8]) -> i32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    const R: u32 = 24;
    let mut hash = SEED ^ data.len() as u32;
    let words = data.chunks_exact(4);
    let tail = words.remainder();
    for word in words {
        let word: [u8; 4] = word.try_into().unwrap_or_default();
        let mut k = u32::from_le_bytes(word).wrapping_mul(M);
        k ^= k >> R;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !tail.is_empty() {
        let rest = tail
            .iter()
            .rev()
            .fold(0, |rest, &byte| rest << 8 | u32::from(byte));
        hash = (hash ^ rest).wrapping_mul(M);
    }
    hash = (hash ^ hash >> 13).wrapping_mul(M);
    (hash ^ hash >> 15) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made with the Java client; its head says how.
    const GOLDEN: &str = include_str!("../../tests/fixtures/murmur2.txt");

    fn bytes(hex: &str) -> Vec<u8> {
        let digits = hex.trim_matches('-').as_bytes().chunks(2);
        digits
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    #[test]
    fn hash_and_partition_are_the_java_clients() {
        let rows = GOLDEN.lines().filter(|line| !line.starts_with('#'));
        let mut count = 0;
        for row in rows {
            let columns: Vec<&str> = row.split(' ').collect();
            let key = bytes(columns[0]);
            assert_eq!(murmur2(&key).to_string(), columns[1], "{row}");
            for (partitions, wanted) in [1, 3, 7, 1000].into_iter().zip(&columns[2..]) {
                let found = keyed_partition(&key, partitions);
                assert_eq!(found.to_string(), **wanted, "{row}");
            }
            count += 1;
        }
        assert_eq!(count, 80);
    }

    #[test]
    fn a_partition_is_never_negative() {
        assert!((0..3).contains(&keyed_partition(b"21", 3)));
    }
}
