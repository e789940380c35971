"""Trusted encoders: what they may be, what is noticed, and what guarantees say of them; maps one after another."""

import copy
import functools
import json
import math
import pickle

import numpy as np
import pytest
from sklearn.decomposition import PCA

import certssb as cs
from certssb.features import AveragePool, Composed, Cosine, Scattering, Trusted, compose

X, Y = cs.datasets.load_digits(classes=(0, 1))
DIRECTIONS = np.random.default_rng(0).standard_normal((64, 24)).astype(np.float32)


def directions(batch):
    return np.tanh(batch.reshape(len(batch), -1) @ DIRECTIONS)


def classifier(law=None, **settings):
    law = cs.Subsample(size=40) if law is None else law
    return cs.CertifiedClassifier("discriminant", law, n_members=60, seed=0, progress=False, **settings)


def test_a_callable_and_what_the_guarantee_says():
    clf = classifier(features=Trusted(directions, name="random directions")).fit(X, Y)
    certs = clf.certify(X)
    assert "the encoder 'random directions'" in clf.record()
    assert "provided that nobody who changed the data had a hand in it" in certs.guarantee
    assert certs.certified_accuracy(Y, n_poisoned=2, trigger_norm=np.inf) > 0.9
    np.testing.assert_array_equal(classifier().fit(directions(X), Y).votes(directions(X)), clf.votes(X))


def test_under_a_norm_the_guarantee_speaks_of_the_features():
    law = cs.Subsample(cs.Gaussian(0.5), size=40)
    guarantee = (
        classifier(law, features=Trusted(directions, name="random")).fit(X, Y).certify(X[:3]).guarantee
    )
    assert "it measures those of the features that come out" in guarantee
    assert "as they came" not in guarantee and "lengthens no change" not in guarantee


def test_a_transformer_gets_samples_flat():
    pca = PCA(8, random_state=0).fit(X[:50].reshape(50, -1))
    expected = pca.transform(X.reshape(len(X), -1))
    np.testing.assert_allclose(Trusted(pca, name="PCA of other digits")(X), expected, atol=1e-5)


def test_batches_do_not_matter():
    sizes = []

    def counted(batch):
        sizes.append(len(batch))
        return directions(batch)

    np.testing.assert_allclose(Trusted(counted, name="a", batch_size=100)(X), directions(X), atol=1e-5)
    assert sizes == [100] * (len(X) // 100) + [len(X) % 100]


def test_a_module_is_frozen_and_known_by_its_weights():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Flatten(),
        torch.nn.Linear(64, 16),
        torch.nn.BatchNorm1d(16),
        torch.nn.Dropout(0.5),
        torch.nn.ReLU(),
    )
    encoder = Trusted(net, name="a network")
    assert net.training and not encoder.encoder.training
    clf = classifier(features=encoder).fit(X, Y)
    votes, words = clf.votes(X), encoder.before_noise()
    with torch.no_grad():
        net[1].weight.zero_()
    clf._votes.clear()
    np.testing.assert_array_equal(clf.votes(X), votes)
    assert Trusted(net, name="a network").before_noise() != words
    other = pickle.loads(pickle.dumps(clf))
    np.testing.assert_array_equal(other.votes(X), votes)


def test_saved_without_the_encoder_and_loaded_with_the_same_one(tmp_path):
    torch = pytest.importorskip("torch")
    net, other = (torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 16)) for _ in range(2))
    clf = classifier(features=Trusted(net, name="a network")).fit(X, Y)
    clf.save(tmp_path / "saved")
    for wrong in (None, Trusted(other, name="a network"), Trusted(net, name="another"), Cosine(4)):
        with pytest.raises(cs.ParameterError, match="'features'.*the map of the saved ensemble"):
            cs.CertifiedClassifier.load(tmp_path / "saved", features=wrong)
    loaded = cs.CertifiedClassifier.load(tmp_path / "saved", features=Trusted(net, name="a network"))
    np.testing.assert_array_equal(loaded.votes(X), clf.votes(X))


class Drifting:
    """Goes on learning, and cannot be copied."""

    def __init__(self):
        self.calls = 0

    def __deepcopy__(self, memo):
        raise TypeError("not this one")

    def __call__(self, batch):
        self.calls += 1
        return directions(batch) + self.calls


def test_an_encoder_that_changes_between_calls_is_refused():
    encoder = Trusted(Drifting(), name="drifting")
    encoder(X)
    with pytest.raises(
        cs.ParameterError, match=r"'encoder'.*frozen.*'drifting', which changed between calls"
    ):
        encoder(X)
    with pytest.raises(cs.ParameterError, match=r"'features'.*other values when it is asked again"):
        classifier(features=Trusted(Drifting(), name="drifting")).fit(X, Y)


