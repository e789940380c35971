"""The count of instructions: what is off is told, and what cannot be compared is not."""

import importlib.util
import json
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def counts():
    spec = importlib.util.spec_from_file_location("instructions", ROOT / "benches" / "instructions.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("now", "failed", "told"),
    [
        ({"radii": 1029, "noise": 971}, 0, "+2.90 %"),
        ({"radii": 1031, "noise": 1000}, 1, "+3.10 % **off**"),
        ({"radii": 960, "noise": 1000}, 1, "-4.00 % **off**"),
        ({"radii": 1000}, 1, "--renew"),
        ({"radii": 1000, "noise": 1000, "more": 5}, 1, "| more | - | 5 | new **off** |"),
    ],
)
def test_what_is_off_by_more_than_is_allowed_is_told(counts, capsys, now, failed, told):
    assert counts.compared({"radii": 1000, "noise": 1000}, now) == failed
    assert told in capsys.readouterr().out


def test_another_compiler_and_no_valgrind_are_told_and_no_failure(counts, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["instructions.py"])
    monkeypatch.setattr(counts.shutil, "which", lambda _: "/somewhere/valgrind")
    monkeypatch.setattr(counts, "surroundings", lambda: {"rustc": "9.9", "vectors": "other"})
    monkeypatch.setattr(counts, "built", lambda: pytest.fail("compiled for nothing"))
    assert counts.main() == 0 and "not compared" in capsys.readouterr().out
    monkeypatch.setattr(counts.shutil, "which", lambda _: None)
    assert counts.main() == 0 and "valgrind is not here" in capsys.readouterr().out


def test_the_baseline_is_of_the_work_that_there_is(counts):
    source = (ROOT / "benches" / "instructions.rs").read_text()
    names = re.findall(r'^    \("([\w ]+)",', source, re.MULTILINE)
    baseline = json.loads(counts.BASELINE.read_text())
    assert set(baseline["counts"]) == set(names) - {"nothing"} and len(names) == 10
    assert all(count > 10**6 for count in baseline["counts"].values())
    assert set(baseline["surroundings"]) == set(counts.surroundings())


def test_a_failing_build_is_an_error(counts, monkeypatch):
    ended = subprocess.CompletedProcess([], 101, "", "error: no such thing")
    monkeypatch.setattr(counts.subprocess, "run", lambda *_, **__: ended)
    with pytest.raises(SystemExit, match="no such thing"):
        counts.built()
