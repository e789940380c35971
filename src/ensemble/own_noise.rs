//! Training under the sound form of sample-specific noise: what a member adds to its noised set by its own choice.

use std::borrow::Cow;

use crate::backend::{Fit, Flag, NoisySet, Search, Session};
use crate::error::{Error, Result};
use crate::law::{Guarantee, Law, NoiseLaw, SampleSpecific};
use crate::member::Member;
use crate::noise::add_normals_to_noised;
use crate::seed::Role;

/// The law, if members add noise of their own choice to what they are shown.
pub(super) fn specific(law: &Law) -> Option<&SampleSpecific> {
    law.sample_specific().filter(|law| law.guarantee() == Guarantee::Sound)
}

/// Trains members on their noised sets; twice where they add noise of their own choice to these, as large as the first
/// training bears.
///
/// # Errors
/// As [`Session::fit`].
pub(super) fn fit(
    session: &mut dyn Session,
    job: Fit<'_>,
    law: &Law,
    mut set: NoisySet,
    stop: &Flag,
) -> Result<Vec<Member>> {
    let Some(law) = specific(law) else { return session.fit(job, Cow::Owned(set), stop) };
    // From here on everything looks at the noised set alone.
    let scouts = session.fit(job, Cow::Borrowed(&set), stop)?;
    if scouts.iter().all(Member::is_failed) {
        return Ok(scouts);
    }
    let search = Search { search: law.search(), seed: job.seed };
    // Trusted samples stay as they are; a member may have no others.
    let trusted = set.n_trusted();
    for (place, scout) in scouts.iter().enumerate().filter(|(_, scout)| !scout.is_failed()) {
        if set.n() == trusted {
            break;
        }
        let (rows, labels): (Vec<_>, Vec<_>) = set.samples(place).skip(trusted).unzip();
        let found = session.panel(&[scout])?.magnitudes(0, &rows, Some(&labels), search, stop);
        let sigmas = found.map_err(Error::searching)?;
        let streams = job.seed.member(Role::ExtraNoise, scout.number);
        for ((number, row), sigma) in (0..).zip(set.rows_mut(place).skip(trusted)).zip(sigmas) {
            add_normals_to_noised(&streams, number, sigma, row);
        }
    }
    let trained = session.fit(job, Cow::Owned(set), stop)?;
    let pairs = scouts.into_iter().zip(trained);
    Ok(pairs.map(|(scout, member)| if scout.is_failed() { scout } else { member }).collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::sync::Mutex;

    use super::*;
    use crate::backend::{Batch, Cores, Panel, Source};
    use crate::law::{Gaussian, SigmaSearch};
    use crate::member::{ArrayInputs, ArrayTrainingSet, FeatureShape, TrainConfig, TrainingSet};
    use crate::quantity::{NoiseScale, Quantity};
    use crate::seed::Seed;

    /// Remembers the sets that it is shown, and what it is asked to search.
    #[derive(Default)]
    struct Spy {
        sets: Vec<Vec<f32>>,
        searched: Mutex<Vec<usize>>,
    }

    impl Session for Spy {
        fn fit(&mut self, job: Fit<'_>, set: Cow<'_, NoisySet>, _stop: &Flag) -> Result<Vec<Member>> {
            self.sets.push(set.samples(0).flat_map(|(row, _)| row.to_vec()).collect());
            Ok(job.members.iter().map(|number| Member::finished(*number, vec![1.0], 0.5)).collect())
        }

        fn panel<'s>(&'s mut self, _members: &'s [&'s Member]) -> Result<Box<dyn Panel + 's>> {
            Ok(Box::new(&self.searched))
        }
    }

    impl Panel for &Mutex<Vec<usize>> {
        fn logits(&mut self, _batch: Batch<'_>, _stop: &Flag) -> Result<Vec<f32>> {
            Ok(Vec::new())
        }

        fn magnitudes(
            &mut self,
            _place: usize,
            rows: &[&[f32]],
            labels: Option<&[usize]>,
            _search: Search<'_>,
            _stop: &Flag,
        ) -> Result<Vec<f32>> {
            assert_eq!(labels.map(<[usize]>::len), Some(rows.len()));
            self.lock().unwrap().push(rows.len());
            Ok(vec![0.5; rows.len()])
        }

        fn log_scores(
            &mut self,
            _place: usize,
            _rows: &[&[f32]],
            _sigmas: &[f32],
            _search: Search<'_>,
            _stop: &Flag,
        ) -> Result<Vec<f32>> {
            Ok(Vec::new())
        }
    }

    fn set(values: Vec<f32>) -> ArrayTrainingSet<'static> {
        let labels = vec![1; values.len() / 2];
        ArrayTrainingSet::new(ArrayInputs::new(values, FeatureShape::Flat(2)).unwrap(), labels, 2).unwrap()
    }

    #[test]
    fn what_a_member_adds_to_its_set_leaves_trusted_samples_as_they_are() {
        let around = SigmaSearch::around(NoiseScale::check("sigma", 1.0).unwrap(), Guarantee::Sound);
        let law = SampleSpecific::new(Gaussian::new(1.0).unwrap(), Guarantee::Sound, around);
        let law = Law::SampleSpecific(law.unwrap());
        let plain = || set((0..10).map(|v| v as f32).collect());
        let trusted = [0.25_f32, 0.5, 0.75, 1.0];
        let run = |data: &dyn TrainingSet| {
            let source = Source { data, law: &law, seed: Seed::new(1), parts: None, sigmas: None };
            let drawn = NoisySet::draw(source, &[4], 2, Cores::Own, &AtomicBool::new(false)).unwrap();
            let settings = TrainConfig::default().check(Default::default).unwrap();
            let job = Fit { members: &[4], seed: Seed::new(1), n_classes: 2, settings: &settings };
            let mut spy = Spy::default();
            fit(&mut spy, job, &law, drawn, &Flag::default()).unwrap();
            spy
        };
        let (without, with) = (run(&plain()), run(&plain().with_trusted(set(trusted.to_vec()))));
        assert_eq!((with.sets.len(), &*with.searched.lock().unwrap()), (2, &vec![5]));
        assert!(with.sets.iter().all(|shown| shown[..4] == trusted));
        assert_ne!(with.sets[0][4..], with.sets[1][4..], "the others have the noise of their own choice");
        assert_eq!(with.sets.iter().map(|shown| &shown[4..]).collect::<Vec<_>>(), without.sets);
    }
}
