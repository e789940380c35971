"""Arrays that are written to during a call or after it: what is voted on and certified is what was checked."""

from __future__ import annotations

import pickle
import signal
import time

import numpy as np
import pytest

import certssb as cs


@pytest.fixture(scope="module")
def digits():
    X, y = cs.datasets.load_digits(classes=(0, 1))
    return np.ascontiguousarray(X, dtype=np.float32), y


class Spoiler:
    """Writes to an array from a signal's handler, which long work in Rust runs when it listens for Ctrl-C."""

    def __init__(self, array, seconds):
        self.array, self.seconds, self.struck = array, seconds, None

    def strike(self, number, frame):
        self.array[:] = np.nan
        self.struck = time.monotonic()

    def __enter__(self):
        self.before = signal.signal(signal.SIGALRM, self.strike)
        signal.setitimer(signal.ITIMER_REAL, self.seconds)
        return self

    def __exit__(self, *_):
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, self.before)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no timers")
def test_inputs_changed_during_certify_change_no_certificate(digits):
    X, y = digits
    clf = cs.CertifiedClassifier("cnn", n_members=24, epochs=1, alpha=0.4, seed=0, progress=False)
    clf.fit(X[:100], y[:100])
    n = 1000
    while True:
        array = np.ascontiguousarray(np.resize(X[100:], (n, *X.shape[1:])))
        start = time.monotonic()
        expected = clf.certify(array.copy()).radius
        took = time.monotonic() - start
        if took > 0.8:
            break
        n *= 2
    after, struck = took / 4, False
    for _ in range(8):
        own = pickle.loads(pickle.dumps(clf))  # without the votes that it remembers
        spoilt = array.copy()
        with Spoiler(spoilt, after) as spoiler:
            try:
                found = own.certify(spoilt).radius
            except cs.ParameterError:  # NaN: on so busy a machine they were still being read
                after *= 2
                continue
            end = time.monotonic()
        struck = spoiler.struck is not None and spoiler.struck < end
        if struck:
            break
        after /= 2
    assert struck, "the array was changed while its certificates were made"
    assert np.array_equal(found, expected)


def test_a_certificate_is_for_the_inputs_that_were_voted_on(digits):
    """A data set that answers otherwise each time is read once."""

    class Noisy:
        def __init__(self):
            self.read = 0

        def __len__(self):
            return 20

        def __getitem__(self, index):
            self.read += 1
            return X[index + self.read], 0

    X, y = digits
    clf = cs.CertifiedClassifier(
        "linear", cs.Gaussian(0.5), n_members=8, epochs=2, alpha=0.4, seed=0, progress=False
    )
    clf.fit(X[:100], y[:100])
    noisy = Noisy()
    clf.certify(noisy)
    assert noisy.read == 20


def test_the_exact_classifier_keeps_what_it_was_fitted_on(digits):
    X, y = digits
    train = X[:100].copy()
    knn = cs.CertifiedKNN(0.5, progress=False).fit(train, y[:100])
    expected = knn.certify(X[100:140]).radius
    train[:] = X[100:200]
    assert np.array_equal(knn.certify(X[100:140]).radius, expected)
    assert np.array_equal(pickle.loads(pickle.dumps(knn)).certify(X[100:140]).radius, expected)
