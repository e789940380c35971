"""Arrays that public objects hand out: whoever writes to one changes no later answer. One walk finds them all, by ``dir()``."""

import importlib
import inspect
import pickle
import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import pytest
import torch
from conftest import Digits, small
from torch import nn

import certssb as cs

matplotlib.use("agg")
import matplotlib.pyplot as plt
from matplotlib.artist import Artist

Named = tuple[str, Any]

ASKED_BY = ("__getitem__", "__iter__", "__call__", "__len__")
"""Special methods that hand something out."""

NOT_ASKED = {
    "fit": "changes the object",
    "close": "ends the object",
    "model": "is the user's callable, which makes another module every time",
    "path": "is the subject's own",
    "index": "of tuples",
    "count": "of tuples",
    "set_params": "changes the object",
    "set_fit_request": "changes the object",
    "set_score_request": "changes the object",
    "save": "writes a file",
    "update": "is asked by the subject itself: the ledger grows by it",
    "update_many": "is asked by the subject itself: the ledger grows by it",
}
"""Methods that are not called, and why."""

MORE = {
    "certified_accuracy": [["radii"], ["n_poisoned", "trigger_norm"]],
    "to_frame": [[], ["n_poisoned", "trigger_norm"], ["threat"]],
    "holds": [["n_poisoned", "trigger_norm"], ["threat"]],
    "trigger_norm": [["n_poisoned"]],
    "plan": [["n_train", "n_poisoned", "trigger_norm"]],
    "score": [["y"]],
}
"""What methods are asked with beside what they need."""


@dataclass
class Walk:
    """All arrays, numbers and sentences that can be reached from an object by public names.

    Lists, tuples, dictionaries, frames and Arrow tables are opened; of the package's own objects and of torch modules the
    public attributes are read and the methods called, with the arguments in `known`. A drawing belongs to whoever has it:
    the arrays of its artists are written to, and compared where it is drawn again.
    """

    known: dict[str, Any]
    found: dict[str, Any] = field(default_factory=dict)
    drawn: list[Any] = field(default_factory=list)
    answered: set[tuple[type, str]] = field(default_factory=set)
    kinds: set[type] = field(default_factory=set)

    def of(self, subject: Any, name: str = "it") -> "Walk":
        self._open(subject, name, ())
        return self

    def _open(self, value: Any, name: str, above: tuple[Any, ...]) -> None:
        if value is None or isinstance(
            value, np.ndarray | torch.Tensor | pd.DataFrame | bool | int | float | str
        ):
            self.found[name] = value
        elif type(value).__module__.startswith("pyarrow"):
            # Written to through NumPy where Arrow lets it.
            self.found |= {f"{name}[{c!r}]": _of_arrow(value[c]) for c in value.column_names}
        elif isinstance(value, dict):
            for key, one in value.items():
                self._open(one, f"{name}[{key!r}]", above)
        elif isinstance(value, list | tuple | set | Iterator):
            for i, one in enumerate(value):
                self._open(one, f"{name}[{i}]", above)
            if isinstance(value, tuple) and hasattr(value, "_fields"):
                self._ask(value, name, above)
        elif isinstance(value, nn.Module):
            self.kinds.add(type(value))
            self.found |= {
                f"{name}.{key}": tensor for key, tensor in value.state_dict(keep_vars=True).items()
            }
        elif isinstance(value, Artist):
            self._draw(value, name)
        elif _is_ours(type(value)) and not any(type(value) is type(one) for one in above):
            self._ask(value, name, (*above, value))

    def _ask(self, value: Any, name: str, above: tuple[Any, ...]) -> None:
        self.kinds.add(type(value))
        special = [n for n in ASKED_BY if inspect.isfunction(getattr(type(value), n, None))]
        names = [*special, *(n for n in dir(value) if not n.startswith("_"))]
        asked = {n: getattr(value, n) for n in names if n not in NOT_ASKED and hasattr(value, n)}
        # What is drawn is drawn first: attributes that end in an underscore are of the last drawing.
        for n in sorted(asked, key=lambda n: n != "plot"):
            member = asked[n] if n != "plot" else getattr(value, n)
            if not callable(member):
                self.answered.add((type(value), n))
                self._open(getattr(value, n), f"{name}.{n}", above)
            elif not inspect.isclass(getattr(member, "__self__", None)):  # else another way to make one
                for arguments in self._arguments(member, n, f"{name}.{n}"):
                    try:
                        answer = member(**arguments)
                    except cs.CertssbError:
                        continue  # says nothing, as a law of another kind; some subject must answer
                    self.answered.add((type(value), n))
                    self._open(answer, f"{name}.{n}({', '.join(arguments)})", above)

    def _arguments(self, method: Any, name: str, whole: str) -> list[dict[str, Any]]:
        """The ways in which a method is asked: with what it needs, as its parameters are called."""
        try:
            parameters = inspect.signature(method).parameters.values()
        except ValueError:
            return [{}]
        named = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
        needed = [p.name for p in named if p.default is p.empty]
        unknown = set(needed) - set(self.known)
        assert not unknown, f"{whole} needs {unknown}: tell the walk what to pass, or why it is not asked"
        takes = {p.name for p in named}
        ways = [[*needed, *more] for more in MORE.get(name, [[]]) if takes.issuperset(more)]
        return [{n: self.known[n] for n in way} for way in ways]

    def _draw(self, artist: Any, name: str) -> None:
        for one in [artist, *artist.findobj()]:
            for method in ("get_xdata", "get_ydata", "get_array", "get_offsets", "get_xydata"):
                if hasattr(one, method):
                    for original in ((), (True,)) if method in ("get_xdata", "get_ydata") else ((),):
                        value = getattr(one, method)(*original)
                        if isinstance(value, np.ndarray):
                            self.drawn.append(value)

    def answers(self) -> dict[str, list[Any]]:
        """Copies of everything that was found."""
        return {name: [part.copy() for part in _parts(value)] for name, value in self.found.items()}

    def write(self) -> None:
        """Write another value into every place that can be written to, of what the caller gave as well."""
        for value in [*self.found.values(), *self.drawn, *self.known["given"]]:
            if isinstance(value, pd.DataFrame):
                for c in range(value.shape[1]):
                    _scribble(value.iloc[:, c].to_numpy())
                for c in value.columns:
                    value[c] = 0
            else:
                for part in _parts(value):
                    _scribble(part)


