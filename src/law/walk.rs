//! A walk of many independent steps, up, down or none: where it ends, and with which probability.

use crate::binomial::binomial_pmf;

/// The probabilities of the places from `first` on. Ends too light to matter are left out.
#[derive(Clone, Debug)]
pub(super) struct Walk {
    pub(super) first: i64,
    pub(super) weights: Vec<f64>,
    /// Bound on the relative error of each weight, in units of the machine epsilon.
    pub(super) operations: f64,
}

/// Weights below this are left out.
const LIGHT: f64 = 1e-22;

/// Up to so many steps are walked one by one.
const FEW: usize = 256;

impl Walk {
    /// `steps` steps, each +1 with probability `up` = (1 - down)/(alphabet - 1), -1 with probability `down`, and 0 with
    /// probability (alphabet - 2) `up`.
    pub(super) fn of(steps: usize, up: f64, down: f64, alphabet: usize) -> Self {
        let stay = (alphabet as f64 - 2.0) * up;
        if steps <= FEW {
            one_by_one(steps, up, stay, down)
        } else {
            Many { n: steps as i64, up, stay, down }.walk()
        }
    }
}

fn one_by_one(steps: usize, up: f64, stay: f64, down: f64) -> Walk {
    let mut first = 0;
    let mut walk = vec![1.0];
    for _ in 0..steps {
        let mut next = vec![0.0; walk.len() + 2];
        for (j, w) in walk.iter().enumerate() {
            next[j] += w * down;
            next[j + 1] += w * stay;
            next[j + 2] += w * up;
        }
        let cut = next.iter().take_while(|w| **w < LIGHT).count();
        let end = next.iter().rposition(|w| *w >= LIGHT).map_or(cut, |last| last + 1);
        first += cut as i64 - 1;
        walk = next[cut..end.max(cut)].to_vec();
    }
    Walk { first, weights: walk, operations: 4.0 * steps as f64 }
}

/// A walk too long to be walked: the probabilities a_j of the places j - n, j = 0..2n, are the coefficients of (down +
/// stay z + up z^2)^n, so that
///
/// ```text
/// (j + 1) down a_{j+1} = (n - j) stay a_j + (2n - j + 1) up a_{j-1}.
/// ```
///
/// Up to j = n nothing is subtracted, so that relative errors add up and do not grow; beyond, the mirrored walk is taken
/// from the other end. Each side begins with two places whose probabilities are summed up directly.
#[derive(Clone, Copy, Debug)]
struct Many {
    n: i64,
    up: f64,
    stay: f64,
    down: f64,
}

impl Many {
    fn walk(self) -> Walk {
        let n = self.n as f64;
        let (mean, variance) =
            (n * (self.up - self.down), n * (self.up + self.down - (self.up - self.down).powi(2)));
        // Bernstein's inequality for steps of at most 2 from their mean.
        let (log, step) = (-LIGHT.ln(), 2.0 / 3.0);
        let reach = log * step + ((log * step).powi(2) + 2.0 * log * variance).sqrt();
        let first = ((mean - reach).floor() as i64).max(-self.n);
        let last = ((mean + reach).ceil() as i64).min(self.n);
        let mut weights = if first <= 0 { self.rising(first, last.min(0)) } else { Vec::new() };
        if last > 0 {
            let mirrored = Self { up: self.down, down: self.up, ..self };
            let right = mirrored.rising(-last, -first.max(1));
            weights.extend(right.into_iter().rev());
        }
        // Of each step of the recurrence, and of the starting values, whose logarithms are off by the distance from
        // the mean in units of the last place.
        let operations = 8.0 * (last - first) as f64 + 64.0 * reach + 1e4;
        Walk { first, weights, operations }
    }

