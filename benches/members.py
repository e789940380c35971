"""Memory over the number of members: in memory, on disk, and where only votes are kept.

    python benches/members.py MNIST_ROOT [--disk 2000] [--votes 100 5000] [--test 10000]

Each row is a process of its own. The peak is that of resident memory (VmHWM), less what was resident when the data were there
and nothing was trained.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time

ROW = """
import json, sys, time
import certssb as cs
from certssb.laws import Gaussian, Subsample

root, model, members, n_members, n_test, folder = sys.argv[1:7]
X, y, X_test, y_test = cs.datasets.load_mnist(root)
X_test, y_test = X_test[: int(n_test)], y_test[: int(n_test)]


def status(name):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(name)) / 1024


clf = cs.CertifiedClassifier(model, Subsample(Gaussian(0.25), size=64), n_members=int(n_members), epochs=1, seed=0,
                             learning_rate=3e-3, progress=False, members=members, alpha=0.05,
                             checkpoint=folder if members == "disk" else None)
# What was touched by reading is no part of the work.
open("/proc/self/clear_refs", "w").write("5")
before, start = status("VmRSS"), time.perf_counter()
clf.fit(X, y, **({"vote_on": X_test} if members == "votes" else {}))
fitted = time.perf_counter() - start
certs = clf.certify(X_test)
whole = time.perf_counter() - start
values = clf._ensemble.values(0).nbytes / 2**20 if members != "votes" else None
accuracy = float((certs.prediction == y_test).mean())
print(json.dumps({"before": before, "peak": status("VmHWM") - before, "fit": fitted, "all": whole, "member": values,
                  "accuracy": accuracy}))
"""


def row(root: str, model: str, members: str, n_members: int, n_test: int) -> dict[str, float]:
    """One process: its figures, in MB and seconds."""
    folder = tempfile.mkdtemp()
    try:
        command = [sys.executable, "-c", ROW, root, model, members, str(n_members), str(n_test), folder]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    made: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return made


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("root")
    parser.add_argument("--model", default="cnn")
    parser.add_argument("--memory", type=int, nargs="*", default=[])
    parser.add_argument("--disk", type=int, nargs="*", default=[100, 2000])
    parser.add_argument("--votes", type=int, nargs="*", default=[100, 5000])
    parser.add_argument("--test", type=int, default=10_000)
    parser.add_argument("--voted", type=int, default=1000, help="test images of the rows with votes only")
    options = parser.parse_args()
    print(
        "| members | model | number | test images | peak beyond the data, MB | fit, s | fit and certify, s |"
    )
    print("|---|---|---|---|---|---|---|")
    for members in ("memory", "disk", "votes"):
        n_test = options.voted if members == "votes" else options.test
        for n_members in getattr(options, members):
            start = time.strftime("%H:%M")
            found = row(options.root, options.model, members, n_members, n_test)
            print(
                f"| {members} | {options.model} | {n_members} | {n_test} | {found['peak']:.0f} | {found['fit']:.0f} "
                f"| {found['all']:.0f} |",
                flush=True,
            )
            print(start, found, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
