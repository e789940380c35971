//! L2 distances between stored `f32` vectors, exact before the last rounding, rounded downwards and upwards.

/// Lowest bit of a [`SquareSum`] has the weight 2^LOWEST.
const LOWEST: i32 = -448;
/// 768 bits: squares of differences of `f32` numbers need the weights 2^-402 to 2^258 and room for carries.
const LIMBS: usize = 12;

/// The two neighbouring `f64` numbers around a true distance; equal where the distance is an `f64`.
///
/// The true distance of two `f32` vectors is the root of a rational number and is computed as such:
/// nothing is rounded before the last step. An overlap of regions can therefore be neither missed nor
/// invented, and the result does not depend on the order of summation, the machine or its threads.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Distance {
    /// The largest `f64` that is not above the true distance.
    pub(crate) below: f64,
    /// The smallest `f64` that is not below the true distance.
    pub(crate) above: f64,
}

impl Distance {
    /// The distance of two finite vectors of the same length.
    pub(crate) fn between(a: &[f32], b: &[f32]) -> Self {
        let mut sum = SquareSum::default();
        for (&x, &y) in a.iter().zip(b) {
            sum.add_difference(f64::from(x), f64::from(y));
        }
        sum.root()
    }
}

/// The distance in plain `f64` arithmetic; off by at most the factor 1 ± [`relative_error`].
///
/// ```text
/// Each term is a difference (one rounding), squared (one rounding): at most three factors 1 + u, u = 2^-53.
/// n terms are added in some order: at most n - 1 further factors. The root halves the error and adds one u.
/// No square of a difference of f32 numbers underflows or overflows in f64.
/// ```
pub(crate) fn approximate(a: &[f32], b: &[f32]) -> f64 {
    const LANES: usize = 8;
    let mut sums = [0.0_f64; LANES];
    let (heads_a, tail_a) = a.as_chunks::<LANES>();
    let (heads_b, tail_b) = b.as_chunks::<LANES>();
    for (x, y) in heads_a.iter().zip(heads_b) {
        for lane in 0..LANES {
            let difference = f64::from(x[lane]) - f64::from(y[lane]);
            sums[lane] += difference * difference;
        }
    }
    let square = |(&x, &y): (&f32, &f32)| (f64::from(x) - f64::from(y)).powi(2);
    let tail: f64 = tail_a.iter().zip(tail_b).map(square).sum();
    (sums.iter().sum::<f64>() + tail).sqrt()
}

/// Bound of the relative error of sums of `n` products or squares in `f64`, in any order, with room to spare.
pub(crate) fn relative_error(n: usize) -> f64 {
    (n as f64 + 8.0) * f64::EPSILON
}

/// Bound of the error of `plain - radius`, where `plain` is an [`approximate`] distance of `n` coordinates.
pub(crate) fn doubt(plain: f64, radius: f64, n: usize) -> f64 {
    relative_error(n) * plain + 2.0 * f64::EPSILON * (plain + radius)
}

/// The largest `f64` that is not above `a - b`; `a` and `b` finite.
///
/// The error of a floating-point sum is itself an `f64` (Knuth, TAOCP 2, 4.2.2), so its sign is known.
/// For any `f64` c it follows that `subtract_down(a, b) < c` exactly if a - b < c.
pub(crate) fn subtract_down(a: f64, b: f64) -> f64 {
    let difference = a - b;
    let part = difference - a;
    let error = (a - (difference - part)) + (-b - part);
    if error < 0.0 {
        difference.next_down()
    } else {
        difference
    }
}

/// A sum of squares as one long integer, so that nothing is rounded (Kulisch's long accumulator).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct SquareSum {
    /// Least significant first.
    limbs: [u64; LIMBS],
}

impl SquareSum {
    /// Adds (x - y)^2 for numbers that are `f32` values.
    fn add_difference(&mut self, x: f64, y: f64) {
        let difference = x - y;
        let part = difference - x;
        let error = (x - (difference - part)) + (-y - part);
        if error == 0.0 {
            self.add_product(difference, difference, 1);
        } else {
            self.add_expanded(x, y);
        }
    }

