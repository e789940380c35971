"""Numbers beyond 64 bits, and beyond every float, are refused by name wherever a number is taken."""

import inspect
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import certssb as cs
from certssb import bounds, datasets, features, metrics, triggers
from certssb._checks import check_integer
from certssb.exceptions import ShapeError

HUGE = [2**63, 2**64, 10**400, -(2**63) - 1, -(10**400)]
X, y = cs.datasets.load_digits(classes=(0, 1))
X, y = X[:40], y[:40]
VOTES = np.ones((1000, 2), dtype=int)

Call = Callable[[Any], Any]


def each(name: str, function: Callable[..., Any], given: dict[str, Any]) -> Iterator[tuple[str, Call]]:
    """One call per parameter, with the others as given."""
    for parameter in given:
        yield f"{name}({parameter})", lambda value, p=parameter: function(**(given | {p: value}))


def fit(**settings: Any) -> cs.CertifiedClassifier:
    usual = {"n_members": 8, "epochs": 1, "alpha": 0.4, "seed": 0, "progress": False}
    return cs.CertifiedClassifier("linear", **(usual | settings)).fit(X, y)


def of_tables() -> Iterator[tuple[str, Call]]:
    law = cs.Subsample(cs.Gaussian(1.0) & cs.LabelNoise(0.1), size=10)
    certs = cs.certify_votes(VOTES, law, n_train=100, n_classes=2)
    budget = {"n_poisoned": 1, "trigger_norm": 0.1}
    for method in (certs.holds, certs.to_frame, certs.show):
        yield from each(method.__name__, method, budget)
    yield from each("trigger_norm", certs.trigger_norm, {"n_poisoned": 1})
    yield from each("n_poisoned", certs.n_poisoned, {"trigger_norm": 0.1})
    yield "frontier", lambda value: certs.frontier([value])
    yield from each("certified_accuracy", lambda **given: certs.certified_accuracy([1, 1], **given), budget)
    yield "radii", lambda value: certs.certified_accuracy([1, 1], radii=value)
    yield "rows", lambda value: certs[[value]]
    yield "row", lambda value: certs[value]


def of_settings() -> Iterator[tuple[str, Call]]:
    names = ("n_members", "epochs", "batch_size", "learning_rate", "n_jobs", "stack", "seed", "alpha")
    yield from each("fit", fit, dict.fromkeys(names))
    clf = fit()
    yield from each(
        "certify", lambda **given: clf.certify(X, selection="split", **given), {"alpha": 0.4, "split": 2}
    )
    yield from each("member", clf.member, {"number": 0, "level": 0})
    sizes = {"n_train": 100, "n_features": 3, "alpha": 0.1, "split": 9}
    yield from each(
        "certify_votes",
        lambda **given: cs.certify_votes(VOTES, cs.Uniform(0.5), selection="split", **given),
        sizes | {"n_classes": 2},
    )
    scores = np.full((99, 2, 2), 0.5)
    yield from each(
        "certify_scores",
        lambda **given: cs.certify_scores(scores, cs.Uniform(0.5), selection="split", **given),
        sizes,
    )
    until = {"n_poisoned": 1, "trigger_norm": 0.1, "share": 0.5, "max_members": 9, "first": 2}
    yield from each("Until", lambda **given: cs.Until(X, **given), until)
    yield "CertifiedKNN(sigma)", lambda value: cs.CertifiedKNN(sigma=value).fit(X, y)


def of_laws() -> Iterator[tuple[str, Call]]:
    yield from each("Gaussian", cs.Gaussian, {"sigma": 0.5})
    yield from each("Uniform", cs.Uniform, {"half_width": 0.5})
    yield from each("Discrete", cs.Discrete, {"keep": 0.8, "alphabet": 2})
    yield from each("LabelNoise", cs.LabelNoise, {"q": 0.1})
    yield from each("Subsample", cs.Subsample, {"size": 3})
    search = {
        "start": 0.2,
        "sigma_min": 0.1,
        "sigma_max": 0.5,
        "steps": 3,
        "samples": 2,
        "learning_rate": 0.1,
    }
    yield from each("SampleSpecific", cs.SampleSpecific, {"sigma": 0.5, **search})
    levels = [cs.Gaussian(1.0), cs.Gaussian(0.5)]
    yield "Cascade(thresholds)", lambda value: cs.Cascade(levels, thresholds=[value])
    sizes = {
        "n_train": 9,
        "n_poisoned": 1,
        "trigger_norm": 0.1,
        "alpha": 0.1,
        "n_classes": 2,
        "n_features": 3,
    }
    yield from each("plan", cs.Uniform(0.5).plan, sizes)