def _is_ours(kind: type) -> bool:
    return kind.__module__.split(".")[0] == "certssb"


def _of_arrow(column: Any) -> Any:
    try:
        return column.chunk(0).to_numpy(zero_copy_only=True)
    except ValueError:  # strings, for one, are not NumPy's
        return column.to_numpy()


def _parts(value: Any) -> list[Any]:
    if isinstance(value, torch.Tensor):
        return [value.detach().numpy()]
    if isinstance(value, pd.DataFrame):
        return [value.iloc[:, c].to_numpy() for c in range(value.shape[1])]
    return [value if isinstance(value, np.ndarray) else np.array(value)]


def _scribble(array: Any) -> None:
    """Another value into each place: where it can be written to, and nowhere else."""
    if not array.flags.writeable or array.size == 0:
        return
    if array.dtype.kind == "b":
        np.logical_not(array, out=array)
    elif array.dtype.kind in "iuf":
        array[...] = np.where(array == 1, 0, 1)
    else:
        array[...] = "?"


def _told_apart(got: dict[str, list[Any]], expected: dict[str, list[Any]]) -> list[str]:
    """Names under which two walks found different things."""
    names = sorted(got.keys() ^ expected.keys())
    for name in got.keys() & expected.keys():
        for one, other in zip(got[name], expected[name], strict=True):
            if one.dtype.kind == "f" and other.dtype.kind == "f":
                same = np.array_equal(one, other, equal_nan=True)
            else:
                same = one.shape == other.shape and bool(
                    ((one == other) | (pd.isna(one) & pd.isna(other))).all()
                )
            if not same:
                names.append(name)
    return names


# The subjects: each makes an object, the same one at every call, and says what its methods are asked with.

Subject = Callable[[Digits, Path], tuple[Any, dict[str, Any]]]


def _table(digits: Digits) -> tuple[Any, Any, Any, Any]:
    """Frames with names of columns, and labels that are words."""
    X, y, X_test, y_test = digits
    words = np.array([f"digit {i}" for i in range(10)])
    frames = [
        pd.DataFrame(part.reshape(len(part), -1).copy()).add_prefix("pixel") for part in (X, X_test[:9])
    ]
    return frames[0], words[y], frames[1], words[y_test[:9]]


def _known(X: Any = None, y: Any = None, given: Any = ()) -> dict[str, Any]:
    """What methods are asked with, by parameter, and the arrays that the subject was made of."""
    return {
        "given": list(given),
        "X": X, "y": y, "y_true": y, "n_poisoned": 2, "trigger_norm": 0.125, "number": 0, "index": slice(1, 4), "value": cs.Uniform(0.5),
        "threat": cs.Threat(2, trigger_norm=0.125),
        "n_train": 400, "radii": [0.0, 0.25], "shape": (1, 8, 8), "x": np.zeros(64),
    }  # fmt: skip


