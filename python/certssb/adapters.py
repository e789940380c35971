"""Attacks of other packages as triggers, and the size of an attack in terms of a budget."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from certssb._checks import check_floats, parameter_error, shape_error
from certssb.data._tensors import plain

__all__ = ["ArtTrigger", "AttackSize", "attack_size"]


class ArtTrigger:
    """A backdoor attack of the Adversarial Robustness Toolbox (ART), as a trigger for :func:`certssb.triggers.poison`.

    Anything with a method ``poison(x, y)`` that returns changed images and labels will do, such as
    ``art.attacks.poisoning.PoisoningAttackBackdoor``. Only the images are used; which samples are poisoned, and with
    which label, is decided by :func:`certssb.triggers.poison`.

    Parameters
    ----------
    attack : object
        The attack.
    channels_last : bool, default=False
        Whether the attack wants images as (n, height, width, channels), as most of ART's perturbations do.

    Raises
    ------
    ParameterError
        If `attack` has no method ``poison``.

    Examples
    --------
    >>> import numpy as np
    >>> import certssb as cs
    >>> class Corner:  # stands for art.attacks.poisoning.PoisoningAttackBackdoor(add_single_bd)
    ...     def poison(self, x, y):
    ...         x[:, -2, -2, :] = 1
    ...         return x, y
    >>> X, y = cs.datasets.load_digits()
    >>> trigger = cs.adapters.ArtTrigger(Corner(), channels_last=True)
    >>> X_bad, y_bad, index = cs.triggers.poison(X, y, trigger, rate=0.01, target=0, seed=0)
    >>> cs.adapters.attack_size(X, y, X_bad, y_bad).n_poisoned == len(index)
    True
    """

    def __init__(self, attack: Any, channels_last: bool = False) -> None:
        if not callable(getattr(attack, "poison", None)):
            raise parameter_error("attack", "an attack with a method poison(x, y)", repr(attack))
        self.attack = attack
        self.channels_last = bool(channels_last)

    def __call__(self, X: Any) -> npt.NDArray[Any]:
        """Stamp the trigger on images.

        Parameters
        ----------
        X : array-like of shape (n_samples, channels, height, width)
            Images; they are not changed.

        Returns
        -------
        ndarray of the shape and type of `X`
            Changed copies.

        Raises
        ------
        ShapeError
            If the attack returns images of another shape.
        """
        images = np.array(X)
        given = images.transpose(0, 2, 3, 1).copy() if self.channels_last else images.copy()
        # The labels are somebody else's business, but attacks want some.
        changed = np.asarray(self.attack.poison(given, np.zeros(len(images), dtype=np.int64))[0])
        if changed.ndim == 4 and self.channels_last:
            changed = changed.transpose(0, 3, 1, 2)
        if changed.shape != images.shape:
            raise shape_error("attack", f"images of shape {images.shape} as result", f"shape {changed.shape}")
        return np.ascontiguousarray(changed, dtype=images.dtype)


class AttackSize(NamedTuple):
    """How large an attack on a training set was: what :meth:`certssb.CertificateTable.holds` asks for.

    Attributes
    ----------
    n_poisoned : int
        Number of samples whose features or label differ.
    trigger_norm : float
        Largest L2 norm of the change of a sample's features, rounded up.
    labels : bool
        Whether any label differs.

    Examples
    --------
    >>> import certssb as cs
    >>> cs.adapters.AttackSize(n_poisoned=27, trigger_norm=1.0, labels=True)._asdict()
    {'n_poisoned': 27, 'trigger_norm': 1.0, 'labels': True}
    """

    n_poisoned: int
    trigger_norm: float
    labels: bool


def attack_size(X: npt.ArrayLike, y: npt.ArrayLike, X_bad: npt.ArrayLike, y_bad: npt.ArrayLike) -> AttackSize:
    """Measure the size of any attack from the training set before and after it.

    Parameters
    ----------
    X, X_bad : array-like of shape (n_samples, ...)
        Features before and after, sample by sample, in the units in which the classifier gets them. They are compared as
        they are and as the classifier reads them, in single precision, where two numbers may be farther apart.
    y, y_bad : array-like of shape (n_samples,)
        Labels before and after.

    Returns
    -------
    AttackSize
        A named tuple; ``certs.holds(**size._asdict())`` says which predictions survive every attack of this size.

    Raises
    ------
    ShapeError
        If samples were added or removed, which this measure does not count, or shapes differ otherwise.

    Examples
    --------
    >>> import numpy as np
    >>> import certssb as cs
    >>> cs.adapters.attack_size(np.zeros((3, 2)), [0, 1, 1], [[0, 0], [3, 4], [0, 0]], [0, 1, 0])
    AttackSize(n_poisoned=2, trigger_norm=5.000000000000006, labels=True)
    """
    before, after = check_floats("X", plain(X, "X")), check_floats("X_bad", plain(X_bad, "X_bad"))
    label, label_bad = plain(y, "y"), plain(y_bad, "y_bad")
    if before.ndim == 0:
        raise shape_error("X", "samples", "a single number")
    if after.shape != before.shape:
        raise shape_error("X_bad", f"the shape of X, {before.shape}", f"shape {after.shape}")
    if label.shape != (len(before),) or label_bad.shape != label.shape:
        got = f"shapes {label.shape} and {label_bad.shape}"
        raise shape_error("y, y_bad", f"one label per sample, {len(before)} in all", got)
    norms = np.maximum(_norms(before, after), _norms(_rounded(before), _rounded(after)))
    changed = label != label_bad
    return AttackSize(
        int(((norms > 0) | changed).sum()), float(norms.max(initial=0.0)), bool(changed.any())
    )  # fmt: skip


def _rounded(features: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    with np.errstate(over="ignore"):
        return features.astype(np.float32).astype(np.float64)


def _norms(before: npt.NDArray[np.float64], after: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The L2 norm of each sample's change, rounded up; infinite where it is unknown."""
    with np.errstate(over="ignore", invalid="ignore"):
        moved = np.abs(after - before).reshape(len(before), -1)
        largest = moved.max(axis=1, initial=0.0)
        # In units of the largest change: squares neither vanish nor overflow.
        unit = np.where((largest > 0) & np.isfinite(largest), largest, 1.0)
        norms = np.sqrt(((moved / unit[:, None]) ** 2).sum(axis=1)) * unit
    # Each of the sum's terms, and each step before and after it, rounds by half an epsilon at most.
    norms *= 1.0 + (moved.shape[1] + 8) * 0.5 * np.finfo(np.float64).eps
    norms[np.isnan(norms)] = np.inf
    up: npt.NDArray[np.float64] = np.where(norms > 0, np.nextafter(norms, np.inf), norms)
    return up
