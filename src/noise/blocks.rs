//! ChaCha8 blocks, one a lane: the words that `rand_chacha` gives, in an order that vectors like.

use super::LANES;

/// "expand 32-byte k".
const CONSTANTS: [u32; 4] = [0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574];

macro_rules! quarter_round {
    ($a:ident, $b:ident, $c:ident, $d:ident) => {
        $a = $a.wrapping_add($b);
        $d = ($d ^ $a).rotate_left(16);
        $c = $c.wrapping_add($d);
        $b = ($b ^ $c).rotate_left(12);
        $a = $a.wrapping_add($b);
        $d = ($d ^ $a).rotate_left(8);
        $c = $c.wrapping_add($d);
        $b = ($b ^ $c).rotate_left(7);
    };
}

/// Blocks 16 `panel` to 16 `panel` + 15 of a stream: word j of the l-th of them at \[j\]\[l\].
///
/// ChaCha with 8 rounds, a 64-bit counter and the stream's number as the nonce (Bernstein 2008).
#[inline(always)]
#[allow(clippy::needless_range_loop)]
pub(super) fn panel(key: &[u32; 8], stream: u64, panel: u64) -> [[u32; LANES]; 16] {
    let mut words = [[0; LANES]; 16];
    let first = panel.wrapping_mul(LANES as u64);
    // One straight body without inner loops: the compiler turns 8 or 16 turns of it into one of vectors.
    for lane in 0..LANES {
        let counter = first.wrapping_add(lane as u64);
        let [mut a0, mut a1, mut a2, mut a3] = CONSTANTS;
        let [mut b0, mut b1, mut b2, mut b3, mut c0, mut c1, mut c2, mut c3] = *key;
        let nonce = [counter as u32, (counter >> 32) as u32, stream as u32, (stream >> 32) as u32];
        let [mut d0, mut d1, mut d2, mut d3] = nonce;
        macro_rules! double_round {
            () => {
                quarter_round!(a0, b0, c0, d0);
                quarter_round!(a1, b1, c1, d1);
                quarter_round!(a2, b2, c2, d2);
                quarter_round!(a3, b3, c3, d3);
                quarter_round!(a0, b1, c2, d3);
                quarter_round!(a1, b2, c3, d0);
                quarter_round!(a2, b3, c0, d1);
                quarter_round!(a3, b0, c1, d2);
            };
        }
        double_round!();
        double_round!();
        double_round!();
        double_round!();
        words[0][lane] = a0.wrapping_add(CONSTANTS[0]);
        words[1][lane] = a1.wrapping_add(CONSTANTS[1]);
        words[2][lane] = a2.wrapping_add(CONSTANTS[2]);
        words[3][lane] = a3.wrapping_add(CONSTANTS[3]);
        words[4][lane] = b0.wrapping_add(key[0]);
        words[5][lane] = b1.wrapping_add(key[1]);
        words[6][lane] = b2.wrapping_add(key[2]);
        words[7][lane] = b3.wrapping_add(key[3]);
        words[8][lane] = c0.wrapping_add(key[4]);
        words[9][lane] = c1.wrapping_add(key[5]);
        words[10][lane] = c2.wrapping_add(key[6]);
        words[11][lane] = c3.wrapping_add(key[7]);
        words[12][lane] = d0.wrapping_add(nonce[0]);
        words[13][lane] = d1.wrapping_add(nonce[1]);
        words[14][lane] = d2.wrapping_add(nonce[2]);
        words[15][lane] = d3.wrapping_add(nonce[3]);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn the_words_are_those_of_rand_chacha() {
        for (seed, stream) in [([0_u8; 32], 0), ([7; 32], 1), ([255; 32], u64::MAX), ([1; 32], 1 << 40)] {
            let mut rng = ChaCha8Rng::from_seed(seed);
            rng.set_stream(stream);
            let key = std::array::from_fn(|i| u32::from_le_bytes(std::array::from_fn(|j| seed[4 * i + j])));
            // The last ones cross and follow the carry of the counter.
            for number in [0, 1, 2, 1000, (1 << 28) - 1, 1 << 28, 1 << 50] {
                rng.set_word_pos(256 * u128::from(number));
                let words = panel(&key, stream, number);
                for (lane, word) in (0..LANES).flat_map(|lane| (0..16).map(move |word| (lane, word))) {
                    assert_eq!(words[word][lane], rng.next_u32(), "{stream} {number} {lane} {word}");
                }
            }
        }
    }
}
