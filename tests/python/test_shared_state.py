"""Modules whose members share state, or are not what the module is: refused by what they do, wherever the state lies."""

import collections
import functools
import itertools
import threading
import types
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Digits
from test_own_model import Body, own
from torch import nn

import certssb as cs
from certssb.learners.torch.blueprint import Blueprint

Make = Callable[[], nn.Module]


class Holder:
    """A plain object."""

    def __init__(self) -> None:
        self.value: Any = torch.zeros(64)


class Slotted:
    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: Any = 0.0


class Learning(Body):
    """Subtracts a mean that it learns; where that is kept, tests say."""

    first = 1

    def __init__(self, read: Callable[[], Any], write: Callable[[Any], None]) -> None:
        super().__init__()
        self.steps = 0
        self.read, self.write = read, write

    def forward(self, x: torch.Tensor) -> Any:
        x = x.flatten(1)
        known = self.read()
        if self.training:
            self.steps += 1
            if self.steps >= self.first:
                self.write(0.9 * known + 0.1 * x.detach().mean(0))
        return self.fc(x - known)


class LearningLate(Learning):
    first = 7


def attribute(holder: Any) -> Make:
    return lambda: Learning(lambda: holder.value, lambda new: setattr(holder, "value", new))


def in_a_closure() -> Make:
    return attribute(Holder())


def in_slots() -> Make:
    return attribute(Slotted())


def in_a_namespace() -> Make:
    return attribute(types.SimpleNamespace(value=0.0))


def in_a_thread_local() -> Make:
    local = threading.local()
    local.value = 0.0
    return attribute(local)


def in_a_function() -> Make:
    def place() -> None: ...

    place.value = 0.0  # type: ignore[attr-defined]
    return attribute(place)


def in_a_class() -> Make:
    class Own(Body):
        kept = Holder()

        def forward(self, x: torch.Tensor) -> Any:
            x = x.flatten(1)
            if self.training:
                self.kept.value = 0.9 * self.kept.value + x.detach().mean(0)
            return self.fc(x - self.kept.value)

    return Own


def in_a_default() -> Make:
    def mean(new: torch.Tensor | None = None, kept: Any = Holder()) -> Any:  # noqa: B008
        if new is not None:
            kept.value = 0.9 * kept.value + new
        return kept.value

    return lambda: Learning(mean, mean)


def in_a_deque() -> Make:
    last: collections.deque[Any] = collections.deque(maxlen=3)
    return lambda: Learning(lambda: sum(last), last.append)


def in_a_cache() -> Make:
    @functools.cache
    def kept() -> torch.Tensor:
        return torch.zeros(64)

    return lambda: Learning(kept, lambda new: kept().copy_(new))


def in_a_cache_of_the_first() -> Make:
    seen: list[Any] = []

    @functools.cache
    def kept() -> Any:
        return seen[-1]

    class Own(Body):
        def forward(self, x: torch.Tensor) -> Any:
            seen[:] = [x.detach().flatten(1).mean(0)]
            x = x.flatten(1) - kept()
            seen.clear()
            return self.fc(x)

    return Own


def in_a_dictionary_late() -> Make:
    kept: dict[str, Any] = {}
    return lambda: LearningLate(lambda: kept.get("mean", 0.0), lambda new: kept.update(mean=new))


def in_a_generator() -> Make:
    def means() -> Any:
        kept = torch.zeros(64)
        while True:
            kept = kept + (yield kept)

    frame = means()
    next(frame)
    kept: Any = frame.send
    return lambda: Learning(lambda: kept(torch.zeros(64)), kept)


def in_a_counter() -> Make:
    counter = itertools.count()

    class Own(Body):
        def forward(self, x: torch.Tensor) -> Any:
            return super().forward(x * (1.0 + 0.01 * next(counter)) if self.training else x)

    return Own


def in_a_file(folder: Path, make: type[Learning] = Learning) -> Make:
    path = folder / "mean.npy"
    return lambda: make(
        lambda: torch.from_numpy(np.load(path)) if path.exists() else 0.0,
        lambda new: np.save(path, new.numpy()),
    )


def in_a_file_late(folder: Path) -> Make:
    return in_a_file(folder, LearningLate)


def in_the_environment() -> Make:
    import os

    def read() -> float:
        return float(os.environ.get("CERTSSB_TEST_STATE", "0"))

    os.environ.pop("CERTSSB_TEST_STATE", None)
    return lambda: Learning(read, lambda new: os.environ.update(CERTSSB_TEST_STATE=str(float(new.mean()))))


