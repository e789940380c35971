//! What every kind of proof answers, and which kind a table of certificates rests on.
//!
//! | kind | file | what it knows of a sample |
//! |---|---|---|
//! | one law's ensemble, and exact probabilities | `one_law.rs` | an interval |
//! | a cascade | `levels.rs` | bounds of every class at every level |
//! | a partition's election | `election.rs` | a class, and how many buckets may change |
//! | the published form of sample-specific noise | `published.rs` | an interval, a noise magnitude, a ledger's region |
//!
//! A new kind is one file here, one arm of [`of`] and, if it knows anything of a sample beyond its interval, one variant
//! of [`Detail`].

use super::detail::Detail;
use super::election::Elected;
use super::levels::Levels;
use super::one_law::OneLaw;
use super::published::Published;
use super::record::Record;
use crate::change::Threat;
use crate::error::{Error, Result};
use crate::interval::Interval;
use crate::law::{Law, NoiseLaw};

/// The ways to say how much an attacker may have changed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Budget {
    /// A total L2 norm over the features of the whole training set.
    Total,
    /// A number of samples, which edits of them, a norm for each, with or without labels.
    Samples(Threat),
    /// A number of entries.
    Entries,
}

/// The statements of one kind about every sample of a table.
///
/// Whoever asks [`holds`](Self::holds) and its like has asked [`covers`](Self::covers) before: what a kind says nothing about
/// is refused in that one place, and the searches may rely on it.
pub(super) trait Proof {
    /// Whether this kind says anything of such budgets.
    ///
    /// # Errors
    /// `Parameter` naming the parameter that is out of range, or that this kind says nothing about.
    fn covers(&self, budget: &Budget) -> Result<()>;

    /// Checks what a table of this kind consists of, for a table that comes from a file.
    ///
    /// # Errors
    /// `Parameter` or `Shape` naming what does not fit.
    fn check(&self) -> Result<()>;

    /// What is known of the probabilities behind each sample.
    fn intervals(&self) -> &[Interval];

    /// The class of every sample.
    fn predictions(&self) -> Vec<usize> {
        self.intervals().iter().map(|interval| interval.prediction).collect()
    }

    /// Whether nothing could be certified for a sample, not even against no change at all.
    fn abstained(&self) -> Vec<bool> {
        self.intervals().iter().map(Interval::abstained).collect()
    }

    /// Total L2 radii over the whole training set, 0 where abstained; `None` where [`Budget::Total`] is not covered.
    fn radius(&self) -> Option<Vec<f64>>;

    /// Whether each prediction survives `threat`.
    fn holds(&self, _threat: &Threat) -> Result<Vec<bool>> {
        Err(uncovered("n_poisoned"))
    }

    /// The largest trigger norm each prediction survives, whatever else `threat` says: infinity for any, 0 where none.
    fn trigger_norm(&self, _threat: &Threat) -> Result<Vec<f64>> {
        Err(uncovered("n_poisoned"))
    }

    /// The largest number each prediction survives, whatever else `threat` says.
    fn n_poisoned(&self, _threat: &Threat) -> Result<Vec<usize>> {
        Err(uncovered("trigger_norm"))
    }

    /// The largest number of changed entries each prediction survives.
    fn n_flips(&self) -> Result<Vec<usize>> {
        Err(uncovered("n_flips"))
    }

    /// What exactly is guaranteed, in one sentence for a person who will rely on it.
    fn guarantee(&self) -> String;

    /// The same about one threat, of the samples whose predictions survive it.
    fn statement(&self, _threat: &Threat) -> String {
        self.guarantee()
    }
}

/// What [`Proof::covers`] should have refused.
fn uncovered(parameter: &str) -> Error {
    Error::parameter(parameter, "left out, because it does not apply to these certificates", "one")
}

/// The refusal of total L2 norms.
pub(super) fn no_radius(law: &Law) -> Error {
    let expected = "None, with n_poisoned and trigger_norm given, for this law";
    Error::parameter("radii", expected, law.describe())
}

/// The proof behind a table of these parts, which [`check`] has found to belong together.
pub(super) fn of<'a>(
    record: &'a Record,
    intervals: &'a [Interval],
    detail: &'a Detail,
) -> Box<dyn Proof + 'a> {
    match (&record.law, detail) {
        (Law::Cascade(cascade), Detail::Levels(bounds)) => {
            Box::new(Levels { record, cascade, bounds, intervals })
        }
        (Law::Partition(partition), Detail::Buckets(buckets)) => {
            Box::new(Elected { record, partition, intervals, buckets })
        }
        (_, Detail::Magnitudes { sigmas, settled }) => {
            Box::new(Published { record, intervals, sigmas, settled: settled.as_deref() })
        }
        // Every kind by name: one that is forgotten here would pass for this one.
        (_, Detail::None | Detail::Levels(_) | Detail::Buckets(_)) => Box::new(OneLaw { record, intervals }),
    }
}

