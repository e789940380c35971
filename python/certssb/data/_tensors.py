"""Tensors and arrays of other libraries, as NumPy reads them."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import numpy.typing as npt

from certssb._checks import shape_error

_CPU = 1
"""DLPack's number for memory of the CPU."""


def is_tensor(value: object) -> bool:
    """Whether a value is a torch tensor, without importing torch for those who do not use it."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def plain(X: Any, name: str) -> Any:
    """What NumPy and scikit-learn can read: tensors and foreign devices brought to the CPU."""
    if isinstance(X, (list, tuple)) and len(X) > 0 and all(is_tensor(x) for x in X):
        shapes = {tuple(x.shape) for x in X}
        if len(shapes) > 1:
            raise shape_error(name, "samples of one shape", f"shapes {sorted(shapes)}")
        return np.stack([plain(x, name) for x in X])
    if is_tensor(X):
        return tensor_to_numpy(X, name)
    device = getattr(X, "__dlpack_device__", None)
    if device is not None and not isinstance(X, np.ndarray) and int(device()[0]) != _CPU:
        import torch.utils.dlpack

        return tensor_to_numpy(torch.utils.dlpack.from_dlpack(X), name)
    if hasattr(X, "__dlpack__") and not hasattr(X, "__array__"):
        return np.from_dlpack(X)
    return X


def tensor_to_numpy(X: Any, name: str) -> npt.NDArray[Any]:
    import torch

    if X.layout != torch.strided:
        raise TypeError(f"Sparse data was passed for '{name}', but dense data is required.")
    X = X.detach().cpu().resolve_conj().resolve_neg()
    # NumPy has no bfloat16 nor the 8-bit floats.
    if X.is_floating_point() and X.dtype not in (torch.float16, torch.float32, torch.float64):
        X = X.float()
    array: npt.NDArray[Any] = X.numpy()
    return array
