"""From the parameters of the certified ensemble to an ensemble in which nothing is trained yet, all of them checked."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from certssb import _core
from certssb._checks import check_integer, check_positive, check_real, one_of, parameter_error, shown
from certssb.augment._applied import Applied
from certssb.certificates._asked import asked_law
from certssb.estimators._cascade_levels import Levels, Members
from certssb.estimators._learners import check_learners
from certssb.estimators._spreading import checked_jobs, jobs_of_task
from certssb.estimators._with_members import Received, Trusted, WithMembers, n_levels
from certssb.estimators.until import Until
from certssb.executors._choice import check_executor
from certssb.executors._training import Recipe
from certssb.features._maps import FeatureMap, OfRows
from certssb.laws import Cascade, Gaussian, Law, Partition
from certssb.learners import _devices
from certssb.learners._choice import Learner, is_object_learner, learner_of, set_size
from certssb.storage._shelf import Shelf

__all__ = ["Building", "Changes", "at_least_one", "checked_jobs", "checked_place"]

PLACES = ("memory", "disk", "votes")
"""Where members are once they are trained; of the last only their votes."""

_MEMBERS = 1000
"""Members of an ensemble whose number nobody said."""


class Changes(NamedTuple):
    """How members' own samples are changed, and what of them."""

    augment: Applied | str | None
    feature_map: FeatureMap | None
    """The map that they pass afterwards, where they are changed before it."""
    received: Received
    """The samples as they came, and trusted ones, if so."""

    def of_rows(self) -> OfRows | None:
        if self.feature_map is None or self.received is None:
            return None
        return OfRows(self.feature_map, self.received[0].shape[1:])


class Building(WithMembers):
    """Makes ensembles of what the parameters say."""

    def _checked_members(self, n_classes: int, until: Until | None) -> int:
        check_executor(self.executor)
        place = checked_place(self.members)
        if place == "disk" and self.checkpoint is None:
            raise parameter_error("checkpoint", "a directory for members='disk', where members lie", "None")
        if isinstance(self.law, Partition):
            n_members = check_learners(self.n_members, self.law)
            if until is not None:
                raise parameter_error(
                    "until", "None for a Partition, which says how many learners there are", "a goal"
                )
            return n_members
        if (self.n_members == "auto") != (until is not None):
            got = f"n_members={self.n_members!r} and until={until if until is None else 'a goal'}"
            raise parameter_error("until", "given with n_members='auto', and with nothing else", got)
        asked = _MEMBERS if self.n_members is None else self.n_members
        n_members = at_least_one("n_members", asked) if until is None else until.max_members
        alpha = check_real("alpha", self.alpha, "a float in the range (0, 1)", 0.0, 1.0)
        _core.Confidence(alpha).check_enough(n_members, n_classes, 1, n_levels(self.law))
        return n_members

    def _new_ensemble(
        self,
        features: _core.Rows,
        codes: npt.NDArray[np.int64],
        n_classes: int,
        changes: Changes,
        trusted: Trusted,
    ) -> tuple[Members, list[Recipe]]:
        """An ensemble, and what workers make each of its levels of."""
        law = Gaussian(0.5) if self.law is None else asked_law(self.law)
        if isinstance(law, Cascade):
            made = [
                self._new_level(level, features, codes, n_classes, changes, trusted) for level in law.levels
            ]
            return Levels(law, [ensemble for ensemble, _ in made]), [recipe for _, recipe in made]
        ensemble, recipe = self._new_level(law, features, codes, n_classes, changes, trusted)
        return ensemble, [recipe]

    def _new_level(
        self,
        law: Law,
        features: _core.Rows,
        codes: npt.NDArray[np.int64],
        n_classes: int,
        changes: Changes,
        trusted: Trusted,
    ) -> tuple[_core.Ensemble, Recipe]:
        stack = None if self.stack is None else at_least_one("stack", self.stack)
        n_trusted = 0 if trusted is None else len(trusted[1])
        model = self._checked_model(law, features, n_classes, n_trusted)
        batches = -(-(len(features) + n_trusted) // at_least_one("batch_size", self.batch_size))
        n_steps = at_least_one("epochs", self.epochs) * batches
        if not isinstance(model, str):
            model.try_stacks(str(self.device), stack)
            model.check_alone(str(self.device), n_steps)
        learner = None if isinstance(model, str) else model
        settings: Any = {
            "model": model,
            "epochs": at_least_one("epochs", self.epochs),
            "batch_size": at_least_one("batch_size", self.batch_size),
            "learning_rate": check_positive("learning_rate", self.learning_rate),
            "seed": self.seed_,
            "device": _devices.wished(str(self.device), learner),
            "n_jobs": None if self.n_jobs is None else checked_jobs(self.n_jobs),
            "before_noise": None if self.features is None else self.features.before_noise(),
            "stack": stack,
            "memory": _devices.free_memory(str(self.device), learner),
            "precision": str(self.precision),
            "augment": changes.augment,
            "feature_map": changes.of_rows(),
            "received": changes.received,
            "copies": None if self.copies is None else _copies(self.copies),
            "penalty": None if self.penalty is None else check_positive("penalty", self.penalty),
            "trusted": trusted,
        }
        ensemble = _core.Ensemble(features, codes, n_classes, law, **settings)
        tasks = settings | {"n_jobs": jobs_of_task(self.n_jobs), "device": str(self.device)}
        return ensemble, Recipe(features, codes, n_classes, law, tasks, n_steps)

    def _checked_model(self, law: Law, features: _core.Rows, n_classes: int, n_trusted: int) -> str | Learner:
        if isinstance(self.model, str):
            for name in ("optimizer", "loss"):
                if getattr(self, name) is not None:
                    expected = "None: it says how a module of your own is trained"
                    raise parameter_error(name, expected, f"one beside model={self.model!r}")
        if self.model == "auto":
            return "mlp" if features.ndim == 2 else "cnn"
        if isinstance(self.model, str):
            return self.model
        n_samples, jobs = (
            set_size(law, len(features), n_trusted),
            None if self.n_jobs is None else checked_jobs(self.n_jobs),
        )
        recipe = (self.optimizer, self.loss)
        learner = learner_of(self.model, features.shape[1:], n_classes, n_samples, jobs, self.form, recipe)
        if (
            is_object_learner(learner)
            and learner.form is None
            and self.checkpoint is not None
            and self.members != "votes"
        ):
            from certssb.learners.sklearn._storage import NO_FORM

            if isinstance(self.checkpoint, Shelf):
                raise parameter_error(
                    "form", f"'skops' or 'joblib' where members are kept. {NO_FORM}", "None"
                )
            raise parameter_error(
                "checkpoint", f"None where members are estimators. {NO_FORM}", repr(self.checkpoint)
            )
        return learner


def checked_place(value: Any) -> str:
    """Where members are once they are trained."""
    if not isinstance(value, str) or value not in PLACES:
        raise parameter_error("members", one_of(PLACES), shown(value))
    return value


def at_least_one(name: str, value: Any) -> int:
    return check_integer(name, value, "an integer of at least 1", 1)


def _copies(value: Any) -> int:
    return check_integer("copies", value, "None or an integer from 1 to 1000", 1, 1000)
