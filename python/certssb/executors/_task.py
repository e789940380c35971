"""A task, as it runs on a worker: nothing but a function that is found by its name, and builtins that come back."""

from __future__ import annotations

import os
import platform
import socket
import sys
import time
import traceback
from typing import Any, TypeAlias

from certssb import _core
from certssb.exceptions import CancelledError, CertssbError
from certssb.executors._payload import InFile, Packed, found

__all__ = ["Facts", "Reply", "facts", "stop", "work"]

Reply: TypeAlias = dict[str, Any]

Facts: TypeAlias = tuple[str, int, str, str, str]
"""Version, schema of records, vector instructions, kind of processor, torch: what must be the same, and what rounds."""

_STOPPED: set[str] = set()
_SEEN: set[str] = set()
"""Runs whose payload this process has seen in its file."""


def facts() -> Facts:
    """What is said of this process."""
    version, schema, vectors = _core.build_facts()
    torch = sys.modules.get("torch")
    return version, schema, vectors, platform.machine(), "" if torch is None else str(torch.__version__)


def stop(key: str) -> None:
    """End tasks of a run that this process works on."""
    _STOPPED.add(key)


def work(version: tuple[str, int], key: str, packed: Packed | InFile | None, order: Any) -> Reply:
    """Do a task.

    Parameters
    ----------
    version : tuple of str and int
        Version and schema of whoever asks.
    key : str
        Which payload it needs.
    packed : Packed, InFile or None
        That payload, if this process may not have it yet.
    order : object
        What to do with it.

    Returns
    -------
    dict
        ``kind`` says what came of it: "done", "missing" (the payload), "refused" (another version), "failed" (with the
        exception's name and text) or "cancelled".
    """
    own = facts()
    where = (socket.gethostname(), os.getpid())
    if own[:2] != tuple(version):
        return {"kind": "refused", "facts": own, "where": where}
    try:
        payload = found(key, packed)
        if payload is None:
            return {"kind": "missing", "where": where}

        # The file ends with the run, as whoever has seen it knows.
        file = packed.path if isinstance(packed, InFile) else None
        if file is not None and os.path.exists(file):
            _SEEN.add(key)

        def stopped() -> None:
            if key in _STOPPED or (file is not None and key in _SEEN and not os.path.exists(file)):
                raise CancelledError("The work was cancelled.")

        stopped()
        begun = time.perf_counter()
        reply: Reply = payload.work(order, stopped)
        reply.setdefault("seconds", time.perf_counter() - begun)
        return {"kind": "done", "facts": facts(), "where": where} | reply
    except CancelledError:
        return {"kind": "cancelled", "where": where}
    except BaseException as error:  # noqa: BLE001 - told by name: what was raised may not be found where it is told
        own_kind = type(error).__name__ if isinstance(error, CertssbError) else ""
        text = str(error) if own_kind else f"{type(error).__name__}: {error}"
        return {
            "kind": "failed",
            "error": own_kind,
            "text": text,
            "member": getattr(error, "member", None),
            "trace": traceback.format_exc(),
            "where": where,
        }