    /// Places `from`..=`to`, none above 0.
    fn rising(self, from: i64, to: i64) -> Vec<f64> {
        let Self { n, up, stay, down } = self;
        let mut weights = Vec::with_capacity((to - from + 1).max(0) as usize);
        for place in from..=to {
            let j = place + n - 1;
            let weight = match weights[..] {
                [.., before, last] => {
                    let pushed = (n - j) as f64 * stay * last + (2 * n - j + 1) as f64 * up * before;
                    pushed / ((j + 1) as f64 * down)
                }
                _ => self.place(-place),
            };
            weights.push(weight);
        }
        weights
    }

    /// The probability of the place -k, k >= 0: the sum over i steps up and i + k down.
    fn place(self, k: i64) -> f64 {
        let Self { n, up, stay, down } = self;
        let most = (n - k) / 2;
        let moving = up + down;
        let term = |i: i64| {
            let moves = 2 * i + k;
            // Without steps of 0 all n move.
            let moved = if stay > 0.0 {
                binomial_pmf(moves as u64, n as u64, moving)
            } else {
                f64::from(u8::from(moves == n))
            };
            moved * binomial_pmf(i as u64, moves as u64, up / moving)
        };
        if stay == 0.0 {
            return if (n - k) % 2 == 0 { term(most) } else { 0.0 };
        }
        let ratio = |i: i64| {
            let left = (n - 2 * i - k) as f64;
            left * (left - 1.0) * (up / stay) * (down / stay) / ((i + 1) as f64 * (i + k + 1) as f64)
        };
        // The largest term: ratios fall.
        let (mut low, mut high) = (0, most);
        while low < high {
            let middle = low + (high - low) / 2;
            if ratio(middle) > 1.0 {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let largest = term(low);
        let (mut sum, mut right, mut left) = (largest, largest, largest);
        for i in low..most {
            right *= ratio(i);
            sum += right;
            if right < 1e-18 * sum {
                break;
            }
        }
        for i in (0..low).rev() {
            left /= ratio(i);
            sum += left;
            if left < 1e-18 * sum {
                break;
            }
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_steps_are_walked_as_one_by_one() {
        for alphabet in [2_usize, 3, 10, 1000] {
            for keep in [1.0 / alphabet as f64 + 1e-9, 0.6, 0.9, 0.999] {
                for steps in [257, 900] {
                    let up = (1.0 - keep) / (alphabet as f64 - 1.0);
                    let stay = (alphabet as f64 - 2.0) * up;
                    let fast = Walk::of(steps, up, keep, alphabet);
                    let slow = one_by_one(steps, up, stay, keep);
                    let weight = |walk: &Walk, place: i64| {
                        let at = usize::try_from(place - walk.first).ok();
                        at.and_then(|at| walk.weights.get(at)).copied().unwrap_or(0.0)
                    };
                    for place in -(steps as i64)..=steps as i64 {
                        let (a, b) = (weight(&fast, place), weight(&slow, place));
                        assert!(
                            (a - b).abs() <= 1e-10 * b + 1e-20,
                            "{alphabet} {keep} {steps} {place}: {a} {b}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn a_million_steps_have_all_their_mass_and_their_mean() {
        for (alphabet, keep) in
            [(2_usize, 0.5 + 1e-9), (2, 0.7), (3, 0.34), (10, 0.11), (10, 0.999_999), (256, 0.5)]
        {
            let up = (1.0 - keep) / (alphabet as f64 - 1.0);
            let walk = Walk::of(1_000_000, up, keep, alphabet);
            let mass: f64 = walk.weights.iter().sum();
            let places = (walk.first..).map(|place| place as f64);
            let mean: f64 = walk.weights.iter().zip(places).map(|(w, place)| w * place).sum();
            let expected = 1e6 * (up - keep);
            assert!((mass - 1.0).abs() < 1e-9, "{alphabet} {keep}: {mass}");
            assert!((mean - expected).abs() < 1e-3, "{alphabet} {keep}: {mean} {expected}");
            assert!(walk.weights.len() < 30_000);
        }
    }
}
