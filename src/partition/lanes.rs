//! BLAKE3 of many rows of one length at a time: what [`blake3::Hasher`] gives for each, and several times as fast for rows of a few
//! kilobytes, which alone do not fill a vector. Chunks at the same place of all rows are compressed side by side.

use blake3::hazmat::{merge_subtrees_non_root, merge_subtrees_root, ChainingValue, HasherExt, Mode};
// Not documented, and not promised to stay: Cargo.toml names the release that has it.
use blake3::platform::{words_from_le_bytes_32, Platform};
use blake3::IncrementCounter;

/// Rows that are hashed side by side: as many as the widest vectors have lanes.
pub(super) const LANES: usize = 16;
/// Bytes of a chunk, as BLAKE3 defines it.
const CHUNK: usize = blake3::CHUNK_LEN;
/// Flags of BLAKE3: the first and the last block of a chunk, under a key.
const CHUNK_START: u8 = 1;
const CHUNK_END: u8 = 2;
const KEYED: u8 = 16;

/// The chaining values of the whole chunks of each row, one row's after another's; `rows` are of one length.
pub(super) fn whole_chunks(key: &[u8; 32], rows: &[&[u8]]) -> Vec<Vec<ChainingValue>> {
    let n_chunks = rows.first().map_or(0, |row| row.len() / CHUNK);
    let mut values = vec![Vec::with_capacity(n_chunks + 2); rows.len()];
    let (platform, words) = (Platform::detect(), words_from_le_bytes_32(key));
    let mut out = vec![0; rows.len() * 32];
    for chunk in 0..n_chunks {
        let inputs: Vec<&[u8; CHUNK]> =
            rows.iter().filter_map(|row| row.get(chunk * CHUNK..)?.first_chunk()).collect();
        let (counter, same) = (chunk as u64, IncrementCounter::No);
        platform.hash_many(&inputs, &words, counter, same, KEYED, CHUNK_START, CHUNK_END, &mut out);
        for (own, value) in values.iter_mut().zip(out.as_chunks().0) {
            own.push(*value);
        }
    }
    values
}

/// The keyed hash of whole chunks and of what follows them, which together are more than one chunk.
pub(super) fn digest(key: &[u8; 32], whole: &[ChainingValue], rest: &[u8]) -> blake3::Hash {
    let mut all = whole.to_vec();
    for part in rest.chunks(CHUNK) {
        let mut hasher = blake3::Hasher::new_keyed(key);
        hasher.set_input_offset((all.len() * CHUNK) as u64).update(part);
        all.push(hasher.finalize_non_root());
    }
    let (left, right) = all.split_at(half(all.len()));
    merge_subtrees_root(&merged(key, left), &merged(key, right), Mode::KeyedHash(key))
}

fn merged(key: &[u8; 32], values: &[ChainingValue]) -> ChainingValue {
    match values {
        [] => [0; 32],
        [one] => *one,
        several => {
            let (left, right) = several.split_at(half(several.len()));
            merge_subtrees_non_root(&merged(key, left), &merged(key, right), Mode::KeyedHash(key))
        }
    }
}

/// Chunks in the left part of a tree: the largest power of two that leaves some for the right one.
fn half(n: usize) -> usize {
    n.saturating_sub(1).checked_ilog2().map_or(0, |power| 1 << power)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_side_by_side_have_the_hashes_that_they_have_alone() {
        let key = [9; 32];
        let bytes: Vec<u8> = (0..40_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        for size in [1024, 1025, 2047, 2048, 3072, 3136, 4095, 4096, 5000, 12_288, 16_380] {
            for n in [1, 2, 15, 16, 17] {
                let rows: Vec<&[u8]> = (0..n).filter_map(|row| bytes.get(row * 7..row * 7 + size)).collect();
                assert_eq!(rows.len(), n);
                let whole = whole_chunks(&key, &rows);
                for extra in [&[][..], &[1, 2, 3, 4], &[5; 1500]] {
                    if size + extra.len() <= CHUNK {
                        continue;
                    }
                    for (row, whole) in rows.iter().zip(&whole) {
                        let mut rest = row[size / CHUNK * CHUNK..].to_vec();
                        rest.extend(extra);
                        let mut alone = blake3::Hasher::new_keyed(&key);
                        alone.update(row).update(extra);
                        assert_eq!(
                            digest(&key, whole, &rest),
                            alone.finalize(),
                            "{size} {n} {}",
                            extra.len()
                        );
                    }
                }
            }
        }
    }
}
