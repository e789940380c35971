"""The compiled core: laws, bounds, certificates, members and the exact 1-nearest neighbour."""

__all__ = [
    "Certificates",
    "Confidence",
    "Discrete",
    "Ensemble",
    "Gaussian",
    "Knn",
    "LabelNoise",
    "Law",
    "Plan",
    "Product",
    "Subsample",
    "Uniform",
    "__version__",
    "attack_success_rate",
    "betting",
    "certified_share",
    "certify_scores",
    "certify_votes",
    "clopper_pearson",
    "conditional_accuracy",
    "devices",
    "law_from_json",
    "mean_bound",
]

import os
from collections.abc import Callable
from typing import Any, Literal, TypeAlias, final

import numpy as np
import numpy.typing as npt
from typing_extensions import disjoint_base

_Bools: TypeAlias = npt.NDArray[np.bool_]
_Int64: TypeAlias = npt.NDArray[np.int64]
_UInt16: TypeAlias = npt.NDArray[np.uint16]
_Float32: TypeAlias = npt.NDArray[np.float32]
_Float64: TypeAlias = npt.NDArray[np.float64]
_Report: TypeAlias = Callable[[int, int], object]

__version__: str

# Laws. Immutable, comparable, picklable; `Law` and what `&` makes of two laws are never built by name.

