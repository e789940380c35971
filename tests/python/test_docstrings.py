"""Every public name says what it takes, gives, refuses, and shows itself in an example that runs."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import pkgutil
import re
import sys
import textwrap
import types
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import certssb

SECTION = re.compile(r"^(\w[\w ]*)\n-{3,}$", re.MULTILINE)

# Rooms whose classes are put together from parts that are nobody else's.
PARTS = ("certssb.certificates._", "certssb.estimators._")

# Made by `certify`, never by name.
CORE = "certssb.certificates.table.CertificateTable"

# Documented in Rust, and not made by name.
COMPILED = {"certssb.Law", "certssb.Law.to_json", "certssb.Plan"}

# Examples that need a file which the package does not carry, or a package that it does not need.
NOT_RUN = {
    "certssb.auditing._audit.audit",
    "certssb.watch.callbacks.base.Callback.log_certificates",
    "certssb.watch.callbacks.mlflow.MLflowCallback",
    "certssb.watch.callbacks.tensorboard.TensorBoardCallback",
    "certssb.datasets.load_cifar10",
    "certssb.datasets.load_mnist",
    "certssb.datasets.load_spambase",
    "certssb.report._page.render",
    "certssb.report._run.Run",
    "certssb.report._samples.save_samples",
    "certssb.report.write_comparison",
    "certssb.report.write_report",
}

# Rooms of the package's own, whose public names have addresses outside: `certssb.modules`.
INNER = {"learners"}


def modules() -> Iterator[types.ModuleType]:
    """The package and its public modules, all the way down."""
    yield certssb
    for found in pkgutil.walk_packages(certssb.__path__, "certssb."):
        parts = found.name.split(".")[1:]
        if parts[0] not in INNER and not any(part.startswith("_") for part in parts):
            yield importlib.import_module(found.name)


def name_of(thing: Any) -> str:
    return f"{thing.__module__}.{thing.__qualname__}"


def public() -> dict[str, Any]:
    """Public functions and classes by their full names, each once."""
    found: dict[str, Any] = {}
    for module in modules():
        for name in getattr(module, "__all__", ()):
            thing = getattr(module, name)
            if inspect.isclass(thing) or inspect.isroutine(thing):
                found[name_of(thing)] = thing
    return dict(sorted(found.items()))


def methods(cls: type) -> dict[str, Any]:
    """Public methods that a class defines itself or has from parts that are nobody else's, without properties."""
    own = [base for base in cls.__mro__ if base is cls or base.__module__.startswith(PARTS)]
    found = {}
    for name, member in (item for base in reversed(own) for item in vars(base).items()):
        method = member.__func__ if isinstance(member, (classmethod, staticmethod)) else member
        # Not what scikit-learn generates, which documents itself.
        made_here = str(getattr(method, "__module__", None) or "certssb").startswith("certssb")
        if not name.startswith("_") and inspect.isroutine(method) and made_here:
            found[f"{name_of(cls)}.{name}"] = method
    return found


NAMES = public()
CLASSES = {name: thing for name, thing in NAMES.items() if inspect.isclass(thing)}
FUNCTIONS = {name: thing for name, thing in NAMES.items() if not inspect.isclass(thing)} | {
    name: method for cls in CLASSES.values() for name, method in methods(cls).items()
}


def sections(thing: Any) -> dict[str, str]:
    """Sections of a docstring by their titles; what stands before the first is 'Summary'."""
    text = inspect.getdoc(thing) or ""
    parts = SECTION.split(text)
    return {"Summary": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}


def own_parameters(thing: Any) -> list[str]:
    found = inspect.signature(thing).parameters.values()
    return [p.name for p in found if p.name not in ("self", "cls") and not p.name.startswith("_")]


def returns_something(function: Callable[..., Any]) -> bool:
    annotation = getattr(inspect.unwrap(function), "__annotations__", {}).get("return")
    return annotation not in (None, "None")


def refuses_something(function: Callable[..., Any], depth: int = 3) -> bool:
    """Whether a function, or one of its module that it calls, raises or checks."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(function))))
    except (OSError, TypeError):
        return False
    scope = vars(sys.modules[function.__module__])
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and node.exc is not None:
            return True
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            called = node.func.id
            if called.startswith("check_") or called in ("as_features", "as_labels"):
                return True
            deeper = scope.get(called)
            if depth and inspect.isfunction(deeper) and refuses_something(deeper, depth - 1):
                return True
    return False


def named(section: str) -> set[str]:
    """Names before the colon (or on a line of their own) of a section's entries."""
    heads = [line for line in section.splitlines() if line and not line.startswith(" ")]
    return {name.strip(" *`") for head in heads for name in head.split(" : ")[0].split(",")}


def missing(thing: Any, name: str) -> list[str]:
    """What a docstring lacks."""
    found = sections(thing)
    lacks = [] if found["Summary"].strip() else ["a docstring"]
    hidden = is_exception(thing) or name == CORE
    names = [] if hidden else own_parameters(thing)
    # What a record holds is told once, as attributes.
    described = named(found.get("Parameters", "")) | named(found.get("Attributes", ""))
    undescribed = set(names) - described
    lacks += [f"Parameters: {parameter}" for parameter in sorted(undescribed)]
    if not inspect.isclass(thing) and returns_something(thing) and not {"Returns", "Yields"} & set(found):
        lacks.append("Returns")
    if (refuses_something(thing.__init__) if inspect.isclass(thing) else refuses_something(thing)) and (
        "Raises" not in found
    ):
        lacks.append("Raises")
    examples = [line for line in found.get("Examples", "").splitlines() if line.lstrip().startswith(">>>")]
    if not examples:
        lacks.append("Examples")
    elif name not in NOT_RUN and all("+SKIP" in line for line in examples):
        lacks.append("an example that runs")
    return lacks


def is_exception(thing: Any) -> bool:
    return inspect.isclass(thing) and issubclass(thing, BaseException)


@pytest.mark.parametrize("name", sorted({*CLASSES, *FUNCTIONS} - COMPILED))
def test_a_public_name_is_described(name: str) -> None:
    assert missing(CLASSES.get(name) or FUNCTIONS[name], name) == []


def test_nothing_is_excused_that_is_not_there() -> None:
    things = CLASSES | FUNCTIONS
    assert NOT_RUN | {CORE} <= set(things)
    assert all(missing(things[name], name) == ["Examples"] for name in COMPILED)


def test_examples_of_compiled_names_run() -> None:
    """pytest collects examples of Python files only."""
    finder, runner = doctest.DocTestFinder(recurse=False), doctest.DocTestRunner()
    compiled = [thing for thing in (CLASSES | FUNCTIONS).values() if not hasattr(thing, "__globals__")]
    compiled = [thing for thing in compiled if type(thing) is not type or thing.__module__ == "certssb"]
    examples = [test for thing in compiled for test in finder.find(thing, globs={}) if test.examples]
    assert len(examples) > 5
    for test in examples:
        assert runner.run(test).failed == 0, test.name


def test_the_enumeration_sees_the_package() -> None:
    assert {"certssb.certificates.table.CertificateTable", "certssb.certificates.votes.certify_votes"} <= set(
        NAMES
    )
    assert "certssb.certificates.table.CertificateTable.holds" in FUNCTIONS and len(FUNCTIONS) > 60
    assert "certssb.estimators.classifier.CertifiedClassifier.certify" in FUNCTIONS


def test_a_bare_function_lacks_everything() -> None:
    def bare(x: int) -> int:
        raise ValueError(x)

    assert missing(bare, "bare") == ["a docstring", "Parameters: x", "Returns", "Raises", "Examples"]
