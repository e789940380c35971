"""The folder of a run: its files, certificates, results and report; then its data and members."""

from __future__ import annotations

import contextlib
import hashlib
import html
import io
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import certssb as cs
from certssb._checks import parameter_error
from certssb._extras import absent
from certssb.auditing._again import audit_members
from certssb.auditing._certificates import certified_again, differences, law_of
from certssb.auditing._rows import AuditRow, Rows
from certssb.certificates import CertificateTable
from certssb.cli._config import NAME, toml, words_of
from certssb.cli._options import _parser, _settings, commands_of
from certssb.cli._results import Outcome, own_attack, plot
from certssb.cli._run import versions
from certssb.exceptions import CancelledError, CertssbError
from certssb.report._counted import budget_of
from certssb.report._folder import finite, frame, frame_columns
from certssb.report._hints import Hints, parse_hints
from certssb.report._page import render
from certssb.report._run import Run, _summary, digest
from certssb.report._samples import Samples, parse_samples
from certssb.report._votes import parse_digests, parse_votes
from certssb.storage import _files
from certssb.storage._tables import csv_bytes

__all__ = ["audit_run"]

_MALFORMED = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, CertssbError)
"""What values of a stranger's summary may make of code that expects those of a run."""


_PLOTS = re.compile(r"<section><h2>Plots</h2>.*?</section>", re.DOTALL)


@dataclass
class Folder:
    """What can be read of a run's folder.

    Attributes
    ----------
    path : pathlib.Path
        Where it is.
    summary : dict
        What ``summary.json`` holds.
    settings : dict
        The run's settings, of which `options` were made.
    options : argparse.Namespace or None
        The same as ``certssb run`` takes them; None if it does not.
    tables, samples, hints, votes : dict
        What was certified, its truth, training samples that move votes, and what members said, by test set; without those that
        are damaged.
    digests : list of list of str, or None
        Those of the members, level by level.
    """

    path: Path
    summary: dict[str, Any]
    settings: dict[str, Any]
    options: Any = None
    tables: dict[str, CertificateTable] = field(default_factory=dict)
    samples: dict[str, Samples] = field(default_factory=dict)
    hints: dict[str, Hints] = field(default_factory=dict)
    votes: dict[str, npt.NDArray[np.uint16]] = field(default_factory=dict)
    digests: list[list[str]] | None = None

    @property
    def names(self) -> list[str]:
        return list(self.summary["results"])

    @property
    def record(self) -> dict[str, Any]:
        record = self.summary["record"]
        if not isinstance(record, dict):
            raise LookupError("the record is not an object")  # noqa: TRY004 - one kind for whatever a summary lacks
        return record

    @property
    def election(self) -> str:
        return self.options.election or "plurality"

    @property
    def is_whole(self) -> bool:
        return self.options is not None and set(self.names) == self.tables.keys() == self.samples.keys()

    def outcome(self) -> Outcome:
        """What the run's results are made of."""
        attack = self.summary.get("own_attack")
        budget = None if attack is None else budget_of(attack)
        truth = {name: self.samples[name].y_true for name in self.names}
        target = None if self.options.trigger == "none" else self.options.target
        tables = {name: self.tables[name] for name in self.names}
        return Outcome(tables, truth, budget_of(self.summary["budget"]), budget, target)


