"""The short suite of `make matrix`: what must work whichever Python, NumPy, scikit-learn and torch are there, or no torch."""

import contextlib
import importlib.util
import io
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import certssb as cs

README = Path(__file__).resolve().parents[2] / "README.md"
TORCH = importlib.util.find_spec("torch") is not None
EXTENSION = importlib.util.find_spec("certssb_torch") is not None
needs_torch = pytest.mark.skipif(not TORCH, reason="an environment without torch")
LAW = cs.Subsample(cs.Gaussian(sigma=0.3), size=150)


@pytest.fixture(scope="module")
def digits():
    X, y = cs.datasets.load_digits()
    return X[:600], y[:600], X[600:800], y[600:800]


def fitted(digits, model, n_jobs=None, **settings):
    settings = {
        "n_members": 12,
        "epochs": 5,
        "learning_rate": 0.01,
        "batch_size": 50,
        "alpha": 0.05,
    } | settings
    clf = cs.CertifiedClassifier(model, LAW, seed=0, progress=False, n_jobs=n_jobs, **settings)
    return clf.fit(digits[0], digits[1])


def test_the_wheel_is_what_is_tested():
    assert Path(cs.__file__).resolve().is_relative_to(Path(sys.prefix).resolve())


def test_importing_it_imports_no_torch():
    code = "import sys, certssb; print(sorted({'torch', 'matplotlib', 'pandas'} & set(sys.modules)))"
    said = subprocess.check_output([sys.executable, "-c", code], text=True).strip()
    # scikit-learn imports pandas itself where it is there.
    assert "torch" not in said and "matplotlib" not in said


@pytest.mark.parametrize("model", ["linear", "mlp", "cnn", "discriminant"])
def test_built_in_members_vote_the_same_for_any_number_of_threads(digits, model):
    one, three = (fitted(digits, model, n_jobs).votes(digits[2]) for n_jobs in (1, 3))
    assert np.array_equal(one, three)
    assert (one == digits[3]).mean() > 0.3


def test_certificates_from_fit_to_table(digits, tmp_path):
    clf = fitted(digits, "discriminant", n_members=200)
    table = clf.certify(digits[2])
    none, one = (table.certified_accuracy(digits[3], n_poisoned=n, trigger_norm=np.inf) for n in (0, 1))
    assert 0.3 < one <= none <= clf.score(digits[2], digits[3])
    clf.save(tmp_path / "saved")
    again = cs.CertifiedClassifier.load(tmp_path / "saved")
    assert np.array_equal(again.votes(digits[2]), clf.votes(digits[2]))


def test_votes_of_others_nearest_neighbours_and_the_ledger(digits, tmp_path):
    votes = np.zeros((1000, 3), dtype=int)
    votes[:600, 1] = 1
    table = cs.certify_votes(votes, cs.Gaussian(0.5), n_train=100, n_classes=2)
    assert table.radius[0] > table.radius[1] > 0 and list(table.prediction) == [0, 1, 0]
    knn = cs.CertifiedKNN(sigma=1.0).fit(digits[0], digits[1])
    assert (knn.certify(digits[2]).radius > 0).any()
    with cs.Ledger(tmp_path / "regions.ledger") as ledger:
        first = ledger.update(np.zeros(4, np.float32), 1, 0.5)
        ledger.update(np.ones(4, np.float32), 0, 5.0)
        claim = ledger.query(np.full(4, 0.1, np.float32))
        assert first.radius == 0.5 and claim is not None and claim.prediction == 1
        assert ledger.verify().updates == 2


@needs_torch
def test_the_readmes_script_of_a_module_of_ones_own(tmp_path, monkeypatch):
    blocks = re.findall(r"^```python\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)
    (script,) = [
        block for block in blocks if "class Net(nn.Module)" in block and "CertifiedClassifier" in block
    ]
    monkeypatch.chdir(tmp_path)
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(compile(script, str(README), "exec"), {"__name__": "readme"})  # noqa: S102 - our own README
    score, *_, same = said.getvalue().strip().splitlines()
    assert float(score) > 0.85 and same.startswith("True Linear(")


@needs_torch
def test_modules_of_ones_own_vote_the_same_for_any_number_of_threads(digits):
    from torch import nn

    def model():
        return nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
            nn.Dropout(0.1), nn.Linear(128, 10),
        )  # fmt: skip

    one, three = (fitted(digits, model, n_jobs, n_members=8, epochs=10).votes(digits[2]) for n_jobs in (1, 3))
    assert np.array_equal(one, three)
    assert (one == digits[3]).mean() > 0.3


@pytest.mark.skipif(TORCH, reason="an environment with torch")
@pytest.mark.parametrize(
    ("settings", "named"), [({"model": "resnet"}, "torch"), ({"device": "cuda"}, "'device'")]
)
def test_what_needs_torch_says_so(digits, settings, named):
    with pytest.raises(cs.exceptions.CertssbError, match=named):
        fitted(digits, **({"model": "cnn"} | settings))


@pytest.mark.skipif(not EXTENSION, reason="an environment without the torch extension")
def test_what_needs_the_extension_is_there_with_it(digits):
    residual = fitted(digits, "resnet", n_members=8, epochs=1)
    assert residual.votes(digits[2][:20]).shape == (8, 20)
    one, stacked = fitted(digits, "cnn"), fitted(digits, "cnn", stack=4)
    assert stacked.execution_ != one.execution_
    assert (one.votes(digits[2]) == stacked.votes(digits[2])).mean() > 0.99


def test_estimators_of_scikit_learn_vote_the_same_for_any_number_of_threads(digits):
    from sklearn.ensemble import RandomForestClassifier

    forest = RandomForestClassifier(10, max_depth=6)
    one, three = (fitted(digits, forest, n_jobs).votes(digits[2]) for n_jobs in (1, 3))
    assert np.array_equal(one, three)
    assert (one == digits[3]).mean() > 0.3
