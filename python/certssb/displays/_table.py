"""What displays ask of a table of certificates, and checks that they share."""

from __future__ import annotations

from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from certssb._checks import frozen, shape_error

Floats: TypeAlias = npt.NDArray[np.float64]


class Certificates(Protocol):
    """What the displays ask of a table of certificates."""

    @property
    def prediction(self) -> Any: ...
    @property
    def abstained(self) -> Any: ...
    @property
    def radius(self) -> Any: ...
    @property
    def guarantee(self) -> str: ...
    @property
    def sound(self) -> bool: ...
    def certified_accuracy(self, *args: Any, **kwargs: Any) -> Any: ...
    def n_poisoned(self, *args: Any, **kwargs: Any) -> Any: ...
    def trigger_norm(self, *args: Any, **kwargs: Any) -> Any: ...
    def frontier(self, *args: Any, **kwargs: Any) -> Any: ...


def per_sample(name: str, values: npt.ArrayLike, n_images: int) -> npt.NDArray[Any]:
    array = np.array(values)
    if array.shape != (n_images,):
        raise shape_error(name, f"one value per sample, {n_images} in all", f"shape {array.shape}")
    return frozen(array)
