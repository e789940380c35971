"""Members trained and asked by other processes: what comes out is what threads of one process give."""

import os
import pickle
import signal
import threading
import time
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor

import joblib
import numpy as np
import pytest
from executor_driver import SPAWN, TEST, TRAIN, Immediate, classifier, votes_of
from joblib.externals.loky import get_reusable_executor
from sklearn.base import clone
from sklearn.tree import DecisionTreeClassifier

import certssb as cs
from certssb.executors import _driving, _task
from certssb.executors._workforce import Workforce


@pytest.fixture(scope="module")
def pool():
    """Two processes, started once."""
    with ProcessPoolExecutor(2, mp_context=SPAWN) as made:
        yield made


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"law": cs.Subsample(cs.Gaussian(0.25), size=40), "n_members": 60},
        {"model": "cnn", "n_members": 10, "epochs": 1},
        {"model": DecisionTreeClassifier(max_depth=3), "law": cs.Subsample(size=60)},
        {"model": "linear", "law": cs.Cascade([cs.Gaussian(0.5), cs.Gaussian(0.25)])},
        {"law": cs.SampleSpecific(0.25, steps=2)},
        {"law": cs.SampleSpecific(0.25, steps=2, guarantee="published")},
        {"law": cs.Partition(8), "n_members": None},
    ],
    ids=["linear", "subsample", "cnn", "estimators", "cascade", "sample-specific", "published", "partition"],
)
def test_a_pool_of_processes_says_what_threads_say(pool, settings):
    here, there = (classifier(executor, **settings).fit(*TRAIN) for executor in (None, pool))
    assert np.array_equal(here.votes(TEST), there.votes(TEST))
    assert there.execution_.endswith("(ProcessPoolExecutor)") and "; by" not in here.execution_
    assert here.n_members_ == there.n_members_ and there.n_failed_ == 0
    if not isinstance(settings.get("law"), cs.Cascade):
        assert np.array_equal(here.scores(TEST), there.scores(TEST))
    if isinstance(settings.get("law"), cs.SampleSpecific):
        assert np.array_equal(here.noise_magnitudes(TEST), there.noise_magnitudes(TEST))
    if isinstance(settings.get("law"), cs.Partition):
        tables = [clf.certify(TEST, election="run-off") for clf in (here, there)]
        assert np.array_equal(tables[0].prediction, tables[1].prediction)


@pytest.mark.parametrize("engine", ["threads", "loky", "joblib", "joblib with threads"])
def test_other_engines_say_the_same(engine):
    expected = votes_of()
    if engine == "threads":
        with ThreadPoolExecutor(2) as threads:
            assert np.array_equal(votes_of(threads), expected)
    elif engine == "loky":
        loky = get_reusable_executor(max_workers=2)
        assert np.array_equal(votes_of(loky), expected)
        # joblib keeps one of its own under the same name.
        loky.shutdown()
    else:
        backend = "loky" if engine == "joblib" else "threading"
        with joblib.parallel_config(backend=backend, n_jobs=2):
            there = classifier("joblib").fit(*TRAIN)
            assert np.array_equal(there.votes(TEST), expected)
        assert there.execution_.endswith(f"(joblib, {backend})")


def test_data_and_callables_of_the_caller_travel(pool):
    def change(batch, rng):
        return batch + rng.normal(size=batch.shape).astype(np.float32) * 0.1

    settings = {
        "augment": change,
        "features": cs.features.Cosine(4),
        "law": cs.Subsample(size=50),
        "n_members": 20,
    }
    trusted = range(30)
    here, there = (
        classifier(executor, **settings).fit(*TRAIN, trusted=trusted).votes(TEST) for executor in (None, pool)
    )
    assert np.array_equal(here, there)


def test_members_are_added_until_enough_are_there(pool):
    until = cs.Until(TEST, trigger_norm=0.05, n_poisoned=1, share=0.9, first=20, max_members=60)
    here, there = (
        classifier(executor, n_members="auto").fit(*TRAIN, until=until) for executor in (None, pool)
    )
    assert there.n_members_ == here.n_members_ and there.decided_ == here.decided_
    assert np.array_equal(here.votes(TEST), there.votes(TEST))


