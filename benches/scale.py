"""Members on other processes and machines: each command writes its section of `results/scale.md`.

``python benches/scale.py engines`` compares threads, loky, Dask and Ray; ``kills`` ends workers in the middle, ten times each;
``driver`` ends the driver and goes on; ``overhead`` measures what a task costs, ``capacity`` what the driver does with a member, and
``network`` (as root) runs a scheduler and two workers on hosts in network namespaces. Needs the extras ``certssb[dask]`` and ``certssb[ray]``.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import certssb as cs

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
RESULTS = Path(__file__).parent / "results" / "scale.md"
ROUNDS = 3
KILLS = 10


def write(title: str, lines: list[str]) -> None:
    """Put a section in the place of the one with its title, or at the end."""
    text = RESULTS.read_text() if RESULTS.exists() else "# Beyond one machine and beyond memory\n"
    head, *sections = text.split("\n## ")
    body = "\n".join([title, "", *lines]).rstrip() + "\n"
    kept = [section for section in sections if section.partition("\n")[0] != title]
    place = next((i for i, section in enumerate(sections) if section.partition("\n")[0] == title), len(kept))
    kept.insert(place, body)
    RESULTS.write_text("\n## ".join([head.rstrip() + "\n", *(section.rstrip() + "\n" for section in kept)]))
    print("\n".join(lines))


def table(header: list[str], rows: list[list[str]]) -> list[str]:
    return ["| " + " | ".join(line) + " |" for line in [header, ["---"] * len(header), *rows]]


def machine() -> str:
    found = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if "model name" in line
    ]
    return f"{found[0] if found else 'unknown processor'}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the end"


def module() -> Any:
    """The literature's cnn, smaller, as a user would write it."""
    from torch import nn

    return nn.Sequential(
        nn.Conv2d(1, 8, 5), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8 * 12 * 12, 64), nn.ReLU(), nn.Linear(64, 2)
    )  # fmt: skip


def ensembles() -> dict[str, dict[str, Any]]:
    from sklearn.ensemble import RandomForestClassifier

    noised = cs.Subsample(cs.Gaussian(0.5), size=2_000)
    few = cs.Subsample(cs.Gaussian(0.5), size=500)
    return {
        "1,000 `linear`": {"model": "linear", "law": noised, "n_members": 1_000, "epochs": 2},
        "60 `cnn`": {"model": "cnn", "law": noised, "n_members": 60, "epochs": 2},
        "60 `cnn`, 6 epochs": {"model": "cnn", "law": noised, "n_members": 60, "epochs": 6},
        "40 own modules": {"model": module, "law": few, "n_members": 40, "epochs": 2},
        "200 random forests": {
            "model": RandomForestClassifier(20),
            "law": cs.Subsample(size=500),
            "n_members": 200,
        },
    }


def data() -> tuple[Any, Any, Any]:
    X, y, X_test, _ = cs.datasets.load_mnist(DATA, classes=(0, 1))
    return X, y, X_test


def classifier(executor: Any = None, **settings: Any) -> cs.CertifiedClassifier:
    return cs.CertifiedClassifier(**{"progress": False} | settings, executor=executor, seed=0, device="cpu")


@contextlib.contextmanager
def dask(n_workers: int = 3) -> Iterator[Any]:
    from distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=n_workers, threads_per_worker=1, processes=True, dashboard_address=":0", memory_limit=0
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


@contextlib.contextmanager
def ray(n_workers: int = 2) -> Iterator[str]:
    import ray

    ray.init(num_cpus=n_workers, include_dashboard=False, log_to_driver=False)
    try:
        yield "ray"
    finally:
        ray.shutdown()


def spent() -> float:
    """Seconds of processors that this process and all below it have spent."""
    import psutil

    own = psutil.Process()
    seconds = 0.0
    for process in [own, *own.children(recursive=True)]:
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            seconds += times.user + times.system
    return seconds


