//! Checkpoint directories: resuming, refusing, surviving damage.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use certssb::{Control, Ensemble, Error, ErrorKind, TrainConfig};

use crate::support::{config, gaussian, inputs, subsample, training_set, Folder, Watched};

fn fit(config: &TrainConfig, n_members: u64, checkpoint: Option<&Path>) -> Result<Ensemble, Error> {
    Ensemble::fit(&training_set(30, 8), gaussian(0.5), config, n_members, checkpoint, &Control::new())
}

fn values(ensemble: &Ensemble) -> Vec<Vec<f32>> {
    ensemble.members().map(|member| member.values.to_vec()).collect()
}

fn refused(result: Result<Ensemble, Error>) -> String {
    let error = result.expect_err("must be refused");
    assert_eq!(*error.kind(), ErrorKind::Checkpoint, "{error}");
    error.to_string()
}

#[test]
fn an_interrupted_run_resumes_to_the_same_bits() {
    for model in ["cnn", "resnet"] {
        let folder = Folder::new();
        let path = folder.join("run");
        let data = training_set(30, 8);
        let whole = fit(&config(model), 4, None).unwrap();
        let control = Control::new();
        let flag = control.cancel_flag();
        // Nobody begins with a second member before the caller has said stop.
        let stopped = Arc::clone(&flag);
        let cut_short = Watched::new(training_set(30, 8), move |earlier| {
            while earlier >= 30 && !stopped.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let control = control.on_progress(|_| flag.store(true, Ordering::Relaxed));
        let one = TrainConfig { n_jobs: Some(1), ..config(model) };
        let cut = Ensemble::fit(&cut_short, gaussian(0.5), &one, 4, Some(&path), &control);
        assert_eq!(*cut.err().unwrap().kind(), ErrorKind::Cancelled);
        let (resumed, trained) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let control = Control::new().on_progress(|progress| {
            let counter = if progress.resumed { &resumed } else { &trained };
            counter.fetch_add(1, Ordering::Relaxed);
        });
        let resumed_run =
            Ensemble::fit(&data, gaussian(0.5), &config(model), 4, Some(&path), &control).unwrap();
        let counts = (resumed.load(Ordering::Relaxed), trained.load(Ordering::Relaxed));
        assert_eq!(counts, (1, 3));
        assert_eq!(values(&resumed_run), values(&whole), "{model}");
        let test = inputs(20, 8);
        let opened = Ensemble::open(&path, "cpu", None).unwrap();
        assert_eq!(opened.record(), whole.record());
        assert_eq!(
            opened.scores(&test, &Control::new()).unwrap(),
            whole.scores(&test, &Control::new()).unwrap()
        );
    }
}

#[test]
fn trainings_that_share_a_directory_share_the_work() {
    let folder = Folder::new();
    let path = folder.join("run");
    let whole = fit(&config("mlp"), 60, None).unwrap();
    let one = TrainConfig { n_jobs: Some(1), ..config("mlp") };
    let trained: Vec<AtomicUsize> = (0..3).map(|_| AtomicUsize::new(0)).collect();
    // Each has a member of its own to draw before one of them goes on.
    let begun = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for counter in &trained {
            scope.spawn(|| {
                let count = |progress: &certssb::Progress| {
                    counter.fetch_add(usize::from(!progress.resumed), Ordering::Relaxed);
                };
                let control = Control::new().on_progress(count);
                let data = Watched::new(training_set(30, 8), |earlier| {
                    begun.fetch_add(usize::from(earlier == 0), Ordering::Relaxed);
                    while begun.load(Ordering::Relaxed) < trained.len() {
                        std::thread::yield_now();
                    }
                });
                let shared = Ensemble::fit(&data, gaussian(0.5), &one, 60, Some(&path), &control).unwrap();
                assert_eq!(values(&shared), values(&whole));
            });
        }
    });
    let trained: Vec<usize> = trained.into_iter().map(AtomicUsize::into_inner).collect();
    assert_eq!(trained.iter().sum::<usize>(), 60, "no member is trained twice: {trained:?}");
    assert!(trained.iter().all(|n| *n > 0), "one has not done it all: {trained:?}");
    let names = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name());
    let left: Vec<_> = names.filter(|name| name.to_string_lossy().starts_with("claim-")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn the_number_of_members_is_no_part_of_the_identity() {
    let folder = Folder::new();
    let path = folder.join("run");
    fit(&config("linear"), 3, Some(&path)).unwrap();
    assert_eq!(fit(&config("linear"), 2, Some(&path)).unwrap().n_members(), 2);
    assert_eq!(fit(&config("linear"), 5, Some(&path)).unwrap().n_members(), 5);
    assert_eq!(Ensemble::open(&path, "cpu", None).unwrap().n_members(), 5);
}

#[test]
fn other_settings_law_or_data_are_refused_with_the_difference_named() {
    let folder = Folder::new();
    let path = folder.join("run");
    fit(&config("linear"), 1, Some(&path)).unwrap();
    let other = TrainConfig { epochs: 9, seed: 12, ..config("linear") };
    let message = refused(fit(&other, 1, Some(&path)));
    assert!(message.contains("epochs: 2 there, 9 here; seed: 11 there, 12 here"), "{message}");
    let message = refused(fit(&config("mlp"), 1, Some(&path)));
    assert!(message.contains("model: 'linear' there, 'mlp' here"), "{message}");
    let law = |law| {
        let data = training_set(30, 8);
        refused(Ensemble::fit(&data, law, &config("linear"), 1, Some(&path), &Control::new()))
    };
    let message = law(gaussian(0.25));
    assert!(message.contains("law.sigma: 0.5 there, 0.25 here"), "{message}");
    let message = law(subsample(0.5, 9));
    assert!(message.contains("law.law: 'gaussian' there, 'subsample' here"), "{message}");
    let data = training_set(31, 8);
    let message =
        refused(Ensemble::fit(&data, gaussian(0.5), &config("linear"), 1, Some(&path), &Control::new()));
    assert!(message.contains("data_digest") && message.contains("n_train: 30 there, 31 here"), "{message}");
}

#[test]
fn places_that_are_no_checkpoints_are_refused_and_left_alone() {
    let folder = Folder::new();
    let file = folder.join("file");
    fs::write(&file, "mine").unwrap();
    assert!(refused(fit(&config("linear"), 1, Some(&file))).contains("not a directory"));
    assert!(refused(fit(&config("linear"), 1, Some(&file.join("below")))).contains("cannot be used"));
    if cfg!(target_os = "linux") {
        refused(fit(&config("linear"), 1, Some(Path::new("/proc/certssb"))));
    }
    let full = folder.join("full");
    fs::create_dir(&full).unwrap();
    fs::write(full.join("thesis.tex"), "mine").unwrap();
    assert!(refused(fit(&config("linear"), 1, Some(&full))).contains("thesis.tex"));
    assert_eq!(fs::read_dir(&full).unwrap().count(), 1);
    let damaged = folder.join("damaged");
    fit(&config("linear"), 1, Some(&damaged)).unwrap();
    let good_manifest = fs::read_to_string(damaged.join("manifest.json")).unwrap();
    for text in ["", "{", "[]", "{\"record\": 3}", "{\"created_by\": \"x\"}"] {
        fs::write(damaged.join("manifest.json"), text).unwrap();
        let message = refused(fit(&config("linear"), 1, Some(&damaged)));
        assert!(message.contains("cannot be used"), "{text}: {message}");
        assert_eq!(fs::read_to_string(damaged.join("manifest.json")).unwrap(), text);
    }
    for (there, instead, what) in [
        ("\"schema\": 4", "\"schema\": 3", "version 3"),
        ("\"n_classes\": 2", "\"n_classes\": 0", "labels of 2 to 65535 classes"),
        ("\"n_classes\": 2", "\"n_classes\": 1000000000", "labels of 2 to 65535 classes"),
        ("\"height\": 8", "\"height\": 1000000000000000", "at most 1099511627776 values"),
        ("\"height\": 8", "\"height\": 1000000000", "not that of its member 0"),
        ("\"n_classes\": 2", "\"n_classes\": 60000", "not that of its member 0"),
        ("\"epochs\": 2", "\"epochs\": 0", "'epochs'"),
        ("\"sigma\": 0.5", "\"sigma\": 0.25", "not that of its member 0"),
        ("\"sigma\": 0.5", "\"sigma\": -1.0", "damaged"),
    ] {
        let changed = good_manifest.replace(there, instead);
        assert_ne!(changed, good_manifest);
        fs::write(damaged.join("manifest.json"), changed).unwrap();
        assert!(refused(Ensemble::open(&damaged, "cpu", None)).contains(what), "{what}");
    }
    // Version 3 rounded other sums to the grid: its members are not continued.
    fs::write(damaged.join("manifest.json"), good_manifest.replace("\"schema\": 4", "\"schema\": 3"))
        .unwrap();
    let message = refused(fit(&config("linear"), 2, Some(&damaged)));
    assert!(message.contains("schema: 3 there, 4 here"), "{message}");
    assert!(refused(Ensemble::open(&full, "cpu", None)).contains("manifest.json"));
}

#[test]
fn damaged_member_files_are_never_used() {
    let folder = Folder::new();
    let path = folder.join("run");
    let whole = fit(&config("linear"), 1, Some(&path)).unwrap();
    let file = path.join("member-000000.safetensors");
    let good = fs::read(&file).unwrap();
    let mut flipped = good.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let renamed = String::from_utf8_lossy(&good).contains("fc1.weight");
    assert!(renamed, "parameters are stored under their names");
    for bad in [&good[..good.len() / 2], &good[..good.len() - 1], &good[..3], &[][..], &flipped[..]] {
        fs::write(&file, bad).unwrap();
        assert_eq!(Ensemble::open(&path, "cpu", None).unwrap().n_members(), 0, "{} bytes", bad.len());
        let again = fit(&config("linear"), 1, Some(&path)).unwrap();
        assert_eq!(values(&again), values(&whole));
        assert_eq!(fs::read(&file).unwrap(), good, "the file is replaced by a good one");
    }
}

#[test]
fn a_member_of_another_run_is_refused() {
    let folder = Folder::new();
    let (mine, other) = (folder.join("mine"), folder.join("other"));
    fit(&config("linear"), 2, Some(&mine)).unwrap();
    fit(&TrainConfig { seed: 5, ..config("linear") }, 1, Some(&other)).unwrap();
    let name = "member-000000.safetensors";
    fs::copy(other.join(name), mine.join(name)).unwrap();
    assert!(refused(fit(&config("linear"), 2, Some(&mine))).contains("another checkpoint"));
    fs::copy(mine.join("member-000001.safetensors"), mine.join(name)).unwrap();
    assert!(refused(fit(&config("linear"), 2, Some(&mine))).contains("member"));
}

#[test]
fn members_trained_without_a_checkpoint_are_saved_when_one_is_given() {
    let folder = Folder::new();
    let path = folder.join("run");
    let data = training_set(30, 8);
    let mut ensemble = fit(&config("linear"), 2, None).unwrap();
    ensemble.train(&data, 3, Some(&path), &Control::new()).unwrap();
    assert_eq!(values(&Ensemble::open(&path, "cpu", None).unwrap()), values(&ensemble));
}

#[test]
fn runs_that_share_a_directory_do_not_harm_each_other() {
    let folder = Folder::new();
    let path = folder.join("run");
    let ensembles: Vec<_> = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..3).map(|_| scope.spawn(|| fit(&config("mlp"), 6, Some(&path)))).collect();
        runs.into_iter().map(|run| run.join().unwrap().unwrap()).collect()
    });
    let expected = values(&fit(&config("mlp"), 6, None).unwrap());
    assert!(ensembles.iter().all(|ensemble| values(ensemble) == expected));
    let mut names: Vec<_> =
        fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names.len(), 6 + 2, "nothing temporary is left: {names:?}");
    assert!(names.contains(&"history-planned-000006.json".to_owned()), "{names:?}");
}

