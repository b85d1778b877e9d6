//! Names: ids as hashes, routes as murmur2, versions as offsets (see "Identity" in the docs of the crate).

use sha2::{Digest, Sha256};
use uuid::Uuid;

/// The id of a derived row: a UUIDv8 over tenant, operator, key, and `parts`, usually the kind of the row and the
/// event id of the first record to arrive. All are hashed with their lengths, so `("ab","c")` and `("a","bc")` differ.
pub fn row(tenant: &str, operator: &str, key: &str, parts: &[&str]) -> Uuid {
    Uuid::new_v8(hash([tenant, operator, key].iter().chain(parts)))
}

/// The id of a row that the public sends back: a hash over `parts`, but the last four bytes are the murmur2
/// hash of the key, so that it routes to its partition without a look-up ([`route`]).
pub fn routed(parts: &[&str], key: &str) -> Uuid {
    let mut bytes = hash(parts.iter());
    bytes[12..].copy_from_slice(&murmur2(key.as_bytes()).to_be_bytes());
    Uuid::new_v8(bytes)
}

/// The murmur2 hash of the key that a [`routed`] id carries.
pub fn route(id: Uuid) -> u32 {
    let [.., a, b, c, d] = *id.as_bytes();
    u32::from_be_bytes([a, b, c, d])
}

fn hash<'a>(parts: impl Iterator<Item = &'a &'a str>) -> [u8; 16] {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    let digest = hasher.finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    bytes
}

/// The partition of a murmur2 hash, as Kafka's Java client chooses it
/// (`Utils.toPositive(murmur2) % partitions`).
pub fn partition(hash: u32, partitions: u32) -> i32 {
    ((hash & 0x7fff_ffff) % partitions) as i32
}

/// MurmurHash2, 32 bit, with the seed of Kafka's Java client (`org.apache.kafka.common.utils.Utils`).
pub fn murmur2(data: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    let mut h = SEED ^ data.len() as u32;
    let mut chunks = data.chunks_exact(4);
    for chunk in &mut chunks {
        let mut k = u32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]);
        k = k.wrapping_mul(M);
        k ^= k >> 24;
        h = h.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    let rest = chunks.remainder();
    for (index, byte) in rest.iter().enumerate() {
        h ^= u32::from(*byte) << (8 * index);
    }
    if !rest.is_empty() {
        h = h.wrapping_mul(M);
    }
    h ^= h >> 13;
    h = h.wrapping_mul(M);
    h ^ (h >> 15)
}

/// The highest epoch: it takes 7 bits.
pub const LAST_EPOCH: u8 = 127;

/// The version of a row: the epoch (7 bits: how often the job has begun anew), input offset (40 bits), count of the
/// row's emissions at that offset (16 bits). It grows with the log, fits a positive `i64`, and is
/// unique for a row. An offset past 2^40 would need another epoch.
pub fn version(epoch: u8, offset: i64, emission: u16) -> i64 {
    debug_assert!(epoch <= LAST_EPOCH && (0..1 << 40).contains(&offset));
    (i64::from(epoch) << 56) | (offset << 16) | i64::from(emission)
}

/// The epoch of a [`version`].
pub fn epoch(version: i64) -> u8 {
    (version >> 56) as u8 & LAST_EPOCH
}

/// The input offset of a [`version`].
pub fn offset(version: i64) -> i64 {
    (version >> 16) & ((1 << 40) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of Kafka's own `UtilsTest.testMurmur2`.
    #[test]
    fn murmur2_agrees_with_kafka() {
        for (text, expected) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(text.as_bytes()) as i32, expected, "{text}");
        }
    }

    #[test]
    fn a_routed_id_carries_its_partition() {
        let id = routed(&["t", "issues", "t/a", "1"], "t/a");
        assert_eq!(route(id), murmur2(b"t/a"));
        assert_eq!(id.get_version_num(), 8);
        assert_ne!(id, routed(&["t", "issues", "t/a", "2"], "t/a"));
    }

    #[test]
    fn parts_are_separated() {
        assert_ne!(row("t", "o", "k", &["ab", "c"]), row("t", "o", "k", &["a", "bc"]));
    }

    #[test]
    fn versions_grow_with_the_log() {
        let versions = [
            version(0, 0, 0),
            version(0, 0, 1),
            version(0, 1, 0),
            version(1, 0, 0),
            version(127, (1 << 40) - 1, u16::MAX),
        ];
        assert!(versions.is_sorted_by(|a, b| a < b), "{versions:?}");
        assert_eq!(versions[4], i64::MAX);
        assert_eq!(versions.map(offset), [0, 0, 1, 0, (1 << 40) - 1]);
        assert_eq!(versions.map(epoch), [0, 0, 0, 1, 127]);
    }
}