def _fitted(law: cs.Law | None = None, **settings: Any) -> Subject:
    def make(digits: Digits, folder: Path) -> tuple[Any, dict[str, Any]]:
        X, y, X_test, y_test = digits
        discrete = isinstance(law, cs.Discrete)
        X, X_test = [(part > 0.5).astype(np.float32) if discrete else part.copy() for part in (X, X_test[:9])]
        y = y.copy()
        clf = small(law=law, **{"n_members": 8, "epochs": 1, "alpha": 0.4} | settings).fit(X, y)
        return clf, _known(X_test, y_test[:9], given=[X, y])

    return make


def _of_table(estimator: Callable[[], Any]) -> Subject:
    def make(digits: Digits, folder: Path) -> tuple[Any, dict[str, Any]]:
        X, y, X_test, y_test = _table(digits)
        return estimator().fit(X, y), _known(X_test, y_test, given=[X, y])

    return make


def _grown(digits: Digits, folder: Path) -> tuple[Any, dict[str, Any]]:
    X, y, X_test, y_test = digits
    clf = small(law=cs.Subsample(cs.Gaussian(0.25), size=50), n_members="auto", epochs=1)
    until = cs.Until(X_test[:9].copy(), n_poisoned=1, trigger_norm=0.1, share=0.5, max_members=60, first=30)
    return clf.fit(X, y, until=until), _known(X_test[:9], y_test[:9])


def _own() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.BatchNorm1d(10))


def _opened(digits: Digits, folder: Path) -> tuple[Any, dict[str, Any]]:
    clf, known = _fitted()(digits, folder)
    clf.save(folder)
    return cs.CertifiedClassifier.load(folder), known


def _votes(law: cs.Law, K: int = 2, **settings: Any) -> Subject:
    def make(digits: Digits, folder: Path) -> tuple[Any, dict[str, Any]]:
        shape = (2, 300, 7) if isinstance(law, cs.Cascade) else (300, 7)
        votes = (np.random.default_rng(0).random(shape) < 0.03).astype(np.int64)
        return cs.certify_votes(votes, law, 400, K, **settings), _known(y=np.zeros(7, int), given=[votes])

    return make


def _scores(digits: Digits, folder: Path) -> tuple[Any, dict[str, Any]]:
    scores = np.tile([0.02, 0.9, 0.08], (300, 5, 1))
    return cs.certify_scores(scores, cs.Gaussian(0.5), 400), _known(y=np.ones(5, int), given=[scores])


def _certified(subject: Subject, ledger: bool = False) -> Subject:
    def make(digits: Digits, folder: Path) -> tuple[Any, dict[str, Any]]:
        clf, known = subject(digits, folder)
        return clf.certify(known["X"], **({"ledger": _open(folder)} if ledger else {})), known

    return make


def _part(subject: Subject, index: Any) -> Subject:
    def make(digits: Digits, folder: Path) -> tuple[Any, dict[str, Any]]:
        table, known = subject(digits, folder)
        part = table[index]
        return part, known | {"y_true": known["y_true"][: len(part)], "index": slice(0, 2)}

    return make


def _open(folder: Path) -> cs.Ledger:
    return cs.Ledger(folder / "regions.sqlite")


def _ledger(digits: Digits, folder: Path) -> tuple[Any, dict[str, Any]]:
    ledger = _open(folder)
    ledger.update_many(digits[0][:5].reshape(5, -1), [1, 2, 3, 1, 2], [0.5, 0.25, 4.0, 1.0, 1.0])
    return ledger, _known() | {"x": digits[0][1].ravel()}


def _entries(digits: Digits, folder: Path) -> tuple[Any, dict[str, Any]]:
    ledger = _open(folder)
    many = ledger.update_many(digits[0][:5].reshape(5, -1), [1, 2, 3, 1, 2], [0.5, 0.25, 4.0, 1.0, 1.0])
    return [*many, ledger.update(digits[0][7], 1, 0.5), ledger.query(digits[0][0]), ledger.verify()], _known()


