//! Noise laws: how a training set becomes a member's noised training set, and what that proves.
//!
//! A law does two things and must do them consistently: it *draws* (which samples a member sees,
//! what is added to their features, what happens to their labels), and it states the *likelihood
//! ratio* between two training sets that differ by a [`Change`](crate::Change).
//! A new law is one file here and one arm of [`Law`].

mod cascade;
mod discrete;
mod gaussian;
mod label_noise;
mod likelihood;
mod norm_guess;
mod partition;
mod product;
mod sample_specific;
mod subsample;
mod uniform;
mod walk;
mod ways;

use serde::{Deserialize, Serialize};

pub use cascade::Cascade;
pub use discrete::Discrete;
pub use gaussian::Gaussian;
pub use label_noise::LabelNoise;
pub(crate) use likelihood::ManyPairs;
pub use likelihood::{Component, LikelihoodRatio};
pub(crate) use norm_guess::{NormGuide, RatioByNorm};
pub use partition::Partition;
pub use product::Product;
pub use sample_specific::{Guarantee, SampleSpecific, SigmaSearch};
pub use subsample::Subsample;
pub use uniform::Uniform;
pub use ways::BothWays;
pub(crate) use ways::ManyWays;

use crate::change::{Change, Edits, Threat};
use crate::error::{Error, Result};
use crate::interval::Interval;
use crate::quantity::{Quantity, Radius};
use crate::seed::Seed;

/// What a law has to know of the training set before it can be checked: sizes, never contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataFacts {
    /// Number of training samples; 0 where nobody told it, which only partitions do without.
    pub n_train: usize,
    /// Number of features of one sample (pixels times channels), where it is known.
    pub n_features: Option<usize>,
    /// Number of classes.
    pub n_classes: usize,
}

/// The one door between the received training set and a member.
///
/// Every method draws from streams addressed by (role, member, sample), so a member's noised set is
/// the same whenever, wherever and in whatever order it is regenerated.
///
/// Drawing has no defaults: a law that says how well its noise hides a change, and forgets to draw it, does not compile.
/// What a law leaves alone it says so. (What it forgets to say of its ratio only costs certificates.)
/// ```compile_fail,E0046
/// use certssb::{DataFacts, LikelihoodRatio, NoiseLaw};
/// struct Forgetful;
/// impl NoiseLaw for Forgetful {
///     fn feature_ratio(&self, hits: usize, norm: f64, _facts: &DataFacts) -> Option<LikelihoodRatio> {
///         Some(LikelihoodRatio::normal(hits as f64 * norm * norm))
///     }
///     fn covered(&self) -> String { "everything".into() }
///     fn describe(&self) -> String { "nothing".into() }
/// }
/// ```
/// With its draws it does:
/// ```
/// use certssb::{DataFacts, LikelihoodRatio, NoiseLaw, Seed};
/// struct Hidden;
/// impl NoiseLaw for Hidden {
///     fn subset(&self, _: Seed, _: u64, _: usize) -> Option<Vec<usize>> { None }
///     fn noise_features(&self, _: Seed, _: u64, _: usize, features: &mut [f32]) { features.fill(0.0) }
///     fn noise_label(&self, _: Seed, _: u64, _: usize, label: u32, _: usize) -> u32 { label }
///     fn noises_test_inputs(&self) -> bool { false }
///     fn noise_test_input(&self, _: Seed, _: u64, _: usize, _: &mut [f32]) {}
///     fn feature_ratio(&self, _: usize, _: f64, _: &DataFacts) -> Option<LikelihoodRatio> {
///         Some(LikelihoodRatio::identity()) // Nothing of the features is left to see.
///     }
///     fn covered(&self) -> String { "any change of features".into() }
///     fn describe(&self) -> String { "features removed".into() }
/// }
/// ```
pub trait NoiseLaw {
    /// Checks the law against the sizes of the data.
    ///
    /// # Errors
    /// [`ErrorKind::Parameter`](crate::ErrorKind::Parameter) when the law cannot be applied to such data.
    fn check(&self, _facts: &DataFacts) -> Result<()> {
        Ok(())
    }

    /// Whether members see sets of different sizes, some of which may be empty.
    fn sizes_vary(&self) -> bool {
        false
    }

    /// Whether [`NoiseLaw::check_features`] ever refuses anything.
    fn restricts_features(&self) -> bool {
        false
    }

    /// Checks one sample's features, training or test, against what the law can noise.
    ///
    /// # Errors
    /// [`ErrorKind::Parameter`](crate::ErrorKind::Parameter) naming the first value that does not fit.
    fn check_features(&self, _features: &[f32]) -> Result<()> {
        Ok(())
    }

