"""Tables of certificates as containers: slices, pickles, copies, and what a budget adds to them."""

import copy
import io
import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
import torch

import certssb as cs
from certssb.certificates import _file

VOTES = (np.arange(1000)[:, None] < [1000, 990, 900, 600, 500, 20]).astype(int)


def votes_of(law: cs.Law, **settings: Any) -> cs.CertificateTable:
    return cs.certify_votes(VOTES, law, n_train=1000, n_classes=2, n_features=64, **settings)


def cascade() -> cs.CertificateTable:
    law = cs.Cascade([cs.Gaussian(1.0), cs.Gaussian(0.5)])
    return cs.certify_votes(np.stack([VOTES, VOTES[::-1]]), law, n_train=1000, n_classes=2, family_wise=True)


def published(digits: Any) -> cs.CertificateTable:
    law = cs.SampleSpecific(0.5, guarantee="published")
    clf = cs.CertifiedClassifier("linear", law, n_members=30, epochs=1, seed=0, progress=False)
    X_train, y_train, X_test, _ = digits
    return clf.fit(X_train[:100], y_train[:100]).certify(X_test[:6], alpha=0.3)


@pytest.fixture(scope="module")
def tables(digits: Any) -> dict[str, cs.CertificateTable]:
    named = cs.CertifiedKNN(sigma=1.0).fit(np.eye(3), ["ä", "b", "c"]).certify(np.eye(3)[[0, 1, 2, 0, 1, 2]])
    return {
        "radius": votes_of(cs.Gaussian(0.5)),
        "family": votes_of(cs.Subsample(cs.Gaussian(1.0), size=100), family_wise=True),
        "flips": votes_of(cs.Discrete(0.8)),
        "cascade": cascade(),
        "published": published(digits),
        "exact, names": named,
    }


