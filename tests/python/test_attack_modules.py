"""A search for modules whose members share state and are accepted all the same.

Modules are put together at random: where their state lies, when it is written, from what, when it is read and what it
changes. Each must be refused; or it must do no harm: members trained alone in a fresh process, and their votes there,
are bit for bit those of the whole ensemble. In `make test` the same modules each time, in `make attack` others, for as long as
`CERTSSB_ATTACK_SECONDS` says, each time with another seed (`CERTSSB_ATTACK_SEED` for the same again).
"""

import array
import builtins
import collections
import contextvars
import ctypes
import functools
import itertools
import json
import mmap
import os
import queue
import random
import secrets
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import types
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import certssb as cs

LONG = "CERTSSB_ATTACK_SECONDS" in os.environ
SECONDS = float(os.environ.get("CERTSSB_ATTACK_SECONDS", "0"))
MODULES = 20
"""Of a search that is not told how long to go on."""
SETTINGS: dict[str, Any] = {
    "n_members": 5, "epochs": 4, "batch_size": 10, "alpha": 0.45, "seed": 3, "progress": False,
}  # fmt: skip

Get, Put = Callable[[], float], Callable[[float], None]
Place = Callable[[Path], tuple[Get, Put]]


# Where a number may lie: each returns how it is read and how it is written.


def attribute_of(holder: Any) -> tuple[Get, Put]:
    holder.value = 0.0
    return lambda: holder.value, lambda new: setattr(holder, "value", new)


def item_of(holder: Any, key: Any = 0) -> tuple[Get, Put]:
    return lambda: float(holder[key]), lambda new: holder.__setitem__(key, new)


class Plain:
    value: float


class Slots:
    __slots__ = ("__weakref__", "value")


class Kept(Plain):
    def __deepcopy__(self, memo: Any) -> Any:
        return self


def default_argument(_: Path) -> tuple[Get, Put]:
    def place(new: float | None = None, kept: list[float] = [0.0]) -> float:  # noqa: B006
        if new is not None:
            kept[0] = new
        return kept[0]

    return place, lambda new: (place(new), None)[1]


def cached(_: Path) -> tuple[Get, Put]:
    @functools.cache
    def kept() -> list[float]:
        return [0.0]

    return lambda: kept()[0], lambda new: kept().__setitem__(0, new)


def generator(_: Path) -> tuple[Get, Put]:
    def frame() -> Any:
        kept = 0.0
        while True:
            new = yield kept
            kept = kept if new is None else new

    running = frame()
    next(running)
    return lambda: float(running.send(None)), lambda new: (running.send(new), None)[1]


def nonlocal_variable(_: Path) -> tuple[Get, Put]:
    kept = 0.0

    def put(new: float) -> None:
        nonlocal kept
        kept = new

    return lambda: kept, put


def file(folder: Path) -> tuple[Get, Put]:
    """Written beside and renamed: members are trained in several threads, and none may find half of a number."""
    path = folder / secrets.token_hex(4)

    def put(new: float) -> None:
        beside = path.with_suffix(f".{secrets.token_hex(4)}")
        beside.write_text(str(new))
        beside.replace(path)

    return lambda: float(path.read_text()) if path.exists() else 0.0, put


def environment(_: Path) -> tuple[Get, Put]:
    key = f"CERTSSB_ATTACK_{secrets.token_hex(4)}"
    return lambda: float(os.environ.get(key, "0")), lambda new: os.environ.__setitem__(key, str(new))


def database(_: Path) -> tuple[Get, Put]:
    store = sqlite3.connect(":memory:", check_same_thread=False)
    store.execute("create table kept (value real)")
    store.execute("insert into kept values (0)")
    lock = threading.Lock()

    def get() -> float:
        with lock:
            return float(store.execute("select value from kept").fetchone()[0])

    def put(new: float) -> None:
        with lock:
            store.execute("update kept set value = ?", (new,))

    return get, put


def waiting(_: Path) -> tuple[Get, Put]:
    line: queue.Queue[float] = queue.Queue()
    line.put(0.0)

    def get() -> float:
        value = line.get()
        line.put(value)
        return value

    def put(new: float) -> None:
        line.get()
        line.put(new)

    return get, put


def context(_: Path) -> tuple[Get, Put]:
    kept: contextvars.ContextVar[float] = contextvars.ContextVar("kept", default=0.0)
    return kept.get, lambda new: (kept.set(new), None)[1]


def mapped(_: Path) -> tuple[Get, Put]:
    memory = memoryview(mmap.mmap(-1, 8)).cast("d")
    return item_of(memory)


def module_buffer(_: Path) -> tuple[Get, Put]:
    norm = nn.BatchNorm1d(1)
    mean = norm.running_mean
    assert mean is not None
    return lambda: float(mean), lambda new: (mean.fill_(new), None)[1]


def weak(_: Path) -> tuple[Get, Put]:
    holder = Slots()
    holder.value = 0.0
    reference = weakref.ref(holder)
    builtins.__dict__.setdefault("_certssb_attack", []).append(holder)
    return lambda: reference().value, lambda new: setattr(reference(), "value", new)  # type: ignore[union-attr]


