"""Checkpoints, saved ensembles, tables and runs damaged at random; `make fuzz` goes on for longer."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

LONG = "CERTSSB_FUZZ_SECONDS" in os.environ
SECONDS = float(os.environ.get("CERTSSB_FUZZ_SECONDS", "0"))
# Without so many seconds the same cases in every run, however fast the machine is.
CASES = 10**9 if LONG else 150
FIRST = int(os.environ.get("CERTSSB_FUZZ_SEED", str(time.time_ns() % 10**9) if LONG else "0"))
# A case that says nothing for so long hangs, however busy the machine is.
PATIENCE = 60
# Cases at the least, on a machine that is too busy for them in that time: each kind of answer is among these several times.
LEAST = 60


@pytest.mark.skipif(os.name != "posix", reason="limits are POSIX's")
def test_damaged_files_are_refused_or_give_what_was_written(tmp_path: Path) -> None:
    program = str(Path(__file__).with_name("fuzz_files.py"))
    with open(tmp_path / "errors", "w") as errors:
        child = subprocess.Popen(
            [sys.executable, program, str(tmp_path), str(FIRST), str(CASES)],
            stdout=subprocess.PIPE, stderr=errors, text=True,
        )  # fmt: skip
    assert child.stdout is not None
    lines, heard = ["start"], [time.monotonic()]

    def listen() -> None:
        assert child.stdout is not None
        for line in child.stdout:
            lines.append(line.strip())
            heard[0] = time.monotonic()

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    while not any(line.startswith("case") for line in lines) and child.poll() is None:
        time.sleep(0.05)
    end = time.monotonic() + SECONDS
    while child.poll() is None and time.monotonic() - heard[0] < PATIENCE:
        if LONG and time.monotonic() > end and sum(line.startswith("case") for line in lines) > LEAST:
            break
        time.sleep(0.05)
    silent, ended = time.monotonic() - heard[0], child.poll()
    child.kill()
    child.wait()
    listener.join(10)
    child.stdout.close()
    told = (tmp_path / "errors").read_text()[-2000:]
    bad = [
        " / ".join(lines[max(0, at - 2) : at + 1]) for at, line in enumerate(lines) if line.startswith("bad")
    ]
    assert not bad, "\n".join([f"{len(bad)} of {len(lines) // 3} cases", *bad[:40]])
    assert ended is (None if LONG else 0), f"the process ended with {ended} after: {lines[-3:]}\n{told}"
    assert silent < PATIENCE, f"nothing for {silent:.0f} s after: {lines[-3:]}"
    counts = Counter(line for line in lines if line.startswith("ok"))
    print(f"\n{sum(counts.values())} cases from {FIRST} on: {dict(counts)}")
    assert min(counts["ok same"], counts["ok CheckpointError"], counts["ok ParameterError"]) > 5, counts
