"""Scales of what is received, beside the noise: scalers that were fitted on it, and spreads that noise does not fit.

The limits were measured: centred columns train from a spread of 0.3 to one of 10,000 sigma; below it the noise hides
everything; a few columns that are hundreds of times as wide as the others, or a centre that is thirty times as far away
as features spread, leave models that are trained by gradients at chance or near it.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from certssb.data._rows import Rows, Samples, block_of, blocks, lowest
from certssb.exceptions import ScaleWarning
from certssb.laws import Law

__all__ = ["warn_of_rounding", "warn_of_scaler", "warn_of_spread"]

Features = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]

_FEWEST = 20
"""Rows from which on means and ends are no accident."""
_CHUNK = 1 << 18
"""Values that are looked at together: a megabyte, which stays in the cache."""
_EXACTLY = 1e-4
_ALL_HIDDEN = 0.3
_NOTHING_HIDDEN = 100.0
_UNEVEN = 100.0
_OFF_CENTRE = 30.0
_LOST = 0.1
_TRIED = 64
"""Samples that tell what a map does to rounding."""
_BY_GRADIENTS = ("linear", "mlp", "cnn")

_WHAT_TO_DO = (
    "Whatever looks at received data outside the law is a way around the noise, and no certificate covers it: one changed "
    "sample moves all others. Fit the scaler on data that you trust, or scale by fixed constants through `features=`. If "
    "that is what you did, ignore this."
)


@dataclass(frozen=True)
class _Columns:
    """What is known of each column, images' pixels being columns."""

    n_rows: int
    mean: Floats
    variance: Floats


def warn_of_scaler(X: Samples, law: Law, stacklevel: int) -> None:
    """Say so once if samples look as if a scaler had been fitted on them; `X` as it was received."""
    if len(X) < _FEWEST or json.loads(law.to_json())["law"] == "label_noise":
        return
    if _is_standardised(X):
        what = "All columns have mean 0 and deviation 1"
        if X.ndim == 4:
            what = "Images have mean 0 and deviation 1"
    elif X.ndim == 2 and _reaches_both_ends(X):
        what = "All columns reach from exactly 0 to exactly 1"
    else:
        return
    warnings.warn(
        f"{what}, as if a scaler had been fitted on the training data: the proof is void if these were the received ones. "
        f"{_WHAT_TO_DO}",
        ScaleWarning,
        stacklevel=stacklevel + 1,
    )


def warn_of_rounding(
    lost: float, X: Rows, law: Law, stacklevel: int, through: Callable[[Features], Features] | None = None
) -> None:
    """Say so once if single precision moved most samples by an amount that counts beside the law's noise.

    Noise is added to rounded features, and norms of changes are those of rounded features. Two sets that differ by a hair in
    double precision may then be far apart, further than any certificate reaches. `X` are the rounded samples, `through` is the map
    that they pass before the noise.
    """
    deviations = _noises(json.loads(law.to_json()))
    if not deviations or lost <= 0.0:
        return
    if through is not None:
        lost = _lost_behind(through, lost, X)
    if lost <= _LOST * min(deviations):
        return
    where = "" if through is None else "the features of "
    warnings.warn(
        f"Rounding to single precision moved {where}samples by {lost:.2g}, {lost / min(deviations):.2g} deviations of the noise, "
        f"{min(deviations):.2g}. The guarantee is about the rounded samples: certificates count changes of the rounded features, "
        "and a smaller change of the features as they came may be as large as that after rounding. Subtract a fixed constant from "
        "columns that are far from 0 (times, identifiers), not one that is calculated from the received data, while they are in "
        "double precision.",
        ScaleWarning,
        stacklevel=stacklevel + 1,
    )


