"""Test samples that come block by block: generators, loaders of streams, and whatever is larger than memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from certssb._checks import check_integer, parameter_error
from certssb.data._map_style import is_items, is_loader_of_stream, is_torch, sample_count, some_items
from certssb.data._tensors import is_array
from certssb.exceptions import CertssbError, ParameterError, ShapeError

__all__ = ["blocks", "each_block", "is_blocks", "named", "step_of"]


def is_blocks(X: Any) -> bool:
    """Whether samples come block by block, and once only."""
    return isinstance(X, Iterator) or is_loader_of_stream(X)


def blocks(X: Any, size: int = 1000) -> Iterator[Any]:
    """Go through the samples of an array, a mapped file, a data set or a loader, some at a time.

    An ensemble that is asked block by block needs memory for one block only: its samples as floats, and each member's
    answers. :meth:`certssb.CertifiedClassifier.certify` and its like take blocks wherever they take samples.

    Parameters
    ----------
    X : array-like, Dataset or DataLoader
        Samples as :func:`certssb.data.as_features` takes them; what has no length, such as a generator, is in blocks already.
    size : int, default=1000
        Samples in a block.

    Returns
    -------
    iterator
        Over parts of `X`, in order; labels in the items of a data set are ignored.

    Raises
    ------
    ParameterError
        If `size` is below 1, or `X` cannot be divided into blocks.

    Examples
    --------
    >>> import numpy as np
    >>> from certssb.data import blocks
    >>> [len(block) for block in blocks(np.zeros((2500, 28, 28), dtype=np.uint8))]
    [1000, 1000, 500]
    """
    size = check_integer("size", size, "an integer of at least 1", 1)
    if is_torch(X, "IterableDataset") or is_blocks(X):
        raise parameter_error(
            "X", "samples with a length", f"a {type(X).__name__}, which comes in blocks already"
        )
    if is_items(X):
        n = sample_count(X, "X")
        return (some_items(X, start, min(start + size, n), "X") for start in range(0, n, size))
    if hasattr(X, "iloc"):
        return (X.iloc[start : start + size] for start in range(0, len(X), size))
    if not (is_array(X) or isinstance(X, (list, tuple)) or hasattr(X, "columns")):
        raise parameter_error("X", "an array, a data set or a loader", f"a {type(X).__name__}")
    return (X[start : start + size] for start in range(0, len(X), size))


def each_block(X: Any, name: str = "X") -> Iterator[tuple[Any, Any]]:
    """Each block of what comes in blocks, and its labels if it has any.

    Raises
    ------
    ParameterError
        If a block cannot be had; the error names its number.
    ShapeError
        If there is none.
    """
    loader, number = not isinstance(X, Iterator), -1
    source = iter(X)
    while True:
        number += 1
        try:
            block = next(source)
        except StopIteration:
            break
        except CertssbError:
            raise
        except Exception as error:
            reason = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
            raise ParameterError(f"Block {number} of '{name}' cannot be had: {reason}") from error
        pair = isinstance(block, tuple) or (loader and isinstance(block, list))
        if not pair:
            yield block, None
        elif len(block) in (1, 2):
            yield block[0], block[1] if len(block) == 2 else None
        else:
            raise parameter_error(
                name, "blocks of samples, or (samples, labels)", f"{len(block)} values as block {number}"
            )
    if number == 0:
        raise ShapeError(f"'{name}' must have samples. Found no block in it.")


def named(error: CertssbError, number: int, name: str = "X") -> CertssbError:
    """The same error, with the number of the block that it is about."""
    if isinstance(error, (ParameterError, ShapeError)):
        return type(error)(f"Block {number} of '{name}' cannot be read. {error}")
    return error


def step_of(n: int, n_features: int, n_members: int, values: int) -> int:
    """Samples of a block of which floats and votes fit into `values` numbers; all of them where they do."""
    return min(n, max(1, values // max(1, n_features, n_members)))
