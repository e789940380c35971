//! Several ensembles, one after another: the first that is sure decides.
//!
//! Sample-specific noise with a proof: which noise level a test sample gets is chosen by the votes on it, and the
//! choice is inside the certificate (`certify/cascade.rs`). A cascade is a list of laws; members are
//! trained per level, every level from the same root seed.

use serde::{Deserialize, Serialize};

use super::{DataFacts, Law, NoiseLaw};
use crate::error::{Error, Result};
use crate::interval::Interval;
use crate::quantity::{NoiseScale, Quantity};
use crate::seed::Seed;

/// Laws in the order in which they are asked, and how sure each but the last must be to decide.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cascade {
    levels: Vec<Law>,
    thresholds: Vec<NoiseScale>,
}

impl Cascade {
    /// A cascade of `levels`; level g decides for a class whose margin is at least `thresholds[g]`, the last level
    /// decides by majority.
    ///
    /// The margin of class c is unit/2 (Phi^-1(g_c) - max over others of Phi^-1(g_c')), with the sigma of a
    /// level's Gaussian noise as its unit and 1 for laws without any. Thresholds that are not given are
    /// [`Cascade::RULE`] times the unit of their level; they never depend on votes.
    ///
    /// # Errors
    /// [`ErrorKind::Parameter`](crate::ErrorKind::Parameter) unless there are two levels or more, each a law of
    /// one level with a proof, and one threshold, finite and greater than 0, for each level but the last.
    ///
    /// # Example
    /// ```
    /// use certssb::{Cascade, Gaussian, Law};
    /// let gaussian = |sigma| Gaussian::new(sigma).map(Law::Gaussian);
    /// let levels = vec![gaussian(1.0)?, gaussian(0.5)?, gaussian(0.25)?];
    /// let cascade = Cascade::new(levels, Some(vec![0.3, 0.15]))?;
    /// assert_eq!(cascade.threshold(1), Some(0.15));
    /// # Ok::<(), certssb::Error>(())
    /// ```
    pub fn new(levels: Vec<Law>, thresholds: Option<Vec<f64>>) -> Result<Self> {
        if levels.len() < 2 {
            return Err(Error::parameter("levels", "at least two laws", levels.len()));
        }
        levels.iter().try_for_each(check_level)?;
        let thresholds = match thresholds {
            Some(given) => given,
            None => levels.iter().rev().skip(1).rev().map(|law| Self::RULE * unit(law)).collect(),
        };
        if thresholds.len() + 1 != levels.len() {
            let expected = format_args!("one for each level but the last: {}", levels.len() - 1);
            return Err(Error::parameter("thresholds", expected, thresholds.len()));
        }
        let checked: Result<_> = thresholds.iter().map(|t| NoiseScale::check("thresholds", *t)).collect();
        Ok(Self { levels, thresholds: checked? })
    }

    /// Thresholds that are not given are this many times the unit of their level.
    pub const RULE: f64 = 0.2;

    /// The laws, in the order in which they are asked.
    pub fn levels(&self) -> &[Law] {
        &self.levels
    }

    /// How sure level `level` must be; `None` for the last.
    pub fn threshold(&self, level: usize) -> Option<f64> {
        self.thresholds.get(level).map(|threshold| threshold.get())
    }

    /// The unit of each level's margins.
    pub(crate) fn units(&self) -> Vec<f64> {
        self.levels.iter().map(unit).collect()
    }

    /// Whether every level's margins are 1-Lipschitz in the total L2 distance of the training sets.
    pub(crate) fn has_radius(&self, facts: &DataFacts) -> bool {
        let even = Interval::new(0, 0.75, 0.25);
        self.levels.iter().all(|law| law.norm_unit().is_some() && law.total_radius(&even, facts).is_some())
    }
}

fn unit(law: &Law) -> f64 {
    law.norm_unit().unwrap_or(1.0)
}

fn check_level(law: &Law) -> Result<()> {
    match law {
        Law::Cascade(_) => {
            Err(Error::parameter("levels", "laws that are not cascades themselves", "a Cascade"))
        }
        Law::Partition(_) => Err(Error::parameter("levels", "noise laws", "a Partition")),
        law if !law.sound() => Err(Error::parameter("levels", "laws with a proof", law.describe())),
        _ => Ok(()),
    }
}