def python_generator(_: Path) -> tuple[Get, Put]:
    """A number that lies in the seed of a generator."""
    kept = random.Random(0)
    return lambda: random.Random(kept.getstate()[1][3]).random() - 0.5, lambda new: kept.seed(new)


PLACES: dict[str, Place] = {
    "object": lambda _: attribute_of(Plain()),
    "slots": lambda _: attribute_of(Slots()),
    "not copied": lambda _: attribute_of(Kept()),
    "class": lambda _: attribute_of(type("Holder", (), {})),
    "namespace": lambda _: attribute_of(types.SimpleNamespace()),
    "function": lambda _: attribute_of(lambda: None),
    "python module": lambda _: attribute_of(types.ModuleType("attacked")),
    "loaded module": lambda _: attribute_of(sys.modules.setdefault("attacked", types.ModuleType("attacked"))),
    "list": lambda _: item_of([0.0]),
    "dictionary": lambda _: item_of({0: 0.0}),
    "default dictionary": lambda _: item_of(collections.defaultdict(float)),
    "deque": lambda _: item_of(collections.deque([0.0])),
    "array": lambda _: item_of(array.array("d", [0.0])),
    "numpy": lambda _: item_of(np.zeros(1)),
    "objects of numpy": lambda _: item_of(np.array([0.0], dtype=object)),
    "tensor": lambda _: item_of(torch.zeros(1)),
    "ctypes": lambda _: item_of((ctypes.c_double * 1)()),
    "nested": lambda _: item_of([[{"a": (collections.deque([[0.0]]),)}]][0][0]["a"][0][0]),
    "builtins": lambda _: attribute_of(builtins.__dict__.setdefault("_certssb_attacked", Plain())),
    "default argument": default_argument,
    "cache": cached,
    "generator": generator,
    "nonlocal": nonlocal_variable,
    "file": file,
    "environment": environment,
    "database": database,
    "queue": waiting,
    "context": context,
    "mapped": mapped,
    "hidden module": module_buffer,
    "weak reference": weak,
    "seed": python_generator,
}
WRITTEN = [
    "always",
    "once ever",
    "from step 7",
    "at step 30",
    "in voting",
    "in backward",
    "when built",
    "now and then",
]
FROM = ["data", "weights", "count", "gradient or data"]
READ = ["always", "in training", "in voting", "from step 9", "when built", "never"]
CHANGES = ["logits", "gradients", "samples", "noise", "a buffer", "a failure"]


