//! Members: what they depend on, and what they must not depend on.

use std::cell::RefCell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Duration;

use certssb::{
    ArrayInputs, ArrayTrainingSet, Control, Ensemble, ErrorKind, Law, NoiseLaw, Seed, TrainConfig,
    TrainingSet,
};

use crate::support::{bars, config, gaussian, image, inputs, subsample, training_set, Watched};

fn fit(data: &dyn TrainingSet, law: Law, config: &TrainConfig, n_members: u64) -> Ensemble {
    Ensemble::fit(data, law, config, n_members, None, &Control::new()).unwrap()
}

fn values(ensemble: &Ensemble) -> Vec<Vec<f32>> {
    ensemble.members().map(|member| member.values.to_vec()).collect()
}

#[test]
fn members_learn_the_bars() {
    for model in ["linear", "mlp", "cnn", "resnet", "discriminant", "ridge"] {
        let (n, epochs) = if model == "resnet" { (32, 5) } else { (120, 5) };
        let ensemble = fit(&training_set(n, 8), gaussian(0.3), &TrainConfig { epochs, ..config(model) }, 2);
        let votes = ensemble.votes(&inputs(40, 8), &Control::new()).unwrap();
        let right = votes.indexed_iter().filter(|((_, i), vote)| **vote == (i % 2) as u16).count();
        assert!(right >= 76, "{model}: {right} of 80 votes are right");
    }
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let (data, test) = (training_set(40, 8), inputs(9, 8));
    for model in ["cnn", "linear", "discriminant", "ridge"] {
        let runs: Vec<_> = [1, 2, 3]
            .into_iter()
            .map(|n_jobs| {
                let config = TrainConfig { n_jobs: Some(n_jobs), ..config(model) };
                let ensemble = fit(&data, gaussian(0.5), &config, 5);
                (values(&ensemble), ensemble.scores(&test, &Control::new()).unwrap())
            })
            .collect();
        assert!(runs[0] == runs[1] && runs[0] == runs[2], "{model}");
    }
}

#[test]
fn the_seed_and_the_member_decide_and_torchs_generator_does_not() {
    let data = training_set(30, 8);
    tch::manual_seed(1);
    let first = values(&fit(&data, gaussian(0.5), &config("mlp"), 3));
    tch::manual_seed(2);
    assert_eq!(first, values(&fit(&data, gaussian(0.5), &config("mlp"), 3)));
    assert_ne!(first[0], first[1]);
    let other = TrainConfig { seed: 12, ..config("mlp") };
    assert_ne!(first, values(&fit(&data, gaussian(0.5), &other, 3)));
}

#[test]
fn continuing_gives_the_members_of_a_longer_run() {
    let data = training_set(30, 8);
    let mut ensemble = fit(&data, gaussian(0.5), &config("linear"), 2);
    ensemble.train(&data, 5, None, &Control::new()).unwrap();
    assert_eq!(values(&ensemble), values(&fit(&data, gaussian(0.5), &config("linear"), 5)));
    let error = ensemble.train(&training_set(32, 8), 6, None, &Control::new()).unwrap_err();
    assert!(error.is_bad_input() && error.to_string().contains("started with"), "{error}");
}

#[test]
fn members_trained_alone_are_those_of_a_whole_training() {
    let data = training_set(30, 8);
    for law in [gaussian(0.5), subsample(0.2, 12)] {
        let whole = values(&fit(&data, law.clone(), &config("linear"), 6));
        let mut ensemble = Ensemble::new(&data, law, &config("linear")).unwrap();
        let reports = RefCell::new(Vec::new());
        let report = |progress: &certssb::Progress| {
            reports.borrow_mut().push((progress.member, progress.done, progress.total, progress.resumed));
        };
        ensemble.train_these(&data, &[5, 2], &Control::new().on_progress(report)).unwrap();
        assert_eq!(ensemble.members().map(|member| member.number).collect::<Vec<_>>(), [2, 5]);
        assert_eq!(values(&ensemble), [whole[2].clone(), whole[5].clone()]);
        let mut reports = reports.into_inner();
        assert_eq!(reports.iter().map(|report| report.1).collect::<Vec<_>>(), [1, 2]);
        reports.sort_unstable();
        assert!(reports
            .iter()
            .map(|report| (report.0, report.2, report.3))
            .eq([(2, 2, false), (5, 2, false)]));

        let error = ensemble.train_these(&training_set(32, 8), &[0], &Control::new()).unwrap_err();
        assert!(error.is_bad_input() && error.to_string().contains("started with"), "{error}");
        let control = Control::new();
        control.cancel_flag().store(true, Ordering::Relaxed);
        let error = ensemble.train_these(&data, &[0], &control).unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::Cancelled);
        assert!(
            ensemble.members().filter(|member| member.number != 0).count() == 2,
            "what was finished is kept"
        );
    }
}

