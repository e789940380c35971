"""Trained ensembles kept between runs of a suite, each in a checkpoint that its record names."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeVar

from certssb._checks import check_path, parameter_error
from certssb.estimators.classifier import CertifiedClassifier
from certssb.exceptions import CheckpointError
from certssb.storage._shelf import Shelf

__all__ = ["KeptEnsembles"]

Estimator = TypeVar("Estimator")


class KeptEnsembles:
    """Fits estimators, reusing members that an earlier run trained.

    Members are kept in one folder per record: settings, law, model, seed and a digest of the training data decide
    which. If any of these changes, it is a different ensemble, which is trained. If `seed` is None, so does
    `n_members`, and the seed that was drawn the first time is used again, because it is the same ensemble; a suite that
    drew new seeds until it passed would be no evidence. With a seed of your own, another `n_members` means more or
    fewer of the same members: once the answers of one number were seen, another one makes a grown ensemble
    (:class:`~certssb.GrowthWarning`).

    Parameters
    ----------
    folder : str or path
        Where members are kept. Anybody who can write to it can change what is certified.

    Raises
    ------
    ParameterError
        If it is not a path.

    Examples
    --------
    >>> import tempfile
    >>> import certssb as cs
    >>> X, y = cs.datasets.load_digits(classes=(0, 1))
    >>> kept = cs.testing.KeptEnsembles(tempfile.mkdtemp())
    >>> clf = cs.CertifiedClassifier("linear", n_members=20, alpha=0.1, progress=False)
    >>> seed = kept.fit(clf, X, y).seed_
    >>> again = cs.CertifiedClassifier("linear", n_members=20, alpha=0.1, progress=False)
    >>> kept.fit(again, X, y).seed_ == seed
    True
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(check_path("folder", folder))

    def fit(self, estimator: Estimator, X: object, y: object = None, **options: object) -> Estimator:
        """Fit an estimator, reusing members that are kept.

        Parameters
        ----------
        estimator : CertifiedClassifier
            Fitted in place. One with a `checkpoint` of its own keeps its members there; anything else with a method
            ``fit``, such as :class:`~certssb.CertifiedKNN`, is simply fitted.
        X, y
            As for its ``fit``.
        **options
            As for its ``fit``: `trusted`, `classes`, `callbacks`.

        Returns
        -------
        CertifiedClassifier
            The estimator.

        Raises
        ------
        ParameterError
            For an ensemble that grows until a goal is reached: it needs a checkpoint of its own. If members are estimators
            and no `form` says how to write them, or `estimator` is none.

        Examples
        --------
        >>> import tempfile
        >>> import certssb as cs
        >>> X, y = cs.datasets.load_digits(classes=(0, 1))
        >>> clf = cs.CertifiedClassifier("linear", n_members=20, alpha=0.1, progress=False)
        >>> cs.testing.KeptEnsembles(tempfile.mkdtemp()).fit(clf, X, y).n_members_
        20
        """
        if isinstance(estimator, type) or not hasattr(estimator, "fit"):
            raise parameter_error("estimator", "an estimator with a method fit", repr(estimator))
        if not isinstance(estimator, CertifiedClassifier) or estimator.checkpoint is not None:
            estimator.fit(X, y, **options)
            return estimator
        if options.get("until") is not None:
            expected = "None: give an ensemble that grows until a goal is reached a 'checkpoint' of its own"
            raise parameter_error("until", expected, "a goal")
        shelf = Shelf(self.folder)
        try:
            estimator.checkpoint = shelf
            try:
                estimator.fit(X, y, **options)  # type: ignore[arg-type]
            except CheckpointError:
                # Damaged, or of a module that is built alike and does something else now: trained again.
                if shelf.found is None or not shelf.found.is_dir():
                    raise
                shelf.clear()
                estimator.checkpoint = shelf
                estimator.fit(X, y, **options)  # type: ignore[arg-type]
        finally:
            # Another fit, on other data, would be refused there.
            estimator.checkpoint = None
        return estimator