    /// The training samples that `member` sees, ascending and distinct; `None` means all of them.
    fn subset(&self, seed: Seed, member: u64, n_train: usize) -> Option<Vec<usize>>;

    /// Adds the noise of (`member`, `sample`) to one sample's features, in place.
    fn noise_features(&self, seed: Seed, member: u64, sample: usize, features: &mut [f32]);

    /// The noised label of (`member`, `sample`).
    fn noise_label(&self, seed: Seed, member: u64, sample: usize, label: u32, n_classes: usize) -> u32;

    /// Whether [`NoiseLaw::noise_test_input`] does anything; if not, members share their test inputs.
    fn noises_test_inputs(&self) -> bool;

    /// Adds `member`'s noise to the test input numbered `sample`, in place; most laws leave it alone.
    fn noise_test_input(&self, seed: Seed, member: u64, sample: usize, features: &mut [f32]);

    /// L when `hits` of the samples a member sees have moved their features by an L2 norm of at most
    /// `norm` > 0 each; `None` if the law leaves features alone.
    fn feature_ratio(&self, _hits: usize, _norm: f64, _facts: &DataFacts) -> Option<LikelihoodRatio> {
        None
    }

    /// L when `hits` of the samples a member sees have changed labels; `None` if the law leaves labels alone.
    fn label_ratio(&self, _hits: usize, _facts: &DataFacts) -> Option<LikelihoodRatio> {
        None
    }

    /// The norm at which a change of one sample counts as 1, if the variances of L grow with (norm / unit)^2 and
    /// nothing else of L depends on the norm; `None` for any other law.
    fn norm_unit(&self) -> Option<f64> {
        None
    }

    /// The radius of a total L2 budget over the features of the whole training set, labels unchanged, rounded
    /// down; `None` for a law that has none.
    fn total_radius(&self, _interval: &Interval, _facts: &DataFacts) -> Option<f64> {
        None
    }

    /// The sample-specific part of the law, if it has one.
    fn sample_specific(&self) -> Option<&SampleSpecific> {
        None
    }

    /// Whether the law says anything of samples that only one of two training sets has: if members see some of the samples
    /// only, and nothing of how many there are.
    fn covers_edits(&self) -> bool {
        false
    }

    /// The changes that certificates of this law speak of, for guarantee sentences.
    fn covered(&self) -> String;

    /// The law in a few words, for guarantee sentences, such as "Gaussian noise of sigma 0.5".
    fn describe(&self) -> String;
}

/// Any law; this is what a record of a run stores and what a certificate reads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "law", rename_all = "snake_case")]
pub enum Law {
    /// Normal noise on the features.
    Gaussian(Gaussian),
    /// Uniform noise on the features.
    Uniform(Uniform),
    /// Discrete noise on categorical features.
    Discrete(Discrete),
    /// Random labels.
    LabelNoise(LabelNoise),
    /// Independent laws together.
    Product(Product),
    /// A random subset of the training set, then another law.
    Subsample(Subsample),
    /// Normal noise, then noise of each sample's own magnitude.
    SampleSpecific(SampleSpecific),
    /// Several laws, of which the first that is sure decides.
    Cascade(Cascade),
    /// No noise: learners that see the samples of their own buckets.
    Partition(Partition),
}

impl Law {
    fn inner(&self) -> &dyn NoiseLaw {
        match self {
            Law::Gaussian(law) => law,
            Law::Uniform(law) => law,
            Law::Discrete(law) => law,
            Law::LabelNoise(law) => law,
            Law::Product(law) => law,
            Law::Subsample(law) => law,
            Law::SampleSpecific(law) => law,
            Law::Cascade(law) => law,
            Law::Partition(law) => law,
        }
    }

    /// Whether certificates of this law are proofs against an attacker on the training set.
    pub fn sound(&self) -> bool {
        self.sample_specific().is_none_or(|law| law.guarantee() == Guarantee::Sound)
    }

