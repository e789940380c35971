"""The benchmark runs anywhere: tiny sizes, made-up data where there are none, a result file without this machine's names."""

import importlib
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from certssb import Gaussian, _core

ROOT = Path(__file__).resolve().parents[2]
BENCH = ROOT / "benches" / "bench.py"


@pytest.fixture
def modules(monkeypatch):
    """The benchmark's modules, by name."""
    monkeypatch.syspath_prepend(str(BENCH.parent))
    return importlib.import_module


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("bench")
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, BENCH, "--quick", "--out", out]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return out, done.stdout


def test_a_run_is_kept_under_the_machines_name(run):
    out, text = run
    (file,) = out.glob("*.json")
    (one,) = json.loads(file.read_text())
    assert one["quick"] and "ratio" in text and "ours/floor" in text
    name = "".join(c if c.isalnum() else "-" for c in one["machine"].lower())
    assert file.stem.replace("-", "") == name.replace("-", "")


def test_runs_are_appended(tmp_path, modules):
    for seconds in (1.0, 2.0):
        path = modules("bench").keep(tmp_path, {"machine": "Any (R) CPU, 2 cores", "seconds": seconds})
    assert path.name == "any-r-cpu-2-cores.json"
    assert [one["seconds"] for one in json.loads(path.read_text())] == [1.0, 2.0]


def test_members_are_compared_in_time_and_accuracy(run):
    out, _ = run
    rows = json.loads(next(out.glob("*.json")).read_text())[0]["rows"]
    compared = [row for row in rows if row["reference"] is not None]
    assert [row["facts"]["model"] for row in compared] == ["cnn", "cnn", "linear", "resnet"]
    for row in compared:
        assert row["ratio"] == pytest.approx(row["reference"] / row["ours"])
        assert row["ours"] > 0 and row["floor"] > 0
        assert 0 <= row["accuracy"]["ours"] <= 1 and 0 <= row["accuracy"]["reference"] <= 1
        assert row["facts"]["epochs"] >= 1 and row["facts"]["batch size"] == 128


def test_growth_is_plotted(run):
    out, _ = run
    found = json.loads(next(out.glob("*.json")).read_text())[0]["growth"]["cpu"]
    assert set(found) == {"members", "samples", "pixels", "classes"}
    assert all(point["seconds"] > 0 for points in found.values() for point in points)
    if sys.platform == "linux":
        assert all(0 < point["memory"] < 4096 for points in found.values() for point in points)
    (plot,) = out.glob("*-growth-cpu.png")
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_nothing_in_the_growth_plot_is_cut_off(modules, tmp_path):
    sweeps = modules("growth").SWEEPS
    spread = {
        "all seconds": (0.3, 0.5, 40.0),
        "all memory": (2.0, 30.0, 900.0),
        "seconds": 0.5,
        "memory": 30.0,
    }
    found = {name: [spread | {name: value} for value in values] for name, values in sweeps.items()}
    figure = modules("growth").plot(found, tmp_path / "growth.png", "any machine")
    assert len(figure.axes) == 2 * len(sweeps)
    for axis, (low, high) in zip(figure.axes, [(0.3, 40.0)] * 4 + [(2.0, 900.0)] * 4, strict=True):
        bottom, top = axis.get_ylim()
        heights = [height for line in axis.lines for height in line.get_ydata()]
        assert bottom < min(low, *heights) and max(high, *heights) < top
        left, right = axis.get_xlim()
        assert all(left < x < right for line in axis.lines for x in line.get_xdata())
    assert [axis.get_ylabel() for axis in figure.axes[::4]] == ["time (s)", "peak memory (MiB)"]
    assert all(axis.get_xlabel() for axis in figure.axes[4:])


def test_results_name_no_host_and_no_path(run):
    out, _ = run
    for file in out.glob("*.json"):
        text = file.read_text()
        assert platform.node() not in text.replace("\n", " ").split('"')
        assert str(ROOT) not in text and str(Path.home()) not in text


def test_the_gpu_section_alone_says_when_there_is_no_gpu():
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, BENCH, "--gpu"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1 and "no GPU" in done.stdout


def test_reference_and_core_have_the_same_networks(modules):
    """Same numbers of parameters, layer by layer."""
    reference = modules("reference")
    for name, shape in [
        ("linear", (1, 9, 9)),
        ("cnn", (1, 28, 28)),
        ("cnn", (3, 9, 8)),
        ("resnet", (3, 9, 9)),
    ]:
        X = np.zeros((4, *shape), np.float32)
        settings = {"epochs": 1, "batch_size": 4, "learning_rate": 0.1, "seed": 0, "device": "cpu"}
        ensemble = _core.Ensemble(X, np.arange(4) % 2, 2, Gaussian(1.0), model=name, **settings)
        ensemble.train(X, np.arange(4) % 2, 1)
        ours = sorted(
            ensemble.parameter(0, key).size for key in ensemble.parameter_names() if "running" not in key
        )
        theirs = sorted(p.numel() for p in reference.build(name, shape, 2).parameters())
        assert ours == theirs, name


