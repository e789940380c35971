//! Times and memory of the ledger: `cargo bench --no-default-features --bench ledger -- [mnist | fill | all] [N] [folder]`.
//!
//! `mnist`: 10,000 MNIST images through `update_many`, for small, usual and large radii.
//! `fill`: N (1,000,000) regions of dimension 784, then single updates against them; the file is made in `folder`. The
//! regions are of one class and the updates of another, so that every region has to be considered.
//! MNIST is read from `../shared/data/MNIST/raw`; without it, random images of ten clusters stand in.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{Read, Write};
use std::path::Path;
use std::time::Instant;

use certssb::{Ledger, Outcome, Watch};
use ndarray::{s, Array2, ArrayView2};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const PIXELS: usize = 784;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let what = words.first().map_or("mnist", String::as_str);
    let n = words.get(1).map_or(1_000_000, |n| n.parse().expect("N is a number"));
    let folder = words.get(2).map_or_else(std::env::temp_dir, Into::into);
    let (images, labels) = mnist().unwrap_or_else(clusters);
    if what == "mnist" || what == "all" {
        many(&images, &labels, &folder);
    }
    if what == "fill" || what == "all" {
        fill(&images, n, &folder);
    }
}

/// All training images, shape (60000, 784), in [0, 1].
fn mnist() -> Option<(Array2<f32>, Vec<u32>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/MNIST/raw");
    let unpack = |name: &str| {
        let (mut bytes, file) = (Vec::new(), std::fs::File::open(folder.join(name)).ok()?);
        flate2::read::GzDecoder::new(file).read_to_end(&mut bytes).ok().map(|_| bytes)
    };
    let pixels: Vec<f32> =
        unpack("train-images-idx3-ubyte.gz")?[16..].iter().map(|&v| f32::from(v) / 255.0).collect();
    let labels = unpack("train-labels-idx1-ubyte.gz")?[8..].iter().map(|&v| u32::from(v)).collect();
    Array2::from_shape_vec((pixels.len() / PIXELS, PIXELS), pixels).ok().map(|images| (images, labels))
}

fn clusters() -> (Array2<f32>, Vec<u32>) {
    println!("MNIST not found: random clusters instead");
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let means = Array2::from_shape_fn((10, PIXELS), |_| rng.random_range(0.0_f32..1.0));
    let labels: Vec<u32> = (0..60_000).map(|i| i % 10).collect();
    let noisy = |(i, j): (usize, usize)| means[[i % 10, j]] + rng.random_range(-0.3..0.3);
    (Array2::from_shape_fn((60_000, PIXELS), noisy), labels)
}

fn many(images: &Array2<f32>, labels: &[u32], folder: &Path) {
    let n = 10_000;
    for (name, largest) in [("small", 0.5), ("usual", 2.5), ("large", 100.0)] {
        let path = folder.join("ledger-bench-many.sqlite");
        remove(&path);
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let radii: Vec<f64> = (0..n).map(|_| rng.random_range(0.0..largest)).collect();
        let mut ledger = Ledger::open(&path).unwrap();
        let start = Instant::now();
        let entries =
            ledger.update_many(images.slice(s![..n, ..]), &labels[..n], &radii, &mut Watch::new()).unwrap();
        let elapsed = start.elapsed().as_secs_f64();
        let count = |outcome| entries.iter().filter(|e| e.outcome == outcome).count();
        println!(
            "update_many, {n} images, {name} radii (up to {largest}): {elapsed:.2} s; outcomes {:?}; peak memory {} MiB",
            Outcome::ALL.map(count),
            status("VmHWM:")
        );
        let start = Instant::now();
        ledger.verify(&mut Watch::new()).unwrap();
        println!("  verify {:.2} s", start.elapsed().as_secs_f64());
        drop(ledger);
        let start = Instant::now();
        Ledger::open(&path).unwrap();
        println!("  open {:.2} s", start.elapsed().as_secs_f64());
        remove(&path);
    }
}