/// Names of the files of a folder that begin so, sorted.
fn named(folder: &Path, start: &str) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name.starts_with(start)).collect();
    names.sort();
    names
}

#[test]
fn many_members_lie_in_a_few_files() {
    let folder = Folder::new();
    let path = folder.join("run");
    let expected = values(&fit(&config("linear"), 300, None).unwrap());
    let whole = fit(&config("linear"), 300, Some(&path)).unwrap();
    assert_eq!(values(&whole), expected);
    let (shards, files) = (named(&path, "members-"), named(&path, "member-"));
    assert!(!shards.is_empty() && shards.len() + files.len() < 70, "{shards:?} {files:?}");
    assert_eq!(values(&Ensemble::open(&path, "cpu", None).unwrap()), expected);
    // Gone on with, and packed once more.
    assert_eq!(fit(&config("linear"), 420, Some(&path)).unwrap().n_members(), 420);
    assert!(named(&path, "").len() < 80, "{:?}", named(&path, ""));
    assert_eq!(values(&fit(&config("linear"), 300, Some(&path)).unwrap()), expected);
    // One file per member, as earlier versions had them.
    let saved = folder.join("saved");
    fit(&config("linear"), 20, None).unwrap().save(&saved).unwrap();
    assert_eq!(named(&saved, "member-").len(), 20);
    assert_eq!(values(&Ensemble::open(&saved, "cpu", None).unwrap())[..], expected[..20]);
}

