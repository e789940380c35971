"""Bad input, one test each: the exception, the parameter's name, what was expected and what came.

In every case nothing is trained, and an ensemble that was fitted before still answers.
"""

import copy
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Digits, small

import certssb as cs
from certssb.exceptions import CertssbError, CheckpointError, DeviceError, ParameterError, ShapeError


def with_value(X: Any, value: float) -> Any:
    """A copy in which one pixel is changed."""
    changed = X.copy()
    changed[3, 0, 2, 1] = value
    return changed


def with_label(y: Any, value: Any) -> Any:
    changed = np.asarray(y).astype(object)
    changed[3] = value
    return changed


DATA = {
    "NaN pixel": (lambda X, y: (with_value(X, math.nan), y), ParameterError, r"'X'.*finite.*NaN at index \(3, 0, 2, 1\)"),
    "infinite pixel": (lambda X, y: (with_value(X, math.inf), y), ParameterError, r"'X'.*finite.*infinity at index \(3, 0, 2, 1\)"),
    "minus infinity": (lambda X, y: (with_value(X, -math.inf), y), ParameterError, "'X'.*finite.*infinity"),
    "NaN in a tensor": (lambda X, y: (torch.as_tensor(with_value(X, math.nan)), y), ParameterError, "'X'.*finite.*NaN"),
    "too large for float32": (lambda X, y: (with_value(X.astype(float), 1e300), y), ParameterError, "'X'.*too large"),
    "rank 1": (lambda X, y: (X[:, 0, 0, 0], y), ShapeError, r"'X'.*2 dimensions.*3 or 4.*Got an array of shape \(400,\)"),
    "rank 5": (lambda X, y: (X[None], y), ShapeError, r"'X'.*2 dimensions.*3 or 4.*Got shape \(1, 400, 1, 8, 8\)"),
    "no samples": (lambda X, y: (X[:0], y[:0]), ShapeError, "'X'.*must have samples.*0 sample"),
    "no features": (lambda X, y: (X.reshape(400, -1)[:, :0], y), ShapeError, "'X'.*must have features.*0 feature"),
    "words": (lambda X, y: ([["a", "b"]] * 400, y), ParameterError, "'X'.*finite numbers"),
    "complex": (lambda X, y: (X.reshape(400, -1) * 1j, y), ParameterError, "'X'.*finite numbers"),
    "rows of unequal length": (lambda X, y: ([[1.0]] * 399 + [[1.0, 2.0]], y), ShapeError, "'X'.*samples of one shape"),
    "a fraction as label": (lambda X, y: (X, with_label(y, 1.5).astype(float)), ParameterError, "'y'.*class labels.*Got 1.5 at index 3"),
    "a NaN label": (lambda X, y: (X, with_label(y, math.nan).astype(float)), ParameterError, "'y'.*class labels.*NaN"),
    "an infinite label": (lambda X, y: (X, with_label(y, math.inf).astype(float)), ParameterError, "'y'.*class labels.*infinity"),
    "a missing label": (lambda X, y: (X, with_label(y.astype(str), None)), ParameterError, "'y'.*missing label.*index 3"),
    "mixed labels": (lambda X, y: (X, with_label(y, "three")), ParameterError, "'y'.*class labels.*objects of"),
    "no labels": (lambda X, y: (X, None), ParameterError, "'y'.*class labels.*Got None"),
    "one-hot labels": (lambda X, y: (X, np.eye(10)[y]), ShapeError, r"'y'.*argmax\(axis=1\).*Got an array of shape \(400, 10\)"),
    "fewer labels": (lambda X, y: (X, y[:-1]), ShapeError, "'y'.*one label per sample, 400 in all. Got 399 labels"),
    "fewer samples": (lambda X, y: (X[:-1], y), ShapeError, "'y'.*one label per sample, 399 in all. Got 400 labels"),
    "one class": (lambda X, y: (X, y * 0 + 7), ParameterError, r"'y'.*at least two classes. Got 1 class, \[7\]"),
}  # fmt: skip