def test_what_is_told_and_kept_is_what_threads_tell_and_keep(pool, tmp_path):
    told = []
    clf = classifier(pool, checkpoint=tmp_path, progress=lambda done, total: told.append((done, total)))
    clf.fit(*TRAIN)
    assert [done for done, _ in told] == list(range(1, 13)) and {total for _, total in told} == {12}
    # By threads, with nothing left to train.
    again = classifier(None, checkpoint=tmp_path).fit(*TRAIN)
    assert again.execution_ == "nothing was left to train"
    assert np.array_equal(again.votes(TEST), clf.votes(TEST))
    for path in tmp_path.glob("member-00000[0-5]*"):
        path.unlink()
    assert np.array_equal(classifier(pool, checkpoint=tmp_path).fit(*TRAIN).votes(TEST), clf.votes(TEST))


def test_the_payload_goes_by_value_where_no_file_is_seen(monkeypatch):
    sent = []

    def elsewhere(version, key, packed, order):
        sent.append(type(packed).__name__)
        if type(packed).__name__ == "InFile":
            packed.path = "/nowhere/else"
        return _task.work(version, key, packed, order)

    assert np.array_equal(votes_of(Immediate(work=elsewhere)), votes_of())
    # Once for the fit and once for the question.
    assert sent.count("Packed") == 2


def test_a_worker_of_another_version_is_refused():
    def other(version, *rest):
        return _task.work(("0.0.1", version[1]), *rest)

    with pytest.raises(
        cs.ParameterError,
        match=r"'executor' parameter must be one whose workers have certssb .*Got one whose worker on",
    ):
        classifier(Immediate(work=other)).fit(*TRAIN)


def test_a_worker_that_rounds_otherwise_is_told_once():
    def other(*arguments):
        reply = _task.work(*arguments)
        version, schema, _, *rest = reply["facts"]
        return reply | {"facts": (version, schema, "V2", *rest)}

    with pytest.warns(
        cs.RoundingWarning, match=r"rounds differently from this machine \(vectors V2 there"
    ) as told:
        classifier(Immediate(work=other)).fit(*TRAIN)
    assert len([one for one in told if one.category is cs.RoundingWarning]) == 1


def test_what_a_task_raises_is_raised_here_and_what_was_finished_kept():
    def unfit(version, key, packed, order):
        if order and 9 in order:
            return {
                "kind": "failed",
                "error": "TrainingError",
                "text": "Training of member 9 failed: no",
                "member": 9,
                "trace": "",
                "where": ("there", 1),
            }
        return _task.work(version, key, packed, order)

    clf = classifier(Immediate(work=unfit))
    with pytest.raises(cs.TrainingError, match="member 9 failed") as told:
        clf.fit(*TRAIN)
    assert told.value.member == 9 and clf._unfinished.n_members > 0


def test_damaged_members_are_refused():
    def damage(*arguments):
        reply = _task.work(*arguments)
        if "members" in reply:
            number, content = reply["members"][0]
            reply["members"][0] = number, content[:-1] + bytes([content[-1] ^ 1])
        return reply

    with pytest.raises(cs.TrainingError, match="what came back for it is damaged"):
        classifier(Immediate(work=damage)).fit(*TRAIN)


def test_the_member_that_is_trained_twice_is_a_task_of_its_own_and_compared():
    seen = []

    def twice(changes):
        def work(version, key, packed, order):
            reply = _task.work(version, key, packed, order)
            if "members" in reply:
                seen.append(order)
                number = order[0]
                if changes and len(order) == 1 and seen.count(order) == 2:
                    own = _known(key, packed)
                    own.unpack([(number, reply["members"][0][1])])
                    reply["members"] = [_perturbed(own, number)]
            return reply

        return work

    def _known(key, packed):
        from certssb.executors._payload import found

        return found(key, packed)._made()

    def _perturbed(ensemble, number):
        rebuild, parts = ensemble.__reduce__()
        parts = list(parts)
        parts[1] = [(number, loss, values + np.float32(1e-6)) for _, loss, values in parts[1]]
        return rebuild(*parts).pack()[0]

    settings = {"law": cs.Partition(6), "n_members": None}
    assert np.array_equal(votes_of(Immediate(work=twice(False)), **settings), votes_of(**settings))
    (again,) = [order for order in map(tuple, seen) if seen.count(list(order)) == 2][:1]
    assert len(again) == 1 and seen[-1] == list(again)
    seen.clear()
    clf = classifier(Immediate(work=twice(True)), **settings)
    with pytest.raises(cs.TrainingError, match="trained again on the same samples, it differs"):
        clf.fit(*TRAIN)


