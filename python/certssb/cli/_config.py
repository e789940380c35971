"""Settings of a run as a file: read from TOML or JSON, and written as the run resolved them."""

from __future__ import annotations

import argparse
import difflib
import importlib
import json
import math
import sys
from collections.abc import Mapping
from typing import Any

from certssb._checks import parameter_error, unreadable
from certssb.exceptions import CertssbError
from certssb.storage import _files

__all__ = ["NAME", "config_words", "groups", "toml", "words_of"]

NAME = "run.toml"
"""The file in a run's folder."""

_EXPECTED = "a .toml or .json file with options of certssb run"
_LEFT_OUT = ("command", "config")
"""What is no setting of a run."""


def config_words(path: str, parser: argparse.ArgumentParser) -> list[str]:
    """The file's settings as words of the command line, for the same parser and the same checks.

    Parameters
    ----------
    path : str
        A ``.toml`` or ``.json`` file: options by their names, with dashes or underscores, at the top or in tables that are
        named as the groups of ``certssb run --help``.
    parser : argparse.ArgumentParser
        That of ``certssb run``.

    Returns
    -------
    list of str

    Raises
    ------
    ParameterError
        If it is no such file, names an option that there is none of, or gives one a value of another kind.
    """
    options = {action.dest: action for action in parser._actions if action.option_strings}
    tables = groups(parser)
    settings: dict[str, Any] = {}
    for key, value in _read(path).items():
        inner = {key: value}
        if isinstance(value, Mapping):
            if key not in tables:
                raise _refused(
                    path,
                    f"[{key}]",
                    "a file whose tables are named like groups of the help: " + ", ".join(tables),
                )
            inner = dict(value)
        for name, setting in inner.items():
            dest = str(name).replace("-", "_")
            if dest not in options or dest in (*_LEFT_OUT, "help"):
                near = difflib.get_close_matches(dest, options, 1)
                hint = f" (did you mean {near[0].replace('_', '-')}?)" if near else ""
                raise _refused(path, f"'{name}'{hint}")
            if dest in settings:
                raise _refused(path, f"'{name}' twice")
            if not _fits(options[dest], setting):
                raise _refused(path, repr(setting), f"a file in which '{name}' is {_kind(options[dest])}")
            settings[dest] = setting
    return words_of(settings)


def _refused(path: str, got: str, expected: str = _EXPECTED) -> CertssbError:
    return parameter_error("--config", expected, f"{got} in '{path}'")


def _read(path: str) -> Mapping[str, Any]:
    try:
        content = _files.read(path, _files.TEXT_LIMIT)
        found = _files.parse(content) if path.endswith(".json") else _parsed_toml(content)
    except (CertssbError, _files.Damaged, UnicodeDecodeError, ValueError) as error:
        raise parameter_error("--config", _EXPECTED, unreadable(path, error)) from None
    if not isinstance(found, dict):
        raise parameter_error("--config", _EXPECTED, f"'{path}' with {type(found).__name__}")
    return found


def _parsed_toml(content: bytes) -> Any:
    try:
        reader = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    except ImportError:
        raise _files.Damaged(
            "Python 3.10 cannot read TOML: pip install tomli, or write the settings as .json"
        ) from None
    return reader.loads(content.decode())


def groups(parser: argparse.ArgumentParser) -> dict[str, list[str]]:
    """The options of each group of the help, by the group's first word."""
    found: dict[str, list[str]] = {}
    for group in parser._action_groups:
        name = (group.title or "").split(",")[0]
        members = [action.dest for action in group._group_actions if action.option_strings]
        if members:
            found.setdefault(name, []).extend(members)
    return found


def _fits(action: argparse.Action, value: Any) -> bool:
    """Whether a value of a file can be one of an option's."""
    if isinstance(action, (argparse._StoreTrueAction, argparse.BooleanOptionalAction)):
        return isinstance(value, bool)
    if action.nargs == "+":
        return isinstance(value, list) and bool(value) and all(_is_word(one) for one in value)
    return _is_word(value)


def _is_word(value: Any) -> bool:
    return isinstance(value, (int, float, str)) and not isinstance(value, bool)


def _kind(action: argparse.Action) -> str:
    if isinstance(action, (argparse._StoreTrueAction, argparse.BooleanOptionalAction)):
        return "true or false"
    return "a list" if action.nargs == "+" else "a number or a text"


def words_of(settings: Mapping[str, Any]) -> list[str]:
    """Settings as words of the command line."""
    words = []
    for key, value in settings.items():
        option = f"--{key.replace('_', '-')}"
        if value is True:
            words.append(option)
        elif isinstance(value, list):
            words += [option, *(str(item) for item in value)]
        elif value is False and key == "labels":
            words.append("--no-labels")
        elif value is not None and value is not False:
            # In one word, so that a text that begins with a dash is one.
            words += [f"{option}={value}"] if str(value).startswith("-") else [option, str(value)]
    return words


def toml(settings: Mapping[str, Any], parser: argparse.ArgumentParser, seed: int | None = None) -> str:
    """A run's settings as the file that repeats it: every option in its group, those that nobody set as comments.

    Parameters
    ----------
    settings : mapping
        What ``summary.json`` holds.
    parser : argparse.ArgumentParser
        That of ``certssb run``.
    seed : int, optional
        The seed that was drawn, where none was set.

    Returns
    -------
    str
    """
    lines = ["# What this run resolved its options to: certssb run --config run.toml repeats it."]
    for name, members in groups(parser).items():
        known = [dest for dest in members if dest in settings]
        if known:
            lines += ["", f"[{name}]"]
        for dest in known:
            value, key = settings[dest], dest.replace("_", "-")
            if value is not None:
                lines.append(f"{key} = {_toml(value)}")
            elif dest == "seed" and seed is not None:
                lines.append(f"# seed = {seed}  # drawn by chance; a secret until the data were fixed")
            else:
                lines.append(f"# {key} is not set")
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value)
