"""What can go wrong, as a tree of exceptions with :class:`CertssbError` at its root.

Every message names the parameter or file, what was expected, and what was given. A wrong value or shape is also a
:class:`ValueError`, so code written for scikit-learn catches it as it always did.
"""

from __future__ import annotations

import sys

__all__ = [
    "CancelledError",
    "CertssbError",
    "CheckpointError",
    "DeviceError",
    "FailedMembersWarning",
    "FileError",
    "GrowthWarning",
    "LedgerCorruptError",
    "LedgerError",
    "LedgerVersionError",
    "MissingFileError",
    "ParameterError",
    "RoundingWarning",
    "ScaleWarning",
    "SearchWarning",
    "ShapeError",
    "TrainingError",
]


class CertssbError(BaseException):
    """Root of every exception that this package raises on purpose.

    Never raised itself. Every kind below is an :class:`Exception` too, except for
    :class:`CancelledError`, which is a :class:`KeyboardInterrupt` as Ctrl-C is everywhere in Python.

    Examples
    --------
    >>> from certssb.exceptions import CertssbError, ParameterError
    >>> try:
    ...     raise ParameterError("The 'alpha' parameter must be in (0, 1). Got 1.5 instead.")
    ... except CertssbError as error:
    ...     print(error)
    The 'alpha' parameter must be in (0, 1). Got 1.5 instead.
    """

    if sys.version_info >= (3, 11):

        def add_note(self, note: str, /) -> None:
            """Add a note, except for that of the bindings about which argument they were reading: the message has said so.

            Parameters
            ----------
            note : str
                What is shown below the message.

            Examples
            --------
            >>> from certssb.exceptions import ParameterError
            >>> error = ParameterError("The 'alpha' parameter must be in (0, 1). Got 1.5 instead.")
            >>> error.add_note("in settings.toml")
            >>> error.__notes__
            ['in settings.toml']
            """
            if not note.startswith("while processing '"):
                super().add_note(note)


class ParameterError(CertssbError, ValueError):
    """A parameter, or a value in the data, is outside its range or unknown.

    Raised when a number is out of range, a name is unknown, data hold NaN or infinite values, labels are not class
    names, or a data set is missing or damaged.

    Examples
    --------
    >>> import certssb as cs
    >>> try:
    ...     cs.Gaussian(sigma=-1)
    ... except ValueError as error:
    ...     print(error)
    The 'sigma' parameter must be a finite float greater than 0, also in single precision. Got -1 instead.
    """


class ShapeError(CertssbError, ValueError):
    """An array has the wrong rank, length or dimension.

    Raised when data are neither tabular nor images, when two arrays that belong together differ
    in length, or when there is nothing in them.

    Examples
    --------
    >>> import certssb as cs
    >>> try:
    ...     cs.certify_votes([1, 1, 0], cs.Gaussian(0.5), n_train=100, n_classes=2)
    ... except cs.ShapeError as error:
    ...     print(error)
    'votes' must have shape (n_members, n_samples). Got shape (3,) instead.
    """


class TrainingError(CertssbError, Exception):
    """Training a member of the ensemble failed; members finished before are kept.

    Raised when a model cannot be built, run or differentiated, or when the loss or the parameters of more than half of
    the members stop being finite.

    Parameters
    ----------
    message : str
        What happened, in one sentence.
    member : int or None, default=None
        Number of the member, from 0, or None when no single member is to blame.

    Attributes
    ----------
    member : int or None
        As given.

    Examples
    --------
    >>> from certssb import TrainingError
    >>> error = TrainingError("Member 3: the loss is not finite.", member=3)
    >>> error.member
    3
    """

    member: int | None

    def __init__(self, message: str = "", member: int | None = None) -> None:
        super().__init__(message)
        self.member = member


class LedgerError(CertssbError, Exception):
    """A ledger could not be opened, read or written.

    Raised when the file cannot be reached or locked. A point that does not have the number of features that the ledger
    holds is a :class:`ShapeError`.

    Examples
    --------
    >>> import certssb as cs
    >>> cs.Ledger("/no/such/folder/regions.sqlite")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    certssb.exceptions.LedgerError: ...
    """


class LedgerCorruptError(LedgerError):
    """A ledger file is damaged, or is not a ledger.

    Raised when a ledger is opened or read; the file is left as it was found.

    Examples
    --------
    >>> import certssb as cs
    >>> try:
    ...     cs.Ledger(cs.__file__)
    ... except cs.LedgerCorruptError:
    ...     print("no ledger")
    no ledger
    """


