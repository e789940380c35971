//! Changes that can be said in other words, and independence of batches and threads.
#![allow(clippy::unwrap_used)]

use super::*;

const FRAME: Frame = Frame { channels: 2, height: 7, width: 5 };

fn images(n: usize) -> Vec<f32> {
    let mut values = vec![0.0; n * FRAME.len()];
    crate::noise::add_normals(&Seed::new(1).member(Role::Noise, 0), 0, 1.0, &mut values);
    values[0] = -0.0;
    values
}

fn changed(step: &Augmentation, seed: u64, first: u64, mut values: Vec<f32>) -> Vec<f32> {
    step.apply(Seed::new(seed), 0, first, FRAME, &mut values).unwrap();
    values
}

fn affine(angle: f64) -> Augmentation {
    let (translate, scale, shear) = ([0.0; 2], [1.0; 2], [0.0; 2]);
    Augmentation::Affine { angle: [angle; 2], translate, scale, shear, fill: 9.0 }
}

fn everything() -> Augmentation {
    let affine = Augmentation::Affine {
        angle: [-20.0, 30.0],
        translate: [0.1, 0.2],
        scale: [0.8, 1.2],
        shear: [-10.0, 10.0],
        fill: 0.5,
    };
    let steps = vec![
        Augmentation::Shift { pixels: [2, 1], fill: 0.0 },
        Augmentation::Flip { horizontal: 0.5, vertical: 0.5 },
        affine,
        Augmentation::Elastic { alpha: 0.7, sigma: 1.5, fill: 0.0 },
    ];
    Augmentation::Compose { steps }
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

#[test]
fn identity_parameters_change_no_bit() {
    let steps = vec![
        Augmentation::Shift { pixels: [0, 0], fill: 9.0 },
        Augmentation::Flip { horizontal: 0.0, vertical: 0.0 },
        affine(0.0),
        affine(360.0),
        Augmentation::Elastic { alpha: 0.0, sigma: 2.0, fill: 9.0 },
        Augmentation::Compose { steps: vec![] },
    ];
    for step in &steps {
        assert_eq!(bits(&changed(step, 3, 0, images(4))), bits(&images(4)), "{step:?}");
    }
    assert_eq!(bits(&changed(&Augmentation::Compose { steps }, 3, 0, images(4))), bits(&images(4)));
}

#[test]
fn flips_are_involutions_and_mirror() {
    for (horizontal, vertical) in [(1.0, 0.0), (0.0, 1.0), (1.0, 1.0)] {
        let flip = Augmentation::Flip { horizontal, vertical };
        let once = changed(&flip, 0, 0, images(3));
        let from = |r: usize, c: usize| {
            let r = if vertical == 1.0 { FRAME.height - 1 - r } else { r };
            r * FRAME.width + if horizontal == 1.0 { FRAME.width - 1 - c } else { c }
        };
        for (new, old) in once.chunks(FRAME.plane()).zip(images(3).chunks(FRAME.plane())) {
            for r in 0..FRAME.height {
                for c in 0..FRAME.width {
                    assert_eq!(new[r * FRAME.width + c], old[from(r, c)]);
                }
            }
        }
        assert_eq!(bits(&changed(&flip, 5, 0, once)), bits(&images(3)));
    }
}

#[test]
fn a_shift_is_a_slice_and_every_shift_comes() {
    let shift = Augmentation::Shift { pixels: [1, 6], fill: 9.0 };
    let old = images(1);
    let mut seen = std::collections::HashSet::new();
    for seed in 0..600 {
        let new = changed(&shift, seed, 0, old.clone());
        let mut rng = Seed::new(seed).stream(Role::Augment, 0, 0);
        let (down, right) = (whole(&mut rng, 1), whole(&mut rng, 6));
        seen.insert((down, right));
        for (at, value) in new.iter().enumerate() {
            let (plane, r, c) = (at / 35, (at % 35 / 5) as i64 - down, (at % 5) as i64 - right);
            let inside = (0..7).contains(&r) && (0..5).contains(&c);
            let expected = if inside { old[plane * 35 + (r * 5 + c) as usize] } else { 9.0 };
            assert_eq!(*value, expected, "{down} {right}");
        }
    }
    assert_eq!(seen.len(), 3 * 13);
}

#[test]
fn a_quarter_turn_is_counterclockwise_and_exact() {
    let frame = Frame { channels: 1, height: 4, width: 4 };
    for quarters in 0..4 {
        let mut values: Vec<f64> = (0..16).map(f64::from).collect();
        let mut expected = values.clone();
        for _ in 0..quarters {
            // The first row of a counterclockwise quarter turn is the last column.
            expected = (0..16).map(|at| expected[(at % 4) * 4 + 3 - at / 4]).collect();
        }
        let angle = 90.0 * f64::from(quarters);
        affine(angle).apply(Seed::new(0), 0, 0, frame, &mut values).unwrap();
        assert_eq!(values, expected, "{angle}");
        let mut values: Vec<f64> = (0..16).map(f64::from).collect();
        affine(angle - 360.0).apply(Seed::new(0), 0, 0, frame, &mut values).unwrap();
        assert_eq!(values, expected, "{angle} - 360");
    }
}

#[test]
fn displacements_have_the_stated_deviation_also_at_the_edge() {
    let frame = Frame { channels: 1, height: 12, width: 9 };
    let (mut field, n) = (elastic::Field::default(), 4000);
    let mut squares = [vec![0.0; frame.plane()], vec![0.0; frame.plane()]];
    let mut neighbours = 0.0;
    for seed in 0..n {
        field.draw(&Seed::new(seed).member(Role::Displacement, 0), frame, 1.5, 2.0);
        for (sum, values) in squares.iter_mut().zip(field.displacements()) {
            sum.iter_mut().zip(values).for_each(|(s, &v)| *s += f64::from(v * v));
        }
        let down = field.displacements()[0];
        neighbours += f64::from(down[0] * down[1]);
    }
    // A variance of n normals has the relative deviation sqrt(2/n) = 0.022: five of them.
    for sum in squares.iter().flatten() {
        assert!((sum / n as f64 / 2.25 - 1.0).abs() < 0.112, "{sum}");
    }
    // Neighbours of a field of width sigma: exp(-1 / 4 sigma^2) = 0.94.
    assert!((neighbours / n as f64 / 2.25 - 0.94).abs() < 0.112, "{neighbours}");
}

#[test]
fn neither_batches_nor_threads_matter() {
    let step = everything();
    let n = 1000; // enough for the pool
    assert!(n * FRAME.len() > SMALL);
    let whole = changed(&step, 11, 5, images(n));
    let len = FRAME.len();
    for size in [1, 7, 999] {
        let mut parts = Vec::new();
        for (number, part) in images(n).chunks(size * len).enumerate() {
            parts.extend(changed(&step, 11, 5 + (number * size) as u64, part.to_vec()));
        }
        assert_eq!(bits(&parts), bits(&whole), "{size}");
    }
    for threads in [1, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        assert_eq!(bits(&pool.install(|| changed(&step, 11, 5, images(n)))), bits(&whole), "{threads}");
    }
    assert_ne!(bits(&changed(&step, 12, 5, images(n))), bits(&whole));
    assert_ne!(bits(&changed(&step, 11, 6, images(n))), bits(&whole));
}

#[test]
fn the_largest_floats_stay_finite() {
    let mut values = images(20);
    values.iter_mut().for_each(|v| *v = f32::MAX.copysign(*v));
    assert!(changed(&everything(), 0, 0, values).iter().all(|v| v.is_finite()));
}

#[test]
fn descriptions_come_back_and_bad_ones_are_refused() {
    let text = serde_json::to_string(&everything()).unwrap();
    assert_eq!(Augmentation::from_json(&text).unwrap(), everything());
    let deep = (0..20).fold(everything(), |step, _| Augmentation::Compose { steps: vec![step] });
    let deep = serde_json::to_string(&deep).unwrap();
    let bad = [
        ("augment", r#"{"kind": "turn"}"#),
        ("augment", r#"{"kind": "flip", "horizontal": 0.5, "vertical": 0, "more": 1}"#),
        ("augment", r#"{"kind": "shift", "pixels": [-1, 0], "fill": 0}"#),
        ("pixels", r#"{"kind": "shift", "pixels": [4000000000, 0], "fill": 0}"#),
        ("fill", r#"{"kind": "shift", "pixels": [1, 0], "fill": 1e39}"#),
        ("horizontal", r#"{"kind": "flip", "horizontal": 1.5, "vertical": 0}"#),
        ("sigma", r#"{"kind": "elastic", "alpha": 1, "sigma": 1e9, "fill": 0}"#),
        ("steps", &deep),
    ];
    for (name, text) in bad {
        let error = Augmentation::from_json(text).unwrap_err().to_string();
        assert!(error.starts_with(&format!("The '{name}' parameter")), "{error}");
    }
}

fn batch(member: u64, first: u64) -> Place {
    Place { seed: Seed::new(3), member, first, frame: Frame { channels: 1, height: 5, width: 4 } }
}

#[test]
fn what_becomes_of_a_sample_depends_on_its_place_and_on_no_batch() {
    let augment = Augment::from(
        Augmentation::from_json(r#"{"kind": "elastic", "alpha": 1.0, "sigma": 1.5, "fill": 0.0}"#).unwrap(),
    );
    let images: Vec<f32> = (0..140).map(|value| (value as f32 * 0.7).sin()).collect();
    let changed = |member, first, images: &[f32]| {
        let mut rows = images.to_vec();
        augment.change(batch(member, first), &mut rows).unwrap();
        rows
    };
    let whole = changed(2, 10, &images);
    assert_eq!(whole[60..], changed(2, 13, &images[60..]), "parts");
    assert_ne!(whole, images, "something happens");
    assert_ne!(whole, changed(2, 17, &images), "another pass");
    assert_ne!(whole, changed(1, 10, &images), "another member");
    assert!(augment.change(batch(0, 0), &mut [0.0; 7]).is_err());
}

#[test]
fn records_keep_a_built_in_whole_and_a_callable_in_words() {
    let text = r#"{"kind":"flip","horizontal":0.5,"vertical":0.0}"#;
    let known: Recorded = serde_json::from_str(text).unwrap();
    assert_eq!(known, Recorded::BuiltIn(Augmentation::from_json(text).unwrap()));
    assert_eq!(serde_json::to_string(&known).unwrap(), text);
    let own: Recorded = serde_json::from_str("\"mixed 12ab\"").unwrap();
    let remembered = Augment::of_record(own.clone());
    assert_eq!((remembered.recorded(), remembered == Augment::of_record(known.clone())), (&own, false));
    let error = remembered.change(batch(0, 0), &mut [0.0; 20]).unwrap_err().to_string();
    assert!(error.contains("'augment'") && error.contains("'mixed 12ab'"), "{error}");
    assert!(remembered.check(false).is_ok(), "a callable may know what to do with tables");
    assert!(Augment::of_record(known).check(false).unwrap_err().to_string().contains("'augment'"));
    let outside = r#"{"kind":"flip","horizontal":1.5,"vertical":0.0}"#;
    let outside: Recorded = serde_json::from_str(outside).unwrap();
    assert!(Augment::of_record(outside).check(true).is_err(), "a record from a file is checked");
}