    /// Adds x^2 - 2xy + y^2, for numbers so different in size that x - y is not an `f64`.
    fn add_expanded(&mut self, x: f64, y: f64) {
        self.add_product(x, x, 1);
        self.add_product(y, y, 1);
        if (x < 0.0) == (y < 0.0) {
            self.subtract_product(x, y, 2);
        } else {
            self.add_product(x, y, 2);
        }
    }

    /// Adds `times` |x| |y|.
    fn add_product(&mut self, x: f64, y: f64, times: u128) {
        let (start, words) = words_of(x, y, times);
        let mut carry = false;
        for (at, word) in (start..LIMBS).zip(words.into_iter().chain(std::iter::repeat(0))) {
            if word == 0 && !carry && at > start + 2 {
                break;
            }
            let (sum, first) = self.limbs[at].overflowing_add(word);
            let (sum, second) = sum.overflowing_add(u64::from(carry));
            self.limbs[at] = sum;
            carry = first || second;
        }
    }

    /// Subtracts `times` |x| |y|, which must not exceed the sum.
    fn subtract_product(&mut self, x: f64, y: f64, times: u128) {
        let (start, words) = words_of(x, y, times);
        let mut borrow = false;
        for (at, word) in (start..LIMBS).zip(words.into_iter().chain(std::iter::repeat(0))) {
            let (rest, first) = self.limbs[at].overflowing_sub(word);
            let (rest, second) = rest.overflowing_sub(u64::from(borrow));
            self.limbs[at] = rest;
            borrow = first || second;
        }
    }

    /// How the square of `value` compares with the sum.
    fn compare_square(&self, value: f64) -> std::cmp::Ordering {
        let mut square = Self::default();
        square.add_product(value, value, 1);
        square.limbs.iter().rev().cmp(self.limbs.iter().rev())
    }

    /// The sum in `f64`, within a few units in the last place.
    fn nearby(&self) -> f64 {
        let weigh = |(at, &limb): (usize, &u64)| limb as f64 * power_of_two(LOWEST + 64 * at as i32);
        self.limbs.iter().enumerate().map(weigh).sum()
    }

    /// The root, rounded downwards and upwards.
    fn root(&self) -> Distance {
        if *self == Self::default() {
            return Distance { below: 0.0, above: 0.0 };
        }
        let mut below = self.nearby().sqrt();
        while self.compare_square(below).is_gt() {
            below = below.next_down();
        }
        while self.compare_square(below.next_up()).is_le() {
            below = below.next_up();
        }
        let exact = self.compare_square(below).is_eq();
        Distance { below, above: if exact { below } else { below.next_up() } }
    }
}

/// 2^exponent for exponents of normal numbers.
fn power_of_two(exponent: i32) -> f64 {
    f64::from_bits(((1023 + exponent) as u64) << 52)
}

/// |x| as (integer of at most 53 bits, exponent of two).
fn decompose(x: f64) -> (u64, i32) {
    let bits = x.to_bits();
    let exponent = ((bits >> 52) & 0x7ff) as i32;
    let fraction = bits & ((1 << 52) - 1);
    if exponent == 0 {
        (fraction, -1074)
    } else {
        (fraction | (1 << 52), exponent - 1075)
    }
}

