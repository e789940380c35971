"""The words of the command line: every command and option, and how a wrong one is told."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import certssb as cs

ARRAYS = ("X_train", "y_train", "X_test", "y_test")
"""What a data set of the user's own holds."""
TRIGGERS = ("one-pixel", "four-pixel", "blend", "patch")
AUGMENTATIONS = ("shift", "flip", "affine", "elastic")
NOISES = ("cascade", "sigma", "uniform", "keep")
"""Options of which one at most says how features are noised."""


class _Formatter(argparse.HelpFormatter):
    """The default behind each option that need not be given, unless its words say what happens without it."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        words = action.help or ""
        if not action.option_strings or action.required or isinstance(action, _SAYS_ITSELF):
            return words
        if action.default is not None and not isinstance(action.default, bool):
            return f"{words} (default: %(default)s)"
        if any(said in words for said in ("default", "if not given", "needed ", "or else")):
            return words
        return f"{words} (default: {'none' if action.default is None else 'yes' if action.default else 'no'})"


_SAYS_ITSELF = (argparse._HelpAction, argparse._VersionAction)


class _Parser(argparse.ArgumentParser):
    """One sentence and status 2 for words that cannot be understood; no option by the beginning of its name."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {' '.join(message.split())}; see '{self.prog} --help'\n")

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        if message and sys.stderr is not None:
            self._print_message(message, sys.stderr)
        sys.exit(status)

    def _print_message(self, message: str, file: Any = None) -> None:
        # argparse writes to standard output if there is no error stream, and to nothing at all if there is neither.
        if file is not None:
            super()._print_message(message, file)


def _run_command(name: str) -> Any:
    """The function behind a command, imported when it is needed: help and refused words come at once."""

    def command(options: argparse.Namespace) -> int | None:
        from certssb.cli import _others, _run

        status: int | None = (_run.run if name == "run" else getattr(_others, name))(options)
        return status

    return command


