"""Run the notebooks from top to bottom and keep them with their outputs, for the site: `make notebooks`."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[2]
TIMING = re.compile(r" *\[[\d:?]+(<|&lt;)[\d:?]+, *[\d.?]+\w+/s\]")
"""What a progress bar says of this machine, which is another each time."""


def without_noise(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Leave out what differs from run to run: warnings of the environment, timings, Python's version."""
    notebook.metadata.get("language_info", {}).pop("version", None)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [out for out in cell.outputs if out.get("name") != "stderr"]
            for out in cell.outputs:
                for kind, content in out.get("data", {}).items():
                    if isinstance(content, str):
                        out.data[kind] = TIMING.sub("", content)
    return notebook


def main(names: list[str]) -> None:
    """Run those of the given names, or all."""
    # The kernel's own backend puts pictures below the cells that draw them.
    os.environ.pop("MPLBACKEND", None)
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        if names and path.stem not in names:
            continue
        notebook = nbformat.read(path, as_version=4)
        with tempfile.TemporaryDirectory() as folder:
            resources = {"metadata": {"path": folder}}
            NotebookClient(notebook, timeout=1800, record_timing=False, resources=resources).execute()
        target = ROOT / "docs" / "notebooks" / path.name
        target.parent.mkdir(exist_ok=True)
        nbformat.write(without_noise(notebook), target)
        print(target.relative_to(ROOT))


if __name__ == "__main__":
    main(sys.argv[1:])
