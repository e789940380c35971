"""The page itself: its sections, from the guarantee to the versions."""

from __future__ import annotations

import base64
import io
import json
import math
import shlex
from collections.abc import Sequence
from dataclasses import replace
from importlib import resources
from typing import Any

import numpy as np
import numpy.typing as npt

from certssb._checks import parameter_error, shown
from certssb.certificates import CertificateTable
from certssb.report._counted import KINDS
from certssb.report._headline import finished, headline, percent, percent_up
from certssb.report._markup import Markup, joined, table, tag
from certssb.report._plots import figures
from certssb.report._run import Run
from certssb.report._samples import Samples, least_certain

__all__ = ["document", "render", "written"]

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_THUMBNAIL = 128
"""Larger images are shown scaled down to this many pixels."""


def render(run: Run) -> str:
    """Make the page.

    Parameters
    ----------
    run : Run
        What the run left in its folder.

    Returns
    -------
    str
        A self-contained HTML document.

    Raises
    ------
    ParameterError
        If `run` is something else.

    Examples
    --------
    >>> from certssb.report import Run, render
    >>> page = render(Run.read("runs/digits"))  # doctest: +SKIP
    """
    if not isinstance(run, Run):
        raise parameter_error("run", "what Run.read returns", shown(run))
    sections = [
        headline(run), _guarantee(run), _results(run), tag("section", tag("h2", "Plots"), tag("div", *figures(run), class_="plots")),
        *(_samples(run, name) for name in run.tables), _settings(run), _origin(run),
    ]  # fmt: skip
    title = f"Certificates: {run.name}"
    return document(
        title, tag("header", tag("h1", title), tag("p", _subtitle(run), class_="faint")), sections
    )


def document(title: str, header: Markup, sections: Sequence[Markup | None]) -> str:
    """A whole page of these sections, in the house's style, that may load nothing."""
    css = resources.files("certssb.report").joinpath("style.css").read_text(encoding="utf-8")
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("title", title),
        tag("style", Markup(css)),
    )
    body = tag("body", tag("main", header, *sections))
    return f"<!DOCTYPE html>\n{tag('html', head, body, lang='en')}\n"


def _subtitle(run: Run) -> Markup:
    summary, settings = run.summary, run.summary["settings"]
    n_train, n_trusted = summary["n_train"], summary.get("n_trusted", 0)
    beside = f" and {n_trusted:,} trusted ones" if n_trusted else ""
    members = settings.get("members")
    voting = f"{members:,}" if isinstance(members, int) else members
    voters = "members" if next(iter(run.tables.values())).election is None else "learners"
    words = f"{settings.get('dataset')}, {n_train:,} training samples{beside}, {voting} {voters}, {summary['law']}"
    when = finished(run)
    return joined(words, ", finished " if when else None, when)


def _guarantee(run: Run) -> Markup:
    sentences = list(dict.fromkeys(table.guarantee for table in run.tables.values()))
    warning = tag(
        "p",
        tag("strong", "Not a proof against an attacker on the training set."),
        " The numbers below follow a published form whose assumptions such an attacker can break.",
        class_="warning",
    )
    sound = all(certs.sound for certs in run.tables.values())
    quotes = [tag("blockquote", sentence) for sentence in sentences]
    own = run.summary.get("own_attack")
    attack = None
    if own is not None:
        attack = tag("p", str(own["sentence"]), class_=None if own["covered"] else "warning")
    return tag("section", tag("h2", "What is guaranteed"), *quotes, None if sound else warning, attack)


def _results(run: Run) -> Markup:
    results = run.summary["results"]
    names = list(results)
    rows: list[list[Any]] = [["Samples", *(f"{r['n_samples']:,}" for r in results.values())]]
    for key, label in (
        ("accuracy", "Predicted right"),
        ("certified_ratio", "Not abstained"),
        ("attack_success_rate", "Given the attacker's class"),
    ):
        if any(r.get(key) is not None for r in results.values()):
            # A share that speaks for the attacker is rounded up.
            rounded = percent_up if key == "attack_success_rate" else percent
            rows.append([label, *(rounded(r.get(key)) for r in results.values())])
    parts = [tag("h2", "Results"), table(["Test samples", *names], rows, class_="numbers")]
    for kind in KINDS:
        if all(kind.sizes in r for r in results.values()):
            points = zip(
                results[names[0]][kind.sizes], *(r[kind.shares] for r in results.values()), strict=True
            )
            body = [[f"{point[0]:,g}", *(percent(share) for share in point[1:])] for point in points]
            unit = kind.unit[0].upper() + kind.unit[1:]
            title = f"Predicted right and certified, {run._counted(kind)}"
            parts += [tag("h3", title), table([unit, *names], body, class_="numbers")]
    return tag("section", *parts)


