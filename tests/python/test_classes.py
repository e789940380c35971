"""The list of classes: given, it is nobody's to change; learned from the labels, the guarantee says so."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Digits, small

import certssb as cs
from certssb import cli

AS_RECEIVED = "a change of the list of classes, which is taken as received"


def fit(X: Any, y: Any, classes: Any = None) -> cs.CertifiedClassifier:
    law = cs.Subsample(cs.Gaussian(0.25) & cs.LabelNoise(0.1), size=40)
    return small(law=law, n_members=30, alpha=0.1).fit(X, y, classes=classes)


def share_of_equal_members(one: cs.CertifiedClassifier, other: cs.CertifiedClassifier) -> float:
    pairs = [(one._ensemble.values(m), other._ensemble.values(m)) for m in range(30)]
    return float(np.mean([np.array_equal(a, b) for a, b in pairs]))


def test_a_label_of_a_new_class_changes_no_member_that_does_not_see_it(digits: Digits) -> None:
    X, y = digits[0], digits[1] % 3
    with_another = y.copy()
    with_another[7] = 3
    given = [fit(X, labels, classes=range(4)) for labels in (y, with_another)]
    learned = [fit(X, labels) for labels in (y, with_another)]
    assert share_of_equal_members(*given) > 0.75
    assert share_of_equal_members(*learned) == 0.0


@pytest.mark.parametrize("estimator", [small(), cs.CertifiedKNN(1.0)], ids=["members", "1-NN"])
def test_the_guarantee_says_where_the_list_comes_from(estimator: Any, tmp_path: Path, digits: Digits) -> None:
    X, y, X_test, _ = digits
    learned = estimator.fit(X, y).certify(X_test)
    assert AS_RECEIVED in learned.guarantee and learned.guarantee.count(". ") == 0
    learned.save(tmp_path / "table.npz")
    assert cs.CertificateTable.load(tmp_path / "table.npz").guarantee == learned.guarantee
    given = estimator.fit(X, y, classes=np.arange(10)).certify(X_test)
    assert "list of classes" not in given.guarantee
    np.testing.assert_array_equal(given.p_lower, learned.p_lower)
    stated = cs.certify_votes(np.zeros((30, 1), int), cs.Gaussian(1.0), n_train=9, n_classes=2, alpha=0.1)
    assert "list of classes" not in stated.guarantee


def test_cascades_say_it_too(digits: Digits) -> None:
    law = cs.Cascade([cs.Gaussian(0.5), cs.Gaussian(0.25)])
    X, y, X_test, _ = digits
    assert AS_RECEIVED in small(law=law, alpha=0.1).fit(X, y).certify(X_test).guarantee


@pytest.mark.parametrize("classes", [None, range(10)])
def test_a_saved_ensemble_keeps_it(classes: Any, tmp_path: Path, digits: Digits) -> None:
    X, y, X_test, _ = digits
    clf = small().fit(X, y, classes=classes)
    clf.save(tmp_path)
    assert cs.CertifiedClassifier.load(tmp_path).certify(X_test).guarantee == clf.certify(X_test).guarantee


def test_stating_the_list_afterwards_trains_nothing_again(digits: Digits) -> None:
    X, y, X_test, _ = digits
    clf = small(seed=None).fit(X, y)
    # Members that were trained again would have another secret.
    seed = clf.seed_
    assert clf.fit(X, y, classes=range(10)).seed_ == seed
    assert AS_RECEIVED not in clf.certify(X_test).guarantee


def test_a_class_without_samples_is_a_class(digits: Digits) -> None:
    X, y = digits[0], digits[1]
    for estimator in (small(), cs.CertifiedKNN(1.0)):
        estimator.fit(X[y == 1], y[y == 1], classes=[5, 1, 3])
        assert estimator.classes_.tolist() == [1, 3, 5]
        assert estimator.predict_proba(X[:4]).shape == (4, 3)
        assert (estimator.predict(X[y == 1][:9]) == 1).all()


@pytest.mark.parametrize(
    ("labels", "classes", "said"),
    [
        ([0, 1, 7, 1], [0, 1, 2], r"'y'.*given classes, \[0, 1, 2\]. Got 7 at index 2"),
        (["a", "b", "cc"], ["a", "b", "c"], r"'y'.*\['a', 'b', 'c'\]. Got 'cc' at index 2"),
        (["a", "b"], [0, 1], "'y'.*given classes.*Got 'a' at index 0"),
        ([True, False], [0, 1], "'y'.*given classes.*Got True at index 0"),
        ([-1, 0], np.array([0, 2**64 - 1], dtype=np.uint64), "'y'.*given classes.*Got -1 at index 0"),
        ([0, 1], [0], "'classes'.*at least two classes"),
        ([0, 1], [0.5, 1], "'classes'.*Got 0.5"),
        ([0, 1], "01", "'classes'"),
    ],
)
def test_labels_outside_the_list_are_refused_by_name(labels: Any, classes: Any, said: str) -> None:
    X = np.arange(2.0 * len(labels)).reshape(-1, 2)
    for estimator in (small(), cs.CertifiedKNN(1.0)):
        with pytest.raises((cs.ParameterError, cs.ShapeError), match=said):
            estimator.fit(X, labels, classes=classes)


@pytest.mark.parametrize("classes", [{"b", "a", "c"}, np.array(["c", "a", "b"], dtype=object)])
def test_the_list_may_come_in_any_form_and_order(classes: Any) -> None:
    known, codes = cs.data.as_labels(["b", "a", "b"], 3, classes=classes)
    assert (known.tolist(), codes.tolist()) == (["a", "b", "c"], [1, 0, 1])


@pytest.mark.parametrize("names", [np.arange(10), np.array([f"digit {i}" for i in range(10)])])
def test_the_command_line_takes_the_list(names: Any, tmp_path: Path, digits: Digits) -> None:
    X, y, X_test, y_test = digits
    few, few_test = y < 4, y_test < 4
    np.savez(
        tmp_path / "mine.npz",
        X_train=X[few],
        y_train=names[y[few]],
        X_test=X_test[few_test],
        y_test=names[y_test[few_test]],
    )
    words = [
        "run",
        "--dataset",
        str(tmp_path / "mine.npz"),
        "--model",
        "linear",
        "--members",
        "30",
        "--epochs",
        "1",
    ]
    words += ["--seed", "0", "--quiet", "--out", str(tmp_path / "out")]
    assert cli.main(words) == 0
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert AS_RECEIVED in summary["guarantee"] and summary["record"]["n_classes"] == 4
    assert cli.main([*words, "--classes", *(str(name) for name in names)]) == 0
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert AS_RECEIVED not in summary["guarantee"] and summary["record"]["n_classes"] == 10


def test_the_lists_of_known_data_sets_are_known(tmp_path: Path) -> None:
    words = ["run", "--classes", "3", "5", "--model", "linear", "--members", "20", "--epochs", "1", "--quiet"]
    assert cli.main([*words, "--out", str(tmp_path)]) == 0
    assert AS_RECEIVED not in json.loads((tmp_path / "summary.json").read_text())["guarantee"]
