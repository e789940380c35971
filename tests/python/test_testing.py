"""The assertion of certified accuracy, ensembles kept between runs, and the pytest plugin in processes of its own."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.tree import DecisionTreeClassifier

import certssb as cs
from certssb.testing import KeptEnsembles, assert_certified_accuracy

DOCS = Path(__file__).resolve().parents[2] / "docs"
WORKED = DOCS / "how-to" / "pytest.md"
FILES = re.compile(r"^<!-- file (\S+) -->\n```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def certs() -> cs.CertificateTable:
    """Of ten samples: six sure of class 1, two less so, one undecided, one sure of class 0."""
    votes = np.ones((1000, 10), dtype=int)
    for sample, wrong in {6: 100, 7: 100, 8: 480, 9: 1000}.items():
        votes[:wrong, sample] = 0
    return cs.certify_votes(votes, cs.Gaussian(0.5), n_train=12665, n_classes=2)


TRUTH = [1] * 10


def message(certs: cs.CertificateTable, threat: Any, at_least: float, **options: Any) -> str:
    with pytest.raises(AssertionError) as caught:
        assert_certified_accuracy(certs, TRUTH[: len(certs)], threat, at_least=at_least, **options)
    return str(caught.value)


def test_the_share_is_that_of_the_table(certs: cs.CertificateTable) -> None:
    for threat in (
        cs.Threat(n_poisoned=4, trigger_norm=0.1),
        cs.Threat(share=0.01, trigger_norm=0.1),
        0.7,
        0.0,
    ):
        share = certs.certified_accuracy(TRUTH, threat)
        assert 0.5 < share < 0.9
        assert assert_certified_accuracy(certs, TRUTH, threat, at_least=share) == share
        message(certs, threat, at_least=np.nextafter(share, 1))


def test_a_failure_says_how_far_it_is_reached(certs: cs.CertificateTable) -> None:
    threat = cs.Threat(n_poisoned=40, trigger_norm=0.1)
    said = message(certs, threat, at_least=0.75)
    assert said.startswith(
        "certified accuracy 0.6 is below 0.75: 6 of 10 samples are predicted right and certified,\n"
    )
    assert (
        "against at most 40 of 12,665 training samples changed, each by an L2 norm of at most 0.1, labels"
        in said
    )
    assert (
        "1 predicted wrong, 1 predicted right, not certified at all, 2 predicted right, certified against less."
        in said
    )
    assert said.endswith(certs.statement(threat))
    # What it says is reached is reached, and a little more is not.
    counted, norm = re.search(
        r"up to (\d+) of the 40, or for all of them up to a norm of ([\d.]+)\.", said
    ).groups()  # type: ignore[union-attr]
    for n, size, reached in (
        (int(counted), 0.1, True), (int(counted) + 1, 0.1, False), (40, float(norm), True), (40, float(norm) * 1.01, False),
    ):  # fmt: skip
        assert (certs.certified_accuracy(TRUTH, n_poisoned=n, trigger_norm=size) >= 0.75) == reached
    # The curve's points are the table's answers.
    points = re.findall(r"^(->|  ) +([\d,]+)  ([\d.]{6})", said, re.MULTILINE)
    assert [mark for mark, _, _ in points].count("->") == 1 and ("->", "40", "0.6000") in points
    for _, size, share in points:
        assert float(share) == certs.certified_accuracy(TRUTH, n_poisoned=int(size), trigger_norm=0.1)


def test_a_failure_about_a_radius_says_the_radius_that_is_reached(certs: cs.CertificateTable) -> None:
    said = message(certs, 1.0, at_least=0.75)
    reached = float(re.search(r"0.75 is reached below ([\d.]+)\.$", said, re.MULTILINE)[1])  # type: ignore[index]
    below, beyond = certs.certified_accuracy(TRUTH, radii=[reached * 0.999, reached * 1.01])
    assert below >= 0.75 > beyond
    assert said.endswith(certs.guarantee)


def test_what_no_change_allows_is_said(certs: cs.CertificateTable) -> None:
    assert "0.85 is not reached against any change, however small." in message(
        certs, cs.Threat(2, trigger_norm=0.1), 0.85
    )


def test_numbers_of_each_edit_are_scaled_together() -> None:
    certs = cs.certify_votes(np.ones((1000, 4), int), cs.Subsample(rate=0.01), n_train=5000, n_classes=2)
    threat = cs.Threat(edits={"modified": 300, "inserted": 40, "deleted": 50})
    assert (
        "-> " in (said := message(certs, threat, at_least=0.5)) and "multiple of at most 300 of 5,000" in said
    )


def test_no_samples_and_no_proof_are_failures(certs: cs.CertificateTable) -> None:
    threat = cs.Threat(n_poisoned=1, trigger_norm=0.1)
    assert message(certs[:0], threat, 0.0).startswith("there are no samples")
    X, y = cs.datasets.load_digits(classes=(0, 1))
    law = cs.SampleSpecific(0.25, steps=3, guarantee="published")
    clf = cs.CertifiedClassifier("linear", law, n_members=20, epochs=2, alpha=0.1, seed=0, progress=False)
    published = clf.fit(X[:100], y[:100]).certify(X[100:110])
    share = published.certified_accuracy(y[100:110], radii=0.0)
    with pytest.raises(AssertionError, match="these certificates are not a proof"):
        assert_certified_accuracy(published, y[100:110], 0.0, at_least=0.0)
    assert assert_certified_accuracy(published, y[100:110], 0.0, at_least=share, sound=False) == share


@pytest.mark.parametrize(
    ("arguments", "options", "said"),
    [
        (([1, 2], cs.Threat(1)), {"at_least": 0.5}, "The 'certs' parameter must be a table of certificates"),
        ((None, "5"), {"at_least": 0.5}, "The 'threat' parameter must be a certssb.Threat"),
        (
            (None, cs.Threat(1, trigger_norm=0.1)),
            {"at_least": 1.5},
            "The 'at_least' parameter must be a float in",
        ),
        ((None, cs.Threat(1, edits="inserted")), {"at_least": 0.5}, "inserted"),
    ],
)
def test_what_makes_no_sense_is_refused(
    certs: cs.CertificateTable, arguments: tuple[Any, ...], options: dict[str, Any], said: str
) -> None:
    first = certs if arguments[0] is None else arguments[0]
    with pytest.raises(cs.ParameterError, match=said):
        assert_certified_accuracy(first, TRUTH, arguments[1], **options)


def classifier(**settings: Any) -> cs.CertifiedClassifier:
    settings = {"n_members": 20, "epochs": 2, "alpha": 0.1, "progress": False} | settings
    law = settings.pop("law", cs.Gaussian(0.25))
    return cs.CertifiedClassifier(settings.pop("model", "linear"), law, **settings)


def test_members_are_found_by_their_record(tmp_path: Path) -> None:
    X, y = cs.datasets.load_digits(classes=(0, 1))
    kept = KeptEnsembles(tmp_path)
    first = kept.fit(classifier(), X, y)
    assert first.checkpoint is None and first.seed is None
    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("member*-*")}
    again = kept.fit(classifier(), X, y)
    assert again.seed_ == first.seed_ and (again.votes(X) == first.votes(X)).all()
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("member*-*")} == written
    # Each of these is another ensemble, and none is a growth of what was seen.
    others = [
        kept.fit(other, *data)
        for other, data in (
            (classifier(n_members=25), (X, y)),
            (classifier(epochs=3), (X, y)),
            (classifier(seed=1), (X, y)),
            (classifier(seed=2), (X, y)),
            (classifier(), (X[1:], y[1:])),
            (classifier(), (X, 1 - y)),
        )
    ]
    assert len(list(tmp_path.iterdir())) == 1 + len(others)
    assert len({first.seed_, *(other.seed_ for other in others)}) == 1 + len(others)


def test_another_number_of_the_same_members_is_remembered_as_growth(tmp_path: Path) -> None:
    X, y = cs.datasets.load_digits(classes=(0, 1))
    first = KeptEnsembles(tmp_path).fit(classifier(seed=5), X, y)
    assert "however often" not in first.certify(X[:5]).guarantee
    # Another run of the suite, by somebody who would like more of it.
    with pytest.warns(cs.GrowthWarning, match="other than 30"):
        more = KeptEnsembles(tmp_path).fit(classifier(seed=5, n_members=30), X, y)
    assert (more.votes(X)[:20] == first.votes(X)).all()
    assert "however often members were added" in more.certify(X[:5]).guarantee


def test_damaged_members_are_trained_again(tmp_path: Path) -> None:
    X, y = cs.datasets.load_digits(classes=(0, 1))
    kept = KeptEnsembles(tmp_path)
    kept.fit(classifier(seed=3), X, y)
    (manifest,) = tmp_path.rglob("manifest.json")
    manifest.write_text("{}")
    clf = kept.fit(classifier(seed=3), X, y)
    assert (clf.votes(X) == classifier(seed=3).fit(X, y).votes(X)).all()
    assert json.loads(manifest.read_text())


LAWS = [cs.Gaussian(0.25), cs.Cascade([cs.Gaussian(0.5), cs.Gaussian(0.25)])]


@pytest.mark.parametrize("law", LAWS, ids=["one", "cascade"])
def test_what_was_seen_is_remembered_when_damaged_members_are_trained_again(
    law: cs.Law, tmp_path: Path
) -> None:
    X, y = cs.datasets.load_digits(classes=(0, 1))
    first = KeptEnsembles(tmp_path).fit(classifier(law=law, seed=5), X, y)
    votes = first.votes(X[:5])
    for manifest in tmp_path.rglob("manifest.json"):
        manifest.write_text("{}")
    with pytest.warns(cs.GrowthWarning, match="other than 30"):
        more = KeptEnsembles(tmp_path).fit(classifier(law=law, seed=5, n_members=30), X, y)
    assert (more.votes(X[:5])[..., :20, :] == votes).all()
    assert "however often members were added" in more.certify(X[:5]).guarantee


def test_damaged_levels_that_another_process_clears_as_well_are_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    X, y = cs.datasets.load_digits(classes=(0, 1))
    settings = {"law": LAWS[1], "seed": 3}
    votes = KeptEnsembles(tmp_path).fit(classifier(**settings), X, y).votes(X)
    for manifest in tmp_path.rglob("manifest.json"):
        manifest.write_text("{}")
    unlink, removed = os.unlink, []

    def after_another(*arguments: Any, **options: Any) -> None:
        removed.append(arguments)
        unlink(*arguments, **options)
        unlink(*arguments, **options)

    monkeypatch.setattr(os, "unlink", after_another)
    clf = KeptEnsembles(tmp_path).fit(classifier(**settings), X, y)
    assert (clf.votes(X) == votes).all() and len(removed) > 20


def test_what_keeps_its_members_itself_is_left_alone(tmp_path: Path) -> None:
    X, y = cs.datasets.load_digits(classes=(0, 1))
    kept = KeptEnsembles(tmp_path / "kept")
    clf = kept.fit(classifier(checkpoint=tmp_path / "own"), X, y)
    assert clf.checkpoint == tmp_path / "own" and list((tmp_path / "own").iterdir())
    kept.fit(cs.CertifiedKNN(sigma=1.0), X, y)
    for no_estimator in ("discriminant", cs.CertifiedClassifier):
        with pytest.raises(cs.ParameterError, match="'estimator' parameter must be an estimator with"):
            kept.fit(no_estimator, X, y)
    tree = cs.CertifiedClassifier(
        DecisionTreeClassifier(), cs.Subsample(size=20), n_members=10, alpha=0.1, progress=False
    )
    with pytest.raises(
        cs.ParameterError, match=r"'form' parameter must be 'skops' or 'joblib'.*are read\. Got None instead"
    ):
        kept.fit(tree, X.reshape(len(X), -1), y)
    assert not (tmp_path / "kept").exists()
    with pytest.raises(cs.ParameterError, match="'checkpoint' of its own"):
        kept.fit(classifier(n_members="auto"), X, y, until=cs.Until(X, n_poisoned=1, trigger_norm=0.1))


# The plugin, in processes of its own: what it does must not depend on what this suite imported.


def suite(folder: Path, files: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    for name, code in files.items():
        (folder / name).write_text(code)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-W",
        "error",
        "--rootdir",
        str(folder),
        *arguments,
        str(folder),
    ]
    home = Path(cs.__file__).resolve().parents[1]
    path = os.pathsep.join([str(home), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    return subprocess.run(
        command,
        cwd=folder,
        env=environment | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_plugin_is_found_by_its_entry_point() -> None:
    (found,) = (
        entry for entry in importlib.metadata.entry_points(group="pytest11") if entry.name == "certssb"
    )
    assert found.value == "certssb_pytest"


def test_the_plugin_imports_nothing_until_it_is_used(tmp_path: Path) -> None:
    inert = {
        "test_inert.py": """
