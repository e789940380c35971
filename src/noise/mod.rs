//! Rows of noise, drawn in bulk: ChaCha8 words, 16 blocks side by side, and normals made of them.
//!
//! Value i of a row is a function of the stream and of i alone, whatever the row's length and the machine. A row is cut
//! into panels of 16 blocks of its stream (256 words). Word j of block 16 p + l is called W(j, l) of panel p below; all
//! arithmetic runs over the lanes l = 0 to 15.
//!
//! - **Normals**, 160 a panel: value 32 k + 16 h + l of a panel (k < 5, h < 2) is half h of the pair that
//!   [`box_muller::pair`] makes of W(3k, l), W(3k + 1, l), W(3k + 2, l). Word 15 of a block is not used.
//! - **Uniforms**, 256 a panel: value 16 j + l of a panel is made of W(j, l).
//!
//! The same plain code is compiled for several sets of instructions and the widest one is taken at run time. Nothing is
//! used but what IEEE 754 rounds in one way (+, -, x, /, square root, conversions) and Rust never fuses two
//! operations into one, so that all of them give the same bits.
//!
//! # What a noised value reveals
//! A sum in single precision is rounded to where its float lies, and its last bits tell what it was made of: 1 + e is a
//! multiple of 2^-24, 0 + e seldom is. A certificate speaks of x + n alone, n the product of scale and e. So the sum's float
//! is rounded again, to a multiple of a power of two between scale/128 and scale/64, whatever x was. IEEE addition is a
//! monotone function of the exact sum x + n, and so is rounding: what comes out is one as well, and certificates hold for it
//! (post-processing). Beyond 2^22 grids floats lie half a grid apart or farther; sums there are rounded to at most four
//! times the distance of neighbouring floats.
//!
//! The grid is 2^13 times as coarse as the normals are fine (2^16 times within two deviations, 2^16 times for uniforms), and
//! next to nothing beside the scale: it adds 1/49152 of a variance of scale^2 (1/28086 at most, where floats lie half a grid
//! apart and every other sum is halfway).
//!
//! Every feature that a law noises passes through here. Noise on top of noised values and noise of test
//! inputs have no grid and need none: they depend on nothing but what the members see already.

mod blocks;
mod box_muller;

use pulp::{Simd, WithSimd};

use crate::seed::MemberStreams;
use crate::vectors::dispatch;

/// Blocks of a panel.
const LANES: usize = 16;

/// What a row's values are distributed as.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Normal,
    Uniform,
}

/// row\[i\] = row\[i\] + scale e_i on the grid of that scale, e standard normal from the stream of `sample`.
pub(crate) fn add_normals(streams: &MemberStreams, sample: u64, scale: f32, row: &mut [f32]) {
    dispatch(Drawing { kind: Kind::Normal, key: streams.key(), sample, scale, rounder: rounder(scale), row });
}

/// row\[i\] = row\[i\] + scale e_i without a grid: for noise on top of values that have been noised, where a scale that was
/// searched for on another machine differs in its last bit and must not move a value by a whole grid.
#[cfg_attr(not(feature = "training"), allow(dead_code))]
pub(crate) fn add_normals_to_noised(streams: &MemberStreams, sample: u64, scale: f32, row: &mut [f32]) {
    dispatch(Drawing { kind: Kind::Normal, key: streams.key(), sample, scale, rounder: 0.0, row });
}

/// Standard normals from the stream of `sample` as they are drawn: for searches and scores, which look at data that have
/// been noised.
#[cfg_attr(not(any(test, feature = "training")), allow(dead_code))]
pub(crate) fn unit_normals(streams: &MemberStreams, sample: u64, row: &mut [f32]) {
    row.fill(0.0);
    dispatch(Drawing { kind: Kind::Normal, key: streams.key(), sample, scale: 1.0, rounder: 0.0, row });
}

/// Adding and subtracting it rounds floats to a multiple of the grid, the power of two from scale/128 to scale/64: the last
/// bit of 3/2 2^23 grids is one grid. (Sums beyond 2^22 grids are rounded more coarsely, as floats are.)
fn rounder(scale: f32) -> f64 {
    let power = f64::from_bits(f64::from(scale).to_bits() & 0x7ff0_0000_0000_0000);
    1.5 * (1 << 17) as f64 * power
}

