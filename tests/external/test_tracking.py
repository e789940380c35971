"""TensorBoard and MLflow: what a fit leaves in them, read back with their own readers."""

from pathlib import Path
from typing import Any

import pytest

import certssb as cs

X, Y = cs.datasets.load_digits(classes=(0, 1))
N_TRAIN = 200


def classifier(**change: Any) -> cs.CertifiedClassifier:
    settings: dict[str, Any] = {
        "n_members": 20,
        "epochs": 3,
        "learning_rate": 0.03,
        "seed": 0,
        "progress": False,
    }
    return cs.CertifiedClassifier("linear", cs.Gaussian(0.25), **settings | change)


def fit_and_log(callback: cs.callbacks.Callback) -> dict[str, float]:
    """Fit, enlarge, log certificates; returns the shares that must be found again."""
    clf = classifier().fit(X[:N_TRAIN], Y[:N_TRAIN], callbacks=[callback])
    clf.set_params(n_members=30).fit(X[:N_TRAIN], Y[:N_TRAIN], callbacks=[callback])
    certs = clf.certify(X[N_TRAIN:])
    callback.log_certificates(certs, Y[N_TRAIN:], radii=[0, 0.125], n_poisoned=2, trigger_norms=[0.05])
    return {
        "test/certified_accuracy/radius_0.125": certs.certified_accuracy(Y[N_TRAIN:], radii=0.125),
        "test/certified_accuracy/poisoned_2_norm_0.05": certs.certified_accuracy(
            Y[N_TRAIN:], n_poisoned=2, trigger_norm=0.05
        ),
    }


def test_tensorboard_holds_one_run_per_ensemble(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="needs tensorboard: make external")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    callback = cs.callbacks.TensorBoardCallback(tmp_path)
    with pytest.raises(cs.CertssbError, match="pass this callback to fit first"):
        certs = cs.CertifiedKNN().fit(X[:50], Y[:50]).certify(X[:2])
        callback.log_certificates(certs, Y[:2])
    shares = fit_and_log(callback)
    (folder,) = tmp_path.iterdir()
    run = EventAccumulator(str(folder)).Reload()
    done = run.Scalars("members/done")
    assert [event.value for event in done] == [event.step for event in done]
    assert done[0].value == 1 and done[-1].value == 30
    assert all(event.value > 0 for event in run.Scalars("members/seconds_per_member"))
    for name, share in shares.items():
        assert run.Scalars(name)[-1].value == pytest.approx(share, abs=1e-6)
    texts = run.Tensors("settings/text_summary")[0].tensor_proto.string_val[0].decode()
    assert "law: `Gaussian(sigma=0.25)`" in texts and "seed" not in texts
    classifier(seed=1).fit(X[:N_TRAIN], Y[:N_TRAIN], callbacks=[callback])
    assert len(list(tmp_path.iterdir())) == 2


def test_mlflow_holds_one_run_per_ensemble(tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow", reason="needs mlflow: make external")
    uri = f"sqlite:///{tmp_path}/runs.db"
    callback = cs.callbacks.MLflowCallback("digits", tracking_uri=uri, every=0)
    shares = fit_and_log(callback)
    # Another process would find the run again by its tag.
    callback = cs.callbacks.MLflowCallback("digits", tracking_uri=uri)
    clf = classifier(n_members=35).fit(X[:N_TRAIN], Y[:N_TRAIN], callbacks=[callback])
    client = mlflow.MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("digits")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.params["law"] == "Gaussian(sigma=0.25)" and "seed" not in run.data.params
    assert run.data.metrics["members/done"] == 35 == clf.n_members_
    assert run.data.metrics["members/seconds_per_member"] > 0
    for name, share in shares.items():
        assert run.data.metrics[name] == pytest.approx(share)
    history = client.get_metric_history(run.info.run_id, "members/done")
    assert {1, 20, 30} <= {metric.step for metric in history}


def test_mlflow_is_told_of_a_failure(tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow", reason="needs mlflow: make external")

    def interrupt(done: int, total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    uri = f"sqlite:///{tmp_path}/runs.db"
    callback = cs.callbacks.MLflowCallback(tracking_uri=uri)
    with pytest.raises(cs.CancelledError):
        classifier(progress=interrupt).fit(X[:N_TRAIN], Y[:N_TRAIN], callbacks=[callback])
    client = mlflow.MlflowClient(tracking_uri=uri)
    (run,) = client.search_runs([client.get_experiment_by_name("certssb").experiment_id])
    assert run.info.status == "KILLED"
