"""Libraries that are needed for single things only: said by the name under which pip installs them."""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["absent", "needed"]


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
    sentence = absent(library, what, extra)
    if sentence is not None:
        raise ImportError(sentence, name=library.partition(".")[0])
    return importlib.import_module(library)


def absent(library: str, what: str, extra: str) -> str | None:
    """What :func:`needed` would say; None if the library is there.

    Examples
    --------
    >>> from certssb._extras import absent
    >>> absent("numpy", "This example", "plot") is None
    True
    """
    root = library.partition(".")[0]
    try:
        importlib.import_module(library)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != root:
            raise
        return f"{what} needs {root}: pip install 'certssb[{extra}]'"
    return None
