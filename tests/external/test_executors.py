"""Beside Dask and Ray: members of their workers are those of one machine, whatever becomes of the workers."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier

import certssb as cs

distributed = pytest.importorskip("distributed")
ray = pytest.importorskip("ray")

X, Y = cs.datasets.load_digits(classes=(0, 1))
TRAIN, TEST = (X[:200], Y[:200]), X[200:260]


@pytest.fixture(scope="module")
def client():
    """Three worker processes."""
    with (
        distributed.LocalCluster(
            n_workers=3, threads_per_worker=1, processes=True, dashboard_address=":0", memory_limit=0
        ) as cluster,
        distributed.Client(cluster) as made,
    ):
        yield made


@pytest.fixture(scope="module")
def cluster():
    """Ray on this machine."""
    ray.init(num_cpus=3, include_dashboard=False, log_to_driver=False)
    yield "ray"
    ray.shutdown()


@pytest.fixture(params=["dask", "ray"])
def engine(request):
    return request.getfixturevalue({"dask": "client", "ray": "cluster"}[request.param])


def classifier(executor=None, model="linear", law=None, n_members=40, **others):
    settings = {
        "epochs": 3,
        "learning_rate": 0.03,
        "seed": 3,
        "progress": False,
        "alpha": 0.1,
        "device": "cpu",
    } | others
    law = cs.Gaussian(0.25) if law is None else law
    return cs.CertifiedClassifier(model, law, n_members=n_members, executor=executor, **settings)


def worker_of_engine(engine):
    """The process of a worker that is at work."""
    if engine == "ray":
        import psutil

        # Other processes of Ray's are called ray::, too.
        found = [
            one.pid
            for one in psutil.process_iter(["cmdline"])
            if "ray::work" in " ".join(one.info["cmdline"] or ())
        ]
        return found[0] if found else None
    # One that was killed may not be back yet.
    found = engine.run(os.getpid, on_error="return").values()
    return next((pid for pid in found if isinstance(pid, int)), None)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"model": "cnn", "epochs": 1, "n_members": 12},
        {"model": RandomForestClassifier(5), "law": cs.Subsample(size=60)},
        {"law": cs.Partition(8), "n_members": None},
        {"law": cs.Cascade([cs.Gaussian(0.5), cs.Gaussian(0.25)])},
        {"law": cs.SampleSpecific(0.25, steps=2, guarantee="published"), "n_members": 12},
    ],
    ids=["linear", "cnn", "forests", "partition", "cascade", "published"],
)
def test_workers_say_what_threads_say(engine, settings):
    here, there = (classifier(executor, **settings).fit(*TRAIN) for executor in (None, engine))
    assert np.array_equal(here.votes(TEST), there.votes(TEST))
    assert "workers (" in there.execution_ or "worker (" in there.execution_


def test_modules_of_the_caller_travel_by_value(engine):
    import torch

    class Own(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = torch.nn.Sequential(
                torch.nn.Flatten(), torch.nn.Linear(64, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2)
            )

        def forward(self, x):
            return self.layers(x)

    settings = {"model": Own, "n_members": 10, "epochs": 2}
    here, there = (classifier(executor, **settings).fit(*TRAIN).votes(TEST) for executor in (None, engine))
    assert np.array_equal(here, there)


def test_a_worker_that_is_killed_costs_what_it_worked_on(engine, tmp_path):
    settings = {"model": "cnn", "epochs": 4, "n_members": 30}
    killed = []

    def kill(done, total):
        # A worker of Ray's is found while it works, which it may not do at this moment.
        if done >= 6 * (len(killed) + 1) and len(killed) < 2:
            pid = worker_of_engine(engine)
            if pid is not None and pid not in killed:
                killed.append(pid)
                os.kill(pid, signal.SIGKILL)

    clf = classifier(engine, progress=kill, **settings).fit(*TRAIN)
    assert killed
    clf.progress = False
    assert np.array_equal(clf.votes(TEST), classifier(**settings).fit(*TRAIN).votes(TEST))


def test_what_dask_names_as_an_executor_and_joblib_does_too(client):
    import joblib

    expected = classifier().fit(*TRAIN).votes(TEST)
    assert np.array_equal(classifier(client.get_executor()).fit(*TRAIN).votes(TEST), expected)
    with joblib.parallel_config(backend="dask"):
        assert np.array_equal(classifier("joblib").fit(*TRAIN).votes(TEST), expected)


def test_a_client_that_is_closed_is_named(client):
    with distributed.LocalCluster(n_workers=1, processes=False, dashboard_address=":0") as cluster:
        closed = distributed.Client(cluster)
        closed.close()
    with pytest.raises(
        cs.ParameterError, match="'executor' parameter must be a Client that is connected.*closed"
    ):
        classifier(closed).fit(*TRAIN)


def test_ray_without_a_cluster_is_named():
    if ray.is_initialized():
        pytest.skip("another test has one")
    with pytest.raises(cs.ParameterError, match="'executor' parameter must be 'ray' after ray.init"):
        classifier("ray").fit(*TRAIN)


@pytest.mark.parametrize("engine_name", ["dask", "ray"])
def test_the_tutorial_runs(engine_name, tmp_path):
    # In a process of its own, as its readers do: workers of a script import it.
    page = Path(__file__).parents[2] / "docs" / "tutorial" / "more-machines.md"
    blocks = re.findall(
        r"^(?:<!--([^\n]*)-->\n)?```python\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL
    )
    wanted = [code for mark, code in blocks if mark.strip() == f"needs {engine_name}"]
    assert len(wanted) == 1
    first = next(code for mark, code in blocks if not mark)
    script = tmp_path / "tutorial.py"
    script.write_text(first + wanted[0])
    ended = subprocess.run(
        [sys.executable, str(script)], check=False, capture_output=True, text=True, timeout=240
    )
    assert ended.returncode == 0, ended.stderr


def test_a_cluster_that_starts_workers_when_there_is_work():
    with (
        distributed.LocalCluster(
            n_workers=0, threads_per_worker=1, processes=False, dashboard_address=":0"
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        cluster.adapt(minimum=0, maximum=2, interval="0.2s")
        assert np.array_equal(
            classifier(client).fit(*TRAIN).votes(TEST), classifier().fit(*TRAIN).votes(TEST)
        )
