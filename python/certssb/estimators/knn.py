"""The 1-nearest-neighbour classifier under Gaussian noise, certified exactly, without members."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from certssb import _core
from certssb._checks import check_positive, frozen
from certssb.certificates import CertificateTable
from certssb.certificates._joined import joined
from certssb.data import as_features
from certssb.data._blocks import each_block, is_blocks, named
from certssb.data._trusted import read_training
from certssb.estimators._one_fit import as_fitted
from certssb.estimators._scales import warn_of_rounding, warn_of_scaler, warn_of_spread
from certssb.estimators._searches import warn_of_search
from certssb.estimators._seen_shape import check_shape
from certssb.exceptions import CertssbError
from certssb.watch._log import log_certify, log_fit
from certssb.watch.progress import Report, progress_bar

__all__ = ["CertifiedKNN"]


class CertifiedKNN(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """1-nearest neighbour with Gaussian noise on every training point, certified exactly (RAB, Weber et al.).

    Nothing is sampled: the probability that the nearest noised training point has a given class is an integral,
    computed to 1e-10. Certificates therefore hold with certainty, and there is no alpha. A scikit-learn classifier:
    ``score`` is the accuracy.

    Parameters
    ----------
    sigma : float, default=1.0
        Standard deviation of the noise, greater than 0, in the units of the features.
    progress : bool or callable, default=False
        Whether to show a progress bar; or a function called with (done, total).

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The classes that were given, or the distinct labels, ascending.
    n_features_in_ : int
        Number of features; for tables only.
    n_trusted_ : int
        Number of trusted samples, to which no noise is added.

    Examples
    --------
    >>> import certssb as cs
    >>> X, y = cs.datasets.load_digits(classes=(0, 1))
    >>> knn = cs.CertifiedKNN(sigma=1.0).fit(X[:300], y[:300])
    >>> certs = knn.certify(X[300:])
    >>> bool((certs.radius > 0.2).mean() > 0.9)
    True
    """

    def __init__(self, sigma: float = 1.0, progress: bool | Report = False) -> None:
        self.sigma = sigma
        self.progress = progress

    @log_fit
    def fit(
        self,
        X: Any,
        y: Any,
        *,
        classes: Any = None,
        trusted: Any = None,
        X_trusted: Any = None,
        y_trusted: Any = None,
    ) -> CertifiedKNN:
        """Keep the training points.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or images
            Training samples; see :func:`certssb.data.as_features`.
        y : array-like of shape (n_samples,)
            Their labels.
        classes : array-like of shape (n_classes,), optional
            All possible classes; as for :meth:`certssb.CertifiedClassifier.fit`.
        trusted, X_trusted, y_trusted : array-like, optional
            Samples that nobody could have changed, passed as for :meth:`certssb.CertifiedClassifier.fit`. They are
            neighbours without noise; certificates are about changes of the others. In many dimensions noise lengthens
            distances by about ``sigma * sqrt(n_features)``: if that is more than the differences between neighbours,
            a trusted sample is nearly always the nearest.

        Returns
        -------
        CertifiedKNN
            This object.

        Raises
        ------
        ParameterError, ShapeError
            If values or shapes are unusable.

        Warns
        -----
        ScaleWarning
            As in :meth:`certssb.CertifiedClassifier.fit`.

        Examples
        --------
        >>> import certssb as cs
        >>> X, y = cs.datasets.load_digits(classes=(0, 1))
        >>> knn = cs.CertifiedKNN(sigma=1.0)
        >>> knn.fit(X[:300], y[:300]).classes_
        array([0, 1])
        """
        samples = read_training(
            X, y, trusted=trusted, X_trusted=X_trusted, y_trusted=y_trusted, classes=classes
        )
        features, codes, known = samples.features.whole(), samples.codes, samples.classes
        sigma = check_positive("sigma", self.sigma)
        # A copy: what is kept for pickles is what was fitted, whatever becomes of the caller's array.
        flat = self._flat(features).copy()
        apart = None
        if samples.trusted is not None:
            apart = (frozen(self._flat(samples.trusted[0].whole()).copy()), samples.trusted[1])
        core = _core.Knn(flat, codes, len(known), sigma, apart)
        check_shape(self, X, features, reset=True)
        if X_trusted is not None and samples.trusted is not None:
            check_shape(self, X_trusted, samples.trusted[0], reset=False)
        law = _core.Gaussian(sigma)
        warn_of_search(stacklevel=3)
        warn_of_rounding(samples.lost, samples.features, law, stacklevel=3)
        warn_of_scaler(features, law, stacklevel=3)
        if samples.trusted is not None:
            warn_of_scaler(samples.received, law, stacklevel=3)
        warn_of_spread(features, law, None, stacklevel=3)
        fitted: dict[str, Any] = {
            # What a pickle is made of: a copy, since the user's array may be written to.
            "_train": (frozen(flat.copy()), codes, sigma, apart),
            "classes_": frozen(known),
            "_core": core,
            "_classes_given": classes is not None or apart is not None,
            "n_trusted_": samples.n_trusted,
        }
        # In one step, for others who are asking meanwhile.
        self.__dict__.update(fitted)
        return self

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """The most probable class of each sample.

        Parameters
        ----------
        X : array-like, or iterator of array-like
            Samples of the shape seen in :meth:`fit`, or blocks of them, of which one is in memory at a time.

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
        >>> knn = cs.CertifiedKNN(sigma=1.0)
        >>> _ = knn.fit(X[:300], y[:300])
        >>> knn.predict(X[300:305])
        array([0, 0, 1, 1, 1])
        """
        fitted = as_fitted(self)
        core = fitted._fitted()
        numbers = np.concatenate([core.predict(features) for features in fitted._each(X)])
        labels: npt.NDArray[Any] = fitted.classes_[numbers]
        return labels

    def predict_proba(self, X: Any) -> npt.NDArray[np.float64]:
        """Probability of each class over the noise, to 1e-10, in the order of ``classes_``.

        Parameters
        ----------
        X : array-like, or iterator of array-like
            Samples of the shape seen in :meth:`fit`, or blocks of them, of which one is in memory at a time.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Probabilities in [0, 1].

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
        >>> knn = cs.CertifiedKNN(sigma=1.0)
        >>> _ = knn.fit(X[:300], y[:300])
        >>> knn.predict_proba(X[300:302]).shape
        (2, 2)
        """
        fitted = as_fitted(self)
        core = fitted._fitted()
        return np.concatenate([core.probabilities(features) for features in fitted._each(X)])

    @log_certify
    def certify(self, X: Any) -> CertificateTable:
        """Certify the prediction for each sample; ``p_lower`` is the probability itself, rounded down.

        Parameters
        ----------
        X : array-like, or iterator of array-like
            Samples of the shape seen in :meth:`fit`, or blocks of them, of which one is in memory at a time.

        Returns
        -------
        CertificateTable
            One certificate per sample, with certainty: ``alpha`` is None.

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
        >>> knn = cs.CertifiedKNN(sigma=1.0)
        >>> _ = knn.fit(X[:300], y[:300])
        >>> knn.certify(X[300:303]).radius.round(2)
        array([1.18, 0.06, 0.3 ])
        """
        fitted = as_fitted(self)
        core = fitted._fitted()
        with progress_bar(fitted.progress, "certifying", unit="sample") as bar:

            def certified(features: npt.NDArray[np.float32], before: int) -> _core.Certificates:
                return core.certify(features, lambda done, total: bar(before + done, before + total))

            n, tables = 0, []
            for features in fitted._each(X):
                tables.append(certified(features, n))
                n += len(features)
        table = joined(tables)
        if not fitted._classes_given:
            table = table.with_classes_as_received()
        plain = np.array_equal(fitted.classes_, np.arange(len(fitted.classes_)))
        return CertificateTable(table, None if plain else fitted.classes_)

    def _fitted(self) -> _core.Knn:
        check_is_fitted(self, "classes_")
        return self._core

    def _each(self, X: Any) -> Iterator[npt.NDArray[np.float32]]:
        """Test samples block by block, where they come so."""
        if not is_blocks(X):
            yield self._test(X)
            return
        for number, (block, _) in enumerate(each_block(X)):
            try:
                features = self._test(block)
            except CertssbError as error:
                raise named(error, number) from error
            yield features

    def _test(self, X: Any) -> npt.NDArray[np.float32]:
        self._fitted()
        features = as_features(X)
        check_shape(self, X, features, reset=False)
        return self._flat(features)

    @staticmethod
    def _flat(features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return np.ascontiguousarray(features.reshape(len(features), -1))

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        state.pop("_core", None)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "_train" in state:
            features, codes, sigma, apart = state["_train"]
            self._core = _core.Knn(features, codes, len(self.classes_), sigma, apart)