@pytest.mark.parametrize("engine", ["stdlib", "loky"])
def test_an_executor_that_was_shut_down_is_named(engine):
    if engine == "stdlib":
        pool = ProcessPoolExecutor(1)
        pool.shutdown()
    else:
        pool = get_reusable_executor(max_workers=1)
        pool.shutdown()
    with pytest.raises(cs.ParameterError, match="'executor' parameter must be one that takes tasks.*shut"):
        classifier(pool).fit(*TRAIN)


@pytest.mark.parametrize("executor", [3, "dask", object(), ProcessPoolExecutor])
def test_what_is_no_executor_is_refused(executor):
    with pytest.raises(
        cs.ParameterError, match="'executor' parameter must be None, an executor with the interface"
    ):
        classifier(executor).fit(*TRAIN)


def test_the_name_of_dask_is_no_client():
    with pytest.raises(cs.ParameterError, match="Got 'dask'; pass the Client itself instead"):
        classifier("dask").fit(*TRAIN)


def test_what_cannot_be_pickled_is_refused_by_the_name_of_the_parameter(pool):
    lock = threading.Lock()

    def change(batch, rng):
        with lock:
            return batch

    with pytest.raises(
        cs.ParameterError, match="'executor' parameter must be None for .*cannot be pickled.*lock"
    ):
        classifier(pool, augment=change).fit(*TRAIN)


def test_a_clone_has_the_same_executor_and_a_pickle_has_none(pool):
    clf = classifier(pool)
    assert clone(clf).executor is pool and clf.executor is pool
    clf.fit(*TRAIN)
    there = pickle.loads(pickle.dumps(clf))
    assert there.executor is None and np.array_equal(there.votes(TEST), clf.votes(TEST))


def test_a_callback_or_ctrl_c_ends_the_work_elsewhere_too(pool):
    def interrupt(done, total):
        if done == 3:
            raise KeyboardInterrupt

    clf = classifier(pool, n_members=50, progress=interrupt)
    with pytest.raises(cs.CancelledError, match=r"\d+ of 50 members are finished and kept"):
        clf.fit(*TRAIN)
    assert clf._unfinished.n_members >= 3
    clf.progress = False
    assert np.array_equal(clf.fit(*TRAIN).votes(TEST), votes_of(n_members=50))


def test_chunks_take_seconds_and_get_small_at_the_end():
    class Here(Workforce):
        n_workers = 4

    run = _driving._Run(Here(4), None)
    assert run._size(1000) == 1
    run._seconds = 0.01
    # Two seconds each; a fair share of what is left; at least a tenth of a second.
    assert [run._size(left) for left in (100_000, 800, 8)] == [200, 100, 10]
    run._seconds = 30.0
    assert run._size(1000) == 1


def test_a_worker_without_the_package_is_named():
    class Bare(Immediate):
        def submit(self, function, *arguments):
            future = Future()
            future.set_exception(ModuleNotFoundError("No module named 'certssb'"))
            return future

    with pytest.raises(
        cs.ParameterError,
        match="'executor' parameter must be one whose workers have this version of certssb installed",
    ):
        classifier(Bare()).fit(*TRAIN)


class Interrupted(ProcessPoolExecutor):
    """Ctrl-C comes a while after the first task is sent, however long it took to get so far."""

    sent = False

    def submit(self, function, *arguments):
        future = super().submit(function, *arguments)
        if function is _task.work and not self.sent:
            self.sent = True
            threading.Timer(2.0, os.kill, (os.getpid(), signal.SIGINT)).start()
        return future


def test_ctrl_c_ends_tasks_that_are_under_way():
    with Interrupted(1, mp_context=SPAWN) as pool:
        # Warm, so that what is measured is the end of a task.
        pool.submit(_task.facts).result()
        clf = classifier(pool, "cnn", n_members=10, epochs=10_000)
        with pytest.raises(cs.CancelledError, match="0 of 10 members are finished and kept"):
            clf.fit(*TRAIN)
        freed = time.monotonic()
        assert pool.submit(int).result(timeout=60) == 0
        assert time.monotonic() - freed < 10


def test_drivers_that_share_a_checkpoint_share_the_work(tmp_path):
    trained = []

    def noted(*arguments):
        reply = _task.work(*arguments)
        trained.extend(number for number, _ in reply.get("members", ()))
        time.sleep(0.01)
        return reply

    def fit():
        fitted.append(classifier(Immediate(work=noted), n_members=30, checkpoint=tmp_path).fit(*TRAIN))

    fitted = []
    drivers = [threading.Thread(target=fit) for _ in range(2)]
    for driver in drivers:
        driver.start()
    for driver in drivers:
        driver.join()
    assert sorted(trained) == list(range(30))
    for clf in fitted:
        clf.executor = None
        assert np.array_equal(clf.votes(TEST), votes_of(n_members=30))