def _samples(run: Run, name: str) -> Markup | None:
    samples, certs = run.samples[name], run.tables[name]
    if samples.images is None:
        return None
    of_all, certified = least_certain(certs)
    value, unit = _certainty(run, certs)
    rows = [
        tag("h3", title) + tag("div", *(_sample(samples, certs, value, unit, i) for i in places), class_="samples")
        for title, places in (("Among all", of_all), ("Among those with a certificate", certified))
        if len(places)
    ]  # fmt: skip
    heading = tag("h2", f"Least certain {name} test samples")
    note = tag(
        "p", f"Frame: blue right and certified, grey abstained, orange wrong. {unit[1]}", class_="faint"
    )
    return tag("section", heading, note, *(Markup(row) for row in rows), _behind(run, name))


def _behind(run: Run, name: str) -> Markup | None:
    """For the least certain samples, the training samples whose presence moves their votes."""
    hints, samples, certs = run.hints.get(name), run.samples[name], run.tables[name]
    if hints is None or samples.images is None:
        return None
    rows = []
    for place, own, differences, errors in zip(
        hints.index.tolist(), hints.samples.tolist(), hints.differences, hints.errors, strict=True
    ):
        shown = np.flatnonzero(samples.index == place)
        drawn = _png(samples.images[shown[0]]) if len(shown) else None
        alt = f"Test sample {place}"
        test = tag(
            "figure",
            None if drawn is None else tag("img", src=drawn, alt=alt),
            tag("figcaption", f"{certs.prediction[place]}, #{place}"),
        )
        cells: list[Any] = [test]
        for number, difference, error in zip(own, differences.tolist(), errors.tolist(), strict=True):
            at = int(np.searchsorted(hints.known, number))
            drawn = _png(hints.images[at])
            words = f"{100 * difference:+.1f} \u00b1 {100 * error:.1f} points"
            caption = tag(
                "figcaption", words, tag("br"), tag("span", f"{hints.labels[at]}, #{number}", class_="faint")
            )
            alt = f"Training sample {number}, labelled {hints.labels[at]}, {words}"
            cells.append(tag("figure", None if drawn is None else tag("img", src=drawn, alt=alt), caption))
        rows.append(cells)
    places = ["first", "second", "third"][: hints.samples.shape[1]]
    note = (
        "Training samples whose presence raises the votes for the predicted class most clearly: the share of votes among members "
        "that drew the sample, less the share among the others, with its standard error. A hint where to look, not a guarantee."
    )
    head = ["Test sample", *places]
    return tag(
        "details",
        tag("summary", "Training samples behind these predictions"),
        tag("p", note, class_="faint"),
        table(head, rows, class_="hints"),
    )


def _certainty(run: Run, certs: CertificateTable) -> tuple[npt.NDArray[Any], tuple[str, str]]:
    """What is certified about each sample as one number, how a caption says it, and what it means."""
    if certs.radius is not None:
        return certs.radius, ("radius {}", "Radius: total L2 norm over the training set.")
    if "flips" in run.summary["results"][next(iter(run.tables))]:
        return certs.n_flips(), ("survives {}", "Survives: the largest number of changed entries.")
    budget = run.budget
    if all("counts" in results for results in run.summary["results"].values()):
        counts = replace(budget, n_poisoned=None)
        return certs.n_poisoned(**counts.change()), (
            "survives {}",
            f"Survives: the largest number of {counts.words()}.",
        )
    norms = replace(budget, trigger_norm=None)
    words = f"Norm: the largest trigger survived, {norms.words(run.n_train)}."
    return certs.trigger_norm(**norms.change()), ("norm {}", words)


