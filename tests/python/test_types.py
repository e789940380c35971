"""User code written from the README passes mypy --strict, and mypy sees through the package."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from test_readme import blocks

import certssb as cs

pytest.importorskip("mypy", reason="needs mypy: pip install mypy")

HOME = str(Path(cs.__file__).resolve().parents[1])


def strict(folder: Path) -> list[str]:
    """What mypy says about the files of a folder, with the package found where it was imported from."""
    configuration = folder / "mypy.ini"
    # As where it is installed: errors inside packages are not the user's.
    configuration.write_text(
        "[mypy]\nstrict = True\n"
        "[mypy-certssb.*]\nfollow_imports = silent\n"
        "[mypy-sklearn.*,pandas.*]\nignore_missing_imports = True\n"
    )
    scripts = [str(path) for path in sorted(folder.glob("*.py"))]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", str(configuration), "--no-error-summary", *scripts],
        env={"MYPYPATH": HOME, "PATH": ""}, cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert not done.stderr, done.stderr
    return done.stdout.splitlines()


def test_user_code_is_strictly_typed_and_mistakes_are_seen(tmp_path: Path) -> None:
    examples = [code for _, mark, code in blocks("python") if mark != "not run"]
    assert len(examples) > 4
    (tmp_path / "user.py").write_text("\n".join(examples) + USER)
    head = "import certssb as cs\n\n\ndef use(certs: cs.CertificateTable) -> None:\n"
    (tmp_path / "mistakes.py").write_text(head + "".join(f"    {line}\n" for line in MISTAKES))
    said = [line for line in strict(tmp_path) if ": error:" in line]
    assert [line for line in said if line.startswith("user.py")] == []
    for number, (line, expected) in enumerate(MISTAKES.items(), start=5):
        found = [text for text in said if text.startswith(f"mistakes.py:{number}:")]
        assert any(re.search(expected, text) for text in found), (line, said)
    assert len(said) == len(MISTAKES), said


USER = '''

def survivors(certs: cs.CertificateTable, n_poisoned: int, norm: float) -> int:
    """What a user writes around a table."""
    held = certs.holds(n_poisoned=n_poisoned, trigger_norm=norm)
    sizes = certs.trigger_norm(n_poisoned)
    best: float = float(sizes.max())
    radius = certs.radius
    if radius is None:
        return int(held.sum())
    return int((radius > best).sum())


class Printer(cs.callbacks.Callback):
    def progress(self, done: int, total: int, seconds_per_member: float) -> None:
        print(f"{done} of {total}")


def fitted(law: cs.Law) -> cs.CertifiedClassifier:
    X, y = cs.datasets.load_digits()
    return cs.CertifiedClassifier("linear", law, n_members=50).fit(X, y, callbacks=[Printer()])


def plotted(certs: cs.CertificateTable, y_true: "np.typing.NDArray[np.int64]") -> str:
    display = cs.CertifiedAccuracyDisplay.from_certificates(certs, y_true).plot(guarantee=True)
    return display.ax_.get_xlabel()


def measured() -> int:
    X, y = cs.datasets.load_digits()
    X_bad, y_bad, index = cs.triggers.poison(X, y, cs.triggers.OnePixel(norm=1.0), rate=0.02, target=0, seed=0)
    return cs.adapters.attack_size(X, y, X_bad, y_bad).n_poisoned


def stored(path: str) -> int | None:
    with cs.Ledger(path) as ledger:
        claim = ledger.query([0.0])
        return None if claim is None else claim.prediction
'''


MISTAKES = {
    "cs.Gaussian(sigma='0.5')": "incompatible type",
    "cs.CertifiedClassifier(law=0.5)": "incompatible type",
    "certs.holds(edits='all')": "incompatible type",
    "certs.no_such_name": "has no attribute",
    "assert certs.radius.max() > 0": 'Item "None"',
    "cs.CertifiedClassifier().fit([[1]], [0], callbacks=[print])": "incompatible type",
}
