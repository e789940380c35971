//! Time and certified accuracy of the exact 1-NN certificate on two digits of MNIST.
//!
//! `cargo run --release --no-default-features --example knn_mnist -- ROOT [N_TEST]`, where ROOT holds
//! `MNIST/raw/*.gz` as torchvision lays it out.

use std::error::Error;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::Instant;

use certssb::CertifiedKnn;
use flate2::read::GzDecoder;
use ndarray::{s, Array2};

type Outcome<T> = Result<T, Box<dyn Error>>;

fn read(path: &Path) -> Outcome<Vec<u8>> {
    let mut bytes = Vec::new();
    GzDecoder::new(File::open(path)?).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Digits 0 and 1 of one split, scaled to [0, 1], and their labels.
fn zeros_and_ones(root: &Path, split: &str) -> Outcome<(Array2<f32>, Vec<u32>)> {
    let images = read(&root.join(format!("MNIST/raw/{split}-images-idx3-ubyte.gz")))?;
    let labels = read(&root.join(format!("MNIST/raw/{split}-labels-idx1-ubyte.gz")))?;
    let digits = images[16..].chunks_exact(784).zip(&labels[8..]).filter(|(_, label)| **label < 2);
    let (pixels, labels): (Vec<&[u8]>, Vec<u32>) = digits.map(|(p, &l)| (p, u32::from(l))).unzip();
    let values = pixels.concat().into_iter().map(|p| f32::from(p) / 255.0).collect();
    Ok((Array2::from_shape_vec((labels.len(), 784), values)?, labels))
}

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let root = arguments.get(1).ok_or("usage: knn_mnist ROOT [N_TEST]")?;
    let (train, labels) = zeros_and_ones(Path::new(root), "train")?;
    let (test, truth) = zeros_and_ones(Path::new(root), "t10k")?;
    let n_test = arguments.get(2).map_or(Ok(truth.len()), |n| n.parse())?.min(truth.len());
    for sigma in [0.5, 1.0, 2.0] {
        let knn = CertifiedKnn::new(sigma)?.fit(train.view(), &labels, 2)?;
        let start = Instant::now();
        knn.certify(test.slice(s![..1, ..]))?;
        let first = start.elapsed().as_secs_f64();
        let start = Instant::now();
        let certificates = knn.certify(test.slice(s![..n_test, ..]))?;
        let each = start.elapsed().as_secs_f64() / n_test as f64;
        let correct = certificates.iter().zip(&truth).filter(|(c, t)| c.class == **t).count();
        let widest = certificates.iter().map(|c| c.one_minus_p_lower).fold(0.0, f64::max);
        let gap = certificates.iter().map(|c| (c.p_upper - c.one_minus_p_lower).abs()).fold(0.0, f64::max);
        println!(
            "sigma {sigma}: {:.2} ms a test point ({:.0} ms for the first), {correct} of {n_test} correct, \
             largest 1 - p {widest:.3e}, {gap:.1e}",
            1e3 * each,
            1e3 * first,
        );
    }
    Ok(())
}