def behind_a_weak_reference() -> Make:
    holder = Holder()
    reference = weakref.ref(holder)

    def make() -> nn.Module:
        return Learning(lambda: reference().value, lambda new: setattr(holder, "value", new))  # type: ignore[union-attr]

    return make


def in_a_copy_that_is_none() -> Make:
    """Copies keep the object, and modules that are built share one as well."""

    class Same(Holder):
        def __deepcopy__(self, memo: Any) -> Any:
            return self

    one = Same()

    class Own(Body):
        def __init__(self) -> None:
            super().__init__()
            self.kept = one

        def forward(self, x: torch.Tensor) -> Any:
            x = x.flatten(1)
            if self.training:
                self.kept.value = 0.9 * self.kept.value + x.detach().mean(0)
            return self.fc(x - self.kept.value)

    return Own


def for_a_moment() -> Make:
    """Empty between passes: only another thread would meet it."""
    kept: dict[str, Any] = {}

    class Own(Body):
        def forward(self, x: torch.Tensor) -> Any:
            kept["x"] = x.flatten(1)
            doubled = 2.0 * x.flatten(1)
            return self.fc(doubled - kept.pop("x"))

    return Own


def in_voting() -> Make:
    """Learned from the samples that are asked."""
    kept = Holder()

    class Own(Body):
        def forward(self, x: torch.Tensor) -> Any:
            x = x.flatten(1)
            if not self.training:
                kept.value = kept.value + x.mean()
            return self.fc(x * (1.0 if not self.training else 1.0 + kept.value.mean()))

    return Own


def when_built() -> Make:
    """The factory's next module depends on how often it was called."""
    calls = itertools.count(1)

    class Own(Body):
        def __init__(self) -> None:
            super().__init__()
            with torch.no_grad():
                self.fc.weight.mul_(1.0 / next(calls))

    return Own


SHARING: list[Callable[[], Make]] = [
    in_a_closure, in_slots, in_a_namespace, in_a_thread_local, in_a_function, in_a_class, in_a_default, in_a_deque,
    in_a_cache, in_a_cache_of_the_first, in_a_dictionary_late, in_a_generator, in_a_counter, in_the_environment,
    behind_a_weak_reference, in_a_copy_that_is_none, for_a_moment, in_voting, when_built,
]  # fmt: skip


@pytest.mark.parametrize("state", SHARING, ids=lambda state: state.__name__)
def test_members_that_share_state_are_refused(digits: Digits, state: Callable[[], Make]) -> None:
    with pytest.raises(cs.ParameterError, match="'model' parameter must be a callable whose modules"):
        own(state(), epochs=4).fit(digits[0], digits[1])


@pytest.mark.parametrize("state", [in_a_file, in_a_file_late])
def test_members_that_share_a_file_are_refused(
    digits: Digits, tmp_path: Path, state: Callable[[Path], Make]
) -> None:
    with pytest.raises(cs.ParameterError, match=r"not changed by the training of others.*a file\?"):
        own(state(tmp_path), epochs=4).fit(digits[0], digits[1])


def test_the_suspect_is_named(digits: Digits) -> None:
    with pytest.raises(cs.ParameterError, match=r"the variable 'kept'"):
        own(in_a_dictionary_late(), epochs=4).fit(digits[0], digits[1])


def test_a_table_in_a_cache_is_no_state(digits: Digits) -> None:
    @functools.cache
    def table(size: int) -> torch.Tensor:
        return torch.linspace(0, 1, size)

    class Own(Body):
        def forward(self, x: torch.Tensor) -> Any:
            return self.fc(x.flatten(1) + table(64))

    assert own(Own).fit(digits[0], digits[1]).n_members_ == 6


