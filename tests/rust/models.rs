//! Built-in architectures: sizes, names, shapes they refuse.

use certssb::{by_name, Control, Ensemble, ErrorKind, FeatureShape, ParameterKind, TrainConfig};

use crate::support::{config, gaussian, training_set};

fn image(channels: usize, height: usize, width: usize) -> FeatureShape {
    FeatureShape::Image { channels, height, width }
}

fn n_trained(name: &str, shape: FeatureShape, k: usize) -> usize {
    by_name(name, shape, k).unwrap().layout().n_values_of(ParameterKind::Trained)
}

#[test]
fn sizes_are_those_of_the_literature() {
    assert_eq!(n_trained("linear", FeatureShape::Flat(57), 3), 57 * 3 + 3);
    assert_eq!(n_trained("mlp", FeatureShape::Flat(10), 2), 11 * 256 + 257 * 128 + 129 * 2);
    // conv16 5x5, conv32 5x5, 28 -> 24 -> 12 -> 8 -> 4, fc 512, fc 2.
    let mnist = 16 * 26 + 32 * (16 * 25 + 1) + 512 * (32 * 16 + 1) + 2 * 513;
    assert_eq!(n_trained("cnn", image(1, 28, 28), 2), mnist);
    // 32x32 colour: 32 -> 28 -> 14 -> 10 -> 5.
    let cifar = 16 * 76 + 32 * 401 + 512 * (32 * 25 + 1) + 10 * 513;
    assert_eq!(n_trained("cnn", image(3, 32, 32), 10), cifar);
    // 8x8 digits: padded 3x3 kernels, 8 -> 4 -> 2.
    let digits = 16 * 10 + 32 * 145 + 512 * (32 * 4 + 1) + 10 * 513;
    assert_eq!(n_trained("cnn", image(1, 8, 8), 10), digits);
    // ResNet-32: 464,154 parameters with zero-padded shortcuts (He et al. 2016 give 0.46M); two
    // projections and pre-activation norms change that a little.
    let resnet = n_trained("resnet", image(3, 32, 32), 10);
    assert!((460_000..470_000).contains(&resnet), "{resnet}");
}

#[test]
fn images_too_small_and_flat_features_are_shape_errors() {
    for (name, shape) in
        [("cnn", image(1, 3, 9)), ("cnn", FeatureShape::Flat(64)), ("resnet", FeatureShape::Flat(64))]
    {
        let error = by_name(name, shape, 2).unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::Shape, "{name} {shape}");
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[test]
fn every_image_size_from_four_pixels_on_can_be_trained() {
    for size in [4, 5, 7, 15, 16, 17, 28] {
        let config = TrainConfig { epochs: 1, ..config("cnn") };
        let ensemble =
            Ensemble::fit(&training_set(4, size), gaussian(0.1), &config, 1, None, &Control::new()).unwrap();
        assert_eq!(ensemble.n_members(), 1, "{size}");
    }
}

#[test]
fn parameters_are_found_by_stable_names() {
    let ensemble =
        Ensemble::fit(&training_set(8, 8), gaussian(0.1), &config("cnn"), 2, None, &Control::new()).unwrap();
    let (shape, values) = ensemble.parameter(1, "conv2.weight").unwrap().unwrap();
    assert_eq!((shape.as_slice(), values.len()), (&[32, 16, 3, 3][..], 32 * 16 * 9));
    assert!(
        ensemble.parameter(2, "conv2.weight").unwrap().is_none()
            && ensemble.parameter(1, "conv3.weight").unwrap().is_none()
    );
    let names: Vec<_> = ensemble.layout().specs().iter().map(|s| s.name.clone()).collect();
    assert_eq!(
        names,
        [
            "conv1.weight",
            "conv1.bias",
            "conv2.weight",
            "conv2.bias",
            "fc1.weight",
            "fc1.bias",
            "fc2.weight",
            "fc2.bias"
        ]
    );
}
