"""Adding members until a goal is reached, and the warning of numbers that were chosen after a look."""

from __future__ import annotations

import warnings
from collections.abc import Callable

from certssb import _core
from certssb._checks import parameter_error
from certssb.estimators._spreading import said
from certssb.estimators._with_members import Features, WithMembers
from certssb.estimators.until import Until
from certssb.exceptions import GrowthWarning
from certssb.features import FeatureMap

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
        train: Callable[[int], None],
        n_train: int,
        goal: tuple[Until, Features],
    ) -> None:
        """Let `train` bring the ensemble to more and more members until the goal is reached."""
        until, test = goal
        confidence = _core.Confidence(self.alpha, "betting")
        threat = until._threat._budget(n_train).asked()
        target = min(max(until.first, ensemble.n_members), until.max_members)
        while True:
            train(target)
            # Before the look, so that nothing that happens afterwards can make it forgotten.
            ensemble.grow(self._checkpoint())
            votes = said(self, ensemble, test, "votes", precision=str(self.precision))
            decided = ensemble.decided(votes, confidence, threat)
            self.decided_ = float(decided.mean())
            if self.decided_ >= until.share or ensemble.n_members >= until.max_members:
                return
            target = min(target + target // 2 + 1, until.max_members)


def warn_of_growth(n_members: int) -> None:
    warnings.warn(
        f"Answers of this ensemble were already seen with a number of members other than {n_members}. A bound for a fixed "
        "number is wrong for one that was chosen after a look. From now on certificates use the betting bound, which "
        "holds however often members are added: it is valid, but certifies a little less. To keep the bound for a fixed number, "
        "decide on the number of members before the first look, or train an ensemble with a fresh seed (seed=None, "
        "without this checkpoint).",
        GrowthWarning,
        stacklevel=5,
    )
