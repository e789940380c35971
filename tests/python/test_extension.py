"""The torch extension: found at run time; its absence, another torch or another version of it is one sentence."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from conftest import Digits, needs_extension, small

import certssb as cs
from certssb.learners import _extension

HOME = str(Path(cs.__file__).resolve().parents[1])
ABSENT = "The torch extension of certssb is not installed: pip install certssb-torch."

ASKED = """
import certssb as cs
from certssb.learners import _extension
if DRIVER is not None:
    _extension._has_driver = lambda: DRIVER
X, y = cs.datasets.load_digits()
settings = dict(n_members=8, epochs=1, seed=0, progress=False, alpha=0.4)

def said(model, **asked):
    law = cs.Subsample(size=20)
    try:
        return cs.CertifiedClassifier(model, law, **settings, **asked).fit(X[:60], y[:60]).execution_
    except cs.CertssbError as error:
        return f"{type(error).__name__}: {error}"

print(_extension.absence())
print(said("linear", n_jobs=1))
print(said("linear", n_jobs=1, device="cpu"))
print(said("linear", device="cuda"))
print(said("linear", stack=3))
print(said("resnet"))
"""


def beside(folder: Path, program: str = ASKED, before: str = "", driver: bool | None = True) -> list[str]:
    """What a program says where `folder` comes first among the places of modules, with or without a GPU's driver."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), HOME])}
    done = subprocess.run(
        [sys.executable, "-c", f"DRIVER = {driver}\n" + textwrap.dedent(before) + textwrap.dedent(program)],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()


def check_said(said: list[str], why: str) -> None:
    """The sentence stands in each place where the extension is missed, and nowhere else."""
    absence, auto, cpu, cuda, stack, resnet = said
    assert absence == why
    assert auto == f"one by one, 1 thread of the CPU; no GPU: {why}"
    assert cpu == "one by one, 1 thread of the CPU"
    assert cuda == (
        "DeviceError: The 'device' parameter must be 'auto' or one of the devices of this machine: 'cpu'. "
        f"Got 'cuda' instead. {why}"
    )
    assert stack == f"DeviceError: The model 'linear' in stacks of 3 needs the torch extension. {why}"
    assert resnet == f"DeviceError: The model 'resnet' needs the torch extension. {why}"


def test_absence_is_one_sentence(tmp_path: Path) -> None:
    before = """
    import sys
    class Missing:
        def find_spec(self, name, path=None, target=None):
            return None
    import importlib.util
    known = importlib.util.find_spec
    importlib.util.find_spec = lambda name, package=None: None if name == "certssb_torch" else known(name, package)
    """
    check_said(beside(tmp_path, before=before), ABSENT)


def test_an_extension_of_another_version_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "certssb_torch.py").write_text('__version__ = "0.0.9"')
    check_said(
        beside(tmp_path),
        f"The torch extension is of certssb 0.0.9, and this is certssb {cs.__version__}: "
        f"pip install certssb-torch=={cs.__version__}.",
    )


def test_an_extension_that_does_not_load_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "certssb_torch.py").write_text("raise ImportError('libcudart.so.13: cannot open')")
    check_said(
        beside(tmp_path), "The torch extension of certssb cannot be loaded (libcudart.so.13: cannot open)."
    )


