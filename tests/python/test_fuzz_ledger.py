"""Ledgers damaged at random: a named error, or the answers of the undamaged one; `make fuzz` goes on for longer."""

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
CASES = 10**9 if LONG else 600
FIRST = int(os.environ.get("CERTSSB_FUZZ_SEED", str(time.time_ns() % 10**9) if LONG else "0"))
# A case that says nothing for so long hangs, however busy the machine is.
PATIENCE = 60
# Cases at the least, on a machine that is too busy for them in that time: each kind of answer is among these several times.
LEAST = 60


@pytest.mark.skipif(os.name != "posix", reason="another system leaves other files behind")
def test_damaged_ledgers_are_refused_or_give_the_answers_of_the_sound_ones(tmp_path):
    program = str(Path(__file__).with_name("fuzz_ledger.py"))
    command = [sys.executable, program, str(tmp_path), str(FIRST), str(CASES)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    lines, heard = ["start"], [time.monotonic()]

    def listen():
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
    silent = time.monotonic() - heard[0]
    ended = child.poll()
    child.kill()
    child.wait()
    listener.join(10)
    child.stdout.close()
    bad = [
        " / ".join(lines[max(0, at - 2) : at + 1]) for at, line in enumerate(lines) if line.startswith("bad")
    ]
    assert not bad, "\n".join([f"{len(bad)} of {len(lines)} lines", *bad[:20]])
    assert ended is (None if LONG else 0), f"the process ended with {ended} after: {lines[-3:]}"
    assert silent < PATIENCE, f"nothing for {silent:.0f} s after: {lines[-3:]}"
    counts = Counter(line for line in lines if line.startswith("ok"))
    print(f"\n{sum(counts.values())} cases from {FIRST} on: {dict(counts)}")
    assert counts["ok same"] > 5 and counts["ok LedgerCorruptError"] > 5, counts