    /// Whether certificates of this law measure how far features moved, by a norm or in entries. Those of the others count
    /// samples, or speak of labels alone, and a fixed map of the features changes nothing in them.
    ///
    /// # Example
    /// ```
    /// use certssb::{Gaussian, LabelNoise, Law, Subsample};
    /// let noise = Law::Gaussian(Gaussian::new(0.5)?);
    /// assert!(Law::Subsample(Subsample::new(Some(noise), 30)?).measures_features());
    /// assert!(!Law::Subsample(Subsample::new(None, 30)?).measures_features());
    /// assert!(!Law::LabelNoise(LabelNoise::new(0.1)?).measures_features());
    /// # Ok::<(), certssb::Error>(())
    /// ```
    pub fn measures_features(&self) -> bool {
        match self {
            Law::Gaussian(_) | Law::Uniform(_) | Law::Discrete(_) | Law::SampleSpecific(_) => true,
            Law::LabelNoise(_) | Law::Partition(_) => false,
            Law::Product(law) => law.parts().iter().any(Law::measures_features),
            Law::Subsample(law) => law.inner().is_some_and(Law::measures_features),
            Law::Cascade(law) => law.levels().iter().any(Law::measures_features),
        }
    }

    /// Whether this is a law that the constructors make; asked of laws that come from a file.
    ///
    /// # Errors
    /// What the constructors say.
    pub(crate) fn check_own(&self) -> Result<()> {
        let all = |laws: &[Law]| laws.iter().try_for_each(Law::check_own);
        let again = match self {
            // Scales are checked where they are read.
            Law::Gaussian(_) | Law::Uniform(_) => return Ok(()),
            Law::Discrete(law) => {
                Law::Discrete(Discrete::new(law.keep(), law.alphabet(), law.labels(), law.test_input())?)
            }
            Law::LabelNoise(law) => Law::LabelNoise(LabelNoise::new(law.q())?),
            Law::SampleSpecific(law) => {
                Law::SampleSpecific(SampleSpecific::new(law.base(), law.guarantee(), *law.search())?)
            }
            Law::Subsample(law) => {
                law.inner().map_or(Ok(()), Law::check_own)?;
                Law::Subsample(law.again()?)
            }
            Law::Cascade(law) => {
                all(law.levels())?;
                let thresholds = (0..law.levels().len()).filter_map(|level| law.threshold(level)).collect();
                Law::Cascade(Cascade::new(law.levels().to_vec(), Some(thresholds))?)
            }
            Law::Partition(law) => {
                let (spread, shifts) = (law.spread(), law.spread().shifts().to_vec());
                let overlap = spread.degree();
                Law::Partition(Partition::new(law.n_parts(), overlap, law.assign(), Some(shifts))?)
            }
            Law::Product(law) => {
                all(law.parts())?;
                let whole = law.parts().iter().cloned().map(Ok);
                let whole = whole.reduce(|all, next| Ok(Law::Product(Product::new(all?, next?)?)));
                whole.unwrap_or_else(|| Err(Error::parameter("&", "at least two laws", "none")))?
            }
        };
        if again == *self {
            return Ok(());
        }
        Err(Error::parameter("law", "a law as its constructor makes it", self.describe()))
    }

    /// Whether so few samples are drawn for `member` that none can be trained on them and the `trusted` ones beside them: fewer
    /// than `least`, of which there is at least one. Only where sizes vary; others are refused before training.
    #[cfg_attr(not(feature = "training"), allow(dead_code))]
    pub(crate) fn too_few(
        &self,
        seed: Seed,
        member: u64,
        n_train: usize,
        trusted: usize,
        least: usize,
    ) -> bool {
        let needed = least.max(1).saturating_sub(trusted);
        let few = |drawn: Vec<usize>| drawn.len() < needed;
        needed > 0 && self.sizes_vary() && self.subset(seed, member, n_train).is_some_and(few)
    }

    fn noises_labels(&self) -> bool {
        match self {
            Law::LabelNoise(_) => true,
            Law::Discrete(law) => law.labels(),
            _ => false,
        }
    }

    /// The likelihood ratio between the received training set and the worst one within a change in place, or within
    /// edits.
    ///
    /// The worst one changes exactly `n_poisoned` samples, each by the whole norm, and all their labels, and inserts and
    /// deletes as many as it may: every smaller change is a garbling of it, so it can only be harder to detect.
    ///
    /// # Errors
    /// [`ErrorKind::Parameter`](crate::ErrorKind::Parameter) when the change is out of range, or when the law
    /// says nothing about such changes.
    pub fn likelihood(&self, edits: impl Into<Edits>, facts: &DataFacts) -> Result<LikelihoodRatio> {
        let edits = edits.into();
        self.check_edits(&edits, facts)?;
        match self {
            Law::Subsample(law) => law.likelihood(&edits, facts),
            law => Ok(law.hit_ratio(edits.modified.n_poisoned, &edits.modified, facts)),
        }
    }