def _display(make_display: Callable[[Any, Any, Any], Any], law: cs.Law | None = None) -> Subject:
    def make(digits: Digits, folder: Path) -> tuple[Any, dict[str, Any]]:
        table, _ = _votes(law or cs.Subsample(cs.Gaussian(0.5), size=100))(digits, folder)
        y = np.array([0, 0, 1, 0, 0, 0, 1])
        return make_display(table, digits[2][:7].copy(), y), _known(given=[y])

    return make


def _given(kind: Any, *values: Any) -> Subject:
    def make(digits: Digits, folder: Path) -> tuple[Any, dict[str, Any]]:
        arrays = [np.array(value) for value in values]
        return kind(*arrays), _known(given=arrays)

    return make


def _plain(thing: Callable[[], Any]) -> Subject:
    return lambda digits, folder: (
        thing(),
        _known() | {"X": digits[0][:3], "y": digits[1][:3], "batch": digits[0][:3], "rng": 7},
    )


NORMS = [[np.inf, 2.0], [3.0, 1.0], [1.5, 0.5], [1.0, 0.0]]
PUBLISHED = cs.SampleSpecific(0.25, guarantee="published", steps=2)
CASCADE = cs.Cascade([cs.Gaussian(0.5), cs.Gaussian(0.25)])


def _influence() -> Any:
    X, y = cs.datasets.load_digits(classes=(0, 1))
    clf = small("discriminant", cs.Subsample(size=20), n_members=40)
    return clf.fit(X[:60], y[:60]).influence(X[60:63])


SUBJECTS: dict[str, Subject] = {
    "estimator": _fitted(),
    "estimator of a table": _of_table(lambda: small(n_members=8, epochs=1, alpha=0.4)),
    "estimator of a cascade": _fitted(CASCADE),
    "estimator with magnitudes": _fitted(cs.SampleSpecific(0.25, steps=2)),
    "estimator with published magnitudes": _fitted(PUBLISHED, n_members=12),
    "estimator of codes": _fitted(cs.Discrete(0.9, test_input=True)),
    "estimator with a map": _fitted(features=cs.features.Cosine(4)),
    "estimator in closed form": _fitted(model="discriminant"),
    "estimator of a module": _fitted(model=_own),
    "estimator that grew": _grown,
    "estimator that was saved": _opened,
    "1-NN": _of_table(lambda: cs.CertifiedKNN(1.0)),
    "table": _votes(cs.Gaussian(0.5)),
    "table of a subsample": _votes(cs.Subsample(cs.Gaussian(0.5), size=100), K=3),
    "table of flips": _votes(cs.Discrete(0.8)),
    "table of a cascade": _votes(CASCADE),
    "table of scores": _scores,
    "table of an estimator": _certified(_of_table(lambda: small(n_members=8, epochs=1, alpha=0.4))),
    "table of 1-NN": _certified(_of_table(lambda: cs.CertifiedKNN(1.0))),
    "table of a ledger": _certified(_fitted(PUBLISHED, n_members=12), ledger=True),
    "slice": _part(_votes(cs.Gaussian(0.5)), slice(0, 4)),
    "slice by a mask": _part(_votes(CASCADE), np.arange(7) < 3),
    "slice of a ledger's": _part(_certified(_fitted(PUBLISHED, n_members=12), ledger=True), [0, 1, 2]),
    "ledger": _ledger,
    "entries": _entries,
    "accuracy": _display(lambda table, X, y: cs.CertifiedAccuracyDisplay.from_certificates(table, y), cs.Gaussian(0.5)),
    "accuracy of arrays": _given(cs.CertifiedAccuracyDisplay, [0.0, 0.5, 1.0], [0.9, 0.5, 0.1]),
    "frontier": _display(lambda table, X, y: cs.FrontierDisplay.from_certificates(table, y)),
    "frontier of arrays": _given(cs.FrontierDisplay, [1, 10], NORMS),
    "magnitudes of arrays": _given(cs.NoiseMagnitudeDisplay, [0.5, 0.25, 1.0, 0.75]),
    "grid": _display(lambda table, X, y: cs.PredictionGridDisplay.from_certificates(table, X, y)),
    "grid of arrays": _display(
        lambda table, X, y: cs.PredictionGridDisplay(X, y, y == 1, y * 0.5, y_true=np.zeros(7, int))
    ),
    "magnitudes": _display(lambda table, X, y: cs.NoiseMagnitudeDisplay(np.linspace(0.25, 1.0, 7), X, y, n=2)),
    "plan": _plain(lambda: cs.Subsample(cs.Gaussian(1.0), size=100).plan(400, 2, 0.5)),
    "recommendation": _plain(
        lambda: cs.recommend(
            cs.Threat(1), 90, trusted=cs.datasets.load_digits(classes=(0, 1)), model="discriminant", n_trial=4
        )
    ),
    "recommendation of arrays": _plain(lambda: cs.RecommendationDisplay([0.9, 0.5], [0.7, 0.5], ["one", "two"])),
    "influence": _plain(_influence),
    "influence of arrays": _plain(lambda: cs.InfluenceDisplay([3, 1], [0.2, 0.1], [0.1, 0.1], beyond=[True, False])),
    "audit": _plain(
        lambda: cs.auditing.AuditReport("runs/one", [cs.auditing.AuditRow("votes", "FAILED", "too few")], ["all else"])
    ),
    "laws": _plain(lambda: [CASCADE, PUBLISHED, cs.Subsample(cs.Uniform(0.5) & cs.LabelNoise(0.1), size=3), cs.Discrete(0.9), cs.LabelNoise(0.1), cs.Uniform(0.5), cs.Subsample(rate=0.1), cs.Partition(5), cs.Threat(3, edits="any")]),
    "triggers": _plain(lambda: [cs.triggers.OnePixel(), cs.triggers.FourPixel(), cs.triggers.Patch(3), cs.triggers.Blend(0.5)]),
    "augmentations": _plain(
        lambda: [
            cs.augment.Shift(1),
            cs.augment.Flip(),
            cs.augment.Affine(),
            cs.augment.Elastic(),
            cs.augment.Compose([cs.augment.Shift(1), cs.augment.Flip()]),
        ]
    ),
    "maps": _plain(
        lambda: [
            cs.features.Cosine(4),
            cs.features.AveragePool(2),
            cs.features.Scattering(1, 2),
            cs.features.compose(cs.features.AveragePool(2), cs.features.Scattering(1, 2)),
            cs.features.Trusted(lambda X: np.tanh(X.reshape(len(X), -1)), name="a made-up one"),
        ]
    ),
}  # fmt: skip


