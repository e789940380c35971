//! Squared Euclidean distances in double precision, with a bound on their rounding error.

/// Unit roundoff of double precision.
pub(crate) const ROUNDOFF: f64 = f64::EPSILON / 2.0;

const LANES: usize = 8;
const RUN: usize = 128;

/// `||a - b||^2`, summed in 8 lanes over runs of 128 coordinates.
///
/// Always the difference first: `||a||^2 + ||b||^2 - 2 a.b` would lose the digits of near points.
pub(crate) fn squared_distance(a: &[f64], b: &[f64]) -> f64 {
    a.chunks(RUN).zip(b.chunks(RUN)).map(|(a, b)| squared_distance_of_run(a, b)).sum()
}

fn squared_distance_of_run(a: &[f64], b: &[f64]) -> f64 {
    let mut lanes = [0.0; LANES];
    let (a, b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest = a.remainder().iter().zip(b.remainder()).map(|(x, y)| (x - y) * (x - y)).sum::<f64>();
    for (a, b) in a.zip(b) {
        for (lane, (x, y)) in lanes.iter_mut().zip(a.iter().zip(b)) {
            let difference = x - y;
            *lane += difference * difference;
        }
    }
    let [a, b, c, d, e, f, g, h] = lanes;
    ((a + e) + (b + f)) + ((c + g) + (d + h)) + rest
}

/// Bound on the relative rounding error of [`squared_distance`] divided by `sigma^2`, in `d` coordinates.
///
/// 3 roundings for a squared difference, 16 additions in a lane, 3 between lanes, 7 for the remainder, one for each
/// run, 3 for the division by `sigma^2`; all terms are positive, so relative errors add up at most.
pub(crate) fn relative_error(dimension: usize) -> f64 {
    (34.0 + dimension as f64 / RUN as f64) * ROUNDOFF
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_gives_the_sum_of_squares() {
        for d in [1, 7, 8, 9, 127, 128, 129, 300] {
            let a: Vec<f64> = (0..d).map(|i| i as f64).collect();
            let b: Vec<f64> = (0..d).map(|i| -2.0 * i as f64).collect();
            let exact: u64 = (0..d as u64).map(|i| 9 * i * i).sum();
            assert_eq!(squared_distance(&a, &b), exact as f64, "{d}");
        }
    }

    #[test]
    fn near_points_far_from_the_origin_keep_their_digits() {
        let a = vec![15_841.0; 57];
        let b: Vec<f64> = a.iter().map(|x| x + 1.0 / 1024.0).collect();
        assert_eq!(squared_distance(&a, &b), 57.0 / 1024.0 / 1024.0);
    }
}
