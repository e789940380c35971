"""The ledger from Python: entries, files, bad input, the command line."""

from __future__ import annotations

import numpy as np
import pytest

import certssb as cs
from certssb.cli import main


@pytest.fixture
def path(tmp_path):
    return tmp_path / "regions.sqlite"


def crowd(n, seed=0):
    rng = np.random.default_rng(seed)
    return rng.random((n, 2), dtype=np.float32), rng.integers(0, 3, n), rng.random(n) * 0.2


def test_the_four_outcomes(path):
    with cs.Ledger(path) as ledger:
        assert ledger.update([0.0, 0.0], prediction=1, radius=0.5)[:4] == (1, 0.5, "kept", 0)
        assert ledger.update([0.0, 0.75], prediction=0, radius=0.5)[:4] == (0, 0.25, "trimmed", 1)
        assert ledger.update([0.25, 0.0], prediction=0, radius=0.5)[:4] == (1, 0.25, "adopted", 2)
        assert ledger.update([5.0, 5.0], prediction=0, radius=0.0)[:4] == (0, 0.0, "abstained", 3)
        assert len(ledger) == 3 and ledger.n_updates == 4 and ledger.dimension == 2
        assert ledger.query([0.1, 0.0]).prediction == 1 and ledger.query([9.0, 9.0]) is None
        frame = ledger.to_frame()
        assert list(frame["outcome"]) == ["kept", "trimmed", "adopted", "abstained"]
        assert list(frame["asked_radius"]) == [0.5, 0.5, 0.5, 0.0]


def test_one_by_one_in_batches_and_after_reopening_are_the_same(tmp_path):
    X, classes, radii = crowd(300)
    with cs.Ledger(tmp_path / "a") as ledger:
        single = [ledger.update(x, int(c), float(r)) for x, c, r in zip(X, classes, radii, strict=True)]
    with cs.Ledger(tmp_path / "b") as ledger:
        batch = ledger.update_many(X[:150], classes[:150], radii[:150])
    with cs.Ledger(tmp_path / "b") as ledger:
        batch += ledger.update_many(X[150:], classes[150:], radii[150:])
        report = ledger.verify()
    assert single == batch
    assert {entry.outcome for entry in single} >= {"kept", "trimmed", "adopted"}
    assert report.updates == 300 and sum(report.outcomes.values()) == 300
    # The invariant, by hand: open balls of different classes are disjoint.
    size = np.array([entry.radius for entry in single])
    who = np.array([entry.prediction for entry in single])
    distance = np.linalg.norm(X[:, None].astype(float) - X[None].astype(float), axis=2)
    apart = distance - size[:, None] - size[None]
    assert (apart[(who[:, None] != who[None]) & (size[:, None] > 0) & (size[None] > 0)] > -1e-12).all()


def test_two_open_ledgers_see_each_other(path):
    with cs.Ledger(path) as first, cs.Ledger(path) as second:
        first.update([0.0], prediction=0, radius=1.0)
        assert second.update([1.5], prediction=1, radius=1.0)[:3] == (1, 0.5, "trimmed")
        assert len(first) == 2


@pytest.mark.parametrize(
    ("arguments", "kind", "name"),
    [
        (([float("nan"), 0.0], 1, 0.5), cs.ParameterError, "x"),
        (([0.0], 1, 0.5), cs.ShapeError, "x"),
        ((["a", "b"], 1, 0.5), cs.ParameterError, "x"),
        (([0.0, 0.0], -1, 0.5), cs.ParameterError, "prediction"),
        (([0.0, 0.0], 0.5, 0.5), cs.ParameterError, "prediction"),
        (([0.0, 0.0], 1, -0.5), cs.ParameterError, "radius"),
        (([0.0, 0.0], 1, float("nan")), cs.ParameterError, "radius"),
        (([0.0, 0.0], 1, float("inf")), cs.ParameterError, "radius"),
    ],
)
def test_bad_updates_are_named_and_store_nothing(path, arguments, kind, name):
    with cs.Ledger(path) as ledger:
        ledger.update([1.0, 1.0], prediction=0, radius=0.1)
        with pytest.raises(kind, match=name):
            ledger.update(*arguments)
        assert ledger.n_updates == 1


def test_files_that_are_no_ledgers(path, tmp_path):
    path.write_bytes(b"not a ledger, but long enough to be looked at" * 100)
    with pytest.raises(cs.LedgerCorruptError, match=str(path)):
        cs.Ledger(path)
    with pytest.raises(cs.LedgerError):
        cs.Ledger(tmp_path / "nowhere" / "regions.sqlite")
    with pytest.raises(cs.LedgerError):
        cs.Ledger(tmp_path / "missing.sqlite", read_only=True)


def test_a_flipped_byte_is_found(path):
    with cs.Ledger(path) as ledger:
        ledger.update_many(*crowd(200))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(cs.LedgerCorruptError), cs.Ledger(path) as ledger:
        ledger.verify()


def test_a_closed_ledger_says_so(path):
    ledger = cs.Ledger(path)
    ledger.close()
    with pytest.raises(cs.LedgerError, match="closed"):
        ledger.update([0.0], prediction=0, radius=0.1)


def test_command_line(path, tmp_path, capsys):
    X, classes, radii = crowd(50)
    with cs.Ledger(path) as ledger:
        ledger.update_many(X, classes, radii)
    assert main(["ledger", "show", str(path)]) == 0
    assert "50 updates" in capsys.readouterr().out
    assert main(["ledger", "verify", str(path)]) == 0
    assert "Clean: 50 updates" in capsys.readouterr().out
    assert main(["ledger", "export", str(path), str(tmp_path / "out.npz")]) == 0
    with np.load(tmp_path / "out.npz") as archive:
        assert np.array_equal(archive["centres"], X) and len(archive["radius"]) == 50
    assert main(["ledger", "export", str(path), str(tmp_path / "out.csv")]) == 0
    assert main(["ledger", "export", str(path), "out.xls"]) == 2
    assert main(["ledger", "show", str(tmp_path / "none")]) == 2
    assert "certssb:" in capsys.readouterr().err
