"""The torch extension, an optional package of its own: built-in networks on CUDA, in stacks, and resnet."""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import os
import sys
from types import ModuleType

from certssb import _core

__all__ = ["absence", "found", "is_left_alone", "missed"]

_NAME = "certssb_torch"


def found() -> ModuleType:
    """The extension.

    Raises
    ------
    ImportError
        If it is not installed, was built for another PyTorch, or belongs to another version: one sentence.
    """
    if importlib.util.find_spec(_NAME) is None:
        raise ImportError("The torch extension of certssb is not installed: pip install certssb-torch.")
    try:
        extension = importlib.import_module(_NAME)
    except ImportError as error:
        text = str(error)
        if text.startswith("The torch extension"):
            raise
        raise ImportError(f"The torch extension of certssb cannot be loaded ({text}).") from error
    theirs, ours = str(extension.__version__), _core.__version__
    if theirs != ours:
        raise ImportError(
            f"The torch extension is of certssb {theirs}, and this is certssb {ours}: pip install certssb-torch=={ours}."
        )
    return extension


def missed() -> str | None:
    """Why no GPU can be used, in one sentence, where that is for want of the extension and not of a GPU."""
    return None if is_left_alone() else absence()


def is_left_alone() -> bool:
    """Whether an extension that is there need not be loaded, with half a gigabyte of PyTorch, to find no GPU: the system has no
    driver of one."""
    return "torch" not in sys.modules and importlib.util.find_spec(_NAME) is not None and not _has_driver()


def _has_driver() -> bool:
    """Whether PyTorch could find a GPU: through the driver's library (CUDA), or a device (ROCm, Windows' under Linux)."""
    if sys.platform != "linux" or any(map(os.path.exists, ("/dev/kfd", "/dev/dxg"))):
        return True
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


def absence() -> str | None:
    """Why there is no extension, in one sentence; None if there is one."""
    try:
        found()
    except ImportError as error:
        return str(error)
    return None