def audit_run(
    path: Path,
    members: Any,
    data: str | None,
    seed: int,
    tolerance: float,
    device: Any,
    n_jobs: int | None,
    progress: bool,
) -> tuple[list[AuditRow], list[str]]:
    """Look at everything in the folder; rows, and what they leave open."""
    rows = Rows()
    summary = _summary(path)
    if not isinstance(summary["settings"], dict):
        raise parameter_error("folder", "a folder with a complete summary.json", "settings of another kind")
    folder = Folder(path, summary, dict(summary["settings"]))
    same = summary["digest"] == digest(summary)
    rows.found(
        "summary", [] if same else ["summary.json was changed after it was written"], "as it was written"
    )
    _read(folder, rows)
    for check in (_settled, _voted, _counted, _drawn, _written):
        try:
            check(folder, rows)
        except _MALFORMED as error:
            rows.failed(
                check.__name__.lstrip("_"), f"the summary is not one that certssb run writes ({error})"
            )
    try:
        limits = audit_members(folder, rows, members, data, seed, tolerance, device, n_jobs, progress)
    except CancelledError:
        raise
    except _MALFORMED as error:
        rows.failed("data", f"the summary is not one that certssb run writes ({error})")
        limits = []
    return rows, limits


def _read(folder: Folder, rows: Rows) -> None:
    """Digests of all files, and what is in them."""
    wrong, index = [], folder.summary["files"]
    content: dict[str, bytes] = {}
    for name, told in index.items():
        if not re.fullmatch(r"[\w-]+\.[a-z]+", name):
            wrong.append(f"the summary names a file {name!r}")
            continue
        try:
            content[name] = _files.read(folder.path / name)
        except CertssbError as error:
            wrong.append(str(error))
            continue
        if hashlib.sha256(content[name]).hexdigest() != told:
            wrong.append(f"{name} is not the file of which the summary has the digest")
    wrong += [
        f"the summary has no digest of {kind}-{name}.npz"
        for name in folder.names
        for kind in ("certificates", "samples")
        if f"{kind}-{name}.npz" not in index
    ]
    rows.found("files", wrong, f"{len(content)} files have the digests that the summary names")
    for name in folder.names:
        _parse(folder, rows, name, content)
    if "members.npz" in content:
        try:
            folder.digests = parse_digests(content["members.npz"])
        except _files.Damaged as error:
            rows.failed("members", f"members.npz cannot be read ({error})")
    folder.options = _options(folder.settings)


def _parse(folder: Folder, rows: Rows, name: str, content: dict[str, bytes]) -> None:
    """Table, true classes and votes of one set of test samples."""

    def samples(raw: bytes) -> Samples:
        return parse_samples(raw, len(folder.tables[name]), f"samples-{name}.npz")

    def table(raw: bytes) -> CertificateTable:
        return CertificateTable._restored("folder", raw, f"certificates-{name}.npz")

    def hints(raw: bytes) -> Hints:
        return parse_hints(raw, len(folder.tables[name]), f"hints-{name}.npz")

    readers: list[tuple[str, dict[str, Any], Callable[[bytes], Any]]] = [
        ("certificates", folder.tables, table),
        ("samples", folder.samples, samples),
        ("hints", folder.hints, hints),
        ("votes", folder.votes, parse_votes),
    ]
    for kind, found, read in readers:
        raw = content.get(f"{kind}-{name}.npz")
        if raw is None or (kind in ("samples", "hints") and name not in folder.tables):
            continue
        try:
            found[name] = read(raw)
        except (CertssbError, _files.Damaged, LookupError) as error:
            rows.failed(kind, f"{kind}-{name}.npz cannot be read ({error})")


def _options(settings: dict[str, Any]) -> Any:
    """The settings as ``certssb run`` takes them; None if it does not."""
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            return _parser().parse_args(["run", *words_of(settings)])
    except (SystemExit, *_MALFORMED):
        return None


