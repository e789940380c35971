//! Vectors at one byte a coordinate, with a bound of what that loses: distances known to within a few hundredths.
//!
//! A code stands for the vector of coordinates offset + step * byte. Between two codes the distance follows from one
//! product of integers; the true distance differs from it by at most the two vectors' distances from their codes.

/// Bytes of codes that lie together in memory.
const TOGETHER: usize = 1 << 20;
/// Products of two bytes that certainly fit when added in an `i32`.
const EXACT: usize = 1 << 14;

/// One vector's code.
#[derive(Clone, Debug)]
pub(crate) struct Code {
    bytes: Box<[u8]>,
    scale: Scale,
}

/// What besides its bytes belongs to a code.
#[derive(Clone, Copy, Debug)]
struct Scale {
    offset: f32,
    step: f32,
    /// Bound of the vector's distance from its code.
    error: f32,
    /// Sum of the bytes, and of their squares.
    sum: f64,
    square: f64,
}

impl Code {
    /// The code of a finite vector.
    pub(crate) fn of(x: &[f32]) -> Self {
        let least = x.iter().copied().fold(f32::INFINITY, f32::min);
        let most = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let range = f64::from(most) - f64::from(least);
        let (offset, mut step) = (least, (range / 255.0) as f32);
        if 255.0 * f64::from(step) < range {
            step = step.next_up();
        }
        // Rounded carelessly: what that loses is measured. In `f64`: the difference of two floats may be none, nor 1 / step.
        let per_step = if step > 0.0 { 1.0 / f64::from(step) } else { 0.0 };
        let byte = |v: &f32| ((f64::from(*v) - f64::from(offset)) * per_step + 0.5) as u8;
        let bytes: Box<[u8]> = x.iter().map(byte).collect();
        let scale = Scale {
            offset,
            step,
            error: loss(x, &bytes, f64::from(offset), f64::from(step)),
            sum: bytes.iter().map(|&b| f64::from(b)).sum(),
            square: product(&bytes, &bytes),
        };
        Self { bytes, scale }
    }
}

/// Bound of the distance between a vector and its code.
///
/// step * byte is exact in `f64`; adding the offset and subtracting from the coordinate round twice.
fn loss(x: &[f32], bytes: &[u8], offset: f64, step: f64) -> f32 {
    let off = |(v, b): (&f32, &u8)| (f64::from(*v) - (offset + step * f64::from(*b))).powi(2);
    let measured = x.iter().zip(bytes).map(off).sum::<f64>().sqrt();
    let rounding = (x.len() as f64).sqrt() * 4.0 * f64::EPSILON * (offset.abs() + 256.0 * step);
    ((measured * (1.0 + 1e-6) + rounding) as f32).next_up()
}

/// Sum of products, exact for up to 2^37 bytes.
fn product(a: &[u8], b: &[u8]) -> f64 {
    let part = |(a, b): (&[u8], &[u8])| {
        let sum: i32 = a.iter().zip(b).map(|(&x, &y)| i32::from(x) * i32::from(y)).sum();
        f64::from(sum)
    };
    a.chunks(EXACT).zip(b.chunks(EXACT)).map(part).sum()
}

/// The codes of the first regions, as many as fit into a number of bytes.
#[derive(Clone, Debug)]
pub(crate) struct Codes {
    dimension: usize,
    most: usize,
    pages: Vec<Vec<u8>>,
    scales: Vec<Scale>,
}

impl Codes {
    /// Room for codes in at most `bytes` bytes.
    pub(crate) fn new(dimension: usize, bytes: usize) -> Self {
        let most = bytes / (dimension + size_of::<Scale>());
        Self { dimension, most, pages: Vec::new(), scales: Vec::new() }
    }

    fn on_a_page(&self) -> usize {
        (TOGETHER / self.dimension.max(1)).max(1)
    }

    /// Adds a region's code, if there is room.
    pub(crate) fn push(&mut self, code: &Code) {
        if self.scales.len() >= self.most {
            return;
        }
        let on_a_page = self.on_a_page();
        if self.scales.len().is_multiple_of(on_a_page) {
            self.pages.push(Vec::with_capacity(on_a_page * self.dimension));
        }
        if let Some(page) = self.pages.last_mut() {
            page.extend_from_slice(&code.bytes);
            self.scales.push(code.scale);
        }
    }