import sys

def test_nothing_is_there(pytestconfig):
    assert pytestconfig.pluginmanager.has_plugin("certssb")
    assert not {"certssb", "numpy", "sklearn"} & set(sys.modules)
"""
    }
    done = suite(tmp_path, inert, "-p", "no:cacheprovider")
    assert done.returncode == 0, done.stdout + done.stderr


SMALL = {
    "test_small.py": """
import certssb as cs

def test_claim(certssb_fit):
    X, y = cs.datasets.load_digits(classes=(0, 1))
    clf = cs.CertifiedClassifier("discriminant", cs.Subsample(size=10), n_members=100, progress=False)
    certs = certssb_fit(clf, X[:200], y[:200]).certify(X[200:])
    cs.testing.assert_certified_accuracy(certs, y[200:], cs.Threat(n_poisoned=1, labels=True), at_least=0.5)
    cs.testing.assert_certified_accuracy(certs, y[200:], cs.Threat(n_poisoned=150, edits="any"), at_least=0.5)
"""
}


def test_one_page_about_a_suite_of_which_a_claim_fails(tmp_path: Path) -> None:
    done = suite(
        tmp_path, SMALL, "--certssb-report=pages", "--certssb-cache=members", "-p", "no:cacheprovider"
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "AssertionError: certified accuracy 0 is below 0.5" in done.stdout
    assert "_accuracy.py" not in done.stdout.split("short test summary")[0].split("Error")[0]
    assert f"certified accuracy: {tmp_path / 'pages' / 'report.html'}" in done.stdout
    page = (tmp_path / "pages" / "report.html").read_text()
    assert "1 of 2 assertions held, in 1 test." in page and "test_small.py::test_claim" in page
    assert "<script" not in page and "default-src 'none'" in page.replace("&#x27;", "'")
    # What failed stands first, and both sentences can be quoted.
    body = page[page.index("<tbody") :]
    assert body.index("n_poisoned=150") < body.index("n_poisoned=1,")
    assert "when at most 150 samples are changed, removed or added" in page
    assert list((tmp_path / "members").rglob("member*-*"))


def test_without_a_cache_members_are_kept_for_one_run(tmp_path: Path) -> None:
    done = suite(tmp_path, SMALL, "-p", "no:cacheprovider")
    assert "1 failed" in done.stdout and not list(tmp_path.rglob("member*-*"))


def test_a_suite_that_asserts_nothing_says_so(tmp_path: Path) -> None:
    done = suite(tmp_path, {"test_none.py": "def test_none(): pass\n"}, "--certssb-report=.")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no test called assert_certified_accuracy" in (tmp_path / "report.html").read_text()


@pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="the worked suite tests modules of torch"
)
def test_the_worked_suite_passes_and_trains_once(tmp_path: Path) -> None:
    files = dict(FILES.findall(WORKED.read_text()))
    assert set(files) == {"project.py", "conftest.py", "test_robustness.py"}
    first = suite(tmp_path, files)
    assert first.returncode == 0 and "60 passed" in first.stdout, first.stdout + first.stderr
    members = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("member*-*")}
    assert len(list((tmp_path / ".pytest_cache" / "d" / "certssb").iterdir())) == 3 and members
    again = suite(tmp_path, {}, "--certssb-report=report")
    assert again.returncode == 0 and "60 passed" in again.stdout, again.stdout + again.stderr
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("member*-*")} == members
    page = (tmp_path / "report" / "report.html").read_text()
    assert "60 of 60 assertions held, in 60 tests" in page and page.count("<h2") == 4


def test_the_message_of_the_worked_suite_is_what_is_said() -> None:
    text = WORKED.read_text()
    (shown,) = re.findall(r"<!-- the message -->\n```text\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    (code,) = re.findall(r"^```pycon\n(.*?)^Traceback", text, re.MULTILINE | re.DOTALL)
    lines = [line[4:] for line in code.splitlines()]
    names: dict[str, Any] = {}
    exec("\n".join(lines[:-1]), names)  # noqa: S102 - our own page
    with pytest.raises(AssertionError) as caught:
        exec(lines[-1], names)  # noqa: S102
    assert shown.split() == str(caught.value).split()
