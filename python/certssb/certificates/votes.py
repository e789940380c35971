"""Certificates for ensembles that were trained elsewhere: from their votes, or from their scores."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from certssb import _core
from certssb._checks import parameter_error, shape_error
from certssb.certificates._asked import (
    BoundName,
    ElectionName,
    asked_confidence,
    asked_law,
    check_election,
    optional_count,
)
from certssb.certificates._budget import check_count
from certssb.certificates.table import CertificateTable
from certssb.data._tensors import plain
from certssb.laws import Cascade, Law, Partition
from certssb.watch._log import log_certify

__all__ = ["certify_scores", "certify_votes"]

_MOST_TRUSTED = 2**40
"""Samples that a table's record may speak of."""


@log_certify
def certify_votes(
    votes: npt.ArrayLike,
    law: Law,
    n_train: int | None = None,
    n_classes: int | None = None,
    *,
    alpha: float = 0.001,
    bound: BoundName = "auto",
    selection: Literal["union", "split"] = "union",
    runner_up: Literal["auto", "complement", "bound"] = "auto",
    family_wise: bool = False,
    split: int | None = None,
    n_features: int | None = None,
    election: ElectionName = "plurality",
    n_trusted: int = 0,
) -> CertificateTable:
    """Certify an ensemble trained elsewhere, from its members' votes.

    The guarantee assumes that the members were trained on independent noised sets drawn from `law`, with one draw per
    member and sample, and on nothing else of the received data. Each learner of a :class:`~certssb.Partition` must be
    a deterministic function of the set of samples in its buckets, whatever their order and positions in the received
    data. Learners come in the order of their numbers.

    Parameters
    ----------
    votes : array-like of int, shape (n_members, n_samples)
        Class numbers 0 .. n_classes - 1; for a :class:`~certssb.Cascade` of shape (n_levels, n_members, n_samples).
    law : Law
        The law from which each member's training set was drawn.
    n_train : int
        Number of training samples, not counting trusted ones; may be left out for a :class:`~certssb.Partition`.
    n_classes : int
        Number of classes, at least 2.
    alpha : float, default=0.001
        Largest probability that a statement is wrong, in [1e-200, 1). This and the parameters up to `split` do not
        apply to a :class:`~certssb.Partition`, whose certificates leave nothing to chance.
    bound : {"auto", "clopper_pearson", "kl", "hoeffding", "betting"}
        Confidence bound; "auto" is Clopper-Pearson for votes.
    selection : {"union", "split"}
        Whether the same members choose the class and bound it, or the first `split` choose and the rest bound.
    runner_up : {"auto", "complement", "bound"}
        Whether other classes are bounded by ``1 - p_lower`` or individually; "auto" uses the first for two classes,
        for which both are the same, and the second for more. See Notes.
    family_wise : bool, default=False
        Whether the statements about all samples hold together with probability ``1 - alpha``.
    split : int, optional
        Number of choosing members with ``selection="split"``; a tenth by default. With ``bound="betting"`` it must be
        given, and be the same at every look, because the default changes with the number of members.
    n_features : int, optional
        Number of features of a sample; needed by :class:`~certssb.Uniform`.
    election : {"plurality", "run-off"}
        How the learners of a :class:`~certssb.Partition` elect a class: by most votes, or in a second round between
        the two classes with the most votes, which needs :func:`certify_scores`.
    n_trusted : int, default=0
        Number of trusted samples, which nobody changed and which every member saw as they are in addition to its draw
        from the others. Bounds do not depend on it, but the guarantee mentions it.

    Returns
    -------
    CertificateTable

    Raises
    ------
    ParameterError
        If a value is out of range or a name unknown, or there are too few members to certify anything (the
        message names the number needed).
    ShapeError
        If votes are not of shape (n_members, n_samples).

    Notes
    -----
    With K classes, each of the bounds behind a certificate uses this part of `alpha`, so that all of them hold
    together:

    ============  ==========================  ====================================
    selection     runner_up="complement"      runner_up="bound"
    ============  ==========================  ====================================
    union         1/2, whatever K is          1/(K + 2): K lower and 2 upper ones
    split         all of it                   1/2 each: one lower, one upper
    ============  ==========================  ====================================

    Under "union" and "complement", if nothing is certified, the bound `p_lower` uses the part 1/K of `alpha` (and
    less if the bound is below 1/K). The levels of a :class:`~certssb.Cascade` share `alpha` evenly, and within a
    level "complement" uses 1/K.

    Examples
    --------
    >>> import numpy as np
    >>> import certssb as cs
    >>> votes = np.ones((1000, 3), dtype=int)
    >>> certs = cs.certify_votes(votes, cs.Subsample(cs.Gaussian(1.0), size=100), n_train=12665, n_classes=2)
    >>> certs.trigger_norm(n_poisoned=253).round(2)
    array([1.79, 1.79, 1.79])
    """
    array = plain(votes, "votes")
    cascade = isinstance(law, Cascade)
    if array.ndim != 2 + cascade:
        expected = "shape (n_levels, n_members, n_samples)" if cascade else "shape (n_members, n_samples)"
        raise shape_error("votes", expected, f"shape {array.shape}")
    if array.dtype.kind not in "iub":
        raise parameter_error("votes", "an array of integers", f"values of type {array.dtype}")
    check_election(election, law)
    if isinstance(law, Partition):
        (ballots,) = _level_votes(array[None], check_count("n_classes", n_classes))
        return _elected(ballots, law, n_train, n_classes, election, n_trusted)
    confidence = asked_confidence(alpha, bound, selection, runner_up, family_wise, split)
    if cascade:
        sizes = (
            check_count("n_train", n_train),
            check_count("n_classes", n_classes),
            optional_count("n_features", n_features),
        )
        core = _core.certify_cascade(_level_votes(array, sizes[1]), law, *sizes, confidence)
        return _beside(core, n_trusted)
    core = _core.certify_votes(
        _readable(array), asked_law(law), check_count("n_train", n_train), check_count("n_classes", n_classes),
        optional_count("n_features", n_features), confidence,
    )  # fmt: skip
    return _beside(core, n_trusted)


