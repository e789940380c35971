"""The whole job: from a data set to certificates, summary, plot and report in a folder."""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from datetime import datetime, timezone
from typing import Any

import numpy as np
import numpy.typing as npt

import certssb as cs
from certssb.cli._config import NAME, toml
from certssb.cli._inputs import Inputs, made_folders
from certssb.cli._laws import asked_election
from certssb.cli._options import _parser, commands_of
from certssb.cli._plan import planned
from certssb.cli._results import Outcome, own_attack, plot, text
from certssb.estimators._cascade_levels import Levels
from certssb.forensics._influence import measured
from certssb.report._counted import saved_budget
from certssb.report._folder import write_run
from certssb.report._hints import TOP, hinted, hints_bytes
from certssb.report._votes import LIMIT, digests_bytes, size_of, votes_bytes


def run(options: argparse.Namespace) -> None:
    """Poison if that is asked for, train, certify, and write all of it to a folder."""
    started = time.monotonic()
    plan = planned(options)
    options.members = plan.facts.members
    for words in plan.words:
        print(words, flush=True)
    inputs, facts, law, clf = plan.inputs, plan.facts, plan.law, plan.clf
    out = made_folders(options)
    X_trusted, y_trusted = inputs.trusted or (None, None)
    clf.fit(inputs.X_train, inputs.y_train, classes=inputs.listed, X_trusted=X_trusted, y_trusted=y_trusted)
    trained = time.monotonic()
    tables, answers = {}, {"members.npz": _digests(clf)}
    for name, (X, _) in inputs.tests.items():
        tables[name] = clf.certify(X, **facts.settings, election=asked_election(options))
        if X.ndim == 4 and isinstance(law, cs.Subsample):
            answers[f"hints-{name}.npz"] = _hints(clf, inputs, tables[name], X)
        said = ranks(clf, X) if asked_election(options) == "run-off" else clf.votes(X)
        packed = votes_bytes(said, facts.n_classes)
        if packed is None:
            size = size_of(said.shape, facts.n_classes)
            what = (
                f"Votes on the {name} test samples take {size:,} bytes, more than {LIMIT:,}, and are not kept"
            )
            print(f"{what}: certssb audit cannot count them again.", file=sys.stderr)
        else:
            answers[f"votes-{name}.npz"] = packed
    settings = {key: value for key, value in vars(options).items() if key not in ("command", "config")}
    answers[NAME] = toml(settings, commands_of(_parser())["run"], clf.seed_).encode()
    truth = {name: y for name, (_, y) in inputs.tests.items()}
    target = None if options.trigger == "none" else options.target
    outcome = Outcome(tables, truth, plan.budget, inputs.attack, target)
    summary = {
        "guarantee": tables["clean"].guarantee,
        "sound": tables["clean"].sound,
        "results": outcome.results(),
        "settings": settings,
        "model": plan.model,
        "law": repr(law),
        "best_possible": plan.best,
        "n_train": facts.n_train,
        "n_trusted": inputs.n_trusted,
        "n_poisoned": 0 if inputs.attack is None else inputs.attack.n_poisoned,
        "budget": saved_budget(plan.budget),
        "own_attack": own_attack(outcome),
        "record": json.loads(clf.record()),
        "seconds": {"training": trained - started, "total": time.monotonic() - started},
        "peak_memory_mb": _peak_memory(),
        "versions": {},
        "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    attack = summary["own_attack"]
    try:
        picture = plot(outcome, None if attack is None else attack["sentence"])
    except ImportError as error:
        picture = None
        print(f"{error}", file=sys.stderr)
    summary["versions"] = versions()
    asked = {} if isinstance(law, cs.Discrete) else plan.budget.change()
    written = write_run(out, tables, inputs.tests, summary, picture, asked, answers)
    print(text(summary, outcome, options))
    print(f"\nWritten to {out}: " + ", ".join(written))


def _hints(clf: cs.CertifiedClassifier, inputs: Inputs, table: cs.CertificateTable, X: Any) -> bytes:
    """Training samples whose presence moves the votes on the least certain test samples."""
    ensemble, index = clf._fitted(), hinted(table)
    assert not isinstance(ensemble, Levels)
    votes = clf.votes(X)[:, index]
    winners, _ = ensemble.count(votes)
    found = measured(ensemble, votes, winners, clf.classes_[winners], min(TOP, len(inputs.X_train)))
    return hints_bytes(index, found.index, found.differences, found.errors, inputs.X_train, inputs.y_train)


def _digests(clf: cs.CertifiedClassifier) -> bytes:
    """Digests of the members of every level; those of helpers, whose numbers no ensemble reaches, left out."""
    ensemble = clf._fitted()
    levels = ensemble.levels if isinstance(ensemble, Levels) else [ensemble]
    return digests_bytes(
        [[digest for number, digest in level.digests() if number < 2**62] for level in levels]
    )


def ranks(clf: cs.CertifiedClassifier, X: Any) -> npt.NDArray[np.uint16]:
    """How many classes each member puts below each class, shape (n_members, n_classes, n_samples): all that a run-off reads."""
    ensemble = clf._fitted()
    assert not isinstance(ensemble, Levels)
    logits = ensemble.logits(clf._asked(X))
    below = np.empty(logits.shape, dtype=np.uint16)
    for k in range(logits.shape[2]):
        below[:, :, k] = (logits < logits[:, :, k : k + 1]).sum(axis=2)
    return np.ascontiguousarray(below.transpose(0, 2, 1))


def _peak_memory() -> float | None:
    """Largest resident size of this process so far, in MB; None where the system does not tell."""
    try:
        import resource
    except ImportError:
        return None
    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale / 1e6


def versions() -> dict[str, str]:
    """Versions of what had a part in a run: what was not imported had none."""
    found = {"certssb": cs.__version__, "python": platform.python_version(), "numpy": np.__version__}
    imported = {name: sys.modules.get(name) for name in ("matplotlib", "torch")}
    return found | {name: str(module.__version__) for name, module in imported.items() if module is not None}
