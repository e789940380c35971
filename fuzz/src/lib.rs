//! What is held of files and arrays whatever is in them: no panic, and a named error or the answers of what was written.
//!
//! Ledgers and checkpoints are files of which a fuzzer that begins with nothing would never find one: what it makes up are
//! changes of a sound one, two bytes for a place and one to be put there.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use certssb::{
    ArrayInputs, ArrayTrainingSet, Control, DataFacts, Ensemble, FeatureShape, Gaussian, Law, Ledger,
    NoiseLaw, Poll, Subsample, TrainConfig, Watch,
};
use ndarray::Array2;

/// A ledger whose bytes were changed answers as it did, or refuses.
pub fn ledger(data: &[u8]) {
    static SOUND: OnceLock<(Vec<u8>, String)> = OnceLock::new();
    let (bytes, answers) = SOUND.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger");
        let mut ledger = Ledger::open(&path).unwrap();
        for number in 0..12_u8 {
            let x = [f32::from(number % 4), f32::from(number / 4), 0.25];
            ledger.update(&x, u32::from(number % 3), 0.75).unwrap();
        }
        let answers = said(&mut ledger).unwrap();
        drop(ledger);
        (fs::read(&path).unwrap(), answers)
    });
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger");
    fs::write(&path, changed(bytes, data)).unwrap();
    if let Ok(mut ledger) = Ledger::open(&path) {
        if let Some(now) = said(&mut ledger) {
            assert_eq!(&now, answers, "a changed ledger gave other answers");
        }
    }
}

/// Everything that a ledger says; nothing if it refuses.
fn said(ledger: &mut Ledger) -> Option<String> {
    let report = ledger.verify(&mut Watch::new()).ok()?;
    let records = ledger.records(0, 100).ok()?;
    let claim = ledger.query(&[1.0, 1.0, 0.25]).ok()?;
    Some(format!("{report:?} {records:?} {claim:?}"))
}

/// A checkpoint one of whose files was changed has the members that it had, or fewer, or refuses.
pub fn checkpoint(data: &[u8]) {
    type Sound = (Vec<(String, Vec<u8>)>, Vec<Vec<f32>>);
    static SOUND: OnceLock<Sound> = OnceLock::new();
    let (files, members) = SOUND.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let ensemble = trained(folder.path());
        let mut files: Vec<(String, Vec<u8>)> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap())
            .filter(|entry| entry.file_type().unwrap().is_file())
            .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
            .collect();
        files.sort();
        (files, values(&ensemble))
    });
    let (&which, data) = data.split_first().unwrap_or((&0, &[]));
    let folder = tempfile::tempdir().unwrap();
    for (place, (name, bytes)) in files.iter().enumerate() {
        let mine = place == usize::from(which) % files.len();
        fs::write(folder.path().join(name), if mine { changed(bytes, data) } else { bytes.clone() }).unwrap();
    }
    if let Ok(ensemble) = Ensemble::open(folder.path(), "cpu", Some(1)) {
        for member in values(&ensemble) {
            assert!(members.contains(&member), "a changed checkpoint has another member");
        }
    }
}

fn trained(folder: &Path) -> Ensemble {
    let features: Vec<f32> = (0..40).map(|i| (i % 7) as f32 / 7.0).collect();
    let inputs = ArrayInputs::new(features, FeatureShape::Flat(4)).unwrap();
    let data = ArrayTrainingSet::new(inputs, (0..10_u32).map(|i| i % 2).collect::<Vec<u32>>(), 2).unwrap();
    let law = Law::Subsample(Subsample::new(Some(Law::Gaussian(Gaussian::new(0.5).unwrap())), 5).unwrap());
    let config = TrainConfig {
        model: "linear".to_owned(),
        epochs: 1,
        seed: 7,
        device: "cpu".to_owned(),
        n_jobs: Some(1),
        ..TrainConfig::default()
    };
    Ensemble::fit(&data, law, &config, 2, Some(folder), &Control::new()).unwrap()
}

fn values(ensemble: &Ensemble) -> Vec<Vec<f32>> {
    ensemble.members().map(|member| member.values.to_vec()).collect()
}

/// Votes are counted once each, or refused.
pub fn votes(data: &[u8]) {
    let Some((&[members, classes], votes)) = data.split_first_chunk() else { return };
    let members = usize::from(members).max(1);
    let samples = votes.len() / members;
    let votes = &votes[..members * samples];
    let array = Array2::from_shape_vec((members, samples), votes.to_vec()).unwrap();
    let known = votes.iter().all(|vote| *vote < classes);
    match Poll::new(array.view(), usize::from(classes)).and_then(|poll| poll.count(0)) {
        Ok(counts) => {
            assert!(known, "votes for a class that is not there were counted");
            for (sample, sums) in counts.tally().sums().rows().into_iter().enumerate() {
                let of = |class: usize| {
                    votes.iter().skip(sample).step_by(samples).filter(|v| usize::from(**v) == class).count()
                };
                assert!(
                    sums.iter().enumerate().all(|(class, sum)| *sum == of(class) as f64),
                    "{sums} of sample {sample}"
                );
            }
        }
        Err(_) => assert!(!known || samples == 0 || classes < 2, "sound votes were refused"),
    }
}

/// A law from a record draws and says what it is, or is refused.
pub fn law(data: &[u8]) {
    let Ok(law) = serde_json::from_slice::<Law>(data) else { return };
    let facts = DataFacts { n_train: 20, n_features: Some(3), n_classes: 2 };
    assert!(!law.describe().is_empty());
    if law.check(&facts).is_ok() {
        let change = certssb::Change { n_poisoned: 2, trigger_norm: 0.5, labels: false };
        if let Ok(ratio) = law.likelihood(change, &facts) {
            let worst = ratio.worst_lower(0.9);
            assert!((0.0..=0.9).contains(&worst), "{worst}");
        }
    }
}

/// The bytes with changes: two bytes for each place, one for what is put there.
fn changed(bytes: &[u8], data: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for change in data.chunks_exact(3) {
        let place = usize::from(u16::from_le_bytes([change[0], change[1]])) % bytes.len();
        bytes[place] = change[2];
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_corpus_is_held() {
        let targets: [(&str, fn(&[u8])); 4] =
            [("checkpoint", checkpoint), ("law", law), ("ledger", ledger), ("votes", votes)];
        for (name, target) in targets {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
            let mut n = 0;
            for entry in fs::read_dir(folder).unwrap() {
                target(&fs::read(entry.unwrap().path()).unwrap());
                n += 1;
            }
            assert!(n >= 3, "{name}");
        }
    }
}
