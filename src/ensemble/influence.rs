//! Whose presence moves votes: the members that drew a training sample, compared with those that did not.

use ndarray::{Array2, ArrayView2};

use super::{Control, Ensemble};
use crate::error::{Error, Result};
use crate::law::{Law, NoiseLaw};

/// Members between two looks whether to stop.
const LOOK: usize = 64;

/// What the members that drew a sample say, beside what the others say.
#[derive(Clone, Debug, PartialEq)]
pub struct Influence {
    /// Members that drew each training sample.
    pub n_drew: Vec<u32>,
    /// (columns, n_train): the mean of a column's values over the members that drew the sample, less that over the others;
    /// NaN where one of the two has no member.
    pub difference: Array2<f64>,
    /// (columns, n_train): the standard deviation of that difference over all ways to choose as many members at random,
    /// sqrt(s^2 (1/n + 1/(N - n))) with the variance s^2 of the values over all N members: what it would be if the sample
    /// changed nothing. (The variance of a difference of means in a completely randomised experiment under Fisher's null.)
    pub error: Array2<f64>,
}

impl Ensemble {
    /// The influence of every training sample on each column of `values`, of which there is one row per member, in the order of
    /// their numbers.
    ///
    /// # Errors
    /// A parameter error for a law under which members do not differ in which samples they see, or for which that was no draw;
    /// a shape error for another number of rows; cancellation.
    pub fn influence(&self, values: ArrayView2<'_, f32>, control: &Control<'_>) -> Result<Influence> {
        let record = self.record();
        if !matches!(record.law, Law::Subsample(_)) {
            let expected = "a Subsample: only there is it drawn which members see a sample";
            return Err(Error::parameter("law", expected, record.law.describe()));
        }
        let (n_members, columns) = values.dim();
        if n_members != self.n_members() {
            let expected = format_args!("one row for each of {} members", self.n_members());
            return Err(Error::shape("values", expected, format_args!("{n_members}")));
        }
        let n_train = record.n_train;
        let mut n_drew = vec![0_u32; n_train];
        let mut sums = vec![0.0_f64; n_train * columns];
        let (mut totals, mut squares) = (vec![0.0_f64; columns], vec![0.0_f64; columns]);
        for (place, (member, row)) in self.members().zip(values.outer_iter()).enumerate() {
            if place % LOOK == 0 && control.stops() {
                return Err(Error::cancelled("Comparing members was cancelled."));
            }
            let row: Vec<f64> = row.iter().map(|value| f64::from(*value)).collect();
            for ((total, square), value) in totals.iter_mut().zip(&mut squares).zip(&row) {
                *total += value;
                *square += value * value;
            }
            for index in record.law.subset(record.seed, member.number, n_train).unwrap_or_default() {
                n_drew[index] += 1;
                let own = &mut sums[index * columns..(index + 1) * columns];
                own.iter_mut().zip(&row).for_each(|(sum, value)| *sum += value);
            }
        }
        let all = n_members as f64;
        let variance = |c: usize| ((squares[c] - totals[c] * totals[c] / all) / (all - 1.0)).max(0.0);
        let variances: Vec<f64> = (0..columns).map(variance).collect();
        let of = |c: usize, i: usize, what: &dyn Fn(f64, f64, f64) -> f64| {
            let with = f64::from(n_drew[i]);
            let without = all - with;
            if with == 0.0 || without == 0.0 {
                return f64::NAN;
            }
            what(with, without, sums[i * columns + c])
        };
        let difference = Array2::from_shape_fn((columns, n_train), |(c, i)| {
            of(c, i, &|with, without, sum| sum / with - (totals[c] - sum) / without)
        });
        let error = Array2::from_shape_fn((columns, n_train), |(c, i)| {
            of(c, i, &|with, without, _| (variances[c] * (1.0 / with + 1.0 / without)).sqrt())
        });
        Ok(Influence { n_drew, difference, error })
    }
}
