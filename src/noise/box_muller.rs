//! Pairs of standard normals from words, by Box and Muller: r cos a and r sin a with r = sqrt(-2 log u).
//!
//! # What the values are
//! u has 2^63 equally likely values, t and 1 - t with t the odd multiples of 2^-64 below 1/2. t is calculated as a float,
//! so that both ends of (0, 1) are fine: r goes down to 3.3e-10 and up to 9.41. The angle is one of 2^32, the odd
//! multiples of 2 pi / 2^33, so that all signs are equally likely and no value is 0.
//!
//! # How far from normal
//! Draw u and the angle from the whole of their cells instead of the middles, and calculate exactly: that is a pair of
//! independent exact normals. It differs from the pair drawn here by
//!
//! - rounding: about 6 x 2^-24 of each value (5.62 x 2^-24 was the most in 3 x 10^8 pairs, many of them from the ends; no
//!   bound was proved), a few times what adding the noise to a feature costs in single precision;
//! - the angle's cell: at most 8e-10 r;
//! - the radius' cell: at most 4e-10 near 0, 1e-10 r up to r = 7 and 7e-8 r up to r = 8. The outermost cell stands for
//!   all radii beyond 9.34, a probability of 1.1e-19 a pair: those are drawn as 9.41.
//!
//! So the distribution function is right to 1e-7 at every point, and an interval from z to (1 + w) z has the right
//! probability to about 7e-7/w of it. For single floats that says nothing, and rounding does make neighbours unequal, as in
//! every generator that calculates in the precision it returns.

use super::LANES;

const TWO_32: f32 = 4_294_967_296.0;

/// Bits of the float just above sqrt(1/2), where the mantissa's interval begins.
const SQRT_HALF: u32 = 0x3f35_04f3;

/// The first and the second normal of each lane.
#[inline(always)]
pub(super) fn pairs(high: &[u32; LANES], low: &[u32; LANES], angle: &[u32; LANES]) -> [[f32; LANES]; 2] {
    let mut normals = [[0.0; LANES]; 2];
    for lane in 0..LANES {
        let (first, second) = pair(high[lane], low[lane], angle[lane]);
        normals[0][lane] = first;
        normals[1][lane] = second;
    }
    normals
}

/// Two normals from 96 bits.
///
/// - Radius: bit 31 of `high` says whether u = t or u = 1 - t; the other 31 (inverted where it is set) and the upper 31
///   of `low` are t = (high 2^31 + low + 1/2) 2^-63.
/// - Angle: bit 31 of `angle` is the sign of both, bit 30 says which is the cosine, and the other 30 are an
///   angle x in (-pi/4, pi/4).
#[inline(always)]
pub(super) fn pair(high: u32, low: u32, angle: u32) -> (f32, f32) {
    let upper = high >> 31 != 0;
    let folded = if upper { !high } else { high };
    let t =
        folded as i32 as f32 * (1.0 / TWO_32) + ((low >> 1) as i32 as f32 + 0.5) * (2.0 / (TWO_32 * TWO_32));
    let r = radius(t, upper);
    let r = f32::from_bits(r.to_bits() ^ (angle & 0x8000_0000));
    // The lower 30 bits as a signed number, and half a step.
    let x = ((angle << 2) | 2) as i32 as f32 * (2.0 / TWO_32);
    let (sin, cos) = sin_cos(x);
    let swap = angle & 0x4000_0000 != 0;
    (r * if swap { sin } else { cos }, r * if swap { cos } else { sin })
}

/// sqrt(-2 log u), u = t or 1 - t, 0 < t <= 1/2.
///
/// log(2^e m) = e log 2 + 2 artanh(q), q = f/(2 + f), f = m - 1, with m from sqrt(1/2) to sqrt(2). Where u = 1 - t lies
/// there, f = -t has no rounding. The polynomial is the minimax one for -4 artanh(q)/q in q^2, relative error 8e-10.
#[inline(always)]
fn radius(t: f32, upper: bool) -> f32 {
    let u = if upper { 1.0 - t } else { t };
    let above = u.to_bits().wrapping_sub(SQRT_HALF) as i32;
    let exponent = (above >> 23) as f32;
    let mantissa = f32::from_bits((above as u32 & 0x007f_ffff).wrapping_add(SQRT_HALF));
    let f = if above >= 0 { -t } else { mantissa - 1.0 };
    let q = f / (2.0 + f);
    let z = q * q;
    let series = ((-0.597_413_9 * z - 0.799_551_7) * z - 1.333_335_5) * z - 4.0;
    (q * series - std::f32::consts::LN_2 * 2.0 * exponent).sqrt()
}

