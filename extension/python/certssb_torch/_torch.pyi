"""What `src/extension.rs` registers."""

from collections.abc import Sequence
from typing import Any, TypeAlias, final

import numpy as np
import numpy.typing as npt

__all__ = ["BATCH", "Network", "Session", "Voters", "__version__", "n_gpus"]

_Floats: TypeAlias = npt.NDArray[np.float32]

BATCH: int
__version__: str

def n_gpus() -> int: ...

@final
class Network:
    def __new__(cls, name: str, shape: Sequence[int], n_classes: int) -> Network: ...
    def session(self, settings: str, augment: str | None = None) -> Session: ...

@final
class Session:
    def train(
        self,
        call: Any,
        members: Sequence[int],
        seed: int,
        features: _Floats,
        labels: npt.NDArray[np.int64],
        n: int,
    ) -> tuple[list[_Floats], _Floats]: ...
    def voters(self, members: Sequence[int], values: Sequence[_Floats]) -> Voters: ...

@final
class Voters:
    def logits(self, call: Any, values: _Floats, rows: int, shared: bool, number: int) -> _Floats: ...
    def magnitudes(
        self, call: Any, place: int, rows: _Floats, classes: Sequence[int] | None, search: str, seed: int
    ) -> _Floats: ...
    def log_scores(
        self, call: Any, place: int, rows: _Floats, sigmas: _Floats, search: str, seed: int
    ) -> _Floats: ...
