"""A module is the same model if it is built alike and does the same, wherever its source lies; else it is another one."""

import json
import os
import pickle
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Digits
from test_own_model import Attention, Body, Plain, Recurrent, Tied, own
from torch import nn
from torch.nn import functional as F

import certssb as cs
from certssb.learners.torch.blueprint import Blueprint

Make = Callable[[], nn.Module]

SCRIPT = """
import sys
import numpy as np
import torch
from torch import nn
import certssb as cs

{above}
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.drop, self.fc = nn.Dropout(0.2), nn.Linear(384, 10)

    def forward(self, x):
        x = torch.relu(self.norm(self.conv(x)))
        return self.fc(self.drop(x).flatten(1)) * {factor}

X, y = cs.datasets.load_digits()
if __name__ == "__main__":
    if sys.argv[1] == "save":
        clf = cs.CertifiedClassifier(Net, n_members=6, epochs=1, alpha=0.4, seed=0, progress=False)
        clf.fit(X[:100], y[:100]).save(sys.argv[2])
        np.save(sys.argv[2] + ".npy", clf.votes(X[100:150]))
    elif sys.argv[1] == "load":
        clf = cs.CertifiedClassifier.load(sys.argv[2], model=Net)
        assert (clf.votes(X[100:150]) == np.load(sys.argv[2] + ".npy")).mean() > 0.99
        clf.set_params(progress=False).fit(X[:100], y[:100])
        assert clf.execution_ == "nothing was left to train"
    else:
        import multiprocessing
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            pool.apply(again, (sys.argv[2],))
"""

SPAWNED = """
def again(folder):
    # Here the class is one of __mp_main__.
    assert Net.__module__ == "__mp_main__"
    clf = cs.CertifiedClassifier(Net, n_members=6, epochs=1, alpha=0.4, seed=0, progress=False, checkpoint=folder)
    clf.fit(X[:100], y[:100])
    assert clf.execution_ == "nothing was left to train"
"""


def run(
    folder: Path, name: str, text: str, *arguments: str, **environment: str
) -> "subprocess.CompletedProcess[str]":
    script = folder / name
    script.write_text(text)
    command = [sys.executable, str(script), *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | environment, timeout=300
    )


