"""The scattering transform beside its formulas in NumPy, and what it may be used for."""

import json
import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.pipeline import make_pipeline

import certssb as cs
from certssb.features import Scattering


def gabor(shape, width, centre, angle, slant):
    """Pixel by pixel, repeated with the grid (the literature's software does the same)."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(float)
    out = np.zeros(shape, complex)
    for down in range(-5, 6):
        for right in range(-5, 6):
            u, v = x + right * shape[1], y + down * shape[0]
            along = u * np.cos(angle) + v * np.sin(angle)
            beside = v * np.cos(angle) - u * np.sin(angle)
            out += np.exp(-(along**2 + (slant * beside) ** 2) / (2 * width**2) + 1j * centre * along)
    return out * slant / (2 * np.pi * width**2)


def morlet(shape, scale, turn, angles):
    width, centre, slant = 0.8 * 2**scale, 0.75 * np.pi / 2**scale, 4 / angles
    angle = np.pi * turn / angles
    wave, still = gabor(shape, width, centre, angle, slant), gabor(shape, width, 0, angle, slant)
    return np.fft.fft2(wave - wave.sum() / still.sum() * still).real


def gaussian(shape, scale):
    low = gabor(shape, 0.8 * 2**scale, 0, 0, 1)
    return np.fft.fft2(low / low.sum()).real


def row_sums(filtered, step):
    """Of |T* T| for one filter of which every `step`-th pixel is kept, times `step`, on real images."""
    rows, columns = filtered.shape
    a = abs(filtered)
    classes = a.reshape(step, rows // step, step, columns // step).sum((0, 2))
    r = a * np.tile(classes, (step, step))
    return (r + np.roll(r[::-1, ::-1], (1, 1), (0, 1))) / 2


def constants(shape, scales, angles, first):
    low = row_sums(gaussian(shape, scales), 2**scales)
    wavelets = sum(
        row_sums(morlet(shape, j, t, angles), 2**j) for j in range(first, scales) for t in range(angles)
    )
    share = 1 / low.max()
    if isinstance(wavelets, int):
        return share**0.5, 0.0
    inside = wavelets > 1e-12
    return share**0.5, np.sqrt(((1 - share * low)[inside] / wavelets[inside]).min())


def scattered(image, scales, angles):
    """S0, S1, S2 of one plane, from their formulas."""
    shape = image.shape

    def average(plane, level):
        low, _ = (
            constants(shape, scales, angles, 0)
            if level == 0
            else constants(plane.shape, scales - level, angles, 0)
        )
        step = 2 ** (scales - level)
        out = np.fft.ifft2(np.fft.fft2(plane) * gaussian(plane.shape, scales - level)).real
        return low * step * out[::step, ::step]

    def modulus(plane, scale, turn, gain):
        out = np.fft.ifft2(np.fft.fft2(plane) * morlet(plane.shape, scale, turn, angles))
        return gain * 2**scale * abs(out[:: 2**scale, :: 2**scale])

    first, second = [], []
    _, gain = constants(shape, scales, angles, 0)
    for j in range(scales):
        for t in range(angles):
            u = modulus(image, j, t, gain)
            first.append(average(u, j))
            for k in range(j + 1, scales):
                _, above = constants(u.shape, scales - j, angles, 1)
                second += [average(modulus(u, k - j, s, above), k) for s in range(angles)]
    return np.stack([average(image, 0), *first, *second])


@pytest.mark.parametrize(("shape", "scales", "angles"), [((16, 12), 2, 4), ((8, 8), 3, 2), ((6, 10), 1, 8)])
def test_it_is_what_the_formulas_say(shape, scales, angles):
    image = np.random.default_rng(0).random(shape)
    made = Scattering(scales, angles)(image.astype(np.float32)[None, None])
    np.testing.assert_allclose(made[0], scattered(image, scales, angles), atol=2e-6)


def test_images_are_filled_up_with_zeros_on_all_sides():
    image = np.random.default_rng(1).random((13, 18)).astype(np.float32)
    filled = np.zeros((16, 20), np.float32)
    filled[1:14, 1:19] = image
    transform = Scattering(2, 4)
    np.testing.assert_array_equal(transform(image[None, None]), transform(filled[None, None]))


@pytest.mark.parametrize(
    "transform", [Scattering(1, 4), Scattering(2, 8), Scattering(3, 6), Scattering(2, 8, order=1)], ids=repr
)
def test_no_change_is_lengthened(transform):
    rng = np.random.default_rng(0)
    X = rng.random((300, 2, 24, 24), dtype=np.float32)
    waves = [
        np.cos(np.pi * 0.75 / 2**j * (np.arange(24)[:, None] * a + np.arange(24) * b))
        for j in range(3)
        for a in (0, 1)
        for b in (0, 1)
    ]
    spikes = np.eye(576, dtype=np.float32)[::7].reshape(-1, 24, 24)
    apart = rng.standard_normal((300, 2, 24, 24)).astype(np.float32)
    changes = [
        apart,
        1e-2 * apart,
        np.stack([waves, waves], axis=1).astype(np.float32),
        np.stack([spikes, -spikes], axis=1),
    ]
    most = 0.0
    for change in changes:
        for base in (X[: len(change)], np.zeros_like(change)):
            moved = np.float64(transform(base + change)) - transform(base)
            real = np.float64(base + change) - base
            stretch = np.sqrt((moved**2).sum((1, 2, 3)) / (real**2).sum((1, 2, 3)))
            most = max(most, stretch.max())
    assert most <= 1 + 1e-4
    # A change of all pixels alike keeps its length: the constant cannot be smaller.
    assert most > 0.999


def test_every_kind_of_images_that_estimators_take():
    rng = np.random.default_rng(2)
    whole = rng.integers(0, 256, (3, 8, 8)).astype(np.uint8)
    transform = Scattering(1, 3)
    expected = transform(whole[:, None].astype(np.float32) / 255)
    assert expected.shape == (3, 4, 4, 4) and expected.dtype == np.float32
    for given in (whole, whole[:, None], whole[..., None], whole / 255, np.asfortranarray(whole / 255)):
        np.testing.assert_allclose(transform(given), expected, atol=1e-6)
    colours = rng.random((2, 3, 8, 12), dtype=np.float32)
    planes = transform(colours.reshape(6, 1, 8, 12))
    np.testing.assert_array_equal(transform(colours), planes.reshape(2, 12, 4, 6))


def test_root_and_norm():
    X = np.random.default_rng(3).random((5, 1, 8, 8), dtype=np.float32) - 0.5
    plain = Scattering(1, 4)(X)
    rooted = np.sign(plain) * np.sqrt(abs(plain))
    np.testing.assert_allclose(Scattering(1, 4, root=True)(X), rooted, rtol=1e-6)
    lengths = np.sqrt((rooted**2).sum((1, 2, 3), keepdims=True))
    np.testing.assert_allclose(Scattering(1, 4, root=True, normalize=True)(X), rooted / lengths, rtol=1e-5)
    assert not Scattering(1, 4, root=True, normalize=True)(np.zeros_like(X)).any()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("J", 0),
        ("J", 11),
        ("J", 1.5),
        ("J", True),
        ("angles", 0),
        ("angles", 65),
        ("order", 3),
        ("root", 1),
        ("normalize", "yes"),
    ],
)
def test_bad_values_are_refused(name, value):
    with pytest.raises(cs.ParameterError, match=f"'{name}'"):
        Scattering(**{name: value})


def test_bad_images_are_refused():
    with pytest.raises(cs.ShapeError, match="at least 8 x 8, the window of J=3"):
        Scattering(3)(np.zeros((2, 1, 8, 7), np.float32))
    with pytest.raises(cs.ShapeError, match="channels"):
        Scattering(1)(np.zeros((2, 64)))
    with pytest.raises(cs.ParameterError, match="finite"):
        Scattering(1)(np.full((2, 1, 8, 8), np.nan, np.float32))


def classifier(law, **settings):
    return cs.CertifiedClassifier("discriminant", law, n_members=60, seed=0, progress=False, **settings)


NOISED = cs.Subsample(cs.Gaussian(0.5), size=40)
COUNTED = cs.Subsample(size=40)
EXPANSIVE = Scattering(1, 4, root=True, normalize=True)


@pytest.mark.parametrize(
    "law",
    [
        cs.Gaussian(0.5),
        NOISED,
        cs.Cascade([cs.Gaussian(1.0), cs.Gaussian(0.5)]),
        cs.Gaussian(1.0) & cs.LabelNoise(0.1),
        cs.Discrete(0.9),
        cs.Uniform(0.5),
        cs.SampleSpecific(0.5),
    ],
    ids=repr,
)
def test_what_lengthens_changes_is_refused_where_changes_are_measured(law):
    X, y = cs.datasets.load_digits(classes=(0, 1))
    with pytest.raises(cs.ParameterError, match=r"'features'.*count samples.*Got one of inf"):
        classifier(law, features=EXPANSIVE).fit(X, y)


def test_what_lengthens_changes_goes_before_laws_that_count():
    X, y = cs.datasets.load_digits(classes=(0, 1))
    for law in (COUNTED, cs.LabelNoise(0.1), cs.Subsample(cs.LabelNoise(0.1), size=40)):
        guarantee = classifier(law, features=EXPANSIVE).fit(X, y).certify(X[:3]).guarantee
        assert "how many samples may change, and no norm of their changes" in guarantee
        assert "roots of its values, each image divided by its norm" in guarantee
    certs = classifier(COUNTED, features=EXPANSIVE).fit(X, y).certify(X)
    assert certs.certified_accuracy(y, n_poisoned=2, trigger_norm=np.inf) > 0.9


def test_norms_stay_valid_as_it_is():
    X, y = cs.datasets.load_digits(classes=(0, 1))
    clf = classifier(NOISED, features=Scattering(1, 4)).fit(X, y)
    certs = clf.certify(X)
    assert "lengthens no change (Lipschitz constant 1)" in certs.guarantee
    assert certs.certified_accuracy(y, n_poisoned=1, trigger_norm=0.5) > 0.4
    assert "wavelet scattering transform of order 2 with 1 scale and 4 angles" in clf.record()


def test_copies_are_the_same(tmp_path):
    X, y = cs.datasets.load_digits(classes=(0, 1))
    clf = classifier(COUNTED, features=EXPANSIVE).fit(X, y)
    votes = clf.votes(X)
    clf.save(tmp_path / "saved")
    loaded = cs.CertifiedClassifier.load(tmp_path / "saved")
    assert loaded.features == EXPANSIVE
    for other in (loaded, pickle.loads(pickle.dumps(clf)), clone(clf).fit(X, y)):
        np.testing.assert_array_equal(other.votes(X), votes)
    assert pickle.loads(pickle.dumps(EXPANSIVE)) == EXPANSIVE
    assert pickle.loads(pickle.dumps(EXPANSIVE)).lipschitz == EXPANSIVE.lipschitz
    facts = json.loads((tmp_path / "saved" / "estimator.json").read_text())
    assert facts["features"]["sizes"] == {"J": 1, "angles": 4, "order": 2, "root": True, "normalize": True}


def test_inside_a_pipeline():
    X, y = cs.datasets.load_digits(classes=(0, 1))
    pipeline = make_pipeline(classifier(COUNTED, features=EXPANSIVE))
    assert clone(pipeline).fit(X, y).score(X, y) > 0.95
