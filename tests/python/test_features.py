import numpy as np
import pytest

import certssb as cs
from certssb.features import AveragePool, Cosine

MAPS = [Cosine(1), Cosine(5), Cosine(8), AveragePool(1), AveragePool(2), AveragePool(3)]


def l2(changes):
    return np.sqrt((changes.reshape(len(changes), -1) ** 2).sum(axis=1))


@pytest.mark.parametrize("feature_map", MAPS, ids=repr)
def test_no_change_is_lengthened(feature_map):
    rng = np.random.default_rng(0)
    X = rng.random((200, 2, 8, 8), dtype=np.float32)
    # Changes of single pixels, of whole images, and along the map's own directions, where it is tight.
    spikes = np.eye(64, dtype=np.float32).reshape(64, 1, 8, 8).repeat(2, axis=1)
    for delta in (
        rng.standard_normal((200, 2, 8, 8)).astype(np.float32),
        spikes,
        np.ones((3, 2, 8, 8), np.float32),
    ):
        base = X[: len(delta)]
        moved = np.float64(feature_map(base + delta)) - feature_map(base)
        real = np.float64(base + delta) - base
        assert (l2(moved) <= l2(real) + 1e-5).all()


def test_the_whole_cosine_transform_keeps_distances():
    X = np.random.default_rng(1).random((20, 1, 8, 8), dtype=np.float32)
    Z = Cosine(8)(X)
    np.testing.assert_allclose((Z**2).sum(axis=(1, 2, 3)), (X**2).sum(axis=(1, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(Z[:, 0, 0, 0], X.mean(axis=(1, 2, 3)) * 8, rtol=1e-5)


def test_cosine_is_that_of_scipy():
    fft = pytest.importorskip("scipy.fft")
    X = np.random.default_rng(2).random((5, 3, 6, 9), dtype=np.float32)
    expected = fft.dctn(X.astype(float), axes=(2, 3), norm="ortho")[:, :, :4, :4]
    np.testing.assert_allclose(Cosine(4)(X), expected, atol=1e-6)


def test_pool_drops_what_is_left_over():
    X = np.arange(25, dtype=np.float32).reshape(1, 1, 5, 5)
    np.testing.assert_array_equal(AveragePool(2)(X)[0, 0], [[6.0, 10.0], [26.0, 30.0]])


@pytest.mark.parametrize("make", [lambda: Cosine(0), lambda: AveragePool(1.5), lambda: Cosine(True)])
def test_bad_sizes_are_refused(make):
    with pytest.raises(cs.ParameterError):
        make()


@pytest.mark.parametrize("feature_map", [Cosine(9), AveragePool(9)], ids=repr)
def test_bad_shapes_are_refused(feature_map):
    with pytest.raises(cs.ShapeError, match="at least 9 x 9"):
        feature_map(np.zeros((2, 1, 8, 8), np.float32))
    with pytest.raises(cs.ShapeError, match="channels"):
        feature_map(np.zeros((2, 64), np.float32))


def classifier(**settings):
    law = cs.Subsample(cs.Gaussian(0.5), size=40)
    return cs.CertifiedClassifier("discriminant", law, n_members=30, seed=0, progress=False, **settings)


def test_the_map_is_in_record_guarantee_and_checkpoint(tmp_path):
    X, y = cs.datasets.load_digits(classes=(0, 1))
    clf = classifier(features=Cosine(5), checkpoint=tmp_path).fit(X, y)
    words = "cosine transform cut to its 5 x 5 lowest coefficients"
    assert words in clf.certify(X[:3]).guarantee
    assert words in clf.record()
    assert clf.score(X, y) > 0.98
    with pytest.raises(cs.CheckpointError):
        classifier(checkpoint=tmp_path).fit(X, y)
    with pytest.raises(cs.CheckpointError):
        classifier(features=AveragePool(2), checkpoint=tmp_path).fit(X, y)
    assert "first passes" not in classifier().fit(X, y).certify(X[:3]).guarantee


def test_the_same_as_mapping_beforehand():
    X, y = cs.datasets.load_digits(classes=(0, 1))
    inside = classifier(features=Cosine(4)).fit(X, y).votes(X)
    np.testing.assert_array_equal(inside, classifier().fit(Cosine(4)(X), y).votes(Cosine(4)(X)))


def test_other_objects_are_no_maps():
    X, y = cs.datasets.load_digits(classes=(0, 1))
    with pytest.raises(cs.ParameterError, match="'features'"):
        classifier(features=lambda X: X).fit(X, y)


class Thermometer(cs.features.FeatureMap):
    """As many ones as the value says: no change is lengthened, and one changed entry becomes up to three."""

    def __call__(self, X):
        return (X[..., None] > np.arange(3)).reshape(len(X), -1).astype(np.float32)

    def describe(self):
        return "thermometers"


@pytest.mark.parametrize(
    "law", [cs.Discrete(0.9, alphabet=4), cs.Subsample(cs.Discrete(0.9, alphabet=4), size=40)]
)
def test_no_map_goes_before_a_law_that_counts_entries(law):
    X, y = cs.datasets.load_digits(classes=(0, 1))
    codes = (X * 3).round().reshape(len(X), -1)
    cs.CertifiedClassifier("linear", law, n_members=20, alpha=0.3, epochs=1, seed=0, progress=False).fit(
        codes, y
    )
    with pytest.raises(cs.ParameterError, match=r"'features'.*counts changed entries"):
        cs.CertifiedClassifier(
            "linear", law, n_members=20, alpha=0.3, features=Thermometer(), progress=False
        ).fit(codes, y)


def test_a_map_that_lengthens_changes_is_refused():
    class Double(cs.features.FeatureMap):
        lipschitz = 2.0

        def __call__(self, X):
            return 2 * X

        def describe(self):
            return "doubling"

    X, y = cs.datasets.load_digits(classes=(0, 1))
    clf = cs.CertifiedClassifier("linear", n_members=20, epochs=1, features=Double(), seed=0, progress=False)
    with pytest.raises(cs.ParameterError, match="'features'"):
        clf.fit(X, y)