/// The largest one that no float overflows with: the largest float plus this is the largest float.
const LARGEST_ROUNDER: f64 = (1_u128 << 100) as f64;

/// row\[i\] = row\[i\] + scale u_i on the grid of that scale, u uniform on (-1, 1) from the stream of `sample`.
///
/// The 2^24 values of u are the odd multiples of 2^-24: symmetric, equally likely, exact in single precision.
pub(crate) fn add_uniforms(streams: &MemberStreams, sample: u64, scale: f32, row: &mut [f32]) {
    dispatch(Drawing {
        kind: Kind::Uniform,
        key: streams.key(),
        sample,
        scale,
        rounder: rounder(scale),
        row,
    });
}

struct Drawing<'a> {
    kind: Kind,
    key: [u32; 8],
    sample: u64,
    scale: f32,
    rounder: f64,
    row: &'a mut [f32],
}

impl WithSimd for Drawing<'_> {
    type Output = ();

    // What is not inlined would not be compiled for the wider instructions.
    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        self.draw();
    }
}

impl Drawing<'_> {
    #[inline(always)]
    fn draw(self) {
        let Self { kind, key, sample, scale, rounder: wide, row } = self;
        let rounder = if wide <= LARGEST_ROUNDER { wide as f32 } else { 0.0 };
        match kind {
            Kind::Normal => {
                for (panel, part) in (0_u64..).zip(row.chunks_mut(10 * LANES)) {
                    let words = blocks::panel(&key, sample, panel);
                    for (words, part) in words.chunks_exact(3).zip(part.chunks_mut(2 * LANES)) {
                        let [high, low, angle] = words else { continue };
                        add(&box_muller::pairs(high, low, angle), scale, rounder, part);
                    }
                }
            }
            Kind::Uniform => {
                for (panel, part) in (0_u64..).zip(row.chunks_mut(16 * LANES)) {
                    let words = blocks::panel(&key, sample, panel);
                    for (words, part) in words.iter().zip(part.chunks_mut(LANES)) {
                        add(&[words.map(uniform)], scale, rounder, part);
                    }
                }
            }
        }
        if wide > LARGEST_ROUNDER {
            row.iter_mut().for_each(|sum| *sum = ((f64::from(*sum) + wide * TWO_29) - wide * TWO_29) as f32);
        }
    }
}

/// Bits that double precision has beyond single precision.
const TWO_29: f64 = (1 << 29) as f64;

/// An odd multiple of 2^-24 in (-1, 1), from the upper 24 bits.
#[inline(always)]
fn uniform(word: u32) -> f32 {
    const UNIT: f32 = 1.0 / (1 << 24) as f32;
    ((word as i32 >> 7) | 1) as f32 * UNIT
}

/// part += scale values, as many as the part has, rounded.
#[inline(always)]
fn add<const N: usize>(values: &[[f32; LANES]; N], scale: f32, rounder: f32, part: &mut [f32]) {
    for (lanes, values) in part.chunks_mut(LANES).zip(values) {
        if let Ok(lanes) = <&mut [f32; LANES]>::try_from(&mut *lanes) {
            add_lanes(values, scale, rounder, lanes);
        } else {
            // As many as ever, of which the last are dropped: a loop of another length goes one by one.
            let mut padded = [0.0; LANES];
            padded[..lanes.len()].copy_from_slice(lanes);
            add_lanes(values, scale, rounder, &mut padded);
            lanes.copy_from_slice(&padded[..lanes.len()]);
        }
    }
}

#[inline(always)]
fn add_lanes(values: &[f32; LANES], scale: f32, rounder: f32, lanes: &mut [f32; LANES]) {
    for lane in 0..LANES {
        lanes[lane] = noised(lanes[lane], scale, values[lane], rounder);
    }
}

