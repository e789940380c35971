"""The documentation as a whole: pages are in the navigation, code is run or says that it is not, pictures are drawn."""

from __future__ import annotations

import json
import re
import textwrap
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from test_docs import DOCS, PAGES
from test_readme import BLOCK, README

import certssb as cs

ROOT = DOCS.parent

# Languages of blocks that are run or parsed (test_docs.py), and of those that nobody runs.
RUN, SHOWN = {"python", "pycon", "sh"}, {"text", "toml", "yaml", "json"}

PLOT = re.compile(r"^\.\. plot::\n((?:   :[^\n]*\n)*)\n((?:   [^\n]*\n|\n)+)", re.MULTILINE)


def pages() -> set[str]:
    """All sources of pages, without their endings."""
    found = [path for ending in ("*.md", "*.rst", "*.ipynb") for path in DOCS.rglob(ending)]
    return {path.relative_to(DOCS).with_suffix("").as_posix() for path in found}


def test_every_page_is_in_the_navigation_once() -> None:
    trees = re.findall(
        r"^:::\{toctree\}\n(.*?)^:::$", (DOCS / "index.md").read_text(), re.MULTILINE | re.DOTALL
    )
    listed = [line for tree in trees for line in tree.splitlines() if line and not line.startswith(":")]
    assert sorted(listed) == sorted(pages() - {"index"})


@pytest.mark.parametrize("path", [*PAGES, README], ids=lambda path: path.stem)
def test_every_block_is_run_or_says_that_it_is_not(path: Path) -> None:
    text = path.read_text()
    found = list(BLOCK.finditer(text))
    fences = re.findall(r"^```(?!\{)\w*$", text, re.MULTILINE)
    directives = len(re.findall(r"^```\{", text, re.MULTILINE))
    assert len(fences) == 2 * len(found) + directives, "a block is indented, or is not closed"
    for block in found:
        assert block["code"].strip(), "an empty block"
        assert block["language"] in RUN | SHOWN, block["language"]
        mark = (block["mark"] or "").strip()
        if block["language"] in {"python", "pycon"}:
            assert mark in {"", "not run"} or mark.startswith(("file ", "needs ")), mark


def gallery() -> list[str]:
    blocks = PLOT.findall((DOCS / "gallery.rst").read_text())
    return [textwrap.dedent(code) for _, code in blocks]


def test_pictures_of_the_gallery_are_drawn_by_their_code() -> None:
    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    names: dict[str, Any] = {"__name__": "gallery"}
    assert len(gallery()) >= 7
    for code in gallery():
        plt.close("all")
        exec(compile(code, "gallery.rst", "exec"), names)  # noqa: S102 - our own pages
        outer = [ax for number in plt.get_fignums() for ax in plt.figure(number).axes]
        drawn = [*outer, *(inner for ax in outer for inner in ax.child_axes)]
        assert any(ax.has_data() for ax in drawn), code
    plt.close("all")


def test_the_gallery_shows_every_display() -> None:
    shown = (DOCS / "gallery.rst").read_text() + "".join(gallery())
    # Two are drawn by what they belong to.
    by_others = {"RecommendationDisplay": "recommend(", "InfluenceDisplay": ".influence("}
    displays = [name for name in cs.__all__ if name.endswith("Display")]
    assert len(displays) >= 6
    assert [name for name in displays if by_others.get(name, name) not in shown] == []


def cells(path: Path) -> list[tuple[str, str]]:
    found = json.loads(path.read_text())["cells"]
    return [(cell["cell_type"], "".join(cell["source"])) for cell in found]


def test_notebooks_of_the_site_are_the_notebooks_with_what_they_print() -> None:
    sources = sorted((ROOT / "notebooks").glob("*.ipynb"))
    rendered = sorted((DOCS / "notebooks").glob("*.ipynb"))
    assert [path.name for path in sources] == [path.name for path in rendered]
    for source, copy in zip(sources, rendered, strict=True):
        assert cells(source) == cells(copy), f"make notebooks ({source.name})"
        outputs = [out for cell in json.loads(copy.read_text())["cells"] for out in cell.get("outputs", ())]
        assert outputs and not [out for out in outputs if out["output_type"] == "error"]
        if ".plot(" in source.read_text():
            assert any("image/png" in out.get("data", ()) for out in outputs), source.name
        assert "member/s" not in copy.read_text(), f"make notebooks leaves out timings ({copy.name})"


def test_guarantees_in_kept_notebooks_are_those_that_are_printed_today() -> None:
    votes = np.ones((1000, 1), dtype=int)
    laws = (cs.Gaussian(0.5), cs.Subsample(cs.Gaussian(0.5), size=20))
    today = {claim(cs.certify_votes(votes, law, n_train=100, n_classes=2).guarantee) for law in laws}
    for path in sorted((DOCS / "notebooks").glob("*.ipynb")):
        outputs = [out for cell in json.loads(path.read_text())["cells"] for out in cell.get("outputs", ())]
        plain = [
            "".join(out.get("text", "")) + "".join(out.get("data", {}).get("text/plain", ""))
            for out in outputs
        ]
        kept = {claim(text) for text in plain if "the prediction stays the same" in text}
        assert kept and kept <= today, f"make notebooks ({path.name}): {kept - today}"


def claim(guarantee: str) -> str:
    """The part of a guarantee that says what may have been changed."""
    return guarantee.partition("the prediction stays the same")[2].partition(", under ")[0]


def test_methods_say_what_they_prove_and_what_not_and_whom_to_cite() -> None:
    found = [path for path in PAGES if path.parent.name == "methods" and path.stem != "index"]
    assert len(found) == 7
    for path in found:
        text = path.read_text()
        for part in (
            "**What is proved.**",
            "**What is not.**",
            "## Figures",
            "## Cite",
            "https://arxiv.org/abs/",
        ):
            assert part in text, (path.stem, part)
        assert re.search(r"^\| .* \|$", text, re.MULTILINE) or path.stem == "finite-aggregation"
        cited = set(re.findall(r"arxiv.org/abs/(\d+\.\d+)", text))
        assert cited & set(re.findall(r"arxiv.org/abs/(\d+\.\d+)", (ROOT / "CITATION.cff").read_text()))


def test_guarantees_have_a_formula_in_type() -> None:
    """What was set as code, with Phi^-1 in it, is a formula."""
    for path in PAGES:
        if path.parent.name == "guarantees" and path.stem not in ("index", "trusted"):
            assert re.search(r"\$\$|\$[^$\n]+\$", path.read_text()), path.stem
            assert not re.search(r"^    .*Phi\^-1", path.read_text(), re.MULTILINE), path.stem


def test_guarantees_have_a_number_worked_by_hand() -> None:
    for path in PAGES:
        if path.parent.name == "guarantees" and path.stem != "index":
            assert "**A worked number.**" in path.read_text(), path.stem