def _settled(folder: Folder, rows: Rows) -> None:
    """Whether law, sizes and settings are the same wherever they are told."""
    summary, options = folder.summary, folder.options
    if options is None:
        rows.failed("settings", "they are not settings that certssb run takes")
        return
    record, wrong = folder.record, []
    law = repr(law_of(record))
    if summary["law"] != law:
        wrong.append(f"the summary names the law {summary['law']}, the ensemble's record {law}")
    trusted = (record.get("trusted") or {"n": 0})["n"]
    for what, told, known in (
        ("training samples", summary["n_train"], record["n_train"]),
        ("trusted samples", summary.get("n_trusted", 0), trusted),
        ("members", folder.settings.get("members"), options.members),
    ):
        if told != known:
            wrong.append(f"the summary has {told} {what}, the record of {known}")
    for name in ("epochs", "batch_size", "learning_rate"):
        if getattr(options, name) != record.get(name):
            wrong.append(f"the settings have {name} {getattr(options, name)}, the record {record.get(name)}")
    if options.seed is not None and options.seed != record["seed"]:
        wrong.append(f"the settings have the seed {options.seed}, the record {record['seed']}")
    if NAME in summary["files"]:
        made = toml(folder.settings, commands_of(_parser())["run"], record["seed"])
        if made.encode() != _files.read(folder.path / NAME):
            wrong.append(f"{NAME} differs from the summary's settings")
    if summary["model"] not in (record["model"], "auto"):
        wrong.append(f"the summary names the model {summary['model']!r}, the record {record['model']!r}")
    for name, table in folder.tables.items():
        if repr(table.law) != law:
            wrong.append(f"the {name} table has the law {table.law!r}, the ensemble's record {law}")
        if table.alpha not in (None, options.alpha):
            wrong.append(f"the {name} table has alpha {table.alpha}, the settings {options.alpha}")
        if table.guarantee != summary["guarantee"]:
            wrong.append(f"the summary's guarantee is not the one of the {name} table")
        if table.sound != summary["sound"]:
            wrong.append(f"the summary and the {name} table disagree on whether there is a proof")
    rows.found(
        "settings", wrong, f"law, sizes, seed and alpha are the same everywhere: {law}, seed {record['seed']}"
    )


def _voted(folder: Folder, rows: Rows) -> None:
    """The numbers of votes, and the certificates that they give."""
    wrong, right = [], []
    if folder.options is None:
        rows.unchecked("certificates", "the settings say nothing about the bounds")
        return
    settings = _settings(folder.options)
    received = _classes_received(folder)
    for name in folder.names:
        votes, table = folder.votes.get(name), folder.tables.get(name)
        if votes is None or table is None:
            why = (
                "their votes are not in the folder"
                if table is not None
                else "there is no table to compare with"
            )
            rows.unchecked("certificates", f"those of the {name} test samples: {why}")
            continue
        n_members = int(votes.shape[-2 if folder.election == "plurality" else 0])
        told = {table.n_members, folder.options.members, *(len(level) for level in folder.digests or [])}
        if told != {n_members}:
            listed = " and ".join(map(str, sorted(number or 0 for number in told)))
            wrong.append(
                f"{n_members} members voted on the {name} test samples, but the folder lists {listed}"
            )
        try:
            again = certified_again(votes, folder.record, settings, folder.election)
            found = differences(table, again, folder.record, received)
        except CertssbError as error:
            found = [f"they cannot be computed ({error})"]
        wrong += [f"{name}: {what}" for what in found]
        right.append(f"{len(table)} {name} ones")
    if right or wrong:
        words = " and ".join(right)
        rows.found("certificates", wrong, f"computed anew from the votes, every number the same: {words}")


def _classes_received(folder: Folder) -> bool:
    """Whether the list of classes was read from the received labels, as the guarantee has to say then."""
    of_user = str(folder.options.dataset).endswith(".npz")
    return of_user and folder.options.classes is None and not folder.summary.get("n_trusted", 0)


def _counted(folder: Folder, rows: Rows) -> None:
    """Shares and sentences of the summary, counted again from tables and true classes."""
    if not folder.is_whole:
        rows.unchecked("results", "tables or true classes are missing")
        return
    summary, outcome = folder.summary, folder.outcome()
    made = finite({"results": outcome.results(), "own_attack": own_attack(outcome)})
    wrong = [f"its {name} are not those of the tables" for name in made if made[name] != summary.get(name)]
    names = [name for name in ("certificates.parquet", "certificates.csv") if name in summary["files"]]
    for name in names:
        wrong += _frame(folder, outcome, name)
    what = " and ".join(["shares and sentences of the summary", *names])
    rows.found("results", wrong, f"counted again from tables and true classes: {what}")