/// All ways to choose `n` of the values.
fn choices(values: &[f64], n: usize) -> Vec<Vec<f64>> {
    let chosen = |bits: &u32| bits.count_ones() as usize == n;
    let of = |bits: u32| (0..values.len()).filter(|i| bits >> i & 1 == 1).map(|i| values[i]).collect();
    (0..1 << values.len()).filter(chosen).map(of).collect()
}

#[test]
fn influence_is_what_members_with_a_sample_say_beside_the_others() {
    let (data, law) = (training_set(10, 8), subsample(0.2, 3));
    let ensemble = fit(&data, law.clone(), &config("linear"), 9);
    let drew = |sample: usize| -> Vec<bool> {
        (0..9).map(|member| law.subset(Seed::new(11), member, 10).unwrap().contains(&sample)).collect()
    };
    let sample = (0..10).find(|i| (1..9).contains(&drew(*i).iter().filter(|drew| **drew).count())).unwrap();
    // One column says who drew the sample, the other anything.
    let said = [0.5_f32, -1.0, 0.25, 3.0, 0.0, 0.75, 2.0, -0.5, 1.0];
    let values = ndarray::Array2::from_shape_fn((9, 2), |(member, column)| {
        if column == 0 {
            f32::from(drew(sample)[member])
        } else {
            said[member]
        }
    });
    let influence = ensemble.influence(values.view(), &Control::new()).unwrap();
    assert_eq!(influence.difference[[0, sample]], 1.0);
    let mut compared = 0;
    for i in 0..10 {
        let drew = drew(i);
        let n = drew.iter().filter(|drew| **drew).count();
        assert_eq!(influence.n_drew[i] as usize, n);
        let of =
            |with: bool| (0..9).filter(|m| drew[*m] == with).map(|m| f64::from(said[m])).collect::<Vec<_>>();
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let (difference, error) = (influence.difference[[1, i]], influence.error[[1, i]]);
        if n == 0 || n == 9 {
            assert!(difference.is_nan() && error.is_nan());
            continue;
        }
        assert!((difference - (mean(&of(true)) - mean(&of(false)))).abs() < 1e-12);
        // If the sample changed nothing, those that drew it were any others.
        let all: Vec<f64> = said.iter().map(|value| f64::from(*value)).collect();
        let rest = |chosen: &[f64]| (mean(&all) * 9.0 - mean(chosen) * n as f64) / (9 - n) as f64;
        let differences: Vec<f64> =
            choices(&all, n).iter().map(|chosen| mean(chosen) - rest(chosen)).collect();
        let squares: Vec<f64> = differences.iter().map(|difference| difference * difference).collect();
        assert!((error - mean(&squares).sqrt()).abs() < 1e-12, "{error}");
        compared += 1;
    }
    assert!(compared >= 5);
    let error = ensemble.influence(values.slice(ndarray::s![..8, ..]), &Control::new()).unwrap_err();
    assert!(error.is_bad_input() && error.to_string().contains("9 members"), "{error}");
    let error = fit(&data, gaussian(0.5), &config("linear"), 9).influence(values.view(), &Control::new());
    assert!(error.unwrap_err().to_string().contains("Subsample"));
    let control = Control::new();
    control.cancel_flag().store(true, Ordering::Relaxed);
    assert_eq!(ensemble.influence(values.view(), &control).unwrap_err().kind(), &ErrorKind::Cancelled);
}

