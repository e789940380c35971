"""What a run is going to do, settled before any training: its data, law, budget, and the estimator."""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass, replace
from typing import Any

import certssb as cs
from certssb._checks import check_integer, parameter_error
from certssb.certificates._budget import KINDS, Budget, check_count, down, exactly
from certssb.cli._inputs import Inputs, read_inputs
from certssb.cli._laws import (
    AGREEMENT,
    Facts,
    asked_law,
    asked_threat,
    covering_law,
    covering_rate,
    leaves_features,
    limits_norms,
)
from certssb.cli._options import _settings

__all__ = ["Plan", "planned"]


@dataclass(frozen=True)
class Plan:
    """A run before it begins; a function of options and data alone.

    Attributes
    ----------
    inputs : Inputs
        The data.
    facts : Facts
        Their sizes, the number of members and the settings of the bounds.
    law : Law
        From which members' sets are drawn.
    model : str
        What the members are.
    budget : Budget
        What the run certifies against.
    best : dict
        What members that all agree would certify.
    words : list of str
        The same, said.
    clf : CertifiedClassifier
        The estimator, not fitted.
    """

    inputs: Inputs
    facts: Facts
    law: cs.Law
    model: str
    budget: Budget
    best: dict[str, Any]
    words: list[str]
    clf: cs.CertifiedClassifier


def planned(options: argparse.Namespace) -> Plan:
    """Read the data, settle law and budget, and refuse now what would fail after training."""
    given = asked_law(options)
    inputs = read_inputs(options)
    facts = Facts(
        len(inputs.X_train), inputs.n_features, inputs.n_classes, inputs.n_test, _members(given, options),
        _settings(options),
    )  # fmt: skip
    threat = _threat(inputs, options)
    if threat is None:
        n_poisoned = _n_poisoned(inputs, options)
        made = 0 if inputs.attack is None else inputs.attack.n_poisoned or 0
        law = covering_law(facts, max(n_poisoned, made)) if given is None else given
    else:
        law = covering_rate(facts, threat) if given is None else given
        n_poisoned = threat.n_poisoned or 0
    budget, best, words = _rehearse(law, facts, n_poisoned, inputs, options, threat)
    features = None if options.cosine is None else cs.features.Cosine(options.cosine)
    model = "discriminant" if options.model == "auto" and given is None else options.model
    clf = cs.CertifiedClassifier(
        model, law, n_members=facts.members, epochs=options.epochs, batch_size=options.batch_size,
        learning_rate=options.learning_rate, device=options.device, seed=options.seed, n_jobs=options.jobs,
        checkpoint=options.checkpoint, progress=not options.quiet, alpha=options.alpha, features=features,
        augment=_augmentation(options), copies=options.copies, penalty=options.penalty,
    )  # fmt: skip
    return Plan(inputs, facts, law, model, budget, best, words, clf)


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
        some = [(kind, number) for kind, number in zip(KINDS, budget.numbers, strict=True) if number]
        if len(some) == 1 and budget.counted == "edits":
            (kind, number), *_ = some
            return replace(budget, n_poisoned=number, edits=kind, numbers=None)
        raise parameter_error(
            "--threat",
            "one number for a run, whose tables run over it, such as 'n_poisoned=47, edits=any'",
            f"'{options.threat}'",
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
) -> tuple[Budget, dict[str, Any], list[str]]:
    """Certify members that all agree: refuses bad settings before training, says what is within reach, and settles
    what the run certifies against."""
    table = facts.agreeing(law)
    attack = inputs.attack
    norm = math.inf
    if attack is not None and attack.trigger_norm is not None and limits_norms(law):
        norm = attack.trigger_norm
    if leaves_features(law):
        norm = 0.0
    budget = threat or Budget(n_poisoned, norm, _counts_labels(table, n_poisoned, options))
    best: dict[str, Any] = {}
    words = []
    if table.radius is not None:
        best["radius"] = float(table.radius[0])
        size = exactly(down(best["radius"]))
        words.append(f"features changed by a total L2 norm below {size}, labels as received")
    if isinstance(law, cs.Discrete):
        best["flips"] = int(table.n_flips()[0])
        entries = "entry" if best["flips"] == 1 else "entries"
        words.append(f"at most {best['flips']} {entries} changed")
    elif leaves_features(law):
        best["n_poisoned"] = int(table.n_poisoned(**replace(budget, n_poisoned=None).change())[0])
        words.append(replace(budget, n_poisoned=best["n_poisoned"]).words(facts.n_train))
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
    said = [f"If all {facts.members:,} members agree, a prediction {reach}."]
    if asked_law(options) is None and isinstance(law, cs.Subsample):
        sees = f"{law.size} of them" if law.rate is None else f"each with probability {law.rate}"
        said.append(f"Each member sees {sees}, the most with which {AGREEMENT:.0%} of the votes are enough.")
        if law.rate is None:
            said.append("Where samples may also have been inserted or deleted, say so with --threat.")
        elif (
            threat is not None
            and threat.edits != "modified"
            and cs.Threat.parse(options.threat).share is not None
        ):
            said.append(
                "That probability follows from the share, and so from the number of samples: where anybody could add or "
                "remove some, state a number in --threat."
            )
    elif attack is not None and not isinstance(law, (cs.Discrete, cs.Cascade, cs.Partition)):
        plan = law.plan(
            **budget.change(), alpha=options.alpha, n_classes=facts.n_classes, n_features=facts.n_features,
            n_train=facts.n_train,
        )  # fmt: skip
        said.append(f"For {plan}")
    return budget, best, said


def _counts_labels(table: cs.CertificateTable, n_poisoned: int, options: argparse.Namespace) -> bool:
    """Whether changed labels are counted: as asked, or else wherever the law can certify anything then."""
    if options.labels is not None:
        return bool(options.labels)
    if leaves_features(table.law):
        return True
    try:
        return bool(table.trigger_norm(n_poisoned, labels=True)[0] > 0)
    except cs.ParameterError:
        return False
