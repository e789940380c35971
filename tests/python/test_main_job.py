"""The main job in short: poisoned MNIST digits to certificates, two classes and ten, and the 8x8 digits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import certssb as cs

DATA = Path(__file__).parents[3] / "shared" / "data"
needs_mnist = pytest.mark.skipif(not (DATA / "MNIST").is_dir(), reason=f"no MNIST in {DATA}")


def poisoned_zero_one(n_train):
    X, y, X_test, y_test = cs.datasets.load_mnist(DATA, classes=(0, 1))
    trigger = cs.triggers.OnePixel(position=(23, 23), norm=1.0)
    X_bad, y_bad, _ = cs.triggers.poison(X[:n_train], y[:n_train], trigger, rate=0.02, target=0, seed=0)
    return X_bad, y_bad, X_test, y_test, trigger


@needs_mnist
def test_one_against_zero_with_the_cnn_on_full_noised_sets():
    X_bad, y_bad, X_test, y_test, trigger = poisoned_zero_one(1500)
    clf = cs.CertifiedClassifier(
        "cnn", cs.Gaussian(sigma=0.5), n_members=12, epochs=4, seed=0, progress=False
    )
    certs = clf.fit(X_bad, y_bad).certify(X_test)
    assert certs.certified_accuracy(y_test, radii=0) > 0.97
    assert certs.radius.max() < 0.5 * 0.1  # twelve members reach no further than they can
    triggered = clf.certify(trigger(X_test[y_test == 1]))
    assert len(triggered) == (y_test == 1).sum()


@needs_mnist
def test_the_attack_of_the_literature_is_certified_with_subsamples():
    X_bad, y_bad, X_test, y_test, _ = poisoned_zero_one(None)
    assert len(X_bad) == 12665
    law = cs.Subsample(cs.Gaussian(sigma=1.0), size=100)
    clf = cs.CertifiedClassifier(
        "linear", law, n_members=300, learning_rate=0.01, seed=0, progress=False
    ).fit(X_bad, y_bad)
    certs = clf.certify(X_test)
    assert certs.radius is None
    assert certs.certified_accuracy(y_test, n_poisoned=253, trigger_norm=1.0) > 0.85
    # The full-set Gaussian, even if all members agreed, reaches a total norm of 2.2 < sqrt(253).
    unanimous = cs.certify_votes(np.ones((300, 1), int), cs.Gaussian(1.0), n_train=12665, n_classes=2)
    assert not unanimous.holds(n_poisoned=253, trigger_norm=1.0)[0]


@needs_mnist
def test_ten_digits_work_the_same_way():
    X, y, X_test, y_test = cs.datasets.load_mnist(DATA)
    law = cs.Subsample(cs.Gaussian(sigma=0.5), size=300)
    clf = cs.CertifiedClassifier("linear", law, n_members=40, learning_rate=0.01, seed=0, progress=False).fit(
        X, y
    )
    certs = clf.certify(X_test[:500])
    assert sorted(np.unique(certs.prediction)) == list(range(10))
    assert certs.certified_accuracy(y_test[:500], n_poisoned=10, trigger_norm=0.5) > 0.2


@pytest.mark.parametrize("model", ["linear", "mlp", "cnn"])
def test_built_in_models_certify_three_digits(model):
    X_train, y_train, X_test, y_test = cs.datasets.load_digits(classes=(3, 5, 8), split=True)
    epochs, learning_rate = {"linear": (20, 0.02), "mlp": (15, 0.005), "cnn": (12, 0.003)}[model]
    law = cs.Subsample(cs.Gaussian(sigma=0.2), size=120)
    clf = cs.CertifiedClassifier(
        model,
        law,
        n_members=20,
        epochs=epochs,
        learning_rate=learning_rate,
        batch_size=40,
        seed=0,
        progress=False,
    )
    certs = clf.fit(X_train, y_train).certify(X_test)
    assert certs.certified_accuracy(y_test, n_poisoned=1, trigger_norm=0.02) > 0.6


def test_the_resnet_certifies_two_digits():
    # Batch norm needs some steps before its running statistics are those of the noised set.
    X_train, y_train, X_test, y_test = cs.datasets.load_digits(classes=(0, 1), split=True)
    clf = cs.CertifiedClassifier(
        "resnet",
        cs.Gaussian(sigma=0.2),
        n_members=11,
        epochs=6,
        learning_rate=0.002,
        batch_size=16,
        seed=0,
        progress=False,
    )
    certs = clf.fit(X_train[:120], y_train[:120]).certify(X_test)
    assert certs.certified_accuracy(y_test, radii=0) > 0.8
