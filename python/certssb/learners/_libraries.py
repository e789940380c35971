"""The libraries that members are computed with, and their releases: another one may round sums otherwise."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Iterable

__all__ = ["libraries"]


def libraries(modules: Iterable[str]) -> str:
    """Names and versions, sorted, of the packages in which these modules lie; those that have none are left out.

    Examples
    --------
    >>> from certssb.learners._libraries import libraries
    >>> import numpy
    >>> libraries(["numpy.linalg", "numpy", "__main__"]) == f"numpy {numpy.__version__}"
    True
    """
    names = sorted({module.partition(".")[0] for module in modules})
    found = {name: _version(name) for name in names}
    return ", ".join(f"{name} {version}" for name, version in found.items() if version)


def _version(name: str) -> str:
    version = getattr(sys.modules.get(name), "__version__", None)
    if isinstance(version, str):
        return str(version)
    try:
        return importlib.metadata.version(name)
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return ""