def walked(subject: Any, known: dict[str, Any]) -> Walk:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        walk = Walk(known).of(subject)
    plt.close("all")
    return walk


def changed_by_writing(make: Subject, digits: Digits, folder: Path) -> list[str]:
    """Names of answers that are others than a twin's after all that was handed out has been written to."""
    pairs = []
    for which in ("written", "untouched"):
        (folder / which).mkdir(parents=True)
        pairs.append(make(digits, folder / which))
    (subject, known), (twin, same) = pairs
    handed_out, expected = walked(subject, known), walked(twin, same).answers()
    assert expected and _told_apart(handed_out.answers(), expected) == []
    handed_out.write()
    changed = _told_apart(walked(subject, known).answers(), expected)
    if isinstance(subject, cs.CertifiedClassifier | cs.CertifiedKNN | cs.CertificateTable):
        copy = walked(pickle.loads(pickle.dumps(subject)), known)
        changed += [f"{name} of a pickled copy" for name in _told_apart(copy.answers(), expected)]
    return changed


@pytest.mark.parametrize("name", list(SUBJECTS))
def test_writing_to_what_was_handed_out_changes_no_later_answer(
    name: str, digits: Digits, tmp_path: Path
) -> None:
    assert changed_by_writing(SUBJECTS[name], digits, tmp_path) == []


def test_a_run_that_was_read(hostile_run: Path, digits: Digits, tmp_path: Path) -> None:
    make: Subject = lambda digits, folder: (cs.report.Run.read(hostile_run), _known(y=digits[3]))
    assert changed_by_writing(make, digits, tmp_path) == []


HAND_OUT_NOTHING = {
    cs.Law: "is never made; its kinds are walked",
    cs.augment.Augmentation: "is never made; its kinds are walked",
    cs.recommending.RecommendedKNN: "is numbers, and a new classifier each time that is not fitted",
    cs.Until: "holds what the caller passed",
    cs.adapters.ArtTrigger: "calls an attack of the caller's",
    cs.adapters.AttackSize: "is numbers",
    cs.testing.KeptEnsembles: "fits what it is given and hands that back",
    cs.triggers.Trigger: "is never made; its kinds are walked",
    cs.features.FeatureMap: "is never made; its kinds are walked",
    cs.data.Reading: "is what a data set was read as, before anything is made of it",
    cs.progress.ProgressBar: "is told and hands out nothing",
    cs.callbacks.Callback: "is told and hands out nothing",
    cs.callbacks.MLflowCallback: "is told and hands out nothing",
    cs.callbacks.TensorBoardCallback: "is told and hands out nothing",
}