#[test]
fn what_is_damaged_of_a_shard_is_trained_again() {
    let folder = Folder::new();
    let path = folder.join("run");
    let whole = fit(&config("linear"), 70, Some(&path)).unwrap();
    let [name] = &named(&path, "members-")[..] else { panic!("one shard") };
    let file = path.join(name);
    let good = fs::read(&file).unwrap();
    let head = u64::from_le_bytes(good[..8].try_into().unwrap()) as usize + 8;
    let mut flipped = good.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let mut headless = good.clone();
    headless[20] ^= 0xff;
    let mut large = good.clone();
    large[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    let half = head + (good.len() - head) / 2;
    for (bad, left) in [
        (&flipped[..], 69),
        (&good[..good.len() - 1], 69),
        (&good[..half], 35),
        (&good[..head], 0),
        (&good[..head - 1], 0),
        (&good[..3], 0),
        (&[][..], 0),
        (&headless[..], 0),
        (&large[..], 0),
    ] {
        fs::write(&file, bad).unwrap();
        assert_eq!(Ensemble::open(&path, "cpu", None).unwrap().n_members(), left, "{} bytes", bad.len());
        assert_eq!(values(&fit(&config("linear"), 70, Some(&path)).unwrap()), values(&whole));
        assert_eq!(values(&Ensemble::open(&path, "cpu", None).unwrap()), values(&whole));
        for own in named(&path, "member") {
            fs::remove_file(path.join(own)).unwrap();
        }
    }
    let other = folder.join("other");
    fit(&TrainConfig { seed: 5, ..config("linear") }, 70, Some(&other)).unwrap();
    let stranger = &named(&other, "members-")[0];
    fs::copy(other.join(stranger), path.join(stranger)).unwrap();
    assert!(refused(fit(&config("linear"), 70, Some(&path))).contains("another checkpoint"));
    assert!(refused(Ensemble::open(&path, "cpu", None)).contains("not that of its member 0"));
}

#[test]
fn trainings_that_pack_the_same_directory_lose_nothing() {
    let folder = Folder::new();
    let path = folder.join("run");
    let expected = values(&fit(&config("linear"), 600, None).unwrap());
    let one = TrainConfig { n_jobs: Some(1), ..config("linear") };
    let trained = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let count = |progress: &certssb::Progress| {
                    trained.fetch_add(usize::from(!progress.resumed), Ordering::Relaxed);
                };
                let control = Control::new().on_progress(count);
                let data = training_set(30, 8);
                let shared = Ensemble::fit(&data, gaussian(0.5), &one, 600, Some(&path), &control).unwrap();
                assert_eq!(values(&shared), expected);
            });
        }
    });
    assert_eq!(trained.into_inner(), 600, "no member is trained twice");
    assert_eq!(values(&Ensemble::open(&path, "cpu", None).unwrap()), expected);
    assert!(named(&path, "").len() < 80, "{:?}", named(&path, ""));
}

