"""Data made again from the recorded settings, and members trained again on them."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from certssb.auditing._certificates import flat, law_of
from certssb.auditing._rows import NOT_ASKED, Rows
from certssb.cli._plan import Plan, planned
from certssb.data import as_features
from certssb.estimators._with_members import through
from certssb.exceptions import CertssbError
from certssb.laws import Partition
from certssb.report._counted import saved_budget
from certssb.report._folder import finite
from certssb.report._samples import _shrunk
from certssb.watch.progress import progress_bar

if TYPE_CHECKING:
    from certssb.auditing._run import Folder
    from certssb.estimators._fitting import Untrained

__all__ = ["audit_members", "false_members_pass"]


def audit_members(
    folder: Folder,
    rows: Rows,
    members: Any,
    data: str | None,
    seed: int,
    tolerance: float,
    device: Any,
    n_jobs: int | None,
    progress: bool,
) -> list[str]:
    """Make data and members again and compare; what that leaves open, in words."""
    plan = _data(folder, rows, data, device, n_jobs, progress)
    n_members = 0 if folder.options is None else folder.options.members or 0
    n_again = 0
    if plan is not None and n_members > 0:
        untrained, plan_options = plan
        n_again = n_members if members == "all" else min(int(members), n_members)
        if n_again == 0:
            rows.unchecked("members", NOT_ASKED)
        else:
            numbers = np.sort(np.random.default_rng(seed).choice(n_members, n_again, replace=False))
            try:
                _members(folder, rows, plan_options, untrained, numbers.tolist(), tolerance, progress)
            except CertssbError as error:
                rows.failed("members", f"they cannot be trained again ({error})")
    else:
        why = NOT_ASKED if members == 0 else "their data could not be made again, so that none was trained"
        rows.unchecked("members", why)
    return _limits(folder, n_again, n_members)


def _data(
    folder: Folder, rows: Rows, data: str | None, device: Any, n_jobs: int | None, progress: bool
) -> tuple[Untrained, Plan] | None:
    """The run's data, law, budget and record as they follow from its settings; None if they cannot be had."""
    if folder.options is None:
        rows.unchecked("data", "the settings do not say which they are")
        return None
    options = argparse.Namespace(**vars(folder.options))
    record = folder.summary["record"]
    options.seed = record["seed"] if isinstance(record, dict) else None
    options.checkpoint, options.quiet = None, not progress
    options.device = options.device if device is None else str(device)
    options.jobs = n_jobs
    if data is not None:
        if str(options.dataset).endswith(".npz"):
            options.dataset = data
        else:
            options.data_root = data
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            plan = planned(options)
            trusted = plan.inputs.trusted or (None, None)
            untrained = plan.clf._untrained(
                plan.inputs.X_train, plan.inputs.y_train, classes=plan.inputs.listed, X_trusted=trusted[0],
                y_trusted=trusted[1],
            )  # fmt: skip
    except (CertssbError, OSError, MemoryError) as error:
        if data is None and not _is_here(options):
            rows.unchecked("data", f"they are not here: say where with --data ({error})")
        else:
            rows.failed("data", f"what the settings describe cannot be made ({error})")
        return None
    wrong = [*_unlike_record(folder, untrained), *_unlike_summary(folder, plan), *_unlike_tests(folder, plan)]
    rows.found(
        "data", wrong,
        f"made again from the settings: {plan.facts.n_train:,} training samples with the recorded digest, the test samples "
        "and their classes, law and budget",
    )  # fmt: skip
    # Members of other data are other members: nothing to compare.
    return None if any("data_digest" in what or "trusted" in what for what in wrong) else (untrained, plan)


def _is_here(options: argparse.Namespace) -> bool:
    return bool(options.dataset == "digits")


def _unlike_record(folder: Folder, untrained: Untrained) -> list[str]:
    told, made = flat(folder.record), flat(json.loads(untrained.ensemble.record()))
    return [
        f"the record says {name} {told.get(name)!r}, the data and settings {made.get(name)!r}"
        for name in sorted({*told, *made})
        if told.get(name) != made.get(name)
    ]


def _unlike_summary(folder: Folder, plan: Plan) -> list[str]:
    summary, attack = folder.summary, plan.inputs.attack
    made = finite(
        {
            "law": repr(plan.law),
            "best_possible": plan.best,
            "budget": saved_budget(plan.budget),
            "n_poisoned": 0 if attack is None else attack.n_poisoned,
        }
    )
    own = summary.get("own_attack")
    told = None if own is None else {name: own.get(name) for name in ("n_poisoned", "trigger_norm", "labels")}
    real = None if attack is None else {name: saved_budget(attack)[name] for name in told or ()}
    wrong = [
        f"the summary's {name} does not follow from the settings"
        for name in made
        if made[name] != summary.get(name)
    ]
    return (
        wrong if told == real else [*wrong, "the summary's own attack is not the one that the settings make"]
    )


def _unlike_tests(folder: Folder, plan: Plan) -> list[str]:
    wrong = []
    tests = plan.inputs.tests
    if set(tests) != set(folder.names):
        return [
            f"the settings make the test sets {', '.join(tests)}, the folder has {', '.join(folder.names)}"
        ]
    for name, (X, y) in tests.items():
        samples, table = folder.samples.get(name), folder.tables.get(name)
        if samples is None or table is None:
            continue
        if samples.y_true.shape != y.shape or not bool(np.all(samples.y_true == y)):
            wrong.append(f"true classes of the {name} test samples are not those of the data")
        elif samples.images is not None and not np.array_equal(
            samples.images, _shrunk(np.asarray(X[samples.index], dtype=np.float32))
        ):
            wrong.append(f"images of the {name} test samples are not those of the data")
        names = plan.inputs.listed if plan.inputs.listed is not None else np.unique(plan.inputs.y_train)
        known = np.asarray(names)
        if table._classes is not None and not np.array_equal(
            np.sort(known).astype(str), np.sort(table._classes.astype(str))
        ):
            wrong.append(
                f"the {name} table has the classes {table._classes.tolist()}, the data {known.tolist()}"
            )
    return wrong