SETTINGS = {
    "unknown model": ({"model": "transformer"}, ParameterError, "'model'.*one of 'linear'.*'mlp', 'cnn', 'resnet'.*Got 'transformer'"),
    "model of another type": ({"model": 3}, ParameterError, "'model'.*name of a built-in, a classifier .* or a callable.*Got 3"),
    "unknown law": ({"law": "gaussian"}, ParameterError, "'law'.*a noise law such as.*Got 'gaussian'"),
    "no members": ({"n_members": 0}, ParameterError, "'n_members'.*at least 1. Got 0"),
    "half a member": ({"n_members": 20.5}, ParameterError, "'n_members'.*Got 20.5"),
    "members as words": ({"n_members": "many"}, ParameterError, "'n_members'.*Got 'many'"),
    "no epochs": ({"epochs": 0}, ParameterError, "'epochs'.*at least 1. Got 0"),
    "no batch": ({"batch_size": -1}, ParameterError, "'batch_size'.*at least 1. Got -1"),
    "no step": ({"learning_rate": 0.0}, ParameterError, "'learning_rate'.*greater than 0. Got 0.0"),
    "NaN step": ({"learning_rate": math.nan}, ParameterError, "'learning_rate'.*greater than 0. Got nan"),
    "negative seed": ({"seed": -1}, ParameterError, "'seed'.*greater than or equal to 0. Got -1"),
    "seed of another type": ({"seed": 0.5}, ParameterError, "'seed'.*Got 0.5"),
    "no threads": ({"n_jobs": 0}, ParameterError, "'n_jobs'.*None, an integer from 1 to 32768, or -1.*Got 0"),
    "executor": ({"executor": object()}, ParameterError, "'executor'.*None, an executor with .*'ray' or 'joblib'. Got <object"),
    "progress": ({"progress": "yes"}, ParameterError, "'progress'.*a bool or a callable. Got 'yes'"),
    "alpha 0": ({"alpha": 0.0}, ParameterError, r"'alpha'.*\(0, 1\). Got 0"),
    "alpha 1": ({"alpha": 1}, ParameterError, r"'alpha'.*\(0, 1\). Got 1"),
    "alpha beyond": ({"alpha": 1.5}, ParameterError, r"'alpha'.*\(0, 1\). Got 1.5"),
    "alpha NaN": ({"alpha": math.nan}, ParameterError, r"'alpha'.*\(0, 1\). Got nan"),
    "alpha of another type": ({"alpha": "small"}, ParameterError, r"'alpha'.*\(0, 1\). Got 'small'"),
    "too few members": ({"alpha": 1e-9}, ParameterError, "'n_members'.*at least 34: with alpha=.*10 classes.*Got 20"),
    "absent device": ({"device": "cuda:7"}, DeviceError, "'device'.*'auto' or one of.*'cpu'.*Got 'cuda:7'"),
    "unknown device": ({"device": "tpu"}, DeviceError, "'device'.*'auto' or one of.*'cpu'.*Got 'tpu'"),
    "device object": ({"device": torch.device("meta")}, DeviceError, "'device'.*'cpu'.*Got 'meta'"),
    "subsample beyond the data": ({"law": cs.Subsample(size=401)}, ParameterError, "'size'.*number of training samples, 400. Got 401"),
    "label noise beyond the classes": ({"law": cs.LabelNoise(0.9)}, ParameterError, r"'q'.*\[0, 0.9000\) for 10 classes. Got 0.9"),
    "discrete noise on grey values": ({"law": cs.Discrete(0.9)}, ParameterError, "'X'.*codes from 0 to 1 under Discrete noise"),
    "discrete noise for the labels": ({"law": cs.Discrete(0.1, alphabet=20)}, ParameterError, "'keep'.*greater than 1/K.*Got 0.1"),
    "resnet of two samples": ({"model": "resnet", "law": cs.Subsample(size=1)}, ParameterError, "'size'.*at least 2 for the model 'resnet'"),
    "checkpoint of another type": ({"checkpoint": 5}, ParameterError, "'checkpoint'.*a path. Got 5"),
}  # fmt: skip


def refused(
    ensemble: cs.CertifiedClassifier,
    digits: Digits,
    data: tuple[Any, Any],
    change: dict[str, Any],
    kind: type[Exception],
    said: str,
) -> None:
    """`fit` refuses before anything is trained, and what was fitted before still answers."""
    told: list[int] = []
    clf = copy.deepcopy(ensemble).set_params(progress=lambda done, total: told.append(done), seed=99)
    with pytest.raises(kind, match=said) as caught:
        clf.set_params(**change).fit(*data)
    if kind is not CheckpointError:
        assert issubclass(kind, CertssbError)
        assert "must " in str(caught.value)
        assert "Got " in str(caught.value) or "Found array with 0" in str(caught.value)
    assert told == []
    clf.set_params(progress=False)
    np.testing.assert_array_equal(clf.votes(digits[2]), ensemble.votes(digits[2]))
    assert clf.n_members_ == 20


