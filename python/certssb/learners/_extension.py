"""The torch extension, an optional package of its own: built-in networks on CUDA, in stacks, and resnet."""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType

from certssb import _core

__all__ = ["absence", "found"]

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


def absence() -> str | None:
    """Why there is no extension, in one sentence; None if there is one."""
    try:
        found()
    except ImportError as error:
        return str(error)
    return None