def test_a_class_in_a_script_is_the_same_model_in_another_process(tmp_path: Path) -> None:
    """From another file, with other lines above it, in a spawned process, and on another processor."""
    saved = str(tmp_path / "saved")
    same = SCRIPT.format(above="", factor="1.0")
    assert run(tmp_path, "one.py", same, "save", saved).stderr == ""
    elsewhere = SCRIPT.format(above="# A comment.\n\nNUMBER = 3\n", factor="1.0")
    assert run(tmp_path, "two.py", elsewhere, "load", saved).stderr == ""
    spawning = SCRIPT.format(above=SPAWNED, factor="1.0")
    assert run(tmp_path, "three.py", spawning, "spawn", saved).stderr == ""
    older = {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_CBWR": "COMPATIBLE"}
    assert run(tmp_path, "four.py", same, "load", saved, OMP_NUM_THREADS="3", **older).stderr == ""
    other = SCRIPT.format(above="", factor="1.001")
    assert "computes something else" in run(tmp_path, "five.py", other, "load", saved).stderr


CELL = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(64, 10)

    def forward(self, x):
        return self.fc({what})
"""


def cell(what: str) -> Any:
    """The class of a notebook's cell that was run just now."""
    names: dict[str, Any] = {"nn": nn, "torch": torch, "__name__": "__main__"}
    exec(textwrap.dedent(CELL.format(what=what)), names)  # noqa: S102
    return names["Net"]


def test_a_cell_that_is_run_again_defines_the_same_model(digits: Digits, tmp_path: Path) -> None:
    X, y = digits[:2]
    folder = tmp_path / "members"
    clf = own(cell("x.flatten(1)"), seed=0, checkpoint=folder).fit(X, y)
    again = own(cell("x.flatten(start_dim=1)"), seed=0, checkpoint=folder).fit(X, y)
    assert again.execution_ == "nothing was left to train"
    clf.set_params(model=cell("x.flatten(1)"), checkpoint=None, n_members=7).fit(X, y)
    with pytest.raises(cs.CheckpointError, match="built alike but computes something else"):
        own(cell("x.flatten(1) + 0.001"), seed=0, checkpoint=folder).fit(X, y)


def test_a_pickle_knows_what_its_module_did(digits: Digits, monkeypatch: pytest.MonkeyPatch) -> None:
    data = pickle.dumps(own(Body, seed=0).fit(digits[0], digits[1]))
    assert pickle.loads(data).n_members_ == 6
    monkeypatch.setattr(Body, "forward", lambda self, x: self.fc(x.flatten(1)) * 1.001)
    with pytest.raises(cs.ParameterError, match="built like it but computes something else"):
        pickle.loads(data)


class Base(nn.Module):
    """What the variants below change."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.norm, self.b = nn.Linear(64, 32), nn.BatchNorm1d(32), nn.Linear(32, 10)
        self.register_buffer("shift", torch.full((32,), 0.1))
        self.steps = 0

    def activation(self, h: torch.Tensor) -> torch.Tensor:
        return F.gelu(h)

    def forward(self, x: torch.Tensor) -> Any:
        h = self.activation(self.norm(self.a(x.flatten(1))) + self.shift)
        return self.b(F.dropout(h, 0.3, self.training))


def variant(**methods: Any) -> Make:
    return type("Base", (Base,), methods)


def rate(p: float) -> Callable[[Any, torch.Tensor], Any]:
    def forward(self: Any, x: torch.Tensor) -> Any:
        h = self.activation(self.norm(self.a(x.flatten(1))) + self.shift)
        return self.b(F.dropout(h, p, self.training))

    return forward


def init(change: Callable[[Any], None]) -> Callable[[Any], None]:
    def __init__(self: Any) -> None:
        Base.__init__(self)
        with torch.no_grad():
            change(self)

    return __init__


OTHERS: dict[str, Make] = {
    "activation": variant(activation=lambda self, h: F.silu(h)),
    "approximation": variant(activation=lambda self, h: F.gelu(h, approximate="tanh")),
    "relu": variant(activation=lambda self, h: F.relu(h)),
    "dropout": variant(forward=rate(0.31)),
    "no dropout": variant(forward=rate(0.0)),
    "constant": variant(activation=lambda self, h: F.gelu(h) * 1.001),
    "buffer": variant(__init__=init(lambda self: self.shift.fill_(0.1005))),
    "initial weights": variant(__init__=init(lambda self: self.a.weight.mul_(1.01))),
    "initial bias": variant(__init__=init(lambda self: self.b.bias.zero_())),
    "epsilon": variant(__init__=init(lambda self: setattr(self.norm, "eps", 1e-3))),
    "momentum": variant(__init__=init(lambda self: setattr(self.norm, "momentum", 0.11))),
    "attribute": variant(__init__=init(lambda self: setattr(self, "steps", 1))),
    "order": variant(
        forward=lambda self, x: self.b(
            F.dropout(self.norm(self.activation(self.a(x.flatten(1)) + self.shift)), 0.3, self.training)
        )
    ),
    "training only": variant(forward=lambda self, x: rate(0.3)(self, x + 0.001 if self.training else x)),
    "voting only": variant(forward=lambda self, x: rate(0.3)(self, x if self.training else x + 0.001)),
    "gradient only": variant(
        activation=lambda self, h: F.gelu(h).detach() + 1.001 * (F.gelu(h) - F.gelu(h).detach())
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_differs_is_another_model(digits: Digits, tmp_path: Path, name: str) -> None:
    X, y = digits[0][:60], digits[1][:60]
    own(Base, epochs=1, seed=0, checkpoint=tmp_path / "members").fit(X, y)
    own(variant(), epochs=1, seed=0, checkpoint=tmp_path / "members").fit(X, y)
    with pytest.raises(cs.CheckpointError, match="model"):
        own(OTHERS[name], epochs=1, seed=0, checkpoint=tmp_path / "members").fit(X, y)
    clf = own(Base, epochs=1, seed=0).fit(X, y)
    other = own(OTHERS[name], epochs=1, seed=0).fit(X, y)
    assert not clf._ensemble.adopt(other._ensemble)


@pytest.mark.parametrize("model", [Plain, Attention, Recurrent, Tied, Base])
def test_rounding_makes_no_other_model(model: Make, tmp_path: Path) -> None:
    """The behaviour with the oldest instructions, in a process of its own, is that of this one."""
    here = Blueprint(model, (1, 8, 8), 10).behaviour
    text = f"""
        import json, sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from certssb.learners.torch.blueprint import Blueprint
        from {model.__module__} import {model.__name__} as Net
        print(json.dumps(Blueprint(Net, (1, 8, 8), 10).behaviour))
    """
    older = {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_CBWR": "COMPATIBLE"}
    done = run(tmp_path, "old.py", textwrap.dedent(text), **older)
    there = json.loads(done.stdout)
    assert len(here) == len(there)
    for a, b in zip(here, there, strict=True):
        assert np.linalg.norm(np.subtract(a, b)) <= 1e-5 * max(np.linalg.norm(a), np.linalg.norm(b)), (
            "a tenth of the tolerance"
        )