def test_the_section_about_own_modules_runs_on_any_device(modules):
    own, work = modules("own"), modules("work")
    for name, right, figures in own.checks("cpu", 100):
        assert right, f"{name}: {figures}"
    found = list(own.rows("cpu", True, work.synthetic(40, 10, (1, 28, 28))))
    assert [row.facts["model"] for row in found] == [f"own {name}" for name in own.MODULES]
    assert all(row.ours > 0 and row.reference > 0 for row in found)


def test_floors_are_counted_by_hand(modules):
    flops = modules("measure").training_flops
    assert flops("linear", (1, 10, 10)) == 2 * 2 * 100 * 2
    layers = [24 * 24 * 16 * 25, 8 * 8 * 32 * 400, 512 * 512, 512 * 2]
    assert flops("cnn", (1, 28, 28)) == 2 * (3 * sum(layers) - layers[0])
    # The published count of the 32-layer network for 32 x 32 images: 69 million multiplications.
    assert sum(modules("measure")._products("resnet", (3, 32, 32), 10)) == pytest.approx(69e6, rel=0.02)


def test_the_reference_has_one_thread_or_all_and_the_faster_counts(run, modules):
    out, _ = run
    rows = json.loads(next(out.glob("*.json")).read_text())[0]["rows"]
    for row in (row for row in rows if row["reference"] is not None):
        times = row["facts"]["reference s a member by threads"]
        # The run's environment allows torch one thread; the loop must be tried with all cores all the same.
        assert {int(n) for n in times} == {1, len(os.sched_getaffinity(0))}
        assert row["reference"] == min(times.values()) == times[str(row["facts"]["reference threads"])]


def test_threads_are_what_they_were_after_a_measurement(modules):
    torch, measure = pytest.importorskip("torch"), modules("measure")
    before = torch.get_num_threads()
    with measure.threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what others use")
def test_a_busy_machine_marks_the_row(modules, monkeypatch):
    measure = modules("measure")
    # One busy process is much of so small a machine.
    monkeypatch.setattr(modules("quiet").os, "cpu_count", lambda: 2)
    program = "print(flush=True)\nwhile True: pass"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as other:
        try:
            assert other.stdout is not None and other.stdout.readline()
            runs = [measure.run(lambda: time.sleep(0.4)) for _ in range(2)]
        finally:
            other.kill()
    row = measure.Row("work", "s", 1.0, 2.0, surroundings=measure.surroundings(runs))
    assert "others took" in row.mark and row.mark in modules("bench").cells(row)


def test_only_others_count_and_only_far_rounds(modules):
    measure, quiet = modules("measure"), modules("quiet")
    cores = os.cpu_count() or 1

    def marked(seconds, others):
        runs = [measure.Timed(one, 0.0, None, others=others and others * one) for one in seconds]
        return measure.surroundings(runs).complaints

    assert marked([1.0, 1.1, 1.2], 0.05) == marked([1.0], None) == []
    assert marked([0.05, 0.05], 2.0) == [], "too short to tell"
    assert marked([1.0, 1.1], 0.5 * cores) == [f"others took {0.5 * cores:.1f} of {cores} cores"]
    assert marked([1.0, 1.5], 0.0) == marked([1.5, 1.0], None) == ["rounds lie 50 % apart"]
    # user nice system idle iowait irq softirq steal guest: what was idle or waited does not count, what was stolen does.
    line = "cpu  100 20 30 5000 700 1 2 300 50 0\ncpu0 100 20 30 5000 700 1 2 300 50 0\n"
    assert quiet.busy_seconds(line, 100) == pytest.approx(4.53)
    assert quiet.busy_seconds("", 100) is None


def test_what_the_process_uses_itself_is_no_others(modules, monkeypatch):
    quiet = modules("quiet")

    def others(busy, own):
        monkeypatch.setattr(quiet, "_busy", iter(busy).__next__)
        monkeypatch.setattr(quiet, "_own", iter(own).__next__)
        return quiet.Beside().seconds()

    assert others([10.0, 10.9], [1.0, 1.6]) == pytest.approx(0.3)
    assert others([10.0, 10.59], [1.0, 1.6]) == 0.0
    assert others([10.0, 10.0], [1.0, 1.6]) is None, (
        "a system that counts less than this process used tells nothing"
    )
    assert others([None, None], [1.0, 1.6]) is None