def engines(only: str | None) -> None:
    """The same ensembles by every engine, in turn."""
    from joblib.externals.loky import get_reusable_executor

    X, y, X_test = data()
    # Its workers end when they are idle for longer than that, and would start anew in every round.
    loky = get_reusable_executor(max_workers=2, timeout=3_600)
    with dask() as client, ray():
        executors: dict[str, Any] = {"threads": None, "loky": loky, "Dask": client, "Ray": "ray"}
        for name, settings in ensembles().items():
            if only is not None and only not in name:
                continue
            # Workers import what they need once in their lives.
            for executor in executors.values():
                classifier(executor, **settings | {"n_members": 12, "epochs": 1, "alpha": 0.5}).fit(
                    X[:2_100], y[:2_100]
                )
            wall: dict[str, list[float]] = {engine: [] for engine in executors}
            work: dict[str, list[float]] = {engine: [] for engine in executors}
            votes = {}
            for _ in range(ROUNDS):
                for engine, executor in executors.items():
                    begun, before = time.perf_counter(), spent()
                    votes[engine] = classifier(executor, **settings).fit(X, y).votes(X_test)
                    wall[engine].append(time.perf_counter() - begun)
                    work[engine].append(spent() - before)
            same = all(np.array_equal(votes["threads"], other) for other in votes.values())
            cells = [f"{statistics.median(wall[e]):.1f}, {statistics.median(work[e]):.1f}" for e in executors]
            # Of each round on its own: the load of the machine changes.
            of_rounds = {
                e: [
                    [mine / threads for mine, threads in zip(kind[e], kind["threads"], strict=True)]
                    for kind in (wall, work)
                ]
                for e in executors
            }
            cost = [
                " / ".join(f"{100 * (statistics.median(ratios) - 1):+.0f} %" for ratios in of_rounds[e])
                for e in executors
                if e != "threads"
            ]
            add([name, *cells, *cost, "yes" if same else "NO"])


def add(row: list[str]) -> None:
    """Put a row into the section of the engines, in place of the one with its name."""
    text = RESULTS.read_text() if RESULTS.exists() else ""
    section = text.partition("\n## Engines\n")[2].partition("\n## ")[0]
    there = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")][2:]
    rows = {known[0]: known for known in there} | {row[0]: row}
    write(
        "Engines",
        [
            (
                "`python benches/scale.py engines`: fit and votes on 2,115 test images, MNIST 1 against 0 (12,665 training images): wall "
                f"seconds, processor seconds of all processes, medians of {ROUNDS} rounds that take turns; and by how much each is more "
                "than with threads, round by round. Threads: 2; loky: 2 processes; Dask: a `LocalCluster` of 3 worker processes; Ray: 2 "
                f"workers; all have imported what they need. {machine()}, where other work was going on: wall seconds are rough."
            ),
            "",
            *table(
                [
                    "ensemble",
                    "threads",
                    "loky",
                    "Dask",
                    "Ray",
                    "loky costs",
                    "Dask costs",
                    "Ray costs",
                    "votes equal",
                ],
                [rows[name] for name in ensembles() if name in rows],
            ),
        ],
    )


def _workers_of_dask(client: Any) -> list[int]:
    # One that was ended may not be back yet.
    return [pid for pid in client.run(os.getpid, on_error="return").values() if isinstance(pid, int)]


def _work_of_ray() -> list[int]:
    import psutil

    commands = ((one.pid, " ".join(one.info["cmdline"] or ())) for one in psutil.process_iter(["cmdline"]))
    return [pid for pid, command in commands if "ray::work" in command]


def kills() -> None:
    """Workers ended in the middle of a fit, ten times for each engine."""
    X, y, X_test = data()
    settings = ensembles()["60 `cnn`"] | {"law": cs.Subsample(cs.Gaussian(0.5), size=1_000)}
    expected = classifier(**settings).fit(X, y).votes(X_test)

    def run(executor: Any, workers: Callable[[], list[int]]) -> list[str]:
        killed, equal, seconds = 0, 0, []
        for turn in range(KILLS):
            done_at: list[int] = []

            def kill(done: int, total: int, turn: int = turn, done_at: list[int] = done_at) -> None:
                if done >= 10 + 4 * turn and not done_at:
                    found = workers()
                    if found:
                        os.kill(found[turn % len(found)], signal.SIGKILL)
                        done_at.append(done)

            begun = time.perf_counter()
            clf = classifier(executor, **settings, progress=kill).fit(X, y)
            seconds.append(time.perf_counter() - begun)
            clf.progress = False
            killed += len(done_at)
            equal += int(np.array_equal(clf.votes(X_test), expected))
            print(turn, done_at, clf.execution_, f"{seconds[-1]:.1f} s", equal, flush=True)
        return [str(killed), str(equal), f"{statistics.median(seconds):.1f}"]

    with dask() as client:
        rows = [["Dask", *run(client, lambda: _workers_of_dask(client))]]
    with ray():
        rows.append(["Ray", *run("ray", _work_of_ray)])
    write(
        "Killed workers",
        [
            f"`python benches/scale.py kills`: 60 `cnn` members, a worker ended by `kill -9` in the middle of {KILLS} fits each. {machine()}.",
            "",
            *table(
                ["engine", "workers killed", "fits that ended with votes equal", "median seconds of a fit"],
                rows,
            ),
        ],
    )


