"""What an import brings along, how long it takes, and what works where torch, pandas and matplotlib are not installed."""

from __future__ import annotations

import json
import os
import pickle
import statistics
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

import certssb

HEAVY = ("torch", "pandas", "matplotlib")

BLOCK = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        root = name.partition(".")[0]
        if root in BLOCKED:
            raise ModuleNotFoundError(f"No module named {name!r}", name=root)

sys.meta_path.insert(0, Missing())
"""


def environment() -> dict[str, str]:
    home = str(Path(certssb.__file__).resolve().parents[1])
    path = os.pathsep.join([home, os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    return os.environ | {"PYTHONPATH": path}


def output(program: str, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), *words],
        env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def without(program: str, *blocked: str) -> str:
    return output(f"BLOCKED = {set(blocked)!r}\n{BLOCK}\n{textwrap.dedent(program)}")


def imported(statements: str) -> set[str]:
    return set(json.loads(output(f"{statements}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))")))


@pytest.mark.parametrize(
    "statements",
    [
        "import certssb",
        "from certssb.cli import main",
        "import certssb.report, certssb.triggers, certssb.bounds, certssb.features, certssb.laws",
        "import certssb as cs; cs.CertificateTable, cs.certify_votes, cs.Ledger, cs.CertifiedAccuracyDisplay",
    ],
)
def test_an_import_brings_nothing_heavy(statements: str) -> None:
    found = imported(statements)
    assert "certssb" in found
    assert found & {*HEAVY, "sklearn", "scipy", "tqdm"} == set()


def test_an_estimator_brings_what_scikit_learn_brings_and_no_more() -> None:
    """scikit-learn imports pandas itself, where it is installed."""
    found = imported("from certssb import CertifiedClassifier, CertifiedKNN, Until")
    assert found & {*HEAVY, "sklearn.metrics"} <= imported("import numpy, sklearn.base")


def test_the_version_is_told_without_scikit_learn() -> None:
    told = output(
        """
        import sys
        from certssb.cli import main
        try:
            main(["--version"])
        except SystemExit:
            pass
        print(sorted({"torch", "pandas", "matplotlib", "sklearn"} & set(sys.modules)))
        """
    )
    assert told.splitlines() == [f"certssb {certssb.__version__}", "[]"]


def seconds(program: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", program], env=environment(), check=True)
    return time.perf_counter() - start


def test_an_import_takes_no_longer_than_that_of_scikit_learn() -> None:
    """At most 1.2 times ``import numpy, sklearn.base``; by turns, medians, and again where the machine was busy."""
    for attempt in range(4):
        pairs = [
            (seconds("import certssb"), seconds("import numpy, sklearn.base")) for _ in range(3 + 2 * attempt)
        ]
        own, theirs = (statistics.median(times) for times in zip(*pairs, strict=True))
        if own <= 1.2 * theirs:
            return
    pytest.fail(f"import certssb took {own:.2f} s, import numpy, sklearn.base {theirs:.2f} s")


def test_every_name_can_be_had_listed_and_is_the_same_twice() -> None:
    for name in certssb.__all__:
        assert name in dir(certssb)
        assert getattr(certssb, name) is getattr(certssb, name)
    with pytest.raises(AttributeError, match="module 'certssb' has no attribute 'nothing'"):
        _ = certssb.nothing  # type: ignore[attr-defined]


# Addresses of before, which pickles and people's code know.
ADDRESSES = {
    "adapters": "ArtTrigger attack_size",
    "bounds": "kl_lower clopper_pearson_lower betting_lower",
    "callbacks": "Callback MLflowCallback TensorBoardCallback",
    "certificates": "CertificateTable certify_scores certify_votes _unpickled",
    "classifier": "CertifiedClassifier",
    "datasets": "load_digits load_mnist",
    "displays": "CertifiedAccuracyDisplay FrontierDisplay NoiseMagnitudeDisplay PredictionGridDisplay",
    "exceptions": "CertssbError ParameterError",
    "features": "AveragePool Cosine FeatureMap",
    "knn": "CertifiedKNN",
    "laws": "Gaussian Plan",
    "ledger": "Ledger LedgerClaim LedgerEntry LedgerReport",
    "metrics": "certified_accuracy",
    "modules": "BuiltInModule",
    "progress": "ProgressBar progress_bar",
    "report": "write_report",
    "triggers": "Blend FourPixel OnePixel Patch Trigger poison trigger_norms",
    "until": "Until",
}


def test_addresses_of_before_lead_where_they_led() -> None:
    said = output(
        f"""
        import importlib
        import certssb
        for module, names in {ADDRESSES!r}.items():
            own = getattr(certssb, module)
            assert own is importlib.import_module("certssb." + module)
            for name in names.split():
                getattr(own, name)
            print(module)
        """
    )
    assert said.split() == list(ADDRESSES)


def test_a_pickle_of_before_is_read() -> None:
    """Byte for byte what the release before wrote: its classes lay in flat modules."""
    trigger = b"\x80\x04ccertssb.triggers\nOnePixel\n)\x81}(\x8c\x08positionK\x02K\x03\x86\x8c\x04normG?\xf0\x00\x00\x00\x00\x00\x00ub."
    assert repr(pickle.loads(trigger)) == "OnePixel(position=(2, 3), norm=1.0)"


WORK = """
import tempfile
from pathlib import Path
import numpy as np
import certssb as cs