/// Checks that the parts of a table belong together.
///
/// # Errors
/// `Parameter` or `Shape` naming what does not fit.
pub(super) fn check(record: &Record, intervals: &[Interval], detail: &Detail) -> Result<()> {
    let law = &record.law;
    match (law, detail) {
        (Law::Cascade(_), Detail::Levels(_)) => {}
        (Law::Cascade(_), _) => {
            return Err(Error::parameter("levels", "the bounds of a cascade's levels", "none"));
        }
        (Law::Partition(_), Detail::Buckets(_)) => {}
        (Law::Partition(_), _) => {
            return Err(Error::parameter("buckets", "how many buckets of the partition may change", "none"));
        }
        (law, Detail::Magnitudes { .. }) if !law.sound() => {}
        (law, Detail::None) if law.sound() => {}
        _ => {
            let expected = "what the law's certificates consist of";
            return Err(Error::parameter("detail", expected, law.describe()));
        }
    }
    of(record, intervals, detail).check()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::certify::{Certificates, Confidence};
    use crate::change::{Change, Counted, Kind, Threat};
    use crate::law::{
        Cascade, DataFacts, Discrete, Gaussian, Guarantee, LabelNoise, Law, SampleSpecific, SigmaSearch,
        Subsample,
    };
    use crate::quantity::{NoiseScale, Quantity};
    use crate::votes::Ballots;
    use crate::Interval;
    use ndarray::Array2;

    const FACTS: DataFacts = DataFacts { n_train: 100, n_features: Some(4), n_classes: 2 };

    fn confidence() -> Confidence {
        Confidence::at(0.001).for_votes(100, 2).unwrap()
    }

    fn votes() -> Ballots {
        Ballots::from_votes(Array2::ones((100, 1)), 2).unwrap()
    }

    fn one(law: Law) -> Certificates {
        Certificates::from_ballots(law, FACTS, confidence(), None, &votes()).unwrap()
    }

    fn gaussian(sigma: f64) -> Law {
        Law::Gaussian(Gaussian::new(sigma).unwrap())
    }

    fn levels() -> Cascade {
        Cascade::new(vec![gaussian(1.0), gaussian(0.5)], None).unwrap()
    }

    fn cascade() -> Certificates {
        Certificates::from_levels(levels(), FACTS, confidence(), None, &[votes(), votes()]).unwrap()
    }

    fn published() -> Certificates {
        let search = SigmaSearch::around(NoiseScale::wrap(0.5), Guarantee::Published);
        let law = SampleSpecific::new(Gaussian::new(0.5).unwrap(), Guarantee::Published, search).unwrap();
        let (law, votes) = (Law::SampleSpecific(law), votes());
        Certificates::published(law, FACTS, confidence(), None, &votes, vec![0.5]).unwrap()
    }

    /// What each question says of a table: "yes", or the parameter that its refusal names.
    fn answers(table: &Certificates) -> Vec<String> {
        let change = |trigger_norm, labels| Change { n_poisoned: 2, trigger_norm, labels };
        let refusals = [
            table.accuracy_at_radii(&[true], &[0.1]).err(),
            table.holds(change(0.1, false)).err(),
            table.holds(change(0.1, true)).err(),
            table.holds(change(0.0, true)).err(),
            table.trigger_norm(2, false).err(),
            table.n_poisoned(0.1, true).err(),
            table.n_flips().err(),
            table.holds(Change { n_poisoned: 101, trigger_norm: 0.1, labels: false }).err(),
            table.n_poisoned(-1.0, false).err(),
        ];
        let named = |refusal: Option<crate::Error>| match refusal {
            Some(refusal) => refusal.to_string().split('\'').nth(1).unwrap_or("?").to_owned(),
            None => "yes".to_owned(),
        };
        refusals.map(named).to_vec()
    }

    #[test]
    fn what_a_kind_says_nothing_of_is_refused_by_its_name() {
        let (poisoned, norm) = ("n_poisoned", "trigger_norm");
        let bag = Law::Subsample(Subsample::new(None, 10).unwrap());
        let labels = Law::LabelNoise(LabelNoise::new(0.2).unwrap());
        let entries = Law::Discrete(Discrete::new(0.8, 2, false, false).unwrap());
        for (name, table, expected) in [
            (
                "one law",
                one(gaussian(0.5)),
                ["yes", "yes", "labels", "labels", "yes", "labels", "law", poisoned, norm],
            ),
            ("a bag", one(bag), ["radii", "yes", "yes", "yes", "yes", "yes", "law", poisoned, norm]),
            ("labels", one(labels), ["radii", norm, norm, "yes", norm, norm, "law", poisoned, norm]),
            (
                "entries",
                one(entries),
                ["radii", "yes", "labels", "labels", "yes", "labels", "yes", poisoned, norm],
            ),
            (
                "a cascade",
                cascade(),
                ["yes", "yes", "labels", "labels", "yes", "labels", "law", poisoned, norm],
            ),
            (
                "the published form",
                published(),
                ["yes", poisoned, poisoned, poisoned, poisoned, poisoned, "law", poisoned, norm],
            ),
        ] {
            assert_eq!(answers(&table), expected, "{name}");
        }
    }

    #[test]
    fn insertions_and_deletions_are_asked_of_whom_they_are_covered_by() {
        let threat = |kind, counted| Threat {
            change: Change { n_poisoned: 3, trigger_norm: f64::INFINITY, labels: true },
            kind,
            counted,
        };
        let all =
            [Kind::Any, Kind::Inserted, Kind::Deleted, Kind::Mixed { modified: 1, inserted: 1, deleted: 1 }];
        for counted in [Counted::Edits, Counted::SymmetricDifference] {
            for kind in all {
                let mut threat = threat(kind, counted);
                if matches!(kind, Kind::Mixed { .. }) && counted == Counted::SymmetricDifference {
                    threat = threat.at(4);
                }
                for table in [one(gaussian(0.5)), cascade(), published()] {
                    let refused = table.holds(threat).err().map(|e| e.to_string()).unwrap_or_default();
                    assert!(refused.contains("'edits'") || refused.contains("'n_poisoned'"), "{refused}");
                    assert!(table.statement(&threat).is_err());
                }
                for draw in [Subsample::new(None, 4), Subsample::poisson(None, 0.03)] {
                    let table = one(Law::Subsample(draw.unwrap()));
                    assert!(table.holds(threat).unwrap()[0], "{threat:?}");
                    assert!(table.statement(&threat).unwrap().contains(&threat.to_string()));
                }
            }
        }
        let mixed = threat(Kind::Mixed { modified: 1, inserted: 1, deleted: 1 }, Counted::Edits);
        let bag = one(Law::Subsample(Subsample::new(None, 4).unwrap()));
        assert!(bag.holds(mixed.at(2)).is_err() && bag.number_within(&mixed).is_err());
    }

    #[test]
    fn numbers_within_threats_are_the_last_that_hold() {
        let kinds = [Kind::Modified, Kind::Any, Kind::Inserted, Kind::Deleted];
        let mut last = Vec::new();
        for law in [Subsample::new(None, 4), Subsample::poisson(None, 0.03), Subsample::poisson(None, 1e-4)] {
            let table = one(Law::Subsample(law.unwrap()));
            for counted in [Counted::Edits, Counted::SymmetricDifference] {
                for kind in kinds {
                    let change = Change { n_poisoned: 0, trigger_norm: f64::INFINITY, labels: true };
                    let threat = Threat { change, kind, counted };
                    let number = table.number_within(&threat).unwrap()[0];
                    assert!(table.holds(threat.at(number)).unwrap()[0], "{threat:?} {number}");
                    let next = table.holds(threat.at(number + 1));
                    assert!(!next.is_ok_and(|holds| holds[0]), "{threat:?} {number}");
                    last.push(number);
                }
            }
        }
        // Of 100 samples: all of them may go at a rate of 1e-4, and many more may come. Who removed samples before they
        // were received made a set of which the other one has more, so that removing and adding are one question.
        assert_eq!(last[..4], [last[0], last[0], last[2], last[2]]);
        assert!(last[2] > last[0], "{last:?}");
        assert!(last[16] == 100 && last[18] > 1000 && last[19] == last[18], "{last:?}");
    }

    #[test]
    fn parts_that_do_not_belong_together_are_no_table() {
        let law = Law::Cascade(levels());
        let intervals = vec![Interval::new(0, 0.9, 0.1)];
        let error = Certificates::exact(law.clone(), FACTS, intervals.clone()).err().map(|e| e.to_string());
        assert!(error.is_some_and(|e| e.contains("'levels'")));
        let (bounds, exact) = (cascade().detail().clone(), one(gaussian(0.5)));
        let error = Certificates::from_parts(exact.record().clone(), intervals, bounds).err();
        assert!(error.is_some_and(|e| e.to_string().contains("'detail'")));
    }
}