    /// Bounds of the distance between a region's centre and the vector of `code`; `None` without the region's code.
    ///
    /// ```text
    /// |c - d|^2 = n o^2 + s^2 P + t^2 Q + 2 o (s p - t q) - 2 s t <b, e>,   o the difference of the offsets,
    /// ```
    /// s, t the steps, p, q the sums, P, Q the squares of the bytes. All sums of bytes are exact, so the error is a few
    /// units in the last place of the sum of the terms' sizes.
    pub(crate) fn distance(&self, region: usize, code: &Code) -> Option<(f64, f64)> {
        let there = self.scales.get(region)?;
        let (page, row) = (region / self.on_a_page(), region % self.on_a_page());
        let bytes = &self.pages[page][row * self.dimension..(row + 1) * self.dimension];
        let here = &code.scale;
        let (s, t) = (f64::from(here.step), f64::from(there.step));
        let o = f64::from(here.offset) - f64::from(there.offset);
        let ends = [self.dimension as f64 * o * o, s * s * here.square, t * t * there.square];
        let (rise, fall) = (2.0 * o * s * here.sum, 2.0 * o * t * there.sum);
        let common = 2.0 * s * t * product(bytes, &code.bytes);
        let square = ends.iter().sum::<f64>() + (rise - fall) - common;
        let size = ends.iter().sum::<f64>() + rise.abs() + fall.abs() + common;
        let doubt = 16.0 * f64::EPSILON * size;
        let loss = (f64::from(here.error) + f64::from(there.error)) * (1.0 + 1e-12);
        let low = (square - doubt).max(0.0).sqrt() * (1.0 - 1e-12) - loss;
        let high = (square + doubt).max(0.0).sqrt() * (1.0 + 1e-12) + loss;
        Some((low, high))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::distance::Distance;
    use proptest::prelude::*;

    fn bounds(a: &[f32], b: &[f32]) -> (f64, f64) {
        let mut codes = Codes::new(a.len(), 1 << 20);
        codes.push(&Code::of(b));
        codes.distance(0, &Code::of(a)).unwrap_or_default()
    }

    fn vectors() -> impl Strategy<Value = Vec<(f32, f32)>> {
        let number = prop_oneof![
            -1.0_f32..1.0,
            (0_u8..=255).prop_map(|v| f32::from(v) / 255.0),
            any::<u32>().prop_map(f32::from_bits).prop_filter("finite", |v| v.is_finite()),
        ];
        prop_oneof![
            prop::collection::vec((-1.0_f32..1.0, -1.0_f32..1.0), 1..200),
            prop::collection::vec((number.clone(), number), 1..50),
        ]
    }

    /// The bounds hold, and are no further apart than half a step of each coordinate on either side makes them.
    fn check(pairs: &[(f32, f32)]) -> std::result::Result<(), TestCaseError> {
        let (a, b): (Vec<f32>, Vec<f32>) = pairs.iter().copied().unzip();
        let (exact, (low, high)) = (Distance::between(&a, &b), bounds(&a, &b));
        prop_assert!(low <= exact.above && exact.below <= high, "{low} {exact:?} {high}");
        let range = |v: &[f32]| {
            let ends = v.iter().fold((f64::MAX, f64::MIN), |e, &v| (e.0.min(v.into()), e.1.max(v.into())));
            ends.1 - ends.0
        };
        let widest = (a.len() as f64).sqrt() * (range(&a) + range(&b)) / 255.0;
        let far = exact.above + f64::from(a[0].abs()) + f64::from(b[0].abs());
        // Errors are kept as floats and rounded up, by 1.5 of the smallest for each of two codes, below and above.
        let kept = 6.0 * f64::from(f32::from_bits(1));
        prop_assert!(high - low <= 1.01 * widest + 1e-6 * far + kept, "{low} {exact:?} {high} {widest}");
        Ok(())
    }

    proptest! {
        #[test]
        fn the_distance_lies_between_its_bounds(pairs in vectors()) {
            check(&pairs)?;
        }
    }

    #[test]
    fn the_largest_and_smallest_floats_lose_no_more_than_others() {
        let least = f32::from_bits(1);
        for some in [
            vec![(0.0, 0.0)],
            vec![(1e-39, 0.0)],
            vec![(f32::MAX, 0.0), (0.4 * f32::MAX, 0.0), (-f32::MAX, 0.0)],
            vec![(8.495_419e36, 0.0), (9.66681e36, 0.0), (-3.317_869_4e38, 0.0)],
            vec![(0.0, 0.0), (1000.0 * least, 0.0), (300.0 * least, 0.0), (500.0 * least, 255.0 * least)],
            vec![(-f32::MIN_POSITIVE, 0.0), (f32::MIN_POSITIVE, 0.0), (0.0, 0.0)],
        ] {
            assert!(check(&some).is_ok(), "{some:?}");
        }
    }

    #[test]
    fn pixels_lose_next_to_nothing() {
        let image = |k: u32| (0..784_u32).map(|i| ((i * k) % 256) as f32 / 255.0).collect::<Vec<_>>();
        let (low, high) = bounds(&image(7), &image(11));
        assert!(high - low < 1e-4, "{low} {high}");
    }

    #[test]
    fn vectors_without_variation_are_their_own_codes() {
        let (low, high) = bounds(&[3.0; 100], &[1.0; 100]);
        assert!((low - 20.0).abs() < 1e-5 && (high - 20.0).abs() < 1e-5);
    }

    #[test]
    fn codes_beyond_the_room_are_left_out() {
        let mut codes = Codes::new(100, 1000);
        (0..50).for_each(|i| codes.push(&Code::of(&[i as f32; 100])));
        let known =
            (0..50).filter(|&region| codes.distance(region, &Code::of(&[0.0; 100])).is_some()).count();
        assert_eq!(known, 1000 / (100 + size_of::<Scale>()));
    }

    #[test]
    fn long_products_do_not_overflow() {
        let long = vec![255; 100_000];
        assert_eq!(product(&long, &long), 255.0 * 255.0 * 100_000.0);
    }
}
