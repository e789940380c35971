"""What an audit finds in a saved ensemble and the table that is said to be its."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Digits, small

import certssb as cs
from certssb import cli
from certssb.certificates import _file
from certssb.storage import _files, _seal


@pytest.fixture
def saved(digits: Digits, tmp_path: Path) -> tuple[Path, Path, Path, str]:
    """An ensemble, its data, a table of it, and its fingerprint."""
    X, y, X_test, _ = digits
    names = np.array([f"digit {number}" for number in range(10)])
    clf = small("discriminant", cs.Subsample(cs.Gaussian(0.25), size=60), n_members=40).fit(
        X, names[y], classes=names
    )
    fingerprint = clf.save(tmp_path / "ensemble")
    clf.certify(X_test, alpha=0.05, runner_up="complement").save(tmp_path / "table.npz")
    np.savez(tmp_path / "data.npz", X_train=X, y_train=names[y], X_test=X_test)
    return tmp_path / "ensemble", tmp_path / "data.npz", tmp_path / "table.npz", fingerprint


def results(report: Any) -> dict[str, str]:
    return {row.what: row.result for row in report.rows}


def test_an_ensemble_with_its_data_and_its_table_passes(saved: tuple[Path, Path, Path, str]) -> None:
    folder, data, table, fingerprint = saved
    report = cs.audit(folder, data=data, table=table, fingerprint=fingerprint, members="all")
    assert report.complete and set(results(report).values()) == {"passed"}, report
    words = [
        "audit",
        str(folder),
        "--data",
        str(data),
        "--table",
        str(table),
        "--fingerprint",
        fingerprint,
        "--quiet",
    ]
    assert cli.main(words) == 0
    # Without data nothing but the folder itself can be looked at.
    alone = cs.audit(folder)
    assert alone.ok and not alone.complete
    assert results(alone) == {
        "files": "passed",
        "data": "not checked",
        "members": "not checked",
        "certificates": "not checked",
    }
    assert "can be written anew" in alone.text


def test_other_data_and_other_tables_are_told(
    saved: tuple[Path, Path, Path, str], digits: Digits, tmp_path: Path
) -> None:
    folder, data, table, _ = saved
    arrays = dict(np.load(data))
    np.savez(tmp_path / "other.npz", **(arrays | {"X_train": arrays["X_train"] * np.float32(0.5)}))
    found = cs.audit(folder, data=tmp_path / "other.npz", table=table)
    assert results(found)["data"] == "FAILED" and "data_digest" in found.text
    assert results(found)["members"] == "not checked"
    clf = cs.CertifiedClassifier.load(folder)
    certs = clf.certify(arrays["X_test"], alpha=0.05)
    for name, other in (("other bounds", certs), ("fewer rows", certs[:50])):
        other.save(tmp_path / "table.npz")
        own = cs.audit(folder, data=data, table=tmp_path / "table.npz", members=0)
        expected = "passed" if name == "other bounds" else "FAILED"
        assert results(own)["certificates"] == expected, (name, own)
    X, y, X_test, _ = digits
    more = small("discriminant", cs.Subsample(cs.Gaussian(0.3), size=60), n_members=40).fit(X, y)
    more.certify(X_test, alpha=0.05).save(tmp_path / "table.npz")
    assert (
        results(cs.audit(folder, data=data, table=tmp_path / "table.npz", members=0))["certificates"]
        == "FAILED"
    )


@pytest.mark.parametrize("left_out", ["n_trusted", "classes_as_received"])
def test_a_table_that_leaves_out_a_condition_of_its_guarantee_is_told(
    digits: Digits, tmp_path: Path, left_out: str
) -> None:
    X, y, X_test, _ = digits
    trusted = {"trusted": range(50)} if left_out == "n_trusted" else {}
    clf = small("discriminant", cs.Subsample(size=60), n_members=40).fit(X, y, **trusted)
    clf.save(tmp_path / "ensemble")
    certs = clf.certify(X_test, alpha=0.05)
    of_record = {"X_train": X[50:], "y_train": y[50:], "X_trusted": X[:50], "y_trusted": y[:50]}
    data = of_record if trusted else {"X_train": X, "y_train": y}
    np.savez(tmp_path / "data.npz", X_test=X_test, **data)

    def result() -> str:
        found = cs.audit(
            tmp_path / "ensemble", data=tmp_path / "data.npz", table=tmp_path / "table.npz", members=0
        )
        return results(found)["certificates"]

    certs.save(tmp_path / "table.npz")
    assert result() == "passed"
    parts = _file.parts(certs._core, certs._classes)
    record = json.loads(str(parts["record"]))
    assert record.pop(left_out)
    parts["record"] = np.array(json.dumps(record))
    _files.write(tmp_path / "table.npz", _files.npz({"digest": np.array(_file.digest(parts)), **parts}))
    assert len(cs.CertificateTable.load(tmp_path / "table.npz").guarantee) < len(certs.guarantee)
    assert result() == "FAILED"


def test_a_member_that_was_exchanged_with_all_its_digests_is_found(
    saved: tuple[Path, Path, Path, str], digits: Digits, tmp_path: Path
) -> None:
    folder, data, table, fingerprint = saved
    X, y, *_ = digits
    # A member of the same record number that was trained on other labels, under the digests of its own file.
    parts = [(m, 0.0, cs.CertifiedClassifier.load(folder)._ensemble.values(m)) for m in range(40)]  # type: ignore[union-attr]
    clf = cs.CertifiedClassifier.load(folder)
    better = parts[5][2].copy()  # type: ignore[union-attr]
    better[:10] += 1.0
    parts[5] = (5, 0.0, better)
    ensemble = cs._core.Ensemble.from_parts(clf.record(), parts)  # type: ignore[arg-type]
    clf._ensemble = ensemble
    forged = tmp_path / "forged"
    clf.save(forged)
    with pytest.raises(cs.CheckpointError, match="not the ensemble that was asked for"):
        cs.CertifiedClassifier.load(forged, fingerprint=fingerprint)
    by_name = cs.audit(forged, data=data, fingerprint=fingerprint)
    assert results(by_name) == {"files": "FAILED"}
    by_training = cs.audit(forged, data=data, members="all")
    assert results(by_training)["files"] == "passed" and results(by_training)["members"] == "FAILED"
    # Where all bits differ, as on another processor, votes decide.
    facts = json.loads((folder / "estimator.json").read_text())
    assert _seal.is_fingerprint(facts["fingerprint"])


def test_questions_that_do_not_fit_the_folder_are_refused(
    saved: tuple[Path, Path, Path, str], tmp_path: Path
) -> None:
    folder, data, table, fingerprint = saved
    np.savez(tmp_path / "empty.npz", X=np.zeros(3))
    with pytest.raises(cs.ParameterError, match="X_train and y_train"):
        cs.audit(folder, data=tmp_path / "empty.npz")
    words = "run --dataset digits --classes 0 1 --members 20 --subsample 9 --model discriminant --alpha 0.2 --quiet"
    assert cli.main([*words.split(), "--out", str(tmp_path / "run")]) == 0
    for extra in ({"table": table}, {"fingerprint": fingerprint}, {"model": object}):
        with pytest.raises(
            cs.ParameterError,
            match=f"'{next(iter(extra))}' parameter must be left out for the folder of a run",
        ):
            cs.audit(tmp_path / "run", **extra)  # type: ignore[arg-type]
