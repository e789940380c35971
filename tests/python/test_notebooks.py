"""Every notebook runs from top to bottom, in short, and is kept without outputs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

SHORT = {"n_members": 40}
"""What takes the place of values set in a cell with the tag "parameters"."""

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))


def test_there_are_notebooks():
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CERTSSB_SHORT", "1")
    names: dict[str, object] = {"__name__": "__main__"}
    for number, cell in enumerate(json.loads(path.read_text())["cells"]):
        if cell["cell_type"] == "code":
            assert not cell["outputs"] and cell["execution_count"] is None, f"cell {number} has outputs"
            source = cell["source"] if isinstance(cell["source"], str) else "".join(cell["source"])
            exec(compile(source, f"{path.name}, cell {number}", "exec"), names)  # noqa: S102 - our own notebooks
            if "parameters" in cell["metadata"].get("tags", ()):
                names |= {name: value for name, value in SHORT.items() if name in names}
