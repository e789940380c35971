"""certssb against the literature's loop, on this machine, in one run of less than ten minutes.

    python benches/bench.py            # CPU, then GPU if there is one; or `make bench`
    python benches/bench.py --quick    # tiny sizes, seconds: whether everything runs
    python benches/bench.py --gpu      # the GPU section alone

Needs an installed certssb, torch, NumPy and Matplotlib; no Rust. Prints a table and adds the run to
results/<machine>.json beside it, with a plot of growth. A ratio is the reference's time over ours, both measured in
turn in this run, the reference with one thread and with all, of which the faster counts; a floor is the time that the operations of the products, or the bytes moved, take at the speed
measured on this machine. MNIST and CIFAR-10 are read from ../shared/data beside the repository; without them, images
of the same number and shape are made up. A row during which other processes took cores, or whose rounds lie far apart, is
marked as not quiet, in the table and in the file.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import torch
from growth import growth, plot
from measure import Row, machine

import certssb as cs

RESULTS = Path(__file__).resolve().parent / "results"
COLUMNS = (
    "work", "unit", "reference", "ours", "ratio", "floor", "ours/floor", "accuracy", "memory MB", "not quiet",
)  # fmt: skip


def cells(row: Row) -> tuple[str, ...]:
    def number(value: float | None) -> str:
        return "" if value is None else f"{value:.3g}"

    def pair(values: dict[str, float], digits: str) -> str:
        shown = [format(values[side], digits) for side in ("reference", "ours") if side in values]
        return " / ".join(shown)

    share = None if row.floor is None else row.ours / row.floor
    return (
        row.work, row.unit, number(row.reference), number(row.ours), number(row.ratio), number(row.floor),
        number(share), pair(row.accuracy, ".4f"), pair(row.memory, ".0f"), row.mark,
    )  # fmt: skip


def show(rows: Iterable[Row]) -> None:
    table = [COLUMNS, *map(cells, rows)]
    widths = [max(len(line[i]) for line in table) for i in range(len(COLUMNS))]
    for line in table:
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip(),
            flush=True,
        )


def keep(folder: Path, run: dict[str, object]) -> Path:
    """Append a run to the machine's file."""
    name = re.sub(r"[^A-Za-z0-9]+", "-", str(run["machine"])).strip("-").lower()
    path = folder / f"{name}.json"
    runs = json.loads(path.read_text()) if path.exists() else []
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([*runs, run], indent=1) + "\n")
    return path


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="tiny sizes: whether everything runs")
    parser.add_argument("--gpu", action="store_true", help="the GPU section alone")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    options = parser.parse_args(arguments)
    started = time.monotonic()
    rows: list[Row] = []
    checks: list[tuple[str, bool, str]] = []
    grown: dict[str, object] = {}
    name = machine()
    print(f"{name}, torch {torch.__version__}, certssb {cs.__version__}", flush=True)
    if not options.gpu:
        from work import cpu_rows

        for row in cpu_rows(options.quick):
            rows.append(row)
            ratio = "" if row.ratio is None else f", reference {row.reference:.3g}, ratio {row.ratio:.3g}"
            print(
                f"[{time.monotonic() - started:5.0f} s] {row.work}: {row.ours:.3g} {row.unit}{ratio}"
                + (f"; NOT QUIET: {row.mark}" if row.mark else ""),
                flush=True,
            )
        grown["cpu"] = growth(options.quick)
    if torch.cuda.is_available():
        from gpu import section

        found, checks = section(options.quick)
        rows += found
        grown["cuda"] = growth(options.quick, "cuda:0")
        for what, right, figures in checks:
            print(f"{'right' if right else 'WRONG'}: {what}: {figures}", flush=True)
    elif options.gpu:
        print("There is no GPU on this machine.")
        return 1
    show(rows)
    marked = [row.work for row in rows if row.mark]
    if marked:
        print(
            f"{len(marked)} of {len(rows)} rows were measured while the machine was not quiet: their times and ratios "
            "say little, here and in the file."
        )
    run = {
        "machine": name, "date": time.strftime("%Y-%m-%d"), "python": platform.python_version(),
        "torch": torch.__version__, "certssb": cs.__version__, "quick": options.quick,
        "seconds": round(time.monotonic() - started, 1),
        "rows": [asdict(row) | {"ratio": row.ratio, "mark": row.mark} for row in rows],
        "checks": [{"check": what, "right": bool(right), "figures": figures} for what, right, figures in checks],
        "growth": grown,
    }  # fmt: skip
    path = keep(options.out, run)
    for device, points in grown.items():
        plot(points, path.with_name(f"{path.stem}-growth-{device}.png"), f"{name}, {device}")
    print(f"{run['seconds']} s; kept in {path.name}")
    return 0 if all(right for _, right, _ in checks) else 1


if __name__ == "__main__":
    raise SystemExit(main())