class LedgerVersionError(LedgerError):
    """A ledger was written with a schema that this version does not read.

    Raised when a ledger is opened; the file is left as it was found.

    Examples
    --------
    >>> import certssb as cs
    >>> issubclass(cs.LedgerVersionError, cs.LedgerError)
    True
    """


class CheckpointError(CertssbError, Exception):
    """A checkpoint directory is foreign, damaged or cannot be written.

    Raised before training when the directory was made with other settings or other data (the
    difference is named), and when a member's file does not match the manifest.

    Examples
    --------
    >>> import certssb as cs
    >>> X, y = cs.datasets.load_digits(classes=(0, 1))
    >>> clf = cs.CertifiedClassifier("linear", n_members=20, epochs=1, progress=False, checkpoint=cs.__file__)
    >>> try:
    ...     clf.fit(X, y)
    ... except cs.CheckpointError:
    ...     print("a file is no directory")
    a file is no directory
    """


class FileError(CertssbError, OSError):
    """A file cannot be read or written; the message names it.

    Raised for tables, reports, run folders and data sets: when the system refuses access, when the path is not a
    regular file (but a pipe, a device or a folder), and when the file is larger than such a file can be. Ledgers and
    checkpoints have their own exceptions.

    Parameters
    ----------
    message : str
        Which file, and what is wrong, in one sentence.
    code : int or None, default=None
        The system's number for the failure, as in ``errno`` of the standard library.

    Attributes
    ----------
    errno : int or None
        The code.

    Examples
    --------
    >>> import certssb as cs
    >>> try:
    ...     cs.CertificateTable.load("/dev/zero")
    ... except cs.FileError as error:
    ...     print(error)
    '/dev/zero' cannot be read: it is a pipe, a device or a socket, not a regular file.
    """

    def __init__(self, message: str = "", code: int | None = None) -> None:
        super().__init__(message)
        self.errno = code

    def __reduce__(self) -> tuple[type[FileError], tuple[str, int | None]]:
        return type(self), (str(self), self.errno)


class MissingFileError(FileError, FileNotFoundError):
    """There is no file, or no folder to put it in; also a :class:`FileNotFoundError`.

    Raised where the system finds nothing at the path.

    Examples
    --------
    >>> import certssb as cs
    >>> try:
    ...     cs.CertificateTable.load("/no/such/table.npz")
    ... except FileNotFoundError as error:
    ...     print(error)
    '/no/such/table.npz' cannot be read: No such file or directory (os error 2).
    """


class FailedMembersWarning(UserWarning):
    """The training of some members diverged or was refused by the estimator; they vote for the lowest class.

    A single training sample with a value of 3e38 can cause that, or a class with one sample where the estimator's own
    cross-validation needs three. That must not be enough to stop a fit. Whether a member's loss and parameters stay finite, and whether an estimator
    accepts its samples, is decided by its own noised set. So its vote is a function of that set, like every other
    member's, and certificates hold unchanged; ``n_failed_`` and the guarantee give the number. If it happens to more
    than half of the members, :meth:`CertifiedClassifier.fit` raises :class:`TrainingError`.

    Examples
    --------
    >>> import warnings
    >>> import certssb as cs
    >>> X, y = cs.datasets.load_digits(classes=(0, 1))
    >>> X[0] = 3e38
    >>> law = cs.Subsample(size=50)
    >>> clf = cs.CertifiedClassifier("linear", law, n_members=20, epochs=2, seed=0, progress=False)
    >>> with warnings.catch_warnings(record=True) as told:
    ...     warnings.simplefilter("always")
    ...     _ = clf.set_params(alpha=0.1).fit(X, y)
    >>> told[0].category.__name__, 0 < clf.n_failed_ <= 10
    ('FailedMembersWarning', True)
    """


class GrowthWarning(UserWarning):
    """The number of members was changed after answers had been seen; from then on certificates use the betting bound.

    A bound for a fixed number of members is wrong for a number that was chosen after a look at the result. If members
    are added or left out after votes, predictions or certificates were requested, or after the ensemble was saved or
    pickled, every later certificate uses the betting bound, which holds however often that happens, but certifies a
    little less.

    Examples
    --------
    >>> import warnings
    >>> import certssb as cs
    >>> X, y = cs.datasets.load_digits(classes=(0, 1))
    >>> clf = cs.CertifiedClassifier("linear", n_members=20, epochs=1, alpha=0.1, seed=0, progress=False)
    >>> _ = clf.fit(X, y).certify(X[:5])
    >>> with warnings.catch_warnings(record=True) as told:
    ...     warnings.simplefilter("always")
    ...     _ = clf.set_params(n_members=40).fit(X, y)
    >>> told[0].category.__name__, "however often" in clf.certify(X[:5]).guarantee
    ('GrowthWarning', True)
    """