def _members(
    folder: Folder,
    rows: Rows,
    plan: Plan,
    untrained: Untrained,
    numbers: list[int],
    tolerance: float,
    progress: bool,
) -> None:
    """Train these members again; their digests and their votes are compared with the kept ones."""
    with progress_bar(progress, "training again") as report:
        untrained.train_these(numbers, report)
    wrong: list[str] = []
    same, others, shares = 0, [], []
    for g, level in enumerate(untrained.levels):
        where = f" of level {g}" if len(untrained.levels) > 1 else ""
        made = {number: digest for number, digest in level.digests() if number < 2**62}
        told = folder.digests[g] if folder.digests is not None and g < len(folder.digests) else []
        is_same = {number: number < len(told) and made.get(number) == told[number] for number in numbers}
        same += sum(is_same.values())
        others += [f"member {number}{where}" for number in numbers if told and not is_same[number]]
        for name, (X, _) in plan.inputs.tests.items():
            votes = folder.votes.get(name)
            if votes is None:
                continue
            new = level.votes(through(untrained.feature_map, as_features(X).copy()))
            kept = _plain(votes, g, folder.election)
            for place, number in enumerate(numbers):
                if number >= len(kept) or kept.shape[1] != new.shape[1]:
                    wrong.append(f"member {number}{where} has no votes on the {name} test samples")
                    continue
                share = float(np.mean(kept[number] != new[place]))
                shares.append(share)
                if share > tolerance:
                    wrong.append(
                        f"member {number}{where} votes differently on {100 * share:.2f}% of the {name} test samples"
                    )
    # Where some come out bit for bit, rounding is no excuse for others.
    if others and (same or not folder.votes):
        wrong += [f"{which} is a different one, by its digest" for which in others]
    listed = ", ".join(map(str, numbers[:8])) + (", ..." if len(numbers) > 8 else "")
    what = f"{len(numbers)} of {plan.facts.members:,} members trained again ({listed})"
    if wrong:
        hint = "another processor or version rounds differently, which --tolerance allows for"
        rows.failed(
            "members",
            f"{what}: {'; '.join(wrong[:3])}{f'; and {len(wrong) - 3} more' if len(wrong) > 3 else ''} ({hint})",
        )
    elif not shares and not folder.digests:
        rows.unchecked("members", f"{what}; the folder has neither votes nor digests to compare them with")
    else:
        total = len(numbers) * len(untrained.levels)
        bits = "the same to the last bit" if same == total else f"{total - same} differ in their bits"
        most = f"at most {100 * max(shares, default=0.0):.2f}% of their votes differ"
        alike = "no votes to compare" if not shares else most if any(shares) else "the same votes"
        rows.passed("members", f"{what}: {bits}, {alike}")


def _plain(votes: npt.NDArray[Any], level: int, election: str) -> npt.NDArray[Any]:
    """Classes that members of a level vote for; of ranks the class above most others, the lowest of them."""
    if election == "run-off":
        above: npt.NDArray[Any] = votes.argmax(axis=1)
        return above
    return votes[level] if votes.ndim == 3 else votes


def _limits(folder: Folder, n_again: int, n_members: int) -> list[str]:
    """What somebody could have done who wrote the whole folder themselves."""
    limits = []
    if n_again < n_members:
        limits.append(false_members_pass(n_members, n_again))
    limits.append(
        "whether the training data are the ones that were received, and the test samples those that matter: compare "
        f"where they come from, and the digest {_digest(folder)}."
    )
    if folder.hints:
        limits.append(
            "whether the hints in the report, about training samples behind predictions, follow from the votes: they are not part of "
            "what is certified, and are shown as they are in the folder."
        )
    if not _is_partition(folder):
        limits.append(
            "whether the seed was drawn by chance and kept from whoever could change the data, and whether law, alpha and "
            "number of members were settled before anybody saw votes: a run chosen from among many proves nothing."
        )
    else:
        limits.append(
            "whether the learners were settled before anybody saw what they elect, and depend on nothing but their buckets."
        )
    return limits


def false_members_pass(n_members: int, n_again: int) -> str:
    """What training so many members again leaves open, in words."""
    share = n_again / n_members if n_members else 0.0
    tenth = max(1, round(0.1 * n_members))
    return (
        f"whether the {n_members - n_again:,} members that were not trained again are what the record says. If somebody rewrote the "
        f"folder with all its digests, one false member is found with a chance of {100 * share:.2g}%, and at least one of {tenth:,} "
        f"with {100 * (1 - _passes(n_members, tenth, n_again)):.3g}%; --members all finds every one."
    )


def _passes(n_members: int, false: int, n_again: int) -> float:
    """Chance that none of the false members is among those drawn."""
    chance = 1.0
    for drawn in range(n_again):
        chance *= max(0, n_members - false - drawn) / (n_members - drawn)
    return chance


def _digest(folder: Folder) -> str:
    try:
        return str(folder.record["data_digest"])
    except (LookupError, TypeError, ValueError):
        return "of the record"


def _is_partition(folder: Folder) -> bool:
    try:
        return isinstance(law_of(folder.record), Partition)
    except (CertssbError, LookupError, TypeError, ValueError):
        return False
