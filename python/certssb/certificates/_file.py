"""A table of certificates as one file: what is in it, its digest, and the way back."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt

from certssb import _core
from certssb._checks import parameter_error
from certssb.exceptions import CertssbError
from certssb.storage import _files

__all__ = ["digest", "parts", "read", "written"]

_FORMAT = "certssb certificates 1"


def written(core: _core.Certificates, classes: npt.NDArray[Any] | None) -> bytes:
    """The content of the file."""
    found = parts(core, classes)
    return _files.npz({"digest": np.array(digest(found)), **found})


def parts(core: _core.Certificates, classes: npt.NDArray[Any] | None) -> dict[str, Any]:
    """Everything that a table is, as arrays by name."""
    found: dict[str, Any] = {
        "format": np.array(_FORMAT),
        "record": np.array(core.record()),
        "prediction": core.own_prediction,
        "p_lower": core.p_lower,
        "p_upper": core.p_upper,
        "p_rest": core.p_rest,
    }
    if core.levels is not None:
        found["level_lower"], found["level_upper"], found["level"] = core.levels
    if core.n_buckets is not None:
        found["buckets"] = core.n_buckets
    if core.sigmas is not None:
        found["sigmas"] = core.sigmas
    if core.outcomes is not None:
        found["settled_prediction"] = core.prediction
        found["settled_radius"] = core.radius
        found["outcome"] = np.array(core.outcomes, dtype=np.str_)
    if classes is not None:
        # Strings held as objects are written as text: no pickle.
        plain = classes.astype(str) if classes.dtype == object else classes
        found["classes"] = plain
    return found


def read(name: str, content: bytes, source: str) -> tuple[_core.Certificates, npt.NDArray[Any] | None]:
    """The certificates and class labels that :func:`written` made `content` of; `name` and `source` are for messages.

    Raises
    ------
    ParameterError
        If it is not a table, or is damaged.
    """
    try:
        found = _files.archive(content)
    except _files.Damaged as error:
        expected = "a file written by CertificateTable.save"
        raise parameter_error(name, expected, f"{source} ({error})") from None
    told = str(found.pop("digest", ""))
    if str(found.get("format")) != _FORMAT or told != digest(found):
        raise parameter_error(name, "an undamaged file written by CertificateTable.save", source)
    try:
        return _from_parts(found)
    except (CertssbError, KeyError, TypeError, ValueError) as error:
        # A digest that is right says only that the file is as it was written.
        expected = "a file with the parts of a table of certificates"
        raise parameter_error(name, expected, f"{source} ({' '.join(str(error).split())})") from None


def _from_parts(found: dict[str, npt.NDArray[Any]]) -> tuple[_core.Certificates, npt.NDArray[Any] | None]:
    words: dict[str, Any] = {"record": str(found["record"])}
    if "outcome" in found:
        words["outcome"] = [str(outcome) for outcome in found["outcome"]]
    core = _core.Certificates.from_parts({**found, **words})
    classes = found.get("classes")
    if classes is not None and classes.shape != (core.n_classes,):
        raise ValueError(f"labels of shape {classes.shape} for {core.n_classes} classes")
    return core, classes


def digest(parts: dict[str, Any]) -> str:
    """SHA-256 over names, types, shapes and values."""
    found = hashlib.sha256()
    for name in sorted(parts):
        array = np.ascontiguousarray(parts[name])
        found.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        found.update(array.tobytes())
    return found.hexdigest()