def of_the_rest() -> Iterator[tuple[str, Call]]:
    usual = {"k": 3, "n": 10, "alpha": 0.05, "mean": 0.3, "scores": np.full((9, 2), 0.5)}
    for name in bounds.__all__:
        function = getattr(bounds, name)
        yield from each(name, function, {p: usual[p] for p in inspect.signature(function).parameters})
    for kind in (triggers.OnePixel, triggers.FourPixel, triggers.Blend, triggers.Patch):
        for parameter in inspect.signature(kind).parameters:
            yield f"{kind.__name__}({parameter})", lambda value, k=kind, p=parameter: k(**{p: value})(X)
            yield (
                f"{kind.__name__}({parameter},)",
                lambda value, k=kind, p=parameter: k(**{p: (value, value)})(X),
            )
    trigger = triggers.OnePixel(norm=1.0)
    settings = {"rate": 0.1, "target": 0, "seed": 0}
    yield from each("poison", lambda **given: triggers.poison(X, y, trigger, **given), settings)
    yield from each(
        "load_digits",
        lambda **given: datasets.load_digits(split=True, **given),
        {"test_size": 0.5, "seed": 0},
    )
    yield "load_digits(classes)", lambda value: datasets.load_digits(classes=[0, value])
    yield "Cosine", lambda value: features.Cosine(value)(X)
    yield "AveragePool", lambda value: features.AveragePool(value)(X)
    yield "attack_success_rate", lambda value: metrics.attack_success_rate([0, 1], [0, 1], value)
    yield "as_features", lambda value: cs.data.as_features([[value]])
    yield "as_labels", lambda value: cs.data.as_labels([value, 0], 2)
    yield "classes", lambda value: cs.data.as_labels([1, 0], 2, classes=[0, 1, value])


def of_ledgers(path: Path) -> Iterator[tuple[str, Call]]:
    ledger = cs.Ledger(path)
    yield from each("update", ledger.update, {"x": [0.0], "prediction": 1, "radius": 0.5})
    many = {"X": [[0.0]], "predictions": [1], "radii": [0.5]}
    for name in many:
        yield f"update_many({name})", lambda value, n=name: ledger.update_many(**(many | {n: [value]}))
    yield "query", lambda value: ledger.query([value])


@pytest.mark.parametrize("calls", [of_tables, of_settings, of_laws, of_the_rest, of_ledgers])
def test_numbers_of_any_size_are_taken_or_refused_by_name(calls: Any, tmp_path: Path) -> None:
    wrong = []
    asked = calls(tmp_path / "ledger") if calls is of_ledgers else calls()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, call in asked:
            for value in HUGE:
                try:
                    call(value)
                except cs.CertssbError:
                    continue
                except BaseException as error:  # noqa: BLE001 - a panic is none of the usual ones
                    wrong.append(
                        f"{name} with {float(value) if abs(value) < 1e300 else value.bit_length()}: {error!r}"
                    )
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("value", [2**64, 10**400, -1])
def test_the_sentence_names_the_parameter(value: int) -> None:
    with pytest.raises(
        cs.ParameterError, match="'n_members' parameter must be an integer of at least 1"
    ) as caught:
        fit(n_members=value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("shape", [(100, 10**11), (10**7, 10**6), (10, 10**9)])
@pytest.mark.parametrize("bound", ["auto", "betting"])
def test_votes_that_no_memory_holds_are_refused_before_anything_is_reserved(
    shape: tuple[int, int], bound: str
) -> None:
    votes = np.broadcast_to(np.uint16(0), shape)
    with pytest.raises(ShapeError, match="'votes' must have at most.*Got"):
        cs.certify_votes(votes, cs.Gaussian(0.5), n_train=100, n_classes=1000, bound=bound)


def test_scores_and_levels_that_no_memory_holds_are_refused() -> None:
    scores = np.broadcast_to(np.float32(0.5), (10**6, 10**6, 2))
    with pytest.raises(ShapeError, match="'scores' must have"):
        cs.certify_scores(scores, cs.Gaussian(0.5), n_train=100)
    with pytest.raises(ShapeError, match="'votes' must have at most.*Got"):
        cs.certify_votes(
            np.zeros((1, 10**6), np.uint16).repeat(2, 0), cs.Gaussian(0.5), n_train=9, n_classes=65535
        )


def test_a_number_that_is_too_large_is_told_one_upper_end() -> None:
    for expected in (
        "None or an integer from 1 to 1000",
        "None, an integer from 1 to 32768, or -1 for all processors",
    ):
        with pytest.raises(cs.ParameterError) as refused:
            check_integer("copies", 2000, expected, 1, 1000)
        assert str(refused.value) == f"The 'copies' parameter must be {expected}. Got 2000 instead."
    with pytest.raises(cs.ParameterError, match="an integer of at least 1, and at most 1000. Got"):
        check_integer("copies", 2000, "an integer of at least 1", 1, 1000)
