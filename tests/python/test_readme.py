"""The examples of the README are run as they stand there.

Python blocks run in order, in one namespace and an empty folder. A block under the line ``<!-- not run -->`` is left out. Commands are parsed, so that no option of theirs is made up.
"""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from certssb.cli import _parser

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


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", README.read_text()):
        assert (README.parent / target).exists(), target