def test_an_encoder_that_was_replaced_after_training_is_noticed():
    held = {"bias": 0.0}
    encoder = Trusted(lambda batch: directions(batch) + held["bias"], name="held elsewhere")
    clf = classifier(features=encoder).fit(X, Y)
    held["bias"] = 1.0
    with pytest.raises(cs.ParameterError, match="changed between calls"):
        clf.votes(X)


def test_features_are_kept_and_found(tmp_path):
    calls = []

    def counted(batch):
        calls.append(len(batch))
        return directions(batch)

    kept = Trusted(counted, name="kept", cache_dir=tmp_path / "features")
    first = kept(X)
    files = list((tmp_path / "features").iterdir())
    assert len(files) == 1 and sum(calls) == len(X)
    calls.clear()
    again = Trusted(counted, name="kept", cache_dir=tmp_path / "features")(X)
    np.testing.assert_array_equal(again, first)
    assert 0 < sum(calls) < 20, "some are computed again"
    # Other samples, another name: another file.
    kept(X[:100])
    Trusted(counted, name="other", cache_dir=tmp_path / "features")(X)
    assert len(list((tmp_path / "features").iterdir())) == 3
    # Few samples are not worth a file.
    kept(X[:5])
    assert len(list((tmp_path / "features").iterdir())) == 3


class Held:
    """An encoder whose weights lie where no digest sees them."""

    def __init__(self, by):
        self.by = by

    def __call__(self, batch):
        return directions(batch) * self.by

    def __getstate__(self):
        return {}

    def __deepcopy__(self, memo):
        return Held(self.by)


def test_kept_features_of_another_encoder_are_refused(tmp_path):
    Trusted(Held(1), name="same name", cache_dir=tmp_path)(X)
    with pytest.raises(cs.ParameterError, match=r"'cache_dir'.*another encoder another name"):
        Trusted(Held(2), name="same name", cache_dir=tmp_path)(X)
    (file,) = tmp_path.iterdir()
    for content in (b"", b"no array", file.read_bytes()[:200]):
        file.write_bytes(content)
        with pytest.raises(cs.ParameterError, match=r"'cache_dir'.*cannot be read"):
            Trusted(Held(1), name="same name", cache_dir=tmp_path)(X)


def scaled(by):
    return lambda batch: directions(batch) * by


def touched(batch):
    """The same but for one sample that is seldom looked at."""
    features = directions(batch)
    features[(batch.reshape(len(batch), -1) == X[1].reshape(-1)).all(axis=1)] += 1.0
    return features


def slightly(batch):
    return directions(batch) * np.float32(1.0001)


class Rows(PCA):
    """A transformer of another class with the same attributes."""

    def transform(self, X):
        return super().transform(X)[:, ::-1]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (directions, touched),
        (directions, slightly),
        (scaled(1.0), scaled(1.0001)),
        (functools.partial(np.multiply, 1.0), functools.partial(np.multiply, 1.0001)),
        (PCA(4).fit(X[:50].reshape(50, -1)), PCA(4).fit(X[:51].reshape(51, -1))),
        (
            PCA(4, random_state=0).fit(X[:50].reshape(50, -1)),
            Rows(4, random_state=0).fit(X[:50].reshape(50, -1)),
        ),
    ],
)
def test_two_encoders_of_one_name_have_two_files(tmp_path, one, other):
    encoders = [Trusted(each, name="same name", cache_dir=tmp_path) for each in (one, other)]
    features = [encoder(X) for encoder in encoders]
    assert len(list(tmp_path.iterdir())) == 2
    assert (features[0] != features[1]).any()
    # And what was kept is found by whoever is the same, copies and pickles among them.
    again = Trusted(one, name="same name", cache_dir=tmp_path)
    for same in (again, copy.deepcopy(encoders[0])):
        np.testing.assert_array_equal(same(X), features[0])
    assert len(list(tmp_path.iterdir())) == 2


def test_two_modules_with_the_same_weights_have_two_files(tmp_path):
    torch = pytest.importorskip("torch")

    class Squared(torch.nn.Linear):
        def forward(self, x):
            return super().forward(x.flatten(1)).square()

    class Cubed(torch.nn.Linear):
        def forward(self, x):
            return super().forward(x.flatten(1)).pow(3)

    Cubed.__qualname__ = Squared.__qualname__
    Cubed.__name__ = Squared.__name__
    one, other = Squared(64, 4), Cubed(64, 4)
    other.load_state_dict(one.state_dict())
    first, second = (Trusted(each, name="same", cache_dir=tmp_path) for each in (one, other))
    assert first.weights == second.weights
    assert (first(X) != second(X)).any() and len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda batch: directions(batch)[:-1], "rows for"),
        (lambda batch: directions(batch) * np.nan, "finite"),
        (lambda batch: None, "rows for"),
        (lambda batch: np.zeros((len(batch), 3 + (len(batch) > 9)), np.float32), "one shape"),
    ],
)
def test_what_is_no_encoder_is_refused(make, said):
    with pytest.raises(cs.ParameterError, match=f"'encoder'.*{said}"):
        Trusted(make, name="bad", batch_size=len(X) - 1)(X)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("encoder", {"encoder": 3}),
        ("name", {"name": ""}),
        ("name", {"name": 3}),
        ("name", {"name": "two\nlines"}),
        ("batch_size", {"batch_size": 0}),
        ("cache_dir", {"cache_dir": 3}),
    ],
)
def test_bad_values_are_refused(name, settings):
    with pytest.raises(cs.ParameterError, match=f"'{name}'"):
        Trusted(**{"encoder": directions, "name": "a", **settings})


