"""The table of certificates: one row per test sample, and the sentence that says what they guarantee."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy.typing as npt

from certssb import _core
from certssb._checks import frozen, parameter_error
from certssb.certificates import _file
from certssb.certificates._accuracy import WithAccuracy
from certssb.certificates._exported import Exported
from certssb.certificates._row_numbers import row_numbers
from certssb.storage import _files

__all__ = ["CertificateTable"]


class CertificateTable(WithAccuracy, Exported):
    """Certificates of test samples. Made by an estimator's ``certify``, :func:`certify_votes` or :func:`certify_scores`.

    A table has a length, can be sliced by rows, compared, copied and pickled. A pickle holds what :meth:`save` writes
    and is checked like a file.

    Attributes
    ----------
    prediction : ndarray of shape (n_samples,)
        The ensemble's class, always a class; int64 class numbers, or labels as `y` held them.
    abstained : ndarray of bool, shape (n_samples,)
        Whether no class could be certified.
    p_lower : ndarray of float64, shape (n_samples,)
        Lower bound for the probability of the class; NaN under a :class:`~certssb.Partition`, which has no
        probabilities.
    p_upper : ndarray of float64, shape (n_samples,)
        Upper bound for the probability of every other class; NaN under a :class:`~certssb.Partition`.
    radius : ndarray of float64, shape (n_samples,), or None
        The prediction holds for every change of the training features whose L2 norm over the whole training set
        is *below* the radius, in the units of the features; 0 where abstained. None for a law that has no such
        radius (Subsample, Discrete, LabelNoise, Partition).
    guarantee : str
        One sentence: what exactly is guaranteed, with what probability, and for which changes.
    sound : bool
        Whether the guarantee is a proof against an attacker on the training set.

    Examples
    --------
    >>> import numpy as np
    >>> import certssb as cs
    >>> votes = np.array([[1, 0]] * 990 + [[0, 1]] * 10)  # 1000 members, two test samples
    >>> certs = cs.certify_votes(votes, cs.Gaussian(sigma=0.5), n_train=12665, n_classes=2)
    >>> certs.prediction
    array([1, 0])
    >>> certs.radius.round(3)
    array([0.979, 0.979])
    >>> certs.certified_accuracy([1, 1], radii=[0, 0.5, 1.0])
    array([0.5, 0.5, 0. ])
    >>> certs.holds(n_poisoned=10, trigger_norm=0.1)
    array([ True,  True])
    """

    def __init__(self, core: _core.Certificates, classes: npt.NDArray[Any] | None = None) -> None:
        self._core = core
        self._classes = None if classes is None else frozen(classes.copy())

    def __getitem__(self, index: Any) -> CertificateTable:
        """The table of some of the samples.

        Bounds stay what they are, and so does alpha: statements that hold together for all samples of a table hold
        together for a part of them, and the guarantee of the part goes on to name the number of all.

        Parameters
        ----------
        index : int, slice, array-like of bool of shape (n_samples,), or array-like of int of shape (n_chosen,)
            Which samples, negative numbers counted from the end. A single number makes a table of one sample.

        Returns
        -------
        CertificateTable

        Raises
        ------
        ParameterError
            If `index` is none of these, or there is no such sample.
        ShapeError
            If a mask does not have one bool per sample.

        Examples
        --------
        >>> import numpy as np
        >>> import certssb as cs
        >>> votes = np.array([[1, 0, 1]] * 990 + [[0, 1, 1]] * 10)  # 1000 members, three test samples
        >>> certs = cs.certify_votes(votes, cs.Gaussian(0.5), n_train=12665, n_classes=2, family_wise=True)
        >>> certs[:2].prediction, len(certs[certs.radius > 1]), certs[-1].prediction
        (array([1, 0]), 1, array([1]))
        >>> certs[:2].guarantee[:66]
        'For all 3 test samples together, of which this table has 2 rows, w'
        """
        return CertificateTable(self._core.rows(row_numbers(index, len(self))), self._classes)

    def __iter__(self) -> Iterator[CertificateTable]:
        return (self[i] for i in range(len(self)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, CertificateTable):
            return NotImplemented
        return self is other or self._digest() == other._digest()

    def _digest(self) -> str:
        return _file.digest(_file.parts(self._core, self._classes))

    def __hash__(self) -> int:
        return hash((len(self), self._core.record()))

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickled, (self._bytes(),)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the table to one file, exactly, by atomic rename.

        The file is a NumPy ``.npz`` archive (whatever its name) with the record and a digest; nothing in it is
        executed on loading.

        Parameters
        ----------
        path : str or path
            The file to write.

        Raises
        ------
        FileError
            If it cannot be written.

        Examples
        --------
        >>> import os, tempfile
        >>> import numpy as np
        >>> import certssb as cs
        >>> certs = cs.certify_votes(np.ones((1000, 2), int), cs.Gaussian(0.5), n_train=100, n_classes=2)
        >>> path = os.path.join(tempfile.mkdtemp(), "table.npz")
        >>> certs.save(path)
        >>> cs.CertificateTable.load(path).radius.tolist() == certs.radius.tolist()
        True
        """
        _files.write(path, self._bytes())

    def _bytes(self) -> bytes:
        return _file.written(self._core, self._classes)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> CertificateTable:
        """Read a table written by :meth:`save`.

        Parameters
        ----------
        path : str or path
            The file to read.

        Returns
        -------
        CertificateTable
            The same certificates, bit for bit.

        Raises
        ------
        ParameterError
            If the file is not such a table, or is damaged.
        FileError
            If it cannot be read, or is not a regular file.

        Examples
        --------
        >>> import certssb as cs
        >>> cs.CertificateTable.load(__file__)  # a file of another kind
        Traceback (most recent call last):
        certssb.exceptions.ParameterError: The 'path' parameter must be a file written by CertificateTable.save...
        """
        return cls._restored("path", _files.read(path), f"'{path}'")

    @classmethod
    def _restored(cls, name: str, content: bytes, source: str) -> CertificateTable:
        """The table that :meth:`_bytes` made `content` of; `name` and `source` are for messages."""
        return cls(*_file.read(name, content, source))

    def __repr__(self) -> str:
        certified = len(self) - int(self.abstained.sum())
        samples = "1 sample" if len(self) == 1 else f"{len(self):,} samples"
        return f"<CertificateTable of {samples}, {certified:,} certified. {self.guarantee}>"

    def _repr_html_(self) -> str:
        return self.show()._repr_html_()


def _unpickled(content: Any) -> CertificateTable:
    """A table from its pickle, which holds what :meth:`CertificateTable.save` writes and nothing else."""
    if not isinstance(content, bytes):
        raise parameter_error("pickle", "one of a table of certificates", type(content).__name__)
    return CertificateTable._restored("pickle", content, "another")
