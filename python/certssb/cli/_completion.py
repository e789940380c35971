"""Completion of commands and options by a shell: a static script, made from the parser, that starts no Python."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import NamedTuple

from certssb.cli._options import _parser, commands_of

__all__ = ["script"]

_FILES = (
    "FILE",
    "PATH",
    "folder",
    "other",
    "ledger",
    "votes",
    "out",
    "data_root",
    "checkpoint",
    "trusted",
    "dataset",
    "config",
    "data",
)
"""Names of words that are files or folders."""


class Option(NamedTuple):
    """One option of a command."""

    names: tuple[str, ...]
    words: str
    choices: tuple[str, ...]
    is_file: bool
    takes_value: bool


def script(shell: str) -> str:
    """The script for ``bash``, ``zsh`` or ``fish``.

    Examples
    --------
    >>> from certssb.cli._completion import script
    >>> print(script("bash").splitlines()[0])
    # Completion of certssb by bash. For every new shell: source <(certssb completion bash) in ~/.bashrc
    """
    return {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell]()


def _commands(
    parser: argparse.ArgumentParser, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], argparse.ArgumentParser]]:
    yield path, parser
    for name, inner in commands_of(parser).items():
        yield from _commands(inner, (*path, name))


def _options(parser: argparse.ArgumentParser) -> list[Option]:
    found = []
    for action in parser._actions:
        if action.option_strings:
            words = (action.help or "").replace("%%", "%").split(",")[0].split(";")[0].split(":")[0]
            choices = tuple(str(choice) for choice in action.choices or ())
            is_file = action.dest in _FILES or action.metavar in _FILES
            found.append(Option(tuple(action.option_strings), words, choices, is_file, action.nargs != 0))
    return found


def _words(path: tuple[str, ...], parser: argparse.ArgumentParser) -> list[str]:
    """What may come after a command: its commands, its options, and words that it knows."""
    positional = [
        str(choice)
        for action in parser._actions
        if not action.option_strings and not isinstance(action, argparse._SubParsersAction)
        for choice in action.choices or ()
    ]
    return [
        *commands_of(parser),
        *positional,
        *(name for option in _options(parser) for name in option.names),
    ]


def _takes_files(parser: argparse.ArgumentParser) -> bool:
    return any(not a.option_strings and a.dest in _FILES for a in parser._actions)


def _bash() -> str:
    cases, values = [], []
    for path, parser in _commands(_parser()):
        cases.append(
            f'    "{" ".join(path)}") words="{" ".join(_words(path, parser))}"; files={int(_takes_files(parser))} ;;'
        )
        for option in _options(parser):
            if option.takes_value:
                pattern = "|".join(f'"{" ".join(path)} {name}"' for name in option.names)
                values.append(
                    f'    {pattern}) words="{" ".join(option.choices)}"; files={int(option.is_file)} ;;'
                )
    return "\n".join(
        [
            "# Completion of certssb by bash. For every new shell: source <(certssb completion bash) in ~/.bashrc",
            "_certssb() {",
            '  local current="${COMP_WORDS[COMP_CWORD]}" previous="${COMP_WORDS[COMP_CWORD-1]}" path="" word words files',
            '  for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do',
            '    case "${path:+$path }$word" in',
            f'      {"|".join(_quoted(path) for path, _ in _commands(_parser()) if path)}) path="${{path:+$path }}$word" ;;',
            "    esac",
            "  done",
            '  case "$path" in',
            *cases,
            "  esac",
            '  case "$path $previous" in',
            *values,
            "  esac",
            '  COMPREPLY=($(compgen -W "$words" -- "$current"))',
            '  if [ "$files" = 1 ] && [ "${current#-}" = "$current" ]; then',
            '    COMPREPLY+=($(compgen -f -- "$current"))',
            "  fi",
            "}",
            "complete -o filenames -F _certssb certssb",
            "",
        ]
    )


def _quoted(path: tuple[str, ...]) -> str:
    return f'"{" ".join(path)}"'


def _zsh() -> str:
    # zsh runs bash's functions for completion by its own module.
    return "\n".join(
        [
            "# Completion of certssb by zsh. For every new shell: source <(certssb completion zsh) in ~/.zshrc",
            "autoload -U +X compinit && compinit",
            "autoload -U +X bashcompinit && bashcompinit",
            *_bash().splitlines()[1:],
            "",
        ]
    )


def _fish() -> str:
    lines = [
        "# Completion of certssb by fish: certssb completion fish > ~/.config/fish/completions/certssb.fish",
        "complete -c certssb -f",
    ]
    for path, parser in _commands(_parser()):
        inner = list(commands_of(parser))
        seen = "; and ".join(f"__fish_seen_subcommand_from {name}" for name in path)
        here = f'"{seen}"' if path else "__fish_use_subcommand"
        if inner and path:
            here = f'"{seen}; and not __fish_seen_subcommand_from {" ".join(inner)}"'
        for name, command in commands_of(parser).items():
            lines.append(
                f"complete -c certssb -n {here} -a {name} -d {_fish_text(_help_of(parser, name) or command.prog)}"
            )
        for choice in _words(path, parser):
            if not choice.startswith("-") and choice not in inner:
                lines.append(f"complete -c certssb -n {here} -a {choice}")
        if _takes_files(parser):
            lines.append(f"complete -c certssb -n {here} -F")
        for option in _options(parser):
            names = " ".join(f"-l {n[2:]}" if n.startswith("--") else f"-s {n[1:]}" for n in option.names)
            value = " -r" if option.takes_value else ""
            value += f" -a {_fish_text(' '.join(option.choices))}" if option.choices else ""
            value += " -F" if option.is_file else ""
            lines.append(f"complete -c certssb -n {here} {names}{value} -d {_fish_text(option.words)}")
    return "\n".join(lines) + "\n"


def _help_of(parser: argparse.ArgumentParser, name: str) -> str | None:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return next((choice.help for choice in action._choices_actions if choice.dest == name), None)
    return None


def _fish_text(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
