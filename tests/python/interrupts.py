"""Long calls, each of which Ctrl-C has to end; test_interrupts runs them in a process of their own.

Those of a ledger are in test_ledger_sharing.

Every job is one call, so large that it would take far longer than Ctrl-C may: a small piece of it is timed, and grown.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

import certssb as cs

LONG = 12.0
"""Seconds that a job would take, by the time of a piece."""

PIECE = 0.03
"""Seconds of a piece whose time counts."""

Call = Callable[[], Any]


class Job(NamedTuple):
    """A call of a given size with all that it needs made before, and a small question, answered before and after."""

    prepare: Callable[[int], Call]
    answer: Call
    largest: int


def random_votes(members: int, samples: int) -> Any:
    rng = np.random.default_rng(members + samples)
    return np.where(
        rng.random((members, samples)) < rng.random(samples), 1, rng.integers(0, 3, (members, samples))
    )


def random_scores(members: int, samples: int) -> Any:
    rng = np.random.default_rng(members + samples)
    one = np.float32(0.2) * rng.random((1, samples), np.float32) * rng.random((members, samples), np.float32)
    return np.stack([1 - one, one], axis=2)


LAW = cs.Subsample(cs.Gaussian(1.0) & cs.LabelNoise(0.1), size=200)
SLOW = cs.Subsample(cs.Gaussian(1.0) & cs.LabelNoise(0.1), size=3000)


def certified(votes: Any, law: cs.Law = LAW, **settings: Any) -> Any:
    return cs.certify_votes(votes, law, **({"n_train": 20_000, "n_classes": 3, "alpha": 0.2} | settings))


def counting(n_classes: int) -> Job:
    """Certification of one vote that a view repeats, counted with the interpreter held."""

    def prepare(size: int) -> Call:
        votes = np.broadcast_to(np.uint8(1), (10_000 * size, 2000))
        return lambda: certified(votes, n_classes=n_classes)

    return Job(prepare, lambda: certified(random_votes(40, 6), n_classes=n_classes).p_lower, 10**7)


def betting_on_votes() -> Job:
    some = random_votes(1000, 20)

    def prepare(size: int) -> Call:
        votes = np.tile(some, (1, size))
        return lambda: certified(votes, bound="betting")

    return Job(prepare, lambda: certified(some[:, :3], bound="betting").p_lower, 10_000)


def scores(bound: str, members: int, largest: int) -> Job:
    def of(votes: Any) -> Any:
        return cs.certify_scores(votes, LAW, n_train=1000, alpha=0.6, bound=bound).p_lower

    def prepare(size: int) -> Call:
        many = random_scores(members, 100 * size)
        return lambda: of(many)

    return Job(prepare, lambda: of(random_scores(members, 3)), largest)


def cascade() -> Job:
    law = cs.Cascade([cs.Gaussian(1.0), cs.Gaussian(0.5)])

    def of(votes: Any) -> Any:
        settings: dict[str, Any] = {"n_train": 100, "n_classes": 3, "alpha": 0.3, "bound": "betting"}
        return cs.certify_votes([votes, votes], law, **settings)

    def prepare(size: int) -> Call:
        votes = random_votes(500, 5 * size)
        return lambda: of(votes)

    return Job(prepare, lambda: of(random_votes(100, 3)).radius, 100_000)


def numbers(bound: Callable[[Any], Any], values: Callable[[int], Any], largest: int = 4_000_000) -> Job:
    def prepare(size: int) -> Call:
        many = values(size)
        return lambda: bound(many)

    return Job(prepare, lambda: bound(values(3)), largest)


def table(ask: Callable[[Any], Any], law: cs.Law = SLOW, n_features: int | None = None) -> Job:
    """A question about a table with as many samples as it takes."""

    def of(samples: int) -> Any:
        votes = random_scores(12, samples)
        return cs.certify_scores(votes, law, n_train=20_000, alpha=0.4, n_features=n_features)

    def prepare(size: int) -> Call:
        many = of(8 * size)
        return lambda: ask(many)

    small = of(5)
    return Job(prepare, lambda: ask(small), 60_000)


def nearest(ask: str) -> Job:
    rng = np.random.default_rng(0)
    X, y = rng.random((3000, 30), dtype=np.float32), rng.integers(0, 5, 3000)
    knn = cs.CertifiedKNN(sigma=0.7, progress=False).fit(X, y)

    def of(rows: Any) -> Any:
        found = getattr(knn, ask)(rows)
        return found.p_lower if ask == "certify" else found

    def prepare(size: int) -> Call:
        rows = np.resize(X, (3 * size, 30))
        return lambda: of(rows)

    return Job(prepare, lambda: of(X[:3]), 300_000)


def estimator(ask: str, law: cs.Law | None = None) -> Job:
    X, y = cs.datasets.load_digits()
    settings: dict[str, Any] = {"n_members": 40, "epochs": 2, "alpha": 0.3, "seed": 0, "progress": False}
    clf = cs.CertifiedClassifier("mlp", cs.Gaussian(0.3) if law is None else law, **settings)
    clf.fit(X[:300], y[:300])

    def prepare(size: int) -> Call:
        rows = np.concatenate([X[:100]] * size)
        return lambda: getattr(clf, ask)(rows)

    def fit(size: int) -> Call:
        return lambda: clf.set_params(n_members=40 + 10 * size).fit(X[:300], y[:300])

    def answer() -> Any:
        return clf.set_params(n_members=40).fit(X[:300], y[:300]).votes(X[:9])

    return Job(fit if ask == "fit" else prepare, answer, 3000)


def plan() -> Job:
    law = cs.Subsample(cs.Gaussian(1.0) & cs.LabelNoise(0.3), size=50)

    def of(size: int) -> Any:
        return law.plan(10**4 * size, 10**3 * size, 0.5, labels=True, n_classes=10)

    return Job(lambda size: lambda: of(size), lambda: str(of(1)), 1000)


def augmentation() -> Job:
    step = cs.augment.Compose([cs.augment.Elastic(4.0, 8.0)] * 12)
    some = np.random.default_rng(0).random((4, 3, 64, 64), dtype=np.float32)

    def prepare(size: int) -> Call:
        batch = np.repeat(some, size, axis=0)
        return lambda: step(batch, 0)

    return Job(prepare, lambda: prepare(1)(), 4000)


def bound_of(name: str, *settings: Any) -> Callable[[Any], Any]:
    return lambda values: getattr(cs.bounds, name)(values, *settings)


JOBS: dict[str, Callable[[], Job]] = {
    "counting": lambda: counting(3),
    "counting many classes": lambda: counting(40),
    "betting on votes": betting_on_votes,
    "betting on scores": lambda: scores("betting", 200, 5000),
    "kl of scores": lambda: scores("kl", 2, 90_000),
    "cascade": cascade,
    "clopper_pearson_lower": lambda: numbers(
        bound_of("clopper_pearson_lower", 10**6, 0.01), lambda size: np.arange(size) + 4 * 10**5
    ),
    "kl_upper": lambda: numbers(bound_of("kl_upper", 1000, 0.01), lambda size: np.linspace(0.1, 0.9, size)),
    "betting_lower": lambda: numbers(
        bound_of("betting_lower", 0.01), lambda size: np.random.default_rng(0).random((400, size)), 50_000
    ),
    "one betting_lower": lambda: numbers(
        bound_of("betting_lower", 0.01), lambda size: np.broadcast_to(0.5, (100 * size, 1)), 700_000
    ),
    "frontier": lambda: table(lambda certs: certs.frontier(np.arange(1, 400))),
    "certified_accuracy": lambda: table(
        lambda certs: certs.certified_accuracy(
            np.zeros(len(certs), int), n_poisoned=20, trigger_norm=np.linspace(0.1, 1, 300)
        )
    ),
    "radius": lambda: table(lambda certs: certs.radius, cs.Uniform(1.0), 100),
    "plan": plan,
    "nearest certify": lambda: nearest("certify"),
    "nearest predict": lambda: nearest("predict"),
    "nearest predict_proba": lambda: nearest("predict_proba"),
    "fit": lambda: estimator("fit"),
    "votes": lambda: estimator("votes"),
    "predict_proba": lambda: estimator("predict_proba"),
    "noise search": lambda: estimator("votes", cs.SampleSpecific(0.3, steps=50)),
    "augment": augmentation,
}


def timed(call: Call) -> float:
    """Seconds that a call takes, those in which another process had the machine left out."""
    start, cpu = time.perf_counter(), time.process_time()
    call()
    return min(time.perf_counter() - start, time.process_time() - cpu)


def grown(job: Job) -> tuple[int, float]:
    """A size at which the job is long, and how long it would be, by what it took longer at each size so far."""
    size, before, known = 1, 0.0, 0
    while True:
        call = job.prepare(size)
        took = timed(call)
        slope = (took - before) / (size - known)
        if (took >= PIECE and slope > 0.3 * took / size) or size >= job.largest:
            break
        known, before = size, took
        size = min(3 * size, job.largest)
    rate = max(min(slope, took / size), 1e-12)
    large = min(max(size, int(LONG / rate) + 1), job.largest)
    return large, rate * large


@contextlib.contextmanager
def ctrl_c_after(seconds: float) -> Iterator[None]:
    """Sends the signal from outside: a thread of this process would need the interpreter."""
    sender = subprocess.Popen(["sh", "-c", f"sleep {seconds}; kill -INT {os.getpid()}"])
    try:
        yield
    finally:
        sender.kill()
        sender.wait()


def interrupt(job: Job, after: float) -> dict[str, Any]:
    """What became of the job: how late it ended, in seconds of this process's own share of the machine."""
    before = job.answer()
    size, expected = grown(job)
    while True:
        call, kind = job.prepare(size), "it ended by itself"
        with ctrl_c_after(after):
            start, cpu = time.perf_counter(), time.process_time()
            try:
                call()
            except BaseException as error:  # noqa: BLE001
                kind = "KeyboardInterrupt" if isinstance(error, KeyboardInterrupt) else repr(error)
            wall, cpu = time.perf_counter() - start, time.process_time() - cpu
        late = wall - after
        if kind != "it ended by itself" or late > 0 or 4 * size > job.largest:
            break
        # The piece took long for another reason.
        size *= 4
    found = {"size": size, "long": expected, "wall": late, "late": late * min(1.0, cpu / wall), "kind": kind}
    return {**found, "same": bool(np.all(np.asarray(before) == np.asarray(job.answer())))}


def main(after: float, names: list[str]) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in names or JOBS:
        start, cpu = time.perf_counter(), time.process_time()
        found = interrupt(JOBS[name](), after)
        spent = {"cpu": time.process_time() - cpu, "all": time.perf_counter() - start}
        print(json.dumps({"name": name, **found, **spent}), flush=True)


if __name__ == "__main__":
    main(float(sys.argv[1]), sys.argv[2:])
