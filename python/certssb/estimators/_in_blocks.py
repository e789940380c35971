"""Questions about more test samples than fit into memory: block by block, the answers put together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from certssb._checks import parameter_error
from certssb.data._blocks import each_block, is_blocks, named, step_of
from certssb.data._features import read_rows
from certssb.data._rows import Rows
from certssb.estimators._seen_shape import check_shape
from certssb.estimators._with_members import noises_test_inputs, through
from certssb.exceptions import CertssbError
from certssb.watch.progress import Report, progress_bar

__all__ = ["asked_in_blocks", "labelled_blocks", "refuse_family_wise"]

Features = npt.NDArray[np.float32]
T = TypeVar("T")

_VALUES = 2**26
"""Numbers of one block: 256 MiB of floats, 128 MiB of votes."""

_IN_ONE = (
    "samples in one array under test_input=True, where the noise on a test sample depends on its place among all samples "
    "of the call. If you ask about them part by part, each part counts as an array of its own"
)


def asked_in_blocks(
    estimator: Any,
    X: Any,
    ask: Callable[[Features, Report], T],
    what: str,
    *,
    n_members: int = 1,
    unit: str = "member",
    whole: bool = False,
) -> Iterator[T]:
    """What is answered about each block of `X`: one block where floats and votes fit into memory, or where it is to stay whole, as
    it is under a law that noises a test sample by its place among all, and where members have voted and are forgotten.

    Samples are read once, and each block is a copy of its own: what is digested, voted on, certified and put into a ledger is
    then one and the same, whatever other threads or callbacks write into the caller's array meanwhile.
    """
    ensemble = getattr(estimator, "_ensemble", None)
    if ensemble is not None and noises_test_inputs(ensemble.law):
        if is_blocks(X):
            raise parameter_error("X", _IN_ONE, "blocks")
        whole = True
    # Members that were forgotten know one set of samples, as a whole.
    whole = whole or (ensemble is not None and ensemble.forgets)
    with progress_bar(estimator.progress, what, unit=unit) as bar:
        for number, (features, n_blocks) in enumerate(_features(estimator, X, n_members, whole)):

            def report(done: int, total: int, before: int = number, all_in: int = n_blocks) -> None:
                bar(before * total + done, max(before + 1, all_in) * total)

            yield ask(through(estimator._map, features), report)


def _features(estimator: Any, X: Any, n_members: int, whole: bool) -> Iterator[tuple[Features, int]]:
    """Blocks as floats, and how many there are going to be, as far as that is known."""
    if is_blocks(X):
        for number, (block, _) in enumerate(each_block(X)):
            yield _one(estimator, block, number), number + 1
        return
    rows, _ = read_rows(X)
    check_shape(estimator, X, rows, reset=False)
    n = len(rows)
    step = n if whole else step_of(n, int(np.prod(rows.shape[1:])), n_members, _VALUES)
    for start in range(0, n, step):
        yield (_own(rows) if step == n else rows.read(start, start + step)), -(-n // step)


def _one(estimator: Any, block: Any, number: int) -> Features:
    try:
        rows, _ = read_rows(block)
        check_shape(estimator, block, rows, reset=False)
    except CertssbError as error:
        raise named(error, number) from error
    return _own(rows)


def _own(rows: Rows) -> Features:
    """All rows as floats that are nobody else's."""
    features: Features = rows.whole()
    return features.copy() if np.may_share_memory(features, rows.values) else features


def labelled_blocks(X: Any) -> Iterator[tuple[Any, Any]]:
    """Blocks of samples with their labels, which each must have."""
    for number, (block, labels) in enumerate(each_block(X)):
        if labels is None:
            raise parameter_error(
                "X", "blocks (samples, labels), or y given beside it", f"block {number} without labels"
            )
        yield block, labels


def refuse_family_wise(family_wise: bool, X: Any) -> None:
    """A chance that is divided among all samples needs their number, before the first is certified."""
    if family_wise and is_blocks(X):
        expected = (
            "False for samples that come in blocks, whose number nobody knows when the first block is certified. With n "
            "samples in all, alpha=alpha / n for each is the same statement"
        )
        raise parameter_error("family_wise", expected, "True")