def _elected(
    answers: Any, law: Partition, n_train: Any, n_classes: Any, election: str, n_trusted: Any
) -> CertificateTable:
    known = optional_count("n_train", n_train)
    count = check_count("n_classes", n_classes)
    return _beside(_core.certify_learners(answers, law, known, count, election), n_trusted)


def _beside(core: _core.Certificates, n_trusted: Any) -> CertificateTable:
    """The table of members that saw so many trusted samples beside what was drawn for them."""
    count = check_count("n_trusted", n_trusted)
    if count > _MOST_TRUSTED:
        raise parameter_error("n_trusted", f"an integer from 0 to {_MOST_TRUSTED}", count)
    return CertificateTable(core.with_trusted(count) if count else core)


def _floats(scores: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    with np.errstate(over="ignore"):
        # What becomes infinite is refused where it is checked.
        return np.ascontiguousarray(scores, dtype=np.float32)


def _ordered(scores: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Scores in single precision where that holds them, else their ranks: in the order in which they came, whatever their type.

    Two that single precision rounds to one would be a tie, which the lowest class wins though its learner prefers another.
    """
    floats = _floats(scores)
    for given, kept in zip(scores, floats, strict=True):
        with np.errstate(invalid="ignore", over="ignore"):
            exact = bool((kept.astype(given.dtype) == given).all())
        if exact or not np.isfinite(given).all():
            continue
        order = given.argsort(axis=-1, kind="stable")
        ascending = np.take_along_axis(given, order, axis=-1)
        ranks = np.zeros(given.shape, dtype=np.float32)
        ranks[:, 1:] = (ascending[:, 1:] > ascending[:, :-1]).cumsum(axis=-1)
        np.put_along_axis(kept, order, ranks, axis=-1)
    return floats


def _readable(votes: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The array itself, whatever its integers and its order in memory; a copy if the processor cannot read it."""
    if votes.dtype == np.bool_:
        return votes.view(np.uint8)
    return np.require(votes, votes.dtype.newbyteorder("="), "A")


def _level_votes(votes: npt.NDArray[Any], n_classes: int) -> list[npt.NDArray[np.uint16]]:
    if votes.size and not (0 <= votes.min() and votes.max() < min(n_classes, 2**16)):
        bad = votes[(votes < 0) | (votes >= n_classes)].flat[0]
        raise parameter_error("votes", f"class numbers from 0 to {n_classes - 1}", str(bad))
    return list(votes.astype(np.uint16))


@log_certify
def certify_scores(
    scores: npt.ArrayLike,
    law: Law,
    n_train: int | None = None,
    *,
    alpha: float = 0.001,
    bound: BoundName = "auto",
    selection: Literal["union", "split"] = "union",
    runner_up: Literal["auto", "complement", "bound"] = "auto",
    family_wise: bool = False,
    split: int | None = None,
    n_features: int | None = None,
    election: ElectionName = "plurality",
    n_trusted: int = 0,
) -> CertificateTable:
    """Certify an ensemble trained elsewhere, from its members' scores (such as softmax outputs).

    Parameters
    ----------
    scores : array-like of float, shape (n_members, n_samples, n_classes)
        Scores in [0, 1] that sum to 1 over the classes, which are rounded to single precision: what is certified is the
        ensemble of the rounded ones. For a :class:`~certssb.Partition` any finite scores will do: only their order
        within one learner's answer counts, to the last bit of the type in which they come.
    law, n_train, alpha, bound, selection, runner_up, family_wise, split, n_features, election, n_trusted
        As for :func:`certify_votes`; "auto" is the Kullback-Leibler bound, and Clopper-Pearson is refused.

    Returns
    -------
    CertificateTable

    Raises
    ------
    ParameterError, ShapeError
        As for :func:`certify_votes`.

    Examples
    --------
    >>> import numpy as np
    >>> import certssb as cs
    >>> scores = np.tile([0.02, 0.98], (1000, 5, 1))
    >>> certs = cs.certify_scores(scores, cs.Gaussian(0.5), n_train=12665)
    >>> certs.radius.round(2)
    array([0.86, 0.86, 0.86, 0.86, 0.86])
    >>> law = cs.Partition(500, overlap=2)
    >>> cs.certify_scores(scores, law, election="run-off").n_buckets
    array([249, 249, 249, 249, 249])
    """
    array = plain(scores, "scores")
    if array.ndim != 3:
        raise shape_error("scores", "shape (n_members, n_samples, n_classes)", f"shape {array.shape}")
    if array.dtype.kind not in "fiub":
        raise parameter_error("scores", "an array of floats", f"values of type {array.dtype}")
    check_election(election, law)
    try:
        values = _ordered(array) if isinstance(law, Partition) else _floats(array)
    except MemoryError:
        got = f"shape {array.shape}"
        raise shape_error("scores", "as many values as fit into memory", got) from None
    if isinstance(law, Partition):
        return _elected(values, law, n_train, array.shape[2], election, n_trusted)
    confidence = asked_confidence(alpha, bound, selection, runner_up, family_wise, split)
    core = _core.certify_scores(
        values,
        asked_law(law),
        check_count("n_train", n_train),
        optional_count("n_features", n_features),
        confidence,
    )
    return _beside(core, n_trusted)