#[test]
fn every_sample_is_read_once_per_member_whatever_the_epochs() {
    let read = AtomicUsize::new(0);
    let data = Watched::new(training_set(30, 8), |earlier| read.store(earlier + 1, Ordering::Relaxed));
    let config = TrainConfig { epochs: 7, n_jobs: Some(1), ..config("linear") };
    fit(&data, gaussian(0.5), &config, 2);
    assert_eq!(read.load(Ordering::Relaxed), 2 * 30, "one noise draw per member and sample");
}

#[test]
fn only_the_drawn_samples_matter() {
    let law = subsample(0.2, 12);
    let drawn = law.subset(Seed::new(11), 0, 60).unwrap();
    let (features, labels) = bars(60, 8);
    let spoilt = |spoil: &dyn Fn(usize) -> bool| {
        let (mut features, mut labels) = (features.clone(), labels.clone());
        for i in (0..60).filter(|&i| spoil(i)) {
            features[64 * i..64 * (i + 1)].reverse();
            labels[i] = 1 - labels[i];
        }
        let inputs = ArrayInputs::new(features, image(8)).unwrap();
        let data = ArrayTrainingSet::new(inputs, labels, 2).unwrap();
        values(&fit(&data, law.clone(), &config("cnn"), 1))
    };
    let original = spoilt(&|_| false);
    assert_eq!(original, spoilt(&|i| !drawn.contains(&i)), "there is no other door to the data");
    assert_ne!(original, spoilt(&|i| i == drawn[3]), "what is drawn does matter");
}

#[test]
fn a_stack_trains_the_members_it_would_train_one_by_one() {
    let (data, test) = (training_set(40, 8), inputs(20, 8));
    for (model, tolerance) in [("linear", 1e-4), ("mlp", 1e-3), ("cnn", 1e-3), ("resnet", 2e-2)] {
        let config = TrainConfig { epochs: 1, ..config(model) };
        let single = fit(&data, subsample(0.5, 20), &config, 3);
        let stacked = TrainConfig { stack: Some(3), n_jobs: Some(1), ..config };
        let stacked = fit(&data, subsample(0.5, 20), &stacked, 3);
        let (a, b) =
            (single.scores(&test, &Control::new()).unwrap(), stacked.scores(&test, &Control::new()).unwrap());
        let largest = (&a - &b).iter().fold(0.0_f32, |m, d| m.max(d.abs()));
        assert!(largest < tolerance, "{model}: {largest}");
        assert!((&a.row_of(0) - &a.row_of(1)).iter().any(|d| d.abs() > 1e-3), "{model}: members differ");
    }
}

trait RowOf {
    fn row_of(&self, member: usize) -> ndarray::Array2<f32>;
}

impl RowOf for ndarray::Array3<f32> {
    fn row_of(&self, member: usize) -> ndarray::Array2<f32> {
        self.index_axis(ndarray::Axis(0), member).to_owned()
    }
}

#[test]
fn the_vote_on_an_input_does_not_depend_on_its_company() {
    for model in ["linear", "cnn", "resnet"] {
        let ensemble = fit(&training_set(24, 8), gaussian(1.0), &config(model), 2);
        let (features, _) = bars(150, 8);
        let all = ensemble.scores(&inputs(150, 8), &Control::new()).unwrap();
        for start in [0_usize, 1, 63, 100] {
            let some = ArrayInputs::new(&features[64 * start..64 * (start + 47)], image(8)).unwrap();
            let some = ensemble.scores(&some, &Control::new()).unwrap();
            assert_eq!(some, all.slice(ndarray::s![.., start..start + 47, ..]), "{model} from {start}");
        }
    }
}

#[test]
fn votes_are_the_largest_scores() {
    let ensemble = fit(&training_set(24, 8), gaussian(1.0), &config("cnn"), 3);
    let (votes, scores) = (
        ensemble.votes(&inputs(70, 8), &Control::new()).unwrap(),
        ensemble.scores(&inputs(70, 8), &Control::new()).unwrap(),
    );
    assert_eq!((votes.dim(), scores.dim()), ((3, 70), (3, 70, 2)));
    for ((m, i), vote) in votes.indexed_iter() {
        assert_eq!(*vote == 1, scores[[m, i, 1]] > scores[[m, i, 0]]);
        assert!((scores[[m, i, 0]] + scores[[m, i, 1]] - 1.0).abs() < 1e-6);
    }
}