fn fill(images: &Array2<f32>, n: u64, folder: &Path) {
    let path = folder.join("ledger-bench-fill.sqlite");
    remove(&path);
    let mut ledger = Ledger::open(&path).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let start = Instant::now();
    let mut stored = 0;
    while stored < n {
        let (points, radii) = noisy(images, 10_000, &mut rng);
        ledger.update_many(points.view(), &[0; 10_000], &radii, &mut Watch::new()).unwrap();
        stored = ledger.len().unwrap();
        if stored % 100_000 < 10_000 {
            println!(
                "  {stored} regions after {:.0} s, memory {} MiB",
                start.elapsed().as_secs_f64(),
                status("VmRSS:")
            );
        }
    }
    report(&mut ledger, images, &path);
    drop(ledger);
    let start = Instant::now();
    let mut ledger = Ledger::open(&path).unwrap();
    println!("opened again in {:.1} s", start.elapsed().as_secs_f64());
    report(&mut ledger, images, &path);
    drop(ledger);
    remove(&path);
}

/// Times of single updates.
fn report(ledger: &mut Ledger, images: &Array2<f32>, path: &Path) {
    for (name, largest) in [("small", 0.5), ("usual", 2.5), ("large", 100.0)] {
        let mut rng = ChaCha8Rng::seed_from_u64(ledger.n_updates().unwrap());
        let (points, _) = noisy(images, 50, &mut rng);
        let (mut times, mut bare) = (Vec::new(), Vec::new());
        for point in points.rows() {
            let (point, radius) = (point.to_vec(), rng.random_range(0.0..largest));
            times.push(milliseconds(|| assert!(ledger.update(&point, 1, radius).is_ok())));
            bare.push(milliseconds(|| write_4_kib(&path.with_extension("bare"))));
        }
        times.sort_by(f64::total_cmp);
        bare.sort_by(f64::total_cmp);
        println!(
            "one update against {} regions, {name} radii: median {:.1} ms, 90 % {:.1} ms, longest {:.1} ms \
             (the disk takes {:.1}, {:.1} and {:.1} ms for 4 KiB alone); memory {} MiB \
             (peak {} MiB), file {} MiB",
            ledger.len().unwrap(),
            times[25],
            times[45],
            times[49],
            bare[25],
            bare[45],
            bare[49],
            status("VmRSS:"),
            status("VmHWM:"),
            std::fs::metadata(path).unwrap().len() >> 20
        );
    }
}

fn milliseconds(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64() * 1e3
}

/// What every durable update has to wait for at least.
fn write_4_kib(path: &Path) {
    let mut file = std::fs::File::create(path).unwrap();
    file.write_all(&[0; 4096]).unwrap();
    file.sync_data().unwrap();
    std::fs::remove_file(path).unwrap();
}

/// Images with noise of size 0.1, so that no two are alike, and radii up to 2.5.
fn noisy(images: &Array2<f32>, n: usize, rng: &mut impl Rng) -> (Array2<f32>, Vec<f64>) {
    let mut points = Array2::zeros((n, PIXELS));
    for mut row in points.rows_mut() {
        let at = rng.random_range(0..images.nrows());
        let image: ArrayView2<f32> = images.slice(s![at..=at, ..]);
        row.iter_mut().zip(&image).for_each(|(to, from)| *to = from + rng.random_range(-0.17_f32..0.17));
    }
    (points, (0..n).map(|_| rng.random_range(0.0..2.5)).collect())
}

fn remove(path: &Path) {
    for end in ["", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        let _ = std::fs::remove_file(name);
    }
}

/// MiB from a line of /proc/self/status; 0 where there is none.
fn status(line: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let value =
        text.lines().find_map(|l| l.strip_prefix(line)?.split_whitespace().next()?.parse::<u64>().ok());
    value.unwrap_or(0) / 1024
}
