//! Trains members on MNIST digits 0 and 1 and prints time, accuracy and peak memory.
//!
//! `cargo run --release --features torch --example members -- MNIST_RAW [model] [members] [epochs] [subsample] [jobs] [stack]`
//! where MNIST_RAW holds the four unzipped idx files and a subsample of 0 means the whole set.

use std::path::Path;
use std::time::Instant;

use certssb::{
    ArrayInputs, ArrayTrainingSet, Control, Ensemble, Error, FeatureShape, Gaussian, Law, Result, Subsample,
    TrainConfig,
};

const IMAGE: FeatureShape = FeatureShape::Image { channels: 1, height: 28, width: 28 };

fn read(folder: &Path, name: &str, header: usize) -> Result<Vec<u8>> {
    let path = folder.join(name);
    let bytes = std::fs::read(&path).map_err(|e| Error::parameter("MNIST_RAW", path.display(), e))?;
    Ok(bytes.get(header..).unwrap_or_default().to_vec())
}

/// Zeros and ones of one half of MNIST, pixels in [0, 1].
fn zeros_and_ones(folder: &Path, half: &str) -> Result<(Vec<f32>, Vec<u32>)> {
    let pixels = read(folder, &format!("{half}-images-idx3-ubyte"), 16)?;
    let labels = read(folder, &format!("{half}-labels-idx1-ubyte"), 8)?;
    let kept = pixels.chunks_exact(784).zip(&labels).filter(|(_, label)| **label < 2);
    let (images, labels): (Vec<&[u8]>, Vec<u32>) =
        kept.map(|(image, label)| (image, u32::from(*label))).unzip();
    Ok((images.concat().iter().map(|pixel| f32::from(*pixel) / 255.0).collect(), labels))
}

/// Peak resident memory in MB, where /proc tells.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib / 1024)
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let text =
        |place: usize, default: &str| arguments.get(place).cloned().unwrap_or_else(|| default.to_owned());
    let number = |place: usize, default: usize| text(place, &default.to_string()).parse().unwrap_or(default);
    let folder = text(0, "MNIST/raw");
    let (features, labels) = zeros_and_ones(Path::new(&folder), "train")?;
    let (test, truth) = zeros_and_ones(Path::new(&folder), "t10k")?;
    let data = ArrayTrainingSet::new(ArrayInputs::new(features, IMAGE)?, labels, 2)?;
    let gaussian = Law::Gaussian(Gaussian::new(0.5)?);
    let law = match number(4, 0) {
        0 => gaussian,
        size => Law::Subsample(Subsample::new(Some(gaussian), size)?),
    };
    let jobs = Some(number(5, 0)).filter(|jobs| *jobs > 0);
    let stack = Some(number(6, 0)).filter(|stack| *stack > 0);
    let config = TrainConfig {
        model: text(1, "cnn"),
        epochs: number(3, 1),
        n_jobs: jobs,
        stack,
        device: "cpu".to_owned(),
        ..TrainConfig::default()
    };
    let members = number(2, 2);
    let begun = Instant::now();
    let ensemble = Ensemble::fit(&data, law, &config, members as u64, None, &Control::new())?;
    let trained = begun.elapsed().as_secs_f64();
    let begun = Instant::now();
    let votes = ensemble.votes(&ArrayInputs::new(test, IMAGE)?, &Control::new())?;
    let voted = begun.elapsed().as_secs_f64();
    let right = votes.indexed_iter().filter(|((_, i), vote)| u32::from(**vote) == truth[*i]).count();
    println!(
        "{} members, {} epochs: trained in {trained:.2} s ({:.4} s a member), voted in {voted:.2} s, members' \
         accuracy {:.4}, peak memory {} MB",
        members,
        config.epochs,
        trained / members as f64,
        right as f64 / votes.len() as f64,
        peak_memory().unwrap_or(0)
    );
    Ok(())
}