def test_the_payload_goes_by_value_where_no_disk_has_room_for_it(monkeypatch):
    def full(**_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.mkdtemp", full)
    assert np.array_equal(votes_of(Immediate()), votes_of())


FORGETTING = [
    {"law": cs.Subsample(cs.Gaussian(0.25), size=40), "n_members": 60},
    {"model": "mlp", "law": cs.SampleSpecific(0.25, steps=2), "n_members": 6, "epochs": 1},
    {"law": cs.SampleSpecific(0.25, steps=2, guarantee="published")},
    {"law": cs.Cascade([cs.Gaussian(0.5), cs.Gaussian(0.25)])},
    {"law": cs.Partition(8), "n_members": None},
    {"model": DecisionTreeClassifier(max_depth=3), "law": cs.Subsample(size=60)},
]


def forgotten(executor, checkpoint=None, **settings):
    clf = classifier(executor, members="votes", checkpoint=checkpoint, **settings)
    return clf.fit(*TRAIN, vote_on=TEST)


@pytest.mark.parametrize(
    "settings",
    FORGETTING,
    ids=["subsample", "sample-specific", "published", "cascade", "partition", "estimators"],
)
def test_members_that_are_forgotten_vote_where_they_are_trained(pool, tmp_path, settings):
    here, there = (forgotten(executor, tmp_path / str(executor), **settings) for executor in (None, pool))
    assert np.array_equal(here.votes(TEST), there.votes(TEST))
    assert np.array_equal(here.votes(TEST), votes_of(**settings))
    assert there.execution_.endswith("(ProcessPoolExecutor)")
    if isinstance(settings.get("model", ""), str):
        # The same members, by digests of what they were.
        assert here.save(tmp_path / "here") == there.save(tmp_path / "there")
    # What is in the checkpoint is not done again.
    again = forgotten(pool, tmp_path / str(pool), **settings)
    assert np.array_equal(again.votes(TEST), here.votes(TEST)) and "; by" not in again.execution_


def test_only_votes_come_back_of_members_that_are_forgotten():
    sent = []

    def noted(*arguments):
        reply = _task.work(*arguments)
        sent.append(reply)
        return reply

    executor = Immediate(work=noted)
    settings = {"law": cs.Partition(8), "n_members": None}
    assert np.array_equal(forgotten(executor, **settings).votes(TEST), votes_of(**settings))
    assert sum("votes" in reply for reply in sent) > 0
    # The learner that is trained twice is compared here, so that it comes back whole, both times.
    whole = [number for reply in sent for number, _ in reply.get("members", ())]
    assert len(whole) == 2 and whole[0] == whole[1]


@pytest.mark.parametrize("how", ["bit", "cut", "another"])
def test_votes_that_are_damaged_or_of_others_are_refused(how):
    kept = []

    def damage(*arguments):
        reply = _task.work(*arguments)
        if "votes" in reply:
            kept.append(reply["votes"])
            votes = reply["votes"]
            reply["votes"] = {
                "bit": votes[:-1] + bytes([votes[-1] ^ 1]),
                "cut": votes[:-1],
                "another": kept[0] if len(kept) > 1 else votes,
            }[how]
        return reply

    with pytest.raises(cs.TrainingError, match="the votes that came back are damaged, or of others"):
        forgotten(Immediate(work=damage), n_members=30)


def test_votes_of_a_fit_that_ends_early_are_kept(tmp_path):
    def broken(version, key, packed, order):
        if order and max(order) > 20:
            raise ConnectionError("gone")
        done.extend(order or ())
        return _task.work(version, key, packed, order)

    class Broken(Immediate):
        def submit(self, function, *arguments):
            try:
                return super().submit(function, *arguments)
            except ConnectionError as error:
                future = Future()
                future.set_exception(error)
                return future

    done = []
    with pytest.raises(cs.TrainingError, match="was lost with its worker"):
        forgotten(Broken(work=broken), tmp_path, n_members=30)
    first = set(done)
    assert first
    done.clear()
    expected = votes_of(n_members=30)
    clf = forgotten(
        Immediate(work=lambda *task: (done.extend(task[-1] or ()), _task.work(*task))[1]),
        tmp_path,
        n_members=30,
    )
    assert np.array_equal(clf.votes(TEST), expected)
    assert not first & set(done) and first | set(done) == set(range(30))