KINDS = ["radius", "family", "flips", "cascade", "published", "exact, names"]
INDICES: dict[str, Any] = {
    "first two": slice(2),
    "backwards": slice(None, None, -2),
    "nothing": slice(3, 3),
    "one": 4,
    "last": -1,
    "numpy number": np.int16(-2),
    "mask": np.array([True, False, True, False, False, True]),
    "list mask": [False] * 5 + [True],
    "series": pd.Series([True, True, False, False, False, False]),
    "rows": np.array([5, 0, 0, -3]),
    "small rows": np.array([5, 0], dtype=np.uint8),
    "list": [3, 1],
    "empty list": [],
    "tensor": torch.tensor([2, 4]),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("index", INDICES.values(), ids=list(INDICES))
def test_rows_of_a_table_are_a_table_of_these_rows(kind: str, index: Any, tables: dict[str, Any]) -> None:
    certs = tables[kind]
    part = certs[index]
    empty = isinstance(index, list) and not index
    rows = np.zeros(0, int) if empty else np.atleast_1d(np.arange(6)[index])
    assert len(part) == len(rows)
    whole, own = certs.to_frame(), part.to_frame()
    pd.testing.assert_frame_equal(own, whole.iloc[rows].reset_index(drop=True), check_exact=True)
    assert repr(part.law) == repr(certs.law)
    assert (part.n_train, part.n_members, part.alpha, part.sound) == (
        certs.n_train, certs.n_members, certs.alpha, certs.sound,
    )  # fmt: skip
    if kind != "flips" and certs.sound:
        np.testing.assert_allclose(part.trigger_norm(3), certs.trigger_norm(3)[rows], rtol=1e-9)
        np.testing.assert_array_equal(part.n_poisoned(0.1), certs.n_poisoned(0.1)[rows])
    assert part[:1] == certs[rows[:1]]


@pytest.mark.parametrize("kind", ["family", "cascade"])
def test_a_part_of_a_family_goes_on_to_name_the_family(kind: str, tables: dict[str, Any]) -> None:
    certs = tables[kind]
    part = certs[:2][[1, 0]]
    # alpha is shared among six samples, for ever: a part says so and has the bounds that this made.
    assert certs.guarantee.startswith("For all 6 test samples together, with")
    assert part.guarantee.startswith("For all 6 test samples together, of which this table has 2 rows, with")
    assert certs[::-1].guarantee == certs.guarantee
    assert part.p_lower.tolist() == certs.p_lower[[1, 0]].tolist()
    alone = cs.certify_votes(
        VOTES[:, :2], cs.Subsample(cs.Gaussian(1.0), size=100), 1000, 2, family_wise=True
    )
    if kind == "family":
        assert part.p_lower[1] < alone.p_lower[0]
    for again in (pickle.loads(pickle.dumps(part)), part[:], copy.deepcopy(part)):
        assert again == part
        assert again.guarantee == part.guarantee
        assert "For all 6 test samples" in again[:1].guarantee


def test_samples_on_their_own_stay_on_their_own(tables: dict[str, Any]) -> None:
    certs = tables["radius"]
    assert certs[:2].guarantee == certs.guarantee
    assert "on its own" in certs.guarantee


def test_the_number_of_a_family_survives_a_file(tables: dict[str, Any], tmp_path: Path) -> None:
    tables["family"][:3].save(tmp_path / "table.npz")
    assert "For all 6 test" in cs.CertificateTable.load(tmp_path / "table.npz").guarantee


BAD_INDICES: dict[str, tuple[Any, str]] = {
    "beyond": (6, "'index'.*row numbers from -6 to 5. Got 6 instead"),
    "before": (-7, "'index'.*row numbers from -6 to 5. Got -7"),
    "huge": (2**70, "'index'.*a row number, a slice"),
    "huge in an array": (np.array([2**64 - 1], dtype=np.uint64), "'index'.*Got 18446744073709551615"),
    "in a list": ([0, 9], "'index'.*Got 9"),
    "short mask": ([True, False], "'index'.*one bool per sample, 6 in all. Got 2"),
    "float": (1.0, "'index'.*a row number, a slice.*Got 1.0"),
    "floats": ([0.0, 1.0], "'index'.*Got float64 of shape"),
    "bool": (True, "'index'.*Got True"),
    "string": ("prediction", "'index'.*Got 'prediction'"),
    "tuple": ((0, 1), r"'index'.*Got \(0, 1\)"),
    "none": (None, "'index'.*Got None"),
    "dots": (..., "'index'.*Got Ellipsis"),
    "two dimensions": ([[0, 1]], r"'index'.*int64 of shape \(1, 2\)"),
    "a slice of strings": (slice("a", "b"), "'index'.*a slice"),
    "step zero": (slice(None, None, 0), "'index'.*a slice"),
    "ragged": ([[1], [1, 2]], "'index'.*Got list"),
}


@pytest.mark.parametrize(("index", "said"), BAD_INDICES.values(), ids=list(BAD_INDICES))
def test_rows_that_are_not_there_are_named(index: Any, said: str, tables: dict[str, Any]) -> None:
    with pytest.raises((cs.ParameterError, cs.ShapeError), match=said):
        tables["radius"][index]


def test_a_table_is_gone_through_sample_by_sample(tables: dict[str, Any]) -> None:
    certs = tables["exact, names"]
    parts = list(certs)
    assert [len(part) for part in parts] == [1] * 6
    assert [part.prediction[0] for part in parts] == certs.prediction.tolist()
    assert next(reversed(certs)) == certs[5]
    assert certs[:0].certified_accuracy([], radii=[0.0]).tolist() == [0.0]
    assert "<table>" in certs[:0]._repr_html_()


def by_joblib(certs: Any) -> Any:
    file = io.BytesIO()
    joblib.dump(certs, file)
    file.seek(0)
    return joblib.load(file)


COPIES: dict[str, Callable[[Any], Any]] = {
    **{f"pickle {n}": lambda certs, n=n: pickle.loads(pickle.dumps(certs, n)) for n in range(2, 6)},
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "joblib": by_joblib,
    "slice": lambda certs: certs[:],
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", COPIES)
def test_copies_are_equal_and_whole(kind: str, way: str, tables: dict[str, Any]) -> None:
    certs = tables[kind]
    again = COPIES[way](certs)
    assert again is not certs
    pd.testing.assert_frame_equal(again.to_frame(), certs.to_frame(), check_exact=True)
    assert again.guarantee == certs.guarantee
    if way != "slice":
        assert again == certs
        assert hash(again) == hash(certs)


def test_tables_that_differ_are_not_equal(tables: dict[str, Any]) -> None:
    certs = tables["radius"]
    assert certs == votes_of(cs.Gaussian(0.5))
    others = [*(table for kind, table in tables.items() if kind != "radius"), certs[:5], certs[::-1], 7, None,
              votes_of(cs.Gaussian(0.6)), votes_of(cs.Gaussian(0.5), alpha=0.01)]  # fmt: skip
    assert all(certs != other for other in others)


def test_a_pickle_holds_data_only_and_is_checked(tables: dict[str, Any]) -> None:
    certs = tables["family"]
    function, (content,) = certs.__reduce__()[:2]
    assert isinstance(content, bytes)
    assert pickle.loads(pickle.dumps(certs)) == certs
    for place in range(0, len(content), 97):
        damaged = bytearray(content)
        damaged[place] ^= 4
        try:
            again = function(bytes(damaged))
        except cs.CertssbError as error:
            assert "pickle" in str(error)
        else:
            # Bits that the archive does not read, such as times: what is read is what was written.
            assert again == certs
    for wrong in (b"", b"PK\x03\x04", "text", None, 3):
        with pytest.raises(cs.ParameterError, match="'pickle'"):
            function(wrong)


BUDGETS: dict[str, tuple[dict[str, Any], str]] = {
    "all of it": (
        {"n_poisoned": 3, "trigger_norm": math.inf, "labels": True}, "holds(n_poisoned=3, trigger_norm=inf, labels=True)",
    ),
    "without labels": ({"n_poisoned": 3, "trigger_norm": 0.5}, "holds(n_poisoned=3, trigger_norm=0.5)"),
    "samples": ({"n_poisoned": 3, "labels": True}, "trigger_norm(n_poisoned=3, labels=True)"),
    "norm": ({"trigger_norm": 1.0}, "n_poisoned(trigger_norm=1.0)"),
}  # fmt: skip


@pytest.mark.parametrize(("budget", "name"), BUDGETS.values(), ids=list(BUDGETS))
def test_a_budget_adds_a_column_that_says_what_it_holds(
    budget: dict[str, Any], name: str, tables: dict[str, Any]
) -> None:
    certs = tables["family"]
    frame = certs.to_frame(**budget)
    assert frame.columns.tolist() == [*certs.to_frame().columns, name]
    # The name is the call that gives the same values.
    expected = eval(f"certs.{name}", {"certs": certs, "inf": math.inf})
    np.testing.assert_array_equal(frame[name], expected)
    shown = certs.show(**budget)
    page, text = shown._repr_html_(), repr(shown)
    assert f"<th>{name}</th>" in page
    assert name in text
    assert certs.guarantee in text
    assert text.splitlines()[-1].split()[-1] in str(expected[-1])


def test_what_is_shown_claims_no_more_than_was_certified() -> None:
    certs = votes_of(cs.Subsample(cs.Gaussian(1.0), size=100))
    norm = certs.trigger_norm(30)[1]
    shown = repr(certs.show(n_poisoned=30)).splitlines()[3].split()
    assert 0 < norm - float(shown[-1]) < 1e-4
    assert 0 <= float(shown[-2]) - certs.p_upper[1] < 1e-4
    assert 0 <= certs.p_lower[1] - float(shown[-3]) < 1e-4


BAD_BUDGETS: dict[str, tuple[dict[str, Any], str]] = {
    "labels alone": ({"labels": True}, "'labels'.*given with n_poisoned"),
    "labels in words": ({"n_poisoned": 3, "labels": "no"}, "'labels'.*a bool. Got 'no'"),
    "labels as a number": ({"n_poisoned": 3, "labels": 1}, "'labels'.*a bool. Got 1"),
    "too many": ({"n_poisoned": 1001}, "'n_poisoned'.*number of training samples, 1000"),
    "half": ({"n_poisoned": 0.5}, "'n_poisoned'.*an integer"),
    "negative": ({"trigger_norm": -1.0}, "'trigger_norm'.*Got -1"),
    "NaN": ({"n_poisoned": 1, "trigger_norm": math.nan}, "'trigger_norm'.*Got NaN"),
    "words": ({"trigger_norm": "large"}, "'trigger_norm'.*Got 'large'"),
}


@pytest.mark.parametrize(("budget", "said"), BAD_BUDGETS.values(), ids=list(BAD_BUDGETS))
def test_budgets_that_are_none_are_named(budget: dict[str, Any], said: str, tables: dict[str, Any]) -> None:
    certs = tables["family"]
    for ask in (certs.to_frame, certs.show):
        with pytest.raises(cs.ParameterError, match=said):
            ask(**budget)


def test_a_budget_that_the_law_knows_nothing_of_is_refused(tables: dict[str, Any]) -> None:
    with pytest.raises(cs.ParameterError, match="'labels'.*False for Gaussian"):
        tables["radius"].show(n_poisoned=3, labels=True)


@pytest.mark.parametrize("labels", ["no", 0, None])
def test_labels_are_yes_or_no(labels: Any, tables: dict[str, Any]) -> None:
    certs = tables["family"]
    for ask in (
        lambda: certs.holds(1, 1.0, labels), lambda: certs.trigger_norm(1, labels), lambda: certs.n_poisoned(1.0, labels),
        lambda: certs.frontier([1], labels),
        lambda: certs.certified_accuracy([1] * 6, n_poisoned=1, trigger_norm=1.0, labels=labels),
    ):  # fmt: skip
        with pytest.raises(cs.ParameterError, match="'labels'.*a bool"):
            ask()


BROKEN: dict[str, Callable[[Any], Any]] = {
    "shorter": lambda part: part[:1],
    "empty": lambda part: part[:0],
    "longer": lambda part: np.concatenate([part, part]),
    "negative": lambda part: part * 0 - 1,
    "NaN": lambda part: part.astype(float) * np.nan,
    "huge": lambda part: part + 2**40,
    "a column": lambda part: part.reshape(-1, 1),
    "a number": lambda part: np.array(7),
}


@pytest.mark.parametrize("how", BROKEN)
def test_parts_that_do_not_fit_together_are_refused_or_a_table(
    tables: dict[str, cs.CertificateTable], how: str
) -> None:
    """With a digest that is right, which anybody can write: an error of this package or a table that answers, no panic."""
    refused = 0
    for table in tables.values():
        parts = _file.parts(table._core, table._classes)
        for name, part in parts.items():
            if not isinstance(part, np.ndarray) or part.dtype.kind not in "iufb" or part.ndim == 0:
                continue
            changed = {key: value for key, value in parts.items() if key != "digest"} | {
                name: BROKEN[how](part)
            }
            content = io.BytesIO()
            np.savez(content, **changed, digest=np.array(_file.digest(changed)))
            try:
                read = cs.CertificateTable._restored("path", content.getvalue(), "another")
                if len(read):
                    read[:1], read[-1], read.to_frame(), repr(read)
            except cs.ParameterError as error:
                assert "parts of a table" in str(error)
                refused += 1
    assert refused > 10