@pytest.mark.parametrize(("make", "kind", "said"), DATA.values(), ids=list(DATA))
def test_data(
    make: Any, kind: type[Exception], said: str, ensemble: cs.CertifiedClassifier, digits: Digits
) -> None:
    refused(ensemble, digits, make(digits[0], digits[1]), {}, kind, said)


@pytest.mark.parametrize(("change", "kind", "said"), SETTINGS.values(), ids=list(SETTINGS))
def test_settings(
    change: dict[str, Any], kind: type[Exception], said: str, ensemble: cs.CertifiedClassifier, digits: Digits
) -> None:
    refused(ensemble, digits, digits[:2], change, kind, said)


def test_too_few_members_is_said_before_training_with_the_number_needed(digits: Digits) -> None:
    told: list[int] = []
    clf = small(n_members=13, alpha=0.001, progress=lambda done, total: told.append(done))
    with pytest.raises(
        ParameterError, match="'n_members'.*at least 14: with alpha=0.001 and 10 classes.*Got 13"
    ):
        clf.fit(digits[0], digits[1])
    assert told == []
    clf.set_params(n_members=14).fit(digits[0], digits[1])
    assert sorted(set(told)) == list(range(1, 15))
    assert not clf.certify(digits[2]).abstained.all()


ASKED = {
    "NaN": (lambda X: with_value(X, math.nan), ParameterError, "'X'.*finite.*NaN"),
    "another size": (lambda X: X[:, :, :7], ShapeError, r"'X'.*\(1, 8, 8\), as in fit. Got samples of shape \(1, 7, 8\)"),
    "a table": (lambda X: X.reshape(100, -1), ValueError, "64|shape"),
    "one sample": (lambda X: X[0, 0, 0], ShapeError, "'X'.*2 dimensions"),
    "nothing": (lambda X: X[:0], ShapeError, "'X'.*must have samples"),
}  # fmt: skip


@pytest.mark.parametrize("ask", ["predict", "predict_proba", "certify"])
@pytest.mark.parametrize(("make", "kind", "said"), ASKED.values(), ids=list(ASKED))
def test_samples_to_ask_about(
    ask: str, make: Any, kind: type[Exception], said: str, ensemble: cs.CertifiedClassifier, digits: Digits
) -> None:
    with pytest.raises(kind, match=said):
        getattr(ensemble, ask)(make(digits[2]))


CERTIFY = {
    "alpha 0": ({"alpha": 0.0}, r"'alpha'.*\(0, 1\). Got 0"),
    "alpha 1": ({"alpha": 1.0}, r"'alpha'.*\(0, 1\). Got 1"),
    "alpha NaN": ({"alpha": math.nan}, r"'alpha'.*\(0, 1\). Got NaN"),
    "alpha of another type": ({"alpha": "0.1"}, r"'alpha'.*\(0, 1\). Got '0.1'"),
    "too small an alpha": ({"alpha": 1e-9}, "'n_members'.*at least 34: .*Got 20"),
    "unknown bound": ({"bound": "chernoff"}, "'bound'.*'clopper_pearson', 'kl', 'hoeffding', 'betting'.*Got 'chernoff'"),
    "unknown selection": ({"selection": "half"}, "'selection'.*'union', 'split'.*Got 'half'"),
    "unknown runner_up": ({"runner_up": "second"}, "'runner_up'.*'auto', 'complement', 'bound'.*Got 'second'"),
    "split of all members": ({"selection": "split", "split": 20}, "'split'.*from 1 to 19.*20 members.*Got 20"),
    "split of more members": ({"selection": "split", "split": 21}, "'split'.*from 1 to 19.*Got 21"),
    "split of none": ({"selection": "split", "split": 0}, "'split'.*from 1 to 19.*Got 0"),
    "betting with a split that moves": (
        {"bound": "betting", "selection": "split"},
        "'split'.*fixed before the first look, such as split=100.*Got None",
    ),
    "split without split": ({"split": 5}, "'split'.*None with selection='union'. Got 5"),
    "family too large": ({"family_wise": True, "bound": "hoeffding", "alpha": 1e-4}, "'n_members'.*at least.*Got 20"),
}  # fmt: skip


