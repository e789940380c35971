"""The one place that knows what the compiled core was linked with: torch's libraries are loaded only if it asks for them."""

from __future__ import annotations

import importlib

__all__ = ["load_core"]

_TORCH = "2.11"
"""The release of PyTorch that a core with libtorch was built for."""


def load_core() -> None:
    """Import `certssb._core`; if its libraries are not there, they are torch's."""
    try:
        importlib.import_module("certssb._core")
    except ImportError as error:
        _check_torch(error)
        importlib.import_module("certssb._core")


def _check_torch(why: ImportError) -> None:
    """Import torch, and say in one sentence what is wrong with it instead of letting the linker say it."""
    advice = f"certssb needs PyTorch {_TORCH}: pip install 'torch=={_TORCH}.*'"
    try:
        import torch
    except ImportError as error:
        raise ImportError(f"PyTorch cannot be imported ({error}). {advice}") from why
    found = str(torch.__version__)
    if found.split("+")[0].split(".")[:2] != _TORCH.split("."):
        raise ImportError(f"PyTorch {found} is installed, which this build cannot load. {advice}") from why
