"""A missing or wrong torch is one clear sentence."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import certssb


def imported_beside(torch: str, folder: Path) -> str:
    """What importing certssb says when `torch` is the text of the module torch."""
    (folder / "torch.py").write_text(torch)
    home = str(Path(certssb.__file__).resolve().parents[1])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), home])}
    done = subprocess.run(
        [sys.executable, "-c", "import certssb"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stderr
    return done.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize("version", ["2.10.0", "2.12.1+cu130", "1.11.0", "2.1.1"])
def test_another_release_of_torch_is_named(version: str, tmp_path: Path) -> None:
    said = imported_beside(f"__version__ = {version!r}", tmp_path)
    assert said == (
        f"ImportError: PyTorch {version} is installed, which this build cannot load. "
        "certssb needs PyTorch 2.11: pip install 'torch==2.11.*'"
    )


def test_a_missing_torch_is_said(tmp_path: Path) -> None:
    said = imported_beside("""raise ModuleNotFoundError("No module named 'torch'")""", tmp_path)
    assert said == (
        "ImportError: PyTorch cannot be imported (No module named 'torch'). "
        "certssb needs PyTorch 2.11: pip install 'torch==2.11.*'"
    )


def test_a_torch_that_does_not_load_is_said(tmp_path: Path) -> None:
    said = imported_beside("raise ImportError('libcudart.so.13: cannot open shared object file')", tmp_path)
    assert "PyTorch cannot be imported (libcudart.so.13: cannot open shared object file)." in said


def test_the_package_tells_its_version_and_names() -> None:
    assert certssb.__version__.count(".") == 2
    for name in certssb.__all__:
        assert getattr(certssb, name) is not None