class ByClosure(nn.Module):
    """The head of the issue: a copy's lambda would call the prototype's parts."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.bn, self.b = nn.Linear(64, 64), nn.BatchNorm1d(64), nn.Linear(64, 10)
        self.head = lambda h: self.b(torch.relu(self.bn(h)))

    def forward(self, x: torch.Tensor) -> Any:
        return self.head(self.a(x.flatten(1)))


class ByWeakReference(ByClosure):
    def __init__(self) -> None:
        super().__init__()
        of_norm, of_b = weakref.ref(self.bn), weakref.ref(self.b)
        self.norms, self.last = of_norm, of_b
        self.head = None  # type: ignore[assignment]

    def forward(self, x: torch.Tensor) -> Any:
        norm, last = self.norms(), self.last()
        assert norm is not None and last is not None
        return last(torch.relu(norm(self.a(x.flatten(1)))))


class ByBoundMethod(ByClosure):
    def __init__(self) -> None:
        super().__init__()
        self.head = self._head  # type: ignore[assignment]

    def _head(self, h: torch.Tensor) -> Any:
        return self.b(torch.relu(self.bn(h)))


class ByCompiling(ByBoundMethod):
    def __init__(self) -> None:
        super().__init__()
        self.forward = torch.compile(self.forward, backend="eager")  # type: ignore[method-assign]


class ByPartial(ByClosure):
    def __init__(self) -> None:
        super().__init__()
        parts = [self.bn, nn.ReLU(), self.b]
        self.head = functools.partial(functools.reduce, lambda h, part: part(h), parts)  # type: ignore[assignment]

    def forward(self, x: torch.Tensor) -> Any:
        return self.head(self.a(x.flatten(1)))  # type: ignore[arg-type]


class ByHook(ByClosure):
    def __init__(self) -> None:
        super().__init__()
        self.a.register_forward_hook(lambda _, __, h: self.b(torch.relu(self.bn(h))))
        self.head = None  # type: ignore[assignment]

    def forward(self, x: torch.Tensor) -> Any:
        return self.a(x.flatten(1))


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
@pytest.mark.parametrize("model", [ByClosure, ByWeakReference, ByBoundMethod, ByCompiling, ByPartial, ByHook])
def test_members_are_what_the_module_is_however_it_reaches_its_parts(digits: Digits, model: Make) -> None:
    """Beside the same network without closures: same weights, same votes, and no vote depends on the other samples."""

    class Plainly(ByClosure):
        def forward(self, x: torch.Tensor) -> Any:
            return self.b(torch.relu(self.bn(self.a(x.flatten(1)))))

    X, y, X_test, _ = digits
    settings = {"n_jobs": 1, "learning_rate": 0.01}
    clf, plain = own(model, **settings).fit(X, y), own(Plainly, **settings).fit(X, y)
    for member in range(6):
        ours, theirs = clf.member(member).state_dict(), plain.member(member).state_dict()
        for name, tensor in theirs.items():
            assert torch.allclose(ours[name], tensor, atol=1e-6), name
    votes = clf.votes(X_test)
    assert np.array_equal(votes, plain.votes(X_test))
    for row in range(0, len(X_test), 9):
        assert np.array_equal(clf.votes(X_test[row : row + 1])[:, 0], votes[:, row])


def test_copies_are_made_where_they_are_what_is_built() -> None:
    assert Blueprint(ByBoundMethod, (1, 8, 8), 10)._copies
    assert not any(Blueprint(model, (1, 8, 8), 10)._copies for model in (ByClosure, ByWeakReference, ByHook))


def test_a_parameter_that_is_kept_elsewhere_too_is_refused(digits: Digits) -> None:
    class Captured(Body):
        def __init__(self) -> None:
            super().__init__()
            weight = nn.Parameter(torch.randn(64, 64))
            self.weight, self.product = weight, lambda x: x @ weight

        def forward(self, x: torch.Tensor) -> Any:
            return self.fc(self.product(x.flatten(1)))

    with pytest.raises(
        cs.ParameterError, match=r"as attributes only. Got the sub-module 'fc' \(Linear\), which keeps"
    ):
        own(Captured).fit(digits[0], digits[1])


def test_rows_must_not_see_the_rows_before_them(digits: Digits) -> None:
    class Running(Body):
        def forward(self, x: torch.Tensor) -> Any:
            logits = super().forward(x)
            return logits if self.training else logits.cumsum(0)

    class Placed(Body):
        def forward(self, x: torch.Tensor) -> Any:
            logits = super().forward(x)
            return logits if self.training else logits * torch.arange(1, len(x) + 1)[:, None]

    for model in (Running, Placed):
        with pytest.raises(cs.ParameterError, match="do not depend on the rest of the batch"):
            own(model).fit(digits[0], digits[1])


def test_the_gradient_is_missed_where_it_ends(digits: Digits) -> None:
    class Cut(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.detach()

    def make() -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 10), Cut())

    with pytest.raises(cs.ParameterError, match=r"sub-module '2' \(Cut\), behind which they have none"):
        own(make).fit(digits[0], digits[1])


def late(first: int) -> Make:
    """State that is first written and read after `first` steps of a module, when the trial is over."""
    path: dict[str, Any] = {}

    class Own(Body):
        def __init__(self) -> None:
            super().__init__()
            self.steps = 0

        def forward(self, x: torch.Tensor) -> Any:
            x = x.flatten(1)
            if self.training:
                self.steps += 1
                if self.steps > first:
                    known = path.get("mean", 0.0)
                    path.update(mean=0.9 * known + 0.1 * x.detach().mean(0))
                    x = x - known
            return self.fc(x)

    return Own


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_state_that_is_first_written_late_shows_in_the_member_that_is_trained_twice(
    digits: Digits, tmp_path: Path, n_jobs: int
) -> None:
    folder = tmp_path / "members"
    clf = own(late(120), epochs=4, batch_size=10, n_jobs=n_jobs, checkpoint=folder)
    with pytest.raises(
        cs.TrainingError, match=r"member 0 failed: trained again.*the variable 'path'"
    ) as caught:
        clf.fit(digits[0], digits[1])
    assert caught.value.member == 0
    assert not hasattr(clf, "n_members_") and getattr(clf, "_unfinished", None) is None
    assert not list(folder.glob("*.safetensors")), "none of them is kept"


def test_state_in_a_file_that_is_first_written_late(digits: Digits, tmp_path: Path) -> None:
    path = tmp_path / "mean.npy"

    class Own(Body):
        def __init__(self) -> None:
            super().__init__()
            self.steps = 0

        def forward(self, x: torch.Tensor) -> Any:
            x = x.flatten(1)
            self.steps += int(self.training)
            if self.training and self.steps > 20:
                known = torch.from_numpy(np.load(path)) if path.exists() else torch.zeros(64)
                np.save(path, (0.9 * known + 0.1 * x.detach().mean(0)).numpy())
                x = x - known
            return self.fc(x)

    with pytest.raises(cs.TrainingError, match="member 0 failed: trained again after the others, it differs"):
        own(Own, epochs=8, n_jobs=1).fit(digits[0], digits[1])


def test_traces_of_training_are_found_where_no_member_is_trained_twice(digits: Digits) -> None:
    """In stacks: the same module is tried again after training."""
    steps = itertools.count()
    state = Holder()
    state.value = 1.0

    class Own(Body):
        def forward(self, x: torch.Tensor) -> Any:
            # The trials before training make fewer passes in batches of more than five.
            if self.training and x.shape[0] > 5 and next(steps) == 20:
                builtin().shared = 2.0
            return super().forward(x * getattr(builtin(), "shared", 1.0))

    def builtin() -> Any:
        import builtins

        return builtins

    try:
        clf = own(Own, epochs=8, n_jobs=1, stack=3)
        with pytest.raises(cs.TrainingError, match="behaves differently than before"):
            clf.fit(digits[0], digits[1])
        assert getattr(clf, "_unfinished", None) is None
    finally:
        if hasattr(builtin(), "shared"):
            del builtin().shared


def test_an_interrupted_fit_has_the_comparison_before_it(digits: Digits, tmp_path: Path) -> None:
    """The member that is trained twice is written when both trainings have been compared."""
    folder = tmp_path / "members"

    def stop(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises((KeyboardInterrupt, cs.CancelledError)):
        own(Body, n_jobs=1, epochs=40, checkpoint=folder, progress=stop).fit(digits[0], digits[1])
    kept = {path.name for path in folder.glob("*.safetensors")}
    assert kept and "member-000000.safetensors" not in kept
    resumed = own(Body, n_jobs=1, epochs=40, checkpoint=folder).fit(digits[0], digits[1])
    whole = own(Body, n_jobs=1, epochs=40).fit(digits[0], digits[1])
    assert np.array_equal(resumed.votes(digits[2]), whole.votes(digits[2]))
    assert len(list(folder.glob("*.safetensors"))) == 6


def test_what_is_drawn_from_elsewhere_is_not_the_same_twice(digits: Digits) -> None:
    class Unseeded(Body):
        def __init__(self) -> None:
            super().__init__()
            self.steps = 0

        def forward(self, x: torch.Tensor) -> Any:
            self.steps += int(self.training)
            if self.training and self.steps > 20:
                x = x + float(np.random.default_rng().normal())
            return super().forward(x)

    with pytest.raises(cs.TrainingError, match="or draw random numbers from a source that is not theirs"):
        own(Unseeded, epochs=8).fit(digits[0], digits[1])
