"""The laws that are tried for a threat, and their parameters: as little noise and as many samples as the votes allow."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from certssb.exceptions import ParameterError
from certssb.laws import Discrete, Gaussian, LabelNoise, Law, Partition, Subsample, Uniform
from certssb.recommending._needed import Asked

__all__ = ["SHARES", "Candidate", "candidates", "found", "least_noise", "refused"]

SHARES = (0.75, 0.95)
"""Laws are fitted to a share of the votes that is enough: clear predictions are certified, or only the clearest."""
_NORMS = (0.5, 1.0, 2.0)
"""Noise inside a subsample, in units of the threat's norm."""
_FLIPS = 0.2
"""Label noise inside a subsample, where labels may be changed."""
_DIGITS = 2
OUT_OF_REACH = "no setting reaches the threat with that many members"


@dataclass(frozen=True)
class Candidate:
    """One family of laws with one parameter that is searched.

    Attributes
    ----------
    name : str
        The family, as it is called where it is refused.
    fit : callable
        The law that needs no more than such a share of the votes, or None.
    sees : callable
        How many samples a member under the law sees.
    not_covered : str
        What is no part of its certificates.
    """

    name: str
    fit: Callable[[float], Law | None]
    sees: Callable[[Law], float]
    not_covered: str


def candidates(asked: Asked) -> Iterator[Candidate]:
    """Every family, whether it can say anything of the threat or not."""
    n, threat = asked.n_train, asked.threat

    def size(law: Law) -> float:
        assert isinstance(law, Subsample)
        return float(law.size) if law.size is not None else n * float(law.rate or 0.0)

    def bag(inner: Law | None) -> Callable[[float], Law | None]:
        return lambda share: _largest_size(asked, inner, share)

    more = "changes of more samples"
    in_place = threat.edits == "modified"
    order = more if in_place else f"{more}; another order of the others"
    yield Candidate("Subsample(size=...)", bag(None), size, order)
    yield Candidate("Subsample(rate=...)", lambda share: _largest_rate(asked, share), size, more)
    labels = LabelNoise(_FLIPS) if threat.labels else None
    if 0 < threat.trigger_norm < math.inf:
        for times in _NORMS:
            noise = Gaussian(float(f"{times * threat.trigger_norm:.{_DIGITS}g}"))
            inner = noise if labels is None else noise & labels
            beyond = f"{more}; larger triggers"
            yield Candidate(f"Subsample({inner!r}, size=...)", bag(inner), size, beyond)
    for assign in ("index", "features", "content"):
        if assign == "index" and not in_place:
            continue
        if assign == "features" and not (threat.trigger_norm == 0 and threat.labels):
            continue
        covered = f"{more}; insertions and deletions" if assign == "index" else more
        yield Candidate(
            f"Partition(..., assign={assign!r})",
            lambda share, assign=assign: _fewest_parts(asked, assign, share),  # type: ignore[misc]
            lambda law: n / law.n_parts,  # type: ignore[attr-defined]
            covered,
        )

    def whole(law: Law) -> float:
        return float(n)

    fixed = "insertions and deletions"
    some = "labels, insertions and deletions"
    yield Candidate("Gaussian(...)", lambda share: _least(asked, Gaussian, share), whole, some)
    yield Candidate("Uniform(...)", lambda share: _least(asked, Uniform, share), whole, some)
    yield Candidate("LabelNoise(...)", lambda share: _least_flips(asked, LabelNoise, share), whole, fixed)
    yield Candidate(
        "Discrete(...)",
        lambda share: _least_flips(asked, lambda q: Discrete(1 - q), share),
        whole,
        f"{fixed}; features other than 0 and 1",
    )


def _largest_size(asked: Asked, inner: Law | None, share: float) -> Law | None:
    def law(size: int) -> Law:
        return Subsample(inner, size=size)

    if not asked.reaches(law(1), share):
        return None
    low, high = 1, asked.n_train + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if asked.reaches(law(middle), share) else (low, middle)
    return law(low)


def _largest_rate(asked: Asked, share: float) -> Law | None:
    low, high = math.log(1e-9), math.log(0.5)
    if not asked.reaches(Subsample(rate=1e-9), share):
        return None
    for _ in range(20):
        middle = 0.5 * (low + high)
        low, high = (
            (middle, high) if asked.reaches(Subsample(rate=math.exp(middle)), share) else (low, middle)
        )
    return Subsample(rate=max(1e-9, _rounded(math.exp(low), math.floor)))


def _fewest_parts(asked: Asked, assign: str, share: float) -> Law | None:
    def law(parts: int) -> Law:
        return Partition(parts, assign=assign)  # type: ignore[arg-type]

    # With more learners a number of changed buckets weighs less; rounding of the votes makes steps of a learner or two.
    high = 1
    while high <= asked.n_train and not asked.reaches(law(high), share):
        high *= 2
    high = min(high, asked.n_train)
    if high < 1 or not asked.reaches(law(high), share):
        return None
    low = 0
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if asked.reaches(law(middle), share) else (middle, high)
    return law(high)


def _least(asked: Asked, noise: Callable[[float], Law], share: float) -> Law | None:
    scale = least_noise(asked, lambda scale: asked.reaches(noise(scale), share))
    return None if scale is None else noise(scale)


def least_noise(asked: Asked, reaches: Callable[[float], bool]) -> float | None:
    """As little noise as will do, in the units of the features; None if no noise does."""
    norm = asked.threat.trigger_norm
    if norm == math.inf or norm <= 0:
        return 1.0 if reaches(1.0) else None
    low, high = math.log(norm * 1e-3), math.log(norm * 1e3 * math.sqrt(asked.n_train))
    if not reaches(math.exp(high)):
        return None
    for _ in range(24):
        middle = 0.5 * (low + high)
        low, high = (low, middle) if reaches(math.exp(middle)) else (middle, high)
    return _rounded(math.exp(high), math.ceil)


def _least_flips(asked: Asked, noise: Callable[[float], Law], share: float) -> Law | None:
    """As few labels or entries flipped as will do: below 1/2, where nothing is left."""
    low, high = 0.0, 0.49
    if not asked.reaches(noise(high), share):
        return None
    for _ in range(12):
        middle = 0.5 * (low + high)
        low, high = (low, middle) if asked.reaches(noise(middle), share) else (middle, high)
    return noise(min(0.49, math.ceil(high * 1000) / 1000))


def _rounded(value: float, way: Callable[[float], int]) -> float:
    """In two digits, that can be typed: rounded towards what is certified."""
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    return float(f"{way(value / unit) * unit:.{_DIGITS}g}")


def found(candidate: Candidate, share: float) -> tuple[Law | None, str]:
    """The law of a candidate, or why there is none."""
    try:
        law = candidate.fit(share)
    except ParameterError as error:
        return None, refused(str(error))
    return law, "" if law is not None else OUT_OF_REACH


def refused(refusal: str) -> str:
    """What a law does not cover, from the parameter that its refusal names."""
    words = {
        "edits": "insertions and deletions are not covered",
        "labels": "changed labels are not covered",
        "trigger_norm": "changed features are not covered",
        "n_features": "the shape of a sample is needed",
    }
    return next((said for name, said in words.items() if refusal.startswith(f"The '{name}' ")), refusal)
