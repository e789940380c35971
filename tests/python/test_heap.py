"""Memory that training frees is kept for its next step, also where the environment has switched that off."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from certssb.learners import _heap

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="thresholds of glibc")

_STEPS = """
import resource
import numpy as np
from certssb.learners import _heap

def faults(steps=200):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(steps):
        np.empty(1 << 20, dtype=np.uint8).fill(1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

found = [faults()]
with _heap.kept():
    faults(2)
    with _heap.kept():
        found.append(faults())
    found.append(faults())
found.append(faults())
print(*found)
"""

_FIT = """
import resource
import numpy as np
import certssb as cs

X = np.random.default_rng(0).random((400, 1, 28, 28), dtype=np.float32)
clf = cs.CertifiedClassifier(model="cnn", law=cs.Gaussian(1.0), n_members=5, epochs=2, n_jobs=1, device="cpu", alpha=0.9, seed=0, progress=False)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
clf.fit(X, np.arange(400) % 2).votes(X)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def run(program: str, **environment: str) -> list[int]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    done = subprocess.run(
        [sys.executable, "-c", program], env=plain | environment, capture_output=True, text=True, check=True
    )
    return [int(number) for number in done.stdout.split()]


@pytest.mark.parametrize(
    "environment",
    [{"MALLOC_TRIM_THRESHOLD_": "65536"}, {"GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=65536"}],
    ids=["of Dask's workers", "a tunable"],
)
def test_blocks_are_not_mapped_anew_meanwhile_and_are_again_afterwards(environment: dict[str, str]) -> None:
    before, inner, outer, after = run(_STEPS, **environment)
    assert before > 200 * 200  # 256 pages each
    assert inner < before / 20
    assert outer < before / 20
    assert after > 200 * 200


def test_the_environment_of_dasks_workers_costs_a_fit_nothing() -> None:
    (plain,) = run(_FIT)
    (of_dask,) = run(_FIT, MALLOC_TRIM_THRESHOLD_="65536")
    assert of_dask < 1.5 * plain


def test_a_threshold_below_zero_is_given_back_as_never() -> None:
    asked = {"MALLOC_TRIM_THRESHOLD_": "-1"}
    assert _heap._bytes_of(asked, "MALLOC_TRIM_THRESHOLD_") == 2**31 - 1
    assert _heap._bytes_of({"MALLOC_TRIM_THRESHOLD_": "many"}, "MALLOC_TRIM_THRESHOLD_") == 128 << 10