@pytest.mark.parametrize(("settings", "said"), CERTIFY.values(), ids=list(CERTIFY))
def test_settings_of_certify(
    settings: dict[str, Any], said: str, ensemble: cs.CertifiedClassifier, digits: Digits
) -> None:
    with pytest.raises(ParameterError, match=said):
        ensemble.certify(digits[2], **settings)


def test_budgets_that_say_nothing(ensemble: cs.CertifiedClassifier, digits: Digits) -> None:
    certs = ensemble.certify(digits[2])
    with pytest.raises(ParameterError, match="'n_poisoned'.*number of training samples, 400. Got 401"):
        certs.holds(n_poisoned=401, trigger_norm=0.1)
    with pytest.raises(ParameterError, match="'labels'.*False for Gaussian noise.*Got True"):
        certs.trigger_norm(n_poisoned=1, labels=True)


def test_a_checkpoint_of_other_settings_names_the_difference(
    tmp_path: Path, ensemble: cs.CertifiedClassifier, digits: Digits
) -> None:
    folder = tmp_path / "members"
    small(n_members=15, seed=99, checkpoint=folder).fit(digits[0], digits[1])
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    for change, said in [
        ({"epochs": 4}, "other settings or data.*epochs: 3 there, 4 here"),
        ({"learning_rate": 0.5}, "learning_rate: 0.03 there, 0.5 here"),
        ({"law": cs.Gaussian(0.5)}, "law.sigma: 0.25 there, 0.5 here"),
        ({"law": cs.Subsample(size=9)}, "law.law: 'gaussian' there, 'subsample' here"),
        ({"model": "mlp"}, "model: 'linear' there, 'mlp' here"),
        ({"seed": 98}, "seed: 99 there, 98 here"),
    ]:
        refused(ensemble, digits, digits[:2], {"checkpoint": folder, **change}, CheckpointError, said)
    changed = with_value(digits[0], 0.123)
    refused(
        ensemble, digits, (changed, digits[1]), {"checkpoint": folder}, CheckpointError, "data_digest: [0-9a-f]+... there"
    )  # fmt: skip
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_foreign_directory_is_left_alone(
    tmp_path: Path, ensemble: cs.CertifiedClassifier, digits: Digits
) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    said = "cannot be used: it has no manifest.json but holds other files, such as 'thesis.tex'"
    refused(ensemble, digits, digits[:2], {"checkpoint": tmp_path}, CheckpointError, said)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("manifest", ["", "{", "[]", '{"record": 5}', '{"created_by": "certssb"}'])
def test_a_damaged_manifest(
    manifest: str, tmp_path: Path, ensemble: cs.CertifiedClassifier, digits: Digits
) -> None:
    (tmp_path / "manifest.json").write_text(manifest)
    refused(ensemble, digits, digits[:2], {"checkpoint": tmp_path}, CheckpointError, "cannot be used")


@pytest.mark.parametrize("place", ["file", "file/members", "/proc/certssb", "/dev/null/members"])
def test_a_place_that_cannot_be_written(
    place: str, tmp_path: Path, ensemble: cs.CertifiedClassifier, digits: Digits
) -> None:
    (tmp_path / "file").write_text("not a folder")
    said = f"The checkpoint '.*{place}' cannot be used: "
    refused(ensemble, digits, digits[:2], {"checkpoint": tmp_path / place}, CheckpointError, said)


def test_a_member_of_another_checkpoint_is_refused(
    tmp_path: Path, ensemble: cs.CertifiedClassifier, digits: Digits
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    small(n_members=15, seed=99, checkpoint=here).fit(digits[0], digits[1])
    small(n_members=15, seed=98, checkpoint=there).fit(digits[0], digits[1])
    name = "member-000004.safetensors"
    (here / name).write_bytes((there / name).read_bytes())
    clf = small(n_members=15, seed=99, checkpoint=here)
    with pytest.raises(CheckpointError, match=f"{name}.*belongs to another checkpoint or member"):
        clf.fit(digits[0], digits[1])


def test_no_member_has_lost_its_manifest(tmp_path: Path, digits: Digits) -> None:
    small(n_members=15, checkpoint=tmp_path).fit(digits[0], digits[1])
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["record"]["n_train"] == 400
    (tmp_path / "manifest.json").unlink()
    with pytest.raises(CheckpointError, match="no manifest.json but holds other files, such as 'member-"):
        small(n_members=15, checkpoint=tmp_path).fit(digits[0], digits[1])
