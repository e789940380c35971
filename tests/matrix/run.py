"""Builds an environment for each row of a table, installs the wheel and runs tests in it: `make matrix`, `make torchless`.

    python tests/matrix/run.py dist/certssb-*.whl                  # the short suite beside this file in every row with a Python of its own
    python tests/matrix/run.py --only none dist/certssb-*.whl      # rows whose name begins so
    python tests/matrix/run.py --only none-here dist/certssb-*.whl -- tests/python/test_bounds.py
    python tests/matrix/run.py --only torch-2.11 --beside dist/certssb_torch-*.whl dist/certssb-*.whl

A source distribution may stand for a wheel, which is then built from it first, by the Python that runs this: that of the core by
what it names itself alone, that of the torch extension beside the torch that is there.

Needs the standard library only. Interpreters are looked for on the PATH, among those of pyenv and those of uv, which may
fetch them; a row whose interpreter is nowhere to be had is told and left out. An environment stays for the next time until
its requirements change. torch on Linux brings CUDA's libraries, gigabytes a row, unless pip is told of an index of builds
without them (PIP_INDEX_URL, PIP_EXTRA_INDEX_URL).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]

# The oldest that pyproject.toml allows.
OLDEST = ("numpy==1.26.*", "scikit-learn==1.6.*")
NEWEST = ("numpy", "scikit-learn")
# What the torch extension is built for.
EXTENDED = "torch==2.11.*"


@dataclass(frozen=True)
class Row:
    """An environment: its name, its Python (None: the one that runs this) and what is in it beside the wheel."""

    name: str
    python: str | None
    packages: tuple[str, ...]

    @property
    def torch(self) -> bool:
        return any(package.startswith("torch") for package in self.packages)


ROWS = (
    # What the wheel brings itself.
    Row("empty-oldest", "3.10", ()),
    Row("empty-newest", "3.13", ()),
    Row("none-oldest", "3.10", OLDEST),
    Row("none-newest", "3.13", NEWEST),
    Row("bare-here", None, NEWEST),
    Row("none-here", None, (*NEWEST, "pandas", "matplotlib")),
    Row("torch-oldest", "3.10", (*OLDEST, "torch==2.4.*")),
    Row("torch-2.11", "3.13", (*NEWEST, EXTENDED)),
    Row("torch-newest", "3.13", (*NEWEST, "torch")),
)
# What the short suite tells of an environment.
TELL = """
import json, platform
from importlib.metadata import PackageNotFoundError, version
def of(name):
    try:
        return version(name)
    except PackageNotFoundError:
        return None
