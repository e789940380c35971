"""Memory of a fit and of certificates: writes the section "Data" of `results/scale.md`.

``python benches/memory.py`` trains on 50,000 photos in bytes, on a sparse file of 20 GB that is mapped, and certifies test sets of
10,000 to 1,000,000 samples that come in blocks. Each is a process of its own, whose memory is looked at every 10 ms.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scale import machine, table, write

import certssb as cs

if TYPE_CHECKING:
    from typing_extensions import Self

MIB = 2**20
PHOTO = (3, 32, 32)


class Watch:
    """The largest memory of this process while it is entered: its own, and pages of files."""

    def __enter__(self) -> Self:
        self.begun, self.peak, self._end = _resident(), (0, 0, 0), threading.Event()
        self.started = time.perf_counter()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()
        return self

    def _look(self) -> None:
        while not self._end.wait(0.01):
            self.peak = tuple(map(max, self.peak, _resident()))  # type: ignore[assignment]

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()
        self.seconds = time.perf_counter() - self.started

    def found(self, **more: Any) -> dict[str, Any]:
        """MiB before, own and of files and together at the peak, beyond what was there; seconds."""
        names = ("own", "files", "together")
        beyond = {name: (p - b) / MIB for name, p, b in zip(names, self.peak, self.begun, strict=True)}
        return {"before": self.begun[2] / MIB, **beyond, "seconds": self.seconds, **more}


def _resident() -> tuple[int, int, int]:
    found = {}
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name in ("RssAnon", "RssFile", "RssShmem"):
            found[name] = 1024 * int(value.split()[0])
    own, files = found["RssAnon"], found["RssFile"] + found["RssShmem"]
    return own, files, own + files


def _warm() -> None:
    """Load what is loaded at the first fit."""
    X = np.zeros((40, *PHOTO), dtype=np.uint8)
    X[::2] = 9
    _classifier(20).fit(X, np.arange(40) % 2).certify(X[:2])


def _classifier(n_members: int, size: int = 20) -> cs.CertifiedClassifier:
    return cs.CertifiedClassifier(
        "linear", cs.Subsample(size=size), n_members=n_members, epochs=2, alpha=0.1, seed=0, progress=False
    )


def photos() -> dict[str, Any]:
    """50,000 photos in bytes."""
    _warm()
    X = np.random.default_rng(0).integers(0, 256, (50_000, *PHOTO), dtype=np.uint8)
    y = np.arange(len(X)) % 10
    with Watch() as watch:
        _classifier(200, 100).fit(X, y)
    return watch.found(given=X.nbytes / MIB)


def mapped(gigabytes: float) -> dict[str, Any]:
    """A sparse file, mapped."""
    _warm()
    n = int(gigabytes * 1e9) // int(np.prod(PHOTO))
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
        path = Path(folder, "photos")
        with path.open("wb") as file:
            file.truncate(n * int(np.prod(PHOTO)))
        X = np.memmap(path, dtype=np.uint8, mode="r", shape=(n, *PHOTO))
        y = np.zeros(n, dtype=np.int64)
        y[::2] = 1
        with Watch() as watch:
            clf = _classifier(200, 100).fit(X, y)
            clf.certify(X[:100])
    return watch.found(given=n * int(np.prod(PHOTO)) / MIB, labels=y.nbytes / MIB)


def blocks(n: int) -> dict[str, Any]:
    """Test samples that a generator makes, a thousand at a time."""
    _warm()
    rng = np.random.default_rng(0)
    X = rng.integers(0, 256, (2000, *PHOTO), dtype=np.uint8)
    clf = _classifier(100).fit(X, np.arange(2000) % 10)
    with Watch() as watch:
        tables = clf.certify_blocks(X[:1000] for _ in range(n // 1000))
        certified = sum(len(table) for table in tables)
    assert certified == n
    return watch.found(given=n * 4 * int(np.prod(PHOTO)) / MIB)


def _alone(*command: str) -> dict[str, Any]:
    done = subprocess.run([sys.executable, __file__, *command], capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(command, {name: round(value, 1) for name, value in found.items()}, flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "what", nargs="?", choices=["photos", "mapped", "blocks"], help="one of them, as JSON"
    )
    parser.add_argument("size", nargs="?", type=float, default=0.0)
    parser.add_argument("--mapped", type=float, default=20.0, help="gigabytes of the mapped file")
    options = parser.parse_args()
    if options.what:
        told = {
            "photos": photos,
            "mapped": lambda: mapped(options.size),
            "blocks": lambda: blocks(int(options.size)),
        }[options.what]()
        print(json.dumps(told))
        return
    size = options.mapped
    asked = {"50,000 photos in bytes, `fit` under `Subsample(size=100)`": ("photos",)}
    asked[f"{size:g} GB in a mapped sparse file, `fit` and `certify` the same"] = ("mapped", str(size))
    for n in (10_000, 100_000, 1_000_000):
        asked[f"`certify_blocks` of {n:,} photos, 100 members"] = ("blocks", str(n))
    rows = []
    for name, command in asked.items():
        found = _alone(*command)
        numbers = [f"{found[part]:,.0f}" for part in ("given", "own", "files", "together")]
        rows.append([name, *numbers, f"{found['seconds']:.0f}"])
    header = [
        "what",
        "MB of the data",
        "peak beyond the libraries: own MB",
        "pages of files",
        "together",
        "s",
    ]
    words = (
        "`python benches/memory.py`: `linear` members, each line a process of its own; MB are MiB of memory beyond what Python, the "
        "libraries and the given array take, looked at every 10 ms. Data of blocks are counted as floats, which a whole array "
        f"would be; of a mapped file its bytes. {machine()}."
    )
    write("Data", [words, "", *table(header, rows)])


if __name__ == "__main__":
    main()
