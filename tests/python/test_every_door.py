"""Everything public, asked for by introspection, with wrong values in each parameter: an answer, or an error by name."""

import contextlib
import importlib
import inspect
import io
import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import certssb as cs

X, y = cs.datasets.load_digits(classes=(0, 1))
X, y = X[:40], y[:40]
VOTES = np.ones((1000, 2), dtype=int)
LAW = cs.Subsample(cs.Gaussian(1.0) & cs.LabelNoise(0.1), size=10)

WRONG = [
    "words",
    None,
    1.5,
    [1, "a"],
    True,
    float("nan"),
    float("inf"),
    2**70,
    -1,
    10**400,
    object(),
    b"bytes",
    {},
]

ROOMS = [
    "adapters",
    "augment",
    "bounds",
    "callbacks",
    "certificates",
    "data",
    "datasets",
    "displays",
    "features",
    "metrics",
    "modules",
    "report",
    "triggers",
]


def table() -> cs.CertificateTable:
    return cs.certify_votes(VOTES, LAW, n_train=100, n_classes=2)


USUAL: dict[str, Any] = {
    "X": X, "y": y, "votes": VOTES, "law": LAW, "n_train": 100, "n_classes": 2, "sigma": 0.5, "size": 10, "alpha": 0.1,
    "half_width": 0.5, "keep": 0.9, "q": 0.1, "scores": np.full((99, 2, 2), 0.5), "n_members": 8, "n": 100, "k": 60,
    "certs": table, "certificates": table, "y_true": [1, 1], "trigger_norm": 0.1, "n_poisoned": 1, "target": 0,
    "successes": 90, "trials": 100, "rate": 0.1, "images": X,
}  # fmt: skip
"""What parameters of these names are given; others have their default, or nothing that could be right."""


def callables() -> Iterator[tuple[str, Callable[..., Any]]]:
    found: dict[int, str] = {}
    for room in [cs, *(importlib.import_module(f"certssb.{name}") for name in ROOMS)]:
        for name in getattr(room, "__all__", ()):
            value = getattr(room, name)
            if (
                value is cs.CertificateTable
                or not callable(value)
                or (inspect.isclass(value) and issubclass(value, BaseException))
            ):
                continue
            if id(value) not in found:
                found[id(value)] = name
                yield f"{room.__name__}.{name}", value


def methods() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Methods of what can be made of usual values."""
    for name, value in list(callables()):
        if not inspect.isclass(value) or name.endswith(MADE_BY_US):
            continue
        try:
            made = quietly(value, **usual(value))
        except BaseException:  # noqa: BLE001, S112 - what cannot be made so has its own tests
            continue
        if hasattr(made, "fit"):
            made = quietly(made.fit, X, y)
        yield from methods_of(name, made)
    yield from methods_of("CertificateTable", table())


def methods_of(name: str, made: Any) -> Iterator[tuple[str, Callable[..., Any]]]:
    for method in dir(made):
        own = inspect.getattr_static(type(made), method, None)
        if method.startswith("_") or method in IGNORED or isinstance(own, property) or not callable(own):
            continue
        if not hasattr(tuple, method) and "certssb" in (getattr(own, "__module__", None) or "certssb"):
            yield f"{name}.{method}", getattr(made, method)


MADE_BY_US = ("CertificateTable", "Reading")
"""What the package makes and users are handed."""

IGNORED = {"close", "set_params", "get_params", "save", "write_html"}
"""Methods with files or parameters of scikit-learn's, which have tests of their own."""


def usual(call: Callable[..., Any]) -> dict[str, Any]:
    given = {}
    for name, parameter in parameters(call).items():
        if name in USUAL and parameter.default is parameter.empty:
            value = USUAL[name]
            given[name] = value() if callable(value) else value
        elif name in ("progress",):
            given[name] = False
        elif parameter.default is parameter.empty:
            given[name] = None
    return given


def parameters(call: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    try:
        found = inspect.signature(call).parameters
    except ValueError:
        return {}
    plain = (
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        inspect.Parameter.KEYWORD_ONLY,
        inspect.Parameter.POSITIONAL_ONLY,
    )
    return {name: parameter for name, parameter in found.items() if parameter.kind in plain}


def quietly(call: Callable[..., Any], /, *rest: Any, **given: Any) -> Any:
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        return call(*rest, **given)


SMALL = {"n_members": 8, "epochs": 1, "alpha": 0.4, "seed": 0, "progress": False}


def called(call: Callable[..., Any], given: dict[str, Any]) -> Any:
    only = [n for n, p in parameters(call).items() if p.kind is inspect.Parameter.POSITIONAL_ONLY]
    made = quietly(
        call,
        *(given[name] for name in only if name in given),
        **{n: v for n, v in given.items() if n not in only},
    )
    # An estimator looks at its parameters when it is fitted, as those of scikit-learn do.
    return quietly(made.fit, X, y) if inspect.isclass(call) and hasattr(made, "fit") else made


def complaints(call: Callable[..., Any]) -> Iterator[str]:
    for name in parameters(call):
        for wrong in WRONG:
            given = usual(call) | {name: wrong}
            if inspect.isclass(call) and hasattr(call, "fit"):
                given |= {n: v for n, v in SMALL.items() if n in parameters(call)} | {name: wrong}
            try:
                called(call, given)
            except cs.CertssbError:
                pass
            except BaseException as error:  # noqa: BLE001 - whatever else it is, is what is looked for
                # What is documented as another exception names its parameter too, and so does what scikit-learn checks.
                if isinstance(error, ImportError) or re.search(
                    r"[Tt]he '\w+' parameter|inconsistent numbers of samples", str(error)
                ):
                    continue
                yield f"{name}={str(wrong)[:20]!r}: {type(error).__name__}: {str(error)[:90]}"


@pytest.mark.parametrize("call", [pytest.param(call, id=name) for name, call in [*callables(), *methods()]])
def test_a_wrong_value_is_refused_by_name(
    call: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # "words" may be the name of a file
    assert list(complaints(call)) == []