def commands_of(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The commands of a parser by name; none for one that has none."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def parsed(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """What was typed, with a file of options read before it."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if getattr(options, "config", None) is None:
        return options
    from certssb.cli._config import config_words

    typed = list(sys.argv[1:] if arguments is None else arguments)
    place = typed.index("run") + 1
    return parser.parse_args(
        [*typed[:place], *config_words(options.config, commands_of(parser)["run"]), *typed[place:]]
    )


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="certssb", description="Provable robustness against training-data backdoors.")
    parser.add_argument("--version", action="version", version=f"certssb {cs.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    formatter = _Formatter
    run = commands.add_parser(
        "run", help="poison (if asked), train, certify, report", formatter_class=formatter
    )
    _add_data(run)
    _add_attack(run)
    _add_law(
        run,
        "without any of these options members see subsamples that are so small that most of them hold none of the "
        "--n-poisoned samples: certificates then cover any change of these samples, labels included",
    )
    _add_training(run)
    _add_confidence(run)
    _add_budget(
        run, "changed training samples to certify against; as many as the run poisons, or else 2%% of all"
    )
    _add_threat(
        run,
        "--n-poisoned and --labels; without any law each member then sees a sample with a probability that "
        "follows from the number in it",
        "inserted=40",
    )
    run.add_argument(
        "--config",
        metavar="FILE",
        help="read options from a .toml or .json file first, such as the run.toml of an earlier run; options on the "
        "command line take precedence",
    )
    run.add_argument(
        "--out", default="runs/latest", help="folder to write certificates, summary, plot and report to"
    )
    run.set_defaults(command=_run_command("run"))
    report = commands.add_parser(
        "report",
        help="write a self-contained HTML page about a run, or about two",
        formatter_class=formatter,
    )
    report.add_argument("folder", help="the folder that certssb run wrote")
    report.add_argument(
        "other", nargs="?", help="the folder of another run; a page that compares both is written instead"
    )
    report.add_argument(
        "--out",
        help="file to write; by default report.html in the folder, or comparison.html in the second of two folders",
    )
    report.set_defaults(command=_run_command("report"))
    audit = commands.add_parser(
        "audit",
        help="check the folder of a run, or a saved ensemble, without having seen it trained",
        formatter_class=formatter,
    )
    audit.add_argument("folder", help="the folder that certssb run or save wrote")
    audit.add_argument(
        "--members",
        type=_label,
        default=5,
        metavar="N",
        help="how many members, drawn at random, to train again and compare; a number or all",
    )
    audit.add_argument(
        "--data",
        metavar="PATH",
        help="where the run's data are now: its .npz file, or the folder of MNIST or CIFAR-10; by default where they were for the run",
    )
    audit.add_argument(
        "--table",
        metavar="FILE",
        help="for a saved ensemble: the certificates that it is claimed to give for X_test of --data",
    )
    audit.add_argument("--fingerprint", help="for a saved ensemble: the fingerprint that save returned")
    audit.add_argument(
        "--tolerance",
        type=float,
        default=0.0,
        help="share of a member's votes that may differ when it is trained again, for example on another processor",
    )
    audit.add_argument("--seed", type=int, help="decides which members are drawn; unpredictable by default")
    audit.add_argument("--device", help="where members are trained again; by default the device of the run")
    audit.add_argument(
        "--jobs", type=int, help="members trained at the same time on the CPU; all cores by default"
    )
    audit.add_argument("--quiet", action="store_true", help="hide the progress bar")
    audit.set_defaults(command=_run_command("audit"))
    completion = commands.add_parser(
        "completion",
        help="print a script with which a shell completes commands and options",
        formatter_class=formatter,
    )
    completion.add_argument("shell", choices=("bash", "zsh", "fish"), help="the shell")
    completion.set_defaults(command=_run_command("completion"))
    plan = commands.add_parser(
        "plan", help="what a budget demands of the votes, computed before training", formatter_class=formatter
    )
    plan.add_argument("--n-train", type=int, required=True, help="number of training samples")
    plan.add_argument("--n-poisoned", type=int, help="poisoned samples to certify against, with --norm")
    plan.add_argument("--norm", type=float, help="L2 norm of the trigger; inf for any norm")
    _add_threat(plan, "--n-poisoned, --norm and --labels")
    plan.add_argument("--labels", action="store_true", help="certify against changed labels as well")
    plan.add_argument("--n-classes", type=int, default=2, help="number of classes")
    plan.add_argument("--n-features", type=int, help="number of features; needed for uniform noise")
    plan.add_argument(
        "--alpha", type=float, default=0.001, help="largest probability that a certificate is wrong"
    )
    _add_law(plan)
    plan.set_defaults(command=_run_command("plan"))

    recommend = commands.add_parser(
        "recommend",
        help="which laws can certify against a threat, and what each needs, before training",
        formatter_class=formatter,
    )
    recommend.add_argument(
        "--threat", metavar="TEXT", required=True, help="what the attacker may have done, as for plan"
    )
    recommend.add_argument("--n-train", type=int, required=True, help="number of training samples")
    recommend.add_argument("--n-classes", type=int, default=2, help="number of classes")
    recommend.add_argument("--shape", type=int, nargs="+", help="shape of a sample; needed for uniform noise")
    recommend.add_argument("--members", type=int, default=1000, help="number of members that vote")
    recommend.add_argument(
        "--alpha", type=float, default=0.001, help="largest probability that a certificate is wrong"
    )
    recommend.add_argument("--json", action="store_true", help="write JSON instead of a table")
    recommend.set_defaults(command=_run_command("recommend"))
    ledger = commands.add_parser(
        "ledger", help="look at a ledger of certified regions", formatter_class=formatter
    )
    actions = ledger.add_subparsers(required=True, metavar="ACTION")
    for name, action, description in (
        ("show", "ledger_show", "counts, and the last entries"),
        ("verify", "ledger_verify", "check the whole file"),
        ("export", "ledger_export", "write entries and centres to a .csv or .npz file"),
    ):
        action_parser = actions.add_parser(name, help=description, formatter_class=formatter)
        action_parser.add_argument("ledger", help="the ledger's file")
        if name == "export":
            action_parser.add_argument("out", help=".csv without centres, or .npz with them")
        action_parser.set_defaults(command=_run_command(action))
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
    certify.add_argument(
        "--norm", type=float, help="L2 norm of the change of each sample; inf for any change"
    )
    _add_law(certify, "one of these, or --subsample: how the members' training sets were drawn")
    _add_confidence(certify)
    _add_budget(certify, "changed training samples: also print what holds against them")
    _add_threat(certify, "--n-poisoned, --norm and --labels")
    certify.set_defaults(command=_run_command("certify"))
    return parser


def _add_data(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("data")
    group.add_argument(
        "--dataset", default="digits", help="digits, mnist, cifar10, or a .npz file with " + ", ".join(ARRAYS)
    )
    group.add_argument("--data-root", help="folder that holds MNIST/raw, or CIFAR-10; needed for these two")
    group.add_argument(
        "--data-seed",
        type=int,
        default=0,
        help="seed that decides which digits are test samples, and which samples are trusted or poisoned",
    )
    group.add_argument(
        "--classes",
        type=_label,
        nargs="+",
        help="for built-in data sets: keep only these classes, numbered in this order; for your own file: "
        "all possible classes, so that guarantees do not take the list as received; by default those in the data",
    )
    group.add_argument(
        "--trusted",
        metavar="N|FILE",
        help="training samples that nobody could have changed: a number of them, drawn with --data-seed, or a .npy file with "
        "a mask or indices; they are never poisoned, and certificates are about the others",
    )


def _add_attack(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "poisoning, for experiments: changes training data before anything else"
    )
    group.add_argument(
        "--trigger", choices=["none", *TRIGGERS], default="none", help="the trigger to stamp on samples"
    )
    group.add_argument("--rate", type=float, default=0.02, help="share of the training set to poison")
    group.add_argument("--norm", type=float, default=1.0, help="L2 norm of the trigger")
    group.add_argument("--target", type=_label, default=0, help="class given to poisoned samples")


def _add_law(parser: argparse.ArgumentParser, description: str | None = None) -> None:
    group = parser.add_argument_group("noise", description)
    group.add_argument("--sigma", type=float, help="Gaussian noise on features, with this standard deviation")
    group.add_argument(
        "--sample-specific",
        action="store_true",
        help="noise with a magnitude tuned for each sample, in addition to --sigma",
    )
    group.add_argument(
        "--cascade",
        type=float,
        nargs="+",
        metavar="SIGMA",
        help="these levels of Gaussian noise instead, in order",
    )
    group.add_argument(
        "--thresholds",
        type=float,
        nargs="+",
        metavar="TAU",
        help="how sure each level but the last must be to decide; by default 0.2 times its noise",
    )
    group.add_argument("--uniform", type=float, metavar="HALF_WIDTH", help="uniform noise instead")
    group.add_argument(
        "--keep", type=float, help="discrete noise instead: probability that a 0/1 feature keeps its value"
    )
    group.add_argument("--label-noise", type=float, metavar="Q", help="probability that a label is replaced")
    group.add_argument(
        "--subsample", type=int, metavar="SIZE", help="number of training samples that each member sees"
    )
    group.add_argument(
        "--subsample-rate",
        type=float,
        metavar="RATE",
        help="probability that a member sees a training sample, instead of a fixed number",
    )
    group.add_argument(
        "--partition",
        type=int,
        metavar="PARTS",
        help="no noise: each learner sees only the samples of its own buckets, and certificates leave nothing to chance",
    )
    group.add_argument(
        "--overlap",
        type=int,
        metavar="D",
        help="with --partition: how many learners each bucket feeds; 1 by default",
    )
    group.add_argument(
        "--assign",
        choices=("content", "features", "index"),
        help="with --partition: how samples are assigned to buckets; content by default, which covers insertions and deletions",
    )


def _add_training(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("training")
    group.add_argument(
        "--model",
        default="auto",
        help="linear, discriminant, ridge, mlp, cnn, resnet, or auto: discriminant for the small subsamples of the "
        "default law, otherwise cnn for images and mlp for tables (with parts or subsamples of a few hundred samples or "
        "fewer, discriminant is usually the better choice)",
    )
    group.add_argument(
        "--cosine",
        type=int,
        metavar="SIZE",
        help="members see only the lowest SIZE x SIZE cosine coefficients of images, a map that is fixed in advance",
    )
    group.add_argument(
        "--augment",
        nargs="+",
        choices=AUGMENTATIONS,
        help="random changes of each member's noised images, in this order, which weaken no guarantee: shift (by up "
        "to 2 pixels), flip (left to right), affine (rotated by up to 15 degrees), elastic (pixels displaced smoothly)",
    )
    group.add_argument(
        "--copies",
        type=int,
        help="with --augment, for discriminant and ridge: number of changed copies added to a member's images; 8 by default. Other "
        "models see changed images in every epoch",
    )
    group.add_argument(
        "--penalty",
        type=float,
        help="for discriminant and ridge: their regularisation, relative to the data; by default 1 and 0.3",
    )
    group.add_argument(
        "--members",
        type=int,
        help="number of members; 1000 by default, or the number of learners with --partition",
    )
    group.add_argument(
        "--epochs",
        type=int,
        default=20,
        help="passes of a member over its noised set; unused by closed-form models",
    )
    group.add_argument("--batch-size", type=int, default=128, help="samples per optimiser step")
    group.add_argument("--learning-rate", type=float, default=1e-3, help="step size of Adam")
    group.add_argument(
        "--device", default="auto", help="auto (every GPU, or the CPU if there is none), cpu, cuda or cuda:1"
    )
    group.add_argument(
        "--jobs", type=int, help="members trained at the same time on the CPU; all cores by default"
    )
    group.add_argument(
        "--seed",
        type=int,
        help="root of the members' random streams, for reproducible runs; a fresh one by default, because "
        "certificates assume noise that nobody could know beforehand",
    )
    group.add_argument(
        "--checkpoint", help="folder in which finished members are kept, and from which a run resumes"
    )
    group.add_argument("--quiet", action="store_true", help="hide the progress bar")


def _add_confidence(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("certification")
    group.add_argument(
        "--alpha", type=float, default=0.001, help="largest probability that a certificate is wrong"
    )
    group.add_argument("--bound", default="auto", help="auto, clopper_pearson, kl, hoeffding or betting")
    group.add_argument("--selection", default="union", help="union or split")
    group.add_argument("--runner-up", default="auto", help="auto, complement or bound")
    group.add_argument(
        "--family-wise", action="store_true", help="all test samples' certificates hold together"
    )
    group.add_argument(
        "--election",
        choices=("plurality", "run-off"),
        help="with --partition: how learners elect a class; plurality by default. The settings above do not apply then",
    )


def _add_budget(parser: argparse.ArgumentParser, n_poisoned: str) -> None:
    group = parser.add_argument_group("budget")
    group.add_argument("--n-poisoned", type=int, help=n_poisoned)
    group.add_argument(
        "--labels",
        action=argparse.BooleanOptionalAction,
        help="whether the labels of these samples count as changed as well; by default they do if the law can then "
        "certify anything",
    )


def _add_threat(parser: argparse.ArgumentParser, instead: str, last: str = "inserted=40, deleted=7") -> None:
    parser.add_argument(
        "--threat",
        metavar="TEXT",
        help="what the attacker may have done, such as 'n_poisoned=50, edits=any' or 'share=2%%, trigger_norm=1.5, labels' or "
        f"'{last}'; instead of {instead}",
    )


def _label(word: str) -> int | str:
    """A class as it was typed: a number if it can be one."""
    try:
        return int(word)
    except ValueError:
        return word


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    """The settings of the bounds."""
    names = ("alpha", "bound", "selection", "runner_up", "family_wise")
    return {name: getattr(options, name) for name in names}