@needs_extension
@pytest.mark.parametrize("version", ["2.10.0", "2.12.1+cu130", "1.11.0", "2.1.1"])
def test_another_release_of_torch_is_one_sentence(version: str, tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text(f"__version__ = {version!r}")
    said = beside(tmp_path, "from certssb.learners import _extension\nprint(_extension.absence())")
    why = f"The torch extension of certssb was built for PyTorch 2.11, and PyTorch {version} is installed"
    assert said == [f"{why}: pip install 'torch==2.11.*'."]


@needs_extension
def test_a_torch_that_does_not_load_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('libcudart.so.13: cannot open shared object file')")
    said = beside(tmp_path, "from certssb.learners import _extension\nprint(_extension.absence())")
    why = "cannot be imported (libcudart.so.13: cannot open shared object file)"
    wanted = "The torch extension of certssb needs PyTorch 2.11"
    assert said == [f"{wanted}, which {why}: pip install 'torch==2.11.*'."]


@pytest.mark.parametrize(("device", "driver"), [("cpu", True), ("auto", False)])
def test_who_needs_no_gpu_loads_nothing_of_torch(device: str, driver: bool, tmp_path: Path) -> None:
    """Half a gigabyte of memory: neither for the CPU by its name, nor where the system has no driver of a GPU."""
    program = ASKED.partition("print(_extension")[0]
    program += (
        f"import sys\nprint(said('linear', device={device!r}, n_jobs=1))\n"
        "print(*sorted({'torch', 'certssb_torch'} & set(sys.modules)))"
    )
    assert beside(tmp_path, program, driver=driver) == ["one by one, 1 thread of the CPU"]


@needs_extension
def test_a_gpu_is_looked_for_where_there_is_a_driver_or_torch_already(tmp_path: Path) -> None:
    program = ASKED.partition("print(_extension")[0]
    program += "import sys\nsaid('linear')\nprint('certssb_torch' in sys.modules)"
    assert beside(tmp_path, program) == ["True"]
    assert beside(tmp_path, program, "import torch\n", driver=False) == ["True"]


def mirrored(batch: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A callable of the user's: its randomness comes from the core, whoever computes the member."""
    return np.where(rng.random((len(batch), 1, 1, 1)) < 0.5, batch[..., ::-1], batch).astype(batch.dtype)


SETTINGS = {
    "plain": {},
    "subsample": {"law": cs.Subsample(cs.Gaussian(0.2), size=50)},
    "labels": {"law": cs.Gaussian(0.2) & cs.LabelNoise(0.1)},
    "own noise": {"law": cs.SampleSpecific(0.3)},
    "published": {"law": cs.SampleSpecific(0.3, guarantee="published")},
    "shifted": {"augment": cs.augment.Shift(1)},
    "a callable's": {"augment": mirrored},
}


@needs_extension
@pytest.mark.parametrize("model", ["linear", "cnn", "discriminant"])
@pytest.mark.parametrize("name", SETTINGS)
def test_members_of_the_extension_are_those_of_the_kernels(model: str, name: str, digits: Digits) -> None:
    """Up to rounding: whatever crosses between the two (settings, noise, seeds, augmentation) arrives."""
    X, y, T = digits[0][:200].reshape(-1, 1, 8, 8), digits[1][:200], digits[2].reshape(-1, 1, 8, 8)
    settings = {
        "epochs": 2,
        "n_members": 7,
        "alpha": 0.4,
        "seed": 5,
        "device": "cpu",
        "n_jobs": 2,
    } | SETTINGS[name]
    own, theirs = (small(model, **settings, stack=stack).fit(X, y) for stack in (None, 3))
    a, b = own.scores(T), theirs.scores(T)
    # In the mean: where a gradient is next to nothing, Adam follows its sign, which rounding decides.
    assert np.abs(a - b).mean() < 1e-4 and not np.array_equal(a, b)
    assert (own.votes(T) == theirs.votes(T)).mean() > 0.99
    if name in ("own noise", "published"):
        assert np.allclose(own.noise_magnitudes(T), theirs.noise_magnitudes(T), rtol=1e-2)
        assert len(np.unique(own.noise_magnitudes(T).round(5))) > 3


@needs_extension
def test_errors_come_back_as_what_they_are(digits: Digits) -> None:
    # What is tried before training has no noise.
    def broken(batch: np.ndarray) -> np.ndarray:
        if batch.min() < -0.1:
            raise ValueError("no such picture")
        return batch

    def wide(batch: np.ndarray) -> np.ndarray:
        return np.concatenate([batch, batch]) if batch.min() < -0.1 else batch

    X, y = digits[0][:60].reshape(-1, 1, 8, 8), digits[1][:60]
    for augment, kind, pattern in [
        (broken, cs.TrainingError, r"member \d+ failed.*'augment' raised ValueError: no such picture"),
        (wide, cs.ParameterError, "'augment'.*shape"),
    ]:
        with pytest.raises(kind, match=pattern) as raised:
            small("linear", augment=augment, stack=4, n_members=8, alpha=0.4).fit(X, y)
        assert raised.value.__class__ is kind
        if kind is cs.TrainingError:
            assert getattr(raised.value, "member", None) in range(8)


@needs_extension
def test_members_that_diverge_are_counted(digits: Digits) -> None:
    X = digits[0][:60].copy()
    with pytest.raises(cs.TrainingError, match="became infinite or NaN"):
        small("linear", learning_rate=1e38, stack=4, n_members=8, alpha=0.4).fit(X, digits[1][:60])


@needs_extension
def test_the_extension_is_of_this_version() -> None:
    assert _extension.absence() is None
    assert _extension.found().__version__ == cs.__version__
    assert re.fullmatch(r"\d+", str(_extension.found().n_gpus()))
