"""Samples that come one by one: all of one type, so that none decides how the others are read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from certssb._checks import parameter_error, shape_error
from certssb.data._frames import is_frame, read_frame
from certssb.data._numbers import from_lists, from_objects, is_number_type, leaf_types
from certssb.data._pictures import is_picture, pixels
from certssb.data._tensors import READABLE, is_array, is_tensor, to_numpy
from certssb.exceptions import CertssbError, ParameterError, ShapeError

NUMBERS = "numbers"
"""The type of samples that are Python's numbers, in lists or alone: each is read on its own, none is scaled."""


class Sample(NamedTuple):
    """One sample, or all of them.

    Attributes
    ----------
    values : ndarray
        Real numbers of any type.
    kind : str
        What all samples have to agree on, in words: "array of uint8", "picture of mode RGB", "numbers".
    """

    values: npt.NDArray[Any]
    kind: str

    @property
    def is_picture(self) -> bool:
        return self.kind.startswith("picture")

    @property
    def is_tensor(self) -> bool:
        return self.kind.startswith("tensor")

    @property
    def divisor(self) -> int:
        """By what images of this kind are divided; it depends on their type alone."""
        if self.kind == NUMBERS:
            return 1
        bits16 = self.is_picture and self.values.dtype == np.uint16
        return 65535 if bits16 else 255 if self.values.dtype == np.uint8 else 1


def read_sample(value: Any, name: str) -> Sample:
    """Read one sample, by itself.

    Parameters
    ----------
    value : object
        A picture, tensor, array, frame, number, or a list of those.
    name : str
        What to call the data in messages.

    Returns
    -------
    Sample

    Raises
    ------
    CertssbError, TypeError
        If it is no sample.
    """
    if is_picture(value):
        return Sample(pixels(value, name), f"picture of mode {value.mode}")
    if is_frame(value):
        return Sample(read_frame(value, name), NUMBERS)
    if isinstance(value, (list, tuple)):
        if not holds_arrays(value):
            return Sample(from_lists(value, name), NUMBERS)
        return collect(len(value), lambda place: read_sample(value[place], name), name)
    if is_number_type(type(value)):
        return Sample(from_objects(np.array(value, dtype=object), name), NUMBERS)
    if not is_array(value) or isinstance(value, np.generic):
        raise TypeError(
            f"a sample must be a tensor, an array, numbers or an image, not {type(value).__name__}"
        )
    return typed(value, name)


def holds_arrays(rows: Any) -> bool:
    """Whether arrays, tensors or pictures lie in lists of lists, rather than numbers alone."""
    kinds = (kind for kind in leaf_types(rows) if not issubclass(kind, np.generic))
    return any(hasattr(kind, protocol) for kind in kinds for protocol in READABLE)


def typed(value: Any, name: str) -> Sample:
    """An array or tensor with its type; objects are read as the numbers that they are."""
    array = to_numpy(value, name)
    if array.dtype.kind == "O":
        return Sample(from_objects(array, name), NUMBERS)
    if array.dtype.kind in "fiub":
        what = "tensor" if is_tensor(value) else "array"
        return Sample(array, f"{what} of {array.dtype.name}")
    raise parameter_error(name, "finite numbers", not_numeric(array.dtype))


def not_numeric(dtype: np.dtype[Any]) -> str:
    """What an array holds that is no number, for messages."""
    if dtype.kind == "c":
        return "complex numbers. Complex data not supported: pass real and imaginary parts, or their size,"
    if dtype.kind in "SUT":
        return f"text (type {dtype})"
    if dtype.names is not None:
        fields = ", ".join(map(repr, dtype.names))
        return f"records with the fields {fields} (numpy.lib.recfunctions.structured_to_unstructured makes a table)"
    return f"values of type {dtype}"


def collect(n: int, read: Callable[[int], Sample], name: str) -> Sample:
    """Samples 0 to n - 1, which have to be of one type and shape.

    Parameters
    ----------
    n : int
        How many there are, at least one.
    read : callable
        From a number to a sample; called once for each, in order.
    name : str
        What to call the data in messages.

    Returns
    -------
    Sample
        With one dimension more.

    Raises
    ------
    ParameterError
        If one is of another type, which is named together with its number.
    ShapeError
        If one is of another shape.
    """
    values, kind = np.empty(0), NUMBERS
    for index, sample in enumerate(alike((read(index) for index in range(n)), name)):
        if index == 0:
            values, kind = np.empty((n, *sample.values.shape), sample.values.dtype), sample.kind
        values[index] = sample.values
    return Sample(values, kind)


def alike(samples: Iterable[Sample], name: str) -> Iterator[Sample]:
    """The same samples, each compared in type and shape with the first.

    Raises
    ------
    ParameterError, ShapeError
        As from :func:`collect`.
    """
    kind: str
    shape: tuple[int, ...]
    kind, shape = "", ()
    for index, sample in enumerate(samples):
        if index == 0:
            kind, shape = sample.kind, sample.values.shape
        if sample.kind != kind:
            expected = (
                f"samples of one type, as one sample's type must not decide how the others are read: {kind} "
                "as at item 0"
            )
            raise parameter_error(
                name, expected, f"{sample.kind} at item {index}; convert it, or all of them,"
            )
        if sample.values.shape != shape:
            raise shape_error(
                name, f"samples of one shape, {shape}", f"{sample.values.shape} at item {index}"
            )
        yield sample


def read_list(samples: Sequence[Any], name: str) -> Sample:
    """A list of samples.

    Parameters
    ----------
    samples : list or tuple
        Lists of numbers, arrays, tensors or pictures.
    name : str
        What to call it in messages.

    Returns
    -------
    Sample
        All samples.

    Raises
    ------
    CertssbError, TypeError
        As from :func:`collect`, or if a sample cannot be read.
    """
    if not holds_arrays(samples):
        return Sample(from_lists(samples, name), NUMBERS)
    return collect(len(samples), lambda index: read_item(lambda: samples[index], name, index), name)


def read_item(get: Callable[[], Any], name: str, index: int) -> Sample:
    """One sample that may fail to be read: the error names its number."""
    try:
        return read_sample(get(), name)
    except (ParameterError, ShapeError) as error:
        raise type(error)(f"Item {index} of '{name}' cannot be read. {error}") from error
    except CertssbError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
        raise ParameterError(f"Item {index} of '{name}' cannot be read: {reason}") from error