class RoundingWarning(UserWarning):
    """Members were trained or predicted on processors or with libraries that round differently from those of this
    process.

    Issued once by a call that uses an `executor`, if a worker has different vector instructions, another kind of
    processor or another version of torch: its results are the same up to rounding. Certificates hold. To get the same
    votes again, to the last bit, use the same processors and libraries.

    Examples
    --------
    >>> import certssb as cs
    >>> issubclass(cs.RoundingWarning, UserWarning)
    True
    """


class ScaleWarning(UserWarning):
    """Training data are scaled in a way that voids the proof, or that leaves nothing to learn beside the noise.

    Issued by ``fit`` for these reasons:

    - All columns have mean 0 and deviation 1, or reach from exactly 0 to exactly 1: a scaler was fitted on something. If
      that was the received data, one changed sample moved all others, and no certificate covers it.
    - The features' spread is below 0.3 deviations of the noise, which then hides everything.
    - Columns of a table are of very different scales, or features lie far from 0, so that models learn badly.

    Examples
    --------
    >>> import warnings
    >>> import numpy as np
    >>> import certssb as cs
    >>> X, y = cs.datasets.load_digits(classes=(0, 1))
    >>> table = X.reshape(len(X), -1) + np.random.default_rng(0).random((len(X), 64))
    >>> law = cs.Gaussian(1.0)
    >>> clf = cs.CertifiedClassifier("linear", law, n_members=20, epochs=1, alpha=0.1, seed=0, progress=False)
    >>> with warnings.catch_warnings(record=True) as told:
    ...     warnings.simplefilter("always")
    ...     _ = clf.fit((table - table.mean(axis=0)) / table.std(axis=0), y)
    >>> [one.category.__name__ for one in told]
    ['ScaleWarning']
    """


class SearchWarning(UserWarning):
    """Settings were chosen by a search over the data that are fitted; certificates do not cover the choice.

    A certificate is about the predictions of an ensemble whose settings were fixed in advance. If a scikit-learn
    search chose them by cross-validation on the received data, changing one sample may lead to a different choice.
    The warning is issued when the search fits its choice. Search on trusted samples instead, or on other data of the
    same kind.

    Examples
    --------
    >>> import warnings
    >>> import certssb as cs
    >>> from sklearn.model_selection import GridSearchCV
    >>> X, y = cs.datasets.load_digits(classes=(0, 1))
    >>> law = cs.Subsample(size=30)
    >>> clf = cs.CertifiedClassifier("discriminant", law, n_members=20, seed=0, progress=False)
    >>> with warnings.catch_warnings(record=True) as told:
    ...     warnings.simplefilter("always")
    ...     _ = GridSearchCV(clf, {"law__size": [10, 30]}, cv=2).fit(X[:100], y[:100])
    >>> [one.category.__name__ for one in told]
    ['SearchWarning']
    """


class DeviceError(CertssbError, Exception):
    """The compute device is not there, or cannot do the work.

    Raised before training for an unknown or absent device, and during it when the device runs
    out of memory.

    Examples
    --------
    >>> import certssb as cs
    >>> X, y = cs.datasets.load_digits(classes=(0, 1))
    >>> try:
    ...     cs.CertifiedClassifier("linear", device="cuda:99", seed=0, progress=False).fit(X, y)
    ... except cs.DeviceError:
    ...     print("not there")
    not there
    """


class CancelledError(CertssbError, KeyboardInterrupt):
    """The work was stopped on request; finished members are kept.

    Raised after Ctrl-C; it is a :class:`KeyboardInterrupt`, which ``except Exception`` lets pass.

    Examples
    --------
    >>> import certssb as cs
    >>> X, y = cs.datasets.load_digits(classes=(0, 1))
    >>> def stop(done, total):
    ...     raise KeyboardInterrupt
    >>> clf = cs.CertifiedClassifier("linear", n_members=20, epochs=1, seed=0, progress=stop)
    >>> try:
    ...     clf.fit(X, y)
    ... except cs.CancelledError:
    ...     print("finished members are kept")
    finished members are kept
    """