/// Sine and cosine of pi/4 x, |x| <= 1: minimax polynomials, relative errors 3e-8 and 5e-10.
#[inline(always)]
fn sin_cos(x: f32) -> (f32, f32) {
    let z = x * x;
    let sin = ((-3.660_915_5e-5 * z + 2.491_016_4e-3) * z - 8.074_583e-2) * z + std::f32::consts::FRAC_PI_4;
    let cos = ((3.494_087_4e-6 * z - 3.258_687e-4) * z + 1.585_428_4e-2) * z - 0.308_425_13;
    (sin * x, cos * z + 1.0)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    /// The pair in double precision, with functions of the library.
    pub(in super::super) fn exact_pair(high: u32, low: u32, angle: u32) -> (f64, f64) {
        let upper = high >> 31 == 1;
        let folded = f64::from(if upper { !high } else { high });
        let t = (folded * 2_f64.powi(31) + f64::from(low >> 1) + 0.5) * 2_f64.powi(-63);
        let energy = if upper { -(-t).ln_1p() } else { -t.ln() };
        let r = (2.0 * energy).sqrt() * if angle >> 31 == 1 { -1.0 } else { 1.0 };
        let x = f64::from(((angle << 2) | 2) as i32) * 2_f64.powi(-31);
        let (sin, cos) = (x * std::f64::consts::FRAC_PI_4).sin_cos();
        if angle >> 30 & 1 == 1 {
            (r * sin, r * cos)
        } else {
            (r * cos, r * sin)
        }
    }

    fn error(drawn: f32, exact: f64) -> f64 {
        (f64::from(drawn) / exact - 1.0).abs() * 2_f64.powi(24)
    }

    #[test]
    fn every_value_is_within_six_roundings_of_the_exact_one() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let mut worst = 0.0_f64;
        for number in 0..3_000_000 {
            let (high, low, angle) = (rng.next_u32(), rng.next_u32(), rng.next_u32());
            // Also both ends of u, and small angles.
            let shift = rng.next_u32() % 32;
            let small = (angle >> shift) ^ (angle & 0xc000_0000);
            let (high, angle) = match number % 4 {
                0 => (high, angle),
                1 => (high >> shift, angle),
                2 => (!(high >> shift), angle),
                _ => (high, small),
            };
            let (drawn, exact) = (pair(high, low, angle), exact_pair(high, low, angle));
            let worse = error(drawn.0, exact.0).max(error(drawn.1, exact.1));
            assert!(worse <= 6.0, "{high:#x} {low:#x} {angle:#x}: {drawn:?} {exact:?}");
            worst = worst.max(worse);
        }
        assert!(worst > 3.0, "the errors are measured: {worst}");
    }

    #[test]
    fn the_ends_are_where_they_should_be() {
        let squared = |(a, b): (f32, f32)| f64::from(a).powi(2) + f64::from(b).powi(2);
        for (high, low, expected) in [
            (0, 0, 2.0 * 64.0 * 2_f64.ln()),
            (0, u32::MAX, 2.0 * 32.0 * 2_f64.ln()),
            (u32::MAX, 0, 2.0 * 2_f64.powi(-64)),
            (0x7fff_ffff, u32::MAX, 2.0 * 2_f64.ln()),
            (0x8000_0000, u32::MAX, 2.0 * 2_f64.ln()),
        ] {
            for angle in [0, 1, 0x2000_0000, 0x1fff_ffff, 0x4000_0000, 0xbfff_ffff, u32::MAX] {
                let found = squared(pair(high, low, angle));
                assert!((found / expected - 1.0).abs() < 1e-6, "{high:#x} {low:#x}: {found} {expected}");
            }
        }
    }

    #[test]
    fn the_angle_goes_once_around() {
        // One angle in the middle of each of 2^16 sectors.
        let mut seen = vec![0_u8; 1 << 16];
        for number in 0..1_u32 << 16 {
            let (y, x) = pair(12_345, 6, (number << 16) | 0x8000);
            let turn = f64::from(y).atan2(f64::from(x)) / std::f64::consts::TAU;
            seen[((turn + 1.0).fract() * 65_536.0) as usize] += 1;
        }
        assert!(seen.iter().all(|count| *count == 1));
    }
}
