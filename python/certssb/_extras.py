"""Libraries that are needed for single things only: said by the name under which pip installs them."""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["needed"]


def needed(library: str, what: str, extra: str) -> Any:
    """Import a library that does not come with the package.

    Parameters
    ----------
    library : str
        The module to import.
    what : str
        What needs it, as the subject of a sentence.
    extra : str
        The extra of this package that brings it.

    Returns
    -------
    module

    Raises
    ------
    ImportError
        If it is not there; the sentence says how to get it.

    Examples
    --------
    >>> from certssb._extras import needed
    >>> needed("no_such_library", "This example", "plot")
    Traceback (most recent call last):
        ...
    ImportError: This example needs no_such_library: pip install 'certssb[plot]'
    """
    try:
        return importlib.import_module(library)
    except ModuleNotFoundError as error:
        root = library.partition(".")[0]
        if error.name is None or error.name.partition(".")[0] != root:
            raise
        raise ImportError(f"{what} needs {root}: pip install 'certssb[{extra}]'", name=root) from None
