"""A fitted ensemble's members one by one, its record, and the folder that holds all of it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from certssb import _core
from certssb._checks import check_integer, check_real, frozen, parameter_error
from certssb._extras import needed
from certssb.augment import from_description
from certssb.estimators._building import checked_jobs, checked_place
from certssb.estimators._cascade_levels import Levels
from certssb.estimators._with_members import WithMembers, n_levels
from certssb.features import FeatureMap
from certssb.learners._choice import is_object_learner
from certssb.storage import _ensembles, _seal

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Keeping"]


class Keeping(WithMembers):
    """Shows, writes and reads members."""

    if TYPE_CHECKING:

        def __init__(self, *args: Any, **settings: Any) -> None: ...

    def member(self, number: int, level: int = 0) -> Any:
        """One member as a separate module, in evaluation mode on the CPU, or as the estimator that was fitted.

        Parameters
        ----------
        number : int
            Which one, from 0 to ``n_members_ - 1``.
        level : int, default=0
            Of which level of a :class:`~certssb.Cascade`.

        Returns
        -------
        torch.nn.Module
            Maps (batch, ...) to logits (batch, n_classes). It is what the callable returned, with the member's
            weights; for a built-in model, including those in closed form, a :class:`certssb.modules.BuiltInModule`.
            Changing it changes no vote.
        object
            If members are estimators: a copy of the fitted one. Its classes are indices into ``classes_``; for
            estimators that need classes without gaps (XGBoost's), indices into the classes that the member has seen.
            For a member that has seen only one class, a fitted :class:`sklearn.dummy.DummyClassifier`.

        Raises
        ------
        ParameterError
            If there is no such member, or its training diverged: it votes for the lowest class, and there is no
            module for it.

        Examples
        --------
        >>> import certssb as cs
        >>> from torch import nn
        >>> X, y = cs.datasets.load_digits(classes=(0, 1))
        >>> net = lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
        >>> clf = cs.CertifiedClassifier(net, n_members=3, alpha=0.5, seed=0, progress=False).fit(X, y)
        >>> clf.member(2)[1].weight.shape
        torch.Size([2, 64])
        """
        # Whoever has a member can ask it.
        ensemble = self._look()
        expected = f"an integer from 0 to {ensemble.n_members - 1}"
        place = check_integer("number", number, expected, 0)
        levels = f"an integer from 0 to {n_levels(ensemble.law) - 1}"
        if check_integer("level", level, levels, 0) >= n_levels(ensemble.law):
            raise parameter_error("level", levels, repr(level))
        values = ensemble.values(place, level) if isinstance(ensemble, Levels) else ensemble.values(place)
        if values is None:
            raise parameter_error("number", expected, repr(number))
        if ensemble.is_failed(place, level) if isinstance(ensemble, Levels) else ensemble.is_failed(place):
            raise parameter_error("number", "that of a member whose training did not diverge", repr(number))
        if is_object_learner(ensemble.model):
            own = ensemble.levels[level] if isinstance(ensemble, Levels) else ensemble
            return ensemble.model.estimator(own.member(place))
        if ensemble.model is not None:
            return ensemble.model.module(values)
        record = json.loads(ensemble.record())
        needed("torch", "A member as a module", "torch")
        from certssb.learners.torch.built_in import BuiltInModule

        return BuiltInModule(
            record["model"], _ensembles.sample_shape(record), record["n_classes"], values
        ).eval()

    def save(
        self,
        path: str | os.PathLike[str],
        *,
        overwrite: bool = False,
        form: Literal["skops", "joblib"] | None = None,
    ) -> str:
        """Write the ensemble into a folder: weights as safetensors, the rest as JSON; nothing is pickled unless you say so.

        Parameters
        ----------
        path : str or path
            A folder that does not exist, is empty, or holds members of the same settings and data.
        overwrite : bool, default=False
            Whether a saved ensemble of other settings or data may be replaced. The new one is written next to it and
            takes its place at the end, so that one of the two always exists. A folder that holds anything else is
            never replaced.
        form : {"skops", "joblib"}, optional
            The format in which members that are estimators are written; required for these, unused for others.
            "skops" needs the package of that name; reading creates only objects of the types that members of the
            model are made of. "joblib" holds everything and **is pickle: anybody who can write to the folder can run
            code where it is read**. The constructor's if not given.

        Returns
        -------
        str
            The fingerprint: SHA-256 over settings, data digest, history and all members. Keep it in another place,
            and ``load(path, fingerprint=...)`` checks that the folder holds exactly this ensemble. Without it, damage
            is detected, but not tampering by somebody who also rewrites the fingerprint.

        Raises
        ------
        CheckpointError
            If the folder cannot be used or holds something else.

        Examples
        --------
        >>> import tempfile
        >>> import certssb as cs
        >>> X, y = cs.datasets.load_digits(classes=(0, 1))
        >>> clf = cs.CertifiedClassifier("linear", n_members=3, alpha=0.5, seed=0, progress=False).fit(X, y)
        >>> folder = tempfile.mkdtemp()
        >>> len(clf.save(folder))
        64
        >>> bool((cs.CertifiedClassifier.load(folder).predict(X) == clf.predict(X)).all())
        True
        """
        form = _checked_form(
            None if self._fitted().forgets else self._fitted().model, self.form if form is None else form
        )
        # Whoever reads the folder can look.
        ensemble = self._look()
        facts = {
            "n_members": ensemble.n_members,
            "classes": _ensembles.classes_to_json(self.classes_),
            "classes_given": self._classes_given,
            "features": _ensembles.map_to_json(self._map),
            "alpha": check_real("alpha", self.alpha, "a float in the range (0, 1)", 5e-324, 1 - 2**-53),
            "grown": ensemble.grown,
            "decided": getattr(self, "decided_", None),
            "names": [str(name) for name in getattr(self, "feature_names_in_", [])],
            "shape": list(self._shape),
            "seed": self.seed_ if self._seed_given else None,
        }
        if form is not None:
            facts["form"] = form
        if isinstance(ensemble, _core.Ensemble) and ensemble.trained_on():
            facts["trained_on"] = ensemble.trained_on()
        return _ensembles.write(Path(path), ensemble, facts, bool(overwrite))

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        model: Any = None,
        *,
        features: FeatureMap | None = None,
        device: Any = "auto",
        n_jobs: int | None = None,
        fingerprint: str | None = None,
        optimizer: Callable[[list[Any]], Any] | None = None,
        loss: Callable[[Any, Any], Any] | None = None,
        form: Literal["skops", "joblib"] | None = None,
        members: Literal["memory", "disk"] = "memory",
    ) -> Self:
        """Read an ensemble that :meth:`save` wrote.

        Parameters
        ----------
        path : str or path
            The folder.
        model : callable or estimator, optional
            For members of your own module: the callable that makes it, as in the constructor. For estimators, the
            estimator or callable.
        features : FeatureMap, optional
            For a map that does not come from this package.
        device, n_jobs
            As in the constructor.
        fingerprint : str, optional
            What :meth:`save` returned; an ensemble with a different fingerprint is refused.
        optimizer, loss : callable, optional
            For members of your own module that were trained with them: as in the constructor.
        form : {"skops", "joblib"}, optional
            The format in which members that are estimators were written. "joblib" must be given explicitly: reading
            it runs any code that it holds, so read only folders that nobody else could write to.
        members : {"memory", "disk"}, default="memory"
            Whether all members are read now, or from the folder whenever they predict; the folder must then stay.

        Returns
        -------
        CertifiedClassifier
            Fitted; its votes and certificates are those of the saved one. Its `seed` is what was passed to the saved
            one, and `seed_` what was used; fitting it again on the same data with more `n_members` continues it.

        Raises
        ------
        CheckpointError
            If the folder holds no complete ensemble, one that was changed since it was saved, or not the requested
            one.
        ParameterError
            If `model` is missing or makes a different module.

        Examples
        --------
        >>> import tempfile
        >>> import certssb as cs
        >>> from torch import nn
        >>> X, y = cs.datasets.load_digits(classes=(0, 1))
        >>> net = lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
        >>> clf = cs.CertifiedClassifier(net, n_members=3, alpha=0.5, seed=0, progress=False).fit(X, y)
        >>> folder = tempfile.mkdtemp()
        >>> fingerprint = clf.save(folder)
        >>> cs.CertifiedClassifier.load(folder, model=net, fingerprint=fingerprint).n_members_
        3
        """
        folder = Path(path)
        if fingerprint is not None and not _seal.is_fingerprint(fingerprint):
            raise parameter_error(
                "fingerprint", "64 hexadecimal digits, as save returns them", repr(fingerprint)
            )
        facts = _ensembles.read_facts(folder, fingerprint)
        jobs = None if n_jobs is None else checked_jobs(n_jobs)
        form = _read_form(facts.get("form"), form)
        if checked_place(members) == "votes":
            expected = "'memory' or 'disk'; an ensemble of which only votes were saved is read as it is"
            raise parameter_error("members", expected, repr(members))
        on_disk = members == "disk"
        recipe = (optimizer, loss)
        ensemble = _ensembles.read_members(folder, facts, model, str(device), jobs, recipe, form, on_disk)
        record = json.loads(ensemble.record())
        # A callable of the user's is remembered by its words.
        augment = record.get("augment")
        new = cls(
            record["model"] if model is None else model,
            ensemble.law,
            n_members="auto" if facts["decided"] is not None else ensemble.n_members,
            epochs=record["epochs"],
            batch_size=record["batch_size"],
            learning_rate=record["learning_rate"],
            seed=facts["seed"],
            alpha=facts["alpha"],
            features=_ensembles.map_from_json(facts["features"], features),
            device=device,
            n_jobs=n_jobs,
            optimizer=optimizer,
            loss=loss,
            members=members,
            form=form,
            augment=from_description(augment) if isinstance(augment, dict) else augment,
            copies=record.get("copies"),
            penalty=record.get("penalty"),
        )
        new._ensemble, new._unfinished, new._kept_in, new._votes = ensemble, None, None, {}
        new._seed_given, new._classes_given = facts["seed"] is not None, facts["classes_given"]
        new.classes_ = frozen(_ensembles.classes_from_json(facts["classes"]))
        new._map, new._precision = new.features, record["precision"]
        new.n_members_, new.n_failed_ = ensemble.n_members, ensemble.n_failed
        new.n_idle_, new.n_kept_ = ensemble.n_idle, 0
        new.n_trusted_ = (record.get("trusted") or {"n": 0})["n"]
        if isinstance(ensemble, _core.Ensemble):
            ensemble.recall_parts(facts.get("trained_on", []))
        new.seed_, new._shape = record["seed"], tuple(facts["shape"])
        if facts["decided"] is not None:
            new.decided_ = facts["decided"]
        if len(new._shape) == 1:
            new.n_features_in_ = new._shape[0]
        if facts["names"]:
            new.feature_names_in_ = frozen(np.array(facts["names"], dtype=object))
        return new

    def record(self) -> str:
        """Everything that decides what the members are, as JSON: seed, law, model, sizes, settings, data digest.

        Returns
        -------
        str
            The record; the members' checkpoint and every table carry it.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before :meth:`fit`.

        Examples
        --------
        >>> import certssb as cs
        >>> X, y = cs.datasets.load_digits(classes=(0, 1))
        >>> law = cs.Gaussian(0.25)
        >>> clf = cs.CertifiedClassifier("linear", law, n_members=20, learning_rate=0.03, seed=0, progress=False)
        >>> _ = clf.fit(X[:300], y[:300])
        >>> import json
        >>> json.loads(clf.record())["law"]
        {'law': 'gaussian', 'sigma': 0.25}
        """
        return self._fitted().record()


def _checked_form(model: Any, form: Any) -> Any:
    """The form in which members are written, tried before anything is; None where they are numbers."""
    if not is_object_learner(model):
        if form is not None:
            raise parameter_error("form", "None where members are not estimators", repr(form))
        return None
    if form is None:
        from certssb.learners.sklearn._storage import NO_FORM

        raise parameter_error("form", f"'skops' or 'joblib' here. {NO_FORM}", "None")
    model.write_as(form)
    return form


def _read_form(written: Any, said: Any) -> Any:
    """The form in which members were written, if it may be read."""
    if said is not None and said != written:
        raise parameter_error("form", f"{written!r}, as the folder says, or left out", repr(said))
    if written == "joblib" and said is None:
        expected = (
            "'joblib' for this folder: its members are pickle, and reading them runs whatever code they hold. Pass it if "
            "nobody else could write to the folder"
        )
        raise parameter_error("form", expected, "None")
    return written
