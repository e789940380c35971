"""Ctrl-C ends every long call within two seconds, wherever it is, and what it was asked of still answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import interrupts
import pytest

MOST = 2.0
"""Seconds within which Ctrl-C ends a call."""

IN_SHORT = [
    "counting",
    "betting on votes",
    "kl of scores",
    "cascade",
    "clopper_pearson_lower",
    "one betting_lower",
    "certified_accuracy",
    "radius",
    "nearest predict_proba",
    "votes",
    "augment",
]
"""One job for each place that looks; all of them where there is time (`make long`)."""


def test_ctrl_c_ends_every_long_call() -> None:
    if sys.platform == "win32":
        pytest.skip("signals are sent through a shell")
    everything = "CERTSSB_LONG" in os.environ
    command = [sys.executable, interrupts.__file__, "1.0" if everything else "0.2"]
    names = list(interrupts.JOBS) if everything else IN_SHORT
    # A process of its own, since a shell that runs the tests in the background may have switched SIGINT off.
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    done = subprocess.run(
        command + names, env=environment, capture_output=True, text=True, timeout=1200, check=False
    )
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [job["name"] for job in found] == names
    for job in found:
        assert job["long"] > 2 * MOST, f"too short to be interrupted: {job}"
        assert job["kind"] == "KeyboardInterrupt" and job["late"] < MOST and job["same"], job
