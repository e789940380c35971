"""Adding members until a goal is reached, and the warning of numbers that were chosen after a look."""

from __future__ import annotations

import warnings

import numpy as np
import numpy.typing as npt

from certssb import _core
from certssb._checks import parameter_error
from certssb.estimators._with_members import Features, Received, Trusted, WithMembers
from certssb.estimators.until import Until
from certssb.exceptions import GrowthWarning
from certssb.features import FeatureMap
from certssb.watch.progress import Report

__all__ = ["Growing", "warn_of_growth"]


class Growing(WithMembers):
    """Trains members in growing numbers, and looks in between."""

    def _goal(
        self,
        ensemble: _core.Ensemble,
        until: Until,
        feature_map: FeatureMap | None,
        n_train: int,
        n_classes: int,
    ) -> tuple[Until, Features]:
        """Refuse a budget that no number of members can reach, and samples that do not fit, before training."""
        test = self._test_features(until.X, feature_map)
        ensemble.check_inputs(test)
        plan = ensemble.law.plan(
            until._threat, alpha=self.alpha, n_classes=n_classes, n_features=test[0].size, n_train=n_train
        )
        if plan.n_members is None or plan.n_members > until.max_members:
            raise parameter_error("until", "a budget within reach of max_members members", str(plan))
        return until, test

    def _grow(
        self,
        ensemble: _core.Ensemble,
        features: Features,
        codes: npt.NDArray[np.int64],
        goal: tuple[Until, Features],
        report: Report,
        trusted: Trusted,
        received: Received,
    ) -> None:
        until, test = goal
        confidence = _core.Confidence(self.alpha, "betting")
        threat = until._threat._budget(len(codes)).asked()
        target = min(max(until.first, ensemble.n_members), until.max_members)
        while True:
            ensemble.train(features, codes, target, self._checkpoint(), report, trusted, received)
            # Before the look, so that nothing that happens afterwards can make it forgotten.
            ensemble.grow(self._checkpoint())
            decided = ensemble.decided(ensemble.votes(test), confidence, threat)
            self.decided_ = float(decided.mean())
            if self.decided_ >= until.share or ensemble.n_members >= until.max_members:
                return
            target = min(target + target // 2 + 1, until.max_members)


def warn_of_growth(n_members: int) -> None:
    warnings.warn(
        f"Answers of this ensemble were seen with another number of members than {n_members}. A bound for a fixed number "
        "is wrong for one that was chosen after a look, so the betting bound, which holds however often members are "
        "added, certifies from now on: it is valid, and certifies a little less. To keep the bound for a fixed number, "
        "decide on the number of members before the first look, or train an ensemble with a fresh seed (seed=None, "
        "without this checkpoint).",
        GrowthWarning,
        stacklevel=5,
    )
