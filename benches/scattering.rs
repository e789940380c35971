//! Scattering on one core, in milliseconds an image: `cargo bench --no-default-features --bench scattering`.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::time::Instant;

use certssb::{Frame, Scattering};
use rayon::ThreadPoolBuilder;

fn main() {
    let alone = ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    // J, angles, channels, side, and what kymatio's torch backend took for such an image on such a core.
    for (scales, angles, channels, side, kymatio) in
        [(2, 8, 1, 28, Some(2.5)), (2, 8, 3, 32, Some(5.3)), (3, 8, 3, 32, None), (3, 8, 3, 224, None)]
    {
        let scattering = Scattering::new(scales, angles, 2, false, false).unwrap();
        let frame = Frame { channels, height: side, width: side };
        let values = channels * side * side;
        let n = (1 << 20) / values;
        let images: Vec<f32> = (0..n * values).map(|i| (i as f32 * 0.37).sin()).collect();
        let mut times: Vec<f64> = (0..6)
            .map(|_| {
                let start = Instant::now();
                std::hint::black_box(alone.install(|| scattering.apply(frame, &images)).unwrap());
                start.elapsed().as_secs_f64() * 1e3 / n as f64
            })
            .collect();
        times.sort_by(f64::total_cmp);
        let ratio = kymatio.map_or(String::new(), |theirs: f64| {
            format!(", kymatio {theirs}: {:.1} times", theirs / times[0])
        });
        println!(
            "J={scales}, {angles} angles, {channels} x {side} x {side}: {:.3} ms (least of 6; median {:.3}){ratio}",
            times[0], times[3]
        );
    }
}