impl NoiseLaw for Cascade {
    fn check(&self, facts: &DataFacts) -> Result<()> {
        // A cascade may have come from a file.
        let same = Self::new(self.levels.clone(), Some(self.thresholds.iter().map(|t| t.get()).collect()))?;
        same.levels.iter().try_for_each(|law| law.check(facts))
    }

    fn restricts_features(&self) -> bool {
        self.levels.iter().any(NoiseLaw::restricts_features)
    }

    fn check_features(&self, features: &[f32]) -> Result<()> {
        self.levels.iter().try_for_each(|law| law.check_features(features))
    }

    // Nothing is drawn from a cascade: members are drawn from its levels, and an ensemble refuses it as its law.

    fn subset(&self, _seed: Seed, _member: u64, _n_train: usize) -> Option<Vec<usize>> {
        None
    }

    fn noise_features(&self, _seed: Seed, _member: u64, _sample: usize, _features: &mut [f32]) {}

    fn noise_label(&self, _seed: Seed, _member: u64, _sample: usize, label: u32, _n_classes: usize) -> u32 {
        label
    }

    fn noises_test_inputs(&self) -> bool {
        false
    }

    fn noise_test_input(&self, _seed: Seed, _member: u64, _sample: usize, _features: &mut [f32]) {}

    fn covers_edits(&self) -> bool {
        self.levels.iter().all(NoiseLaw::covers_edits)
    }

    fn covered(&self) -> String {
        self.levels.last().map_or_else(String::new, NoiseLaw::covered)
    }

    fn describe(&self) -> String {
        let level = |(g, law): (usize, &Law)| match self.threshold(g) {
            Some(threshold) => format!("{} (which decides from a margin of {threshold} on)", law.describe()),
            None => law.describe(),
        };
        let levels: Vec<String> = self.levels.iter().enumerate().map(level).collect();
        format!("a cascade of {}", levels.join(", then "))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::law::{Gaussian, Guarantee, SampleSpecific, SigmaSearch, Subsample};

    fn gaussian(sigma: f64) -> Law {
        Law::Gaussian(Gaussian::new(sigma).unwrap())
    }

    fn message(levels: Vec<Law>, thresholds: Option<Vec<f64>>) -> String {
        Cascade::new(levels, thresholds).err().map(|e| e.to_string()).unwrap_or_default()
    }

    #[test]
    fn every_bad_cascade_is_named() {
        let pair = || vec![gaussian(1.0), gaussian(0.5)];
        assert_eq!(message(pair(), None), "");
        assert_eq!(message(pair(), Some(vec![0.1])), "");
        let nested = Law::Cascade(Cascade::new(pair(), None).unwrap());
        let search = SigmaSearch::around(NoiseScale::wrap(0.5), Guarantee::Published);
        let base = Gaussian::new(0.5).unwrap();
        let published = Law::SampleSpecific(SampleSpecific::new(base, Guarantee::Published, search).unwrap());
        for (levels, thresholds, name) in [
            (vec![gaussian(1.0)], None, "'levels'"),
            (vec![gaussian(1.0), nested], None, "'levels'"),
            (vec![gaussian(1.0), published], None, "'levels'"),
            (pair(), Some(vec![]), "'thresholds'"),
            (pair(), Some(vec![0.1, 0.1]), "'thresholds'"),
            (pair(), Some(vec![0.0]), "'thresholds'"),
            (pair(), Some(vec![f64::NAN]), "'thresholds'"),
        ] {
            assert!(message(levels, thresholds).contains(name), "{name}");
        }
    }

    #[test]
    fn the_rule_reads_units_and_nothing_else() {
        let bag = |inner| Law::Subsample(Subsample::new(inner, 10).unwrap());
        let cascade =
            Cascade::new(vec![gaussian(2.0), bag(Some(gaussian(0.5))), bag(None), gaussian(0.1)], None)
                .unwrap();
        let thresholds: Vec<f64> = (0..3).map(|g| cascade.threshold(g).unwrap()).collect();
        assert_eq!(thresholds, [2.0 * Cascade::RULE, 0.5 * Cascade::RULE, Cascade::RULE]);
        assert_eq!(cascade.threshold(3), None);
        let facts = DataFacts { n_train: 100, n_features: Some(4), n_classes: 2 };
        assert!(!cascade.has_radius(&facts));
        assert!(Cascade::new(vec![gaussian(2.0), gaussian(0.1)], None).unwrap().has_radius(&facts));
    }
}