/// `times` |x| |y| as three words and the limb where they start; zero for a product below every weight.
fn words_of(x: f64, y: f64, times: u128) -> (usize, [u64; 3]) {
    let ((a, e), (b, f)) = (decompose(x), decompose(y));
    let product = u128::from(a) * u128::from(b) * times;
    let shift = e + f - LOWEST;
    if product == 0 || shift < 0 {
        return (0, [0; 3]);
    }
    let (start, offset) = (shift as usize / 64, shift as u32 % 64);
    let low = (product & u128::from(u64::MAX)) << offset;
    let high = (product >> 64) << offset;
    let middle = (low >> 64) + (high & u128::from(u64::MAX));
    let top = (high >> 64) + (middle >> 64);
    (start, [low as u64, middle as u64, top as u64])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn distances_that_are_numbers_come_out_exactly() {
        for (a, b, d) in [
            (vec![0.0, 0.0], vec![3.0, 4.0], 5.0),
            (vec![1.5], vec![1.5], 0.0),
            (vec![-1e-45], vec![0.0], f64::from(1e-45_f32)),
            (vec![f32::MAX], vec![-f32::MAX], 2.0 * f64::from(f32::MAX)),
            (vec![0.1, 0.2], vec![0.1, 0.2], 0.0),
        ] {
            assert_eq!(Distance::between(&a, &b), Distance { below: d, above: d }, "{a:?} {b:?}");
        }
    }

    #[test]
    fn a_root_that_is_no_number_lies_strictly_between_its_neighbours() {
        let two = Distance::between(&[1.0, 0.0], &[0.0, 1.0]);
        assert_eq!(two.above, two.below.next_up());
        assert!(two.below <= 2.0_f64.sqrt() && 2.0_f64.sqrt() <= two.above);
    }

    #[test]
    fn a_tiny_summand_beside_a_huge_one_still_counts() {
        let huge = Distance::between(&[1e30, 1e-30], &[0.0, 0.0]);
        let alone = f64::from(1e30_f32);
        assert_eq!((huge.below, huge.above), (alone, alone.next_up()));
        let apart = Distance::between(&[1e30], &[1e-30]);
        assert_eq!((apart.below, apart.above), (alone.next_down(), alone));
    }

    /// Any finite `f32`, small ones and powers of two included.
    fn coordinate() -> impl Strategy<Value = f32> {
        prop_oneof![
            any::<u32>().prop_map(f32::from_bits).prop_filter("finite", |v| v.is_finite()),
            (-1000_i32..1000).prop_map(|v| v as f32 / 8.0),
            -1.0_f32..1.0,
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn the_plain_distance_lies_within_its_bound_of_the_exact_one(
            pairs in prop::collection::vec((coordinate(), coordinate()), 1..40)
        ) {
            let (a, b): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
            let (plain, exact) = (approximate(&a, &b), Distance::between(&a, &b));
            let error = relative_error(a.len());
            prop_assert!(plain >= exact.below * (1.0 - error) && plain <= exact.above * (1.0 + error));
            prop_assert!(exact.above == exact.below || exact.above == exact.below.next_up());
            prop_assert_eq!(exact, Distance::between(&b, &a));
        }

        /// Coordinates on a grid: the sum of squares is an integer, whose root integers can bound.
        #[test]
        fn on_a_grid_both_neighbours_agree_with_integer_arithmetic(
            cells in prop::collection::vec(-(1_i64 << 24)..(1 << 24), 1..6)
        ) {
            let a: Vec<f32> = cells.iter().map(|&c| c as f32).collect();
            let square: u128 = cells.iter().map(|&c| (c * c) as u128).sum();
            let found = Distance::between(&a, &vec![0.0; a.len()]);
            // d = m 2^e with e < 0, as distances here are below 2^27; so d^2 compares with the square as m^2 with square 2^-2e.
            let compare = |d: f64| { let (m, e) = decompose(d); u128::from(m).pow(2).cmp(&(square << (-2 * e))) };
            let (below_or_equal, above_or_equal) = (|d| compare(d).is_le(), |d| compare(d).is_ge());
            if square > 0 {
                prop_assert!(below_or_equal(found.below) && above_or_equal(found.above));
                prop_assert!(!below_or_equal(found.below.next_up()) && !above_or_equal(found.above.next_down()));
            }
        }

        #[test]
        fn subtraction_rounds_downwards(a in 0.0_f64..4.0, b in 0.0_f64..4.0, step in 0_i32..60) {
            let b = b * power_of_two(-step);
            let down = subtract_down(a, b);
            // a - b and down are multiples of 2^-140 below 2^3: exact in two halves of an integer.
            let whole = |v: f64| { let (m, e) = decompose(v); (i128::from(m)) << (e + 120).max(0) >> (-(e + 120)).max(0) };
            prop_assume!([a, b, down, down.next_up()].iter().all(|v| *v == 0.0 || v.abs() > 1e-20));
            let signed = |v: f64| if v < 0.0 { -whole(v) } else { whole(v) };
            prop_assert!(signed(down) <= signed(a) - signed(b));
            prop_assert!(signed(down.next_up()) > signed(a) - signed(b));
        }
    }
}