def _sample(
    samples: Samples, certs: CertificateTable, value: npt.NDArray[Any], unit: tuple[str, str], place: int
) -> Markup:
    assert samples.images is not None
    shown = np.flatnonzero(samples.index == place)
    predicted, truth = certs.prediction[place], samples.y_true[place]
    right = bool(predicted == truth)
    state = "wrong" if not right else "abstained" if certs.abstained[place] else "certified"
    words = f"{predicted} \u2713" if right else f"{predicted} \u2717 true: {truth}"
    second = "abstained" if certs.abstained[place] else unit[0].format(_down(float(value[place])))
    alt = f"Sample {place}, predicted {predicted}, true class {truth}, {second}"
    drawn = _png(samples.images[shown[0]]) if len(shown) else None
    image = None if drawn is None else tag("img", src=drawn, alt=alt)
    caption = tag("figcaption", words, tag("br"), second, tag("br"), tag("span", f"#{place}", class_="faint"))
    return tag("figure", image, caption, class_=f"sample {state}")


def _down(value: float) -> str:
    if math.isinf(value):
        return "any"
    return f"{int(value)}" if value == int(value) else f"{math.floor(value * 1000) / 1000:.3f}"


def _png(image: npt.NDArray[np.float32]) -> str | None:
    """The picture as a link to itself; None where Pillow, which comes with matplotlib, is not installed."""
    try:
        from PIL import Image
    except ImportError:
        return None
    pixels = (image.clip(0, 1) * 255 + 0.5).astype(np.uint8)
    colour = len(pixels) in (3, 4)
    picture = Image.fromarray(
        pixels.transpose(1, 2, 0).copy() if colour else pixels.mean(axis=0).astype(np.uint8)
    )
    picture.thumbnail((_THUMBNAIL, _THUMBNAIL))
    written = io.BytesIO()
    picture.save(written, format="PNG")
    return "data:image/png;base64," + base64.b64encode(written.getvalue()).decode()


def _settings(run: Run) -> Markup:
    settings = run.summary["settings"]
    rows = [[key.replace("_", " "), written(value)] for key, value in settings.items() if value is not None]
    command = tag("pre", tag("code", _command(settings)), class_="command")
    secret = settings.get("seed") is None
    note = "The noise was drawn from a fresh seed, which nobody knew beforehand." if secret else None
    if note is not None and next(iter(run.tables.values())).election is not None:
        note = "The samples were put into buckets under a fresh seed, which is no secret."
    if note is not None:
        note += f" --seed {_record(run).get('seed')} repeats it."
    again = [tag("h3", "The same run again"), command, tag("p", note) if note else None]
    return tag("section", tag("h2", "Settings"), _pairs(rows), *again)


def _command(settings: dict[str, Any]) -> Markup:
    from certssb.cli._config import words_of

    # Each option beside its values, so that no line ends between them or inside of one.
    parts = [["certssb", "run"]]
    for word in words_of(settings):
        if word.startswith("--"):
            parts.append([])
        parts[-1].append(word)
    first, *options = (tag("span", shlex.join(part)) for part in parts)
    return joined(first, *(part for option in options for part in (" ", option)))


def _origin(run: Run) -> Markup:
    summary = run.summary
    record, seconds = _record(run), summary["seconds"]
    memory = summary.get("peak_memory_mb")
    rows = [
        ["Seed of the noise", str(record.get("seed"))],
        ["Digest of the training data", tag("code", record.get("data_digest"))],
        ["Poisoned on purpose", f"{summary.get('n_poisoned', 0):,} training samples"],
        *([f"Version of {name}", version] for name, version in summary["versions"].items()),
        ["Training took", f"{seconds.get('training', 0):,.1f} s"],
        ["Total time", f"{seconds.get('total', 0):,.1f} s"],
        *([["Peak memory", f"{memory:,.0f} MB"]] if memory else []),
        *([["Finished", summary["finished"]]] if "finished" in summary else []),
    ]
    raw = tag(
        "details",
        tag("summary", "The ensemble's record"),
        tag("pre", json.dumps(summary["record"], indent=2)),
    )
    return tag("section", tag("h2", "Where it comes from"), _pairs(rows), raw)


def _pairs(rows: list[list[Any]]) -> Markup:
    """Names and values, in as many columns as fit."""
    return tag("dl", *(tag("div", tag("dt", name), tag("dd", value)) for name, value in rows), class_="pairs")


def _record(run: Run) -> dict[str, Any]:
    """The ensemble's record; the first level's of a cascade, where data and seed are the same."""
    record: Any = run.summary["record"]
    return dict(record[0] if isinstance(record, list) else record)


def written(value: Any) -> str:
    """A setting as text."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(str(item) for item in value) if isinstance(value, list) else str(value)