DRIVER = """
import sys
sys.path.insert(0, {here!r})
import scale
if __name__ == "__main__":
    X, y, _ = scale.data()
    with scale.dask() as client:
        settings = scale.ensembles()["60 `cnn`"]
        scale.classifier(client, **settings, checkpoint={folder!r}).fit(X, y)
"""


def driver() -> None:
    """A driver that is ended, and what goes on from its checkpoint."""
    X, y, X_test = data()
    settings = ensembles()["60 `cnn`"]
    expected = classifier(**settings).fit(X, y).votes(X_test)
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "driver.py"
        at = str(Path(folder) / "members")
        script.write_text(DRIVER.format(here=str(Path(__file__).parent), folder=at))
        process = subprocess.Popen(
            [sys.executable, str(script)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        while len(list(Path(at).glob("member-*"))) < 20:
            if process.poll() is not None:
                raise RuntimeError("the driver ended by itself")
            time.sleep(0.05)
        process.kill()
        process.wait()
        there = len(list(Path(at).glob("member-*")))
        told: list[int] = []
        with dask() as client:
            clf = classifier(
                client, **settings, checkpoint=at, progress=lambda done, _: told.append(done)
            ).fit(X, y)
            clf.progress = False
            equal = np.array_equal(clf.votes(X_test), expected)
    write(
        "A killed driver",
        [
            (
                f"`python benches/scale.py driver`: ended by `kill -9` when {there} of 60 `cnn` members were in the checkpoint; another driver trained "
                f"the other {60 - there}; votes equal: {'yes' if equal else 'NO'}."
            ),
        ],
    )


def overhead() -> None:
    """What a member costs beside its training, where training costs next to nothing."""
    X, y, _ = data()
    settings = {"model": "linear", "law": cs.Subsample(size=20), "epochs": 1}
    sizes = (2_000, 10_000)
    seconds: dict[str, dict[int, list[float]]] = {"threads": {}, "Dask": {}}
    with dask() as client:
        classifier(client, **settings, n_members=100).fit(X, y)
        for _ in range(ROUNDS):
            for name, executor in (("threads", None), ("Dask", client)):
                for size in sizes:
                    begun = time.perf_counter()
                    classifier(executor, **settings, n_members=size).fit(X, y)
                    seconds[name].setdefault(size, []).append(time.perf_counter() - begun)
    each = {
        name: 1e3
        * (statistics.median(of[sizes[1]]) - statistics.median(of[sizes[0]]))
        / (sizes[1] - sizes[0])
        for name, of in seconds.items()
    }
    rows = [
        [name, *(f"{statistics.median(of[size]):.2f}" for size in sizes), f"{each[name]:.3f}"]
        for name, of in seconds.items()
    ]
    write(
        "What a task costs",
        [
            (
                "`python benches/scale.py overhead`: `linear` members of 20 samples each, so that training is next to nothing; the last column is "
                f"the difference of both by the difference of members. {machine()}."
            ),
            "",
            *table(["engine", *(f"s for {size:,} members" for size in sizes), "ms a member"], rows),
        ],
    )


NETWORK_DRIVER = """
import sys
sys.path.insert(0, {here!r})
import numpy as np
import scale
from distributed import Client
if __name__ == "__main__":
    X, y, X_test = scale.data()
    with Client("tcp://10.77.0.1:8786") as client:
        client.wait_for_workers(2)
        told = lambda done, total: print(done, flush=True)
        clf = scale.classifier(client, **scale.long_cnn(), progress=told).fit(X, y)
        clf.progress = False
        np.save({out!r}, clf.votes(X_test))
        print(clf.execution_, flush=True)
"""


def long_cnn() -> dict[str, Any]:
    return ensembles()["60 `cnn`"] | {"n_members": 120}


@contextlib.contextmanager
def hosts(names: tuple[str, ...]) -> Iterator[None]:
    """Hosts of our own behind a bridge: 10.77.0.1 and on."""

    def ip(*words: str, check: bool = True) -> None:
        subprocess.run(["ip", *words], check=check, stderr=None if check else subprocess.DEVNULL)

    def remove() -> None:
        for name in names:
            ip("netns", "del", name, check=False)
            ip("link", "del", f"br-{name}", check=False)
        ip("link", "del", "br-certssb", check=False)

    remove()
    try:
        ip("link", "add", "br-certssb", "type", "bridge")
        ip("link", "set", "br-certssb", "up")
        for number, name in enumerate(names, 1):
            ip("netns", "add", name)
            ip("link", "add", f"br-{name}", "type", "veth", "peer", "name", "eth0", "netns", name)
            ip("link", "set", f"br-{name}", "master", "br-certssb")
            ip("link", "set", f"br-{name}", "up")
            ip("-n", name, "addr", "add", f"10.77.0.{number}/24", "dev", "eth0")
            ip("-n", name, "link", "set", "eth0", "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield
    finally:
        remove()


def network() -> None:
    """A scheduler and a driver on one host, a worker on each of two others, one of which is cut off for 20 s."""
    X, y, X_test = data()
    expected = classifier(**long_cnn()).fit(X, y).votes(X_test)
    rows = []
    for cut in (False, True):
        with (
            hosts(("cs0", "cs1", "cs2")),
            tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
            contextlib.ExitStack() as stack,
        ):

            def start(
                host: str, *command: str, stack: contextlib.ExitStack = stack, folder: str = folder
            ) -> Any:
                words = ["ip", "netns", "exec", host, sys.executable, *command]
                log = stack.enter_context(open(Path(folder) / f"{host}-{len(command)}.log", "w"))
                output = subprocess.PIPE if len(command) == 1 else log
                process = subprocess.Popen(words, stdout=output, stderr=log, text=True, cwd=folder)
                stack.callback(process.kill)
                return process

            scheduler = ["-m", "distributed.cli.dask_scheduler", "--host", "10.77.0.1", "--port", "8786"]
            start("cs0", *scheduler, "--dashboard-address", ":0")
            for number in (1, 2):
                worker = ["-m", "distributed.cli.dask_worker", "tcp://10.77.0.1:8786", "--nthreads", "1"]
                place = [
                    "--host",
                    f"10.77.0.{number + 1}",
                    "--local-directory",
                    str(Path(folder) / str(number)),
                ]
                start(f"cs{number}", *worker, *place, "--no-nanny", "--memory-limit", "0")
            script, out = Path(folder) / "driver.py", str(Path(folder) / "votes.npy")
            script.write_text(NETWORK_DRIVER.format(here=str(Path(__file__).parent), out=out))
            begun = time.perf_counter()
            driver = start("cs0", str(script))
            was_cut, who = "no", ""
            for line in driver.stdout:
                who = line.strip()
                if cut and was_cut == "no" and who.isdigit() and int(who) >= 30:
                    subprocess.run(["ip", "link", "set", "br-cs2", "down"], check=True)
                    time.sleep(20)
                    subprocess.run(["ip", "link", "set", "br-cs2", "up"], check=True)
                    was_cut = "for 20 s, after 30 members"
            driver.wait()
            seconds = time.perf_counter() - begun
            ended = Path(out).exists()
            equal = ended and np.array_equal(np.load(out), expected)
            rows.append([was_cut, "yes" if ended else "NO", f"{seconds:.0f}", "yes" if equal else "NO", who])
            print(rows[-1], flush=True)
            if not ended:
                print((Path(folder) / "cs0-1.log").read_text()[-2000:])
    write(
        "Hosts in network namespaces",
        [
            (
                "`python benches/scale.py network` (as root): a Dask scheduler and the driver on one host, a worker on each of two others, 120 `cnn` "
                f"members; start of all processes included. {machine()}."
            ),
            "",
            *table(["a worker cut off", "the fit ended", "seconds", "votes equal", "who trained"], rows),
        ],
    )


def capacity() -> None:
    """What the driver does with a member that comes back, and how far that reaches."""
    from certssb import _core

    X, y, test = data()
    codes = y.astype(np.int64)
    rows = []
    for model, members, size in (("linear", 100_000, 2_000), ("cnn", 100_000, 2_000)):
        settings = {
            "model": model,
            "law": cs.Subsample(cs.Gaussian(0.5), size=size),
            "epochs": 2,
            "n_members": 24,
            "alpha": 0.5,
        }
        begun = time.perf_counter()
        trained = classifier(None, **settings, n_jobs=1).fit(X, y)
        training = (time.perf_counter() - begun) / 24
        packed = trained._ensemble.pack()
        bytes_each = len(packed[0][1])
        costs = {}
        for kept in (False, True):
            with tempfile.TemporaryDirectory(dir=Path.home()) as folder:
                make, parts = trained._ensemble.bare()
                ensemble = make(*parts)
                fit = _core.Elsewhere(ensemble, X, y.astype(np.int64), 24, folder if kept else None)
                numbers = fit.hand_out(24)
                begun = time.perf_counter()
                for number, content in packed[: len(numbers)]:
                    fit.take([(number, content)])
                costs[kept] = 1e3 * (time.perf_counter() - begun) / 24
                fit.end(X, y.astype(np.int64), False)
        make, parts = trained._ensemble.bare()
        worker, ensemble = make(*parts), make(*parts)
        worker.reconfigure("cpu", 1, None)
        votes = [_core.Elsewhere.vote_for(worker, X, codes, [number], test) for number in range(24)]
        with tempfile.TemporaryDirectory(dir=Path.home()) as folder:
            ensemble.recall_votes(test, 24, folder)
            ensemble.come_to(24)
            fit = _core.Elsewhere(ensemble, X, codes, 24)
            numbers = fit.hand_out(24)
            begun = time.perf_counter()
            for number in numbers:
                fit.take_votes([number], votes[number])
            ensemble.keep_votes(numbers, folder)
            voted = 1e3 * (time.perf_counter() - begun) / 24
            fit.end(X, codes, False)
        per_worker = training * members / 1_000
        driving = costs[True] * members / 1e3
        rows.append(
            [
                f"`{model}`",
                f"{training:.2f}",
                f"{bytes_each / 1e6:.3f}",
                f"{costs[False]:.2f}",
                f"{costs[True]:.2f}",
                f"{per_worker / 60:.1f}",
                f"{driving / 60:.1f}",
                f"{bytes_each * members / 1e9:.1f}",
                f"{8 * bytes_each * members / max(per_worker, driving) / 1e6:.0f}",
                f"{len(votes[0]) / 1e3:.1f}",
                f"{voted:.2f}",
            ]
        )
    write(
        "100,000 members on 1,000 workers",
        [
            (
                "`python benches/scale.py capacity`: measured seconds of a member on one core (2,000 samples, 2 epochs) and measured "
                "milliseconds that the driver spends on one that comes back (digests, comparison, a file that is synced), and what follows "
                "for 100,000 members on 1,000 workers; last, members that vote on 2,115 images where they are trained and are forgotten "
                f'(`members="votes"`). {machine()}.'
            ),
            "",
            *table(
                [
                    "member",
                    "s of training",
                    "MB",
                    "ms of the driver",
                    "ms with a checkpoint",
                    "minutes of each worker",
                    "minutes of the driver",
                    "GB in all",
                    "Mbit/s at the driver",
                    "kB of votes alone",
                    "ms with a checkpoint of these",
                ],
                rows,
            ),
        ],
    )


def main() -> None:
    commands = {
        "engines": lambda: engines(asked.only),
        "kills": kills,
        "driver": driver,
        "overhead": overhead,
        "capacity": capacity,
        "network": network,
    }
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", choices=[*commands, "all"])
    parser.add_argument("--only", help="of the engines' rows, those whose name has this in it")
    asked = parser.parse_args()
    for name, run in commands.items():
        if asked.command == name or (asked.command == "all" and name != "network"):
            run()


if __name__ == "__main__":
    main()
