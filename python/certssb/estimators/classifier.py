"""The estimator: an ensemble of members trained on noised copies of the data, certified by their votes."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from sklearn.base import BaseEstimator, ClassifierMixin, _clone_parametrized, clone

from certssb._checks import parameter_error
from certssb.estimators._answering import Answering
from certssb.estimators._fitting import Fitting
from certssb.estimators._keeping import Keeping
from certssb.features import FeatureMap
from certssb.laws import Law
from certssb.watch.progress import Report

if TYPE_CHECKING:
    from typing_extensions import Self


__all__ = ["CertifiedClassifier"]


class CertifiedClassifier(Fitting, Answering, Keeping, ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Ensemble whose predictions come with certificates against changes of the training data.

    Each member is trained on its own noised copy of the training set, drawn once from `law`; the ensemble predicts
    the class with the most votes, and :meth:`certify` says which changes of the training set leave a prediction
    unchanged.

    Parameters
    ----------
    model : str, estimator or callable, default="auto"
        A classifier with fit and predict, such as those of scikit-learn, LightGBM and XGBoost or a ``Pipeline`` that
        ends in one: each member is a fresh clone, fitted on its own noised set alone. A callable without arguments
        that returns one, or a fresh ``torch.nn.Module`` mapping (batch, ...) to logits (batch, n_classes), such as
        the module's class; see Notes. Or the name of a built-in architecture: "linear", "discriminant" (regularised
        linear discriminant analysis in closed form: the one for small or very noisy members' sets), "ridge" (least
        squares onto the classes in closed form: for many features, such as those of
        :class:`~certssb.features.Scattering`), "mlp", "cnn" (the literature's conv16-conv32-fc512) or "resnet"
        (pre-activation, 3 stages of 5 blocks). "auto" chooses "cnn" for images and "mlp" for tables, never by the
        number of samples, which an attacker may change. Where members see few, "discriminant" is usually the better choice:
        0.87 instead of 0.69 of the digits with ``Partition(100)``, 13 samples each.
    law : Law, optional
        How members' training sets are drawn; ``Gaussian(sigma=0.5)`` if not given.
    n_members : int or "auto", optional
        Number of members N; "auto" adds members until the goal given to :meth:`fit` is reached. 1000 if not given;
        under a :class:`~certssb.Partition` it can only be the number of learners.
    epochs : int, default=20
        Passes of a member over its noised set; the noise is the same in each.
    batch_size : int, default=128
        Samples per optimiser step.
    learning_rate : float, default=1e-3
        Step size of Adam; without effect if `optimizer` is given.
    device : str or torch.device, default="auto"
        "auto" (every GPU, members split between them; the CPU if there is none), "cpu", "cuda" (the first GPU), "cuda:1".
    seed : int or None, default=None
        Root of all random streams. Certificates assume that the attacker did not know the noise when they changed the
        data, so a fresh seed is drawn if none is given (kept in `seed_`). If `checkpoint` or this object already
        holds members of the same data and settings, their seed is used. For reproducible experiments, pass an integer
        from 0 to 2**64 - 1: the same seed gives the same votes for any `n_jobs` on one machine.
    n_jobs : int, optional
        Members trained at the same time on the CPU, one thread each; all cores if not given.
    executor : object, optional
        Where members are trained and predict: in threads of this process if not given; in an executor with the
        interface of ``concurrent.futures.Executor`` (a pool of processes, loky, MPI), a ``dask.distributed.Client``,
        "ray" (the cluster that ``ray.init`` found), or "joblib" (whatever ``joblib.parallel_config`` names). Data are
        sent to each worker once, members of a worker that dies are trained by others, and members are the same
        wherever they are trained. Each task computes with `n_jobs` threads, one if not given, on the `device` of its
        worker. A pickled estimator has no executor.
    checkpoint : str or path, optional
        Directory in which every finished member is kept. Members already in it are not trained again, whatever
        interrupted the run that made them; a directory made with other settings or data is refused. For a
        :class:`~certssb.Partition` other data are accepted if some learners' samples are unchanged: these learners
        are kept, and the directory then belongs to the new data. Processes that
        share a directory, on one machine or on several that share a disk, share the work: each claims the members
        that it trains, and takes over those of a process that is killed.
    progress : bool or callable, default=True
        Whether to show a progress bar with the time left; or a function called with (done, total).
    alpha : float, default=0.001
        Largest probability of a wrong statement that :meth:`certify` will be asked for. :meth:`fit` refuses a number
        of members with which even unanimous votes could not certify anything at this alpha.
    features : FeatureMap, optional
        A fixed map that every sample, training and test, passes before the noise, such as ``cs.features.Cosine(8)``;
        part of the record and named in the guarantee. A map that may lengthen changes works only with laws that count
        samples; see :mod:`certssb.features`.
    precision : {"f32", "tf32"}, default="f32"
        Arithmetic of training and voting. "tf32" lets GPUs that have it round the factors of products to 10 bits of
        mantissa, which is faster; part of the record.
    members : {"memory", "disk", "votes"}, default="memory"
        Where members are kept once they are trained. "disk": only in `checkpoint`, which is then required, packed
        into a few files. Their values are read whenever members predict, so memory does not grow with the number of
        members. Votes and certificates are the same; the directory must exist for as long as predictions are needed.
        "votes": nowhere. Members vote on the samples given to :meth:`fit` as `vote_on`, and are then discarded; these
        samples are predicted and certified as if the members were kept, and others are refused. A `checkpoint` then
        holds their votes, from which training continues.
    form : {"skops", "joblib"}, optional
        The format in which members that are estimators are written into `checkpoint`; see :meth:`save`. Without it,
        such members cannot be written, and `checkpoint` is refused.
    stack : int, optional
        Number of members computed together, as one operation with an additional dimension; this changes them only by
        rounding. If not given: 1 on the CPU, where members side by side are as fast, and as many as fit into memory
        on a GPU. For your own module that cannot be stacked it stays 1; see Notes.
    optimizer : callable, optional
        For your own module: takes a list of parameters and returns a fresh ``torch.optim.Optimizer`` for them, or a
        tuple of an optimiser and schedulers that take a step after each epoch, such as
        ``lambda p: torch.optim.AdamW(p, lr=2e-3, weight_decay=0.01)``. Adam with `learning_rate` if not given. Part
        of the record.
    loss : callable, optional
        For your own module: takes logits (batch, n_classes) and classes (batch,) and returns one value per sample or
        their mean, such as ``torch.nn.CrossEntropyLoss(label_smoothing=0.1)``. Cross-entropy if not given. Part of
        the record.
    augment : Augmentation or callable, optional
        Changes each batch of a member's noised samples, after the noise and afresh in every epoch; certificates are
        not affected under any law. It is an augmentation of :mod:`certssb.augment`, a transform of torchvision, a
        ``torch.nn.Module`` on a batch of images, or a callable ``augment(batch, rng)`` that returns an array like
        `batch` and draws from the ``numpy.random.Generator`` `rng` alone. It must look at nothing else: not at other
        training samples, and not at anything that it remembers. Part of the record: your own callable by its name and
        a digest of its code. With `features`, it is applied before the map if the law adds no noise to features
        (``Partition``, ``Subsample`` without inner noise, ``LabelNoise``): the original samples are changed, and
        members see what the map makes of them. Under other laws noise is added to the output of the map, and the
        noised output is changed.
    copies : int, optional
        With `augment`, for members that use their noised set only once ("discriminant", "ridge", and estimators with
        fit and predict): how many changed copies of it follow the noised samples, from 1 to 1000; 8 if not given.
    penalty : float, optional
        For "discriminant" and "ridge": their regularisation, greater than 0 and relative to the data. That of "discriminant"
        is relative to the mean variance of a feature within classes, 1 if not given; that of "ridge" to the mean squared
        distance of the samples from their mean, 0.3 if not given. Part of the record.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The classes that were given to :meth:`fit`, or the distinct labels, ascending.
    n_features_in_ : int
        Number of features; for tables only.
    n_failed_ : int
        Number of members whose training diverged or was refused by the estimator (all levels of a cascade together).
        They vote for the lowest class.
    n_idle_ : int
        Number of learners of a :class:`~certssb.Partition` that had too few samples to be trained: each votes for a
        class that its number determines. 0 for every other law.
    n_kept_ : int
        Number of learners of a :class:`~certssb.Partition` that were kept from an earlier fit on other data, of this
        object or in `checkpoint`, because the samples in their buckets are the same. 0 for every other law.
    n_members_ : int
        Number of trained members.
    n_trusted_ : int
        Number of trusted samples, which every member saw as they are in addition to what the law drew from the
        others.
    seed_ : int
        The seed that was used.
    execution_ : str
        How the members were trained: in stacks or one by one, on how many threads, streams or GPUs, and, if your own
        module does not allow stacks, why not. The logger says it as well.
    decided_ : float
        With ``n_members="auto"``: the share of the samples of `until` that were decided when the fit stopped adding
        members.

    Notes
    -----
    Certificates are about changes of the training data, so their scaling must not be learned from them. Pixels in
    [0, 1] need no scaling. A scaler fitted on the received data would carry information about them around the noise.
    The same goes for weights of a module that were learned from these data, frozen or not.

    Your own module is checked before training: what cannot work is refused, and the message names the sub-module. A
    module is built on the CPU in float32, is trained in training mode, with Adam and cross-entropy unless `optimizer`
    and `loss` say otherwise, and votes in evaluation mode. Parameters, frozen or not, and buffers are kept in
    float32: buffers may hold integers up to 2**24.

    Members must not share state. A module is trained for up to 16 steps on made-up samples (up to 256 on a GPU or in
    stacks), alone and again alongside another one, and refused if the two differ; after training, the same steps must
    give the same result. On the CPU, without stacks, the first member of a fit is trained again after all others (at
    every look of ``until``, at every level of a cascade), which costs as much as one more member. If it is not the
    same, bit for bit, the fit is refused and none of its members is kept. Two things escape these trials: state that
    a GPU's members first read after the trial's steps, and state outside Python's objects that is written once and
    never changed later. torch's global modes, such as autocast or another default dtype, affect neither these trials
    nor members.

    Each member has its own module, whose weights come from the member's random stream: torch's, Python's and NumPy's
    global generators are seeded while the callable runs, and restored afterwards. Dropout and other torch randomness
    inside the module come from the member's stream as well, so the same seed gives the same votes for any `n_jobs`.
    So do draws from ``random`` and ``numpy.random``, if the module makes any in its first two passes. Only what it
    draws from elsewhere (files, clocks, its own backward pass) is not reproducible.

    An estimator as `model` sees samples as flat float32 vectors, and labels as indices into ``classes_``. Its
    ``random_state``, including nested ones, comes from the member's stream, whatever it was set to. `epochs`,
    `batch_size` and `learning_rate` do not apply to it. If a noised set has only one class, the member always answers
    that class. Members vote by ``predict``; scores are those of ``predict_proba`` if there is one, otherwise 0 and 1.
    Like a module, an estimator is tried before training. It must be a function of its noised set and seed: its
    answers must be the same, bit for bit, after others have been fitted. Members are fitted in threads, or in
    processes if a trial shows that threads would wait for the interpreter lock; the members are the same.

    On a GPU (or with `stack`), members of your own module are computed in stacks, by ``torch.func.vmap`` over their
    parameters and buffers. A trial before training must show that logits, gradients, buffers and draws for dropout
    are the same as for single members. Otherwise, for example if control flow depends on data, they are computed one
    by one; on a GPU several at the same time, each on its own CUDA stream.

    Memory holds, beside the data, for each of the `n_jobs` members in training: its noised samples (all of the data
    for a law on the whole set, ``size`` samples for :class:`Subsample`), one batch, and the model with its gradient
    and two moments; and the weights of all members, unless ``members="disk"``. A C-contiguous ``numpy.memmap`` is not
    copied.

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
        n_members: int | Literal["auto"] | None = None,
        epochs: int = 20,
        batch_size: int = 128,
        learning_rate: float = 1e-3,
        device: Any = "auto",
        seed: int | None = None,
        n_jobs: int | None = None,
        executor: Any = None,
        checkpoint: str | os.PathLike[str] | None = None,
        progress: bool | Report = True,
        alpha: float = 0.001,
        features: FeatureMap | None = None,
        precision: Literal["f32", "tf32"] = "f32",
        stack: int | None = None,
        optimizer: Callable[[list[Any]], Any] | None = None,
        loss: Callable[[Any, Any], Any] | None = None,
        members: Literal["memory", "disk", "votes"] = "memory",
        form: Literal["skops", "joblib"] | None = None,
        augment: Callable[..., Any] | None = None,
        copies: int | None = None,
        penalty: float | None = None,
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
        self.form = form
        self.augment = augment
        self.copies = copies
        self.penalty = penalty

    def set_params(self, **params: Any) -> Self:
        """Set parameters of this estimator and, as ``law__size`` or ``law__inner__sigma``, of its law.

        Parameters
        ----------
        **params : Any
            By the names of ``get_params``. The law is copied before it is changed, so other estimators with the same
            law do not change.

        Returns
        -------
        CertifiedClassifier
            This object; what was fitted does not change.

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
        if not isinstance(state.get("executor"), str):
            # Workers belong to a process.
            state["executor"] = None
        return state

    def __sklearn_clone__(self) -> Self:
        # An executor is no value of which there could be another one.
        bare = object.__new__(type(self))
        bare.__dict__ = self.__dict__ | {"executor": None}
        copied: Self = _clone_parametrized(bare)
        copied.executor = self.executor
        return copied