def _lost_behind(through: Callable[[Features], Features], lost: float, X: Rows) -> float:
    """How far, in L2, features behind a map moved when samples moved by `lost`, as most of a few samples tell.

    What the samples were before they were rounded is not known any more. Half of the values go on to their neighbours in
    single precision, towards 0, where no map is surprised by them; the map lengthens what rounding did as it lengthens that.
    """
    chosen = np.unique(np.linspace(0, len(X) - 1, _TRIED).astype(np.int64))
    rows = X.take(chosen)
    moves = np.random.default_rng(0).random(rows.shape) < 0.5
    beside = np.where(moves, np.nextafter(rows, np.float32(0.0)), rows)
    moved, came_out = _most_apart(rows, beside), _most_apart(through(rows), through(beside))
    return lost * came_out / moved if moved > 0.0 else 0.0


def _most_apart(one: Features, other: Features) -> float:
    """L2 distances of rows: further than that at most one of twenty."""
    apart = one.reshape(len(one), -1).astype(np.float64) - other.reshape(len(one), -1)
    return float(np.quantile(np.sqrt(np.einsum("ij,ij->i", apart, apart)), 0.95, method="lower"))


def warn_of_spread(X: Samples, law: Law, model: object, stacklevel: int) -> None:
    """Say so once if the features' spread is far from what the law's noise fits; `X` as members are trained on it.

    `model` is the name of the model, if it has one: those that are trained by gradients need centred columns.
    """
    deviations = _noises(json.loads(law.to_json()))
    if not deviations or len(X) < _FEWEST:
        return
    columns = _look(X)
    with np.errstate(over="ignore", invalid="ignore"):
        spread = float(np.sqrt(columns.variance.sum()))
    if not np.isfinite(spread):
        return
    sigma = min(deviations)
    if spread < _ALL_HIDDEN * sigma:
        message = (
            f"The features' spread, {spread:.2g} (the root of the sum of their variances), is only {spread / sigma:.2g} "
            f"deviations of the noise, {sigma:.2g}: it hides everything that there is to learn, and members are likely to "
            "guess. Scale the features up by a fixed constant, through `features=` or before, or choose a smaller sigma."
        )
    else:
        wide = np.sqrt(columns.variance[columns.variance > 0.0])
        largest, median, sigma = float(wide.max()), float(np.median(wide)), max(deviations)
        centre = float(np.sqrt((columns.mean**2).sum()))
        place = int(columns.variance.argmax())
        uneven = X.ndim == 2 and largest > _NOTHING_HIDDEN * sigma and largest > _UNEVEN * median
        if not uneven and not (model in _BY_GRADIENTS and centre > _OFF_CENTRE * spread):
            return
        message = (
            (
                f"Features are far from 0: their mean is {centre:.2g} away, {centre / spread:.2g} times their spread, {spread:.2g}. "
                "Models that are trained by gradients are likely to guess. Subtract a fixed constant from each column, through "
                "`features=` or before; not one that is calculated from the received data."
            )
            if not uneven
            else (
                f"Columns are of very different scales: the deviation of column {place} is {largest:.2g}, the median one "
                f"{median:.2g}, and that of the noise {sigma:.2g}, which hides nothing of the former. Models are likely to learn "
                "badly, and certificates count changes of the widest columns only. Divide each column by a fixed constant of "
                "its size, through `features=` or before; not by one that is calculated from the received data."
            )
        )
    warnings.warn(message, ScaleWarning, stacklevel=stacklevel + 1)


def _noises(law: Any) -> list[float]:
    """Deviations of the noise on features, of all levels and parts of a law."""
    found = []
    if isinstance(law, dict):
        for name, value in law.items():
            if name == "sigma":
                found.append(float(value))
            elif name == "half_width":
                found.append(float(value) / 3.0**0.5)
            else:
                found += _noises(value)
    elif isinstance(law, list):
        for part in law:
            found += _noises(part)
    return found


def _chunks(X: Samples) -> Iterator[Features]:
    return (block.reshape(len(block), -1) for block in blocks(X, _CHUNK))


