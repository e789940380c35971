"""From options to a law; the default is one whose certificate covers the attack that the run makes."""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

import certssb as cs
from certssb._checks import parameter_error
from certssb.certificates._budget import Budget
from certssb.cli._options import NOISES

AGREEMENT = 0.75
"""The default subsample is the largest with which this share of the members is enough, all others agreeing on one
other class. With more, only the clearest predictions are certified; with less, members see too little to be right."""


@dataclass(frozen=True)
class Facts:
    """What the law has to fit: the sizes of the data, and of the statement."""

    n_train: int
    n_features: int
    n_classes: int
    n_test: int
    members: int
    settings: dict[str, Any]

    def agreeing(self, law: cs.Law, share: float = 1.0) -> cs.CertificateTable:
        """The certificate of a prediction for which `share` of the members vote, the others for one other class."""
        if isinstance(law, cs.Partition):
            ballots = np.zeros((law.n_learners, 1), dtype=np.uint8)
            return cs.certify_votes(ballots, law, self.n_train, self.n_classes)
        family = self.n_test if self.settings["family_wise"] else 1
        votes = np.ones(self.members, dtype=np.uint8)
        # Spread evenly, for bounds that read the members in order.
        votes[np.linspace(0, self.members - 1, math.ceil(share * self.members)).round().astype(int)] = 0
        levels = (len(law.levels),) if isinstance(law, cs.Cascade) else ()
        ballots = np.broadcast_to(votes[:, None], (*levels, self.members, family))
        table = cs.certify_votes(
            ballots, law, self.n_train, self.n_classes, n_features=self.n_features, **self.settings
        )
        return table[:1]


def covering_law(facts: Facts, n_poisoned: int) -> cs.Law:
    """Subsamples so small that most members see none of the poisoned samples: no matter how these were changed.

    The size follows from the number of samples, members and classes and the settings of the bounds alone: no look
    at the data.
    """

    def holds(size: int, share: float) -> bool:
        table = facts.agreeing(cs.Subsample(size=size), share)
        return bool(table.holds(n_poisoned, math.inf, labels=True)[0])

    share = next((share for share in (AGREEMENT, 1.0) if holds(1, share)), None)
    low, high = 1, facts.n_train + 1
    while share is not None and high - low > 1:
        middle = (low + high) // 2
        if holds(middle, share):
            low = middle
        else:
            high = middle
    return cs.Subsample(size=low)


def covering_rate(facts: Facts, budget: Budget) -> cs.Law:
    """The same for edits of any kind: each sample is drawn with a probability that does not follow their number, so that
    members learn nothing of inserted samples from the law.
    """

    def holds(rate: float, share: float) -> bool:
        table = facts.agreeing(cs.Subsample(rate=rate), share)
        return bool(table.holds(**budget.change())[0])

    low, high = math.log(1e-9), math.log(0.5)
    share = next((share for share in (AGREEMENT, 1.0) if holds(math.exp(low), share)), None)
    for _ in range(20 if share is not None else 0):
        middle = 0.5 * (low + high)
        if holds(math.exp(middle), share or 1.0):
            low = middle
        else:
            high = middle
    # Two digits, rounded down: a number that can be typed.
    rate = math.exp(low)
    unit = 10.0 ** (math.floor(math.log10(rate)) - 1)
    return cs.Subsample(rate=max(1e-9, float(f"{math.floor(rate / unit) * unit:.2g}")))


def asked_threat(options: argparse.Namespace, n_train: int, *others: str) -> Budget | None:
    """The budget that ``--threat`` describes; `others` are the options in whose place it stands."""
    if options.threat is None:
        return None
    for name in others:
        if getattr(options, name) not in (None, False):
            raise parameter_error(f"--{name.replace('_', '-')}", "left out beside --threat", "both")
    return cs.Threat.parse(options.threat)._budget(n_train)


def limits_norms(law: cs.Law) -> bool:
    """Whether certificates under `law` depend on how far a sample was changed."""
    return not isinstance(law, cs.Partition) and not (isinstance(law, cs.Subsample) and law.inner is None)


def leaves_features(law: cs.Law) -> bool:
    """Whether certificates under `law` are about labels alone."""
    return isinstance(law, cs.LabelNoise)


def asked_law(options: argparse.Namespace) -> cs.Law | None:
    """The law that the options describe; None if they leave it open."""
    given = [name for name in NOISES if getattr(options, name) is not None]
    if len(given) > 1:
        names = ", ".join(f"--{name}" for name in NOISES)
        raise parameter_error(names, "given one at a time", f"{len(given)} of them")
    if options.thresholds is not None and options.cascade is None:
        raise parameter_error("--thresholds", "given with --cascade", "them alone")
    if options.sample_specific and options.sigma is None and options.cascade is None:
        raise parameter_error("--sample-specific", "given with --sigma or --cascade", "it alone")
    _check_partition(options, given)
    if options.partition is not None:
        return cs.Partition(
            options.partition,
            1 if options.overlap is None else options.overlap,
            options.assign or "content",
        )
    if options.cascade is not None:
        levels = [_member_law(_gaussian(sigma, options), options) for sigma in options.cascade]
        return cs.Cascade(levels, thresholds=options.thresholds)
    if options.uniform is not None:
        return _member_law(cs.Uniform(options.uniform), options)
    if options.keep is not None:
        return _member_law(cs.Discrete(options.keep), options)
    if options.sigma is not None:
        return _member_law(_gaussian(options.sigma, options), options)
    if options.label_noise is None and options.subsample is None and options.subsample_rate is None:
        return None
    return _member_law(None, options)


def _check_partition(options: argparse.Namespace, given: list[str]) -> None:
    """Refuse noise beside a partition, and what belongs to a partition without one."""
    if options.partition is not None:
        noise = [
            *given,
            *(name for name in ("label_noise", "subsample") if getattr(options, name) is not None),
        ]
        if noise or options.sample_specific:
            named = noise[0].replace("_", "-") if noise else "sample-specific"
            raise parameter_error("--partition", "given alone, without noise", f"it beside --{named}")
        return
    for name in ("overlap", "assign", "election"):
        if getattr(options, name, None) is not None:
            raise parameter_error(f"--{name}", "given with --partition", "it alone")


def asked_election(options: argparse.Namespace) -> Literal["plurality", "run-off"]:
    """How learners of a partition elect a class."""
    return options.election or "plurality"


def needed_law(options: argparse.Namespace) -> cs.Law:
    """The law that the options describe, where there is none by default."""
    law = asked_law(options)
    if law is None:
        raise parameter_error("--sigma", "given, or another noise, or --subsample", "none of them")
    return law


def _gaussian(sigma: float, options: argparse.Namespace) -> cs.Law:
    return cs.SampleSpecific(sigma) if options.sample_specific else cs.Gaussian(sigma)


def _member_law(features: cs.Law | None, options: argparse.Namespace) -> cs.Law:
    """Noise on features, with noise on labels and a subsample where they are asked for."""
    labels = None if options.label_noise is None else cs.LabelNoise(options.label_noise)
    inner = features & labels if features is not None and labels is not None else features or labels
    if options.subsample is not None or options.subsample_rate is not None:
        if options.subsample is not None and options.subsample_rate is not None:
            raise parameter_error("--subsample-rate", "left out beside --subsample", "both")
        return cs.Subsample(inner, size=options.subsample, rate=options.subsample_rate)
    assert inner is not None
    return inner
