"""Callbacks and the logger: what they are told, and that their failures do not stop a fit."""

import logging
import math
import re
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from conftest import Digits, small

import certssb as cs
from certssb.callbacks import Callback, MLflowCallback, TensorBoardCallback
from certssb.watch.callbacks.base import certified_shares


class Recorder(Callback):
    """Writes down what it hears."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []

    def start(self, settings: dict[str, Any]) -> None:
        self.heard.append(("start", settings))

    def progress(self, done: int, total: int, seconds_per_member: float) -> None:
        self.heard.append(("progress", done, total, seconds_per_member))

    def end(self, done: int, error: BaseException | None) -> None:
        self.heard.append(("end", done, error))

    def all(self, what: str) -> list[tuple[Any, ...]]:
        return [entry[1:] for entry in self.heard if entry[0] == what]


def test_a_callback_hears_settings_members_and_the_end(digits: Digits) -> None:
    recorder = Recorder()
    clf = small(law=cs.Subsample(cs.Gaussian(0.25), size=50)).fit(*digits[:2], callbacks=[recorder])
    ((settings,),) = recorder.all("start")
    assert settings["law"] == "Subsample(Gaussian(sigma=0.25), size=50)"
    assert settings["model"] == "linear" and settings["n_train"] == 400 and settings["epochs"] == 3
    assert len(settings["data_digest"]) == 64 and len(settings["ensemble"]) == 12
    assert "seed" not in settings
    reports = recorder.all("progress")
    assert [done for done, _, _ in reports] == sorted(done for done, _, _ in reports)
    assert reports[-1][:2] == (20, 20) == (clf.n_members_, 20)
    assert math.isnan(reports[0][2]) and reports[-1][2] > 0
    assert recorder.heard[-1] == ("end", 20, None)


def test_an_enlarged_ensemble_is_the_same_run_and_another_seed_is_not(digits: Digits) -> None:
    recorder = Recorder()
    clf = small().fit(*digits[:2], callbacks=[recorder])
    clf.set_params(n_members=25).fit(*digits[:2], callbacks=[recorder])
    clf.set_params(seed=1).fit(*digits[:2], callbacks=[recorder])
    first, second, third = (settings["ensemble"] for (settings,) in recorder.all("start"))
    assert first == second != third
    assert [done for done, _ in recorder.all("end")] == [20, 25, 25]


def test_a_cascade_is_one_run_with_all_its_levels(digits: Digits) -> None:
    recorder = Recorder()
    law = cs.Cascade([cs.Gaussian(0.5), cs.Gaussian(0.25)])
    small(law=law).fit(*digits[:2], callbacks=[recorder])
    ((settings,),) = recorder.all("start")
    assert settings["law"] == repr(law) and settings["model"] == "linear" and "seed" not in settings
    assert recorder.heard[-1][0] == "end" and recorder.heard[-1][2] is None


def test_the_bar_is_still_drawn(digits: Digits, capsys: pytest.CaptureFixture[str]) -> None:
    small(progress=True).fit(*digits[:2], callbacks=[Recorder()])
    assert "20/20" in capsys.readouterr().err


class Broken(Recorder):
    def progress(self, done: int, total: int, seconds_per_member: float) -> None:
        super().progress(done, total, seconds_per_member)
        raise OSError("the server is gone")


def test_a_failing_callback_does_not_stop_the_training(
    digits: Digits, caplog: pytest.LogCaptureFixture
) -> None:
    broken, recorder = Broken(), Recorder()
    clf = small().fit(*digits[:2], callbacks=[broken, recorder])
    assert clf.n_members_ == 20 and len(broken.all("progress")) == 1 and not broken.all("end")
    assert recorder.all("end") == [(20, None)]
    (warning,) = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert warning == "Broken.progress failed and is left out for the rest of this fit: the server is gone"


def test_a_callback_that_cannot_start_stops_the_fit_and_ends_the_others(digits: Digits) -> None:
    class Refusing(Callback):
        def start(self, settings: dict[str, Any]) -> None:
            raise OSError("no such server")

    recorder, clf = Recorder(), small()
    with pytest.raises(OSError, match="no such server"):
        clf.fit(*digits[:2], callbacks=[recorder, Refusing()])
    assert not hasattr(clf, "n_members_")
    ((done, error),) = recorder.all("end")
    assert done == 0 and isinstance(error, OSError)


def test_an_interrupted_fit_is_told(digits: Digits) -> None:
    def interrupt(done: int, total: int) -> None:
        if done >= 5:
            raise KeyboardInterrupt

    recorder = Recorder()
    with pytest.raises(cs.CancelledError):
        small(progress=interrupt, epochs=300, n_jobs=1).fit(*digits[:2], callbacks=[recorder])
    ((done, error),) = recorder.all("end")
    # A worker may finish what it had begun.
    assert 5 <= done <= 8 and isinstance(error, cs.CancelledError)


@pytest.mark.parametrize("callbacks", [Recorder(), [print], 3])
def test_anything_else_is_refused_before_training(callbacks: Any, digits: Digits) -> None:
    with pytest.raises(cs.ParameterError, match="'callbacks' parameter must be a list of certssb.callbacks"):
        small().fit(*digits[:2], callbacks=callbacks)


def test_shares_are_named_and_counted(certificates: cs.CertificateTable) -> None:
    kept: dict[str, float] = {}

    class Keeper(Callback):
        def _record_certificates(
            self, certs: cs.CertificateTable, name: str, shares: dict[str, float]
        ) -> None:
            kept.update(shares)

    truth = [1, 1, 0, 1, 1]
    Keeper().log_certificates(
        certificates, truth, name="mine", radii=[0, 0.9], n_poisoned=4, trigger_norms=[0.1]
    )
    assert kept == {
        "mine/accuracy": np.mean(certificates.prediction == truth),
        "mine/certified_ratio": np.mean(~certificates.abstained),
        "mine/right_and_certified": 0.6,
        "mine/certified_accuracy/radius_0": 0.6,
        "mine/certified_accuracy/radius_0.9": 0.4,
        "mine/certified_accuracy/poisoned_4_norm_0.1": 0.4,
    }
    with pytest.raises(cs.ParameterError, match="'n_poisoned'.*together with trigger_norms"):
        Keeper().log_certificates(certificates, truth, n_poisoned=4)
    kept.clear()
    threat = cs.Threat(n_poisoned=4, trigger_norm=0.1)
    Keeper().log_certificates(certificates, truth, name="mine", threat=threat)
    (name,) = (name for name in kept if "certified_accuracy" in name)
    assert re.fullmatch(r"mine/certified_accuracy/[-\w. :/]+", name) and kept[name] == 0.4
    with pytest.raises(cs.ParameterError, match="'threat' parameter must be a Threat"):
        Keeper().log_certificates(certificates, truth, threat=4)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("make", "module", "extra"),
    [
        (lambda folder: TensorBoardCallback(folder), "tensorboard", "tensorboard"),
        (lambda folder: MLflowCallback(), "mlflow", "mlflow"),
    ],
)
def test_a_missing_package_is_named_with_its_extra(
    make: Any, module: str, extra: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=rf"needs {module}.*: pip install 'certssb\[{extra}\]'"):
        make(tmp_path)


def test_fits_and_certificates_are_one_line_each(digits: Digits, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="certssb")
    clf = small().fit(*digits[:2])
    clf.certify(digits[2])
    knn = cs.CertifiedKNN().fit(*digits[:2])
    knn.certify(digits[2][:3])
    fit, certify, knn_fit, knn_certify = (record.getMessage() for record in caplog.records)
    assert fit.startswith("CertifiedClassifier.fit: 10 classes, 20 members, Gaussian(sigma=0.25), ")
    assert "of 100 samples certified from 20 members at alpha 0.01, Gaussian(sigma=0.25), " in certify
    assert knn_fit.startswith("CertifiedKNN.fit: 10 classes, ")
    assert "of 3 samples certified exactly, " in knn_certify


def test_a_fit_that_stops_is_a_line_as_well(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="certssb")
    with pytest.raises(cs.ShapeError):
        small().fit([1.0], [0])
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith("CertifiedClassifier.fit stopped after 0.0 s: ShapeError: 'X' must have")


def test_nothing_is_printed_where_logging_is_not_set_up() -> None:
    program = (
        "import numpy as np, certssb as cs\n"
        "cs.certify_votes(np.ones((100, 2), int), cs.Gaussian(1.0), 10, 2)\n"
        "X, y = cs.datasets.load_digits(classes=(0, 1))\n"
        "cs.CertifiedKNN().fit(X[:50], y[:50]).certify(X[:2])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout == done.stderr == ""


def test_a_share_is_reported_under_the_size_that_it_was_computed_for() -> None:
    votes = np.ones((1000, 2), int)
    certs = cs.certify_votes(votes, cs.Gaussian(1.0), 100, 2)
    # In six digits both would be 0.123457, which is more than either.
    radii = [0.12345651, 0.12345679]
    shares = certified_shares(certs, [1, 0], "test", radii, 2, radii, False)
    for radius in radii:
        assert shares[f"test/certified_accuracy/radius_{radius!r}"] == 0.5
        assert shares[f"test/certified_accuracy/poisoned_2_norm_{radius!r}"] == 0.5
    with pytest.raises(cs.ShapeError, match="one class per sample"):
        certified_shares(certs, [[1], [0]], "test", None, None, None, False)


def test_a_callback_that_fails_is_heard_of_where_nobody_set_up_logging() -> None:
    code = (
        "import certssb as cs\n"
        "class Broken(cs.callbacks.Callback):\n"
        "    def progress(self, *facts): raise OSError('the server is gone')\n"
        "X, y = cs.datasets.load_digits(classes=(0, 1))\n"
        "clf = cs.CertifiedClassifier('discriminant', cs.Subsample(size=20), n_members=20, alpha=0.1, progress=False)\n"
        "clf.fit(X, y, callbacks=[Broken()])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (
        done.stderr.strip()
        == "Broken.progress failed and is left out for the rest of this fit: the server is gone"
    )
