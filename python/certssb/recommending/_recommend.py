"""Which laws reach a threat: every family is tried, and fitted to a share of the votes that members can be hoped to give."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from certssb._checks import check_integer, check_real, parameter_error, shown
from certssb.certificates._budget import exactly
from certssb.laws import Partition, Subsample
from certssb.recommending._candidates import OUT_OF_REACH, SHARES, Candidate, candidates, found
from certssb.recommending._nearest import NAME, RecommendedKNN, neighbours
from certssb.recommending._needed import Asked
from certssb.recommending._rows import Recommendation, RecommendedLaw
from certssb.recommending._trials import measured, measured_nearest
from certssb.threats import Threat

__all__ = ["recommend"]


def recommend(
    threat: Threat,
    n_train: int,
    n_classes: int = 2,
    shape: int | Sequence[int] | None = None,
    *,
    n_members: int = 1000,
    alpha: float = 0.001,
    trusted: tuple[Any, Any] | None = None,
    model: Any = None,
    n_trial: int = 100,
    seed: int = 0,
) -> Recommendation:
    """Which laws can certify against a threat, and what each of them needs: computed before training, without a look
    at the data.

    Every family of laws is tried, and its parameter is fitted twice: so that three quarters of the votes are enough,
    and so that 95% are. In both cases members see as many samples, or as little noise, as that allows. Laws for
    which three quarters are enough come first. Among them are first the laws without noise, then noise inside a
    subsample, then noise on the whole set, and within these groups first the laws whose members see more samples.
    With trusted samples the candidates are measured, and the one with the largest certified share comes first.

    The exact 1-nearest neighbour (:class:`~certssb.CertifiedKNN`) is no law but a classifier of its own. If it can reach
    the threat it stands in `nearest`, below the laws: with the noise for which a probability of the predicted class of 0.75,
    0.95 or 0.999999 is enough. Nothing there is left to chance, but labels, insertions and deletions are not covered.

    Parameters
    ----------
    threat : Threat
        What attackers may have done.
    n_train : int
        Number of training samples, without trusted ones.
    n_classes : int, default=2
        Number of classes.
    shape : int or sequence of int, optional
        Shape of a sample, or its number of features; :class:`~certssb.Uniform` is left out without it.
    n_members : int, default=1000
        Number of members that vote. A :class:`~certssb.Partition` has its own number.
    alpha : float, default=0.001
        Largest probability that a certificate is wrong.
    trusted : tuple of (X, y), optional
        Samples and labels that no attacker had a hand in. Candidates are measured on them.
    model : optional
        The model to measure with, as :class:`~certssb.CertifiedClassifier` takes it; given with `trusted`.
    n_trial : int, default=100
        Number of members of each small ensemble.
    seed : int, default=0
        Seed of the small ensembles. They are discarded, so it need not be secret.

    Returns
    -------
    Recommendation
        Rows of :class:`RecommendedLaw`, and `best`, the first law; `nearest` has the exact 1-nearest neighbour, and
        `unreachable` what is left out, with the reason.

    Raises
    ------
    ParameterError
        If a value is out of range, or only one of `trusted` and `model` is given.
    ShapeError
        If there is not one label for each trusted sample.

    Notes
    -----
    How candidates are measured: members are trained on one half of the trusted samples and predict the other, and
    vice versa. They see as many samples as a member of the law would, under the same noise, but draw them from a
    smaller set, which does not affect the accuracy of a single member. If that is more than a quarter of the trusted
    samples, a quarter is drawn, because members that all see nearly the same samples agree for no good reason; the
    row says so (`scaled`). Votes are then repeated to the law's number of members and certified with the actual size
    of the training set. These are estimates; no statement of a later fit rests on them. They come from trusted
    samples alone, so choosing by them does not weaken the guarantee of that fit. The nearest neighbour is measured with
    one half of the trusted samples as neighbours of the other; among more samples the nearest one is another.

    Examples
    --------
    >>> import certssb as cs
    >>> found = cs.recommend(cs.Threat(n_poisoned=50, labels=True, edits="any"), n_train=5000, n_classes=10)
    >>> found.best
    Subsample(rate=0.0043)
    >>> found[0].votes, found[0].n_members
    (749, 1000)
    >>> found.unreachable["Gaussian(...)"]
    'insertions and deletions are not covered'
    """
    asked = _asked(threat, n_train, n_classes, shape, n_members, alpha)
    if (trusted is None) != (model is None):
        other, given = ("model", "trusted") if model is None else ("trusted", "model")
        raise parameter_error(other, f"given with '{given}'", "None")
    ordered, unreachable = _searched(asked)
    nearest = _neighbours(asked, unreachable)
    looked = "It follows from these numbers alone: no data were looked at."
    if trusted is not None:
        ordered, looked = measured(asked, ordered, unreachable, trusted, model, n_trial, seed)
        nearest = measured_nearest(asked, nearest, unreachable, trusted, seed)
    sizes = f"{n_classes} classes, {asked.n_members:,} members at alpha {exactly(alpha)}"
    what = f"Against {threat.words(n_train)}; {sizes}"
    if not ordered:
        sentence = f"{what}: no law reaches this threat. {looked}"
    else:
        sentence = f"{what}: laws that can certify a prediction, if that many votes agree on it. {looked}"
        # A law that follows from the number of samples is another law on the other training set.
        if threat.share is not None and threat.edits != "modified":
            sentence += (
                " A share of n_train follows from n_train, which insertions and deletions change, and so do all of these laws: "
                "where anybody could add or remove samples, state a number of samples instead."
            )
        elif any(_follows_number(threat, row) for row in ordered):
            sentence += (
                " Sizes follow from n_train, which insertions and deletions change: take one only if it was settled before "
                "anybody could add or remove samples, and a rate or a partition otherwise."
            )
    return Recommendation(ordered, unreachable, threat, asked.n_train, sentence, nearest)


def _neighbours(asked: Asked, unreachable: dict[str, str]) -> list[RecommendedKNN]:
    """The exact 1-nearest neighbour, with less noise for larger probabilities; without any, the reason is noted."""
    tried = list(neighbours(asked))
    found = {row.sigma: row for row in tried if isinstance(row, RecommendedKNN)}
    if not found:
        unreachable[NAME] = next(why for why in tried if isinstance(why, str))
    return list(found.values())


def _searched(asked: Asked) -> tuple[list[RecommendedLaw], dict[str, str]]:
    """The laws that reach the threat, best first, and why others are left out."""
    rows: dict[str, tuple[int, RecommendedLaw]] = {}
    unreachable: dict[str, str] = {}
    for candidate in candidates(asked):
        reason, any_row = OUT_OF_REACH, False
        for place, share in enumerate(SHARES):
            law, why = found(candidate, share)
            row = None if law is None else _row(asked, candidate, law)
            if row is None:
                reason = why or reason
            elif row.n_seen < 1:
                reason = "a member would see less than one sample"
            else:
                any_row = True
                rows.setdefault(repr(row.law), (place, row))
        if not any_row:
            unreachable[candidate.name] = reason
    placed = list(rows.values())
    for place, row in list(placed):
        # Noise for nothing: members see no more samples than without it.
        plain = [other.n_seen for there, other in placed if there == place and _noise(other) == 0]
        if _noise(row) == 1 and plain and row.n_seen <= max(plain):
            placed.remove((place, row))
            unreachable[repr(row.law)] = (
                "without noise, members see at least as many samples, and as many votes are enough"
            )
    # A size and a rate are much the same, and a rate does not follow from the number of samples.
    worth = {id(row): row.n_seen * (0.9 if _follows_number(asked.threat, row) else 1.0) for _, row in placed}
    placed.sort(key=lambda own: (own[0], _noise(own[1]), -worth[id(own[1])], own[1].cost))
    return [row for _, row in placed], unreachable


def _follows_number(threat: Threat, row: RecommendedLaw) -> bool:
    """Whether the law was worked out from a number of samples that the threat changes."""
    return threat.edits != "modified" and isinstance(row.law, Subsample) and row.law.size is not None


def _asked(threat: Any, n_train: Any, n_classes: Any, shape: Any, n_members: Any, alpha: Any) -> Asked:
    if not isinstance(threat, Threat):
        raise parameter_error("threat", "a Threat", shown(threat))
    n_train = check_integer("n_train", n_train, "an integer of at least 1", 1)
    if threat.edits in ("modified", "any") and threat.number(n_train) > n_train:
        raise parameter_error(
            "threat", f"about at most {n_train} samples, as many as there are", shown(threat)
        )
    n_classes = check_integer("n_classes", n_classes, "an integer of at least 2", 2)
    n_members = check_integer("n_members", n_members, "an integer of at least 1", 1)
    alpha = check_real("alpha", alpha, "a float in the range [1e-200, 1)", 1e-200, math.nextafter(1.0, 0.0))
    n_features = None
    if shape is not None:
        sizes = (shape,) if isinstance(shape, int) else tuple(shape)
        each = [check_integer("shape", size, "positive integers", 1) for size in sizes]
        n_features = math.prod(each)
    return Asked(threat, n_train, n_classes, n_features, alpha, n_members)


def _row(asked: Asked, candidate: Candidate, law: Any) -> RecommendedLaw | None:
    votes = asked.votes(law)
    if votes is None:
        return None
    seen, exact = candidate.sees(law), isinstance(law, Partition)
    members = asked.members(law)
    return RecommendedLaw(
        law=law,
        n_members=members,
        votes=votes,
        n_seen=seen,
        cost=members * seen / asked.n_train,
        alpha=None if exact else asked.alpha,
        secret=not exact,
        not_covered=candidate.not_covered,
    )


def _noise(row: RecommendedLaw) -> int:
    """0 without noise, 1 with noise on the samples that a member draws, 2 with noise on all of them."""
    if isinstance(row.law, Partition):
        return 0
    return 2 if not isinstance(row.law, Subsample) else int(row.law.inner is not None)