@disjoint_base
class Law:
    def __and__(self, value: Law, /) -> Law: ...
    def __rand__(self, value: Law, /) -> Law: ...
    def __eq__(self, value: object, /) -> bool: ...
    def __ne__(self, value: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __reduce__(self) -> tuple[Callable[[str], Law], tuple[str]]: ...
    def to_json(self) -> str: ...
    def plan(
        self,
        n_train: int,
        n_poisoned: int,
        trigger_norm: float,
        labels: bool = False,
        alpha: float = 0.001,
        n_classes: int = 2,
        n_features: int | None = None,
    ) -> Plan: ...

@final
class Plan:
    @property
    def n_members(self) -> int | None: ...
    @property
    def votes(self) -> int | None: ...
    @property
    def possible(self) -> bool: ...
    @property
    def suggested_size(self) -> int | None: ...
    def _repr_html_(self) -> str: ...

@final
class Gaussian(Law):
    def __new__(cls, sigma: float) -> Gaussian: ...
    @property
    def sigma(self) -> float: ...

@final
class Uniform(Law):
    def __new__(cls, half_width: float) -> Uniform: ...

@final
class Discrete(Law):
    def __new__(
        cls, keep: float, alphabet: int = 2, labels: bool = True, test_input: bool = False
    ) -> Discrete: ...

@final
class LabelNoise(Law):
    def __new__(cls, q: float) -> LabelNoise: ...

@final
class Subsample(Law):
    def __new__(cls, inner: Law | None = None, *, size: int) -> Subsample: ...

@final
class Product(Law): ...

def law_from_json(text: str) -> Law: ...

# Bounds of counts, means and sequences; flat arrays in and out.

def clopper_pearson(k: _Int64, n: int, alpha: float, upper: bool) -> _Float64: ...
def mean_bound(
    mean: _Float64, n: int, alpha: float, kind: Literal["kl", "hoeffding"], upper: bool
) -> _Float64: ...
def betting(scores: _Float64, alpha: float, upper: bool) -> _Float64: ...

# Certificates.

@final
class Confidence:
    def __new__(
        cls,
        alpha: float = 0.001,
        bound: str = ...,
        selection: str = ...,
        runner_up: str = ...,
        family_wise: bool = False,
        split: int | None = None,
    ) -> Confidence: ...
    def check_enough(self, n_members: int, n_classes: int, n_samples: int) -> None: ...

@final
class Certificates:
    def __len__(self) -> int: ...
    @property
    def prediction(self) -> _Int64: ...
    @property
    def abstained(self) -> _Bools: ...
    @property
    def p_lower(self) -> _Float64: ...
    @property
    def p_upper(self) -> _Float64: ...
    @property
    def p_rest(self) -> _Float64: ...
    @property
    def radius(self) -> _Float64 | None: ...
    @property
    def guarantee(self) -> str: ...
    @property
    def sound(self) -> bool: ...
    @property
    def law(self) -> Law: ...
    @property
    def n_train(self) -> int: ...
    @property
    def n_classes(self) -> int: ...
    @property
    def n_members(self) -> int | None: ...
    @property
    def alpha(self) -> float | None: ...
    def holds(self, n_poisoned: int, trigger_norm: float, labels: bool) -> _Bools: ...
    def trigger_norm(self, n_poisoned: int, labels: bool) -> _Float64: ...
    def n_poisoned(self, trigger_norm: float, labels: bool) -> _Int64: ...
    def n_flips(self) -> _Int64: ...
    def frontier(self, n_poisoned: _Int64, labels: bool) -> _Float64: ...
    def accuracy_at_radii(self, correct: _Bools, radii: _Float64) -> _Float64: ...
    def accuracy_within(
        self, correct: _Bools, n_poisoned: int, norms: _Float64, labels: bool
    ) -> _Float64: ...
    def record(self) -> str: ...
    @staticmethod
    def from_parts(
        record: str, prediction: _Int64, p_lower: _Float64, p_upper: _Float64, p_rest: _Float64
    ) -> Certificates: ...

def certify_votes(
    votes: _Int64,
    law: Law,
    n_train: int,
    n_classes: int,
    n_features: int | None,
    confidence: Confidence,
    before_noise: str | None = None,
) -> Certificates: ...
def certify_scores(
    scores: _Float32,
    law: Law,
    n_train: int,
    n_features: int | None,
    confidence: Confidence,
    before_noise: str | None = None,
) -> Certificates: ...

# Members.

@final
class Ensemble:
    def __new__(
        cls,
        features: _Float32,
        labels: _Int64,
        n_classes: int,
        law: Law,
        *,
        model: str,
        epochs: int,
        batch_size: int,
        learning_rate: float,
        seed: int,
        device: str,
        n_jobs: int | None = None,
        before_noise: str | None = None,
    ) -> Ensemble: ...
    @property
    def law(self) -> Law: ...
    @property
    def n_members(self) -> int: ...
    def train(
        self,
        features: _Float32,
        labels: _Int64,
        n_members: int,
        checkpoint: str | os.PathLike[str] | None = None,
        report: _Report | None = None,
    ) -> None: ...
    def adopt(self, other: Ensemble) -> bool: ...
    def truncate(self, n_members: int) -> None: ...
    def reconfigure(self, device: str, n_jobs: int | None = None) -> None: ...
    def votes(self, features: _Float32, report: _Report | None = None) -> _UInt16: ...
    def scores(self, features: _Float32, report: _Report | None = None) -> _Float32: ...
    def count(self, votes: _UInt16) -> tuple[_Int64, _Float64]: ...
    def certify(self, votes: _UInt16, confidence: Confidence) -> Certificates: ...
    def decided(
        self, votes: _UInt16, confidence: Confidence, n_poisoned: int, trigger_norm: float, labels: bool
    ) -> _Bools: ...
    def record(self) -> str: ...
    def parameter_names(self) -> list[str]: ...
    def parameter(self, member: int, name: str) -> _Float32 | None: ...
    def __reduce__(self) -> tuple[Callable[..., Ensemble], tuple[Any, ...]]: ...
    @staticmethod
    def from_parts(record: str, members: list[tuple[int, float, _Float32]]) -> Ensemble: ...

def devices() -> list[str]: ...

# The exact 1-nearest neighbour.

@final
class Knn:
    def __new__(cls, features: _Float32, labels: _Int64, n_classes: int, sigma: float) -> Knn: ...
    def probabilities(self, features: _Float32) -> _Float64: ...
    def predict(self, features: _Float32) -> _Int64: ...
    def certify(self, features: _Float32, report: _Report | None = None) -> Certificates: ...

# Shares; a share of nothing is None.

def certified_share(certified: _Bools, correct: _Bools | None = None) -> float | None: ...
def conditional_accuracy(certified: _Bools, correct: _Bools) -> float | None: ...
def attack_success_rate(is_target: _Bools, predicted_target: _Bools) -> float | None: ...