class Attacking(nn.Module):
    """One of the modules; `spec` says which."""

    def __init__(self, spec: dict[str, str], get: Get, put: Put) -> None:
        super().__init__()
        self.fc = nn.Linear(64, 10)
        self.register_buffer("kept", torch.zeros(()))
        self.spec, self.get, self.put = spec, get, put
        self.steps = 0
        if spec["written"] == "when built":
            put(get() + 0.5)
        if spec["read"] == "when built":
            with torch.no_grad():
                self.fc.weight.mul_(1.0 + 0.1 * np.tanh(get()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.flatten(1)
        self.steps += int(self.training)
        factor = 1.0 + 0.1 * float(np.tanh(self.get())) if self.reads() else 1.0
        changes = self.spec["changes"]
        if factor != 1.0 and changes == "a failure" and factor > 1.09:
            raise RuntimeError("state")
        if changes == "noise" and self.training:
            x = x + 0.1 * (factor - 1.0) * torch.randn_like(x)
        if changes == "a buffer" and self.training:
            self.kept.fill_(factor)
        logits = self.fc(x * factor if changes == "samples" else x)
        if changes in ("logits", "a buffer"):
            logits = logits * (factor if changes == "logits" else 1.0 + self.kept)
        if changes == "gradients":
            logits = logits.detach() + factor * (logits - logits.detach())
        if self.spec["written"] == "in backward" and logits.requires_grad:
            logits.register_hook(lambda gradient: self.write(gradient))
        elif self.writes():
            self.write(x)
        return logits

    def reads(self) -> bool:
        read = self.spec["read"]
        return {
            "always": True, "in training": self.training, "in voting": not self.training,
            "from step 9": self.training and self.steps >= 9,
        }.get(read, False)  # fmt: skip

    def writes(self) -> bool:
        written = self.spec["written"]
        if not self.training:
            return written == "in voting"
        return {
            "always": True, "once ever": self.get() == 0.0, "from step 7": self.steps >= 7,
            "at step 30": self.steps == 30, "now and then": self.steps % 5 == 3,
        }.get(written, False)  # fmt: skip

    def write(self, x: torch.Tensor) -> None:
        new = {
            "data": float(x.detach().mean()), "weights": float(self.fc.weight.detach().sum()), "count": 1.0,
        }.get(self.spec["from"], float(x.detach().abs().max()))  # fmt: skip
        if self.spec["written"] != "once ever" or self.get() == 0.0:
            self.put(0.9 * self.get() + new)


def make(spec: dict[str, str], folder: Path) -> Callable[[], nn.Module]:
    get, put = PLACES[spec["place"]](folder)
    put(0.0)
    return lambda: Attacking(spec, get, put)


def data() -> tuple[Any, Any]:
    X, y = cs.datasets.load_digits()
    return X[:100], y[:100]


def drawn(rng: random.Random) -> dict[str, str]:
    kinds = {"place": list(PLACES), "written": WRITTEN, "from": FROM, "read": READ, "changes": CHANGES}
    return {name: rng.choice(values) for name, values in kinds.items()}


def alone(spec: dict[str, str], folder: str, number: int, asked: str) -> None:
    """In a fresh process: train what is missing in a checkpoint, and keep the votes."""
    with tempfile.TemporaryDirectory() as own:
        clf = cs.CertifiedClassifier(make(spec, Path(own)), checkpoint=folder, n_jobs=1, **SETTINGS)
        clf.fit(*data())
        np.save(Path(folder).parent / f"votes-{number}.npy", clf.votes(np.load(asked)))


def nursery() -> None:
    """A process that has done nothing but import, and forks one that is as fresh for each line of its input."""
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                alone(*json.loads(line))
                status = 0
            finally:
                os._exit(status)
        print(os.waitpid(child, 0)[1], flush=True)


@pytest.fixture(scope="module")
def fresh() -> Iterator[Callable[..., bool]]:
    """Runs `alone` in a process of its own; whether it ended well."""
    command = [sys.executable, "-c", "import test_attack_modules as t; t.nursery()"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    with subprocess.Popen(command, env=environment, stdin=-1, stdout=-1, text=True) as process:
        assert process.stdin is not None and process.stdout is not None

        def run(*arguments: Any) -> bool:
            print(json.dumps(arguments), file=process.stdin, flush=True)
            return process.stdout.readline().strip() == "0"  # type: ignore[union-attr]

        yield run
        process.stdin.close()


def harm(spec: dict[str, str], folder: Path, fresh: Callable[..., bool]) -> str | None:
    """What is wrong with the members of a module that was accepted; nothing if it was refused."""
    checkpoint, asked = folder / "members", folder / "asked.npy"
    X, y = data()
    clf = cs.CertifiedClassifier(make(spec, folder), checkpoint=checkpoint, n_jobs=2, **SETTINGS)
    try:
        clf.fit(X, y)
    except (cs.ParameterError, cs.TrainingError):
        return None
    np.save(asked, X[:20] + np.float32(0.05))
    try:
        votes = clf.votes(np.load(asked))
    except (cs.ParameterError, cs.TrainingError):
        # An error certifies nothing, if it is one every time.
        try:
            clf.votes(np.load(asked))
        except (cs.ParameterError, cs.TrainingError):
            return None
        return "votes are refused at first and given afterwards"
    for number in (1, 4):
        again = folder / f"again-{number}" / "members"
        shutil.copytree(checkpoint, again)
        name = f"member-{number:06d}.safetensors"
        (again / name).unlink()
        if not fresh(spec, str(again), number, str(asked)):
            return f"member {number} cannot be trained alone"
        if (again / name).read_bytes() != (checkpoint / name).read_bytes():
            return f"member {number} is another one when it is trained alone"
        if not np.array_equal(np.load(again.parent / f"votes-{number}.npy"), votes):
            return "votes are others in a fresh process"
    return None


@pytest.mark.filterwarnings("ignore")
def test_no_module_that_shares_state_is_accepted(tmp_path: Path, fresh: Callable[..., bool]) -> None:
    seed = int(os.environ.get("CERTSSB_ATTACK_SEED", secrets.randbits(32) if LONG else 0))
    rng, end = random.Random(seed), time.monotonic() + SECONDS
    found, accepted = [], 0
    for number in itertools.count():
        # A few even where the machine is busy.
        if number > 3 and time.monotonic() > end if LONG else number == MODULES:
            break
        spec = drawn(rng)
        folder = tmp_path / str(number)
        folder.mkdir()
        wrong = harm(spec, folder, fresh)
        accepted += int((folder / "asked.npy").exists())
        if wrong is not None:
            found.append(f"{json.dumps(spec)}: {wrong}")
        shutil.rmtree(folder)
    print(
        f"{number} modules with seed {seed}, {accepted} of them accepted and found harmless or listed here: {found}"
    )
    assert not found, "\n".join(found)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("place", PLACES)
def test_every_place_is_seen_through(place: str, tmp_path: Path) -> None:
    """The plainest attack on each place is refused: a search that finds nothing has looked."""
    spec = {"place": place, "written": "always", "from": "data", "read": "always", "changes": "logits"}
    clf = cs.CertifiedClassifier(make(spec, tmp_path), n_jobs=1, **SETTINGS)
    with pytest.raises((cs.ParameterError, cs.TrainingError)):
        clf.fit(*data())
