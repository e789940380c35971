"""Counts instructions of kernels and statistics under valgrind, and compares them with a committed baseline: `make instructions`.

    python benches/instructions.py            # compares; fails where a count is off by more than 3 %
    python benches/instructions.py --renew    # writes the baseline anew, after a change that was meant

Counts do not depend on what else the machine does, which is why this is the only check of speed in CI. They do depend on the
compiler and on the vectors of the processor that valgrind shows, so that a baseline of another compiler or another width is
told, and not compared. Needs the standard library only; without valgrind it says so and is content.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BASELINE = ROOT / "benches" / "results" / "instructions.json"
ALLOWED = 0.03


def built() -> str:
    """Compile the bench, and say where it lies."""
    command = ["cargo", "bench", "--no-default-features", "--bench", "instructions", "--no-run"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    found = re.search(r"Executable .*\((.+)\)", done.stderr)
    if done.returncode != 0 or found is None:
        sys.exit(done.stderr)
    return str(ROOT / found[1])


def count(bench: str, name: str) -> int:
    """Instructions of one piece of work, start and end included."""
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", bench, name]
    environment = os.environ | {"RAYON_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    found = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode != 0 or found is None:
        sys.exit(f"valgrind could not run {name!r}:\n{done.stderr}")
    return int(found[1])


def surroundings() -> dict[str, str]:
    """What counts depend on beside the code."""
    told = subprocess.check_output(["rustc", "--version"], text=True, cwd=ROOT).split()[1]
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    return {"rustc": told, "vectors": "avx2" if re.search(r"\bavx2\b", flags) and "fma" in flags else "other"}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--renew", action="store_true", help="write the baseline instead of comparing with it"
    )
    renew = parser.parse_args().renew
    if shutil.which("valgrind") is None:
        print("valgrind is not here: instructions are not counted.")
        return 0
    before = None if renew else json.loads(BASELINE.read_text())
    here = surroundings()
    if before is not None and here != before["surroundings"]:
        print(f"The baseline is of {before['surroundings']}, this is {here}: not compared.")
        return 0
    bench = built()
    names = subprocess.check_output([bench], text=True).splitlines()
    empty = count(bench, "nothing")
    counts = {name: count(bench, name) - empty for name in names if name != "nothing"}
    if before is None:
        BASELINE.write_text(json.dumps({"surroundings": here, "counts": counts}, indent=2) + "\n")
        print(f"Written: {BASELINE.relative_to(ROOT)}")
        return 0
    return compared(before["counts"], counts)


def compared(before: dict[str, int], counts: dict[str, int]) -> int:
    """A table, and whether anything is off by more than is allowed."""
    print("| work | baseline | now | |\n| --- | --- | --- | --- |")
    failed = set(before) != set(counts)
    for name, now in counts.items():
        was = before.get(name)
        change = None if was is None else now / was - 1
        off = change is None or abs(change) > ALLOWED
        failed |= off
        told = "new" if change is None else f"{100 * change:+.2f} %"
        print(
            f"| {name} | {'-' if was is None else f'{was:,}'} | {now:,} | {told}{' **off**' if off else ''} |"
        )
    if failed:
        print(
            f"\nMore than {100 * ALLOWED:g} % off, or other work. Meant? python benches/instructions.py --renew"
        )
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())
