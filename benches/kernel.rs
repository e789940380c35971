//! Steps of the built-in networks on one core: milliseconds, and operations a second. Members in closed form.
#![allow(missing_docs)]

use std::hint::black_box;
use std::time::Instant;

use certssb::kernel::{discriminant, Adam, Network, Workspace};

fn main() {
    let cnn = Network::convolutional((1, 28, 28), &[16, 32], 5, 0, &[512, 2]);
    let colour = Network::convolutional((3, 32, 32), &[16, 32], 5, 0, &[512, 2]);
    let cases = [
        ("cnn 28x28", cnn, 784, 128, 7.4e6),
        ("cnn 3x32x32", colour, 3072, 128, 24.4e6),
        ("linear 784", Network::dense(&[784, 2]), 784, 100, 6.3e3),
        ("mlp 784", Network::dense(&[784, 256, 128, 2]), 784, 128, 6.0 * (784.0 * 256.0 + 256.0 * 128.0)),
    ];
    for (name, network, n_features, batch, operations) in cases {
        let x: Vec<f32> = (0..batch * n_features).map(|i| (i as f32 * 0.37).sin()).collect();
        let rows: Vec<&[f32]> = x.chunks(n_features).collect();
        let labels: Vec<usize> = (0..batch).map(|i| i % 2).collect();
        let mut values: Vec<f32> = (0..network.n_values()).map(|i| (i as f32 * 0.7).sin() * 0.05).collect();
        let (mut adam, mut work) = (Adam::new(values.len(), 1e-5), Workspace::default());
        let (mut steps, mut optimiser) = (Vec::new(), Vec::new());
        for _ in 0..60 {
            let start = Instant::now();
            let (_, gradient) = black_box(network.gradient(&values, &rows, &labels, &mut work));
            let middle = Instant::now();
            adam.step(&mut values, gradient);
            steps.push((middle - start).as_secs_f64());
            optimiser.push(middle.elapsed().as_secs_f64());
        }
        let median = |times: &mut Vec<f64>| {
            times.sort_by(f64::total_cmp);
            times[times.len() / 2]
        };
        let (step, optimiser) = (median(&mut steps), median(&mut optimiser));
        let speed = operations * batch as f64 / step / 1e9;
        println!(
            "{name}, batch {batch}: {:.3} ms and Adam {:.3} ms; {speed:.1} thousand million operations a second",
            1e3 * step,
            1e3 * optimiser
        );
    }
    for n in [50, 500, 783, 784, 1000, 5000] {
        let x: Vec<f32> = (0..n * 784).map(|i| (i as f32 * 0.37).sin()).collect();
        let rows: Vec<&[f32]> = x.chunks(784).collect();
        let labels: Vec<usize> = (0..n).map(|i| i % 10).collect();
        let mut times: Vec<f64> = (0..7)
            .map(|_| {
                let start = Instant::now();
                black_box(discriminant(&rows, &labels, 10, 1.0, || true));
                start.elapsed().as_secs_f64()
            })
            .collect();
        times.sort_by(f64::total_cmp);
        println!("discriminant, {n} samples of 784 features, 10 classes: {:.2} ms", 1e3 * times[3]);
    }
}