/// Whoever sees the answers of both could choose between them.
#[test]
fn of_two_who_see_answers_of_other_numbers_at_the_same_time_one_has_grown() {
    let folder = Folder::new();
    for round in 0..20 {
        let path = folder.join(&format!("run{round}"));
        let both = [1, 2].map(|n| fit(&config("linear"), n, Some(&path)).unwrap());
        let start = Barrier::new(2);
        std::thread::scope(|scope| {
            for own in &both {
                let (path, start) = (&path, &start);
                scope.spawn(move || {
                    start.wait();
                    own.see(Some(path)).unwrap();
                });
            }
        });
        assert!(both.iter().any(|own| own.history().grown()), "round {round}");
        assert!(Ensemble::open(&path, "cpu", None).unwrap().history().grown());
    }
}

#[test]
fn members_that_are_taken_back_are_taken_out_of_their_shard() {
    let folder = Folder::new();
    let path = folder.join("run");
    let data = training_set(30, 8);
    let first = fit(&config("linear"), 100, Some(&path)).unwrap();
    let mut ensemble = Ensemble::new(&data, gaussian(0.5), &config("linear")).unwrap();
    ensemble.train(&data, 170, Some(&path), &Control::new()).unwrap();
    assert!(named(&path, "members-").len() >= 2);
    ensemble.discard_new(Some(&path)).unwrap();
    assert_eq!(ensemble.n_members(), 100);
    assert_eq!(values(&Ensemble::open(&path, "cpu", None).unwrap()), values(&first));
    let mut mixed = first;
    mixed.discard_new(Some(&path)).unwrap();
    assert_eq!(Ensemble::open(&path, "cpu", None).unwrap().n_members(), 0);
    assert!(named(&path, "member").is_empty());
}

