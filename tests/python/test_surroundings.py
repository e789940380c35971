"""Odd surroundings: no streams, strict floating point, another encoding, warnings as errors, read-only homes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

JOB = """
import pathlib
import sys
import numpy as np
import certssb as cs
from certssb.cli import main
X, y, X_test, y_test = cs.datasets.load_digits(split=True)
law = cs.Subsample(cs.Gaussian(0.25), size=100)
clf = cs.CertifiedClassifier("linear", law, n_members=40, epochs=2, learning_rate=0.05, seed=0)
certs = clf.fit(X, y).certify(X_test[:20])
certs.trigger_norm(n_poisoned=3), certs.n_poisoned(trigger_norm=0.1), certs.to_frame(n_poisoned=3)
repr(certs), certs._repr_html_(), repr(certs.show(n_poisoned=3, trigger_norm=np.inf, labels=True))
for display in (
    cs.CertifiedAccuracyDisplay.from_certificates(certs, y_test[:20], n_poisoned=3),
    cs.CertifiedAccuracyDisplay.from_certificates(certs, y_test[:20], trigger_norm=0.1),
    cs.FrontierDisplay.from_certificates(certs),
    cs.PredictionGridDisplay.from_certificates(certs, X_test[:20], y_test[:20]),
):
    display.plot().figure_.savefig(f"{type(display).__name__}.png")
knn = cs.CertifiedKNN(sigma=1.0).fit(X[:100], y[:100]).certify(X_test[:5])
folder = "ausgabe-\\u00e4" if sys.getfilesystemencoding() == "utf-8" else "ausgabe"
assert main(["run", "--trigger", "one-pixel", "--members", "1000", "--seed", "0", "--out", folder]) == 0
assert main(["report", folder]) == 0
assert main(["plan", "--n-train", "100", "--n-poisoned", "5", "--norm", "1", "--sigma", "1"]) == 0
assert main(["report", "fehlt-\\u00e4"]) == 2
pathlib.Path("done").touch()
"""

SURROUNDINGS: dict[str, tuple[str, list[str], dict[str, str]]] = {
    "floating-point errors are raised": ("import numpy as np; np.seterr(all='raise')", [], {}),
    "no error stream": ("import sys; sys.stderr = None", [], {}),
    "a closed error stream": ("import sys; sys.stderr.close()", [], {}),
    "no streams, as in pythonw": ("import sys; sys.stderr = sys.stdout = sys.__stderr__ = sys.__stdout__ = None", [], {}),
    "an encoding without accents": ("", [], {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}),
    "without asserts": ("", ["-O"], {}),
    "warnings are errors": ("", ["-W", "error"], {}),
    "no terminal, no columns, no home": ("", [], {"TERM": "dumb", "HOME": "/proc/nowhere", "MPLCONFIGDIR": "/proc/nowhere"}),
    "a small recursion limit": ("import sys; sys.setrecursionlimit(400)", [], {}),
    "a backend of pictures": ("import matplotlib; matplotlib.use('svg')", [], {}),
}  # fmt: skip


@pytest.mark.parametrize("name", SURROUNDINGS)
def test_fit_certify_displays_and_commands_work_in(name: str, tmp_path: Path) -> None:
    before, flags, variables = SURROUNDINGS[name]
    environment = {key: value for key, value in os.environ.items() if key != "COLUMNS"} | {
        "MPLBACKEND": "agg"
    }
    first = "import certssb, pandas, matplotlib.pyplot, sklearn.datasets\n" if "recursion" in name else ""
    done = subprocess.run(
        [sys.executable, *flags, "-c", f"{first}{before}\n{JOB}"], cwd=tmp_path, env=environment | variables,
        capture_output=True, timeout=1800, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode(errors="replace")[-3000:]
    assert (tmp_path / "done").exists()
    assert b"Traceback" not in done.stderr


def test_in_a_thread_that_is_not_the_main_one(tmp_path: Path) -> None:
    code = f"import threading\nt = threading.Thread(target=exec, args=({JOB!r}, {{}}))\nt.start(); t.join()"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=os.environ | {"MPLBACKEND": "agg"},
        capture_output=True, timeout=1800, check=False,
    )  # fmt: skip
    assert (tmp_path / "done").exists(), done.stderr.decode(errors="replace")[-3000:]


def test_a_reader_that_goes_away_is_no_traceback() -> None:
    done = subprocess.run(
        f"{sys.executable} -m certssb run --help | head -1", shell=True, capture_output=True, timeout=1800, check=False,
    )  # fmt: skip
    assert b"Traceback" not in done.stderr and b"Exception" not in done.stderr, done.stderr


def test_refused_words_without_an_error_stream_are_status_2() -> None:
    code = "import sys; sys.stderr = None\nfrom certssb.cli import main\nmain(['run', '--members', 'many'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=1800, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (2, b"", b"")