print(json.dumps({"python": platform.python_version()} | {n: of(n) for n in ("numpy", "scikit-learn", "torch")}))
"""


def interpreters(version: str) -> Iterator[Path]:
    """Where a Python of this version may lie; the last one may have to be fetched."""
    if sys.version_info[:2] == tuple(map(int, version.split("."))):
        yield Path(sys.executable)
    if found := shutil.which(f"python{version}"):
        yield Path(found)
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    yield from sorted(pyenv.glob(f"versions/{version}.*/bin/python"), reverse=True)
    if uv := shutil.which("uv"):
        subprocess.run([uv, "python", "install", "--quiet", version], check=False)
        found = subprocess.run([uv, "python", "find", version], capture_output=True, text=True, check=False)
        if found.returncode == 0:
            yield Path(found.stdout.strip())


def interpreter(version: str | None) -> Path | None:
    """One that starts, and is of this version: what lies on the PATH may be a mere pointer."""
    if version is None:
        return Path(sys.executable)
    ask = "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2])"
    for path in interpreters(version):
        said = subprocess.run([path, "-c", ask], capture_output=True, text=True, check=False)
        if said.returncode == 0 and said.stdout.strip() == version:
            return path
    return None


def environment(row: Row, folder: Path, python: Path, wheels: list[Path]) -> Path:
    """The environment's Python, with the row's packages and these wheels; what they need themselves comes with them."""
    inside = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    stamp = folder / ".packages.json"
    wanted = json.dumps([str(python), *row.packages])
    pip = [inside, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if not stamp.exists() or stamp.read_text() != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([python, "-m", "venv", folder], check=True)
        # Nothing is kept of gigabytes that are unpacked at once.
        subprocess.run([*pip, "--no-cache-dir", "pytest>=8", *row.packages], check=True)
        stamp.write_text(wanted)
    subprocess.run([*pip, "--no-cache-dir", *wheels, *row.packages], check=True)
    subprocess.run([*pip, "--no-deps", "--force-reinstall", *wheels], check=True)
    return inside


def built(given: Path, folder: Path) -> Path:
    """The wheel itself, or what pip builds from a source distribution; tells its size, and how long that took."""
    wheel, started = given, time.monotonic()
    if given.suffix != ".whl":
        shutil.rmtree(folder, ignore_errors=True)
        pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps"]
        # torch is no build requirement of the extension: it is built for the one that is there.
        beside = ["--no-build-isolation"] if "torch" in given.name else []
        subprocess.run([*pip, *beside, "--wheel-dir", folder, given], check=True)
        (wheel,) = folder.glob("*.whl")
    taken = f", built in {time.monotonic() - started:.0f} s from {size(given)}" if wheel != given else ""
    print(f"== {wheel.name}: {size(wheel)}{taken}", flush=True)
    return wheel


def size(path: Path) -> str:
    return f"{path.stat().st_size / 1e6:.1f} MB"


def run(
    row: Row, folder: Path, wheels: list[Path], arguments: list[str], where_possible: bool
) -> dict[str, str] | str:
    """Versions, outcome and seconds of a row; or why it is not run."""
    python = interpreter(row.python)
    if python is None:
        return f"no Python {row.python} here"
    try:
        inside = environment(row, folder / row.name, python, wheels)
    except subprocess.CalledProcessError:
        if not where_possible:
            raise
        return f"no {', '.join(row.packages) or 'dependencies'} to be had"
    told: dict[str, str] = json.loads(subprocess.check_output([inside, "-c", TELL], text=True))
    if not row.torch and told["torch"] is not None:
        return told | {"outcome": f"FAILED: torch {told['torch']} came with the wheel", "seconds": ""}
    started = time.monotonic()
    # From outside the checkout, so that the wheel is what is imported.
    command = [
        inside,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        f"--rootdir={ROOT}",
        "-c",
        ROOT / "pyproject.toml",
    ]
    if row.torch:
        # What other releases of others make each other warn of is none of ours.
        command += ["-W", "default"]
    done = subprocess.run([*command, *arguments], cwd=folder, check=False)
    outcome = "passed" if done.returncode == 0 else f"FAILED (pytest's exit status {done.returncode})"
    return told | {"outcome": outcome, "seconds": f"{time.monotonic() - started:.0f}"}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("wheel", type=Path, help="the core's wheel, or its source distribution")
    parser.add_argument("--beside", type=Path, help="the torch extension's, for rows with its torch")
    parser.add_argument(
        "--only", action="append", help="rows whose name begins so; may be given several times"
    )
    parser.add_argument(
        "--folder", type=Path, default=ROOT / ".venv" / "matrix", help="where environments lie"
    )
    parser.add_argument(
        "--where-possible", action="store_true", help="leave rows out whose packages cannot be had"
    )
    parser.add_argument("tests", nargs="*", help="what pytest is given, instead of the short suite")
    options = parser.parse_args()
    wanted = tuple(options.only or [row.name for row in ROWS if row.python])
    rows = [row for row in ROWS if row.name.startswith(wanted)]
    tests = [str((ROOT / test).resolve()) for test in options.tests] or [str(HERE)]
    options.folder.mkdir(parents=True, exist_ok=True)
    folder = options.folder.resolve()
    core = built(options.wheel.resolve(), folder / "built")
    extension = options.beside and built(options.beside.resolve(), folder / "built-extension")
    lines = ["| environment | Python | NumPy | scikit-learn | torch | outcome | s |", "| --- " * 7 + "|"]
    failed, ran = False, False
    for row in rows:
        print(f"== {row.name}: Python {row.python or 'of this one'}, {', '.join(row.packages)}", flush=True)
        wheels = [core, extension] if extension and EXTENDED in row.packages else [core]
        found = run(row, folder, wheels, tests, options.where_possible)
        if isinstance(found, str):
            lines.append(f"| {row.name} | {found} | | | | not run | |")
            continue
        ran, failed = True, failed or found["outcome"] != "passed"
        cells = [found[key] or "none" for key in ("python", "numpy", "scikit-learn", "torch", "outcome")]
        lines.append(f"| {row.name} | {' | '.join(cells)} | {found['seconds']} |")
    print("\n".join(lines))
    return 1 if failed or not ran else 0


if __name__ == "__main__":
    raise SystemExit(main())
