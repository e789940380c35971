"""The examples of the README are run as they stand there.

Python blocks run in order, in one namespace and an empty folder. A block under the line ``<!-- not run -->`` is left out. Commands are parsed, so that no option of theirs is made up.
"""

import contextlib
import io
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread

from certssb.cli import _parser, main

README = Path(__file__).resolve().parents[2] / "README.md"

BLOCK = re.compile(
    r"^(?:<!--(?P<mark>[^\n]*)-->\n)?```(?P<language>\w*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL
)


def blocks(language: str, path: Path = README) -> list[tuple[int, str, str]]:
    """Line, mark and code of each block of a language."""
    text = path.read_text()
    return [
        (text.count("\n", 0, block.start("code")) + 1, (block["mark"] or "").strip(), block["code"])
        for block in BLOCK.finditer(text)
        if block["language"] == language
    ]


def test_python_examples_run_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    examples = [block for block in blocks("python") if block[1] != "not run"]
    assert examples
    namespace: dict[str, Any] = {"__name__": "readme"}
    for line, _, code in examples:
        # Line numbers of the README in tracebacks.
        exec(compile("\n" * (line - 1) + code, str(README), "exec"), namespace)  # noqa: S102 - our own README


def test_the_ten_lines_print_what_stands_below_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (shown,) = [code for _, mark, code in blocks("text") if mark == "output of the ten lines"]
    with contextlib.redirect_stdout(io.StringIO()) as said:
        exec(blocks("python")[0][2], {"__name__": "readme"})  # noqa: S102 - our own README
    (share, *sentence), (own_share, *own_sentence) = shown.split(), said.getvalue().split()
    assert sentence == own_sentence
    # On another machine rounding moves a few votes.
    assert abs(float(share) - float(own_share)) <= 0.02


def commands(code: str) -> list[list[str]]:
    """Arguments of the ``certssb`` commands in shell code."""
    lines = code.replace("\\\n", " ").splitlines()
    words = [shlex.split(line, comments=True) for line in lines]
    return [command[1:] for command in words if command[:1] == ["certssb"]]


def test_every_command_has_options_that_exist() -> None:
    inline = re.findall(r"`(certssb [^`]+)`", README.read_text())
    found = [command for code in inline for command in commands(code.replace("\n", " "))]
    found += [command for _, _, code in blocks("sh") for command in commands(code)]
    assert found
    for command in found:
        assert _parser().parse_args(command).command


NUMBER = re.compile(r"\d+(?:\.\d+)?")


@pytest.fixture(scope="module")
def main_job(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """What the command behind ``make run`` writes, word for word as it stands in the Makefile."""
    makefile = (README.parent / "Makefile").read_text()
    recipe = re.search(r"^run: \$\(CORE\)\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    assert recipe
    words = shlex.split(recipe[1].replace("\\\n", " "))
    assert words[0] == "$(BIN)/certssb" and words[-2:] == ["--out", "runs/digits"]
    folder = tmp_path_factory.mktemp("digits")
    with contextlib.redirect_stdout(io.StringIO()) as said:
        assert main([*words[1:-1], str(folder), "--quiet"]) == 0
    return said.getvalue(), folder


def test_figures_are_those_of_the_main_job(main_job: tuple[str, Path]) -> None:
    (shown,) = [code for _, mark, code in blocks("text") if mark == "output of `make run`"]
    said = main_job[0].splitlines()
    for line in filter(None, shown.splitlines()):
        words = NUMBER.sub("#", line)
        (own,) = [other for other in said if NUMBER.sub("#", other) == words]
        figures = zip(NUMBER.findall(line), NUMBER.findall(own), strict=True)
        # The same on one machine; on another, rounding moves a few votes.
        assert all(abs(float(a) - float(b)) <= 0.02 for a, b in figures), (line, own)


def test_the_picture_is_that_of_the_main_job(main_job: tuple[str, Path]) -> None:
    own, shown = (
        imread(path)
        for path in (
            main_job[1] / "certified_accuracy.png",
            README.parent / "docs" / "certified_accuracy.png",
        )
    )
    assert own.shape == shown.shape
    assert np.abs(own - shown).mean() < 0.01


def test_the_caption_claims_no_more_than_the_main_job_certified(main_job: tuple[str, Path]) -> None:
    import json

    summary = json.loads((main_job[1] / "summary.json").read_text())
    share = summary["own_attack"]["certified_accuracy"]["clean"]
    claimed = re.search(r"(\d+)% of the clean test\s+images are predicted right", README.read_text())
    assert claimed and 0 <= share - int(claimed[1]) / 100 + 0.02 < 0.04
    size = re.search(r"each member sees (\d+) training images", README.read_text())
    assert size and summary["law"] == f"Subsample(size={size[1]})"


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", README.read_text()):
        assert (README.parent / target).exists(), target
