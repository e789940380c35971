"""The estimator: an ensemble of members trained on noised copies of the data, certified by their votes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.utils.validation import check_is_fitted

from certssb import _core
from certssb._checks import (
    check_integer,
    check_positive,
    check_real,
    check_seed,
    frozen,
    parameter_error,
    shown,
)
from certssb._extras import needed
from certssb.augment import from_description
from certssb.augment._applied import Applied, prepared
from certssb.certificates import CertificateTable
from certssb.certificates._asked import BoundName, asked_confidence, asked_law
from certssb.data import as_arrays, as_features, as_labels
from certssb.estimators._cascade_levels import Levels, Members, place
from certssb.estimators._execution import describe
from certssb.estimators._scales import warn_of_scaler, warn_of_spread
from certssb.estimators._seen_shape import check_shape
from certssb.estimators.until import Until
from certssb.exceptions import CheckpointError, FailedMembersWarning, GrowthWarning, TrainingError
from certssb.features import FeatureMap
from certssb.features._maps import checked_map, mapped
from certssb.laws import Cascade, Gaussian, Law
from certssb.learners import _devices
from certssb.learners._choice import Learner, is_object_learner, learner_of, set_size
from certssb.ledger import Ledger
from certssb.storage import _ensembles, _seal
from certssb.watch._log import log_certify, log_fit
from certssb.watch.callbacks._watched import Watched, checked_callbacks
from certssb.watch.callbacks.base import Callback
from certssb.watch.progress import Report, progress_bar

if TYPE_CHECKING:
    from typing_extensions import Self


__all__ = ["CertifiedClassifier"]

Features = npt.NDArray[np.float32]

_MOST_JOBS = 2**15
"""Threads that no machine has; more are a slip."""

_FITTING: dict[tuple[int, int], object] = {}
"""Estimators that are being trained, by process and identity."""


class CertifiedClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Ensemble whose predictions come with certificates against changes of the training data.

    Each member is trained on its own noised copy of the training set, drawn once from `law`; the ensemble
    predicts the class with most votes, and :meth:`certify` says which changes of the training set leave a
    prediction as it is.

    Parameters
    ----------
    model : str, estimator or callable, default="auto"
        A classifier with fit and predict, such as those of scikit-learn, LightGBM and XGBoost or a ``Pipeline`` that ends
        in one: each member is a fresh clone, fitted on its own noised set alone. A callable without arguments that returns
        one, or a fresh ``torch.nn.Module`` mapping (batch, ...) to logits (batch, n_classes), such as the module's class;
        see Notes. Or the name of a built-in architecture: "linear", "discriminant" (regularised linear discriminant analysis in
        closed form: the one for small or very noisy members' sets), "mlp", "cnn" (the literature's
        conv16-conv32-fc512) or "resnet" (pre-activation, 3 stages of 5 blocks). "auto" takes "cnn" for images and "mlp" for tables.
    law : Law, optional
        How members' training sets are drawn; ``Gaussian(sigma=0.5)`` if not given.
    n_members : int or "auto", default=1000
        Number of members N; "auto" adds members until the goal given to :meth:`fit` is reached.
    epochs : int, default=20
        Passes of a member over its noised set; the noise is the same in every one.
    batch_size : int, default=128
        Samples of one optimiser step.
    learning_rate : float, default=1e-3
        Step size of Adam; without effect where `optimizer` is given.
    device : str or torch.device, default="auto"
        "auto" (every GPU, members split between them; the CPU if there is none), "cpu", "cuda" (the first GPU), "cuda:1".
    seed : int or None, default=None
        Root of all random streams. Certificates speak of noise that the attacker did not know when they changed the
        data, so a fresh seed is drawn if none is given (kept in `seed_`); members of the same data and settings, in
        `checkpoint` or in this object, are gone on with under theirs. For experiments that shall come out the same,
        pass an integer from 0 to 2**64 - 1: the same seed gives the same votes for any `n_jobs` on one machine.
    n_jobs : int, optional
        Members trained at the same time on the CPU, one thread each; all cores if not given.
    executor : None
        Reserved for running members elsewhere; only None is accepted.
    checkpoint : str or path, optional
        Directory in which every finished member is kept. Members already in it are not trained again,
        whatever interrupted the run that made them; a directory made with other settings or data is refused.
    progress : bool or callable, default=True
        Whether to show a bar with the time left; or a function called with (done, total).
    alpha : float, default=0.001
        Chance of a wrong statement that :meth:`certify` will be asked for. :meth:`fit` refuses a number of
        members with which even unanimous votes could not certify anything at this alpha.
    features : FeatureMap, optional
        A fixed map that every sample, training and test, passes before the noise, such as
        ``cs.features.Cosine(8)``; part of the record and named in the guarantee. One that may lengthen changes goes
        before laws that count samples; see :mod:`certssb.features`.
    precision : {"f32", "tf32"}, default="f32"
        Arithmetic of training and voting. "tf32" lets GPUs that have it round the factors of products to 10 bits of
        mantissa, which is faster; part of the record.
    members : {"skops", "joblib"}, optional
        In which form members that are estimators are written into `checkpoint`; see :meth:`save`. Without it they are not
        written, and `checkpoint` is refused.
    stack : int, optional
        Members computed together, as one operation on one more dimension; changes them by rounding only. If not given:
        1 on the CPU, where members side by side are as fast, and as many as fit into memory on a GPU. For a module of
        your own that cannot be stacked it stays 1; see Notes.
    optimizer : callable, optional
        For a module of your own: takes a list of parameters and returns a fresh ``torch.optim.Optimizer`` for them, or a
        tuple of one and of schedulers that take a step after each epoch, such as ``lambda p: torch.optim.AdamW(p,
        lr=2e-3, weight_decay=0.01)``. Adam with `learning_rate` if not given. Part of the record.
    loss : callable, optional
        For a module of your own: takes logits (batch, n_classes) and classes (batch,) and returns one value for each
        sample or their mean, such as ``torch.nn.CrossEntropyLoss(label_smoothing=0.1)``. Cross-entropy if not given. Part
        of the record.
    augment : Augmentation or callable, optional
        Changes each batch of a member's own noised samples, after the noise, anew in every epoch, which is free under
        every law: an augmentation of :mod:`certssb.augment`, a transform of torchvision, a ``torch.nn.Module`` on a batch of
        images, or a callable ``augment(batch, rng)`` that returns an array like `batch` and draws from the
        ``numpy.random.Generator`` `rng` alone. It must look at nothing else: no other training samples, nothing that it
        remembers. Part of the record: a callable of your own by its name and a digest of its code.
    copies : int, optional
        With `augment`, for members that look at their noised set once ("discriminant", and estimators with fit and
        predict): how many changed copies follow the noised samples, from 1 to 1000; 8 if not given.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The classes that were given to :meth:`fit`, or the different labels, ascending.
    n_features_in_ : int
        Number of features; for tables only.
    n_failed_ : int
        How many members' training diverged (of all levels of a cascade together). They vote for the lowest class.
    n_members_ : int
        Number of trained members.
    seed_ : int
        The seed that was used.
    execution_ : str
        How the members were trained: in stacks or one by one, on how many threads, streams or GPUs, and why not in
        stacks if a module of your own does not allow them. The logger says it as well.

    Notes
    -----
    Training data are what is certified against: their scaling must not be learned from them. Pixels in [0, 1]
    need none. A scaler fitted on the received data would be a second door to it, around the noise. The same goes for
    weights of a module that were learned from these data, frozen or not.

    A module of your own is looked at before training: what cannot work is refused with the sub-module named. Members must
    not share state: a module is trained for up to 16 steps on made-up samples, alone and again beside another one, and
    refused if that shows (up to 256 steps on a GPU or in stacks); after training the same steps must come out the same.
    On the CPU, one by one, the first member of a fit is trained again after all others (at every look of ``until``, at
    every level of a cascade), which costs as much as one more member; if it is not the same, bit for bit, the fit is refused
    and none of its members kept. What a trial cannot see: state that a GPU's members first read after its steps, and
    state outside of Python's objects that the first to come writes and nobody changes later. torch's global modes, such as autocast or another
    default dtype, reach neither these trials nor members. A module is built on the CPU in float32, is trained in training mode, with Adam and cross-entropy unless `optimizer` and `loss` say otherwise, and votes in evaluation mode. Each member
    has a module of its own, whose weights come from the member's stream: torch's, Python's and NumPy's global
    generators are seeded while the callable runs, and put back. Dropout and other randomness of torch inside the
    module come from the member's stream as well, so that the same seed gives the same votes for any `n_jobs`; so does
    what it draws from ``random`` and ``numpy.random``, if it does so in its first two passes. Not reproducible is only
    what it draws from elsewhere (files, clocks, a backward pass of its own). Parameters, frozen ones and buffers are
    kept in float32: buffers may hold integers up to 2**24.

    An estimator as `model` sees samples flat, as float32, and labels as places in ``classes_``. Its ``random_state``, nested
    ones too, comes from the member's stream whatever it was set to. `epochs`, `batch_size` and `learning_rate` say nothing to
    it. A noised set of one class makes a member that says that class. Members vote by ``predict``; scores are
    ``predict_proba`` where there is one, else 0 and 1. It is tried before training like a module, and for being a function of
    its noised set and seed: what one says must be the same, bit for bit, when others have been fitted. Members are fitted in
    threads, or in processes where a trial shows that threads would wait for the interpreter; they are the same.

    On a GPU (or with `stack`), members of a module of your own are computed in stacks, by ``torch.func.vmap`` over their
    parameters and buffers, if a trial before training shows that logits, gradients, buffers and what is drawn for dropout
    are then what they are alone. Otherwise, as for control flow that depends on data, they are computed one by one; on
    a GPU several at the same time, each on a CUDA stream of its own.

    Memory, beside the data as float32 (a float32, C-contiguous ``numpy.memmap`` is read where it lies, anything else is
    copied once): for each of the `n_jobs` members in training its noised samples (all of the data for a law on the whole
    set, ``size`` samples for :class:`Subsample`: the way for data larger than memory), one batch, and the model with its
    gradient and two moments; and the weights of all members.

    Examples
    --------
    >>> import certssb as cs
    >>> X, y = cs.datasets.load_digits()
    >>> law = cs.Subsample(cs.Gaussian(0.25), size=200)
    >>> clf = cs.CertifiedClassifier("linear", law, n_members=50, learning_rate=0.03, seed=0, progress=False)
    >>> certs = clf.fit(X[:1500], y[:1500]).certify(X[1500:])
    >>> bool(certs.certified_accuracy(y[1500:], n_poisoned=3, trigger_norm=0.5) > 0.5)
    True
    """

    def __init__(
        self,
        model: Any = "auto",
        law: Law | None = None,
        n_members: int | Literal["auto"] = 1000,
        epochs: int = 20,
        batch_size: int = 128,
        learning_rate: float = 1e-3,
        device: Any = "auto",
        seed: int | None = None,
        n_jobs: int | None = None,
        executor: None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        progress: bool | Report = True,
        alpha: float = 0.001,
        features: FeatureMap | None = None,
        precision: Literal["f32", "tf32"] = "f32",
        stack: int | None = None,
        optimizer: Callable[[list[Any]], Any] | None = None,
        loss: Callable[[Any, Any], Any] | None = None,
        members: Literal["skops", "joblib"] | None = None,
        augment: Callable[..., Any] | None = None,
        copies: int | None = None,
    ) -> None:
        self.model = model
        self.law = law
        self.n_members = n_members
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.device = device
        self.seed = seed
        self.n_jobs = n_jobs
        self.executor = executor
        self.checkpoint = checkpoint
        self.progress = progress
        self.alpha = alpha
        self.features = features
        self.precision = precision
        self.stack = stack
        self.optimizer = optimizer
        self.loss = loss
        self.members = members
        self.augment = augment
        self.copies = copies

    @log_fit
    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        until: Until | None = None,
        callbacks: Iterable[Callback] | None = None,
        classes: Any = None,
    ) -> CertifiedClassifier:
        """Train the members.

        Called again with the same data and settings and a larger `n_members`, it trains only the missing ones, under
        the same seed.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, channels, height, width)
            Training samples, possibly poisoned: arrays, tensors, frames, a map-style torch ``Dataset`` or a
            ``DataLoader``, whose items are read once; see :func:`certssb.data.as_arrays`.
        y : array-like of shape (n_samples,), optional
            Their labels: integers from anywhere, strings or booleans. Left out if `X` holds them.
        until : Until, optional
            With ``n_members="auto"``: when enough members have been added. Certificates of such an ensemble use the
            betting bound, which holds at every number of members at once; a number that was chosen after a look
            would spoil any other.
        callbacks : iterable of Callback, optional
            Who is told about the fit, such as :class:`certssb.callbacks.TensorBoardCallback`.
        classes : array-like of shape (n_classes,), optional
            All classes that there are, known without a look at `y`. Labels that are none of them are refused; a class
            without samples is a class. Left out, the list of classes is learned from `y`: one label of a new class
            would change every member, and guarantees say that the list is taken as received.

        Returns
        -------
        CertifiedClassifier
            This object.

        Raises
        ------
        ParameterError, ShapeError
            For values and shapes that cannot be worked with; before training.
        CheckpointError
            If the checkpoint directory belongs to other settings or data, or cannot be used.
        DeviceError
            If the device is not there.
        TrainingError
            If a member fails; `member` is its number. If the loss or the parameters of more than half of the members
            become infinite or NaN; up to half only count as failed. Or if members of a module of your own turn out to
            share state; none of them is kept then.
        CancelledError
            After Ctrl-C. In each of these cases finished members are kept: fit again to go on.

        Warns
        -----
        FailedMembersWarning
            If the training of up to half of the members diverged; those vote for the lowest class.
        ScaleWarning
            If the data look as if a scaler had been fitted on them, which voids the proof if they are the received ones,
            or if their scale and that of the noise do not fit.
        GrowthWarning
            If `n_members` is another number than one whose answers (votes, predictions, certificates) were seen, here or
            by another process that uses the same checkpoint; a saved or pickled ensemble counts as seen. From then on
            the betting bound certifies. What was interrupted before a look is gone on with at no cost, to any number.

        Examples
        --------
        >>> import certssb as cs
        >>> X, y = cs.datasets.load_digits(classes=(0, 1))
        >>> clf = cs.CertifiedClassifier("linear", cs.Gaussian(0.25), n_members=20, learning_rate=0.03, seed=0, progress=False)
        >>> clf.fit(X[:300], y[:300]).n_members_
        20
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
            self._train(X, y, until, checked_callbacks(callbacks), classes)
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

    def _train(
        self, X: Any, y: Any, until: Until | None, callbacks: list[Callback], given_classes: Any
    ) -> None:
        features, y = as_arrays(X, y)
        classes, codes = as_labels(y, len(features), classes=given_classes)
        check_shape(self, X, features, reset=True)
        # Levels as they are asked for here: the user's call of fit.
        law = Gaussian(0.5) if self.law is None else asked_law(self.law)
        feature_map = checked_map(self.features, features, law)
        received, features = features, _through(feature_map, features)
        n_members = self._checked_members(len(classes), until)
        self.seed_ = secrets.randbits(63) if self.seed is None else check_seed("seed", self.seed)
        augment = prepared(self.augment, features, received, _at_least_one("batch_size", self.batch_size))
        ensemble = self._new_ensemble(features, codes, len(classes), augment)
        warn_of_scaler(received, law, stacklevel=4)
        warn_of_spread(features, law, "mlp" if self.model == "auto" else self.model, stacklevel=4)
        if self.seed is None:
            self.seed_ = self._seed_to_go_on_with(ensemble)
            ensemble.reseed(self.seed_)
        for earlier in ("_ensemble", "_unfinished"):
            known: Members | None = getattr(self, earlier, None)
            if known is not None:
                _adopt(ensemble, known)
        self._unfinished = ensemble
        goal = None
        if until is not None:
            if isinstance(ensemble, Levels):
                expected = "a law of one level with n_members='auto'; give a cascade a number of members"
                raise parameter_error("law", expected, repr(self.law))
            goal = self._goal(ensemble, until, feature_map, len(features), len(classes))
        bar = progress_bar(self.progress, "training")
        watched = Watched(bar, callbacks, ensemble.record(), ensemble.law)
        if until is None and ensemble.plan(n_members, self._checkpoint()):
            _warn_of_growth(n_members)
        with self._independent(ensemble), watched as report, _devices.products(self.precision):
            if goal is None or isinstance(ensemble, Levels):
                ensemble.truncate(n_members)
                ensemble.train(features, codes, n_members, self._checkpoint(), report)
            else:
                self._grow(ensemble, features, codes, goal, report)
        self._ensemble, self._unfinished = ensemble, None
        # Members are asked as they were trained, whatever the parameters become.
        self._map, self._precision = feature_map, str(self.precision)
        # Where it is remembered what is seen of these members, whatever the parameter becomes.
        self._kept_in = None if self.checkpoint is None else os.path.abspath(self.checkpoint)
        self._votes: dict[str, npt.NDArray[np.uint16]] = {}
        self._seed_given, self._classes_given = self.seed is not None, given_classes is not None
        self.classes_ = frozen(classes)
        self.n_members_, self.n_failed_ = ensemble.n_members, ensemble.n_failed
        if self.n_failed_:
            _warn_of_failed(self.n_failed_, self.n_members_ * _n_levels(ensemble.law), self.classes_[0])
        self.execution_ = describe(ensemble.execution, _devices.first(str(self.device)), ensemble.model)

    @contextlib.contextmanager
    def _independent(self, ensemble: Members) -> Iterator[None]:
        """Refuse members of the user's module that turn out to share state, and keep none of them."""
        models = ensemble.models if isinstance(ensemble, Levels) else [ensemble.model]
        blueprints = [model for model in models if model is not None]
        try:
            yield
            if any(blueprint.is_disturbed() for blueprint in blueprints):
                ensemble.discard_new(self._checkpoint())
                self._unfinished = None
                from certssb.learners.torch.blueprint import DISTURBED

                raise TrainingError(DISTURBED)
        except TrainingError as error:
            suspects = [suspect for blueprint in blueprints for suspect in blueprint.suspects()]
            if not suspects:
                raise
            what = f"{str(error).rstrip('.')}. Changed by it: {' and '.join(suspects[:2])}."
            raise TrainingError(what, member=error.member) from error

    def _seed_to_go_on_with(self, ensemble: Members) -> int:
        """The seed of members of the same data and settings, in the checkpoint or here; else the fresh one."""
        if self.checkpoint is not None:
            first = place(self.checkpoint, 0) if isinstance(ensemble, Levels) else os.fspath(self.checkpoint)
            with contextlib.suppress(CheckpointError):
                # Of other data or settings: training says so, and names the difference.
                return int(json.loads(_core.Ensemble.record_of(first))["seed"])
        for earlier in ("_unfinished", "_ensemble"):
            known: Members | None = getattr(self, earlier, None)
            if known is not None and _without_seed(known) == _without_seed(ensemble):
                return int(json.loads(known.record())["seed"])
        return self.seed_

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
            n_train, until.n_poisoned, until.trigger_norm, until.labels, self.alpha, n_classes, test[0].size
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
    ) -> None:
        until, test = goal
        confidence = _core.Confidence(self.alpha, "betting")
        target = min(max(until.first, ensemble.n_members), until.max_members)
        while True:
            ensemble.train(features, codes, target, self._checkpoint(), report)
            # Before the look, so that nothing that happens afterwards can make it forgotten.
            ensemble.grow(self._checkpoint())
            decided = ensemble.decided(
                ensemble.votes(test), confidence, until.n_poisoned, until.trigger_norm, until.labels
            )
            self.decided_ = float(decided.mean())
            if self.decided_ >= until.share or ensemble.n_members >= until.max_members:
                return
            target = min(target + target // 2 + 1, until.max_members)

    def _checked_members(self, n_classes: int, until: Until | None) -> int:
        if (self.n_members == "auto") != (until is not None):
            got = f"n_members={self.n_members!r} and until={until if until is None else 'a goal'}"
            raise parameter_error("until", "given with n_members='auto', and with nothing else", got)
        n_members = _at_least_one("n_members", self.n_members) if until is None else until.max_members
        if self.executor is not None:
            raise parameter_error("executor", "None", repr(self.executor))
        alpha = check_real("alpha", self.alpha, "a float in the range (0, 1)", 0.0, 1.0)
        _core.Confidence(alpha).check_enough(n_members, n_classes, 1, _n_levels(self.law))
        return n_members

    def _new_ensemble(
        self,
        features: Features,
        codes: npt.NDArray[np.int64],
        n_classes: int,
        augment: Applied | str | None,
    ) -> Members:
        law = Gaussian(0.5) if self.law is None else asked_law(self.law)
        if isinstance(law, Cascade):
            return Levels(
                law, [self._new_level(level, features, codes, n_classes, augment) for level in law.levels]
            )
        return self._new_level(law, features, codes, n_classes, augment)

    def _new_level(
        self,
        law: Law,
        features: Features,
        codes: npt.NDArray[np.int64],
        n_classes: int,
        augment: Applied | str | None,
    ) -> _core.Ensemble:
        stack = None if self.stack is None else _at_least_one("stack", self.stack)
        model = self._checked_model(law, features, n_classes)
        if not isinstance(model, str):
            model.try_stacks(str(self.device), stack)
            batches = -(-len(features) // _at_least_one("batch_size", self.batch_size))
            model.check_alone(str(self.device), _at_least_one("epochs", self.epochs) * batches)
        return _core.Ensemble(
            features,
            codes,
            n_classes,
            law,
            model=model,
            epochs=_at_least_one("epochs", self.epochs),
            batch_size=_at_least_one("batch_size", self.batch_size),
            learning_rate=check_positive("learning_rate", self.learning_rate),
            seed=self.seed_,
            device=str(self.device),
            n_jobs=None if self.n_jobs is None else _jobs(self.n_jobs),
            before_noise=None if self.features is None else self.features.before_noise(),
            stack=stack,
            memory=_devices.free_memory(str(self.device)),
            precision=str(self.precision),
            augment=augment,
            copies=None if self.copies is None else _copies(self.copies),
        )

    def _checked_model(self, law: Law, features: Features, n_classes: int) -> str | Learner:
        if isinstance(self.model, str):
            for name in ("optimizer", "loss"):
                if getattr(self, name) is not None:
                    expected = "None: it says how a module of your own is trained"
                    raise parameter_error(name, expected, f"one beside model={self.model!r}")
        if self.model == "auto":
            return "mlp" if features.ndim == 2 else "cnn"
        if isinstance(self.model, str):
            return self.model
        n_samples, jobs = set_size(law, len(features)), None if self.n_jobs is None else _jobs(self.n_jobs)
        recipe = (self.optimizer, self.loss)
        learner = learner_of(self.model, features.shape[1:], n_classes, n_samples, jobs, self.members, recipe)
        if is_object_learner(learner) and self.checkpoint is not None and learner.form is None:
            from certssb.learners.sklearn._storage import NO_FORM

            raise parameter_error(
                "checkpoint", f"None where members are estimators. {NO_FORM}", repr(self.checkpoint)
            )
        return learner

    def _checkpoint(self) -> str | None:
        return None if self.checkpoint is None else os.fspath(self.checkpoint)

    def _look(self) -> Members:
        """The members, whose answers are about to be seen; remembered before they are, in the checkpoint as well."""
        ensemble = self._fitted()
        ensemble.see(self._kept_in)
        return ensemble

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """The class with most votes for each sample; ties go to the lowest class.

        Parameters
        ----------
        X : array-like
            Samples of the shape seen in :meth:`fit`.

        Returns
        -------
        ndarray of shape (n_samples,)
            Labels, as `y` held them.

        Raises
        ------
        ParameterError, ShapeError
            For samples that cannot be worked with, or of another shape than in :meth:`fit`.
        sklearn.exceptions.NotFittedError
            Before :meth:`fit`.

        Examples
        --------
        >>> import certssb as cs
        >>> X, y = cs.datasets.load_digits(classes=(0, 1))
        >>> clf = cs.CertifiedClassifier("linear", cs.Gaussian(0.25), n_members=20, learning_rate=0.03, seed=0, progress=False)
        >>> _ = clf.fit(X[:300], y[:300])
        >>> bool((clf.predict(X[300:]) == y[300:]).mean() > 0.9)
        True
        """
        return self._predicted(self._asked(X))

    def predict_proba(self, X: Any) -> npt.NDArray[np.float64]:
        """Share of the votes for each class; under a cascade, at the level that decided.

        Parameters
        ----------
        X : array-like
            Samples of the shape seen in :meth:`fit`.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            In the order of ``classes_``.

        Raises
        ------
        ParameterError, ShapeError
            For samples that cannot be worked with, or of another shape than in :meth:`fit`.
        sklearn.exceptions.NotFittedError
            Before :meth:`fit`.

        Examples
        --------
        >>> import certssb as cs
        >>> X, y = cs.datasets.load_digits(classes=(0, 1))
        >>> clf = cs.CertifiedClassifier("linear", cs.Gaussian(0.25), n_members=20, learning_rate=0.03, seed=0, progress=False)
        >>> _ = clf.fit(X[:300], y[:300])
        >>> clf.predict_proba(X[300:302]).shape
        (2, 2)
        """
        _, counts = self._fitted().count(self._votes_on(self._asked(X)))
        return counts / self._fitted().n_members

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Share of samples whose label is predicted.

        Parameters
        ----------
        X : array-like, Dataset or DataLoader
            Samples of the shape seen in :meth:`fit`.
        y : array-like of shape (n_samples,), optional
            Their labels; left out if `X` holds them.
        sample_weight : array-like of shape (n_samples,), optional
            Weights of the samples.

        Returns
        -------
        float
            Between 0 and 1.

        Raises
        ------
        ParameterError, ShapeError
            For samples that cannot be worked with, of another shape than in :meth:`fit`, or without labels.
        sklearn.exceptions.NotFittedError
            Before :meth:`fit`.

        Examples
        --------
        >>> import certssb as cs
        >>> X, y = cs.datasets.load_digits(classes=(0, 1))
        >>> clf = cs.CertifiedClassifier("linear", cs.Gaussian(0.25), n_members=20, learning_rate=0.03, seed=0, progress=False)
        >>> clf.fit(X[:300], y[:300]).score(X[300:], y[300:])
        1.0
        """
        self._fitted()
        if y is None:
            features, y = as_arrays(X)
        else:
            features = as_features(X)
        check_shape(self, X, features, reset=False)
        predicted = self._predicted(_through(self._map, features.copy()))
        # Where it is used: its module takes longer to import than the rest of this package.
        from sklearn.metrics import accuracy_score

        return float(accuracy_score(y, predicted, sample_weight=sample_weight))

    def votes(self, X: Any) -> npt.NDArray[np.uint16]:
        """Each member's vote for each sample, as a number into ``classes_``.

        Parameters
        ----------
        X : array-like
            Samples of the shape seen in :meth:`fit`.

        Returns
        -------
        ndarray of uint16, shape (n_members, n_samples)
            For a :class:`~certssb.Cascade` (n_levels, n_members, n_samples).

        Raises
        ------
        ParameterError, ShapeError
            For samples that cannot be worked with, or of another shape than in :meth:`fit`.
        sklearn.exceptions.NotFittedError
            Before :meth:`fit`.

        Examples
        --------
        >>> import certssb as cs
        >>> X, y = cs.datasets.load_digits(classes=(0, 1))
        >>> clf = cs.CertifiedClassifier("linear", cs.Gaussian(0.25), n_members=20, learning_rate=0.03, seed=0, progress=False)
        >>> _ = clf.fit(X[:300], y[:300])
        >>> clf.votes(X[300:305]).shape
        (20, 5)
        """
        # A copy: later answers are read from what is kept.
        return self._votes_on(self._asked(X)).copy()

    def _asked(self, X: Any) -> Features:
        """Samples to ask members about, read once and mapped as the training samples were."""
        self._fitted()
        return self._test_features(X, self._map)

    def _predicted(self, features: Features) -> npt.NDArray[Any]:
        winners, _ = self._fitted().count(self._votes_on(features))
        labels: npt.NDArray[Any] = self.classes_[winners]
        return labels

    def _votes_on(self, features: Features) -> npt.NDArray[np.uint16]:
        ensemble = self._look()
        key = _digest(features)
        votes = self._votes.get(key)
        if votes is None:
            with progress_bar(self.progress, "voting") as report, _devices.products(self._precision):
                votes = frozen(ensemble.votes(features, report))
            # The last answer only; in place, since asking must not change the estimator's attributes.
            self._votes.clear()
            self._votes[key] = votes
        return votes

    def scores(self, X: Any) -> npt.NDArray[np.float32]:
        """Each member's softmax scores for each sample, as :func:`certssb.certify_scores` takes them.

        Parameters
        ----------
        X : array-like
            Samples of the shape seen in :meth:`fit`.

        Returns
        -------
        ndarray of float32, shape (n_members, n_samples, n_classes)
            For a :class:`~certssb.Cascade` (n_levels, n_members, n_samples, n_classes).

        Raises
        ------
        ParameterError, ShapeError
            For samples that cannot be worked with, or of another shape than in :meth:`fit`.
        sklearn.exceptions.NotFittedError
            Before :meth:`fit`.

        Examples
        --------
        >>> import certssb as cs
        >>> X, y = cs.datasets.load_digits(classes=(0, 1))
        >>> clf = cs.CertifiedClassifier("linear", cs.Gaussian(0.25), n_members=20, learning_rate=0.03, seed=0, progress=False)
        >>> _ = clf.fit(X[:300], y[:300])
        >>> clf.scores(X[300:305]).shape
        (20, 5, 2)
        """
        features = self._asked(X)
        with progress_bar(self.progress, "scoring") as report, _devices.products(self._precision):
            return self._look().scores(features, report)

    def noise_magnitudes(self, X: Any) -> Features:
        """The noise magnitude that sample-specific noise gives each sample.

        Parameters
        ----------
        X : array-like
            Samples of the shape seen in :meth:`fit`.

        Returns
        -------
        ndarray of float32, shape (n_members, n_samples)
            In the units of the features. Each member's own under ``SampleSpecific(sigma)``, on top of the base noise;
            one row, shared by all members, with ``guarantee="published"``.

        Raises
        ------
        ParameterError
            If the law is not :class:`~certssb.SampleSpecific`, alone or inside another law.
        ShapeError
            For samples of another shape than in :meth:`fit`.
        sklearn.exceptions.NotFittedError
            Before :meth:`fit`.

        Examples
        --------
        >>> import certssb as cs
        >>> X, y = cs.datasets.load_digits(classes=(0, 1))
        >>> law = cs.SampleSpecific(0.25, steps=3)
        >>> clf = cs.CertifiedClassifier("linear", law, n_members=20, learning_rate=0.03, seed=0, progress=False)
        >>> clf.fit(X[:300], y[:300]).noise_magnitudes(X[300:305]).shape
        (20, 5)
        """
        ensemble = self._fitted()
        if isinstance(ensemble, Levels):
            raise parameter_error("law", "SampleSpecific, alone or inside another law", repr(self.law))
        features = self._asked(X)
        with progress_bar(self.progress, "searching") as report, _devices.products(self._precision):
            return ensemble.magnitudes(features, report)

    @log_certify
    def certify(
        self,
        X: Any,
        alpha: float | None = None,
        bound: BoundName = "auto",
        selection: Literal["union", "split"] = "union",
        runner_up: Literal["auto", "complement", "bound"] = "auto",
        family_wise: bool = False,
        split: int | None = None,
        *,
        ledger: Ledger | None = None,
    ) -> CertificateTable:
        """Certify the prediction for each sample.

        The number of members is read from the votes and the noise from the record of what was drawn; neither can
        be passed.

        Parameters
        ----------
        X : array-like
            Samples of the shape seen in :meth:`fit`.
        alpha : float, optional
            Chance that a statement is wrong, in [1e-200, 1); the constructor's (0.001) if not given.
        bound, selection, runner_up, family_wise, split
            As for :func:`certssb.certify_votes`; a cascade takes ``selection="union"`` only.
        ledger : Ledger, optional
            For ``SampleSpecific(..., guarantee="published")``, whose radii are regions around test inputs: every region
            is settled against those in the ledger, in order, and the table tells what became of it. Radii of all other
            laws are distances between training sets, with which a ledger has nothing to do.

        Returns
        -------
        CertificateTable
            One certificate per sample.

        Raises
        ------
        ParameterError
            If a value is out of range, there are too few members to certify anything, or a ledger is given and the
            law's radii are not regions around test inputs.
        LedgerError
            If the ledger cannot be read or written.

        Examples
        --------
        >>> import certssb as cs
        >>> X, y = cs.datasets.load_digits(classes=(0, 1))
        >>> clf = cs.CertifiedClassifier("linear", cs.Gaussian(0.25), n_members=20, learning_rate=0.03, seed=0, progress=False)
        >>> _ = clf.fit(X[:300], y[:300])
        >>> certs = clf.certify(X[300:305], alpha=0.01)
        >>> certs.radius.round(3)
        array([0.182, 0.119, 0.182, 0.182, 0.182])
        """
        ensemble = self._look()
        if ledger is not None and not isinstance(ledger, Ledger):
            raise parameter_error("ledger", "None or a certssb.Ledger", repr(ledger))
        if ensemble.grown and bound not in ("auto", "betting"):
            expected = "'betting' for members that were added until the answer was liked"
            raise parameter_error("bound", expected, repr(bound))
        if ensemble.grown and selection != "union":
            # A split counted in members would move with every look.
            expected = "'union' for members that were added until the answer was liked"
            raise parameter_error("selection", expected, repr(selection))
        bound = "betting" if ensemble.grown else bound
        confidence = asked_confidence(
            self.alpha if alpha is None else alpha, bound, selection, runner_up, family_wise, split
        )
        confidence.check_enough(ensemble.n_members, len(self.classes_), 1, _n_levels(ensemble.law))
        features = self._asked(X)
        with _devices.products(self._precision):
            core = ensemble.certify(features, self._votes_on(features), confidence)
        core = core.with_failed(ensemble.n_failed)
        if not self._classes_given:
            core = core.with_classes_as_received()
        if ledger is not None:
            core = _settle(core, features, ledger)
        plain = np.array_equal(self.classes_, np.arange(len(self.classes_)))
        return CertificateTable(core, None if plain else self.classes_)

    def member(self, number: int, level: int = 0) -> Any:
        """One member as a module of its own, in evaluation mode on the CPU, or as the estimator that was fitted.

        Parameters
        ----------
        number : int
            Which one, from 0 to ``n_members_ - 1``.
        level : int, default=0
            Of which level of a :class:`~certssb.Cascade`.

        Returns
        -------
        torch.nn.Module
            Maps (batch, ...) to logits (batch, n_classes). What the callable returned, with the member's weights; for
            a built-in a :class:`certssb.modules.BuiltInModule`, for a closed form too. Changing it changes no vote.
        object
            Where members are estimators: a copy of the fitted one. Its classes are places in ``classes_``, for
            estimators that want them without gaps (XGBoost's) places in those that the member has seen. Of a member that
            has seen one class only, a fitted :class:`sklearn.dummy.DummyClassifier`.

        Raises
        ------
        ParameterError
            If there is no such member, or its training diverged: it votes for the lowest class and is no module.

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
        ensemble = self._fitted()
        expected = f"an integer from 0 to {ensemble.n_members - 1}"
        place = check_integer("number", number, expected, 0)
        levels = f"an integer from 0 to {_n_levels(ensemble.law) - 1}"
        if check_integer("level", level, levels, 0) >= _n_levels(ensemble.law):
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
        members: Literal["skops", "joblib"] | None = None,
    ) -> str:
        """Write the ensemble into a folder: weights as safetensors, the rest as JSON; nothing is pickled unless you say so.

        Parameters
        ----------
        path : str or path
            A folder that is not there, is empty, or holds members of the same settings and data.
        overwrite : bool, default=False
            Whether a saved ensemble of other settings or data may be replaced. The new one is written beside it and
            takes its place at the end, so that one of the two is always there. A folder that holds anything else is
            left as it is.
        members : {"skops", "joblib"}, optional
            Only for members that are estimators, and needed there: the form in which they are written. "skops" needs the
            package of that name; reading builds objects of those types alone of which members of the model are made.
            "joblib" holds everything and **is pickle: whoever can write to the folder can run code where it is read**.
            The constructor's if not given.

        Returns
        -------
        str
            The fingerprint: SHA-256 over settings, data digest, history and all members. Keep it elsewhere, and
            ``load(path, fingerprint=...)`` tells whether this very ensemble is there. Without it, damage is found, but
            not what somebody changes who also writes the fingerprint anew.

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
        form = _checked_form(self._fitted().model, self.members if members is None else members)
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
        members: Literal["skops", "joblib"] | None = None,
    ) -> Self:
        """Read an ensemble that :meth:`save` wrote.

        Parameters
        ----------
        path : str or path
            The folder.
        model : callable or estimator, optional
            For members of the user's module: the callable that makes it, as in the constructor. For estimators, the
            estimator or callable.
        features : FeatureMap, optional
            For a map that is not this package's.
        device, n_jobs
            As in the constructor.
        fingerprint : str, optional
            What :meth:`save` returned; anything else that may be in the folder is refused.
        optimizer, loss : callable, optional
            For members of the user's module that were trained with them: as in the constructor.
        members : {"skops", "joblib"}, optional
            In which form members that are estimators were written. "joblib" has to be said: reading it runs whatever code
            it holds, so that only folders that nobody else could write to may be read in that way.

        Returns
        -------
        CertifiedClassifier
            Fitted; its votes and certificates are those of the one that was saved. Its `seed` is what was passed then,
            `seed_` what was used; fitting it again on the same data with more `n_members` goes on.

        Raises
        ------
        CheckpointError
            If the folder holds no whole ensemble, one that was changed since it was saved, or not the one that was asked
            for.
        ParameterError
            If `model` is missing or makes another module.

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
        jobs = None if n_jobs is None else _jobs(n_jobs)
        form = _read_form(facts.get("form"), members)
        recipe = (optimizer, loss)
        ensemble = _ensembles.read_members(folder, facts, model, str(device), jobs, recipe, form)
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
            members=form,
            augment=from_description(augment) if isinstance(augment, dict) else augment,
            copies=record.get("copies"),
        )
        new._ensemble, new._unfinished, new._kept_in, new._votes = ensemble, None, None, {}
        new._seed_given, new._classes_given = facts["seed"] is not None, facts["classes_given"]
        new.classes_ = frozen(_ensembles.classes_from_json(facts["classes"]))
        new._map, new._precision = new.features, record["precision"]
        new.n_members_, new.n_failed_ = ensemble.n_members, ensemble.n_failed
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
        >>> clf = cs.CertifiedClassifier("linear", cs.Gaussian(0.25), n_members=20, learning_rate=0.03, seed=0, progress=False)
        >>> _ = clf.fit(X[:300], y[:300])
        >>> import json
        >>> json.loads(clf.record())["law"]
        {'law': 'gaussian', 'sigma': 0.25}
        """
        return self._fitted().record()

    def _fitted(self) -> Members:
        check_is_fitted(self, "n_members_")
        return self._ensemble

    def _test_features(self, X: Any, feature_map: FeatureMap | None) -> Features:
        # A copy of its own, which the core checks again: what is digested, voted on, certified and put into a ledger is
        # then one and the same, whatever other threads or callbacks write into the caller's array meanwhile.
        features = as_features(X).copy()
        check_shape(self, X, features, reset=False)
        return _through(feature_map, features)

    def set_params(self, **params: Any) -> Self:
        """Set parameters of this estimator and, as ``law__size`` or ``law__inner__sigma``, of its law.

        Parameters
        ----------
        **params : Any
            By the names of ``get_params``. The law is set in a copy of it, so that no other estimator that was given
            the same one changes.

        Returns
        -------
        CertifiedClassifier
            This object; what was fitted stays as it was.

        Raises
        ------
        ParameterError
            If the law has no such parameter, a value of it is out of range, or there is no law.
        ValueError
            If this estimator has no such parameter.

        Examples
        --------
        >>> import certssb as cs
        >>> clf = cs.CertifiedClassifier("linear", cs.Subsample(cs.Gaussian(0.5), size=60))
        >>> clf.set_params(law__size=30, law__inner__sigma=0.25).law
        Subsample(Gaussian(sigma=0.25), size=30)
        """
        of_law = {name[5:]: params.pop(name) for name in list(params) if name.startswith("law__")}
        law = params.get("law", self.law)
        if of_law:
            if not isinstance(law, Law):
                raise parameter_error("law", f"a law, for law__{next(iter(of_law))} to be set", repr(law))
            params["law"] = clone(law).set_params(**of_law)
        super().set_params(**params)
        return self

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.non_deterministic = self.seed is None
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "n_members_")

    def __getstate__(self) -> dict[str, Any]:
        if self.__sklearn_is_fitted__():
            # Whoever has the copy can look.
            self._look()
        state = dict(super().__getstate__())
        if "_votes" in state:
            state["_votes"] = {}
        if callable(state.get("progress")):
            state["progress"] = True
        return state


def _digest(features: Features) -> str:
    digest = hashlib.sha256(repr(features.shape).encode())
    digest.update(features.data)
    return digest.hexdigest()


def _through(feature_map: FeatureMap | None, features: Features) -> Features:
    return features if feature_map is None else mapped(feature_map, features)


def _n_levels(law: Any) -> int:
    return len(law.levels) if isinstance(law, Cascade) else 1


def _without_seed(ensemble: Members) -> dict[str, Any]:
    return {name: value for name, value in json.loads(ensemble.record()).items() if name != "seed"}


def _warn_of_failed(n_failed: int, n_members: int, lowest: Any) -> None:
    warnings.warn(
        f"The loss or the parameters of {n_failed} of the {n_members} members became infinite or NaN: they vote for the "
        f"lowest class, {lowest!r}. Certificates hold, and are smaller for other classes. A smaller learning_rate or inputs "
        "of ordinary size may help.",
        FailedMembersWarning,
        stacklevel=4,
    )


def _warn_of_growth(n_members: int) -> None:
    warnings.warn(
        f"Answers of this ensemble were seen with another number of members than {n_members}. A bound for a fixed number "
        "is wrong for one that was chosen after a look, so the betting bound, which holds however often members are "
        "added, certifies from now on: it is valid, and certifies a little less. To keep the bound for a fixed number, "
        "decide on the number of members before the first look, or train an ensemble with a fresh seed (seed=None, "
        "without this checkpoint).",
        GrowthWarning,
        stacklevel=5,
    )


def _adopt(ensemble: Members, known: Members) -> bool:
    if isinstance(ensemble, Levels):
        return ensemble.adopt(known)
    return not isinstance(known, Levels) and ensemble.adopt(known)


def _settle(core: _core.Certificates, features: Features, ledger: Ledger) -> _core.Certificates:
    """The storage-update step of the published form, on regions around the test inputs."""
    # Asked before anything is stored: only one law has such regions.
    core.with_ledger(core.prediction, np.zeros(len(core)), ["abstained"] * len(core))
    radii = core.radius if core.radius is not None else np.zeros(len(core))
    entries = ledger.update_many(features, core.prediction, radii)
    prediction = np.array([entry.prediction for entry in entries], dtype=np.int64)
    radius = np.array([entry.radius for entry in entries], dtype=np.float64)
    return core.with_ledger(prediction, radius, [entry.outcome for entry in entries])


def _checked_form(model: Any, form: Any) -> Any:
    """The form in which members are written, tried before anything is; None where they are numbers."""
    if not is_object_learner(model):
        if form is not None:
            raise parameter_error("members", "None where members are no estimators", repr(form))
        return None
    if form is None:
        from certssb.learners.sklearn._storage import NO_FORM

        raise parameter_error("members", f"'skops' or 'joblib' here. {NO_FORM}", "None")
    model.write_as(form)
    return form


def _read_form(written: Any, said: Any) -> Any:
    """The form in which members were written, if it may be read."""
    if said is not None and said != written:
        raise parameter_error("members", f"{written!r}, as the folder says, or left out", repr(said))
    if written == "joblib" and said is None:
        expected = (
            "'joblib' for this folder: its members are pickle, and reading them runs whatever code they hold. Pass it if "
            "nobody else could write to the folder"
        )
        raise parameter_error("members", expected, "None")
    return written


def _at_least_one(name: str, value: Any) -> int:
    return check_integer(name, value, "an integer of at least 1", 1)


def _copies(value: Any) -> int:
    return check_integer("copies", value, "None or an integer from 1 to 1000", 1, 1000)


def _jobs(value: Any) -> int:
    """scikit-learn's rule: -1 is all processors, -2 all but one."""
    expected = "None, an integer of at least 1, or -1 for all processors"
    jobs = check_integer("n_jobs", value, expected, -(2**31), _MOST_JOBS)
    if jobs == 0:
        raise parameter_error("n_jobs", expected, "0")
    return jobs if jobs > 0 else max(1, (os.cpu_count() or 1) + 1 + jobs)