    /// What a threat does to probabilities, whichever of the two training sets was received ([`Threat::ways`]).
    ///
    /// # Errors
    /// [`ErrorKind::Parameter`](crate::ErrorKind::Parameter) when the threat is out of range, or when the law says nothing
    /// about such threats.
    ///
    /// # Example
    /// Adding is harder to withstand than removing, so that it decides, whichever of the two the attacker did.
    /// ```
    /// use certssb::{Change, Counted, DataFacts, Edits, Kind, Law, Subsample, Threat};
    /// let law = Law::Subsample(Subsample::poisson(None, 0.01)?);
    /// let facts = DataFacts { n_train: 1000, n_features: None, n_classes: 2 };
    /// let change = Change { n_poisoned: 40, trigger_norm: f64::INFINITY, labels: true };
    /// let removed = Edits { modified: Change { n_poisoned: 0, ..change }, inserted: 0, deleted: 40 };
    /// let deleted = Threat { change, kind: Kind::Deleted, counted: Counted::Edits };
    /// let alone = law.likelihood(removed, &facts)?.worst_upper(0.1);
    /// assert!(law.against(deleted, &facts)?.worst_upper(0.1) > alone);
    /// # Ok::<(), certssb::Error>(())
    /// ```
    pub fn against(&self, threat: impl Into<Threat>, facts: &DataFacts) -> Result<BothWays> {
        let ways = threat.into().ways(facts.n_train);
        let each = ways.into_iter().map(|edits| self.likelihood(edits, facts));
        Ok(BothWays::of(each.collect::<Result<_>>()?))
    }

    /// L for `flips` changed entries in total, for a law that counts entries.
    ///
    /// # Errors
    /// [`ErrorKind::Parameter`](crate::ErrorKind::Parameter) for any other law.
    pub fn flip_likelihood(&self, flips: usize, facts: &DataFacts) -> Result<LikelihoodRatio> {
        match self {
            Law::Discrete(law) => Ok(law.flip_ratio(flips, facts)),
            law => Err(Error::parameter("law", "Discrete, which counts changed entries", law.describe())),
        }
    }

    /// How many entries there are to change, for a law that counts them and where it is known.
    pub(crate) fn entries(&self, facts: &DataFacts) -> Option<usize> {
        match self {
            Law::Discrete(law) => law.entries(facts),
            _ => None,
        }
    }

    /// The variance that L gains with each flip, for a law that counts them; for guesses.
    pub(crate) fn flip_variance(&self, facts: &DataFacts) -> Option<f64> {
        match self {
            Law::Discrete(law) => Some(law.flip_variance(facts)),
            _ => None,
        }
    }

    /// L given that a member sees `hits` of the changed samples.
    fn hit_ratio(&self, hits: usize, change: &Change, facts: &DataFacts) -> LikelihoodRatio {
        if hits == 0 {
            return LikelihoodRatio::identity();
        }
        let features = if change.trigger_norm > 0.0 {
            self.feature_ratio(hits, change.trigger_norm, facts).unwrap_or_else(LikelihoodRatio::disjoint)
        } else {
            LikelihoodRatio::identity()
        };
        if change.labels {
            features.product(&self.label_ratio(hits, facts).unwrap_or_else(LikelihoodRatio::disjoint))
        } else {
            features
        }
    }

    /// Whether the law says anything of such threats.
    ///
    /// # Errors
    /// [`ErrorKind::Parameter`](crate::ErrorKind::Parameter) naming what is out of range, or what it says nothing about.
    pub(crate) fn check_threat(&self, threat: &Threat, facts: &DataFacts) -> Result<()> {
        threat.ways(facts.n_train).iter().try_for_each(|edits| self.check_edits(edits, facts))
    }

    fn check_edits(&self, edits: &Edits, facts: &DataFacts) -> Result<()> {
        let Edits { modified, inserted, deleted } = edits;
        if edits.in_place() {
            return self.check_change(modified, facts);
        }
        if !self.covers_edits() {
            let expected = format_args!(
                "'modified' for {}, under which every member sees as many samples as there are; Subsample(size=...), \
                 Subsample(rate=...), with or without noise inside, and Partition(...) cover insertions and deletions",
                self.describe()
            );
            let got = format_args!("{inserted} inserted and {deleted} deleted samples");
            return Err(Error::parameter("edits", expected, got));
        }
        self.check_change(modified, facts)?;
        if modified.n_poisoned.checked_add(*deleted).is_none_or(|gone| gone > facts.n_train) {
            let expected = format_args!(
                "with no more samples modified or deleted than there are training samples, {}",
                facts.n_train
            );
            return Err(Error::parameter("edits", expected, modified.n_poisoned.saturating_add(*deleted)));
        }
        if *inserted > crate::size::LARGEST {
            let expected = format_args!("with at most {} samples inserted or deleted", crate::size::LARGEST);
            return Err(Error::parameter("edits", expected, inserted));
        }
        Ok(())
    }

