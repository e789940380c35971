"""What an audit finds: ten frauds, told clumsily and told so that every digest fits, and the folder as it was."""

import contextlib
import hashlib
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Digits

import certssb as cs
from certssb import cli
from certssb.certificates import _file
from certssb.report._run import Run, digest
from certssb.report._votes import digests_bytes, parse_digests, parse_votes, votes_bytes
from certssb.storage import _files

NAMES = np.array(["zero", "one", "two"])
N = 60


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory, digits: Digits) -> Path:
    """The folder of a run on data of the user's own."""
    X_train, y_train, X_test, y_test = digits
    folder = tmp_path_factory.mktemp("audited")
    few, tests = y_train < 3, y_test < 3
    np.savez(
        folder / "data.npz", X_train=X_train[few], y_train=NAMES[y_train[few]], X_test=X_test[tests], y_test=NAMES[y_test[tests]]
    )  # fmt: skip
    words = [
        "run", "--dataset", str(folder / "data.npz"), "--classes", *NAMES, "--members", str(N), "--subsample", "40", "--sigma",
        "0.25", "--model", "discriminant", "--alpha", "0.01", "--trigger", "one-pixel", "--target", "two", "--seed", "0", "--quiet", "--out",
        str(folder / "run"),
    ]  # fmt: skip
    assert cli.main(words) == 0
    return folder / "run"


@pytest.fixture
def folder(honest: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(honest, tmp_path / "run"))


def test_the_folder_as_it_was_passes_and_says_what_it_cannot_tell(folder: Path) -> None:
    report = cs.audit(folder, members="all")
    assert report.ok, report
    assert {row.what for row in report.rows} == {
        "summary", "files", "settings", "certificates", "results", "picture", "report", "data", "members",
    }  # fmt: skip
    assert {row.result for row in report.rows} == {"passed"}
    (members,) = (row for row in report.rows if row.what == "members")
    assert (
        f"{N} of {N} members" in members.detail
        and "the same to the last bit, the same votes" in members.detail
    )
    assert not any("not trained again" in limit for limit in report.limits)
    few = cs.audit(folder, members=6)
    assert few.ok and f"whether the {N - 6} members" in few.limits[0]
    # One false member of 60 is among six with a chance of 6/60, one of six false ones with 1 - C(54, 6)/C(60, 6) = 0.484.
    assert "10%" in few.limits[0] and "48.4%" in few.limits[0]
    assert "No audit of this folder can tell" in few.text and "<strong>" in few._repr_html_()


def _npz(path: Path) -> dict[str, Any]:
    return dict(_files.archive(path.read_bytes()))


