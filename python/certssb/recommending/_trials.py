"""Candidates measured by small ensembles on trusted samples: one half trains, the other is predicted, and back."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from certssb._checks import check_integer, check_seed, parameter_error, shape_error
from certssb.exceptions import ParameterError, ScaleWarning
from certssb.laws import Law, Partition, Subsample
from certssb.recommending._nearest import NAME, RecommendedKNN, holds
from certssb.recommending._needed import Asked
from certssb.recommending._rows import RecommendedLaw

__all__ = ["measured", "measured_nearest"]

_LEAST = 8
"""Trusted samples of which two halves can be made that train and are predicted."""


def measured(
    asked: Asked,
    rows: Sequence[RecommendedLaw],
    unreachable: dict[str, str],
    trusted: Any,
    model: Any,
    n_trial: Any,
    seed: Any,
) -> tuple[list[RecommendedLaw], str]:
    """The rows with what was measured, the largest certified share first, and what that rests on."""
    X, y, n_trial = (
        *_samples(trusted, asked.n_classes),
        check_integer("n_trial", n_trial, "an integer of at least 2", 2),
    )
    halves = _halves(len(X), seed)
    tried, reason = [], ""
    for row in rows:
        try:
            tried.append(_measured(asked, row, X, y, halves, model, n_trial, seed))
        except ParameterError as error:
            # A law for which these features, or so few samples, are none.
            reason = unreachable[repr(row.law)] = str(error)
    if rows and not tried:
        raise parameter_error("model", "one that can be trained under some of the laws", reason)
    tried.sort(key=lambda row: (-(row.certified or 0.0), -(row.accuracy or 0.0)))
    sentence = (
        f"Accuracy and certified share were estimated by {n_trial} members for each law on {len(X):,} trusted samples, and "
        "on nothing else: the choice among these laws looked at nothing that an attacker could have touched, so that the "
        "guarantee of a later fit is what it would be without it."
    )
    return tried, sentence


def measured_nearest(
    asked: Asked, rows: Sequence[RecommendedKNN], unreachable: dict[str, str], trusted: Any, seed: Any
) -> list[RecommendedKNN]:
    """Each half of the trusted samples as neighbours of the other; the largest certified share first."""
    X, y = _samples(trusted, asked.n_classes)
    halves = _halves(len(X), seed)
    tried = []
    for row in rows:
        right = certified = 0
        try:
            for own, other in (halves, halves[::-1]):
                with warnings.catch_warnings():
                    # Too much noise is what is measured.
                    warnings.simplefilter("ignore", ScaleWarning)
                    knn = row.classifier.fit(X[own], y[own], classes=np.arange(asked.n_classes))
                certs = knn.certify(X[other])
                correct = np.asarray(certs.prediction) == y[other]
                kept = holds(asked, row.sigma, np.asarray(certs.p_lower), np.asarray(certs.p_upper))
                right += int(correct.sum())
                certified += int((correct & kept).sum())
        except ParameterError as error:
            # Features without distances.
            unreachable[NAME] = str(error)
            return []
        tried.append(replace(row, accuracy=right / len(X), certified=certified / len(X)))
    return sorted(tried, key=lambda row: (-(row.certified or 0.0), -(row.accuracy or 0.0)))


def _halves(n: int, seed: Any) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    order = np.random.default_rng(check_seed("seed", seed)).permutation(n)
    return order[: n // 2], order[n // 2 :]


def _samples(trusted: Any, n_classes: int) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
    if not isinstance(trusted, (tuple, list)) or len(trusted) != 2:
        raise parameter_error("trusted", "a tuple of samples and labels, (X, y)", type(trusted).__name__)
    X, labels = np.asarray(trusted[0]), np.asarray(trusted[1])
    if labels.ndim != 1 or X.ndim < 1 or len(X) != len(labels):
        raise shape_error(
            "trusted", f"one label for each of {len(X)} samples", f"labels of shape {labels.shape}"
        )
    if len(X) < _LEAST:
        raise parameter_error("trusted", f"at least {_LEAST} samples", len(X))
    classes, numbers = np.unique(labels, return_inverse=True)
    if len(classes) > n_classes or len(classes) < 2:
        raise parameter_error(
            "trusted", f"samples of 2 to n_classes={n_classes} classes", f"{len(classes)} classes"
        )
    return X, numbers.astype(np.int64)


def _measured(
    asked: Asked,
    row: RecommendedLaw,
    X: npt.NDArray[Any],
    y: npt.NDArray[np.int64],
    halves: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]],
    model: Any,
    n_trial: int,
    seed: int,
) -> RecommendedLaw:
    from certssb.estimators.classifier import CertifiedClassifier

    most = max(1, len(halves[0]) // 2)
    drawn = min(max(1, round(row.n_seen)), most)
    right = certified = 0
    for own, other in (halves, halves[::-1]):
        clf = CertifiedClassifier(
            model, _drawing(row.law, drawn), n_members=n_trial, seed=seed, progress=False, alpha=0.9
        )
        with warnings.catch_warnings():
            # Too much noise is what is measured.
            warnings.simplefilter("ignore", ScaleWarning)
            clf.fit(X[own], y[own], classes=np.arange(int(y.max()) + 1))
        votes = np.asarray(clf.votes(X[other]))
        # As many as the law has, in turn, so that bounds are those of the law's own number.
        votes = votes[np.arange(row.n_members) % len(votes)]
        certs = asked.certificates(row.law, votes)
        correct = np.asarray(certs.prediction) == y[other]
        right += int(correct.sum())
        certified += int((correct & certs.holds(asked.threat)).sum())
    return replace(
        row, accuracy=right / len(X), certified=certified / len(X), scaled=drawn < round(row.n_seen)
    )


def _drawing(law: Law, drawn: int) -> Law:
    """The noise of the law on so many of the samples."""
    if isinstance(law, Partition):
        return Subsample(size=drawn)
    return Subsample(law.inner if isinstance(law, Subsample) else law, size=drawn)
