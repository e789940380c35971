"""Built-in networks of certssb through libtorch. certssb calls this package; nothing here is called by hand.

Importing it imports PyTorch, whose libraries the extension is linked with.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["BATCH", "Network", "__version__", "enter", "n_gpus", "starting"]

_TORCH = "2.11"
"""The release of PyTorch that the extension was built for."""


def _check_torch() -> None:
    """Import torch, and say in one sentence what is wrong with it instead of letting the linker say it."""
    advice = f"pip install 'torch=={_TORCH}.*'"
    try:
        import torch
    except ImportError as error:
        raise ImportError(
            f"The torch extension of certssb needs PyTorch {_TORCH}, which cannot be imported ({error}): {advice}."
        ) from error
    found = str(torch.__version__)
    if found.split("+")[0].split(".")[:2] != _TORCH.split("."):
        raise ImportError(
            f"The torch extension of certssb was built for PyTorch {_TORCH}, and PyTorch {found} is installed: {advice}."
        )


_check_torch()

from certssb_torch._torch import BATCH, Network, __version__, n_gpus


@contextmanager
def starting() -> Iterator[None]:
    """Let threads that start inside the block, and call :func:`enter`, use one thread of torch each."""
    from certssb.learners.torch import _threads

    with _threads.starting():
        yield


def enter() -> None:
    """Get the calling thread ready: its number of threads of torch is read now."""
    import torch

    torch.get_num_threads()