def _table(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change a table's parts, with its own digest."""
    parts = _npz(path)
    del parts["digest"]
    change(parts)
    path.write_bytes(_files.npz({"digest": np.array(_file.digest(parts)), **parts}))


def _tables(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    for name in ("clean", "triggered"):
        _table(folder / f"certificates-{name}.npz", change)


def _record(parts: dict[str, Any], change: Callable[[dict[str, Any]], None]) -> None:
    record = json.loads(str(parts["record"]))
    change(record)
    parts["record"] = np.array(json.dumps(record, separators=(",", ":")))


def _summary(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = folder / "summary.json"
    summary = json.loads(path.read_text())
    change(summary)
    path.write_text(json.dumps(summary, indent=2))


def a_vote(folder: Path) -> None:
    votes = parse_votes((folder / "votes-clean.npz").read_bytes())
    table = cs.CertificateTable.load(folder / "certificates-clean.npz")
    sample = int(np.flatnonzero(table.p_lower < 0.9)[0])
    against = np.flatnonzero(votes[:, sample] != np.searchsorted(np.sort(NAMES), table.prediction[sample]))
    votes[against[0], sample] = (votes[against[0], sample] + 1) % 3
    packed = votes_bytes(votes, 3)
    assert packed is not None
    (folder / "votes-clean.npz").write_bytes(packed)


def sigma(folder: Path) -> None:
    def raised(law: dict[str, Any]) -> None:
        law["inner"]["sigma"] = 0.5

    _tables(folder, lambda parts: _record(parts, lambda record: raised(record["law"])))

    def change(summary: dict[str, Any]) -> None:
        raised(summary["record"]["law"])
        summary["settings"]["sigma"] = 0.5
        summary["law"] = "Subsample(Gaussian(sigma=0.5), size=40)"
        for key in ("guarantee",):
            summary[key] = cs.CertificateTable.load(folder / "certificates-clean.npz").guarantee

    _summary(folder, change)


def n_members(folder: Path) -> None:
    def more(record: dict[str, Any]) -> None:
        record["evidence"]["n_members"] = 1000

    _tables(folder, lambda parts: _record(parts, more))

    def change(summary: dict[str, Any]) -> None:
        summary["settings"]["members"] = 1000
        summary["guarantee"] = cs.CertificateTable.load(folder / "certificates-clean.npz").guarantee

    _summary(folder, change)


def a_member(folder: Path) -> None:
    """One member's votes and digest are another's: a second copy of a member that votes well."""
    for name in ("clean", "triggered"):
        path = folder / f"votes-{name}.npz"
        votes = parse_votes(path.read_bytes())
        votes[7] = votes[8]
        packed = votes_bytes(votes, 3)
        assert packed is not None
        path.write_bytes(packed)
    digests = parse_digests((folder / "members.npz").read_bytes())
    digests[0][7] = digests[0][8]
    (folder / "members.npz").write_bytes(digests_bytes(digests))


def the_law(folder: Path) -> None:
    _summary(folder, lambda summary: summary.update(law="Subsample(Gaussian(sigma=0.5), size=40)"))


def alpha(folder: Path) -> None:
    def lower(record: dict[str, Any]) -> None:
        record["evidence"]["confidence"]["alpha"] = 0.001

    _tables(folder, lambda parts: _record(parts, lower))

    def change(summary: dict[str, Any]) -> None:
        summary["settings"]["alpha"] = 0.001
        summary["guarantee"] = summary["guarantee"].replace("0.01", "0.001")

    _summary(folder, change)


def a_class(folder: Path) -> None:
    """ "one" becomes "six" in tables and true classes alike."""

    def renamed(names: Any) -> Any:
        return np.where(names == "one", "six", names)

    def change(parts: dict[str, Any]) -> None:
        parts["classes"] = renamed(parts["classes"])

    _tables(folder, change)
    for name in ("clean", "triggered"):
        path = folder / f"samples-{name}.npz"
        parts = _npz(path)
        path.write_bytes(_files.npz(parts | {"y_true": renamed(parts["y_true"])}))


def the_data(folder: Path) -> None:
    def change(summary: dict[str, Any]) -> None:
        summary["record"]["data_digest"] = hashlib.sha256(b"other data").hexdigest()

    _summary(folder, change)


def a_table(folder: Path) -> None:
    def change(parts: dict[str, Any]) -> None:
        parts["p_lower"] = np.maximum(parts["p_lower"], 0.9)
        parts["p_rest"] = np.minimum(parts["p_rest"], 0.1)
        parts["p_upper"] = np.minimum(parts["p_upper"], 0.1)

    _table(folder / "certificates-clean.npz", change)


def the_report(folder: Path) -> None:
    path = folder / "report.html"
    page = path.read_text()
    assert "Predicted right</td>" in page or "Predicted right</th>" in page
    path.write_text(page.replace("Predicted right<", "Predicted right and certified<", 1))


def _resealed(folder: Path) -> None:
    """Whoever forged it recomputes all that can be recomputed: results, frame, picture, digests, page."""
    from certssb.auditing._rows import Rows
    from certssb.auditing._run import Folder, _read
    from certssb.cli._results import own_attack, plot
    from certssb.report._folder import finite, frame
    from certssb.report._page import render

    path = folder / "summary.json"
    summary = json.loads(path.read_text())
    summary["files"] = {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in summary["files"]
    }
    read = Folder(folder, summary, summary["settings"])
    _read(read, Rows())
    outcome = read.outcome()
    summary |= finite({"results": outcome.results(), "own_attack": own_attack(outcome)})
    for name, content in frame(outcome.tables, outcome.truth, outcome.budget.change()).items():
        (folder / name).write_bytes(content)
    (folder / "certified_accuracy.png").write_bytes(plot(outcome, summary["own_attack"]["sentence"]))
    summary["files"] = {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in summary["files"]
    }
    summary["digest"] = digest(summary)
    path.write_text(json.dumps(summary, indent=2))
    page = render(Run(folder.name, summary, read.tables, read.samples, read.hints))
    (folder / "report.html").write_text(page)


FRAUDS: dict[Callable[[Path], None], tuple[set[str], set[str]]] = {
    a_vote: ({"files", "certificates"}, {"certificates", "members"}),
    sigma: ({"files", "summary", "data"}, {"members"}),
    n_members: ({"files", "summary", "certificates"}, {"certificates"}),
    a_member: ({"files", "members"}, {"members"}),
    the_law: ({"summary", "settings"}, {"settings"}),
    alpha: ({"files", "certificates"}, set()),
    a_class: ({"files", "data"}, {"data"}),
    the_data: ({"summary", "data"}, {"data"}),
    a_table: ({"files", "certificates"}, {"certificates"}),
    the_report: ({"report"}, set()),
}
"""Which rows fail at least, as it is told clumsily and where every digest fits."""


@pytest.mark.parametrize(
    ("fraud", "resealed"),
    # A report that was made again is the honest one; of a table that cannot be read no page can be made.
    [
        (fraud, again)
        for fraud in FRAUDS
        for again in (False, True)
        if not (again and fraud in (the_report, alpha))
    ],
    ids=lambda of: of.__name__ if callable(of) else "resealed" if of else "clumsy",
)
def test_each_of_ten_frauds_is_found(fraud: Callable[[Path], None], resealed: bool, folder: Path) -> None:
    fraud(folder)
    if fraud is alpha:
        # Unanimous members claim all that they can at an alpha: at a smaller one that is no table.
        with pytest.raises(cs.ParameterError, match="what 60 members can show"):
            cs.CertificateTable.load(folder / "certificates-clean.npz")
    if resealed:
        _resealed(folder)
    report = cs.audit(folder, members="all")
    failed = {row.what for row in report.rows if row.result == "FAILED"}
    assert not report.ok
    assert FRAUDS[fraud][resealed] <= failed, report
    if resealed:
        assert not failed & {"summary", "files", "report", "picture", "results"}, report


def test_a_member_that_votes_like_the_one_it_replaced_is_told_by_its_bits(folder: Path) -> None:
    digests = parse_digests((folder / "members.npz").read_bytes())
    digests[0][7] = hashlib.sha256(b"another").hexdigest()
    (folder / "members.npz").write_bytes(digests_bytes(digests))
    _resealed(folder)
    failed = [row for row in cs.audit(folder, members="all").rows if row.result == "FAILED"]
    assert [row.what for row in failed] == [
        "members"
    ] and "member 7 is a different one, by its digest" in failed[0].detail
    # On another processor none has the same bits, and votes decide.
    digests = [[hashlib.sha256(digest.encode()).hexdigest() for digest in level] for level in digests]
    (folder / "members.npz").write_bytes(digests_bytes(digests))
    _resealed(folder)
    report = cs.audit(folder, members=5)
    assert report.ok and "5 differ in their bits, the same votes" in report.rows[-1].detail


def test_a_report_of_other_versions_is_compared_as_far_as_that_goes(folder: Path) -> None:
    def versions(**told: str) -> None:
        def change(summary: dict[str, Any]) -> None:
            summary["versions"] |= told
            summary["digest"] = digest(summary)

        _summary(folder, change)
        cs.report.write_report(folder)

    page = folder / "report.html"
    versions(matplotlib="0.1")
    page.write_text(page.read_text().replace("stroke-linejoin: miter", "stroke-linejoin: round"))
    report = cs.audit(folder, members=3)
    (row,) = (row for row in report.rows if row.what == "report")
    assert (
        row.result == "passed" and "the same but for its section of plots" in row.detail and report.complete
    )
    the_report(folder)
    assert not cs.audit(folder, members=0).ok
    # Under another version of this package nothing is known of the page, and that is no success.
    versions(certssb="0.0.1")
    the_report(folder)
    report = cs.audit(folder, members=3)
    assert report.ok and not report.complete and cli.main(["audit", str(folder), "--quiet"]) == 2


def test_the_command_says_it_and_ends_with_a_status(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["audit", str(folder), "--quiet"]) == 0
    said = capsys.readouterr()
    assert said.out.startswith(f"{folder}: passed\n") and said.err == ""
    the_law(folder)
    assert cli.main(["audit", str(folder), "--quiet", "--members", "0"]) == 1
    said = capsys.readouterr()
    assert said.out.startswith(f"{folder}: FAILED, 1 not checked\n")
    for words in (
        [str(tmp_path / "nothing")],
        [str(tmp_path)],
        [str(folder), "--members", "some"],
        [str(folder), "--tolerance", "2"],
    ):
        assert cli.main(["audit", *words]) == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_files_that_the_summary_leaves_out_are_missed(folder: Path) -> None:
    def change(summary: dict[str, Any]) -> None:
        summary["files"] = {}
        summary["digest"] = digest(summary)

    _summary(folder, change)
    assert "no digest of certificates-clean.npz" in cs.audit(folder, members=0).text
    assert not cs.audit(folder, members=0).ok


def test_votes_that_are_gone_leave_certificates_unchecked(folder: Path) -> None:
    def change(summary: dict[str, Any]) -> None:
        del summary["files"]["votes-clean.npz"], summary["files"]["votes-triggered.npz"]
        summary["digest"] = digest(summary)

    _summary(folder, change)
    cs.report.write_report(folder)
    report = cs.audit(folder, members=3)
    assert report.ok and not report.complete, report
    # Digests of members are still there to compare with.
    assert {row.what for row in report.rows if row.result == "not checked"} == {"certificates"}
    (members,) = (row for row in report.rows if row.what == "members")
    assert members.detail.endswith("the same to the last bit, no votes to compare")


def test_data_that_lie_elsewhere_or_are_others(folder: Path, tmp_path: Path) -> None:
    summary = json.loads((folder / "summary.json").read_text())
    there = Path(summary["settings"]["dataset"])
    summary["settings"]["dataset"] = str(tmp_path / "gone.npz")
    text = (
        (folder / "run.toml")
        .read_text()
        .replace(json.dumps(str(there)), json.dumps(str(tmp_path / "gone.npz")))
    )
    (folder / "run.toml").write_text(text)
    summary["files"]["run.toml"] = hashlib.sha256(text.encode()).hexdigest()
    summary["digest"] = digest(summary)
    (folder / "summary.json").write_text(json.dumps(summary))
    assert cli.main(["audit", str(folder), "--quiet"]) == 1
    cs.report.write_report(folder)
    assert cli.main(["audit", str(folder), "--quiet"]) == 2
    assert cli.main(["audit", str(folder), "--quiet", "--data", str(there)]) == 0
    rows = {row.what: row.result for row in cs.audit(folder).rows}
    assert rows["data"] == rows["members"] == "not checked" and rows["certificates"] == "passed"
    assert {row.what: row.result for row in cs.audit(folder, data=there).rows}["members"] == "passed"
    others = dict(np.load(there))
    others["X_train"] = others["X_train"] * np.float32(0.5)
    np.savez(tmp_path / "others.npz", **others)
    found = {row.what: row for row in cs.audit(folder, data=tmp_path / "others.npz").rows}
    assert found["data"].result == "FAILED" and "data_digest" in found["data"].detail
    assert found["members"].result == "not checked"


@pytest.mark.parametrize("value", [[[]], 1e308])
@pytest.mark.parametrize(
    "name",
    [
        "own_attack",
        "record",
        "law",
        "budget",
        "versions",
        "best_possible",
        "settings.members",
        "settings.data_seed",
    ],
)
def test_summaries_that_are_none_fail_or_are_refused_by_name(name: str, value: Any, folder: Path) -> None:
    summary = json.loads((folder / "summary.json").read_text())
    *outer, last = name.split(".")
    inner = summary
    for part in outer:
        inner = inner[part]
    inner[last] = value
    summary["digest"] = digest(summary)
    (folder / "summary.json").write_text(json.dumps(summary))
    with contextlib.suppress(cs.CertssbError):
        assert not cs.audit(folder, members=0).ok


@pytest.mark.parametrize(
    "settings",
    [
        ["--partition", "40", "--election", "run-off", "--model", "discriminant"],
        [
            "--cascade",
            "0.5",
            "0.25",
            "--members",
            "40",
            "--model",
            "linear",
            "--epochs",
            "2",
            "--learning-rate",
            "0.05",
        ],
        [
            "--subsample",
            "40",
            "--trusted",
            "20",
            "--members",
            "40",
            "--seed",
            "5",
            "--family-wise",
            "--alpha",
            "0.2",
        ],
        ["--cosine", "4", "--sigma", "0.5", "--members", "40", "--model", "discriminant"],
    ],
    ids=["run-off", "cascade", "trusted", "map"],
)
def test_runs_of_every_kind_pass(settings: list[str], tmp_path: Path) -> None:
    words = [
        "run",
        "--dataset",
        "digits",
        "--classes",
        "0",
        "1",
        "2",
        *settings,
        "--quiet",
        "--out",
        str(tmp_path),
    ]
    assert cli.main(words) == 0
    report = cs.audit(tmp_path, members=4, seed=0)
    assert report.ok and all(row.result == "passed" for row in report.rows), report


def test_votes_take_as_many_bits_as_classes_need_and_come_back() -> None:
    rng = np.random.default_rng(0)
    for n_classes, shape in ((2, (3, 9)), (3, (2, 4, 17)), (10, (300, 50)), (257, (5, 3))):
        votes = rng.integers(0, n_classes, shape)
        packed = votes_bytes(votes, n_classes)
        assert packed is not None
        np.testing.assert_array_equal(parse_votes(packed), votes)
    alike = np.zeros((4000, 3000), dtype=np.uint16)
    packed = votes_bytes(alike, 10)
    assert packed is not None and len(packed) < 7_000_000
    np.testing.assert_array_equal(parse_votes(packed), alike)
    assert votes_bytes(np.broadcast_to(np.uint16(0), (2**20, 2**12)), 10) is None


@pytest.mark.parametrize(
    "parts",
    [
        {"planes": np.zeros((2, 1, 1), np.uint8)},
        {"planes": np.zeros((2, 1, 1), np.uint8), "shape": np.array([2, 9])},
        {"planes": np.zeros((2, 17, 1), np.uint8), "shape": np.array([2, 8])},
        {"planes": np.zeros((2, 1, 1), np.int64), "shape": np.array([2, 8])},
        {"planes": np.zeros((2, 1, 1), np.uint8), "shape": np.array([-2, -8])},
        {"planes": np.zeros((2, 1, 1), np.uint8), "shape": np.array(2)},
    ],
)
def test_votes_that_are_none_are_refused(parts: dict[str, Any]) -> None:
    written = io.BytesIO()
    np.savez(written, **parts)
    with pytest.raises(_files.Damaged):
        parse_votes(written.getvalue())
    with pytest.raises(_files.Damaged):
        parse_digests(written.getvalue())
