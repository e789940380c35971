"""Poisoning a training set with a trigger, and how large a trigger is on given images."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from certssb._checks import check_callable, check_real, check_seed, parameter_error, shape_error
from certssb.attacks._images import Images, Labels, image_shape
from certssb.data._tensors import is_tensor

__all__ = ["poison", "trigger_norms"]


def poison(
    X: Images,
    y: Labels,
    trigger: Callable[[Images], Images],
    rate: float,
    target: object,
    seed: int = 0,
    source: object = None,
) -> tuple[Images, Labels, npt.NDArray[np.int64]]:
    """Put a trigger on a share of the samples and set their labels to the target class.

    Parameters
    ----------
    X : ndarray or torch.Tensor of shape (n_samples, channels, height, width)
        Images of a floating type, in [0, 1]. Not changed.
    y : ndarray or torch.Tensor of shape (n_samples,)
        Class labels: integers or strings. Not changed. A list comes back as an array.
    trigger : callable
        A :class:`Trigger`, or any function from images to changed images.
    rate : float
        Share of all samples to poison, in [0, 1]; their number is ``rate * n_samples`` rounded
        to the nearest integer, halves up.
    target : int or str
        Class that the poisoned samples get. Samples that have it are never chosen.
    seed : int, default=0
        Which samples are chosen, greater than or equal to 0.
    source : int, str, sequence of them, or None, default=None
        Choose among samples of these classes only; None for all but the target.

    Returns
    -------
    X_bad : ndarray or torch.Tensor of shape (n_samples, channels, height, width)
        Copy of `X` with the trigger on the chosen samples.
    y_bad : ndarray or torch.Tensor of shape (n_samples,)
        Copy of `y` with the target at the chosen samples.
    index : ndarray of shape (n_poisoned,)
        Indices of the chosen samples, int64, ascending.

    Raises
    ------
    ParameterError
        If a parameter is outside its range, `target` or `source` is not a label that `y` can hold,
        or fewer samples can be chosen than `rate` asks for.
    ShapeError
        If `X` and `y` differ in length, or the trigger changes the shape of the images.

    Warns
    -----
    UserWarning
        If a positive `rate` rounds to no sample at all.

    Examples
    --------
    >>> import numpy as np
    >>> from certssb.triggers import OnePixel, poison
    >>> X, y = np.zeros((100, 1, 8, 8)), np.arange(100) % 2
    >>> X_bad, y_bad, index = poison(X, y, OnePixel((6, 6)), rate=0.03, target=0, seed=0)
    >>> len(index), y_bad[index].tolist(), bool((y[index] == 1).all())
    (3, [0, 0, 0], True)
    """
    image_shape(X)
    check_callable("trigger", trigger, "a callable that takes images and returns changed ones")
    labels = _labels(y, len(X))
    target = _label("target", target, labels)
    count = math.floor(check_real("rate", rate, "a float in the range [0, 1]", 0, 1) * len(X) + 0.5)
    if rate > 0 and count == 0:
        warnings.warn(f"A rate of {rate} of {len(X)} samples rounds to no sample at all.", stacklevel=2)
    index = _chosen(labels, target, source, count, check_seed("seed", seed))
    return _with_trigger(X, index, trigger), _with_target(y, labels, index, target), index


def trigger_norms(X: Images, trigger: Callable[[Images], Images]) -> npt.NDArray[np.float64]:
    """Measure how far a trigger moves each image: the L2 norm of the change after clipping.

    Parameters
    ----------
    X : ndarray or torch.Tensor of shape (n_samples, channels, height, width)
        Images of a floating type. Not changed.
    trigger : callable
        A :class:`Trigger`, or any function from images to changed images.

    Returns
    -------
    ndarray of shape (n_samples,)
        L2 norm of each image's change over all pixels and channels, in the units of `X`, float64.

    Raises
    ------
    ParameterError, ShapeError
        As the trigger does.

    Examples
    --------
    >>> import numpy as np
    >>> from certssb.triggers import OnePixel, trigger_norms
    >>> X = np.array([0.0, 0.75]).reshape(2, 1, 1, 1) * np.ones((1, 1, 4, 4))
    >>> trigger_norms(X, OnePixel((0, 0), norm=1.0)).tolist()
    [1.0, 0.25]
    """
    image_shape(X)
    check_callable("trigger", trigger, "a callable that takes images and returns changed ones")
    norms = np.empty(len(X))
    for start in range(0, len(X), 1024):
        batch = X[start : start + 1024]
        change = _float64(trigger(batch)) - _float64(batch)
        norms[start : start + 1024] = np.sqrt((change.reshape(len(batch), -1) ** 2).sum(axis=1))
    return norms


def _float64(X: Any) -> npt.NDArray[np.float64]:
    if is_tensor(X):
        X = X.detach().double().cpu().numpy()
    return np.asarray(X, dtype=np.float64)


def _labels(y: Any, n_samples: int) -> npt.NDArray[Any]:
    labels = y.detach().cpu().numpy() if is_tensor(y) else np.asarray(y)
    if labels.shape != (n_samples,):
        raise shape_error("y", f"the shape ({n_samples},), one label per sample of 'X'", labels.shape)
    return cast("npt.NDArray[Any]", labels)


def _label(name: str, value: Any, labels: npt.NDArray[Any]) -> Any:
    """`value` as an element of `labels`, if it can be one."""
    if is_tensor(value) or isinstance(value, np.generic):
        value = value.item()
    is_text, holds_text = isinstance(value, str), labels.dtype.kind in "UT"
    if labels.dtype.kind == "O":
        return value
    if is_text or holds_text:
        if is_text and holds_text:
            return value
        raise parameter_error(name, f"a class label like those in 'y' ({labels.dtype})", repr(value))
    try:
        with np.errstate(all="ignore"):
            exact = bool(np.array(value).astype(labels.dtype) == value)
    except (TypeError, ValueError, OverflowError):
        exact = False
    if not exact:
        raise parameter_error(name, f"a class label like those in 'y' ({labels.dtype})", repr(value))
    return value


def _chosen(
    labels: npt.NDArray[Any], target: Any, source: Any, count: int, seed: int
) -> npt.NDArray[np.int64]:
    allowed = labels != target
    if source is not None:
        sources = [source] if isinstance(source, str) or not np.iterable(source) else list(source)
        allowed &= np.isin(labels, [_label("source", s, labels) for s in sources])
    candidates = np.flatnonzero(allowed)
    if count > len(candidates):
        group = "of another class than the target" if source is None else "of the source classes"
        expected = f"at most {len(candidates) / len(labels):.4g}, as {len(candidates)} of {len(labels)} samples are {group}"
        raise parameter_error("rate", expected, f"{count} samples to poison")
    chosen = np.random.default_rng(seed).choice(candidates, size=count, replace=False)
    return np.sort(chosen).astype(np.int64)


def _with_trigger(X: Images, index: npt.NDArray[np.int64], trigger: Callable[[Images], Images]) -> Images:
    if isinstance(X, np.ndarray):
        picked = X[index]
        changed = trigger(picked)
        _same_shape(changed, picked)
        bad = np.array(X, subok=False)
        bad[index] = changed
        return bad
    import torch

    places = torch.from_numpy(index).to(X.device)
    picked_t = X[places]
    changed_t = trigger(picked_t)
    _same_shape(changed_t, picked_t)
    copy = X.clone()
    copy[places] = changed_t
    return copy


def _same_shape(changed: Any, picked: Any) -> None:
    if tuple(np.shape(changed)) != tuple(picked.shape):
        raise shape_error(
            "trigger(X)", f"the shape of its input, {tuple(picked.shape)}", tuple(np.shape(changed))
        )


def _with_target(y: Any, labels: npt.NDArray[Any], index: npt.NDArray[np.int64], target: Any) -> Any:
    if is_tensor(y):
        copy = y.clone()
        copy[index] = target
        return copy
    dtype = labels.dtype
    if dtype.kind == "U":
        # A fixed-width string type would cut a longer target off.
        dtype = np.promote_types(dtype, np.array(target).dtype)
    bad = labels.astype(dtype, copy=True)
    bad[index] = target
    return bad
