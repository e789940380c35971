"""The command line: ``certssb run`` takes a data set to certificates, table and plot."""

from __future__ import annotations

import argparse
import io
import json
import platform
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import certssb as cs
from certssb import _files, metrics
from certssb._checks import check_integer, one_of, parameter_error, shape_error
from certssb._format import share_down
from certssb.report import write_report
from certssb.report._folder import write_run

__all__ = ["main"]

_TRIGGERS: dict[str, Callable[[float], cs.triggers.Trigger]] = {
    "one-pixel": lambda norm: cs.triggers.OnePixel(norm=norm),
    "four-pixel": lambda norm: cs.triggers.FourPixel(norm=norm),
    "blend": lambda norm: cs.triggers.Blend(norm=norm),
    "patch": lambda norm: cs.triggers.Patch(norm=norm),
}

_ARRAYS = ("X_train", "y_train", "X_test", "y_test")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        The words after ``certssb``; those of the process if not given.

    Returns
    -------
    int
        The exit status: 0 done, 1 refused or failed, 130 interrupted.

    Examples
    --------
    >>> from certssb.cli import main
    >>> main(["plan", "--n-train", "1000", "--n-poisoned", "5", "--norm", "0.5", "--subsample", "50"])
    ... # doctest: +ELLIPSIS
    5 poisoned samples...
    0
    """
    options = _parser().parse_args(arguments)
    try:
        options.command(options)
    except cs.CancelledError as error:
        print(f"certssb: {error}", file=sys.stderr)
        return 130
    except (cs.CertssbError, OSError) as error:
        print(f"certssb: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="certssb", description="Provable robustness against training-data backdoors."
    )
    parser.add_argument("--version", action="version", version=f"certssb {cs.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    formatter = argparse.ArgumentDefaultsHelpFormatter
    run = commands.add_parser(
        "run", help="poison (if asked), train, certify, report", formatter_class=formatter
    )
    _add_data(run)
    _add_attack(run)
    _add_law(run)
    _add_training(run)
    _add_confidence(run)
    run.add_argument(
        "--out", default="runs/latest", help="folder to write certificates, summary, plot and report to"
    )
    run.set_defaults(command=_run)
    report = commands.add_parser("report", help="write one HTML page about a run, from its folder")
    report.add_argument("folder", help="the folder that certssb run wrote")
    report.add_argument("--out", help="file to write; report.html in the folder if not given")
    report.set_defaults(command=_report)
    plan = commands.add_parser(
        "plan", help="what a budget demands of the votes, before training", formatter_class=formatter
    )
    plan.add_argument("--n-train", type=int, required=True, help="number of training samples")
    plan.add_argument("--n-poisoned", type=int, required=True, help="poisoned samples to certify against")
    plan.add_argument("--norm", type=float, required=True, help="L2 norm of the trigger; inf for any")
    plan.add_argument("--labels", action="store_true", help="certify against changed labels as well")
    plan.add_argument("--n-classes", type=int, default=2, help="number of classes")
    plan.add_argument("--n-features", type=int, help="number of features; needed for uniform noise")
    plan.add_argument("--alpha", type=float, default=0.001, help="chance that a certificate is wrong")
    _add_law(plan)
    plan.set_defaults(command=_plan)
    ledger = commands.add_parser("ledger", help="look at a ledger of certified regions")
    actions = ledger.add_subparsers(required=True, metavar="ACTION")
    for name, action, description in (
        ("show", _ledger_show, "counts, and the last entries"),
        ("verify", _ledger_verify, "check the whole file"),
        ("export", _ledger_export, "write entries and centres to a .csv or .npz file"),
    ):
        action_parser = actions.add_parser(name, help=description)
        action_parser.add_argument("ledger", help="the ledger's file")
        if name == "export":
            action_parser.add_argument("out", help=".csv without centres, or .npz with them")
        action_parser.set_defaults(command=action)
    certify = commands.add_parser(
        "certify", help="certify votes of members trained elsewhere", formatter_class=formatter
    )
    certify.add_argument(
        "votes", help=".npy of class numbers (n_members, n_samples) or scores (..., n_classes)"
    )
    certify.add_argument("--n-train", type=int, required=True, help="number of training samples")
    certify.add_argument("--n-classes", type=int, help="number of classes; needed for votes")
    certify.add_argument("--n-features", type=int, help="number of features; needed for uniform noise")
    certify.add_argument("--out", default="certificates.npz", help="file to write the table to")
    _add_law(certify)
    _add_confidence(certify)
    certify.set_defaults(command=_certify)
    return parser


def _add_data(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("data")
    group.add_argument(
        "--dataset", default="digits", help="digits, mnist, cifar10, or a .npz with " + ", ".join(_ARRAYS)
    )
    group.add_argument("--data-root", help="folder that holds MNIST/raw, or CIFAR-10")
    group.add_argument(
        "--data-seed",
        type=int,
        default=0,
        help="which digits are test samples, and which samples are poisoned",
    )
    group.add_argument(
        "--classes",
        type=_label,
        nargs="+",
        help="of the data sets that are known: keep these classes only, numbered in this order; of a file of your own: "
        "all classes that there are, so that guarantees do not take the list as received",
    )


def _add_attack(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "poisoning, for experiments: changes training data before anything else"
    )
    group.add_argument(
        "--trigger", choices=["none", *_TRIGGERS], default="none", help="what is stamped on samples"
    )
    group.add_argument("--rate", type=float, default=0.02, help="share of the training set that is poisoned")
    group.add_argument("--norm", type=float, default=1.0, help="L2 norm of the trigger")
    group.add_argument("--target", type=int, default=0, help="class that poisoned samples are given")


def _add_law(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("noise")
    group.add_argument(
        "--sigma", type=float, help="Gaussian noise on features (0.5 if no other noise is asked for)"
    )
    group.add_argument(
        "--sample-specific", action="store_true", help="noise of each sample's own size on top of --sigma"
    )
    group.add_argument(
        "--cascade",
        type=float,
        nargs="+",
        metavar="SIGMA",
        help="these levels of Gaussian noise instead, in order",
    )
    group.add_argument(
        "--thresholds", type=float, nargs="+", metavar="TAU", help="how sure each level but the last must be"
    )
    group.add_argument("--uniform", type=float, metavar="HALF_WIDTH", help="uniform noise instead")
    group.add_argument(
        "--keep", type=float, help="discrete noise instead: chance that a 0/1 feature keeps its value"
    )
    group.add_argument("--label-noise", type=float, metavar="Q", help="chance that a label is replaced")
    group.add_argument("--subsample", type=int, metavar="SIZE", help="training samples that each member sees")


def _add_training(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("training")
    group.add_argument("--model", default="auto", help="linear, mlp, cnn, resnet, or auto")
    group.add_argument("--members", type=int, default=100, help="number of members")
    group.add_argument("--epochs", type=int, default=20)
    group.add_argument("--batch-size", type=int, default=128)
    group.add_argument("--learning-rate", type=float, default=1e-3)
    group.add_argument("--device", default="auto")
    group.add_argument(
        "--jobs", type=int, help="members trained at the same time on the CPU; all cores by default"
    )
    group.add_argument(
        "--seed",
        type=int,
        help="root of the members' random streams, for runs that shall come out the same; a fresh one by default, "
        "since certificates speak of noise that nobody could know beforehand",
    )
    group.add_argument("--checkpoint", help="folder to keep finished members in, and to resume from")
    group.add_argument("--quiet", action="store_true", help="no progress bar")


def _add_confidence(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("certification")
    group.add_argument("--alpha", type=float, default=0.001, help="chance that a certificate is wrong")
    group.add_argument("--bound", default="auto", help="auto, clopper_pearson, kl, hoeffding or betting")
    group.add_argument("--selection", default="union", help="union or split")
    group.add_argument("--runner-up", default="auto", help="auto, complement or bound")
    group.add_argument(
        "--family-wise", action="store_true", help="all test samples' certificates hold together"
    )
    group.add_argument(
        "--n-poisoned", type=int, help="poisoned samples to certify against; as many as were poisoned"
    )
    group.add_argument("--labels", action="store_true", help="certify against changed labels as well")


def _law(options: argparse.Namespace) -> cs.Law:
    given = [name for name in ("cascade", "sigma", "uniform", "keep") if getattr(options, name) is not None]
    if len(given) > 1:
        names = ", ".join(f"--{name}" for name in ("cascade", "sigma", "uniform", "keep"))
        raise parameter_error(names, "given one at a time", f"{len(given)} of them")
    if options.thresholds is not None and options.cascade is None:
        raise parameter_error("--thresholds", "given with --cascade", "them alone")
    if options.sample_specific and options.sigma is None and options.cascade is None:
        raise parameter_error("--sample-specific", "given with --sigma or --cascade", "it alone")
    if options.cascade is not None:
        levels = [_member_law(_gaussian(sigma, options), options) for sigma in options.cascade]
        return cs.Cascade(levels, thresholds=options.thresholds)
    if options.uniform is not None:
        return _member_law(cs.Uniform(options.uniform), options)
    if options.keep is not None:
        return _member_law(cs.Discrete(options.keep), options)
    if options.sigma is not None:
        return _member_law(_gaussian(options.sigma, options), options)
    alone = options.label_noise is None and options.subsample is None
    return _member_law(cs.Gaussian(0.5) if alone else None, options)


def _gaussian(sigma: float, options: argparse.Namespace) -> cs.Law:
    return cs.SampleSpecific(sigma) if options.sample_specific else cs.Gaussian(sigma)


def _member_law(features: cs.Law | None, options: argparse.Namespace) -> cs.Law:
    """Noise on features, with noise on labels and a subsample where they are asked for."""
    labels = None if options.label_noise is None else cs.LabelNoise(options.label_noise)
    inner = features & labels if features is not None and labels is not None else features or labels
    if options.subsample is not None:
        return cs.Subsample(inner, size=options.subsample)
    if inner is None:
        raise parameter_error("--sigma", "given, or another noise", "none")
    return inner


def _data(options: argparse.Namespace) -> tuple[Any, Any, Any, Any]:
    name = options.dataset
    if name == "digits":
        return cs.datasets.load_digits(classes=options.classes, split=True, seed=options.data_seed)
    if name in ("mnist", "cifar10"):
        if options.data_root is None:
            raise parameter_error("--data-root", f"the folder that holds the {name} data", "nothing")
        load = cs.datasets.load_mnist if name == "mnist" else cs.datasets.load_cifar10
        return load(options.data_root, classes=options.classes)
    if name.endswith(".npz"):
        return _user_arrays(name)
    raise parameter_error("--dataset", one_of(["digits", "mnist", "cifar10"]) + " or a .npz file", repr(name))


def _user_arrays(path: str) -> tuple[Any, Any, Any, Any]:
    arrays = _read_arrays("--dataset", "a .npz file of plain arrays", path)
    if not isinstance(arrays, dict):
        raise parameter_error("--dataset", "a .npz file of plain arrays", f"'{path}'")
    missing = [name for name in _ARRAYS if name not in arrays]
    if missing:
        raise parameter_error(
            "--dataset", f"a .npz with {', '.join(_ARRAYS)}", f"one without {', '.join(missing)}"
        )
    X_train, y_train, X_test, y_test = (arrays[name] for name in _ARRAYS)
    if len(X_test) != len(y_test):
        raise shape_error("y_test", f"one label per test sample, {len(X_test)}", f"{len(y_test)} labels")
    return cs.data.as_features(X_train), y_train, cs.data.as_features(X_test, "X_test"), y_test


def _label(word: str) -> int | str:
    """A class as it was typed: a number if it can be one."""
    try:
        return int(word)
    except ValueError:
        return word


def _listed_classes(options: argparse.Namespace, y_train: Any) -> list[Any] | None:
    """All classes that there are, as far as they are known without a look at the labels."""
    if not options.dataset.endswith(".npz"):
        return list(range(10 if options.classes is None else len(options.classes)))
    if options.classes is not None and np.asarray(y_train).dtype.kind not in "iuf":
        return [str(label) for label in options.classes]
    return options.classes  # type: ignore[no-any-return]


def _read_arrays(name: str, expected: str, path: str) -> Any:
    """The array of a .npy file, or all arrays of a .npz by name."""
    return _files.arrays(name, expected, path)


def _run(options: argparse.Namespace) -> None:
    started = time.monotonic()
    out = Path(options.out)
    _files.make_folder(out)
    law = _law(options)
    X_train, y_train, X_test, y_test = _data(options)
    trigger = None if options.trigger == "none" else _TRIGGERS[options.trigger](options.norm)
    n_poisoned = 0
    if trigger is not None:
        classes = np.unique(y_train).tolist()
        if options.target not in classes:
            raise parameter_error("--target", one_of(classes), options.target)
        X_train, y_train, index = cs.triggers.poison(
            X_train, y_train, trigger, rate=options.rate, target=options.target, seed=options.data_seed
        )
        n_poisoned = len(index)
    budget = (
        options.n_poisoned if options.n_poisoned is not None else n_poisoned or max(1, len(X_train) // 50)
    )
    listed = _listed_classes(options, y_train)
    known, _ = cs.data.as_labels(y_train, len(X_train), classes=listed)
    best = _rehearse(law, X_train, len(known), budget, options)
    clf = cs.CertifiedClassifier(
        options.model, law, n_members=options.members, epochs=options.epochs, batch_size=options.batch_size,
        learning_rate=options.learning_rate, device=options.device, seed=options.seed, n_jobs=options.jobs,
        checkpoint=options.checkpoint, progress=not options.quiet, alpha=options.alpha,
    )  # fmt: skip
    clf.fit(X_train, y_train, classes=listed)
    trained = time.monotonic()
    tests = {"clean": (X_test, y_test)}
    if trigger is not None:
        others = np.asarray(y_test) != options.target
        tests["triggered"] = (trigger(X_test[others]), y_test[others])
    tables = {name: clf.certify(X, **_settings(options)) for name, (X, _) in tests.items()}
    sizes = _sizes(tables.values(), budget, options)
    summary = {
        "guarantee": tables["clean"].guarantee,
        "sound": tables["clean"].sound,
        "results": {
            name: _results(tables[name], y, sizes, budget, options) for name, (_, y) in tests.items()
        },
        "settings": _plain({k: v for k, v in vars(options).items() if k != "command"}),
        "law": repr(law),
        "best_possible": best,
        "n_train": len(X_train),
        "n_poisoned": n_poisoned,
        "budget": {"n_poisoned": budget, "labels": options.labels},
        "record": json.loads(clf.record()),
        "seconds": {"training": trained - started, "total": time.monotonic() - started},
        "peak_memory_mb": _peak_memory(),
        "versions": _versions(),
        "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    write_run(out, tables, tests, summary, _plot(tables, tests, budget, options))
    print(_text(summary, budget, options))
    print(f"\nWritten to {out}: " + ", ".join(sorted(path.name for path in out.iterdir() if path.is_file())))


def _rehearse(
    law: cs.Law, X_train: Any, n_classes: int, budget: int, options: argparse.Namespace
) -> dict[str, Any]:
    """Certify members that all agree: refuses every bad setting before training, and says what is within reach."""
    members = check_integer("--members", options.members, "an integer of at least 1", 1)
    levels = (len(law.levels),) if isinstance(law, cs.Cascade) else ()
    table = cs.certify_votes(
        np.zeros((*levels, members, 1), dtype=np.int64), law, len(X_train), n_classes,
        n_features=int(np.prod(np.shape(X_train)[1:])), **_settings(options),
    )  # fmt: skip
    best: dict[str, Any] = {}
    if table.radius is not None:
        best["radius"] = float(table.radius[0])
    if isinstance(law, cs.Discrete):
        best["flips"] = int(table.n_flips()[0])
    else:
        norm = float(table.trigger_norm(n_poisoned=budget, labels=options.labels)[0])
        best["trigger_norm"] = norm if np.isfinite(norm) else "any"
        best["n_poisoned"] = budget
    reach = ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in best.items()
    )
    print(f"If all {members} members agree: {reach}", flush=True)
    if options.trigger != "none" and not isinstance(law, (cs.Discrete, cs.Cascade)):
        plan = law.plan(
            len(X_train), budget, options.norm, options.labels, options.alpha, n_classes,
            int(np.prod(np.shape(X_train)[1:])),
        )  # fmt: skip
        print(f"For {plan}", flush=True)
    return best


def _plan(options: argparse.Namespace) -> None:
    law = _law(options)
    plan = law.plan(
        options.n_train, options.n_poisoned, options.norm, options.labels, options.alpha, options.n_classes,
        options.n_features,
    )  # fmt: skip
    print(plan)


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    return {
        "alpha": options.alpha,
        "bound": options.bound,
        "selection": options.selection,
        "runner_up": options.runner_up,
        "family_wise": options.family_wise,
    }


def _grid(largest: float) -> list[float]:
    """About ten round sizes from 0 to beyond the largest."""
    step = next(
        (s for s in (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0) if s * 10 >= largest), 10.0
    )
    return [round(step * i, 6) for i in range(11)]


def _sizes(
    tables: Iterable[cs.CertificateTable], budget: int, options: argparse.Namespace
) -> dict[str, list[float]]:
    """The sizes of changes that tables are printed for, the same for all of them."""
    sizes: dict[str, list[float]] = {}
    for table in tables:
        if isinstance(table.law, cs.Discrete):
            largest = {"flips": float(table.n_flips().max(initial=0) + 1)}
        else:
            norms = table.trigger_norm(n_poisoned=budget, labels=options.labels)
            finite = float(np.max(norms[np.isfinite(norms)], initial=0.0))
            largest = {"trigger_norms": max(finite, options.norm if options.trigger != "none" else 0.0)}
        if table.radius is not None:
            largest["radii"] = float(np.max(table.radius, initial=0.0))
        for kind, size in largest.items():
            sizes.setdefault(kind, []).append(size)
    grids = {kind: _grid(max(values)) for kind, values in sizes.items() if kind != "flips"}
    if "flips" in sizes:
        grids["flips"] = [float(flips) for flips in range(int(max(sizes["flips"])) + 1)]
    return grids


def _results(
    table: cs.CertificateTable,
    y: Any,
    sizes: dict[str, list[float]],
    budget: int,
    options: argparse.Namespace,
) -> dict[str, Any]:
    y = np.asarray(y)
    results: dict[str, Any] = {
        "n_samples": len(table),
        "accuracy": metrics.empirical_robust_accuracy(y, table.prediction),
        "certified_ratio": metrics.certified_ratio(~table.abstained),
        **sizes,
    }
    if options.trigger != "none":
        results["attack_success_rate"] = metrics.attack_success_rate(y, table.prediction, options.target)
    if "radii" in sizes:
        results["certified_accuracy"] = _floats(table.certified_accuracy(y, radii=sizes["radii"]))
    if "flips" in sizes:
        flips = np.where(table.abstained, -1, table.n_flips())
        results["certified_accuracy_flips"] = [
            metrics.certified_accuracy(y, table.prediction, flips >= size) for size in sizes["flips"]
        ]
    if "trigger_norms" in sizes:
        results["certified_accuracy_budget"] = _floats(
            table.certified_accuracy(
                y, n_poisoned=budget, trigger_norm=sizes["trigger_norms"], labels=options.labels
            )
        )
    return results


def _floats(values: npt.ArrayLike) -> list[float]:
    return [float(value) for value in np.ravel(np.asarray(values))]


def _plain(settings: dict[str, Any]) -> dict[str, Any]:
    return {key: str(value) if isinstance(value, Path) else value for key, value in settings.items()}


def _peak_memory() -> float | None:
    """Largest resident size of this process so far, in MB; None where the system does not tell."""
    try:
        import resource
    except ImportError:
        return None
    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale / 1e6


def _versions() -> dict[str, str]:
    import torch

    return {
        "certssb": cs.__version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
    }


def _report(options: argparse.Namespace) -> None:
    print(f"Written to {write_report(options.folder, options.out)}")


def _plot(
    tables: dict[str, cs.CertificateTable],
    tests: dict[str, tuple[Any, Any]],
    budget: int,
    options: argparse.Namespace,
) -> bytes | None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained", dpi=150)
    FigureCanvasAgg(figure)
    ax = figure.add_subplot()
    for name, (_, y) in tests.items():
        table = tables[name]
        label = f"{name} test samples"
        if table.radius is not None:
            display = cs.CertifiedAccuracyDisplay.from_certificates(table, y, name=label)
        elif isinstance(table.law, cs.Discrete):
            return None
        else:
            display = cs.CertifiedAccuracyDisplay.from_certificates(
                table, y, n_poisoned=budget, labels=options.labels, name=label
            )
        display.plot(ax=ax)
    drawn = io.BytesIO()
    figure.savefig(drawn)
    return drawn.getvalue()


def _text(summary: dict[str, Any], budget: int, options: argparse.Namespace) -> str:
    lines = ["", summary["guarantee"], ""]
    for name, results in summary["results"].items():
        line = f"{name} test samples: {results['n_samples']}, accuracy {results['accuracy']:.4f}"
        rate = results.get("attack_success_rate")
        lines.append(line + ("" if rate is None else f", given the target class {rate:.4f}"))
    lines.append("")
    labels = ", labels changed as well" if options.labels else ""
    for sizes, shares, title in (
        ("radii", "certified_accuracy", "Certified accuracy over the total L2 radius:"),
        (
            "trigger_norms",
            "certified_accuracy_budget",
            f"Certified accuracy over the trigger norm, {budget} poisoned samples{labels}:",
        ),
        ("flips", "certified_accuracy_flips", "Certified accuracy over the number of changed entries:"),
    ):
        rows = {name: results for name, results in summary["results"].items() if sizes in results}
        for number, (name, results) in enumerate(rows.items()):
            if number == 0:
                lines += [title, _row("size", [f"{size:g}" for size in results[sizes]])]
            lines.append(_row(name, [f"{share_down(share):.4f}" for share in results[shares]]))
        if rows:
            lines.append("")
    seconds = summary["seconds"]
    memory = summary["peak_memory_mb"]
    lines.append(
        f"{summary['record']['n_train']} training samples, {options.members} members, "
        f"{seconds['training']:.0f} s training, {seconds['total']:.0f} s in all"
        + ("" if memory is None else f", {memory:.0f} MB at most")
    )
    return "\n".join(lines)


def _row(name: str, cells: Sequence[str]) -> str:
    return f"  {name:<10}" + "".join(f"{cell:>8}" for cell in cells)


def _ledger_show(options: argparse.Namespace) -> None:
    with cs.Ledger(options.ledger, read_only=True) as ledger:
        frame = ledger.to_frame()
        print(f"{ledger.n_updates} updates, {len(ledger)} regions, dimension {ledger.dimension}")
        for outcome, count in frame["outcome"].value_counts().items():
            print(f"  {outcome:<10}{count:>8}")
        print(frame.tail(10).to_string(index=False))


def _ledger_verify(options: argparse.Namespace) -> None:
    with cs.Ledger(options.ledger, read_only=True) as ledger:
        report = ledger.verify(progress=sys.stderr.isatty())
    outcomes = ", ".join(f"{count} {outcome}" for outcome, count in report.outcomes.items())
    print(
        f"Clean: {report.updates} updates ({outcomes}), {report.regions} regions, none contradicts another."
    )


def _ledger_export(options: argparse.Namespace) -> None:
    if not options.out.endswith((".csv", ".npz")):
        raise parameter_error("out", "a file name that ends in .csv or .npz", repr(options.out))
    with cs.Ledger(options.ledger, read_only=True) as ledger:
        frame = ledger.to_frame()
        if options.out.endswith(".csv"):
            content = frame.to_csv(index=False, float_format="%.17g").encode()
        else:
            columns = {name: frame[name].fillna(-1).to_numpy() for name in frame if name != "outcome"}
            outcome = frame["outcome"].to_numpy(dtype=str)
            content = _files.npz({"centres": ledger.centres(), "outcome": outcome, **columns})
    _files.write(options.out, content)
    print(f"Written to {options.out}: {len(frame)} entries")


def _certify(options: argparse.Namespace) -> None:
    expected = "a .npy file of votes or scores"
    ballots = _read_arrays("votes", expected, options.votes)
    if not isinstance(ballots, np.ndarray):
        raise parameter_error("votes", expected, f"'{options.votes}'")
    law, settings = _law(options), _settings(options)
    if ballots.ndim == 3 and not isinstance(law, cs.Cascade):
        table = cs.certify_scores(ballots, law, options.n_train, n_features=options.n_features, **settings)
    else:
        if options.n_classes is None:
            raise parameter_error("--n-classes", "given with votes", "nothing")
        table = cs.certify_votes(
            ballots, law, options.n_train, options.n_classes, n_features=options.n_features, **settings
        )
    table.save(options.out)
    print(table.guarantee)
    print(table.to_frame().describe().to_string())
    print(f"Written to {options.out}")


if __name__ == "__main__":
    sys.exit(main())