#[test]
fn progress_counts_up_on_the_calling_thread_and_cancelling_keeps_finished_members() {
    let seen = RefCell::new(Vec::new());
    let control = Control::new();
    let flag = control.cancel_flag();
    // Nobody begins with a fifth before the caller has said stop.
    let stopped = Arc::clone(&flag);
    let data = Watched::new(training_set(40, 8), move |earlier| {
        while earlier >= 4 * 40 && !stopped.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let control = control.on_progress(|progress| {
        seen.borrow_mut().push((progress.done, progress.total));
        assert!(progress.loss.is_finite() && !progress.resumed);
        flag.store(progress.done >= 2, Ordering::Relaxed);
    });
    let config = TrainConfig { epochs: 30, ..config("cnn") };
    let mut ensemble = Ensemble::new(&data, gaussian(0.5), &config).unwrap();
    let error = ensemble.train(&data, 500, None, &control).unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Cancelled);
    let kept = ensemble.n_members();
    assert!((2..=4).contains(&kept), "{kept}");
    assert!(error.to_string().contains(&format!("{kept} of 500")), "{error}");
    let expected: Vec<_> = (1..=kept as u64).map(|done| (done, 500)).collect();
    assert_eq!(*seen.borrow(), expected);
    let whole = fit(&training_set(40, 8), gaussian(0.5), &config, 4);
    for member in ensemble.members() {
        assert_eq!(member.values.to_vec(), values(&whole)[member.number as usize]);
    }
}

#[test]
fn a_poll_that_says_stop_stops() {
    let data = training_set(400, 8);
    let config = TrainConfig { epochs: 100_000, ..config("linear") };
    let begun = std::time::Instant::now();
    let result = Ensemble::fit(
        &data,
        gaussian(0.5),
        &config,
        2,
        None,
        &Control::new().on_poll(|| begun.elapsed().as_millis() > 200),
    );
    let error = result.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Cancelled);
    assert!(error.to_string().contains("0 of 2 members"), "within a member: {error}");
    assert!(begun.elapsed().as_secs_f64() < 2.0);
}

#[test]
fn a_fit_of_which_more_than_half_diverges_is_an_error_however_it_diverged() {
    let inputs = ArrayInputs::new(vec![1e30_f32; 64 * 4], image(8)).unwrap();
    let data = ArrayTrainingSet::new(inputs, vec![0, 1, 0, 1], 2).unwrap();
    // After two epochs the parameters have overflowed, after five the loss too.
    for epochs in [2, 5] {
        let config = TrainConfig { epochs, ..config("mlp") };
        let error = Ensemble::fit(&data, gaussian(1.0), &config, 1, None, &Control::new()).unwrap_err();
        assert_eq!(error.member(), None);
        assert!(error.to_string().contains("more than half of the 1 members"), "{epochs}: {error}");
    }
}

#[test]
fn unusable_settings_are_refused_before_training() {
    let data = training_set(10, 8);
    let new = |law, config: TrainConfig| Ensemble::new(&data, law, &config).err().unwrap().to_string();
    let unknown = new(gaussian(1.0), config("vgg"));
    assert!(
        unknown.contains("'linear', 'mlp', 'cnn', 'resnet', 'discriminant', 'ridge'")
            && unknown.contains("'vgg'"),
        "{unknown}"
    );
    assert!(new(subsample(1.0, 11), config("linear")).contains("'size'"));
    assert!(new(subsample(1.0, 1), config("resnet")).contains("'size'"));
    assert!(new(gaussian(1.0), TrainConfig { epochs: 0, ..config("linear") }).contains("'epochs'"));
    let none = Ensemble::fit(&data, gaussian(1.0), &config("linear"), 0, None, &Control::new()).unwrap_err();
    assert!(none.to_string().contains("'n_members'"), "{none}");
}

#[test]
fn inputs_of_another_shape_are_refused() {
    let ensemble = fit(&training_set(24, 8), gaussian(1.0), &config("linear"), 1);
    let error = ensemble.votes(&inputs(3, 9), &Control::new()).unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Shape);
    assert!(error.to_string().contains("(1, 8, 8)") && error.to_string().contains("(1, 9, 9)"), "{error}");
}