#[test]
fn members_on_disk_answer_as_members_in_memory() {
    let folder = Folder::new();
    let path = folder.join("run");
    let (data, test) = (training_set(30, 8), inputs(20, 8));
    let here = fit(&config("cnn"), 12, None).unwrap();
    let mut there = Ensemble::new(&data, gaussian(0.5), &config("cnn")).unwrap();
    there.keep_on_disk(true);
    there.train(&data, 12, Some(&path), &Control::new()).unwrap();
    assert!(there.members().all(|member| member.values.are_kept() && !member.values.is_empty()));
    assert!(named(&path, "member-").is_empty(), "{:?}", named(&path, ""));
    let ask = |ensemble: &Ensemble| ensemble.votes(&test, &Control::new());
    assert_eq!(ask(&there).unwrap(), ask(&here).unwrap());
    assert_eq!(there.scores(&test, &Control::new()).unwrap(), here.scores(&test, &Control::new()).unwrap());
    assert_eq!(there.digests().unwrap(), here.digests().unwrap());
    assert_eq!(there.parameter(3, "fc1.bias").unwrap(), here.parameter(3, "fc1.bias").unwrap());
    let opened = Ensemble::open_as(&path, "cpu", None, true).unwrap();
    assert!(opened.members().all(|member| member.values.are_kept()));
    assert_eq!(ask(&opened).unwrap(), ask(&here).unwrap());
    opened.save(&folder.join("saved")).unwrap();
    assert_eq!(values(&Ensemble::open(&folder.join("saved"), "cpu", None).unwrap()), values(&here));
    // Damaged after it was trained: said when it is asked, and trained again.
    let file = path.join(&named(&path, "members-")[0]);
    let mut bytes = fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&file, bytes).unwrap();
    let error = ask(&there).unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Checkpoint);
    assert!(error.to_string().contains("its member 11 is gone or damaged"), "{error}");
    there.train(&data, 12, Some(&path), &Control::new()).unwrap();
    assert_eq!(ask(&there).unwrap(), ask(&here).unwrap());
    // Back in memory, and without the directory.
    there.keep_on_disk(false);
    there.train(&data, 12, None, &Control::new()).unwrap();
    fs::remove_dir_all(&path).unwrap();
    assert_eq!(ask(&there).unwrap(), ask(&here).unwrap());
}