def _frame(folder: Folder, outcome: Outcome, name: str) -> list[str]:
    asked = {} if isinstance(outcome.law, cs.Discrete) else outcome.budget.change()
    columns = frame_columns(outcome.tables, outcome.truth, asked)
    content = _files.read(folder.path / name)
    if name.endswith(".csv"):
        return [] if content == csv_bytes(columns) else [f"{name} is not what the tables give"]
    try:
        from pyarrow import parquet
    except ImportError:
        return []
    if frame(outcome.tables, outcome.truth, asked).get(name) == content:
        return []
    try:
        found = parquet.read_table(io.BytesIO(content)).to_pydict()
    except (OSError, ValueError) as error:
        return [f"{name} cannot be read ({error})"]
    same = found.keys() == columns.keys() and all(
        np.array_equal(np.asarray(found[key]), column, equal_nan=column.dtype.kind == "f")
        for key, column in columns.items()
    )
    return [] if same else [f"{name} is not what the tables give"]


def _drawn(folder: Folder, rows: Rows) -> None:
    """The picture, drawn again where the same matplotlib is here."""
    name = "certified_accuracy.png"
    if name not in folder.summary["files"] or not folder.is_whole:
        return
    why = _other_version(folder, ("certssb", "matplotlib")) or absent("matplotlib", "A plot", "plot")
    if why is not None:
        rows.unchecked(
            "picture", f"{name} has the digest that the summary names, and was not drawn again: {why}"
        )
        return
    attack = folder.summary.get("own_attack")
    made = plot(folder.outcome(), None if attack is None else attack["sentence"])
    same = made == _files.read(folder.path / name)
    rows.found(
        "picture",
        [] if same else [f"{name} differs from what the tables give"],
        f"{name} drawn again, the same",
    )


def _written(folder: Folder, rows: Rows) -> None:
    """The page, made again from what is in the folder."""
    try:
        page = _files.read(folder.path / "report.html").decode()
    except FileNotFoundError:
        rows.unchecked("report", "there is no report.html; certssb report makes one")
        return
    except (CertssbError, UnicodeDecodeError) as error:
        rows.failed("report", f"report.html cannot be read ({error})")
        return
    if not folder.is_whole:
        rows.unchecked("report", "tables or true classes are missing")
        return
    # The folder may have got another name since; the page says the first one.
    title = re.search(r"<title>Certificates: (.*?)</title>", page, re.DOTALL)
    name = html.unescape(title[1]) if title else folder.path.resolve().name
    made = render(Run(name, folder.summary, folder.tables, folder.samples, folder.hints))
    if made == page:
        rows.passed("report", "report.html made again from the folder, the same to the last character")
        return
    why = _other_version(folder, ("certssb",))
    if why is not None:
        rows.unchecked(
            "report",
            f"report.html differs from the one made here, {why}; certssb report makes one of your own",
        )
        return
    why = _other_version(folder, ("matplotlib",))
    if why is not None and _PLOTS.sub("", made) == _PLOTS.sub("", page):
        rows.passed(
            "report", f"report.html made again, the same but for its section of plots, which are drawn {why}"
        )
        return
    rows.failed("report", "report.html is not what the folder gives: it was changed, or is of another run")


def _other_version(folder: Folder, names: tuple[str, ...]) -> str | None:
    told = folder.summary["versions"]
    absent("matplotlib", "A plot", "plot")  # imported, so that its version is told
    here = versions()
    for name in names:
        if told.get(name) != here.get(name):
            return f"by {name} {here.get(name)}, not {told.get(name)}"
    return None