def _look(X: Samples) -> _Columns:
    """Means and variances of columns, in one pass and without a copy."""
    first = block_of(X, 0, 1).reshape(-1)
    sums, squares = np.zeros(len(first)), np.zeros(len(first))
    with np.errstate(over="ignore", invalid="ignore"):
        for rows in _chunks(X):
            # From one of the samples on, so that what is far from 0 loses no digits.
            differences = rows - first
            sums += np.ones(len(rows), np.float32) @ differences
            squares += np.einsum("ij,ij->j", differences, differences)
        offset = sums / len(X)
        return _Columns(len(X), first + offset, np.maximum(squares / len(X) - offset**2, 0.0))


def _is_standardised(X: Samples) -> bool:
    # No value below 0, no mean of 0: most data are told by that.
    if next(_chunks(X)).min() >= 0.0 and lowest(X) >= 0.0:
        return False
    columns = _look(X)
    if X.ndim == 4:
        channels = (X.shape[1], -1)
        mean = columns.mean.reshape(channels).mean(axis=1)
        square = (columns.variance + columns.mean**2).reshape(channels).mean(axis=1)
        if _unit(mean, square - mean**2, len(X) * (columns.mean.size // X.shape[1])):
            return True
    return _unit(columns.mean, columns.variance, len(X)) and _has_many_values(X)


def _unit(mean: Floats, variance: Floats, n: int) -> bool:
    """Whether whatever is not constant has mean 0 and deviation 1, by either of the usual divisors."""
    varies = variance > 1e-8
    if not varies.any() or not np.all(np.abs(mean[varies]) < _EXACTLY):
        return False
    deviation = np.sqrt(variance[varies])
    return any(
        bool(np.all(np.abs(deviation * scale - 1.0) < _EXACTLY)) for scale in (1.0, (n / (n - 1)) ** 0.5)
    )


def _has_many_values(X: Samples) -> bool:
    """Whether a column has more than two values; balanced codes of -1 and 1 have mean 0 and deviation 1 by themselves."""
    rows = block_of(X, 0, 1024).reshape(min(len(X), 1024), -1)
    low, high = rows.min(axis=0), rows.max(axis=0)
    return bool(((rows != low) & (rows != high)).any())


def _reaches_both_ends(X: Samples) -> bool:
    # Most data are told by a few of their rows.
    head = block_of(X, 0, 1024)
    if head.min() < -1e-6 or head.max() > 1.0 + 1e-6:
        return False
    low, high = head.min(axis=0), head.max(axis=0)
    for rows in _chunks(X):
        low, high = np.minimum(low, rows.min(axis=0)), np.maximum(high, rows.max(axis=0))
    inside, at_top = np.zeros(X.shape[1], np.int64), np.zeros(X.shape[1], np.int64)
    ends = (np.abs(low) <= 1e-6) & (np.abs(high - 1.0) <= 1e-6)
    if ends.sum() < 2 or not (ends | (low == high)).all():
        return False
    for rows in _chunks(X):
        inside += ((rows != low) & (rows != high)).sum(axis=0)
        at_top += (rows == high).sum(axis=0)
    graded = inside > 0
    # Values that were cut off at the ends lie there in numbers; a scaler leaves one of each column, or few.
    few = bool(at_top[graded].sum() <= 0.05 * len(X) * graded.sum())
    return int(graded.sum()) >= 2 and few and not _on_a_grid(head[:256, graded])


def _on_a_grid(values: Features) -> bool:
    """Whether values are multiples of one fraction, as grey levels and grades are: divided by a constant."""
    exact = values.astype(np.float64).ravel()
    for steps in (*range(1, 33), 63, 64, 100, 127, 128, 255, 256, 1000, 1023, 4095, 65535):
        scaled = exact * steps
        if np.all(np.abs(scaled - np.round(scaled)) < 1e-6 * steps + 1e-9):
            return True
    return False
