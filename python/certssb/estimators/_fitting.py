"""Fitting the certified ensemble: one fit at a time, which leaves all of its results or none."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import secrets
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from certssb import _core
from certssb._checks import check_path, check_seed, frozen, parameter_error, shown
from certssb.augment._applied import prepared
from certssb.certificates._asked import asked_law
from certssb.data._trusted import TrainingSamples, read_training
from certssb.estimators._building import Building, Changes, at_least_one
from certssb.estimators._cascade_levels import Levels, Members, place
from certssb.estimators._execution import describe
from certssb.estimators._forgetting import checked_asked, train_and_forget
from certssb.estimators._growing import Growing, warn_of_growth
from certssb.estimators._learners import keep_unchanged, leaves_samples_out, settings_of
from certssb.estimators._scales import warn_of_rounding, warn_of_scaler, warn_of_spread
from certssb.estimators._searches import warn_of_search
from certssb.estimators._seen_shape import check_shape
from certssb.estimators._spreading import elsewhere, train_elsewhere
from certssb.estimators._with_members import Received, Trusted, n_levels, rows_through
from certssb.estimators.until import Until
from certssb.exceptions import CheckpointError, FailedMembersWarning, TrainingError
from certssb.executors._training import Disturbed
from certssb.features import FeatureMap
from certssb.features._maps import checked_map, mapped
from certssb.laws import Gaussian
from certssb.learners import _devices
from certssb.storage._shelf import Shelf
from certssb.watch._log import log_fit
from certssb.watch.callbacks._watched import Watched, checked_callbacks
from certssb.watch.callbacks.base import Callback
from certssb.watch.progress import Report, progress_bar

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Fitting"]

_FITTING: dict[tuple[int, int], object] = {}
"""Estimators that are being trained, by process and identity."""


class Untrained(NamedTuple):
    """An ensemble without members, and what they would be trained on."""

    ensemble: Members
    features: _core.Rows
    codes: npt.NDArray[np.int64]
    trusted: Trusted
    received: Received
    feature_map: FeatureMap | None

    @property
    def levels(self) -> Sequence[_core.Ensemble]:
        return self.ensemble.levels if isinstance(self.ensemble, Levels) else [self.ensemble]

    def train_these(self, numbers: Sequence[int], report: Report | None = None) -> None:
        """Train these members of every level, as a fit would."""
        for level in self.levels:
            level.train_these(self.features, self.codes, list(numbers), report, self.trusted, self.received)


class Fitting(Building, Growing):
    """Trains the members."""

    @log_fit
    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        until: Until | None = None,
        callbacks: Iterable[Callback] | None = None,
        classes: Any = None,
        trusted: Any = None,
        X_trusted: Any = None,
        y_trusted: Any = None,
        vote_on: Any = None,
    ) -> Self:
        """Train the members.

        Called again with the same data and settings and a larger `n_members`, it trains only the missing ones, under
        the same seed. Under a :class:`~certssb.Partition`, called again with the same settings and other data, it
        trains only the learners whose samples changed (and one of them twice): adding or deleting samples costs only
        as much as the learners it touches. The result is the same as that of a first fit on these data under this
        seed.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, channels, height, width)
            Training samples, possibly poisoned: arrays, tensors, frames, a map-style torch ``Dataset`` or a
            ``DataLoader``, whose items are read once; see :func:`certssb.data.as_arrays`.
        y : array-like of shape (n_samples,), optional
            Their labels: any integers, strings or booleans. Left out if `X` holds them.
        until : Until, optional
            With ``n_members="auto"``: says when enough members have been added. Certificates of such an ensemble use
            the betting bound, which holds for every number of members at once; a number that was chosen after a look
            at results would invalidate any other bound.
        callbacks : iterable of Callback, optional
            Objects to be notified during the fit, such as :class:`certssb.callbacks.TensorBoardCallback`.
        classes : array-like of shape (n_classes,), optional
            All possible classes, known without a look at `y`. Other labels are refused; a class without samples still
            counts. If left out, the list of classes is that of the trusted samples, and labels that none of these has
            are refused. Without trusted samples it is learned from `y`: one label of a new class would change every
            member, and guarantees say that the list is taken as received.
        trusted : array-like of bool of shape (n_samples,) or of int, optional
            Samples that nobody but you could have changed, label included: a mask, or their indices. Every member
            sees all of them as they are, without noise and never left out, in addition to what the law draws from the
            others. Laws, certificates and shares of a threat count only the others, and guarantees name both numbers.
            Anything may be computed from trusted samples alone without weakening the guarantee: a scaler, a choice of
            features, of a law or of settings.
        X_trusted, y_trusted : array-like, optional
            Trusted samples that are not in `X`, instead of `trusted`: of the same shape, and in the same units.
            `y_trusted` is left out if `X_trusted` holds labels.
        vote_on : array-like, optional
            The samples that members vote on before they are discarded; required with ``members="votes"``, unless
            `until` provides the samples. This object predicts and certifies exactly these samples, in this order, and
            refuses others.

        Returns
        -------
        CertifiedClassifier
            This object.

        Raises
        ------
        ParameterError, ShapeError
            If values or shapes are unusable; raised before training.
        CheckpointError
            If the checkpoint directory belongs to other settings or data, or cannot be used.
        DeviceError
            If there is no such device.
        TrainingError
            If a member fails; `member` is its number. If for more than half of the members the loss or the parameters
            become infinite or NaN, or an estimator refuses their samples (by a ValueError or an ArithmeticError); up
            to half merely count as failed. Or if members of your own module turn out to share state; none of them is
            kept then.
        CancelledError
            After Ctrl-C. Unless stated otherwise, finished members are kept: fit again to continue.

        Warns
        -----
        FailedMembersWarning
            If the training of up to half of the members diverged, or an estimator refused their samples; those vote for the
            lowest class.
        ScaleWarning
            If the data look as if a scaler had been fitted on them, which voids the proof if they are the received
            ones, or if their scale does not fit that of the noise.
        GrowthWarning
            If answers (votes, predictions, certificates) were already seen for a different number of members, here or
            by another process that uses the same checkpoint; a saved or pickled ensemble counts as seen. From then on
            certificates use the betting bound. A fit that was interrupted before anybody looked can continue to any
            number at no cost.

        Examples
        --------
        >>> import certssb as cs
        >>> X, y = cs.datasets.load_digits(classes=(0, 1))
        >>> law = cs.Gaussian(0.25)
        >>> clf = cs.CertifiedClassifier("linear", law, n_members=20, learning_rate=0.03, seed=0, progress=False)
        >>> clf.fit(X[:300], y[:300]).n_members_
        20

        The first 40 samples were taken by hand, the others from the web:

        >>> law = cs.Subsample(size=20)
        >>> clf = cs.CertifiedClassifier("discriminant", law, n_members=200, seed=0, progress=False)
        >>> certs = clf.fit(X[:300], y[:300], trusted=range(40)).certify(X[300:])
        >>> clf.n_trusted_, certs.n_train
        (40, 260)
        >>> certs.guarantee.endswith("40 further samples were taken as trusted: they are assumed unchanged, "
        ...                          "and every member was trained on all of them as they are.")
        True
        """
        if until is not None and not isinstance(until, Until):
            raise parameter_error("until", "None or a certssb.Until", shown(until))
        # One fit at a time of an object, whoever asks for another: a thread, or a callback of this one.
        key, mine = (os.getpid(), id(self)), object()
        if _FITTING.setdefault(key, mine) is not mine:
            raise TrainingError(
                "Training failed: this estimator is being trained already; fit a clone of it instead."
            )
        before = self.__dict__.copy()
        try:
            samples = read_training(
                X, y, trusted=trusted, X_trusted=X_trusted, y_trusted=y_trusted, classes=classes
            )
            given = classes is not None or samples.n_trusted > 0
            asked = checked_asked(self.members, vote_on, until)
            self._train(X, X_trusted, samples, until, checked_callbacks(callbacks), given, vote_on=asked)
        except BaseException:
            # An earlier fit stays as it was; what this one finished waits for the next.
            unfinished = self.__dict__.get("_unfinished")
            self.__dict__ = before
            if unfinished is not None and unfinished.n_members > 0:
                self._unfinished = unfinished
            raise
        finally:
            del _FITTING[key]
        return self

    def _untrained(
        self, X: Any, y: Any, *, classes: Any = None, X_trusted: Any = None, y_trusted: Any = None
    ) -> Untrained:
        """What :meth:`fit` would train, of a given seed, with nothing trained yet: for who compares single members."""
        samples = read_training(X, y, trusted=None, X_trusted=X_trusted, y_trusted=y_trusted, classes=classes)
        given = classes is not None or samples.n_trusted > 0
        made = self._train(X, X_trusted, samples, None, [], given, untrained=True)
        assert made is not None
        return made

    def _train(
        self,
        X: Any,
        X_trusted: Any,
        samples: TrainingSamples,
        until: Until | None,
        callbacks: list[Callback],
        classes_given: bool,
        untrained: bool = False,
        vote_on: Any = None,
    ) -> Untrained | None:
        features, codes, classes = samples.features, samples.codes, samples.classes
        check_shape(self, X, features, reset=True)
        if X_trusted is not None and samples.trusted is not None:
            check_shape(self, X_trusted, samples.trusted[0], reset=False)
        # Levels as they are asked for here: the user's call of fit.
        law = Gaussian(0.5) if self.law is None else asked_law(self.law)
        feature_map = checked_map(self.features, features, law)
        received, alone = features, leaves_samples_out(law)
        features = rows_through(feature_map, features, alone=alone)
        # On their own: nothing of what becomes of them may depend on the others.
        trusted = (
            None
            if samples.trusted is None
            else (rows_through(feature_map, samples.trusted[0], alone=alone), samples.trusted[1])
        )
        n_members = self._checked_members(len(classes), until)
        self.seed_ = secrets.randbits(63) if self.seed is None else check_seed("seed", self.seed)
        # Where nothing is added to features, samples are changed as they came, and mapped afterwards.
        before = self.augment is not None and feature_map is not None and not _core.measures_features(law)
        own = None if samples.trusted is None else samples.trusted[0]
        shown, raw = (received, (received, own)) if before else (features, None)
        augment = prepared(self.augment, shown, received, at_least_one("batch_size", self.batch_size))
        changes = Changes(augment, feature_map if before else None, raw)
        ensemble, recipes = self._new_ensemble(features, codes, len(classes), changes, trusted)
        ensemble.keep_on_disk(self.members == "disk")
        if isinstance(self.checkpoint, Shelf):
            self.checkpoint = self.checkpoint.place(ensemble.record(), n_members, self.seed is not None)
        warn_of_search(stacklevel=4)
        through = None if feature_map is None else functools.partial(mapped, feature_map)
        warn_of_rounding(samples.lost, received, law, stacklevel=4, through=through)
        warn_of_scaler(received, law, stacklevel=4)
        if trusted is not None:
            # A scaler that was fitted on all of them was fitted on the others too.
            warn_of_scaler(samples.received, law, stacklevel=4)
        warn_of_spread(features, law, "mlp" if self.model == "auto" else self.model, stacklevel=4)
        if untrained:
            return Untrained(ensemble, features, codes, trusted, raw, feature_map)
        if self.seed is None:
            self.seed_ = self._seed_to_go_on_with(ensemble)
            ensemble.reseed(self.seed_)
        n_kept = 0
        for earlier in ("_ensemble", "_unfinished"):
            known: Members | None = getattr(self, earlier, None)
            if known is not None and not _adopt(ensemble, known):
                n_kept = max(n_kept, keep_unchanged(ensemble, known, features, codes, trusted, raw))
        checkpoint = self._checkpoint()
        if checkpoint is not None and not isinstance(ensemble, Levels):
            n_kept = max(n_kept, ensemble.follow(checkpoint, features, codes, trusted, raw))
        self._unfinished = ensemble
        goal = None
        if until is not None:
            if isinstance(ensemble, Levels):
                expected = "a law of one level with n_members='auto'; give a cascade a number of members"
                raise parameter_error("law", expected, repr(self.law))
            goal = self._goal(ensemble, until, feature_map, len(features), len(classes))
        asked = None if vote_on is None else self._test_features(vote_on, feature_map)
        bar = progress_bar(self.progress, "training")
        watched = Watched(bar, callbacks, ensemble.record(), ensemble.law)
        self._begin(ensemble)
        if until is None and ensemble.plan(n_members, self._checkpoint()):
            warn_of_growth(n_members)
        who = ""
        with (
            self._independent(ensemble),
            elsewhere(self) as workforce,
            watched as report,
            _devices.computing(self.precision),
        ):

            def train(target: int) -> None:
                nonlocal who
                folder = self._checkpoint()
                if workforce is not None:
                    who = train_elsewhere(workforce, ensemble, recipes, target, folder, report, asked) or who
                elif asked is not None:
                    kept = (ensemble, asked, folder, report)
                    train_and_forget(kept, target, features, codes, trusted, raw)
                else:
                    ensemble.train(features, codes, target, folder, report, trusted, raw)

            if goal is None or isinstance(ensemble, Levels):
                ensemble.truncate(n_members)
                train(n_members)
            else:
                self._grow(ensemble, train, len(codes), goal)
        # Members are asked as they were trained, and it is remembered there what is seen of them, whatever parameters become.
        kept_in = None if self.checkpoint is None else check_path("checkpoint", self.checkpoint)
        fitted: dict[str, Any] = {
            "_ensemble": ensemble,
            "_unfinished": None,
            "_map": feature_map,
            "_precision": str(self.precision),
            "_kept_in": None if kept_in is None else os.path.abspath(kept_in),
            "_votes": {},
            "_seed_given": self.seed is not None,
            "_classes_given": classes_given,
            "classes_": frozen(classes),
            "n_members_": ensemble.n_members,
            "n_failed_": ensemble.n_failed,
            "n_idle_": ensemble.n_idle,
            "n_kept_": n_kept,
            "n_trusted_": samples.n_trusted,
        }
        # In one step, for others who are asking meanwhile.
        self.__dict__.update(fitted)
        if self.n_failed_:
            n_members = self.n_members_ * n_levels(ensemble.law)
            _warn_of_failed(self.n_failed_, n_members, self.classes_[0], _refusals(ensemble))
        how = describe(ensemble.execution, str(self.device), ensemble.model)
        self.execution_ = f"{how}; by {who}" if who else how
        return None

    @contextlib.contextmanager
    def _independent(self, ensemble: Members) -> Iterator[None]:
        """Refuse members of the user's module that turn out to share state, and keep none of them."""
        models = ensemble.models if isinstance(ensemble, Levels) else [ensemble.model]
        blueprints = [model for model in models if model is not None]
        try:
            disturbed = False
            try:
                yield
            except Disturbed:
                disturbed = True
            if disturbed or any(blueprint.is_disturbed() for blueprint in blueprints):
                ensemble.discard_new(self._checkpoint())
                self._unfinished = None
                from certssb.learners.torch.blueprint import DISTURBED

                raise TrainingError(DISTURBED)
        except TrainingError as error:
            refusals = _refusals(ensemble)
            if refusals and error.member is None and "more than half" in str(error):
                what = (
                    f"the model refused the samples of more than half of the members, as with {refusals[0]}"
                )
                raise TrainingError(f"Training failed: {what}.") from error
            suspects = [suspect for blueprint in blueprints for suspect in blueprint.suspects()]
            if not suspects:
                raise
            what = f"{str(error).rstrip('.')}. Changed by it: {' and '.join(suspects[:2])}."
            raise TrainingError(what, member=error.member) from error

    def _begin(self, ensemble: Members) -> None:
        """Begin the checkpoint; where another process was just faster, go on under the secret that it drew."""
        checkpoint = self._checkpoint()
        if checkpoint is None or self.seed is not None:
            return
        try:
            ensemble.begin(checkpoint)
        except CheckpointError:
            seed = self._seed_to_go_on_with(ensemble)
            if seed == self.seed_ or ensemble.n_members > 0:
                raise
            self.seed_ = seed
            ensemble.reseed(seed)

    def _seed_to_go_on_with(self, ensemble: Members) -> int:
        """The seed of members of the same data and settings, in the checkpoint or here; else the fresh one."""
        if self.checkpoint is not None:
            first = (
                place(self.checkpoint, 0)
                if isinstance(ensemble, Levels)
                else str(check_path("checkpoint", self.checkpoint))
            )
            with contextlib.suppress(CheckpointError):
                # Of other data or settings: training says so, and names the difference.
                return int(json.loads(_core.Ensemble.record_of(first))["seed"])
        for earlier in ("_unfinished", "_ensemble"):
            known: Members | None = getattr(self, earlier, None)
            if known is not None and settings_of(known) == settings_of(ensemble):
                return int(json.loads(known.record())["seed"])
        return self.seed_


def _warn_of_failed(n_failed: int, n_members: int, lowest: Any, refusals: list[str]) -> None:
    whose = f"{n_failed} of the {n_members} members"
    if refusals:
        what = f"The training of {whose} failed, as with {refusals[0].rstrip('.')}"
        advice = "A model that copes with smaller or more lopsided sets of samples may help"
    else:
        what = f"The loss or the parameters of {whose} became infinite or NaN"
        advice = "A smaller learning_rate or inputs of ordinary size may help"
    warnings.warn(
        f"{what}: they vote for the lowest class, {lowest!r}. Certificates hold, and are smaller for other classes. {advice}.",
        FailedMembersWarning,
        stacklevel=4,
    )


def _refusals(ensemble: Members) -> list[str]:
    """Why the user's estimator could not be trained on some members' sets."""
    models = ensemble.models if isinstance(ensemble, Levels) else [ensemble.model]
    return [reason for model in models for reason in getattr(model, "refusals", ())]


def _adopt(ensemble: Members, known: Members) -> bool:
    if isinstance(ensemble, Levels):
        return ensemble.adopt(known)
    return not isinstance(known, Levels) and ensemble.adopt(known)