def _public_classes() -> set[type]:
    """Those of the package's own list, and those of the reference."""
    text = "".join(
        page.read_text() for page in (Path(__file__).parents[2] / "docs" / "reference").glob("*.rst")
    )
    modules = [cs, *map(importlib.import_module, re.findall(r"automodule:: (certssb[\w.]+)", text))]
    named = [getattr(module, name) for module in modules for name in module.__all__]
    for module, name in re.findall(r"autoclass:: (certssb[\w.]*)\.(\w+)", text):
        named.append(getattr(importlib.import_module(module), name))
    assert len(modules) > 10
    return {one for one in named if inspect.isclass(one) and not issubclass(one, BaseException)}


def test_every_public_class_is_walked_and_every_method_answers(
    hostile_run: Path, digits: Digits, tmp_path: Path
) -> None:
    answered: set[tuple[type, str]] = set()
    classes: set[type] = set()
    for i, make in enumerate(SUBJECTS.values()):
        (tmp_path / str(i)).mkdir()
        walk = walked(*make(digits, tmp_path / str(i)))
        answered, classes = answered | walk.answered, classes | walk.kinds
    walk = walked(cs.report.Run.read(hostile_run), _known())
    answered, classes = answered | walk.answered, classes | walk.kinds
    assert _public_classes() - classes == HAND_OUT_NOTHING.keys()
    # Of a method that several classes inherit one has to answer.
    methods = [getattr(kind, name, None) for kind, name in answered]
    silent = {
        f"{kind.__name__}.{name}"
        for kind in classes
        for name, member in inspect.getmembers(kind, callable)
        if name[0] != "_" and name not in NOT_ASKED and member not in methods
        if not inspect.isclass(getattr(member, "__self__", None)) and not issubclass(kind, nn.Module)
    }
    assert silent == set()


class Planted:
    """Everything that the walk must find, as attributes, properties and methods of one object."""

    __module__ = "certssb.planted"

    def __init__(self, where: str) -> None:
        self._kept = np.arange(5.0)
        self._frame = pd.DataFrame({"a": self._kept.copy()})
        self._tensor = torch.arange(5.0)
        self.where = where

    @property
    def attribute(self) -> Any:
        return self._kept if self.where == "attribute" else self._kept.copy()

    @property
    def deep(self) -> Any:
        return {"a": [(1, self._kept if self.where == "deep" else 2)]}

    def method(self, most: int = 3) -> Any:
        return self._kept[:most] if self.where == "method" else None

    def asked(self, n_poisoned: int) -> Any:
        return iter([self._kept]) if self.where == "asked" else None

    def tensor(self) -> Any:
        return self._tensor if self.where == "tensor" else self._tensor.clone()

    def frame(self) -> Any:
        return self._frame if self.where == "frame" else self._frame.copy()

    def within(self) -> Any:
        return _Within(self._kept if self.where == "within" else None)


class _Within:
    __module__ = "certssb.planted"

    def __init__(self, kept: Any) -> None:
        self.kept = kept


PLACES = ["attribute", "deep", "method", "asked", "tensor", "frame", "within", "given"]


@pytest.mark.parametrize("where", ["nowhere", *PLACES])
def test_the_walk_finds_what_is_planted(where: str, digits: Digits, tmp_path: Path) -> None:
    def make(digits: Digits, folder: Path) -> tuple[Any, dict[str, Any]]:
        planted = Planted(where)
        return planted, _known(given=[planted._kept] if where == "given" else [])

    assert bool(changed_by_writing(make, digits, tmp_path)) == (where != "nowhere")


def test_the_walk_finds_a_new_attribute_of_the_estimator(
    digits: Digits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        cs.CertifiedClassifier, "kept", property(lambda clf: [*clf._votes.values()]), raising=False
    )
    monkeypatch.setattr("certssb.estimators._with_members.frozen", lambda array: array)

    def make(digits: Digits, folder: Path) -> tuple[Any, dict[str, Any]]:
        clf, known = SUBJECTS["estimator"](digits, folder)
        clf.predict(known["X"])
        return clf, known

    changed = changed_by_writing(make, digits, tmp_path)
    assert "it.kept[0]" in changed and "it.predict(X)" in changed


def test_a_method_that_needs_more_than_is_known_is_named(
    digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cs.CertificateTable, "new", lambda self, colour: colour, raising=False)
    with pytest.raises(AssertionError, match=r"it.new needs \{'colour'\}"):
        walked(*SUBJECTS["table"](digits, Path()))
