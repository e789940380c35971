"""The whole job: from a data set to certificates, summary, plot and report in a folder."""

from __future__ import annotations

import argparse
import json
import math
import platform
import sys
import time
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import numpy as np

import certssb as cs
from certssb._checks import check_integer, parameter_error
from certssb.certificates._budget import Budget, check_count, down, exactly
from certssb.cli._inputs import Inputs, made_folders, read_inputs
from certssb.cli._laws import (
    AGREEMENT,
    Facts,
    asked_election,
    asked_law,
    asked_threat,
    covering_law,
    covering_rate,
    limits_norms,
)
from certssb.cli._options import _settings
from certssb.cli._results import Outcome, plot, text
from certssb.report._counted import attack_sentence, saved_budget
from certssb.report._folder import write_run


def run(options: argparse.Namespace) -> None:
    """Poison if that is asked for, train, certify, and write all of it to a folder."""
    started = time.monotonic()
    given = asked_law(options)
    inputs = read_inputs(options)
    facts = Facts(
        len(inputs.X_train), inputs.n_features, inputs.n_classes, inputs.n_test, _members(given, options),
        _settings(options),
    )  # fmt: skip
    options.members = facts.members
    threat = _threat(inputs, options)
    if threat is None:
        n_poisoned = _n_poisoned(inputs, options)
        made = 0 if inputs.attack is None else inputs.attack.n_poisoned or 0
        law = covering_law(facts, max(n_poisoned, made)) if given is None else given
    else:
        law = covering_rate(facts, threat) if given is None else given
        n_poisoned = threat.n_poisoned or 0
    budget, best = _rehearse(law, facts, n_poisoned, inputs, options, threat)
    features = None if options.cosine is None else cs.features.Cosine(options.cosine)
    model = "discriminant" if options.model == "auto" and given is None else options.model
    clf = cs.CertifiedClassifier(
        model, law, n_members=facts.members, epochs=options.epochs, batch_size=options.batch_size,
        learning_rate=options.learning_rate, device=options.device, seed=options.seed, n_jobs=options.jobs,
        checkpoint=options.checkpoint, progress=not options.quiet, alpha=options.alpha, features=features,
        augment=_augmentation(options), copies=options.copies, penalty=options.penalty,
    )  # fmt: skip
    out = made_folders(options)
    X_trusted, y_trusted = inputs.trusted or (None, None)
    clf.fit(inputs.X_train, inputs.y_train, classes=inputs.listed, X_trusted=X_trusted, y_trusted=y_trusted)
    trained = time.monotonic()
    tables = {
        name: clf.certify(X, **facts.settings, election=asked_election(options))
        for name, (X, _) in inputs.tests.items()
    }
    truth = {name: y for name, (_, y) in inputs.tests.items()}
    target = None if options.trigger == "none" else options.target
    outcome = Outcome(tables, truth, budget, inputs.attack, target)
    summary = {
        "guarantee": tables["clean"].guarantee,
        "sound": tables["clean"].sound,
        "results": outcome.results(),
        "settings": {key: value for key, value in vars(options).items() if key != "command"},
        "model": model,
        "law": repr(law),
        "best_possible": best,
        "n_train": facts.n_train,
        "n_trusted": inputs.n_trusted,
        "n_poisoned": 0 if inputs.attack is None else inputs.attack.n_poisoned,
        "budget": saved_budget(budget),
        "own_attack": _own_attack(outcome),
        "record": json.loads(clf.record()),
        "seconds": {"training": trained - started, "total": time.monotonic() - started},
        "peak_memory_mb": _peak_memory(),
        "versions": _versions(),
        "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    attack = summary["own_attack"]
    try:
        picture = plot(outcome, None if attack is None else attack["sentence"])
    except ImportError as error:
        picture = None
        print(f"{error}", file=sys.stderr)
    asked = {} if isinstance(law, cs.Discrete) else budget.change()
    write_run(out, tables, inputs.tests, summary, picture, asked)
    print(text(summary, outcome, options))
    print(f"\nWritten to {out}: " + ", ".join(sorted(path.name for path in out.iterdir() if path.is_file())))


def _members(law: cs.Law | None, options: argparse.Namespace) -> int:
    """How many members are trained: of a partition all learners, and no other number."""
    if isinstance(law, cs.Partition):
        if options.members not in (None, law.n_learners):
            expected = f"left out: the partition has {law.n_learners} learners"
            raise parameter_error("--members", expected, options.members)
        return law.n_learners
    return (
        1000
        if options.members is None
        else check_integer("--members", options.members, "an integer of at least 1", 1)
    )


def _augmentation(options: argparse.Namespace) -> cs.augment.Augmentation | None:
    """What changes members' images, with the defaults of each."""
    steps = [getattr(cs.augment, name.capitalize())() for name in options.augment or ()]
    return cs.augment.Compose(steps) if len(steps) > 1 else next(iter(steps), None)


def _threat(inputs: Inputs, options: argparse.Namespace) -> Budget | None:
    """What the run certifies against, where that is described by ``--threat``."""
    budget = asked_threat(options, len(inputs.X_train), "n_poisoned", "labels")
    if budget is not None and budget.numbers is not None:
        raise parameter_error(
            "--threat", "one number for a run, whose tables run over it", f"'{options.threat}'"
        )
    return budget


def _n_poisoned(inputs: Inputs, options: argparse.Namespace) -> int:
    """How many changed samples the run certifies against."""
    n_train = len(inputs.X_train)
    if options.n_poisoned is None:
        made = 0 if inputs.attack is None else inputs.attack.n_poisoned
        return made or max(1, n_train // 50)
    if not 0 <= options.n_poisoned <= n_train:
        expected = f"an integer from 0 to the number of training samples, {n_train}"
        raise parameter_error("--n-poisoned", expected, options.n_poisoned)
    return check_count("--n-poisoned", options.n_poisoned)


def _rehearse(
    law: cs.Law,
    facts: Facts,
    n_poisoned: int,
    inputs: Inputs,
    options: argparse.Namespace,
    threat: Budget | None = None,
) -> tuple[Budget, dict[str, Any]]:
    """Certify members that all agree: refuses bad settings before training, says what is within reach, and settles
    what the run certifies against."""
    table = facts.agreeing(law)
    attack = inputs.attack
    norm = math.inf
    if attack is not None and attack.trigger_norm is not None and limits_norms(law):
        norm = attack.trigger_norm
    budget = threat or Budget(n_poisoned, norm, _counts_labels(table, n_poisoned, options))
    best: dict[str, Any] = {}
    words = []
    if table.radius is not None:
        best["radius"] = float(table.radius[0])
        size = exactly(down(best["radius"]))
        words.append(f"features changed by a total L2 norm below {size}, labels as received")
    if isinstance(law, cs.Discrete):
        best["flips"] = int(table.n_flips()[0])
        words.append(f"at most {best['flips']} entries changed")
    else:
        largest = float(table.trigger_norm(**replace(budget, trigger_norm=None).change())[0])
        best |= {"trigger_norm": largest if math.isfinite(largest) else "any", "n_poisoned": n_poisoned}
        if largest > 0:
            words.append(replace(budget, trigger_norm=down(largest)).words(facts.n_train))
    reach = (
        f"survives every change of this size: {', or '.join(words)}"
        if words
        else f"survives nothing: {n_poisoned:,} samples are too many"
    )
    print(f"If all {facts.members:,} members agree, a prediction {reach}.", flush=True)
    if asked_law(options) is None and isinstance(law, cs.Subsample):
        sees = f"{law.size} of them" if law.rate is None else f"each with probability {law.rate}"
        print(
            f"Each member sees {sees}, the most with which {AGREEMENT:.0%} of the votes are enough.",
            flush=True,
        )
    elif attack is not None and not isinstance(law, (cs.Discrete, cs.Cascade, cs.Partition)):
        plan = law.plan(
            **budget.change(), alpha=options.alpha, n_classes=facts.n_classes, n_features=facts.n_features,
            n_train=facts.n_train,
        )  # fmt: skip
        print(f"For {plan}", flush=True)
    return budget, best


def _counts_labels(table: cs.CertificateTable, n_poisoned: int, options: argparse.Namespace) -> bool:
    """Whether changed labels are counted: as asked, or else wherever the law can certify anything then."""
    if options.labels is not None:
        return bool(options.labels)
    try:
        return bool(table.trigger_norm(n_poisoned, labels=True)[0] > 0)
    except cs.ParameterError:
        return False


def _own_attack(outcome: Outcome) -> dict[str, Any] | None:
    """What the run's own attack changed, and whether what is certified covers it."""
    attack = outcome.attack
    if attack is None:
        return None
    shares = outcome.against_attack()
    sentence = attack_sentence(attack, outcome.budget, shares, outcome.n_train)
    covered = any(shares.values()) and "NOT covered" not in sentence
    return {**saved_budget(attack), "certified_accuracy": shares, "covered": covered, "sentence": sentence}


def _peak_memory() -> float | None:
    """Largest resident size of this process so far, in MB; None where the system does not tell."""
    try:
        import resource
    except ImportError:
        return None
    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale / 1e6


def _versions() -> dict[str, str]:
    torch = sys.modules.get("torch")
    found = {"certssb": cs.__version__, "python": platform.python_version(), "numpy": np.__version__}
    # What was not imported had no part in it.
    return found if torch is None else found | {"torch": str(torch.__version__)}
