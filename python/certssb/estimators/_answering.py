"""What a fitted ensemble says of samples: classes, votes, scores, certificates."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from certssb import _core
from certssb._checks import parameter_error
from certssb.certificates import CertificateTable
from certssb.certificates._asked import BoundName, ElectionName, asked_confidence, check_election
from certssb.certificates._joined import joined
from certssb.data import as_arrays
from certssb.data._blocks import is_blocks
from certssb.estimators._cascade_levels import Levels, Members
from certssb.estimators._in_blocks import asked_in_blocks, labelled_blocks, refuse_family_wise
from certssb.estimators._one_fit import as_fitted
from certssb.estimators._spreading import said
from certssb.estimators._with_members import Features, WithMembers, n_levels
from certssb.forensics._influence import Influence, checked_targets, measured
from certssb.laws import Partition, Subsample
from certssb.learners import _devices
from certssb.ledger import Ledger
from certssb.watch._log import log_certify
from certssb.watch.progress import Report, progress_bar

__all__ = ["Answering"]


class Answering(WithMembers):
    """Asks the members, and certifies what they say."""

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """The class with the most votes for each sample; ties go to the lowest class.

        Parameters
        ----------
        X : array-like, or iterator of array-like
            Samples of the shape seen in :meth:`fit`; blocks of them from a generator, :func:`certssb.data.blocks` or a loader of
            a stream, of which one is in memory at a time.

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
        >>> law = cs.Gaussian(0.25)
        >>> clf = cs.CertifiedClassifier("linear", law, n_members=20, learning_rate=0.03, seed=0, progress=False)
        >>> _ = clf.fit(X[:300], y[:300])
        >>> bool((clf.predict(X[300:]) == y[300:]).mean() > 0.9)
        True
        """
        fitted = as_fitted(self)
        n_members = fitted._fitted().n_members
        return np.concatenate(
            list(asked_in_blocks(fitted, X, fitted._predicted, "voting", n_members=n_members))
        )

    def predict_proba(self, X: Any) -> npt.NDArray[np.float64]:
        """Share of the votes for each class; under a cascade, at the level that decided.

        Parameters
        ----------
        X : array-like, or iterator of array-like
            Samples of the shape seen in :meth:`fit`; blocks of them from a generator, :func:`certssb.data.blocks` or a loader of
            a stream, of which one is in memory at a time.

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
        >>> law = cs.Gaussian(0.25)
        >>> clf = cs.CertifiedClassifier("linear", law, n_members=20, learning_rate=0.03, seed=0, progress=False)
        >>> _ = clf.fit(X[:300], y[:300])
        >>> clf.predict_proba(X[300:302]).shape
        (2, 2)
        """
        fitted = as_fitted(self)
        ensemble = fitted._fitted()

        def shares(features: Features, report: Report) -> npt.NDArray[np.float64]:
            return ensemble.count(fitted._votes_on(features, report))[1] / ensemble.n_members

        return np.concatenate(
            list(asked_in_blocks(fitted, X, shares, "voting", n_members=ensemble.n_members))
        )

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Share of samples whose label is predicted.

        Parameters
        ----------
        X : array-like, Dataset, DataLoader, or iterator of array-like
            Samples of the shape seen in :meth:`fit`, or blocks of them: of pairs (samples, labels) if `y` is left out.
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
        >>> law = cs.Gaussian(0.25)
        >>> clf = cs.CertifiedClassifier("linear", law, n_members=20, learning_rate=0.03, seed=0, progress=False)
        >>> clf.fit(X[:300], y[:300]).score(X[300:], y[300:])
        1.0
        """
        self._fitted()
        if y is None and is_blocks(X):
            labels: list[npt.NDArray[Any]] = []
            predicted = self.predict(_without_labels(X, labels))
            y = np.concatenate(labels)
        elif y is None:
            features, y = as_arrays(X)
            predicted = self.predict(features)
        else:
            predicted = self.predict(X)
        # Where it is used: its module takes longer to import than the rest of this package.
        from sklearn.metrics import accuracy_score

        return float(accuracy_score(y, predicted, sample_weight=sample_weight))

    def votes(self, X: Any) -> npt.NDArray[np.uint16]:
        """Each member's vote for each sample, as a number into ``classes_``.

        Parameters
        ----------
        X : array-like, or iterator of array-like
            Samples of the shape seen in :meth:`fit`; blocks of them from a generator, :func:`certssb.data.blocks` or a loader of
            a stream, of which one is in memory at a time.

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
        >>> law = cs.Gaussian(0.25)
        >>> clf = cs.CertifiedClassifier("linear", law, n_members=20, learning_rate=0.03, seed=0, progress=False)
        >>> _ = clf.fit(X[:300], y[:300])
        >>> clf.votes(X[300:305]).shape
        (20, 5)
        """
        fitted = as_fitted(self)
        # A copy: later answers are read from what is kept.
        parts = list(
            asked_in_blocks(fitted, X, fitted._votes_on, "voting", n_members=fitted._fitted().n_members)
        )
        return parts[0].copy() if len(parts) == 1 else np.concatenate(parts, axis=-1)

    def scores(self, X: Any) -> npt.NDArray[np.float32]:
        """Each member's softmax scores for each sample, as :func:`certssb.certify_scores` takes them.

        Parameters
        ----------
        X : array-like, or iterator of array-like
            Samples of the shape seen in :meth:`fit`; blocks of them from a generator, :func:`certssb.data.blocks` or a loader of
            a stream, of which one is in memory at a time.

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
        >>> law = cs.Gaussian(0.25)
        >>> clf = cs.CertifiedClassifier("linear", law, n_members=20, learning_rate=0.03, seed=0, progress=False)
        >>> _ = clf.fit(X[:300], y[:300])
        >>> clf.scores(X[300:305]).shape
        (20, 5, 2)
        """
        fitted = as_fitted(self)
        ensemble = fitted._look()

        def scored(features: Features, report: Report) -> npt.NDArray[np.float32]:
            with _devices.computing(fitted._precision):
                return said(fitted, ensemble, features, "scores", report)

        n = ensemble.n_members * len(fitted.classes_)
        parts = list(asked_in_blocks(fitted, X, scored, "scoring", n_members=n))
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-2)

    def noise_magnitudes(self, X: Any) -> Features:
        """The noise magnitude that sample-specific noise gives each sample.

        Parameters
        ----------
        X : array-like, or iterator of array-like
            Samples of the shape seen in :meth:`fit`; blocks of them from a generator, :func:`certssb.data.blocks` or a loader of
            a stream, of which one is in memory at a time.

        Returns
        -------
        ndarray of float32, shape (n_members, n_samples)
            In the units of the features. Under ``SampleSpecific(sigma)``, one row per member, in addition to the base
            noise; with ``guarantee="published"``, a single row shared by all members.

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
        fitted = as_fitted(self)
        ensemble = fitted._fitted()
        if isinstance(ensemble, Levels):
            raise parameter_error("law", "SampleSpecific, alone or inside another law", repr(fitted.law))
        if ensemble.sound:
            # What a member finds says how sure it is of its vote.
            fitted._look()

        def found(features: Features, report: Report) -> Features:
            with _devices.computing(fitted._precision):
                magnitudes: Features = said(fitted, ensemble, features, "magnitudes", report)
                return magnitudes

        n = ensemble.n_members if ensemble.sound else 1
        parts = list(asked_in_blocks(fitted, X, found, "searching", n_members=n))
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-1)

    def influence(self, X: Any, targets: Any = None, *, top: int = 10) -> Influence:
        """The training samples whose presence moves the votes on some inputs: where to look for poison first.

        Under :class:`~certssb.Subsample`, chance decided which members see a training sample. Members that saw it are
        compared with members that did not: a sample is suspect if its presence raises the votes for the class that a
        suspicious input gets. **This is not a guarantee**: the numbers are exact for the draws that were made, and an
        estimate of the average effect of a sample's presence. Poison that moves no vote by itself is not found, and
        harmless samples similar to the input move some votes.

        Parameters
        ----------
        X : array-like, or iterator of array-like
            Inputs, such as suspicious ones, of the shape seen in :meth:`fit`, or blocks of them as for :meth:`votes`: the
            samples of one block are in memory at a time, and each member's vote for all of them.
        targets : array-like of shape (n_inputs,), optional
            For each input, the class whose votes are counted; the predicted one if not given.
        top : int, default=10
            How many training samples are kept for each single input.

        Returns
        -------
        Influence
            The influence of every training sample on all inputs together, and the largest influences for each input.
            Samples are numbered as in :meth:`fit`, without trusted ones.

        Raises
        ------
        ParameterError
            If the law is not a :class:`~certssb.Subsample`. Under noise alone every member sees every sample, and
            under a :class:`~certssb.Partition` samples of one bucket are always seen together, so votes cannot tell
            them apart.
        ShapeError
            For inputs of another shape than in :meth:`fit`.
        sklearn.exceptions.NotFittedError
            Before :meth:`fit`.

        Examples
        --------
        >>> import certssb as cs
        >>> X, y = cs.datasets.load_digits()
        >>> trigger = cs.triggers.Patch(norm=4.0)
        >>> X_bad, y_bad, poisoned = cs.triggers.poison(X[:1500], y[:1500], trigger, rate=0.02, target=0, seed=0)
        >>> law = cs.Subsample(size=100)
        >>> clf = cs.CertifiedClassifier("discriminant", law, n_members=2000, seed=0, progress=False)
        >>> inputs = trigger(X[1500:][y[1500:] != 0])
        >>> found = clf.fit(X_bad, y_bad).influence(inputs, targets=[0] * len(inputs))
        >>> bool(set(found.order[:10].tolist()) <= set(poisoned.tolist()))
        True
        """
        fitted = as_fitted(self)
        ensemble = fitted._look()
        if isinstance(ensemble, Levels) or not isinstance(ensemble.law, Subsample):
            why = (
                "samples of one bucket are always seen together"
                if isinstance(ensemble.law, Partition)
                else "the levels of a cascade answer in turn"
                if isinstance(ensemble, Levels)
                else "every member sees every sample"
            )
            expected = f"a Subsample, for which it is drawn who sees a sample; here {why}"
            raise parameter_error("law", expected, repr(ensemble.law))
        parts = list(asked_in_blocks(fitted, X, fitted._votes_on, "voting", n_members=ensemble.n_members))
        votes = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-1)
        winners, _ = ensemble.count(votes)
        numbers = checked_targets(targets, winners, fitted.classes_)
        return measured(ensemble, votes, numbers, fitted.classes_[numbers], top)

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
        election: ElectionName = "plurality",
    ) -> CertificateTable:
        """Certify the prediction for each sample.

        The number of members is read from the votes, and the noise from the record of what was drawn; neither is a
        parameter.

        Parameters
        ----------
        X : array-like, or iterator of array-like
            Samples of the shape seen in :meth:`fit`; blocks of them from a generator, :func:`certssb.data.blocks` or a loader of
            a stream, of which one is in memory at a time.
        alpha : float, optional
            Largest probability that a statement is wrong, in [1e-200, 1); the constructor's (0.001) if not given.
        bound, selection, runner_up, family_wise, split
            As for :func:`certssb.certify_votes`; a cascade takes ``selection="union"`` only.
        ledger : Ledger, optional
            For ``SampleSpecific(..., guarantee="published")``, whose radii are regions around test inputs: every
            region is reconciled with those in the ledger, in order, and the table says what became of it. The radii
            of all other laws are distances between training sets, for which a ledger has no meaning.
        election : {"plurality", "run-off"}
            For a :class:`~certssb.Partition`: whether its learners elect the class with the most votes, as
            :meth:`predict` does, or hold a second round between the two classes with the most votes, which may elect
            a different class and often certifies more. `alpha` and the settings of bounds do not apply to a
            partition.

        Returns
        -------
        CertificateTable
            One certificate per sample.

        Raises
        ------
        ParameterError
            If a value is out of range, there are too few members to certify anything, or a ledger is given and the
            law's radii are not regions around test inputs.
        ShapeError
            For samples of another shape than in :meth:`fit`.
        LedgerError
            If the ledger cannot be read or written.
        sklearn.exceptions.NotFittedError
            Before :meth:`fit`.

        Examples
        --------
        >>> import certssb as cs
        >>> X, y = cs.datasets.load_digits(classes=(0, 1))
        >>> law = cs.Gaussian(0.25)
        >>> clf = cs.CertifiedClassifier("linear", law, n_members=20, learning_rate=0.03, seed=0, progress=False)
        >>> _ = clf.fit(X[:300], y[:300])
        >>> certs = clf.certify(X[300:305], alpha=0.01)
        >>> certs.radius.round(3)
        array([0.182, 0.119, 0.182, 0.182, 0.182])
        """
        fitted = as_fitted(self)
        cores = fitted._certified(
            X, alpha, bound, selection, runner_up, family_wise, split, ledger=ledger, election=election
        )
        return fitted._table(joined(cores))

    def certify_blocks(
        self,
        X: Any,
        alpha: float | None = None,
        bound: BoundName = "auto",
        selection: Literal["union", "split"] = "union",
        runner_up: Literal["auto", "complement", "bound"] = "auto",
        *,
        ledger: Ledger | None = None,
        election: ElectionName = "plurality",
    ) -> Iterator[CertificateTable]:
        """Certify samples block by block, and yield each block's table before the next block is read.

        Parameters
        ----------
        X : iterator of array-like, or DataLoader
            Blocks of samples, from a generator or :func:`certssb.data.blocks`. An array of samples is one block, or
            several if it does not fit into memory.
        alpha, bound, selection, runner_up, ledger, election
            As for :meth:`certify`. Statements are about one sample each.

        Yields
        ------
        CertificateTable
            One certificate per sample of the block.

        Raises
        ------
        ParameterError, ShapeError
            As for :meth:`certify`. An error in a block is raised when that block is read, and names its number.
        LedgerError
            If the ledger cannot be read or written.

        Examples
        --------
        >>> import certssb as cs
        >>> X, y = cs.datasets.load_digits(classes=(0, 1))
        >>> law = cs.Gaussian(0.25)
        >>> clf = cs.CertifiedClassifier("linear", law, n_members=20, learning_rate=0.03, seed=0, progress=False)
        >>> _ = clf.fit(X[:300], y[:300])
        >>> [len(certs) for certs in clf.certify_blocks(cs.data.blocks(X[300:], 25), alpha=0.01)]
        [25, 25, 10]
        """
        fitted = as_fitted(self)
        cores = fitted._certified(
            X, alpha, bound, selection, runner_up, False, None, ledger=ledger, election=election
        )
        return map(fitted._table, cores)

    def _certified(
        self,
        X: Any,
        alpha: float | None,
        bound: BoundName,
        selection: Literal["union", "split"],
        runner_up: Literal["auto", "complement", "bound"],
        family_wise: bool,
        split: int | None,
        *,
        ledger: Ledger | None,
        election: ElectionName,
    ) -> Iterator[_core.Certificates]:
        """The certificates of each block."""
        ensemble = self._look()
        refuse_family_wise(family_wise, X)
        if ledger is not None and not isinstance(ledger, Ledger):
            raise parameter_error("ledger", "None or a certssb.Ledger", repr(ledger))
        check_election(election, ensemble.law)
        if isinstance(ensemble, _core.Ensemble) and isinstance(ensemble.law, Partition):
            if ledger is not None:
                raise parameter_error("ledger", "None under a Partition, which has no regions", repr(ledger))

            def elected(features: Features, report: Report) -> _core.Certificates:
                return self._elect(ensemble, features, election, report)

            yield from self._tables(X, elected, ensemble)
            return
        if ensemble.grown and bound not in ("auto", "betting"):
            expected = "'betting' for members that were added after looking at results"
            raise parameter_error("bound", expected, repr(bound))
        if ensemble.grown and selection != "union":
            # A split counted in members would move with every look.
            expected = "'union' for members that were added after looking at results"
            raise parameter_error("selection", expected, repr(selection))
        bound = "betting" if ensemble.grown else bound
        confidence = asked_confidence(
            self.alpha if alpha is None else alpha, bound, selection, runner_up, family_wise, split
        )
        confidence.check_enough(ensemble.n_members, len(self.classes_), 1, n_levels(ensemble.law))

        def certified(features: Features, report: Report) -> _core.Certificates:
            with _devices.computing(self._precision):
                core = ensemble.certify(features, self._votes_on(features, report), confidence)
            core = self._described(core)
            return core if ledger is None else _settle(core, features, ledger)

        yield from self._tables(X, certified, ensemble, family_wise)

    def _tables(
        self,
        X: Any,
        ask: Callable[[Features, Report], _core.Certificates],
        ensemble: Members,
        family_wise: bool = False,
    ) -> Iterator[_core.Certificates]:
        """The certificates of each block; of one block where a statement is about all of them."""
        n_members = ensemble.n_members
        return asked_in_blocks(self, X, ask, "voting", n_members=n_members, whole=bool(family_wise))

    def _elect(
        self, ensemble: _core.Ensemble, features: Features, election: str, told: Report
    ) -> _core.Certificates:
        """What a partition's learners elect, and how many buckets may change."""
        votes = self._votes_on(features, told)
        with progress_bar(self.progress, "scoring") as report, _devices.computing(self._precision):
            logits = None
            if election == "run-off" and self.executor is not None:
                logits = said(self, ensemble, features, "logits", report)
            core = ensemble.elect(features, votes, election, report, logits)
        return self._described(core)

    def _described(self, core: _core.Certificates) -> _core.Certificates:
        """The certificates with what their sentence has to say of the members."""
        ensemble = self._fitted()
        core = core.with_failed(ensemble.n_failed).with_empty(ensemble.n_empty)
        return core if self._classes_given else core.with_classes_as_received()

    def _table(self, core: _core.Certificates) -> CertificateTable:
        plain = np.array_equal(self.classes_, np.arange(len(self.classes_)))
        return CertificateTable(core, None if plain else self.classes_)


def _without_labels(X: Any, labels: list[npt.NDArray[Any]]) -> Iterator[Any]:
    """Blocks of samples, whose labels are put aside."""
    for block, own in labelled_blocks(X):
        labels.append(np.asarray(own))
        yield block


def _settle(core: _core.Certificates, features: Features, ledger: Ledger) -> _core.Certificates:
    """The storage-update step of the published form, on regions around the test inputs."""
    # Asked before anything is stored: only one law has such regions.
    core.with_ledger(core.prediction, np.zeros(len(core)), ["abstained"] * len(core))
    radii = core.radius if core.radius is not None else np.zeros(len(core))
    entries = ledger.update_many(features, core.prediction, radii)
    prediction = np.array([entry.prediction for entry in entries], dtype=np.int64)
    radius = np.array([entry.radius for entry in entries], dtype=np.float64)
    return core.with_ledger(prediction, radius, [entry.outcome for entry in entries])