    /// Whether the law says anything of such changes in place.
    ///
    /// # Errors
    /// [`ErrorKind::Parameter`](crate::ErrorKind::Parameter) naming what is out of range, or what it says nothing about.
    fn check_change(&self, change: &Change, facts: &DataFacts) -> Result<()> {
        if change.n_poisoned > facts.n_train {
            return Err(Error::parameter(
                "n_poisoned",
                format_args!("an integer from 0 to the number of training samples, {}", facts.n_train),
                change.n_poisoned,
            ));
        }
        Radius::check("trigger_norm", change.trigger_norm)?;
        if let Law::Cascade(_) = self {
            let expected = "a law of its own; a cascade's budgets go through its levels";
            return Err(Error::parameter("law", expected, self.describe()));
        }
        if let Law::Partition(_) = self {
            let expected =
                "a noise law; what a partition certifies is counted from its learners' answers, not bounded";
            return Err(Error::parameter("law", expected, self.describe()));
        }
        if !self.sound() {
            let expected = "None: the published form states a radius only (guarantee=\"sound\" has budgets)";
            return Err(Error::parameter("n_poisoned", expected, change.n_poisoned));
        }
        if matches!(self, Law::Subsample(_)) || change.n_poisoned == 0 {
            return Ok(());
        }
        if change.labels && self.label_ratio(1, facts).is_none() {
            return Err(Error::parameter(
                "labels",
                format_args!(
                    "False for {}, which neither noises labels nor leaves samples out; compose it with \
                     LabelNoise or put it inside Subsample to cover changed labels",
                    self.describe()
                ),
                "True",
            ));
        }
        if change.trigger_norm > 0.0 && self.feature_ratio(1, change.trigger_norm, facts).is_none() {
            return Err(Error::parameter(
                "trigger_norm",
                format_args!("0 for {}, which leaves features alone", self.describe()),
                change.trigger_norm,
            ));
        }
        Ok(())
    }
}

impl NoiseLaw for Law {
    fn check(&self, facts: &DataFacts) -> Result<()> {
        self.inner().check(facts)
    }
    fn sizes_vary(&self) -> bool {
        self.inner().sizes_vary()
    }
    fn restricts_features(&self) -> bool {
        self.inner().restricts_features()
    }
    fn check_features(&self, features: &[f32]) -> Result<()> {
        self.inner().check_features(features)
    }
    fn subset(&self, seed: Seed, member: u64, n_train: usize) -> Option<Vec<usize>> {
        self.inner().subset(seed, member, n_train)
    }
    fn noise_features(&self, seed: Seed, member: u64, sample: usize, features: &mut [f32]) {
        self.inner().noise_features(seed, member, sample, features);
    }
    fn noise_label(&self, seed: Seed, member: u64, sample: usize, label: u32, n_classes: usize) -> u32 {
        self.inner().noise_label(seed, member, sample, label, n_classes)
    }
    fn noises_test_inputs(&self) -> bool {
        self.inner().noises_test_inputs()
    }
    fn noise_test_input(&self, seed: Seed, member: u64, sample: usize, features: &mut [f32]) {
        self.inner().noise_test_input(seed, member, sample, features);
    }
    fn feature_ratio(&self, hits: usize, norm: f64, facts: &DataFacts) -> Option<LikelihoodRatio> {
        self.inner().feature_ratio(hits, norm, facts)
    }
    fn label_ratio(&self, hits: usize, facts: &DataFacts) -> Option<LikelihoodRatio> {
        self.inner().label_ratio(hits, facts)
    }
    fn norm_unit(&self) -> Option<f64> {
        self.inner().norm_unit()
    }
    fn total_radius(&self, interval: &Interval, facts: &DataFacts) -> Option<f64> {
        self.inner().total_radius(interval, facts)
    }
    fn sample_specific(&self) -> Option<&SampleSpecific> {
        self.inner().sample_specific()
    }
    fn covers_edits(&self) -> bool {
        self.inner().covers_edits()
    }
    fn covered(&self) -> String {
        self.inner().covered()
    }
    fn describe(&self) -> String {
        self.inner().describe()
    }
}
