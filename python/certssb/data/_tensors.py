"""Tensors and arrays of other libraries, as NumPy reads them."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import numpy.typing as npt

from certssb._checks import parameter_error

_CPU = 1
"""DLPack's number for memory of the CPU."""

READABLE = ("__array__", "__array_interface__", "__array_struct__", "__dlpack__")


def is_tensor(value: object) -> bool:
    """Whether a value is a torch tensor, without importing torch for those who do not use it."""
    kind = getattr(sys.modules.get("torch"), "Tensor", None)
    return isinstance(kind, type) and isinstance(value, kind)


def is_array(value: object) -> bool:
    """Whether a value says of itself that it can be read as an array."""
    if isinstance(value, type):
        return False
    return isinstance(value, memoryview) or any(hasattr(value, name) for name in READABLE)


def to_numpy(value: Any, name: str) -> npt.NDArray[Any]:
    """An array, tensor or whatever speaks NumPy's or DLPack's protocol, as a NumPy array of any type.

    Raises
    ------
    ParameterError
        If values are masked, or the object's own protocol fails.
    TypeError
        If it is sparse.
    """
    if isinstance(value, np.ma.MaskedArray):
        return _unmasked(value, name)
    if isinstance(value, np.ndarray):
        return np.asarray(value)
    if (hasattr(value, "toarray") and hasattr(value, "nnz")) or _is_sparse_tensor(value):
        raise sparse(name)
    try:
        if is_tensor(value):
            return _from_tensor(value)
        device = getattr(value, "__dlpack_device__", None)
        if device is not None and int(device()[0]) != _CPU:
            import torch.utils.dlpack

            return _from_tensor(torch.utils.dlpack.from_dlpack(value))
        if hasattr(value, "__dlpack__") and not hasattr(value, "__array__"):
            return np.from_dlpack(value)
        return np.asarray(value)
    except Exception as error:  # whatever a foreign protocol raises
        reason = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
        got = f"a {type(value).__name__} that cannot be read ({reason})"
        raise parameter_error(name, "an array that NumPy can read", got) from error


def plain(value: Any, name: str) -> npt.NDArray[Any]:
    """Numbers as NumPy's own array, which has forgotten what was masked; masked values are refused.

    Raises
    ------
    ParameterError
        If values are masked.
    """
    return _unmasked(value, name) if isinstance(value, np.ma.MaskedArray) else np.asarray(value)


def sparse(name: str) -> TypeError:
    """The refusal of sparse data."""
    return TypeError(
        f"Sparse data was passed for '{name}', but dense data is required. Use '.toarray()' or '.to_dense()'."
    )


def _unmasked(array: np.ma.MaskedArray[Any, Any], name: str) -> npt.NDArray[Any]:
    mask = np.ma.getmaskarray(array)
    if mask.dtype.names is None and mask.any():
        index = tuple(int(i) for i in np.unravel_index(int(mask.argmax()), mask.shape))
        place = index[0] if len(index) == 1 else index
        got = f"a masked value at index {place}, {int(mask.sum())} in all,"
        raise parameter_error(name, "an array of which nothing is masked", got)
    return np.asarray(array.data)


def _is_sparse_tensor(value: Any) -> bool:
    return is_tensor(value) and (value.layout != sys.modules["torch"].strided or value.is_nested)


def _from_tensor(tensor: Any) -> npt.NDArray[Any]:
    import torch

    tensor = tensor.detach().cpu().resolve_conj().resolve_neg()
    # NumPy has no bfloat16 nor the 8-bit floats.
    if tensor.is_floating_point() and tensor.dtype not in (torch.float16, torch.float32, torch.float64):
        tensor = tensor.float()
    array: npt.NDArray[Any] = tensor.numpy()
    return array
