"""Options in files, defaults that help tells, and completion by shells."""

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from certssb import cli
from certssb.cli._completion import script
from certssb.cli._config import toml
from certssb.cli._options import _parser, commands_of, parsed

needs_toml = pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 reads no TOML by itself")


def every_parser(
    parser: argparse.ArgumentParser | None = None, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], argparse.ArgumentParser]]:
    parser = _parser() if parser is None else parser
    yield path, parser
    for name, inner in commands_of(parser).items():
        yield from every_parser(inner, (*path, name))


def settings(*words: str) -> dict[str, Any]:
    return {
        key: value for key, value in vars(parsed(["run", *words])).items() if key not in ("command", "config")
    }


TYPED = [
    "--dataset", "my \"data\" ü.npz", "--classes", "3", "one", "--sigma", "0.25", "--cascade", "1", "0.5", "--sample-specific",
    "--no-labels", "--learning-rate", "1e-05", "--norm", "inf", "--seed", "18446744073709551615", "--members", "7", "--quiet",
    "--threat", "share=2%, labels",
]  # fmt: skip


@needs_toml
def test_a_file_that_was_written_gives_the_same_settings(tmp_path: Path) -> None:
    typed = settings(*TYPED)
    path = tmp_path / "run.toml"
    path.write_text(toml(typed, commands_of(_parser())["run"]))
    assert settings("--config", str(path)) == typed
    # Nothing was left out: every option is there, set or said to be unset.
    assert all(key.replace("_", "-") in path.read_text() for key in typed)
    (tmp_path / "plain.json").write_text(
        json.dumps({key: value for key, value in typed.items() if value is not None} | {"norm": "inf"})
    )
    assert settings("--config", str(tmp_path / "plain.json")) == typed


@needs_toml
def test_what_is_typed_takes_precedence_wherever_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "some.toml"
    path.write_text(
        "sigma = 0.5\n[training]\nmembers = 9\nmodel = 'linear'\n[certification]\nfamily-wise = true\n"
    )
    assert settings("--config", str(path))["members"] == 9
    for words in (["--members", "5", "--config", str(path)], ["--config", str(path), "--members", "5"]):
        found = settings(*words)
        assert (found["members"], found["sigma"], found["model"], found["family_wise"]) == (
            5,
            0.5,
            "linear",
            True,
        )


@needs_toml
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sigmaa = 1", "'sigmaa' (did you mean sigma?)"),
        ("[noize]\nsigma = 1", "groups of the help: options, data, poisoning, noise"),
        ("sigma = [1, 2]", "must be a file in which 'sigma' is a number or a text. Got [1, 2] in"),
        ("sigma = true", "'sigma' is a number or a text. Got True in"),
        ("quiet = 'yes'", "'quiet' is true or false. Got 'yes' in"),
        ("cascade = 1.0", "'cascade' is a list. Got 1.0 in"),
        ("sigma = 1\n[noise]\nsigma = 2", "'sigma' twice"),
        ("config = 'other.toml'", "'config'"),
        ("sigma = ", "Invalid value"),
        ("sigma = 'much'", "invalid float value: 'much'"),
        ("trigger = 'none'\nassign = 'weight'", "invalid choice: 'weight'"),
    ],
)
def test_files_that_are_wrong_are_one_sentence(
    text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(text)
    try:
        status = cli.main(["run", "--config", str(path)])
    except SystemExit as exit_:
        status = int(exit_.code or 0)
    error = capsys.readouterr().err
    assert status == 2 and error.count("\n") == 1 and said in error


def test_files_that_are_none_are_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "list.json").write_text("[1]")
    for name in ("missing.toml", "list.json"):
        assert cli.main(["run", "--config", str(tmp_path / name)]) == 2
        error = capsys.readouterr().err
        # The file is named once, whoever found it.
        assert error.count("\n") == 1 and error.count(name) == 1


@needs_toml
def test_a_run_writes_what_repeats_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "--classes",
        "0",
        "1",
        "--members",
        "40",
        "--subsample",
        "9",
        "--model",
        "discriminant",
        "--alpha",
        "0.1",
    ]
    assert cli.main(["run", *words, "--quiet", "--out", str(tmp_path / "one")]) == 0
    text = (tmp_path / "one" / "run.toml").read_text()
    seed = json.loads((tmp_path / "one" / "summary.json").read_text())["record"]["seed"]
    assert f"# seed = {seed}  #" in text and "[noise]" in text
    config = tmp_path / "again.toml"
    config.write_text(text.replace("# seed", "seed"))
    assert cli.main(["run", "--config", str(config), "--out", str(tmp_path / "two")]) == 0
    votes = [(tmp_path / name / "votes-clean.npz").read_bytes() for name in ("one", "two")]
    assert votes[0] == votes[1]
    # The folder's digests cover it.
    (tmp_path / "one" / "run.toml").write_text(text + "\n")
    assert cli.main(["audit", str(tmp_path / "one"), "--members", "0", "--quiet"]) == 1
    assert "run.toml" in capsys.readouterr().out


def test_every_option_says_what_it_is_and_what_happens_without_it() -> None:
    for path, parser in every_parser():
        for action in parser._actions:
            where = (*path, action.dest)
            if isinstance(action, argparse._SubParsersAction):
                assert all(choice.help for choice in action._choices_actions), where
                continue
            assert action.help, where
            words = parser._get_formatter()._get_help_string(action) or ""
            is_free = action.option_strings and not action.required
            if is_free and not isinstance(action, (argparse._HelpAction, argparse._VersionAction)):
                assert any(said in words for said in ("default", "if not given", "needed", "or else")), where
                if action.default not in (None, False):
                    assert "%(default)s" in words, where


def completed(words: list[str], tmp_path: Path) -> list[str]:
    """What bash offers for the last of these words."""
    (tmp_path / "script").write_text(script("bash"))
    listed = " ".join(f"'{word}'" for word in words)
    program = f"source ./script; COMP_WORDS=({listed}); COMP_CWORD={len(words) - 1}; _certssb; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    said = subprocess.run(["bash", "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert said.stderr == ""
    return said.stdout.split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_commands_options_choices_and_files(tmp_path: Path) -> None:
    assert set(completed(["certssb", ""], tmp_path)) >= set(commands_of(_parser()))
    assert completed(["certssb", "run", "--sub"], tmp_path) == ["--subsample", "--subsample-rate"]
    assert completed(["certssb", "run", "--quiet", "--trigger", "b"], tmp_path) == ["blend"]
    assert completed(["certssb", "ledger", "e"], tmp_path) == ["export"]
    assert completed(["certssb", "completion", "f"], tmp_path) == ["fish"]
    (tmp_path / "mine.npz").touch()
    assert completed(["certssb", "run", "--dataset", "mi"], tmp_path) == ["mine.npz"]
    assert completed(["certssb", "audit", "mi"], tmp_path) == ["mine.npz"]
    assert completed(["certssb", "run", "--sigma", "x"], tmp_path) == []


def test_the_other_shells_know_every_option() -> None:
    for shell in ("zsh", "fish"):
        text = script(shell)
        for path, parser in every_parser():
            for action in parser._actions:
                for name in action.option_strings:
                    if name.startswith("--"):
                        assert (name if shell == "zsh" else f"-l {name[2:]} ") in text, (path, name)
    assert cli.main(["completion", "fish"]) == 0