def test_maps_one_after_another():
    both = compose(AveragePool(2), Scattering(1, 4))
    np.testing.assert_array_equal(both(X), Scattering(1, 4)(AveragePool(2)(X)))
    assert both.lipschitz == 1.0 and "times 2, then a wavelet" in both.before_noise()
    assert compose(AveragePool(2), Scattering(1, 4, root=True)).lipschitz == math.inf
    whole = compose(AveragePool(2), Trusted(lambda batch: batch, name="as it is"))
    assert "The guarantee trusts 'as it is'" in whole.before_noise()
    for bad in ((), (3,), (AveragePool(2), np.tanh)):
        with pytest.raises(cs.ParameterError, match="'maps'"):
            compose(*bad)
    with pytest.raises(cs.ParameterError, match=r"'features'.*count samples"):
        classifier(cs.Gaussian(0.5), features=compose(AveragePool(2), Scattering(1, 2, root=True))).fit(X, Y)


def test_composed_maps_are_saved_and_loaded(tmp_path):
    both = compose(AveragePool(2), compose(Scattering(1, 4, normalize=True)))
    clf = classifier(features=both).fit(X, Y)
    clf.save(tmp_path / "saved")
    loaded = cs.CertifiedClassifier.load(tmp_path / "saved")
    assert loaded.features == both and isinstance(both, Composed)
    np.testing.assert_array_equal(loaded.votes(X), clf.votes(X))
    assert pickle.loads(pickle.dumps(both)) == both


class ByRounding(cs.features.FeatureMap):
    """Its last bits depend on how many samples come together, as those of sums in libraries do."""

    lipschitz = math.inf

    def __call__(self, X):
        return (X.reshape(len(X), -1) * np.float32(1 + len(X) * 2**-22)).astype(np.float32)

    def describe(self):
        return "a map"


def by_rounding(batch):
    return ByRounding()(batch)


LAWS = {
    "a bag": cs.Subsample(size=40),
    "a bag of any size": cs.Subsample(rate=0.1),
    "noise in a bag": cs.Subsample(cs.Gaussian(0.5), size=40),
    "levels of bags": cs.Cascade([cs.Subsample(cs.Gaussian(s), size=40) for s in (0.5, 0.25)]),
    "parts": cs.Partition(5),
}


@pytest.mark.parametrize("law", LAWS)
def test_last_bits_of_samples_do_not_depend_on_others_where_samples_are_counted(law):
    alone = np.concatenate([by_rounding(X[i : i + 1]) for i in range(len(X))])
    assert (by_rounding(X) != alone).any()
    trusted = Trusted(by_rounding, name="by rounding")
    maps = [trusted, compose(trusted)]
    if law not in ("noise in a bag", "levels of bags"):
        maps += [ByRounding(), compose(ByRounding())]
    members = {} if law == "parts" else {"n_members": 60}

    def digests(features, X):
        clf = cs.CertifiedClassifier(
            "discriminant", LAWS[law], features=features, seed=0, progress=False, **members
        )
        record = json.loads(clf.fit(X, Y).record())
        return [level["data_digest"] for level in (record if isinstance(record, list) else [record])]

    for one in maps:
        assert digests(one, X) == digests(None, alone)


def test_features_made_one_by_one_are_kept_apart(tmp_path):
    sizes = []

    def counted(batch):
        sizes.append(len(batch))
        return by_rounding(batch)

    encoder = Trusted(counted, name="counted", cache_dir=tmp_path)
    together = encoder(X)
    sizes.clear()
    alone = encoder._one_by_one(X)
    assert (alone != together).any() and sizes.count(1) == len(X)
    sizes.clear()
    np.testing.assert_array_equal(encoder._one_by_one(X), alone)
    np.testing.assert_array_equal(encoder(X), together)
    assert 1 not in sizes and len(list(tmp_path.iterdir())) == 2


def test_bits_are_compared_where_a_map_claims_them():
    class Claiming(ByRounding):
        rows_alone = True

    with pytest.raises(cs.ParameterError, match="rows_alone=False.*Claiming, whose last bits differ"):
        classifier(features=Claiming()).fit(X, Y)
