"""A saved ensemble, and a table of certificates that is said to be its: members, data, and what they certify."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np

import certssb as cs
from certssb._checks import parameter_error
from certssb.auditing._again import false_members_pass
from certssb.auditing._certificates import differences, flat
from certssb.auditing._rows import NOT_ASKED, AuditRow, Rows
from certssb.certificates import CertificateTable
from certssb.exceptions import CertssbError
from certssb.laws import Partition
from certssb.storage import _files
from certssb.watch.progress import progress_bar

__all__ = ["audit_saved"]


def audit_saved(
    path: Path,
    members: Any,
    data: str | None,
    table: str | None,
    fingerprint: str | None,
    model: Any,
    seed: int,
    tolerance: float,
    device: Any,
    n_jobs: int | None,
    progress: bool,
) -> tuple[list[AuditRow], list[str]]:
    """Look at everything that the folder, the data and the table say of each other; rows, and what they leave open."""
    rows = Rows()
    where = "auto" if device is None else str(device)
    try:
        clf = cs.CertifiedClassifier.load(path, model, device=where, n_jobs=n_jobs, fingerprint=fingerprint)
    except CertssbError as error:
        rows.failed("files", str(error))
        return rows, []
    known = (
        "the one that was asked for"
        if fingerprint is not None
        else "its own; no other was given to compare with"
    )
    rows.passed(
        "files", f"{clf.n_members_:,} members with the recorded digests, and the fingerprint is {known}"
    )
    arrays = None if data is None else _arrays(data)
    n_again = _trained_again(rows, clf, arrays, members, seed, tolerance, progress)
    _certified(rows, clf, arrays, table)
    return rows, _limits(clf, n_again, fingerprint)


def _arrays(data: str) -> dict[str, Any]:
    expected = "a .npz with X_train and y_train, X_test where a table is audited, and X_trusted and y_trusted where there are any"
    arrays = _files.arrays("data", expected, data)
    if not isinstance(arrays, dict) or not {"X_train", "y_train"} <= arrays.keys():
        raise parameter_error("data", expected, f"'{data}' without them")
    return arrays


def _trained_again(
    rows: Rows,
    clf: cs.CertifiedClassifier,
    arrays: dict[str, Any] | None,
    members: Any,
    seed: int,
    tolerance: float,
    progress: bool,
) -> int:
    """Whether the data are those of the record, and some members what these data make; how many were trained."""
    if arrays is None:
        rows.unchecked("data", "none were given: data= says where a .npz with X_train and y_train is")
        rows.unchecked("members", NOT_ASKED if members == 0 else "there are no data to train on")
        return 0
    record = json.loads(clf.record())
    settings = clf.get_params(deep=False) | {
        "seed": clf.seed_,
        "precision": record["precision"],
        "progress": progress,
    }
    settings |= {"n_members": None if isinstance(clf.law, Partition) else clf.n_members_}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            untrained = cs.CertifiedClassifier(**settings)._untrained(
                arrays["X_train"], arrays["y_train"], classes=clf.classes_, X_trusted=arrays.get("X_trusted"),
                y_trusted=arrays.get("y_trusted"),
            )  # fmt: skip
    except CertssbError as error:
        rows.failed("data", f"they do not fit this ensemble ({error})")
        rows.unchecked("members", "there are no data to train on")
        return 0
    told, made = flat(record), flat(json.loads(untrained.ensemble.record()))
    wrong = [
        f"the record says {name} {told.get(name)!r}, the data and settings {made.get(name)!r}"
        for name in sorted({*told, *made})
        if told.get(name) != made.get(name)
    ]
    rows.found("data", wrong, f"{record['n_train']:,} training samples with the recorded digest")
    if wrong or members == 0:
        rows.unchecked("members", NOT_ASKED if members == 0 else "they are of other data")
        return 0
    n = clf.n_members_ if members == "all" else min(int(members), clf.n_members_)
    numbers = np.sort(np.random.default_rng(seed).choice(clf.n_members_, n, replace=False)).tolist()
    with progress_bar(progress, "training again") as report:
        untrained.train_these(numbers, report)
    other: dict[int, float] = {}
    for place, (kept, new) in enumerate(zip(_levels(clf), untrained.levels, strict=True)):
        own, again = dict(kept.digests()), dict(new.digests())
        for number in numbers:
            if own.get(number) != again.get(number):
                other[number] = max(
                    other.get(number, 0.0), _difference(clf, new, arrays, place, number, numbers)
                )
    listed = ", ".join(map(str, numbers[:8])) + (", ..." if n > 8 else "")
    what = f"{n} of {clf.n_members_:,} trained again ({listed})"
    # Where some come out bit for bit, rounding is no excuse for others.
    beyond = (
        other if len(other) < n else {number: share for number, share in other.items() if share > tolerance}
    )
    if beyond:
        named = ", ".join(map(str, list(beyond)[:8]))
        hint = "another processor or version rounds differently, which a tolerance and X_test allow for"
        rows.failed("members", f"{what}: {len(beyond)} differ ({named}; {hint})")
    elif other:
        rows.passed(
            "members",
            f"{what}: all differ in their bits, in at most {100 * max(other.values()):.2f}% of their votes",
        )
    else:
        rows.passed("members", f"{what}: the same to the last bit")
    return n


def _difference(
    clf: cs.CertifiedClassifier, new: Any, arrays: dict[str, Any], level: int, number: int, numbers: list[int]
) -> float:
    """Share of the votes on the test samples that a member casts otherwise; all of them where there are none."""
    if "X_test" not in arrays:
        return 1.0
    kept = clf.votes(arrays["X_test"])
    kept = kept[level] if kept.ndim == 3 else kept
    again = new.votes(clf._asked(arrays["X_test"]))
    return float(np.mean(kept[number] != again[numbers.index(number)]))


def _levels(clf: cs.CertifiedClassifier) -> Any:
    ensemble = clf._fitted()
    return getattr(ensemble, "levels", None) or [ensemble]


def _certified(
    rows: Rows, clf: cs.CertifiedClassifier, arrays: dict[str, Any] | None, table: str | None
) -> None:
    """Whether the members give the table."""
    if table is None or arrays is None or "X_test" not in arrays:
        what = (
            "no table was given" if table is None else "the data have no X_test, whose certificates they are"
        )
        rows.unchecked("certificates", what)
        return
    certs = CertificateTable.load(table)
    evidence = json.loads(certs._core.record())["evidence"]
    asked = dict(evidence.get("confidence", {}))
    asked = {
        name: asked[name]
        for name in ("alpha", "bound", "selection", "runner_up", "family_wise", "split")
        if name in asked
    }
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            election: Any = certs.election or "plurality"
            again = clf.certify(arrays["X_test"], **asked, election=election)
    except (CertssbError, TypeError) as error:
        rows.failed("certificates", f"the members cannot give them ({error})")
        return
    record = json.loads(clf.record())
    told, made = flat(json.loads(certs._core.record())), flat(json.loads(again._core.record()))
    # What it leaves out as well: without a number of trusted samples, say, the guarantee claims more.
    wrong = [
        f"its record says {name} {told.get(name)!r}, the members {made.get(name)!r}"
        for name in sorted({*told, *made})
        if told.get(name) != made.get(name)
    ]
    wrong += [
        what
        for what in differences(certs, again, record, certs._core.classes_as_received)
        if "its record" not in what
    ]
    if (
        certs._classes is not None
        and again._classes is not None
        and not np.array_equal(certs._classes, again._classes)
    ):
        wrong.append(f"its classes are {certs._classes.tolist()}, the members' {again._classes.tolist()}")
    elif (certs._classes is None) != (again._classes is None):
        wrong.append("its classes are not the members'")
    rows.found("certificates", wrong, f"the members give all {len(certs)} of them, every number the same")


def _limits(clf: cs.CertifiedClassifier, n_again: int, fingerprint: str | None) -> list[str]:
    limits = []
    if n_again < clf.n_members_:
        limits.append(false_members_pass(clf.n_members_, n_again))
    if fingerprint is None:
        limits.append(
            "whether this is the ensemble that somebody saved: the fingerprint in the folder can be written anew. The one that save "
            "returned, kept elsewhere and given here, tells."
        )
    limits.append(
        "whether the training data are the ones that were received, and whether seed, law, alpha and number of members were settled "
        "before anybody saw votes."
    )
    return limits