X, y = cs.datasets.load_digits()
law = cs.Subsample(cs.Gaussian(0.25), size=60)
print(law.plan(1000, n_poisoned=2, trigger_norm=0.5, labels=True).n_members)
for model in ("linear", "mlp", "discriminant"):
    clf = cs.CertifiedClassifier(model, law, n_members=20, epochs=2, seed=0, progress=False).fit(X[:600], y[:600])
    certs = clf.certify(X[600:650])
    print(clf.votes(X[600:610]).tolist())
    print(certs.p_lower.round(12).tolist(), clf.score(X[600:], y[600:]))
folder = Path(tempfile.mkdtemp())
certs.save(folder / "table.npz")
print(cs.CertificateTable.load(folder / "table.npz") == certs, len(certs.show()._repr_html_()) > 100)
clf.save(folder / "ensemble")
print((cs.CertifiedClassifier.load(folder / "ensemble").predict(X) == clf.predict(X)).all())
knn = cs.CertifiedKNN(sigma=1.0).fit(X[:200], y[:200])
print(knn.certify(X[200:205]).radius.round(9).tolist())
with cs.Ledger(folder / "regions.sqlite") as ledger:
    print(ledger.update([0.0, 0.0], prediction=1, radius=0.5).outcome, len(ledger))
votes = np.array([[1, 0]] * 990 + [[1, 1]] * 10)
print(cs.certify_votes(votes, cs.Gaussian(sigma=0.5), n_train=12665, n_classes=2).radius.tolist())
print(cs.bounds.betting_lower(np.full((100, 1), 0.75), 0.01).round(12).tolist(), cs.features.Cosine(5).before_noise())
print(cs.triggers.poison(X, y, cs.triggers.FourPixel(norm=1.0), rate=0.02, target=0, seed=0)[2].tolist())
"""


def test_what_needs_no_torch_does_the_same_without_torch_pandas_and_matplotlib() -> None:
    bare = without(WORK + "\nassert not set(BLOCKED) & set(sys.modules)", *HEAVY)
    assert bare == without(WORK, "nothing") and len(bare) > 1000


MISSING = {
    "certs.to_frame()": "to_frame needs pandas: pip install 'certssb[pandas]'",
    "ledger.to_frame()": "to_frame needs pandas: pip install 'certssb[pandas]'",
    "cs.CertifiedAccuracyDisplay.from_certificates(certs, [1, 0]).plot()": "A plot needs matplotlib: pip install 'certssb[plot]'",
    "cs.FrontierDisplay.from_certificates(certs, [1, 0]).plot()": "A plot needs matplotlib: pip install 'certssb[plot]'",
    "cs.CertifiedClassifier(lambda: None, n_members=20).fit(X, y)": "A torch module as a member needs torch: pip install 'certssb[torch]'",
}  # fmt: skip


@pytest.mark.parametrize("call", MISSING)
def test_what_is_missing_is_named_with_the_extra_that_brings_it(call: str) -> None:
    said = without(
        f"""
        import tempfile
        import numpy as np
        import certssb as cs
        X, y = cs.datasets.load_digits(classes=(0, 1))
        votes = np.array([[1, 0]] * 990 + [[1, 1]] * 10)
        certs = cs.certify_votes(votes, cs.Gaussian(sigma=0.5), n_train=12665, n_classes=2)
        ledger = cs.Ledger(tempfile.mkdtemp() + "/regions.sqlite")
        try:
            {call}
        except ImportError as error:
            print(error)
        """,
        *HEAVY,
    )
    assert said == MISSING[call] + "\n"


RUN = [
    "run", "--members", "20", "--alpha", "0.01", "--subsample", "50", "--cosine", "5", "--seed", "0",
    "--trigger", "one-pixel", "--rate", "0.02", "--norm", "1.0", "--target", "0", "--quiet", "--out",
]  # fmt: skip


def test_a_run_needs_nothing_but_the_package(tmp_path: Path) -> None:
    """Without plots, which the report says; everything else is there, and can be read and reported."""
    program = f"from certssb.cli import main\nassert main({[*RUN, str(tmp_path)]!r}) == 0\nassert main(['report', {str(tmp_path)!r}]) == 0"
    without(program, *HEAVY, "pyarrow", "PIL")
    page = (tmp_path / "report.html").read_text()
    assert (
        f"A plot needs matplotlib: pip install &#x27;certssb[plot]&#x27;, then certssb report {tmp_path.name}"
        in page
    )
    assert "<svg" not in page and "What is guaranteed" in page and "Least certain clean test samples" in page
    assert "torch" not in json.loads((tmp_path / "summary.json").read_text())["versions"]
    assert not (tmp_path / "certified_accuracy.png").exists()
    rows = (tmp_path / "certificates.csv").read_text().splitlines()
    table = certssb.CertificateTable.load(tmp_path / "certificates-clean.npz")
    triggered = certssb.CertificateTable.load(tmp_path / "certificates-triggered.npz")
    assert len(rows) == 1 + len(table) + len(triggered)
    assert rows[0].startswith("prediction,abstained,p_lower,p_upper,") and rows[0].endswith(",test,y_true")
    assert [float(row.split(",")[2]) for row in rows[1 : 1 + len(table)]] == table.p_lower.tolist()
    # What was left out can be drawn later.
    assert output(f"from certssb.cli import main\nprint(main(['report', {str(tmp_path)!r}]))").endswith("0\n")
    assert "<svg" in (tmp_path / "report.html").read_text()


def test_the_other_commands_need_nothing_but_the_package(tmp_path: Path) -> None:
    said = without(
        f"""
        import numpy as np
        import certssb as cs
        from certssb.cli import main
        folder = {str(tmp_path)!r} + "/"
        np.save(folder + "votes.npy", np.array([[1, 0]] * 990 + [[1, 1]] * 10))
        law = ["--n-train", "12665", "--n-classes", "2", "--subsample", "100"]
        asked = ["--n-poisoned", "80", "--norm", "inf", "--labels"]
        assert main(["certify", folder + "votes.npy", *law, *asked, "--out", folder + "table.npz"]) == 0
        with cs.Ledger(folder + "regions.sqlite") as ledger:
            ledger.update([0.0, 0.0], prediction=1, radius=0.5)
            ledger.update([0.0, 0.4], prediction=2, radius=0.5)
        for words in (["show"], ["verify"]):
            assert main(["ledger", *words, folder + "regions.sqlite"]) == 0
        for name in ("all.csv", "all.npz"):
            assert main(["ledger", "export", folder + "regions.sqlite", folder + name]) == 0
        """,
        *HEAVY,
        "pyarrow",
    )
    assert (
        "Not abstained: 2 of 2 predictions" in said and ": 2 of 2 predictions" in said.split("holds(", 2)[2]
    )
    assert "2 updates, 2 regions, dimension 2" in said
    with certssb.Ledger(tmp_path / "regions.sqlite") as ledger:
        assert (tmp_path / "all.csv").read_text() == ledger.to_frame().to_csv(
            index=False, float_format="%.17g"
        )
        numbers = ledger.to_frame()["number"]
    with np.load(tmp_path / "all.npz") as archive:
        assert archive["number"].tolist() == numbers.tolist() and archive["centres"].shape == (2, 2)
