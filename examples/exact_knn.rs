//! Time and rounding of the exact 1-NN certificate on two digits of MNIST and on spambase.
//!
//! `cargo run --release --no-default-features --example exact_knn -- ROOT [N_TEST]`, where ROOT holds
//! `MNIST/raw/*.gz` as torchvision lays it out, and `spambase.data`.

use std::error::Error;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::Instant;

use certssb::{CertifiedKnn, KnnCertificate};
use flate2::read::GzDecoder;
use ndarray::{s, Array2, ArrayView1};

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

/// Every fifth mail is a test point, as are 20 % in the literature; features as they come.
fn spambase(root: &Path) -> Outcome<[(Array2<f32>, Vec<u32>); 2]> {
    let mut parts = [(Vec::new(), Vec::new()), (Vec::new(), Vec::new())];
    for (i, line) in std::fs::read_to_string(root.join("spambase.data"))?.lines().enumerate() {
        let values: Vec<f32> = line.split(',').map(str::parse).collect::<Result<_, _>>()?;
        let (features, labels) = &mut parts[usize::from(i % 5 == 4)];
        features.extend_from_slice(&values[..57]);
        labels.push(values[57] as u32);
    }
    let [train, test] = parts.map(|(x, y)| Array2::from_shape_vec((y.len(), 57), x).map(|x| (x, y)));
    Ok([train?, test?])
}

fn report(
    name: &str,
    [(train, labels), (test, truth)]: &[(Array2<f32>, Vec<u32>); 2],
    limit: usize,
) -> Outcome<()> {
    let n_test = limit.min(truth.len());
    for sigma in [0.5, 1.0, 2.0] {
        let knn = CertifiedKnn::new(sigma)?.fit(train.view(), labels, 2)?;
        let start = Instant::now();
        knn.certify(test.slice(s![..1, ..]))?;
        let first = start.elapsed().as_secs_f64();
        let start = Instant::now();
        let certificates = knn.certify(test.slice(s![..n_test, ..]))?;
        let each = start.elapsed().as_secs_f64() / n_test as f64;
        let probabilities = knn.probabilities(test.slice(s![..n_test, ..]))?;
        let rounding = |(c, p): (&KnnCertificate, ArrayView1<f64>)| p[c.class as usize] - c.p_lower;
        let widest = certificates.iter().zip(probabilities.outer_iter()).map(rounding).fold(0.0, f64::max);
        let balance = probabilities.outer_iter().map(|p| (p.sum() - 1.0).abs()).fold(0.0, f64::max);
        let correct = certificates.iter().zip(truth).filter(|(c, t)| c.class == **t).count();
        println!(
            "{name}, sigma {sigma}: {:.2} ms a test point ({:.0} ms for the first), {correct} of {n_test} correct, \
             p - p_lower at most {widest:.1e}, sum of probabilities off by at most {balance:.1e}",
            1e3 * each,
            1e3 * first,
        );
    }
    Ok(())
}

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let root = Path::new(arguments.get(1).ok_or("usage: exact_knn ROOT [N_TEST]")?);
    let limit = arguments.get(2).map_or(Ok(usize::MAX), |n| n.parse())?;
    report("MNIST 0/1", &[zeros_and_ones(root, "train")?, zeros_and_ones(root, "t10k")?], limit)?;
    report("spambase", &spambase(root)?, limit)
}