/// x + scale e, and its float on the grid.
#[inline(always)]
fn noised(x: f32, scale: f32, e: f32, rounder: f32) -> f32 {
    let sum = x + scale * e;
    (sum + rounder) - rounder
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::normal::cdf;
    use crate::seed::{Role, Seed};
    use crate::vectors::with_each;
    use rand::Rng;

    /// Lengths around every boundary: lanes, pairs, panels.
    const LENGTHS: [usize; 19] =
        [1, 2, 3, 15, 16, 17, 31, 32, 33, 57, 159, 160, 161, 255, 256, 257, 320, 784, 3072];

    fn streams() -> MemberStreams {
        Seed::new(42).member(Role::Noise, 1)
    }

    fn normals(sample: u64, n: usize) -> Vec<f32> {
        let mut row = vec![0.0; n];
        unit_normals(&streams(), sample, &mut row);
        row
    }

    fn uniforms(sample: u64, n: usize) -> Vec<f32> {
        let mut row = vec![0.0; n];
        let (key, kind) = (streams().key(), Kind::Uniform);
        dispatch(Drawing { kind, key, sample, scale: 1.0, rounder: 0.0, row: &mut row });
        row
    }

    fn bits(row: &[f32]) -> Vec<u32> {
        row.iter().map(|value| value.to_bits()).collect()
    }

    /// Words of a stream in the order of rand_chacha.
    fn words(sample: u64, n: usize) -> Vec<u32> {
        let mut rng = streams().sample(sample);
        (0..n).map(|_| rng.next_u32()).collect()
    }

    #[test]
    fn values_are_pinned_for_ever() {
        // Checkpoints of one version are resumed by the next: the noise must not move.
        let row = normals(2, 784);
        let places = [0, 1, 16, 31, 32, 159, 160, 783];
        assert_eq!(places.map(|i: usize| row[i].to_bits()), NORMALS);
        let row = uniforms(2, 784);
        assert_eq!(places.map(|i: usize| row[i].to_bits()), UNIFORMS);
    }

    const NORMALS: [u32; 8] = [
        0x3f09_a42b,
        0x3f5d_01ee,
        0x3efd_6087,
        0xbed2_bb86,
        0xbf31_a7e1,
        0x3f10_e6c4,
        0xbebd_a940,
        0xbd95_ce54,
    ];
    const UNIFORMS: [u32; 8] = [
        0xbeef_f1ae,
        0x3f1d_b749,
        0xbeb7_4d7a,
        0x3f7d_3e85,
        0x3e72_8074,
        0xbeb5_e2a6,
        0xbf5f_5cdb,
        0x3ee0_cffa,
    ];

    #[test]
    fn each_value_is_made_of_the_words_it_should_be() {
        for sample in [0, 2, u64::MAX] {
            let words = words(sample, 16 * 16 * 20);
            for (i, drawn) in normals(sample, 3072).into_iter().enumerate() {
                let (panel, k, half, lane) = (i / 160, i % 160 / 32, i % 32 / 16, i % 16);
                let at = 16 * (16 * panel + lane) + 3 * k;
                let pair = box_muller::tests::exact_pair(words[at], words[at + 1], words[at + 2]);
                let exact = [pair.0, pair.1][half];
                assert!((f64::from(drawn) / exact - 1.0).abs() < 4e-7, "{sample} {i}: {drawn} {exact}");
            }
            for (i, drawn) in uniforms(sample, 3072).into_iter().enumerate() {
                let word = words[16 * (16 * (i / 256) + i % 16) + i % 256 / 16];
                let middle = (f64::from(word >> 8) + 0.5) / 2_f64.powi(24);
                // Signed, so that the upper half of the words is the lower half of the values.
                let exact = 2.0 * if middle < 0.5 { middle } else { middle - 1.0 };
                assert_eq!(f64::from(drawn), exact, "{sample} {i}");
            }
        }
    }

    #[test]
    fn a_row_is_the_beginning_of_every_longer_one() {
        let (long, longer) = (normals(9, 4000), uniforms(9, 4000));
        for n in LENGTHS {
            assert_eq!(bits(&normals(9, n)), bits(&long[..n]), "{n}");
            assert_eq!(bits(&uniforms(9, n)), bits(&longer[..n]), "{n}");
        }
        add_normals(&streams(), 9, 1.0, &mut []);
    }

    #[test]
    fn noise_is_scaled_and_added() {
        let unit = normals(4, 200);
        let mut row: Vec<f32> = (0..200).map(|i| i as f32).collect();
        add_normals(&streams(), 4, 0.3, &mut row);
        for (i, (value, e)) in row.iter().zip(unit).enumerate() {
            let grid = 0.25 / 64.0;
            let sum = f64::from(i as f32 + 0.3 * e);
            assert_eq!(f64::from(*value), (sum / grid).round_ties_even() * grid);
        }
    }

    type Add = fn(&MemberStreams, u64, f32, &mut [f32]);

    const LAWS: [(&str, Add); 2] = [("normals", add_normals), ("uniforms", add_uniforms)];

    /// Shares of values that are multiples of 2^0 to 2^-30.
    fn multiples(values: &[f32]) -> [f64; 31] {
        std::array::from_fn(|bit| {
            let unit = 2_f64.powi(bit as i32);
            let whole = values.iter().filter(|value| (f64::from(**value) * unit).fract() == 0.0).count();
            whole as f64 / values.len() as f64
        })
    }

    /// The attack: 1 + e is a multiple of 2^-24 and 0 + e is not, so that a member sees in the last bits which of the two it
    /// was trained on, however large the noise.
    #[test]
    fn the_last_bits_do_not_tell_what_a_value_was_made_of() {
        const N: usize = 400_000;
        for (what, add) in LAWS {
            let noised = |x: f32, sample| {
                let mut row = vec![x; N];
                add(&streams(), sample, 0.25, &mut row);
                multiples(&row)
            };
            // Of one magnitude each: halfway between places of the grid, which floats are oftener the coarser they are,
            // goes to the even one.
            for alike in [&[0.0, 1.0, 0.3, -7.0, 1e-3, 1e-9, 100.0][..], &[12_345.0, 12_345.678, 12_346.3]] {
                let shares: Vec<_> = alike.iter().zip(0..).map(|(x, sample)| noised(*x, sample)).collect();
                assert_eq!(shares[0][8], 1.0, "{what}: 2^-8 is the grid");
                for (other, x) in shares.iter().zip(alike) {
                    // Multiples of a half and more are far enough apart for the law itself to tell them from one another.
                    for (bit, (first, other)) in shares[0].iter().zip(other).enumerate().skip(4) {
                        let error = (2.0 * first * (1.0 - first) / N as f64).sqrt();
                        assert!(
                            (first - other).abs() <= 5.0 * error,
                            "{what}, {x}, 2^-{bit}: {first} {other}"
                        );
                    }
                }
            }
        }
        // In single precision alone the two are told apart.
        let single =
            |x: f32| multiples(&normals(5, 1000).iter().map(|e| x + 0.25 * e).collect::<Vec<_>>())[24];
        assert!(single(1.0) > 0.95 && single(0.0) < 0.4, "{} {}", single(1.0), single(0.0));
    }

    /// One noised value, with every step for large scales too.
    fn one(x: f32, scale: f32, e: f32) -> f32 {
        let wide = rounder(scale);
        if wide <= LARGEST_ROUNDER {
            noised(x, scale, e, wide as f32)
        } else {
            ((f64::from(x + scale * e) + wide * TWO_29) - wide * TWO_29) as f32
        }
    }

    /// x + n without error, as the double next to it and the rest.
    fn exact_sum(x: f32, scale: f32, e: f32) -> (f64, f64) {
        let (a, b) = (f64::from(x), f64::from(scale * e));
        let sum = a + b;
        let back = sum - a;
        (sum, (a - (sum - back)) + (b - back))
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(4000))]

        /// Order and equality of the exact sums of two pairs are those of what comes out: it is a function of the sum.
        #[test]
        fn a_noised_value_is_a_monotone_function_of_the_exact_sum(
            x in proptest::prelude::any::<i16>(), shift in -1000_i32..1000, down in 0_i32..16, e in -9.4_f32..9.4,
            scale in 1e-3_f32..10.0, nudge in -3_i32..=3,
        ) {
            let unit = 2_f32.powi(-down);
            let (x, y) = (f32::from(x) * unit, (i32::from(x) + shift) as f32 * unit);
            let f = ((f64::from(x) - f64::from(y)) / f64::from(scale) + f64::from(e)) as f32;
            let f = f32::from_bits(f.to_bits().saturating_add_signed(nudge));
            let (first, second) = (exact_sum(x, scale, e), exact_sum(y, scale, f));
            let by = |x, e| one(x, scale, e);
            let order = by(x, e).partial_cmp(&by(y, f));
            match first.partial_cmp(&second) {
                Some(std::cmp::Ordering::Less) => proptest::prop_assert!(by(x, e) <= by(y, f), "{order:?}"),
                Some(std::cmp::Ordering::Greater) => proptest::prop_assert!(by(x, e) >= by(y, f), "{order:?}"),
                _ => proptest::prop_assert_eq!(by(x, e).to_bits(), by(y, f).to_bits()),
            }
        }

        /// Next to the sum by half a grid or half the distance of floats there, at all magnitudes; infinite only where the
        /// place of the grid next to the sum is beyond all floats.
        #[test]
        fn a_noised_value_is_next_to_the_sum(
            x in proptest::prelude::any::<f32>(), scale in 1e-45_f32..f32::MAX, power in -140_i32..0, e in -9.4_f32..9.4,
        ) {
            proptest::prop_assume!(x.is_finite());
            let scale = (f64::from(scale) * 2_f64.powi(power)).max(1e-45) as f32;
            let value = f64::from(one(x, scale, e));
            let (sum, grid) = (exact_sum(x, scale, e).0, f64::from(scale) / 64.0);
            proptest::prop_assume!(sum.abs() < f64::from(f32::MAX));
            let floats = (sum.abs() * 2_f64.powi(-22)).max(f64::from(f32::from_bits(1)));
            if value.is_infinite() {
                proptest::prop_assert_eq!(value.signum(), sum.signum());
                proptest::prop_assert!(sum.abs() + 0.51 * grid + floats > f64::from(f32::MAX));
                return Ok(());
            }
            proptest::prop_assert!((value - sum).abs() <= 0.51 * grid + floats);
            if sum.abs() < grid * 2_f64.powi(20) && grid > 1e-36 {
                let places = value / (rounder(scale) / 1.5 / 2_f64.powi(23));
                proptest::prop_assert_eq!(places.fract(), 0.0);
            }
        }
    }

    #[test]
    fn the_grid_is_fine_beside_the_scale() {
        for scale in [1e-30_f32, 0.1, 0.25, 0.3, 0.499_999_97, 0.5, 1.0, 3.0, 1e30] {
            let grid = rounder(scale) / 1.5 / 2_f64.powi(23);
            assert!(grid > f64::from(scale) / 128.0 && grid <= f64::from(scale) / 64.0, "{scale}");
            assert_eq!(grid.to_bits() << 12, 0, "{scale}: a power of two");
        }
        assert_eq!(one(1.0, 0.0, 1.0), 1.0);
    }

    /// The largest scales, whose rounder no float holds, and the smallest, beside which floats are coarse.
    #[test]
    fn extreme_scales_have_a_grid_and_overflow_nothing() {
        assert_eq!(
            one(0.0, 6.136_086e37, 5.543_021),
            f32::INFINITY,
            "below the largest float, whose grid's next place is not"
        );
        assert!(one(0.0, 6.136_086e37, 5.5).is_finite());
        for (scale, x) in [(1e24_f32, f32::MAX), (5e24, f32::MAX), (1e26, 3e38), (1e35, 1e36), (1e37, 0.0)] {
            for add in LAWS.map(|law| law.1) {
                let mut row = vec![x; 1000];
                add(&streams(), 3, scale, &mut row);
                let grid = rounder(scale) / 1.5 / 2_f64.powi(23);
                assert!(row.iter().all(|value| (f64::from(*value) / grid).fract() == 0.0), "{scale}");
            }
        }
        for scale in [f32::from_bits(1), 1e-42, f32::MIN_POSITIVE] {
            let mut row = [0.0, 1.0, -3e38, 1e-30];
            add_normals(&streams(), 3, scale, &mut row);
            assert_eq!(row[1..3], [1.0, -3e38]);
            assert!(
                f64::from(row[0]).abs() < 9.5 * f64::from(scale) + 1e-45
                    && (row[3] / 1e-30 - 1.0).abs() < 1e-5
            );
        }
    }

    /// Drawn together with exact normals, how many noised values would be others.
    #[test]
    fn noised_values_are_those_of_exact_normals_but_for_few() {
        let mut rng = streams().sample(78);
        let (mut others, n) = (0, 4_000_000);
        let rounder = rounder(0.5) as f32;
        for _ in 0..n / 2 {
            let (high, low, angle) = (rng.next_u32(), rng.next_u32(), rng.next_u32());
            let (drawn, exact) =
                (box_muller::pair(high, low, angle), box_muller::tests::exact_pair(high, low, angle));
            for (drawn, exact) in [(drawn.0, exact.0), (drawn.1, exact.1)] {
                let grid = 1.0 / 128.0;
                let exact = (((f64::from(0.3_f32) + 0.5 * exact) / grid).round_ties_even() * grid) as f32;
                others += usize::from(noised(0.3, 0.5, drawn, rounder) != exact);
            }
        }
        assert!((others as f64) < 1e-5 * f64::from(n), "{others} of {n}");
    }

    #[test]
    fn all_sets_of_instructions_give_the_same_bits() {
        for (n, sample) in LENGTHS.into_iter().zip(0..) {
            for kind in [Kind::Normal, Kind::Uniform] {
                let by = |run: &dyn Fn(Drawing<'_>)| {
                    let mut row: Vec<f32> = (0..n).map(|i| [0.25, -1e6, 3e38, 1e-30, 0.1][i % 5]).collect();
                    run(Drawing {
                        kind,
                        key: streams().key(),
                        sample,
                        scale: 0.7,
                        rounder: rounder(0.7),
                        row: &mut row,
                    });
                    bits(&row)
                };
                let plain = by(&|drawing| drawing.draw());
                with_each(|set| assert_eq!(by(&|drawing| dispatch(drawing)), plain, "{set} {kind:?} {n}"));
            }
        }
    }

    /// 1.2 x 10^7 values in rows of 3072, and of 57.
    fn many(draw: fn(u64, usize) -> Vec<f32>) -> Vec<f32> {
        (0..3500).flat_map(|i| draw(i, 3072)).chain((10_000..32_000).flat_map(|i| draw(i, 57))).collect()
    }

    /// Checks a mean of values with known expectation and variance to five standard deviations.
    fn check_mean(what: &str, values: impl Iterator<Item = f64>, expected: f64, variance: f64) {
        let (sum, n) = values.fold((0.0, 0.0), |(sum, n), value| (sum + value, n + 1.0));
        let deviations = (sum / n - expected) / f64::sqrt(variance / n);
        assert!(deviations.abs() < 5.0, "{what}: {deviations} standard deviations over {n} values");
    }

    /// Chi-square over 1000 equally likely intervals, and Kolmogorov-Smirnov at their ends.
    fn check_shape(values: &[f32], place: impl Fn(f64) -> usize) {
        let mut counts = [0_u32; 1000];
        for value in values {
            counts[place(f64::from(*value))] += 1;
        }
        let expected = values.len() as f64 / 1000.0;
        let chi: f64 = counts.iter().map(|count| (f64::from(*count) - expected).powi(2) / expected).sum();
        assert!((999.0 - 5.0 * 44.7..999.0 + 5.0 * 44.7).contains(&chi), "{chi} of 999");
        let mut below = 0.0;
        for (i, count) in counts.iter().enumerate() {
            below += f64::from(*count);
            let gap = (below - expected * (i + 1) as f64).abs() / (values.len() as f64).sqrt();
            assert!(gap < 1.95, "{gap} at {i}: beyond once in a thousand");
        }
    }

    #[test]
    fn normals_are_normal() {
        let values = many(normals);
        assert!(values.len() >= 12_000_000 && values.iter().all(|value| *value != 0.0));
        for (power, expected, variance) in
            [(1, 0.0, 1.0), (2, 1.0, 2.0), (3, 0.0, 15.0), (4, 3.0, 96.0), (6, 15.0, 10_170.0)]
        {
            let powers = values.iter().map(|value| f64::from(*value).powi(power));
            check_mean(&format!("moment {power}"), powers, expected, variance);
        }
        check_shape(&values, |value| (cdf(value) * 1000.0) as usize);
        for beyond in [3.0, 4.0, 4.5, 5.0] {
            for sign in [-1.0, 1.0] {
                let expected = values.len() as f64 * cdf(-beyond);
                let found = values.iter().filter(|value| sign * f64::from(**value) > beyond).count() as f64;
                let far = (found - expected).abs() / expected.sqrt();
                assert!(far < 4.0, "{found} beyond {beyond} where {expected} are expected");
            }
        }
    }

    #[test]
    fn values_far_out_come_as_often_as_they_should() {
        // Given that u is below 2^-zeros, r^2/2 is exponential from zeros log 2 on: r up to 3.5, 5.3, 6.6, 7.6 and more.
        let mut rng = streams().sample(77);
        for zeros in [9_u32, 20, 31, 42] {
            let energies = (0..400_000).map(|_| {
                let (high, low) = (rng.next_u32(), rng.next_u32());
                let (high, low) = if zeros < 32 { (high >> zeros, low) } else { (0, low >> (zeros - 32)) };
                let (a, b) = box_muller::pair(high, low, rng.next_u32());
                (f64::from(a).powi(2) + f64::from(b).powi(2)) / 2.0 - f64::from(zeros) * 2_f64.ln()
            });
            check_mean(&format!("{zeros}"), energies, 1.0, 1.0);
        }
    }

    #[test]
    fn values_are_independent_of_one_another() {
        let rows: Vec<Vec<f32>> = (0..2000).map(|sample| normals(sample, 3200)).collect();
        // 16 is the other half of the pair where bit 4 of the place is not set; 160 the next panel.
        for step in [1, 2, 15, 16, 17, 32, 160, 320] {
            let both = || {
                rows.iter().flat_map(move |row| {
                    row.iter().zip(&row[step..]).map(|(a, b)| (f64::from(*a), f64::from(*b)))
                })
            };
            check_mean(&format!("{step}"), both().map(|(a, b)| a * b), 0.0, 1.0);
            let squares = both().map(|(a, b)| (a * a - 1.0) * (b * b - 1.0));
            check_mean(&format!("{step}, squares"), squares, 0.0, 4.0);
            check_mean(&format!("{step}, a b^2"), both().map(|(a, b)| a * (b * b - 1.0)), 0.0, 2.0);
        }
        for (a, b) in rows.iter().zip(&rows[1..]) {
            let product = a.iter().zip(b).map(|(a, b)| f64::from(a * b));
            check_mean("samples", product, 0.0, 1.0);
        }
        let mut other = vec![0.0; 3200];
        unit_normals(&Seed::new(42).member(Role::Noise, 2), 0, &mut other);
        check_mean("members", rows[0].iter().zip(other).map(|(a, b)| f64::from(a * b)), 0.0, 1.0);
    }

    #[test]
    fn halves_of_a_pair_are_independent() {
        let halves = || {
            (0..2500).flat_map(|sample| {
                let row = normals(sample, 3200);
                let pairs = row.chunks_exact(32).flat_map(|both| {
                    both[..16].iter().zip(&both[16..]).map(|(a, b)| (f64::from(*a), f64::from(*b)))
                });
                pairs.collect::<Vec<_>>()
            })
        };
        check_mean("product", halves().map(|(a, b)| a * b), 0.0, 1.0);
        check_mean("squares", halves().map(|(a, b)| (a * a - 1.0) * (b * b - 1.0)), 0.0, 4.0);
        check_mean("larger", halves().map(|(a, b)| f64::from(a.abs() > b.abs())), 0.5, 0.25);
        check_mean("signs", halves().map(|(a, b)| a.signum() * b.signum()), 0.0, 1.0);
    }

    #[test]
    fn uniforms_are_uniform() {
        let values = many(uniforms);
        assert!(values.iter().all(|value| value.abs() < 1.0 && *value != 0.0));
        check_mean("mean", values.iter().map(|value| f64::from(*value)), 0.0, 1.0 / 3.0);
        let squares = values.iter().map(|value| f64::from(*value).powi(2));
        check_mean("squares", squares, 1.0 / 3.0, 4.0 / 45.0);
        check_shape(&values, |value| ((value + 1.0) * 500.0) as usize);
    }
}
